// SPDX-License-Identifier: MIT
/* What a loop need not do itself, done after it from what it stacks.
 *
 * Each output is asked twice for what stands for it: first for what the loop must then keep (the answer is NULL), then, when a loop that keeps
 * all that is there, for its value. Outputs for which nothing is better stay what they are; what is kept and not read goes when the loop is
 * built again.
 *     sum of A'B      -> (A stacked)' (B stacked): all rows of A' beside one another times all rows of B below one another
 *     sum of A W      -> (sum of A) W
 *     last of h, h' = h + x -> h0 + sum of x
 *     out = f(h W)    -> f((h stacked) W), if no state needs it
 */
#include "core/rewrite/loops.h"

typedef struct after {
    cg_loop_work *l;
    cg_loops *p;
    cg_graph *g;
    cg_steps s;                  /* of the loop as it was */
    cg_loop_outs outs;           /* of the loop that keeps what is asked for */
    cg_node *made;               /* that loop, once there is one */
    cg_map stays;                /* body nodes that states need */
    cg_map readers;              /* args of states -> how many body nodes read them */
    bool *need;                  /* states */
    bool *moves;                 /* outputs that are computed after the loop by the operations over all steps */
} after;

static bool on(const after *a, cg_loop_rewrite r) { return !a->p->off[r]; }
static cg_node *kept(const after *a, int out) { return a->made ? cg__get(a->made, out) : NULL; }

static int arg_of(const cg_node *n) { return cg__is(n, CG_OP_arg) ? (int)n->attr[0].at[0] : -1; }
static int seq_of(const after *a, const cg_node *n) { return arg_of(n) < a->s.v.nseq ? arg_of(n) : -1; }

/* All values of a varying node: a sequence itself, or what the loop then stacks. */
static cg_node *stack(after *a, cg_node *n, bool back)
{
    const int q = seq_of(a, n);
    if (q < 0)
        return kept(a, cg__loop_out(&a->outs, CG_SCAN_ALL, n, back));
    return (a->s.v.back[q] != 0) == back ? a->s.v.seq[q] : a->made ? cg_flip(a->s.v.seq[q], 0) : NULL;
}

/* ---- sums over steps */

static bool is_product(const cg_node *n)
{
    return cg__is(n, CG_OP_matmul) && n->type.rank == 2;
}

static bool is_transposed_product(const cg_node *n)
{
    return cg__is(n, CG_OP_transpose) && is_product(n->in[0]) && cg__is(n->in[0]->in[0], CG_OP_transpose);
}

enum { MAX_TERMS = 16 };                 /* of a sum in a body, one after the other */

static bool holds_in(const cg_node *n, int depth)
{
    return is_product(n) || is_transposed_product(n) || (depth && cg__is(n, CG_OP_add) && (holds_in(n->in[0], depth - 1) || holds_in(n->in[1], depth - 1)));
}

static bool holds_product(const cg_node *n) { return holds_in(n, MAX_TERMS); }

/* Both factors are stacked in one order: that of a sequence that one of them is, since it then needs no copy. */
static cg_node *sum_of_products(after *a, const cg_node *n)
{
    cg_node *x = n->in[0]->in[0], *y = n->in[1];
    const int q = seq_of(a, x) >= 0 ? seq_of(a, x) : seq_of(a, y);
    const bool back = q >= 0 && a->s.v.back[q];
    cg_node *all_x = stack(a, x, back), *all_y = stack(a, y, back);
    return a->made ? cg_matmul(cg_transpose(cg__steps_flat(all_x), CG_AXES(1, 0)), cg__steps_flat(all_y)) : NULL;
}

/* What a sum over steps adds up, seen through a sum over axes of one step. */
static cg_node *summand(cg_node *n)
{
    return cg__is(n, CG_OP_sum) && n->attr[1].at[0] == 0 ? n->in[0] : n;
}

static cg_node *sum_of_stack(const cg_node *n, cg_node *all)
{
    int64_t axes[CG_MAX_RANK] = { 0 };
    int k = 1;
    for (int i = 0; cg__is(n, CG_OP_sum) && i < n->attr[0].n; i++)
        axes[k++] = n->attr[0].at[i] + 1;
    return cg_sum(all, CG_REDUCE(.axes = axes, .naxes = k));
}

static int stacked(const after *a, const cg_node *n)
{
    for (int i = 0; i < a->outs.row.n; i += 3)
        if (a->outs.row.at[i] == CG_SCAN_ALL && a->outs.root.at[a->outs.row.at[i + 1]] == n)
            return i / 3;
    return -1;
}

static cg_node *sum_of(after *a, cg_node *n);

/* A sum of products in which a factor is the same in every step. */
static cg_node *sum_of_linear(after *a, const cg_node *n, int k)
{
    cg_node *sum = sum_of(a, n->in[k]);
    if (!a->made)
        return NULL;
    cg_node *same = cg__steps_outside(&a->s, n->in[1 - k]);
    return k ? cg_matmul(same, sum) : cg_matmul(sum, same);
}

/* The factors of a product that vary: 1, 2 or both. None if they vary in size, for these do not stack. */
static int varying_factors(const after *a, const cg_node *n)
{
    if (!is_product(n) || !cg__scan_is_fixed(&a->s.v, n->in[0]) || !cg__scan_is_fixed(&a->s.v, n->in[1]))
        return 0;
    return cg__steps_varies(&a->s, n->in[0]) + 2 * cg__steps_varies(&a->s, n->in[1]);
}

static cg_node *sum_of(after *a, cg_node *n)
{
    const cg_steps *s = &a->s;
    if (is_transposed_product(n) && varying_factors(a, n->in[0]) == 3 && on(a, CG_LOOP_SUM_PRODUCT)) {        /* the gradient of a matrix that the body reads transposed */
        cg_node *sum = sum_of(a, n->in[0]);
        return a->made ? cg_transpose(sum, n->attr[0].at, n->attr[0].n) : NULL;
    }
    const bool terms = on(a, CG_LOOP_SUM_TERMS) && cg__is(n, CG_OP_add) && holds_product(n) && cg__steps_varies(s, n->in[0]) && cg__steps_varies(s, n->in[1]);
    const int varying = varying_factors(a, n);
    if (terms) {
        cg_node *x = sum_of(a, n->in[0]), *y = sum_of(a, n->in[1]);
        return a->made ? cg_add(x, y) : NULL;
    }
    if ((varying == 1 || varying == 2) && on(a, CG_LOOP_SUM_LINEAR))
        return sum_of_linear(a, n, varying - 1);
    if (varying == 3 && cg__is(n->in[0], CG_OP_transpose) && on(a, CG_LOOP_SUM_PRODUCT))
        return sum_of_products(a, n);
    const int all = on(a, CG_LOOP_SUM_STACKED) ? stacked(a, summand(n)) : -1;
    return all < 0 ? kept(a, cg__loop_out(&a->outs, CG_SCAN_SUM, n, false)) : a->made ? sum_of_stack(n, kept(a, all)) : NULL;
}

/* Which of the sums' rules it is that would fire. */
static cg_loop_rewrite sum_rule(const after *a, const cg_node *n)
{
    n = is_transposed_product(n) ? n->in[0] : n;
    const int varying = varying_factors(a, n);
    return cg__is(n, CG_OP_add) && holds_product(n) ? CG_LOOP_SUM_TERMS : varying == 3 ? CG_LOOP_SUM_PRODUCT : varying ? CG_LOOP_SUM_LINEAR : CG_LOOP_SUM_STACKED;
}

/* ---- states that only add up */

static bool is_stacked_state(const after *a, int state)
{
    const cg_scan_view *v = &a->s.v;
    for (int k = 0; k < v->nouts; k++)
        if (cg__loop_is_used(a->l, k) && v->out[k].keep != CG_SCAN_LAST && (v->out[k].root == state || arg_of(v->root[v->out[k].root]) == v->nseq + state))
            return true;
    return false;
}

/* What each step adds to the state, a product that nothing else needs the state for; or NULL. */
static cg_node *added(const after *a, int state)
{
    const cg_node *next = a->s.v.root[state];
    for (int k = 0; k < 2 && cg__is(next, CG_OP_add) && on(a, CG_LOOP_ACCUMULATOR); k++) {
        uint64_t readers = 0;
        if (arg_of(next->in[k]) == a->s.v.nseq + state && holds_product(next->in[1 - k]) && cg__map_get(&a->readers, cg__key(next->in[k]), &readers) && readers == 1 &&
            cg__type_same(&next->in[1 - k]->type, &next->in[k]->type) && !is_stacked_state(a, state))
            return next->in[1 - k];
    }
    return NULL;
}

static void count_readers(after *a)
{
    for (int i = 0; i < a->s.body.n; i++)
        for (int k = 0; k < cg__nvalues(a->s.body.at[i]); k++) {
            uint64_t n = 0;
            cg_node *in = a->s.body.at[i]->in[k];
            if (arg_of(in) < 0)
                continue;
            (void)cg__map_get(&a->readers, cg__key(in), &n);
            a->p->failed |= !cg__map_set(&a->readers, cg__key(in), n + 1);
        }
}

/* ---- what no state needs */

/* States that outputs need, and all that these states need; `stays` are the nodes that compute their next values. */
static void find_stays(after *a)
{
    const cg_scan_view *v = &a->s.v;
    cg_node_vec roots = { 0 }, nodes = { 0 };
    for (int i = 0; i < v->nstate; i++)
        if (a->need[i] && !added(a, i))
            a->p->failed |= !CG_PUSH(&roots, v->root[i]);
    a->p->failed |= !cg__reach_values(roots.at, roots.n, &nodes);
    for (int i = 0; i < nodes.n; i++)
        if (cg__steps_varies(&a->s, nodes.at[i]))
            cg__map_note(&a->p->failed, &a->stays, nodes.at[i], nodes.at[i]);
    CG_VEC_FREE(&roots);
    CG_VEC_FREE(&nodes);
}

/* Body nodes between what stays or is an arg (edge) and an output (inner), by id. */
typedef struct region { cg_node_vec inner, edge; bool product, fixed; } region;      /* fixed: the sizes of all edges are, so they stack */

static int by_id(const void *x, const void *y)
{
    const cg_node *a = *(cg_node *const *)x, *b = *(cg_node *const *)y;
    return a->id < b->id ? -1 : a->id > b->id;
}

static void find_region(after *a, cg_node *root, region *r)
{
    cg_node_vec todo = { 0 };
    cg_map seen = { 0 };
    bool ok = CG_PUSH(&todo, root);
    r->fixed = true;
    while (todo.n && ok) {
        cg_node *n = todo.at[--todo.n];
        if (cg__map_has(&seen, n) || !cg__steps_varies(&a->s, n))
            continue;
        const bool edge = cg__map_has(&a->stays, n) || cg__is(n, CG_OP_arg) || (cg__is(n, CG_OP_get) && cg__map_has(&a->stays, n->in[0]));
        ok = cg__map_put(&seen, cg__key(n), 1) && (edge ? CG_PUSH(&r->edge, n) : CG_PUSH(&r->inner, n));
        r->fixed = r->fixed && (!edge || cg__scan_is_fixed(&a->s.v, n));
        r->product |= !edge && is_product(n) && cg__steps_varies(&a->s, n->in[0]) != cg__steps_varies(&a->s, n->in[1]);
        for (int k = 0; !edge && ok && k < cg__nvalues(n); k++)
            ok = CG_PUSH(&todo, n->in[k]);
    }
    if (r->inner.n)
        qsort(r->inner.at, (size_t)r->inner.n, sizeof *r->inner.at, by_id);
    a->p->failed |= !ok;
    CG_VEC_FREE(&todo);
    cg__map_free(&seen);
}

static void region_free(region *r)
{
    CG_VEC_FREE(&r->inner);
    CG_VEC_FREE(&r->edge);
}

/* 0, 1, 2 ..., one a step. */
static cg_node *step_numbers(const after *a, bool back)
{
    cg_node *all = cg_arange(cg__const_i64(a->g, 0), a->s.v.steps, cg__const_i64(a->g, 1));
    return back ? cg_flip(all, 0) : all;
}

/* An output's root in all steps, from what the loop stacks; NULL also when it is not known how. */
static cg_node *over_all(after *a, cg_node *root, bool back)
{
    region r = { 0 };
    cg_steps s;
    bool there = false;
    find_region(a, root, &r);
    cg__steps_begin(&s, a->s.n);
    for (int i = 0; i < r.edge.n; i++) {
        cg_node *n = r.edge.at[i], *all = arg_of(n) < cg__scan_nargs(&a->s.v) - 1 ? stack(a, n, back) : a->made ? step_numbers(a, back) : NULL;
        if (a->made)
            cg__steps_know(&s, n, all, back);
    }
    for (int i = 0; i < r.inner.n && a->made && !s.failed; i++)
        cg__steps_derive(&s, r.inner.at[i]);
    cg_node *all = a->made ? cg__steps_known(&s, root, &there) : NULL;
    a->p->failed |= s.failed;
    cg__steps_end(&s);
    region_free(&r);
    return all;
}

static bool is_map(const after *a)
{
    for (int i = 0; i < a->s.v.nstate; i++)
        if (a->need[i])
            return false;
    return true;
}

/* Only outputs that no state needs may move. All of them do, if one holds a product with a captured matrix, or if no state is left; a part without
 * products stays, since the loop computes it in passing. */
static void find_moves(after *a)
{
    const cg_scan_view *v = &a->s.v;
    bool product = false;
    for (int k = 0; k < v->nouts; k++) {
        cg_node *root = v->root[v->out[k].root];
        region r = { 0 };
        if (!cg__loop_is_used(a->l, k) || v->out[k].keep == CG_SCAN_LAST || !cg__steps_varies(&a->s, root) || cg__map_has(&a->stays, root) || cg__is(root, CG_OP_arg))
            continue;
        find_region(a, root, &r);
        a->moves[k] = r.fixed;
        product |= r.fixed && r.product;
        region_free(&r);
    }
    for (int k = 0; k < v->nouts; k++)
        a->moves[k] &= is_map(a) ? on(a, CG_LOOP_MAP) : product && on(a, CG_LOOP_AFTER);
}

/* ---- the outputs */

static bool is_sum(const after *a, int k)
{
    const cg_scan_out_row *o = &a->s.v.out[k];
    return o->keep == CG_SCAN_SUM && cg__is_float(a->s.v.root[o->root]->type.dtype) && cg__steps_varies(&a->s, a->s.v.root[o->root]);
}

/* The output as it was; the order of a sum is that of the steps. */
static int own_out(after *a, const cg_scan_out_row *o)
{
    return cg__loop_out(&a->outs, o->keep, a->s.v.root[o->root], o->keep == CG_SCAN_ALL && o->back);
}

/* What stands for output k; the first time it is only asked for what it needs. */
static cg_node *value_of(after *a, int k)
{
    const cg_scan_out_row *o = &a->s.v.out[k];
    cg_node *root = a->s.v.root[o->root];
    if (o->keep == CG_SCAN_LAST) {
        cg_node *x = added(a, (int)o->root), *sum = x ? sum_of(a, x) : NULL;
        return !x ? kept(a, cg__loop_out_last(&a->outs, o->root)) : a->made ? cg_add(a->s.v.init[o->root], sum) : NULL;
    }
    if (is_sum(a, k) && holds_product(root))
        return sum_of(a, root);
    cg_node *all = a->moves[k] ? over_all(a, root, o->back != 0) : NULL;
    if (all)
        return o->keep == CG_SCAN_SUM ? cg_cast(cg_sum(all, CG_REDUCE(CG_OVER(0))), root->type.dtype) : all;
    if (a->made || !a->moves[k])
        return is_sum(a, k) ? sum_of(a, root) : kept(a, own_out(a, o));
    return NULL;
}

static cg_loop_rewrite rule_of(const after *a, int k)
{
    const cg_scan_out_row *o = &a->s.v.out[k];
    const cg_node *root = a->s.v.root[o->root];
    if (o->keep == CG_SCAN_LAST)
        return CG_LOOP_ACCUMULATOR;
    return is_sum(a, k) && holds_product(root) ? sum_rule(a, root) : a->moves[k] ? (is_map(a) ? CG_LOOP_MAP : CG_LOOP_AFTER) : sum_rule(a, root);
}

/* Sums of what is stacked for another output are told last, when that is known. */
static bool is_late(const after *a, int k)
{
    return is_sum(a, k) && !holds_product(a->s.v.root[a->s.v.out[k].root]);
}

static void ask(after *a, cg_node **value)
{
    for (int late = 0; late < 2; late++)
        for (int k = 0; k < a->l->nouts && !a->p->failed; k++)
            if (cg__loop_is_used(a->l, k) && is_late(a, k) == (late == 1))
                value[k] = value_of(a, k);
}

/* The loop that keeps the outputs it had, for moves that fail, and what was asked for. */
static void keep_all(after *a)
{
    const cg_scan_view *v = &a->s.v;
    for (int k = 0; k < v->nouts; k++)
        if (a->moves[k])
            own_out(a, &v->out[k]);
    a->made = a->outs.failed ? NULL : cg__loop_with(a->s.n, &a->outs);
    a->p->failed |= !a->made;
}

static void answer(after *a)
{
    cg_loop_work *l = a->l;
    ask(a, l->value);
    keep_all(a);
    if (!a->p->failed)
        ask(a, l->value);
    a->p->failed |= a->outs.failed || a->s.failed;
    for (int k = 0; k < l->nouts && !a->p->failed; k++) {
        if (!cg__loop_is_used(l, k))
            continue;
        a->p->failed |= !l->value[k];
        if (l->value[k] && !cg__is(l->value[k], CG_OP_get))
            cg__loops_tell(a->p, rule_of(a, k), l->n, l->value[k]);
    }
    l->n = a->made;
}

void cg__loop_after(cg_loop_work *l)
{
    after a = { .l = l, .p = l->p, .g = l->p->g, .moves = cg__zalloc((size_t)(l->nouts + 1) * sizeof *a.moves) };
    cg__steps_begin(&a.s, l->n);
    a.need = cg__loop_needs(l, &a.p->failed);
    a.p->failed |= !a.moves || a.s.failed;
    for (int i = 0; i < a.s.v.nstate && !a.p->failed; i++)
        a.p->failed |= !CG_PUSH(&a.outs.root, a.s.v.root[i]);
    if (!a.p->failed) {
        count_readers(&a);
        find_stays(&a);
        find_moves(&a);
    }
    if (!a.p->failed)
        answer(&a);
    cg__steps_end(&a.s);
    cg__loop_outs_free(&a.outs);
    cg__map_free(&a.stays);
    cg__map_free(&a.readers);
    cg__free(a.need);
    cg__free(a.moves);
}
