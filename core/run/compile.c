// SPDX-License-Identifier: MIT
/* cg_compile: check, copy into a private graph, rewrite, lower, prepare on the device. The list of passes is `compile`. */
#include <stdlib.h>
#include "core/rewrite/rewrite.h"
#include "core/run/run.h"

typedef struct job { const cg_spec *spec; cg_function *f; cg_graph *from; cg_map memo; cg_error *err; } job;

static int no_memory(const job *j)
{
    return cg__fail(j->err, CG_ENOMEM, "cg_compile: '%s': no memory", j->f && j->f->name ? j->f->name : "");
}

/* ---- what the caller gave */

static int check_list(const job *j, cg_node *const *list, int n, const char *what)
{
    for (int i = 0; i < n; i++) {
        if (!list[i])
            return cg__fail(j->err, CG_EINVAL, "cg_compile: %s %d is NULL%s%s", what, i, j->from->error.code ? ": " : "", j->from->error.text);
        if (list[i]->graph != j->from)
            return cg__fail(j->err, CG_EINVAL, "cg_compile: %s %d, %s, belongs to another graph", what, i, cg__label(list[i]));
    }
    return CG_OK;
}

static int check_update(const job *j, int i)
{
    const cg_node *var = j->spec->updates[i].var, *value = j->spec->updates[i].value;
    if (check_list(j, (cg_node *[]){ j->spec->updates[i].var, j->spec->updates[i].value }, 2, "update") < 0)
        return j->err->code;
    if (!cg__is(var, CG_OP_shared))
        return cg__fail(j->err, CG_EINVAL, "cg_compile: update %d: %s is not a shared variable", i, cg__label(var));
    bool fits = var->type.rank == value->type.rank && var->type.dtype == value->type.dtype;
    for (int k = 0; fits && k < var->type.rank; k++)
        fits = value->type.dim[k].sym || value->type.dim[k].n == var->type.dim[k].n;
    if (!fits)
        return cg__fail(j->err, var->type.dtype == value->type.dtype ? CG_ESHAPE : CG_EDTYPE, "cg_compile: the update of %s has another type: %s",
                        cg__label(var), cg__label(value));
    for (int k = 0; k < i; k++)
        if (j->spec->updates[k].var->array == var->array)
            return cg__fail(j->err, CG_EINVAL, "cg_compile: %s is updated twice", cg__label(var));
    return CG_OK;
}

static int check_spec(const job *j)
{
    const cg_spec *s = j->spec;
    if (s->struct_size != sizeof *s)
        return cg__fail(j->err, CG_EINVAL, "cg_compile: the spec is not made by CG_SPEC of this version");
    if (j->from->error.code)
        return cg__fail(j->err, j->from->error.code, "%s", j->from->error.text);
    if (check_list(j, s->inputs, s->ninputs, "input") < 0 || check_list(j, s->outputs, s->noutputs, "output") < 0)
        return j->err->code;
    for (int i = 0; i < s->ninputs; i++) {
        if (!cg__is(s->inputs[i], CG_OP_input))
            return cg__fail(j->err, CG_EINVAL, "cg_compile: input %d, %s, is not made by cg_input", i, cg__label(s->inputs[i]));
        for (int k = 0; k < i; k++)
            if (s->inputs[k] == s->inputs[i])
                return cg__fail(j->err, CG_EINVAL, "cg_compile: input %s is given twice", cg__label(s->inputs[i]));
    }
    for (int i = 0; i < s->nupdates; i++)
        if (check_update(j, i) < 0)
            return j->err->code;
    return CG_OK;
}

/* ---- passes */

static int copy_graph(job *j)
{
    cg_function *f = j->f;
    const cg_spec *s = j->spec;
    const int nroots = s->noutputs + s->nupdates;
    f->g = cg_graph_new();
    f->name = f->g ? cg__arena_str(&f->g->arena, s->name ? s->name : "function") : NULL;
    f->inputs = cg__zalloc((size_t)(s->ninputs + 1) * sizeof *f->inputs);
    f->roots = cg__zalloc((size_t)(nroots + 1) * sizeof *f->roots);
    f->targets = cg__zalloc((size_t)(s->nupdates + 1) * sizeof *f->targets);
    if (!f->name || !f->inputs || !f->roots || !f->targets)
        return no_memory(j);
    for (int i = 0; i < s->ninputs; i++)
        if (!(f->inputs[f->ninputs++] = cg__clone(f->g, s->inputs[i], &j->memo)))
            return no_memory(j);
    for (int i = 0; i < nroots; i++) {
        cg_node *n = i < s->noutputs ? s->outputs[i] : s->updates[i - s->noutputs].value;
        if (!(f->roots[i] = cg__clone(f->g, n, &j->memo)))
            return f->g->error.code ? cg__fail(j->err, f->g->error.code, "%s", f->g->error.text) : no_memory(j);
    }
    for (int i = 0; i < s->nupdates; i++)
        f->targets[i] = s->updates[i].var->array;
    f->noutputs = s->noutputs;
    f->nupdates = s->nupdates;
    return CG_OK;
}

static int missing_inputs(job *j)
{
    cg_node_vec nodes = { 0 };
    int rc = cg__reach(j->f->roots, j->f->noutputs + j->f->nupdates, &nodes) ? CG_OK : no_memory(j);
    for (int i = 0; i < nodes.n && rc == CG_OK; i++) {
        bool given = !cg__is(nodes.at[i], CG_OP_input);
        for (int k = 0; k < j->f->ninputs && !given; k++)
            given = j->f->inputs[k] == nodes.at[i];
        if (!given)
            rc = cg__fail(j->err, CG_EINVAL, "cg_compile: '%s' needs the input %s, which is not among its inputs", j->f->name, cg__label(nodes.at[i]));
    }
    CG_VEC_FREE(&nodes);
    return rc;
}

/* The values of expressions without inputs, by a small plan on the cpu executor. */
static int evaluate(cg_graph *g, cg_node *const *nodes, int n, cg_node **constants, cg_error *err)
{
    const cg_error before = *cg__thread_error();
    cg_array **out = cg__zalloc((size_t)n * sizeof *out);
    cg_device *cpu = out ? cg_device_open("cpu") : NULL;
    cg_function *f = cpu ? cg_compile(g, CG_SPEC(.name = "constants", .outputs = nodes, .noutputs = n, .device = cpu, .no_rewrites = 1)) : NULL;
    int rc = f && cg_call(f, NULL, 0, out) == CG_OK ? CG_OK : out ? (int)cg_last_error()->code : CG_ENOMEM;
    for (int i = 0; i < n && rc == CG_OK; i++) {
        const void *data = cg_array_data(out[i]);
        constants[i] = data ? cg_constant(g, cg_array_dtype(out[i]), cg_array_shape(out[i]), cg_array_rank(out[i]), data) : NULL;
        rc = constants[i] ? CG_OK : CG_ENOMEM;
    }
    for (int i = 0; out && i < n; i++)
        cg_array_free(out[i]);
    cg__free(out);
    cg_function_free(f);
    *cg__thread_error() = before;
    return rc == CG_OK ? rc : cg__fail(err, (cg_status)rc, "cg_compile: constants cannot be computed");
}

static int rewrite(job *j)
{
    cg_function *f = j->f;
    const int nroots = f->noutputs + f->nupdates;
    f->written = cg__arena_copy(&f->g->arena, f->roots, (size_t)nroots * sizeof *f->roots);
    if (!f->written)
        return no_memory(j);
    return j->spec->no_rewrites ? CG_OK : cg__rewrite(f->g, f->roots, nroots, evaluate, j->err);
}

static int lower(job *j)
{
    cg_function *f = j->f;
    const int rc = cg__lower(f->g, f->inputs, f->ninputs, f->roots, f->noutputs + f->nupdates, &f->low, j->err);
    if (rc < 0)
        return rc;
    const cg_plan *p = f->low.plan;
    f->n = cg__zalloc((size_t)(p->nums.n + 1) * sizeof *f->n);
    f->last_n = cg__zalloc((size_t)(p->nums.n + 1) * sizeof *f->last_n);
    f->offset = cg__zalloc((size_t)(p->slots.n + 1) * sizeof *f->offset);
    f->consts = cg__zalloc((size_t)(p->consts.n + 1) * sizeof(cg_buffer *));
    f->stats.plans = 1;
    return f->n && f->last_n && f->offset && f->consts ? CG_OK : no_memory(j);
}

static int prepare(job *j)
{
    cg_function *f = j->f;
    cg_plan *p = f->low.plan;
    cg_device *d = f->device = j->spec->device ? j->spec->device : cg__device_default(j->err);
    if (!d)
        return j->err->code;
    pthread_mutex_lock(&d->lock);
    const int64_t before = d->kernels_built;
    int rc = d->backend->prepare(d, p, &f->exe, j->err);
    f->stats.kernels_built = d->kernels_built - before;
    for (int i = 0; i < p->consts.n && rc == CG_OK; i++) {
        const size_t bytes = (size_t)p->consts.at[i].count * cg__dtypes[p->consts.at[i].dtype].bytes;
        rc = cg__buffer_new(d, bytes, &f->consts[i], j->err);
        if (rc == CG_OK && bytes)
            rc = d->backend->write(d, f->consts[i], 0, p->consts.at[i].data, bytes, j->err);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static const struct { const char *name; int (*run)(job *); } passes[] = {
    { "copy", copy_graph }, { "inputs", missing_inputs }, { "rewrite", rewrite }, { "lower", lower }, { "prepare", prepare },
};

static int compile(job *j)
{
    cg_strb said = { 0 };
    int rc = check_spec(j);
    for (int i = 0; i < CG_LEN(passes) && rc == CG_OK; i++) {
        const double t0 = cg__now_us();
        rc = passes[i].run(j);
        cg__strb(&said, "%s%s %.0f us", i ? ", " : "", passes[i].name, cg__now_us() - t0);
    }
    if (rc == CG_OK && said.at)
        cg__log("cg_compile: '%s' on %s: %s; %d nodes, %d steps, %lld kernels built", j->f->name, j->f->device->name, said.at, j->f->g->count,
                j->f->low.plan->steps.n, (long long)j->f->stats.kernels_built);
    cg__strb_free(&said);
    return rc;
}

CG_API cg_function *cg_compile(cg_graph *g, const cg_spec *spec)
{
    cg_error err = { 0 };
    if (!g || !spec) {
        cg__fail(&err, CG_EINVAL, "cg_compile: the graph or the spec is NULL");
        cg__set_last(&err);
        return NULL;
    }
    job j = { .spec = spec, .from = g, .err = &err, .f = cg__zalloc(sizeof(cg_function)) };
    const int rc = j.f ? compile(&j) : no_memory(&j);
    cg__map_free(&j.memo);
    if (rc == CG_OK) {
        j.f->strict = spec->strict != 0;
        return j.f;
    }
    if (!err.code)
        cg__fail(&err, (cg_status)rc, "cg_compile: failed");
    cg__set_last(&err);
    cg_function_free(j.f);
    return NULL;
}

CG_API void cg_function_free(cg_function *f)
{
    if (!f)
        return;
    if (f->device) {
        pthread_mutex_lock(&f->device->lock);
        cg__calls_forget(f->device, f);
        if (f->exe)
            f->device->backend->unprepare(f->device, f->exe);
        pthread_mutex_unlock(&f->device->lock);
    }
    for (int i = 0; f->low.plan && f->consts && i < f->low.plan->consts.n; i++)
        cg__buffer_drop(f->consts[i]);
    if (f->low.plan)
        cg__plan_free(f->low.plan);
    CG_VEC_FREE(&f->low.vars);
    cg__free(f->inputs);
    cg__free(f->roots);
    cg__free(f->targets);
    cg__free(f->n);
    cg__free(f->last_n);
    cg__free(f->offset);
    cg__free(f->consts);
    cg_graph_free(f->g);
    cg__free(f);
}

CG_API char *cg_function_show(cg_function *f, cg_stage stage)
{
    cg_strb s = { 0 };
    if (!f)
        return NULL;
    if (stage == CG_STAGE_GRAPH || stage == CG_STAGE_OPTIMIZED) {
        char *t = cg_print(stage == CG_STAGE_GRAPH ? f->written : f->roots, f->noutputs + f->nupdates);
        cg__strb(&s, "%s\n", t ? t : "");
        s.failed |= !t;
        cg__free(t);
    } else if (stage == CG_STAGE_PLAN) {
        cg__plan_print(f->low.plan, &s);
        if (f->planned)
            cg__strb(&s, "; arena of the last call: %zu bytes\n", f->slab);
    } else {
        f->device->backend->kernels(f->low.plan, f->exe, &s);
    }
    return cg__text_result(&s, "cg_function_show");
}

CG_API void cg_function_stats(const cg_function *f, cg_stats *out)
{
    *out = f ? f->stats : (cg_stats){ 0 };
}
