// SPDX-License-Identifier: MIT
/* Every elementwise operation, from its row: values against NumPy, SciPy and mpmath (golden_elem.h), every dtype, empty, scalar, strided and
 * broadcast operands, the algebra that the row declares, derivatives against differences, and the same bits on every executor.
 *
 * A chorus evaluates many operations in few kernels: a group of them is one expression, where row k of the result is that of
 * operation k (`where(k == 0, f0(a, b, c), where(k == 1, ...))`), since a kernel's first launch costs 0.1 s on PoCL, and seconds if it
 * holds many special functions. So the tests of one dtype and layout sing the same chorus, whatever they look at.
 */
#include <float.h>
#include <stdio.h>
#include "backends/cpu/cpu.h"
#include "core/graph/build.h"
#include "tests/golden_elems.h"
#include "tests/suite.h"

enum { ROWS = CG_LEN(golden), GROUP = 12, GROUPS = CG_EL_COUNT, POINTS = 6 };

/* ---- the chorus */

typedef struct voice { cg_elem elem; int group, row; } voice;
typedef struct chorus {
    cg_graph *g;
    cg_node *in[4];                      /* k, a, b, c */
    voice v[CG_EL_COUNT]; int n;
    cg_node *members[GROUPS][GROUP]; int size[GROUPS], groups;
    cg_array *got[GROUPS];
} chorus;

/* The operands' dtypes and shapes are those of the arrays that the call will bring. */
static void chorus_start(chorus *c, cg_array *const in[3])
{
    static const char *const names[] = { "a", "b", "c" };
    const int64_t shape[CG_MAX_RANK] = { GROUP, 1, 1, 1, 1, 1, 1, 1 };
    int rank = 0;
    *c = (chorus){ .g = cg_graph_new() };
    for (int i = 0; i < 3; i++) {
        c->in[i + 1] = cg_input(c->g, names[i], cg_array_dtype(in[i]), cg_array_shape(in[i]), cg_array_rank(in[i]));
        rank = cg_array_rank(in[i]) > rank ? cg_array_rank(in[i]) : rank;
    }
    c->in[0] = cg_input(c->g, "k", CG_I32, shape, rank + 1);
}

static void chorus_add_node(chorus *c, cg_elem elem, cg_node *n)
{
    int group = 0;
    while (group < c->groups && (c->size[group] == GROUP || c->members[group][0]->type.dtype != n->type.dtype))
        group++;
    c->groups += group == c->groups;
    c->members[group][c->size[group]] = n;
    c->v[c->n++] = (voice){ elem, group, c->size[group]++ };
}

static cg_node *build_elem(cg_graph *g, cg_elem elem, cg_node *const *in)
{
    return cg__build(g, (cg_op_id)(CG_OP_FIRST_ELEM + (int)elem), in, cg__elems[elem].arity, NULL);
}

static void chorus_add(chorus *c, cg_elem elem, cg_node *const *in)
{
    cg_node *n = build_elem(c->g, elem, in ? in : c->in + 1);
    ck_assert_msg(n != NULL, "%s: %s", cg__elems[elem].name, cg_graph_error(c->g) ? cg_graph_error(c->g)->text : "?");
    chorus_add_node(c, elem, n);
}

static bool claims(const cg_elem_row *row, cg_dtype d)
{
    switch (row->cls) {
    case CG_CLS_NUM: return d != CG_BOOL || row->algebra & (A_OR | A_AND);
    case CG_CLS_INT: return cg__is_int(d);
    case CG_CLS_BIT: return !cg__is_float(d);
    default: return true;
    }
}

/* All rows that the operands' dtype has. The float functions of integers are those of f32 behind a cast, a node of its own: where kernels
 * must be compiled, one group of them. */
static void chorus_add_all(chorus *c, cg_node *const *in)
{
    const cg_dtype d = c->in[1]->type.dtype;
    int casts = strcmp(cg_device_name(cg_device_open(NULL)), "cpu") == 0 ? CG_EL_COUNT : GROUP;
    for (int e = 0; e < CG_EL_COUNT; e++)
        if (claims(&cg__elems[e], d) && !(e == CG_EL_invert && d == CG_BOOL)         /* not ~: its own test */
            && (cg__is_float(d) || cg__elems[e].cls != CG_CLS_FLT || casts-- > 0))
            chorus_add(c, (cg_elem)e, in);
}

static void chorus_run(chorus *c, cg_array *const in[3], cg_device *device)
{
    cg_node *out[GROUPS];
    for (int i = 0; i < c->groups; i++) {
        out[i] = c->members[i][c->size[i] - 1];
        for (int k = c->size[i] - 2; k >= 0; k--)
            out[i] = cg_where(cg_equal(c->in[0], cg_weak(c->g, k)), c->members[i][k], out[i]);
    }
    int32_t numbers[GROUP];
    for (int i = 0; i < GROUP; i++)
        numbers[i] = i;
    const cg_type *t = &c->in[0]->type;
    int64_t shape[CG_MAX_RANK];
    for (int i = 0; i < t->rank; i++)
        shape[i] = t->dim[i].n;
    cg_array *args[4] = { cg_array_new(CG_I32, shape, t->rank, numbers), in[0], in[1], in[2] };
    cg_function *f = cg_compile(c->g, CG_SPEC(.name = "chorus", .inputs = c->in, .ninputs = 4, .outputs = out, .noutputs = c->groups, .device = device, .unused = CG_UNUSED_IGNORE,
                                              .no_rewrites = 1));
    ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
    ck_assert_msg(cg_call(f, args, 4, c->got) == CG_OK, "%s", cg_last_error()->text);
    cg_function_free(f);
    cg_array_free(args[0]);
    for (int i = 0; i < c->groups; i++)
        ck_assert_msg(cg_array_data(c->got[i]) != NULL, "%s", cg_last_error()->text);
}

static void chorus_free(chorus *c)
{
    for (int i = 0; i < c->groups; i++)
        cg_array_free(c->got[i]);
    cg_graph_free(c->g);
}

static int64_t voice_count(const chorus *c, int i) { return cg_array_count(c->got[c->v[i].group]) / GROUP; }
static cg_dtype voice_dtype(const chorus *c, int i) { return cg_array_dtype(c->got[c->v[i].group]); }
static const char *voice_name(const chorus *c, int i) { return cg__elems[c->v[i].elem].name; }

static const void *voice_at(const chorus *c, int i, int64_t at)
{
    cg_array *got = c->got[c->v[i].group];
    return (const char *)cg_array_data(got) + (size_t)(c->v[i].row * voice_count(c, i) + at) * cg_dtype_bytes(cg_array_dtype(got));
}

static double voice_f64(const chorus *c, int i, int64_t at) { return cg__load_f64(voice_at(c, i, at), voice_dtype(c, i)); }

/* ---- operands */

static cg_array *numbers(cg_dtype d, const int64_t *shape, int rank, const double *v, int64_t n)
{
    cg_array *a = cg_array_new(d, shape, rank, NULL);
    char *p = (char *)(uintptr_t)cg_array_data(a);
    for (int64_t i = 0; i < cg_array_count(a); i++)
        cg__store_f64(p + (size_t)i * cg_dtype_bytes(d), d, v[i % n]);
    return a;
}

static void free_arrays(cg_array **a, int n)
{
    for (int i = 0; i < n; i++)
        cg_array_free(a[i]);
}

static uint64_t random_bits(uint64_t *s)
{
    *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17;
    return *s * 0x2545F4914F6CDD1DULL;
}

/* ---- values */

START_TEST(every_row_has_golden_values)
{
    for (int e = 0; e < CG_EL_COUNT; e++) {
        bool found = !of_integers_only((cg_elem)e) && golden_of((cg_elem)e);
        for (int i = 0; i < CG_LEN(golden_ints); i++)
            found = found || golden_ints[i].elem == (cg_elem)e;
        ck_assert_msg(found, "%s has no golden values: add it to tests/golden_elem.py", cg__elems[e].name);
    }
}
END_TEST

START_TEST(values_are_numpys)
{
    for (int arity = 1; arity <= 3; arity++) {
        cg_array *in[3];
        chorus c;
        const int64_t n = golden_points[arity];
        for (int i = 0; i < 3; i++)
            in[i] = numbers(CG_F32, &n, 1, golden_in[arity][i], n);
        chorus_start(&c, in);
        chorus_add_all(&c, NULL);
        chorus_run(&c, in, NULL);
        for (int v = 0; v < c.n; v++)
            if (cg__elems[c.v[v].elem].arity == arity)
                for (int64_t i = 0; i < n; i++)
                    golden_elem_check(c.v[v].elem, voice_dtype(&c, v), i, voice_f64(&c, v, i));
        chorus_free(&c);
        free_arrays(in, 3);
    }
}
END_TEST

/* f64 texts, to 10^-12 of the value or of its terms (tails of gelu, zeros of lgamma). */
START_TEST(values_in_f64_are_scipys)
{
    cg_array *in[3];
    chorus c;
    const int64_t n = golden_points[1];
    for (int i = 0; i < 3; i++)
        in[i] = numbers(CG_F64, &n, 1, in1_a, n);
    chorus_start(&c, in);
    chorus_add_all(&c, NULL);
    chorus_run(&c, in, NULL);
    for (int v = 0; v < c.n; v++) {
        const cg_elem_row *row = &cg__elems[c.v[v].elem];
        for (int64_t i = 0; row->arity == 1 && row->cls == CG_CLS_FLT && row->res == CG_RES_SAME && i < n; i++) {
            const double got = voice_f64(&c, v, i), want = golden_of(c.v[v].elem)->want[i], scale = fmax(bound_of(voice_name(&c, v)).scale, DBL_MIN);
            const bool same = isnan(want) ? isnan(got) : isinf(want) ? got == want : fabs(got - want) <= 1e-12 * fmax(fabs(want), scale);
            ck_assert_msg(same, "%s of %.17g is %.17g, not %.17g", voice_name(&c, v), in1_a[i], got, want);
        }
    }
    chorus_free(&c);
    free_arrays(in, 3);
}
END_TEST

static bool divides(cg_elem e) { return cg__elems[e].algebra & A_QUOT; }

/* Operands of shape (n, 1) and (1, n): every pair of points, and broadcasting. */
START_TEST(integers_wrap_and_are_defined_everywhere)
{
    for (int r = 0; r < CG_LEN(golden_ints);) {
        const golden_int *row = &golden_ints[r];
        cg_array *in[3];
        chorus c;
        int last = r;
        for (int i = 0; i < 3; i++)
            in[i] = golden_int_operand(row, i);
        chorus_start(&c, in);
        cg_node *const safe[3] = { c.in[1], cg_where(cg_equal(c.in[2], cg_weak(c.g, 0)), cg_weak(c.g, 1), c.in[2]), c.in[3] };       /* check_division has the others */
        for (; last < CG_LEN(golden_ints) && golden_ints[last].dtype == row->dtype; last++)
            chorus_add(&c, golden_ints[last].elem, divides(golden_ints[last].elem) ? safe : NULL);
        chorus_run(&c, in, NULL);
        for (int v = 0; v < c.n; v++)
            for (int64_t i = 0; i < voice_count(&c, v); i++)
                if (!divides(c.v[v].elem) || row->in[i % row->n] != 0)
                    golden_int_check(&golden_ints[r + v], i, voice_count(&c, v), cg__load_i64(voice_at(&c, v, i), voice_dtype(&c, v)));
        chorus_free(&c);
        free_arrays(in, 3);
        r = last;
    }
}
END_TEST

/* ---- dtypes */

static void refused(chorus *c, cg_elem elem)
{
    char says[60];
    snprintf(says, sizeof says, "cg_%s: is not defined for a (input %s", cg__elems[elem].name, cg_dtype_name(c->in[1]->type.dtype));
    ck_assert_msg(build_elem(c->g, elem, c->in + 1) == NULL, "%s takes %s", cg__elems[elem].name, cg_dtype_name(c->in[1]->type.dtype));
    ck_assert_msg(strncmp(cg_graph_error(c->g)->text, says, strlen(says)) == 0, "%s", cg_graph_error(c->g)->text);
    cg_graph_clear_error(c->g);
}

static void small_operands(cg_dtype d, cg_array *in[3])
{
    static const double values[3][4] = { { 1, 2, 3, 5 }, { 1, 3, 2, 1 }, { 2, 1, 1, 3 } }, bools[3][4] = { { 1, 0, 1, 0 }, { 1, 1, 0, 0 }, { 0, 1, 0, 1 } };
    const int64_t n = 4;
    for (int i = 0; i < 3; i++)
        in[i] = numbers(d, &n, 1, d == CG_BOOL ? bools[i] : values[i], n);
}

/* What the row gives for d's operands taken as f64, or as i64. */
static void reference(chorus *c, const chorus *like, cg_dtype from, bool whole)
{
    cg_array *in[3], *wide[3];
    small_operands(from, in);
    for (int i = 0; i < 3; i++) {
        double v[4];
        for (int k = 0; k < 4; k++)
            v[k] = cg__load_f64((const char *)cg_array_data(in[i]) + (size_t)k * cg_dtype_bytes(from), from);
        wide[i] = numbers(whole ? CG_I64 : CG_F64, cg_array_shape(in[i]), 1, v, 4);
    }
    chorus_start(c, wide);
    for (int v = 0; v < like->n; v++)
        if (claims(&cg__elems[like->v[v].elem], whole ? CG_I64 : CG_F64))
            chorus_add(c, like->v[v].elem, NULL);
    chorus_run(c, wide, cg_device_open("cpu"));
    free_arrays(in, 3);
    free_arrays(wide, 3);
}

static double tolerance(cg_dtype d)
{
    return d == CG_F64 ? 1e-14 : d == CG_F32 ? 8 * 0x1p-23 : d == CG_F16 ? 0x1p-10 : d == CG_BF16 ? 0x1p-7 : 0;
}

static void compare_narrow(const chorus *c, int v, const chorus *wide, int w)
{
    const cg_dtype d = voice_dtype(c, v);
    for (int i = 0; i < 4; i++) {
        char room[8] = { 0 };
        if (cg__is_float(d) || d == CG_BOOL)
            cg__store_f64(room, d, voice_f64(wide, w, i));
        else
            cg__store_i64(room, d, (int64_t)voice_f64(wide, w, i));
        const double got = voice_f64(c, v, i), want = cg__load_f64(room, d);
        const bool same = (isnan(got) && isnan(want)) || got == want || fabs(got - want) <= tolerance(d) * fmax(fabs(want), 1);
        ck_assert_msg(same, "%s of %s: element %d is %g, not %g", voice_name(c, v), cg_dtype_name(c->in[1]->type.dtype), i, got, want);
    }
}

START_TEST(claimed_dtypes_work_and_others_are_refused)
{
    for (int d = 0; d < CG_DTYPE_COUNT; d++) {
        cg_array *in[3];
        chorus c, wide[2];
        small_operands((cg_dtype)d, in);
        chorus_start(&c, in);
        for (int e = 0; e < CG_EL_COUNT; e++)
            if (!claims(&cg__elems[e], (cg_dtype)d))
                refused(&c, (cg_elem)e);
        chorus_add_all(&c, NULL);
        chorus_run(&c, in, NULL);
        reference(&wide[0], &c, (cg_dtype)d, false);
        reference(&wide[1], &c, (cg_dtype)d, true);
        for (int v = 0; v < c.n; v++) {
            const chorus *w = &wide[!claims(&cg__elems[c.v[v].elem], CG_F64)];
            int k = 0;
            while (w->v[k].elem != c.v[v].elem)
                k++;
            compare_narrow(&c, v, w, k);
        }
        chorus_free(&c);
        chorus_free(&wide[0]);
        chorus_free(&wide[1]);
        free_arrays(in, 3);
    }
}
END_TEST

START_TEST(bools_add_by_or_and_multiply_by_and)
{
    cg_graph *g = cg_graph_new();
    cg_node *a = cg_input(g, "a", CG_BOOL, CG_SHAPE(2)), *b = cg_input(g, "b", CG_BOOL, CG_SHAPE(2));
    ck_assert_ptr_eq(cg_add(a, b), cg_logical_or(a, b));
    ck_assert_ptr_eq(cg_maximum(a, b), cg_logical_or(a, b));
    ck_assert_ptr_eq(cg_mul(a, b), cg_logical_and(a, b));
    ck_assert_ptr_eq(cg_invert(a), cg_logical_not(a));
    ck_assert_ptr_null(cg_sub(a, b));
    ck_assert_ptr_nonnull(strstr(cg_graph_error(g)->text, "cg_sub: is not defined for a (input bool[2]"));
    cg_graph_free(g);
}
END_TEST

/* ---- layouts */

/* All rows over f32 operands of a shape; both: twice as long, and read backwards by every second element. */
static void all_rows(chorus *c, const int64_t *shape, int rank, bool both)
{
    static const double values[3][4] = { { 0.5, 2.5, 0.25, 0.75 }, { 1.5, 0.5, 2, -1 }, { 2, 1, 0.5, 3 } };
    double doubled[8];
    cg_array *in[3];
    cg_node *operands[3];
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 8; k++)
            doubled[k] = values[i][3 - k / 2] + (k & 1 ? 0 : 100);
        in[i] = both ? numbers(CG_F32, &(int64_t){ 8 }, 1, doubled, 8) : numbers(CG_F32, shape, rank, values[i], 4);
    }
    chorus_start(c, in);
    for (int i = 0; i < 3; i++)
        operands[i] = both ? cg_slice(c->in[i + 1], 0, NULL, NULL, -2) : c->in[i + 1];
    chorus_add_all(c, operands);
    chorus_run(c, in, NULL);
    free_arrays(in, 3);
}

static void same_bits(const chorus *x, const chorus *y, int64_t n)
{
    for (int v = 0; v < x->n; v++) {
        const size_t bytes = cg_dtype_bytes(voice_dtype(x, v));
        ck_assert_int_eq(voice_count(x, v), n);
        for (int64_t i = 0; i < n; i++)
            ck_assert_msg(memcmp(voice_at(x, v, i), voice_at(y, v, i), bytes) == 0 || (isnan(voice_f64(x, v, i)) && isnan(voice_f64(y, v, i))),
                          "%s: element %lld is %.9g in one layout, %.9g in the other", voice_name(x, v), (long long)i, voice_f64(x, v, i), voice_f64(y, v, i));
    }
}

START_TEST(empty_scalar_and_strided_operands)
{
    chorus dense, other;
    all_rows(&dense, (int64_t[]){ 4 }, 1, false);
    all_rows(&other, (int64_t[]){ 4 }, 1, true);
    same_bits(&other, &dense, 4);
    chorus_free(&other);
    all_rows(&other, NULL, 0, false);
    same_bits(&other, &dense, 1);
    chorus_free(&other);
    all_rows(&other, (int64_t[]){ 2, 0 }, 2, false);
    same_bits(&other, &dense, 0);
    chorus_free(&other);
    chorus_free(&dense);
}
END_TEST

/* ---- the algebra column, on the special values and the first executor */

static float row_at(cg_elem e, float a, float b)
{
    float out;
    cg__vec_baseline.elem[e][CG_F32](&out, &a, &b, &b, 1);
    return out;
}

static bool alike(float x, float y) { return x == y || (isnan(x) && isnan(y)); }

static void algebra_of(cg_elem e, float a, float b)
{
    const cg_elem_row *row = &cg__elems[e];
    const unsigned alg = row->algebra;
    const float f = row_at(e, a, b);
    const char *broken = alg & A_COMM && !alike(f, row_at(e, b, a)) ? "commute"
                       : alg & A_IDEM && !alike(row->arity == 1 ? row_at(e, f, f) : row_at(e, a, a), row->arity == 1 ? f : a) ? "be idempotent"
                       : alg & A_INVO && !alike(row_at(e, f, f), a) ? "undo itself"
                       : alg & A_ODD && !alike(row_at(e, -a, b), -f) ? "be odd"
                       : alg & A_EVEN && row->res == CG_RES_SAME && !alike(row_at(e, -a, b), f) ? "be even"
                       : alg & A_SELF && !alike(f, a) ? "give its first operand"
                       : alg & A_MONO && a <= b && row->arity == 1 && row_at(e, b, b) < f ? "never fall" : NULL;
    ck_assert_msg(!broken, "%s does not %s at %g %g", row->name, broken, (double)a, (double)b);
}

START_TEST(declared_algebra_holds)
{
    for (int e = 0; e < CG_EL_COUNT; e++)
        for (int i = 0; claims(&cg__elems[e], CG_F32) && cg__elems[e].res == CG_RES_SAME && i < golden_points[2]; i++)
            algebra_of((cg_elem)e, (float)in2_a[i], (float)in2_b[i]);
}
END_TEST

/* ---- derivatives */

/* A row's value, its derivatives, and theirs: out[0], then one an operand, then one a pair. */
enum { JET = 1 + 3 + 9 };
typedef struct slopes { cg_graph *g; cg_node *in[3], *out[JET]; int arity, derived, nout; cg_function *f; } slopes;

static void derive(slopes *s, cg_elem e, cg_node *value, cg_node **out)
{
    cg_node **where[] = { &out[0], &out[1], &out[2] };
    ck_assert_msg(cg_grad_with(cg_sum(value, CG_REDUCE()), s->in, s->arity, where, s->arity, CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS)) == CG_OK, "%s: %s",
                  cg__elems[e].name, cg_last_error()->text);
}

static void slopes_of(slopes *s, cg_elem e)
{
    const int n = cg__elems[e].arity;
    const int derived = 1 + (e == CG_EL_digamma ? 0 : n);              /* trigamma has no derivative */
    *s = (slopes){ .g = cg_graph_new(), .arity = n, .derived = derived, .nout = 1 + n * derived };
    for (int i = 0; i < 3; i++)
        s->in[i] = cg_input(s->g, (const char *[]){ "a", "b", "c" }[i], CG_F64, CG_SHAPE(POINTS));
    s->out[0] = build_elem(s->g, e, s->in);
    for (int i = 0; i < derived; i++)
        derive(s, e, s->out[i], &s->out[1 + i * n]);
    s->f = cg_compile(s->g, CG_SPEC(.inputs = s->in, .ninputs = 3, .outputs = s->out, .noutputs = s->nout, .device = cg_device_open("cpu"), .unused = CG_UNUSED_IGNORE));
    ck_assert_msg(s->f != NULL, "%s: %s", cg__elems[e].name, cg_last_error()->text);
}

/* All of them at the points with operand k moved by h. */
static void slopes_at(const slopes *s, const double (*at)[POINTS], int k, double h, double got[JET][POINTS])
{
    cg_array *in[3], *out[JET];
    for (int i = 0; i < 3; i++) {
        double v[POINTS];
        for (int p = 0; p < POINTS; p++)
            v[p] = at[i][p] + (i == k ? h : 0);
        in[i] = cg_array_new(CG_F64, (int64_t[]){ POINTS }, 1, v);
    }
    ck_assert_msg(cg_call(s->f, in, 3, out) == CG_OK, "%s", cg_last_error()->text);
    for (int i = 0; i < s->nout; i++)
        memcpy(got[i], cg_array_data(out[i]), sizeof(double[POINTS]));
    free_arrays(in, 3);
    free_arrays(out, s->nout);
}

/* The derivative of out[i] by operand k is out[1 + i * arity + k]. */
static void check_slopes(const slopes *s, const golden_elem *row, int k, double here[JET][POINTS])
{
    const double h = 1e-4;
    double up[2][JET][POINTS], down[2][JET][POINTS];
    for (int step = 0; step < 2; step++) {
        slopes_at(s, row->grad, k, (step + 1) * h, up[step]);
        slopes_at(s, row->grad, k, -(step + 1) * h, down[step]);
    }
    for (int i = 0; i < s->derived; i++)
        for (int p = 0; p < POINTS; p++) {
            const double diff = (8 * (up[0][i][p] - down[0][i][p]) - (up[1][i][p] - down[1][i][p])) / (12 * h);           /* exact to h^4 */
            const double grad = here[1 + i * s->arity + k][p];
            ck_assert_msg(fabs(diff - grad) <= (i ? 1e-7 : 1e-8) * (1 + fabs(grad) + fabs(here[i][p])), "%s at %g %g: output %d by operand %d is %.12g, differences say %.12g",
                          cg__elems[row->elem].name, row->grad[0][p], row->grad[1][p], i, k + 1, grad, diff);
        }
}

/* Derivatives are made of rows, and rows are compared between executors by their bits: the cpu is enough. */
START_TEST(derivatives_are_differences_and_so_are_theirs)
{
    for (int r = 0; r < ROWS; r++) {
        double here[JET][POINTS];
        slopes s;
        if (!golden[r].grad)
            continue;
        slopes_of(&s, golden[r].elem);
        slopes_at(&s, golden[r].grad, 0, 0, here);
        for (int k = 0; k < s.arity; k++)
            check_slopes(&s, &golden[r], k, here);
        cg_function_free(s.f);
        cg_graph_free(s.g);
    }
}
END_TEST

/* Where the derivative jumps, or a formula would be 0 times infinity or cancel: what is given there, by each operand and, fourth, by the first twice. */
static const struct { cg_elem elem; double at[3], want[4]; } kinks[] = {
    { CG_EL_abs,     { 0 },           { 0 } },
    { CG_EL_relu,    { 0 },           { 0 } },
    { CG_EL_maximum, { 2, 2 },        { 1, 0 } },
    { CG_EL_minimum, { 2, 2 },        { 1, 0 } },
    { CG_EL_fmax,    { NAN, 3 },      { 0, 1 } },
    { CG_EL_fmin,    { 3, NAN },      { 1, 0 } },
    { CG_EL_clip,    { 1, 1, 2 },     { 1, 0, 0 } },
    { CG_EL_clip,    { 2, 1, 2 },     { 1, 0, 0 } },
    { CG_EL_clip,    { 0, 1, 2 },     { 0, 1, 0 } },
    { CG_EL_clip,    { 3, 1, 2 },     { 0, 0, 1 } },
    { CG_EL_power,   { 0, 1 },        { 1, 0 } },
    { CG_EL_power,   { 0, 0 },        { 0, 0 } },
    { CG_EL_i1,      { 0 },           { 0.5 } },
    { CG_EL_power,   { 0, 2 },        { 0, 0, 0, 2 } },
    { CG_EL_log1mexp, { -800 },       { 0 } },
    { CG_EL_erfcx,   { 1e8 },         { -5.6418958354775628695e-17, 0, 0, 1.1283791670955125739e-24 } },
    { CG_EL_i1,      { 1e-8 },        { 0.5, 0, 0, 3.75e-9 } },
    { CG_EL_gelu_tanh, { 1e160 },     { 1 } },
    { CG_EL_gelu_tanh, { -1e160 },    { 0 } },
    { CG_EL_heaviside, { 0, 0.5 },    { 0, 1 } },
};

static void at_kink(int i, int which, double got, double want)
{
    ck_assert_msg(fabs(got - want) <= 4e-16 * fabs(want), "%s at %g %g: derivative %d is %.17g, not %.17g", cg__elems[kinks[i].elem].name, kinks[i].at[0], kinks[i].at[1],
                  which, got, want);
}

START_TEST(derivatives_at_kinks_are_the_stated_ones)
{
    for (int i = 0; i < CG_LEN(kinks); i++) {
        double at[3][POINTS], got[JET][POINTS];
        slopes s;
        for (int k = 0; k < 3; k++)
            for (int p = 0; p < POINTS; p++)
                at[k][p] = kinks[i].at[k];
        slopes_of(&s, kinks[i].elem);
        slopes_at(&s, (const double (*)[POINTS])at, 0, 0, got);
        for (int k = 0; k < s.arity; k++)
            at_kink(i, k + 1, got[1 + k][0], kinks[i].want[k]);
        at_kink(i, 4, got[1 + s.arity][0], kinks[i].want[3]);
        cg_function_free(s.f);
        cg_graph_free(s.g);
    }
}
END_TEST

/* ---- the same bits */

/* f64 rows that libm or a driver computes: compared to 10^-12 of the value, not by bits. */
static bool of_libm(cg_elem e, cg_dtype d)
{
    const char *expr = cg__elems[e].expr;
    static const char *const exact[] = { "M(abs)", "M(sign)", "M(sqrt)", "M(floor)", "M(ceil)", "M(trunc)", "M(round)", "M(copysign)", "M(signbit)", "M(nextafter)", "M(maximum)", "M(minimum)", "M(fmax)", "M(fmin)", "M(clip)",
                                         "M(floor_divide)", "M(mod)", "M(fmod)", "M(deg2rad)", "M(rad2deg)", "M(hard_" };
    bool calls = d == CG_F64 && strstr(expr, "M(");
    for (int i = 0; calls && i < CG_LEN(exact); i++)
        calls = !strstr(expr, exact[i]);
    return calls;
}

static bool near(double x, double y) { return x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= 1e-12 * fmax(fabs(x), 1e-300); }

enum { RANDOM = 300 };
static void random_operands(cg_dtype d, cg_array *in[3])
{
    uint64_t s = 88172645463325252ULL + d;
    for (int i = 0; i < 3; i++) {
        in[i] = cg_array_new(d, (int64_t[]){ RANDOM }, 1, NULL);
        char *p = (char *)(uintptr_t)cg_array_data(in[i]);
        for (int k = 0; k < RANDOM; k++) {
            const uint64_t bits = random_bits(&s);
            memcpy(p + (size_t)k * cg_dtype_bytes(d), &bits, cg_dtype_bytes(d));
            if (cg__is_float(d) && k % 3 == 0)                   /* of middle size, too */
                cg__store_f64(p + (size_t)k * cg_dtype_bytes(d), d, (double)(int64_t)bits * 0x1p-60);
        }
    }
}

static const cg_dtype compute_types[] = { CG_F32, CG_F64, CG_I32, CG_U32, CG_I64, CG_U64 };

START_TEST(every_device_gives_the_same_bits_as_cpu)
{
    for (int t = 0; t < CG_LEN(compute_types); t++) {
        cg_array *in[3];
        chorus here, cpu;
        random_operands(compute_types[t], in);
        chorus_start(&here, in);
        chorus_start(&cpu, in);
        chorus_add_all(&here, NULL);
        chorus_add_all(&cpu, NULL);
        chorus_run(&here, in, NULL);
        chorus_run(&cpu, in, cg_device_open("cpu"));
        for (int v = 0; v < cpu.n; v++)
            for (int i = 0; i < RANDOM; i++) {
                const double x = voice_f64(&here, v, i), y = voice_f64(&cpu, v, i);
                const bool same = memcmp(voice_at(&here, v, i), voice_at(&cpu, v, i), cg_dtype_bytes(voice_dtype(&cpu, v))) == 0 || (isnan(x) && isnan(y));
                ck_assert_msg(same || (of_libm(cpu.v[v].elem, compute_types[t]) && near(x, y)), "%s of %s: element %d is %.17g here, %.17g on cpu",
                              voice_name(&cpu, v), cg_dtype_name(compute_types[t]), i, x, y);
            }
        chorus_free(&here);
        chorus_free(&cpu);
        free_arrays(in, 3);
    }
}
END_TEST

static bool equal_bits(const void *x, const void *y, cg_dtype d)
{
    return memcmp(x, y, cg_dtype_bytes(d)) == 0 || (isnan(cg__load_f64(x, d)) && isnan(cg__load_f64(y, d)));
}

static void gives_the_bits_of_baseline(const cg_vec *vec)
{
    for (int t = 0; t < CG_LEN(compute_types); t++) {
        const cg_dtype d = compute_types[t];
        const size_t bytes = cg_dtype_bytes(d);
        cg_array *in[3];
        random_operands(d, in);
        for (int e = 0; e < CG_EL_COUNT; e++) {
            double x[RANDOM] = { 0 }, y[RANDOM] = { 0 };
            if (!cg__vec_baseline.elem[e][d])
                continue;
            cg__vec_baseline.elem[e][d](x, cg_array_data(in[0]), cg_array_data(in[1]), cg_array_data(in[2]), RANDOM);
            vec->elem[e][d](y, cg_array_data(in[0]), cg_array_data(in[1]), cg_array_data(in[2]), RANDOM);
            for (int i = 0; i < RANDOM; i++) {
                const char *p = (const char *)x + (size_t)i * bytes, *q = (const char *)y + (size_t)i * bytes;
                ck_assert_msg(equal_bits(p, q, d), "%s of %s: element %d is %.17g by baseline, %.17g by %s",
                              cg__elems[e].name, cg_dtype_name(d), i, cg__load_f64(p, d), cg__load_f64(q, d), vec->name);
            }
        }
        free_arrays(in, 3);
    }
}

static void a_pair_is_its_operations(const cg_vec *vec, const cg_vec_pair *p, cg_dtype d, cg_array **in)
{
    const void *a = cg_array_data(in[0]), *b = cg_array_data(in[1]), *c = cg_array_data(in[2]);
    double t[RANDOM] = { 0 }, one_by_one[RANDOM] = { 0 }, at_once[RANDOM] = { 0 };
    vec->elem[p->inner][d](t, a, b, NULL, RANDOM);
    vec->elem[p->outer][d](one_by_one, p->side ? c : t, p->side ? (const void *)t : c, NULL, RANDOM);
    (d == CG_F32 ? p->f32 : p->f64)(at_once, a, b, c, RANDOM);
    for (int i = 0; i < RANDOM; i++) {
        const char *x = (const char *)one_by_one + (size_t)i * cg_dtype_bytes(d), *y = (const char *)at_once + (size_t)i * cg_dtype_bytes(d);
        ck_assert_msg(equal_bits(x, y, d), "%s of %s of %s by %s: element %d is %.17g, at once %.17g", cg__elems[p->outer].name, cg__elems[p->inner].name,
                      cg_dtype_name(d), vec->name, i, cg__load_f64(x, d), cg__load_f64(y, d));
    }
}

START_TEST(two_operations_in_one_pass_give_the_same_bits)
{
    const cg_vec *vecs[] = { &cg__vec_baseline, cg__cpu_vec() };
    int n = 0;
    for (int t = 0; t < 2; t++) {
        cg_array *in[3];
        random_operands(compute_types[t], in);
        for (int v = 0; v < CG_LEN(vecs); v++)
            for (const cg_vec_pair *p = vecs[v]->pairs; p->f32; p++, n++)
                a_pair_is_its_operations(vecs[v], p, compute_types[t], in);
        free_arrays(in, 3);
    }
    ck_assert_int_eq(n, 6 * 7 * 4);
}
END_TEST

START_TEST(every_build_of_the_rows_gives_the_same_bits)
{
#ifdef CG_HAVE_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        gives_the_bits_of_baseline(&cg__vec_avx2);
#endif
    gives_the_bits_of_baseline(cg__cpu_vec());
}
END_TEST

int main(void)
{
    return RUN_TESTS("elemwise", every_row_has_golden_values, values_are_numpys, values_in_f64_are_scipys, integers_wrap_and_are_defined_everywhere,
                     claimed_dtypes_work_and_others_are_refused, bools_add_by_or_and_multiply_by_and, empty_scalar_and_strided_operands,
                     declared_algebra_holds, derivatives_are_differences_and_so_are_theirs, derivatives_at_kinks_are_the_stated_ones,
                     every_device_gives_the_same_bits_as_cpu, every_build_of_the_rows_gives_the_same_bits,
                     two_operations_in_one_pass_give_the_same_bits);
}
