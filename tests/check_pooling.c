// SPDX-License-Identifier: MIT
/* Pooling against plain loops over the elements that each window sees, in f64 with many ties: values, and gradients, of which a maximum gives every
 * element that equals it the whole; its plan; its sentences. Derivatives of derivatives are golden.h's. */
#include <math.h>
#include "core/base/base.h"
#include "tests/helpers.h"
#include "tests/suite.h"

enum { MAX, AVERAGE, SUM, KINDS, CELLS = 4096 };
typedef struct pooling { int naxes; int64_t size[3], stride[3], dilation[3], pads[6]; int ceil_mode, count_include_pad; int64_t shape[3]; } pooling;
static const pooling rows[] = {
    { 2, { 2, 2 }, { 2, 2 }, { 1, 1 }, { 0 }, 0, 0, { 4, 6 } },                              /* windows side by side */
    { 2, { 2, 2 }, { 2, 2 }, { 1, 1 }, { 0 }, 0, 0, { 5, 7 } },                              /* and a rest */
    { 2, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 }, 0, 0, { 7, 6 } },                     /* they overlap */
    { 2, { 3, 2 }, { 1, 1 }, { 1, 1 }, { 2, 0, 1, 1 }, 0, 1, { 4, 5 } },                     /* padding not alike */
    { 2, { 2, 3 }, { 1, 2 }, { 2, 3 }, { 1, 2, 0, 3 }, 0, 0, { 6, 9 } },                     /* dilation, one axis with a stride, too */
    { 2, { 1, 2 }, { 3, 3 }, { 1, 1 }, { 0 }, 0, 0, { 7, 8 } },                              /* gaps between the windows */
    { 2, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 }, 1, 1, { 6, 5 } },                     /* windows stick out */
    { 2, { 2, 2 }, { 2, 3 }, { 1, 1 }, { 1, 1, 1, 1 }, 1, 0, { 5, 5 } },                     /* ... but do not begin behind the end */
    { 1, { 3 }, { 2 }, { 1 }, { 4, 4 }, 0, 0, { 5 } },                                       /* windows that see nothing */
    { 1, { 5 }, { 5 }, { 1 }, { 0 }, 0, 0, { 5 } },                                          /* one window */
    { 3, { 2, 2, 2 }, { 2, 2, 2 }, { 1, 1, 1 }, { 0 }, 0, 0, { 4, 2, 6 } },
    { 3, { 3, 2, 3 }, { 2, 1, 2 }, { 1, 1, 1 }, { 1, 0, 1, 1, 1, 0 }, 0, 0, { 4, 3, 5 } },
};
enum { ROWS = CG_LEN(rows), N = 2 };

/* ---- the reference: one axis of windows a dimension, missing ones of size 1 */

typedef struct grid { int64_t in[3], out[3], k[3], stride[3], dilation[3], before[3], after[3]; } grid;

static int64_t windows_of(const pooling *p, int i, int64_t size)
{
    const int64_t span = p->dilation[i] * (p->size[i] - 1) + 1, room = size + p->pads[i] + p->pads[p->naxes + i] - span;
    int64_t n = room / p->stride[i] + 1;
    if (p->ceil_mode) {
        n = (room + p->stride[i] - 1) / p->stride[i] + 1;
        n -= (n - 1) * p->stride[i] >= size + p->pads[i];
    }
    return n;
}

static grid grid_of(const pooling *p)
{
    grid g = { { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0 }, { 0 } };
    for (int i = 0; i < p->naxes; i++) {
        g.in[i] = p->shape[i];
        g.out[i] = windows_of(p, i, p->shape[i]);
        g.k[i] = p->size[i];
        g.stride[i] = p->stride[i];
        g.dilation[i] = p->dilation[i];
        g.before[i] = p->pads[i];
        g.after[i] = p->pads[p->naxes + i];
    }
    return g;
}

static int64_t volume(const int64_t *n) { return n[0] * n[1] * n[2]; }
static void split(const int64_t *n, int64_t at, int64_t *i)
{
    i[2] = at % n[2];
    i[1] = at / n[2] % n[1];
    i[0] = at / n[2] / n[1];
}

/* Where in the image tap k of window o lies, or -1; padded: whether it lies there or in the padding. */
static int64_t place_of(const grid *g, int64_t o, int64_t k, int *padded)
{
    int64_t oi[3], ki[3], at = 0;
    int within = 1;
    split(g->out, o, oi);
    split(g->k, k, ki);
    *padded = 1;
    for (int d = 0; d < 3; d++) {
        const int64_t x = oi[d] * g->stride[d] + ki[d] * g->dilation[d] - g->before[d];
        within &= x >= 0 && x < g->in[d];
        *padded &= x < g->in[d] + g->after[d];
        at = at * g->in[d] + x;
    }
    return within ? at : -1;
}

/* The value of each window, and dx for the cost sum(weight * value), of one image. */
static void reference(const pooling *p, int kind, const double *x, const double *weight, double *y, double *dx)
{
    const grid g = grid_of(p);
    memset(dx, 0, sizeof *dx * (size_t)volume(g.in));
    for (int64_t o = 0; o < volume(g.out); o++) {
        double best = -INFINITY, sum = 0;
        int seen = 0, padded, pads = 0;
        for (int64_t k = 0; k < volume(g.k); k++) {
            const int64_t at = place_of(&g, o, k, &padded);
            pads += padded;
            if (at >= 0) {
                best = x[at] > best ? x[at] : best;
                sum += x[at];
                seen++;
            }
        }
        const double count = p->count_include_pad ? pads : seen ? seen : 1;
        y[o] = kind == MAX ? best : kind == SUM ? sum : sum / count;
        for (int64_t k = 0; k < volume(g.k); k++) {
            const int64_t at = place_of(&g, o, k, &padded);
            if (at >= 0)
                dx[at] += kind == MAX ? (x[at] == best) * weight[o] : kind == SUM ? weight[o] : weight[o] / count;
        }
    }
}

/* ---- the library */

static cg_node *built(cg_node *x, const pooling *p, int kind)
{
    static cg_node *(*const builders[])(cg_node *, const cg_pooling *) = { cg_max_pool, cg_average_pool, cg_sum_pool };
    return builders[kind](x, CG_POOL(.kernel_shape = p->size, .naxes = p->naxes, .strides = p->stride, .dilations = p->dilation, .pads = p->pads, .ceil_mode = p->ceil_mode,
                                     .count_include_pad = p->count_include_pad));
}

static double weight_of(int64_t i) { return 0.25 + (double)(i % 7) / 4; }

/* The weight of window o of image n is that of n * windows + o, whatever the sizes that are not known. */
static cg_node *cost_of(cg_node *y, const pooling *p)
{
    cg_graph *g = cg_node_graph(y);
    const grid r = grid_of(p);
    double w[CELLS];
    int64_t shape[4] = { N };
    for (int i = 0; i < p->naxes; i++)
        shape[1 + i] = r.out[i];
    for (int64_t i = 0; i < N * volume(r.out); i++)
        w[i] = weight_of(i);
    return cg_sum(cg_mul(y, cg_constant(g, CG_F64, shape, 1 + p->naxes, w)), CG_REDUCE());
}

static void compare(const pooling *p, int kind, cg_array *x, cg_array *y, cg_array *dx)
{
    const grid g = grid_of(p);
    const int64_t in = volume(g.in), out = volume(g.out);
    const double *got = cg_array_data(y), *slope = cg_array_data(dx), *from = cg_array_data(x);
    ck_assert_int_eq(cg_array_count(y), N * out);
    ck_assert_int_eq(cg_array_count(dx), N * in);
    for (int64_t n = 0; n < N; n++) {
        double weight[CELLS], want[CELLS], dwant[CELLS];
        for (int64_t i = 0; i < out; i++)
            weight[i] = weight_of(n * out + i);
        reference(p, kind, from + n * in, weight, want, dwant);
        for (int64_t i = 0; i < out; i++)
            ck_assert_msg(want[i] == got[n * out + i] || fabs(want[i] - got[n * out + i]) < 1e-12, "row %d, kind %d, window %d: %.17g is not %.17g", (int)(p - rows), kind, (int)i, got[n * out + i], want[i]);
        for (int64_t i = 0; i < in; i++)
            ck_assert_msg(fabs(dwant[i] - slope[n * in + i]) < 1e-12, "row %d, kind %d, gradient %d: %.17g is not %.17g", (int)(p - rows), kind, (int)i, slope[n * in + i], dwant[i]);
    }
}

/* A cell is one of five numbers, so that windows have ties. */
static cg_array *image(const pooling *p, unsigned seed)
{
    int64_t shape[4] = { N }, n = N;
    double v[CELLS];
    for (int i = 0; i < p->naxes; i++)
        n *= shape[1 + i] = p->shape[i];
    for (int64_t i = 0; i < n; i++)
        v[i] = (double)(rand_r(&seed) % 5) - 3;
    return cg_array_new(CG_F64, shape, 1 + p->naxes, v);
}

/* Rows and kinds as one function; free: nothing is known of their sizes, and some are enough. */
static void check_all(int free)
{
    const int nrows = free ? 4 : ROWS;
    cg_graph *g = cg_graph_new();
    cg_node *x[ROWS], *out[ROWS * KINDS * 2];
    cg_array *in[ROWS], *got[ROWS * KINDS * 2];
    for (int r = 0; r < nrows; r++) {
        const int64_t shape[4] = { free ? CG_ANY : N, free ? CG_ANY : rows[r].shape[0], free ? CG_ANY : rows[r].shape[1], free ? CG_ANY : rows[r].shape[2] };
        x[r] = cg_input(g, "x", CG_F64, shape, 1 + rows[r].naxes);
        in[r] = image(&rows[r], (unsigned)r + 1);
        for (int k = 0; k < KINDS; k++) {
            cg_node **at = &out[(r * KINDS + k) * 2];
            at[0] = built(x[r], &rows[r], k);
            ck_assert_msg(at[0] != NULL, "row %d: %s", r, cg_graph_error(g) ? cg_graph_error(g)->text : "?");
            cg_grad(cost_of(at[0], &rows[r]), &x[r], 1, CG_OUT(&at[1]));
        }
    }
    cg_function *f = cg_compile(g, CG_SPEC(.name = "pooling", .inputs = x, .ninputs = nrows, .outputs = out, .noutputs = nrows * KINDS * 2));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ck_assert_msg(cg_call(f, in, nrows, got) == CG_OK, "%s", cg_last_error()->text);
    for (int i = 0; i < nrows * KINDS; i++)
        compare(&rows[i / KINDS], i % KINDS, in[i / KINDS], got[2 * i], got[2 * i + 1]);
    for (int i = 0; i < nrows * KINDS * 2; i++)
        cg_array_free(got[i]);
    for (int r = 0; r < nrows; r++)
        cg_array_free(in[r]);
    cg_function_free(f);
    cg_graph_free(g);
}

START_TEST(values_and_gradients_are_those_of_plain_loops) { check_all(0); }
END_TEST

START_TEST(sizes_may_be_known_at_the_call_only) { check_all(1); }
END_TEST

/* What a network does most: one loop each way, for any number of images. */
START_TEST(a_pooling_and_its_gradient_are_a_loop_each)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, 3, 8, 8)), *w = cg_input(g, "w", CG_F32, CG_SHAPE(CG_ANY, 3, 4, 4)), *dx = NULL;
    cg_node *y = cg_max_pool(x, CG_POOL(CG_KERNEL(2, 2), .strides = (const int64_t[]){ 2, 2 }));
    cg_grad(cg_sum(cg_mul(y, w), CG_REDUCE()), CG_NODES(x), CG_OUT(&dx));
    cg_function *f = cg_compile(g, CG_SPEC(CG_INPUTS(x, w), CG_OUTPUTS(y, dx)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    char *plan = cg_function_show(f, CG_STAGE_PLAN);
    ck_assert_msg(occurrences(plan, "(loop ") == 2 && !strstr(plan, "window 0"), "%s", plan);
    cg_text_free(plan);
    cg_array *in[2] = { cg_array_new(CG_F32, CG_SHAPE(0, 3, 8, 8), NULL), cg_array_new(CG_F32, CG_SHAPE(0, 3, 4, 4), NULL) }, *out[2];
    ck_assert_msg(cg_call(f, in, 2, out) == CG_OK, "%s", cg_last_error()->text);
    ck_assert_int_eq(cg_array_count(out[1]), 0);
    for (int i = 0; i < 2; i++) {
        cg_array_free(in[i]);
        cg_array_free(out[i]);
    }
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* ---- borders that follow from the size, and sentences */

START_TEST(borders_follow_from_the_size)
{
    static const struct { cg_border border; int64_t size, stride, want; } cases[] = {
        { CG_BORDER_SAME_UPPER, 7, 2, 4 }, { CG_BORDER_SAME_LOWER, 8, 3, 3 }, { CG_BORDER_SAME_UPPER, CG_ANY, 1, CG_ANY }, { CG_BORDER_FULL, 5, 1, 7 }, { CG_BORDER_HALF, 5, 1, 5 },
    };
    cg_graph *g = cg_graph_new();
    for (int i = 0; i < CG_LEN(cases); i++) {
        cg_node *y = cg_max_pool(cg_input(g, "x", CG_F32, &cases[i].size, 1), CG_POOL(CG_KERNEL(3), .strides = &cases[i].stride, .border = cases[i].border));
        ck_assert_msg(y && cg_node_dim(y, 0) == cases[i].want, "case %d", i);
    }
    cg_graph_free(g);
}
END_TEST

START_TEST(what_cannot_be_is_a_sentence)
{
    static const struct { const char *expr, *say; } cases[] = {
        { "(max_pool x :kernel_shape [9 1])", "cg_max_pool: a window of 9 is larger than axis 2 of x (input f32[2,3,5,6]" },
        { "(max_pool x :kernel_shape [2 2] :strides [0 1])", "cg_max_pool: the stride of axis 2 of" },
        { "(sum_pool x :kernel_shape [2 2] :pads [0 0 -1 0])", "cg_sum_pool: the padding behind of axis 2 of" },
        { "(average_pool x :kernel_shape [2 2] :strides [2])", "average_pool: 1 values of strides, not 2" },
        { "(max_pool x :kernel_shape [2 2 2 2])", "cg_max_pool: windows have 1 to 3 axes, the last ones of" },
        { "(max_pool x)", "cg_max_pool: windows have 1 to 3 axes, the last ones of" },
        { "(max_pool x :kernel_shape [2] :border 9)", "cg_max_pool: there is no border 9" },
        { "(max_pool n :kernel_shape [2] :strides [2] :border 3)", "must have a known size, for SAME with the stride 2 depends on it" },
        { "(window_sum x :shape [2 3] :axis [0 1] :stride [2 2])", "must have no dilation, nothing before it and a multiple of the stride as its size" },
    };
    for (int i = 0; i < CG_LEN(cases); i++) {
        cg_graph *g = cg_graph_new();
        cg_node *vars[2] = { cg_input(g, "x", CG_F32, CG_SHAPE(2, 3, 5, 6)), cg_input(g, "n", CG_F32, CG_SHAPE(2, CG_ANY)) };
        ck_assert_ptr_null(cg_read(g, cases[i].expr, vars, 2));
        ck_assert_msg(strstr(cg_graph_error(g)->text, cases[i].say) != NULL, "%s: %s", cases[i].expr, cg_graph_error(g)->text);
        cg_graph_free(g);
    }
    cg_graph *g = cg_graph_new();
    ck_assert_ptr_null(cg_max_pool(cg_input(g, "x", CG_F32, CG_SHAPE(4)), NULL));
    ck_assert_msg(strstr(cg_graph_error(g)->text, "the options are not made by CG_POOL") != NULL, "%s", cg_graph_error(g)->text);
    cg_graph_free(g);
}
END_TEST

int main(void)
{
    return RUN_TESTS("pooling", values_and_gradients_are_those_of_plain_loops, sizes_may_be_known_at_the_call_only, a_pooling_and_its_gradient_are_a_loop_each, borders_follow_from_the_size,
                     what_cannot_be_is_a_sentence);
}
