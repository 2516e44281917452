// SPDX-License-Identifier: MIT
/* The reference executor's rooms: vec.c (arrays of one compute type, built for baseline and for AVX2), loop.c (the blocked
 * interpreter of LOOP steps), cpu.c (the backend: memory, GEMM, scatter, the walk over steps).
 *
 * A block value is an array of its dtype's compute type: i32 u32 i64 u64 f32 f64; bool is i32 0 or 1.
 */
#ifndef CG_CPU_H
#define CG_CPU_H

#include "core/plan/backend.h"

enum { CG_BLOCK = 1024 };                /* elements of a block value; a multiple of CG_LANES */
typedef void cg_vec_fn(void *out, const void *a, const void *b, const void *c, int n);
typedef struct cg_vec {
    const char *name;
    cg_vec_fn *elem[CG_EL_COUNT][CG_DTYPE_COUNT];                        /* by compute type of the operands; NULL: not defined */
    void (*convert)(void *out, cg_dtype to, const void *in, cg_dtype from, int n);       /* between compute types, `to` narrowed */
    void (*load)(void *out, const void *in, cg_dtype d, int64_t stride, int n);          /* memory to compute type */
    void (*store)(void *out, cg_dtype d, int64_t stride, const void *in, int n);
    void (*lanes)(void *lanes, const void *in, cg_dtype compute, int op, int n);         /* element i into lane i mod 64 */
    void (*fold)(void *acc, const void *in, cg_dtype compute, int op, int n);            /* acc[i] = acc[i] op in[i] */
} cg_vec;
extern const cg_vec cg__vec_baseline, cg__vec_avx2;
extern const cg_backend cg__cpu_backend;

typedef struct cg_cpu { cg_device super; const cg_vec *vec; int threads; int failed_step; } cg_cpu;
/* Runs one LOOP; step is its index, for the status. */
int cg__cpu_loop(cg_cpu *d, const cg_plan *p, int step, const int64_t *n, const cg_place *place, cg_error *err);
void cg__cpu_reduce_init(void *acc, cg_dtype compute, int op, int n);

#endif
