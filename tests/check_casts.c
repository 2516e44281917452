// SPDX-License-Identifier: MIT
/* Casts between all dtypes, against golden_cast.h: in kernels, when constants are folded, and of a call's inputs. */
#include <stdlib.h>
#include "core/base/base.h"
#include "tests/verified.h"
#include "tests/golden_cast.h"
#include "tests/suite.h"

enum { MOST = 256 };

/* The bits of n elements; little endian. */
static void bits_of(const char *text, cg_dtype d, int n, void *out)
{
    char *at = (char *)(uintptr_t)text;
    for (int i = 0; i < n; i++) {
        const uint64_t v = strtoull(at, &at, 16);
        memcpy((char *)out + (size_t)i * cg_dtype_bytes(d), &v, cg_dtype_bytes(d));
    }
}

/* Bit by bit, but for which NaN it is. */
static void same(const char *how, cg_dtype from, cg_dtype to, const void *got, int at)
{
    const size_t w = cg_dtype_bytes(to);
    char want[MOST * 8], in[MOST * 8];
    uint64_t x = 0, y = 0, z = 0;
    const int n = golden_casts[from].n;
    bits_of(golden_casts[from].want[to], to, n, want);
    bits_of(golden_casts[from].in, from, n, in);
    for (int i = at < 0 ? 0 : at; i < (at < 0 ? n : at + 1); i++) {
        const char *p = (const char *)got + (at < 0 ? (size_t)i * w : 0), *q = want + (size_t)i * w;
        const double a = cg__load_f64(p, to), b = cg__load_f64(q, to);
        memcpy(&x, p, w);
        memcpy(&y, q, w);
        memcpy(&z, in + (size_t)i * cg_dtype_bytes(from), cg_dtype_bytes(from));
        ck_assert_msg(x == y || (a != a && b != b), "%s: %s %llx as %s is %llx, not %llx", how, cg_dtype_name(from), (unsigned long long)z, cg_dtype_name(to),
                      (unsigned long long)x, (unsigned long long)y);
    }
}

static cg_array *inputs(cg_dtype d)
{
    char bits[MOST * 8];
    bits_of(golden_casts[d].in, d, golden_casts[d].n, bits);
    return cg_array_new(d, CG_SHAPE(golden_casts[d].n), bits);
}

static cg_function *compiled(cg_function *f)
{
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    return f;
}

START_TEST(in_kernels)
{
    for (cg_dtype from = 0; from < CG_DTYPE_COUNT; from++) {
        cg_graph *g = cg_graph_new();
        cg_node *x = cg_input(g, "x", from, CG_SHAPE(CG_ANY)), *to[CG_DTYPE_COUNT];
        for (int d = 0; d < CG_DTYPE_COUNT; d++)
            to[d] = cg_cast(x, (cg_dtype)d);
        cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "casts", CG_INPUTS(x), .outputs = to, .noutputs = CG_DTYPE_COUNT)));
        cg_array *in = inputs(from), *out[CG_DTYPE_COUNT];
        ck_assert_msg(cg_call(f, CG_ARRAYS(in), out) == CG_OK, "%s", cg_last_error()->text);
        for (int d = 0; d < CG_DTYPE_COUNT; d++) {
            same("kernel", from, (cg_dtype)d, cg_array_data(out[d]), -1);
            cg_array_free(out[d]);
        }
        cg_array_free(in);
        cg_function_free(f);
        cg_graph_free(g);
    }
}
END_TEST

/* Constant arrays are folded by a plan of their own, scalars when they are built. */
START_TEST(of_constants)
{
    for (cg_dtype from = 0; from < CG_DTYPE_COUNT; from++) {
        cg_graph *g = cg_graph_new();
        cg_array *in = inputs(from), *out[CG_DTYPE_COUNT];
        const int n = golden_casts[from].n;
        const char *bits = cg_array_data(in);
        cg_node *x = cg_constant(g, from, CG_SHAPE(n), bits), *to[CG_DTYPE_COUNT];
        for (int d = 0; d < CG_DTYPE_COUNT; d++) {
            to[d] = cg_cast(x, (cg_dtype)d);
            for (int i = 0; i < n && d != (int)from; i++) {
                const cg_node *one = cg_cast(cg_constant(g, from, NULL, 0, bits + (size_t)i * cg_dtype_bytes(from)), (cg_dtype)d);
                ck_assert(cg__is(one, CG_OP_const));
                same("constant", from, (cg_dtype)d, one->attr[0].at, i);
            }
        }
        cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "casts", .outputs = to, .noutputs = CG_DTYPE_COUNT)));
        ck_assert_msg(cg_call(f, NULL, 0, out) == CG_OK, "%s", cg_last_error()->text);
        for (int d = 0; d < CG_DTYPE_COUNT; d++) {
            same("folded", from, (cg_dtype)d, cg_array_data(out[d]), -1);
            cg_array_free(out[d]);
        }
        cg_array_free(in);
        cg_function_free(f);
        cg_graph_free(g);
    }
}
END_TEST

/* An input of another dtype is converted if no float would become an integer, and each integer fits. */
START_TEST(of_inputs)
{
    for (cg_dtype to = 0; to < CG_DTYPE_COUNT; to++) {
        cg_graph *g = cg_graph_new();
        cg_node *x = cg_input(g, "x", to, CG_SHAPE());
        cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "inputs", CG_INPUTS(x), CG_OUTPUTS(x))));
        for (cg_dtype from = 0; from < CG_DTYPE_COUNT; from++) {
            const size_t w = cg_dtype_bytes(from), wide = cg_dtype_bytes(to);
            char in[MOST * 8], want[MOST * 8];
            bits_of(golden_casts[from].in, from, golden_casts[from].n, in);
            bits_of(golden_casts[from].want[to], to, golden_casts[from].n, want);
            for (int i = 0; i < golden_casts[from].n; i++) {
                const bool never = from != to && (to == CG_BOOL || (cg__is_float(from) && !cg__is_float(to)));
                const int64_t v = cg__is_float(from) ? 0 : cg__load_i64(in + (size_t)i * w, from), u = cg__is_float(to) ? 0 : cg__load_i64(want + (size_t)i * wide, to);
                const bool fits = cg__is_float(to) || (u == v && ((from == CG_U64) == (to == CG_U64) || v >= 0));
                cg_array *a = cg_array_new(from, NULL, 0, in + (size_t)i * w), *out = NULL;
                const int rc = cg_call(f, CG_ARRAYS(a), &out);
                ck_assert_msg(rc == (never || !fits ? CG_EDTYPE : CG_OK), "%s as %s, element %d: %s", cg_dtype_name(from), cg_dtype_name(to), i, cg_last_error()->text);
                if (rc == CG_OK)
                    same("input", from, to, cg_array_data(out), i);
                else if (!never)
                    ck_assert_msg(strstr(cg_last_error()->text, "does not fit") != NULL, "%s", cg_last_error()->text);
                cg_array_free(a);
                cg_array_free(out);
            }
        }
        cg_function_free(f);
        cg_graph_free(g);
    }
}
END_TEST

int main(void)
{
    return RUN_TESTS("casts", in_kernels, of_constants, of_inputs);
}
