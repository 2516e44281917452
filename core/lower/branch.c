// SPDX-License-Identifier: MIT
/* Guards of nodes as BRANCH steps. Steps are made one after the other; where the guard changes, BRANCHes are closed and opened, as many as the
 * old and the new guard do not share. One that has got no step goes. */
#include "core/lower/pass.h"

int cg__lower_guards(cg_lower *L, cg_node_vec *nodes)
{
    frame *f = L->top;
    const bool ok = cg__guards_find(&f->guards, nodes, f->roots, f->nroots, NULL, 0) && cg__guards_order(&f->guards, nodes);
    for (int i = 0; i < f->infos.n && f->guards.of; i++)
        f->infos.at[i].guard = NULL;     /* args were bound before: they are there */
    return ok ? CG_OK : cg__lower_no_memory(L);
}

static node_info *info_in(const frame *f, const cg_node *n)
{
    return &f->infos.at[f->place.at[n->id] - 1];
}

/* ---- conditions */

static bool known_to_host(const node_info *i, const cg_node *cond) { return i->host || cg__is(cond, CG_OP_input); }

static bool is_fallible(const cg_node *n)
{
    double v;
    return (cg__is(n, CG_OP_floor_divide) || cg__is(n, CG_OP_mod)) && !cg__is_const(n->in[1], &v);
}

bool cg__lower_decidable(const cg_lower *L, const cg_node *n)
{
    const cg_guard *g = cg__lower_info(L, n)->guard;
    if (!is_fallible(n))
        return true;
    for (const frame *f = L->top; f; f = f->outer, g = f ? f->open : NULL)
        for (; g; g = g->outer)
            if (!known_to_host(info_in(f, g->cond), g->cond))
                return false;
    return true;
}

cg_num cg__lower_if_run(cg_lower *L, const cg_guard *g, cg_num a, cg_num b)
{
    cg_num v = a;
    for (const frame *f = L->top; f; f = f->outer, g = f ? f->open : NULL)
        for (; g; g = g->outer) {
            const cg_num test = info_in(f, g->cond)->test;
            if (test < 0 || L->plan->nums.at[test].op == CG_N_READ)
                return a;                /* it is not known when that is asked */
            v = cg__num(L->plan, CG_N_SELECT, test, g->side ? v : b, g->side ? b : v, 0);
        }
    return v;
}

static cg_num read_test(cg_lower *L, const cg_node *cond)
{
    const int slot = cg__lower_slot(L, cond);
    const cg_num off = cg__lower_off(L, cond), to = cg__num(L->plan, CG_N_READ, L->plan->nreads++, 0, 0, 0);
    cg_step *s = slot >= 0 && off >= 0 && to >= 0 && cg__lower_under(L, cg__lower_info(L, cond)->guard) == CG_OK ? cg__lower_step(L, CG_STEP_READ, cond) : NULL;
    if (s)
        s->fetch = (cg_fetch){ slot, off, to };
    return s ? to : CG_NUM_NONE;
}

int cg__lower_test(cg_lower *L, const cg_node *cond)
{
    cg_num test;
    if (cg__lower_info(L, cond)->host)
        test = cg__lower_num(L, cond);
    else if (cg__is(cond, CG_OP_input))
        test = cg__num(L->plan, CG_N_INPUT, cg__lower_input(L, cond), 0, 0, 0);
    else
        test = read_test(L, cond);
    cg__lower_info(L, cond)->test = test;
    return test >= 0 ? CG_OK : L->err->code ? (int)L->err->code : cg__lower_no_memory(L);
}

/* ---- steps */

static bool open(cg_lower *L, const cg_guard *inner, const cg_guard *common)
{
    frame *f = L->top;
    const int first = f->branches.n;
    bool ok = true;
    for (const cg_guard *g = inner; g != common && ok; g = g->outer)
        ok = CG_PUSH(&f->branches, L->plan->steps.n) && cg__lower_step(L, CG_STEP_BRANCH, g->cond);
    const cg_guard *g = inner;
    for (int i = f->branches.n - 1; i >= first && ok; i--, g = g->outer) {
        cg_step *s = &L->plan->steps.at[f->branches.at[i]];
        s->node = g->cond;
        s->branch = (cg_branch){ .test = info_in(f, g->cond)->test, .side = g->side };
    }
    f->open = inner;
    return ok;
}

int cg__lower_under(cg_lower *L, const cg_guard *guard)
{
    frame *f = L->top;
    cg_plan *p = L->plan;
    const cg_guard *common = cg__guard_common(f->open, guard);
    for (; f->open != common; f->open = f->open->outer) {
        const int at = f->branches.at[--f->branches.n];
        p->steps.at[at].branch.nbody = p->steps.n - at - 1;
        if (p->steps.n == at + 1)
            p->steps.n = at;
    }
    return guard == common || open(L, guard, common) ? CG_OK : cg__lower_no_memory(L);
}

int cg__lower_side(cg_lower *L, const cg_node *n, int k)
{
    const node_info *to = cg__lower_info(L, n), *in = cg__lower_info(L, n->in[k]);
    const cg_guard *side;
    if (in->slot == to->slot && in->off == to->off)
        return CG_OK;                    /* it was computed there */
    if (!cg__guard_read(&L->top->guards, n, k, &side) || cg__lower_under(L, side) < 0)
        return cg__lower_no_memory(L);
    return cg__lower_into(L, n->in[k], (cg_target){ to->slot, cg__lower_off(L, n), false });
}
