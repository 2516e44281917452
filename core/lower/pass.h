// SPDX-License-Identifier: MIT
/* What the files of core/lower share: the state of the pass. A frame is what one plan level knows of nodes: the function's own, and one
 * for each body of a loop while it is lowered (the args of bodies are the same nodes in every body, so each frame binds them anew). */
#ifndef CG_PASS_H
#define CG_PASS_H

#include "core/graph/guard.h"
#include "core/lower/lower.h"

typedef struct node_info {
    int slot;                /* -1: not placed (yet) */
    cg_num off;              /* of its first element in the slot */
    int uses, cost;
    int64_t rows;            /* of those that a loop stacks: how many of the last ones are read at most, CG_ALL_ROWS: all */
    int root;                /* 1 + position of the root that its place will hold: a root itself, or what a root reshapes (the same place); 0: none */
    bool host, must_place, bound;        /* bound: slot or number were given before the pass came here */
    cg_num num;
    const cg_guard *guard;   /* under which it is computed */
    bool tested;             /* it is the condition of an ifelse */
    cg_num test;             /* then: its number */
    const cg_node *into;     /* the ifelse that alone reads it, so that its place is that one's; or NULL */
} node_info;

typedef struct frame {
    struct frame *outer;
    CG_VEC(int) place;       /* by node id: 1 + position in infos, 0: none yet */
    CG_VEC(node_info) infos;
    cg_node *const *roots; int nroots;
    const cg_target *targets;            /* of the roots; NULL: outputs of the function */
    cg_guards guards;
    const cg_guard *open;                /* the guard of the steps that are made now */
    CG_VEC(int) branches;                /* its BRANCH steps, the outermost first */
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
/* branch.c: guards become BRANCH steps */
int cg__lower_guards(cg_lower *, cg_node_vec *nodes);                     /* of the top frame's nodes, and their order */
int cg__lower_under(cg_lower *, const cg_guard *guard);                   /* steps from here on run under it */
int cg__lower_test(cg_lower *, const cg_node *cond);                      /* makes the number of a condition that has been computed */
bool cg__lower_decidable(const cg_lower *, const cg_node *n);             /* the host knows before the call whether n is computed */
cg_num cg__lower_if_run(cg_lower *, const cg_guard *guard, cg_num a, cg_num b);      /* a where steps under the guard, and those of outer frames, run; else b */
bool cg__lower_host_leaf(const cg_node *n);
bool cg__lower_could_be_host(const cg_node *n);                          /* by its own op and type */
const cg_node *cg__matrix_base(const cg_node *n);                        /* what cg__lower_strided reads for a matrix, if nothing on the way is placed */
const cg_node *cg__dense_base(const cg_node *n);                         /* likewise for cg__lower_dense */
int64_t cg__last_rows(const cg_node *user, int k);                       /* how many of the last rows of operand k the user may read; or CG_ALL_ROWS */

#endif
