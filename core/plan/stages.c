// SPDX-License-Identifier: MIT
/* The stages of a LOOP, for every executor: a level 2 value that several stages need is computed again in each. */
#include "core/plan/plan.h"

int cg__loop_last_stage(const cg_loop *l)
{
    int last = 0;
    for (int v = 0; v < l->nvals; v++)
        last = l->vals[v].stage > last ? l->vals[v].stage : last;
    return last;
}

void cg__loop_stage_needs(const cg_loop *l, int stage, bool *need)
{
    for (int v = l->nvals - 1; v >= 0; v--) {
        const cg_val *x = &l->vals[v];
        if (x->stage == stage && (x->kind == CG_V_REDUCE || (x->kind == CG_V_STORE && x->level == 2)))
            need[v] = true;
        if (!need[v] || (x->kind != CG_V_REDUCE && x->level < 2))
            continue;
        for (int k = 0; k < 3; k++)
            if (x->a[k] >= 0 && l->vals[x->a[k]].level == 2)
                need[x->a[k]] = true;
    }
}
