// SPDX-License-Identifier: MIT
/* Closing a loop's body.
 *
 * Closing finds what depends on a placeholder; everything else that such a node reads, sizes in types included, becomes a capture, so
 * work that is the same in every step is outside by construction. Only rank-0 constants stay inside, views, which cost nothing, and what a
 * branch alone needs (guard.h), which outside would be computed whether it is taken or not.
 */
#include "core/graph/build.h"
#include "core/graph/guard.h"
#include "core/graph/scan.h"

enum { MAX_VIEWS = 8 };                  /* of a capture, one on the other; a longer chain is captured as it is */

typedef struct closing {
    cg_scan *s;
    cg_graph *g;
    cg_map inside;               /* nodes that depend on a placeholder */
    cg_map memo;                 /* open node -> closed node */
    cg_node_vec roots, closed;   /* next values, then results; as given, and closed */
    cg_node_vec captures, nodes;
    int first_capture;           /* index of its arg */
    bool failed;
} closing;

static void remember(closing *c, const cg_node *open, const cg_node *to)
{
    cg__map_note(&c->failed, &c->memo, open, to);
}

static bool stays(const cg_node *n)
{
    return cg__is(n, CG_OP_const) && n->type.rank == 0;
}

static void close_node(closing *c, cg_node *n);
static bool viewed(const cg_node *n)
{
    int depth = 0;
    while ((n->op->props & CG_VIEW) && depth < MAX_VIEWS) {
        n = n->in[0];
        depth++;
    }
    return depth > 0 && depth < MAX_VIEWS;
}

/* The arg that stands for n in the body: its sizes are captured before it. A view of a capture is a view in the body. */
static void capture(closing *c, cg_node *n)
{
    if (c->failed || cg__map_has(&c->memo, n) || cg__map_has(&c->inside, n))
        return;
    if (stays(n)) {
        remember(c, n, n);
        return;
    }
    if (viewed(n)) {
        close_node(c, n);
        return;
    }
    cg_type t = n->type;
    t.weak = false;
    for (int i = 0; i < t.rank; i++)
        if (t.dim[i].sym) {
            capture(c, t.dim[i].sym);
            t.dim[i].sym = cg__map_node(&c->memo, t.dim[i].sym);
        }
    if (c->failed || !CG_PUSH(&c->captures, n))
        c->failed = true;
    else
        remember(c, n, cg__scan_arg(c->g, c->first_capture + c->captures.n - 1, &t));
}

/* Placeholder k of the loop becomes its canonical arg. Sizes that only the body knows are refused. */
static void close_placeholder(closing *c, cg_node *place, int k)
{
    cg_type t = place->type;
    for (int i = 0; i < t.rank; i++)
        if (t.dim[i].sym) {
            if (cg__map_has(&c->inside, t.dim[i].sym)) {
                c->failed = true;
                cg__scan_wrong(c->s, CG_ESHAPE, "end", "the size of axis %d of %s changes from step to step", i, cg__label(place));
                return;
            }
            capture(c, t.dim[i].sym);
            t.dim[i].sym = cg__map_node(&c->memo, t.dim[i].sym);
        }
    if (!c->failed)
        remember(c, place, cg__scan_arg(c->g, k, &t));
}

static bool sizes_of(const cg_node *n, cg_node_vec *out)
{
    bool ok = true;
    for (int k = 0; k < n->type.rank && ok; k++)
        ok = !n->type.dim[k].sym || CG_PUSH(out, n->type.dim[k].sym);
    return ok;
}

/* What is there whatever branch is taken: leaves, args and their sizes. */
static bool find_always(const closing *c, cg_node_vec *always)
{
    const cg_scan *s = c->s;
    bool ok = true;
    for (int i = 0; i < c->nodes.n && ok; i++) {
        cg_node *n = c->nodes.at[i];
        if ((n->op->props & CG_LEAF) || cg__is(n, CG_OP_arg))
            ok = CG_PUSH(always, n) && sizes_of(n, always);
    }
    for (int i = 0; i < s->seqs.n && ok; i++)
        ok = sizes_of(s->seqs.at[i].place, always);
    for (int i = 0; i < s->states.n && ok; i++)
        ok = sizes_of(s->states.at[i].place, always);
    return ok;
}

static void find_inside(closing *c)
{
    const cg_scan *s = c->s;
    for (int i = 0; i < s->seqs.n; i++)
        c->failed |= !cg__map_put(&c->inside, cg__key(s->seqs.at[i].place), 1);
    for (int i = 0; i < s->states.n; i++)
        c->failed |= !cg__map_put(&c->inside, cg__key(s->states.at[i].place), 1);
    if (s->step)
        c->failed |= !cg__map_put(&c->inside, cg__key(s->step), 1);
    cg_guards guards = { 0 };
    cg_node_vec always = { 0 };
    c->failed |= !find_always(c, &always) || !cg__guards_find(&guards, &c->nodes, c->roots.at, c->roots.n, always.at, always.n);
    for (int i = 0; i < c->nodes.n && !c->failed; i++) {
        const cg_node *n = c->nodes.at[i];
        bool in = cg__guard_of(&guards, n) != NULL;
        for (int k = 0; k < cg__nvalues(n) && !in; k++)
            in = cg__map_has(&c->inside, n->in[k]);
        if (in && !cg__map_has(&c->inside, n))
            c->failed |= !cg__map_put(&c->inside, cg__key(n), 1);
    }
    CG_VEC_FREE(&always);
    cg__guards_free(&guards);
}

static void close_placeholders(closing *c)
{
    const cg_scan *s = c->s;
    c->first_capture = s->seqs.n + s->states.n;
    for (int i = 0; i < s->seqs.n && !c->failed; i++)
        close_placeholder(c, s->seqs.at[i].place, i);
    for (int i = 0; i < s->states.n && !c->failed; i++)
        close_placeholder(c, s->states.at[i].place, s->seqs.n + i);
}

static void close_node(closing *c, cg_node *n)
{
    cg_node *few[CG_MAX_RANK], **in = n->nin <= CG_LEN(few) ? few : cg__zalloc((size_t)n->nin * sizeof *in);
    c->failed |= !in;
    for (int k = 0; k < n->nin && !c->failed; k++) {
        if (k < cg__nvalues(n))
            capture(c, n->in[k]);
        in[k] = k < cg__nvalues(n) ? cg__map_node(&c->memo, n->in[k]) : n->in[k];
    }
    const cg_node *inherit = c->g->inherit;
    c->g->inherit = n;
    if (!c->failed)
        remember(c, n, cg__node(c->g, cg__op_id(n), in, n->nin, n->attr));
    c->g->inherit = inherit;
    if (!c->failed && *cg_node_name(n))
        cg_name(cg__map_node(&c->memo, n), cg_node_name(n));
    if (in != few)
        cg__free(in);
}

/* The step number's index is known once all captures are. */
static void close_all(closing *c)
{
    find_inside(c);
    close_placeholders(c);
    const cg_node *step = c->s->step;
    for (int pass = 0; pass < 2 && !c->failed; pass++) {
        for (int i = 0; i < c->nodes.n && !c->failed; i++) {
            cg_node *n = c->nodes.at[i];
            if (cg__map_has(&c->inside, n) && !cg__map_has(&c->memo, n) && n != step && pass == 1)
                close_node(c, n);
            for (int k = 0; pass == 0 && cg__map_has(&c->inside, n) && !cg__is(n, CG_OP_arg) && k < cg__nvalues(n); k++)
                capture(c, n->in[k]);
        }
        for (int i = 0; i < c->roots.n && pass == 0; i++)
            capture(c, c->roots.at[i]);
        if (step && pass == 0 && !c->failed)
            remember(c, step, cg__scan_arg(c->g, c->first_capture + c->captures.n, &step->type));
    }
}

/* ---- the node */

static int root_of(closing *c, const cg_node *value)
{
    const cg_node *to = cg__map_node(&c->memo, value);
    for (int i = 0; i < c->closed.n; i++)
        if (c->closed.at[i] == to)
            return i;
    c->failed |= !CG_PUSH(&c->closed, (cg_node *)(uintptr_t)to);
    return c->closed.n - 1;
}

static cg_node *make_scan(closing *c)
{
    const cg_scan *s = c->s;
    CG_VEC(cg_node *) in = { 0 };
    CG_VEC(int64_t) at[CG_MAX_ATTRS] = { { 0 } };
    bool ok = CG_PUSH(&in, s->steps);
    for (int i = 0; i < s->seqs.n && ok; i++)
        ok = CG_PUSH(&at[CG_SCAN_A_SEQ], CG_REF(in.n)) && CG_PUSH(&in, s->seqs.at[i].outer) && CG_PUSH(&at[CG_SCAN_A_BACK], (int64_t)s->seqs.at[i].back);
    for (int i = 0; i < s->states.n && ok; i++)
        ok = CG_PUSH(&at[CG_SCAN_A_INIT], CG_REF(in.n)) && CG_PUSH(&in, s->states.at[i].outer) && CG_PUSH(&c->closed, cg__map_node(&c->memo, s->states.at[i].next));
    for (int i = 0; i < c->captures.n && ok; i++)
        ok = CG_PUSH(&at[CG_SCAN_A_CAPTURE], CG_REF(in.n)) && CG_PUSH(&in, c->captures.at[i]);
    for (int i = 0; i < s->results.n && ok; i++) {
        const cg_scan_result *r = &s->results.at[i];
        ok = CG_PUSH(&at[CG_SCAN_A_OUTS], (int64_t)r->keep) && CG_PUSH(&at[CG_SCAN_A_OUTS], (int64_t)(r->state >= 0 ? r->state : root_of(c, r->value))) &&
             CG_PUSH(&at[CG_SCAN_A_OUTS], (int64_t)r->back);
    }
    for (int i = 0; i < c->closed.n && ok; i++)
        ok = CG_PUSH(&at[CG_SCAN_A_BODY], CG_REF(in.n)) && CG_PUSH(&in, c->closed.at[i]);
    if (s->truncate)
        ok = ok && CG_PUSH(&at[CG_SCAN_A_TRUNCATE], s->truncate);
    if (s->save)
        ok = ok && CG_PUSH(&at[CG_SCAN_A_SAVE], (int64_t)s->save);
    cg_attr attrs[CG_MAX_ATTRS];
    for (int k = 0; k < CG_MAX_ATTRS; k++)
        attrs[k] = (cg_attr){ at[k].n, at[k].at };
    cg_node *n = ok && !c->failed ? cg__node(c->g, CG_OP_scan, in.at, in.n, attrs) : NULL;
    CG_VEC_FREE(&in);
    for (int k = 0; k < CG_MAX_ATTRS; k++)
        CG_VEC_FREE(&at[k]);
    return n;
}

/* ---- end */

/* A result for each shared variable; a variable that only an inner loop changes is handed on by it. */
static bool add_shared(cg_scan *s)
{
    bool ok = true;
    for (int i = 0; i < s->states.n && ok; i++)
        ok = !s->states.at[i].shared || cg__scan_last(s, i) == CG_OK;
    return ok;
}

/* The variable's next value: in the body around the loop, or after the call. */
static bool update_shared(const cg_scan *s, cg_node *var, cg_node *value)
{
    for (int i = 0; s->around && i < s->around->states.n; i++)
        if (s->around->states.at[i].shared == var) {
            s->around->states.at[i].next = value;
            return true;
        }
    return cg_default_update(var, value) == CG_OK;
}

static void drop_unused(cg_scan *s, const cg_node_vec *nodes)
{
    cg_map seen = { 0 };
    int kept = 0;
    for (int i = 0; i < nodes->n; i++)
        s->failed |= !cg__map_put(&seen, cg__key(nodes->at[i]), 1);
    for (int i = 0; i < s->seqs.n; i++)
        if (cg__map_has(&seen, s->seqs.at[i].place))
            s->seqs.at[kept++] = s->seqs.at[i];
    s->seqs.n = kept;
    cg__map_free(&seen);
}

/* The rows that tap `tap` reads where `first` to `last` are read, too: one for each place at which all of them and tap 0 are rows. */
static cg_node *rows_at(cg_node *x, int64_t tap, int64_t first, int64_t last)
{
    cg_graph *g = x->graph;
    if (first == last)
        return x;
    return cg_slice(x, 0, cg__const_i64(g, tap - first), last > tap ? cg__const_i64(g, tap - last) : NULL, 1);
}

static bool shift_sequences(cg_scan *s)
{
    cg_node_vec rows = { 0 };
    bool ok = true;
    for (int i = 0; i < s->seqs.n && ok; i++) {
        const cg_scan_item *x = &s->seqs.at[i];
        int64_t first = 0, last = 0;
        for (int k = 0; k < s->seqs.n; k++)
            if (s->seqs.at[k].outer == x->outer) {
                first = s->seqs.at[k].tap < first ? s->seqs.at[k].tap : first;
                last = s->seqs.at[k].tap > last ? s->seqs.at[k].tap : last;
            }
        cg_node *at = rows_at(x->outer, x->tap, first, last);
        ok = at && CG_PUSH(&rows, at);
    }
    for (int i = 0; i < s->seqs.n && ok; i++)
        s->seqs.at[i].outer = rows.at[i];
    CG_VEC_FREE(&rows);
    return ok;
}

/* As many steps as the shortest sequence has rows, unless their number was given. */
static bool settle_steps(cg_scan *s)
{
    cg_graph *g = s->g;
    if (s->steps)
        return true;
    for (int i = 0; i < s->seqs.n; i++) {
        cg_node *rows = cg__dim_node(g, s->seqs.at[i].outer->type.dim[0]);
        s->steps = i && rows ? cg__int(g, CG_OP_minimum, s->steps, rows) : rows;
    }
    return s->steps || cg__scan_wrong(s, CG_EINVAL, "end", "a loop without sequences needs a number of steps") != NULL;
}

/* Every sequence is cut to the number of steps. Where it has fewer rows the call tells so, unless both are known. */
static bool cut_sequences(cg_scan *s)
{
    cg_graph *g = s->g;
    double steps;
    const bool known = cg__is_const(s->steps, &steps);
    for (int i = 0; i < s->seqs.n; i++) {
        cg_node *x = s->seqs.at[i].outer, *rows = cg__dim_node(g, x->type.dim[0]);
        const cg_dim_t have = x->type.dim[0];
        if (known && !have.sym && steps > (double)have.n)
            return cg__scan_wrong(s, CG_ESHAPE, "end", "%.0f steps, but %s has rows for %lld", steps, cg__label(cg__scan_sequence(x)), (long long)have.n) != NULL;
        if (rows != s->steps && s->seqs.at[i].back)
            s->seqs.at[i].outer = cg_slice(x, 0, cg__int(g, CG_OP_maximum, cg__int(g, CG_OP_sub, rows, s->steps), cg__const_i64(g, 0)), NULL, 1);
        else if (rows != s->steps)
            s->seqs.at[i].outer = cg_slice(x, 0, NULL, s->steps, 1);
        if (!s->seqs.at[i].outer)
            return false;
    }
    return true;
}

static bool gather_roots(closing *c)
{
    const cg_scan *s = c->s;
    bool ok = true;
    for (int i = 0; i < s->states.n && ok; i++) {
        if (!s->states.at[i].next)
            return cg__scan_wrong(c->s, CG_EINVAL, "end", "the state that begins as %s has no next value", cg__label(s->states.at[i].outer)) != NULL;
        ok = CG_PUSH(&c->roots, s->states.at[i].next);
    }
    for (int i = 0; i < s->results.n && ok; i++)
        ok = CG_PUSH(&c->roots, s->results.at[i].value);
    return ok && cg__reach_values(c->roots.at, c->roots.n, &c->nodes);
}

/* What is stacked has its number of rows from that output. */
static bool settle_done(cg_scan *s)
{
    bool there = !s->until;
    for (int i = 0; i < s->results.n; i++)
        there |= s->results.at[i].keep == CG_SCAN_DONE;
    return there || cg__scan_done(s) == CG_OK;
}

void cg__scan_drop(cg_scan *s)
{
    if (!s)
        return;
    for (cg_scan **at = &s->g->scan; *at; at = &(*at)->around)
        if (*at == s) {
            *at = s->around;
            break;
        }
    CG_VEC_FREE(&s->seqs);
    CG_VEC_FREE(&s->states);
    CG_VEC_FREE(&s->results);
    cg__free(s);
}

/* The outputs of the finished loop, which checkpoints cut into blocks. */
static bool deliver(const cg_scan *s, cg_node *node, cg_node **const *out, int n)
{
    cg_node **value = cg__zalloc((size_t)s->results.n * sizeof *value);
    bool ok = value && (!s->every || cg__scan_in_blocks(node, s->every, value));
    for (int i = 0; i < s->results.n && ok && !s->every; i++)
        ok = (value[i] = cg__get(node, i)) != NULL;
    for (int i = 0; i < n && ok; i++)
        *out[i] = value[i];
    for (int i = 0, at = n; i < s->states.n && ok; i++)
        if (s->states.at[i].shared)
            ok = update_shared(s, s->states.at[i].shared, value[at++]);
    cg__free(value);
    return ok;
}

CG_API int cg_scan_end(cg_scan *s, cg_node **const *out, int n)
{
    CG_BUILDER(s ? s->g : NULL);
    cg_node *node = NULL;
    for (int i = 0; i < n; i++)
        *out[i] = NULL;
    if (!s)
        return CG_EINVAL;
    closing c = { .s = s, .g = s->g };
    if (!s->failed && n != s->results.n)
        cg__scan_wrong(s, CG_EINVAL, "end", "the places for outputs are not as many as the outputs");
    if (!s->failed && add_shared(s) && !s->results.n)
        cg__scan_wrong(s, CG_EINVAL, "end", "the loop has no output");
    if (!s->failed && shift_sequences(s) && settle_steps(s) && settle_done(s) && gather_roots(&c)) {
        drop_unused(s, &c.nodes);
        if (cut_sequences(s))
            close_all(&c);
        node = !s->failed && !c.failed ? make_scan(&c) : NULL;
    }
    if (node && s->name)
        cg_name(node, s->name);
    if (node && !deliver(s, node, out, n))
        node = NULL;
    if (!node && !s->g->error.code)
        cg__graph_fail(s->g, CG_ENOMEM, "cg_scan_end: no memory");
    cg__map_free(&c.inside);
    cg__map_free(&c.memo);
    CG_VEC_FREE(&c.roots);
    CG_VEC_FREE(&c.closed);
    CG_VEC_FREE(&c.captures);
    CG_VEC_FREE(&c.nodes);
    const int rc = node ? CG_OK : (int)s->g->error.code;
    cg__scan_drop(s);
    return rc;
}
