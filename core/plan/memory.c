// SPDX-License-Identifier: MIT
/* Offsets of arena slots: first fit over lifetimes, in the order of slots, so the result is deterministic.
 * Also the end of a plan. */
#include <stdlib.h>
#include "core/plan/plan.h"

enum { ALIGN = 128 };
typedef struct range { size_t from, to; } range;

static int by_from(const void *a, const void *b)
{
    const range *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

static int slot_bytes(const cg_slot *s, const int64_t *n, size_t *out, cg_error *err)
{
    if (n[s->count] < 0 || !cg__mul_size((size_t)n[s->count], cg__dtypes[s->dtype].bytes, out) || *out > SIZE_MAX / 4)
        return cg__fail(err, CG_ENOMEM, "%s needs %lld elements, more than memory can hold", s->label, (long long)n[s->count]);
    *out = (*out + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    return CG_OK;
}

static bool alive_together(const cg_slot *a, const cg_slot *b)
{
    return a->first <= b->last && b->first <= a->last;
}

int cg__plan_memory(const cg_plan *p, const int64_t *n, size_t *offset, size_t *total, cg_error *err)
{
    range *taken = cg__realloc(NULL, (size_t)(p->slots.n + 1) * sizeof *taken);
    int rc = taken ? CG_OK : cg__fail(err, CG_ENOMEM, "no memory to plan");
    *total = 0;
    for (int i = 0; i < p->slots.n && rc == CG_OK; i++) {
        const cg_slot *s = &p->slots.at[i];
        size_t bytes = 0, other = 0, at = 0;
        int k = 0;
        rc = slot_bytes(s, n, &bytes, err);
        if (s->kind != CG_SLOT_ARENA || rc < 0)
            continue;
        for (int j = 0; j < i; j++) {
            const cg_slot *q = &p->slots.at[j];
            if (q->kind == CG_SLOT_ARENA && alive_together(s, q) && slot_bytes(q, n, &other, err) == CG_OK)
                taken[k++] = (range){ offset[j], offset[j] + other };
        }
        if (k)
            qsort(taken, (size_t)k, sizeof *taken, by_from);
        for (int j = 0; j < k && taken[j].from < at + bytes; j++)
            at = taken[j].to > at ? taken[j].to : at;
        offset[i] = at;
        *total = at + bytes > *total ? at + bytes : *total;
    }
    cg__free(taken);
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
