// SPDX-License-Identifier: MIT
/* The buffers of a device: which are in use and for what, which are idle, and how much they may hold together.
 *
 * A buffer that nobody refers to any more stays, idle, for the next of its size. In use and idle ones count against the limit that
 * CG_MEM_LIMIT or cg_device_limit sets. When that, or the device's own memory, leaves no room, idle ones are given back first; if it is
 * still not enough, the error says what was wanted, what is held, and the largest buffers by what the user calls them. It is made without
 * allocating, and nothing has changed.
 */
#include <errno.h>
#include <stdlib.h>
#include "core/run/run.h"

enum { KEEP = 256, LARGEST = 4 };
typedef struct cg_pool {
    cg_buffer *first;                    /* in use, the newest first */
    CG_VEC(cg_buffer *) idle;            /* the longest idle first */
    size_t held, kept;                   /* bytes in use, bytes idle */
    size_t most;                         /* that held has been */
    size_t limit;                        /* 0: none */
} cg_pool;

/* ---- the limit */

/* "64M": a number of bytes, or of K, M, G, T (powers of 1024). */
static bool read_bytes(const char *text, size_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    const unsigned long long n = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    const size_t factor = unit ? (size_t)1 << 10 * (unit - units + 1) : 1;
    return *text >= '0' && *text <= '9' && !errno && !end[unit != NULL] && n <= SIZE_MAX && cg__mul_size((size_t)n, factor, out) && *out;
}

int cg__pool_open(cg_device *d, cg_error *err)
{
    const char *text = secure_getenv("CG_MEM_LIMIT");
    size_t limit = 0;
    if (text && *text && !read_bytes(text, &limit))
        return cg__fail(err, CG_EINVAL, "CG_MEM_LIMIT: '%.60s' is no number of bytes; write it as 500000000, 64K, 512M or 2G", text);
    d->pool = cg__zalloc(sizeof *d->pool);
    if (!d->pool)
        return cg__fail(err, CG_ENOMEM, "no memory for a device");
    d->pool->limit = limit;
    return CG_OK;
}

static cg_buffer *take_idle(cg_pool *p, int i)
{
    cg_buffer *b = p->idle.at[i];
    memmove(&p->idle.at[i], &p->idle.at[i + 1], (size_t)(--p->idle.n - i) * sizeof b);
    p->kept -= b->bytes;
    return b;
}

static void release(cg_device *d, cg_buffer *b)
{
    d->backend->release(d, b);
    cg__free(b);
}

/* Gives idle buffers back until at most so many bytes are left, in use ones included, or none is idle. */
static void shrink(cg_device *d, size_t bytes)
{
    while (d->pool->idle.n && d->pool->held + d->pool->kept > bytes)
        release(d, take_idle(d->pool, 0));
}

void cg__pool_close(cg_device *d)
{
    if (!d->pool)
        return;
    shrink(d, 0);
    CG_VEC_FREE(&d->pool->idle);
    cg__free(d->pool);
    d->pool = NULL;
}

/* ---- refusing */

/* The largest in use that comes after a given one (NULL: of all); of equals the newest comes first. */
static const cg_buffer *next_largest(const cg_pool *p, const cg_buffer *after)
{
    const cg_buffer *best = NULL;
    bool passed = false;
    for (const cg_buffer *b = p->first; b; b = b->next) {
        const bool follows = !after || b->bytes < after->bytes || (b->bytes == after->bytes && passed);
        passed = passed || b == after;
        if (follows && (!best || b->bytes > best->bytes))
            best = b;
    }
    return best;
}

static void list_largest(const cg_pool *p, cg_error *err)
{
    char text[CG_BYTES_TEXT];
    const cg_buffer *b = NULL;
    for (int i = 0; i < LARGEST && (b = next_largest(p, b)); i++)
        cg__fail_more(err, "%s%s %s %s", i ? ", " : ". The largest: ", b->use.role, b->use.name, cg__bytes_text(b->bytes, text));
}

/* why: what the device said, or NULL if it was not asked. */
static int refuse(const cg_device *d, size_t bytes, const cg_use *use, const char *why, cg_error *err)
{
    const cg_pool *p = d->pool;
    char asked[CG_BYTES_TEXT], held[CG_BYTES_TEXT], limit[CG_BYTES_TEXT];
    cg__fail(err, CG_ENOMEM, "%s has no room for %s %s, %s: %s are held", d->name, use->role, use->name, cg__bytes_text(bytes, asked), cg__bytes_text(p->held, held));
    if (why)
        cg__fail_more(err, ", and %s; free arrays and functions, or use smaller inputs", why);
    else
        cg__fail_more(err, " of the %s that CG_MEM_LIMIT or cg_device_limit allows; free arrays and functions, use smaller inputs, or raise the limit",
                      cg__bytes_text(p->limit, limit));
    list_largest(p, err);
    return CG_ENOMEM;
}

/* ---- buffers */

static int make(cg_device *d, size_t bytes, const cg_use *use, cg_buffer **out, cg_error *err)
{
    cg_pool *p = d->pool;
    cg_error why = { 0 };
    if (p->limit)
        shrink(d, bytes < p->limit ? p->limit - bytes : 0);
    if (p->limit && (bytes > p->limit || p->held > p->limit - bytes))
        return refuse(d, bytes, use, NULL, err);
    cg_buffer *b = cg__zalloc(sizeof *b);
    int rc = b ? d->backend->alloc(d, b, bytes, &why) : cg__fail(&why, CG_ENOMEM, "no memory for a buffer");
    if (b && rc == CG_ENOMEM && p->idle.n) {
        shrink(d, 0);
        why = (cg_error){ 0 };
        rc = d->backend->alloc(d, b, bytes, &why);
    }
    if (rc < 0) {
        cg__free(b);
        return rc == CG_ENOMEM ? refuse(d, bytes, use, why.text, err) : cg__fail(err, (cg_status)rc, "%s", why.text);
    }
    b->bytes = bytes;
    b->device = d;
    *out = b;
    return CG_OK;
}

static void link_in(cg_pool *p, cg_buffer *b)
{
    b->prev = NULL;
    b->next = p->first;
    if (p->first)
        p->first->prev = b;
    p->first = b;
    p->held += b->bytes;
    p->most = p->held > p->most ? p->held : p->most;
}

static void link_out(cg_pool *p, cg_buffer *b)
{
    if (b->next)
        b->next->prev = b->prev;
    *(b->prev ? &b->prev->next : &p->first) = b->next;
    p->held -= b->bytes;
}

int cg__buffer_new(cg_device *d, size_t bytes, const cg_use *use, cg_buffer **out, cg_error *err)
{
    cg_pool *p = d->pool;
    cg_buffer *b = NULL;
    bytes = cg__buffer_bytes(bytes);
    for (int i = p->idle.n - 1; i >= 0 && !b; i--)
        if (p->idle.at[i]->bytes == bytes)
            b = take_idle(p, i);
    const int rc = b ? CG_OK : make(d, bytes, use, &b, err);
    if (rc < 0)
        return rc;
    b->refs = 1;
    b->use = *use;
    link_in(p, b);
    *out = b;
    return CG_OK;
}

void cg__buffer_keep(cg_buffer *b)
{
    if (b)
        __atomic_add_fetch(&b->refs, 1, __ATOMIC_ACQ_REL);
}

void cg__buffer_drop(cg_buffer *b)
{
    if (!b || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL))
        return;
    cg_device *d = b->device;
    cg_pool *p = d->pool;
    pthread_mutex_lock(&d->lock);
    link_out(p, b);
    if (p->idle.n < KEEP && CG_PUSH(&p->idle, b))
        p->kept += b->bytes;
    else
        release(d, b);
    pthread_mutex_unlock(&d->lock);
}

/* ---- what the user asks */

CG_API int cg_device_limit(cg_device *d, size_t bytes)
{
    cg_error err = { 0 };
    if (!d) {
        cg__fail(&err, CG_EINVAL, "cg_device_limit: the device is NULL");
        return cg__set_last(&err);
    }
    pthread_mutex_lock(&d->lock);
    d->pool->limit = bytes;
    if (bytes)
        shrink(d, bytes);
    pthread_mutex_unlock(&d->lock);
    return CG_OK;
}

CG_API void cg_device_memory(cg_device *d, cg_memory *out)
{
    *out = (cg_memory){ 0 };
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    *out = (cg_memory){ .held = d->pool->held, .idle = d->pool->kept, .most = d->pool->most, .limit = d->pool->limit };
    pthread_mutex_unlock(&d->lock);
}
