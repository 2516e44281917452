// SPDX-License-Identifier: MIT
/* The table of all operations: structural rows from ops.def, written forms from forms.def, elementwise rows from elemwise.def, and the helpers
 * that the families' infer and grad functions share. */
#include "core/ops/ops.h"

const cg_op cg__ops[CG_OP_COUNT] = {
#define OP(op, n, flags, fi, fs, fg, fl, fe, count, ...)                                                               \
    [CG_OP_##op] = { .name = #op, .nin = n, .props = flags, .nattrs = count, .attrs = { __VA_ARGS__ }, .infer = cg__##fi, \
                     .simple = cg__##fs, .grad = cg__##fg, .lower = cg__##fl, .emit = cg__##fe },
#include "core/ops/ops.def"
#define FORM(op, n, count, ...) [CG_OP_##op] = { .name = #op, .nin = n, .nattrs = count, .attrs = { __VA_ARGS__ }, .form = cg__##op##_form },
#include "core/ops/forms.def"
#define ELEM(op, n, cls, res, alg, ...)                                                                                \
    [CG_OP_##op] = { .name = #op, .nin = n, .props = CG_ELEMWISE | ((alg) & A_COMM ? CG_COMMUTES : 0),                 \
                     .infer = cg__elem_infer, .grad = cg__elem_grad, .emit = cg__elem_emit },
#include "core/base/elemwise.def"
};

bool cg__axis_ok(int64_t *axis, int rank)
{
    if (*axis < -rank || *axis >= rank)
        return false;
    *axis += *axis < 0 ? rank : 0;
    return true;
}

int64_t cg__attr_int(const cg_node *n, int k, int64_t missing)
{
    return n->attr[k].n > 0 && n->attr[k].at[0] != CG_NONE ? n->attr[k].at[0] : missing;
}

int cg__set_ints(cg_node *n, int k, const int64_t *at, int count)
{
    const int64_t *copy = cg__arena_copy(&n->graph->arena, at, (size_t)count * sizeof *at);
    n->attr[k] = (cg_attr){ count, copy };
    return copy || !count ? CG_OK : CG_ENOMEM;
}

int cg__need_rank(const cg_node *n, int k, int rank, cg_error *err)
{
    return n->in[k]->type.rank == rank
               ? CG_OK
               : cg__fail(err, CG_ESHAPE, "cg_%s: operand %d must have rank %d, is %s", n->op->name, k + 1, rank, cg__label(n->in[k]));
}

/* A size that a call may turn out to have as 1: that of an input, or of such that met. */
static bool may_stretch(cg_dim_t d)
{
    return cg__is(d.sym, CG_OP_broadcast_dim) || (cg__is(d.sym, CG_OP_dim) && cg__is(d.sym->in[0], CG_OP_input));
}

/* Where two unknown sizes meet that cannot stretch they are one size, checked at the call. */
cg_dim_t cg__dim_broadcast(cg_graph *g, cg_dim_t x, cg_dim_t y)
{
    if (cg__dim_is(x, 1) || cg__dim_is(y, 1))
        return cg__dim_is(x, 1) ? y : x;
    if (!x.sym || !y.sym)
        return x.sym ? y : x;            /* a known size is better than an unknown one */
    return may_stretch(x) && may_stretch(y) ? cg__dim_from(cg__node(g, CG_OP_broadcast_dim, (cg_node *[]){ x.sym, y.sym }, 2, NULL)) : x;
}

bool cg__broadcast(cg_graph *g, const cg_type *a, const cg_type *b, cg_type *out)
{
    const cg_type left = *a;             /* out may be a */
    a = &left;
    out->rank = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < out->rank; i++) {
        const int ia = i - (out->rank - a->rank), ib = i - (out->rank - b->rank);
        if (ia < 0 || ib < 0) {
            out->dim[i] = ia < 0 ? b->dim[ib] : a->dim[ia];
            continue;
        }
        const cg_dim_t x = a->dim[ia], y = b->dim[ib];
        if (!x.sym && !y.sym && x.n != y.n && x.n != 1 && y.n != 1)
            return false;
        out->dim[i] = cg__dim_broadcast(g, x, y);
    }
    return true;
}

cg_dim_t cg__dim_from(cg_node *n)
{
    double v;
    if (!n)
        return (cg_dim_t){ .n = 0 };
    return cg__is_const(n, &v) ? (cg_dim_t){ .n = cg__load_i64(n->attr[0].at, n->type.dtype) }
                               : (cg_dim_t){ .n = CG_ANY, .sym = n };
}

static void dims_of(cg_graph *g, const cg_type *t, cg_node **dims)
{
    for (int i = 0; i < t->rank; i++)
        dims[i] = cg__dim_node(g, t->dim[i]);
}

cg_node *cg__broadcast_like(cg_node *a, const cg_type *t)
{
    cg_node *dims[CG_MAX_RANK];
    if (!a)
        return NULL;
    dims_of(a->graph, t, dims);
    return cg_broadcast_to(a, dims, t->rank);
}

cg_node *cg__reshape_like(cg_node *a, const cg_type *t)
{
    cg_node *dims[CG_MAX_RANK];
    if (!a)
        return NULL;
    dims_of(a->graph, t, dims);
    return cg_reshape_to(a, dims, t->rank);
}

int cg__check_dims(cg_lower *L, const cg_node *n, cg_dim_t a, cg_dim_t b)
{
    if (cg__dim_same(a, b))
        return CG_OK;
    return cg__lower_check(L, n, cg__lower_dim(L, a), cg__lower_dim(L, b));
}
