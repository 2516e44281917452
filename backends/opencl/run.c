// SPDX-License-Identifier: MIT
/* Preparing and running plans: one program for all kernels that the device lacks, launches in order, GEMM by the host's BLAS
 * on mapped buffers (on devices that run native kernels, so share the host's memory), else by CLBlast. */
#include "backends/opencl/opencl.h"
#include <clblast_c.h>
#include <omp.h>
#include <stdlib.h>

typedef struct kernel { cl_kernel k; cg_cl_numbers nums; char *text; uint64_t hash; } kernel;
typedef struct exe { kernel *at; int n; bool clblast; } exe;

/* ---- preparing */

static int text_of(const cg_plan *p, const cg_step *s, kernel *k, cg_error *err)
{
    cg_strb out = { 0 };
    int rc = CG_OK;
    if (s->kind == CG_STEP_LOOP)
        rc = cg__cl_loop_text(p, &s->loop, s->label, &k->nums, &out, err);
    else if (s->kind == CG_STEP_KERNEL) {
        rc = cg__cl_scatter_text(p->slots.at[s->kernel.slots[0]].dtype, p->slots.at[s->kernel.slots[1]].dtype, &out, err);
        k->nums.n = s->kernel.nnums;
        memcpy(k->nums.id, s->kernel.nums, sizeof(cg_num) * (size_t)s->kernel.nnums);
    } else
        return CG_OK;
    k->text = cg__strb_take(&out);
    if (rc == CG_OK && !k->text)
        rc = cg__fail(err, CG_ENOMEM, "opencl: no memory for kernel text");
    if (rc == CG_OK)
        k->hash = cg__hash(k->text, strlen(k->text), 3);
    return rc;
}

static void kernel_name(uint64_t hash, char name[32])
{
    snprintf(name, 32, "cg_%016llx", (unsigned long long)hash);
}

static cg_cl_program *known(cg_cl *d, const kernel *k)
{
    for (int i = 0; i < d->programs.n; i++)
        if (d->programs.at[i].hash == k->hash && strcmp(d->programs.at[i].text, k->text) == 0)
            return &d->programs.at[i];
    return NULL;
}

static int build_failed(cg_cl *d, cl_program program, cg_error *err)
{
    char *log = NULL;
    size_t n = 0;
    clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &n);
    if (n && n < 1 << 20 && (log = cg__zalloc(n + 1)))
        clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, n, log, NULL);
    cg__log("%s", log ? log : "");
    cg__fail(err, CG_EBUILD, "opencl: a kernel does not compile on %s: %s", d->super.name, log ? log : "(no build log)");
    cg__free(log);
    return CG_EBUILD;
}

static int build(cg_cl *d, const char *source, cl_program *out, cg_error *err)
{
    cl_int rc;
    cl_program program = clCreateProgramWithSource(d->context, 1, &source, NULL, &rc);
    if (!program)
        return cg__cl_fail(err, rc, "clCreateProgramWithSource");
    rc = clBuildProgram(program, 1, &d->id, d->rounded ? "-cl-fp32-correctly-rounded-divide-sqrt" : "", NULL, NULL);
    if (rc != CL_SUCCESS) {
        const int code = build_failed(d, program, err);
        clReleaseProgram(program);
        return code;
    }
    *out = program;
    return CG_OK;
}

/* Texts that the device lacks, once each, as one program. */
static int build_missing(cg_cl *d, const exe *x, cg_error *err)
{
    cg_strb body = { 0 }, source = { 0 };
    cg_map seen = { 0 };
    uint64_t v;
    int count = 0, rc = CG_OK;
    for (int i = 0; i < x->n && rc == CG_OK; i++) {
        const kernel *k = &x->at[i];
        char name[32];
        if (!k->text || known(d, k) || cg__map_get(&seen, k->hash, &v))
            continue;
        kernel_name(k->hash, name);
        cg__strb(&body, "\n__kernel __attribute__((reqd_work_group_size(1, 1, 1)))\nvoid %s%s", name, k->text);
        rc = cg__map_put(&seen, k->hash, (uint64_t)i) ? CG_OK : CG_ENOMEM;
        count++;
    }
    cg__map_free(&seen);
    char *text = cg__strb_take(&body), *whole = NULL;
    cl_program program = NULL;
    if (text && !d->has_f64 && (strstr(text, "double") || strstr(text, "_f64")))
        rc = cg__fail(err, CG_EUNSUPPORTED, "opencl: %s has no f64; use f32, or CG_DEVICE=cpu", d->super.name);
    if (rc == CG_OK && text && count) {
        cg__cl_source(text, &source);
        whole = cg__strb_take(&source);
        rc = whole ? build(d, whole, &program, err) : CG_ENOMEM;
    }
    for (int i = 0; i < x->n && rc == CG_OK && program; i++) {
        const kernel *k = &x->at[i];
        if (!k->text || known(d, k))
            continue;
        const cg_cl_program entry = { k->hash, program, cg__strdup(k->text) };
        if (!entry.text || !CG_PUSH(&d->programs, entry))
            rc = CG_ENOMEM;
        else
            clRetainProgram(program);
    }
    if (program)
        clReleaseProgram(program);
    d->super.kernels_built += rc == CG_OK ? count : 0;
    cg__free(text);
    cg__free(whole);
    return rc == CG_ENOMEM ? cg__fail(err, CG_ENOMEM, "opencl: no memory for kernels") : rc;
}

int cg__cl_prepare(cg_device *dev, const cg_plan *p, void **out, cg_error *err)
{
    cg_cl *d = (cg_cl *)dev;
    const char *want = secure_getenv("CG_GEMM");
    exe *x = cg__zalloc(sizeof *x);
    if (x)
        x->at = cg__zalloc((size_t)(p->steps.n + 1) * sizeof *x->at);
    if (!x || !x->at) {
        cg__free(x);
        return cg__fail(err, CG_ENOMEM, "opencl: no memory for kernels");
    }
    x->n = p->steps.n;
    x->clblast = !d->native || (want && strcmp(want, "clblast") == 0);
    int rc = want && strcmp(want, "clblast") != 0 && strcmp(want, "native") != 0 ? cg__fail(err, CG_EINVAL, "CG_GEMM: '%s' is unknown; there are: native, clblast", want) : CG_OK;
    for (int i = 0; i < x->n && rc == CG_OK; i++)
        rc = text_of(p, &p->steps.at[i], &x->at[i], err);
    if (rc == CG_OK)
        rc = build_missing(d, x, err);
    for (int i = 0; i < x->n && rc == CG_OK; i++) {
        char name[32];
        cl_int code;
        if (!x->at[i].text)
            continue;
        kernel_name(x->at[i].hash, name);
        x->at[i].k = clCreateKernel(known(d, &x->at[i])->program, name, &code);
        rc = x->at[i].k ? CG_OK : cg__cl_fail(err, code, "clCreateKernel");
    }
    if (rc < 0)
        cg__cl_unprepare(dev, x);
    else
        *out = x;
    return rc;
}

void cg__cl_unprepare(cg_device *dev, void *p)
{
    exe *x = p;
    (void)dev;
    for (int i = 0; x && i < x->n; i++) {
        if (x->at[i].k)
            clReleaseKernel(x->at[i].k);
        cg__free(x->at[i].text);
    }
    if (x)
        cg__free(x->at);
    cg__free(x);
}

void cg__cl_kernels(const cg_plan *p, void *e, cg_strb *out)
{
    const exe *x = e;
    for (int i = 0; i < x->n; i++)
        if (x->at[i].text)
            cg__strb(out, "// step %d: %s\n__kernel void%s\n", i, p->steps.at[i].origin, x->at[i].text);
}

/* ---- launching */

typedef struct numbers { int64_t v[CG_CL_NUMBERS], at[CG_CL_OPERANDS], step; } numbers;

static int64_t element_offset(const cg_plan *p, const cg_place *place, int slot)
{
    return (int64_t)(place[slot].offset / cg__dtypes[p->slots.at[slot].dtype].bytes);
}

static int set_buffer(cl_kernel k, cl_uint i, const cg_buffer *b, cg_error *err)
{
    CL_TRY(err, clSetKernelArg(k, i, sizeof(cl_mem), &b->mem));
    return CG_OK;
}

static int launch(cg_cl *d, cl_kernel k, size_t items, cg_error *err)
{
    const size_t local = 1;
    CL_TRY(err, clEnqueueNDRangeKernel(d->queue, k, 1, NULL, &items, &local, 0, NULL, NULL));
    d->super.launches++;
    return CG_OK;
}

/* Items enough for all units, few enough that each has work for some microseconds. */
static size_t items_for(const cg_cl *d, double points, double work)
{
    const double most = 4.0 * d->units, fair = work / 4096 + 1, n = fair < most ? fair : most;
    return (size_t)(n < points ? n : points > 1 ? points : 1);
}

/* Slots in the arena are parts of one buffer: `at` says where each operand's begins. */
static int run_loop(cg_cl *d, kernel *k, const cg_plan *p, int step, const int64_t *n, const cg_place *place, cg_error *err)
{
    const cg_loop *l = &p->steps.at[step].loop;
    numbers v = { .step = step };
    double outer = 1, inner = 1;
    int rc = CG_OK;
    for (int i = 0; i < l->naxes; i++)
        *(i < l->nouter ? &outer : &inner) *= (double)n[l->extent[i]];
    if (outer < 1)
        return CG_OK;
    for (int i = 0; i < k->nums.n; i++)
        v.v[i] = n[k->nums.id[i]];
    for (int i = 0; i < l->noperands; i++)
        v.at[i] = element_offset(p, place, l->operands[i].slot);
    CL_TRY(err, clSetKernelArg(k->k, 0, sizeof v, &v));
    for (int i = 0; i < l->noperands && rc == CG_OK; i++)
        rc = set_buffer(k->k, (cl_uint)i + 1, place[l->operands[i].slot].buffer, err);
    if (rc == CG_OK)
        CL_TRY(err, clSetKernelArg(k->k, (cl_uint)l->noperands + 1, sizeof(cl_mem), &d->status));
    return rc < 0 ? rc : launch(d, k->k, items_for(d, outer, outer * (inner > 1 ? inner : 1) * l->nvals), err);
}

static int run_scatter(cg_cl *d, kernel *k, const cg_plan *p, int step, const int64_t *n, const cg_place *place, cg_error *err)
{
    const cg_kernel *s = &p->steps.at[step].kernel;
    numbers v = { .step = step };
    int rc = CG_OK;
    for (int i = 0; i < 3; i++) {
        v.v[i] = n[s->nums[i]];
        v.at[i] = element_offset(p, place, s->slots[i]) + n[s->nums[3 + i]];
    }
    if (!v.v[1])
        return CG_OK;
    CL_TRY(err, clSetKernelArg(k->k, 0, sizeof v, &v));
    for (int i = 0; i < 3 && rc == CG_OK; i++)
        rc = set_buffer(k->k, (cl_uint)i + 1, place[s->slots[i]].buffer, err);
    if (rc == CG_OK)
        CL_TRY(err, clSetKernelArg(k->k, 4, sizeof(cl_mem), &d->status));
    return rc < 0 ? rc : launch(d, k->k, items_for(d, (double)v.v[1], (double)v.v[1] * (double)(v.v[0] + v.v[2])), err);
}

static int run_copy(cg_cl *d, const cg_plan *p, const cg_copy *c, const int64_t *n, const cg_place *place, cg_error *err)
{
    const size_t item = cg__dtypes[p->slots.at[c->from].dtype].bytes;
    if (n[c->count] > 0)
        CL_TRY(err, clEnqueueCopyBuffer(d->queue, place[c->from].buffer->mem, place[c->to].buffer->mem, place[c->from].offset + (size_t)n[c->from_off] * item,
                                        place[c->to].offset + (size_t)n[c->to_off] * item, (size_t)n[c->count] * item, 0, NULL, NULL));
    return CG_OK;
}

/* ---- GEMM */

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
void cblas_dgemm(int order, int ta, int tb, int m, int n, int k, double alpha, const double *a, int lda, const double *b, int ldb, double beta, double *c, int ldc);

/* One product on mapped buffers: `which` says whose pointer operand k has, since a buffer is mapped once. */
typedef struct product { void *mem[3]; int which[3]; int64_t off[3]; int m, n, k, lda, ldb, ldc; bool ta, tb, f64; double alpha, beta; } product;

static void *operand(const product *g, int k) { return g->mem[g->which[k]]; }

static void zero_or_scale(const product *g)
{
    for (int i = 0; i < g->m; i++)
        for (int j = 0; j < g->n; j++) {
            const int64_t at = g->off[2] + (int64_t)i * g->ldc + j;
            if (g->f64)
                ((double *)operand(g, 2))[at] = g->beta == 0 ? 0 : g->beta * ((double *)operand(g, 2))[at];
            else
                ((float *)operand(g, 2))[at] = g->beta == 0 ? 0 : (float)g->beta * ((float *)operand(g, 2))[at];
        }
}

static void native_gemm(const product *g)
{
    const int ta = g->ta ? TRANS : NO_TRANS, tb = g->tb ? TRANS : NO_TRANS, before = omp_get_max_threads();
    omp_set_num_threads(cg__gemm_threads(g->m, g->n, g->k));
    if (!g->k)
        zero_or_scale(g);
    else if (g->f64)
        cblas_dgemm(ROW_MAJOR, ta, tb, g->m, g->n, g->k, g->alpha, (double *)operand(g, 0) + g->off[0], g->lda, (double *)operand(g, 1) + g->off[1], g->ldb, g->beta,
                    (double *)operand(g, 2) + g->off[2], g->ldc);
    else
        cblas_sgemm(ROW_MAJOR, ta, tb, g->m, g->n, g->k, (float)g->alpha, (float *)operand(g, 0) + g->off[0], g->lda, (float *)operand(g, 1) + g->off[1], g->ldb,
                    (float)g->beta, (float *)operand(g, 2) + g->off[2], g->ldc);
    omp_set_num_threads(before);
}

/* On a device in host memory mapping moves nothing; it waits for the commands before. */
static int mapped_gemm(cg_cl *d, product *g, cl_mem mem[3], cg_error *err)
{
    cl_mem distinct[3];
    cl_int rc = CL_SUCCESS;
    int n = 0;
    for (int k = 0; k < 3 && rc == CL_SUCCESS; k++) {
        int i = 0;
        size_t bytes = 0;
        while (i < n && distinct[i] != mem[k])
            i++;
        g->which[k] = i;
        if (i < n)
            continue;
        clGetMemObjectInfo(mem[k], CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
        g->mem[n] = clEnqueueMapBuffer(d->queue, mem[k], CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, bytes, 0, NULL, NULL, &rc);
        if (rc == CL_SUCCESS)
            distinct[n++] = mem[k];
    }
    if (rc == CL_SUCCESS)
        native_gemm(g);
    for (int i = 0; i < n; i++) {
        const cl_int un = clEnqueueUnmapMemObject(d->queue, distinct[i], g->mem[i], 0, NULL, NULL);
        rc = rc == CL_SUCCESS ? un : rc;
    }
    return rc == CL_SUCCESS ? CG_OK : cg__cl_fail(err, rc, "clEnqueueMapBuffer");
}

/* CLBlast 1.5.3 races on its caches: one lock in the process. */
static pthread_mutex_t clblast_lock = PTHREAD_MUTEX_INITIALIZER;

static int enqueue_clblast(cg_cl *d, const product *g, cl_mem mem[3], cg_error *err)
{
    const CLBlastTranspose ta = g->ta ? CLBlastTransposeYes : CLBlastTransposeNo, tb = g->tb ? CLBlastTransposeYes : CLBlastTransposeNo;
    const size_t m = (size_t)g->m, n = (size_t)g->n, k = (size_t)g->k, oa = (size_t)g->off[0], ob = (size_t)g->off[1], oc = (size_t)g->off[2];
    const size_t lda = (size_t)g->lda, ldb = (size_t)g->ldb, ldc = (size_t)g->ldc;
    pthread_mutex_lock(&clblast_lock);
    const CLBlastStatusCode rc =
        g->f64 ? CLBlastDgemm(CLBlastLayoutRowMajor, ta, tb, m, n, k, g->alpha, mem[0], oa, lda, mem[1], ob, ldb, g->beta, mem[2], oc, ldc, &d->queue, NULL)
               : CLBlastSgemm(CLBlastLayoutRowMajor, ta, tb, m, n, k, (float)g->alpha, mem[0], oa, lda, mem[1], ob, ldb, (float)g->beta, mem[2], oc, ldc, &d->queue, NULL);
    pthread_mutex_unlock(&clblast_lock);
    return rc == CLBlastSuccess ? CG_OK : cg__fail(err, CG_EDEVICE, "opencl: CLBlast gemm of %d x %d x %d failed with status %d", g->m, g->n, g->k, (int)rc);
}

/* k = 0: the product is zero, which CLBlast refuses to compute. */
static int fill_zero(cg_cl *d, const product *g, cl_mem c, cg_error *err)
{
    const double zero = 0;
    const size_t item = g->f64 ? 8 : 4;
    for (int i = 0; i < g->m; i++)
        CL_TRY(err, clEnqueueFillBuffer(d->queue, c, &zero, item, (size_t)(g->off[2] + (int64_t)i * g->ldc) * item, (size_t)g->n * item, 0, NULL, NULL));
    return CG_OK;
}

static int ld_of(const int64_t *n, cg_num ld, int least)
{
    return (int)(n[ld] > least ? n[ld] : least > 1 ? least : 1);
}

static int run_gemm(cg_cl *d, const exe *x, const cg_plan *p, const cg_gemm *g, const int64_t *n, const cg_place *place, cg_error *err)
{
    const cg_mat *mats[3] = { &g->a, &g->b, &g->c };
    cl_mem mem[3];
    product q = { .m = (int)n[g->m], .n = (int)n[g->n], .k = (int)n[g->k], .ta = g->a.trans, .tb = g->b.trans, .f64 = g->dtype == CG_F64, .alpha = g->alpha, .beta = g->beta };
    if (n[g->m] > INT32_MAX || n[g->n] > INT32_MAX || n[g->k] > INT32_MAX)
        return cg__fail(err, CG_EUNSUPPORTED, "a matrix has more than 2^31 rows or columns");
    q.lda = ld_of(n, g->a.ld, q.ta ? q.m : q.k);
    q.ldb = ld_of(n, g->b.ld, q.tb ? q.k : q.n);
    q.ldc = ld_of(n, g->c.ld, q.n);
    int rc = CG_OK;
    for (int64_t i = 0; i < n[g->batch] && q.m && q.n && rc == CG_OK; i++) {
        for (int k = 0; k < 3; k++) {
            mem[k] = place[mats[k]->slot].buffer->mem;
            q.off[k] = element_offset(p, place, mats[k]->slot) + n[mats[k]->off] + i * n[mats[k]->batch_stride];
        }
        rc = !x->clblast ? mapped_gemm(d, &q, mem, err) : q.k ? enqueue_clblast(d, &q, mem, err) : fill_zero(d, &q, mem[2], err);
        d->super.launches++;
    }
    return rc;
}

/* ---- steps */

static int run_steps(cg_cl *d, exe *x, const cg_plan *p, int from, int to, int64_t *n, const cg_place *place, cg_error *err)
{
    int rc = CG_OK;
    for (int i = from; i < to && rc == CG_OK; i++) {
        const cg_step *s = &p->steps.at[i];
        switch (s->kind) {
        case CG_STEP_LOOP: rc = run_loop(d, &x->at[i], p, i, n, place, err); break;
        case CG_STEP_GEMM: rc = run_gemm(d, x, p, &s->gemm, n, place, err); break;
        case CG_STEP_KERNEL: rc = run_scatter(d, &x->at[i], p, i, n, place, err); break;
        case CG_STEP_COPY: rc = run_copy(d, p, &s->copy, n, place, err); break;
        case CG_STEP_REPEAT:
            for (int64_t t = 0; t < n[s->repeat.count] && rc == CG_OK; t++) {
                cg__nums_step(p, n, &s->repeat, t);
                rc = run_steps(d, x, p, i + 1, i + 1 + s->repeat.nbody, n, place, err);
            }
            i += s->repeat.nbody;
            break;
        }
    }
    return rc;
}

int cg__cl_run(cg_device *dev, void *e, const cg_plan *p, int64_t *n, const cg_place *place, cg_error *err)
{
    cg_cl *d = (cg_cl *)dev;
    const int rc = run_steps(d, e, p, 0, p->steps.n, n, place, err);
    if (rc < 0)
        return rc;
    CL_TRY(err, clFlush(d->queue));
    return CG_OK;
}
