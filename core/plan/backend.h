// SPDX-License-Identifier: MIT
/* What an executor is. Owned by core/plan, its user; implemented by one folder of backends/ each.
 * All calls on one device are made under its lock, except open. Sizes are checked and nonzero-safe (0 bytes is legal). */
#ifndef CG_BACKEND_H
#define CG_BACKEND_H

#include <pthread.h>
#include "core/plan/plan.h"

/* A device may have this many calls under way; core/run waits for older ones. A backend keeps what it must know of call c at c % CG_CALLS. */
enum { CG_CALLS = 4 };
typedef struct cg_backend cg_backend;
struct cg_device {                       /* a backend's own struct begins with `cg_device super` */
    const cg_backend *backend;
    char name[64];                       /* "cpu", "opencl:0:0" */
    pthread_mutex_t lock;
    long pid;                            /* a forked child must not touch it */
    int64_t kernels_built, launches;
    struct cg_calls *calls;              /* core/run's: what is under way */
    struct cg_pool *pool;                /* core/run's: the buffers */
};

/* A thread may take the lock again: a call holds it while it moves arrays. */
static inline void cg__device_lock_init(cg_device *d)
{
    pthread_mutexattr_t again;
    pthread_mutexattr_init(&again);
    pthread_mutexattr_settype(&again, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&d->lock, &again);
    pthread_mutexattr_destroy(&again);
}

/* What a buffer is for, as messages say it: "shared variable", "W (shared f32[784,256])". */
typedef struct cg_use { const char *role; char name[64]; } cg_use;
typedef struct cg_buffer {               /* device memory; counted by core/run */
    int refs;
    size_t bytes;
    cg_device *device;
    void *mem;                           /* the backend's: a pointer, a cl_mem */
    cg_use use;
    struct cg_buffer *prev, *next;       /* of those in use on its device */
} cg_buffer;

typedef struct cg_place { cg_buffer *buffer; size_t offset; } cg_place;      /* offset in bytes */

struct cg_backend {
    const char *name;
    /* Opens the device that `spec` (text after the first ':' of CG_DEVICE, "" if none) selects; errors list what exists, with the strings to type. */
    int (*open)(cg_device **out, const char *spec, cg_error *err);
    void (*close)(cg_device *);
    /* One line a device for `cgraph info`: appends human text, or JSON objects separated by commas. */
    void (*describe)(cg_strb *out, bool json);
    int (*alloc)(cg_device *, cg_buffer *, size_t bytes, cg_error *err);     /* sets mem */
    void (*release)(cg_device *, cg_buffer *);
    int (*write)(cg_device *, cg_buffer *, size_t off, const void *src, size_t bytes, cg_error *err);   /* src may be reused at return */
    int (*read)(cg_device *, cg_buffer *, size_t off, void *dst, size_t bytes, cg_error *err);          /* waits for the commands before */
    /* Makes what the plan needs to run (kernels); *exe is the backend's. */
    int (*prepare)(cg_device *, const cg_plan *, void **exe, cg_error *err);
    void (*unprepare)(cg_device *, void *exe);
    int (*copy)(cg_device *, cg_buffer *to, const cg_buffer *from, size_t bytes, cg_error *err);        /* in the order of commands */
    /* Runs or enqueues all steps as call number `call`. n: the numbers, of which REPEAT and READ change some, as env says what is wrong with them;
     * place[slot]. Waits only for a READ, and for the bool of a REPEAT with until, once a pass; on an error nothing is under way when it returns.
     * *committed is set before the plan's `commit` step begins: from there on shared variables change. A
     * backend that is immediate does not go there after a step that failed. */
    int (*run)(cg_device *, void *exe, const cg_plan *, const cg_num_env *env, int64_t *n, const cg_place *place, int64_t call, bool *committed, cg_error *err);
    /* Waits for the end of a call that run() accepted and tells how it went, once a call: CG_OK, CG_ERUNTIME with the status word (plan.h:
     * cg__failure), or the device's failure with *failed -1. */
    int (*finish)(cg_device *, int64_t call, int *failed, cg_error *err);
    bool immediate;                          /* run() returns when the call has ended */
    void (*kernels)(const cg_plan *, void *exe, cg_strb *out);               /* what `cgraph show --stage kernels` prints */
};

extern const cg_backend *const cg__backends[];       /* backends/registry.c; NULL-terminated, cpu first */

#endif
