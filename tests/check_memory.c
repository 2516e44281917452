// SPDX-License-Identifier: MIT
/* Memory runs out: by a limit or really. What the sentence says, that nothing has changed, that the same call works when there is room;
 * and that a plan's peak is what a call takes. On the device of CG_DEVICE. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/base/base.h"

enum { IN = 256, HIDDEN = 512, ROWS = 128, KIB = 1024 };

static cg_device *device(void)
{
    cg_device *d = cg_device_open(NULL);
    ck_assert_msg(d != NULL, "%s", cg_last_error()->text);
    return d;
}

static cg_memory memory(void)
{
    cg_memory m;
    cg_device_memory(device(), &m);
    return m;
}

static void limit(size_t bytes) { ck_assert_int_eq(cg_device_limit(device(), bytes), CG_OK); }

static cg_array *filled(int64_t rows, int64_t cols)
{
    cg_array *a = cg_array_new(CG_F32, CG_SHAPE(rows, cols), NULL);
    float *p = (float *)(uintptr_t)cg_array_data(a);
    for (int64_t i = 0; i < rows * cols; i++)
        p[i] = (float)(i % 13) / 16 - 0.375f;
    return a;
}

/* Every part of a list, separated by '|', stands in the last error's text. */
static void says(const char *parts)
{
    char part[200];
    for (const char *at = parts; *at; at += strspn(at, "|")) {
        const size_t n = strcspn(at, "|");
        snprintf(part, sizeof part, "%.*s", (int)n, at);
        ck_assert_msg(strstr(cg_last_error()->text, part) != NULL, "'%s' is not in: %s", part, cg_last_error()->text);
        at += n;
    }
}

/* ---- a layer that is trained: x (rows, 256), W (256, 512), h = relu(x W), W moves */

typedef struct layer { cg_graph *g; cg_array *w, *x; cg_function *step; } layer;

static void open_layer(layer *m, int64_t rows)
{
    cg_shutdown();
    *m = (layer){ .g = cg_graph_new(), .w = filled(IN, HIDDEN), .x = filled(rows, IN) };
    cg_node *x = cg_input(m->g, "x", CG_F32, CG_SHAPE(CG_ANY, IN)), *W = cg_shared(m->g, "W", m->w), *dW;
    cg_node *h = cg_name(cg_relu(cg_matmul(x, W)), "h"), *loss = cg_name(cg_mean(cg_square(h), CG_REDUCE()), "loss");
    ck_assert_int_eq(cg_grad(loss, CG_NODES(W), CG_OUT(&dW)), CG_OK);
    m->step = cg_compile(m->g, CG_SPEC(.name = "step", CG_INPUTS(x), CG_OUTPUTS(loss, h), CG_UPDATES({ W, cg_sub(W, dW) })));
    ck_assert_msg(m->step != NULL, "%s", cg_last_error()->text);
}

static void close_layer(layer *m)
{
    cg_function_free(m->step);
    cg_graph_free(m->g);
    cg_array_free(m->w);
    cg_array_free(m->x);
    cg_shutdown();
}

static uint64_t bits(cg_array *a)
{
    const void *p = cg_array_data(a);
    ck_assert_msg(p != NULL, "%s", cg_last_error()->text);
    return cg__hash(p, (size_t)cg_array_count(a) * cg_dtype_bytes(cg_array_dtype(a)), 0);
}

/* A step: its status; what it gave and left is hashed into result (optional). */
static int step(layer *m, uint64_t *result)
{
    cg_array *out[2] = { NULL, NULL };
    const int rc = cg_call(m->step, CG_ARRAYS(m->x), out);
    if (rc == CG_OK && result)
        *result = bits(out[0]) ^ bits(out[1]) * 3 ^ bits(m->w) * 5;
    for (int i = 0; i < 2; i++)
        cg_array_free(out[i]);
    return rc;
}

static uint64_t without_limit(void)
{
    layer m;
    uint64_t result = 0;
    open_layer(&m, ROWS);
    ck_assert_int_eq(step(&m, &result), CG_OK);
    close_layer(&m);
    return result;
}

/* What a step of ROWS rows needs, in the order in which it is taken: x 128 KiB, W 512 KiB, then outputs, the arena and the new W. */
START_TEST(what_does_not_fit_is_told_by_name)
{
    static const struct { size_t kib; const char *says; } rows[] = {
        { 100, "cg_call: 'step'|has no room for input x (input f32[|,256]), 128.0 KiB: 0 bytes are held of the 100.0 KiB that CG_MEM_LIMIT" },
        { 600, "cg_call: 'step'|has no room for shared variable W (shared f32[256,512]), 512.0 KiB: 128.0 KiB are held of the 600.0 KiB|The largest: input x (input|) 128.0 KiB" },
        { 800, "cg_call: 'step'|are held of the 800.0 KiB|The largest: shared variable W (shared f32[256,512]) 512.0 KiB|The arena is fullest with |gradient of h" },
        { 1600, "has no room for |The largest: |The arena is fullest with " },
    };
    const uint64_t want = without_limit();
    for (int i = 0; i < CG_LEN(rows); i++) {
        layer m;
        uint64_t got = 0;
        open_layer(&m, ROWS);
        const uint64_t before = bits(m.w);
        limit(rows[i].kib * KIB);
        ck_assert_int_eq(step(&m, NULL), CG_ENOMEM);
        ck_assert_int_eq(cg_last_error()->code, CG_ENOMEM);
        says(rows[i].says);
        says("free arrays and functions, use smaller inputs, or raise the limit");
        says(cg_device_name(device()));
        ck_assert_uint_le(memory().held + memory().idle, rows[i].kib * KIB);
        ck_assert(bits(m.w) == before);
        limit(0);
        ck_assert_msg(step(&m, &got) == CG_OK, "%s", cg_last_error()->text);
        ck_assert_msg(got == want, "%zu KiB: other bits after the limit was raised", rows[i].kib);
        close_layer(&m);
    }
}
END_TEST

/* With a limit of the peak the step fits, with 128 bytes less it does not; freeing arrays makes room too. */
START_TEST(the_peak_is_the_least_limit_that_fits)
{
    layer m;
    cg_stats s;
    const uint64_t want = without_limit();
    uint64_t got = 0;
    open_layer(&m, ROWS);
    ck_assert_int_eq(cg_function_plan(m.step, (const int64_t[]){ ROWS }, 1), CG_OK);
    cg_function_stats(m.step, &s);
    ck_assert_int_eq(s.calls, 0);
    limit((size_t)s.peak_bytes - 128);
    ck_assert_int_eq(step(&m, NULL), CG_ENOMEM);
    limit((size_t)s.peak_bytes);
    ck_assert_msg(step(&m, &got) == CG_OK, "%s", cg_last_error()->text);
    ck_assert(got == want);
    ck_assert_uint_eq(memory().most, (size_t)s.peak_bytes);

    cg_array *kept[2] = { NULL, NULL };
    ck_assert_msg(cg_call(m.step, CG_ARRAYS(m.x), kept) == CG_OK, "%s", cg_last_error()->text);
    ck_assert_int_eq(step(&m, NULL), CG_ENOMEM);
    says("output h (relu f32[|) 256.0 KiB");             /* which the program still holds */
    cg_array_free(kept[0]);
    cg_array_free(kept[1]);
    ck_assert_msg(step(&m, NULL) == CG_OK, "%s", cg_last_error()->text);
    close_layer(&m);
}
END_TEST

START_TEST(idle_buffers_are_given_back_before_a_call_fails)
{
    layer m;
    cg_stats s;
    open_layer(&m, ROWS);
    ck_assert_int_eq(step(&m, NULL), CG_OK);
    ck_assert_int_eq(cg_function_plan(m.step, (const int64_t[]){ ROWS + 8 }, 1), CG_OK);
    cg_function_stats(m.step, &s);
    cg_array_free(m.x);
    m.x = filled(ROWS + 8, IN);          /* no idle buffer has its sizes */
    ck_assert_uint_gt(memory().idle, 0);
    limit((size_t)s.peak_bytes);
    ck_assert_msg(step(&m, NULL) == CG_OK, "%s", cg_last_error()->text);
    ck_assert_uint_le(memory().held + memory().idle, (size_t)s.peak_bytes);
    const size_t held = memory().held;
    limit(1);                            /* nothing idle stays; what is in use does */
    ck_assert_uint_eq(memory().idle, 0);
    ck_assert_uint_eq(memory().held, held);
    close_layer(&m);
}
END_TEST

/* The device refuses, once, while there are idle buffers: with them given back the call may work. */
START_TEST(idle_buffers_are_given_back_to_a_device_without_memory)
{
    int saved = 0;
    for (long n = 1, more = 1; more; n++) {
        layer m;
        open_layer(&m, 8);
        ck_assert_int_eq(step(&m, NULL), CG_OK);
        cg_array_free(m.x);
        m.x = filled(9, IN);
        cg__alloc_fail_at(n, false);
        const int rc = step(&m, NULL);
        more = cg__alloc_calls() >= n;
        cg__alloc_fail_at(0, false);
        saved += more && rc == CG_OK;
        ck_assert_msg(rc == CG_OK || rc == CG_ENOMEM, "%ld: %s", n, cg_last_error()->text);
        ck_assert_msg(step(&m, NULL) == CG_OK, "%ld: %s", n, cg_last_error()->text);
        close_layer(&m);
    }
    ck_assert_int_gt(saved, 0);
}
END_TEST

/* 2^23 rows of 2^23 numbers: more than addresses reach. */
START_TEST(more_than_there_is_is_told)
{
    const int64_t many = (int64_t)1 << 23, few = 3;
    const float two = 2;
    cg_shutdown();
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE()), *n = cg_input(g, "n", CG_I64, CG_SHAPE());
    cg_function *f = cg_compile(g, CG_SPEC(.name = "wide", CG_INPUTS(x, n), CG_OUTPUTS(cg_name(cg_broadcast_to(x, (cg_node *[]){ n, n }, 2), "sheet"))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *a = cg_array_new(CG_F32, NULL, 0, &two), *size = cg_array_new(CG_I64, NULL, 0, &many), *out = NULL;
    ck_assert_int_eq(cg_call(f, CG_ARRAYS(a, size), &out), CG_ENOMEM);
    says("cg_call: 'wide'|has no room for output sheet (broadcast_to f32[|256.0 TiB: 128 bytes are held, and |free arrays and functions, or use smaller inputs. The largest: input x");
    ck_assert_int_eq(cg_array_set(size, &few, sizeof few), CG_OK);
    ck_assert_msg(cg_call(f, CG_ARRAYS(a, size), &out) == CG_OK, "%s", cg_last_error()->text);
    ck_assert_float_eq(((const float *)cg_array_data(out))[8], 2);
    cg_array_free(out);
    cg_array_free(a);
    cg_array_free(size);
    cg_function_free(f);
    cg_graph_free(g);
    cg_shutdown();
}
END_TEST

/* ---- plans tell their peak */

static char *plan_of(cg_function *f)
{
    char *text = cg_function_show(f, CG_STAGE_PLAN);
    ck_assert_msg(text != NULL, "%s", cg_last_error()->text);
    return text;
}

START_TEST(a_plan_tells_its_peak_for_given_sizes)
{
    layer m;
    char want[100];
    cg_stats s;
    open_layer(&m, ROWS);
    char *text = plan_of(m.step);
    ck_assert_msg(strstr(text, "; peak memory: known once there are sizes") != NULL, "%s", text);
    cg_text_free(text);
    ck_assert_int_eq(cg_function_plan(m.step, (const int64_t[]){ 64 }, 1), CG_OK);
    cg_function_stats(m.step, &s);
    text = plan_of(m.step);
    snprintf(want, sizeof want, "; peak memory %lld bytes: inputs 64.0 KiB, shared variables 512.0 KiB, constants 0 bytes, outputs", (long long)s.peak_bytes);
    ck_assert_msg(strstr(text, want) && strstr(text, " = 64\n") && strstr(text, "; the arena is fullest in step "), "no '%s' in %s", want, text);
    cg_text_free(text);

    ck_assert_int_eq(cg_function_plan(m.step, NULL, 0), CG_EINVAL);
    says("cg_function_plan: 'step' has 1 free sizes, got 0");
    ck_assert_int_eq(cg_function_plan(m.step, (const int64_t[]){ -2 }, 1), CG_ESHAPE);
    says("size -2 for axis 0 of x");
    ck_assert_int_eq(cg_function_plan(m.step, (const int64_t[]){ 64 }, 1), CG_OK);
    ck_assert_int_eq(step(&m, NULL), CG_OK);             /* of other sizes */
    cg_function_stats(m.step, &s);
    ck_assert_uint_eq(memory().most, (size_t)s.peak_bytes);
    close_layer(&m);
}
END_TEST

/* Without free sizes it needs neither a call nor sizes. */
START_TEST(a_plan_of_known_sizes_tells_its_peak_at_once)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(1000));
    cg_function *f = cg_compile(g, CG_SPEC(.name = "known", CG_INPUTS(x), CG_OUTPUTS(cg_exp(x))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    char *text = plan_of(f);
    ck_assert_msg(strstr(text, "; peak memory 8192 bytes: inputs 4.0 KiB") != NULL, "%s", text);
    cg_text_free(text);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* ---- compiling */

START_TEST(constants_that_do_not_fit_are_told_by_name)
{
    cg_shutdown();
    cg_graph *g = cg_graph_new();
    cg_array *a = filled(64, 64);
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(64, 64)), *table = cg_name(cg_constant(g, CG_F32, CG_SHAPE(64, 64), cg_array_data(a)), "table");
    const cg_spec *spec = CG_SPEC(.name = "look", CG_INPUTS(x), CG_OUTPUTS(cg_mul(x, table)));
    limit(KIB);
    ck_assert_ptr_null(cg_compile(g, spec));
    ck_assert_int_eq(cg_last_error()->code, CG_ENOMEM);
    says("cg_compile: 'look'|has no room for constant table (const f32[64,64]), 16.0 KiB|the 1.0 KiB that");
    limit(0);
    cg_function *f = cg_compile(g, spec);
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(a);
    cg_shutdown();
}
END_TEST

/* ---- CG_MEM_LIMIT */

START_TEST(the_variable_is_a_number_of_bytes)
{
    static const struct { const char *text; size_t limit; } rows[] = {
        { "500000000", 500000000 }, { "64K", 64 * KIB }, { "3M", 3 * KIB * KIB }, { "2G", (size_t)2 << 30 }, { "1T", (size_t)1 << 40 }, { "", 0 },
    };
    static const char *const wrong[] = { "much", "12x", "1MM", "-5", "0", " 7", "99999999999999999999", "99999999999999999G" };
    for (int i = 0; i < CG_LEN(rows); i++) {
        cg_shutdown();
        setenv("CG_MEM_LIMIT", rows[i].text, 1);
        ck_assert_uint_eq(memory().limit, rows[i].limit);
    }
    for (int i = 0; i < CG_LEN(wrong); i++) {
        cg_shutdown();
        setenv("CG_MEM_LIMIT", wrong[i], 1);
        ck_assert_ptr_null(cg_device_open(NULL));
        ck_assert_int_eq(cg_last_error()->code, CG_EINVAL);
        says("CG_MEM_LIMIT: '|' is no number of bytes; write it as");
        says(wrong[i]);
    }
    unsetenv("CG_MEM_LIMIT");
    cg_shutdown();
    ck_assert_uint_eq(memory().limit, 0);
    ck_assert_int_eq(cg_device_limit(NULL, 1), CG_EINVAL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("memory");
    TCase *t = tcase_create("memory");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, what_does_not_fit_is_told_by_name);
    tcase_add_test(t, the_peak_is_the_least_limit_that_fits);
    tcase_add_test(t, idle_buffers_are_given_back_before_a_call_fails);
    tcase_add_test(t, idle_buffers_are_given_back_to_a_device_without_memory);
    tcase_add_test(t, more_than_there_is_is_told);
    tcase_add_test(t, a_plan_tells_its_peak_for_given_sizes);
    tcase_add_test(t, a_plan_of_known_sizes_tells_its_peak_at_once);
    tcase_add_test(t, constants_that_do_not_fit_are_told_by_name);
    tcase_add_test(t, the_variable_is_a_number_of_bytes);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    cg_shutdown();
    return failed != 0;
}
