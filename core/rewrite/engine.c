// SPDX-License-Identifier: MIT
/* Rewriting a graph: each phase sweeps from the leaves up, a bounded number of times, until nothing fires.
 *
 * Nodes never change: a sweep walks the reached nodes by id and notes for each what stands for it now, rebuilt
 * over new operands, then rewritten by the rules of its op. A node on which no rule fires is not tried again in its phase, and a sweep that
 * follows one without changes need not look for nodes and their readers, so a further sweep costs little more than what has changed. A replacement has the type of what it replaces. Integer scalars,
 * which are the sizes inside types, are rebuilt but not rewritten: they are in simplest form already (cg__int).
 */
#include "core/graph/build.h"
#include "core/rewrite/rewrite.h"

enum { MAX_SWEEPS = 3, MAX_FIRINGS = 8 };

/* What holds through one call of cg__rewrite. now[id]: what a node is in this sweep; settled[id]: no rule of this phase fires, now or later. */
typedef struct work {
    cg_graph *g;
    cg_phase phase;
    bool off[CG_RULES_MAX], counts[CG_RULES_MAX];
    int64_t left;                        /* firings until the end, or negative */
    CG_VEC(cg_node *) now;
    CG_VEC(bool) settled;
    CG_VEC(cg_readers) readers;
    cg_uses uses;                        /* the same for rules */
    bool changed;                        /* in this sweep */
    cg_node_vec nodes;                   /* that the roots reach, */
    bool walked;                         /* if this is set: the last sweep changed nothing */
    int changes;                         /* sweeps that changed something, loops that were rewritten */
    int settled_at[CG_PHASE_COUNT];      /* 1 + changes when the phase found nothing more; 0: never */
} work;

static _Thread_local cg_rewriting ways;

void cg__rewrite_how(const cg_rewriting *how)
{
    ways = how ? *how : (cg_rewriting){ 0 };
}

/* ---- what is switched off */

static bool listed(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == n && memcmp(at, name, n) == 0)
            return true;
    return false;
}

bool cg__rule_is_off(const char *name, const char *phase)
{
    const char *env = secure_getenv("CG_RULES_OFF");
    return listed(ways.off, name) || listed(ways.off, phase) || listed(env, name) || listed(env, phase);
}

static void choose_rules(work *w)
{
    const char *stop = secure_getenv("CG_RULES_STOP");
    const cg_rule *rows;
    const int n = cg__rules(&rows);
    for (int i = 0; i < n && i < CG_RULES_MAX; i++) {
        w->off[i] = rows[i].exact == CG_EXACT_UNSAFE || cg__rule_is_off(rows[i].name, cg__phase_names[rows[i].phase]);
        w->counts[i] = cg__rule_counts(i);
    }
    w->left = ways.stop_after ? ways.stop_after : stop ? strtoll(stop, NULL, 10) : -1;
}

/* ---- attempts */

/* What a rule tries may fail; neither the graph nor the thread shall remember, except that memory is out. */
typedef struct attempt { cg_error graph, thread; int nmore, nerrors; const cg_node *inherit; } attempt;

static void begin(attempt *a, cg_graph *g, const cg_node *for_node)
{
    cg__error_copy(&a->graph, &g->error);
    cg__error_copy(&a->thread, cg__thread_error());
    a->nmore = g->nmore;
    a->nerrors = g->nerrors;
    a->inherit = g->inherit;
    cg_graph_clear_error(g);
    g->inherit = for_node;
}

static cg_node *end(cg_graph *g, const attempt *a, cg_node *result)
{
    const bool memory = g->error.code == CG_ENOMEM;
    if (!memory || a->graph.code) {
        cg__error_copy(&g->error, &a->graph);
        g->nmore = a->nmore;
        g->nerrors = a->nerrors;
    }
    if (!memory)
        cg__error_copy(cg__thread_error(), &a->thread);
    g->inherit = a->inherit;
    return result;
}

/* ---- types */

static cg_node *now(const work *w, cg_node *n)
{
    cg_node *r = n && w && n->id < w->now.n ? w->now.at[n->id] : NULL;
    return r ? r : n;
}

/* A dim of an old type, with its size as it is now. */
static cg_dim_t dim_now(const work *w, cg_dim_t d)
{
    d.sym = now(w, d.sym);
    return d;
}

static bool same_shape(const work *w, const cg_node *old, const cg_node *new_)
{
    bool same = old->type.rank == new_->type.rank;
    for (int i = 0; same && i < old->type.rank; i++)
        same = cg__dim_same(dim_now(w, cg__dim_of(old, i)), cg__dim_of(new_, i));
    return same;
}

/* n with the type of old, or NULL. A bare number takes old's dtype. */
static cg_node *with_type(cg_graph *g, const work *w, const cg_node *old, cg_node *n)
{
    cg_node *dims[CG_MAX_RANK];
    n = cg_cast(n, old->type.dtype);
    if (!n || same_shape(w, old, n))
        return n;
    for (int i = 0; i < old->type.rank; i++)
        dims[i] = cg__dim_node(g, dim_now(w, cg__dim_of(old, i)));
    n = cg_broadcast_to(n, dims, old->type.rank);
    return n && same_shape(w, old, n) ? n : NULL;
}

/* ---- one node */

static cg_node *no_memory(cg_graph *g)
{
    return cg__graph_fail(g, CG_ENOMEM, "rewriting: no memory");
}

/* A match changes nothing; only what matches is tried. */
static cg_node *fire(cg_graph *g, const cg_uses *uses, int rule, cg_node *n)
{
    cg_bind b;
    if (!cg__rule_match(rule, n, uses, &b))
        return NULL;
    attempt a;
    begin(&a, g, n);
    cg_node *r = cg__rule_replace(g, rule, n, &b);
    r = end(g, &a, r ? with_type(g, NULL, n, r) : NULL);
    if (!r || r == n)
        return NULL;
    return r->op->props & CG_LEAF || cg__site_copy(r, n) ? r : no_memory(g);
}

cg_node *cg__rule_fire(cg_graph *g, int i, cg_node *n)
{
    return fire(g, NULL, i, n);
}

void cg__rule_tell(const char *name, const cg_node *old, const cg_node *new_)
{
    if (ways.log)
        ways.log(ways.user, old, new_, name);
}

static void tell(work *w, int rule, const cg_node *old, const cg_node *new_)
{
    const cg_rule *rows;
    cg__rules(&rows);
    w->left -= w->left > 0;
    if (ways.fired)
        ways.fired[rule]++;
    cg__rule_tell(rows[rule].name, old, new_);
}

/* counted: whether a rule might fire later, when other nodes are gone that read what it reads. */
static cg_node *fire_any(work *w, cg_node *n, bool *counted)
{
    const int16_t *list;
    const int count = cg__rules_of(w->phase, cg__op_id(n), &list);
    const uint64_t operands = count ? cg__rule_operands(n) : 0;
    for (int k = 0; k < count && w->left; k++) {
        const int i = list[k];
        if (w->off[i])
            continue;
        *counted |= w->counts[i];
        cg_node *r = cg__rule_may(i, operands) ? fire(w->g, &w->uses, i, n) : NULL;
        if (!r)
            continue;
        tell(w, i, n, r);
        return r;
    }
    return NULL;
}

static cg_node *rebuild(work *w, cg_node *n)
{
    cg_node *few[CG_MAX_RANK * 4], **in = n->nin <= CG_LEN(few) ? few : cg__zalloc((size_t)n->nin * sizeof *in);
    bool same = true;
    for (int k = 0; in && k < n->nin; k++) {
        in[k] = now(w, n->in[k]);
        same &= in[k] == n->in[k];
    }
    cg_node *r = n;
    if (!in)
        r = no_memory(w->g);
    else if (!same) {
        const cg_node *inherit = w->g->inherit;
        w->g->inherit = n;
        r = cg__build(w->g, cg__op_id(n), in, n->nin, n->attr);
        r = r ? with_type(w->g, w, n, r) : NULL;
        w->g->inherit = inherit;
        if (r && !cg__site_copy(r, n))
            r = no_memory(w->g);
    }
    if (in != few)
        cg__free(in);
    return r;
}

static bool is_size(const cg_node *n)
{
    return n->type.rank == 0 && n->type.dtype == CG_I64;
}

static bool is_settled(const work *w, const cg_node *n) { return n->id < w->settled.n && w->settled.at[n->id]; }

static bool settle(work *w, const cg_node *n)
{
    while (w->settled.n <= n->id)
        if (!CG_PUSH(&w->settled, false))
            return no_memory(w->g) != NULL;
    return w->settled.at[n->id] = true;
}

/* What stands for a node is read by whom the node was read by. */
static bool inherit_uses(work *w, const cg_node *r, const cg_node *n)
{
    if (r == n)
        return true;
    while (w->readers.n <= r->id)
        if (!CG_PUSH(&w->readers, (cg_readers){ 0 }))
            return no_memory(w->g) != NULL;
    cg_readers *to = &w->readers.at[r->id];
    const cg_readers *from = &w->readers.at[n->id];
    *to = (cg_readers){ to->count + from->count, to->fused || from->fused, to->share + from->share };
    w->uses = (cg_uses){ w->readers.at, w->readers.n };
    return true;
}

static bool rewrite_node(work *w, cg_node *n)
{
    cg_node *r = n->op->props & CG_LEAF || !w->changed ? n : rebuild(w, n), *next;
    bool ok = r && inherit_uses(w, r, n);
    for (int i = 0; i < MAX_FIRINGS && ok && !is_size(r) && !is_settled(w, r); i++) {
        bool counted = false;
        next = fire_any(w, r, &counted);
        if (!next) {
            ok = counted || settle(w, r);
            break;
        }
        ok = inherit_uses(w, next, r);
        r = next;
    }
    if (!ok || w->g->error.code)
        return false;
    w->changed |= r != n;
    w->now.at[n->id] = r;
    return true;
}

/* ---- the whole graph */

/* The vectors hold a row for each node of the graph. */
static bool make_rows(work *w)
{
    while (w->now.n < w->g->count)
        if (!CG_PUSH(&w->now, NULL) || !CG_PUSH(&w->readers, (cg_readers){ 0 }))
            return no_memory(w->g) != NULL;
    w->uses = (cg_uses){ w->readers.at, w->readers.n };
    return true;
}

/* The fraction of its operand k that x, a slice, reads; 2: who knows. */
static double share_of(const cg_node *x, int k)
{
    double share = cg__is(x, CG_OP_slice) && k == 0 ? 1 : 2;
    for (int i = 0; i < x->type.rank && share < 2; i++) {
        const cg_dim_t part = x->type.dim[i], all = x->in[0]->type.dim[i];
        if (!cg__dim_same(part, all))
            share = part.sym || all.sym || !all.n ? 2 : share * (double)part.n / (double)all.n;
    }
    return share;
}

static void count_uses(work *w, cg_node *const *roots, int n)
{
    for (int i = 0; i < w->nodes.n; i++) {
        const cg_node *x = w->nodes.at[i];
        for (int k = 0; k < x->nin; k++) {
            cg_readers *u = &w->readers.at[x->in[k]->id];
            *u = (cg_readers){ u->count + 1, u->fused || (x->op->props & CG_ELEMWISE), u->share + share_of(x, k) };
        }
    }
    for (int i = 0; i < n; i++) {
        w->readers.at[roots[i]->id].count++;
        w->readers.at[roots[i]->id].share += 2;
    }
}

/* Which nodes there are, and who reads them. */
static bool survey(work *w, cg_node *const *roots, int n)
{
    if (w->walked)
        return make_rows(w);
    w->nodes.n = w->now.n = w->readers.n = 0;
    if (!cg__reach(roots, n, &w->nodes) || !make_rows(w))
        return false;
    count_uses(w, roots, n);
    return true;
}

static bool sweep_once(work *w, cg_node **roots, int n)
{
    bool ok = survey(w, roots, n);
    w->changed = false;
    for (int i = 0; i < w->nodes.n && ok; i++)
        ok = rewrite_node(w, w->nodes.at[i]);
    for (int i = 0; i < n && ok; i++)
        roots[i] = now(w, roots[i]);
    w->walked = !w->changed;
    w->changes += w->changed;
    if (ways.visits)
        *ways.visits += w->nodes.n;
    return ok;
}

static int failed(const cg_graph *g, cg_error *err)
{
    return g->error.code ? cg__fail(err, g->error.code, "%s", g->error.text) : cg__fail(err, CG_ENOMEM, "rewriting: no memory");
}

static int run_phase(work *w, cg_phase phase, cg_node **roots, int n, cg_error *err)
{
    if (w->settled_at[phase] == w->changes + 1)
        return CG_OK;
    w->phase = phase;
    w->settled.n = 0;
    w->changed = true;
    for (int i = 0; i < MAX_SWEEPS && w->changed; i++)
        if (!sweep_once(w, roots, n))
            return failed(w->g, err);
    w->settled_at[phase] = w->changed ? 0 : w->changes + 1;
    return CG_OK;
}

static int run_phases(work *w, const cg_phase *list, int count, cg_node **roots, int n, cg_error *err)
{
    int rc = CG_OK;
    for (int i = 0; i < count && rc == CG_OK; i++)
        rc = run_phase(w, list[i], roots, n, err);
    return rc;
}

/* Loops are taken apart once their bodies are in simplest form; what leaves a body may then be simplified with what is around it. */
int cg__rewrite(cg_graph *g, cg_node **roots, int n, cg_evaluator evaluate, cg_error *err)
{
    static const cg_phase before[] = { CG_PHASE_CANONICAL, CG_PHASE_STABLE }, after[] = { CG_PHASE_CANONICAL, CG_PHASE_BLAS, CG_PHASE_FAST };
    if (g->error.code)
        return failed(g, err);
    work *w = cg__zalloc(sizeof *w);
    if (!w)
        return cg__fail(err, CG_ENOMEM, "rewriting: no memory");
    w->g = g;
    choose_rules(w);
    int rc = cg__rewrite_constants(g, roots, n, evaluate, err);
    if (rc == CG_OK)
        rc = run_phases(w, before, CG_LEN(before), roots, n, err);
    if (rc == CG_OK)
        rc = cg__rewrite_scans(g, roots, n, err);
    if (g->loops) {
        w->walked = false;
        w->changes++;
    }
    if (rc == CG_OK)
        rc = run_phases(w, after, CG_LEN(after), roots, n, err);
    CG_VEC_FREE(&w->nodes);
    CG_VEC_FREE(&w->now);
    CG_VEC_FREE(&w->settled);
    CG_VEC_FREE(&w->readers);
    cg__free(w);
    return rc;
}
