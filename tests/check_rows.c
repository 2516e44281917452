// SPDX-License-Identifier: MIT
/* What is claimed of every structural operation besides its values: the dtypes that it takes, and no others; operands that are views or
 * stretched. Elementwise operations have the same in check_elemwise, and check_devices compares devices: the cpu tells for all. */
#include "core/graph/build.h"
#include "tests/golden_rows.h"
#include "tests/suite.h"
#include "tests/verified.h"

enum { ROWS = CG_LEN(golden_rows) };

/* ---- dtypes */

enum { BOOL = 1 << CG_BOOL, INTS = (1 << CG_F16) - 2, F64 = 1 << CG_F64, FLOATS = 1 << CG_F16 | 1 << CG_BF16 | 1 << CG_F32 | F64, ANY = BOOL | INTS | FLOATS, I64 = 1 << CG_I64 };

/* x (3, 4) and y (4, 4) are of the dtypes `values`, i (4) and the scalar n of the dtypes `indices`; $ is the name of the former. */
static const struct { const char *op, *expr; int values, indices; } claims[] = {
    { "const", "(const $ [3] [0 1 1])", ANY, 0 },
    { "dim", "(dim x :axis 1)", ANY, 0 },
    { "cast", "(cast x :dtype i32)", ANY, 0 },
    { "sum", "(sum x :axis [0])", ANY, 0 },
    { "prod", "(prod x :axis [0])", ANY, 0 },
    { "max", "(max x :axis [1])", ANY, 0 },
    { "min", "(min x :axis [1])", ANY, 0 },
    { "mean", "(mean x :axis [0])", ANY, 0 },
    { "var", "(var x :axis [0])", ANY, 0 },
    { "logsumexp", "(logsumexp x :axis [1])", ANY, 0 },
    { "any", "(any x :axis [0])", ANY, 0 },
    { "all", "(all x :axis [0])", ANY, 0 },
    { "argmax", "(argmax x :axis [1])", ANY, 0 },
    { "argmin", "(argmin x :axis [1])", ANY, 0 },
    { "reshape", "(reshape x :shape [2 6])", ANY, 0 },
    { "transpose", "(transpose x)", ANY, 0 },
    { "expand_dims", "(expand_dims x :axis 1)", ANY, 0 },
    { "broadcast_to", "(broadcast_to x :shape [2 3 4])", ANY, 0 },
    { "sum_to", "(sum_to x :shape [1 4])", ANY, 0 },
    { "concatenate", "(concatenate x y :axis 0)", ANY, 0 },
    { "slice", "(slice x :start [none -1] :stop [2 none] :step [1 -2])", ANY, 0 },
    { "unslice", "(unslice x :start [1 0] :shape [5 6])", ANY, 0 },
    { "take", "(take x i :axis 1)", ANY, INTS },
    { "take_along_axis", "(take_along_axis x (broadcast_to i :shape [3 4]) :axis 0)", ANY, INTS },
    { "set_slice", "(set_slice x (slice y :stop [2]) :stop [none none] :start [1])", ANY, 0 },
    { "inc_slice", "(inc_slice x (slice y :stop [2]) :start [none] :stop [2])", ANY, 0 },
    { "set_rows", "(set_rows x i y)", ANY, INTS },
    { "inc_rows", "(inc_rows x i y)", ANY, INTS },
    { "segment_sum", "(segment_sum y i 3)", ANY, INTS },
    { "scatter_add", "(scatter_add x i y)", ANY, INTS },
    { "one_hot", "(one_hot i :depth [3])", 0, INTS },
    { "arange", "(arange n)", 0, I64 },
    { "eye", "(eye 3 4 :dtype $)", ANY, 0 },
    { "random_bits", "(random_bits n :seed 1 :draw 1 :shape [3] :dtype $)", 1 << CG_U32, 0 },
    { "uniform", "(cast (less (uniform n :seed 1 :draw 1 :shape [3] :dtype $) 1) :dtype i32)", FLOATS, 0 },
    { "normal", "(cast (less (normal n :seed 1 :draw 1 :shape [3] :dtype $) 10) :dtype i32)", FLOATS, 0 },
    { "sliding_window_view", "(sliding_window_view x :window_shape [2] :axis [1])", ANY, 0 },
    { "window_sum", "(window_sum x :shape [6] :axis [0] :dilation [1] :before [0])", INTS | FLOATS, 0 },
    { "max_pool", "(max_pool x :kernel_shape [2 2])", ANY, 0 },
    { "average_pool", "(average_pool x :kernel_shape [2 2] :pads [1 1 0 0])", ANY, 0 },
    { "sum_pool", "(sum_pool x :kernel_shape [2 2])", ANY, 0 },
    { "conv", "(conv (expand_dims x :axis 0) (reshape (slice y :stop [3]) :shape [2 3 2]) :pads [1 0])", FLOATS, 0 },
    { "conv_input_grad", "(conv_input_grad (expand_dims y :axis 0) (reshape x :shape [4 3 1]) :shape [4])", FLOATS, 0 },
    { "conv_weight_grad", "(conv_weight_grad (expand_dims x :axis 0) (expand_dims y :axis 0) :shape [1])", FLOATS, 0 },
    { "correlate", "(correlate (expand_dims x :axis 0) (reshape x :shape [4 3 1]) :shape [4])", FLOATS, 0 },
    { "correlate_images", "(correlate_images (expand_dims y :axis 0) (reshape x :shape [4 3 1]) :shape [4])", FLOATS, 0 },
    { "correlate_filters", "(correlate_filters (expand_dims x :axis 0) (expand_dims y :axis 0) :shape [1])", FLOATS, 0 },
    { "matmul", "(matmul x y)", ANY, 0 },
    { "gemm", "(gemm x y (const $ [] [2]) x)", 1 << CG_F32 | F64, 0 },
    { "softmax", "(softmax x :axis 1)", FLOATS, 0 },
    { "log_softmax", "(log_softmax x :axis 0)", FLOATS, 0 },
    { "cross_entropy", "(cross_entropy y i)", FLOATS, INTS },
    { "tuple", "(get (tuple x y) :output 1)", ANY, 0 },
    { "get", "(get (tuple x y) :output 0)", ANY, 0 },
    { "scan", "(get (scan 3 :seq [x] :init [] :capture [] :body [(arg :index 0 :dtype $ :shape [4])] :back [1] :outs [0 0 0]) :output 0)", ANY, 0 },
    { "arg", "(get (scan 3 :seq [x] :init [] :capture [] :body [(arg :index 0 :dtype $ :shape [4])] :back [0] :outs [0 0 0]) :output 0)", ANY, 0 },
    { "ifelse", "(ifelse (less (sum x) 1000) y (transpose y))", ANY, 0 },
    { "stack", "(stack x x :axis 1)", ANY, 0 },
    { "split", "(get (split x :indices_or_sections 2 :axis 1) :output 1)", ANY, 0 },
    { "squeeze", "(squeeze (expand_dims x :axis 0))", ANY, 0 },
    { "flip", "(flip x)", ANY, 0 },
    { "pad", "(pad x :pad_width 1)", ANY, 0 },
    { "full", "(mul x (full 1 :shape [4]))", ANY, 0 },
    { "zeros_like", "(zeros_like x)", ANY, 0 },
    { "ones_like", "(ones_like x)", ANY, 0 },
    { "shape", "(shape x)", ANY, 0 },
    { "std", "(std x :axis [0])", ANY, 0 },
    { "embedding", "(embedding x i :padding_idx 1)", ANY, INTS },
    { "attention", "(attention x y y)", FLOATS, 0 },
    { "layer_normalization", "(layer_normalization x :axis 0)", FLOATS, 0 },
    { "batch_normalization", "(batch_normalization x (sum y :axis [0]) (sum y :axis [1]) (sum y :axis [1]) (sum (abs y) :axis [0]))", FLOATS, 0 },
    { "batch_normalization_train", "(get (batch_normalization_train x (sum y :axis [0]) (sum y :axis [1]) (sum y :axis [1]) (sum (abs y) :axis [0])) :output 0)", FLOATS, 0 },
};

/* What text does not make (inputs, operations of the caller's own), and what two sizes of a call are. */
static bool claimed(const char *op)
{
    bool found = strcmp(op, "broadcast_dim") == 0 || strcmp(op, "input") == 0 || strcmp(op, "shared") == 0 || strcmp(op, "own") == 0;
    for (int i = 0; i < CG_LEN(claims); i++)
        found = found || strcmp(claims[i].op, op) == 0;
    return found;
}

START_TEST(every_operation_claims_its_dtypes)
{
    for (int op = 0; op < CG_OP_FIRST_ELEM; op++)
        ck_assert_msg(claimed(cg__ops[op].name), "%s claims no dtypes: it needs a row here", cg__ops[op].name);
}
END_TEST

enum { NIN = 4 };
static const struct { const char *name; int rank; int64_t shape[2]; } operands[NIN] = { { "x", 2, { 3, 4 } }, { "y", 2, { 4, 4 } }, { "i", 1, { 4 } }, { "n", 0, { 0 } } };

/* Whole numbers below n, which every dtype holds; indices are below 3. */
static cg_array *operand(int k, cg_dtype d, int n)
{
    cg_array *a = cg_array_new(d, operands[k].shape, operands[k].rank, NULL);
    for (int64_t i = 0; i < cg_array_count(a); i++)
        golden_put(a, i, (double)((i * 7 + 2) % (k >= 2 ? 3 : n)));
    return a;
}

/* expr with $ for a dtype's name, on inputs of the dtypes v and i. NULL: the graph says why. */
static cg_node *read_with(cg_graph *g, const char *expr, cg_dtype v, cg_dtype i, cg_node *in[NIN])
{
    char text[300];
    const char *hole = strchr(expr, '$');
    snprintf(text, sizeof text, "%.*s%s%s", hole ? (int)(hole - expr) : (int)strlen(expr), expr, hole ? cg_dtype_name(v) : "", hole ? hole + 1 : "");
    for (int k = 0; k < NIN; k++)
        in[k] = cg_input(g, operands[k].name, k >= 2 ? i : v, operands[k].shape, operands[k].rank);
    return cg_read(g, text, in, NIN);
}

static cg_array *value_with(const char *expr, cg_dtype v, cg_dtype i, int below)
{
    cg_graph *g = cg_graph_new();
    cg_array *args[NIN], *out = NULL;
    cg_node *in[NIN], *y = read_with(g, expr, v, i, in);
    ck_assert_msg(y != NULL, "%s does not take %s %s: %s", expr, cg_dtype_name(v), cg_dtype_name(i), cg_graph_error(g) ? cg_graph_error(g)->text : "?");
    for (int k = 0; k < NIN; k++)
        args[k] = operand(k, k >= 2 ? i : v, below);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "dtype", .inputs = in, .ninputs = NIN, .outputs = &y, .noutputs = 1, .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f && cg_call(f, args, NIN, &out) == CG_OK && cg_array_data(out), "%s of %s %s: %s", expr, cg_dtype_name(v), cg_dtype_name(i), cg_last_error()->text);
    golden_free(args, NIN);
    cg_function_free(f);
    cg_graph_free(g);
    return out;
}

static double tolerance(cg_dtype d)
{
    return d == CG_F64 ? 1e-12 : d == CG_F32 ? 4e-6 : d == CG_F16 ? 4e-3 : d == CG_BF16 ? 3e-2 : 0;
}

/* The value is that of f64 operands and i64 indices, as the dtype of the result. */
static void value_is_that_of_f64(const char *expr, cg_dtype v, cg_dtype i)
{
    const int below = v == CG_BOOL ? 2 : 3;
    cg_array *got = value_with(expr, v, i, below), *want = value_with(expr, CG_F64, CG_I64, below), *as = cg_array_new(cg_array_dtype(got), cg_array_shape(got), cg_array_rank(got), NULL);
    ck_assert_int_eq(cg_array_count(got), cg_array_count(want));
    for (int64_t e = 0; e < cg_array_count(got); e++) {
        const bool truth = cg_array_dtype(got) == CG_BOOL;
        golden_put(as, e, truth ? golden_f64(want, e) != 0 : golden_f64(want, e));
        const double x = golden_f64(got, e), y = golden_f64(as, e);
        ck_assert_msg(fabs(x - y) <= tolerance(cg_array_dtype(got)) * fmax(1, fabs(y)), "%s of %s %s: element %lld is %.9g, not %.9g", expr, cg_dtype_name(v), cg_dtype_name(i), (long long)e, x, y);
    }
    cg_array_free(got);
    cg_array_free(want);
    cg_array_free(as);
}

static void refused(const char *op, const char *expr, cg_dtype v, cg_dtype i)
{
    cg_graph *g = cg_graph_new();
    cg_node *in[NIN], *y = read_with(g, expr, v, i, in);
    ck_assert_msg(y == NULL, "%s takes %s %s", expr, cg_dtype_name(v), cg_dtype_name(i));
    const char *says = cg_graph_error(g) ? cg_graph_error(g)->text : "nothing";
    ck_assert_msg(strncmp(says, "cg_", 3) == 0 || strstr(says, op), "%s of %s %s says: %s", expr, cg_dtype_name(v), cg_dtype_name(i), says);
    cg_graph_clear_error(g);
    cg_graph_free(g);
}

START_TEST(claimed_dtypes_work_and_others_are_refused)
{
    for (int r = 0; r < CG_LEN(claims); r++)
        for (int d = 0; d < CG_DTYPE_COUNT; d++) {
            const cg_dtype any = claims[r].values & F64 ? CG_F64 : CG_U32;
            if (claims[r].values >> d & 1 && any == CG_F64)
                value_is_that_of_f64(claims[r].expr, (cg_dtype)d, CG_I64);
            else if (claims[r].values >> d & 1)
                cg_array_free(value_with(claims[r].expr, (cg_dtype)d, CG_I64, 3));
            else if (claims[r].values)
                refused(claims[r].op, claims[r].expr, (cg_dtype)d, CG_I64);
            if (claims[r].indices >> d & 1)
                value_is_that_of_f64(claims[r].expr, CG_F64, (cg_dtype)d);
            else if (claims[r].indices)
                refused(claims[r].op, claims[r].expr, any, (cg_dtype)d);
        }
}
END_TEST

/* ---- views: every row with operands that are read backwards by every second element, transposed; and with operands that are one row, stretched */

typedef enum { PLAIN, STRIDED, STRETCHED } layout;

/* The array that lies in memory behind a variable of this layout; PLAIN and same: what a STRETCHED one looks like. */
static cg_array *memory_of(const golden_array *a, layout l, bool same)
{
    const int64_t rows = a->rank ? a->shape[0] : 1, last = a->rank ? a->shape[a->rank - 1] : 1, n = golden_count(a);
    int64_t shape[5];
    for (int k = 0; k < a->rank; k++)
        shape[k] = l == STRIDED ? a->shape[a->rank - 1 - k] * (k ? 1 : 2) : l == STRETCHED && k == 0 ? (rows > 0) : a->shape[k];
    cg_array *out = cg_array_new(a->dtype, shape, a->rank, NULL);
    const int64_t count = cg_array_count(out);
    for (int64_t i = 0; i < count; i++)
        golden_put(out, i, a->dtype == CG_I64 ? 0 : 99);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i;
        if (l == STRIDED && a->rank) {                                   /* the coordinates of i, read the other way round */
            int64_t rest = i / last, stride = count / (2 * last);
            at = (2 * (last - 1 - i % last) + 1) * stride;
            for (int k = a->rank - 2; k >= 0; k--) {
                stride /= a->shape[k];
                at += rest % a->shape[k] * stride;
                rest /= a->shape[k];
            }
        }
        if (at < count)
            golden_put(out, at, a->data[same && rows ? i % (n / rows) : i]);
    }
    return out;
}

static cg_node *seen_as(cg_node *in, const golden_array *a, layout l)
{
    cg_graph *g = cg_node_graph(in);
    cg_node *dims[5];
    if (!a->rank || l == PLAIN)
        return in;
    for (int k = 0; k < a->rank; k++)
        dims[k] = cg_scalar(g, CG_I64, (double)a->shape[k]);
    return l == STRETCHED ? cg_broadcast_to(in, dims, a->rank) : cg_transpose(cg_slice(in, 0, NULL, NULL, -2), NULL, 0);
}

static void rows_in(layout l, bool same, int plain, cg_array **out)
{
    cg_graph *g = cg_graph_new();
    cg_node *in[ROWS * GOLDEN_VARS], *value[ROWS];
    cg_array *args[ROWS * GOLDEN_VARS];
    int n = 0;
    for (int r = 0; r < ROWS; r++) {
        cg_node *vars[GOLDEN_VARS];
        for (int k = 0; k < golden_rows[r].nvars; k++) {
            const golden_array *a = &golden_rows[r].var[k];
            args[n] = memory_of(a, l, same);
            in[n] = cg_input(g, "memory", a->dtype, cg_array_shape(args[n]), a->rank);
            vars[k] = cg_name(seen_as(in[n++], a, l), a->name);
        }
        value[r] = cg_read(g, golden_rows[r].expr, vars, golden_rows[r].nvars);
        ck_assert_msg(value[r] != NULL, "%s: %s", golden_rows[r].expr, cg_graph_error(g)->text);
    }
    cg_function *f = cg_compile(g, CG_SPEC(.name = "views", .inputs = in, .ninputs = n, .outputs = value, .noutputs = ROWS, .no_rewrites = plain, .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f && cg_call(f, args, n, out) == CG_OK, "%s", cg_last_error()->text);
    golden_free(args, n);
    cg_function_free(f);
    cg_graph_free(g);
}

/* The same bits; products, whose order is the BLAS's, and functions of what rewriting may see in a stretched operand, within rounding. */
static void same_values(const golden_row *row, cg_array *x, cg_array *y)
{
    double scale = 0;
    for (int64_t i = 0; i < cg_array_count(x); i++)
        scale = isfinite(golden_f64(x, i)) ? fmax(scale, fabs(golden_f64(x, i))) : scale;
    ck_assert_int_eq(cg_array_count(x), cg_array_count(y));
    for (int64_t i = 0; i < cg_array_count(x); i++) {
        const double a = golden_f64(x, i), b = golden_f64(y, i), bound = cg_array_dtype(x) == CG_F32 ? 4e-6 * fmax(scale, 1e-3) : 0;
        ck_assert_msg(a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= bound, "%s: element %lld is %.9g of a view, %.9g of an array", row->expr, (long long)i, b, a);
    }
}

static void compare_layouts(layout l, bool same)
{
    for (int plain = 0; plain < 2; plain++) {
        cg_array *x[ROWS], *y[ROWS];
        rows_in(PLAIN, same, plain, x);
        rows_in(l, same, plain, y);
        for (int r = 0; r < ROWS; r++)
            same_values(&golden_rows[r], x[r], y[r]);
        golden_free(x, ROWS);
        golden_free(y, ROWS);
    }
}

START_TEST(strided_operands_are_as_good_as_dense_ones) { compare_layouts(STRIDED, false); }
END_TEST
START_TEST(stretched_operands_are_as_good_as_dense_ones) { compare_layouts(STRETCHED, true); }
END_TEST

int main(void)
{
    return RUN_TESTS("rows", every_operation_claims_its_dtypes, claimed_dtypes_work_and_others_are_refused, strided_operands_are_as_good_as_dense_ones,
                     stretched_operands_are_as_good_as_dense_ones);
}
