// SPDX-License-Identifier: MIT
/* softmax, log_softmax, cross_entropy with class indices: one LOOP each, with a stage for the maximum and one for the sum.
 *
 *     softmax_i = exp(x_i - m) / s,   log_softmax_i = (x_i - m) - log s,   m = max x,  s = sum exp(x - m)
 *     cross_entropy = log s - (x[class] - m);   its gradient is softmax - one_hot
 */
#include "core/ops/ops.h"

CG_DECLARE_INFER(cg__softmax_infer)
{
    int64_t axis = cg__attr_int(n, 0, -1);
    if (!cg__is_float(n->in[0]->type.dtype))
        return cg__fail(err, CG_EDTYPE, "cg_%s: needs floats, got %s", n->op->name, cg__label(n->in[0]));
    if (!cg__axis_ok(&axis, n->in[0]->type.rank))
        return cg__fail(err, CG_ESHAPE, "cg_%s: %s has no axis %lld", n->op->name, cg__label(n->in[0]), (long long)axis);
    n->type = n->in[0]->type;
    return cg__set_ints(n, 0, &axis, 1);
}

static cg_node *sum_along(cg_node *x, const cg_node *n)
{
    return cg_sum(x, CG_REDUCE(.axes = n->attr[0].at, .naxes = 1, .keepdims = 1));
}

/* dx = y (g - sum(g y)) */
CG_DECLARE_GRAD(cg__softmax_grad)
{
    (void)need;
    cg_node *y = (cg_node *)(uintptr_t)n;
    gin[0] = cg_mul(y, cg_sub(gout[0], sum_along(cg_mul(gout[0], y), n)));
    return CG_OK;
}

/* dx = g - exp(y) sum(g) */
CG_DECLARE_GRAD(cg__log_softmax_grad)
{
    (void)need;
    cg_node *y = (cg_node *)(uintptr_t)n;
    gin[0] = cg_sub(gout[0], cg_mul(cg_exp(y), sum_along(gout[0], n)));
    return CG_OK;
}

/* The two row reductions of x; returns x - m, sets *s and *m. */
static int shifted(cg_loop_builder *b, const cg_node *x, const cg_spot *at, int *e, int *s, int *m)
{
    const cg_dtype d = x->type.dtype;
    const int v = cg__emit(b, x, at);
    *m = cg__loop_reduce(b, CG_RED_MAX, d, v);
    const int z = cg__loop_elem(b, CG_EL_sub, d, v, *m, -1);
    *e = cg__loop_elem(b, CG_EL_exp, d, z, -1, -1);
    *s = cg__loop_reduce(b, CG_RED_SUM, d, *e);
    return z;
}

CG_DECLARE_LOWER(cg__softmax_lower)
{
    const int axis = (int)n->attr[0].at[0], rc = cg__lower_out(L, n);
    cg_loop_builder *b = rc < 0 ? NULL : cg__loop_begin(L, n);
    cg_spot at = { 0 };
    int e = -1, s = -1, m = -1;
    if (!b)
        return CG_ENOMEM;
    for (int i = 0; i < n->type.rank; i++)
        if (i != axis)
            at.axis[i] = cg__coord_axis(cg__loop_axis(b, n->type.dim[i], false));
    at.axis[axis] = cg__coord_axis(cg__loop_axis(b, n->type.dim[axis], true));
    const int z = shifted(b, n->in[0], &at, &e, &s, &m);
    const cg_dtype d = n->type.dtype;
    const int v = cg__is(n, CG_OP_softmax) ? cg__loop_elem(b, CG_EL_div, d, e, s, -1)
                                           : cg__loop_elem(b, CG_EL_sub, d, z, cg__loop_elem(b, CG_EL_log, d, s, -1, -1), -1);
    cg__loop_store(b, n, &at, v);
    return cg__loop_end(b);
}

/* Classes are along axis 1 of the logits; their other axes are those of the classes. */
CG_DECLARE_INFER(cg__cross_infer)
{
    const cg_type *x = &n->in[0]->type, *y = &n->in[1]->type;
    if (x->rank < 2 || y->rank != x->rank - 1)
        return cg__fail(err, CG_ESHAPE, "cg_cross_entropy: needs logits (n, c, ...) and classes (n, ...), got %s and %s", cg__label(n->in[0]), cg__label(n->in[1]));
    if (!cg__is_float(x->dtype) || !cg__is_int(y->dtype))
        return cg__fail(err, CG_EDTYPE, "cg_cross_entropy: needs float logits and integer classes, got %s and %s", cg__label(n->in[0]), cg__label(n->in[1]));
    n->type = (cg_type){ .dtype = x->dtype, .rank = y->rank };
    for (int i = 0; i < y->rank; i++) {
        const cg_dim_t at = x->dim[i + (i > 0)];
        if (!at.sym && !y->dim[i].sym && at.n != y->dim[i].n)
            return i ? cg__fail(err, CG_ESHAPE, "cg_cross_entropy: %s and %s differ in more than the classes' axis", cg__label(n->in[0]), cg__label(n->in[1]))
                     : cg__fail(err, CG_ESHAPE, "cg_cross_entropy: %lld rows of logits, %lld classes", (long long)at.n, (long long)y->dim[0].n);
        n->type.dim[i] = at;
    }
    return CG_OK;
}

CG_DECLARE_GRAD(cg__cross_grad)
{
    (void)need;
    cg_graph *g = n->graph;
    cg_node *x = n->in[0], *in[2] = { n->in[1] };
    const cg_dim_t c = x->type.dim[1];
    const int rank = x->type.rank;
    int64_t axes[CG_MAX_RANK] = { 0, rank - 1 };
    in[1] = c.sym;
    const int64_t depth = c.sym ? CG_REF(1) : c.n;
    cg_node *hot = cg__node(g, CG_OP_one_hot, in, c.sym ? 2 : 1, &(cg_attr){ 1, &depth });
    for (int i = 2; i < rank; i++)
        axes[i] = i - 1;
    hot = rank > 2 ? cg_transpose(hot, axes, rank) : hot;
    gin[0] = cg_mul(cg_sub(cg_softmax(x, 1), cg_cast(hot, x->type.dtype)), cg_expand_dims(gout[0], 1));
    return CG_OK;
}

/* The class of a row as an index that a load checks; there negative ones count from the end, which classes do not. */
static int class_of(cg_loop_builder *b, const cg_node *n, const cg_spot *row)
{
    const cg_node *y = n->in[1];
    const int v = cg__loop_cast(b, cg__emit(b, y, row), CG_I64);
    if (v < 0 || (cg__dtypes[y->type.dtype].kind == CG_KIND_UINT && y->type.dtype != CG_U64))
        return v;
    const int negative = cg__loop_elem(b, CG_EL_less, CG_BOOL, v, cg__loop_literal(b, CG_I64, 0), -1);
    return cg__loop_elem(b, CG_EL_where, CG_I64, negative, cg__loop_number(b, cg__lower_dim(cg__loop_lower(b), n->in[0]->type.dim[1])), v);
}

CG_DECLARE_LOWER(cg__cross_lower)
{
    const cg_node *x = n->in[0];
    const cg_dtype d = n->type.dtype;
    cg_spot at = { 0 }, row = { 0 }, first;
    int e = -1, s = -1, m = -1, rc = cg__lower_out(L, n);
    for (int i = 0; i < n->type.rank && rc >= 0; i++)
        rc = cg__check_dims(L, n, x->type.dim[i + (i > 0)], n->in[1]->type.dim[i]);
    cg_loop_builder *b = rc < 0 ? NULL : cg__loop_begin(L, n);
    if (!b)
        return rc < 0 ? rc : CG_ENOMEM;
    for (int i = 0; i < n->type.rank; i++)
        row.axis[i] = at.axis[i + (i > 0)] = cg__coord_axis(cg__loop_axis(b, x->type.dim[i + (i > 0)], false));
    first = at;
    at.axis[1] = cg__coord_axis(cg__loop_axis(b, x->type.dim[1], true));
    first.axis[1] = cg__coord_zero();
    shifted(b, x, &at, &e, &s, &m);
    const int chosen = cg__loop_blame(b, cg__loop_load(b, x, &first, class_of(b, n, &row), 1), n);
    const int above = cg__loop_elem(b, CG_EL_sub, d, chosen, m, -1), log = cg__loop_elem(b, CG_EL_log, d, s, -1, -1);
    cg__loop_store(b, n, &row, cg__loop_elem(b, CG_EL_sub, d, log, above, -1));
    return cg__loop_end(b);
}

static cg_node *soft(cg_op_id op, cg_node *a, int axis)
{
    const int64_t at = axis;
    return a ? cg__build(a->graph, op, &a, 1, &(cg_attr){ 1, &at }) : NULL;
}

CG_API cg_node *cg_softmax(cg_node *a, int axis) { CG_BUILDER(cg_node_graph(a)); return soft(CG_OP_softmax, a, axis); }
CG_API cg_node *cg_log_softmax(cg_node *a, int axis) { CG_BUILDER(cg_node_graph(a)); return soft(CG_OP_log_softmax, a, axis); }

CG_API cg_node *cg_cross_entropy(cg_node *logits, cg_node *classes)
{
    CG_BUILDER(cg_node_graph(logits));
    return logits && classes ? cg__build(logits->graph, CG_OP_cross_entropy, (cg_node *[]){ logits, classes }, 2, NULL) : NULL;
}
