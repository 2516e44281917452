// SPDX-License-Identifier: MIT
/* The hard cases of the design, against NumPy (hard.h), with what their plans must look like: a loop whose length is first seen at the call,
 * its gradient with one product after the loop, a convolution, variables that swap, an output that is a variable. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "verified.h"
#include "hard.h"
#include "tests/helpers.h"
#include "tests/suite.h"

enum { T = 6, B = 3, D = 4, H = 5, N = 2, IC = 2, OC = 3, S = 5, K = 3 };

static cg_array *array(const double *v, const int64_t *shape, int rank)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= shape[i];
    float *f = malloc(sizeof *f * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        f[i] = (float)v[i];
    cg_array *a = cg_array_new(CG_F32, shape, rank, f);
    free(f);
    return a;
}

static void is(const char *what, cg_array *a, const double *want, int64_t n)
{
    const float *v = cg_array_data(a);
    ck_assert_msg(v != NULL, "%s: %s", what, cg_last_error()->text);
    ck_assert_msg(cg_array_count(a) == n, "%s has %lld elements, not %lld", what, (long long)cg_array_count(a), (long long)n);
    for (int64_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)v[i] - want[i]) <= 2e-6 * (1 + fabs(want[i])), "%s: element %lld is %.9g, not %.9g", what, (long long)i, (double)v[i], want[i]);
    cg_array_free(a);
}

static cg_function *compiled(cg_function *f)
{
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    return f;
}

/* How often each kind of step stands in the plan. */
static void plan_has(cg_function *f, int repeats, int gemms, const char *body)
{
    char *plan = cg_function_show(f, CG_STAGE_PLAN);
    ck_assert_msg(occurrences(plan, "(repeat ") == repeats && occurrences(plan, "(gemm ") == gemms && (!body || occurrences(plan, body) == repeats), "%s", plan);
    cg_text_free(plan);
}

START_TEST(a_loop_of_a_length_first_seen_at_the_call)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, B, D)), *h0 = cg_input(g, "h0", CG_F32, CG_SHAPE(B, H)), *C = cg_input(g, "C", CG_F32, CG_SHAPE(CG_ANY, B, H));
    cg_node *U = cg_input(g, "U", CG_F32, CG_SHAPE(D, H)), *W = cg_input(g, "W", CG_F32, CG_SHAPE(H, H));
    cg_scan *s = cg_scan_begin(g, CG_SCAN());
    cg_node *h = cg_scan_state(s, h0), *next = cg_tanh(cg_add(cg_matmul(cg_scan_seq(s, x), U), cg_matmul(h, W))), *hs, *dW, *dU, *dx, *dh;
    cg_scan_next(s, h, next);
    cg_scan_out(s, next, CG_SCAN_ALL);
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&hs)), CG_OK);
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "rnn", CG_INPUTS(x, h0, U, W), CG_OUTPUTS(hs))));
    plan_has(f, 1, 2, "times the next 2 steps");         /* x U before the loop; h W and the rest in it */
    cg_node *cost = cg_sum(cg_mul(hs, C), CG_REDUCE());
    ck_assert_int_eq(cg_grad(cost, CG_NODES(W), CG_OUT(&dW)), CG_OK);
    cg_function *one = compiled(cg_compile(g, CG_SPEC(.name = "dW", CG_INPUTS(x, h0, U, W, C), CG_OUTPUTS(dW))));
    plan_has(one, 2, 4, "times the next 2 steps");       /* and h' da after it */
    ck_assert_int_eq(cg_grad(cost, CG_NODES(W, U, x, h0), CG_OUT(&dW, &dU, &dx, &dh)), CG_OK);
    cg_function *all = compiled(cg_compile(g, CG_SPEC(.name = "grads", CG_INPUTS(x, h0, U, W, C), CG_OUTPUTS(hs, dW, dU, dx, dh))));
    for (int64_t n = T; n >= 0; n -= 3) {
        const int64_t sx[] = { n, B, D }, sc[] = { n, B, H };
        cg_array *in[] = { array(v_x, sx, 3), array(v_h0, sc + 1, 2), array(v_U, (int64_t[]){ D, H }, 2), array(v_W, (int64_t[]){ H, H }, 2), array(v_C, sc, 3) }, *out[5];
        ck_assert_msg(cg_call(f, in, 4, out) == CG_OK, "%s", cg_last_error()->text);
        is("h", out[0], v_hs, n * B * H);
        ck_assert_msg(cg_call(one, in, 5, out) == CG_OK, "%s", cg_last_error()->text);
        if (n == T)
            is("dW", out[0], v_dW, H * H);
        else
            cg_array_free(out[0]);
        ck_assert_msg(cg_call(all, in, 5, out) == CG_OK, "%s", cg_last_error()->text);
        is("h", out[0], v_hs, n * B * H);
        for (int i = 1; i < 5; i++)
            if (n == T)
                is("a gradient", out[i], (const double *[]){ v_dW, v_dU, v_dx, v_dh }[i - 1], (int64_t[]){ H * H, D * H, T * B * D, B * H }[i - 1]);
            else
                cg_array_free(out[i]);
        for (int i = 0; i < 5; i++)
            cg_array_free(in[i]);
    }
    cg_stats stats;
    cg_function_stats(f, &stats);
    ck_assert_int_eq(stats.plans, 1);
    cg_function_free(f);
    cg_function_free(one);
    cg_function_free(all);
    cg_graph_free(g);
}
END_TEST

/* (n, c, h, w) images and (o, c, kh, kw) filters, one zero around: windows as rows of one matrix, whatever the number of images */
static cg_node *conv(cg_node *x, cg_node *w, int64_t stride)
{
    const int64_t axes[] = { 2, 3 }, size[] = { K, K }, one[] = { 1, 1 }, by[] = { stride, stride }, P = (S + 2 - K) / stride + 1;
    cg_node *v = cg_sliding_window_view(x, CG_WINDOWS(.axes = axes, .size = size, .naxes = 2, .stride = by, .before = one, .after = one));
    v = cg_reshape(cg_transpose(v, CG_AXES(1, 4, 5, 0, 2, 3)), CG_SHAPE(IC * K * K, -1));
    cg_node *y = cg_matmul(cg_reshape(w, CG_SHAPE(OC, IC * K * K)), v);
    return cg_transpose(cg_reshape(y, CG_SHAPE(OC, -1, P, P)), CG_AXES(1, 0, 2, 3));
}

START_TEST(a_convolution_is_a_loop_over_windows_and_a_product)
{
    static const double *const want[2][4] = { { v_Y1, v_G1, v_dX1, v_dF1 }, { v_Y2, v_G2, v_dX2, v_dF2 } };
    for (int stride = 1; stride <= 2; stride++) {
        const int64_t P = (S + 2 - K) / stride + 1;
        cg_graph *g = cg_graph_new();
        cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, IC, S, S)), *w = cg_input(g, "w", CG_F32, CG_SHAPE(OC, IC, K, K)), *G = cg_input(g, "G", CG_F32, CG_SHAPE(CG_ANY, OC, P, P));
        cg_node *y = conv(x, w, stride), *dx, *dw;
        ck_assert_int_eq(cg_grad(cg_sum(cg_mul(y, G), CG_REDUCE()), CG_NODES(x, w), CG_OUT(&dx, &dw)), CG_OK);
        cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "conv", CG_INPUTS(x, w), CG_OUTPUTS(y))));
        plan_has(f, 0, 1, NULL);
        char *plan = cg_function_show(f, CG_STAGE_PLAN);
        ck_assert_msg(occurrences(plan, "(loop ") == 2 && strstr(plan, "window"), "%s", plan);         /* the windows, and the result in order */
        cg_text_free(plan);
        cg_function *d = compiled(cg_compile(g, CG_SPEC(.name = "conv", CG_INPUTS(x, w, G), CG_OUTPUTS(y, dx, dw))));
        plan_has(d, 0, 3, NULL);
        cg_array *in[] = { array(v_X, (int64_t[]){ N, IC, S, S }, 4), array(v_F, (int64_t[]){ OC, IC, K, K }, 4), array(want[stride - 1][1], (int64_t[]){ N, OC, P, P }, 4) }, *out[3];
        ck_assert_msg(cg_call(f, in, 2, out) == CG_OK, "%s", cg_last_error()->text);
        is("the convolution", out[0], want[stride - 1][0], N * OC * P * P);
        ck_assert_msg(cg_call(d, in, 3, out) == CG_OK, "%s", cg_last_error()->text);
        is("the convolution", out[0], want[stride - 1][0], N * OC * P * P);
        is("the gradient of the images", out[1], want[stride - 1][2], N * IC * S * S);
        is("the gradient of the filters", out[2], want[stride - 1][3], OC * IC * K * K);
        for (int i = 0; i < 3; i++)
            cg_array_free(in[i]);
        cg_function_free(f);
        cg_function_free(d);
        cg_graph_free(g);
    }
}
END_TEST

START_TEST(variables_swap_and_an_output_is_a_variable)
{
    const int64_t two = 2;
    cg_graph *g = cg_graph_new();
    cg_array *a = array((double[]){ 1, 2 }, &two, 1), *b = array((double[]){ 3, 4 }, &two, 1), *out[2];
    cg_node *A = cg_shared(g, "A", a), *Bv = cg_shared(g, "B", b);
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "swap", CG_OUTPUTS(A, cg_add(A, Bv)), CG_UPDATES({ A, Bv }, { Bv, A }))));
    for (int k = 0; k < 3; k++) {
        const double first[2] = { k % 2 ? 3 : 1, k % 2 ? 4 : 2 }, sum[2] = { 4, 6 };
        ck_assert_msg(cg_call(f, NULL, 0, out) == CG_OK, "%s", cg_last_error()->text);
        is("A before the call", out[0], first, 2);
        is("A + B", out[1], sum, 2);
        ck_assert(((const float *)cg_array_data(a))[0] == (k % 2 ? 1 : 3) && ((const float *)cg_array_data(b))[1] == (k % 2 ? 4 : 2));
    }
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(a);
    cg_array_free(b);
}
END_TEST

int main(void)
{
    return RUN_TESTS("hard", a_loop_of_a_length_first_seen_at_the_call, a_convolution_is_a_loop_over_windows_and_a_product,
                     variables_swap_and_an_output_is_a_variable);
}
