// SPDX-License-Identifier: MIT
/* Attention, by products and one softmax between them, and rows of a table.
 *
 *     softmax(q k' scale + mask) v
 *
 * What may not be attended to has the least finite number for its score and, after the softmax, 0 for its weight. So nothing is infinite on
 * the way: a row that may attend to nothing has a softmax, is zeros, and so is what its gradient gives.
 */
#include <math.h>
#include "core/ops/ops.h"

/* The least finite number. */
static double lowest(cg_dtype d)
{
    const double f32 = -(2 - 0x1p-23) * 0x1p127;
    return d == CG_F16 ? -65504 : d == CG_BF16 ? -(2 - 0x1p-7) * 0x1p127 : d == CG_F32 ? f32 : -(2 - 0x1p-52) * 0x1p1023;
}

static cg_node *swapped(cg_node *a)
{
    int64_t axes[CG_MAX_RANK];
    for (int i = 0; i < a->type.rank; i++)
        axes[i] = i < a->type.rank - 2 ? i : 2 * a->type.rank - 3 - i;
    return cg_transpose(a, axes, a->type.rank);
}

/* Query i may see keys up to i. */
static cg_node *seen_so_far(cg_node *q, cg_node *k)
{
    cg_graph *g = q->graph;
    cg_node *zero = cg__const_i64(g, 0), *one = cg__const_i64(g, 1);
    cg_node *i = cg_arange(zero, cg_dim(q, -2), one), *j = cg_arange(zero, cg_dim(k, -2), one);
    return cg_greater_equal(cg_expand_dims(i, 1), j);
}

/* Which scores count (bool, stretching to them), or NULL: all. Of a mask of floats those that are not -inf. */
static cg_node *counted(cg_node *q, cg_node *k, cg_node *mask, bool causal)
{
    cg_node *allowed = mask && mask->type.dtype != CG_BOOL ? cg_not_equal(mask, cg_weak(mask->graph, -(double)INFINITY)) : mask;
    cg_node *past = causal ? seen_so_far(q, k) : NULL;
    return allowed && past ? cg_logical_and(allowed, past) : allowed ? allowed : past;
}

static cg_node *scaled(cg_node *scores, cg_node *q, double scale)
{
    const cg_dim_t width = q->type.dim[q->type.rank - 1];
    if (scale != 0 || !width.sym)
        return cg_scale(scores, scale != 0 ? scale : 1 / sqrt((double)width.n));
    return cg_mul(scores, cg_rsqrt(cg_cast(width.sym, scores ? scores->type.dtype : CG_F32)));
}

/* One size that the call may still tell, or the same one. */
static bool may_meet(const cg_node *a, int i, const cg_node *b, int j)
{
    const cg_dim_t x = a->type.dim[a->type.rank - i], y = b->type.dim[b->type.rank - j];
    return x.sym || y.sym || x.n == y.n;
}

static bool attends(cg_node *q, cg_node *k, cg_node *v, const cg_attention_spec *o)
{
    cg_graph *g = q->graph;
    const bool ranks = q->type.rank >= 2 && k->type.rank >= 2 && v->type.rank >= 2;
    if (o && o->struct_size != sizeof *o)
        cg__graph_fail(g, CG_EINVAL, "cg_attention: the options are not made by CG_ATTENTION of this version");
    else if (!cg__is_float(q->type.dtype) || !cg__is_float(k->type.dtype) || !cg__is_float(v->type.dtype))
        cg__graph_fail(g, CG_EDTYPE, "cg_attention: needs floats, got %s, %s and %s", cg__label(q), cg__label(k), cg__label(v));
    else if (!ranks || !may_meet(q, 1, k, 1) || !may_meet(k, 2, v, 2))
        cg__graph_fail(g, CG_ESHAPE, "cg_attention: needs queries (..., l, e), keys (..., s, e) and values (..., s, f), got %s, %s and %s", cg__label(q), cg__label(k), cg__label(v));
    else if (o && o->mask && o->mask->type.dtype != CG_BOOL && !cg__is_float(o->mask->type.dtype))
        cg__graph_fail(g, CG_EDTYPE, "cg_attention: the mask is bool, or floats that are added to scores, not %s", cg__label(o->mask));
    else
        return true;
    return false;
}

CG_API cg_node *cg_attention(cg_node *q, cg_node *k, cg_node *v, const cg_attention_spec *o)
{
    CG_BUILDER(cg_node_graph(q));
    if (!q || !k || !v || !attends(q, k, v, o))
        return NULL;
    cg_node *mask = o ? o->mask : NULL, *counts = counted(q, k, mask, o && o->is_causal);
    cg_node *scores = scaled(cg_matmul(q, swapped(k)), q, o ? o->scale : 0);
    if (mask && mask->type.dtype != CG_BOOL)
        scores = cg_add(scores, cg_cast(mask, scores ? scores->type.dtype : CG_F32));
    if (scores && counts)
        scores = cg_where(counts, scores, cg_weak(q->graph, lowest(scores->type.dtype)));
    cg_node *weights = cg_softmax(scores, -1);
    return cg_matmul(counts ? cg_where(counts, weights, cg_weak(q->graph, 0)) : weights, v);
}

CG_DECLARE_SIMPLE(cg__attention_form)
{
    double scale = 0;
    if (n->nin != 3 && n->nin != 4)
        return cg__graph_fail(n->graph, CG_EINVAL, "attention: takes queries, keys and values, and perhaps a mask");
    if (n->attr[1].n > 0)
        memcpy(&scale, n->attr[1].at, sizeof scale);
    return cg_attention(n->in[0], n->in[1], n->in[2], CG_ATTENTION(.mask = n->nin > 3 ? n->in[3] : NULL, .is_causal = cg__attr_int(n, 0, 0) != 0, .scale = scale));
}

/* ---- rows of a table */

CG_API cg_node *cg_embedding(cg_node *table, cg_node *rows, int64_t padding_idx)
{
    CG_BUILDER(cg_node_graph(table));
    cg_node *taken = cg_take(table, rows);
    if (!taken || padding_idx == CG_NONE)
        return taken;
    cg_node *padding = cg_equal(rows, cg_weak(rows->graph, (double)padding_idx));
    for (int i = rows->type.rank; i < taken->type.rank; i++)
        padding = cg_expand_dims(padding, -1);
    return cg_where(padding, cg_zero_grad(taken), taken);
}

CG_DECLARE_SIMPLE(cg__embedding_form)
{
    return cg_embedding(n->in[0], n->in[1], cg__attr_int(n, 0, CG_NONE));
}
