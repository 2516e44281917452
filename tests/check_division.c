// SPDX-License-Identifier: MIT
/* Integers divided by zero: wherever the division stands, the call fails with a sentence that names it, at once or when the value is wanted. */
#include <stdlib.h>
#include "core/base/base.h"
#include "tests/verified.h"
#include "tests/suite.h"

enum { ROWS = 3, COLS = 300 };

static cg_function *compiled(cg_function *f)
{
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    return f;
}

/* n elements of d that are `value`, but for the last one. */
static cg_array *filled(cg_dtype d, const int64_t *shape, int rank, int64_t value, int64_t last)
{
    cg_array *a = cg_array_new(d, shape, rank, NULL);
    char *p = (char *)(uintptr_t)cg_array_data(a);
    const int64_t n = cg_array_count(a);
    for (int64_t i = 0; i < n; i++)
        cg__store_i64(p + (size_t)i * cg_dtype_bytes(d), d, i < n - 1 ? value : last);
    return a;
}

static void told(const char *what, const char *says, const char *where)
{
    const cg_error *e = cg_last_error();
    ck_assert_msg(e->code == CG_ERUNTIME && strstr(e->text, says) && strstr(e->text, where), "%s: %s", what, e->text);
}

#define ZERO "an integer is divided by zero in"

/* The call of f fails: then, or when its first output is read. */
static void fails(const char *what, cg_function *f, cg_array *const *in, int n, const char *says, const char *where)
{
    cg_array *out[4] = { NULL };
    if (cg_call(f, in, n, out) == CG_OK)
        ck_assert_msg(cg_array_data(out[0]) == NULL, "%s: is not told", what);
    told(what, says, where);
    for (int i = 0; i < 4; i++)
        cg_array_free(out[i]);
}

static void succeeds(const char *what, cg_function *f, cg_array *const *in, int n)
{
    cg_array *out = NULL;
    ck_assert_msg(cg_call(f, in, n, &out) == CG_OK && cg_array_data(out), "%s: %s", what, cg_last_error()->text);
    cg_array_free(out);
}

/* ---- expressions of a and b, i32 (ROWS, COLS): right while b has no 0 */

static cg_node *quotient(cg_node *a, cg_node *b) { return cg_name(cg_floor_divide(a, b), "quotient"); }
static cg_node *plain(cg_node *a, cg_node *b) { return quotient(a, b); }
static cg_node *modulo(cg_node *a, cg_node *b) { return cg_name(cg_mod(a, b), "quotient"); }
static cg_node *remainder_(cg_node *a, cg_node *b) { return cg_name(cg_fmod(a, b), "quotient"); }
static cg_node *in_a_chain(cg_node *a, cg_node *b) { return cg_exp(cg_cast(cg_add(quotient(a, b), a), CG_F32)); }
static cg_node *spread(cg_node *a, cg_node *b) { return quotient(a, cg_slice(b, 0, cg_scalar(a->graph, CG_I64, ROWS - 1), NULL, 1)); }
static cg_node *of_rows(cg_node *a, cg_node *b) { return cg_sum(quotient(a, b), CG_REDUCE(.axes = (const int64_t[]){ 1 }, .naxes = 1)); }
static cg_node *of_columns(cg_node *a, cg_node *b) { return cg_max(quotient(a, b), CG_REDUCE(.axes = (const int64_t[]){ 0 }, .naxes = 1)); }
static cg_node *of_all(cg_node *a, cg_node *b) { return cg_argmax(quotient(a, b), CG_REDUCE()); }
static cg_node *of_sums(cg_node *a, cg_node *b) { return quotient(cg_max(a, CG_REDUCE()), cg_min(b, CG_REDUCE())); }
static cg_node *of_a_product(cg_node *a, cg_node *b) { cg_node *q = cg_cast(quotient(a, b), CG_F32); return cg_matmul(q, cg_transpose(q, CG_AXES(1, 0))); }
static cg_node *guarded_too_late(cg_node *a, cg_node *b) { return cg_where(cg_equal(b, cg_weak(a->graph, 0)), a, quotient(a, b)); }

static cg_node *in_a_loop(cg_node *a, cg_node *b)
{
    cg_graph *g = a->graph;
    cg_scan *s = cg_scan_begin(g, CG_SCAN());
    cg_node *x = cg_scan_seq(s, a), *y = cg_scan_seq(s, b), *h = cg_scan_state(s, cg_constant(g, CG_I32, CG_SHAPE(COLS), (const int32_t[COLS]){ 1 })), *out = NULL;
    cg_scan_next(s, h, cg_add(h, quotient(x, y)));
    cg_scan_out(s, cg_add(h, quotient(x, y)), CG_SCAN_LAST);
    cg_scan_end(s, CG_OUT(&out));
    return out;
}

static const struct { const char *what; cg_node *(*build)(cg_node *, cg_node *); } places[] = {
    { "elementwise", plain }, { "mod", modulo }, { "fmod", remainder_ }, { "a chain", in_a_chain }, { "a broadcast divisor", spread }, { "rows", of_rows }, { "columns", of_columns },
    { "all", of_all }, { "scalars", of_sums }, { "an operand of a product", of_a_product }, { "guarded too late", guarded_too_late }, { "a loop", in_a_loop },
};

START_TEST(wherever_it_stands)
{
    const int64_t shape[] = { ROWS, COLS };
    for (int k = 0; k < CG_LEN(places); k++) {
        cg_graph *g = cg_graph_new();
        cg_node *a = cg_input(g, "a", CG_I32, shape, 2), *b = cg_input(g, "b", CG_I32, shape, 2), *y = places[k].build(a, b);
        ck_assert_msg(y != NULL, "%s: %s", places[k].what, cg_graph_error(g)->text);
        cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(a, b), CG_OUTPUTS(y))));
        cg_array *x = filled(CG_I32, shape, 2, 7, 9), *good = filled(CG_I32, shape, 2, 2, 3), *bad = filled(CG_I32, shape, 2, 2, 0);
        succeeds(places[k].what, f, (cg_array *[]){ x, good }, 2);
        fails(places[k].what, f, (cg_array *[]){ x, bad }, 2, ZERO, "quotient");
        succeeds(places[k].what, f, (cg_array *[]){ x, good }, 2);
        cg_array_free(x);
        cg_array_free(good);
        cg_array_free(bad);
        cg_function_free(f);
        cg_graph_free(g);
    }
}
END_TEST

/* The documented way, and what divides by a constant, never fail; floats give infinity. */
START_TEST(safe_divisors_and_floats_do_not_fail)
{
    const int64_t n = 5;
    cg_graph *g = cg_graph_new();
    cg_node *a = cg_input(g, "a", CG_I16, CG_SHAPE(5)), *b = cg_input(g, "b", CG_I16, CG_SHAPE(5)), *zero = cg_equal(b, cg_weak(g, 0));
    cg_node *safe = cg_where(zero, cg_weak(g, 0), cg_floor_divide(a, cg_where(zero, cg_weak(g, 1), b)));
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "safe", CG_INPUTS(a, b), CG_OUTPUTS(safe, cg_mod(a, cg_weak(g, 4)), cg_floor_divide(cg_cast(a, CG_F32), cg_cast(b, CG_F32))))));
    cg_array *x = filled(CG_I16, &n, 1, 7, 9), *y = filled(CG_I16, &n, 1, 2, 0), *out[3];
    ck_assert_msg(cg_call(f, CG_ARRAYS(x, y), out) == CG_OK, "%s", cg_last_error()->text);
    const int16_t *q = cg_array_data(out[0]), *m = cg_array_data(out[1]);
    ck_assert(q && q[0] == 3 && q[4] == 0 && m[0] == 3 && m[4] == 1);
    ck_assert(((const float *)cg_array_data(out[2]))[4] > 3e38f);
    for (int i = 0; i < 3; i++)
        cg_array_free(out[i]);
    cg_array_free(x);
    cg_array_free(y);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

START_TEST(of_every_integer_type)
{
    const int64_t n = 40;
    for (cg_dtype d = CG_I8; d <= CG_U64; d++) {
        cg_graph *g = cg_graph_new();
        cg_node *a = cg_input(g, "a", d, &n, 1), *b = cg_input(g, "b", d, &n, 1);
        cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(a, b), CG_OUTPUTS(quotient(a, b)))));
        cg_array *x = filled(d, &n, 1, 7, 9), *good = filled(d, &n, 1, 2, 3), *bad = filled(d, &n, 1, 2, 0);
        succeeds(cg_dtype_name(d), f, (cg_array *[]){ x, good }, 2);
        fails(cg_dtype_name(d), f, (cg_array *[]){ x, bad }, 2, ZERO, "quotient");
        cg_array_free(x);
        cg_array_free(good);
        cg_array_free(bad);
        cg_function_free(f);
        cg_graph_free(g);
    }
}
END_TEST

/* ---- host integers, which are found before anything runs */

static cg_array *integer(int64_t v) { return cg_array_new(CG_I64, NULL, 0, &v); }

START_TEST(of_host_integers)
{
    cg_graph *g = cg_graph_new();
    cg_node *n = cg_input(g, "n", CG_I64, NULL, 0), *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY)), *ten = cg_scalar(g, CG_I64, 10);
    cg_node *part = cg_slice(x, 0, NULL, quotient(ten, n), 1);
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "part", CG_INPUTS(n, x), CG_OUTPUTS(part)))), *m = compiled(cg_compile(g, CG_SPEC(.name = "value", CG_INPUTS(n), CG_OUTPUTS(cg_name(cg_mod(ten, n), "rest")))));
    cg_array *zero = integer(0), *three = integer(3), *all = filled(CG_F32, CG_SHAPE(10), 1, 1), *in[] = { zero, all }, *good[] = { three, all };
    fails("a bound", f, in, 2, ZERO, "quotient");
    succeeds("a bound", f, good, 2);
    fails("a value", m, in, 1, ZERO, "rest");
    succeeds("a value", m, good, 1);
    cg_array_free(zero);
    cg_array_free(three);
    cg_array_free(all);
    cg_function_free(f);
    cg_function_free(m);
    cg_graph_free(g);
}
END_TEST

/* 10 / (t - k) in step t of the inner of two loops, k fed. */
START_TEST(of_step_numbers)
{
    cg_graph *g = cg_graph_new();
    cg_node *k = cg_input(g, "k", CG_I64, NULL, 0), *x = cg_input(g, "x", CG_F32, CG_SHAPE(20)), *four = cg_scalar(g, CG_I64, 4), *inside = NULL, *sums = NULL;
    cg_scan *outer = cg_scan_begin(g, CG_SCAN(.steps = four));
    cg_node *i = cg_scan_index(outer);
    cg_scan *inner = cg_scan_begin(g, CG_SCAN(.steps = cg_scalar(g, CG_I64, 3)));
    cg_node *t = cg_add(cg_scan_index(inner), i);
    cg_scan_out(inner, cg_sum(cg_slice(x, 0, NULL, quotient(cg_scalar(g, CG_I64, 10), cg_sub(t, k)), 1), CG_REDUCE()), CG_SCAN_SUM);
    ck_assert_int_eq(cg_scan_end(inner, CG_OUT(&inside)), CG_OK);
    cg_scan_out(outer, inside, CG_SCAN_SUM);
    ck_assert_int_eq(cg_scan_end(outer, CG_OUT(&sums)), CG_OK);
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "steps", CG_INPUTS(k, x), CG_OUTPUTS(sums))));
    for (int64_t v = -1; v <= 6; v++) {
        cg_array *at = integer(v), *all = filled(CG_F32, CG_SHAPE(20), 1, 1), *in[] = { at, all };
        if (v >= 0 && v <= 5)                            /* t is 0 to 5 */
            fails("a step", f, in, 2, ZERO, "quotient");
        else
            succeeds("no step", f, in, 2);
        cg_array_free(at);
        cg_array_free(all);
    }
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* A size of 0 is no division by zero. */
START_TEST(sizes_may_be_zero)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, CG_ANY, 2)), *hole = cg_reshape_to(x, (cg_node *[]){ cg_mul(cg_dim(x, 1), cg_scalar(g, CG_I64, 2)), cg_scalar(g, CG_I64, -1) }, 2);
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "hole", CG_INPUTS(x), CG_OUTPUTS(hole, cg_sum(hole, CG_REDUCE())))));
    for (int64_t m = 0; m < 3; m += 2) {
        cg_array *a = cg_array_new(CG_F32, (const int64_t[]){ 4, m, 2 }, 3, NULL), *out[2];
        ck_assert_msg(cg_call(f, CG_ARRAYS(a), out) == CG_OK, "%s", cg_last_error()->text);
        ck_assert(cg_array_shape(out[0])[0] == 2 * m && cg_array_count(out[0]) == 8 * m);
        cg_array_free(a);
        cg_array_free(out[0]);
        cg_array_free(out[1]);
    }
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* ---- what the sentence names, and what is left of variables */

START_TEST(the_cause_is_told)
{
    cg_graph *g = cg_graph_new();
    cg_node *a = cg_input(g, "a", CG_I32, CG_SHAPE(8)), *i = cg_input(g, "i", CG_I64, CG_SHAPE(5)), *b = cg_input(g, "b", CG_I32, CG_SHAPE(5));
    cg_node *y = cg_neg(cg_name(cg_mod(cg_name(cg_take(a, i), "picked"), b), "rest"));
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(a, i, b), CG_OUTPUTS(y))));
    cg_array *x = filled(CG_I32, CG_SHAPE(8), 3, 4), *index = filled(CG_I64, CG_SHAPE(5), 1, 7), *far = filled(CG_I64, CG_SHAPE(5), 1, 8);
    cg_array *by = filled(CG_I32, CG_SHAPE(5), 2, 3), *zero = filled(CG_I32, CG_SHAPE(5), 2, 0);
    succeeds("right", f, (cg_array *[]){ x, index, by }, 3);
    fails("far", f, (cg_array *[]){ x, far, by }, 3, "an index is out of range in", "picked");
    fails("zero", f, (cg_array *[]){ x, index, zero }, 3, ZERO, "rest");
    ck_assert_msg(strstr(cg_last_error()->text, "check_division.c") != NULL || strstr(cg_last_error()->text, "the_cause_is_told") != NULL, "%s", cg_last_error()->text);
    cg_array *all[] = { x, index, far, by, zero };
    for (int k = 0; k < CG_LEN(all); k++)
        cg_array_free(all[k]);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

START_TEST(variables_keep_their_values_or_are_poisoned)
{
    const int64_t n = 4;
    cg_graph *g = cg_graph_new();
    cg_array *w = filled(CG_I64, &n, 1, 20, 30), *good = filled(CG_I64, &n, 1, 2, 3), *bad = filled(CG_I64, &n, 1, 2, 0);
    cg_node *W = cg_shared(g, "W", w), *b = cg_input(g, "b", CG_I64, &n, 1);
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "step", CG_INPUTS(b), CG_UPDATES({ W, cg_add(W, quotient(W, b)) }))));
    ck_assert_int_eq(cg_call(f, CG_ARRAYS(good), NULL), CG_OK);
    const int64_t was[] = { 30, 30, 30, 40 };
    if (cg_call(f, CG_ARRAYS(bad), NULL) == CG_OK) {
        ck_assert_ptr_null(cg_array_data(w));
        ck_assert_msg(strstr(cg_last_error()->text, "poisoned until set again") != NULL, "%s", cg_last_error()->text);
        told("W", ZERO, "quotient");
        ck_assert_int_eq(cg_array_set(w, was, sizeof was), CG_OK);
    } else
        told("W", ZERO, "quotient");
    ck_assert_mem_eq(cg_array_data(w), was, sizeof was);
    ck_assert_int_eq(cg_call(f, CG_ARRAYS(good), NULL), CG_OK);
    ck_assert_int_eq(((const int64_t *)cg_array_data(w))[3], 53);
    cg_array_free(w);
    cg_array_free(good);
    cg_array_free(bad);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* Nothing is computed when it is compiled, and the call tells. */
START_TEST(constants_fail_at_the_call)
{
    cg_graph *g = cg_graph_new();
    cg_node *q = quotient(cg_constant(g, CG_I32, CG_SHAPE(3), (const int32_t[]){ 1, 2, 3 }), cg_constant(g, CG_I32, CG_SHAPE(3), (const int32_t[]){ 1, 0, 1 }));
    cg_node *s = cg_name(cg_floor_divide(cg_scalar(g, CG_I64, 5), cg_scalar(g, CG_I64, 0)), "five");
    cg_function *f = compiled(cg_compile(g, CG_SPEC(.name = "f", CG_OUTPUTS(q)))), *host = compiled(cg_compile(g, CG_SPEC(.name = "host", CG_OUTPUTS(s))));
    fails("an array", f, NULL, 0, ZERO, "quotient");
    fails("a scalar", host, NULL, 0, ZERO, "five");
    cg_function_free(f);
    cg_function_free(host);
    cg_graph_free(g);
}
END_TEST

int main(void)
{
    return RUN_TESTS("division", wherever_it_stands, safe_divisors_and_floats_do_not_fail, of_every_integer_type, of_host_integers, of_step_numbers,
                     sizes_may_be_zero, the_cause_is_told, variables_keep_their_values_or_are_poisoned, constants_fail_at_the_call);
}
