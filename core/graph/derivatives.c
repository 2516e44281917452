// SPDX-License-Identifier: MIT
/* What is asked of derivatives: gradients, products with the matrix J of all derivatives, J itself, and the Hessian. All are made of
 * backward walks (grad.c).
 *
 *     u' J     one walk from f, that u is the gradient of
 *     J v      two: u' J is linear in u, a placeholder, so its derivative by u, along v, is J v, whatever u is. What of the first walk still
 *              reads u afterwards (sizes, outputs of loops that are not used) reads zeros instead.
 *     J        a loop over the elements of f: in step t, u is 1 at element t
 *     H v      the gradient of the cost, and v times its derivatives: H is symmetric
 *     H        J of the gradient
 */
#include "core/graph/build.h"
#include "core/graph/scan.h"

typedef struct list { cg_node *const *at; int n; } list;
typedef struct request request;
/* room is for four nodes an expression, a variable and a known gradient each. */
typedef int work(const request *r, cg_node **room);
typedef enum { OF_COST = 1, KNOWN = 2, ALONG_F = 4, ALONG_WRT = 8, EACH_F = 16 } task;
struct request {
    const char *who;                     /* the function's name: each sentence begins with it */
    task task;                           /* OF_COST: cost is derived, else f; KNOWN: gradients may be known; ALONG_...: what the points are beside; EACH_F: results are f's, else the variables' */
    work *make;
    cg_graph *g;
    cg_node *cost;
    list f, wrt, points;
    cg_node **const *out; int nout;
    const cg_grad_spec *o;
};

/* The graph of the first operand that there is. NULL: what is asked for has already failed, or nothing is asked for. */
static cg_graph *graph_of(cg_node *cost, list f, list wrt, const cg_grad_spec *o)
{
    cg_node *first = cost ? cost : f.n > 0 && f.at[0] ? f.at[0] : wrt.n > 0 ? wrt.at[0] : NULL;
    return cg_node_graph(first || !o || o->nknown < 1 ? first : o->known[0].node);
}

/* ---- what is asked for makes sense */

#define REFUSE(r, code, fmt, ...) (cg__graph_fail((r)->g, code, "%s: " fmt, (r)->who, __VA_ARGS__), code)

/* An operand that is NULL is what an earlier error left, which is told already. */
static int check_node(const request *r, const cg_node *n, const char *what, int i)
{
    if (!n)
        return r->g->error.code ? CG_EINVAL : REFUSE(r, CG_EINVAL, "%s %d is NULL", what, i);
    if (n->graph != r->g)
        return REFUSE(r, CG_EINVAL, "%s %d, %s, belongs to another graph", what, i, cg__label(n));
    return n->nouts ? REFUSE(r, CG_EINVAL, "%s %d, %s, has several outputs; take one with cg_output", what, i, cg__label(n)) : CG_OK;
}

static int check_floats(const request *r, list l, const char *what)
{
    int rc = CG_OK;
    for (int i = 0; i < l.n && rc == CG_OK; i++) {
        rc = check_node(r, l.at[i], what, i);
        if (rc == CG_OK && !cg__is_float(l.at[i]->type.dtype))
            rc = REFUSE(r, CG_EDTYPE, "%s is not of floats and has no derivative", cg__label(l.at[i]));
    }
    return rc;
}

/* value is what stands beside node, element by element: its gradient, its point. */
static int check_beside(const request *r, const cg_node *node, const char *what, const cg_node *value)
{
    cg_type t = value->type;
    t.dtype = node->type.dtype;
    if (!cg__is_float(node->type.dtype) || !cg__is_float(value->type.dtype))
        return REFUSE(r, CG_EDTYPE, "%s cannot have the %s %s: both must be of floats", cg__label(node), what, cg__label(value));
    if (!cg__type_may_be(&node->type, &t))
        return REFUSE(r, CG_ESHAPE, "%s cannot have the %s %s, which has another shape", cg__label(node), what, cg__label(value));
    return CG_OK;
}

static int check_known(const request *r, int i)
{
    const cg_node *node = r->o->known[i].node, *grad = r->o->known[i].grad;
    int rc = check_node(r, node, "known node", i);
    rc = rc == CG_OK ? check_node(r, grad, "known gradient", i) : rc;
    rc = rc == CG_OK ? check_beside(r, node, "gradient", grad) : rc;
    for (int k = 0; k < i && rc == CG_OK; k++)
        if (r->o->known[k].node == node)
            rc = REFUSE(r, CG_EINVAL, "the gradient of %s is given twice", cg__label(node));
    return rc;
}

static int check_cost(const request *r)
{
    if (!r->cost)
        return r->g->error.code ? CG_EINVAL /* its builder has failed */ : r->o->nknown ? CG_OK : REFUSE(r, CG_EINVAL, "the cost is %s", "NULL");
    if (r->cost->nouts || r->cost->type.rank != 0 || !cg__is_float(r->cost->type.dtype))
        return REFUSE(r, CG_ESHAPE, "the cost must be a float scalar, is %s; take its mean or sum", cg__label(r->cost));
    return CG_OK;
}

/* Points beside the nodes that they belong to; a NULL stands for zeros. */
static int check_points(const request *r, list of)
{
    int rc = of.n == r->points.n ? CG_OK : REFUSE(r, CG_EINVAL, "%d points for %d nodes", r->points.n, of.n);
    for (int i = 0; i < of.n && rc == CG_OK; i++)
        if (r->points.at[i]) {
            rc = check_node(r, r->points.at[i], "point", i);
            rc = rc == CG_OK ? check_beside(r, of.at[i], "point", r->points.at[i]) : rc;
        }
    return rc;
}

static int check_options(const request *r)
{
    const int n = r->task & EACH_F ? r->f.n : r->wrt.n;
    if (r->o->struct_size != sizeof *r->o)
        return REFUSE(r, CG_EINVAL, "the options are not made by %s of this version", "CG_GRAD");
    if (n != r->nout)
        return REFUSE(r, CG_EINVAL, "%d %s but %d places for gradients", n, r->task & EACH_F ? "expressions" : "variables", r->nout);
    if (r->o->nknown && !(r->task & KNOWN))
        return REFUSE(r, CG_EINVAL, "%s are for cg_grad_with", "known gradients");
    int rc = CG_OK;
    for (int i = 0; i < r->o->nconstant && rc == CG_OK; i++)
        rc = check_node(r, r->o->constant[i], "constant", i);
    return rc;
}

/* What there may be side by side: the derivatives of f by wrt have the axes of both. */
static int check_ranks(const request *r, const cg_node *f, const cg_node *wrt)
{
    const int rank = f->type.rank + wrt->type.rank;
    return rank <= CG_MAX_RANK ? CG_OK : REFUSE(r, CG_ESHAPE, "the derivatives of %s by %s have rank %d, more than %d", cg__label(f), cg__label(wrt), rank, CG_MAX_RANK);
}

static int check(const request *r)
{
    int rc = check_options(r);
    rc = rc == CG_OK && r->task & OF_COST ? check_cost(r) : rc;
    rc = rc == CG_OK ? check_floats(r, r->f, "expression") : rc;
    rc = rc == CG_OK ? check_floats(r, r->wrt, "variable") : rc;
    if (rc == CG_OK && r->task & (ALONG_F | ALONG_WRT))
        rc = check_points(r, r->task & ALONG_F ? r->f : r->wrt);
    for (int i = 0; i < r->o->nknown && rc == CG_OK; i++)
        rc = check_known(r, i);
    return rc;
}

/* ---- what the caller gets */

static int not_defined(const request *r, const cg_node *whose, const cg_node *undefined)
{
    const cg_node *at;
    int operand;
    const char *reason = cg__undefined_reason(undefined, &at, &operand);
    return REFUSE(r, CG_EUNSUPPORTED, "%s has no %s, since %s has no derivative by its operand %d: %s", cg__label(whose), r->task & EACH_F ? "derivative" : "gradient",
                  cg__label(at), operand + 1, reason);
}

static int no_path(const request *r, const cg_node *whose)
{
    const char *to = r->cost ? cg__label(r->cost) : r->f.n == 1 ? cg__label(r->f.at[0]) : r->f.n ? "any of the expressions" : "what has a known gradient";
    if (r->task & EACH_F)
        return REFUSE(r, CG_EINVAL, "no variable reaches %s; leave it out, or choose with .disconnected what stands for its derivative", cg__label(whose));
    return REFUSE(r, CG_EINVAL, "%s does not reach %s; leave it out, or choose with .disconnected what stands for its gradient", cg__label(whose), to);
}

/* What the caller gets for result i, of type t, which belongs to the node `whose`; each that there is none for gives its sentence. */
static int deliver(const request *r, int i, cg_node *value, const cg_node *whose, const cg_type *t)
{
    if (cg__is_undefined(value))
        return not_defined(r, whose, value);
    if (value == CG_DISCONNECTED && r->o->disconnected == CG_DISCONNECTED_NULL)
        return CG_OK;
    if (value == CG_DISCONNECTED && r->o->disconnected == CG_DISCONNECTED_ERROR)
        return no_path(r, whose);
    *r->out[i] = cg__has_grad(value) ? value : cg__zeros(r->g, t);
    return *r->out[i] ? CG_OK : CG_ENOMEM;
}

/* Those of the variables; the status is the first that failed. */
static int deliver_gradients(const request *r, cg_node *const *grad)
{
    int rc = CG_OK;
    for (int i = 0; i < r->wrt.n && rc != CG_ENOMEM; i++) {
        const int one = deliver(r, i, grad[i], r->wrt.at[i], &r->wrt.at[i]->type);
        rc = rc == CG_OK ? one : rc;
    }
    return rc;
}

/* ---- walks */

/* The gradients of n roots, whose own are the seeds, by the variables. */
static int walk(const request *r, cg_node *const *root, cg_node *const *seed, int n, int nknown, list wrt, cg_node **out)
{
    return cg__backward(&(cg_backward){ .root = root, .seed = seed, .nroots = n, .nknown = nknown, .wrt = wrt.at, .nwrt = wrt.n,
                                        .constant = r->o->constant, .nconstant = r->o->nconstant }, out);
}

/* What point i is beside `of`, in its dtype. NULL: no memory. */
static cg_node *point(const request *r, int i, const cg_node *of)
{
    return r->points.at[i] ? cg_cast(r->points.at[i], of->type.dtype) : CG_ZERO;
}

/* ---- gradients */

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

static int gradients(const request *r, cg_node **room)
{
    cg_node **grad = room, **root = grad + r->wrt.n, **seed = root + r->o->nknown + 1;
    const int n = roots_of(r, root, seed), rc = n ? walk(r, root, seed, n, r->o->nknown, r->wrt, grad) : CG_ENOMEM;
    return rc == CG_OK ? deliver_gradients(r, grad) : rc;
}

/* ---- u' J: unlike a known gradient, a point adds to what reaches its expression through another one */

static int left_products(const request *r, cg_node **room)
{
    cg_node **grad = room, **seed = grad + r->wrt.n;
    int rc = r->f.n ? CG_OK : REFUSE(r, CG_EINVAL, "there is no %s", "expression");
    for (int i = 0; i < r->f.n && rc == CG_OK; i++)
        rc = (seed[i] = point(r, i, r->f.at[i])) ? CG_OK : CG_ENOMEM;
    rc = rc == CG_OK ? walk(r, r->f.at, seed, r->f.n, 0, r->wrt, grad) : rc;
    return rc == CG_OK ? deliver_gradients(r, grad) : rc;
}

/* ---- J v */

/* The gradients that there are, side by side with the points along which they are asked for: how many. CG_ENOMEM; CG_EUNSUPPORTED: one of
 * them is undefined, *out. Else *out is the kind of what is none of them. */
static int along_points(const request *r, cg_node *const *grad, cg_node **root, cg_node **seed, cg_node **out)
{
    int n = 0;
    *out = CG_DISCONNECTED;
    for (int i = 0; i < r->wrt.n; i++) {
        if (grad[i] != CG_DISCONNECTED)
            *out = CG_ZERO;
        if (!r->points.at[i])
            continue;
        if (cg__is_undefined(grad[i])) {
            *out = grad[i];
            return CG_EUNSUPPORTED;
        }
        if (!cg__has_grad(grad[i]))
            continue;
        root[n] = grad[i];
        if (!(seed[n++] = point(r, i, r->wrt.at[i])))
            return CG_ENOMEM;
    }
    return n;
}

/* One expression's derivative along the points, or a kind of none. u is still in it where an operation reads it though nothing depends on it. */
static int right_product(const request *r, cg_node *f, cg_node **room, cg_node **out)
{
    cg_node **grad = room, **root = grad + r->wrt.n, **seed = root + r->wrt.n, *u = cg__leaf(r->g, CG_OP_input, &f->type, NULL, ++r->g->uids);
    int rc = u ? walk(r, &f, &u, 1, 0, r->wrt, grad) : CG_ENOMEM;
    const int n = rc == CG_OK ? along_points(r, grad, root, seed, out) : rc;
    if (n <= 0)
        return n == CG_EUNSUPPORTED ? CG_OK : n;
    rc = walk(r, root, seed, n, 0, (list){ &u, 1 }, out);
    if (rc < 0 || !cg__has_grad(*out))
        return rc;
    cg_map memo = { 0 };
    cg_node *none = cg__zeros(r->g, &f->type);
    *out = none && cg__map_set(&memo, cg__key(u), cg__key(none)) ? cg__clone(r->g, *out, &memo) : NULL;
    cg__map_free(&memo);
    return *out ? CG_OK : CG_ENOMEM;
}

static int right_products(const request *r, cg_node **room)
{
    int rc = CG_OK;
    for (int i = 0; i < r->f.n && rc != CG_ENOMEM; i++) {
        cg_node *f = r->f.at[i], *value = NULL;
        int one = right_product(r, f, room, &value);
        one = one == CG_OK ? deliver(r, i, value, f, &f->type) : one;
        rc = rc == CG_OK ? one : rc;
    }
    return rc;
}

/* ---- J */

/* The axes of f, then those of wrt. */
static cg_type beside(const cg_node *f, const cg_node *wrt)
{
    cg_type t = wrt->type;
    t.rank = f->type.rank + wrt->type.rank;
    memcpy(t.dim, f->type.dim, (size_t)f->type.rank * sizeof *t.dim);
    memcpy(t.dim + f->type.rank, wrt->type.dim, (size_t)wrt->type.rank * sizeof *t.dim);
    return t;
}

/* 1 at element t of n in the shape of f, else 0. */
static cg_node *unit(const cg_node *f, cg_node *t, cg_dim_t n)
{
    cg_node *in[2] = { t, n.sym };
    const int64_t depth = n.sym ? CG_REF(1) : n.n;
    cg_node *hot = cg__node(f->graph, CG_OP_one_hot, in, n.sym ? 2 : 1, &(cg_attr){ 1, &depth });
    return hot ? cg__reshape_like(cg_cast(hot, f->type.dtype), &f->type) : NULL;
}

/* Ends the loop, whose steps give rows: they become matrices, in place. What is a kind stays so. */
static int stack(cg_scan *s, const cg_node *f, list wrt, cg_node **row)
{
    cg_node ***where = cg__zalloc((size_t)(wrt.n + 1) * sizeof *where);
    int n = 0, rc = where ? CG_OK : CG_ENOMEM;
    for (int i = 0; i < wrt.n && rc == CG_OK; i++)
        if (cg__has_grad(row[i])) {
            rc = cg_scan_out(s, row[i], CG_SCAN_ALL);
            where[n++] = &row[i];
        }
    if (rc == CG_OK && n)
        rc = cg_scan_end(s, where, n);
    else
        cg__scan_drop(s);
    for (int k = 0; k < n && rc == CG_OK; k++) {
        const cg_type t = beside(f, wrt.at[where[k] - row]);
        rc = (*where[k] = cg__reshape_like(*where[k], &t)) ? CG_OK : CG_ENOMEM;
    }
    cg__free(where);
    return rc;
}

/* The derivatives of all elements of f by each variable, or a kind of none. */
static int matrices(const request *r, cg_node *f, list wrt, cg_node **out)
{
    cg_dim_t n = { .n = 1 };
    if (f->type.rank == 0) {
        cg_node *one = cg__splat(r->g, f->type.dtype, 1);
        return one ? walk(r, &f, &one, 1, 0, wrt, out) : CG_ENOMEM;
    }
    for (int i = 0; i < f->type.rank; i++)
        n = cg__dim_mul(r->g, n, f->type.dim[i]);
    cg_scan *s = cg_scan_begin(r->g, CG_SCAN(.steps = cg__dim_node(r->g, n)));
    cg_node *e = s ? unit(f, cg_scan_index(s), n) : NULL;
    const int rc = e ? walk(r, &f, &e, 1, 0, wrt, out) : CG_ENOMEM;
    if (rc == CG_OK)
        return stack(s, f, wrt, out);
    cg__scan_drop(s);
    return rc;
}

/* Matrix i, of f by variable i. */
static int deliver_matrix(const request *r, int i, cg_node *value, const cg_node *f)
{
    const cg_type t = beside(f, r->wrt.at[i]);
    return deliver(r, i, value, r->wrt.at[i], &t);
}

static int jacobians(const request *r, cg_node **room)
{
    cg_node *f = r->f.at[0];
    int rc = CG_OK;
    for (int i = 0; i < r->wrt.n && rc == CG_OK; i++)
        rc = check_ranks(r, f, r->wrt.at[i]);
    rc = rc == CG_OK ? matrices(r, f, r->wrt, room) : rc;
    for (int i = 0; i < r->wrt.n && rc == CG_OK; i++)
        rc = deliver_matrix(r, i, room[i], f);
    return rc;
}

/* ---- second derivatives of a cost; where the gradient does not vary they are zero */

static int gradients_of_cost(const request *r, cg_node **grad)
{
    cg_node *cost = r->cost, *one = cg__splat(r->g, cost->type.dtype, 1);
    return one ? walk(r, &cost, &one, 1, 0, r->wrt, grad) : CG_ENOMEM;
}

static int hessians(const request *r, cg_node **room)
{
    cg_node **grad = room;
    int rc = gradients_of_cost(r, grad);
    for (int i = 0; i < r->wrt.n && rc == CG_OK; i++) {
        cg_node *wrt = r->wrt.at[i], *value = grad[i];
        rc = check_ranks(r, wrt, wrt);
        if (rc == CG_OK && cg__has_grad(value)) {
            rc = matrices(r, grad[i], (list){ &wrt, 1 }, &value);
            value = value == CG_DISCONNECTED ? CG_ZERO : value;
        }
        rc = rc == CG_OK ? deliver_matrix(r, i, value, wrt) : rc;
    }
    return rc;
}

static int hessian_products(const request *r, cg_node **room)
{
    cg_node **grad = room, **root = grad + r->wrt.n, **seed = root + r->wrt.n, **product = seed + r->wrt.n, *kind = NULL;
    int rc = gradients_of_cost(r, grad);
    const int n = rc == CG_OK ? along_points(r, grad, root, seed, &kind) : rc;
    if (n == CG_EUNSUPPORTED)
        return not_defined(r, r->cost, kind);
    for (int i = 0; i < r->wrt.n; i++)
        product[i] = CG_DISCONNECTED;
    rc = n > 0 ? walk(r, root, seed, n, 0, r->wrt, product) : n;
    for (int i = 0; i < r->wrt.n && rc == CG_OK; i++)
        product[i] = product[i] == CG_DISCONNECTED && grad[i] != CG_DISCONNECTED ? CG_ZERO : product[i];
    return rc == CG_OK ? deliver_gradients(r, product) : rc;
}

/* ---- the public functions */

static int with_room(const request *r)
{
    cg_node **room = cg__zalloc((size_t)(4 * (r->f.n + r->wrt.n + r->o->nknown + 1)) * sizeof *room);
    const int rc = room ? r->make(r, room) : CG_ENOMEM;
    cg__free(room);
    return rc;
}

/* What failed below has said so, or it was memory; a size for which there was none may have gone unnoticed. */
static int make_and_say(const request *r)
{
    cg_error *last = cg__thread_error();
    const cg_status before = last->code;
    last->code = CG_OK;
    int rc = with_room(r);
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

static int run(request r, const cg_grad_spec *o)
{
    static const cg_grad_spec none = { .struct_size = sizeof none };
    for (int i = 0; i < r.nout; i++)
        *r.out[i] = NULL;
    r.g = graph_of(r.cost, r.f, r.wrt, o);
    r.o = o ? o : &none;
    const int rc = r.g ? check(&r) : CG_EINVAL;
    return rc == CG_OK ? make_and_say(&r) : rc;
}

CG_API int cg_grad_with(cg_node *cost, cg_node *const *wrt, int n, cg_node **const *out, int nout, const cg_grad_spec *o)
{
    CG_BUILDER(graph_of(cost, (list){ 0 }, (list){ wrt, n }, o));
    return run((request){ .who = "cg_grad", .task = OF_COST | KNOWN, .make = gradients, .cost = cost, .wrt = { wrt, n }, .out = out, .nout = nout }, o);
}

CG_API int cg_grad(cg_node *cost, cg_node *const *wrt, int n, cg_node **const *out, int nout)
{
    CG_BUILDER(cg_node_graph(cost));
    return cg_grad_with(cost, wrt, n, out, nout, NULL);
}

CG_API int cg_lop(cg_node *const *f, int nf, cg_node *const *wrt, int n, cg_node *const *points, int npoints, cg_node **const *out, int nout, const cg_grad_spec *o)
{
    CG_BUILDER(graph_of(NULL, (list){ f, nf }, (list){ wrt, n }, o));
    return run((request){ .who = "cg_lop", .task = ALONG_F, .make = left_products, .f = { f, nf }, .wrt = { wrt, n }, .points = { points, npoints }, .out = out, .nout = nout }, o);
}

CG_API int cg_rop(cg_node *const *f, int nf, cg_node *const *wrt, int n, cg_node *const *points, int npoints, cg_node **const *out, int nout, const cg_grad_spec *o)
{
    CG_BUILDER(graph_of(NULL, (list){ f, nf }, (list){ wrt, n }, o));
    return run((request){ .who = "cg_rop", .task = ALONG_WRT | EACH_F, .make = right_products, .f = { f, nf }, .wrt = { wrt, n }, .points = { points, npoints }, .out = out, .nout = nout }, o);
}

CG_API int cg_jacobian(cg_node *f, cg_node *const *wrt, int n, cg_node **const *out, int nout, const cg_grad_spec *o)
{
    CG_BUILDER(cg_node_graph(f));
    return run((request){ .who = "cg_jacobian", .make = jacobians, .f = { &f, 1 }, .wrt = { wrt, n }, .out = out, .nout = nout }, o);
}

CG_API int cg_hessian(cg_node *cost, cg_node *const *wrt, int n, cg_node **const *out, int nout, const cg_grad_spec *o)
{
    CG_BUILDER(cg_node_graph(cost));
    return run((request){ .who = "cg_hessian", .task = OF_COST, .make = hessians, .cost = cost, .wrt = { wrt, n }, .out = out, .nout = nout }, o);
}

CG_API int cg_hessian_vector(cg_node *cost, cg_node *const *wrt, int n, cg_node *const *points, int npoints, cg_node **const *out, int nout, const cg_grad_spec *o)
{
    CG_BUILDER(cg_node_graph(cost));
    return run((request){ .who = "cg_hessian_vector", .task = OF_COST | ALONG_WRT, .make = hessian_products, .cost = cost, .wrt = { wrt, n },
                          .points = { points, npoints }, .out = out, .nout = nout }, o);
}
