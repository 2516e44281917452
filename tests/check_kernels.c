// SPDX-License-Identifier: MIT
/* The text of kernels against tests/expected: a change to the generator shows its effect in the diff. CG_REGENERATE=1 writes the files anew
 * (for each CG_CL_STYLE once). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "tests/suite.h"

typedef struct var { const char *name; cg_dtype dtype; int rank; int64_t shape[3]; } var;
static const struct { const char *name, *expr; var vars[3]; } rows[] = {
    { "bias_tanh", "(tanh (add x b))", { { "x", CG_F32, 2, { CG_ANY, 64 } }, { "b", CG_F32, 1, { 64 } } } },
    { "softmax", "(softmax x :axis 1)", { { "x", CG_F32, 2, { CG_ANY, CG_ANY } } } },
    { "column_sum", "(sum (square x) :axis [0])", { { "x", CG_F32, 2, { CG_ANY, 10 } } } },
    { "argmax", "(argmax x :axis 1)", { { "x", CG_F32, 2, { CG_ANY, CG_ANY } } } },
    { "rows_by_index", "(take x i)", { { "x", CG_F32, 2, { 100, 8 } }, { "i", CG_I64, 1, { CG_ANY } } } },
    { "cross_entropy", "(cross_entropy x y)", { { "x", CG_F32, 2, { CG_ANY, 10 } }, { "y", CG_I64, 1, { CG_ANY } } } },
    { "half", "(mul (add x x) x)", { { "x", CG_F16, 1, { CG_ANY } } } },
    { "narrow_integers", "(add x y)", { { "x", CG_I8, 1, { CG_ANY } }, { "y", CG_I8, 1, { CG_ANY } } } },
    { "division", "(floor_divide x y)", { { "x", CG_I32, 1, { CG_ANY } }, { "y", CG_I32, 1, { CG_ANY } } } },
    { "to_i8", "(cast x :dtype i8)", { { "x", CG_F32, 1, { CG_ANY } } } },
    { "transposed", "(add (transpose x) y)", { { "x", CG_F32, 2, { CG_ANY, 7 } }, { "y", CG_F32, 2, { 7, CG_ANY } } } },
    { "any", "(any x :axis [1])", { { "x", CG_F32, 2, { CG_ANY, CG_ANY } } } },
    { "choose", "(where (less x y) x 2)", { { "x", CG_F32, 1, { CG_ANY } }, { "y", CG_F32, 1, { CG_ANY } } } },
};

static char *kernels_of(size_t r)
{
    cg_graph *g = cg_graph_new();
    cg_node *in[3];
    int n = 0;
    for (; n < 3 && rows[r].vars[n].name; n++)
        in[n] = cg_input(g, rows[r].vars[n].name, rows[r].vars[n].dtype, rows[r].vars[n].shape, rows[r].vars[n].rank);
    cg_node *y = cg_read(g, rows[r].expr, in, n);
    ck_assert_msg(y != NULL, "%s: %s", rows[r].expr, cg_graph_error(g)->text);
    cg_function *f = cg_compile(g, CG_SPEC(.name = rows[r].name, .inputs = in, .ninputs = n, CG_OUTPUTS(y)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    char *text = cg_function_show(f, CG_STAGE_KERNELS);
    cg_function_free(f);
    cg_graph_free(g);
    return text;
}

static void regenerate(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_msg(f != NULL, "%s cannot be written", path);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static void compare(const char *path, const char *text)
{
    static char want[1 << 16];
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s is missing; CG_REGENERATE=1 writes it", path);
    want[fread(want, 1, sizeof want - 1, f)] = 0;
    fclose(f);
    size_t at = 0, line = 1;
    for (; want[at] && want[at] == text[at]; at++)
        line += want[at] == '\n';
    ck_assert_msg(want[at] == text[at], "%s:%zu: the kernel is now (CG_REGENERATE=1 accepts it)\n%s", path, line, text);
}

START_TEST(kernels_read_as_expected)
{
    const char *style = getenv("CG_CL_STYLE");
    char path[1000];
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        char *text = kernels_of(r);
        ck_assert_ptr_nonnull(text);
        snprintf(path, sizeof path, "%s/%s_%s.cl", CG_EXPECTED, rows[r].name, style ? style : "cpu");
        (getenv("CG_REGENERATE") ? regenerate : compare)(path, text);
        cg_text_free(text);
    }
}
END_TEST

int main(void)
{
    return RUN_TESTS("kernels", kernels_read_as_expected);
}
