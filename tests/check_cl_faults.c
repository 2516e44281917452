// SPDX-License-Identifier: MIT
/* OpenCL's calls fail one after the other (cl_layer.c) while a small classifier is compiled and trained: each failure is a sentence with the
 * call and its code, shared variables hold what some number of whole calls left or say that they are poisoned, training again from the start
 * gives the right bits, and no CL object is left. */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "tests/cl_faults.h"

cl_faults cl_fault;

enum { CALLS = 3, IN = 4, OUT = 3, ROWS = 5 };
typedef struct state { float W[IN * OUT], b[OUT]; } state;
typedef struct model { cg_graph *g; cg_array *W, *b, *x, *y; cg_function *f; } model;

static void arm(long fail_at, bool sticky, long async_at)
{
    const long live = cl_fault.live;
    cl_fault = (cl_faults){ .fail_at = fail_at, .sticky = sticky, .async_at = async_at, .live = live };
}

/* ---- the model */

static void reset(model *m)
{
    state s;
    for (int i = 0; i < IN * OUT; i++)
        s.W[i] = (float)(i % 5) * 0.1f - 0.2f;
    memset(s.b, 0, sizeof s.b);
    ck_assert_int_eq(cg_array_set(m->W, s.W, sizeof s.W), CG_OK);
    ck_assert_int_eq(cg_array_set(m->b, s.b, sizeof s.b), CG_OK);
}

static void open_model(model *m)
{
    float x[ROWS * IN];
    const int64_t y[ROWS] = { 0, 1, 2, 1, 0 };
    for (int i = 0; i < ROWS * IN; i++)
        x[i] = (float)(i % 7) * 0.3f - 1;
    *m = (model){ .g = cg_graph_new(), .W = cg_array_new(CG_F32, CG_SHAPE(IN, OUT), NULL), .b = cg_array_new(CG_F32, CG_SHAPE(OUT), NULL),
                  .x = cg_array_new(CG_F32, CG_SHAPE(ROWS, IN), x), .y = cg_array_new(CG_I64, CG_SHAPE(ROWS), y) };
    reset(m);
}

static int compile(model *m)
{
    cg_node *x = cg_input(m->g, "x", CG_F32, CG_SHAPE(CG_ANY, IN)), *y = cg_input(m->g, "y", CG_I64, CG_SHAPE(CG_ANY)), *dW, *db;
    cg_node *W = cg_shared(m->g, "W", m->W), *b = cg_shared(m->g, "b", m->b);
    cg_node *loss = cg_mean(cg_cross_entropy(cg_add(cg_matmul(x, W), b), y), CG_REDUCE());
    ck_assert_int_eq(cg_grad(loss, CG_NODES(W, b), CG_OUT(&dW, &db)), CG_OK);
    m->f = cg_compile(m->g, CG_SPEC(.name = "train", CG_INPUTS(x, y), CG_OUTPUTS(loss), CG_UPDATES({ W, cg_sub(W, cg_scale(dW, 0.5)) }, { b, cg_sub(b, cg_scale(db, 0.5)) })));
    return m->f ? CG_OK : cg_last_error()->code;
}

static void close_model(model *m)
{
    cg_function_free(m->f);
    cg_graph_free(m->g);
    cg_array_free(m->W);
    cg_array_free(m->b);
    cg_array_free(m->x);
    cg_array_free(m->y);
}

static bool look(const model *m, state *s)
{
    const float *W = cg_array_data(m->W), *b = W ? cg_array_data(m->b) : NULL;
    if (!b)
        return false;
    memcpy(s->W, W, sizeof s->W);
    memcpy(s->b, b, sizeof s->b);
    return true;
}

/* Compiles if need be, trains, reads; the first failure stops it. after[k]: the variables after k calls (may be NULL). */
static int train(model *m, state *after)
{
    int rc = m->f ? CG_OK : compile(m);
    for (int k = 0; k < CALLS && rc == CG_OK; k++) {
        cg_array *loss = NULL;
        rc = cg_call(m->f, CG_ARRAYS(m->x, m->y), &loss);
        if (rc == CG_OK && k % 2 && !cg_array_data(loss))        /* some losses are read, so that calls overlap too */
            rc = cg_last_error()->code;
        cg_array_free(loss);
        if (rc == CG_OK && after)
            look(m, &after[k + 1]);
    }
    state end;
    return rc == CG_OK && !look(m, &end) ? (int)cg_last_error()->code : rc;
}

/* ---- what must hold after a failure */

static void is_a_clean_sentence(int rc, long n)
{
    char code[16];
    snprintf(code, sizeof code, "(%d)", (int)cl_fault.code);
    const char *text = cg_last_error()->text;
    ck_assert_int_eq(rc, cg_last_error()->code);
    ck_assert_msg(strstr(text, cl_fault.failed) && strstr(text, code), "%ld: %s %s gives: %s", n, cl_fault.failed, code, text);
}

static void holds_whole_calls(const model *m, const state *after, long n)
{
    state s;
    bool found = false;
    if (!look(m, &s)) {
        ck_assert_msg(strstr(cg_last_error()->text, "poisoned") != NULL, "%ld: %s", n, cg_last_error()->text);
        return;
    }
    for (int k = 0; k <= CALLS; k++)
        found = found || memcmp(&s, &after[k], sizeof s) == 0;
    ck_assert_msg(found, "%ld: the variables are a mixture after %s", n, cl_fault.failed ? cl_fault.failed : "a late failure");
}

static void trains_again(model *m, const state *after, long n)
{
    state end = { .b = { 0 } };
    reset(m);
    if (cg_device_wait(cg_device_open(NULL)) < 0)
        reset(m);
    const int rc = train(m, NULL);
    ck_assert_msg(rc == CG_OK, "%ld: training again says %s", n, cg_last_error()->text);
    ck_assert(look(m, &end));
    ck_assert_msg(memcmp(&end, &after[CALLS], sizeof end) == 0, "%ld: training again gives other bits", n);
}

static state reference[CALLS + 1];

static void learn_reference(void)
{
    model m;
    open_model(&m);
    look(&m, &reference[0]);
    ck_assert_msg(train(&m, reference) == CG_OK, "%s", cg_last_error()->text);
    close_model(&m);
    cg_shutdown();
    ck_assert_int_eq(cl_fault.live, 0);
}

/* One failure; true if there was one to be had. */
static bool one(long fail_at, bool sticky, long async_at)
{
    model m;
    ck_assert_msg(cg_device_open(NULL) != NULL, "%s", cg_last_error()->text);
    open_model(&m);
    arm(fail_at, sticky, async_at);
    const int rc = train(&m, NULL);
    const bool done = fail_at ? cl_fault.calls < fail_at : cl_fault.launches < async_at;
    if (done)
        ck_assert_msg(rc == CG_OK, "%s", cg_last_error()->text);
    else if (fail_at)
        is_a_clean_sentence(rc, fail_at);
    else
        ck_assert_int_eq(rc, CG_EDEVICE);
    cl_fault.fail_at = cl_fault.async_at = 0;
    holds_whole_calls(&m, reference, fail_at + async_at);
    trains_again(&m, reference, fail_at + async_at);
    close_model(&m);
    cg_shutdown();
    ck_assert_msg(cl_fault.live == 0, "%ld: %ld CL objects are left", fail_at + async_at, cl_fault.live);
    return !done;
}

START_TEST(each_call_fails_once)
{
    long n = 1;
    while (one(n, false, 0))
        n++;
    ck_assert_int_gt(n, 40);
}
END_TEST

START_TEST(each_call_fails_for_ever)
{
    for (long n = 1; one(n, true, 0); n++)
        ;
}
END_TEST

START_TEST(each_launch_fails_late)
{
    for (long n = 1; one(0, false, n); n++)
        ;
}
END_TEST

/* While a device is opened: an error, or a device. */
START_TEST(opening_fails_cleanly)
{
    for (long n = 1, done = 0; !done; n++) {
        arm(n, false, 0);
        const cg_device *d = cg_device_open(NULL);
        done = cl_fault.calls < n;
        ck_assert_msg(d || strstr(cg_last_error()->text, cl_fault.failed), "%s", cg_last_error()->text);
        arm(0, false, 0);
        cg_shutdown();
        ck_assert_int_eq(cl_fault.live, 0);
    }
}
END_TEST

START_TEST(a_failed_build_shows_its_log)
{
    model m;
    ck_assert_ptr_nonnull(cg_device_open(NULL));
    open_model(&m);
    for (long n = 1; !m.f && cl_fault.code != -11; n++) {
        arm(n, false, 0);
        compile(&m);
    }
    ck_assert_int_eq(cg_last_error()->code, CG_EBUILD);
    ck_assert_msg(strstr(cg_last_error()->text, "error: %s %n is no type") != NULL, "%s", cg_last_error()->text);
    arm(0, false, 0);
    trains_again(&m, reference, 0);
    close_model(&m);
    cg_shutdown();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cl_faults");
    TCase *t = tcase_create("cl_faults");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, learn_reference, NULL);
    tcase_add_test(t, each_call_fails_once);
    tcase_add_test(t, each_call_fails_for_ever);
    tcase_add_test(t, each_launch_fails_late);
    tcase_add_test(t, opening_fails_cleanly);
    tcase_add_test(t, a_failed_build_shows_its_log);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
