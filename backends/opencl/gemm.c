// SPDX-License-Identifier: MIT
/* GEMM in queue order: the host's BLAS inside a native kernel where the device shares the host's memory, else CLBlast.
 *
 * A native kernel is given plain host pointers: buffers of such a device are our own memory (device.c), so it needs none of the
 * driver's pointer fix-up, which depends on where and when the driver allocated a buffer. */
#include "backends/opencl/opencl.h"
#include <clblast_c.h>
#include <omp.h>

/* CBLAS, the same in every BLAS */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
void cblas_dgemm(int order, int ta, int tb, int m, int n, int k, double alpha, const double *a, int lda, const double *b, int ldb, double beta, double *c, int ldc);

/* One step's products: operand k of product i begins at element off[k] + i * step[k] of its buffer. */
typedef struct product {
    void *host[3];                       /* host pointers of the buffers, for native kernels */
    int64_t off[3], step[3], batch;
    int m, n, k, ld[3];
    bool ta, tb, f64;
    double alpha, beta;
} product;

/* ---- the host's BLAS */

static void scale(const product *g, double *d, float *f)
{
    for (int i = 0; i < g->m; i++)
        for (int j = 0; j < g->n; j++) {
            const int64_t at = (int64_t)i * g->ld[2] + j;
            if (g->f64)
                d[at] = g->beta == 0 ? 0 : g->beta * d[at];
            else
                f[at] = g->beta == 0 ? 0 : (float)g->beta * f[at];
        }
}

static void one_native(const product *g, int64_t i)
{
    const int ta = g->ta ? TRANS : NO_TRANS, tb = g->tb ? TRANS : NO_TRANS, *ld = g->ld;
    const int64_t a = g->off[0] + i * g->step[0], b = g->off[1] + i * g->step[1], c = g->off[2] + i * g->step[2];
    if (!g->k)
        scale(g, (double *)g->host[2] + c, (float *)g->host[2] + c);
    else if (g->f64)
        cblas_dgemm(ROW_MAJOR, ta, tb, g->m, g->n, g->k, g->alpha, (double *)g->host[0] + a, ld[0], (double *)g->host[1] + b, ld[1], g->beta, (double *)g->host[2] + c, ld[2]);
    else
        cblas_sgemm(ROW_MAJOR, ta, tb, g->m, g->n, g->k, (float)g->alpha, (float *)g->host[0] + a, ld[0], (float *)g->host[1] + b, ld[1], (float)g->beta, (float *)g->host[2] + c, ld[2]);
}

/* Runs in a thread of the driver, after the commands before it. The number of threads decides the bits and is the thread's own. */
static void CL_CALLBACK native_gemm(void *args)
{
    const product *g = args;
    const int before = omp_get_max_threads();
    omp_set_num_threads(cg__gemm_threads(g->m, g->n, g->k));
    for (int64_t i = 0; i < g->batch; i++)
        one_native(g, i);
    omp_set_num_threads(before);
}

static int enqueue_native(cg_cl *d, product *g, cg_error *err)
{
    cl_event e;
    CL_TRY(err, clEnqueueNativeKernel(d->queue, native_gemm, g, sizeof *g, 0, NULL, NULL, 0, NULL, &e));
    d->super.launches++;
    return cg__cl_sent(d, e, err);
}

/* ---- CLBlast */

/* CLBlast 1.5.3 races on its caches: one lock in the process. */
static pthread_mutex_t clblast_lock = PTHREAD_MUTEX_INITIALIZER;

static CLBlastStatusCode clblast(cg_cl *d, const product *g, const size_t off[3], const cl_mem mem[3], cl_event *e)
{
    const CLBlastTranspose ta = g->ta ? CLBlastTransposeYes : CLBlastTransposeNo, tb = g->tb ? CLBlastTransposeYes : CLBlastTransposeNo;
    const size_t m = (size_t)g->m, n = (size_t)g->n, k = (size_t)g->k, ld[3] = { (size_t)g->ld[0], (size_t)g->ld[1], (size_t)g->ld[2] };
    if (g->f64)
        return CLBlastDgemm(CLBlastLayoutRowMajor, ta, tb, m, n, k, g->alpha, mem[0], off[0], ld[0], mem[1], off[1], ld[1], g->beta, mem[2], off[2], ld[2], &d->queue, e);
    return CLBlastSgemm(CLBlastLayoutRowMajor, ta, tb, m, n, k, (float)g->alpha, mem[0], off[0], ld[0], mem[1], off[1], ld[1], (float)g->beta, mem[2], off[2], ld[2], &d->queue, e);
}

/* k = 0, which CLBlast refuses: the product is zero, so C is what it was, or zero where it is not to be read. */
static int fill_zero(cg_cl *d, const product *g, size_t off, cl_mem c, cg_error *err)
{
    const double zero = 0;
    const size_t item = g->f64 ? 8 : 4;
    int rc = CG_OK;
    for (int i = 0; i < g->m && rc == CG_OK; i++) {
        cl_event e;
        CL_TRY(err, clEnqueueFillBuffer(d->queue, c, &zero, item, (off + (size_t)i * (size_t)g->ld[2]) * item, (size_t)g->n * item, 0, NULL, &e));
        rc = cg__cl_sent(d, e, err);
    }
    return rc;
}

static int enqueue_clblast(cg_cl *d, const product *g, const cl_mem mem[3], cg_error *err)
{
    int rc = CG_OK;
    for (int64_t i = 0; i < g->batch && rc == CG_OK; i++) {
        const size_t off[3] = { (size_t)(g->off[0] + i * g->step[0]), (size_t)(g->off[1] + i * g->step[1]), (size_t)(g->off[2] + i * g->step[2]) };
        d->super.launches++;
        if (!g->k) {
            rc = g->beta == 0 ? fill_zero(d, g, off[2], mem[2], err) : CG_OK;
            continue;
        }
        pthread_mutex_lock(&clblast_lock);
        cl_event e = NULL;
        const CLBlastStatusCode code = clblast(d, g, off, mem, &e);
        pthread_mutex_unlock(&clblast_lock);
        if (code == CLBlastSuccess)
            rc = cg__cl_sent(d, e, err);
        else
            rc = cg__fail(err, CG_EDEVICE, "opencl: CLBlast gemm of %d x %d x %d failed: %s (%d)", g->m, g->n, g->k, cg__cl_error_name((cl_int)code), (int)code);
    }
    return rc;
}

/* ---- the step */

static int ld_of(const int64_t *n, cg_num ld, int least)
{
    return (int)(n[ld] > least ? n[ld] : least > 1 ? least : 1);
}

int cg__cl_gemm(cg_cl *d, bool native, const cg_gemm *g, const int64_t *n, const cg_place *place, cg_error *err)
{
    const cg_mat *mats[3] = { &g->a, &g->b, &g->c };
    cl_mem mem[3];
    product q = { .m = (int)n[g->m], .n = (int)n[g->n], .k = (int)n[g->k], .batch = n[g->batch], .ta = g->a.trans, .tb = g->b.trans,
                  .f64 = g->dtype == CG_F64, .alpha = g->alpha, .beta = g->beta };
    if (n[g->m] > INT32_MAX || n[g->n] > INT32_MAX || n[g->k] > INT32_MAX)
        return cg__fail(err, CG_EUNSUPPORTED, "a matrix has more than 2^31 rows or columns");
    if (!q.m || !q.n || q.batch < 1)
        return CG_OK;
    q.ld[0] = ld_of(n, g->a.ld, q.ta ? q.m : q.k);
    q.ld[1] = ld_of(n, g->b.ld, q.tb ? q.k : q.n);
    q.ld[2] = ld_of(n, g->c.ld, q.n);
    for (int k = 0; k < 3; k++) {
        const cg_place *at = &place[mats[k]->slot];
        mem[k] = cg__cl_mem(at->buffer);
        q.host[k] = cg__cl_host(at->buffer);
        q.off[k] = (int64_t)(at->offset / cg__dtypes[g->dtype].bytes) + n[mats[k]->off];
        q.step[k] = n[mats[k]->batch_stride];
    }
    return native ? enqueue_native(d, &q, err) : enqueue_clblast(d, &q, mem, err);
}
