// SPDX-License-Identifier: MIT
/* Shape: reshape, transpose, expand_dims, broadcast_to. No data moves: an emit maps coordinates, a reshape of a
 * placed array is the same array.
 *
 * A shape attribute's elements are sizes or references to i64 scalar operands (CG_REF, ir.h).
 */
#include "core/ops/ops.h"

/* The attribute's element as a dim; false: a reference to a missing or wrong operand. */
static bool dim_arg(const cg_node *n, int64_t v, int first, cg_dim_t *out)
{
    if (!CG_IS_REF(v))
        return *out = (cg_dim_t){ .n = v }, true;
    const int k = CG_REF_OF(v);
    if (k < first || k >= n->nin || n->in[k]->type.rank || n->in[k]->type.dtype != CG_I64)
        return false;
    *out = cg__dim_from(n->in[k]);
    return true;
}

int cg__shape_from(const cg_node *n, int attr, int first, cg_type *t, cg_error *err)
{
    t->rank = n->attr[attr].n;
    if (t->rank < 0 || t->rank > CG_MAX_RANK)
        return cg__fail(err, CG_ESHAPE, "cg_%s: needs a shape of rank 0 to %d", n->op->name, CG_MAX_RANK);
    for (int i = 0; i < t->rank; i++)
        if (!dim_arg(n, n->attr[attr].at[i], first, &t->dim[i]))
            return cg__fail(err, CG_EDTYPE, "cg_%s: size %d must be an i64 scalar", n->op->name, i);
    return CG_OK;
}

static cg_dim_t product(cg_graph *g, const cg_type *t, int skip)
{
    cg_dim_t c = { .n = 1 };
    for (int i = 0; i < t->rank; i++)
        c = i == skip ? c : cg__dim_mul(g, c, t->dim[i]);
    return c;
}

CG_DECLARE_INFER(cg__reshape_infer)
{
    cg_type t = { .dtype = n->in[0]->type.dtype };
    int hole = -1;
    if (cg__shape_from(n, 0, 1, &t, err) < 0)
        return err->code;
    for (int i = 0; i < t.rank; i++)
        if (!t.dim[i].sym && t.dim[i].n < 0) {
            if (hole >= 0 || t.dim[i].n != -1)
                return cg__fail(err, CG_ESHAPE, "cg_reshape: size %lld on axis %d; only one may be -1", (long long)t.dim[i].n, i);
            hole = i;
        }
    cg_graph *g = n->graph;
    const cg_dim_t have = product(g, &n->in[0]->type, -1), rest = product(g, &t, hole);
    if (hole >= 0 && !have.sym && !rest.sym) {
        if (rest.n == 0 || have.n % rest.n)
            return cg__fail(err, CG_ESHAPE, "cg_reshape: %s does not divide into the given sizes", cg__label(n->in[0]));
        t.dim[hole] = (cg_dim_t){ .n = have.n / rest.n };
    } else if (hole >= 0) {
        cg_dim_t whole = have;
        for (int i = 0; i < n->in[0]->type.rank; i++)          /* (n, 28, 28) -> (-1, 784): the hole is n itself */
            if (n->in[0]->type.dim[i].sym && cg__dim_same(product(g, &n->in[0]->type, i), rest))
                whole = n->in[0]->type.dim[i];
        t.dim[hole] = cg__dim_same(whole, have)
                          ? cg__dim_from(cg__int(g, CG_OP_floor_divide, cg__dim_node(g, have), cg__int(g, CG_OP_maximum, cg__dim_node(g, rest), cg__const_i64(g, 1))))
                          : whole;
    } else if (!have.sym && !rest.sym && have.n != rest.n)
        return cg__fail(err, CG_ESHAPE, "cg_reshape: %s has %lld elements, the shape %lld", cg__label(n->in[0]), (long long)have.n, (long long)rest.n);
    n->type = t;
    return CG_OK;
}

CG_DECLARE_GRAD(cg__reshape_grad)
{
    (void)need;
    gin[0] = cg__reshape_like(gout[0], &n->in[0]->type);
    return CG_OK;
}

CG_DECLARE_INFER(cg__transpose_infer)
{
    const cg_type *in = &n->in[0]->type;
    int64_t axes[CG_MAX_RANK];
    bool seen[CG_MAX_RANK] = { false };
    if (n->attr[0].n > 0 && n->attr[0].n != in->rank)
        return cg__fail(err, CG_ESHAPE, "cg_transpose: %d axes for %s", n->attr[0].n, cg__label(n->in[0]));
    n->type = *in;
    for (int i = 0; i < in->rank; i++) {
        axes[i] = n->attr[0].n > 0 ? n->attr[0].at[i] : in->rank - 1 - i;
        if (!cg__axis_ok(&axes[i], in->rank) || seen[axes[i]])
            return cg__fail(err, CG_ESHAPE, "cg_transpose: the axes are no permutation of those of %s", cg__label(n->in[0]));
        seen[axes[i]] = true;
        n->type.dim[i] = in->dim[axes[i]];
    }
    return cg__set_ints(n, 0, axes, in->rank);
}

CG_DECLARE_GRAD(cg__transpose_grad)
{
    (void)need;
    int64_t back[CG_MAX_RANK];
    for (int i = 0; i < n->type.rank; i++)
        back[n->attr[0].at[i]] = i;
    gin[0] = cg_transpose(gout[0], back, n->type.rank);
    return CG_OK;
}

CG_DECLARE_EMIT(cg__transpose_emit)
{
    cg_spot in = { 0 };
    for (int i = 0; i < n->type.rank; i++)
        in.axis[n->attr[0].at[i]] = at->axis[i];
    return cg__emit(b, n->in[0], &in);
}

CG_DECLARE_INFER(cg__expand_infer)
{
    const cg_type *in = &n->in[0]->type;
    int64_t axis = cg__attr_int(n, 0, 0);
    if (in->rank == CG_MAX_RANK || !cg__axis_ok(&axis, in->rank + 1))
        return cg__fail(err, CG_ESHAPE, "cg_expand_dims: %s cannot get an axis %lld", cg__label(n->in[0]), (long long)axis);
    n->type = (cg_type){ .dtype = in->dtype, .rank = in->rank + 1 };
    for (int i = 0; i < n->type.rank; i++)
        n->type.dim[i] = i == axis ? (cg_dim_t){ .n = 1 } : in->dim[i - (i > axis)];
    return cg__set_ints(n, 0, &axis, 1);
}

CG_DECLARE_EMIT(cg__expand_emit)
{
    cg_spot in = { 0 };
    for (int i = 0, k = 0; i < n->type.rank; i++)
        if (i != n->attr[0].at[0])
            in.axis[k++] = at->axis[i];
    return cg__emit(b, n->in[0], &in);
}

CG_DECLARE_INFER(cg__broadcast_infer)
{
    const cg_type *in = &n->in[0]->type;
    cg_type t = { .dtype = in->dtype };
    if (cg__shape_from(n, 0, 1, &t, err) < 0)
        return err->code;
    const int lead = t.rank - in->rank;
    for (int i = 0; i < t.rank; i++)
        if (!t.dim[i].sym && t.dim[i].n < 0)
            return cg__fail(err, CG_ESHAPE, "cg_broadcast_to: size %lld on axis %d", (long long)t.dim[i].n, i);
    for (int i = 0; i < in->rank && lead >= 0; i++) {
        const cg_dim_t x = in->dim[i], y = t.dim[i + lead];
        if (!x.sym && !y.sym && x.n != 1 && x.n != y.n)
            return cg__fail(err, CG_ESHAPE, "cg_broadcast_to: axis %d of %s does not stretch to %lld", i, cg__label(n->in[0]), (long long)y.n);
    }
    if (lead < 0)
        return cg__fail(err, CG_ESHAPE, "cg_broadcast_to: %s has more axes than the shape", cg__label(n->in[0]));
    n->type = t;
    return CG_OK;
}

CG_DECLARE_GRAD(cg__broadcast_grad)
{
    (void)need;
    gin[0] = cg__sum_to(gout[0], &n->in[0]->type);
    return CG_OK;
}

CG_DECLARE_EMIT(cg__broadcast_emit)
{
    const cg_type *in = &n->in[0]->type;
    const int lead = n->type.rank - in->rank;
    cg_spot there = { 0 };
    for (int i = 0; i < in->rank; i++) {
        const bool unit = cg__dim_is(in->dim[i], 1);
        if (!unit && cg__check_dims(cg__loop_lower(b), n, in->dim[i], n->type.dim[i + lead]) < 0)
            return CG_ENOMEM;
        there.axis[i] = unit ? cg__coord_zero() : at->axis[i + lead];
    }
    return cg__emit(b, n->in[0], &there);
}

/* ---- sum_to: the sum over what broadcasting stretched
 *
 * Which axes are stretched may be known only when a free size turns out to be 1; until then the two sizes of an axis are taken as equal,
 * and checked at the call. What is known is summed at once (simple). */

CG_DECLARE_INFER(cg__sum_to_infer)
{
    const cg_type *in = &n->in[0]->type;
    n->type = (cg_type){ .dtype = in->dtype };
    if (cg__shape_from(n, 0, 1, &n->type, err) < 0)
        return err->code;
    const int lead = in->rank - n->type.rank;
    for (int i = 0; i < n->type.rank && lead >= 0; i++) {
        const cg_dim_t x = in->dim[i + lead], y = n->type.dim[i];
        if (!x.sym && !y.sym && x.n != y.n && y.n != 1)
            return cg__fail(err, CG_ESHAPE, "cg_sum_to: axis %d of %s does not sum to %lld", i + lead, cg__label(n->in[0]), (long long)y.n);
    }
    return lead < 0 ? cg__fail(err, CG_ESHAPE, "cg_sum_to: %s has fewer axes than the shape", cg__label(n->in[0])) : CG_OK;
}

CG_DECLARE_SIMPLE(cg__sum_to_simple)
{
    cg_node *a = n->in[0];
    const cg_type *t = &n->type;
    const int lead = a->type.rank - t->rank;
    int64_t axes[CG_MAX_RANK];
    int count = 0;
    bool same = lead == 0;
    for (int i = 0; i < a->type.rank; i++) {
        if (i < lead || (cg__dim_is(t->dim[i - lead], 1) && !cg__dim_is(a->type.dim[i], 1)))
            axes[count++] = i;
        same = same && cg__dim_same(a->type.dim[i], t->dim[i]);
    }
    if (same || !count)
        return same ? a : CG_ITSELF;
    cg_node *s = cg_sum(a, CG_REDUCE(.axes = axes, .naxes = count, .keepdims = 1));
    if (lead && s) {                                         /* the leading axes have size 1 now */
        cg_type rest = s->type;
        rest.rank -= lead;
        memmove(rest.dim, rest.dim + lead, (size_t)rest.rank * sizeof *rest.dim);
        s = cg__reshape_like(s, &rest);
    }
    return cg__sum_to(s, t);
}

CG_DECLARE_GRAD(cg__sum_to_grad)
{
    (void)need;
    gin[0] = cg__broadcast_like(gout[0], &n->in[0]->type);
    return CG_OK;
}

/* What is left has equal sizes. */
CG_DECLARE_EMIT(cg__sum_to_emit)
{
    for (int i = 0; i < n->type.rank; i++)
        if (cg__check_dims(cg__loop_lower(b), n, n->in[0]->type.dim[i], n->type.dim[i]) < 0)
            return CG_ENOMEM;
    return cg__emit(b, n->in[0], at);
}

cg_node *cg__sum_to(cg_node *a, const cg_type *t)
{
    cg_node *in[1 + CG_MAX_RANK] = { a };
    int64_t shape[CG_MAX_RANK];
    int nin = 1;
    if (!cg__has_grad(a))
        return a;
    for (int i = 0; i < t->rank; i++) {
        shape[i] = t->dim[i].sym ? CG_REF(nin) : t->dim[i].n;
        if (t->dim[i].sym)
            in[nin++] = t->dim[i].sym;
    }
    return cg__node(a->graph, CG_OP_sum_to, in, nin, &(cg_attr){ t->rank, shape });
}

/* ---- the public builders */

CG_API cg_node *cg_reshape(cg_node *a, const int64_t *shape, int rank)
{
    CG_BUILDER(cg_node_graph(a));
    return a ? cg__build(a->graph, CG_OP_reshape, &a, 1, &(cg_attr){ rank, shape }) : NULL;
}

/* Known sizes go into the attribute, the others become operands. A reshape that changes nothing is none. */
static cg_node *to_dims(cg_op_id op, cg_node *a, cg_node *const *dims, int rank)
{
    cg_node *in[1 + CG_MAX_RANK] = { a };
    int64_t shape[CG_MAX_RANK];
    int nin = 1;
    bool same = a && a->type.rank == rank;
    if (!a || rank < 0 || rank > CG_MAX_RANK)
        return a ? cg__graph_fail(a->graph, CG_ESHAPE, "cg_%s: rank %d", cg__ops[op].name, rank) : NULL;
    for (int i = 0; i < rank; i++) {
        if (!dims[i])
            return NULL;
        const cg_dim_t d = cg__dim_from(dims[i]);
        same = same && cg__dim_same(d, a->type.dim[i]);
        shape[i] = d.sym ? CG_REF(nin) : d.n;
        if (d.sym)
            in[nin++] = dims[i];
    }
    return same ? a : cg__build(a->graph, op, in, nin, &(cg_attr){ rank, shape });
}

CG_API cg_node *cg_reshape_to(cg_node *a, cg_node *const *dims, int rank) { CG_BUILDER(cg_node_graph(a)); return to_dims(CG_OP_reshape, a, dims, rank); }
CG_API cg_node *cg_broadcast_to(cg_node *a, cg_node *const *dims, int rank) { CG_BUILDER(cg_node_graph(a)); return to_dims(CG_OP_broadcast_to, a, dims, rank); }

CG_API cg_node *cg_transpose(cg_node *a, const int64_t *axes, int n)
{
    CG_BUILDER(cg_node_graph(a));
    return a ? cg__build(a->graph, CG_OP_transpose, &a, 1, &(cg_attr){ n ? n : -1, axes }) : NULL;
}

CG_API cg_node *cg_expand_dims(cg_node *a, int axis)
{
    CG_BUILDER(cg_node_graph(a));
    const int64_t at = axis;
    return a ? cg__build(a->graph, CG_OP_expand_dims, &a, 1, &(cg_attr){ 1, &at }) : NULL;
}
