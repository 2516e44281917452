// SPDX-License-Identifier: MIT
/* The rewrites of loops, by name: each fires where it should, does not on a near miss, and with it and without it (and with no rewriting at all) the
 * values are the same, in f64. Then what rewritten plans look like. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "core/rewrite/rewrite.h"
#include "verified.h"
#include "tests/helpers.h"
#include "tests/suite.h"

enum { T = 4, B = 3, D = 3, INPUTS = 6, MAX_OUT = 3 };

/* x, y (T, B, D); h, k (B, D); U, W (D, D). The loop of a row is over x's rows, T or however many they are. */
typedef struct problem { cg_graph *g; cg_node *in[INPUTS], *x, *y, *h, *k, *U, *W, *n, *out[MAX_OUT]; int nout; } problem;
typedef void building(problem *p);

static cg_scan *begin(problem *p) { return cg_scan_begin(p->g, CG_SCAN(.steps = p->n)); }

static cg_node *one_output(problem *p, cg_scan *s, cg_node *value, cg_scan_keep keep)
{
    cg_node *out = NULL;
    cg_scan_out(s, value, keep);
    ck_assert_msg(cg_scan_end(s, CG_OUT(&out)) == CG_OK, "%s", cg_graph_error(p->g)->text);
    return out;
}

static void give(problem *p, cg_node *out) { p->out[p->nout++] = out; }
static cg_node *product(cg_node *a, cg_node *b) { return cg_matmul(cg_transpose(a, CG_AXES(1, 0)), b); }

/* h' = f(h, x U), stacked or last */
static cg_node *rnn(problem *p, cg_node *x, cg_node *h0, cg_node *W, cg_scan_keep keep)
{
    cg_scan *s = begin(p);
    cg_node *h = cg_scan_state(s, h0), *next = cg_tanh(cg_add(cg_scan_seq(s, x), cg_matmul(h, W)));
    cg_scan_next(s, h, next);
    return one_output(p, s, next, keep);
}

/* ---- merge: same_loop differs in an output only */
static void two_outputs(problem *p)
{
    give(p, rnn(p, p->x, p->h, p->W, CG_SCAN_ALL));
    give(p, rnn(p, p->x, p->h, p->W, CG_SCAN_LAST));
}
static void other_weights(problem *p)
{
    give(p, rnn(p, p->x, p->h, p->W, CG_SCAN_ALL));
    give(p, rnn(p, p->x, p->h, p->U, CG_SCAN_LAST));
}

/* ---- join */
static void second_needs_first(problem *p) { give(p, rnn(p, rnn(p, p->x, p->h, p->W, CG_SCAN_ALL), p->h, p->U, CG_SCAN_LAST)); }
static void three_of_two_levels(problem *p)
{
    second_needs_first(p);
    give(p, rnn(p, p->y, p->k, p->U, CG_SCAN_SUM));
}

/* ---- once */
static void run_times(problem *p, double n)
{
    cg_scan *s = cg_scan_begin(p->g, CG_SCAN(.steps = cg_scalar(p->g, CG_I64, n)));
    cg_node *h = cg_scan_state(s, p->h), *next = cg_mul(cg_add(h, cg_scan_seq(s, p->x)), cg_cast(cg_add(cg_scan_index(s), cg_weak(p->g, 1)), CG_F64));
    cg_scan_next(s, h, next);
    cg_scan_out(s, next, CG_SCAN_ALL);
    cg_scan_out(s, next, CG_SCAN_LAST);
    cg_scan_out(s, cg_exp(h), CG_SCAN_SUM);
    p->nout = 3;
    ck_assert_msg(cg_scan_end(s, CG_OUT(&p->out[0], &p->out[1], &p->out[2])) == CG_OK, "%s", cg_graph_error(p->g)->text);
}
static void once(problem *p) { run_times(p, 1); }
static void never(problem *p) { run_times(p, 0); }
static void twice(problem *p) { run_times(p, 2); }

/* ---- sums over steps */
static void accumulate(problem *p, int read)
{
    cg_scan *s = begin(p);
    cg_node *h = cg_scan_state(s, p->h), *next = cg_add(h, cg_matmul(cg_scan_seq(s, p->x), p->U));
    cg_scan_next(s, h, next);
    cg_scan_out(s, next, read ? CG_SCAN_ALL : CG_SCAN_LAST);
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&p->out[0])), CG_OK);
    p->nout = 1;
}
static void push_out_dot(problem *p) { accumulate(p, 0); }
static void accumulated_rows_are_read(problem *p) { accumulate(p, 1); }

/* a state g without an end beside what the steps add up */
static cg_node *sum_beside_a_state(problem *p, cg_node *(*value)(problem *p, cg_node *g, cg_node *x, cg_node *y))
{
    cg_scan *s = begin(p);
    cg_node *g = cg_scan_state(s, p->h), *next = cg_tanh(cg_matmul(g, p->W));
    cg_scan_next(s, g, next);
    return one_output(p, s, value(p, g, cg_scan_seq(s, p->x), cg_scan_seq(s, p->y)), CG_SCAN_SUM);
}
static cg_node *gx(problem *p, cg_node *g, cg_node *x, cg_node *y) { (void)p, (void)y; return product(g, x); }
static cg_node *gx_and_xy(problem *p, cg_node *g, cg_node *x, cg_node *y) { (void)p; return cg_add(product(g, x), product(x, y)); }
static cg_node *g_u(problem *p, cg_node *g, cg_node *x, cg_node *y) { (void)x, (void)y; return cg_matmul(g, p->U); }
static cg_node *gg(problem *p, cg_node *g, cg_node *x, cg_node *y) { (void)p, (void)x, (void)y; return cg_mul(g, g); }
static cg_node *g_and_y(problem *p, cg_node *g, cg_node *x, cg_node *y) { (void)p, (void)x; return cg_add(g, y); }
static cg_node *gx_transposed(problem *p, cg_node *g, cg_node *x, cg_node *y) { (void)p, (void)y; return cg_transpose(product(g, x), CG_AXES(1, 0)); }
static void sum_transposed(problem *p) { give(p, sum_beside_a_state(p, gx_transposed)); }
static void sum_product(problem *p) { give(p, sum_beside_a_state(p, gx)); }
static void sum_terms(problem *p) { give(p, sum_beside_a_state(p, gx_and_xy)); }
static void sum_linear(problem *p) { give(p, sum_beside_a_state(p, g_u)); }
static void sum_squares(problem *p) { give(p, sum_beside_a_state(p, gg)); }
static void sum_no_products(problem *p) { give(p, sum_beside_a_state(p, g_and_y)); }
static void both_kept(problem *p, cg_node *(*f)(cg_node *))
{
    cg_scan *s = begin(p);
    cg_node *h = cg_scan_state(s, p->h), *next = cg_tanh(cg_add(cg_scan_seq(s, p->x), cg_matmul(h, p->W)));
    cg_scan_next(s, h, next);
    cg_scan_out(s, next, CG_SCAN_ALL);
    cg_scan_out(s, f(next), CG_SCAN_SUM);
    p->nout = 2;
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&p->out[0], &p->out[1])), CG_OK);
}
static cg_node *itself(cg_node *x) { return x; }
static cg_node *columns(cg_node *x) { return cg_sum(x, CG_REDUCE(CG_OVER(1))); }
static void sum_of_stack(problem *p) { both_kept(p, itself); }
static void sum_of_columns_of_stack(problem *p) { both_kept(p, columns); }
static void sum_of_other_than_stack(problem *p) { both_kept(p, cg_square); }

/* ---- after */
static void read_out(problem *p, cg_node *(*f)(problem *, cg_node *), cg_scan_keep keep, int feeds_back)
{
    cg_scan *s = begin(p);
    cg_node *h = cg_scan_state(s, p->h), *x = cg_scan_seq(s, p->x), *v = f(p, h);
    cg_scan_next(s, h, feeds_back ? v : cg_tanh(cg_add(x, cg_matmul(h, p->W))));
    give(p, one_output(p, s, v, keep));
}
static cg_node *logits(problem *p, cg_node *h) { return cg_softmax(cg_add(cg_matmul(h, p->U), p->k), 1); }
static cg_node *cost(problem *p, cg_node *h) { return cg_sum(cg_square(logits(p, h)), CG_REDUCE()); }
static cg_node *no_product(problem *p, cg_node *h) { return cg_exp(cg_add(h, p->k)); }
static void output_layer(problem *p) { read_out(p, logits, CG_SCAN_ALL, 0); }
static void cost_of_output_layer(problem *p) { read_out(p, cost, CG_SCAN_SUM, 0); }
static void output_layer_is_state(problem *p) { read_out(p, logits, CG_SCAN_ALL, 1); }
static void output_without_product(problem *p) { read_out(p, no_product, CG_SCAN_ALL, 0); }

/* ---- map */
static cg_node *mapped(problem *p, cg_node *(*f)(problem *, cg_node *x, cg_node *y), cg_scan_keep keep, int backwards)
{
    cg_scan *s = cg_scan_begin(p->g, CG_SCAN(.steps = p->n, .backwards = backwards));
    cg_node *x = cg_scan_seq(s, p->x), *y = cg_scan_seq(s, p->y);
    return one_output(p, s, f(p, x, y), keep);
}
static cg_node *many_operations(problem *p, cg_node *x, cg_node *y)
{
    cg_node *m = cg_max(cg_matmul(x, p->U), CG_REDUCE(CG_OVER(1), .keepdims = 1)), *z = cg_add(cg_matmul(p->W, y), cg_matmul(x, y));
    return cg_mul(cg_log_softmax(z, 0), cg_add(m, cg_broadcast_to(cg_reshape(cg_mean(y, CG_REDUCE(CG_OVER(0))), CG_SHAPE(1, D)), (cg_node *[]){ cg_dim(x, 0), cg_dim(x, 1) }, 2)));
}
static cg_node *a_slice(problem *p, cg_node *x, cg_node *y)
{
    (void)y;
    return cg_slice(cg_mul(x, x), 0, cg_scalar(p->g, CG_I64, 1), NULL, 1);
}
static void map_all(problem *p) { give(p, mapped(p, many_operations, CG_SCAN_ALL, 0)); }
static void map_backwards(problem *p) { give(p, mapped(p, many_operations, CG_SCAN_ALL, 1)); }
static void map_sum(problem *p) { give(p, cg_add(mapped(p, many_operations, CG_SCAN_SUM, 0), cg_weak(p->g, 1))); }
static void map_of_slices(problem *p) { give(p, mapped(p, a_slice, CG_SCAN_ALL, 0)); }
static void map_steps(problem *p)
{
    cg_scan *s = cg_scan_begin(p->g, CG_SCAN(.steps = p->n));
    cg_node *t = cg_cast(cg_scan_index(s), CG_F64);
    give(p, one_output(p, s, cg_mul(cg_scan_seq(s, p->x), t), CG_SCAN_ALL));
}

/* ---- states */
static void two_states(problem *p, cg_node *a0, cg_node *b0, int alike, int swap)
{
    cg_scan *s = begin(p);
    cg_node *a = cg_scan_state(s, a0), *b = cg_scan_state(s, b0), *x = cg_scan_seq(s, p->x);
    cg_node *na = cg_tanh(cg_add(cg_matmul(swap ? b : a, p->W), x)), *nb = cg_tanh(cg_add(cg_matmul(swap ? a : b, alike ? p->W : p->U), x));
    cg_scan_next(s, a, na);
    cg_scan_next(s, b, nb);
    cg_scan_out(s, na, CG_SCAN_ALL);
    cg_scan_out(s, cg_mul(nb, na), CG_SCAN_SUM);
    p->nout = 2;
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&p->out[0], &p->out[1])), CG_OK);
}
static void twins(problem *p) { two_states(p, p->h, p->h, 1, 0); }
static void crossed_twins(problem *p) { two_states(p, p->h, p->h, 1, 1); }
static void born_apart(problem *p) { two_states(p, p->h, p->k, 1, 0); }
static void parted(problem *p) { two_states(p, p->h, p->h, 0, 0); }
static void stays(problem *p, int stays)
{
    cg_scan *s = begin(p);
    cg_node *a = cg_scan_state(s, p->h), *b = cg_scan_state(s, p->k), *x = cg_scan_seq(s, p->x), *next = cg_tanh(cg_add(cg_matmul(a, b), x));
    cg_scan_next(s, a, next);
    cg_scan_next(s, b, stays ? b : cg_mul(b, x));
    cg_scan_out(s, next, CG_SCAN_ALL);
    cg_scan_out(s, b, CG_SCAN_SUM);
    p->nout = 2;
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&p->out[0], &p->out[1])), CG_OK);
}
static void constant_state(problem *p) { stays(p, 1); }
static void no_constant_state(problem *p) { stays(p, 0); }

/* ---- before */
static void row_work(problem *p, cg_node *(*f)(problem *, cg_node *x, cg_node *h))
{
    cg_scan *s = begin(p);
    cg_node *h = cg_scan_state(s, p->h), *next = cg_tanh(f(p, cg_scan_seq(s, p->x), h));
    cg_scan_next(s, h, next);
    give(p, one_output(p, s, next, CG_SCAN_ALL));
}
static cg_node *row_product(problem *p, cg_node *x, cg_node *h) { return cg_add(cg_matmul(cg_exp(x), p->U), cg_matmul(h, p->W)); }
static cg_node *row_softmax(problem *p, cg_node *x, cg_node *h) { return cg_matmul(h, cg_add(cg_softmax(x, 1), p->W)); }
static cg_node *row_exp(problem *p, cg_node *x, cg_node *h) { (void)p; return cg_matmul(h, cg_transpose(cg_exp(x), CG_AXES(1, 0))); }
static cg_node *row_sum(problem *p, cg_node *x, cg_node *h) { return cg_add(cg_exp(x), cg_matmul(h, p->W)); }
static cg_node *no_row(problem *p, cg_node *x, cg_node *h) { return cg_add(cg_matmul(h, p->W), cg_softmax(cg_mul(x, h), 1)); }
static void before_product(problem *p) { row_work(p, row_product); }
static void before_softmax(problem *p) { row_work(p, row_softmax); }
static void before_exp(problem *p) { row_work(p, row_exp); }
static void in_passing(problem *p) { row_work(p, row_sum); }
static void not_of_rows(problem *p) { row_work(p, no_row); }

/* ---- what goes, and what leaves */
static void unread(problem *p)
{
    cg_scan *s = begin(p);
    cg_node *h = cg_scan_state(s, p->h), *g = cg_scan_state(s, p->k), *x = cg_scan_seq(s, p->x), *next = cg_tanh(cg_add(cg_matmul(h, p->W), x)), *unread = NULL;
    cg_scan_next(s, h, next);
    cg_scan_next(s, g, cg_mul(g, cg_scan_seq(s, p->y)));
    cg_scan_out(s, next, CG_SCAN_ALL);
    cg_scan_out(s, cg_mul(g, h), CG_SCAN_ALL);
    p->nout = 1;
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&p->out[0], &unread)), CG_OK);
}
static void all_read(problem *p) { two_states(p, p->h, p->k, 0, 0); }
/* The products of the inner loop with rows of x are the same in each outer step. */
static void in_two_loops(problem *p, int same)
{
    cg_scan *outer = begin(p);
    cg_node *g = cg_scan_state(outer, p->h), *row = cg_scan_seq(outer, p->y);
    cg_scan *inner = begin(p);
    cg_node *h = cg_scan_state(inner, g), *x = cg_scan_seq(inner, p->x), *next = cg_tanh(cg_add(cg_matmul(x, same ? p->U : row), cg_matmul(h, p->W)));
    cg_scan_next(inner, h, next);
    cg_node *last = one_output(p, inner, next, CG_SCAN_LAST);
    cg_scan_next(outer, g, cg_mul(last, row));
    give(p, one_output(p, outer, last, CG_SCAN_ALL));
}
static void invariant_products(problem *p) { in_two_loops(p, 1); }
static void products_of_outer_rows(problem *p) { in_two_loops(p, 0); }

/* ---- the last row; of a length that is known only at the call there may be none */
static void last_row_of(problem *p, double steps, int64_t from)
{
    cg_scan *s = cg_scan_begin(p->g, CG_SCAN(.steps = cg_scalar(p->g, CG_I64, steps)));
    cg_node *h = cg_scan_state(s, p->h), *next = cg_tanh(cg_add(cg_scan_seq(s, p->x), cg_matmul(h, p->W)));
    cg_scan_next(s, h, next);
    give(p, cg_slice(one_output(p, s, next, CG_SCAN_ALL), 0, cg_scalar(p->g, CG_I64, (double)from), NULL, 1));
}
static void last_row(problem *p) { last_row_of(p, 3, -1); }
static void last_row_by_number(problem *p) { last_row_of(p, 3, 2); }
static void last_two_rows(problem *p) { last_row_of(p, 3, -2); }
static void no_row_at_all(problem *p) { last_row_of(p, 0, -1); }

typedef struct rule_row { const char *rule; building *hit, *miss; } rule_row;
static const rule_row rows[] = {
    { "loop_last_row", last_row, last_two_rows },
    { "loop_last_row", last_row_by_number, no_row_at_all },
    { "loop_merge", two_outputs, other_weights },
    { "loop_join", other_weights, second_needs_first },
    { "loop_join", three_of_two_levels, second_needs_first },
    { "loop_once", once, twice },
    { "loop_once", never, twice },
    { "loop_accumulator", push_out_dot, accumulated_rows_are_read },
    { "loop_sum_product", sum_product, sum_squares },
    { "loop_sum_product", sum_transposed, sum_squares },
    { "loop_sum_terms", sum_terms, sum_no_products },
    { "loop_sum_linear", sum_linear, sum_squares },
    { "loop_sum_stacked", sum_of_stack, sum_of_other_than_stack },
    { "loop_sum_stacked", sum_of_columns_of_stack, sum_of_other_than_stack },
    { "loop_after", output_layer, output_layer_is_state },
    { "loop_after", cost_of_output_layer, output_without_product },
    { "loop_map", map_all, map_of_slices },
    { "loop_map", map_backwards, output_without_product },
    { "loop_map", map_sum, map_of_slices },
    { "loop_map", map_steps, map_of_slices },
    { "loop_twins", twins, born_apart },
    { "loop_twins", crossed_twins, parted },
    { "loop_constant", constant_state, no_constant_state },
    { "loop_unused", unread, all_read },
    { "loop_invariant", invariant_products, all_read },
    { "loop_before", products_of_outer_rows, in_passing },
    { "loop_before", before_product, not_of_rows },
    { "loop_before", before_softmax, in_passing },
    { "loop_rows", before_exp, in_passing },
};

/* ---- values */

static cg_array *inputs[INPUTS];

static void make_inputs(void)
{
    static const int64_t shapes[INPUTS][3] = { { T, B, D }, { T, B, D }, { B, D }, { B, D }, { D, D }, { D, D } };
    unsigned seed = 5;
    for (int i = 0; i < INPUTS; i++) {
        double v[T * B * D];
        for (int k = 0; k < T * B * D; k++)
            v[k] = rand_r(&seed) / (double)RAND_MAX - 0.5;
        inputs[i] = cg_array_new(CG_F64, shapes[i], i < 2 ? 3 : 2, v);
    }
}

static void free_inputs(void)
{
    for (int i = 0; i < INPUTS; i++)
        cg_array_free(inputs[i]);
}

static void open_problem(problem *p, int known)
{
    const int64_t n = known ? T : CG_ANY;
    *p = (problem){ .g = cg_graph_new() };
    p->in[0] = p->x = cg_input(p->g, "x", CG_F64, CG_SHAPE(n, B, D));
    p->in[1] = p->y = cg_input(p->g, "y", CG_F64, CG_SHAPE(n, B, D));
    p->in[2] = p->h = cg_input(p->g, "h", CG_F64, CG_SHAPE(B, D));
    p->in[3] = p->k = cg_input(p->g, "k", CG_F64, CG_SHAPE(B, D));
    p->in[4] = p->U = cg_input(p->g, "U", CG_F64, CG_SHAPE(D, D));
    p->in[5] = p->W = cg_input(p->g, "W", CG_F64, CG_SHAPE(D, D));
    p->n = cg_dim(p->x, 0);
}

typedef struct counted { const char *name; int fired; } counted;

static void count(void *user, const cg_node *old, const cg_node *new_, const char *rule)
{
    counted *c = user;
    (void)old, (void)new_;
    c->fired += strcmp(rule, c->name) == 0;
}

/* The values of the outputs and of their gradients' squares, which have loops of their own; how often the rule fired on the outputs alone. */
static int evaluate(problem *p, const char *rule, const char *off, int plainly, cg_array **out)
{
    counted c = { .name = rule };
    cg__rewrite_how(&(cg_rewriting){ .off = off, .log = count, .user = &c });
    cg_function *f = cg_compile(p->g, CG_SPEC(.name = rule, .inputs = p->in, .ninputs = INPUTS, .outputs = p->out, .noutputs = p->nout, .unused = CG_UNUSED_IGNORE, .no_rewrites = plainly));
    ck_assert_msg(f != NULL, "%s: %s", rule, cg_last_error()->text);
    ck_assert_msg(cg_call(f, inputs, INPUTS, out) == CG_OK, "%s: %s", rule, cg_last_error()->text);
    cg__rewrite_how(NULL);
    cg_function_free(f);
    return c.fired;
}

static void same(const char *rule, const char *which, cg_array *a, cg_array *b)
{
    const double *x = cg_array_data(a), *y = cg_array_data(b);
    ck_assert_msg(x && y, "%s: %s", rule, cg_last_error()->text);
    ck_assert_msg(cg_array_count(a) == cg_array_count(b), "%s, %s: %lld elements, not %lld", rule, which, (long long)cg_array_count(a), (long long)cg_array_count(b));
    for (int64_t i = 0; i < cg_array_count(a); i++)
        ck_assert_msg(fabs(x[i] - y[i]) <= 1e-12 * (1 + fabs(y[i])), "%s, %s: element %lld is %.17g, not %.17g", rule, which, (long long)i, x[i], y[i]);
}

static void agree(const rule_row *r, building *build, int known, int fires)
{
    problem p;
    cg_array *on[MAX_OUT], *off[MAX_OUT], *plain[MAX_OUT];
    open_problem(&p, known);
    build(&p);
    const int fired = evaluate(&p, r->rule, NULL, 0, on);
    ck_assert_msg((fired > 0) == fires, "%s fires %d times (row %d, %s)", r->rule, fired, (int)(r - rows), known ? "known" : "free");
    ck_assert_int_eq(evaluate(&p, r->rule, r->rule, 0, off), 0);
    evaluate(&p, r->rule, NULL, 1, plain);
    for (int k = 0; k < p.nout; k++) {
        same(r->rule, "on", on[k], plain[k]);
        same(r->rule, "off", off[k], plain[k]);
        cg_array_free(on[k]);
        cg_array_free(off[k]);
        cg_array_free(plain[k]);
    }
    ck_assert_int_eq(cg_graph_verify(p.g), CG_OK);
    cg_graph_free(p.g);
}

START_TEST(each_rewrite_fires_where_it_should_and_changes_no_value)
{
    make_inputs();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int known = 0; known < 2; known++) {
            agree(&rows[i], rows[i].hit, known, 1);
            agree(&rows[i], rows[i].miss, known, 0);
        }
    free_inputs();
}
END_TEST

/* ---- gradients, with each rewrite off */

static void gradient(problem *p)
{
    cg_node *c = NULL, *to[INPUTS];
    for (int k = 0; k < p->nout; k++) {
        cg_node *v = cg_sum(cg_square(cg_add(p->out[k], cg_weak(p->g, 0.25))), CG_REDUCE());
        c = c ? cg_add(c, v) : v;
    }
    ck_assert_msg(cg_grad_with(c, p->in, INPUTS, CG_OUT(&to[0], &to[1], &to[2], &to[3], &to[4], &to[5]), CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS)) == CG_OK, "%s", cg_graph_error(p->g)->text);
    p->nout = 2;
    p->out[0] = cg_add(cg_sum(to[0], CG_REDUCE()), cg_sum(cg_mul(to[1], to[1]), CG_REDUCE()));
    p->out[1] = cg_concatenate((cg_node *[]){ to[2], to[3], to[4], to[5] }, 4, 0);
}

START_TEST(gradients_are_the_same_with_each_rewrite_switched_off)
{
    make_inputs();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static const char *const off[] = { NULL, "loops" };
        problem p;
        cg_array *plain[MAX_OUT], *got[MAX_OUT];
        open_problem(&p, i % 2);
        rows[i].hit(&p);
        gradient(&p);
        evaluate(&p, rows[i].rule, NULL, 1, plain);
        for (int w = 0; w < 3; w++) {
            evaluate(&p, rows[i].rule, w < 2 ? off[w] : rows[i].rule, 0, got);
            for (int k = 0; k < 2; k++) {
                same(rows[i].rule, w == 0 ? "gradient" : w == 1 ? "gradient, loops off" : "gradient, rule off", got[k], plain[k]);
                cg_array_free(got[k]);
            }
        }
        for (int k = 0; k < 2; k++)
            cg_array_free(plain[k]);
        cg_graph_free(p.g);
    }
    free_inputs();
}
END_TEST

/* ---- plans */

static void plan_is(building *build, const char *what, int repeats, int gemms)
{
    problem p;
    open_problem(&p, 0);
    build(&p);
    cg_function *f = cg_compile(p.g, CG_SPEC(.name = what, .inputs = p.in, .ninputs = INPUTS, .outputs = p.out, .noutputs = p.nout, .unused = CG_UNUSED_IGNORE));
    char *plan = f ? cg_function_show(f, CG_STAGE_PLAN) : NULL;
    ck_assert_msg(plan && occurrences(plan, "(repeat ") == repeats && occurrences(plan, "(gemm ") == gemms, "%s: %s", what, plan ? plan : cg_last_error()->text);
    cg_text_free(plan);
    cg_function_free(f);
    cg_graph_free(p.g);
}

START_TEST(plans_have_the_loops_and_products_that_are_left)
{
    plan_is(map_all, "a map is no loop", 0, 3);
    plan_is(push_out_dot, "a sum of products is one product", 1, 1);
    plan_is(output_layer, "one product in the loop, one after it", 1, 2);
    plan_is(other_weights, "two loops in one", 1, 2);
    plan_is(twins, "twins share their product", 1, 1);
    plan_is(sum_terms, "a product in the loop, two after it", 1, 3);
}
END_TEST

/* (mul (mul h 2) 3) is a product by 6 in a body, too, and exp(h) / sum exp(h) a softmax. */
static void simple_body(problem *p)
{
    cg_scan *s = begin(p);
    cg_node *h = cg_scan_state(s, p->h), *e = cg_exp(cg_mul(cg_mul(h, cg_weak(p->g, 2)), cg_weak(p->g, 3)));
    cg_node *next = cg_add(cg_div(e, cg_sum(e, CG_REDUCE(CG_OVER(1), .keepdims = 1))), cg_scan_seq(s, p->x));
    cg_scan_next(s, h, next);
    give(p, one_output(p, s, next, CG_SCAN_ALL));
}

START_TEST(bodies_are_rewritten_by_the_rules)
{
    problem p;
    open_problem(&p, 0);
    simple_body(&p);
    cg_function *f = cg_compile(p.g, CG_SPEC(.name = "body", .inputs = p.in, .ninputs = INPUTS, .outputs = p.out, .noutputs = 1, .unused = CG_UNUSED_IGNORE));
    char *text = f ? cg_function_show(f, CG_STAGE_OPTIMIZED) : NULL;
    ck_assert_msg(text && strstr(text, "softmax") && !strstr(text, "exp") && strstr(text, " 6)"), "%s", text ? text : cg_last_error()->text);
    cg_text_free(text);
    cg_function_free(f);
    cg_graph_free(p.g);
}
END_TEST

START_TEST(every_rewrite_is_listed_and_tested)
{
    char *text = cg_list_rules();
    ck_assert_ptr_nonnull(text);
    int listed = 0;
    for (const char *at = text; (at = strstr(at, "\n  loop_")); at++) {
        int tested = 0;
        const int n = (int)strcspn(at + 3, " ");
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
            tested += (int)strlen(rows[i].rule) == n && strncmp(rows[i].rule, at + 3, (size_t)n) == 0;
        ck_assert_msg(tested, "%.*s has no test", n, at + 3);
        listed++;
    }
    ck_assert_int_eq(listed, 17);
    cg_text_free(text);
}
END_TEST

int main(void)
{
    return RUN_TESTS("scan_rules", plans_have_the_loops_and_products_that_are_left, bodies_are_rewritten_by_the_rules, every_rewrite_is_listed_and_tested, each_rewrite_fires_where_it_should_and_changes_no_value, gradients_are_the_same_with_each_rewrite_switched_off);
}
