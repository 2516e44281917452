// SPDX-License-Identifier: MIT
/* Groups: small loops that do the same to different arrays, as the updates of an optimiser do, stand side by side, and an executor may run
 * them as one launch. Members move down to the last of them, past steps that they share nothing with.
 *
 *     update W1 · product · update W2  ->  product · (update W1 · update W2)         if the sizes of W1 and W2 are known and small
 *
 * Only where points are few, for a launch saved there is much and a gradient that lives longer is little. No bit changes.
 */
#include "core/plan/plan.h"

enum { REACH = 32, FEW_POINTS = 65536 };         /* steps looked back over */

/* Numbers that a kernel of it may need, at most. */
static int numbers(const cg_loop *l)
{
    int n = l->naxes + l->noperands * (1 + l->naxes);
    for (int v = 0; v < l->nvals; v++)
        n += l->vals[v].kind == CG_V_NUMBER;
    return n;
}

/* Its outer points are known and few, it cannot fail, and each is one work-item's. */
static bool may_join(const cg_plan *p, const cg_step *s)
{
    const cg_loop *l = &s->loop;
    double points = 1;
    bool yes = s->kind == CG_STEP_LOOP && (l->naxes == l->nouter || l->columns) && !cg__step_can_fail(p, s);
    for (int k = 0; k < l->nouter && yes; k++) {
        const cg_num_ins *e = &p->nums.at[l->extent[k]];
        yes = e->op == CG_N_CONST;
        points *= (double)e->imm;
    }
    for (int k = 0; k < l->noperands && yes; k++)
        yes = !l->operands[k].nwindows;
    return yes && points <= FEW_POINTS;
}

static bool alike_operands(const cg_plan *p, const cg_operand *x, const cg_operand *y, int naxes)
{
    bool yes = p->slots.at[x->slot].dtype == p->slots.at[y->slot].dtype;
    for (int k = 0; k < naxes; k++)
        yes &= cg__stride_class(p, x->stride[k]) == cg__stride_class(p, y->stride[k]);
    return yes;
}

static bool alike_vals(const cg_val *x, const cg_val *y)
{
    return x->kind == y->kind && x->dtype == y->dtype && x->level == y->level && x->stage == y->stage && (x->op == y->op || x->kind == CG_V_NUMBER) &&
           memcmp(x->a, y->a, sizeof x->a) == 0 && x->operand == y->operand && memcmp(&x->lit, &y->lit, sizeof x->lit) == 0 && x->ilit == y->ilit;
}

/* The same operations on operands of the same classes: the same kernel text, as a rule. */
static bool alike(const cg_plan *p, const cg_loop *x, const cg_loop *y)
{
    bool yes = x->naxes == y->naxes && x->nouter == y->nouter && x->columns == y->columns && x->nvals == y->nvals && x->noperands == y->noperands;
    for (int v = 0; v < x->nvals && yes; v++)
        yes = alike_vals(&x->vals[v], &y->vals[v]);
    for (int k = 0; k < x->noperands && yes; k++)
        yes = alike_operands(p, &x->operands[k], &y->operands[k], x->naxes);
    return yes;
}

/* The group from..from+n-1 may move down to step j and be joined by it. */
static bool joins(const cg_plan *p, int from, int n, int j)
{
    const cg_step *at = p->steps.at;
    const cg_loop *l = &at[j].loop;
    bool yes = (n + 1) * l->noperands <= CG_LOOP_OPERANDS && (n + 1) * numbers(l) <= CG_LOOP_NUMBERS && alike(p, &at[from].loop, l);
    for (int m = from; m < from + n && yes; m++) {
        const cg_touched member = cg__touched_by(&at[m]);
        for (int i = from + n; i <= j && yes; i++) {
            const cg_touched other = cg__touched_by(&at[i]);
            yes = !cg__touched_ordered(&member, &other);
        }
    }
    return yes;
}

static void move_down(cg_plan *p, int from, int n, int to)
{
    cg_step *at = p->steps.at, group[CG_LOOP_OPERANDS];
    memcpy(group, at + from, (size_t)n * sizeof *at);
    memmove(at + from, at + from + n, (size_t)(to - from - n) * sizeof *at);
    memcpy(at + to - n, group, (size_t)n * sizeof *at);
}

static void join_up(cg_plan *p, int floor, int j)
{
    cg_step *at = p->steps.at;
    for (int i = j - 1; i >= floor && i >= j - REACH; i--) {
        int from = i;
        if (!may_join(p, &at[i]))
            continue;
        while (from > floor && at[from].group < 0)
            from += at[from].group;
        const int n = i - from + 1;
        if (joins(p, from, n, j)) {
            move_down(p, from, n, j);
            at[j - n].group = n + 1;
            at[j].group = -n;
            return;
        }
        i = from;
    }
}

void cg__plan_group(cg_plan *p)
{
    const int floor = cg__after_bodies(p);
    for (int j = floor; j < p->steps.n; j++)
        if (may_join(p, &p->steps.at[j]))
            join_up(p, floor, j);
    cg__plan_commit(p);
}
