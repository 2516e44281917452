// SPDX-License-Identifier: MIT
/* Calls under way on a device, and what became of them.
 *
 * A call only enqueues. Whether it went well is known once it has ended: the next call but one waits for it, and a read waits for all. If it
 * failed, whatever it and the calls after it have written is poisoned: arrays carry the number of the call that wrote them, and the numbers
 * from the failed call to the last one sent form a range of bad ones. Calls of a device that is `immediate` end before they count as sent.
 */
#include "core/run/run.h"

enum { UNDER_WAY = 2 };                  /* calls that may be under way while another is enqueued */
typedef struct bad_range { int64_t from, to; } bad_range;
typedef struct cg_calls {
    int64_t next, ended;                 /* numbers from 1; all up to `ended` have been waited for */
    const cg_variant *v[CG_CALLS];       /* of those under way */
    CG_VEC(bad_range) bad;
    cg_error failure;                    /* the last one */
    bool untold;
} cg_calls;

bool cg__calls_open(cg_device *d)
{
    d->calls = cg__zalloc(sizeof *d->calls);
    if (d->calls)
        d->calls->next = 1;
    return d->calls != NULL;
}

void cg__calls_close(cg_device *d)
{
    if (d->calls) {
        cg__calls_settle(d);
        CG_VEC_FREE(&d->calls->bad);
    }
    cg__free(d->calls);
    d->calls = NULL;
}

/* ---- how a call ended */

static int explain(const cg_variant *v, int rc, int failed, const cg_error *device, cg_error *err)
{
    const cg_plan *p = v->low.plan;
    cg_arena words = { 0 };
    if (failed >= 0 && failed / CG_STEP_VALUES < p->steps.n) {
        const cg_step *s = &p->steps.at[failed / CG_STEP_VALUES];
        const cg_val *x = s->kind == CG_STEP_LOOP ? &s->loop.vals[failed % CG_STEP_VALUES] : NULL;
        cg__fail(err, CG_ERUNTIME, "cg_call: '%s': %s in %s", v->f->name, x && x->kind == CG_V_ELEM ? "an integer is divided by zero" : "an index is out of range",
                 cg__label_in(&words, x && x->node ? x->node : s->node));
        cg__arena_free(&words);
        return CG_ERUNTIME;
    }
    return cg__fail(err, (cg_status)rc, "cg_call: '%s': %s", v->f->name, device->text);
}

/* Without memory for another range the last one is stretched: rather too much is poisoned than too little. */
static void poison(cg_calls *c, int64_t from, int64_t to)
{
    bad_range *last = c->bad.n ? &c->bad.at[c->bad.n - 1] : NULL;
    if (last && last->to + 1 >= from)
        last->to = to;
    else if (!CG_PUSH(&c->bad, (bad_range){ from, to }) && last)
        last->to = to;
}

static void end(cg_device *d, int64_t call)
{
    cg_calls *c = d->calls;
    cg_error device = { 0 };
    int failed = -1;
    const int rc = d->backend->finish(d, call, &failed, &device);
    c->ended = call;
    if (rc == CG_OK)
        return;
    c->failure = (cg_error){ 0 };
    explain(c->v[call % CG_CALLS], rc, failed, &device, &c->failure);
    cg__log("%s", c->failure.text);
    poison(c, call, c->next - 1);
    c->untold = true;
}

static void end_up_to(cg_device *d, int64_t call)
{
    while (d->calls->ended < call)
        end(d, d->calls->ended + 1);
}

void cg__calls_settle(cg_device *d)
{
    end_up_to(d, d->calls->next - 1);
}

/* ---- sending */

int cg__calls_ready(cg_device *d, cg_error *err)
{
    cg_calls *c = d->calls;
    end_up_to(d, c->next - UNDER_WAY);
    if (!c->untold)
        return CG_OK;
    c->untold = false;
    return cg__fail(err, c->failure.code, "an earlier call failed; what it and the calls after it wrote is poisoned until set again: %.700s", c->failure.text);
}

int64_t cg__calls_next(const cg_device *d)
{
    return d->calls->next;
}

int cg__calls_sent(cg_device *d, const cg_variant *v, cg_error *err)
{
    cg_calls *c = d->calls;
    cg_error device = { 0 };
    int failed = -1;
    if (d->backend->immediate) {
        const int rc = d->backend->finish(d, c->next, &failed, &device);
        return rc < 0 ? explain(v, rc, failed, &device, err) : CG_OK;
    }
    c->v[c->next++ % CG_CALLS] = v;
    return CG_OK;
}

void cg__calls_forget(cg_device *d, const cg_variant *v)
{
    for (int64_t call = d->calls->ended + 1; call < d->calls->next; call++)
        if (d->calls->v[call % CG_CALLS] == v)
            end_up_to(d, call);
}

int cg__calls_check(const cg_device *d, int64_t call, cg_error *err)
{
    cg_calls *c = d->calls;
    for (int i = c->bad.n - 1; i >= 0 && call; i--)
        if (c->bad.at[i].from <= call && call <= c->bad.at[i].to) {
            c->untold = false;
            return cg__fail(err, c->failure.code, "it was written by a call that failed, or after one, and is poisoned until set again: %.700s", c->failure.text);
        }
    return CG_OK;
}

CG_API int cg_device_wait(cg_device *d)
{
    cg_error err = { 0 };
    if (!d) {
        cg__fail(&err, CG_EINVAL, "cg_device_wait: the device is NULL");
        return cg__set_last(&err);
    }
    pthread_mutex_lock(&d->lock);
    cg__calls_settle(d);
    const int rc = cg__calls_ready(d, &err);
    pthread_mutex_unlock(&d->lock);
    return rc < 0 ? cg__set_last(&err) : CG_OK;
}
