// SPDX-License-Identifier: MIT
/* Indexing: basic slices with symbolic bounds and their gradient (unslice), rows by an integer array (take), one_hot.
 *
 * Bounds are NumPy's: negative from the end, clamped to the axis. They are host integers, so a minibatch
 * x[i*64 : (i+1)*64] costs no launch, only numbers.
 */
#include "core/ops/ops.h"

static cg_node *icall(cg_graph *g, cg_op_id op, cg_node *a, cg_node *b) { return cg__int(g, op, a, b); }

static cg_node *pick_int(cg_graph *g, cg_node *cond_neg, cg_node *if_neg, cg_node *other)
{
    double v;
    if (!if_neg || !other)
        return NULL;                     /* no memory, also if that one would not have been picked */
    if (cg__is_const(cond_neg, &v))
        return v < 0 ? if_neg : other;
    cg_node *less = cg__node(g, CG_OP_less, (cg_node *[]){ cond_neg, cg__const_i64(g, 0) }, 2, NULL);
    return cg__node(g, CG_OP_where, (cg_node *[]){ less, if_neg, other }, 3, NULL);
}

/* A bound within lo..hi: v < 0 counts from the end. */
static cg_node *clamp_bound(cg_graph *g, cg_node *v, cg_node *dim, cg_node *lo, cg_node *hi)
{
    cg_node *from_end = icall(g, CG_OP_maximum, icall(g, CG_OP_add, v, dim), lo);
    return pick_int(g, v, from_end, icall(g, CG_OP_minimum, v, hi));
}

static cg_node *bound_arg(const cg_node *n, int attr, int axis)
{
    if (n->attr[attr].n <= axis || n->attr[attr].at[axis] == CG_NONE)
        return NULL;
    const int64_t v = n->attr[attr].at[axis];
    if (!CG_IS_REF(v))
        return cg__const_i64(n->graph, v);
    return CG_REF_OF(v) < n->nin ? n->in[CG_REF_OF(v)] : NULL;
}

/* First element, count and step along one axis, as nodes. */
cg_bounds cg__part_bounds(const cg_node *n, int axis)
{
    cg_graph *g = n->graph;
    cg_node *dim = cg__dim_node(g, n->in[0]->type.dim[axis]), *one = cg__const_i64(g, 1);
    cg_node *start = bound_arg(n, 0, axis), *stop = bound_arg(n, 1, axis);
    const int64_t step = n->attr[2].n > axis && n->attr[2].at[axis] != CG_NONE ? n->attr[2].at[axis] : 1;
    cg_node *lo = step > 0 ? cg__const_i64(g, 0) : cg__const_i64(g, -1);
    cg_node *hi = step > 0 ? dim : icall(g, CG_OP_sub, dim, one);
    start = start ? clamp_bound(g, start, dim, lo, hi) : step > 0 ? lo : hi;
    stop = stop ? clamp_bound(g, stop, dim, lo, hi) : step > 0 ? hi : lo;
    cg_node *span = step > 0 ? icall(g, CG_OP_sub, stop, start) : icall(g, CG_OP_sub, start, stop);
    const int64_t k = step > 0 ? step : -step;
    span = icall(g, CG_OP_floor_divide, icall(g, CG_OP_add, span, cg__const_i64(g, k - 1)), cg__const_i64(g, k));
    const bool whole = k == 1 && (step > 0 ? start == lo && stop == hi : start == hi && stop == lo);
    cg_node *len = whole ? dim : icall(g, CG_OP_maximum, span, cg__const_i64(g, 0));
    return (cg_bounds){ start, len, step };
}

int cg__part_type(const cg_node *n, cg_type *t, cg_error *err)
{
    const cg_type *in = &n->in[0]->type;
    for (int k = 0; k < 3; k++)
        if (n->attr[k].n > in->rank)
            return cg__fail(err, CG_ESHAPE, "cg_%s: %d bounds for %s", n->op->name, n->attr[k].n, cg__label(n->in[0]));
    for (int k = n->op->nin; k < n->nin; k++)
        if (n->in[k]->type.rank || n->in[k]->type.dtype != CG_I64)
            return cg__fail(err, CG_EDTYPE, "cg_%s: a bound must be an i64 scalar, is %s", n->op->name, cg__label(n->in[k]));
    *t = *in;
    t->weak = false;
    for (int i = 0; i < in->rank; i++) {
        if (n->attr[2].n > i && n->attr[2].at[i] == 0)
            return cg__fail(err, CG_EINVAL, "cg_%s: the step of axis %d is 0", n->op->name, i);
        const cg_bounds s = cg__part_bounds(n, i);
        if (!s.start || !s.len)
            return cg__fail(err, CG_ENOMEM, "cg_%s: no memory", n->op->name);
        t->dim[i] = cg__dim_from(s.len);
    }
    return CG_OK;
}

cg_node *cg__same_part(cg_op_id op, cg_node *const *values, const cg_node *like)
{
    const int have = like->op->nin, want = cg__ops[op].nin, rank = like->in[0]->type.rank;
    cg_node *in[2 + 2 * CG_MAX_RANK];
    int64_t at[3][CG_MAX_RANK];
    cg_attr attrs[3];
    memcpy(in, values, (size_t)want * sizeof *in);
    for (int k = have; k < like->nin; k++)
        in[want + k - have] = like->in[k];
    for (int k = 0; k < 3; k++) {
        attrs[k] = (cg_attr){ like->attr[k].n, at[k] };
        for (int i = 0; i < attrs[k].n && i < rank; i++)
            at[k][i] = like->attr[k].at[i] + (CG_IS_REF(like->attr[k].at[i]) ? want - have : 0);
    }
    return cg__node(like->graph, op, in, want + like->nin - have, attrs);
}

CG_DECLARE_INFER(cg__slice_infer) { return cg__part_type(n, &n->type, err); }

CG_DECLARE_EMIT(cg__slice_emit)
{
    cg_lower *L = cg__loop_lower(b);
    cg_plan *p = cg__lower_plan(L);
    cg_spot in = { 0 };
    for (int i = 0; i < n->type.rank; i++) {
        const cg_bounds s = cg__part_bounds(n, i);
        const cg_num step = cg__num_const(p, s.step), start = cg__lower_num(L, s.start);
        in.axis[i].off = cg__num(p, CG_N_ADD, start, cg__num(p, CG_N_MUL, cg__coord_num(p, at->axis[i].off), step, 0, 0), 0, 0);
        for (int l = 0; l < CG_AXES_MAX; l++)
            in.axis[i].c[l] = at->axis[i].c[l] == CG_NUM_NONE ? CG_NUM_NONE : cg__num(p, CG_N_MUL, cg__coord_num(p, at->axis[i].c[l]), step, 0, 0);
    }
    return cg__emit(b, n->in[0], &in);
}

cg_num cg__slice_first(cg_lower *L, const cg_node *n, int axis)
{
    return cg__lower_num(L, cg__part_bounds(n, axis).start);
}

cg_node *cg__part_in_zeros(const cg_node *n, cg_node *y)
{
    cg_dim_t start[CG_MAX_RANK];
    int64_t step[CG_MAX_RANK];
    for (int i = 0; i < n->in[0]->type.rank; i++) {
        const cg_bounds s = cg__part_bounds(n, i);
        if (!s.start)
            return NULL;
        start[i] = cg__dim_from(s.start);
        step[i] = s.step;
    }
    return cg__unslice(y, start, n->in[0]->type.dim, step);
}

/* The gradient of a slice is its gradient placed in zeros. */
CG_DECLARE_GRAD(cg__slice_grad)
{
    (void)need;
    gin[0] = cg__part_in_zeros(n, gout[0]);
    return CG_OK;
}

/* ---- unslice: element j of the operand at start + j * step, in zeros of `shape` */

enum { UN_START, UN_SHAPE, UN_STEP };

cg_node *cg__unslice(cg_node *x, const cg_dim_t *start, const cg_dim_t *shape, const int64_t *step)
{
    cg_node *in[1 + 2 * CG_MAX_RANK] = { x };
    int64_t list[2][CG_MAX_RANK];
    int nin = 1;
    if (!x)
        return NULL;
    const int r = x->type.rank;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < r; i++) {
            const cg_dim_t d = k ? shape[i] : start[i];
            list[k][i] = d.sym ? CG_REF(nin) : d.n;
            if (d.sym)
                in[nin++] = d.sym;
        }
    return cg__node(x->graph, CG_OP_unslice, in, nin, (cg_attr[]){ { r, list[0] }, { r, list[1] }, { r, step } });
}

static cg_dim_t un_arg(const cg_node *n, int attr, int i)
{
    const int64_t v = n->attr[attr].at[i];
    return CG_IS_REF(v) && CG_REF_OF(v) < n->nin ? cg__dim_from(n->in[CG_REF_OF(v)]) : (cg_dim_t){ .n = v };
}

/* Steps of 1 and -1 leave no gaps: the operand is read through a window. */
static bool gapless(const int64_t *step, int rank)
{
    for (int i = 0; i < rank; i++)
        if (step[i] != 1 && step[i] != -1)
            return false;
    return true;
}

/* With gaps the operand's elements are written to their places, so each must have one. Sizes known at the call only come from gradients, which fit. */
static bool has_places(const cg_node *n, const int64_t *step)
{
    bool good = true;
    for (int i = 0; i < n->type.rank; i++) {
        const cg_dim_t from = un_arg(n, UN_START, i), count = n->in[0]->type.dim[i], size = n->type.dim[i];
        int64_t last;
        if (cg__dim_is(count, 0))
            return true;
        if (!from.sym && !count.sym && !size.sym)
            good = good && !__builtin_mul_overflow(count.n - 1, step[i], &last) && !__builtin_add_overflow(last, from.n, &last) && from.n >= 0 &&
                   from.n < size.n && last >= 0 && last < size.n;
    }
    return good;
}

CG_DECLARE_INFER(cg__unslice_infer)
{
    const int rank = n->in[0]->type.rank;
    int64_t step[CG_MAX_RANK];
    if (n->attr[UN_START].n != rank || n->attr[UN_SHAPE].n != rank || n->attr[UN_STEP].n > rank)
        return cg__fail(err, CG_ESHAPE, "unslice: needs %d starts and sizes for %s", rank, cg__label(n->in[0]));
    n->type = (cg_type){ .dtype = n->in[0]->type.dtype, .rank = rank };
    for (int i = 0; i < rank; i++) {
        n->type.dim[i] = un_arg(n, UN_SHAPE, i);
        step[i] = n->attr[UN_STEP].n > i && n->attr[UN_STEP].at[i] != CG_NONE ? n->attr[UN_STEP].at[i] : 1;
        if ((!n->type.dim[i].sym && n->type.dim[i].n < 0) || step[i] == 0)
            return cg__fail(err, CG_ESHAPE, "unslice: axis %d has the size %lld and the step %lld", i, (long long)n->type.dim[i].n, (long long)step[i]);
    }
    if (!gapless(step, rank) && !has_places(n, step))
        return cg__fail(err, CG_ESHAPE, "unslice: with these steps %s does not lie within the shape", cg__label(n->in[0]));
    return cg__set_ints(n, UN_STEP, step, rank);
}

static int unslice_element(cg_loop_builder *b, const cg_node *n, const cg_spot *at)
{
    cg_lower *L = cg__loop_lower(b);
    cg_plan *p = cg__lower_plan(L);
    cg_spot in = *at;
    for (int i = 0; i < n->type.rank; i++) {
        const cg_num from = cg__lower_dim(L, un_arg(n, UN_START, i)), here = cg__coord_num(p, at->axis[i].off), minus = cg__num_const(p, -1);
        const bool back = n->attr[UN_STEP].at[i] == -1;
        in.axis[i].off = back ? cg__num(p, CG_N_SUB, from, here, 0, 0) : cg__num(p, CG_N_SUB, here, from, 0, 0);
        for (int l = 0; back && l < CG_AXES_MAX; l++)
            in.axis[i].c[l] = at->axis[i].c[l] == CG_NUM_NONE ? CG_NUM_NONE : cg__num(p, CG_N_MUL, cg__coord_num(p, at->axis[i].c[l]), minus, 0, 0);
    }
    return cg__loop_windowed(b, n->in[0], &in, &in, 0);
}

/* With gaps: zeros first, then the operand's elements into their places. */
static int unslice_scattered(cg_lower *L, const cg_node *n)
{
    cg_plan *p = cg__lower_plan(L);
    cg_spot from = { 0 }, to = { 0 };
    int rc = cg__lower_zeros(L, n);
    cg_loop_builder *b = rc == CG_OK ? cg__loop_begin(L, n) : NULL;
    if (!b)
        return rc < 0 ? rc : CG_ENOMEM;
    for (int i = 0; i < n->type.rank; i++) {
        const int l = cg__loop_axis(b, n->in[0]->type.dim[i], false);
        from.axis[i] = to.axis[i] = cg__coord_axis(l);
        to.axis[i].c[l] = cg__num_const(p, n->attr[UN_STEP].at[i]);
        to.axis[i].off = cg__lower_dim(L, un_arg(n, UN_START, i));
    }
    cg__loop_store(b, n, &to, cg__emit(b, n->in[0], &from));
    return cg__loop_end(b);
}

CG_DECLARE_LOWER(cg__unslice_lower)
{
    const int rc = cg__lower_out(L, n);
    if (rc < 0)
        return rc;
    return gapless(n->attr[UN_STEP].at, n->type.rank) ? cg__lower_elements(L, n, unslice_element) : unslice_scattered(L, n);
}

CG_DECLARE_GRAD(cg__unslice_grad)
{
    (void)need;
    cg_node *x = gout[0];
    for (int i = 0; i < n->type.rank; i++) {
        cg_node *from = cg__dim_node(n->graph, un_arg(n, UN_START, i)), *count = cg__dim_node(n->graph, n->in[0]->type.dim[i]);
        x = cg_slice(cg_slice(x, i, from, NULL, n->attr[UN_STEP].at[i]), i, NULL, count, 1);
    }
    gin[0] = x;
    return CG_OK;
}

cg_node *cg__spread(cg_node *x, int axis, int64_t step)
{
    cg_graph *g = x->graph;
    cg_dim_t start[CG_MAX_RANK] = { { 0 } }, shape[CG_MAX_RANK];
    int64_t steps[CG_MAX_RANK];
    if (step == 1)
        return x;
    for (int i = 0; i < x->type.rank; i++) {
        shape[i] = x->type.dim[i];
        steps[i] = 1;
    }
    cg_node *many = cg__int(g, CG_OP_sub, cg__int(g, CG_OP_mul, cg__dim_node(g, shape[axis]), cg__const_i64(g, step)), cg__const_i64(g, step - 1));
    cg_node *size = cg__int(g, CG_OP_maximum, many, cg__const_i64(g, 0));
    if (!size)
        return NULL;
    shape[axis] = cg__dim_from(size);
    steps[axis] = step;
    return cg__unslice(x, start, shape, steps);
}

/* ---- take: rows of an axis by integers of any shape, which replaces the axis */

int cg__rows_type(const cg_node *n, cg_type *t, cg_error *err)
{
    const cg_type *a = &n->in[0]->type, *rows = &n->in[1]->type;
    int64_t axis = cg__attr_int(n, 0, 0);
    if (!cg__axis_ok(&axis, a->rank))
        return cg__fail(err, CG_ESHAPE, "cg_%s: %s has no axis %lld", n->op->name, cg__label(n->in[0]), (long long)axis);
    if (!cg__is_int(rows->dtype))
        return cg__fail(err, CG_EDTYPE, "cg_%s: indices must be integers, are %s", n->op->name, cg__label(n->in[1]));
    if (a->rank - 1 + rows->rank > CG_MAX_RANK)
        return cg__fail(err, CG_ESHAPE, "cg_%s: rows of %s by %s have more than %d axes", n->op->name, cg__label(n->in[0]), cg__label(n->in[1]), CG_MAX_RANK);
    *t = (cg_type){ .dtype = a->dtype, .rank = a->rank - 1 + rows->rank };
    for (int i = 0; i < t->rank; i++)
        t->dim[i] = i < axis ? a->dim[i] : i < axis + rows->rank ? rows->dim[i - axis] : a->dim[i - rows->rank + 1];
    return CG_OK;
}

int cg__rows_axis(cg_node *n)
{
    int64_t axis = cg__attr_int(n, 0, 0);
    cg__axis_ok(&axis, n->in[0]->type.rank);
    return cg__set_ints(n, 0, &axis, 1);
}

CG_DECLARE_INFER(cg__take_infer)
{
    return cg__rows_type(n, &n->type, err) < 0 ? (int)err->code : cg__rows_axis(n);
}

CG_DECLARE_EMIT(cg__take_emit)
{
    const int r = n->in[1]->type.rank, axis = (int)n->attr[0].at[0];
    cg_spot row = *at, which = { 0 };
    for (int i = 0; i < r; i++)
        which.axis[i] = at->axis[axis + i];
    row.axis[axis] = cg__coord_zero();
    for (int i = axis + 1; i < n->in[0]->type.rank; i++)
        row.axis[i] = at->axis[i + r - 1];
    const int v = cg__emit(b, n->in[1], &which);
    return v < 0 ? v : cg__loop_blame(b, cg__loop_load(b, n->in[0], &row, cg__loop_cast(b, v, CG_I64), axis), n);
}

CG_DECLARE_GRAD(cg__take_grad)
{
    (void)need;
    gin[0] = cg_inc_rows(cg_zeros_like(n->in[0]), n->in[1], gout[0], (int)n->attr[0].at[0]);
    return CG_OK;
}

/* ---- take_along_axis: for each line along an axis, elements of its own */

CG_DECLARE_INFER(cg__take_along_infer)
{
    const cg_type *a = &n->in[0]->type, *rows = &n->in[1]->type;
    int64_t axis = cg__attr_int(n, 0, -1);
    if (!cg__axis_ok(&axis, a->rank))
        return cg__fail(err, CG_ESHAPE, "cg_take_along_axis: %s has no axis %lld", cg__label(n->in[0]), (long long)axis);
    if (!cg__is_int(rows->dtype))
        return cg__fail(err, CG_EDTYPE, "cg_take_along_axis: indices must be integers, are %s", cg__label(n->in[1]));
    bool fits = a->rank == rows->rank;
    n->type = *rows;
    n->type.dtype = a->dtype;
    n->type.weak = false;
    for (int i = 0; i < a->rank && fits; i++) {
        const cg_dim_t x = a->dim[i], y = rows->dim[i];
        fits = i == axis || x.sym || y.sym || x.n == y.n;
        n->type.dim[i] = i == axis || x.sym ? y : x;
    }
    if (!fits)
        return cg__fail(err, CG_ESHAPE, "cg_take_along_axis: %s and %s differ in more than axis %lld", cg__label(n->in[0]), cg__label(n->in[1]), (long long)axis);
    return cg__set_ints(n, 0, &axis, 1);
}

CG_DECLARE_EMIT(cg__take_along_emit)
{
    const cg_node *a = n->in[0];
    const int axis = (int)n->attr[0].at[0];
    cg_spot line = *at;
    for (int i = 0; i < n->type.rank; i++)
        if (i != axis && cg__check_dims(cg__loop_lower(b), n, a->type.dim[i], n->in[1]->type.dim[i]) < 0)
            return CG_ENOMEM;
    line.axis[axis] = cg__coord_zero();
    const int v = cg__emit(b, n->in[1], at);
    return v < 0 ? v : cg__loop_blame(b, cg__loop_load(b, a, &line, cg__loop_cast(b, v, CG_I64), axis), n);
}

/* Element j of a line gets the gradients of those that were taken from it: sum over k of g[k] where rows[k] = j. */
CG_DECLARE_GRAD(cg__take_along_grad)
{
    (void)need;
    cg_graph *g = n->graph;
    const int axis = (int)n->attr[0].at[0];
    const bool several = !cg__dim_is(n->type.dim[axis], 1);      /* k has an axis of its own, before the axes behind j */
    cg_node *rows = cg_cast(n->in[1], CG_I64), *size = cg__dim_node(g, n->in[0]->type.dim[axis]), *zero = cg__const_i64(g, 0), *of_k = gout[0];
    cg_node *j = cg_arange(zero, size, cg__const_i64(g, 1)), *from_end = cg_less(rows, zero);
    rows = cg_where(from_end, cg_add(rows, size), rows);
    for (int i = several ? axis : axis + 1; i < n->type.rank; i++)
        j = cg_expand_dims(j, -1);
    if (several) {
        rows = cg_expand_dims(rows, axis);
        of_k = cg_expand_dims(of_k, axis);
    }
    cg_node *hit = cg_equal(rows, j), *each = cg_where(hit, of_k, cg_scalar(g, n->type.dtype, 0));
    gin[0] = several ? cg_sum(each, CG_REDUCE(CG_OVER(axis + 1))) : each;
    return CG_OK;
}

/* ---- one_hot: f32, the depth is a new last axis; an index out of range gives a row of zeros */

CG_DECLARE_INFER(cg__one_hot_infer)
{
    const cg_type *in = &n->in[0]->type;
    const int64_t depth = cg__attr_int(n, 0, -1);
    if (!cg__is_int(in->dtype) || in->rank == CG_MAX_RANK || (depth < 0 && !CG_IS_REF(depth)))
        return cg__fail(err, CG_EDTYPE, "cg_one_hot: needs integers and a depth, got %s", cg__label(n->in[0]));
    n->type = *in;
    n->type.dtype = CG_F32;
    n->type.dim[n->type.rank++] = CG_IS_REF(depth) && CG_REF_OF(depth) < n->nin ? cg__dim_from(n->in[CG_REF_OF(depth)]) : (cg_dim_t){ .n = depth };
    return CG_OK;
}

CG_DECLARE_EMIT(cg__one_hot_emit)
{
    const int v = cg__emit(b, n->in[0], at);
    if (v < 0)
        return v;
    const int here = cg__loop_coord(b, &at->axis[n->type.rank - 1]);
    return cg__loop_cast(b, cg__loop_elem(b, CG_EL_equal, CG_BOOL, cg__loop_cast(b, v, CG_I64), here, -1), CG_F32);
}

/* ---- the public builders */

CG_API cg_node *cg_slice(cg_node *a, int axis, cg_node *start, cg_node *stop, int64_t step)
{
    CG_BUILDER(cg_node_graph(a));
    if (!a)
        return NULL;
    int64_t at = axis, list[3][CG_MAX_RANK];
    if (!cg__axis_ok(&at, a->type.rank))
        return cg__graph_fail(a->graph, CG_ESHAPE, "cg_slice: %s has no axis %d", cg__label(a), axis);
    cg_node *in[3] = { a }, *bound[2] = { start, stop };
    int nin = 1;
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < a->type.rank; i++)
            list[k][i] = CG_NONE;
    for (int k = 0; k < 2; k++)
        if (bound[k]) {
            const cg_dim_t d = cg__dim_from(bound[k]);
            list[k][at] = d.sym ? CG_REF(nin) : d.n;
            if (d.sym)
                in[nin++] = bound[k];
        }
    list[2][at] = step;
    const int r = a->type.rank;
    return cg__build(a->graph, CG_OP_slice, in, nin, (cg_attr[]){ { r, list[0] }, { r, list[1] }, { r, list[2] } });
}

CG_API cg_node *cg_take(cg_node *a, cg_node *rows)
{
    CG_BUILDER(cg_node_graph(a));
    return cg_take_axis(a, rows, 0);
}

CG_API cg_node *cg_take_axis(cg_node *a, cg_node *rows, int axis)
{
    CG_BUILDER(cg_node_graph(a));
    const int64_t at = axis;
    return a && rows ? cg__build(a->graph, CG_OP_take, (cg_node *[]){ a, rows }, 2, &(cg_attr){ 1, &at }) : NULL;
}

CG_API cg_node *cg_take_along_axis(cg_node *a, cg_node *rows, int axis)
{
    CG_BUILDER(cg_node_graph(a));
    const int64_t at = axis;
    return a && rows ? cg__build(a->graph, CG_OP_take_along_axis, (cg_node *[]){ a, rows }, 2, &(cg_attr){ 1, &at }) : NULL;
}
