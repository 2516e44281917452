// SPDX-License-Identifier: MIT
/* Reductions over any axes: one LOOP each, the kept axes outer, the reduced ones inner.
 *
 * A reduction is a row: the dtype of its result, whether it has a value over no elements, and what it makes of an element's value inside the
 * loop. var and logsumexp reduce twice, in two stages of the same loop:
 *     var = mean((x - mean x)^2)                    (two passes: no cancellation; ddof 0)
 *     logsumexp = m + log sum exp(x - m), m = max x, or 0 where the maximum is infinite
 * Sums and products of integers are 64 bits wide; means, var and logsumexp of integers are f32.
 */
#include "core/ops/ops.h"

typedef enum { OUT_SAME, OUT_WIDE, OUT_FLOAT, OUT_INDEX, OUT_BOOL } out_dtype;
/* The element v (of the operand's dtype) becomes the reduced value, in dtype d; c is the number of elements. */
typedef int reducer(cg_loop_builder *b, cg_dtype d, cg_num c, int v);
typedef struct row { cg_op_id op; out_dtype out; bool needs_elements; reducer *reduce; } row;

/* ---- inside the loop */

static int with(cg_loop_builder *b, cg_elem op, cg_dtype d, int x, int y) { return cg__loop_elem(b, op, d, x, y, -1); }
static int over(cg_loop_builder *b, cg_red op, cg_dtype d, int v) { return cg__loop_reduce(b, op, d, v); }
static int literal(cg_loop_builder *b, cg_dtype d, double v) { return cg__loop_literal(b, d, v); }
static int per_count(cg_loop_builder *b, cg_dtype d, cg_num c, int v) { return with(b, CG_EL_div, d, v, cg__loop_cast(b, cg__loop_number(b, c), d)); }

static int sum(cg_loop_builder *b, cg_dtype d, cg_num c, int v) { (void)c; return over(b, CG_RED_SUM, d, cg__loop_cast(b, v, d)); }
static int prod(cg_loop_builder *b, cg_dtype d, cg_num c, int v) { (void)c; return over(b, CG_RED_PROD, d, cg__loop_cast(b, v, d)); }
static int max(cg_loop_builder *b, cg_dtype d, cg_num c, int v) { (void)c; return over(b, CG_RED_MAX, d, v); }
static int min(cg_loop_builder *b, cg_dtype d, cg_num c, int v) { (void)c; return over(b, CG_RED_MIN, d, v); }
static int argmax(cg_loop_builder *b, cg_dtype d, cg_num c, int v) { (void)c; return over(b, CG_RED_ARGMAX, d, v); }
static int argmin(cg_loop_builder *b, cg_dtype d, cg_num c, int v) { (void)c; return over(b, CG_RED_ARGMIN, d, v); }
static int mean(cg_loop_builder *b, cg_dtype d, cg_num c, int v) { return per_count(b, d, c, sum(b, d, c, v)); }

static int var(cg_loop_builder *b, cg_dtype d, cg_num c, int v)
{
    const int x = cg__loop_cast(b, v, d), from_mean = with(b, CG_EL_sub, d, x, mean(b, d, c, x));
    return mean(b, d, c, cg__loop_elem(b, CG_EL_square, d, from_mean, -1, -1));
}

static int logsumexp(cg_loop_builder *b, cg_dtype d, cg_num c, int v)
{
    const int x = cg__loop_cast(b, v, d), top = over(b, CG_RED_MAX, d, x);
    const int gap = with(b, CG_EL_sub, d, top, top);                                     /* 0, or NaN where top is infinite or NaN */
    const int finite = cg__loop_elem(b, CG_EL_equal, CG_BOOL, gap, gap, -1), m = cg__loop_elem(b, CG_EL_where, d, finite, top, literal(b, d, 0));
    const int total = sum(b, d, c, cg__loop_elem(b, CG_EL_exp, d, with(b, CG_EL_sub, d, x, m), -1, -1));
    return with(b, CG_EL_add, d, m, cg__loop_elem(b, CG_EL_log, d, total, -1, -1));
}

/* How many elements are (or are not) zero decides; so over no elements any is false and all true. NaN is not zero. */
static int compare_count(cg_loop_builder *b, cg_dtype d, cg_elem compare, int v)
{
    const int is = with(b, compare, CG_BOOL, v, literal(b, cg__loop_dtype(b, v), 0));
    const int count = over(b, CG_RED_SUM, CG_I64, cg__loop_cast(b, is, CG_I64));
    return with(b, compare, d, count, literal(b, CG_I64, 0));
}
static int any(cg_loop_builder *b, cg_dtype d, cg_num c, int v) { (void)c; return compare_count(b, d, CG_EL_not_equal, v); }
static int all(cg_loop_builder *b, cg_dtype d, cg_num c, int v) { (void)c; return compare_count(b, d, CG_EL_equal, v); }

static const row rows[] = {
    { CG_OP_sum, OUT_WIDE, false, sum },      { CG_OP_prod, OUT_WIDE, false, prod },    { CG_OP_max, OUT_SAME, true, max },     { CG_OP_min, OUT_SAME, true, min },
    { CG_OP_mean, OUT_FLOAT, false, mean },   { CG_OP_var, OUT_FLOAT, false, var },     { CG_OP_argmax, OUT_INDEX, true, argmax }, { CG_OP_argmin, OUT_INDEX, true, argmin },
    { CG_OP_any, OUT_BOOL, false, any },      { CG_OP_all, OUT_BOOL, false, all },      { CG_OP_logsumexp, OUT_FLOAT, false, logsumexp },
};

static const row *row_of(const cg_node *n)
{
    for (int i = 0; i < CG_LEN(rows); i++)
        if (cg__is(n, rows[i].op))
            return &rows[i];
    return NULL;                         /* not reached: the table of ops names these functions for these ops only */
}

/* ---- infer */

static int reduced(const cg_node *n, bool mask[CG_MAX_RANK])
{
    memset(mask, 0, CG_MAX_RANK * sizeof *mask);
    for (int i = 0; i < n->attr[0].n; i++)
        mask[n->attr[0].at[i]] = true;
    return n->attr[0].n;
}

static int infer_dims(cg_node *n, cg_error *err)
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
    for (int i = 0; i < in->rank; i++) {
        const bool gone = n->attr[0].n < 0 || mask[i];
        if (gone)
            axes[count++] = i;
        if (!gone || keep)
            n->type.dim[n->type.rank++] = gone ? (cg_dim_t){ .n = 1 } : in->dim[i];
    }
    return cg__set_ints(n, 0, axes, count) < 0 || cg__set_ints(n, 1, &keep, 1) < 0 ? cg__fail(err, CG_ENOMEM, "cg_%s: no memory", n->op->name) : CG_OK;
}

static cg_dtype result_dtype(out_dtype out, cg_dtype d)
{
    const cg_kind k = cg__dtypes[d].kind;
    switch (out) {
    case OUT_WIDE: return k == CG_KIND_FLOAT ? d : k == CG_KIND_UINT ? CG_U64 : CG_I64;
    case OUT_FLOAT: return k == CG_KIND_FLOAT ? d : CG_F32;
    case OUT_INDEX: return CG_I64;
    case OUT_BOOL: return CG_BOOL;
    default: return d;
    }
}

CG_DECLARE_INFER(cg__reduce_infer)
{
    const row *r = row_of(n);
    n->type = (cg_type){ .dtype = result_dtype(r->out, n->in[0]->type.dtype) };
    const int rc = infer_dims(n, err);
    if (rc < 0)
        return rc;
    for (int i = 0; r->needs_elements && i < n->attr[0].n; i++)
        if (cg__dim_is(n->in[0]->type.dim[n->attr[0].at[i]], 0))
            return cg__fail(err, CG_ESHAPE, "cg_%s: axis %lld of %s is empty and has no %s", n->op->name, (long long)n->attr[0].at[i], cg__label(n->in[0]), n->op->name);
    return CG_OK;
}

/* ---- gradients: v is what stands where the reduction was, gout or the result, stretched over x again */

static cg_node *with_axes(const cg_node *n, cg_node *v)
{
    cg_type t = n->in[0]->type;
    for (int i = 0; i < n->attr[0].n; i++)
        t.dim[n->attr[0].at[i]] = (cg_dim_t){ .n = 1 };
    return cg__reshape_like(v, &t);
}

static cg_node *self(const cg_node *n) { return (cg_node *)(uintptr_t)n; }
static cg_node *again(const cg_node *n, cg_node *x, cg_node *(*reduce)(cg_node *, const cg_reduce *))
{
    return reduce(x, CG_REDUCE(.axes = n->attr[0].at, .naxes = n->attr[0].n, .keepdims = 1));
}

static cg_node *count_of(const cg_node *n)
{
    cg_dim_t c = { .n = 1 };
    for (int i = 0; i < n->attr[0].n; i++)
        c = cg__dim_mul(n->graph, c, n->in[0]->type.dim[n->attr[0].at[i]]);
    return cg_cast(cg__dim_node(n->graph, c), n->type.dtype);
}

/* A reduction over no axes (of a scalar, say) is an identity or a cast. */
static bool no_axes(const cg_node *n) { return n->attr[0].n == 0; }

/* dx = g */
CG_DECLARE_GRAD(cg__sum_grad)
{
    (void)need;
    gin[0] = cg__is_float(n->type.dtype) ? cg__broadcast_like(with_axes(n, gout[0]), &n->in[0]->type) : CG_ZERO;
    return CG_OK;
}

/* dx = g / count */
CG_DECLARE_GRAD(cg__mean_grad)
{
    (void)need;
    gin[0] = cg__is_float(n->in[0]->type.dtype) ? cg__broadcast_like(with_axes(n, cg_div(gout[0], count_of(n))), &n->in[0]->type) : CG_ZERO;
    return CG_OK;
}

/* dx = 2 g (x - mean x) / count */
CG_DECLARE_GRAD(cg__var_grad)
{
    (void)need;
    cg_node *x = n->in[0];
    if (!cg__is_float(x->type.dtype) || no_axes(n))
        gin[0] = CG_ZERO;
    else
        gin[0] = cg_mul(with_axes(n, cg_div(cg_scale(gout[0], 2), count_of(n))), cg_sub(x, again(n, x, cg_mean)));
    return CG_OK;
}

/* dx = g softmax(x) = g exp(x - out) */
CG_DECLARE_GRAD(cg__logsumexp_grad)
{
    (void)need;
    cg_node *x = n->in[0];
    gin[0] = cg__is_float(x->type.dtype) ? cg_mul(with_axes(n, gout[0]), cg_exp(cg_sub(x, with_axes(n, self(n))))) : CG_ZERO;
    return CG_OK;
}

/* dx = g times the product of the others: that of the elements that are not 0 (rest), over x where it is one of them, times the zeros
 * among the others. One zero is a sum that is 0 (left) and varies with it, which the second derivative needs; a product of two varies no more. */
CG_DECLARE_GRAD(cg__prod_grad)
{
    (void)need;
    cg_node *x = n->in[0];
    if (!cg__is_float(x->type.dtype)) {
        gin[0] = CG_ZERO;
        return CG_OK;
    }
    cg_graph *g = n->graph;
    cg_node *zero = cg__splat(g, x->type.dtype, 0), *one = cg__splat(g, x->type.dtype, 1), *is_zero = cg_equal(x, zero);
    cg_node *safe = cg_where(is_zero, one, x), *rest = again(n, safe, cg_prod), *left = again(n, cg_where(is_zero, x, zero), cg_sum);
    cg_node *zeros = again(n, cg_cast(is_zero, CG_I64), cg_sum), *others = cg_sub(zeros, cg_cast(is_zero, CG_I64));
    cg_node *whole = cg_div(rest, safe), *other = cg_sub(left, cg_where(is_zero, x, zero));
    cg_node *product = cg_where(cg_equal(others, cg__const_i64(g, 0)), whole, cg_where(cg_equal(others, cg__const_i64(g, 1)), cg_mul(other, whole), zero));
    gin[0] = cg_mul(with_axes(n, gout[0]), product);
    return CG_OK;
}

/* Every element that equals the extreme receives the whole gradient (FEATURES 10, row 11). */
CG_DECLARE_GRAD(cg__extreme_grad)
{
    (void)need;
    cg_node *x = n->in[0];
    gin[0] = cg__is_float(n->type.dtype) ? cg_where(cg_equal(x, with_axes(n, self(n))), with_axes(n, gout[0]), cg__splat(n->graph, n->type.dtype, 0)) : CG_ZERO;
    return CG_OK;
}

/* ---- lower */

static cg_num elements(cg_lower *L, const cg_node *n, const bool *mask)
{
    cg_num c = cg__num_const(cg__lower_plan(L), 1);
    for (int i = 0; i < n->in[0]->type.rank; i++)
        c = mask[i] ? cg__num(cg__lower_plan(L), CG_N_MUL, c, cg__lower_dim(L, n->in[0]->type.dim[i]), 0, 0) : c;
    return c;
}

CG_DECLARE_LOWER(cg__reduce_lower)
{
    const cg_node *x = n->in[0];
    bool mask[CG_MAX_RANK];
    cg_spot in = { 0 }, to = { 0 };
    int k = 0;
    const int nred = reduced(n, mask), rc = cg__lower_out(L, n);
    cg_loop_builder *b = rc == CG_OK ? cg__loop_begin(L, n) : NULL;
    if (!b)
        return rc < 0 ? rc : CG_ENOMEM;
    for (int i = 0; i < x->type.rank; i++)
        if (!mask[i])
            to.axis[k++] = in.axis[i] = cg__coord_axis(cg__loop_axis(b, x->type.dim[i], false));
        else if (n->type.rank == x->type.rank)
            to.axis[k++] = cg__coord_zero();
    for (int i = 0; i < x->type.rank; i++)
        if (mask[i])
            in.axis[i] = cg__coord_axis(cg__loop_axis(b, x->type.dim[i], true));
    if (!nred)                                               /* one element an outer point: a loop of one */
        cg__loop_axis(b, (cg_dim_t){ .n = 1 }, true);
    const int v = cg__emit(b, x, &in);
    cg__loop_store(b, n, &to, v < 0 ? v : row_of(n)->reduce(b, n->type.dtype, elements(L, n, mask), v));
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

CG_API cg_node *cg_sum(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return reduce(CG_OP_sum, a, o); }
CG_API cg_node *cg_prod(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return reduce(CG_OP_prod, a, o); }
CG_API cg_node *cg_max(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return reduce(CG_OP_max, a, o); }
CG_API cg_node *cg_min(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return reduce(CG_OP_min, a, o); }
CG_API cg_node *cg_mean(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return reduce(CG_OP_mean, a, o); }
CG_API cg_node *cg_var(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return reduce(CG_OP_var, a, o); }
CG_API cg_node *cg_logsumexp(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return reduce(CG_OP_logsumexp, a, o); }
CG_API cg_node *cg_any(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return reduce(CG_OP_any, a, o); }
CG_API cg_node *cg_all(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return reduce(CG_OP_all, a, o); }
CG_API cg_node *cg_argmax(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return reduce(CG_OP_argmax, a, o); }
CG_API cg_node *cg_argmin(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return reduce(CG_OP_argmin, a, o); }
