// SPDX-License-Identifier: MIT
/* The printed form: what is printed reads back as the same node, and no text, however hostile, does worse than an error. */
#include "core/graph/ir.h"
#include "tests/suite.h"

static cg_graph *g;
static cg_node *vars[5];

static void setup(void)
{
    g = cg_graph_new();
    vars[0] = cg_input(g, "x", CG_F32, CG_SHAPE(2, 3));
    vars[1] = cg_input(g, "y", CG_F32, CG_SHAPE(2, 3));
    vars[2] = cg_input(g, "i", CG_I64, CG_SHAPE(2));
    vars[3] = cg_input(g, "n", CG_F32, CG_SHAPE(CG_ANY, 3));
    vars[4] = cg_input(g, NULL, CG_F16, CG_SHAPE(2, 3));
}

static void teardown(void)
{
    ck_assert_msg(cg_graph_verify(g) == CG_OK, "%s", cg_last_error()->text);
    cg_graph_free(g);
}

static cg_node *read_text(const char *text) { return cg_read(g, text, vars, CG_LEN(vars)); }

static const char *why(void) { return cg_graph_error(g) ? cg_graph_error(g)->text : "no error"; }

static void prints_as(const char *text, const char *want)
{
    cg_node *n = read_text(text);
    ck_assert_msg(n != NULL, "%s: %s", text, why());
    char *printed = cg_print(&n, 1);
    ck_assert_str_eq(printed, want);
    ck_assert_msg(read_text(printed) == n, "%s: %s reads back as another node (%s)", text, printed, why());
    cg_text_free(printed);
}

START_TEST(prints_what_it_reads)
{
    static const struct { const char *text, *printed; } rows[] = {
        { "x", "x" },
        { "2", "2" },
        { "0.1", "0.1" },
        { "0.30000000000000004", "0.30000000000000004" },
        { "-inf", "-inf" },
        { "(add x 1)", "(add x 1)" },
        { "(add x nan)", "(add x nan)" },
        { "(add x -0)", "(add x -0)" },
        { "(multiply (subtract x y) (true_divide x (absolute (negative y))))", "(mul (sub x y) (div x (abs (neg y))))" },
        { "(where true x 0)", "(where true x 0)" },
        { "(const f32 [2 3] [1 2 3 4 5 0.5])", "(const f32 [2 3] [1 2 3 4 5 0.5])" },
        { "(const bool [2] [true false])", "(const bool [2] [true false])" },
        { "(const u64 [1] [18446744073709551615])", "(const u64 [1] [18446744073709551615])" },
        { "(const f64 [] [0.1])", "(const f64 [] [0.1])" },
        { "(const f32 [0 3] [])", "(const f32 [0 3] [])" },
        { "(sum x :axis 1)", "(sum x :axis [1] :keepdims false)" },
        { "(sum :axis [0] :keepdims true x)", "(sum x :axis [0] :keepdims true)" },
        { "(softmax x :axis -1)", "(softmax x :axis 1)" },
        { "(cast x :dtype f64)", "(cast x :dtype f64)" },
        { "(transpose x)", "(transpose x :axes [1 0])" },
        { "(dim n :axis 0)", "(dim n :axis 0)" },
        { "(let ((h (exp x))) (add h 1))", "(add (exp x) 1)" },
        { "(let ((h (exp x)) (k (mul h h))) (add k h))", "(let ((t1 (exp x))) (add (mul t1 t1) t1))" },
        { "(let ((x y)) (exp x))", "(exp y)" },
        { "(add (let ((x y)) (exp x)) x) ; x is x again", "(add (exp y) x)" },
        { "(let () x)", "x" },
    };
    for (int i = 0; i < CG_LEN(rows); i++)
        prints_as(rows[i].text, rows[i].printed);
}
END_TEST

/* h = h + row, over the rows of n; the last h */
#define SUM_OF_ROWS                                                                                                                      \
    "(get (scan (dim n :axis 0) :seq [n] :init [(const f32 [3] [0 0 0])] :capture [] :body [(add (arg :index 0 :dtype f32 :shape [3]) "   \
    "(arg :index 1 :dtype f32 :shape [3]))] :back [0] :outs [1 0 0]) :output 0)"

/* All rows of n * n, and their sum. */
#define TWO_OUTPUTS                                                                                                                      \
    "(let ((s (scan (dim n :axis 0) :seq [n n] :init [] :capture [] :body [(mul (arg :index 0 :dtype f32 :shape [3]) "                    \
    "(arg :index 1 :dtype f32 :shape [3]))] :back [0 1] :outs [0 0 0 2 0 0]))) (add (get s :output 0) (get s :output 1)))"

START_TEST(symbolic_attributes_come_back)
{
    static const char *const rows[] = {
        "(reshape n :shape [(dim n :axis 0) 1 3])", "(broadcast_to (sum n :axis [0]) :shape [(dim n :axis 0) 3])",
        "(slice x :start [0 none] :stop [none 2] :step [1 -1])", "(slice n :start [(dim n :axis 0) 0] :stop [none none] :step [-1 1])",
        "(exp n)", "(matmul n (transpose n))", "(argmax n :axis 1)", "(take n i)",
        "(sliding_window_view n :axis [1] :window_shape [2] :stride [2])",
        SUM_OF_ROWS,
        "(get (scan 2 :seq [x] :init [] :capture [] :body [(arg :index 0 :dtype f32 :shape [3])] :back [0] :outs [0 0 0]) :output 0)",
        "(get (scan 2 :seq [x] :init [] :capture [] :body [(arg :index 0 :dtype f32 :shape [3])] :back [0] :outs [0 0 0] :truncate_gradient 1) :output 0)",
        TWO_OUTPUTS,
    };
    for (int i = 0; i < CG_LEN(rows); i++) {
        cg_node *n = read_text(rows[i]);
        ck_assert_msg(n != NULL, "%s: %s", rows[i], why());
        char *printed = cg_print(&n, 1);
        ck_assert_msg(read_text(printed) == n, "%s: %s reads back as another node (%s)", rows[i], printed, why());
        cg_text_free(printed);
    }
}
END_TEST

START_TEST(names_survive_where_they_are_words)
{
    cg_node *h = cg_name(cg_exp(vars[0]), "h"), *bad = cg_name(cg_exp(vars[1]), "two words"), *x = cg_name(cg_neg(vars[0]), "x");
    cg_node *roots[] = { cg_mul(h, h), cg_mul(bad, bad), cg_mul(x, x), cg_exp(vars[4]) };
    char *printed = cg_print(roots, CG_LEN(roots));
    ck_assert_str_eq(printed, "(let ((h (exp x))) (mul h h))\n(let ((t1 (exp y))) (mul t1 t1))\n(let ((t1 (neg x))) (mul t1 t1))\n(exp v5)");
    cg_text_free(printed);
    ck_assert_ptr_eq(read_text("(exp v5)"), roots[3]);
}
END_TEST

START_TEST(deep_and_shared_graphs_print_and_read)
{
    cg_node *n = vars[0];
    for (int i = 0; i < 20000; i++)
        n = cg_exp(n);
    for (int i = 0; i < 200; i++)
        n = cg_mul(n, n);
    char *printed = cg_print(&n, 1);
    ck_assert_ptr_nonnull(printed);
    ck_assert(strlen(printed) < 300000);
    ck_assert_ptr_eq(read_text(printed), n);
    cg_text_free(printed);
}
END_TEST

START_TEST(hostile_texts_are_errors)
{
    static const char *const rows[] = {
        "", "   ", "(", ")", "()", "[", "]", "(add", "(add x", "(add x)", "(add x y x)", "(add x y))", "x y", "(x)", "(1 2)", "zz",
        ":axis", "(sum :axis)", "(sum x :axis [0)", "(sum x :axis 0])", "(sum x :axis [[[0]]])", "(sum x :bogus 1)", "(sum x :axis 0 :axis 1)",
        "(sum x :axis 9223372036854775807)", "(sum x :axis -9223372036854775807)", "(sum x :axis 99999999999999999999)", "(sum x :axis [0 0])",
        "(sum x :axis 7)", "(sum x :axis [0 1 2 3 4 5 6 7 8 9 10 11 12])", "(sum x :axis x)", "(sum x :axis 1.5)",
        "(let)", "(let x)", "(let (x))", "(let ((x)) x)", "(let ((h x y)) h)", "(let ((h x)))", "(let ((h x)) h h)", "(let (() ) x)",
        "(let ((h (exp k))) h)", "(add (let ((h x)) h) h)", "(const)", "(const f32)", "(const f99 [] [1])", "(const f32 [2] [1])",
        "(const f32 [2] [1 2 3])", "(const f32 [-1] [])", "(const f32 [9223372036854775807 9223372036854775807] [1])",
        "(const f32 [1 1 1 1 1 1 1 1 1] [1])", "(const i32 [1] [1.5])", "(const f32 [1] [x])", "(const f32 [2 [", "(const f32 [1] [1]",
        "(input x)", "(shared)", "(bogus x)", "(cast x :dtype f99)", "(cast x :dtype 77)", "(cast x)", "(dim x :axis 9)", "(dim 1)",
        "(reshape x :shape [7])", "(reshape x :shape [1 1 1 1 1 1 1 1 1 1 6])", "(reshape x :shape [-1 -1])", "(transpose x :axes [0 0])",
        "(transpose x :axes [0 9])", "(softmax x :axis [0 1])", "(slice x :start [0 0 0 0 0 0 0 0 0 0] :stop [1] :step [0])",
        "(slice x :start [0 0] :stop [1 1] :step [0 1])", "(broadcast_to x :shape [5])", "(broadcast_to x :shape [1 2 3 4 5 6 7 8 9 2 3])",
        "(expand_dims x :axis 9)", "(reshape x :shape [y])", "(reshape x :shape [6.5])", "(matmul x y)", "(one_hot i)", "(unslice x)", "(pad x)",
        "(sliding_window_view x :axis [0 0] :window_shape [1 1])", "(sliding_window_view x :axis [1] :window_shape [0])", "(sliding_window_view x)",
        "(arg)", "(arg :index -1 :dtype f32 :shape [])", "(arg :index 0 :dtype f32 :shape [-2])", "(get x :output 0)", "(scan)", "(scan x)",
        "(scan 2 :seq [x])", "(scan 2 :seq [] :init [] :capture [] :body [(exp x)] :back [] :outs [0 0 0])",
        "(scan 2 :seq [x] :init [] :capture [] :body [(arg :index 0 :dtype f32 :shape [2])] :back [0] :outs [0 0 0])",
        "(scan 2 :seq [x] :init [] :capture [] :body [(arg :index 0 :dtype f32 :shape [3])] :back [0] :outs [0 0 0] :truncate_gradient 0)",
        "(scan 2 :seq [x] :init [] :capture [] :body [(arg :index 7 :dtype f32 :shape [3])] :back [0] :outs [0 0 0])",
        "(scan 2 :seq [x] :init [] :capture [] :body [(arg :index 0 :dtype f32 :shape [3])] :back [0] :outs [0 9 0])",
        "(scan 2 :seq [x] :init [] :capture [] :body [(arg :index 0 :dtype f32 :shape [3])] :back [0] :outs [1 0 0])",
        "(scan 2 :capture [y] :seq [x] :init [] :body [(arg :index 0 :dtype f32 :shape [3])] :back [0] :outs [0 0 0])",
        "(scan 2 :seq [] :init [y] :capture [] :body [(sum (arg :index 0 :dtype f32 :shape [2 3]))] :back [] :outs [1 0 0])",
        "(exp (scan 2 :seq [x] :init [] :capture [] :body [(arg :index 0 :dtype f32 :shape [3])] :back [0] :outs [0 0 0]))",
    };
    for (int i = 0; i < CG_LEN(rows); i++) {
        cg_graph_clear_error(g);
        ck_assert_msg(read_text(rows[i]) == NULL, "'%s' was read", rows[i]);
        ck_assert_msg(cg_graph_error(g) != NULL, "'%s' leaves no error", rows[i]);
    }
    cg_graph_clear_error(g);
    ck_assert_ptr_null(read_text("(bogus x)"));
    ck_assert_int_eq(cg_graph_error(g)->code, CG_EUNSUPPORTED);
}
END_TEST

static void repeated(const char *part, int n, const char *rest)
{
    cg_strb s = { 0 };
    for (int i = 0; i < n; i++)
        cg__strb(&s, "%s", part);
    cg__strb(&s, "%s", rest);
    char *text = cg__strb_take(&s);
    cg_graph_clear_error(g);
    ck_assert_ptr_null(read_text(text));
    ck_assert_ptr_nonnull(cg_graph_error(g));
    cg__free(text);
}

START_TEST(depth_costs_no_stack)
{
    repeated("(exp ", 200000, "x");
    repeated("(let ((a ", 200000, "x");
    repeated("(sum x :axis [", 200000, "0");
    repeated("(", 200000, "");
    repeated("x ", 200000, "");
}
END_TEST

/* Every prefix and every one-character change of a good text is read or refused, and the graph stays sound. */
START_TEST(mangled_texts_do_no_harm)
{
    static const char *const good[] = {
        "(let ((h (sum x :axis [0] :keepdims true))) (where true (mul h (const f32 [1] [2])) (slice h :start [0 none] :stop [none 2] :step [1 1])))",
        SUM_OF_ROWS,
    };
    static const char bytes[] = "()[]:; x1-.n\x01\xff";
    char text[400];
    for (int g0 = 0; g0 < CG_LEN(good); g0++)
        for (size_t i = 0; i < strlen(good[g0]); i++)
            for (size_t k = 0; k < sizeof bytes; k++) {
                snprintf(text, sizeof text, "%s", good[g0]);
                text[i] = bytes[k];
                cg_graph_clear_error(g);
                if (!read_text(text))
                    ck_assert_ptr_nonnull(cg_graph_error(g));
            }
    ck_assert_int_eq(cg_graph_verify(g), CG_OK);
}
END_TEST

START_TEST(memory_may_run_out_anywhere)
{
    static const char *const texts[] = { "(let ((h (exp x))) (add (mul h h) (const f32 [1] [2])))", SUM_OF_ROWS };
    for (long k = 0; k < 400; k++) {
        const char *text = texts[k % 2];
        const long i = k / 2 + 1;
        cg_graph_clear_error(g);
        cg_node *whole = read_text(text);
        cg_graph_clear_error(g);
        cg__alloc_fail_at(i, true);
        cg_node *n = read_text(text);
        char *printed = cg_print(&whole, 1);
        char *drawn = whole ? cg_print_dot(&whole, 1) : NULL;
        cg__alloc_fail_at(0, false);
        ck_assert(n == NULL || n == whole);
        ck_assert(n || cg_graph_error(g));
        cg_text_free(printed);
        cg_text_free(drawn);
    }
    ck_assert_int_eq(cg_graph_verify(g), CG_OK);
}
END_TEST

START_TEST(ops_are_listed)
{
    char *list = cg_list_ops();
    ck_assert_ptr_nonnull(strstr(list, "(sum a :axis [INT...] :keepdims BOOL)\n"));
    ck_assert_ptr_nonnull(strstr(list, "(where a b c)\n"));
    cg_text_free(list);
}
END_TEST

/* Leaves by their names, operands where their order matters, roots with a double border, what only types mention left out. */
START_TEST(graphs_are_drawn)
{
    cg_node *a = cg_input(g, "a \"quoted\\\n", CG_F32, CG_SHAPE(CG_ANY, 3)), *y = cg_name(cg_div(a, cg_weak(g, 0.5)), "y"), *roots[] = { y, cg_exp(y), NULL };
    char *text = cg_print_dot(roots, 2), *end = strchr(text, 0);
    static const char *const lines[] = { "[label=\"a \\\"quoted\\\\ \\nf32[", " [label=\"div\\ny\\nf32[", " [label=\"0.5\\nf32[]\" shape=plain", " [label=\"b\"];\n", " peripheries=2];\n", "}\n" };
    for (int i = 0; i < CG_LEN(lines); i++)
        ck_assert_msg(strstr(text, lines[i]) != NULL, "no %s in %s", lines[i], text);
    int arrows = 0;
    for (const char *at = text; at < end && (at = strstr(at, " -> ")) != NULL; at++)
        arrows++;
    ck_assert_int_eq(arrows, 3);
    cg_text_free(text);
    ck_assert_ptr_null(cg_print_dot(roots, 3));
    ck_assert_str_eq(cg_last_error()->text, "cg_print_dot: expression 3 is NULL");
}
END_TEST

START_TEST(deep_graphs_are_drawn)
{
    cg_node *n = cg_input(g, "x", CG_F32, CG_SHAPE(2));
    for (int i = 0; i < 100000; i++)
        n = i % 2 ? cg_sin(n) : cg_cos(n);
    char *text = cg_print_dot(&n, 1);
    ck_assert_ptr_nonnull(text);
    cg_text_free(text);
}
END_TEST

int main(void)
{
    TCase *t = TESTS("print", prints_what_it_reads, symbolic_attributes_come_back, names_survive_where_they_are_words,
                     deep_and_shared_graphs_print_and_read, hostile_texts_are_errors, depth_costs_no_stack, mangled_texts_do_no_harm,
                     memory_may_run_out_anywhere, ops_are_listed, graphs_are_drawn, deep_graphs_are_drawn);
    tcase_add_checked_fixture(t, setup, teardown);
    return run_case("print", t);
}
