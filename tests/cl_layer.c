// SPDX-License-Identifier: MIT
/* An OpenCL layer (OPENCL_LAYERS=libcl_layer.so) between the program and its driver: makes the n-th build, allocation or enqueue fail, or a
 * launch fail after it was accepted, hides that the device has f64, and counts live objects. A failed build has a log with conversions in it, which nobody may format. */
#include <CL/cl_layer.h>
#include <stdbool.h>
#include <string.h>
#include "tests/cl_faults.h"

static cl_icd_dispatch next, mine;

static int fails(const char *call, cl_int code)
{
    cl_faults *f = &cl_fault;
    f->calls++;
    if (!f->fail_at || (f->sticky ? f->calls < f->fail_at : f->calls != f->fail_at))
        return 0;
    f->failed = f->failed ? f->failed : call;
    f->code = f->code ? f->code : code;
    return 1;
}

/* ---- calls that give a status, with an event or without */

#define CALL(name, code, params, args) \
    static cl_int CL_API_CALL my_##name params { return fails(#name, code) ? code : next.name args; }
#define ENQUEUE(name, code, params, args) \
    static cl_int CL_API_CALL my_##name params                      \
    {                                                               \
        const cl_int rc = fails(#name, code) ? code : next.name args; \
        cl_fault.live += rc == CL_SUCCESS && event;                 \
        return rc;                                                  \
    }
CALL(clFlush, -5, (cl_command_queue q), (q))
ENQUEUE(clEnqueueNativeKernel, -5, (cl_command_queue q, void (CL_CALLBACK *fn)(void *), void *a, size_t n, cl_uint nm, const cl_mem *m, const void **at, cl_uint nw, const cl_event *w, cl_event *event),
     (q, fn, a, n, nm, m, at, nw, w, event))
ENQUEUE(clEnqueueCopyBuffer, -5, (cl_command_queue q, cl_mem a, cl_mem b, size_t x, size_t y, size_t n, cl_uint nw, const cl_event *w, cl_event *event), (q, a, b, x, y, n, nw, w, event))
ENQUEUE(clEnqueueFillBuffer, -5, (cl_command_queue q, cl_mem a, const void *p, size_t k, size_t x, size_t n, cl_uint nw, const cl_event *w, cl_event *event), (q, a, p, k, x, n, nw, w, event))
ENQUEUE(clEnqueueWriteBuffer, -5, (cl_command_queue q, cl_mem a, cl_bool b, size_t x, size_t n, const void *p, cl_uint nw, const cl_event *w, cl_event *event), (q, a, b, x, n, p, nw, w, event))
ENQUEUE(clEnqueueReadBuffer, -5, (cl_command_queue q, cl_mem a, cl_bool b, size_t x, size_t n, void *p, cl_uint nw, const cl_event *w, cl_event *event), (q, a, b, x, n, p, nw, w, event))
ENQUEUE(clEnqueueMarkerWithWaitList, -6, (cl_command_queue q, cl_uint nw, const cl_event *w, cl_event *event), (q, nw, w, event))
CALL(clSetKernelArg, -6, (cl_kernel k, cl_uint i, size_t n, const void *p), (k, i, n, p))
CALL(clBuildProgram, -11, (cl_program p, cl_uint n, const cl_device_id *d, const char *o, void (CL_CALLBACK *fn)(cl_program, void *), void *u), (p, n, d, o, fn, u))

static cl_int CL_API_CALL my_clGetProgramBuildInfo(cl_program p, cl_device_id d, cl_program_build_info what, size_t size, void *value, size_t *size_ret)
{
    static const char log[] = "input.cl:1:1: error: %s %n is no type";
    if (what != CL_PROGRAM_BUILD_LOG || cl_fault.code != -11)
        return next.clGetProgramBuildInfo(p, d, what, size, value, size_ret);
    if (size_ret)
        *size_ret = sizeof log;
    if (value)
        memcpy(value, log, size < sizeof log ? size : sizeof log);
    return CL_SUCCESS;
}

/* The launch waits for an event that then fails, and for nothing else: PoCL frees a failed command, though another that it waits for still
 * holds it. */
static cl_int launch_late(cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *off, const size_t *global, const size_t *local, cl_event *event)
{
    cl_context c;
    cl_int rc;
    next.clFinish(q);
    next.clGetCommandQueueInfo(q, CL_QUEUE_CONTEXT, sizeof c, &c, NULL);
    cl_event e = next.clCreateUserEvent(c, &rc);
    rc = next.clEnqueueNDRangeKernel(q, k, dims, off, global, local, 1, &e, event);
    next.clSetUserEventStatus(e, -5);
    next.clReleaseEvent(e);
    return rc;
}

static cl_int CL_API_CALL my_clEnqueueNDRangeKernel(cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *off, const size_t *global, const size_t *local, cl_uint nw, const cl_event *w, cl_event *event)
{
    if (fails("clEnqueueNDRangeKernel", -5))
        return -5;
    cl_fault.live += event != NULL;
    if (++cl_fault.launches == cl_fault.async_at)
        return launch_late(q, k, dims, off, global, local, event);
    return next.clEnqueueNDRangeKernel(q, k, dims, off, global, local, nw, w, event);
}

/* ---- objects */

#define CREATE(type, name, code, params, args)                      \
    static type CL_API_CALL my_##name params                        \
    {                                                               \
        if (fails(#name, code)) {                                   \
            *err = code;                                            \
            return NULL;                                            \
        }                                                           \
        type x = next.name args;                                    \
        cl_fault.live += x != NULL;                                 \
        return x;                                                   \
    }
CREATE(cl_context, clCreateContext, -6, (const cl_context_properties *p, cl_uint n, const cl_device_id *d, void (CL_CALLBACK *fn)(const char *, const void *, size_t, void *), void *u, cl_int *err), (p, n, d, fn, u, err))
CREATE(cl_command_queue, clCreateCommandQueue, -6, (cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int *err), (c, d, p, err))
CREATE(cl_mem, clCreateBuffer, -4, (cl_context c, cl_mem_flags f, size_t n, void *p, cl_int *err), (c, f, n, p, err))
CREATE(cl_kernel, clCreateKernel, -6, (cl_program p, const char *name, cl_int *err), (p, name, err))

/* A driver without f64 does not know the type. */
static cl_program CL_API_CALL my_clCreateProgramWithSource(cl_context c, cl_uint n, const char **s, const size_t *l, cl_int *err)
{
    const char *without[2] = { "#define double no_such_type\n", s[0] };
    const size_t lengths[2] = { 0, l ? l[0] : 0 };
    if (fails("clCreateProgramWithSource", -6)) {
        *err = -6;
        return NULL;
    }
    const bool poor = cl_fault.no_f64 && n == 1;
    const cl_program p = next.clCreateProgramWithSource(c, poor ? 2 : n, poor ? without : s, poor ? lengths : l, err);
    cl_fault.live += p != NULL;
    return p;
}

/* ---- a device without f64: the extension's name is blanked out of the list */

static cl_int CL_API_CALL my_clGetDeviceInfo(cl_device_id d, cl_device_info what, size_t size, void *value, size_t *size_ret)
{
    const cl_int rc = next.clGetDeviceInfo(d, what, size, value, size_ret);
    if (rc != CL_SUCCESS || !value || !cl_fault.no_f64)
        return rc;
    char *at = what == CL_DEVICE_EXTENSIONS ? strstr(value, "cl_khr_fp64") : NULL;
    if (at)
        memset(at, ' ', strlen("cl_khr_fp64"));
    return rc;
}

#define COUNT(name, type, by) static cl_int CL_API_CALL my_##name(type x) { cl_fault.live += by; return next.name(x); }
COUNT(clReleaseContext, cl_context, -1)
COUNT(clReleaseCommandQueue, cl_command_queue, -1)
COUNT(clReleaseMemObject, cl_mem, -1)
COUNT(clRetainMemObject, cl_mem, 1)
COUNT(clReleaseProgram, cl_program, -1)
COUNT(clRetainProgram, cl_program, 1)
COUNT(clReleaseKernel, cl_kernel, -1)
COUNT(clReleaseEvent, cl_event, -1)
COUNT(clRetainEvent, cl_event, 1)

/* ---- the layer */

CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t size, void *value, size_t *size_ret)
{
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    if (what != CL_LAYER_API_VERSION || (value && size < sizeof version))
        return CL_INVALID_VALUE;
    if (value)
        memcpy(value, &version, sizeof version);
    if (size_ret)
        *size_ret = sizeof version;
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint n, const cl_icd_dispatch *target, cl_uint *n_ret, const cl_icd_dispatch **layer)
{
    const size_t bytes = n * sizeof(void *);
    memcpy(&next, target, bytes < sizeof next ? bytes : sizeof next);
#define MINE(name) mine.name = my_##name;
    MINE(clFlush) MINE(clEnqueueNativeKernel) MINE(clEnqueueCopyBuffer) MINE(clEnqueueFillBuffer) MINE(clEnqueueWriteBuffer) MINE(clEnqueueReadBuffer)
    MINE(clEnqueueMarkerWithWaitList) MINE(clSetKernelArg) MINE(clBuildProgram) MINE(clGetProgramBuildInfo) MINE(clGetDeviceInfo) MINE(clEnqueueNDRangeKernel) MINE(clCreateContext)
    MINE(clCreateCommandQueue) MINE(clCreateBuffer) MINE(clCreateProgramWithSource) MINE(clCreateKernel) MINE(clReleaseContext) MINE(clReleaseCommandQueue)
    MINE(clReleaseMemObject) MINE(clRetainMemObject) MINE(clReleaseProgram) MINE(clRetainProgram) MINE(clReleaseKernel) MINE(clReleaseEvent) MINE(clRetainEvent)
    *n_ret = sizeof mine / sizeof(void *);
    *layer = &mine;
    return CL_SUCCESS;
}
