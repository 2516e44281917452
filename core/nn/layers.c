// SPDX-License-Identifier: MIT
/* Layers, their composition, and losses. */
#include "core/nn/nn.h"

static cg_node *dense_forward(const cg_layer *l, cg_node *x) { return cg_add(cg_matmul(x, l->w), l->b); }       /* (n, in) -> (n, out) */
static cg_node *function_forward(const cg_layer *l, cg_node *x) { return l->function(x); }
static cg_node *dropout_forward(const cg_layer *l, cg_node *x) { return l->testing ? x : cg_dropout(&l->random, x, l->rate); }

CG_API int cg_layer_dense(cg_layer *l, cg_net *n, const char *name, int64_t in, int64_t out, cg_init how)
{
    CG_BUILDER(n->g);
    const int64_t shape[2] = { in, out };
    *l = (cg_layer){ .forward = dense_forward };
    l->w = cg__net_part(n, name, "w", shape, 2, how);
    l->b = l->w ? cg__net_part(n, name, "b", shape + 1, 1, CG_INIT_ZEROS) : NULL;
    return l->b ? CG_OK : (int)cg_last_error()->code;
}

CG_API int cg_layer_function(cg_layer *l, cg_node *(*function)(cg_node *x))
{
    *l = (cg_layer){ .forward = function_forward, .function = function };
    return function ? CG_OK : cg__nn_fail(CG_EINVAL, "cg_layer_function: the function is NULL");
}

CG_API int cg_layer_dropout(cg_layer *l, const cg_random *r, double p)
{
    *l = (cg_layer){ .forward = dropout_forward, .random = *r, .rate = p };
    return p >= 0 && p <= 1 ? CG_OK : cg__nn_fail(CG_EINVAL, "cg_layer_dropout: %g is no probability", p);
}

static cg_node *forward(const cg_layer *layers, int n, cg_node *x, bool testing)
{
    for (int i = 0; i < n && x; i++) {
        cg_layer l = layers[i];
        l.testing = l.testing || testing;
        x = l.forward(&l, x);
    }
    return x;
}

CG_API cg_node *cg_forward(const cg_layer *layers, int n, cg_node *x) { CG_BUILDER(cg_node_graph(x)); return forward(layers, n, x, false); }
CG_API cg_node *cg_forward_test(const cg_layer *layers, int n, cg_node *x) { CG_BUILDER(cg_node_graph(x)); return forward(layers, n, x, true); }

/* ---- losses */

static cg_node *mean(cg_node *x) { return cg_mean(x, CG_REDUCE()); }

CG_API cg_node *cg_cross_entropy_loss(cg_node *logits, cg_node *classes) { CG_BUILDER(cg_node_graph(logits)); return mean(cg_cross_entropy(logits, classes)); }
CG_API cg_node *cg_squared_loss(cg_node *a, cg_node *b) { CG_BUILDER(cg_node_graph(a)); return mean(cg_square(cg_sub(a, b))); }
CG_API cg_node *cg_absolute_loss(cg_node *a, cg_node *b) { CG_BUILDER(cg_node_graph(a)); return mean(cg_abs(cg_sub(a, b))); }

/* -t log s(z) - (1 - t) log(1 - s(z)) = softplus(z) - t z */
CG_API cg_node *cg_binary_cross_entropy_loss(cg_node *logits, cg_node *targets)
{
    CG_BUILDER(cg_node_graph(logits));
    return mean(cg_sub(cg_softplus(logits), cg_mul(targets, logits)));
}

/* With c = min(d, delta) both pieces are c (d - c / 2). */
CG_API cg_node *cg_huber_loss(cg_node *a, cg_node *b, double delta)
{
    CG_BUILDER(cg_node_graph(a));
    cg_node *d = cg_abs(cg_sub(a, b)), *c = d ? cg_minimum(d, cg_weak(cg_node_graph(d), delta)) : NULL;
    return mean(cg_mul(c, cg_sub(d, cg_scale(c, 0.5))));
}
