// SPDX-License-Identifier: MIT
/* The models by name: dense layers with relu between them, from the features to the classes; no hidden layer is logistic regression. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/model.h"

enum { HIDDEN = 4 };
static const struct { const char *name; int hidden; int64_t width[HIDDEN]; } models[] = {
    { "logreg", 0, { 0 } },
    { "mlp", 2, { 256, 128 } },
};
enum { MODELS = sizeof models / sizeof models[0] };

static int index_of(const char *name)
{
    for (int i = 0; i < MODELS; i++)
        if (strcmp(models[i].name, name) == 0)
            return i;
    return -1;
}

const char *model_names(void) { return "logreg, mlp"; }
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
typedef struct layers { cg_layer at[2 * HIDDEN + 1]; int n; } layers;

static int make_layers(layers *l, model *m, int kind, int64_t features, int64_t classes)
{
    const int hidden = models[kind].hidden;
    int n = 0, rc = CG_OK;
    for (int k = 0; k <= hidden && rc == CG_OK; k++) {
        const int64_t in = k ? models[kind].width[k - 1] : features, out = k < hidden ? models[kind].width[k] : classes;
        char name[24];
        snprintf(name, sizeof name, "dense%d", k + 1);
        rc = cg_layer_dense(&l->at[n++], m->net, name, in, out, hidden ? k < hidden ? CG_INIT_HE_UNIFORM : CG_INIT_GLOROT_UNIFORM : CG_INIT_ZEROS);
        if (k < hidden && rc == CG_OK)
            rc = cg_layer_function(&l->at[n++], cg_relu);
    }
    l->n = rc == CG_OK ? n : 0;
    return rc;
}

static int compile_step(model *m, const layers *l, const dataset *data, const training *t)
{
    cg_graph *g = m->g;
    cg_node *X = cg_shared(g, "X", data->x), *Y = cg_shared(g, "Y", data->y), *order = cg_shared(g, "order", m->order);
    cg_node *i = cg_input(g, "i", CG_I64, CG_SHAPE()), *size = cg_scalar(g, CG_I64, (double)t->batch);
    cg_node *from = cg_mul(i, size), *rows = cg_slice(order, 0, from, cg_add(from, size), 1);
    cg_node *x = cg_name(cg_take(X, rows), "x"), *y = cg_name(cg_take(Y, rows), "y");
    cg_node *loss = cg_name(cg_cross_entropy_loss(cg_forward(l->at, l->n, x), y), "loss");
    if (cg_optimize(m->net, loss, CG_OPTIMIZER(.kind = t->optimizer, .rate = t->rate)) < 0 || cg_net_set_rate(m->net, t->rate) < 0)
        return -1;
    int n;
    const cg_update *to = cg_net_updates(m->net, &n);
    m->step = cg_compile(g, CG_SPEC(.name = "step", CG_INPUTS(i), CG_OUTPUTS(loss), .updates = to, .nupdates = n));
    return m->step ? 0 : -1;
}

static int compile_prediction(model *m, const layers *l, int64_t features)
{
    cg_node *in = cg_input(m->g, "images", CG_F32, CG_SHAPE(CG_ANY, features)), *logits = cg_forward(l->at, l->n, in);
    m->predict = cg_compile(m->g, CG_SPEC(.name = "predict", CG_INPUTS(in), CG_OUTPUTS(cg_argmax(logits, CG_REDUCE(CG_OVER(1))))));
    return m->predict ? 0 : -1;
}

int model_build(model *m, const char *name, const dataset *data, int64_t classes, const training *t)
{
    const int64_t n = cg_array_shape(data->x)[0], features = cg_array_shape(data->x)[1];
    layers l = { .n = 0 };
    *m = (model){ .g = cg_graph_new(), .order = cg_array_new(CG_I64, &n, 1, NULL) };
    m->net = m->g ? cg_net_new(m->g, t->seed) : NULL;
    const int made = m->net && m->order && make_layers(&l, m, index_of(name), features, classes) == CG_OK;
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

int model_save(const model *m, const char *path)
{
    const int n = cg_net_count(m->net);
    const char **names = calloc((size_t)n, sizeof *names);
    cg_array **values = calloc((size_t)n, sizeof *values);
    for (int i = 0; names && values && i < n; i++) {
        names[i] = cg_net_name(m->net, i);
        values[i] = cg_net_array(m->net, i);
    }
    const int rc = names && values ? cg_safetensors_save(path, names, values, n) : 0;
    if (!names || !values)
        fprintf(stderr, "cgraph: train: no memory\n");
    free(names);
    free(values);
    return rc < 0 ? failed("train") : names && values ? 0 : EXIT_FAILED;
}
