// SPDX-License-Identifier: MIT
/* Rewrites are data: a rule is a row of text, `{ "log1p", STABLE, SAFER, "(log (add 1 ?x))", "(log1p ?x)" }`.
 *
 * In a match
 *     ?x            is any expression, the same one everywhere        2          a constant whose elements all equal it
 *     ?x:once       one that nothing else reads; also (op ...):once   :axis ?a   an attribute
 *     (@ODD ?x)     any elementwise operation with that flag in its algebra column, the same one everywhere
 *     ?*rest        in a row marked .chain: the other terms of the chain of one associative operation that the root is the end of
 * Commutative operations are tried in both orders. `.when` names conditions, `.build` makes what text cannot say. The engine, not
 * the rule, keeps the type: a result of another dtype or shape is wrapped in cast or broadcast_to, or the rule does not fire.
 */
#ifndef CG_REWRITE_H
#define CG_REWRITE_H

#include "core/graph/ir.h"

typedef enum { CG_PHASE_CANONICAL, CG_PHASE_STABLE, CG_PHASE_BLAS, CG_PHASE_FAST, CG_PHASE_COUNT } cg_phase;
typedef enum {
    CG_EXACT_EXACT,          /* bit for bit */
    CG_EXACT_ULP,            /* to rounding, to the sign of a zero, or in another order of summation */
    CG_EXACT_SAFER,          /* right also where the old side overflows or cancels */
    CG_EXACT_UNSAFE          /* may hide NaN or infinity: never fired by cg__rewrite */
} cg_exact;

/* Who reads a node, counted at the start of a sweep: how many, whether an elementwise operation does, and what slices of known sizes read
 * of its elements, as a sum of fractions, if nothing else reads it (else more than 1). By id; a node made since has none. */
typedef struct cg_readers { int count; bool fused; double share; } cg_readers;
typedef struct cg_uses { const cg_readers *at; int n; } cg_uses;
static inline int cg__uses_of(const cg_uses *u, const cg_node *n) { return u && n->id < u->n ? u->at[n->id].count : 1; }
static inline bool cg__is_fused(const cg_uses *u, const cg_node *n) { return u && n->id < u->n && u->at[n->id].fused; }
static inline double cg__share_of(const cg_uses *u, const cg_node *n) { return !u ? 0 : n->id < u->n ? u->at[n->id].share : 2; }

enum { CG_RULE_VARS = 8, CG_CHAIN_MAX = 16, CG_RULES_MAX = 192 };
typedef struct cg_bind {
    cg_node *node[CG_RULE_VARS];
    const cg_attr *attr[CG_RULE_VARS];   /* in order of first mention in match */
    cg_op_id op;                         /* what an @FLAG stands for */
    cg_node *rest[CG_CHAIN_MAX]; int nrest;
    const cg_uses *uses;
} cg_bind;
typedef struct cg_rule {
    const char *name;
    cg_phase phase;
    cg_exact exact;
    const char *match, *replace;                                     /* replace NULL: build */
    const char *when;                                                /* (optional) names of conditions, between spaces */
    cg_node *(*build)(const cg_node *n, const cg_bind *b);           /* (optional) NULL: does not fire */
    bool chain;                                                      /* (optional) the root's operands are all terms of its chain */
    const char *example;                                             /* (optional) for tests, where match cannot be read as an expression */
} cg_rule;
/* Whether a transpose exchanges the last two axes and leaves the others: what a product takes as a flag. */
static inline bool cg__swaps_last(const cg_attr *axes)
{
    bool is = axes->n >= 2;
    for (int i = 0; i < axes->n; i++)
        is &= axes->at[i] == (i < axes->n - 2 ? i : 2 * axes->n - 3 - i);
    return is;
}
static inline cg_node *cg__swapped_last(cg_node *x)
{
    int64_t axes[CG_MAX_RANK];
    for (int i = 0; x && i < x->type.rank; i++)
        axes[i] = i < x->type.rank - 2 ? i : 2 * x->type.rank - 3 - i;
    return x ? cg_transpose(x, axes, x->type.rank) : NULL;
}
typedef bool cg_condition(const cg_node *n, const cg_bind *b);

/* rules.c */
extern const char *const cg__phase_names[CG_PHASE_COUNT];
const char *cg__exact_name(cg_exact e);
int cg__rules(const cg_rule **rows);                                 /* how many */
cg_condition *cg__rule_condition(const char *name, size_t n);        /* NULL: there is none */

/* match.c: the replacement of n by rule i, of any type; NULL: it does not match, or could not be built. uses NULL: everything is read once. */
bool cg__rule_match(int i, const cg_node *n, const cg_uses *uses, cg_bind *out);
cg_node *cg__rule_replace(cg_graph *g, int i, const cg_node *n, const cg_bind *b);
int cg__rules_of(cg_phase phase, cg_op_id op, const int16_t **rows);        /* the rules whose root an operation may be, in table order */
uint64_t cg__rule_operands(const cg_node *n);                       /* of n, and whether a rule's match can be met with such operands */
bool cg__rule_may(int i, uint64_t operands);
bool cg__rule_counts(int i);                                         /* whether its match depends on who reads what */
const char *cg__rule_broken(int i);                                  /* why a row's text is not understood, or NULL: for tests */
/* The terms of the chain that ends in n, of one commutative, associative operation; inner ends are read once. The number of terms. */
int cg__chain(const cg_node *n, const cg_uses *uses, cg_node *terms[CG_CHAIN_MAX]);

/* engine.c */
cg_node *cg__rule_fire(cg_graph *g, int i, cg_node *n);              /* match and replace, with the type of n; NULL: does not fire */
typedef void (*cg_rewrite_log)(void *user, const cg_node *old, const cg_node *new_, const char *rule);
typedef int (*cg_evaluator)(cg_graph *g, cg_node *const *nodes, int n, cg_node **constants, cg_error *err);
typedef struct cg_rewriting {
    const char *off;         /* names of rules and phases that are switched off, between commas; also CG_RULES_OFF */
    int64_t stop_after;      /* 0: never; else no rule fires after so many firings (to find a wrong one by halving); also CG_RULES_STOP */
    cg_rewrite_log log;      /* (optional) told of each replacement */
    void *user;
    int64_t *fired;          /* (optional) counts the firings of each row */
    int64_t *visits;         /* (optional) counts how often a node was looked at */
} cg_rewriting;
/* Rewrites the roots in place, within their graph. A status; err says why. Only memory can fail. evaluate may be NULL: constants stay. */
int cg__rewrite(cg_graph *g, cg_node **roots, int n, cg_evaluator evaluate, cg_error *err);
void cg__rewrite_how(const cg_rewriting *how);                       /* of this thread, until NULL is given */
bool cg__rule_is_off(const char *name, const char *phase);           /* by its name or its phase */
void cg__rule_tell(const char *name, const cg_node *old, const cg_node *new_);       /* the log, if there is one */
/* scan.c: loops as wholes; called by cg__rewrite. */
int cg__rewrite_scans(cg_graph *g, cg_node **roots, int n, cg_error *err);
void cg__list_loop_rewrites(cg_strb *out);
/* fold.c: what is made of constants alone becomes constants, by the evaluator. */
int cg__rewrite_constants(cg_graph *g, cg_node **roots, int n, cg_evaluator evaluate, cg_error *err);

/* Builders that rows name: chains.c (terms of sums and products), shapes.c (views and reductions of views), parts.c, blas.c */
#define CG_RULE_BUILDER(f) cg_node *f(const cg_node *n, const cg_bind *b)
CG_RULE_BUILDER(cg__collect_sum);
CG_RULE_BUILDER(cg__collect_product);
CG_RULE_BUILDER(cg__skip_inner);
CG_RULE_BUILDER(cg__transpose_once);
CG_RULE_BUILDER(cg__reshape_swapped);
CG_RULE_BUILDER(cg__slice_once);
CG_RULE_BUILDER(cg__slice_written);
CG_RULE_BUILDER(cg__write_again);
CG_RULE_BUILDER(cg__write_itself);
CG_RULE_BUILDER(cg__join_parts);
CG_RULE_BUILDER(cg__slice_of_map);
CG_RULE_BUILDER(cg__reduce_squeezed);
CG_RULE_BUILDER(cg__reduce_once);
CG_RULE_BUILDER(cg__reduce_transposed);
CG_RULE_BUILDER(cg__reduce_all);
CG_RULE_BUILDER(cg__sum_of_equal);
CG_RULE_BUILDER(cg__product_form);
CG_RULE_BUILDER(cg__product_transposed);
CG_RULE_BUILDER(cg__product_swapped);

#endif
