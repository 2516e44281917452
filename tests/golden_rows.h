// SPDX-License-Identifier: MIT
/* The rows of golden.h: an expression, its variables, NumPy's value. What reads, builds and compares them. */
#ifndef GOLDEN_ROWS_H
#define GOLDEN_ROWS_H

#include <check.h>
#include <math.h>
#include <string.h>
#include "core/base/base.h"
#include "tests/skipped.h"

enum { GOLDEN_VARS = 3 };
typedef struct golden_array { const char *name; cg_dtype dtype; int rank; int64_t shape[5]; const double *data; } golden_array;
typedef struct golden_row { const char *expr; int nvars; golden_array var[GOLDEN_VARS]; golden_array want; int grad; } golden_row;
#include "golden.h"

static inline int64_t golden_count(const golden_array *a)
{
    int64_t n = 1;
    for (int i = 0; i < a->rank; i++)
        n *= a->shape[i];
    return n;
}

/* A variable's dtype where the rows' f32 is `floats`. */
static inline cg_dtype golden_dtype(const golden_array *a, cg_dtype floats) { return a->dtype == CG_F32 ? floats : a->dtype; }

static inline double golden_f64(cg_array *a, int64_t i)
{
    const cg_dtype d = cg_array_dtype(a);
    return cg__load_f64((const char *)cg_array_data(a) + (size_t)i * cg_dtype_bytes(d), d);
}

static inline void golden_put(cg_array *a, int64_t i, double v)
{
    const cg_dtype d = cg_array_dtype(a);
    cg__store_f64((char *)(uintptr_t)cg_array_data(a) + (size_t)i * cg_dtype_bytes(d), d, v);
}

static inline cg_array *golden_array_of(const golden_array *a, cg_dtype floats)
{
    cg_array *out = cg_array_new(golden_dtype(a, floats), a->shape, a->rank, NULL);
    for (int64_t i = 0; i < golden_count(a); i++)
        golden_put(out, i, a->data[i]);
    return out;
}

static inline void golden_free(cg_array **a, int n)
{
    for (int i = 0; i < n; i++)
        cg_array_free(a[i]);
}

/* The row's value on inputs of its own in g, which are appended to in. NULL: the graph says why. */
static inline cg_node *golden_read(cg_graph *g, const golden_row *row, cg_dtype floats, cg_node **in, int *nin)
{
    cg_node *vars[GOLDEN_VARS];
    for (int k = 0; k < row->nvars; k++)
        vars[k] = in[(*nin)++] = cg_input(g, row->var[k].name, golden_dtype(&row->var[k], floats), row->var[k].shape, row->var[k].rank);
    return cg_read(g, row->expr, vars, row->nvars);
}

/* Elements are at most `tolerance` times the largest one apart; sums and products of rounded terms have the same error everywhere. */
static inline void golden_compare(const golden_row *row, cg_array *got, double tolerance)
{
    const golden_array *w = &row->want;
    double scale = 0;
    ck_assert_msg(cg_array_dtype(got) == w->dtype, "%s: dtype %s, not %s", row->expr, cg_dtype_name(cg_array_dtype(got)), cg_dtype_name(w->dtype));
    ck_assert_msg(cg_array_rank(got) == w->rank, "%s: rank %d, not %d", row->expr, cg_array_rank(got), w->rank);
    for (int i = 0; i < w->rank; i++)
        ck_assert_msg(cg_array_shape(got)[i] == w->shape[i], "%s: size %lld on axis %d", row->expr, (long long)cg_array_shape(got)[i], i);
    ck_assert_msg(cg_array_data(got) != NULL, "%s: %s", row->expr, cg_last_error()->text);
    for (int64_t i = 0; i < golden_count(w); i++)
        scale = isfinite(w->data[i]) && fabs(w->data[i]) < 1e6 ? fmax(scale, fabs(w->data[i])) : scale;
    for (int64_t i = 0; i < golden_count(w); i++) {
        const double a = golden_f64(got, i), e = w->dtype == CG_F32 ? (double)(float)w->data[i] : w->data[i];
        const double bound = w->dtype == CG_F32 ? tolerance * fmax(fabs(e), scale) + 1e-37 : 0;
        ck_assert_msg((isnan(a) && isnan(e)) || a == e || fabs(a - e) <= bound, "%s: element %lld is %.9g, not %.9g", row->expr, (long long)i, a, e);
    }
}

#endif
