// SPDX-License-Identifier: MIT
/* Layers and their composition. */
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
