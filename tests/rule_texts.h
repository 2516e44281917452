// SPDX-License-Identifier: MIT
/* What the texts of rules stand for in tests: ?x is the variable x, of the type that stands here. */
#ifndef RULE_TEXTS_H
#define RULE_TEXTS_H

#include "core/graph/ir.h"

enum { RULE_VARS = 11 };
static const struct { const char *name; cg_dtype dtype; int rank; int64_t shape[2]; } rule_vars[RULE_VARS] = {
    { "x", CG_F32, 2, { 2, 3 } }, { "y", CG_F32, 2, { 2, 3 } }, { "c", CG_BOOL, 2, { 2, 3 } }, { "r", CG_F32, 1, { 3 } },
    { "n", CG_F32, 2, { 2, 3 } }, { "i", CG_I32, 2, { 2, 3 } }, { "p", CG_F32, 1, { 2 } }, { "q", CG_F32, 2, { 2, 1 } },
    { "s", CG_F32, 2, { 2, 2 } }, { "z", CG_F32, 2, { 2, 3 } }, { "a", CG_F32, 2, { 2, 3 } },
};

/* All of them in a graph, the floats of dtype d; n has `rows` rows, which may be CG_ANY. */
static inline void make_rule_vars(cg_graph *g, cg_node **vars, cg_dtype d, int64_t rows)
{
    for (int i = 0; i < RULE_VARS; i++) {
        const int64_t shape[2] = { *rule_vars[i].name == 'n' ? rows : rule_vars[i].shape[0], rule_vars[i].shape[1] };
        vars[i] = cg_input(g, rule_vars[i].name, rule_vars[i].dtype == CG_F32 ? d : rule_vars[i].dtype, shape, rule_vars[i].rank);
    }
}

static inline cg_node *read_rule_text(cg_graph *g, cg_node *const *vars, const char *text)
{
    char plain[500];
    size_t n = 0;
    for (; *text && n + 1 < sizeof plain; text++)
        if (*text != '?')
            plain[n++] = *text;
    plain[n] = 0;
    return cg_read(g, plain, vars, RULE_VARS);
}

#endif
