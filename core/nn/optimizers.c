// SPDX-License-Identifier: MIT
/* Optimisers: each kind is a row, and a function from a parameter, its gradient and its states to what they become.
 *
 * The formulas and where they come from stand in cg.h. What does not depend on the element (the rate, Adam's corrections of its step) is
 * arithmetic of rank 0: done once a loop, never an element.
 */
#include <math.h>
#include "core/nn/nn.h"

typedef struct rule {
    const cg_optimizer *o;               /* without zeros */
    cg_graph *g;
    cg_node *rate;                       /* f32 scalar */
    cg_node *step, *half;                /* Adam: rate / (1 - beta1^t), and 1 / sqrt(1 - beta2^t) */
} rule;
/* The new value of w; next[i]: that of state s[i]. */
typedef cg_node *step_function(const rule *r, cg_node *w, cg_node *g, cg_node *const *s, cg_node **next);

static cg_node *blend(cg_node *a, cg_node *b, double keep) { return cg_add(cg_scale(a, keep), cg_scale(b, 1 - keep)); }
static cg_node *go(const rule *r, cg_node *w, cg_node *direction) { return cg_sub(w, cg_mul(direction, r->rate)); }
static cg_node *over_root(const rule *r, cg_node *g, cg_node *v) { return cg_div(g, cg_add(cg_sqrt(v), cg_weak(r->g, r->o->eps))); }

static cg_node *sgd(const rule *r, cg_node *w, cg_node *g, cg_node *const *s, cg_node **next)
{
    (void)s, (void)next;
    return go(r, w, g);
}

static cg_node *momentum(const rule *r, cg_node *w, cg_node *g, cg_node *const *s, cg_node **next)
{
    next[0] = cg_add(cg_scale(s[0], r->o->momentum), g);
    return go(r, w, next[0]);
}

static cg_node *nesterov(const rule *r, cg_node *w, cg_node *g, cg_node *const *s, cg_node **next)
{
    next[0] = cg_add(cg_scale(s[0], r->o->momentum), g);
    return go(r, w, cg_add(g, cg_scale(next[0], r->o->momentum)));
}

static cg_node *adam(const rule *r, cg_node *w, cg_node *g, cg_node *const *s, cg_node **next)
{
    next[0] = blend(s[0], g, r->o->beta1);
    next[1] = blend(s[1], cg_square(g), r->o->beta2);
    cg_node *root = cg_add(cg_mul(cg_sqrt(next[1]), r->half), cg_weak(r->g, r->o->eps));
    return cg_sub(w, cg_div(cg_mul(next[0], r->step), root));
}

static cg_node *adamw(const rule *r, cg_node *w, cg_node *g, cg_node *const *s, cg_node **next)
{
    return adam(r, cg_sub(w, cg_mul(w, cg_scale(r->rate, r->o->decay))), g, s, next);
}

static cg_node *rmsprop(const rule *r, cg_node *w, cg_node *g, cg_node *const *s, cg_node **next)
{
    next[0] = blend(s[0], cg_square(g), r->o->rho);
    return go(r, w, over_root(r, g, next[0]));
}

static cg_node *adagrad(const rule *r, cg_node *w, cg_node *g, cg_node *const *s, cg_node **next)
{
    next[0] = cg_add(s[0], cg_square(g));
    return go(r, w, over_root(r, g, next[0]));
}

enum { STATES = 2 };
static const struct { const char *name; double rate, eps; const char *state[STATES]; bool counts; step_function *step; } kinds[] = {
    [CG_SGD] = { "sgd", 0.01, 0, { NULL }, false, sgd },
    [CG_MOMENTUM] = { "momentum", 0.01, 0, { "v" }, false, momentum },
    [CG_NESTEROV] = { "nesterov", 0.01, 0, { "v" }, false, nesterov },
    [CG_ADAM] = { "adam", 0.001, 1e-8, { "m", "v" }, true, adam },
    [CG_ADAMW] = { "adamw", 0.001, 1e-8, { "m", "v" }, true, adamw },
    [CG_RMSPROP] = { "rmsprop", 0.001, 1e-8, { "v" }, false, rmsprop },
    [CG_ADAGRAD] = { "adagrad", 0.01, 1e-10, { "v" }, false, adagrad },
};

CG_API const char *cg_optimizer_name(cg_optimizer_kind k)
{
    return (unsigned)k < CG_LEN(kinds) ? kinds[k].name : NULL;
}

static cg_optimizer complete(const cg_optimizer *given)
{
    cg_optimizer o = *given;
    const struct { double *at, missing; } defaults[] = { { &o.rate, kinds[o.kind].rate }, { &o.eps, kinds[o.kind].eps }, { &o.momentum, 0.9 },
                                                         { &o.beta1, 0.9 }, { &o.beta2, 0.999 }, { &o.rho, 0.9 }, { &o.decay, 0.01 } };
    for (int i = 0; i < CG_LEN(defaults); i++)
        *defaults[i].at = *defaults[i].at != 0 ? *defaults[i].at : defaults[i].missing;
    return o;
}

static bool push(cg_net *n, cg_node *var, cg_node *value)
{
    return var && value && CG_PUSH(&n->updates, (cg_update){ var, value });
}

/* 1 - beta^t = -expm1(t log beta), where 1 - beta loses no digits */
static cg_node *faded(cg_node *t, double beta) { return cg_neg(cg_expm1(cg_scale(t, log(beta)))); }

/* The step count is an i64 scalar: it lives on the host. */
static bool count_steps(cg_net *n, rule *r)
{
    cg_node *t = cg_net_state(n, "t", CG_I64, NULL, 0, 0), *next = t ? cg_add(t, cg_scalar(n->g, CG_I64, 1)) : NULL, *now = next ? cg_cast(next, CG_F32) : NULL;
    r->step = cg_div(r->rate, faded(now, r->o->beta1));
    r->half = cg_rsqrt(faded(now, r->o->beta2));
    return r->step && r->half && push(n, t, next);
}

static cg_node *state_of(cg_net *n, const char *parameter, const char *state, const cg_array *like)
{
    return cg__net_part_state(n, parameter, state, cg_array_shape(like), cg_array_rank(like), 0);
}

static bool update(cg_net *n, const rule *r, int k, cg_node *g)
{
    const cg_net_var v = n->vars.at[k];
    const cg_optimizer_kind kind = r->o->kind;
    cg_node *s[STATES] = { NULL }, *next[STATES] = { NULL };
    bool ok = true;
    for (int i = 0; i < STATES && kinds[kind].state[i] && ok; i++)
        ok = (s[i] = state_of(n, v.name, kinds[kind].state[i], v.value)) != NULL;
    ok = ok && push(n, v.node, kinds[kind].step(r, v.node, g, s, next));
    for (int i = 0; i < STATES && s[i] && ok; i++)
        ok = push(n, s[i], next[i]);
    return ok;
}

/* g clip / max(clip, |g|), where |g| is that of all gradients together. */
static bool clip(cg_node **g, int n, double norm)
{
    cg_node *sum = NULL;
    for (int i = 0; i < n; i++) {
        cg_node *squares = cg_sum(cg_square(g[i]), CG_REDUCE());
        sum = sum ? cg_add(sum, squares) : squares;
    }
    cg_node *most = sum ? cg_weak(cg_node_graph(sum), norm) : NULL, *factor = cg_div(most, cg_maximum(cg_sqrt(sum), most));
    for (int i = 0; i < n && factor; i++)
        g[i] = cg_mul(g[i], factor);
    return factor != NULL;
}

static void add_l2(cg_net *n, cg_node **g, double l2)
{
    for (int i = 0, k = 0; i < n->vars.n; i++)
        if (n->vars.at[i].trained) {
            g[k] = cg_add(g[k], cg_scale(n->vars.at[i].node, l2));
            k++;
        }
}

static int optimize(cg_net *n, cg_node *loss, rule *r, cg_node **list, int count)
{
    cg_node **wrt = list, **g = list + count, ***places = cg__zalloc((size_t)(count + 1) * sizeof *places);
    int parameter = 0;
    if (!places)
        return cg__nn_fail(CG_ENOMEM, "cg_optimize: no memory");
    for (int i = 0; i < n->vars.n; i++)
        if (n->vars.at[i].trained) {
            places[parameter] = &g[parameter];
            wrt[parameter++] = n->vars.at[i].node;
        }
    const int vars = n->vars.n;
    bool ok = cg_grad(loss, wrt, count, places, count) == CG_OK;
    cg__free(places);
    ok = ok && (r->o->clip_norm == 0 || clip(g, count, r->o->clip_norm));
    if (ok && r->o->l2 != 0)
        add_l2(n, g, r->o->l2);
    r->rate = ok ? cg_net_state(n, "rate", CG_F32, NULL, 0, r->o->rate) : NULL;
    ok = r->rate && (!kinds[r->o->kind].counts || count_steps(n, r));
    for (int i = 0, k = 0; i < vars && ok; i++)
        if (n->vars.at[i].trained)
            ok = update(n, r, i, g[k++]);
    return ok ? CG_OK : cg__net_why(n, "cg_optimize");
}

CG_API int cg_optimize(cg_net *n, cg_node *loss, const cg_optimizer *given)
{
    CG_BUILDER(n->g);
    if (given && given->struct_size != sizeof *given)
        return cg__nn_fail(CG_EINVAL, "cg_optimize: the options are not made by CG_OPTIMIZER of this version");
    if (!loss || !given || (unsigned)given->kind >= CG_LEN(kinds))
        return loss ? cg__nn_fail(CG_EINVAL, "cg_optimize: there is no such optimiser") : cg__net_why(n, "cg_optimize");
    if (!(given->clip_norm >= 0))
        return cg__nn_fail(CG_EINVAL, "cg_optimize: a clip_norm of %g; 0 is none", given->clip_norm);
    if (!(given->l2 >= 0))
        return cg__nn_fail(CG_EINVAL, "cg_optimize: an l2 of %g; 0 is none", given->l2);
    if (n->optimized)
        return cg__nn_fail(CG_EINVAL, "cg_optimize: the net has its updates already");
    const cg_optimizer o = complete(given);
    rule r = { .o = &o, .g = n->g };
    const int before = n->updates.n;
    int count = 0;
    for (int i = 0; i < n->vars.n; i++)
        count += n->vars.at[i].trained;
    cg_node **list = cg__zalloc((size_t)(2 * count + 1) * sizeof *list);
    const int rc = list ? optimize(n, loss, &r, list, count) : cg__nn_fail(CG_ENOMEM, "cg_optimize: no memory");
    cg__free(list);
    n->optimized = rc == CG_OK;
    if (rc < 0)
        n->updates.n = before;
    return rc;
}

CG_API int cg_net_set_rate(cg_net *n, double rate)
{
    cg_array *a = cg_net_find(n, "rate");
    const float v = (float)rate;
    return a ? cg_array_set(a, &v, sizeof v) : cg__nn_fail(CG_EINVAL, "cg_net_set_rate: cg_optimize comes first");
}
