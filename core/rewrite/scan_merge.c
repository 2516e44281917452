// SPDX-License-Identifier: MIT
/* Several loops become one.
 *
 * Equal loops differ in their outputs only. Loops that are joined have but the number of steps in common: they are of one level, that is, on no
 * way through the graph lies a loop more before the one than before the other, so none needs another, and joining all of a level makes no circle.
 */
#include "core/rewrite/loops.h"

/* ---- outputs */

static int index_of_root(cg_loop_outs *o, cg_node *root)
{
    for (int i = 0; i < o->root.n; i++)
        if (o->root.at[i] == root)
            return i;
    o->failed |= !CG_PUSH(&o->root, root);
    return o->root.n - 1;
}

static int index_of_row(cg_loop_outs *o, int64_t keep, int64_t root, int64_t back)
{
    for (int i = 0; i < o->row.n; i += 3)
        if (o->row.at[i] == keep && o->row.at[i + 1] == root && o->row.at[i + 2] == back)
            return i / 3;
    o->failed |= !CG_PUSH(&o->row, keep) || !CG_PUSH(&o->row, root) || !CG_PUSH(&o->row, back);
    return o->row.n / 3 - 1;
}

int cg__loop_out(cg_loop_outs *o, int64_t keep, cg_node *root, bool back)
{
    return index_of_row(o, keep, index_of_root(o, root), back);
}

int cg__loop_out_last(cg_loop_outs *o, int64_t state)
{
    return index_of_row(o, CG_SCAN_LAST, state, 0);
}

void cg__loop_outs_free(cg_loop_outs *o)
{
    CG_VEC_FREE(&o->root);
    CG_VEC_FREE(&o->row);
}

cg_node *cg__loop_with(const cg_node *n, const cg_loop_outs *o)
{
    const int nvalues = cg__nvalues(n), nin = nvalues + o->root.n;
    cg_node **in = cg__zalloc((size_t)nin * sizeof *in), *made = NULL;
    int64_t *body = cg__zalloc((size_t)(o->root.n + 1) * sizeof *body);
    const int64_t none[] = { CG_SCAN_ALL, 0, 0 };
    if (in && body) {
        cg_attr attrs[CG_MAX_ATTRS];
        memcpy(in, n->in, (size_t)nvalues * sizeof *in);
        memcpy(attrs, n->attr, (size_t)n->op->nattrs * sizeof *attrs);
        for (int i = 0; i < o->root.n; i++) {
            in[nvalues + i] = o->root.at[i];
            body[i] = CG_REF(nvalues + i);
        }
        attrs[CG_SCAN_A_BODY] = (cg_attr){ o->root.n, body };
        attrs[CG_SCAN_A_OUTS] = o->row.n ? (cg_attr){ o->row.n, o->row.at } : (cg_attr){ 3, none };     /* a loop has an output, read or not */
        made = o->root.n ? cg__node(n->graph, CG_OP_scan, in, nin, attrs) : (cg_node *)(uintptr_t)n;
    }
    cg__free(in);
    cg__free(body);
    return made;
}

/* ---- equal loops */

static bool same_loop(const cg_node *a, const cg_node *b)
{
    const cg_scan_view x = cg__scan_view(a), y = cg__scan_view(b);
    if (x.save != y.save || x.nseq != y.nseq || x.nstate != y.nstate || x.ncapture != y.ncapture || cg__nvalues(a) != cg__nvalues(b))
        return false;
    bool same = memcmp(a->in, b->in, (size_t)cg__nvalues(a) * sizeof *a->in) == 0;
    for (int i = 0; same && i < x.nseq; i++)
        same = x.back[i] == y.back[i];
    for (int i = 0; same && i < x.nstate; i++)
        same = x.root[i] == y.root[i];
    return same;
}

static int merged_out(cg_loop_outs *o, const cg_scan_view *v, const cg_scan_out_row *row)
{
    return row->keep == CG_SCAN_LAST ? cg__loop_out_last(o, row->root) : cg__loop_out(o, row->keep, v->root[row->root], row->back != 0);
}

static bool is_like(const cg_loops *p, int first, int i)
{
    const cg_node *n = p->nodes.at[first], *m = p->nodes.at[i];
    return i == first || (!p->off[CG_LOOP_MERGE] && cg__is(m, CG_OP_scan) && !cg__map_has(&p->memo, m) && same_loop(n, m));
}

static void put_merged(cg_loops *p, cg_loop_outs *o, cg_node *m, cg_node *made, bool several)
{
    const cg_scan_view w = cg__scan_view(m);
    for (int k = 0; k < w.nouts; k++)
        cg__map_note(&p->failed, &p->memo, cg__get(m, k), cg__get(made, merged_out(o, &w, &w.out[k])));
    cg__map_note(&p->failed, &p->memo, m, made);
    if (several)
        cg__loops_tell(p, CG_LOOP_MERGE, m, made);
}

/* Puts loop `first` and all later ones like it into the memo, as outputs of one loop. */
static void merge_like(cg_loops *p, int first)
{
    const cg_node *n = p->nodes.at[first];
    const cg_scan_view v = cg__scan_view(n);
    cg_loop_outs o = { 0 };
    cg_node_vec like = { 0 };
    for (int i = 0; i < v.nstate; i++)
        o.failed |= !CG_PUSH(&o.root, v.root[i]);
    for (int i = first; i < p->nodes.n && !o.failed; i++) {
        const cg_scan_view w = is_like(p, first, i) ? cg__scan_view(p->nodes.at[i]) : (cg_scan_view){ 0 };
        for (int k = 0; k < w.nouts; k++)
            merged_out(&o, &w, &w.out[k]);
        o.failed |= w.nouts && !CG_PUSH(&like, p->nodes.at[i]);
    }
    cg_node *made = o.failed ? NULL : cg__loop_with(n, &o);
    made = made ? cg__loop_over(p, made) : NULL;
    p->failed |= !made;
    for (int i = 0; i < like.n && !p->failed; i++)
        put_merged(p, &o, like.at[i], made, like.n > 1);
    CG_VEC_FREE(&like);
    cg__loop_outs_free(&o);
}

void cg__loops_merge(cg_loops *p)
{
    for (int i = 0; i < p->nodes.n && !p->failed; i++)
        if (cg__is(p->nodes.at[i], CG_OP_scan) && !cg__map_has(&p->memo, p->nodes.at[i]))
            merge_like(p, i);
}

/* ---- independent loops */

/* How many loops lie one behind the other up to each node, itself included; by position in p->nodes. */
static int *levels(cg_loops *p)
{
    int *level = cg__zalloc((size_t)(p->nodes.n + 1) * sizeof *level);
    cg_map at = { 0 };
    for (int i = 0; level && i < p->nodes.n && !p->failed; i++) {
        const cg_node *n = p->nodes.at[i];
        uint64_t k;
        for (int e = 0; e < cg__nvalues(n); e++)
            if (cg__map_get(&at, cg__key(n->in[e]), &k) && level[k] > level[i])
                level[i] = level[k];
        level[i] += cg__is(n, CG_OP_scan);
        p->failed |= !cg__map_put(&at, cg__key(n), (uint64_t)i);
    }
    cg__map_free(&at);
    p->failed |= !level;
    return level;
}

typedef struct joining { cg_loops *p; cg_scan *s; CG_VEC(cg_node **) where; cg_node_vec old, now; } joining;

/* The loop m, over its operands as they are now, as a part of the joined one; its outputs are noted. */
static bool add_loop(joining *j, cg_node *m)
{
    cg_node *n = cg__loop_over(j->p, m);
    cg_map memo = { 0 };
    if (!n)
        return false;
    const cg_scan_view v = cg__scan_view(n);
    const int first = j->s->states.n;
    cg_node **args = cg__zalloc((size_t)cg__scan_nargs(&v) * sizeof *args);
    bool ok = args && cg__scan_args(j->s, n, args) && cg__scan_map_args(n, args, &memo);
    for (int i = 0; i < v.nstate && ok; i++)
        ok = cg_scan_next(j->s, args[v.nseq + i], cg__clone(n->graph, v.root[i], &memo)) == CG_OK;
    for (int k = 0; k < v.nouts && ok; k++) {
        const cg_scan_out_row *o = &v.out[k];
        ok = (o->keep == CG_SCAN_LAST ? cg__scan_last(j->s, first + (int)o->root) : cg__scan_out(j->s, cg__clone(n->graph, v.root[o->root], &memo), (cg_scan_keep)o->keep, o->back != 0)) == CG_OK &&
             CG_PUSH(&j->old, cg__get(m, k)) && CG_PUSH(&j->now, NULL);
    }
    cg__map_free(&memo);
    cg__free(args);
    return ok;
}

static bool end_joined(joining *j)
{
    bool ok = true;
    for (int i = 0; i < j->now.n && ok; i++)
        ok = CG_PUSH(&j->where, &j->now.at[i]);
    if (ok) {
        ok = cg_scan_end(j->s, j->where.at, j->where.n) == CG_OK;
        j->s = NULL;
    }
    for (int i = 0; i < j->now.n && ok; i++)
        cg__map_note(&j->p->failed, &j->p->memo, j->old.at[i], j->now.at[i]);
    return ok;
}

static void join(cg_loops *p, const int *members, int n)
{
    joining j = { .p = p };
    const cg_node *inherit = p->g->inherit;
    p->g->inherit = p->nodes.at[members[0]];
    cg_node *steps = cg__clone(p->g, p->nodes.at[members[0]]->in[0], &p->memo);
    j.s = steps ? cg_scan_begin(p->g, CG_SCAN(.steps = steps, .save = cg__scan_view(p->nodes.at[members[0]]).save)) : NULL;
    bool ok = j.s != NULL;
    for (int i = 0; i < n && ok; i++)
        ok = add_loop(&j, p->nodes.at[members[i]]);
    ok = ok && end_joined(&j);
    for (int i = 1; i < n && ok; i++)
        cg__loops_tell(p, CG_LOOP_JOIN, p->nodes.at[members[i]], j.now.at[0]);
    cg__scan_drop(j.s);
    p->failed |= !ok;
    p->g->inherit = inherit;
    CG_VEC_FREE(&j.where);
    CG_VEC_FREE(&j.old);
    CG_VEC_FREE(&j.now);
}

static bool can_join(const cg_node *a, const cg_node *b)
{
    return cg__is(b, CG_OP_scan) && a->in[0] == b->in[0] && cg__scan_view(a).save == cg__scan_view(b).save;
}

void cg__loops_join(cg_loops *p)
{
    int *level = p->off[CG_LOOP_JOIN] ? NULL : levels(p), *members = cg__zalloc((size_t)(p->nodes.n + 1) * sizeof *members);
    bool *done = cg__zalloc((size_t)(p->nodes.n + 1) * sizeof *done);
    p->failed |= !members || !done;
    for (int i = 0; level && i < p->nodes.n && !p->failed; i++) {
        int n = 0;
        for (int k = i; cg__is(p->nodes.at[i], CG_OP_scan) && !done[i] && k < p->nodes.n; k++)
            if (!done[k] && level[k] == level[i] && can_join(p->nodes.at[i], p->nodes.at[k]))
                members[n++] = k;
        for (int k = 0; k < n; k++)
            done[members[k]] = true;
        if (n > 1)
            join(p, members, n);
    }
    cg__free(level);
    cg__free(members);
    cg__free(done);
}
