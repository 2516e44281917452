// SPDX-License-Identifier: MIT
/* Devices: one per name and process, chosen by CG_DEVICE's grammar.
 *
 * What is asked for and cannot be had is an error that lists what there is; only auto falls back.
 */
#include <stdlib.h>
#include <unistd.h>
#include "core/run/run.h"

enum { MAX_DEVICES = 16 };
static struct opened {
    char spec[128];
    cg_device *device;
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
    if (cg__pool_open(d, err) < 0 || !cg__calls_open(d)) {
        cg__pool_close(d);
        d->backend->close(d);
        cg__fail(err, CG_ENOMEM, "no memory for a device");
        return NULL;
    }
    struct opened *t = &table[ndevices++];
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
    if (!json && !d && err.code != CG_EDEVICE)
        cg__strb(&s, "%s\n", err.text);
    return cg__text_result(&s, "cg_device_info");
}

CG_API void cg_shutdown(void)
{
    pthread_mutex_lock(&table_lock);
    for (int i = 0; i < ndevices; i++) {
        cg_device *d = table[i].device;
        cg__calls_close(d);
        cg__pool_close(d);
        d->backend->close(d);
    }
    ndevices = 0;
    cg__symbol_close();
    pthread_mutex_unlock(&table_lock);
}
