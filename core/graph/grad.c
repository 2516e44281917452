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
        return cg__graph_fail(g, CG_ENOMEM, "cg_grad: no memory");
    *u = (undefined){ .super = { .op = &undefined_op, .graph = g }, .reason = reason };
    return &u->super;
}

bool cg__is_undefined(const cg_node *grad)
{
    return grad && grad != CG_ZERO && grad != CG_DISCONNECTED && grad->op == &undefined_op;
}

bool cg__has_grad(const cg_node *grad)
{
    return grad && grad != CG_ZERO && grad != CG_DISCONNECTED && grad->op != &undefined_op;
}

static cg_node *zeros(cg_graph *g, const cg_type *t)
{
    cg_node *dims[CG_MAX_RANK];
    for (int k = 0; k < t->rank; k++)
        dims[k] = cg__dim_node(g, t->dim[k]);
    return cg_broadcast_to(cg__splat(g, t->dtype, 0), dims, t->rank);
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
        cg_node *none = zeros(w->g, &grad->type);
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
            gout[i] = kind ? zeros(n->graph, n->nouts ? &n->outs[i] : &n->type) : NULL;
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

/* ---- the public functions */

typedef struct request {
    cg_graph *g;
    cg_node *cost, *const *wrt, **const *out;
    int n, nout;
    const cg_grad_spec *o;
} request;

/* NULL: what is asked for has already failed, or nothing is asked for. */
static cg_graph *graph_of(cg_node *cost, cg_node *const *wrt, int n, const cg_grad_spec *o)
{
    if (cost)
        return cost->graph;
    return n > 0 && wrt[0] ? wrt[0]->graph : o && o->nknown > 0 ? cg_node_graph(o->known[0].node) : NULL;
}

#define REFUSE(r, code, ...) (cg__graph_fail((r)->g, code, "cg_grad: " __VA_ARGS__), code)

/* An operand that is NULL is what an earlier error left, which is told already. */
static int check_node(const request *r, const cg_node *n, const char *what, int i)
{
    if (!n)
        return r->g->error.code ? CG_EINVAL : REFUSE(r, CG_EINVAL, "%s %d is NULL", what, i);
    if (n->graph != r->g)
        return REFUSE(r, CG_EINVAL, "%s %d, %s, belongs to another graph", what, i, cg__label(n));
    return n->nouts ? REFUSE(r, CG_EINVAL, "%s %d, %s, has several outputs; take one with cg_output", what, i, cg__label(n)) : CG_OK;
}

static int check_known(const request *r, int i)
{
    const cg_node *node = r->o->known[i].node, *grad = r->o->known[i].grad;
    int rc = check_node(r, node, "known node", i);
    rc = rc == CG_OK ? check_node(r, grad, "known gradient", i) : rc;
    if (rc < 0)
        return rc;
    cg_type t = grad->type;
    t.dtype = node->type.dtype;
    if (!cg__is_float(node->type.dtype) || !cg__is_float(grad->type.dtype))
        return REFUSE(r, CG_EDTYPE, "%s cannot have the gradient %s: both must be of floats", cg__label(node), cg__label(grad));
    if (!cg__type_may_be(&node->type, &t))
        return REFUSE(r, CG_ESHAPE, "%s cannot have the gradient %s, which has another shape", cg__label(node), cg__label(grad));
    for (int k = 0; k < i; k++)
        if (r->o->known[k].node == node)
            return REFUSE(r, CG_EINVAL, "the gradient of %s is given twice", cg__label(node));
    return CG_OK;
}

static int check_cost(const request *r)
{
    if (!r->cost)
        return r->g->error.code ? CG_EINVAL /* its builder has failed */ : r->o->nknown ? CG_OK : REFUSE(r, CG_EINVAL, "the cost is NULL");
    if (r->cost->nouts || r->cost->type.rank != 0 || !cg__is_float(r->cost->type.dtype))
        return REFUSE(r, CG_ESHAPE, "the cost must be a float scalar, is %s; take its mean or sum", cg__label(r->cost));
    return CG_OK;
}

static int check(const request *r)
{
    int rc = r->o->struct_size == sizeof *r->o ? CG_OK : REFUSE(r, CG_EINVAL, "the options are not made by CG_GRAD of this version");
    if (rc == CG_OK && r->n != r->nout)
        rc = REFUSE(r, CG_EINVAL, "%d variables but %d places for gradients", r->n, r->nout);
    if (rc == CG_OK)
        rc = check_cost(r);
    for (int i = 0; i < r->n && rc == CG_OK; i++) {
        rc = check_node(r, r->wrt[i], "variable", i);
        if (rc == CG_OK && !cg__is_float(r->wrt[i]->type.dtype))
            rc = REFUSE(r, CG_EDTYPE, "%s is not of floats and has no derivative", cg__label(r->wrt[i]));
    }
    for (int i = 0; i < r->o->nknown && rc == CG_OK; i++)
        rc = check_known(r, i);
    for (int i = 0; i < r->o->nconstant && rc == CG_OK; i++)
        rc = check_node(r, r->o->constant[i], "constant", i);
    return rc;
}

static int no_path(const request *r, const cg_node *wrt)
{
    const char *to = r->cost ? cg__label(r->cost) : "what has a known gradient";
    return REFUSE(r, CG_EINVAL, "%s does not reach %s; leave it out, or choose with .disconnected what stands for its gradient", cg__label(wrt), to);
}

static int not_defined(const request *r, const cg_node *wrt, const undefined *u)
{
    return REFUSE(r, CG_EUNSUPPORTED, "%s has no gradient, since %s has no derivative by its operand %d: %s", cg__label(wrt), cg__label(u->at),
                  u->operand + 1, u->reason);
}

/* What the caller gets for variable i; each that there is none for gives its sentence. */
static int deliver(const request *r, int i, cg_node *grad)
{
    const cg_node *wrt = r->wrt[i];
    if (cg__is_undefined(grad))
        return not_defined(r, wrt, (const undefined *)grad);
    if (grad == CG_DISCONNECTED && r->o->disconnected == CG_DISCONNECTED_NULL)
        return CG_OK;
    if (grad == CG_DISCONNECTED && r->o->disconnected == CG_DISCONNECTED_ERROR)
        return no_path(r, wrt);
    *r->out[i] = cg__has_grad(grad) ? grad : zeros(r->g, &wrt->type);
    return *r->out[i] ? CG_OK : CG_ENOMEM;
}

/* The roots, those of known gradients first: a cost among them is known as well. 0: no memory. */
static int roots_of(const request *r, cg_node **root, cg_node **seed)
{
    bool cost = r->cost != NULL, ok = true;
    int n = 0;
    for (; n < r->o->nknown; n++) {
        root[n] = r->o->known[n].node;
        seed[n] = cg_cast(r->o->known[n].grad, root[n]->type.dtype);
        cost = cost && root[n] != r->cost;
        ok = ok && seed[n];
    }
    if (cost) {
        root[n] = r->cost;
        seed[n] = cg__splat(r->g, r->cost->type.dtype, 1);
        ok = ok && seed[n++];
    }
    return ok ? n : 0;
}

static int derive(const request *r)
{
    const cg_grad_spec *o = r->o;
    cg_node **room = cg__zalloc((size_t)(r->n + 2 * (o->nknown + 1)) * sizeof *room), **root = room ? room + r->n : NULL, **seed = room ? root + o->nknown + 1 : NULL;
    const int nroots = room ? roots_of(r, root, seed) : 0;
    int rc = nroots ? cg__backward(&(cg_backward){ .root = root, .seed = seed, .nroots = nroots, .nknown = o->nknown, .wrt = r->wrt, .nwrt = r->n,
                                                   .constant = o->constant, .nconstant = o->nconstant }, room) : CG_ENOMEM;
    for (int i = 0, all = rc; i < r->n && all == CG_OK; i++) {
        const int one = deliver(r, i, room[i]);
        rc = rc == CG_OK ? one : rc;
    }
    cg__free(room);
    return rc;
}

/* What failed below has said so, or it was memory; a size for which there was none may have gone unnoticed. */
static int derive_and_say(const request *r)
{
    cg_error *last = cg__thread_error();
    const cg_status before = last->code;
    last->code = CG_OK;
    int rc = derive(r);
    if (rc == CG_OK && last->code == CG_ENOMEM)
        rc = CG_ENOMEM;
    for (int i = 0; i < r->nout && rc < 0; i++)
        *r->out[i] = NULL;
    if (rc == CG_OK)
        last->code = before;
    else if (!last->code)
        REFUSE(r, (cg_status)rc, "failed: %s", cg_status_name((cg_status)rc));
    return rc == CG_OK ? CG_OK : (int)last->code;
}

CG_API int cg_grad_with(cg_node *cost, cg_node *const *wrt, int n, cg_node **const *out, int nout, const cg_grad_spec *o)
{
    CG_BUILDER(graph_of(cost, wrt, n, o));
    const request r = { .g = graph_of(cost, wrt, n, o), .cost = cost, .wrt = wrt, .out = out, .n = n, .nout = nout, .o = o ? o : CG_GRAD() };
    for (int i = 0; i < nout; i++)
        *out[i] = NULL;
    const int rc = r.g ? check(&r) : CG_EINVAL;
    return rc == CG_OK ? derive_and_say(&r) : rc;
}

CG_API int cg_grad(cg_node *cost, cg_node *const *wrt, int n, cg_node **const *out, int nout)
{
    CG_BUILDER(cg_node_graph(cost));
    return cg_grad_with(cost, wrt, n, out, nout, NULL);
}
