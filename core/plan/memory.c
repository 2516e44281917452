// SPDX-License-Identifier: MIT
/* Offsets of arena slots: a walk over the steps that gives each slot the lowest gap it fits in when its life begins, and the
 * gap back when it has ended. Ties go by slot, so the result is deterministic. Cost: about linear in slots.
 * Also the end of a plan. */
#include <stdlib.h>
#include "core/plan/plan.h"

enum { ALIGN = 128 };
typedef struct range { size_t from, to; } range;
typedef struct event { int step, slot; } event;
/* What is free: gaps in order, none touching another, and all from end on. */
typedef struct room { CG_VEC(range) gaps; size_t end, most; } room;

static int by_step(const void *a, const void *b)
{
    const event *x = a, *y = b;
    return x->step != y->step ? (x->step < y->step ? -1 : 1) : x->slot < y->slot ? -1 : x->slot > y->slot;
}

static int slot_bytes(const cg_slot *s, const int64_t *n, size_t *out, cg_error *err)
{
    if (n[s->count] < 0 || !cg__mul_size((size_t)n[s->count], cg__dtypes[s->dtype].bytes, out) || *out > SIZE_MAX / 4)
        return cg__fail(err, CG_ENOMEM, "%s needs %lld elements, more than memory can hold", s->label, (long long)n[s->count]);
    *out = (*out + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    return CG_OK;
}

static void drop_gap(room *r, int i)
{
    memmove(&r->gaps.at[i], &r->gaps.at[i + 1], (size_t)(--r->gaps.n - i) * sizeof *r->gaps.at);
}

static size_t take(room *r, size_t bytes)
{
    for (int i = 0; i < r->gaps.n; i++) {
        range *g = &r->gaps.at[i];
        if (g->to - g->from < bytes)
            continue;
        const size_t at = g->from;
        g->from += bytes;
        if (g->from == g->to)
            drop_gap(r, i);
        return at;
    }
    const size_t at = r->end;
    r->end += bytes;
    r->most = r->end > r->most ? r->end : r->most;
    return at;
}

/* The gap where x belongs: the first that begins after it. */
static int place_of(const room *r, const range *x)
{
    int low = 0, high = r->gaps.n;
    while (low < high) {
        const int mid = low + (high - low) / 2;
        if (r->gaps.at[mid].from < x->from)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool give(room *r, range x)
{
    int i = place_of(r, &x);
    if (i < r->gaps.n && r->gaps.at[i].from == x.to) {
        x.to = r->gaps.at[i].to;
        drop_gap(r, i);
    }
    if (i > 0 && r->gaps.at[i - 1].to == x.from) {
        x.from = r->gaps.at[--i].from;
        drop_gap(r, i);
    }
    if (x.to == r->end) {
        r->end = x.from;
        return true;
    }
    if (!CG_PUSH(&r->gaps, x))
        return false;
    memmove(&r->gaps.at[i + 1], &r->gaps.at[i], (size_t)(r->gaps.n - 1 - i) * sizeof x);
    r->gaps.at[i] = x;
    return true;
}

/* Which slots begin and end at which step, in order; slots that no step touches need no memory. */
static int events_of(const cg_plan *p, event *begin, event *end)
{
    int k = 0;
    for (int i = 0; i < p->slots.n; i++) {
        const cg_slot *s = &p->slots.at[i];
        if (s->kind == CG_SLOT_ARENA && s->first <= s->last) {
            begin[k] = (event){ s->first, i };
            end[k++] = (event){ s->last, i };
        }
    }
    qsort(begin, (size_t)k, sizeof *begin, by_step);
    qsort(end, (size_t)k, sizeof *end, by_step);
    return k;
}

static int pack(const cg_plan *p, const int64_t *n, const event *begin, const event *end, int k, room *r, size_t *offset, cg_error *err)
{
    for (int i = 0, gone = 0; i < k; i++) {
        size_t bytes;
        for (; end[gone].step < begin[i].step; gone++) {
            const int s = end[gone].slot;
            if (slot_bytes(&p->slots.at[s], n, &bytes, err) == CG_OK && bytes && !give(r, (range){ offset[s], offset[s] + bytes }))
                return cg__fail(err, CG_ENOMEM, "no memory to plan");
        }
        if (slot_bytes(&p->slots.at[begin[i].slot], n, &bytes, err) < 0)
            return CG_ENOMEM;
        offset[begin[i].slot] = bytes ? take(r, bytes) : 0;
    }
    return CG_OK;
}

int cg__plan_memory(const cg_plan *p, const int64_t *n, size_t *offset, size_t *total, cg_error *err)
{
    event *events = cg__realloc(NULL, (size_t)(p->slots.n + 1) * 2 * sizeof *events);
    room r = { 0 };
    int rc = CG_OK;
    size_t unused;
    for (int i = 0; i < p->slots.n && rc == CG_OK; i++)          /* bound slots too: none may be too large */
        rc = slot_bytes(&p->slots.at[i], n, &unused, err);
    if (rc == CG_OK && !events)
        rc = cg__fail(err, CG_ENOMEM, "no memory to plan");
    if (rc == CG_OK) {
        event *end = events + p->slots.n + 1;
        rc = pack(p, n, events, end, events_of(p, events, end), &r, offset, err);
    }
    *total = r.most;
    CG_VEC_FREE(&r.gaps);
    cg__free(events);
    return rc;
}

void cg__plan_free(cg_plan *p)
{
    if (!p)
        return;
    CG_VEC_FREE(&p->nums);
    CG_VEC_FREE(&p->slots);
    CG_VEC_FREE(&p->steps);
    CG_VEC_FREE(&p->consts);
    CG_VEC_FREE(&p->checked);
    cg__map_free(&p->num_index);
    cg__arena_free(&p->arena);
    cg__free(p);
}
