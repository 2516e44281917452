// SPDX-License-Identifier: MIT
/* OpenCL's calls fail one after the other (cl_layer.c) while a small classifier is compiled and trained: each failure is a sentence with the
 * call and its code, shared variables hold what some number of whole calls left or say that they are poisoned, training again from the start
 * gives the right bits, and no CL object is left. And a device that says it has no f64. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/base/base.h"
#include "tests/cl_faults.h"
#include "tests/suite.h"

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

/* ---- a device without f64 */

static cg_device *open_without_f64(void)
{
    cg_shutdown();
    arm(0, false, 0);
    cl_fault.no_f64 = 1;
    cg_device *d = cg_device_open(NULL);
    ck_assert_msg(d != NULL, "%s", cg_last_error()->text);
    return d;
}

static void close_it(void)
{
    cg_shutdown();
    ck_assert_int_eq(cl_fault.live, 0);
    cl_fault.no_f64 = 0;
}

/* Each kind of step; the sentence comes from cg_compile and names function, node and device. */
START_TEST(f64_is_refused_by_name)
{
    const cg_device *d = open_without_f64();
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F64, CG_SHAPE(3, 3)), *h = cg_input(g, "h", CG_F32, CG_SHAPE(3, 3)), *i = cg_input(g, "i", CG_I64, CG_SHAPE(3));
    const struct { cg_node *y; const char *says; } rows[] = {
        { cg_name(cg_exp(x), "y1"), "y1 (exp f64[3,3])" }, { cg_name(cg_matmul(x, x), "y2"), "y2 (matmul f64[3,3])" }, { cg_name(cg_cast(h, CG_F64), "y3"), "y3 (cast f64[3,3])" },
        { cg_name(cg_sum(x, CG_REDUCE()), "y4"), "y4 (sum f64[])" }, { cg_scatter_add(x, i, x), "x (input f64[3,3])" }, { cg_name(cg_cast(cg_scale(x, 2), CG_F32), "y6"), "y6 (cast f32[3,3])" },
    };
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        const char *text = cg_last_error()->text;
        ck_assert_ptr_null(cg_compile(g, CG_SPEC(.name = "wide", CG_INPUTS(x, h, i), CG_OUTPUTS(rows[k].y), .unused = CG_UNUSED_IGNORE)));
        ck_assert_int_eq(cg_last_error()->code, CG_EUNSUPPORTED);
        ck_assert_msg(strstr(text, "cg_compile: 'wide': opencl: ") && strstr(text, cg_device_name(d)) && strstr(text, " has no f64, in which ") &&
                      strstr(text, rows[k].says) && strstr(text, "use f32, or CG_DEVICE=cpu"), "%s: %s", rows[k].says, text);
    }
    cg_graph_free(g);
    close_it();
}
END_TEST

/* Training gives the same bits, and f64 may pass through. */
START_TEST(all_else_works_without_f64)
{
    model m;
    state s;
    const double values[2] = { 1.5, -2 };
    open_without_f64();
    open_model(&m);
    ck_assert_msg(train(&m, NULL) == CG_OK && look(&m, &s), "%s", cg_last_error()->text);
    ck_assert(memcmp(&s, &reference[CALLS], sizeof s) == 0);
    cg_node *x = cg_input(m.g, "x64", CG_F64, CG_SHAPE(2)), *count = cg_scalar(m.g, CG_I64, 2), *h = cg_input(m.g, "x16", CG_F16, CG_SHAPE(2));
    cg_function *f = cg_compile(m.g, CG_SPEC(.name = "pass", CG_INPUTS(x, h), CG_OUTPUTS(x, cg_cast(cg_exp(h), CG_BF16), cg_normal(CG_RANDOM(count, 7), CG_F32, CG_NODES(count)))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *a = cg_array_new(CG_F64, CG_SHAPE(2), values), *b = cg_array_new(CG_F16, CG_SHAPE(2), NULL), *out[3];
    ck_assert_msg(cg_call(f, CG_ARRAYS(a, b), out) == CG_OK, "%s", cg_last_error()->text);
    ck_assert(memcmp(cg_array_data(out[0]), values, sizeof values) == 0);
    ck_assert_int_eq(((const uint16_t *)cg_array_data(out[1]))[0], 0x3f80);
    for (int i = 0; i < 3; i++)
        cg_array_free(out[i]);
    cg_array_free(a);
    cg_array_free(b);
    cg_function_free(f);
    close_model(&m);
    close_it();
}
END_TEST

/* Every elementwise operation of every other dtype that has it builds. */
START_TEST(no_operation_needs_f64_for_another_dtype)
{
    open_without_f64();
    for (int t = 0; t < CG_DTYPE_COUNT; t++) {
        cg_graph *g = cg_graph_new();
        cg_node *x[3], *y[CG_EL_COUNT];
        int n = 0;
        for (int i = 0; i < 3; i++)
            x[i] = cg_input(g, i == 0 ? "a" : i == 1 ? "b" : "c", (cg_dtype)t, CG_SHAPE(4));
        for (int k = 0; k < CG_EL_COUNT && t != CG_F64; k++) {
            char text[64];
            snprintf(text, sizeof text, "(%s%.*s)", cg__elems[k].name, 2 * cg__elems[k].arity, " a b c");
            y[n] = cg_read(g, text, x, 3);
            n += y[n] != NULL;
            cg_graph_clear_error(g);
        }
        cg_function *f = n ? cg_compile(g, CG_SPEC(.name = "all", .inputs = x, .ninputs = 3, .outputs = y, .noutputs = n, .unused = CG_UNUSED_IGNORE)) : NULL;
        ck_assert_msg(f || !n, "%s: %s", cg_dtype_name((cg_dtype)t), cg_last_error()->text);
        cg_function_free(f);
        cg_graph_free(g);
    }
    close_it();
}
END_TEST

int main(void)
{
    TCase *t = TESTS("cl_faults", each_call_fails_once, each_call_fails_for_ever, each_launch_fails_late, opening_fails_cleanly,
                     a_failed_build_shows_its_log, f64_is_refused_by_name, all_else_works_without_f64, no_operation_needs_f64_for_another_dtype);
    tcase_add_unchecked_fixture(t, learn_reference, NULL);
    return run_case("cl_faults", t);
}
