// SPDX-License-Identifier: MIT
/* Nodes as views of placed arrays: offset and strides over a slot, through transposes, unit axes and slices. What a BLAS call or the rows
 * of a loop can read this way is never copied. */
#include "core/lower/pass.h"

static int64_t step_of(const cg_node *slice, int axis)
{
    const cg_attr *a = &slice->attr[2];
    return a->n <= axis || a->at[axis] == CG_NONE ? 1 : a->at[axis];
}

static bool cuts(const cg_node *slice, int axis)
{
    for (int k = 0; k < 2; k++)
        if (slice->attr[k].n > axis && slice->attr[k].at[axis] != CG_NONE)
            return true;
    return step_of(slice, axis) != 1;
}

/* A slice that takes whole rows: only its first axis is cut, with step 1, so its elements are neighbours in memory. */
static bool takes_rows(const cg_node *n)
{
    bool rows = cg__is(n, CG_OP_slice) && n->type.rank > 0 && step_of(n, 0) == 1;
    for (int i = 1; rows && i < n->type.rank; i++)
        rows = !cuts(n, i);
    return rows;
}

const cg_node *cg__dense_base(const cg_node *n)
{
    while (takes_rows(n))
        n = n->in[0];
    return n;
}

/* ---- the last rows of an array */

static bool is_int(const cg_node *n, double *v) { return cg__is_const(n, v) && n->type.rank == 0; }

/* How many steps before `rows` n is at most, where n is rows - k, rows - minimum(k, ...) or either but not negative. */
static int64_t before_end(const cg_node *n, const cg_node *rows)
{
    double k;
    if (cg__is(n, CG_OP_maximum))
        n = is_int(n->in[0], &k) ? n->in[1] : n->in[0];
    if (!cg__is(n, CG_OP_sub) || n->in[0] != rows)
        return CG_ALL_ROWS;
    n = n->in[1];
    if (cg__is(n, CG_OP_minimum))
        n = is_int(n->in[0], &k) ? n->in[0] : n->in[1];
    return is_int(n, &k) && k >= 0 ? (int64_t)k : CG_ALL_ROWS;
}

int64_t cg__last_rows(const cg_node *user, int k)
{
    const cg_attr *a = user->attr;
    if (!cg__is(user, CG_OP_slice) || k || !user->type.rank || a[0].n < 1 || a[0].at[0] == CG_NONE || step_of(user, 0) != 1)
        return CG_ALL_ROWS;
    const cg_dim_t rows = user->in[0]->type.dim[0];
    const int64_t from = a[0].at[0];
    if (CG_IS_REF(from))
        return rows.sym ? before_end(user->in[CG_REF_OF(from)], rows.sym) : CG_ALL_ROWS;
    return from < 0 ? -from : rows.sym ? CG_ALL_ROWS : from < rows.n ? rows.n - from : 0;
}

/* ---- strides */

/* The axis of n->in[0] that axis i of the view n walks; -1: none, it has size 1. */
static int inner_axis(const cg_node *n, int i)
{
    const int64_t at = n->attr[0].n > 0 ? n->attr[0].at[0] : 0;
    return cg__is(n, CG_OP_transpose) ? (int)n->attr[0].at[i] : cg__is(n, CG_OP_slice) ? i : i == at ? -1 : i - (i > at);
}

static bool is_view(const cg_node *n)
{
    bool steps = false;
    for (int i = 0; cg__is(n, CG_OP_slice) && i < n->type.rank; i++)
        steps |= step_of(n, i) != 1;
    return cg__is(n, CG_OP_transpose) || cg__is(n, CG_OP_expand_dims) || (cg__is(n, CG_OP_slice) && !steps);
}

/* A matrix of BLAS has stride 1 along one of its two axes: the base's last axis must be among the last two of n. */
const cg_node *cg__matrix_base(const cg_node *n)
{
    const cg_node *base = n;
    int axis[2] = { n->type.rank - 2, n->type.rank - 1 };
    for (; is_view(base); base = base->in[0])
        for (int k = 0; k < 2; k++)
            axis[k] = axis[k] < 0 ? -1 : inner_axis(base, axis[k]);
    for (int k = 0; k < 2; k++)
        if (axis[k] == base->type.rank - 1 || base->type.rank == 0)
            return base;
    return n;
}

static bool placed(const cg_lower *L, const cg_node *n)
{
    const node_info *i = cg__lower_info(L, n);
    return i && i->slot >= 0;
}

/* The view is taken apart from the outside in: axis[] is where each axis of n walks now, first[] where each axis of the node begins. */
bool cg__lower_strided(cg_lower *L, const cg_node *n, cg_strided *out)
{
    cg_plan *p = L->plan;
    const cg_num zero = cg__num_const(p, 0), one = cg__num_const(p, 1);
    const int rank = n->type.rank;
    int axis[CG_MAX_RANK];
    cg_num first[CG_MAX_RANK], stride[CG_MAX_RANK], dense = one;
    for (int i = 0; i < CG_MAX_RANK; i++) {
        axis[i] = i;
        first[i] = zero;
    }
    for (; !placed(L, n) && is_view(n); n = n->in[0]) {
        cg_num inner[CG_MAX_RANK];
        for (int i = 0; i < CG_MAX_RANK; i++)
            inner[i] = zero;
        for (int i = 0; i < n->type.rank; i++)
            if (inner_axis(n, i) >= 0)
                inner[inner_axis(n, i)] = cg__is(n, CG_OP_slice) ? cg__num(p, CG_N_ADD, first[i], cg__slice_first(L, n, i), 0, 0) : first[i];
        for (int i = 0; i < rank; i++)
            axis[i] = axis[i] < 0 ? -1 : inner_axis(n, axis[i]);
        memcpy(first, inner, sizeof first);
    }
    out->slot = cg__lower_slot(L, n);
    if (out->slot < 0)
        return false;
    out->off = cg__lower_off(L, n);
    for (int i = n->type.rank - 1; i >= 0; i--) {
        stride[i] = dense;
        dense = cg__num(p, CG_N_MUL, dense, cg__lower_dim(L, n->type.dim[i]), 0, 0);
        out->off = cg__num(p, CG_N_ADD, out->off, cg__num(p, CG_N_MUL, first[i], stride[i], 0, 0), 0, 0);
    }
    for (int i = 0; i < rank; i++)
        out->stride[i] = axis[i] < 0 ? one : stride[axis[i]];
    return true;
}

/* A host integer has no place until somebody reads it from one. */
static bool place_number(cg_lower *L, const cg_node *n)
{
    const cg_num zero = cg__num_const(L->plan, 0);
    const int slot = cg__lower_temp(L, n->type.dtype, cg__lower_count(L, &n->type), n->op->name);
    if (slot < 0 || cg__lower_into(L, n, (cg_target){ slot, zero, false }) < 0)
        return false;
    cg__lower_alias(L, n, slot, zero);
    return true;
}

bool cg__lower_dense(cg_lower *L, const cg_node *n, int *slot, cg_num *off)
{
    cg_num at = cg__num_const(L->plan, 0);
    for (; !placed(L, n) && takes_rows(n); n = n->in[0]) {
        cg_num row = cg__num_const(L->plan, 1);
        for (int i = 1; i < n->type.rank; i++)
            row = cg__num(L->plan, CG_N_MUL, row, cg__lower_dim(L, n->type.dim[i]), 0, 0);
        at = cg__num(L->plan, CG_N_ADD, at, cg__num(L->plan, CG_N_MUL, cg__slice_first(L, n, 0), row, 0, 0), 0, 0);
    }
    const bool number = cg__lower_slot(L, n) < 0 && cg__lower_is_host(L, n);
    if (number && !place_number(L, n))
        return false;
    *slot = cg__lower_slot(L, n);
    *off = *slot >= 0 ? cg__num(L->plan, CG_N_ADD, cg__lower_off(L, n), at, 0, 0) : CG_NUM_NONE;
    if (number && L->top->open)
        cg__lower_info(L, n)->slot = -1;         /* it is there where this branch is taken: others put it elsewhere */
    return *slot >= 0;
}
