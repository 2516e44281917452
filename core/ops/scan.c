// SPDX-License-Identifier: MIT
/* scan: its type, and its way to a REPEAT step. core/graph/scan.h says what the node means.
 *
 * States live in rings of rows, of which a step writes one and reads others, so nothing is copied and an output is a view of the rows. States that
 * only hand on what another was a step ago, as those of several taps do, share its ring. Of an output of which later code reads but the last rows
 * no others are kept: it is placed as if it had all. What changes from step to step are numbers only.
 */
#include "core/graph/scan.h"
#include "core/ops/ops.h"

/* ---- arg and get */

CG_DECLARE_INFER(cg__arg_infer)
{
    const int64_t index = cg__attr_int(n, 0, -1), dtype = cg__attr_int(n, 1, -1);
    if (index < 0 || dtype < 0 || dtype >= CG_DTYPE_COUNT)
        return cg__fail(err, CG_EINVAL, "arg: needs an index and a dtype");
    n->type = (cg_type){ .dtype = (cg_dtype)dtype };
    if (cg__shape_from(n, 2, 0, &n->type, err) < 0)
        return err->code;
    for (int i = 0; i < n->type.rank; i++)
        if (!n->type.dim[i].sym && n->type.dim[i].n < 0)
            return cg__fail(err, CG_ESHAPE, "arg: size %lld on axis %d", (long long)n->type.dim[i].n, i);
    return CG_OK;
}

CG_DECLARE_INFER(cg__tuple_infer)
{
    n->nouts = n->nin;
    n->outs = cg__arena(&n->graph->arena, (size_t)n->nin * sizeof *n->outs);
    if (!n->nin || !n->outs)
        return cg__fail(err, n->nin ? CG_ENOMEM : CG_EINVAL, "tuple: %s", n->nin ? "no memory" : "needs an operand");
    for (int k = 0; k < n->nin; k++)
        n->outs[k] = n->in[k]->type;
    n->type = (cg_type){ .dtype = CG_DTYPE_COUNT };
    return CG_OK;
}

CG_DECLARE_SIMPLE(cg__get_simple)
{
    return cg__is(n->in[0], CG_OP_tuple) ? n->in[0]->in[n->attr[0].at[0]] : CG_ITSELF;
}

CG_DECLARE_INFER(cg__get_infer)
{
    const cg_node *t = n->in[0];
    const int64_t k = cg__attr_int(n, 0, 0);
    if (k < 0 || k >= t->nouts)
        return cg__fail(err, CG_EINVAL, "get: %s has no output %lld", cg__label(t), (long long)k);
    n->type = t->outs[k];
    return cg__set_ints(n, 0, &k, 1);
}

/* ---- infer */

static int wrong(cg_error *err, const char *why)
{
    return cg__fail(err, CG_EINVAL, "scan: %s", why);
}

/* The lists seq, init, capture and body name the operands after the number of steps, each once and in this order. */
static int check_lists(cg_node *n, cg_error *err)
{
    int at = 1;
    for (int k = CG_SCAN_A_SEQ; k <= CG_SCAN_A_BODY; k++) {
        for (int i = 0; i < n->attr[k].n; i++, at++)
            if (n->attr[k].at[i] != CG_REF(at) || at >= n->nin)
                return wrong(err, "operands are given in another order than seq, init, capture, body");
        if (n->attr[k].n < 0)
            n->attr[k] = (cg_attr){ 0, NULL };
    }
    if (at != n->nin || n->in[0]->type.rank || n->in[0]->type.dtype != CG_I64)
        return wrong(err, "the number of steps must be an i64 scalar, and every other operand stand in a list");
    return CG_OK;
}

/* That the last k steps are differentiated says nothing where there are no more. */
static int check_truncation(cg_node *n, cg_error *err)
{
    const int64_t k = cg__attr_int(n, CG_SCAN_A_TRUNCATE, INT64_MAX);
    const cg_dim_t steps = cg__dim_from(n->in[0]);
    if (k <= 0)
        return wrong(err, "truncate_gradient is a positive number of steps");
    if (k == INT64_MAX || (!steps.sym && steps.n <= k))
        n->attr[CG_SCAN_A_TRUNCATE] = (cg_attr){ 0, NULL };
    return CG_OK;
}

static int check_rows(cg_node *n, const cg_scan_view *v, cg_error *err)
{
    bool good = n->attr[CG_SCAN_A_BACK].n == v->nseq || (n->attr[CG_SCAN_A_BACK].n < 0 && !v->nseq);
    for (int i = 0; good && i < v->nseq; i++)
        good = (v->back[i] == 0 || v->back[i] == 1) && v->seq[i]->type.rank > 0;
    good = good && v->nouts > 0 && n->attr[CG_SCAN_A_OUTS].n == v->nouts * 3 && v->nroots >= v->nstate;
    for (int i = 0; good && i < v->nouts; i++) {
        const cg_scan_out_row *o = &v->out[i];
        good = o->keep >= CG_SCAN_ALL && o->keep <= CG_SCAN_SUM && o->root >= 0 && o->root < (o->keep == CG_SCAN_LAST ? v->nstate : v->nroots) &&
               (o->back == 0 || o->back == 1) && v->root[o->root]->type.rank < CG_MAX_RANK;
    }
    if (n->attr[CG_SCAN_A_BACK].n < 0)
        n->attr[CG_SCAN_A_BACK] = (cg_attr){ 0, NULL };
    if (cg__attr_int(n, CG_SCAN_A_SAVE, CG_SAVE_EXPENSIVE) == CG_SAVE_EXPENSIVE)
        n->attr[CG_SCAN_A_SAVE] = (cg_attr){ 0, NULL };
    else if (v->save != CG_SAVE_STATES)
        return wrong(err, "save is 0 (what is expensive) or 1 (states)");
    return good ? CG_OK : wrong(err, "back has a 0 or 1 a sequence, outs has keep, root and back an output, and each state has a root");
}

static int check_body(const cg_scan_view *v, cg_error *err)
{
    cg_node_vec nodes = { 0 };
    int rc = cg__reach_values(v->root, v->nroots, &nodes) ? CG_OK : cg__fail(err, CG_ENOMEM, "scan: no memory");
    for (int i = 0; i < nodes.n && rc == CG_OK; i++) {
        const cg_node *a = nodes.at[i];
        if (a->op->props & CG_IDENTITY)
            rc = cg__fail(err, CG_EINVAL, "scan: the body reads %s; it may read only its args", cg__label(a));
        if (!cg__is(a, CG_OP_arg))
            continue;
        const int64_t k = a->attr[0].at[0];
        const cg_type want = cg__scan_arg_type(v, k < cg__scan_nargs(v) ? (int)k : 0);
        if (k >= cg__scan_nargs(v) || !cg__type_may_be(&a->type, &want))
            rc = cg__fail(err, CG_ESHAPE, "scan: the body reads %s as arg %lld, which is something else", cg__label(a), (long long)k);
    }
    for (int i = 0; i < v->nstate && rc == CG_OK; i++)
        if (!cg__type_may_be(&v->root[i]->type, &v->init[i]->type))
            rc = cg__fail(err, CG_ESHAPE, "scan: state %d begins as %s but goes on as %s", i, cg__label(v->init[i]), cg__label(v->root[i]));
    CG_VEC_FREE(&nodes);
    return rc;
}

/* A size of the body in terms of the outer graph: it must be made of captures. */
static int outer_dim(const cg_node *n, const cg_scan_view *v, cg_dim_t in, cg_dim_t *out, cg_error *err)
{
    cg_node_vec nodes = { 0 };
    cg_map memo = { 0 };
    *out = in;
    if (!in.sym)
        return CG_OK;
    int rc = cg__reach_values(&in.sym, 1, &nodes) ? CG_OK : CG_ENOMEM;
    for (int i = 0; i < nodes.n && rc == CG_OK; i++) {
        const int64_t k = cg__is(nodes.at[i], CG_OP_arg) ? nodes.at[i]->attr[0].at[0] - v->nseq - v->nstate : 0;
        if (k < 0 || k >= v->ncapture)
            rc = cg__is(nodes.at[i], CG_OP_arg) ? cg__fail(err, CG_ESHAPE, "scan: a size of an output changes from step to step") : CG_OK;
        else if (cg__is(nodes.at[i], CG_OP_arg))
            rc = cg__map_set(&memo, cg__key(nodes.at[i]), cg__key(v->capture[k])) ? CG_OK : CG_ENOMEM;
    }
    cg_node *sym = rc == CG_OK ? cg__clone(n->graph, in.sym, &memo) : NULL;
    if (sym)
        *out = cg__dim_from(sym);
    CG_VEC_FREE(&nodes);
    cg__map_free(&memo);
    return sym ? CG_OK : cg__fail(err, err->code ? err->code : CG_ENOMEM, "scan: no memory");
}

static int infer_out(cg_node *n, const cg_scan_view *v, int k, cg_error *err)
{
    const cg_scan_out_row *o = &v->out[k];
    const cg_type *in = &v->root[o->root]->type;
    cg_type t = { .dtype = in->dtype };
    const cg_dim_t steps = cg__dim_from(n->in[0]);
    int rc = CG_OK;
    if (o->keep == CG_SCAN_ALL)
        t.dim[t.rank++] = steps;
    for (int i = 0; i < in->rank && rc == CG_OK; i++)
        rc = outer_dim(n, v, in->dim[i], &t.dim[t.rank++], err);
    n->outs[k] = t;
    return rc;
}

CG_DECLARE_INFER(cg__scan_infer)
{
    int rc = check_lists(n, err);
    if (rc < 0 || (rc = check_truncation(n, err)) < 0)
        return rc;
    const cg_scan_view v = cg__scan_view(n);
    if ((rc = check_rows(n, &v, err)) < 0 || (rc = check_body(&v, err)) < 0)
        return rc;
    n->nbody = v.nroots;
    n->nouts = v.nouts;
    n->type = (cg_type){ .dtype = CG_DTYPE_COUNT };
    n->outs = cg__arena(&n->graph->arena, (size_t)v.nouts * sizeof *n->outs);
    if (!n->outs)
        return cg__fail(err, CG_ENOMEM, "scan: no memory");
    for (int k = 0; k < v.nouts && rc == CG_OK; k++)
        rc = infer_out(n, &v, k, err);
    return rc;
}

/* ---- lower */

bool cg__scan_reads_dense(const cg_node *scan, int k)
{
    const cg_scan_view v = cg__scan_view(scan);
    return k > 0 && (k <= v.nseq || k > v.nseq + v.nstate);
}

/* Rows of the last values of a chain of states. Counted from the value after the last step: before step t the state of lag j is row t-count-j, so
 * what the step writes is lag 0, an init is the row at t = 0 and the state after the loop that at t = count. All `rows` that are kept lie in this
 * order, if `back` in the other one. */
typedef struct ring { int slot, depth; cg_num size, rows; bool all, back; } ring;       /* depth: states; size: elements of a row */
typedef struct state { int leader, head, lag; bool led; ring ring; } state;             /* leader: whose last value it is, or -1; ring: of a head, whose lag is 1 */
typedef struct loop {
    cg_lower *L;
    cg_plan *p;
    const cg_node *n;
    cg_scan_view v;
    cg_num count, step;
    state *state;
    cg_node **roots; cg_target *targets; int nroots;     /* of the body's frame: a root may have several targets */
    cg_num *arg_off; int *arg_slot;                      /* of sequences and captures, outside */
} loop;

static cg_num num2(const loop *r, cg_num_op op, cg_num a, cg_num b) { return cg__num(r->p, op, a, b, 0, 0); }
static cg_num mul(const loop *r, cg_num a, cg_num b) { return num2(r, CG_N_MUL, a, b); }
static cg_num plus(const loop *r, cg_num a, int64_t k) { return num2(r, CG_N_ADD, a, cg__num_const(r->p, k)); }

/* The row of a stacked array that this step has. */
static cg_num row_of(const loop *r, bool back)
{
    return back ? num2(r, CG_N_SUB, plus(r, r->count, -1), r->step) : r->step;
}

/* The state whose value before the step n is, or -1. */
static int state_of(const loop *r, const cg_node *n)
{
    const int64_t k = cg__is(n, CG_OP_arg) ? n->attr[0].at[0] - r->v.nseq : -1;
    return k >= 0 && k < r->v.nstate ? (int)k : -1;
}

static bool leads_to(const loop *r, int from, int to)
{
    while (from >= 0 && from != to)
        from = r->state[from].leader;
    return from == to;
}

/* Of several states that hand on the same value one follows, and of those that hand it round one begins a chain. */
static void find_chains(loop *r)
{
    for (int i = 0; i < r->v.nstate; i++)
        r->state[i].leader = -1;
    for (int i = 0; i < r->v.nstate; i++) {
        const int from = state_of(r, r->v.root[i]);
        if (from >= 0 && !r->state[from].led && !leads_to(r, from, i)) {
            r->state[i].leader = from;
            r->state[from].led = true;
        }
    }
    for (int i = 0; i < r->v.nstate; i++) {
        state *s = &r->state[i];
        s->lag = 1;
        for (s->head = i; r->state[s->head].leader >= 0; s->head = r->state[s->head].leader)
            s->lag++;
        ring *g = &r->state[s->head].ring;
        g->depth = s->lag > g->depth ? s->lag : g->depth;
    }
}

/* The chain whose rows a stacked output is and where in it: after each step (0), or as a state was before it. NULL: those of none. */
static ring *ring_of(const loop *r, const cg_scan_out_row *o, int *lag)
{
    const int before = state_of(r, r->v.root[o->root]);
    if (before < 0 && (o->root >= r->v.nstate || o->keep == CG_SCAN_SUM))
        return NULL;
    *lag = before < 0 ? 0 : r->state[before].lag;
    return o->keep == CG_SCAN_ALL ? &r->state[before < 0 ? o->root : r->state[before].head].ring : NULL;
}

/* The first element of the row of lag `lag` before step t. */
static cg_num row_at(const loop *r, const ring *g, cg_num t, int lag)
{
    cg_num row = g->all ? plus(r, t, g->depth - lag) : num2(r, CG_N_MOD, plus(r, num2(r, CG_N_SUB, t, r->count), -lag), g->rows);
    if (g->back)
        row = num2(r, CG_N_SUB, plus(r, g->rows, -1), row);
    return mul(r, row, g->size);
}

/* How many of the last steps output k must keep; what runs back has them first. */
static int64_t rows_read(const loop *r, int k)
{
    const cg_node *get = cg__get((cg_node *)(uintptr_t)r->n, k);
    const int64_t rows = get ? cg__lower_rows(r->L, get) : 0;
    return r->v.out[k].back ? CG_ALL_ROWS : rows ? rows : 1;
}

/* What outputs need of a ring's rows; they lie in the order of the first one. */
static int64_t rows_kept(const loop *r, ring *g)
{
    int64_t kept = 0;
    for (int k = 0, lag; k < r->v.nouts; k++) {
        if (ring_of(r, &r->v.out[k], &lag) != g)
            continue;
        g->back = kept ? g->back : r->v.out[k].back != 0;
        const int64_t read = rows_read(r, k), need = g->back != (r->v.out[k].back != 0) ? 1 : read > INT32_MAX ? CG_ALL_ROWS : read + lag;
        kept = need > kept ? need : kept;
    }
    return kept;
}

/* A ring has one row more than states, which the step writes, and those that outputs need. */
static int make_ring(loop *r, int head)
{
    ring *g = &r->state[head].ring;
    const cg_type *t = &r->v.init[head]->type;
    const int64_t kept = rows_kept(r, g);
    const cg_num few = cg__num_const(r->p, g->depth + 1), all = plus(r, r->count, g->depth);
    g->all = kept == CG_ALL_ROWS;
    g->size = cg__lower_count(r->L, t);
    g->rows = g->all ? all : kept > g->depth + 1 ? num2(r, CG_N_MAX, few, num2(r, CG_N_MIN, all, cg__num_const(r->p, kept))) : few;
    g->slot = cg__lower_temp(r->L, t->dtype, mul(r, g->rows, g->size), "state");
    return g->slot < 0 ? cg__lower_no_memory(r->L) : CG_OK;
}

static const ring *ring_of_state(const loop *r, int i) { return &r->state[r->state[i].head].ring; }

static int place_init(loop *r, int i)
{
    const ring *g = ring_of_state(r, i);
    return cg__lower_into(r->L, r->v.init[i], (cg_target){ g->slot, row_at(r, g, cg__num_const(r->p, 0), r->state[i].lag), false });
}

static void add_root(loop *r, cg_node *root, cg_target to)
{
    r->roots[r->nroots] = root;
    r->targets[r->nroots++] = to;
}

static cg_num row_size(const loop *r, const cg_node *rows)
{
    cg_num size = cg__num_const(r->p, 1);
    for (int i = 1; i < rows->type.rank; i++)
        size = mul(r, size, cg__lower_dim(r->L, rows->type.dim[i]));
    return size;
}

/* Where the first row of what is stacked from a ring is, or would be if it were kept. */
static cg_num first_row(const loop *r, const ring *g, int lag)
{
    const cg_num ahead = num2(r, CG_N_SUB, g->rows, r->count);
    return g->back ? row_at(r, g, plus(r, r->count, -1), lag) : mul(r, g->all ? cg__num_const(r->p, g->depth - lag) : plus(r, ahead, -lag), g->size);
}

/* An array of its own for output k, whose rows the body writes. Those of which only the last are kept are written into the first of these before. */
static int stack_rows(loop *r, int k, cg_node *get)
{
    const bool back = r->v.out[k].back != 0;
    const int64_t read = rows_read(r, k);
    const cg_num zero = cg__num_const(r->p, 0), size = row_size(r, get);
    const cg_num rows = read == CG_ALL_ROWS ? r->count : num2(r, CG_N_MIN, r->count, cg__num_const(r->p, read)), gone = num2(r, CG_N_SUB, r->count, rows);
    const cg_num row = read == CG_ALL_ROWS ? row_of(r, back) : num2(r, CG_N_MAX, num2(r, CG_N_SUB, r->step, gone), zero);
    const int slot = cg__lower_temp(r->L, get->type.dtype, mul(r, rows, size), "stack");
    if (slot < 0)
        return cg__lower_no_memory(r->L);
    add_root(r, r->v.root[r->v.out[k].root], (cg_target){ slot, mul(r, row, size), false });
    cg__lower_alias(r->L, get, slot, read == CG_ALL_ROWS ? zero : num2(r, CG_N_SUB, zero, mul(r, gone, size)));
    return CG_OK;
}

static int add_up(loop *r, int k, cg_node *get)
{
    const cg_num zero = cg__num_const(r->p, 0);
    const int slot = cg__lower_temp(r->L, get->type.dtype, cg__lower_count(r->L, &get->type), "sum");
    if (slot < 0)
        return cg__lower_no_memory(r->L);
    add_root(r, r->v.root[r->v.out[k].root], (cg_target){ slot, zero, true });
    cg__lower_alias(r->L, get, slot, zero);
    return cg__lower_zeros(r->L, get);
}

/* Where output k is after the loop: in the ring of a state, or in an array of its own. */
static int make_out(loop *r, int k)
{
    const cg_scan_out_row *o = &r->v.out[k];
    cg_node *get = cg__get((cg_node *)(uintptr_t)r->n, k);
    int lag = 0;
    if (!get)
        return cg__lower_no_memory(r->L);
    const ring *g = o->keep == CG_SCAN_LAST ? ring_of_state(r, (int)o->root) : ring_of(r, o, &lag);
    if (o->keep == CG_SCAN_LAST)
        cg__lower_alias(r->L, get, g->slot, row_at(r, g, r->count, r->state[o->root].lag));
    else if (g && g->back == (o->back != 0))
        cg__lower_alias(r->L, get, g->slot, first_row(r, g, lag));
    else
        return o->keep == CG_SCAN_SUM ? add_up(r, k, get) : stack_rows(r, k, get);
    return CG_OK;
}

/* What the body reads from outside, before its frame hides it. */
static int find_sources(loop *r)
{
    for (int k = 0; k < r->v.nseq + r->v.nstate + r->v.ncapture; k++) {
        const cg_node *x = r->v.seq[k];
        if ((k >= r->v.nseq && k < r->v.nseq + r->v.nstate) || cg__lower_is_host(r->L, x))
            continue;
        if (!cg__lower_dense(r->L, x, &r->arg_slot[k], &r->arg_off[k]))
            return cg__fail(cg__lower_error(r->L), CG_EUNSUPPORTED, "cg_compile: %s: what the loop reads is not placed", cg__label(x));
    }
    return CG_OK;
}

/* Offsets of rows are numbers of the outer level, so they are made before the body's frame is entered. */
static int place_args(loop *r)
{
    int rc = find_sources(r);
    for (int k = 0; k < r->v.nseq && rc == CG_OK; k++) {
        const cg_num rows = cg__lower_dim(r->L, r->v.seq[k]->type.dim[0]);
        rc = cg__lower_check_of(r->L, r->n, r->v.seq[k], r->count, rows);
        r->arg_off[k] = num2(r, CG_N_ADD, r->arg_off[k], mul(r, row_of(r, r->v.back[k] != 0), row_size(r, r->v.seq[k])));
    }
    for (int i = 0; i < r->v.nstate; i++) {
        const ring *g = ring_of_state(r, i);
        r->arg_slot[r->v.nseq + i] = g->slot;
        r->arg_off[r->v.nseq + i] = row_at(r, g, r->step, r->state[i].lag);
    }
    for (int k = r->v.nseq + r->v.nstate; k < r->v.nseq + r->v.nstate + r->v.ncapture && rc == CG_OK; k++)
        if (r->arg_slot[k] < 0 && (r->arg_off[k] = cg__lower_num(r->L, r->v.seq[k])) < 0)
            rc = cg__lower_error(r->L)->code;
    return rc;
}

static int bind_args(loop *r)
{
    cg_node_vec nodes = { 0 };
    const int step = cg__scan_nargs(&r->v) - 1;
    int rc = cg__reach_values(r->v.root, r->v.nroots, &nodes) ? CG_OK : cg__lower_no_memory(r->L);
    for (int i = 0; i < nodes.n && rc == CG_OK; i++) {
        if (!cg__is(nodes.at[i], CG_OP_arg))
            continue;
        const int k = (int)nodes.at[i]->attr[0].at[0];
        if (k == step || r->arg_slot[k] < 0)
            rc = cg__lower_bind_num(r->L, nodes.at[i], k == step ? r->step : r->arg_off[k]);
        else
            rc = cg__lower_bind(r->L, nodes.at[i], r->arg_slot[k], r->arg_off[k]);
    }
    CG_VEC_FREE(&nodes);
    return rc;
}

/* The next value of a state has the state's sizes: known ones were compared when the node was built. */
static int check_states(const loop *r, const cg_num *dims)
{
    int rc = CG_OK;
    for (int i = 0; i < r->v.nstate; i++)
        for (int k = 0; k < r->v.root[i]->type.rank && rc == CG_OK; k++) {
            const cg_num now = cg__lower_dim(r->L, r->v.root[i]->type.dim[k]);
            rc = now < 0 ? (int)cg__lower_error(r->L)->code : cg__lower_check_of(r->L, r->n, r->v.init[i], now, dims[i * CG_MAX_RANK + k]);
        }
    return rc;
}

static int body_steps(loop *r, const cg_num *dims)
{
    int rc = cg__lower_frame(r->L, r->roots, r->targets, r->nroots);
    if (rc < 0)
        return rc;
    rc = bind_args(r);
    if (rc == CG_OK)
        rc = check_states(r, dims);
    if (rc == CG_OK)
        rc = cg__lower_body(r->L);
    cg__lower_unframe(r->L);
    return rc;
}

static int repeat(loop *r)
{
    cg_num *dims = cg__zalloc((size_t)(r->v.nstate + 1) * CG_MAX_RANK * sizeof *dims);
    cg_step *s = dims ? cg__lower_step(r->L, CG_STEP_REPEAT, r->n) : NULL;
    if (!s) {
        cg__free(dims);
        return cg__lower_no_memory(r->L);
    }
    const int at = r->p->steps.n - 1;
    s->repeat = (cg_repeat){ .count = r->count, .index = r->p->nrepeats - 1 };
    for (int i = 0; i < r->v.nstate; i++)
        for (int k = 0; k < r->v.init[i]->type.rank; k++)
            dims[i * CG_MAX_RANK + k] = cg__lower_dim(r->L, r->v.init[i]->type.dim[k]);
    const int rc = body_steps(r, dims);
    r->p->steps.at[at].repeat.nbody = r->p->steps.n - at - 1;
    cg__free(dims);
    return rc;
}

static int run_loop(loop *r)
{
    const cg_num zero = cg__num_const(r->p, 0);
    r->count = cg__lower_num(r->L, r->v.steps);
    if (r->count < 0)
        return cg__lower_error(r->L)->code;
    int rc = cg__lower_check(r->L, r->n, num2(r, CG_N_MAX, r->count, zero), r->count);
    r->step = cg__num(r->p, CG_N_STEP, r->p->nrepeats++, 0, 0, 0);
    for (int k = 0; k < cg__scan_nargs(&r->v); k++)
        r->arg_slot[k] = -1;
    find_chains(r);
    for (int i = 0; i < r->v.nstate && rc == CG_OK; i++)
        if (r->state[i].head == i && (rc = make_ring(r, i)) == CG_OK)
            add_root(r, r->v.root[i], (cg_target){ r->state[i].ring.slot, row_at(r, &r->state[i].ring, r->step, 0), false });
    for (int i = 0; i < r->v.nstate && rc == CG_OK; i++)
        rc = place_init(r, i);
    for (int k = 0; k < r->v.nouts && rc == CG_OK; k++)
        rc = make_out(r, k);
    if (rc == CG_OK)
        rc = place_args(r);
    return rc == CG_OK ? repeat(r) : rc;
}

CG_DECLARE_LOWER(cg__scan_lower)
{
    loop r = { .L = L, .p = cg__lower_plan(L), .n = n, .v = cg__scan_view(n) };
    const size_t nroots = (size_t)(r.v.nstate + r.v.nouts) + 1, nargs = (size_t)cg__scan_nargs(&r.v);
    r.state = cg__zalloc((size_t)(r.v.nstate + 1) * sizeof *r.state);
    r.roots = cg__zalloc(nroots * sizeof *r.roots);
    r.targets = cg__zalloc(nroots * sizeof *r.targets);
    r.arg_off = cg__zalloc(nargs * sizeof *r.arg_off);
    r.arg_slot = cg__zalloc(nargs * sizeof *r.arg_slot);
    const int rc = r.state && r.roots && r.targets && r.arg_off && r.arg_slot ? run_loop(&r) : cg__lower_no_memory(L);
    cg__free(r.state);
    cg__free(r.roots);
    cg__free(r.targets);
    cg__free(r.arg_off);
    cg__free(r.arg_slot);
    return rc;
}
