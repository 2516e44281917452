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

static cg_node *pooled_tanh(const cg_layer *l, cg_node *x)
{
    cg_node *y = cg_max_pool(cg_conv(x, l->w, NULL), CG_POOL(CG_KERNEL(2, 2), .strides = (const int64_t[]){ 2, 2 }));
    return cg_tanh(cg_add(y, cg_reshape(l->b, CG_SHAPE(CG_ANY, 1, 1))));
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

/* ---- a residual net (He et al. 2016): a convolution, two blocks that halve the image and double the channels, the mean over the image, a dense layer.
 * Convolutions have no bias, batch norm has one. */

static const int64_t two[] = { 2, 2 };
enum { STEM = 3, BLOCK = 5, SHORT = 2, BLOCKS = 2, CHANNELS = 16 };      /* layers of the stem, of a block's long way and of its short one */

static cg_node *conv_same(const cg_layer *l, cg_node *x) { return cg_conv(x, l->w, CG_CONV(.border = CG_BORDER_HALF)); }
static cg_node *conv_halves(const cg_layer *l, cg_node *x) { return cg_conv(x, l->w, CG_CONV(.border = CG_BORDER_HALF, .strides = two)); }

/* A convolution of w x w, and batch norm. */
static int add_normed(layers *l, cg_net *n, const char *name, int64_t in, int64_t out, int64_t w, cg_node *(*forward)(const cg_layer *, cg_node *))
{
    char full[40];
    cg_layer *k = next(l);
    snprintf(full, sizeof full, "%s.w", name);
    *k = (cg_layer){ .forward = forward };
    k->w = cg_net_param(n, full, CG_SHAPE(out, in, w, w), CG_INIT_HE_NORMAL);
    snprintf(full, sizeof full, "%s.norm", name);
    return k->w ? cg_layer_batch_norm(next(l), n, full, out, NULL) : (int)cg_last_error()->code;
}

static int make_resnet(layers *l, cg_net *n, image size, int64_t classes)
{
    int64_t channels = CHANNELS;
    (void)size;
    int rc = add_normed(l, n, "stem", 1, channels, 3, conv_same);
    rc = rc ? rc : cg_layer_function(next(l), cg_relu);
    for (int b = 1; b <= BLOCKS && !rc; b++, channels *= 2) {
        char name[3][20];
        snprintf(name[0], sizeof name[0], "block%d.conv1", b);
        snprintf(name[1], sizeof name[1], "block%d.conv2", b);
        snprintf(name[2], sizeof name[2], "block%d.short", b);
        rc = add_normed(l, n, name[0], channels, 2 * channels, 3, conv_halves);
        rc = rc ? rc : cg_layer_function(next(l), cg_relu);
        rc = rc ? rc : add_normed(l, n, name[1], 2 * channels, 2 * channels, 3, conv_same);
        rc = rc ? rc : add_normed(l, n, name[2], channels, 2 * channels, 1, conv_halves);
    }
    return rc ? rc : cg_layer_dense(next(l), n, "dense1", channels, classes, CG_INIT_GLOROT_UNIFORM);
}

static cg_node *resnet_forward(const layers *l, cg_node *x, pass *run)
{
    const cg_layer *at = l->at + STEM;
    x = run(l->at, STEM, x);
    for (int b = 0; b < BLOCKS; b++, at += BLOCK + SHORT) {
        cg_node *through = run(at, BLOCK, x), *past = run(at + BLOCK, SHORT, x);
        x = cg_relu(cg_add(through, past));
    }
    return run(at, 1, cg_mean(x, CG_REDUCE(CG_OVER(2, 3))));
}

const classifier resnet = { PLANE, make_resnet, resnet_forward, 1 };

/* ---- a transformer (Vaswani et al. 2017, normalised before each part) whose steps are an image's rows; the mean over the rows is classified */

enum { WIDTH = 64, HEADS = 4, WIDER = 128, DEPTH = 2, LOOK = 2, THINK = 4 };     /* layers of a block: norm, attention; norm, dense, relu, dense */

static int add_block(layers *l, cg_net *n, int block)
{
    char name[5][20];
    const char *const parts[] = { "norm1", "attention", "norm2", "dense1", "dense2" };
    for (int i = 0; i < 5; i++)
        snprintf(name[i], sizeof name[i], "block%d.%s", block, parts[i]);
    int rc = cg_layer_layer_norm(next(l), n, name[0], WIDTH);
    rc = rc ? rc : cg_layer_attention(next(l), n, name[1], WIDTH, HEADS, CG_INIT_GLOROT_UNIFORM, NULL);
    rc = rc ? rc : cg_layer_layer_norm(next(l), n, name[2], WIDTH);
    rc = rc ? rc : cg_layer_dense(next(l), n, name[3], WIDTH, WIDER, CG_INIT_GLOROT_UNIFORM);
    rc = rc ? rc : cg_layer_function(next(l), cg_relu);
    return rc ? rc : cg_layer_dense(next(l), n, name[4], WIDER, WIDTH, CG_INIT_GLOROT_UNIFORM);
}

static int make_transformer(layers *l, cg_net *n, image size, int64_t classes)
{
    int rc = cg_layer_dense(next(l), n, "rows", size.columns, WIDTH, CG_INIT_GLOROT_UNIFORM);
    l->positions = cg_net_param(n, "positions", CG_SHAPE(size.rows, WIDTH), CG_INIT_GLOROT_NORMAL);
    for (int b = 1; b <= DEPTH && !rc; b++)
        rc = add_block(l, n, b);
    rc = rc ? rc : cg_layer_layer_norm(next(l), n, "norm", WIDTH);
    rc = rc ? rc : cg_layer_dense(next(l), n, "dense1", WIDTH, classes, CG_INIT_GLOROT_UNIFORM);
    return rc || l->positions ? rc : (int)cg_last_error()->code;
}

static cg_node *transformer_forward(const layers *l, cg_node *x, pass *run)
{
    const cg_layer *at = l->at + 1;
    x = cg_add(run(l->at, 1, x), l->positions);
    for (int b = 0; b < DEPTH; b++, at += LOOK + THINK) {
        x = cg_add(x, run(at, LOOK, x));
        x = cg_add(x, run(at + LOOK, THINK, x));
    }
    return run(at + 1, 1, cg_mean(run(at, 1, x), CG_REDUCE(CG_OVER(1))));
}

const classifier transformer = { ROWS, make_transformer, transformer_forward, 1 };
