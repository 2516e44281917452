// SPDX-License-Identifier: MIT
/* The training loop: epochs over a data set in a new order each. A step is told one integer. */
#include "core/nn/nn.h"

static int one_step(cg_function *step, int64_t i, double *loss)
{
    cg_array *index = cg_array_new(CG_I64, NULL, 0, &i), *out = NULL;
    int rc = index ? cg_call(step, CG_ARRAYS(index), &out) : (int)cg_last_error()->code;
    const void *v = rc == CG_OK ? cg_array_data(out) : NULL;
    if (rc == CG_OK && !v)
        rc = cg_last_error()->code;
    if (v)
        *loss = cg__load_f64(v, cg_array_dtype(out));
    cg_array_free(index);
    cg_array_free(out);
    return rc;
}

/* The steps of an epoch behind the first `done`. */
static int one_epoch(const cg_fit_spec *o, cg_progress *p, int64_t done)
{
    double sum = 0;
    for (p->step = done + 1; p->step <= p->steps; p->step++) {
        int rc = one_step(o->step, p->step - 1, &p->loss);
        if (rc < 0)
            return rc;
        sum += p->loss;
        p->mean = sum / (double)(p->step - done);
        rc = o->on_step ? o->on_step(o->user, p) : 0;
        if (rc)
            return rc;
    }
    p->step = p->steps;
    return o->on_epoch ? o->on_epoch(o->user, p) : 0;
}

CG_API int cg_fit(const cg_fit_spec *o)
{
    if (!o || o->struct_size != sizeof *o)
        return cg__nn_fail(CG_EINVAL, "cg_fit: the options are not made by CG_FIT of this version");
    const int64_t n = cg_array_count(o->order);
    if (!o->step || !o->order || o->batch < 1 || o->done < 0 || cg_array_dtype(o->order) != CG_I64)
        return cg__nn_fail(CG_EINVAL, "cg_fit: needs a step function, an order in i64 batches of at least 1 row and steps done from 0, got %lld and %lld", (long long)o->batch, (long long)o->done);
    int64_t *rows = cg__zalloc((size_t)(n + 1) * sizeof *rows);
    cg_progress p = { .steps = n / o->batch + (n % o->batch != 0) };
    int rc = rows ? 0 : cg__nn_fail(CG_ENOMEM, "cg_fit: no memory");
    const int64_t epochs = p.steps ? o->done / p.steps : 0, steps = p.steps ? o->done % p.steps : 0;
    for (p.epoch = epochs + 1; p.epoch <= o->epochs && !rc; p.epoch++) {
        cg_permutation(rows, n, o->seed, p.epoch);
        rc = cg_array_set(o->order, rows, (size_t)n * sizeof *rows);
        rc = rc < 0 ? rc : one_epoch(o, &p, p.epoch == epochs + 1 ? steps : 0);
    }
    cg__free(rows);
    return rc;
}
