// SPDX-License-Identifier: MIT
/* What gradients of loops save: checkpoints and states alone change no value, and the memory they take grows as they promise. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "verified.h"
#include "tests/helpers.h"
#include "tests/suite.h"

enum { B = 2, D = 3, INPUTS = 5, ROOTS = 8 };

/* x (steps, B, D), y (steps, B, D); h, W; k is a number that each step adds */
typedef struct problem { cg_graph *g; cg_node *in[INPUTS], *x, *y, *h, *W, *k; } problem;

static void open_problem(problem *p, int64_t steps)
{
    *p = (problem){ .g = cg_graph_new() };
    p->in[0] = p->x = cg_input(p->g, "x", CG_F64, CG_SHAPE(steps, B, D));
    p->in[1] = p->y = cg_input(p->g, "y", CG_F64, CG_SHAPE(steps, B, D));
    p->in[2] = p->h = cg_input(p->g, "h", CG_F64, CG_SHAPE(B, D));
    p->in[3] = p->W = cg_input(p->g, "W", CG_F64, CG_SHAPE(D, D));
    p->in[4] = p->k = cg_input(p->g, "k", CG_F64, CG_SHAPE(D));
}

/* Two states, rows of two sequences and the number of the step; everything stacked, last and summed. */
static void run_loop(problem *p, const cg_scan_spec *spec, cg_node **out)
{
    cg_scan *s = cg_scan_begin(p->g, spec);
    cg_node *h = cg_scan_state(s, p->h), *c = cg_scan_state(s, p->h), *x = cg_scan_seq(s, p->x), *y = cg_scan_seq(s, p->y);
    cg_node *t = cg_scale(cg_cast(cg_scan_index(s), CG_F64), 0.01), *z = cg_tanh(cg_add(cg_add(cg_matmul(h, p->W), x), p->k));
    cg_node *next = cg_add(cg_mul(z, cg_sigmoid(c)), t), *kept = cg_sub(cg_mul(c, y), h);
    cg_scan_next(s, h, next);
    cg_scan_next(s, c, kept);
    cg_scan_out(s, next, CG_SCAN_ALL);
    cg_scan_out(s, next, CG_SCAN_LAST);
    cg_scan_out(s, cg_softmax(cg_mul(z, kept), 1), CG_SCAN_SUM);
    const int rc = cg_scan_end(s, CG_OUT(&out[0], &out[1], &out[2]));
    ck_assert_msg(rc == CG_OK, "%s", cg_graph_error(p->g) ? cg_graph_error(p->g)->text : "?");
}

/* The outputs and the gradients for all inputs, of what tells rows and elements apart. */
static cg_function *compile(problem *p, const cg_scan_spec *spec, int plainly)
{
    cg_node *roots[ROOTS], *squares = NULL;
    run_loop(p, spec, roots);
    for (int k = 0; k < 3; k++) {
        cg_node *v = cg_sum(cg_sin(cg_add(cg_square(roots[k]), cg_mul(roots[k], p->k))), CG_REDUCE());
        squares = squares ? cg_add(squares, v) : v;
    }
    ck_assert_msg(cg_grad(squares, p->in, INPUTS, CG_OUT(&roots[3], &roots[4], &roots[5], &roots[6], &roots[7])) == CG_OK, "%s", cg_graph_error(p->g)->text);
    cg_function *f = cg_compile(p->g, CG_SPEC(.name = "loop", .inputs = p->in, .ninputs = INPUTS, .outputs = roots, .noutputs = ROOTS, .no_rewrites = plainly));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    return f;
}

static void call(cg_function *f, int64_t steps, cg_array **out)
{
    const int64_t shapes[INPUTS][3] = { { steps, B, D }, { steps, B, D }, { B, D }, { D, D }, { D } };
    const int rank[INPUTS] = { 3, 3, 2, 2, 1 };
    cg_array *in[INPUTS];
    for (int i = 0; i < INPUTS; i++)
        in[i] = random_array(shapes[i], rank[i], (unsigned)i + 3);
    ck_assert_msg(cg_call(f, in, INPUTS, out) == CG_OK, "%s", cg_last_error()->text);
    for (int i = 0; i < INPUTS; i++)
        cg_array_free(in[i]);
}

static void same(const char *what, int64_t steps, cg_array **a, cg_array **b)
{
    for (int r = 0; r < ROOTS; r++) {
        const double *x = cg_array_data(a[r]), *y = cg_array_data(b[r]);
        ck_assert_msg(x && y && cg_array_count(a[r]) == cg_array_count(b[r]), "%s, %lld steps, root %d: %s", what, (long long)steps, r, cg_last_error()->text);
        for (int64_t i = 0; i < cg_array_count(a[r]); i++)
            ck_assert_msg(fabs(x[i] - y[i]) <= 1e-11 * (1 + fabs(y[i])), "%s, %lld steps, root %d: element %lld is %.17g, not %.17g", what, (long long)steps, r, (long long)i, x[i], y[i]);
    }
}

static void free_all(cg_array **a)
{
    for (int r = 0; r < ROOTS; r++)
        cg_array_free(a[r]);
}

static const int64_t lengths[] = { 0, 1, 2, 7, 12 };
static const cg_scan_spec ways[] = {
    { .save = CG_SAVE_STATES }, { .every = 1 }, { .every = 3 }, { .every = 7 }, { .every = 100 }, { .every = 3, .save = CG_SAVE_STATES }, { .every = 4, .backwards = 1 },
    { .save = CG_SAVE_STATES, .backwards = 1 },
};

static void compare(const cg_scan_spec *way, int known, int plainly)
{
    for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++) {
        problem p, q;
        cg_array *got[ROOTS], *want[ROOTS];
        cg_scan_spec spec = *way;
        open_problem(&p, known ? lengths[n] : CG_ANY);
        open_problem(&q, lengths[n]);
        spec.struct_size = sizeof spec;
        cg_function *f = compile(&p, &spec, plainly), *g = compile(&q, CG_SCAN(.backwards = way->backwards), 1);
        for (size_t m = n; m < (known ? n + 1 : sizeof lengths / sizeof lengths[0]); m++) {
            char what[80];
            snprintf(what, sizeof what, "save %d every %lld %s%s", (int)way->save, (long long)way->every, known ? "known" : "free", plainly ? " as written" : "");
            if (m > n) {
                cg_function_free(g);
                cg_graph_free(q.g);
                open_problem(&q, lengths[m]);
                g = compile(&q, CG_SCAN(.backwards = way->backwards), 1);
            }
            call(f, lengths[m], got);
            call(g, lengths[m], want);
            same(what, lengths[m], got, want);
            free_all(got);
            free_all(want);
        }
        cg_function_free(f);
        cg_function_free(g);
        cg_graph_free(p.g);
        cg_graph_free(q.g);
        if (!known)
            break;
    }
}

START_TEST(what_is_saved_changes_no_value)
{
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++)
        for (int way = 0; way < 4; way++)
            compare(&ways[w], way & 1, way >> 1);
}
END_TEST

/* ---- memory */

/* What one call of the gradient for h and W takes at most, a cost of the last state. */
static double peak(int64_t steps, int64_t every)
{
    enum { WIDE = 64 };
    cg_graph *g = cg_graph_new();
    cg_node *h0 = cg_input(g, "h", CG_F32, CG_SHAPE(1, WIDE)), *W = cg_input(g, "W", CG_F32, CG_SHAPE(WIDE, WIDE)), *last, *dh, *dW;
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = cg_scalar(g, CG_I64, (double)steps), .every = every));
    cg_node *h = cg_scan_state(s, h0), *next = cg_tanh(cg_add(cg_matmul(h, W), h));
    cg_scan_next(s, h, next);
    cg_scan_out(s, next, CG_SCAN_LAST);
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&last)), CG_OK);
    ck_assert_int_eq(cg_grad(cg_sum(cg_square(last), CG_REDUCE()), CG_NODES(h0, W), CG_OUT(&dh, &dW)), CG_OK);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "steps", CG_INPUTS(h0, W), CG_OUTPUTS(dh, dW)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    float *v = calloc(WIDE * WIDE, sizeof *v);
    for (int i = 0; i < WIDE; i++)
        v[i * WIDE + i] = 0.01f;
    cg_array *in[] = { cg_array_new(CG_F32, CG_SHAPE(1, WIDE), v), cg_array_new(CG_F32, CG_SHAPE(WIDE, WIDE), v) }, *out[2];
    free(v);
    ck_assert_msg(cg_call(f, in, 2, out) == CG_OK, "%s", cg_last_error()->text);
    cg_stats stats;
    cg_function_stats(f, &stats);
    for (int i = 0; i < 2; i++) {
        cg_array_free(in[i]);
        cg_array_free(out[i]);
    }
    cg_function_free(f);
    cg_graph_free(g);
    return (double)stats.peak_bytes;
}

START_TEST(memory_is_linear_in_steps_and_as_their_root_with_checkpoints)
{
    const double all[] = { peak(100, 0), peak(2500, 0), peak(10000, 0) }, cut[] = { peak(100, 10), peak(2500, 50), peak(10000, 100) };
    const double linear = (all[2] - all[0]) / (all[1] - all[0]), root = (cut[2] - cut[0]) / (cut[1] - cut[0]);
    ck_assert_msg(linear > 3.9 && linear < 4.3, "from 100 to 10000 steps memory grows %.2f times as much as to 2500, not 4.1 times", linear);
    ck_assert_msg(root > 2.0 && root < 2.5, "with checkpoints it grows %.2f times as much, not 2.25 times", root);
    ck_assert_msg(cut[2] < all[2] / 20, "with checkpoints 10000 steps take %.0f bytes of %.0f", cut[2], all[2]);
    printf("10000 steps: %.0f bytes, %.0f with a checkpoint every 100\n", all[2], cut[2]);
}
END_TEST

START_TEST(wrong_ways_to_save_are_told)
{
    static const struct { int64_t truncate, every; int save; const char *part; } rows[] = {
        { -1, 0, 0, "cg_scan_begin: the gradient of the last -1 steps" },
        { 0, -2, 0, "cg_scan_begin: checkpoints are every 1, 2, ... steps, or 0: none" },
        { 0, 0, 7, "cg_scan_begin: there is no such way to save" },
        { 3, 2, 0, "cg_scan_begin: a truncated gradient needs no checkpoints: it keeps the last steps only" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cg_graph *g = cg_graph_new();
        cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = cg_scalar(g, CG_I64, 4), .truncate_gradient = rows[i].truncate, .every = rows[i].every, .save = (cg_scan_save)rows[i].save));
        ck_assert(cg_scan_end(s, NULL, 0) < 0);
        ck_assert_msg(strstr(cg_graph_error(g)->text, rows[i].part) != NULL, "'%s' is not in: %s", rows[i].part, cg_graph_error(g)->text);
        cg_graph_free(g);
    }
}
END_TEST

int main(void)
{
    return RUN_TESTS("checkpoints", what_is_saved_changes_no_value, wrong_ways_to_save_are_told, memory_is_linear_in_steps_and_as_their_root_with_checkpoints);
}
