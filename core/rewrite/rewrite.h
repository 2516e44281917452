// SPDX-License-Identifier: MIT
/* Rewrites are data: a rule is a row of text, `{ "log1p", STABLE, ULP, "(log (add 1 ?x))", "(log1p ?x)" }`.
 *
 * In a match ?x binds any expression (the same one everywhere), a number any constant whose elements all equal it,
 * `:axis ?a` an attribute; commutative operations are tried in both orders. The engine, not the rule, keeps the type:
 * a result of another dtype or shape is wrapped in cast or broadcast_to, or the rule does not fire.
 */
#ifndef CG_REWRITE_H
#define CG_REWRITE_H

#include "core/graph/ir.h"

typedef enum { CG_PHASE_CANONICAL, CG_PHASE_STABLE, CG_PHASE_FAST, CG_PHASE_COUNT } cg_phase;
typedef enum {
    CG_EXACT_EXACT,          /* bit for bit */
    CG_EXACT_ULP,            /* to rounding, or to the sign of a zero */
    CG_EXACT_SAFER,          /* right also where the old side overflows or cancels */
    CG_EXACT_UNSAFE          /* may hide NaN or infinity: never fired by cg__rewrite */
} cg_exact;

enum { CG_RULE_VARS = 6 };
typedef struct cg_bind { cg_node *node[CG_RULE_VARS]; const cg_attr *attr[CG_RULE_VARS]; } cg_bind;  /* in order of first mention in match */
typedef struct cg_rule {
    const char *name;
    cg_phase phase;
    cg_exact exact;
    const char *match, *replace;                                     /* replace NULL: build */
    bool (*when)(const cg_node *n, const cg_bind *b);                /* (optional) more conditions */
    cg_node *(*build)(const cg_node *n, const cg_bind *b);           /* (optional) NULL: does not fire */
    const char *example;                                             /* (optional) for tests, where match cannot be read as an expression */
} cg_rule;

int cg__rules(const cg_rule **rows);                                 /* how many */
char *cg__rules_text(void);                                          /* one a line; cg__free */
/* match.c: the replacement of n by rule i, of any type; NULL: it does not match, or could not be built. */
cg_node *cg__rule_apply(cg_graph *g, int i, const cg_node *n);
/* Rules of an operation in table order: for (int i = cg__rule_first(op); i >= 0; i = cg__rule_next(i)). -1: no more. */
int cg__rule_first(cg_op_id op);
int cg__rule_next(int i);
const char *cg__rule_broken(int i);                                  /* why a row's text is not understood, or NULL: for tests */

/* engine.c */
cg_node *cg__rule_fire(cg_graph *g, int i, cg_node *n);              /* apply, then the type of n; NULL: does not fire */
/* Rewrites the roots in place, within their graph. A status; err says why. Only memory can fail. */
int cg__rewrite(cg_graph *g, cg_node **roots, int n, cg_error *err);
/* scan.c: loops as wholes; called by cg__rewrite. */
int cg__rewrite_scans(cg_graph *g, cg_node **roots, int n, cg_error *err);
typedef void (*cg_rewrite_log)(void *user, const cg_node *old, const cg_node *new_, const char *rule);
void cg__rewrite_set_log(cg_rewrite_log log, void *user);            /* of this thread; NULL: none */

#endif
