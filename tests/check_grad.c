// SPDX-License-Identifier: MIT
/* What cg_grad gives where the chain rule is not all: the three kinds of no gradient, known gradients, constants, gradients by hand, and what
 * it says of wrong uses. Expressions are text over x y (f64[3]), s (f64), i (i64[3]); values are compared on the device of CG_DEVICE. */
#include <check.h>
#include <math.h>
#include "core/graph/ir.h"
#include "tests/suite.h"
#include "tests/verified.h"

enum { N = 3, MAX_OUT = 128, VARS = 4 };
static const double xs[N] = { 0.7, -1.3, 2.2 }, ys[N] = { 1.9, 0.4, -0.6 }, ss = 1.5;
static const int64_t is[N] = { 2, 0, 1 };

typedef struct world { cg_graph *g; cg_node *x, *y, *s, *i, *in[VARS], *out[MAX_OUT]; const char *name[MAX_OUT]; int nout; } world;

static world open_world(void)
{
    world w = { .g = cg_graph_new() };
    w.in[0] = w.x = cg_input(w.g, "x", CG_F64, CG_SHAPE(N));
    w.in[1] = w.y = cg_input(w.g, "y", CG_F64, CG_SHAPE(N));
    w.in[2] = w.s = cg_input(w.g, "s", CG_F64, CG_SHAPE());
    w.in[3] = w.i = cg_input(w.g, "i", CG_I64, CG_SHAPE(N));
    return w;
}

static cg_node *as_node(world *w, const char *text)
{
    cg_node *n = cg_read(w->g, text, w->in, VARS);
    ck_assert_msg(n != NULL, "%s: %s", text, cg_last_error()->text);
    return n;
}

/* got and want, wherever want broadcasts to it, are one value when the world ends. */
static void expect(world *w, const char *name, cg_node *got, const char *want)
{
    ck_assert_msg(got != NULL, "%s: %s", name, cg_last_error()->text);
    w->name[w->nout] = name;
    w->out[w->nout++] = got;
    w->out[w->nout++] = cg_add(as_node(w, want), cg_mul(got, cg_weak(w->g, 0)));
}

static void call(world *w, cg_array *const *in, int no_rewrites)
{
    cg_array *out[MAX_OUT];
    cg_function *f = cg_compile(w->g, CG_SPEC(.inputs = w->in, .ninputs = VARS, .outputs = w->out, .noutputs = w->nout, .unused = CG_UNUSED_IGNORE,
                                              .no_rewrites = no_rewrites));
    ck_assert_msg(f && cg_call(f, in, VARS, out) == CG_OK, "%s", cg_last_error()->text);
    for (int k = 0; k < w->nout; k += 2) {
        const double *got = cg_array_data(out[k]), *want = cg_array_data(out[k + 1]);
        ck_assert_msg(got && want && cg_array_count(out[k]) == cg_array_count(out[k + 1]), "%s: another shape", w->name[k]);
        for (int64_t e = 0; e < cg_array_count(out[k]); e++)
            ck_assert_msg(fabs(got[e] - want[e]) <= 1e-12 * (1 + fabs(want[e])), "%s: element %d is %.17g, not %.17g", w->name[k], (int)e, got[e], want[e]);
    }
    for (int k = 0; k < w->nout; k++)
        cg_array_free(out[k]);
    char *left = cg_function_show(f, CG_STAGE_OPTIMIZED);
    ck_assert_msg(no_rewrites || !left || (!strstr(left, "_grad") && !strstr(left, "(grad_")), "left in what is run: %s", left);
    cg_text_free(left);
    cg_function_free(f);
}

static void close_world(world *w)
{
    cg_array *in[VARS] = { cg_array_new(CG_F64, CG_SHAPE(N), xs), cg_array_new(CG_F64, CG_SHAPE(N), ys), cg_array_new(CG_F64, NULL, 0, &ss),
                           cg_array_new(CG_I64, CG_SHAPE(N), is) };
    for (int no_rewrites = 0; no_rewrites < 2 && w->nout; no_rewrites++)
        call(w, in, no_rewrites);
    for (int k = 0; k < VARS; k++)
        cg_array_free(in[k]);
    cg_graph_free(w->g);
}

/* ---- one variable, one cost */

typedef enum { GIVES, CUT, SAYS } outcome;
static const struct { const char *cost; outcome outcome; const char *what; } first[] = {
    /* zero: the cost varies with x in steps */
    { "(sum (mul y (floor x)))",                                        GIVES, "0" },
    { "(sum (mul y (cast (greater x y) :dtype f64)))",                  GIVES, "0" },
    { "(sum (mul y (cast (cast x :dtype i32) :dtype f64)))",            GIVES, "0" },
    { "(sum (mul y (cast (argmax x :axis [0]) :dtype f64)))",           GIVES, "0" },
    { "(sum (where (less x y) x y))",                                   GIVES, "(cast (less x y) :dtype f64)" },
    { "(sum (mul x (heaviside x y)))",                                  GIVES, "(heaviside x y)" },
    /* disconnected: its value is no part of the cost */
    { "(sum y)",                                                        CUT,   NULL },
    { "(sum (take y (cast (cast (mul x 0) :dtype i64) :dtype i64)))",   CUT,   NULL },
    { "(sum (add y (cast (dim x :axis 0) :dtype f64)))",                CUT,   NULL },
    { "(sum (broadcast_to s :shape [3]))",                              CUT,   NULL },
    /* undefined: an error where it arrives at x */
    { "(sum (trigamma x))",                                             SAYS,  "has no derivative by its operand 1: polygamma" },
    { "(sum (mul (trigamma x) (square x)))",                            SAYS,  "trigamma" },
    { "(sum (exp (tanh (trigamma (mul x y)))))",                        SAYS,  "trigamma" },
    { "(sum (add (floor x) (trigamma x)))",                             SAYS,  "trigamma" },
    { "(sum (undefined_grad (square x)))",                              SAYS,  "has no derivative by its operand 1: it was marked so" },
    { "(sum (add x (trigamma y)))",                                     GIVES, "1" },
    { "(sum (trigamma (floor x)))",                                     GIVES, "0" },
    { "(sum (floor (trigamma x)))",                                     GIVES, "0" },
    { "(sum (trigamma (ceil (square x))))",                             GIVES, "0" },
    { "(sum (mul x (take y (cast (mul 0 (trigamma x)) :dtype i64))))",  GIVES, "(take y (cast (mul 0 x) :dtype i64))" },
    { "(sum (undefined_grad (zero_grad x)))",                           GIVES, "0" },
    { "(sum (undefined_grad (disconnected_grad x)))",                   CUT,   NULL },
    /* by hand */
    { "(sum (zero_grad (square x)))",                                   GIVES, "0" },
    { "(sum (mul x (zero_grad x)))",                                    GIVES, "x" },
    { "(sum (mul x (disconnected_grad x)))",                            GIVES, "x" },
    { "(sum (mul y (disconnected_grad x)))",                            CUT,   NULL },
    { "(sum (disconnected_grad (zero_grad x)))",                        CUT,   NULL },
    { "(sum (square (grad_scale x -1)))",                               GIVES, "(mul -2 x)" },
    { "(sum (square (grad_scale x s)))",                                GIVES, "(mul (mul 2 s) x)" },
    { "(sum (square (grad_scale x (square y))))",                       GIVES, "(mul (mul 2 x) (square y))" },
    { "(sum (square (grad_clip x -1 2)))",                              GIVES, "(clip (mul 2 x) -1 2)" },
    { "(sum (mul (grad_clip (mul x y) -1 1) 5))",                       GIVES, "y" },
    { "(sum (grad_scale y x))",                                         CUT,   NULL },
    { "(sum (square (add (zero_grad x) (grad_scale x 3))))",            GIVES, "(mul 12 x)" },
};

static void first_row(world *w, int r)
{
    cg_node *cost = as_node(w, first[r].cost), *d = NULL;
    const int rc = cg_grad(cost, CG_NODES(w->x), CG_OUT(&d));
    const char *says = first[r].outcome == CUT ? " does not reach sum f64[]" : first[r].what;
    if (first[r].outcome == GIVES) {
        expect(w, first[r].cost, d, first[r].what);
        return;
    }
    ck_assert_msg(rc == (first[r].outcome == CUT ? CG_EINVAL : CG_EUNSUPPORTED) && !d, "%s gives %d, %s", first[r].cost, rc, cg_last_error()->text);
    ck_assert_msg(strncmp(cg_last_error()->text, "cg_grad: x (input f64[3]", 24) == 0 && strstr(cg_last_error()->text, says), "%s: %s", first[r].cost, cg_last_error()->text);
    cg_graph_clear_error(w->g);
}

START_TEST(zero_disconnected_and_undefined_differ)
{
    world w = open_world();
    for (int r = 0; r < CG_LEN(first); r++)
        first_row(&w, r);
    close_world(&w);
}
END_TEST

/* The derivative of the sum of the derivative. */
static const struct { const char *cost, *want; } second[] = {
    { "(sum (mul x (square x)))",                       "(mul 6 x)" },
    { "(sum (square (mul x (zero_grad x))))",           "(mul 2 (square x))" },
    { "(sum (mul (disconnected_grad x) (square x)))",   "(mul 2 x)" },
    { "(sum (square (grad_scale x 3)))",                "18" },
    { "(sum (square (grad_clip x -2 2)))",              "(where (less (abs x) 1) 2 0)" },
    { "(sum (add (square x) (floor x)))",               "2" },
    { "(sum (digamma x))",                              NULL },
};

START_TEST(second_derivatives_follow_the_same_rules)
{
    world w = open_world();
    for (int r = 0; r < CG_LEN(second); r++) {
        cg_node *d = NULL, *dd = NULL;
        ck_assert_msg(cg_grad(as_node(&w, second[r].cost), CG_NODES(w.x), CG_OUT(&d)) == CG_OK, "%s: %s", second[r].cost, cg_last_error()->text);
        const int rc = cg_grad(cg_sum(d, CG_REDUCE()), CG_NODES(w.x), CG_OUT(&dd));
        if (second[r].want)
            expect(&w, second[r].cost, dd, second[r].want);
        else
            ck_assert_msg(rc == CG_EUNSUPPORTED, "%s", second[r].cost);
        cg_graph_clear_error(w.g);
    }
    close_world(&w);
}
END_TEST

START_TEST(gradients_by_hand_are_printed_and_read)
{
    world w = open_world();
    for (int r = 0; r < CG_LEN(first); r++) {
        cg_node *n = as_node(&w, first[r].cost);
        char *text = cg_print(&n, 1);
        ck_assert_msg(cg_read(w.g, text, w.in, VARS) == n, "%s comes back otherwise", text);
        cg_text_free(text);
    }
    close_world(&w);
}
END_TEST

/* ---- options */

#define OK(rc) ck_assert_msg((rc) == CG_OK, "%s", cg_last_error()->text)

static cg_node *total(cg_node *n) { return cg_sum(n, CG_REDUCE()); }

START_TEST(a_known_gradient_continues_the_chain)
{
    world w = open_world();
    cg_node *h = as_node(&w, "(tanh (mul x y))"), *cost = total(cg_square(h)), *dh, *half[2], *whole[2];
    OK(cg_grad(cost, CG_NODES(h), CG_OUT(&dh)));
    OK(cg_grad_with(NULL, CG_NODES(w.x, w.y), CG_OUT(&half[0], &half[1]), CG_GRAD(CG_KNOWN({ h, dh }))));
    OK(cg_grad(cost, CG_NODES(w.x, w.y), CG_OUT(&whole[0], &whole[1])));
    for (int k = 0; k < 2; k++)
        expect(&w, "a half", cg_sub(half[k], whole[k]), "0");
    close_world(&w);
}
END_TEST

/* Costs of x, and what is known of h = x y: the gradient of x. */
static const struct { const char *cost, *known; const char *want; } known[] = {
    { NULL,                            "(mul 3 y)",  "(mul 3 (square y))" },
    { "(sum (mul (mul x y) x))",       "(mul 3 y)",  "(add (mul 3 (square y)) (mul x y))" },        /* not 2 x y beside it */
    { "(sum (exp (mul x y)))",         "y",          "(square y)" },
    { "(sum (square x))",              "y",          "(add (square y) (mul 2 x))" },
    { "(sum (trigamma (mul x y)))",    "y",          "(square y)" },
    { NULL,                            "(mul 0 y)",  "0" },
};

START_TEST(what_is_known_is_not_computed)
{
    world w = open_world();
    cg_node *h = as_node(&w, "(mul x y)"), *dx, *dh;
    for (int r = 0; r < CG_LEN(known); r++) {
        cg_node *dk = as_node(&w, known[r].known);
        OK(cg_grad_with(known[r].cost ? as_node(&w, known[r].cost) : NULL, CG_NODES(w.x, h), CG_OUT(&dx, &dh), CG_GRAD(CG_KNOWN({ h, dk }))));
        expect(&w, "a known gradient", dx, known[r].want);
        ck_assert_ptr_eq(dh, dk);
    }
    cg_node *cost = total(w.x);
    OK(cg_grad_with(cost, CG_NODES(w.x), CG_OUT(&dx), CG_GRAD(CG_KNOWN({ cost, cg_scalar(w.g, CG_F32, 2) }))));
    expect(&w, "that of the cost itself, of another float type", dx, "2");
    cg_node *later = total(cg_mul(h, w.y)), *early = total(h);
    OK(cg_grad_with(later, CG_NODES(w.x), CG_OUT(&dx), CG_GRAD(CG_KNOWN({ early, w.s }, { w.x, w.y }))));
    ck_assert_ptr_eq(dx, w.y);
    OK(cg_grad_with(later, CG_NODES(w.x), CG_OUT(&dx), CG_GRAD(CG_KNOWN({ early, w.s }))));
    expect(&w, "a cost and another node's gradient", dx, "(add (square y) (mul s y))");
    close_world(&w);
}
END_TEST

static const struct { const char *cost, *constant, *want; } constant[] = {
    { "(sum (mul x (tanh x)))",       "(tanh x)",         "(tanh x)" },
    { "(sum (mul x (tanh x)))",       "(mul x (tanh x))", NULL },
    { "(sum (trigamma x))",           "(trigamma x)",     NULL },
    { "(sum (add x (trigamma x)))",   "(trigamma x)",     "1" },
    { "(sum (mul x x))",              "x",                "(mul 2 x)" },           /* the gradient of a constant is its own, it goes no further */
    { "(sum (mul x y))",              "(exp y)",          "y" },
};

START_TEST(constants_are_not_crossed)
{
    world w = open_world();
    for (int r = 0; r < CG_LEN(constant); r++) {
        cg_node *dx;
        const int rc = cg_grad_with(as_node(&w, constant[r].cost), CG_NODES(w.x), CG_OUT(&dx), CG_GRAD(CG_CONSTANTS(as_node(&w, constant[r].constant))));
        ck_assert_msg(rc == (constant[r].want ? CG_OK : CG_EINVAL), "%s: %s", constant[r].cost, cg_last_error()->text);
        if (constant[r].want)
            expect(&w, constant[r].cost, dx, constant[r].want);
        cg_graph_clear_error(w.g);
    }
    close_world(&w);
}
END_TEST

START_TEST(what_stands_for_the_disconnected_is_chosen)
{
    world w = open_world();
    cg_node *cost = as_node(&w, "(sum (square x))"), *dx, *dy, *ds;
    OK(cg_grad_with(cost, CG_NODES(w.x, w.y, w.s), CG_OUT(&dx, &dy, &ds), CG_GRAD(.disconnected = CG_DISCONNECTED_NULL)));
    ck_assert(dx && !dy && !ds && !cg_graph_error(w.g));
    OK(cg_grad_with(cost, CG_NODES(w.x, w.y, w.s), CG_OUT(&dx, &dy, &ds), CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS)));
    expect(&w, "x", dx, "(mul 2 x)");
    expect(&w, "zeros", dy, "0");
    expect(&w, "a zero", ds, "0");
    ck_assert_int_eq(cg_grad(cost, CG_NODES(w.x, w.y, w.s), CG_OUT(&dx, &dy, &ds)), CG_EINVAL);
    ck_assert_int_eq(cg_graph_error_count(w.g), 2);                                            /* each has its sentence */
    ck_assert_ptr_nonnull(strstr(cg_graph_error_at(w.g, 0)->text, "cg_grad: y (input f64[3]"));
    ck_assert_ptr_nonnull(strstr(cg_graph_error_at(w.g, 1)->text, "cg_grad: s (input f64[]"));
    ck_assert_ptr_nonnull(strstr(cg_graph_error_at(w.g, 1)->text, "does not reach sum f64[]"));
    cg_graph_clear_error(w.g);
    close_world(&w);
}
END_TEST

/* ---- loops */

/* h = h + c f(row of x), from s: the sum of what h was, by x, by the captured c and by the start s. */
static int loop_gradients(world *w, const char *f, cg_node *c, cg_node *wrt, cg_node **out)
{
    cg_scan *scan = cg_scan_begin(w->g, CG_SCAN());
    cg_node *row = cg_scan_seq(scan, w->x), *h = cg_scan_state(scan, w->s), *hs = NULL;
    cg_node *value = cg_read(w->g, f, (cg_node *[]){ cg_name(row, "row"), cg_name(h, "h") }, 2);
    cg_scan_next(scan, h, value ? cg_add(h, cg_mul(value, c)) : NULL);
    cg_scan_out(scan, h, CG_SCAN_ALL);
    OK(cg_scan_end(scan, CG_OUT(&hs)));
    return cg_grad(total(hs), CG_NODES(wrt), CG_OUT(out));
}

START_TEST(loops_hand_the_kinds_on)
{
    world w = open_world();
    cg_node *c = cg_scalar(w.g, CG_F64, 2), *two = cg_name(cg_mul(c, w.s), "two"), *dx, *ds;
    OK(loop_gradients(&w, "(floor row)", two, w.x, &dx));
    expect(&w, "steps in a loop", dx, "0");
    OK(loop_gradients(&w, "(zero_grad row)", c, w.s, &ds));
    expect(&w, "a start", ds, "3");
    OK(loop_gradients(&w, "(grad_scale row -1)", c, w.x, &dx));
    expect(&w, "scaled in a loop", dx, "(mul -2 (const f64 [3] [2 1 0]))");
    OK(loop_gradients(&w, "(trigamma row)", c, w.s, &ds));
    expect(&w, "nobody asked for the row", ds, "3");
    ck_assert_int_eq(loop_gradients(&w, "(trigamma row)", c, w.x, &dx), CG_EUNSUPPORTED);
    ck_assert_int_eq(loop_gradients(&w, "(trigamma h)", c, w.s, &ds), CG_EUNSUPPORTED);
    ck_assert_msg(strstr(cg_last_error()->text, "s (input f64[]") && strstr(cg_last_error()->text, "trigamma f64[]"), "%s", cg_last_error()->text);
    ck_assert_int_eq(cg_graph_error_count(w.g), 2);                                           /* an error does no harm to what comes after it */
    cg_graph_clear_error(w.g);
    ck_assert_int_eq(loop_gradients(&w, "(disconnected_grad row)", c, w.x, &dx), CG_EINVAL);
    cg_graph_clear_error(w.g);
    close_world(&w);
}
END_TEST

/* ---- wrong uses */

#define REFUSED(call, code_, says_) do {                                                                               \
        cg_graph_clear_error(w.g);                                                                                     \
        ck_assert_int_eq(call, code_);                                                                                 \
        ck_assert_msg(cg_graph_error(w.g) && strstr(cg_graph_error(w.g)->text, says_), "'%s' lacks '%s'", cg_last_error()->text, says_); \
        ck_assert_ptr_null(d);                                                                                         \
    } while (0)

START_TEST(wrong_uses_have_their_sentence)
{
    world w = open_world(), other = open_world();
    cg_node *cost = total(w.x), *d, *e, *five = cg_input(w.g, "five", CG_F64, CG_SHAPE(5));
    cg_grad_spec old = { .struct_size = 8 };
    REFUSED(cg_grad(w.x, CG_NODES(w.x), CG_OUT(&d)), CG_ESHAPE, "cg_grad: the cost must be a float scalar, is x (input f64[3]");
    REFUSED(cg_grad(cg_sum(w.i, CG_REDUCE()), CG_NODES(w.x), CG_OUT(&d)), CG_ESHAPE, "the cost must be a float scalar, is sum i64[]");
    REFUSED(cg_grad(cost, CG_NODES(w.i), CG_OUT(&d)), CG_EDTYPE, "cg_grad: i (input i64[3]");
    REFUSED(cg_grad(cost, CG_NODES(w.x), CG_OUT(&d, &e)), CG_EINVAL, "1 variables but 2 places");
    cg_node *pair = as_node(&w, "(split x :indices_or_sections [1 2] :axis 0)");
    ck_assert_int_eq(cg_node_outputs(pair), 3);
    REFUSED(cg_grad(pair, CG_NODES(w.x), CG_OUT(&d)), CG_ESHAPE, "the cost must be a float scalar, is tuple");
    REFUSED(cg_grad(cost, CG_NODES(pair), CG_OUT(&d)), CG_EINVAL, "has several outputs; take one with cg_output");
    REFUSED(cg_grad(cost, CG_NODES(other.x), CG_OUT(&d)), CG_EINVAL, "variable 0, x (input f64[3]");
    REFUSED(cg_grad(cost, CG_NODES(NULL), CG_OUT(&d)), CG_EINVAL, "cg_grad: variable 0 is NULL");
    REFUSED(cg_grad_with(NULL, CG_NODES(w.x), CG_OUT(&d), NULL), CG_EINVAL, "cg_grad: the cost is NULL");
    REFUSED(cg_grad_with(cost, CG_NODES(w.x), CG_OUT(&d), &old), CG_EINVAL, "the options are not made by CG_GRAD");
    REFUSED(cg_grad_with(NULL, CG_NODES(w.x), CG_OUT(&d), CG_GRAD(CG_KNOWN({ w.x, five }))), CG_ESHAPE, "x (input f64[3]");
    REFUSED(cg_grad_with(NULL, CG_NODES(w.x), CG_OUT(&d), CG_GRAD(CG_KNOWN({ w.i, w.x }))), CG_EDTYPE, "i (input i64[3]");
    REFUSED(cg_grad_with(NULL, CG_NODES(w.x), CG_OUT(&d), CG_GRAD(CG_KNOWN({ w.x, w.y }, { w.x, w.x }))), CG_EINVAL, "is given twice");
    REFUSED(cg_grad_with(NULL, CG_NODES(w.x), CG_OUT(&d), CG_GRAD(CG_KNOWN({ w.x, NULL }))), CG_EINVAL, "known gradient 0 is NULL");
    REFUSED(cg_grad_with(cost, CG_NODES(w.x), CG_OUT(&d), CG_GRAD(CG_CONSTANTS(other.x))), CG_EINVAL, "constant 0, x (input f64[3]");
    REFUSED(cg_grad_with(NULL, CG_NODES(w.x), CG_OUT(&d), CG_GRAD(CG_KNOWN({ w.y, w.x }))), CG_EINVAL, "does not reach what has a known gradient");
    cg_graph_clear_error(w.g);
    ck_assert_ptr_null(cg_add(w.x, five));
    ck_assert_int_eq(cg_grad(cg_sum(cg_add(w.x, five), CG_REDUCE()), CG_NODES(w.x), CG_OUT(&d)), CG_EINVAL);       /* what follows says nothing */
    ck_assert_int_eq(cg_graph_error_count(w.g), 2);
    cg_graph_clear_error(w.g);
    close_world(&other);
    close_world(&w);
}
END_TEST

/* A row of the table that forgot its gradient would be called through NULL. get and tuple never are: one is the other's operand. */
START_TEST(every_operation_tells_its_gradient)
{
    for (int op = 0; op < CG_OP_COUNT; op++)
        ck_assert_msg(cg__ops[op].grad || cg__ops[op].form || cg__ops[op].nin == 0 || op == CG_OP_get || op == CG_OP_tuple, "%s has no gradient function", cg__ops[op].name);
}
END_TEST

int main(void)
{
    return RUN_TESTS("grad", zero_disconnected_and_undefined_differ, second_derivatives_follow_the_same_rules, gradients_by_hand_are_printed_and_read,
                     a_known_gradient_continues_the_chain, what_is_known_is_not_computed, constants_are_not_crossed, what_stands_for_the_disconnected_is_chosen,
                     loops_hand_the_kinds_on, wrong_uses_have_their_sentence, every_operation_tells_its_gradient);
}
