// SPDX-License-Identifier: MIT
/* Every golden row, and reductions long enough for many lanes and blocks, on the device of CG_DEVICE against the cpu, which check_ops holds
 * against NumPy: the same bits in f32, f16, bf16 and integers; f64 within 4 ulp, since its transcendental functions are the platform's;
 * products within a bound when CLBlast computes them. How an operation walks its axes does not depend on the dtype: f32 goes through all
 * rows, the other float types through the first of each operation and the long ones.
 *
 * CG_TEST_BATCH=n compiles n rows at a time and closes the device after each batch (default: all, which costs PoCL one program): oclgrind takes
 * the first host write to a buffer for its size, and calls what a later, longer one wrote uninitialised. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/base/base.h"

#include "tests/golden_rows.h"
#include "tests/suite.h"

/* Shapes that golden rows are too small for: more than 64 lanes, more than one block of 256, a tail, several inner axes, ties and NaN. */
static const golden_row large[] = {
    { "(sum x :axis [1])", 1, { { "x", CG_F32, 2, { 7, 1000 }, NULL } }, { 0 }, 1 },
    { "(sum x :axis [0])", 1, { { "x", CG_F32, 2, { 700, 9 }, NULL } }, { 0 }, 1 },
    { "(sum x)", 1, { { "x", CG_F32, 3, { 5, 37, 11 }, NULL } }, { 0 }, 1 },
    { "(sum x :axis [0 2])", 1, { { "x", CG_F32, 3, { 13, 6, 50 }, NULL } }, { 0 }, 1 },
    { "(max x :axis [1])", 1, { { "x", CG_F32, 2, { 5, 333 }, NULL } }, { 0 }, 1 },
    { "(argmax x :axis 1)", 1, { { "x", CG_F32, 2, { 9, 333 }, NULL } }, { 0 }, 0 },
    { "(argmax x :axis 0)", 1, { { "x", CG_F32, 2, { 333, 9 }, NULL } }, { 0 }, 0 },
    { "(softmax x :axis 1)", 1, { { "x", CG_F32, 2, { 6, 517 }, NULL } }, { 0 }, 1 },
    { "(softmax x :axis 0)", 1, { { "x", CG_F32, 2, { 300, 5 }, NULL } }, { 0 }, 1 },
    { "(log_softmax x :axis 1)", 1, { { "x", CG_F32, 2, { 6, 129 }, NULL } }, { 0 }, 1 },
    { "(sum (transpose x) :axis [1])", 1, { { "x", CG_F32, 2, { 300, 70 }, NULL } }, { 0 }, 1 },
    { "(take x y)", 2, { { "x", CG_F32, 2, { 40, 70 }, NULL }, { "y", CG_I64, 1, { 90 }, NULL } }, { 0 }, 1 },
    { "(add x y)", 2, { { "x", CG_F32, 2, { 41, 70 }, NULL }, { "y", CG_F32, 1, { 70 }, NULL } }, { 0 }, 1 },
};
enum { GOLDEN = CG_LEN(golden_rows), ROWS = GOLDEN + CG_LEN(large), MAX_VARS = 3 };
static const golden_row *row_of(int r) { return r < GOLDEN ? &golden_rows[r] : &large[r - GOLDEN]; }

static bool first_of_its_op(int r)
{
    const size_t n = strcspn(row_of(r)->expr, " )") + 1;
    return r == 0 || r >= GOLDEN || strncmp(row_of(r)->expr, row_of(r - 1)->expr, n) != 0;
}

/* ---- inputs */

static double element(const golden_array *a, int64_t i)
{
    if (a->data)
        return a->data[i];
    const double v = (double)((i * 7919 + 13) % 1009) / 100 - 5;
    return cg__is_int(a->dtype) ? (double)((i * 7919) % 40) : i % 251 == 250 ? 5.5 : v;
}

static cg_array *array_of(const golden_array *a, cg_dtype d)
{
    cg_array *out = cg_array_new(d, a->shape, a->rank, NULL);
    char *p = (char *)(uintptr_t)cg_array_data(out);
    for (int64_t i = 0; i < cg_array_count(out); i++)
        cg__store_f64(p + (size_t)i * cg_dtype_bytes(d), d, element(a, i));
    return out;
}

/* ---- a batch of rows as one function, on two devices */

typedef struct batch { cg_graph *g; cg_node *in[ROWS * MAX_VARS], *out[ROWS * 2]; const char *expr[ROWS * 2]; cg_array *value[ROWS * MAX_VARS]; int nin, nout; } batch;

/* The value, and the gradient of its sum for the first variable. Rows that another float type does not have are left out. */
static void add_row(batch *b, const golden_row *row, cg_dtype floats, bool grad)
{
    cg_node *v[MAX_VARS], *d = NULL;
    if (floats != CG_F32 && strstr(row->expr, "f32"))
        return;                                  /* its text says f32 */
    for (int k = 0; k < row->nvars; k++) {
        const cg_dtype t = row->var[k].dtype == CG_F32 ? floats : row->var[k].dtype;
        v[k] = b->in[b->nin] = cg_input(b->g, row->var[k].name, t, row->var[k].shape, row->var[k].rank);
        b->value[b->nin++] = array_of(&row->var[k], t);
    }
    cg_node *y = cg_read(b->g, row->expr, v, row->nvars);
    if (!y) {
        ck_assert_msg(floats == CG_F16 || floats == CG_BF16, "%s: %s", row->expr, cg_graph_error(b->g)->text);
        cg_graph_clear_error(b->g);
        return;
    }
    b->expr[b->nout] = row->expr;
    b->out[b->nout++] = y;
    if (grad && row->grad && row->var[0].dtype == CG_F32 && cg_grad(cg_sum(cg_mul(y, y), CG_REDUCE()), v, 1, (cg_node **[]){ &d }, 1) == CG_OK) {
        b->expr[b->nout] = row->expr;
        b->out[b->nout++] = d;
    }
    cg_graph_clear_error(b->g);
}

static double ulp_of(cg_dtype d, double v) { return d == CG_F64 ? fabs(v) * 2.3e-16 + 1e-300 : 0; }

static void same(const char *expr, cg_array *want, cg_array *got)
{
    const cg_dtype d = cg_array_dtype(want);
    const size_t size = cg_dtype_bytes(d);
    const char *w = cg_array_data(want), *g = cg_array_data(got), *gemm = getenv("CG_GEMM"), *style = getenv("CG_CL_STYLE");
    const bool product = (strstr(expr, "matmul") || strstr(expr, "gemm")) && (gemm ? strcmp(gemm, "clblast") == 0 : style && strcmp(style, "gpu") == 0);
    ck_assert_msg(w && g, "%s: %s", expr, cg_last_error()->text);
    double scale = 0;
    for (int64_t i = 0; i < cg_array_count(want); i++) {
        const double v = fabs(cg__load_f64(w + (size_t)i * size, d));
        scale = isfinite(v) && v > scale ? v : scale;
    }
    for (int64_t i = 0; i < cg_array_count(want); i++) {
        const double a = cg__load_f64(w + (size_t)i * size, d), b = cg__load_f64(g + (size_t)i * size, d);
        const double tol = product ? scale * 1e-5 : 4 * ulp_of(d, d == CG_F64 ? scale : a);
        const bool equal = memcmp(w + (size_t)i * size, g + (size_t)i * size, size) == 0 || (a != a && b != b) || fabs(a - b) <= tol;
        ck_assert_msg(equal, "%s in %s: element %lld is %.9g on the cpu, %.9g here", expr, cg_dtype_name(d), (long long)i, a, b);
    }
}

static void run_on(batch *b, cg_device *d, bool plain, cg_array **out)
{
    cg_function *f = cg_compile(b->g, CG_SPEC(.name = "rows", .inputs = b->in, .ninputs = b->nin, .outputs = b->out, .noutputs = b->nout, .device = d, .no_rewrites = plain,
                                              .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ck_assert_msg(cg_call(f, b->value, b->nin, out) == CG_OK, "%s", cg_last_error()->text);
    cg_function_free(f);
}

typedef enum how { VALUES, UNREWRITTEN, GRADIENTS } how;

static void compare_rows(int from, int to, cg_dtype floats, how what)
{
    batch *b = cg__zalloc(sizeof *b);
    cg_array **want = cg__zalloc(sizeof b->out), **got = cg__zalloc(sizeof b->out);
    b->g = cg_graph_new();
    for (int r = from; r < to; r++)
        if ((floats == CG_F32 || first_of_its_op(r)) && !skipped(row_of(r)->expr))
            add_row(b, row_of(r), floats, what == GRADIENTS);
    run_on(b, cg_device_open("cpu"), what == UNREWRITTEN, want);
    run_on(b, cg_device_open(NULL), what == UNREWRITTEN, got);
    for (int i = 0; i < b->nout; i++) {
        same(b->expr[i], want[i], got[i]);
        cg_array_free(want[i]);
        cg_array_free(got[i]);
    }
    for (int i = 0; i < b->nin; i++)
        cg_array_free(b->value[i]);
    cg_graph_free(b->g);
    cg__free(b);
    cg__free(want);
    cg__free(got);
}

static void compare_all(cg_dtype floats, how what)
{
    const char *batch = getenv("CG_TEST_BATCH");
    const int n = batch ? atoi(batch) : ROWS;
    for (int r = 0; r < ROWS; r += n) {
        compare_rows(r, r + n < ROWS ? r + n : ROWS, floats, what);
        if (batch)
            cg_shutdown();
    }
}

START_TEST(f32_has_the_same_bits) { compare_all(CG_F32, GRADIENTS); }
END_TEST
START_TEST(f32_has_the_same_bits_unrewritten) { compare_all(CG_F32, UNREWRITTEN); }
END_TEST
START_TEST(f16_has_the_same_bits) { compare_all(CG_F16, VALUES); }
END_TEST
START_TEST(bf16_has_the_same_bits) { compare_all(CG_BF16, VALUES); }
END_TEST
START_TEST(f64_agrees) { compare_all(CG_F64, VALUES); }
END_TEST

/* ---- halves */

static uint16_t half_of(double v, cg_dtype d)
{
    uint16_t h;
    cg__store_f64(&h, d, v);
    return h;
}

/* Each op rounds, so fusing changes no bit; sums round once; a cast from f64 rounds once though kernels compute in f32. */
START_TEST(halves_round_after_each_op)
{
    static const cg_dtype halves[] = { CG_F16, CG_BF16 };
    for (int k = 0; k < CG_LEN(halves); k++) {
        const cg_dtype d = halves[k];
        const double tie = d == CG_F16 ? 1 + ldexp(1, -11) + ldexp(1, -40) : 1 + ldexp(1, -8) + ldexp(1, -40);
        const double values[] = { 1.0009765625, 3.1, -0.3333, 1e-7, 60000, 0 };
        cg_graph *g = cg_graph_new();
        cg_node *x = cg_input(g, "x", d, CG_SHAPE(6)), *y = cg_input(g, "y", CG_F64, CG_SHAPE());
        cg_node *outs[] = { cg_mul(cg_add(x, x), x), cg_sum(x, CG_REDUCE()), cg_cast(y, d), cg_mul(x, cg_weak(g, 0.1)) };
        cg_function *f = cg_compile(g, CG_SPEC(.name = "halves", CG_INPUTS(x, y), .outputs = outs, .noutputs = 4));
        ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
        cg_array *in[2] = { cg_array_new(d, CG_SHAPE(6), NULL), cg_array_new(CG_F64, NULL, 0, &tie) }, *out[4];
        uint16_t *p = (uint16_t *)(uintptr_t)cg_array_data(in[0]);
        double sum = 0;
        for (int i = 0; i < 6; i++) {
            cg__store_f64(&p[i], d, values[i]);
            sum += cg__load_f64(&p[i], d);
        }
        ck_assert_msg(cg_call(f, in, 2, out) == CG_OK, "%s", cg_last_error()->text);
        const uint16_t *product = cg_array_data(out[0]), tenth = half_of(0.1, d);
        for (int i = 0; i < 6; i++) {
            const double v = cg__load_f64(&p[i], d);
            const uint16_t twice = half_of(v + v, d);
            ck_assert_int_eq(product[i], half_of(cg__load_f64(&twice, d) * v, d));
            ck_assert_int_eq(((const uint16_t *)cg_array_data(out[3]))[i], half_of(v * cg__load_f64(&tenth, d), d));
        }
        ck_assert_int_eq(*(const uint16_t *)cg_array_data(out[1]), half_of((double)(float)sum, d));
        ck_assert_int_eq(*(const uint16_t *)cg_array_data(out[2]), half_of(tie, d));
        for (int i = 0; i < 4; i++)
            cg_array_free(out[i]);
        cg_array_free(in[0]);
        cg_array_free(in[1]);
        cg_function_free(f);
        cg_graph_free(g);
    }
}
END_TEST

/* All 65536 patterns of each half: kernels read and write them as dtype.c does. */
START_TEST(all_halves_are_read_and_written_alike)
{
    static const cg_dtype halves[] = { CG_F16, CG_BF16 };
    uint16_t *bits = cg__zalloc(65536 * sizeof *bits);
    for (int i = 0; i < 65536; i++)
        bits[i] = (uint16_t)i;
    for (int k = 0; k < CG_LEN(halves); k++) {
        const cg_dtype d = halves[k];
        cg_graph *g = cg_graph_new();
        cg_node *x = cg_input(g, "x", d, CG_SHAPE(65536)), *wide = cg_cast(x, CG_F32);
        cg_function *f = cg_compile(g, CG_SPEC(.name = "all", CG_INPUTS(x), CG_OUTPUTS(wide, cg_cast(cg_mul(wide, cg_weak(g, 1.0003)), d))));
        ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
        cg_array *in = cg_array_new(d, CG_SHAPE(65536), bits), *out[2];
        ck_assert_msg(cg_call(f, CG_ARRAYS(in), out) == CG_OK, "%s", cg_last_error()->text);
        const float *w = cg_array_data(out[0]);
        const uint16_t *r = cg_array_data(out[1]);
        for (int i = 0; i < 65536; i++) {
            const float v = (float)cg__load_f64(&bits[i], d);
            ck_assert_msg(w[i] == v || (w[i] != w[i] && v != v), "%s %04x is read as %g", cg_dtype_name(d), (unsigned)i, (double)w[i]);
            const uint16_t want = half_of((double)(v * 1.0003f), d);
            ck_assert_msg(r[i] == want || v != v, "%s %04x times 1.0003 is written as %04x, not %04x", cg_dtype_name(d), (unsigned)i, r[i], want);
        }
        cg_array_free(in);
        cg_array_free(out[0]);
        cg_array_free(out[1]);
        cg_function_free(f);
        cg_graph_free(g);
    }
    cg__free(bits);
}
END_TEST

/* A sum over 2^30 and more points (of one number, repeated): 64-bit indices, built by the call that needs them. */
START_TEST(indices_widen_when_a_call_needs_it)
{
    const int64_t many = 32768, more = 32832, few = 3;
    const int32_t three = 3;
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_I32, CG_SHAPE()), *rows = cg_input(g, "rows", CG_I64, CG_SHAPE()), *cols = cg_input(g, "cols", CG_I64, CG_SHAPE());
    cg_function *f = cg_compile(g, CG_SPEC(.name = "wide", CG_INPUTS(x, rows, cols), CG_OUTPUTS(cg_sum(cg_broadcast_to(x, (cg_node *[]){ rows, cols }, 2), CG_REDUCE()))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *a = cg_array_new(CG_I32, NULL, 0, &three), *r = cg_array_new(CG_I64, NULL, 0, &few), *c = cg_array_new(CG_I64, NULL, 0, &more), *out = NULL;
    for (int wide = 0; wide < 2; wide++) {
        if (wide)
            ck_assert_int_eq(cg_array_set(r, &many, sizeof many), CG_OK);
        ck_assert_msg(cg_call(f, CG_ARRAYS(a, r, c), &out) == CG_OK, "%s", cg_last_error()->text);
        ck_assert_int_eq(*(const int64_t *)cg_array_data(out), 3 * more * (wide ? many : few));
        cg_array_free(out);
    }
    cg_stats stats;
    cg_function_stats(f, &stats);
    ck_assert_int_eq(stats.kernels_built, 2);
    cg_array_free(a);
    cg_array_free(r);
    cg_array_free(c);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

int main(void)
{
    /* seconds, hours under oclgrind; the cpu's are always wide */
    const bool wide = !getenv("CG_TEST_BATCH") && strncmp(cg_device_name(cg_device_open(NULL)), "opencl", 6) == 0;
    return RUN_TESTS("devices", f32_has_the_same_bits, f32_has_the_same_bits_unrewritten, f16_has_the_same_bits, bf16_has_the_same_bits, f64_agrees,
                     halves_round_after_each_op, all_halves_are_read_and_written_alike, wide ? indices_widen_when_a_call_needs_it : NULL);
}
