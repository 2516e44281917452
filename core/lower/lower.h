// SPDX-License-Identifier: MIT
/* From nodes to steps: what an op's emit and lower are given.
 *
 * A node is either *placed* (a dense slot holds it) or *inlined* (its emit computes an element of it inside its consumer's LOOP).
 * emit gets the coordinates of the wanted element: one affine function of the loop's axes for each axis of the node.
 * lower writes the steps of a placed node; a node that has only emit is placed by cg__lower_map.
 * Example: the emit of transpose permutes `at` and asks its operand; that of an elementwise op asks each operand at the same place.
 */
#ifndef CG_LOWER_H
#define CG_LOWER_H

#include "core/graph/ir.h"
#include "core/plan/plan.h"

typedef struct cg_lower cg_lower;
typedef struct cg_coord { cg_num off; cg_num c[CG_AXES_MAX]; } cg_coord;        /* off + sum c[l] * i[l]; CG_NUM_NONE is 0 */
typedef struct cg_spot { cg_coord axis[CG_MAX_RANK]; } cg_spot;
typedef struct cg_loop_builder cg_loop_builder;

enum { CG_COORD_ONE = -2 };                                      /* the coefficient 1, before a plan gives it an id */
cg_num cg__coord_num(cg_plan *, cg_num id);                      /* CG_NUM_NONE and CG_COORD_ONE as ids */

/* ---- numbers of the plan */
cg_num cg__lower_dim(cg_lower *, cg_dim_t d);
cg_num cg__lower_num(cg_lower *, const cg_node *n);              /* n is a host integer */
bool   cg__lower_is_host(const cg_lower *, const cg_node *n);
cg_num cg__lower_count(cg_lower *, const cg_type *t);            /* elements */
cg_plan *cg__lower_plan(cg_lower *);
cg_error *cg__lower_error(cg_lower *);
int cg__lower_no_memory(cg_lower *);                             /* the status */

/* At each call a and b must be equal, else it fails and names n and its operands. */
int cg__lower_check(cg_lower *, const cg_node *n, cg_num a, cg_num b);
int cg__lower_check_of(cg_lower *, const cg_node *loop, const cg_node *of, cg_num a, cg_num b);          /* about that operand of a loop, NULL: its steps */
/* And `by`, by which n divides, must not be 0. */
int cg__lower_check_divisor(cg_lower *, const cg_node *n, cg_num by);

/* ---- slots: a placed node is dense, from element `off` of its slot */
int cg__lower_slot(cg_lower *, const cg_node *n);                /* where the placed node n is, or -1 */
cg_num cg__lower_off(cg_lower *, const cg_node *n);
int cg__lower_out(cg_lower *, const cg_node *n);                 /* makes the place of n, or finds it given: a status */
bool cg__lower_take(cg_lower *, const cg_node *n, const cg_node *from);          /* n is placed where `from` is, if only n reads that and the plan owns it */
int cg__lower_over(cg_lower *, const cg_node *n, const cg_node *x);               /* makes the place of n, where x is first: x's own if only n reads that */
void cg__lower_alias(cg_lower *, const cg_node *n, int slot, cg_num off);        /* n is there already */
int cg__lower_temp(cg_lower *, cg_dtype d, cg_num count, const char *label);     /* an arena slot of no node, or -1 */
cg_step *cg__lower_step(cg_lower *, cg_step_kind kind, const cg_node *n);        /* appends; valid until the next */
/* n as offset and strides over a slot, seen through transposes, slices and unit axes; false: only its own slot will do. */
typedef struct cg_strided { int slot; cg_num off, stride[CG_MAX_RANK]; } cg_strided;
bool cg__lower_strided(cg_lower *, const cg_node *n, cg_strided *out);
/* The same for a dense n: its own place, or rows of a placed array; a host integer is written to a place. */
bool cg__lower_dense(cg_lower *, const cg_node *n, int *slot, cg_num *off);
cg_num cg__slice_first(cg_lower *, const cg_node *n, int axis);  /* first element of a slice along an axis (core/ops/index.c) */

#define CG_ALL_ROWS INT64_MAX
int64_t cg__lower_rows(const cg_lower *, const cg_node *n);      /* how many of the last rows of a loop's output are read, in the frame that has the loop */
bool cg__scan_reads_dense(const cg_node *scan, int k);           /* core/ops/scan.c */

/* ---- bodies: lowered in a frame of their own, where their args are bound to places and numbers of the level above */
typedef struct cg_target { int slot; cg_num off; bool add; } cg_target;         /* where a root of the body goes; add: is added up; slot -1: nowhere */
int cg__lower_frame(cg_lower *, cg_node *const *roots, const cg_target *targets, int n);
int cg__lower_bind(cg_lower *, const cg_node *arg, int slot, cg_num off);
int cg__lower_bind_num(cg_lower *, const cg_node *arg, cg_num value);
int cg__lower_body(cg_lower *);                                  /* the steps of the frame's roots; on failure too, cg__lower_unframe follows */
void cg__lower_unframe(cg_lower *);
/* A LOOP that writes n to `to`, or adds it; n is computed there if it is not placed. */
int cg__lower_into(cg_lower *, const cg_node *n, cg_target to);

/* Steps that put operand k of the ifelse n into the place of n, if that side is taken. */
int cg__lower_side(cg_lower *, const cg_node *n, int k);

/* ---- loops */
cg_loop_builder *cg__loop_begin(cg_lower *, const cg_node *n);
int cg__loop_axis(cg_loop_builder *, cg_dim_t size, bool inner); /* outer axes first; returns the axis */
int cg__loop_axis_of(cg_loop_builder *, cg_num extent, bool inner);
cg_coord cg__coord_axis(int axis);                               /* i[axis] */
cg_coord cg__coord_zero(void);
int cg__emit(cg_loop_builder *, const cg_node *n, const cg_spot *at);              /* a value, or negative */
int cg__loop_elem(cg_loop_builder *, cg_elem op, cg_dtype d, int a, int b, int c);
int cg__loop_blame(cg_loop_builder *, int v, const cg_node *n);  /* if v fails at a call, it fails for n; returns v */
int cg__loop_cast(cg_loop_builder *, int a, cg_dtype d);
int cg__loop_literal(cg_loop_builder *, cg_dtype d, double v);
int cg__loop_number(cg_loop_builder *, cg_num n);                /* i64 */
int cg__loop_coord(cg_loop_builder *, const cg_coord *c);        /* i64: the coordinate as a value */
cg_dtype cg__loop_dtype(const cg_loop_builder *, int value);
int cg__loop_reduce(cg_loop_builder *, cg_red op, cg_dtype d, int a);
/* An element of a placed node; gather >= 0: that value is added as an index of axis gather_axis (whose coordinate is zero). */
int cg__loop_load(cg_loop_builder *, const cg_node *n, const cg_spot *at, int gather, int gather_axis);
int cg__loop_windowed(cg_loop_builder *, const cg_node *n, const cg_spot *at, const cg_spot *where, double fill);  /* 0 where outside n's sizes */
int cg__loop_store(cg_loop_builder *, const cg_node *n, const cg_spot *at, int value);       /* into n's place */
int cg__loop_store_part(cg_loop_builder *, const cg_node *n, const cg_spot *at, int value);  /* the same; no other step stores there */
int cg__loop_store_at(cg_loop_builder *, const cg_node *n, int slot, cg_num off, const cg_spot *at, int value);   /* with the dims of n */
int cg__loop_load_at(cg_loop_builder *, const cg_node *n, int slot, cg_num off, const cg_spot *at);
/* Element `at` of a slot, whatever lies there; 0 where a window excludes it. What is put is a part: no other step of the node stores there. */
int cg__loop_get(cg_loop_builder *, cg_dtype d, int slot, const cg_coord *at, const cg_window *windows, int n);
int cg__loop_put(cg_loop_builder *, cg_dtype d, int slot, const cg_coord *at, int value);
int cg__loop_end(cg_loop_builder *);                             /* finishes the step; frees the builder */
cg_lower *cg__loop_lower(cg_loop_builder *);
typedef int cg_element(cg_loop_builder *, const cg_node *n, const cg_spot *at);
int cg__lower_map(cg_lower *, const cg_node *n);                 /* makes the place of n and fills it by n's emit */
int cg__lower_elements(cg_lower *, const cg_node *n, cg_element *element);       /* fills the place of n */
int cg__lower_zeros(cg_lower *, const cg_node *n);

/* ---- the pass */
typedef struct cg_root { int slot; cg_num num, dims[CG_MAX_RANK]; bool host; } cg_root;     /* host: the number is the value */
typedef struct cg_lowered {
    cg_plan *plan;
    CG_VEC(const cg_node *) vars;        /* SHARED slot index -> variable node */
    cg_root *roots;
} cg_lowered;
/* Lowers roots of g; inputs[i] is call input i; targets[i]: the variable whose new value root i is, or NULL. */
int cg__lower(cg_graph *g, cg_node *const *inputs, int ninputs, cg_node *const *roots, int nroots, struct cg_array *const *targets, cg_lowered *out, cg_error *err);

#endif
