// SPDX-License-Identifier: MIT
/* Sliding windows, and their adjoint: what convolution and pooling are made of.
 *
 *     sliding_window_view: y[.., o, .., k] = x[.., o*stride + k*dilation - before, ..], zero outside x
 *     window_sum:          x[.., i, ..] = sum over k of y[.., i + before - k*dilation, .., k]      (stride 1)
 *
 * Both are LOOPs: the view is an affine coordinate with a window, so im2col is what a product's operand costs, and no more. The gradient of
 * a view with a stride spreads its rows first (unslice with a step), and is then that of stride 1.
 */
#include "core/ops/ops.h"

enum { A_SIZE, A_AXIS, A_STRIDE, A_DILATION, A_BEFORE, A_AFTER };        /* sliding_window_view */
enum { S_SHAPE, S_AXIS, S_DILATION, S_BEFORE };                          /* window_sum */

static int64_t at_or(const cg_node *n, int attr, int i, int64_t missing)
{
    return n->attr[attr].n > i && n->attr[attr].at[i] != CG_NONE ? n->attr[attr].at[i] : missing;
}

/* Window i walks along axis axis_of(i). */
static int axis_of(const cg_node *n, int attr, int i) { return (int)n->attr[attr].at[i]; }

/* Axes from the front, each once. */
static int check_axes(cg_node *n, int attr, int rank, cg_error *err)
{
    int64_t axes[CG_MAX_RANK];
    const int count = n->attr[attr].n;
    if (count < 1 || count > rank)
        return cg__fail(err, CG_ESHAPE, "cg_%s: %d axes for %s", n->op->name, count, cg__label(n->in[0]));
    for (int i = 0; i < count; i++) {
        axes[i] = n->attr[attr].at[i];
        if (!cg__axis_ok(&axes[i], rank))
            return cg__fail(err, CG_ESHAPE, "cg_%s: %s has no axis %lld", n->op->name, cg__label(n->in[0]), (long long)axes[i]);
        for (int k = 0; k < i; k++)
            if (axes[k] == axes[i])
                return cg__fail(err, CG_ESHAPE, "cg_%s: axis %lld is given twice", n->op->name, (long long)axes[i]);
    }
    return cg__set_ints(n, attr, axes, count);
}

/* Options that were left out are written down, so that equal views are one node. */
static int fill_option(cg_node *n, int attr, int64_t missing, int64_t least, cg_error *err)
{
    int64_t at[CG_MAX_RANK];
    const int count = n->attr[A_AXIS].n;
    if (n->attr[attr].n > count)
        return cg__fail(err, CG_ESHAPE, "cg_%s: %d values of %s for %d axes", n->op->name, n->attr[attr].n, n->op->attrs[attr].name, count);
    for (int i = 0; i < count; i++) {
        at[i] = at_or(n, attr, i, missing);
        if (at[i] < least)
            return cg__fail(err, CG_EINVAL, "cg_%s: %s of axis %d is %lld", n->op->name, n->op->attrs[attr].name, axis_of(n, A_AXIS, i), (long long)at[i]);
    }
    return cg__set_ints(n, attr, at, count);
}

/* Windows that fit: (size + before + after - dilation (k - 1) - 1) / stride + 1, at least 0 */
static cg_dim_t positions(const cg_node *n, int i)
{
    cg_graph *g = n->graph;
    const int64_t span = at_or(n, A_DILATION, i, 1) * (n->attr[A_SIZE].at[i] - 1) + 1, stride = at_or(n, A_STRIDE, i, 1);
    cg_node *size = cg__dim_node(g, n->in[0]->type.dim[axis_of(n, A_AXIS, i)]);
    cg_node *room = cg__int(g, CG_OP_add, size, cg__const_i64(g, at_or(n, A_BEFORE, i, 0) + at_or(n, A_AFTER, i, 0) - span + stride));
    cg_node *count = cg__int(g, CG_OP_maximum, cg__int(g, CG_OP_floor_divide, room, cg__const_i64(g, stride)), cg__const_i64(g, 0));
    return count ? cg__dim_from(count) : (cg_dim_t){ .n = -1 };
}

CG_DECLARE_INFER(cg__window_infer)
{
    const cg_type *in = &n->in[0]->type;
    const struct { int attr; int64_t missing, least; } options[] = { { A_SIZE, -1, 1 }, { A_STRIDE, 1, 1 }, { A_DILATION, 1, 1 }, { A_BEFORE, 0, 0 }, { A_AFTER, 0, 0 } };
    int rc = check_axes(n, A_AXIS, in->rank, err);
    for (int i = 0; i < CG_LEN(options) && rc == CG_OK; i++)
        rc = fill_option(n, options[i].attr, options[i].missing, options[i].least, err);
    const int count = n->attr[A_AXIS].n;
    if (rc == CG_OK && in->rank + count > CG_MAX_RANK)
        rc = cg__fail(err, CG_ESHAPE, "cg_%s: the result of %s would have rank %d", n->op->name, cg__label(n->in[0]), in->rank + count);
    n->type = *in;
    n->type.weak = false;
    for (int i = 0; i < count && rc == CG_OK; i++) {
        const cg_dim_t d = positions(n, i);
        if (!d.sym && d.n < 0)
            return cg__fail(err, CG_ENOMEM, "cg_%s: no memory", n->op->name);
        n->type.dim[axis_of(n, A_AXIS, i)] = d;
        n->type.dim[n->type.rank++] = (cg_dim_t){ .n = n->attr[A_SIZE].at[i] };
    }
    return rc;
}

static cg_num times(cg_plan *p, cg_num a, int64_t k) { return cg__num(p, CG_N_MUL, cg__coord_num(p, a), cg__num_const(p, k), 0, 0); }
static cg_num plus(cg_plan *p, cg_num a, cg_num b) { return a == CG_NUM_NONE ? b : b == CG_NUM_NONE ? a : cg__num(p, CG_N_ADD, cg__coord_num(p, a), cg__coord_num(p, b), 0, 0); }

/* a*ka + b*kb + off */
static cg_coord combine(cg_plan *p, const cg_coord *a, int64_t ka, const cg_coord *b, int64_t kb, int64_t off)
{
    cg_coord c = cg__coord_zero();
    c.off = plus(p, cg__num_const(p, off), plus(p, times(p, a->off, ka), times(p, b->off, kb)));
    for (int l = 0; l < CG_AXES_MAX; l++) {
        const cg_num x = a->c[l] == CG_NUM_NONE ? CG_NUM_NONE : times(p, a->c[l], ka), y = b->c[l] == CG_NUM_NONE ? CG_NUM_NONE : times(p, b->c[l], kb);
        c.c[l] = plus(p, x, y);
    }
    return c;
}

CG_DECLARE_EMIT(cg__window_emit)
{
    cg_plan *p = cg__lower_plan(cg__loop_lower(b));
    const int rank = n->in[0]->type.rank;
    cg_spot in = *at;
    for (int i = 0; i < n->attr[A_AXIS].n; i++) {
        const int axis = axis_of(n, A_AXIS, i);
        in.axis[axis] = combine(p, &at->axis[axis], n->attr[A_STRIDE].at[i], &at->axis[rank + i], n->attr[A_DILATION].at[i], -n->attr[A_BEFORE].at[i]);
    }
    return cg__loop_windowed(b, n->in[0], &in, &in, 0);
}

CG_DECLARE_GRAD(cg__window_grad)
{
    (void)need;
    cg_graph *g = n->graph;
    const cg_type *in = &n->in[0]->type;
    cg_node *list[1 + CG_MAX_RANK] = { gout[0] };
    int64_t shape[CG_MAX_RANK];
    int nin = 1;
    for (int i = 0; i < n->attr[A_AXIS].n && list[0]; i++)
        list[0] = cg__spread(list[0], axis_of(n, A_AXIS, i), n->attr[A_STRIDE].at[i]);
    for (int i = 0; i < in->rank; i++) {
        shape[i] = in->dim[i].sym ? CG_REF(nin) : in->dim[i].n;
        if (in->dim[i].sym)
            list[nin++] = in->dim[i].sym;
    }
    gin[0] = list[0] ? cg__node(g, CG_OP_window_sum, list, nin, (cg_attr[]){ { in->rank, shape }, n->attr[A_AXIS], n->attr[A_DILATION], n->attr[A_BEFORE] }) : NULL;
    return gin[0] ? CG_OK : CG_ENOMEM;
}

/* ---- window_sum */

CG_DECLARE_INFER(cg__window_sum_infer)
{
    const cg_type *in = &n->in[0]->type;
    const int count = n->attr[S_AXIS].n;
    n->type = (cg_type){ .dtype = in->dtype };
    if (cg__shape_from(n, S_SHAPE, 1, &n->type, err) < 0 || check_axes(n, S_AXIS, n->type.rank, err) < 0)
        return err->code;
    if (in->rank != n->type.rank + count || n->attr[S_DILATION].n != count || n->attr[S_BEFORE].n != count || in->dtype == CG_BOOL)
        return cg__fail(err, CG_ESHAPE, "cg_window_sum: %s is no view of %d windows over rank %d", cg__label(n->in[0]), count, n->type.rank);
    return CG_OK;
}

CG_DECLARE_LOWER(cg__window_sum_lower)
{
    cg_plan *p = cg__lower_plan(L);
    const int rank = n->type.rank, count = n->attr[S_AXIS].n, rc = cg__lower_out(L, n);
    cg_loop_builder *b = rc == CG_OK ? cg__loop_begin(L, n) : NULL;
    cg_spot in = { 0 }, out = { 0 };
    if (!b)
        return CG_ENOMEM;
    for (int i = 0; i < rank; i++)
        in.axis[i] = out.axis[i] = cg__coord_axis(cg__loop_axis(b, n->type.dim[i], false));
    for (int i = 0; i < count; i++) {
        const int axis = axis_of(n, S_AXIS, i);
        in.axis[rank + i] = cg__coord_axis(cg__loop_axis(b, n->in[0]->type.dim[rank + i], true));
        in.axis[axis] = combine(p, &in.axis[axis], 1, &in.axis[rank + i], -n->attr[S_DILATION].at[i], n->attr[S_BEFORE].at[i]);
    }
    const int v = cg__loop_windowed(b, n->in[0], &in, &in, 0);
    cg__loop_store(b, n, &out, cg__loop_reduce(b, CG_RED_SUM, n->type.dtype, v));
    return cg__loop_end(b);
}

CG_DECLARE_GRAD(cg__window_sum_grad)
{
    (void)need;
    cg_graph *g = n->graph;
    const int count = n->attr[S_AXIS].n, rank = n->type.rank;
    int64_t size[CG_MAX_RANK], after[CG_MAX_RANK];
    cg_node *x = gout[0];
    for (int i = 0; i < count; i++) {
        const cg_dim_t k = n->in[0]->type.dim[rank + i];
        if (k.sym)
            return gin[0] = cg__undefined(g, "its windows are of an unknown size"), CG_OK;
        size[i] = k.n;
        after[i] = n->attr[S_DILATION].at[i] * (k.n - 1) - n->attr[S_BEFORE].at[i];
        after[i] = after[i] > 0 ? after[i] : 0;
    }
    cg_node *y = cg__node(g, CG_OP_sliding_window_view, &x, 1, (cg_attr[]){ { count, size }, n->attr[S_AXIS], { -1, NULL }, n->attr[S_DILATION], n->attr[S_BEFORE], { count, after } });
    for (int i = 0; i < count && y; i++) {
        const int axis = axis_of(n, S_AXIS, i);
        y = cg_slice(y, axis, NULL, cg__dim_node(g, n->in[0]->type.dim[axis]), 1);
    }
    gin[0] = y;
    return y ? CG_OK : CG_ENOMEM;
}

/* ---- the public builder */

CG_API cg_node *cg_sliding_window_view(cg_node *a, const cg_windows *o)
{
    CG_BUILDER(cg_node_graph(a));
    if (!a)
        return NULL;
    if (!o || o->struct_size != sizeof *o)
        return cg__graph_fail(a->graph, CG_EINVAL, "cg_sliding_window_view: the options are not made by CG_WINDOWS of this version");
    const int n = o->naxes;
    const cg_attr attrs[] = { { n, o->size }, { n, o->axes }, { o->stride ? n : -1, o->stride }, { o->dilation ? n : -1, o->dilation },
                              { o->before ? n : -1, o->before }, { o->after ? n : -1, o->after } };
    if (!o->size || !o->axes || n < 1 || n > CG_MAX_RANK)
        return cg__graph_fail(a->graph, CG_EINVAL, "cg_sliding_window_view: needs axes, and a window size for each");
    return cg__build(a->graph, CG_OP_sliding_window_view, &a, 1, attrs);
}
