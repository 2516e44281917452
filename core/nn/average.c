// SPDX-License-Identifier: MIT
/* Exponential moving averages of a net's parameters, as updates of one more state each. */
#include "core/nn/nn.h"

static cg_node *new_value(const cg_net *n, const cg_node *var)
{
    for (int i = 0; i < n->updates.n; i++)
        if (n->updates.at[i].var == var)
            return n->updates.at[i].value;
    return NULL;
}

static cg_node *copy_of(cg_net *n, const cg_net_var *v)
{
    cg_strb s = { 0 };
    cg__strb(&s, "%s.average", v->name);
    char *name = cg__text_result(&s, "cg_net_average");
    const void *data = name ? cg_array_data(v->value) : NULL;
    cg_array *value = data ? cg_array_new(cg_array_dtype(v->value), cg_array_shape(v->value), cg_array_rank(v->value), data) : NULL;
    cg_node *a = value ? cg__net_add(n, name, value, false) : NULL;
    cg_text_free(name);
    return a;
}

static bool average(cg_net *n, int k, double decay)
{
    const cg_net_var v = n->vars.at[k];
    cg_node *a = copy_of(n, &v), *next = a ? cg_add(cg_scale(a, decay), cg_scale(new_value(n, v.node), 1 - decay)) : NULL;
    return next && CG_PUSH(&n->updates, (cg_update){ a, next }) && CG_PUSH(&n->averages, (cg_given){ v.node, a });
}

CG_API int cg_net_average(cg_net *n, double decay)
{
    CG_BUILDER(n->g);
    if (!n->optimized || n->averages.n)
        return cg__nn_fail(CG_EINVAL, "cg_net_average: %s", n->averages.n ? "the net has its averages already" : "cg_optimize comes first");
    if (!(decay >= 0 && decay < 1))
        return cg__nn_fail(CG_EINVAL, "cg_net_average: a decay of %g is not from 0 to below 1", decay);
    const int vars = n->vars.n, updates = n->updates.n;
    bool ok = true;
    for (int i = 0; i < vars && ok; i++)
        ok = !n->vars.at[i].trained || average(n, i, decay);
    if (ok)
        return CG_OK;
    n->updates.n = updates;
    n->averages.n = 0;
    return cg__net_why(n, "cg_net_average");
}

CG_API const cg_given *cg_net_averages(const cg_net *n, int *count)
{
    *count = n->averages.n;
    return n->averages.at;
}
