// SPDX-License-Identifier: MIT
/* What is computed only where a condition holds.
 *
 * (ifelse cond then else) needs one of its two operands. What nothing else needs is computed only when that one is wanted: its guard says
 * when, a list of conditions from the outermost on, each with the side that must hold. Equal guards are one pointer; NULL: always. A node
 * that several others read has what is common to their guards, so what both sides of a condition need, or something outside, is always there.
 *     y = (ifelse c (exp (tanh x)) (neg (tanh x)))         exp: c holds; neg: c does not; tanh: always
 * Guards follow from which nodes are asked for, so a graph does not store them: cg_grad finds them, and so does lowering.
 */
#ifndef CG_GUARD_H
#define CG_GUARD_H

#include "core/graph/ir.h"

typedef struct cg_guard { const struct cg_guard *outer; cg_node *cond; bool side; int depth; } cg_guard;
typedef struct cg_guards {
    cg_arena arena;
    cg_map known;                        /* hash -> guard */
    const cg_guard **of;                 /* by node id; NULL: the graph has no ifelse */
    int n;
} cg_guards;
/* The guards of `nodes`, all that the roots and the nodes in `always` reach, by id; those two have none. false: no memory; free it anyhow. */
bool cg__guards_find(cg_guards *q, const cg_node_vec *nodes, cg_node *const *roots, int nroots, cg_node *const *always, int nalways);
const cg_guard *cg__guard_of(const cg_guards *q, const cg_node *n);      /* an output of a tuple is computed where all are */
/* That under which n needs its operand k, whatever else does; false: no memory. */
bool cg__guard_read(cg_guards *q, const cg_node *n, int k, const cg_guard **out);
const cg_guard *cg__guard_common(const cg_guard *a, const cg_guard *b);
/* Nodes again in an order in which they can be computed: those that have no guard by id, others right before the ifelse that needs them first,
 * behind its condition. */
bool cg__guards_order(const cg_guards *q, cg_node_vec *nodes);
void cg__guards_free(cg_guards *q);

#endif
