// SPDX-License-Identifier: MIT
/* The reference executor's rooms: vec.c (arrays of one compute type, built for baseline, AVX2 and AVX-512), code.c (what is known of a LOOP
 * before its sizes: the order of its values and their registers), span.c (operands: from memory to registers and back), loop.c (the blocked
 * interpreter of LOOP steps), cpu.c (the backend: memory, GEMM, scatter, the walk over steps).
 *
 * A register is an array of a dtype's compute type: i32 u32 i64 u64 f32 f64; bool is i32 0 or 1.
 */
#ifndef CG_CPU_H
#define CG_CPU_H

#include <limits.h>
#include "core/plan/backend.h"

/* A block of points fills half a register; rows fill it, so that more of them fit a block whole. */
enum { CG_REG_BYTES = 8192, CG_REG_ROOM = CG_REG_BYTES + 64, CG_VALS_MAX = CG_LOOP_OPS * 4 };       /* 64: registers do not share cache sets */
typedef void cg_vec_fn(void *out, const void *a, const void *b, const void *c, int n);
/* Two operations in one pass: `outer` of c and of what `inner` makes of a and b, which is its operand `side`. What an operation lacks may be any array. */
typedef struct cg_vec_pair { cg_elem inner, outer; int side; cg_vec_fn *f32, *f64; } cg_vec_pair;
typedef struct cg_vec {
    const char *name;
    cg_vec_fn *elem[CG_EL_COUNT][CG_DTYPE_COUNT];                        /* by compute type of the operands; NULL: not defined */
    const cg_vec_pair *pairs;                                            /* up to one without functions */
    void (*convert)(void *out, cg_dtype to, const void *in, cg_dtype from, int n);       /* between compute types, `to` narrowed */
    void (*load)(void *out, const void *in, cg_dtype d, int64_t stride, int n);          /* memory to compute type */
    void (*grid)(void *out, int pitch, const void *in, cg_dtype d, int64_t hop, int rows, int64_t stride, int n);      /* the same of rows, `hop` and `pitch` elements from one to the next */
    bool (*any_zero)(const void *in, cg_dtype compute, int n);           /* of integers */
    void (*count)(int64_t *out, int64_t first, int n);                   /* first, first + 1, ... */
    void (*store)(void *out, cg_dtype d, int64_t stride, const void *in, int n);
    void (*stream)(void *out, const void *in, size_t bytes);             /* a copy past the caches */
    void (*lanes)(void *lanes, const void *in, cg_dtype compute, int op, int n);         /* element i into lane i mod 64 */
    void (*fold)(void *acc, const void *in, cg_dtype compute, int op, int n);            /* acc[i] = acc[i] op in[i] */
    /* A row of n elements reduced in plan.h's order, for each of `rows` rows that lie one behind the other; lanes: room for 64, then 64 identities */
    void (*rows)(void *out, const void *in, cg_dtype compute, int op, int rows, int n, void *lanes);
} cg_vec;
extern const cg_vec cg__vec_baseline, cg__vec_avx2, cg__vec_avx512;
const cg_vec *cg__cpu_vec(void);                                         /* the best that this processor runs */
extern const cg_backend cg__cpu_backend;

typedef struct cg_cpu { cg_device super; const cg_vec *vec; int threads; int failed; /* cg__failure; -1: none */ char *room; size_t room_bytes; } cg_cpu;

/* ---- code.c */
typedef struct cg_cpu_list { short *at; int n; } cg_cpu_list;            /* values in the order in which they are computed */
/* points: once an outer point; inner: along the inner ones, reductions among them; reg: of the inner values, by value */
typedef struct cg_cpu_stage { cg_cpu_list points, inner, reduces; short *reg; } cg_cpu_stage;
typedef struct cg_cpu_code {
    bool columns, has_inner;
    int width;                           /* elements of a block: what a register holds of the widest value along the vector */
    int nregs, nvals;
    cg_cpu_list once;                    /* level 0: computed once a loop */
    cg_cpu_list whole;                   /* all others, once a block: loops without inner axes, and rows that fit a block */
    cg_cpu_stage *stage; int nstages;    /* else stage by stage; level 2 values again in each that needs them */
    short *reg, *spread;                 /* by value: its register; the one that holds it repeated over the columns, or -1 */
    short *direct;                       /* by value: the store whose memory it may be computed in, or -1 */
    bool *steady;                        /* by value: the same along the last outer axis */
    short (*in)[3];                      /* by value: the values that its function takes, or -1: its operands, or those of two operations in one */
    short *hot;                          /* by value: a row's place that it asks for, true at that column only; or -1 */
    bool *hidden;                        /* by value: never computed by itself: places that only hot values ask for, inner operations of pairs */
    bool *divides;                       /* by value: integers, by what may be 0 */
    cg_vec_fn **plain;                   /* by value: the function of an operation after which nothing is left to do; NULL: there is none */
} cg_cpu_code;
const cg_cpu_code *cg__cpu_code(cg_arena *a, const cg_vec *vec, const cg_plan *p, const cg_loop *l, cg_error *err);     /* in the arena */

/* ---- loop.c and span.c */
typedef struct cg_cpu_block {
    const cg_cpu *d;
    const cg_loop *l;
    const cg_cpu_code *c;
    const int64_t *n;
    const cg_place *place;
    char *regs;
    const void **at;                     /* where each value is: its register, or memory that is as a register would be */
    char *const *flat;                   /* by load and store: where the first point of the loop lies, if all lie behind it in their order; else NULL */
    int64_t outer, inner;                /* points in all */
    int64_t outer_at, col_at;            /* first outer and inner point of the block */
    int rows, cols;                      /* outer points; inner points taken at once, 1 if there are none or columns are the vector */
    bool streams;                        /* what it stores at every point is more than the caches keep for the next step */
    int failed;                          /* the least value that met an index out of range or divided by 0; INT_MAX: none */
} cg_cpu_block;
static inline void cg__cpu_fail(cg_cpu_block *b, int v) { b->failed = v < b->failed ? v : b->failed; }
static inline int64_t cg__cpu_num(const cg_cpu_block *b, cg_num id) { return id == CG_NUM_NONE ? 0 : b->n[id]; }
static inline size_t cg__cpu_width(cg_dtype d) { return cg__dtypes[cg__dtypes[d].compute].bytes; }
static inline void *cg__cpu_reg(const cg_cpu_block *b, int reg) { return b->regs + (size_t)reg * CG_REG_ROOM; }
/* A value of a level below that of its reader, as an array over the block's columns. */
static inline const void *cg__cpu_operand(const cg_cpu_block *b, int v, bool inside)
{
    const int reg = inside ? b->c->spread[v] : -1;
    return reg < 0 || b->cols == 1 ? b->at[v] : cg__cpu_reg(b, reg);
}
char *cg__cpu_flat(cg_cpu_block *b, int v);                              /* what flat[v] is, before the first block */
void cg__cpu_load(cg_cpu_block *b, int v, int reg);                      /* sets at[v] */
void cg__cpu_store(cg_cpu_block *b, int v);
void *cg__cpu_target(cg_cpu_block *b, int store);                        /* where the block's values go, if they lie there as in a register; else NULL */
int64_t cg__cpu_stride(cg_cpu_block *b, int v);                          /* columns: bytes from a load in memory to that of the next inner point; 0: load anew */
void cg__cpu_index(cg_cpu_block *b, int v, int reg);
size_t cg__cpu_loop_room(const cg_cpu *d, const cg_cpu_code *c);          /* bytes of d->room that it needs */
/* Runs one LOOP in d->room; step is its index, for the status. */
void cg__cpu_loop(cg_cpu *d, const cg_plan *p, const cg_cpu_code *c, int step, const int64_t *n, const cg_place *place);

#endif
