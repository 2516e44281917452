// SPDX-License-Identifier: MIT
/* Pooling: a reduction over the window axes of a sliding_window_view, so one LOOP; its gradient is the adjoint of the view, one LOOP again.
 *
 *     (max_pool x :kernel_shape [2 2] :strides [2 2])    is    (max (sliding_window_view x :window_shape [2 2] :axis [2 3] :stride [2 2]) :axis [4 5])
 *
 * An average divides the sum by how many elements each window sees, which is a product of one count an axis.
 */
#include "core/ops/ops.h"

enum { AXES = 3 };
static const int64_t LIMIT = (int64_t)1 << 31;

/* The options with all that was left out, along the last axes of a; windows: how many there are where the view may give more, or NULL. */
typedef struct geometry {
    const char *who;
    int naxes;
    int64_t axes[AXES], size[AXES], stride[AXES], dilation[AXES], before[AXES], after[AXES], behind[AXES];      /* behind: with what sticks out */
    cg_node *windows[AXES];
    bool padded, sticks_out;
} geometry;

static int64_t span_of(const geometry *p, int i) { return p->dilation[i] * (p->size[i] - 1) + 1; }

/* ---- options */

static bool read_list(cg_node *a, const geometry *p, const char *name, const int64_t *from, int64_t missing, int64_t least, int64_t *to)
{
    for (int i = 0; i < p->naxes; i++) {
        to[i] = from ? from[i] : missing;
        if (to[i] < least || to[i] > LIMIT) {
            cg__graph_fail(a->graph, CG_EINVAL, "%s: %s of axis %lld of %s cannot be %lld", p->who, name, (long long)p->axes[i], cg__label(a), (long long)to[i]);
            return false;
        }
    }
    return true;
}

/* The result has size / stride points, rounded up, and windows lie as evenly as they can. */
static bool pad_to_same(cg_node *a, geometry *p, int i, bool upper)
{
    const cg_dim_t size = a->type.dim[p->axes[i]];
    const int64_t by = p->stride[i];
    if (size.sym && by > 1) {
        cg__graph_fail(a->graph, CG_EINVAL, "%s: axis %lld of %s must have a known size, for SAME with the stride %lld depends on it", p->who, (long long)p->axes[i], cg__label(a), (long long)by);
        return false;
    }
    const int64_t wanted = size.sym ? span_of(p, i) - 1 : ((size.n + by - 1) / by - 1) * by + span_of(p, i) - size.n, all = wanted > 0 ? wanted : 0;
    p->before[i] = upper ? all / 2 : all - all / 2;
    p->after[i] = all - p->before[i];
    return true;
}

static bool read_border(cg_node *a, geometry *p, cg_border border)
{
    for (int i = 0; i < p->naxes; i++) {
        const int64_t span = span_of(p, i);
        switch (border) {
        case CG_BORDER_PADS: break;
        case CG_BORDER_FULL: p->before[i] = p->after[i] = span - 1; break;
        case CG_BORDER_HALF: p->before[i] = p->after[i] = span / 2; break;
        case CG_BORDER_SAME_UPPER:
        case CG_BORDER_SAME_LOWER:
            if (!pad_to_same(a, p, i, border == CG_BORDER_SAME_UPPER))
                return false;
            break;
        default: cg__graph_fail(a->graph, CG_EINVAL, "%s: there is no border %d", p->who, (int)border); return false;
        }
    }
    return true;
}

static bool fits(cg_node *a, const geometry *p)
{
    for (int i = 0; i < p->naxes; i++) {
        const cg_dim_t size = a->type.dim[p->axes[i]];
        if (!size.sym && size.n + p->before[i] + p->after[i] < span_of(p, i)) {
            cg__graph_fail(a->graph, CG_ESHAPE, "%s: a window of %lld is larger than axis %lld of %s with its padding, %lld", p->who, (long long)span_of(p, i), (long long)p->axes[i],
                           cg__label(a), (long long)(size.n + p->before[i] + p->after[i]));
            return false;
        }
    }
    return true;
}

/* As many as begin within the padded axis less than a stride apart from its last whole window: min(ceil((all - span) / stride), (size + before - 1) / stride) + 1 */
static void stick_out(cg_node *a, geometry *p, int i)
{
    cg_graph *g = a->graph;
    const int64_t by = p->stride[i];
    cg_node *size = cg__dim_node(g, a->type.dim[p->axes[i]]), *stride = cg__const_i64(g, by);
    cg_node *reach = cg__int(g, CG_OP_add, size, cg__const_i64(g, p->before[i] + p->after[i] - span_of(p, i) + 2 * by - 1));
    cg_node *begin = cg__int(g, CG_OP_add, size, cg__const_i64(g, p->before[i] - 1 + by));
    p->behind[i] = p->after[i] + by - 1;
    p->windows[i] = cg__int(g, CG_OP_minimum, cg__int(g, CG_OP_floor_divide, reach, stride), cg__int(g, CG_OP_floor_divide, begin, stride));
    p->sticks_out = true;
}

static bool read_options(cg_node *a, const char *who, const cg_pooling *o, geometry *p)
{
    *p = (geometry){ .who = who, .naxes = o ? o->naxes : 0 };
    if (!o || o->struct_size != sizeof *o) {
        cg__graph_fail(a->graph, CG_EINVAL, "%s: the options are not made by CG_POOL of this version", who);
        return false;
    }
    if (o->naxes < 1 || o->naxes > AXES || o->naxes > a->type.rank || !o->kernel_shape) {
        cg__graph_fail(a->graph, CG_ESHAPE, "%s: windows have 1 to %d axes, the last ones of %s, not %d", who, AXES, cg__label(a), o->naxes);
        return false;
    }
    for (int i = 0; i < o->naxes; i++)
        p->axes[i] = a->type.rank - o->naxes + i;
    if (!read_list(a, p, "the window", o->kernel_shape, 1, 1, p->size) || !read_list(a, p, "the stride", o->strides, 1, 1, p->stride) ||
        !read_list(a, p, "the dilation", o->dilations, 1, 1, p->dilation) || !read_list(a, p, "the padding before", o->pads, 0, 0, p->before) ||
        !read_list(a, p, "the padding behind", o->pads ? o->pads + o->naxes : NULL, 0, 0, p->after) || !read_border(a, p, o->border) || !fits(a, p))
        return false;
    memcpy(p->behind, p->after, sizeof p->behind);
    for (int i = 0; i < p->naxes; i++) {
        p->padded |= p->before[i] || p->after[i];
        if (o->ceil_mode && p->stride[i] > 1)
            stick_out(a, p, i);
    }
    return true;
}

/* ---- windows */

static cg_node *first_windows(cg_node *view, int64_t axis, cg_node *count)
{
    return count && view && !cg__dim_same(view->type.dim[axis], cg__dim_from(count)) ? cg_slice(view, (int)axis, NULL, count, 1) : view;
}

static cg_node *view_of(cg_node *a, const geometry *p, bool lowest)
{
    cg_node *v = cg_sliding_window_view(a, CG_WINDOWS(.axes = p->axes, .size = p->size, .naxes = p->naxes, .stride = p->stride, .dilation = p->dilation, .before = p->before,
                                                      .after = p->behind, .lowest = lowest));
    for (int i = 0; i < p->naxes; i++)
        v = first_windows(v, p->axes[i], p->windows[i]);
    return v;
}

static cg_node *over_windows(cg_node *view, const geometry *p, cg_node *(*reduce)(cg_node *, const cg_reduce *))
{
    int64_t axes[AXES];
    for (int i = 0; i < p->naxes; i++)
        axes[i] = -p->naxes + i;
    return reduce(view, CG_REDUCE(.axes = axes, .naxes = p->naxes));
}

/* How many elements the windows along axis i see, in dtype d; with_pads: of the axis with its padding. */
static cg_node *seen_along(cg_node *a, const geometry *p, int i, bool with_pads, cg_dtype d)
{
    cg_graph *g = a->graph;
    const int64_t axis = 0, none = 0;
    cg_node *size = cg_dim(a, (int)p->axes[i]), *all = with_pads ? cg__int(g, CG_OP_add, size, cg__const_i64(g, p->before[i] + p->after[i])) : size;
    cg_node *ones = all ? cg_full(cg_scalar(g, d, 1), &all, 1) : NULL;
    const int64_t behind = p->behind[i] - (with_pads ? p->after[i] : 0);
    cg_node *v = cg_sliding_window_view(ones, CG_WINDOWS(.axes = &axis, .size = &p->size[i], .naxes = 1, .stride = &p->stride[i], .dilation = &p->dilation[i],
                                                         .before = with_pads ? &none : &p->before[i], .after = &behind));
    return cg_maximum(cg_sum(first_windows(v, 0, p->windows[i]), CG_REDUCE(CG_OVER(1))), cg_scalar(g, d, 1));
}

/* In a shape that broadcasts against the result. */
static cg_node *seen(cg_node *a, const geometry *p, bool with_pads, cg_dtype d)
{
    cg_node *all = NULL;
    for (int i = 0; i < p->naxes; i++) {
        cg_node *one = seen_along(a, p, i, with_pads, d);
        for (int k = i + 1; k < p->naxes; k++)
            one = cg_expand_dims(one, -1);
        all = all ? cg_mul(all, one) : one;
    }
    return all;
}

/* ---- the builders */

CG_API cg_node *cg_max_pool(cg_node *a, const cg_pooling *o)
{
    CG_BUILDER(cg_node_graph(a));
    geometry p;
    return a && read_options(a, "cg_max_pool", o, &p) ? over_windows(view_of(a, &p, true), &p, cg_max) : NULL;
}

CG_API cg_node *cg_sum_pool(cg_node *a, const cg_pooling *o)
{
    CG_BUILDER(cg_node_graph(a));
    geometry p;
    return a && read_options(a, "cg_sum_pool", o, &p) ? over_windows(view_of(a, &p, false), &p, cg_sum) : NULL;
}

CG_API cg_node *cg_average_pool(cg_node *a, const cg_pooling *o)
{
    CG_BUILDER(cg_node_graph(a));
    geometry p;
    if (!a || !read_options(a, "cg_average_pool", o, &p))
        return NULL;
    const bool with_pads = o->count_include_pad;
    if (!p.sticks_out && (with_pads || !p.padded))
        return over_windows(view_of(a, &p, false), &p, cg_mean);
    const cg_dtype d = cg__is_float(a->type.dtype) ? a->type.dtype : CG_F32;
    return cg_div(over_windows(view_of(cg_cast(a, d), &p, false), &p, cg_sum), seen(a, &p, with_pads, d));
}

/* ---- the written names */

static bool has(const cg_node *n, int attr, int count)
{
    const int given = n->attr[attr].n;
    if (given >= 0 && given != count)
        cg__graph_fail(n->graph, CG_EINVAL, "%s: %d values of %s, not %d", n->op->name, given, n->op->attrs[attr].name, count);
    return given < 0 || given == count;
}

static cg_node *pool_form(const cg_node *n, cg_node *(*build)(cg_node *, const cg_pooling *))
{
    const int naxes = n->attr[0].n > 0 ? n->attr[0].n : 0;
    const cg_pooling o = { .struct_size = sizeof o, .kernel_shape = n->attr[0].at, .naxes = naxes, .strides = n->attr[1].at, .dilations = n->attr[2].at, .pads = n->attr[3].at,
                        .border = (cg_border)cg__attr_int(n, 4, 0), .ceil_mode = cg__attr_int(n, 5, 0) != 0, .count_include_pad = n->op->nattrs > 6 && cg__attr_int(n, 6, 0) };
    return has(n, 1, naxes) && has(n, 2, naxes) && has(n, 3, 2 * naxes) ? build(n->in[0], &o) : NULL;
}

CG_DECLARE_SIMPLE(cg__max_pool_form) { return pool_form(n, cg_max_pool); }
CG_DECLARE_SIMPLE(cg__average_pool_form) { return pool_form(n, cg_average_pool); }
CG_DECLARE_SIMPLE(cg__sum_pool_form) { return pool_form(n, cg_sum_pool); }
