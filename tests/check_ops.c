// SPDX-License-Identifier: MIT
/* Every operation against NumPy (golden.h), and gradients against central differences in f64, on the device of CG_DEVICE.
 *
 * All rows are outputs of one function, so OpenCL builds one program; all gradients are checked along one random
 * direction by three calls: <grad, v> = (f(x + hv) - f(x - hv)) / 2h.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/ops/ops.h"
#include "core/rewrite/rewrite.h"

#include "tests/golden_rows.h"
#include "tests/verified.h"
#include "tests/suite.h"

enum { ROWS = CG_LEN(golden_rows), MAX_VARS = GOLDEN_VARS };
static const double TOLERANCE = 8 * 1.2e-7;

static cg_array *array_of(const golden_array *a, cg_dtype d, double h, unsigned *seed)
{
    const int64_t n = golden_count(a);
    cg_array *out = cg_array_new(d, a->shape, a->rank, NULL);
    for (int64_t i = 0; i < n; i++) {
        const double v = seed ? rand_r(seed) / (double)RAND_MAX - 0.5 : 0;
        golden_put(out, i, a->data[i] + h * v);
    }
    return out;
}

typedef struct bench { cg_graph *g; cg_node *vars[ROWS][MAX_VARS]; cg_node *in[ROWS * MAX_VARS]; int nin; cg_node *value[ROWS]; } bench;

static void build(bench *b, cg_dtype floats, int only_grad)
{
    b->g = cg_graph_new();
    for (int r = 0; r < ROWS; r++) {
        const golden_row *row = &golden_rows[r];
        if (only_grad && !row->grad)
            continue;
        for (int k = 0; k < row->nvars; k++) {
            const cg_dtype d = row->var[k].dtype == CG_F32 ? floats : row->var[k].dtype;
            b->vars[r][k] = b->in[b->nin++] = cg_input(b->g, row->var[k].name, d, row->var[k].shape, row->var[k].rank);
        }
        b->value[r] = cg_read(b->g, row->expr, b->vars[r], row->nvars);
        ck_assert_msg(b->value[r] != NULL, "%s: %s", row->expr, cg_graph_error(b->g) ? cg_graph_error(b->g)->text : "?");
    }
}

/* All rows as one function: their values are NumPy's. */
static void check_values(const bench *b, cg_array *const *in, int plain)
{
    cg_array *out[ROWS];
    cg_function *f = cg_compile(b->g, CG_SPEC(.name = "golden", .inputs = b->in, .ninputs = b->nin, .outputs = b->value, .noutputs = ROWS, .no_rewrites = plain,
                                             .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ck_assert_msg(cg_call(f, in, b->nin, out) == CG_OK, "%s", cg_last_error()->text);
    for (int r = 0; r < ROWS; r++)
        golden_compare(&golden_rows[r], out[r], TOLERANCE);
    golden_free(out, ROWS);
    cg_function_free(f);
}

static void inputs_of(bench *b, cg_array **in)
{
    int n = 0;
    build(b, CG_F32, 0);
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < golden_rows[r].nvars; k++)
            in[n++] = array_of(&golden_rows[r].var[k], golden_rows[r].var[k].dtype, 0, NULL);
}

START_TEST(values_are_numpys)
{
    bench b = { 0 };
    cg_array *in[ROWS * MAX_VARS];
    inputs_of(&b, in);
    for (int plain = 0; plain < 2; plain++)
        check_values(&b, in, plain);
    golden_free(in, b.nin);
    cg_graph_free(b.g);
}
END_TEST

/* No value hangs on one rule: with each in turn switched off that fires on any row. Rules know no devices, so the cpu tells for all. */
START_TEST(each_rule_may_be_off)
{
    const char *device = getenv("CG_DEVICE");
    const cg_rule *rules;
    const int n = cg__rules(&rules);
    int64_t *fired = calloc((size_t)n, sizeof *fired);
    bench b = { 0 };
    cg_array *in[ROWS * MAX_VARS];
    inputs_of(&b, in);
    cg__rewrite_how(&(cg_rewriting){ .fired = fired });
    check_values(&b, in, 0);
    for (int i = 0; i < n && device && strcmp(device, "cpu") == 0; i++)
        if (fired[i]) {
            cg__rewrite_how(&(cg_rewriting){ .off = rules[i].name });
            check_values(&b, in, 0);
        }
    cg__rewrite_how(NULL);
    free(fired);
    golden_free(in, b.nin);
    cg_graph_free(b.g);
}
END_TEST

/* cost = sum(value * weights), so that every element's gradient differs */
static cg_node *cost_of(cg_node *v)
{
    cg_graph *g = cg_node_graph(v);
    int64_t shape[CG_MAX_RANK], n = 1;
    for (int i = 0; i < cg_node_rank(v); i++)
        n *= shape[i] = cg_node_dim(v, i);
    double *w = malloc(sizeof *w * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        w[i] = 0.3 + (double)(i % 7) / 5;
    cg_node *c = cg_sum(cg_mul(v, cg_constant(g, CG_F64, shape, cg_node_rank(v), w)), CG_REDUCE());
    free(w);
    return c;
}

/* ---- gradients: of each row's cost, and of the sum of that gradient with weights, as costs of their own */

enum { LEVELS = 2, MAX_COSTS = LEVELS * ROWS, MAX_GRADS = MAX_COSTS * (MAX_VARS + 1) };
typedef struct slopes { bench b; cg_node *out[MAX_GRADS]; int nout, at[LEVELS][ROWS]; } slopes;

static int is_float(const golden_row *row, int k) { return row->var[k].dtype == CG_F32; }

/* The cost, then its gradient by each float operand. */
static void add_cost(slopes *s, int r, int level, cg_node *cost)
{
    cg_node *wrt[MAX_VARS], **where[MAX_VARS];
    int n = 0;
    s->at[level][r] = s->nout;
    s->out[s->nout++] = cost;
    for (int k = 0; k < golden_rows[r].nvars; k++)
        if (is_float(&golden_rows[r], k)) {
            where[n] = &s->out[s->nout++];
            wrt[n++] = s->b.vars[r][k];
        }
    ck_assert_msg(cg_grad_with(cost, wrt, n, where, n, level ? CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS) : NULL) == CG_OK, "%s: %s", golden_rows[r].expr, cg_last_error()->text);
}

static void add_costs(slopes *s, int r)
{
    add_cost(s, r, 0, cost_of(s->b.value[r]));
    cg_node *again = NULL;
    for (int o = s->at[0][r] + 1, end = s->nout; o < end; o++)
        again = again ? cg_add(again, cost_of(s->out[o])) : cost_of(s->out[o]);
    add_cost(s, r, 1, again);
}

/* All operands moved by h along their random directions. */
static void call_moved(const slopes *s, cg_function *f, double h, cg_array **out)
{
    cg_array *in[ROWS * MAX_VARS];
    int n = 0;
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; golden_rows[r].grad && k < golden_rows[r].nvars; k++) {
            unsigned seed = (unsigned)(r * 10 + k);
            in[n++] = array_of(&golden_rows[r].var[k], golden_dtype(&golden_rows[r].var[k], CG_F64), is_float(&golden_rows[r], k) ? h : 0, &seed);
        }
    ck_assert_msg(cg_call(f, in, n, out) == CG_OK, "%s", cg_last_error()->text);
    golden_free(in, s->b.nin);
}

static void check_cost(int r, int level, double h, cg_array **here, cg_array *up, cg_array *down)
{
    double along = 0, scale = 1;
    const double diff = (*(const double *)cg_array_data(up) - *(const double *)cg_array_data(down)) / (2 * h);
    for (int k = 0; k < golden_rows[r].nvars; k++) {
        unsigned seed = (unsigned)(r * 10 + k);
        if (!is_float(&golden_rows[r], k))
            continue;
        const double *g = cg_array_data(*++here);
        ck_assert_msg(g != NULL, "%s: %s", golden_rows[r].expr, cg_last_error()->text);
        for (int64_t i = 0; i < golden_count(&golden_rows[r].var[k]); i++) {
            const double v = rand_r(&seed) / (double)RAND_MAX - 0.5;
            along += g[i] * v;
            scale += fabs(g[i] * v);
        }
    }
    ck_assert_msg(fabs(diff - along) <= 1e-8 * scale, "%s: gradient %d along v is %.12g, differences say %.12g", golden_rows[r].expr, level + 1, along, diff);
}

/* Operations that have a gradient to tell, and stand in no row: it would be tested nowhere. */
static void check_all_met(slopes *s)
{
    static const cg_op_id elsewhere[] = { CG_OP_scan, CG_OP_gemm, CG_OP_sum_to, CG_OP_own };          /* check_scan; rewriting makes it; of free sizes: check_variants; check_branch */
    bool met[CG_OP_COUNT] = { false };
    cg_node_vec nodes = { 0 };
    ck_assert(cg__reach(s->out, s->nout, &nodes));
    for (int i = 0; i < nodes.n; i++)
        met[cg__op_id(nodes.at[i])] = true;
    CG_VEC_FREE(&nodes);
    for (int i = 0; i < CG_LEN(elsewhere); i++)
        met[elsewhere[i]] = true;
    for (int op = 0; op < CG_OP_FIRST_ELEM; op++)
        ck_assert_msg(met[op] || !cg__ops[op].grad || cg__ops[op].grad == cg__cut_grad || cg__ops[op].grad == cg__step_grad, "no row has the gradient of %s", cg__ops[op].name);
}

START_TEST(gradients_are_differences_and_so_are_theirs)
{
    static slopes s;
    static cg_array *out[3][MAX_GRADS];
    const double h = 1e-5, step[3] = { 0, h, -h };
    build(&s.b, CG_F64, 1);
    for (int r = 0; r < ROWS; r++)
        if (golden_rows[r].grad)
            add_costs(&s, r);
    check_all_met(&s);
    cg_function *f = cg_compile(s.b.g, CG_SPEC(.name = "grads", .inputs = s.b.in, .ninputs = s.b.nin, .outputs = s.out, .noutputs = s.nout, .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    for (int c = 0; c < 3; c++)
        call_moved(&s, f, step[c], out[c]);
    for (int r = 0; r < ROWS; r++)
        for (int level = 0; level < LEVELS && golden_rows[r].grad; level++) {
            const int o = s.at[level][r];
            check_cost(r, level, h, &out[0][o], out[1][o], out[2][o]);
        }
    for (int c = 0; c < 3; c++)
        golden_free(out[c], s.nout);
    cg_function_free(f);
    cg_graph_free(s.b.g);
}
END_TEST

/* What the rows above do not say: a dtype of one_hot, sizes that only the call knows. */
START_TEST(builders_take_sizes_of_the_call)
{
    static const int64_t classes[] = { 2, 0, 3 }, before[] = { 1, 0 }, after[] = { 0, 2 }, sizes[] = { 3, 2 };
    static const uint8_t hot[] = { 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1 };
    static const double padded[] = { 0.5, 0.5, 0.5, 0.5, 0.5, 2, 0, 3, 0.5, 0.5 };
    cg_graph *g = cg_graph_new();
    cg_node *c = cg_input(g, "c", CG_I64, CG_SHAPE(CG_ANY)), *row = cg_cast(cg_expand_dims(c, 0), CG_F64);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "sizes", CG_INPUTS(c), CG_OUTPUTS(cg_one_hot(c, 4, CG_U8), cg_shape(cg_stack(CG_NODES(c, c), -1)),
                                                                                   cg_pad(row, before, after, 2, cg_weak(g, 0.5)))));
    cg_array *in = cg_array_new(CG_I64, CG_SHAPE(3), classes), *out[3];
    ck_assert_msg(f && cg_call(f, &in, 1, out) == CG_OK, "%s", cg_last_error()->text);
    ck_assert_mem_eq(cg_array_data(out[0]), hot, sizeof hot);
    ck_assert_mem_eq(cg_array_data(out[1]), sizes, sizeof sizes);
    ck_assert_mem_eq(cg_array_data(out[2]), padded, sizeof padded);
    for (int i = 0; i < 3; i++)
        cg_array_free(out[i]);
    cg_array_free(in);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* Rows longer than any block of columns, several rows to a block; classes at the edges of blocks, and out of range. */
START_TEST(one_hot_rows_have_one_column)
{
    static const int64_t classes[] = { 0, 2047, 2048, 4999, -1, 5000, 300, 1, 299, 1024 }, depths[] = { 5000, 2048, 300, 1 };
    enum { ROWS_ = sizeof classes / sizeof classes[0], DEPTHS = sizeof depths / sizeof depths[0] };
    cg_graph *g = cg_graph_new();
    cg_node *c = cg_input(g, "c", CG_I64, CG_SHAPE(CG_ANY)), *outs[2 * DEPTHS];
    for (int k = 0; k < DEPTHS; k++) {
        cg_node *hot = cg_one_hot(c, depths[k], CG_F32);
        outs[k] = cg_sub(hot, cg_weak(g, 0.5));
        outs[DEPTHS + k] = cg_sum(cg_mul(hot, cg_arange(cg_scalar(g, CG_I64, 1), cg_scalar(g, CG_I64, depths[k] + 1), cg_scalar(g, CG_I64, 1))), CG_REDUCE(CG_OVER(1)));
    }
    cg_function *f = cg_compile(g, CG_SPEC(.name = "hot", CG_INPUTS(c), .outputs = outs, .noutputs = 2 * DEPTHS));
    cg_array *in = cg_array_new(CG_I64, CG_SHAPE(ROWS_), classes), *out[2 * DEPTHS];
    ck_assert_msg(f && cg_call(f, &in, 1, out) == CG_OK, "%s", cg_last_error()->text);
    for (int k = 0; k < DEPTHS; k++) {
        const float *hot = cg_array_data(out[k]), *place = cg_array_data(out[DEPTHS + k]);
        for (int64_t i = 0; i < ROWS_ * depths[k]; i++)
            ck_assert_msg(hot[i] == (classes[i / depths[k]] == i % depths[k] ? 0.5F : -0.5F), "depth %lld, element %lld", (long long)depths[k], (long long)i);
        for (int i = 0; i < ROWS_; i++)
            ck_assert_float_eq(place[i], classes[i] >= 0 && classes[i] < depths[k] ? (float)classes[i] + 1 : 0);
    }
    for (int k = 0; k < 2 * DEPTHS; k++)
        cg_array_free(out[k]);
    cg_array_free(in);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* Wrong operands give their sentence, and the graph is usable after clear_error. */
static const struct { const char *expr, *says; } wrong[] = {
    { "(add a b)", "cg_add: cannot broadcast f32[3,5] with f32[4]" },
    { "(matmul a a)", "cg_matmul: f32[3,5] has 5 columns, f32[3,5] has 3 rows" },
    { "(matmul a b)", "f32[3,5] has 5 columns, " },
    { "(matmul 2 a)", "a scalar has no rows" },
    { "(matmul (reshape a :shape [3 5 1]) (reshape a :shape [5 1 3]))", " differ" },
    { "(matmul (reshape a :shape [1 3 5 1]) (reshape a :shape [5 1 3]))", " do not broadcast" },
    { "(sum a :axis [2])", "cg_sum: f32[3,5] has no axis 2" },
    { "(sum a :axis [0 0])", "cg_sum: axis 0 is given twice" },
    { "(reshape a :shape [4 4])", "cg_reshape: f32[3,5] has 15 elements, the shape 16" },
    { "(transpose a :axes [0 0])", "cg_transpose: the axes are no permutation" },
    { "(slice a :step [0])", "cg_slice: the step of axis 0 is 0" },
    { "(take a b)", "cg_take: indices must be integers" },
    { "(softmax a :axis 5)", "cg_softmax: f32[3,5] has no axis 5" },
    { "(cross_entropy a b)", "cg_cross_entropy: needs float logits and integer classes" },
    { "(cross_entropy (reshape a :shape [1 3 5]) (const i64 [1 4] [0 0 0 0]))", "differ in more than the classes' axis" },
    { "(take_along_axis a a :axis 1)", "cg_take_along_axis: indices must be integers, are f32[3,5]" },
    { "(take_along_axis a (const i64 [2 1] [0 1]) :axis 1)", " differ in more than axis 1" },
    { "(take_along_axis a (const i64 [2] [0 1]) :axis 2)", "cg_take_along_axis: f32[3,5] has no axis 2" },
    { "(max (slice a :stop [0]) :axis [0])", "is empty and has no max" },
    { "(expand_dims a :axis 4)", "cg_expand_dims: f32[3,5] cannot get an axis 4" },
    { "(broadcast_to a :shape [3 6])", "cg_broadcast_to: axis 1 of f32[3,5] does not stretch to 6" },
    { "(sum_to a :shape [2 5])", "cg_sum_to: axis 0 of f32[3,5] does not sum to 2" },
    { "(concatenate a b :axis 0)", "does not go beside f32[3,5] along axis 0" },
    { "(arange a)", "cg_arange: operand 1 must be an i64 scalar" },
    { "(eye a 3)", "cg_eye: rows and columns must be i64 scalars" },
    { "(one_hot a :depth [3])", "cg_one_hot: needs integers and a depth" },
    { "(uniform a :shape [2])", "cg_uniform: the call's number must be an i64 scalar" },
    { "(normal 1 :shape [2] :dtype i32)", "cg_normal: gives floats, not i32" },
    { "(sliding_window_view a :window_shape [2] :axis [3])", "cg_sliding_window_view: f32[3,5] has no axis 3" },
    { "(unslice a :start [0] :shape [3 5])", "unslice: needs 2 starts and sizes for f32[3,5]" },
    { "(gemm a a)", "cg_gemm: takes two matrices, a factor and an addend, got 2 operands" },
    { "(gemm b b 2)", "cg_gemm: needs two matrices, or two batches of them, got f32[4] and f32[4]" },
    { "(split a :indices_or_sections 4 :axis 1)", "cg_split: axis 1 of f32[3,5] does not divide into 4 parts" },
    { "(squeeze a :axis [0])", "cg_squeeze: axis 0 of f32[3,5] is not known to have size 1" },
    { "(flip a :axis [2])", "has no axis 2" },
    { "(dim a :axis 2)", "has no axis 2" },
    { "(take a (cast b :dtype i32) :axis 2)", "cg_take: f32[3,5] has no axis 2" },
    { "(scatter_add a b a)", "cg_inc_rows: indices must be integers, are f32[4]" },
    { "(scatter_add (sum a) (cast 1 :dtype i64) 2)", " has no axis 0" },
    { "(scatter_add a (cast 0 :dtype i64) (cast b :dtype i32))", " does not go into f32[3,5]" },
    { "(scatter_add a (cast 0 :dtype i64) b)", "cg_inc_rows: f32[4] does not stretch to the part of f32[3,5], which is f32[5]" },
    { "(scatter_add a (cast 0 :dtype i64) a)", "cg_inc_rows: f32[3,5] does not stretch to the part of f32[3,5], which is f32[5]" },
    { "(set_rows a (cast b :dtype i32) b)", "cg_set_rows: f32[4] does not stretch to the part of f32[3,5], which is f32[4,5]" },
    { "(set_rows a 1.5 b)", "cg_set_rows: operand 2 must be an integer" },
    { "(inc_rows (cast a :dtype i32) 1 0.5)", "cg_inc_rows: operand 3 must be an integer" },
    { "(set_slice a b :start [1])", "cg_set_slice: f32[4] does not stretch to the part of f32[3,5], which is f32[2,5]" },
    { "(inc_slice a (cast b :dtype f64))", " does not go into f32[3,5]" },
    { "(set_slice a 0 :step [0])", "cg_set_slice: the step of axis 0 is 0" },
    { "(set_slice a 0 :start [1 2 3])", "cg_set_slice: 3 bounds for f32[3,5]" },
    { "(inc_slice a 0 :stop [(cast 1 :dtype f64)])", ":stop does not take const f64[]" },
    { "(log_softmax a :axis 2)", "cg_log_softmax: f32[3,5] has no axis 2" },
    { "(frobnicate a)", "frobnicate" },
};

static const char *without_names(const char *s, char *out, size_t n)
{
    /* "a (input f32[3,5], at x.c:3)" -> "f32[3,5]": the table stays readable */
    size_t k = 0;
    while (*s && k + 1 < n) {
        if ((s[0] == 'a' || s[0] == 'b') && strncmp(s + 1, " (input ", 8) == 0) {
            s += 9;
            while (*s && *s != ')' && strncmp(s, ", ", 2) != 0 && k + 1 < n)
                out[k++] = *s++;
            s += strcspn(s, ")");
            s += *s == ')';
        } else
            out[k++] = *s++;
    }
    out[k] = 0;
    return out;
}

START_TEST(wrong_operands_get_their_sentence)
{
    char text[1100];
    cg_graph *g = cg_graph_new();
    cg_node *vars[2] = { cg_input(g, "a", CG_F32, CG_SHAPE(3, 5)), cg_input(g, "b", CG_F32, CG_SHAPE(4)) };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_msg(cg_read(g, wrong[i].expr, vars, 2) == NULL, "%s is accepted", wrong[i].expr);
        ck_assert_ptr_nonnull(cg_graph_error(g));
        ck_assert_msg(strstr(without_names(cg_graph_error(g)->text, text, sizeof text), wrong[i].says) != NULL, "%s says: %s", wrong[i].expr, text);
        cg_graph_clear_error(g);
    }
    ck_assert_ptr_nonnull(cg_exp(vars[0]));
    ck_assert_int_eq(cg_graph_verify(g), CG_OK);
    cg_graph_free(g);
}
END_TEST

START_TEST(options_of_another_size_and_absent_values_are_refused)
{
    const int64_t axis = 1, two = 2;
    cg_graph *g = cg_graph_new();
    cg_net *n = cg_net_new(g, 1);
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(3, 5));
    ck_assert_ptr_null(cg_sliding_window_view(x, &(cg_windows){ .axes = &axis, .size = &two, .naxes = 1 }));
    ck_assert_ptr_nonnull(strstr(cg_graph_error(g)->text, "made by CG_WINDOWS"));
    cg_graph_clear_error(g);
    ck_assert_int_eq(cg_scan_end(cg_scan_begin(g, &(cg_scan_spec){ .backwards = 1 }), NULL, 0), CG_EINVAL);
    ck_assert_ptr_nonnull(strstr(cg_graph_error(g)->text, "made by CG_SCAN"));
    cg_graph_clear_error(g);
    ck_assert_int_eq(cg_optimize(n, cg_mean(x, CG_REDUCE()), &(cg_optimizer){ .kind = CG_ADAM }), CG_EINVAL);
    ck_assert_ptr_nonnull(strstr(cg_last_error()->text, "made by CG_OPTIMIZER"));
    ck_assert_int_eq(cg_fit(&(cg_fit_spec){ .batch = 1 }), CG_EINVAL);
    ck_assert_ptr_nonnull(strstr(cg_last_error()->text, "made by CG_FIT"));
    ck_assert_ptr_null(cg_constant(g, CG_F32, &two, 1, NULL));
    ck_assert_ptr_nonnull(strstr(cg_graph_error(g)->text, "they are NULL"));
    ck_assert_ptr_nonnull(cg_constant(g, CG_F32, CG_SHAPE(0, 3), NULL));
    cg_net_free(n);
    cg_graph_free(g);
}
END_TEST

int main(void)
{
    return RUN_TESTS("ops", values_are_numpys, each_rule_may_be_off, gradients_are_differences_and_so_are_theirs, builders_take_sizes_of_the_call,
                     one_hot_rows_have_one_column, wrong_operands_get_their_sentence, options_of_another_size_and_absent_values_are_refused);
}
