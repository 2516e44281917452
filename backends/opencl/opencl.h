// SPDX-License-Identifier: MIT
/* The OpenCL executor's rooms: device.c (platforms, devices, memory), cache.c (the driver's folder), text.c, body.c, reduce.c and values.c (a step
 * as canonical kernel text), program.c (texts become kernels), gemm.c (the host's BLAS in the queue, CLBlast), run.c (launches, calls in flight and
 * how they ended).
 *
 * One in-order queue a device; only reads and the wait for a call's end block. Kernel text depends on structure only; all numbers of a step
 * travel in one by-value struct argument. */
#ifndef CG_OPENCL_H
#define CG_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include "core/plan/backend.h"

/* With the operands' pointers within the 1024 bytes of arguments that every device allows, also when numbers are 64 bits wide. */
enum { CG_CL_NUMBERS = CG_LOOP_NUMBERS, CG_CL_OPERANDS = CG_LOOP_OPERANDS };
_Static_assert((CG_CL_NUMBERS + 2) * 8 + (CG_CL_OPERANDS + 1) * 8 <= 1024, "more arguments than CL_DEVICE_MAX_PARAMETER_SIZE must allow");

/* ---- kernels */

typedef struct cg_cl_number { bool base; int id; /* a number of the plan; base: where operand id begins in its buffer, in elements */ } cg_cl_number;
typedef struct cg_cl_text {
    char *name, *text;
    cg_cl_number num[CG_CL_NUMBERS];     /* the struct argument, in order */
    int n;
    bool wide;                           /* they are long, not int */
    bool can_fail;                       /* then come step (cg__failure of its value 0) and call, and a last argument: the status words */
} cg_cl_text;
typedef struct cg_cl_kernel { cg_cl_text text; cl_kernel k; } cg_cl_kernel;
typedef struct cg_cl_program { uint64_t hash; cl_program program; char *text; } cg_cl_program;
/* A prepared plan: for each step its kernels, that for 32-bit indices built at once, the wide one when a call first needs it. A group is run by
 * the kernel of its first member; of the others only the numbers are here. */
typedef struct cg_cl_exe { cg_cl_kernel (*at)[2]; int n, *group /* by step: how many it runs */; bool native, can_fail; } cg_cl_exe;

/* ---- the device */

typedef struct cg_cl_call {
    CG_VEC(cl_event) commands;           /* all that may still fail: PoCL does not tell a later command of an earlier one's failure */
    int word;                            /* its status as read back: the least cg__failure, INT_MAX: none */
    CG_VEC(void *) staged;               /* host memory that its writes come from */
} cg_cl_call;
typedef struct cg_cl {
    cg_device super;
    cl_platform_id platform;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
    cl_mem status;                       /* a word for each call in flight */
    cg_cl_call call[CG_CALLS], next;     /* next: what the call to come has sent and staged so far */
    cl_uint units;
    bool has_f64, rounded, gpu;          /* gpu: the style of kernels */
    bool native;                         /* runs native kernels and shares the host's memory: buffers are host memory of ours */
    CG_VEC(cg_cl_program) programs;      /* by hash of a kernel's text */
} cg_cl;

/* What a buffer's `mem` is. */
typedef struct cg_cl_mem { cl_mem mem; void *host; /* the same bytes; NULL unless the device is `native` */ } cg_cl_mem;
static inline cl_mem cg__cl_mem(const cg_buffer *b) { return ((const cg_cl_mem *)b->mem)->mem; }
static inline void *cg__cl_host(const cg_buffer *b) { return ((const cg_cl_mem *)b->mem)->host; }

/* ---- device.c */
const char *cg__cl_error_name(cl_int code);
int cg__cl_fail(cg_error *err, cl_int code, const char *call);
#define CL_TRY(err, call) do { const cl_int cl_try_ = (call); if (cl_try_ != CL_SUCCESS) return cg__cl_fail(err, cl_try_, #call); } while (0)
int cg__cl_sent(cg_cl *d, cl_event command, cg_error *err);              /* a command of the call to come; takes the event */
int cg__cl_status(cl_event command, cg_error *err);                      /* how a command has ended, if it has */
void cg__cl_forget(cg_cl_call *c);                                       /* its commands have ended */

/* ---- cache.c: where PoCL keeps kernels */
enum { CG_CL_CACHE_PATH = 512 };
typedef struct cg_cl_cache { char path[CG_CL_CACHE_PATH]; bool cut; const char *variable; /* that names it; NULL: none does */ } cg_cl_cache;
void cg__cl_cache(cg_cl_cache *c);
int cg__cl_cache_try(const cg_cl_cache *c, cg_error *err);               /* makes it; an error names it if PoCL could not use it */

/* ---- text.c: the text of a LOOP or KERNEL step, for so many like it, into out, unless it is there; other steps have none */
int cg__cl_step_text(const cg_plan *p, const cg_step *s, int group, bool gpu, bool wide, cg_cl_text *out, cg_error *err);
/* A program: prelude, the math that the kernels use, the kernels. */
void cg__cl_source(const char *kernels, cg_strb *out);
bool cg__cl_needs_f64(const char *kernels);

/* ---- program.c */
int cg__cl_prepare(cg_device *, const cg_plan *, void **exe, cg_error *err);
void cg__cl_unprepare(cg_device *, void *exe);
void cg__cl_kernels(const cg_plan *, void *exe, cg_strb *out);
int cg__cl_wide(cg_cl *d, const cg_plan *p, const cg_cl_exe *x, int step, cg_error *err);    /* makes the wide kernel */

/* ---- gemm.c: enqueues the products of a step; native: by the host's BLAS */
int cg__cl_gemm(cg_cl *d, bool native, const cg_gemm *g, const int64_t *n, const cg_place *place, cg_error *err);

/* ---- run.c */
int cg__cl_run(cg_device *, void *exe, const cg_plan *, const cg_num_env *env, int64_t *n, const cg_place *place, int64_t call, bool *committed, cg_error *err);
int cg__cl_finish(cg_device *, int64_t call, int *failed, cg_error *err);

#endif
