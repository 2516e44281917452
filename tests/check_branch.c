// SPDX-License-Identifier: MIT
/* ifelse on the device of CG_DEVICE: its values and first and second gradients are those of the branch that is taken, written alone; the other
 * one runs no step and cannot fail. Expressions are text over x y (f64[4]), A (f64[4 4]), s (f64), i j (i64), k (i64[3]); s and i decide. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/graph/ir.h"
#include "tests/helpers.h"
#include "tests/suite.h"
#include "tests/verified.h"

enum { N = 4, VARS = 7, ROOTS = 8 };
static const struct { const char *name; cg_dtype d; int rank; int64_t shape[2]; } vars[VARS] = {
    { "x", CG_F64, 1, { N } }, { "y", CG_F64, 1, { N } }, { "A", CG_F64, 2, { N, N } }, { "s", CG_F64, 0, { 0 } }, { "i", CG_I64, 0, { 0 } }, { "j", CG_I64, 0, { 0 } },
    { "k", CG_I64, 1, { 3 } },
};
enum { S = 3, I = 4 };

typedef struct world { cg_graph *g; cg_node *in[VARS]; cg_array *arg[VARS]; } world;

static world open_world(double s, int64_t i)
{
    static const int64_t ints[3] = { 7, -2, 5 };
    double room[N * N];
    world w = { .g = cg_graph_new() };
    for (int e = 0; e < N * N; e++)
        room[e] = 0.3 + 0.17 * e - 0.011 * e * e;
    for (int v = 0; v < VARS; v++) {
        w.in[v] = cg_input(w.g, vars[v].name, vars[v].d, vars[v].shape, vars[v].rank);
        const void *data = v == S ? &s : v == I ? (const void *)&i : vars[v].d == CG_I64 ? ints : (const void *)(room + v);
        w.arg[v] = cg_array_new(vars[v].d, vars[v].shape, vars[v].rank, v == 2 ? room : data);
    }
    return w;
}

static void close_world(world *w)
{
    for (int v = 0; v < VARS; v++)
        cg_array_free(w->arg[v]);
    cg_graph_free(w->g);
}

static const char *first_error(const world *w) { return cg_graph_error(w->g) ? cg_graph_error(w->g)->text : cg_last_error()->text; }

static cg_node *read_text(world *w, const char *text)
{
    cg_node *n = cg_read(w->g, text, w->in, VARS);
    ck_assert_msg(n != NULL, "%s: %s", text, first_error(w));
    return n;
}

static cg_function *compiled(world *w, cg_node *const *out, int n, cg_device *d, int no_rewrites)
{
    cg_function *f = cg_compile(w->g, CG_SPEC(.name = "branch", .inputs = w->in, .ninputs = VARS, .outputs = out, .noutputs = n, .unused = CG_UNUSED_IGNORE, .device = d,
                                              .no_rewrites = no_rewrites));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    return f;
}

/* ---- values and gradients */

typedef struct row { const char *name, *cond, *then, *otherwise; } row;
static const row rows[] = {
    { "by a fed integer", "(less i 5)", "(tanh (mul x y))", "(matmul A x)" },
    { "by two", "(logical_or (greater_equal i 5) (equal j 3))", "(softmax (matmul A x) :axis 0)", "(mul x (sum (square y)))" },
    { "by a number as it is", "(sub i 3)", "(exp x)", "(mul (sum A :axis [0]) x)" },
    { "by a value", "(greater s 0)", "(mul x y)", "(neg (mul (matmul A x) y))" },
    { "each is NaN where it is not taken", "(greater s 0)", "(mul x (log s))", "(mul y (sqrt (neg s)))" },
    { "the derivative alone is", "(not_equal s 0)", "(mul x (sqrt (abs s)))", "(mul y s)" },
    { "one branch reads nothing", "(greater s 0)", "(mul x (log s))", "(zeros_like x)" },
    { "what both need", "(greater s 0)", "(mul (exp x) (log s))", "(div (exp x) s)" },
    { "a scalar, a bare number", "(less i 5)", "(sum (mul x x))", "1.5" },
    { "nested, by another", "(less i 5)", "(ifelse (greater s 0) (mul x (log s)) (neg x))", "(ifelse (greater s 0) (exp y) (mul y (log (neg s))))" },
    { "nested, by the same", "(greater s 0)", "(mul (ifelse (greater s 0) (mul x (log s)) y) x)", "(mul (ifelse (greater s 0) x y) x)" },
    { "in the operand of a product", "(less i 5)", "(matmul (ifelse (greater s 0) (mul A (log s)) (transpose A)) x)", "x" },
    { "rows at one number", "(greater s 0)", "(sum (inc_rows A (sub j 5) (tanh x)) :axis [0])", "(sum (set_rows (transpose A) (sub j 5) (mul x y)) :axis [0])" },
    { "a derivative that is zero, or none", "(less i 5)", "(floor x)", "(disconnected_grad y)" },
    { "views", "(greater s 0)", "(slice (transpose A) :start [none 1] :stop [none 2])", "(reshape x :shape [4 1])" },
    { "a loop in a branch", "(less i 5)", "(get (scan 3 :seq [] :init [x] :capture [y] :body [(mul (sin (arg :index 0 :dtype f64 :shape [4])) (arg :index 1 :dtype f64 :shape [4]))]"
      " :back [] :outs [1 0 0]) :output 0)", "(mul x y)" },
};

/* The value, its sum weighted by y, the gradients of that, and those of a function of the first of them. */
static void make_roots(world *w, cg_node *value, cg_node **out)
{
    const cg_grad_spec *zeros = CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS);
    cg_node *cost = cg_sum(cg_mul(value, cg_read(w->g, "(add 1 (sum (sin y)))", w->in, VARS)), CG_REDUCE());
    out[0] = value;
    int rc = cg_grad_with(cost, w->in, 4, CG_OUT(&out[1], &out[2], &out[3], &out[4]), zeros);
    cg_node *again = rc == CG_OK ? cg_add(cg_sum(cg_sin(out[1]), CG_REDUCE()), cg_sum(cg_mul(out[3], out[3]), CG_REDUCE())) : NULL;
    rc = rc == CG_OK ? cg_grad_with(again, CG_NODES(w->in[0], w->in[1], w->in[S]), CG_OUT(&out[5], &out[6], &out[7]), zeros) : rc;
    ck_assert_msg(rc == CG_OK, "%s", first_error(w));
}

static int holds(world *w, const char *cond)
{
    cg_node *n = cg_cast(cg_cast(read_text(w, cond), CG_BOOL), CG_I64);
    cg_array *out;
    cg_function *f = compiled(w, &n, 1, cg_device_open("cpu"), 0);
    ck_assert_int_eq(cg_call(f, w->arg, VARS, &out), CG_OK);
    const int yes = *(const int64_t *)cg_array_data(out) != 0;
    cg_array_free(out);
    cg_function_free(f);
    return yes;
}

static void same(const char *name, int root, cg_array *a, cg_array *b)
{
    const double *x = cg_array_data(a), *y = cg_array_data(b);
    ck_assert_msg(x && y && cg_array_count(a) == cg_array_count(b), "%s: root %d: %s", name, root, cg_last_error()->text);
    for (int64_t e = 0; e < cg_array_count(a); e++)
        ck_assert_msg(fabs(x[e] - y[e]) <= 1e-12 * (1 + fabs(y[e])), "%s: root %d: element %d is %.17g, not %.17g", name, root, (int)e, x[e], y[e]);
}

static void compare(const row *r, double s, int64_t i)
{
    world w = open_world(s, i);
    cg_node *a = NULL, *roots[ROOTS], *plain[ROOTS];
    cg_array *want[ROOTS], *got[ROOTS];
    ck_assert_msg(cg_ifelse(read_text(&w, r->cond), CG_NODES(read_text(&w, r->then)), CG_NODES(read_text(&w, r->otherwise)), CG_OUT(&a)) == CG_OK, "%s: %s", r->name,
                  first_error(&w));
    make_roots(&w, a, roots);
    cg_node *alone = read_text(&w, holds(&w, r->cond) ? r->then : r->otherwise);
    make_roots(&w, alone->type.weak ? cg_cast(alone, CG_F64) : alone, plain);
    cg_function *f = compiled(&w, plain, ROOTS, cg_device_open("cpu"), 0);
    ck_assert_msg(cg_call(f, w.arg, VARS, want) == CG_OK, "%s: %s", r->name, cg_last_error()->text);
    cg_function_free(f);
    for (int plainly = 0; plainly < 2; plainly++) {
        f = compiled(&w, roots, ROOTS, NULL, plainly);
        ck_assert_msg(cg_call(f, w.arg, VARS, got) == CG_OK, "%s: %s", r->name, cg_last_error()->text);
        for (int k = 0; k < ROOTS; k++) {
            same(r->name, k, got[k], want[k]);
            cg_array_free(got[k]);
        }
        cg_function_free(f);
    }
    for (int k = 0; k < ROOTS; k++)
        cg_array_free(want[k]);
    ck_assert_msg(cg_graph_verify(w.g) == CG_OK, "%s", cg_last_error()->text);
    close_world(&w);
}

START_TEST(a_choice_is_the_branch_that_is_taken)
{
    for (int r = 0; r < CG_LEN(rows); r++)
        for (int way = 0; way < 4; way++)
            compare(&rows[r], way & 1 ? 2 : -2, way & 2 ? 3 : 7);
    compare(&rows[5], 0, 3);         /* where sqrt |s| has no derivative */
}
END_TEST

/* ---- what runs */

static int64_t launches(world *w, cg_node *const *out, int n)
{
    cg_array *got[ROOTS];
    cg_stats s;
    cg_function *f = compiled(w, out, n, NULL, 0);
    ck_assert_msg(cg_call(f, w->arg, VARS, got) == CG_OK, "%s", cg_last_error()->text);
    cg_function_stats(f, &s);
    for (int k = 0; k < n; k++)
        cg_array_free(got[k]);
    cg_function_free(f);
    return s.launches;
}

/* Reductions that cannot share a loop. */
#define LONG "(softmax (matmul A (softmax (matmul A (softmax (matmul A (softmax x :axis 0)) :axis 0)) :axis 0)) :axis 0)"
static const row counted[] = {
    { "a long one or a short one", "(less i 5)", LONG, "(exp x)" },
    { "both long", "(less i 5)", "(mul (sum (exp y)) " LONG ")", "(mul s " "(softmax (matmul A (softmax (matmul A (softmax y :axis 0)) :axis 0)) :axis 0))" },
    { "nested", "(less i 5)", "(ifelse (less i 4) " LONG " (exp x))", "(ifelse (greater i 6) (neg x) (softmax (matmul A (softmax (matmul A y) :axis 0)) :axis 0))" },
};

/* Each output may cost two steps more than the branch alone: one that puts zeros, or the value, into its place, and one that in the branch would
 * be part of a loop outside. */
START_TEST(the_other_branch_runs_no_step)
{
    for (int r = 0; r < CG_LEN(counted); r++)
        for (int way = 0; way < 2; way++) {
            const row *c = &counted[r];
            world w = open_world(1.5, way ? 3 : 7);
            cg_node *a = NULL, *roots[ROOTS], *plain[ROOTS];
            ck_assert_int_eq(cg_ifelse(read_text(&w, c->cond), CG_NODES(read_text(&w, c->then)), CG_NODES(read_text(&w, c->otherwise)), CG_OUT(&a)), CG_OK);
            make_roots(&w, a, roots);
            const char *taken = way ? c->then : c->otherwise;
            make_roots(&w, read_text(&w, r < 2 ? taken : way ? LONG : "(neg x)"), plain);
            for (int n = 1; n <= 5; n += 4) {
                const int64_t got = launches(&w, roots, n), want = launches(&w, plain, n);
                ck_assert_msg(got <= want + 2 * n, "%s, %d outputs: %d launches, but the branch alone has %d", c->name, n, (int)got, (int)want);
            }
            close_world(&w);
        }
}
END_TEST

/* How many values are read back, and how many choices are left: of what the host knows none, of a value one, of a constant nothing. */
START_TEST(conditions_cost_what_they_must)
{
    static const struct { const char *expr; int reads, branches; } plans[] = {
        { "(ifelse (less i 5) (exp x) (neg x))", 0, 2 },
        { "(ifelse (logical_and (less_equal i 5) (logical_not (equal j 2))) (exp x) (neg x))", 0, 2 },
        { "(ifelse i (exp x) (neg x))", 0, 2 },
        { "(ifelse (less (dim x :axis 0) j) (exp x) (neg x))", 0, 2 },
        { "(ifelse (less s 5) (exp x) (neg x))", 1, 2 },
        { "(let ((c (less s 5))) (add (ifelse c (exp x) (neg x)) (mul (sum (ifelse c y x)) (ifelse c x y))))", 1, -1 },
        { "(ifelse true (exp x) (neg x))", 0, 0 },
        { "(ifelse 0 (exp x) (neg x))", 0, 0 },
        { "(ifelse (less i 5) (exp x) (exp x))", 0, 0 },
        { "(ifelse (less i 5) i (floor_divide j i))", 0, 0 },                /* a number like any other */
    };
    for (int r = 0; r < CG_LEN(plans); r++) {
        world w = open_world(1, 1);
        cg_node *n = read_text(&w, plans[r].expr);
        cg_function *f = compiled(&w, &n, 1, NULL, 0);
        char *plan = cg_function_show(f, CG_STAGE_PLAN);
        const int branches = occurrences(plan, "(if ");
        ck_assert_msg(occurrences(plan, "(read s") == plans[r].reads && (plans[r].branches < 0 || branches == plans[r].branches), "%s: %s", plans[r].expr, plan);
        cg_text_free(plan);
        cg_function_free(f);
        close_world(&w);
    }
}
END_TEST

/* ---- what fails */

static const struct { const char *expr; double s; int64_t i; const char *says; } failures[] = {
    { "(ifelse (equal i 0) j (floor_divide j i))", 1, 0, NULL },
    { "(ifelse (not_equal i 0) j (floor_divide j i))", 1, 0, "divided by zero" },
    { "(ifelse (greater s 0) j (mod j i))", 1, 0, NULL },
    { "(ifelse (greater s 0) j (mod j i))", -1, 0, "divided by zero" },
    { "(ifelse (greater s 0) k (floor_divide k (mul k i)))", 1, 0, NULL },
    { "(ifelse (greater s 0) k (floor_divide k (mul k i)))", -1, 0, "divided by zero" },
    { "(ifelse (less i 4) (take x i) s)", 1, 9, NULL },
    { "(ifelse (less i 10) (take x i) s)", 1, 9, "out of range" },
    { "(ifelse (less i 4) (ifelse (greater s 0) (take x (mul i 5)) s) s)", -1, 3, NULL },
    { "(ifelse (less i 4) (get (scan i :seq [(slice x :start [none] :stop [i])] :init [s] :capture [] :body [(add (arg :index 0 :dtype f64 :shape []) (arg :index 1 :dtype f64 :shape []))]"
      " :back [0] :outs [1 0 0]) :output 0) s)", 1, 7, NULL },
    { "(ifelse (less i 9) (get (scan i :seq [(slice x :start [none] :stop [i])] :init [s] :capture [] :body [(add (arg :index 0 :dtype f64 :shape []) (arg :index 1 :dtype f64 :shape []))]"
      " :back [0] :outs [1 0 0]) :output 0) s)", 1, 7, "7" },
};

START_TEST(only_what_is_taken_fails)
{
    for (int r = 0; r < CG_LEN(failures); r++) {
        world w = open_world(failures[r].s, failures[r].i);
        cg_node *n = read_text(&w, failures[r].expr);
        cg_function *f = compiled(&w, &n, 1, NULL, 0);
        cg_array *out = NULL;
        const bool went = cg_call(f, w.arg, VARS, &out) == CG_OK && cg_array_data(out);
        ck_assert_msg(went == !failures[r].says && (went || strstr(cg_last_error()->text, failures[r].says)), "%s: %s", failures[r].expr, went ? "went well" : cg_last_error()->text);
        cg_array_free(out);
        cg_function_free(f);
        close_world(&w);
    }
}
END_TEST

/* A branch of a loop that no step takes: what of it is the same in every step is not computed before the loop, nor is anything kept for the
 * gradient, for either would fail. */
START_TEST(in_a_loop_only_what_is_taken_runs)
{
    for (int way = 0; way < 2; way++) {
        world w = open_world(1, 9);
        cg_scan *s = cg_scan_begin(w.g, CG_SCAN(.steps = cg_scalar(w.g, CG_I64, 3)));
        cg_node *h = cg_scan_state(s, w.in[S]), *t = cg_scan_index(s), *next, *last, *dx, *ds;
        cg_node *cond = way ? cg_greater(h, cg_weak(w.g, 1000)) : cg_greater(t, cg_weak(w.g, 5));
        cg_node *never = cg_mul(cg_sum(cg_mul(cg_take(w.in[0], w.in[VARS - 1]), h), CG_REDUCE()), cg_sin(cg_mul(h, cg_take(w.in[1], cg_add(w.in[I], t)))));
        cg_ifelse(cond, CG_NODES(never), CG_NODES(cg_mul(cg_mul(h, h), cg_take(w.in[0], t))), CG_OUT(&next));
        cg_scan_next(s, h, next);
        cg_scan_out(s, next, CG_SCAN_LAST);
        ck_assert_msg(cg_scan_end(s, CG_OUT(&last)) == CG_OK && cg_grad(last, CG_NODES(w.in[0], w.in[S]), CG_OUT(&dx, &ds)) == CG_OK, "%s", first_error(&w));
        cg_function *f = compiled(&w, (cg_node *[]){ last, dx, ds }, 3, NULL, 0);
        cg_array *got[3];
        ck_assert_msg(cg_call(f, w.arg, VARS, got) == CG_OK, "%s", cg_last_error()->text);
        const double *x = cg_array_data(w.arg[0]), *v = cg_array_data(got[0]), *d = cg_array_data(got[1]), *by_s = cg_array_data(got[2]);
        ck_assert_msg(v && d && by_s, "%s", cg_last_error()->text);
        const double want = pow(x[0], 4) * pow(x[1], 2) * x[2];              /* of s = 1: s^8 x0^4 x1^2 x2 */
        ck_assert(fabs(*v - want) < 1e-12 && fabs(d[1] - 2 * want / x[1]) < 1e-12 && d[3] == 0 && fabs(*by_s - 8 * want) < 1e-12);
        for (int k = 0; k < 3; k++)
            cg_array_free(got[k]);
        cg_function_free(f);
        close_world(&w);
    }
}
END_TEST

/* A product of a row could be one of all rows before the loop; in a branch it stays. */
START_TEST(a_product_in_a_branch_of_a_loop_stays_there)
{
    world w = open_world(1, 1);
    cg_scan *s = cg_scan_begin(w.g, CG_SCAN());
    cg_node *row = cg_expand_dims(cg_scan_seq(s, w.in[2]), 0), *y;
    cg_ifelse(cg_less(cg_scan_index(s), cg_weak(w.g, 2)), CG_NODES(cg_matmul(row, w.in[2])), CG_NODES(row), CG_OUT(&y));
    cg_scan_out(s, y, CG_SCAN_ALL);
    ck_assert_msg(cg_scan_end(s, CG_OUT(&y)) == CG_OK, "%s", first_error(&w));
    cg_function *f = compiled(&w, &y, 1, NULL, 0);
    char *plan = cg_function_show(f, CG_STAGE_PLAN);
    const char *branch = strstr(plan, "(if "), *product = strstr(plan, "(gemm ");
    ck_assert_msg(branch && product && branch < product && !strstr(product + 1, "(gemm "), "%s", plan);
    cg_text_free(plan);
    cg_function_free(f);
    close_world(&w);
}
END_TEST

/* ---- types, and what is said of wrong ones */

static const struct { const char *expr, *says; } wrong[] = {
    { "(ifelse x x y)", "the condition must be a scalar, is x (input f64[4]" },
    { "(ifelse (less i 5) x A)", "must be of one dtype and shape, but are x (input f64[4]" },
    { "(ifelse (less i 5) x (cast y :dtype f32))", "must be of one dtype and shape, but are x (input f64[4]" },
    { "(ifelse (less i 5) x 1)", "must be of one dtype and shape" },
    { "(ifelse (less i 5) k 1.5)", "must be of one dtype and shape" },
    { "(ifelse (less i 5) x)", "takes 3 operands, got 2" },
};

START_TEST(wrong_branches_are_told)
{
    for (int r = 0; r < CG_LEN(wrong); r++) {
        world w = open_world(1, 1);
        ck_assert_msg(!cg_read(w.g, wrong[r].expr, w.in, VARS) && strstr(first_error(&w), wrong[r].says), "%s: %s", wrong[r].expr, first_error(&w));
        close_world(&w);
    }
    world w = open_world(1, 1);
    cg_node *a = w.in[0], *b = w.in[0];
    ck_assert_int_eq(cg_ifelse(w.in[I], CG_NODES(w.in[0], w.in[1]), CG_NODES(w.in[0]), CG_OUT(&a, &b)), CG_EINVAL);
    ck_assert_msg(!a && !b && strstr(first_error(&w), "2 values if i"), "%s", first_error(&w));
    cg_graph_clear_error(w.g);
    ck_assert_int_lt(cg_ifelse(w.in[I], CG_NODES(w.in[0], NULL), CG_NODES(w.in[1], w.in[1]), CG_OUT(&a, &b)), 0);
    ck_assert(!a && !b && !cg_graph_error(w.g));
    close_world(&w);
}
END_TEST

START_TEST(sizes_first_seen_at_the_call_are_one)
{
    const double data[6] = { 1, 2, 3, 4, 5, 6 };
    const int64_t one = 1;
    cg_graph *g = cg_graph_new();
    cg_node *a = cg_input(g, "a", CG_F64, CG_SHAPE(CG_ANY, 2)), *b = cg_input(g, "b", CG_F64, CG_SHAPE(CG_ANY, 2)), *i = cg_input(g, "i", CG_I64, NULL, 0), *y = NULL, *d = NULL;
    cg_ifelse(i, CG_NODES(cg_exp(a)), CG_NODES(cg_abs(b)), CG_OUT(&y));
    ck_assert_int_eq(cg_grad(cg_sum(y, CG_REDUCE()), CG_NODES(a), CG_OUT(&d)), CG_OK);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "sizes", CG_INPUTS(a, b, i), CG_OUTPUTS(y, d)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    for (int64_t m = 1; m <= 3; m++) {
        cg_array *in[] = { cg_array_new(CG_F64, CG_SHAPE(3, 2), data), cg_array_new(CG_F64, CG_SHAPE(m, 2), data), cg_array_new(CG_I64, NULL, 0, &one) }, *out[2];
        const int rc = cg_call(f, in, 3, out);
        ck_assert_msg((rc == CG_OK) == (m == 3), "%s", cg_last_error()->text);
        ck_assert_msg(rc == CG_OK || (strstr(cg_last_error()->text, "and exp f64") && strstr(cg_last_error()->text, "and abs f64")), "%s", cg_last_error()->text);
        for (int k = 0; k < 2 && rc == CG_OK; k++) {
            ck_assert(fabs(((const double *)cg_array_data(out[k]))[5] - exp(6)) < 1e-9);
            cg_array_free(out[k]);
        }
        for (int k = 0; k < 3; k++)
            cg_array_free(in[k]);
    }
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

START_TEST(printed_and_read_again)
{
    for (int r = 0; r < CG_LEN(rows); r++) {
        world w = open_world(1, 1);
        cg_node *a = NULL, *roots[ROOTS];
        cg_ifelse(read_text(&w, rows[r].cond), CG_NODES(read_text(&w, rows[r].then)), CG_NODES(read_text(&w, rows[r].otherwise)), CG_OUT(&a));
        make_roots(&w, a, roots);
        for (int k = 0; k < ROOTS; k++) {
            char *text = cg_print(&roots[k], 1);
            ck_assert_msg(text && cg_read(w.g, text, w.in, VARS) == roots[k], "%s", text);
            cg_text_free(text);
        }
        close_world(&w);
    }
}
END_TEST

/* ---- updates: a step is made only if the loss is finite */

START_TEST(a_variable_is_updated_by_one_branch)
{
    const double start[2] = { 1, 2 };
    double want[2] = { 1, 2 };
    cg_graph *g = cg_graph_new();
    cg_array *v = cg_array_new(CG_F64, CG_SHAPE(2), start);
    cg_node *W = cg_shared(g, "W", v), *x = cg_input(g, "x", CG_F64, CG_SHAPE(2)), *loss = cg_sum(cg_square(cg_mul(W, x)), CG_REDUCE()), *dW, *next = NULL, *seen = NULL;
    cg_grad(loss, CG_NODES(W), CG_OUT(&dW));
    cg_ifelse(cg_isfinite(loss), CG_NODES(cg_sub(W, cg_scale(dW, 0.1)), loss), CG_NODES(W, cg_weak(g, -1)), CG_OUT(&next, &seen));
    cg_function *f = cg_compile(g, CG_SPEC(.name = "step", CG_INPUTS(x), CG_OUTPUTS(seen), CG_UPDATES({ W, next })));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    for (int t = 0; t < 6; t++) {
        const double data[2] = { t % 3 == 1 ? NAN : 0.5 + t, 0.25 };
        cg_array *in = cg_array_new(CG_F64, CG_SHAPE(2), data), *out = NULL;
        ck_assert_msg(cg_call(f, &in, 1, &out) == CG_OK, "%s", cg_last_error()->text);
        const double loss_now = t % 3 == 1 ? -1 : want[0] * want[0] * data[0] * data[0] + want[1] * want[1] * data[1] * data[1];
        for (int k = 0; k < 2 && t % 3 != 1; k++)
            want[k] -= 0.1 * 2 * want[k] * data[k] * data[k];
        ck_assert_msg(fabs(*(const double *)cg_array_data(out) - loss_now) < 1e-12, "step %d", t);
        for (int k = 0; k < 2; k++)
            ck_assert_msg(fabs(((const double *)cg_array_data(v))[k] - want[k]) < 1e-12, "step %d", t);
        cg_array_free(in);
        cg_array_free(out);
    }
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(v);
}
END_TEST

int main(void)
{
    return RUN_TESTS("branch", a_choice_is_the_branch_that_is_taken, the_other_branch_runs_no_step, conditions_cost_what_they_must, only_what_is_taken_fails, in_a_loop_only_what_is_taken_runs, a_product_in_a_branch_of_a_loop_stays_there,
                     wrong_branches_are_told, sizes_first_seen_at_the_call_are_one, printed_and_read_again, a_variable_is_updated_by_one_branch);
}
