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

/* The rows of a step: x (rows, features) and y (rows); the function's inputs go to *in, and their number is returned. */
static int rows_of(const model *m, const dataset *data, cg_node **in, cg_node **x, cg_node **y)
{
    cg_graph *g = m->g;
    if (m->how.stream) {
        *x = in[0] = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, cg_array_shape(data->x)[1]));
        *y = in[1] = cg_input(g, "y", CG_I64, CG_SHAPE(CG_ANY));
        return 2;
    }
    cg_node *i = in[0] = cg_input(g, "i", CG_I64, CG_SHAPE()), *size = cg_scalar(g, CG_I64, (double)m->how.batch), *from = cg_mul(i, size);
    cg_node *rows = cg_slice(cg_shared(g, "order", m->order), 0, from, cg_add(from, size), 1);
    *x = cg_name(cg_take(cg_shared(g, "X", data->x), rows), "x");
    *y = cg_name(cg_take(cg_shared(g, "Y", data->y), rows), "y");
    return 1;
}

static int compile_step(model *m, const layers *l, const dataset *data)
{
    const training *t = &m->how;
    cg_node *in[2], *x, *y;
    const int nin = rows_of(m, data, in, &x, &y);
    cg_node *loss = cg_name(cg_cross_entropy_loss(logits_of(l, x), y, NULL), "loss");
    if (cg_optimize(m->net, loss, CG_OPTIMIZER(.kind = t->optimizer, .rate = t->rate, .l2 = t->l2)) < 0 || (t->average > 0 && cg_net_average(m->net, t->average) < 0))
        return -1;
    int n;
    const cg_update *to = cg_net_updates(m->net, &n);
    m->step = cg_compile(m->g, CG_SPEC(.name = "step", .inputs = in, .ninputs = nin, CG_OUTPUTS(loss), .updates = to, .nupdates = n));
    return m->step ? 0 : -1;
}

static int compile_prediction(model *m, const layers *l, int64_t features)
{
    cg_node *in = cg_input(m->g, "images", CG_F32, CG_SHAPE(CG_ANY, features)), *classes = cg_argmax(logits_of(l, in), CG_REDUCE(CG_OVER(1)));
    int n;
    const cg_given *givens = cg_net_averages(m->net, &n);
    m->predict = cg_compile(m->g, CG_SPEC(.name = "predict", CG_INPUTS(in), CG_OUTPUTS(classes), .givens = givens, .ngivens = n));
    return m->predict ? 0 : -1;
}

int model_build(model *m, const char *name, const dataset *data, int64_t classes, const training *t)
{
    const int64_t n = cg_array_shape(data->x)[0], features = cg_array_shape(data->x)[1];
    layers l = { .n = 0 };
    *m = (model){ .how = *t, .g = cg_graph_new(), .order = cg_array_new(CG_I64, &n, 1, NULL), .take = t->batch };
    m->net = m->g ? cg_net_new(m->g, t->seed) : NULL;
    const int made = m->net && m->order && make_layers(&l, m, index_of(name), data, classes) == CG_OK;
    return made && !compile_step(m, &l, data) && !compile_prediction(m, &l, features) ? 0 : failed(name);
}

void model_free(model *m)
{
    cg_function_free(m->step);
    cg_function_free(m->predict);
    cg_net_free(m->net);
    cg_graph_free(m->g);
    cg_array_free(m->order);
}

enum { JUDGED = 512 };                   /* rows that are predicted at once */

/* How many of the rows of a batch are right; negative: failed. */
static int64_t count_right(const model *m, cg_array *const *batch)
{
    cg_array *classes = NULL;
    const int rc = cg_call(m->predict, CG_ARRAYS(batch[0]), &classes);
    const int64_t *y = cg_array_data(batch[1]), *p = rc == CG_OK ? cg_array_data(classes) : NULL;
    int64_t right = p ? 0 : -1;
    for (int64_t i = 0; p && i < cg_array_count(classes); i++)
        right += p[i] == y[i];
    cg_array_free(classes);
    return right;
}

int model_accuracy(const model *m, const dataset *d, double *out)
{
    cg_loader *l = cg_loader_new(CG_ARRAYS(d->x, d->y), JUDGED);
    cg_array *const *batch = NULL;
    int64_t right = 0, more = 0;
    int n = l ? 0 : -1;
    while (more >= 0 && l && (n = cg_loader_next(l, &batch)) > 0) {
        more = count_right(m, batch);
        right += more;
    }
    cg_loader_free(l);
    *out = (double)right / (double)cg_array_count(d->y);
    return n < 0 || more < 0 ? failed("train") : 0;
}
