// SPDX-License-Identifier: MIT
/* Batches of rows of host arrays. There are two slots: while the caller uses one, a thread fills the other.
 *
 * The thread copies between places that were there before it was told to, so that nothing can fail in it; memory, arrays and orders are the
 * caller's thread's. Whose turn it is says `busy`, under the lock: the thread's while it is set, else the caller's.
 */
#include <pthread.h>
#include <unistd.h>
#include "core/nn/nn.h"

typedef struct column { cg_array *whole, *batch[2]; const char *from; char *slot[2]; size_t width; } column;      /* width: bytes of a row */

struct cg_loader {
    column *columns;
    cg_array **given;                    /* the caller's list */
    int n;
    int64_t rows, batch, *order;
    int64_t at;                          /* rows of the order that are in slots or were there */
    int64_t filled[2];                   /* rows in a slot */
    int next;                            /* the slot that the caller gets next, which is being filled */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t turn;
    bool running, busy, quit;
    pid_t owner;                         /* a child that was forked off has no thread */
};

int64_t cg__loader_batch(const cg_loader *l) { return l->batch; }
int64_t cg__loader_rows(const cg_loader *l) { return l->rows; }

static void fill(cg_loader *l)
{
    const int k = l->next;
    const int64_t left = l->rows - l->at, n = l->filled[k] = left < l->batch ? left : l->batch;
    for (int c = 0; c < l->n; c++) {
        const column *p = &l->columns[c];
        for (int64_t i = 0; i < n; i++)
            memcpy(p->slot[k] + (size_t)i * p->width, p->from + (size_t)l->order[l->at + i] * p->width, p->width);
    }
    l->at += n;
}

static void *work(void *user)
{
    cg_loader *l = user;
    pthread_mutex_lock(&l->lock);
    while (!l->quit)
        if (l->busy) {
            pthread_mutex_unlock(&l->lock);
            fill(l);
            pthread_mutex_lock(&l->lock);
            l->busy = false;
            pthread_cond_broadcast(&l->turn);
        } else
            pthread_cond_wait(&l->turn, &l->lock);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void wait_for_slot(cg_loader *l)
{
    pthread_mutex_lock(&l->lock);
    while (l->busy)
        pthread_cond_wait(&l->turn, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

static void fill_next(cg_loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->busy = true;
    pthread_cond_broadcast(&l->turn);
    pthread_mutex_unlock(&l->lock);
}

CG_API void cg_loader_free(cg_loader *l)
{
    if (!l)
        return;
    if (l->running && l->owner == getpid()) {
        wait_for_slot(l);
        pthread_mutex_lock(&l->lock);
        l->quit = true;
        pthread_cond_broadcast(&l->turn);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
    }
    for (int c = 0; l->columns && c < l->n; c++)
        for (int k = 0; k < 2; k++) {
            cg_array_free(l->columns[c].batch[k]);
            cg__free(l->columns[c].slot[k]);
        }
    pthread_cond_destroy(&l->turn);
    pthread_mutex_destroy(&l->lock);
    cg__free(l->columns);
    cg__free(l->given);
    cg__free(l->order);
    cg__free(l);
}

static bool is_column(cg_array *a, int64_t rows) { return a && cg_array_rank(a) >= 1 && cg_array_shape(a)[0] == rows; }

static int open_column(column *p, cg_array *a, int64_t rows, int64_t batch)
{
    const int64_t most = batch < rows ? batch : rows;
    p->whole = a;
    p->from = cg_array_data(a);
    p->width = rows ? (size_t)(cg_array_count(a) / rows) * cg_dtype_bytes(cg_array_dtype(a)) : 0;
    for (int k = 0; k < 2 && p->from; k++)
        if (!(p->slot[k] = cg__zalloc((size_t)most * p->width + 1)))
            return cg__nn_fail(CG_ENOMEM, "cg_loader_new: no memory");
    return p->from ? CG_OK : (int)cg_last_error()->code;
}

static int open_loader(cg_loader *l, cg_array *const *arrays, int n)
{
    l->columns = cg__zalloc((size_t)n * sizeof *l->columns);
    l->given = cg__zalloc((size_t)n * sizeof *l->given);
    l->order = cg__zalloc((size_t)(l->rows + 1) * sizeof *l->order);
    l->n = n;
    if (!l->columns || !l->given || !l->order)
        return cg__nn_fail(CG_ENOMEM, "cg_loader_new: no memory");
    for (int c = 0; c < n; c++) {
        const int rc = open_column(&l->columns[c], arrays[c], l->rows, l->batch);
        if (rc < 0)
            return rc;
    }
    if (pthread_create(&l->thread, NULL, work, l) != 0)
        return cg__nn_fail(CG_ENOMEM, "cg_loader_new: no thread is to be had");
    l->running = true;
    return cg_loader_begin(l, 0, 0, 0);
}

CG_API cg_loader *cg_loader_new(cg_array *const *arrays, int n, int64_t batch)
{
    const int64_t rows = n > 0 && arrays && arrays[0] && cg_array_rank(arrays[0]) ? cg_array_shape(arrays[0])[0] : -1;
    bool good = rows >= 0 && batch > 0;
    for (int c = 0; c < n && good; c++)
        good = is_column(arrays[c], rows);
    cg_loader *l = good ? cg__zalloc(sizeof *l) : NULL;
    if (!l) {
        cg__nn_fail(good ? CG_ENOMEM : CG_ESHAPE, "cg_loader_new: %s", good ? "no memory" : "needs arrays of equally many rows and a batch of at least one");
        return NULL;
    }
    l->rows = rows;
    l->batch = batch;
    l->owner = getpid();
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->turn, NULL);
    if (open_loader(l, arrays, n) < 0) {
        cg_loader_free(l);
        l = NULL;
    }
    return l;
}

static int check_owner(const cg_loader *l, const char *caller)
{
    return l->owner == getpid() ? CG_OK : cg__nn_fail(CG_EINVAL, "%s: the loader is of the process that this one was forked off", caller);
}

CG_API int cg_loader_begin(cg_loader *l, uint64_t seed, int64_t epoch, int64_t done)
{
    const int64_t batches = (l->rows + l->batch - 1) / l->batch;
    if (epoch < 0 || done < 0 || done > batches)
        return cg__nn_fail(CG_EINVAL, "cg_loader_begin: epoch %lld, behind %lld of %lld batches", (long long)epoch, (long long)done, (long long)batches);
    if (check_owner(l, "cg_loader_begin") < 0)
        return CG_EINVAL;
    wait_for_slot(l);
    if (epoch)
        cg_permutation(l->order, l->rows, seed, epoch);
    for (int64_t i = 0; i < l->rows && !epoch; i++)
        l->order[i] = i;
    l->at = done * l->batch < l->rows ? done * l->batch : l->rows;
    fill_next(l);
    return CG_OK;
}

/* Slot k of a column as an array of n rows. */
static cg_array *make_batch(column *p, int k, int64_t n)
{
    const int rank = cg_array_rank(p->whole);
    int64_t shape[CG_MAX_RANK];
    memcpy(shape, cg_array_shape(p->whole), (size_t)rank * sizeof *shape);
    shape[0] = n;
    cg_array_free(p->batch[k]);
    return p->batch[k] = cg_array_borrow(cg_array_dtype(p->whole), shape, rank, p->slot[k]);
}

CG_API int cg_loader_next(cg_loader *l, cg_array *const **batch)
{
    if (check_owner(l, "cg_loader_next") < 0)
        return CG_EINVAL;
    wait_for_slot(l);
    const int k = l->next;
    if (!l->filled[k])
        return 0;
    for (int c = 0; c < l->n; c++)
        if (!(l->given[c] = make_batch(&l->columns[c], k, l->filled[k])))
            return cg_last_error()->code;
    l->next = !k;
    fill_next(l);
    *batch = l->given;
    return l->n;
}
