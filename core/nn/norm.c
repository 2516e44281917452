// SPDX-License-Identifier: MIT
/* Layers that normalise. The running averages of batch norm are states of the net; each forward pass in training makes their next values an update
 * of the net, and a second pass goes on from where the first one led. */
#include "core/nn/nn.h"

static int made(const cg_layer *l) { return l->b ? CG_OK : (int)cg_last_error()->code; }

static cg_node *layer_norm_forward(const cg_layer *l, cg_node *x) { return cg_layer_normalization(x, l->w, l->b, -1, l->norm.epsilon); }

CG_API int cg_layer_layer_norm(cg_layer *l, cg_net *n, const char *name, int64_t size)
{
    CG_BUILDER(n->g);
    *l = (cg_layer){ .forward = layer_norm_forward, .norm.epsilon = 1e-5 };
    l->w = cg__net_part(n, name, "w", &size, 1, CG_INIT_ONES);
    l->b = l->w ? cg__net_part(n, name, "b", &size, 1, CG_INIT_ZEROS) : NULL;
    return made(l);
}

/* The update of var that the net has, or where a new one goes. */
static cg_update *update_of(cg_net *n, cg_node *var)
{
    for (int i = 0; i < n->updates.n; i++)
        if (n->updates.at[i].var == var)
            return &n->updates.at[i];
    return CG_PUSH(&n->updates, (cg_update){ var, var }) ? &n->updates.at[n->updates.n - 1] : NULL;
}

static cg_node *no_memory(cg_graph *g) { return cg_graph_fail(g, CG_ENOMEM, "cg_layer_batch_norm: no memory"); }

static cg_node *batch_norm_forward(const cg_layer *l, cg_node *x)
{
    if (l->testing)
        return cg_batch_normalization(x, l->w, l->b, l->norm.running_mean, l->norm.running_var, &l->norm);
    cg_node *const states[2] = { l->norm.running_mean, l->norm.running_var };
    cg_batch_norm o = l->norm;
    cg_batch_normalized r;
    const cg_update *mean = update_of(l->net, states[0]);
    o.running_mean = mean ? mean->value : NULL;
    const cg_update *var = update_of(l->net, states[1]);
    o.running_var = var ? var->value : NULL;
    if (!mean || !var)
        return no_memory(cg_node_graph(x));
    if (cg_batch_normalization_train(x, l->w, l->b, &o, &r) < 0)
        return NULL;
    update_of(l->net, states[0])->value = r.running_mean;
    update_of(l->net, states[1])->value = r.running_var;
    return r.y;
}

CG_API int cg_layer_batch_norm(cg_layer *l, cg_net *n, const char *name, int64_t channels, const cg_batch_norm *o)
{
    CG_BUILDER(n->g);
    if (o && o->struct_size != sizeof *o)
        return cg__nn_fail(CG_EINVAL, "cg_layer_batch_norm: the options are not made by CG_BATCH_NORM of this version");
    *l = (cg_layer){ .forward = batch_norm_forward, .net = n, .norm = o ? *o : (cg_batch_norm){ .struct_size = sizeof *o } };
    l->norm.running_mean = cg__net_part_state(n, name, "mean", &channels, 1, 0);
    l->norm.running_var = l->norm.running_mean ? cg__net_part_state(n, name, "var", &channels, 1, 1) : NULL;
    l->w = l->norm.running_var ? cg__net_part(n, name, "w", &channels, 1, CG_INIT_ONES) : NULL;
    l->b = l->w ? cg__net_part(n, name, "b", &channels, 1, CG_INIT_ZEROS) : NULL;
    return made(l);
}
