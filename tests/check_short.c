// SPDX-License-Identifier: MIT
/* The short suite: every row of both op tables once, on at most 300 elements, against NumPy, on the device of CG_DEVICE. It is what valgrind,
 * oclgrind and an emulated processor can afford; what else is claimed of rows is tested in check_ops, check_rows, check_elemwise and check_devices.
 *
 * CG_TEST_BATCH=n compiles n rows at a time and closes the device after each batch (default: all). */
#include <stdlib.h>
#include "core/graph/build.h"
#include "tests/golden_elems.h"
#include "tests/golden_rows.h"
#include "tests/suite.h"

enum { ROWS = CG_LEN(golden_rows), ELEMENTS = 300, OUTS = ROWS > CG_EL_COUNT ? ROWS : CG_EL_COUNT };

/* One function of many rows. */
typedef struct batch { cg_graph *g; cg_node *in[OUTS * GOLDEN_VARS], *out[OUTS]; int row[OUTS]; cg_array *value[OUTS * GOLDEN_VARS], *got[OUTS]; int nin, nout; } batch;

static batch *batch_new(void)
{
    batch *b = cg__zalloc(sizeof *b);
    b->g = cg_graph_new();
    return b;
}

static void batch_run(batch *b)
{
    cg_function *f = cg_compile(b->g, CG_SPEC(.name = "short", .inputs = b->in, .ninputs = b->nin, .outputs = b->out, .noutputs = b->nout, .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ck_assert_msg(cg_call(f, b->value, b->nin, b->got) == CG_OK, "%s", cg_last_error()->text);
    cg_function_free(f);
}

static void batch_free(batch *b)
{
    golden_free(b->value, b->nin);
    golden_free(b->got, b->nout);
    cg_graph_free(b->g);
    cg__free(b);
    if (getenv("CG_TEST_BATCH"))
        cg_shutdown();
}

static int batch_size(void)
{
    const char *n = getenv("CG_TEST_BATCH");
    return n ? atoi(n) : OUTS;
}

/* ---- structural operations: the golden rows that are small */

static bool small(const golden_row *row)
{
    int64_t most = golden_count(&row->want);
    for (int k = 0; k < row->nvars; k++)
        most = golden_count(&row->var[k]) > most ? golden_count(&row->var[k]) : most;
    return most <= ELEMENTS;
}

static bool names(const char *expr, const char *op)
{
    const size_t n = strlen(op);
    for (const char *at = strchr(expr, '('); at; at = strchr(at + 1, '('))
        if (strncmp(at + 1, op, n) == 0 && (at[n + 1] == ' ' || at[n + 1] == ')'))
            return true;
    return false;
}

static void has_small_row(const char *op)
{
    bool found = false;
    for (int r = 0; r < ROWS && !found; r++)
        found = small(&golden_rows[r]) && names(golden_rows[r].expr, op);
    ck_assert_msg(found, "%s has no golden row of at most %d elements: add it to tests/golden.py", op, ELEMENTS);
}

/* Inputs and shared variables are what rows are about, and operations of the caller's own are gone when a function is compiled: text makes neither. */
START_TEST(every_operation_has_a_small_row)
{
    for (int op = 0; op < CG_OP_FIRST_ELEM; op++)
        if (!(cg__ops[op].props & CG_IDENTITY) && op != CG_OP_own)
            has_small_row(cg__ops[op].name);
#define FORM(name, ...) has_small_row(#name);
#include "core/ops/forms.def"
}
END_TEST

static void add_row(batch *b, int r)
{
    const golden_row *row = &golden_rows[r];
    for (int k = 0; k < row->nvars; k++)
        b->value[b->nin + k] = golden_array_of(&row->var[k], CG_F32);
    b->row[b->nout] = r;
    b->out[b->nout++] = golden_read(b->g, row, CG_F32, b->in, &b->nin);
    ck_assert_msg(b->out[b->nout - 1] != NULL, "%s: %s", row->expr, cg_graph_error(b->g)->text);
}

START_TEST(every_structural_row_once)
{
    for (int r = 0; r < ROWS;) {
        batch *b = batch_new();
        for (; r < ROWS && b->nout < batch_size(); r++)
            if (small(&golden_rows[r]) && !skipped(golden_rows[r].expr))
                add_row(b, r);
        batch_run(b);
        for (int i = 0; i < b->nout; i++)
            golden_compare(&golden_rows[b->row[i]], b->got[i], 8 * 1.2e-7);
        batch_free(b);
    }
}
END_TEST

/* ---- elementwise operations: in f32 at the points of their arity, integers' own in i32 */

static void add_inputs(batch *b, cg_array *const operands[3])
{
    for (int k = 0; k < 3; k++) {
        b->value[b->nin] = operands[k];
        b->in[b->nin++] = cg_input(b->g, (const char *[]){ "a", "b", "c" }[k], cg_array_dtype(operands[k]), cg_array_shape(operands[k]), cg_array_rank(operands[k]));
    }
}

static void add_elem(batch *b, cg_elem e, int row)
{
    b->row[b->nout] = row;
    b->out[b->nout++] = cg__build(b->g, (cg_op_id)(CG_OP_FIRST_ELEM + (int)e), b->in, cg__elems[e].arity, NULL);
    ck_assert_msg(b->out[b->nout - 1] != NULL, "%s: %s", cg__elems[e].name, cg_graph_error(b->g)->text);
}

/* The next rows of an arity from *e on, as many as a batch takes. */
static void floats_once(int arity, int *e)
{
    batch *b = batch_new();
    cg_array *operands[3];
    for (int k = 0; k < 3; k++) {
        operands[k] = cg_array_new(CG_F32, (int64_t[]){ golden_points[arity] }, 1, NULL);
        for (int i = 0; i < golden_points[arity]; i++)
            golden_put(operands[k], i, golden_in[arity][k][i]);
    }
    add_inputs(b, operands);
    for (; *e < CG_EL_COUNT && b->nout < batch_size(); ++*e)
        if (cg__elems[*e].arity == arity && !of_integers_only((cg_elem)*e) && !skipped(cg__elems[*e].name))
            add_elem(b, (cg_elem)*e, *e);
    batch_run(b);
    for (int k = 0; k < b->nout; k++)
        for (int i = 0; i < golden_points[arity]; i++)
            golden_elem_check((cg_elem)b->row[k], cg_array_dtype(b->got[k]), i, golden_f64(b->got[k], i));
    batch_free(b);
}

START_TEST(every_float_row_once)
{
    for (int arity = 1; arity <= 3; arity++)
        for (int e = 0; e < CG_EL_COUNT;)
            floats_once(arity, &e);
}
END_TEST

START_TEST(every_integer_row_once)
{
    int r = 0;
    while (golden_ints[r].dtype != CG_I32)
        r++;
    batch *b = batch_new();
    add_inputs(b, (cg_array *[]){ golden_int_operand(&golden_ints[r], 0), golden_int_operand(&golden_ints[r], 1), golden_int_operand(&golden_ints[r], 2) });
    for (; r < CG_LEN(golden_ints) && golden_ints[r].dtype == CG_I32; r++)
        if (of_integers_only(golden_ints[r].elem))
            add_elem(b, golden_ints[r].elem, r);
    batch_run(b);
    for (int k = 0; k < b->nout; k++) {
        const int64_t n = cg_array_count(b->got[k]);
        ck_assert_int_le(n, ELEMENTS);
        for (int64_t i = 0; i < n; i++)
            golden_int_check(&golden_ints[b->row[k]], i, n, (int64_t)golden_f64(b->got[k], i));
    }
    batch_free(b);
}
END_TEST

int main(void)
{
    return RUN_TESTS("short", every_operation_has_a_small_row, every_structural_row_once, every_float_row_once, every_integer_row_once);
}
