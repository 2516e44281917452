// SPDX-License-Identifier: MIT
/* Arrays from nothing: arange and eye are indices of the loop that uses them; full is a scalar that broadcasts. */
#include "core/ops/ops.h"

/* ---- arange: start, start + step, ... before stop; i64 */

static cg_node *length(cg_graph *g, cg_node *start, cg_node *stop, cg_node *step)
{
    cg_node *zero = cg__const_i64(g, 0), *span = cg__int(g, CG_OP_sub, stop, start);
    double k = 0;
    if (!cg__is_const(step, &k) || k == 0)
        return NULL;
    /* ceil(span / step): the floor of what is one short of the next step */
    cg_node *reach = cg__int(g, CG_OP_add, span, cg__int(g, CG_OP_sub, step, cg__const_i64(g, k > 0 ? 1 : -1)));
    return cg__int(g, CG_OP_maximum, cg__int(g, CG_OP_floor_divide, reach, step), zero);
}

CG_DECLARE_INFER(cg__arange_infer)
{
    if (n->nin < 1 || n->nin > 3)
        return cg__fail(err, CG_EINVAL, "cg_arange: takes stop, or start and stop, or start, stop and step");
    for (int k = 0; k < n->nin; k++)
        if (n->in[k]->type.rank || n->in[k]->type.dtype != CG_I64)
            return cg__fail(err, CG_EDTYPE, "cg_arange: operand %d must be an i64 scalar, is %s", k + 1, cg__label(n->in[k]));
    n->type = (cg_type){ .dtype = CG_I64, .rank = 1 };
    if (n->nin < 3)
        return CG_OK;                    /* simple makes it three */
    cg_node *len = length(n->graph, n->in[0], n->in[1], n->in[2]);
    if (!len)
        return cg__fail(err, CG_EINVAL, "cg_arange: the step must be a known number other than 0, is %s", cg__label(n->in[2]));
    n->type.dim[0] = cg__dim_from(len);
    return CG_OK;
}

CG_DECLARE_SIMPLE(cg__arange_simple)
{
    cg_graph *g = n->graph;
    if (n->nin == 3)
        return CG_ITSELF;
    return cg_arange(n->nin == 2 ? n->in[0] : cg__const_i64(g, 0), n->in[n->nin - 1], cg__const_i64(g, 1));
}

CG_DECLARE_EMIT(cg__arange_emit)
{
    const int i = cg__loop_coord(b, &at->axis[0]), start = cg__emit(b, n->in[0], at), step = cg__emit(b, n->in[2], at);
    return cg__loop_elem(b, CG_EL_add, CG_I64, start, cg__loop_elem(b, CG_EL_mul, CG_I64, i, step, -1), -1);
}

CG_API cg_node *cg_arange(cg_node *start, cg_node *stop, cg_node *step)
{
    CG_BUILDER(cg_node_graph(start));
    cg_node *in[3] = { start, stop, step };
    cg_graph *g = cg__graph_of(in, 3);
    return g ? cg__build(g, CG_OP_arange, in, 3, NULL) : NULL;
}

/* ---- eye: 1 where column - row is k */

CG_DECLARE_INFER(cg__eye_infer)
{
    const int64_t dtype = cg__attr_int(n, 1, CG_F32), k = cg__attr_int(n, 0, 0);
    for (int i = 0; i < 2; i++)
        if (n->in[i]->type.rank || n->in[i]->type.dtype != CG_I64)
            return cg__fail(err, CG_EDTYPE, "cg_eye: rows and columns must be i64 scalars, got %s", cg__label(n->in[i]));
    if (dtype < 0 || dtype >= CG_DTYPE_COUNT)
        return cg__fail(err, CG_EDTYPE, "cg_eye: no such dtype");
    n->type = (cg_type){ .dtype = (cg_dtype)dtype, .rank = 2, .dim = { cg__dim_from(n->in[0]), cg__dim_from(n->in[1]) } };
    for (int i = 0; i < 2; i++)
        if (!n->type.dim[i].sym && n->type.dim[i].n < 0)
            return cg__fail(err, CG_ESHAPE, "cg_eye: size %lld on axis %d", (long long)n->type.dim[i].n, i);
    return cg__set_ints(n, 0, &k, 1) < 0 || cg__set_ints(n, 1, &dtype, 1) < 0 ? cg__fail(err, CG_ENOMEM, "cg_eye: no memory") : CG_OK;
}

CG_DECLARE_EMIT(cg__eye_emit)
{
    const int row = cg__loop_coord(b, &at->axis[0]), column = cg__loop_coord(b, &at->axis[1]);
    const int k = cg__loop_number(b, cg__num_const(cg__lower_plan(cg__loop_lower(b)), n->attr[0].at[0]));
    return cg__loop_cast(b, cg__loop_elem(b, CG_EL_equal, CG_BOOL, column, cg__loop_elem(b, CG_EL_add, CG_I64, row, k, -1), -1), n->type.dtype);
}

CG_API cg_node *cg_eye(cg_node *rows, cg_node *columns, int k, cg_dtype d)
{
    CG_BUILDER(cg_node_graph(rows));
    cg_node *in[2] = { rows, columns };
    cg_graph *g = cg__graph_of(in, 2);
    const int64_t at = k, dtype = d;
    return g ? cg__build(g, CG_OP_eye, in, 2, (cg_attr[]){ { 1, &at }, { 1, &dtype } }) : NULL;
}

/* ---- full */

CG_API cg_node *cg_full(cg_node *value, cg_node *const *dims, int rank)
{
    CG_BUILDER(cg_node_graph(value));
    value = value && value->type.weak ? cg_cast(value, CG_F32) : value;
    if (value && value->type.rank)
        return cg__graph_fail(value->graph, CG_ESHAPE, "cg_full: the value must be a scalar, is %s", cg__label(value));
    return cg_broadcast_to(value, dims, rank);
}
