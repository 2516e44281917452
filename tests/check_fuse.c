// SPDX-License-Identifier: MIT
/* Neighbouring loops that become one: how many are left, and that it changes no bit. Each row is two values, the second computed from the
 * first; one function gives both, and is compared with two functions of which the second is fed what the first gave. */
#include <string.h>
#include "core/cg.h"
#include "tests/suite.h"

enum { ROWS = 5, COLUMNS = 70 };
typedef cg_node *first_fn(cg_node *x, cg_node *b);
typedef cg_node *second_fn(cg_node *m, cg_node *x, cg_node *b);

static cg_node *scaled(cg_node *x, cg_node *b) { return cg_mul(x, b); }
static cg_node *exponent(cg_node *x, cg_node *b) { (void)b; return cg_exp(x); }
static cg_node *probabilities(cg_node *x, cg_node *b) { (void)b; return cg_softmax(x, 1); }
static cg_node *column_sum(cg_node *x, cg_node *b) { (void)b; return cg_sum(x, CG_REDUCE(CG_OVER(0))); }
static cg_node *row_max(cg_node *x, cg_node *b) { (void)b; return cg_max(x, CG_REDUCE(CG_OVER(1), .keepdims = 1)); }
static cg_node *relu_of(cg_node *m, cg_node *x, cg_node *b) { (void)x, (void)b; return cg_relu(m); }
static cg_node *residual(cg_node *m, cg_node *x, cg_node *b) { return cg_mul(cg_sub(m, x), b); }
static cg_node *updated(cg_node *m, cg_node *x, cg_node *b) { (void)x; return cg_sub(b, cg_scale(m, 0.1)); }
static cg_node *repeated(cg_node *m, cg_node *x, cg_node *b) { (void)b; return cg_broadcast_to(cg_neg(m), CG_NODES(cg_dim(x, 0), cg_dim(x, 1))); }
static cg_node *flipped(cg_node *m, cg_node *x, cg_node *b) { (void)x, (void)b; return cg_neg(cg_flip(m, 0)); }
static cg_node *total(cg_node *m, cg_node *x, cg_node *b) { (void)x, (void)b; return cg_sum(m, CG_REDUCE()); }

static const struct row { const char *name; first_fn *first; second_fn *second; int loops; } rows[] = {
    { "a map and a map of it, whose axes are one", exponent, relu_of, 1 },
    { "a map with a broadcast operand, and a flat one", scaled, relu_of, 1 },
    { "rows with reductions and a map of them", probabilities, residual, 1 },
    { "sums of columns and a map of the sums", column_sum, updated, 1 },
    { "reductions of rows and what each element makes of them", row_max, residual, 1 },
    { "reductions of rows, repeated along the rows", row_max, repeated, 1 },
    { "elements read in another place", exponent, flipped, 2 },
    { "a map and the sum of all of it, which has one thread", exponent, total, 2 },
};

static cg_function *good(cg_function *f, const char *name)
{
    ck_assert_msg(f != NULL, "%s: %s", name, cg_last_error()->text);
    return f;
}

static int loops(cg_function *f)
{
    char *plan = cg_function_show(f, CG_STAGE_PLAN);
    int n = 0;
    for (const char *at = plan; (at = strstr(at, "(loop ")); at++)
        n++;
    cg_text_free(plan);
    return n;
}

static void same(const char *name, const char *what, cg_array *a, cg_array *b)
{
    const void *x = cg_array_data(a), *y = cg_array_data(b);
    ck_assert_msg(x && y && cg_array_count(a) == cg_array_count(b) && memcmp(x, y, (size_t)cg_array_count(a) * sizeof(float)) == 0, "%s: %s differs", name, what);
}

static void compare(const struct row *r, cg_array *x, cg_array *b)
{
    cg_graph *g = cg_graph_new();
    cg_node *nx = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, COLUMNS)), *nb = cg_input(g, "b", CG_F32, CG_SHAPE(COLUMNS)), *first = r->first(nx, nb);
    cg_array *alone[2], *both[2], *m;
    cg_function *f = good(cg_compile(g, CG_SPEC(.name = "both", CG_INPUTS(nx, nb), CG_OUTPUTS(first, r->second(first, nx, nb)), .unused = CG_UNUSED_IGNORE)), r->name);
    ck_assert_msg(loops(f) == r->loops, "%s: %d loops, not %d: %s", r->name, loops(f), r->loops, cg_function_show(f, CG_STAGE_PLAN));
    cg_function *one = good(cg_compile(g, CG_SPEC(.name = "first", CG_INPUTS(nx, nb), CG_OUTPUTS(first), .unused = CG_UNUSED_IGNORE)), r->name);
    ck_assert_msg(cg_call(f, CG_ARRAYS(x, b), both) == CG_OK && cg_call(one, CG_ARRAYS(x, b), alone) == CG_OK, "%s: %s", r->name, cg_last_error()->text);
    m = alone[0];
    int64_t shape[CG_MAX_RANK];
    for (int k = 0; k < cg_array_rank(m); k++)
        shape[k] = k == 0 && cg_array_rank(m) == 2 ? CG_ANY : cg_array_shape(m)[k];
    cg_node *nm = cg_input(g, "m", CG_F32, shape, cg_array_rank(m));
    cg_function *two = good(cg_compile(g, CG_SPEC(.name = "second", CG_INPUTS(nm, nx, nb), CG_OUTPUTS(r->second(nm, nx, nb)), .unused = CG_UNUSED_IGNORE)), r->name);
    ck_assert_msg(cg_call(two, CG_ARRAYS(m, x, b), &alone[1]) == CG_OK, "%s: %s", r->name, cg_last_error()->text);
    same(r->name, "the first value", both[0], alone[0]);
    same(r->name, "the second value", both[1], alone[1]);
    for (int k = 0; k < 2; k++) {
        cg_array_free(both[k]);
        cg_array_free(alone[k]);
    }
    cg_function_free(f);
    cg_function_free(one);
    cg_function_free(two);
    cg_graph_free(g);
}

START_TEST(one_loop_gives_the_bits_of_two)
{
    float vx[ROWS * COLUMNS], vb[COLUMNS];
    for (int i = 0; i < ROWS * COLUMNS; i++)
        vx[i] = (float)((i * 37) % 101 - 50) / 16;
    for (int i = 0; i < COLUMNS; i++)
        vb[i] = (float)(i % 7 - 3) / 3;
    cg_array *x = cg_array_new(CG_F32, CG_SHAPE(ROWS, COLUMNS), vx), *b = cg_array_new(CG_F32, CG_SHAPE(COLUMNS), vb);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        compare(&rows[i], x, b);
    cg_array_free(x);
    cg_array_free(b);
}
END_TEST

int main(void)
{
    return RUN_TESTS("fuse", one_loop_gives_the_bits_of_two);
}
