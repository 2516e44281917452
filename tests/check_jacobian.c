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

enum { B = 2, H = 3, WRT = 4, INS = 2 * WRT + 2, DERIVED = 2 + 3 * WRT + 3 };
typedef struct cell { cg_node *x, *h, *k, *n, *t, *W, *next, *next_k, *next_n, *out; } cell;
typedef struct loop { const char *name; cg_scan_keep keep; void (*step)(cell *); bool everywhere; } loop;         /* everywhere: also where kernels must be compiled */

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

/* The same, of whose steps the sum goes on: its gradient reads args of both bodies. */
static void nested_sum(cell *c)
{
    cg_node *sum;
    cg_scan *s = cg_scan_begin(cg_node_graph(c->x), CG_SCAN());
    cg_node *row = cg_scan_seq(s, c->W), *a = cg_scan_state(s, c->h), *next = cg_sin(cg_add(cg_mul(a, row), c->x));
    cg_scan_next(s, a, next);
    cg_scan_out(s, next, CG_SCAN_SUM);
    OK(cg_scan_end(s, CG_OUT(&sum)));
    c->out = c->next = cg_tanh(cg_mul(sum, c->x));
}

/* A gradient in each step: one of descent on sum x log(1 + exp(h W)). */
static void descent(cell *c)
{
    cg_node *d;
    OK(cg_grad(total(cg_mul(c->x, cg_softplus(cg_matmul(c->h, c->W)))), CG_NODES(c->h), CG_OUT(&d)));
    c->out = c->next = cg_sub(c->h, cg_scale(d, 0.1));
}

static const loop loops[] = {
    { "rnn, all", CG_SCAN_ALL, rnn, true },
    { "rnn, last", CG_SCAN_LAST, rnn, false },
    { "a map", CG_SCAN_ALL, map, false },
    { "a map's sum", CG_SCAN_SUM, map, false },
    { "the state before the step", CG_SCAN_ALL, before, false },
    { "its sum", CG_SCAN_SUM, before, true },
    { "states that swap", CG_SCAN_ALL, swapped, false },
    { "numbers of the step", CG_SCAN_LAST, numbered, false },
    { "a reduction", CG_SCAN_ALL, normalised, false },
    { "steps", CG_SCAN_ALL, steps_of_zero, false },
    { "a loop in a loop", CG_SCAN_ALL, nested, true },
    { "a loop's sum in a loop", CG_SCAN_ALL, nested_sum, true },
    { "a gradient in a loop", CG_SCAN_ALL, descent, false },
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

static void close_problem(problem *p)
{
    for (int i = 0; i < INS; i++)
        cg_array_free(p->arg[i]);
    cg_graph_free(p->g);
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

/* f, J v, J'u, and of these: H v forwards and backwards, the second derivative along v, and by h all of the first and second derivatives. */
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
    OK(cg_jacobian(f, CG_NODES(p->h), CG_OUT(&out[3 + 3 * WRT]), zeros));
    OK(cg_jacobian(out[3], CG_NODES(p->h), CG_OUT(&out[4 + 3 * WRT]), zeros));
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
    close_problem(&p);
}

/* Known and free numbers of steps, both directions; where kernels must be compiled, one of each for a few. */
START_TEST(loops_are_derived_as_their_steps_written_out)
{
    static const int64_t lengths[] = { 2, 0, 1, 4 };
    for (int i = 0; i < CG_LEN(loops); i++)
        for (int n = 0; n < (on_cpu() ? CG_LEN(lengths) : loops[i].everywhere); n++)
            for (int way = 0; way < (on_cpu() ? 4 : 1); way++)
                compare(&loops[i], lengths[n], way & 1, way >> 1);
}
END_TEST

/* What the walk back leaves is dead: J v of a loop is the loop and one more. */
START_TEST(a_loop_forwards_is_two_loops)
{
    problem p;
    cg_node *d;
    open_problem(&p, &loops[0], 2, false);
    OK(cg_rop(CG_NODES(as_loop(&p, &loops[0], false)), CG_NODES(p.W), CG_NODES(p.v[3]), CG_OUT(&d), NULL));
    cg_function *f = cg_compile(p.g, CG_SPEC(.name = "forwards", .inputs = p.in, .ninputs = INS, CG_OUTPUTS(d), .unused = CG_UNUSED_IGNORE));
    char *plan = f ? cg_function_show(f, CG_STAGE_PLAN) : NULL;
    ck_assert_msg(plan != NULL, "%s", cg_last_error()->text);
    int found = 0;
    for (const char *at = plan; (at = strstr(at, "(repeat ")); at++)
        found++;
    ck_assert_msg(found <= 2, "%s", plan);
    cg_text_free(plan);
    cg_function_free(f);
    close_problem(&p);
}
END_TEST

/* ---- matrices in closed form: text over x y (f64[3]), s (f64), A C (f64[3,3]), i (i64[3]) */

enum { VARS = 6, PAIRS = 128 };
typedef struct world { cg_graph *g; cg_node *x, *y, *s, *A, *C, *i, *in[VARS], *got[PAIRS], *want[PAIRS]; const char *name[PAIRS]; int n; } world;

static world open_world(void)
{
    world w = { .g = cg_graph_new() };
    w.in[0] = w.x = cg_input(w.g, "x", CG_F64, CG_SHAPE(3));
    w.in[1] = w.y = cg_input(w.g, "y", CG_F64, CG_SHAPE(3));
    w.in[2] = w.s = cg_input(w.g, "s", CG_F64, CG_SHAPE());
    w.in[3] = w.A = cg_input(w.g, "A", CG_F64, CG_SHAPE(3, 3));
    w.in[4] = w.C = cg_input(w.g, "C", CG_F64, CG_SHAPE(3, 3));
    w.in[5] = w.i = cg_input(w.g, "i", CG_I64, CG_SHAPE(3));
    return w;
}

static cg_node *as_node(world *w, const char *text)
{
    cg_node *n = cg_read(w->g, text, w->in, VARS);
    ck_assert_msg(n != NULL, "%s: %s", text, cg_last_error()->text);
    return n;
}

/* got, and want wherever it broadcasts to it, are one value when the world ends. */
static void expect_node(world *w, const char *name, cg_node *got, cg_node *want)
{
    ck_assert_msg(got && want, "%s: %s", name, cg_last_error()->text);
    w->name[w->n] = name;
    w->got[w->n] = got;
    w->want[w->n++] = cg_add(want, cg_zeros_like(got));
}

static void expect(world *w, const char *name, cg_node *got, const char *want) { expect_node(w, name, got, as_node(w, want)); }

static void call(world *w, cg_array *const *in, bool plainly)
{
    cg_node *roots[2 * PAIRS];
    cg_array *out[2 * PAIRS];
    memcpy(roots, w->got, (size_t)w->n * sizeof *roots);
    memcpy(roots + w->n, w->want, (size_t)w->n * sizeof *roots);
    cg_function *f = cg_compile(w->g, CG_SPEC(.name = "matrices", .inputs = w->in, .ninputs = VARS, .outputs = roots, .noutputs = 2 * w->n, .unused = CG_UNUSED_IGNORE,
                                              .no_rewrites = plainly));
    ck_assert_msg(f && cg_call(f, in, VARS, out) == CG_OK, "%s", cg_last_error()->text);
    for (int k = 0; k < w->n; k++)
        same(w->name[k], 0, k, out[k], out[w->n + k]);
    for (int k = 0; k < 2 * w->n; k++)
        cg_array_free(out[k]);
    cg_function_free(f);
}

static void close_world(world *w)
{
    static const double x[] = { 0.7, -1.3, 2.2 }, y[] = { 1.9, 0.4, -0.6 }, s = 1.5;
    static const int64_t i[] = { 2, 0, 1 };
    cg_array *in[VARS] = { cg_array_new(CG_F64, CG_SHAPE(3), x), cg_array_new(CG_F64, CG_SHAPE(3), y), cg_array_new(CG_F64, NULL, 0, &s), random_array(CG_SHAPE(3, 3), 1),
                           random_array(CG_SHAPE(3, 3), 2), cg_array_new(CG_I64, CG_SHAPE(3), i) };
    for (int plainly = 0; plainly <= on_cpu() && w->n; plainly++)
        call(w, in, plainly);
    for (int k = 0; k < VARS; k++)
        cg_array_free(in[k]);
    cg_graph_free(w->g);
}

#define DIAGONAL(v)   "(mul (eye 3 3 :dtype f64) " v ")"
#define OUTER(u, v)   "(mul (expand_dims " u " :axis 1) (expand_dims " v " :axis 0))"
#define AXES(v, axes) "(reshape " v " :shape " axes ")"
#define UNIT(axes)    AXES("(eye 3 3 :dtype f64)", axes)

static const struct { const char *f, *wrt, *want; } jacobian_rows[] = {
    { "(matmul A x)",                "x", "A" },
    { "(square x)",                  "x", DIAGONAL("(mul 2 x)") },
    { "(mul y (sum (square x)))",    "x", OUTER("y", "(mul 2 x)") },
    { "(softmax x :axis 0)",         "x", "(let ((p (softmax x :axis 0))) (sub " DIAGONAL("p") " " OUTER("p", "p") "))" },
    { "(log_softmax x :axis 0)",     "x", "(sub (eye 3 3 :dtype f64) (expand_dims (softmax x :axis 0) :axis 0))" },
    { "(flip x)",                    "x", "(flip (eye 3 3 :dtype f64) :axis 0)" },
    { "(take x i)",                  "x", "(take (eye 3 3 :dtype f64) i)" },
    { "(sum (exp x))",               "x", "(exp x)" },                                                  /* of rank 0: the gradient */
    { "(mul s x)",                   "s", "x" },
    { "(sin s)",                     "s", "(cos s)" },
    { "(matmul A C)",                "A", "(mul " UNIT("[3 1 3 1]") " " AXES("(transpose C)", "[1 3 1 3]") ")" },
    { "(matmul A C)",                "C", "(mul " AXES("A", "[3 1 3 1]") " " UNIT("[1 3 1 3]") ")" },
    { "(transpose A)",               "A", "(mul " UNIT("[3 1 1 3]") " " UNIT("[1 3 3 1]") ")" },
    { "(max A :axis [1])",           "A", "(mul " UNIT("[3 3 1]") " (cast (equal A (max A :axis [1] :keepdims true)) :dtype f64))" },
    { "(mul x (cast (floor y) :dtype f64))", "y", "0" },
    { "(slice (exp x) :start [3])",  "x", "0" },                                                        /* of no rows */
};

static cg_node *flat(cg_node *n, int64_t rows) { return rows ? cg_reshape(n, CG_SHAPE(rows, CG_ANY)) : cg_reshape(n, CG_SHAPE(CG_ANY)); }

static int64_t elements(const cg_node *n)
{
    int64_t count = 1;
    for (int k = 0; k < cg_node_rank(n); k++)
        count *= cg_node_dim(n, k);
    return count;
}

/* And its products are those that cg_rop and cg_lop give; the points vary with the variables, which changes nothing. */
static void expect_products(world *w, const char *name, cg_node *J, cg_node *f, cg_node *wrt)
{
    cg_node *v = cg_cos(wrt), *u = cg_cos(cg_scale(f, 3)), *along, *back;
    OK(cg_rop(CG_NODES(f), CG_NODES(wrt), CG_NODES(v), CG_OUT(&along), NULL));
    OK(cg_lop(CG_NODES(f), CG_NODES(wrt), CG_NODES(u), CG_OUT(&back), NULL));
    if (!elements(f))
        return;
    expect_node(w, name, flat(along, 0), cg_matmul(flat(J, elements(f)), flat(v, 0)));
    expect_node(w, name, flat(back, 0), cg_matmul(flat(u, 0), flat(J, elements(f))));
}

START_TEST(jacobians_are_the_closed_forms)
{
    world w = open_world();
    for (int r = 0; r < CG_LEN(jacobian_rows); r++) {
        cg_node *f = as_node(&w, jacobian_rows[r].f), *wrt = as_node(&w, jacobian_rows[r].wrt), *J;
        OK(cg_jacobian(f, CG_NODES(wrt), CG_OUT(&J), NULL));
        ck_assert_int_eq(cg_node_rank(J), cg_node_rank(f) + cg_node_rank(wrt));
        expect(&w, jacobian_rows[r].f, J, jacobian_rows[r].want);
        expect_products(&w, jacobian_rows[r].f, J, f, wrt);
    }
    close_world(&w);
}
END_TEST

static const struct { const char *cost, *wrt, *want; } hessian_rows[] = {
    { "(sum (mul x (matmul A x)))",        "x", "(add A (transpose A))" },
    { "(logsumexp x)",                     "x", "(let ((p (softmax x :axis 0))) (sub " DIAGONAL("p") " " OUTER("p", "p") "))" },
    { "(sum (sub (softplus (matmul A x)) (mul y (matmul A x))))", "x",                                  /* logistic regression: A' diag(p (1 - p)) A */
      "(let ((p (sigmoid (matmul A x)))) (matmul (transpose A) (mul (expand_dims (mul p (sub 1 p)) :axis 1) A)))" },
    { "(prod x)",                          "x", "(mul " OUTER("(reciprocal x)", "(reciprocal x)") " (mul (prod x) (sub 1 (eye 3 3 :dtype f64))))" },
    { "(sum (mul (square A) C))",          "A", "(mul (mul 2 " UNIT("[3 1 3 1]") ") (mul " UNIT("[1 3 1 3]") " " AXES("C", "[1 1 3 3]") "))" },
    { "(power s 3)",                       "s", "(mul 6 s)" },
    { "(sum (mul x y))",                   "x", "0" },                                                  /* linear */
    { "(sum (mul (floor x) y))",           "x", "0" },
};

START_TEST(hessians_are_the_closed_forms)
{
    world w = open_world();
    for (int r = 0; r < CG_LEN(hessian_rows); r++) {
        cg_node *cost = as_node(&w, hessian_rows[r].cost), *wrt = as_node(&w, hessian_rows[r].wrt), *v = cg_cos(wrt), *matrix, *product;
        OK(cg_hessian(cost, CG_NODES(wrt), CG_OUT(&matrix), NULL));
        OK(cg_hessian_vector(cost, CG_NODES(wrt), CG_NODES(v), CG_OUT(&product), NULL));
        ck_assert_int_eq(cg_node_rank(matrix), 2 * cg_node_rank(wrt));
        expect(&w, hessian_rows[r].cost, matrix, hessian_rows[r].want);
        expect_node(&w, hessian_rows[r].cost, flat(product, 0), cg_matmul(flat(matrix, elements(wrt)), flat(v, 0)));
    }
    close_world(&w);
}
END_TEST

/* Several at once: the blocks of the Hessian are Jacobians of the gradients, and a product takes all of them. */
START_TEST(blocks_of_a_hessian_are_jacobians_of_gradients)
{
    world w = open_world();
    cg_node *cost = as_node(&w, "(sum (mul (exp (mul s x)) (matmul A y)))"), *ds, *dx, *hs, *hx, *hsx, *hxs, *ps, *px, *v = cg_cos(w.x), *t = cg_square(w.s);
    OK(cg_grad(cost, CG_NODES(w.s, w.x), CG_OUT(&ds, &dx)));
    OK(cg_hessian(cost, CG_NODES(w.s, w.x), CG_OUT(&hs, &hx), NULL));
    OK(cg_jacobian(ds, CG_NODES(w.x), CG_OUT(&hsx), NULL));
    OK(cg_jacobian(dx, CG_NODES(w.s), CG_OUT(&hxs), NULL));
    OK(cg_hessian_vector(cost, CG_NODES(w.s, w.x), CG_NODES(t, v), CG_OUT(&ps, &px), NULL));
    expect_node(&w, "mixed blocks", hsx, hxs);
    expect_node(&w, "by s", ps, cg_add(cg_mul(hs, t), cg_matmul(hsx, v)));
    expect_node(&w, "by x", px, cg_add(cg_mul(hxs, t), cg_matmul(hx, v)));
    OK(cg_hessian_vector(cost, CG_NODES(w.s, w.x), CG_NODES(NULL, v), CG_OUT(&ps, &px), NULL));
    expect_node(&w, "without a point", ps, cg_matmul(hsx, v));
    close_world(&w);
}
END_TEST

/* ---- products: lists, and points that are left out */

START_TEST(points_are_added_up)
{
    world w = open_world();
    cg_node *h = cg_tanh(cg_mul(w.s, w.x)), *f = cg_mul(h, w.y), *one, *two, *by_s, *dx, *dy, *v = cg_cos(w.x), *t = cg_square(w.s);
    OK(cg_rop(CG_NODES(f, h), CG_NODES(w.x, w.s), CG_NODES(v, t), CG_OUT(&one, &two), NULL));
    expect(&w, "two variables", two, "(mul (sub 1 (square (tanh (mul s x)))) (add (mul s (cos x)) (mul x (square s))))");
    expect_node(&w, "two expressions", one, cg_mul(w.y, two));
    OK(cg_rop(CG_NODES(h), CG_NODES(w.x, w.s), CG_NODES(NULL, t), CG_OUT(&by_s), NULL));
    expect(&w, "a point left out", by_s, "(mul (sub 1 (square (tanh (mul s x)))) (mul x (square s)))");
    OK(cg_rop(CG_NODES(h), CG_NODES(w.x), CG_NODES(NULL), CG_OUT(&one), NULL));
    expect(&w, "none at all", one, "0");
    OK(cg_rop(CG_NODES(w.x), CG_NODES(w.x), CG_NODES(v), CG_OUT(&one), NULL));
    expect_node(&w, "a variable itself", one, v);
    OK(cg_rop(CG_NODES(f), CG_NODES(h, w.x), CG_NODES(v, v), CG_OUT(&one), NULL));
    expect(&w, "a variable on the way to another", one, "(mul y (add (cos x) (mul (mul s (cos x)) (sub 1 (square (tanh (mul s x)))))))");
    OK(cg_lop(CG_NODES(f, h), CG_NODES(w.x, w.y), CG_NODES(v, w.y), CG_OUT(&dx, &dy), NULL));
    expect(&w, "f's point reaches h, too", dx, "(mul (mul s (sub 1 (square (tanh (mul s x))))) (add (mul y (cos x)) y))");
    expect(&w, "by y", dy, "(mul (cos x) (tanh (mul s x)))");
    OK(cg_lop(CG_NODES(f, h), CG_NODES(w.x, w.y), CG_NODES(NULL, w.y), CG_OUT(&dx, &dy), NULL));
    expect(&w, "no point for f", dy, "0");
    OK(cg_rop(CG_NODES(w.x), CG_NODES(w.x), CG_NODES(cg_cast(w.y, CG_F32)), CG_OUT(&one), NULL));
    expect(&w, "a point of another float type", one, "(cast (cast y :dtype f32) :dtype f64)");
    OK(cg_rop(CG_NODES(cg_mul(h, w.x)), CG_NODES(w.x), CG_NODES(v), CG_OUT(&one), CG_GRAD(CG_CONSTANTS(h))));
    expect(&w, "a constant", one, "(mul (tanh (mul s x)) (cos x))");
    close_world(&w);
}
END_TEST

/* ---- zero, disconnected and undefined; gradients by hand. v is y. */

static const struct { const char *f, *want; int status; const char *says; } kinds[] = {
    { "(floor x)",                             "0",                   CG_OK, NULL },
    { "(cast (greater x y) :dtype f64)",       "0",                   CG_OK, NULL },
    { "(floor (trigamma x))",                  "0",                   CG_OK, NULL },
    { "(add x (trigamma y))",                  "y",                   CG_OK, NULL },
    { "(square (zero_grad x))",                "0",                   CG_OK, NULL },
    { "(mul x (disconnected_grad x))",         "(mul x y)",           CG_OK, NULL },
    { "(square (grad_clip x -1 1))",           "(mul (mul 2 x) y)",   CG_OK, NULL },
    { "(square (grad_scale x -1))",            "(mul (mul -2 x) y)",  CG_OK, NULL },
    { "(trigamma x)",                          NULL, CG_EUNSUPPORTED, " has no derivative, since trigamma f64[3]" },
    { "(mul y (undefined_grad x))",            NULL, CG_EUNSUPPORTED, "it was marked so" },
    { "(exp y)",                               NULL, CG_EINVAL, "cg_rop: no variable reaches exp f64[3]" },
    { "(disconnected_grad x)",                 NULL, CG_EINVAL, "no variable reaches disconnected_grad" },
    { "(cast (shape x) :dtype f64)",           NULL, CG_EINVAL, "no variable reaches cast" },
    { "(cast x :dtype i32)",                   NULL, CG_EDTYPE, "is not of floats and has no derivative" },
};

START_TEST(kinds_of_none_go_forwards_too)
{
    world w = open_world();
    for (int r = 0; r < CG_LEN(kinds); r++) {
        cg_node *d;
        const int rc = cg_rop(CG_NODES(as_node(&w, kinds[r].f)), CG_NODES(w.x), CG_NODES(w.y), CG_OUT(&d), NULL);
        ck_assert_msg(rc == kinds[r].status, "%s: %s", kinds[r].f, cg_last_error()->text);
        if (kinds[r].want)
            expect(&w, kinds[r].f, d, kinds[r].want);
        else
            ck_assert_msg(!d && strstr(cg_graph_error(w.g)->text, kinds[r].says), "%s says: %s", kinds[r].f, cg_graph_error(w.g)->text);
        cg_graph_clear_error(w.g);
    }
    close_world(&w);
}
END_TEST

/* An expression that cannot be derived does no harm to the others' kinds: each has its sentence. */
START_TEST(what_stands_for_the_disconnected_is_chosen)
{
    world w = open_world();
    cg_node *f = cg_square(w.x), *other = cg_exp(w.y), *a, *b, *v = w.y;
    OK(cg_rop(CG_NODES(f, other), CG_NODES(w.x), CG_NODES(v), CG_OUT(&a, &b), CG_GRAD(.disconnected = CG_DISCONNECTED_NULL)));
    ck_assert(a && !b);
    OK(cg_rop(CG_NODES(f, other), CG_NODES(w.x), CG_NODES(v), CG_OUT(&a, &b), CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS)));
    expect(&w, "zeros", b, "0");
    OK(cg_jacobian(f, CG_NODES(w.x, w.s), CG_OUT(&a, &b), CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS)));
    expect(&w, "a Jacobian", a, DIAGONAL("(mul 2 x)"));
    expect(&w, "of zeros", b, "0");
    ck_assert_int_eq(cg_node_rank(b), 1);
    OK(cg_hessian(total(f), CG_NODES(w.x, w.A), CG_OUT(&a, &b), CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS)));
    expect(&w, "a Hessian", a, DIAGONAL("2"));
    ck_assert_int_eq(cg_node_rank(b), 4);
    OK(cg_hessian_vector(total(f), CG_NODES(w.x, w.y), CG_NODES(v, v), CG_OUT(&a, &b), CG_GRAD(.disconnected = CG_DISCONNECTED_NULL)));
    expect(&w, "a product", a, "(mul 2 y)");
    ck_assert_ptr_null(b);
    cg_node *wrong[] = { other, cg_trigamma(w.x), f };
    ck_assert_int_lt(cg_rop(wrong, 3, CG_NODES(w.x), CG_NODES(v), CG_OUT(&a, &b, &f), NULL), 0);
    ck_assert_int_eq(cg_graph_error_count(w.g), 2);
    ck_assert(!a && !b && !f);
    cg_graph_clear_error(w.g);
    close_world(&w);
}
END_TEST

#define REFUSED(request, code_, says_) do {                                                                            \
        cg_graph_clear_error(w.g);                                                                                     \
        ck_assert_int_eq(request, code_);                                                                              \
        ck_assert_msg(cg_graph_error(w.g) && strstr(cg_graph_error(w.g)->text, says_), "'%s' lacks '%s'", cg_last_error()->text, says_); \
        ck_assert_ptr_null(d);                                                                                         \
    } while (0)

START_TEST(wrong_uses_have_their_sentence)
{
    world w = open_world(), other = open_world();
    cg_node *f = cg_square(w.x), *cost = total(f), *d, *e, *five = cg_input(w.g, "five", CG_F64, CG_SHAPE(1, 1, 1, 1, 1)), *deep = cg_mul(five, w.s);
    REFUSED(cg_rop(CG_NODES(f), CG_NODES(w.x), CG_NODES(w.s), CG_OUT(&d), NULL), CG_ESHAPE, "cg_rop: x (input f64[3]");
    REFUSED(cg_rop(CG_NODES(f), CG_NODES(w.x), CG_NODES(w.s), CG_OUT(&d), NULL), CG_ESHAPE, "which has another shape");
    REFUSED(cg_rop(CG_NODES(f), CG_NODES(w.x), CG_NODES(w.i), CG_OUT(&d), NULL), CG_EDTYPE, "both must be of floats");
    REFUSED(cg_rop(CG_NODES(f), CG_NODES(w.i), CG_NODES(w.i), CG_OUT(&d), NULL), CG_EDTYPE, "cg_rop: i (input i64[3]");
    REFUSED(cg_rop(CG_NODES(f), CG_NODES(w.x, w.y), CG_NODES(w.x), CG_OUT(&d), NULL), CG_EINVAL, "cg_rop: 1 points for 2 nodes");
    REFUSED(cg_rop(CG_NODES(f), CG_NODES(w.x), CG_NODES(w.x), CG_OUT(&d, &e), NULL), CG_EINVAL, "1 expressions but 2 places");
    REFUSED(cg_rop(CG_NODES(f), CG_NODES(w.x), CG_NODES(other.x), CG_OUT(&d), NULL), CG_EINVAL, "point 0, x (input f64[3]");
    REFUSED(cg_rop(CG_NODES(f, NULL), CG_NODES(w.x), CG_NODES(w.x), CG_OUT(&d, &e), NULL), CG_EINVAL, "expression 1 is NULL");
    REFUSED(cg_rop(CG_NODES(f), CG_NODES(w.x), CG_NODES(w.x), CG_OUT(&d), CG_GRAD(CG_KNOWN({ w.x, w.y }))), CG_EINVAL, "known gradients are for cg_grad_with");
    REFUSED(cg_lop(CG_NODES(f), CG_NODES(w.x), CG_NODES(w.A), CG_OUT(&d), NULL), CG_ESHAPE, "cg_lop: square f64[3]");
    REFUSED(cg_lop(NULL, 0, CG_NODES(w.x), NULL, 0, CG_OUT(&d), NULL), CG_EINVAL, "cg_lop: there is no expression");
    REFUSED(cg_lop(CG_NODES(f, cost), CG_NODES(w.y), CG_NODES(f, cost), CG_OUT(&d), NULL), CG_EINVAL, "does not reach any of the expressions");
    REFUSED(cg_jacobian(f, CG_NODES(w.y), CG_OUT(&d), NULL), CG_EINVAL, "cg_jacobian: y (input f64[3]");
    REFUSED(cg_jacobian(w.i, CG_NODES(w.x), CG_OUT(&d), NULL), CG_EDTYPE, "is not of floats and has no derivative");
    REFUSED(cg_jacobian(deep, CG_NODES(five), CG_OUT(&d), NULL), CG_ESHAPE, "rank 10, more than 8");
    REFUSED(cg_jacobian(cg_trigamma(w.x), CG_NODES(w.x), CG_OUT(&d), NULL), CG_EUNSUPPORTED, "x (input f64[3]");
    REFUSED(cg_hessian(f, CG_NODES(w.x), CG_OUT(&d), NULL), CG_ESHAPE, "cg_hessian: the cost must be a float scalar");
    REFUSED(cg_hessian(total(cg_mul(deep, deep)), CG_NODES(five), CG_OUT(&d), NULL), CG_ESHAPE, "rank 10, more than 8");
    REFUSED(cg_hessian(total(cg_digamma(w.x)), CG_NODES(w.x), CG_OUT(&d), NULL), CG_EUNSUPPORTED, "has no gradient, since trigamma f64[3]");
    REFUSED(cg_hessian(cost, CG_NODES(w.y), CG_OUT(&d), NULL), CG_EINVAL, "cg_hessian: y (input f64[3]");
    REFUSED(cg_hessian_vector(total(cg_trigamma(w.x)), CG_NODES(w.x), CG_NODES(w.y), CG_OUT(&d), NULL), CG_EUNSUPPORTED, "cg_hessian_vector: sum f64[]");
    REFUSED(cg_hessian_vector(cost, CG_NODES(w.x), CG_NODES(w.s), CG_OUT(&d), NULL), CG_ESHAPE, "cannot have the point s (input f64[]");
    cg_graph_clear_error(w.g);
    ck_assert_ptr_null(cg_matmul(w.s, w.x));
    ck_assert_int_eq(cg_jacobian(NULL, CG_NODES(w.x), CG_OUT(&d), NULL), CG_EINVAL);                   /* what follows says nothing more */
    ck_assert_int_eq(cg_graph_error_count(w.g), 1);
    cg_graph_clear_error(w.g);
    close_world(&other);
    close_world(&w);
}
END_TEST

int main(void)
{
    return RUN_TESTS("jacobian", loops_are_derived_as_their_steps_written_out, a_loop_forwards_is_two_loops, jacobians_are_the_closed_forms, hessians_are_the_closed_forms,
                     blocks_of_a_hessian_are_jacobians_of_gradients, points_are_added_up, kinds_of_none_go_forwards_too,
                     what_stands_for_the_disconnected_is_chosen, wrong_uses_have_their_sentence);
}
