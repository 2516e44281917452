// SPDX-License-Identifier: MIT
/* Derivatives beyond gradients, on the device of CG_DEVICE in f64: through loops against the same steps written out, Jacobians and Hessians
 * against closed forms and differences, kinds of none, and what is said of wrong uses. check_derivatives.c has every operation. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/graph/ir.h"
#include "tests/suite.h"
#include "tests/verified.h"

#define OK(rc) ck_assert_msg((rc) == CG_OK, "%s", cg_last_error()->text)

static bool on_cpu(void) { return strcmp(cg_device_name(cg_device_open(NULL)), "cpu") == 0; }
static double noise(unsigned *seed) { return rand_r(seed) / (double)RAND_MAX - 0.5; }

static cg_array *random_array(const int64_t *shape, int rank, unsigned seed)
{
    cg_array *a = cg_array_new(CG_F64, shape, rank, NULL);
    double *v = (double *)(uintptr_t)cg_array_data(a);
    for (int64_t i = 0; i < cg_array_count(a); i++)
        v[i] = noise(&seed);
    return a;
}

static cg_node *total(cg_node *n) { return cg_sum(n, CG_REDUCE()); }

/* ---- loops and the same steps written out */

enum { B = 2, H = 3, WRT = 4, INS = 2 * WRT + 2, DERIVED = 2 + 3 * WRT + 1 };
typedef struct cell { cg_node *x, *h, *k, *n, *t, *W, *next, *next_k, *next_n, *out; } cell;
typedef struct loop { const char *name; cg_scan_keep keep; void (*step)(cell *); } loop;

static void rnn(cell *c) { c->out = c->next = cg_tanh(cg_add(c->x, cg_matmul(c->h, c->W))); }
static void map(cell *c) { c->out = cg_sin(cg_matmul(c->x, c->W)); }
static void before(cell *c) { c->out = c->h; c->next = cg_mul(cg_sin(c->h), c->x); }
static void swapped(cell *c) { c->next = c->k; c->next_k = cg_add(cg_square(c->h), c->x); c->out = cg_mul(c->next, c->next_k); }
static void numbered(cell *c) { c->out = c->next = cg_sigmoid(cg_mul(c->h, cg_cast(cg_add(c->t, c->n), CG_F64))); c->next_n = cg_add(c->n, cg_weak(cg_node_graph(c->n), 2)); }
static void normalised(cell *c) { c->out = c->next = cg_softmax(cg_add(cg_matmul(c->h, c->W), c->x), -1); }
static void steps_of_zero(cell *c) { c->out = c->next = cg_mul(cg_floor(c->h), c->x); }

/* A loop in each step, over the rows of W. */
static void nested(cell *c)
{
    cg_scan *s = cg_scan_begin(cg_node_graph(c->x), CG_SCAN());
    cg_node *row = cg_scan_seq(s, c->W), *a = cg_scan_state(s, c->h), *next = cg_tanh(cg_add(cg_mul(a, row), c->x));
    cg_scan_next(s, a, next);
    cg_scan_out(s, next, CG_SCAN_LAST);
    OK(cg_scan_end(s, CG_OUT(&c->next)));
    c->out = c->next;
}

/* A gradient in each step: one of descent on sum x log(1 + exp(h W)). */
static void descent(cell *c)
{
    cg_node *d;
    OK(cg_grad(total(cg_mul(c->x, cg_softplus(cg_matmul(c->h, c->W)))), CG_NODES(c->h), CG_OUT(&d)));
    c->out = c->next = cg_sub(c->h, cg_scale(d, 0.1));
}

static const loop loops[] = {
    { "rnn, all", CG_SCAN_ALL, rnn },
    { "rnn, last", CG_SCAN_LAST, rnn },
    { "a map", CG_SCAN_ALL, map },
    { "a map's sum", CG_SCAN_SUM, map },
    { "the state before the step", CG_SCAN_ALL, before },
    { "its sum", CG_SCAN_SUM, before },
    { "states that swap", CG_SCAN_ALL, swapped },
    { "numbers of the step", CG_SCAN_LAST, numbered },
    { "a reduction", CG_SCAN_ALL, normalised },
    { "steps", CG_SCAN_ALL, steps_of_zero },
    { "a loop in a loop", CG_SCAN_ALL, nested },
    { "a gradient in a loop", CG_SCAN_ALL, descent },
};

/* x (t, B, H), h k (B, H) and W (H, H); v: a direction beside each; u beside the result; n, an integer. */
typedef struct problem { cg_graph *g; cg_node *in[INS], *x, *h, *k, *W, *n, *u, *const *wrt, *const *v; cg_array *arg[INS]; int64_t steps; } problem;

static void open_problem(problem *p, const loop *row, int64_t steps, bool known)
{
    const int64_t rows = known ? steps : CG_ANY, shape[WRT][3] = { { steps, B, H }, { B, H }, { B, H }, { H, H } }, typed[3] = { rows, B, H }, one = 1;
    static const int rank[WRT] = { 3, 2, 2, 2 };
    *p = (problem){ .g = cg_graph_new(), .steps = steps };
    for (int i = 0; i < 2 * WRT; i++) {
        p->arg[i] = random_array(shape[i % WRT], rank[i % WRT], (unsigned)(i + 1));
        p->in[i] = cg_input(p->g, NULL, CG_F64, i % WRT ? shape[i % WRT] : typed, rank[i % WRT]);
    }
    const int stacked = row->keep == CG_SCAN_ALL;
    p->arg[2 * WRT] = random_array(shape[!stacked], 2 + stacked, 99);
    p->in[2 * WRT] = p->u = cg_input(p->g, "u", CG_F64, stacked ? typed : shape[1], 2 + stacked);
    p->arg[2 * WRT + 1] = cg_array_new(CG_I64, NULL, 0, &one);
    p->in[2 * WRT + 1] = p->n = cg_input(p->g, "n", CG_I64, NULL, 0);
    p->wrt = p->in;
    p->v = p->in + WRT;
    p->x = p->in[0], p->h = p->in[1], p->k = p->in[2], p->W = p->in[3];
}

static void step_of(const loop *row, cell *c)
{
    c->next = c->h, c->next_k = c->k, c->next_n = c->n;
    row->step(c);
}

static cg_node *as_loop(problem *p, const loop *row, bool backwards)
{
    cg_scan *s = cg_scan_begin(p->g, CG_SCAN(.steps = cg_dim(p->x, 0), .backwards = backwards));
    cell c = { .x = cg_scan_seq(s, p->x), .h = cg_scan_state(s, p->h), .k = cg_scan_state(s, p->k), .n = cg_scan_state(s, p->n), .t = cg_scan_index(s), .W = p->W };
    cg_node *out;
    step_of(row, &c);
    cg_scan_next(s, c.h, c.next);
    cg_scan_next(s, c.k, c.next_k);
    cg_scan_next(s, c.n, c.next_n);
    cg_scan_out(s, c.out, row->keep);
    OK(cg_scan_end(s, CG_OUT(&out)));
    return out;
}

static cg_node *row_of(cg_node *x, int64_t i)
{
    cg_graph *g = cg_node_graph(x);
    return cg_reshape(cg_slice(x, 0, cg_scalar(g, CG_I64, (double)i), cg_scalar(g, CG_I64, (double)(i + 1)), 1), CG_SHAPE(B, H));
}

static cg_node *written_out(problem *p, const loop *row, bool backwards)
{
    enum { MOST = 8 };
    cell c = { .h = p->h, .k = p->k, .n = p->n, .W = p->W };
    cg_node *out[MOST], *sum = cg_zeros_like(p->h);
    for (int64_t t = 0; t < p->steps; t++) {
        c.x = row_of(p->x, backwards ? p->steps - 1 - t : t);
        c.t = cg_scalar(p->g, CG_I64, (double)t);
        step_of(row, &c);
        out[t] = c.out;
        sum = cg_add(sum, c.out);
        c.h = c.next, c.k = c.next_k, c.n = c.next_n;
    }
    if (row->keep == CG_SCAN_ALL)
        return p->steps ? cg_stack(out, (int)p->steps, 0) : p->x;
    return row->keep == CG_SCAN_SUM ? sum : p->steps ? out[p->steps - 1] : p->h;
}

/* f, J v, J'u, and of these: H v forwards and backwards, and the second derivative along v. */
static void derive(problem *p, cg_node *f, cg_node **out)
{
    cg_node **to[3][WRT];
    const cg_grad_spec *zeros = CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < WRT; k++)
            to[i][k] = &out[2 + i * WRT + k];
    out[0] = f;
    OK(cg_rop(CG_NODES(f), p->wrt, WRT, p->v, WRT, CG_OUT(&out[1]), zeros));
    OK(cg_lop(CG_NODES(f), p->wrt, WRT, CG_NODES(p->u), to[0], WRT, zeros));
    OK(cg_rop(out + 2, WRT, p->wrt, WRT, p->v, WRT, to[1], WRT, zeros));
    OK(cg_lop(out + 2, WRT, p->wrt, WRT, p->v, WRT, to[2], WRT, zeros));
    OK(cg_rop(CG_NODES(out[1]), p->wrt, WRT, p->v, WRT, CG_OUT(&out[2 + 3 * WRT]), zeros));
}

static void evaluate(problem *p, const char *name, bool plainly, cg_node *const *roots, cg_array **out)
{
    cg_function *f = cg_compile(p->g, CG_SPEC(.name = name, .inputs = p->in, .ninputs = INS, .outputs = roots, .noutputs = DERIVED, .no_rewrites = plainly, .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f && cg_call(f, p->arg, INS, out) == CG_OK, "%s: %s", name, cg_last_error()->text);
    cg_function_free(f);
}

static void same(const char *name, int64_t steps, int i, cg_array *got, cg_array *want)
{
    const double *x = cg_array_data(got), *y = cg_array_data(want);
    ck_assert_msg(x && y && cg_array_count(got) == cg_array_count(want), "%s, %d steps: result %d is of another shape", name, (int)steps, i);
    for (int64_t e = 0; e < cg_array_count(got); e++)
        ck_assert_msg(fabs(x[e] - y[e]) <= 1e-12 * (1 + fabs(y[e])), "%s, %d steps: result %d: element %d is %.17g, not %.17g", name, (int)steps, i, (int)e, x[e], y[e]);
}

static void compare(const loop *row, int64_t steps, bool known, bool backwards)
{
    problem p;
    cg_node *loop_out[DERIVED], *plain_out[DERIVED];
    cg_array *got[DERIVED], *want[DERIVED];
    open_problem(&p, row, steps, known);
    derive(&p, as_loop(&p, row, backwards), loop_out);
    derive(&p, written_out(&p, row, backwards), plain_out);
    if (row->keep == CG_SCAN_ALL && !steps)             /* of no rows: x stands for them, and its own derivative is none of theirs */
        memcpy(plain_out, loop_out, sizeof plain_out);
    evaluate(&p, row->name, false, plain_out, want);
    for (int plainly = 0; plainly <= on_cpu(); plainly++) {
        evaluate(&p, row->name, plainly, loop_out, got);
        for (int i = 0; i < DERIVED; i++) {
            same(row->name, steps, i, got[i], want[i]);
            cg_array_free(got[i]);
        }
    }
    for (int i = 0; i < DERIVED; i++)
        cg_array_free(want[i]);
    for (int i = 0; i < INS; i++)
        cg_array_free(p.arg[i]);
    cg_graph_free(p.g);
}

/* Known and free numbers of steps, both directions; where kernels must be compiled, one of each. */
START_TEST(loops_are_derived_as_their_steps_written_out)
{
    static const int64_t lengths[] = { 2, 0, 1, 4 };
    for (int i = 0; i < CG_LEN(loops); i++)
        for (int n = 0; n < (on_cpu() ? CG_LEN(lengths) : 1); n++)
            for (int way = 0; way < (on_cpu() ? 4 : 1); way++)
                compare(&loops[i], lengths[n], way & 1, way >> 1);
}
END_TEST

int main(void)
{
    return RUN_TESTS("jacobian", loops_are_derived_as_their_steps_written_out);
}
