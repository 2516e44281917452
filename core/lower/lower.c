// SPDX-License-Identifier: MIT
/* The pass from an optimised graph to a plan: which nodes are placed in slots, and the order of steps.
 *
 * A node is inlined into its one consumer when it can be computed there (it has an emit, the consumer reads by emit); views
 * and rank-0 float work are always inlined. Everything else is placed by its op's lower, or by a LOOP around its emit.
 * Order is by id, so it is deterministic. The body of a loop is lowered by the same walk in a frame of its own.
 */
#include "core/lower/pass.h"

enum { INLINE_OPS = 40 };

cg_plan *cg__lower_plan(cg_lower *L) { return L->plan; }
cg_error *cg__lower_error(cg_lower *L) { return L->err; }

int cg__lower_no_memory(cg_lower *L)
{
    return cg__fail(L->err, CG_ENOMEM, "cg_compile: no memory");
}

/* ok tells whether there was memory; the plan remembers. */
bool cg__lower_kept(cg_lower *L, bool ok)
{
    L->plan->failed |= !ok;
    return ok;
}

node_info *cg__lower_info(const cg_lower *L, const cg_node *n)
{
    const frame *f = L->top;
    return n->id < f->place.n && f->place.at[n->id] ? &f->infos.at[f->place.at[n->id] - 1] : NULL;
}

node_info *cg__lower_make_info(cg_lower *L, const cg_node *n)
{
    node_info *have = cg__lower_info(L, n);
    frame *f = L->top;
    if (have)
        return have;
    const node_info fresh = { .slot = -1, .off = CG_NUM_NONE, .num = CG_NUM_NONE, .test = CG_NUM_NONE, .guard = cg__guard_of(&f->guards, n) };
    bool ok = CG_PUSH(&f->infos, fresh);
    while (ok && f->place.n <= n->id)
        ok = CG_PUSH(&f->place, 0);
    if (!cg__lower_kept(L, ok))
        return NULL;
    f->place.at[n->id] = f->infos.n;
    return &f->infos.at[f->infos.n - 1];
}

/* ---- slots and steps */

static int push_slot(cg_lower *L, cg_slot s)
{
    s.first = INT32_MAX;
    s.last = -1;
    return s.count != CG_NUM_NONE && s.label && CG_PUSH(&L->plan->slots, s) ? L->plan->slots.n - 1 : -1;
}

static int add_slot(cg_lower *L, const cg_node *n, cg_slot_kind kind, int index)
{
    const char *name = cg_node_name(n);
    return push_slot(L, (cg_slot){ .kind = kind, .dtype = n->type.dtype, .count = cg__lower_count(L, &n->type), .index = index, .node = n,
                                   .label = cg__arena_str(&L->plan->arena, *name ? name : n->op->name) });
}

int cg__lower_temp(cg_lower *L, cg_dtype d, cg_num count, const char *label)
{
    return push_slot(L, (cg_slot){ .kind = CG_SLOT_ARENA, .dtype = d, .count = count, .label = cg__arena_str(&L->plan->arena, label) });
}

static int leaf_slot(cg_lower *L, const cg_node *n)
{
    if (cg__is(n, CG_OP_input))
        return add_slot(L, n, CG_SLOT_INPUT, cg__lower_input(L, n));
    if (cg__is(n, CG_OP_shared))
        return add_slot(L, n, CG_SLOT_SHARED, cg__lower_var(L, n));
    const size_t bytes = (size_t)n->attr[0].n;
    const cg_const c = { n->type.dtype, (int64_t)(bytes / cg__dtypes[n->type.dtype].bytes), cg__arena_copy(&L->plan->arena, n->attr[0].at, bytes) };
    return (c.data || !bytes) && CG_PUSH(&L->plan->consts, c) ? add_slot(L, n, CG_SLOT_CONST, L->plan->consts.n - 1) : -1;
}

int cg__lower_slot(cg_lower *L, const cg_node *n)
{
    node_info *i = cg__lower_make_info(L, n);
    if (i && i->slot < 0 && (n->op->props & CG_LEAF)) {
        const int s = leaf_slot(L, n);
        i = s >= 0 ? cg__lower_info(L, n) : NULL;
        if (i)
            i->slot = s;
    }
    return i ? i->slot : cg__lower_no_memory(L);
}

cg_num cg__lower_off(cg_lower *L, const cg_node *n)
{
    const node_info *i = cg__lower_info(L, n);
    return i && i->off != CG_NUM_NONE ? i->off : cg__num_const(L->plan, 0);
}

void cg__lower_alias(cg_lower *L, const cg_node *n, int slot, cg_num off)
{
    node_info *i = cg__lower_make_info(L, n);
    if (!i) {
        cg__lower_no_memory(L);
        return;
    }
    i->slot = slot;
    i->off = off;
}

static int root_index(const cg_lower *L, const cg_node *n)
{
    const node_info *i = cg__lower_info(L, n);
    return i ? i->root - 1 : -1;
}

/* What writes a part of its first operand. */
static bool is_update(const cg_node *n)
{
    return cg__is(n, CG_OP_set_slice) || cg__is(n, CG_OP_inc_slice) || cg__is(n, CG_OP_set_rows) || cg__is(n, CG_OP_inc_rows);
}

/* The place of n will be that of its first operand: the same array, or one that only n reads and writes on. */
static bool goes_on(const cg_lower *L, const cg_node *n)
{
    return cg__is(n, CG_OP_reshape) || (is_update(n) && is_update(n->in[0]) && cg__lower_info(L, n->in[0])->uses == 1);
}

/* The first of several roots that are one place has it. */
static void note_roots(const cg_lower *L)
{
    for (int i = L->top->nroots; i > 0; i--)
        for (const cg_node *r = L->top->roots[i - 1];; r = r->in[0]) {
            cg__lower_info(L, r)->root = i;
            if (!goes_on(L, r))
                break;
        }
}

/* A place of its own, or the one it was given as a root. */
static int own_place(cg_lower *L, const cg_node *n)
{
    const frame *f = L->top;
    const int root = root_index(L, n);
    const bool direct = root >= 0 && (!f->targets || (f->targets[root].slot >= 0 && !f->targets[root].add));
    cg_target to = { -1, CG_NUM_NONE, false };
    if (direct && f->targets)
        to = f->targets[root];
    else
        to.slot = add_slot(L, n, direct ? CG_SLOT_OUTPUT : CG_SLOT_ARENA, root);
    if (to.slot < 0)
        return cg__lower_no_memory(L);
    cg__lower_alias(L, n, to.slot, to.off);
    return L->err->code ? (int)L->err->code : CG_OK;
}

int cg__lower_out(cg_lower *L, const cg_node *n)
{
    const cg_node *home = n;
    while (cg__lower_info(L, home)->into && cg__lower_info(L, home)->slot < 0)
        home = cg__lower_info(L, home)->into;
    int rc = cg__lower_info(L, home)->slot < 0 ? own_place(L, home) : CG_OK;
    for (; n != home && rc == CG_OK; n = cg__lower_info(L, n)->into) {
        cg__lower_alias(L, n, cg__lower_info(L, home)->slot, cg__lower_info(L, home)->off);
        rc = L->err->code;
    }
    return rc;
}

/* What has a lower of its own has a place of its own; a view shares one. */
bool cg__lower_take(cg_lower *L, const cg_node *n, const cg_node *from)
{
    const node_info *i = cg__lower_info(L, from);
    const bool whole = i && i->slot >= 0 && !i->bound && i->uses == 1 && i->off == CG_NUM_NONE && from->op->lower && root_index(L, n) < 0;
    if (!whole || L->plan->slots.at[i->slot].kind != CG_SLOT_ARENA)
        return false;
    cg__lower_alias(L, n, i->slot, i->off);
    return true;
}

int cg__lower_over(cg_lower *L, const cg_node *n, const cg_node *x)
{
    const node_info *i = cg__lower_info(L, x);
    if (i && i->root && i->slot >= 0 && i->root - 1 == root_index(L, n) && is_update(x)) {
        cg__lower_alias(L, n, i->slot, i->off);
        return L->err->code ? (int)L->err->code : CG_OK;
    }
    if (cg__lower_take(L, n, x))
        return CG_OK;
    const int rc = cg__lower_out(L, n);
    return rc < 0 ? rc : cg__lower_into(L, x, (cg_target){ cg__lower_slot(L, n), cg__lower_off(L, n), false });
}

cg_step *cg__lower_step(cg_lower *L, cg_step_kind kind, const cg_node *n)
{
    const cg_step s = { .kind = kind, .label = n->op->name, .node = n };
    if (!CG_PUSH(&L->plan->steps, s)) {
        cg__lower_no_memory(L);
        return NULL;
    }
    return &L->plan->steps.at[L->plan->steps.n - 1];
}

/* ---- emit */

int cg__emit(cg_loop_builder *b, const cg_node *n, const cg_spot *at)
{
    cg_lower *L = cg__loop_lower(b);
    const node_info *i = cg__lower_make_info(L, n);
    if (!i)
        return cg__lower_no_memory(L);
    if (i->host && !cg__is(n, CG_OP_const))
        return cg__loop_cast(b, cg__loop_number(b, cg__lower_num(L, n)), n->type.dtype);
    if (i->slot >= 0 || cg__is(n, CG_OP_input) || cg__is(n, CG_OP_shared))
        return cg__loop_load(b, n, at, -1, 0);
    if (!n->op->emit)
        return cg__fail(L->err, CG_EUNSUPPORTED, "cg_compile: %s cannot be computed in a loop", cg__label(n));
    return n->op->emit(b, n, at);
}

/* ---- deciding */

/* How a consumer reads its operand k: element by element, as a matrix with strides, as a dense array. */
typedef enum { READ_EMIT, READ_STRIDED, READ_DENSE, READ_WHOLE } reading;

static reading reads(const cg_node *user, int k)
{
    if (cg__is(user, CG_OP_matmul) || cg__is(user, CG_OP_gemm))
        return k < 2 ? READ_STRIDED : READ_EMIT;
    if (cg__is(user, CG_OP_scan))
        return cg__scan_reads_dense(user, k) ? READ_DENSE : READ_EMIT;
    if (cg__is(user, CG_OP_reshape))
        return k == 0 ? READ_DENSE : READ_EMIT;
    if (user->op->props & CG_DENSE_BOTH)
        return k < 2 ? READ_DENSE : READ_EMIT;
    if (cg__is(user, CG_OP_set_rows) || cg__is(user, CG_OP_inc_rows))
        return k ? READ_DENSE : READ_EMIT;
    return (user->op->props & CG_DENSE) && k == 0 ? READ_WHOLE : READ_EMIT;
}

static void mark_placed(cg_lower *L, const cg_node *n)
{
    node_info *i = cg__lower_info(L, n);
    if (i && !(n->op->props & CG_LEAF))
        i->must_place = true;
}

int64_t cg__lower_rows(const cg_lower *L, const cg_node *n)
{
    const node_info *i = cg__lower_info(L, n);
    return i ? i->rows : 0;
}

static void note_uses(cg_lower *L, const cg_node *n)
{
    for (int k = 0; k < cg__nvalues(n); k++) {
        const cg_node *in = n->in[k];
        const reading how = reads(n, k);
        node_info *at = cg__lower_info(L, in);
        const int64_t rows = cg__last_rows(n, k);
        at->uses++;
        at->rows = rows > at->rows ? rows : at->rows;
        if (how != READ_EMIT)
            mark_placed(L, how == READ_STRIDED ? cg__matrix_base(in) : how == READ_DENSE ? cg__dense_base(in) : in);
    }
}

static bool cheap(const cg_node *n)
{
    return (n->op->props & CG_VIEW) || cg__is(n, CG_OP_const) || cg__is(n, CG_OP_cast) || cg__is(n, CG_OP_one_hot) ||
           (n->type.rank == 0 && (n->op->props & CG_ELEMWISE));
}

static bool inlined(const node_info *i, const cg_node *n)
{
    return !i->must_place && n->op->emit && i->cost <= INLINE_OPS && (cheap(n) || i->uses <= 1);
}

static int cost_of(const cg_lower *L, const cg_node *n)
{
    int c = (n->op->props & CG_VIEW) ? 0 : 1;
    for (int k = 0; k < cg__nvalues(n); k++) {
        const node_info *in = cg__lower_info(L, n->in[k]);
        c += in->slot < 0 && inlined(in, n->in[k]) ? in->cost : 1;
    }
    return c > 1000 ? 1000 : c;
}

/* A value that only one branch reads is computed where the ifelse will be. */
static void note_choice(cg_lower *L, const cg_node *n)
{
    node_info *cond = cg__lower_info(L, n->in[0]);
    cond->tested = true;
    mark_placed(L, n->in[0]);
    for (int k = 1; k < n->nin; k++) {
        node_info *in = cg__lower_info(L, n->in[k]);
        if (in->uses == 1 && !in->bound && !in->root && n->in[k]->op->lower)
            in->into = n;
    }
}

static bool survey(cg_lower *L, const cg_node_vec *nodes)
{
    for (int i = 0; i < nodes->n; i++) {
        const cg_node *n = nodes->at[i];
        node_info *at = cg__lower_make_info(L, n);
        if (!at)
            return false;
        if (at->bound)
            continue;
        at->host = cg__lower_could_be_host(n) && cg__lower_decidable(L, n);
        for (int k = 0; k < n->nin && at->host && !cg__lower_host_leaf(n); k++)
            at->host = cg__lower_info(L, n->in[k])->host;
    }
    for (int i = 0; i < nodes->n; i++)
        note_uses(L, nodes->at[i]);
    for (int i = 0; i < L->top->nroots; i++) {
        cg__lower_info(L, L->top->roots[i])->uses++;
        cg__lower_info(L, L->top->roots[i])->rows = CG_ALL_ROWS;
        if (!L->top->targets)
            mark_placed(L, L->top->roots[i]);
    }
    note_roots(L);
    for (int i = 0; i < nodes->n && L->g->branches; i++)
        if (cg__is(nodes->at[i], CG_OP_ifelse))
            note_choice(L, nodes->at[i]);
    return true;
}

static int check(cg_lower *L, cg_checked what, cg_num_op op, cg_num a, cg_num b)
{
    cg_plan *p = L->plan;
    return CG_PUSH(&p->checked, what) && cg__num(p, op, a, b, 0, p->checked.n - 1) != CG_NUM_NONE ? CG_OK : cg__lower_no_memory(L);
}

int cg__lower_check(cg_lower *L, const cg_node *n, cg_num a, cg_num b)
{
    return cg__lower_check_of(L, n, NULL, a, b);
}

int cg__lower_check_of(cg_lower *L, const cg_node *n, const cg_node *of, cg_num a, cg_num b)
{
    return a == b && a != CG_NUM_NONE ? CG_OK : check(L, (cg_checked){ n, of }, CG_N_CHECK_EQ, a, cg__lower_if_run(L, L->top->open, b, a));
}

int cg__lower_check_divisor(cg_lower *L, const cg_node *n, cg_num by)
{
    const cg_num_ins *in = by != CG_NUM_NONE ? &L->plan->nums.at[by] : NULL;
    return in && in->op == CG_N_CONST && in->imm != 0 ? CG_OK : check(L, (cg_checked){ n, NULL }, CG_N_CHECK_DIVISOR, cg__lower_if_run(L, cg__lower_info(L, n)->guard, by, cg__num_const(L->plan, 1)), 0);
}

/* The element counts of a reshape agree at each call, unless they are one number. */
static int check_count(cg_lower *L, const cg_node *n)
{
    const cg_num a = cg__lower_count(L, &n->type), b = cg__lower_count(L, &n->in[0]->type);
    return cg__lower_check(L, n, a, b);
}

/* A reshape of a dense array, and rows of one, are that array. */
static int place(cg_lower *L, const cg_node *n)
{
    const bool reshape = cg__is(n, CG_OP_reshape), rows = cg__dense_base(n) != n && cg__lower_slot(L, cg__dense_base(n)) >= 0;
    int slot = -1;
    cg_num off = CG_NUM_NONE;
    if (reshape && check_count(L, n) < 0)
        return CG_ENOMEM;
    if (reshape || (rows && root_index(L, n) < 0)) {
        if (!cg__lower_dense(L, reshape ? n->in[0] : n, &slot, &off))
            return cg__fail(L->err, CG_EUNSUPPORTED, "cg_compile: %s: its operand is not placed", cg__label(n));
        cg__lower_alias(L, n, slot, off);
        return L->err->code ? (int)L->err->code : CG_OK;
    }
    return n->op->lower ? n->op->lower(L, n) : n->op->emit ? cg__lower_map(L, n) : cg__fail(L->err, CG_EUNSUPPORTED, "cg_compile: %s cannot be lowered", cg__label(n));
}

/* Whether steps of its own place it: leaves, numbers and what was given a place have one, and an ifelse fills the one that a branch has made. */
static bool has_steps(cg_lower *L, const cg_node *n)
{
    node_info *at = cg__lower_info(L, n);
    if ((n->op->props & CG_LEAF) || at->host || (at->slot >= 0 && !cg__is(n, CG_OP_ifelse)) || cg__is(n, CG_OP_dim) || cg__is(n, CG_OP_arg))
        return false;
    at->cost = cost_of(L, n);
    return !inlined(at, n);
}

static int lower_node(cg_lower *L, const cg_node *n)
{
    if (cg__is(n, CG_OP_shared) && cg__lower_var(L, n) < 0)
        return cg__lower_no_memory(L);
    int rc = CG_OK;
    if (has_steps(L, n))
        rc = cg__lower_under(L, cg__lower_info(L, n)->guard) == CG_OK ? place(L, n) : CG_ENOMEM;
    if (rc == CG_OK && cg__lower_info(L, n)->tested)
        rc = cg__lower_test(L, n);
    return rc < 0 && !L->err->code ? cg__lower_no_memory(L) : rc;
}

/* The steps of all nodes that the frame's roots need. */
static int lower_nodes(cg_lower *L, const cg_node_vec *nodes)
{
    int rc = survey(L, nodes) ? CG_OK : cg__lower_no_memory(L);
    for (int i = 0; i < nodes->n && rc == CG_OK; i++)
        rc = lower_node(L, nodes->at[i]);
    return rc == CG_OK ? cg__lower_under(L, NULL) : rc;
}

static int lower_frame(cg_lower *L)
{
    cg_node_vec nodes = { 0 };
    int rc = cg__reach_values(L->top->roots, L->top->nroots, &nodes) ? cg__lower_guards(L, &nodes) : cg__lower_no_memory(L);
    if (rc == CG_OK)
        rc = lower_nodes(L, &nodes);
    CG_VEC_FREE(&nodes);
    return rc;
}

/* ---- bodies */

int cg__lower_frame(cg_lower *L, cg_node *const *roots, const cg_target *targets, int n)
{
    frame *f = cg__zalloc(sizeof *f);
    if (!f)
        return cg__lower_no_memory(L);
    *f = (frame){ .outer = L->top, .roots = roots, .targets = targets, .nroots = n };
    L->top = f;
    return CG_OK;
}

void cg__lower_unframe(cg_lower *L)
{
    frame *f = L->top;
    L->top = f->outer;
    CG_VEC_FREE(&f->infos);
    CG_VEC_FREE(&f->place);
    CG_VEC_FREE(&f->branches);
    cg__guards_free(&f->guards);
    cg__free(f);
}

static int bind(cg_lower *L, const cg_node *arg, node_info to)
{
    node_info *i = cg__lower_make_info(L, arg);
    if (!i)
        return cg__lower_no_memory(L);
    to.guard = i->guard;
    to.test = CG_NUM_NONE;
    *i = to;
    i->bound = true;
    return CG_OK;
}

int cg__lower_bind(cg_lower *L, const cg_node *arg, int slot, cg_num off)
{
    return bind(L, arg, (node_info){ .slot = slot, .off = off, .num = CG_NUM_NONE });
}

int cg__lower_bind_num(cg_lower *L, const cg_node *arg, cg_num value)
{
    return bind(L, arg, (node_info){ .slot = -1, .off = CG_NUM_NONE, .num = value, .host = true });
}

/* Roots that no step of their own has written to their target, because they are args, inlined, added up or wanted twice. */
int cg__lower_body(cg_lower *L)
{
    const frame *f = L->top;
    int rc = lower_frame(L);
    for (int i = 0; i < f->nroots && rc == CG_OK; i++) {
        const node_info *at = cg__lower_info(L, f->roots[i]);
        const cg_target to = f->targets[i];
        if (to.slot >= 0 && (to.add || at->slot != to.slot || at->off != to.off))
            rc = cg__lower_into(L, f->roots[i], to);
    }
    return rc;
}

/* ---- lifetimes */

typedef struct span { int from, to; } span;

static void touch(cg_plan *p, int slot, int step)
{
    cg_slot *s = &p->slots.at[slot];
    s->first = step < s->first ? step : s->first;
    s->last = step > s->last ? step : s->last;
}

/* Members of a group may run at once: what one touches is alive through all of them. */
static void touch_all(cg_plan *p, int i)
{
    const cg_step *at = p->steps.at;
    const int first = at[i].group < 0 ? i + at[i].group : i, last = at[first].group > 1 ? first + at[first].group - 1 : i;
    const cg_touched t = cg__touched_by(&at[i]);
    for (int k = 0; k < t.n; k++) {
        touch(p, t.slot[k], first);
        touch(p, t.slot[k], last);
    }
}

/* What a loop shares with the steps around it is alive through all of the loop; inner loops come first. */
static void lifetimes(cg_plan *p)
{
    for (int i = 0; i < p->steps.n; i++)
        touch_all(p, i);
    for (int i = p->steps.n - 1; i >= 0; i--) {
        if (p->steps.at[i].kind != CG_STEP_REPEAT)
            continue;
        const span body = { i + 1, i + p->steps.at[i].repeat.nbody };
        for (int k = 0; k < p->slots.n; k++) {
            cg_slot *s = &p->slots.at[k];
            const bool inside = s->first <= body.to && s->last >= body.from, outside = s->first < body.from || s->last > body.to;
            if (inside && outside) {
                s->first = s->first < body.from ? s->first : body.from;
                s->last = s->last > body.to ? s->last : body.to;
            }
        }
    }
}

/* ---- the whole */

/* Whether the root is all of a buffer that can be handed out; else it gets a copy. */
static bool owns(cg_lower *L, const cg_node *n)
{
    const node_info *i = cg__lower_info(L, n);
    const cg_slot *s = i->slot >= 0 ? &L->plan->slots.at[i->slot] : NULL;
    return s && (s->kind != CG_SLOT_ARENA && cg__num_is(L->plan, cg__lower_off(L, n), 0) && s->count == cg__lower_count(L, &n->type));
}

static int finish_root(cg_lower *L, const cg_node *n, cg_root *r)
{
    r->host = cg__lower_is_host(L, n) && n->type.dtype == CG_I64;
    if (r->host)
        r->num = cg__lower_num(L, n);
    r->slot = r->host ? -1 : cg__lower_slot(L, n);
    for (int k = 0; k < n->type.rank; k++)
        r->dims[k] = cg__lower_dim(L, n->type.dim[k]);
    if (!r->host && !owns(L, n)) {
        r->slot = add_slot(L, n, CG_SLOT_OUTPUT, 0);
        if (r->slot >= 0 && cg__lower_into(L, n, (cg_target){ r->slot, cg__num_const(L->plan, 0), false }) < 0)
            return L->err->code;
    }
    return (r->host ? r->num < 0 : r->slot < 0) ? (L->err->code ? (int)L->err->code : cg__lower_no_memory(L)) : CG_OK;
}

static int finish_roots(cg_lower *L, cg_lowered *out)
{
    const frame *f = L->top;
    int rc = CG_OK;
    out->roots = cg__arena(&L->plan->arena, (size_t)(f->nroots + 1) * sizeof *out->roots);
    if (!out->roots)
        return cg__lower_no_memory(L);
    for (int i = 0; i < f->nroots && rc == CG_OK; i++)
        rc = finish_root(L, f->roots[i], &out->roots[i]);
    return rc;
}

/* A variable's buffer is there before the plan runs, so its new value has a size that is known by then. */
static int check_targets(cg_lower *L, const cg_lowered *out, struct cg_array *const *targets)
{
    const frame *f = L->top;
    for (int i = 0; i < f->nroots && targets; i++)
        for (int k = 0; k < f->roots[i]->type.rank && targets[i]; k++)
            if (L->plan->nums.at[out->roots[i].dims[k]].cut)
                return cg__fail(L->err, CG_ESHAPE, "cg_compile: the size of axis %d of %s depends on data, so it is no new value of a shared variable", k, cg__label(f->roots[i]));
    return CG_OK;
}

/* ---- updates in place */

enum { SEVERAL = INT32_MAX };            /* nodes of the function are that array */

/* By array: the node of the function that it is, as a position in L->vars. */
static bool note_vars(const cg_lower *L, cg_map *vars)
{
    bool ok = true;
    uint64_t before;
    for (int i = 0; i < L->vars.n && ok; i++) {
        const uint64_t key = cg__key(L->vars.at[i]->array);
        ok = cg__map_set(vars, key, cg__map_get(vars, key, &before) ? SEVERAL : (uint64_t)i);
    }
    return ok;
}

/* The one slot of that variable; -1 if there is none, or another node is the same array. */
static int slot_of_var(const cg_lower *L, const cg_map *vars, const struct cg_array *a)
{
    uint64_t i;
    const node_info *at = cg__map_get(vars, cg__key(a), &i) && i != SEVERAL ? cg__lower_info(L, L->vars.at[i]) : NULL;
    return at ? at->slot : -1;
}

/* What updates in place are decided by. */
typedef struct updating {
    cg_map vars;
    int *roots;                          /* by slot: how many roots it is */
    cg_in_place *u; int n;
    cg_root **root;                      /* by update */
} updating;

/* Root r as an update of a variable that the plan reads, if the two could be one buffer as far as roots tell. */
static bool as_update(const cg_lower *L, const updating *w, const struct cg_array *target, const cg_root *r, cg_in_place *u)
{
    const cg_slot *slots = L->plan->slots.at;
    if (!target || r->host || slots[r->slot].kind != CG_SLOT_OUTPUT || w->roots[r->slot] != 1)
        return false;
    *u = (cg_in_place){ .value = r->slot, .var = slot_of_var(L, &w->vars, target) };
    return u->var >= 0 && !w->roots[u->var] && slots[u->var].dtype == slots[u->value].dtype && slots[u->var].count == slots[u->value].count;
}

static void find_updates(const cg_lower *L, updating *w, cg_lowered *out, struct cg_array *const *targets)
{
    const int n = L->top->nroots;
    for (int i = 0; i < n; i++)
        if (out->roots[i].slot >= 0)
            w->roots[out->roots[i].slot]++;
    for (int i = 0; i < n && targets; i++)
        if (as_update(L, w, targets[i], &out->roots[i], &w->u[w->n]))
            w->root[w->n++] = &out->roots[i];
}

static void update_in_place(cg_lower *L, cg_lowered *out, struct cg_array *const *targets)
{
    const size_t n = (size_t)L->top->nroots + 1;
    updating w = { .u = cg__zalloc(n * sizeof *w.u), .root = cg__zalloc(n * sizeof(cg_root *)), .roots = cg__zalloc((size_t)(L->plan->slots.n + 1) * sizeof *w.roots) };
    if (cg__lower_kept(L, w.u && w.root && w.roots && note_vars(L, &w.vars))) {
        find_updates(L, &w, out, targets);
        cg__plan_in_place(L->plan, w.u, w.n);
    }
    for (int k = 0; k < w.n; k++)
        if (w.u[k].done)
            w.root[k]->slot = w.u[k].var;
    cg__map_free(&w.vars);
    cg__free(w.u);
    cg__free(w.root);
    cg__free(w.roots);
}

int cg__lower(cg_graph *g, cg_node *const *inputs, int ninputs, cg_node *const *roots, int nroots, struct cg_array *const *targets, cg_lowered *out, cg_error *err)
{
    cg_lower L = { .g = g, .plan = cg__zalloc(sizeof(cg_plan)), .err = err, .inputs = inputs, .ninputs = ninputs };
    int rc = L.plan ? cg__lower_frame(&L, roots, NULL, nroots) : cg__lower_no_memory(&L);
    if (rc == CG_OK)
        rc = lower_frame(&L);
    if (rc == CG_OK)
        rc = finish_roots(&L, out);
    if (rc == CG_OK)
        rc = check_targets(&L, out, targets);
    if (rc == CG_OK)
        cg__plan_fuse(L.plan, cg__origin);
    if (rc == CG_OK && !L.plan->failed)
        update_in_place(&L, out, targets);
    if (rc == CG_OK && !L.plan->failed)
        cg__plan_group(L.plan);
    if (rc == CG_OK && (L.plan->failed || !cg__plan_repeats(L.plan)))
        rc = cg__lower_no_memory(&L);
    if (rc == CG_OK && g->error.code)            /* sizes are nodes too, and could not be made */
        rc = cg__fail(err, g->error.code, "%s", g->error.text);
    if (rc == CG_OK) {
        lifetimes(L.plan);
        out->plan = L.plan;
        memcpy(&out->vars, &L.vars, sizeof out->vars);
    } else {
        cg__plan_free(L.plan);
        CG_VEC_FREE(&L.vars);
    }
    cg__map_free(&L.var_index);
    while (L.top)
        cg__lower_unframe(&L);
    return rc;
}
