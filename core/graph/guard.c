// SPDX-License-Identifier: MIT
/* Guards, found in one walk from the roots down: users come before what they read. */
#include "core/graph/guard.h"

static const cg_guard unseen;            /* of a node that no user was met of yet */

static const cg_guard *needed_where(const cg_guards *q, const cg_node *n)
{
    const cg_guard *g = q->of && n->id < q->n ? q->of[n->id] : NULL;
    return g == &unseen ? NULL : g;
}

const cg_guard *cg__guard_of(const cg_guards *q, const cg_node *n)
{
    return needed_where(q, cg__is(n, CG_OP_get) ? n->in[0] : n);
}

const cg_guard *cg__guard_common(const cg_guard *a, const cg_guard *b)
{
    while (a != b) {
        if (!a || !b)
            return NULL;
        const int deeper = a->depth - b->depth;
        a = deeper >= 0 ? a->outer : a;
        b = deeper <= 0 ? b->outer : b;
    }
    return a;
}

/* The one guard that is `outer` and one condition more. */
static const cg_guard *guard(cg_guards *q, const cg_guard *outer, cg_node *cond, bool side)
{
    const uint64_t key[3] = { cg__key(outer), cg__key(cond), side }, h = cg__hash(key, sizeof key, 1);
    uint64_t v;
    for (size_t it = 0; cg__map_next(&q->known, h, &it, &v);) {
        const cg_guard *have = (const cg_guard *)(uintptr_t)v;
        if (have->outer == outer && have->cond == cond && have->side == side)
            return have;
    }
    cg_guard *made = cg__arena(&q->arena, sizeof *made);
    if (!made || !cg__map_put(&q->known, h, cg__key(made)))
        return NULL;
    *made = (cg_guard){ outer, cond, side, outer ? outer->depth + 1 : 1 };
    return made;
}

/* That under which n, which is needed there, needs its operand k. */
static bool side(cg_guards *q, const cg_node *n, int k, const cg_guard **where)
{
    if (!q->of || !cg__is(n, CG_OP_ifelse) || k == 0)
        return true;
    *where = guard(q, *where, n->in[0], k == 1);
    return *where != NULL;
}

bool cg__guard_read(cg_guards *q, const cg_node *n, int k, const cg_guard **out)
{
    *out = cg__guard_of(q, n);
    return side(q, n, k, out);
}

static void need(cg_guards *q, const cg_node *n, const cg_guard *where)
{
    const cg_guard *have = q->of[n->id];
    q->of[n->id] = have == &unseen ? where : cg__guard_common(have, where);
}

/* Sizes are needed where what has them is. Those of a leaf are made of the leaf. */
static bool hand_down(cg_guards *q, const cg_node *n)
{
    bool ok = true;
    for (int k = 0; k < cg__nvalues(n) && ok; k++) {
        const cg_guard *where = needed_where(q, n);
        if ((ok = side(q, n, k, &where)))
            need(q, n->in[k], where);
    }
    for (int k = 0; k < n->type.rank && !(n->op->props & CG_LEAF); k++)
        if (n->type.dim[k].sym)
            need(q, n->type.dim[k].sym, needed_where(q, n));
    return ok;
}

bool cg__guards_find(cg_guards *q, const cg_node_vec *nodes, cg_node *const *roots, int nroots, cg_node *const *always, int nalways)
{
    const cg_graph *g = nodes->n ? nodes->at[0]->graph : NULL;
    if (!g || !g->branches)
        return true;
    q->n = g->count;
    q->of = cg__zalloc((size_t)q->n * sizeof *q->of);
    for (int i = 0; q->of && i < q->n; i++)
        q->of[i] = &unseen;
    for (int i = 0; q->of && i < nroots; i++)
        q->of[roots[i]->id] = NULL;
    for (int i = 0; q->of && i < nalways; i++)
        q->of[always[i]->id] = NULL;
    bool ok = q->of != NULL;
    for (int i = nodes->n - 1; i >= 0 && ok; i--)
        ok = hand_down(q, nodes->at[i]);
    return ok;
}

void cg__guards_free(cg_guards *q)
{
    cg__arena_free(&q->arena);
    cg__map_free(&q->known);
    cg__free(q->of);
    *q = (cg_guards){ 0 };
}

/* ---- order */

typedef struct place { cg_node *n; int next; } place;        /* next: of its operands, then its sizes */
typedef struct ordering { const cg_guards *q; bool *done; cg_node_vec out; CG_VEC(place) stack; } ordering;

static cg_node *part(const cg_node *n, int k)
{
    const int nvalues = cg__nvalues(n);
    return k < nvalues ? n->in[k] : k < nvalues + n->type.rank ? n->type.dim[k - nvalues].sym : NULL;
}

/* n, and before it what it needs. */
static bool put(ordering *o, cg_node *n)
{
    bool ok = CG_PUSH(&o->stack, (place){ n, 0 });
    while (o->stack.n && ok) {
        place *at = &o->stack.at[o->stack.n - 1];
        cg_node *here = at->n;
        if (o->done[here->id]) {
            o->stack.n--;
        } else if (at->next == cg__nvalues(here) + ((here->op->props & CG_LEAF) ? 0 : here->type.rank)) {
            o->done[here->id] = true;
            o->stack.n--;
            ok = CG_PUSH(&o->out, here);
        } else {
            cg_node *in = part(here, at->next++);
            ok = !in || o->done[in->id] || CG_PUSH(&o->stack, (place){ in, 0 });
        }
    }
    return ok;
}

bool cg__guards_order(const cg_guards *q, cg_node_vec *nodes)
{
    if (!q->of)
        return true;
    ordering o = { .q = q, .done = cg__zalloc((size_t)q->n) };
    bool ok = o.done != NULL;
    for (int i = 0; i < nodes->n && ok; i++)
        if (!cg__guard_of(q, nodes->at[i]))
            ok = put(&o, nodes->at[i]);
    CG_VEC_FREE(&o.stack);
    cg__free(o.done);
    if (ok) {
        CG_VEC_FREE(nodes);
        *nodes = o.out;
    } else {
        CG_VEC_FREE(&o.out);
    }
    return ok;
}
