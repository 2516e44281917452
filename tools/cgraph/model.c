// SPDX-License-Identifier: MIT
/* The models by name: dense layers with relu between them, from the features to the classes; no hidden layer is logistic regression. Before
 * them there may be an LSTM, which reads an image row by row and hands its last state on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/model.h"

enum { HIDDEN = 4 };
static const struct { const char *name; int64_t units; int hidden; int64_t width[HIDDEN]; } models[] = {
    { "logreg", 0, 0, { 0 } },
    { "mlp", 0, 2, { 256, 128 } },
    { "lstm", 128, 0, { 0 } },
};
enum { MODELS = sizeof models / sizeof models[0] };

static int index_of(const char *name)
{
    for (int i = 0; i < MODELS; i++)
        if (strcmp(models[i].name, name) == 0)
            return i;
    return -1;
}

const char *model_names(void) { return "logreg, mlp, lstm"; }
int model_known(const char *name) { return index_of(name) >= 0; }
const char *optimizer_names(void) { return "sgd, momentum, nesterov, adam, adamw, rmsprop, adagrad"; }

int optimizer_known(const char *name, cg_optimizer_kind *out)
{
    const char *at;
    for (int k = 0; (at = cg_optimizer_name((cg_optimizer_kind)k)) != NULL; k++)
        if (strcmp(at, name) == 0)
            return *out = (cg_optimizer_kind)k, 1;
    return 0;
}

/* Layers of one model; n stays 0 when one could not be made. */
typedef struct layers { cg_layer at[2 * HIDDEN + 2]; int n; int64_t rows; } layers;       /* rows: what the first one reads one after the other; 0: all at once */

static int make_lstm(layers *l, model *m, int64_t units, const dataset *data)
{
    l->rows = data->rows;
    const int rc = cg_layer_recurrent(l->at, m->net, "lstm", CG_LSTM, cg_array_shape(data->x)[1] / l->rows, units, CG_INIT_GLOROT_UNIFORM, CG_RECURRENT(.batch_first = 1));
    l->at[0].last = 1;
    return rc;
}

static int make_layers(layers *l, model *m, int kind, const dataset *data, int64_t classes)
{
    const int hidden = models[kind].hidden;
    const int64_t units = models[kind].units, features = units ? units : cg_array_shape(data->x)[1];
    int n = units > 0, rc = units ? make_lstm(l, m, units, data) : CG_OK;
    for (int k = 0; k <= hidden && rc == CG_OK; k++) {
        const int64_t in = k ? models[kind].width[k - 1] : features, out = k < hidden ? models[kind].width[k] : classes;
        char name[24];
        snprintf(name, sizeof name, "dense%d", k + 1);
        rc = cg_layer_dense(&l->at[n++], m->net, name, in, out, hidden ? k < hidden ? CG_INIT_HE_UNIFORM : CG_INIT_GLOROT_UNIFORM : units ? CG_INIT_GLOROT_UNIFORM : CG_INIT_ZEROS);
        if (k < hidden && rc == CG_OK)
            rc = cg_layer_function(&l->at[n++], cg_relu);
    }
    l->n = rc == CG_OK ? n : 0;
    return rc;
}

static cg_node *logits_of(const layers *l, cg_node *x)
{
    return cg_forward(l->at, l->n, l->rows ? cg_reshape(x, CG_SHAPE(CG_ANY, l->rows, cg_node_dim(x, 1) / l->rows)) : x);
}

static int compile_step(model *m, const layers *l, const dataset *data, const training *t)
{
    cg_graph *g = m->g;
    cg_node *X = cg_shared(g, "X", data->x), *Y = cg_shared(g, "Y", data->y), *order = cg_shared(g, "order", m->order);
    cg_node *i = cg_input(g, "i", CG_I64, CG_SHAPE()), *size = cg_scalar(g, CG_I64, (double)t->batch);
    cg_node *from = cg_mul(i, size), *rows = cg_slice(order, 0, from, cg_add(from, size), 1);
    cg_node *x = cg_name(cg_take(X, rows), "x"), *y = cg_name(cg_take(Y, rows), "y");
    cg_node *loss = cg_name(cg_cross_entropy_loss(logits_of(l, x), y, NULL), "loss");
    if (cg_optimize(m->net, loss, CG_OPTIMIZER(.kind = t->optimizer, .rate = t->rate)) < 0 || cg_net_set_rate(m->net, t->rate) < 0)
        return -1;
    int n;
    const cg_update *to = cg_net_updates(m->net, &n);
    m->step = cg_compile(g, CG_SPEC(.name = "step", CG_INPUTS(i), CG_OUTPUTS(loss), .updates = to, .nupdates = n));
    return m->step ? 0 : -1;
}

static int compile_prediction(model *m, const layers *l, int64_t features)
{
    cg_node *in = cg_input(m->g, "images", CG_F32, CG_SHAPE(CG_ANY, features)), *logits = logits_of(l, in);
    m->predict = cg_compile(m->g, CG_SPEC(.name = "predict", CG_INPUTS(in), CG_OUTPUTS(cg_argmax(logits, CG_REDUCE(CG_OVER(1))))));
    return m->predict ? 0 : -1;
}

int model_build(model *m, const char *name, const dataset *data, int64_t classes, const training *t)
{
    const int64_t n = cg_array_shape(data->x)[0], features = cg_array_shape(data->x)[1];
    layers l = { .n = 0 };
    *m = (model){ .how = *t, .g = cg_graph_new(), .order = cg_array_new(CG_I64, &n, 1, NULL), .take = t->batch };
    m->net = m->g ? cg_net_new(m->g, t->seed) : NULL;
    const int made = m->net && m->order && make_layers(&l, m, index_of(name), data, classes) == CG_OK;
    return made && !compile_step(m, &l, data, t) && !compile_prediction(m, &l, features) ? 0 : failed(name);
}

void model_free(model *m)
{
    cg_function_free(m->step);
    cg_function_free(m->predict);
    cg_net_free(m->net);
    cg_graph_free(m->g);
    cg_array_free(m->order);
}

/* ---- files: the net's variables and these i64 scalars, which say what the order of the rows depends on, and how far the run came */

enum { STEPS, BATCH, SEED, ROWS, FACTS };
static const char *const facts[FACTS] = { "run.steps", "run.batch", "run.seed", "run.rows" };

typedef struct contents { int n; const char **names; cg_array **values, *fact[FACTS]; } contents;

static void free_contents(contents *c)
{
    free(c->names);
    free(c->values);
    for (int i = 0; i < FACTS; i++)
        cg_array_free(c->fact[i]);
}

/* All that a file has, with the values of this run. */
static int list_contents(contents *c, const model *m)
{
    const int64_t value[FACTS] = { m->steps, m->how.batch, (int64_t)m->how.seed, cg_array_count(m->order) };
    const int n = cg_net_count(m->net);
    *c = (contents){ n + FACTS, calloc((size_t)(n + FACTS), sizeof *c->names), calloc((size_t)(n + FACTS), sizeof *c->values), { NULL } };
    int ok = c->names && c->values;
    for (int i = 0; ok && i < n; i++) {
        c->names[i] = cg_net_name(m->net, i);
        c->values[i] = cg_net_array(m->net, i);
    }
    for (int i = 0; ok && i < FACTS; i++) {
        c->names[n + i] = facts[i];
        c->values[n + i] = c->fact[i] = cg_array_new(CG_I64, NULL, 0, &value[i]);
        ok = c->fact[i] != NULL;
    }
    if (!ok)
        fprintf(stderr, "cgraph: train: no memory\n");
    return ok ? 0 : EXIT_FAILED;
}

static int64_t fact_of(const contents *c, int k) { return *(const int64_t *)cg_array_data(c->fact[k]); }

int model_save(const model *m, const char *path)
{
    contents c;
    int rc = list_contents(&c, m);
    if (!rc && cg_safetensors_save(path, c.names, c.values, c.n) < 0)
        rc = failed("train");
    free_contents(&c);
    return rc;
}

static int load_contents(model *m, const contents *c, const char *path)
{
    const int64_t batch = m->how.batch, seed = (int64_t)m->how.seed, rows = cg_array_count(m->order);
    if (cg_safetensors_load(path, c->names, c->values, c->n) < 0) {
        failed("train");
        fprintf(stderr, "cgraph: train: --resume needs a file that --save wrote for the same model and optimizer\n");
        return EXIT_FAILED;
    }
    m->steps = fact_of(c, STEPS);
    if (m->steps >= 0 && fact_of(c, BATCH) == batch && fact_of(c, SEED) == seed && fact_of(c, ROWS) == rows)
        return 0;
    fprintf(stderr, "cgraph: train: %s was saved with --batch %lld --seed %lld and %lld rows to train on, this run has --batch %lld --seed %lld and %lld rows\n", path,
            (long long)fact_of(c, BATCH), (long long)fact_of(c, SEED), (long long)fact_of(c, ROWS), (long long)batch, (long long)seed, (long long)rows);
    return EXIT_FAILED;
}

int model_load(model *m, const char *path)
{
    contents c;
    int rc = list_contents(&c, m);
    if (!rc)
        rc = load_contents(m, &c, path);
    free_contents(&c);
    return rc;
}

int model_accuracy(const model *m, const dataset *d, double *out)
{
    cg_array *classes = NULL;
    const int rc = cg_call(m->predict, CG_ARRAYS(d->x), &classes);
    const int64_t n = cg_array_count(d->y), *y = cg_array_data(d->y), *p = rc == CG_OK ? cg_array_data(classes) : NULL;
    int64_t right = 0;
    for (int64_t i = 0; p && i < n; i++)
        right += p[i] == y[i];
    cg_array_free(classes);
    *out = (double)right / (double)n;
    return p ? 0 : failed("train");
}
