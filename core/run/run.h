// SPDX-License-Identifier: MIT
/* What the files of core/run share: arrays over counted buffers, the device table, a function's parts.
 *
 * An array's value is in host memory (host_valid), in a device buffer (buffer), or both. Buffers are counted: an output
 * and a shared variable may be the same bytes; whoever writes takes a fresh buffer unless it is the only holder.
 */
#ifndef CG_RUN_H
#define CG_RUN_H

#include "core/graph/build.h"
#include "core/lower/lower.h"
#include "core/plan/backend.h"

struct cg_array {
    cg_dtype dtype;
    int rank;
    int64_t shape[CG_MAX_RANK], count;
    size_t bytes;
    void *host;
    bool own_host, host_valid;
    cg_buffer *buffer;
    cg_device *writer;                   /* the device whose call number `written` gives the value; 0: no call, or one known to be good */
    int64_t written;
};

typedef struct cg_variant cg_variant;

double cg__now_us(void);                                         /* call.c: a clock that only goes forward */
cg_use cg__use_of(const char *role, const cg_node *n);           /* variant.c: of a buffer that holds n */

/* device.c */
cg_device *cg__device_default(cg_error *err);

/* pool.c: made under the device's lock, but for keep and drop */
int cg__pool_open(cg_device *d, cg_error *err);
void cg__pool_close(cg_device *d);
int cg__buffer_new(cg_device *d, size_t bytes, const cg_use *use, cg_buffer **out, cg_error *err);    /* refs 1; an error says what is held */
void cg__buffer_keep(cg_buffer *b);
void cg__buffer_drop(cg_buffer *b);                              /* NULL is fine; back to the pool at 0 */

/* calls.c: the calls under way on a device, how they ended. All but cg__calls_check are made under the device's lock. */
bool cg__calls_open(cg_device *d);
void cg__calls_close(cg_device *d);
int cg__calls_ready(cg_device *d, cg_error *err);        /* waits for the call before last; an earlier failure that nobody was told of is an error */
int64_t cg__calls_next(const cg_device *d);              /* the number of the call to come */
int cg__calls_sent(cg_device *d, const cg_variant *v, cg_error *err);    /* that call runs; an error if it has ended, and badly */
int64_t cg__calls_spoiled(cg_device *d, const cg_error *why);    /* a call that broke off while it changed variables: the number that poisons them */
void cg__calls_settle(cg_device *d);                     /* waits for all */
void cg__calls_forget(cg_device *d, const cg_variant *v);        /* v is about to be freed: waits if a call of it is under way */
int cg__calls_check(const cg_device *d, int64_t call, cg_error *err);    /* an error if that call, or one before it since the last good check, failed */

/* array.c */
int cg__array_good(const cg_array *a, cg_error *err);    /* an error if a is known to hold what a failed call left */
int cg__array_to_device(cg_array *a, cg_device *d, const cg_use *use, cg_error *err);    /* a->buffer on d holds the value */
int cg__array_to_host(cg_array *a, cg_error *err);
void cg__array_take_buffer(cg_array *a, cg_buffer *b);           /* the value is now b's alone; takes the reference */
cg_array *cg__array_on_device(cg_dtype d, const int64_t *shape, int rank, cg_buffer *b);     /* takes the reference */

/* A function for one pattern of which free sizes are 1: those stretch, all others that meet are equal. It has a graph, a plan and device
 * state of its own. */
struct cg_variant {
    cg_function *f;
    uint64_t ones;                                   /* bit i: the i-th size that may stretch is 1 */
    cg_graph *g;
    cg_node **inputs, **roots, **written;            /* written: the roots before rewriting */
    cg_lowered low;
    void *exe;
    cg_buffer **consts;
    cg_use *use;                                     /* of each slot's buffer, if it has one of its own */
    int64_t *n;                                      /* numbers of the call */
    int64_t *least, *most, *last_most;               /* between which they may lie (n itself where no loop changes numbers); most of the last call */
    size_t *offset, slab;                            /* for last_most */
    bool planned;
};

/* Two sizes that meet in a node of the function's graph. */
typedef struct cg_size { int input, axis; int64_t known; } cg_size;      /* the size of an input's axis; input -1: `known` */
typedef struct cg_meeting { cg_size a, b; bool stretches; const cg_node *node; } cg_meeting;     /* stretches: either may be 1 */

typedef struct cg_target_var { cg_array *array; cg_use use; } cg_target_var;     /* use: of its buffer */

enum { CG_VARIANTS = 8 };                            /* kept; the one that was not used for longest makes room */
struct cg_function {
    cg_graph *g;                                     /* as the user wrote it; where no sizes meet, what its one variant rewrites */
    const char *name;
    cg_device *device;
    pthread_mutex_t lock;                            /* one call at a time */
    bool strict, no_rewrites;
    cg_node **inputs;  int ninputs;
    cg_node **roots;   int noutputs, nupdates;       /* outputs, then update values */
    cg_target_var *targets;                          /* of the updates */
    CG_VEC(cg_meeting) meetings;
    CG_VEC(cg_size) free;                            /* sizes that may stretch, in the order of the bits of `ones` */
    cg_variant *variant[CG_VARIANTS]; int nvariants; /* the last used first */
    cg_stats stats;
};

int cg__call_sizes(cg_function *f, cg_error *err);   /* call.c: the last variant is planned for some sizes, or now is because none are free */

static inline int cg__nroots(const cg_function *f) { return f->noutputs + f->nupdates; }

/* variant.c */
int cg__find_meetings(cg_function *f, cg_error *err);
cg_variant *cg__variant(cg_function *f, uint64_t ones, cg_strb *said, cg_error *err);   /* the one for that pattern, made if there is none; said: how long its passes took */
void cg__variants_free(cg_function *f);

#endif
