// SPDX-License-Identifier: MIT
/* Nets that tell classes of images: how they are made and what they compute. */
#ifndef CGRAPH_CLASSIFIERS_H
#define CGRAPH_CLASSIFIERS_H

#include "tools/cgraph/data.h"

enum { MAX_LAYERS = 48 };
typedef struct layers {
    cg_layer at[MAX_LAYERS];
    int n;
    cg_node *positions;                  /* transformer */
} layers;
typedef cg_node *pass(const cg_layer *l, int n, cg_node *x);     /* cg_forward, or cg_forward_test */
typedef struct image { int64_t rows, columns; } image;

typedef struct classifier {
    enum { FLAT, ROWS, PLANE } reads;    /* (n, pixels); (n, rows, columns); (n, 1, rows, columns) */
    int (*make)(layers *l, cg_net *n, image size, int64_t classes);      /* a status */
    cg_node *(*forward)(const layers *l, cg_node *x, pass *run);         /* NULL: all layers in their order */
    int64_t least;                       /* rows and columns that an image must have */
} classifier;

extern const classifier logreg, mlp, lstm, lenet, resnet, transformer;

/* x (n, pixels) to logits (n, classes). */
cg_node *classify(const classifier *c, const layers *l, image size, cg_node *x, pass *run);

#endif
