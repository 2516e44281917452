// SPDX-License-Identifier: MIT
/* Reverse-mode differentiation: one grad call a node, from the cost down by id.
 *
 * Only nodes on a path from a wanted variable to the cost are asked. Contributions to a node are summed in the order in
 * which its users are visited (descending ids), so the result is deterministic. Derivative nodes inherit the site of the
 * node whose gradient they belong to.
 */
#include "core/graph/ir.h"

typedef struct walk {
    cg_graph *g;
    cg_node_vec nodes;
    cg_map grads;                        /* node -> gradient so far */
    cg_map wanted;                       /* nodes through which a wanted variable reaches the cost */
} walk;

static bool is_wanted(const walk *w, const cg_node *n)
{
    uint64_t v;
    return cg__map_get(&w->wanted, cg__key(n), &v);
}

static cg_node *grad_of(const walk *w, const cg_node *n)
{
    uint64_t v;
    return cg__map_get(&w->grads, cg__key(n), &v) ? (cg_node *)(uintptr_t)v : NULL;
}

static bool mark_wanted(walk *w, cg_node *const *wrt, int n)
{
    for (int i = 0; i < n; i++)
        if (!is_wanted(w, wrt[i]) && !cg__map_put(&w->wanted, cg__key(wrt[i]), 1))
            return false;
    for (int i = 0; i < w->nodes.n; i++) {
        const cg_node *at = w->nodes.at[i];
        bool reaches = is_wanted(w, at);
        for (int k = 0; k < at->nin && !reaches; k++)
            if (is_wanted(w, at->in[k]) && !cg__is(at, CG_OP_dim)) {
                reaches = true;
                if (!cg__map_put(&w->wanted, cg__key(at), 1))
                    return false;
            }
    }
    return true;
}

static int add_grad(walk *w, cg_node *n, cg_node *gin)
{
    cg_node *have = grad_of(w, n);
    if (!gin)
        return CG_OK;
    cg_node *sum = have ? cg_add(have, gin) : gin;
    return sum && cg__map_set(&w->grads, cg__key(n), cg__key(sum)) ? CG_OK : CG_ENOMEM;
}

/* Asks node n, whose gradient is complete, for those of its inputs. */
static int step(walk *w, cg_node *n)
{
    cg_node *gout = grad_of(w, n);
    if (!gout || !n->nin || !is_wanted(w, n))
        return CG_OK;
    if (!n->op->grad) {
        cg__graph_fail(w->g, CG_EUNSUPPORTED, "cg_grad: %s has no derivative", cg__label(n));
        return CG_EUNSUPPORTED;
    }
    cg_node **gin = cg__zalloc((size_t)n->nin * sizeof *gin);
    bool *need = cg__zalloc((size_t)n->nin * sizeof *need);
    int rc = gin && need ? CG_OK : CG_ENOMEM;
    for (int k = 0; k < n->nin && rc == CG_OK; k++)
        need[k] = is_wanted(w, n->in[k]);
    w->g->inherit = n;
    w->g->deriving = true;
    if (rc == CG_OK)
        rc = n->op->grad(n, gout, need, gin);
    for (int k = 0; k < n->nin && rc == CG_OK; k++)
        if (need[k] && gin[k] != CG_ZERO)
            rc = gin[k] ? add_grad(w, n->in[k], gin[k]) : w->g->error.code ? (int)w->g->error.code : CG_OK;
    w->g->inherit = NULL;
    w->g->deriving = false;
    cg__free(gin);
    cg__free(need);
    return rc;
}

static int check(cg_node *cost, cg_node *const *wrt, int n, int nout)
{
    cg_graph *g = cost->graph;
    if (n != nout)
        return cg__graph_fail(g, CG_EINVAL, "cg_grad: %d variables but %d places for gradients", n, nout), CG_EINVAL;
    if (cost->type.rank != 0 || !cg__is_float(cost->type.dtype))
        return cg__graph_fail(g, CG_ESHAPE, "cg_grad: the cost must be a float scalar, is %s; take its mean or sum", cg__label(cost)), CG_ESHAPE;
    for (int i = 0; i < n; i++)
        if (!cg__is_float(wrt[i]->type.dtype))
            return cg__graph_fail(g, CG_EDTYPE, "cg_grad: %s is not of floats and has no derivative", cg__label(wrt[i])), CG_EDTYPE;
    return CG_OK;
}

static int deliver(const walk *w, cg_node *const *wrt, int n, cg_node **const *out)
{
    for (int i = 0; i < n; i++) {
        cg_node *dims[CG_MAX_RANK], *g = grad_of(w, wrt[i]);
        const cg_type *t = &wrt[i]->type;
        for (int k = 0; k < t->rank; k++)
            dims[k] = cg__dim_node(w->g, t->dim[k]);
        *out[i] = g ? g : cg_broadcast_to(cg__splat(w->g, t->dtype, 0), dims, t->rank);
        if (!*out[i])
            return w->g->error.code ? (int)w->g->error.code : CG_ENOMEM;
    }
    return CG_OK;
}

CG_API int cg_grad(cg_node *cost, cg_node *const *wrt, int n, cg_node **const *out, int nout)
{
    CG_BUILDER(cg_node_graph(cost));
    for (int i = 0; i < nout; i++)
        *out[i] = NULL;
    for (int i = -1; i < n; i++) {
        const cg_node *x = i < 0 ? cost : wrt[i];
        if (!x || (cost && x->graph != cost->graph))
            return CG_EINVAL;
    }
    int rc = check(cost, wrt, n, nout);
    if (rc < 0)
        return rc;
    walk w = { .g = cost->graph };
    rc = cg__reach(&cost, 1, &w.nodes) && mark_wanted(&w, wrt, n) &&
                 cg__map_set(&w.grads, cg__key(cost), cg__key(cg__splat(w.g, cost->type.dtype, 1)))
             ? CG_OK
             : CG_ENOMEM;
    for (int i = w.nodes.n - 1; i >= 0 && rc == CG_OK; i--)
        rc = step(&w, w.nodes.at[i]);
    if (rc == CG_OK)
        rc = deliver(&w, wrt, n, out);
    if (rc < 0 && !w.g->error.code)
        cg__graph_fail(w.g, (cg_status)rc, "cg_grad: failed: %s", cg_status_name((cg_status)rc));
    CG_VEC_FREE(&w.nodes);
    cg__map_free(&w.grads);
    cg__map_free(&w.wanted);
    return rc;
}
