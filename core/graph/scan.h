// SPDX-License-Identifier: MIT
/* Loops as nodes.
 *
 * (scan steps :seq [x...] :init [h0...] :capture [c...] :body [next... value...] :back [0...] :outs [keep root back ...] :truncate_gradient k :save 0)
 *
 * Step t = 0, 1, ... steps-1 computes the roots of a closed body from args, (arg :index k :dtype d :shape [...]):
 *   k in 0..nseq-1                 row t of sequence k (row steps-1-t if back[k])
 *   then one a state               its value before the step; at t = 0 its init
 *   then one a capture             the same value in every step
 *   then one                       t itself
 * Root i < nstate is the next value of state i. An output keeps a root: CG_SCAN_ALL stacks its values along a new first axis (row steps-1-t
 * if back), CG_SCAN_LAST is a state after the last step (the init when there is none), CG_SCAN_SUM adds the values up from 0.
 * A loop with an output CG_SCAN_DONE ends after the step where that output's root, a bool scalar, is true; the output is the number of steps
 * done, an i64 scalar. `steps` is then the most that there may be, and what is stacked has as many rows as that output says: a size that
 * depends on data. Since it is an output of the node, it stands in the types of the node's other outputs as (get scan ...) gives them.
 * Only the last k steps are differentiated, all if k is absent: what was before them counts as constant, and what they gave.
 * A gradient may keep what `save` says (cg_scan_save) of each step.
 * Sequences have exactly `steps` rows. A body is closed, so equal loops are one node, and no rewrite from outside enters one.
 */
#ifndef CG_SCAN_H
#define CG_SCAN_H

#include "core/graph/ir.h"

enum { CG_SCAN_DONE = CG_SCAN_SUM + 1 };         /* what an output keeps, beside cg_scan_keep */
enum { CG_SCAN_A_SEQ, CG_SCAN_A_INIT, CG_SCAN_A_CAPTURE, CG_SCAN_A_BODY, CG_SCAN_A_BACK, CG_SCAN_A_OUTS, CG_SCAN_A_TRUNCATE, CG_SCAN_A_SAVE };      /* attributes */

typedef struct cg_scan_out_row { int64_t keep, root, back; } cg_scan_out_row;
typedef struct cg_scan_view {            /* the parts of a scan node */
    int nseq, nstate, ncapture, nroots, nouts;
    int done;                            /* the output CG_SCAN_DONE, or -1 */
    cg_node *steps, *const *seq, *const *init, *const *capture, *const *root;
    const int64_t *back;
    const cg_scan_out_row *out;
    int64_t truncate;                    /* 0: all steps are differentiated */
    cg_scan_save save;
} cg_scan_view;
cg_scan_view cg__scan_view(const cg_node *n);
cg_node *cg__scan_steps(cg_node *n);             /* how many steps the loop n makes: its operand, or its output CG_SCAN_DONE */
bool cg__scan_is_done(const cg_node *n);         /* n is such an output */
static inline int cg__scan_nargs(const cg_scan_view *v) { return v->nseq + v->nstate + v->ncapture + 1; }
/* The outer node that arg k stands for in the first step: a sequence, an init, a capture; NULL for the step number. */
cg_node *cg__scan_source(const cg_scan_view *v, int k);
const cg_node *cg__scan_sequence(const cg_node *rows);           /* what messages call the rows that a loop walks: what they were cut from */
/* The type that arg k must have, in terms of outer dims. */
cg_type cg__scan_arg_type(const cg_scan_view *v, int k);

/* The sizes of n, a node of the body, are the same in every step. Also false: no memory. */
bool cg__scan_is_fixed(const cg_scan_view *v, const cg_node *n);         /* core/ops/scan.c */

/* ---- building: an open body is made of placeholders, args with indices of their own; cg_scan_end closes it */
typedef struct cg_scan_item {
    cg_node *outer, *place;
    bool back; int64_t tap;              /* of sequences */
    cg_node *next, *shared; int head;    /* of states; shared: the variable that one is; head: the one that cg_scan_next means, of several taps -1 */
} cg_scan_item;
typedef struct cg_scan_result { cg_node *value; int keep; bool back; int state; } cg_scan_result;        /* keep: a cg_scan_keep or CG_SCAN_DONE; state: of LAST, else -1 */
struct cg_scan {
    cg_graph *g;
    cg_scan *around;                     /* the loop in whose body it is built, or the one that was begun before it */
    const char *name, *said;             /* or NULL; how messages begin: "loop 'name': ", or "" */
    cg_node *steps, *step;               /* step: the placeholder of its number, or NULL */
    cg_node *until;                      /* or NULL */
    bool back;
    int64_t truncate;
    cg_scan_save save;
    int64_t every;
    CG_VEC(cg_scan_item) seqs;
    CG_VEC(cg_scan_item) states;
    CG_VEC(cg_scan_result) results;
    bool failed;
};
cg_node *cg__scan_arg(cg_graph *g, int64_t index, const cg_type *t);
CG_PRINTF(4, 5) cg_node *cg__scan_wrong(cg_scan *s, cg_status code, const char *what, const char *fmt, ...);        /* tells the loop's name; NULL */
cg_node *cg__placeholder(cg_graph *g, const cg_type *t);         /* stands for a value of that type until another takes its place */
cg_node *cg__scan_seq(cg_scan *s, cg_node *x, bool back);
int cg__scan_out(cg_scan *s, cg_node *value, cg_scan_keep keep, bool back);
void cg__scan_drop(cg_scan *s);                  /* ends building without a node; NULL is fine */
cg_node *cg__scan_row(cg_scan *s);               /* a number of the step that no other step of it and of the loops around it has: for draws */
int cg__scan_last(cg_scan *s, int state);        /* one more result: state's value after the loop */
int cg__scan_done(cg_scan *s);                   /* one more result: the number of steps done, of a loop with until */
/* n's sequences and states in a loop that is being built; args (arg index -> node of the open body) has room for all args. */
bool cg__scan_args(cg_scan *s, const cg_node *n, cg_node **args);
/* scan_blocks.c: the outputs of n, by blocks of `every` steps of which a gradient keeps the states only. */
bool cg__scan_in_blocks(const cg_node *n, int64_t every, cg_node **out);
/* roots of n's body (nodes over its args) as they are with args in place; the memo may hold more. */
bool cg__scan_map_args(const cg_node *n, cg_node *const *args, cg_map *memo);

#endif
