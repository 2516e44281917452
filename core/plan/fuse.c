// SPDX-License-Identifier: MIT
/* Neighbouring LOOPs over the same points become one: what one stores and the other loads at the same point stays in a register, what both
 * load is loaded once, and a store that nobody else reads goes. No bit changes: the same operations on the same values, reductions over the
 * same axes.
 *
 *     (loop outer [n] inner [c]  v = softmax x, store s v)  (loop outer [n c]  store t (mul s g))
 *     ->  (loop outer [n] inner [c]  v = softmax x, store t (mul v g))
 *
 * The later loop moves up to the earlier one, past steps it shares nothing with. One of the two, the host, lends its axes; the guest has no
 * inner axes and runs over all of the host's or its outer ones, or has the host's own. Loops of rank 0 are copied into their readers.
 */
#include "core/plan/plan.h"

/* Steps looked back over; how often; values of a rank 0 loop that may be computed in each reader; what two loops may have before what nobody else reads goes */
enum { REACH = 12, PASSES = 2, PROLOGUE_VALUES = 16, VALS = 2 * CG_LOOP_OPS, OPERANDS = 2 * CG_LOOP_OPERANDS };

typedef struct fuser {
    cg_plan *p;
    bool *gone;                          /* by step */
    int *readers;                        /* by slot: steps that name it */
    struct room { int vals, operands; } *room;   /* by step: of a loop that was made here, how many there is room for */
    int *next, **last;                   /* by step: the next of those that became part of it, or -1; where the one after them goes */
    int from;                            /* the first step of the stretch between loop boundaries */
} fuser;

/* A loop that is being made from two. */
typedef struct merge {
    cg_plan *p;
    cg_loop loop;
    cg_val vals[VALS];
    cg_operand operands[OPERANDS];
    bool failed;
} merge;

/* ---- axes: what the guest calls axis g are the host's axes first[g] .. first[g + 1] - 1 */

static bool has_index(const cg_loop *l, int axis)
{
    for (int v = 0; v < l->nvals; v++)
        if (l->vals[v].kind == CG_V_INDEX && l->vals[v].op == axis)
            return true;
    return false;
}

static cg_num product(cg_plan *p, const cg_num *extent, int from, int to)
{
    cg_num all = extent[to - 1];
    for (int k = to - 2; k >= from; k--)
        all = cg__num(p, CG_N_MUL, extent[k], all, 0, 0);
    return all;
}

static bool match_axes(cg_plan *p, const cg_loop *guest, const cg_num *extent, int n, int *first)
{
    int at = 0;
    for (int g = 0; g < guest->naxes; g++) {
        first[g] = at;
        int end = at + 1;
        while (end < n && product(p, extent, at, end) != guest->extent[g])
            end++;
        if (at >= n || product(p, extent, at, end) != guest->extent[g] || (end - at > 1 && has_index(guest, g)))
            return false;
        at = end;
    }
    first[guest->naxes] = at;
    return at == n;
}

/* Strides along the guest's axes as strides along the host's. */
static void map_strides(merge *m, const int *first, int naxes, cg_num *c)
{
    cg_num out[CG_AXES_MAX];
    for (int k = 0; k < CG_AXES_MAX; k++)
        out[k] = CG_NUM_NONE;
    for (int g = 0; g < naxes; g++) {
        cg_num stride = cg__num_is(m->p, c[g], 0) ? CG_NUM_NONE : c[g];
        for (int k = first[g + 1] - 1; k >= first[g] && stride != CG_NUM_NONE; k--) {
            out[k] = stride;
            if (k > first[g])
                stride = cg__num(m->p, CG_N_MUL, stride, m->loop.extent[k], 0, 0);
        }
    }
    memcpy(c, out, sizeof out);
}

/* ---- values */

static int own_level(const merge *m, const cg_val *v)
{
    if (v->kind == CG_V_INDEX)
        return v->op >= m->loop.nouter ? 2 : 1;
    if (v->kind != CG_V_LOAD && v->kind != CG_V_STORE)
        return 0;
    const cg_operand *o = &m->operands[v->operand];
    int level = cg__stride_level(m->p, &m->loop, o->stride);
    for (int w = 0; w < o->nwindows; w++) {
        const int k = cg__stride_level(m->p, &m->loop, o->window[w].c);
        level = k > level ? k : level;
    }
    return level;
}

static bool same_val(const cg_val *x, const cg_val *y)
{
    return x->kind == y->kind && x->dtype == y->dtype && x->op == y->op && x->operand == y->operand && memcmp(x->a, y->a, sizeof x->a) == 0 &&
           memcmp(&x->lit, &y->lit, sizeof x->lit) == 0 && x->ilit == y->ilit;
}

static int add_val(merge *m, cg_val v)
{
    cg_loop *l = &m->loop;
    v.level = (uint8_t)own_level(m, &v);
    v.stage = 0;
    for (int k = 0; k < 3; k++)
        if (v.a[k] >= 0) {
            const cg_val *in = &m->vals[v.a[k]];
            const uint8_t stage = (uint8_t)(in->stage + (in->kind == CG_V_REDUCE));
            v.level = in->level > v.level ? in->level : v.level;
            v.stage = stage > v.stage ? stage : v.stage;
        }
    if (v.kind == CG_V_REDUCE) {
        m->failed |= v.level < 2;        /* what a reduction reads must vary along the inner axes */
        v.level = 1;
    }
    for (int i = 0; i < l->nvals; i++)
        if (v.kind != CG_V_STORE && same_val(&m->vals[i], &v))
            return i;
    if (l->nvals == VALS) {
        m->failed = true;
        return 0;
    }
    m->vals[l->nvals] = v;
    return l->nvals++;
}

/* ---- operands */

static int numbers_of(const cg_loop *l, const cg_operand *o) { return 1 + l->naxes + 2 * (o->gather >= 0) + o->nwindows * (3 + l->naxes); }

static int add_operand(merge *m, cg_operand o)
{
    cg_loop *l = &m->loop;
    for (int k = 0; k < l->noperands; k++)
        if (cg__same_place(&m->operands[k], &o))
            return k;
    if (l->noperands == OPERANDS) {
        m->failed = true;
        return 0;
    }
    m->operands[l->noperands] = o;
    return l->noperands++;
}

static cg_operand mapped(merge *m, const cg_loop *l, int k, const int *first, const int *as)
{
    cg_operand o = l->operands[k];
    map_strides(m, first, l->naxes, o.stride);
    if (o.nwindows) {
        o.window = cg__arena_copy(&m->p->arena, o.window, (size_t)o.nwindows * sizeof *o.window);
        m->p->failed |= !o.window;
    }
    for (int w = 0; w < o.nwindows && o.window; w++)
        map_strides(m, first, l->naxes, o.window[w].c);
    o.gather = o.gather < 0 ? -1 : as[o.gather];
    return o;
}

/* Places in one slot that have no element in common: two parts that are stored, or the row of a state that a step reads and the one it writes. */
static bool apart(const merge *m, const cg_operand *x, const cg_operand *y)
{
    const cg_slot *s = &m->p->slots.at[x->slot];
    const bool rows = s->row != s->next_row && ((x->off == s->row && y->off == s->next_row) || (x->off == s->next_row && y->off == s->row));
    return rows || (x->part && y->part);
}

/* What the loop so far has stored in the slot: a value if it stands where o reads; else the two cannot be one. */
static int stored(merge *m, const cg_operand *o, cg_dtype d)
{
    int found = -1;
    for (int v = 0; v < m->loop.nvals; v++) {
        const cg_val *s = &m->vals[v];
        if (s->kind != CG_V_STORE || m->operands[s->operand].slot != o->slot || apart(m, &m->operands[s->operand], o))
            continue;
        m->failed |= !cg__same_place(&m->operands[s->operand], o) || s->dtype != d || m->vals[s->a[0]].dtype != d;
        found = s->a[0];
    }
    return found;
}


static bool loads(const merge *m, int slot)
{
    bool yes = false;
    for (int v = 0; v < m->loop.nvals; v++)
        yes |= m->vals[v].kind == CG_V_LOAD && m->operands[m->vals[v].operand].slot == slot;
    return yes;
}

/* A slot that is stored may not have been touched before, but by this loop at the same place, or elsewhere in it. */
static void check_store(merge *m, const cg_operand *o, int before)
{
    for (int k = 0; k < before; k++)
        m->failed |= m->operands[k].slot == o->slot && !apart(m, &m->operands[k], o);
}

/* The first loop, on its own axes: it stays what it is, so that a loop that grows is not compared with itself again and again. */
static void begin_with(merge *m, const cg_loop *l)
{
    memcpy(m->vals, l->vals, (size_t)l->nvals * sizeof *l->vals);
    memcpy(m->operands, l->operands, (size_t)l->noperands * sizeof *l->operands);
    m->loop.nvals = l->nvals;
    m->loop.noperands = l->noperands;
}

static void add_loop(merge *m, const cg_loop *l, const int *first)
{
    const int before = m->loop.noperands;
    int as[VALS];
    for (int v = 0; v < l->nvals && !m->failed; v++) {
        cg_val x = l->vals[v];
        for (int k = 0; k < 3; k++)
            x.a[k] = x.a[k] < 0 ? -1 : as[x.a[k]];
        as[v] = -1;
        if (x.kind == CG_V_INDEX)
            x.op = first[x.op];
        if (x.kind == CG_V_LOAD || x.kind == CG_V_STORE) {
            const cg_operand o = mapped(m, l, x.operand, first, as);
            if (x.kind == CG_V_STORE)
                check_store(m, &o, before);
            else
                as[v] = stored(m, &o, x.dtype);
            x.operand = as[v] < 0 ? add_operand(m, o) : -1;
        }
        if (as[v] < 0 && !m->failed)
            as[v] = add_val(m, x);
    }
}

/* ---- what is left over */

/* Values and operands that nothing needs go; dead[v] says which stores do. */
static void sweep(merge *m, const bool *dead)
{
    cg_loop *l = &m->loop;
    bool need[VALS] = { false };
    int as[VALS], place[OPERANDS], n = 0, k = 0;
    for (int v = l->nvals - 1; v >= 0; v--) {
        need[v] |= m->vals[v].kind == CG_V_STORE && !dead[v];
        for (int i = 0; i < 3 && need[v]; i++)
            if (m->vals[v].a[i] >= 0)
                need[m->vals[v].a[i]] = true;
    }
    for (int i = 0; i < l->noperands; i++)
        place[i] = -1;
    for (int v = 0; v < l->nvals; v++) {
        cg_val x = m->vals[v];
        as[v] = n;
        if (!need[v])
            continue;
        for (int i = 0; i < 3; i++)
            x.a[i] = x.a[i] < 0 ? -1 : as[x.a[i]];
        if (x.operand >= 0)
            place[x.operand] = 0;
        m->vals[n++] = x;
    }
    l->nvals = n;
    for (int i = 0; i < l->noperands; i++)
        if (place[i] == 0) {
            cg_operand o = m->operands[i];
            o.gather = o.gather < 0 ? -1 : as[o.gather];
            place[i] = k;
            m->operands[k++] = o;
        }
    l->noperands = k;
    for (int v = 0; v < n; v++)
        m->vals[v].operand = m->vals[v].operand < 0 ? -1 : place[m->vals[v].operand];
}

/* What is left is no more than the smallest device takes: so many values, arrays, and numbers in a kernel's argument. */
static bool is_small(const merge *m)
{
    const cg_loop *l = &m->loop;
    int numbers = CG_AXES_MAX;
    for (int k = 0; k < l->noperands; k++)
        numbers += numbers_of(l, &m->operands[k]);
    for (int v = 0; v < l->nvals; v++)
        numbers += m->vals[v].kind == CG_V_NUMBER;
    return l->nvals <= CG_LOOP_OPS && l->noperands <= CG_LOOP_OPERANDS && numbers <= CG_LOOP_NUMBERS;
}

static bool among(const cg_touched *t, int slot)
{
    bool yes = false;
    for (int k = 0; k < t->n; k++)
        yes |= t->slot[k] == slot;
    return yes;
}

/* Stores to an arena slot that no step but these two names. */
static void find_dead(const fuser *f, const merge *m, const cg_touched *a, const cg_touched *b, bool *dead)
{
    for (int v = 0; v < m->loop.nvals; v++) {
        const int slot = m->vals[v].kind == CG_V_STORE ? m->operands[m->vals[v].operand].slot : -1;
        dead[v] = slot >= 0 && f->p->slots.at[slot].kind == CG_SLOT_ARENA && among(b, slot) && f->readers[slot] == among(a, slot) + 1 && !loads(m, slot);
    }
}

/* ---- two loops */

static bool gathers(const cg_loop *l)
{
    for (int k = 0; k < l->noperands; k++)
        if (l->operands[k].gather >= 0)
            return true;
    return false;
}

/* They read something in common, or one reads what the other writes; that both store parts of one array is no reason. */
static bool related(const cg_touched *a, const cg_touched *b)
{
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < b->n; k++)
            if (a->slot[i] == b->slot[k] && !(a->written[i] && b->written[k]))
                return true;
    return false;
}

static bool same_axes(const cg_loop *a, const cg_loop *b)
{
    return a->naxes == b->naxes && a->nouter == b->nouter && a->columns == b->columns && memcmp(a->extent, b->extent, (size_t)a->naxes * sizeof a->extent[0]) == 0;
}

/* How the guest runs over the host's axes. A reduction over everything runs on one thread, so nothing with inner work joins it. */
static bool fits(cg_plan *p, const cg_loop *host, const cg_loop *guest, int *first)
{
    const bool inner = host->naxes > host->nouter;
    if (guest->naxes > guest->nouter)
        return false;
    if (inner && match_axes(p, guest, host->extent, host->nouter, first))
        return true;
    return (!inner || (host->nouter && !host->columns)) && match_axes(p, guest, host->extent, host->naxes, first);
}

static void identity(int *first)
{
    for (int k = 0; k <= CG_AXES_MAX; k++)
        first[k] = k;
}

/* The axes of the two as one loop's; false: they have none in common. */
static bool join(cg_plan *p, const cg_loop *a, const cg_loop *b, cg_loop *out, int *first_a, int *first_b)
{
    const cg_loop *host = a;
    bool yes = same_axes(a, b);
    identity(first_a);
    identity(first_b);
    if (!yes && !(yes = fits(p, a, b, first_b))) {
        identity(first_b);
        host = b;
        yes = fits(p, b, a, first_a);
    }
    *out = (cg_loop){ .naxes = host->naxes, .nouter = host->nouter, .columns = host->columns };
    memcpy(out->extent, host->extent, sizeof out->extent);
    return yes;
}

/* The n items in `had` if there is room. A loop grows often, so until the end it lies outside of the arena. */
static void *kept(cg_plan *p, void *had, int *room, const void *items, int n, size_t item)
{
    void *at = *room ? had : NULL;
    if (n > *room) {
        at = cg__realloc(at, (size_t)n * 2 * item);
        p->failed |= !at;
        if (!at)
            return had;
        *room = 2 * n;
    }
    return n ? memcpy(at, items, (size_t)n * item) : at;
}

/* The n items, if there was room made for them, as part of the arena. */
static void *settled(cg_plan *p, void *had, const int *room, int n, size_t item)
{
    void *at = *room && n ? cg__arena_copy(&p->arena, had, (size_t)n * item) : NULL;
    p->failed |= *room && n && !at;
    if (*room)
        cg__free(had);
    return *room ? at : had;
}

static bool keep(fuser *f, const merge *m, cg_step *to)
{
    cg_plan *p = f->p;
    struct room *room = &f->room[to - p->steps.at];
    cg_loop l = m->loop;
    l.vals = kept(p, to->loop.vals, &room->vals, m->vals, l.nvals, sizeof *l.vals);
    l.operands = kept(p, to->loop.operands, &room->operands, m->operands, l.noperands, sizeof *l.operands);
    if (p->failed) {                     /* the loop is lost, but what has moved is freed when it settles */
        to->loop.vals = l.vals;
        to->loop.operands = l.operands;
        return false;
    }
    to->loop = l;
    return true;
}

/* How often the slots of a step are named, once a slot. */
static void count(const fuser *f, const cg_touched *t, int by)
{
    for (int k = 0; k < t->n; k++) {
        bool first = true;
        for (int i = 0; i < k; i++)
            first &= t->slot[i] != t->slot[k];
        f->readers[t->slot[k]] += first ? by : 0;
    }
}

/* Loop j into loop i; ta and tb are what they touch. */
static bool fuse(fuser *f, int i, int j, const cg_touched *ta, const cg_touched *tb)
{
    cg_step *a = &f->p->steps.at[i], *b = &f->p->steps.at[j];
    merge m = { .p = f->p };
    int first_a[CG_AXES_MAX + 1], first_b[CG_AXES_MAX + 1];
    bool dead[VALS];
    if (a->loop.nvals > CG_LOOP_OPS || b->loop.nvals > CG_LOOP_OPS || (gathers(&a->loop) && gathers(&b->loop)) || !related(ta, tb) ||
        !join(f->p, &a->loop, &b->loop, &m.loop, first_a, first_b))
        return false;
    if (same_axes(&m.loop, &a->loop) && a->loop.noperands <= CG_LOOP_OPERANDS)
        begin_with(&m, &a->loop);
    else
        add_loop(&m, &a->loop, first_a);
    add_loop(&m, &b->loop, first_b);
    if (m.failed || f->p->failed)
        return false;
    find_dead(f, &m, ta, tb, dead);
    sweep(&m, dead);
    if (!is_small(&m) || !keep(f, &m, a))
        return false;
    count(f, ta, -1);
    count(f, tb, -1);
    const cg_touched now = cg__touched_by(a);
    count(f, &now, 1);
    f->gone[j] = true;
    *f->last[i] = j;
    f->last[i] = f->last[j];
    return true;
}

/* Loop j into one before it in the stretch; whether it went. */
static bool fuse_up(fuser *f, int j)
{
    const cg_touched tb = cg__touched_by(&f->p->steps.at[j]);
    for (int i = j - 1, seen = 0; i >= f->from && seen < REACH; i--) {
        if (f->gone[i])
            continue;
        seen++;
        const cg_touched ta = cg__touched_by(&f->p->steps.at[i]);
        if (f->p->steps.at[i].kind == CG_STEP_LOOP && fuse(f, i, j, &ta, &tb))
            return true;
        if (cg__touched_ordered(&ta, &tb))
            return false;
    }
    return false;
}

/* ---- rank 0 */

static bool lasting(const fuser *f, const cg_operand *o)
{
    const cg_slot_kind k = f->p->slots.at[o->slot].kind;
    return k != CG_SLOT_ARENA && k != CG_SLOT_OUTPUT;
}

static bool is_prologue(const fuser *f, int i)
{
    const cg_step *s = &f->p->steps.at[i];
    bool yes = s->kind == CG_STEP_LOOP && s->loop.naxes == 0 && s->loop.nvals <= PROLOGUE_VALUES && !gathers(&s->loop);
    int stores = 0;
    for (int v = 0; yes && v < s->loop.nvals; v++) {
        const cg_val *x = &s->loop.vals[v];
        stores += x->kind == CG_V_STORE;
        if (x->kind == CG_V_STORE)
            yes = f->p->slots.at[s->loop.operands[x->operand].slot].kind == CG_SLOT_ARENA;
        else
            yes = x->kind != CG_V_LOAD || lasting(f, &s->loop.operands[x->operand]);
    }
    return yes && stores == 1;
}

static int stored_slot(const cg_loop *l)
{
    int slot = -1;
    for (int v = 0; v < l->nvals; v++)
        if (l->vals[v].kind == CG_V_STORE)
            slot = l->operands[l->vals[v].operand].slot;
    return slot;
}

/* The loop `first` in front of the values of the loop `to`, its store left out. */
static bool put_before(fuser *f, const cg_loop *first, cg_step *to, bool only_try)
{
    merge m = { .p = f->p, .loop = to->loop };
    bool dead[VALS] = { false };
    int axes[CG_AXES_MAX + 1];
    m.loop.nvals = m.loop.noperands = 0;
    identity(axes);
    if (first->nvals > CG_LOOP_OPS || to->loop.nvals > CG_LOOP_OPS)
        return false;
    add_loop(&m, first, axes);
    for (int v = 0; v < m.loop.nvals; v++)
        dead[v] = m.vals[v].kind == CG_V_STORE;
    add_loop(&m, &to->loop, axes);
    if (m.failed || f->p->failed)
        return false;
    sweep(&m, dead);
    if (!is_small(&m) || only_try)
        return is_small(&m);
    const cg_touched before = cg__touched_by(to);
    count(f, &before, -1);
    if (!keep(f, &m, to))
        return false;
    const cg_touched now = cg__touched_by(to);
    count(f, &now, 1);
    return true;
}

static bool names(const cg_step *s, int slot)
{
    const cg_touched t = cg__touched_by(s);
    return among(&t, slot);
}

/* A loop of rank 0 becomes part of all its readers, if those are loops of the same stretch. */
static void spread_prologue(fuser *f, int i, int end)
{
    const cg_loop first = f->p->steps.at[i].loop;
    const int slot = stored_slot(&first);
    int left = f->readers[slot] - 1;
    for (int j = i + 1; j < end && left > 0; j++) {
        cg_step *s = &f->p->steps.at[j];
        if (!names(s, slot))
            continue;
        if (s->kind != CG_STEP_LOOP || !put_before(f, &first, s, true))
            return;
        left--;
    }
    if (left)
        return;
    for (int j = i + 1; j < end; j++)
        if (names(&f->p->steps.at[j], slot) && !put_before(f, &first, &f->p->steps.at[j], false))
            return;
    const cg_touched t = cg__touched_by(&f->p->steps.at[i]);
    count(f, &t, -1);
    f->gone[i] = true;
}

/* ---- the pass */

static void stretch(fuser *f, int from, int to)
{
    f->from = from;
    for (int i = from; i < to && !f->p->failed; i++)
        if (is_prologue(f, i))
            spread_prologue(f, i, to);
    bool more = true;                    /* a loop that has grown may have come to read what one before it makes */
    for (int pass = 0; pass < PASSES && more; pass++) {
        more = false;
        for (int j = from; j < to && !f->p->failed; j++)
            if (f->p->steps.at[j].kind == CG_STEP_LOOP && !f->gone[j])
                more |= fuse_up(f, j);
    }
}

/* Bodies are stretches of their own: a step stays on its side of each boundary. */
static void stretches(fuser *f, bool *boundary)
{
    const cg_plan *p = f->p;
    const int n = p->steps.n;
    for (int i = 0; i < n; i++) {
        const int *nbody = cg__step_body(&p->steps.at[i]);
        if (nbody)
            boundary[i] = boundary[i + 1] = boundary[i + 1 + *nbody] = true;
    }
    for (int from = 0, to; from < n; from = to) {
        to = from + 1;
        while (to < n && !boundary[to])
            to++;
        stretch(f, from, to);
    }
}

static void settle(fuser *f, int i)
{
    cg_step *s = &f->p->steps.at[i];
    cg_loop *l = &s->loop;
    l->vals = settled(f->p, l->vals, &f->room[i].vals, f->gone[i] ? 0 : l->nvals, sizeof *l->vals);
    l->operands = settled(f->p, l->operands, &f->room[i].operands, f->gone[i] ? 0 : l->noperands, sizeof *l->operands);
    if (f->gone[i] || f->p->failed)
        return;
    s->label = cg__loop_label(f->p, l);
}

/* What each step and those that are part of it now are, for people. */
static void name_steps(const fuser *f, cg_describe *origin)
{
    cg_plan *p = f->p;
    cg_strb s = { 0 };
    for (int i = 0; i < p->steps.n && !p->failed; i++) {
        if (f->gone[i])
            continue;
        s.n = 0;
        for (int k = i; k >= 0; k = f->next[k]) {
            cg__strb_add(&s, ", ", k == i ? 0 : 2);
            origin(p->steps.at[k].node, &s);
        }
        p->steps.at[i].origin = s.failed ? NULL : cg__arena_copy(&p->arena, s.at, s.n + 1);
        p->failed |= !p->steps.at[i].origin;
    }
    cg__strb_free(&s);
}

static void close_ranks(cg_plan *p, const bool *gone)
{
    int n = 0;
    for (int i = 0; i < p->steps.n; i++) {
        cg_step *s = &p->steps.at[i];
        int *nbody = cg__step_body(s), lost = 0;
        for (int k = 0; nbody && k < *nbody; k++)
            lost += gone[i + 1 + k];
        if (nbody)
            *nbody -= lost;
        if (!gone[i])
            p->steps.at[n++] = *s;
    }
    p->steps.n = n;
}

void cg__plan_fuse(cg_plan *p, cg_describe *origin)
{
    const size_t n = (size_t)p->steps.n;
    fuser f = { .p = p, .gone = cg__zalloc(n * 2 + 2), .readers = cg__zalloc((size_t)(p->slots.n + 1) * sizeof *f.readers),
                 .room = cg__zalloc((n + 1) * sizeof *f.room), .next = cg__zalloc((n + 1) * sizeof *f.next), .last = cg__zalloc((n + 1) * sizeof *f.last) };
    p->failed |= !f.gone || !f.readers || !f.room || !f.next || !f.last;
    if (!p->failed) {
        for (size_t i = 0; i < n; i++) {
            f.next[i] = -1;
            f.last[i] = &f.next[i];
        }
        for (int i = 0; i < p->steps.n; i++) {
            const cg_touched t = cg__touched_by(&p->steps.at[i]);
            count(&f, &t, 1);
        }
        stretches(&f, f.gone + n);
        for (int i = 0; i < p->steps.n; i++)
            if (p->steps.at[i].kind == CG_STEP_LOOP)
                settle(&f, i);
        name_steps(&f, origin);
        close_ranks(p, f.gone);
    }
    cg__free(f.gone);
    cg__free(f.readers);
    cg__free(f.room);
    cg__free(f.next);
    cg__free(f.last);
}
