// SPDX-License-Identifier: MIT
/* Vectors and the open-addressing multimap from 64-bit keys to 64-bit values.
 *
 * Invariant: the map's capacity is a power of two and at most 3/4 full, so that every probe ends; nothing is ever removed. A place is free
 * while its value is stored as 0, so values are stored inverted.
 */
#include <xxhash.h>
#include "core/base/base.h"

uint64_t cg__hash(const void *p, size_t bytes, uint64_t seed)
{
    return bytes ? XXH3_64bits_withSeed(p, bytes, seed) : seed * 0x9E3779B97F4A7C15u;
}

bool cg__vec_room(void **at, int n, int *cap, size_t item)
{
    if (n < *cap)
        return true;
    const int room = *cap ? *cap * 2 : 8;
    size_t bytes;
    void *p = room > 0 && cg__mul_size((size_t)room, item, &bytes) ? cg__realloc(*at, bytes) : NULL;
    if (!p)
        return false;
    *at = p;
    *cap = room;
    return true;
}

static size_t home(const cg_map *m, uint64_t key)
{
    return (size_t)((key ^ (key >> 29)) * 0x9E3779B97F4A7C15u >> 20) & (m->cap - 1);
}

static void place(cg_map *m, uint64_t key, uint64_t value)
{
    size_t i = home(m, key);
    while (m->at[i].not_value)
        i = (i + 1) & (m->cap - 1);
    m->at[i] = (struct cg_map_item){ key, ~value };
    m->n++;
}

bool cg__map_room(cg_map *m, size_t n)
{
    if (m->cap && m->n + n <= m->cap / 4 * 3)
        return true;
    cg_map big = { .cap = m->cap ? m->cap * 2 : 16 };
    while (big.cap / 4 * 3 < m->n + n)
        big.cap *= 2;
    if (!(big.at = cg__zalloc(big.cap * sizeof *big.at)))
        return false;
    /* Equal keys keep their order: the walk starts where no run crosses, at a free place. */
    size_t start = 0;
    while (m->cap && m->at[start].not_value)
        start++;
    for (size_t k = 0; k < m->cap; k++) {
        const struct cg_map_item *it = &m->at[(start + k) & (m->cap - 1)];
        if (it->not_value)
            place(&big, it->key, ~it->not_value);
    }
    cg__free(m->at);
    *m = big;
    return true;
}

bool cg__map_put(cg_map *m, uint64_t key, uint64_t value)
{
    if (!cg__map_room(m, 1))
        return false;
    place(m, key, value);
    return true;
}

bool cg__map_next(const cg_map *m, uint64_t key, size_t *it, uint64_t *value)
{
    if (!m->cap)
        return false;
    const size_t from = home(m, key);
    for (size_t k = *it;; k++) {
        const struct cg_map_item *at = &m->at[(from + k) & (m->cap - 1)];
        if (!at->not_value)
            return false;
        if (at->key == key) {
            *it = k + 1;
            *value = ~at->not_value;
            return true;
        }
    }
}

bool cg__map_get(const cg_map *m, uint64_t key, uint64_t *value)
{
    size_t it = 0;
    return cg__map_next(m, key, &it, value);
}

bool cg__map_set(cg_map *m, uint64_t key, uint64_t value)
{
    for (size_t i = m->cap ? home(m, key) : 0; m->cap && m->at[i].not_value; i = (i + 1) & (m->cap - 1))
        if (m->at[i].key == key) {
            m->at[i].not_value = ~value;
            return true;
        }
    return cg__map_put(m, key, value);
}

void cg__map_free(cg_map *m)
{
    cg__free(m->at);
    *m = (cg_map){ 0 };
}
