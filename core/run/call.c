// SPDX-License-Identifier: MIT
/* cg_call: inputs to the device, numbers, memory, steps, results.
 *
 * Nothing that outlives the call changes before all that can be refused has been had: updates go to fresh buffers and pointers are exchanged at
 * the end, or they are in place (core/plan/inplace.c), in the plan's last steps. So swaps and errors found by then leave no mixture; should one
 * of those last steps be refused, their variables are poisoned. What fails later is calls.c's: results carry the number of their call.
 */
#include <time.h>
#include <unistd.h>
#include "core/graph/scan.h"
#include "core/run/run.h"

typedef struct run {
    cg_function *f;
    cg_variant *v;               /* for the sizes of this call */
    cg_array **inputs;           /* as the plan wants them: converted where needed */
    bool *made;                  /* which of them are ours */
    cg_place *place;
    cg_buffer **fresh;           /* of each slot, if this call made it */
    cg_buffer *slab;
    cg_array **results;          /* of each root, until they are handed out */
    int64_t call;                /* its number on the device */
    cg_error *err;
    cg_arena words;              /* of messages */
} run;

double cg__now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static const char *label(run *r, const cg_node *n)
{
    return cg__label_in(&r->words, n);
}

/* ---- inputs */

/* From 2^63 on a u64 looks like a negative int64. */
static bool same_integer(const void *p, cg_dtype a, const void *q, cg_dtype b)
{
    const int64_t x = cg__load_i64(p, a);
    return x == cg__load_i64(q, b) && (x >= 0 || (a == CG_U64) == (b == CG_U64));
}

static int convert(run *r, int i, cg_array *a, const cg_node *want)
{
    const cg_dtype to = want->type.dtype;
    const bool down = (cg__is_float(a->dtype) && cg__is_float(to)) || (!cg__is_float(a->dtype) && (cg__is_int(to) || cg__is_float(to)));
    if (r->f->strict || !down)
        return cg__fail(r->err, CG_EDTYPE, "cg_call: '%s': input %s wants %s, got %s", r->f->name, label(r, want), cg__dtypes[to].name, cg__dtypes[a->dtype].name);
    int rc = cg__array_to_host(a, r->err);
    cg_array *c = rc == CG_OK ? cg_array_new(to, a->shape, a->rank, NULL) : NULL;
    if (!c)
        return rc < 0 ? rc : cg__fail(r->err, CG_ENOMEM, "cg_call: no memory");
    const size_t si = cg__dtypes[a->dtype].bytes, so = cg__dtypes[to].bytes;
    for (int64_t k = 0; k < a->count; k++) {
        const char *p = (const char *)a->host + (size_t)k * si;
        char *q = (char *)c->host + (size_t)k * so;
        cg__cast_element(q, to, p, a->dtype);
        if (!cg__is_float(to) && !same_integer(p, a->dtype, q, to)) {
            char v[24];
            snprintf(v, sizeof v, a->dtype == CG_U64 ? "%llu" : "%lld", (long long)cg__load_i64(p, a->dtype));
            cg_array_free(c);
            return cg__fail(r->err, CG_EDTYPE, "cg_call: '%s': %s in input %s does not fit %s", r->f->name, v, label(r, want), cg__dtypes[to].name);
        }
    }
    r->inputs[i] = c;
    r->made[i] = true;
    return CG_OK;
}

static int check_input(run *r, int i, cg_array *a)
{
    const cg_node *want = r->f->inputs[i];
    const cg_type *t = &want->type;
    if (!a)
        return cg__fail(r->err, CG_EINVAL, "cg_call: '%s': input %s is missing (NULL)", r->f->name, label(r, want));
    bool fits = a->rank == t->rank;
    for (int k = 0; fits && k < t->rank; k++)
        fits = t->dim[k].sym || t->dim[k].n == a->shape[k];
    if (!fits) {
        cg_strb s = { 0 };
        for (int k = 0; k < a->rank; k++)
            cg__strb(&s, "%s%lld", k ? "," : "", (long long)a->shape[k]);
        char *text = cg__strb_take(&s);
        cg__fail(r->err, CG_ESHAPE, "cg_call: '%s': input %s got an array of shape [%s]", r->f->name, label(r, want), text ? text : "");
        cg__free(text);
        return CG_ESHAPE;
    }
    r->inputs[i] = a;
    return a->dtype == t->dtype ? CG_OK : convert(r, i, a, want);
}

/* ---- sizes: those that meet fit, and choose the variant */

static int64_t size_now(const run *r, const cg_size *a)
{
    return a->input < 0 ? a->known : r->inputs[a->input]->shape[a->axis];
}

static int unequal(run *r, const cg_node *n, int64_t a, int64_t b)
{
    cg_strb s = { 0 };
    for (int i = 0; i < n->nin; i++)
        cg__strb(&s, "%s%s", i ? " and " : " of ", label(r, n->in[i]));
    cg__fail(r->err, CG_ESHAPE, "cg_call: '%s': sizes %lld and %lld do not fit in %s%s", r->f->name, (long long)a, (long long)b, label(r, n), s.at ? s.at : "");
    cg__strb_free(&s);
    return CG_ESHAPE;
}

static int choose_variant(run *r)
{
    const cg_function *f = r->f;
    uint64_t ones = 0;
    for (int i = 0; i < f->meetings.n; i++) {
        const cg_meeting *m = &f->meetings.at[i];
        const int64_t a = size_now(r, &m->a), b = size_now(r, &m->b);
        if (a != b && !(m->stretches && (a == 1 || b == 1)))
            return unequal(r, m->node, a, b);
    }
    for (int i = 0; i < f->free.n; i++)
        if (size_now(r, &f->free.at[i]) == 1)
            ones |= (uint64_t)1 << i;
    cg_strb said = { 0 };
    r->v = cg__variant(r->f, ones, &said, r->err);
    cg__strb_free(&said);
    return r->v ? CG_OK : r->err->code;
}

/* Earlier calls went well, as far as is known, and so did those that wrote what this one reads. */
static int check_state(run *r)
{
    cg_function *f = r->f;
    cg_error why = { 0 };
    int rc = cg__calls_ready(f->device, &why);
    if (rc < 0)
        return cg__fail(r->err, (cg_status)rc, "cg_call: '%s' is not run: %s", f->name, why.text);
    for (int i = 0; i < f->ninputs && rc == CG_OK; i++)
        if ((rc = cg__array_good(r->inputs[i], &why)) < 0)
            cg__fail(r->err, (cg_status)rc, "cg_call: '%s': input %s: %s", f->name, label(r, f->inputs[i]), why.text);
    for (int i = 0; i < r->v->low.vars.n && rc == CG_OK; i++)
        if ((rc = cg__array_good(r->v->low.vars.at[i]->array, &why)) < 0)
            cg__fail(r->err, (cg_status)rc, "cg_call: '%s': %s: %s", f->name, label(r, r->v->low.vars.at[i]), why.text);
    return rc;
}

/* ---- numbers */

static int64_t env_dim(void *user, int input, int axis) { return ((run *)user)->inputs[input]->shape[axis]; }

static int64_t scalar_of(cg_array *a, run *r)
{
    return cg__array_to_host(a, r->err) == CG_OK ? cg__load_i64(a->host, a->dtype) : 0;
}

static int64_t env_input(void *user, int input) { return scalar_of(((run *)user)->inputs[input], user); }
static int64_t env_shared(void *user, int var) { return scalar_of(((run *)user)->v->low.vars.at[var]->array, user); }
static int64_t env_shared_dim(void *user, int var, int axis) { return ((run *)user)->v->low.vars.at[var]->array->shape[axis]; }

/* A loop's count is what its sequences have rows for, and not negative; a state keeps its sizes. */
static int loop_broken(run *r, const cg_checked *what, int64_t a, int64_t b)
{
    const char *f = r->f->name, *loop = label(r, what->node);
    const cg_scan_view v = cg__scan_view(what->node);
    bool sequence = false;
    for (int i = 0; i < v.nseq; i++)
        sequence |= v.seq[i] == what->of;
    if (!what->of)
        return cg__fail(r->err, CG_EINVAL, "cg_call: '%s': %lld steps of %s", f, (long long)b, loop);
    if (sequence)
        return cg__fail(r->err, CG_ESHAPE, "cg_call: '%s': %lld steps of %s, but %s has rows for %lld", f, (long long)a, loop, label(r, cg__scan_sequence(what->of)), (long long)b);
    return cg__fail(r->err, CG_ESHAPE, "cg_call: '%s': in %s the state that begins as %s changes a size from %lld to %lld", f, loop, label(r, what->of), (long long)b, (long long)a);
}

static int env_broken(void *user, const cg_checked *what, cg_num_op check, int64_t a, int64_t b)
{
    run *r = user;
    const cg_node *n = what->node;
    if (cg__is(n, CG_OP_scan))
        return loop_broken(r, what, a, b);
    return check == CG_N_CHECK_EQ ? unequal(r, n, a, b) : cg__fail(r->err, CG_ERUNTIME, "cg_call: '%s': an integer is divided by zero in %s", r->f->name, label(r, n));
}

/* Since the arena was packed: the number of a minibatch, which comes with each call, is no size. */
static bool sizes_differ(const cg_variant *v)
{
    const cg_plan *p = v->low.plan;
    bool differ = false;
    for (int i = 0; i < p->slots.n; i++)
        differ |= v->n[p->slots.at[i].count] != v->last_n[p->slots.at[i].count];
    return differ;
}

static int plan_numbers(run *r)
{
    cg_function *f = r->f;
    const cg_num_env env = { r, env_dim, env_input, env_shared, env_shared_dim, env_broken };
    const double t0 = cg__now_us();
    int rc = cg__nums_run(r->v->low.plan, &env, r->v->n);
    if (rc < 0 || r->err->code)
        return rc < 0 ? rc : (int)r->err->code;
    if (!r->v->planned || sizes_differ(r->v)) {
        rc = cg__plan_memory(r->v->low.plan, r->v->n, r->v->offset, &r->v->slab, r->err);
        r->v->planned = rc == CG_OK;
        memcpy(r->v->last_n, r->v->n, (size_t)r->v->low.plan->nums.n * sizeof *r->v->n);
    }
    if (rc == CG_OK)
        f->stats.peak_bytes = (int64_t)cg__plan_bytes(r->v->low.plan, r->v->n, r->v->slab, NULL);
    f->stats.plan_us = cg__now_us() - t0;
    return rc;
}

/* ---- places */

/* The device's sentence, with what the arena holds where it is fullest. */
static int no_room(run *r, int rc, const cg_error *why)
{
    const cg_plan *p = r->v->low.plan;
    char text[CG_BYTES_TEXT];
    cg_fullest f;
    cg__fail(r->err, (cg_status)rc, "cg_call: '%s': %s", r->f->name, why->text);
    if (rc != CG_ENOMEM || !cg__plan_fullest(p, r->v->n, &f))
        return rc;
    for (int k = 0; k < f.nslots; k++) {
        const cg_node *n = p->slots.at[f.slot[k]].node;
        cg__fail_more(r->err, "%s%s %s", k ? ", " : ". The arena is fullest with ", n ? label(r, n) : p->slots.at[f.slot[k]].label,
                      cg__bytes_text(cg__slot_bytes(p, r->v->n, f.slot[k]), text));
    }
    return rc;
}

static int new_buffer(run *r, size_t bytes, const cg_use *use, cg_buffer **out)
{
    cg_error why = { 0 };
    const int rc = cg__buffer_new(r->f->device, bytes, use, out, &why);
    return rc < 0 ? no_room(r, rc, &why) : CG_OK;
}

static int new_slab(run *r)
{
    cg_use use = { .role = "the arena of" };
    snprintf(use.name, sizeof use.name, "'%.60s'", r->f->name);
    return new_buffer(r, r->v->slab, &use, &r->slab);
}

static int make_places(run *r)
{
    const size_t nslots = (size_t)r->v->low.plan->slots.n + 1;
    r->place = cg__zalloc(nslots * sizeof *r->place);
    r->fresh = cg__zalloc(nslots * sizeof(cg_buffer *));
    return r->place && r->fresh ? CG_OK : cg__fail(r->err, CG_ENOMEM, "cg_call: no memory");
}

/* Whether others would see it if the variable's buffer were written: an array that an earlier call gave, or an input of this one. */
static bool held_elsewhere(const run *r, const cg_array *a)
{
    bool held = __atomic_load_n(&a->buffer->refs, __ATOMIC_ACQUIRE) > 1;
    for (int i = 0; i < r->f->ninputs; i++)
        held |= r->inputs[i]->buffer == a->buffer;
    return held;
}

static int place_copy(run *r, int i, const cg_array *a)
{
    cg_device *d = r->f->device;
    const int rc = new_buffer(r, a->bytes, &r->v->use[i], &r->fresh[i]);
    r->place[i].buffer = r->fresh[i];
    return rc == CG_OK ? d->backend->copy(d, r->fresh[i], a->buffer, a->bytes, r->err) : rc;
}

static cg_array *array_of(const run *r, const cg_slot *s)
{
    return s->kind == CG_SLOT_INPUT ? r->inputs[s->index] : r->v->low.vars.at[s->index]->array;
}

static int place_slot(run *r, int i)
{
    const cg_slot *s = &r->v->low.plan->slots.at[i];
    if (s->kind == CG_SLOT_ARENA) {          /* also one of nothing but empty values has a place */
        const int rc = r->slab ? CG_OK : new_slab(r);
        r->place[i] = (cg_place){ r->slab, r->v->offset[i] };
        return rc;
    }
    if (s->kind == CG_SLOT_CONST) {
        r->place[i] = (cg_place){ r->v->consts[s->index], 0 };
        return CG_OK;
    }
    if (s->kind == CG_SLOT_OUTPUT) {
        const int rc = new_buffer(r, cg__slot_bytes(r->v->low.plan, r->v->n, i), &r->v->use[i], &r->fresh[i]);
        r->place[i] = (cg_place){ r->fresh[i], 0 };
        return rc;
    }
    cg_array *a = array_of(r, s);
    r->place[i] = (cg_place){ a->buffer, 0 };
    return s->in_place && held_elsewhere(r, a) ? place_copy(r, i, a) : CG_OK;
}

static int upload(run *r)
{
    for (int i = 0; i < r->v->low.plan->slots.n; i++) {
        const cg_slot *s = &r->v->low.plan->slots.at[i];
        cg_error why = { 0 };
        if (s->kind != CG_SLOT_INPUT && s->kind != CG_SLOT_SHARED)
            continue;
        const int rc = cg__array_to_device(array_of(r, s), r->f->device, &r->v->use[i], &why);
        if (rc < 0)
            return no_room(r, rc, &why);
    }
    return CG_OK;
}

/* ---- results */

static cg_array *root_array(run *r, int i)
{
    const cg_node *n = r->v->roots[i];
    const cg_root *root = &r->v->low.roots[i];
    int64_t shape[CG_MAX_RANK];
    for (int k = 0; k < n->type.rank; k++)
        shape[k] = r->v->n[root->dims[k]];
    if (root->host)
        return cg_array_new(CG_I64, NULL, 0, &r->v->n[root->num]);
    cg_buffer *b = r->place[root->slot].buffer;
    cg__buffer_keep(b);
    return cg__array_on_device(n->type.dtype, shape, n->type.rank, b);
}

static void mark(const run *r, cg_array *a)
{
    a->writer = r->f->device;
    a->written = a->writer->backend->immediate ? 0 : r->call;
}

/* All arrays are made before anything runs, so that a failure changes nothing. */
static int make_results(run *r)
{
    const cg_function *f = r->f;
    const int nroots = cg__nroots(f);
    int rc = (r->results = cg__zalloc((size_t)(nroots + 1) * sizeof(cg_array *))) ? CG_OK : cg__fail(r->err, CG_ENOMEM, "cg_call: no memory");
    for (int i = 0; i < nroots && rc == CG_OK; i++) {
        if (!(r->results[i] = root_array(r, i)))
            rc = cg__fail(r->err, CG_ENOMEM, "cg_call: no memory for a result");
        else if (i >= f->noutputs && r->results[i]->bytes != f->targets[i - f->noutputs].array->bytes)
            rc = cg__fail(r->err, CG_ESHAPE, "cg_call: '%s': the update of a shared variable has another size", f->name);
    }
    return rc;
}

/* Values move: nothing here can fail. */
static void deliver(run *r, cg_array **out)
{
    const cg_function *f = r->f;
    for (int i = 0; i < cg__nroots(f); i++) {
        cg_array *a = r->results[i];
        mark(r, a);
        if (i < f->noutputs && out) {
            out[i] = a;
            r->results[i] = NULL;
        } else if (i >= f->noutputs) {
            cg_array *t = f->targets[i - f->noutputs].array;
            if (a->buffer) {
                a->buffer->use = f->targets[i - f->noutputs].use;
                cg__buffer_keep(a->buffer);
                cg__array_take_buffer(t, a->buffer);
            } else
                cg_array_set(t, a->host, a->bytes);
            mark(r, t);
        }
    }
}

/* The call broke off where it changes variables: those hold neither the old nor the new. */
static void spoil(run *r)
{
    const cg_plan *p = r->v->low.plan;
    const int64_t call = cg__calls_spoiled(r->f->device, r->err);
    for (int i = 0; i < p->slots.n; i++)
        if (p->slots.at[i].in_place && !r->fresh[i]) {
            cg_array *a = r->v->low.vars.at[p->slots.at[i].index]->array;
            a->writer = r->f->device;
            a->written = call;
        }
}

/* ---- sending */

static int send(run *r)
{
    cg_function *f = r->f;
    cg_device *d = f->device;
    const int64_t before = d->launches, built = d->kernels_built;
    bool committed = false;
    r->call = cg__calls_next(d);
    int rc = d->backend->run(d, r->v->exe, r->v->low.plan, r->v->n, r->place, r->call, &committed, r->err);
    f->stats.launches = d->launches - before;
    f->stats.kernels_built += d->kernels_built - built;
    if (rc == CG_OK)
        rc = cg__calls_sent(d, r->v, r->err);
    else if (committed)
        spoil(r);
    return rc;
}

static int enqueue(run *r)
{
    int rc = CG_OK;
    for (int i = 0; i < r->v->low.plan->slots.n && rc == CG_OK; i++)
        rc = place_slot(r, i);
    if (rc == CG_OK)
        rc = make_results(r);
    return rc == CG_OK ? send(r) : rc;
}

static void release(run *r)
{
    const cg_function *f = r->f;
    for (int i = 0; r->fresh && i < r->v->low.plan->slots.n; i++)
        cg__buffer_drop(r->fresh[i]);
    cg__buffer_drop(r->slab);
    for (int i = 0; r->results && i < cg__nroots(f); i++)
        cg_array_free(r->results[i]);
    cg__free(r->results);
    for (int i = 0; r->made && i < f->ninputs; i++)
        if (r->made[i])
            cg_array_free(r->inputs[i]);
    cg__free(r->inputs);
    cg__free(r->made);
    cg__free(r->place);
    cg__free(r->fresh);
    cg__arena_free(&r->words);
}

/* ---- a call without arrays: its sizes and its memory */

/* Inputs of these sizes; one that is a host integer is 0. */
static int stand_in(run *r, cg_array *arrays, const int64_t *sizes, int n)
{
    static int64_t zero = 0;
    const cg_function *f = r->f;
    int used = 0;
    for (int i = 0; i < f->ninputs; i++) {
        const cg_type *t = &f->inputs[i]->type;
        arrays[i] = (cg_array){ .dtype = t->dtype, .rank = t->rank, .host = &zero, .host_valid = true };
        r->inputs[i] = &arrays[i];
        for (int k = 0; k < t->rank; k++) {
            const int64_t size = !t->dim[k].sym ? t->dim[k].n : used < n ? sizes[used] : 0;
            used += t->dim[k].sym != NULL;
            arrays[i].shape[k] = size;
            if (size < 0)
                return cg__fail(r->err, CG_ESHAPE, "cg_function_plan: '%s': size %lld for axis %d of %s", f->name, (long long)size, k, label(r, f->inputs[i]));
        }
    }
    return used == n ? CG_OK : cg__fail(r->err, CG_EINVAL, "cg_function_plan: '%s' has %d free sizes, got %d", f->name, used, n);
}

static int plan_sizes(run *r, const int64_t *sizes, int n)
{
    cg_array *arrays = cg__zalloc((size_t)(r->f->ninputs + 1) * sizeof *arrays);
    r->inputs = cg__zalloc((size_t)(r->f->ninputs + 1) * sizeof(cg_array *));
    int rc = arrays && r->inputs ? stand_in(r, arrays, sizes, n) : cg__fail(r->err, CG_ENOMEM, "cg_function_plan: no memory");
    if (rc == CG_OK)
        rc = choose_variant(r);
    if (rc == CG_OK) {
        pthread_mutex_lock(&r->f->device->lock);
        rc = plan_numbers(r);
        pthread_mutex_unlock(&r->f->device->lock);
    }
    cg__free(r->inputs);
    cg__free(arrays);
    cg__arena_free(&r->words);
    return rc;
}

int cg__call_sizes(cg_function *f, cg_error *err)
{
    run r = { .f = f, .err = err };
    return f->variant[0]->planned ? CG_OK : plan_sizes(&r, NULL, 0);
}

CG_API int cg_function_plan(cg_function *f, const int64_t *sizes, int n)
{
    cg_error err = { 0 };
    if (!f || (n && !sizes)) {
        cg__fail(&err, CG_EINVAL, "cg_function_plan: %s is NULL", f ? "the list of sizes" : "the function");
        return cg__set_last(&err);
    }
    run r = { .f = f, .err = &err };
    pthread_mutex_lock(&f->lock);
    const int rc = plan_sizes(&r, sizes, n);
    pthread_mutex_unlock(&f->lock);
    return rc < 0 ? cg__set_last(&err) : CG_OK;
}

/* ---- the call */

static int run_call(run *r, cg_array *const *inputs, int n, cg_array **out)
{
    cg_function *f = r->f;
    int rc = CG_OK;
    if (n != f->ninputs)
        return cg__fail(r->err, CG_EINVAL, "cg_call: '%s' takes %d inputs, got %d", f->name, f->ninputs, n);
    if (f->device->pid != (long)getpid())
        return cg__fail(r->err, CG_EDEVICE, "cg_call: '%s': the device %s was opened before fork and cannot be used in the child", f->name, f->device->name);
    r->inputs = cg__zalloc((size_t)(n + 1) * sizeof(cg_array *));
    r->made = cg__zalloc((size_t)(n + 1) * sizeof *r->made);
    if (!r->inputs || !r->made)
        return cg__fail(r->err, CG_ENOMEM, "cg_call: no memory");
    for (int i = 0; i < n && rc == CG_OK; i++)
        rc = check_input(r, i, inputs[i]);
    if (rc == CG_OK)
        rc = choose_variant(r);
    if (rc == CG_OK)
        rc = make_places(r);
    if (rc < 0)
        return rc;
    /* From here on shared variables are read and written: one call at a time on a device. */
    pthread_mutex_lock(&f->device->lock);
    rc = check_state(r);
    if (rc == CG_OK)
        rc = plan_numbers(r);
    if (rc == CG_OK)
        rc = upload(r);
    if (rc == CG_OK)
        rc = enqueue(r);
    f->stats.calls++;
    if (rc == CG_OK)
        deliver(r, out);
    pthread_mutex_unlock(&f->device->lock);
    return rc;
}

CG_API int cg_call(cg_function *f, cg_array *const *inputs, int n, cg_array **out)
{
    cg_error err = { 0 };
    if (!f) {
        cg__fail(&err, CG_EINVAL, "cg_call: the function is NULL");
        return cg__set_last(&err);
    }
    run r = { .f = f, .err = &err };
    pthread_mutex_lock(&f->lock);
    const int rc = run_call(&r, inputs, n, out);
    release(&r);
    pthread_mutex_unlock(&f->lock);
    return rc < 0 ? cg__set_last(&err) : CG_OK;
}

CG_API int cg_call_named(cg_function *f, const char *const *names, cg_array *const *inputs, int n, cg_array **out)
{
    cg_error err = { 0 };
    cg_array **list = f ? cg__zalloc((size_t)(f->ninputs + 1) * sizeof *list) : NULL;
    int rc = list ? CG_OK : cg__fail(&err, f ? CG_ENOMEM : CG_EINVAL, "cg_call_named: %s", f ? "no memory" : "the function is NULL");
    for (int i = 0; i < n && rc == CG_OK; i++) {
        int at = 0;
        while (at < f->ninputs && (!names[i] || strcmp(cg_node_name(f->inputs[at]), names[i]) != 0))
            at++;
        if (at == f->ninputs || list[at])
            rc = cg__fail(&err, CG_EINVAL, "cg_call_named: '%s' %s '%s'", f->name, at == f->ninputs ? "has no input named" : "is given twice the input", names[i] ? names[i] : "(NULL)");
        else if (!(list[at] = inputs[i]))
            rc = cg__fail(&err, CG_EINVAL, "cg_call_named: '%s': the array for '%s' is NULL", f->name, names[i]);
    }
    if (rc == CG_OK)
        rc = cg_call(f, list, f->ninputs, out);
    else
        cg__set_last(&err);
    cg__free(list);
    return rc;
}
