// SPDX-License-Identifier: MIT
/* A plan as text: slots, then steps as s-expressions; numbers are known values or small formulas of n<id>. */
#include "core/plan/plan.h"

static const char *const slot_kinds[] = { "arena", "input", "shared", "output", "const" };
static const char *const red_names[] = { "sum", "prod", "max", "min", "argmax", "argmin" };
static const char *const num_names[] = { "const", "dim", "input", "shared", "shared-dim", "step", "found", "read", "+", "-", "*", "/", "mod", "max", "min", "neg", "<", "==", "stretch", "select", "check", "check-divisor" };

static void num(const cg_plan *p, cg_num id, cg_strb *out)
{
    if (id == CG_NUM_NONE)
        cg__strb(out, "0");
    else if (p->nums.at[id].op == CG_N_CONST)
        cg__strb(out, "%lld", (long long)p->nums.at[id].imm);
    else
        cg__strb(out, "n%d", id);
}

static void nums(const cg_plan *p, const cg_num *ids, int n, cg_strb *out)
{
    cg__strb(out, "[");
    for (int i = 0; i < n; i++) {
        cg__strb(out, "%s", i ? " " : "");
        num(p, ids[i], out);
    }
    cg__strb(out, "]");
}

static void operand(const cg_plan *p, const cg_loop *l, const cg_operand *o, cg_strb *out)
{
    cg__strb(out, "s%d+", o->slot);
    num(p, o->off, out);
    nums(p, o->stride, l->naxes, out);
    for (int w = 0; w < o->nwindows; w++) {
        cg__strb(out, " window ");
        num(p, o->window[w].c0, out);
        nums(p, o->window[w].c, l->naxes, out);
        cg__strb(out, "<");
        num(p, o->window[w].hi, out);
    }
    if (o->gather >= 0)
        cg__strb(out, " gather v%d", o->gather);
}

static void val(const cg_plan *p, const cg_loop *l, int i, cg_strb *out)
{
    const cg_val *v = &l->vals[i];
    cg__strb(out, "\n    ");
    if (v->kind == CG_V_STORE) {
        cg__strb(out, "(store ");
        operand(p, l, &l->operands[v->operand], out);
        cg__strb(out, " v%d)", v->a[0]);
        return;
    }
    cg__strb(out, "(v%d:%s @%d.%d ", i, cg__dtypes[v->dtype].name, v->level, v->stage);
    if (v->kind == CG_V_LOAD)
        operand(p, l, &l->operands[v->operand], out);
    else if (v->kind == CG_V_INDEX)
        cg__strb(out, "index %d", v->op);
    else if (v->kind == CG_V_NUMBER)
        num(p, v->op, out);
    else if (v->kind == CG_V_LITERAL)
        cg__strb(out, "%.9g", v->lit);
    else
        cg__strb(out, "%s", v->kind == CG_V_CAST ? "cast" : v->kind == CG_V_REDUCE ? red_names[v->op] : cg__elems[v->op].name);
    for (int k = 0; v->kind >= CG_V_ELEM && k < 3; k++)
        if (v->a[k] >= 0)
            cg__strb(out, " v%d", v->a[k]);
    cg__strb(out, ")");
}

static void loop(const cg_plan *p, const cg_step *s, cg_strb *out)
{
    const cg_loop *l = &s->loop;
    cg__strb(out, "(loop %s outer ", s->label);
    nums(p, l->extent, l->nouter, out);
    cg__strb(out, " inner ");
    nums(p, l->extent + l->nouter, l->naxes - l->nouter, out);
    cg__strb(out, "%s", l->columns ? " columns" : "");
    for (int i = 0; i < l->nvals; i++)
        val(p, l, i, out);
    cg__strb(out, ")");
}

static void mat(const cg_plan *p, const char *name, const cg_mat *m, cg_strb *out)
{
    cg__strb(out, " (%s s%d+", name, m->slot);
    num(p, m->off, out);
    cg__strb(out, " ld ");
    num(p, m->ld, out);
    cg__strb(out, "%s)", m->trans ? " transposed" : "");
}

static void gemm(const cg_plan *p, const cg_step *s, cg_strb *out)
{
    const cg_gemm *m = &s->gemm;
    cg__strb(out, "(gemm %s ", cg__dtypes[m->dtype].name);
    nums(p, (const cg_num[]){ m->batch, m->m, m->n, m->k }, 4, out);
    mat(p, "a", &m->a, out);
    mat(p, "b", &m->b, out);
    mat(p, "c", &m->c, out);
    cg__strb(out, " alpha %g beta %g)", m->alpha, m->beta);
}

static void kernel(const cg_plan *p, const cg_step *s, cg_strb *out)
{
    static const char *const names[CG_KERNEL_COUNT] = { [CG_K_ROW_NUMBERS] = "row_numbers", [CG_K_SET_ROWS] = "set_rows", [CG_K_ADD_ROWS] = "add_rows" };
    cg__strb(out, "(%s", names[s->kernel.id]);
    for (int i = 0; i < s->kernel.nslots; i++)
        cg__strb(out, " s%d", s->kernel.slots[i]);
    cg__strb(out, " ");
    nums(p, s->kernel.nums, s->kernel.nnums, out);
    cg__strb(out, ")");
}

static void formulas(const cg_plan *p, cg_strb *out)
{
    for (int i = 0; i < p->nums.n; i++) {
        const cg_num_ins *n = &p->nums.at[i];
        if (n->op == CG_N_CONST)
            continue;
        cg__strb(out, "  n%d = (%s %d %d", i, num_names[n->op], n->a, n->b);
        cg__strb(out, n->op == CG_N_SELECT ? " %d)%s%s\n" : ")%.0d%s%s\n", n->c, n->step ? " each step" : "", n->cut ? " behind a cut" : "");
    }
}

int cg__plan_print(const cg_plan *p, cg_strb *out)
{
    cg__strb(out, "(plan %d steps\n numbers\n", p->steps.n);
    formulas(p, out);
    cg__strb(out, " slots\n");
    for (int i = 0; i < p->slots.n; i++) {
        const cg_slot *s = &p->slots.at[i];
        cg__strb(out, "  s%d %s %s count ", i, slot_kinds[s->kind], cg__dtypes[s->dtype].name);
        num(p, s->count, out);
        cg__strb(out, " \"%s\"%s\n", s->label, s->in_place ? " written in place" : "");
    }
    for (int i = 0; i < p->steps.n; i++) {
        const cg_step *s = &p->steps.at[i];
        if (s->group > 1)
            cg__strb(out, "  ; a group: the next %d steps\n", s->group);
        cg__strb(out, "  ; %s\n  ", s->origin ? s->origin : "");
        switch (s->kind) {
        case CG_STEP_LOOP: loop(p, s, out); break;
        case CG_STEP_GEMM: gemm(p, s, out); break;
        case CG_STEP_KERNEL: kernel(p, s, out); break;
        case CG_STEP_COPY: cg__strb(out, "(copy s%d s%d)", s->copy.from, s->copy.to); break;
        case CG_STEP_REPEAT:
            cg__strb(out, "(repeat ");
            num(p, s->repeat.count, out);
            cg__strb(out, " times the next %d step%s", s->repeat.nbody, s->repeat.nbody == 1 ? "" : "s");
            cg__strb(out, s->repeat.until >= 0 ? ", until s%d)" : ")", s->repeat.until);
            break;
        case CG_STEP_BRANCH:
            cg__strb(out, "(if ");
            num(p, s->branch.test, out);
            cg__strb(out, " is%s 0 the next %d step%s)", s->branch.side ? " not" : "", s->branch.nbody, s->branch.nbody == 1 ? "" : "s");
            break;
        case CG_STEP_READ:
            cg__strb(out, "(read s%d into ", s->fetch.slot);
            num(p, s->fetch.to, out);
            cg__strb(out, ")");
            break;
        }
        cg__strb(out, "\n");
    }
    cg__strb(out, ")\n");
    return out->failed ? CG_ENOMEM : CG_OK;
}
