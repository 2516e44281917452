// SPDX-License-Identifier: MIT
/* matmul: a node takes (m, k) x (k, n) or (b, m, k) x (b, k, n) and is one GEMM step; of other ranks it is made by NumPy's rules.
 * dA = g B', dB = A' g; the transposes become flags of the GEMM.
 *
 *     (gemm A B alpha)     alpha A B                  made by rewriting (core/rewrite/blas.c); alpha is a constant
 *     (gemm A B alpha C)   C + alpha A B              C is computed into the place of the result, then the product is added there
 * Halves multiply as f32 and round once. Integers and bools are no work for BLAS: they are a sum of products in one loop.
 */
#include "core/ops/ops.h"

/* A node as it is; what other operands give, numpys_rules makes of such nodes. */
static bool is_plain(const cg_node *n)
{
    const int r = n->in[0]->type.rank;
    return (r == 2 || r == 3) && n->in[1]->type.rank == r;
}

static int product_infer(cg_node *n, cg_error *err)
{
    const cg_type *a = &n->in[0]->type, *b = &n->in[1]->type;
    if (a->dtype != b->dtype)
        return cg__fail(err, CG_EDTYPE, "cg_matmul: needs operands of one dtype, got %s and %s", cg__label(n->in[0]), cg__label(n->in[1]));
    const cg_dim_t ka = a->dim[a->rank - 1], kb = b->dim[b->rank - 2];
    if (!ka.sym && !kb.sym && ka.n != kb.n)
        return cg__fail(err, CG_ESHAPE, "cg_matmul: %s has %lld columns, %s has %lld rows", cg__label(n->in[0]), (long long)ka.n,
                        cg__label(n->in[1]), (long long)kb.n);
    n->type = *a;
    n->type.dim[a->rank - 1] = b->dim[b->rank - 1];
    if (a->rank == 3)
        n->type.dim[0] = cg__dim_broadcast(n->graph, a->dim[0], b->dim[0]);
    if (a->rank == 3 && !a->dim[0].sym && !b->dim[0].sym && a->dim[0].n != b->dim[0].n && a->dim[0].n != 1 && b->dim[0].n != 1)
        return cg__fail(err, CG_ESHAPE, "cg_matmul: batches of %s and %s differ", cg__label(n->in[0]), cg__label(n->in[1]));
    return CG_OK;
}

CG_DECLARE_INFER(cg__matmul_infer)
{
    const cg_node *a = n->in[0], *b = n->in[1];
    if (!a->type.rank || !b->type.rank)
        return cg__fail(err, CG_ESHAPE, "cg_matmul: cannot multiply %s by %s: a scalar has no rows", cg__label(a), cg__label(b));
    return is_plain(n) ? product_infer(n, err) : CG_OK;      /* else simple goes by NumPy's rules */
}

/* (m, k) x (k, n) as (m, k, 1) x (1, k, n) summed over k, wrapping; on bools it is whether any pair holds. */
static cg_node *summed(const cg_node *n)
{
    const int m = n->type.rank - 2;
    const int64_t k = m + 1;
    const cg_reduce along = { .axes = &k, .naxes = 1 };
    cg_node *terms = cg_mul(cg_expand_dims(n->in[0], m + 2), cg_expand_dims(n->in[1], m));
    return n->type.dtype == CG_BOOL ? cg_any(terms, &along) : cg_cast(cg_sum(terms, &along), n->type.dtype);
}

/* ---- NumPy's rules */

/* All the batch as one axis. */
static cg_node *three(cg_node *x)
{
    if (!x)
        return NULL;
    cg_graph *g = x->graph;
    cg_dim_t batch = { .n = 1 };
    const int r = x->type.rank;
    for (int i = 0; i < r - 2; i++)
        batch = cg__dim_mul(g, batch, x->type.dim[i]);
    return cg_reshape_to(x, (cg_node *[]){ cg__dim_node(g, batch), cg__dim_node(g, x->type.dim[r - 2]), cg__dim_node(g, x->type.dim[r - 1]) }, 3);
}

static cg_node *stretched(cg_node *x, const cg_type *batch)
{
    cg_type t = *batch;
    for (int i = 0; i < 2; i++)
        t.dim[t.rank++] = x->type.dim[x->type.rank - 2 + i];
    return cg__broadcast_like(x, &t);
}

static cg_node *batched(cg_node *a, cg_node *b)
{
    cg_graph *g = a->graph;
    cg_type x = a->type, y = b->type, batch = { 0 };
    x.rank -= 2;
    y.rank -= 2;
    if (!cg__broadcast(g, &x, &y, &batch))
        return cg__graph_fail(g, CG_ESHAPE, "cg_matmul: batches of %s and %s do not broadcast", cg__label(a), cg__label(b));
    cg_node *c = cg__build(g, CG_OP_matmul, (cg_node *[]){ three(stretched(a, &batch)), three(stretched(b, &batch)) }, 2, NULL);
    if (!c)
        return NULL;
    for (int i = 0; i < 2; i++)
        batch.dim[batch.rank++] = c->type.dim[1 + i];
    return cg__reshape_like(c, &batch);
}

/* Every row of a batch times one matrix is a product of two matrices. */
static cg_node *rows_by_matrix(cg_node *a, cg_node *b)
{
    cg_graph *g = a->graph;
    cg_dim_t rows = { .n = 1 };
    cg_type t = a->type;
    for (int i = 0; i < a->type.rank - 1; i++)
        rows = cg__dim_mul(g, rows, a->type.dim[i]);
    cg_node *many = cg__dim_node(g, rows), *flat = cg_reshape_to(a, (cg_node *[]){ many, cg__dim_node(g, t.dim[t.rank - 1]) }, 2);
    t.dim[t.rank - 1] = b->type.dim[1];
    return cg__reshape_like(cg_matmul(flat, b), &t);
}

/* A vector is one row, or one column, whose axis the result does not have. */
static cg_node *numpys_rules(cg_node *a, cg_node *b)
{
    const bool va = a->type.rank == 1, vb = b->type.rank == 1;
    a = va ? cg_expand_dims(a, 0) : a;
    b = vb ? cg_expand_dims(b, 1) : b;
    if (!a || !b)
        return NULL;
    cg_node *c = a->type.rank == 2 && b->type.rank == 2 ? cg_matmul(a, b) : b->type.rank == 2 ? rows_by_matrix(a, b) : batched(a, b);
    if (!c || (!va && !vb))
        return c;
    cg_type t = c->type;
    if (vb)
        t.rank--;
    if (va) {
        t.dim[t.rank - (vb ? 1 : 2)] = c->type.dim[c->type.rank - 1];
        t.rank--;
    }
    return cg__reshape_like(c, &t);
}

CG_DECLARE_SIMPLE(cg__matmul_simple)
{
    const cg_dtype d = n->in[0]->type.dtype;
    if (!is_plain(n))
        return numpys_rules(n->in[0], n->in[1]);
    if (d == CG_F32 || d == CG_F64)
        return CG_ITSELF;
    return cg__is_float(d) ? cg_cast(cg_matmul(cg_cast(n->in[0], CG_F32), cg_cast(n->in[1], CG_F32)), d) : summed(n);
}

CG_API cg_node *cg_matmul(cg_node *a, cg_node *b)
{
    CG_BUILDER(cg_node_graph(a));
    cg_node *in[2] = { a, b };
    return cg__build(cg__graph_of(in, 2), CG_OP_matmul, in, 2, NULL);
}

/* ---- the node */

static cg_node *swapped(cg_node *x)
{
    return x->type.rank == 2 ? cg_transpose(x, CG_AXES(1, 0)) : cg_transpose(x, CG_AXES(0, 2, 1));
}

CG_DECLARE_GRAD(cg__matmul_grad)
{
    gin[0] = need[0] ? cg__sum_to(cg_matmul(gout[0], swapped(n->in[1])), &n->in[0]->type) : NULL;
    gin[1] = need[1] ? cg__sum_to(cg_matmul(swapped(n->in[0]), gout[0]), &n->in[1]->type) : NULL;
    return CG_OK;
}

/* A strided operand as a matrix for BLAS: one of the last two strides must be 1. */
static bool as_mat(cg_lower *L, const cg_node *n, cg_mat *out)
{
    cg_strided s;
    const int r = n->type.rank;
    cg_plan *p = cg__lower_plan(L);
    if (!cg__lower_strided(L, n, &s))
        return false;
    out->slot = s.slot;
    out->off = s.off;
    out->batch_stride = r == 3 && !cg__dim_is(n->type.dim[0], 1) ? s.stride[0] : cg__num_const(p, 0);
    out->trans = !cg__num_is(p, s.stride[r - 1], 1);
    if (out->trans && !cg__num_is(p, s.stride[r - 2], 1))
        return false;
    out->ld = s.stride[out->trans ? r - 1 : r - 2];
    return true;
}

/* The step that adds alpha A B to beta times what is in the place of n. */
static int product(cg_lower *L, const cg_node *n, double alpha, double beta)
{
    cg_plan *p = cg__lower_plan(L);
    const cg_type *a = &n->in[0]->type, *b = &n->in[1]->type;
    const int r = n->type.rank;
    cg_gemm m = { .dtype = n->type.dtype, .alpha = alpha, .beta = beta };
    if (cg__check_dims(L, n, a->dim[r - 1], b->dim[r - 2]) < 0)
        return CG_ENOMEM;
    if (!as_mat(L, n->in[0], &m.a) || !as_mat(L, n->in[1], &m.b))
        return cg__fail(cg__lower_error(L), CG_EUNSUPPORTED, "cg_matmul: an operand of %s is not a dense matrix", cg__label(n));
    m.m = cg__lower_dim(L, n->type.dim[r - 2]);
    m.n = cg__lower_dim(L, n->type.dim[r - 1]);
    m.k = cg__lower_dim(L, a->dim[r - 1]);
    m.batch = r == 3 ? cg__lower_dim(L, n->type.dim[0]) : cg__num_const(p, 1);
    m.c = (cg_mat){ .slot = cg__lower_slot(L, n), .off = cg__lower_off(L, n), .ld = m.n, .batch_stride = cg__num(p, CG_N_MUL, m.m, m.n, 0, 0) };
    cg_step *s = cg__lower_step(L, CG_STEP_GEMM, n);
    if (!s)
        return CG_ENOMEM;
    s->gemm = m;
    return CG_OK;
}

CG_DECLARE_LOWER(cg__matmul_lower)
{
    const int rc = cg__lower_out(L, n);
    return rc < 0 ? rc : product(L, n, 1, 0);
}

/* ---- gemm */

static bool same_dims(const cg_type *a, const cg_type *b)
{
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = cg__dim_same(a->dim[i], b->dim[i]);
    return same;
}

CG_DECLARE_INFER(cg__gemm_infer)
{
    double alpha;
    if (n->nin < 3)
        return cg__fail(err, CG_EINVAL, "cg_gemm: takes two matrices, a factor and an addend, got %d operands", n->nin);
    if (!is_plain(n))
        return cg__fail(err, CG_ESHAPE, "cg_gemm: needs two matrices, or two batches of them, got %s and %s", cg__label(n->in[0]), cg__label(n->in[1]));
    if (product_infer(n, err) < 0)
        return err->code;
    const cg_node *scale = n->in[2];
    if (n->type.dtype != CG_F32 && n->type.dtype != CG_F64)
        return cg__fail(err, CG_EDTYPE, "cg_gemm: needs f32 or f64, got %s", cg__label(n->in[0]));
    if (scale->type.rank || scale->type.dtype != n->type.dtype || !cg__is_const(scale, &alpha))
        return cg__fail(err, CG_EINVAL, "cg_gemm: the factor must be a constant scalar of the operands' dtype, is %s", cg__label(scale));
    if (n->nin > 4 || (n->nin == 4 && !same_dims(&n->type, &n->in[3]->type)))
        return cg__fail(err, CG_ESHAPE, "cg_gemm: takes one addend of the product's type, got %s", cg__label(n->in[n->nin - 1]));
    return CG_OK;
}

CG_DECLARE_GRAD(cg__gemm_grad)
{
    cg_node *g = cg_mul(gout[0], n->in[2]);
    cg__matmul_grad(n, &g, need, gin);
    if (n->nin == 4)
        gin[3] = gout[0];
    return CG_OK;
}

/* The addend's buffer becomes the result's if nobody else reads it; else it is computed, or copied, into the result's: a state and its next value
 * lie in one slot, but in different rows of it. */
CG_DECLARE_LOWER(cg__gemm_lower)
{
    double alpha = 1;
    const cg_node *c = n->nin == 4 ? n->in[3] : NULL;
    cg__is_const(n->in[2], &alpha);
    const int rc = c ? cg__lower_over(L, n, c) : cg__lower_out(L, n);
    return rc < 0 ? rc : product(L, n, alpha, c ? 1 : 0);
}
