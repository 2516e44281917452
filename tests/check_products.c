// SPDX-License-Identifier: MIT
/* Products against plain sums: sizes on both sides of where the parts of a product end, where another library takes over and where a second thread
 * is worth it; transposed and cut operands; one and many at a time; on one to three threads, and with CBLAS alone. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include "tests/helpers.h"
#include "tests/suite.h"

typedef struct shape { int64_t batch, m, n, k; } shape;
static const shape shapes[] = {
    { 1, 1, 1, 1 },       { 1, 15, 16, 3 },     { 1, 16, 16, 1 },    { 1, 16, 15, 33 },   { 1, 17, 129, 64 }, { 1, 129, 17, 64 },
    { 1, 16, 1500, 120 }, { 1, 1500, 16, 120 }, { 1, 130, 131, 132 }, { 2, 130, 97, 170 }, { 3, 70, 130, 90 }, { 5, 33, 40, 350 },
    { 1, 300, 10, 800 },  { 1, 20, 20, 0 },     { 2, 17, 0, 5 },
};

/* An operand as the expression finds it: transposed or not, and cut out of a larger array. */
typedef struct operand { cg_array *a; double *v; bool trans; } operand;
enum { MARGIN = 3 };

static operand operand_new(int64_t batch, int64_t rows, int64_t cols, bool trans, cg_dtype d, unsigned seed)
{
    const int64_t whole[3] = { batch, (trans ? cols : rows) + MARGIN, (trans ? rows : cols) + MARGIN }, n = whole[0] * whole[1] * whole[2];
    float *v = malloc(sizeof *v * (size_t)n);
    double *w = malloc(sizeof *w * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        w[i] = v[i] = (float)(rand_r(&seed) % 1024) / 1024 - 0.5F;
    cg_array *a = cg_array_new(d, whole, 3, d == CG_F32 ? (void *)v : (void *)w);
    free(v);
    return (operand){ a, w, trans };
}

static void operand_free(const operand *o)
{
    cg_array_free(o->a);
    free(o->v);
}

/* Element (0, 0) of product b, and from it to the next row and column. */
static const double *first(const operand *o, int64_t b, int64_t *row, int64_t *col)
{
    const int64_t *s = cg_array_shape(o->a);
    *row = o->trans ? 1 : s[2];
    *col = o->trans ? s[2] : 1;
    return o->v + (b * s[1] + MARGIN) * s[2] + MARGIN;
}

static cg_node *expression(cg_node *whole, bool trans)
{
    cg_node *x = whole;
    for (int axis = 1; axis < 3; axis++)
        x = cg_slice(x, axis, cg_weak(cg_node_graph(whole), MARGIN), NULL, 1);
    return trans ? cg_transpose(x, CG_AXES(0, 2, 1)) : x;
}

static void compare(const shape *s, const operand *a, const operand *b, cg_array *c, const char *how)
{
    const cg_dtype d = cg_array_dtype(c);
    const double eps = d == CG_F32 ? 0x1p-24 : 0x1p-53;
    const void *data = cg_array_data(c);
    ck_assert_msg(data != NULL, "%s", cg_last_error()->text);
    for (int64_t p = 0; p < s->batch; p++) {
        int64_t arow, acol, brow, bcol;
        const double *x = first(a, p, &arow, &acol), *y = first(b, p, &brow, &bcol);
        for (int64_t i = 0; i < s->m; i++)
            for (int64_t j = 0; j < s->n; j++) {
                double want = 0, size = 0;
                for (int64_t k = 0; k < s->k; k++) {
                    const double xy = x[i * arow + k * acol] * y[k * brow + j * bcol];
                    want += xy;
                    size += fabs(xy);
                }
                const int64_t at = (p * s->m + i) * s->n + j;
                const double got = d == CG_F32 ? ((const float *)data)[at] : ((const double *)data)[at];
                ck_assert_msg(fabs(got - want) <= (double)(s->k + 1) * eps * size, "%s: (%d %d x %d, k %d)[%d %d %d] is %.9g, not %.9g", how, (int)s->batch,
                              (int)s->m, (int)s->n, (int)s->k, (int)p, (int)i, (int)j, got, want);
            }
    }
}

/* The product as so many calls of one function give it. */
static void product(const operand *a, const operand *b, int calls, cg_array **out)
{
    cg_graph *g = cg_graph_new();
    const cg_dtype d = cg_array_dtype(a->a);
    cg_node *x = cg_input(g, "a", d, cg_array_shape(a->a), 3), *y = cg_input(g, "b", d, cg_array_shape(b->a), 3);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "product", CG_INPUTS(x, y), CG_OUTPUTS(cg_matmul(expression(x, a->trans), expression(y, b->trans)))));
    for (int i = 0; i < calls; i++)
        ck_assert_msg(f && cg_call(f, CG_ARRAYS(a->a, b->a), &out[i]) == CG_OK, "%s", cg_last_error()->text);
    cg_function_free(f);
    cg_graph_free(g);
}

static void check(const shape *s, int trans, cg_dtype d, const char *threads)
{
    char how[64];
    const bool ta = trans & 1, tb = trans & 2;
    const operand a = operand_new(s->batch, s->m, s->k, ta, d, 1), b = operand_new(s->batch, s->k, s->n, tb, d, 2);
    cg_array *c = NULL;
    product(&a, &b, 1, &c);
    snprintf(how, sizeof how, "%s%s %s, %s threads", ta ? "T" : "N", tb ? "T" : "N", cg_dtype_name(d), threads);
    compare(s, &a, &b, c, how);
    cg_array_free(c);
    operand_free(&a);
    operand_free(&b);
}

static void check_all(const char *threads)
{
    setenv("CG_THREADS", threads, 1);
    for (int i = 0; i < (int)(sizeof shapes / sizeof *shapes); i++)
        for (int trans = 0; trans < 4; trans++)
            check(&shapes[i], trans, i % 3 == 2 ? CG_F64 : CG_F32, threads);
    cg_shutdown();                           /* a device keeps the number of threads that it was opened with */
    unsetenv("CG_THREADS");
}

START_TEST(on_one_thread)    { check_all("1"); } END_TEST
START_TEST(on_two_threads)   { check_all("2"); } END_TEST
START_TEST(on_three_threads) { check_all("3"); } END_TEST

START_TEST(by_cblas_alone)
{
    setenv("CG_BLAS", "cblas", 1);
    check_all("2");
    unsetenv("CG_BLAS");
}
END_TEST

/* Another library may round otherwise; a second run of the same one never does. */
START_TEST(twice_is_the_same)
{
    const shape s = { 1, 130, 260, 170 };
    const operand a = operand_new(1, s.m, s.k, false, CG_F32, 3), b = operand_new(1, s.k, s.n, true, CG_F32, 4);
    cg_array *c[2] = { NULL, NULL };
    product(&a, &b, 2, c);
    ck_assert(memcmp(cg_array_data(c[0]), cg_array_data(c[1]), (size_t)(s.m * s.n) * sizeof(float)) == 0);
    for (int i = 0; i < 2; i++)
        cg_array_free(c[i]);
    operand_free(&a);
    operand_free(&b);
}
END_TEST

int main(void)
{
    return RUN_TESTS("products", on_one_thread, on_two_threads, on_three_threads, by_cblas_alone, twice_is_the_same);
}
