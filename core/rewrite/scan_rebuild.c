// SPDX-License-Identifier: MIT
/* A loop built again. Closing the new body finds what does not change from step to step; what nobody reads is not built, states that stay as they
 * are or go on like others are not states, and products of rows are rows of one product that is made before the loop.
 */
#include "core/graph/build.h"
#include "core/rewrite/loops.h"

typedef struct rebuild {
    cg_loop_work *l;
    cg_loops *p;
    cg_graph *g;
    cg_node *n;
    cg_scan_view v;
    cg_scan *s;
    bool *used;                          /* outputs */
    bool *need;                          /* states */
    int *like;                           /* states: the first one that is always equal to it */
    cg_node **args, **now;               /* of the open body; outputs as they are now */
    int *slot;                           /* needed states: their position among those that are built */
    cg_map passing;                      /* body nodes that their readers compute in passing */
    cg_map memo;                         /* body node -> node of the open body */
    cg_steps steps;
} rebuild;

static bool on(const rebuild *r, cg_loop_rewrite w) { return !r->p->off[w]; }

/* ---- what is used */

/* Outputs of n that the values read. */
static bool *used_outs(const cg_loop_work *l, bool *failed)
{
    bool *used = cg__zalloc((size_t)(l->n->nouts + 1) * sizeof *used);
    cg_node_vec roots = { 0 }, nodes = { 0 };
    *failed |= !used;
    for (int k = 0; k < l->nouts; k++)
        if (l->value[k] && cg__loop_is_used(l, k))
            *failed |= !CG_PUSH(&roots, l->value[k]);
    *failed |= !cg__reach_values(roots.at, roots.n, &nodes);
    for (int i = 0; i < nodes.n && !*failed; i++)
        if (cg__is(nodes.at[i], CG_OP_get) && nodes.at[i]->in[0] == l->n)
            used[nodes.at[i]->attr[0].at[0]] = true;
    CG_VEC_FREE(&roots);
    CG_VEC_FREE(&nodes);
    return used;
}

static int state_of(const cg_scan_view *v, const cg_node *n)
{
    const int64_t k = cg__is(n, CG_OP_arg) ? n->attr[0].at[0] - v->nseq : -1;
    return k >= 0 && k < v->nstate ? (int)k : -1;
}

/* One more round: states that the outputs and the states so far need. */
static bool more_needed(const cg_scan_view *v, const bool *used, bool *need, bool *failed)
{
    cg_node_vec roots = { 0 }, nodes = { 0 };
    bool more = false;
    for (int i = 0; i < v->nstate; i++)
        *failed |= need[i] && !CG_PUSH(&roots, v->root[i]);
    for (int k = 0; k < v->nouts; k++)
        *failed |= used[k] && !CG_PUSH(&roots, v->root[v->out[k].root]);
    *failed |= !cg__reach_values(roots.at, roots.n, &nodes);
    for (int i = 0; i < nodes.n && !*failed; i++) {
        const int s = state_of(v, nodes.at[i]);
        more |= s >= 0 && !need[s];
        if (s >= 0)
            need[s] = true;
    }
    CG_VEC_FREE(&roots);
    CG_VEC_FREE(&nodes);
    return more;
}

static void find_needed(const cg_scan_view *v, const bool *used, bool *need, bool *failed)
{
    for (int k = 0; k < v->nouts; k++)
        if (used[k] && v->out[k].keep == CG_SCAN_LAST)
            need[v->out[k].root] = true;
    while (!*failed && more_needed(v, used, need, failed))
        ;
}

bool *cg__loop_needs(const cg_loop_work *l, bool *failed)
{
    const cg_scan_view v = cg__scan_view(l->n);
    bool *used = used_outs(l, failed), *need = cg__zalloc((size_t)(v.nstate + 1) * sizeof *need);
    *failed |= !need;
    if (!*failed)
        find_needed(&v, used, need, failed);
    cg__free(used);
    return need;
}

/* ---- states that are equal */

/* The body's roots with each state's arg as that of the state it is like. */
static bool roots_as_alike(rebuild *r, cg_node **out)
{
    cg_map memo = { 0 };
    bool ok = true;
    for (int i = 0; i < r->steps.body.n && ok; i++) {
        cg_node *n = r->steps.body.at[i];
        const int s = state_of(&r->v, n);
        for (int k = 0; s >= 0 && r->like[s] != s && ok && k < r->steps.body.n; k++)
            if (state_of(&r->v, r->steps.body.at[k]) == r->like[s])
                ok = cg__map_set(&memo, cg__key(n), cg__key(r->steps.body.at[k]));
    }
    ok = ok && cg__clone_all(r->g, r->v.root, out, r->v.nstate, &memo);
    cg__map_free(&memo);
    return ok;
}

/* States that begin alike are taken to be equal; those whose next values then differ are parted, until none are. */
static void find_twins(rebuild *r)
{
    bool any = false;
    for (int i = 0; i < r->v.nstate; i++) {
        r->like[i] = i;
        for (int k = 0; k < i && r->like[i] == i && on(r, CG_LOOP_TWINS); k++)
            if (r->v.init[k] == r->v.init[i] && r->need[k] && r->need[i] && r->like[k] == k)
                any = (r->like[i] = k) == k;
    }
    cg_node **next = any ? cg__zalloc((size_t)r->v.nstate * sizeof *next) : NULL;
    for (bool parted = any; parted && !r->p->failed;) {
        parted = false;
        r->p->failed |= !next || !roots_as_alike(r, next);
        for (int i = r->v.nstate - 1; i >= 0 && !r->p->failed; i--)
            if (r->like[i] != i && next[i] != next[r->like[i]])
                parted = (r->like[i] = i) == i;
    }
    for (int i = 0; i < r->v.nstate && !r->p->failed; i++)
        if (r->like[i] != i)
            cg__loops_tell(r->p, CG_LOOP_TWINS, r->v.root[i], r->v.root[r->like[i]]);
    cg__free(next);
}

/* ---- the new body's args */

static bool is_constant(const rebuild *r, int i)
{
    return on(r, CG_LOOP_CONSTANT) && state_of(&r->v, r->v.root[i]) == i;
}

static bool is_built(const rebuild *r, int i) { return r->need[i] && r->like[i] == i && !is_constant(r, i); }

static cg_node *open_state(rebuild *r, int i)
{
    if (r->like[i] != i)
        return r->args[r->v.nseq + r->like[i]];
    if (!is_built(r, i)) {
        if (r->need[i])
            cg__loops_tell(r->p, CG_LOOP_CONSTANT, r->v.root[i], r->v.init[i]);
        return r->v.init[i];
    }
    r->slot[i] = r->s->states.n;
    return cg_scan_state(r->s, r->v.init[i]);
}

static bool open_loop(rebuild *r)
{
    const int nargs = cg__scan_nargs(&r->v);
    r->s = cg_scan_begin(r->g, CG_SCAN(.steps = r->v.steps, .save = r->v.save));
    bool ok = r->s != NULL;
    for (int i = 0; ok && i < nargs; i++) {
        const int state = i - r->v.nseq;
        if (i < r->v.nseq)
            r->args[i] = cg__scan_seq(r->s, r->v.seq[i], r->v.back[i] != 0);
        else if (state < r->v.nstate)
            r->args[i] = open_state(r, state);
        else
            r->args[i] = i < nargs - 1 ? r->v.seq[i] : cg_scan_index(r->s);
        ok = r->args[i] && !r->s->failed;
    }
    return ok && cg__scan_map_args(r->n, r->args, &r->memo);
}

/* ---- before: rows */

/* Body nodes that a state or an output is, or that something reads, perhaps as a view, that can compute them in passing. */
static void find_passing(rebuild *r)
{
    for (int i = 0; i < r->v.nroots; i++)
        cg__map_note(&r->p->failed, &r->passing, r->v.root[i], r->v.root[i]);
    for (int i = r->steps.body.n - 1; i >= 0; i--) {
        const cg_node *m = r->steps.body.at[i];
        const bool passes = m->op->props & CG_VIEW ? cg__map_has(&r->passing, m) : !(m->op->props & CG_DENSE);
        for (int k = 0; passes && k < cg__nvalues(m); k++)
            cg__map_note(&r->p->failed, &r->passing, m->in[k], m);
    }
}

/* A loop of the body computes what is elementwise in passing, but not what a product reads. */
static cg_loop_rewrite row_of(const rebuild *r, const cg_node *n)
{
    if (cg__is(n, CG_OP_arg))
        return CG_LOOP_REWRITES;
    if (!n->op->emit && !(n->op->props & (CG_VIEW | CG_DENSE)))
        return CG_LOOP_BEFORE;
    if (cg__is(n, CG_OP_matmul) || cg__is(n, CG_OP_cross_entropy))
        return CG_LOOP_BEFORE;
    return (n->op->props & CG_ELEMWISE) && !cg__map_has(&r->passing, n) ? CG_LOOP_ROWS : CG_LOOP_REWRITES;
}

static void move_before(rebuild *r)
{
    find_passing(r);
    for (int i = 0; i < r->steps.body.n && !r->p->failed; i++) {
        cg_node *n = r->steps.body.at[i];
        bool back = false;
        if (cg__is(n, CG_OP_arg) && n->attr[0].at[0] < r->v.nseq)
            cg__steps_know(&r->steps, n, r->v.seq[n->attr[0].at[0]], r->v.back[n->attr[0].at[0]] != 0);
        else
            cg__steps_derive(&r->steps, n);
        cg_node *all = cg__steps_known(&r->steps, n, &back);
        const cg_loop_rewrite w = all ? row_of(r, n) : CG_LOOP_REWRITES;
        if (w < CG_LOOP_REWRITES && on(r, w)) {
            cg__map_note(&r->p->failed, &r->memo, n, cg__scan_seq(r->s, all, back));
            cg__loops_tell(r->p, w, n, all);
        }
        r->p->failed |= r->steps.failed;
    }
}

/* ---- closing it */

static cg_node *open_value(rebuild *r, cg_node *n)
{
    cg_node *v = cg__clone(r->g, n, &r->memo);
    r->p->failed |= !v;
    return v;
}

static void next_states(rebuild *r)
{
    for (int i = 0; i < r->v.nstate && !r->p->failed; i++)
        if (is_built(r, i)) {
            cg_node *next = open_value(r, r->v.root[i]);
            r->p->failed |= !next || cg_scan_next(r->s, r->args[r->v.nseq + i], next) < 0;
        }
}

static const cg_scan_item *sequence_of(const rebuild *r, const cg_node *open)
{
    for (int i = 0; i < r->s->seqs.n; i++)
        if (r->s->seqs.at[i].place == open)
            return &r->s->seqs.at[i];
    return NULL;
}

/* Output k without a loop: a stacked row of a sequence is the sequence, the last value of what stays is its first. */
static cg_node *known_output(rebuild *r, const cg_scan_out_row *o, const cg_node *open)
{
    const cg_scan_item *seq = o->keep == CG_SCAN_ALL ? sequence_of(r, open) : NULL;
    if (o->keep == CG_SCAN_LAST)
        return is_constant(r, r->like[o->root]) ? r->v.init[o->root] : NULL;
    return seq && seq->back == (o->back != 0) ? seq->outer : NULL;
}

/* The same output twice is one. */
static int add_output(rebuild *r, const cg_scan_out_row *o, cg_node *open)
{
    const int state = o->keep == CG_SCAN_LAST ? r->slot[r->like[o->root]] : -1;
    for (int i = 0; i < r->s->results.n; i++) {
        const cg_scan_result *x = &r->s->results.at[i];
        if (x->keep == (cg_scan_keep)o->keep && x->state == state && (state >= 0 || (x->value == open && x->back == (o->back != 0))))
            return i;
    }
    r->p->failed |= (state >= 0 ? cg__scan_last(r->s, state) : cg__scan_out(r->s, open, (cg_scan_keep)o->keep, o->back != 0)) < 0;
    return r->s->results.n - 1;
}

/* now[k]: what output k has become. */
static void end_loop(rebuild *r)
{
    const int nouts = r->v.nouts;
    cg_node **made = cg__zalloc((size_t)(nouts + 1) * sizeof *made), ***where = cg__zalloc((size_t)(nouts + 1) * sizeof *where);
    int *at = cg__zalloc((size_t)(nouts + 1) * sizeof *at);
    r->p->failed |= !made || !where || !at;
    for (int k = 0; k < nouts && !r->p->failed; k++) {
        const cg_scan_out_row *o = &r->v.out[k];
        cg_node *open = r->used[k] && o->keep != CG_SCAN_LAST ? open_value(r, r->v.root[o->root]) : NULL;
        at[k] = -1;
        if (r->used[k] && !r->p->failed && !(r->now[k] = known_output(r, o, open)))
            at[k] = add_output(r, o, open);
    }
    for (int i = 0; i < nouts && !r->p->failed; i++)
        where[i] = &made[i];
    if (!r->p->failed && r->s->results.n) {
        r->p->failed = cg_scan_end(r->s, where, r->s->results.n) < 0;
        r->s = NULL;
    }
    for (int k = 0; k < nouts && !r->p->failed; k++)
        if (at[k] >= 0)
            r->now[k] = made[at[k]];
    cg__free(made);
    cg__free(where);
    cg__free(at);
}

/* What is said of outputs of the old loop is said of those of the new one. */
static void deliver(rebuild *r)
{
    cg_map memo = { 0 };
    for (int k = 0; k < r->v.nouts && !r->p->failed; k++)
        if (r->used[k])
            cg__map_note(&r->p->failed, &memo, cg__get(r->n, k), r->now[k]);
    for (int k = 0; k < r->l->nouts && !r->p->failed; k++)
        if (cg__loop_is_used(r->l, k))
            r->p->failed |= !(r->l->value[k] = cg__clone(r->g, r->l->value[k], &memo));
    cg__map_free(&memo);
}

/* Closing the body will do both; here it is told. */
static void tell_what_goes(const rebuild *r)
{
    int gone = 0, outside = 0;
    for (int i = 0; i < r->v.nstate; i++)
        gone += !r->need[i];
    for (int k = 0; k < r->v.nouts; k++)
        gone += !r->used[k];
    for (int i = 0; i < r->steps.body.n; i++) {
        const cg_node *n = r->steps.body.at[i];
        outside += !cg__steps_varies(&r->steps, n) && !cg__is(n, CG_OP_arg) && !cg__is(n, CG_OP_const) && !(n->op->props & CG_VIEW);
    }
    if (gone)
        cg__loops_tell(r->p, CG_LOOP_UNUSED, r->n, r->n);
    if (outside)
        cg__loops_tell(r->p, CG_LOOP_INVARIANT, r->n, r->n);
}

static void run(rebuild *r)
{
    r->used = used_outs(r->l, &r->p->failed);
    r->need = cg__loop_needs(r->l, &r->p->failed);
    cg__steps_begin(&r->steps, r->n);
    r->p->failed |= r->steps.failed;
    if (!r->p->failed)
        tell_what_goes(r);
    if (!r->p->failed)
        find_twins(r);
    if (!r->p->failed)
        r->p->failed |= !open_loop(r);
    if (!r->p->failed && r->v.save == CG_SAVE_EXPENSIVE)
        move_before(r);
    if (!r->p->failed)
        next_states(r);
    if (!r->p->failed)
        end_loop(r);
    if (!r->p->failed)
        deliver(r);
    cg__steps_end(&r->steps);
}

void cg__loop_rebuild(cg_loop_work *l)
{
    rebuild r = { .l = l, .p = l->p, .g = l->p->g, .n = l->n, .v = cg__scan_view(l->n) };
    const size_t nstate = (size_t)r.v.nstate + 1;
    r.like = cg__zalloc(nstate * sizeof *r.like);
    r.slot = cg__zalloc(nstate * sizeof *r.slot);
    r.args = cg__zalloc((size_t)cg__scan_nargs(&r.v) * sizeof *r.args);
    r.now = cg__zalloc((size_t)(r.v.nouts + 1) * sizeof *r.now);
    if (r.like && r.slot && r.args && r.now)
        run(&r);
    else
        l->p->failed = true;
    cg__scan_drop(r.s);
    cg__free(r.used);
    cg__free(r.need);
    cg__free(r.like);
    cg__free(r.slot);
    cg__free(r.args);
    cg__free(r.now);
    cg__map_free(&r.passing);
    cg__map_free(&r.memo);
}
