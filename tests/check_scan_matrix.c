// SPDX-License-Identifier: MIT
/* Loops of every set of taps against the same steps written out in the graph, plainly and on the cpu, in f64: what they give, its gradients and the
 * gradients of these. The columns of the matrix are below; a case is one value of each, and the last test tells how many there were. What is
 * compiled as it was written is compared for each case, and what rewriting makes of it.
 *
 * On the cpu every pair of tap sets runs with every number of steps; elsewhere, where a kernel costs a fifth of a second, a few of each.
 * CG_TEST_BATCH as in check_scan.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "core/rewrite/loops.h"
#include "verified.h"
#include "tests/suite.h"

enum { BATCH = 2, UNITS = 3, STATE_TAPS = 3, SEQ_TAPS = 4, FIRST_SEQ_TAP = -1, OUTER = 2, MAX_ROWS = 16, WRT = 3, ROOTS = 2 + 2 * WRT };

/* Sets of taps are bits: bit i of states is tap -1-i, of sequences tap i-1. */
typedef struct kase { unsigned states, seqs; int64_t steps, truncate; bool backwards, known, longer, nested, until, rop; const char *off; } kase;   /* longer: the sequence has a row too many;
 * until: a condition ends the loop, which might make a step more; off: a rewrite */
typedef struct problem { cg_graph *g; cg_node *x, *init, *W, *in[WRT]; cg_array *arrays[WRT]; } problem;

static int cases;

static int64_t depth_of(const kase *c)
{
    return c->states & 4 ? 3 : c->states & 2 ? 2 : c->states & 1;
}

/* Rows that the taps need beside one a step: before the first and behind the last place. */
static int64_t before(const kase *c) { return c->seqs & 1; }
static int64_t behind(const kase *c) { return c->seqs & 8 ? 2 : (c->seqs & 4) / 4; }

/* ---- one step */

/* Each tap has a weight of its own, so that none can stand for another. */
static cg_node *next_value(const kase *c, cg_node *const *h, cg_node *const *x, cg_node *W)
{
    cg_node *v = cg_scale(cg_slice(W, 0, NULL, cg_scalar(cg_node_graph(W), CG_I64, 1), 1), 0.25);
    for (int i = 0; i < STATE_TAPS; i++)
        if (c->states >> i & 1)
            v = cg_add(v, cg_matmul(cg_scale(h[i], 0.5 + 0.25 * i), W));
    for (int i = 0; i < SEQ_TAPS; i++)
        if (c->seqs >> i & 1)
            v = cg_add(v, cg_scale(x[i], 1 - 0.375 * i));
    return cg_tanh(v);
}

/* ---- the loop, and the same written out: stack, last, sum of squares */

typedef struct values { cg_node *all, *last, *sum; } values;
typedef values (*way)(const kase *c, cg_node *x, cg_node *init, cg_node *W);

static void good(int rc, cg_graph *g)
{
    ck_assert_msg(rc == CG_OK, "%s", cg_graph_error(g) ? cg_graph_error(g)->text : "?");
}

static cg_node *i64(cg_graph *g, int64_t v) { return cg_scalar(g, CG_I64, (double)v); }

static values as_loop(const kase *c, cg_node *x, cg_node *init, cg_node *W)
{
    cg_graph *g = cg_node_graph(W);
    const bool counted = !c->seqs || c->longer;
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = counted ? i64(g, c->steps + c->until) : NULL, .backwards = c->backwards, .truncate_gradient = c->truncate));
    cg_node *h[STATE_TAPS], *row[SEQ_TAPS], **places[STATE_TAPS], *v;
    int64_t taps[STATE_TAPS];
    int n = 0;
    for (int i = 0; i < STATE_TAPS; i++)
        if (c->states >> i & 1) {
            taps[n] = -1 - i;
            places[n++] = &h[i];
        }
    if (n)
        good(cg_scan_state_taps(s, init, taps, n, places, n), g);
    for (int i = 0; i < SEQ_TAPS; i++)
        row[i] = c->seqs >> i & 1 ? cg_scan_seq_at(s, x, FIRST_SEQ_TAP + i) : NULL;
    v = next_value(c, h, row, W);
    if (n)
        good(cg_scan_next(s, *places[n - 1], v), g);
    if (c->until)
        good(cg_scan_until(s, cg_greater_equal(cg_cast(cg_scan_index(s), CG_F64), cg_scalar(g, CG_F64, (double)(c->steps - 1)))), g);
    cg_scan_out(s, v, CG_SCAN_ALL);
    cg_scan_out(s, v, CG_SCAN_LAST);
    cg_scan_out(s, cg_square(v), CG_SCAN_SUM);
    values out;
    good(cg_scan_end(s, CG_OUT(&out.all, &out.last, &out.sum)), g);
    return out;
}

static cg_node *row_at(cg_node *x, int64_t i)
{
    cg_graph *g = cg_node_graph(x);
    return cg_reshape(cg_slice(x, 0, i64(g, i), i64(g, i + 1), 1), CG_SHAPE(BATCH, UNITS));
}

static cg_node *zeros(cg_graph *g, int64_t rows)
{
    static const double none[BATCH * UNITS];
    return rows < 0 ? cg_constant(g, CG_F64, CG_SHAPE(BATCH, UNITS), none) : cg_constant(g, CG_F64, CG_SHAPE(rows, BATCH, UNITS), none);
}

/* past[] is what the state was, newest last: first its inits, then a value a step. What is before the steps that are differentiated is constant. */
static values written_out(const kase *c, cg_node *x, cg_node *init, cg_node *W)
{
    cg_graph *g = cg_node_graph(W);
    const int64_t depth = depth_of(c), from = before(c) + (c->backwards && c->longer);
    const int64_t constant = c->truncate && c->truncate < c->steps ? c->steps - c->truncate : 0;
    cg_node *past[STATE_TAPS + MAX_ROWS], *sum = zeros(g, -1);
    for (int64_t i = 0; i < depth; i++)
        past[i] = constant ? cg_zero_grad(row_at(init, i)) : row_at(init, i);
    for (int64_t t = 0; t < c->steps; t++) {
        cg_node *h[STATE_TAPS], *row[SEQ_TAPS];
        for (int i = 0; i < STATE_TAPS; i++)
            h[i] = c->states >> i & 1 ? past[depth + t - 1 - i] : NULL;
        for (int i = 0; i < SEQ_TAPS; i++)
            row[i] = c->seqs >> i & 1 ? row_at(x, from + (c->backwards ? c->steps - 1 - t : t) + FIRST_SEQ_TAP + i) : NULL;
        cg_node *v = next_value(c, h, row, W);
        v = t < constant ? cg_zero_grad(v) : v;
        past[depth + t] = v;
        sum = cg_add(sum, cg_square(v));
    }
    cg_node *last = depth + c->steps ? past[depth + c->steps - 1] : zeros(g, -1);
    return (values){ c->steps ? cg_stack(past + depth, (int)c->steps, 0) : zeros(g, 0), last, sum };
}

/* A loop of loops: each outer step's first values come from the one before. */
static cg_node *outer_next(cg_node *init, cg_node *last)
{
    return cg_sin(cg_add(cg_scale(init, 0.75), last));
}

static values in_a_loop(const kase *c, cg_node *x, cg_node *init, cg_node *W)
{
    cg_graph *g = cg_node_graph(W);
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = i64(g, OUTER)));
    cg_node *h = cg_scan_state(s, init);
    const values v = as_loop(c, x, h, W);
    cg_node *next = outer_next(h, v.last);
    good(cg_scan_next(s, h, next), g);
    cg_scan_out(s, v.all, CG_SCAN_SUM);
    cg_scan_out(s, v.last, CG_SCAN_LAST);
    cg_scan_out(s, v.sum, CG_SCAN_SUM);
    values out;
    good(cg_scan_end(s, CG_OUT(&out.all, &out.last, &out.sum)), g);
    return out;
}

static values written_out_twice(const kase *c, cg_node *x, cg_node *init, cg_node *W)
{
    const values a = written_out(c, x, init, W), b = written_out(c, x, outer_next(init, a.last), W);
    return (values){ cg_add(a.all, b.all), b.last, cg_add(a.sum, b.sum) };
}

/* ---- comparing */

static cg_array *some_numbers(unsigned seed, int64_t rows)
{
    double v[MAX_ROWS * BATCH * UNITS];
    for (int64_t i = 0; i < rows * BATCH * UNITS; i++)
        v[i] = rand_r(&seed) / (double)RAND_MAX - 0.5;
    return cg_array_new(CG_F64, CG_SHAPE(rows, BATCH, UNITS), v);
}

static void open_problem(problem *p, const kase *c)
{
    static const double w[] = { 0.5, -0.25, 0.75, 1, 0.125, -0.5, -0.75, 0.25, 0.625 };
    const int64_t rows = before(c) + c->steps + behind(c) + c->longer;
    *p = (problem){ .g = cg_graph_new() };
    p->in[0] = p->x = cg_input(p->g, "x", CG_F64, CG_SHAPE(c->known ? rows : CG_ANY, BATCH, UNITS));
    p->in[1] = p->init = cg_input(p->g, "init", CG_F64, CG_SHAPE(c->known ? depth_of(c) : CG_ANY, BATCH, UNITS));
    p->in[2] = p->W = cg_input(p->g, "W", CG_F64, CG_SHAPE(UNITS, UNITS));
    p->arrays[0] = some_numbers(1, rows);
    p->arrays[1] = some_numbers(2, depth_of(c));
    p->arrays[2] = cg_array_new(CG_F64, CG_SHAPE(UNITS, UNITS), w);
}

static void close_problem(problem *p)
{
    for (int i = 0; i < WRT; i++)
        cg_array_free(p->arrays[i]);
    cg_graph_free(p->g);
}

/* The sum of a's elements, each with a weight of its own. */
static cg_node *weighted(cg_node *a, int64_t rows)
{
    double w[MAX_ROWS * UNITS * UNITS];
    for (int i = 0; i < MAX_ROWS * UNITS * UNITS; i++)
        w[i] = 0.5 + i % 7 + 0.125 * (i % 11);
    cg_graph *g = cg_node_graph(a);
    cg_node *by = rows < 0 ? cg_constant(g, CG_F64, CG_SHAPE(UNITS, UNITS), w) : cg_constant(g, CG_F64, CG_SHAPE(rows, BATCH, UNITS), w);
    return cg_sum(cg_mul(a, by), CG_REDUCE());
}

static void gradients(problem *p, cg_node *cost, cg_node **to)
{
    good(cg_grad_with(cost, p->in, WRT, (cg_node **const[]){ &to[0], &to[1], &to[2] }, WRT, CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS)), p->g);
}

/* The cost, its gradients, and those of a sum of these; the derivative of the sum over steps along the variables themselves, if that is asked for. */
static void derive(problem *p, const kase *c, const values *v, cg_node **roots)
{
    const int64_t rows[WRT] = { before(c) + c->steps + behind(c) + c->longer, depth_of(c), -1 };
    roots[0] = cg_add(cg_add(weighted(v->all, c->steps), weighted(cg_expand_dims(v->last, 0), 1)), weighted(cg_expand_dims(v->sum, 0), 1));
    gradients(p, roots[0], roots + 1);
    cg_node *second = cg_scalar(p->g, CG_F64, 0);
    for (int i = 0; i < WRT; i++)
        second = cg_add(second, weighted(roots[1 + i], rows[i]));
    gradients(p, second, roots + 1 + WRT);
    roots[ROOTS - 1] = roots[0];
    if (c->rop)
        good(cg_rop(CG_NODES(v->sum), p->in, WRT, p->in, WRT, CG_OUT(&roots[ROOTS - 1]), CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS)), p->g);
}

static const char *name_of(const kase *c)
{
    static char text[200];
    int n = snprintf(text, sizeof text, "state");
    for (int i = 0; i < STATE_TAPS; i++)
        if (c->states >> i & 1)
            n += snprintf(text + n, sizeof text - (size_t)n, " %d", -1 - i);
    n += snprintf(text + n, sizeof text - (size_t)n, ", sequence");
    for (int i = 0; i < SEQ_TAPS; i++)
        if (c->seqs >> i & 1)
            n += snprintf(text + n, sizeof text - (size_t)n, " %d", FIRST_SEQ_TAP + i);
    snprintf(text + n, sizeof text - (size_t)n, ", %lld steps, %lld differentiated%s%s%s%s%s%s%s%s", (long long)c->steps, (long long)c->truncate, c->backwards ? ", backwards" : "", c->known ? ", known" : "",
             c->longer ? ", longer" : "", c->nested ? ", nested" : "", c->until ? ", until" : "", c->rop ? ", R-op" : "", c->off ? ", without " : "", c->off ? c->off : "");
    return text;
}

static void evaluate(problem *p, const kase *c, cg_device *d, int plainly, cg_node **roots, cg_array **out)
{
    cg__rewrite_how(&(cg_rewriting){ .off = c->off });
    cg_function *f = cg_compile(p->g, CG_SPEC(.name = "f", .inputs = p->in, .ninputs = WRT, .outputs = roots, .noutputs = ROOTS, .device = d, .no_rewrites = plainly,
                                              .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f != NULL, "%s: %s", name_of(c), cg_last_error()->text);
    ck_assert_msg(cg_call(f, p->arrays, WRT, out) == CG_OK, "%s: %s", name_of(c), cg_last_error()->text);
    cg_function_free(f);
    cg__rewrite_how(NULL);
}

static void same(const kase *c, const char *how, int what, cg_array *a, cg_array *b)
{
    const double *x = cg_array_data(a), *y = cg_array_data(b);
    ck_assert_msg(x && y && cg_array_count(a) == cg_array_count(b), "%s, %s, output %d: %s", name_of(c), how, what, x && y ? "another count" : cg_last_error()->text);
    for (int64_t i = 0; i < cg_array_count(a); i++)
        ck_assert_msg(fabs(x[i] - y[i]) <= 1e-11 * (1 + fabs(y[i])), "%s, %s, output %d: element %lld is %.17g, not %.17g", name_of(c), how, what, (long long)i, x[i],
                      y[i]);
}

static void compare(const kase *c)
{
    static const way ways[2][2] = { { as_loop, written_out }, { in_a_loop, written_out_twice } };
    static const char *const hows[] = { "rewritten", "as written" };
    problem p;
    cg_node *roots[2][ROOTS];
    cg_array *got[ROOTS], *want[ROOTS];
    open_problem(&p, c);
    for (int k = 0; k < 2; k++) {
        const values v = ways[c->nested][k](c, p.x, p.init, p.W);
        derive(&p, c, &v, roots[k]);
    }
    evaluate(&p, c, cg_device_open("cpu"), 1, roots[1], want);
    for (int plainly = 0; plainly < 2; plainly++) {
        evaluate(&p, c, NULL, plainly, roots[0], got);
        for (int i = 0; i < ROOTS; i++) {
            same(c, hows[plainly], i, got[i], want[i]);
            cg_array_free(got[i]);
        }
        cases++;
    }
    for (int i = 0; i < ROOTS; i++)
        cg_array_free(want[i]);
    close_problem(&p);
    if (getenv("CG_TEST_BATCH"))
        cg_shutdown();
}

/* ---- the matrix */

static bool on_cpu(void)
{
    const char *d = getenv("CG_DEVICE");
    return d && strcmp(d, "cpu") == 0;
}

/* What the columns are when nothing runs over them: sizes known and not, sequences of a row too many, in turn. */
static kase case_of(unsigned states, unsigned seqs, int64_t steps, bool backwards)
{
    const unsigned turn = states + 3 * seqs + (unsigned)steps;
    return (kase){ .states = states, .seqs = seqs, .steps = steps, .backwards = backwards, .known = turn % 2 == 0, .longer = turn % 3 == 0 && seqs };
}

static const int64_t lengths[] = { 0, 1, 2, 7 };

START_TEST(every_set_of_taps_forwards_and_backwards)
{
    static const unsigned few_states[] = { 1, 2, 5 }, few_seqs[] = { 2, 9 };
    const unsigned nstates = on_cpu() ? 8 : 3, nseqs = on_cpu() ? 16 : 2;
    for (unsigned i = 0; i < nstates; i++)
        for (unsigned k = 0; k < nseqs; k++)
            for (size_t n = 0; n < 4; n++)
                for (int backwards = 0; backwards < 2; backwards++) {
                    const unsigned states = on_cpu() ? i : few_states[i], seqs = on_cpu() ? k : few_seqs[k];
                    const kase c = case_of(states, seqs, lengths[n], backwards);
                    if (states || seqs)
                        compare(&c);
                }
}
END_TEST

START_TEST(loops_in_loops)
{
    const unsigned nstates = on_cpu() ? 8 : 2;
    for (unsigned states = 1; states < nstates; states += 1)
        for (size_t n = 0; n < 4; n++) {
            kase c = case_of(states, on_cpu() ? 1 + 2 * states % 15 : 2, lengths[n], n % 2);
            c.nested = true;
            compare(&c);
        }
}
END_TEST

START_TEST(truncated_gradients)
{
    static const unsigned few[] = { 1, 5 };
    const unsigned nstates = on_cpu() ? 8 : 2;
    for (unsigned i = 0; i < nstates; i++)
        for (int64_t k = 1; k < 4; k++)
            for (size_t n = 0; n < 4; n++)
                for (int way = 0; way < 4; way++) {
                    kase c = case_of(on_cpu() ? i : few[i], on_cpu() ? 1 + (i * 5 + (unsigned)k) % 15 : 2, lengths[n], way & 1);
                    c.nested = way >> 1;
                    c.truncate = k;
                    if (c.states && (on_cpu() || (k == 2 && !c.nested)))
                        compare(&c);
                }
}
END_TEST

/* A loop that a condition ends, of which a loop of loops could not stack anything; the last steps of it alone are differentiated in every other one. */
START_TEST(loops_that_end_by_a_condition)
{
    for (unsigned states = 1; states < (on_cpu() ? 8 : 2); states += 2)
        for (size_t n = 1; n < 4; n++)
            for (int backwards = 0; backwards < 2; backwards++) {
                kase c = case_of(states, on_cpu() ? 2 * states % 16 : 2, lengths[n], backwards);
                c.until = c.longer = c.rop = true;
                c.truncate = n % 2 * 2;
                if (on_cpu() || n == 2)
                    compare(&c);
            }
}
END_TEST

START_TEST(derivatives_along_a_direction)
{
    for (unsigned states = 1; states < (on_cpu() ? 8 : 2); states += 2)
        for (size_t n = 0; n < 4; n++)
            for (int nested = 0; nested < 2; nested++) {
                kase c = case_of(states, 2 + states % 13, lengths[n], n % 2);
                c.rop = true;
                c.nested = nested;
                if (on_cpu() || n == 2)
                    compare(&c);
            }
}
END_TEST

START_TEST(each_rewrite_of_loops_switched_off)
{
    for (int r = 0; r < CG_LOOP_REWRITES && on_cpu(); r++)
        for (unsigned states = 1; states < 8; states += 3)
            for (size_t n = 0; n < 4; n++)
                for (int nested = 0; nested < 2; nested++) {
                    kase c = case_of(states, 2 + states % 13, lengths[n], n % 2);
                    c.nested = nested;
                    c.off = cg__loop_rows[r].name;
                    compare(&c);
                }
}
END_TEST

START_TEST(tells_how_many)
{
    fprintf(stderr, "%d cases\n", cases);
}
END_TEST

int main(void)
{
    return RUN_TESTS("scan_matrix", every_set_of_taps_forwards_and_backwards, loops_in_loops, truncated_gradients, loops_that_end_by_a_condition, derivatives_along_a_direction,
                     each_rewrite_of_loops_switched_off, tells_how_many);
}
