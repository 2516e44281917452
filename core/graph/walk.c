// SPDX-License-Identifier: MIT
/* Walks over graphs: what roots reach, copies into another graph. Nothing recurses.
 *
 * The edges of a node are its inputs and the dim nodes of its type (a dim of an input refers back to the input itself,
 * which a walk has then already seen).
 */
#include "core/graph/ir.h"

/* at[id] is the node once it was seen: at the end that is the topological order, without sorting. */
static bool visit(cg_node *n, cg_node **at, cg_node_vec *todo)
{
    if (!n || at[n->id])
        return true;
    at[n->id] = n;
    return CG_PUSH(todo, n);
}

static bool visit_edges(const cg_node *n, bool bodies, cg_node **at, cg_node_vec *todo)
{
    bool ok = true;
    for (int k = 0; k < (bodies ? n->nin : cg__nvalues(n)) && ok; k++)
        ok = visit(n->in[k], at, todo);
    for (int k = 0; k < n->type.rank && ok; k++)
        ok = visit(n->type.dim[k].sym, at, todo);
    return ok;
}

static bool reach(cg_node *const *roots, int n, bool bodies, const cg_map *stop, cg_node_vec *out)
{
    uint64_t v;
    int top = 0;
    for (int i = 0; i < n; i++)
        top = roots[i] && roots[i]->graph->count > top ? roots[i]->graph->count : top;
    cg_node **at = cg__zalloc((size_t)top * sizeof *at);
    bool ok = at != NULL;
    for (int i = 0; i < n && ok; i++)
        ok = visit(roots[i], at, out);
    for (int i = 0; ok && i < out->n; i++)
        ok = (stop && cg__map_get(stop, cg__key(out->at[i]), &v)) || visit_edges(out->at[i], bodies, at, out);
    for (int i = 0, k = 0; ok && i < top; i++)
        if (at[i])
            out->at[k++] = at[i];
    cg__free(at);
    return ok;
}

bool cg__reach(cg_node *const *roots, int n, cg_node_vec *out) { return reach(roots, n, true, NULL, out); }
bool cg__reach_values(cg_node *const *roots, int n, cg_node_vec *out) { return reach(roots, n, false, NULL, out); }

static cg_node *copied(cg_map *memo, const cg_node *n)
{
    uint64_t v;
    return cg__map_get(memo, cg__key(n), &v) ? (cg_node *)(uintptr_t)v : NULL;
}

static cg_node *copy_leaf(cg_graph *g, cg_node *n)
{
    if (n->graph == g)
        return n;
    cg_type t = n->type;
    int64_t shape[CG_MAX_RANK];
    for (int i = 0; i < t.rank; i++)
        shape[i] = t.dim[i].sym ? CG_ANY : t.dim[i].n;
    if (cg__is(n, CG_OP_input))
        return cg_input(g, NULL, t.dtype, shape, t.rank);
    if (cg__is(n, CG_OP_shared))
        return cg__leaf(g, CG_OP_shared, &t, n->array, ++g->uids);
    return t.weak ? cg_weak(g, *(const double *)(const void *)n->attr[0].at)
                  : cg_constant(g, t.dtype, shape, t.rank, n->attr[0].at);
}

cg_node *cg__clone(cg_graph *g, cg_node *root, cg_map *memo)
{
    cg_node_vec nodes = { 0 };
    const bool other = root->graph != g;
    bool ok = copied(memo, root) || reach(&root, 1, other, memo, &nodes);
    for (int i = 0; i < nodes.n && ok; i++) {
        cg_node *n = nodes.at[i], *in[CG_MAX_RANK * 4], *made;
        if (copied(memo, n))
            continue;
        cg_node **list = n->nin <= CG_LEN(in) ? in : cg__zalloc((size_t)n->nin * sizeof *list);
        for (int k = 0; list && k < n->nin; k++)
            list[k] = other || k < cg__nvalues(n) ? copied(memo, n->in[k]) : n->in[k];
        const cg_node *inherit = g->inherit;
        const bool deriving = g->deriving;
        g->inherit = n;
        g->deriving = false;
        made = !list ? NULL : n->op->props & CG_LEAF ? copy_leaf(g, n) : cg__node(g, cg__op_id(n), list, n->nin, n->attr);
        g->inherit = inherit;
        g->deriving = deriving;
        if (list != in)
            cg__free(list);
        ok = made && (made == n || cg__site_copy(made, n)) && cg__map_set(memo, cg__key(n), cg__key(made));
    }
    CG_VEC_FREE(&nodes);
    if (!ok && !g->error.code)
        cg__graph_fail(g, CG_ENOMEM, "no memory to copy an expression");
    return ok ? copied(memo, root) : NULL;
}
