// SPDX-License-Identifier: MIT
/* Building loops: placeholders while the body is open. scan_end.c closes it. */
#include "core/graph/build.h"
#include "core/graph/scan.h"

enum { MAX_TAP = 1000 };                 /* a state of taps is that many states */

/* ---- the parts of a node */

cg_scan_view cg__scan_view(const cg_node *n)
{
    const cg_attr *a = n->attr;
    cg_scan_view v = { .nseq = a[CG_SCAN_A_SEQ].n, .nstate = a[CG_SCAN_A_INIT].n, .ncapture = a[CG_SCAN_A_CAPTURE].n, .nroots = a[CG_SCAN_A_BODY].n,
                       .nouts = a[CG_SCAN_A_OUTS].n / 3, .steps = n->in[0], .back = a[CG_SCAN_A_BACK].at,
                       .out = (const cg_scan_out_row *)(const void *)a[CG_SCAN_A_OUTS].at,
                       .truncate = a[CG_SCAN_A_TRUNCATE].n > 0 ? a[CG_SCAN_A_TRUNCATE].at[0] : 0,
                       .save = a[CG_SCAN_A_SAVE].n == 1 ? (cg_scan_save)a[CG_SCAN_A_SAVE].at[0] : CG_SAVE_EXPENSIVE };
    v.seq = n->in + 1;
    v.init = v.seq + v.nseq;
    v.capture = v.init + v.nstate;
    v.root = v.capture + v.ncapture;
    v.done = v.nouts - 1;
    while (v.done >= 0 && v.out[v.done].keep != CG_SCAN_DONE)
        v.done--;
    return v;
}

cg_node *cg__scan_steps(cg_node *n)
{
    const cg_scan_view v = cg__scan_view(n);
    return v.done < 0 ? v.steps : cg__get(n, v.done);
}

bool cg__scan_is_done(const cg_node *n)
{
    return cg__is(n, CG_OP_get) && cg__is(n->in[0], CG_OP_scan) && cg__scan_view(n->in[0]).done == n->attr[0].at[0];
}

cg_node *cg__scan_source(const cg_scan_view *v, int k)
{
    return k < v->nseq + v->nstate + v->ncapture ? v->seq[k] : NULL;      /* they lie one behind the other */
}

const cg_node *cg__scan_sequence(const cg_node *rows)
{
    while (cg__is(rows, CG_OP_slice))
        rows = rows->in[0];
    return rows;
}

cg_type cg__scan_arg_type(const cg_scan_view *v, int k)
{
    const cg_node *source = cg__scan_source(v, k);
    cg_type t = source ? source->type : (cg_type){ .dtype = CG_I64 };
    if (k < v->nseq) {
        t.rank--;
        memmove(t.dim, t.dim + 1, (size_t)t.rank * sizeof *t.dim);
    }
    t.weak = false;
    return t;
}

/* ---- placeholders */

cg_node *cg__scan_arg(cg_graph *g, int64_t index, const cg_type *t)
{
    cg_node *in[CG_MAX_RANK];
    int64_t shape[CG_MAX_RANK];
    const int64_t dtype = t->dtype;
    int nin = 0;
    for (int i = 0; i < t->rank; i++) {
        shape[i] = t->dim[i].sym ? CG_REF(nin) : t->dim[i].n;
        if (t->dim[i].sym)
            in[nin++] = t->dim[i].sym;
    }
    return cg__node(g, CG_OP_arg, in, nin, (cg_attr[]){ { 1, &index }, { 1, &dtype }, { t->rank, shape } });
}

cg_node *cg__placeholder(cg_graph *g, const cg_type *t)
{
    return cg__scan_arg(g, ((int64_t)1 << 32) + (int64_t)++g->uids, t);
}

cg_node *cg__scan_wrong(cg_scan *s, cg_status code, const char *what, const char *fmt, ...)
{
    cg_error why = { 0 };
    va_list ap;
    va_start(ap, fmt);
    cg__fail_v(&why, code, fmt, ap);
    va_end(ap);
    s->failed = true;
    return cg__graph_fail(s->g, code, "cg_scan_%s: %s%s", what, s->said, why.text);
}

static cg_node *broken(cg_scan *s, const char *what, const char *why)
{
    return cg__scan_wrong(s, CG_EINVAL, what, "%s", why);
}

/* What is built of a named loop's placeholders tells which one and whose it is. */
static cg_node *placeholder(cg_scan *s, const char *what, int k, const cg_type *t)
{
    cg_node *place = cg__placeholder(s->g, t);
    char name[160];
    if (s->name)
        snprintf(name, sizeof name, "%s %d of loop '%s'", what, k, s->name);
    return s->name ? cg_name(place, name) : place;
}

static bool usable(cg_scan *s, const cg_node *n, const char *what)
{
    if (!s || !n || s->failed)
        return s ? !(s->failed = true) : false;
    if (n->graph != s->g)
        return cg__scan_wrong(s, CG_EINVAL, what, "%s belongs to another graph", cg__label(n)) != NULL;
    if (n->nouts)
        return cg__scan_wrong(s, CG_EINVAL, what, "%s has several outputs; take one with get", cg__label(n)) != NULL;
    return true;
}

/* The placeholder that was entered; NULL: there was no memory for it. */
static cg_node *entered(cg_scan *s, cg_node *place, bool ok)
{
    s->failed |= !ok;
    return ok || !place ? place : cg__graph_fail(s->g, CG_ENOMEM, "cg_scan: no memory");
}

/* ---- begin */

static bool take_name(cg_scan *s, const char *name)
{
    char said[120];
    s->said = "";
    if (!name || !*name)
        return true;
    snprintf(said, sizeof said, "loop '%s': ", name);
    const char *kept = cg__arena_str(&s->g->arena, said);
    s->said = kept ? kept : "";
    s->name = cg__arena_str(&s->g->arena, name);
    return kept && s->name;
}

static bool take_steps(cg_scan *s, cg_node *steps)
{
    if (!steps)
        return true;
    if (steps->graph != s->g)
        return cg__scan_wrong(s, CG_EINVAL, "begin", "the number of steps, %s, belongs to another graph", cg__label(steps)) != NULL;
    if (steps->nouts || steps->type.rank || (!cg__is_int(steps->type.dtype) && !steps->type.weak))
        return cg__scan_wrong(s, CG_EDTYPE, "begin", "the number of steps is %s, not an integer scalar", cg__label(steps)) != NULL;
    double n;
    s->steps = cg_cast(steps, CG_I64);
    return s->steps && (!cg__is_const(s->steps, &n) || n >= 0 || cg__scan_wrong(s, CG_EINVAL, "begin", "%.0f steps", n) != NULL);
}

static void check_gradient_options(cg_scan *s)
{
    if (s->truncate < 0)
        cg__scan_wrong(s, CG_EINVAL, "begin", "the gradient of the last %lld steps", (long long)s->truncate);
    else if (s->every < 0 || (s->save != CG_SAVE_EXPENSIVE && s->save != CG_SAVE_STATES))
        broken(s, "begin", s->every < 0 ? "checkpoints are every 1, 2, ... steps, or 0: none" : "there is no such way to save");
    else if (s->every && s->truncate)
        broken(s, "begin", "a truncated gradient needs no checkpoints: it keeps the last steps only");
}

CG_API cg_scan *cg_scan_begin(cg_graph *g, const cg_scan_spec *o)
{
    CG_BUILDER(g);
    static const cg_scan_spec none = { .struct_size = sizeof none };
    cg_scan *s = g ? cg__zalloc(sizeof *s) : NULL;
    if (!s) {
        if (g)
            cg__graph_fail(g, CG_ENOMEM, "cg_scan_begin: no memory");
        return NULL;
    }
    s->g = g;
    s->said = "";
    s->around = g->scan;
    g->scan = s;
    o = o ? o : &none;
    if (o->struct_size != sizeof *o) {
        broken(s, "begin", "the options are not made by CG_SCAN of this version");
        return s;
    }
    s->back = o->backwards;
    s->truncate = o->truncate_gradient;
    s->save = o->save;
    s->every = o->every;
    s->failed |= !take_name(s, o->name) || !take_steps(s, o->steps);
    if (!s->failed)
        check_gradient_options(s);
    return s;
}

static cg_node *seq_at(cg_scan *s, cg_node *x, int64_t tap, bool back)
{
    if (!usable(s, x, "seq"))
        return NULL;
    if (x->type.rank == 0)
        return cg__scan_wrong(s, CG_ESHAPE, "seq", "%s has no axis to walk along", cg__label(x));
    for (int i = 0; i < s->seqs.n; i++)
        if (s->seqs.at[i].outer == x && s->seqs.at[i].back == back && s->seqs.at[i].tap == tap)
            return s->seqs.at[i].place;
    const cg_scan_view one = { .nseq = 1, .seq = &x };
    const cg_type t = cg__scan_arg_type(&one, 0);
    const cg_scan_item item = { .outer = x, .back = back, .tap = tap, .place = placeholder(s, "sequence", s->seqs.n, &t) };
    return entered(s, item.place, item.place && CG_PUSH(&s->seqs, item));
}

cg_node *cg__scan_seq(cg_scan *s, cg_node *x, bool back)
{
    return seq_at(s, x, 0, back);
}

CG_API cg_node *cg_scan_seq(cg_scan *s, cg_node *x)
{
    CG_BUILDER(s ? s->g : NULL);
    return s ? seq_at(s, x, 0, s->back) : NULL;
}

CG_API cg_node *cg_scan_seq_at(cg_scan *s, cg_node *x, int64_t tap)
{
    CG_BUILDER(s ? s->g : NULL);
    if (s && (tap < -INT32_MAX || tap > INT32_MAX))
        return broken(s, "seq_at", "no sequence is as long as that tap is far");
    return s ? seq_at(s, x, tap, s->back) : NULL;
}

/* head < 0: the state's own. */
static cg_node *add_state(cg_scan *s, cg_node *init, cg_node *next, int head)
{
    const cg_scan_item item = { .outer = init, .place = init ? placeholder(s, "state", s->states.n, &init->type) : NULL, .next = next, .head = head < 0 ? s->states.n : head };
    return entered(s, item.place, item.place && CG_PUSH(&s->states, item));
}

CG_API cg_node *cg_scan_state(cg_scan *s, cg_node *init)
{
    CG_BUILDER(s ? s->g : NULL);
    return usable(s, init, "state") ? add_state(s, init->type.weak ? cg_cast(init, CG_F32) : init, NULL, -1) : NULL;
}

/* How many steps the taps reach back; 0: some are no taps of a state. */
static int64_t depth_of(const int64_t *taps, int n)
{
    int64_t depth = 0;
    for (int i = 0; i < n; i++) {
        if (taps[i] >= 0 || taps[i] < -MAX_TAP)
            return 0;
        for (int k = 0; k < i; k++)
            if (taps[k] == taps[i])
                return 0;
        depth = -taps[i] > depth ? -taps[i] : depth;
    }
    return depth;
}

/* The values that a state had before its first step, oldest first, as an array of just so many rows. */
static cg_node *past_values(cg_scan *s, cg_node *init, int64_t depth)
{
    const cg_type *t = &init->type;
    if (!t->rank || (!t->dim[0].sym && t->dim[0].n != depth))
        return cg__scan_wrong(s, CG_ESHAPE, "state_taps", "taps that reach %lld steps back need that many first values along axis 0, not %s", (long long)depth, cg__label(init));
    cg_node *dims[CG_MAX_RANK] = { cg__const_i64(s->g, depth) };
    for (int i = 1; i < t->rank; i++)
        dims[i] = cg__dim_node(s->g, t->dim[i]);
    return t->dim[0].sym ? cg_reshape_to(init, dims, t->rank) : init;
}

/* A state of several taps is as many states as they reach back: that of tap -j is next what that of tap -j+1 is now. */
CG_API int cg_scan_state_taps(cg_scan *s, cg_node *init, const int64_t *taps, int n, cg_node **const *out, int nout)
{
    CG_BUILDER(s ? s->g : NULL);
    for (int i = 0; i < nout; i++)
        *out[i] = NULL;
    if (!usable(s, init, "state_taps"))
        return CG_EINVAL;
    const int64_t depth = depth_of(taps, n);
    if (!depth || n != nout) {
        broken(s, "state_taps", depth ? "the places for nodes are not as many as the taps" : "the taps of a state are negative, and each is given once");
        return CG_EINVAL;
    }
    const int head = s->states.n;
    cg_node *rows = past_values(s, init, depth), *before = NULL;
    for (int64_t j = 1; j <= depth && rows; j++) {
        cg_node *row = cg_slice(rows, 0, cg__const_i64(s->g, depth - j), cg__const_i64(s->g, depth - j + 1), 1);
        before = add_state(s, cg_squeeze(row, 0), before, head);
        for (int i = 0; i < n; i++)
            if (taps[i] == -j)
                *out[i] = before;
    }
    return s->failed ? CG_EINVAL : CG_OK;
}

CG_API cg_node *cg_scan_index(cg_scan *s)
{
    CG_BUILDER(s ? s->g : NULL);
    if (s && !s->step)
        s->step = placeholder(s, "step", 0, &(cg_type){ .dtype = CG_I64 });
    return s ? s->step : NULL;
}

/* ---- draws and shared variables */

/* At least as many as the loop has steps: a number that is the same in every step of the loops around it. */
static cg_node *most_steps(const cg_scan *s)
{
    cg_node *most = s->steps;
    cg_node_vec nodes = { 0 };
    for (int i = 0; i < s->seqs.n && !s->steps; i++) {
        cg_node *rows = cg__dim_node(s->g, s->seqs.at[i].outer->type.dim[0]);
        most = most ? cg__int(s->g, CG_OP_minimum, most, rows) : rows;
    }
    bool fixed = most != NULL;
    if (fixed && !cg__reach_values(&most, 1, &nodes))
        return cg__graph_fail(s->g, CG_ENOMEM, "cg_scan: no memory");
    for (int i = 0; i < nodes.n && fixed; i++)
        fixed = !cg__is(nodes.at[i], CG_OP_arg);
    CG_VEC_FREE(&nodes);
    return fixed ? most : cg__const_i64(s->g, (int64_t)1 << 32);
}

cg_node *cg__scan_row(cg_scan *s)
{
    CG_VEC(cg_scan *) loops = { 0 };
    cg_node *row = NULL;
    for (cg_scan *at = s; at; at = at->around)
        if (!CG_PUSH(&loops, at))
            s->failed = true;
    for (int i = loops.n - 1; i >= 0 && !s->failed; i--) {
        cg_node *step = cg_scan_index(loops.at[i]);
        row = row ? cg__int(s->g, CG_OP_add, cg__int(s->g, CG_OP_mul, row, most_steps(loops.at[i])), step) : step;
    }
    CG_VEC_FREE(&loops);
    return row ? row : cg__graph_fail(s->g, CG_ENOMEM, "cg_scan: no memory");
}

/* What the variable is where s begins or, while it is open, at this place of its body. */
static cg_node *value_now(const cg_scan *s, cg_node *var)
{
    for (; s; s = s->around)
        for (int i = 0; i < s->states.n; i++)
            if (s->states.at[i].shared == var)
                return s->states.at[i].next ? s->states.at[i].next : s->states.at[i].place;
    cg_node *update = cg__default_update(var);
    return update ? update : var;
}

CG_API cg_node *cg_scan_shared(cg_scan *s, cg_node *var)
{
    CG_BUILDER(s ? s->g : NULL);
    if (!usable(s, var, "shared"))
        return NULL;
    if (!cg__is(var, CG_OP_shared))
        return broken(s, "shared", "the node is not a shared variable");
    for (int i = 0; i < s->states.n; i++)
        if (s->states.at[i].shared == var)
            return s->states.at[i].place;
    if (s->around && !cg_scan_shared(s->around, var))
        return NULL;
    cg_node *place = cg_scan_state(s, value_now(s->around, var));
    if (place)
        s->states.at[s->states.n - 1].shared = var;
    return place;
}

static int state_of(const cg_scan *s, const cg_node *place)
{
    for (int i = 0; i < s->states.n; i++)
        if (s->states.at[i].place == place)
            return i;
    return -1;
}

/* A value that can stand where `like` stands: the dtype of a bare number follows. */
static cg_node *fitting(cg_node *value, const cg_node *like)
{
    return value->type.weak ? cg_cast(value, like->type.dtype) : value;
}

CG_API int cg_scan_next(cg_scan *s, cg_node *state, cg_node *value)
{
    CG_BUILDER(s ? s->g : NULL);
    if (!usable(s, state, "next") || !usable(s, value, "next"))
        return CG_EINVAL;
    const int place = state_of(s, state), i = place < 0 ? -1 : s->states.at[place].head;
    if (i < 0 || s->states.at[i].next) {
        cg__scan_wrong(s, CG_EINVAL, "next", i < 0 ? "%s is not a state of this loop" : "%s has a next value already", cg__label(state));
        return CG_EINVAL;
    }
    value = fitting(value, state);
    bool fits = value && value->type.dtype == state->type.dtype && value->type.rank == state->type.rank;
    for (int k = 0; fits && k < state->type.rank; k++)
        fits = value->type.dim[k].sym || state->type.dim[k].sym || value->type.dim[k].n == state->type.dim[k].n;
    if (!fits) {
        const bool other = value && value->type.dtype != state->type.dtype;
        cg__scan_wrong(s, other ? CG_EDTYPE : CG_ESHAPE, "next", "state %d begins as %s, but its next value is %s", i, cg__label(s->states.at[i].outer), value ? cg__label(value) : "none");
        return other ? CG_EDTYPE : CG_ESHAPE;
    }
    s->states.at[i].next = value;
    return CG_OK;
}

/* LAST is the value of a state after the loop; for any other value a state is made that nothing reads. */
static int last_state(cg_scan *s, cg_node *value)
{
    for (int i = 0; i < s->states.n; i++)
        if (s->states.at[i].next == value)
            return i;
    cg_node *place = cg_scan_state(s, cg__zeros(s->g, &value->type));
    return place && cg_scan_next(s, place, value) == CG_OK ? s->states.n - 1 : -1;
}

int cg__scan_out(cg_scan *s, cg_node *value, cg_scan_keep keep, bool back)
{
    if (!usable(s, value, "out"))
        return CG_EINVAL;
    value = value->type.weak ? cg_cast(value, CG_F32) : value;
    const bool sum = keep == CG_SCAN_SUM && value && value->type.dtype == CG_BOOL;
    if (!value || sum || value->type.rank == CG_MAX_RANK || keep < CG_SCAN_ALL || keep > CG_SCAN_SUM) {
        broken(s, "out", sum ? "booleans do not add up; cast them" : "no such way to keep a value, or its rank is too large");
        return CG_EINVAL;
    }
    const int state = keep == CG_SCAN_LAST ? last_state(s, value) : -1;
    s->failed |= (keep == CG_SCAN_LAST && state < 0) || !CG_PUSH(&s->results, (cg_scan_result){ value, (int)keep, back, state });
    return s->failed ? CG_ENOMEM : CG_OK;
}

int cg__scan_last(cg_scan *s, int state)
{
    s->failed |= !CG_PUSH(&s->results, (cg_scan_result){ s->states.at[state].place, CG_SCAN_LAST, false, state });
    return s->failed ? CG_ENOMEM : CG_OK;
}

int cg__scan_done(cg_scan *s)
{
    s->failed |= !CG_PUSH(&s->results, (cg_scan_result){ s->until, CG_SCAN_DONE, false, -1 });
    return s->failed ? CG_ENOMEM : CG_OK;
}

CG_API int cg_scan_until(cg_scan *s, cg_node *cond)
{
    CG_BUILDER(s ? s->g : NULL);
    if (!usable(s, cond, "until"))
        return CG_EINVAL;
    if (s->until) {
        broken(s, "until", "the loop has a condition already");
        return CG_EINVAL;
    }
    if (s->every) {
        broken(s, "until", "checkpoints are of loops that make all their steps");
        return CG_EINVAL;
    }
    if (cond->type.rank || cond->type.dtype != CG_BOOL) {
        cg__scan_wrong(s, CG_ESHAPE, "until", "the condition is %s, not a bool scalar", cg__label(cond));
        return CG_ESHAPE;
    }
    s->until = cond;
    return CG_OK;
}

CG_API int cg_scan_out(cg_scan *s, cg_node *value, cg_scan_keep keep)
{
    CG_BUILDER(s ? s->g : NULL);
    return s ? cg__scan_out(s, value, keep, false) : CG_EINVAL;
}

/* ---- opening a finished loop again */

bool cg__scan_args(cg_scan *s, const cg_node *n, cg_node **args)
{
    const cg_scan_view v = cg__scan_view(n);
    for (int i = 0; i < v.nseq; i++)
        args[i] = cg__scan_seq(s, v.seq[i], v.back[i] != 0);
    for (int i = 0; i < v.nstate; i++)
        args[v.nseq + i] = cg_scan_state(s, v.init[i]);
    for (int i = 0; i < v.ncapture; i++)
        args[v.nseq + v.nstate + i] = v.capture[i];
    args[v.nseq + v.nstate + v.ncapture] = cg_scan_index(s);
    return !s->failed && args[v.nseq + v.nstate + v.ncapture];
}

/* Args of the body in the memo: the arg nodes themselves are found among what the roots reach. */
bool cg__scan_map_args(const cg_node *n, cg_node *const *args, cg_map *memo)
{
    const cg_scan_view v = cg__scan_view(n);
    cg_node_vec nodes = { 0 };
    bool ok = cg__reach_values(v.root, v.nroots, &nodes);
    for (int i = 0; i < nodes.n && ok; i++)
        if (cg__is(nodes.at[i], CG_OP_arg))
            ok = args[nodes.at[i]->attr[0].at[0]] && cg__map_set(memo, cg__key(nodes.at[i]), cg__key(args[nodes.at[i]->attr[0].at[0]]));
    CG_VEC_FREE(&nodes);
    return ok;
}
