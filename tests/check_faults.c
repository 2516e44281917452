// SPDX-License-Identifier: MIT
/* Every allocation fails: the n-th of each scenario, once and then for good, for every n up to the scenario's last.
 *
 * After each: the code is CG_ENOMEM with a sentence, or (once) the scenario did not need it and gives the same result;
 * shared variables have their old values; the same act again, in the same world, gives the reference's bits; and when all
 * is freed, not one allocation of the library is left. Only libcg's own door is made to fail, so this runs on every device;
 * a scenario is a row of the table below. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/base/base.h"
#include "tests/verified.h"
#include "tests/suite.h"

enum { SIZE = 5 };
typedef struct world {
    cg_array *w, *t, *x, *ints, *four, *out[3];      /* w, t: shared variables, a vector and a counter */
    cg_graph *g;
    cg_node *X, *W, *T, *cost, *dW;
    cg_function *f;
    char *text;
    uint64_t result;                     /* of what the act gave */
} world;

typedef struct scenario {
    const char *name;
    void (*setup)(world *);              /* (optional) before memory fails */
    int (*act)(world *);                 /* a status; may be repeated */
    void (*observe)(world *);            /* (optional) after a success, with memory again */
} scenario;

static int said(void)
{
    return cg_last_error()->code ? (int)cg_last_error()->code : CG_EINVAL;
}

static void add_text(world *w, const char *text)
{
    w->result = text ? cg__hash(text, strlen(text), w->result) : 0;
}

static void add_array(world *w, cg_array *a)
{
    const void *p = cg_array_data(a);
    w->result = p ? cg__hash(p, (size_t)cg_array_count(a) * cg_dtype_bytes(cg_array_dtype(a)), w->result) : 0;
}

/* Takes the text; NULL is a failure. */
static int took_text(world *w, char *text)
{
    add_text(w, text);
    cg_text_free(text);
    return text ? CG_OK : said();
}

static void drop_outputs(world *w)
{
    for (int i = 0; i < CG_LEN(w->out); i++) {
        cg_array_free(w->out[i]);
        w->out[i] = NULL;
    }
}

/* ---- acts */

static int build(world *w)
{
    cg_graph_free(w->g);
    w->g = cg_graph_new();
    if (!w->g)
        return said();
    cg_scope_push(w->g, "layer");
    cg_at(w->g, "net.c", 7);
    w->X = cg_input(w->g, "x", CG_F32, CG_SHAPE(CG_ANY));
    w->W = cg_shared(w->g, "W", w->w);
    w->T = cg_shared(w->g, "t", w->t);
    cg_node *h = cg_name(cg_log(cg_add(cg_weak(w->g, 1), cg_exp(cg_mul(w->X, w->W)))), "h");
    cg_node *rows = cg_reshape(cg_slice(h, 0, NULL, cg_scalar(w->g, CG_I64, 4), 1), CG_SHAPE(2, 2));
    cg_node *soft = cg_log_softmax(cg_matmul(rows, cg_transpose(rows, NULL, 0)), 1);
    cg_node *loss = cg_mean(cg_cross_entropy(soft, cg_constant(w->g, CG_I64, CG_SHAPE(2), (const int64_t[]){ 1, 0 })), CG_REDUCE());
    cg_node *outer = cg_mul(cg_reshape(w->X, CG_SHAPE(CG_ANY, 1)), h);
    w->cost = cg_add(cg_add(loss, cg_mean(outer, CG_REDUCE())), cg_sum(cg_where(cg_greater(h, cg_weak(w->g, 0.5)), h, cg_scale(h, 2)), CG_REDUCE()));
    cg_at(w->g, NULL, 0);
    cg_scope_pop(w->g);
    return cg_graph_error(w->g) ? (int)cg_graph_error(w->g)->code : CG_OK;
}

static int print(world *w)
{
    char *text = cg_print(&w->cost, 1);
    return took_text(w, text);
}

static int built_text(world *w)
{
    const int rc = build(w);
    return rc < 0 ? rc : print(w);
}

static int grad(world *w)
{
    cg_graph_clear_error(w->g);
    const int rc = cg_grad(w->cost, CG_NODES(w->W), CG_OUT(&w->dW));
    return rc < 0 ? rc : took_text(w, cg_print(&w->dW, 1));
}

static int read_back(world *w)
{
    cg_graph_clear_error(w->g);
    cg_node *n = cg_read(w->g, w->text, CG_NODES(w->X, w->W));
    return n ? took_text(w, cg_print(&n, 1)) : said();
}

static int compile(world *w)
{
    static const cg_stage stages[] = { CG_STAGE_GRAPH, CG_STAGE_OPTIMIZED, CG_STAGE_PLAN };
    cg_function_free(w->f);
    w->f = cg_compile(w->g, CG_SPEC(.name = "train", CG_INPUTS(w->X), CG_OUTPUTS(w->cost, w->W, cg_add(w->T, w->T)),
                                    CG_UPDATES({ w->W, cg_sub(w->W, cg_scale(w->dW, 0.1)) }, { w->T, cg_add(w->T, cg_scalar(w->g, CG_I64, 1)) })));
    if (!w->f)
        return said();
    for (int i = 0; i < CG_LEN(stages); i++)
        if (took_text(w, cg_function_show(w->f, stages[i])) < 0)
            return said();
    return CG_OK;
}

static int recompile(world *w)
{
    cg_graph_clear_error(w->g);
    return compile(w);
}

static int called_with(world *w, cg_array *x)
{
    drop_outputs(w);
    return cg_call(w->f, CG_ARRAYS(x), w->out);
}

static int plan(world *w)
{
    const int64_t size = SIZE;
    const int rc = cg_function_plan(w->f, &size, 1);
    return rc < 0 ? rc : took_text(w, cg_function_show(w->f, CG_STAGE_PLAN));
}

static void add_outputs(world *w)
{
    for (int i = 0; i < CG_LEN(w->out); i++)
        add_array(w, w->out[i]);
}

static int call(world *w)        { return called_with(w, w->x); }
static int call_ints(world *w)   { return called_with(w, w->ints); }

/* Without memory the sentence may be shorter, but it is there. */
static int wrong_call(world *w)
{
    const int rc = cg_call(w->f, CG_ARRAYS(w->four), w->out);
    w->result = strncmp(cg_last_error()->text, "cg_call: ", 9) == 0;
    return rc == CG_ESHAPE ? CG_OK : rc;
}

static int wrong_graph(world *w)
{
    cg_graph_clear_error(w->g);
    ck_assert_ptr_null(cg_add(w->X, cg_matmul(w->W, w->T)));
    const cg_error *e = cg_graph_error(w->g);
    w->result = strncmp(e->text, "cg_matmul: ", 11) == 0;
    return e->code == CG_ESHAPE ? CG_OK : (int)e->code;
}

/* Several wrong expressions: all are counted, also where there is no memory to keep their sentences. */
static int wrong_graphs(world *w)
{
    cg_graph_clear_error(w->g);
    cg_add(cg_matmul(w->W, w->T), w->W);
    cg_dim(w->W, 3);
    cg_reshape(w->W, CG_SHAPE(2, 2));
    cg_function *f = cg_compile(w->g, CG_SPEC(CG_INPUTS(w->X), CG_OUTPUTS(w->cost)));
    ck_assert_ptr_null(f);
    const cg_error *e;
    for (int i = 0; (e = cg_graph_error_at(w->g, i)); i++)
        if (e->code == CG_ENOMEM)
            return CG_ENOMEM;
    w->result = (uint64_t)cg_graph_error_count(w->g);
    return w->result == 3 ? CG_OK : CG_ENOMEM;
}

/* A known gradient and a constant; then one that is undefined. */
static int grad_options(world *w)
{
    cg_graph_clear_error(w->g);
    cg_node *e = cg_exp(w->W), *c = cg_mul(w->W, e), *dW, *dX;
    int rc = cg_grad_with(cg_sum(c, CG_REDUCE()), CG_NODES(w->W, w->X), CG_OUT(&dW, &dX),
                          CG_GRAD(CG_KNOWN({ e, w->W }), CG_CONSTANTS(w->X), .disconnected = CG_DISCONNECTED_ZEROS));
    if (rc < 0)
        return rc == CG_EINVAL ? (int)cg_graph_error(w->g)->code : rc;                     /* an operand was not there */
    rc = took_text(w, cg_print((cg_node *[]){ dW, dX }, 2));
    if (rc == CG_OK)
        rc = cg_grad(cg_sum(cg_trigamma(w->W), CG_REDUCE()), CG_NODES(w->W), CG_OUT(&dW));
    const cg_error *said_ = cg_graph_error(w->g);
    return rc == CG_EUNSUPPORTED ? CG_OK : rc == CG_EINVAL && said_ ? (int)said_->code : rc;
}

static int eval(world *w)
{
    static const char text[] = "(let ((h (tanh (mul x x)))) (sum (add h (exp h))))";
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(SIZE)), *y = cg_read(g, text, &x, 1), *d = NULL;
    const int failed = y ? cg_grad(y, CG_NODES(x), CG_OUT(&d)) : CG_EINVAL;
    cg_function *f = failed ? NULL : cg_compile(g, CG_SPEC(CG_INPUTS(x), CG_OUTPUTS(y, d)));
    drop_outputs(w);
    const cg_error *first = cg_graph_error(g);
    int rc = f ? cg_call(f, CG_ARRAYS(w->x), w->out) : first ? (int)first->code : said();
    for (int i = 0; i < 2 && rc == CG_OK; i++)
        rc = cg_array_data(w->out[i]) ? (add_array(w, w->out[i]), CG_OK) : said();
    cg_function_free(f);
    cg_graph_free(g);
    return rc;
}

/* A loop over x, its gradient, compiled and called; with until it ends early. */
static int loop_of(world *w, bool until)
{
    cg_graph_free(w->g);
    cg_function_free(w->f);
    w->f = NULL;
    w->g = cg_graph_new();
    w->X = cg_input(w->g, "x", CG_F32, CG_SHAPE(CG_ANY));
    w->W = cg_shared(w->g, "W", w->w);
    cg_scan *s = cg_scan_begin(w->g, CG_SCAN(.name = "loop", .truncate_gradient = 2));
    cg_node *h = cg_scan_state(s, cg_scalar(w->g, CG_F32, 0)), *before = NULL, *hs = NULL;
    cg_scan_state_taps(s, cg_slice(w->X, 0, NULL, cg_scalar(w->g, CG_I64, 2), 1), CG_AXES(-2), CG_OUT(&before));
    cg_node *next = cg_tanh(cg_add(cg_mul(cg_scan_seq_at(s, w->X, 1), cg_sum(w->W, CG_REDUCE())), cg_add(h, before)));
    cg_scan_next(s, h, next);
    cg_scan_next(s, before, cg_mul(next, h));
    cg_scan_out(s, next, CG_SCAN_ALL);
    if (until)
        cg_scan_until(s, cg_greater(cg_scan_index(s), cg_scalar(w->g, CG_I64, 1)));
    cg_scan_end(s, CG_OUT(&hs));
    w->cost = cg_mean(hs, CG_REDUCE());
    w->dW = NULL;
    cg_grad(w->cost, CG_NODES(w->W), CG_OUT(&w->dW));
    const cg_error *first = cg_graph_error(w->g);
    if (!w->g || first)
        return first ? (int)first->code : said();
    w->f = cg_compile(w->g, CG_SPEC(.name = "loop", CG_INPUTS(w->X), CG_OUTPUTS(w->cost, w->dW, hs)));
    return w->f ? called_with(w, w->x) : said();
}

static int loop(world *w) { return loop_of(w, false); }
static int loop_until(world *w) { return loop_of(w, true); }
/* A state that x's rows drive, by `every`; what it adds is drawn anew in each step if there is a call's number. */
static cg_node *driven(world *w, int64_t every, cg_node *call, int changes)
{
    cg_node *last = NULL;
    cg_scan *s = cg_scan_begin(w->g, CG_SCAN(.every = every));
    cg_node *x = cg_scan_seq(s, w->X), *h = cg_scan_state(s, cg_scalar(w->g, CG_F32, 0)), *v = changes ? cg_scan_shared(s, w->W) : w->W;
    cg_node *add = call ? cg_uniform(CG_RANDOM(call, 3), CG_F32, NULL, 0) : x, *next = cg_tanh(cg_add(cg_mul(h, cg_sum(v, CG_REDUCE())), cg_mul(x, add)));
    cg_scan_next(s, h, next);
    if (changes)
        cg_scan_next(s, v, cg_maximum(v, v));
    cg_scan_out(s, next, CG_SCAN_LAST);
    cg_scan_end(s, CG_OUT(&last));
    return last;
}

/* What `value` makes in a new graph, and its gradient, compiled and called. */
static int loops_of(world *w, cg_node *(*value)(world *))
{
    cg_graph_free(w->g);
    cg_function_free(w->f);
    w->f = NULL;
    w->g = cg_graph_new();
    w->X = cg_input(w->g, "x", CG_F32, CG_SHAPE(CG_ANY));
    w->W = cg_shared(w->g, "W", w->w);
    w->cost = value(w);
    w->dW = NULL;
    cg_grad(w->cost, CG_NODES(w->W), CG_OUT(&w->dW));
    const cg_error *first = cg_graph_error(w->g);
    if (!w->g || first)
        return first ? (int)first->code : said();
    w->f = cg_compile(w->g, CG_SPEC(.name = "loops", CG_INPUTS(w->X), CG_OUTPUTS(w->cost, w->dW)));
    return w->f ? called_with(w, w->x) : said();
}

/* In blocks, with draws. */
static cg_node *in_blocks(world *w) { return driven(w, 2, cg_scalar(w->g, CG_I64, 1), 0); }

/* One that changes a variable, though to what it is, and one beside it. */
static cg_node *side_by_side(world *w)
{
    return cg_mul(driven(w, 0, NULL, 1), driven(w, 0, NULL, 0));
}

static cg_node *in_a_loop(world *w)
{
    cg_node *call = cg_scalar(w->g, CG_I64, 1), *sum = NULL;
    cg_scan *s = cg_scan_begin(w->g, CG_SCAN(.steps = cg_scalar(w->g, CG_I64, 2)));
    cg_scan_out(s, driven(w, 0, call, 0), CG_SCAN_SUM);
    cg_scan_end(s, CG_OUT(&sum));
    return sum;
}

static int loop_in_blocks(world *w) { return loops_of(w, in_blocks); }
static int two_loops(world *w)      { return loops_of(w, side_by_side); }
static int loop_in_a_loop(world *w) { return loops_of(w, in_a_loop); }

/* A choice by the sum of x in a loop by a number of the step, its gradient, compiled and called. */
static int choice(world *w)
{
    cg_graph_free(w->g);
    cg_function_free(w->f);
    w->f = NULL;
    w->g = cg_graph_new();
    w->X = cg_input(w->g, "x", CG_F32, CG_SHAPE(CG_ANY));
    w->W = cg_shared(w->g, "W", w->w);
    cg_scan *s = cg_scan_begin(w->g, CG_SCAN());
    cg_node *h = cg_scan_state(s, cg_scalar(w->g, CG_F32, 0)), *next = NULL, *y = NULL, *last = NULL;
    cg_ifelse(cg_less(cg_scan_index(s), cg_weak(w->g, 1)), CG_NODES(cg_mul(cg_scan_seq(s, w->X), cg_sum(cg_exp(w->W), CG_REDUCE()))), CG_NODES(h), CG_OUT(&next));
    cg_scan_next(s, h, next);
    cg_scan_out(s, next, CG_SCAN_LAST);
    cg_scan_end(s, CG_OUT(&last));
    cg_ifelse(cg_greater(cg_sum(w->X, CG_REDUCE()), cg_weak(w->g, 0)), CG_NODES(cg_mul(last, cg_mul(w->W, w->W))), CG_NODES(cg_softmax(w->W, 0)), CG_OUT(&y));
    w->cost = cg_sum(cg_mul(y, w->W), CG_REDUCE());
    w->dW = NULL;
    cg_grad(w->cost, CG_NODES(w->W), CG_OUT(&w->dW));
    const cg_error *first = cg_graph_error(w->g);
    if (!w->g || first)
        return first ? (int)first->code : said();
    w->f = cg_compile(w->g, CG_SPEC(.name = "choice", CG_INPUTS(w->X), CG_OUTPUTS(w->cost, w->dW, y)));
    return w->f ? called_with(w, w->x) : said();
}

static int own_grad(const cg_own_call *c, cg_node **in_grad)
{
    in_grad[0] = cg_mul(c->grad[0], cg_mul(c->out[0], c->in[1]));
    return 0;
}

/* An operation of one's own, by hand for one operand, printed and read, compiled and called. */
static int own(world *w)
{
    cg_graph_free(w->g);
    cg_function_free(w->f);
    w->f = NULL;
    w->g = cg_graph_new();
    w->X = cg_input(w->g, "x", CG_F32, CG_SHAPE(CG_ANY));
    w->W = cg_shared(w->g, "W", w->w);
    cg_own_op *op = cg_op_from_graph(CG_NODES(w->X, w->W), CG_NODES(cg_exp(cg_mul(w->X, w->W)), cg_sum(w->X, CG_REDUCE())), CG_OWN(.name = "mine", .grad = own_grad));
    cg_node *y = NULL, *s = NULL, *both[] = { w->X, w->W };
    if (op)
        cg_apply(op, CG_NODES(cg_mul(w->X, w->X), w->W), CG_OUT(&y, &s));
    char *text = y ? cg_print(&y, 1) : NULL;
    if (y && !text)
        return said();
    y = text ? cg_read(w->g, text, both, 2) : NULL;
    cg_text_free(text);
    w->cost = cg_sum(cg_mul(y, s), CG_REDUCE());
    w->dW = NULL;
    cg_grad(w->cost, CG_NODES(w->W), CG_OUT(&w->dW));
    const cg_error *first = cg_graph_error(w->g);
    if (!w->g || first)
        return first ? (int)first->code : said();
    w->f = cg_compile(w->g, CG_SPEC(.name = "own", CG_INPUTS(w->X), CG_OUTPUTS(w->cost, w->dW, y)));
    return w->f ? called_with(w, w->x) : said();
}

/* A run over rows that a thread brings, kept as a file and gone on with. */
static int train(world *w)
{
    char path[80];
    snprintf(path, sizeof path, "/tmp/libcg-faults-%ld", (long)getpid());
    cg_graph *g = cg_graph_new();
    cg_net *n = g ? cg_net_new(g, 1) : NULL;
    cg_node *v = n ? cg_net_state(n, "v", CG_F32, NULL, 0, 2) : NULL;
    cg_loader *l = v ? cg_loader_new(CG_ARRAYS(w->x), 3) : NULL;
    cg_fit_state state = { 0 };
    cg_fit_spec o = *CG_FIT(.step = w->f, .loader = l, .epochs = 1, .state = &state, .net = n);
    int rc = l ? cg_fit(&o) : said();
    rc = rc == CG_OK ? cg_fit_save(&o, path) : rc;
    rc = rc == CG_OK ? cg_fit_load(&o, path) : rc;
    o.epochs = 2;
    rc = rc == CG_OK ? cg_fit(&o) : rc;
    w->result = cg__hash(&state, sizeof state, 1);
    unlink(path);
    cg_loader_free(l);
    cg_net_free(n);
    (cg_graph_free)(g);
    return rc;
}

/* Written, read back, and written in another format over the same file. */
static int files(world *w)
{
    char path[80];
    snprintf(path, sizeof path, "/tmp/libcg-faults-%ld", (long)getpid());
    cg_array *back = NULL;
    int rc = cg_npy_save(path, w->x);
    if (rc == CG_OK)
        rc = (back = cg_npy_load(path)) ? CG_OK : said();
    if (rc == CG_OK)
        rc = cg_safetensors_save(path, (const char *const[]){ "x", "back" }, (cg_array *const[]){ w->x, back }, 2);
    if (rc == CG_OK)
        rc = cg_safetensors_load(path, (const char *const[]){ "x", "back" }, (cg_array *const[]){ w->x, back }, 2);
    if (rc == CG_OK)
        rc = cg_text_save(path, "text");
    FILE *f = fopen(path, "rb");
    char bytes[400];
    w->result = cg__hash(bytes, f ? fread(bytes, 1, sizeof bytes, f) : 0, 1);
    if (f)
        fclose(f);
    unlink(path);
    cg_array_free(back);
    return rc;
}

static int texts(world *w)
{
    if (took_text(w, cg_list_ops()) < 0 || took_text(w, cg_list_rules()) < 0 || took_text(w, cg_device_info(0)) < 0 || took_text(w, cg_device_info(1)) < 0)
        return said();
    return CG_OK;
}

/* From nothing to the end of the library, all of it while memory fails. */
static int whole_life(world *w)
{
    world inner = { .w = w->w, .t = w->t };
    const int64_t n = SIZE;
    inner.x = cg_array_new(CG_F32, &n, 1, NULL);
    int rc = inner.x ? build(&inner) : said();
    rc = rc == CG_OK ? grad(&inner) : rc;
    rc = rc == CG_OK ? compile(&inner) : rc;
    rc = rc == CG_OK ? cg_call(inner.f, CG_ARRAYS(inner.x), inner.out) : rc;
    if (rc == CG_OK)
        add_array(w, w->w);
    rc = rc == CG_OK && !w->result ? CG_ENOMEM : rc;
    drop_outputs(&inner);
    (cg_function_free)(inner.f);         /* the verifier needs memory */
    (cg_graph_free)(inner.g);
    cg_array_free(inner.x);
    return rc;
}

/* ---- worlds */

static void need(int rc)
{
    ck_assert_msg(rc == CG_OK, "%s", cg_last_error()->text);
}

/* A net with a layer of each kind and its updates by Adam, as text. */
static int net_text(world *w, cg_graph *g, cg_net *n)
{
    cg_layer l[3];
    cg_node *x = cg_shared(g, "x", w->x), *rows = cg_reshape(x, CG_SHAPE(1, SIZE));
    const int made = cg_layer_dense(&l[0], n, "a", SIZE, 2, CG_INIT_ORTHOGONAL) == CG_OK && cg_layer_function(&l[1], cg_tanh) == CG_OK &&
                     cg_layer_dropout(&l[2], CG_RANDOM(cg_net_state(n, "call", CG_I64, NULL, 0, 3), 1), 0.5) == CG_OK;
    cg_node *loss = made ? cg_sum(cg_forward(l, 3, rows), CG_REDUCE()) : NULL;
    int rc = loss ? cg_optimize(n, loss, CG_OPTIMIZER(.kind = CG_ADAM)) : said(), count;
    rc = rc == CG_OK ? cg_net_average(n, 0.5) : rc;
    const cg_update *to = cg_net_updates(n, &count);
    for (int i = 0; i < count && rc == CG_OK; i++)
        rc = took_text(w, cg_print(&to[i].value, 1));
    return rc;
}

static int net(world *w)
{
    cg_graph *g = cg_graph_new();
    cg_net *n = g ? cg_net_new(g, 1) : NULL;
    int rc = n ? net_text(w, g, n) : said();
    cg_array *some = rc == CG_OK ? cg_array_rows(w->x, (const int64_t[]){ 4, 0 }, 2) : NULL;
    if (rc == CG_OK && !some)
        rc = said();
    cg_array_free(some);
    cg_net_free(n);
    (cg_graph_free)(g);                  /* unverified: the verifier needs memory */
    return rc;
}

/* A layer of two directions over sequences of their own lengths, and the gradient of its parameters with a norm. */
static int recurrent(world *w)
{
    cg_graph *g = cg_graph_new();
    cg_net *n = g ? cg_net_new(g, 1) : NULL;
    cg_layer l;
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, 2, 1)), *lengths = cg_input(g, "lengths", CG_I64, CG_SHAPE(2)), *y = NULL;
    int rc = n ? cg_layer_recurrent(&l, n, "l", CG_LSTM, 1, 2, CG_INIT_ORTHOGONAL, CG_RECURRENT(.direction = CG_BIDIRECTIONAL, .lengths = lengths, .clip = 3)) : said();
    if (rc == CG_OK) {
        y = cg_forward(&l, 1, x);
        rc = y ? cg_optimize(n, cg_sum(y, CG_REDUCE()), CG_OPTIMIZER(.kind = CG_SGD, .clip_norm = 1)) : (int)cg_graph_error(g)->code;
    }
    for (int i = 0; rc == CG_OK && i < cg_net_count(n); i++)
        add_array(w, cg_net_array(n, i));
    if (rc == CG_OK)
        rc = took_text(w, cg_print(&y, 1));
    cg_net_free(n);
    (cg_graph_free)(g);
    return rc;
}

static int losses(world *w)
{
    cg_graph *g = cg_graph_new();
    if (!g)
        return said();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, 2, 3)), *y = cg_input(g, "y", CG_I64, CG_SHAPE(2, 2)), *n = cg_input(g, "n", CG_I64, CG_SHAPE(2));
    cg_node *made[] = { cg_ctc_loss(x, y, n, n, NULL), cg_cross_entropy_loss(x, y, CG_LOSS(CG_IGNORE(1), .label_smoothing = 0.1)), cg_accuracy(x, y), cg_confusion_matrix(y, y, 2) };
    const int rc = cg_graph_error(g) ? (int)cg_graph_error(g)->code : took_text(w, cg_print(made, 4));
    (cg_graph_free)(g);
    return rc;
}

/* NumPy's rules: batches that stretch, and vectors. */
static int products(world *w)
{
    cg_graph *g = cg_graph_new();
    if (!g)
        return said();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(2, 1, 3, 4)), *y = cg_input(g, "y", CG_F32, CG_SHAPE(3, 4, 2)), *v = cg_input(g, "v", CG_F32, CG_SHAPE(4));
    cg_node *made[] = { cg_matmul(x, y), cg_matmul(v, y), cg_matmul(x, v) };
    const int rc = cg_graph_error(g) ? (int)cg_graph_error(g)->code : took_text(w, cg_print(made, 3));
    (cg_graph_free)(g);
    return rc;
}

/* Products with the matrix of derivatives, the matrix, the Hessian: walks that are walked again, and loops that are not ended. */
static int matrices(world *w)
{
    cg_graph *g = cg_graph_new();
    if (!g)
        return said();
    cg_node *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY)), *f = cg_tanh(x), *cost = cg_sum(f, CG_REDUCE()), *made[5] = { NULL };
    int rc = cg_graph_error(g) ? (int)cg_graph_error(g)->code : cg_rop(CG_NODES(f), CG_NODES(x), CG_NODES(x), CG_OUT(&made[0]), NULL);
    rc = rc == CG_OK ? cg_lop(CG_NODES(f), CG_NODES(x), CG_NODES(f), CG_OUT(&made[1]), NULL) : rc;
    rc = rc == CG_OK ? cg_jacobian(f, CG_NODES(x), CG_OUT(&made[2]), NULL) : rc;
    rc = rc == CG_OK ? cg_hessian(cost, CG_NODES(x), CG_OUT(&made[3]), NULL) : rc;
    rc = rc == CG_OK ? cg_hessian_vector(cost, CG_NODES(x), CG_NODES(f), CG_OUT(&made[4]), NULL) : rc;
    rc = rc == CG_OK ? took_text(w, cg_print(made, 5)) : rc;
    (cg_graph_free)(g);
    return rc;
}

static void with_graph(world *w)    { need(build(w)); }
static void with_text(world *w)     { need(build(w)); w->text = cg_print(&w->cost, 1); ck_assert_ptr_nonnull(w->text); }
static void with_gradient(world *w) { need(build(w)); need(grad(w)); }
static void with_function(world *w) { with_gradient(w); need(compile(w)); }
static void with_step(world *w)
{
    w->g = cg_graph_new();
    w->X = cg_input(w->g, "x", CG_F32, CG_SHAPE(CG_ANY));
    w->f = cg_compile(w->g, CG_SPEC(CG_INPUTS(w->X), CG_OUTPUTS(cg_sum(w->X, CG_REDUCE()))));
    ck_assert_ptr_nonnull(w->f);
}

static const scenario scenarios[] = {
    { "build", NULL, built_text, NULL },
    { "products", NULL, products, NULL },
    { "print", with_graph, print, NULL },
    { "read", with_text, read_back, NULL },
    { "gradient", with_graph, grad, NULL },
    { "compile", with_gradient, recompile, NULL },
    { "plan", with_function, plan, NULL },
    { "call and update", with_function, call, add_outputs },
    { "converted inputs", with_function, call_ints, add_outputs },
    { "a wrong call", with_function, wrong_call, NULL },
    { "a wrong graph", with_graph, wrong_graph, NULL },
    { "several wrong graphs", with_graph, wrong_graphs, NULL },
    { "a gradient with options", with_graph, grad_options, NULL },
    { "eval", NULL, eval, NULL },
    { "a loop", NULL, loop, add_outputs },
    { "a loop with until", NULL, loop_until, add_outputs },
    { "a loop in blocks", NULL, loop_in_blocks, add_outputs },
    { "two loops", NULL, two_loops, add_outputs },
    { "a loop in a loop", NULL, loop_in_a_loop, add_outputs },
    { "matrices of derivatives", NULL, matrices, NULL },
    { "a choice", NULL, choice, add_outputs },
    { "an operation of one's own", NULL, own, add_outputs },
    { "a net", NULL, net, NULL },
    { "a recurrent layer", NULL, recurrent, NULL },
    { "losses", NULL, losses, NULL },
    { "a training", with_step, train, NULL },
    { "files", NULL, files, NULL },
    { "texts", NULL, texts, NULL },
    { "a whole life", NULL, whole_life, NULL },
};

static void open_world(world *w, const scenario *s)
{
    static const float values[SIZE] = { 0.5F, -1, 2, 0.25F, 1 };
    static const int32_t ints[SIZE] = { 1, 2, 3, 4, 5 };
    const int64_t n = SIZE, four = 4, zero = 0;
    *w = (world){ .w = cg_array_new(CG_F32, &n, 1, values), .t = cg_array_new(CG_I64, NULL, 0, &zero), .x = cg_array_new(CG_F32, &n, 1, values),
                  .ints = cg_array_new(CG_I32, &n, 1, ints), .four = cg_array_new(CG_F32, &four, 1, values) };
    if (s->setup)
        s->setup(w);
}

static void close_world(world *w)
{
    cg_array *arrays[] = { w->w, w->t, w->x, w->ints, w->four };
    drop_outputs(w);
    cg_function_free(w->f);
    cg_graph_free(w->g);
    cg_text_free(w->text);
    for (int i = 0; i < CG_LEN(arrays); i++)
        cg_array_free(arrays[i]);
}

static uint64_t variables(world *w)
{
    const uint64_t kept = w->result;
    w->result = 1;
    add_array(w, w->w);
    add_array(w, w->t);
    const uint64_t sum = w->result;
    w->result = kept;
    return sum;
}

typedef struct reference { uint64_t result, before, after; long calls; } reference;

static int run(world *w, const scenario *s)
{
    cg__set_last(&(cg_error){ 0 });
    w->result = 0;
    return s->act(w);
}

static uint64_t seen(world *w, const scenario *s)
{
    if (s->observe)
        s->observe(w);
    return w->result;
}

static reference untouched(const scenario *s)
{
    world w;
    reference r = { 0 };
    open_world(&w, s);
    r.before = variables(&w);
    cg__alloc_fail_at(0, false);
    need(run(&w, s));
    r.calls = cg__alloc_calls();
    r.result = seen(&w, s);
    r.after = variables(&w);
    close_world(&w);
    return r;
}

static void fail_at(const scenario *s, const reference *r, long n, bool sticky)
{
    world w;
    open_world(&w, s);
    cg__alloc_fail_at(n, sticky);
    const int rc = run(&w, s);
    cg__alloc_fail_at(0, false);
    const char *how = sticky ? "from there on" : "once";
    ck_assert_msg(rc == CG_OK || rc == CG_ENOMEM, "%s, allocation %ld fails %s: %s: %s", s->name, n, how, cg_status_name((cg_status)rc), cg_last_error()->text);
    if (rc == CG_OK)
        ck_assert_msg(seen(&w, s) == r->result, "%s, allocation %ld fails %s: another result", s->name, n, how);
    else
        ck_assert_msg(variables(&w) == r->before, "%s, allocation %ld fails %s: shared variables have changed", s->name, n, how);
    if (rc < 0)
        ck_assert_msg(run(&w, s) == CG_OK && seen(&w, s) == r->result, "%s, after allocation %ld failed %s: %s", s->name, n, how, cg_last_error()->text);
    ck_assert_msg(variables(&w) == r->after, "%s, after allocation %ld failed %s: other updates", s->name, n, how);
    ck_assert_msg(!w.g || cg_graph_verify(w.g) == CG_OK, "%s, allocation %ld fails %s: %s", s->name, n, how, cg_last_error()->text);
    close_world(&w);
}

START_TEST(every_allocation_may_fail)
{
    const scenario *s = &scenarios[_i];
    const bool cpu = strcmp(cg_device_name(cg_device_open(NULL)), "cpu") == 0;
    const reference r = untouched(s);
    cg_shutdown();
    const long live = cg__alloc_live();
    for (int sticky = 0; sticky < 2; sticky++)
        for (long n = 1; n <= r.calls + 1; n++) {
            fail_at(s, &r, n, sticky);
            if (!cpu && n <= r.calls)        /* opening a driver is slow: there once at the end */
                continue;
            cg_shutdown();
            ck_assert_msg(cg__alloc_live() == live, "%s, allocation %ld: %ld blocks are left", s->name, n, cg__alloc_live() - live);
        }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("faults");
    tcase_add_loop_test(t, every_allocation_may_fail, 0, CG_LEN(scenarios));
    return run_case("faults", t);
}
