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
    return d.sym || d.n >= 0 ? cg__dim_node(n->graph, d) : CG_ITSELF;
}

/* The size of two that meet where either may be 1 and stretch. All are gone where it is known which are 1 (core/run/variant.c). */
CG_DECLARE_INFER(cg__meet_infer)
{
    for (int k = 0; k < 2; k++)
        if (n->in[k]->type.rank || n->in[k]->type.dtype != CG_I64)
            return cg__fail(err, CG_EDTYPE, "cg_broadcast_dim: a size must be an i64 scalar, is %s", cg__label(n->in[k]));
    n->type = (cg_type){ .dtype = CG_I64 };
    return CG_OK;
}

/* Whether b is among the sizes that met in a; far down it does not pay to look. */
static bool has_met(const cg_node *a, const cg_node *b)
{
    for (int k = 0; k < 16 && cg__is(a, CG_OP_broadcast_dim) && a != b; k++) {
        if (a->in[1] == b)
            return true;
        a = a->in[0];
    }
    return a == b;
}

CG_DECLARE_SIMPLE(cg__meet_simple)
{
    cg_node *a = n->in[0], *b = n->in[1];
    const cg_dim_t x = cg__dim_from(a), y = cg__dim_from(b);
    if (has_met(a, b) || has_met(b, a))
        return has_met(a, b) ? a : b;
    if (!x.sym || !y.sym)
        return cg__dim_is(x, 1) || (!y.sym && y.n != 1) ? b : a;
    const bool swap = cg__is(b, CG_OP_broadcast_dim) == cg__is(a, CG_OP_broadcast_dim) ? b->id < a->id : cg__is(b, CG_OP_broadcast_dim);
    return swap ? cg__node(n->graph, CG_OP_broadcast_dim, (cg_node *[]){ b, a }, 2, NULL) : CG_ITSELF;
}

/* ---- gradients of what has none */

/* Values that change in steps: positions, truths. */
CG_DECLARE_GRAD(cg__step_grad)
{
    (void)gout, (void)need;
    for (int i = 0; i < n->nin; i++)
        gin[i] = CG_ZERO;
    return CG_OK;
}

/* Operands are sizes, counters, or what only a shape is read of. */
CG_DECLARE_GRAD(cg__cut_grad)
{
    (void)n, (void)gout, (void)need, (void)gin;
    return CG_OK;
}
