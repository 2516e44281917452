// SPDX-License-Identifier: MIT
/* Rewriting a graph: each phase sweeps from the leaves up, a bounded number of times, until nothing fires.
 *
 * Nodes never change: a sweep walks the reached nodes by id and notes for each what stands for it now (the memo), rebuilt
 * over new operands, then rewritten by the rules of its op. A replacement has the type of what it replaces. Integer scalars,
 * which are the sizes inside types, are rebuilt but not rewritten: they are in simplest form already (cg__int).
 */
#include "core/graph/build.h"
#include "core/rewrite/rewrite.h"

enum { MAX_SWEEPS = 3, MAX_FIRINGS = 8 };

typedef struct sweep { cg_graph *g; cg_phase phase; cg_map memo; bool changed; } sweep;

static _Thread_local struct { cg_rewrite_log log; void *user; } listener;

void cg__rewrite_set_log(cg_rewrite_log log, void *user)
{
    listener.log = log;
    listener.user = user;
}

/* What a rule tries may fail; neither the graph nor the thread shall remember, except that memory is out. */
typedef struct attempt { cg_error graph, thread; const cg_node *inherit; } attempt;

static attempt begin(cg_graph *g, const cg_node *for_node)
{
    const attempt a = { g->error, *cg__thread_error(), g->inherit };
    g->error = (cg_error){ 0 };
    g->inherit = for_node;
    return a;
}

static cg_node *end(cg_graph *g, const attempt *a, cg_node *result)
{
    const bool memory = g->error.code == CG_ENOMEM;
    if (!memory || a->graph.code)
        g->error = a->graph;
    if (!memory)
        *cg__thread_error() = a->thread;
    g->inherit = a->inherit;
    return result;
}

/* ---- types */

static cg_node *now(const cg_map *memo, cg_node *n)
{
    uint64_t v;
    return n && memo && cg__map_get(memo, cg__key(n), &v) ? (cg_node *)(uintptr_t)v : n;
}

/* A dim of an old type, with its size as it is now. */
static cg_dim_t dim_now(const cg_map *memo, cg_dim_t d)
{
    d.sym = now(memo, d.sym);
    return d;
}

static bool same_shape(const cg_map *memo, const cg_node *old, const cg_node *new_)
{
    bool same = old->type.rank == new_->type.rank;
    for (int i = 0; same && i < old->type.rank; i++)
        same = cg__dim_same(dim_now(memo, cg__dim_of(old, i)), cg__dim_of(new_, i));
    return same;
}

/* n with the type of old, or NULL. A bare number takes old's dtype. */
static cg_node *with_type(cg_graph *g, const cg_map *memo, const cg_node *old, cg_node *n)
{
    cg_node *dims[CG_MAX_RANK];
    n = cg_cast(n, old->type.dtype);
    if (!n || same_shape(memo, old, n))
        return n;
    for (int i = 0; i < old->type.rank; i++)
        dims[i] = cg__dim_node(g, dim_now(memo, cg__dim_of(old, i)));
    n = cg_broadcast_to(n, dims, old->type.rank);
    return n && same_shape(memo, old, n) ? n : NULL;
}

/* ---- one node */

static cg_node *no_memory(cg_graph *g)
{
    return cg__graph_fail(g, CG_ENOMEM, "rewriting: no memory");
}

static cg_node *fire(cg_graph *g, const cg_map *memo, int rule, cg_node *n)
{
    const attempt a = begin(g, n);
    cg_node *r = cg__rule_apply(g, rule, n);
    r = end(g, &a, r ? with_type(g, memo, n, r) : NULL);
    if (!r || r == n)
        return NULL;
    return r->op->props & CG_LEAF || cg__site_copy(r, n) ? r : no_memory(g);
}

cg_node *cg__rule_fire(cg_graph *g, int i, cg_node *n)
{
    return fire(g, NULL, i, n);
}

static cg_node *fire_any(sweep *s, cg_node *n)
{
    const cg_rule *rows;
    cg__rules(&rows);
    for (int i = cg__rule_first(cg__op_id(n)); i >= 0; i = cg__rule_next(i)) {
        if (rows[i].phase != s->phase || rows[i].exact == CG_EXACT_UNSAFE)
            continue;
        cg_node *r = fire(s->g, NULL, i, n);
        if (!r)
            continue;
        if (listener.log)
            listener.log(listener.user, n, r, rows[i].name);
        return r;
    }
    return NULL;
}

static cg_node *rebuild(sweep *s, cg_node *n)
{
    cg_node *few[CG_MAX_RANK * 4], **in = n->nin <= CG_LEN(few) ? few : cg__zalloc((size_t)n->nin * sizeof *in);
    bool same = true;
    for (int k = 0; in && k < n->nin; k++) {
        in[k] = now(&s->memo, n->in[k]);
        same &= in[k] == n->in[k];
    }
    cg_node *r = n;
    if (!in)
        r = no_memory(s->g);
    else if (!same) {
        const cg_node *inherit = s->g->inherit;
        s->g->inherit = n;
        r = cg__build(s->g, cg__op_id(n), in, n->nin, n->attr);
        r = r ? with_type(s->g, &s->memo, n, r) : NULL;
        s->g->inherit = inherit;
        if (r && !cg__site_copy(r, n))
            r = no_memory(s->g);
    }
    if (in != few)
        cg__free(in);
    return r;
}

static bool is_size(const cg_node *n)
{
    return n->type.rank == 0 && n->type.dtype == CG_I64;
}

static bool rewrite_node(sweep *s, cg_node *n)
{
    cg_node *r = n->op->props & CG_LEAF ? n : rebuild(s, n), *next;
    for (int i = 0; i < MAX_FIRINGS && r && !is_size(r) && !s->g->error.code && (next = fire_any(s, r)); i++)
        r = next;
    if (!r || s->g->error.code)
        return false;
    s->changed |= r != n;
    return r == n || cg__map_put(&s->memo, cg__key(n), cg__key(r));
}

/* ---- the whole graph */

static bool sweep_once(cg_graph *g, cg_phase phase, cg_node **roots, int n, bool *changed)
{
    sweep s = { .g = g, .phase = phase };
    cg_node_vec nodes = { 0 };
    bool ok = cg__reach(roots, n, &nodes);
    for (int i = 0; i < nodes.n && ok; i++)
        ok = rewrite_node(&s, nodes.at[i]);
    for (int i = 0; i < n && ok; i++)
        roots[i] = now(&s.memo, roots[i]);
    *changed = s.changed;
    CG_VEC_FREE(&nodes);
    cg__map_free(&s.memo);
    return ok;
}

static int run_phase(cg_graph *g, cg_phase phase, cg_node **roots, int n, cg_error *err)
{
    bool changed = true;
    for (int i = 0; i < MAX_SWEEPS && changed; i++)
        if (!sweep_once(g, phase, roots, n, &changed))
            return g->error.code ? cg__fail(err, g->error.code, "%s", g->error.text) : cg__fail(err, CG_ENOMEM, "rewriting: no memory");
    return CG_OK;
}

/* Loops are taken apart once their bodies are in simplest form; what leaves a body may then be simplified with what is around it. */
int cg__rewrite(cg_graph *g, cg_node **roots, int n, cg_error *err)
{
    static const cg_phase before[] = { CG_PHASE_CANONICAL, CG_PHASE_STABLE }, after[] = { CG_PHASE_CANONICAL, CG_PHASE_FAST };
    int rc = g->error.code ? cg__fail(err, g->error.code, "%s", g->error.text) : CG_OK;
    for (int i = 0; i < CG_LEN(before) && rc == CG_OK; i++)
        rc = run_phase(g, before[i], roots, n, err);
    if (rc == CG_OK)
        rc = cg__rewrite_scans(g, roots, n, err);
    for (int i = 0; i < CG_LEN(after) && rc == CG_OK; i++)
        rc = run_phase(g, after[i], roots, n, err);
    return rc;
}
