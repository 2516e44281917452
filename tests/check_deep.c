// SPDX-License-Identifier: MIT
/* Depth costs no stack: chains of 200000 nodes, or CG_TEST_DEPTH, handled by a thread that has 256 KiB. What time and memory they take, and a
 * million nodes, is for deep. Here work is counted. */
#include <pthread.h>
#include <stdlib.h>
#include "core/rewrite/rewrite.h"
#include "tests/verified.h"
#include "tests/suite.h"

enum { STACK = 256 * 1024 };

static int depth(void)
{
    const char *text = getenv("CG_TEST_DEPTH");
    return text ? atoi(text) : 200000;
}

static cg_node *chain(cg_graph *g, cg_node *x, int n)
{
    cg_node *y = x;
    for (int i = 0; i < n; i++)
        y = i % 3 == 0 ? cg_tanh(y) : i % 3 == 1 ? cg_mul(y, x) : cg_sin(y);
    ck_assert_msg(y && g->count >= n, "%s", cg_last_error()->text);
    return y;
}

static void *long_chain(void *unused)
{
    cg_graph *g = cg_graph_new(), *copy = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY)), *y = chain(g, x, depth());
    char *text = cg_print(&y, 1);
    ck_assert_msg(text != NULL, "%s", cg_last_error()->text);
    ck_assert_ptr_eq(cg_read(g, text, &x, 1), y);
    cg_text_free(text);
    cg_map memo = { 0 };
    ck_assert_ptr_nonnull(cg__clone(copy, y, &memo));
    ck_assert_int_ge(copy->count, depth());
    cg__map_free(&memo);
    cg_graph_free(copy);
    cg_graph_free(g);
    return unused;
}

static void *deep_gradient(void *unused)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY)), *cost = cg_sum(chain(g, x, depth() / 10), CG_REDUCE()), *dx;
    ck_assert_msg(cg_grad(cost, CG_NODES(x), CG_OUT(&dx)) == CG_OK, "%s", cg_last_error()->text);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "deep", CG_INPUTS(x), CG_OUTPUTS(cost, dx)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *in = cg_array_new(CG_F32, CG_SHAPE(3), NULL), *out[2];
    ck_assert_msg(cg_call(f, CG_ARRAYS(in), out) == CG_OK, "%s", cg_last_error()->text);
    ck_assert_float_eq(*(const float *)cg_array_data(out[0]), 0);
    ck_assert_int_eq(cg_array_count(out[1]), 3);
    cg_array *all[] = { in, out[0], out[1] };
    for (int i = 0; i < CG_LEN(all); i++)
        cg_array_free(all[i]);
    cg_function_free(f);
    cg_graph_free(g);
    return unused;
}

static void on_a_small_stack(void *(*work)(void *))
{
    pthread_attr_t small;
    pthread_t thread;
    ck_assert_int_eq(pthread_attr_init(&small), 0);
    ck_assert_int_eq(pthread_attr_setstacksize(&small, STACK), 0);
    ck_assert_int_eq(pthread_create(&thread, &small, work, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&small);
}

START_TEST(long_chains_print_read_and_copy) { on_a_small_stack(long_chain); }
END_TEST

START_TEST(deep_gradients_compile_and_run) { on_a_small_stack(deep_gradient); }
END_TEST

/* Visits of sweeps a node of the graph, whatever its size. */
static double visits(int n)
{
    cg_graph *g = cg_graph_new();
    cg_error err = { 0 };
    int64_t seen = 0;
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY)), *roots[2] = { cg_sum(chain(g, x, n), CG_REDUCE()) };
    ck_assert_int_eq(cg_grad(roots[0], CG_NODES(x), CG_OUT(&roots[1])), CG_OK);
    const int before = g->count;
    cg__rewrite_how(&(cg_rewriting){ .visits = &seen });
    ck_assert_int_eq(cg__rewrite(g, roots, 2, NULL, &err), CG_OK);
    cg__rewrite_how(NULL);
    cg_graph_free(g);
    return (double)seen / before;
}

START_TEST(rewriting_looks_at_a_node_a_few_times)
{
    const double few = visits(100), many = visits(10000);
    ck_assert_msg(few <= 7 && many <= 7, "%g and %g visits a node", few, many);
    ck_assert_double_eq_tol(many, few, 0.5);
}
END_TEST

int main(void)
{
    return RUN_TESTS("deep", long_chains_print_read_and_copy, deep_gradients_compile_and_run, rewriting_looks_at_a_node_a_few_times);
}
