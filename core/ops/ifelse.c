// SPDX-License-Identifier: MIT
/* ifelse: one of two values, of which only that one is computed. What is computed where follows from the graph (core/graph/guard.h); here
 * each side is put into one place, by steps that run when that side is taken. */
#include "core/ops/ops.h"

/* Sizes that are not known are one size: that of the first, checked at the call. */
CG_DECLARE_INFER(cg__ifelse_infer)
{
    const cg_type *a = &n->in[1]->type, *b = &n->in[2]->type;
    if (n->in[0]->type.rank || n->in[0]->type.dtype != CG_BOOL)
        return cg__fail(err, CG_ESHAPE, "cg_ifelse: the condition must be a scalar of bool, is %s", cg__label(n->in[0]));
    if (!cg__type_may_be(a, b))
        return cg__fail(err, a->dtype == b->dtype ? CG_ESHAPE : CG_EDTYPE, "cg_ifelse: the branches must be of one dtype and shape, but are %s and %s", cg__label(n->in[1]),
                        cg__label(n->in[2]));
    n->type = *a;
    for (int k = 0; k < a->rank; k++)
        n->type.dim[k] = a->dim[k].sym ? b->dim[k].sym ? a->dim[k] : b->dim[k] : a->dim[k];
    n->type.weak = false;
    return CG_OK;
}

CG_DECLARE_SIMPLE(cg__ifelse_simple)
{
    double v;
    if (cg__is_const(n->in[0], &v))
        return n->in[v != 0 ? 1 : 2];
    return n->in[1] == n->in[2] ? n->in[1] : CG_ITSELF;
}

/* Each side's gradient counts under that side's guard, which the walk sees to (core/graph/grad.c). */
CG_DECLARE_GRAD(cg__ifelse_grad)
{
    (void)n, (void)need;
    gin[0] = CG_ZERO;
    gin[1] = gin[2] = gout[0];
    return CG_OK;
}

static int same_sizes(cg_lower *L, const cg_node *n)
{
    int rc = CG_OK;
    for (int k = 0; k < n->type.rank && rc == CG_OK; k++)
        rc = cg__check_dims(L, n, n->in[1]->type.dim[k], n->in[2]->type.dim[k]);
    return rc;
}

CG_DECLARE_LOWER(cg__ifelse_lower)
{
    int rc = same_sizes(L, n);
    if (rc == CG_OK && cg__lower_slot(L, n) < 0)
        rc = cg__lower_out(L, n);
    for (int k = 1; k < n->nin && rc == CG_OK; k++)
        rc = cg__lower_side(L, n, k);
    return rc;
}

CG_API int cg_ifelse(cg_node *cond, cg_node *const *then, int nthen, cg_node *const *otherwise, int notherwise, cg_node **const *out, int nout)
{
    cg_graph *g = cg_node_graph(cond);
    CG_BUILDER(g);
    const bool match = nthen == notherwise && nthen == nout;
    bool ok = cond && match;
    if (cond && !match)
        cg__graph_fail(g, CG_EINVAL, "cg_ifelse: %d values if %s holds, %d if not, and %d places for them", nthen, cg__label(cond), notherwise, nout);
    for (int i = 0; i < nout && ok; i++)             /* a place may be where an operand stands */
        ok = cg__graph_of((cg_node *[]){ cond, then[i], otherwise[i] }, 3) &&
             (*out[i] = cg__build(g, CG_OP_ifelse, (cg_node *[]){ cond, then[i], otherwise[i] }, 3, NULL)) != NULL;
    for (int i = 0; i < nout && !ok; i++)
        *out[i] = NULL;
    return ok ? CG_OK : g && g->error.code ? (int)g->error.code : CG_EINVAL;
}
