// SPDX-License-Identifier: MIT
/* Platforms and devices, how one is chosen and opened, memory. Writes go through host memory that the next call keeps until it has ended,
 * so they need not wait for the commands before. */
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

typedef struct found {
    cl_platform_id platform;
    cl_device_id device;
    int p, d;
    cl_device_type type;
    cl_ulong memory;
    bool f64, rounded;                   /* rounded: f32 division and square root to the nearest */
    char name[128], vendor[128], driver[128];
} found;

static bool rounds_correctly(cl_device_id d)
{
    cl_device_fp_config f32 = 0;
    clGetDeviceInfo(d, CL_DEVICE_SINGLE_FP_CONFIG, sizeof f32, &f32, NULL);
    return (f32 & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
}

/* Both are asked, since drivers differ in which they answer truly; a list that is longer says nothing. */
static bool has_f64(cl_device_id d)
{
    cl_device_fp_config f64 = 0;
    char extensions[8192] = "cl_khr_fp64";
    clGetDeviceInfo(d, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof f64, &f64, NULL);
    clGetDeviceInfo(d, CL_DEVICE_EXTENSIONS, sizeof extensions - 1, extensions, NULL);
    return f64 != 0 && strstr(extensions, "cl_khr_fp64") != NULL;
}

static bool is_pocl(const char *platform) { return strstr(platform, "Portable Computing Language") != NULL; }

/* Whether the platform may be asked for its devices. */
static bool may_ask(cl_platform_id platform, cg_error *why)
{
    char name[128] = "";
    cg_cl_cache cache;
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name - 1, name, NULL);
    cg__cl_cache(&cache);
    return !is_pocl(name) || cg__cl_cache_try(&cache, why) == CG_OK;
}

/* One broken platform does not hide the others; why: what is wrong with the first such. */
static int find_all(found *list, int cap, cg_error *why)
{
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint np = 0;
    int n = 0;
    const cl_int rc = clGetPlatformIDs(MAX_PLATFORMS, platforms, &np);
    if (rc != CL_SUCCESS)
        cg__fail(why, CG_EDEVICE, "no device: %s; on Debian: apt install pocl-opencl-icd", cg__cl_error_name(rc));
    for (cl_uint p = 0; rc == CL_SUCCESS && p < np && p < MAX_PLATFORMS; p++) {
        cl_device_id ids[MAX_DEVICES];
        cl_uint nd = 0;
        if (!may_ask(platforms[p], why) || clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, MAX_DEVICES, ids, &nd) != CL_SUCCESS)
            continue;
        for (cl_uint d = 0; d < nd && d < MAX_DEVICES && n < cap; d++) {
            found *f = &list[n++];
            *f = (found){ .platform = platforms[p], .device = ids[d], .p = (int)p, .d = (int)d, .f64 = has_f64(ids[d]), .rounded = rounds_correctly(ids[d]) };
            clGetDeviceInfo(ids[d], CL_DEVICE_TYPE, sizeof f->type, &f->type, NULL);
            clGetDeviceInfo(ids[d], CL_DEVICE_NAME, sizeof f->name - 1, f->name, NULL);
            clGetDeviceInfo(ids[d], CL_DEVICE_GLOBAL_MEM_SIZE, sizeof f->memory, &f->memory, NULL);
            clGetDeviceInfo(ids[d], CL_DRIVER_VERSION, sizeof f->driver - 1, f->driver, NULL);
            clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, sizeof f->vendor - 1, f->vendor, NULL);
        }
    }
    if (!n)
        cg__fail(why, CG_EDEVICE, "no device: the platforms have none; on Debian: apt install pocl-opencl-icd");
    return n;
}

/* Where the driver keeps compiled kernels; other drivers than PoCL do not tell: "". */
static const char *cache_of(const found *f, cg_cl_cache *c)
{
    cg__cl_cache(c);
    return is_pocl(f->vendor) ? c->path : "";
}

static void describe_json(const found *f, cg_strb *out)
{
    cg_cl_cache cache;
    const struct { const char *key, *text; } texts[] = { { "device", f->name }, { "platform", f->vendor }, { "driver", f->driver }, { "cache", cache_of(f, &cache) } };
    cg__strb(out, "{\"name\": \"opencl:%d:%d\", \"gpu\": %s, \"memory\": %llu, \"f64\": %s, \"same_bits_f32\": %s", f->p, f->d,
             f->type & CL_DEVICE_TYPE_GPU ? "true" : "false", (unsigned long long)f->memory, f->f64 ? "true" : "false", f->rounded ? "true" : "false");
    for (int i = 0; i < CG_LEN(texts); i++) {
        cg__strb(out, ", \"%s\": ", texts[i].key);
        cg__strb_json(out, texts[i].text);
    }
    cg__strb(out, "}");
}

static void describe_text(const found *f, cg_strb *out)
{
    cg_cl_cache cache;
    cg__strb(out, "opencl:%d:%d     %s, %llu MiB (%s, driver %s)\n", f->p, f->d, f->name, (unsigned long long)(f->memory >> 20), f->vendor, f->driver);
    if (!f->f64)
        cg__strb(out, "               has no f64\n");
    if (!f->rounded)
        cg__strb(out, "               f32 / and sqrt do not have the same bits as on the cpu\n");
    if (*cache_of(f, &cache))
        cg__strb(out, "               kernels are cached in %s\n", cache.path);
}

static void describe_found(const found *f, int n, const cg_error *why, cg_strb *out)
{
    for (int i = 0; i < n; i++)
        describe_text(&f[i], out);
    if (why->code)
        cg__strb(out, "opencl         %s\n", why->text);
}

static void cl_describe(cg_strb *out, bool json)
{
    found list[MAX_DEVICES];
    cg_error why = { 0 };
    const int n = find_all(list, MAX_DEVICES, &why);
    if (!json)
        describe_found(list, n, &why, out);
    for (int i = 0; json && i < n; i++) {
        cg__strb(out, "%s", i ? ", " : "");
        describe_json(&list[i], out);
    }
    if (json && why.code) {
        cg__strb(out, "%s{\"name\": \"opencl\", \"device\": null, \"error\": ", n ? ", " : "");
        cg__strb_json(out, why.text);
        cg__strb(out, "}");
    }
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
    for (int i = 0; i < CG_CALLS; i++)
        cg__cl_forget(&d->call[i]);
    cg__cl_forget(&d->next);
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

static void CL_CALLBACK add_one(void *args)
{
    ++**(int **)args;
}

/* Whether a native kernel and the queue's commands see one memory: 41 filled in by a command, 1 added by the host, read by a command. */
static bool shares_memory(cg_cl *d)
{
    const int before = 41;
    int after = 0, *host = cg__aligned(sizeof *host);
    cl_int rc = CL_OUT_OF_HOST_MEMORY;
    cl_mem mem = host ? clCreateBuffer(d->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, sizeof *host, host, &rc) : NULL;
    if (mem && (rc = clEnqueueFillBuffer(d->queue, mem, &before, sizeof before, 0, sizeof before, 0, NULL, NULL)) == CL_SUCCESS &&
        (rc = clEnqueueNativeKernel(d->queue, add_one, &host, sizeof host, 0, NULL, NULL, 0, NULL, NULL)) == CL_SUCCESS)
        rc = clEnqueueReadBuffer(d->queue, mem, CL_TRUE, 0, sizeof after, &after, 0, NULL, NULL);
    clFinish(d->queue);
    if (mem)
        clReleaseMemObject(mem);
    cg__aligned_free(host);
    return rc == CL_SUCCESS && after == 42;
}

static int set_up(cg_cl *d, cg_error *err)
{
    cl_int rc;
    cl_device_exec_capabilities exec = 0;
    const cl_context_properties props[] = { CL_CONTEXT_PLATFORM, (cl_context_properties)d->platform, 0 };
    const int none[CG_CALLS] = { INT_MAX, INT_MAX, INT_MAX, INT_MAX };
    clGetDeviceInfo(d->id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof d->units, &d->units, NULL);
    clGetDeviceInfo(d->id, CL_DEVICE_EXECUTION_CAPABILITIES, sizeof exec, &exec, NULL);
    d->has_f64 = has_f64(d->id);
    d->rounded = rounds_correctly(d->id);
    d->context = clCreateContext(props, 1, &d->id, NULL, NULL, &rc);
    if (!d->context)
        return cg__cl_fail(err, rc, "clCreateContext");
    d->queue = clCreateCommandQueue(d->context, d->id, 0, &rc);
    if (!d->queue)
        return cg__cl_fail(err, rc, "clCreateCommandQueue");
    d->native = (exec & CL_EXEC_NATIVE_KERNEL) != 0 && shares_memory(d);
    d->status = clCreateBuffer(d->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof none, (void *)(uintptr_t)none, &rc);
    return d->status ? CG_OK : cg__cl_fail(err, rc, "clCreateBuffer");
}

/* CG_CL_STYLE, else by the kind of device; one with the CPU bit is a CPU. */
static int choose_style(cg_cl *d, cl_device_type type, cg_error *err)
{
    const char *want = secure_getenv("CG_CL_STYLE");
    d->gpu = want ? strcmp(want, "gpu") == 0 : !(type & CL_DEVICE_TYPE_CPU);
    if (want && !d->gpu && strcmp(want, "cpu") != 0)
        return cg__fail(err, CG_EINVAL, "CG_CL_STYLE: '%s' is unknown; there are: cpu, gpu", want);
    return CG_OK;
}

static int cl_open(cg_device **out, const char *spec, cg_error *err)
{
    found list[MAX_DEVICES];
    cg_error why = { 0 };
    const int n = find_all(list, MAX_DEVICES, &why);
    const found *f = choose(list, n, spec);
    if (!f) {
        cg_strb s = { 0 };
        describe_found(list, n, &why, &s);
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
    cg__device_lock_init(&d->super);
    d->platform = f->platform;
    d->id = f->device;
    int rc = choose_style(d, f->type, err);
    if (rc == CG_OK)
        rc = set_up(d, err);
    if (rc < 0)
        cl_close(&d->super);
    else
        *out = &d->super;
    return rc;
}

/* ---- memory */

static int cl_alloc(cg_device *dev, cg_buffer *b, size_t bytes, cg_error *err)
{
    cg_cl *d = (cg_cl *)dev;
    cg_cl_mem *m = cg__zalloc(sizeof *m);
    cl_int rc = CL_OUT_OF_HOST_MEMORY;
    bytes = bytes ? bytes : 1;
    if (m && d->native)
        m->host = cg__aligned(bytes);
    if (m && (m->host || !d->native))
        m->mem = clCreateBuffer(d->context, CL_MEM_READ_WRITE | (m->host ? CL_MEM_USE_HOST_PTR : 0), bytes, m->host, &rc);
    b->mem = m;
    if (m && m->mem)
        return CG_OK;
    if (m)
        cg__aligned_free(m->host);
    cg__free(m);
    return cg__cl_fail(err, rc, "clCreateBuffer");
}

/* Commands that use the host memory may still be queued. */
static void cl_release(cg_device *dev, cg_buffer *b)
{
    cg_cl_mem *m = b->mem;
    if (m->host)
        clFinish(((cg_cl *)dev)->queue);
    clReleaseMemObject(m->mem);
    cg__aligned_free(m->host);
    cg__free(m);
}

enum { STAGED_MOST = 4 << 20 };          /* bytes; more are cheaper to wait for than to copy */

static int cl_write(cg_device *dev, cg_buffer *b, size_t off, const void *src, size_t bytes, cg_error *err)
{
    cg_cl *d = (cg_cl *)dev;
    const bool staged = bytes <= STAGED_MOST;
    void *copy = bytes && staged ? cg__aligned(bytes) : NULL;
    if (!bytes)
        return CG_OK;
    if (staged && (!copy || !CG_PUSH(&d->next.staged, copy))) {
        cg__aligned_free(copy);
        return cg__fail(err, CG_ENOMEM, "opencl: no memory to stage %zu bytes", bytes);
    }
    if (copy)
        memcpy(copy, src, bytes);
    cl_event e;
    CL_TRY(err, clEnqueueWriteBuffer(d->queue, cg__cl_mem(b), staged ? CL_FALSE : CL_TRUE, off, bytes, staged ? copy : src, 0, NULL, &e));
    return cg__cl_sent(d, e, err);
}

static int cl_read(cg_device *dev, cg_buffer *b, size_t off, void *dst, size_t bytes, cg_error *err)
{
    cl_event e;
    if (!bytes)
        return CG_OK;
    CL_TRY(err, clEnqueueReadBuffer(((cg_cl *)dev)->queue, cg__cl_mem(b), CL_TRUE, off, bytes, dst, 0, NULL, &e));
    const int rc = cg__cl_status(e, err);
    clReleaseEvent(e);
    return rc;
}

static int cl_copy(cg_device *dev, cg_buffer *to, const cg_buffer *from, size_t bytes, cg_error *err)
{
    cg_cl *d = (cg_cl *)dev;
    cl_event e;
    if (!bytes)
        return CG_OK;
    CL_TRY(err, clEnqueueCopyBuffer(d->queue, cg__cl_mem(from), cg__cl_mem(to), 0, 0, bytes, 0, NULL, &e));
    return cg__cl_sent(d, e, err);
}

const cg_backend cg__opencl_backend = {
    .name = "opencl", .open = cl_open, .close = cl_close, .describe = cl_describe, .alloc = cl_alloc, .release = cl_release,
    .write = cl_write, .read = cl_read, .copy = cl_copy, .prepare = cg__cl_prepare, .unprepare = cg__cl_unprepare, .run = cg__cl_run, .finish = cg__cl_finish,
    .kernels = cg__cl_kernels,
};
