// SPDX-License-Identifier: MIT
/* Which slots a step names, and whether it writes them: what all that moves or joins steps goes by; and how far steps may move. */
#include "core/plan/plan.h"

static void touch(cg_touched *t, int slot, bool written)
{
    t->slot[t->n] = slot;
    t->written[t->n++] = written;
}

static void touch_operands(cg_touched *t, const cg_loop *l)
{
    for (int k = 0; k < l->noperands; k++)
        touch(t, l->operands[k].slot, false);
    for (int v = 0; v < l->nvals; v++)
        if (l->vals[v].kind == CG_V_STORE)
            t->written[l->vals[v].operand] = true;
}

cg_touched cg__touched_by(const cg_step *s)
{
    cg_touched t;
    t.n = 0;
    t.all = false;
    switch (s->kind) {
    case CG_STEP_LOOP: touch_operands(&t, &s->loop); break;
    case CG_STEP_GEMM:
        touch(&t, s->gemm.a.slot, false);
        touch(&t, s->gemm.b.slot, false);
        touch(&t, s->gemm.c.slot, true);
        break;
    case CG_STEP_KERNEL:
        for (int k = 0; k < s->kernel.nslots; k++)
            touch(&t, s->kernel.slots[k], k == 0);
        break;
    case CG_STEP_COPY:
        touch(&t, s->copy.from, false);
        touch(&t, s->copy.to, true);
        break;
    case CG_STEP_READ: touch(&t, s->fetch.slot, false); break;
    case CG_STEP_REPEAT:
        if (s->repeat.until >= 0)
            touch(&t, s->repeat.until, false);
        t.all = true;
        break;
    case CG_STEP_BRANCH: t.all = true; break;
    }
    return t;
}

bool cg__touched_ordered(const cg_touched *a, const cg_touched *b)
{
    bool yes = a->all || b->all;
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < b->n; k++)
            yes |= a->slot[i] == b->slot[k] && (a->written[i] || b->written[k]);
    return yes;
}

bool cg__same_place(const cg_operand *x, const cg_operand *y)
{
    return x->slot == y->slot && x->off == y->off && x->gather == y->gather && !x->nwindows && !y->nwindows && memcmp(x->stride, y->stride, sizeof x->stride) == 0;
}

bool cg__step_can_fail(const cg_plan *p, const cg_step *s)
{
    bool yes = s->kind == CG_STEP_KERNEL && s->kernel.id == CG_K_ROW_NUMBERS;
    for (int k = 0; s->kind == CG_STEP_LOOP && k < s->loop.noperands; k++)
        yes |= s->loop.operands[k].gather >= 0;
    for (int v = 0; s->kind == CG_STEP_LOOP && v < s->loop.nvals; v++)
        yes |= cg__loop_divides(p, &s->loop, v);
    return yes;
}

int cg__after_bodies(const cg_plan *p)
{
    int from = 0;
    for (int i = 0; i < p->steps.n; i++) {
        const int *nbody = cg__step_body(&p->steps.at[i]);
        if (nbody && from < i + 1 + *nbody)
            from = i + 1 + *nbody;
    }
    return from;
}

static bool commits(const cg_plan *p, const cg_step *s)
{
    const cg_touched t = cg__touched_by(s);
    bool yes = false;
    for (int k = 0; k < t.n; k++)
        yes |= t.written[k] && p->slots.at[t.slot[k]].in_place;
    return yes;
}

void cg__plan_commit(cg_plan *p)
{
    p->commit = 0;
    while (p->commit < p->steps.n && !commits(p, &p->steps.at[p->commit]))
        p->commit++;
    if (p->commit < p->steps.n && p->steps.at[p->commit].group < 0)
        p->commit += p->steps.at[p->commit].group;           /* a group is one */
}
