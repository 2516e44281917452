// SPDX-License-Identifier: MIT
/* The pass from an optimised graph to a plan: which nodes are placed in slots, the order of steps, host integers, lifetimes.
 *
 * A node is inlined into its one consumer when it can be computed there (it has an emit, the consumer reads by emit); views
 * and rank-0 float work are always inlined. Everything else is placed by its op's lower, or by a LOOP around its emit.
 * Order is by id, so it is deterministic.
 */
#include "core/lower/lower.h"

enum { INLINE_OPS = 40 };

typedef struct node_info {
    int slot;                /* -1: not placed (yet) */
    int uses, cost;
    bool host, must_place;
    cg_num num;
} node_info;

struct cg_lower {
    cg_graph *g;
    cg_plan *plan;
    cg_error *err;
    cg_map info;             /* node -> index into infos + 1 */
    CG_VEC(node_info) infos;
    CG_VEC(const cg_node *) vars;
    cg_node *const *inputs; int ninputs;
    cg_node *const *roots;  int nroots;
};

cg_plan *cg__lower_plan(cg_lower *L) { return L->plan; }
cg_error *cg__lower_error(cg_lower *L) { return L->err; }

static int no_memory(cg_lower *L)
{
    return cg__fail(L->err, CG_ENOMEM, "cg_compile: no memory");
}

/* ok tells whether there was memory; the plan remembers. */
static bool kept(cg_lower *L, bool ok)
{
    L->plan->failed |= !ok;
    return ok;
}

static node_info *info(const cg_lower *L, const cg_node *n)
{
    uint64_t v;
    return cg__map_get(&L->info, cg__key(n), &v) ? &L->infos.at[v] : NULL;
}

static node_info *make_info(cg_lower *L, const cg_node *n)
{
    node_info *have = info(L, n);
    if (have)
        return have;
    if (!kept(L, CG_PUSH(&L->infos, (node_info){ .slot = -1, .num = CG_NUM_NONE }) && cg__map_put(&L->info, cg__key(n), (uint64_t)L->infos.n - 1)))
        return NULL;
    return &L->infos.at[L->infos.n - 1];
}

/* ---- host integers */

static const struct { cg_op_id op; cg_num_op num; } host_ops[] = {
    { CG_OP_add, CG_N_ADD }, { CG_OP_sub, CG_N_SUB }, { CG_OP_mul, CG_N_MUL }, { CG_OP_floor_divide, CG_N_FDIV },
    { CG_OP_mod, CG_N_MOD }, { CG_OP_maximum, CG_N_MAX }, { CG_OP_minimum, CG_N_MIN }, { CG_OP_neg, CG_N_NEG },
    { CG_OP_less, CG_N_LT }, { CG_OP_equal, CG_N_EQ }, { CG_OP_where, CG_N_SELECT },
};

static int host_op(const cg_node *n)
{
    for (int i = 0; i < CG_LEN(host_ops); i++)
        if (cg__is(n, host_ops[i].op))
            return (int)host_ops[i].num;
    return -1;
}

static bool host_leaf(const cg_node *n)
{
    return cg__is(n, CG_OP_input) || cg__is(n, CG_OP_shared) || cg__is(n, CG_OP_const) || cg__is(n, CG_OP_dim);
}

/* i64 arithmetic only: narrower types wrap, which the number program does not. */
static bool could_be_host(const cg_node *n)
{
    const cg_dtype d = n->type.dtype;
    return n->type.rank == 0 && !n->type.weak && (d == CG_I64 || d == CG_BOOL) && (host_leaf(n) ? d == CG_I64 : host_op(n) >= 0);
}

static int var_index(cg_lower *L, const cg_node *n)
{
    for (int i = 0; i < L->vars.n; i++)
        if (L->vars.at[i] == n)
            return i;
    return kept(L, CG_PUSH(&L->vars, n)) ? L->vars.n - 1 : -1;
}

static int input_index(const cg_lower *L, const cg_node *n)
{
    for (int i = 0; i < L->ninputs; i++)
        if (L->inputs[i] == n)
            return i;
    return -1;
}

static cg_num leaf_num(cg_lower *L, const cg_node *n)
{
    if (cg__is(n, CG_OP_const))
        return cg__num_const(L->plan, cg__load_i64(n->attr[0].at, n->type.dtype));
    if (cg__is(n, CG_OP_shared))
        return cg__num(L->plan, CG_N_SHARED, var_index(L, n), 0, 0, 0);
    if (cg__is(n, CG_OP_input))
        return cg__num(L->plan, CG_N_INPUT, input_index(L, n), 0, 0, 0);
    return cg__num(L->plan, CG_N_DIM, input_index(L, n->in[0]), (int)n->attr[0].at[0], 0, 0);
}

/* Depth-first over the expression with a stack of its own. */
cg_num cg__lower_num(cg_lower *L, const cg_node *root)
{
    CG_VEC(const cg_node *) stack = { 0 };
    bool ok = kept(L, CG_PUSH(&stack, root));
    while (ok && stack.n) {
        const cg_node *n = stack.at[stack.n - 1];
        node_info *at = make_info(L, n);
        cg_num a[3] = { 0, 0, 0 };
        bool ready = at != NULL;
        if (!at || !could_be_host(n)) {
            ok = false;
            break;
        }
        if (at->num == CG_NUM_NONE && !host_leaf(n))
            for (int i = 0; i < n->nin && ok; i++) {
                const node_info *in = info(L, n->in[i]);
                a[i] = in ? in->num : CG_NUM_NONE;
                if (a[i] == CG_NUM_NONE) {
                    ready = false;
                    ok = kept(L, CG_PUSH(&stack, n->in[i]));
                }
            }
        if (ready) {
            if (at->num == CG_NUM_NONE)
                at->num = host_leaf(n) ? leaf_num(L, n) : cg__num(L->plan, (cg_num_op)host_op(n), a[0], a[1], a[2], 0);
            ok = at->num != CG_NUM_NONE;
            stack.n--;
        }
    }
    CG_VEC_FREE(&stack);
    const node_info *r = info(L, root);
    if (ok && r)
        return r->num;
    if (L->plan->failed)
        no_memory(L);
    cg__fail(L->err, CG_EUNSUPPORTED, "cg_compile: %s is not known on the host", cg__label(root));
    return CG_NUM_NONE;
}

cg_num cg__lower_dim(cg_lower *L, cg_dim_t d)
{
    return d.sym ? cg__lower_num(L, d.sym) : cg__num_const(L->plan, d.n);
}

bool cg__lower_is_host(const cg_lower *L, const cg_node *n)
{
    const node_info *i = info(L, n);
    return i && i->host;
}

cg_num cg__lower_count(cg_lower *L, const cg_type *t)
{
    cg_num c = cg__num_const(L->plan, 1);
    for (int i = 0; i < t->rank; i++)
        c = cg__num(L->plan, CG_N_MUL, c, cg__lower_dim(L, t->dim[i]), 0, 0);
    return c;
}

/* ---- slots and steps */

static int add_slot(cg_lower *L, const cg_node *n, cg_slot_kind kind, int index)
{
    const char *name = cg_node_name(n);
    const cg_slot s = { .kind = kind, .dtype = n->type.dtype, .count = cg__lower_count(L, &n->type), .index = index, .first = INT32_MAX, .last = -1,
                        .label = cg__arena_str(&L->plan->arena, *name ? name : n->op->name) };
    return s.label && s.count != CG_NUM_NONE && CG_PUSH(&L->plan->slots, s) ? L->plan->slots.n - 1 : -1;
}

static int leaf_slot(cg_lower *L, const cg_node *n)
{
    if (cg__is(n, CG_OP_input))
        return add_slot(L, n, CG_SLOT_INPUT, input_index(L, n));
    if (cg__is(n, CG_OP_shared))
        return add_slot(L, n, CG_SLOT_SHARED, var_index(L, n));
    const size_t bytes = (size_t)n->attr[0].n;
    const cg_const c = { n->type.dtype, (int64_t)(bytes / cg__dtypes[n->type.dtype].bytes), cg__arena_copy(&L->plan->arena, n->attr[0].at, bytes) };
    return (c.data || !bytes) && CG_PUSH(&L->plan->consts, c) ? add_slot(L, n, CG_SLOT_CONST, L->plan->consts.n - 1) : -1;
}

int cg__lower_slot(cg_lower *L, const cg_node *n)
{
    node_info *i = make_info(L, n);
    if (i && i->slot < 0 && (n->op->props & CG_LEAF)) {
        const int s = leaf_slot(L, n);
        i = s >= 0 ? info(L, n) : NULL;
        if (i)
            i->slot = s;
    }
    return i ? i->slot : no_memory(L);
}

/* The root that n's slot will hold: a root itself, or what a root reshapes (a reshape is the same slot). */
static int root_index(const cg_lower *L, const cg_node *n)
{
    for (int i = 0; i < L->nroots; i++)
        for (const cg_node *r = L->roots[i];; r = r->in[0]) {
            if (r == n)
                return i;
            if (!cg__is(r, CG_OP_reshape))
                break;
        }
    return -1;
}

int cg__lower_out(cg_lower *L, const cg_node *n)
{
    node_info *i = info(L, n);
    const int root = root_index(L, n);
    const int s = i ? add_slot(L, n, root >= 0 ? CG_SLOT_OUTPUT : CG_SLOT_ARENA, root) : -1;
    if (s < 0)
        return no_memory(L);
    return info(L, n)->slot = s;
}

cg_step *cg__lower_step(cg_lower *L, cg_step_kind kind, const cg_node *n)
{
    cg_strb origin = { 0 };
    cg__origin(n, &origin);
    char *text = cg__strb_take(&origin);
    const cg_step s = { .kind = kind, .label = n->op->name, .node = n, .origin = text ? cg__arena_str(&L->plan->arena, text) : NULL };
    cg__free(text);
    if (!s.origin || !CG_PUSH(&L->plan->steps, s)) {
        no_memory(L);
        return NULL;
    }
    return &L->plan->steps.at[L->plan->steps.n - 1];
}

/* ---- views */

/* The node whose slot a chain of transposes and unit axes reads. */
static const cg_node *view_base(const cg_node *n)
{
    while (cg__is(n, CG_OP_transpose) || cg__is(n, CG_OP_expand_dims))
        n = n->in[0];
    return n;
}

bool cg__lower_strided(cg_lower *L, const cg_node *n, cg_strided *out)
{
    int map[CG_MAX_RANK];                /* axis of n -> axis of the current node, -1: a unit axis */
    const int rank = n->type.rank;
    for (int i = 0; i < rank; i++)
        map[i] = i;
    for (; info(L, n) && info(L, n)->slot < 0 && view_base(n) != n; n = n->in[0])
        for (int i = 0; i < rank; i++) {
            const int64_t at = n->attr[0].at[0];
            if (cg__is(n, CG_OP_transpose))
                map[i] = map[i] < 0 ? -1 : (int)n->attr[0].at[map[i]];
            else
                map[i] = map[i] == at ? -1 : map[i] - (map[i] > at);
        }
    out->slot = cg__lower_slot(L, n);
    out->off = cg__num_const(L->plan, 0);
    cg_num dense = cg__num_const(L->plan, 1), stride[CG_MAX_RANK];
    for (int i = n->type.rank - 1; i >= 0; i--) {
        stride[i] = dense;
        dense = cg__num(L->plan, CG_N_MUL, dense, cg__lower_dim(L, n->type.dim[i]), 0, 0);
    }
    for (int i = 0; i < rank; i++)
        out->stride[i] = map[i] < 0 ? cg__num_const(L->plan, 1) : stride[map[i]];
    return out->slot >= 0;
}

/* ---- emit */

int cg__emit(cg_loop_builder *b, const cg_node *n, const cg_spot *at)
{
    cg_lower *L = cg__loop_lower(b);
    const node_info *i = make_info(L, n);
    if (!i)
        return no_memory(L);
    if (i->host && !cg__is(n, CG_OP_const))
        return cg__loop_cast(b, cg__loop_number(b, cg__lower_num(L, n)), n->type.dtype);
    if (i->slot >= 0 || cg__is(n, CG_OP_input) || cg__is(n, CG_OP_shared))
        return cg__loop_load(b, n, at, -1, 0);
    if (!n->op->emit)
        return cg__fail(L->err, CG_EUNSUPPORTED, "cg_compile: %s cannot be computed in a loop", cg__label(n));
    return n->op->emit(b, n, at);
}

/* ---- deciding */

static bool reads_by_emit(const cg_node *user, int k)
{
    if (cg__is(user, CG_OP_matmul) || cg__is(user, CG_OP_scatter_add))
        return false;
    return !(user->op->props & CG_DENSE) || k > 0;
}

static void mark_placed(cg_lower *L, const cg_node *n)
{
    node_info *i = info(L, n);
    if (i && !(n->op->props & CG_LEAF))
        i->must_place = true;
}

static void note_uses(cg_lower *L, const cg_node *n)
{
    for (int k = 0; k < n->nin; k++) {
        info(L, n->in[k])->uses++;
        if (!reads_by_emit(n, k))
            mark_placed(L, cg__is(n, CG_OP_matmul) ? view_base(n->in[k]) : n->in[k]);
    }
}

static bool cheap(const cg_node *n)
{
    return (n->op->props & CG_VIEW) || cg__is(n, CG_OP_const) || cg__is(n, CG_OP_cast) || cg__is(n, CG_OP_one_hot) ||
           (n->type.rank == 0 && (n->op->props & CG_ELEMWISE));
}

static bool decide_inline(const node_info *i, const cg_node *n)
{
    if (i->must_place || !n->op->emit || i->cost > INLINE_OPS)
        return false;
    return cheap(n) || i->uses <= 1;
}

static int cost_of(const cg_lower *L, const cg_node *n)
{
    int c = (n->op->props & CG_VIEW) ? 0 : 1;
    for (int k = 0; k < n->nin; k++) {
        const node_info *in = info(L, n->in[k]);
        c += in->slot < 0 && !in->must_place && n->in[k]->op->emit && (cheap(n->in[k]) || in->uses <= 1) ? in->cost : 1;
    }
    return c > 1000 ? 1000 : c;
}

static bool survey(cg_lower *L, const cg_node_vec *nodes)
{
    for (int i = 0; i < nodes->n; i++) {
        const cg_node *n = nodes->at[i];
        node_info *at = make_info(L, n);
        if (!at)
            return false;
        at->host = could_be_host(n);
        for (int k = 0; k < n->nin && !host_leaf(n); k++)
            at->host = at->host && info(L, n->in[k])->host;
    }
    for (int i = 0; i < nodes->n; i++)
        note_uses(L, nodes->at[i]);
    for (int i = 0; i < L->nroots; i++) {
        info(L, L->roots[i])->uses++;
        mark_placed(L, L->roots[i]);
    }
    return true;
}

int cg__lower_check(cg_lower *L, const cg_node *n, cg_num a, cg_num b)
{
    cg_plan *p = L->plan;
    if (a == b && a != CG_NUM_NONE)
        return CG_OK;
    return CG_PUSH(&p->checked, n) && cg__num(p, CG_N_CHECK_EQ, a, b, 0, p->checked.n - 1) != CG_NUM_NONE ? CG_OK : no_memory(L);
}

/* The element counts of a reshape agree at each call, unless they are one number. */
static int check_count(cg_lower *L, const cg_node *n)
{
    const cg_num a = cg__lower_count(L, &n->type), b = cg__lower_count(L, &n->in[0]->type);
    return cg__lower_check(L, n, a, b);
}

/* A reshape of a dense slot is that slot. */
static int place(cg_lower *L, const cg_node *n)
{
    if (cg__is(n, CG_OP_reshape)) {
        const int s = cg__lower_slot(L, n->in[0]);
        if (check_count(L, n) < 0)
            return CG_ENOMEM;
        if (s >= 0)
            info(L, n)->slot = s;
        return s >= 0 ? CG_OK : cg__fail(L->err, CG_EUNSUPPORTED, "cg_compile: %s: its operand is not placed", cg__label(n));
    }
    return n->op->lower ? n->op->lower(L, n) : n->op->emit ? cg__lower_map(L, n) : cg__fail(L->err, CG_EUNSUPPORTED, "cg_compile: %s cannot be lowered", cg__label(n));
}

/* ---- lifetimes */

static void touch(cg_plan *p, int slot, int step)
{
    cg_slot *s = &p->slots.at[slot];
    s->first = step < s->first ? step : s->first;
    s->last = step > s->last ? step : s->last;
}

static void lifetimes(cg_plan *p)
{
    for (int i = 0; i < p->steps.n; i++) {
        const cg_step *s = &p->steps.at[i];
        if (s->kind == CG_STEP_LOOP)
            for (int k = 0; k < s->loop.noperands; k++)
                touch(p, s->loop.operands[k].slot, i);
        else if (s->kind == CG_STEP_GEMM) {
            touch(p, s->gemm.a.slot, i);
            touch(p, s->gemm.b.slot, i);
            touch(p, s->gemm.c.slot, i);
        } else if (s->kind == CG_STEP_KERNEL)
            for (int k = 0; k < s->kernel.nslots; k++)
                touch(p, s->kernel.slots[k], i);
        else if (s->kind == CG_STEP_COPY) {
            touch(p, s->copy.from, i);
            touch(p, s->copy.to, i);
        }
    }
}

static int finish_roots(cg_lower *L, cg_lowered *out)
{
    out->roots = cg__arena(&L->plan->arena, (size_t)(L->nroots + 1) * sizeof *out->roots);
    if (!out->roots)
        return no_memory(L);
    for (int i = 0; i < L->nroots; i++) {
        cg_root *r = &out->roots[i];
        r->host = cg__lower_is_host(L, L->roots[i]) && L->roots[i]->type.dtype == CG_I64;
        if (r->host)
            r->num = cg__lower_num(L, L->roots[i]);
        r->slot = r->host ? -1 : cg__lower_slot(L, L->roots[i]);
        for (int k = 0; k < L->roots[i]->type.rank; k++)
            r->dims[k] = cg__lower_dim(L, L->roots[i]->type.dim[k]);
        if (r->host ? r->num < 0 : r->slot < 0)
            return L->err->code ? (int)L->err->code : no_memory(L);
    }
    return CG_OK;
}

static int lower_all(cg_lower *L, const cg_node_vec *nodes)
{
    if (!survey(L, nodes))
        return no_memory(L);
    for (int i = 0; i < nodes->n; i++) {
        const cg_node *n = nodes->at[i];
        node_info *at = info(L, n);
        if (cg__is(n, CG_OP_shared) && var_index(L, n) < 0)
            return no_memory(L);
        if ((n->op->props & CG_LEAF) || at->host || cg__is(n, CG_OP_dim))
            continue;
        at->cost = cost_of(L, n);
        if (decide_inline(at, n))
            continue;
        const int rc = place(L, n);
        if (rc < 0)
            return L->err->code ? (int)L->err->code : no_memory(L);
    }
    return CG_OK;
}

int cg__lower(cg_graph *g, cg_node *const *inputs, int ninputs, cg_node *const *roots, int nroots, cg_lowered *out, cg_error *err)
{
    cg_node_vec nodes = { 0 };
    cg_lower L = { .g = g, .plan = cg__zalloc(sizeof(cg_plan)), .err = err, .inputs = inputs, .ninputs = ninputs, .roots = roots, .nroots = nroots };
    int rc = CG_OK;
    if (!L.plan || !cg__reach(roots, nroots, &nodes))
        rc = no_memory(&L);
    if (rc == CG_OK)
        rc = lower_all(&L, &nodes);
    if (rc == CG_OK)
        rc = finish_roots(&L, out);
    if (rc == CG_OK && L.plan->failed)
        rc = no_memory(&L);
    if (rc == CG_OK && g->error.code)            /* sizes are nodes too, and could not be made */
        rc = cg__fail(err, g->error.code, "%s", g->error.text);
    if (rc == CG_OK) {
        lifetimes(L.plan);
        out->plan = L.plan;
        memcpy(&out->vars, &L.vars, sizeof out->vars);
    } else {
        if (L.plan)
            cg__plan_free(L.plan);
        CG_VEC_FREE(&L.vars);
    }
    CG_VEC_FREE(&nodes);
    CG_VEC_FREE(&L.infos);
    cg__map_free(&L.info);
    return rc;
}
