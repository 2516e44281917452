// SPDX-License-Identifier: MIT
/* Loops on the device of CG_DEVICE against the same steps written out in the graph and run on the cpu, in f64: values and gradients, for
 * 0, 1, 2 and 7 steps whose number is known or first seen at the call, forwards and backwards.
 *
 * CG_TEST_SKIP and CG_TEST_BATCH as in check_devices.c: the former looks at the text of loops, the latter closes the device after each. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "skipped.h"
#include "verified.h"
#include "tests/helpers.h"
#include "tests/suite.h"

enum { BATCH = 3, IN = 4, HIDDEN = 5, MAX_OUT = 4, MAX_STATE = 2 };

/* One step: x, y are rows of the two sequences, h the states; gives the next states and the values that are kept. */
typedef struct cell { cg_node *x, *y, *h[MAX_STATE], *t, *U, *W, *next[MAX_STATE], *out[MAX_OUT]; int64_t now; } cell;      /* now: the step where it is written out, else -1 */
typedef struct loop_row { const char *name; int nstate, nout; cg_scan_keep keep[MAX_OUT]; void (*step)(cell *); int grad; } loop_row;

static void rnn(cell *c) { c->out[0] = c->next[0] = cg_tanh(cg_add(cg_matmul(c->x, c->U), cg_matmul(c->h[0], c->W))); }
static void rnn_last_and_sum(cell *c) { rnn(c); c->out[1] = c->next[0]; c->out[2] = cg_mul(c->next[0], cg_matmul(c->h[0], c->W)); }
static void no_state(cell *c) { c->out[0] = cg_exp(cg_neg(cg_square(cg_matmul(c->x, c->U)))); }
static void two_sequences(cell *c) { c->out[0] = c->next[0] = cg_add(cg_mul(c->h[0], cg_sigmoid(c->y)), cg_matmul(c->x, c->U)); }
static void swapped(cell *c) { c->next[0] = c->h[1]; c->next[1] = cg_add(c->h[0], c->y); c->out[0] = c->h[0]; c->out[1] = c->next[1]; }
static void counts(cell *c) { c->out[0] = c->next[0] = cg_add(cg_scale(c->h[0], 0.5), cg_cast(c->t, CG_F64)); c->out[1] = c->next[0]; }
static void unread_state(cell *c) { c->next[0] = cg_mul(c->y, c->y); c->out[0] = cg_square(c->y); }
static void hoisted(cell *c) { c->out[0] = c->next[0] = cg_add(c->h[0], cg_sum(cg_matmul(c->U, c->W), CG_REDUCE(CG_OVER(0), .keepdims = 1))); }
static void normalised(cell *c) { c->out[0] = c->next[0] = cg_softmax(cg_add(cg_matmul(c->h[0], c->W), c->y), -1); }
static void added_product(cell *c) { c->out[0] = c->next[0] = cg_add(c->h[0], cg_scale(cg_matmul(c->h[0], c->W), 0.5)); }
static void reads_before(cell *c) { c->next[0] = cg_mul(cg_sin(c->h[0]), c->y); c->out[0] = c->h[0]; c->out[1] = c->next[0]; }
static cg_node *choice(cg_node *cond, cg_node *a, cg_node *b) { cg_node *out; cg_ifelse(cond, CG_NODES(a), CG_NODES(b), CG_OUT(&out)); return out; }
static void by_step(cell *c)
{
    cg_node *first = cg_tanh(cg_add(cg_matmul(c->h[0], c->W), c->y)), *later = cg_matmul(c->y, c->W);
    c->out[0] = c->next[0] = c->now < 0 ? choice(cg_less(c->t, cg_weak(cg_node_graph(c->t), 2)), first, later) : c->now < 2 ? first : later;
}
static void by_state(cell *c) { c->out[0] = c->next[0] = choice(cg_greater(cg_sum(c->h[0], CG_REDUCE()), cg_weak(cg_node_graph(c->t), 0)), cg_sub(cg_matmul(c->h[0], c->W), cg_exp(c->y)), cg_add(c->h[0], cg_sigmoid(cg_matmul(c->x, c->U)))); }
static void by_what_is_outside(cell *c) { c->out[0] = c->next[0] = choice(cg_greater(cg_sum(c->U, CG_REDUCE()), cg_weak(cg_node_graph(c->t), 0)), cg_mul(c->h[0], cg_sum(cg_matmul(c->U, c->W), CG_REDUCE())), cg_add(c->y, c->h[0])); }

static const loop_row loops[] = {
    { "rnn, all", 1, 1, { CG_SCAN_ALL }, rnn, 1 },
    { "rnn, last", 1, 1, { CG_SCAN_LAST }, rnn, 1 },
    { "rnn, sum", 1, 1, { CG_SCAN_SUM }, rnn, 1 },
    { "rnn, all last sum", 1, 3, { CG_SCAN_ALL, CG_SCAN_LAST, CG_SCAN_SUM }, rnn_last_and_sum, 1 },
    { "a map", 0, 1, { CG_SCAN_ALL }, no_state, 1 },
    { "a sum over steps", 0, 1, { CG_SCAN_SUM }, no_state, 1 },
    { "two sequences", 1, 1, { CG_SCAN_ALL }, two_sequences, 1 },
    { "states that swap", 2, 2, { CG_SCAN_ALL, CG_SCAN_LAST }, swapped, 1 },
    { "the step's number", 1, 2, { CG_SCAN_ALL, CG_SCAN_LAST }, counts, 1 },
    { "a state that nothing reads", 1, 1, { CG_SCAN_ALL }, unread_state, 1 },
    { "work that is the same in every step", 1, 1, { CG_SCAN_LAST }, hoisted, 1 },
    { "a reduction in the body", 1, 1, { CG_SCAN_ALL }, normalised, 1 },
    { "a product that is added to the state", 1, 1, { CG_SCAN_ALL }, added_product, 1 },
    { "the state before the step", 1, 2, { CG_SCAN_ALL, CG_SCAN_LAST }, reads_before, 1 },
    { "a choice by the step's number", 1, 1, { CG_SCAN_ALL }, by_step, 1 },
    { "a choice by the state", 1, 1, { CG_SCAN_ALL }, by_state, 1 },
    { "a choice by what is outside", 1, 1, { CG_SCAN_LAST }, by_what_is_outside, 1 },
};

typedef struct problem { cg_graph *g; cg_node *x, *y, *h, *k, *U, *W, *in[6]; int nin; cg_array *arrays[6]; } problem;

static void open_problem(problem *p, int64_t steps, int known)
{
    const int64_t n = known ? steps : CG_ANY, shapes[6][3] = { { steps, BATCH, IN }, { steps, BATCH, HIDDEN }, { BATCH, HIDDEN }, { BATCH, HIDDEN }, { IN, HIDDEN }, { HIDDEN, HIDDEN } };
    const int ranks[6] = { 3, 3, 2, 2, 2, 2 };
    *p = (problem){ .g = cg_graph_new(), .nin = 6 };
    p->in[0] = p->x = cg_input(p->g, "x", CG_F64, CG_SHAPE(n, BATCH, IN));
    p->in[1] = p->y = cg_input(p->g, "y", CG_F64, CG_SHAPE(n, BATCH, HIDDEN));
    p->in[2] = p->h = cg_input(p->g, "h", CG_F64, CG_SHAPE(BATCH, HIDDEN));
    p->in[3] = p->k = cg_input(p->g, "k", CG_F64, CG_SHAPE(BATCH, HIDDEN));
    p->in[4] = p->U = cg_input(p->g, "U", CG_F64, CG_SHAPE(IN, HIDDEN));
    p->in[5] = p->W = cg_input(p->g, "W", CG_F64, CG_SHAPE(HIDDEN, HIDDEN));
    for (int i = 0; i < 6; i++)
        p->arrays[i] = random_array(shapes[i], ranks[i], (unsigned)(i + 1));
}

static void close_problem(problem *p)
{
    for (int i = 0; i < 6; i++)
        cg_array_free(p->arrays[i]);
    cg_graph_free(p->g);
}

static void as_loop(problem *p, const loop_row *row, int backwards, cg_node **out)
{
    cg_scan *s = cg_scan_begin(p->g, CG_SCAN(.steps = cg_dim(p->x, 0), .backwards = backwards));
    cell c = { .x = cg_scan_seq(s, p->x), .y = cg_scan_seq(s, p->y), .t = cg_scan_index(s), .U = p->U, .W = p->W, .now = -1 };
    cg_node **where[MAX_OUT];
    for (int i = 0; i < row->nstate; i++)
        c.h[i] = cg_scan_state(s, i ? p->k : p->h);
    row->step(&c);
    for (int i = 0; i < row->nstate; i++)
        cg_scan_next(s, c.h[i], c.next[i]);
    for (int i = 0; i < row->nout; i++) {
        cg_scan_out(s, c.out[i], row->keep[i]);
        where[i] = &out[i];
    }
    const int rc = cg_scan_end(s, where, row->nout);
    ck_assert_msg(rc == CG_OK, "%s: %s", row->name, cg_graph_error(p->g) ? cg_graph_error(p->g)->text : "?");
}

static cg_node *row_of(cg_node *x, int64_t i)
{
    cg_graph *g = cg_node_graph(x);
    cg_node *r = cg_slice(x, 0, cg_scalar(g, CG_I64, (double)i), cg_scalar(g, CG_I64, (double)(i + 1)), 1);
    return cg_reshape(r, CG_SHAPE(cg_node_dim(x, 1), cg_node_dim(x, 2)));
}

/* Stacked outputs come as a sum over rows weighted by their number, which tells rows apart; so do those of the loop (cost_of). */
static void written_out(problem *p, const loop_row *row, int64_t steps, int backwards, cg_node **out)
{
    cell c = { .U = p->U, .W = p->W };
    cg_node *h[MAX_STATE] = { p->h, p->k };
    for (int k = 0; k < row->nout; k++)
        out[k] = NULL;
    for (int64_t t = 0; t < steps; t++) {
        const int64_t r = backwards ? steps - 1 - t : t;
        c.x = row_of(p->x, r);
        c.y = row_of(p->y, r);
        c.t = cg_scalar(p->g, CG_I64, (double)t);
        c.now = t;
        memcpy(c.h, h, sizeof h);
        row->step(&c);
        for (int i = 0; i < row->nstate; i++)
            h[i] = c.next[i];
        for (int k = 0; k < row->nout; k++) {
            cg_node *v = row->keep[k] == CG_SCAN_ALL ? cg_scale(c.out[k], (double)(t + 1)) : c.out[k];
            out[k] = out[k] && row->keep[k] != CG_SCAN_LAST ? cg_add(out[k], v) : v;
        }
    }
    for (int k = 0; k < row->nout && !steps; k++)
        out[k] = row->keep[k] == CG_SCAN_LAST ? (row->nstate > 1 ? p->k : p->h) : NULL;
}

static cg_node *weighted(cg_node *stack, int64_t steps)
{
    double w[16];
    for (int i = 0; i < 16; i++)
        w[i] = i + 1;
    cg_node *rows = cg_constant(cg_node_graph(stack), CG_F64, CG_SHAPE(steps, 1, 1), w);
    return cg_sum(cg_mul(stack, rows), CG_REDUCE(CG_OVER(0)));
}

/* The sum of all outputs, each element with a weight of its own. */
static cg_node *cost_of(problem *p, cg_node **out, int n)
{
    double w[BATCH * HIDDEN];
    for (int i = 0; i < BATCH * HIDDEN; i++)
        w[i] = 0.5 + i % 5;
    cg_node *weights = cg_constant(p->g, CG_F64, CG_SHAPE(BATCH, HIDDEN), w), *cost = NULL;
    for (int k = 0; k < n; k++)
        if (out[k]) {
            cg_node *v = cg_sum(cg_mul(cg_scale(out[k], k + 1.0), weights), CG_REDUCE());
            cost = cost ? cg_add(cost, v) : v;
        }
    return cost ? cost : cg_scalar(p->g, CG_F64, 0);
}

static void gradients(problem *p, cg_node *cost, cg_node **to)
{
    ck_assert_msg(cg_grad_with(cost, CG_NODES(p->x, p->y, p->h, p->k, p->U, p->W), CG_OUT(&to[0], &to[1], &to[2], &to[3], &to[4], &to[5]),
                               CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS)) == CG_OK, "%s",
                  cg_graph_error(p->g) ? cg_graph_error(p->g)->text : "?");
}

static void same(const char *name, int64_t steps, int what, cg_array *a, cg_array *b)
{
    const double *x = cg_array_data(a), *y = cg_array_data(b);
    ck_assert_msg(x && y, "%s: %s", name, cg_last_error()->text);
    ck_assert_msg(cg_array_count(a) == cg_array_count(b), "%s, %lld steps, output %d: %lld elements, not %lld", name, (long long)steps, what,
                  (long long)cg_array_count(a), (long long)cg_array_count(b));
    for (int64_t i = 0; i < cg_array_count(a); i++)
        ck_assert_msg(fabs(x[i] - y[i]) <= 1e-12 * (1 + fabs(y[i])), "%s, %lld steps, output %d: element %lld is %.17g, not %.17g", name, (long long)steps, what,
                      (long long)i, x[i], y[i]);
}

enum { ROOTS = 7 };      /* the cost and six gradients */
static void evaluate(problem *p, const char *name, cg_device *d, int plainly, cg_node **roots, cg_array **out)
{
    cg_function *f = cg_compile(p->g, CG_SPEC(.name = name, .inputs = p->in, .ninputs = p->nin, .outputs = roots, .noutputs = ROOTS, .device = d, .no_rewrites = plainly,
                                              .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f != NULL, "%s: %s", name, cg_last_error()->text);
    ck_assert_msg(cg_call(f, p->arrays, p->nin, out) == CG_OK, "%s: %s", name, cg_last_error()->text);
    cg_function_free(f);
}

static bool left_out(cg_node *n)
{
    char *text = cg_print(&n, 1);
    const bool found = skipped(text);
    cg_text_free(text);
    return found;
}

static void compare(const loop_row *row, int64_t steps, int known, int backwards)
{
    problem p;
    cg_node *loop[MAX_OUT], *plain[MAX_OUT], *roots[2][ROOTS], *shown[MAX_OUT];
    cg_array *got[ROOTS], *want[ROOTS];
    open_problem(&p, steps, known);
    as_loop(&p, row, backwards, loop);
    written_out(&p, row, steps, backwards, plain);
    for (int k = 0; k < row->nout; k++)
        shown[k] = row->keep[k] == CG_SCAN_ALL ? weighted(loop[k], steps) : loop[k];
    roots[0][0] = cost_of(&p, shown, row->nout);
    roots[1][0] = cost_of(&p, plain, row->nout);
    if (left_out(roots[0][0])) {
        close_problem(&p);
        return;
    }
    gradients(&p, roots[0][0], roots[0] + 1);
    gradients(&p, roots[1][0], roots[1] + 1);
    evaluate(&p, row->name, cg_device_open("cpu"), 0, roots[1], want);
    for (int plainly = 0; plainly < 2; plainly++) {
        evaluate(&p, row->name, NULL, plainly, roots[0], got);
        for (int i = 0; i < ROOTS; i++) {
            same(row->name, steps, i, got[i], want[i]);
            cg_array_free(got[i]);
        }
    }
    for (int i = 0; i < ROOTS; i++)
        cg_array_free(want[i]);
    close_problem(&p);
    if (getenv("CG_TEST_BATCH"))
        cg_shutdown();
}

START_TEST(loops_are_their_steps_written_out)
{
    static const int64_t lengths[] = { 0, 1, 2, 7 };
    for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++)
        for (size_t n = 0; n < 4; n++)
            for (int way = 0; way < 4; way++)
                compare(&loops[i], lengths[n], way & 1, way >> 1);
}
END_TEST

int main(void)
{
    return RUN_TESTS("scan", loops_are_their_steps_written_out);
}
