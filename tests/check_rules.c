// SPDX-License-Identifier: MIT
/* Each row of the rules makes its tests, on the cpu: both sides have the same values as far as the row claims, near misses of its
 * text stay, and nothing else depends on it.
 *
 * The values: all rows' sides, as they are written, are outputs of one function, called with many sets of numbers. EXACT rows agree bit
 * for bit. ULP rows agree to rounding. SAFER rows are compared with the old side in f64, on numbers that overflow or cancel in f32 alone:
 * the new side is right, or as near as the old; and every such row is right somewhere where the old side is not.
 */
#include <math.h>
#include "core/graph/build.h"
#include "core/rewrite/rewrite.h"
#include "tests/rule_texts.h"
#include "tests/suite.h"

enum { FILLS = 80, MAX_ROWS = CG_RULES_MAX, MOST = 64 };
static const double EPS = 1.2e-7;

typedef enum { FILL_RANDOM, FILL_SPECIAL, FILL_HARD, FILL_HUGE, FILL_KINDS } fill_kind;
static const double special[] = { 0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 2, 0.5 };
static const double hard[] = { 95, -95, 30, -30, 17.5, -17.5, 1e-6, -3e-7, 1e-10, 0.3, -0.4, 2, -5, 9.5, 10.5, 3.25, -3.25, 1000.25, 1000.125 };
static const double huge[] = { 1e25, -3e25, 1e-39, 2e-39, 1, -2 };

typedef struct side_set { cg_graph *g; cg_node *vars[RULE_VARS], *out[MAX_ROWS * 2]; cg_function *f; int nout; } side_set;

static void make_vars(side_set *s, cg_dtype floats)
{
    s->g = cg_graph_new();
    make_rule_vars(s->g, s->vars, floats, 2);
}

static cg_node *read_text(side_set *s, const char *text) { return read_rule_text(s->g, s->vars, text); }

static const char *text_of(const cg_rule *r) { return r->example ? r->example : r->match; }

static void compile(side_set *s)
{
    s->f = cg_compile(s->g, CG_SPEC(.name = "sides", .unused = CG_UNUSED_IGNORE, .inputs = s->vars, .ninputs = RULE_VARS, .outputs = s->out, .noutputs = s->nout, .no_rewrites = 1));
    ck_assert_msg(s->f != NULL, "%s", cg_last_error()->text);
}

static void end(side_set *s)
{
    cg_function_free(s->f);
    cg_graph_free(s->g);
}

/* ---- numbers */

static double number(fill_kind kind, unsigned *seed)
{
    const unsigned k = (unsigned)rand_r(seed);
    if (kind == FILL_SPECIAL)
        return special[k % CG_LEN(special)];
    if (kind == FILL_HUGE)
        return huge[k % CG_LEN(huge)];
    return kind == FILL_HARD ? hard[k % CG_LEN(hard)] : (rand_r(seed) / (double)RAND_MAX - 0.5) * 4;
}

static cg_array *array_of(int var, cg_dtype floats, fill_kind kind, unsigned seed)
{
    const cg_dtype d = rule_vars[var].dtype == CG_F32 ? floats : rule_vars[var].dtype;
    int64_t n = 1;
    for (int i = 0; i < rule_vars[var].rank; i++)
        n *= rule_vars[var].shape[i];
    double room[MOST];
    seed += (unsigned)var * 77;
    for (int64_t i = 0; i < n; i++) {
        const double v = number(rule_vars[var].dtype == CG_F32 ? kind : FILL_RANDOM, &seed);
        const double rounded = rule_vars[var].dtype == CG_F32 ? (double)(float)v : v > 0;       /* f64 sees the same numbers */
        cg__store_f64((char *)room + (size_t)i * cg__dtypes[d].bytes, d, rounded);
    }
    return cg_array_new(d, rule_vars[var].shape, rule_vars[var].rank, room);
}

typedef struct values { cg_array *at[MAX_ROWS * 2]; } values;

static void call(const side_set *s, cg_dtype floats, fill_kind kind, unsigned seed, values *out)
{
    cg_array *in[RULE_VARS];
    for (int i = 0; i < RULE_VARS; i++)
        in[i] = array_of(i, floats, kind, seed);
    ck_assert_msg(cg_call(s->f, in, RULE_VARS, out->at) == CG_OK, "%s", cg_last_error()->text);
    for (int i = 0; i < RULE_VARS; i++)
        cg_array_free(in[i]);
}

static double element(cg_array *a, int64_t i)
{
    const cg_dtype d = cg_array_dtype(a);
    return cg__load_f64((const char *)cg_array_data(a) + (size_t)i * cg__dtypes[d].bytes, d);
}

/* ---- agreement */

/* A factor that is NaN makes all of a scaled sum of rows NaN; where it goes into the rows it stays with them. */
static bool keeps_to_rows(const cg_rule *r, double old) { return isnan(old) && strcmp(r->name, "mul_rows") == 0; }

static bool same(double a, double b) { return a == b || (isnan(a) && isnan(b)); }
static bool near(double a, double b, double tol) { return same(a, b) || fabs(a - b) <= tol; }
static bool is_right(double a, double ref) { return near(a, ref, 40 * EPS * fabs(ref) + 2e-38) || (fabs(ref) > 3.4e38 && isinf(a)); }

static void check_row(const cg_rule *r, fill_kind kind, cg_array *old, cg_array *new_, cg_array *ref, bool *gains)
{
    const bool sums = strstr(r->match, "sum") || strstr(r->match, "softmax");           /* terms of up to 1000 cancel; huge ones in f64 too */
    for (int64_t i = 0; i < cg_array_count(old); i++) {
        const double a = element(old, i), b = element(new_, i), e = element(ref, i);
        if (r->exact == CG_EXACT_EXACT)
            ck_assert_msg(same(a, b) && (isnan(a) || signbit(a) == signbit(b)), "%s: element %d is %.9g, was %.9g", r->name, (int)i, b, a);
        else if (r->exact == CG_EXACT_ULP && kind < FILL_HARD && !keeps_to_rows(r, a))
            ck_assert_msg(near(a, b, 16 * EPS * (fabs(a) + 20)), "%s: element %d is %.9g, was %.9g", r->name, (int)i, b, a);
        else if (r->exact == CG_EXACT_SAFER && kind != FILL_SPECIAL && isfinite(e) && !(sums && kind == FILL_HUGE)) {
            ck_assert_msg(is_right(b, e) || (sums && fabs(b - e) <= 1000 * EPS) || fabs(b - e) <= 2 * fabs(a - e), "%s: element %d is %.9g, should be %.9g, was %.9g", r->name, (int)i, b, e, a);
            *gains |= is_right(b, e) && !is_right(a, e);
        }
    }
}

/* These keep a NaN or an infinity of one branch from the other; no number shows it. */
static bool is_sink(const cg_rule *r) { return strstr(r->match, "(where") != NULL; }

START_TEST(both_sides_agree)
{
    static side_set f32, f64;
    static values a, b;
    const cg_rule *rows;
    const int n = cg__rules(&rows);
    bool gains[MAX_ROWS] = { false };
    make_vars(&f32, CG_F32);
    make_vars(&f64, CG_F64);
    for (int i = 0; i < n; i++) {
        cg_node *old = read_text(&f32, text_of(&rows[i])), *wide = read_text(&f64, text_of(&rows[i]));
        ck_assert_msg(old && wide, "%s: %s", rows[i].name, cg_last_error()->text);
        f32.out[f32.nout++] = old;
        f32.out[f32.nout++] = cg__rule_fire(f32.g, i, old);
        f64.out[f64.nout++] = wide;
        ck_assert_msg(f32.out[f32.nout - 1] != NULL, "%s does not fire", rows[i].name);
    }
    compile(&f32);
    compile(&f64);
    for (unsigned fill = 0; fill < FILLS; fill++) {
        const fill_kind kind = (fill_kind)(fill % FILL_KINDS);
        call(&f32, CG_F32, kind, fill, &a);
        call(&f64, CG_F64, kind, fill, &b);
        for (int i = 0; i < n; i++)
            check_row(&rows[i], kind, a.at[2 * i], a.at[2 * i + 1], b.at[i], &gains[i]);
        for (int i = 0; i < 2 * n; i++)
            cg_array_free(a.at[i]);
        for (int i = 0; i < n; i++)
            cg_array_free(b.at[i]);
    }
    for (int i = 0; i < n; i++)
        ck_assert_msg(rows[i].exact != CG_EXACT_SAFER || is_sink(&rows[i]) || gains[i], "%s is never better than what it replaces", rows[i].name);
    end(&f32);
    end(&f64);
}
END_TEST

/* ---- slices of slices: all signs of steps, bounds in and out of range, missing ones */

static int64_t any_bound(unsigned *seed)
{
    const int k = rand_r(seed) % 20;
    return k == 19 ? CG_NONE : k - 9;
}

static cg_node *any_slice(cg_node *x, unsigned *seed)
{
    static const int64_t steps[] = { 1, 1, 2, 3, -1, -2, -5 };
    const int64_t start = any_bound(seed), stop = any_bound(seed), step = steps[rand_r(seed) % CG_LEN(steps)];
    return cg__build(cg_node_graph(x), CG_OP_slice, &x, 1, (cg_attr[]){ { 1, &start }, { 1, &stop }, { 1, &step } });
}

static int rule_named(const char *name)
{
    const cg_rule *rows;
    const int n = cg__rules(&rows);
    for (int i = 0; i < n; i++)
        if (strcmp(rows[i].name, name) == 0)
            return i;
    ck_abort_msg("there is no rule %s", name);
    return -1;
}

START_TEST(slices_of_slices_are_one)
{
    enum { LONG = 7, PAIRS = MAX_ROWS };
    static side_set s;
    static values got;
    unsigned seed = 5;
    const int rule = rule_named("slice_slice");
    float data[LONG] = { 0, 1, 2, 3, 4, 5, 6 };
    s.g = cg_graph_new();
    cg_node *x = cg_input(s.g, "x", CG_F32, CG_SHAPE(LONG));
    for (int i = 0; i < PAIRS; i++) {
        cg_node *old = any_slice(any_slice(x, &seed), &seed), *new_ = old ? cg__rule_fire(s.g, rule, old) : NULL;
        ck_assert_msg(new_ && new_->in[0] == x, "pair %d is not merged", i);
        s.out[s.nout++] = old;
        s.out[s.nout++] = new_;
    }
    s.f = cg_compile(s.g, CG_SPEC(.name = "slices", CG_INPUTS(x), .outputs = s.out, .noutputs = s.nout, .no_rewrites = 1));
    cg_array *in = cg_array_new(CG_F32, CG_SHAPE(LONG), data);
    ck_assert_msg(s.f && cg_call(s.f, &in, 1, got.at) == CG_OK, "%s", cg_last_error()->text);
    for (int i = 0; i < PAIRS; i++) {
        cg_array *a = got.at[2 * i], *b = got.at[2 * i + 1];
        char *text = cg_print(&s.out[2 * i], 1);
        ck_assert_msg(cg_array_count(a) == cg_array_count(b), "%s has %d elements, then %d", text, (int)cg_array_count(a), (int)cg_array_count(b));
        for (int64_t k = 0; k < cg_array_count(a); k++)
            ck_assert_msg(same(element(a, k), element(b, k)), "%s: element %d is %g, then %g", text, (int)k, element(a, k), element(b, k));
        cg_text_free(text);
    }
    for (int i = 0; i < s.nout; i++)
        cg_array_free(got.at[i]);
    cg_array_free(in);
    end(&s);
}
END_TEST

/* ---- near misses, made from the text of a match */

static void stays(side_set *s, int rule, const char *text)
{
    const cg_rule *rows;
    cg__rules(&rows);
    cg_node *n = read_text(s, text), *made = n ? cg__rule_fire(s->g, rule, n) : NULL;
    cg_graph_clear_error(s->g);
    char *got = made ? cg_print(&made, 1) : NULL;
    ck_assert_msg(!made, "%s fires on %s and gives %s", rows[rule].name, text, got);
}

/* The k-th word of the text that begins at a space or parenthesis and passes `is`, or NULL. */
static const char *word_at(const char *text, bool (*is)(const char *at), int k)
{
    bool attribute = false;
    for (const char *at = text; *at; at++)
        if ((*at == ' ' || *at == '(') && at[1]) {
            if (!attribute && is(at + 1) && k-- == 0)
                return at + 1;
            attribute = at[1] == ':';
        }
    return NULL;
}

static bool is_number(const char *at) { return (*at >= '0' && *at <= '9') || *at == '-'; }
static bool is_variable(const char *at) { return *at == '?' && at[1] != '*'; }

static void with_word(char *out, size_t n, const char *text, const char *at, const char *word)
{
    snprintf(out, n, "%.*s%s%s", (int)(at - text), text, word, at + strcspn(at, " )"));
}

static bool is_readable(const cg_rule *r) { return !r->example && !strchr(r->match, '*') && !strstr(r->match, " :"); }

START_TEST(other_numbers_do_not_match)
{
    static side_set s;
    const cg_rule *rows;
    const int n = cg__rules(&rows);
    int tried = 0;
    make_vars(&s, CG_F32);
    for (int i = 0; i < n; i++)
        for (int k = 0; is_readable(&rows[i]) && word_at(rows[i].match, is_number, k); k++, tried++) {
            char text[500];
            const char *number = word_at(rows[i].match, is_number, k), *truth = *number == '0' ? "1" : "0";
            const bool condition = number - rows[i].match >= 7 && strncmp(number - 7, "(where ", 7) == 0;
            with_word(text, sizeof text, rows[i].match, number, condition ? truth : "7");
            stays(&s, i, text);
        }
    ck_assert_int_ge(tried, 25);
    end(&s);
}
END_TEST

START_TEST(other_variables_do_not_match)
{
    static side_set s;
    const cg_rule *rows;
    const int n = cg__rules(&rows);
    int tried = 0;
    make_vars(&s, CG_F32);
    for (int i = 0; i < n; i++)
        for (int k = 1; is_readable(&rows[i]) && word_at(rows[i].match, is_variable, k); k++) {
            char text[500];
            const char *first = word_at(rows[i].match, is_variable, 0), *other = word_at(rows[i].match, is_variable, k);
            if (strncmp(first, other, 2) != 0)
                continue;
            with_word(text, sizeof text, rows[i].match, other, first[1] == 'c' ? "(logical_not ?c)" : "?z");
            stays(&s, i, text);
            tried++;
        }
    ck_assert_int_ge(tried, 10);
    end(&s);
}
END_TEST

START_TEST(dtypes_that_a_condition_excludes_do_not_match)
{
    static side_set s;
    const cg_rule *rows;
    const int n = cg__rules(&rows);
    make_vars(&s, CG_F32);
    for (int i = 0; i < n; i++) {
        char text[500];
        const bool integer = rows[i].when && strstr(rows[i].when, "is_integer"), floats = rows[i].when && strstr(rows[i].when, "is_float");
        if (!integer && !floats)
            continue;
        snprintf(text, sizeof text, "%s", text_of(&rows[i]));
        for (char *at = text; *at; at++)
            if ((at[0] == ' ' || at[0] == '(' || at[0] == '?') && strchr("ixy", at[1]) && strchr(" )", at[2]))
                at[1] = integer ? 'x' : 'i';
        stays(&s, i, text);
    }
    end(&s);
}
END_TEST

/* ---- the whole engine */

static void no_unsafe(void *user, const cg_node *old, const cg_node *new_, const char *rule)
{
    const cg_rule *rows;
    const int n = cg__rules(&rows);
    (void)user;
    ck_assert(cg__type_same(&old->type, &new_->type));
    for (int i = 0; i < n; i++)
        ck_assert_msg(strcmp(rows[i].name, rule) != 0 || rows[i].exact != CG_EXACT_UNSAFE, "%s fires", rule);
}

/* On every row's own text; rows that are switched off do not fire, nor does a phase. */
START_TEST(what_is_off_does_not_fire)
{
    static side_set s;
    static int64_t fired[MAX_ROWS];
    const cg_rule *rows;
    const int n = cg__rules(&rows);
    cg_error err = { 0 };
    make_vars(&s, CG_F32);
    for (int i = 0; i < n; i++) {
        cg_node *root = read_text(&s, text_of(&rows[i]));
        memset(fired, 0, sizeof fired);
        cg__rewrite_how(&(cg_rewriting){ .off = rows[i].name, .log = no_unsafe, .fired = fired });
        ck_assert_int_eq(cg__rewrite(s.g, &root, 1, NULL, &err), CG_OK);
        ck_assert_msg(!fired[i], "%s fires though it is off", rows[i].name);
        root = read_text(&s, text_of(&rows[i]));
        cg__rewrite_how(&(cg_rewriting){ .off = "canonical,stable,blas,fast", .fired = fired });
        memset(fired, 0, sizeof fired);
        cg_node *before = root;
        ck_assert_int_eq(cg__rewrite(s.g, &root, 1, NULL, &err), CG_OK);
        ck_assert_ptr_eq(root, before);
    }
    cg__rewrite_how(NULL);
    ck_assert_int_eq(cg_graph_verify(s.g), CG_OK);
    end(&s);
}
END_TEST

START_TEST(rewriting_stops_after_as_many_firings)
{
    static side_set s;
    static int64_t fired[MAX_ROWS];
    cg_error err = { 0 };
    make_vars(&s, CG_F32);
    for (int64_t stop = 1; stop < 4; stop++) {
        cg_node *root = read_text(&s, "(exp (mul (mul (mul (mul x 1) 1) 1) 1))");
        int64_t total = 0;
        memset(fired, 0, sizeof fired);
        root = cg_sin(cg_neg(cg_neg(cg_scale(cg_abs(cg_neg(root)), 1))));
        cg__rewrite_how(&(cg_rewriting){ .stop_after = stop, .fired = fired });
        ck_assert_int_eq(cg__rewrite(s.g, &root, 1, NULL, &err), CG_OK);
        for (int i = 0; i < MAX_ROWS; i++)
            total += fired[i];
        ck_assert_int_eq(total, stop);
    }
    cg__rewrite_how(NULL);
    end(&s);
}
END_TEST

int main(void)
{
    return RUN_TESTS("rules", both_sides_agree, slices_of_slices_are_one, other_numbers_do_not_match, other_variables_do_not_match,
                     dtypes_that_a_condition_excludes_do_not_match, what_is_off_does_not_fire, rewriting_stops_after_as_many_firings);
}
