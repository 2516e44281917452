// SPDX-License-Identifier: MIT
/* Normalisation: names for what is made of means, variances and elementwise operations, which fusion makes one LOOP where all is of a row.
 *
 *     (a - mean a) / sqrt(var a + epsilon) scale + bias
 *
 * Halves are normalised in f32, where the squares of their values do not overflow, and rounded once. scale and bias may be NULL, and of another
 * float dtype than a, whose dtype the result has.
 */
#include "core/ops/ops.h"

static const double EPSILON = 1e-5, FACTOR = 0.1;            /* where a 0 is given: PyTorch's, and ONNX's */

static cg_node *widened(cg_node *a) { return cg__dtypes[a->type.dtype].bytes < 4 ? cg_cast(a, CG_F32) : a; }

/* y scale + bias, as a's dtype. */
static cg_node *affine(cg_node *y, cg_node *scale, cg_node *bias, const cg_node *a)
{
    y = scale ? cg_mul(y, scale) : y;
    return cg_cast(bias ? cg_add(y, bias) : y, a->type.dtype);
}

static cg_node *inverse_deviation(cg_node *var, double epsilon)
{
    return var ? cg_rsqrt(cg_add(var, cg_weak(var->graph, epsilon))) : NULL;
}

static bool is_normal(const char *who, cg_node *a, double epsilon)
{
    if (!cg__is_float(a->type.dtype))
        cg__graph_fail(a->graph, CG_EDTYPE, "%s: needs floats, got %s", who, cg__label(a));
    else if (!(epsilon >= 0))
        cg__graph_fail(a->graph, CG_EINVAL, "%s: an epsilon of %g for %s", who, epsilon, cg__label(a));
    return cg__is_float(a->type.dtype) && epsilon >= 0;
}

/* p, unless it is NULL, is floats of a's axes that are marked, in their order. */
static bool is_of_axes(const char *who, const char *what, const cg_node *p, const cg_node *a, const bool *marked)
{
    int k = 0;
    bool fits = !p || cg__is_float(p->type.dtype);
    for (int i = 0; p && i < a->type.rank; i++)
        if (marked[i]) {
            const cg_dim_t x = a->type.dim[i], y = k < p->type.rank ? p->type.dim[k] : x;
            fits = fits && k < p->type.rank && (x.sym || y.sym || x.n == y.n);
            k++;
        }
    if (!p || (fits && k == p->type.rank))
        return true;
    cg__graph_fail(a->graph, CG_ESHAPE, "%s: the %s of %s is to be floats, one for each element of %d of its axes, not %s", who, what, cg__label(a), k, cg__label(p));
    return false;
}

/* ---- rows */

CG_API cg_node *cg_layer_normalization(cg_node *a, cg_node *scale, cg_node *bias, int axis, double epsilon)
{
    CG_BUILDER(cg_node_graph(a));
    static const char who[] = "cg_layer_normalization";
    int64_t from = axis, axes[CG_MAX_RANK];
    bool marked[CG_MAX_RANK] = { false };
    int n = 0;
    if (!a || !is_normal(who, a, epsilon))
        return NULL;
    if (!cg__axis_ok(&from, a->type.rank))
        return cg__graph_fail(a->graph, CG_ESHAPE, "%s: %s has no axis %d", who, cg__label(a), axis);
    for (int i = (int)from; i < a->type.rank; i++) {
        axes[n++] = i;
        marked[i] = true;
    }
    if (!is_of_axes(who, "scale", scale, a, marked) || !is_of_axes(who, "bias", bias, a, marked))
        return NULL;
    cg_node *x = widened(a);
    const cg_reduce over = { .axes = axes, .naxes = n, .keepdims = 1 };
    cg_node *from_mean = cg_sub(x, cg_mean(x, &over));
    return affine(cg_mul(from_mean, inverse_deviation(cg_var(x, &over), epsilon)), scale, bias, a);
}

static double real_attr(const cg_node *n, int k, double missing)
{
    double v = missing;
    if (n->attr[k].n > 0)
        memcpy(&v, n->attr[k].at, sizeof v);
    return v;
}

static cg_node *operand(const cg_node *n, int k) { return k < n->nin ? n->in[k] : NULL; }

CG_DECLARE_SIMPLE(cg__layer_normalization_form)
{
    if (n->nin < 1 || n->nin > 3)
        return cg__graph_fail(n->graph, CG_EINVAL, "layer_normalization: takes an array, and perhaps a scale and a bias");
    return cg_layer_normalization(n->in[0], operand(n, 1), operand(n, 2), (int)cg__attr_int(n, 0, -1), real_attr(n, 1, EPSILON));
}

/* ---- batches */

/* What is averaged over: the axes that o names, else all but the second; and the others, which scale, bias and averages have. */
typedef struct batch { const char *who; cg_node *a; cg_reduce over; int64_t axes[CG_MAX_RANK]; bool kept[CG_MAX_RANK]; double epsilon; } batch;

static bool open_batch(batch *b, const char *who, cg_node *a, const cg_batch_norm *o)
{
    static const cg_batch_norm none = { .struct_size = sizeof none };
    o = o ? o : &none;
    *b = (batch){ .who = who, .a = a, .epsilon = o->epsilon != 0 ? o->epsilon : EPSILON };
    if (o->struct_size != sizeof *o)
        return cg__graph_fail(a->graph, CG_EINVAL, "%s: the options are not made by CG_BATCH_NORM of this version", who) != NULL;
    if (!is_normal(who, a, b->epsilon))
        return false;
    for (int i = 0; i < a->type.rank; i++)
        b->kept[i] = o->naxes || i == 1;
    for (int k = 0; k < o->naxes; k++) {
        int64_t at = o->axes[k];
        if (!cg__axis_ok(&at, a->type.rank) || !b->kept[at])
            return cg__graph_fail(a->graph, CG_ESHAPE, "%s: %s has no axis %lld, or it is named twice", who, cg__label(a), (long long)o->axes[k]) != NULL;
        b->kept[at] = false;
    }
    for (int i = 0; i < a->type.rank; i++)
        if (!b->kept[i])
            b->axes[b->over.naxes++] = i;
    if (!b->over.naxes || (!o->naxes && a->type.rank < 2))
        return cg__graph_fail(a->graph, CG_ESHAPE, "%s: %s has no axes to average over; of its axes the second is that of channels", who, cg__label(a)) != NULL;
    b->over.axes = b->axes;
    b->over.keepdims = 1;
    return true;
}

/* With axes of size 1 where the batch is averaged. */
static cg_node *stretched(const batch *b, cg_node *p)
{
    for (int i = 0; i < b->over.naxes && p; i++)
        p = cg_expand_dims(p, (int)b->axes[i]);
    return p;
}

static cg_node *without_axes(const batch *b, cg_node *p)
{
    for (int i = b->over.naxes - 1; i >= 0; i--)
        p = cg_squeeze(p, (int)b->axes[i]);
    return p;
}

static cg_node *normalised(const batch *b, cg_node *mean, cg_node *inverse, cg_node *scale, cg_node *bias)
{
    cg_node *from_mean = cg_sub(widened(b->a), mean), *y = cg_mul(from_mean, inverse), *by = stretched(b, scale);
    return affine(y, by, stretched(b, bias), b->a);
}

CG_API cg_node *cg_batch_normalization(cg_node *a, cg_node *scale, cg_node *bias, cg_node *mean, cg_node *var, const cg_batch_norm *o)
{
    CG_BUILDER(cg_node_graph(a));
    batch b;
    if (!a || !mean || !var || !open_batch(&b, "cg_batch_normalization", a, o) || !is_of_axes(b.who, "scale", scale, a, b.kept) ||
        !is_of_axes(b.who, "bias", bias, a, b.kept) || !is_of_axes(b.who, "mean", mean, a, b.kept) || !is_of_axes(b.who, "variance", var, a, b.kept))
        return NULL;
    cg_node *inverse = stretched(&b, inverse_deviation(widened(var), b.epsilon));
    return normalised(&b, stretched(&b, widened(mean)), inverse, scale, bias);
}

/* The elements that a mean is of. */
static cg_node *elements(const batch *b)
{
    cg_dim_t m = { .n = 1 };
    for (int i = 0; i < b->over.naxes; i++)
        m = cg__dim_mul(b->a->graph, m, b->a->type.dim[b->axes[i]]);
    return cg__dim_node(b->a->graph, m);
}

/* running + factor (now - running); running itself after an empty batch, whose mean is NaN. NULL: there is none. */
static cg_node *averaged(const batch *b, cg_node *running, cg_node *now, double factor)
{
    if (!running)
        return NULL;
    cg_node *was = widened(running), *next = cg_add(was, cg_scale(cg_sub(without_axes(b, now), was), factor));
    return cg_cast(cg_where(cg_greater(elements(b), cg__const_i64(b->a->graph, 0)), next, was), running->type.dtype);
}

/* m / (m - 1) for the m elements that a variance is of; 1 where there is one. */
static cg_node *correction(const batch *b, cg_dtype d)
{
    cg_node *m = elements(b), *one = cg__const_i64(b->a->graph, 1), *others = cg_maximum(cg_sub(m, one), one);
    return cg_div(cg_cast(m, d), cg_cast(others, d));
}

CG_API int cg_batch_normalization_train(cg_node *a, cg_node *scale, cg_node *bias, const cg_batch_norm *o, cg_batch_normalized *to)
{
    CG_BUILDER(cg_node_graph(a));
    batch b;
    *to = (cg_batch_normalized){ 0 };
    if (!a || !open_batch(&b, "cg_batch_normalization_train", a, o) || !is_of_axes(b.who, "scale", scale, a, b.kept) || !is_of_axes(b.who, "bias", bias, a, b.kept) ||
        (o && (!is_of_axes(b.who, "running mean", o->running_mean, a, b.kept) || !is_of_axes(b.who, "running variance", o->running_var, a, b.kept))))
        return CG_EINVAL;
    const double factor = o && o->running_average_factor != 0 ? o->running_average_factor : FACTOR;
    cg_node *x = widened(a), *mean = cg_mean(x, &b.over), *var = cg_var(x, &b.over), *inverse = inverse_deviation(var, b.epsilon);
    to->y = normalised(&b, mean, inverse, scale, bias);
    to->mean = without_axes(&b, mean);
    to->inverse_deviation = without_axes(&b, inverse);
    if (o)
        to->running_mean = averaged(&b, o->running_mean, mean, factor);
    if (o && o->running_var)
        to->running_var = averaged(&b, o->running_var, cg_mul(var, correction(&b, x->type.dtype)), factor);
    return to->y && to->mean && to->inverse_deviation ? CG_OK : CG_ENOMEM;
}

static cg_batch_norm batch_options(const cg_node *n)
{
    return (cg_batch_norm){ .struct_size = sizeof(cg_batch_norm), .axes = n->attr[0].at, .naxes = n->attr[0].n > 0 ? n->attr[0].n : 0, .epsilon = real_attr(n, 1, 0) };
}

CG_DECLARE_SIMPLE(cg__batch_normalization_form)
{
    const cg_batch_norm o = batch_options(n);
    return cg_batch_normalization(n->in[0], n->in[1], n->in[2], n->in[3], n->in[4], &o);
}

/* The value, and the next running mean and variance, as ONNX's with training_mode. */
CG_DECLARE_SIMPLE(cg__batch_normalization_train_form)
{
    cg_batch_norm o = batch_options(n);
    cg_batch_normalized to;
    o.running_mean = n->in[3];
    o.running_var = n->in[4];
    o.running_average_factor = real_attr(n, 2, 0);
    return cg_batch_normalization_train(n->in[0], n->in[1], n->in[2], &o, &to) == CG_OK
               ? cg__node(n->graph, CG_OP_tuple, (cg_node *[]){ to.y, to.running_mean, to.running_var }, 3, NULL) : NULL;
}
