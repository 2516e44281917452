// SPDX-License-Identifier: MIT
/* Losses in f64 against PyTorch (tests/golden_losses.py) with first and second derivatives; logits far out in every float dtype; metrics against
 * plain loops; classes out of range, and the sentences for what does not fit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/base/base.h"
#include "tests/suite.h"
#include "tests/verified.h"

/* Builders of two operands, as of a list of them. */
#define OF(name, call) static cg_node *of_##name(cg_node *const *in, const cg_loss *o) { return call; }
OF(cross_entropy, cg_cross_entropy_loss(in[0], in[1], o))
OF(nll, cg_nll_loss(in[0], in[1], o))
OF(multi_margin, cg_multi_margin_loss(in[0], in[1], o))
OF(binary, cg_binary_cross_entropy_loss(in[0], in[1], o))
OF(squared, cg_squared_loss(in[0], in[1], o))
OF(absolute, cg_absolute_loss(in[0], in[1], o))
OF(huber, cg_huber_loss(in[0], in[1], o))
OF(smooth_l1, cg_smooth_l1_loss(in[0], in[1], o))
OF(kl_div, cg_kl_div_loss(in[0], in[1], o))
OF(hinge, cg_hinge_loss(in[0], in[1], o))
OF(cosine_embedding, cg_cosine_embedding_loss(in[0], in[1], in[2], o))
OF(triplet_margin, cg_triplet_margin_loss(in[0], in[1], in[2], o))
OF(ctc, cg_ctc_loss(cg_log_softmax(in[0], 2), in[1], in[2], in[3], o))
#include "tests/golden_losses.h"

enum { OPERANDS = 4, RESULTS = 2 + OPERANDS, ROWS = CG_LEN(golden_losses) };

static void ok(int rc) { ck_assert_msg(rc == CG_OK, "%s", cg_last_error()->text); }

static double at(cg_array *a, int64_t i)
{
    const void *data = a ? cg_array_data(a) : NULL;
    ck_assert_msg(data != NULL, "%s", cg_last_error()->text);
    return cg__load_f64((const char *)data + (size_t)i * cg_dtype_bytes(cg_array_dtype(a)), cg_array_dtype(a));
}

static int64_t count_of(const operand *x)
{
    int64_t n = x->v ? 1 : 0;
    for (int i = 0; i < x->rank; i++)
        n *= x->shape[i];
    return n;
}

static cg_array *array_of(const operand *x, cg_dtype d)
{
    cg_array *a = cg_array_new(d, x->shape, x->rank, NULL);
    char *room = malloc((size_t)count_of(x) * cg_dtype_bytes(d));
    for (int64_t i = 0; i < count_of(x); i++)
        cg__store_f64(room + (size_t)i * cg_dtype_bytes(d), d, x->v[i]);
    ok(cg_array_set(a, room, (size_t)count_of(x) * cg_dtype_bytes(d)));
    free(room);
    return a;
}

static cg_node *constant_of(cg_graph *g, const operand *x) { return x->v ? cg_constant(g, CG_F64, x->shape, x->rank, x->v) : NULL; }

/* Kernels are dear on OpenCL: there stand the rows with most options, first derivatives and two dtypes. */
static bool on_cpu(void)
{
    const char *device = getenv("CG_DEVICE");
    return !device || strcmp(device, "cpu") == 0;
}

/* ---- golden rows, all in one function */

typedef struct problem { cg_node *in[OPERANDS], *out[RESULTS]; cg_array *value[OPERANDS]; int nin, nout; } problem;

/* sum(f(i + shift) x[i]) */
static cg_node *weighed(cg_node *x, cg_node *(*f)(cg_node *), double shift)
{
    cg_graph *g = cg_node_graph(x);
    cg_node *flat = cg_reshape(x, CG_SHAPE(CG_ANY)), *zero = cg_scalar(g, CG_I64, 0), *n = cg_dim(flat, 0);
    cg_node *i = cg_cast(cg_arange(zero, n, cg_scalar(g, CG_I64, 1)), CG_F64);
    return cg_sum(cg_mul(flat, f(cg_add(i, cg_weak(g, shift)))), CG_REDUCE());
}

/* The number of rows is CG_ANY. */
static void open_row(problem *p, cg_graph *g, const golden *r)
{
    cg_node *wrt[OPERANDS], **places[OPERANDS];
    cg_loss o = r->o;
    int n = 0;
    for (int k = 0; k < OPERANDS && r->in[k].v; k++, p->nin++) {
        const operand *x = &r->in[k];
        int64_t shape[4];
        memcpy(shape, x->shape, sizeof shape);
        shape[0] = CG_ANY;
        p->in[k] = cg_input(g, r->name, x->ints ? CG_I64 : CG_F64, shape, x->rank);
        p->value[k] = array_of(x, x->ints ? CG_I64 : CG_F64);
        if (r->grad[k]) {
            wrt[n] = p->in[k];
            places[n] = &p->out[1 + n];
            n++;
        }
    }
    o.weight = constant_of(g, &r->weight[0]);
    o.pos_weight = constant_of(g, &r->weight[1]);
    cg_node *loss = p->out[0] = r->build(p->in, &o), *cost = r->want.rank ? weighed(loss, cg_cos, 0) : loss;
    ck_assert_msg(loss && cg_grad(cost, wrt, n, places, n) == CG_OK, "%s: %s", r->name, cg_graph_error(g) ? cg_graph_error(g)->text : "?");
    p->nout = 1 + n;
    if (!r->second || !on_cpu())
        return;
    ck_assert_msg(cg_grad_with(weighed(p->out[1], cg_sin, 1), wrt, 1, CG_OUT(&p->out[p->nout]), CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS)) == CG_OK, "%s: %s", r->name,
                  cg_graph_error(g) ? cg_graph_error(g)->text : "?");
    p->nout++;
}

static void same(const golden *r, const char *what, cg_array *got, const double *want, int64_t n)
{
    ck_assert_msg(cg_array_count(got) == n, "%s: %s has %lld elements, not %lld", r->name, what, (long long)cg_array_count(got), (long long)n);
    for (int64_t i = 0; i < n; i++) {
        const double v = at(got, i);
        ck_assert_msg(v == want[i] || fabs(v - want[i]) <= 1e-12 * fmax(1, fabs(want[i])), "%s: %s[%lld] is %.17g, not %.17g", r->name, what, (long long)i, v, want[i]);
    }
}

static bool runs(const golden *r) { return r->everywhere || on_cpu(); }

static void check_row(const golden *r, cg_array **got)
{
    int next = 1;
    ck_assert_int_eq(cg_array_rank(got[0]), r->want.rank);
    same(r, "the loss", got[0], r->want.v, count_of(&r->want));
    for (int k = 0; k < OPERANDS && r->in[k].v; k++)
        if (r->grad[k])
            same(r, k ? "the gradient of the targets" : "the gradient", got[next++], r->grad[k], count_of(&r->in[k]));
    if (r->second && on_cpu())
        same(r, "the second derivative", got[next], r->second, count_of(&r->in[0]));
}

START_TEST(losses_are_pytorchs)
{
    static problem all[ROWS];
    static cg_node *in[ROWS * OPERANDS], *out[ROWS * RESULTS];
    static cg_array *args[ROWS * OPERANDS], *got[ROWS * RESULTS];
    int nin = 0, nout = 0;
    cg_graph *g = cg_graph_new();
    for (int r = 0; r < ROWS; r++) {
        problem *p = &all[r];
        *p = (problem){ .nin = 0 };
        if (!runs(&golden_losses[r]))
            continue;
        open_row(p, g, &golden_losses[r]);
        memcpy(in + nin, p->in, (size_t)p->nin * sizeof *in);
        memcpy(args + nin, p->value, (size_t)p->nin * sizeof *args);
        memcpy(out + nout, p->out, (size_t)p->nout * sizeof *out);
        nin += p->nin;
        nout += p->nout;
    }
    cg_function *f = cg_compile(g, CG_SPEC(.name = "losses", .inputs = in, .ninputs = nin, .outputs = out, .noutputs = nout));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ok(cg_call(f, args, nin, got));
    for (int r = 0, next = 0; r < ROWS; next += all[r++].nout)
        if (runs(&golden_losses[r]))
            check_row(&golden_losses[r], got + next);
    for (int i = 0; i < nin; i++)
        cg_array_free(args[i]);
    for (int i = 0; i < nout; i++)
        cg_array_free(got[i]);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* ---- logits that are infinite, or as far out as the dtype goes */

static const struct { double x, t, want; } edges[] = {
    { INFINITY, 1, 0 }, { -INFINITY, 0, 0 }, { INFINITY, 0, INFINITY }, { -INFINITY, 1, INFINITY }, { -INFINITY, 0.5, INFINITY }, { 1e4, 1, 0 }, { -1e4, 0, 0 }, { 1e4, 0, 1e4 }, { 0, 0.5, 0.6931471805599453 },
};

static const double far_out[] = { 1e4, -1e4, -INFINITY, -1e4, 1e4, 0 }, parts[] = { 1, 0, 0, 0, 0.5, 0.5 };
static const struct { cg_dtype d; double eps; } floats[] = { { CG_F32, 1e-6 }, { CG_F16, 1e-3 }, { CG_BF16, 8e-3 }, { CG_F64, 1e-15 } };
enum { EDGES = CG_LEN(edges), EDGE_RESULTS = 5 };

static void check_edges(cg_dtype d, double eps, cg_array **got)
{
    for (int i = 0; i < EDGES; i++) {
        const double want = edges[i].want, loss = at(got[0], i), slope = at(got[1], i), s = edges[i].x > 0 ? 1 : edges[i].x < 0 ? 0 : 0.5;
        ck_assert_msg(loss == want || fabs(loss - want) <= eps * fabs(want), "%s, x = %g, t = %g: %g, not %g", cg_dtype_name(d), edges[i].x, edges[i].t, loss, want);
        ck_assert_msg(fabs(slope - (s - edges[i].t)) <= eps, "%s, x = %g, t = %g: the gradient is %g", cg_dtype_name(d), edges[i].x, edges[i].t, slope);
    }
    ck_assert_double_eq(at(got[2], 0), 0);
    ck_assert_double_le(fabs(at(got[2], 1) - 1e4), 1e4 * eps);
    ck_assert_double_eq(at(got[3], 0), 0);
    ck_assert_double_le(fabs(at(got[3], 1) - 5e3), 1e4 * eps);
    for (int i = 0; i < 3; i++)
        ck_assert_double_eq(at(got[4], i), 0);           /* of p = (1, 0, 0) and log q = (0, -inf, -inf) */
}

START_TEST(extreme_logits_give_the_loss_that_they_have)
{
    const cg_dtype d = floats[_i].d;
    const operand of[] = { { 1, { EDGES }, 0, NULL }, { 1, { EDGES }, 0, NULL }, { 2, { 2, 3 }, 0, far_out }, { 2, { 2, 3 }, 0, parts },
                           { 1, { 3 }, 0, (const double[]){ 0, -INFINITY, -INFINITY } }, { 1, { 3 }, 0, (const double[]){ 1, 0, 0 } } };
    const cg_loss *each = CG_LOSS(.reduction = CG_REDUCTION_NONE);
    cg_graph *g = cg_graph_new();
    cg_array *value[CG_LEN(of)], *got[EDGE_RESULTS];
    cg_node *x[CG_LEN(of)], *out[EDGE_RESULTS], *classes = cg_constant(g, CG_I64, CG_SHAPE(2), (const int64_t[]){ 0, 2 });
    for (int k = 0; k < CG_LEN(of); k++) {
        double v[EDGES];
        operand column = of[k];
        for (int i = 0; k < 2 && i < EDGES; i++)
            v[i] = k ? edges[i].t : edges[i].x;
        column.v = k < 2 ? v : column.v;
        value[k] = array_of(&column, d);
        x[k] = cg_shared(g, "x", value[k]);
    }
    out[0] = cg_binary_cross_entropy_loss(x[0], x[1], each);
    ok(cg_grad(cg_sum(out[0], CG_REDUCE()), CG_NODES(x[0]), CG_OUT(&out[1])));
    out[2] = cg_cross_entropy_loss(x[2], classes, each);
    out[3] = cg_cross_entropy_loss(x[2], x[3], each);
    out[4] = cg_kl_div_loss(x[4], x[5], each);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "edges", .outputs = out, .noutputs = EDGE_RESULTS));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ok(cg_call(f, NULL, 0, got));
    check_edges(d, floats[_i].eps, got);
    for (int i = 0; i < EDGE_RESULTS; i++)
        cg_array_free(got[i]);
    cg_function_free(f);
    cg_graph_free(g);
    for (int k = 0; k < CG_LEN(of); k++)
        cg_array_free(value[k]);
}
END_TEST

/* ---- CTC: every path of a few steps; its own gradient again by differences; a long sequence */

enum { STEPS = 4, LETTERS = 3, MOST = 3 };

/* The labels that a path gives. */
static int collapsed(const int *path, int64_t *labels)
{
    int n = 0;
    for (int t = 0; t < STEPS; t++)
        if (path[t] && (t == 0 || path[t] != path[t - 1]))
            labels[n++] = path[t];
    return n;
}

static double by_all_paths(const double *log_p, const int64_t *labels, int count)
{
    double sum = 0;
    for (int k = 0; k < LETTERS * LETTERS * LETTERS * LETTERS; k++) {
        int path[STEPS];
        int64_t gives[STEPS];
        double at_k = 0;
        for (int t = 0, rest = k; t < STEPS; t++, rest /= LETTERS)
            at_k += log_p[t * LETTERS + (path[t] = rest % LETTERS)];
        if (collapsed(path, gives) == count && memcmp(gives, labels, (size_t)count * sizeof *labels) == 0)
            sum += exp(at_k);
    }
    return -log(sum);
}

/* One batch of all sequences of up to MOST labels; the log probabilities are no softmax's, which none needs. */
START_TEST(ctc_is_the_sum_over_all_paths)
{
    enum { MANY = 1 + 2 + 4 + 8 };
    double log_p[STEPS * LETTERS], all[STEPS][MANY][LETTERS];
    int64_t labels[MANY][MOST] = { { 0 } }, count[MANY] = { 0 };
    for (int i = 0; i < STEPS * LETTERS; i++)
        log_p[i] = -0.2 - (i * 7 % 5) * 0.4;
    for (int n = 0, i = 0; n <= MOST; n++)
        for (int k = 0; k < 1 << n; k++, i++) {
            count[i] = n;
            for (int j = 0; j < n; j++)
                labels[i][j] = 1 + (k >> j & 1);
        }
    for (int i = 0; i < MANY; i++)
        for (int t = 0; t < STEPS; t++)
            memcpy(all[t][i], log_p + t * LETTERS, sizeof all[t][i]);
    cg_graph *g = cg_graph_new();
    cg_array *values[] = { cg_array_new(CG_F64, CG_SHAPE(STEPS, MANY, LETTERS), all), cg_array_new(CG_I64, CG_SHAPE(MANY, MOST), labels), cg_array_new(CG_I64, CG_SHAPE(MANY), count) }, *out = NULL;
    cg_node *x = cg_input(g, "x", CG_F64, CG_SHAPE(CG_ANY, CG_ANY, CG_ANY)), *y = cg_input(g, "y", CG_I64, CG_SHAPE(CG_ANY, CG_ANY)), *n = cg_input(g, "n", CG_I64, CG_SHAPE(CG_ANY));
    cg_function *f = cg_compile(g, CG_SPEC(.name = "ctc", CG_INPUTS(x, y, n), CG_OUTPUTS(cg_ctc_loss(x, y, NULL, n, CG_LOSS(.reduction = CG_REDUCTION_NONE)))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ok(cg_call(f, values, 3, &out));
    for (int i = 0; i < MANY; i++) {
        const double want = by_all_paths(log_p, labels[i], (int)count[i]);
        ck_assert_msg(at(out, i) == want || fabs(at(out, i) - want) <= 1e-12 * fabs(want), "%d labels, row %d: %.17g, not %.17g", (int)count[i], i, at(out, i), want);
    }
    cg_array_free(out);
    for (int i = 0; i < 3; i++)
        cg_array_free(values[i]);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

START_TEST(ctc_may_be_derived_again)
{
    enum { COUNT = 5 * 2 * 3 };
    double v[COUNT], moved[2][COUNT], along[COUNT];
    const int64_t labels[] = { 1, 2, 2, 2 };
    for (int i = 0; i < COUNT; i++) {
        v[i] = cos(i * 1.7);
        along[i] = sin(i + 1);
        moved[0][i] = v[i] - 1e-5 * along[i];
        moved[1][i] = v[i] + 1e-5 * along[i];
    }
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F64, CG_SHAPE(5, 2, 3)), *loss = cg_ctc_loss(cg_log_softmax(x, 2), cg_constant(g, CG_I64, CG_SHAPE(2, 2), labels), NULL, NULL, NULL), *dx, *dv;
    ok(cg_grad(loss, CG_NODES(x), CG_OUT(&dx)));
    ok(cg_hessian_vector(loss, CG_NODES(x), CG_NODES(cg_constant(g, CG_F64, CG_SHAPE(5, 2, 3), along)), CG_OUT(&dv), NULL));
    cg_function *f = cg_compile(g, CG_SPEC(.name = "twice", CG_INPUTS(x), CG_OUTPUTS(loss, dx, dv)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *got[3][3];
    for (int k = 0; k < 3; k++) {
        cg_array *in = cg_array_new(CG_F64, CG_SHAPE(5, 2, 3), k < 2 ? moved[k] : v);
        ok(cg_call(f, CG_ARRAYS(in), got[k]));
        cg_array_free(in);
    }
    double slope = 0;
    for (int i = 0; i < COUNT; i++) {
        const double want = (at(got[1][1], i) - at(got[0][1], i)) / 2e-5;
        slope += at(got[2][1], i) * along[i];
        ck_assert_msg(fabs(at(got[2][2], i) - want) <= 1e-8, "element %d: %g, by differences %g", i, at(got[2][2], i), want);
    }
    ck_assert_double_le(fabs(slope - (at(got[1][0], 0) - at(got[0][0], 0)) / 2e-5), 1e-8);
    for (int k = 0; k < 9; k++)
        cg_array_free(got[k / 3][k % 3]);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* 3000 steps of 1 in 1000 each: a probability of about 10^-9000; and a class that is ruled out. */
START_TEST(ctc_of_a_long_sequence_stays_finite)
{
    enum { LONG = 3000 };
    static float log_p[LONG * 3];
    for (int i = 0; i < LONG * 3; i++)
        log_p[i] = i % 3 == 2 ? -INFINITY : -6.9077553f;
    cg_graph *g = cg_graph_new();
    cg_array *value = cg_array_new(CG_F32, CG_SHAPE(LONG, 1, 3), log_p), *got[3];
    cg_node *x = cg_shared(g, "x", value), *y = cg_constant(g, CG_I64, CG_SHAPE(1, 1), (const int64_t[]){ 1 }), *bad = cg_constant(g, CG_I64, CG_SHAPE(1, 1), (const int64_t[]){ 2 }), *dx;
    cg_node *loss = cg_ctc_loss(x, y, NULL, NULL, NULL);
    ok(cg_grad(loss, CG_NODES(x), CG_OUT(&dx)));
    cg_function *f = cg_compile(g, CG_SPEC(.name = "long", CG_OUTPUTS(loss, cg_ctc_loss(x, bad, NULL, NULL, NULL), cg_sum(dx, CG_REDUCE()))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ok(cg_call(f, NULL, 0, got));
    const double want = LONG * 6.9077553 - log(LONG * (LONG + 1) / 2.0);
    ck_assert_double_le(fabs(at(got[0], 0) - want), 1e-6 * want);
    ck_assert_double_eq(at(got[1], 0), INFINITY);
    ck_assert_double_le(fabs(at(got[2], 0) + LONG), 1e-3 * LONG);         /* each step is on one class */
    for (int i = 0; i < 3; i++)
        cg_array_free(got[i]);
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(value);
}
END_TEST

/* ---- plans */

/* Plans are the same on every device, and cost no kernels on the cpu. */
static int steps_of(cg_node *loss, cg_node *wrt, cg_node *const *in, int n)
{
    cg_node *grad;
    ok(cg_grad(loss, CG_NODES(wrt), CG_OUT(&grad)));
    cg_function *f = cg_compile(cg_node_graph(loss), CG_SPEC(.inputs = in, .ninputs = n, CG_OUTPUTS(loss, grad), .device = cg_device_open("cpu")));
    char *plan = f ? cg_function_show(f, CG_STAGE_PLAN) : NULL;
    ck_assert_msg(plan != NULL, "%s", cg_last_error()->text);
    int steps = 0;
    ck_assert_int_eq(sscanf(plan, "(plan %d steps", &steps), 1);
    cg_text_free(plan);
    cg_function_free(f);
    return steps;
}

/* The loss and its gradient in one pass over the logits, and the mean; class weights and ignored classes need their sum before the gradient. */
START_TEST(a_loss_and_its_gradient_are_few_loops)
{
    static const float w[] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 2 };
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, 10)), *y = cg_input(g, "y", CG_I64, CG_SHAPE(CG_ANY)), *t = cg_input(g, "t", CG_F32, CG_SHAPE(CG_ANY, 10));
    const struct { const char *name; cg_node *loss, *target; int steps; } plans[] = {
        { "cross-entropy", cg_cross_entropy_loss(x, y, NULL), y, 2 },
        { "weighted", cg_cross_entropy_loss(x, y, CG_LOSS(.weight = cg_constant(g, CG_F32, CG_SHAPE(10), w))), y, 4 },
        { "ignoring", cg_cross_entropy_loss(x, y, CG_LOSS(CG_IGNORE(3))), y, 3 },
        { "smoothed", cg_cross_entropy_loss(x, y, CG_LOSS(.label_smoothing = 0.1)), y, 4 },
        { "dense", cg_cross_entropy_loss(x, t, NULL), t, 3 },
        { "nll", cg_nll_loss(x, y, NULL), y, 4 },
        { "binary", cg_binary_cross_entropy_loss(x, t, NULL), t, 2 },
        { "squared", cg_squared_loss(x, t, NULL), t, 2 },
        { "huber", cg_huber_loss(x, t, NULL), t, 2 },
    };
    for (int i = 0; i < CG_LEN(plans); i++) {
        const int steps = steps_of(plans[i].loss, x, (cg_node *[]){ x, plans[i].target }, 2);
        ck_assert_msg(steps <= plans[i].steps, "%s: %d steps", plans[i].name, steps);
    }
    cg_graph_free(g);
}
END_TEST

/* ---- metrics */

enum { SAMPLES = 40, CLASSES = 5 };

static void fill_scores(float *x, int64_t *y)
{
    for (int i = 0; i < SAMPLES; i++) {
        y[i] = i * 7 % CLASSES;
        for (int c = 0; c < CLASSES; c++)
            x[i * CLASSES + c] = (float)((i * 13 + c * 29 + i * c) % 11) - 5;        /* with ties */
    }
    x[3] = NAN;
    x[CLASSES + y[1]] = NAN;
}

/* Classes that go before the own one; NaN is before all. */
static int before(const float *x, int64_t y)
{
    int n = 0;
    for (int c = 0; c < CLASSES; c++)
        n += c != y && (isnan(x[c]) || isnan(x[y]) || x[c] > x[y] || (x[c] == x[y] && c < y));
    return n;
}

static void check_matrix(cg_array **got, const int64_t *y, const int64_t *guess)
{
    int64_t want[CLASSES][CLASSES] = { { 0 } };
    for (int i = 0; i < SAMPLES; i++)
        want[y[i]][guess[i]]++;
    for (int i = 0; i < CLASSES; i++) {
        double row = 0, column = 0;
        for (int j = 0; j < CLASSES; j++) {
            ck_assert_double_eq(at(got[0], i * CLASSES + j), (double)want[i][j]);
            row += (double)want[i][j];
            column += (double)want[j][i];
        }
        const double right = (double)want[i][i], values[] = { column > 0 ? right / column : 0, row > 0 ? right / row : 0, row + column > 0 ? 2 * right / (row + column) : 0 };
        for (int k = 0; k < 3; k++)
            ck_assert_msg(fabs(at(got[1 + k], i) - values[k]) <= 1e-6, "class %d, value %d: %g, not %g", i, k, at(got[1 + k], i), values[k]);
    }
}

START_TEST(metrics_count)
{
    float x[SAMPLES * CLASSES];
    int64_t y[SAMPLES], guess[SAMPLES];
    int within[3] = { 0 };
    fill_scores(x, y);
    for (int i = 0; i < SAMPLES; i++) {
        guess[i] = (i * 3 + 1) % (CLASSES - 1);          /* the last class is never guessed */
        for (int k = 0; k < 3; k++)
            within[k] += before(x + i * CLASSES, y[i]) <= k;
    }
    cg_graph *g = cg_graph_new();
    cg_node *scores = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, CLASSES)), *own = cg_input(g, "y", CG_I64, CG_SHAPE(CG_ANY)), *p = cg_input(g, "p", CG_I64, CG_SHAPE(CG_ANY));
    cg_node *m = cg_confusion_matrix(own, p, CLASSES), *images = cg_transpose(cg_reshape(scores, CG_SHAPE(SAMPLES / 4, 4, CLASSES)), CG_AXES(0, 2, 1));
    cg_node *in[] = { scores, own, p }, *out[] = { m, cg_precision(m), cg_recall(m), cg_f1_score(m), cg_accuracy(scores, own), cg_top_k_accuracy(scores, own, 2),
                                                   cg_top_k_accuracy(images, cg_reshape(own, CG_SHAPE(SAMPLES / 4, 4)), 3) };
    cg_array *got[CG_LEN(out)], *args[] = { cg_array_new(CG_F32, CG_SHAPE(SAMPLES, CLASSES), x), cg_array_new(CG_I64, CG_SHAPE(SAMPLES), y), cg_array_new(CG_I64, CG_SHAPE(SAMPLES), guess) };
    cg_function *f = cg_compile(g, CG_SPEC(.name = "metrics", .inputs = in, .ninputs = 3, .outputs = out, .noutputs = CG_LEN(out)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ok(cg_call(f, args, 3, got));
    check_matrix(got, y, guess);
    for (int k = 0; k < 3; k++)
        ck_assert_msg(fabs(at(got[4 + k], 0) - within[k] / (double)SAMPLES) <= 1e-6, "top %d: %g, not %d of %d", k + 1, at(got[4 + k], 0), within[k], SAMPLES);
    for (int i = 0; i < CG_LEN(out); i++)
        cg_array_free(got[i]);
    for (int i = 0; i < 3; i++)
        cg_array_free(args[i]);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* ---- what is wrong */

static cg_node *loss_of_three(cg_node *x, cg_node *y) { return cg_cross_entropy_loss(x, y, CG_LOSS(CG_IGNORE(7))); }
static cg_node *nll_of_three(cg_node *x, cg_node *y) { return cg_nll_loss(x, y, NULL); }
static cg_node *margin_of_three(cg_node *x, cg_node *y) { return cg_multi_margin_loss(x, y, NULL); }
static cg_node *matrix_of_three(cg_node *x, cg_node *y) { return cg_confusion_matrix(y, cg_argmax(x, CG_REDUCE(CG_OVER(1))), 3); }
static cg_node *ctc_of_three(cg_node *x, cg_node *y) { return cg_ctc_loss(cg_expand_dims(x, 0), cg_expand_dims(y, 1), NULL, NULL, CG_LOSS(.blank = 1)); }
static cg_node *(*const of_classes[])(cg_node *x, cg_node *y) = { loss_of_three, nll_of_three, margin_of_three, cg_accuracy, matrix_of_three, ctc_of_three };

/* A call, and how it ended, whenever the device tells. */
static int called(cg_function *f, cg_array *x, cg_array *y)
{
    cg_array *out = NULL;
    int rc = cg_call(f, CG_ARRAYS(x, y), &out);
    if (rc == CG_OK && !cg_array_data(out))
        rc = cg_last_error()->code;
    cg_array_free(out);
    return rc;
}

START_TEST(classes_out_of_range_fail_the_call)
{
    static const int64_t good[] = { 0, 2 }, bad[][2] = { { 0, 3 }, { -1, 0 }, { INT64_MAX, 1 }, { 1, INT64_MIN } };
    static const float scores[] = { 1, 2, 3, 3, 2, 1 };
    for (int k = 0; k < CG_LEN(of_classes); k++) {
        cg_graph *g = cg_graph_new();
        cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, 3)), *y = cg_input(g, "y", CG_I64, CG_SHAPE(CG_ANY));
        cg_function *f = cg_compile(g, CG_SPEC(.name = "classes", CG_INPUTS(x, y), CG_OUTPUTS(of_classes[k](x, y))));
        ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
        cg_array *of_x = cg_array_new(CG_F32, CG_SHAPE(2, 3), scores), *right = cg_array_new(CG_I64, CG_SHAPE(2), good), *short_y = cg_array_new(CG_I64, CG_SHAPE(1), good);
        for (int i = 0; i < CG_LEN(bad); i++) {
            cg_array *wrong = cg_array_new(CG_I64, CG_SHAPE(2), bad[i]);
            ck_assert_msg(called(f, of_x, wrong) == CG_ERUNTIME, "builder %d takes class %lld", k, (long long)bad[i][0]);
            ck_assert_msg(strstr(cg_last_error()->text, "cg_call: 'classes': an index is out of range in ") != NULL, "%s", cg_last_error()->text);
            ok(called(f, of_x, right));
            cg_array_free(wrong);
        }
        ck_assert_msg(called(f, of_x, short_y) == CG_ESHAPE, "builder %d takes one class for two samples", k);
        cg_array_free(of_x);
        cg_array_free(right);
        cg_array_free(short_y);
        cg_function_free(f);
        cg_graph_free(g);
    }
}
END_TEST

/* Of CTC: (2, 1, 3) scores and one label; lengths are at most 2 and 1. */
START_TEST(lengths_out_of_range_fail_the_call)
{
    static const struct { int64_t steps, count; int rc; } tries[] = { { 2, 1, CG_OK }, { 0, 0, CG_OK }, { 3, 1, CG_ERUNTIME }, { -1, 1, CG_ERUNTIME }, { 2, 2, CG_ERUNTIME }, { 2, -1, CG_ERUNTIME } };
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_constant(g, CG_F32, CG_SHAPE(2, 1, 3), (const float[]){ -1, -2, -3, -1, -2, -3 }), *y = cg_constant(g, CG_I64, CG_SHAPE(1, 1), (const int64_t[]){ 2 });
    cg_node *steps = cg_input(g, "steps", CG_I64, CG_SHAPE(1)), *count = cg_input(g, "count", CG_I64, CG_SHAPE(1));
    cg_function *f = cg_compile(g, CG_SPEC(.name = "lengths", CG_INPUTS(steps, count), CG_OUTPUTS(cg_ctc_loss(x, y, steps, count, NULL))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    for (int i = 0; i < CG_LEN(tries); i++) {
        cg_array *s = cg_array_new(CG_I64, CG_SHAPE(1), &tries[i].steps), *n = cg_array_new(CG_I64, CG_SHAPE(1), &tries[i].count);
        ck_assert_msg(called(f, s, n) == tries[i].rc, "%d steps, %d labels: %s", (int)tries[i].steps, (int)tries[i].count, cg_last_error()->text);
        cg_array_free(s);
        cg_array_free(n);
    }
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

typedef struct operands { cg_node *x, *y, *t, *short_y, *v; } operands;         /* f32 (4, 3), i64 (4), f32 (4, 3), i64 (5), f32 (3) */
#define BAD(name, call) static cg_node *bad_##name(const operands *p) { return call; }
BAD(lengths, cg_cross_entropy_loss(p->x, p->short_y, NULL))
BAD(probabilities, cg_cross_entropy_loss(p->x, p->v, NULL))
BAD(nll, cg_nll_loss(p->x, p->short_y, NULL))
BAD(nll_of_floats, cg_nll_loss(p->x, p->t, NULL))
BAD(weight, cg_cross_entropy_loss(p->x, p->y, CG_LOSS(.weight = p->x)))
BAD(stretch, cg_squared_loss(p->x, p->t, CG_LOSS(.weight = cg_reshape(p->x, CG_SHAPE(3, 4)))))
BAD(shapes, cg_squared_loss(p->x, p->v, NULL))
BAD(option, cg_squared_loss(p->x, p->t, CG_LOSS(.label_smoothing = 0.1)))
BAD(ignored_dense, cg_cross_entropy_loss(p->x, p->t, CG_LOSS(CG_IGNORE(1))))
BAD(reduction, cg_squared_loss(p->x, p->t, CG_LOSS(.reduction = (cg_reduction)7)))
BAD(smoothing, cg_cross_entropy_loss(p->x, p->y, CG_LOSS(.label_smoothing = 1.5)))
BAD(index, cg_cross_entropy_loss(p->x, p->y, CG_LOSS(.ignore_index = 1)))
BAD(version, cg_cross_entropy_loss(p->x, p->y, &(cg_loss){ .label_smoothing = 0.1 }))
BAD(cosine, cg_cosine_embedding_loss(p->x, p->t, p->x, NULL))
BAD(triplet, cg_triplet_margin_loss(p->x, p->t, p->v, NULL))
BAD(k, cg_top_k_accuracy(p->x, p->y, 0))
BAD(accuracy, cg_accuracy(p->x, p->short_y))
BAD(ctc, cg_ctc_loss(p->x, p->y, NULL, NULL, NULL))
BAD(ctc_lengths, cg_ctc_loss(cg_expand_dims(p->x, 1), cg_reshape(p->y, CG_SHAPE(1, 4)), p->y, NULL, NULL))
BAD(ctc_blank, cg_ctc_loss(cg_expand_dims(p->x, 1), cg_reshape(p->y, CG_SHAPE(1, 4)), NULL, NULL, CG_LOSS(.blank = 3)))
BAD(matrix, cg_confusion_matrix(p->y, p->short_y, 3))
BAD(precision, cg_precision(p->v))
static const struct { cg_node *(*build)(const operands *p); const char *says; } wrong[] = {
    { bad_lengths, "cg_cross_entropy_loss: needs floats (n, c, ...) and as many classes, integers (n, ...), got f32[4,3] and i64[5]" },
    { bad_probabilities, "cg_cross_entropy_loss: f32[4,3] and f32[3] are to have one shape" },
    { bad_nll, "cg_nll_loss: needs floats (n, c, ...) and as many classes, integers (n, ...), got f32[4,3] and i64[5]" },
    { bad_nll_of_floats, "cg_nll_loss: needs floats (n, c, ...) and as many classes, integers (n, ...), got f32[4,3] and f32[4,3]" },
    { bad_weight, "cg_cross_entropy_loss: weight is f32[4,3], where f32[3] is wanted" },
    { bad_stretch, "cg_squared_loss: weight f32[3,4] does not stretch to f32[4,3]" },
    { bad_shapes, "cg_squared_loss: f32[4,3] and f32[3] are to have one shape" },
    { bad_option, "cg_squared_loss: label_smoothing is no option of it" },
    { bad_ignored_dense, "cg_cross_entropy_loss: ignore_index is no option of it" },
    { bad_reduction, "cg_squared_loss: there is no reduction 7" },
    { bad_smoothing, "cg_cross_entropy_loss: label_smoothing goes from 0 to 1, delta is above 0 and p at least 1; they are 1.5, 0 and 0" },
    { bad_index, "cg_cross_entropy_loss: ignore_index is told by CG_IGNORE(1)" },
    { bad_version, "cg_cross_entropy_loss: the options are not made by CG_LOSS of this version" },
    { bad_cosine, "cg_cosine_embedding_loss: needs 1 or -1 for each vector of f32[4,3], got f32[4,3]" },
    { bad_triplet, "cg_triplet_margin_loss: f32[4,3] and f32[3] are to have one shape" },
    { bad_k, "cg_top_k_accuracy: k is at least 1" },
    { bad_accuracy, "cg_top_k_accuracy: needs floats (n, c, ...) and as many classes, integers (n, ...), got f32[4,3] and i64[5]" },
    { bad_ctc, "cg_ctc_loss: needs floats (t, n, c), integers (n, s) and integers (n) as lengths, or none; got f32[4,3] and i64[4]" },
    { bad_ctc_lengths, "cg_ctc_loss: needs floats (t, n, c), integers (n, s) and integers (n) as lengths, or none; got f32[4,1,3] and i64[1,4]" },
    { bad_ctc_blank, "cg_ctc_loss: there is no class 3 for blank" },
    { bad_matrix, "cg_confusion_matrix: needs classes and predicted classes below 3, integers of one shape, got i64[4] and i64[5]" },
    { bad_precision, "cg_precision: needs a matrix (n, n) of counts, got f32[3]" },
};

START_TEST(what_does_not_fit_has_a_sentence)
{
    for (int i = 0; i < CG_LEN(wrong); i++) {
        cg_graph *g = cg_graph_new();
        const operands p = { cg_input(g, "x", CG_F32, CG_SHAPE(4, 3)), cg_input(g, "y", CG_I64, CG_SHAPE(4)), cg_input(g, "t", CG_F32, CG_SHAPE(4, 3)),
                             cg_input(g, "short", CG_I64, CG_SHAPE(5)), cg_input(g, "v", CG_F32, CG_SHAPE(3)) };
        ck_assert_ptr_null(wrong[i].build(&p));
        ck_assert_msg(cg_graph_error(g) && strncmp(cg_graph_error(g)->text, wrong[i].says, strlen(wrong[i].says)) == 0, "%s\n  instead of\n%s", cg_graph_error(g) ? cg_graph_error(g)->text : "nothing", wrong[i].says);
        cg_graph_free(g);
    }
}
END_TEST

/* What is built on what could not be built says nothing more. */
START_TEST(losses_of_nothing_are_nothing)
{
    ck_assert_ptr_null(cg_cross_entropy_loss(NULL, NULL, NULL));
    ck_assert_ptr_null(cg_squared_loss(NULL, NULL, NULL));
    ck_assert_ptr_null(cg_cosine_embedding_loss(NULL, NULL, NULL, NULL));
    ck_assert_ptr_null(cg_triplet_margin_loss(NULL, NULL, NULL, NULL));
    ck_assert_ptr_null(cg_accuracy(NULL, NULL));
    ck_assert_ptr_null(cg_confusion_matrix(NULL, NULL, 2));
    ck_assert_ptr_null(cg_f1_score(NULL));
}
END_TEST

int main(void)
{
    const bool cpu = on_cpu();
    TCase *t = TESTS("losses", losses_are_pytorchs, cpu ? ctc_is_the_sum_over_all_paths : NULL, cpu ? ctc_may_be_derived_again : NULL,
                     cpu ? ctc_of_a_long_sequence_stays_finite : NULL, lengths_out_of_range_fail_the_call, a_loss_and_its_gradient_are_few_loops, metrics_count, classes_out_of_range_fail_the_call,
                     what_does_not_fit_has_a_sentence, losses_of_nothing_are_nothing);
    tcase_add_loop_test(t, extreme_logits_give_the_loss_that_they_have, 0, on_cpu() ? CG_LEN(floats) : 1);
    return run_case("losses", t);
}
