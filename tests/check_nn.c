// SPDX-License-Identifier: MIT
/* Nets: optimisers against NumPy, initial values, gradients of layers and losses by differences, orders of rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "tests/verified.h"
#include "tests/golden_optim.h"
#include "tests/suite.h"

static cg_array *array(int64_t rows, int64_t columns, const float *v)
{
    return cg_array_new(CG_F32, (const int64_t[]){ rows, columns }, columns ? 2 : 1, v);
}

static const void *data_of(cg_array *a)
{
    const void *p = a ? cg_array_data(a) : NULL;
    ck_assert_msg(p != NULL, "%s", cg_last_error()->text);
    return p;
}

static void ok(int rc) { ck_assert_msg(rc == CG_OK, "%s", cg_last_error()->text); }

/* ---- optimisers */

START_TEST(optimisers_walk_as_numpys)
{
    const int k = _i;
    cg_graph *g = cg_graph_new();
    cg_net *n = cg_net_new(g, 1);
    cg_array *x = array(4, 3, fit_x), *y = array(4, 0, fit_y);
    cg_node *X = cg_shared(g, "X", x), *Y = cg_shared(g, "Y", y);
    cg_node *w = cg_net_param(n, "w", (const int64_t[]){ 3 }, 1, CG_INIT_ZEROS), *b = cg_net_param(n, "b", NULL, 0, CG_INIT_ZEROS);
    ok(cg_array_set(cg_net_find(n, "w"), fit_w, sizeof fit_w));
    ok(cg_array_set(cg_net_find(n, "b"), fit_b, sizeof fit_b));
    cg_node *loss = cg_squared_loss(cg_add(cg_matmul(X, w), b), Y, NULL);
    ok(cg_optimize(n, loss, CG_OPTIMIZER(.kind = golden_optim[k].kind, .rate = golden_optim[k].rate / 2, .l2 = golden_optim[k].l2, GOLDEN_OPTIONS)));
    ok(cg_net_set_rate(n, golden_optim[k].rate));
    int updates;
    const cg_update *to = cg_net_updates(n, &updates);
    cg_function *f = cg_compile(g, CG_SPEC(CG_OUTPUTS(loss), .updates = to, .nupdates = updates));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    for (int t = 0; t < 5; t++) {
        ok(cg_call(f, NULL, 0, NULL));
        for (int i = 0; i < 4; i++) {
            const double want = golden_optim[k].want[t][i], got = (double)(i < 3 ? (const float *)data_of(cg_net_find(n, "w")) + i : (const float *)data_of(cg_net_find(n, "b")))[0];
            ck_assert_msg(fabs(got - want) <= 2e-6 * fmax(1, fabs(want)), "%s, step %d, number %d: %.9g, not %.9g", cg_optimizer_name(golden_optim[k].kind), t + 1, i, got, want);
        }
    }
    cg_function_free(f);
    cg_net_free(n);
    cg_graph_free(g);
    cg_array_free(x);
    cg_array_free(y);
}
END_TEST

/* The corrections of Adam's step are numbers of rank 0: the loops over parameters contain no logarithm, power or exponential an element. */
START_TEST(adams_corrections_cost_no_launch)
{
    cg_graph *g = cg_graph_new();
    cg_net *n = cg_net_new(g, 1);
    cg_node *w = cg_net_param(n, "w", (const int64_t[]){ 3000 }, 1, CG_INIT_ONES);
    cg_node *loss = cg_sum(cg_square(w), CG_REDUCE());
    ok(cg_optimize(n, loss, CG_OPTIMIZER(.kind = CG_ADAM)));
    int updates;
    const cg_update *to = cg_net_updates(n, &updates);
    cg_function *f = cg_compile(g, CG_SPEC(.updates = to, .nupdates = updates));
    cg_stats s;
    ok(cg_call(f, NULL, 0, NULL));
    cg_function_stats(f, &s);
    ck_assert_int_le(s.launches, 4);             /* the gradient, m, v and w; t is the host's */
    ck_assert_int_eq(*(const int64_t *)data_of(cg_net_find(n, "t")), 1);
    cg_function_free(f);
    cg_net_free(n);
    cg_graph_free(g);
}
END_TEST

/* Two parameters, gradients (6, 0) and 8, so 10 together: a norm of 5 halves them, a norm of 20 leaves them alone. */
START_TEST(gradients_are_clipped_together)
{
    for (int k = 0; k < 2; k++) {
        cg_graph *g = cg_graph_new();
        cg_net *n = cg_net_new(g, 1);
        cg_node *a = cg_net_param(n, "a", (const int64_t[]){ 2 }, 1, CG_INIT_ZEROS), *b = cg_net_param(n, "b", NULL, 0, CG_INIT_ZEROS);
        cg_node *slope = cg_constant(g, CG_F32, CG_SHAPE(2), (const float[]){ 6, 0 }), *loss = cg_add(cg_sum(cg_mul(a, slope), CG_REDUCE()), cg_scale(b, 8));
        int updates;
        ck_assert_int_eq(cg_optimize(n, loss, CG_OPTIMIZER(.kind = CG_SGD, .clip_norm = -1)), CG_EINVAL);
        ok(cg_optimize(n, loss, CG_OPTIMIZER(.kind = CG_SGD, .rate = 1, .clip_norm = k ? 20 : 5)));
        const cg_update *to = cg_net_updates(n, &updates);
        cg_function *f = cg_compile(g, CG_SPEC(.updates = to, .nupdates = updates));
        ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
        ok(cg_call(f, NULL, 0, NULL));
        const float *v = data_of(cg_net_find(n, "a"));
        ck_assert_float_eq_tol(v[0], k ? -6 : -3, 1e-6f);
        ck_assert_float_eq(v[1], 0);
        ck_assert_float_eq_tol(*(const float *)data_of(cg_net_find(n, "b")), k ? -8 : -4, 1e-6f);
        cg_function_free(f);
        cg_net_free(n);
        cg_graph_free(g);
    }
}
END_TEST

/* ---- initial values */

START_TEST(initial_values_have_their_variance)
{
    static const struct { cg_init how; double variance; int normal; } laws[] = {
        { CG_INIT_GLOROT_UNIFORM, 2.0 / (200 + 120), 0 }, { CG_INIT_GLOROT_NORMAL, 2.0 / (200 + 120), 1 }, { CG_INIT_HE_UNIFORM, 2.0 / 200, 0 },
        { CG_INIT_HE_NORMAL, 2.0 / 200, 1 }, { CG_INIT_LECUN_UNIFORM, 1.0 / 200, 0 }, { CG_INIT_LECUN_NORMAL, 1.0 / 200, 1 },
    };
    for (size_t k = 0; k < sizeof laws / sizeof laws[0]; k++) {
        cg_array *a = cg_array_init((const int64_t[]){ 200, 120 }, 2, laws[k].how, 5), *same = cg_array_init((const int64_t[]){ 200, 120 }, 2, laws[k].how, 5);
        const float *v = data_of(a);
        const double count = 200 * 120;
        double sum = 0, squares = 0, most = 0;
        for (int i = 0; i < 200 * 120; i++) {
            sum += (double)v[i];
            squares += (double)v[i] * (double)v[i];
            most = fmax(most, fabs((double)v[i]));
        }
        ck_assert_double_le(fabs(sum / count), 4 * sqrt(laws[k].variance / count));
        ck_assert_double_le(fabs(squares / count / laws[k].variance - 1), 4 * sqrt((laws[k].normal ? 2 : 0.8) / count));
        ck_assert_int_eq(most > sqrt(3 * laws[k].variance) * (1 + 1e-6), laws[k].normal);
        ck_assert_int_eq(memcmp(v, data_of(same), sizeof(float) * 200 * 120), 0);
        cg_array_free(a);
        cg_array_free(same);
    }
    cg_array *conv = cg_array_init((const int64_t[]){ 8, 4, 3, 3 }, 4, CG_INIT_HE_UNIFORM, 5);      /* (out, in, window...) */
    for (int i = 0; i < 8 * 4 * 9; i++)
        ck_assert_double_le(fabs((double)((const float *)data_of(conv))[i]), sqrt(6.0 / 36) * (1 + 1e-6));
    cg_array_free(conv);
}
END_TEST

START_TEST(orthogonal_rows_or_columns_are_orthonormal)
{
    for (int wide = 0; wide < 2; wide++) {
        const int64_t shape[2] = { wide ? 7 : 19, wide ? 19 : 7 };
        cg_array *a = cg_array_init(shape, 2, CG_INIT_ORTHOGONAL, 3);
        const float *v = data_of(a);
        for (int i = 0; i < 7; i++)
            for (int j = 0; j < 7; j++) {
                double dot = 0;
                for (int k = 0; k < 19; k++)
                    dot += wide ? (double)v[i * 19 + k] * (double)v[j * 19 + k] : (double)v[k * 7 + i] * (double)v[k * 7 + j];
                ck_assert_double_le(fabs(dot - (i == j)), 1e-6);
            }
        cg_array_free(a);
    }
}
END_TEST

/* ---- layers */

static cg_node *(*const losses[])(cg_node *, cg_node *, const cg_loss *) = { cg_squared_loss, cg_huber_loss };

/* dense, tanh, dense, a loss: every parameter's gradient against a central difference, in f32 with a step that suits it. */
START_TEST(gradients_of_layers_are_differences)
{
    cg_graph *g = cg_graph_new();
    cg_net *n = cg_net_new(g, 4);
    cg_layer l[3];
    cg_node *grads[4], *wrt[4];
    ok(cg_layer_dense(&l[0], n, "in", 3, 5, CG_INIT_GLOROT_NORMAL));
    ok(cg_layer_function(&l[1], cg_tanh));
    ok(cg_layer_dense(&l[2], n, "out", 5, 2, CG_INIT_ORTHOGONAL));
    ck_assert_int_eq(cg_net_size(n), 3 * 5 + 5 + 5 * 2 + 2);
    ck_assert_str_eq(cg_net_name(n, 2), "out.w");
    cg_array *x = array(4, 3, fit_x), *t = array(4, 2, (const float[]){ 1, -2, 0.3f, 0.1f, -0.7f, 2, 0, 1.4f });
    cg_node *loss = losses[_i](cg_forward(l, 3, cg_shared(g, "x", x)), cg_shared(g, "t", t), NULL);
    cg_node *const params[] = { l[0].w, l[0].b, l[2].w, l[2].b };
    memcpy(wrt, params, sizeof wrt);
    ok(cg_grad(loss, wrt, 4, CG_OUT(&grads[0], &grads[1], &grads[2], &grads[3])));
    cg_function *f = cg_compile(g, CG_SPEC(CG_OUTPUTS(loss, grads[0], grads[1], grads[2], grads[3])));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *at[5], *moved[2][5];
    ok(cg_call(f, NULL, 0, at));
    for (int k = 0; k < 4; k++) {
        cg_array *p = cg_net_array(n, k);
        for (int64_t i = 0; i < cg_array_count(p); i++) {
            float v[15], kept;
            double value[2];
            memcpy(v, data_of(p), (size_t)cg_array_count(p) * sizeof *v);
            kept = v[i];
            for (int side = 0; side < 2; side++) {
                v[i] = kept + (side ? 1e-2f : -1e-2f);
                ok(cg_array_set(p, v, (size_t)cg_array_count(p) * sizeof *v));
                ok(cg_call(f, NULL, 0, moved[side]));
                value[side] = (double)*(const float *)data_of(moved[side][0]);
                for (int j = 0; j < 5; j++)
                    cg_array_free(moved[side][j]);
            }
            v[i] = kept;
            ok(cg_array_set(p, v, (size_t)cg_array_count(p) * sizeof *v));
            const double want = (value[1] - value[0]) / 2e-2, got = (double)((const float *)data_of(at[1 + k]))[i];
            ck_assert_msg(fabs(got - want) <= 2e-3 * fmax(1, fabs(want)), "%s[%d]: %g, by differences %g", cg_net_name(n, k), (int)i, got, want);
        }
    }
    for (int j = 0; j < 5; j++)
        cg_array_free(at[j]);
    cg_function_free(f);
    cg_net_free(n);
    cg_graph_free(g);
    cg_array_free(x);
    cg_array_free(t);
}
END_TEST

/* ---- rows */

START_TEST(an_order_has_every_row_once_and_is_the_seeds)
{
    int64_t a[100], b[100];
    int seen[100] = { 0 }, moved = 0;
    cg_permutation(a, 100, 1, 1);
    cg_permutation(b, 100, 1, 1);
    ck_assert_int_eq(memcmp(a, b, sizeof a), 0);
    for (int i = 0; i < 100; i++)
        seen[a[i]]++;
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(seen[i], 1);
    cg_permutation(b, 100, 1, 2);
    for (int i = 0; i < 100; i++)
        moved += a[i] != b[i];
    ck_assert_int_gt(moved, 80);
    cg_permutation(b, 100, 2, 1);
    ck_assert_int_ne(memcmp(a, b, sizeof a), 0);

    cg_array *x = array(4, 3, fit_x), *some = cg_array_rows(x, (const int64_t[]){ 3, 0 }, 2);
    ck_assert_int_eq(cg_array_shape(some)[0], 2);
    ck_assert_int_eq(memcmp(data_of(some), fit_x + 9, 3 * sizeof(float)) | memcmp((const float *)data_of(some) + 3, fit_x, 3 * sizeof(float)), 0);
    ck_assert_ptr_null(cg_array_rows(x, (const int64_t[]){ 4 }, 1));
    ck_assert_str_eq(cg_last_error()->text, "cg_array_rows: row 4 of an array with 4 rows");
    cg_array_free(some);
    cg_array_free(x);
}
END_TEST

START_TEST(a_net_says_what_is_wrong)
{
    cg_graph *g = cg_graph_new();
    cg_net *n = cg_net_new(g, 1);
    cg_node *w = cg_net_param(n, "w", (const int64_t[]){ 3 }, 1, CG_INIT_ONES);
    ck_assert_ptr_null(cg_net_param(n, "w", NULL, 0, CG_INIT_ZEROS));
    ck_assert_str_eq(cg_last_error()->text, "cg_net_param: the net has a variable named w already");
    ck_assert_ptr_null(cg_array_init(NULL, 0, (cg_init)99, 1));
    ck_assert_int_eq(cg_net_set_rate(n, 1), CG_EINVAL);
    ck_assert_int_eq(cg_optimize(n, cg_sum(w, CG_REDUCE()), CG_OPTIMIZER(.kind = (cg_optimizer_kind)99)), CG_EINVAL);
    ck_assert_int_eq(cg_optimize(n, cg_sum(w, CG_REDUCE()), CG_OPTIMIZER(.l2 = -1)), CG_EINVAL);
    ck_assert_int_eq(cg_net_average(n, 0.9), CG_EINVAL);
    ck_assert_str_eq(cg_last_error()->text, "cg_net_average: cg_optimize comes first");
    ck_assert_int_eq(cg_optimize(n, w, CG_OPTIMIZER(.kind = CG_SGD)), CG_ESHAPE);
    ck_assert_msg(strstr(cg_last_error()->text, "the cost must be a float scalar"), "%s", cg_last_error()->text);
    cg_net_free(n);
    cg_graph_free(g);
}
END_TEST

int main(void)
{
    TCase *t = TESTS("nn", adams_corrections_cost_no_launch, gradients_are_clipped_together, initial_values_have_their_variance, orthogonal_rows_or_columns_are_orthonormal,
                     an_order_has_every_row_once_and_is_the_seeds, a_net_says_what_is_wrong);
    tcase_add_loop_test(t, optimisers_walk_as_numpys, 0, (int)(sizeof golden_optim / sizeof golden_optim[0]));
    tcase_add_loop_test(t, gradients_of_layers_are_differences, 0, (int)(sizeof losses / sizeof losses[0]));
    return run_case("nn", t);
}
