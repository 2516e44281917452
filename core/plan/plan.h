// SPDX-License-Identifier: MIT
/* The plan: what a function does, in structure only. No node and no op appears here, no size either: every number
 * is an id into one table of int64 that the plan's number program fills at each call.
 *
 * Invariants: steps run in order; a step reads slots written before it; SSA values of a LOOP refer to earlier ones.
 * Example, y = tanh(x) on n elements, as cg__plan_print shows it:
 *     (loop add_tanh (extent n0) (v0 load in0) (v1 tanh v0) (store out0 v1))
 */
#ifndef CG_PLAN_H
#define CG_PLAN_H

#include "core/base/base.h"

enum { CG_AXES_MAX = 8, CG_WINDOWS_MAX = 4, CG_LOOP_OPS = 64, CG_LOOP_OPERANDS = 28, CG_LOOP_NUMBERS = 96, CG_LANES = 64, CG_COLUMN_BLOCK = 256, CG_NUM_NONE = -1 };
typedef int cg_num;                              /* id of a number; ids of constants are shared */

/* ---- numbers */
typedef enum {
    CG_N_CONST,      /* imm */
    CG_N_DIM,        /* size of axis b of call input a */
    CG_N_INPUT,      /* value of rank-0 integer call input a */
    CG_N_SHARED,     /* value of rank-0 integer shared variable, BOUND slot a */
    CG_N_SHARED_DIM, /* size of axis b of the shared variable in BOUND slot a */
    CG_N_STEP,       /* the current step of the enclosing REPEAT whose index is a; below number b */
    CG_N_FOUND,      /* a size that depends on data: what the REPEAT whose index is a found, known when it has ended; at most number b */
    CG_N_READ,       /* what READ number a has read; 0 before */
    CG_N_ADD, CG_N_SUB, CG_N_MUL, CG_N_FDIV, CG_N_MOD, CG_N_MAX, CG_N_MIN, CG_N_NEG,
    CG_N_LT, CG_N_EQ,
    CG_N_STRETCH,    /* a == 1 ? b : a */
    CG_N_SELECT,     /* a ? b : c */
    CG_N_CHECK_EQ,   /* a must equal b: else the call fails for the plan's check imm; value a */
    CG_N_CHECK_DIVISOR   /* a must not be 0: likewise */
} cg_num_op;
typedef struct cg_num_ins {
    cg_num_op op; int a, b, c; int64_t imm;
    uint64_t loops;          /* bit i mod 64: depends on the STEP of REPEAT i */
    int step, cut;           /* 1 + the greatest index of a STEP, of a FOUND that it depends on; 0: none. Indices grow in the order of steps, so it is known
                              * at each step of REPEAT step - 1 if step > cut, else at the end of REPEAT cut - 1 */
} cg_num_ins;

/* ---- slots: where arrays live */
typedef enum { CG_SLOT_ARENA, CG_SLOT_INPUT, CG_SLOT_SHARED, CG_SLOT_OUTPUT, CG_SLOT_CONST, CG_SLOT_KINDS } cg_slot_kind;
typedef struct cg_slot {
    cg_slot_kind kind;
    cg_dtype dtype;
    cg_num count;            /* elements */
    int index;               /* INPUT, OUTPUT: position in the call; SHARED: position in the function's variables; CONST: in consts */
    int first, last;         /* ARENA: first writing and last reading top-level step */
    cg_num row, next_row;    /* ARENA: of the rows of a loop's state, where a step reads the last one and writes its own; the same: it is none */
    bool in_place;           /* SHARED: a step writes it, so the call has the buffer to itself or takes a copy */
    const char *label;
    const struct cg_node *node;      /* what it holds, for call-time messages, or NULL; opaque here */
} cg_slot;

/* ---- operands: address = off + sum stride[l] * i[l] (in elements), + gather value * gather_stride */
typedef struct cg_window { cg_num lo, hi, c0, c[CG_AXES_MAX]; } cg_window;   /* reads only inside lo <= c0 + sum c[l]*i[l] < hi; c id -1: 0 */
typedef struct cg_operand {
    int slot;
    cg_num off;
    cg_num stride[CG_AXES_MAX];          /* ids, CG_NUM_NONE: 0 (broadcast) */
    int gather;                          /* value of the same LOOP (integer), or -1 */
    cg_num gather_stride, gather_limit;  /* valid indices: -limit <= v < limit (negative from the end); else status */
    int nwindows;
    cg_window *window;                   /* of this operand alone */
    double fill;                         /* outside a window */
    bool part;                           /* stored to, of a place where no other step stores: the parts of one array may be stored in any order */
} cg_operand;

/* ---- the LOOP step.
 * Axes 0..nouter-1 are outer (kept), nouter..naxes-1 inner (reduced, row-major). One SSA list; each value has a level:
 * 0 scalar (once a loop; no axes), 1 once an outer point, 2 at every inner point. A REDUCE takes a level 2 value and
 * gives a level 1 one. stage of a level 2 value: how many REDUCEs stand between it and the start on its longest path;
 * stage s may run once all reductions of stage s-1 are done. A level 2 value needed by several stages is computed again
 * in each. A loop with nouter == naxes has no inner axes: its level 1 values are the elementwise body and it has one stage.
 * All axes extents are >= 0; an empty inner space gives each REDUCE its identity.
 */
typedef enum { CG_V_LOAD, CG_V_INDEX, CG_V_NUMBER, CG_V_LITERAL, CG_V_ELEM, CG_V_CAST, CG_V_REDUCE, CG_V_STORE } cg_val_kind;
typedef enum { CG_RED_SUM, CG_RED_PROD, CG_RED_MAX, CG_RED_MIN, CG_RED_ARGMAX, CG_RED_ARGMIN } cg_red;
typedef struct cg_val {
    cg_val_kind kind;
    cg_dtype dtype;          /* of the value; bool is 0 or 1. LOAD, STORE: that of the slot. STORE has no value */
    uint8_t level, stage;
    int op;                  /* ELEM: cg_elem; REDUCE: cg_red; INDEX: axis; NUMBER: cg_num (an int64) */
    int a[3];                /* operand values; LOAD, STORE: a[0] value stored; -1 none */
    int operand;             /* LOAD, STORE: index into operands */
    double lit; int64_t ilit;/* LITERAL: floats, integers */
    const struct cg_node *node;      /* of what may fail (a gather, a division), for call-time messages; NULL: the step's; opaque here */
} cg_val;
typedef struct cg_loop {
    int naxes, nouter;
    cg_num extent[CG_AXES_MAX];
    bool columns;            /* the vector axis is the last outer one (the reduced axes are strided there) */
    cg_operand *operands; int noperands;
    cg_val *vals; int nvals;
} cg_loop;
/* Canonical order of a reduction, the same on every backend and for every thread count:
 * rows (columns == false): 64 lanes start at the identity; inner element i (row-major) is combined into lane i mod 64 in
 *   order of i; then lanes l and l+32, l and l+16 ... l and l+1 are combined (lane l on the left).
 * columns: the inner elements are taken in order; blocks of CG_COLUMN_BLOCK (256) are folded from the identity, and each
 *   finished block is combined into a running total that starts at the identity.
 * SUM of f16/bf16/f32 in f32, f64 in f64, integers in int64 (wrapping). MAX, MIN: combine(x, y) = (x > y || x != x) ? x : y,
 * so NaN wins; identity -inf, +inf (integers: least, greatest). ARGMAX: pairs (value, index) from (none, 0); the greater value wins, of
 * equals the smaller index, the first NaN beats all. */

/* ---- GEMM: C = alpha * op(A) op(B) + beta * C, row-major; op transposes if trans is set. A is m x k after op. */
typedef struct cg_mat { int slot; cg_num off, ld, batch_stride; bool trans; } cg_mat;
typedef struct cg_gemm { cg_dtype dtype; cg_num batch, m, n, k; double alpha, beta; cg_mat a, b, c; } cg_gemm;

typedef enum { CG_K_ROW_NUMBERS, CG_K_SET_ROWS, CG_K_ADD_ROWS, CG_KERNEL_COUNT } cg_kernel_id;
/* The first slot is written. nums end in the first element of each slot.
 * ROW_NUMBERS: slots out (i64), idx (integers); nums: n, rows. out[i] is idx[i] counted from 0; if that is out of -rows..rows-1, -1 and the status is set.
 * SET_ROWS, ADD_ROWS: slots out [outer][rows][inner], idx (i64, row numbers), src [outer][n][inner]; nums: outer * inner, n, rows, inner.
 * For i in order: out[:][idx[i]][:] is, or gets added, src[:][i][:]; a negative row is skipped. */
typedef struct cg_kernel { cg_kernel_id id; int nslots, slots[8]; int nnums; cg_num nums[8]; } cg_kernel;
typedef struct cg_copy { int from, to; cg_num from_off, to_off, count; } cg_copy;      /* elements of the same dtype */
/* Where a size that depends on data becomes known: `nums` are computed, which depend on it and on nothing that is found later. */
typedef struct cg_found { const cg_num *nums; int nnums; } cg_found;
/* The nbody steps that follow run count times, or until a pass leaves true in the bool at the start of slot `until` (-1: none); how often is
 * FOUND(index) then. Before each pass `nums`, which depend on it, are computed with STEP(index) = 0, 1...
 * late: which steps it makes, or what is checked in them, is not known before the plan runs, so its checks are made on the way. */
typedef struct cg_repeat { cg_num count; int index, nbody; const cg_num *nums; int nnums, until; bool late; cg_found found; } cg_repeat;

/* The nbody steps that follow run if the number `test` is not 0, or, with `side` false, if it is. */
typedef struct cg_branch { cg_num test; bool side; int nbody; } cg_branch;
typedef struct cg_fetch { int slot; cg_num off, to; } cg_fetch;         /* the number `to`, a READ, becomes the element's value, which is waited for */

typedef enum { CG_STEP_LOOP, CG_STEP_GEMM, CG_STEP_KERNEL, CG_STEP_COPY, CG_STEP_REPEAT, CG_STEP_BRANCH, CG_STEP_READ } cg_step_kind;
typedef struct cg_step {
    cg_step_kind kind;
    int group;               /* > 1: so many steps from this one on are alike and independent of each other; < 0: it is that far behind the first of such */
    const char *label;       /* "add_tanh": goes into kernel names */
    const char *origin;      /* "layer1/h (tanh f32[3])": the user's node, for what people read */
    const struct cg_node *node;      /* the same, for call-time messages; opaque here */
    union { cg_loop loop; cg_gemm gemm; cg_kernel kernel; cg_copy copy; cg_repeat repeat; cg_branch branch; cg_fetch fetch; };
} cg_step;
/* The steps of its body, which follow it; NULL: it has none. */
static inline int *cg__step_body(cg_step *s) { return s->kind == CG_STEP_REPEAT ? &s->repeat.nbody : s->kind == CG_STEP_BRANCH ? &s->branch.nbody : NULL; }

typedef struct cg_checked { const struct cg_node *node, *of; } cg_checked;       /* of: of a loop, the sequence or init that it is about; or NULL */
typedef struct cg_const { cg_dtype dtype; int64_t count; const void *data; } cg_const;
typedef struct cg_plan {
    cg_arena arena;
    CG_VEC(cg_num_ins) nums;
    CG_VEC(cg_slot) slots;
    CG_VEC(cg_step) steps;
    CG_VEC(cg_const) consts;
    CG_VEC(cg_checked) checked;
    int nrepeats, nreads;
    int commit;              /* the first step that writes a shared variable, behind all that can fail; steps.n: none does */
    cg_map num_index;        /* hash of an instruction -> id: equal ones are shared */
    int known[2];            /* 1 + the ids of the constants 0 and 1, which nearly every address asks for; 0: not there yet */
    bool failed;             /* memory ran out while it was made: sticky, and checked once, at the end */
} cg_plan;

/* ---- numbers.c */
typedef struct cg_num_env {              /* what a call knows */
    void *user;
    int64_t (*dim)(void *user, int input, int axis);
    int64_t (*input)(void *user, int input);
    int64_t (*shared)(void *user, int var);
    int64_t (*shared_dim)(void *user, int var, int axis);
    int (*broken)(void *user, const cg_checked *what, cg_num_op check, int64_t a, int64_t b);      /* says so; a status */
} cg_num_env;
cg_num cg__num(cg_plan *p, cg_num_op op, int a, int b, int c, int64_t imm);    /* folds and shares; CG_NUM_NONE: no memory */
cg_num cg__num_const(cg_plan *p, int64_t v);
bool cg__num_is(const cg_plan *p, cg_num id, int64_t v);                       /* known constant equal to v */
/* All but those of loops and behind cuts. If a check hangs on steps, the loops are walked, so that it breaks before anything runs. */
int cg__nums_run(const cg_plan *p, const cg_num_env *env, int64_t *n);
bool cg__plan_repeats(cg_plan *p);                                                         /* fills the nums of each REPEAT; false: no memory */
/* Set STEP or FOUND and compute what depends on it; a status, for what can be checked only now is. */
int cg__nums_step(const cg_plan *p, const cg_num_env *env, int64_t *n, const cg_repeat *r, int64_t step);
int cg__nums_found(const cg_plan *p, const cg_num_env *env, int64_t *n, const cg_repeat *r, int64_t value);
/* After cg__nums_run: the least and the greatest value that each number may have in the call. What is allocated has the greatest size. */
void cg__nums_bounds(const cg_plan *p, const int64_t *n, int64_t *least, int64_t *most);
/* 0 known 0 or absent, 1 known 1, 2 any: what kernel text may depend on */
int cg__stride_class(const cg_plan *p, cg_num id);
/* How often what has these strides changes: 0 never, 1 once an outer point, 2 at every inner point (the level of a value). */
int cg__stride_level(const cg_plan *p, const cg_loop *l, const cg_num *stride);

/* ---- stages.c: the last stage; what level 2 work a stage does: its reductions and stores, and all they are computed from (sets need[v]) */
int cg__loop_last_stage(const cg_loop *l);
void cg__loop_stage_needs(const cg_loop *l, int stage, bool *need);

const char *cg__loop_label(cg_plan *p, const cg_loop *l);
/* Whether value v divides integers by what may be 0: it is 0 then, and the call fails. */
bool cg__loop_divides(const cg_plan *p, const cg_loop *l, int v);

/* ---- what a device writes into the status word of a call (the least is told): which value of which step met an index out of range or a
 * division of integers by 0. Of a KERNEL the value is 0. */
enum { CG_STEP_VALUES = CG_LOOP_OPS * 4 };
static inline int cg__failure(int step, int value) { return step * CG_STEP_VALUES + value; }

/* ---- touch.c: the slots that a step names */
enum { CG_TOUCHED = CG_LOOP_OPS * 4 };           /* values of a loop, so its operands too */
typedef struct cg_touched { int slot[CG_TOUCHED]; bool written[CG_TOUCHED]; int n; bool all; } cg_touched;     /* all: and any other */
cg_touched cg__touched_by(const cg_step *s);
bool cg__touched_ordered(const cg_touched *a, const cg_touched *b);      /* the order of the two steps matters */
bool cg__same_place(const cg_operand *x, const cg_operand *y);           /* of one slot, at every point */
bool cg__step_can_fail(const cg_plan *p, const cg_step *s);              /* it may set the call's status */
int cg__after_bodies(const cg_plan *p);                                  /* the first step behind the last body of a REPEAT or BRANCH */
void cg__plan_commit(cg_plan *p);                                        /* sets p->commit */

/* ---- fuse.c: neighbouring loops become one, and steps are named; before plan_repeats and lifetimes, which are of steps. What fails is p->failed. */
typedef void cg_describe(const struct cg_node *, cg_strb *);
void cg__plan_fuse(cg_plan *p, cg_describe *origin);

/* ---- inplace.c: the OUTPUT slot `value` of an update becomes its SHARED slot `var` where that is safe (`done`), and steps move for it */
typedef struct cg_in_place { int value, var; bool done; } cg_in_place;
void cg__plan_in_place(cg_plan *p, cg_in_place *updates, int n);

/* ---- group.c: steps that are alike become neighbours; sets `group` */
void cg__plan_group(cg_plan *p);

/* ---- memory.c: offsets of ARENA slots for the sizes in n, here and in peak.c the greatest that numbers may have; returns the bytes of the slab.
 * Alignment 128. */
int cg__plan_memory(const cg_plan *p, const int64_t *n, size_t *offset, size_t *total, cg_error *err);
static inline size_t cg__buffer_bytes(size_t bytes) { return bytes < 128 ? 128 : (bytes + 127) & ~(size_t)127; }     /* what a buffer really takes */

/* ---- peak.c: the memory of a call, for the sizes in n: buffers are there from its start to its end, values of the arena while they live */
enum { CG_FULLEST = 4 };
typedef struct cg_fullest { int step; size_t bytes; int slot[CG_FULLEST], nslots; } cg_fullest;      /* the largest values alive there, the largest first */
size_t cg__plan_bytes(const cg_plan *p, const int64_t *n, size_t slab, size_t kinds[CG_SLOT_KINDS]);     /* the sum; kinds (optional): of each kind of slot */
size_t cg__slot_bytes(const cg_plan *p, const int64_t *n, int slot);
bool cg__plan_fullest(const cg_plan *p, const int64_t *n, cg_fullest *out);      /* where the arena holds most; step -1: nowhere anything; false: no memory to tell */
void cg__plan_print_peak(const cg_plan *p, const int64_t *n, size_t slab, cg_strb *out);

int cg__plan_print(const cg_plan *p, cg_strb *out);
void cg__plan_free(cg_plan *p);
/* Threads for the products of a step: one function of the sizes and CG_THREADS, which every executor calls (a BLAS changes bits with them). */
int cg__gemm_threads(int64_t batch, int64_t m, int64_t n, int64_t k);
int cg__threads(void);                   /* CG_THREADS, else the processors this process may use */

#endif
