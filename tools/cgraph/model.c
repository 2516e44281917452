// SPDX-License-Identifier: MIT
/* Logistic regression, softmax of xW + b, trained by Adam.
 *
 * Adam (Kingma and Ba 2015, algorithm 1): m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
 * w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps); t is an i64 shared variable, so it costs no launch.
 */
#include <stdio.h>
#include <string.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/model.h"

typedef struct adam { cg_update to[MODEL_VARS]; int n; cg_node *t; double lr; } adam;

const char *model_names(void) { return "logreg"; }
int model_known(const char *name) { return strcmp(name, "logreg") == 0; }

/* A shared variable of zeros, named PREFIX NAME. */
static cg_node *variable(model *m, const char *prefix, const char *name, cg_dtype d, const int64_t *shape, int rank)
{
    const int k = m->nvars++;
    snprintf(m->name[k], sizeof m->name[k], "%s%s", prefix, name);
    m->value[k] = cg_array_new(d, shape, rank, NULL);
    return cg_shared(m->g, m->name[k], m->value[k]);
}

static void adam_update(model *model, adam *a, cg_node *w, cg_node *g)
{
    cg_graph *graph = cg_node_graph(w);
    const char *name = cg_node_name(w);
    const int rank = cg_node_rank(w);
    const int64_t shape[2] = { cg_node_dim(w, 0), rank > 1 ? cg_node_dim(w, 1) : 1 };
    cg_node *m = variable(model, "adam.m.", name, CG_F32, shape, rank), *v = variable(model, "adam.v.", name, CG_F32, shape, rank);
    cg_node *t = cg_cast(cg_add(a->t, cg_scalar(graph, CG_I64, 1)), CG_F32), *one = cg_weak(graph, 1);
    cg_node *m1 = cg_add(cg_scale(m, 0.9), cg_scale(g, 0.1)), *v1 = cg_add(cg_scale(v, 0.999), cg_scale(cg_square(g), 0.001));
    cg_node *mh = cg_div(m1, cg_sub(one, cg_power(cg_scalar(graph, CG_F32, 0.9), t)));
    cg_node *vh = cg_div(v1, cg_sub(one, cg_power(cg_scalar(graph, CG_F32, 0.999), t)));
    a->to[a->n++] = (cg_update){ w, cg_sub(w, cg_div(cg_scale(mh, a->lr), cg_add(cg_sqrt(vh), cg_weak(graph, 1e-8)))) };
    a->to[a->n++] = (cg_update){ m, m1 };
    a->to[a->n++] = (cg_update){ v, v1 };
}

static cg_node *logits(cg_node *x, cg_node *W, cg_node *b)       /* (batch, features) -> (batch, classes) */
{
    return cg_add(cg_matmul(x, W), b);
}

int model_build(model *m, const dataset *data, int64_t classes, int64_t batch, double lr)
{
    const int64_t n = cg_array_shape(data->x)[0], features = cg_array_shape(data->x)[1], w[] = { features, classes };
    *m = (model){ .g = cg_graph_new(), .order = cg_array_new(CG_I64, &n, 1, NULL) };
    cg_graph *g = m->g;
    cg_node *X = cg_shared(g, "X", data->x), *Y = cg_shared(g, "Y", data->y), *order = cg_shared(g, "order", m->order);
    cg_node *W = variable(m, "", "W", CG_F32, w, 2), *b = variable(m, "", "b", CG_F32, w + 1, 1);
    cg_node *i = cg_input(g, "i", CG_I64, CG_SHAPE()), *size = cg_scalar(g, CG_I64, (double)batch);
    cg_node *from = cg_mul(i, size), *rows = cg_slice(order, 0, from, cg_add(from, size), 1);
    cg_node *x = cg_name(cg_take(X, rows), "x"), *y = cg_name(cg_take(Y, rows), "y");
    cg_node *loss = cg_name(cg_mean(cg_cross_entropy(logits(x, W, b), y), CG_REDUCE()), "loss"), *dW = NULL, *db = NULL;
    cg_grad(loss, CG_NODES(W, b), CG_OUT(&dW, &db));
    adam a = { .t = variable(m, "", "adam.t", CG_I64, NULL, 0), .lr = lr };
    adam_update(m, &a, W, dW);
    adam_update(m, &a, b, db);
    a.to[a.n++] = (cg_update){ a.t, cg_add(a.t, cg_scalar(g, CG_I64, 1)) };
    m->step = cg_compile(g, CG_SPEC(.name = "step", CG_INPUTS(i), CG_OUTPUTS(loss), .updates = a.to, .nupdates = a.n));
    cg_node *in = cg_input(g, "images", CG_F32, CG_SHAPE(CG_ANY, features));
    m->predict = m->step ? cg_compile(g, CG_SPEC(.name = "predict", CG_INPUTS(in), CG_OUTPUTS(cg_argmax(logits(in, W, b), CG_REDUCE(CG_OVER(1)))))) : NULL;
    return m->predict ? 0 : failed("logreg");
}

void model_free(model *m)
{
    cg_function_free(m->step);
    cg_function_free(m->predict);
    cg_graph_free(m->g);
    cg_array_free(m->order);
    for (int i = 0; i < m->nvars; i++)
        cg_array_free(m->value[i]);
}

int model_save(const model *m, const char *path)
{
    const char *names[MODEL_VARS];
    for (int i = 0; i < m->nvars; i++)
        names[i] = m->name[i];
    return cg_safetensors_save(path, names, m->value, m->nvars) < 0 ? failed("train") : 0;
}
