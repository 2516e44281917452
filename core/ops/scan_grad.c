// SPDX-License-Identifier: MIT
/* The gradient of a scan: one loop that walks its steps backwards.
 *
 * Its states are the gradients of the forward states; each step differentiates the forward body once, from the state gradients and the
 * rows of the outputs' gradients to its args. Gradients of sequences are stacked, those of captures are sums, those of inits the last
 * states. The forward loop gets more outputs: the states before each step, and what is expensive in its body (whatever is not computed
 * element by element), unless it is to save its states only; all else is computed again from these.
 *
 * A truncated gradient walks the last steps only, so reads the last rows; to rows and inits before them it is zero. After until the last steps are
 * those that were made, and of each sequence the rows that they read.
 */
#include "core/graph/guard.h"
#include "core/graph/scan.h"
#include "core/ops/ops.h"

typedef struct saved { cg_node *node; int out; } saved;          /* a node of the forward body, and the output that stacks it */
typedef struct pass {
    const cg_node *n;
    cg_graph *g;
    cg_scan_view v;
    cg_scan *s;
    cg_node *made, *steps; bool cut;             /* how many steps were made, how many are walked; fewer, perhaps */
    cg_node **state, **seed, **arg, **darg;      /* gradient of each state (NULL: not a float), of each root; args, and their gradients */
    cg_map forward;                              /* nodes of the forward body */
    cg_guards guards;                            /* of these: what only a branch needs is not kept, for then each step would compute it */
    CG_VEC(saved) saved;
    cg_map memo;                                 /* forward or gradient node -> node of the backward body */
} pass;

static bool add_seed(pass *p, int root, cg_node *g)
{
    p->seed[root] = p->seed[root] ? cg_add(p->seed[root], g) : g;
    return p->seed[root] != NULL;
}

/* The gradient of what is left of state i after the loop. */
static cg_node *last_seed(const pass *p, cg_node *const *gout, int i)
{
    cg_node *last = NULL;
    bool ok = true;
    for (int k = 0; k < p->v.nouts && ok; k++)
        if (gout[k] && p->v.out[k].keep == CG_SCAN_LAST && p->v.out[k].root == i)
            ok = (last = last ? cg_add(last, gout[k]) : gout[k]) != NULL;
    return last || !ok ? last : cg__zeros(p->g, &p->v.init[i]->type);
}

static bool remember(pass *p, const cg_node *from, cg_node *to)
{
    return to && cg__map_set(&p->memo, cg__key(from), cg__key(to));
}

/* What flows into the roots of one step. */
static bool seeds(pass *p, cg_node *const *gout)
{
    bool ok = true;
    for (int i = 0; i < p->v.nstate && ok; i++)
        if (cg__is_float(p->v.init[i]->type.dtype)) {
            p->state[i] = cg_scan_state(p->s, last_seed(p, gout, i));
            ok = add_seed(p, i, p->state[i]);
        }
    for (int k = 0; k < p->v.nouts && ok; k++)
        if (gout[k] && (p->v.out[k].keep == CG_SCAN_ALL || p->v.out[k].keep == CG_SCAN_SUM))
            ok = add_seed(p, (int)p->v.out[k].root, p->v.out[k].keep == CG_SCAN_ALL ? cg__scan_seq(p->s, gout[k], !p->v.out[k].back) : gout[k]);
    return ok;
}

static bool find_args(pass *p)
{
    cg_node_vec nodes = { 0 };
    bool ok = cg__reach_values(p->v.root, p->v.nroots, &nodes) && cg__guards_find(&p->guards, &nodes, p->v.root, p->v.nroots, NULL, 0);
    for (int i = 0; i < nodes.n && ok; i++) {
        ok = cg__map_put(&p->forward, cg__key(nodes.at[i]), 1);
        if (cg__is(nodes.at[i], CG_OP_arg))
            p->arg[nodes.at[i]->attr[0].at[0]] = nodes.at[i];
    }
    CG_VEC_FREE(&nodes);
    return ok;
}

/* Stand for the seeds while the body is derived, in the body's own sizes: args are one node in all bodies, so an arg of a body around the loop, be
 * it only in a type, would be taken for the loop's own. */
static bool stand_ins(pass *p, cg_node **stand)
{
    bool ok = true;
    for (int i = 0; i < p->v.nroots && ok; i++)
        if (p->seed[i])
            ok = (stand[i] = cg__placeholder(p->g, &p->v.root[i]->type)) && remember(p, stand[i], p->seed[i]);
    return ok;
}

/* Gradients of one step's args, over the forward body: of the states, and of what is asked for. */
static int differentiate(pass *p, const bool *need)
{
    const int nargs = cg__scan_nargs(&p->v), first = p->v.nseq, after = p->v.nseq + p->v.nstate;
    cg_node **wrt = cg__zalloc((size_t)(nargs * 2 + p->v.nroots) * sizeof *wrt), **got = wrt ? wrt + nargs : NULL, **stand = wrt ? got + nargs : NULL;
    int *index = cg__zalloc((size_t)nargs * sizeof *index), n = 0;
    int rc = wrt && index && stand_ins(p, stand) ? CG_OK : CG_ENOMEM;
    for (int k = 0; k < nargs - 1 && rc == CG_OK; k++)
        if (p->arg[k] && cg__is_float(p->arg[k]->type.dtype) && ((k >= first && k < after) || need[1 + k])) {
            index[n] = k;
            wrt[n++] = p->arg[k];
        }
    if (rc == CG_OK)
        rc = cg__backward(&(cg_backward){ .root = p->v.root, .seed = stand, .nroots = p->v.nroots, .wrt = wrt, .nwrt = n }, got);
    for (int i = 0; i < n && rc == CG_OK; i++)
        p->darg[index[i]] = got[i];
    cg__free(wrt);
    cg__free(index);
    return rc;
}

/* Operands that have no gradient get its kind. An undefined one of a state is that of all, for it runs through the steps: true. */
static bool hand_on_kinds(pass *p, cg_node **gin)
{
    const int nvalues = cg__scan_nargs(&p->v) - 1;
    cg_node *of_all = NULL;
    for (int k = 0; k < nvalues; k++) {
        cg_node *d = p->darg[k];
        gin[1 + k] = d ? d : p->arg[k] ? CG_ZERO : CG_DISCONNECTED;          /* no floats; or no step reads it */
        if (cg__is_undefined(d) && k >= p->v.nseq && k < p->v.nseq + p->v.nstate)
            of_all = d;
        if (!cg__has_grad(d))
            p->darg[k] = NULL;
    }
    for (int k = 0; k < nvalues && of_all; k++)
        gin[1 + k] = of_all;
    return of_all != NULL;
}

/* ---- what the backward body reads of the forward one */

static int output_of(const pass *p, const cg_node *n)
{
    for (int k = 0; k < p->v.nouts; k++)
        if (p->v.out[k].keep == CG_SCAN_ALL && p->v.root[p->v.out[k].root] == n)
            return k;
    return -1;
}

/* A value of the forward body: also an output of an inner loop that only its gradient reads. */
static bool is_forward(const pass *p, const cg_node *n)
{
    return !n->nouts && (cg__map_has(&p->forward, n) || (cg__is(n, CG_OP_get) && cg__map_has(&p->forward, n->in[0])));
}

/* Kept rather than computed again: what is stacked anyhow, next states (their rings hold them), and what no loop can compute in passing. What has
 * another size in each step cannot be stacked, and the steps that an inner loop makes are a size. */
static bool is_saved(const pass *p, const cg_node *n)
{
    const bool state_arg = cg__is(n, CG_OP_arg) && n->attr[0].at[0] >= p->v.nseq && n->attr[0].at[0] < p->v.nseq + p->v.nstate;
    if (!is_forward(p, n) || cg__is(n, CG_OP_const) || (cg__guard_of(&p->guards, n) && !state_arg) || cg__scan_is_done(n) || !cg__scan_is_fixed(&p->v, n))
        return false;
    for (int i = 0; i < p->v.nstate; i++)
        if (p->v.root[i] == n && !cg__is(n, CG_OP_arg))
            return true;
    return state_arg || (!cg__is(n, CG_OP_arg) && (output_of(p, n) >= 0 || (!n->op->emit && p->v.save == CG_SAVE_EXPENSIVE)));
}

static bool find_saved(pass *p)
{
    cg_node_vec stack = { 0 };
    cg_map seen = { 0 };
    bool ok = true;
    for (int k = 0; k < cg__scan_nargs(&p->v) && ok; k++)
        ok = !p->darg[k] || CG_PUSH(&stack, p->darg[k]);
    while (stack.n && ok) {
        cg_node *n = stack.at[--stack.n];
        if (cg__map_has(&seen, n))
            continue;
        ok = cg__map_put(&seen, cg__key(n), 1);
        if (is_saved(p, n))
            ok = ok && CG_PUSH(&p->saved, (saved){ n, -1 });
        else
            for (int k = 0; k < cg__nvalues(n) && ok; k++)
                ok = CG_PUSH(&stack, n->in[k]);
    }
    CG_VEC_FREE(&stack);
    cg__map_free(&seen);
    return ok;
}

static int by_id(const void *a, const void *b)
{
    const saved *x = a, *y = b;
    return x->node->id < y->node->id ? -1 : x->node->id > y->node->id;
}

/* The forward loop with an output for everything saved. */
static cg_node *extended(pass *p)
{
    const cg_node *n = p->n;
    CG_VEC(cg_node *) in = { 0 };
    CG_VEC(int64_t) body = { 0 };
    CG_VEC(int64_t) outs = { 0 };
    bool ok = true;
    for (int i = 0; i < n->nin && ok; i++)
        ok = CG_PUSH(&in, n->in[i]) && (i < cg__nvalues(n) || CG_PUSH(&body, CG_REF(i)));
    for (int i = 0; i < n->attr[CG_SCAN_A_OUTS].n && ok; i++)
        ok = CG_PUSH(&outs, n->attr[CG_SCAN_A_OUTS].at[i]);
    if (p->saved.n)
        qsort(p->saved.at, (size_t)p->saved.n, sizeof *p->saved.at, by_id);
    for (int i = 0; i < p->saved.n && ok; i++) {
        saved *x = &p->saved.at[i];
        x->out = output_of(p, x->node);
        if (x->out >= 0)
            continue;
        int root = 0;
        while (root < body.n && in.at[in.n - body.n + root] != x->node)
            root++;
        if (root == body.n)
            ok = CG_PUSH(&body, CG_REF(in.n)) && CG_PUSH(&in, x->node);
        x->out = outs.n / 3;
        ok = ok && CG_PUSH(&outs, (int64_t)CG_SCAN_ALL) && CG_PUSH(&outs, (int64_t)root) && CG_PUSH(&outs, (int64_t)0);
    }
    cg_attr attrs[CG_MAX_ATTRS];
    memcpy(attrs, n->attr, sizeof attrs);
    attrs[CG_SCAN_A_BODY] = (cg_attr){ body.n, body.at };
    attrs[CG_SCAN_A_OUTS] = (cg_attr){ outs.n, outs.at };
    cg_node *made = ok ? cg__node(p->g, CG_OP_scan, in.at, in.n, attrs) : NULL;
    CG_VEC_FREE(&in);
    CG_VEC_FREE(&body);
    CG_VEC_FREE(&outs);
    return made;
}

/* Rows first..last-1 of sequence k. NULL: its end. */
static cg_node *rows_of(const pass *p, int k, cg_node *first, cg_node *last)
{
    return first || last ? cg_slice(p->v.seq[k], 0, first, last, 1) : p->v.seq[k];
}

/* The row of a sequence that is walked backwards at which the steps that were made begin. */
static cg_node *rows_left(const pass *p)
{
    return p->v.done < 0 ? NULL : cg__int(p->g, CG_OP_sub, p->v.steps, p->made);
}

/* The rows of sequence k that steps of the loop read. */
static cg_node *rows_read(const pass *p, int k)
{
    return p->v.back[k] ? rows_of(p, k, rows_left(p), NULL) : rows_of(p, k, NULL, p->v.done < 0 ? NULL : p->made);
}

/* Those of them whose steps are walked. */
static cg_node *rows_walked(const pass *p, int k)
{
    cg_node *first = rows_left(p);
    if (!p->cut)
        return rows_read(p, k);
    if (p->v.back[k])
        return rows_of(p, k, first, first ? cg__int(p->g, CG_OP_add, first, p->steps) : p->steps);
    return rows_of(p, k, cg__int(p->g, CG_OP_sub, p->made, p->steps), p->v.done < 0 ? NULL : p->made);
}

/* Args and saved nodes as the backward body has them. */
static bool fill_memo(pass *p)
{
    cg_node *f = extended(p);
    bool ok = f != NULL;
    for (int k = 0; k < cg__scan_nargs(&p->v) && ok; k++) {
        cg_node *a = p->arg[k];
        const int capture = k - p->v.nseq - p->v.nstate;
        if (!a || (k >= p->v.nseq && capture < 0))
            continue;
        if (k < p->v.nseq)
            ok = remember(p, a, cg__scan_seq(p->s, rows_read(p, k), !p->v.back[k]));
        else if (capture < p->v.ncapture)
            ok = remember(p, a, p->v.capture[capture]);
        else
            ok = remember(p, a, cg__int(p->g, CG_OP_sub, cg__int(p->g, CG_OP_sub, p->made, cg__const_i64(p->g, 1)), cg_scan_index(p->s)));
    }
    for (int i = 0; i < p->saved.n && ok; i++) {
        const saved *x = &p->saved.at[i];
        const bool back = x->out < p->v.nouts && p->v.out[x->out].back;
        ok = remember(p, x->node, cg__scan_seq(p->s, cg__get(f, x->out), !back));
    }
    return ok;
}

/* ---- the backward loop's results */

static cg_node *mapped(pass *p, int k)
{
    return p->darg[k] ? cg__clone(p->g, p->darg[k], &p->memo) : NULL;
}

static bool is_state(const pass *p, int k) { return k >= p->v.nseq && k < p->v.nseq + p->v.nstate; }

/* Inits are out of reach if fewer steps are walked than there surely are. */
static bool reached(const pass *p, int k)
{
    return !is_state(p, k) || !p->cut || cg__dim_from(p->made).sym;
}

/* The gradient of the rows that were walked as that of all rows. */
static cg_node *in_all_rows(const pass *p, cg_node *d, int k)
{
    cg_node *rows = rows_walked(p, k), *all = NULL;
    if (rows == p->v.seq[k])
        return d;
    return d && rows && rows->op->grad(rows, &d, (const bool[]){ true }, &all) == CG_OK ? all : NULL;
}

/* An init's gradient, if the walk came back to it. */
static cg_node *if_reached(const pass *p, cg_node *d)
{
    cg_node *in_reach = cg_less_equal(p->made, cg__const_i64(p->g, p->v.truncate));
    return d && in_reach ? cg_where(in_reach, d, cg__splat(p->g, d->type.dtype, 0)) : NULL;
}

static bool widen(const pass *p, int k, cg_node **d)
{
    if (k < p->v.nseq)
        *d = in_all_rows(p, *d, k);
    else if (p->cut && is_state(p, k))
        *d = if_reached(p, *d);
    return *d != NULL;
}

static int next_states(pass *p)
{
    int rc = CG_OK;
    for (int i = 0; i < p->v.nstate && rc == CG_OK; i++) {
        cg_node *d = p->state[i] ? mapped(p, p->v.nseq + i) : NULL;
        if (p->state[i])
            rc = cg_scan_next(p->s, p->state[i], d ? d : cg__zeros(p->g, &p->state[i]->type));
    }
    return rc;
}

/* where[i]: the operand whose gradient is output i of the loop. */
static int ask_for(pass *p, const bool *need, cg_node **gin, cg_node ***where, int *nout)
{
    int rc = CG_OK, state = 0;
    for (int k = 0; k < cg__scan_nargs(&p->v) - 1 && rc == CG_OK; k++) {
        const bool there = is_state(p, k) ? p->state[k - p->v.nseq] != NULL : p->darg[k] != NULL;
        if (need[1 + k] && there && !reached(p, k))
            gin[1 + k] = CG_ZERO;
        else if (need[1 + k] && there) {
            rc = is_state(p, k) ? cg__scan_last(p->s, state) : cg__scan_out(p->s, mapped(p, k), k < p->v.nseq ? CG_SCAN_ALL : CG_SCAN_SUM, k < p->v.nseq && !p->v.back[k]);
            where[(*nout)++] = &gin[1 + k];
        }
        state += is_state(p, k) && there;
    }
    return rc;
}

static int finish(pass *p, const bool *need, cg_node **gin)
{
    cg_node ***where = cg__zalloc((size_t)cg__scan_nargs(&p->v) * sizeof *where);
    int nout = 0, rc = where ? next_states(p) : CG_ENOMEM;
    if (rc == CG_OK)
        rc = ask_for(p, need, gin, where, &nout);
    if (rc == CG_OK && nout) {
        rc = cg_scan_end(p->s, where, nout);
        p->s = NULL;
    }
    for (int i = 0; i < nout && rc == CG_OK; i++)
        rc = widen(p, (int)(where[i] - gin) - 1, where[i]) ? CG_OK : CG_ENOMEM;
    cg__free(where);
    return rc;
}

static bool begin(pass *p)
{
    p->cut = p->v.truncate > 0;
    p->made = cg__scan_steps((cg_node *)(uintptr_t)p->n);
    p->steps = p->cut ? cg__int(p->g, CG_OP_minimum, p->made, cg__const_i64(p->g, p->v.truncate)) : p->made;
    return p->steps && (p->s = cg_scan_begin(p->g, CG_SCAN(.steps = p->steps, .save = p->v.save)));
}

CG_DECLARE_GRAD(cg__scan_grad)
{
    pass p = { .n = n, .g = n->graph, .v = cg__scan_view(n) };
    const size_t nargs = (size_t)cg__scan_nargs(&p.v);
    p.state = cg__zalloc((size_t)(p.v.nstate + 1) * sizeof *p.state);
    p.seed = cg__zalloc((size_t)(p.v.nroots + 1) * sizeof *p.seed);
    p.arg = cg__zalloc(nargs * sizeof *p.arg);
    p.darg = cg__zalloc(nargs * sizeof *p.darg);
    int rc = p.state && p.seed && p.arg && p.darg && begin(&p) ? CG_OK : CG_ENOMEM;
    if (rc == CG_OK)
        rc = find_args(&p) && seeds(&p, gout) ? CG_OK : CG_ENOMEM;
    if (rc == CG_OK)
        rc = differentiate(&p, need);
    if (rc == CG_OK && !hand_on_kinds(&p, gin))
        rc = find_saved(&p) && fill_memo(&p) ? finish(&p, need, gin) : CG_ENOMEM;
    cg__scan_drop(p.s);
    cg__map_free(&p.forward);
    cg__guards_free(&p.guards);
    cg__map_free(&p.memo);
    CG_VEC_FREE(&p.saved);
    cg__free(p.state);
    cg__free(p.seed);
    cg__free(p.arg);
    cg__free(p.darg);
    return rc;
}
