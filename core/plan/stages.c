// SPDX-License-Identifier: MIT
/* What a LOOP's values say of it: its stages, for every executor (a level 2 value that several stages need is computed again in each), and
 * its label. */
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

/* The integer that value v is whatever the call; false: it is not known. */
static bool known_integer(const cg_plan *p, const cg_loop *l, int v, int64_t *out)
{
    const cg_val *x = &l->vals[v];
    char held[8] = { 0 };
    if (x->kind == CG_V_CAST && cg__is_int(x->dtype) && known_integer(p, l, x->a[0], out)) {
        cg__store_i64(held, x->dtype, *out);
        *out = cg__load_i64(held, x->dtype);
        return true;
    }
    if (x->kind == CG_V_NUMBER)
        *out = p->nums.at[x->op].imm;
    else
        *out = x->ilit;
    return x->kind == CG_V_NUMBER ? p->nums.at[x->op].op == CG_N_CONST : x->kind == CG_V_LITERAL && cg__is_int(x->dtype);
}

bool cg__loop_divides(const cg_plan *p, const cg_loop *l, int v)
{
    const cg_val *x = &l->vals[v];
    int64_t by = 0;
    return x->kind == CG_V_ELEM && (cg__elems[x->op].algebra & A_QUOT) && cg__is_int(x->dtype) && !(known_integer(p, l, x->a[1], &by) && by != 0);
}

const char *cg__loop_label(cg_plan *p, const cg_loop *l)
{
    static const char *const reds[] = { "sum", "prod", "max", "min", "argmax", "argmin" };
    cg_strb s = { 0 };
    int named = 0;
    for (int i = 0; i < l->nvals && named < 6; i++) {
        const cg_val *v = &l->vals[i];
        const char *name = v->kind == CG_V_ELEM ? cg__elems[v->op].name : v->kind == CG_V_REDUCE ? reds[v->op] : v->kind == CG_V_CAST ? "cast" : NULL;
        if (name)
            cg__strb(&s, "%s%s", named++ ? "_" : "", name);
    }
    if (!named)
        cg__strb(&s, "copy");
    char *t = cg__strb_take(&s);
    const char *kept = t ? cg__arena_str(&p->arena, t) : NULL;
    cg__free(t);
    p->failed |= !kept;
    return kept;
}
