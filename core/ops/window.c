// SPDX-License-Identifier: MIT
/* Sliding windows, and their adjoint: what convolution and pooling are made of.
 *
 *     sliding_window_view: y[.., o, .., k] = x[.., o*stride + k*dilation - before, ..], outside x zero, or the least value of the dtype (`lowest`)
 *     window_sum:          x[.., i, ..] = sum of y[.., o, .., k] over all o and k with o*stride + k*dilation - before = i
 *
 * Both are LOOPs: the view is an affine coordinate with a window, so im2col is what a product's operand costs, and no more. In the sum o is
 * affine too, if the places i are walked as q*stride + r: then k = r + j*stride and o = q - j. What is summed is computed there, element by
 * element, so the gradient of a pooling is one loop. A stride beside a dilation, and what would need more axes than a loop has, spreads rows
 * first (unslice with a step), and is then of stride 1.
 */
#include <math.h>
#include "core/ops/ops.h"

enum { A_SIZE, A_AXIS, A_STRIDE, A_DILATION, A_BEFORE, A_AFTER, A_LOWEST };      /* sliding_window_view */
enum { S_SHAPE, S_AXIS, S_STRIDE, S_DILATION, S_BEFORE, S_AFTER };               /* window_sum */

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
    const int count = n->attr[A_AXIS].n;             /* of both operations */
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
    const int64_t lowest = cg__attr_int(n, A_LOWEST, 0) != 0;
    if (rc == CG_OK)
        rc = cg__set_ints(n, A_LOWEST, &lowest, 1);
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

static double lowest_of(cg_dtype d)
{
    const cg_dtype_row *t = &cg__dtypes[d];
    return cg__is_float(d) ? -__builtin_inf() : t->kind == CG_KIND_INT ? -ldexp(1, 8 * (int)t->bytes - 1) : 0;
}

CG_DECLARE_EMIT(cg__window_emit)
{
    cg_plan *p = cg__lower_plan(cg__loop_lower(b));
    const int rank = n->in[0]->type.rank;
    cg_spot in = *at;
    bool padded = false;
    for (int i = 0; i < n->attr[A_AXIS].n; i++) {
        const int axis = axis_of(n, A_AXIS, i);
        padded |= n->attr[A_BEFORE].at[i] || n->attr[A_AFTER].at[i];
        in.axis[axis] = combine(p, &at->axis[axis], n->attr[A_STRIDE].at[i], &at->axis[rank + i], n->attr[A_DILATION].at[i], -n->attr[A_BEFORE].at[i]);
    }
    if (!padded && !cg__loop_is_bounded(b))
        return cg__loop_load(b, n->in[0], &in, -1, 0);
    return cg__loop_windowed(b, n->in[0], &in, &in, n->attr[A_LOWEST].at[0] ? lowest_of(n->type.dtype) : 0);
}

/* ---- the adjoint of a view, as nodes */

/* The axes that are summed by stride, as long as a loop has room for a sum of axes; the others are spread. */
static void choose_strided(const cg_adjoint *a, int rank, bool *strided)
{
    int axes = rank + a->naxes;
    for (int i = 0; i < a->naxes; i++) {
        const bool overlap = a->size[i] > a->stride[i];          /* else there is no j */
        strided[i] = a->stride[i] > 1 && a->dilation[i] == 1 && axes + overlap <= CG_AXES_MAX;
        axes += strided[i] && overlap;
    }
}

/* Strided sums are over the padded array up to a multiple of the stride, and what was added is cut off. */
static cg_dim_t padded(cg_graph *g, cg_dim_t size, int64_t before, int64_t stride)
{
    cg_node *by = cg__const_i64(g, stride), *room = cg__int(g, CG_OP_add, cg__dim_node(g, size), cg__const_i64(g, before + stride - 1));
    cg_node *whole = cg__int(g, CG_OP_mul, cg__int(g, CG_OP_floor_divide, room, by), by);
    return whole ? cg__dim_from(whole) : (cg_dim_t){ .n = -1 };
}

cg_node *cg__view_adjoint(cg_node *y, const cg_dim_t *shape, int rank, const cg_adjoint *a)
{
    bool strided[CG_MAX_RANK];
    int64_t stride[CG_MAX_RANK], before[CG_MAX_RANK], dims[CG_MAX_RANK];
    cg_dim_t whole[CG_MAX_RANK];
    cg_node *list[1 + CG_MAX_RANK] = { y };
    int nin = 1;
    if (!y)
        return NULL;
    cg_graph *g = y->graph;
    memcpy(whole, shape, (size_t)rank * sizeof *whole);
    choose_strided(a, rank, strided);
    for (int i = 0; i < a->naxes && list[0]; i++) {
        const int axis = (int)a->axes[i];
        stride[i] = strided[i] ? a->stride[i] : 1;
        before[i] = strided[i] ? 0 : a->before[i];
        if (strided[i])
            whole[axis] = padded(g, shape[axis], a->before[i], a->stride[i]);
        else
            list[0] = cg__spread(list[0], axis, a->stride[i]);
    }
    for (int i = 0; i < rank; i++) {
        dims[i] = whole[i].sym ? CG_REF(nin) : whole[i].n;
        if (whole[i].sym)
            list[nin++] = whole[i].sym;
    }
    const cg_attr attrs[] = { { rank, dims }, { a->naxes, a->axes }, { a->naxes, stride }, { a->naxes, a->dilation }, { a->naxes, before }, { a->naxes, a->after } };
    cg_node *x = list[0] ? cg__build(g, CG_OP_window_sum, list, nin, attrs) : NULL;
    for (int i = 0; i < a->naxes && x; i++) {
        const int axis = (int)a->axes[i];
        cg_node *from = cg__const_i64(g, a->before[i]);
        if (strided[i] && !cg__dim_same(whole[axis], shape[axis]))
            x = cg_slice(x, axis, from, cg__int(g, CG_OP_add, from, cg__dim_node(g, shape[axis])), 1);
    }
    return x;
}

CG_DECLARE_GRAD(cg__window_grad)
{
    (void)need;
    const cg_adjoint a = { .naxes = n->attr[A_AXIS].n, .axes = n->attr[A_AXIS].at, .size = n->attr[A_SIZE].at, .stride = n->attr[A_STRIDE].at,
                           .dilation = n->attr[A_DILATION].at, .before = n->attr[A_BEFORE].at, .after = n->attr[A_AFTER].at };
    gin[0] = cg__view_adjoint(gout[0], n->in[0]->type.dim, n->in[0]->type.rank, &a);
    return gin[0] ? CG_OK : CG_ENOMEM;
}

/* ---- window_sum */

/* A strided axis is walked in whole strides from the first element on. */
static int check_strided(const cg_node *n, cg_error *err)
{
    for (int i = 0; i < n->attr[S_AXIS].n; i++) {
        const int64_t stride = n->attr[S_STRIDE].at[i];
        const cg_dim_t size = n->type.dim[axis_of(n, S_AXIS, i)];
        if (stride > 1 && (n->attr[S_DILATION].at[i] != 1 || n->attr[S_BEFORE].at[i] || (!size.sym && size.n % stride)))
            return cg__fail(err, CG_EINVAL, "cg_window_sum: axis %d with stride %lld must have no dilation, nothing before it and a multiple of the stride as its size",
                            axis_of(n, S_AXIS, i), (long long)stride);
    }
    return CG_OK;
}

CG_DECLARE_INFER(cg__window_sum_infer)
{
    const cg_type *in = &n->in[0]->type;
    const struct { int attr; int64_t missing, least; } options[] = { { S_STRIDE, 1, 1 }, { S_DILATION, 1, 1 }, { S_BEFORE, 0, 0 }, { S_AFTER, 0, 0 } };
    n->type = (cg_type){ .dtype = in->dtype };
    if (cg__shape_from(n, S_SHAPE, 1, &n->type, err) < 0 || check_axes(n, S_AXIS, n->type.rank, err) < 0)
        return err->code;
    if (in->rank != n->type.rank + n->attr[S_AXIS].n || in->dtype == CG_BOOL)
        return cg__fail(err, CG_ESHAPE, "cg_window_sum: %s is no view of %d windows over rank %d", cg__label(n->in[0]), n->attr[S_AXIS].n, n->type.rank);
    int rc = CG_OK;
    for (int i = 0; i < CG_LEN(options) && rc == CG_OK; i++)
        rc = fill_option(n, options[i].attr, options[i].missing, options[i].least, err);
    return rc == CG_OK ? check_strided(n, err) : rc;
}

static int64_t known_or(cg_dim_t d, int64_t missing) { return d.sym ? missing : d.n; }

/* Axes of the loop along window w of the sum n, and what they say of the coordinates of n and of its operand; inner axes come when the outer
 * ones are there. Where the parts of the operand do not lie one behind the other, the longer of two axes is the last. */
typedef struct along { cg_coord place, start, tap; cg_num taps; } along;

static bool strided(const cg_node *n, int w) { return n->attr[S_STRIDE].at[w] > 1; }

static void outer_along(cg_loop_builder *b, const cg_node *n, int w, along *a)
{
    cg_lower *L = cg__loop_lower(b);
    cg_plan *p = cg__lower_plan(L);
    const int axis = axis_of(n, S_AXIS, w);
    const int64_t by = n->attr[S_STRIDE].at[w];
    const cg_num size = cg__lower_dim(L, n->type.dim[axis]), taps = cg__lower_dim(L, n->in[0]->type.dim[n->type.rank + w]);
    a->taps = taps;
    if (!strided(n, w)) {
        a->place = a->start = cg__coord_axis(cg__loop_axis_of(b, size, false));
        return;
    }
    const cg_num stride = cg__num_const(p, by), strides = cg__num(p, CG_N_FDIV, size, stride, 0, 0);
    const bool exact = cg__num_is(p, taps, by) && strides == cg__lower_dim(L, n->in[0]->type.dim[axis]);
    const int q = cg__loop_axis_of(b, exact ? strides : stride, false), r = cg__loop_axis_of(b, exact ? stride : strides, false);
    a->start = cg__coord_axis(exact ? q : r);
    a->tap = cg__coord_axis(exact ? r : q);
    a->place = combine(p, &a->start, by, &a->tap, 1, 0);
    a->taps = cg__num(p, CG_N_FDIV, cg__num(p, CG_N_ADD, taps, cg__num_const(p, by - 1), 0, 0), stride, 0, 0);
}

static void inner_along(cg_loop_builder *b, const cg_node *n, int w, along *a)
{
    cg_lower *L = cg__loop_lower(b);
    cg_plan *p = cg__lower_plan(L);
    const int axis = axis_of(n, S_AXIS, w), last = n->type.rank + w;
    const bool one = cg__num_is(p, a->taps, 1) && strided(n, w);
    const cg_coord j = one ? cg__coord_zero() : cg__coord_axis(cg__loop_axis_of(b, a->taps, true));
    a->start = one ? a->start : combine(p, &a->start, 1, &j, -n->attr[S_DILATION].at[w], n->attr[S_BEFORE].at[w]);
    cg__loop_within(b, &a->start, cg__lower_dim(L, n->in[0]->type.dim[axis]));
    if (!strided(n, w))
        a->tap = j;
    else {
        const int64_t by = n->attr[S_STRIDE].at[w];
        a->tap = one ? a->tap : combine(p, &a->tap, 1, &j, by, 0);
        if (known_or(n->in[0]->type.dim[last], 1) % by)
            cg__loop_within(b, &a->tap, cg__lower_dim(L, n->in[0]->type.dim[last]));
    }
}

CG_DECLARE_LOWER(cg__window_sum_lower)
{
    const int rank = n->type.rank, count = n->attr[S_AXIS].n, rc = cg__lower_out(L, n);
    cg_loop_builder *b = rc == CG_OK ? cg__loop_begin(L, n) : NULL;
    cg_spot in = { 0 }, out = { 0 };
    along a[CG_MAX_RANK];
    bool sums = false;
    if (!b)
        return CG_ENOMEM;
    for (int i = 0; i < rank; i++) {
        int w = 0;
        while (w < count && axis_of(n, S_AXIS, w) != i)
            w++;
        if (w < count)
            outer_along(b, n, w, &a[w]);
        out.axis[i] = in.axis[i] = w < count ? a[w].place : cg__coord_axis(cg__loop_axis(b, n->type.dim[i], false));
    }
    for (int w = 0; w < count; w++) {
        sums |= !strided(n, w) || !cg__num_is(cg__lower_plan(L), a[w].taps, 1);
        inner_along(b, n, w, &a[w]);
        in.axis[axis_of(n, S_AXIS, w)] = a[w].start;
        in.axis[rank + w] = a[w].tap;
    }
    const int v = cg__loop_inside(b, cg__emit(b, n->in[0], &in));
    cg__loop_store(b, n, &out, sums ? cg__loop_reduce(b, CG_RED_SUM, n->type.dtype, v) : v);
    return cg__loop_end(b);
}

/* Behind the array the view goes on as far as windows begin; what it has more than them is cut off. */
static int64_t room_after(const cg_node *n, int w, int64_t taps)
{
    const int64_t span = n->attr[S_DILATION].at[w] * (taps - 1) + 1, before = n->attr[S_BEFORE].at[w], given = n->attr[S_AFTER].at[w];
    const cg_dim_t size = n->type.dim[axis_of(n, S_AXIS, w)], windows = n->in[0]->type.dim[axis_of(n, S_AXIS, w)];
    if (size.sym || windows.sym)
        return given > span - 1 - before ? given : span - 1 - before;
    const int64_t most = (windows.n - 1) * n->attr[S_STRIDE].at[w] + span - size.n - before;
    return most > 0 ? most : 0;
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
        after[i] = room_after(n, i, k.n);
    }
    cg_node *y = cg__build(g, CG_OP_sliding_window_view, &x, 1, (cg_attr[]){ { count, size }, n->attr[S_AXIS], n->attr[S_STRIDE], n->attr[S_DILATION], n->attr[S_BEFORE], { count, after }, { -1, NULL } });
    for (int i = 0; i < count && y; i++) {
        const int axis = axis_of(n, S_AXIS, i);
        const cg_dim_t windows = n->in[0]->type.dim[axis];
        if (!cg__dim_same(y->type.dim[axis], windows))
            y = cg_slice(y, axis, NULL, cg__dim_node(g, windows), 1);
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
    const int64_t lowest = o->lowest != 0;
    const cg_attr attrs[] = { { n, o->size }, { n, o->axes }, { o->stride ? n : -1, o->stride }, { o->dilation ? n : -1, o->dilation },
                              { o->before ? n : -1, o->before }, { o->after ? n : -1, o->after }, { 1, &lowest } };
    if (!o->size || !o->axes || n < 1 || n > CG_MAX_RANK)
        return cg__graph_fail(a->graph, CG_EINVAL, "cg_sliding_window_view: needs axes, and a window size for each");
    return cg__build(a->graph, CG_OP_sliding_window_view, &a, 1, attrs);
}
