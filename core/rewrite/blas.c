// SPDX-License-Identifier: MIT
/* Scalars, signs and addends absorbed into products: alpha A B, C + alpha A B, and (A B)' = B' A'.
 *
 * Only where nothing elementwise reads the result: there the scaling or addition is part of that loop, and costs nothing.
 * What is added is multiplied by its own factor (mu V + x'd) when it is put in its place, so beta is always 1.
 */
#include "core/graph/build.h"
#include "core/rewrite/rewrite.h"

typedef struct product { cg_node *a, *b; double alpha; } product;

/* n as alpha A B; what is on the way is read once. */
static bool as_product(cg_node *n, const cg_uses *uses, bool inner, product *out)
{
    double k = 0;
    out->alpha = 1;
    for (;; inner = true) {
        if (inner && cg__uses_of(uses, n) != 1)
            return false;
        if (cg__is(n, CG_OP_neg)) {
            out->alpha = -out->alpha;
            n = n->in[0];
            continue;
        }
        const int at = cg__is(n, CG_OP_mul) && n->in[0]->type.rank == 0 ? 0 : 1;
        if (!cg__is(n, CG_OP_mul) || n->in[at]->type.rank || !cg__is_const(n->in[at], &k))
            break;
        out->alpha *= k;
        n = n->in[1 - at];
    }
    if (!cg__is(n, CG_OP_matmul) && !(cg__is(n, CG_OP_gemm) && n->nin == 3))
        return false;
    if (cg__is(n, CG_OP_gemm) && cg__is_const(n->in[2], &k))
        out->alpha *= k;
    out->a = n->in[0];
    out->b = n->in[1];
    return true;
}

static cg_node *gemm(const cg_node *n, const product *p, cg_node *c)
{
    cg_node *in[] = { p->a, p->b, cg__splat(n->graph, n->type.dtype, p->alpha), c };
    for (int i = 0; c && i < n->type.rank; i++)
        if (c->type.rank != n->type.rank || !cg__dim_same(c->type.dim[i], n->type.dim[i]))
            return NULL;
    return cg__build(n->graph, CG_OP_gemm, in, c ? 4 : 3, NULL);
}

CG_RULE_BUILDER(cg__product_form)
{
    product p;
    cg_node *self = (cg_node *)(uintptr_t)n, *made = NULL;
    if (cg__is_fused(b->uses, n))
        return NULL;
    if (!cg__is(n, CG_OP_add) && !cg__is(n, CG_OP_sub))
        return as_product(self, b->uses, false, &p) && !cg__is(n, CG_OP_matmul) ? gemm(n, &p, NULL) : NULL;
    for (int k = 1; k >= 0 && !made; k--) {
        const bool minus = cg__is(n, CG_OP_sub);
        if (!as_product(n->in[k], b->uses, true, &p))
            continue;
        p.alpha *= minus && k == 1 ? -1 : 1;
        made = gemm(n, &p, minus && k == 0 ? cg_neg(n->in[1]) : n->in[1 - k]);
    }
    return made;
}

static cg_node *swapped(cg_node *x) { return cg__is(x, CG_OP_transpose) && cg__swaps_last(&x->attr[0]) ? x->in[0] : cg__swapped_last(x); }

CG_RULE_BUILDER(cg__product_transposed)
{
    (void)n;
    return cg__swaps_last(b->attr[0]) ? cg_matmul(swapped(b->node[1]), swapped(b->node[0])) : NULL;
}

/* The matrices of a batch stay whole. */
CG_RULE_BUILDER(cg__product_swapped)
{
    const cg_node *split = n->in[0], *flat = split->in[0];
    const int r = split->type.rank, p = flat->type.rank;
    for (int i = 1; i <= 2; i++)
        if (r < 2 || !cg__dim_same(split->type.dim[r - i], flat->type.dim[p - i]))
            return NULL;
    return cg__swaps_last(b->attr[0]) ? cg__reshape_like(cg_matmul(swapped(b->node[1]), swapped(b->node[0])), &n->type) : NULL;
}
