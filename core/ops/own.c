// SPDX-License-Identifier: MIT
/* Operations that are graphs: making them, using them, and their gradients by hand. */
#include "core/graph/own.h"
#include "core/graph/scan.h"
#include "core/graph/text.h"
#include "core/ops/ops.h"

/* ---- the node */

CG_DECLARE_INFER(cg__own_infer)
{
    const int64_t index = cg__attr_int(n, 0, -1);
    const cg_own_op *op = index >= 0 && index < n->graph->owns.n ? n->graph->owns.at[index] : NULL;
    if (!op || n->nin != op->nout + op->nin)
        return cg__fail(err, CG_EINVAL, "own: there is no such operation, or it has other operands");
    n->type = n->in[0]->type;
    if (op->nout == 1)
        return CG_OK;
    n->nouts = op->nout;
    n->outs = cg__arena(&n->graph->arena, (size_t)op->nout * sizeof *n->outs);
    for (int k = 0; n->outs && k < op->nout; k++)
        n->outs[k] = n->in[k]->type;
    n->type = (cg_type){ .dtype = CG_DTYPE_COUNT };
    return n->outs ? CG_OK : cg__fail(err, CG_ENOMEM, "%s: no memory", op->name);
}

/* ---- gradient */

/* The gradient of the operation's graph by input k, over its own nodes and a placeholder for each output's gradient; in terms of n's. */
static cg_node *by_graph(const cg_node *n, const cg_own_op *op, cg_node *const *gout, int k)
{
    cg_graph *g = n->graph;
    cg_node **seed = cg__zalloc((size_t)op->nout * sizeof *seed), *grad = NULL;
    cg_map memo = { 0 };
    bool ok = seed != NULL;
    for (int i = 0; i < op->nout && ok; i++) {
        seed[i] = cg__placeholder(g, &op->out[i]->type);
        ok = seed[i] && cg__map_set(&memo, cg__key(seed[i]), cg__key(gout[i]));
    }
    for (int i = 0; i < op->nin && ok; i++)
        ok = cg__map_set(&memo, cg__key(op->in[i]), cg__key(n->in[op->nout + i]));
    ok = ok && cg__backward(&(cg_backward){ .root = op->out, .seed = seed, .nroots = op->nout, .wrt = &op->in[k], .nwrt = 1, .constant = op->in, .nconstant = op->nin }, &grad) == CG_OK;
    if (ok && cg__has_grad(grad))
        grad = cg__clone(g, grad, &memo);
    cg__map_free(&memo);
    cg__free(seed);
    return ok ? grad : NULL;
}

/* What the caller's function gave for input k, if that may be its gradient. */
static cg_node *fitting(const cg_node *n, const cg_own_op *op, int k, cg_node *grad)
{
    const cg_node *in = n->in[op->nout + k];
    if (grad->graph != n->graph)
        return cg__graph_fail(n->graph, CG_EINVAL, "cg_grad: %s: the gradient by its operand %d belongs to another graph", op->name, k + 1);
    grad = grad->type.weak ? cg_cast(grad, in->type.dtype) : grad;
    if (grad && (grad->nouts || !cg__type_may_be(&grad->type, &in->type)))
        return cg__graph_fail(n->graph, CG_ESHAPE, "cg_grad: %s: the gradient by its operand %d, %s, is %s", op->name, k + 1, cg__label(in), cg__label(grad));
    return grad;
}

static int by_hand(const cg_node *n, const cg_own_op *op, cg_node *const *gout, const bool *need, cg_node **gin)
{
    cg_node **room = cg__zalloc((size_t)(op->nin + op->nout) * sizeof *room), **given = room ? room + op->nout : NULL;
    int rc = room ? CG_OK : CG_ENOMEM;
    for (int i = 0; i < op->nout && rc == CG_OK; i++) {
        room[i] = gout[i] ? gout[i] : cg_zeros_like(n->in[i]);
        rc = room[i] ? CG_OK : CG_ENOMEM;
    }
    const cg_own_call call = { .in = n->in + op->nout, .nin = op->nin, .out = n->in, .grad = room, .nout = op->nout, .user = op->user };
    const int told = n->graph->nerrors;
    if (rc == CG_OK && op->grad(&call, given) < 0 && n->graph->nerrors == told)
        cg__graph_fail(n->graph, CG_EINVAL, "cg_grad: %s: its gradient function failed", op->name);
    if (n->graph->nerrors != told)
        rc = n->graph->error.code;
    for (int k = 0; k < op->nin && rc == CG_OK; k++)
        if (need[op->nout + k]) {
            gin[op->nout + k] = given[k] ? fitting(n, op, k, given[k]) : by_graph(n, op, room, k);
            rc = gin[op->nout + k] ? CG_OK : n->graph->error.code ? (int)n->graph->error.code : CG_ENOMEM;
        }
    cg__free(room);
    return rc;
}

CG_DECLARE_GRAD(cg__own_grad)
{
    const cg_own_op *op = cg__own_of(n);
    for (int i = 0; i < op->nout && !op->grad; i++)
        gin[i] = gout[i] ? gout[i] : CG_DISCONNECTED;
    return op->grad ? by_hand(n, op, gout, need, gin) : CG_OK;
}

/* ---- making one */

const cg_own_op *cg__own_by_name(const cg_graph *g, const char *name, size_t n)
{
    for (int i = 0; i < g->owns.n; i++)
        if (strlen(g->owns.at[i]->name) == n && memcmp(g->owns.at[i]->name, name, n) == 0)
            return g->owns.at[i];
    return NULL;
}

#define REFUSE(g, code, ...) cg__graph_fail(g, code, "cg_op_from_graph: " __VA_ARGS__)

static bool is_taken(const char *name)
{
    for (int i = 0; i < CG_OP_COUNT; i++)
        if (strcmp(cg__ops[i].name, name) == 0)
            return true;
    return false;
}

static bool name_fits(cg_graph *g, const char *name)
{
    if (name && cg__word_ok(name) && !is_taken(name) && !cg__own_by_name(g, name, strlen(name)))
        return true;
    REFUSE(g, CG_EINVAL, "'%s' is no name for an operation, or one has it already", name ? name : "");
    return false;
}

/* A gradient by hand speaks of inputs only: a variable that the outputs reach otherwise would silently have none. */
static bool reads_inputs_only(const cg_own_op *op)
{
    cg_node_vec nodes = { 0 };
    uint8_t *seen = cg__zalloc((size_t)op->g->count);
    const cg_node *other = NULL;
    bool ok = seen && cg__reach_values(op->out, op->nout, &nodes);
    for (int i = 0; i < op->nout && ok; i++)
        seen[op->out[i]->id] = 1;
    for (int i = 0; i < op->nin && ok; i++)
        seen[op->in[i]->id] = 2;
    for (int i = nodes.n - 1; i >= 0 && ok; i--) {
        const cg_node *n = nodes.at[i];
        if (seen[n->id] == 1 && (n->op->props & CG_IDENTITY) && cg__is_float(n->type.dtype))
            other = n;
        for (int k = 0; seen[n->id] == 1 && k < cg__nvalues(n); k++)
            seen[n->in[k]->id] = seen[n->in[k]->id] ? seen[n->in[k]->id] : 1;
    }
    if (other)
        REFUSE(op->g, CG_EINVAL, "%s reads %s, which is no input of it, so .grad cannot tell its gradient; make it one", op->name, cg__label(other));
    CG_VEC_FREE(&nodes);
    cg__free(seen);
    return ok && !other;
}

static bool nodes_fit(cg_graph *g, cg_node *const *in, int nin, cg_node *const *out, int nout)
{
    for (int i = 0; i < nin + nout; i++) {
        const cg_node *n = i < nin ? in[i] : out[i - nin];
        if (!n || n->graph != g)
            return n && REFUSE(g, CG_EINVAL, "%s belongs to another graph", cg__label(n));
        if (n->nouts || (i < nin && (n->type.weak || cg__is(n, CG_OP_const))))
            return REFUSE(g, CG_EINVAL, "%s is no %s of an operation", cg__label(n), i < nin ? "input" : "output");
        for (int k = 0; k < i && i < nin; k++)
            if (in[k] == n)
                return REFUSE(g, CG_EINVAL, "%s is input %d and input %d", cg__label(n), k + 1, i + 1);
    }
    return true;
}

static cg_own_op *make(cg_graph *g, cg_node *const *in, int nin, cg_node *const *out, int nout, const cg_own_spec *o)
{
    cg_own_op *op = cg__arena(&g->arena, sizeof *op);
    if (op)
        *op = (cg_own_op){ .g = g, .index = g->owns.n, .nin = nin, .nout = nout, .grad = o->grad, .user = o->user, .name = cg__arena_str(&g->arena, o->name),
                           .in = cg__arena_copy(&g->arena, in, (size_t)nin * sizeof *in), .out = cg__arena_copy(&g->arena, out, (size_t)nout * sizeof *out) };
    if (!op || !op->name || (nin && !op->in) || !op->out || (op->grad && !reads_inputs_only(op)) || !CG_PUSH(&g->owns, op)) {
        if (!g->error.code)
            REFUSE(g, CG_ENOMEM, "no memory");
        return NULL;
    }
    return op;
}

CG_API cg_own_op *cg_op_from_graph(cg_node *const *inputs, int ninputs, cg_node *const *outputs, int noutputs, const cg_own_spec *o)
{
    cg_graph *g = noutputs > 0 ? cg_node_graph(outputs[0]) : NULL;
    CG_BUILDER(g);
    if (!g)
        return NULL;
    if (!o || o->struct_size != sizeof *o) {
        REFUSE(g, CG_EINVAL, "the options are not made by CG_OWN of this version");
        return NULL;
    }
    return nodes_fit(g, inputs, ninputs, outputs, noutputs) && name_fits(g, o->name) ? make(g, inputs, ninputs, outputs, noutputs, o) : NULL;
}

/* ---- using it */

static bool args_fit(const cg_own_op *op, cg_node **args, int n)
{
    if (n != op->nin)
        return cg__graph_fail(op->g, CG_EINVAL, "cg_apply: %s takes %d operand%s, got %d", op->name, op->nin, op->nin == 1 ? "" : "s", n);
    for (int k = 0; k < n; k++) {
        if (!args[k] || args[k]->graph != op->g)
            return args[k] && cg__graph_fail(op->g, CG_EINVAL, "cg_apply: %s: %s belongs to another graph", op->name, cg__label(args[k]));
        args[k] = args[k]->type.weak ? cg_cast(args[k], op->in[k]->type.dtype) : args[k];
        if (args[k] && (args[k]->nouts || !cg__type_may_be(&args[k]->type, &op->in[k]->type)))
            return cg__graph_fail(op->g, CG_ESHAPE, "cg_apply: operand %d of %s is %s, but its graph was made for %s", k + 1, op->name, cg__label(args[k]), cg__label(op->in[k]));
        if (!args[k])
            return false;
    }
    return true;
}

static bool build_at(const cg_own_op *op, cg_node *const *args, cg_node **out)
{
    cg_map memo = { 0 };
    bool ok = true;
    for (int k = 0; k < op->nin && ok; k++)
        ok = cg__map_set(&memo, cg__key(op->in[k]), cg__key(args[k]));
    if (!ok)
        cg__graph_fail(op->g, CG_ENOMEM, "cg_apply: no memory");
    ok = ok && cg__clone_all(op->g, op->out, out, op->nout, &memo);
    cg__map_free(&memo);
    return ok;
}

cg_node *cg__own_apply(const cg_own_op *op, cg_node *const *args, int n)
{
    const int64_t index = op->index;
    cg_node **in = cg__zalloc((size_t)(op->nout + n) * sizeof *in), *made = NULL;
    for (int k = 0; in && k < n; k++)
        in[op->nout + k] = args[k];
    if (!in)
        cg__graph_fail(op->g, CG_ENOMEM, "cg_apply: no memory");
    else if (args_fit(op, in + op->nout, n) && build_at(op, in + op->nout, in))
        made = cg__node(op->g, CG_OP_own, in, op->nout + n, &(cg_attr){ 1, &index });
    cg__free(in);
    return made;
}

CG_API int cg_apply(const cg_own_op *op, cg_node *const *args, int nargs, cg_node **const *out, int nout)
{
    CG_BUILDER(op ? op->g : NULL);
    cg_node *n = NULL;
    for (int k = 0; k < nout; k++)
        *out[k] = NULL;
    if (op && nout != op->nout)
        cg__graph_fail(op->g, CG_EINVAL, "cg_apply: %s has %d output%s, but there are %d places", op->name, op->nout, op->nout == 1 ? "" : "s", nout);
    else if (op)
        n = cg__own_apply(op, args, nargs);
    bool ok = n != NULL;
    for (int k = 0; k < nout && ok; k++)
        ok = (*out[k] = cg__get(n, k)) != NULL;
    for (int k = 0; k < nout && !ok; k++)
        *out[k] = NULL;
    return ok ? CG_OK : op && op->g->error.code ? (int)op->g->error.code : CG_EINVAL;
}
