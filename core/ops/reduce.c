// SPDX-License-Identifier: MIT
/* Reductions: sum, max, min, mean, argmax over any axes. One LOOP each: the kept axes are outer, the reduced ones inner.
 *
 * Sums of integers are 64 bits wide; means of integers are f32. Over no elements a sum is 0, a mean NaN, a max an error
 * of shape where the size is known.
 */
#include "core/ops/ops.h"

static int reduced(const cg_node *n, bool mask[CG_MAX_RANK])
{
    memset(mask, 0, CG_MAX_RANK * sizeof *mask);
    for (int i = 0; i < n->attr[0].n; i++)
        mask[n->attr[0].at[i]] = true;
    return n->attr[0].n;
}

static int reduce_infer(cg_node *n, cg_dtype d, cg_error *err)
{
    const cg_type *in = &n->in[0]->type;
    bool mask[CG_MAX_RANK] = { false };
    for (int i = 0; i < n->attr[0].n; i++) {
        int64_t axis = n->attr[0].at[i];
        if (!cg__axis_ok(&axis, in->rank))
            return cg__fail(err, CG_ESHAPE, "cg_%s: %s has no axis %lld", n->op->name, cg__label(n->in[0]), (long long)axis);
        if (mask[axis])
            return cg__fail(err, CG_ESHAPE, "cg_%s: axis %lld is given twice", n->op->name, (long long)axis);
        mask[axis] = true;
    }
    const int64_t keep = cg__attr_int(n, 1, 0) != 0;
    int64_t axes[CG_MAX_RANK];
    int count = 0;
    cg_type t = { .dtype = d };
    for (int i = 0; i < in->rank; i++) {
        const bool gone = n->attr[0].n < 0 || mask[i];
        if (gone)
            axes[count++] = i;
        if (!gone || keep)
            t.dim[t.rank++] = gone ? (cg_dim_t){ .n = 1 } : in->dim[i];
    }
    n->type = t;
    return cg__set_ints(n, 0, axes, count) < 0 || cg__set_ints(n, 1, &keep, 1) < 0 ? cg__fail(err, CG_ENOMEM, "cg_%s: no memory", n->op->name) : CG_OK;
}

CG_DECLARE_INFER(cg__sum_infer)
{
    const cg_dtype d = n->in[0]->type.dtype;
    const cg_kind k = cg__dtypes[d].kind;
    return reduce_infer(n, k == CG_KIND_FLOAT ? d : k == CG_KIND_UINT ? CG_U64 : CG_I64, err);
}

static int no_empty(const cg_node *n, cg_error *err)
{
    for (int i = 0; i < n->attr[0].n; i++)
        if (cg__dim_is(n->in[0]->type.dim[n->attr[0].at[i]], 0))
            return cg__fail(err, CG_ESHAPE, "cg_%s: axis %lld of %s is empty and has no %s", n->op->name,
                            (long long)n->attr[0].at[i], cg__label(n->in[0]), n->op->name);
    return CG_OK;
}

CG_DECLARE_INFER(cg__extreme_infer)
{
    const int rc = reduce_infer(n, n->in[0]->type.dtype, err);
    return rc < 0 ? rc : no_empty(n, err);
}

CG_DECLARE_INFER(cg__mean_infer)
{
    const cg_dtype d = n->in[0]->type.dtype;
    return reduce_infer(n, cg__is_float(d) ? d : CG_F32, err);
}

CG_DECLARE_INFER(cg__argmax_infer)
{
    const int rc = reduce_infer(n, CG_I64, err);
    if (rc == CG_OK && n->attr[0].n != 1 && n->in[0]->type.rank != 1)
        return cg__fail(err, CG_EINVAL, "cg_argmax: takes one axis");
    return rc < 0 ? rc : no_empty(n, err);
}

/* A reduced value, or its gradient, back with unit axes where the reduction took them. */
static cg_node *with_axes(const cg_node *n, cg_node *v)
{
    cg_type t = n->in[0]->type;
    for (int i = 0; i < n->attr[0].n; i++)
        t.dim[n->attr[0].at[i]] = (cg_dim_t){ .n = 1 };
    return cg__reshape_like(v, &t);
}

CG_DECLARE_GRAD(cg__sum_grad)
{
    (void)need;
    gin[0] = cg__is_float(n->type.dtype) ? cg__broadcast_like(with_axes(n, gout[0]), &n->in[0]->type) : CG_ZERO;
    return CG_OK;
}

static cg_node *count_of(const cg_node *n)
{
    cg_dim_t c = { .n = 1 };
    for (int i = 0; i < n->attr[0].n; i++)
        c = cg__dim_mul(n->graph, c, n->in[0]->type.dim[n->attr[0].at[i]]);
    return cg_cast(cg__dim_node(n->graph, c), n->type.dtype);
}

CG_DECLARE_GRAD(cg__mean_grad)
{
    (void)need;
    gin[0] = cg__is_float(n->in[0]->type.dtype) ? cg__broadcast_like(with_axes(n, cg_div(gout[0], count_of(n))), &n->in[0]->type) : CG_ZERO;
    return CG_OK;
}

/* Every element that equals the extreme receives the whole gradient (FEATURES 10, row 11). */
CG_DECLARE_GRAD(cg__extreme_grad)
{
    (void)need;
    cg_node *x = n->in[0], *out = with_axes(n, (cg_node *)(uintptr_t)n);
    gin[0] = cg__is_float(n->type.dtype) ? cg_where(cg_equal(x, out), with_axes(n, gout[0]), cg__splat(n->graph, n->type.dtype, 0)) : CG_ZERO;
    return CG_OK;
}

static cg_red red_of(const cg_node *n)
{
    return cg__is(n, CG_OP_max) ? CG_RED_MAX : cg__is(n, CG_OP_min) ? CG_RED_MIN : cg__is(n, CG_OP_argmax) ? CG_RED_ARGMAX : CG_RED_SUM;
}

CG_DECLARE_LOWER(cg__reduce_lower)
{
    const cg_node *x = n->in[0];
    bool mask[CG_MAX_RANK];
    const int nred = reduced(n, mask);
    const int rc = cg__lower_out(L, n);
    cg_loop_builder *b = cg__loop_begin(L, n);
    cg_spot in = { 0 }, to = { 0 };
    int k = 0;
    if (!b || rc < 0)
        return CG_ENOMEM;
    for (int i = 0; i < x->type.rank; i++)
        if (!mask[i])
            to.axis[k++] = in.axis[i] = cg__coord_axis(cg__loop_axis(b, x->type.dim[i], false));
        else if (n->type.rank == x->type.rank)
            to.axis[k++] = cg__coord_zero();
    for (int i = 0; i < x->type.rank; i++)
        if (mask[i])
            in.axis[i] = cg__coord_axis(cg__loop_axis(b, x->type.dim[i], true));
    int v = cg__emit(b, x, &in);
    if (!cg__is(n, CG_OP_argmax))
        v = cg__loop_cast(b, v, n->type.dtype);
    if (nred)
        v = cg__loop_reduce(b, red_of(n), n->type.dtype, v);
    else if (cg__is(n, CG_OP_argmax))
        v = cg__loop_literal(b, CG_I64, 0);
    if (cg__is(n, CG_OP_mean)) {
        cg_dim_t c = { .n = 1 };
        for (int i = 0; i < x->type.rank; i++)
            c = mask[i] ? cg__dim_mul(n->graph, c, x->type.dim[i]) : c;
        v = cg__loop_elem(b, CG_EL_div, n->type.dtype, v, cg__loop_cast(b, cg__loop_number(b, cg__lower_dim(L, c)), n->type.dtype), -1);
    }
    cg__loop_store(b, n, &to, v);
    return cg__loop_end(b);
}

/* ---- the public builders */

static cg_node *reduce(cg_op_id op, cg_node *a, const cg_reduce *o)
{
    if (!a)
        return NULL;
    const int64_t keep = o && o->keepdims;
    return cg__build(a->graph, op, &a, 1, (cg_attr[]){ { o && o->naxes ? o->naxes : -1, o ? o->axes : NULL }, { 1, &keep } });
}

CG_API cg_node *cg_sum(cg_node *a, const cg_reduce *o) { return reduce(CG_OP_sum, a, o); }
CG_API cg_node *cg_max(cg_node *a, const cg_reduce *o) { return reduce(CG_OP_max, a, o); }
CG_API cg_node *cg_min(cg_node *a, const cg_reduce *o) { return reduce(CG_OP_min, a, o); }
CG_API cg_node *cg_mean(cg_node *a, const cg_reduce *o) { return reduce(CG_OP_mean, a, o); }
CG_API cg_node *cg_argmax(cg_node *a, int axis) { return reduce(CG_OP_argmax, a, CG_REDUCE(CG_OVER(axis))); }
