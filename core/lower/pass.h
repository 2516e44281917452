// SPDX-License-Identifier: MIT
/* What the files of core/lower share: the state of the pass. A frame is what one plan level knows of nodes: the function's own, and one
 * for each body of a loop while it is lowered (the args of bodies are the same nodes in every body, so each frame binds them anew). */
#ifndef CG_PASS_H
#define CG_PASS_H

#include "core/lower/lower.h"

typedef struct node_info {
    int slot;                /* -1: not placed (yet) */
    cg_num off;              /* of its first element in the slot */
    int uses, cost;
    int64_t rows;            /* of those that a loop stacks: how many of the last ones are read at most, CG_ALL_ROWS: all */
    int root;                /* 1 + position of the root that its place will hold: a root itself, or what a root reshapes (the same place); 0: none */
    bool host, must_place, bound;        /* bound: slot or number were given before the pass came here */
    cg_num num;
} node_info;

typedef struct frame {
    struct frame *outer;
    CG_VEC(int) place;       /* by node id: 1 + position in infos, 0: none yet */
    CG_VEC(node_info) infos;
    cg_node *const *roots; int nroots;
    const cg_target *targets;            /* of the roots; NULL: outputs of the function */
} frame;

struct cg_lower {
    cg_graph *g;
    cg_plan *plan;
    cg_error *err;
    frame *top;
    CG_VEC(const cg_node *) vars;
    cg_map var_index;        /* variable -> position in vars */
    cg_node *const *inputs; int ninputs;
};

bool cg__lower_kept(cg_lower *, bool ok);                                 /* ok: there was memory; the plan remembers */
node_info *cg__lower_info(const cg_lower *, const cg_node *n);           /* NULL: none yet */
node_info *cg__lower_make_info(cg_lower *, const cg_node *n);            /* NULL: no memory */
int cg__lower_var(cg_lower *, const cg_node *n);                         /* index of a shared variable */
int cg__lower_input(const cg_lower *, const cg_node *n);                 /* index of an input, or -1 */
bool cg__lower_host_leaf(const cg_node *n);
bool cg__lower_could_be_host(const cg_node *n);                          /* by its own op and type */
const cg_node *cg__matrix_base(const cg_node *n);                        /* what cg__lower_strided reads for a matrix, if nothing on the way is placed */
const cg_node *cg__dense_base(const cg_node *n);                         /* likewise for cg__lower_dense */
int64_t cg__last_rows(const cg_node *user, int k);                       /* how many of the last rows of operand k the user may read; or CG_ALL_ROWS */

#endif
