// SPDX-License-Identifier: MIT
/* cg_compile: check what the caller gave, copy it into a private graph, and make the variant that calls will most likely need (variant.c:
 * rewrite, lower, prepare on the device). */
#include <stdlib.h>
#include "core/run/run.h"

typedef struct job {
    const cg_spec *spec;
    cg_function *f;
    cg_graph *from;
    CG_VEC(cg_update) updates;           /* the caller's, then default ones */
    cg_map updated;                      /* the arrays of their variables */
    cg_map memo;
    cg_error *err;
} job;

static int no_memory(const job *j)
{
    return cg__fail(j->err, CG_ENOMEM, "cg_compile: '%s': no memory", j->f && j->f->name ? j->f->name : "");
}

static bool is_updated(const job *j, const cg_array *array)
{
    uint64_t v;
    return cg__map_get(&j->updated, cg__key(array), &v);
}

/* ---- what the caller gave */

static int check_list(const job *j, cg_node *const *list, int n, const char *what)
{
    for (int i = 0; i < n; i++) {
        if (!list[i])
            return cg__fail(j->err, CG_EINVAL, "cg_compile: %s %d is NULL", what, i);
        if (list[i]->graph != j->from)
            return cg__fail(j->err, CG_EINVAL, "cg_compile: %s %d, %s, belongs to another graph", what, i, cg__label(list[i]));
    }
    return CG_OK;
}

static int check_update(job *j, int i)
{
    const cg_node *var = j->spec->updates[i].var, *value = j->spec->updates[i].value;
    if (check_list(j, (cg_node *[]){ j->spec->updates[i].var, j->spec->updates[i].value }, 2, "update") < 0)
        return j->err->code;
    if (!cg__is(var, CG_OP_shared))
        return cg__fail(j->err, CG_EINVAL, "cg_compile: update %d: %s is not a shared variable", i, cg__label(var));
    if (!cg__type_may_be(&var->type, &value->type))
        return cg__fail(j->err, var->type.dtype == value->type.dtype ? CG_ESHAPE : CG_EDTYPE, "cg_compile: the update of %s has another type: %s",
                        cg__label(var), cg__label(value));
    if (is_updated(j, var->array))
        return cg__fail(j->err, CG_EINVAL, "cg_compile: %s is updated twice", cg__label(var));
    return cg__map_put(&j->updated, cg__key(var->array), 1) ? CG_OK : no_memory(j);
}

static int check_given(const job *j, int i)
{
    cg_node *node = j->spec->givens[i].node, *by = j->spec->givens[i].by;
    if (check_list(j, (cg_node *[]){ node, by }, 2, "given") < 0)
        return j->err->code;
    if (!cg__type_may_be(&node->type, &by->type))
        return cg__fail(j->err, node->type.dtype == by->type.dtype ? CG_ESHAPE : CG_EDTYPE, "cg_compile: %s cannot be given as %s, which has another type",
                        cg__label(node), cg__label(by));
    for (int k = 0; k < i; k++)
        if (j->spec->givens[k].node == node)
            return cg__fail(j->err, CG_EINVAL, "cg_compile: %s is given twice", cg__label(node));
    return CG_OK;
}

static int check_spec(job *j)
{
    const cg_spec *s = j->spec;
    if (s->struct_size != sizeof *s)
        return cg__fail(j->err, CG_EINVAL, "cg_compile: the spec is not made by CG_SPEC of this version");
    if (j->from->error.code)
        return cg__graph_errors(j->from, j->err);
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
    for (int i = 0; i < s->ngivens; i++)
        if (check_given(j, i) < 0)
            return j->err->code;
    return CG_OK;
}

/* ---- updates: the caller's, and those that variables carry with them */

/* A given stands in the memo before the walk, so the walk sees what is really used. */
static bool is_given(const job *j, const cg_node *n)
{
    for (int i = 0; i < j->spec->ngivens; i++)
        if (j->spec->givens[i].node == n)
            return true;
    return false;
}

/* The default update of a variable that the function uses may use further variables. */
static int find_updates(job *j)
{
    const cg_spec *s = j->spec;
    cg_node_vec roots = { 0 }, nodes = { 0 };
    bool ok = true;
    for (int i = 0; i < s->nupdates && ok; i++)
        ok = CG_PUSH(&j->updates, s->updates[i]) && CG_PUSH(&roots, s->updates[i].value);
    for (int i = 0; i < s->noutputs && ok; i++)
        ok = CG_PUSH(&roots, s->outputs[i]);
    for (int i = 0; i < s->ngivens && ok; i++)
        ok = CG_PUSH(&roots, s->givens[i].by);
    for (bool more = !s->no_default_updates && j->from->defaults.n; more && ok;) {
        more = false;
        nodes.n = 0;
        ok = cg__reach(roots.at, roots.n, &nodes);
        for (int i = 0; i < nodes.n && ok; i++) {
            cg_node *var = nodes.at[i], *value = cg__default_update(var);
            if (!value || is_updated(j, var->array) || is_given(j, var))
                continue;
            more = true;
            ok = CG_PUSH(&j->updates, (cg_update){ var, value }) && CG_PUSH(&roots, value) && cg__map_put(&j->updated, cg__key(var->array), 1);
        }
    }
    CG_VEC_FREE(&roots);
    CG_VEC_FREE(&nodes);
    return ok ? CG_OK : no_memory(j);
}

/* ---- the private graph */

static int copy_failed(const job *j)
{
    return j->f->g->error.code ? cg__fail(j->err, j->f->g->error.code, "%s", j->f->g->error.text) : no_memory(j);
}

static int copy_givens(job *j)
{
    for (int i = 0; i < j->spec->ngivens; i++) {
        cg_node *by = cg__clone(j->f->g, j->spec->givens[i].by, &j->memo);
        if (!by)
            return copy_failed(j);
        if (!cg__map_set(&j->memo, cg__key(j->spec->givens[i].node), cg__key(by)))
            return no_memory(j);
    }
    return CG_OK;
}

static int copy_graph(job *j)
{
    cg_function *f = j->f;
    const cg_spec *s = j->spec;
    const int nroots = s->noutputs + j->updates.n;
    f->g = cg_graph_new();
    f->name = f->g ? cg__arena_str(&f->g->arena, s->name ? s->name : "function") : NULL;
    f->inputs = cg__zalloc((size_t)(s->ninputs + 1) * sizeof *f->inputs);
    f->roots = cg__zalloc((size_t)(nroots + 1) * sizeof *f->roots);
    f->targets = cg__zalloc((size_t)(j->updates.n + 1) * sizeof *f->targets);
    if (!f->name || !f->inputs || !f->roots || !f->targets)
        return no_memory(j);
    for (int i = 0; i < s->ninputs; i++)
        if (!(f->inputs[f->ninputs++] = cg__clone(f->g, s->inputs[i], &j->memo)))
            return copy_failed(j);
    if (copy_givens(j) < 0)
        return j->err->code;
    for (int i = 0; i < nroots; i++)
        f->roots[i] = i < s->noutputs ? s->outputs[i] : j->updates.at[i - s->noutputs].value;
    if (!cg__clone_all(f->g, f->roots, f->roots, nroots, &j->memo))
        return copy_failed(j);
    for (int i = 0; i < j->updates.n; i++)
        f->targets[i] = (cg_target_var){ j->updates.at[i].var->array, cg__use_of("shared variable", j->updates.at[i].var) };
    f->noutputs = s->noutputs;
    f->nupdates = j->updates.n;
    f->strict = s->strict != 0;
    f->no_rewrites = s->no_rewrites != 0;
    return CG_OK;
}

/* Every input that the roots use is among the function's, and, unless the caller said otherwise, the other way round. */
static int check_inputs(job *j)
{
    cg_function *f = j->f;
    cg_node_vec nodes = { 0 };
    bool *used = cg__zalloc((size_t)(f->ninputs + 1) * sizeof *used);
    int rc = used && cg__reach(f->roots, cg__nroots(f), &nodes) ? CG_OK : no_memory(j);
    for (int i = 0; i < nodes.n && rc == CG_OK; i++) {
        bool given = !cg__is(nodes.at[i], CG_OP_input);
        for (int k = 0; k < f->ninputs && !given; k++)
            used[k] |= given = f->inputs[k] == nodes.at[i];
        if (!given)
            rc = cg__fail(j->err, CG_EINVAL, "cg_compile: '%s' needs the input %s, which is not among its inputs", f->name, cg__label(nodes.at[i]));
    }
    for (int k = 0; k < f->ninputs && rc == CG_OK && j->spec->unused == CG_UNUSED_ERROR; k++)
        if (!used[k])
            rc = cg__fail(j->err, CG_EINVAL, "cg_compile: '%s' does not use its input %s; leave it out, or compile with .unused = CG_UNUSED_IGNORE", f->name, cg__label(f->inputs[k]));
    CG_VEC_FREE(&nodes);
    cg__free(used);
    return rc;
}

/* ---- the whole */

static int open_device(job *j)
{
    j->f->device = j->spec->device ? j->spec->device : cg__device_default(j->err);
    return j->f->device ? CG_OK : j->err->code;
}

static int find_meetings(job *j) { return cg__find_meetings(j->f, j->err); }

static int compile(job *j)
{
    static int (*const passes[])(job *) = { check_spec, find_updates, copy_graph, check_inputs, find_meetings, open_device };
    cg_strb said = { 0 };
    int rc = CG_OK;
    for (int i = 0; i < CG_LEN(passes) && rc == CG_OK; i++)
        rc = passes[i](j);
    const cg_variant *v = rc == CG_OK ? cg__variant(j->f, 0, &said, j->err) : NULL;
    if (v && said.at)
        cg__log("cg_compile: '%s' on %s: %s; %d nodes, %d steps, %lld kernels built", j->f->name, j->f->device->name, said.at, v->g->count,
                v->low.plan->steps.n, (long long)j->f->stats.kernels_built);
    cg__strb_free(&said);
    return rc == CG_OK && !v ? j->err->code : rc;
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
    if (j.f)
        pthread_mutex_init(&j.f->lock, NULL);
    const int rc = j.f ? compile(&j) : no_memory(&j);
    cg__map_free(&j.memo);
    cg__map_free(&j.updated);
    CG_VEC_FREE(&j.updates);
    if (rc == CG_OK)
        return j.f;
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
    cg__variants_free(f);
    cg__free(f->inputs);
    cg__free(f->roots);
    cg__free(f->targets);
    cg_graph_free(f->g);
    pthread_mutex_destroy(&f->lock);
    cg__free(f);
}

static void show_plan(cg_function *f, const cg_variant *v, cg_strb *out)
{
    cg_error err = { 0 };
    cg__plan_print(v->low.plan, out);
    const int rc = cg__call_sizes(f, &err);
    out->failed |= rc == CG_ENOMEM;
    if (rc == CG_OK)
        cg__plan_print_peak(v->low.plan, v->last_most, v->slab, out);
    else
        cg__strb(out, "; peak memory: known once there are sizes, from a call or cg_function_plan\n");
}

CG_API char *cg_function_show(cg_function *f, cg_stage stage)
{
    cg_strb s = { 0 };
    if (!f)
        return NULL;
    pthread_mutex_lock(&f->lock);
    const cg_variant *v = f->variant[0];
    if (stage == CG_STAGE_GRAPH || stage == CG_STAGE_OPTIMIZED) {
        char *t = cg_print(stage == CG_STAGE_GRAPH ? v->written : v->roots, cg__nroots(f));
        cg__strb(&s, "%s\n", t ? t : "");
        s.failed |= !t;
        cg__free(t);
    } else if (stage == CG_STAGE_PLAN) {
        show_plan(f, v, &s);
    } else {
        f->device->backend->kernels(v->low.plan, v->exe, &s);
    }
    pthread_mutex_unlock(&f->lock);
    return cg__text_result(&s, "cg_function_show");
}

CG_API char *cg_function_dot(cg_function *f, cg_stage stage)
{
    if (!f || (stage != CG_STAGE_GRAPH && stage != CG_STAGE_OPTIMIZED)) {
        cg_error err = { 0 };
        cg__fail(&err, CG_EINVAL, "cg_function_dot: %s", f ? "only graphs are drawn, as written or optimized" : "the function is NULL");
        cg__set_last(&err);
        return NULL;
    }
    pthread_mutex_lock(&f->lock);
    const cg_variant *v = f->variant[0];
    char *text = cg_print_dot(stage == CG_STAGE_GRAPH ? v->written : v->roots, cg__nroots(f));
    pthread_mutex_unlock(&f->lock);
    return text;
}

CG_API void cg_function_stats(cg_function *f, cg_stats *out)
{
    *out = (cg_stats){ 0 };
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    *out = f->stats;
    pthread_mutex_unlock(&f->lock);
}
