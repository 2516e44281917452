// SPDX-License-Identifier: MIT
/* Functions: updates, aliasing, sizes first seen at the call, wrong calls. On the device of CG_DEVICE. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/cg.h"
#include "tests/verified.h"
#include "tests/suite.h"

static cg_array *vec(int64_t n, float first)
{
    float v[64];
    for (int64_t i = 0; i < n; i++)
        v[i] = first + (float)i;
    return cg_array_new(CG_F32, (const int64_t[]){ n }, 1, v);
}

static float at(cg_array *a, int i)
{
    const float *p = cg_array_data(a);
    ck_assert_msg(p != NULL, "%s", cg_last_error()->text);
    return p[i];
}

static cg_function *compiled(cg_function *f)
{
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    return f;
}

#define CALL(f, ...) ck_assert_msg(cg_call(f, __VA_ARGS__) == CG_OK, "%s", cg_last_error()->text)

START_TEST(updates_are_simultaneous)
{
    cg_graph *g = cg_graph_new();
    cg_array *a = vec(3, 1), *b = vec(3, 10), *out[2] = { NULL };
    cg_node *A = cg_shared(g, "A", a), *B = cg_shared(g, "B", b);
    cg_function *swap = compiled(cg_compile(g, CG_SPEC(.name = "swap", CG_OUTPUTS(A, cg_add(A, B)), CG_UPDATES({ A, B }, { B, A }))));
    CALL(swap, NULL, 0, out);
    ck_assert_float_eq(at(a, 0), 10);
    ck_assert_float_eq(at(b, 0), 1);
    ck_assert_float_eq(at(out[0], 0), 1);        /* an output that is a shared variable keeps the old value */
    ck_assert_float_eq(at(out[1], 2), 15);
    cg_array *kept = out[0];
    cg_array_free(out[1]);
    CALL(swap, NULL, 0, out);
    ck_assert_float_eq(at(kept, 2), 3);
    ck_assert_float_eq(at(a, 0), 1);
    cg_array_free(kept);
    for (int i = 0; i < 2; i++)
        cg_array_free(out[i]);
    cg_function_free(swap);
    cg_graph_free(g);
    cg_array_free(a);
    cg_array_free(b);
}
END_TEST

START_TEST(host_integers_count_and_index)
{
    cg_graph *g = cg_graph_new();
    const int64_t zero = 0;
    cg_array *t = cg_array_new(CG_I64, NULL, 0, &zero), *data = vec(10, 0), *out = NULL;
    cg_node *T = cg_shared(g, "t", t), *X = cg_shared(g, "X", data), *i = cg_input(g, "i", CG_I64, CG_SHAPE());
    cg_node *from = cg_mul(i, cg_scalar(g, CG_I64, 4)), *to = cg_add(from, cg_scalar(g, CG_I64, 4));
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "batch", CG_INPUTS(i), CG_OUTPUTS(cg_add(cg_slice(X, 0, from, to, 1), cg_cast(T, CG_F32))),
                                                   CG_UPDATES({ T, cg_add(T, cg_scalar(g, CG_I64, 1)) }))));
    for (int64_t k = 0; k < 4; k++) {
        cg_array *index = cg_array_new(CG_I64, NULL, 0, &k);
        CALL(f, CG_ARRAYS(index), &out);
        ck_assert_int_eq(cg_array_count(out), k < 2 ? 4 : k == 2 ? 2 : 0);
        if (k < 3)
            ck_assert_float_eq(at(out, 0), (float)(4 * k + k));
        cg_array_free(out);
        cg_array_free(index);
    }
    ck_assert_int_eq(*(const int64_t *)cg_array_data(t), 4);
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(t);
    cg_array_free(data);
}
END_TEST

START_TEST(new_sizes_need_no_new_kernels)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY));
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "sizes", CG_INPUTS(x), CG_OUTPUTS(cg_sum(cg_tanh(x), CG_REDUCE()), cg_mul(x, x)))));
    cg_stats first, now;
    for (int64_t n = 2; n < 40; n++) {
        cg_array *in = vec(n, 1), *out[2];
        CALL(f, CG_ARRAYS(in), out);
        ck_assert_int_eq(cg_array_count(out[1]), n);
        ck_assert_float_eq(at(out[1], (int)n - 1), (float)(n * n));
        for (int i = 0; i < 2; i++)
            cg_array_free(out[i]);
        cg_array_free(in);
        cg_function_stats(f, n == 2 ? &first : &now);
    }
    ck_assert_int_eq(first.kernels_built, now.kernels_built);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

START_TEST(wrong_calls_say_why_and_change_nothing)
{
    cg_graph *g = cg_graph_new();
    cg_array *w = vec(3, 1), *x3 = vec(3, 0), *x4 = vec(4, 0), *out = NULL;
    const int64_t far[2] = { 0, 7 };
    cg_array *bad = cg_array_new(CG_I64, (const int64_t[]){ 2 }, 1, far);
    cg_node *W = cg_shared(g, "W", w), *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY)), *y = cg_input(g, "y", CG_F32, CG_SHAPE(CG_ANY));
    cg_node *i = cg_input(g, "i", CG_I64, CG_SHAPE(CG_ANY));
    ck_assert_ptr_null(cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(x), CG_OUTPUTS(cg_add(x, y)))));
    ck_assert_ptr_nonnull(strstr(cg_last_error()->text, "needs the input y"));
    ck_assert_ptr_null(cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(x), CG_UPDATES({ W, cg_sum(x, CG_REDUCE()) }))));
    ck_assert_ptr_nonnull(strstr(cg_last_error()->text, "W"));
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(x, y), CG_OUTPUTS(cg_add(x, y)))));
    ck_assert_int_eq(cg_call(f, CG_ARRAYS(x3), &out), CG_EINVAL);
    ck_assert_ptr_nonnull(strstr(cg_last_error()->text, "takes 2 inputs, got 1"));
    ck_assert_int_eq(cg_call(f, CG_ARRAYS(x3, x4), &out), CG_ESHAPE);
    ck_assert_ptr_nonnull(strstr(cg_last_error()->text, "sizes"));
    ck_assert_int_eq(cg_call(f, CG_ARRAYS(x3, w), &out), CG_OK);
    cg_array_free(out);
    cg_function *take = compiled(cg_compile(g, CG_SPEC(.name = "take", CG_INPUTS(i), CG_UPDATES({ W, cg_add(W, cg_sum(cg_take(W, i), CG_REDUCE())) }))));
    if (cg_call(take, CG_ARRAYS(bad), NULL) == CG_OK)        /* found on the device, told when the value is wanted */
        ck_assert_ptr_null(cg_array_data(w));
    else
        ck_assert_float_eq(at(w, 0), 1);
    ck_assert_int_eq(cg_last_error()->code, CG_ERUNTIME);
    ck_assert_msg(strstr(cg_last_error()->text, "out of range in") != NULL, "%s", cg_last_error()->text);
    ck_assert_ptr_null(cg_device_open("nosuch"));
    ck_assert_msg(strstr(cg_last_error()->text, "cpu") != NULL, "%s", cg_last_error()->text);
    cg_function_free(f);
    cg_function_free(take);
    cg_graph_free(g);
    cg_array *all[] = { w, x3, x4, bad };
    for (int k = 0; k < 4; k++)
        cg_array_free(all[k]);
}
END_TEST

static void keep_line(void *user, const char *text)
{
    snprintf(user, 400, "%s", text);
}

START_TEST(the_log_tells_what_compiling_did)
{
    char line[400] = "", path[64], read[400] = "";
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(3));
    cg_set_log(keep_line, line);
    cg_function_free(compiled(cg_compile(g, CG_SPEC(.name = "logged", CG_INPUTS(x), CG_OUTPUTS(cg_exp(x))))));
    cg_set_log(NULL, NULL);
    ck_assert_msg(strncmp(line, "cg_compile: 'logged' on ", 24) == 0 && strstr(line, "rewrite") != NULL, "%s", line);
    snprintf(path, sizeof path, "/tmp/libcg-log-%ld", (long)getpid());
    setenv("CG_LOG", path, 1);
    cg_function_free(compiled(cg_compile(g, CG_SPEC(.name = "filed", CG_INPUTS(x), CG_OUTPUTS(cg_exp(x))))));
    unsetenv("CG_LOG");
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(read, sizeof read, f));
    ck_assert_msg(strncmp(read, "cg_compile: 'filed' on ", 23) == 0, "%s", read);
    fclose(f);
    unlink(path);
    cg_graph_free(g);
}
END_TEST

static cg_array *integers(int64_t first, int64_t n)
{
    int64_t v[8];
    for (int64_t i = 0; i < n; i++)
        v[i] = first + i;
    return cg_array_new(CG_I64, (const int64_t[]){ n }, 1, v);
}

/* On a device that runs calls later: a failed call is told by the next call but one or by a read; what was written since is poisoned until set. */
START_TEST(failures_found_late_poison_what_was_written)
{
    cg_graph *g = cg_graph_new();
    const int64_t zero = 0;
    const float ones[3] = { 1, 1, 1 };
    cg_array *w = vec(3, 1), *v = vec(3, 5), *t = cg_array_new(CG_I64, NULL, 0, &zero), *good = integers(0, 2), *bad = integers(2, 2), *before = NULL, *after = NULL, *out = NULL;
    cg_node *W = cg_shared(g, "W", w), *V = cg_shared(g, "V", v), *T = cg_shared(g, "t", t), *i = cg_input(g, "i", CG_I64, CG_SHAPE(CG_ANY));
    cg_node *picked = cg_sum(cg_take(W, i), CG_REDUCE());
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(i), CG_OUTPUTS(picked), CG_UPDATES({ W, cg_add(W, picked) }, { T, cg_add(T, cg_scalar(g, CG_I64, 1)) }))));
    cg_function *other = compiled(cg_compile(g, CG_SPEC(.name = "other", CG_OUTPUTS(cg_mul(V, V)))));
    CALL(f, CG_ARRAYS(good), &before);
    if (cg_call(f, CG_ARRAYS(bad), &out) == CG_OK) {
        CALL(f, CG_ARRAYS(good), &after);
        ck_assert_int_eq(cg_call(other, NULL, 0, NULL), CG_ERUNTIME);            /* the next call but one tells, and is not run */
        ck_assert_msg(strstr(cg_last_error()->text, "'other' is not run") && strstr(cg_last_error()->text, "out of range in"), "%s", cg_last_error()->text);
        CALL(other, NULL, 0, NULL);                                             /* V is none of its business */
        cg_array *poisoned[] = { out, after, w, t };
        for (int k = 0; k < 4; k++) {
            ck_assert_ptr_null(cg_array_data(poisoned[k]));
            ck_assert_msg(strstr(cg_last_error()->text, "poisoned until set again") != NULL, "%s", cg_last_error()->text);
        }
        ck_assert_int_eq(cg_call(f, CG_ARRAYS(good), NULL), CG_ERUNTIME);
        ck_assert_msg(strstr(cg_last_error()->text, "W") != NULL, "%s", cg_last_error()->text);
        cg_array_free(out);
        cg_array_free(after);
    }
    ck_assert_float_eq(at(before, 0), 3);
    ck_assert_int_eq(cg_array_set(w, ones, sizeof ones), CG_OK);
    ck_assert_int_eq(cg_array_set(t, &zero, sizeof zero), CG_OK);
    CALL(f, CG_ARRAYS(good), &out);
    ck_assert_float_eq(at(out, 0), 2);
    ck_assert_float_eq(at(w, 2), 3);
    ck_assert_int_eq(*(const int64_t *)cg_array_data(t), 1);
    ck_assert_int_eq(cg_device_wait(cg_device_open(NULL)), CG_OK);
    cg_array *all[] = { w, v, t, good, bad, before, out };
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
        cg_array_free(all[k]);
    cg_function_free(f);
    cg_function_free(other);
    cg_graph_free(g);
}
END_TEST

#define REFUSED(f, words) \
    do { \
        ck_assert_ptr_null(f); \
        ck_assert_msg(strstr(cg_last_error()->text, words) != NULL, "%s", cg_last_error()->text); \
    } while (0)

/* By stands wherever the node stood, also in an update; the same graph serves training on a data set in device memory and on fed arrays. */
START_TEST(givens_stand_in)
{
    cg_graph *g = cg_graph_new();
    cg_array *all = vec(6, 1), *w = vec(2, 0), *two = vec(2, 50), *out[2] = { NULL };
    const int64_t where = 1;
    cg_array *at1 = cg_array_new(CG_I64, NULL, 0, &where);
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(2)), *i = cg_input(g, "i", CG_I64, NULL, 0), *h = cg_name(cg_scale(x, 10), "h");
    cg_node *rows = cg_slice(cg_shared(g, "all", all), 0, cg_mul(i, cg_scalar(g, CG_I64, 2)), cg_mul(cg_add(i, cg_scalar(g, CG_I64, 1)), cg_scalar(g, CG_I64, 2)), 1);
    cg_node *W = cg_shared(g, "W", w), *y = cg_add(h, x);
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "sliced", CG_INPUTS(i), CG_OUTPUTS(y), CG_UPDATES({ W, x }), CG_GIVENS({ x, rows }))));
    CALL(f, CG_ARRAYS(at1), out);
    ck_assert_float_eq(at(out[0], 0), 33);
    ck_assert_float_eq(at(w, 1), 4);
    cg_array_free(out[0]);
    cg_function_free(f);
    f = compiled(cg_compile(g, CG_SPEC(.name = "inner", CG_INPUTS(x), CG_OUTPUTS(y, h), CG_GIVENS({ h, cg_neg(x) }))));      /* neg(x) reads x, which is not given */
    CALL(f, CG_ARRAYS(two), out);
    ck_assert_float_eq(at(out[0], 1), 0);
    ck_assert_float_eq(at(out[1], 1), -51);
    for (int k = 0; k < 2; k++)
        cg_array_free(out[k]);
    cg_function_free(f);
    REFUSED(cg_compile(g, CG_SPEC(CG_INPUTS(i), CG_OUTPUTS(y), CG_GIVENS({ x, i }))), "x (input f32[2]");
    REFUSED(cg_compile(g, CG_SPEC(CG_INPUTS(i), CG_OUTPUTS(y), CG_GIVENS({ x, rows }, { x, W }))), "is given twice");
    REFUSED(cg_compile(g, CG_SPEC(CG_INPUTS(i), CG_OUTPUTS(y), CG_GIVENS({ x, NULL }))), "given 1 is NULL");
    cg_graph_free(g);
    cg_array *arrays[] = { all, w, two, at1 };
    for (int k = 0; k < 4; k++)
        cg_array_free(arrays[k]);
}
END_TEST

/* A variable's default update runs in every function that uses it, and brings those of what it uses; a function may say otherwise. */
START_TEST(default_updates_come_with_their_variable)
{
    cg_graph *g = cg_graph_new(), *foreign = cg_graph_new();
    cg_array *one = vec(1, 1), *count = vec(1, 0), *out = NULL;
    cg_node *n = cg_shared(g, "n", count), *step = cg_shared(g, "step", one), *x = cg_mul(n, n);
    ck_assert_int_eq(cg_default_update(n, cg_add(n, step)), CG_OK);
    ck_assert_int_eq(cg_default_update(step, cg_scale(step, 2)), CG_OK);
    cg_function *f = compiled(cg_compile(g, CG_SPEC(CG_OUTPUTS(x))));
    for (int k = 0; k < 3; k++) {
        CALL(f, NULL, 0, &out);
        ck_assert_float_eq(at(out, 0), k == 0 ? 0 : k == 1 ? 1 : 9);
        cg_array_free(out);
    }
    ck_assert_float_eq(at(count, 0), 7);
    ck_assert_float_eq(at(one, 0), 8);
    cg_function *own = compiled(cg_compile(g, CG_SPEC(CG_UPDATES({ n, cg_neg(n) }))));
    CALL(own, NULL, 0, NULL);
    ck_assert_float_eq(at(count, 0), -7);
    ck_assert_float_eq(at(one, 0), 8);
    cg_function *none = compiled(cg_compile(g, CG_SPEC(CG_OUTPUTS(x), .no_default_updates = 1)));
    CALL(none, NULL, 0, NULL);
    ck_assert_int_eq(cg_default_update(n, NULL), CG_OK);
    cg_function *back = compiled(cg_compile(g, CG_SPEC(CG_OUTPUTS(x))));
    CALL(back, NULL, 0, NULL);
    ck_assert_float_eq(at(count, 0), -7);
    ck_assert_int_eq(cg_default_update(x, n), CG_EINVAL);
    ck_assert_int_eq(cg_default_update(n, cg_scalar(g, CG_F32, 1)), CG_ESHAPE);
    ck_assert_int_eq(cg_default_update(n, cg_concatenate(CG_NODES(n, n), 0)), CG_ESHAPE);
    ck_assert_int_eq(cg_default_update(n, cg_cast(n, CG_F64)), CG_EDTYPE);
    ck_assert_int_eq(cg_default_update(n, cg_shared(foreign, "n", count)), CG_EINVAL);
    ck_assert_int_eq(cg_default_update(NULL, n), CG_EINVAL);
    cg_function *all[] = { f, own, none, back };
    for (int k = 0; k < 4; k++)
        cg_function_free(all[k]);
    cg_graph_free(g);
    cg_graph_free(foreign);
    cg_array_free(one);
    cg_array_free(count);
}
END_TEST

START_TEST(inputs_go_by_name)
{
    static const struct { const char *names[3]; int n; const char *words; } wrong[] = {
        { { "a", "c" }, 2, "has no input named 'c'" }, { { "a", "a" }, 2, "is given twice the input 'a'" }, { { "a" }, 1, "input b" }, { { NULL }, 1, "has no input named '(NULL)'" },
    };
    cg_graph *g = cg_graph_new();
    cg_array *a = vec(2, 1), *b = vec(2, 10), *out = NULL;
    cg_node *A = cg_input(g, "a", CG_F32, CG_SHAPE(2)), *B = cg_input(g, "b", CG_F32, CG_SHAPE(2));
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "named", CG_INPUTS(A, B), CG_OUTPUTS(cg_sub(A, B)))));
    ck_assert_int_eq(cg_call_named(f, (const char *[]){ "b", "a" }, CG_ARRAYS(b, a), &out), CG_OK);
    ck_assert_float_eq(at(out, 0), -9);
    cg_array_free(out);
    out = NULL;
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        ck_assert_int_eq(cg_call_named(f, wrong[k].names, (cg_array *[]){ a, b }, wrong[k].n, &out), CG_EINVAL);
        ck_assert_msg(strstr(cg_last_error()->text, wrong[k].words) && strstr(cg_last_error()->text, "'named'"), "%s", cg_last_error()->text);
        ck_assert_ptr_null(out);
    }
    ck_assert_int_eq(cg_call_named(f, (const char *[]){ "a", "b" }, (cg_array *[]){ a, NULL }, 2, &out), CG_EINVAL);
    ck_assert_int_eq(cg_call_named(NULL, NULL, NULL, 0, NULL), CG_EINVAL);
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(a);
    cg_array_free(b);
}
END_TEST

/* Results of many elements leave by another way than those of few: past the caches, in whole lines, wherever they begin. */
START_TEST(large_results_are_as_exact_as_small_ones)
{
    enum { N = (1 << 21) + 37, BEFORE = 5 };
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY)), *y = cg_add(cg_mul(x, cg_weak(g, 2)), cg_weak(g, 1));
    cg_node *before = cg_slice(x, 0, NULL, cg_scalar(g, CG_I64, BEFORE), 1);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "large", CG_INPUTS(x), CG_OUTPUTS(cg_concatenate((cg_node *[]){ before, y }, 2, 0), cg_less(x, cg_weak(g, 100)), x)));
    cg_array *in = cg_array_new(CG_F32, CG_SHAPE(N), NULL), *out[3];
    float *value = malloc(N * sizeof *value);
    for (int i = 0; i < N; i++)
        value[i] = (float)(i % 4001) / 8;
    ck_assert_msg(f && cg_array_set(in, value, N * sizeof *value) == CG_OK && cg_call(f, &in, 1, out) == CG_OK, "%s", cg_last_error()->text);
    const float *joined = cg_array_data(out[0]), *same = cg_array_data(out[2]);
    const uint8_t *less = cg_array_data(out[1]);
    for (int i = 0; i < N; i++)
        ck_assert_msg(joined[BEFORE + i] == value[i] * 2 + 1 && less[i] == (value[i] < 100) && same[i] == value[i], "element %d", i);
    ck_assert_mem_eq(joined, value, BEFORE * sizeof *value);
    for (int i = 0; i < 3; i++)
        cg_array_free(out[i]);
    free(value);
    cg_array_free(in);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

START_TEST(an_unused_input_is_a_mistake_unless_allowed)
{
    cg_graph *g = cg_graph_new();
    cg_array *a = vec(2, 1), *b = vec(3, 1), *out = NULL;
    cg_node *A = cg_input(g, "a", CG_F32, CG_SHAPE(2)), *B = cg_input(g, "b", CG_F32, CG_SHAPE(3));
    REFUSED(cg_compile(g, CG_SPEC(.name = "half", CG_INPUTS(A, B), CG_OUTPUTS(cg_neg(A)))), "'half' does not use its input b");
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "half", CG_INPUTS(A, B), CG_OUTPUTS(cg_neg(A)), .unused = CG_UNUSED_IGNORE)));
    CALL(f, CG_ARRAYS(a, b), &out);
    ck_assert_float_eq(at(out, 1), -2);
    ck_assert_int_eq(cg_call(f, CG_ARRAYS(a, a), NULL), CG_ESHAPE);      /* it is still checked */
    cg_array_free(out);
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(a);
    cg_array_free(b);
}
END_TEST

int main(void)
{
    return RUN_TESTS("function", updates_are_simultaneous, host_integers_count_and_index, new_sizes_need_no_new_kernels,
                     wrong_calls_say_why_and_change_nothing, the_log_tells_what_compiling_did, failures_found_late_poison_what_was_written, givens_stand_in,
                     default_updates_come_with_their_variable, inputs_go_by_name, large_results_are_as_exact_as_small_ones, an_unused_input_is_a_mistake_unless_allowed);
}
