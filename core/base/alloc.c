// SPDX-License-Identifier: MIT
/* The one door for host memory, which tests make fail at the n-th call, and the arena.
 *
 * Invariant: a failed allocation changes nothing; NULL is the only sign.
 */
#include <sys/mman.h>
#include <stdlib.h>
#include "core/base/base.h"

enum { HUGE_PAGE = 1 << 21, HUGE_BLOCK = 4 << 20 };
static long calls, live, fail_at;
static bool fail_sticky;

void cg__alloc_fail_at(long n, bool sticky)
{
    calls = 0;
    fail_at = n;
    fail_sticky = sticky;
}

long cg__alloc_calls(void)
{
    return __atomic_load_n(&calls, __ATOMIC_RELAXED);
}

long cg__alloc_live(void)
{
    return __atomic_load_n(&live, __ATOMIC_RELAXED);
}

static bool fails(void)
{
    const long n = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    return fail_at && (n == fail_at || (fail_sticky && n > fail_at));
}

/* p, which is a new block unless it is NULL. */
static void *counted(void *p)
{
    if (p)
        __atomic_add_fetch(&live, 1, __ATOMIC_RELAXED);
    return p;
}

void *cg__realloc(void *p, size_t bytes)
{
    if (!bytes) {
        cg__free(p);
        return NULL;
    }
    if (fails())
        return NULL;
    return p ? realloc(p, bytes) : counted(malloc(bytes));
}

void *cg__zalloc(size_t bytes)
{
    return fails() ? NULL : counted(calloc(1, bytes ? bytes : 1));
}

void cg__free(void *p)
{
    if (p)
        __atomic_sub_fetch(&live, 1, __ATOMIC_RELAXED);
    free(p);
}

/* Large blocks are of huge pages where the system has them on request: streams through them miss no translations. */
void *cg__aligned(size_t bytes)
{
    const size_t unit = bytes < HUGE_BLOCK ? 64 : HUGE_PAGE;
    size_t room;
    if (fails() || !cg__add_size(bytes < unit ? unit : bytes, unit - 1, &room))
        return NULL;
    void *p = counted(aligned_alloc(unit, room & ~(unit - 1)));
    if (p && unit == HUGE_PAGE)
        (void)madvise(p, room & ~(unit - 1), MADV_HUGEPAGE);
    return p;
}

void cg__aligned_free(void *p)
{
    cg__free(p);
}

char *cg__strdup(const char *s)
{
    const size_t n = strlen(s) + 1;
    char *t = cg__realloc(NULL, n);
    return t ? memcpy(t, s, n) : NULL;
}

bool cg__mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool cg__add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* ---- arena: chunks of at least 16 KiB, the newest first. Behind the last block of each there is room that may be read (cg_node.type). */

struct cg_chunk { struct cg_chunk *next; size_t used, cap; };
enum { CHUNK = 16384, BEHIND = 256, HEAD = (sizeof(struct cg_chunk) + 15) & ~15u };

void *cg__arena(cg_arena *a, size_t bytes)
{
    struct cg_chunk *c = a->head;
    size_t need;
    if (!cg__add_size(bytes, 15, &need))
        return NULL;
    need &= ~(size_t)15;
    if (!c || c->cap - c->used < need) {
        const size_t cap = need > CHUNK ? need : CHUNK;
        size_t whole;
        if (!cg__add_size(cap, HEAD + BEHIND, &whole) || !(c = cg__zalloc(whole)))
            return NULL;
        c->cap = cap;
        c->next = a->head;
        a->head = c;
    }
    void *p = (char *)c + HEAD + c->used;
    c->used += need;
    return p;
}

void *cg__arena_copy(cg_arena *a, const void *p, size_t bytes)
{
    void *q = cg__arena(a, bytes ? bytes : 1);
    if (q && bytes)
        memcpy(q, p, bytes);
    return q;
}

char *cg__arena_str(cg_arena *a, const char *s)
{
    return cg__arena_copy(a, s, strlen(s) + 1);
}

void cg__arena_free(cg_arena *a)
{
    while (a->head) {
        struct cg_chunk *next = a->head->next;
        cg__free(a->head);
        a->head = next;
    }
}
