// SPDX-License-Identifier: MIT
/* Loops rewritten as wholes: equal loops are merged, then each is taken apart and built again, with what can leave it before or after it, then
 * independent loops over the same steps are joined. Where only states shall be saved nothing moves before or after a loop, which takes memory for all
 * its steps. A body's own loops are rewritten first, by the same walk; the operations of a body are
 * rewritten with all others by the rules, before and after this pass.
 */
#include "core/graph/build.h"
#include "core/rewrite/loops.h"

#define ROW(id, name_, exact_, what_) [CG_LOOP_##id] = { .name = name_, .exact = CG_EXACT_##exact_, .what = what_ }
const cg_loop_row cg__loop_rows[CG_LOOP_REWRITES] = {
    ROW(LAST_ROW,    "loop_last_row",    EXACT, "the last row of a stacked state is the state after the loop, where there is known to be a step"),
    ROW(MERGE,       "loop_merge",       EXACT, "loops over the same operands with the same next states are one, with the outputs of all"),
    ROW(ONCE,        "loop_once",        ULP,   "a loop that is known to run once is its body; one that never runs is its initial states, zeros and arrays without rows"),
    ROW(ACCUMULATOR, "loop_accumulator", ULP,   "a state to which each step only adds a product, if just its last value is read, is a sum over steps"),
    ROW(SUM_TERMS,   "loop_sum_terms",   ULP,   "a sum over steps of x + y, one of them a product, is the sum of x plus the sum of y"),
    ROW(SUM_LINEAR,  "loop_sum_linear",  ULP,   "a sum over steps of products with a captured matrix is one product with the sum"),
    ROW(SUM_PRODUCT, "loop_sum_product", ULP,   "a sum over steps of A'B, or of its transpose, is one product, after the loop, of the stacked A and B (gradients of weights)"),
    ROW(SUM_STACKED, "loop_sum_stacked", ULP,   "a sum over steps of what is stacked anyhow is a sum of the stack"),
    ROW(AFTER,       "loop_after",       ULP,   "a product with a captured matrix that no state needs, and what is made of it, is one product after the loop"),
    ROW(MAP,         "loop_map",         ULP,   "a loop without states is none if its operations are known over all rows at once"),
    ROW(INVARIANT,   "loop_invariant",   EXACT, "what has become the same in every step is outside: loops are built again, as the rows below need, too"),
    ROW(UNUSED,      "loop_unused",      EXACT, "outputs that nobody reads are gone, and the states, sequences and captures that only they need"),
    ROW(CONSTANT,    "loop_constant",    EXACT, "a state that stays as it is is a capture"),
    ROW(TWINS,       "loop_twins",       EXACT, "states that begin and go on alike are one"),
    ROW(BEFORE,      "loop_before",      ULP,   "products and reductions of rows and captures are computed over all rows before the loop"),
    ROW(ROWS,        "loop_rows",        EXACT, "so are operations on rows that only products and the like read, for these cannot compute them in passing"),
    ROW(JOIN,        "loop_join",        EXACT, "loops of the same number of steps that do not need one another are one with both bodies"),
};

void cg__list_loop_rewrites(cg_strb *out)
{
    cg__strb(out, "\nloops (as wholes, between stable and blas; a body's own operations are rewritten by the rules above)\n");
    for (int i = 0; i < CG_LOOP_REWRITES; i++)
        cg__strb(out, "  %-22s %-6s %s\n", cg__loop_rows[i].name, cg__exact_name(cg__loop_rows[i].exact), cg__loop_rows[i].what);
}

void cg__loops_tell(const cg_loops *p, cg_loop_rewrite r, const cg_node *old, const cg_node *new_)
{
    if (!p->failed)
        cg__rule_tell(cg__loop_rows[r].name, old, new_);
}

/* The number of steps done is in the types of what is stacked. */
bool cg__loop_is_used(const cg_loop_work *l, int k)
{
    return k == cg__scan_view(l->old).done || l->p->off[CG_LOOP_UNUSED] || cg__map_has(&l->p->used, cg__get(l->old, k));
}

cg_node *cg__loop_over(cg_loops *p, cg_node *n)
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

/* ---- loops that run once, or never */

static cg_node *only_row(cg_node *x)
{
    cg_node *dims[CG_MAX_RANK];
    for (int i = 1; i < x->type.rank; i++)
        dims[i - 1] = cg__dim_node(x->graph, x->type.dim[i]);
    return cg_reshape_to(x, dims, x->type.rank - 1);
}

/* What the args are in the only step. */
static bool map_only_step(const cg_node *n, const cg_scan_view *v, cg_map *memo)
{
    const int nargs = cg__scan_nargs(v);
    cg_node **args = cg__zalloc((size_t)nargs * sizeof *args);
    bool ok = args != NULL;
    for (int k = 0; ok && k < nargs; k++) {
        cg_node *source = cg__scan_source(v, k);
        args[k] = !source ? cg__const_i64(n->graph, 0) : k < v->nseq ? only_row(source) : source;
        ok = args[k] != NULL;
    }
    ok = ok && cg__scan_map_args(n, args, memo);
    cg__free(args);
    return ok;
}

void cg__loop_once(cg_loop_work *l)
{
    const cg_scan_view v = cg__scan_view(l->n);
    double count;
    if (l->p->off[CG_LOOP_ONCE] || v.done >= 0 || !cg__is_const(v.steps, &count) || (count != 0 && count != 1))
        return;
    cg_graph *g = l->p->g;
    cg_map memo = { 0 };
    bool ok = count == 0 || map_only_step(l->n, &v, &memo);
    for (int k = 0; k < l->nouts && ok; k++) {
        const cg_scan_out_row *o = &v.out[k];
        cg_node *value = count == 0 ? (o->keep == CG_SCAN_LAST ? v.init[o->root] : cg__zeros(g, &l->n->outs[k])) : cg__clone(g, v.root[o->root], &memo);
        l->value[k] = count == 1 && o->keep == CG_SCAN_ALL ? cg_expand_dims(value, 0) : value;
        ok = l->value[k] != NULL;
    }
    l->p->failed |= !ok;
    cg__loops_tell(l->p, CG_LOOP_ONCE, l->n, l->value[0]);
    l->n = NULL;
    cg__map_free(&memo);
}

/* ---- the graph */

static bool walk(cg_graph *g, cg_node **roots, int n, void (*visit)(cg_loops *));

static bool has_loops(cg_node *const *roots, int n, bool *failed)
{
    cg_node_vec nodes = { 0 };
    bool any = false;
    *failed |= !cg__reach_values(roots, n, &nodes);
    for (int i = 0; i < nodes.n && !any; i++)
        any = cg__is(nodes.at[i], CG_OP_scan);
    CG_VEC_FREE(&nodes);
    return any;
}

static bool rewrite_loops(cg_graph *g, cg_node **roots, int n);

/* n with the loops of its body rewritten. As deep as loops are nested, not as graphs are deep. */
static cg_node *with_body(cg_loops *p, cg_node *n)
{
    const int first = cg__nvalues(n);
    if (!has_loops(n->in + first, n->nbody, &p->failed))
        return n;
    cg_node **in = cg__zalloc((size_t)n->nin * sizeof *in), *made = NULL;
    if (in) {
        memcpy(in, n->in, (size_t)n->nin * sizeof *in);
        made = rewrite_loops(p->g, in + first, n->nbody) ? cg__node(p->g, CG_OP_scan, in, n->nin, n->attr) : NULL;
    }
    cg__free(in);
    return made;
}

/* A loop that stands for another is called as that was. */
static void keep_name(cg_loops *p, const cg_node *old, const cg_node *value)
{
    if (!p->failed && cg__is(value, CG_OP_get) && cg__is(value->in[0], CG_OP_scan))
        p->failed |= !cg__site_copy(value->in[0], old);
}

/* The outputs of `old`, which is n over new operands, become what is better in the memo. */
static void rewrite_loop(cg_loops *p, cg_node *old, cg_node *n)
{
    cg_loop_work l = { .p = p, .old = old, .n = n, .nouts = n->nouts, .value = cg__zalloc((size_t)n->nouts * sizeof *l.value) };
    const cg_node *inherit = p->g->inherit;
    p->g->inherit = n;
    p->failed |= !l.value;
    for (int k = 0; k < l.nouts && !p->failed; k++)
        p->failed |= !(l.value[k] = cg__get(n, k));
    if (!p->failed)
        cg__loop_once(&l);
    if (!p->failed && l.n && cg__scan_view(l.n).save == CG_SAVE_EXPENSIVE && cg__scan_view(l.n).done < 0)
        cg__loop_after(&l);
    if (!p->failed && l.n && !p->off[CG_LOOP_INVARIANT])
        cg__loop_rebuild(&l);
    for (int k = 0; k < l.nouts && !p->failed; k++)
        if (cg__loop_is_used(&l, k)) {
            cg__map_note(&p->failed, &p->memo, cg__get(old, k), l.value[k]);
            keep_name(p, old, l.value[k]);
        }
    cg__free(l.value);
    p->g->inherit = inherit;
}

static void rewrite_each(cg_loops *p)
{
    for (int i = 0; i < p->nodes.n && !p->failed; i++) {
        cg_node *n = p->nodes.at[i];
        if (!cg__is(n, CG_OP_scan))
            continue;
        cg_node *now = with_body(p, n);
        now = now && !p->failed ? cg__loop_over(p, now) : NULL;
        p->failed |= !now;
        if (now)
            rewrite_loop(p, n, now);
    }
}

static void note_used(cg_loops *p, cg_node *const *roots, int n)
{
    for (int i = 0; i < p->nodes.n && !p->failed; i++)
        for (int k = 0; k < cg__nvalues(p->nodes.at[i]); k++)
            if (cg__is(p->nodes.at[i]->in[k], CG_OP_get))
                cg__map_note(&p->failed, &p->used, p->nodes.at[i]->in[k], p->nodes.at[i]);
    for (int i = 0; i < n; i++)
        if (cg__is(roots[i], CG_OP_get))
            cg__map_note(&p->failed, &p->used, roots[i], roots[i]);
}

/* One walk over the loops that the roots reach; the roots become what the memo says. */
static bool walk(cg_graph *g, cg_node **roots, int n, void (*visit)(cg_loops *))
{
    cg_loops p = { .g = g };
    const bool any = has_loops(roots, n, &p.failed);
    for (int i = 0; i < CG_LOOP_REWRITES; i++)
        p.off[i] = cg__rule_is_off(cg__loop_rows[i].name, "loops");
    p.failed |= !cg__reach_values(roots, n, &p.nodes);
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

static bool rewrite_loops(cg_graph *g, cg_node **roots, int n)
{
    return walk(g, roots, n, cg__loops_last_rows) && walk(g, roots, n, cg__loops_merge) && walk(g, roots, n, rewrite_each) && walk(g, roots, n, cg__loops_join);
}

int cg__rewrite_scans(cg_graph *g, cg_node **roots, int n, cg_error *err)
{
    if (!g->loops || rewrite_loops(g, roots, n))
        return CG_OK;
    return cg__fail(err, g->error.code ? g->error.code : CG_ENOMEM, "%s", g->error.code ? g->error.text : "rewriting: no memory");
}
