// SPDX-License-Identifier: MIT
/* Platforms and devices, memory, the status word. One in-order queue a device; only reads and checks wait.
 *
 * A failed kernel is silent on PoCL, so a check looks at the execution status of a marker behind all commands. */
#include <ctype.h>
#include <limits.h>
#include <unistd.h>
#include "backends/opencl/opencl.h"

enum { MAX_PLATFORMS = 16, MAX_DEVICES = 16 };
extern const cg_backend cg__opencl_backend;

static const struct { cl_int code; const char *name; } names[] = {
    { -1, "CL_DEVICE_NOT_FOUND" }, { -2, "CL_DEVICE_NOT_AVAILABLE" }, { -3, "CL_COMPILER_NOT_AVAILABLE" }, { -4, "CL_MEM_OBJECT_ALLOCATION_FAILURE" },
    { -5, "CL_OUT_OF_RESOURCES" }, { -6, "CL_OUT_OF_HOST_MEMORY" }, { -11, "CL_BUILD_PROGRAM_FAILURE" }, { -14, "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST" },
    { -30, "CL_INVALID_VALUE" }, { -34, "CL_INVALID_CONTEXT" }, { -36, "CL_INVALID_COMMAND_QUEUE" }, { -38, "CL_INVALID_MEM_OBJECT" }, { -43, "CL_INVALID_BUILD_OPTIONS" },
    { -46, "CL_INVALID_KERNEL_NAME" }, { -48, "CL_INVALID_KERNEL" }, { -49, "CL_INVALID_ARG_INDEX" }, { -51, "CL_INVALID_ARG_SIZE" }, { -52, "CL_INVALID_KERNEL_ARGS" },
    { -54, "CL_INVALID_WORK_GROUP_SIZE" }, { -59, "CL_INVALID_OPERATION" }, { -61, "CL_INVALID_BUFFER_SIZE" }, { -1001, "CL_PLATFORM_NOT_FOUND_KHR" },
};

const char *cg__cl_error_name(cl_int code)
{
    for (int i = 0; i < CG_LEN(names); i++)
        if (names[i].code == code)
            return names[i].name;
    return "an OpenCL error";
}

int cg__cl_fail(cg_error *err, cl_int code, const char *call)
{
    const cg_status s = code == -4 || code == -6 || code == -61 ? CG_ENOMEM : CG_EDEVICE;
    return cg__fail(err, s, "opencl: %.*s failed: %s (%d)", (int)strcspn(call, "("), call, cg__cl_error_name(code), (int)code);
}

/* ---- finding devices */

typedef struct found { cl_platform_id platform; cl_device_id device; int p, d; cl_device_type type; cl_ulong memory; char name[128], vendor[128], driver[128]; } found;

static int find_all(found *list, int cap, cl_int *why)
{
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint np = 0;
    int n = 0;
    *why = clGetPlatformIDs(MAX_PLATFORMS, platforms, &np);
    for (cl_uint p = 0; *why == CL_SUCCESS && p < np && p < MAX_PLATFORMS; p++) {
        cl_device_id ids[MAX_DEVICES];
        cl_uint nd = 0;
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, MAX_DEVICES, ids, &nd) != CL_SUCCESS)
            continue;                    /* one broken platform does not hide the others */
        for (cl_uint d = 0; d < nd && d < MAX_DEVICES && n < cap; d++) {
            found *f = &list[n++];
            *f = (found){ .platform = platforms[p], .device = ids[d], .p = (int)p, .d = (int)d };
            clGetDeviceInfo(ids[d], CL_DEVICE_TYPE, sizeof f->type, &f->type, NULL);
            clGetDeviceInfo(ids[d], CL_DEVICE_NAME, sizeof f->name - 1, f->name, NULL);
            clGetDeviceInfo(ids[d], CL_DEVICE_GLOBAL_MEM_SIZE, sizeof f->memory, &f->memory, NULL);
            clGetDeviceInfo(ids[d], CL_DRIVER_VERSION, sizeof f->driver - 1, f->driver, NULL);
            clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, sizeof f->vendor - 1, f->vendor, NULL);
        }
    }
    return n;
}

/* Where the driver keeps compiled kernels, as PoCL's documentation says; other drivers do not tell: "". */
static const char *cache_of(const found *f, char to[512])
{
    const char *own = getenv("POCL_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    *to = 0;
    if (!strstr(f->vendor, "Portable Computing Language"))
        return to;
    if (own || xdg)
        snprintf(to, 512, "%s%s", own ? own : xdg, own ? "" : "/pocl/kcache");
    else
        snprintf(to, 512, "%s/.cache/pocl/kcache", home ? home : "");
    return to;
}

static void describe_json(const found *f, cg_strb *out)
{
    char cache[512];
    const struct { const char *key, *text; } texts[] = { { "device", f->name }, { "platform", f->vendor }, { "driver", f->driver }, { "cache", cache_of(f, cache) } };
    cg__strb(out, "{\"name\": \"opencl:%d:%d\", \"gpu\": %s, \"memory\": %llu", f->p, f->d, f->type & CL_DEVICE_TYPE_GPU ? "true" : "false",
             (unsigned long long)f->memory);
    for (int i = 0; i < CG_LEN(texts); i++) {
        cg__strb(out, ", \"%s\": ", texts[i].key);
        cg__strb_json(out, texts[i].text);
    }
    cg__strb(out, "}");
}

static void describe_text(const found *f, cg_strb *out)
{
    char cache[512];
    cg__strb(out, "opencl:%d:%d     %s, %llu MiB (%s, driver %s)\n", f->p, f->d, f->name, (unsigned long long)(f->memory >> 20), f->vendor, f->driver);
    if (*cache_of(f, cache))
        cg__strb(out, "               kernels are cached in %s\n", cache);
}

static void describe_found(const found *f, int n, cl_int why, cg_strb *out)
{
    for (int i = 0; i < n; i++)
        describe_text(&f[i], out);
    if (!n)
        cg__strb(out, "opencl         no device: %s; on Debian: apt install pocl-opencl-icd\n", why == CL_SUCCESS ? "the platforms have none" : cg__cl_error_name(why));
}

static void cl_describe(cg_strb *out, bool json)
{
    found list[MAX_DEVICES];
    cl_int why;
    const int n = find_all(list, MAX_DEVICES, &why);
    if (!json)
        describe_found(list, n, why, out);
    for (int i = 0; json && i < n; i++) {
        cg__strb(out, "%s", i ? ", " : "");
        describe_json(&list[i], out);
    }
    if (json && !n)
        cg__strb(out, "{\"name\": \"opencl\", \"device\": null}");
}

static bool contains(const char *text, const char *part)
{
    const size_t n = strlen(part);
    for (; *text; text++)
        if (strncasecmp(text, part, n) == 0)
            return true;
    return false;
}

static bool matches(const found *f, const char *spec)
{
    int p, d, used = 0;
    if (strcmp(spec, "gpu") == 0)
        return (f->type & CL_DEVICE_TYPE_GPU) != 0;
    if (strcmp(spec, "cpu") == 0)
        return (f->type & CL_DEVICE_TYPE_CPU) != 0;
    if (sscanf(spec, "%d:%d%n", &p, &d, &used) == 2 && !spec[used])
        return f->p == p && f->d == d;
    if (sscanf(spec, "%d%n", &p, &used) == 1 && !spec[used])
        return f->p == p;
    return contains(f->name, spec) || contains(f->vendor, spec);
}

static const found *choose(const found *list, int n, const char *spec)
{
    for (int i = 0; i < n; i++)
        if (*spec ? matches(&list[i], spec) : (list[i].type & CL_DEVICE_TYPE_GPU) != 0)
            return &list[i];
    return !*spec && n ? &list[0] : NULL;
}

/* ---- opening */

static void cl_close(cg_device *dev)
{
    cg_cl *d = (cg_cl *)dev;
    if (d->queue)
        clFinish(d->queue);
    for (int i = 0; i < d->programs.n; i++) {
        clReleaseProgram(d->programs.at[i].program);
        cg__free(d->programs.at[i].text);
    }
    CG_VEC_FREE(&d->programs);
    if (d->status)
        clReleaseMemObject(d->status);
    if (d->queue)
        clReleaseCommandQueue(d->queue);
    if (d->context)
        clReleaseContext(d->context);
    pthread_mutex_destroy(&d->super.lock);
    cg__free(d);
}

static int set_up(cg_cl *d, cg_error *err)
{
    cl_int rc;
    cl_device_fp_config f32 = 0, f64 = 0;
    cl_device_exec_capabilities exec = 0;
    const cl_context_properties props[] = { CL_CONTEXT_PLATFORM, (cl_context_properties)d->platform, 0 };
    const int none = INT_MAX;
    clGetDeviceInfo(d->id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof d->units, &d->units, NULL);
    clGetDeviceInfo(d->id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof f32, &f32, NULL);
    clGetDeviceInfo(d->id, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof f64, &f64, NULL);
    clGetDeviceInfo(d->id, CL_DEVICE_EXECUTION_CAPABILITIES, sizeof exec, &exec, NULL);
    d->has_f64 = f64 != 0;
    d->rounded = (f32 & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
    d->native = (exec & CL_EXEC_NATIVE_KERNEL) != 0;
    d->context = clCreateContext(props, 1, &d->id, NULL, NULL, &rc);
    if (!d->context)
        return cg__cl_fail(err, rc, "clCreateContext");
    d->queue = clCreateCommandQueue(d->context, d->id, 0, &rc);
    if (!d->queue)
        return cg__cl_fail(err, rc, "clCreateCommandQueue");
    d->status = clCreateBuffer(d->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof none, (void *)(uintptr_t)&none, &rc);
    return d->status ? CG_OK : cg__cl_fail(err, rc, "clCreateBuffer");
}

static int cl_open(cg_device **out, const char *spec, cg_error *err)
{
    found list[MAX_DEVICES];
    cl_int why;
    const int n = find_all(list, MAX_DEVICES, &why);
    const found *f = choose(list, n, spec);
    if (!f) {
        cg_strb s = { 0 };
        describe_found(list, n, why, &s);
        char *text = cg__strb_take(&s);
        cg__fail(err, CG_EDEVICE, "CG_DEVICE: no OpenCL device%s%s%s; there are:\ncpu\n%s", *spec ? " '" : "", spec, *spec ? "'" : "", text ? text : "");
        cg__free(text);
        return CG_EDEVICE;
    }
    cg_cl *d = cg__zalloc(sizeof *d);
    if (!d)
        return cg__fail(err, CG_ENOMEM, "no memory for a device");
    d->super = (cg_device){ .backend = &cg__opencl_backend, .pid = (long)getpid() };
    snprintf(d->super.name, sizeof d->super.name, "opencl:%d:%d", f->p, f->d);
    pthread_mutex_init(&d->super.lock, NULL);
    d->platform = f->platform;
    d->id = f->device;
    const int rc = set_up(d, err);
    if (rc < 0)
        cl_close(&d->super);
    else
        *out = &d->super;
    return rc;
}

/* ---- memory */

static int cl_alloc(cg_device *dev, cg_buffer *b, size_t bytes, cg_error *err)
{
    cl_int rc;
    b->mem = clCreateBuffer(((cg_cl *)dev)->context, CL_MEM_READ_WRITE, bytes ? bytes : 1, NULL, &rc);
    return b->mem ? CG_OK : cg__cl_fail(err, rc, "clCreateBuffer");
}

static void cl_release(cg_device *dev, cg_buffer *b)
{
    (void)dev;
    clReleaseMemObject(b->mem);
}

static int cl_write(cg_device *dev, cg_buffer *b, size_t off, const void *src, size_t bytes, cg_error *err)
{
    if (bytes)
        CL_TRY(err, clEnqueueWriteBuffer(((cg_cl *)dev)->queue, b->mem, CL_TRUE, off, bytes, src, 0, NULL, NULL));
    return CG_OK;
}

/* Waits for all commands so far; a command that failed is an error here. */
static int settle(cg_cl *d, cg_error *err)
{
    cl_event e;
    cl_int status = CL_COMPLETE;
    CL_TRY(err, clEnqueueMarkerWithWaitList(d->queue, 0, NULL, &e));
    const cl_int rc = clWaitForEvents(1, &e);
    clGetEventInfo(e, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL);
    clReleaseEvent(e);
    return rc == CL_SUCCESS && status >= 0 ? CG_OK : cg__cl_fail(err, status < 0 ? status : rc, "a command");
}

static int cl_read(cg_device *dev, cg_buffer *b, size_t off, void *dst, size_t bytes, cg_error *err)
{
    cg_cl *d = (cg_cl *)dev;
    if (bytes)
        CL_TRY(err, clEnqueueReadBuffer(d->queue, b->mem, CL_TRUE, off, bytes, dst, 0, NULL, NULL));
    return settle(d, err);
}

static int cl_check(cg_device *dev, int *step, cg_error *err)
{
    cg_cl *d = (cg_cl *)dev;
    const int none = INT_MAX;
    int word = INT_MAX;
    *step = -1;
    CL_TRY(err, clEnqueueReadBuffer(d->queue, d->status, CL_TRUE, 0, sizeof word, &word, 0, NULL, NULL));
    const int rc = settle(d, err);
    if (rc < 0 || word == INT_MAX)
        return rc;
    CL_TRY(err, clEnqueueWriteBuffer(d->queue, d->status, CL_TRUE, 0, sizeof none, &none, 0, NULL, NULL));
    *step = word;
    return cg__fail(err, CG_ERUNTIME, "step %d failed", word);
}

const cg_backend cg__opencl_backend = {
    .name = "opencl", .open = cl_open, .close = cl_close, .describe = cl_describe, .alloc = cl_alloc, .release = cl_release,
    .write = cl_write, .read = cl_read, .prepare = cg__cl_prepare, .unprepare = cg__cl_unprepare, .run = cg__cl_run, .check = cl_check,
    .kernels = cg__cl_kernels,
};
