// SPDX-License-Identifier: MIT
/* The verifier: what ir.h promises, checked for every node of a graph. For tests and for who writes an op or a rule.
 *
 * An op's infer runs again on what the node became: type and attributes must come out the same, and no new node may be
 * needed for it (its sizes are in the graph already).
 */
#include "core/graph/ir.h"

static const char *bad_inputs(const cg_node *n)
{
    if (n->op->nin >= 0 && n->nin < n->op->nin)
        return "operands are missing";
    for (int k = 0; k < n->nin; k++)
        if (!n->in[k] || n->in[k]->graph != n->graph || n->in[k]->id >= n->id)
            return "an input is missing, foreign or younger";
    return NULL;
}

static const char *bad_one_type(const cg_node *n, const cg_type *t)
{
    if ((unsigned)t->dtype >= CG_DTYPE_COUNT || t->rank < 0 || t->rank > CG_MAX_RANK)
        return "it has no dtype or rank";
    for (int k = 0; k < t->rank; k++) {
        const cg_node *d = t->dim[k].sym;
        if (!d && t->dim[k].n < 0)
            return "a known dim is negative";
        if (!d)
            continue;
        if (d->graph != n->graph || d->type.rank != 0 || d->type.dtype != CG_I64)
            return "a dim is not an i64 scalar of the graph";
        if (cg__is(d, CG_OP_const))
            return "a dim that is known is a node";
        if (d->id >= n->id && !cg__is(n, CG_OP_input))
            return "a dim is younger";
    }
    return t->weak && !cg__is(n, CG_OP_const) ? "only a constant may be weak" : NULL;
}

static const char *bad_type(const cg_node *n)
{
    const char *why = n->nouts ? NULL : bad_one_type(n, &n->type);
    for (int k = 0; k < n->nouts && !why; k++)
        why = bad_one_type(n, &n->outs[k]);
    return n->nouts && n->type.dtype != CG_DTYPE_COUNT ? "a tuple has a type of its own" : why;
}

static const char *bad_ref(const cg_node *n, cg_attr_kind kind, int64_t value, bool *used)
{
    const int k = CG_REF_OF(value);
    if (k < 0 || k >= n->nin)
        return "an attribute refers to no operand";
    if (kind != CG_AT_NODES && (n->in[k]->type.rank != 0 || n->in[k]->type.dtype != CG_I64))
        return "an attribute refers to an operand that is not an i64 scalar";
    used[k] = true;
    return NULL;
}

static bool holds_refs(cg_attr_kind kind) { return kind == CG_AT_INT || kind == CG_AT_INTS || kind == CG_AT_NODES; }

/* Operands after op->nin are there because an attribute refers to them. */
static const char *bad_refs(const cg_node *n)
{
    bool used[64] = { false };
    const char *why = NULL;
    if (n->op->nin < 0 || n->nin > CG_LEN(used))
        return NULL;
    for (int i = 0; i < n->op->nattrs && !why; i++)
        for (int k = 0; holds_refs(n->op->attrs[i].kind) && k < n->attr[i].n && !why; k++)
            if (CG_IS_REF(n->attr[i].at[k]))
                why = bad_ref(n, n->op->attrs[i].kind, n->attr[i].at[k], used);
    for (int k = n->op->nin; k < n->nin && !why; k++)
        if (!used[k])
            why = "no attribute refers to an operand after the op's own";
    return why;
}

static const char *bad_leaf(const cg_node *n)
{
    size_t bytes = cg__dtypes[n->type.dtype].bytes;
    if (!(n->op->props & CG_IDENTITY) != !n->uid)
        return "an identity op has no id, or another op has one";
    if (cg__is(n, CG_OP_shared) != (n->array != NULL))
        return "a shared variable has no array, or another op has one";
    if (!cg__is(n, CG_OP_const))
        return NULL;
    for (int k = 0; k < n->type.rank; k++)
        bytes *= (size_t)n->type.dim[k].n;
    return (size_t)n->attr[0].n == bytes ? NULL : "a constant has more or fewer bytes than its type";
}

static bool same_attrs(const cg_node *a, const cg_node *b)
{
    for (int i = 0; i < a->op->nattrs; i++)
        if (!cg__attr_same(&a->attr[i], &b->attr[i], a->op->attrs[i].kind))
            return false;
    return true;
}

static const char *bad_inference(const cg_node *n)
{
    cg_graph *g = n->graph;
    const char *const at = g->at;
    const int count = g->count;
    cg_attr attr[CG_MAX_ATTRS] = { { 0 } };
    cg_error err = { 0 };
    cg_node again = *n;
    if (n->op->props & CG_LEAF)
        return NULL;
    for (int k = 0; k < n->op->nattrs; k++)
        attr[k] = n->attr[k];
    again.attr = attr;
    g->at = NULL;                        /* the sizes that are found again were built elsewhere */
    const int rc = n->op->infer(&again, &err);
    g->at = at;
    if (rc < 0)
        return err.code == CG_ENOMEM ? "no memory to infer its type" : "its operands do not fit any more";
    bool same = cg__type_same(&again.type, &n->type) && again.nouts == n->nouts && again.nbody == n->nbody;
    for (int k = 0; same && k < n->nouts; k++)
        same = cg__type_same(&again.outs[k], &n->outs[k]);
    if (!same)
        return "its type is not what its operands give";
    if (!same_attrs(&again, n))
        return "its attributes are not canonical";
    return g->count == count ? NULL : "its sizes are not in the graph";
}

static const char *broken(const cg_node *n)
{
    static const char *(*const checks[])(const cg_node *) = { bad_inputs, bad_type, bad_refs, bad_leaf, bad_inference };
    const char *why = NULL;
    for (int i = 0; i < CG_LEN(checks) && !why; i++)
        why = checks[i](n);
    return why ? why : cg__find(n) == n ? NULL : "the table of expressions lacks it, or has an equal node";
}

CG_API int cg_graph_verify(const cg_graph *g)
{
    cg_error err = { 0 };
    int id = 0;
    for (const cg_node *n = g ? g->first : NULL; n && !err.code; n = n->next, id++) {
        const char *why = n->id != id ? "its id is out of order" : n->graph != g ? "it belongs to another graph" : broken(n);
        if (why)
            cg__fail(&err, CG_EINVAL, "cg_graph_verify: node %d, %s: %s", n->id, cg__label(n), why);
    }
    if (g && !err.code && (id != g->count || g->consed.n != (size_t)g->count))
        cg__fail(&err, CG_EINVAL, "cg_graph_verify: the graph counts %d nodes, its list %d, its table %zu", g->count, id, g->consed.n);
    return err.code ? cg__set_last(&err) : CG_OK;
}
