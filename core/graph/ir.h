// SPDX-License-Identifier: MIT
/* The graph in one read.
 *
 * A node is one immutable value: op, type, inputs, attributes. Nodes are hash-consed: the same expression built twice is
 * one node, so pointer equality is expression equality. Inputs, shared variables (identity ops) carry a unique id and never merge.
 * A dim of a type is a known size, or an int64 scalar node; equal dims are equal pointers. Names, scopes and creation sites are side tables.
 * Attributes are lists of int64 (or bytes for constants), in the order of the op's `attrs`. An element of a list attribute may stand
 * for an operand: CG_REF(k) is input k of the node (an i64 scalar); so slice bounds and shapes may be symbolic.
 * A node with several outputs has a tuple of types (outs); (get t k) is output k as a value, and only get reads a tuple.
 * A body (of a scan) is closed: its only leaves are args and constants. Its roots are the last inputs of the node that owns it, so
 * hash-consing, copying, rewriting and printing treat it as any other expression; walks over values leave these edges out (cg__reach_values).
 * Ids grow along edges (inputs of a node have smaller ids), so a walk by id is a topological walk and nothing recurses.
 */
#ifndef CG_IR_H
#define CG_IR_H

#include <stdlib.h>
#include "core/graph/sites.h"

typedef struct cg_dim_t { int64_t n; cg_node *sym; } cg_dim_t;          /* sym NULL: the size is n */
typedef struct cg_type { cg_dtype dtype; bool weak; int rank; cg_dim_t dim[CG_MAX_RANK]; } cg_type;

#define CG_REF(k)      (INT64_MIN + 1 + (k))
#define CG_IS_REF(v)   ((v) != CG_NONE && (v) < INT64_MIN + 65536)
#define CG_REF_OF(v)   ((int)((v) - INT64_MIN - 1))

typedef enum { CG_AT_INT, CG_AT_INTS, CG_AT_BOOL, CG_AT_DTYPE, CG_AT_BYTES, CG_AT_NODES /* refs to operands of any type */,
               CG_AT_REAL /* the bits of a double; of forms only */ } cg_attr_kind;
typedef struct cg_attr_row { const char *name; cg_attr_kind kind; } cg_attr_row;
typedef struct cg_attr { int n; const int64_t *at; } cg_attr;           /* BYTES: n bytes at `at` */

typedef enum {
#define OP(name, ...) CG_OP_##name,
#include "core/ops/ops.def"
#define FORM(name, ...) CG_OP_##name,
#include "core/ops/forms.def"
#define ELEM(name, ...) CG_OP_##name,
#include "core/base/elemwise.def"
    CG_OP_COUNT
} cg_op_id;
#define CG_OP_FIRST_ELEM (CG_OP_COUNT - CG_EL_COUNT)

struct cg_node {
    const struct cg_op *op;
    cg_graph *graph;
    int id, nin;
    cg_node **in;
    cg_attr *attr;               /* as many as op->nattrs */
    int nouts;                   /* 0: one value, of `type` */
    int nbody;                   /* the last nbody inputs are roots of a body, not values */
    cg_type *outs;               /* of a tuple */
    uint64_t uid;                /* identity ops only, else 0 */
    cg_array *array;             /* shared variables only */
    cg_node *next;               /* the graph's list, by id */
    cg_type type;                /* last: a node of a graph ends behind the dims that it has, and cg__arena keeps room for who copies a whole type */
};

enum { CG_IDENTITY = 1, CG_COMMUTES = 2, CG_ELEMWISE = 4, CG_LEAF = 8, CG_VIEW = 16 /* emit costs nothing */, CG_DENSE = 32 /* operands are read as placed arrays */,
       CG_COUNTS = 64 /* bare numbers among its operands are i64 */, CG_UNIFIES = 128 /* operands are cast to one dtype */,
       CG_FOLLOWS = 256 /* a bare number that is the last operand before those of attributes takes the first one's dtype */,
       CG_CHOOSES = 512 /* the first operand is a condition, bare numbers among the others take their dtype */,
       CG_DENSE_BOTH = 1024 /* the first two operands are read as placed arrays, or as rows of such */ };
enum { CG_MAX_ATTRS = 8 };
struct cg_lower;
struct cg_loop_builder;
struct cg_spot;
typedef struct cg_op {
    const char *name;
    int nin;                     /* -1: any number; refs of attributes come after these */
    unsigned props;
    int nattrs; cg_attr_row attrs[CG_MAX_ATTRS];
    /* Fills the type from inputs and attributes; may replace attributes by canonical ones. Says why not. */
    int (*infer)(cg_node *n, cg_error *err);
    /* (optional) A form: a name that is written, and what it is made of; no node ever has this op. NULL when that is wrong (the graph says why). */
    cg_node *(*form)(const cg_node *n);
    /* (optional) What an inferred candidate is: CG_ITSELF, or something simpler. NULL: a builder failed and has said why. */
    cg_node *(*simple)(const cg_node *candidate);
    /* gout[i]: gradient of output i, NULL: disconnected (a node of one output is only asked with gout[0]). need[i]: input i is asked for.
     * gin[i], CG_DISCONNECTED before: the gradient for input i, or one of the three kinds of none. NULL: a builder failed and has said why. */
    int (*grad)(const cg_node *n, cg_node *const gout[], const bool need[], cg_node *gin[]);
    int (*lower)(struct cg_lower *, const cg_node *n);       /* (optional) steps that place n; lower.h */
    int (*emit)(struct cg_loop_builder *, const cg_node *n, const struct cg_spot *at);     /* (optional) one element of n inside a LOOP */
} cg_op;
extern const cg_op cg__ops[CG_OP_COUNT];
#define CG_ITSELF       ((cg_node *)-1)
#define CG_ZERO         ((cg_node *)-1)          /* identically zero: n varies with the operand in steps (floor), or not at all */
#define CG_DISCONNECTED ((cg_node *)-2)          /* the operand's value is no part of n's: a size, a position, what a builder cut off */
cg_node *cg__undefined(cg_graph *g, const char *reason);        /* n varies with it, and there is no derivative; grad.c adds whose operand it is */
const char *cg__undefined_reason(const cg_node *grad, const cg_node **at, int *operand);        /* and of which operation's operand (from 0) it is */
bool cg__is_undefined(const cg_node *grad);
bool cg__has_grad(const cg_node *grad);                         /* a node, and none of the above */
static inline cg_op_id cg__op_id(const cg_node *n) { return (cg_op_id)(n->op - cg__ops); }
static inline bool cg__is(const cg_node *n, cg_op_id id) { return n->op == &cg__ops[id]; }

struct cg_graph {
    cg_arena arena;
    cg_map consed;               /* hash -> node */
    cg_node *first, *last;
    int count;
    int loops;                   /* nodes that have a body */
    int branches;                /* ifelse nodes */
    CG_VEC(cg_own_op *) owns;    /* own.h: the caller's own operations */
    struct cg_scan *scan;        /* the innermost loop that is being built */
    uint64_t uids;
    int64_t draws;               /* the largest number of a random draw */
    cg_error error;              /* the first, sticky */
    cg_error *more;              /* those after it: nmore are kept, nerrors were told in all */
    int nmore, nerrors;
    cg_sites sites;              /* sites.h: names, scopes and creation sites */
    const void *caller;          /* while a public builder runs: the user's code after the call */
    cg_map defaults;             /* shared variable -> its default update */
    const char *at;              /* set by cg_at */
    CG_VEC(const char *) scopes; /* paths; the last is open */
    const cg_node *inherit;      /* while the library builds for this node (its gradient, its replacement, its copy) */
    bool deriving;               /* ... its gradient */
};

/* nodes.c: the one way to make a node. Operands NULL: NULL (sticky). Returns the existing node if there is one. */
cg_node *cg__node(cg_graph *g, cg_op_id op, cg_node *const *in, int nin, const cg_attr *attrs);
cg_node *cg__find(const cg_node *candidate);                            /* the node of its graph that is equal to it, or NULL */
bool cg__attr_same(const cg_attr *a, const cg_attr *b, cg_attr_kind kind);
bool cg__type_may_be(const cg_type *a, const cg_type *b);     /* the same, as far as is known before the call */
bool cg__type_same(const cg_type *a, const cg_type *b);
cg_node *cg__leaf(cg_graph *g, cg_op_id op, const cg_type *t, cg_array *array, uint64_t uid);
cg_node *cg__const_i64(cg_graph *g, int64_t v);
cg_node *cg__splat(cg_graph *g, cg_dtype d, double v);                  /* rank-0 constant */
cg_node *cg__splat_as(const cg_node *c, cg_dtype d);                    /* the first element of a constant, cast */
bool cg__is_const(const cg_node *n, double *value);                     /* all elements equal value */
cg_node *cg__graph_fail(cg_graph *g, cg_status code, const char *fmt, ...) CG_PRINTF(3, 4);   /* sticky; returns NULL */
int cg__graph_errors(const cg_graph *g, cg_error *err);                 /* all of them as one text; returns the first's code */
cg_graph *cg__graph_of(cg_node *const *in, int n);                      /* NULL when an operand is NULL or graphs differ (then says so) */
void cg__type_text(const cg_type *t, cg_strb *out);                     /* f32[3,n] */
cg_dim_t cg__dim_of(const cg_node *n, int axis);
cg_node *cg__dim_node(cg_graph *g, cg_dim_t d);
bool cg__dim_same(cg_dim_t a, cg_dim_t b);
bool cg__dim_is(cg_dim_t d, int64_t n);
cg_dim_t cg__dim_mul(cg_graph *g, cg_dim_t a, cg_dim_t b);
/* Nodes that the roots reach, by id (topological). false: no memory. dims of types are reached too. */
typedef CG_VEC(cg_node *) cg_node_vec;
bool cg__reach(cg_node *const *roots, int n, cg_node_vec *out);
bool cg__reach_values(cg_node *const *roots, int n, cg_node_vec *out);  /* without the bodies of scans */
static inline int cg__nvalues(const cg_node *n) { return n->nin - n->nbody; }   /* inputs that are values */
/* The value of an int64 scalar node in its simplest form: constants fold, x+0, x*1. */
cg_node *cg__int(cg_graph *g, cg_op_id op, cg_node *a, cg_node *b);
/* Maps whose keys, and values, are nodes. */
static inline bool cg__map_has(const cg_map *m, const cg_node *n)
{
    uint64_t v;
    return cg__map_get(m, cg__key(n), &v);
}
static inline cg_node *cg__map_node(const cg_map *m, const cg_node *n)      /* or NULL */
{
    uint64_t v;
    return cg__map_get(m, cg__key(n), &v) ? (cg_node *)(uintptr_t)v : NULL;
}
static inline void cg__map_note(bool *failed, cg_map *m, const cg_node *from, const cg_node *to)
{
    *failed |= !to || !cg__map_set(m, cg__key(from), cg__key(to));
}
/* Rebuilds n in graph g with map (node -> node) as a memo; leaves not in map are copied with their identity, or, when g is n's own graph,
 * stay: then this is substitution. NULL: no memory, which is g's error. */
cg_node *cg__clone(cg_graph *g, cg_node *n, cg_map *memo);
/* The same for n roots of one graph, in one walk that leaves the map as it is. */
bool cg__clone_all(cg_graph *g, cg_node *const *roots, cg_node **out, int n, const cg_map *memo);
cg_node *cg__default_update(const cg_node *var);                        /* or NULL */
cg_node *cg__get(cg_node *tuple, int k);                                /* output k; of a node with one output: itself */
/* grad.c: reverse mode. out[i]: the gradient of wrt[i], or a kind of none. */
typedef struct cg_backward {
    cg_node *const *root, *const *seed; int nroots;                     /* where it begins, with which gradients (NULL: none) */
    int nknown;                                                         /* of the first roots the gradient is the seed, whatever else uses them */
    cg_node *const *wrt; int nwrt;
    cg_node *const *constant; int nconstant;                            /* not crossed */
} cg_backward;
int cg__backward(const cg_backward *b, cg_node **out);
cg_node *cg__zeros(cg_graph *g, const cg_type *t);

#endif
