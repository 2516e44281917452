// SPDX-License-Identifier: MIT
/* A body node in all steps at once: the same operation over arrays with one more axis in front, that of the steps.
 *
 * What does not vary is what it is outside. What is known of varying nodes (rows of sequences; after a loop, what it stacked) is told by the
 * caller; the rest derives from that, operation by operation, as the table says; what stands in no row stays in the loop.
 */
#include "core/graph/build.h"
#include "core/rewrite/loops.h"

/* ---- what varies */

static bool is_capture(const cg_steps *s, const cg_node *n)
{
    const int64_t k = n->attr[0].at[0], first = s->v.nseq + s->v.nstate;
    return k >= first && k < first + s->v.ncapture;
}

static void find_varying(cg_steps *s)
{
    for (int i = 0; i < s->body.n && !s->failed; i++) {
        const cg_node *n = s->body.at[i];
        bool varies = false;
        if (cg__is(n, CG_OP_arg) && is_capture(s, n))
            cg__map_note(&s->failed, &s->outside, n, s->v.seq[n->attr[0].at[0]]);
        else if (cg__is(n, CG_OP_arg))
            varies = true;
        for (int k = 0; k < cg__nvalues(n) && !varies; k++)
            varies = cg__steps_varies(s, n->in[k]);
        if (varies)
            cg__map_note(&s->failed, &s->varies, n, n);
    }
}

void cg__steps_begin(cg_steps *s, const cg_node *n)
{
    *s = (cg_steps){ .g = n->graph, .n = n, .v = cg__scan_view(n) };
    s->failed = !cg__reach_values(s->v.root, s->v.nroots, &s->body) || !cg__guards_find(&s->guards, &s->body, s->v.root, s->v.nroots, NULL, 0);
    find_varying(s);
}

void cg__steps_end(cg_steps *s)
{
    CG_VEC_FREE(&s->body);
    cg__guards_free(&s->guards);
    cg__map_free(&s->varies);
    cg__map_free(&s->known[0]);
    cg__map_free(&s->known[1]);
    cg__map_free(&s->outside);
}

cg_node *cg__steps_outside(cg_steps *s, cg_node *n)
{
    cg_node *made = cg__clone(s->g, n, &s->outside);
    s->failed |= !made;
    return made;
}

cg_node *cg__steps_known(const cg_steps *s, const cg_node *n, bool *back)
{
    for (int b = 0; b < 2; b++) {
        cg_node *all = cg__map_node(&s->known[b], n);
        *back = b;
        if (all)
            return all;
    }
    return NULL;
}

void cg__steps_know(cg_steps *s, const cg_node *n, cg_node *all, bool back)
{
    cg__map_note(&s->failed, &s->known[back], n, all);
}

/* ---- operands */

/* Operand k of n: of all steps, with the axis in front, if it varies; else as it is outside. */
static cg_node *operand(cg_steps *s, const cg_node *n, int k, bool *back)
{
    return cg__steps_varies(s, n->in[k]) ? cg__steps_known(s, n->in[k], back) : cg__steps_outside(s, n->in[k]);
}

/* Axes of size 1 behind the first, until x has the given rank: a row of lower rank broadcasts from the right. */
static cg_node *padded(cg_node *x, int rank)
{
    while (x && x->type.rank < rank)
        x = cg_expand_dims(x, 1);
    return x;
}

cg_node *cg__steps_flat(cg_node *x)
{
    if (!x)
        return NULL;
    const cg_dim_t rows = cg__dim_mul(x->graph, x->type.dim[0], x->type.dim[1]);
    cg_node *dims[CG_MAX_RANK] = { cg__dim_node(x->graph, rows) };
    for (int i = 2; i < x->type.rank; i++)
        dims[i - 1] = cg__dim_node(x->graph, x->type.dim[i]);
    return cg_reshape_to(x, dims, x->type.rank - 1);
}

/* The sizes of n, which may not vary, behind the number of steps. */
static bool stacked_dims(cg_steps *s, const cg_node *n, cg_node **dims)
{
    dims[0] = s->v.steps;
    for (int i = 0; i < n->type.rank; i++) {
        cg_node *size = n->type.dim[i].sym;
        if (size && cg__steps_varies(s, size))
            return false;
        dims[i + 1] = size ? cg__steps_outside(s, size) : cg__const_i64(s->g, n->type.dim[i].n);
    }
    return true;
}

/* ---- operations over all steps; in[]: operands, as operand() gives them; NULL: not known how */

typedef cg_node *over_steps(cg_steps *s, const cg_node *n, cg_node **in);

static cg_node *all_elementwise(cg_steps *s, const cg_node *n, cg_node **in)
{
    for (int k = 0; k < n->nin; k++)
        if (cg__steps_varies(s, n->in[k]))
            in[k] = padded(in[k], n->type.rank + 1);
    return cg__build(s->g, cg__op_id(n), in, n->nin, n->attr);
}

static cg_node *all_transposed(cg_steps *s, const cg_node *n, cg_node **in)
{
    int64_t axes[CG_MAX_RANK] = { 0 };
    (void)s;
    for (int i = 0; i < n->type.rank; i++)
        axes[i + 1] = n->attr[0].at[i] + 1;
    return cg_transpose(in[0], axes, n->type.rank + 1);
}

/* A product with a captured second factor is one product of all rows below one another. */
static cg_node *all_products(cg_steps *s, const cg_node *n, cg_node **in)
{
    cg_node *dims[CG_MAX_RANK];
    const bool a = cg__steps_varies(s, n->in[0]), b = cg__steps_varies(s, n->in[1]);
    if (n->nin != 2 || n->type.rank != 2)
        return NULL;
    if (!a || b)
        return cg_matmul(in[0], in[1]);
    return stacked_dims(s, n, dims) ? cg_reshape_to(cg_matmul(cg__steps_flat(in[0]), in[1]), dims, 3) : NULL;
}

static cg_node *all_reduced(cg_steps *s, const cg_node *n, cg_node **in)
{
    int64_t axes[CG_MAX_RANK];
    for (int i = 0; i < n->attr[0].n; i++)
        axes[i] = n->attr[0].at[i] + 1;
    return n->attr[0].n ? cg__node(s->g, cg__op_id(n), in, 1, (cg_attr[]){ { n->attr[0].n, axes }, n->attr[1] }) : NULL;
}

static cg_node *all_along_axis(cg_steps *s, const cg_node *n, cg_node **in)
{
    const int64_t axis = n->attr[0].at[0] + 1;
    return cg__node(s->g, cg__op_id(n), in, n->nin, &(cg_attr){ 1, &axis });
}

static cg_node *all_reshaped(cg_steps *s, const cg_node *n, cg_node **in)
{
    cg_node *dims[CG_MAX_RANK];
    return stacked_dims(s, n, dims) ? cg_reshape_to(in[0], dims, n->type.rank + 1) : NULL;
}

static cg_node *all_broadcast(cg_steps *s, const cg_node *n, cg_node **in)
{
    cg_node *dims[CG_MAX_RANK];
    return stacked_dims(s, n, dims) ? cg_broadcast_to(padded(in[0], n->type.rank + 1), dims, n->type.rank + 1) : NULL;
}

static cg_node *all_taken(cg_steps *s, const cg_node *n, cg_node **in)
{
    return cg__steps_varies(s, n->in[0]) ? NULL : cg_take(in[0], in[1]);
}

static cg_node *all_hot(cg_steps *s, const cg_node *n, cg_node **in)
{
    return n->nin == 1 || !cg__steps_varies(s, n->in[1]) ? cg__node(s->g, CG_OP_one_hot, in, n->nin, n->attr) : NULL;
}

static cg_node *all_entropies(cg_steps *s, const cg_node *n, cg_node **in)
{
    cg_node *dims[CG_MAX_RANK];
    const bool both = cg__steps_varies(s, n->in[0]) && cg__steps_varies(s, n->in[1]);
    return both && stacked_dims(s, n, dims) ? cg_reshape_to(cg_cross_entropy(cg__steps_flat(in[0]), cg__steps_flat(in[1])), dims, n->type.rank + 1) : NULL;
}

static const struct { cg_op_id op; over_steps *over; } operations[] = {
    { CG_OP_cast, all_elementwise }, { CG_OP_transpose, all_transposed }, { CG_OP_matmul, all_products }, { CG_OP_sum, all_reduced }, { CG_OP_prod, all_reduced },
    { CG_OP_max, all_reduced }, { CG_OP_min, all_reduced }, { CG_OP_mean, all_reduced }, { CG_OP_var, all_reduced }, { CG_OP_logsumexp, all_reduced },
    { CG_OP_any, all_reduced }, { CG_OP_all, all_reduced }, { CG_OP_argmax, all_reduced }, { CG_OP_argmin, all_reduced }, { CG_OP_softmax, all_along_axis },
    { CG_OP_log_softmax, all_along_axis }, { CG_OP_expand_dims, all_along_axis }, { CG_OP_reshape, all_reshaped }, { CG_OP_broadcast_to, all_broadcast },
    { CG_OP_take, all_taken }, { CG_OP_one_hot, all_hot }, { CG_OP_cross_entropy, all_entropies },
};

static over_steps *operation(const cg_node *n)
{
    for (int i = 0; i < CG_LEN(operations); i++)
        if (cg__is(n, operations[i].op))
            return operations[i].over;
    return n->op->props & CG_ELEMWISE ? all_elementwise : NULL;
}

/* A failed attempt leaves no error but that memory is out. */
static cg_node *attempt(cg_steps *s, const cg_node *n, over_steps *over, cg_node **in)
{
    const cg_error before = s->g->error;
    cg_node *all = over(s, n, in);
    if (!all && s->g->error.code != CG_ENOMEM && !before.code)
        cg_graph_clear_error(s->g);
    return all;
}

void cg__steps_derive(cg_steps *s, cg_node *n)
{
    over_steps *over = operation(n);
    cg_node *in[CG_MAX_RANK];
    int backs[2] = { 0 };
    bool ok = over && n->nin <= CG_LEN(in) && n->type.rank < CG_MAX_RANK && cg__steps_varies(s, n) && !cg__guard_of(&s->guards, n);
    for (int k = 0; k < n->nin && ok; k++) {
        bool back = false;
        ok = (in[k] = operand(s, n, k, &back)) != NULL;
        backs[back] += cg__steps_varies(s, n->in[k]);
    }
    cg_node *all = ok && !(backs[0] && backs[1]) ? attempt(s, n, over, in) : NULL;
    s->failed |= s->g->error.code == CG_ENOMEM;
    if (all)
        cg__steps_know(s, n, all, backs[1] > 0);
}
