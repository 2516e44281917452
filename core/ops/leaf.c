// SPDX-License-Identifier: MIT
/* Leaves: inputs, shared variables, constants, and the size of an axis as a value. */
#include "core/ops/ops.h"

CG_DECLARE_INFER(cg__leaf_infer)
{
    return cg__fail(err, CG_EINVAL, "%s: leaves are not built from operands", n->op->name);
}

CG_DECLARE_EMIT(cg__const_emit)
{
    double v;
    if (!cg__is_const(n, &v))
        return cg__loop_load(b, n, at, -1, 0);
    if (cg__is_int(n->type.dtype))
        return cg__loop_cast(b, cg__loop_number(b, cg__num_const(cg__lower_plan(cg__loop_lower(b)), cg__load_i64(n->attr[0].at, n->type.dtype))), n->type.dtype);
    return cg__loop_literal(b, n->type.dtype, v);
}

/* Only the size of an input's free dim stays a node: all others are known, or arithmetic on such, in the type. */
CG_DECLARE_INFER(cg__dim_infer)
{
    int64_t axis = cg__attr_int(n, 0, 0);
    if (!cg__axis_ok(&axis, n->in[0]->type.rank))
        return cg__fail(err, CG_ESHAPE, "cg_dim: %s has no axis %lld", cg__label(n->in[0]), (long long)axis);
    n->type = (cg_type){ .dtype = CG_I64 };
    return cg__set_ints(n, 0, &axis, 1);
}

CG_DECLARE_SIMPLE(cg__dim_simple)
{
    const cg_dim_t d = n->in[0]->type.dim[n->attr[0].at[0]];
    return d.sym || d.n >= 0 ? cg__dim_node(n->graph, d) : NULL;
}

CG_DECLARE_GRAD(cg__dim_grad)
{
    (void)gout, (void)need;
    for (int i = 0; i < n->nin; i++)
        gin[i] = CG_ZERO;
    return CG_OK;
}
