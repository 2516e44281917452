// SPDX-License-Identifier: MIT
/* Recurrent layers in f64 against NumPy's walk over each sequence by itself (tests/golden_recurrent.py), their gradients against differences,
 * sequences of any length without another kernel, layers that stack, and the sentences for what does not fit.
 *
 * CG_TEST_SKIP and CG_TEST_BATCH as in check_devices.c; the former looks at the names of the rows.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "skipped.h"
#include "tests/golden_recurrent.h"
#include "tests/suite.h"
#include "tests/verified.h"

enum { X, W, R, BIAS, H0, C0, PEEP, OPERANDS, MAX_COUNT = 128 };
typedef struct golden golden;
static const int gates[] = { 1, 3, 4 };

static void ok(int rc) { ck_assert_msg(rc == CG_OK, "%s", cg_last_error()->text); }
static const double *data_of(cg_array *a)
{
    const double *p = a ? cg_array_data(a) : NULL;
    ck_assert_msg(p != NULL, "%s", cg_last_error()->text);
    return p;
}

/* One row of the table as a function of its operands: y, h, c, a cost of them and its derivatives. */
typedef struct problem {
    const golden *row;
    cg_graph *g;
    cg_node *in[OPERANDS], *out[3], *cost, *grad[OPERANDS];
    cg_array *value[OPERANDS];
    int nout, n;                         /* operands that this row has: which[0..n-1] */
    int which[OPERANDS];
} problem;

static int directions(const golden *r) { return r->o.direction == CG_BIDIRECTIONAL ? 2 : 1; }
static int has(const golden *r, int k)
{
    return k <= R || (k == BIAS && r->b) || (k == H0 && r->h0) || (k == C0 && r->h0 && r->cell == CG_LSTM) || (k == PEEP && r->peepholes);
}

/* The shape of operand k; sizes the loop does not know are CG_ANY. */
static int shape_of(const golden *r, int k, int64_t shape[3])
{
    const int64_t n = directions(r), rows = gates[r->cell] * H;
    const int first = r->o.batch_first;
    const int64_t shapes[OPERANDS][3] = { [X] = { first ? B : T, first ? T : B, I }, [W] = { n, rows, I }, [R] = { n, rows, H }, [BIAS] = { n, 2 * rows },
                                          [H0] = { first ? B : n, first ? n : B, H }, [C0] = { first ? B : n, first ? n : B, H }, [PEEP] = { n, 3 * H } };
    memcpy(shape, shapes[k], sizeof shapes[k]);
    return k == BIAS || k == PEEP ? 2 : 3;
}

static void fill(const golden *r, int k, double *v)
{
    int64_t shape[3];
    const int rank = shape_of(r, k, shape);
    const int64_t count = shape[0] * shape[1] * (rank > 2 ? shape[2] : 1);
    for (int64_t i = 0; i < count; i++)
        v[i] = pool[(37 * k + i) % POOL];
    for (int64_t i = 0; k == X && r->lengths[0] && i < count; i++) {       /* nobody looks behind the end of a sequence */
        const int64_t slow = i / I / shape[1], fast = i / I % shape[1], t = r->o.batch_first ? fast : slow, b = r->o.batch_first ? slow : fast;
        v[i] = t < r->lengths[1 + b] ? v[i] : NAN;
    }
}

static int build_row(problem *p, cg_recurrent *o)
{
    const golden *r = p->row;
    *o = r->o;
    o->b = p->in[BIAS];
    o->h0 = p->in[H0];
    o->c0 = p->in[C0];
    o->peepholes = p->in[PEEP];
    o->lengths = r->lengths[0] ? cg_constant(p->g, CG_I32, CG_SHAPE(B), r->lengths + 1) : NULL;
    o->activations = r->acts;
    switch (r->cell) {
    case CG_RNN: return cg_rnn(p->in[X], p->in[W], p->in[R], o, &p->out[0], &p->out[1]);
    case CG_GRU: return cg_gru(p->in[X], p->in[W], p->in[R], o, &p->out[0], &p->out[1]);
    case CG_LSTM: return cg_lstm(p->in[X], p->in[W], p->in[R], o, &p->out[0], &p->out[1], &p->out[2]);
    }
    return CG_EINVAL;
}

/* Each element of y, h and c with a weight of its own. */
static cg_node *cost_of(problem *p)
{
    cg_node *cost = NULL;
    for (int k = 0; k < p->nout; k++) {
        cg_node *flat = cg_reshape(p->out[k], CG_SHAPE(CG_ANY)), *index = cg_arange(cg_scalar(p->g, CG_I64, 0), cg_dim(flat, 0), cg_scalar(p->g, CG_I64, 1));
        cg_node *weights = cg_cos(cg_cast(index, CG_F64)), *part = cg_sum(cg_mul(cg_sin(cg_scale(flat, 0.5 + k)), weights), CG_REDUCE());
        cost = cost ? cg_add(cost, part) : part;
    }
    return cost;
}

static void open_problem(problem *p, const golden *r)
{
    static const char *const names[] = { "x", "W", "R", "b", "h0", "c0", "P" };
    cg_node **places[OPERANDS], *wrt[OPERANDS];
    cg_recurrent o;
    *p = (problem){ .row = r, .g = cg_graph_new(), .nout = r->cell == CG_LSTM ? 3 : 2 };
    for (int k = 0; k < OPERANDS; k++) {
        int64_t shape[3];
        double v[MAX_COUNT];
        const int rank = shape_of(r, k, shape);
        if (!has(r, k))
            continue;
        fill(r, k, v);
        p->value[k] = cg_array_new(CG_F64, shape, rank, v);
        if (k == X)
            shape[r->o.batch_first] = shape[!r->o.batch_first] = CG_ANY;
        wrt[p->n] = p->in[k] = cg_input(p->g, names[k], CG_F64, shape, rank);
        places[p->n] = &p->grad[k];
        p->which[p->n++] = k;
    }
    const int rc = build_row(p, &o);
    p->cost = cost_of(p);
    ck_assert_msg(rc == CG_OK && cg_grad(p->cost, wrt, p->n, places, p->n) == CG_OK, "%s: %s", r->name, cg_graph_error(p->g) ? cg_graph_error(p->g)->text : "?");
}

static void close_problem(problem *p)
{
    for (int k = 0; k < OPERANDS; k++)
        cg_array_free(p->value[k]);
    cg_graph_free(p->g);
    if (getenv("CG_TEST_BATCH"))
        cg_shutdown();
}

/* The results of one call: y, h, c or nothing, the cost, the derivatives. */
enum { COST = 3, GRADS, RESULTS = GRADS + OPERANDS };

static cg_function *compile(problem *p)
{
    cg_node *in[OPERANDS], *out[RESULTS] = { p->out[0], p->out[1], p->nout > 2 ? p->out[2] : p->cost, p->cost };
    for (int i = 0; i < p->n; i++) {
        in[i] = p->in[p->which[i]];
        out[GRADS + i] = p->grad[p->which[i]];
    }
    cg_function *f = cg_compile(p->g, CG_SPEC(.name = p->row->name, .inputs = in, .ninputs = p->n, .outputs = out, .noutputs = GRADS + p->n));
    ck_assert_msg(f != NULL, "%s: %s", p->row->name, cg_last_error()->text);
    return f;
}

static void call(problem *p, cg_function *f, cg_array **out)
{
    cg_array *in[OPERANDS];
    for (int i = 0; i < p->n; i++)
        in[i] = p->value[p->which[i]];
    ck_assert_msg(cg_call(f, in, p->n, out) == CG_OK, "%s: %s", p->row->name, cg_last_error()->text);
}

static void drop(problem *p, cg_array **out)
{
    for (int i = 0; i < GRADS + p->n; i++)
        cg_array_free(out[i]);
}

static void same_values(const golden *r, const char *what, cg_array *got, const double *want)
{
    const double *v = data_of(got);
    for (int64_t i = 0; i < cg_array_count(got); i++)
        ck_assert_msg(fabs(v[i] - want[i]) <= 1e-13, "%s: %s[%lld] is %.17g, not %.17g", r->name, what, (long long)i, v[i], want[i]);
}

static void check_values(problem *p, cg_array **out)
{
    const golden *r = p->row;
    ck_assert_int_eq(cg_array_count(out[0]), directions(r) * T * B * H);
    ck_assert_int_eq(cg_array_shape(out[1])[r->o.batch_first], directions(r));
    same_values(r, "y", out[0], r->y);
    same_values(r, "h", out[1], r->h);
    if (p->nout > 2)
        same_values(r, "c", out[2], r->c);
}

/* The cost where operand k is moved along its direction, which is the pool's, too. */
static double moved_cost(problem *p, cg_function *f, int k, double by)
{
    int64_t shape[3];
    double v[MAX_COUNT];
    cg_array *kept = p->value[k], *out[RESULTS];
    const int rank = shape_of(p->row, k, shape);
    fill(p->row, k, v);
    for (int64_t i = 0; i < cg_array_count(kept); i++)
        v[i] += by * pool[(i * 7 + 5) % POOL];
    p->value[k] = cg_array_new(CG_F64, shape, rank, v);
    call(p, f, out);
    const double cost = *data_of(out[COST]);
    drop(p, out);
    cg_array_free(p->value[k]);
    p->value[k] = kept;
    return cost;
}

static void check_gradients(problem *p, cg_function *f, cg_array **out)
{
    for (int i = 0; i < p->n; i++) {
        const double step = 1e-5, want = (moved_cost(p, f, p->which[i], step) - moved_cost(p, f, p->which[i], -step)) / (2 * step), *grad = data_of(out[GRADS + i]);
        double got = 0;
        for (int64_t j = 0; j < cg_array_count(out[GRADS + i]); j++)
            got += grad[j] * pool[(j * 7 + 5) % POOL];
        ck_assert_msg(fabs(got - want) <= 1e-8 * (1 + fabs(want)), "%s: derivative of operand %d along a direction: %.12g, by differences %.12g", p->row->name, p->which[i], got, want);
    }
}

START_TEST(cells_are_onnxs_formulas_and_their_gradients_differences)
{
    problem p;
    cg_array *out[RESULTS];
    if (skipped(golden_recurrent[_i].name))
        return;
    open_problem(&p, &golden_recurrent[_i]);
    cg_function *f = compile(&p);
    call(&p, f, out);
    check_values(&p, out);
    check_gradients(&p, f, out);
    drop(&p, out);
    cg_function_free(f);
    close_problem(&p);
}
END_TEST

/* ---- lengths that differ from call to call */

static void grown(cg_function *f, cg_array *W, cg_array *R, int64_t steps, int64_t batch, cg_stats *s)
{
    const int64_t x_shape[3] = { steps, batch, I };
    int64_t each[4] = { steps, 1, steps - 1, 0 };
    cg_array *x = cg_array_new(CG_F64, x_shape, 3, NULL), *lengths = cg_array_new(CG_I64, &batch, 1, each), *out[2];
    ok(cg_call(f, CG_ARRAYS(x, lengths, W, R), out));
    cg_function_stats(f, s);
    cg_array_free(x);
    cg_array_free(lengths);
    cg_array_free(out[0]);
    cg_array_free(out[1]);
}

START_TEST(a_new_length_builds_no_kernel_and_keeps_no_memory)
{
    static const int64_t steps[] = { 5, 9, 2, 23, 7, 4, 5 };
    const int64_t w_shape[3] = { 2, 4 * H, I }, r_shape[3] = { 2, 4 * H, H };
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F64, CG_SHAPE(CG_ANY, CG_ANY, I)), *lengths = cg_input(g, "lengths", CG_I64, CG_SHAPE(CG_ANY)), *y, *dR;
    cg_node *w = cg_input(g, "W", CG_F64, w_shape, 3), *r = cg_input(g, "R", CG_F64, r_shape, 3);
    ok(cg_lstm(x, w, r, CG_RECURRENT(.direction = CG_BIDIRECTIONAL, .lengths = lengths), &y, NULL, NULL));
    cg_node *cost = cg_sum(cg_square(y), CG_REDUCE());
    ok(cg_grad(cost, CG_NODES(r), CG_OUT(&dR)));
    cg_function *f = cg_compile(g, CG_SPEC(CG_INPUTS(x, lengths, w, r), CG_OUTPUTS(cost, dR)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *W_ = cg_array_new(CG_F64, w_shape, 3, pool), *R_ = cg_array_new(CG_F64, r_shape, 3, pool);
    cg_stats first, now = { 0 };
    grown(f, W_, R_, steps[0], 3, &first);
    for (size_t i = 1; i < sizeof steps / sizeof steps[0]; i++) {
        grown(f, W_, R_, steps[i], i % 2 ? 4 : 3, &now);
        ck_assert_int_eq(now.kernels_built, first.kernels_built);
        ck_assert_int_eq(now.plans, first.plans);
    }
    ck_assert_int_eq(now.peak_bytes, first.peak_bytes);          /* of 5 steps and 3 sequences again */
    cg_memory before, after;
    cg_device *d = cg_device_open(NULL);
    ok(cg_device_wait(d));
    cg_device_memory(d, &before);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        grown(f, W_, R_, steps[i], 3, &now);
    ok(cg_device_wait(d));
    cg_device_memory(d, &after);
    ck_assert_int_eq((int64_t)after.held, (int64_t)before.held);
    ck_assert_int_le((int64_t)after.most, (int64_t)before.most);
    cg_array_free(W_);
    cg_array_free(R_);
    cg_function_free(f);
    cg_graph_free(g);
    if (getenv("CG_TEST_BATCH"))
        cg_shutdown();
}
END_TEST

/* ---- layers */

/* A bidirectional LSTM, a GRU that gives its last state: the functions one after the other, over the same parameters. */
START_TEST(stacked_layers_are_their_functions)
{
    for (int first = 0; first < 2; first++) {
        cg_graph *g = cg_graph_new();
        cg_net *n = cg_net_new(g, 3);
        cg_layer l[2];
        float v[T * B * I];
        for (int i = 0; i < T * B * I; i++)
            v[i] = (float)pool[i];
        cg_node *x = cg_constant(g, CG_F32, CG_SHAPE(first ? B : T, first ? T : B, I), v), *y, *h;
        ok(cg_layer_recurrent(&l[0], n, "a", CG_LSTM, I, H, CG_INIT_GLOROT_UNIFORM, CG_RECURRENT(.direction = CG_BIDIRECTIONAL, .batch_first = first)));
        ok(cg_layer_recurrent(&l[1], n, "b", CG_GRU, 2 * H, 5, CG_INIT_GLOROT_UNIFORM, CG_RECURRENT(.batch_first = first)));
        l[1].last = 1;
        cg_node *out = cg_forward(l, 2, x), *dx;
        ck_assert_msg(out && cg_node_rank(out) == 2, "%s", cg_graph_error(g) ? cg_graph_error(g)->text : "?");
        ok(cg_lstm(x, l[0].w, l[0].r, CG_RECURRENT(.b = l[0].b, .direction = CG_BIDIRECTIONAL, .batch_first = first), &y, NULL, NULL));
        y = cg_reshape(first ? y : cg_transpose(y, CG_AXES(0, 2, 1, 3)), CG_SHAPE(first ? B : T, first ? T : B, 2 * H));
        ok(cg_gru(y, l[1].w, l[1].r, CG_RECURRENT(.b = l[1].b, .batch_first = first), NULL, &h));
        h = cg_reshape(h, CG_SHAPE(B, 5));
        ok(cg_grad(cg_sum(out, CG_REDUCE()), CG_NODES(l[0].r), CG_OUT(&dx)));
        cg_function *f = cg_compile(g, CG_SPEC(CG_OUTPUTS(out, cg_all(cg_equal(out, h), CG_REDUCE()), cg_any(cg_not_equal(dx, cg_weak(g, 0)), CG_REDUCE()))));
        ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
        cg_array *got[3];
        ok(cg_call(f, NULL, 0, got));
        ck_assert_int_eq(cg_array_shape(got[0])[0], B);
        ck_assert_int_eq(cg_array_shape(got[0])[1], 5);
        ck_assert(*(const bool *)cg_array_data(got[1]) && *(const bool *)cg_array_data(got[2]));
        for (int i = 0; i < 3; i++)
            cg_array_free(got[i]);
        cg_function_free(f);
        cg_net_free(n);
        cg_graph_free(g);
        if (getenv("CG_TEST_BATCH"))
            cg_shutdown();
    }
}
END_TEST

START_TEST(parameters_of_layers_begin_as_told)
{
    cg_graph *g = cg_graph_new();
    cg_net *n = cg_net_new(g, 3);
    cg_layer l;
    ok(cg_layer_recurrent(&l, n, "lstm", CG_LSTM, 40, 25, CG_INIT_LECUN_UNIFORM, NULL));
    const float *w = cg_array_data(cg_net_find(n, "lstm.w")), *r = cg_array_data(cg_net_find(n, "lstm.r")), *b = cg_array_data(cg_net_find(n, "lstm.b"));
    double squares = 0;
    for (int i = 0; i < 100 * 40; i++)
        squares += (double)(w[i] * w[i]);
    ck_assert_double_eq_tol(squares / 4000, 1.0 / 40, 0.002);
    for (int gate = 0; gate < 4; gate++)
        for (int i = 0; i < 25; i++)
            for (int j = 0; j < 25; j++) {
                double dot = 0;
                for (int k = 0; k < 25; k++)
                    dot += (double)r[gate * 625 + i * 25 + k] * (double)r[gate * 625 + j * 25 + k];
                ck_assert_double_le(fabs(dot - (i == j)), 1e-6);
            }
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(b[i] == 1, i / 25 == 2);
    ck_assert_int_eq(cg_net_size(n), 100 * 40 + 100 * 25 + 200);
    ck_assert_int_eq(cg_layer_recurrent(&l, n, "lstm", CG_LSTM, 40, 25, CG_INIT_ZEROS, NULL), CG_EINVAL);
    ck_assert_int_eq(cg_layer_recurrent(&l, n, "none", CG_LSTM, 40, 0, CG_INIT_ZEROS, NULL), CG_EINVAL);
    cg_net_free(n);
    cg_graph_free(g);
}
END_TEST

/* ---- what does not fit */

typedef struct wrong { const char *says; int cell; int64_t x[3], w[3], r[3]; cg_recurrent o; int64_t b, h0, lengths; } wrong;
#define FITS { 4, 3, 2 }, { 1, 12, 2 }, { 1, 12, 3 }
#define GRU_FITS { 4, 3, 2 }, { 1, 9, 2 }, { 1, 9, 3 }
#define O(...) { .struct_size = sizeof(cg_recurrent), __VA_ARGS__ }
static const wrong wrongs[] = {
    { "cg_lstm: W is f32[1,9,2], where f32[1,12,2] is wanted", CG_LSTM, { 4, 3, 2 }, { 1, 9, 2 }, { 1, 12, 3 }, O(.clip = 0), 0, 0, 0 },
    { "cg_lstm: R is f32[1,11,3], where f32[1,12,3] is wanted", CG_LSTM, { 4, 3, 2 }, { 1, 12, 2 }, { 1, 11, 3 }, O(.clip = 0), 0, 0, 0 },
    { "cg_lstm: W is f32[1,12,2], where f32[2,12,2] is wanted", CG_LSTM, FITS, O(.direction = CG_BIDIRECTIONAL), 0, 0, 0 },
    { "cg_lstm: b is f32[1,12], where f32[1,24] is wanted", CG_LSTM, FITS, O(.clip = 0), 12, 0, 0 },
    { "cg_lstm: h0 is f32[1,4,3], where f32[1,3,3] is wanted", CG_LSTM, FITS, O(.clip = 0), 0, 4, 0 },
    { "cg_gru: W is f32[1,12,2], where f32[1,9,2] is wanted", CG_GRU, FITS, O(.clip = 0), 0, 0, 0 },
    { "cg_lstm: linear_before_reset is an option of cg_gru", CG_LSTM, FITS, O(.linear_before_reset = 1), 0, 0, 0 },
    { "cg_gru: peepholes, c0 and input_forget are options of cg_lstm", CG_GRU, GRU_FITS, O(.input_forget = 1), 0, 0, 0 },
    { "cg_gru: 3 activations, where a direction has 2", CG_GRU, GRU_FITS, O(CG_ACTIVATIONS({ .kind = CG_ACT_TANH }, { .kind = CG_ACT_TANH }, { .kind = CG_ACT_TANH })), 0, 0, 0 },
    { "cg_gru: there is no activation 99", CG_GRU, GRU_FITS, O(CG_ACTIVATIONS({ .kind = CG_ACT_TANH }, { .kind = (cg_act)99 })), 0, 0, 0 },
    { "cg_gru: there is no direction 7", CG_GRU, GRU_FITS, O(.direction = (cg_direction)7), 0, 0, 0 },
    { "cg_gru: a clip of -1; 0 is none", CG_GRU, GRU_FITS, O(.clip = -1), 0, 0, 0 },
    { "cg_rnn: the options are not made by CG_RECURRENT of this version", CG_RNN, { 4, 3, 2 }, { 1, 3, 2 }, { 1, 3, 3 }, { .clip = 0 }, 0, 0, 0 },
    { "cg_rnn: lengths are to be one integer a sequence, not f32 of rank 1", CG_RNN, { 4, 3, 2 }, { 1, 3, 2 }, { 1, 3, 3 }, O(.clip = 0), 0, 0, 3 },
};

START_TEST(what_does_not_fit_is_told)
{
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        const wrong *k = &wrongs[i];
        cg_graph *g = cg_graph_new();
        cg_recurrent o = k->o;
        cg_node *y = NULL, *x = cg_input(g, "x", CG_F32, k->x, 3), *w = cg_input(g, "W", CG_F32, k->w, 3), *r = cg_input(g, "R", CG_F32, k->r, 3);
        o.b = k->b ? cg_input(g, "b", CG_F32, CG_SHAPE(1, k->b)) : NULL;
        o.h0 = k->h0 ? cg_input(g, "h0", CG_F32, CG_SHAPE(1, k->h0, 3)) : NULL;
        o.lengths = k->lengths ? cg_input(g, "lengths", CG_F32, CG_SHAPE(k->lengths)) : NULL;
        const int rc = k->cell == CG_LSTM ? cg_lstm(x, w, r, &o, &y, NULL, NULL) : k->cell == CG_GRU ? cg_gru(x, w, r, &o, &y, NULL) : cg_rnn(x, w, r, &o, &y, NULL);
        ck_assert_int_lt(rc, 0);
        ck_assert_ptr_null(y);
        ck_assert_msg(cg_graph_error(g) && strstr(cg_graph_error(g)->text, k->says), "%s\nnot: %s", k->says, cg_graph_error(g) ? cg_graph_error(g)->text : "?");
        ck_assert_int_eq(cg_graph_error_count(g), 1);
        ck_assert_ptr_null(cg_tanh(y));
        ck_assert_int_lt(cg_lstm(y, w, r, NULL, &y, NULL, NULL), 0);      /* what is built on it says nothing more */
        ck_assert_int_eq(cg_graph_error_count(g), 1);
        cg_graph_free(g);
    }
}
END_TEST

int main(void)
{
    TCase *t = TESTS("recurrent", a_new_length_builds_no_kernel_and_keeps_no_memory, stacked_layers_are_their_functions, parameters_of_layers_begin_as_told,
                     what_does_not_fit_is_told);
    tcase_add_loop_test(t, cells_are_onnxs_formulas_and_their_gradients_differences, 0, (int)(sizeof golden_recurrent / sizeof golden_recurrent[0]));
    return run_case("recurrent", t);
}
