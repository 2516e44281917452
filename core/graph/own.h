// SPDX-License-Identifier: MIT
/* Graphs as operations.
 *
 * (softplus a...) is a node `own`: what the graph of the operation called softplus makes of a... was built in place, its roots are the first
 * operands, and the a... follow. Its outputs are those roots; what the node adds is the name and, if the operation has one, a gradient by
 * hand, which then is the only path from the outputs to the a... In the copy that a function compiles the node is its roots.
 */
#ifndef CG_OWN_H
#define CG_OWN_H

#include "core/graph/ir.h"

struct cg_own_op {
    cg_graph *g;
    int index;                           /* in g->owns */
    const char *name;
    cg_node **in, **out; int nin, nout;  /* the graph, over nodes of its own */
    int (*grad)(const cg_own_call *c, cg_node **in_grad);
    void *user;
};
static inline const cg_own_op *cg__own_of(const cg_node *n) { return n->graph->owns.at[n->attr[0].at[0]]; }
/* What is printed and told as n's operation, and the first of its operands that is. */
static inline const char *cg__op_name(const cg_node *n) { return cg__is(n, CG_OP_own) ? cg__own_of(n)->name : n->op->name; }
static inline int cg__first_operand(const cg_node *n) { return cg__is(n, CG_OP_own) ? cg__own_of(n)->nout : 0; }
const cg_own_op *cg__own_by_name(const cg_graph *g, const char *name, size_t n);      /* or NULL */
cg_node *cg__own_apply(const cg_own_op *op, cg_node *const *args, int n);             /* the node; NULL: the graph says why */

#endif
