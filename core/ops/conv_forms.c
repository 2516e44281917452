// SPDX-License-Identifier: MIT
/* The convolutions as they are written: options, borders as numbers of zeros, and the names of forms.def. */
#include "core/ops/conv.h"

/* An application of the options: sizes of the images' space and of the window, zeros before and the places of windows, an axis each. */
typedef struct border { int axes; cg_node *size[CG_CONV_AXES], *window[CG_CONV_AXES], *before[CG_CONV_AXES], *places[CG_CONV_AXES]; } border;

static cg_node *plus(cg_node *a, int64_t k) { return a ? cg__int(a->graph, CG_OP_add, a, cg__const_i64(a->graph, k)) : NULL; }
static cg_node *times(cg_node *a, int64_t k) { return a ? cg__int(a->graph, CG_OP_mul, a, cg__const_i64(a->graph, k)) : NULL; }
static cg_node *over(cg_node *a, int64_t k) { return a ? cg__int(a->graph, CG_OP_floor_divide, a, cg__const_i64(a->graph, k)) : NULL; }
static cg_node *sum(cg_node *a, cg_node *b) { return a && b ? cg__int(a->graph, CG_OP_add, a, b) : NULL; }
static cg_node *less(cg_node *a, cg_node *b) { return a && b ? cg__int(a->graph, CG_OP_sub, a, b) : NULL; }

static int64_t stride_of(const cg_convolution *o, int i) { return o->strides ? o->strides[i] : 1; }
static int64_t dilation_of(const cg_convolution *o, int i) { return o->dilations ? o->dilations[i] : 1; }

/* Zeros before and behind; span: what a window covers. */
static void zeros_around(const cg_convolution *o, const border *b, int i, cg_node *span, cg_node **before, cg_node **behind)
{
    cg_graph *g = span->graph;
    switch (o->border) {
    case CG_BORDER_FULL:
        *before = *behind = plus(span, -1);
        return;
    case CG_BORDER_HALF:
        *before = *behind = over(span, 2);
        return;
    case CG_BORDER_SAME_UPPER:
    case CG_BORDER_SAME_LOWER: {
        const int64_t s = stride_of(o, i);
        cg_node *reach = times(plus(over(plus(b->size[i], s - 1), s), -1), s), *need = less(sum(reach, span), b->size[i]);
        cg_node *all = need ? cg__int(g, CG_OP_maximum, need, cg__const_i64(g, 0)) : NULL, *half = over(all, 2);
        *before = o->border == CG_BORDER_SAME_UPPER ? half : less(all, half);
        *behind = less(all, *before);
        return;
    }
    case CG_BORDER_PADS: break;
    }
    *before = cg__const_i64(g, o->pads ? o->pads[i] : 0);
    *behind = cg__const_i64(g, o->pads ? o->pads[b->axes + i] : 0);
}

static bool numbers_ok(cg_graph *g, const char *who, const cg_convolution *o, int axes)
{
    for (int i = 0; i < axes; i++) {
        if (stride_of(o, i) < 1 || dilation_of(o, i) < 1 || stride_of(o, i) > INT32_MAX || dilation_of(o, i) > INT32_MAX)
            return cg__graph_fail(g, CG_EINVAL, "cg_%s: stride %lld and dilation %lld on axis %d of space", who, (long long)stride_of(o, i), (long long)dilation_of(o, i), i), false;
        if (o->pads && (o->pads[i] < 0 || o->pads[axes + i] < 0 || o->pads[i] > INT32_MAX || o->pads[axes + i] > INT32_MAX))
            return cg__graph_fail(g, CG_EINVAL, "cg_%s: %lld and %lld zeros around axis %d of space", who, (long long)o->pads[i], (long long)o->pads[axes + i], i), false;
    }
    if (o->pads && o->border != CG_BORDER_PADS)
        return cg__graph_fail(g, CG_EINVAL, "cg_%s: is given pads and another border", who), false;
    if (o->groups < 0 || o->border < CG_BORDER_PADS || o->border > CG_BORDER_SAME_LOWER)
        return cg__graph_fail(g, CG_EINVAL, "cg_%s: %lld groups, border %d", who, (long long)o->groups, (int)o->border), false;
    return true;
}

static bool options_ok(cg_graph *g, const char *who, const cg_convolution *o, const cg_node *a, const cg_node *b)
{
    if (o->struct_size != sizeof *o)
        return cg__graph_fail(g, CG_EINVAL, "cg_%s: the options are not made by CG_CONV of this version", who), false;
    const int rank = a->type.rank;
    if (rank < 3 || rank > 2 + CG_CONV_AXES || b->type.rank != rank)
        return cg__graph_fail(g, CG_ESHAPE, "cg_%s: needs two arrays of one rank from 3 to %d, got %s and %s", who, 2 + CG_CONV_AXES, cg__label(a), cg__label(b)), false;
    return numbers_ok(g, who, o, rank - 2);
}

/* Fills before and places from size and window. A window that does not fit is told where that is known. */
static bool lay_out(cg_graph *g, const char *who, const cg_convolution *o, border *b)
{
    for (int i = 0; i < b->axes; i++) {
        double size, window, room;
        cg_node *before = NULL, *behind = NULL, *span = plus(times(plus(b->window[i], -1), dilation_of(o, i)), 1);
        if (span)
            zeros_around(o, b, i, span, &before, &behind);
        cg_node *rest = less(sum(b->size[i], sum(before, behind)), span), *places = plus(over(rest, stride_of(o, i)), 1);
        if (!places)
            return false;
        if (cg__is_const(rest, &room) && room < 0 && cg__is_const(b->size[i], &size) && cg__is_const(b->window[i], &window))
            return cg__graph_fail(g, CG_ESHAPE, "cg_%s: a window of %.0f with dilation %lld does not fit %.0f points and the zeros around them on axis %d of space", who, window,
                                  (long long)dilation_of(o, i), size, i), false;
        b->before[i] = before;
        b->places[i] = places;
    }
    return true;
}

static cg_node *flipped(const cg_convolution *o, cg_node *w)
{
    for (int i = 2; o->flip && w && i < w->type.rank; i++)
        w = cg_flip(w, i);
    return w;
}

static cg_node *made(const cg_convolution *o, cg_conv_role role, cg_node *a, cg_node *c, cg_node *const *space, const border *b)
{
    cg_dim_t sizes[CG_CONV_AXES], before[CG_CONV_AXES];
    int64_t strides[CG_CONV_AXES], dilations[CG_CONV_AXES];
    for (int i = 0; i < b->axes; i++) {
        sizes[i] = cg__dim_from(space[i]);
        before[i] = cg__dim_from(b->before[i]);
        strides[i] = stride_of(o, i);
        dilations[i] = dilation_of(o, i);
    }
    return cg__conv_node(role, (cg_node *[]){ a, c }, sizes, before, strides, dilations, o->groups ? o->groups : 1);
}

static void sizes_of(const cg_node *n, cg_node **out)
{
    for (int i = 2; i < n->type.rank; i++)
        out[i - 2] = cg__dim_node(n->graph, n->type.dim[i]);
}

static bool take_sizes(cg_graph *g, const char *who, int axes, cg_node *const *sizes, cg_node **out)
{
    for (int i = 0; i < axes; i++) {
        cg_node *s = sizes ? sizes[i] : NULL;
        if (!s)
            return g->error.code ? false : (cg__graph_fail(g, CG_EINVAL, "cg_%s: needs a size for each axis of space", who), false);
        if (s->graph != g || s->type.rank || (s->type.dtype != CG_I64 && !s->type.weak))
            return cg__graph_fail(g, CG_EDTYPE, "cg_%s: a size must be an i64 scalar, is %s", who, cg__label(s)), false;
        out[i] = s->type.weak ? cg_cast(s, CG_I64) : s;
    }
    return true;
}

static const cg_convolution no_options = { .struct_size = sizeof(cg_convolution) };

CG_API cg_node *cg_conv(cg_node *x, cg_node *w, const cg_convolution *o)
{
    CG_BUILDER(cg_node_graph(x));
    cg_graph *g = cg__graph_of((cg_node *[]){ x, w }, 2);
    o = o ? o : &no_options;
    if (!g || !options_ok(g, "conv", o, x, w))
        return NULL;
    border b = { .axes = x->type.rank - 2 };
    sizes_of(x, b.size);
    sizes_of(w, b.window);
    return lay_out(g, "conv", o, &b) ? made(o, CG_CONV_RESULT, x, flipped(o, w), b.places, &b) : NULL;
}

CG_API cg_node *cg_conv_input_grad(cg_node *grad, cg_node *w, cg_node *const *sizes, const cg_convolution *o)
{
    CG_BUILDER(cg_node_graph(grad));
    cg_graph *g = cg__graph_of((cg_node *[]){ grad, w }, 2);
    o = o ? o : &no_options;
    if (!g || !options_ok(g, "conv_input_grad", o, grad, w))
        return NULL;
    border b = { .axes = grad->type.rank - 2 };
    sizes_of(w, b.window);
    if (!take_sizes(g, "conv_input_grad", b.axes, sizes, b.size) || !lay_out(g, "conv_input_grad", o, &b))
        return NULL;
    return made(o, CG_CONV_IMAGES, grad, flipped(o, w), b.size, &b);
}

CG_API cg_node *cg_conv_weight_grad(cg_node *x, cg_node *grad, cg_node *const *sizes, const cg_convolution *o)
{
    CG_BUILDER(cg_node_graph(x));
    cg_graph *g = cg__graph_of((cg_node *[]){ x, grad }, 2);
    o = o ? o : &no_options;
    if (!g || !options_ok(g, "conv_weight_grad", o, x, grad))
        return NULL;
    border b = { .axes = x->type.rank - 2 };
    sizes_of(x, b.size);
    if (!take_sizes(g, "conv_weight_grad", b.axes, sizes, b.window) || !lay_out(g, "conv_weight_grad", o, &b))
        return NULL;
    return flipped(o, made(o, CG_CONV_FILTERS, x, grad, b.window, &b));
}

/* ---- as text */

enum { F_STRIDES, F_DILATIONS, F_PADS, F_GROUP, F_BORDER, F_FLIP, F_SHAPE };

/* false: a list has not a value an axis. */
static bool read_options(const cg_node *n, cg_convolution *o)
{
    const int axes = n->in[0]->type.rank - 2;
    const cg_attr *a = n->attr;
    const struct { int attr, count; const int64_t **to; } lists[] = { { F_STRIDES, axes, &o->strides }, { F_DILATIONS, axes, &o->dilations }, { F_PADS, 2 * axes, &o->pads } };
    *o = (cg_convolution){ .struct_size = sizeof *o, .groups = cg__attr_int(n, F_GROUP, 1), .border = (cg_border)cg__attr_int(n, F_BORDER, 0), .flip = cg__attr_int(n, F_FLIP, 0) != 0 };
    for (int i = 0; i < CG_LEN(lists); i++) {
        if (a[lists[i].attr].n < 0)
            continue;
        if (a[lists[i].attr].n != lists[i].count) {
            cg__graph_fail(n->graph, CG_ESHAPE, "%s: %d %s for %d axes of space", n->op->name, a[lists[i].attr].n, n->op->attrs[lists[i].attr].name, axes);
            return false;
        }
        *lists[i].to = a[lists[i].attr].at;
    }
    return true;
}

CG_DECLARE_SIMPLE(cg__conv_form)
{
    cg_convolution o;
    return read_options(n, &o) ? cg_conv(n->in[0], n->in[1], &o) : NULL;
}

static cg_node *gradient_form(const cg_node *n, cg_node *(*build)(cg_node *, cg_node *, cg_node *const *, const cg_convolution *))
{
    cg_convolution o;
    cg_type t = { 0 };
    cg_error err = { 0 };
    cg_node *sizes[CG_MAX_RANK];
    if (!read_options(n, &o))
        return NULL;
    if (cg__shape_from(n, F_SHAPE, 2, &t, &err) < 0)
        return cg__graph_fail(n->graph, err.code, "%s", err.text);
    if (t.rank != n->in[0]->type.rank - 2)
        return cg__graph_fail(n->graph, CG_ESHAPE, "%s: %d sizes for %s", n->op->name, t.rank, cg__label(n->in[0]));
    for (int i = 0; i < t.rank; i++)
        sizes[i] = cg__dim_node(n->graph, t.dim[i]);
    return build(n->in[0], n->in[1], sizes, &o);
}

CG_DECLARE_SIMPLE(cg__conv_input_grad_form) { return gradient_form(n, cg_conv_input_grad); }
CG_DECLARE_SIMPLE(cg__conv_weight_grad_form) { return gradient_form(n, cg_conv_weight_grad); }
