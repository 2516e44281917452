// SPDX-License-Identifier: MIT
/* A run as a safetensors file: the net's variables, and what cg_fit knows beside them, under names that begin with run. */
#include <stddef.h>
#include "core/nn/nn.h"

enum { PARTS = 9 };                      /* numbers of a schedule */
typedef struct facts {
    cg_fit_state state;
    int64_t batch, seed, rows;           /* what the order depends on: a file of others is refused */
    double schedule[PARTS];              /* zeros: there is none */
} facts;

static const struct { const char *name; cg_dtype dtype; int64_t n; size_t at; } kinds[] = {         /* n 0: a scalar */
    { "run.steps", CG_I64, 0, offsetof(facts, state.steps) },   { "run.epochs", CG_I64, 0, offsetof(facts, state.epochs) },
    { "run.since", CG_I64, 0, offsetof(facts, state.since) },   { "run.cuts", CG_I64, 0, offsetof(facts, state.cuts) },
    { "run.sum", CG_F64, 0, offsetof(facts, state.sum) },       { "run.best", CG_F64, 0, offsetof(facts, state.best) },
    { "run.batch", CG_I64, 0, offsetof(facts, batch) },         { "run.seed", CG_I64, 0, offsetof(facts, seed) },
    { "run.rows", CG_I64, 0, offsetof(facts, rows) },           { "run.schedule", CG_F64, PARTS, offsetof(facts, schedule) },
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static size_t bytes_of(int k) { return (kinds[k].n ? (size_t)kinds[k].n : 1) * cg_dtype_bytes(kinds[k].dtype); }

/* ---- the schedule as numbers and back */

static void schedule_numbers(const cg_schedule *s, double to[PARTS])
{
    const double all[PARTS] = { s->rate, (double)s->warmup, (double)s->every, s->factor, (double)s->cosine, s->floor, (double)s->plateau, s->cut, 1 };
    memcpy(to, all, sizeof all);
}

static void set_schedule(cg_schedule *s, const double v[PARTS])
{
    *s = (cg_schedule){ .struct_size = sizeof *s, .rate = v[0], .warmup = (int64_t)v[1], .every = (int64_t)v[2], .factor = v[3],
                        .cosine = (int64_t)v[4], .floor = v[5], .plateau = (int64_t)v[6], .cut = v[7] };
}

/* ---- all that a file has */

typedef struct contents { int n, nvars; const char **names; cg_array **arrays; } contents;       /* the net's variables, then the facts */

static void free_contents(contents *c)
{
    for (int k = c->nvars; c->arrays && k < c->n; k++)
        cg_array_free(c->arrays[k]);
    cg__free(c->names);
    cg__free(c->arrays);
}

static int list_contents(contents *c, const cg_net *net, const facts *f)
{
    const int nvars = net ? cg_net_count(net) : 0, n = nvars + KINDS;
    *c = (contents){ n, nvars, cg__zalloc((size_t)n * sizeof *c->names), cg__zalloc((size_t)n * sizeof *c->arrays) };
    bool ok = c->names && c->arrays;
    for (int i = 0; ok && i < nvars; i++) {
        c->names[i] = cg_net_name(net, i);
        c->arrays[i] = cg_net_array(net, i);
    }
    for (int k = 0; ok && k < KINDS; k++) {
        c->names[nvars + k] = kinds[k].name;
        c->arrays[nvars + k] = cg_array_new(kinds[k].dtype, &kinds[k].n, kinds[k].n != 0, (const char *)f + kinds[k].at);
        ok = c->arrays[nvars + k] != NULL;
    }
    return ok ? CG_OK : cg__nn_fail(CG_ENOMEM, "cg_fit_save: no memory");
}

static facts facts_of(const cg_fit_spec *o)
{
    facts f = { .batch = cg__fit_batch(o), .seed = (int64_t)o->seed, .rows = cg__fit_rows(o) };
    if (o->state)
        f.state = *o->state;
    if (o->schedule)
        schedule_numbers(o->schedule, f.schedule);
    return f;
}

static int check_run(const cg_fit_spec *o, const char *caller)
{
    const int rc = cg__fit_check(o, caller);
    return rc < 0 || (o->state && o->net) ? rc : cg__nn_fail(CG_EINVAL, "%s: needs the net and the state", caller);
}

CG_API int cg_fit_save(const cg_fit_spec *o, const char *path)
{
    contents c;
    int rc = check_run(o, "cg_fit_save");
    if (rc < 0)
        return rc;
    const facts f = facts_of(o);
    rc = list_contents(&c, o->net, &f);
    rc = rc < 0 ? rc : cg_safetensors_save(path, c.names, c.arrays, c.n);
    free_contents(&c);
    return rc;
}

static int accept(const cg_fit_spec *o, const facts *mine, const facts *f, const char *path)
{
    if (f->batch != mine->batch || f->seed != mine->seed || f->rows != mine->rows)
        return cg__nn_fail(CG_EINVAL, "cg_fit_load: %s is of a run with batch %lld, seed %lld and %lld rows, this one has batch %lld, seed %lld and %lld rows", path, (long long)f->batch,
                           (long long)f->seed, (long long)f->rows, (long long)mine->batch, (long long)mine->seed, (long long)mine->rows);
    const bool scheduled = f->schedule[PARTS - 1] != 0;
    if (scheduled && !o->schedule)
        return cg__nn_fail(CG_EINVAL, "cg_fit_load: %s is of a run with a schedule, this one has none", path);
    if (scheduled)
        set_schedule(o->schedule, f->schedule);
    *o->state = f->state;
    return CG_OK;
}

CG_API int cg_fit_load(const cg_fit_spec *o, const char *path)
{
    contents c;
    int rc = check_run(o, "cg_fit_load");
    if (rc < 0)
        return rc;
    const facts mine = facts_of(o);
    facts f = { .batch = 0 };
    rc = list_contents(&c, o->net, &f);
    rc = rc < 0 ? rc : cg_safetensors_load(path, c.names, c.arrays, c.n);
    for (int k = 0; rc == CG_OK && k < KINDS; k++)
        memcpy((char *)&f + kinds[k].at, cg_array_data(c.arrays[c.nvars + k]), bytes_of(k));
    rc = rc < 0 ? rc : accept(o, &mine, &f, path);
    free_contents(&c);
    return rc;
}
