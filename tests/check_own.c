// SPDX-License-Identifier: MIT
/* Operations that are graphs, on the device of CG_DEVICE: values are those of the graph written in place, gradients those by hand where there
 * are some, and functions see nothing of the operation. */
#include <math.h>
#include <string.h>
#include "core/graph/ir.h"
#include "tests/suite.h"
#include "tests/verified.h"

enum { N = 3, VARS = 3, MAX_OUT = 16 };
static const double xs[N] = { 0.7, -1.3, 2.2 }, ys[N] = { 1.9, 0.4, -0.6 };

typedef struct world { cg_graph *g; cg_node *x, *y, *W, *in[VARS], *got[MAX_OUT], *want[MAX_OUT]; int n; } world;

static world open_world(void)
{
    world w = { .g = cg_graph_new() };
    w.in[0] = w.x = cg_input(w.g, "x", CG_F64, CG_SHAPE(CG_ANY));
    w.in[1] = w.y = cg_input(w.g, "y", CG_F64, CG_SHAPE(N));
    w.in[2] = w.W = cg_input(w.g, "W", CG_F64, CG_SHAPE(N));
    return w;
}

static const char *first_error(const world *w) { return cg_graph_error(w->g) ? cg_graph_error(w->g)->text : cg_last_error()->text; }

static cg_node *text(world *w, const char *expr)
{
    cg_node *n = cg_read(w->g, expr, w->in, VARS);
    ck_assert_msg(n != NULL, "%s: %s", expr, first_error(w));
    return n;
}

/* When the world ends, got is what expr is. */
static void expect(world *w, cg_node *got, const char *expr)
{
    ck_assert_msg(got != NULL, "%s: %s", expr, first_error(w));
    w->got[w->n] = got;
    w->want[w->n++] = text(w, expr);
}

static cg_node *derived(world *w, cg_node *y, cg_node *by)
{
    cg_node *d = NULL;
    ck_assert_msg(cg_grad(cg_sum(y, CG_REDUCE()), CG_NODES(by), CG_OUT(&d)) == CG_OK, "%s", first_error(w));
    return d;
}

static void close_world(world *w)
{
    cg_array *arg[VARS] = { cg_array_new(CG_F64, CG_SHAPE(N), xs), cg_array_new(CG_F64, CG_SHAPE(N), ys), cg_array_new(CG_F64, CG_SHAPE(N), ys) }, *a[MAX_OUT], *b[MAX_OUT];
    const cg_spec *spec = CG_SPEC(.inputs = w->in, .ninputs = VARS, .outputs = w->got, .noutputs = w->n, .unused = CG_UNUSED_IGNORE);
    const cg_spec *plain = CG_SPEC(.inputs = w->in, .ninputs = VARS, .outputs = w->want, .noutputs = w->n, .unused = CG_UNUSED_IGNORE);
    cg_function *f = cg_compile(w->g, spec), *g = cg_compile(w->g, plain);
    ck_assert_msg(f && g && cg_call(f, arg, VARS, a) == CG_OK && cg_call(g, arg, VARS, b) == CG_OK, "%s", cg_last_error()->text);
    for (int k = 0; k < w->n; k++) {
        const double *u = cg_array_data(a[k]), *v = cg_array_data(b[k]);
        ck_assert_msg(u && v && cg_array_count(a[k]) == cg_array_count(b[k]), "output %d: another shape", k);
        for (int64_t e = 0; e < cg_array_count(a[k]); e++)
            ck_assert_msg(fabs(u[e] - v[e]) <= 1e-12 * (1 + fabs(v[e])), "output %d: element %d is %.17g, not %.17g", k, (int)e, u[e], v[e]);
        cg_array_free(a[k]);
        cg_array_free(b[k]);
    }
    for (int k = 0; k < VARS; k++)
        cg_array_free(arg[k]);
    cg_function_free(f);
    cg_function_free(g);
    cg_graph_free(w->g);
}

/* ---- gradients by hand: not those of the graphs, so that it shows which are used */

static int ten_times(const cg_own_call *c, cg_node **in_grad)
{
    in_grad[0] = cg_scale(cg_mul(c->grad[0], cg_cos(c->in[0])), *(const double *)c->user);
    return 0;
}

/* Of (exp p) + q and p q: by p by hand, by q as it is. */
static int first_only(const cg_own_call *c, cg_node **in_grad)
{
    in_grad[0] = cg_add(cg_scale(c->grad[0], 2), cg_mul(c->grad[1], c->out[0]));
    return 0;
}

static int fails(const cg_own_call *c, cg_node **in_grad) { (void)c, (void)in_grad; return -1; }
static int another_shape(const cg_own_call *c, cg_node **in_grad) { in_grad[0] = cg_sum(c->grad[0], CG_REDUCE()); return 0; }

static cg_own_op *sine(world *w)
{
    static double ten = 10;
    cg_own_op *op = cg_op_from_graph(CG_NODES(w->x), CG_NODES(cg_sin(w->x)), CG_OWN(.name = "sine", .grad = ten_times, .user = &ten));
    ck_assert_msg(op != NULL, "%s", first_error(w));
    return op;
}

static cg_node *apply1(world *w, const cg_own_op *op, cg_node *a)
{
    cg_node *y = NULL;
    ck_assert_msg(cg_apply(op, CG_NODES(a), CG_OUT(&y)) == CG_OK, "%s", first_error(w));
    return y;
}

START_TEST(a_gradient_by_hand_is_used)
{
    world w = open_world();
    const cg_own_op *op = sine(&w);
    cg_node *y = apply1(&w, op, cg_mul(w.y, w.y)), *d = derived(&w, y, w.y);
    expect(&w, y, "(sin (mul y y))");
    expect(&w, d, "(mul 20 (mul y (cos (mul y y))))");
    expect(&w, derived(&w, d, w.y), "(mul 20 (sub (cos (mul y y)) (mul (mul 2 (mul y y)) (sin (mul y y)))))");
    expect(&w, derived(&w, apply1(&w, op, apply1(&w, op, w.x)), w.x), "(mul 100 (mul (cos (sin x)) (cos x)))");
    close_world(&w);
}
END_TEST

START_TEST(without_one_its_graph_tells)
{
    world w = open_world();
    cg_own_op *op = cg_op_from_graph(CG_NODES(w.y), CG_NODES(cg_tanh(cg_mul(w.y, w.W))), CG_OWN(.name = "unit"));
    cg_node *y = apply1(&w, op, cg_exp(w.x));
    expect(&w, y, "(tanh (mul (exp x) W))");
    expect(&w, derived(&w, y, w.W), "(mul (exp x) (sub 1 (square (tanh (mul (exp x) W)))))");
    expect(&w, derived(&w, y, w.x), "(mul (mul (exp x) W) (sub 1 (square (tanh (mul (exp x) W)))))");
    close_world(&w);
}
END_TEST

/* Where args are one node, or one is what the graph makes of another, each still has its own gradient. */
START_TEST(several_operands_and_outputs)
{
    world w = open_world();
    cg_node *a, *b;
    cg_own_op *op = cg_op_from_graph(CG_NODES(w.y, w.W), CG_NODES(cg_add(cg_exp(w.y), w.W), cg_mul(w.y, w.W)), CG_OWN(.name = "pair", .grad = first_only));
    ck_assert_int_eq(cg_apply(op, CG_NODES(w.x, cg_exp(w.x)), CG_OUT(&a, &b)), CG_OK);
    expect(&w, a, "(mul 2 (exp x))");
    expect(&w, b, "(mul x (exp x))");
    expect(&w, derived(&w, a, w.x), "(add 2 (exp x))");
    expect(&w, derived(&w, cg_add(a, b), w.x), "(add (add 2 (mul 2 (exp x))) (mul (add 1 x) (exp x)))");
    ck_assert_int_eq(cg_apply(op, CG_NODES(w.y, w.y), CG_OUT(&a, &b)), CG_OK);
    expect(&w, derived(&w, b, w.y), "(add (add (exp y) y) y)");
    close_world(&w);
}
END_TEST

START_TEST(one_operation_in_another_and_in_a_loop)
{
    world w = open_world();
    cg_own_op *outer = cg_op_from_graph(CG_NODES(w.y), CG_NODES(cg_mul(apply1(&w, sine(&w), w.y), w.y)), CG_OWN(.name = "outer"));
    expect(&w, derived(&w, apply1(&w, outer, w.x), w.x), "(add (sin x) (mul 10 (mul x (cos x))))");
    cg_scan *s = cg_scan_begin(w.g, CG_SCAN(.steps = cg_scalar(w.g, CG_I64, 2)));
    cg_node *h = cg_scan_state(s, w.y), *last;
    cg_scan_next(s, h, apply1(&w, outer, h));
    cg_scan_out(s, apply1(&w, outer, h), CG_SCAN_LAST);
    ck_assert_msg(cg_scan_end(s, CG_OUT(&last)) == CG_OK, "%s", first_error(&w));
    expect(&w, last, "(let ((h (mul (sin y) y))) (mul (sin h) h))");
    expect(&w, derived(&w, last, w.y), "(let ((h (mul (sin y) y))) (mul (add (sin h) (mul 10 (mul h (cos h)))) (add (sin y) (mul 10 (mul y (cos y))))))");
    close_world(&w);
}
END_TEST

START_TEST(it_is_printed_by_name_and_gone_when_compiled)
{
    world w = open_world();
    cg_own_op *pair = cg_op_from_graph(CG_NODES(w.y), CG_NODES(cg_exp(w.y), cg_neg(w.y)), CG_OWN(.name = "pair"));
    cg_node *a, *b, *y = apply1(&w, sine(&w), cg_mul(w.x, w.x));
    ck_assert_int_eq(cg_apply(pair, CG_NODES(y), CG_OUT(&a, &b)), CG_OK);
    char *said = cg_print(&b, 1);
    ck_assert_str_eq(said, "(get (pair (sine (mul x x))) :output 1)");
    ck_assert(cg_read(w.g, said, w.in, VARS) == b);
    cg_text_free(said);
    cg_function *f = cg_compile(w.g, CG_SPEC(CG_INPUTS(w.x), CG_OUTPUTS(b, derived(&w, y, w.x))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    said = cg_function_show(f, CG_STAGE_GRAPH);
    ck_assert_msg(!strstr(said, "sine") && !strstr(said, "pair"), "%s", said);
    cg_text_free(said);
    cg_function_free(f);
    expect(&w, b, "(neg (sin (mul x x)))");
    close_world(&w);
}
END_TEST

static void says(world *w, bool failed, const char *what)
{
    ck_assert_msg(failed && cg_graph_error(w->g) && strstr(cg_graph_error(w->g)->text, what), "%s: %s", what, first_error(w));
    cg_graph_clear_error(w->g);
}

START_TEST(wrong_uses_have_their_sentence)
{
    world w = open_world();
    cg_node *y = w.y, *d, *z = cg_mul(w.y, w.W);
    const cg_own_op *op = sine(&w);
    says(&w, !cg_op_from_graph(CG_NODES(w.y), CG_NODES(z), CG_OWN(.name = "product", .grad = ten_times)), "product reads W (input f64[3]");
    says(&w, !cg_op_from_graph(CG_NODES(w.y), CG_NODES(z), CG_OWN(.name = "sine")), "'sine' is no name for an operation, or one has it already");
    says(&w, !cg_op_from_graph(CG_NODES(w.y), CG_NODES(z), CG_OWN(.name = "tanh")), "'tanh' is no name");
    says(&w, !cg_op_from_graph(CG_NODES(w.y), CG_NODES(z), CG_OWN(.name = "a b")), "'a b' is no name");
    says(&w, !cg_op_from_graph(CG_NODES(w.y), CG_NODES(z), CG_OWN(.grad = NULL)), "'' is no name");
    says(&w, !cg_op_from_graph(CG_NODES(w.y, w.y), CG_NODES(z), CG_OWN(.name = "twice")), "is input 1 and input 2");
    says(&w, !cg_op_from_graph(CG_NODES(cg_scalar(w.g, CG_F64, 1)), CG_NODES(z), CG_OWN(.name = "one")), "is no input of an operation");
    says(&w, !cg_op_from_graph(CG_NODES(w.y), CG_NODES(z), &(cg_own_spec){ .struct_size = 1, .name = "old" }), "not made by CG_OWN of this version");
    says(&w, cg_apply(op, CG_NODES(w.x, w.y), CG_OUT(&y)) < 0 && !y, "sine takes 1 operand, got 2");
    says(&w, cg_apply(op, CG_NODES(w.x), CG_OUT(&y, &d)) < 0 && !y && !d, "sine has 1 output, but there are 2 places");
    says(&w, cg_apply(op, CG_NODES(cg_cast(w.x, CG_F32)), CG_OUT(&y)) < 0, "operand 1 of sine is cast f32");
    says(&w, cg_apply(op, CG_NODES(cg_sum(w.x, CG_REDUCE())), CG_OUT(&y)) < 0, "but its graph was made for x (input f64");
    world other = open_world();
    says(&w, cg_apply(op, CG_NODES(other.x), CG_OUT(&y)) < 0, "sine: x (input f64");
    says(&other, !cg_read(other.g, "(sine x)", other.in, VARS), "there is no operation 'sine'");
    ck_assert(cg_apply(op, CG_NODES(NULL), CG_OUT(&y)) < 0 && !cg_graph_error(w.g));
    cg_own_op *bad = cg_op_from_graph(CG_NODES(w.y), CG_NODES(cg_exp(w.y)), CG_OWN(.name = "bad", .grad = fails));
    says(&w, cg_grad(cg_sum(apply1(&w, bad, w.y), CG_REDUCE()), CG_NODES(w.y), CG_OUT(&d)) < 0 && !d, "bad: its gradient function failed");
    bad = cg_op_from_graph(CG_NODES(w.y), CG_NODES(cg_exp(w.y)), CG_OWN(.name = "worse", .grad = another_shape));
    says(&w, cg_grad(cg_sum(apply1(&w, bad, w.y), CG_REDUCE()), CG_NODES(w.y), CG_OUT(&d)) < 0 && !d, "worse: the gradient by its operand 1, y (input f64[3]");
    cg_graph_free(other.g);
    cg_graph_free(w.g);
}
END_TEST

int main(void)
{
    return RUN_TESTS("own", a_gradient_by_hand_is_used, without_one_its_graph_tells, several_operands_and_outputs, one_operation_in_another_and_in_a_loop,
                     it_is_printed_by_name_and_gone_when_compiled, wrong_uses_have_their_sentence);
}
