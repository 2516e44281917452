// SPDX-License-Identifier: MIT
/* Creation sites, names and scopes: messages name the line of this file that built a node, also for gradients and for
 * what rewriting made of it. On the device of CG_DEVICE.
 *
 * Without libdw the messages name the program and an offset instead of file and line. */
#include <stdio.h>
#include <string.h>
#include "core/cg.h"
#include "tests/verified.h"
#include "tests/suite.h"

#define SAYS(part) ck_assert_msg(strstr(cg_last_error()->text, part) != NULL, "'%s' lacks '%s'", cg_last_error()->text, part)

/* "check_sites.c:41", or what stands for any line of it. */
static const char *line(int n)
{
    static char text[4][40];
    static int next;
    char *t = text[next++ % 4];
#ifdef CG_HAVE_LIBDW
    snprintf(t, sizeof text[0], "check_sites.c:%d", n);
#else
    snprintf(t, sizeof text[0], "check_sites%s", n < 0 ? "?" : "");
#endif
    return t;
}

START_TEST(wrong_shapes_name_the_lines)
{
    cg_graph *g = cg_graph_new();
    const int x_line = __LINE__ + 1;
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(3));
    cg_node *y = cg_input(g, "y", CG_F32, CG_SHAPE(5));
    const int bad_line = __LINE__ + 1;
    ck_assert_ptr_null(cg_add(x, y));
    SAYS(line(x_line));
    SAYS(line(x_line + 1));
    char called[80];
    snprintf(called, sizeof called, "; called at %s", line(bad_line));
    SAYS(called);
    ck_assert_str_eq(cg_graph_error(g)->text, cg_last_error()->text);
    cg_graph_free(g);
}
END_TEST

START_TEST(an_expression_built_twice_keeps_both_places_and_its_first_name)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(3)), *bad = cg_input(g, NULL, CG_F32, CG_SHAPE(5));
    const int first = __LINE__ + 1;
    cg_node *h = cg_name(cg_tanh(x), "h");
    const int second = __LINE__ + 1;
    cg_node *k = cg_name(cg_tanh(x), "k");
    ck_assert_ptr_eq(h, k);
    ck_assert_str_eq(cg_node_name(k), "h");
    cg_add(h, bad);
    char also[80];
    snprintf(also, sizeof also, ", at %s", line(first));
    SAYS(also);
    snprintf(also, sizeof also, ", also built at %s", line(second));
    SAYS(also);
    SAYS(" as k");
    for (int i = 0; i < 100; i++)        /* one line is one site, however often */
        ck_assert_ptr_eq(cg_tanh(x), h);
    cg_name(cg_add(x, x), "a");
    ck_assert_str_eq(cg_node_name(cg_name(cg_add(x, x), "b")), "a");
    cg_graph_free(g);
}
END_TEST

START_TEST(four_places_are_kept)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(3)), *bad = cg_input(g, NULL, CG_F32, CG_SHAPE(5));
    for (int i = 1; i <= 6; i++) {
        cg_at(g, "net.c", i);
        char name[] = { 'n', (char)('0' + i), 0 };
        cg_name(cg_exp(x), name);
    }
    cg_at(g, NULL, 0);
    cg_add(cg_exp(x), bad);
    SAYS("n1 (exp f32[3], at net.c:1, also built at net.c:2 as n2, also built at net.c:3 as n3, also built at net.c:4 as n4)");
    cg_graph_free(g);
}
END_TEST

START_TEST(gradients_name_what_they_are_gradients_of)
{
    cg_graph *g = cg_graph_new();
    cg_scope_push(g, "layer1");
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(3));
    const int h_line = __LINE__ + 1;
    cg_node *h = cg_name(cg_tanh(x), "h"), *d = NULL, *bad = cg_input(g, NULL, CG_F32, CG_SHAPE(5)), *dd = NULL;
    cg_scope_pop(g);
    cg_grad(cg_sum(h, CG_REDUCE()), CG_NODES(x), CG_OUT(&d));
    cg_add(d, bad);
    SAYS("gradient of layer1/h (");
    SAYS(line(h_line));
    cg_graph_clear_error(g);
    cg_node *y = cg_input(g, "y", CG_F32, CG_SHAPE(3)), *p = cg_name(cg_mul(x, y), "p");
    cg_grad(cg_sum(p, CG_REDUCE()), CG_NODES(x), CG_OUT(&d));
    cg_grad(cg_sum(cg_square(d), CG_REDUCE()), CG_NODES(y), CG_OUT(&dd));
    cg_add(dd, bad);
    SAYS("gradient of gradient of p (");
    cg_graph_clear_error(g);
    const int grad_line = __LINE__ + 1;
    cg_grad(cg_tanh(x), CG_NODES(x), CG_OUT(&d));
    SAYS("cg_grad: ");
    SAYS(line(grad_line));
    cg_graph_clear_error(g);
    cg_scope_pop(g);
    SAYS("no scope is open");
    cg_graph_free(g);
}
END_TEST

/* ---- poisoned expressions */

static void says_of(const cg_graph *g, int i, const char *what, int at)
{
    const cg_error *e = cg_graph_error_at(g, i);
    char called[80];
    snprintf(called, sizeof called, "; called at %s", line(at));
    ck_assert_msg(e && strstr(e->text, what) && strstr(e->text, called), "%d: '%s' lacks '%s' or '%s'", i, e ? e->text : "", what, called);
}

START_TEST(all_that_is_wrong_is_told_and_nothing_that_follows)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(3)), *y = cg_input(g, "y", CG_F32, CG_SHAPE(5)), *part = x, *d;
    const int at = __LINE__;
    cg_node *a = cg_add(x, y);
    cg_node *b = cg_matmul(x, y);
    cg_node *follows = cg_tanh(cg_add(cg_mul(a, b), x)), *whole = cg_sum(follows, CG_REDUCE());
    cg_node *c = cg_reshape(x, CG_SHAPE(2, 2));
    ck_assert_int_lt(cg_grad(whole, CG_NODES(x), CG_OUT(&d)), 0);
    ck_assert_int_lt(cg_split(follows, 0, CG_OUT(&part, &d)), 0);
    cg_scan *s = cg_scan_begin(g, CG_SCAN());
    cg_node *h = cg_scan_state(s, follows);
    cg_scan_next(s, h, cg_add(h, cg_scan_seq(s, c)));
    cg_scan_out(s, h, CG_SCAN_LAST);
    cg_scan_end(s, CG_OUT(&h));
    for (int again = 0; again < 3; again++)
        cg_sub(x, y);
    ck_assert(!a && !b && !follows && !c && !d && !part && !h);
    ck_assert_int_eq(cg_graph_error_count(g), 4);
    says_of(g, 0, "cg_add: cannot broadcast x (input f32[3]", at + 1);
    says_of(g, 1, "cg_matmul: ", at + 2);
    says_of(g, 2, "cg_reshape: x (input f32[3]", at + 4);
    says_of(g, 3, "cg_sub: cannot broadcast x", at + 13);
    ck_assert_ptr_null(cg_graph_error_at(g, 4));
    ck_assert_ptr_eq(cg_graph_error(g), cg_graph_error_at(g, 0));
    ck_assert_ptr_null(cg_compile(g, CG_SPEC(CG_INPUTS(x, y), CG_OUTPUTS(whole, c))));
    ck_assert_int_eq(cg_last_error()->code, cg_graph_error(g)->code);
    const char *text = cg_last_error()->text;
    for (int i = 0; i < 4; i++, text += strcspn(text, "\n"), text += *text == '\n')
        ck_assert_msg(strncmp(text, cg_graph_error_at(g, i)->text, strlen(cg_graph_error_at(g, i)->text)) == 0, "line %d: %s", i, text);
    ck_assert_str_eq(text, "");
    cg_graph_clear_error(g);
    ck_assert(!cg_graph_error(g) && !cg_graph_error_at(g, 0) && !cg_graph_error_at(g, 1) && cg_graph_error_count(g) == 0);
    cg_function *f = cg_compile(g, CG_SPEC(CG_INPUTS(x), CG_OUTPUTS(cg_tanh(x))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

START_TEST(too_many_errors_are_counted)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(3));
    for (int i = 1; i <= 20; i++) {
        cg_at(g, "net.c", i);
        cg_dim(x, i);
    }
    cg_at(g, NULL, 0);
    ck_assert_int_eq(cg_graph_error_count(g), 20);
    ck_assert_ptr_nonnull(strstr(cg_graph_error_at(g, 15)->text, "has no axis 16; called at net.c:16"));
    ck_assert_ptr_null(cg_graph_error_at(g, 16));
    ck_assert_ptr_null(cg_compile(g, CG_SPEC(CG_INPUTS(x), CG_OUTPUTS(x))));
    const char *text = cg_last_error()->text, *end = strstr(text, "\nand ");
    int told = 1, left = 0;
    for (const char *at = text; (at = strchr(at, '\n')) && at < end; at++)
        told++;
    ck_assert_msg(end && sscanf(end, "\nand %d more", &left) == 1 && told + left == 20 && told > 8, "%s", text);
    cg_graph_free(g);
}
END_TEST

/* A function of the user that builds for its caller. */
__attribute__((noinline)) static cg_node *twice(cg_node *x)
{
    CG_BUILDER(cg_node_graph(x));
    return cg_add(x, cg_exp(x));
}

START_TEST(wrappers_and_nets_belong_to_their_callers)
{
    cg_graph *g = cg_graph_new();
    cg_net *n = cg_net_new(g, 1);
    cg_layer dense;
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(2, 3)), *bad = cg_input(g, NULL, CG_F32, CG_SHAPE(5)), *y = NULL;
    const int twice_line = __LINE__ + 1;
    y = twice(x);
    cg_add(y, bad);
    SAYS(line(twice_line));
    cg_graph_clear_error(g);
    const int layer_line = __LINE__ + 1;
    ck_assert_int_eq(cg_layer_dense(&dense, n, "dense1", 4, 2, CG_INIT_ZEROS), CG_OK);
    const int forward_line = __LINE__ + 1;
    ck_assert_ptr_null(cg_forward(&dense, 1, x));
    SAYS("dense1.w (shared f32[4,2], at ");
    SAYS(line(layer_line));
    SAYS(line(forward_line));
    cg_graph_clear_error(g);
    const int loss_line = __LINE__ + 1;
    cg_node *loss = cg_squared_loss(y, x, NULL);
    cg_matmul(loss, bad);
    SAYS(line(loss_line));
    cg_net_free(n);
    cg_graph_free(g);
}
END_TEST

START_TEST(errors_of_a_call_name_the_lines_after_rewriting)
{
    cg_graph *g = cg_graph_new();
    const int64_t far[2] = { 0, 7 };
    cg_array *w = cg_array_new(CG_F32, (const int64_t[]){ 3 }, 1, NULL), *index = cg_array_new(CG_I64, (const int64_t[]){ 2 }, 1, far), *out = NULL;
    cg_array *three = cg_array_new(CG_F32, (const int64_t[]){ 3 }, 1, NULL), *four = cg_array_new(CG_F32, (const int64_t[]){ 4 }, 1, NULL);
    cg_node *W = cg_shared(g, "W", w), *i = cg_input(g, "i", CG_I64, CG_SHAPE(CG_ANY));
    cg_scope_push(g, "net");
    cg_scope_push(g, "rows");
    const int take_line = __LINE__ + 1;
    cg_node *rows = cg_name(cg_take(W, i), "picked");
    cg_scope_pop(g);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(i), CG_OUTPUTS(rows)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    if (cg_call(f, CG_ARRAYS(index), &out) == CG_OK)         /* a device that runs calls later tells when it is asked */
        ck_assert_int_eq(cg_device_wait(cg_device_open(NULL)), CG_ERUNTIME);
    cg_array_free(out);
    out = NULL;
    SAYS("net/rows/picked (take ");
    SAYS(line(take_line));
    char *plan = cg_function_show(f, CG_STAGE_PLAN);
    ck_assert_msg(strstr(plan, "net/rows/picked (take ") != NULL, "%s", plan);
    cg_text_free(plan);
    cg_function_free(f);
    cg_scope_pop(g);
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY)), *y = cg_input(g, "y", CG_F32, CG_SHAPE(CG_ANY));
    const int log_line = __LINE__ + 1;       /* rewritten to softplus */
    cg_node *s = cg_name(cg_log(cg_add(cg_scalar(g, CG_F32, 1), cg_exp(cg_add(x, y)))), "s");
    f = cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(x, y), CG_OUTPUTS(s)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    plan = cg_function_show(f, CG_STAGE_PLAN);
    ck_assert_msg(strstr(plan, "s (softplus ") != NULL, "%s", plan);
    cg_text_free(plan);
    ck_assert_int_eq(cg_call(f, CG_ARRAYS(three, four), &out), CG_ESHAPE);
    SAYS("'f': sizes ");
    SAYS(line(log_line));
    cg_function_free(f);
    cg_graph_free(g);
    cg_array *all[] = { w, index, three, four };
    for (int k = 0; k < 4; k++)
        cg_array_free(all[k]);
}
END_TEST

int main(void)
{
    return RUN_TESTS("sites", wrong_shapes_name_the_lines, an_expression_built_twice_keeps_both_places_and_its_first_name, four_places_are_kept,
                     gradients_name_what_they_are_gradients_of, all_that_is_wrong_is_told_and_nothing_that_follows, too_many_errors_are_counted,
                     wrappers_and_nets_belong_to_their_callers, errors_of_a_call_name_the_lines_after_rewriting);
}
