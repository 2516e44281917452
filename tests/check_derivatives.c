// SPDX-License-Identifier: MIT
/* Products with the matrix of derivatives, J itself and the Hessian (core/graph/derivatives.c), on the device of CG_DEVICE, in f64.
 *
 * Of every operation, from the tables: <u, J v> = <J' u, v>; J v is the difference along v; the second derivatives of <u, f>, which are
 * symmetric, are the same forwards and backwards. All cases are outputs of one function. Where kernels must be compiled each structural
 * operation stands there once, and elementwise ones, whose derivatives are made of rows, not at all.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/ops/ops.h"
#include "tests/golden_elems.h"
#include "tests/golden_rows.h"
#include "tests/suite.h"
#include "tests/verified.h"

enum { ROWS = CG_LEN(golden_rows), POINTS = 6, VARS = 3, CASES = ROWS + CG_EL_COUNT, MAX_IN = CASES * (2 * VARS + 1), MAX_OUT = CASES * (2 + 3 * VARS), CALLS = 3 };
static const double STEP = 1e-5;

static bool on_cpu(void) { return strcmp(cg_device_name(cg_device_open(NULL)), "cpu") == 0; }

/* ---- cases; nodes are told by their place among the function's inputs and outputs */

typedef struct derived { const char *name; int n, f, along, x[VARS], v[VARS], u, back[VARS], twice[VARS], again[VARS]; bool smooth, second; } derived;
typedef struct bench {
    cg_graph *g;
    cg_node *in[MAX_IN], *out[MAX_OUT];
    cg_array *arg[MAX_IN], *got[CALLS][MAX_OUT];
    int nin, nout, ncases;
    derived at[CASES];
} bench;

static double noise(unsigned *seed) { return rand_r(seed) / (double)RAND_MAX - 0.5; }

/* With free rows, their number is first known at the call. */
static int add_sized(bench *b, cg_array *value, bool free_rows)
{
    int64_t shape[CG_MAX_RANK];
    memcpy(shape, cg_array_shape(value), (size_t)cg_array_rank(value) * sizeof *shape);
    shape[0] = free_rows ? CG_ANY : shape[0];
    b->arg[b->nin] = value;
    b->in[b->nin] = cg_input(b->g, NULL, cg_array_dtype(value), shape, cg_array_rank(value));
    return b->nin++;
}

static int add_in(bench *b, cg_array *value) { return add_sized(b, value, false); }

static int add_out(bench *b, cg_node *n)
{
    b->out[b->nout] = n;
    return b->nout++;
}

static cg_array *random_array(const int64_t *shape, int rank, unsigned seed)
{
    cg_array *a = cg_array_new(CG_F64, shape, rank, NULL);
    for (int64_t i = 0; i < cg_array_count(a); i++)
        golden_put(a, i, noise(&seed));
    return a;
}

/* A direction beside n, whose rows are `rows` where their number is free. */
static int add_direction(bench *b, const cg_node *n, int64_t rows)
{
    int64_t shape[CG_MAX_RANK];
    for (int i = 0; i < cg_node_rank(n); i++)
        shape[i] = cg_node_dim(n, i);
    const bool free_rows = cg_node_rank(n) && shape[0] == CG_ANY;
    shape[0] = free_rows ? rows : shape[0];
    return add_sized(b, random_array(shape, cg_node_rank(n), (unsigned)(b->nin + 17)), free_rows);
}

/* ---- building: what has no derivative says so, the same forwards and backwards */

static const char *reason_of(const char *sentence)
{
    const char *since = strstr(sentence, ", since ");
    return since ? since : sentence;
}

/* Both gave values, true; or the same reason why not. */
static bool both(bench *b, const char *name, int back, int along)
{
    ck_assert_msg(back == along, "%s: backwards %d, forwards %d: %s", name, back, along, cg_last_error()->text);
    if (back == CG_OK)
        return true;
    const cg_error *first = cg_graph_error_at(b->g, 0), *second = cg_graph_error_at(b->g, 1);
    ck_assert_msg(back == CG_EUNSUPPORTED && first && second && strcmp(reason_of(first->text), reason_of(second->text)) == 0, "%s: %s", name, cg_last_error()->text);
    cg_graph_clear_error(b->g);
    return false;
}

static cg_grad_spec *zeros(void)
{
    static cg_grad_spec o = { .struct_size = sizeof o, .disconnected = CG_DISCONNECTED_ZEROS };
    return &o;
}

/* Where a gradient is none of the value's, by the user's will, its derivatives are no second ones. */
static bool by_hand(const cg_node *f)
{
    const int e = (int)cg__op_id(f) - CG_OP_FIRST_ELEM;
    return e >= 0 && cg__elems[e].algebra & A_SELF;
}

static void add_second(bench *b, derived *d, cg_node *const *x, cg_node *const *back, cg_node *const *v)
{
    cg_node *twice[VARS], *again[VARS], **to_twice[VARS] = { &twice[0], &twice[1], &twice[2] }, **to_again[VARS] = { &again[0], &again[1], &again[2] };
    const int n = d->n, backward = cg_lop(back, n, x, n, v, n, to_again, n, zeros()), forward = cg_rop(back, n, x, n, v, n, to_twice, n, zeros());
    d->second = both(b, d->name, backward, forward);
    for (int k = 0; k < n && d->second; k++) {
        d->twice[k] = add_out(b, twice[k]);
        d->again[k] = add_out(b, again[k]);
    }
}

/* The case of f at inputs x[0..n); rows: how many it has, where that is free. */
static void add_case(bench *b, const char *name, cg_node *f, int64_t rows, const int *x, int n, bool smooth)
{
    derived d = { .name = name, .n = n, .smooth = smooth };
    cg_node *var[VARS], *v[VARS], *u, *along, *back[VARS], **where[VARS] = { &back[0], &back[1], &back[2] };
    for (int k = 0; k < n; k++) {
        var[k] = b->in[d.x[k] = x[k]];
        v[k] = b->in[d.v[k] = add_direction(b, var[k], cg_array_rank(b->arg[x[k]]) ? cg_array_shape(b->arg[x[k]])[0] : 0)];
    }
    u = b->in[d.u = add_direction(b, f, rows)];
    const int backward = cg_lop(&f, 1, var, n, &u, 1, where, n, zeros()), forward = cg_rop(&f, 1, var, n, v, n, CG_OUT(&along), zeros());
    if (!both(b, name, backward, forward))
        return;
    d.f = add_out(b, f);
    d.along = add_out(b, along);
    for (int k = 0; k < n; k++)
        d.back[k] = add_out(b, back[k]);
    if (!by_hand(f))
        add_second(b, &d, var, back, v);
    b->at[b->ncases++] = d;
}

/* ---- calling: all variables moved by h along their directions */

static void call(bench *b, cg_function *f, double h, cg_array **out)
{
    static cg_array *arg[MAX_IN];
    memcpy(arg, b->arg, sizeof arg);
    for (int c = 0; c < b->ncases; c++)
        for (int k = 0; k < b->at[c].n; k++) {
            cg_array *x = b->arg[b->at[c].x[k]], *moved = cg_array_new(CG_F64, cg_array_shape(x), cg_array_rank(x), cg_array_data(x));
            for (int64_t i = 0; i < cg_array_count(x); i++)
                golden_put(moved, i, golden_f64(x, i) + h * golden_f64(b->arg[b->at[c].v[k]], i));
            arg[b->at[c].x[k]] = moved;
        }
    ck_assert_msg(cg_call(f, arg, b->nin, out) == CG_OK, "%s", cg_last_error()->text);
    for (int i = 0; i < b->nin; i++)
        if (arg[i] != b->arg[i])
            cg_array_free(arg[i]);
}

static void near(const derived *d, const char *what, double got, double want, double bound)
{
    ck_assert_msg(fabs(got - want) <= bound, "%s: %s is %.12g, not %.12g", d->name, what, got, want);
}

/* The sum of products, and of their sizes. */
static double inner(cg_array *x, cg_array *y, double *size)
{
    double sum = 0;
    ck_assert_int_eq(cg_array_count(x), cg_array_count(y));
    for (int64_t i = 0; i < cg_array_count(x); i++) {
        sum += golden_f64(x, i) * golden_f64(y, i);
        *size += fabs(golden_f64(x, i) * golden_f64(y, i));
    }
    return sum;
}

static void is_adjoint(const bench *b, const derived *d, cg_array **got)
{
    double size = 1e-300, back = 0;
    const double along = inner(b->arg[d->u], got[d->along], &size);
    for (int k = 0; k < d->n; k++)
        back += inner(got[d->back[k]], b->arg[d->v[k]], &size);
    near(d, "<u, J v>", along, back, 1e-13 * size);
}

static double largest(cg_array *x)
{
    double most = 0;
    for (int64_t i = 0; i < cg_array_count(x); i++)
        most = fmax(most, fabs(golden_f64(x, i)));
    return most;
}

/* Output `slope` is the difference of output `of`. */
static void is_difference(const bench *b, const derived *d, const char *what, int of, int slope)
{
    cg_array *up = b->got[1][of], *down = b->got[2][of], *here = b->got[0][slope];
    const double bound = 1e-6 * (1e-2 + largest(up) + largest(here));
    ck_assert_int_eq(cg_array_count(up), cg_array_count(here));
    for (int64_t i = 0; i < cg_array_count(here); i++)
        near(d, what, golden_f64(here, i), (golden_f64(up, i) - golden_f64(down, i)) / (2 * STEP), bound);
}

static void is_symmetric(const bench *b, const derived *d, int k)
{
    cg_array *x = b->got[0][d->twice[k]], *y = b->got[0][d->again[k]];
    const double bound = 1e-12 * (largest(x) + largest(b->got[0][d->back[k]]) + 1e-300);
    for (int64_t i = 0; i < cg_array_count(x); i++)
        near(d, "a second derivative forwards", golden_f64(x, i), golden_f64(y, i), bound);
}

static void check_case(bench *b, const derived *d)
{
    is_adjoint(b, d, b->got[0]);
    if (d->smooth)
        is_difference(b, d, "J v", d->f, d->along);
    for (int k = 0; k < d->n && d->second; k++) {
        is_symmetric(b, d, k);
        if (d->smooth)
            is_difference(b, d, "H v", d->back[k], d->twice[k]);
    }
}

static bench *bench_new(void)
{
    bench *b = cg__zalloc(sizeof *b);
    b->g = cg_graph_new();
    return b;
}

static void bench_check(bench *b)
{
    static const double step[CALLS] = { 0, STEP, -STEP };
    cg_function *f = cg_compile(b->g, CG_SPEC(.name = "derived", .inputs = b->in, .ninputs = b->nin, .outputs = b->out, .noutputs = b->nout, .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    for (int c = 0; c < CALLS; c++)
        call(b, f, step[c], b->got[c]);
    for (int c = 0; c < b->ncases; c++)
        check_case(b, &b->at[c]);
    for (int c = 0; c < CALLS; c++)
        golden_free(b->got[c], b->nout);
    golden_free(b->arg, b->nin);
    cg_function_free(f);
    cg_graph_free(b->g);
    cg__free(b);
}

/* ---- elementwise operations: at the points of golden_elem.h within their domains; where it has none, there is nothing to differ at these */

static const double anywhere[VARS][POINTS] = { { 0.3, -0.7, 1.2, -1.6, 0.4, 2.1 }, { -11, -12, -13, -14, -15, -16 }, { 11, 12, 13, 14, 15, 16 } };

static void add_elem(bench *b, cg_elem e)
{
    const golden_elem *row = golden_of(e);
    const double (*at)[POINTS] = row && row->grad ? row->grad : anywhere;
    cg_node *in[VARS];
    int x[VARS];
    for (int k = 0; k < cg__elems[e].arity; k++)
        in[k] = b->in[x[k] = add_in(b, cg_array_new(CG_F64, CG_SHAPE(POINTS), at[k]))];
    const bool chooses = cg__elems[e].res == CG_RES_BC;                  /* its first operand is a truth */
    if (chooses)
        in[0] = cg_greater(in[0], cg_weak(b->g, 0));
    cg_node *f = cg__build(b->g, (cg_op_id)(CG_OP_FIRST_ELEM + (int)e), in, cg__elems[e].arity, NULL);
    ck_assert_msg(f != NULL, "%s: %s", cg__elems[e].name, cg_last_error()->text);
    if (cg__is_float(cg_node_dtype(f)))
        add_case(b, cg__elems[e].name, f, 0, x + chooses, cg__elems[e].arity - chooses, row && row->grad && !chooses);
    else
        ck_assert_msg(cg__elems[e].res == CG_RES_BOOL, "%s has no derivative, and is no truth", cg__elems[e].name);
}

START_TEST(every_elementwise_operation)
{
    bench *b = bench_new();
    for (int e = 0; e < CG_EL_COUNT; e++)
        if (!of_integers_only((cg_elem)e))
            add_elem(b, (cg_elem)e);
    bench_check(b);
}
END_TEST

/* ---- structural operations: golden rows with floats, and what no row has: operations that only rewriting and gradients make */

static bool moderate(const golden_array *a)
{
    bool all = true;
    for (int64_t i = 0; i < golden_count(a); i++)
        all = all && isfinite(a->data[i]) && fabs(a->data[i]) <= 100;
    return all;
}

/* Not at the end of a domain, or where there is no value (a mean of nothing): those rows are about values. */
static bool takes_part(const golden_row *row)
{
    bool floats = false, all = moderate(&row->want);
    for (int k = 0; k < row->nvars; k++) {
        floats = floats || row->var[k].dtype == CG_F32;
        all = all && moderate(&row->var[k]);
    }
    return floats && all;
}

/* Whether f has a structural operation that was not met before. */
static bool meets(cg_node *f, bool *met)
{
    cg_node_vec nodes = { 0 };
    bool fresh = false;
    ck_assert(cg__reach(&f, 1, &nodes));
    for (int i = 0; i < nodes.n; i++) {
        const cg_op_id op = cg__op_id(nodes.at[i]);
        fresh |= op < CG_OP_FIRST_ELEM && !met[op];
        met[op] = true;
    }
    CG_VEC_FREE(&nodes);
    return fresh;
}

static void add_row(bench *b, const golden_row *row, bool *met)
{
    cg_node *vars[GOLDEN_VARS];
    int x[GOLDEN_VARS], n = 0;
    for (int k = 0; k < row->nvars; k++) {
        const int i = add_in(b, golden_array_of(&row->var[k], CG_F64));
        vars[k] = cg_name(b->in[i], row->var[k].name);
        if (row->var[k].dtype == CG_F32)
            x[n++] = i;
    }
    char *expr = strdup(row->expr);
    for (char *at = expr; (at = strstr(at, "f32"));)
        memcpy(at, "f64", 3);
    cg_node *f = cg_read(b->g, expr, vars, row->nvars);
    free(expr);
    ck_assert_msg(f != NULL, "%s: %s", row->expr, cg_last_error()->text);
    if (cg__is_float(cg_node_dtype(f)) && (meets(f, met) || on_cpu()))
        add_case(b, row->expr, f, 0, x, n, row->grad);
}

/* Of free sizes: y stretches at the call or does not, so its gradient is a sum (sum_to) only then. */
static void add_free(bench *b, int64_t rows, bool backwards, bool *met)
{
    const int x = add_sized(b, random_array(CG_SHAPE(4, 3), 1), true), y = add_sized(b, random_array(CG_SHAPE(rows, 3), 2), true);
    cg_node *f = cg_mul(cg_tanh(b->in[x]), cg_exp(b->in[y]));
    const int u = add_direction(b, f, 4);
    if (backwards)
        ck_assert_int_eq(cg_lop(CG_NODES(f), CG_NODES(b->in[y]), CG_NODES(b->in[u]), CG_OUT(&f), NULL), CG_OK);
    add_case(b, "free sizes", f, backwards ? rows : 4, (int[]){ x, y, u }, backwards ? 3 : 2, true);
    meets(f, met);
}

START_TEST(every_structural_operation)
{
    bool met[CG_OP_COUNT] = { false };
    bench *b = bench_new();
    for (int r = 0; r < ROWS; r++)
        if (takes_part(&golden_rows[r]))
            add_row(b, &golden_rows[r], met);
    for (int way = 0; way < 4; way++)
        add_free(b, way & 1 ? 1 : 4, way >> 1, met);
    bench_check(b);
    for (int op = 0; op < CG_OP_FIRST_ELEM; op++)
        ck_assert_msg(met[op] || op == CG_OP_own /* check_own */ || !cg__ops[op].grad || cg__ops[op].grad == cg__cut_grad || cg__ops[op].grad == cg__step_grad,
                      "%s has a derivative, and no row of tests/golden.py whose value is of floats", cg__ops[op].name);
}
END_TEST

int main(void)
{
    return RUN_TESTS("derivatives", on_cpu() ? every_elementwise_operation : NULL, every_structural_operation);
}
