// SPDX-License-Identifier: MIT
/* What loops promise beside their values, which check_scan.c and check_scan_matrix.c compare: what is wrong with one is told with its name, the state
 * and both types; memory is that of the rows that are read; sizes, dtypes and gradients where they are easily missed. */
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#include "verified.h"
#include "tests/helpers.h"
#include "tests/suite.h"

/* ---- wrong loops */

typedef struct world { cg_graph *g, *other; cg_node *x, *y, *h, *k, *n, *foreign; } world;      /* x, y: rows; h, k: states; n: a number of steps */

static void open_world(world *w)
{
    *w = (world){ .g = cg_graph_new(), .other = cg_graph_new() };
    w->x = cg_input(w->g, "x", CG_F32, CG_SHAPE(4, 3));
    w->y = cg_input(w->g, "y", CG_F32, CG_SHAPE(CG_ANY, 3));
    w->h = cg_input(w->g, "h", CG_F32, CG_SHAPE(3));
    w->k = cg_input(w->g, "k", CG_F32, CG_SHAPE(CG_ANY));
    w->n = cg_input(w->g, "n", CG_I64, NULL, 0);
    w->foreign = cg_input(w->other, "foreign", CG_F32, CG_SHAPE(3));
}

static void close_world(world *w)
{
    cg_graph_free(w->g);
    cg_graph_free(w->other);
}

static cg_node *number(const world *w, int64_t n) { return cg_scalar(w->g, CG_I64, (double)n); }

/* A loop over x whose state h goes on as what `next` makes of it. */
static cg_node *over(const world *w, cg_node *x, cg_node *init, cg_node *steps, cg_node *(*next)(const world *, cg_node *h, cg_node *row))
{
    cg_node *out = NULL;
    cg_scan *s = cg_scan_begin(w->g, CG_SCAN(.name = "encoder", .steps = steps));
    cg_node *h = cg_scan_state(s, init), *v = next(w, h, x ? cg_scan_seq(s, x) : NULL);
    cg_scan_next(s, h, v);
    cg_scan_out(s, v, CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&out));
    return out;
}

static cg_node *sum(const world *w, cg_node *h, cg_node *row) { (void)w; return row ? cg_add(h, row) : cg_sin(h); }
static cg_node *wider(const world *w, cg_node *h, cg_node *row) { (void)w, (void)row; return cg_cast(h, CG_F64); }
static cg_node *shorter(const world *w, cg_node *h, cg_node *row) { (void)w, (void)row; return cg_slice(h, 0, NULL, number(w, 2), 1); }
static cg_node *of_another(const world *w, cg_node *h, cg_node *row) { (void)row; return cg_add(h, w->foreign); }
static cg_node *twice(const world *w, cg_node *h, cg_node *row) { (void)w, (void)row; return cg_concatenate(CG_NODES(h, h), 0); }

static cg_node *dtype_changes(const world *w) { return over(w, w->x, w->h, NULL, wider); }
static cg_node *shape_changes(const world *w) { return over(w, w->x, w->h, NULL, shorter); }
static cg_node *foreign_capture(const world *w) { return over(w, w->x, w->h, NULL, of_another); }
static cg_node *foreign_sequence(const world *w) { return over(w, w->foreign, w->h, NULL, sum); }
static cg_node *too_many_steps(const world *w) { return over(w, w->x, w->h, number(w, 5), sum); }
static cg_node *negative_steps(const world *w) { return over(w, w->x, w->h, number(w, -1), sum); }
static cg_node *fractional_steps(const world *w) { return over(w, w->x, w->h, w->h, sum); }

static cg_node *with_taps(const world *w, cg_node *init, const int64_t *taps, int n)
{
    cg_node *h[2] = { 0 }, *out = NULL;
    cg_scan *s = cg_scan_begin(w->g, CG_SCAN(.name = "encoder", .steps = number(w, 2)));
    cg_scan_state_taps(s, init, taps, n, (cg_node **const[]){ &h[0], &h[1] }, n);
    cg_scan_next(s, h[0], cg_sin(h[0]));
    cg_scan_out(s, h[0], CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&out));
    return out;
}

static cg_node *tap_of_the_step_itself(const world *w) { return with_taps(w, w->x, CG_AXES(0)); }
static cg_node *tap_twice(const world *w) { return with_taps(w, w->x, CG_AXES(-2, -2)); }
static cg_node *taps_beyond_the_inits(const world *w) { return with_taps(w, w->x, CG_AXES(-5)); }

static cg_node *no_next(const world *w)
{
    cg_node *out = NULL;
    cg_scan *s = cg_scan_begin(w->g, CG_SCAN(.name = "encoder"));
    cg_scan_state(s, w->h);
    cg_scan_out(s, cg_scan_seq(s, w->x), CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&out));
    return out;
}

static cg_node *truncated_below(const world *w)
{
    cg_node *out = NULL;
    cg_scan *s = cg_scan_begin(w->g, CG_SCAN(.name = "encoder", .truncate_gradient = -1));
    cg_scan_out(s, cg_scan_seq(s, w->x), CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&out));
    return out;
}

START_TEST(what_is_wrong_with_a_loop_is_told)
{
    static const struct { cg_node *(*build)(const world *); cg_status code; const char *begin, *parts[2]; } rows[] = {
        { dtype_changes, CG_EDTYPE, "cg_scan_next: loop 'encoder': state 0 begins as h (input f32[3]", { "but its next value is cast f64[3]" } },
        { shape_changes, CG_ESHAPE, "cg_scan_next: loop 'encoder': state 0 begins as h (input f32[3]", { "but its next value is slice f32[2]" } },
        { foreign_capture, CG_EINVAL, "operands of one expression belong to two graphs: state 0 of loop 'encoder' (arg f32[3]", { "foreign (input f32[3]" } },
        { foreign_sequence, CG_EINVAL, "cg_scan_seq: loop 'encoder': foreign (input f32[3]", { "belongs to another graph" } },
        { too_many_steps, CG_ESHAPE, "cg_scan_end: loop 'encoder': 5 steps, but x (input f32[4,3]", { "has rows for 4" } },
        { negative_steps, CG_EINVAL, "cg_scan_begin: loop 'encoder': -1 steps", { "" } },
        { fractional_steps, CG_EDTYPE, "cg_scan_begin: loop 'encoder': the number of steps is h (input f32[3]", { "not an integer scalar" } },
        { tap_of_the_step_itself, CG_EINVAL, "cg_scan_state_taps: loop 'encoder': the taps of a state are negative, and each is given once", { "" } },
        { tap_twice, CG_EINVAL, "cg_scan_state_taps: loop 'encoder': the taps of a state are negative, and each is given once", { "" } },
        { taps_beyond_the_inits, CG_ESHAPE, "cg_scan_state_taps: loop 'encoder': taps that reach 5 steps back need that many first values", { "not x (input f32[4,3]" } },
        { no_next, CG_EINVAL, "cg_scan_end: loop 'encoder': the state that begins as h (input f32[3]", { "has no next value" } },
        { truncated_below, CG_EINVAL, "cg_scan_begin: loop 'encoder': the gradient of the last -1 steps", { "" } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        world w;
        open_world(&w);
        ck_assert_msg(rows[i].build(&w) == NULL, "%s: a loop was made", rows[i].begin);
        const cg_error *e = cg_graph_error(w.g);
        ck_assert_msg(e && e->code == rows[i].code && strncmp(e->text, rows[i].begin, strlen(rows[i].begin)) == 0 && strstr(e->text, rows[i].parts[0]), "%s: %s",
                      rows[i].begin, e ? e->text : "no error");
        close_world(&w);
    }
}
END_TEST

/* What only the call knows: of a loop over y, which has 3 rows, and a state k of 3 elements. */
START_TEST(what_is_wrong_at_the_call_is_told)
{
    static const struct { int64_t steps; cg_node *(*next)(const world *, cg_node *h, cg_node *row); const char *parts[2]; } rows[] = {
        { 5, sum, { "5 steps of encoder (scan", ", but y (input f32[y.0,3]" } },
        { -2, sum, { "-2 steps of encoder (scan", "" } },
        { 2, twice, { "in encoder (scan", "the state that begins as k (input f32[k.0]" } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int plainly = 0; plainly < 2; plainly++) {
            world w;
            open_world(&w);
            cg_node *out = over(&w, w.y, w.k, w.n, rows[i].next);
            cg_function *f = cg_compile(w.g, CG_SPEC(.name = "f", CG_INPUTS(w.y, w.k, w.n), CG_OUTPUTS(out), .no_rewrites = plainly, .unused = CG_UNUSED_IGNORE));
            ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
            const float zeros[9] = { 0 };
            cg_array *in[] = { cg_array_new(CG_F32, CG_SHAPE(3, 3), zeros), cg_array_new(CG_F32, CG_SHAPE(3), zeros), cg_array_new(CG_I64, NULL, 0, &rows[i].steps) }, *got;
            ck_assert_msg(cg_call(f, in, 3, &got) < 0, "%s: the call went well", rows[i].parts[0]);
            for (int k = 0; k < 2; k++)
                ck_assert_msg(strstr(cg_last_error()->text, rows[i].parts[k]), "%s: %s", rows[i].parts[k], cg_last_error()->text);
            for (int k = 0; k < 3; k++)
                cg_array_free(in[k]);
            cg_function_free(f);
            close_world(&w);
        }
}
END_TEST

/* CG_TEST_BATCH closes the device after a few functions: oclgrind takes the first write to a buffer for its size. */
static void close_devices(void)
{
    if (getenv("CG_TEST_BATCH"))
        cg_shutdown();
}

/* ---- memory: what later code reads is kept, and no more */

/* A loop of n steps; all: what it stacks, read: what is read of it. */
typedef struct kept { cg_graph *g; cg_node *n, *h, *w, *all, *read; } kept;

static cg_node *last_rows(cg_node *all, int64_t rows) { return cg_slice(all, 0, cg_scalar(cg_node_graph(all), CG_I64, (double)-rows), NULL, 1); }

static void chain(kept *k, int64_t truncate, cg_node **last)
{
    cg_node *h1, *h3;
    cg_scan *s = cg_scan_begin(k->g, CG_SCAN(.steps = k->n, .truncate_gradient = truncate));
    cg_scan_state_taps(s, k->h, CG_AXES(-1, -3), CG_OUT(&h1, &h3));
    cg_node *next = cg_tanh(cg_add(cg_mul(h1, k->w), cg_sin(h3)));
    cg_scan_next(s, h1, next);
    cg_scan_out(s, next, CG_SCAN_ALL);
    cg_scan_out(s, next, CG_SCAN_LAST);
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&k->all, last)), CG_OK);
}

static void last_state(kept *k) { chain(k, 0, &k->read); }
static void last_row(kept *k) { cg_node *last; chain(k, 0, &last); k->read = last_rows(k->all, 1); }
static void last_three_rows(kept *k) { cg_node *last; chain(k, 0, &last); k->read = last_rows(k->all, 3); }
static void last_nine_rows_summed(kept *k) { cg_node *last; chain(k, 0, &last); k->read = cg_sum(last_rows(k->all, 9), CG_REDUCE(CG_OVER(0))); }

static void row_counted_from_the_end(kept *k)
{
    cg_node *last;
    chain(k, 0, &last);
    k->read = cg_slice(k->all, 0, cg_sub(cg_dim(k->all, 0), cg_scalar(k->g, CG_I64, 2)), NULL, 1);
}

static void last_rows_of_a_map(kept *k)
{
    cg_scan *s = cg_scan_begin(k->g, CG_SCAN(.steps = k->n));
    cg_scan_out(s, cg_sin(cg_mul(k->w, cg_cast(cg_scan_index(s), CG_F32))), CG_SCAN_ALL);
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&k->all)), CG_OK);
    k->read = last_rows(k->all, 2);
}

static void truncated_gradient(kept *k)
{
    cg_node *last;
    chain(k, 5, &last);
    ck_assert_int_eq(cg_grad(cg_sum(last, CG_REDUCE()), CG_NODES(k->w), CG_OUT(&k->read)), CG_OK);
}

/* The read values for n steps, alone or with everything that was stacked; peak: what the call held. */
static cg_array *values_of(const kept *k, int64_t n, bool with_all, int64_t *peak)
{
    static const float h[9] = { 0.5f, -0.25f, 1, 0.75f, 0.125f, -1, 0.375f, 0.25f, -0.5f }, w[3] = { 0.5f, 1.5f, -1.25f };
    cg_function *f = cg_compile(k->g, CG_SPEC(.name = "f", CG_INPUTS(k->n, k->h, k->w), .outputs = (cg_node *const[]){ k->read, k->all }, .noutputs = with_all ? 2 : 1,
                                              .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *in[] = { cg_array_new(CG_I64, NULL, 0, &n), cg_array_new(CG_F32, CG_SHAPE(3, 3), h), cg_array_new(CG_F32, CG_SHAPE(3), w) }, *out[2] = { 0 };
    ck_assert_msg(cg_call(f, in, 3, out) == CG_OK, "%s", cg_last_error()->text);
    ck_assert_msg(cg_array_data(out[0]) != NULL, "%s", cg_last_error()->text);
    cg_stats stats;
    cg_function_stats(f, &stats);
    *peak = stats.peak_bytes;
    for (int i = 0; i < 3; i++)
        cg_array_free(in[i]);
    cg_array_free(out[1]);
    cg_function_free(f);
    return out[0];
}

START_TEST(only_rows_that_are_read_are_kept)
{
    static const struct { const char *name; void (*build)(kept *); } rows[] = {
        { "the last state", last_state }, { "the last row", last_row }, { "three rows", last_three_rows }, { "nine rows, summed", last_nine_rows_summed },
        { "from the end", row_counted_from_the_end }, { "rows of a map", last_rows_of_a_map }, { "a truncated gradient", truncated_gradient },
    };
    static const int64_t steps[] = { 0, 1, 2, 3, 7, 100, 1000 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kept k = { .g = cg_graph_new() };
        int64_t peak[8], with;
        k.n = cg_input(k.g, "n", CG_I64, NULL, 0);
        k.h = cg_input(k.g, "h", CG_F32, CG_SHAPE(3, 3));
        k.w = cg_input(k.g, "w", CG_F32, CG_SHAPE(3));
        rows[i].build(&k);
        for (size_t n = 0; n < sizeof steps / sizeof steps[0]; n++) {
            cg_array *a = values_of(&k, steps[n], false, &peak[n]), *b = values_of(&k, steps[n], true, &with);
            const size_t bytes = (size_t)cg_array_count(a) * sizeof(float);
            ck_assert_msg(cg_array_count(a) == cg_array_count(b) && memcmp(cg_array_data(a), cg_array_data(b), bytes) == 0, "%s: other values after %lld steps",
                          rows[i].name, (long long)steps[n]);
            cg_array_free(a);
            cg_array_free(b);
            close_devices();
        }
        ck_assert_msg(peak[5] == peak[6] && with > peak[6], "%s: %lld bytes for 100 steps, %lld for 1000", rows[i].name, (long long)peak[5], (long long)peak[6]);
        cg_graph_free(k.g);
    }
}
END_TEST

/* Of three values one is computed and none copied in a step. */
START_TEST(taps_of_a_state_share_its_rows)
{
    kept k = { .g = cg_graph_new() };
    k.n = cg_input(k.g, "n", CG_I64, NULL, 0);
    k.h = cg_input(k.g, "h", CG_F32, CG_SHAPE(3, 3));
    k.w = cg_input(k.g, "w", CG_F32, CG_SHAPE(3));
    last_state(&k);
    cg_function *f = cg_compile(k.g, CG_SPEC(.name = "f", CG_INPUTS(k.n, k.h, k.w), CG_OUTPUTS(k.read)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    char *plan = cg_function_show(f, CG_STAGE_PLAN);
    ck_assert_msg(occurrences(plan, "\"state\"\n  s") == 1 && occurrences(plan, "times the next 1 step)") == 1, "%s", plan);
    cg_text_free(plan);
    cg_function_free(f);
    cg_graph_free(k.g);
}
END_TEST

/* ---- FEATURES 10, rows 23 and 24 */

enum { MOST = 5 };

static cg_array *counted(cg_dtype d, int64_t n)
{
    float f[MOST];
    double v[MOST];
    for (int64_t i = 0; i < n; i++)
        v[i] = f[i] = (float)(i + 1) / 4;
    return cg_array_new(d, CG_SHAPE(n), d == CG_F32 ? (const void *)f : (const void *)v);
}

static void is(const char *what, cg_array *a, const double *want, int64_t n)
{
    ck_assert_msg(a && cg_array_data(a), "%s: %s", what, cg_last_error()->text);
    ck_assert_msg(cg_array_count(a) == n, "%s: %lld elements, not %lld", what, (long long)cg_array_count(a), (long long)n);
    const void *at = cg_array_data(a);
    for (int64_t i = 0; i < n; i++) {
        const double v = cg_array_dtype(a) == CG_F32 ? (double)((const float *)at)[i] : ((const double *)at)[i];
        ck_assert_msg(v == want[i], "%s: element %lld is %.17g, not %.17g", what, (long long)i, v, want[i]);
    }
    cg_array_free(a);
}

/* h = h / 2 + x y over x and y of so many rows, for n steps or (-1) as many as there are: rows, state and sum; all are binary fractions. */
static void steps_are(int64_t nx, int64_t ny, int64_t n, int64_t want, int known, int plainly)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F64, CG_SHAPE(known ? nx : CG_ANY)), *y = cg_input(g, "y", CG_F64, CG_SHAPE(known ? ny : CG_ANY));
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.steps = n < 0 ? NULL : cg_scalar(g, CG_I64, (double)n)));
    cg_node *h = cg_scan_state(s, cg_scalar(g, CG_F64, 1)), *next = cg_add(cg_scale(h, 0.5), cg_mul(cg_scan_seq(s, x), cg_scan_seq(s, y))), *all, *last, *sum_of_all;
    cg_scan_next(s, h, next);
    cg_scan_out(s, next, CG_SCAN_ALL);
    cg_scan_out(s, next, CG_SCAN_LAST);
    cg_scan_out(s, next, CG_SCAN_SUM);
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&all, &last, &sum_of_all)), CG_OK);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(x, y), CG_OUTPUTS(all, last, sum_of_all, cg_dim(all, 0)), .no_rewrites = plainly));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *in[] = { counted(CG_F64, nx), counted(CG_F64, ny) }, *out[4];
    ck_assert_msg(cg_call(f, in, 2, out) == CG_OK, "%s", cg_last_error()->text);
    double rows[MOST], state = 1, total = 0;
    for (int64_t t = 0; t < want; t++)
        total += rows[t] = state = state / 2 + (double)((t + 1) * (t + 1)) / 16;
    is("rows", out[0], rows, want);
    is("the state", out[1], &state, 1);
    is("the sum", out[2], &total, 1);
    ck_assert_int_eq(((const int64_t *)cg_array_data(out[3]))[0], want);
    cg_array_free(out[3]);
    cg_array_free(in[0]);
    cg_array_free(in[1]);
    cg_function_free(f);
    cg_graph_free(g);
    close_devices();
}

START_TEST(row_23_numbers_of_steps)
{
    static const struct { int64_t nx, ny, n, want; } rows[] = {
        { 4, 4, -1, 4 }, { 4, 3, -1, 3 }, { 2, 5, -1, 2 }, { 0, 3, -1, 0 }, { 1, 1, -1, 1 }, { 4, 5, 0, 0 }, { 4, 5, 1, 1 }, { 4, 5, 3, 3 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int way = 0; way < 4; way++)
            steps_are(rows[i].nx, rows[i].ny, rows[i].n, rows[i].want, way & 1, way >> 1);
}
END_TEST

/* h = w h + x, where x is narrower than the state and w a shared variable; y only reaches an output that the cost does not read. */
START_TEST(row_24_gradients_of_loops)
{
    static const double one = 0.5;
    cg_graph *g = cg_graph_new();
    cg_array *value = cg_array_new(CG_F64, NULL, 0, &one);
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY)), *y = cg_input(g, "y", CG_F64, CG_SHAPE(CG_ANY)), *w = cg_shared(g, "w", value);
    cg_scan *s = cg_scan_begin(g, CG_SCAN());
    cg_node *h = cg_scan_state(s, cg_scalar(g, CG_F64, 1)), *next = cg_add(cg_mul(h, w), cg_scan_seq(s, x)), *last, *squares, *dx, *dw, *dy;
    cg_scan_next(s, h, next);
    cg_scan_out(s, next, CG_SCAN_LAST);
    cg_scan_out(s, cg_square(cg_scan_seq(s, y)), CG_SCAN_ALL);
    ck_assert_int_eq(cg_scan_end(s, CG_OUT(&last, &squares)), CG_OK);
    ck_assert_int_eq(cg_grad(last, CG_NODES(x, w), CG_OUT(&dx, &dw)), CG_OK);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(x, y), CG_OUTPUTS(dx, dw, squares)));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    cg_array *in[] = { counted(CG_F32, 3), counted(CG_F64, 3) }, *out[3];
    ck_assert_msg(cg_call(f, in, 2, out) == CG_OK, "%s", cg_last_error()->text);
    ck_assert_int_eq(cg_array_dtype(out[0]), CG_F32);
    is("the narrow sequence's", out[0], (const double[]){ 0.25, 0.5, 1 }, 3);
    is("the variable's", out[1], &(const double){ 3 * 0.25 + 2 * 0.5 * 0.25 + 0.5 }, 1);       /* of w^3 + w^2 / 4 + w / 2 + 3 / 4 */
    is("the other output", out[2], (const double[]){ 0.0625, 0.25, 0.5625 }, 3);
    ck_assert_int_lt(cg_grad(last, CG_NODES(y), CG_OUT(&dy)), 0);
    ck_assert_msg(strstr(cg_graph_error(g)->text, "y (input f64"), "%s", cg_graph_error(g)->text);
    cg_array_free(in[0]);
    cg_array_free(in[1]);
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(value);
}
END_TEST

/* ---- loops of one function */

static cg_node *squared_and(void *user, cg_node *row) { return cg_add(cg_square(row), user); }
static cg_node *minus_half(void *user, cg_node *state, cg_node *row) { (void)user; return cg_sub(row, cg_scale(state, 0.5)); }

START_TEST(maps_and_folds)
{
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F64, CG_SHAPE(CG_ANY)), *b = cg_input(g, "b", CG_F64, NULL, 0), *init = cg_scalar(g, CG_F64, 8);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(x, b), CG_OUTPUTS(cg_scan_map(x, squared_and, b), cg_scan_foldl(x, init, minus_half, NULL), cg_scan_foldr(x, init, minus_half, NULL))));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    for (int64_t n = 0; n <= 3; n += 3) {
        const double bias = 1;
        cg_array *in[] = { counted(CG_F64, n), cg_array_new(CG_F64, NULL, 0, &bias) }, *out[3];
        ck_assert_msg(cg_call(f, in, 2, out) == CG_OK, "%s", cg_last_error()->text);
        is("map", out[0], (const double[]){ 1.0625, 1.25, 1.5625 }, n);
        is("foldl", out[1], &(const double){ n ? 0.75 - (0.5 - (0.25 - 4) / 2) / 2 : 8 }, 1);
        is("foldr", out[2], &(const double){ n ? 0.25 - (0.5 - (0.75 - 4) / 2) / 2 : 8 }, 1);
        cg_array_free(in[0]);
        cg_array_free(in[1]);
    }
    cg_function_free(f);
    ck_assert(cg_scan_map(init, squared_and, b) == NULL);
    ck_assert_msg(strstr(cg_graph_error(g)->text, "has no axis to walk along"), "%s", cg_graph_error(g)->text);
    ck_assert(cg_scan_foldl(NULL, init, minus_half, NULL) == NULL && cg_scan_foldr(x, NULL, minus_half, NULL) == NULL);
    cg_graph_free(g);
}
END_TEST

int main(void)
{
    return RUN_TESTS("loops", what_is_wrong_with_a_loop_is_told, what_is_wrong_at_the_call_is_told, only_rows_that_are_read_are_kept,
                     taps_of_a_state_share_its_rows, row_23_numbers_of_steps, row_24_gradients_of_loops, maps_and_folds);
}
