// SPDX-License-Identifier: MIT
/* A function for one pattern of stretching: NumPy's broadcasting at run time without a test in any kernel.
 *
 * Where two sizes meet and one is an input's, that one may be 1 at a call and stretch. The pattern of those that are 1 chooses the variant:
 * in its graph they are the known size 1, and sizes that meet and are not 1 are one size. So broadcasts and the sums of their gradients are
 * settled before any rule or plan is made, and a plan is made once a pattern, not once a size. The common pattern, none, is made by
 * cg_compile.
 */
#include "core/rewrite/rewrite.h"
#include "core/run/run.h"

/* ---- meetings */

typedef struct finder {
    cg_function *f;
    cg_node_vec xs, ys;                  /* of the two sides of a meeting */
    bool failed;
} finder;

static bool size_of(const cg_function *f, cg_dim_t d, cg_size *out)
{
    *out = (cg_size){ .input = -1, .known = d.n };
    if (!d.sym)
        return true;
    for (int i = 0; cg__is(d.sym, CG_OP_dim) && i < f->ninputs; i++)
        if (f->inputs[i] == d.sym->in[0]) {
            *out = (cg_size){ .input = i, .axis = (int)d.sym->attr[0].at[0] };
            return true;
        }
    return false;
}

static bool same_size(const cg_size *a, const cg_size *b)
{
    return a->input == b->input && (a->input < 0 ? a->known == b->known : a->axis == b->axis);
}

static void note_free(finder *s, const cg_size *a)
{
    for (int i = 0; i < s->f->free.n; i++)
        if (same_size(&s->f->free.at[i], a))
            return;
    if (a->input >= 0 && s->f->free.n < 64)
        s->failed |= !CG_PUSH(&s->f->free, *a);
}

static void meet_sizes(finder *s, const cg_node *n, cg_dim_t x, cg_dim_t y, bool stretches)
{
    cg_meeting m = { .stretches = stretches, .node = n };
    if (!size_of(s->f, x, &m.a) || !size_of(s->f, y, &m.b) || same_size(&m.a, &m.b) || (m.a.input < 0 && m.b.input < 0))
        return;
    if (stretches && ((m.a.input < 0 && m.a.known == 1) || (m.b.input < 0 && m.b.known == 1)))
        return;                          /* a known 1 stretches in every pattern */
    for (int i = 0; i < s->f->meetings.n; i++)
        if (same_size(&s->f->meetings.at[i].a, &m.a) && same_size(&s->f->meetings.at[i].b, &m.b) && s->f->meetings.at[i].stretches == stretches)
            return;
    s->failed |= !CG_PUSH(&s->f->meetings, m);
    if (stretches) {
        note_free(s, &m.a);
        note_free(s, &m.b);
    }
}

static bool of_several(cg_dim_t d) { return d.sym && cg__is(d.sym, CG_OP_broadcast_dim); }

static bool add_once(cg_node_vec *v, cg_node *n)
{
    for (int i = 0; i < v->n; i++)
        if (v->at[i] == n)
            return true;
    return CG_PUSH(v, n);
}

/* The sizes that met before in what is d now. */
static void met(finder *s, cg_dim_t d, cg_node_vec *out)
{
    out->n = 0;
    if (of_several(d))
        s->failed |= !CG_PUSH(out, d.sym);
    for (int i = 0; i < out->n; i++)
        for (int k = 0; k < 2 && cg__is(out->at[i], CG_OP_broadcast_dim); k++)
            s->failed |= !add_once(out, out->at[i]->in[k]);
}

static cg_dim_t among(cg_dim_t d, const cg_node_vec *v, int i) { return v->n ? (cg_dim_t){ CG_ANY, v->at[i] } : d; }

/* Of sizes that met before each meets each, but one that is what became of others must not differ from them. */
static void meet(finder *s, const cg_node *n, cg_dim_t x, cg_dim_t y, bool stretches)
{
    if (cg__dim_same(x, y) || (!stretches && (of_several(x) || of_several(y))))
        return;
    met(s, x, &s->xs);
    met(s, y, &s->ys);
    for (int i = 0; i < (s->xs.n ? s->xs.n : 1) && !s->failed; i++)
        for (int k = 0; k < (s->ys.n ? s->ys.n : 1) && !s->failed; k++)
            meet_sizes(s, n, among(x, &s->xs, i), among(y, &s->ys, k), stretches);
}

/* The axes of two operands from the right, but the last `skip`. */
static void meet_axes(finder *s, const cg_node *n, const cg_type *a, const cg_type *b, int skip)
{
    for (int i = skip; i < a->rank && i < b->rank; i++)
        meet(s, n, a->dim[a->rank - 1 - i], b->dim[b->rank - 1 - i], true);
}

static void look(finder *s, const cg_node *n)
{
    for (int i = 0; (n->op->props & CG_ELEMWISE) && i < n->nin; i++)
        for (int k = 0; k < i; k++)
            meet_axes(s, n, &n->in[k]->type, &n->in[i]->type, 0);
    if (cg__is(n, CG_OP_broadcast_to))
        meet_axes(s, n, &n->in[0]->type, &n->type, 0);
    if (cg__is(n, CG_OP_matmul)) {
        const cg_type *a = &n->in[0]->type, *b = &n->in[1]->type;
        meet_axes(s, n, a, b, 2);
        meet(s, n, a->dim[a->rank - 1], b->dim[b->rank - 2], false);
    }
    for (int i = 0; cg__is(n, CG_OP_cross_entropy) && i < n->type.rank; i++)
        meet(s, n, n->in[0]->type.dim[i + (i > 0)], n->in[1]->type.dim[i], false);
    for (int i = 0; cg__is(n, CG_OP_take_along_axis) && i < n->type.rank; i++)
        if (i != n->attr[0].at[0])
            meet(s, n, n->in[0]->type.dim[i], n->in[1]->type.dim[i], false);
}

int cg__find_meetings(cg_function *f, cg_error *err)
{
    finder s = { .f = f };
    cg_node_vec nodes = { 0 };
    s.failed = !cg__reach_values(f->roots, cg__nroots(f), &nodes);
    for (int i = 0; i < nodes.n && !s.failed; i++)
        look(&s, nodes.at[i]);
    CG_VEC_FREE(&nodes);
    CG_VEC_FREE(&s.xs);
    CG_VEC_FREE(&s.ys);
    return s.failed ? cg__fail(err, CG_ENOMEM, "cg_compile: '%s': no memory", f->name) : CG_OK;
}

/* ---- which sizes are one size in a pattern */

typedef struct maker {
    cg_function *f;
    cg_variant *v;
    cg_map memo;                         /* node of the function's graph -> of the variant's */
    CG_VEC(cg_size) size, as;            /* each size that meets, and what it is taken as */
    cg_error *err;
} maker;

static bool is_one(const maker *m, const cg_size *a)
{
    for (int i = 0; i < m->f->free.n; i++)
        if (same_size(&m->f->free.at[i], a))
            return m->v->ones >> i & 1;
    return a->input < 0 && a->known == 1;
}

static cg_size taken_as(const maker *m, const cg_size *a)
{
    for (int i = 0; i < m->size.n; i++)
        if (same_size(&m->size.at[i], a))
            return m->as.at[i];
    return *a;
}

/* A known size goes before one of an input, and an earlier input's before a later one's. */
static bool before(const cg_size *a, const cg_size *b)
{
    return a->input != b->input ? a->input < b->input : a->axis < b->axis;
}

static bool add_size(maker *m, const cg_size *a)
{
    for (int i = 0; i < m->size.n; i++)
        if (same_size(&m->size.at[i], a))
            return true;
    return CG_PUSH(&m->size, *a) && CG_PUSH(&m->as, is_one(m, a) ? (cg_size){ .input = -1, .known = 1 } : *a);
}

static bool unify(maker *m)
{
    for (int i = 0; i < m->f->meetings.n; i++) {
        const cg_meeting *q = &m->f->meetings.at[i];
        if (!add_size(m, &q->a) || !add_size(m, &q->b))
            return false;
        const cg_size a = taken_as(m, &q->a), b = taken_as(m, &q->b);
        if (same_size(&a, &b) || (q->stretches && (is_one(m, &q->a) || is_one(m, &q->b))) || (a.input < 0 && b.input < 0))
            continue;                    /* known and different: the call says so */
        const cg_size *keep = before(&a, &b) ? &a : &b, *drop = keep == &a ? &b : &a;
        for (int k = 0; k < m->as.n; k++)
            if (same_size(&m->as.at[k], drop))
                m->as.at[k] = *keep;
    }
    return true;
}

/* ---- the graph of a variant */

/* Input i with the sizes that the pattern settles; its other free sizes are its own. */
static bool make_input(maker *m, int i)
{
    cg_node *old = m->f->inputs[i];
    cg_graph *g = m->v->g;
    int64_t shape[CG_MAX_RANK];
    for (int k = 0; k < old->type.rank; k++) {
        const cg_size own = { .input = i, .axis = k }, as = taken_as(m, &own);
        shape[k] = !old->type.dim[k].sym ? old->type.dim[k].n : as.input < 0 ? as.known : CG_ANY;
    }
    cg_node *n = m->v->inputs[i] = cg_input(g, NULL, old->type.dtype, shape, old->type.rank);
    return n && cg__site_copy(n, old) && cg__map_set(&m->memo, cg__key(old), cg__key(n));
}

/* Free sizes of input i: those taken as another input's become that, in types and wherever they are read. */
static bool settle_sizes(maker *m, int i)
{
    const cg_node *old = m->f->inputs[i];
    cg_node *n = m->v->inputs[i];
    bool ok = true;
    for (int k = 0; k < old->type.rank && ok; k++) {
        const cg_size own = { .input = i, .axis = k }, as = taken_as(m, &own);
        if (!old->type.dim[k].sym)
            continue;
        if (as.input >= 0 && !same_size(&as, &own))
            n->type.dim[k] = m->v->inputs[as.input]->type.dim[as.axis];
        cg_node *size = cg__dim_node(m->v->g, n->type.dim[k]);
        ok = size && cg__map_set(&m->memo, cg__key(old->type.dim[k].sym), cg__key(size));
    }
    return ok;
}

static int no_memory(const maker *m)
{
    const cg_error *e = m->v && m->v->g ? &m->v->g->error : NULL;
    return e && e->code ? cg__fail(m->err, e->code, "%s", e->text) : cg__fail(m->err, CG_ENOMEM, "cg_compile: '%s': no memory", m->f->name);
}

/* Where no sizes meet there is one variant, and the function's graph may be its own. */
static int borrow(maker *m)
{
    cg_function *f = m->f;
    cg_variant *v = m->v;
    v->g = f->g;
    v->inputs = f->inputs;
    v->roots = cg__arena_copy(&v->g->arena, f->roots, (size_t)cg__nroots(f) * sizeof *v->roots);
    return v->roots ? CG_OK : no_memory(m);
}

static int copy(maker *m)
{
    cg_function *f = m->f;
    cg_variant *v = m->v;
    if (!f->meetings.n)
        return borrow(m);
    v->g = cg_graph_new();
    v->inputs = v->g ? cg__arena(&v->g->arena, (size_t)(f->ninputs + 1) * sizeof *v->inputs) : NULL;
    v->roots = v->g ? cg__arena(&v->g->arena, (size_t)(cg__nroots(f) + 1) * sizeof *v->roots) : NULL;
    bool ok = v->inputs && v->roots && unify(m);
    for (int i = 0; i < f->ninputs && ok; i++)
        ok = make_input(m, i);
    for (int i = 0; i < f->ninputs && ok; i++)
        ok = settle_sizes(m, i);
    ok = ok && cg__clone_all(v->g, f->roots, v->roots, cg__nroots(f), &m->memo);
    return ok ? CG_OK : no_memory(m);
}

/* ---- passes */

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
    if (rc < 0)
        cg__fail(err, (cg_status)rc, "cg_compile: constants cannot be computed: %s", cg__thread_error()->text);
    *cg__thread_error() = before;
    return rc;
}

static int rewrite(maker *m)
{
    cg_variant *v = m->v;
    v->written = cg__arena_copy(&v->g->arena, v->roots, (size_t)cg__nroots(m->f) * sizeof *v->roots);
    if (!v->written && cg__nroots(m->f))
        return no_memory(m);
    return m->f->no_rewrites ? CG_OK : cg__rewrite(v->g, v->roots, cg__nroots(m->f), evaluate, m->err);
}

cg_use cg__use_of(const char *role, const cg_node *n)
{
    cg_use use = { .role = role };
    cg_strb s = { 0 };
    cg__origin(n, &s);
    snprintf(use.name, sizeof use.name, "%s", s.failed ? n->op->name : s.at);
    cg__strb_free(&s);
    return use;
}

/* What the slots' buffers are for; a root that is an update's is the variable's new value. */
static void name_uses(cg_variant *v)
{
    static const char *const roles[CG_SLOT_KINDS] = { NULL, "input", "shared variable", "output", "constant" };
    const cg_plan *p = v->low.plan;
    for (int i = 0; i < p->slots.n; i++)
        if (p->slots.at[i].kind != CG_SLOT_ARENA)
            v->use[i] = cg__use_of(roles[p->slots.at[i].kind], p->slots.at[i].node);
    for (int i = v->f->noutputs; i < cg__nroots(v->f); i++) {
        const int slot = v->low.roots[i].slot;
        if (slot >= 0 && p->slots.at[slot].kind == CG_SLOT_OUTPUT) {
            v->use[slot] = v->f->targets[i - v->f->noutputs].use;
            v->use[slot].role = "the new value of";
        }
    }
}

static int lower(maker *m)
{
    cg_variant *v = m->v;
    cg_array **targets = cg__arena(&v->g->arena, (size_t)(cg__nroots(m->f) + 1) * sizeof *targets);
    if (!targets)
        return no_memory(m);
    for (int i = 0; i < cg__nroots(m->f); i++)
        targets[i] = i < m->f->noutputs ? NULL : m->f->targets[i - m->f->noutputs].array;
    const int rc = cg__lower(v->g, v->inputs, m->f->ninputs, v->roots, cg__nroots(m->f), targets, &v->low, m->err);
    if (rc < 0)
        return rc;
    const cg_plan *p = v->low.plan;
    v->n = cg__zalloc((size_t)(p->nums.n + 1) * sizeof *v->n);
    v->last_most = cg__zalloc((size_t)(p->nums.n + 1) * sizeof *v->last_most);
    v->least = p->nrepeats ? cg__zalloc((size_t)(p->nums.n + 1) * sizeof *v->least) : v->n;
    v->most = p->nrepeats ? cg__zalloc((size_t)(p->nums.n + 1) * sizeof *v->most) : v->n;
    v->offset = cg__zalloc((size_t)(p->slots.n + 1) * sizeof *v->offset);
    v->consts = cg__zalloc((size_t)(p->consts.n + 1) * sizeof(cg_buffer *));
    v->use = cg__zalloc((size_t)(p->slots.n + 1) * sizeof *v->use);
    if (!v->n || !v->least || !v->most || !v->last_most || !v->offset || !v->consts || !v->use)
        return no_memory(m);
    name_uses(v);
    return CG_OK;
}

static int place_const(maker *m, int slot)
{
    cg_variant *v = m->v;
    const int i = v->low.plan->slots.at[slot].index;
    const cg_const *c = &v->low.plan->consts.at[i];
    const size_t bytes = (size_t)c->count * cg__dtypes[c->dtype].bytes;
    cg_device *d = m->f->device;
    cg_error why = { 0 };
    int rc = cg__buffer_new(d, bytes, &v->use[slot], &v->consts[i], &why);
    if (rc == CG_OK && bytes)
        rc = d->backend->write(d, v->consts[i], 0, c->data, bytes, &why);
    return rc < 0 ? cg__fail(m->err, (cg_status)rc, "cg_compile: '%s': %s", m->f->name, why.text) : CG_OK;
}

static int prepare(maker *m)
{
    cg_variant *v = m->v;
    const cg_plan *p = v->low.plan;
    cg_device *d = m->f->device;
    pthread_mutex_lock(&d->lock);
    const int64_t before = d->kernels_built;
    cg_error why = { 0 };
    int rc = d->backend->prepare(d, p, &v->exe, &why);
    if (rc < 0)
        cg__fail(m->err, (cg_status)rc, "cg_compile: '%s': %s", m->f->name, why.text);
    m->f->stats.kernels_built += d->kernels_built - before;
    for (int i = 0; i < p->slots.n && rc == CG_OK; i++)
        if (p->slots.at[i].kind == CG_SLOT_CONST)
            rc = place_const(m, i);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static const struct { const char *name; int (*run)(maker *); } passes[] = { { "copy", copy }, { "rewrite", rewrite }, { "lower", lower }, { "prepare", prepare } };

static void free_variant(cg_variant *v)
{
    if (!v)
        return;
    cg_device *d = v->f->device;
    if (d) {
        pthread_mutex_lock(&d->lock);
        cg__calls_forget(d, v);
        if (v->exe)
            d->backend->unprepare(d, v->exe);
        pthread_mutex_unlock(&d->lock);
    }
    for (int i = 0; v->low.plan && v->consts && i < v->low.plan->consts.n; i++)
        cg__buffer_drop(v->consts[i]);
    if (v->low.plan)
        cg__plan_free(v->low.plan);
    CG_VEC_FREE(&v->low.vars);
    if (v->most != v->n) {
        cg__free(v->least);
        cg__free(v->most);
    }
    cg__free(v->n);
    cg__free(v->last_most);
    cg__free(v->offset);
    cg__free(v->consts);
    cg__free(v->use);
    if (v->g != v->f->g)
        cg_graph_free(v->g);
    cg__free(v);
}

static cg_variant *make(cg_function *f, uint64_t ones, cg_strb *said, cg_error *err)
{
    maker m = { .f = f, .err = err, .v = cg__zalloc(sizeof(cg_variant)) };
    int rc = m.v ? CG_OK : no_memory(&m);
    if (m.v) {
        m.v->f = f;
        m.v->ones = ones;
    }
    for (int i = 0; i < CG_LEN(passes) && rc == CG_OK; i++) {
        const double t0 = cg__now_us();
        rc = passes[i].run(&m);
        cg__strb(said, "%s%s %.0f us", i ? ", " : "", passes[i].name, cg__now_us() - t0);
    }
    cg__map_free(&m.memo);
    CG_VEC_FREE(&m.size);
    CG_VEC_FREE(&m.as);
    if (rc == CG_OK)
        return m.v;
    free_variant(m.v);
    return NULL;
}

/* ---- the variants of a function, the last used first */

static void to_front(cg_function *f, int i)
{
    cg_variant *v = f->variant[i];
    memmove(f->variant + 1, f->variant, (size_t)i * sizeof v);
    f->variant[0] = v;
}

cg_variant *cg__variant(cg_function *f, uint64_t ones, cg_strb *said, cg_error *err)
{
    for (int i = 0; i < f->nvariants; i++)
        if (f->variant[i]->ones == ones) {
            to_front(f, i);
            return f->variant[0];
        }
    cg_variant *v = make(f, ones, said, err);
    if (!v)
        return NULL;
    if (f->nvariants == CG_VARIANTS)
        free_variant(f->variant[--f->nvariants]);
    f->variant[f->nvariants++] = v;
    to_front(f, f->nvariants - 1);
    f->stats.plans++;
    return v;
}

void cg__variants_free(cg_function *f)
{
    while (f->nvariants)
        free_variant(f->variant[--f->nvariants]);
    CG_VEC_FREE(&f->meetings);
    CG_VEC_FREE(&f->free);
}
