// SPDX-License-Identifier: MIT
/* Host integers: rank-0 i64 nodes made of sizes, fed integers, rank-0 integer shared variables, step numbers and the steps done of loops with
 * until. They become numbers of the plan, so they cost no launch and no wait. */
#include "core/graph/scan.h"
#include "core/lower/pass.h"

enum { SWAP = 1 /* the first two operands */, NOT = 2 /* the result is a truth, and the other one is meant */, LOGIC = 4 /* only of bools */ };
typedef struct host_op { cg_op_id op; cg_num_op num; unsigned how; } host_op;
static const host_op host_ops[] = {
    { CG_OP_add, CG_N_ADD, 0 }, { CG_OP_sub, CG_N_SUB, 0 }, { CG_OP_mul, CG_N_MUL, 0 }, { CG_OP_floor_divide, CG_N_FDIV, 0 },
    { CG_OP_mod, CG_N_MOD, 0 }, { CG_OP_maximum, CG_N_MAX, 0 }, { CG_OP_minimum, CG_N_MIN, 0 }, { CG_OP_neg, CG_N_NEG, 0 },
    { CG_OP_less, CG_N_LT, 0 }, { CG_OP_greater, CG_N_LT, SWAP }, { CG_OP_less_equal, CG_N_LT, SWAP | NOT }, { CG_OP_greater_equal, CG_N_LT, NOT },
    { CG_OP_equal, CG_N_EQ, 0 }, { CG_OP_not_equal, CG_N_EQ, NOT }, { CG_OP_logical_not, CG_N_MAX, NOT | LOGIC },
    { CG_OP_logical_and, CG_N_MIN, LOGIC }, { CG_OP_logical_or, CG_N_MAX, LOGIC },
    { CG_OP_where, CG_N_SELECT, 0 }, { CG_OP_ifelse, CG_N_SELECT, 0 }, { CG_OP_broadcast_dim, CG_N_STRETCH, 0 },
};

static const host_op *host_op_of(const cg_node *n)
{
    for (int i = 0; i < CG_LEN(host_ops); i++)
        if (cg__is(n, host_ops[i].op))
            return !(host_ops[i].how & LOGIC) || n->in[0]->type.dtype == CG_BOOL ? &host_ops[i] : NULL;
    return NULL;
}

/* a: the numbers of n's operands; of one operand the second is the first. */
static cg_num apply(cg_lower *L, const cg_node *n, const cg_num a[3])
{
    const host_op *h = host_op_of(n);
    const cg_num second = n->nin > 1 ? a[1] : a[0], v = h->how & SWAP ? cg__num(L->plan, h->num, second, a[0], 0, 0) : cg__num(L->plan, h->num, a[0], second, a[2], 0);
    return h->how & NOT ? cg__num(L->plan, CG_N_EQ, v, cg__num_const(L->plan, 0), 0, 0) : v;
}

bool cg__lower_host_leaf(const cg_node *n)
{
    return cg__is(n, CG_OP_input) || cg__is(n, CG_OP_shared) || cg__is(n, CG_OP_const) || cg__is(n, CG_OP_dim) || cg__scan_is_done(n);
}

static bool is_quotient(const cg_node *n) { return cg__is(n, CG_OP_floor_divide) || cg__is(n, CG_OP_mod); }

/* i64 arithmetic only: narrower types wrap, which the number program does not. */
bool cg__lower_could_be_host(const cg_node *n)
{
    const cg_dtype d = n->type.dtype;
    return n->type.rank == 0 && !n->type.weak && (d == CG_I64 || d == CG_BOOL) && (cg__lower_host_leaf(n) ? d == CG_I64 || cg__is(n, CG_OP_const) : host_op_of(n) != NULL);
}

int cg__lower_var(cg_lower *L, const cg_node *n)
{
    uint64_t known;
    if (cg__map_get(&L->var_index, cg__key(n), &known))
        return (int)known;
    return cg__lower_kept(L, CG_PUSH(&L->vars, n) && cg__map_put(&L->var_index, cg__key(n), (uint64_t)L->vars.n - 1)) ? L->vars.n - 1 : -1;
}

int cg__lower_input(const cg_lower *L, const cg_node *n)
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
        return cg__num(L->plan, CG_N_SHARED, cg__lower_var(L, n), 0, 0, 0);
    if (cg__is(n, CG_OP_input))
        return cg__num(L->plan, CG_N_INPUT, cg__lower_input(L, n), 0, 0, 0);
    if (!cg__is(n, CG_OP_dim))
        return CG_NUM_NONE;              /* the loop, when it is lowered, binds the number of its steps */
    return cg__num(L->plan, CG_N_DIM, cg__lower_input(L, n->in[0]), (int)n->attr[0].at[0], 0, 0);
}

/* Depth-first over the expression with a stack of its own. */
cg_num cg__lower_num(cg_lower *L, const cg_node *root)
{
    CG_VEC(const cg_node *) stack = { 0 };
    bool ok = cg__lower_kept(L, CG_PUSH(&stack, root));
    while (ok && stack.n) {
        const cg_node *n = stack.at[stack.n - 1];
        node_info *at = cg__lower_make_info(L, n);
        cg_num a[3] = { 0, 0, 0 };
        bool ready = at != NULL;
        if (!at || (at->num == CG_NUM_NONE && !cg__lower_could_be_host(n))) {
            ok = false;
            break;
        }
        if (at->num == CG_NUM_NONE && !cg__lower_host_leaf(n))
            for (int i = 0; i < n->nin && ok; i++) {
                const node_info *in = cg__lower_info(L, n->in[i]);
                a[i] = in ? in->num : CG_NUM_NONE;
                if (a[i] == CG_NUM_NONE) {
                    ready = false;
                    ok = cg__lower_kept(L, CG_PUSH(&stack, n->in[i]));
                }
            }
        if (ready && at->num == CG_NUM_NONE) {
            at->num = cg__lower_host_leaf(n) ? leaf_num(L, n) : apply(L, n, a);
            ok = at->num != CG_NUM_NONE && (!is_quotient(n) || cg__lower_check_divisor(L, n, a[1]) == CG_OK);
        }
        stack.n -= ready;
    }
    CG_VEC_FREE(&stack);
    const node_info *r = cg__lower_info(L, root);
    if (ok && r)
        return r->num;
    if (L->plan->failed)
        cg__lower_no_memory(L);
    cg__fail(L->err, CG_EUNSUPPORTED, "cg_compile: %s is not known on the host", cg__label(root));
    return CG_NUM_NONE;
}

cg_num cg__lower_dim(cg_lower *L, cg_dim_t d)
{
    return d.sym ? cg__lower_num(L, d.sym) : cg__num_const(L->plan, d.n);
}

bool cg__lower_is_host(const cg_lower *L, const cg_node *n)
{
    const node_info *i = cg__lower_info(L, n);
    return i && i->host;
}

cg_num cg__lower_count(cg_lower *L, const cg_type *t)
{
    cg_num c = cg__num_const(L->plan, 1);
    for (int i = 0; i < t->rank; i++)
        c = cg__num(L->plan, CG_N_MUL, c, cg__lower_dim(L, t->dim[i]), 0, 0);
    return c;
}
