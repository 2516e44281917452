// SPDX-License-Identifier: MIT
/* Walks over graphs: what roots reach, copies into another graph, the verifier. Nothing recurses.
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

static bool reach(cg_node *const *roots, int n, bool bodies, const cg_map *stop, cg_node_vec *out)
{
    uint64_t v;
    cg_map seen = { 0 };
    bool ok = true;
    for (int i = 0; i < n && ok; i++)
        ok = visit(roots[i], &seen, out);
    for (int i = 0; i < out->n && ok; i++) {
        const cg_node *at = out->at[i];
        if (stop && cg__map_get(stop, cg__key(at), &v))
            continue;
        for (int k = 0; k < (bodies ? at->nin : cg__nvalues(at)) && ok; k++)
            ok = visit(at->in[k], &seen, out);
        for (int k = 0; k < at->type.rank && ok; k++)
            ok = visit(at->type.dim[k].sym, &seen, out);
    }
    cg__map_free(&seen);
    if (ok && out->n)
        qsort(out->at, (size_t)out->n, sizeof *out->at, by_id);
    return ok;
}

bool cg__reach(cg_node *const *roots, int n, cg_node_vec *out) { return reach(roots, n, true, NULL, out); }
bool cg__reach_values(cg_node *const *roots, int n, cg_node_vec *out) { return reach(roots, n, false, NULL, out); }

static cg_node *copied(cg_map *memo, const cg_node *n)
{
    uint64_t v;
    return cg__map_get(memo, cg__key(n), &v) ? (cg_node *)(uintptr_t)v : NULL;
}

static void copy_side(cg_graph *g, cg_node *to, const cg_node *from)
{
    uint64_t v, have;
    if (*cg_node_name(from))
        cg_name(to, cg_node_name(from));
    if (cg__map_get(&from->graph->sites, cg__key(from), &v) && !cg__map_get(&g->sites, cg__key(to), &have)) {
        const char *site = cg__arena_str(&g->arena, (const char *)(uintptr_t)v);
        if (site)
            cg__map_set(&g->sites, cg__key(to), cg__key(site));
    }
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
        made = !list ? NULL : n->op->props & CG_LEAF ? copy_leaf(g, n) : cg__node(g, cg__op_id(n), list, n->nin, n->attr);
        if (list != in)
            cg__free(list);
        ok = made && cg__map_set(memo, cg__key(n), cg__key(made));
        if (ok && made != n)
            copy_side(g, made, n);
    }
    CG_VEC_FREE(&nodes);
    return ok ? copied(memo, root) : NULL;
}

static const char *broken(const cg_node *n)
{
    for (int k = 0; k < n->nin; k++)
        if (!n->in[k] || n->in[k]->graph != n->graph || n->in[k]->id >= n->id)
            return "an input is missing, foreign or younger";
    for (int k = 0; k < n->type.rank; k++) {
        const cg_node *d = n->type.dim[k].sym;
        if (d && (d->type.rank != 0 || d->type.dtype != CG_I64 || d->graph != n->graph))
            return "a dim is not an i64 scalar of the graph";
        if (!d && n->type.dim[k].n < 0)
            return "a known dim is negative";
    }
    if (n->type.weak && !cg__is(n, CG_OP_const))
        return "only a constant may be weak";
    return NULL;
}

CG_API int cg_graph_verify(const cg_graph *g)
{
    cg_error *err = cg__thread_error();
    int id = 0;
    for (const cg_node *n = g ? g->first : NULL; n; n = n->next, id++) {
        const char *why = n->id != id ? "its id is out of order" : broken(n);
        if (why) {
            *err = (cg_error){ 0 };
            return cg__fail(err, CG_EINVAL, "cg_graph_verify: node %d (%s): %s", n->id, n->op->name, why);
        }
    }
    return CG_OK;
}
