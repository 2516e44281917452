// SPDX-License-Identifier: MIT
/* Updates in place: each row is an update of A (2, 3), read beside B (2, 3), u (2), v (3), and of B too in some; how many variables the plan
 * writes in place, and that the values after some calls are those of the same function while somebody holds all buffers (so that it must take
 * copies), and those of outputs set by hand. Then what others hold, inputs that are the variable, and failures. */
#include <string.h>
#include "core/cg.h"
#include "tests/helpers.h"
#include "tests/suite.h"

enum { A, B, U, V, VARS, CALLS = 3, MOST = 6 };
typedef cg_node *nodes[VARS];
typedef struct row { const char *name; cg_node *(*a)(nodes x), *(*b)(nodes x), *(*out)(nodes x); int in_place, steps; } row;

static const int64_t shapes[VARS][2] = { { 2, 3 }, { 2, 3 }, { 2, 1 }, { 3, 1 } };
static const int ranks[VARS] = { 2, 2, 1, 1 };

/* ---- updates */

static cg_node *outer(nodes x) { return cg_matmul(cg_reshape(x[U], CG_SHAPE(2, 1)), cg_reshape(x[V], CG_SHAPE(1, 3))); }
static cg_node *sgd(nodes x) { return cg_sub(x[A], cg_scale(outer(x), 0.5)); }
static cg_node *decayed(nodes x) { return cg_add(cg_scale(x[A], 0.5), outer(x)); }
static cg_node *plus_b(nodes x) { return cg_add(x[A], cg_scale(x[B], 0.25)); }
static cg_node *minus_a(nodes x) { return cg_sub(x[B], x[A]); }
static cg_node *momentum(nodes x) { return cg_add(cg_scale(x[B], 0.5), outer(x)); }
static cg_node *by_momentum(nodes x) { return cg_sub(x[A], cg_scale(momentum(x), 0.5)); }
static cg_node *flipped(nodes x) { return cg_add(x[A], cg_flip(x[A], 1)); }
static cg_node *row_sums(nodes x) { return cg_add(x[A], cg_sum(x[B], CG_REDUCE(CG_OVER(1), .keepdims = 1))); }
static cg_node *softmax(nodes x) { return cg_softmax(x[A], 1); }
static cg_node *replaced(nodes x) { return cg_scale(x[B], 2); }
static cg_node *as_b(nodes x) { return x[B]; }
static cg_node *old_a(nodes x) { return x[A]; }
static cg_node *product_with_old(nodes x) { return cg_matmul(x[A], cg_reshape(x[V], CG_SHAPE(3, 1))); }
static cg_node *product_with_new(nodes x) { return cg_matmul(sgd(x), cg_reshape(x[V], CG_SHAPE(3, 1))); }
static cg_node *change(nodes x) { return cg_matmul(cg_sub(plus_b(x), x[A]), cg_reshape(x[V], CG_SHAPE(3, 1))); }
static cg_node *read_flipped(nodes x) { return cg_add(cg_flip(sgd(x), 1), cg_flip(x[A], 1)); }
static cg_node *rows_of(cg_node *a, int64_t from, int64_t to) { return cg_slice(a, 0, cg_scalar(cg_node_graph(a), CG_I64, (double)from), cg_scalar(cg_node_graph(a), CG_I64, (double)to), 1); }
static cg_node *rolled(nodes x) { return cg_concatenate(CG_NODES(rows_of(x[A], 1, 2), rows_of(x[B], 0, 1)), 0); }
static cg_node *second_replaced(nodes x) { return cg_concatenate(CG_NODES(rows_of(x[A], 0, 1), rows_of(x[B], 0, 1)), 0); }
static cg_node *index_of(nodes x, int64_t i, int64_t k) { return cg_constant(cg_node_graph(x[A]), CG_I64, CG_SHAPE(2), (const int64_t[]){ i, k }); }
static cg_node *row_set(nodes x) { return cg_set_slice(x[A], CG_CUTS({ .axis = 0, .start = cg_scalar(cg_node_graph(x[A]), CG_I64, 1) }), x[V]); }
static cg_node *columns_increased(nodes x) { return cg_inc_slice(x[A], CG_CUTS({ .axis = 1, .step = -2 }), rows_of(cg_transpose(x[B], NULL, 0), 0, 2)); }
static cg_node *increased_by_others(nodes x) { return cg_inc_slice(x[A], CG_CUTS({ .axis = 1, .stop = cg_scalar(cg_node_graph(x[A]), CG_I64, 2) }), cg_slice(x[A], 1, cg_scalar(cg_node_graph(x[A]), CG_I64, 1), NULL, 1)); }
static cg_node *rows_added(nodes x) { return cg_inc_rows(x[A], index_of(x, 1, -1), x[B], 0); }
static cg_node *columns_set(nodes x) { return cg_set_rows(x[A], index_of(x, 2, 0), cg_slice(x[B], 1, NULL, cg_scalar(cg_node_graph(x[A]), CG_I64, 2), 1), 1); }
static cg_node *set_and_added(nodes x) { return cg_inc_rows(columns_set(x), index_of(x, 0, 1), x[V], 0); }
static cg_node *rows_decayed(nodes x) { return cg_inc_rows(cg_scale(x[A], 0.5), index_of(x, 0, 0), x[B], 0); }
static cg_node *rows_of_old(nodes x) { return cg_inc_rows(x[A], index_of(x, 1, 0), x[A], 0); }
static cg_node *three(nodes x) { return cg_constant(cg_node_graph(x[A]), CG_I64, CG_SHAPE(3), (const int64_t[]){ 1, 0, 1 }); }
static cg_node *picked(nodes x) { return cg_sum(cg_mul(cg_take(x[A], three(x)), x[V]), CG_REDUCE(CG_OVER(1))); }
static cg_node *by_picked(nodes x)
{
    cg_node *d = NULL;
    ck_assert_int_eq(cg_grad(cg_sum(cg_square(picked(x)), CG_REDUCE()), CG_NODES(x[A]), CG_OUT(&d)), CG_OK);
    return cg_sub(x[A], cg_scale(d, 0.01));
}

static const row rows[] = {
    { "a product is added to the variable: no step but the product", sgd, NULL, NULL, 1, 1 },
    { "a product is added to a part of the variable", decayed, NULL, NULL, 1, 2 },
    { "an elementwise update", plus_b, NULL, NULL, 1, 1 },
    { "momentum: two variables in one loop", by_momentum, momentum, NULL, 2, 2 },
    { "two variables of each other's old values", plus_b, minus_a, NULL, 2, 1 },
    { "exchanged by copies", as_b, old_a, NULL, 0, 0 },
    { "exchanged, one by a product: the other may follow it", replaced, sgd, NULL, 1, 3 },
    { "the old value is read at other places", flipped, NULL, NULL, 0, 1 },
    { "sums of rows", row_sums, NULL, NULL, 0, 0 },
    { "a row of its own old values", softmax, NULL, NULL, 0, 1 },
    { "a new value that is not of the old one", replaced, NULL, NULL, 0, 1 },
    { "the old value is an output", sgd, NULL, old_a, 0, 0 },
    { "the new value is an output", sgd, NULL, sgd, 0, 0 },
    { "a product reads the old value first", sgd, NULL, product_with_old, 1, 2 },
    { "a product reads the new value", sgd, NULL, product_with_new, 1, 2 },
    { "old and new value are read after the update", plus_b, NULL, change, 1, 2 },
    { "the old value is read with the new one", sgd, NULL, read_flipped, 0, 0 },
    { "rows move up, and a new one comes in", rolled, NULL, NULL, 0, 2 },
    { "a row stays, and the other is replaced", second_replaced, NULL, NULL, 1, 1 },
    { "a row is set: no step but that", row_set, NULL, NULL, 1, 1 },
    { "columns are increased", columns_increased, NULL, NULL, 1, 1 },
    { "columns are increased by their neighbours", increased_by_others, NULL, NULL, 0, 2 },
    { "rows are added by number, after the numbers are checked", rows_added, NULL, NULL, 1, 2 },
    { "two writes of one variable", set_and_added, NULL, NULL, 1, 0 },
    { "rows are added to what an elementwise step makes", rows_decayed, NULL, NULL, 1, 3 },
    { "rows of the old value are added", rows_of_old, NULL, NULL, 0, 3 },
    { "rows are taken, and changed by a gradient step", by_picked, NULL, picked, 1, 0 },
};

/* ---- functions */

typedef struct model { cg_graph *g; cg_array *var[VARS]; cg_function *f; } model;

static void set(const model *m)
{
    for (int k = 0; k < VARS; k++) {
        float v[MOST];
        for (int i = 0; i < MOST; i++)
            v[i] = (float)((k * 5 + i * 3) % 7) - 2.5f;
        ck_assert_int_eq(cg_array_set(m->var[k], v, (size_t)cg_array_count(m->var[k]) * sizeof *v), CG_OK);
    }
}

static void open_model(model *m, const row *r)
{
    static const char *const names[] = { "A", "B", "u", "v" };
    nodes x;
    m->g = cg_graph_new();
    for (int k = 0; k < VARS; k++) {
        m->var[k] = cg_array_new(CG_F32, shapes[k], ranks[k], NULL);
        x[k] = cg_shared(m->g, names[k], m->var[k]);
    }
    const cg_update to[2] = { { x[A], r->a(x) }, { x[B], r->b ? r->b(x) : NULL } };
    cg_node *out = r->out ? r->out(x) : NULL;
    m->f = cg_compile(m->g, CG_SPEC(.name = "step", .outputs = &out, .noutputs = out != NULL, .updates = to, .nupdates = r->b ? 2 : 1));
    ck_assert_msg(m->f != NULL, "%s: %s", r->name, cg_last_error()->text);
    set(m);
}

static void close_model(model *m)
{
    cg_function_free(m->f);
    for (int k = 0; k < VARS; k++)
        cg_array_free(m->var[k]);
    cg_graph_free(m->g);
}

/* Arrays that share the buffers of A and B. */
static void hold(const model *m, cg_array *held[2])
{
    cg_node *both[2] = { cg_shared(m->g, "A", m->var[A]), cg_shared(m->g, "B", m->var[B]) };
    cg_function *f = cg_compile(m->g, CG_SPEC(.name = "hold", .outputs = both, .noutputs = 2));
    ck_assert_msg(f && cg_call(f, NULL, 0, held) == CG_OK, "%s", cg_last_error()->text);
    cg_function_free(f);
}

static void same(const char *name, cg_array *a, const float *b)
{
    const float *p = cg_array_data(a);
    ck_assert_msg(p && memcmp(p, b, (size_t)cg_array_count(a) * sizeof *p) == 0, "%s: %g %g %g, not %g %g %g", name, (double)p[0], (double)p[1], (double)p[2], (double)b[0],
                  (double)b[1], (double)b[2]);
}

/* ---- rows */

typedef struct state { float var[2][MOST], out[MOST]; } state;

static void call(const row *r, const model *m, state *s)
{
    cg_array *out = NULL;
    ck_assert_msg(cg_call(m->f, NULL, 0, &out) == CG_OK, "%s: %s", r->name, cg_last_error()->text);
    memcpy(s->var[A], cg_array_data(m->var[A]), sizeof s->var[A]);
    memcpy(s->var[B], cg_array_data(m->var[B]), sizeof s->var[B]);
    if (r->out)
        memcpy(s->out, cg_array_data(out), (size_t)cg_array_count(out) * sizeof *s->out);
    cg_array_free(out);
}

/* Each call again while others hold what it would write: the same values, and theirs stay. */
static void compare(const row *r)
{
    model m, other;
    state was, in_place = { .out = { 0 } }, fresh = { .out = { 0 } };
    cg_array *held[2];
    open_model(&m, r);
    open_model(&other, r);
    for (int k = 0; k < CALLS; k++) {
        memcpy(was.var[A], cg_array_data(other.var[A]), sizeof was.var[A]);
        memcpy(was.var[B], cg_array_data(other.var[B]), sizeof was.var[B]);
        hold(&other, held);
        call(r, &m, &in_place);
        call(r, &other, &fresh);
        ck_assert_msg(memcmp(&in_place, &fresh, sizeof fresh) == 0, "%s: call %d differs", r->name, k);
        for (int i = 0; i < 2; i++) {
            same(r->name, held[i], was.var[i]);
            cg_array_free(held[i]);
        }
    }
    close_model(&m);
    close_model(&other);
}

START_TEST(each_update_is_where_it_may_be)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        model m;
        open_model(&m, &rows[i]);
        char *plan = cg_function_show(m.f, CG_STAGE_PLAN);
        const int found = occurrences(plan, "written in place"), steps = occurrences(plan, "  ; ");
        ck_assert_msg(found == rows[i].in_place && (!rows[i].steps || steps == rows[i].steps), "%s: %d in place, %d steps\n%s", rows[i].name, found, steps, plan);
        cg_text_free(plan);
        close_model(&m);
        compare(&rows[i]);
    }
}
END_TEST

/* ---- by hand */

START_TEST(values_are_right)
{
    model m;
    open_model(&m, &rows[0]);
    const float *u = cg_array_data(m.var[U]), *v = cg_array_data(m.var[V]), *a = cg_array_data(m.var[A]);
    float want[6];
    for (int i = 0; i < 6; i++)
        want[i] = a[i] - 0.5f * u[i / 3] * v[i % 3];
    ck_assert_int_eq(cg_call(m.f, NULL, 0, NULL), CG_OK);
    same("sgd", m.var[A], want);
    close_model(&m);
}
END_TEST

/* A buffer of the last values: what stays moves to other places, so a part of the new value that is a copy of the old one is not there already. */
START_TEST(a_rolling_buffer_rolls)
{
    cg_graph *g = cg_graph_new();
    cg_array *w = cg_array_new(CG_F32, CG_SHAPE(5), (const float[]){ 1, 2, 3, 4, 5 }), *v = cg_array_new(CG_F32, CG_SHAPE(2), (const float[]){ 6, 7 });
    cg_node *W = cg_shared(g, "W", w), *x = cg_input(g, "x", CG_F32, CG_SHAPE(2));
    cg_function *f = cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(x), CG_UPDATES({ W, cg_concatenate(CG_NODES(rows_of(W, 2, 5), x), 0) })));
    ck_assert_msg(f && cg_call(f, CG_ARRAYS(v), NULL) == CG_OK, "%s", cg_last_error()->text);
    same("rolled once", w, (const float[]){ 3, 4, 5, 6, 7 });
    ck_assert_int_eq(cg_call(f, CG_ARRAYS(v), NULL), CG_OK);
    same("rolled twice", w, (const float[]){ 5, 6, 7, 6, 7 });
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(w);
    cg_array_free(v);
}
END_TEST

START_TEST(an_input_may_be_the_variable)
{
    cg_graph *g = cg_graph_new();
    cg_array *w = cg_array_new(CG_F32, CG_SHAPE(3), (const float[]){ 1, 2, 3 });
    cg_node *W = cg_shared(g, "W", w), *x = cg_input(g, "x", CG_F32, CG_SHAPE(3));
    cg_function *f = cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(x), CG_UPDATES({ W, cg_add(W, cg_flip(x, 0)) })));
    ck_assert_msg(f && cg_call(f, CG_ARRAYS(w), NULL) == CG_OK && cg_call(f, CG_ARRAYS(w), NULL) == CG_OK, "%s", cg_last_error()->text);
    same("w + its reverse, twice", w, (const float[]){ 8, 8, 8 });
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(w);
}
END_TEST

START_TEST(two_nodes_may_be_one_variable)
{
    cg_graph *g = cg_graph_new();
    cg_array *w = cg_array_new(CG_F32, CG_SHAPE(3), (const float[]){ 1, 2, 3 });
    cg_node *W = cg_shared(g, "W", w), *same_w = cg_shared(g, "same", w);
    cg_function *f = cg_compile(g, CG_SPEC(.name = "f", CG_UPDATES({ W, cg_add(W, cg_flip(same_w, 0)) })));
    ck_assert_msg(f && cg_call(f, NULL, 0, NULL) == CG_OK && cg_call(f, NULL, 0, NULL) == CG_OK, "%s", cg_last_error()->text);
    same("w + its reverse, twice", w, (const float[]){ 8, 8, 8 });
    cg_function_free(f);
    cg_graph_free(g);
    cg_array_free(w);
}
END_TEST

/* An update that stands before a step that can fail is moved behind it, or is not in place: a failed call changes nothing, or says so. */
START_TEST(a_failed_step_leaves_the_variable)
{
    for (int of_new = 0; of_new < 2; of_new++) {
        cg_graph *g = cg_graph_new();
        cg_array *w = cg_array_new(CG_F32, CG_SHAPE(3), (const float[]){ 1, 2, 3 }), *i = cg_array_new(CG_I64, CG_SHAPE(1), (const int64_t[]){ 7 }), *out = NULL;
        cg_node *W = cg_shared(g, "W", w), *index = cg_input(g, "i", CG_I64, CG_SHAPE(1)), *W1 = cg_scale(W, 2);
        cg_function *f = cg_compile(g, CG_SPEC(.name = "f", CG_INPUTS(index), CG_OUTPUTS(cg_take(of_new ? cg_exp(cg_flip(W1, 0)) : W, index)), CG_UPDATES({ W, W1 })));
        ck_assert_msg(f != NULL, "%s", cg_last_error()->text);
        int rc = cg_call(f, CG_ARRAYS(i), &out);
        const void *read = rc == CG_OK ? cg_array_data(out) : NULL;      /* where calls only enqueue, a read tells */
        ck_assert_ptr_null(read);
        ck_assert_msg(strstr(cg_last_error()->text, "out of range") != NULL, "%s", cg_last_error()->text);
        if (rc < 0)
            same("unharmed", w, (const float[]){ 1, 2, 3 });
        else
            ck_assert_msg(!cg_array_data(w) && strstr(cg_last_error()->text, "poisoned"), "%s", cg_last_error()->text);
        cg_array_free(out);
        ck_assert_int_eq(cg_array_set(w, (const float[]){ 1, 2, 3 }, 12), CG_OK);
        ck_assert_int_eq(cg_array_set(i, &(int64_t){ 1 }, 8), CG_OK);
        ck_assert_msg(cg_call(f, CG_ARRAYS(i), NULL) == CG_OK, "%s", cg_last_error()->text);
        same("again", w, (const float[]){ 2, 4, 6 });
        cg_function_free(f);
        cg_graph_free(g);
        cg_array_free(w);
        cg_array_free(i);
    }
}
END_TEST

int main(void)
{
    return RUN_TESTS("inplace", each_update_is_where_it_may_be, values_are_right, a_rolling_buffer_rolls, an_input_may_be_the_variable, two_nodes_may_be_one_variable,
                     a_failed_step_leaves_the_variable);
}
