// SPDX-License-Identifier: MIT
/* Walks over graphs: what roots reach, copies into another graph. Nothing recurses.
 *
 * The edges of a node are its inputs and the dim nodes of its type (a dim of an input refers back to the input itself,
 * which a walk has then already seen).
 */
#include "core/graph/own.h"

/* at[id] is the node once it was seen: at the end that is the topological order, without sorting. The walk goes down the ids; a size that is
 * younger than who mentions it is behind it, and looked at in between. */
typedef struct walk { cg_node **at; int here; cg_node_vec behind; bool failed; } walk;

static void see(walk *w, cg_node *n)
{
    if (!n || w->at[n->id])
        return;
    w->at[n->id] = n;
    w->failed |= n->id > w->here && !CG_PUSH(&w->behind, n);
}

static void see_edges(walk *w, const cg_node *n, bool bodies)
{
    for (int k = 0; k < (bodies ? n->nin : cg__nvalues(n)); k++)
        see(w, n->in[k]);
    for (int k = 0; k < n->type.rank; k++)
        see(w, n->type.dim[k].sym);
}

static bool stops(const cg_map *stop, const cg_node *n)
{
    return stop && cg__map_has(stop, n);
}

static bool reach(cg_node *const *roots, int n, bool bodies, const cg_map *stop, cg_node_vec *out)
{
    int top = 0;
    for (int i = 0; i < n; i++)
        top = roots[i] && roots[i]->graph->count > top ? roots[i]->graph->count : top;
    walk w = { .at = cg__zalloc((size_t)top * sizeof *w.at), .here = top };
    w.failed = !w.at;
    for (int i = 0; i < n && !w.failed; i++)
        see(&w, roots[i]);
    for (w.here = top - 1; w.here >= 0 && !w.failed; w.here--) {
        cg_node *next = w.at[w.here];
        for (; next && !w.failed; next = w.behind.n ? w.behind.at[--w.behind.n] : NULL)
            if (!stops(stop, next))
                see_edges(&w, next, bodies);
    }
    for (int i = 0; i < top && !w.failed; i++)
        w.failed = w.at[i] && !CG_PUSH(out, w.at[i]);
    cg__free(w.at);
    CG_VEC_FREE(&w.behind);
    return !w.failed;
}

bool cg__reach(cg_node *const *roots, int n, cg_node_vec *out) { return reach(roots, n, true, NULL, out); }
bool cg__reach_values(cg_node *const *roots, int n, cg_node_vec *out) { return reach(roots, n, false, NULL, out); }

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

/* n over operands of g. An operation of the caller's own is told of in its graph only: elsewhere it is what it is made of. */
static cg_node *over(cg_graph *g, const cg_node *n, cg_node *const *in)
{
    if (!cg__is(n, CG_OP_own) || n->graph == g)
        return cg__node(g, cg__op_id(n), in, n->nin, n->attr);
    return n->nouts ? cg__node(g, CG_OP_tuple, in, n->nouts, NULL) : in[0];
}

/* n over the copies of its operands, or n itself; at[id]: the copies so far. */
static cg_node *copy_node(cg_graph *g, cg_node *n, cg_node *const *at)
{
    const bool other = n->graph != g;
    cg_node *in[CG_MAX_RANK * 4], **list = n->nin <= CG_LEN(in) ? in : cg__zalloc((size_t)n->nin * sizeof *list);
    for (int k = 0; list && k < n->nin; k++)
        list[k] = other || k < cg__nvalues(n) ? at[n->in[k]->id] : n->in[k];
    const cg_node *inherit = g->inherit;
    const bool deriving = g->deriving;
    g->inherit = n;
    g->deriving = false;
    cg_node *made = !list ? NULL : n->op->props & CG_LEAF ? copy_leaf(g, n) : over(g, n, list);
    g->inherit = inherit;
    g->deriving = deriving;
    if (list != in)
        cg__free(list);
    return made && (made == n || cg__site_copy(made, n)) ? made : NULL;
}

typedef struct copying { cg_node_vec nodes; cg_node **at; } copying;       /* what roots reach; by id: what stands for it in the other graph */

static bool copy_nodes(cg_graph *g, copying *c, const cg_map *memo)
{
    bool ok = g == c->nodes.at[0]->graph || cg__map_room(&g->consed, (size_t)c->nodes.n);
    for (int i = 0; i < c->nodes.n && ok; i++) {
        cg_node *n = c->nodes.at[i], *have = cg__map_node(memo, n);
        ok = (c->at[n->id] = have ? have : copy_node(g, n, c->at)) != NULL;
    }
    return ok;
}

static bool copy_roots(cg_graph *g, cg_node *const *roots, int n, const cg_map *memo, copying *c)
{
    c->at = cg__zalloc((size_t)roots[0]->graph->count * sizeof(cg_node *));
    return c->at && reach(roots, n, roots[0]->graph != g, memo, &c->nodes) && copy_nodes(g, c, memo);
}

static bool copied_all(cg_graph *g, copying *c, bool ok)
{
    CG_VEC_FREE(&c->nodes);
    cg__free(c->at);
    if (!ok && !g->error.code)
        cg__graph_fail(g, CG_ENOMEM, "no memory to copy an expression");
    return ok;
}

bool cg__clone_all(cg_graph *g, cg_node *const *roots, cg_node **out, int n, const cg_map *memo)
{
    copying c = { 0 };
    const bool ok = !n || copy_roots(g, roots, n, memo, &c);
    for (int i = 0; i < n && ok; i++)
        out[i] = c.at[roots[i]->id];
    return copied_all(g, &c, ok);
}

cg_node *cg__clone(cg_graph *g, cg_node *root, cg_map *memo)
{
    copying c = { 0 };
    cg_node *made = cg__map_node(memo, root);
    if (made)
        return made;
    bool ok = copy_roots(g, &root, 1, memo, &c);
    for (int i = 0; i < c.nodes.n && ok; i++)
        ok = cg__map_set(memo, cg__key(c.nodes.at[i]), cg__key(c.at[c.nodes.at[i]->id]));
    made = ok ? c.at[root->id] : NULL;
    (void)copied_all(g, &c, ok);
    return made;
}
