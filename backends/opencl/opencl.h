// SPDX-License-Identifier: MIT
/* The OpenCL executor's rooms: device.c (platforms, memory, status), text.c (a LOOP as canonical kernel text), run.c
 * (programs, launches), gemm.c (the host's BLAS in the queue, CLBlast).
 *
 * Kernel text depends on structure only; all numbers of a step travel in one by-value struct argument. */
#ifndef CG_OPENCL_H
#define CG_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include "core/plan/backend.h"

enum { CG_CL_NUMBERS = 64, CG_CL_OPERANDS = 24 };        /* with their pointers within the 1024 bytes of arguments that every device allows */
typedef struct cg_cl_program { uint64_t hash; cl_program program; char *text; } cg_cl_program;
typedef struct cg_cl {
    cg_device super;
    cl_platform_id platform;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
    cl_mem status;                       /* one int: the least step that failed, INT_MAX: none */
    cl_uint units;
    bool has_f64, rounded;
    bool native;                         /* runs native kernels and shares the host's memory: buffers are host memory of ours */
    CG_VEC(cg_cl_program) programs;      /* by hash of a kernel's text */
} cg_cl;

/* What a buffer's `mem` is. */
typedef struct cg_cl_mem { cl_mem mem; void *host; /* the same bytes; NULL unless the device is `native` */ } cg_cl_mem;
static inline cl_mem cg__cl_mem(const cg_buffer *b) { return ((const cg_cl_mem *)b->mem)->mem; }
static inline void *cg__cl_host(const cg_buffer *b) { return ((const cg_cl_mem *)b->mem)->host; }

/* The numbers a kernel takes, in order; the last one is the step. */
typedef struct cg_cl_numbers { cg_num id[CG_CL_NUMBERS]; int n; } cg_cl_numbers;
int cg__cl_loop_text(const cg_plan *p, const cg_loop *l, const char *label, cg_cl_numbers *nums, cg_strb *out, cg_error *err);
int cg__cl_scatter_text(cg_dtype d, cg_dtype index, cg_strb *out, cg_error *err);
/* prelude, the math that `body` uses, body */
void cg__cl_source(const char *body, cg_strb *out);
const char *cg__cl_error_name(cl_int code);
int cg__cl_fail(cg_error *err, cl_int code, const char *call);
#define CL_TRY(err, call) do { const cl_int cl_try_ = (call); if (cl_try_ != CL_SUCCESS) return cg__cl_fail(err, cl_try_, #call); } while (0)

/* gemm.c: enqueues the products of a step; native: by the host's BLAS */
int cg__cl_gemm(cg_cl *d, bool native, const cg_gemm *g, const int64_t *n, const cg_place *place, cg_error *err);

/* run.c */
int cg__cl_prepare(cg_device *, const cg_plan *, void **exe, cg_error *err);
void cg__cl_unprepare(cg_device *, void *exe);
int cg__cl_run(cg_device *, void *exe, const cg_plan *, int64_t *n, const cg_place *place, cg_error *err);
void cg__cl_kernels(const cg_plan *, void *exe, cg_strb *out);

#endif
