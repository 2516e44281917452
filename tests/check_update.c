// SPDX-License-Identifier: MIT
/* Parts of arrays that are replaced or increased, on the device of CG_DEVICE: bounds and rows that are first known at the call, in loops, their
 * gradients, what rewriting makes of them, and what a call with a wrong index leaves. Fixed parts are rows of golden.py; updates in place are
 * rows of check_inplace. */
#include <string.h>
#include "core/base/base.h"
#include "tests/verified.h"
#include "tests/suite.h"

enum { ROWS = 4, COLS = 3, MOST = 12 };

static cg_array *counting(const int64_t *shape, int rank, double first)
{
    cg_array *a = cg_array_new(CG_F64, shape, rank, NULL);
    double v[MOST];
    for (int i = 0; i < cg_array_count(a); i++)
        v[i] = first + i;
    ck_assert_int_eq(cg_array_set(a, v, (size_t)cg_array_count(a) * sizeof *v), CG_OK);
    return a;
}

static void is(const char *what, cg_array *a, const double *want)
{
    const double *p = a ? cg_array_data(a) : NULL;
    ck_assert_msg(p != NULL, "%s: %s", what, cg_last_error()->text);
    for (int i = 0; i < cg_array_count(a); i++)
        ck_assert_msg(p[i] == want[i], "%s: element %d is %g, not %g", what, i, p[i], want[i]);
}

static void drop(cg_array **a, int n)
{
    for (int i = 0; i < n; i++) {
        cg_array_free(a[i]);
        a[i] = NULL;
    }
}

static bool fails(cg_function *f, cg_array *const *in, int nin, const char *says)
{
    cg_array *out[3] = { NULL };
    const int rc = cg_call(f, in, nin, out);
    const bool failed = rc < 0 || !cg_array_data(out[0]);            /* where calls only enqueue, a read tells */
    const bool told = failed && strstr(cg_last_error()->text, says);
    ck_assert_msg(told, "should say '%s': %s", says, failed ? cg_last_error()->text : "nothing");
    drop(out, 3);
    return told;
}

/* ---- a slice whose bounds are inputs, along an axis of any size, read backwards along the other */

typedef struct part { cg_graph *g; cg_node *x, *y, *w, *from, *to, *z, *dx, *dy; cg_function *f; } part;

static void make_part(part *p, bool inc)
{
    p->g = cg_graph_new();
    p->x = cg_input(p->g, "x", CG_F64, CG_SHAPE(CG_ANY, COLS));
    p->y = cg_input(p->g, "y", CG_F64, CG_SHAPE(CG_ANY, COLS));
    p->w = cg_input(p->g, "w", CG_F64, CG_SHAPE(CG_ANY, COLS));
    p->from = cg_input(p->g, "from", CG_I64, CG_SHAPE());
    p->to = cg_input(p->g, "to", CG_I64, CG_SHAPE());
    p->z = cg_name((inc ? cg_inc_slice : cg_set_slice)(p->x, CG_CUTS({ .axis = 0, .start = p->from, .stop = p->to }, { .axis = -1, .step = -1 }), p->y), "z");
    ck_assert_int_eq(cg_grad(cg_sum(cg_mul(p->z, p->w), CG_REDUCE()), CG_NODES(p->x, p->y), CG_OUT(&p->dx, &p->dy)), CG_OK);
    p->f = cg_compile(p->g, CG_SPEC(.name = "part", CG_INPUTS(p->x, p->y, p->w, p->from, p->to), CG_OUTPUTS(p->z, p->dx, p->dy)));
    ck_assert_msg(p->f != NULL, "%s", cg_last_error()->text);
}

static void check_part(const part *p, bool inc, int64_t from, int64_t to, int ny)
{
    const int64_t lo = from < 0 ? from + ROWS : from > ROWS ? ROWS : from, hi = to < 0 ? to + ROWS : to > ROWS ? ROWS : to;
    cg_array *in[5] = { counting(CG_SHAPE(ROWS, COLS), 1), counting(CG_SHAPE(ny, COLS), 100), counting(CG_SHAPE(ROWS, COLS), 7), cg_array_new(CG_I64, NULL, 0, &from),
                        cg_array_new(CG_I64, NULL, 0, &to) }, *out[3];
    double z[MOST], dx[MOST], dy[MOST] = { 0 };
    for (int i = 0; i < MOST; i++) {
        const int64_t row = i / COLS, col = i % COLS, at = (row - lo) * COLS + COLS - 1 - col;
        const bool inside = row >= lo && row < hi;
        z[i] = !inside ? 1 + i : 100 + (double)at + (inc ? 1 + i : 0);
        dx[i] = inside && !inc ? 0 : 7 + i;
        if (inside)
            dy[at] += 7 + i;
    }
    ck_assert_msg(cg_call(p->f, in, 5, out) == CG_OK, "%s", cg_last_error()->text);
    is("z", out[0], z);
    is("dx", out[1], dx);
    is("dy", out[2], dy);
    drop(out, 3);
    drop(in, 5);
}

START_TEST(bounds_may_be_inputs)
{
    static const struct { int64_t from, to; int ny; } calls[] = { { 1, 3, 2 }, { 0, 4, 4 }, { -3, -1, 2 }, { 2, 9, 2 }, { 3, 4, 1 }, { 2, 2, 0 }, { 3, 1, 0 } };
    for (int inc = 0; inc < 2; inc++) {
        part p;
        make_part(&p, inc);
        for (size_t k = 0; k < sizeof calls / sizeof calls[0]; k++)
            check_part(&p, inc, calls[k].from, calls[k].to, calls[k].ny);
        cg_array *in[5] = { counting(CG_SHAPE(ROWS, COLS), 1), counting(CG_SHAPE(2, COLS), 1), counting(CG_SHAPE(ROWS, COLS), 1),
                            cg_array_new(CG_I64, NULL, 0, &(int64_t){ 1 }), cg_array_new(CG_I64, NULL, 0, &(int64_t){ 4 }) };
        fails(p.f, in, 5, "y (input f64[y.0,3]");         /* two rows do not fill three */
        drop(in, 5);
        cg_function_free(p.f);
        cg_graph_free(p.g);
    }
}
END_TEST

/* ---- one row, whose number is an integer of the host */

START_TEST(a_row_may_be_an_input)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F64, CG_SHAPE(ROWS, COLS)), *i = cg_input(g, "i", CG_I64, CG_SHAPE()), *y = cg_input(g, "y", CG_F64, CG_SHAPE(COLS));
    cg_node *z = cg_name(cg_set_rows(x, i, y, 0), "z"), *n = cg_inc_rows(cg_full(cg_scalar(g, CG_I64, 5), CG_NODES(cg_scalar(g, CG_I64, ROWS))), i, cg_add(i, i), 0);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(x, i, y), CG_OUTPUTS(z, cg_cast(n, CG_F64), cg_take_axis(z, i, 0))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *in[3] = { counting(CG_SHAPE(ROWS, COLS), 0), cg_array_new(CG_I64, NULL, 0, NULL), counting(CG_SHAPE(COLS), 50) }, *out[3];
    static const int64_t good[] = { 0, 3, -1, -4 };
    for (size_t k = 0; k < sizeof good / sizeof good[0]; k++) {
        double want[MOST], numbers[ROWS] = { 5, 5, 5, 5 };
        const int64_t row = good[k] < 0 ? good[k] + ROWS : good[k];
        for (int e = 0; e < MOST; e++)
            want[e] = e / COLS == row ? 50 + e % COLS : e;
        numbers[row] += 2 * (double)good[k];
        ck_assert_int_eq(cg_array_set(in[1], &good[k], sizeof good[k]), CG_OK);
        ck_assert_msg(cg_call(f, in, 3, out) == CG_OK, "%s", cg_last_error()->text);
        is("z", out[0], want);
        is("numbers", out[1], numbers);
        is("taken", out[2], (const double[]){ 50, 51, 52 });
        drop(out, 3);
    }
    for (int64_t bad = -5; bad <= 4; bad += 9) {
        ck_assert_int_eq(cg_array_set(in[1], &bad, sizeof bad), CG_OK);
        fails(f, in, 3, "out of range");
    }
    drop(in, 3);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* ---- in a loop: a state whose rows are written one by one, and whose gradient knows which step wrote what */

START_TEST(a_state_is_written_row_by_row)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F64, CG_SHAPE(CG_ANY, COLS)), *h0 = cg_input(g, "h", CG_F64, CG_SHAPE(ROWS, COLS)), *w = cg_input(g, "w", CG_F64, CG_SHAPE(ROWS, COLS));
    cg_scan *s = cg_scan_begin(g, CG_SCAN());
    cg_node *row = cg_scan_seq(s, x), *h = cg_scan_state(s, h0), *t = cg_scan_index(s), *one = cg_scalar(g, CG_I64, 1), *hs, *dx, *dh;
    cg_node *set = cg_set_rows(h, cg_mod(t, cg_scalar(g, CG_I64, 2)), row, 0);
    cg_node *next = cg_inc_slice(set, CG_CUTS({ .axis = 0, .start = t, .stop = cg_add(t, one) }, { .axis = 1, .stop = one }), cg_scalar(g, CG_F64, 1000));
    cg_scan_next(s, h, next);
    cg_scan_out(s, next, CG_SCAN_LAST);
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&hs)), CG_OK);
    ck_assert_msg(cg_grad(cg_sum(cg_mul(hs, w), CG_REDUCE()), CG_NODES(x, h0), CG_OUT(&dx, &dh)) == CG_OK, "%s", cg_last_error()->text);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "loop", CG_INPUTS(x, h0, w), CG_OUTPUTS(hs, dx, dh)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *in[3] = { counting(CG_SHAPE(4, COLS), 0), counting(CG_SHAPE(ROWS, COLS), 100), counting(CG_SHAPE(ROWS, COLS), 1) }, *out[3];
    ck_assert_msg(cg_call(f, in, 3, out) == CG_OK, "%s", cg_last_error()->text);
    /* steps 2 and 3 overwrite rows 0 and 1, and add to rows 2 and 3, as steps 0 and 1 did to what is written over */
    is("h", out[0], (const double[]){ 6, 7, 8, 9, 10, 11, 1106, 107, 108, 1109, 110, 111 });
    is("dx", out[1], (const double[]){ 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6 });
    is("dh", out[2], (const double[]){ 0, 0, 0, 0, 0, 0, 7, 8, 9, 10, 11, 12 });
    drop(out, 3);
    drop(in, 3);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* ---- what a wrong index leaves */

START_TEST(a_wrong_row_leaves_the_variable)
{
    static const double old[3] = { 1, 2, 3 };
    cg_graph *g = cg_graph_new();
    cg_array *w = cg_array_new(CG_F64, CG_SHAPE(3), old), *i = cg_array_new(CG_I64, CG_SHAPE(2), (const int64_t[]){ 0, 3 }), *out = NULL;
    cg_node *W = cg_shared(g, "W", w), *index = cg_input(g, "i", CG_I64, CG_SHAPE(2));
    cg_function *f = cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(index), CG_OUTPUTS(cg_take(W, cg_scalar(g, CG_I64, 0))), CG_UPDATES({ W, cg_name(cg_inc_rows(W, index, cg_weak(g, 2), 0), "more") })));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    char *plan = cg_function_show(f, CG_STAGE_PLAN);
    ck_assert_msg(strstr(plan, "written in place") != NULL, "%s", plan);
    cg_text_free(plan);
    const int rc = cg_call(f, CG_ARRAYS(i), &out);
    ck_assert_ptr_null(rc == CG_OK ? cg_array_data(out) : NULL);
    ck_assert_msg(strstr(cg_last_error()->text, "out of range") && strstr(cg_last_error()->text, "more (inc_rows f64[3]"), "%s", cg_last_error()->text);
    if (rc < 0)
        is("unharmed", w, old);
    else
        ck_assert_msg(!cg_array_data(w) && strstr(cg_last_error()->text, "poisoned"), "%s", cg_last_error()->text);
    cg_array_free(out);
    ck_assert_int_eq(cg_array_set(w, old, sizeof old), CG_OK);
    ck_assert_int_eq(cg_array_set(i, (const int64_t[]){ -1, 2 }, 16), CG_OK);
    ck_assert_msg(cg_call(f, CG_ARRAYS(i), &out) == CG_OK, "%s", cg_last_error()->text);
    is("the old value", out, old);
    is("twice the same row", w, (const double[]){ 1, 2, 7 });
    cg_array_free(out);
    cg_array_free(w);
    cg_array_free(i);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* ---- what rewriting makes of it */

START_TEST(parts_are_rewritten)
{
    static const struct { const char *expr, *gone, *left; } rows[] = {
        { "(slice (set_slice x y :start [1] :stop [3]) :start [1] :stop [3])", "x", "y" },
        { "(slice (set_slice x y :start [1] :stop [3]) :start [-3] :stop [-1])", "x", "y" },
        { "(slice (set_slice x y :start [i] :stop [j]) :start [i] :stop [j])", "x", "y" },
        { "(slice (set_slice x y :start [1] :stop [3]) :start [3])", "y", "slice" },
        { "(slice (inc_slice x y :start [1] :stop [3]) :start [1] :stop [3])", "inc_slice", "add" },
        { "(slice (inc_slice x y :start [1] :stop [3]) :start [0] :stop [1])", "y", "slice" },
        { "(slice (set_slice x y :start [1] :stop [3]) :start [2])", NULL, "set_slice" },
        { "(set_slice x (exp x))", "set_slice", "exp" },
        { "(inc_slice x (exp x) :step [1 1])", "inc_slice", "add" },
        { "(set_slice x (exp x) :step [-1])", NULL, "set_slice" },
        { "(set_slice (set_slice x 5 :start [i] :stop [j]) y :start [i] :stop [j])", "5", "set_slice" },
        { "(set_slice (set_slice x 5 :start [0] :stop [2]) y :start [1] :stop [3])", NULL, "5" },
        { "(set_slice x (slice x :start [i]) :start [i])", "slice", "x" },
        { "(set_slice x (add y (slice x :start [1] :stop [3])) :start [1] :stop [3])", "set_slice", "inc_slice" },
        { "(set_slice x (add y (slice x :start [0] :stop [2])) :start [1] :stop [3])", "inc_slice", "set_slice" },
        { "(set_slice (zeros_like x) y :start [1] :stop [3])", "set_slice", "unslice" },
        { "(inc_slice (zeros_like x) y :start [1] :stop [3])", "inc_slice", "unslice" },
        { "(inc_slice x (zeros_like y) :start [1] :stop [3])", "inc_slice", "x" },
        { "(sub x (mul 0.5 (inc_rows (zeros_like x) k y)))", "sub", "inc_rows" },
        { "(add x (mul (sum y) (scatter_add (zeros_like x) k y)))", "add x", "inc_rows" },
        { "(add (sum x) (inc_rows (zeros_like x) k y))", NULL, "add" },
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        cg_graph *g = cg_graph_new();
        cg_node *v[5] = { cg_input(g, "x", CG_F64, CG_SHAPE(ROWS, COLS)), cg_input(g, "y", CG_F64, CG_SHAPE(2, COLS)), cg_input(g, "i", CG_I64, CG_SHAPE()),
                          cg_input(g, "j", CG_I64, CG_SHAPE()), cg_input(g, "k", CG_I64, CG_SHAPE(2)) }, *z = cg_read(g, rows[r].expr, v, 5);
        ck_assert_msg(z != NULL, "%s: %s", rows[r].expr, cg_graph_error(g) ? cg_graph_error(g)->text : "?");
        cg_function *f = cg_compile(g, CG_SPEC(.name = "f", .inputs = v, .ninputs = 5, CG_OUTPUTS(z), .unused = CG_UNUSED_IGNORE));
        ck_assert_msg(f != NULL, "%s: %s", rows[r].expr, cg_last_error()->text);
        char *text = cg_function_show(f, CG_STAGE_OPTIMIZED), *plan = cg_function_show(f, CG_STAGE_PLAN);
        const bool gone = !rows[r].gone || (strlen(rows[r].gone) == 1 && *rows[r].gone >= 'x' ? !strstr(plan, *rows[r].gone == 'x' ? "\"x\"" : "\"y\"") : !strstr(text, rows[r].gone));
        ck_assert_msg(gone && strstr(text, rows[r].left), "%s is %s\n%s", rows[r].expr, text, plan);
        cg_text_free(text);
        cg_text_free(plan);
        cg_function_free(f);
        cg_graph_free(g);
    }
}
END_TEST

int main(void)
{
    return RUN_TESTS("update", bounds_may_be_inputs, a_row_may_be_an_input, a_state_is_written_row_by_row, a_wrong_row_leaves_the_variable, parts_are_rewritten);
}
