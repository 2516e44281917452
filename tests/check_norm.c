// SPDX-License-Identifier: MIT
/* Normalisation, attention and embedding against PyTorch in f64 (tests/golden_norm.py): values, gradients and gradients of these; the layers that
 * are made of them; how many steps their plans have; what they say of operands that do not fit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "tests/golden_norm.h"
#include "tests/helpers.h"
#include "tests/suite.h"
#include "tests/verified.h"

enum { ROWS = sizeof norm_rows / sizeof norm_rows[0], MOST = 256 };

static void ok(int rc) { ck_assert_msg(rc == CG_OK, "%s", cg_last_error()->text); }
static const void *data_of(cg_array *a)
{
    const void *p = a ? cg_array_data(a) : NULL;
    ck_assert_msg(p != NULL, "%s", cg_last_error()->text);
    return p;
}

static int64_t count_of(const int64_t *shape, int rank)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= shape[i];
    return n;
}

/* Operand k: of the pool, or as the row gives it. */
static cg_array *operand(const norm_var *v, int k)
{
    union { double f[MOST]; int64_t i[MOST]; bool b[MOST]; } room;
    for (int64_t i = 0; i < count_of(v->shape, v->rank); i++)
        if (v->dtype == CG_F64)
            room.f[i] = v->data ? v->data[i] : pool[(37 * k + i) % POOL];
        else if (v->dtype == CG_I64)
            room.i[i] = (int64_t)v->data[i];
        else
            room.b[i] = v->data[i] != 0;
    return cg_array_new(v->dtype, v->shape, v->rank, &room);
}

/* ---- values, gradients, and theirs */

typedef struct bench {
    cg_graph *g;
    cg_node *in[ROWS * NORM_VARS], *out[ROWS * (1 + 2 * NORM_VARS)];
    const double *want[ROWS * (1 + 2 * NORM_VARS)];
    int row[ROWS * (1 + 2 * NORM_VARS)];
    cg_array *value[ROWS * NORM_VARS];
    int nin, nout;
} bench;

static void want(bench *b, int row, cg_node *out, const double *values)
{
    ck_assert_msg(out != NULL, "%s: %s", norm_rows[row].expr, cg_graph_error(b->g) ? cg_graph_error(b->g)->text : "?");
    b->out[b->nout] = out;
    b->row[b->nout] = row;
    b->want[b->nout++] = values;
}

static void derive(bench *b, int row, cg_node *cost, cg_node *const *vars, const double *const *values, int n, cg_node **grad)
{
    cg_node **places[NORM_VARS] = { NULL };
    for (int k = 0; k < n; k++)
        places[k] = &grad[k];
    const int rc = cg_grad_with(cost, vars, n, places, n, CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS));
    ck_assert_msg(rc == CG_OK, "%s: %s", norm_rows[row].expr, cg_graph_error(b->g) ? cg_graph_error(b->g)->text : "?");
    for (int k = 0; k < n; k++)
        want(b, row, grad[k], values[k]);
}

static void add_row(bench *b, int r, bool second)
{
    const struct norm_row *row = &norm_rows[r];
    cg_node *vars[NORM_VARS], *wrt[NORM_VARS], *grad[NORM_VARS], *again[NORM_VARS], *squares = NULL;
    const double *first[NORM_VARS], *then[NORM_VARS];
    int n = 0;
    for (int k = 0; k < row->nvars; k++) {
        const norm_var *v = &row->var[k];
        const char name[2] = { v->name };
        b->value[b->nin] = operand(v, k);
        vars[k] = b->in[b->nin++] = cg_input(b->g, name, v->dtype, v->shape, v->rank);
        if (v->grad) {
            wrt[n] = vars[k];
            first[n] = v->grad;
            then[n++] = v->second;
        }
    }
    cg_node *y = cg_read(b->g, row->expr, vars, row->nvars);
    want(b, r, y, row->want);
    if (!n)
        return;
    derive(b, r, cg_sum(cg_mul(y, cg_sin(cg_add(y, cg_weak(b->g, 0.1)))), CG_REDUCE()), wrt, first, n, grad);
    for (int k = 0; k < n; k++) {
        cg_node *part = cg_sum(cg_square(grad[k]), CG_REDUCE());
        squares = squares ? cg_add(squares, part) : part;
    }
    if (second && then[0])
        derive(b, r, squares, wrt, then, n, again);
}

static void check_rows(bool second, bool plain)
{
    bench b = { .g = cg_graph_new() };
    cg_array *got[ROWS * (1 + 2 * NORM_VARS)];
    for (int r = 0; r < ROWS; r++)
        add_row(&b, r, second);
    cg_function *f = cg_compile(b.g, CG_SPEC(.name = "norm", .inputs = b.in, .ninputs = b.nin, .outputs = b.out, .noutputs = b.nout, .no_rewrites = plain, .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ok(cg_call(f, b.value, b.nin, got));
    for (int k = 0; k < b.nout; k++) {
        const double *v = data_of(got[k]);
        double most = 1;
        for (int64_t i = 0; i < cg_array_count(got[k]); i++)
            most = fmax(most, fabs(b.want[k][i]));
        for (int64_t i = 0; i < cg_array_count(got[k]); i++)
            ck_assert_msg(fabs(v[i] - b.want[k][i]) <= 1e-11 * most, "%s: output %d, element %d is %.17g, not %.17g", norm_rows[b.row[k]].expr, k, (int)i, v[i], b.want[k][i]);
        cg_array_free(got[k]);
    }
    for (int k = 0; k < b.nin; k++)
        cg_array_free(b.value[k]);
    cg_function_free(f);
    cg_graph_free(b.g);
}

static bool on_cpu(void) { return strcmp(getenv("CG_DEVICE") ? getenv("CG_DEVICE") : "cpu", "cpu") == 0; }

/* Their gradients, and what was written without rewriting, on the cpu alone: other devices compute the same bits, operation by operation. */
START_TEST(values_and_gradients_are_pytorchs) { check_rows(on_cpu(), false); }
END_TEST
START_TEST(so_they_are_without_rewriting)
{
    if (on_cpu())
        check_rows(false, true);
}
END_TEST

/* ---- layers */

static void set_from_pool(cg_net *n, const char *name, int k)
{
    float v[MOST];
    cg_array *a = cg_net_find(n, name);
    ck_assert_msg(a != NULL, "no %s", name);
    for (int64_t i = 0; i < cg_array_count(a); i++)
        v[i] = (float)pool[(37 * k + i) % POOL];
    ok(cg_array_set(a, v, (size_t)cg_array_count(a) * sizeof *v));
}

static cg_node *sequence(cg_graph *g, int k, int64_t steps)
{
    float v[MOST];
    for (int64_t i = 0; i < MULTI_BATCH * steps * MULTI_SIZE; i++)
        v[i] = (float)pool[(37 * k + i) % POOL];
    return cg_constant(g, CG_F32, CG_SHAPE(MULTI_BATCH, steps, MULTI_SIZE), v);
}

static void near(const char *what, cg_array *a, const double *wanted)
{
    const float *v = data_of(a);
    for (int64_t i = 0; i < cg_array_count(a); i++)
        ck_assert_msg(fabs((double)v[i] - wanted[i]) <= 2e-5 * fmax(1, fabs(wanted[i])), "%s: element %d is %.9g, not %.9g", what, (int)i, (double)v[i], wanted[i]);
}

START_TEST(attention_of_heads_is_pytorchs)
{
    cg_graph *g = cg_graph_new();
    cg_net *n = cg_net_new(g, 1);
    cg_layer l;
    cg_array *out[4];
    ok(cg_layer_attention(&l, n, "a", MULTI_SIZE, MULTI_HEADS, CG_INIT_GLOROT_UNIFORM, NULL));
    ck_assert_int_eq(cg_net_size(n), 4 * MULTI_SIZE * (MULTI_SIZE + 1));
    set_from_pool(n, "a.w", 0);
    set_from_pool(n, "a.b", 1);
    set_from_pool(n, "a.out_w", 2);
    set_from_pool(n, "a.out_b", 3);
    cg_node *q = sequence(g, 4, MULTI_QUERIES), *self = cg_forward(&l, 1, q), *cross = cg_attend(&l, q, sequence(g, 5, MULTI_KEYS), sequence(g, 5, MULTI_KEYS));
    l.attention.is_causal = 1;
    cg_node *causal = cg_forward(&l, 1, q), *where = cg_sinusoidal_positions(cg_scalar(g, CG_I64, 5), 6);
    cg_function *f = cg_compile(g, CG_SPEC(CG_OUTPUTS(self, causal, cross, where)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ok(cg_call(f, NULL, 0, out));
    near("self", out[0], multi_self);
    near("causal", out[1], multi_causal);
    near("cross", out[2], multi_cross);
    near("positions", out[3], positions);
    for (int i = 0; i < 4; i++)
        cg_array_free(out[i]);
    ck_assert_int_eq(cg_layer_attention(&l, n, "b", 6, 4, CG_INIT_ZEROS, NULL), CG_EINVAL);
    cg_function_free(f);
    cg_net_free(n);
    cg_graph_free(g);
}
END_TEST

/* One channel of a batch of three values, twice: the averages are those of formulas written out here. */
START_TEST(batch_norm_keeps_running_averages_in_the_net)
{
    cg_graph *g = cg_graph_new();
    cg_net *n = cg_net_new(g, 1);
    cg_layer l;
    int updates;
    const float v[] = { 1, 2, 6, 4, -2, 1 };
    cg_array *first = cg_array_new(CG_F32, (const int64_t[]){ 3, 1 }, 2, v), *then = cg_array_new(CG_F32, (const int64_t[]){ 3, 1 }, 2, v + 3), *none = cg_array_new(CG_F32, (const int64_t[]){ 0, 1 }, 2, NULL), *out = NULL;
    ok(cg_layer_batch_norm(&l, n, "n", 1, CG_BATCH_NORM(.running_average_factor = 0.25)));
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, 1)), *y = cg_forward(&l, 1, x), *tested = cg_forward_test(&l, 1, x);
    ok(cg_optimize(n, cg_sum(cg_square(y), CG_REDUCE()), CG_OPTIMIZER(.kind = CG_SGD)));
    ck_assert_int_lt(cg_optimize(n, cg_sum(cg_square(y), CG_REDUCE()), CG_OPTIMIZER(.kind = CG_SGD)), 0);
    const cg_update *to = cg_net_updates(n, &updates);
    ck_assert_int_eq(updates, 4);
    cg_function *train = cg_compile(g, CG_SPEC(CG_INPUTS(x), CG_OUTPUTS(y), .updates = to, .nupdates = updates)), *test = cg_compile(g, CG_SPEC(CG_INPUTS(x), CG_OUTPUTS(tested)));
    ck_assert_msg(train && test, "%s", cg_last_error()->text);
    double mean = 0, var = 1;
    for (int k = 0; k < 3; k++) {
        const float *a = v + 3 * k;
        ok(cg_call(train, CG_ARRAYS(k == 0 ? first : k == 1 ? then : none), NULL));
        if (k < 2) {
            const double m = (double)(a[0] + a[1] + a[2]) / 3;
            double squares = 0;
            for (int i = 0; i < 3; i++)
                squares += ((double)a[i] - m) * ((double)a[i] - m);
            mean += 0.25 * (m - mean);
            var += 0.25 * (squares / 2 - var);
        }
        near("mean", cg_net_find(n, "n.mean"), &mean);           /* an empty batch leaves them alone */
        near("var", cg_net_find(n, "n.var"), &var);
    }
    ok(cg_call(test, CG_ARRAYS(first), &out));
    const float w = *(const float *)data_of(cg_net_find(n, "n.w")), b = *(const float *)data_of(cg_net_find(n, "n.b"));
    for (int i = 0; i < 3; i++)
        ck_assert_double_eq_tol((double)((const float *)data_of(out))[i], ((double)v[i] - mean) / sqrt(var + 1e-5) * (double)w + (double)b, 1e-6);
    cg_array_free(out);
    cg_function_free(train);
    cg_function_free(test);
    cg_net_free(n);
    cg_graph_free(g);
    cg_array_free(first);
    cg_array_free(then);
    cg_array_free(none);
}
END_TEST

/* The second pass goes on from the first: two updates, of which each has both batches in it. */
START_TEST(two_passes_are_one_update)
{
    cg_graph *g = cg_graph_new();
    cg_net *n = cg_net_new(g, 1);
    cg_layer l;
    int updates;
    ok(cg_layer_batch_norm(&l, n, "n", 2, CG_BATCH_NORM(.running_average_factor = 0.5)));
    cg_node *a = cg_constant(g, CG_F32, CG_SHAPE(2, 2), (const float[]){ 1, 2, 3, 4 }), *b = cg_constant(g, CG_F32, CG_SHAPE(2, 2), (const float[]){ 5, 6, 7, 8 });
    ck_assert_ptr_nonnull(cg_forward(&l, 1, a));
    ck_assert_ptr_nonnull(cg_forward(&l, 1, b));
    const cg_update *to = cg_net_updates(n, &updates);
    ck_assert_int_eq(updates, 2);
    cg_function *f = cg_compile(g, CG_SPEC(.updates = to, .nupdates = updates));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ok(cg_call(f, NULL, 0, NULL));
    near("mean", cg_net_find(n, "n.mean"), (const double[]){ (0.5 * 2) * 0.5 + 0.5 * 6, (0.5 * 3) * 0.5 + 0.5 * 7 });
    near("var", cg_net_find(n, "n.var"), (const double[]){ 0.25 + 0.5 + 1, 0.25 + 0.5 + 1 });
    cg_function_free(f);
    cg_net_free(n);
    cg_graph_free(g);
}
END_TEST

/* Rows beyond the table fail the call; the padding row begins as zeros and gets no gradient. */
START_TEST(embeddings_tell_rows_out_of_range)
{
    cg_graph *g = cg_graph_new();
    cg_net *n = cg_net_new(g, 1);
    cg_layer l;
    cg_node *grad;
    cg_array *out[2] = { NULL };
    int64_t rows[3] = { 0, 2, 2 };
    ck_assert_int_eq(cg_layer_embedding(&l, n, "e", 4, 2, 4, CG_INIT_GLOROT_UNIFORM), CG_EINVAL);
    ok(cg_layer_embedding(&l, n, "e", 4, 2, 2, CG_INIT_GLOROT_UNIFORM));
    cg_node *i = cg_input(g, "i", CG_I64, CG_SHAPE(3)), *y = cg_forward(&l, 1, i);
    ok(cg_grad(cg_sum(y, CG_REDUCE()), CG_NODES(l.w), CG_OUT(&grad)));
    cg_function *f = cg_compile(g, CG_SPEC(CG_INPUTS(i), CG_OUTPUTS(y, grad)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *in = cg_array_new(CG_I64, (const int64_t[]){ 3 }, 1, rows);
    ok(cg_call(f, CG_ARRAYS(in), out));
    const float *v = data_of(out[0]), *d = data_of(out[1]), *w = data_of(cg_net_find(n, "e.w"));
    ck_assert_float_eq(v[0], w[0]);
    ck_assert(w[0] != 0 && v[2] == 0 && v[3] == 0 && v[5] == 0);
    for (int k = 0; k < 8; k++)
        ck_assert_float_eq(d[k], k < 2);
    cg_array_free(out[0]);
    cg_array_free(out[1]);
    rows[1] = 4;
    ok(cg_array_set(in, rows, sizeof rows));
    const int rc = cg_call(f, CG_ARRAYS(in), out);
    ck_assert(rc < 0 || !cg_array_data(out[0]));
    ck_assert_msg(strstr(cg_last_error()->text, "out of range"), "%s", cg_last_error()->text);
    if (rc == CG_OK) {
        cg_array_free(out[0]);
        cg_array_free(out[1]);
    }
    cg_array_free(in);
    cg_function_free(f);
    cg_net_free(n);
    cg_graph_free(g);
}
END_TEST

int main(void)
{
    return RUN_TESTS("norm", values_and_gradients_are_pytorchs, so_they_are_without_rewriting, attention_of_heads_is_pytorchs,
                     batch_norm_keeps_running_averages_in_the_net, two_passes_are_one_update, embeddings_tell_rows_out_of_range);
}
