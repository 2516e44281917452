// SPDX-License-Identifier: MIT
/* How much memory a call of a plan takes, and what takes it.
 *
 * A call binds everything before its first step: arrays it reads, buffers for what it gives, and one slab for the arena. So its peak is
 * their sum; the slab is as large as the arena is where it is fullest, plus what packing loses.
 */
#include "core/plan/plan.h"

size_t cg__slot_bytes(const cg_plan *p, const int64_t *n, int slot)
{
    const cg_slot *s = &p->slots.at[slot];
    return (size_t)n[s->count] * cg__dtypes[s->dtype].bytes;
}

size_t cg__plan_bytes(const cg_plan *p, const int64_t *n, size_t slab, size_t kinds[CG_SLOT_KINDS])
{
    size_t by[CG_SLOT_KINDS] = { 0 }, sum = 0;
    for (int i = 0; i < p->slots.n; i++)
        if (p->slots.at[i].kind != CG_SLOT_ARENA)
            by[p->slots.at[i].kind] += cg__buffer_bytes(cg__slot_bytes(p, n, i));
        else
            by[CG_SLOT_ARENA] = cg__buffer_bytes(slab);
    for (int k = 0; k < CG_SLOT_KINDS; k++)
        sum += by[k];
    if (kinds)
        memcpy(kinds, by, sizeof by);
    return sum;
}

/* ---- the arena where it is fullest */

static bool in_arena(const cg_slot *s) { return s->kind == CG_SLOT_ARENA && s->first <= s->last; }

/* change[k]: how much more is alive at step k than at the step before. */
static int fullest_step(const cg_plan *p, const int64_t *n, int64_t *change, size_t *bytes)
{
    int64_t now = 0, most = 0;
    int at = -1;
    for (int i = 0; i < p->slots.n; i++) {
        const cg_slot *s = &p->slots.at[i];
        if (!in_arena(s))
            continue;
        change[s->first] += (int64_t)cg__slot_bytes(p, n, i);
        change[s->last + 1] -= (int64_t)cg__slot_bytes(p, n, i);
    }
    for (int k = 0; k < p->steps.n; k++)
        if ((now += change[k]) > most) {
            most = now;
            at = k;
        }
    *bytes = (size_t)most;
    return at;
}

static void insert(const cg_plan *p, const int64_t *n, int slot, cg_fullest *f)
{
    int k = f->nslots < CG_FULLEST ? f->nslots++ : CG_FULLEST;
    for (; k > 0 && cg__slot_bytes(p, n, f->slot[k - 1]) < cg__slot_bytes(p, n, slot); k--)
        if (k < CG_FULLEST)
            f->slot[k] = f->slot[k - 1];
    if (k < CG_FULLEST)
        f->slot[k] = slot;
}

bool cg__plan_fullest(const cg_plan *p, const int64_t *n, cg_fullest *out)
{
    int64_t *change = cg__zalloc((size_t)(p->steps.n + 1) * sizeof *change);
    *out = (cg_fullest){ .step = -1 };
    if (change)
        out->step = fullest_step(p, n, change, &out->bytes);
    cg__free(change);
    for (int i = 0; i < p->slots.n && out->step >= 0; i++) {
        const cg_slot *s = &p->slots.at[i];
        if (in_arena(s) && s->first <= out->step && out->step <= s->last)
            insert(p, n, i, out);
    }
    return out->step >= 0;
}

/* ---- as text */

/* The sizes and integers of the call that the rest follows from. */
static void print_given(const cg_plan *p, const int64_t *n, cg_strb *out)
{
    const char *mark = "; with ";
    for (int i = 0; i < p->nums.n; i++) {
        const cg_num_op op = p->nums.at[i].op;
        if (op != CG_N_DIM && op != CG_N_INPUT && op != CG_N_SHARED && op != CG_N_SHARED_DIM)
            continue;
        cg__strb(out, "%sn%d = %lld", mark, i, (long long)n[i]);
        mark = ", ";
    }
    cg__strb(out, "%s", *mark == ',' ? "\n" : "");
}

void cg__plan_print_peak(const cg_plan *p, const int64_t *n, size_t slab, cg_strb *out)
{
    static const struct { cg_slot_kind kind; const char *name; } rows[] = {
        { CG_SLOT_INPUT, "inputs" }, { CG_SLOT_SHARED, "shared variables" }, { CG_SLOT_CONST, "constants" }, { CG_SLOT_OUTPUT, "outputs and new values" }, { CG_SLOT_ARENA, "arena" },
    };
    size_t kinds[CG_SLOT_KINDS];
    char text[CG_BYTES_TEXT];
    cg_fullest f;
    print_given(p, n, out);
    const size_t sum = cg__plan_bytes(p, n, slab, kinds);
    cg__strb(out, "; peak memory %zu bytes:", sum);
    for (int k = 0; k < CG_LEN(rows); k++)
        cg__strb(out, "%s %s %s", k ? "," : "", rows[k].name, cg__bytes_text(kinds[rows[k].kind], text));
    cg__strb(out, "\n");
    if (!cg__plan_fullest(p, n, &f))
        return;
    cg__strb(out, "; the arena is fullest in step %d, %s, with %s alive:", f.step, p->steps.at[f.step].origin, cg__bytes_text(f.bytes, text));
    for (int k = 0; k < f.nslots; k++)
        cg__strb(out, "%s s%d \"%s\" %s", k ? "," : "", f.slot[k], p->slots.at[f.slot[k]].label, cg__bytes_text(cg__slot_bytes(p, n, f.slot[k]), text));
    cg__strb(out, "\n");
}
