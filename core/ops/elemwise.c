// SPDX-License-Identifier: MIT
/* The elementwise family: everything comes from the rows of elemwise.def. Also cast, and promotion of dtypes.
 *
 * Invariant: operands of an elementwise node have one dtype (where: operands 2 and 3); cg__build puts the casts in.
 * Shapes broadcast as NumPy's; the gradient sums back to each operand's shape.
 */
#include <math.h>
#include "core/ops/ops.h"

static cg_elem elem_of(const cg_node *n)
{
    return (cg_elem)((int)cg__op_id(n) - CG_OP_FIRST_ELEM);
}

/* ---- dtypes */

static bool promote_ints(cg_dtype a, cg_dtype b, cg_dtype *out)
{
    const cg_dtype_row *x = &cg__dtypes[a], *y = &cg__dtypes[b];
    if (x->kind == y->kind) {
        *out = x->bytes >= y->bytes ? a : b;
        return true;
    }
    const cg_dtype s = x->kind == CG_KIND_INT ? a : b, u = x->kind == CG_KIND_INT ? b : a;
    const size_t ub = cg__dtypes[u].bytes, sb = cg__dtypes[s].bytes;
    if (ub == 8)
        return false;
    *out = sb > ub ? s : ub == 1 ? CG_I16 : ub == 2 ? CG_I32 : CG_I64;
    return true;
}

bool cg__promote(cg_dtype a, cg_dtype b, cg_dtype *out)
{
    if (a == b || b == CG_BOOL)
        return *out = a, true;
    if (a == CG_BOOL)
        return *out = b, true;
    if (cg__is_float(a) && cg__is_float(b)) {
        const size_t x = cg__dtypes[a].bytes, y = cg__dtypes[b].bytes;
        *out = x == y ? CG_F32 : x > y ? a : b;
        return true;
    }
    if (cg__is_float(a) || cg__is_float(b))
        return *out = cg__is_float(a) ? a : b, true;
    return promote_ints(a, b, out);
}

/* A bare number takes the dtype of the others; with integers only if it is one itself. */
static cg_node *resolve_weak(cg_node *n, cg_dtype d)
{
    return n->type.weak ? cg__splat_as(n, d) : cg_cast(n, d);
}

static bool weak_fits(const cg_node *n, cg_dtype d)
{
    double v = 0;
    cg__is_const(n, &v);
    return cg__is_float(d) || (cg__is_int(d) && v - v == 0 && v == trunc(v)) || (d == CG_BOOL && (v == 0 || v == 1));
}

static bool common_dtype(cg_node *const *in, int n, cg_dtype *out)
{
    bool any = false;
    for (int i = 0; i < n; i++)
        if (!in[i]->type.weak) {
            if (any && !cg__promote(*out, in[i]->type.dtype, out))
                return false;
            *out = any ? *out : in[i]->type.dtype;
            any = true;
        }
    for (int i = 0; i < n; i++)
        if (in[i]->type.weak && (!any || !weak_fits(in[i], *out))) {
            *out = CG_F32;
            any = true;
        }
    return true;
}

/* On bools sums are or, products and, a complement is not. */
static cg_op_id on_bools(cg_op_id op, cg_node *const *in, int nin)
{
    const unsigned alg = cg__elems[(int)op - CG_OP_FIRST_ELEM].algebra;
    for (int i = 0; i < nin; i++)
        if (in[i]->type.weak || in[i]->type.dtype != CG_BOOL)
            return op;
    return alg & A_OR ? CG_OP_logical_or : alg & A_AND ? CG_OP_logical_and : alg & A_NOT ? CG_OP_logical_not : op;
}

static cg_node *build_elem(cg_graph *g, cg_op_id op, cg_node *const *in, int nin)
{
    const cg_elem_row *row = &cg__elems[(int)op - CG_OP_FIRST_ELEM];
    cg_node *args[3];
    cg_dtype d = CG_F32;
    const int from = row->res == CG_RES_BC ? 1 : 0;
    if (nin != row->arity)
        return cg__graph_fail(g, CG_EINVAL, "cg_%s: takes %d operands, got %d", row->name, row->arity, nin);
    if (!common_dtype(in + from, nin - from, &d))
        return cg__graph_fail(g, CG_EDTYPE, "cg_%s: %s and %s have no common dtype; cast one of them", row->name,
                              cg__label(in[from]), cg__label(in[from + 1]));
    if (row->cls == CG_CLS_FLT && !cg__is_float(d))
        d = CG_F32;
    if (from)
        args[0] = resolve_weak(in[0], CG_BOOL);
    for (int i = from; i < nin; i++)
        args[i] = resolve_weak(in[i], d);
    return cg__node(g, on_bools(op, in, nin), args, nin, NULL);
}

/* Operands of one dtype, for what multiplies them or puts them side by side. */
static bool unify(cg_graph *g, cg_op_id op, cg_node **in, int n)
{
    cg_dtype d = in[0]->type.dtype;
    bool ok = true;
    for (int i = 1; i < n && ok; i++)
        if (!cg__promote(d, in[i]->type.dtype, &d)) {
            cg__graph_fail(g, CG_EDTYPE, "cg_%s: %s and %s have no common dtype", cg__ops[op].name, cg__label(in[0]), cg__label(in[i]));
            return false;
        }
    for (int i = 0; i < n && ok; i++)
        ok = (in[i] = cg_cast(in[i], d)) != NULL;
    return ok;
}

/* A bare number among other operands: an i64 where those count, else f32, if it is not of the dtype of the first. */
static cg_node *plain_operand(cg_graph *g, cg_op_id op, cg_node *const *in, int i)
{
    const cg_op *row = &cg__ops[op];
    const bool follows = (row->props & CG_FOLLOWS) && i == row->nin - 1, counts = (row->props & CG_COUNTS) || (row->nin >= 0 && i >= row->nin);
    const cg_dtype d = follows ? in[0]->type.dtype : counts ? CG_I64 : CG_F32;
    if (!in[i]->type.weak)
        return in[i];
    if (!weak_fits(in[i], d))
        return cg__graph_fail(g, CG_EDTYPE, "cg_%s: operand %d must be an integer", row->name, i + 1);
    return cg_cast(in[i], d);
}

/* The condition is a bool; an integer is compared with 0, which the host can do. */
static cg_node *build_choice(cg_graph *g, cg_op_id op, cg_node *const *in, int nin, const cg_attr *attrs)
{
    cg_node *args[3], *cond = in[0];
    if (nin != CG_LEN(args))
        return cg__graph_fail(g, CG_EINVAL, "cg_%s: takes %d operands, got %d", cg__ops[op].name, (int)CG_LEN(args), nin);
    if (cond->type.rank)
        return cg__graph_fail(g, CG_ESHAPE, "cg_%s: the condition must be a scalar, is %s", cg__ops[op].name, cg__label(cond));
    args[0] = cond->type.weak || !cg__is_int(cond->type.dtype) ? resolve_weak(cond, CG_BOOL) : cg_not_equal(cond, cg_weak(g, 0));
    for (int i = 1; i < nin; i++) {
        const cg_type *other = &in[3 - i]->type;
        const cg_dtype d = other->weak || !weak_fits(in[i], other->dtype) ? CG_F32 : other->dtype;
        args[i] = in[i]->type.weak ? resolve_weak(in[i], d) : in[i];
    }
    return cg__node(g, op, args, nin, attrs);
}

cg_node *cg__build(cg_graph *g, cg_op_id op, cg_node *const *in, int nin, const cg_attr *attrs)
{
    cg_node *few[CG_MAX_RANK * 2], **plain = few;
    if (!g || (nin && cg__graph_of(in, nin) != g))
        return NULL;
    if (cg__ops[op].props & CG_ELEMWISE)
        return build_elem(g, op, in, nin);
    if (cg__ops[op].props & CG_CHOOSES)
        return build_choice(g, op, in, nin, attrs);
    if (cg__ops[op].form)                /* what it is made of sees to bare numbers itself */
        return cg__node(g, op, in, nin, attrs);
    if (nin > CG_LEN(few) && !(plain = cg__zalloc((size_t)nin * sizeof *plain)))
        return cg__graph_fail(g, CG_ENOMEM, "cg_%s: no memory", cg__ops[op].name);
    bool ok = true;
    for (int i = 0; i < nin && ok; i++)
        ok = (plain[i] = plain_operand(g, op, in, i)) != NULL;
    if (ok && nin && (cg__ops[op].props & CG_UNIFIES))
        ok = unify(g, op, plain, cg__ops[op].nin < 0 ? nin : cg__ops[op].nin);
    cg_node *n = ok ? cg__node(g, op, plain, nin, attrs) : NULL;
    if (plain != few)
        cg__free(plain);
    return n;
}

/* ---- infer, grad, emit */

static int class_ok(cg_cls cls, cg_dtype d)
{
    return cls == CG_CLS_ANY || (cls == CG_CLS_NUM && d != CG_BOOL) || (cls == CG_CLS_FLT && cg__is_float(d)) ||
           (cls == CG_CLS_INT && cg__is_int(d)) || (cls == CG_CLS_BIT && !cg__is_float(d));
}

CG_DECLARE_INFER(cg__elem_infer)
{
    const cg_elem_row *row = &cg__elems[elem_of(n)];
    const int from = row->res == CG_RES_BC ? 1 : 0;
    const cg_dtype d = n->in[from]->type.dtype;
    cg_type t = n->in[0]->type;
    if (n->nin != row->arity)
        return cg__fail(err, CG_EINVAL, "cg_%s: takes %d operands, got %d", row->name, row->arity, n->nin);
    if (!class_ok(row->cls, d))
        return cg__fail(err, CG_EDTYPE, "cg_%s: is not defined for %s", row->name, cg__label(n->in[from]));
    for (int i = 1; i < n->nin; i++) {
        if (i > from && n->in[i]->type.dtype != d)
            return cg__fail(err, CG_EDTYPE, "cg_%s: operands of two dtypes, %s and %s", row->name, cg__label(n->in[from]), cg__label(n->in[i]));
        if (!cg__broadcast(n->graph, &t, &n->in[i]->type, &t))
            return cg__fail(err, CG_ESHAPE, "cg_%s: cannot broadcast %s with %s", row->name, cg__label(n->in[0]), cg__label(n->in[i]));
    }
    t.weak = false;
    t.dtype = row->res == CG_RES_BOOL ? CG_BOOL : d;
    n->type = t;
    return CG_OK;
}

/* ---- gradients: what the column of elemwise.def is written in */

#define ZERO          CG_ZERO
#define CUT           CG_DISCONNECTED
#define UNDEFINED(s)  cg__undefined(g->graph, s)
#define N(x)          cg__splat(g->graph, g->type.dtype, x)
#define S(x, k)       cg_scale(x, k)
#define W(cond, x)    cg_where(cond, x, N(0))
#define Q(cond, x, y) cg_where(cond, x, y)
#define LN2           0.69314718055994530942
#define LN10          2.30258509299404568402
#define RSQRT_PI      0.56418958354775628695
#define SELU_SCALE    1.0507009873554804934
#define SELU_ALPHA    1.6732632423543772848

/* s (1 + x (1 - s)), s = sigmoid(x) */
static cg_node *silu_grad(cg_node *g, cg_node *x)
{
    cg_node *s = cg_sigmoid(x);
    return cg_mul(g, cg_mul(s, cg_add(N(1), cg_mul(x, cg_sub(N(1), s)))));
}

/* t + x (1 - t^2) sigmoid(x), t = tanh(softplus(x)) */
static cg_node *mish_grad(cg_node *g, cg_node *x)
{
    cg_node *t = cg_tanh(cg_softplus(x));
    return cg_mul(g, cg_add(t, cg_mul(cg_mul(x, cg_sigmoid(x)), cg_sub(N(1), cg_square(t)))));
}

/* Phi(x) + x phi(x) */
static cg_node *gelu_grad(cg_node *g, cg_node *x)
{
    cg_node *whole = S(cg_erfc(S(x, -0.70710678118654752440)), 0.5), *density = S(cg_exp(S(cg_square(x), -0.5)), 0.39894228040143267794);
    return cg_mul(g, cg_add(whole, cg_mul(x, density)));
}

/* s (1 + x (1 - s) u'), s = sigmoid(u), u = 2 sqrt(2/pi) (x + 0.044715 x^3). Beyond 32 that is 0 or 1 whatever x is, and its powers would
 * overflow, those of halves at 256. */
static cg_node *gelu_tanh_grad(cg_node *g, cg_node *x)
{
    x = cg_clip(x, N(-32), N(32));
    cg_node *square = cg_square(x), *u = S(cg_mul(x, cg_add(N(1), S(square, 0.044715))), 1.5957691216057307118);
    cg_node *s = cg_sigmoid(u), *slope = S(cg_add(N(1), S(square, 0.134145)), 1.5957691216057307118);
    return cg_mul(g, cg_mul(s, cg_add(N(1), cg_mul(cg_mul(x, cg_sub(N(1), s)), slope))));
}

/* c[0] + c[1] t + ... */
static cg_node *polynomial(cg_node *g, cg_node *t, const double *c, int n)
{
    cg_node *sum = N(c[n - 1]);
    for (int k = n - 2; k >= 0; k--)
        sum = cg_add(cg_mul(sum, t), N(c[k]));
    return sum;
}

/* 2 x y - 2 / sqrt(pi), y = erfcx(x). Beyond 16 that cancels, its derivatives more so: there it is the asymptotic series, term by term
 * (Abramowitz, Stegun 7.1.23), -w / sqrt(pi) (1 - 3/2 w + 15/4 w^2 - ...), w = 1 / x^2. */
static cg_node *erfcx_grad(cg_node *g, cg_node *x, cg_node *y)
{
    static const double c[] = { 1, -3.0 / 2, 15.0 / 4, -105.0 / 8, 945.0 / 16, -10395.0 / 32, 135135.0 / 64, -2027025.0 / 128 };
    cg_node *w = cg_square(cg_reciprocal(cg_maximum(x, N(16)))), *far = S(cg_mul(w, polynomial(g, w, c, 8)), -RSQRT_PI);
    return cg_mul(g, Q(cg_greater(x, N(16)), far, cg_sub(cg_mul(S(x, 2), y), N(2 * RSQRT_PI))));
}

/* i0(x) - y / x, y = i1(x). Near 0 the derivatives of that cancel: there it is the power series of i1, term by term (Abramowitz, Stegun
 * 9.6.10), the sum over k of (2k + 1) / (2 k! (k + 1)!) (x^2 / 4)^k. */
static cg_node *i1_grad(cg_node *g, cg_node *x, cg_node *y)
{
    static const double c[] = { 1.0 / 2, 3.0 / 4, 5.0 / 24, 7.0 / 288, 9.0 / 5760, 11.0 / 172800 };
    cg_node *near = cg_less(cg_abs(x), N(0.25)), *half = S(cg_clip(x, N(-0.25), N(0.25)), 0.5);
    return cg_mul(g, Q(near, polynomial(g, cg_square(half), c, 6), cg_sub(cg_i0(x), cg_div(y, Q(near, N(1), x)))));
}

/* One function a row gives the gradients that are asked for. */
#define ASK(k, x)        gin[k] = need[k] ? (x) : NULL;
#define ASK1(x)          ASK(0, x)
#define ASK2(x, y)       ASK(0, x) ASK(1, y)
#define ASK3(x, y, z)    ASK(0, x) ASK(1, y) ASK(2, z)
#define ELEM(name, arity, cls, res, alg, expr, ...)                                                                    \
    static void grad_##name(cg_node *g, cg_node *a, cg_node *b, cg_node *c, cg_node *out, const bool *need, cg_node **gin) \
    {                                                                                                                  \
        (void)g, (void)a, (void)b, (void)c, (void)out;                                                                 \
        ASK##arity(__VA_ARGS__)                                                                                        \
    }
#include "core/base/elemwise.def"
static void (*const grads[CG_EL_COUNT])(cg_node *, cg_node *, cg_node *, cg_node *, cg_node *, const bool *, cg_node **) = {
#define ELEM(name, ...) [CG_EL_##name] = grad_##name,
#include "core/base/elemwise.def"
};

CG_DECLARE_GRAD(cg__elem_grad)
{
    cg_node *const *in = n->in;
    grads[elem_of(n)](gout[0], in[0], n->nin > 1 ? in[1] : NULL, n->nin > 2 ? in[2] : NULL, (cg_node *)(uintptr_t)n, need, gin);
    for (int i = 0; i < n->nin; i++)
        gin[i] = cg__sum_to(gin[i], &in[i]->type);
    return CG_OK;
}

/* Coordinates of an operand: the trailing axes, where a stretched axis stays at 0. */
static cg_spot operand_at(const cg_node *n, const cg_node *in, const cg_spot *at)
{
    cg_spot out = { 0 };
    const int lead = n->type.rank - in->type.rank;
    for (int i = 0; i < in->type.rank; i++)
        out.axis[i] = cg__dim_is(in->type.dim[i], 1) && !cg__dim_is(n->type.dim[i + lead], 1) ? cg__coord_zero() : at->axis[i + lead];
    return out;
}

CG_DECLARE_EMIT(cg__elem_emit)
{
    int v[3] = { -1, -1, -1 };
    for (int i = 0; i < n->nin; i++) {
        const cg_node *in = n->in[i];
        const cg_spot there = operand_at(n, in, at);
        const int lead = n->type.rank - in->type.rank;
        for (int k = 0; k < in->type.rank; k++)
            if (!cg__dim_is(in->type.dim[k], 1) && cg__check_dims(cg__loop_lower(b), n, in->type.dim[k], n->type.dim[k + lead]) < 0)
                return CG_ENOMEM;
        if ((v[i] = cg__emit(b, in, &there)) < 0)
            return v[i];
    }
    return cg__loop_blame(b, cg__loop_elem(b, elem_of(n), n->type.dtype, v[0], v[1], v[2]), n);
}

/* ---- cast */

CG_DECLARE_INFER(cg__cast_infer)
{
    const int64_t d = cg__attr_int(n, 0, -1);
    if (d < 0 || d >= CG_DTYPE_COUNT)
        return cg__fail(err, CG_EDTYPE, "cg_cast: no such dtype (%lld)", (long long)d);
    n->type = n->in[0]->type;
    n->type.dtype = (cg_dtype)d;
    n->type.weak = false;
    return cg__set_ints(n, 0, &d, 1);
}

CG_DECLARE_GRAD(cg__cast_grad)
{
    (void)need;
    gin[0] = cg__is_float(n->type.dtype) && cg__is_float(n->in[0]->type.dtype) ? cg_cast(gout[0], n->in[0]->type.dtype) : CG_ZERO;
    return CG_OK;
}

CG_DECLARE_EMIT(cg__cast_emit)
{
    const int v = cg__emit(b, n->in[0], at);
    return v < 0 ? v : cg__loop_cast(b, v, n->type.dtype);
}

CG_API cg_node *cg_cast(cg_node *a, cg_dtype d)
{
    CG_BUILDER(cg_node_graph(a));
    if (!a || (a->type.dtype == d && !a->type.weak))
        return a;
    if ((unsigned)d < CG_DTYPE_COUNT && a->type.rank == 0 && cg__is(a, CG_OP_const))
        return cg__splat_as(a, d);
    const int64_t to = d;
    return cg__node(a->graph, CG_OP_cast, &a, 1, &(cg_attr){ 1, &to });
}

/* ---- the public builders */

static cg_node *public_elem(cg_op_id op, cg_node *a, cg_node *b, cg_node *c, int n)
{
    cg_node *in[3] = { a, b, c };
    cg_graph *g = cg__graph_of(in, n);
    return g ? cg__build(g, op, in, n, NULL) : NULL;
}

#define SIGNATURE1(name) CG_API cg_node *cg_##name(cg_node *a) { CG_BUILDER(cg_node_graph(a)); return public_elem(CG_OP_##name, a, NULL, NULL, 1); }
#define SIGNATURE2(name) CG_API cg_node *cg_##name(cg_node *a, cg_node *b) { CG_BUILDER(cg_node_graph(a)); return public_elem(CG_OP_##name, a, b, NULL, 2); }
#define SIGNATURE3(name) CG_API cg_node *cg_##name(cg_node *a, cg_node *b, cg_node *c) { CG_BUILDER(cg_node_graph(a)); return public_elem(CG_OP_##name, a, b, c, 3); }
#define ELEM(name, arity, ...) SIGNATURE##arity(name)
#include "core/base/elemwise.def"

CG_API cg_node *cg_scale(cg_node *a, double factor)
{
    CG_BUILDER(cg_node_graph(a));
    return a ? cg_mul(a, cg_weak(a->graph, factor)) : NULL;
}
