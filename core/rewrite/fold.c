// SPDX-License-Identifier: MIT
/* What is made of constants alone becomes constants. Values are computed by whoever runs plans: core/run gives the evaluator, which gets all
 * of them at once, so that one small plan is made for a graph, if any. Sizes (integer scalars) fold when they are built. */
#include "core/graph/build.h"
#include "core/rewrite/rewrite.h"

enum { MAX_ELEMENTS = 4096 };            /* of a result and of each value on the way: a large one is cheaper made than stored */

static bool is_small(const cg_node *n)
{
    int64_t count = 1;
    for (int i = 0; i < n->type.rank; i++) {
        const cg_dim_t d = n->type.dim[i];
        if (d.sym || d.n > MAX_ELEMENTS || (count *= d.n) > MAX_ELEMENTS)
            return false;
    }
    return true;
}

/* Views of a constant read it where it is, casts and fills of one are computed in place: not worth an array. */
static bool is_worth(const cg_node *n)
{
    double v;
    return !(n->op->props & CG_VIEW) && !cg__is(n, CG_OP_reshape) && !cg__is(n, CG_OP_arange) && !cg__is(n, CG_OP_eye) && !(cg__is(n, CG_OP_cast) && cg__is_const(n->in[0], &v));
}

static bool can_fold(const cg_node *n, const bool *constant)
{
    bool all = !(n->op->props & (CG_LEAF | CG_IDENTITY)) && n->nin && !n->nbody && !n->nouts && is_small(n) && !cg__is(n, CG_OP_dim) && !cg__is(n, CG_OP_get);
    for (int k = 0; k < n->nin && all; k++)
        all = constant[n->in[k]->id];
    return all && !(n->type.rank == 0 && n->type.dtype == CG_I64);
}

/* The largest such expressions: those that something else reads. */
static bool find(cg_graph *g, const cg_node_vec *nodes, cg_node *const *roots, int n, cg_node_vec *out)
{
    bool *constant = cg__zalloc((size_t)g->count * 2), *wanted = constant ? constant + g->count : NULL;
    bool ok = constant != NULL;
    for (int i = 0; i < nodes->n && ok; i++) {
        const cg_node *x = nodes->at[i];
        constant[x->id] = cg__is(x, CG_OP_const) || can_fold(x, constant);
        for (int k = 0; k < x->nin && !constant[x->id]; k++)
            wanted[x->in[k]->id] = true;
    }
    for (int i = 0; i < n && ok; i++)
        wanted[roots[i]->id] = true;
    for (int i = 0; i < nodes->n && ok; i++) {
        cg_node *x = nodes->at[i];
        if (constant[x->id] && wanted[x->id] && !(x->op->props & CG_LEAF) && is_worth(x))
            ok = CG_PUSH(out, x);
    }
    cg__free(constant);
    return ok;
}

static bool replace_all(cg_graph *g, cg_node **roots, int n, const cg_node_vec *old, cg_node *const *new_)
{
    cg_map memo = { 0 };
    bool ok = true;
    for (int i = 0; i < old->n && ok; i++)
        ok = cg__map_put(&memo, cg__key(old->at[i]), cg__key(new_[i])) && cg__site_copy(new_[i], old->at[i]);
    ok = ok && cg__clone_all(g, roots, roots, n, &memo);
    cg__map_free(&memo);
    return ok;
}

int cg__rewrite_constants(cg_graph *g, cg_node **roots, int n, cg_evaluator evaluate, cg_error *err)
{
    cg_node_vec nodes = { 0 }, old = { 0 };
    bool ok = !evaluate || (cg__reach_values(roots, n, &nodes) && find(g, &nodes, roots, n, &old));
    cg_node **made = ok && old.n ? cg__zalloc((size_t)old.n * sizeof *made) : NULL;
    int rc = ok && (made || !old.n) ? CG_OK : CG_ENOMEM;
    if (made)
        rc = evaluate(g, old.at, old.n, made, err);
    if (rc == CG_OK && made && !replace_all(g, roots, n, &old, made))
        rc = CG_ENOMEM;
    cg__free(made);
    CG_VEC_FREE(&nodes);
    CG_VEC_FREE(&old);
    if (rc == CG_ENOMEM)
        return cg__fail(err, CG_ENOMEM, "rewriting: no memory");
    *err = rc == CG_OK ? *err : (cg_error){ 0 };     /* what cannot be computed now (an integer divided by zero) fails at the call, as written */
    return CG_OK;
}
