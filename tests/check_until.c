// SPDX-License-Identifier: MIT
/* Loops that end when a condition holds, on the device of CG_DEVICE, against the steps they make written out in the graph and run on the cpu,
 * in f64: values, gradients and gradients of gradients; and what is built on the number of steps done. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "verified.h"
#include "tests/helpers.h"
#include "tests/suite.h"

enum { ROWS = 2, WIDE = 3, ROOTS = 7, NEVER = 99 };

/* ---- a loop over rows of x that ends at the row whose flag is set, and its steps */

typedef struct problem { cg_graph *g; cg_node *x, *flag, *h, *W, *in[4]; cg_array *arrays[4]; } problem;

/* `most` flags, that of step `stop` is set. */
static cg_array *flags(int64_t most, int64_t stop, int backwards)
{
    double v[16] = { 0 };
    for (int64_t t = 0; t < most; t++)
        v[backwards ? most - 1 - t : t] = t == stop;
    return cg_array_new(CG_F64, &most, 1, v);
}

static void open_problem(problem *p, int64_t most, int64_t stop, int known, int backwards)
{
    const int64_t n = known ? most : CG_ANY;
    *p = (problem){ .g = cg_graph_new() };
    p->in[0] = p->x = cg_input(p->g, "x", CG_F64, CG_SHAPE(n, ROWS, WIDE));
    p->in[1] = p->flag = cg_input(p->g, "flag", CG_F64, CG_SHAPE(n));
    p->in[2] = p->h = cg_input(p->g, "h", CG_F64, CG_SHAPE(ROWS, WIDE));
    p->in[3] = p->W = cg_input(p->g, "W", CG_F64, CG_SHAPE(WIDE, WIDE));
    p->arrays[0] = random_array((int64_t[]){ most, ROWS, WIDE }, 3, 1);
    p->arrays[1] = flags(most, stop, backwards);
    p->arrays[2] = random_array((int64_t[]){ ROWS, WIDE }, 2, 3);
    p->arrays[3] = random_array((int64_t[]){ WIDE, WIDE }, 2, 4);
}

static void close_problem(problem *p)
{
    for (int i = 0; i < 4; i++)
        cg_array_free(p->arrays[i]);
    cg_graph_free(p->g);
}

static const char *said(const problem *p) { return cg_graph_error(p->g) ? cg_graph_error(p->g)->text : cg_last_error()->text; }

typedef struct cell { cg_node *x, *h, *W, *t, *next, *extra; } cell;       /* extra: kept, too */
static void rnn(cell *c) { c->next = cg_tanh(cg_add(c->x, cg_matmul(c->h, c->W))); c->extra = cg_mul(c->h, c->x); }
static void products(cell *c) { c->extra = cg_matmul(c->x, c->W); c->next = cg_add(cg_scale(c->h, 0.5), c->extra); }
static void rows_alone(cell *c) { c->next = cg_square(c->x); c->extra = c->x; }
static void counts(cell *c) { c->next = cg_mul(cg_sin(c->h), cg_cast(c->t, CG_F64)); c->extra = c->h; }
static void reduces(cell *c) { c->next = cg_softmax(cg_add(cg_matmul(c->h, c->W), c->x), -1); c->extra = c->next; }

typedef struct loop_row { const char *name; void (*step)(cell *); int all, last, sum, extra; } loop_row;      /* which outputs there are */
static const loop_row loops[] = {
    { "rnn, all", rnn, 1, 0, 0, 0 },
    { "rnn, last", rnn, 0, 1, 0, 0 },
    { "rnn, sum", rnn, 0, 0, 1, 0 },
    { "rnn, everything", rnn, 1, 1, 1, 1 },
    { "products", products, 1, 1, 1, 1 },
    { "rows alone", rows_alone, 1, 0, 1, 1 },
    { "the step's number", counts, 1, 1, 0, 1 },
    { "reductions", reduces, 1, 1, 0, 0 },
};
enum { ALL, LAST, SUM, EXTRA, KEPT };

static void as_loop(problem *p, const loop_row *row, int backwards, int64_t last, cg_node **out)
{
    cg_scan *s = cg_scan_begin(p->g, CG_SCAN(.backwards = backwards, .truncate_gradient = last));
    cell c = { .x = cg_scan_seq(s, p->x), .h = cg_scan_state(s, p->h), .W = p->W, .t = cg_scan_index(s) };
    cg_node **where[KEPT];
    int n = 0;
    row->step(&c);
    cg_scan_next(s, c.h, c.next);
    const struct { int there; cg_node *value; cg_scan_keep keep; } kept[KEPT] = {
        [ALL] = { row->all, c.next, CG_SCAN_ALL }, [LAST] = { row->last, c.next, CG_SCAN_LAST }, [SUM] = { row->sum, c.next, CG_SCAN_SUM }, [EXTRA] = { row->extra, c.extra, CG_SCAN_ALL },
    };
    for (int k = 0; k < KEPT; k++) {
        out[k] = NULL;
        if (kept[k].there && cg_scan_out(s, kept[k].value, kept[k].keep) == CG_OK)
            where[n++] = &out[k];
    }
    cg_scan_until(s, cg_greater(cg_scan_seq(s, p->flag), cg_scalar(p->g, CG_F64, 0.5)));
    ck_assert_msg(cg_scan_end(s, where, n) == CG_OK, "%s: %s", row->name, said(p));
}

static cg_node *integer(cg_graph *g, int64_t v) { return cg_scalar(g, CG_I64, (double)v); }

static cg_node *row_of(cg_node *x, int64_t i)
{
    cg_graph *g = cg_node_graph(x);
    return cg_reshape(cg_slice(x, 0, integer(g, i), integer(g, i + 1), 1), CG_SHAPE(ROWS, WIDE));
}

/* Rows of what is stacked weighted by their number from 1, which tells them apart. */
static cg_node *constant_if(int yes, cg_node *x) { return yes ? cg_zero_grad(x) : x; }

/* Only the `last` steps are differentiated, all if that is 0. */
static void written_out(problem *p, const loop_row *row, int64_t most, int64_t done, int backwards, int64_t last, cg_node **out)
{
    cell c = { .h = p->h, .W = p->W };
    cg_node *zero = cg_zeros_like(p->h);
    const int there[KEPT] = { row->all, row->last, row->sum, row->extra };
    for (int k = 0; k < KEPT; k++)
        out[k] = there[k] ? zero : NULL;
    out[LAST] = row->last ? p->h : NULL;
    c.h = constant_if(last && last < done, c.h);
    for (int64_t t = 0; t < done; t++) {
        c.x = row_of(p->x, backwards ? most - 1 - t : t);
        c.t = integer(p->g, t);
        row->step(&c);
        c.h = c.next = constant_if(last && t < done - last, c.next);
        c.extra = constant_if(last && t < done - last, c.extra);
        out[ALL] = row->all ? cg_add(out[ALL], cg_scale(c.next, (double)(t + 1))) : NULL;
        out[LAST] = row->last ? c.next : NULL;
        out[SUM] = row->sum ? cg_add(out[SUM], c.next) : NULL;
        out[EXTRA] = row->extra ? cg_add(out[EXTRA], cg_scale(c.extra, (double)(t + 1))) : NULL;
    }
}

/* The same of a stack, by an arange as long as it has rows. */
static cg_node *weighted(cg_node *stack)
{
    cg_graph *g = cg_node_graph(stack);
    cg_node *rows = cg_dim(stack, 0), *one = integer(g, 1);
    cg_node *w = cg_cast(cg_arange(one, cg_add(rows, one), one), CG_F64);
    return cg_sum(cg_mul(stack, cg_expand_dims(cg_expand_dims(w, 1), 1)), CG_REDUCE(CG_OVER(0)));
}

static cg_node *cost_of(problem *p, cg_node **out)
{
    double w[ROWS * WIDE];
    for (int i = 0; i < ROWS * WIDE; i++)
        w[i] = 0.5 + i % 4;
    cg_node *weights = cg_constant(p->g, CG_F64, CG_SHAPE(ROWS, WIDE), w), *cost = cg_scalar(p->g, CG_F64, 0);
    for (int k = 0; k < KEPT; k++)
        if (out[k])
            cost = cg_add(cost, cg_sum(cg_mul(cg_scale(out[k], k + 1.0), weights), CG_REDUCE()));
    return cost;
}

/* The cost, its gradients, and those of the sum of their squares. */
static void roots_of(problem *p, const char *name, cg_node **out, cg_node **roots)
{
    static const cg_grad_spec zeros = { .struct_size = sizeof(cg_grad_spec), .disconnected = CG_DISCONNECTED_ZEROS };
    roots[0] = cost_of(p, out);
    ck_assert_msg(cg_grad_with(roots[0], CG_NODES(p->x, p->h, p->W), CG_OUT(&roots[1], &roots[2], &roots[3]), &zeros) == CG_OK, "%s: %s", name, said(p));
    cg_node *again = cg_scalar(p->g, CG_F64, 0);
    for (int i = 1; i < 4; i++)
        again = cg_add(again, cg_sum(cg_square(roots[i]), CG_REDUCE()));
    ck_assert_msg(cg_grad_with(again, CG_NODES(p->x, p->h, p->W), CG_OUT(&roots[4], &roots[5], &roots[6]), &zeros) == CG_OK, "%s: %s", name, said(p));
}

static void evaluate(problem *p, const char *name, cg_device *d, int plainly, cg_node **roots, int n, cg_array **out)
{
    cg_function *f = cg_compile(p->g, CG_SPEC(.name = name, .inputs = p->in, .ninputs = 4, .outputs = roots, .noutputs = n, .device = d, .no_rewrites = plainly,
                                              .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f != NULL, "%s: %s", name, cg_last_error()->text);
    ck_assert_msg(cg_call(f, p->arrays, 4, out) == CG_OK, "%s: %s", name, cg_last_error()->text);
    cg_function_free(f);
}

static void same(const char *name, int64_t done, int what, cg_array *a, cg_array *b)
{
    const double *x = cg_array_data(a), *y = cg_array_data(b);
    ck_assert_msg(x && y && cg_array_count(a) == cg_array_count(b), "%s: %s", name, cg_last_error()->text);
    for (int64_t i = 0; i < cg_array_count(a); i++)
        ck_assert_msg(fabs(x[i] - y[i]) <= 1e-11 * (1 + fabs(y[i])), "%s, %lld steps done, root %d: element %lld is %.17g, not %.17g", name, (long long)done, what,
                      (long long)i, x[i], y[i]);
    cg_array_free(a);
}

/* The number of steps done as an output, and as the rows of one. */
static void counted(problem *p, const char *name, cg_node *stack, int plainly, int64_t done)
{
    cg_node *roots[2] = { cg_dim(stack, 0), stack };
    cg_array *out[2];
    evaluate(p, name, NULL, plainly, roots, 2, out);
    const int64_t *n = cg_array_data(out[0]);
    ck_assert_msg(n && *n == done && cg_array_shape(out[1])[0] == done, "%s: %lld steps done and %lld rows, not %lld", name, n ? (long long)*n : -1,
                  (long long)cg_array_shape(out[1])[0], (long long)done);
    ck_assert(cg_array_data(out[1]) != NULL || !done);
    cg_array_free(out[0]);
    cg_array_free(out[1]);
}

static void compare(const loop_row *row, int64_t most, int64_t stop, int known, int backwards, int64_t last)
{
    const int nroots = last ? ROOTS - 3 : ROOTS;     /* what a truncated gradient counts as constant is no longer there to be derived */
    const int64_t done = stop < most ? stop + 1 : most;
    problem p;
    cg_node *loop[KEPT], *plain[KEPT], *roots[2][ROOTS];
    cg_array *got[ROOTS], *want[ROOTS];
    open_problem(&p, most, stop, known, backwards);
    as_loop(&p, row, backwards, last, loop);
    for (int plainly = 0; plainly < 2 && row->all; plainly++)
        counted(&p, row->name, loop[ALL], plainly, done);
    for (int k = 0; k < KEPT; k++)
        loop[k] = loop[k] && (k == ALL || k == EXTRA) ? weighted(loop[k]) : loop[k];
    written_out(&p, row, most, done, backwards, last, plain);
    roots_of(&p, row->name, loop, roots[0]);
    roots_of(&p, row->name, plain, roots[1]);
    evaluate(&p, row->name, cg_device_open("cpu"), 0, roots[1], nroots, want);
    for (int plainly = 0; plainly < 2; plainly++) {
        evaluate(&p, row->name, NULL, plainly, roots[0], nroots, got);
        for (int i = 0; i < nroots; i++)
            same(row->name, done, i, got[i], want[i]);
    }
    for (int i = 0; i < nroots; i++)
        cg_array_free(want[i]);
    close_problem(&p);
    if (getenv("CG_TEST_BATCH"))
        cg_shutdown();
}

START_TEST(loops_end_after_the_step_that_says_so)
{
    static const struct { int64_t most, stop; } ends[] = { { 5, 0 }, { 5, 2 }, { 5, 4 }, { 5, NEVER }, { 1, 0 }, { 1, NEVER }, { 0, NEVER } };
    for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++)
        for (size_t e = 0; e < sizeof ends / sizeof ends[0]; e++)
            for (int way = 0; way < 2; way++)        /* forwards over a length first seen at the call, backwards over a known one */
                compare(&loops[i], ends[e].most, ends[e].stop, way, way, 0);
}
END_TEST

/* What oclgrind can afford, which loses its way in products. */
START_TEST(loops_without_products)
{
    for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++)
        for (int way = 0; way < 2 && (loops[i].step == rows_alone || loops[i].step == counts); way++)
            compare(&loops[i], 3, 1, way, way, 0);
}
END_TEST

START_TEST(the_last_steps_are_those_that_were_made)
{
    for (int64_t last = 1; last <= 4; last++)
        for (int64_t stop = 0; stop < 5; stop += 2)
            for (int way = 0; way < 2; way++)
                compare(&loops[3 + last % 2], 5, stop, way, way, last);
}
END_TEST

/* ---- other conditions, and sizes */

static cg_function *compiled(cg_graph *g, cg_function *f)
{
    ck_assert_msg(f != NULL, "%s", cg_graph_error(g) ? cg_graph_error(g)->text : cg_last_error()->text);
    return f;
}

/* Halves v until it is below 1; the values on the way. */
static cg_node *halved(cg_graph *g, cg_node *v, int64_t most)
{
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = integer(g, most)));
    cg_node *h = cg_scan_state(s, v), *next = cg_scale(h, 0.5), *all = NULL;
    cg_scan_next(s, h, next);
    cg_scan_until(s, cg_less(next, cg_scalar(g, CG_F64, 1)));
    cg_scan_out(s, next, CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&all));
    return all;
}

START_TEST(a_condition_is_of_states_numbers_or_constants)
{
    static const struct { double v; int64_t done; } rows[] = { { 0.5, 1 }, { 1.5, 1 }, { 6, 3 }, { 40, 6 }, { 1e9, 20 } };
    cg_graph *g = cg_graph_new();
    cg_node *v = cg_input(g, "v", CG_F64, NULL, 0), *k = cg_input(g, "k", CG_I64, NULL, 0), *by_number = NULL, *at_once = NULL;
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = integer(g, 9)));
    cg_node *t = cg_scan_index(s);
    cg_scan_until(s, cg_equal(t, k));
    cg_scan_out(s, cg_mul(t, t), CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&by_number));
    s = cg_scan_begin(g, CG_SCAN(.steps = k));
    cg_scan_until(s, cg_scalar(g, CG_BOOL, 1));
    cg_scan_out(s, cg_scan_index(s), CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&at_once));
    cg_function *f = compiled(g, cg_compile(g, CG_SPEC(.name = "ends", CG_INPUTS(v, k), CG_OUTPUTS(halved(g, v, 20), by_number, cg_dim(at_once, 0)))));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const int64_t number = (int64_t)i * 3 - 1;       /* -1: never reached */
        cg_array *in[] = { cg_array_new(CG_F64, NULL, 0, &rows[i].v), cg_array_new(CG_I64, NULL, 0, (int64_t[]){ number < 0 ? 0 : number }) }, *out[3];
        ck_assert_msg(cg_call(f, in, 2, out) == CG_OK, "%s", cg_last_error()->text);
        ck_assert_int_eq(cg_array_shape(out[0])[0], rows[i].done);
        ck_assert(((const double *)cg_array_data(out[0]))[rows[i].done - 1] == rows[i].v / (double)((int64_t)1 << rows[i].done));
        const int64_t at = number < 0 ? 0 : number, done = at < 9 ? at + 1 : 9;
        ck_assert_int_eq(cg_array_shape(out[1])[0], done);
        ck_assert_int_eq(((const int64_t *)cg_array_data(out[1]))[done - 1], (done - 1) * (done - 1));
        ck_assert_int_eq(*(const int64_t *)cg_array_data(out[2]), at > 0);
        for (int k2 = 0; k2 < 3; k2++)
            cg_array_free(out[k2]);
        cg_array_free(in[0]);
        cg_array_free(in[1]);
    }
    cg_stats stats;
    cg_function_stats(f, &stats);
    ck_assert_int_eq(stats.plans, 1);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* Rows that are products, softmax and slices of as many rows as steps were done, and what is shaped by arithmetic on that. */
START_TEST(the_steps_done_are_a_size_of_what_follows)
{
    cg_graph *g = cg_graph_new();
    cg_node *v = cg_input(g, "v", CG_F64, NULL, 0), *all = halved(g, v, 12), *n = cg_dim(all, 0), *two = integer(g, 2);
    cg_node *column = cg_expand_dims(all, 1), *outer = cg_matmul(column, cg_transpose(column, NULL, 0));           // (n, n)
    cg_node *tail = cg_slice(all, 0, cg_floor_divide(n, two), NULL, 1), *odd = cg_slice(all, 0, NULL, NULL, 2);
    cg_node *square = cg_full(cg_mean(all, CG_REDUCE()), (cg_node *[]){ n, cg_mul(n, two) }, 2);                   // (n, 2 n)
    cg_node *table = cg_concatenate((cg_node *[]){ all, cg_cast(cg_arange(integer(g, 0), n, integer(g, 1)), CG_F64), tail }, 3, 0);
    cg_function *f = compiled(g, cg_compile(g, CG_SPEC(.name = "sizes", CG_INPUTS(v), CG_OUTPUTS(outer, tail, odd, square, table, cg_softmax(outer, 1), cg_cast(n, CG_F32)))));
    char *plan = cg_function_show(f, CG_STAGE_PLAN);
    ck_assert_msg(strstr(plan, "times the next ") && strstr(plan, ", until s") && strstr(plan, " = (found ") && strstr(plan, " behind a cut"), "%s", plan);
    cg_text_free(plan);
    for (int64_t done = 1; done <= 13; done += 4) {
        const int64_t rows = done < 12 ? done : 12;
        const double start = (double)((int64_t)1 << done) * 0.75;
        double value[12], sum = 0;
        cg_array *in = cg_array_new(CG_F64, NULL, 0, &start), *out[7];
        for (int64_t i = 0; i < rows; i++)
            sum += value[i] = start / (double)((int64_t)2 << i);
        ck_assert_msg(cg_call(f, &in, 1, out) == CG_OK, "%s", cg_last_error()->text);
        const double *o[7];
        for (int k = 0; k < 6; k++)
            ck_assert((o[k] = cg_array_data(out[k])) != NULL);
        ck_assert(cg_array_shape(out[0])[0] == rows && cg_array_shape(out[0])[1] == rows && cg_array_shape(out[1])[0] == rows - rows / 2 && cg_array_shape(out[2])[0] == (rows + 1) / 2);
        ck_assert(cg_array_shape(out[3])[1] == rows * 2 && cg_array_count(out[4]) == rows * 2 + rows - rows / 2);
        for (int64_t i = 0; i < rows; i++) {
            double s = 0;
            for (int64_t j = 0; j < rows; j++) {
                ck_assert(o[0][i * rows + j] == value[i] * value[j] && fabs(o[3][i * rows * 2 + j * 2] - sum / (double)rows) < 1e-9);
                s += o[5][i * rows + j];
            }
            ck_assert(o[4][i] == value[i] && o[4][rows + i] == (double)i && fabs(s - 1) < 1e-12);
            ck_assert(i < rows / 2 || o[1][i - rows / 2] == value[i]);
            ck_assert(i % 2 || o[2][i / 2] == value[i]);
        }
        ck_assert(((const float *)cg_array_data(out[6]))[0] == (float)rows);
        for (int k = 0; k < 7; k++)
            cg_array_free(out[k]);
        cg_array_free(in);
    }
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* ---- loops in loops */

/* For each v: the mean of its halves, of which there are as many as it takes; the outer loop ends at a v above 100. */
START_TEST(a_loop_with_until_is_a_step_of_another)
{
    static const double v[] = { 3, 0.1, 50, 20, 700, 5, 9 };
    const int64_t n = 7;
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F64, CG_SHAPE(CG_ANY)), *means = NULL, *dx = NULL;
    cg_scan *s = cg_scan_begin(g, CG_SCAN());
    cg_node *e = cg_scan_seq(s, x), *all = halved(g, e, 30), *mean = cg_mean(cg_square(all), CG_REDUCE());
    cg_scan_until(s, cg_greater(e, cg_scalar(g, CG_F64, 100)));
    cg_scan_out(s, mean, CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&means));
    ck_assert_msg(means && cg_grad(cg_sum(means, CG_REDUCE()), CG_NODES(x), CG_OUT(&dx)) == CG_OK, "%s", cg_graph_error(g) ? cg_graph_error(g)->text : "?");
    for (int plainly = 0; plainly < 2; plainly++) {
        cg_function *f = compiled(g, cg_compile(g, CG_SPEC(.name = "nested", CG_INPUTS(x), CG_OUTPUTS(means, dx), .no_rewrites = plainly)));
        cg_array *in = cg_array_new(CG_F64, &n, 1, v), *out[2];
        ck_assert_msg(cg_call(f, &in, 1, out) == CG_OK, "%s", cg_last_error()->text);
        ck_assert_int_eq(cg_array_count(out[0]), 5);
        const double *m = cg_array_data(out[0]), *d = cg_array_data(out[1]);
        for (int i = 0; i < n; i++) {
            double h = v[i], sum = 0, slope = 0;
            int done = 0;
            do {
                h /= 2;
                sum += h * h;
                slope += 2 * h * h / v[i];
                done++;
            } while (h >= 1);
            ck_assert_msg(i >= 5 || fabs(m[i] - sum / done) <= 1e-12 * sum, "element %d: %.17g, not %.17g", i, m[i], sum / done);
            ck_assert_msg(fabs(d[i] - (i < 5 ? slope / done : 0)) <= 1e-12 * slope, "gradient %d: %.17g, not %.17g", i, d[i], i < 5 ? slope / done : 0);
        }
        for (int k = 0; k < 2; k++)
            cg_array_free(out[k]);
        cg_array_free(in);
        cg_function_free(f);
    }
    cg_graph_free(g);
}
END_TEST

/* Step t sums the products of t + 1 rows, and ends when that is above 5: arrays of the body that are not the same size in each step. */
START_TEST(what_a_step_places_is_as_large_as_it_may_be)
{
    const int64_t shape[] = { 6, 2 };
    double v[12], sum[6], step = 0;
    for (int i = 0; i < 12; i++)
        v[i] = 0.25 * i;
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F64, CG_SHAPE(CG_ANY, 2)), *sums = NULL;
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = cg_dim(x, 0)));
    cg_node *rows = cg_slice(x, 0, NULL, cg_add(cg_scan_index(s), integer(g, 1)), 1), *products = cg_matmul(rows, cg_transpose(rows, NULL, 0));
    cg_node *out = cg_sum(cg_matmul(products, rows), CG_REDUCE());
    cg_scan_until(s, cg_greater(out, cg_scalar(g, CG_F64, 100)));
    cg_scan_out(s, out, CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&sums));
    cg_function *f = compiled(g, cg_compile(g, CG_SPEC(.name = "triangle", CG_INPUTS(x), CG_OUTPUTS(sums))));
    cg_array *in = cg_array_new(CG_F64, shape, 2, v), *got = NULL;
    int64_t done = 0;
    while (done < 6 && step <= 100) {
        step = 0;
        for (int64_t i = 0; i <= done; i++)
            for (int64_t j = 0; j <= done; j++)
                step += (v[i * 2] * v[j * 2] + v[i * 2 + 1] * v[j * 2 + 1]) * (v[j * 2] + v[j * 2 + 1]);
        sum[done++] = step;
    }
    ck_assert_msg(done == 5 && cg_call(f, &in, 1, &got) == CG_OK, "%lld: %s", (long long)done, cg_last_error()->text);
    const double *o = cg_array_data(got);
    ck_assert_int_eq(cg_array_count(got), done);
    for (int64_t i = 0; i < done; i++)
        ck_assert_msg(o && fabs(o[i] - sum[i]) <= 1e-12 * sum[i], "%.17g, not %.17g", o ? o[i] : 0, sum[i]);
    cg_array_free(got);
    cg_array_free(in);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* What the numbers of a plan come to at any step, with anything found, lies between their bounds. */
START_TEST(numbers_lie_between_their_bounds)
{
    static const cg_num_op ops[] = { CG_N_ADD, CG_N_SUB, CG_N_MUL, CG_N_FDIV, CG_N_MOD, CG_N_MAX, CG_N_MIN, CG_N_NEG, CG_N_LT, CG_N_EQ, CG_N_STRETCH, CG_N_SELECT };
    static const cg_num_env none = { 0 };
    for (unsigned seed = 1; seed < 200; seed++) {
        unsigned at = seed;
        cg_plan *p = cg__zalloc(sizeof *p);
        int64_t n[64], lo[64], hi[64];
        const cg_num five = cg__num_const(p, 5);
        cg__num(p, CG_N_FOUND, 0, five, 0, 0);
        cg__num(p, CG_N_STEP, 1, five, 0, 0);
        for (int64_t v = -3; v < 3; v++)
            cg__num_const(p, v * v * v);
        while (p->nums.n < 48) {
            const int a = rand_r(&at) % p->nums.n, b = rand_r(&at) % p->nums.n, c = rand_r(&at) % p->nums.n;
            cg__num(p, ops[(unsigned)rand_r(&at) % (sizeof ops / sizeof ops[0])], a, b, c, 0);
        }
        for (int i = 0; i < 2; i++)
            ck_assert(CG_PUSH(&p->steps, ((cg_step){ .kind = CG_STEP_REPEAT, .repeat = { .count = five, .index = i, .until = -1 } })));
        ck_assert(cg__plan_repeats(p) && cg__nums_run(p, &none, n) == CG_OK);
        cg__nums_bounds(p, n, lo, hi);
        for (int64_t found = 0; found <= 5; found++)
            for (int64_t step = 0; step < 5; step++) {
                cg__nums_found(p, &none, n, &p->steps.at[0].repeat, found);
                cg__nums_step(p, &none, n, &p->steps.at[1].repeat, step);
                for (int i = 0; i < p->nums.n; i++)
                    ck_assert_msg(lo[i] <= n[i] && n[i] <= hi[i], "seed %u, op %d: %lld, not in %lld..%lld", seed, p->nums.at[i].op, (long long)n[i], (long long)lo[i], (long long)hi[i]);
            }
        cg__plan_free(p);
    }
}
END_TEST

/* ---- what goes wrong */

static void call_fails(cg_function *f, cg_array **in, int n, const char *part)
{
    cg_array *out[2] = { NULL };
    int rc = cg_call(f, in, n, out);
    if (rc == CG_OK && out[0] && !cg_array_data(out[0]))         /* a device that runs calls later tells with the value */
        rc = cg_last_error()->code;
    ck_assert_msg(rc < 0 && strstr(cg_last_error()->text, part), "'%s' is not in: %s", part, cg_last_error()->text);
    for (int i = 0; i < 2; i++)
        cg_array_free(out[i]);
}

static void call_goes(cg_function *f, cg_array **in, int n, int64_t count)
{
    cg_array *out[2] = { NULL };
    ck_assert_msg(cg_call(f, in, n, out) == CG_OK && cg_array_data(out[0]), "%s", cg_last_error()->text);
    ck_assert_int_eq(cg_array_count(out[0]), count);
    for (int i = 0; i < 2; i++)
        cg_array_free(out[i]);
}

/* Sizes that meet behind the cut, in a step of another loop too; the variable keeps its value. */
START_TEST(sizes_that_do_not_fit_are_told_when_they_are_found)
{
    const int64_t three = 3;
    const double zeros[3] = { 0 }, four = 4, forty = 40;
    cg_graph *g = cg_graph_new();
    cg_array *w = cg_array_new(CG_F64, &three, 1, zeros), *y3 = cg_array_new(CG_F64, &three, 1, zeros);
    cg_array *v4 = cg_array_new(CG_F64, NULL, 0, &four), *v40 = cg_array_new(CG_F64, NULL, 0, &forty);
    cg_node *v = cg_input(g, "v", CG_F64, NULL, 0), *y = cg_input(g, "y", CG_F64, CG_SHAPE(CG_ANY)), *W = cg_shared(g, "W", w), *sums = NULL;
    cg_node *sum = cg_add(halved(g, v, 9), y);
    cg_function *f = compiled(g, cg_compile(g, CG_SPEC(.name = "meet", CG_INPUTS(v, y), CG_OUTPUTS(sum), CG_UPDATES({ W, cg_add(W, cg_scalar(g, CG_F64, 1)) }))));
    call_goes(f, (cg_array *[]){ v4, y3 }, 2, 3);
    call_fails(f, (cg_array *[]){ v40, y3 }, 2, "sizes 3 and 6 do not fit");
    ck_assert(((const double *)cg_array_data(w))[0] == 1);
    call_goes(f, (cg_array *[]){ v4, y3 }, 2, 3);
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = integer(g, 2)));
    cg_node *t = cg_cast(cg_scan_index(s), CG_F64);
    cg_scan_out(s, cg_sum(cg_add(halved(g, cg_add(v, cg_scale(t, 8)), 9), y), CG_REDUCE()), CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&sums));
    cg_function *in_loop = compiled(g, cg_compile(g, CG_SPEC(.name = "in a loop", CG_INPUTS(v, y), CG_OUTPUTS(sums))));
    call_fails(in_loop, (cg_array *[]){ v4, y3 }, 2, "sizes 3 and 4 do not fit");
    cg_function_free(f);
    cg_function_free(in_loop);
    cg_graph_free(g);
    cg_array *arrays[] = { w, y3, v4, v40 };
    for (int i = 0; i < 4; i++)
        cg_array_free(arrays[i]);
}
END_TEST

/* A row that a step asks for is not there: an error if the step is made, and none if the loop ends before. */
START_TEST(a_step_that_fails_fails_the_call_and_one_not_made_does_not)
{
    const int64_t five = 5;
    int64_t rows[5] = { 0, 2, 1, 9, 0 };
    double values[5] = { 1, 2, 3, 4, 5 }, limit[2] = { 3, 100 };
    cg_graph *g = cg_graph_new();
    cg_node *table = cg_input(g, "table", CG_F64, CG_SHAPE(5)), *index = cg_input(g, "index", CG_I64, CG_SHAPE(5)), *most = cg_input(g, "limit", CG_F64, NULL, 0), *all = NULL;
    cg_scan *s = cg_scan_begin(g, CG_SCAN());
    cg_node *h = cg_scan_state(s, cg_scalar(g, CG_F64, 0)), *next = cg_add(h, cg_take(table, cg_scan_seq(s, index)));
    cg_scan_next(s, h, next);
    cg_scan_until(s, cg_greater(next, most));
    cg_scan_out(s, next, CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&all));
    cg_function *f = compiled(g, cg_compile(g, CG_SPEC(.name = "rows", CG_INPUTS(table, index, most), CG_OUTPUTS(all))));
    cg_array *in[] = { cg_array_new(CG_F64, &five, 1, values), cg_array_new(CG_I64, &five, 1, rows), cg_array_new(CG_F64, NULL, 0, &limit[0]), cg_array_new(CG_F64, NULL, 0, &limit[1]) };
    for (int again = 0; again < 2; again++) {
        call_goes(f, in, 3, 2);
        call_fails(f, (cg_array *[]){ in[0], in[1], in[3] }, 3, "out of range");
    }
    call_goes(f, in, 3, 2);
    cg_function_free(f);
    cg_graph_free(g);
    for (int i = 0; i < 4; i++)
        cg_array_free(in[i]);
}
END_TEST

/* The same of an integer that the host knows, in a loop whose steps until may leave out. */
START_TEST(a_division_of_the_host_is_checked_in_the_steps_that_are_made)
{
    const int64_t limits[2] = { 1, 5 }, nine = 9;
    double v[9] = { 0 };
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F64, CG_SHAPE(9)), *limit = cg_input(g, "limit", CG_I64, NULL, 0), *all = NULL;
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = integer(g, 6)));
    cg_node *t = cg_scan_index(s), *rows = cg_floor_divide(integer(g, 6), cg_sub(integer(g, 3), t));
    cg_scan_until(s, cg_equal(t, limit));
    cg_scan_out(s, cg_sum(cg_slice(x, 0, NULL, rows, 1), CG_REDUCE()), CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&all));
    cg_function *f = compiled(g, cg_compile(g, CG_SPEC(.name = "divides", CG_INPUTS(x, limit), CG_OUTPUTS(all))));
    cg_array *in[] = { cg_array_new(CG_F64, &nine, 1, v), cg_array_new(CG_I64, NULL, 0, &limits[0]), cg_array_new(CG_I64, NULL, 0, &limits[1]) };
    for (int again = 0; again < 2; again++) {
        call_goes(f, in, 2, 2);
        call_fails(f, (cg_array *[]){ in[0], in[2] }, 2, "an integer is divided by zero in floor_divide");
    }
    cg_function_free(f);
    cg_graph_free(g);
    for (int i = 0; i < 3; i++)
        cg_array_free(in[i]);
}
END_TEST

/* Two loops that differ in nothing but when they end are two. */
START_TEST(loops_that_end_otherwise_are_not_merged)
{
    static const double value = 100;
    cg_graph *g = cg_graph_new();
    cg_node *v = cg_input(g, "v", CG_F64, NULL, 0), *all[3] = { NULL };
    for (int i = 0; i < 3; i++) {
        cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = integer(g, 8)));
        cg_node *h = cg_scan_state(s, v), *next = cg_scale(h, 0.5);
        cg_scan_next(s, h, next);
        if (i < 2)
            cg_scan_until(s, cg_less(next, cg_scalar(g, CG_F64, i ? 10 : 1)));
        cg_scan_out(s, next, CG_SCAN_ALL);
        cg_scan_end(s, CG_OUT(&all[i]));
    }
    cg_function *f = compiled(g, cg_compile(g, CG_SPEC(.name = "ends", CG_INPUTS(v), CG_OUTPUTS(all[0], all[1], all[2]))));
    cg_array *in = cg_array_new(CG_F64, NULL, 0, &value), *out[3];
    ck_assert_msg(cg_call(f, &in, 1, out) == CG_OK, "%s", cg_last_error()->text);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(cg_array_count(out[i]), ((int[]){ 7, 4, 8 })[i]);
        cg_array_free(out[i]);
    }
    cg_array_free(in);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

static const char *until_of(cg_graph *g, cg_node *(*cond)(cg_graph *, cg_node *h), int times)
{
    const int64_t three = 3;
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = integer(g, 4)));
    cg_node *h = cg_scan_state(s, cg_input(g, "v", CG_F64, &three, 1)), *out = NULL;
    cg_scan_next(s, h, h);
    for (int i = 0; i < times; i++)
        cg_scan_until(s, cond(g, h));
    cg_scan_out(s, h, CG_SCAN_ALL);
    ck_assert(cg_scan_end(s, CG_OUT(&out)) < 0 && !out);
    return cg_graph_error(g)->text;
}

static cg_node *of_a_vector(cg_graph *g, cg_node *h) { return cg_greater(h, cg_scalar(g, CG_F64, 0)); }
static cg_node *of_a_number(cg_graph *g, cg_node *h) { (void)g; return cg_sum(h, CG_REDUCE()); }
static cg_node *of_a_scalar(cg_graph *g, cg_node *h) { return cg_greater(cg_sum(h, CG_REDUCE()), cg_scalar(g, CG_F64, 0)); }
static cg_node *of_nothing(cg_graph *g, cg_node *h) { return cg_add(h, cg_input(g, "w", CG_F64, CG_SHAPE(2))); }

START_TEST(a_wrong_condition_is_told)
{
    static const struct { cg_node *(*cond)(cg_graph *, cg_node *); int times; const char *part; } rows[] = {
        { of_a_vector, 1, "cg_scan_until: the condition is greater bool[3] (at " },
        { of_a_number, 1, "cg_scan_until: the condition is sum f64" },
        { of_a_scalar, 2, "cg_scan_until: the loop has a condition already" },
        { of_nothing, 1, "cg_add: " },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cg_graph *g = cg_graph_new();
        const char *text = until_of(g, rows[i].cond, rows[i].times);
        ck_assert_msg(strstr(text, rows[i].part) != NULL, "'%s' is not in: %s", rows[i].part, text);
        cg_graph_free(g);
    }
    cg_graph *g = cg_graph_new(), *other = cg_graph_new();
    cg_scan *blocks = cg_scan_begin(other, CG_SCAN(.steps = integer(other, 9), .every = 3));
    ck_assert(cg_scan_until(blocks, cg_scalar(other, CG_BOOL, 1)) == CG_EINVAL && cg_scan_end(blocks, NULL, 0) < 0);
    ck_assert_msg(strstr(cg_graph_error(other)->text, "cg_scan_until: checkpoints are of loops that make all their steps"), "%s", cg_graph_error(other)->text);
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = integer(g, 1)));
    ck_assert(cg_scan_until(NULL, NULL) == CG_EINVAL && cg_scan_until(s, cg_scalar(other, CG_BOOL, 1)) == CG_EINVAL);
    ck_assert(strstr(cg_graph_error(g)->text, "belongs to another graph"));
    ck_assert(cg_scan_end(s, NULL, 0) < 0);
    cg_graph_free(g);
    cg_graph_free(other);
}
END_TEST

/* ---- text, and variables */

START_TEST(print_and_read_are_inverse)
{
    static const char *const bad[] = {      /* until of another type, two of them, a stack that runs back */
        "(get (scan 2 :seq [x] :init [] :capture [] :body [(arg :index 0 :dtype f64 :shape [])] :back [0] :outs [3 0 0]) :output 0)",
        "(get (scan 2 :seq [x] :init [] :capture [] :body [(isnan (arg :index 0 :dtype f64 :shape []))] :back [0] :outs [3 0 0 3 0 0]) :output 0)",
        "(get (scan 2 :seq [x] :init [] :capture [] :body [(isnan (arg :index 0 :dtype f64 :shape []))] :back [0] :outs [0 0 1 3 0 0]) :output 0)",
    };
    cg_graph *g = cg_graph_new();
    cg_node *v = cg_input(g, "v", CG_F64, NULL, 0), *x = cg_input(g, "x", CG_F64, CG_SHAPE(2)), *all = halved(g, v, 12);
    cg_node *roots[] = { cg_softmax(all, 0), cg_mul(cg_dim(all, 0), integer(g, 3)), all };
    for (int i = 0; i < 3; i++) {
        char *text = cg_print(&roots[i], 1);
        cg_node *back = cg_read(g, text, (cg_node *[]){ v, x }, 2);
        ck_assert_msg(back == roots[i], "%s", text);
        cg_text_free(text);
        ck_assert(!cg_read(g, bad[i], (cg_node *[]){ v, x }, 2));
        ck_assert_msg(strstr(cg_graph_error(g)->text, "scan: "), "%s", cg_graph_error(g)->text);
        cg_graph_clear_error(g);
    }
    cg_graph_free(g);
}
END_TEST

START_TEST(a_variable_takes_what_is_left_but_no_size_that_depends_on_data)
{
    const double big = 1e6;
    const int64_t one = 1;
    cg_graph *g = cg_graph_new();
    cg_array *a = cg_array_new(CG_F64, NULL, 0, &big), *b = cg_array_new(CG_F64, &one, 1, &big);
    cg_node *A = cg_shared(g, "A", a), *B = cg_shared(g, "B", b), *last = NULL, *all = halved(g, A, 5);
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = integer(g, 3)));
    cg_node *h = cg_scan_state(s, A), *next = cg_sqrt(h);
    cg_scan_next(s, h, next);
    cg_scan_until(s, cg_less(next, cg_scalar(g, CG_F64, 100)));
    cg_scan_out(s, next, CG_SCAN_LAST);
    cg_scan_end(s, CG_OUT(&last));
    cg_function *f = compiled(g, cg_compile(g, CG_SPEC(.name = "roots", CG_UPDATES({ A, last }))));
    for (int i = 0; i < 2; i++)
        ck_assert_msg(cg_call(f, NULL, 0, NULL) == CG_OK, "%s", cg_last_error()->text);
    const double *v = cg_array_data(a);
    ck_assert_msg(v && fabs(*v - sqrt(sqrt(1000))) < 1e-12, "%s", cg_last_error()->text);       /* 1000 and 31.6; then 5.6 at once */
    ck_assert(!cg_compile(g, CG_SPEC(.name = "sizes", CG_UPDATES({ B, all }))));
    ck_assert_msg(strstr(cg_last_error()->text, "depends on data"), "%s", cg_last_error()->text);
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(a);
    cg_array_free(b);
}
END_TEST

int main(void)
{
    if (getenv("CG_TEST_BATCH"))
        return RUN_TESTS("until", loops_without_products);
    return RUN_TESTS("until", loops_end_after_the_step_that_says_so, the_last_steps_are_those_that_were_made, a_condition_is_of_states_numbers_or_constants, the_steps_done_are_a_size_of_what_follows,
                     a_loop_with_until_is_a_step_of_another, what_a_step_places_is_as_large_as_it_may_be, numbers_lie_between_their_bounds, sizes_that_do_not_fit_are_told_when_they_are_found, a_step_that_fails_fails_the_call_and_one_not_made_does_not,
                     a_division_of_the_host_is_checked_in_the_steps_that_are_made, loops_that_end_otherwise_are_not_merged,
                     a_wrong_condition_is_told, print_and_read_are_inverse, a_variable_takes_what_is_left_but_no_size_that_depends_on_data);
}
