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

/* At each call a and b must be equal, else it fails and names n and its operands. */
int cg__lower_check(cg_lower *, const cg_node *n, cg_num a, cg_num b);

/* ---- slots */
int cg__lower_slot(cg_lower *, const cg_node *n);                /* where the placed node n is, or -1 */
int cg__lower_out(cg_lower *, const cg_node *n);                 /* makes the slot of n */
cg_step *cg__lower_step(cg_lower *, cg_step_kind kind, const cg_node *n);        /* appends; valid until the next */
/* n as offset and strides over a slot, seen through transposes, slices and unit axes; false: only its own slot will do. */
typedef struct cg_strided { int slot; cg_num off, stride[CG_MAX_RANK]; } cg_strided;
bool cg__lower_strided(cg_lower *, const cg_node *n, cg_strided *out);

/* ---- loops */
cg_loop_builder *cg__loop_begin(cg_lower *, const cg_node *n);
int cg__loop_axis(cg_loop_builder *, cg_dim_t size, bool inner); /* outer axes first; returns the axis */
cg_coord cg__coord_axis(int axis);                               /* i[axis] */
cg_coord cg__coord_zero(void);
int cg__emit(cg_loop_builder *, const cg_node *n, const cg_spot *at);              /* a value, or negative */
int cg__loop_elem(cg_loop_builder *, cg_elem op, cg_dtype d, int a, int b, int c);
int cg__loop_cast(cg_loop_builder *, int a, cg_dtype d);
int cg__loop_literal(cg_loop_builder *, cg_dtype d, double v);
int cg__loop_number(cg_loop_builder *, cg_num n);                /* i64 */
int cg__loop_coord(cg_loop_builder *, const cg_coord *c);        /* i64: the coordinate as a value */
int cg__loop_reduce(cg_loop_builder *, cg_red op, cg_dtype d, int a);
/* An element of a placed node; gather >= 0: that value is added as an index of axis gather_axis (whose coordinate is zero). */
int cg__loop_load(cg_loop_builder *, const cg_node *n, const cg_spot *at, int gather, int gather_axis);
int cg__loop_windowed(cg_loop_builder *, const cg_node *n, const cg_spot *at, const cg_spot *where, double fill);  /* 0 where outside n's sizes */
int cg__loop_store(cg_loop_builder *, const cg_node *n, int slot, const cg_spot *at, int value);
int cg__loop_end(cg_loop_builder *);                             /* finishes the step; frees the builder */
cg_lower *cg__loop_lower(cg_loop_builder *);
int cg__lower_map(cg_lower *, const cg_node *n);

/* ---- the pass */
typedef struct cg_root { int slot; cg_num num, dims[CG_MAX_RANK]; bool host; } cg_root;     /* host: the number is the value */
typedef struct cg_lowered {
    cg_plan *plan;
    CG_VEC(const cg_node *) vars;        /* SHARED slot index -> variable node */
    cg_root *roots;
} cg_lowered;
/* Lowers roots of g; inputs[i] is call input i. */
int cg__lower(cg_graph *g, cg_node *const *inputs, int ninputs, cg_node *const *roots, int nroots, cg_lowered *out, cg_error *err);

#endif
