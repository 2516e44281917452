// SPDX-License-Identifier: MIT
/* Runs plans: each step one launch (or one product, one copy); nothing waits, but a loop with until for the bool that ends it. How a call ended is asked of the events of its commands,
 * since a failed kernel is silent on PoCL, and of its status word, where steps write what met an index out of range or divided by zero. */
#include "backends/opencl/opencl.h"
#include <limits.h>

/* ---- numbers: 32 bits wide while every number, address and count is small */

enum { SMALL = 1 << 30 };

typedef struct launch {
    const cg_plan *p;
    const cg_cl_exe *x;
    const cg_num_env *env;
    const int64_t *n;
    const cg_place *place;
    int step, word;                      /* word: the call's status word */
} launch;

static int64_t first_element(const launch *a, int slot)
{
    return (int64_t)(a->place[slot].offset / cg__dtypes[a->p->slots.at[slot].dtype].bytes);
}

static double larger(double a, double b) { return a > b ? a : b; }
static double magnitude(int64_t v) { return v < 0 ? -(double)v : (double)v; }

/* The greatest magnitude that off + sum c[k] * i[k], or a part of it, may reach. */
static double reach(const launch *a, const cg_loop *l, double from, cg_num off, const cg_num *c)
{
    from += magnitude(a->n[off]);
    for (int k = 0; k < l->naxes; k++)
        if (c[k] != CG_NUM_NONE)
            from += magnitude(a->n[c[k]]) * (double)a->n[l->extent[k]];
    return from;
}

static double greatest(const launch *a, const cg_loop *l)
{
    double most = 0;
    for (int k = 0; k < l->noperands; k++) {
        const cg_operand *o = &l->operands[k];
        double r = reach(a, l, (double)first_element(a, o->slot), o->off, o->stride);
        if (o->gather >= 0)
            r += (magnitude(a->n[o->gather_limit]) + 1) * (magnitude(a->n[o->gather_stride]) + 1);
        most = larger(most, r);
        for (int w = 0; w < o->nwindows; w++)
            most = larger(most, reach(a, l, 0, o->window[w].c0, o->window[w].c));
    }
    return most;
}

static int operand_slot(const cg_step *s, int k) { return s->kind == CG_STEP_LOOP ? s->loop.operands[k].slot : s->kernel.slots[k]; }
static int noperands(const cg_step *s) { return s->kind == CG_STEP_LOOP ? s->loop.noperands : s->kernel.nslots; }

static int64_t number(const launch *a, cg_cl_number q)
{
    const cg_step *s = &a->p->steps.at[a->step];
    if (!q.base)
        return a->n[q.id];
    return first_element(a, operand_slot(s, q.id)) + a->n[s->kind == CG_STEP_LOOP ? s->loop.operands[q.id].off : s->kernel.nums[s->kernel.nnums - s->kernel.nslots + q.id]];
}

/* ---- launches */

typedef union packed { int32_t narrow[CG_CL_NUMBERS + 2]; int64_t wide[CG_CL_NUMBERS + 2]; } packed;

/* The numbers of a member at place `from` of the struct; how many there are then. */
static int pack(const launch *a, const cg_cl_text *t, packed *v, int from)
{
    const int n = t->n + (t->can_fail ? 2 : 0);
    for (int i = 0; i < n; i++) {
        const int64_t x = i < t->n ? number(a, t->num[i]) : i == t->n ? cg__failure(a->step, 0) : a->word;
        if (t->wide)
            v->wide[from + i] = x;
        else
            v->narrow[from + i] = (int32_t)x;
    }
    return from + n;
}

static int set_arguments(cg_cl *d, cl_kernel k, const launch *a, bool wide, cg_error *err)
{
    const cg_cl_text *t = &a->x->at[a->step][wide].text;
    packed v;
    cl_uint next = 1;
    int n = 0;
    for (int m = 0; m < a->x->group[a->step]; m++) {
        launch one = *a;
        one.step += m;
        const cg_step *s = &a->p->steps.at[one.step];
        n = pack(&one, &a->x->at[one.step][wide].text, &v, n);
        for (int i = 0; i < noperands(s); i++) {
            const cl_mem mem = cg__cl_mem(a->place[operand_slot(s, i)].buffer);
            CL_TRY(err, clSetKernelArg(k, next++, sizeof mem, &mem));
        }
    }
    CL_TRY(err, clSetKernelArg(k, 0, (size_t)n * (wide ? 8 : 4), &v));
    if (t->can_fail)
        CL_TRY(err, clSetKernelArg(k, next, sizeof d->status, &d->status));
    return CG_OK;
}

enum { GROUP = 64, GROUPS_A_UNIT = 32 };

/* gpu: a work-group a point, or a work-item a point. cpu: items enough for all units, few enough that each has work for some microseconds. */
static size_t items_for(const cg_cl *d, bool groups, double points, double work)
{
    const double most = d->gpu ? (double)GROUPS_A_UNIT * d->units : 4.0 * d->units;
    const double fair = !d->gpu ? work / 4096 + 1 : groups ? points : points / GROUP + 1;
    double n = fair < most ? fair : most;
    n = n < points ? n : points;
    return (size_t)(n > 1 ? n : 1) * (d->gpu ? GROUP : 1);
}

static int enqueue(cg_cl *d, const launch *a, bool groups, double outer, double work, double most, cg_error *err)
{
    const size_t local = d->gpu ? GROUP : 1, global = items_for(d, groups, outer, work);
    const bool wide = most > SMALL;
    const cg_cl_kernel *k = &a->x->at[a->step][wide];
    int rc = k->k ? CG_OK : cg__cl_wide(d, a->p, a->x, a->step, err);
    if (rc == CG_OK)
        rc = set_arguments(d, k->k, a, wide, err);
    if (rc < 0)
        return rc;
    cl_event e;
    CL_TRY(err, clEnqueueNDRangeKernel(d->queue, k->k, 1, NULL, &global, &local, 0, NULL, &e));
    d->super.launches++;
    return cg__cl_sent(d, e, err);
}

/* What decides how a loop is launched; for a group the largest number and member, and the work of all. */
typedef struct extents { double outer, work, most; } extents;

static void add_member(const launch *a, extents *e)
{
    const cg_loop *l = &a->p->steps.at[a->step].loop;
    const cg_cl_text *t = &a->x->at[a->step][0].text;
    double outer = 1, inner = 1, most = greatest(a, l);
    for (int i = 0; i < l->naxes; i++)
        *(i < l->nouter ? &outer : &inner) *= (double)a->n[l->extent[i]];
    for (int i = 0; i < t->n && outer >= 1; i++)
        most = larger(most, magnitude(number(a, t->num[i])));
    e->most = larger(e->most, larger(most, larger(outer, inner)));
    e->outer = larger(e->outer, outer);
    e->work += outer * (inner > 1 ? inner : 1) * l->nvals;
}

static int run_loop(cg_cl *d, const launch *a, cg_error *err)
{
    const cg_loop *l = &a->p->steps.at[a->step].loop;
    extents e = { 0 };
    for (int m = 0; m < a->x->group[a->step]; m++) {
        launch one = *a;
        one.step += m;
        add_member(&one, &e);
    }
    return e.outer < 1 ? CG_OK : enqueue(d, a, l->naxes > l->nouter && !l->columns, e.outer, e.work, e.most, err);
}

static int run_kernel(cg_cl *d, const launch *a, cg_error *err)
{
    const cg_cl_text *t = &a->x->at[a->step][0].text;
    const cg_kernel *s = &a->p->steps.at[a->step].kernel;
    const double points = (double)a->n[s->nums[0]], second = (double)a->n[s->nums[1]], work = s->id == CG_K_ROW_NUMBERS ? points : points * second;
    double most = s->id == CG_K_ROW_NUMBERS ? 0 : points * (second + (double)a->n[s->nums[2]]);
    for (int i = 0; i < t->n; i++)
        most += magnitude(number(a, t->num[i]));
    return work < 1 ? CG_OK : enqueue(d, a, false, points, work, most, err);
}

static int run_copy(cg_cl *d, const launch *a, cg_error *err)
{
    const cg_copy *c = &a->p->steps.at[a->step].copy;
    const size_t item = cg__dtypes[a->p->slots.at[c->from].dtype].bytes;
    cl_event e;
    if (a->n[c->count] < 1)
        return CG_OK;
    CL_TRY(err, clEnqueueCopyBuffer(d->queue, cg__cl_mem(a->place[c->from].buffer), cg__cl_mem(a->place[c->to].buffer), a->place[c->from].offset + (size_t)a->n[c->from_off] * item,
                                    a->place[c->to].offset + (size_t)a->n[c->to_off] * item, (size_t)a->n[c->count] * item, 0, NULL, &e));
    return cg__cl_sent(d, e, err);
}

/* The one step that waits: for all commands before it. */
static int fetch(cg_cl *d, const launch *a, int64_t *n, cg_error *err)
{
    const cg_fetch *r = &a->p->steps.at[a->step].fetch;
    const cg_dtype t = a->p->slots.at[r->slot].dtype;
    const size_t item = cg__dtypes[t].bytes;
    int64_t room = 0;
    CL_TRY(err, clEnqueueReadBuffer(d->queue, cg__cl_mem(a->place[r->slot].buffer), CL_TRUE, a->place[r->slot].offset + (size_t)n[r->off] * item, item, &room, 0, NULL, NULL));
    n[r->to] = cg__load_i64(&room, t);
    return CG_OK;
}

/* ---- steps */

static int repeat(cg_cl *d, launch a, int64_t *n, cg_error *err);

static int run_steps(cg_cl *d, launch a, int from, int to, int64_t *n, cg_error *err)
{
    int rc = CG_OK;
    for (int i = from; i < to && rc == CG_OK; i++) {
        const cg_step *s = &a.p->steps.at[i];
        a.step = i;
        switch (s->kind) {
        case CG_STEP_LOOP:
            rc = run_loop(d, &a, err);
            i += a.x->group[i] - 1;
            break;
        case CG_STEP_GEMM: rc = cg__cl_gemm(d, a.x->native, &s->gemm, n, a.place, err); break;
        case CG_STEP_KERNEL: rc = run_kernel(d, &a, err); break;
        case CG_STEP_COPY: rc = run_copy(d, &a, err); break;
        case CG_STEP_REPEAT:
            rc = repeat(d, a, n, err);
            i += s->repeat.nbody;
            break;
        case CG_STEP_BRANCH: i += (n[s->branch.test] != 0) == s->branch.side ? 0 : s->branch.nbody; break;
        case CG_STEP_READ: rc = fetch(d, &a, n, err); break;
        }
    }
    return rc;
}

static int read_bool(cg_cl *d, const cg_place *at, bool *out, cg_error *err)
{
    unsigned char byte = 0;
    CL_TRY(err, clEnqueueReadBuffer(d->queue, cg__cl_mem(at->buffer), CL_TRUE, at->offset, sizeof byte, &byte, 0, NULL, NULL));
    *out = byte != 0;
    return CG_OK;
}

static int repeat(cg_cl *d, launch a, int64_t *n, cg_error *err)
{
    const cg_repeat *r = &a.p->steps.at[a.step].repeat;
    int rc = CG_OK;
    int64_t t = 0;
    for (bool ended = false; t < n[r->count] && !ended && rc == CG_OK; t++) {
        rc = cg__nums_step(a.p, a.env, n, r, t);
        if (rc == CG_OK)
            rc = run_steps(d, a, a.step + 1, a.step + 1 + r->nbody, n, err);
        if (rc == CG_OK && r->until >= 0)
            rc = read_bool(d, &a.place[r->until], &ended, err);
    }
    return rc == CG_OK && r->until >= 0 ? cg__nums_found(a.p, a.env, n, r, t) : rc;
}

/* ---- calls in flight */

enum { MANY_COMMANDS = 512 };

int cg__cl_status(cl_event command, cg_error *err)
{
    cl_int status = CL_COMPLETE;
    const cl_int rc = clGetEventInfo(command, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL);
    return status < 0 || rc < 0 ? cg__cl_fail(err, rc < 0 ? rc : status, "a command") : CG_OK;
}

/* Of many commands those that have ended well need no further look. */
static void drop_complete(cg_cl_call *c)
{
    int kept = 0;
    for (int i = 0; i < c->commands.n; i++) {
        cl_int status = CL_QUEUED;
        clGetEventInfo(c->commands.at[i], CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL);
        if (status == CL_COMPLETE)
            clReleaseEvent(c->commands.at[i]);
        else
            c->commands.at[kept++] = c->commands.at[i];
    }
    c->commands.n = kept;
}

int cg__cl_sent(cg_cl *d, cl_event command, cg_error *err)
{
    if (d->next.commands.n % MANY_COMMANDS == MANY_COMMANDS - 1)
        drop_complete(&d->next);
    if (CG_PUSH(&d->next.commands, command))
        return CG_OK;
    clReleaseEvent(command);
    return cg__fail(err, CG_ENOMEM, "opencl: no memory for a command");
}

void cg__cl_forget(cg_cl_call *c)
{
    for (int i = 0; i < c->commands.n; i++)
        clReleaseEvent(c->commands.at[i]);
    for (int i = 0; i < c->staged.n; i++)
        cg__aligned_free(c->staged.at[i]);
    CG_VEC_FREE(&c->commands);
    CG_VEC_FREE(&c->staged);
}

/* The last command of a call: its status comes back, or a mark to wait for. */
static int end_call(cg_cl *d, const cg_cl_exe *x, int word, cg_error *err)
{
    int *status = &d->call[word].word;
    cl_event e;
    *status = INT_MAX;
    if (x->can_fail)
        CL_TRY(err, clEnqueueReadBuffer(d->queue, d->status, CL_FALSE, (size_t)word * sizeof *status, sizeof *status, status, 0, NULL, &e));
    else
        CL_TRY(err, clEnqueueMarkerWithWaitList(d->queue, 0, NULL, &e));
    const int rc = cg__cl_sent(d, e, err);
    if (rc == CG_OK)
        CL_TRY(err, clFlush(d->queue));
    return rc;
}

/* After a failure: what runs may still write the word. */
static void clear_word(cg_cl *d, int word)
{
    const int none = INT_MAX;
    clFinish(d->queue);
    clEnqueueWriteBuffer(d->queue, d->status, CL_TRUE, (size_t)word * sizeof none, sizeof none, &none, 0, NULL, NULL);
}

int cg__cl_run(cg_device *dev, void *e, const cg_plan *p, const cg_num_env *env, int64_t *n, const cg_place *place, int64_t call, bool *committed, cg_error *err)
{
    cg_cl *d = (cg_cl *)dev;
    const int word = (int)(call % CG_CALLS);
    const launch a = { p, e, env, n, place, 0, word };
    int rc = run_steps(d, a, 0, p->commit, n, err);
    *committed = rc == CG_OK && p->commit < p->steps.n;
    if (*committed)
        rc = run_steps(d, a, p->commit, p->steps.n, n, err);
    if (rc == CG_OK)
        rc = end_call(d, e, word, err);
    if (rc < 0) {
        clear_word(d, word);
        cg__cl_forget(&d->next);
        return rc;
    }
    d->call[word].commands = d->next.commands;
    d->call[word].staged = d->next.staged;
    memset(&d->next, 0, sizeof d->next);
    return CG_OK;
}

int cg__cl_finish(cg_device *dev, int64_t call, int *failed, cg_error *err)
{
    cg_cl *d = (cg_cl *)dev;
    cg_cl_call *c = &d->call[call % CG_CALLS];
    *failed = -1;
    const cl_int waited = clWaitForEvents(1, &c->commands.at[c->commands.n - 1]);
    int rc = CG_OK;
    for (int i = 0; i < c->commands.n && rc == CG_OK; i++)
        rc = cg__cl_status(c->commands.at[i], err);
    if (rc == CG_OK && waited != CL_SUCCESS)
        rc = cg__cl_fail(err, waited, "clWaitForEvents");
    if (rc == CG_OK && c->word != INT_MAX) {
        *failed = c->word;
        rc = cg__fail(err, CG_ERUNTIME, "step %d failed", c->word / CG_STEP_VALUES);
    }
    if (rc < 0)
        clear_word(d, (int)(call % CG_CALLS));
    cg__cl_forget(c);
    return rc;
}
