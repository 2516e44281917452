// SPDX-License-Identifier: MIT
/* Convolutions in f64 against PyTorch's values (tests/golden_conv.py) and against the sum that defines them, written out as seven loops; their
 * gradients and those of these; batches of several blocks; sizes that the call brings; and the sentences for what does not fit.
 *
 * CG_TEST_SKIP as in check_devices.c; it looks at the names of the rows.
 */
#include <math.h>
#include "core/cg.h"
#include "tests/golden_conv.h"
#include "tests/helpers.h"
#include "tests/skipped.h"
#include "tests/suite.h"
#include "tests/verified.h"

typedef struct golden golden;
typedef enum { IMAGES, FILTERS, RESULT, ROLES } role;

/* ---- the definition */

static int64_t shape_of(const golden *r, role of, int64_t shape[2 + SPACE])
{
    const int64_t *space = of == IMAGES ? r->size : of == FILTERS ? r->window : r->places;
    int64_t count = 1;
    shape[0] = of == FILTERS ? r->o : r->n;
    shape[1] = of == IMAGES ? r->c : of == FILTERS ? r->c / r->groups : r->o;
    memcpy(shape + 2, space, SPACE * sizeof *space);
    for (int i = 0; i < 2 + SPACE; i++)
        count *= shape[i];
    return count;
}

/* The sum over all places of x[n, c, p*stride + k*dilation - before] w[o, c, k] y[n, o, p], by what is not given: that one gets its coefficients. */
typedef struct place { int64_t n, o, c, p[SPACE], k[SPACE]; } place;

static void one_place(const golden *r, const place *at, double *const v[ROLES], role of)
{
    const int64_t cg = r->c / r->groups, og = r->o / r->groups;
    int64_t x = at->n * r->c + at->o / og * cg + at->c, w = at->o * cg + at->c, y = at->n * r->o + at->o;
    for (int i = 0; i < SPACE; i++) {
        const int64_t q = at->p[i] * r->strides[i] + at->k[i] * r->dilations[i] - r->before[i];
        if (q < 0 || q >= r->size[i])
            return;
        x = x * r->size[i] + q;
        w = w * r->window[i] + (r->flip ? r->window[i] - 1 - at->k[i] : at->k[i]);
        y = y * r->places[i] + at->p[i];
    }
    const int64_t where[ROLES] = { x, w, y };
    v[of][where[of]] += v[(of + 1) % ROLES][where[(of + 1) % ROLES]] * v[(of + 2) % ROLES][where[(of + 2) % ROLES]];
}

/* Adds to v[of] what the other two make of it. */
static void seven_loops(const golden *r, double *const v[ROLES], role of)
{
    place a;
    for (a.n = 0; a.n < r->n; a.n++)
        for (a.o = 0; a.o < r->o; a.o++)
            for (a.p[0] = 0; a.p[0] < r->places[0]; a.p[0]++)
                for (a.p[1] = 0; a.p[1] < r->places[1]; a.p[1]++)
                    for (a.p[2] = 0; a.p[2] < r->places[2]; a.p[2]++)
                        for (a.c = 0; a.c < r->c / r->groups; a.c++)
                            for (int64_t k = 0; k < r->window[0] * r->window[1] * r->window[2]; k++) {
                                a.k[0] = k / (r->window[1] * r->window[2]);
                                a.k[1] = k / r->window[2] % r->window[1];
                                a.k[2] = k % r->window[2];
                                one_place(r, &a, v, of);
                            }
}

/* ---- a row on the device */

/* x, w and the result's gradient, and a direction for each of the three in second derivatives */
enum { X, W, G, A, B, OPERANDS };
static const role roles[OPERANDS] = { IMAGES, FILTERS, RESULT, IMAGES, FILTERS };
/* the result, its gradients by the public operations and by cg_grad, the second derivatives */
enum { Y, DX, DW, GX, GW, DDX, DDW, DDG, RESULTS };
static const role result_roles[RESULTS] = { RESULT, IMAGES, FILTERS, IMAGES, FILTERS, IMAGES, FILTERS, RESULT };

static double *filled(const golden *r, int k)
{
    int64_t shape[2 + SPACE];
    const int64_t count = shape_of(r, roles[k], shape);
    double *v = malloc(((size_t)count + 1) * sizeof *v);
    for (int64_t i = 0; i < count; i++)
        v[i] = pool[(37 * k + i) % POOL];
    return v;
}

/* dX, dW of the cost <y, g>, and the derivatives of <dX, a> + <dW, b> */
static void expected(const golden *r, double *const in[OPERANDS], double *want[RESULTS])
{
    const struct { int result; double *x, *w, *y; } sums[] = {
        { Y, in[X], in[W], NULL }, { DX, NULL, in[W], in[G] }, { DW, in[X], NULL, in[G] }, { GX, NULL, in[W], in[G] }, { GW, in[X], NULL, in[G] },
        { DDW, in[A], NULL, in[G] }, { DDG, in[A], in[W], NULL }, { DDX, NULL, in[B], in[G] }, { DDG, in[X], in[B], NULL },
    };
    for (int i = 0; i < RESULTS; i++) {
        int64_t shape[2 + SPACE];
        want[i] = calloc((size_t)shape_of(r, result_roles[i], shape) + 1, sizeof **want);
    }
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
        const role of = result_roles[sums[i].result];
        double *v[ROLES] = { sums[i].x, sums[i].w, sums[i].y };
        v[of] = want[sums[i].result];
        seven_loops(r, v, of);
    }
}

static cg_convolution options_of(const golden *r)
{
    return (cg_convolution){ .struct_size = sizeof(cg_convolution), .strides = r->strides, .dilations = r->dilations, .pads = r->border == CG_BORDER_PADS ? r->pads : NULL,
                             .groups = r->groups, .border = r->border, .flip = r->flip };
}

/* The batch and space are CG_ANY if `any`. */
static void build(const golden *r, cg_graph *g, bool any, cg_node *in[OPERANDS], cg_node *out[RESULTS])
{
    static const char *const names[OPERANDS] = { "x", "w", "g", "a", "b" };
    const cg_convolution o = options_of(r);
    cg_node *sizes[2][SPACE];
    for (int k = 0; k < OPERANDS; k++) {
        int64_t shape[2 + SPACE];
        shape_of(r, roles[k], shape);
        for (int i = 0; i < 2 + r->axes; i++)
            if (any && roles[k] != FILTERS && i != 1)
                shape[i] = CG_ANY;
        in[k] = cg_input(g, names[k], CG_F64, shape, 2 + r->axes);
    }
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < r->axes; i++)
            sizes[k][i] = cg_dim(in[k], 2 + i);
    out[Y] = cg_conv(in[X], in[W], &o);
    ck_assert_msg(cg_grad(cg_sum(cg_mul(out[Y], in[G]), CG_REDUCE()), CG_NODES(in[X], in[W]), CG_OUT(&out[GX], &out[GW])) == CG_OK, "%s: %s", r->name, cg_last_error()->text);
    out[DX] = cg_conv_input_grad(in[G], in[W], sizes[0], &o);
    out[DW] = cg_conv_weight_grad(in[X], in[G], sizes[1], &o);
    cg_node *cost = cg_add(cg_sum(cg_mul(out[GX], in[A]), CG_REDUCE()), cg_sum(cg_mul(out[GW], in[B]), CG_REDUCE()));
    ck_assert_msg(cg_grad(cost, CG_NODES(in[X], in[W], in[G]), CG_OUT(&out[DDX], &out[DDW], &out[DDG])) == CG_OK, "%s: %s", r->name, cg_last_error()->text);
}

static void is_near(const golden *r, const char *what, cg_array *got, const double *want, int64_t count)
{
    const double *v = cg_array_data(got);
    ck_assert_msg(v != NULL, "%s: %s", r->name, cg_last_error()->text);
    ck_assert_msg(cg_array_count(got) == count, "%s: %s has %lld elements, not %lld", r->name, what, (long long)cg_array_count(got), (long long)count);
    for (int64_t i = 0; i < count; i++)
        ck_assert_msg(fabs(v[i] - want[i]) <= 1e-12 * (1 + fabs(want[i])), "%s: %s: element %lld is %.17g, not %.17g", r->name, what, (long long)i, v[i], want[i]);
}

static void compare(const golden *r, cg_function *f, bool torch)
{
    static const char *const names[RESULTS] = { "y", "dx", "dw", "gradient of x", "gradient of w", "ddx", "ddw", "ddg" };
    const double *by_torch[RESULTS] = { [Y] = r->y, [DX] = r->dx, [DW] = r->dw };
    double *v[OPERANDS], *want[RESULTS];
    cg_array *in[OPERANDS], *out[RESULTS];
    int64_t shape[2 + SPACE];
    for (int k = 0; k < OPERANDS; k++) {
        v[k] = filled(r, k);
        shape_of(r, roles[k], shape);
        in[k] = cg_array_new(CG_F64, shape, 2 + r->axes, v[k]);
    }
    expected(r, v, want);
    ck_assert_msg(cg_call(f, in, OPERANDS, out) == CG_OK, "%s: %s", r->name, cg_last_error()->text);
    for (int k = 0; k < RESULTS; k++) {
        const int64_t count = shape_of(r, result_roles[k], shape);
        is_near(r, names[k], out[k], want[k], count);
        if (torch && by_torch[k])
            is_near(r, "PyTorch's", out[k], by_torch[k], count);
        cg_array_free(out[k]);
        free(want[k]);
    }
    for (int k = 0; k < OPERANDS; k++) {
        cg_array_free(in[k]);
        free(v[k]);
    }
}

static cg_function *compiled(const golden *r, cg_graph *g, bool any)
{
    cg_node *in[OPERANDS], *out[RESULTS];
    build(r, g, any, in, out);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "conv", .inputs = in, .ninputs = OPERANDS, .outputs = out, .noutputs = RESULTS));
    ck_assert_msg(f != NULL, "%s: %s", r->name, cg_last_error()->text);
    return f;
}

START_TEST(values_and_gradients_are_pytorchs_and_the_definitions)
{
    const char *device = getenv("CG_DEVICE");
    const int both = !device || strcmp(device, "cpu") == 0;          /* known sizes have kernels of their own, which take long to build */
    for (size_t i = 0; i < sizeof golden_conv / sizeof golden_conv[0]; i++)
        for (int any = !both; any < 2; any++) {
            const golden *r = &golden_conv[i];
            if (skipped(r->name))
                continue;
            cg_graph *g = cg_graph_new();
            cg_function *f = compiled(r, g, any);
            compare(r, f, true);
            cg_function_free(f);
            cg_graph_free(g);
        }
}
END_TEST

/* One function for all sizes: batches of one block and of many, the last of which is not full. */
static const golden batches[] = {
    { .name = "a small one", .axes = 2, .n = 3, .c = 2, .o = 2, .size = { 5, 6, 1 }, .places = { 5, 6, 1 } },
    { .name = "several images a block", .axes = 2, .n = 8, .c = 2, .o = 2, .size = { 50, 61, 1 }, .places = { 50, 61, 1 } },
    { .name = "one image a block", .axes = 2, .n = 2, .c = 2, .o = 2, .size = { 150, 101, 1 }, .places = { 150, 101, 1 } },
    { .name = "no image", .axes = 2, .n = 0, .c = 2, .o = 2, .size = { 5, 6, 1 }, .places = { 5, 6, 1 } },
};

START_TEST(a_batch_of_any_size_goes_by_blocks)
{
    cg_graph *g = cg_graph_new();
    cg_function *f = NULL;
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        golden r = batches[i];
        for (int k = 0; k < SPACE; k++) {
            r.window[k] = k < r.axes ? 3 : 1;
            r.strides[k] = r.dilations[k] = 1;
            r.before[k] = k < r.axes;
        }
        r.groups = 1;
        r.border = CG_BORDER_HALF;
        f = f ? f : compiled(&r, g, true);
        compare(&r, f, false);
    }
    cg_stats stats;
    cg_function_stats(f, &stats);
    ck_assert_int_eq(stats.plans, 1);
    cg_function_free(f);
    cg_graph_free(g);
}
END_TEST

/* ---- what does not fit */

static const struct { const char *expr, *says; } wrong[] = {
    { "(conv a a)", "cg_conv: needs two arrays of one rank from 3 to 5, got a" },
    { "(conv x a)", "cg_conv: needs two arrays of one rank from 3 to 5" },
    { "(conv x w :group 2)", "has 4 channels, w (input f32[6,4,3,3]" },
    { "(conv x (slice w :stop [none 2]) :group 4)", "cg_correlate: the 6 channels of " },
    { "(conv x (slice w :stop [none 3]))", "takes 3 in 1 group" },
    { "(conv x w :dilations [3 1])", "cg_conv: a window of 3 with dilation 3 does not fit 5 points and the zeros around them on axis 0 of space" },
    { "(conv x w :pads [0 0 0])", "conv: 3 pads for 2 axes of space" },
    { "(conv x w :strides [1])", "conv: 1 strides for 2 axes of space" },
    { "(conv x w :strides [0 1])", "cg_conv: stride 0 and dilation 1 on axis 0 of space" },
    { "(conv x w :pads [0 -1 0 0])", "cg_conv: -1 and 0 zeros around axis 1 of space" },
    { "(conv x w :pads [0 1 0 0] :border 2)", "cg_conv: is given pads and another border" },
    { "(conv x w :border 9)", "cg_conv: 1 groups, border 9" },
    { "(conv (cast x :dtype i32) (cast w :dtype i32))", "cg_correlate: needs two arrays of one float dtype" },
    { "(conv_input_grad x w :shape [5])", "conv_input_grad: 1 sizes for x" },
    { "(conv_input_grad x w :shape [7 8])", "cg_correlate_images: x (input f32[2,4,5,6]" },
    { "(conv_weight_grad x x :shape [1 1] :group 3)", "cg_correlate_filters: the 4 channels of x" },
    { "(conv_weight_grad x (slice x :stop [1]) :shape [1 1])", "are of different numbers of images" },
    { "(correlate x w :shape [3 4] :strides [1])", "cg_correlate: 1 strides for 2 axes" },
    { "(correlate x w :shape [3 4 5])", "cg_correlate: operand 1 must have rank 5" },
    { "(correlate x w)", "cg_correlate: " },
};

START_TEST(what_does_not_fit_gets_its_sentence)
{
    cg_graph *g = cg_graph_new();
    cg_node *vars[] = { cg_input(g, "x", CG_F32, CG_SHAPE(2, 4, 5, 6)), cg_input(g, "w", CG_F32, CG_SHAPE(6, 4, 3, 3)), cg_input(g, "a", CG_F32, CG_SHAPE(3, 5)) };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_msg(cg_read(g, wrong[i].expr, vars, 3) == NULL, "%s is accepted", wrong[i].expr);
        ck_assert_msg(strstr(cg_graph_error(g)->text, wrong[i].says) != NULL, "%s says: %s", wrong[i].expr, cg_graph_error(g)->text);
        cg_graph_clear_error(g);
    }
    ck_assert_ptr_null(cg_conv(vars[0], vars[1], &(cg_convolution){ .groups = 1 }));
    ck_assert_ptr_nonnull(strstr(cg_graph_error(g)->text, "made by CG_CONV"));
    cg_graph_clear_error(g);
    ck_assert_ptr_null(cg_conv_input_grad(vars[0], vars[1], NULL, NULL));
    ck_assert_ptr_nonnull(strstr(cg_graph_error(g)->text, "cg_conv_input_grad: needs a size for each axis of space"));
    cg_graph_free(g);
}
END_TEST

int main(void)
{
    return RUN_TESTS("conv", values_and_gradients_are_pytorchs_and_the_definitions, a_batch_of_any_size_goes_by_blocks, what_does_not_fit_gets_its_sentence);
}
