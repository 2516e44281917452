// SPDX-License-Identifier: MIT
/* Random programs of loops in loops and in branches, branches in loops, conditions that data decide and loops that end by a condition, some sizes
 * known and some not, in f64 on the device of CG_DEVICE: what they give, its gradients, R-op and Hessian-vector product against the same
 * expression without a loop or a branch, on the cpu, and the gradient against differences. The same seed is the same program in every way.
 *
 * CG_TEST_PROGRAMS=first,last runs others than the usual ones. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "tests/suite.h"
#include "tests/verified.h"

enum { T = 3, B = 2, H = 3, SCOPE = 24, DEPTH = 4, WRT = 3 };
enum { X, HH, W, VX, VH, VW, U, SIGN, LIMIT, INS };              /* inputs: variables, directions, weights of the result, and what conditions read */
enum { COST, GRADS, ROP = GRADS + WRT, HESSIAN, VALUE = HESSIAN + WRT, ROOTS };
typedef enum { WRITTEN_OUT, AS_LOOPS } form;

/* (B, H) values that an expression may read, and the number of the step. */
typedef struct scope { cg_node *v[SCOPE]; int n; cg_node *t; int64_t number; } scope;
typedef struct program { cg_graph *g; cg_node *in[INS]; form form; int64_t limit; unsigned seed; } program;       /* limit: the step after which loops end that have a condition */

static unsigned draw(unsigned *r, unsigned n)
{
    *r = *r * 1664525u + 1013904223u;
    return (*r >> 8) % n;
}

static const char *said(const program *p) { return cg_graph_error(p->g) ? cg_graph_error(p->g)->text : cg_last_error()->text; }
static void good(const program *p, int rc) { ck_assert_msg(rc == CG_OK, "program %u: %s", p->seed, said(p)); }
static cg_node *i64(const program *p, int64_t v) { return cg_scalar(p->g, CG_I64, (double)v); }
static cg_node *pick(const scope *s, unsigned *r) { return s->v[draw(r, (unsigned)s->n)]; }
static cg_node *expression(program *p, const scope *s, unsigned *r, int depth);

/* ---- loops */

/* All that is drawn before the body is, so that a body is the same in each step that is written out. */
typedef struct loop_row { int64_t steps; bool rows, back, until, until_outer; unsigned states, keep, body, root; cg_node *init[2]; cg_scan_save save; } loop_row;

static loop_row draw_loop(const scope *s, unsigned *r)
{
    loop_row l = { .rows = draw(r, 3) > 0, .back = draw(r, 4) == 0, .until = draw(r, 3) == 0, .until_outer = draw(r, 2), .states = 1 + draw(r, 2), .keep = draw(r, 3),
                   .save = draw(r, 3) ? CG_SAVE_EXPENSIVE : CG_SAVE_STATES };
    const int64_t few = draw(r, 4);
    l.steps = l.rows ? T : few;
    l.root = draw(r, 3);
    l.init[0] = pick(s, r);
    l.init[1] = pick(s, r);
    l.body = draw(r, 1u << 24);
    return l;
}

/* One step: the states' next values, and what is kept. `s` has room for what the body reads. */
static cg_node *step(program *p, const loop_row *l, scope *s, cg_node *const *state, cg_node *row, cg_node **next, int depth)
{
    unsigned r = l->body;
    for (unsigned i = 0; i < l->states; i++)
        s->v[s->n++] = state[i];
    if (row)
        s->v[s->n++] = row;
    for (unsigned i = 0; i < l->states; i++)
        next[i] = expression(p, s, &r, depth - 1);
    return l->keep == CG_SCAN_LAST || l->root ? next[0] : expression(p, s, &r, depth - 1);
}

/* What a loop stacks, its rows weighted by their number from 1. */
static cg_node *weighted(const program *p, cg_node *stack)
{
    cg_node *one = i64(p, 1), *by = cg_cast(cg_arange(one, cg_add(cg_dim(stack, 0), one), one), CG_F64);
    return cg_sum(cg_mul(stack, cg_expand_dims(cg_expand_dims(by, 1), 1)), CG_REDUCE(CG_OVER(0)));
}

static cg_node *as_loop(program *p, const loop_row *l, const scope *around, int depth)
{
    scope s = *around;
    cg_node *state[2], *next[2], *out;
    cg_scan *loop = cg_scan_begin(p->g, CG_SCAN(.steps = l->rows ? NULL : i64(p, l->steps), .backwards = l->back, .save = l->save));
    cg_node *row = l->rows ? cg_scan_seq(loop, p->in[X]) : NULL;
    for (unsigned i = 0; i < l->states; i++)
        state[i] = cg_scan_state(loop, l->init[i]);
    s.t = cg_scan_index(loop);
    cg_node *kept = step(p, l, &s, state, row, next, depth);
    for (unsigned i = 0; i < l->states; i++)
        cg_scan_next(loop, state[i], next[i]);
    cg_node *limit = l->until_outer && around->t ? cg_add(p->in[LIMIT], cg_cast(around->t, CG_F64)) : p->in[LIMIT];
    if (l->until)
        cg_scan_until(loop, cg_greater_equal(cg_cast(s.t, CG_F64), limit));
    cg_scan_out(loop, kept, (cg_scan_keep)l->keep);
    good(p, cg_scan_end(loop, CG_OUT(&out)));
    return l->keep == CG_SCAN_ALL ? weighted(p, out) : out;
}

static cg_node *row_of(const program *p, int64_t i) { return cg_reshape(cg_slice(p->in[X], 0, i64(p, i), i64(p, i + 1), 1), CG_SHAPE(B, H)); }

static cg_node *written_out(program *p, const loop_row *l, const scope *around, int depth)
{
    const int64_t limit = p->limit + (l->until_outer && around->t ? around->number : 0), done = l->until && limit + 1 < l->steps ? limit + 1 : l->steps;
    cg_node *state[2] = { l->init[0], l->init[1] }, *next[2], *sum = cg_zeros_like(p->in[HH]);
    for (int64_t t = 0; t < done; t++) {
        scope s = *around;
        s.t = i64(p, s.number = t);
        cg_node *kept = step(p, l, &s, state, l->rows ? row_of(p, l->back ? l->steps - 1 - t : t) : NULL, next, depth);
        sum = cg_add(sum, l->keep == CG_SCAN_ALL ? cg_scale(kept, (double)(t + 1)) : kept);
        memcpy(state, next, sizeof state);
    }
    return l->keep == CG_SCAN_LAST ? state[0] : sum;
}

/* ---- expressions */

static cg_node *condition(const program *p, const scope *s, unsigned *r)
{
    const unsigned kind = draw(r, 3), k = draw(r, 3);
    cg_node *v = pick(s, r);
    if (kind == 0 && s->t)
        return cg_less(s->t, i64(p, k));
    if (kind == 1)
        return cg_greater(cg_sum(v, CG_REDUCE()), cg_scalar(p->g, CG_F64, 0.1));
    return cg_greater(p->in[SIGN], cg_scalar(p->g, CG_F64, k ? 0 : 5));
}

static cg_node *choice(const program *p, cg_node *cond, cg_node *then, cg_node *otherwise)
{
    cg_node *out;
    if (p->form == WRITTEN_OUT)
        return cg_where(cond, then, otherwise);
    good(p, cg_ifelse(cond, CG_NODES(then), CG_NODES(otherwise), CG_OUT(&out)));
    return out;
}

static cg_node *loop(program *p, const scope *s, unsigned *r, int depth)
{
    const loop_row l = draw_loop(s, r);
    return p->form == AS_LOOPS ? as_loop(p, &l, s, depth) : written_out(p, &l, s, depth);
}

static cg_node *expression(program *p, const scope *s, unsigned *r, int depth)
{
    const unsigned kind = depth ? draw(r, 10) : 0;
    if (!kind)
        return pick(s, r);
    if (kind >= 8)
        return loop(p, s, r, depth);
    cg_node *cond = kind >= 6 ? condition(p, s, r) : NULL, *a = expression(p, s, r, depth - 1);
    cg_node *b = kind == 3 || kind == 5 ? NULL : kind == 4 ? pick(s, r) : expression(p, s, r, depth - 1);
    if (cond)
        return choice(p, cond, a, b);
    return kind == 1   ? cg_tanh(cg_add(a, b))
           : kind == 2 ? cg_cos(cg_mul(a, b))
           : kind == 3 ? cg_tanh(cg_matmul(a, p->in[W]))
           : kind == 4 ? cg_sin(cg_mul(a, cg_sum(b, CG_REDUCE(CG_OVER(1), .keepdims = 1))))
                       : cg_sin(a);
}

/* ---- a program: inputs, and what is asked of it */

static void open_inputs(program *p, unsigned any)
{
    int64_t x[3] = { T, B, H }, h[2] = { B, H }, w[2] = { H, H }, *sizes[] = { &x[0], &x[1], &x[2], &h[0], &h[1], &w[0], &w[1] };
    for (int i = 0; i < 7; i++)
        if (any >> i & 1)
            *sizes[i] = CG_ANY;
    for (int i = 0; i < 2; i++) {
        p->in[X + i * WRT] = cg_input(p->g, i ? "vx" : "x", CG_F64, x, 3);
        p->in[HH + i * WRT] = cg_input(p->g, i ? "vh" : "h", CG_F64, h, 2);
        p->in[W + i * WRT] = cg_input(p->g, i ? "vW" : "W", CG_F64, w, 2);
    }
    p->in[U] = cg_input(p->g, "u", CG_F64, CG_SHAPE(B, H));
    p->in[SIGN] = cg_input(p->g, "sign", CG_F64, NULL, 0);
    p->in[LIMIT] = cg_input(p->g, "limit", CG_F64, NULL, 0);
}

static void build(program *p, cg_node **root)
{
    const cg_grad_spec *zeros = CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS);
    unsigned r = p->seed * 2654435761u;
    open_inputs(p, draw(&r, 128));
    cg_node *x = p->in[X], *h = p->in[HH];
    scope s = { .v = { h, cg_sin(cg_matmul(h, p->in[W])) }, .n = 2 };
    cg_node *f = cg_add(expression(p, &s, &r, DEPTH), cg_scale(cg_add(cg_matmul(h, p->in[W]), cg_sum(x, CG_REDUCE(CG_OVER(0)))), 0.1));
    root[VALUE] = f;
    root[COST] = cg_sum(cg_mul(f, p->in[U]), CG_REDUCE());
    good(p, cg_grad_with(root[COST], p->in, WRT, CG_OUT(&root[GRADS], &root[GRADS + 1], &root[GRADS + 2]), zeros));
    good(p, cg_rop(CG_NODES(f), p->in, WRT, p->in + WRT, WRT, CG_OUT(&root[ROP]), zeros));
    good(p, cg_hessian_vector(root[COST], p->in, WRT, p->in + WRT, WRT, CG_OUT(&root[HESSIAN], &root[HESSIAN + 1], &root[HESSIAN + 2]), zeros));
}

static void open_arguments(unsigned seed, int64_t limit, cg_array **arg)
{
    static const int64_t shape[] = { T, B, H }, square[] = { H, H };
    const double sign = seed % 2 ? 1 : -1, last = (double)limit;
    for (int i = 0; i < INS - 2; i++) {
        unsigned r = (unsigned)i + 1;
        arg[i] = cg_array_new(CG_F64, i == W || i == VW ? square : i == X || i == VX ? shape : shape + 1, i == X || i == VX ? 3 : 2, NULL);
        double *v = (double *)(uintptr_t)cg_array_data(arg[i]);
        for (int64_t e = 0; e < cg_array_count(arg[i]); e++)
            v[e] = draw(&r, 1u << 16) / 65536.0 - 0.5;
    }
    arg[SIGN] = cg_array_new(CG_F64, NULL, 0, &sign);
    arg[LIMIT] = cg_array_new(CG_F64, NULL, 0, &last);
}

static void free_arrays(cg_array **a, int n)
{
    for (int i = 0; i < n; i++)
        cg_array_free(a[i]);
}

/* ---- comparing */

static void run(cg_function *f, unsigned seed, cg_array **arg, cg_array **out)
{
    ck_assert_msg(f && cg_call(f, arg, INS, out) == CG_OK, "program %u: %s", seed, cg_last_error()->text);
}

static cg_function *compiled(program *p, cg_device *d, int plainly)
{
    cg_node *root[ROOTS];
    p->g = cg_graph_new();
    build(p, root);
    cg_function *f = cg_compile(p->g, CG_SPEC(.name = "program", .inputs = p->in, .ninputs = INS, .outputs = root, .noutputs = ROOTS, .no_rewrites = plainly, .unused = CG_UNUSED_IGNORE, .device = d));
    cg_graph_free(p->g);
    return f;
}

static void same(unsigned seed, const char *how, cg_array **got, cg_array **want)
{
    for (int i = 0; i < ROOTS; i++) {
        const double *x = cg_array_data(got[i]), *y = cg_array_data(want[i]);
        ck_assert_msg(x && y && cg_array_count(got[i]) == cg_array_count(want[i]), "program %u, %s: result %d: %s", seed, how, i, cg_last_error()->text);
        for (int64_t e = 0; e < cg_array_count(want[i]); e++)
            ck_assert_msg(fabs(x[e] - y[e]) <= 1e-11 * (1 + fabs(y[e])), "program %u, %s: result %d: element %d is %.17g, not %.17g", seed, how, i, (int)e, x[e], y[e]);
    }
}

/* The cost at the variables moved by `by` along their directions. */
static double moved(cg_function *f, unsigned seed, cg_array **arg, double by)
{
    cg_array *at[INS], *out[ROOTS];
    memcpy(at, arg, sizeof at);
    for (int i = 0; i < WRT; i++) {
        const double *x = cg_array_data(arg[i]), *v = cg_array_data(arg[WRT + i]);
        at[i] = cg_array_new(CG_F64, cg_array_shape(arg[i]), cg_array_rank(arg[i]), NULL);
        double *y = (double *)(uintptr_t)cg_array_data(at[i]);
        for (int64_t e = 0; e < cg_array_count(at[i]); e++)
            y[e] = x[e] + by * v[e];
    }
    run(f, seed, at, out);
    const double cost = *(const double *)cg_array_data(out[COST]);
    free_arrays(out, ROOTS);
    free_arrays(at, WRT);
    return cost;
}

static void is_slope(cg_function *f, unsigned seed, cg_array **arg, cg_array **out)
{
    const double by = 2e-6, near = moved(f, seed, arg, by) - moved(f, seed, arg, -by), far = moved(f, seed, arg, 2 * by) - moved(f, seed, arg, -2 * by);
    const double want = (8 * near - far) / (12 * by);
    double slope = 0;
    for (int i = 0; i < WRT; i++) {
        const double *d = cg_array_data(out[GRADS + i]), *v = cg_array_data(arg[WRT + i]);
        for (int64_t e = 0; e < cg_array_count(arg[i]); e++)
            slope += d[e] * v[e];
    }
    ck_assert_msg(fabs(slope - want) <= 1e-6 * (1 + fabs(want)), "program %u: the gradient gives %.12g along the direction, differences %.12g", seed, slope, want);
}

static void compare(unsigned seed)
{
    static const int64_t limits[] = { 0, 1, 10 };
    static const char *const hows[] = { "rewritten", "as written" };
    program p = { .seed = seed, .limit = limits[seed / 2 % 3] };
    cg_array *arg[INS], *want[ROOTS], *got[ROOTS];
    open_arguments(seed, p.limit, arg);
    cg_function *f = compiled(&p, cg_device_open("cpu"), 1);
    run(f, seed, arg, want);
    cg_function_free(f);
    p.form = AS_LOOPS;
    for (int plainly = 0; plainly < 2; plainly++) {
        f = compiled(&p, NULL, plainly);
        run(f, seed, arg, got);
        same(seed, hows[plainly], got, want);
        if (!plainly)
            is_slope(f, seed, arg, got);
        free_arrays(got, ROOTS);
        cg_function_free(f);
    }
    free_arrays(want, ROOTS);
    free_arrays(arg, INS);
}

/* The usual ones, and those by which mistakes were found that no usual one has. Where kernels must be compiled, a few. */
START_TEST(programs_are_what_they_are_written_out)
{
    static const unsigned also[] = { 201, 244, 364, 520 };
    const bool on_cpu = strcmp(cg_device_name(cg_device_open(NULL)), "cpu") == 0;
    const char *asked = getenv("CG_TEST_PROGRAMS");
    unsigned first = 0, last = on_cpu ? 149 : 1;
    ck_assert(!asked || sscanf(asked, "%u,%u", &first, &last) == 2);
    for (unsigned seed = first; seed <= last; seed++)
        compare(seed);
    for (size_t i = 0; i < sizeof also / sizeof also[0] && on_cpu && !asked; i++)
        compare(also[i]);
}
END_TEST

int main(void)
{
    return RUN_TESTS("scan_programs", programs_are_what_they_are_written_out);
}
