// SPDX-License-Identifier: MIT
/* The CPU backend: memory, scatter-add, the walk over steps. It never starts a compiler.
 *
 * Buffers are host memory; run() is done when it returns. OpenMP loops and products share one pool of threads.
 */
#include <dlfcn.h>
#include <omp.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/blas.h"
#include "backends/cpu/cpu.h"

const cg_vec *cg__cpu_vec(void)
{
#ifdef CG_HAVE_AVX2
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        return &cg__vec_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &cg__vec_avx2;
#endif
    return &cg__vec_baseline;
}

static int cpu_open(cg_device **out, const char *spec, cg_error *err)
{
    const char *mode = secure_getenv("CG_CPU");
    if (*spec)
        return cg__fail(err, CG_EDEVICE, "CG_DEVICE: 'cpu' takes no ':%s'", spec);
    if (mode && strcmp(mode, "baseline") != 0)
        return cg__fail(err, CG_EINVAL, "CG_CPU: '%s' is unknown; there is: baseline", mode);
    cg_cpu *d = cg__zalloc(sizeof *d);
    if (!d)
        return cg__fail(err, CG_ENOMEM, "no memory for a device");
    d->vec = mode ? &cg__vec_baseline : cg__cpu_vec();
    d->threads = cg__threads();
    d->failed = -1;
    d->super = (cg_device){ .backend = &cg__cpu_backend, .name = "cpu", .pid = (long)getpid() };
    cg__device_lock_init(&d->super);
    *out = &d->super;
    return CG_OK;
}

static void cpu_close(cg_device *d)
{
    pthread_mutex_destroy(&d->lock);
    cg__aligned_free(((cg_cpu *)d)->room);
    cg__free(d);
}

static void cpu_describe(cg_strb *out, bool json)
{
    const char *code = (secure_getenv("CG_CPU") ? &cg__vec_baseline : cg__cpu_vec())->name;
    if (json)
        cg__strb(out, "{\"name\": \"cpu\", \"threads\": %d, \"code\": \"%s\"", cg__threads(), code);
    else
        cg__strb(out, "cpu            %d thread%s, %s code, ", cg__threads(), cg__threads() == 1 ? "" : "s", code);
    cg__blas_describe(out, json);
    if (json)
        cg__strb(out, "}");
}

static int cpu_alloc(cg_device *d, cg_buffer *b, size_t bytes, cg_error *err)
{
    (void)d;
    b->mem = cg__aligned(bytes);
    return b->mem ? CG_OK : cg__fail(err, CG_ENOMEM, "cpu: no memory for a buffer of %zu bytes", bytes);
}

static void cpu_release(cg_device *d, cg_buffer *b)
{
    (void)d;
    cg__aligned_free(b->mem);
}

static int cpu_write(cg_device *d, cg_buffer *b, size_t off, const void *src, size_t bytes, cg_error *err)
{
    (void)d, (void)err;
    memcpy((char *)b->mem + off, src, bytes);
    return CG_OK;
}

static int cpu_read(cg_device *d, cg_buffer *b, size_t off, void *dst, size_t bytes, cg_error *err)
{
    (void)d, (void)err;
    if (bytes)
        memcpy(dst, (const char *)b->mem + off, bytes);
    return CG_OK;
}

static int cpu_copy(cg_device *d, cg_buffer *to, const cg_buffer *from, size_t bytes, cg_error *err)
{
    (void)d, (void)err;
    memcpy(to->mem, from->mem, bytes);
    return CG_OK;
}

/* A loop's work room stays with the device: fresh memory costs a page fault every 4096 bytes. It is there before a plan runs, for no loop may
 * fail behind a step that changed a variable. */
static bool reserve_room(cg_cpu *d, size_t bytes)
{
    char *room = bytes > d->room_bytes ? cg__aligned(bytes) : d->room;
    if (!room)
        return false;
    if (room != d->room)
        cg__aligned_free(d->room);
    d->room = room;
    d->room_bytes = bytes > d->room_bytes ? bytes : d->room_bytes;
    return true;
}

/* What is made of a plan before it runs: the code of each LOOP, by step. */
typedef struct exe { cg_arena arena; const cg_cpu_code **code; } exe;

static void cpu_unprepare(cg_device *d, void *made)
{
    exe *x = made;
    (void)d;
    if (x)
        cg__arena_free(&x->arena);
    cg__free(x);
}

static int cpu_prepare(cg_device *d, const cg_plan *p, void **made, cg_error *err)
{
    exe *x = cg__zalloc(sizeof *x);
    int rc = CG_OK;
    if (!x || !(x->code = cg__arena(&x->arena, (size_t)(p->steps.n + 1) * sizeof *x->code)))
        rc = cg__fail(err, CG_ENOMEM, "cpu: no memory for a plan");
    for (int i = 0; i < p->steps.n && rc == CG_OK; i++)
        if (p->steps.at[i].kind == CG_STEP_LOOP && !(x->code[i] = cg__cpu_code(&x->arena, ((cg_cpu *)d)->vec, p, &p->steps.at[i].loop, err)))
            rc = CG_ENOMEM;
    for (int i = 0; i < p->steps.n && rc == CG_OK; i++)
        if (x->code[i] && !reserve_room((cg_cpu *)d, cg__cpu_loop_room((cg_cpu *)d, x->code[i])))
            rc = cg__fail(err, CG_ENOMEM, "cpu: no memory for the blocks of a loop");
    if (rc == CG_OK)
        *made = x;
    else
        cpu_unprepare(d, x);
    return rc;
}

static char *at(const cg_place *place, int slot, int64_t element, cg_dtype d)
{
    return (char *)place[slot].buffer->mem + place[slot].offset + element * (int64_t)cg__dtypes[d].bytes;
}

/* ---- GEMM */

static int gemm(const cg_gemm *g, const int64_t *n, const cg_place *place, cg_error *err)
{
    const cg_mat *mats[3] = { &g->a, &g->b, &g->c };
    cg_product p;
    const int rc = cg__product(&p, g, n, err);
    if (rc != CG_OK || cg__product_empty(&p))
        return rc;
    for (int k = 0; k < 3; k++)
        p.base[k] = at(place, mats[k]->slot, n[mats[k]->off], g->dtype);
    cg__product_run(&p);
    return CG_OK;
}

/* ---- rows by number, in the order of the numbers */

static void add_row(char *out, const char *src, cg_dtype d, int64_t cols)
{
    for (int64_t j = 0; j < cols; j++) {
        if (d == CG_F32)
            ((float *)out)[j] += ((const float *)src)[j];
        else if (d == CG_F64)
            ((double *)out)[j] += ((const double *)src)[j];
        else {
            const int64_t k = j * (int64_t)cg__dtypes[d].bytes;
            if (cg__is_float(d))
                cg__store_f64(out + k, d, (double)((float)cg__load_f64(out + k, d) + (float)cg__load_f64(src + k, d)));
            else
                cg__store_i64(out + k, d, (int64_t)((uint64_t)cg__load_i64(out + k, d) + (uint64_t)cg__load_i64(src + k, d)));
        }
    }
}

static void row_numbers(cg_cpu *d, const cg_plan *p, int step, const int64_t *n, const cg_place *place)
{
    const cg_kernel *k = &p->steps.at[step].kernel;
    const cg_dtype t = p->slots.at[k->slots[1]].dtype;
    const int64_t count = n[k->nums[0]], rows = n[k->nums[1]], idx = n[k->nums[3]];
    int64_t *out = (int64_t *)(void *)at(place, k->slots[0], n[k->nums[2]], CG_I64);
    for (int64_t i = 0; i < count; i++) {
        const int64_t r = cg__load_i64(at(place, k->slots[1], idx + i, t), t);
        const bool good = r >= -rows && r < rows;
        out[i] = !good ? -1 : r < 0 ? r + rows : r;
        if (!good && d->failed < 0)
            d->failed = cg__failure(step, 0);
    }
}

static void write_rows(const cg_plan *p, const cg_kernel *k, const int64_t *n, const cg_place *place)
{
    const cg_dtype t = p->slots.at[k->slots[0]].dtype;
    const int64_t cols = n[k->nums[0]], count = n[k->nums[1]], rows = n[k->nums[2]], inner = n[k->nums[3]], out = n[k->nums[4]], src = n[k->nums[6]];
    const int64_t *row = (const int64_t *)(const void *)at(place, k->slots[1], n[k->nums[5]], CG_I64);
    for (int64_t o = 0; o * inner < cols; o++)
        for (int64_t i = 0; i < count; i++) {
            char *to = row[i] < 0 ? NULL : at(place, k->slots[0], out + (o * rows + row[i]) * inner, t);
            const char *from = at(place, k->slots[2], src + (o * count + i) * inner, t);
            if (to && k->id == CG_K_ADD_ROWS)
                add_row(to, from, t, inner);
            else if (to)
                memcpy(to, from, (size_t)inner * cg__dtypes[t].bytes);
        }
}

static void kernel(cg_cpu *d, const cg_plan *p, int step, const int64_t *n, const cg_place *place)
{
    const cg_kernel *k = &p->steps.at[step].kernel;
    if (k->id == CG_K_ROW_NUMBERS)
        row_numbers(d, p, step, n, place);
    else
        write_rows(p, k, n, place);
}

/* ---- steps */

static void copy(const cg_plan *p, const cg_copy *c, const int64_t *n, const cg_place *place)
{
    const cg_dtype d = p->slots.at[c->from].dtype;
    if (n[c->count] > 0)
        memmove(at(place, c->to, n[c->to_off], d), at(place, c->from, n[c->from_off], d), (size_t)n[c->count] * cg__dtypes[d].bytes);
}

static int repeat(cg_cpu *d, const exe *x, const cg_plan *p, int step, const cg_num_env *env, int64_t *n, const cg_place *place, cg_error *err);
static void fetch(const cg_plan *p, const cg_fetch *r, int64_t *n, const cg_place *place)
{
    const cg_dtype d = p->slots.at[r->slot].dtype;
    n[r->to] = cg__load_i64(at(place, r->slot, n[r->off], d), d);
}

/* Steps from..to-1; a REPEAT's body are the steps after it. Nesting is as deep as loops are nested, not as graphs are deep. */
static int run_steps(cg_cpu *d, const exe *x, const cg_plan *p, int from, int to, const cg_num_env *env, int64_t *n, const cg_place *place, cg_error *err)
{
    int rc = CG_OK;
    for (int i = from; i < to && rc == CG_OK; i++) {
        const cg_step *s = &p->steps.at[i];
        switch (s->kind) {
        case CG_STEP_LOOP: cg__cpu_loop(d, p, x->code[i], i, n, place); break;
        case CG_STEP_GEMM: rc = gemm(&s->gemm, n, place, err); break;
        case CG_STEP_KERNEL: kernel(d, p, i, n, place); break;
        case CG_STEP_COPY: copy(p, &s->copy, n, place); break;
        case CG_STEP_REPEAT:
            rc = repeat(d, x, p, i, env, n, place, err);
            i += s->repeat.nbody;
            break;
        case CG_STEP_BRANCH: i += (n[s->branch.test] != 0) == s->branch.side ? 0 : s->branch.nbody; continue;
        case CG_STEP_READ: fetch(p, &s->fetch, n, place); continue;
        }
        d->super.launches++;
    }
    return rc;
}

static int repeat(cg_cpu *d, const exe *x, const cg_plan *p, int step, const cg_num_env *env, int64_t *n, const cg_place *place, cg_error *err)
{
    const cg_repeat *r = &p->steps.at[step].repeat;
    int rc = CG_OK;
    int64_t t = 0;
    for (bool ended = false; t < n[r->count] && !ended && rc == CG_OK; t++) {
        rc = cg__nums_step(p, env, n, r, t);
        if (rc == CG_OK)
            rc = run_steps(d, x, p, step + 1, step + 1 + r->nbody, env, n, place, err);
        ended = r->until >= 0 && *at(place, r->until, 0, CG_BOOL);
    }
    return rc == CG_OK && r->until >= 0 ? cg__nums_found(p, env, n, r, t) : rc;
}

static int cpu_run(cg_device *dev, void *made, const cg_plan *p, const cg_num_env *env, int64_t *n, const cg_place *place, int64_t call, bool *committed, cg_error *err)
{
    cg_cpu *d = (cg_cpu *)dev;
    (void)call;
    const int rc = run_steps(d, made, p, 0, p->commit, env, n, place, err);
    *committed = rc == CG_OK && d->failed < 0 && p->commit < p->steps.n;
    return *committed ? run_steps(d, made, p, p->commit, p->steps.n, env, n, place, err) : rc;
}

static int cpu_finish(cg_device *dev, int64_t call, int *failed, cg_error *err)
{
    cg_cpu *d = (cg_cpu *)dev;
    (void)call;
    *failed = d->failed;
    d->failed = -1;
    return *failed < 0 ? CG_OK : cg__fail(err, CG_ERUNTIME, "step %d failed", *failed / CG_STEP_VALUES);
}

static void cpu_kernels(const cg_plan *p, void *made, cg_strb *out)
{
    (void)p, (void)made;
    cg__strb(out, "the cpu executor interprets the plan's loops; it has no kernels\n");
}

const cg_backend cg__cpu_backend = {
    .name = "cpu", .open = cpu_open, .close = cpu_close, .describe = cpu_describe, .alloc = cpu_alloc, .release = cpu_release,
    .write = cpu_write, .read = cpu_read, .copy = cpu_copy, .prepare = cpu_prepare, .unprepare = cpu_unprepare, .run = cpu_run, .finish = cpu_finish, .immediate = true,
    .kernels = cpu_kernels,
};
