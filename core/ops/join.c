// SPDX-License-Identifier: MIT
/* Arrays side by side: concatenate, and what is made of it and of slices (stack, split, flip, squeeze).
 *
 * Each operand's LOOP writes straight into its part of the result, so elementwise work is done on the way and nothing is copied twice.
 */
#include "core/ops/ops.h"

CG_DECLARE_INFER(cg__concat_infer)
{
    cg_type t = n->nin ? n->in[0]->type : (cg_type){ 0 };
    int64_t axis = cg__attr_int(n, 0, 0);
    if (!n->nin || !cg__axis_ok(&axis, t.rank))
        return cg__fail(err, CG_ESHAPE, "cg_concatenate: %s%s has no axis %lld", n->nin ? "" : "nothing", n->nin ? cg__label(n->in[0]) : "", (long long)axis);
    for (int k = 1; k < n->nin; k++) {
        const cg_type *u = &n->in[k]->type;
        bool fits = u->rank == t.rank;
        for (int i = 0; fits && i < t.rank; i++)
            fits = i == axis || t.dim[i].sym || u->dim[i].sym || t.dim[i].n == u->dim[i].n;
        if (!fits || u->dtype != t.dtype)
            return cg__fail(err, fits ? CG_EDTYPE : CG_ESHAPE, "cg_concatenate: %s does not go beside %s along axis %lld", cg__label(n->in[k]), cg__label(n->in[0]), (long long)axis);
        for (int i = 0; i < t.rank; i++)
            t.dim[i] = i != axis && t.dim[i].sym && !u->dim[i].sym ? u->dim[i] : t.dim[i];
    }
    cg_node *size = cg__dim_node(n->graph, n->in[0]->type.dim[axis]);
    for (int k = 1; k < n->nin && size; k++)
        size = cg__int(n->graph, CG_OP_add, size, cg__dim_node(n->graph, n->in[k]->type.dim[axis]));
    if (!size)
        return cg__fail(err, CG_ENOMEM, "cg_concatenate: no memory");
    t.dim[axis] = cg__dim_from(size);
    t.weak = false;
    n->type = t;
    return cg__set_ints(n, 0, &axis, 1);
}

CG_DECLARE_SIMPLE(cg__concat_simple) { return n->nin == 1 ? n->in[0] : CG_ITSELF; }

CG_DECLARE_GRAD(cg__concat_grad)
{
    cg_graph *g = n->graph;
    const int axis = (int)n->attr[0].at[0];
    cg_node *from = cg__const_i64(g, 0);
    for (int k = 0; k < n->nin; k++) {
        cg_node *to = cg__int(g, CG_OP_add, from, cg__dim_node(g, n->in[k]->type.dim[axis]));
        gin[k] = need[k] ? cg_slice(gout[0], axis, from, to, 1) : NULL;
        from = to;
    }
    return CG_OK;
}

/* Operand k into the result, from `first` on along the axis. */
static int join_part(cg_lower *L, const cg_node *n, const cg_node *in, cg_num first)
{
    const int axis = (int)n->attr[0].at[0];
    cg_loop_builder *b = cg__loop_begin(L, n);
    cg_spot from = { 0 }, to = { 0 };
    if (!b)
        return CG_ENOMEM;
    for (int i = 0; i < n->type.rank; i++)
        from.axis[i] = to.axis[i] = cg__coord_axis(cg__loop_axis(b, in->type.dim[i], false));
    to.axis[axis].off = first;
    cg__loop_store_part(b, n, &to, cg__emit(b, in, &from));
    return cg__loop_end(b);
}

CG_DECLARE_LOWER(cg__concat_lower)
{
    cg_plan *p = cg__lower_plan(L);
    const int axis = (int)n->attr[0].at[0];
    cg_num first = cg__num_const(p, 0);
    int rc = cg__lower_out(L, n);
    for (int k = 0; k < n->nin && rc == CG_OK; k++) {
        for (int i = 0; i < n->type.rank && rc == CG_OK; i++)
            rc = i == axis ? CG_OK : cg__check_dims(L, n, n->in[k]->type.dim[i], n->type.dim[i]);
        if (rc == CG_OK)
            rc = join_part(L, n, n->in[k], first);
        first = cg__num(p, CG_N_ADD, first, cg__lower_dim(L, n->in[k]->type.dim[axis]), 0, 0);
    }
    return rc;
}

/* ---- the public builders */

CG_API cg_node *cg_concatenate(cg_node *const *parts, int n, int axis)
{
    CG_BUILDER(n > 0 ? cg_node_graph(parts[0]) : NULL);
    const int64_t at = axis;
    cg_graph *g = n > 0 ? cg__graph_of(parts, n) : NULL;
    return g ? cg__build(g, CG_OP_concatenate, parts, n, &(cg_attr){ 1, &at }) : NULL;
}

CG_API cg_node *cg_stack(cg_node *const *parts, int n, int axis)
{
    CG_BUILDER(n > 0 ? cg_node_graph(parts[0]) : NULL);
    cg_graph *g = n > 0 ? cg__graph_of(parts, n) : NULL;
    cg_node **list = g ? cg__zalloc((size_t)n * sizeof *list) : NULL, *made = NULL;
    bool ok = list != NULL;
    if (g && !list)
        return cg__graph_fail(g, CG_ENOMEM, "cg_stack: no memory");
    for (int i = 0; i < n && ok; i++)
        ok = (list[i] = cg_expand_dims(parts[i], axis)) != NULL;
    if (ok)
        made = cg_concatenate(list, n, axis);
    cg__free(list);
    return made;
}

CG_API int cg_split(cg_node *a, int axis, cg_node **const *parts, int n)
{
    CG_BUILDER(cg_node_graph(a));
    for (int i = 0; i < n; i++)
        *parts[i] = NULL;
    if (!a || n < 1)
        return CG_EINVAL;
    cg_graph *g = a->graph;
    int64_t at = axis;
    if (!cg__axis_ok(&at, a->type.rank) || (!a->type.dim[at].sym && a->type.dim[at].n % n)) {
        cg__graph_fail(g, CG_ESHAPE, "cg_split: axis %d of %s does not divide into %d parts", axis, cg__label(a), n);
        return CG_ESHAPE;
    }
    cg_node *size = cg__int(g, CG_OP_floor_divide, cg__dim_node(g, a->type.dim[at]), cg__const_i64(g, n)), *from = cg__const_i64(g, 0);
    for (int i = 0; i < n; i++) {
        cg_node *to = cg__int(g, CG_OP_add, from, size);
        if (!(*parts[i] = cg_slice(a, (int)at, from, to, 1)))
            return g->error.code ? (int)g->error.code : CG_ENOMEM;
        from = to;
    }
    return CG_OK;
}

CG_API cg_node *cg_flip(cg_node *a, int axis) { CG_BUILDER(cg_node_graph(a)); return cg_slice(a, axis, NULL, NULL, -1); }

CG_API cg_node *cg_squeeze(cg_node *a, int axis)
{
    CG_BUILDER(cg_node_graph(a));
    if (!a)
        return NULL;
    int64_t at = axis;
    cg_type t = a->type;
    if (!cg__axis_ok(&at, t.rank) || !cg__dim_is(t.dim[at], 1))
        return cg__graph_fail(a->graph, CG_ESHAPE, "cg_squeeze: axis %d of %s is not known to have size 1", axis, cg__label(a));
    t.rank--;
    memmove(t.dim + at, t.dim + at + 1, (size_t)(t.rank - at) * sizeof *t.dim);
    return cg__reshape_like(a, &t);
}
