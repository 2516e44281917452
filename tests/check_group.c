// SPDX-License-Identifier: MIT
/* Small loops that do the same to different arrays stand together, and are one launch on OpenCL. Each row makes outputs of vectors x0 x1 x2;
 * how many of them are a group, and that together they have the bits that each has alone. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "core/cg.h"
#include "tests/suite.h"

enum { MEMBERS = 3, LONGEST = 70000 };
typedef struct row {
    const char *name;
    cg_node *(*of)(cg_node *x, cg_node *before, int m);          /* before: what the member before made, or NULL */
    int64_t length[MEMBERS];
    bool free_size;
    int group;                                                   /* members of one; 0: there is none */
} row;

static cg_node *halved(cg_node *x, cg_node *before, int m) { (void)before, (void)m; return cg_sub(x, cg_scale(cg_exp(x), 0.5)); }
static cg_node *by_member(cg_node *x, cg_node *before, int m) { (void)before; return cg_scale(cg_exp(x), m + 2); }
static cg_node *chained(cg_node *x, cg_node *before, int m) { (void)m; return before ? cg_sub(x, cg_sum(before, CG_REDUCE())) : cg_sub(x, cg_sum(cg_neg(x), CG_REDUCE())); }
static cg_node *columns(cg_node *x, cg_node *before, int m) { (void)before, (void)m; return cg_sum(cg_reshape(x, CG_SHAPE(5, -1)), CG_REDUCE(CG_OVER(0))); }
static cg_node *lines(cg_node *x, cg_node *before, int m) { (void)before, (void)m; return cg_sum(cg_reshape(x, CG_SHAPE(5, -1)), CG_REDUCE(CG_OVER(1))); }

static const row rows[] = {
    { "the same of three", halved, { 5, 70, 300 }, false, 3 },
    { "sums of columns", columns, { 10, 350, 650 }, false, 3 },
    { "one is large", halved, { 5, LONGEST, 300 }, false, 2 },
    { "sizes are not known", halved, { 5, 70, 300 }, true, 0 },
    { "another constant in each", by_member, { 5, 70, 300 }, false, 0 },
    { "each needs the one before", chained, { 5, 70, 300 }, false, 0 },
    { "sums of rows, for which a work-group is needed", lines, { 10, 350, 650 }, false, 0 },
};

static cg_function *compiled(const row *r, cg_graph *g, cg_node **x, int from, int n)
{
    cg_node *out[MEMBERS], *made = NULL;
    for (int m = 0; m < MEMBERS; m++)
        out[m] = made = r->of(x[m], made, m);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "step", .inputs = x, .ninputs = MEMBERS, .outputs = out + from, .noutputs = n, .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f != NULL, "%s: %s", r->name, cg_last_error()->text);
    return f;
}

/* One launch fewer for each member but the first, where they are launches. */
static void check_launches(const row *r, cg_function *f, int steps)
{
    cg_stats s;
    cg_function_stats(f, &s);
    const bool cpu = strcmp(cg_device_name(cg_device_open(NULL)), "cpu") == 0;
    const int fewer = cpu || !r->group ? 0 : r->group - 1;
    ck_assert_msg(s.launches == steps - fewer, "%s: %d launches of %d steps", r->name, (int)s.launches, steps);
}

static int steps_of(const char *plan)
{
    int n = 0;
    for (const char *at = plan; (at = strstr(at, "  (loop ")); at++)
        n++;
    return n;
}

static void compare(const row *r)
{
    static float values[LONGEST + MEMBERS];
    char want[64];
    cg_graph *g = cg_graph_new();
    cg_node *x[MEMBERS];
    cg_array *in[MEMBERS], *all[MEMBERS];
    for (int i = 0; i < LONGEST + MEMBERS; i++)
        values[i] = (float)((i * 37) % 101 - 50) / 16;
    for (int m = 0; m < MEMBERS; m++) {
        in[m] = cg_array_new(CG_F32, &r->length[m], 1, values + m);
        x[m] = cg_input(g, (const char *[]){ "x0", "x1", "x2" }[m], CG_F32, r->free_size ? (const int64_t[]){ CG_ANY } : &r->length[m], 1);
    }
    cg_function *f = compiled(r, g, x, 0, MEMBERS);
    char *plan = cg_function_show(f, CG_STAGE_PLAN);
    snprintf(want, sizeof want, "a group: the next %d steps", r->group);
    ck_assert_msg(r->group ? strstr(plan, want) != NULL : !strstr(plan, "a group"), "%s:\n%s", r->name, plan);
    ck_assert_msg(cg_call(f, in, MEMBERS, all) == CG_OK, "%s: %s", r->name, cg_last_error()->text);
    check_launches(r, f, steps_of(plan));
    for (int m = 0; m < MEMBERS; m++) {
        cg_array *one = NULL;
        cg_function *alone = compiled(r, g, x, m, 1);
        ck_assert_msg(cg_call(alone, in, MEMBERS, &one) == CG_OK, "%s: %s", r->name, cg_last_error()->text);
        const void *a = cg_array_data(one), *b = cg_array_data(all[m]);
        ck_assert_msg(a && b && memcmp(a, b, (size_t)cg_array_count(one) * sizeof(float)) == 0, "%s: member %d differs", r->name, m);
        cg_array_free(one);
        cg_function_free(alone);
    }
    for (int m = 0; m < MEMBERS; m++) {
        cg_array_free(in[m]);
        cg_array_free(all[m]);
    }
    cg_text_free(plan);
    cg_function_free(f);
    cg_graph_free(g);
}

START_TEST(a_group_has_the_bits_of_its_members)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        compare(&rows[i]);
}
END_TEST

int main(void)
{
    return RUN_TESTS("group", a_group_has_the_bits_of_its_members);
}
