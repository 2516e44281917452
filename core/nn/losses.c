// SPDX-License-Identifier: MIT
/* Losses: a builder makes the loss of every element, or of every sample, and `reduced` makes of these what the options ask for.
 *
 *     cg_nll_loss(lp, y, CG_LOSS(.weight = w)):   w[y] * -lp[y] for each sample, of which the mean is sum(w[y] * -lp[y]) / sum(w[y])
 *
 * PyTorch's definitions. 0 times infinity is 0 here, as in 0 log 0, so that a logit far out gives the loss that it has: `times`.
 */
#include "core/nn/nn.h"

/* ---- options */

enum { WEIGHT, POS_WEIGHT, IGNORE_INDEX, LABEL_SMOOTHING, DELTA, MARGIN, POWER, LOG_TARGET, SWAP, BLANK, ZERO_INFINITY, OPTIONS };
static const char *const option_names[OPTIONS] = { "weight", "pos_weight", "ignore_index", "label_smoothing", "delta", "margin", "p", "log_target", "swap",
                                                    "blank", "zero_infinity" };
#define TAKES(option) (1u << (option))

typedef struct kind { const char *name; unsigned takes; } kind;          /* a builder, and the options that are its own */

static unsigned given(const cg_loss *o)
{
    const bool has[OPTIONS] = {
        [WEIGHT] = o->weight, [POS_WEIGHT] = o->pos_weight, [IGNORE_INDEX] = o->ignore || o->ignore_index, [LABEL_SMOOTHING] = o->label_smoothing != 0,
        [DELTA] = o->delta != 0, [MARGIN] = o->margin != 0, [POWER] = o->p != 0, [LOG_TARGET] = o->log_target, [SWAP] = o->swap,
        [BLANK] = o->blank, [ZERO_INFINITY] = o->zero_infinity,
    };
    unsigned bits = 0;
    for (int i = 0; i < OPTIONS; i++)
        bits |= has[i] ? TAKES(i) : 0;
    return bits;
}

/* The options, none where o is NULL. NULL: the graph says why. */
static const cg_loss *options(cg_graph *g, const cg_loss *o, const kind *k)
{
    static const cg_loss none = { .struct_size = sizeof none };
    o = o ? o : &none;
    if (o->struct_size != sizeof *o)
        return cg__nn_null(cg__nn_said(g, CG_EINVAL, "%s: the options are not made by CG_LOSS of this version", k->name));
    const unsigned other = given(o) & ~k->takes;
    if (other)
        return cg__nn_null(cg__nn_said(g, CG_EINVAL, "%s: %s is no option of it", k->name, option_names[__builtin_ctz(other)]));
    if ((unsigned)o->reduction > CG_REDUCTION_NONE)
        return cg__nn_null(cg__nn_said(g, CG_EINVAL, "%s: there is no reduction %d", k->name, (int)o->reduction));
    if (!(o->label_smoothing >= 0 && o->label_smoothing <= 1) || !(o->delta >= 0) || !(o->p == 0 || o->p >= 1))
        return cg__nn_said(g, CG_EINVAL, "%s: label_smoothing goes from 0 to 1, delta is above 0 and p at least 1; they are %g, %g and %g", k->name, o->label_smoothing, o->delta, o->p), NULL;
    if (o->ignore_index && !o->ignore)
        return cg__nn_null(cg__nn_said(g, CG_EINVAL, "%s: ignore_index is told by CG_IGNORE(%lld)", k->name, (long long)o->ignore_index));
    return o;
}

/* ---- operands */

static bool is_float(const cg_node *n) { return cg_node_dtype(n) >= CG_F16; }
static bool sizes_fit(int64_t a, int64_t b) { return a == b || a == CG_ANY || b == CG_ANY; }

bool cg__nn_same_shape(const cg_node *a, const cg_node *b, int without)
{
    bool same = cg_node_rank(b) == cg_node_rank(a) - (without >= 0);
    for (int i = 0; i < cg_node_rank(b) && same; i++)
        same = sizes_fit(cg_node_dim(a, i + (without >= 0 && i >= without)), cg_node_dim(b, i));
    return same;
}

static bool alike(const kind *k, const cg_node *a, const cg_node *b)
{
    char x[160], y[160];
    return cg__nn_same_shape(a, b, -1) || (cg__nn_said(cg_node_graph(a), CG_ESHAPE, "%s: %s and %s are to have one shape", k->name, cg__nn_type_of(x, a), cg__nn_type_of(y, b)), false);
}

bool cg__nn_classes_fit(const char *who, const cg_node *x, const cg_node *y)
{
    const bool typed = is_float(x) && cg_node_dtype(y) >= CG_I8 && cg_node_dtype(y) <= CG_U64;
    char scores[160], classes[160];
    return (typed && cg_node_rank(x) >= 2 && cg__nn_same_shape(x, y, 1)) ||
           (cg__nn_said(cg_node_graph(x), typed ? CG_ESHAPE : CG_EDTYPE, "%s: needs floats (n, c, ...) and as many classes, integers (n, ...), got %s and %s", who,
                        cg__nn_type_of(scores, x), cg__nn_type_of(classes, y)), false);
}

/* w, if it is given, stretches to the shape of x. */
static bool stretches(const kind *k, const char *what, const cg_node *w, const cg_node *x)
{
    const int lead = w ? cg_node_rank(x) - cg_node_rank(w) : 0;
    bool fits = lead >= 0;
    for (int i = 0; w && i < cg_node_rank(w) && fits; i++)
        fits = cg_node_dim(w, i) == 1 || sizes_fit(cg_node_dim(w, i), cg_node_dim(x, i + lead));
    char of_w[160], of_x[160];
    return fits || (cg__nn_said(cg_node_graph(x), CG_ESHAPE, "%s: %s %s does not stretch to %s", k->name, what, cg__nn_type_of(of_w, w), cg__nn_type_of(of_x, x)), false);
}

/* A weight for each class, of the scores' dtype. */
static bool weighs_classes(const kind *k, const cg_node *w, const cg_node *x)
{
    const int64_t c = cg_node_dim(x, 1);
    char is[160], wanted[160];
    return !w || (cg_node_rank(w) == 1 && cg_node_dtype(w) == cg_node_dtype(x) && sizes_fit(cg_node_dim(w, 0), c)) ||
           (cg__nn_said(cg_node_graph(x), CG_ESHAPE, "%s: weight is %s, where %s is wanted", k->name, cg__nn_type_of(is, w), cg__nn_type(wanted, cg_node_dtype(x), &c, 1)), false);
}

/* ---- parts */

static cg_node *number(cg_node *like, double v) { return like ? cg_weak(cg_node_graph(like), v) : NULL; }
static cg_node *mean(cg_node *x) { return cg_mean(x, CG_REDUCE()); }
static cg_node *along(cg_node *x, int axis) { return cg_sum(x, CG_REDUCE(CG_OVER(axis))); }

/* a b, and 0 where a is 0 and b infinite. */
static cg_node *times(cg_node *a, cg_node *b)
{
    cg_node *zero = number(a, 0), *nothing = cg_equal(a, zero);
    return cg_mul(a, cg_where(cg_logical_and(nothing, cg_isinf(b)), zero, b));
}

/* x to the p, for x of at least 0 */
static cg_node *raised(cg_node *x, double p) { return p == 1 ? x : p == 2 ? cg_square(x) : cg_power(x, number(x, p)); }

/* The mean is weighted if weights is not NULL: as a quotient of means, since a sum may overflow in f16. */
static cg_node *reduced(cg_node *each, cg_node *weights, const cg_loss *o)
{
    if (o->reduction == CG_REDUCTION_NONE)
        return each;
    if (o->reduction == CG_REDUCTION_SUM)
        return cg_sum(each, CG_REDUCE());
    cg_node *all = mean(each);
    return weights ? cg_div(all, mean(weights)) : all;
}

/* ---- elements */

typedef cg_node *element_loss(cg_node *a, cg_node *b, const cg_loss *o);

static cg_node *of_elements(cg_node *a, cg_node *b, const cg_loss *o, const kind *k, element_loss *each)
{
    o = a && b ? options(cg_node_graph(a), o, k) : NULL;
    if (!o || !alike(k, a, b) || !stretches(k, "weight", o->weight, a) || !stretches(k, "pos_weight", o->pos_weight, a))
        return NULL;
    cg_node *loss = each(a, b, o);
    return reduced(o->weight ? cg_mul(loss, o->weight) : loss, NULL, o);
}

static cg_node *squared(cg_node *a, cg_node *b, const cg_loss *o) { (void)o; return cg_square(cg_sub(a, b)); }
static cg_node *absolute(cg_node *a, cg_node *b, const cg_loss *o) { (void)o; return cg_abs(cg_sub(a, b)); }

static double delta_of(const cg_loss *o) { return o->delta == 0 ? 1 : o->delta; }
static double margin_of(const cg_loss *o) { return o->margin == 0 ? 1 : o->margin; }
static double power_of(const cg_loss *o, double missing) { return o->p == 0 ? missing : o->p; }

/* With c = min(d, delta) both pieces are c (d - c / 2). */
static cg_node *huber(cg_node *a, cg_node *b, const cg_loss *o)
{
    cg_node *d = cg_abs(cg_sub(a, b)), *c = cg_minimum(d, number(d, delta_of(o)));
    return cg_mul(c, cg_sub(d, cg_scale(c, 0.5)));
}

static cg_node *smooth_l1(cg_node *a, cg_node *b, const cg_loss *o) { return cg_scale(huber(a, b, o), 1 / delta_of(o)); }

/* -t log s(x) - (1 - t) log(1 - s(x)), where -log s(x) = softplus(-x) and -log(1 - s(x)) = softplus(x) */
static cg_node *binary(cg_node *x, cg_node *t, const cg_loss *o)
{
    cg_node *yes = times(t, cg_softplus(cg_neg(x))), *rest = cg_sub(number(t, 1), t);
    yes = o->pos_weight ? cg_mul(yes, o->pos_weight) : yes;
    return cg_add(yes, times(rest, cg_softplus(x)));
}

/* p log p - p log q; t is p, or its logarithm */
static cg_node *divergence(cg_node *lq, cg_node *t, const cg_loss *o)
{
    cg_node *p = o->log_target ? cg_exp(t) : t, *own = times(p, o->log_target ? t : cg_log(t));
    return cg_sub(own, times(p, lq));
}

static cg_node *hinge(cg_node *x, cg_node *t, const cg_loss *o)
{
    cg_node *product = cg_mul(x, t);
    return raised(cg_relu(cg_sub(number(x, margin_of(o)), product)), power_of(o, 1));
}

#define ELEMENT_LOSS(builder, each, ...)                                                                        \
    CG_API cg_node *builder(cg_node *a, cg_node *b, const cg_loss *o)                                           \
    {                                                                                                           \
        CG_BUILDER(cg_node_graph(a));                                                                           \
        return of_elements(a, b, o, &(const kind){ #builder, TAKES(WEIGHT) | (__VA_ARGS__) }, each);            \
    }
ELEMENT_LOSS(cg_squared_loss, squared, 0)
ELEMENT_LOSS(cg_absolute_loss, absolute, 0)
ELEMENT_LOSS(cg_huber_loss, huber, TAKES(DELTA))
ELEMENT_LOSS(cg_smooth_l1_loss, smooth_l1, TAKES(DELTA))
ELEMENT_LOSS(cg_binary_cross_entropy_loss, binary, TAKES(POS_WEIGHT))
ELEMENT_LOSS(cg_kl_div_loss, divergence, TAKES(LOG_TARGET))
ELEMENT_LOSS(cg_hinge_loss, hinge, TAKES(MARGIN) | TAKES(POWER))

/* ---- classes */

/* Negative classes would count from the end: they are made c, which is out of range. */
cg_node *cg__nn_pick(cg_node *x, cg_node *y)
{
    cg_node *at = cg_cast(y, CG_I64), *negative = cg_less(at, number(x, 0)), *c = cg_dim(x, 1);
    at = cg_expand_dims(cg_where(negative, c, at), 1);
    return along(cg_take_along_axis(x, at, 1), 1);
}

cg_node *cg__nn_numbers(cg_node *x)
{
    cg_graph *g = cg_node_graph(x);
    cg_node *zero = cg_scalar(g, CG_I64, 0), *c = cg_dim(x, 1), *j = cg_arange(zero, c, cg_scalar(g, CG_I64, 1));
    for (int i = 2; i < cg_node_rank(x); i++)
        j = cg_expand_dims(j, -1);
    return j;
}

/* Scores with the classes of samples. An ignored sample has another class, and no loss. */
typedef struct samples { cg_node *x, *y, *ignored, *weight; } samples;
typedef cg_node *sample_loss(const samples *s, const cg_loss *o);

static cg_node *unless_ignored(const samples *s, cg_node *v) { return s->ignored ? cg_where(s->ignored, number(v, 0), v) : v; }
static cg_node *weighted(const samples *s, cg_node *loss) { return s->weight ? cg_mul(loss, s->weight) : loss; }

static cg_node *of_samples(cg_node *x, cg_node *y, const cg_loss *o, const kind *k, sample_loss *each, bool by_weight)
{
    o = x && y ? options(cg_node_graph(x), o, k) : NULL;
    if (!o || !cg__nn_classes_fit(k->name, x, y) || !weighs_classes(k, o->weight, x))
        return NULL;
    samples s = { .x = x, .y = y };
    if (o->ignore) {
        cg_node *wide = cg_cast(y, CG_I64);
        s.ignored = cg_equal(wide, cg_scalar(cg_node_graph(x), CG_I64, (double)o->ignore_index));
        s.y = unless_ignored(&s, wide);
    }
    s.weight = o->weight ? cg_take(o->weight, s.y) : NULL;
    cg_node *loss = unless_ignored(&s, each(&s, o)), *weights = by_weight ? s.weight : NULL;
    if (s.ignored)
        weights = weights ? unless_ignored(&s, weights) : cg_cast(cg_logical_not(s.ignored), cg_node_dtype(x));
    return reduced(loss, weights, o);
}

static cg_node *nll(const samples *s, const cg_loss *o)
{
    (void)o;
    return weighted(s, cg_neg(cg__nn_pick(s->x, s->y)));
}

/* A value for each class, (c), where scores have their axis 1. */
static cg_node *of_each_class(cg_node *w, cg_node *x)
{
    for (int i = 2; i < cg_node_rank(x) && w; i++)
        w = cg_expand_dims(w, -1);
    return w;
}

/* Smoothing takes part e of a sample's target and gives every class as much of it. */
static cg_node *cross(const samples *s, const cg_loss *o)
{
    cg_node *loss = weighted(s, cg_cross_entropy(s->x, s->y));
    if (o->label_smoothing == 0)
        return loss;
    cg_node *lp = cg_log_softmax(s->x, 1), *w = of_each_class(o->weight, s->x);
    cg_node *spread = cg_mean(w ? cg_mul(lp, w) : lp, CG_REDUCE(CG_OVER(1)));
    loss = cg_scale(loss, 1 - o->label_smoothing);
    return cg_sub(loss, cg_scale(spread, o->label_smoothing));
}

/* Targets are probabilities of the classes: -sum(w t log softmax(x)). The mean is over samples, whatever they weigh. */
static cg_node *dense_cross(cg_node *x, cg_node *t, const cg_loss *o, const kind *k)
{
    if (cg_node_rank(x) < 2)
        return cg__nn_null(cg__nn_said(cg_node_graph(x), CG_ESHAPE, "%s: logits are (n, c, ...), not of rank %d", k->name, cg_node_rank(x)));
    if (!alike(k, x, t) || !weighs_classes(k, o->weight, x))
        return NULL;
    if (o->label_smoothing != 0) {
        cg_node *c = cg_cast(cg_dim(x, 1), cg_node_dtype(x)), *kept = cg_scale(t, 1 - o->label_smoothing);
        t = cg_add(kept, cg_div(number(x, o->label_smoothing), c));
    }
    cg_node *w = of_each_class(o->weight, x), *terms = times(t, cg_log_softmax(x, 1));
    return reduced(cg_neg(along(w ? cg_mul(terms, w) : terms, 1)), NULL, o);
}

CG_API cg_node *cg_cross_entropy_loss(cg_node *logits, cg_node *targets, const cg_loss *o)
{
    CG_BUILDER(cg_node_graph(logits));
    static const kind indexed = { "cg_cross_entropy_loss", TAKES(WEIGHT) | TAKES(IGNORE_INDEX) | TAKES(LABEL_SMOOTHING) };
    static const kind dense = { "cg_cross_entropy_loss", TAKES(WEIGHT) | TAKES(LABEL_SMOOTHING) };
    if (!logits || !targets || !is_float(targets))
        return of_samples(logits, targets, o, &indexed, cross, true);
    o = options(cg_node_graph(logits), o, &dense);
    return o ? dense_cross(logits, targets, o, &dense) : NULL;
}

CG_API cg_node *cg_nll_loss(cg_node *log_p, cg_node *classes, const cg_loss *o)
{
    CG_BUILDER(cg_node_graph(log_p));
    static const kind k = { "cg_nll_loss", TAKES(WEIGHT) | TAKES(IGNORE_INDEX) };
    return of_samples(log_p, classes, o, &k, nll, true);
}

/* sum over j other than y of max(0, margin - x[y] + x[j])^p, by the number of classes */
static cg_node *multi_margin(const samples *s, const cg_loss *o)
{
    cg_node *own = cg_expand_dims(cg__nn_pick(s->x, s->y), 1), *y = cg_expand_dims(cg_cast(s->y, CG_I64), 1);
    cg_node *above = cg_sub(s->x, own), *is_own = cg_equal(cg__nn_numbers(s->x), y);
    above = cg_relu(cg_add(above, number(above, margin_of(o))));
    cg_node *terms = cg_where(is_own, number(above, 0), above);
    return weighted(s, cg_mean(raised(terms, power_of(o, 1)), CG_REDUCE(CG_OVER(1))));
}

CG_API cg_node *cg_multi_margin_loss(cg_node *scores, cg_node *classes, const cg_loss *o)
{
    CG_BUILDER(cg_node_graph(scores));
    static const kind k = { "cg_multi_margin_loss", TAKES(WEIGHT) | TAKES(IGNORE_INDEX) | TAKES(MARGIN) | TAKES(POWER) };
    return of_samples(scores, classes, o, &k, multi_margin, false);
}

/* ---- vectors, along the last axis; in halves sums of squares would overflow and small numbers be 0 */

static cg_node *wide(cg_node *x) { return cg_node_dtype(x) == CG_F16 || cg_node_dtype(x) == CG_BF16 ? cg_cast(x, CG_F32) : x; }
static cg_node *narrow(cg_node *x, cg_node *like) { return cg_node_dtype(like) == CG_F16 || cg_node_dtype(like) == CG_BF16 ? cg_cast(x, cg_node_dtype(like)) : x; }

/* 1 / |x| */
static cg_node *inverse_norm(cg_node *x)
{
    cg_node *squares = along(cg_square(x), -1);
    return cg_rsqrt(cg_add(squares, number(x, 1e-12)));
}

/* ||a - b + 1e-6||: the addend keeps the derivative finite where a = b */
static cg_node *distance(cg_node *a, cg_node *b, double p)
{
    cg_node *d = cg_sub(a, b);
    d = cg_add(d, number(a, 1e-6));
    cg_node *sum = along(raised(p == 2 ? d : cg_abs(d), p), -1);
    return p == 1 ? sum : p == 2 ? cg_sqrt(sum) : cg_power(sum, number(sum, 1 / p));
}

static bool are_vectors(const kind *k, const cg_node *a)
{
    char text[160];
    return (is_float(a) && cg_node_rank(a) >= 1) || (cg__nn_said(cg_node_graph(a), CG_ESHAPE, "%s: needs float vectors (n, d), got %s", k->name, cg__nn_type_of(text, a)), false);
}

CG_API cg_node *cg_cosine_embedding_loss(cg_node *a, cg_node *b, cg_node *alike_or_not, const cg_loss *o)
{
    CG_BUILDER(cg_node_graph(a));
    static const kind k = { "cg_cosine_embedding_loss", TAKES(MARGIN) };
    char x[160], y[160];
    o = a && b && alike_or_not ? options(cg_node_graph(a), o, &k) : NULL;
    if (!o || !are_vectors(&k, a) || !alike(&k, a, b))
        return NULL;
    if (!cg__nn_same_shape(a, alike_or_not, cg_node_rank(a) - 1))
        return cg__nn_null(cg__nn_said(cg_node_graph(a), CG_ESHAPE, "%s: needs 1 or -1 for each vector of %s, got %s", k.name, cg__nn_type_of(x, a), cg__nn_type_of(y, alike_or_not)));
    cg_node *u = wide(a), *v = wide(b), *dot = along(cg_mul(u, v), -1);
    dot = cg_mul(dot, inverse_norm(u));
    cg_node *cosine = cg_mul(dot, inverse_norm(v)), *far = cg_relu(cg_sub(cosine, number(cosine, o->margin)));
    cg_node *near = cg_sub(number(cosine, 1), cosine), *wanted = cg_greater(alike_or_not, number(a, 0));
    return reduced(narrow(cg_where(wanted, near, far), a), NULL, o);
}

CG_API cg_node *cg_triplet_margin_loss(cg_node *anchor, cg_node *positive, cg_node *negative, const cg_loss *o)
{
    CG_BUILDER(cg_node_graph(anchor));
    static const kind k = { "cg_triplet_margin_loss", TAKES(MARGIN) | TAKES(POWER) | TAKES(SWAP) };
    o = anchor && positive && negative ? options(cg_node_graph(anchor), o, &k) : NULL;
    if (!o || !are_vectors(&k, anchor) || !alike(&k, anchor, positive) || !alike(&k, anchor, negative))
        return NULL;
    const double p = power_of(o, 2);
    cg_node *a = wide(anchor), *near = wide(positive), *far = wide(negative), *to_near = distance(a, near, p), *to_far = distance(a, far, p);
    to_far = o->swap ? cg_minimum(to_far, distance(near, far, p)) : to_far;
    cg_node *excess = cg_sub(to_near, to_far);
    excess = cg_relu(cg_add(excess, number(excess, margin_of(o))));
    return reduced(narrow(excess, anchor), NULL, o);
}

/* ---- CTC (Graves et al. 2006): labels that stand in a sequence of steps, between blanks and repeated as they like
 *
 * Of the labels with blanks around each, b l1 b l2 b ..., a[s] is the log of the probability of all paths so far that end at s. A step comes from s, from
 * s - 1, or over a blank from s - 2 to a label that is another than the one before, and adds the log probability of what stands at s. What cannot
 * be is NEVER, not -inf, of which no differences may be taken; the gradient is the loop's own. Each step takes the greatest a away, which counts as
 * constant: so a stays near 0 however long the sequence is, where a rounding is small. What was taken adds up after the loop.
 */

static const double NEVER = -1e30, INFINITE = 1e29;

/* 0..n-1 */
static cg_node *numbers(cg_node *n)
{
    cg_graph *g = cg_node_graph(n);
    cg_node *zero = cg_scalar(g, CG_I64, 0);
    return cg_arange(zero, n, cg_scalar(g, CG_I64, 1));
}

/* Integers as i64. The call fails where they are not in 0..limit. */
static cg_node *up_to(cg_node *limit, cg_node *v)
{
    cg_node *wide_v = cg_cast(v, CG_I64), *end = cg_add(limit, number(limit, 1)), *all = numbers(end), *negative = cg_less(wide_v, number(v, 0));
    return cg_take(all, cg_where(negative, end, wide_v));
}

/* x moved by k columns, with `fill` before it. */
static cg_node *moved(cg_node *x, int64_t k, cg_node *fill)
{
    const int64_t before[2] = { 0, k }, none[2] = { 0, 0 };
    cg_node *columns = cg_dim(x, 1);
    return cg_slice(cg_pad(x, before, none, 2, fill), 1, NULL, columns, 1);
}

/* (n, s) -> (n, 2 s + 1): the columns of x with `between` around each. */
static cg_node *between_each(cg_node *x, cg_node *between)
{
    cg_graph *g = cg_node_graph(x);
    cg_node *columns = cg_dim(x, 1), *n = cg_dim(x, 0);
    columns = cg_add(cg_add(columns, columns), number(columns, 1));
    cg_node *all = cg_full(between, CG_NODES(n, columns));
    return cg_set_slice(all, CG_CUTS({ .axis = 1, .start = cg_scalar(g, CG_I64, 1), .step = 2 }), x);
}

typedef struct ctc { cg_node *log_p, *labels, *steps, *count; } ctc;      /* (t, n, c), (n, s); lengths (n), or NULL: all */

/* Labels behind the end are blank: they may have been anything. */
static cg_node *labels_of(const ctc *p, cg_node *blank)
{
    cg_node *labels = cg_cast(p->labels, CG_I64);
    if (!p->count)
        return labels;
    cg_node *i = numbers(cg_dim(labels, 1)), *on = cg_less(i, cg_expand_dims(p->count, 1));
    return cg_where(on, labels, blank);
}

/* (t, n, 2 s + 1): the log probability of what stands at each place; a label out of 0..c-1 fails the call. */
static cg_node *places_of(const ctc *p, cg_node *places)
{
    cg_node *t = cg_dim(p->log_p, 0), *n = cg_dim(p->log_p, 1), *c = cg_dim(p->log_p, 2), *all = cg_mul(n, c), *zero = number(places, 0);
    cg_node *negative = cg_less(places, zero), *bad = cg_logical_or(negative, cg_greater_equal(places, c));
    cg_node *at = cg_expand_dims(cg_mul(numbers(n), c), 1);
    at = cg_where(bad, all, cg_add(at, places));
    return cg_take_axis(cg_reshape_to(p->log_p, CG_NODES(t, all)), at, 1);
}

/* a after the last step, (n, 2 s + 1), and in *taken what was taken away, (n). */
static cg_node *paths(const ctc *p, cg_node *log_p, cg_node *passes, cg_node **taken)
{
    cg_graph *g = cg_node_graph(log_p);
    cg_node *never = cg_cast(number(log_p, NEVER), cg_node_dtype(log_p)), *n = cg_dim(log_p, 1), *places = cg_dim(log_p, 2), *last = NULL;
    cg_node *start = cg_full(never, CG_NODES(n, places)), *one = cg_scalar(g, CG_I64, 1);
    start = cg_set_slice(start, CG_CUTS({ .axis = 1, .stop = one }), number(start, 0));
    cg_scan *s = cg_scan_begin(g, CG_SCAN(.name = "ctc"));
    cg_node *here = cg_maximum(cg_scan_seq(s, log_p), never), *a = cg_scan_state(s, start), *over = cg_where(passes, moved(a, 2, never), never);
    cg_node *top = cg_disconnected_grad(cg_max(a, CG_REDUCE(CG_OVER(1), .keepdims = 1))), *tops = NULL;
    cg_node *next = cg_logaddexp(cg_logaddexp(a, moved(a, 1, never)), over);
    next = cg_add(next, cg_sub(here, top));
    if (p->steps) {
        cg_node *t = cg_scan_index(s), *on = cg_less(t, cg_expand_dims(p->steps, 1));
        next = cg_where(on, next, a);
        top = cg_where(on, top, number(top, 0));
    }
    cg_scan_next(s, a, next);
    cg_scan_out(s, next, CG_SCAN_LAST);
    cg_scan_out(s, top, CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&last, &tops));
    *taken = cg_disconnected_grad(cg_sum(tops, CG_REDUCE(CG_OVER(0, 2))));
    return last;
}

/* Paths end at the last label or at the blank behind it. */
static cg_node *log_likelihood(const ctc *p, cg_node *a)
{
    cg_node *s = numbers(cg_dim(a, 1)), *count = p->count ? cg_expand_dims(p->count, 1) : cg_dim(p->labels, 1);
    cg_node *end = cg_add(count, count), *is_last = cg_equal(s, end), *ends = cg_logical_or(is_last, cg_equal(s, cg_sub(end, number(end, 1))));
    return cg_logsumexp(cg_where(ends, a, number(a, NEVER)), CG_REDUCE(CG_OVER(1)));
}

static cg_node *ctc_each(const ctc *p, const cg_loss *o)
{
    cg_graph *g = cg_node_graph(p->log_p);
    cg_node *blank = cg_scalar(g, CG_I64, (double)o->blank), *labels = labels_of(p, blank), *is_new = cg_not_equal(labels, moved(labels, 1, blank));
    cg_node *passes = cg_logical_and(is_new, cg_not_equal(labels, blank));
    passes = between_each(passes, cg_scalar(g, CG_BOOL, 0));
    cg_node *taken = NULL, *a = paths(p, places_of(p, between_each(labels, blank)), passes, &taken);
    cg_node *loss = cg_neg(cg_add(log_likelihood(p, a), taken)), *none = cg_greater(loss, number(loss, INFINITE));
    return cg_where(none, number(loss, o->zero_infinity ? 0 : (double)__builtin_inff()), loss);
}

static bool ctc_fits(const kind *k, const cg_node *x, const cg_node *y, const cg_node *steps, const cg_node *count)
{
    const cg_node *const integers[] = { y, steps, count };
    bool fits = is_float(x) && cg_node_rank(x) == 3 && cg_node_rank(y) == 2;
    for (int i = 0; i < CG_LEN(integers) && fits; i++)
        fits = !integers[i] || (cg_node_dtype(integers[i]) >= CG_I8 && cg_node_dtype(integers[i]) <= CG_U64 && cg_node_rank(integers[i]) == (i ? 1 : 2) &&
                                sizes_fit(cg_node_dim(integers[i], 0), cg_node_dim(x, 1)));
    char scores[160], labels[160];
    return fits || (cg__nn_said(cg_node_graph(x), CG_ESHAPE, "%s: needs floats (t, n, c), integers (n, s) and integers (n) as lengths, or none; got %s and %s", k->name,
                                cg__nn_type_of(scores, x), cg__nn_type_of(labels, y)), false);
}

CG_API cg_node *cg_ctc_loss(cg_node *log_p, cg_node *y, cg_node *steps, cg_node *count, const cg_loss *o)
{
    CG_BUILDER(cg_node_graph(log_p));
    static const kind k = { "cg_ctc_loss", TAKES(BLANK) | TAKES(ZERO_INFINITY) };
    o = log_p && y ? options(cg_node_graph(log_p), o, &k) : NULL;
    if (!o || !ctc_fits(&k, log_p, y, steps, count))
        return NULL;
    if (o->blank < 0 || !(cg_node_dim(log_p, 2) == CG_ANY || o->blank < cg_node_dim(log_p, 2)))
        return cg__nn_null(cg__nn_said(cg_node_graph(log_p), CG_EINVAL, "%s: there is no class %lld for blank", k.name, (long long)o->blank));
    ctc p = { .log_p = wide(log_p), .labels = y };
    p.steps = steps ? up_to(cg_dim(log_p, 0), steps) : NULL;
    p.count = count ? up_to(cg_dim(y, 1), count) : NULL;
    cg_node *loss = narrow(ctc_each(&p, o), log_p);
    if (o->reduction != CG_REDUCTION_MEAN)
        return reduced(loss, NULL, o);
    cg_node *labels = count ? p.count : cg_dim(y, 1), *one = number(labels, 1);
    return mean(cg_div(loss, cg_cast(cg_maximum(labels, one), cg_node_dtype(loss))));
}
