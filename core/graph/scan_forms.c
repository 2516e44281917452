// SPDX-License-Identifier: MIT
/* The loops that are a function of one row: map and the two folds. What the function builds is the body, so it is called once. */
#include "core/graph/ir.h"

CG_API cg_node *cg_scan_map(cg_node *x, cg_row_fn *f, void *user)
{
    CG_BUILDER(cg_node_graph(x));
    cg_scan *s = x ? cg_scan_begin(cg_node_graph(x), NULL) : NULL;
    cg_node *rows = NULL;
    if (!s)
        return NULL;
    cg_node *row = cg_scan_seq(s, x);
    cg_scan_out(s, row ? f(user, row) : NULL, CG_SCAN_ALL);
    cg_scan_end(s, CG_OUT(&rows));
    return rows;
}

static cg_node *fold(cg_node *x, cg_node *init, cg_fold_fn *f, void *user, int backwards)
{
    cg_scan *s = x ? cg_scan_begin(cg_node_graph(x), CG_SCAN(.backwards = backwards)) : NULL;
    cg_node *last = NULL;
    if (!s)
        return NULL;
    cg_node *row = cg_scan_seq(s, x), *state = cg_scan_state(s, init), *next = row && state ? f(user, state, row) : NULL;
    cg_scan_next(s, state, next);
    cg_scan_out(s, next, CG_SCAN_LAST);
    cg_scan_end(s, CG_OUT(&last));
    return last;
}

CG_API cg_node *cg_scan_foldl(cg_node *x, cg_node *init, cg_fold_fn *f, void *user)
{
    CG_BUILDER(cg_node_graph(x));
    return fold(x, init, f, user, 0);
}

CG_API cg_node *cg_scan_foldr(cg_node *x, cg_node *init, cg_fold_fn *f, void *user)
{
    CG_BUILDER(cg_node_graph(x));
    return fold(x, init, f, user, 1);
}
