// SPDX-License-Identifier: MIT
/* Walks over graphs: what roots reach, copies into another graph. Nothing recurses.
 *
 * The edges of a node are its inputs and the dim nodes of its type (a dim of an input refers back to the input itself,
 * which a walk has then already seen).
 */
#include "core/graph/ir.h"

static int by_id(const void *a, const void *b)
{
    const cg_node *x = *(cg_node *const *)a, *y = *(cg_node *const *)b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool visit(cg_node *n, cg_map *seen, cg_node_vec *out)
{
    uint64_t v;
    return !n || cg__map_get(seen, cg__key(n), &v) || (cg__map_put(seen, cg__key(n), 1) && CG_PUSH(out, n));
}

bool cg__reach(cg_node *const *roots, int n, cg_node_vec *out)
{
    cg_map seen = { 0 };
    bool ok = true;
    for (int i = 0; i < n && ok; i++)
        ok = visit(roots[i], &seen, out);
    for (int i = 0; i < out->n && ok; i++) {
        const cg_node *at = out->at[i];
        for (int k = 0; k < at->nin && ok; k++)
            ok = visit(at->in[k], &seen, out);
        for (int k = 0; k < at->type.rank && ok; k++)
            ok = visit(at->type.dim[k].sym, &seen, out);
    }
    cg__map_free(&seen);
    if (ok && out->n)
        qsort(out->at, (size_t)out->n, sizeof *out->at, by_id);
    return ok;
}

static cg_node *copied(cg_map *memo, const cg_node *n)
{
    uint64_t v;
    return cg__map_get(memo, cg__key(n), &v) ? (cg_node *)(uintptr_t)v : NULL;
}

static cg_node *copy_leaf(cg_graph *g, const cg_node *n)
{
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
    cg_node *result = copied(memo, root);
    bool ok = result || cg__reach(&root, 1, &nodes);
    for (int i = 0; i < nodes.n && ok; i++) {
        cg_node *n = nodes.at[i], *in[CG_MAX_RANK * 4], *made;
        if (copied(memo, n))
            continue;
        cg_node **list = n->nin <= CG_LEN(in) ? in : cg__zalloc((size_t)n->nin * sizeof *list);
        for (int k = 0; list && k < n->nin; k++)
            list[k] = copied(memo, n->in[k]);
        g->inherit = n;
        made = !list ? NULL : n->op->props & CG_LEAF ? copy_leaf(g, n) : cg__node(g, cg__op_id(n), list, n->nin, n->attr);
        g->inherit = NULL;
        if (list != in)
            cg__free(list);
        ok = made && cg__site_copy(made, n) && cg__map_set(memo, cg__key(n), cg__key(made));
    }
    CG_VEC_FREE(&nodes);
    return ok ? copied(memo, root) : NULL;
}
