// SPDX-License-Identifier: MIT
/* Rewrites. Each row of the rules makes its test: it is understood, fires on its own match, keeps the type, and gives what
 * its replacement reads as. Then whole graphs, before and after. */
#include "core/graph/ir.h"
#include "core/rewrite/rewrite.h"
#include "tests/rule_texts.h"
#include "tests/suite.h"

static cg_graph *g;
static cg_node *vars[RULE_VARS];

static void setup(void)
{
    g = cg_graph_new();
    make_rule_vars(g, vars, CG_F32, CG_ANY);
}

static void teardown(void)
{
    ck_assert_msg(cg_graph_verify(g) == CG_OK, "%s", cg_last_error()->text);
    cg_graph_free(g);
}

static cg_node *read_text(const char *text)
{
    cg_node *node = read_rule_text(g, vars, text);
    ck_assert_msg(node != NULL, "%s: %s", text, cg_graph_error(g) ? cg_graph_error(g)->text : "no error");
    return node;
}

static void same_type(const char *name, const cg_node *a, const cg_node *b)
{
    ck_assert_msg(a->type.dtype == b->type.dtype && a->type.rank == b->type.rank, "%s changes the type", name);
    for (int i = 0; i < a->type.rank; i++)
        ck_assert_msg(cg__dim_same(a->type.dim[i], b->type.dim[i]), "%s changes the shape", name);
}

START_TEST(every_rule_fires_on_its_match)
{
    const cg_rule *rows;
    const int n = cg__rules(&rows);
    for (int i = 0; i < n; i++) {
        ck_assert_msg(!cg__rule_broken(i), "%s: %s", rows[i].name, cg__rule_broken(i));
        cg_node *old = read_text(rows[i].example ? rows[i].example : rows[i].match), *new_ = cg__rule_fire(g, i, old);
        ck_assert_msg(new_ != NULL, "%s does not fire", rows[i].name);
        same_type(rows[i].name, old, new_);
        if (rows[i].replace && !rows[i].example && *rows[i].replace != '0' && *rows[i].replace != '1')
            ck_assert_msg(new_ == read_text(rows[i].replace), "%s does not give its replacement", rows[i].name);
        ck_assert_msg(!cg_graph_error(g), "%s leaves an error", rows[i].name);
    }
    ck_assert_int_eq(cg_graph_verify(g), CG_OK);
}
END_TEST

START_TEST(names_of_rules_are_their_own)
{
    const cg_rule *rows;
    const int n = cg__rules(&rows);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(rows[i].name, rows[k].name);
}
END_TEST

static void becomes(const char *before, const char *after)
{
    cg_error err = { 0 };
    cg_node *old = read_text(before), *root = old, *want = read_text(after);
    ck_assert_msg(cg__rewrite(g, &root, 1, NULL, &err) == CG_OK, "%s: %s", before, err.text);
    char *got = cg_print(&root, 1);
    ck_assert_msg(root == want, "%s became %s, not %s", before, got, after);
    cg_text_free(got);
    same_type(before, old, root);
}

START_TEST(graphs_become_what_they_should)
{
    static const struct { const char *before, *after; } rows[] = {
        { "(sum (mul x 1))", "(sum x)" },
        { "(mul 1 (add 0 x))", "x" },
        { "(neg (neg (neg (neg (neg x)))))", "(neg x)" },
        { "(log (add (exp x) 1))", "(softplus x)" },
        { "(log (add 1 (exp (neg (neg x)))))", "(softplus x)" },
        { "(neg (log (softmax (add x 0) :axis 1)))", "(neg (log_softmax x :axis 1))" },
        { "(div 1 (add (exp (neg n)) 1))", "(sigmoid n)" },
        { "(mul x (const f32 [2 3] [1 1 1 1 1 1]))", "x" },
        { "(mul r (const f32 [2 3] [1 1 1 1 1 1]))", "(broadcast_to r :shape [2 3])" },
        { "(add n (const f32 [] [0]))", "n" },
        { "(reshape (reshape n :shape [-1]) :shape [(dim n :axis 0) 3])", "n" },
        { "(transpose (transpose n))", "n" },
        { "(exp (mul n 1))", "(exp n)" },
        { "(mul (exp x) (exp x))", "(square (exp x))" },
        { "(div (exp n) (sum (exp n) :axis [1] :keepdims true))", "(softmax n :axis 1)" },
        { "(where true x r)", "x" },
        { "(where true r x)", "(broadcast_to r :shape [2 3])" },
        /* terms */
        { "(add (add (mul x 2) y) (mul 3 x))", "(add (mul x 5) y)" },
        { "(add (add x 1) 2)", "(add x 3)" },
        { "(add x x)", "(mul x 2)" },
        { "(mul 2 (mul (mul 3 x) 4))", "(mul x 24)" },
        { "(mul (mul (mul x x) x) x)", "(square (square x))" },
        { "(mul (mul x x) x)", "(mul (square x) x)" },
        /* views of views */
        { "(slice (slice x :start [none 0] :stop [none 3]) :start [1 1])", "(slice x :start [1 1] :stop [none 3] :step [1 1])" },
        { "(slice (slice r :step [-1]) :start [1] :stop [3])", "(slice r :start [-2] :stop [-4] :step [-1])" },
        { "(slice (slice n :start [1 none]) :start [none 1] :stop [none 2])", "(slice n :start [1 1] :stop [none 2] :step [1 1])" },
        { "(sum (sum x :axis [1] :keepdims true))", "(sum x)" },
        { "(sum (transpose x))", "(sum x)" },
        { "(sum (transpose x) :axis [0])", "(sum x :axis [1])" },
        { "(mean (reshape n :shape [-1]))", "(mean n)" },
        { "(max (transpose (reshape x :shape [1 2 3]) :axes [2 0 1]) :axis [2])", "(transpose (max (reshape x :shape [1 2 3]) :axis [1]) :axes [1 0])" },
        { "(sum (broadcast_to r :shape [4 3]))", "(mul (sum r) 4)" },
        /* stable forms meet over several rules */
        { "(log (sub 1 (exp x)))", "(log1mexp x)" },
        { "(sub x (log (sum (exp x) :axis [1] :keepdims true)))", "(log_softmax x :axis 1)" },
        { "(exp (sub x (log (sum (exp x) :axis [1] :keepdims true))))", "(softmax x :axis 1)" },
        { "(log (sub 1 (sigmoid x)))", "(neg (softplus x))" },
        { "(mul (div y (add 1 (exp x))) (exp x))", "(mul (sigmoid x) y)" },
        /* products */
        { "(add s (mul 3 (matmul x (transpose y))))", "(gemm x (transpose y) (const f32 [] [3]) s)" },
        { "(sub (mul 0.9 s) (matmul x (transpose y)))", "(gemm x (transpose y) (const f32 [] [-1]) (mul 0.9 s))" },
        { "(add (matmul x (transpose y)) (neg (matmul y (transpose x))))", "(gemm y (transpose x) (const f32 [] [-1]) (matmul x (transpose y)))" },
        { "(transpose (matmul x (transpose y)))", "(matmul y (transpose x))" },
    };
    for (int i = 0; i < CG_LEN(rows); i++)
        becomes(rows[i].before, rows[i].after);
    ck_assert_int_eq(cg_graph_verify(g), CG_OK);
}
END_TEST

START_TEST(near_misses_stay)
{
    static const char *const rows[] = {
        "(mul x 2)", "(mul x 0)", "(exp (log x))", "(sub x x)", "(log (add 2 x))", "(div (exp x) (sum (exp y) :axis [1] :keepdims true))",
        "(div (exp x) (sum (exp x) :axis [0 1] :keepdims true))", "(transpose x)", "(cast (cast x :dtype f16) :dtype f64)",
        "(reshape x :shape [3 2])", "(mul x y)", "(where c x y)", "(mul x (const f32 [3] [1 1 2]))", "(dim n :axis 0)",
        "(reshape n :shape [1 (dim n :axis 0) 3])",
        "(sub (add x y) x)", "(mul (mul x 1e30) 1e30)", "(slice (slice n :start [1]) :start [1])",
        "(tanh (add (matmul x (transpose y)) s))", "(add (matmul x (transpose y)) p)", "(mul (matmul x (transpose y)) q)",
    };
    for (int i = 0; i < CG_LEN(rows); i++)
        becomes(rows[i], rows[i]);
}
END_TEST

START_TEST(several_roots_share_and_names_stay)
{
    cg_node *h = cg_name(read_text("(add (exp x) 0)"), "h"), *roots[] = { h, cg_neg(h), vars[1] };
    cg_error err = { 0 };
    ck_assert_int_eq(cg__rewrite(g, roots, CG_LEN(roots), NULL, &err), CG_OK);
    ck_assert_ptr_eq(roots[0], read_text("(exp x)"));
    ck_assert_ptr_eq(roots[1]->in[0], roots[0]);
    ck_assert_ptr_eq(roots[2], vars[1]);
    ck_assert_str_eq(cg_node_name(roots[0]), "h");
}
END_TEST

static void count_log(void *user, const cg_node *old, const cg_node *new_, const char *rule)
{
    ck_assert(old != new_);
    ck_assert_str_eq(rule, "mul_one");
    ++*(int *)user;
}

START_TEST(the_log_tells_each_firing)
{
    int count = 0;
    cg_error err = { 0 };
    cg_node *root = read_text("(exp (mul (mul x 1) 1))");
    cg__rewrite_how(&(cg_rewriting){ .log = count_log, .user = &count });
    ck_assert_int_eq(cg__rewrite(g, &root, 1, NULL, &err), CG_OK);
    cg__rewrite_how(NULL);
    ck_assert_int_eq(count, 2);
}
END_TEST

START_TEST(deep_graphs_cost_no_stack)
{
    cg_error err = { 0 };
    cg_node *root = vars[0];
    for (int i = 0; i < 20000; i++)
        root = cg_sin(cg_scale(root, 1));
    ck_assert_int_eq(cg__rewrite(g, &root, 1, NULL, &err), CG_OK);
    int depth = 0;
    for (; root != vars[0]; root = root->in[0], depth++)
        ck_assert_str_eq(root->op->name, "sin");
    ck_assert_int_eq(depth, 20000);
}
END_TEST

/* A part that something else reads is computed anyway: it is not absorbed. */
START_TEST(what_is_read_twice_is_not_absorbed)
{
    cg_error err = { 0 };
    cg_node *product = read_text("(matmul x (transpose y))"), *roots[] = { cg_add(vars[8], product), product };
    ck_assert_int_eq(cg__rewrite(g, roots, 2, NULL, &err), CG_OK);
    ck_assert_ptr_eq(roots[0], cg_add(vars[8], product));
    cg_node *chain = read_text("(add (mul x 2) y)"), *both[] = { cg_add(chain, vars[0]), chain };
    ck_assert_int_eq(cg__rewrite(g, both, 2, NULL, &err), CG_OK);
    ck_assert_ptr_eq(both[0], cg_add(chain, vars[0]));
}
END_TEST

START_TEST(memory_may_run_out_anywhere)
{
    cg_node *old = read_text("(log (add 1 (exp (mul (neg (neg x)) 1))))");
    for (long i = 1; i < 200; i++) {
        cg_error err = { 0 };
        cg_node *root = old;
        cg_graph_clear_error(g);
        cg__alloc_fail_at(i, true);
        const int rc = cg__rewrite(g, &root, 1, NULL, &err);
        cg__alloc_fail_at(0, false);
        ck_assert(rc == CG_OK || rc == CG_ENOMEM);
    }
    ck_assert_int_eq(cg_graph_verify(g), CG_OK);
}
END_TEST

START_TEST(rules_print)
{
    char *text = cg_list_rules();
    ck_assert_ptr_nonnull(strstr(text, "(log (add 1 (exp ?x))) -> (softplus ?x)\n"));
    ck_assert_ptr_nonnull(strstr(text, "\ncanonical\n"));
    cg_text_free(text);
}
END_TEST

int main(void)
{
    TCase *t = TESTS("rewrite", every_rule_fires_on_its_match, names_of_rules_are_their_own, graphs_become_what_they_should, near_misses_stay,
                     several_roots_share_and_names_stay, the_log_tells_each_firing, deep_graphs_cost_no_stack, what_is_read_twice_is_not_absorbed,
                     memory_may_run_out_anywhere, rules_print);
    tcase_add_checked_fixture(t, setup, teardown);
    return run_case("rewrite", t);
}
