// SPDX-License-Identifier: MIT
/* Checkpoints: a loop of T steps as K = T / N blocks of N steps and a loop of the R = T - K N that are left.
 *
 * The blocks are a loop over loops. Its gradient keeps nothing of a block but the states before it (CG_SAVE_STATES), so a block is computed again
 * when the gradient comes to it: K states and what N steps keep, instead of what T steps keep.
 *     blocks:  states begin as the loop's; rows (K, N, ...) of each sequence; step t is block N + the inner step
 *     rest:    states begin as the blocks end; the other R rows; step t is K N + its own
 * Rows are walked backwards block by block, so of a sequence that is walked backwards the rest is the first R rows.
 */
#include "core/graph/build.h"
#include "core/graph/scan.h"

typedef struct cutting {
    const cg_node *n;
    cg_graph *g;
    cg_scan_view v;
    cg_node *per, *blocks, *inside, *left;       /* N, K, K N, R */
    cg_node **state;                             /* after the part before */
    cg_node **part[2];                           /* outputs of the blocks and of the rest, NULL: a part that is known to be empty */
} cutting;

static bool is_zero(const cg_node *n)
{
    double v;
    return cg__is_const(n, &v) && v == 0;
}

/* ---- sequences and outputs, cut and put together */

static cg_node *with_rows(cg_node *x, cg_node *const *rows, int nrows, int from)
{
    cg_node *dims[CG_MAX_RANK + 1];
    int n = 0;
    if (!x || x->type.rank - from + nrows > CG_MAX_RANK)
        return x ? cg__graph_fail(x->graph, CG_ESHAPE, "cg_scan_end: %s has too many axes to be cut into blocks", cg__label(x)) : NULL;
    for (; n < nrows; n++)
        dims[n] = rows[n];
    for (int i = from; i < x->type.rank; i++)
        dims[n++] = cg__dim_node(x->graph, x->type.dim[i]);
    return cg_reshape_to(x, dims, n);
}

static cg_node *rows_of_blocks(const cutting *c, int i)
{
    cg_node *x = is_zero(c->left) ? c->v.seq[i] : c->v.back[i] ? cg_slice(c->v.seq[i], 0, c->left, NULL, 1) : cg_slice(c->v.seq[i], 0, NULL, c->inside, 1);
    return with_rows(x, (cg_node *[]){ c->blocks, c->per }, 2, 1);
}

static cg_node *rows_of_rest(const cutting *c, int i)
{
    return c->v.back[i] ? cg_slice(c->v.seq[i], 0, NULL, c->left, 1) : cg_slice(c->v.seq[i], 0, c->inside, NULL, 1);
}

static cg_node *joined(const cutting *c, int k)
{
    const cg_scan_out_row *o = &c->v.out[k];
    cg_node *a = c->part[0] ? c->part[0][k] : NULL, *b = c->part[1] ? c->part[1][k] : NULL;
    if (o->keep == CG_SCAN_LAST)
        return c->state[o->root];
    if (!a || !b)
        return a ? a : b;
    return o->keep == CG_SCAN_SUM ? cg_add(a, b) : cg_concatenate(o->back ? (cg_node *[]){ b, a } : (cg_node *[]){ a, b }, 2, 0);
}

/* ---- one loop of the body's steps */

/* Ends a loop whose results are ALL and SUM outputs in their order, then the last value of each state. */
static bool end_part(const cutting *c, cg_scan *s, cg_node **value, cg_node **state)
{
    cg_node ***where = cg__zalloc((size_t)(c->v.nouts + c->v.nstate + 1) * sizeof *where);
    int n = 0;
    bool ok = where != NULL;
    for (int k = 0; k < c->v.nouts && ok; k++)
        if (c->v.out[k].keep != CG_SCAN_LAST)
            where[n++] = &value[k];
    for (int i = 0; i < c->v.nstate && ok; i++) {
        ok = cg__scan_last(s, i) == CG_OK;
        where[n++] = &state[i];
    }
    if (ok)
        ok = cg_scan_end(s, where, n) == CG_OK;
    else
        cg__scan_drop(s);
    cg__free(where);
    return ok;
}

static bool run_body(const cutting *c, cg_scan *s, cg_node **args)
{
    cg_map memo = { 0 };
    bool ok = cg__scan_map_args(c->n, args, &memo);
    for (int i = 0; i < c->v.nstate && ok; i++)
        ok = cg_scan_next(s, args[c->v.nseq + i], cg__clone(c->g, c->v.root[i], &memo)) == CG_OK;
    for (int k = 0; k < c->v.nouts && ok; k++) {
        const cg_scan_out_row *o = &c->v.out[k];
        ok = o->keep == CG_SCAN_LAST || cg__scan_out(s, cg__clone(c->g, c->v.root[o->root], &memo), (cg_scan_keep)o->keep, o->back != 0) == CG_OK;
    }
    cg__map_free(&memo);
    return ok;
}

/* `steps` steps from number `first` on, over rows and from states that are given; the outputs, and the states after them, in place. */
static bool steps_of(const cutting *c, cg_node *steps, cg_node *first, cg_node *const *rows, cg_node **state, cg_node **value)
{
    const int nargs = cg__scan_nargs(&c->v), after = c->v.nseq + c->v.nstate;
    cg_node **args = cg__zalloc((size_t)nargs * sizeof *args);
    cg_scan *s = args ? cg_scan_begin(c->g, CG_SCAN(.steps = steps)) : NULL;
    bool ok = s != NULL;
    for (int k = 0; k < nargs && ok; k++) {
        if (k < c->v.nseq)
            args[k] = cg__scan_seq(s, rows[k], c->v.back[k] != 0);
        else if (k < after)
            args[k] = cg_scan_state(s, state[k - c->v.nseq]);
        else
            args[k] = k < nargs - 1 ? c->v.seq[k] : cg__int(c->g, CG_OP_add, first, cg_scan_index(s));
        ok = args[k] != NULL;
    }
    if (ok && run_body(c, s, args))
        ok = end_part(c, s, value, state);
    else {
        cg__scan_drop(s);
        ok = false;
    }
    cg__free(args);
    return ok;
}

/* ---- the parts */

static bool run_blocks(cutting *c)
{
    const int nseq = c->v.nseq, nstate = c->v.nstate;
    cg_node **rows = cg__zalloc((size_t)(nseq + nstate + nstate + 1) * sizeof *rows), **open = rows ? rows + nseq : NULL, **inner = rows ? open + nstate : NULL;
    cg_scan *s = rows ? cg_scan_begin(c->g, CG_SCAN(.steps = c->blocks, .save = CG_SAVE_STATES)) : NULL;
    bool ok = s && c->part[0];
    for (int i = 0; i < nseq && ok; i++)
        ok = (rows[i] = cg__scan_seq(s, rows_of_blocks(c, i), c->v.back[i] != 0)) != NULL;
    for (int i = 0; i < nstate && ok; i++)
        ok = (inner[i] = open[i] = cg_scan_state(s, c->state[i])) != NULL;
    ok = ok && steps_of(c, c->per, cg__int(c->g, CG_OP_mul, cg_scan_index(s), c->per), rows, inner, c->part[0]);
    for (int i = 0; i < nstate && ok; i++)
        ok = cg_scan_next(s, open[i], inner[i]) == CG_OK;
    for (int k = 0; k < c->v.nouts && ok; k++)
        ok = c->v.out[k].keep == CG_SCAN_LAST || cg__scan_out(s, c->part[0][k], (cg_scan_keep)c->v.out[k].keep, c->v.out[k].back != 0) == CG_OK;
    if (ok)
        ok = end_part(c, s, c->part[0], c->state);
    else
        cg__scan_drop(s);
    for (int k = 0; k < c->v.nouts && ok; k++)
        if (c->v.out[k].keep == CG_SCAN_ALL)
            ok = (c->part[0][k] = with_rows(c->part[0][k], &c->inside, 1, 2)) != NULL;
    cg__free(rows);
    return ok;
}

static bool run_rest(cutting *c)
{
    cg_node **rows = cg__zalloc((size_t)(c->v.nseq + 1) * sizeof *rows);
    bool ok = rows && c->part[1];
    for (int i = 0; i < c->v.nseq && ok; i++)
        ok = (rows[i] = rows_of_rest(c, i)) != NULL;
    ok = ok && steps_of(c, c->left, c->inside, rows, c->state, c->part[1]);
    cg__free(rows);
    return ok;
}

static bool run(cutting *c, cg_node **out)
{
    const size_t nouts = (size_t)c->v.nouts + 1;
    for (int i = 0; i < c->v.nstate; i++)
        c->state[i] = c->v.init[i];
    if (!is_zero(c->blocks)) {
        c->part[0] = cg__zalloc(nouts * sizeof(cg_node *));
        if (!run_blocks(c))
            return false;
    }
    if (!is_zero(c->left) || is_zero(c->blocks)) {
        c->part[1] = cg__zalloc(nouts * sizeof(cg_node *));
        if (!run_rest(c))
            return false;
    }
    bool ok = true;
    for (int k = 0; k < c->v.nouts && ok; k++)
        ok = (out[k] = joined(c, k)) != NULL;
    return ok;
}

bool cg__scan_in_blocks(const cg_node *n, int64_t every, cg_node **out)
{
    cg_graph *g = n->graph;
    cutting c = { .n = n, .g = g, .v = cg__scan_view(n), .per = cg__const_i64(g, every) };
    c.blocks = cg__int(g, CG_OP_floor_divide, c.v.steps, c.per);
    c.inside = cg__int(g, CG_OP_mul, c.blocks, c.per);
    c.left = cg__int(g, CG_OP_sub, c.v.steps, c.inside);
    c.state = cg__zalloc((size_t)(c.v.nstate + 1) * sizeof *c.state);
    const bool ok = c.left && c.state && run(&c, out);
    cg__free(c.state);
    cg__free(c.part[0]);
    cg__free(c.part[1]);
    return ok;
}
