// SPDX-License-Identifier: MIT
/* Layers and their composition. */
#include "core/nn/nn.h"

static cg_node *dense_forward(const cg_layer *l, cg_node *x) { return cg_add(cg_matmul(x, l->w), l->b); }       /* (n, in) -> (n, out) */
static cg_node *function_forward(const cg_layer *l, cg_node *x) { return l->function(x); }
static cg_node *dropout_forward(const cg_layer *l, cg_node *x) { return cg_dropout(&l->random, x, l->rate); }

static cg_node *part(cg_net *n, const char *layer, const char *name, const int64_t *shape, int rank, cg_init how)
{
    cg_strb s = { 0 };
    cg__strb(&s, "%s.%s", layer, name);
    char *full = cg__text_result(&s, "cg_layer_dense");
    cg_node *v = full ? cg_net_param(n, full, shape, rank, how) : NULL;
    cg_text_free(full);
    return v;
}

CG_API int cg_layer_dense(cg_layer *l, cg_net *n, const char *name, int64_t in, int64_t out, cg_init how)
{
    CG_BUILDER(n->g);
    const int64_t shape[2] = { in, out };
    *l = (cg_layer){ .forward = dense_forward };
    l->w = part(n, name, "w", shape, 2, how);
    l->b = l->w ? part(n, name, "b", shape + 1, 1, CG_INIT_ZEROS) : NULL;
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

CG_API cg_node *cg_forward(const cg_layer *layers, int n, cg_node *x)
{
    CG_BUILDER(cg_node_graph(x));
    for (int i = 0; i < n && x; i++)
        x = layers[i].forward(&layers[i], x);
    return x;
}
