// SPDX-License-Identifier: MIT
/* The convolutions as nodes: types and gradients. conv.h says what they compute, conv_lower.c how. */
#include "core/ops/conv.h"

/* In which order each operation takes what it is made of. */
static const struct { cg_op_id op; cg_conv_role in[2]; } kinds[CG_CONV_ROLES] = {
    [CG_CONV_IMAGES] = { CG_OP_correlate_images, { CG_CONV_RESULT, CG_CONV_FILTERS } },
    [CG_CONV_FILTERS] = { CG_OP_correlate_filters, { CG_CONV_IMAGES, CG_CONV_RESULT } },
    [CG_CONV_RESULT] = { CG_OP_correlate, { CG_CONV_IMAGES, CG_CONV_FILTERS } },
};

cg_conv_role cg__conv_role(const cg_node *n)
{
    int role = 0;
    while (!cg__is(n, kinds[role].op))
        role++;
    return (cg_conv_role)role;
}

const cg_node *cg__conv_part(const cg_node *n, cg_conv_role role)
{
    const cg_conv_role own = cg__conv_role(n);
    return role == own ? n : n->in[kinds[own].in[1] == role];
}

/* ---- infer */

/* Lists that were left out are written down, so that equal nodes are one. */
static int fill_list(cg_node *n, int attr, int64_t missing, int64_t least, cg_error *err)
{
    int64_t at[CG_CONV_AXES];
    const int axes = cg__conv_axes(n), have = n->attr[attr].n;
    if (have > 0 && have != axes)
        return cg__fail(err, CG_ESHAPE, "cg_%s: %d %s for %d axes", n->op->name, have, n->op->attrs[attr].name, axes);
    for (int i = 0; i < axes; i++) {
        at[i] = have > 0 ? n->attr[attr].at[i] : missing;
        if ((at[i] < least || at[i] > INT32_MAX) && !CG_IS_REF(at[i]))
            return cg__fail(err, CG_EINVAL, "cg_%s: %s %lld on axis %d", n->op->name, n->op->attrs[attr].name, (long long)at[i], i);
    }
    return cg__set_ints(n, attr, at, axes);
}

static int check_parts(cg_node *n, cg_type *space, cg_error *err)
{
    cg_type before = { 0 };
    if (cg__shape_from(n, CG_CONV_SHAPE, 2, space, err) < 0)
        return err->code;
    if (space->rank < 1 || space->rank > CG_CONV_AXES)
        return cg__fail(err, CG_ESHAPE, "cg_%s: windows slide along 1 to %d axes, not %d", n->op->name, CG_CONV_AXES, space->rank);
    for (int k = 0; k < 2; k++)
        if (cg__need_rank(n, k, 2 + space->rank, err) < 0)
            return err->code;
    if (!cg__is_float(n->in[0]->type.dtype) || n->in[0]->type.dtype != n->in[1]->type.dtype)
        return cg__fail(err, CG_EDTYPE, "cg_%s: needs two arrays of one float dtype, got %s and %s", n->op->name, cg__label(n->in[0]), cg__label(n->in[1]));
    for (int i = 0; i < space->rank; i++)
        if (!space->dim[i].sym && space->dim[i].n < 0)
            return cg__fail(err, CG_ESHAPE, "cg_%s: size %lld on axis %d", n->op->name, (long long)space->dim[i].n, i);
    int rc = fill_list(n, CG_CONV_STRIDES, 1, 1, err);
    rc = rc == CG_OK ? fill_list(n, CG_CONV_DILATIONS, 1, 1, err) : rc;
    rc = rc == CG_OK ? fill_list(n, CG_CONV_BEFORE, 0, -INT32_MAX, err) : rc;
    return rc == CG_OK ? cg__shape_from(n, CG_CONV_BEFORE, 2, &before, err) : rc;
}

static bool differ(cg_dim_t a, cg_dim_t b) { return !a.sym && !b.sym && a.n != b.n; }

/* The channels that filters have are those of one group of the images. */
static int check_channels(const cg_node *n, int64_t group, cg_error *err)
{
    const cg_conv_role own = cg__conv_role(n);
    const cg_node *x = cg__conv_part(n, CG_CONV_IMAGES), *w = cg__conv_part(n, CG_CONV_FILTERS), *y = cg__conv_part(n, CG_CONV_RESULT);
    const cg_node *of_result = own == CG_CONV_FILTERS ? y : w;
    const cg_dim_t out = of_result->type.dim[own == CG_CONV_FILTERS];
    if (group < 1 || (!out.sym && out.n % group))
        return cg__fail(err, CG_ESHAPE, "cg_%s: the %lld channels of %s do not divide into %lld groups", n->op->name, (long long)out.n, cg__label(of_result), (long long)group);
    if (own == CG_CONV_FILTERS && !x->type.dim[1].sym && x->type.dim[1].n % group)
        return cg__fail(err, CG_ESHAPE, "cg_%s: the %lld channels of %s do not divide into %lld groups", n->op->name, (long long)x->type.dim[1].n, cg__label(x), (long long)group);
    if (own == CG_CONV_FILTERS && differ(x->type.dim[0], y->type.dim[0]))
        return cg__fail(err, CG_ESHAPE, "cg_%s: %s and %s are of different numbers of images", n->op->name, cg__label(x), cg__label(y));
    if (own == CG_CONV_IMAGES && differ(y->type.dim[1], w->type.dim[0]))
        return cg__fail(err, CG_ESHAPE, "cg_%s: %s has %lld channels, %s gives %lld", n->op->name, cg__label(y), (long long)y->type.dim[1].n, cg__label(w), (long long)w->type.dim[0].n);
    if (own == CG_CONV_RESULT && !x->type.dim[1].sym && !w->type.dim[1].sym && x->type.dim[1].n != w->type.dim[1].n * group)
        return cg__fail(err, CG_ESHAPE, "cg_%s: %s has %lld channels, %s takes %lld in %lld group%s", n->op->name, cg__label(x), (long long)x->type.dim[1].n, cg__label(w),
                        (long long)(w->type.dim[1].n * group), (long long)group, group == 1 ? "" : "s");
    return CG_OK;
}

CG_DECLARE_INFER(cg__conv_infer)
{
    cg_graph *g = n->graph;
    const int64_t group = cg__attr_int(n, CG_CONV_GROUP, 1);
    const cg_conv_role own = cg__conv_role(n);
    cg_type space = { 0 };
    int rc = check_parts(n, &space, err);
    rc = rc == CG_OK ? cg__set_ints(n, CG_CONV_GROUP, &group, 1) : rc;
    rc = rc == CG_OK ? check_channels(n, group, err) : rc;
    if (rc < 0)
        return rc;
    const cg_type *a = &n->in[0]->type, *b = &n->in[1]->type;
    n->type = (cg_type){ .dtype = a->dtype, .rank = 2 + space.rank };
    n->type.dim[0] = own == CG_CONV_FILTERS ? b->dim[1] : a->dim[0];
    if (own == CG_CONV_RESULT)
        n->type.dim[1] = b->dim[0];
    else {
        cg_node *channels = cg__dim_node(g, own == CG_CONV_IMAGES ? b->dim[1] : a->dim[1]);
        channels = cg__int(g, own == CG_CONV_IMAGES ? CG_OP_mul : CG_OP_floor_divide, channels, cg__const_i64(g, group));
        if (!channels)
            return cg__fail(err, CG_ENOMEM, "cg_%s: no memory", n->op->name);
        n->type.dim[1] = cg__dim_from(channels);
    }
    memcpy(n->type.dim + 2, space.dim, (size_t)space.rank * sizeof *space.dim);
    return CG_OK;
}

cg_dim_t cg__conv_before(const cg_node *n, int axis)
{
    const int64_t v = n->attr[CG_CONV_BEFORE].at[axis];
    return CG_IS_REF(v) ? cg__dim_from(n->in[CG_REF_OF(v)]) : (cg_dim_t){ .n = v };
}

/* ---- building */

cg_node *cg__conv_node(cg_conv_role role, cg_node *const parts[2], const cg_dim_t *space, const cg_dim_t *before, const int64_t *strides, const int64_t *dilations, int64_t group)
{
    cg_node *in[2 + 2 * CG_CONV_AXES] = { parts[0], parts[1] };
    int64_t list[2][CG_CONV_AXES];
    int nin = 2;
    if (!parts[0] || !parts[1])
        return NULL;
    const int axes = parts[0]->type.rank - 2;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < axes; i++) {
            const cg_dim_t d = k ? before[i] : space[i];
            list[k][i] = d.sym ? CG_REF(nin) : d.n;
            if (d.sym)
                in[nin++] = d.sym;
        }
    return cg__build(parts[0]->graph, kinds[role].op, in, nin, (cg_attr[]){ { axes, list[0] }, { axes, strides }, { axes, dilations }, { axes, list[1] }, { 1, &group } });
}

/* With the options of n. */
static cg_node *like(const cg_node *n, cg_conv_role role, cg_node *const parts[2], const cg_dim_t *space)
{
    cg_dim_t before[CG_CONV_AXES];
    for (int i = 0; i < cg__conv_axes(n); i++)
        before[i] = cg__conv_before(n, i);
    return cg__conv_node(role, parts, space, before, n->attr[CG_CONV_STRIDES].at, n->attr[CG_CONV_DILATIONS].at, n->attr[CG_CONV_GROUP].at[0]);
}

/* An operand's gradient is what it is made of: the gradient of n in the place of n, and the other operand. */
CG_DECLARE_GRAD(cg__conv_grad)
{
    const cg_conv_role own = cg__conv_role(n);
    for (int k = 0; k < 2; k++) {
        const cg_conv_role to = kinds[own].in[k];
        cg_node *parts[2];
        for (int i = 0; i < 2; i++)
            parts[i] = kinds[to].in[i] == own ? gout[0] : n->in[1 - k];
        if (need[k])
            gin[k] = like(n, to, parts, n->in[k]->type.dim + 2);
    }
    return CG_OK;
}

/* Halves are computed as f32 and rounded once. */
CG_DECLARE_SIMPLE(cg__conv_simple)
{
    const cg_dtype d = n->type.dtype;
    if (d == CG_F32 || d == CG_F64)
        return CG_ITSELF;
    cg_node *wide[2] = { cg_cast(n->in[0], CG_F32), cg_cast(n->in[1], CG_F32) };
    return cg_cast(like(n, cg__conv_role(n), wide, n->type.dim + 2), d);
}
