// SPDX-License-Identifier: MIT
/* The builders' common door, used by the public functions, the reader and the rewrite engine. */
#ifndef CG_BUILD_H
#define CG_BUILD_H

#include "core/graph/ir.h"

/* Makes a node as the public builder of that op would: weak operands take the others' dtype, elementwise operands are
 * promoted by casts. An attribute with n == -1 is absent and gets its default in infer. attrs NULL: all absent. */
cg_node *cg__build(cg_graph *g, cg_op_id op, cg_node *const *in, int nin, const cg_attr *attrs);
/* With the sizes of t; NULL: a was. */
cg_node *cg__broadcast_like(cg_node *a, const cg_type *t);
cg_node *cg__reshape_like(cg_node *a, const cg_type *t);
/* x in zeros of `shape`: element j of each axis at start + j * step. */
cg_node *cg__unslice(cg_node *x, const cg_dim_t *start, const cg_dim_t *shape, const int64_t *step);
/* DESIGN 4: any float wins over any integer, and so on; false if the two have no common dtype. */
bool cg__promote(cg_dtype a, cg_dtype b, cg_dtype *out);

#endif
