// SPDX-License-Identifier: MIT
/* Devices: one per name and process, chosen by CG_DEVICE's grammar, each with a pool of free buffers.
 *
 * What is asked for and cannot be had is an error that lists what there is; only auto falls back.
 */
#include <stdlib.h>
#include <unistd.h>
#include "core/run/run.h"

enum { MAX_DEVICES = 16, POOL_KEEP = 256 };
static struct opened {
    char spec[128];
    cg_device *device;
    CG_VEC(cg_buffer *) pool;
} table[MAX_DEVICES];
static int ndevices;
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

static const cg_backend *backend_named(const char *name, size_t n)
{
    for (int i = 0; cg__backends[i]; i++)
        if (strlen(cg__backends[i]->name) == n && strncmp(cg__backends[i]->name, name, n) == 0)
            return cg__backends[i];
    return NULL;
}

static int open_auto(cg_device **out, cg_error *err)
{
    const cg_backend *cl = backend_named("opencl", 6);
    cg_error ignored = { 0 };
    if (cl && cl->open(out, "gpu", &ignored) == CG_OK)
        return CG_OK;
    return backend_named("cpu", 3)->open(out, "", err);
}

static void list_devices(cg_strb *s, bool json)
{
    for (int i = 0; cg__backends[i]; i++) {
        if (json && i)
            cg__strb(s, ", ");
        cg__backends[i]->describe(s, json);
    }
}

static int unknown_device(const char *spec, cg_error *err)
{
    cg_strb s = { 0 };
    list_devices(&s, false);
    char *text = cg__strb_take(&s);
    cg__fail(err, CG_EDEVICE, "CG_DEVICE: no device '%s'; there are:\n%s", spec, text ? text : "");
    cg__free(text);
    return CG_EDEVICE;
}

static int open_spec(cg_device **out, const char *spec, cg_error *err)
{
    const char *colon = strchr(spec, ':');
    const size_t n = colon ? (size_t)(colon - spec) : strlen(spec);
    if (strcmp(spec, "auto") == 0)
        return open_auto(out, err);
    const cg_backend *b = backend_named(spec, n);
    return b ? b->open(out, colon ? colon + 1 : "", err) : unknown_device(spec, err);
}

static struct opened *entry_of(const cg_device *d)
{
    for (int i = 0; i < ndevices; i++)
        if (table[i].device == d)
            return &table[i];
    return NULL;
}

static cg_device *open_locked(const char *spec, cg_error *err)
{
    cg_device *d = NULL;
    for (int i = 0; i < ndevices; i++)
        if (strcmp(table[i].spec, spec) == 0)
            return table[i].device;
    if (ndevices == MAX_DEVICES || strlen(spec) >= sizeof table[0].spec) {
        cg__fail(err, CG_EDEVICE, "CG_DEVICE: '%.60s' is too long, or too many devices are open", spec);
        return NULL;
    }
    if (open_spec(&d, spec, err) < 0)
        return NULL;
    for (int i = 0; i < ndevices; i++)
        if (strcmp(table[i].device->name, d->name) == 0) {
            d->backend->close(d);
            return table[i].device;
        }
    if (!cg__calls_open(d)) {
        d->backend->close(d);
        cg__fail(err, CG_ENOMEM, "no memory for a device");
        return NULL;
    }
    struct opened *t = &table[ndevices++];
    memset(t, 0, sizeof *t);
    snprintf(t->spec, sizeof t->spec, "%s", spec);
    t->device = d;
    return d;
}

static cg_device *open_device(const char *spec, cg_error *err)
{
    const char *env = secure_getenv("CG_DEVICE");
    if (!spec)
        spec = env && *env ? env : "auto";
    pthread_mutex_lock(&table_lock);
    cg_device *d = open_locked(spec, err);
    pthread_mutex_unlock(&table_lock);
    if (d && d->pid != (long)getpid()) {
        cg__fail(err, CG_EDEVICE, "the device %s was opened before fork and cannot be used in the child", d->name);
        return NULL;
    }
    return d;
}

cg_device *cg__device_default(cg_error *err)
{
    return open_device(NULL, err);
}

CG_API cg_device *cg_device_open(const char *spec)
{
    cg_error err = { 0 };
    cg_device *d = open_device(spec, &err);
    if (!d)
        cg__set_last(&err);
    return d;
}

CG_API const char *cg_device_name(const cg_device *d)
{
    return d ? d->name : "";
}

CG_API char *cg_device_info(int json)
{
    cg_strb s = { 0 };
    cg_error err = { 0 };
    const char *env = secure_getenv("CG_DEVICE");
    if (json)
        cg__strb(&s, "{\"version\": \"%s\", \"devices\": [", CG_VERSION);
    list_devices(&s, json != 0);
    const cg_device *d = cg__device_default(&err);
    s.failed |= err.code == CG_ENOMEM;
    if (json) {
        cg__strb(&s, "], \"selected\": ");
        d ? cg__strb_json(&s, d->name) : cg__strb(&s, "null, \"error\": ");
        if (!d)
            cg__strb_json(&s, err.text);
        cg__strb(&s, "}\n");
    } else
        cg__strb(&s, "CG_DEVICE may be a name at the left, opencl (the first of its devices), opencl:gpu, opencl:cpu, opencl:PART-OF-A-NAME,\n"
                     "or auto: the first OpenCL GPU, else cpu\nCG_DEVICE%s%s selects %s\n", env ? "=" : " is not set;", env ? env : " auto",
                 d ? d->name : "no device; write one of the names above");
    return cg__text_result(&s, "cg_device_info");
}

/* ---- buffers */

static size_t rounded(size_t bytes)
{
    return bytes < 128 ? 128 : (bytes + 127) & ~(size_t)127;
}

int cg__buffer_new(cg_device *d, size_t bytes, cg_buffer **out, cg_error *err)
{
    struct opened *t = entry_of(d);
    bytes = rounded(bytes);
    for (int i = t->pool.n - 1; i >= 0; i--)
        if (t->pool.at[i]->bytes == bytes) {
            *out = t->pool.at[i];
            t->pool.at[i] = t->pool.at[--t->pool.n];
            (*out)->refs = 1;
            return CG_OK;
        }
    cg_buffer *b = cg__zalloc(sizeof *b);
    if (!b)
        return cg__fail(err, CG_ENOMEM, "no memory for a buffer");
    *b = (cg_buffer){ .refs = 1, .bytes = bytes, .device = d };
    const int rc = d->backend->alloc(d, b, bytes, err);
    if (rc < 0)
        cg__free(b);
    else
        *out = b;
    return rc;
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
    pthread_mutex_lock(&b->device->lock);
    struct opened *t = entry_of(b->device);
    if (!t || t->pool.n >= POOL_KEEP || !CG_PUSH(&t->pool, b)) {
        b->device->backend->release(b->device, b);
        pthread_mutex_unlock(&b->device->lock);
        cg__free(b);
        return;
    }
    pthread_mutex_unlock(&b->device->lock);
}

CG_API void cg_shutdown(void)
{
    pthread_mutex_lock(&table_lock);
    for (int i = 0; i < ndevices; i++) {
        struct opened *t = &table[i];
        cg__calls_close(t->device);
        for (int k = 0; k < t->pool.n; k++) {
            t->device->backend->release(t->device, t->pool.at[k]);
            cg__free(t->pool.at[k]);
        }
        CG_VEC_FREE(&t->pool);
        t->device->backend->close(t->device);
    }
    ndevices = 0;
    cg__symbol_close();
    pthread_mutex_unlock(&table_lock);
}
