// SPDX-License-Identifier: MIT
/* Reverse-mode differentiation: one grad call a node, from the roots down by id.
 *
 * Only nodes on a path from a wanted variable to a root are asked. Contributions to a node are summed in the order in
 * which its users are visited (descending ids), so the result is deterministic. Derivative nodes inherit the site of the
 * node whose gradient they belong to.
 *
 * What has reached a node so far is a gradient, or why there is none (ir.h): CG_ZERO from where nothing varies, undefined
 * from an operation that has no derivative; nothing at all: the node is disconnected from the roots. All that such a node
 * hands on is of the same kind, but an operand that nothing varies with stays CG_ZERO: floor hides an undefined
 * derivative. So a kind is an error only if it arrives at a variable that was asked for.
 *
 * The gradient of what has a guard (guard.h) counts where the guard holds. Where it leaves it, it becomes an ifelse with zeros: so nothing
 * is derived of a branch that is not taken, and a NaN there stays there. Variables and known nodes have no guard.
 */
#include "core/graph/build.h"
#include "core/graph/guard.h"

enum { WANTED = 1, KNOWN = 2, CONSTANT = 4 };
typedef struct walk {
    cg_graph *g;
    cg_node_vec nodes;
    void **grads;                        /* by id: the gradient so far; of a tuple an array of one an output, in the arena */
    cg_guards guards;
    uint8_t *marks;                      /* by id: WANTED: a variable reaches a root through it; KNOWN, CONSTANT: as the caller said */
    cg_arena arena;
} walk;

/* ---- no gradient */

static const cg_op undefined_op = { .name = "undefined" };
typedef struct undefined { cg_node super; const char *reason; const cg_node *at; int operand; } undefined;     /* at: whose operand it is, once known */

cg_node *cg__undefined(cg_graph *g, const char *reason)
{
    undefined *u = cg__arena(&g->arena, sizeof *u);
    if (!u)
        return cg__graph_fail(g, CG_ENOMEM, "no memory for a derivative");
    *u = (undefined){ .super = { .op = &undefined_op, .graph = g }, .reason = reason };
    return &u->super;
}

const char *cg__undefined_reason(const cg_node *grad, const cg_node **at, int *operand)
{
    const undefined *u = (const undefined *)grad;
    *at = u->at;
    *operand = u->operand;
    return u->reason;
}

bool cg__is_undefined(const cg_node *grad)
{
    return grad && grad != CG_ZERO && grad != CG_DISCONNECTED && grad->op == &undefined_op;
}

bool cg__has_grad(const cg_node *grad)
{
    return grad && grad != CG_ZERO && grad != CG_DISCONNECTED && grad->op != &undefined_op;
}

cg_node *cg__zeros(cg_graph *g, const cg_type *t)
{
    return cg__broadcast_like(cg__splat(g, t->dtype, 0), t);
}

/* ---- what has reached a node */

/* Whether what a user of n hands to it matters. */
static bool takes_part(const walk *w, const cg_node *n)
{
    return (w->marks[n->id] & (WANTED | KNOWN)) == WANTED;
}

static void mark_paths(walk *w)
{
    for (int i = 0; i < w->nodes.n; i++) {
        const cg_node *at = w->nodes.at[i];
        for (int k = 0; k < cg__nvalues(at) && !(w->marks[at->id] & (WANTED | CONSTANT)); k++)
            if (takes_part(w, at->in[k]))
                w->marks[at->id] |= WANTED;
    }
}

static cg_node *sum_of(cg_node *have, cg_node *more)
{
    if (!have || cg__is_undefined(more))
        return more;
    if (more == CG_ZERO || cg__is_undefined(have))
        return have;
    return have == CG_ZERO ? more : cg_add(have, more);
}

static int add_grad(walk *w, cg_node *n, cg_node *more)
{
    if (more == CG_DISCONNECTED)
        return CG_OK;
    cg_node *sum = more ? sum_of(w->grads[n->id], more) : NULL;
    if (sum)
        w->grads[n->id] = sum;
    return sum ? CG_OK : CG_ENOMEM;
}

/* The gradient that n hands to its operand k, as it counts where that is computed. NULL: no memory. */
static cg_node *leaving(walk *w, const cg_node *n, int k, cg_node *grad)
{
    const cg_guard *at = NULL, *to = cg__guard_of(&w->guards, n->in[k]);
    if (!cg__has_grad(grad))
        return grad;
    if (!cg__guard_read(&w->guards, n, k, &at))
        return NULL;
    for (; at != to && grad; at = at->outer) {
        cg_node *none = cg__zeros(w->g, &grad->type);
        grad = cg__node(w->g, CG_OP_ifelse, (cg_node *[]){ at->cond, at->side ? grad : none, at->side ? none : grad }, 3, NULL);
    }
    return grad;
}

/* What reaches output `get` of a tuple is kept beside that of its other outputs. */
static int add_to_tuple(walk *w, const cg_node *get)
{
    const cg_node *tuple = get->in[0];
    cg_node **list = w->grads[tuple->id], *grad = leaving(w, get, 0, w->grads[get->id]);
    const int64_t k = get->attr[0].at[0];
    if (!list && !(w->grads[tuple->id] = list = cg__arena(&w->arena, (size_t)tuple->nouts * sizeof *list)))
        return CG_ENOMEM;
    list[k] = grad ? sum_of(list[k], grad) : NULL;
    return list[k] ? CG_OK : CG_ENOMEM;
}

/* ---- asking a node */

/* The kind of all that n hands on, NULL: gradients. */
static cg_node *kind_of(cg_node *const *gout, int nout)
{
    cg_node *kind = CG_ZERO;
    for (int i = 0; i < nout; i++) {
        if (cg__is_undefined(gout[i]))
            return gout[i];
        kind = cg__has_grad(gout[i]) ? NULL : kind;
    }
    return kind;
}

/* Operations are asked with gradients. For a kind, zeros tell which operands they vary with. */
static bool only_nodes(const cg_node *n, cg_node **gout, int nout, const cg_node *kind)
{
    bool ok = true;
    for (int i = 0; i < nout && ok; i++)
        if (gout[i] && !cg__has_grad(gout[i])) {
            gout[i] = kind ? cg__zeros(n->graph, n->nouts ? &n->outs[i] : &n->type) : NULL;
            ok = gout[i] || !kind;
        }
    return ok;
}

/* What operand k of n is given, where n handed on `kind`. */
static int hand_on(walk *w, const cg_node *n, int k, cg_node *grad, cg_node *kind)
{
    if (cg__is_undefined(grad) && !((undefined *)grad)->at) {
        ((undefined *)grad)->at = n;
        ((undefined *)grad)->operand = k;
    }
    return add_grad(w, n->in[k], kind && grad && grad != CG_DISCONNECTED && grad != CG_ZERO ? kind : leaving(w, n, k, grad));
}

/* Asks n for the gradients of its inputs, given those of its outputs. */
static int ask(walk *w, cg_node *n, cg_node **gout)
{
    const int nout = n->nouts ? n->nouts : 1;
    cg_node **gin = cg__zalloc((size_t)n->nin * sizeof *gin), *kind = kind_of(gout, nout);
    bool *need = cg__zalloc((size_t)n->nin * sizeof *need);
    const cg_node *inherit = w->g->inherit;
    const bool deriving = w->g->deriving;
    int rc = gin && need ? CG_OK : CG_ENOMEM;
    for (int k = 0; k < cg__nvalues(n) && rc == CG_OK; k++) {
        need[k] = takes_part(w, n->in[k]);
        gin[k] = CG_DISCONNECTED;
    }
    w->g->inherit = n;
    w->g->deriving = true;
    if (rc == CG_OK)
        rc = only_nodes(n, gout, nout, kind) ? n->op->grad(n, gout, need, gin) : CG_ENOMEM;
    for (int k = 0; k < cg__nvalues(n) && rc == CG_OK; k++)
        rc = need[k] ? hand_on(w, n, k, gin[k], kind) : CG_OK;
    w->g->inherit = inherit;
    w->g->deriving = deriving;
    cg__free(gin);
    cg__free(need);
    return rc;
}

/* Node n, whose gradient is complete, hands it on. What an arg is made of are its sizes. */
static int step(walk *w, cg_node *n)
{
    void *here = w->grads[n->id];
    cg_node *gout = here;
    if (!here || !cg__nvalues(n) || cg__is(n, CG_OP_arg) || (w->marks[n->id] & (WANTED | CONSTANT)) != WANTED)
        return CG_OK;
    return cg__is(n, CG_OP_get) ? add_to_tuple(w, n) : ask(w, n, n->nouts ? here : &gout);
}

static int begin(walk *w, const cg_backward *b)
{
    const size_t count = (size_t)w->g->count;
    int rc = CG_OK;
    w->grads = cg__zalloc(count * sizeof *w->grads);
    w->marks = cg__zalloc(count);
    if (!w->grads || !w->marks || !cg__reach_values(b->root, b->nroots, &w->nodes) ||
        !cg__guards_find(&w->guards, &w->nodes, b->root, b->nroots, b->wrt, b->nwrt))
        return CG_ENOMEM;
    for (int i = 0; i < b->nconstant; i++)
        w->marks[b->constant[i]->id] |= CONSTANT;
    for (int i = 0; i < b->nwrt; i++)
        w->marks[b->wrt[i]->id] |= WANTED;
    for (int i = 0; i < b->nknown; i++)
        w->marks[b->root[i]->id] |= KNOWN;
    mark_paths(w);
    for (int i = 0; i < b->nroots && rc == CG_OK; i++)
        rc = b->seed[i] ? add_grad(w, b->root[i], b->seed[i]) : CG_OK;
    return rc;
}

int cg__backward(const cg_backward *b, cg_node **out)
{
    walk w = { .g = b->root[0]->graph };
    int rc = begin(&w, b);
    for (int i = w.nodes.n - 1; i >= 0 && rc == CG_OK; i--)
        rc = step(&w, w.nodes.at[i]);
    for (int i = 0; i < b->nwrt && rc == CG_OK; i++)
        if (!(out[i] = w.grads[b->wrt[i]->id]))
            out[i] = CG_DISCONNECTED;
    CG_VEC_FREE(&w.nodes);
    cg__free(w.grads);
    cg__free(w.marks);
    cg__guards_free(&w.guards);
    cg__arena_free(&w.arena);
    return rc;
}
