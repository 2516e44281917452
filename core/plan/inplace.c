// SPDX-License-Identifier: MIT
/* Updates in place: the new value of a shared variable is computed into the buffer of the old one, where no later step reads that and no
 * later step can fail.
 *
 *     (loop load W, store t) (gemm ... (c t) beta 1)  ->  (gemm ... (c W) beta 1)         t: the fresh buffer of W's new value
 *     (loop load W, load g, store t W - g)            ->  (loop load W, load g, store W W - g)
 *     (loop load W, store t) (add_rows t rows g)      ->  (add_rows W rows g)
 *
 * A step that writes a new value too early moves behind the last reader of the old one, if nothing on the way needs what it makes. What
 * cannot be in place stays in a fresh buffer: two variables that are exchanged, values read again afterwards, rows with reductions (where
 * one work-item stores what others may still load). Cost: linear in steps.
 */
#include "core/plan/plan.h"

typedef struct placer {
    cg_plan *p;
    cg_in_place *u; int n;
    int *first, *second, *last;          /* by slot: steps that name it, -1 none */
    int *writer;                         /* by update: the step that makes the new value, as far as that is not a copy of the old; -1 none */
    bool *writes;                        /* by step: it is such a writer */
    int *after;                          /* by step: which step it comes behind; itself if it stays */
    int last_fail, free_from;            /* free_from: steps before are in or before a body and stay */
} placer;

/* The step copies values of the one slot to their own places in the other: all of them, or a part (a concatenation's first part). */
static bool copies(const cg_step *s, int from, int to)
{
    const cg_loop *l = &s->loop;
    if (s->kind != CG_STEP_LOOP || l->nvals != 2 || l->vals[0].kind != CG_V_LOAD || l->vals[1].kind != CG_V_STORE || l->naxes != l->nouter)
        return false;
    const cg_operand *in = &l->operands[l->vals[0].operand];
    cg_operand out = l->operands[l->vals[1].operand];
    const bool between = in->slot == from && out.slot == to;
    out.slot = from;
    return between && cg__same_place(in, &out);
}

/* ---- who touches what */

static void note(placer *b, int slot, int step)
{
    if (b->first[slot] < 0)
        b->first[slot] = step;
    else if (b->second[slot] < 0 && b->last[slot] != step)
        b->second[slot] = step;
    b->last[slot] = step;
}

static void survey(placer *b)
{
    b->last_fail = -1;
    for (int k = 0; k < b->p->slots.n; k++)
        b->first[k] = b->second[k] = b->last[k] = -1;
    for (int i = 0; i < b->p->steps.n; i++) {
        const cg_touched t = cg__touched_by(&b->p->steps.at[i]);
        for (int k = 0; k < t.n; k++)
            note(b, t.slot[k], i);
        if (cg__step_can_fail(b->p, &b->p->steps.at[i]))
            b->last_fail = i;
    }
}

static void find_writers(placer *b)
{
    for (int k = 0; k < b->n; k++) {
        const int at = b->first[b->u[k].value];
        const bool copy = at >= 0 && copies(&b->p->steps.at[at], b->u[k].var, b->u[k].value);
        b->writer[k] = copy ? b->second[b->u[k].value] : at;
    }
}

/* ---- order */

/* Where writers would have to go, were they free to. */
static void want_order(placer *b)
{
    for (int i = 0; i < b->p->steps.n; i++) {
        b->after[i] = i;
        b->writes[i] = false;
    }
    b->free_from = cg__after_bodies(b->p);
    for (int k = 0; k < b->n; k++) {
        const int w = b->writer[k], read = b->last[b->u[k].var], until = read > b->last_fail ? read : b->last_fail;
        if (w < b->free_from)
            continue;
        b->writes[w] = true;
        b->after[w] = until > b->after[w] ? until : b->after[w];
    }
}

/* The first later step that must stay behind step i; next: by slot, the next step that names it; next_write: that writes it. */
static int first_follower(const placer *b, int i, const int *next, const int *next_write)
{
    const cg_touched t = cg__touched_by(&b->p->steps.at[i]);
    int first = b->p->steps.n;
    for (int k = 0; k < t.n; k++) {
        const int f = t.written[k] ? next[t.slot[k]] : next_write[t.slot[k]];
        first = f >= 0 && f < first ? f : first;
    }
    return first;
}

static void keep_order(placer *b, int *next, int *next_write)
{
    for (int k = 0; k < b->p->slots.n; k++)
        next[k] = next_write[k] = -1;
    for (int i = b->p->steps.n - 1; i >= b->free_from; i--) {
        if (b->writes[i] && first_follower(b, i, next, next_write) <= b->after[i])
            b->after[i] = i;
        const cg_touched t = cg__touched_by(&b->p->steps.at[i]);
        for (int k = 0; k < t.n; k++) {
            next[t.slot[k]] = i;
            if (t.written[k])
                next_write[t.slot[k]] = i;
        }
    }
}

/* Steps in the order of what they come behind; of those behind one step, that step first, then as they were. as[i]: where step i went. */
static void move(placer *b, cg_step *to, int *count, int *as)
{
    const int n = b->p->steps.n;
    memset(count, 0, (size_t)(n + 1) * sizeof *count);
    for (int i = 0; i < n; i++)
        count[b->after[i] + 1]++;
    for (int i = 1; i <= n; i++)
        count[i] += count[i - 1];
    for (int i = 0; i < n; i++)          /* the step itself has the first place */
        if (b->after[i] == i)
            as[i] = count[i]++;
    for (int i = 0; i < n; i++)
        if (b->after[i] != i)
            as[i] = count[b->after[i]]++;
    for (int i = 0; i < n; i++)
        to[as[i]] = b->p->steps.at[i];
    memcpy(b->p->steps.at, to, (size_t)n * sizeof *to);
}

/* ---- whether a step may */

/* Whether the old value may be asked for when the new one is there. Stores go last in their stage (sink_stores), so only another store can. */
static bool needed_late(const cg_loop *l, int load, int store)
{
    bool yes = false;
    for (int v = 0; v < l->nvals; v++)
        for (int k = 0; k < 3; k++)
            yes |= l->vals[v].a[k] == load && v != store && (l->vals[v].kind == CG_V_STORE || l->vals[v].stage > l->vals[store].stage);
    for (int k = 0; k < l->noperands; k++)
        yes |= l->operands[k].gather == load;
    return yes;
}

static int store_of(const cg_loop *l, int slot)
{
    int store = -1;
    for (int v = 0; v < l->nvals; v++)
        if (l->vals[v].kind == CG_V_STORE && l->operands[l->vals[v].operand].slot == slot)
            store = store < 0 ? v : -2;
    return store;
}

/* Each point reads of the old value what it writes of the new one, before it writes. */
static bool loop_may(const cg_loop *l, const cg_in_place *u)
{
    const int store = store_of(l, u->value);
    bool may = store >= 0 && l->vals[store].level < 2 && (l->naxes == l->nouter || l->columns);
    for (int v = 0; v < l->nvals && may; v++) {
        const cg_val *x = &l->vals[v];
        if (x->kind != CG_V_LOAD || l->operands[x->operand].slot != u->var)
            continue;
        cg_operand to = l->operands[l->vals[store].operand];
        to.slot = u->var;
        may = x->level < 2 && cg__same_place(&to, &l->operands[x->operand]) && !needed_late(l, v, store);
    }
    return may;
}

static bool step_may(const cg_step *s, const cg_in_place *u)
{
    if (s->kind == CG_STEP_GEMM)
        return s->gemm.c.slot == u->value && s->gemm.a.slot != u->var && s->gemm.b.slot != u->var;
    if (s->kind == CG_STEP_KERNEL)       /* it goes on where a copy of the old value begins */
        return s->kernel.slots[0] == u->value && s->kernel.slots[1] != u->var && s->kernel.slots[2] != u->var;
    return s->kind == CG_STEP_LOOP && loop_may(&s->loop, u);
}

static void decide(placer *b)
{
    for (int k = 0; k < b->n; k++) {
        const int w = b->writer[k];
        b->u[k].done = w >= b->free_from && w > b->last_fail && b->last[b->u[k].var] <= w && step_may(&b->p->steps.at[w], &b->u[k]);
    }
}

/* ---- the change */

/* Operands that are one place now become one. */
static void join_operands(cg_loop *l)
{
    for (int k = l->noperands - 1; k > 0; k--) {
        int same = 0;
        while (same < k && !cg__same_place(&l->operands[same], &l->operands[k]))
            same++;
        if (same == k)
            continue;
        for (int v = 0; v < l->nvals; v++) {
            int *o = &l->vals[v].operand;
            *o = *o == k ? same : *o > k ? *o - 1 : *o;
        }
        memmove(&l->operands[k], &l->operands[k + 1], (size_t)(--l->noperands - k) * sizeof l->operands[0]);
    }
}

/* The stores last, each kind in its order: what is computed of an old value is computed before the new one is stored. */
static void sink_stores(cg_loop *l)
{
    cg_val to[CG_TOUCHED];
    int as[CG_TOUCHED], n = 0;
    for (int stores = 0; stores < 2; stores++)
        for (int v = 0; v < l->nvals; v++)
            if ((l->vals[v].kind == CG_V_STORE) == stores)
                to[as[v] = n++] = l->vals[v];
    for (int v = 0; v < n; v++)
        for (int k = 0; k < 3; k++)
            to[v].a[k] = to[v].a[k] < 0 ? -1 : as[to[v].a[k]];
    for (int k = 0; k < l->noperands; k++)
        l->operands[k].gather = l->operands[k].gather < 0 ? -1 : as[l->operands[k].gather];
    memcpy(l->vals, to, (size_t)n * sizeof *to);
}

static void rename_slots(cg_step *s, const int *as)
{
    bool changed = false;
    switch (s->kind) {
    case CG_STEP_LOOP:
        for (int k = 0; k < s->loop.noperands; k++) {
            int *slot = &s->loop.operands[k].slot;
            changed |= as[*slot] != *slot;
            *slot = as[*slot];
        }
        if (changed) {
            join_operands(&s->loop);
            sink_stores(&s->loop);
        }
        break;
    case CG_STEP_GEMM:
        s->gemm.a.slot = as[s->gemm.a.slot];
        s->gemm.b.slot = as[s->gemm.b.slot];
        s->gemm.c.slot = as[s->gemm.c.slot];
        break;
    case CG_STEP_KERNEL:
        for (int k = 0; k < s->kernel.nslots; k++)
            s->kernel.slots[k] = as[s->kernel.slots[k]];
        break;
    case CG_STEP_COPY:
        s->copy.from = as[s->copy.from];
        s->copy.to = as[s->copy.to];
        break;
    case CG_STEP_READ: s->fetch.slot = as[s->fetch.slot]; break;
    case CG_STEP_REPEAT: case CG_STEP_BRANCH: break;
    }
}

/* The copies into buffers that are not there any more go. */
static void change(placer *b, int *as)
{
    cg_plan *p = b->p;
    int kept = 0;
    for (int k = 0; k < p->slots.n; k++)
        as[k] = k;
    for (int k = 0; k < b->n; k++)
        if (b->u[k].done) {
            as[b->u[k].value] = b->u[k].var;
            p->slots.at[b->u[k].var].in_place = true;
            p->slots.at[b->u[k].value].kind = CG_SLOT_ARENA;         /* named by no step */
        }
    for (int i = 0; i < p->steps.n; i++) {
        cg_step *s = &p->steps.at[i];
        bool gone = false;
        for (int k = 0; k < s->loop.noperands && s->kind == CG_STEP_LOOP && i >= b->free_from; k++)
            gone |= as[s->loop.operands[k].slot] != s->loop.operands[k].slot && copies(s, as[s->loop.operands[k].slot], s->loop.operands[k].slot);
        if (gone)
            continue;
        rename_slots(s, as);
        p->steps.at[kept++] = *s;
    }
    p->steps.n = kept;
}

void cg__plan_in_place(cg_plan *p, cg_in_place *updates, int n)
{
    const size_t slots = (size_t)p->slots.n, steps = (size_t)p->steps.n + 1;
    placer b = { .p = p, .u = updates, .n = n };
    if (!n)
        return;
    int *room = cg__zalloc((slots * 3 + (size_t)n + steps * 3) * sizeof *room);
    cg_step *moved = cg__zalloc(steps * sizeof *moved);
    b.writes = cg__zalloc(steps);
    p->failed |= !room || !moved || !b.writes;
    if (!p->failed) {
        b.first = room;
        b.second = b.first + slots;
        b.last = b.second + slots;
        b.writer = b.last + slots;
        b.after = b.writer + n;
        int *const count = b.after + steps, *const as = count + steps;
        survey(&b);
        find_writers(&b);
        want_order(&b);
        keep_order(&b, b.first, b.second);
        move(&b, moved, count, as);
        for (int k = 0; k < n; k++)
            b.writer[k] = b.writer[k] < 0 ? -1 : as[b.writer[k]];
        survey(&b);
        decide(&b);
        change(&b, b.first);
    }
    cg__free(room);
    cg__free(moved);
    cg__free(b.writes);
}
