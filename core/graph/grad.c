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
    int count;                           /* ids of nodes that are walked are below it */
    void **grads;                        /* by id: the gradient so far; of a tuple an array of one an output, in the arena */
    bool *wanted;                        /* by id: through which a wanted variable reaches a root */
    cg_arena arena;
} walk;

static bool is_wanted(const walk *w, const cg_node *n) { return n->id < w->count && w->wanted[n->id]; }
static cg_node *grad_of(const walk *w, const cg_node *n) { return n->id < w->count ? w->grads[n->id] : NULL; }

static void mark_wanted(walk *w, cg_node *const *wrt, int n)
{
    for (int i = 0; i < n; i++)
        w->wanted[wrt[i]->id] = true;
    for (int i = 0; i < w->nodes.n; i++) {
        const cg_node *at = w->nodes.at[i];
        for (int k = 0; k < cg__nvalues(at) && !cg__is(at, CG_OP_dim); k++)
            w->wanted[at->id] |= w->wanted[at->in[k]->id];
    }
}

static cg_node *sum_of(cg_node *have, cg_node *more)
{
    return have ? cg_add(have, more) : more;
}

static int add_grad(walk *w, cg_node *n, cg_node *gin)
{
    cg_node *sum = gin ? sum_of(grad_of(w, n), gin) : NULL;
    if (sum)
        w->grads[n->id] = sum;
    return !gin || sum ? CG_OK : CG_ENOMEM;
}

/* What reaches output `get` of a tuple is kept beside that of its other outputs. */
static int add_to_tuple(walk *w, const cg_node *get)
{
    cg_node *tuple = get->in[0], **list = (cg_node **)grad_of(w, tuple);
    const int64_t k = get->attr[0].at[0];
    if (!list && !(w->grads[tuple->id] = list = cg__arena(&w->arena, (size_t)tuple->nouts * sizeof *list)))
        return CG_ENOMEM;
    list[k] = sum_of(list[k], grad_of(w, get));
    return list[k] ? CG_OK : CG_ENOMEM;
}

/* Asks n for the gradients of its inputs, given those of its outputs. */
static int ask(walk *w, cg_node *n, cg_node *const *gout)
{
    cg_node **gin = cg__zalloc((size_t)n->nin * sizeof *gin);
    bool *need = cg__zalloc((size_t)n->nin * sizeof *need);
    int rc = gin && need ? CG_OK : CG_ENOMEM;
    for (int k = 0; k < cg__nvalues(n) && rc == CG_OK; k++)
        need[k] = is_wanted(w, n->in[k]);
    const cg_node *inherit = w->g->inherit;
    const bool deriving = w->g->deriving;
    w->g->inherit = n;
    w->g->deriving = true;
    if (rc == CG_OK)
        rc = n->op->grad(n, gout, need, gin);
    for (int k = 0; k < cg__nvalues(n) && rc == CG_OK; k++)
        if (need[k] && gin[k] != CG_ZERO)
            rc = gin[k] ? add_grad(w, n->in[k], gin[k]) : w->g->error.code ? (int)w->g->error.code : CG_OK;
    w->g->inherit = inherit;
    w->g->deriving = deriving;
    cg__free(gin);
    cg__free(need);
    return rc;
}

/* Node n, whose gradient is complete, hands it on. */
static int step(walk *w, cg_node *n)
{
    cg_node *gout = grad_of(w, n);
    if (!gout || !cg__nvalues(n) || !is_wanted(w, n))
        return CG_OK;
    if (cg__is(n, CG_OP_get))
        return add_to_tuple(w, n);
    if (!n->op->grad) {
        cg__graph_fail(w->g, CG_EUNSUPPORTED, "cg_grad: %s has no derivative", cg__label(n));
        return CG_EUNSUPPORTED;
    }
    return ask(w, n, n->nouts ? (cg_node **)gout : &gout);
}

int cg__backward(cg_node *const *roots, cg_node *const *seeds, int nroots, cg_node *const *wrt, int n, cg_node **out)
{
    walk w = { .g = roots[0]->graph, .count = roots[0]->graph->count };
    w.grads = cg__zalloc((size_t)w.count * sizeof *w.grads);
    w.wanted = cg__zalloc((size_t)w.count);
    int rc = w.grads && w.wanted && cg__reach_values(roots, nroots, &w.nodes) ? CG_OK : CG_ENOMEM;
    if (rc == CG_OK)
        mark_wanted(&w, wrt, n);
    for (int i = 0; i < nroots && rc == CG_OK; i++)
        rc = seeds[i] ? add_grad(&w, roots[i], seeds[i]) : CG_OK;
    for (int i = w.nodes.n - 1; i >= 0 && rc == CG_OK; i--)
        rc = step(&w, w.nodes.at[i]);
    for (int i = 0; i < n; i++)
        out[i] = rc == CG_OK ? grad_of(&w, wrt[i]) : NULL;
    if (rc < 0 && !w.g->error.code)
        cg__graph_fail(w.g, (cg_status)rc, "cg_grad: failed: %s", cg_status_name((cg_status)rc));
    CG_VEC_FREE(&w.nodes);
    cg__free(w.grads);
    cg__free(w.wanted);
    cg__arena_free(&w.arena);
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

/* The gradient with the variable's type; zeros where it does not reach the cost. */
static cg_node *full(cg_node *g, const cg_node *wrt)
{
    cg_node *dims[CG_MAX_RANK];
    const cg_type *t = &wrt->type;
    for (int k = 0; k < t->rank; k++)
        dims[k] = cg__dim_node(wrt->graph, t->dim[k]);
    return g ? g : cg_broadcast_to(cg__splat(wrt->graph, t->dtype, 0), dims, t->rank);
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
    cg_node **grads = cg__zalloc((size_t)(n + 1) * sizeof *grads), *one = cg__splat(cost->graph, cost->type.dtype, 1);
    rc = grads && one ? cg__backward(&cost, &one, 1, wrt, n, grads) : CG_ENOMEM;
    for (int i = 0; i < n && rc == CG_OK; i++)
        if (!(*out[i] = full(grads[i], wrt[i])))
            rc = cost->graph->error.code ? (int)cost->graph->error.code : CG_ENOMEM;
    if (rc < 0 && !cost->graph->error.code)
        cg__graph_fail(cost->graph, (cg_status)rc, "cg_grad: failed: %s", cg_status_name((cg_status)rc));
    cg__free(grads);
    return rc;
}
