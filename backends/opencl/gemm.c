// SPDX-License-Identifier: MIT
/* GEMM in queue order: the host's BLAS inside a native kernel where the device shares the host's memory, else CLBlast.
 *
 * A native kernel is given plain host pointers: buffers of such a device are our own memory (device.c), so it needs none of the
 * driver's pointer fix-up, which depends on where and when the driver allocated a buffer. */
#include "backends/blas.h"
#include "backends/opencl/opencl.h"
#include <clblast_c.h>

/* ---- the host's BLAS */

/* Runs in a thread of the driver, after the commands before it. */
static void CL_CALLBACK native_gemm(void *args)
{
    cg__product_run(args);
}

static int enqueue_native(cg_cl *d, cg_product *g, cg_error *err)
{
    cl_event e;
    CL_TRY(err, clEnqueueNativeKernel(d->queue, native_gemm, g, sizeof *g, 0, NULL, NULL, 0, NULL, &e));
    d->super.launches++;
    return cg__cl_sent(d, e, err);
}

/* ---- CLBlast */

/* CLBlast 1.5.3 races on its caches: one lock in the process. */
static pthread_mutex_t clblast_lock = PTHREAD_MUTEX_INITIALIZER;

static CLBlastStatusCode clblast(cg_cl *d, const cg_product *g, const size_t off[3], const cl_mem mem[3], cl_event *e)
{
    const CLBlastTranspose ta = g->ta ? CLBlastTransposeYes : CLBlastTransposeNo, tb = g->tb ? CLBlastTransposeYes : CLBlastTransposeNo;
    const size_t m = (size_t)g->m, n = (size_t)g->n, k = (size_t)g->k, ld[3] = { (size_t)g->ld[0], (size_t)g->ld[1], (size_t)g->ld[2] };
    if (g->f64)
        return CLBlastDgemm(CLBlastLayoutRowMajor, ta, tb, m, n, k, g->alpha, mem[0], off[0], ld[0], mem[1], off[1], ld[1], g->beta, mem[2], off[2], ld[2], &d->queue, e);
    return CLBlastSgemm(CLBlastLayoutRowMajor, ta, tb, m, n, k, (float)g->alpha, mem[0], off[0], ld[0], mem[1], off[1], ld[1], (float)g->beta, mem[2], off[2], ld[2], &d->queue, e);
}

/* k = 0, which CLBlast refuses: the product is zero, so C is what it was, or zero where it is not to be read. */
static int fill_zero(cg_cl *d, const cg_product *g, size_t off, cl_mem c, cg_error *err)
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

static int enqueue_clblast(cg_cl *d, const cg_product *g, const cl_mem mem[3], cg_error *err)
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

int cg__cl_gemm(cg_cl *d, bool native, const cg_gemm *g, const int64_t *n, const cg_place *place, cg_error *err)
{
    const cg_mat *mats[3] = { &g->a, &g->b, &g->c };
    cl_mem mem[3];
    cg_product p;
    const int rc = cg__product(&p, g, n, err);
    if (rc != CG_OK || cg__product_empty(&p))
        return rc;
    for (int k = 0; k < 3; k++) {
        const cg_place *at = &place[mats[k]->slot];
        mem[k] = cg__cl_mem(at->buffer);
        p.base[k] = cg__cl_host(at->buffer);
        p.off[k] = (int64_t)(at->offset / cg__dtypes[g->dtype].bytes) + n[mats[k]->off];
    }
    return native ? enqueue_native(d, &p, err) : enqueue_clblast(d, &p, mem, err);
}
