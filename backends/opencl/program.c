// SPDX-License-Identifier: MIT
/* Texts become kernels: what the device lacks is built as one program and kept by its text, so functions share it. */
#include "backends/opencl/opencl.h"
#include <stdlib.h>

static uint64_t hash_of(const cg_cl_text *t) { return cg__hash(t->text, strlen(t->text), 3); }

static cl_program known(const cg_cl *d, const cg_cl_text *t)
{
    const uint64_t h = hash_of(t);
    for (int i = 0; i < d->programs.n; i++)
        if (d->programs.at[i].hash == h && strcmp(d->programs.at[i].text, t->text) == 0)
            return d->programs.at[i].program;
    return NULL;
}

/* ---- building */

static int build_failed(cg_cl *d, cl_program program, cl_int rc, cg_error *err)
{
    char *log = NULL;
    size_t n = 0;
    clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &n);
    if (n && n < 1 << 20 && (log = cg__zalloc(n + 1)))
        clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, n, log, NULL);
    if (log)
        cg__log("%s", log);
    cg__fail(err, CG_EBUILD, "opencl: clBuildProgram failed on %s: %s (%d): %s", d->super.name, cg__cl_error_name(rc), (int)rc, log && *log ? log : "no build log");
    cg__free(log);
    return CG_EBUILD;
}

static int build(cg_cl *d, const char *source, cl_program *out, cg_error *err)
{
    cl_int rc;
    cl_program program = clCreateProgramWithSource(d->context, 1, &source, NULL, &rc);
    if (!program)
        return cg__cl_fail(err, rc, "clCreateProgramWithSource");
    /* -w: PoCL prints warnings, as of hints that come to nothing in one of its passes. */
    rc = clBuildProgram(program, 1, &d->id, d->rounded ? "-w -cl-fp32-correctly-rounded-divide-sqrt" : "-w", NULL, NULL);
    if (rc != CL_SUCCESS) {
        const int code = build_failed(d, program, rc, err);
        clReleaseProgram(program);
        return code;
    }
    *out = program;
    return CG_OK;
}

/* The texts that the device lacks, once each; the number of them, or a status. */
static int lacking(const cg_cl *d, cg_cl_kernel *const *k, int n, cg_strb *out)
{
    cg_map seen = { 0 };
    uint64_t v;
    int count = 0;
    for (int i = 0; i < n && count >= 0; i++) {
        if (!k[i]->text.text || known(d, &k[i]->text) || cg__map_get(&seen, hash_of(&k[i]->text), &v))
            continue;
        cg__strb(out, "\n%s", k[i]->text.text);
        count = cg__map_put(&seen, hash_of(&k[i]->text), 1) ? count + 1 : CG_ENOMEM;
    }
    cg__map_free(&seen);
    return count;
}

static int keep(cg_cl *d, cl_program program, cg_cl_kernel *const *k, int n)
{
    for (int i = 0; i < n; i++) {
        if (!k[i]->text.text || known(d, &k[i]->text))
            continue;
        const cg_cl_program entry = { hash_of(&k[i]->text), program, cg__strdup(k[i]->text.text) };
        if (!entry.text || !CG_PUSH(&d->programs, entry)) {
            cg__free(entry.text);
            return CG_ENOMEM;
        }
        clRetainProgram(program);
    }
    return CG_OK;
}

static int build_lacking(cg_cl *d, cg_cl_kernel *const *k, int n, cg_error *err)
{
    cg_strb body = { 0 }, source = { 0 };
    cl_program program = NULL;
    const int count = lacking(d, k, n, &body);
    int rc = count < 0 || body.failed ? CG_ENOMEM : CG_OK;
    char *text = cg__strb_take(&body), *whole = NULL;
    if (rc == CG_OK && count) {
        cg__cl_source(text, &source);
        whole = cg__strb_take(&source);
        rc = whole ? build(d, whole, &program, err) : CG_ENOMEM;
    }
    if (rc == CG_OK && program) {
        rc = keep(d, program, k, n);
        d->super.kernels_built += rc == CG_OK ? count : 0;
    }
    if (program)
        clReleaseProgram(program);
    cg__free(text);
    cg__free(whole);
    return rc == CG_ENOMEM ? cg__fail(err, rc, "opencl: no memory for kernels") : rc;
}

static int make_kernels(cg_cl *d, cg_cl_kernel *const *k, int n, cg_error *err)
{
    int rc = build_lacking(d, k, n, err);
    for (int i = 0; i < n && rc == CG_OK; i++) {
        cl_int code;
        if (!k[i]->text.text)
            continue;
        k[i]->k = clCreateKernel(known(d, &k[i]->text), k[i]->text.name, &code);
        rc = k[i]->k ? CG_OK : cg__cl_fail(err, code, "clCreateKernel");
    }
    return rc;
}

/* ---- texts */

static void drop_text(cg_cl_text *t)
{
    cg__free(t->name);
    cg__free(t->text);
    t->name = t->text = NULL;
}

/* The texts of a group's members. They are one text, unless numbers that are equal in one member differ in another: *same. */
static int group_text(const cg_cl *d, const cg_plan *p, const cg_cl_exe *x, int step, int n, bool wide, bool *same, cg_error *err)
{
    const cg_cl_text *first = &x->at[step][wide].text;
    int rc = CG_OK;
    *same = true;
    for (int m = 0; m < n && rc == CG_OK; m++) {
        cg_cl_text *t = &x->at[step + m][wide].text;
        rc = cg__cl_step_text(p, &p->steps.at[step + m], n, d->gpu, wide, t, err);
        *same = *same && rc == CG_OK && (!first->text || strcmp(t->text, first->text) == 0);
    }
    for (int m = 1; m < n; m++)
        drop_text(&x->at[step + m][wide].text);
    return rc;
}

int cg__cl_wide(cg_cl *d, const cg_plan *p, const cg_cl_exe *x, int step, cg_error *err)
{
    cg_cl_kernel *k = &x->at[step][1];
    bool same;
    const int rc = group_text(d, p, x, step, x->group[step], true, &same, err);
    return rc < 0 ? rc : make_kernels(d, &k, 1, err);
}

/* Of the step, and of the group that it begins. */
static int texts(const cg_cl *d, const cg_plan *p, cg_cl_exe *x, int step, cg_error *err)
{
    const int n = p->steps.at[step].group > 1 ? p->steps.at[step].group : 1;
    bool same;
    int rc = group_text(d, p, x, step, n, false, &same, err);
    x->group[step] = same ? n : 1;
    if (!same)
        drop_text(&x->at[step][0].text);
    for (int m = 0; m < n && !same && rc == CG_OK; m++) {
        x->group[step + m] = 1;
        rc = cg__cl_step_text(p, &p->steps.at[step + m], 1, d->gpu, false, &x->at[step + m][0].text, err);
    }
    return rc;
}

/* ---- plans */

/* Which GEMM: CG_GEMM, else the host's BLAS where it can run in the queue and kernels are not written for a GPU. */
static int choose_gemm(const cg_cl *d, bool *native, cg_error *err)
{
    const char *want = secure_getenv("CG_GEMM");
    *native = d->native && (want ? strcmp(want, "native") == 0 : !d->gpu);
    if (want && strcmp(want, "clblast") != 0 && strcmp(want, "native") != 0)
        return cg__fail(err, CG_EINVAL, "CG_GEMM: '%s' is unknown; there are: native, clblast", want);
    return CG_OK;
}

/* A step that computes in f64 on a device without it. To copy such numbers takes none. */
static int check_f64(const cg_cl *d, const cg_step *s, const char *text, cg_error *err)
{
    const bool needs = s->kind == CG_STEP_GEMM ? s->gemm.dtype == CG_F64 : text && cg__cl_needs_f64(text);
    return d->has_f64 || !needs ? CG_OK : cg__fail(err, CG_EUNSUPPORTED, "opencl: %s has no f64, in which %s is computed; use f32, or CG_DEVICE=cpu", d->super.name, s->origin);
}

static int prepare_steps(cg_cl *d, const cg_plan *p, cg_cl_exe *x, cg_error *err)
{
    cg_cl_kernel **all = cg__zalloc((size_t)(x->n + 1) * sizeof *all);
    int rc = all ? choose_gemm(d, &x->native, err) : cg__fail(err, CG_ENOMEM, "opencl: no memory for kernels");
    for (int i = 0; i < x->n && rc == CG_OK; i++) {
        all[i] = &x->at[i][0];
        rc = x->group[i] || p->steps.at[i].group < 0 ? CG_OK : texts(d, p, x, i, err);
        if (rc == CG_OK)
            rc = check_f64(d, &p->steps.at[i], all[i]->text.text, err);
        x->can_fail = x->can_fail || all[i]->text.can_fail;
    }
    if (rc == CG_OK)
        rc = make_kernels(d, all, x->n, err);
    cg__free(all);
    return rc;
}

int cg__cl_prepare(cg_device *dev, const cg_plan *p, void **out, cg_error *err)
{
    cg_cl_exe *x = cg__zalloc(sizeof *x);
    if (x) {
        x->at = cg__zalloc((size_t)(p->steps.n + 1) * sizeof *x->at);
        x->group = cg__zalloc((size_t)(p->steps.n + 1) * sizeof *x->group);
    }
    if (!x || !x->at || !x->group) {
        cg__free(x ? x->at : NULL);
        cg__free(x ? x->group : NULL);
        cg__free(x);
        return cg__fail(err, CG_ENOMEM, "opencl: no memory for kernels");
    }
    x->n = p->steps.n;
    const int rc = prepare_steps((cg_cl *)dev, p, x, err);
    if (rc < 0)
        cg__cl_unprepare(dev, x);
    else
        *out = x;
    return rc;
}

void cg__cl_unprepare(cg_device *dev, void *p)
{
    cg_cl_exe *x = p;
    (void)dev;
    for (int i = 0; i < 2 * x->n; i++) {
        cg_cl_kernel *k = &x->at[i / 2][i % 2];
        if (k->k)
            clReleaseKernel(k->k);
        drop_text(&k->text);
    }
    cg__free(x->at);
    cg__free(x->group);
    cg__free(x);
}

void cg__cl_kernels(const cg_plan *p, void *e, cg_strb *out)
{
    const cg_cl_exe *x = e;
    for (int i = 0; i < x->n; i++)
        if (x->at[i][0].text.text)
            for (int m = 0; m < x->group[i]; m++)
                cg__strb(out, "// step %d: %s\n%s%s", i + m, p->steps.at[i + m].origin, m + 1 < x->group[i] ? "" : x->at[i][0].text.text, m + 1 < x->group[i] ? "" : "\n");
}
