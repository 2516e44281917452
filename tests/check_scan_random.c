// SPDX-License-Identifier: MIT
/* What a loop draws and which shared variables it changes. Draws are held against the documented counters, masks of a gradient that computes steps
 * again against those that the forward loop used. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#pragma GCC diagnostic ignored "-Wtype-limits"       /* one text for signed and unsigned */
#include "kernels/math.h"
#include "tests/verified.h"
#include "tests/suite.h"

enum { SEED = 42, ROWS = 3, COLS = 5, N = ROWS * COLS };

typedef struct problem { cg_graph *g; cg_array *calls; cg_node *call, *dims[2]; cg_random random; } problem;

static problem start(int64_t first)
{
    problem p = { .g = cg_graph_new(), .calls = cg_array_new(CG_I64, NULL, 0, &first) };
    p.call = cg_shared(p.g, "call", p.calls);
    cg_default_update(p.call, cg_add(p.call, cg_scalar(p.g, CG_I64, 1)));
    p.dims[0] = cg_scalar(p.g, CG_I64, ROWS);
    p.dims[1] = cg_scalar(p.g, CG_I64, COLS);
    p.random = (cg_random){ p.call, SEED };
    return p;
}

static void end(problem *p)
{
    cg_graph_free(p->g);
    cg_array_free(p->calls);
}

static cg_function *compiled(cg_function *f)
{
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    return f;
}

static void call(cg_function *f, cg_array *const *in, int n, cg_array **out)
{
    ck_assert_msg(cg_call(f, in, n, out) == CG_OK, "%s", cg_last_error()->text);
}

static void ended(problem *p, int rc) { ck_assert_msg(rc == CG_OK, "%s", cg_graph_error(p->g) ? cg_graph_error(p->g)->text : "?"); }

static const void *data(cg_array *a)
{
    const void *v = cg_array_data(a);
    ck_assert_msg(v != NULL, "%s", cg_last_error()->text);
    return v;
}

/* Word e of draw number `draw` in call number `call`. */
static uint32_t word(uint64_t e, uint64_t draw, uint64_t call) { return (uint32_t)cg_philox_word_u64(e / 4, draw << 40 | call, SEED, e % 4); }

static void is_draw(const char *what, cg_array *a, int64_t rows, uint64_t draw, uint64_t call)
{
    const uint32_t *v = data(a);
    ck_assert_int_eq(cg_array_count(a), rows * N);
    for (int64_t i = 0; i < rows * N; i++)
        ck_assert_msg(v[i] == word((uint64_t)i, draw, call), "%s: call %d, row %d, element %d is %08x, not %08x", what, (int)call, (int)(i / N), (int)(i % N), v[i], word((uint64_t)i, draw, call));
    cg_array_free(a);
}

static cg_node *drawn(problem *p, int64_t steps, int64_t every)
{
    cg_node *out = NULL;
    cg_scan *s = cg_scan_begin(p->g, CG_SCAN(.steps = cg_scalar(p->g, CG_I64, (double)steps), .every = every));
    cg_scan_out(s, cg_random_bits(&p->random, p->dims, 2), CG_SCAN_ALL);
    ended(p, cg_scan_end(s, CG_OUT(&out)));
    return out;
}

START_TEST(step_t_draws_row_t_of_one_draw)
{
    problem p = start(7);
    cg_node *loop = drawn(&p, 6, 0), *cut = drawn(&p, 7, 3), *plain = cg_random_bits(&p.random, p.dims, 2);
    cg_function *f = compiled(cg_compile(p.g, CG_SPEC(.name = "draws", CG_OUTPUTS(loop, cut, plain))));
    for (uint64_t n = 7; n < 9; n++) {
        cg_array *out[3];
        call(f, NULL, 0, out);
        is_draw("a loop", out[0], 6, 1, n);
        is_draw("a loop in blocks", out[1], 7, 2, n);
        is_draw("no loop", out[2], 1, 3, n);
    }
    cg_function_free(f);
    end(&p);
}
END_TEST

/* Loops of 4 in loops of 3: row 4 i + j; then loops whose length is the outer step's, whose rows differ though no length is known. */
START_TEST(loops_in_loops_draw_anew_in_every_step)
{
    problem p = start(0);
    cg_node *rows = NULL, *all = NULL;
    cg_scan *outer = cg_scan_begin(p.g, CG_SCAN(.steps = cg_scalar(p.g, CG_I64, 3)));
    cg_scan *inner = cg_scan_begin(p.g, CG_SCAN(.steps = cg_scalar(p.g, CG_I64, 4)));
    cg_scan_out(inner, cg_random_bits(&p.random, p.dims, 2), CG_SCAN_ALL);
    ended(&p, cg_scan_end(inner, CG_OUT(&rows)));
    cg_scan_out(outer, rows, CG_SCAN_ALL);
    ended(&p, cg_scan_end(outer, CG_OUT(&all)));
    cg_function *f = compiled(cg_compile(p.g, CG_SPEC(.name = "nested", CG_OUTPUTS(all))));
    cg_array *out;
    call(f, NULL, 0, &out);
    is_draw("a loop in a loop", out, 12, 1, 0);
    cg_function_free(f);
    end(&p);
}
END_TEST

START_TEST(a_draw_before_the_loop_is_the_same_in_every_step)
{
    problem p = start(3);
    cg_node *once = cg_random_bits(&p.random, p.dims, 2), *out = NULL;
    cg_scan *s = cg_scan_begin(p.g, CG_SCAN(.steps = cg_scalar(p.g, CG_I64, 3)));
    cg_scan_out(s, cg_add(once, cg_cast(cg_scan_index(s), CG_U32)), CG_SCAN_ALL);
    ended(&p, cg_scan_end(s, CG_OUT(&out)));
    cg_function *f = compiled(cg_compile(p.g, CG_SPEC(.name = "before", CG_OUTPUTS(out))));
    cg_array *a;
    call(f, NULL, 0, &a);
    const uint32_t *v = data(a);
    for (uint32_t i = 0; i < 3 * N; i++)
        ck_assert_uint_eq(v[i], word(i % N, 1, 3) + i / N);
    cg_array_free(a);
    cg_function_free(f);
    end(&p);
}
END_TEST

/* h' = dropout(h) (1 + m): dh/dh0 is the product of what the forward steps multiplied with, which the loop tells. */
static void masked(int64_t every, cg_scan_save save, int plainly)
{
    problem p = start(1);
    cg_node *h0 = cg_input(p.g, "h0", CG_F64, CG_SHAPE(ROWS, COLS)), *last, *factors, *dh;
    cg_scan *s = cg_scan_begin(p.g, CG_SCAN(.steps = cg_scalar(p.g, CG_I64, 5), .every = every, .save = save));
    cg_node *h = cg_scan_state(s, h0), *f = cg_add(cg_uniform(&p.random, CG_F64, p.dims, 2), cg_where(cg_bernoulli(&p.random, 0.7, p.dims, 2), cg_weak(p.g, 1), cg_weak(p.g, 0.25)));
    cg_scan_next(s, h, cg_mul(h, f));
    cg_scan_out(s, cg_mul(h, f), CG_SCAN_LAST);
    cg_scan_out(s, f, CG_SCAN_ALL);
    ended(&p, cg_scan_end(s, CG_OUT(&last, &factors)));
    ck_assert_int_eq(cg_grad(cg_sum(last, CG_REDUCE()), CG_NODES(h0), CG_OUT(&dh)), CG_OK);
    cg_function *fun = compiled(cg_compile(p.g, CG_SPEC(.name = "masked", CG_INPUTS(h0), CG_OUTPUTS(dh, factors), .no_rewrites = plainly)));
    double ones[N];
    for (int i = 0; i < N; i++)
        ones[i] = 1;
    cg_array *in = cg_array_new(CG_F64, CG_SHAPE(ROWS, COLS), ones), *out[2];
    call(fun, &in, 1, out);
    const double *d = data(out[0]), *v = data(out[1]);
    for (int i = 0; i < N; i++) {
        double product = 1;
        for (int t = 0; t < 5; t++)
            product *= v[t * N + i];
        ck_assert_msg(fabs(d[i] - product) <= 1e-14 * fabs(product), "every %d: element %d is %.17g, not %.17g", (int)every, i, d[i], product);
        ck_assert(v[i] != v[N + i]);
    }
    cg_array_free(in);
    cg_array_free(out[0]);
    cg_array_free(out[1]);
    cg_function_free(fun);
    end(&p);
}

START_TEST(a_step_that_is_computed_again_draws_the_same)
{
    for (int plainly = 0; plainly < 2; plainly++) {
        masked(0, CG_SAVE_EXPENSIVE, plainly);
        masked(0, CG_SAVE_STATES, plainly);
        masked(2, CG_SAVE_EXPENSIVE, plainly);
    }
}
END_TEST

/* ---- shared variables */

typedef struct changing { cg_graph *g; cg_array *held; cg_node *var, *x; } changing;

static changing change(void)
{
    const double one[2] = { 1, 2 };
    changing c = { .g = cg_graph_new(), .held = cg_array_new(CG_F64, CG_SHAPE(2), one) };
    c.var = cg_shared(c.g, "v", c.held);
    c.x = cg_input(c.g, "x", CG_F64, CG_SHAPE(CG_ANY, 2));
    return c;
}

static void holds(const char *what, cg_array *a, double x, double y)
{
    const double *v = data(a);
    ck_assert_msg(v[0] == x && v[1] == y, "%s: %.17g %.17g, not %.17g %.17g", what, v[0], v[1], x, y);
}

/* v' = 2 v + x[t]; gives v before each step, stacked, or nothing. */
static cg_node *doubling(changing *c, cg_node *x, int told)
{
    cg_node *all = NULL;
    cg_scan *s = cg_scan_begin(c->g, CG_SCAN());
    cg_node *v = cg_scan_shared(s, c->var);
    ck_assert_ptr_eq(v, cg_scan_shared(s, c->var));
    cg_scan_next(s, v, cg_add(cg_scale(v, 2), cg_scan_seq(s, x)));
    if (told)
        cg_scan_out(s, v, CG_SCAN_ALL);
    cg_node **where[] = { &all };
    ck_assert_msg(cg_scan_end(s, where, told) == CG_OK, "%s", cg_graph_error(c->g) ? cg_graph_error(c->g)->text : "?");
    return all;
}

static cg_array *rows(void)
{
    const double v[] = { 1, 10, 2, 20, 3, 30 };
    return cg_array_new(CG_F64, CG_SHAPE(3, 2), v);
}

static void end_change(changing *c, cg_function *f, cg_array *in)
{
    cg_function_free(f);
    cg_graph_free(c->g);
    cg_array_free(c->held);
    cg_array_free(in);
}

START_TEST(a_loop_changes_a_shared_variable)
{
    changing c = change();
    cg_node *all = doubling(&c, c.x, 1);
    cg_function *f = compiled(cg_compile(c.g, CG_SPEC(.name = "changes", CG_INPUTS(c.x), CG_OUTPUTS(all, c.var))));
    cg_array *in = rows(), *out[2];
    call(f, &in, 1, out);
    holds("before the call", out[1], 1, 2);
    ck_assert(((const double *)data(out[0]))[2] == 3 && ((const double *)data(out[0]))[5] == 48);
    holds("after the call", c.held, 8 + 4 + 4 + 3, 16 + 40 + 40 + 30);
    cg_array_free(out[0]);
    cg_array_free(out[1]);
    call(f, &in, 1, out);
    holds("after two calls", c.held, 19 * 8 + 11, 126 * 8 + 110);
    cg_array_free(out[0]);
    cg_array_free(out[1]);
    end_change(&c, f, in);
}
END_TEST

START_TEST(loops_change_a_variable_one_after_the_other)
{
    changing c = change();
    cg_node *first = doubling(&c, c.x, 1), *second = doubling(&c, cg_neg(c.x), 1);
    cg_function *f = compiled(cg_compile(c.g, CG_SPEC(.name = "changes", CG_INPUTS(c.x), CG_OUTPUTS(first, second))));
    cg_array *in = rows(), *out[2];
    call(f, &in, 1, out);
    holds("the second begins", out[1], 19, 126);
    holds("after both", c.held, 19 * 8 - 11, 126 * 8 - 110);
    cg_array_free(out[0]);
    cg_array_free(out[1]);
    end_change(&c, f, in);
}
END_TEST

START_TEST(an_inner_loop_changes_a_variable)
{
    changing c = change();
    cg_node *out = NULL;
    cg_scan *s = cg_scan_begin(c.g, CG_SCAN(.steps = cg_scalar(c.g, CG_I64, 2)));
    cg_node *before = doubling(&c, c.x, 1), *last = cg_sum(before, CG_REDUCE(CG_OVER(0)));
    cg_scan_out(s, last, CG_SCAN_ALL);
    ck_assert_msg(cg_scan_end(s, CG_OUT(&out)) == CG_OK, "%s", cg_graph_error(c.g) ? cg_graph_error(c.g)->text : "?");
    cg_function *f = compiled(cg_compile(c.g, CG_SPEC(.name = "changes", CG_INPUTS(c.x), CG_OUTPUTS(out))));
    cg_array *in = rows(), *a;
    call(f, &in, 1, &a);
    holds("after two turns of three steps", c.held, 19 * 8 + 11, 126 * 8 + 110);
    holds("the first turn", a, 1 + 3 + 8, 2 + 14 + 48);
    cg_array_free(a);
    end_change(&c, f, in);
}
END_TEST

START_TEST(only_shared_variables_are_changed)
{
    changing c = change();
    cg_scan *s = cg_scan_begin(c.g, CG_SCAN());
    ck_assert_ptr_null(cg_scan_shared(s, c.x));
    ck_assert_ptr_nonnull(strstr(cg_graph_error(c.g)->text, "cg_scan_shared: the node is not a shared variable"));
    cg_node *out;
    ck_assert_int_lt(cg_scan_end(s, CG_OUT(&out)), 0);
    end_change(&c, NULL, NULL);
}
END_TEST

int main(void)
{
    return RUN_TESTS("scan_random", step_t_draws_row_t_of_one_draw, loops_in_loops_draw_anew_in_every_step, a_draw_before_the_loop_is_the_same_in_every_step,
                     a_step_that_is_computed_again_draws_the_same, a_loop_changes_a_shared_variable, loops_change_a_variable_one_after_the_other,
                     an_inner_loop_changes_a_variable, only_shared_variables_are_changed);
}
