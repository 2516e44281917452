// SPDX-License-Identifier: MIT
/* What rewriting is for, on the device of CG_DEVICE: naive expressions and their gradients are right where their parts overflow, and products
 * take scalars and addends in. Also products of halves, integers and bools. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/base/base.h"
#include "tests/verified.h"
#include "tests/suite.h"

enum { MAX_POINTS = 6 };
typedef long double real;

/* ---- naive forms: the value at x, and its derivative there */

static real softplus(real x) { return x > 0 ? x + log1pl(expl(-x)) : log1pl(expl(x)); }
static real sigmoid(real x) { return 1 / (1 + expl(-x)); }
static real log_sigmoid(real x) { return -softplus(-x); }
static real sigmoid_minus(real x) { return sigmoid(-x); }
static real minus_softplus(real x) { return -softplus(x); }
static real minus_sigmoid(real x) { return -sigmoid(x); }
static real sigmoid_slope(real x) { return sigmoid(x) * sigmoid(-x); }
static real log_erfc(real x) { return logl(erfcl(x)); }
static real log_erfc_slope(real x) { return -expl(-x * x) / erfcl(x) * 1.12837916709551257390L; }
static real itself(real x) { return x; }
static real one(real x) { return 1 + 0 * x; }
static real over_one_plus(real x) { return 1 / (1 + x); }
static real log1mexp(real x) { return x > -0.7L ? logl(-expm1l(x)) : log1pl(-expl(x)); }
static real log1mexp_slope(real x) { return -1 / expm1l(-x); }
static real log_where(real x) { return x > 0 ? logl(x) : 0; }
static real log_where_slope(real x) { return x > 0 ? 1 / x : 0; }
static real sqrt_where(real x) { return x > 0 ? sqrtl(x) : 0; }
static real sqrt_where_slope(real x) { return x > 0 ? 0.5L / sqrtl(x) : 0; }

static const struct { const char *expr; real (*value)(real), (*slope)(real); double x[MAX_POINTS]; } forms[] = {
    { "(log (add 1 (exp x)))", softplus, sigmoid, { -60, -20, -0.5, 0.5, 30, 800 } },
    { "(log (sigmoid x))", log_sigmoid, sigmoid_minus, { -800, -30, -0.5, 0.5, 20, 60 } },
    { "(log (sub 1 (sigmoid x)))", minus_softplus, minus_sigmoid, { -60, -20, -0.5, 0.5, 30, 800 } },
    { "(div 1 (add 1 (exp (neg x))))", sigmoid, sigmoid_slope, { -80, -20, -0.5, 0.5, 30, 60 } },
    { "(log (erfc x))", log_erfc, log_erfc_slope, { -5, -1, 0.25, 2, 12, 30 } },
    { "(log (exp x))", itself, one, { -800, -20, 0.5, 3, 95, 800 } },
    { "(log (add 1 x))", log1pl, over_one_plus, { 1e-12, -1e-9, 1e-4, 0.5, 3, 1e6 } },
    { "(sub (exp x) 1)", expm1l, expl, { 1e-12, -1e-9, 1e-4, 0.5, -3, 20 } },
    { "(log (sub 1 (exp x)))", log1mexp, log1mexp_slope, { -1e-6, -1e-3, -0.5, -1, -20, -60 } },
    { "(where (greater x 0) (log x) 0)", log_where, log_where_slope, { -1, 0, 0.5, 2, 1e-6, 1e6 } },
    { "(where (greater x 0) (sqrt x) 0)", sqrt_where, sqrt_where_slope, { -1, 0, 0.25, 2, 1e-6, 1e6 } },
};

static cg_array *floats(cg_dtype d, int n, const double *v)
{
    double room[64];
    for (int i = 0; i < n; i++)
        cg__store_f64((char *)room + (size_t)i * cg__dtypes[d].bytes, d, v[i]);
    return cg_array_new(d, CG_SHAPE(n), room);
}

static double at(cg_array *a, int64_t i)
{
    const void *data = cg_array_data(a);
    ck_assert_msg(data != NULL, "%s", cg_last_error()->text);
    return cg__load_f64((const char *)data + (size_t)i * cg__dtypes[cg_array_dtype(a)].bytes, cg_array_dtype(a));
}

static void is_near(const char *what, double got, real want, cg_dtype d)
{
    const double tol = d == CG_F64 ? 1e-13 : 2e-6, least = d == CG_F64 ? 1e-300 : 1e-37;
    ck_assert_msg(fabs(got - (double)want) <= tol * fabs((double)want) + least, "%s: %.9g, should be %.9Lg", what, got, want);
}

/* The points of a row are as the dtype rounds them. */
static void check_forms(cg_dtype d)
{
    cg_graph *g = cg_graph_new();
    cg_node *x[CG_LEN(forms)], *out[2 * CG_LEN(forms)];
    cg_array *in[CG_LEN(forms)], *got[2 * CG_LEN(forms)];
    for (int i = 0; i < CG_LEN(forms); i++) {
        x[i] = cg_input(g, "x", d, CG_SHAPE(MAX_POINTS));
        in[i] = floats(d, MAX_POINTS, forms[i].x);
        out[2 * i] = cg_read(g, forms[i].expr, &x[i], 1);
        ck_assert_int_eq(cg_grad(cg_sum(out[2 * i], CG_REDUCE()), CG_NODES(x[i]), CG_OUT(&out[2 * i + 1])), CG_OK);
    }
    cg_function *f = cg_compile(g, CG_SPEC(.name = "forms", .inputs = x, .ninputs = CG_LEN(x), .outputs = out, .noutputs = CG_LEN(out)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ck_assert_msg(cg_call(f, in, CG_LEN(in), got) == CG_OK, "%s", cg_last_error()->text);
    for (int i = 0; i < CG_LEN(forms); i++)
        for (int k = 0; k < MAX_POINTS; k++) {
            char what[200];
            const real p = (real)at(in[i], k);
            snprintf(what, sizeof what, "%s at %g", forms[i].expr, (double)p);
            is_near(what, at(got[2 * i], k), forms[i].value(p), d);
            snprintf(what, sizeof what, "the gradient of %s at %g", forms[i].expr, (double)p);
            is_near(what, at(got[2 * i + 1], k), forms[i].slope(p), d);
        }
    for (int i = 0; i < CG_LEN(got); i++)
        cg_array_free(got[i]);
    for (int i = 0; i < CG_LEN(in); i++)
        cg_array_free(in[i]);
    cg_function_free(f);
    cg_graph_free(g);
}

START_TEST(naive_forms_are_right_in_f32) { check_forms(CG_F32); }
END_TEST
START_TEST(naive_forms_are_right_in_f64) { check_forms(CG_F64); }
END_TEST

/* ---- rows: cost = sum(value w), so that the gradient tells each part */

enum { ROW = 4 };
static const double row[ROW] = { 1000, 998.5, -1000, 0 }, weight[ROW] = { 0.7, -0.3, 1.25, 2 };

typedef enum { ROW_LOG_SOFTMAX, ROW_SOFTMAX, ROW_LOGSUMEXP } row_form;
static const struct { const char *expr; row_form form; } row_forms[] = {
    { "(log (softmax x :axis 0))", ROW_LOG_SOFTMAX },
    { "(sub x (log (sum (exp x) :axis [0] :keepdims true)))", ROW_LOG_SOFTMAX },
    { "(div (exp x) (sum (exp x) :axis [0] :keepdims true))", ROW_SOFTMAX },
    { "(exp (sub x (log (sum (exp x) :axis [0] :keepdims true))))", ROW_SOFTMAX },
    { "(broadcast_to (log (sum (exp x) :axis [0] :keepdims true)) :shape [4])", ROW_LOGSUMEXP },
    { "(broadcast_to (log (sum (exp x))) :shape [4])", ROW_LOGSUMEXP },
};

static void want_row(row_form form, int i, real *value, real *slope)
{
    real total = 0, sum_w = 0, sum_wy = 0;
    for (int k = 0; k < ROW; k++)
        total += expl((real)row[k] - (real)row[0]);
    const real lse = (real)row[0] + logl(total), y = expl((real)row[i] - lse);
    for (int k = 0; k < ROW; k++) {
        sum_w += (real)weight[k];
        sum_wy += (real)weight[k] * expl((real)row[k] - lse);
    }
    *value = form == ROW_LOG_SOFTMAX ? (real)row[i] - lse : form == ROW_SOFTMAX ? y : lse;
    *slope = form == ROW_LOG_SOFTMAX ? (real)weight[i] - y * sum_w : form == ROW_SOFTMAX ? y * ((real)weight[i] - sum_wy) : y * sum_w;
}

static void check_row_form(int r, cg_dtype d)
{
    cg_graph *g = cg_graph_new();
    cg_array *w = floats(d, ROW, weight), *in = floats(d, ROW, row), *got[2];
    cg_node *x = cg_input(g, "x", d, CG_SHAPE(ROW)), *y = cg_read(g, row_forms[r].expr, &x, 1), *dx;
    ck_assert_msg(y != NULL, "%s", cg_last_error()->text);
    ck_assert_int_eq(cg_grad(cg_sum(cg_mul(y, cg_shared(g, "w", w)), CG_REDUCE()), CG_NODES(x), CG_OUT(&dx)), CG_OK);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "row", CG_INPUTS(x), CG_OUTPUTS(y, dx)));
    ck_assert_msg(f && cg_call(f, CG_ARRAYS(in), got) == CG_OK, "%s", cg_last_error()->text);
    for (int i = 0; i < ROW; i++) {
        real value, slope;
        want_row(row_forms[r].form, i, &value, &slope);
        const double tol = d == CG_F64 ? 1e-12 : 1e-4;       /* 1000 has half of the digits */
        ck_assert_msg(fabs(at(got[0], i) - (double)value) <= tol, "%s: element %d is %g, should be %Lg", row_forms[r].expr, i, at(got[0], i), value);
        ck_assert_msg(fabs(at(got[1], i) - (double)slope) <= tol, "%s: gradient %d is %g, should be %Lg", row_forms[r].expr, i, at(got[1], i), slope);
    }
    cg_array *all[] = { w, in, got[0], got[1] };
    for (int i = 0; i < CG_LEN(all); i++)
        cg_array_free(all[i]);
    cg_function_free(f);
    cg_graph_free(g);
}

START_TEST(rows_of_exponentials_are_right)
{
    for (int r = 0; r < CG_LEN(row_forms); r++)
        for (int k = 0; k < 2; k++)
            check_row_form(r, k ? CG_F64 : CG_F32);
}
END_TEST

/* ---- products */

static cg_array *filled(cg_dtype d, const int64_t *shape, int rank, double a)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= shape[i];
    char *room = calloc((size_t)n + 1, 8);
    for (int64_t i = 0; i < n; i++)
        cg__store_f64(room + (size_t)i * cg__dtypes[d].bytes, d, a + (double)((i * 7) % 11) - 5);
    cg_array *out = cg_array_new(d, shape, rank, room);
    free(room);
    return out;
}

static const char *const products[] = {
    "(add c (matmul a b))", "(sub c (mul 0.5 (matmul a b)))", "(sub (mul 2 (matmul a b)) (mul 0.5 c))", "(neg (matmul a b))", "(mul 0.25 (matmul a b))",
    "(add (matmul a b) (matmul (mul a 2) (neg b)))", "(transpose (matmul a b))", "(tanh (add c (matmul a b)))", "(add (matmul a b) (transpose (matmul (transpose b) (transpose a))))",
    "(matmul (add c (matmul a b)) (transpose b))",
};

/* k 0: the product is nothing, and what it is added to stays. The numbers are small integers, so all sums are exact. */
static void check_products(int64_t k, cg_dtype d)
{
    cg_graph *g = cg_graph_new();
    cg_node *v[3] = { cg_input(g, "a", d, CG_SHAPE(3, CG_ANY)), cg_input(g, "b", d, CG_SHAPE(CG_ANY, 5)), cg_input(g, "c", d, CG_SHAPE(3, 5)) };
    cg_array *in[3] = { filled(d, CG_SHAPE(3, k), 0), filled(d, CG_SHAPE(k, 5), 1), filled(d, CG_SHAPE(3, 5), 2) }, *got[2][CG_LEN(products)];
    cg_node *out[CG_LEN(products)];
    for (int i = 0; i < CG_LEN(products); i++)
        ck_assert_msg((out[i] = cg_read(g, products[i], v, 3)) != NULL, "%s", cg_last_error()->text);
    for (int plain = 0; plain < 2; plain++) {
        cg_function *f = cg_compile(g, CG_SPEC(.name = "products", .inputs = v, .ninputs = 3, .outputs = out, .noutputs = CG_LEN(out), .no_rewrites = plain));
        ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
        char *shown = cg_function_show(f, CG_STAGE_OPTIMIZED);
        ck_assert_msg((strstr(shown, "(gemm ") == NULL) == plain, "%s", shown);
        cg_text_free(shown);
        for (int times = 0; times < 2; times++) {            /* again in used memory */
            ck_assert_msg(cg_call(f, in, 3, got[plain]) == CG_OK, "%s", cg_last_error()->text);
            for (int i = 0; !times && i < CG_LEN(products); i++)
                cg_array_free(got[plain][i]);
        }
        cg_function_free(f);
    }
    for (int i = 0; i < CG_LEN(products); i++)
        for (int64_t j = 0; j < cg_array_count(got[0][i]); j++)
            ck_assert_msg(fabs(at(got[0][i], j) - at(got[1][i], j)) <= 1e-6, "%s: element %d is %g, should be %g", products[i], (int)j, at(got[0][i], j), at(got[1][i], j));
    for (int i = 0; i < 2 * CG_LEN(products); i++)
        cg_array_free(got[i / CG_LEN(products)][i % CG_LEN(products)]);
    for (int i = 0; i < 3; i++)
        cg_array_free(in[i]);
    cg_graph_free(g);
}

START_TEST(products_take_in_scalars_and_addends)
{
    for (int64_t k = 0; k < 5; k += 2)
        for (int w = 0; w < 2; w++)
            check_products(k, w ? CG_F64 : CG_F32);
}
END_TEST

/* W - 0.5 x'd and mu V + x'd: updates by which the old values are read once. */
START_TEST(updates_accumulate_in_products)
{
    cg_graph *g = cg_graph_new();
    const float w0[4] = { 1, 2, 3, 4 }, one[4] = { 1, 1, 2, 0 };
    cg_array *w = cg_array_new(CG_F32, CG_SHAPE(2, 2), w0), *v = cg_array_new(CG_F32, CG_SHAPE(2, 2), w0), *x0 = cg_array_new(CG_F32, CG_SHAPE(2, 2), one);
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, 2)), *W = cg_shared(g, "W", w), *V = cg_shared(g, "V", v);
    cg_node *dW = cg_matmul(cg_transpose(x, NULL, 0), x);     /* 5 1; 1 1 */
    cg_function *f = cg_compile(g, CG_SPEC(.name = "step", CG_INPUTS(x), CG_UPDATES({ W, cg_sub(W, cg_scale(cg_matmul(dW, dW), 0.5)) }, { V, cg_add(cg_scale(V, 0.5), dW) })));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    for (int i = 0; i < 2; i++)
        ck_assert_msg(cg_call(f, CG_ARRAYS(x0), NULL) == CG_OK, "%s", cg_last_error()->text);
    const double want_w[4] = { 1 - 26, 2 - 6, 3 - 6, 4 - 2 }, want_v[4] = { 0.25 + 7.5, 0.5 + 1.5, 0.75 + 1.5, 1 + 1.5 };
    for (int i = 0; i < 4; i++) {
        ck_assert_double_eq(at(w, i), want_w[i]);
        ck_assert_double_eq(at(v, i), want_v[i]);
    }
    cg_function_free(f);
    cg_graph_free(g);
    cg_array *all[] = { w, v, x0 };
    for (int i = 0; i < 3; i++)
        cg_array_free(all[i]);
}
END_TEST

static double product_of(cg_dtype d, cg_array *a, cg_array *b, int i, int j, int k)
{
    double sum = 0;
    for (int l = 0; l < k; l++)
        sum += at(a, i * k + l) * at(b, l * 4 + j);
    char room[8];
    if (cg__is_float(d))
        cg__store_f64(room, d, sum);
    else if (d == CG_BOOL)
        cg__store_i64(room, d, sum != 0);
    else
        cg__store_i64(room, d, (int64_t)sum);
    return cg__load_f64(room, d);
}

START_TEST(every_dtype_multiplies)
{
    for (int d = 0; d < CG_DTYPE_COUNT; d++) {
        cg_graph *g = cg_graph_new();
        cg_node *a = cg_input(g, "a", (cg_dtype)d, CG_SHAPE(2, 3)), *b = cg_input(g, "b", (cg_dtype)d, CG_SHAPE(3, 4)), *c = cg_matmul(a, b);
        cg_array *in[2] = { filled((cg_dtype)d, CG_SHAPE(2, 3), 5), filled((cg_dtype)d, CG_SHAPE(3, 4), 25), }, *out[2];
        ck_assert_msg(c && cg_node_dtype(c) == (cg_dtype)d, "%s: %s", cg_dtype_name((cg_dtype)d), c ? "another dtype" : cg_last_error()->text);
        cg_node *batch = cg_matmul(cg_expand_dims(a, 0), cg_expand_dims(b, 0));
        cg_function *f = cg_compile(g, CG_SPEC(.name = "product", CG_INPUTS(a, b), CG_OUTPUTS(c, batch)));
        ck_assert_msg(f && cg_call(f, in, 2, out) == CG_OK, "%s", cg_last_error()->text);
        for (int i = 0; i < 8; i++)
            for (int k = 0; k < 2; k++)
                ck_assert_msg(at(out[k], i) == product_of((cg_dtype)d, in[0], in[1], i / 4, i % 4, 3), "%s: element %d is %g", cg_dtype_name((cg_dtype)d), i, at(out[k], i));
        for (int i = 0; i < 2; i++) {
            cg_array_free(in[i]);
            cg_array_free(out[i]);
        }
        cg_function_free(f);
        cg_graph_free(g);
    }
}
END_TEST

/* ---- constants */

START_TEST(constants_are_computed_once)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(3)), *r = cg_constant(g, CG_F32, CG_SHAPE(3), (const float[]){ 1, 2, 3 });
    cg_node *y = cg_mul(x, cg_exp(cg_add(cg_sum(r, CG_REDUCE()), cg_sqrt(r)))), *z = cg_floor_divide(cg_cast(r, CG_I32), cg_constant(g, CG_I32, CG_SHAPE(3), (const int32_t[]){ 1, 0, 1 }));
    cg_function *f = cg_compile(g, CG_SPEC(.name = "constants", CG_INPUTS(x), CG_OUTPUTS(y)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    char *shown = cg_function_show(f, CG_STAGE_OPTIMIZED);
    ck_assert_msg(!strstr(shown, "exp") && !strstr(shown, "sum"), "%s", shown);
    cg_text_free(shown);
    cg_array *in = cg_array_new(CG_F32, CG_SHAPE(3), (const float[]){ 1, 1, 1 }), *out;
    ck_assert_int_eq(cg_call(f, CG_ARRAYS(in), &out), CG_OK);
    for (int i = 0; i < 3; i++)
        is_near("a constant", at(out, i), expl(6 + sqrtl(1 + i)), CG_F32);
    cg_array_free(out);
    cg_array_free(in);
    cg_function_free(f);
    f = cg_compile(g, CG_SPEC(.name = "later", CG_INPUTS(x), CG_OUTPUTS(cg_mul(x, cg_cast(z, CG_F32)))));      /* whatever it does, it does at the call */
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

int main(void)
{
    return RUN_TESTS("forms", naive_forms_are_right_in_f32, naive_forms_are_right_in_f64, rows_of_exponentials_are_right,
                     products_take_in_scalars_and_addends, updates_accumulate_in_products, every_dtype_multiplies, constants_are_computed_once);
}
