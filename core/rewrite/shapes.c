// SPDX-License-Identifier: MIT
/* Builders of rules over views: what a view of a view is, and reductions of views. None moves data or changes a type. */
#include "core/graph/build.h"
#include "core/rewrite/rewrite.h"

/* n on the operand of its own operand: what a reshape of a reshape is, whatever sizes are named. */
CG_RULE_BUILDER(cg__skip_inner)
{
    cg_node *in[1 + CG_MAX_RANK];
    if (n->nin > CG_LEN(in))
        return NULL;
    memcpy(in, n->in, (size_t)n->nin * sizeof *in);
    in[0] = b->node[0];
    return cg__build(n->graph, cg__op_id(n), in, n->nin, n->attr);
}

CG_RULE_BUILDER(cg__transpose_once)
{
    int64_t axes[CG_MAX_RANK];
    const cg_attr *inner = b->attr[0], *outer = b->attr[1];
    if (inner->n != n->type.rank || outer->n != n->type.rank)
        return NULL;
    bool in_order = true;
    for (int i = 0; i < outer->n; i++) {
        axes[i] = inner->at[outer->at[i]];
        in_order &= axes[i] == i;
    }
    return in_order ? b->node[0] : cg_transpose(b->node[0], axes, outer->n);
}

/* Matrices that are reshaped as a batch, and stay whole, are exchanged after it: a product reads them so. */
CG_RULE_BUILDER(cg__reshape_swapped)
{
    const cg_node *x = b->node[0];
    const int rank = x->type.rank, to = n->type.rank;
    if (!cg__swaps_last(b->attr[0]) || to < 2 || !cg__dim_same(n->type.dim[to - 2], x->type.dim[rank - 1]) || !cg__dim_same(n->type.dim[to - 1], x->type.dim[rank - 2]))
        return NULL;
    cg_type t = n->type;
    t.dim[to - 2] = x->type.dim[rank - 2];
    t.dim[to - 1] = x->type.dim[rank - 1];
    return cg__swapped_last(cg__reshape_like(b->node[0], &t));
}

/* ---- slices of slices */

enum { START, STOP, STEP };
/* One axis of a slice as its attributes say it; a bound that is an operand keeps its node. */
typedef struct cut { int64_t at[3]; cg_node *sym[3]; } cut;

static cut cut_of(const cg_node *slice, int axis)
{
    cut c = { { CG_NONE, CG_NONE, 1 }, { NULL } };
    for (int k = 0; k < 3; k++) {
        if (slice->attr[k].n <= axis || slice->attr[k].at[axis] == CG_NONE)
            continue;
        c.at[k] = slice->attr[k].at[axis];
        if (CG_IS_REF(c.at[k]))
            c.sym[k] = slice->in[CG_REF_OF(c.at[k])];
    }
    return c;
}

static bool takes_all(const cut *c) { return c->at[START] == CG_NONE && c->at[STOP] == CG_NONE && c->at[STEP] == 1; }

/* First element, count and step: NumPy's rules for a known size. */
typedef struct range { int64_t first, count, step; } range;

static int64_t bound(int64_t v, int64_t missing, int64_t size, int64_t lo, int64_t hi)
{
    if (v == CG_NONE)
        return missing;
    v += v < 0 ? size : 0;
    return v < lo ? lo : v > hi ? hi : v;
}

static range range_of(const cut *c, int64_t size)
{
    const int64_t step = c->at[STEP], lo = step > 0 ? 0 : -1, hi = step > 0 ? size : size - 1;
    const int64_t first = bound(c->at[START], step > 0 ? lo : hi, size, lo, hi), stop = bound(c->at[STOP], step > 0 ? hi : lo, size, lo, hi);
    const int64_t span = step > 0 ? stop - first : first - stop, k = step > 0 ? step : -step;
    return (range){ first, span > 0 ? (span + k - 1) / k : 0, step };
}

static bool is_known(const cut *c) { return !c->sym[START] && !c->sym[STOP] && c->at[STEP] > INT32_MIN && c->at[STEP] < INT32_MAX; }

/* The second range within the first. Bounds of a falling one are counted from the end, where -1 cannot be mistaken. */
static bool both_cut(const cut *inner, const cut *outer, cg_dim_t size, cut *out)
{
    if (size.sym || !is_known(inner) || !is_known(outer))
        return false;
    const range a = range_of(inner, size.n), b = range_of(outer, a.count);
    const int64_t step = a.step * b.step, first = b.count ? a.first + b.first * a.step : 0, from = step > 0 ? 0 : size.n;
    *out = (cut){ { first - from, first + b.count * step - from, step }, { NULL } };
    return true;
}

static int64_t put_bound(const cut *c, int k, cg_node **in, int *nin)
{
    if (!c->sym[k])
        return c->at[k];
    in[*nin] = c->sym[k];
    return CG_REF((*nin)++);
}

/* Axis by axis: where one of the two takes all, the other's cut as it is, symbols and all; where both cut, known sizes are needed. */
CG_RULE_BUILDER(cg__slice_once)
{
    cg_node *in[1 + 2 * CG_MAX_RANK] = { b->node[0] };
    int64_t at[3][CG_MAX_RANK];
    int nin = 1;
    for (int i = 0; i < n->type.rank; i++) {
        const cut inner = cut_of(n->in[0], i), outer = cut_of(n, i);
        cut both = takes_all(&inner) ? outer : inner;
        if (!takes_all(&inner) && !takes_all(&outer) && !both_cut(&inner, &outer, b->node[0]->type.dim[i], &both))
            return NULL;
        for (int k = START; k <= STOP; k++)
            at[k][i] = put_bound(&both, k, in, &nin);
        at[STEP][i] = both.at[STEP];
    }
    const int r = n->type.rank;
    return cg__build(n->graph, CG_OP_slice, in, nin, (cg_attr[]){ { r, at[START] }, { r, at[STOP] }, { r, at[STEP] } });
}

/* ---- slices of what was written to a slice */

/* The same part of arrays of one shape: bounds are the same nodes or numbers, or known and the same range. */
static bool same_part(const cg_node *a, const cg_node *b)
{
    bool same = true;
    for (int i = 0; i < a->in[0]->type.rank; i++) {
        const cut x = cut_of(a, i), y = cut_of(b, i);
        const cg_dim_t size = a->in[0]->type.dim[i];
        bool axis = x.at[STEP] == y.at[STEP];
        for (int k = START; axis && k <= STOP; k++)
            axis = x.sym[k] == y.sym[k] && (x.sym[k] || x.at[k] == y.at[k]);
        if (!axis && !size.sym && is_known(&x) && is_known(&y)) {
            const range r = range_of(&x, size.n), s = range_of(&y, size.n);
            axis = r.first == s.first && r.count == s.count && r.step == s.step;
        }
        same &= axis;
    }
    return same;
}

/* Known parts that have no element in common, since along one axis neither reaches the other. */
static bool apart(const cg_node *a, const cg_node *b)
{
    bool yes = false;
    for (int i = 0; i < a->in[0]->type.rank; i++) {
        const cut x = cut_of(a, i), y = cut_of(b, i);
        const cg_dim_t size = a->in[0]->type.dim[i];
        if (size.sym || !is_known(&x) || !is_known(&y))
            continue;
        const range r = range_of(&x, size.n), s = range_of(&y, size.n);
        const int64_t r_end = r.first + (r.count - 1) * r.step, s_end = s.first + (s.count - 1) * s.step;
        const int64_t r_lo = r.step > 0 ? r.first : r_end, r_hi = r.step > 0 ? r_end : r.first, s_lo = s.step > 0 ? s.first : s_end, s_hi = s.step > 0 ? s_end : s.first;
        yes |= !r.count || !s.count || r_hi < s_lo || s_hi < r_lo;
    }
    return yes;
}

/* The part that n, a slice, takes, of x. */
static cg_node *slice_of(const cg_node *n, cg_node *x)
{
    cg_node *in[1 + 2 * CG_MAX_RANK];
    memcpy(in, n->in, (size_t)n->nin * sizeof *in);
    in[0] = x;
    return cg__build(n->graph, CG_OP_slice, in, n->nin, n->attr);
}

/* What was written there, or, beside it, what was there before. */
CG_RULE_BUILDER(cg__slice_written)
{
    const cg_node *w = n->in[0];
    if (apart(n, w))
        return slice_of(n, b->node[0]);
    if (!same_part(n, w))
        return NULL;
    return cg__is(w, CG_OP_set_slice) ? b->node[1] : cg_add(slice_of(n, b->node[0]), b->node[1]);
}

/* Written again, only the last stays. */
CG_RULE_BUILDER(cg__write_again)
{
    cg_node *in[2 + 2 * CG_MAX_RANK];
    memcpy(in, n->in, (size_t)n->nin * sizeof *in);
    in[0] = b->node[0];
    return same_part(n, n->in[0]) ? cg__build(n->graph, CG_OP_set_slice, in, n->nin, n->attr) : NULL;
}

/* Its own part changes nothing; a sum with that is an increase. */
CG_RULE_BUILDER(cg__write_itself)
{
    const bool sum = cg__is(n->in[1], CG_OP_add);
    const cg_node *part = n->in[1];
    for (int k = 0; sum && k < 2; k++)
        if (cg__is(n->in[1]->in[k], CG_OP_slice) && n->in[1]->in[1 - k] == b->node[1])
            part = n->in[1]->in[k];
    if (!cg__is(part, CG_OP_slice) || !same_part(n, part))
        return NULL;
    cg_node *in[2 + 2 * CG_MAX_RANK];
    memcpy(in, n->in, (size_t)n->nin * sizeof *in);
    in[1] = b->node[1];
    return sum ? cg__build(n->graph, CG_OP_inc_slice, in, n->nin, n->attr) : b->node[0];
}

/* ---- reductions of reductions and of views */

static bool reduces(const cg_node *n, int axis)
{
    bool is = false;
    for (int i = 0; i < n->attr[0].n; i++)
        is |= n->attr[0].at[i] == axis;
    return is;
}

static bool keeps(const cg_node *n) { return n->attr[1].at[0] != 0; }

static cg_node *reduce(const cg_node *like, cg_node *x, const int64_t *axes, int naxes, bool keep)
{
    const int64_t keepdims = keep;
    return naxes ? cg__build(like->graph, cg__op_id(like), &x, 1, (cg_attr[]){ { naxes, axes }, { 1, &keepdims } }) : NULL;
}

/* The axes of both, as axes of the inner operand. A result that keeps some of the axes only is a reshape. */
/* A reduction that keeps its axes only for a reshape to take them away. */
CG_RULE_BUILDER(cg__reduce_squeezed)
{
    const cg_node *inner = n->in[0], *x = b->node[0];
    int64_t axes[CG_MAX_RANK];
    int naxes = 0, at = 0;
    for (int i = 0; i < x->type.rank; i++)
        if (reduces(inner, i))
            axes[naxes++] = i;
        else if (at >= n->type.rank || !cg__dim_same(x->type.dim[i], n->type.dim[at++]))
            return NULL;
    return naxes && keeps(inner) && at == n->type.rank ? reduce(inner, b->node[0], axes, naxes, false) : NULL;
}

CG_RULE_BUILDER(cg__reduce_once)
{
    const cg_node *inner = n->in[0], *x = b->node[0];
    int64_t axes[CG_MAX_RANK];
    int naxes = 0, at = 0;
    for (int i = 0; i < x->type.rank; i++) {
        const bool gone = reduces(inner, i), here = !gone || keeps(inner);
        if (gone || reduces(n, at))
            axes[naxes++] = i;
        at += here;
    }
    if (n->attr[0].n == 0 || inner->attr[0].n == 0)
        return NULL;
    cg_node *r = reduce(n, b->node[0], axes, naxes, keeps(n) && keeps(inner));
    return !r || r->type.rank == n->type.rank ? r : cg__reshape_like(r, &n->type);
}

/* The reduction first, then a transpose of what is left; in most cases there is none. */
CG_RULE_BUILDER(cg__reduce_transposed)
{
    const cg_attr *perm = b->attr[0];
    int64_t axes[CG_MAX_RANK], left[CG_MAX_RANK], order[CG_MAX_RANK];
    int nleft = 0;
    for (int i = 0; i < n->attr[0].n; i++)
        axes[i] = perm->at[n->attr[0].at[i]];
    cg_node *r = reduce(n, b->node[0], axes, n->attr[0].n, keeps(n));
    if (!r || keeps(n))
        return r ? cg_transpose(r, perm->at, perm->n) : NULL;
    for (int i = 0; i < perm->n; i++)
        if (!reduces(n, i))
            left[nleft++] = perm->at[i];
    bool in_order = true;
    for (int i = 0; i < nleft; i++) {
        order[i] = 0;
        for (int k = 0; k < nleft; k++)
            order[i] += left[k] < left[i];
        in_order &= order[i] == i;
    }
    return in_order ? r : cg_transpose(r, order, nleft);
}

/* All elements of a reshaped array are all elements of the array, in the same order. */
CG_RULE_BUILDER(cg__reduce_all)
{
    int64_t axes[CG_MAX_RANK];
    const int rank = b->node[0]->type.rank;
    for (int i = 0; i < rank; i++)
        axes[i] = i;
    return n->attr[0].n == n->in[0]->type.rank && !keeps(n) ? reduce(n, b->node[0], axes, rank, false) : NULL;
}

/* The sum of c equal elements is c times one: sums over what broadcasting stretched. */
CG_RULE_BUILDER(cg__sum_of_equal)
{
    const cg_node *wide = n->in[0];
    cg_node *x = b->node[0], *r = x;
    const int lead = wide->type.rank - x->type.rank;
    cg_dim_t count = { .n = 1 };
    int64_t axes[CG_MAX_RANK];
    int naxes = 0;
    for (int i = 0; i < wide->type.rank; i++) {
        const bool stretched = i < lead || (cg__dim_is(x->type.dim[i - lead], 1) && !cg__dim_is(wide->type.dim[i], 1));
        if (reduces(n, i) && stretched)
            count = cg__dim_mul(n->graph, count, wide->type.dim[i]);
        if (reduces(n, i) && i >= lead)
            axes[naxes++] = i - lead;
        if (!reduces(n, i) && stretched)
            return NULL;                 /* what stays stretched would be summed first, then stretched: no gain */
    }
    if (cg__dim_is(count, 1))
        return NULL;
    r = naxes ? reduce(n, x, axes, naxes, keeps(n)) : cg_cast(x, n->type.dtype);
    return cg_mul(r, cg_cast(cg__dim_node(n->graph, count), n->type.dtype));
}
