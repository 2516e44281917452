// SPDX-License-Identifier: MIT
/* What tests do with each graph and function before they let it go: the verifier looks at the user's graph and at the
 * function's own, which is what rewriting left. */
#ifndef VERIFIED_H
#define VERIFIED_H

#include <check.h>
#include "core/run/run.h"

static inline void verified(const cg_graph *g)
{
    ck_assert_msg(cg_graph_verify(g) == CG_OK, "%s", cg_last_error()->text);
}

static inline void verified_graph_free(cg_graph *g)
{
    verified(g);
    cg_graph_free(g);
}

static inline void verified_function_free(cg_function *f)
{
    if (f)
        verified(f->g);
    for (int i = 0; f && i < f->nvariants; i++)
        verified(f->variant[i]->g);
    cg_function_free(f);
}

#define cg_graph_free(g)    verified_graph_free(g)
#define cg_function_free(f) verified_function_free(f)

#endif
