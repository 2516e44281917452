// SPDX-License-Identifier: MIT
/* Sums and products as chains of terms: equal terms are collected, constants become one.
 *
 *     a x + y + b x = (a + b) x + y        2 x 3 = 6 x        x x x x = (x^2)^2
 * A chain is bounded (CG_CHAIN_MAX), its inner ends are read by nobody else. Only what leaves fewer terms is built, so it ends.
 */
#include <math.h>
#include "core/graph/build.h"
#include "core/rewrite/rewrite.h"

/* A term of a sum is k times base (NULL: a constant), of a product base to the power k. */
typedef struct term { cg_node *base; double k; } term;
typedef struct terms { term at[CG_CHAIN_MAX]; int n, given; } terms;

static bool scalar_of(const cg_node *n, double *v)
{
    return n->type.rank == 0 && cg__is_const(n, v);
}

/* A constant that arithmetic on doubles gives right, also after rounding to the dtype; far from the ends of its range. */
static bool is_plain(cg_dtype d, double v)
{
    const cg_dtype_row *row = &cg__dtypes[d];
    const double most = d == CG_F64 ? 0x1p900 : d == CG_F16 ? 0x1p10 : row->kind == CG_KIND_FLOAT ? 0x1p100 : ldexp(1, row->bytes < 4 ? 8 * (int)row->bytes - 2 : 30);
    return v == 0 || (fabs(v) <= most && (v > 0 || row->kind != CG_KIND_UINT) && (row->kind != CG_KIND_FLOAT || fabs(v) >= 1 / most));
}

static void add_term(terms *t, cg_node *base, double k)
{
    t->given++;
    for (int i = 0; i < t->n; i++)
        if (t->at[i].base == base) {
            t->at[i].k += k;
            return;
        }
    t->at[t->n++] = (term){ base, k };
}

/* k x, x k and -x are k times x. */
static term of_sum(cg_node *n)
{
    double k = 0;
    if (scalar_of(n, &k))
        return (term){ NULL, k };
    if (cg__is(n, CG_OP_neg))
        return (term){ n->in[0], -1 };
    for (int i = 0; cg__is(n, CG_OP_mul) && i < 2; i++)
        if (scalar_of(n->in[i], &k))
            return (term){ n->in[1 - i], k };
    return (term){ n, 1 };
}

static cg_node *of_term(cg_graph *g, cg_dtype d, const term *t)
{
    return !t->base ? cg__splat(g, d, t->k) : t->k == 1 ? t->base : t->k == -1 ? cg_neg(t->base) : cg_mul(t->base, cg__splat(g, d, t->k));
}

CG_RULE_BUILDER(cg__collect_sum)
{
    cg_node *list[CG_CHAIN_MAX], *sum = NULL;
    terms t = { .n = 0 };
    const int count = cg__chain(n, b->uses, list);
    for (int i = 0; i < count; i++) {
        const term x = of_sum(list[i]);
        if (!is_plain(n->type.dtype, x.k))
            return NULL;
        add_term(&t, x.base, x.k);
    }
    if (t.n == t.given)
        return NULL;
    for (int i = 0; i < t.n; i++) {
        if (!is_plain(n->type.dtype, t.at[i].k) || (t.at[i].base && t.at[i].k == 0))
            return NULL;                 /* x - x may hide a NaN */
        cg_node *x = of_term(n->graph, n->type.dtype, &t.at[i]);
        sum = sum ? cg_add(sum, x) : x;
    }
    return sum;
}

/* x to an integer power, by squaring. */
static cg_node *power(cg_node *x, int k)
{
    cg_node *r = NULL;
    for (; k; k >>= 1, x = k ? cg_square(x) : x)
        if (k & 1)
            r = r ? cg_mul(r, x) : x;
    return r;
}

/* Constants are gathered; factors only where all are one base, for else an order that overflows might be made of one that does not. */
CG_RULE_BUILDER(cg__collect_product)
{
    cg_node *list[CG_CHAIN_MAX], *product = NULL;
    const int count = cg__chain(n, b->uses, list);
    double k = 1, c = 0;
    int constants = 0;
    bool one_base = count > 3;
    for (int i = 0; i < count; i++) {
        one_base &= list[i] == list[0];
        if (!scalar_of(list[i], &c))
            continue;
        if (c == 0 || !is_plain(n->type.dtype, c))
            return NULL;
        k *= c;
        constants++;
    }
    if (one_base)
        return power(list[0], count);
    if (constants < 2 || constants == count || !is_plain(n->type.dtype, k))
        return NULL;
    for (int i = 0; i < count; i++)
        if (!scalar_of(list[i], &c))
            product = product ? cg_mul(product, list[i]) : list[i];
    return cg_mul(product, cg__splat(n->graph, n->type.dtype, k));
}
