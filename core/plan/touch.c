// SPDX-License-Identifier: MIT
/* Which slots a step names, and whether it writes them: what all that moves or joins steps goes by. */
#include "core/plan/plan.h"

static void touch(cg_touched *t, int slot, bool written)
{
    t->slot[t->n] = slot;
    t->written[t->n++] = written;
}

static bool stores(const cg_loop *l, int operand)
{
    for (int v = 0; v < l->nvals; v++)
        if (l->vals[v].kind == CG_V_STORE && l->vals[v].operand == operand)
            return true;
    return false;
}

cg_touched cg__touched_by(const cg_step *s)
{
    cg_touched t;
    t.n = 0;
    t.all = false;
    switch (s->kind) {
    case CG_STEP_LOOP:
        for (int k = 0; k < s->loop.noperands; k++)
            touch(&t, s->loop.operands[k].slot, stores(&s->loop, k));
        break;
    case CG_STEP_GEMM:
        touch(&t, s->gemm.a.slot, false);
        touch(&t, s->gemm.b.slot, false);
        touch(&t, s->gemm.c.slot, true);
        break;
    case CG_STEP_KERNEL:
        for (int k = 0; k < s->kernel.nslots; k++)
            touch(&t, s->kernel.slots[k], true);
        break;
    case CG_STEP_COPY:
        touch(&t, s->copy.from, false);
        touch(&t, s->copy.to, true);
        break;
    case CG_STEP_REPEAT: t.all = true; break;
    }
    return t;
}

bool cg__steps_ordered(const cg_step *x, const cg_step *y)
{
    const cg_touched a = cg__touched_by(x), b = cg__touched_by(y);
    bool yes = a.all || b.all;
    for (int i = 0; i < a.n; i++)
        for (int k = 0; k < b.n; k++)
            yes |= a.slot[i] == b.slot[k] && (a.written[i] || b.written[k]);
    return yes;
}

bool cg__same_place(const cg_operand *x, const cg_operand *y)
{
    return x->slot == y->slot && x->off == y->off && x->gather == y->gather && !x->nwindows && !y->nwindows && memcmp(x->stride, y->stride, sizeof x->stride) == 0;
}

bool cg__step_can_fail(const cg_step *s)
{
    bool yes = s->kind == CG_STEP_KERNEL;
    for (int k = 0; s->kind == CG_STEP_LOOP && k < s->loop.noperands; k++)
        yes |= s->loop.operands[k].gather >= 0;
    return yes;
}
