// SPDX-License-Identifier: MIT
/* Products by the host's libraries, for the backends whose buffers the host can read. One place decides on how many threads, in which parts and by
 * which library, by sizes and CG_THREADS alone: so all such backends give the same bits. */
#ifndef CG_BLAS_H
#define CG_BLAS_H

#include "core/plan/plan.h"

/* One step's products C = alpha A B + beta C: operand k (A, B, C) of product i begins at element off[k] + i step[k] of base[k]. */
typedef struct cg_product {
    void *base[3];
    int64_t off[3], step[3], batch;
    int m, n, k, ld[3];
    bool ta, tb, f64;
    double alpha, beta;
} cg_product;

/* All of p but base and off, which are the buffers'. n: the plan's numbers. An error if it is too large for a BLAS. */
int cg__product(cg_product *p, const cg_gemm *g, const int64_t *n, cg_error *err);
bool cg__product_empty(const cg_product *p);                             /* nothing is to be written */
void cg__product_run(const cg_product *p);                               /* beta 0: C is not read. In the caller's threads */
void cg__blas_describe(cg_strb *out, bool json);                         /* what computes products, and what would do it better */

#endif
