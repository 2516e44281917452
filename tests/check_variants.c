// SPDX-License-Identifier: MIT
/* NumPy's broadcasting where sizes are known at the call only: values and gradients against plain loops over indices, one plan a pattern of
 * ones, sentences for sizes that do not fit, calls from several threads. On the device of CG_DEVICE. */
#include <pthread.h>
#include <string.h>
#include "core/cg.h"
#include "tests/verified.h"
#include "tests/suite.h"

enum { NIN = 3, MOST = 64 };

/* ---- sum(x * y + z) of two matrices and a vector with all sizes free, and its gradients */

typedef struct sizes { int64_t x[2], y[2], z; } sizes;
typedef struct world { cg_graph *g; cg_function *f; } world;

static void build(world *w, int no_rewrites)
{
    w->g = cg_graph_new();
    cg_node *x = cg_input(w->g, "x", CG_F32, CG_SHAPE(CG_ANY, CG_ANY)), *y = cg_input(w->g, "y", CG_F32, CG_SHAPE(CG_ANY, CG_ANY));
    cg_node *z = cg_input(w->g, "z", CG_F32, CG_SHAPE(CG_ANY)), *value = cg_add(cg_mul(x, y), z), *d[NIN];
    ck_assert_int_eq(cg_grad(cg_sum(value, CG_REDUCE()), CG_NODES(x, y, z), CG_OUT(&d[0], &d[1], &d[2])), CG_OK);
    w->f = cg_compile(w->g, CG_SPEC(.name = "stretch", CG_INPUTS(x, y, z), CG_OUTPUTS(value, d[0], d[1], d[2]), .no_rewrites = no_rewrites));
    ck_assert_msg(w->f != NULL, "%s", cg_last_error()->text);
}

static void drop(world *w)
{
    cg_function_free(w->f);
    cg_graph_free(w->g);
}

/* Small whole numbers: every sum is exact, in any order. */
static void fill(float *v, int first)
{
    for (int i = 0; i < MOST; i++)
        v[i] = (float)((i * 7 + first) % 11 - 5);
}

static int64_t longer(int64_t a, int64_t b) { return a == 1 ? b : a; }
static int64_t within(int64_t i, int64_t size) { return size == 1 ? 0 : i; }

static void expect(const sizes *s, const float *x, const float *y, const float *z, float want[1 + NIN][MOST])
{
    const int64_t rows = longer(s->x[0], s->y[0]), cols = longer(longer(s->x[1], s->y[1]), s->z);
    memset(want, 0, (1 + NIN) * sizeof *want);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            const int64_t ix = within(r, s->x[0]) * s->x[1] + within(c, s->x[1]), iy = within(r, s->y[0]) * s->y[1] + within(c, s->y[1]), iz = within(c, s->z);
            want[0][r * cols + c] = x[ix] * y[iy] + z[iz];
            want[1][ix] += y[iy];
            want[2][iy] += x[ix];
            want[3][iz] += 1;
        }
}

static int call(const world *w, const sizes *s, cg_array **out)
{
    float v[NIN][MOST];
    for (int i = 0; i < NIN; i++)
        fill(v[i], 3 * i);
    cg_array *in[NIN] = { cg_array_new(CG_F32, s->x, 2, v[0]), cg_array_new(CG_F32, s->y, 2, v[1]), cg_array_new(CG_F32, &s->z, 1, v[2]) };
    const int rc = cg_call(w->f, in, NIN, out);
    for (int i = 0; i < NIN; i++)
        cg_array_free(in[i]);
    return rc;
}

static void check_call(const world *w, const sizes *s)
{
    float v[NIN][MOST], want[1 + NIN][MOST];
    cg_array *out[1 + NIN];
    const int64_t shape[1 + NIN][2] = { { longer(s->x[0], s->y[0]), longer(longer(s->x[1], s->y[1]), s->z) }, { s->x[0], s->x[1] }, { s->y[0], s->y[1] }, { s->z } };
    for (int i = 0; i < NIN; i++)
        fill(v[i], 3 * i);
    expect(s, v[0], v[1], v[2], want);
    ck_assert_msg(call(w, s, out) == CG_OK, "%s", cg_last_error()->text);
    for (int k = 0; k < 1 + NIN; k++) {
        const float *got = cg_array_data(out[k]);
        ck_assert_msg(got != NULL, "%s", cg_last_error()->text);
        for (int i = 0; i < cg_array_rank(out[k]); i++)
            ck_assert_int_eq(cg_array_shape(out[k])[i], shape[k][i]);
        for (int64_t i = 0; i < cg_array_count(out[k]); i++)
            ck_assert_msg(got[i] == want[k][i], "x[%d,%d] y[%d,%d] z[%d]: element %d of output %d is %g, not %g", (int)s->x[0], (int)s->x[1], (int)s->y[0], (int)s->y[1],
                          (int)s->z, (int)i, k, (double)got[i], (double)want[k][i]);
        cg_array_free(out[k]);
    }
}

static const sizes fitting[] = {
    { { 3, 4 }, { 3, 4 }, 4 }, { { 1, 4 }, { 3, 4 }, 4 }, { { 3, 1 }, { 3, 4 }, 4 }, { { 3, 4 }, { 1, 1 }, 4 }, { { 1, 1 }, { 3, 4 }, 4 },
    { { 3, 4 }, { 3, 4 }, 1 }, { { 3, 4 }, { 3, 1 }, 4 }, { { 3, 1 }, { 1, 4 }, 1 }, { { 1, 1 }, { 1, 1 }, 1 }, { { 1, 1 }, { 1, 1 }, 5 },
    { { 0, 4 }, { 1, 4 }, 4 }, { { 3, 0 }, { 3, 1 }, 1 }, { { 0, 0 }, { 0, 0 }, 0 }, { { 2, 6 }, { 2, 6 }, 6 }, { { 1, 6 }, { 2, 6 }, 6 },
};

START_TEST(sizes_of_one_stretch)
{
    world w;
    build(&w, _i);
    for (int round = 0; round < 2; round++)          /* more patterns than are kept: some are made again */
        for (size_t k = 0; k < sizeof fitting / sizeof *fitting; k++)
            check_call(&w, &fitting[k]);
    drop(&w);
}
END_TEST

START_TEST(a_pattern_is_planned_once)
{
    static const struct { sizes s; int plans; } rows[] = {
        { { { 3, 4 }, { 3, 4 }, 4 }, 1 }, { { { 5, 2 }, { 5, 2 }, 2 }, 1 }, { { { 1, 4 }, { 3, 4 }, 4 }, 2 }, { { { 1, 7 }, { 2, 7 }, 7 }, 2 },
        { { { 6, 3 }, { 6, 3 }, 3 }, 2 }, { { { 3, 4 }, { 1, 4 }, 4 }, 3 }, { { { 1, 4 }, { 5, 4 }, 4 }, 3 },
    };
    world w;
    build(&w, 0);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        cg_stats stats;
        check_call(&w, &rows[k].s);
        cg_function_stats(w.f, &stats);
        ck_assert_int_eq(stats.plans, rows[k].plans);
    }
    drop(&w);
}
END_TEST

START_TEST(sizes_that_do_not_fit_are_told)
{
    static const sizes rows[] = { { { 3, 4 }, { 2, 4 }, 4 }, { { 3, 4 }, { 3, 5 }, 1 }, { { 3, 4 }, { 3, 4 }, 3 }, { { 0, 4 }, { 2, 4 }, 4 }, { { 1, 4 }, { 3, 4 }, 2 } };
    cg_array *out[1 + NIN] = { NULL };
    world w;
    build(&w, 0);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        ck_assert_int_eq(call(&w, &rows[k], out), CG_ESHAPE);
        ck_assert_msg(strstr(cg_last_error()->text, "'stretch': sizes ") && strstr(cg_last_error()->text, "check_variants.c:"), "%s", cg_last_error()->text);
        ck_assert_ptr_null(out[0]);
        check_call(&w, &fitting[k]);
    }
    drop(&w);
}
END_TEST

/* Batches of a matmul stretch, what is summed over does not. */
START_TEST(batches_stretch_and_inner_sizes_do_not)
{
    static const struct { int64_t a[3], b[3]; int rc; } rows[] = {
        { { 2, 2, 3 }, { 2, 3, 2 }, CG_OK }, { { 1, 2, 3 }, { 4, 3, 2 }, CG_OK }, { { 4, 2, 1 }, { 1, 1, 2 }, CG_OK },
        { { 2, 2, 1 }, { 2, 3, 2 }, CG_ESHAPE }, { { 2, 2, 3 }, { 3, 3, 2 }, CG_ESHAPE },
    };
    float v[2][MOST];
    cg_graph *g = cg_graph_new();
    cg_node *a = cg_input(g, "a", CG_F32, CG_SHAPE(CG_ANY, 2, CG_ANY)), *b = cg_input(g, "b", CG_F32, CG_SHAPE(CG_ANY, CG_ANY, 2)), *d;
    cg_node *c = cg_matmul(a, b);
    ck_assert_int_eq(cg_grad(cg_sum(c, CG_REDUCE()), CG_NODES(a), CG_OUT(&d)), CG_OK);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "batches", CG_INPUTS(a, b), CG_OUTPUTS(c, d)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    fill(v[0], 0);
    fill(v[1], 5);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        const int64_t *sa = rows[k].a, *sb = rows[k].b, batch = longer(sa[0], sb[0]);
        cg_array *in[2] = { cg_array_new(CG_F32, sa, 3, v[0]), cg_array_new(CG_F32, sb, 3, v[1]) }, *out[2] = { NULL };
        ck_assert_int_eq(cg_call(f, in, 2, out), rows[k].rc);
        float want[2][MOST] = { { 0 } };
        for (int64_t n = 0; n < batch && rows[k].rc == CG_OK; n++)
            for (int64_t i = 0; i < 2; i++)
                for (int64_t j = 0; j < 2; j++)
                    for (int64_t q = 0; q < sa[2]; q++) {
                        const int64_t ia = (within(n, sa[0]) * 2 + i) * sa[2] + q, ib = (within(n, sb[0]) * sb[1] + q) * 2 + j;
                        want[0][(n * 2 + i) * 2 + j] += v[0][ia] * v[1][ib];
                        want[1][ia] += v[1][ib];
                    }
        for (int i = 0; i < 2; i++) {
            for (int64_t e = 0; out[i] && e < cg_array_count(out[i]); e++)
                ck_assert_float_eq(((const float *)cg_array_data(out[i]))[e], want[i][e]);
            cg_array_free(in[i]);
            cg_array_free(out[i]);
        }
    }
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* A constant and a known size meet a free one as inputs do. */
START_TEST(known_sizes_meet_free_ones)
{
    static const struct { int64_t n; int rc; } rows[] = { { 3, CG_OK }, { 1, CG_OK }, { 2, CG_ESHAPE }, { 0, CG_ESHAPE } };
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY)), *k = cg_constant(g, CG_F32, CG_SHAPE(3), (const float[]){ 1, 2, 3 });
    cg_function *f = cg_compile(g, CG_SPEC(.name = "known", CG_INPUTS(x), CG_OUTPUTS(cg_add(x, k))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        cg_array *in = cg_array_new(CG_F32, &rows[r].n, 1, (const float[]){ 10, 20, 30 }), *out = NULL;
        ck_assert_int_eq(cg_call(f, CG_ARRAYS(in), &out), rows[r].rc);
        if (out)
            ck_assert_float_eq(((const float *)cg_array_data(out))[2], rows[r].n == 3 ? 33 : 13);
        cg_array_free(out);
        cg_array_free(in);
    }
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* ---- threads */

static void *many_calls(void *user)
{
    cg_stats s = { 0 };
    for (int i = 0; i < 40; i++) {
        const int64_t before = s.calls;
        check_call(user, &fitting[(i * 7) % (int)(sizeof fitting / sizeof *fitting)]);
        cg_function_stats(((const world *)user)->f, &s);
        ck_assert_int_gt(s.calls, before);
    }
    return NULL;
}

START_TEST(threads_share_a_function)
{
    pthread_t thread[4];
    world w;
    build(&w, 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, many_calls, &w), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    drop(&w);
}
END_TEST

int main(void)
{
    TCase *t = TESTS("variants", a_pattern_is_planned_once, sizes_that_do_not_fit_are_told, batches_stretch_and_inner_sizes_do_not,
                     known_sizes_meet_free_ones, threads_share_a_function);
    tcase_add_loop_test(t, sizes_of_one_stretch, 0, 2);
    return run_case("variants", t);
}
