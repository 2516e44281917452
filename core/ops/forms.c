// SPDX-License-Identifier: MIT
/* What is made of other operations, and may be written by a name of its own (forms.def): the builders that only compose, and the
 * attributes of the written names as their arguments.
 *
 *     (scatter_add a rows src)    is    (add a (segment_sum src rows (dim a :axis 0)))
 */
#include "core/ops/ops.h"

enum { PARTS_MAX = 64 };
static const int64_t PAD_MAX = (int64_t)1 << 40;

/* ---- a value around an array */

/* Whether along this axis a point lies on the operand, which begins at `before`; in the shape that broadcasts. */
static cg_node *lies_on(cg_node *a, int axis, cg_node *before, cg_node *size)
{
    cg_graph *g = a->graph;
    cg_node *zero = cg__const_i64(g, 0), *one = cg__const_i64(g, 1), *i = cg_arange(zero, size, one);
    cg_node *from = cg_greater_equal(i, before), *to = cg_less(i, cg_add(before, cg_dim(a, axis)));
    cg_node *on = cg_logical_and(from, to);
    for (int k = axis + 1; k < a->type.rank; k++)
        on = cg_expand_dims(on, -1);
    return on;
}

CG_API cg_node *cg_pad(cg_node *a, const int64_t *before, const int64_t *after, int rank, cg_node *value)
{
    CG_BUILDER(cg_node_graph(a));
    if (!a)
        return NULL;
    cg_graph *g = a->graph;
    cg_dim_t first[CG_MAX_RANK], shape[CG_MAX_RANK];
    int64_t step[CG_MAX_RANK];
    cg_node *on = NULL;
    if (rank != a->type.rank)
        return cg__graph_fail(g, CG_ESHAPE, "cg_pad: %d axes are given for %s", rank, cg__label(a));
    for (int i = 0; i < rank; i++) {
        if (before[i] < 0 || after[i] < 0 || before[i] > PAD_MAX || after[i] > PAD_MAX)
            return cg__graph_fail(g, CG_EINVAL, "cg_pad: axis %d of %s cannot get %lld elements before and %lld behind", i, cg__label(a), (long long)before[i], (long long)after[i]);
        cg_node *from = cg__const_i64(g, before[i]), *size = cg__int(g, CG_OP_add, cg_dim(a, i), cg__const_i64(g, before[i] + after[i]));
        if (!from || !size)
            return NULL;
        first[i] = cg__dim_from(from);
        shape[i] = cg__dim_from(size);
        step[i] = 1;
        if (value && (before[i] || after[i])) {
            cg_node *here = lies_on(a, i, from, size);
            on = on ? cg_logical_and(on, here) : here;
        }
    }
    cg_node *padded = cg__unslice(a, first, shape, step);
    if (!value || !on)
        return padded;
    if (value->type.rank)
        return cg__graph_fail(g, CG_ESHAPE, "cg_pad: the value must be a scalar, is %s", cg__label(value));
    return cg_where(on, padded, value->type.weak ? value : cg_cast(value, a->type.dtype));
}

/* pad_width: one number for all, one pair for all, or a pair an axis. */
CG_DECLARE_SIMPLE(cg__pad_form)
{
    cg_node *a = n->in[0];
    const cg_attr *w = &n->attr[0];
    const int rank = a->type.rank;
    int64_t before[CG_MAX_RANK], after[CG_MAX_RANK];
    if (n->nin > 2 || (w->n != 1 && w->n != 2 && w->n != 2 * rank))
        return cg__graph_fail(n->graph, CG_EINVAL, "pad: takes an array, perhaps a value, and :pad_width with a pair for each axis of %s", cg__label(a));
    for (int i = 0; i < rank; i++) {
        const int at = w->n == 2 * rank ? 2 * i : 0;
        before[i] = w->at[at];
        after[i] = w->at[w->n == 1 ? 0 : at + 1];
    }
    return cg_pad(a, before, after, rank, n->nin > 1 ? n->in[1] : NULL);
}

/* ---- parts */

CG_DECLARE_SIMPLE(cg__stack_form)
{
    return n->nin ? cg_stack(n->in, n->nin, (int)cg__attr_int(n, 0, 0)) : cg__graph_fail(n->graph, CG_EINVAL, "stack: takes an array at least");
}

static cg_node *parts_of(cg_graph *g, cg_node *const *parts, int n)
{
    return cg__node(g, CG_OP_tuple, parts, n, NULL);
}

/* indices_or_sections: a number of equal parts, or the places where parts after the first begin. */
CG_DECLARE_SIMPLE(cg__split_form)
{
    const cg_attr *at = &n->attr[0];
    const int axis = (int)cg__attr_int(n, 1, 0);
    cg_node *part[PARTS_MAX], **out[PARTS_MAX];
    if (at->n < 1 || at->n >= PARTS_MAX || (at->n == 1 && (at->at[0] < 1 || at->at[0] > PARTS_MAX)))
        return cg__graph_fail(n->graph, CG_EINVAL, "split: :indices_or_sections is a number of parts, or where parts begin; at most %d parts", PARTS_MAX);
    if (at->n == 1) {
        const int parts = (int)at->at[0];
        for (int i = 0; i < parts; i++)
            out[i] = &part[i];
        return cg_split(n->in[0], axis, out, parts) == CG_OK ? parts_of(n->graph, part, parts) : NULL;
    }
    for (int i = 0; i <= at->n; i++) {
        cg_node *from = i ? cg__const_i64(n->graph, at->at[i - 1]) : NULL, *to = i < at->n ? cg__const_i64(n->graph, at->at[i]) : NULL;
        if (!(part[i] = cg_slice(n->in[0], axis, from, to, 1)))
            return NULL;
    }
    return parts_of(n->graph, part, at->n + 1);
}

/* The axes of a list, or all; from the last one down. false: one does not exist, or twice. */
static bool axes_of(const cg_node *n, const char *who, bool marked[CG_MAX_RANK])
{
    const int rank = n->in[0]->type.rank;
    for (int i = 0; i < rank; i++)
        marked[i] = n->attr[0].n < 0;
    for (int k = 0; k < n->attr[0].n; k++) {
        int64_t at = n->attr[0].at[k];
        if (!cg__axis_ok(&at, rank) || marked[at]) {
            cg__graph_fail(n->graph, CG_ESHAPE, "%s: %s has no axis %lld, or it is named twice", who, cg__label(n->in[0]), (long long)n->attr[0].at[k]);
            return false;
        }
        marked[at] = true;
    }
    return true;
}

CG_DECLARE_SIMPLE(cg__squeeze_form)
{
    bool marked[CG_MAX_RANK];
    cg_node *a = n->in[0];
    if (!axes_of(n, "squeeze", marked))
        return NULL;
    for (int i = a->type.rank - 1; a && i >= 0; i--)
        if (marked[i] && (n->attr[0].n >= 0 || cg__dim_is(a->type.dim[i], 1)))
            a = cg_squeeze(a, i);
    return a;
}

CG_DECLARE_SIMPLE(cg__flip_form)
{
    bool marked[CG_MAX_RANK];
    cg_node *a = n->in[0];
    if (!axes_of(n, "flip", marked))
        return NULL;
    for (int i = a->type.rank - 1; a && i >= 0; i--)
        a = marked[i] ? cg_flip(a, i) : a;
    return a;
}

/* ---- filled */

static cg_node *filled_like(cg_node *a, double value)
{
    return a ? cg__broadcast_like(cg_scalar(a->graph, a->type.dtype, value), &a->type) : NULL;
}

CG_API cg_node *cg_zeros_like(cg_node *a) { CG_BUILDER(cg_node_graph(a)); return filled_like(a, 0); }
CG_API cg_node *cg_ones_like(cg_node *a) { CG_BUILDER(cg_node_graph(a)); return filled_like(a, 1); }
CG_DECLARE_SIMPLE(cg__zeros_like_form) { return cg_zeros_like(n->in[0]); }
CG_DECLARE_SIMPLE(cg__ones_like_form) { return cg_ones_like(n->in[0]); }

CG_DECLARE_SIMPLE(cg__full_form)
{
    cg_type t = { 0 };
    cg_error err = { 0 };
    cg_node *dims[CG_MAX_RANK];
    if (cg__shape_from(n, 0, 1, &t, &err) < 0)
        return cg__graph_fail(n->graph, err.code, "%s", err.text);
    for (int i = 0; i < t.rank; i++)
        dims[i] = cg__dim_node(n->graph, t.dim[i]);
    return cg_full(n->in[0], dims, t.rank);
}

/* ---- sizes, classes, rows */

CG_API cg_node *cg_shape(cg_node *a)
{
    CG_BUILDER(cg_node_graph(a));
    cg_node *sizes[CG_MAX_RANK];
    if (!a)
        return NULL;
    for (int i = 0; i < a->type.rank; i++)
        sizes[i] = cg_dim(a, i);
    return a->type.rank ? cg_stack(sizes, a->type.rank, 0) : cg_constant(a->graph, CG_I64, CG_SHAPE(0), NULL);
}

CG_DECLARE_SIMPLE(cg__shape_form) { return cg_shape(n->in[0]); }

CG_API cg_node *cg_one_hot(cg_node *classes, int64_t depth, cg_dtype d)
{
    CG_BUILDER(cg_node_graph(classes));
    return classes ? cg_cast(cg__build(classes->graph, CG_OP_one_hot, &classes, 1, &(cg_attr){ 1, &depth }), d) : NULL;
}

CG_API cg_node *cg_scatter_add(cg_node *a, cg_node *rows, cg_node *src) { CG_BUILDER(cg_node_graph(a)); return cg_inc_rows(a, rows, src, 0); }
CG_DECLARE_SIMPLE(cg__scatter_add_form) { return cg_inc_rows(n->in[0], n->in[1], n->in[2], 0); }

/* zeros of `count` rows, and src added to its rows */
CG_DECLARE_SIMPLE(cg__segment_sum_form)
{
    const cg_type *src = &n->in[0]->type;
    const int lead = n->in[1]->type.rank;
    cg_node *dims[CG_MAX_RANK] = { n->in[2]->type.weak ? cg_cast(n->in[2], CG_I64) : n->in[2] };
    if (src->rank < lead)
        return cg__graph_fail(n->graph, CG_ESHAPE, "segment_sum: %s has no rows for each of %s", cg__label(n->in[0]), cg__label(n->in[1]));
    for (int i = lead; i < src->rank; i++)
        dims[i - lead + 1] = cg__dim_node(n->graph, src->dim[i]);
    return cg_inc_rows(cg_full(cg_scalar(n->graph, src->dtype, 0), dims, src->rank - lead + 1), n->in[1], n->in[0], 0);
}

CG_API cg_node *cg_std(cg_node *a, const cg_reduce *o) { CG_BUILDER(cg_node_graph(a)); return cg_sqrt(cg_var(a, o)); }

CG_DECLARE_SIMPLE(cg__std_form)
{
    return cg_sqrt(cg__build(n->graph, CG_OP_var, n->in, 1, n->attr));
}
