// SPDX-License-Identifier: MIT
/* The training loop: epochs over a data set in a new order each. All that a run changes is in the net and in its cg_fit_state, so it may go on anywhere. */
#include <math.h>
#include "core/nn/nn.h"

typedef struct run {
    const cg_fit_spec *o;
    cg_fit_state *s;
    cg_progress p;
    int64_t *rows;                       /* of an epoch in their order; not where a loader has them */
    double rate;                         /* that the net has */
} run;

int64_t cg__fit_batch(const cg_fit_spec *o) { return o->loader ? cg__loader_batch(o->loader) : o->batch; }
int64_t cg__fit_rows(const cg_fit_spec *o) { return o->loader ? cg__loader_rows(o->loader) : cg_array_count(o->order); }

int cg__fit_check(const cg_fit_spec *o, const char *caller)
{
    if (!o || o->struct_size != sizeof *o || (o->schedule && o->schedule->struct_size != sizeof *o->schedule))
        return cg__nn_fail(CG_EINVAL, "%s: the options are not made by CG_FIT and CG_SCHEDULE of this version", caller);
    if (!o->loader && (!o->order || o->batch < 1 || cg_array_dtype(o->order) != CG_I64))
        return cg__nn_fail(CG_EINVAL, "%s: needs a loader, or an order in i64 and batches of at least 1 row, got %lld", caller, (long long)o->batch);
    if (o->schedule && !o->net)
        return cg__nn_fail(CG_EINVAL, "%s: a schedule needs the net", caller);
    return CG_OK;
}

/* ---- a step */

static int set_rate(run *r, int64_t step)
{
    const double rate = r->o->schedule ? cg_schedule_rate(r->o->schedule, step, r->s->cuts) : r->rate;
    const int rc = rate != r->rate ? cg_net_set_rate(r->o->net, rate) : CG_OK;
    r->rate = rate;
    return rc;
}

static int call_with_index(const run *r, cg_array **out)
{
    const int64_t i = r->p.step - 1;
    cg_array *index = cg_array_new(CG_I64, NULL, 0, &i);
    const int rc = index ? cg_call(r->o->step, CG_ARRAYS(index), out) : (int)cg_last_error()->code;
    cg_array_free(index);
    return rc;
}

static int call_with_batch(const run *r, cg_array **out)
{
    cg_array *const *batch = NULL;
    const int n = cg_loader_next(r->o->loader, &batch);
    return n > 0 ? cg_call(r->o->step, batch, n, out) : n < 0 ? n : cg__nn_fail(CG_EINVAL, "cg_fit: somebody else uses the loader");
}

static int one_step(run *r)
{
    cg_array *out = NULL;
    int rc = set_rate(r, r->s->steps + 1);
    if (rc == CG_OK)
        rc = r->o->loader ? call_with_batch(r, &out) : call_with_index(r, &out);
    const void *v = rc == CG_OK ? cg_array_data(out) : NULL;
    if (rc == CG_OK && !v)
        rc = cg_last_error()->code;
    if (v)
        r->p.loss = cg__load_f64(v, cg_array_dtype(out));
    cg_array_free(out);
    return rc;
}

/* ---- an epoch */

static int shuffle(run *r, int64_t done)
{
    const cg_fit_spec *o = r->o;
    if (o->loader)
        return cg_loader_begin(o->loader, o->seed, r->p.epoch, done);
    const int64_t n = cg_array_count(o->order);
    cg_permutation(r->rows, n, o->seed, r->p.epoch);
    return cg_array_set(o->order, r->rows, (size_t)n * sizeof *r->rows);
}

static int run_steps(run *r, int64_t done)
{
    for (r->p.step = done + 1; r->p.step <= r->p.steps; r->p.step++) {
        int rc = one_step(r);
        if (rc < 0)
            return rc;
        r->s->steps++;
        r->s->sum += r->p.loss;
        r->p.mean = r->s->sum / (double)r->p.step;
        rc = r->o->on_step ? r->o->on_step(r->o->user, &r->p) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

/* Whether the epoch was better than all before, and what follows if not. */
static void weigh(run *r)
{
    cg_fit_state *s = r->s;
    const int64_t plateau = r->o->schedule ? r->o->schedule->plateau : 0;
    const bool better = s->epochs == 0 || isnan(s->best) || r->p.value < s->best;
    s->best = better ? r->p.value : s->best;
    s->since = better ? 0 : s->since + 1;
    s->cuts += !better && plateau > 0 && s->since % plateau == 0;
}

static int end_epoch(run *r)
{
    const cg_fit_spec *o = r->o;
    r->p.step = r->p.steps;
    r->p.value = r->p.mean = r->s->sum / (double)r->p.steps;
    const int rc = o->judge ? o->judge(o->user, &r->p, &r->p.value) : 0;
    if (rc)
        return rc;
    weigh(r);
    r->s->epochs++;
    r->s->sum = 0;
    return o->on_epoch ? o->on_epoch(o->user, &r->p) : 0;
}

static bool has_patience(const run *r) { return r->o->patience <= 0 || r->s->since < r->o->patience; }

static int run_epochs(run *r)
{
    int rc = 0;
    while (!rc && r->s->epochs < r->o->epochs && has_patience(r)) {
        const int64_t done = r->s->steps - r->s->epochs * r->p.steps;
        r->p.epoch = r->s->epochs + 1;
        if (done < 0 || done > r->p.steps)
            return cg__nn_fail(CG_EINVAL, "cg_fit: a state with %lld epochs of %lld steps, but %lld steps", (long long)r->s->epochs, (long long)r->p.steps, (long long)r->s->steps);
        rc = shuffle(r, done);
        rc = rc < 0 ? rc : run_steps(r, done);
        rc = rc ? rc : end_epoch(r);
    }
    return rc;
}

CG_API int cg_fit(const cg_fit_spec *o)
{
    cg_fit_state begin = { 0 };
    if (cg__fit_check(o, "cg_fit") < 0)
        return CG_EINVAL;
    if (!o->step)
        return cg__nn_fail(CG_EINVAL, "cg_fit: needs a step function");
    const int64_t n = cg__fit_rows(o), batch = cg__fit_batch(o);
    run r = { .o = o, .s = o->state ? o->state : &begin, .p = { .steps = n / batch + (n % batch != 0) }, .rate = -1 };
    r.rows = o->loader ? NULL : cg__zalloc((size_t)(n + 1) * sizeof *r.rows);
    const int rc = !o->loader && !r.rows ? cg__nn_fail(CG_ENOMEM, "cg_fit: no memory") : n ? run_epochs(&r) : 0;
    cg__free(r.rows);
    return rc;
}
