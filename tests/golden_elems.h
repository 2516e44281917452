// SPDX-License-Identifier: MIT
/* The rows of golden_elem.h: what each elementwise operation gives at the points of its arity, in f32 and in integers, and how near a value must be. */
#ifndef GOLDEN_ELEMS_H
#define GOLDEN_ELEMS_H

#include <check.h>
#include "core/graph/ir.h"
#include "tests/elem_bounds.h"

typedef struct golden_elem { cg_elem elem; const double *want; const double (*grad)[6]; } golden_elem;
typedef struct golden_int { cg_elem elem; cg_dtype dtype; int n; const int64_t *in, *want; } golden_int;
#include "golden_elem.h"

static const double *const golden_in[4][3] = { { NULL }, { in1_a, in1_a, in1_a }, { in2_a, in2_b, in2_a }, { in3_a, in3_b, in3_c } };
static const int golden_points[4] = { 0, CG_LEN(in1_a), CG_LEN(in2_a), CG_LEN(in3_a) };

static inline bool of_integers_only(cg_elem e) { return cg__elems[e].cls == CG_CLS_INT || cg__elems[e].cls == CG_CLS_BIT; }

static inline const golden_elem *golden_of(cg_elem e)
{
    for (int r = 0; r < CG_LEN(golden); r++)
        if (golden[r].elem == e)
            return &golden[r];
    return NULL;
}

/* Of two zeros, either: NumPy itself does not say which. */
static inline bool any_zero(cg_elem e)
{
    return cg__elems[e].algebra & A_IDEM || e == CG_EL_clip || e == CG_EL_where;
}

/* got is element i of e, as dtype d, at the points of its arity. */
static inline void golden_elem_check(cg_elem e, cg_dtype d, int64_t i, double got)
{
    const char *name = cg__elems[e].name;
    const elem_bound bound = bound_of(name);
    const int arity = cg__elems[e].arity;
    const double want = golden_of(e)->want[i], w = d == CG_F32 ? (double)(float)want : want;
    const double a = golden_in[arity][0][i], b = golden_in[arity][1][i], operand = arity > 1 ? fmax(fabs(a), fabs(b)) : a;
    const bool same = isnan(w) ? isnan(got) : w == 0 && got == 0 ? !signbit(w) == !signbit(got) || any_zero(e)
                    : isinf(w) ? got == w : isfinite(got) && ulps_between(&bound, operand, got, w) <= bound.ulps;
    ck_assert_msg(same, "%s of %.9g %.9g is %.9g, not %.9g", name, a, b, got, w);
}

/* Integers are crossed: operand k of a row has the shape (n, 1) or (1, n). got is element i of n, or of n n. */
static inline cg_array *golden_int_operand(const golden_int *row, int k)
{
    const int64_t shape[2] = { k & 1 ? 1 : row->n, k & 1 ? row->n : 1 };
    cg_array *a = cg_array_new(row->dtype, shape, 2, NULL);
    for (int i = 0; i < row->n; i++)
        cg__store_i64((char *)(uintptr_t)cg_array_data(a) + (size_t)i * cg_dtype_bytes(row->dtype), row->dtype, row->in[i]);
    return a;
}

static inline void golden_int_check(const golden_int *row, int64_t i, int64_t count, int64_t got)
{
    const int64_t a = count == row->n ? i : i / row->n, b = i % row->n, want = row->want[cg__elems[row->elem].arity == 1 ? a : i];
    ck_assert_msg(got == want, "%s of %s %lld %lld is %lld, not %lld", cg__elems[row->elem].name, cg_dtype_name(row->dtype), (long long)row->in[a],
                  (long long)row->in[b], (long long)got, (long long)want);
}

#endif
