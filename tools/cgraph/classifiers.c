// SPDX-License-Identifier: MIT
/* The classifiers. A make function adds layers in the order in which data pass them, up to the first that cannot be made. */
#include <stdio.h>
#include "tools/cgraph/classifiers.h"

static cg_layer *next(layers *l) { return &l->at[l->n++]; }

cg_node *classify(const classifier *c, const layers *l, image size, cg_node *x, pass *run)
{
    if (c->reads == ROWS)
        x = cg_reshape(x, CG_SHAPE(CG_ANY, size.rows, size.columns));
    if (c->reads == PLANE)
        x = cg_reshape(x, CG_SHAPE(CG_ANY, 1, size.rows, size.columns));
    return c->forward ? c->forward(l, x, run) : run(l->at, l->n, x);
}

/* ---- dense layers: logistic regression, and two hidden ones with relu */

static int make_logreg(layers *l, cg_net *n, image size, int64_t classes)
{
    return cg_layer_dense(next(l), n, "dense1", size.rows * size.columns, classes, CG_INIT_ZEROS);
}

static int make_mlp(layers *l, cg_net *n, image size, int64_t classes)
{
    int rc = cg_layer_dense(next(l), n, "dense1", size.rows * size.columns, 256, CG_INIT_HE_UNIFORM);
    rc = rc ? rc : cg_layer_function(next(l), cg_relu);
    rc = rc ? rc : cg_layer_dense(next(l), n, "dense2", 256, 128, CG_INIT_HE_UNIFORM);
    rc = rc ? rc : cg_layer_function(next(l), cg_relu);
    return rc ? rc : cg_layer_dense(next(l), n, "dense3", 128, classes, CG_INIT_GLOROT_UNIFORM);
}

const classifier logreg = { FLAT, make_logreg, NULL, 1 }, mlp = { FLAT, make_mlp, NULL, 1 };

/* ---- an LSTM that reads an image row by row and hands its last state on */

static int make_lstm(layers *l, cg_net *n, image size, int64_t classes)
{
    const int rc = cg_layer_recurrent(next(l), n, "lstm", CG_LSTM, size.columns, 128, CG_INIT_GLOROT_UNIFORM, CG_RECURRENT(.batch_first = 1));
    l->at[0].last = 1;
    return rc ? rc : cg_layer_dense(next(l), n, "dense1", 128, classes, CG_INIT_GLOROT_UNIFORM);
}

const classifier lstm = { ROWS, make_lstm, NULL, 1 };

/* ---- LeNet: convolution 5x5, max-pool 2, bias and tanh, twice; a dense layer with tanh, and one more. As in tools/bench/peers.py */

/* The largest of each 2 x 2 of images (n, c, rows, columns) whose sizes are even. */
static cg_node *max_pool(cg_node *x)
{
    cg_node *squares = cg_reshape(x, CG_SHAPE(CG_ANY, cg_node_dim(x, 1), cg_node_dim(x, 2) / 2, 2, cg_node_dim(x, 3) / 2, 2));
    return cg_max(squares, CG_REDUCE(CG_OVER(3, 5)));
}

static cg_node *pooled_tanh(const cg_layer *l, cg_node *x)
{
    return cg_tanh(cg_add(max_pool(cg_conv(x, l->w, NULL)), cg_reshape(l->b, CG_SHAPE(CG_ANY, 1, 1))));
}

static cg_node *flat(cg_node *x) { return cg_reshape_to(x, CG_NODES(cg_dim(x, 0), cg_mul(cg_dim(x, 1), cg_mul(cg_dim(x, 2), cg_dim(x, 3))))); }

static int add_pooled(layers *l, cg_net *n, const char *w, const char *b, int64_t in, int64_t out)
{
    cg_layer *k = next(l);
    *k = (cg_layer){ .forward = pooled_tanh };
    k->w = cg_net_param(n, w, CG_SHAPE(out, in, 5, 5), CG_INIT_LECUN_NORMAL);
    k->b = k->w ? cg_net_param(n, b, CG_SHAPE(out), CG_INIT_ZEROS) : NULL;
    return k->b ? CG_OK : (int)cg_last_error()->code;
}

static int64_t behind(int64_t size) { return (size - 4) / 2; }       /* a convolution and a pool */

static int make_lenet(layers *l, cg_net *n, image size, int64_t classes)
{
    const int64_t left = behind(behind(size.rows)) * behind(behind(size.columns));
    int rc = add_pooled(l, n, "conv1.w", "conv1.b", 1, 20);
    rc = rc ? rc : add_pooled(l, n, "conv2.w", "conv2.b", 20, 50);
    rc = rc ? rc : cg_layer_function(next(l), flat);
    rc = rc ? rc : cg_layer_dense(next(l), n, "dense1", 50 * left, 500, CG_INIT_LECUN_NORMAL);
    rc = rc ? rc : cg_layer_function(next(l), cg_tanh);
    return rc ? rc : cg_layer_dense(next(l), n, "dense2", 500, classes, CG_INIT_LECUN_NORMAL);
}

const classifier lenet = { PLANE, make_lenet, NULL, 16 };
