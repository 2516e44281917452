// SPDX-License-Identifier: MIT
/* Making nodes: the graph's arena, hash-consing, leaves, sticky errors.
 *
 * Invariant: a node is complete (type inferred, attributes canonical) before it is entered into the table of expressions,
 * and never changes after; equal expressions are equal pointers.
 */
#include <stddef.h>
#include "core/graph/build.h"
#include "core/graph/ir.h"

CG_API cg_graph *cg_graph_new(void)
{
    cg_graph *g = cg__zalloc(sizeof *g);
    if (!g)
        cg__set_last(&(cg_error){ .code = CG_ENOMEM, .text = "cg_graph_new: no memory" });
    else
        cg__sites_begin(&g->sites);
    return g;
}

CG_API void cg_graph_free(cg_graph *g)
{
    if (!g)
        return;
    cg__map_free(&g->consed);
    cg__map_free(&g->defaults);
    cg__sites_free(&g->sites);
    CG_VEC_FREE(&g->scopes);
    CG_VEC_FREE(&g->owns);
    cg__arena_free(&g->arena);
    cg__free(g);
}

/* ---- errors
 *
 * What is built on NULL is NULL and says nothing, so each sentence is of an expression that was wrong by itself. */

enum { MORE = 15 };

CG_API const cg_error *cg_graph_error(const cg_graph *g)
{
    return g && g->error.code ? &g->error : NULL;
}

CG_API int cg_graph_error_count(const cg_graph *g)
{
    return g ? g->nerrors : 0;
}

CG_API const cg_error *cg_graph_error_at(const cg_graph *g, int i)
{
    if (!g || i <= 0)
        return i ? NULL : cg_graph_error(g);
    return i <= g->nmore ? &g->more[i - 1] : NULL;
}

CG_API cg_node *cg_graph_fail(cg_graph *g, cg_status code, const char *text)
{
    CG_BUILDER(g);
    return g && text ? cg__graph_fail(g, code, "%s", text) : NULL;
}

CG_API void cg_graph_clear_error(cg_graph *g)
{
    if (!g)
        return;
    cg__error_clear(&g->error);
    g->nmore = g->nerrors = 0;
}

/* The same sentence of the same place is one error, as where a loop builds it again. After the first that memory is out all others follow from it. */
static bool is_told(const cg_graph *g, const cg_error *e)
{
    const cg_error *had;
    for (int i = 0; (had = cg_graph_error_at(g, i)); i++)
        if (had->code == e->code && (e->code == CG_ENOMEM || strcmp(had->text, e->text) == 0))
            return true;
    return false;
}

static void keep(cg_graph *g, const cg_error *e)
{
    if (is_told(g, e))
        return;
    g->nerrors++;
    if (!g->error.code) {
        g->error = *e;
        return;
    }
    if (!g->more)
        g->more = cg__arena(&g->arena, MORE * sizeof *g->more);
    if (g->more && g->nmore < MORE)
        g->more[g->nmore++] = *e;
}

/* One sentence a line, whole ones, as many as there is room for. */
int cg__graph_errors(const cg_graph *g, cg_error *err)
{
    enum { TAIL = 24 };                  /* of "and 4294967295 more" */
    const cg_error *e;
    int i = 1;
    cg__fail(err, g->error.code, "%s", g->error.text);
    size_t n = strlen(err->text);
    for (; (e = cg_graph_error_at(g, i)) && n + 1 + strlen(e->text) + TAIL < sizeof err->text; i++)
        n += (size_t)snprintf(err->text + n, sizeof err->text - n, "\n%s", e->text);
    if (i < g->nerrors)
        snprintf(err->text + n, sizeof err->text - n, "\nand %d more", g->nerrors - i);
    return err->code;
}

/* "...; called at net.c:41" */
static void add_place(const cg_graph *g, cg_error *e)
{
    const size_t n = strlen(e->text);
    cg_strb place = { 0 };
    cg__site_here(g, &place);
    if (place.n)
        snprintf(e->text + n, sizeof e->text - n, "; called at %s", place.at);
    cg__strb_free(&place);
}

cg_node *cg__graph_fail(cg_graph *g, cg_status code, const char *fmt, ...)
{
    cg_error e = { 0 };
    va_list ap;
    va_start(ap, fmt);
    cg__fail_v(&e, code, fmt, ap);
    va_end(ap);
    if (g && code != CG_ENOMEM)
        add_place(g, &e);
    cg__set_last(&e);
    if (g)
        keep(g, &e);
    return NULL;
}

cg_graph *cg__graph_of(cg_node *const *in, int n)
{
    cg_graph *g = NULL;
    for (int i = 0; i < n; i++) {
        if (!in[i])
            return NULL;
        if (g && in[i]->graph != g) {
            cg__graph_fail(g, CG_EINVAL, "operands of one expression belong to two graphs: %s and %s", cg__label(in[0]),
                           cg__label(in[i]));
            return NULL;
        }
        g = in[i]->graph;
    }
    return g;
}

/* ---- hash-consing */

static uint64_t node_hash(const cg_node *n)
{
    uint64_t h = cg__hash(&n->op, sizeof n->op, n->uid);
    h = cg__hash(n->in, (size_t)n->nin * sizeof *n->in, h);
    for (int i = 0; i < n->op->nattrs; i++) {
        const size_t item = n->op->attrs[i].kind == CG_AT_BYTES ? 1 : sizeof(int64_t);
        h = cg__hash(n->attr[i].at, n->attr[i].n > 0 ? (size_t)n->attr[i].n * item : 0, h + (uint64_t)n->attr[i].n);
    }
    if (n->op->props & CG_LEAF)
        h = cg__hash(&n->type.dtype, sizeof n->type.dtype, h + (uint64_t)n->type.rank + (n->type.weak ? 77u : 0u));
    return h;
}

bool cg__attr_same(const cg_attr *a, const cg_attr *b, cg_attr_kind kind)
{
    const size_t item = kind == CG_AT_BYTES ? 1 : sizeof(int64_t);
    return a->n == b->n && (a->n <= 0 || memcmp(a->at, b->at, (size_t)a->n * item) == 0);
}

bool cg__type_same(const cg_type *a, const cg_type *b)
{
    if (a->dtype != b->dtype || a->weak != b->weak || a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (!cg__dim_same(a->dim[i], b->dim[i]))
            return false;
    return true;
}

static bool same_node(const cg_node *a, const cg_node *b)
{
    if (a->op != b->op || a->uid != b->uid || a->nin != b->nin)
        return false;
    for (int i = 0; i < a->nin; i++)
        if (a->in[i] != b->in[i])
            return false;
    for (int i = 0; i < a->op->nattrs; i++)
        if (!cg__attr_same(&a->attr[i], &b->attr[i], a->op->attrs[i].kind))
            return false;
    return !(a->op->props & CG_LEAF) || cg__type_same(&a->type, &b->type);
}

static cg_attr *copy_attrs(cg_graph *g, const cg_op *op, const cg_attr *attrs)
{
    cg_attr *out = cg__arena(&g->arena, (size_t)op->nattrs * sizeof *out);
    if (!out)
        return NULL;
    for (int i = 0; i < op->nattrs; i++) {
        const size_t item = op->attrs[i].kind == CG_AT_BYTES ? 1 : sizeof(int64_t);
        out[i].n = attrs[i].n;
        if (attrs[i].n > 0 && !(out[i].at = cg__arena_copy(&g->arena, attrs[i].at, (size_t)attrs[i].n * item)))
            return NULL;
    }
    return out;
}

static cg_node *find(const cg_node *candidate, uint64_t hash)
{
    uint64_t v;
    for (size_t it = 0; cg__map_next(&candidate->graph->consed, hash, &it, &v);)
        if (same_node((cg_node *)(uintptr_t)v, candidate))
            return (cg_node *)(uintptr_t)v;
    return NULL;
}

cg_node *cg__find(const cg_node *candidate)
{
    return find(candidate, node_hash(candidate));
}

/* Enters the finished candidate (its arrays may be the caller's), or returns the node that is there already. */
static cg_node *intern(cg_graph *g, const cg_node *candidate)
{
    const uint64_t h = node_hash(candidate);
    cg_node *have = find(candidate, h);
    if (have && cg__site_note(g, have))
        return have;
    const size_t bytes = offsetof(cg_node, type.dim) + (size_t)candidate->type.rank * sizeof candidate->type.dim[0];
    cg_node *n = have ? NULL : cg__arena_copy(&g->arena, candidate, bytes);
    if (!n)
        goto memory;
    n->id = g->count;
    n->in = n->nin ? cg__arena_copy(&g->arena, candidate->in, (size_t)n->nin * sizeof *n->in) : NULL;
    n->attr = n->op->nattrs ? copy_attrs(g, n->op, candidate->attr) : NULL;
    if ((n->nin && !n->in) || (n->op->nattrs && !n->attr) || !cg__site_note(g, n) || !cg__map_put(&g->consed, h, cg__key(n))) {
        cg__site_forget(n);
        goto memory;
    }
    g->count++;
    g->loops += n->nbody > 0;
    g->branches += cg__is(n, CG_OP_ifelse);
    n->next = NULL;
    *(g->last ? &g->last->next : &g->first) = n;
    g->last = n;
    return n;
memory:
    return cg__graph_fail(g, CG_ENOMEM, "%s: no memory for a node", candidate->op->name);
}

cg_node *cg__node(cg_graph *g, cg_op_id op, cg_node *const *in, int nin, const cg_attr *attrs)
{
    if (!g || (nin && cg__graph_of(in, nin) != g))
        return NULL;
    cg_attr given[CG_MAX_ATTRS];
    for (int i = 0; i < CG_MAX_ATTRS; i++)
        given[i] = attrs && i < cg__ops[op].nattrs ? attrs[i] : (cg_attr){ .n = -1 };
    cg_node n = { .op = &cg__ops[op], .graph = g, .nin = nin, .in = (cg_node **)(uintptr_t)in, .attr = given };
    if (n.op->nin >= 0 && nin < n.op->nin)
        return cg__graph_fail(g, CG_EINVAL, "%s: takes %d operands, got %d", n.op->name, n.op->nin, nin);
    for (int i = 0; i < nin; i++)
        if (in[i]->nouts && op != CG_OP_get)
            return cg__graph_fail(g, CG_EINVAL, "cg_%s: operand %d, %s, has several outputs; take one with get", n.op->name, i + 1, cg__label(in[i]));
    if (n.op->form)
        return n.op->form(&n);
    cg_error err;
    cg__error_clear(&err);
    if (n.op->infer(&n, &err) < 0)
        return cg__graph_fail(g, err.code, "%s", err.text);
    cg_node *simplest = n.op->simple ? n.op->simple(&n) : CG_ITSELF;
    return simplest == CG_ITSELF ? intern(g, &n) : simplest;
}

cg_node *cg__get(cg_node *tuple, int k)
{
    const int64_t index = k;
    return !tuple || !tuple->nouts ? tuple : cg__node(tuple->graph, CG_OP_get, &tuple, 1, &(cg_attr){ 1, &index });
}

cg_node *cg__leaf(cg_graph *g, cg_op_id op, const cg_type *t, cg_array *array, uint64_t uid)
{
    cg_attr none[CG_MAX_ATTRS] = { { 0 } };
    return intern(g, &(cg_node){ .op = &cg__ops[op], .graph = g, .attr = none, .type = *t, .uid = uid, .array = array });
}

/* ---- leaves */

/* The free dims of an input are nodes that read its sizes, made when it is there. Without memory it stays behind, of no
 * size and nobody's. */
static bool size_nodes(cg_node *n)
{
    bool ok = true;
    for (int64_t axis = 0; axis < n->type.rank; axis++) {
        cg_dim_t *d = &n->type.dim[axis];
        if (d->n != CG_ANY)
            continue;
        d->sym = cg__node(n->graph, CG_OP_dim, &n, 1, &(cg_attr){ 1, &axis });
        d->n = d->sym ? CG_ANY : 0;
        ok &= d->sym != NULL;
    }
    return ok;
}

CG_API cg_node *cg_input(cg_graph *g, const char *name, cg_dtype d, const int64_t *shape, int rank)
{
    CG_BUILDER(g);
    if (!g)
        return NULL;
    if (rank < 0 || rank > CG_MAX_RANK || (unsigned)d >= CG_DTYPE_COUNT)
        return cg__graph_fail(g, CG_EINVAL, "cg_input: '%s' needs a rank of 0 to %d and a known dtype", name ? name : "",
                              CG_MAX_RANK);
    cg_type t = { .dtype = d, .rank = rank };
    for (int i = 0; i < rank; i++) {
        if (shape[i] < CG_ANY)
            return cg__graph_fail(g, CG_ESHAPE, "cg_input: '%s' has the size %lld on axis %d", name ? name : "",
                                  (long long)shape[i], i);
        t.dim[i].n = shape[i];
    }
    cg_node *n = cg__leaf(g, CG_OP_input, &t, NULL, ++g->uids);
    if (!n || !size_nodes(n))
        return NULL;
    return name ? cg_name(n, name) : n;
}

CG_API cg_node *cg_shared(cg_graph *g, const char *name, cg_array *value)
{
    CG_BUILDER(g);
    if (!g)
        return NULL;
    if (!value)
        return cg__graph_fail(g, CG_EINVAL, "cg_shared: '%s' has no value (NULL array)", name ? name : "");
    cg_type t = { .dtype = cg_array_dtype(value), .rank = cg_array_rank(value) };
    for (int i = 0; i < t.rank; i++)
        t.dim[i].n = cg_array_shape(value)[i];
    cg_node *n = cg__leaf(g, CG_OP_shared, &t, value, ++g->uids);
    return name ? cg_name(n, name) : n;
}

static cg_node *constant(cg_graph *g, const cg_type *t, const void *data, size_t bytes)
{
    cg_attr attr[CG_MAX_ATTRS] = { { .n = (int)bytes, .at = data } };
    return intern(g, &(cg_node){ .op = &cg__ops[CG_OP_const], .graph = g, .attr = attr, .type = *t });
}

CG_API cg_node *cg_constant(cg_graph *g, cg_dtype d, const int64_t *shape, int rank, const void *data)
{
    CG_BUILDER(g);
    if (!g)
        return NULL;
    if (rank < 0 || rank > CG_MAX_RANK || (unsigned)d >= CG_DTYPE_COUNT)
        return cg__graph_fail(g, CG_EINVAL, "cg_constant: rank %d or dtype %d is out of range", rank, (int)d);
    cg_type t = { .dtype = d, .rank = rank };
    size_t bytes = cg__dtypes[d].bytes;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0 || !cg__mul_size(bytes, (size_t)shape[i], &bytes) || bytes > INT32_MAX)
            return cg__graph_fail(g, CG_ESHAPE, "cg_constant: size %lld on axis %d is negative or too large", (long long)shape[i], i);
        t.dim[i].n = shape[i];
    }
    if (!data && bytes)
        return cg__graph_fail(g, CG_EINVAL, "cg_constant: there are %zu bytes of values, and they are NULL", bytes);
    return constant(g, &t, data, bytes);
}

cg_node *cg__splat(cg_graph *g, cg_dtype d, double v)
{
    int64_t room = 0;
    cg__store_f64(&room, d, v);
    return constant(g, &(cg_type){ .dtype = d }, &room, cg__dtypes[d].bytes);
}

cg_node *cg__splat_as(const cg_node *c, cg_dtype d)
{
    int64_t room = 0;
    cg__cast_element(&room, d, c->attr[0].at, c->type.dtype);
    return constant(c->graph, &(cg_type){ .dtype = d }, &room, cg__dtypes[d].bytes);
}

cg_node *cg__const_i64(cg_graph *g, int64_t v)
{
    return constant(g, &(cg_type){ .dtype = CG_I64 }, &v, sizeof v);
}

CG_API cg_node *cg_scalar(cg_graph *g, cg_dtype d, double value)
{
    CG_BUILDER(g);
    return g && (unsigned)d < CG_DTYPE_COUNT ? cg__splat(g, d, value) : NULL;
}

CG_API cg_node *cg_weak(cg_graph *g, double value)
{
    CG_BUILDER(g);
    return g ? constant(g, &(cg_type){ .dtype = CG_F64, .weak = true }, &value, sizeof value) : NULL;
}

bool cg__is_const(const cg_node *n, double *value)
{
    if (!cg__is(n, CG_OP_const))
        return false;
    const size_t item = cg__dtypes[n->type.dtype].bytes;
    const char *at = (const char *)n->attr[0].at;
    if (n->attr[0].n <= 0)
        return false;
    for (size_t i = item; i < (size_t)n->attr[0].n; i += item)
        if (memcmp(at, at + i, item) != 0)
            return false;
    *value = cg__load_f64(at, n->type.dtype);
    return true;
}

/* ---- types as text */

static void dim_text(cg_dim_t d, cg_strb *out)
{
    if (!d.sym)
        cg__strb(out, "%lld", (long long)d.n);
    else if (cg__is(d.sym, CG_OP_dim) && *cg_node_name(d.sym->in[0]))
        cg__strb(out, "%s.%lld", cg_node_name(d.sym->in[0]), (long long)d.sym->attr[0].at[0]);
    else if (cg__is(d.sym, CG_OP_broadcast_dim) && !cg__is(d.sym->in[0], CG_OP_broadcast_dim)) {
        dim_text((cg_dim_t){ CG_ANY, d.sym->in[0] }, out);
        cg__strb(out, "|");
        dim_text((cg_dim_t){ CG_ANY, d.sym->in[1] }, out);
    } else
        cg__strb(out, "?%d", d.sym->id);
}

void cg__type_text(const cg_type *t, cg_strb *out)
{
    if (t->dtype == CG_DTYPE_COUNT) {
        cg__strb(out, "tuple");
        return;
    }
    cg__strb(out, "%s[", cg__dtypes[t->dtype].name);
    for (int i = 0; i < t->rank; i++) {
        cg__strb(out, "%s", i ? "," : "");
        dim_text(t->dim[i], out);
    }
    cg__strb(out, "]");
}

/* ---- dims */

cg_dim_t cg__dim_of(const cg_node *n, int axis)
{
    return n->type.dim[axis];
}

bool cg__dim_same(cg_dim_t a, cg_dim_t b)
{
    return a.sym == b.sym && (a.sym || a.n == b.n);
}

bool cg__type_may_be(const cg_type *a, const cg_type *b)
{
    bool fits = a->rank == b->rank && a->dtype == b->dtype;
    for (int k = 0; fits && k < a->rank; k++)
        fits = a->dim[k].sym || b->dim[k].sym || a->dim[k].n == b->dim[k].n;
    return fits;
}

bool cg__dim_is(cg_dim_t d, int64_t n)
{
    return !d.sym && d.n == n;
}

cg_node *cg__dim_node(cg_graph *g, cg_dim_t d)
{
    return d.sym ? d.sym : cg__const_i64(g, d.n);
}

static bool known_int(const cg_node *n, int64_t *v)
{
    double unused;
    if (!n || n->type.rank || !cg__is_int(n->type.dtype) || !cg__is_const(n, &unused))
        return false;
    *v = cg__load_i64(n->attr[0].at, n->type.dtype);
    return true;
}

static bool fold_int(cg_op_id op, int64_t a, int64_t b, int64_t *out)
{
    switch (op) {
    case CG_OP_add: *out = (int64_t)((uint64_t)a + (uint64_t)b); return true;
    case CG_OP_sub: *out = (int64_t)((uint64_t)a - (uint64_t)b); return true;
    case CG_OP_mul: *out = (int64_t)((uint64_t)a * (uint64_t)b); return true;
    case CG_OP_maximum: *out = a > b ? a : b; return true;
    case CG_OP_minimum: *out = a < b ? a : b; return true;
    case CG_OP_floor_divide:
        if (b == 0 || (b == -1 && a == INT64_MIN))
            return false;
        *out = a / b - ((a % b != 0) && ((a < 0) != (b < 0)));
        return true;
    default: return false;
    }
}

cg_node *cg__int(cg_graph *g, cg_op_id op, cg_node *a, cg_node *b)
{
    int64_t x = 0, y = 0, v;
    const bool ka = known_int(a, &x), kb = known_int(b, &y);
    if (ka && kb && fold_int(op, x, y, &v))
        return cg__const_i64(g, v);
    if (kb && y == 0 && (op == CG_OP_add || op == CG_OP_sub))
        return a;
    if (ka && x == 0 && op == CG_OP_add)
        return b;
    if (kb && y == 1 && (op == CG_OP_mul || op == CG_OP_floor_divide))
        return a;
    if (ka && x == 1 && op == CG_OP_mul)
        return b;
    if (a == b && (op == CG_OP_maximum || op == CG_OP_minimum))
        return a;
    if (a == b && op == CG_OP_sub)
        return cg__const_i64(g, 0);
    return cg__node(g, op, (cg_node *[]){ a, b }, 2, NULL);
}

cg_dim_t cg__dim_mul(cg_graph *g, cg_dim_t a, cg_dim_t b)
{
    cg_node *n = cg__int(g, CG_OP_mul, cg__dim_node(g, a), cg__dim_node(g, b));
    int64_t v;
    return known_int(n, &v) ? (cg_dim_t){ .n = v } : (cg_dim_t){ .n = CG_ANY, .sym = n };
}

/* ---- default updates */

CG_API int cg_default_update(cg_node *var, cg_node *value)
{
    cg_error err = { 0 };
    if (!var || !cg__is(var, CG_OP_shared) || (value && value->graph != var->graph))
        cg__fail(&err, CG_EINVAL, "cg_default_update: %s", !var ? "the variable is NULL" : cg__is(var, CG_OP_shared) ? "the value belongs to another graph" : "the first node is not a shared variable");
    else if (value && !cg__type_may_be(&var->type, &value->type))
        cg__fail(&err, value->type.dtype == var->type.dtype ? CG_ESHAPE : CG_EDTYPE, "cg_default_update: %s cannot become %s", cg__label(var), cg__label(value));
    else if (!cg__map_set(&var->graph->defaults, cg__key(var), cg__key(value)))
        cg__fail(&err, CG_ENOMEM, "cg_default_update: no memory");
    return err.code ? cg__set_last(&err) : CG_OK;
}

cg_node *cg__default_update(const cg_node *var)
{
    return cg__is(var, CG_OP_shared) ? cg__map_node(&var->graph->defaults, var) : NULL;
}

/* ---- questions */

CG_API cg_graph *cg_node_graph(const cg_node *n) { return n ? n->graph : NULL; }
CG_API cg_dtype cg_node_dtype(const cg_node *n) { return n ? n->type.dtype : CG_DTYPE_COUNT; }
CG_API int cg_node_rank(const cg_node *n) { return n ? n->type.rank : -1; }

CG_API int64_t cg_node_dim(const cg_node *n, int axis)
{
    return n && axis >= 0 && axis < n->type.rank && !n->type.dim[axis].sym ? n->type.dim[axis].n : CG_ANY;
}

CG_API int cg_node_outputs(const cg_node *n) { return !n ? 0 : n->nouts ? n->nouts : 1; }

CG_API cg_node *cg_output(cg_node *n, int k)
{
    CG_BUILDER(cg_node_graph(n));
    if (n && (k < 0 || k >= cg_node_outputs(n)))
        return cg__graph_fail(n->graph, CG_EINVAL, "cg_output: %s has no output %d", cg__label(n), k);
    return n ? cg__get(n, k) : NULL;
}

CG_API cg_node *cg_dim(cg_node *n, int axis)
{
    CG_BUILDER(cg_node_graph(n));
    if (!n)
        return NULL;
    if (axis < -n->type.rank || axis >= n->type.rank)
        return cg__graph_fail(n->graph, CG_ESHAPE, "cg_dim: %s has no axis %d", cg__label(n), axis);
    return cg__dim_node(n->graph, n->type.dim[axis < 0 ? axis + n->type.rank : axis]);
}
