// SPDX-License-Identifier: MIT
/* Arrays: typed values in host memory or in a device buffer, moved on demand. */
#include <stdlib.h>
#include "core/run/run.h"

static cg_array *array_header(cg_dtype d, const int64_t *shape, int rank, cg_error *err)
{
    cg_array *a = cg__zalloc(sizeof *a);
    size_t bytes = (unsigned)d < CG_DTYPE_COUNT ? cg__dtypes[d].bytes : 0;
    if (!a || !bytes || rank < 0 || rank > CG_MAX_RANK) {
        cg__fail(err, a ? CG_EINVAL : CG_ENOMEM, "cg_array_new: %s", a ? "no such dtype, or a rank above 8" : "no memory");
        cg__free(a);
        return NULL;
    }
    a->dtype = d;
    a->rank = rank;
    a->count = 1;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0 || !cg__mul_size(bytes, (size_t)shape[i], &bytes) || bytes > INT64_MAX / 2) {
            cg__fail(err, CG_ESHAPE, "cg_array_new: size %lld on axis %d is negative or too large", (long long)shape[i], i);
            cg__free(a);
            return NULL;
        }
        a->shape[i] = shape[i];
        a->count *= shape[i];
    }
    a->bytes = bytes;
    return a;
}

static cg_array *host_array(cg_dtype d, const int64_t *shape, int rank, const void *data, void *borrowed)
{
    cg_error err = { 0 };
    cg_array *a = array_header(d, shape, rank, &err);
    if (a && !borrowed && !(a->host = cg__aligned(a->bytes))) {
        cg__fail(&err, CG_ENOMEM, "cg_array_new: no memory for %zu bytes", a->bytes);
        cg__free(a);
        a = NULL;
    }
    if (!a) {
        cg__set_last(&err);
        return NULL;
    }
    a->own_host = !borrowed;
    a->host = borrowed ? borrowed : a->host;
    a->host_valid = true;
    if (!borrowed && a->bytes)
        data ? memcpy(a->host, data, a->bytes) : memset(a->host, 0, a->bytes);
    return a;
}

CG_API cg_array *cg_array_new(cg_dtype d, const int64_t *shape, int rank, const void *data)
{
    return host_array(d, shape, rank, data, NULL);
}

CG_API cg_array *cg_array_borrow(cg_dtype d, const int64_t *shape, int rank, void *data)
{
    return host_array(d, shape, rank, NULL, data);
}

cg_array *cg__array_on_device(cg_dtype d, const int64_t *shape, int rank, cg_buffer *b)
{
    cg_error err = { 0 };
    cg_array *a = array_header(d, shape, rank, &err);
    if (!a) {
        cg__buffer_drop(b);
        cg__set_last(&err);
        return NULL;
    }
    a->buffer = b;
    return a;
}

CG_API void cg_array_free(cg_array *a)
{
    if (!a)
        return;
    cg__buffer_drop(a->buffer);
    if (a->own_host)
        cg__aligned_free(a->host);
    cg__free(a);
}

CG_API cg_dtype cg_array_dtype(const cg_array *a) { return a ? a->dtype : CG_DTYPE_COUNT; }
CG_API int cg_array_rank(const cg_array *a) { return a ? a->rank : -1; }
CG_API const int64_t *cg_array_shape(const cg_array *a) { return a ? a->shape : NULL; }
CG_API int64_t cg_array_count(const cg_array *a) { return a ? a->count : 0; }

int cg__array_good(const cg_array *a, cg_error *err)
{
    return a->written ? cg__calls_check(a->writer, a->written, err) : CG_OK;
}

static int read_back(cg_array *a, cg_error *err)
{
    cg_device *d = a->buffer->device;
    pthread_mutex_lock(&d->lock);
    const int rc = d->backend->read(d, a->buffer, 0, a->host, a->bytes, err);
    cg__calls_settle(d);                 /* which the read has waited for */
    pthread_mutex_unlock(&d->lock);
    return rc;
}

/* If the array is poisoned, that is the better reason than a read that failed. */
int cg__array_to_host(cg_array *a, cg_error *err)
{
    cg_error why = { 0 };
    if (!a->host_valid && !a->host) {
        if (!(a->host = cg__aligned(a->bytes)))
            return cg__fail(err, CG_ENOMEM, "no memory for %zu bytes", a->bytes);
        a->own_host = true;
    }
    const int read = a->host_valid ? CG_OK : read_back(a, &why), good = cg__array_good(a, err);
    a->host_valid = read == CG_OK;
    return good < 0 ? good : read < 0 ? cg__fail(err, why.code, "%s", why.text) : CG_OK;
}

int cg__array_to_device(cg_array *a, cg_device *d, const cg_use *use, cg_error *err)
{
    int rc = cg__array_good(a, err);
    if (rc < 0 || (a->buffer && a->buffer->device == d))
        return rc;
    rc = cg__array_to_host(a, err);
    if (rc < 0)
        return rc;
    cg_buffer *b = NULL;
    pthread_mutex_lock(&d->lock);
    rc = cg__buffer_new(d, a->bytes, use, &b, err);
    if (rc == CG_OK && a->bytes)
        rc = d->backend->write(d, b, 0, a->host, a->bytes, err);
    pthread_mutex_unlock(&d->lock);
    if (rc < 0) {
        cg__buffer_drop(b);
        return rc;
    }
    cg__buffer_drop(a->buffer);
    a->buffer = b;
    return CG_OK;
}

void cg__array_take_buffer(cg_array *a, cg_buffer *b)
{
    cg_buffer *old = a->buffer;
    a->buffer = b;
    a->host_valid = false;
    cg__buffer_drop(old);
}

/* A host integer that a call has advanced is there at once, but good only if the call is. */
static void settle_writer(const cg_array *a)
{
    if (!a->written || !a->host_valid)
        return;
    pthread_mutex_lock(&a->writer->lock);
    cg__calls_settle(a->writer);
    pthread_mutex_unlock(&a->writer->lock);
}

CG_API const void *cg_array_data(cg_array *a)
{
    cg_error err = { 0 };
    if (!a)
        return NULL;
    settle_writer(a);
    if (cg__array_to_host(a, &err) < 0) {
        cg__set_last(&err);
        return NULL;
    }
    return a->host;
}

CG_API int cg_array_set(cg_array *a, const void *data, size_t bytes)
{
    cg_error err = { 0 };
    if (!a || !data || bytes != a->bytes) {
        cg__fail(&err, CG_EINVAL, "cg_array_set: %zu bytes for an array of %zu", bytes, a ? a->bytes : 0);
        return cg__set_last(&err);
    }
    if (!a->host) {
        if (!(a->host = cg__aligned(a->bytes))) {
            cg__fail(&err, CG_ENOMEM, "cg_array_set: no memory");
            return cg__set_last(&err);
        }
        a->own_host = true;
    }
    memmove(a->host, data, bytes);
    a->host_valid = true;
    a->written = 0;
    cg_buffer *old = a->buffer;
    a->buffer = NULL;
    cg__buffer_drop(old);
    return CG_OK;
}
