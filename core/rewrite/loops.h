// SPDX-License-Identifier: MIT
/* Rewriting loops as wholes: what the files scan*.c share.
 *
 *     scan.c          the table of rewrites, the walk over the loops of a graph and of bodies, the loop that runs once
 *     scan_rows.c     stacks of which the last row is read
 *     scan_merge.c    several loops become one
 *     scan_steps.c    the value of a body node in all steps at once
 *     scan_after.c    sums over steps and products that no state needs, after the loop
 *     scan_rebuild.c  a loop built again: less in it, and products of rows before it
 */
#ifndef CG_LOOPS_H
#define CG_LOOPS_H

#include "core/graph/guard.h"
#include "core/graph/scan.h"
#include "core/rewrite/rewrite.h"

typedef enum {
    CG_LOOP_LAST_ROW, CG_LOOP_MERGE, CG_LOOP_ONCE, CG_LOOP_ACCUMULATOR, CG_LOOP_SUM_TERMS, CG_LOOP_SUM_LINEAR, CG_LOOP_SUM_PRODUCT, CG_LOOP_SUM_STACKED, CG_LOOP_AFTER,
    CG_LOOP_MAP, CG_LOOP_INVARIANT, CG_LOOP_UNUSED, CG_LOOP_CONSTANT, CG_LOOP_TWINS, CG_LOOP_BEFORE, CG_LOOP_ROWS, CG_LOOP_JOIN, CG_LOOP_REWRITES
} cg_loop_rewrite;
typedef struct cg_loop_row { const char *name; cg_exact exact; const char *what; } cg_loop_row;
extern const cg_loop_row cg__loop_rows[CG_LOOP_REWRITES];

/* One walk over the loops that some roots reach. memo: old node -> new; used: outputs (get nodes) that somebody reads. */
typedef struct cg_loops { cg_graph *g; cg_node_vec nodes; cg_map memo, used; bool off[CG_LOOP_REWRITES]; bool failed; } cg_loops;
void cg__loops_tell(const cg_loops *p, cg_loop_rewrite r, const cg_node *old, const cg_node *new_);

/* scan.c: n over what its operands have become. */
cg_node *cg__loop_over(cg_loops *p, cg_node *n);

void cg__loops_last_rows(cg_loops *p);           /* scan_rows.c */

/* ---- scan_merge.c */

/* Outputs of a loop that is being made: its roots, and keep, root, back of each. */
typedef struct cg_loop_outs { cg_node_vec root; CG_VEC(int64_t) row; bool failed; } cg_loop_outs;
int cg__loop_out(cg_loop_outs *o, int64_t keep, cg_node *root, bool back);              /* of keep ALL or SUM; there once */
int cg__loop_out_last(cg_loop_outs *o, int64_t state);
cg_node *cg__loop_with(const cg_node *n, const cg_loop_outs *o);                        /* n with these outputs; roots begin with its next states */
void cg__loop_outs_free(cg_loop_outs *o);
void cg__loops_merge(cg_loops *p);
void cg__loops_join(cg_loops *p);

/* ---- scan_steps.c */

/* Body nodes that are known for all steps at once, with a new first axis: row t is step t, or the step t from the end (back). */
typedef struct cg_steps {
    cg_graph *g;
    const cg_node *n;
    cg_scan_view v;
    cg_node_vec body;            /* what the roots reach, by id */
    cg_guards guards;            /* of these: what only a branch needs stays in it, so in the loop */
    cg_map varies;               /* body nodes that depend on more than captures */
    cg_map known[2];             /* varying body node -> all its values; [back] */
    cg_map outside;              /* other body nodes -> what they are outside */
    bool failed;
} cg_steps;
void cg__steps_begin(cg_steps *s, const cg_node *n);
void cg__steps_end(cg_steps *s);
static inline bool cg__steps_varies(const cg_steps *s, const cg_node *n) { return cg__map_has(&s->varies, n); }
cg_node *cg__steps_outside(cg_steps *s, cg_node *n);                                    /* of a node that does not vary */
cg_node *cg__steps_known(const cg_steps *s, const cg_node *n, bool *back);              /* or NULL */
void cg__steps_know(cg_steps *s, const cg_node *n, cg_node *all, bool back);
void cg__steps_derive(cg_steps *s, cg_node *n);                                         /* from its operands, if it can be */
cg_node *cg__steps_flat(cg_node *x);                                                    /* (a, b, c) as (a b, c) */

/* ---- one loop */

/* What stands for the outputs of `old`: expressions over outputs of n. */
typedef struct cg_loop_work { cg_loops *p; cg_node *old, *n; cg_node **value; int nouts; } cg_loop_work;
bool cg__loop_is_used(const cg_loop_work *l, int k);
bool *cg__loop_needs(const cg_loop_work *l, bool *failed);       /* scan_rebuild.c: which states the outputs of n need that value[] reads; the caller frees */
void cg__loop_once(cg_loop_work *l);             /* scan.c */
void cg__loop_after(cg_loop_work *l);            /* scan_after.c */
void cg__loop_rebuild(cg_loop_work *l);          /* scan_rebuild.c */

#endif
