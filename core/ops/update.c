// SPDX-License-Identifier: MIT
/* Arrays with a part replaced or increased: set_slice and inc_slice, set_rows and inc_rows.
 *
 *     (set_slice x y :start [1 none] :stop [3 none] :step [1 -1])      x, but x[1:3, ::-1] is y
 *     (inc_rows x i y :axis 0)                                         x, and y added to x[i], in the order of i
 *
 * The place of the result holds x first, and is x's own where nobody else reads that; then the part is written. A slice is written by a
 * LOOP over y. Rows are written by a KERNEL in the order of the indices, so that the last of equal ones stays, or they add up, to the same
 * bits on every device; their numbers are checked by a step before it, so that what writes cannot fail and may be an update in place.
 */
#include "core/ops/ops.h"

/* ---- what goes into a part: anything that stretches to it */

static int goes_into(const cg_node *n, const cg_node *y, const cg_type *part, cg_error *err)
{
    bool fits = y->type.rank <= part->rank;
    if (y->type.dtype != part->dtype)
        return cg__fail(err, CG_EDTYPE, "cg_%s: %s does not go into %s", n->op->name, cg__label(y), cg__label(n->in[0]));
    for (int i = 1; fits && i <= y->type.rank; i++) {
        const cg_dim_t from = y->type.dim[y->type.rank - i], to = part->dim[part->rank - i];
        fits = from.sym || to.sym || from.n == 1 || from.n == to.n;
    }
    if (fits)
        return CG_OK;
    cg_strb text = { 0 };
    cg__type_text(part, &text);
    char *t = cg__strb_take(&text);
    cg__fail(err, CG_ESHAPE, "cg_%s: %s does not stretch to the part of %s, which is %s", n->op->name, cg__label(y), cg__label(n->in[0]), t ? t : "smaller");
    cg__free(t);
    return CG_ESHAPE;
}

static bool has_dims(const cg_node *y, const cg_type *t)
{
    bool same = y->type.rank == t->rank;
    for (int i = 0; same && i < t->rank; i++)
        same = cg__dim_same(y->type.dim[i], t->dim[i]);
    return same;
}

/* The candidate with its last value stretched. */
static cg_node *stretched(const cg_node *n, const cg_type *part)
{
    cg_node *in[3 + 2 * CG_MAX_RANK];
    const int y = n->op->nin - 1;
    if (has_dims(n->in[y], part))
        return CG_ITSELF;
    memcpy(in, n->in, (size_t)n->nin * sizeof *in);
    in[y] = cg__broadcast_like(n->in[y], part);
    return in[y] ? cg__node(n->graph, cg__op_id(n), in, n->nin, n->attr) : NULL;
}

static bool is_zero(const cg_node *n)
{
    double v;
    while (cg__is(n, CG_OP_broadcast_to))
        n = n->in[0];
    return cg__is_const(n, &v) && v == 0;
}

static int plain_type(cg_node *n)
{
    n->type = n->in[0]->type;
    n->type.weak = false;
    return CG_OK;
}

/* ---- slices */

CG_DECLARE_INFER(cg__write_part_infer)
{
    cg_type part;
    if (cg__part_type(n, &part, err) < 0 || goes_into(n, n->in[1], &part, err) < 0)
        return err->code;
    return plain_type(n);
}

/* In zeros it is what the gradient of a slice is. */
CG_DECLARE_SIMPLE(cg__write_part_simple)
{
    cg_type part;
    cg_error err;
    if (cg__part_type(n, &part, &err) < 0)
        return cg__graph_fail(n->graph, err.code, "%s", err.text);
    cg_node *wide = stretched(n, &part);
    return wide == CG_ITSELF && is_zero(n->in[0]) ? cg__part_in_zeros(n, n->in[1]) : wide;
}

CG_DECLARE_GRAD(cg__set_slice_grad)
{
    cg_node *zero = cg__splat(n->graph, n->type.dtype, 0);
    gin[0] = need[0] ? cg__same_part(CG_OP_set_slice, (cg_node *[]){ gout[0], zero }, n) : NULL;
    gin[1] = need[1] ? cg__same_part(CG_OP_slice, gout, n) : NULL;
    return CG_OK;
}

CG_DECLARE_GRAD(cg__inc_slice_grad)
{
    gin[0] = gout[0];
    gin[1] = need[1] ? cg__same_part(CG_OP_slice, gout, n) : NULL;
    return CG_OK;
}

CG_DECLARE_LOWER(cg__write_part_lower)
{
    cg_plan *p = cg__lower_plan(L);
    const cg_node *y = n->in[1];
    cg_spot from = { 0 }, to = { 0 };
    const int rc = cg__lower_over(L, n, n->in[0]);
    cg_loop_builder *b = rc == CG_OK ? cg__loop_begin(L, n) : NULL;
    if (!b)
        return rc < 0 ? rc : CG_ENOMEM;
    for (int i = 0; i < n->type.rank; i++) {
        const cg_bounds s = cg__part_bounds(n, i);
        const int l = cg__loop_axis(b, y->type.dim[i], false);
        from.axis[i] = to.axis[i] = cg__coord_axis(l);
        to.axis[i].off = cg__lower_num(L, s.start);
        to.axis[i].c[l] = cg__num_const(p, s.step);
    }
    int v = cg__emit(b, y, &from);
    if (cg__is(n, CG_OP_inc_slice)) {
        const int old = cg__loop_load_at(b, n, cg__lower_slot(L, n), cg__lower_off(L, n), &to);
        v = cg__loop_elem(b, n->type.dtype == CG_BOOL ? CG_EL_logical_or : CG_EL_add, n->type.dtype, old, v, -1);
    }
    cg__loop_store(b, n, &to, v);
    return cg__loop_end(b);
}

/* ---- rows */

CG_DECLARE_INFER(cg__write_rows_infer)
{
    cg_type part;
    if (cg__rows_type(n, &part, err) < 0 || goes_into(n, n->in[2], &part, err) < 0)
        return err->code;
    return cg__rows_axis(n) < 0 ? CG_ENOMEM : plain_type(n);
}

CG_DECLARE_SIMPLE(cg__write_rows_simple)
{
    cg_type part;
    cg_error err;
    return cg__rows_type(n, &part, &err) < 0 ? cg__graph_fail(n->graph, err.code, "%s", err.text) : stretched(n, &part);
}

static cg_node *taken(const cg_node *n, cg_node *a) { return cg_take_axis(a, n->in[1], (int)n->attr[0].at[0]); }

/* Of equal indices only the last one's row is in the result: whose position is read back where it was written. */
static cg_node *last_ones(const cg_node *n)
{
    cg_graph *g = n->graph;
    const int axis = (int)n->attr[0].at[0];
    cg_node *zero = cg__const_i64(g, 0), *size = cg__dim_node(g, n->in[0]->type.dim[axis]), *rows = cg_reshape(n->in[1], CG_SHAPE(-1));
    cg_node *position = cg_arange(zero, cg_dim(rows, 0), cg__const_i64(g, 1));
    cg_node *last = cg_set_rows(cg_full(zero, &size, 1), rows, position, 0);
    cg_node *is_last = cg__reshape_like(cg_equal(cg_take(last, rows), position), &n->in[1]->type);
    for (int i = axis + 1; i < n->type.rank && is_last; i++)
        is_last = cg_expand_dims(is_last, -1);
    return is_last;
}

CG_DECLARE_GRAD(cg__set_rows_grad)
{
    cg_node *zero = cg__splat(n->graph, n->type.dtype, 0);
    gin[0] = need[0] ? cg_set_rows(gout[0], n->in[1], zero, (int)n->attr[0].at[0]) : NULL;
    gin[2] = need[2] ? cg_where(last_ones(n), taken(n, gout[0]), zero) : NULL;
    return CG_OK;
}

CG_DECLARE_GRAD(cg__inc_rows_grad)
{
    gin[0] = gout[0];
    gin[2] = need[2] ? taken(n, gout[0]) : NULL;
    return CG_OK;
}

static int kernel_step(cg_lower *L, const cg_node *n, cg_kernel k)
{
    cg_step *s = cg__lower_step(L, CG_STEP_KERNEL, n);
    if (s)
        s->kernel = k;
    return s ? CG_OK : CG_ENOMEM;
}

CG_DECLARE_LOWER(cg__write_rows_lower)
{
    cg_plan *p = cg__lower_plan(L);
    const int axis = (int)n->attr[0].at[0];
    const cg_kernel_id id = cg__is(n, CG_OP_set_rows) ? CG_K_SET_ROWS : CG_K_ADD_ROWS;
    const cg_num count = cg__lower_count(L, &n->in[1]->type), rows = cg__lower_dim(L, n->type.dim[axis]), zero = cg__num_const(p, 0);
    cg_num outer = cg__num_const(p, 1), inner = outer;
    int index, src;
    cg_num index_off, src_off;
    for (int i = 0; i < n->type.rank; i++) {
        const cg_num d = cg__lower_dim(L, n->type.dim[i]);
        if (i != axis)
            *(i < axis ? &outer : &inner) = cg__num(p, CG_N_MUL, i < axis ? outer : inner, d, 0, 0);
    }
    const cg_num cols = cg__num(p, CG_N_MUL, outer, inner, 0, 0);
    const int numbers = cg__lower_temp(L, CG_I64, count, "rows");
    if (numbers < 0 || !cg__lower_dense(L, n->in[1], &index, &index_off) || !cg__lower_dense(L, n->in[2], &src, &src_off))
        return cg__lower_no_memory(L);
    int rc = kernel_step(L, n, (cg_kernel){ .id = CG_K_ROW_NUMBERS, .nslots = 2, .slots = { numbers, index }, .nnums = 4, .nums = { count, rows, zero, index_off } });
    if (rc == CG_OK)
        rc = cg__lower_over(L, n, n->in[0]);
    if (rc == CG_OK)
        rc = kernel_step(L, n, (cg_kernel){ .id = id, .nslots = 3, .slots = { cg__lower_slot(L, n), numbers, src }, .nnums = 7,
                                            .nums = { cols, count, rows, inner, cg__lower_off(L, n), zero, src_off } });
    return rc;
}

/* ---- the public builders */

static cg_node *write_part(cg_op_id op, cg_node *a, const cg_cut *cuts, int ncuts, cg_node *y)
{
    int64_t list[3][CG_MAX_RANK];
    cg_node *in[2 + 2 * CG_MAX_RANK] = { a, y };
    int nin = 2;
    if (!cg__graph_of(in, 2))
        return NULL;
    const int r = a->type.rank;
    for (int i = 0; i < r; i++)
        list[0][i] = list[1][i] = list[2][i] = CG_NONE;
    for (int k = 0; k < ncuts; k++) {
        int64_t axis = cuts[k].axis;
        if (!cg__axis_ok(&axis, r) || list[2][axis] != CG_NONE)
            return cg__graph_fail(a->graph, CG_ESHAPE, "cg_%s: %s has no axis %d, or it is named twice", cg__ops[op].name, cg__label(a), cuts[k].axis);
        cg_node *const bound[2] = { cuts[k].start, cuts[k].stop };
        list[2][axis] = cuts[k].step ? cuts[k].step : 1;
        for (int side = 0; side < 2; side++) {
            const cg_dim_t d = bound[side] ? cg__dim_from(bound[side]) : (cg_dim_t){ .n = CG_NONE };
            list[side][axis] = d.sym ? CG_REF(nin) : d.n;
            if (d.sym)
                in[nin++] = d.sym;
        }
    }
    return cg__build(a->graph, op, in, nin, (cg_attr[]){ { r, list[0] }, { r, list[1] }, { r, list[2] } });
}

CG_API cg_node *cg_set_slice(cg_node *a, const cg_cut *cuts, int n, cg_node *y) { CG_BUILDER(cg_node_graph(a)); return write_part(CG_OP_set_slice, a, cuts, n, y); }
CG_API cg_node *cg_inc_slice(cg_node *a, const cg_cut *cuts, int n, cg_node *y) { CG_BUILDER(cg_node_graph(a)); return write_part(CG_OP_inc_slice, a, cuts, n, y); }

static cg_node *write_rows(cg_op_id op, cg_node *a, cg_node *rows, cg_node *y, int axis)
{
    const int64_t at = axis;
    return cg__graph_of((cg_node *[]){ a, rows, y }, 3) ? cg__build(a->graph, op, (cg_node *[]){ a, rows, y }, 3, &(cg_attr){ 1, &at }) : NULL;
}

CG_API cg_node *cg_set_rows(cg_node *a, cg_node *rows, cg_node *y, int axis) { CG_BUILDER(cg_node_graph(a)); return write_rows(CG_OP_set_rows, a, rows, y, axis); }
CG_API cg_node *cg_inc_rows(cg_node *a, cg_node *rows, cg_node *y, int axis) { CG_BUILDER(cg_node_graph(a)); return write_rows(CG_OP_inc_rows, a, rows, y, axis); }
