// SPDX-License-Identifier: MIT
/* Preparing and running plans: one program for all kernels that the device lacks, launches in order. */
#include "backends/opencl/opencl.h"
#include <stdlib.h>

typedef struct kernel { cl_kernel k; cg_cl_numbers nums; char *text; uint64_t hash; } kernel;
typedef struct exe { kernel *at; int n; bool native; } exe;

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
    x->native = d->native && !(want && strcmp(want, "clblast") == 0);
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
    const cl_mem mem = cg__cl_mem(b);
    CL_TRY(err, clSetKernelArg(k, i, sizeof mem, &mem));
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
        v.at[i] = element_offset(p, place, s->slots[i]);
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
        CL_TRY(err, clEnqueueCopyBuffer(d->queue, cg__cl_mem(place[c->from].buffer), cg__cl_mem(place[c->to].buffer), place[c->from].offset + (size_t)n[c->from_off] * item,
                                        place[c->to].offset + (size_t)n[c->to_off] * item, (size_t)n[c->count] * item, 0, NULL, NULL));
    return CG_OK;
}

/* ---- steps */

static int run_steps(cg_cl *d, exe *x, const cg_plan *p, int from, int to, int64_t *n, const cg_place *place, cg_error *err)
{
    int rc = CG_OK;
    for (int i = from; i < to && rc == CG_OK; i++) {
        const cg_step *s = &p->steps.at[i];
        switch (s->kind) {
        case CG_STEP_LOOP: rc = run_loop(d, &x->at[i], p, i, n, place, err); break;
        case CG_STEP_GEMM: rc = cg__cl_gemm(d, x->native, &s->gemm, n, place, err); break;
        case CG_STEP_KERNEL: rc = run_scatter(d, &x->at[i], p, i, n, place, err); break;
        case CG_STEP_COPY: rc = run_copy(d, p, &s->copy, n, place, err); break;
        case CG_STEP_REPEAT:
            for (int64_t t = 0; t < n[s->repeat.count] && rc == CG_OK; t++) {
                cg__nums_step(p, n, s->repeat.index, t);
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
