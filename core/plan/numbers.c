// SPDX-License-Identifier: MIT
/* The number program: every size, stride and count of a plan as a flat list of scalar operations.
 *
 * Invariant: operands have smaller ids, equal instructions are one, constants are folded; so equal ids mean equal numbers
 * at every call, which is what axis merging and stride classes rely on. Overflow wraps; x/0 and x mod 0 are 0.
 */
#include "core/plan/plan.h"

static int64_t wrap(uint64_t v) { return (int64_t)v; }
static uint64_t loop_bit(int index) { return (uint64_t)1 << (index & 63); }

static int64_t floor_div(int64_t a, int64_t b)
{
    if (b == 0)
        return 0;
    if (b == -1)
        return wrap(0 - (uint64_t)a);
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t apply(cg_num_op op, int64_t a, int64_t b, int64_t c)
{
    switch (op) {
    case CG_N_ADD: return wrap((uint64_t)a + (uint64_t)b);
    case CG_N_SUB: return wrap((uint64_t)a - (uint64_t)b);
    case CG_N_MUL: return wrap((uint64_t)a * (uint64_t)b);
    case CG_N_FDIV: return floor_div(a, b);
    case CG_N_MOD: return b ? wrap((uint64_t)a - (uint64_t)floor_div(a, b) * (uint64_t)b) : 0;
    case CG_N_MAX: return a > b ? a : b;
    case CG_N_MIN: return a < b ? a : b;
    case CG_N_NEG: return wrap(0 - (uint64_t)a);
    case CG_N_LT: return a < b;
    case CG_N_EQ: return a == b;
    case CG_N_STRETCH: return a == 1 ? b : a;
    case CG_N_SELECT: return a ? b : c;
    default: return a;                   /* checks */
    }
}

static int arity(cg_num_op op)
{
    return op < CG_N_ADD ? 0 : op == CG_N_SELECT ? 3 : op == CG_N_NEG || op == CG_N_CHECK_DIVISOR ? 1 : 2;
}

static bool holds(cg_num_op op, int64_t a, int64_t b)
{
    return op == CG_N_CHECK_EQ ? a == b : op != CG_N_CHECK_DIVISOR || a != 0;
}

bool cg__num_is(const cg_plan *p, cg_num id, int64_t v)
{
    return id >= 0 && p->nums.at[id].op == CG_N_CONST && p->nums.at[id].imm == v;
}

int cg__stride_level(const cg_plan *p, const cg_loop *l, const cg_num *stride)
{
    int level = 0;
    for (int k = 0; k < l->naxes; k++)
        if (stride[k] != CG_NUM_NONE && !cg__num_is(p, stride[k], 0))
            level = k >= l->nouter ? 2 : level > 1 ? level : 1;
    return level;
}

static bool is_const(const cg_plan *p, cg_num id)
{
    return p->nums.at[id].op == CG_N_CONST;
}

/* What an instruction is known to equal without running, or CG_NUM_NONE. */
static cg_num simpler(cg_plan *p, cg_num_op op, int a, int b)
{
    if (op == CG_N_ADD)
        return cg__num_is(p, b, 0) ? a : cg__num_is(p, a, 0) ? b : CG_NUM_NONE;
    if (op == CG_N_SUB)
        return cg__num_is(p, b, 0) ? a : a == b ? cg__num_const(p, 0) : CG_NUM_NONE;
    if (op == CG_N_MUL) {
        if (cg__num_is(p, a, 0) || cg__num_is(p, b, 1))
            return a;
        return cg__num_is(p, a, 1) || cg__num_is(p, b, 0) ? b : CG_NUM_NONE;
    }
    if (op == CG_N_FDIV)
        return cg__num_is(p, b, 1) ? a : CG_NUM_NONE;
    return op == CG_N_MAX || op == CG_N_MIN || op == CG_N_CHECK_EQ ? (a == b ? a : CG_NUM_NONE) : CG_NUM_NONE;
}

static cg_num add(cg_plan *p, cg_num_ins ins)
{
    const uint64_t key[5] = { (uint64_t)ins.op, (uint64_t)ins.a, (uint64_t)ins.b, (uint64_t)ins.c, (uint64_t)ins.imm };
    const uint64_t h = cg__hash(key, sizeof key, 1);
    uint64_t v;
    for (size_t it = 0; cg__map_next(&p->num_index, h, &it, &v);) {
        const cg_num_ins *q = &p->nums.at[v];
        if (q->op == ins.op && q->a == ins.a && q->b == ins.b && q->c == ins.c && q->imm == ins.imm)
            return (cg_num)v;
    }
    if (!CG_PUSH(&p->nums, ins) || !cg__map_put(&p->num_index, h, (uint64_t)p->nums.n - 1)) {
        p->failed = true;
        return CG_NUM_NONE;
    }
    return p->nums.n - 1;
}

cg_num cg__num_const(cg_plan *p, int64_t v)
{
    if (v != 0 && v != 1)
        return cg__num(p, CG_N_CONST, 0, 0, 0, v);
    if (!p->known[v])
        p->known[v] = 1 + cg__num(p, CG_N_CONST, 0, 0, 0, v);
    return p->known[v] - 1;
}

cg_num cg__num(cg_plan *p, cg_num_op op, int a, int b, int c, int64_t imm)
{
    const int n = arity(op);
    if ((n > 0 && a < 0) || (n > 1 && b < 0) || (n > 2 && c < 0))
        return CG_NUM_NONE;
    if ((op == CG_N_ADD || op == CG_N_MUL) && a > b) {       /* commutative: one order */
        const int t = a;
        a = b;
        b = t;
    }
    cg_num_ins ins = { .op = op, .a = a, .b = b, .c = c, .imm = imm, .loops = op == CG_N_STEP ? loop_bit(a) : 0 };
    if (!n)
        return add(p, ins);
    const bool known = is_const(p, a) && (n < 2 || is_const(p, b)) && (n < 3 || is_const(p, c));
    const int64_t x = known ? p->nums.at[a].imm : 0, y = known && n > 1 ? p->nums.at[b].imm : 0;
    if (known && holds(op, x, y))
        return cg__num_const(p, apply(op, x, y, n > 2 ? p->nums.at[c].imm : 0));
    const cg_num s = n == 2 ? simpler(p, op, a, b) : CG_NUM_NONE;
    if (s != CG_NUM_NONE)
        return s;
    ins.loops = p->nums.at[a].loops | (n > 1 ? p->nums.at[b].loops : 0) | (n > 2 ? p->nums.at[c].loops : 0);
    return add(p, ins);
}

static int64_t leaf(const cg_num_ins *i, const cg_num_env *env)
{
    switch (i->op) {
    case CG_N_DIM: return env->dim(env->user, i->a, i->b);
    case CG_N_INPUT: return env->input(env->user, i->a);
    case CG_N_SHARED: return env->shared(env->user, i->a);
    case CG_N_SHARED_DIM: return env->shared_dim(env->user, i->a, i->b);
    default: return i->imm;
    }
}

static int64_t value(const cg_num_ins *i, const int64_t *n)
{
    const int k = arity(i->op);
    return apply(i->op, n[i->a], k > 1 ? n[i->b] : 0, k > 2 ? n[i->c] : 0);
}

static int check(const cg_plan *p, const cg_num_env *env, const cg_num_ins *in, const int64_t *n)
{
    const int64_t b = arity(in->op) > 1 ? n[in->b] : 0;
    return holds(in->op, n[in->a], b) ? CG_OK : env->broken(env->user, &p->checked.at[in->imm], in->op, n[in->a], b);
}

static bool is_check(const cg_num_ins *in) { return in->op == CG_N_CHECK_EQ || in->op == CG_N_CHECK_DIVISOR; }

/* The loops that stand among the steps from..to-1. */
static uint64_t loops_in(const cg_plan *p, int from, int to)
{
    uint64_t loops = 0;
    for (int i = from; i < to; i++)
        loops |= p->steps.at[i].kind == CG_STEP_REPEAT ? loop_bit(p->steps.at[i].repeat.index) : 0;
    return loops;
}

/* The checks that hang on the steps of loops from..to-1: each is made in the innermost. */
static int walk_loops(const cg_plan *p, const cg_num_env *env, int64_t *n, int from, int to)
{
    int rc = CG_OK;
    for (int i = from; i < to && rc == CG_OK; i++) {
        const cg_repeat *r = &p->steps.at[i].repeat;
        if (p->steps.at[i].kind != CG_STEP_REPEAT)
            continue;
        const int end = i + 1 + r->nbody;
        const uint64_t inner = loops_in(p, i + 1, end);
        for (int64_t t = 0; t < n[r->count] && rc == CG_OK; t++) {
            cg__nums_step(p, n, r, t);
            for (int k = 0; k < r->nnums && rc == CG_OK; k++)
                if (is_check(&p->nums.at[r->nums[k]]) && !(p->nums.at[r->nums[k]].loops & inner))
                    rc = check(p, env, &p->nums.at[r->nums[k]], n);
            if (rc == CG_OK && inner)
                rc = walk_loops(p, env, n, i + 1, end);
        }
        i = end - 1;
    }
    return rc;
}

int cg__nums_run(const cg_plan *p, const cg_num_env *env, int64_t *n)
{
    bool later = false;
    int rc = CG_OK;
    for (int i = 0; i < p->nums.n && rc == CG_OK; i++) {
        const cg_num_ins *in = &p->nums.at[i];
        later |= in->loops && is_check(in);
        if (in->loops)
            continue;
        n[i] = arity(in->op) ? value(in, n) : leaf(in, env);
        if (is_check(in))
            rc = check(p, env, in, n);
    }
    return rc == CG_OK && later ? walk_loops(p, env, n, 0, p->steps.n) : rc;
}

static bool repeat_nums(cg_plan *p, cg_repeat *r)
{
    const uint64_t bit = loop_bit(r->index);
    cg_num *list = cg__arena(&p->arena, (size_t)(p->nums.n + 1) * sizeof *list);
    if (!list)
        return false;
    for (int i = 0; i < p->nums.n; i++)
        if (p->nums.at[i].loops & bit)
            list[r->nnums++] = i;
    r->nums = list;
    return true;
}

bool cg__plan_repeats(cg_plan *p)
{
    for (int i = 0; i < p->steps.n; i++)
        if (p->steps.at[i].kind == CG_STEP_REPEAT && !repeat_nums(p, &p->steps.at[i].repeat))
            return false;
    return true;
}

void cg__nums_step(const cg_plan *p, int64_t *n, const cg_repeat *r, int64_t step)
{
    for (int k = 0; k < r->nnums; k++) {
        const cg_num_ins *in = &p->nums.at[r->nums[k]];
        if (in->op != CG_N_STEP)
            n[r->nums[k]] = value(in, n);
        else if (in->a == r->index)
            n[r->nums[k]] = step;
    }
}

int cg__stride_class(const cg_plan *p, cg_num id)
{
    return id == CG_NUM_NONE || cg__num_is(p, id, 0) ? 0 : cg__num_is(p, id, 1) ? 1 : 2;
}
