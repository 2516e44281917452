// SPDX-License-Identifier: MIT
/* Loops rewritten as wholes. Each loop is taken apart and built again with the outputs that are used, so that what nobody reads is gone;
 * on the way:
 *   merge     loops over the same operands with the same next states are one loop with the outputs of all
 *   before    a product of sequence rows and captures is one product over all rows before the loop
 *   after     a sum over steps of A'B is one product of the stacked A and B after the loop; a sum of what is stacked anyhow is a sum after it
 */
#include "core/graph/build.h"
#include "core/graph/guard.h"
#include "core/graph/scan.h"
#include "core/rewrite/rewrite.h"

typedef struct pass { cg_graph *g; cg_node_vec nodes; cg_map memo, used; bool failed; } pass;    /* memo: old node -> new; used: outputs (get nodes) */

static bool has(const cg_map *m, const cg_node *n)
{
    uint64_t v;
    return cg__map_get(m, cg__key(n), &v);
}

static void put(bool *failed, cg_map *m, const cg_node *from, const cg_node *to)
{
    *failed |= !to || !cg__map_set(m, cg__key(from), cg__key(to));
}

/* A loop over what its operands have become. */
static cg_node *over_new_operands(pass *p, cg_node *n)
{
    cg_node **in = cg__zalloc((size_t)n->nin * sizeof *in), *made = NULL;
    bool ok = in != NULL;
    for (int k = 0; k < n->nin && ok; k++) {
        in[k] = k < cg__nvalues(n) ? cg__clone(p->g, n->in[k], &p->memo) : n->in[k];
        ok = in[k] != NULL;
    }
    made = ok ? cg__node(p->g, CG_OP_scan, in, n->nin, n->attr) : NULL;
    cg__free(in);
    return made;
}

/* ---- merge */

static bool same_loop(const cg_node *a, const cg_node *b)
{
    const cg_scan_view x = cg__scan_view(a), y = cg__scan_view(b);
    if (x.nseq != y.nseq || x.nstate != y.nstate || x.ncapture != y.ncapture || cg__nvalues(a) != cg__nvalues(b))
        return false;
    bool same = memcmp(a->in, b->in, (size_t)cg__nvalues(a) * sizeof *a->in) == 0;
    for (int i = 0; same && i < x.nseq; i++)
        same = x.back[i] == y.back[i];
    for (int i = 0; same && i < x.nstate; i++)
        same = x.root[i] == y.root[i];
    return same;
}

typedef struct outs { CG_VEC(cg_node *) root; CG_VEC(int64_t) row; } outs;      /* roots, and keep root back of each output */

static int index_of_root(outs *o, cg_node *root, bool *failed)
{
    for (int i = 0; i < o->root.n; i++)
        if (o->root.at[i] == root)
            return i;
    *failed |= !CG_PUSH(&o->root, root);
    return o->root.n - 1;
}

static int index_of_out(outs *o, const cg_scan_view *v, const cg_scan_out_row *row, bool *failed)
{
    const int64_t root = row->keep == CG_SCAN_LAST ? row->root : index_of_root(o, v->root[row->root], failed);
    for (int i = 0; i < o->row.n; i += 3)
        if (o->row.at[i] == row->keep && o->row.at[i + 1] == root && o->row.at[i + 2] == row->back)
            return i / 3;
    *failed |= !CG_PUSH(&o->row, row->keep) || !CG_PUSH(&o->row, root) || !CG_PUSH(&o->row, row->back);
    return o->row.n / 3 - 1;
}

static cg_node *with_outs(pass *p, const cg_node *n, const outs *o)
{
    CG_VEC(cg_node *) in = { 0 };
    CG_VEC(int64_t) body = { 0 };
    for (int i = 0; i < cg__nvalues(n); i++)
        p->failed |= !CG_PUSH(&in, n->in[i]);
    for (int i = 0; i < o->root.n; i++)
        p->failed |= !CG_PUSH(&body, CG_REF(in.n)) || !CG_PUSH(&in, o->root.at[i]);
    cg_attr attrs[CG_MAX_ATTRS];
    memcpy(attrs, n->attr, sizeof attrs);
    attrs[CG_SCAN_A_BODY] = (cg_attr){ body.n, body.at };
    attrs[CG_SCAN_A_OUTS] = (cg_attr){ o->row.n, o->row.at };
    cg_node *made = p->failed ? NULL : cg__node(p->g, CG_OP_scan, in.at, in.n, attrs);
    CG_VEC_FREE(&in);
    CG_VEC_FREE(&body);
    return made;
}

/* Puts loop `first` and all later ones like it into the memo, as outputs of one loop. */
static void merge_like(pass *p, int first)
{
    const cg_node *n = p->nodes.at[first];
    const cg_scan_view v = cg__scan_view(n);
    outs o = { 0 };
    cg_node *made = NULL;
    for (int i = 0; i < v.nstate; i++)
        p->failed |= !CG_PUSH(&o.root, v.root[i]);
    for (int names = 0; names < 2 && !p->failed; names++) {          /* all outputs first, then the memo */
        for (int i = first; i < p->nodes.n; i++) {
            cg_node *m = p->nodes.at[i];
            if (!cg__is(m, CG_OP_scan) || (names == 0 && has(&p->memo, m)) || !same_loop(n, m))
                continue;
            const cg_scan_view w = cg__scan_view(m);
            for (int k = 0; k < w.nouts; k++) {
                const int at = index_of_out(&o, &w, &w.out[k], &p->failed);
                if (names)
                    put(&p->failed, &p->memo, cg__get(m, k), cg__get(made, at));
            }
            if (names)
                put(&p->failed, &p->memo, m, made);
        }
        if (!made && (made = with_outs(p, n, &o)))
            made = over_new_operands(p, made);
        p->failed |= !made;
    }
    CG_VEC_FREE(&o.root);
    CG_VEC_FREE(&o.row);
}

/* ---- one loop, taken apart */

typedef struct part { cg_node *batched; bool seq, fixed, back; } part;   /* of a body node: reads rows (walked `back`); reads states or the step */
typedef struct loop {
    pass *p;
    cg_graph *g;
    cg_node *old, *n;                    /* as it was, and over its new operands */
    cg_scan_view v;
    cg_scan *s;
    bool *need;                          /* states */
    cg_node_vec body;                    /* nodes that the used outputs need */
    cg_guards guards;                    /* of these: what only a branch needs stays in it */
    cg_map memo;                         /* body node -> node of the open body */
    cg_map parts;                        /* body node -> index of its part */
    CG_VEC(part) part;
    CG_VEC(cg_scan_result) outs;         /* of the new loop */
    bool failed;
} loop;

/* An output of the old loop: output `index` of the new one, or what `after` makes of it and of output `second`. */
typedef struct out_ref { int index, second; cg_node *(*after)(const cg_node *root, cg_node *a, cg_node *b); } out_ref;

static bool used(const loop *l, int k)
{
    return has(&l->p->used, cg__get(l->old, k));
}

static int state_of(const loop *l, const cg_node *n)
{
    const int64_t k = cg__is(n, CG_OP_arg) ? n->attr[0].at[0] - l->v.nseq : -1;
    return k >= 0 && k < l->v.nstate ? (int)k : -1;
}

/* States that a used output needs, and the nodes of the body that compute them. */
static void find_needed(loop *l)
{
    bool more = true;
    for (int k = 0; k < l->v.nouts; k++)
        if (used(l, k) && l->v.out[k].root < l->v.nstate)
            l->need[l->v.out[k].root] = true;
    while (more && !l->failed) {
        cg_node_vec roots = { 0 };
        more = false;
        for (int i = 0; i < l->v.nstate; i++)
            l->failed |= l->need[i] && !CG_PUSH(&roots, l->v.root[i]);
        for (int k = 0; k < l->v.nouts; k++)
            l->failed |= used(l, k) && !CG_PUSH(&roots, l->v.root[l->v.out[k].root]);
        l->body.n = 0;
        l->failed |= !cg__reach_values(roots.at, roots.n, &l->body);
        for (int i = 0; i < l->body.n && !l->failed; i++) {
            const int s = state_of(l, l->body.at[i]);
            if (s >= 0 && !l->need[s])
                l->need[s] = more = true;
        }
        CG_VEC_FREE(&roots);
    }
}

/* ---- before: products of rows */

static part *part_of(const loop *l, const cg_node *n)
{
    uint64_t i;
    return cg__map_get(&l->parts, cg__key(n), &i) ? &l->part.at[i] : NULL;
}

/* Axes of size 1 behind the first, until x has the given rank: a row of lower rank broadcasts from the right. */
static cg_node *padded(cg_node *x, int rank)
{
    while (x && x->type.rank < rank)
        x = cg_expand_dims(x, 1);
    return x;
}

static cg_node *flat_rows(cg_node *x)
{
    cg_graph *g = x->graph;
    const cg_dim_t rows = cg__dim_mul(g, x->type.dim[0], x->type.dim[1]);
    return cg_reshape_to(x, (cg_node *[]){ cg__dim_node(g, rows), cg__dim_node(g, x->type.dim[2]) }, 2);
}

static cg_node *batched_product(const loop *l, const cg_node *n)
{
    const part *a = part_of(l, n->in[0]), *b = part_of(l, n->in[1]);
    cg_node *x = a->batched, *y = b->batched;
    if (n->type.rank != 2 || !x || !y || !a->seq)
        return NULL;
    if (b->seq)
        return cg_matmul(x, y);
    cg_node *c = cg_matmul(flat_rows(x), y);
    return c ? cg_reshape_to(c, (cg_node *[]){ cg__dim_node(l->g, x->type.dim[0]), cg__dim_node(l->g, x->type.dim[1]), cg__dim_node(l->g, c->type.dim[1]) }, 3) : NULL;
}

static cg_node *batched_elementwise(const loop *l, const cg_node *n)
{
    cg_node *in[3];
    for (int k = 0; k < n->nin; k++) {
        const part *q = part_of(l, n->in[k]);
        if (!(in[k] = q->seq ? padded(q->batched, n->type.rank + 1) : q->batched))
            return NULL;
    }
    return cg__build(l->g, cg__op_id(n), in, n->nin, n->attr);
}

static cg_node *batched_transpose(const loop *l, const cg_node *n)
{
    int64_t axes[CG_MAX_RANK] = { 0 };
    cg_node *x = part_of(l, n->in[0])->batched;
    for (int i = 0; i < n->type.rank; i++)
        axes[i + 1] = n->attr[0].at[i] + 1;
    return x ? cg_transpose(x, axes, n->type.rank + 1) : NULL;
}

/* The node over all rows at once, with a new first axis; NULL: not known how. */
static cg_node *batched(const loop *l, const cg_node *n)
{
    if (n->type.rank == CG_MAX_RANK)
        return NULL;
    if ((n->op->props & CG_ELEMWISE) || cg__is(n, CG_OP_cast))
        return batched_elementwise(l, n);
    return cg__is(n, CG_OP_matmul) ? batched_product(l, n) : cg__is(n, CG_OP_transpose) ? batched_transpose(l, n) : NULL;
}

static part leaf_part(const loop *l, cg_node *n)
{
    const int64_t k = cg__is(n, CG_OP_arg) ? n->attr[0].at[0] : -1;
    const int after = l->v.nseq + l->v.nstate;
    if (k < 0)
        return (part){ .batched = n };
    if (k < l->v.nseq)
        return (part){ .batched = l->v.seq[k], .seq = true, .back = l->v.back[k] != 0 };
    return k >= after && k < after + l->v.ncapture ? (part){ .batched = l->v.seq[k] } : (part){ .fixed = true };
}

static void find_part(loop *l, cg_node *n)
{
    part q = { 0 };
    bool mixed = false;
    if (!cg__nvalues(n) || cg__is(n, CG_OP_arg))
        q = leaf_part(l, n);
    for (int k = 0; k < cg__nvalues(n) && !cg__is(n, CG_OP_arg); k++) {
        const part *in = part_of(l, n->in[k]);
        mixed |= in->seq && q.seq && in->back != q.back;
        q.fixed |= in->fixed;
        q.back |= in->seq && in->back;
        q.seq |= in->seq;
    }
    if (q.seq && !q.fixed && !mixed && !q.batched)
        q.batched = batched(l, n);
    else if (!q.seq && !q.fixed && !q.batched)
        q.batched = cg__clone(l->g, n, &l->memo);        /* made of captures only: as it is outside */
    l->failed |= !cg__map_set(&l->parts, cg__key(n), (uint64_t)l->part.n) || !CG_PUSH(&l->part, q);
}

static void move_before(loop *l)
{
    for (int i = 0; i < l->body.n && !l->failed; i++) {
        cg_node *n = l->body.at[i];
        find_part(l, n);
        if (l->failed)
            return;
        const part q = *part_of(l, n);
        if (cg__is(n, CG_OP_matmul) && q.seq && q.batched && !cg__guard_of(&l->guards, n))
            put(&l->failed, &l->memo, n, cg__scan_seq(l->s, q.batched, q.back));
    }
}

/* ---- after: sums over steps */

static cg_node *open_value(loop *l, cg_node *n)
{
    cg_node *v = cg__clone(l->g, n, &l->memo);
    l->failed |= !v;
    return v;
}

static int add_out(loop *l, cg_scan_result r)
{
    for (int i = 0; i < l->outs.n; i++) {
        const cg_scan_result *o = &l->outs.at[i];
        if (o->value == r.value && o->keep == r.keep && o->back == r.back && o->state == r.state)
            return i;
    }
    l->failed |= !CG_PUSH(&l->outs, r);
    return l->outs.n - 1;
}

static int stack_out(loop *l, cg_node *open, bool back)
{
    return add_out(l, (cg_scan_result){ open, CG_SCAN_ALL, back, -1 });
}

/* The output that stacks a value already, or -1. */
static int stacked(const loop *l, const cg_node *open)
{
    for (int i = 0; i < l->outs.n; i++)
        if (l->outs.at[i].value == open && l->outs.at[i].keep == CG_SCAN_ALL)
            return i;
    return -1;
}

static const cg_scan_item *sequence_of(const loop *l, const cg_node *open)
{
    for (int i = 0; i < l->s->seqs.n; i++)
        if (l->s->seqs.at[i].place == open)
            return &l->s->seqs.at[i];
    return NULL;
}


/* sum over steps of A'B: all rows of A' beside one another, times all rows of B below one another. */
static cg_node *product_after(const cg_node *root, cg_node *a, cg_node *b)
{
    (void)root;
    return cg_matmul(cg_transpose(flat_rows(a), CG_AXES(1, 0)), flat_rows(b));
}

static cg_node *sum_after(const cg_node *root, cg_node *a, cg_node *b)
{
    int64_t axes[CG_MAX_RANK] = { 0 };
    int n = 1;
    (void)b;
    for (int i = 0; cg__is(root, CG_OP_sum) && i < root->attr[0].n; i++)
        axes[n++] = root->attr[0].at[i] + 1;
    return cg_sum(a, CG_REDUCE(.axes = axes, .naxes = n));
}

static bool is_product(const cg_node *n)
{
    return cg__is(n, CG_OP_matmul) && n->type.rank == 2 && cg__is(n->in[0], CG_OP_transpose);
}

/* What a sum over steps adds up, seen through a sum over axes of one step. */
static cg_node *summand(cg_node *root)
{
    return cg__is(root, CG_OP_sum) && root->attr[1].at[0] == 0 ? root->in[0] : root;
}

/* The three kinds of outputs in the order in which they are planned: what a product stacks, a later sum can use. */
typedef enum { OUT_PLAIN, OUT_PRODUCT, OUT_SUM, OUT_KINDS } out_kind;

static out_kind kind_of(const loop *l, int k)
{
    const cg_scan_out_row *o = &l->v.out[k];
    const cg_node *root = l->v.root[o->root];
    if (o->keep != CG_SCAN_SUM || !cg__is_float(root->type.dtype))
        return OUT_PLAIN;
    return is_product(root) ? OUT_PRODUCT : OUT_SUM;
}

/* LAST names a state by its position among those that are kept. */
static int kept_state(const loop *l, int64_t state)
{
    int at = 0;
    for (int i = 0; i < state; i++)
        at += l->need[i];
    return at;
}

/* Both operands of a product are stacked in one order: that of a sequence that one of them is, since it then needs no copy. */
static out_ref plan_product(loop *l, const cg_node *root)
{
    cg_node *a = open_value(l, root->in[0]->in[0]), *b = open_value(l, root->in[1]);
    const cg_scan_item *seq = sequence_of(l, a) ? sequence_of(l, a) : sequence_of(l, b);
    const bool back = seq && seq->back;
    const int first = stack_out(l, a, back);
    return (out_ref){ first, stack_out(l, b, back), product_after };
}

static out_ref plan_out(loop *l, int k)
{
    const cg_scan_out_row *o = &l->v.out[k];
    cg_node *root = l->v.root[o->root];
    const out_kind kind = kind_of(l, k);
    if (o->keep == CG_SCAN_LAST)
        return (out_ref){ .index = add_out(l, (cg_scan_result){ NULL, CG_SCAN_LAST, false, kept_state(l, o->root) }) };
    if (kind == OUT_PRODUCT)
        return plan_product(l, root);
    cg_node *term = kind == OUT_SUM ? open_value(l, summand(root)) : NULL;
    if (term && stacked(l, term) >= 0)
        return (out_ref){ .index = stacked(l, term), .after = sum_after };
    return (out_ref){ .index = add_out(l, (cg_scan_result){ open_value(l, root), (cg_scan_keep)o->keep, o->back != 0, -1 }) };
}

/* ---- building it again */

/* A stacked row of a sequence is the sequence: it needs no output. */
static cg_node *sequence_itself(const loop *l, const cg_scan_result *r)
{
    const cg_scan_item *seq = r->keep == CG_SCAN_ALL ? sequence_of(l, r->value) : NULL;
    return seq && seq->back == r->back ? seq->outer : NULL;
}

static bool open_loop(loop *l)
{
    const int nargs = cg__scan_nargs(&l->v);
    cg_node **args = cg__zalloc((size_t)nargs * sizeof *args);
    l->s = cg_scan_begin(l->g, CG_SCAN(.steps = l->v.steps));
    bool ok = args && l->s;
    for (int i = 0; ok && i < nargs; i++) {
        const int state = i - l->v.nseq;
        if (i < l->v.nseq)
            args[i] = cg__scan_seq(l->s, l->v.seq[i], l->v.back[i] != 0);
        else if (state < l->v.nstate)
            args[i] = l->need[state] ? cg_scan_state(l->s, l->v.init[state]) : l->v.init[state];
        else
            args[i] = i < nargs - 1 ? l->v.seq[i] : cg_scan_index(l->s);
        ok = args[i] && !l->s->failed;
    }
    ok = ok && cg__scan_map_args(l->n, args, &l->memo);
    cg__free(args);
    return ok;
}

static void next_states(loop *l)
{
    int at = 0;
    for (int i = 0; i < l->v.nstate && !l->failed; i++)
        if (l->need[i]) {
            cg_node *next = open_value(l, l->v.root[i]);
            l->failed |= !next || cg_scan_next(l->s, l->s->states.at[at].place, next) < 0;
            at++;
        }
}

/* The new loop's outputs as nodes: gets, or sequences that were asked to be stacked. */
static void end_loop(loop *l, cg_node **value)
{
    cg_node ***where = cg__zalloc((size_t)(l->outs.n + 1) * sizeof *where);
    int n = 0;
    l->failed |= !where;
    for (int i = 0; i < l->outs.n && !l->failed; i++) {
        const cg_scan_result *r = &l->outs.at[i];
        if ((value[i] = sequence_itself(l, r)))
            continue;
        l->failed |= (r->keep == CG_SCAN_LAST ? cg__scan_last(l->s, r->state) : cg__scan_out(l->s, r->value, r->keep, r->back)) < 0;
        where[n++] = &value[i];
    }
    if (!l->failed && n) {
        l->failed = cg_scan_end(l->s, where, n) < 0;
        l->s = NULL;
    }
    cg__free(where);
}

static void deliver(loop *l, const out_ref *refs, cg_node *const *value)
{
    for (int k = 0; k < l->v.nouts && !l->failed; k++) {
        if (!used(l, k))
            continue;
        cg_node *to = value[refs[k].index];
        if (to && refs[k].after)
            to = refs[k].after(l->v.root[l->v.out[k].root], to, value[refs[k].second]);
        put(&l->failed, &l->p->memo, cg__get(l->old, k), to);
    }
}

static void build_again(loop *l)
{
    out_ref *refs = cg__zalloc((size_t)l->v.nouts * sizeof *refs);
    l->failed |= !refs;
    for (int kind = 0; kind < OUT_KINDS && !l->failed; kind++)
        for (int k = 0; k < l->v.nouts && !l->failed; k++)
            if (used(l, k) && (int)kind_of(l, k) == kind)
                refs[k] = plan_out(l, k);
    next_states(l);
    cg_node **value = cg__zalloc((size_t)(l->outs.n + 1) * sizeof *value);
    l->failed |= !value;
    if (!l->failed)
        end_loop(l, value);
    if (!l->failed)
        deliver(l, refs, value);
    cg__free(refs);
    cg__free(value);
}

/* The outputs of `old`, which is n over new operands, become those of a better loop in the memo. */
static void rewrite_loop(pass *p, cg_node *old, cg_node *n)
{
    loop l = { .p = p, .g = p->g, .old = old, .n = n, .v = cg__scan_view(n) };
    const cg_node *inherit = p->g->inherit;
    p->g->inherit = n;
    l.need = cg__zalloc((size_t)(l.v.nstate + 1) * sizeof *l.need);
    l.failed = !l.need;
    if (!l.failed)
        find_needed(&l);
    if (!l.failed)
        l.failed = !open_loop(&l);
    l.failed = l.failed || !cg__guards_find(&l.guards, &l.body, l.v.root, l.v.nroots, NULL, 0);
    if (!l.failed)
        move_before(&l);
    if (!l.failed)
        build_again(&l);
    cg__scan_drop(l.s);
    p->g->inherit = inherit;
    p->failed |= l.failed;
    cg__free(l.need);
    CG_VEC_FREE(&l.body);
    cg__guards_free(&l.guards);
    cg__map_free(&l.memo);
    cg__map_free(&l.parts);
    CG_VEC_FREE(&l.part);
    CG_VEC_FREE(&l.outs);
}

/* ---- the graph */

static void note_used(pass *p, cg_node *const *roots, int n)
{
    for (int i = 0; i < p->nodes.n && !p->failed; i++)
        for (int k = 0; k < cg__nvalues(p->nodes.at[i]); k++)
            if (cg__is(p->nodes.at[i]->in[k], CG_OP_get))
                put(&p->failed, &p->used, p->nodes.at[i]->in[k], p->nodes.at[i]);
    for (int i = 0; i < n; i++)
        if (cg__is(roots[i], CG_OP_get))
            put(&p->failed, &p->used, roots[i], roots[i]);
}

static void merge_all(pass *p)
{
    for (int i = 0; i < p->nodes.n && !p->failed; i++)
        if (cg__is(p->nodes.at[i], CG_OP_scan) && !has(&p->memo, p->nodes.at[i]))
            merge_like(p, i);
}

static void rewrite_all(pass *p)
{
    for (int i = 0; i < p->nodes.n && !p->failed; i++) {
        cg_node *n = p->nodes.at[i], *now = cg__is(n, CG_OP_scan) ? over_new_operands(p, n) : NULL;
        p->failed |= !now && cg__is(n, CG_OP_scan);
        if (now && !p->failed)
            rewrite_loop(p, n, now);
    }
}

/* One walk over the loops that the roots reach; the roots become what the memo says. */
static bool walk(cg_graph *g, cg_node **roots, int n, void (*visit)(pass *))
{
    pass p = { .g = g };
    bool any = false;
    p.failed = !cg__reach_values(roots, n, &p.nodes);
    for (int i = 0; i < p.nodes.n && !any; i++)
        any = cg__is(p.nodes.at[i], CG_OP_scan);
    if (any && !p.failed) {
        note_used(&p, roots, n);
        visit(&p);
    }
    if (any && !p.failed)
        p.failed = !cg__clone_all(g, roots, roots, n, &p.memo);
    CG_VEC_FREE(&p.nodes);
    cg__map_free(&p.memo);
    cg__map_free(&p.used);
    return !p.failed;
}

int cg__rewrite_scans(cg_graph *g, cg_node **roots, int n, cg_error *err)
{
    if (!g->loops || (walk(g, roots, n, merge_all) && walk(g, roots, n, rewrite_all)))
        return CG_OK;
    return cg__fail(err, g->error.code ? g->error.code : CG_ENOMEM, "%s", g->error.code ? g->error.text : "rewriting: no memory");
}
