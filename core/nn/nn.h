// SPDX-License-Identifier: MIT
/* What the files of nn share: the net, and the generator of its initial values. nn builds only through cg.h; from base it has memory and errors. */
#ifndef CG_NN_H
#define CG_NN_H

#include "core/base/base.h"

typedef struct cg_net_var { char *name; cg_array *value; cg_node *node; bool trained; } cg_net_var;
struct cg_net {
    cg_graph *g;
    uint64_t seed;
    CG_VEC(cg_net_var) vars;
    CG_VEC(cg_update) updates;
    CG_VEC(cg_given) averages;
};

/* Splitmix64 (Steele, Lea, Flood 2014): one sequence a seed, on every platform. */
static inline uint64_t cg__nn_bits(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

cg_node *cg__net_add(cg_net *n, const char *name, cg_array *value, bool trained);      /* takes value over */
int cg__net_why(const cg_net *n, const char *caller);                     /* what the graph or the net has to say, else that memory is out */
int cg__fit_check(const cg_fit_spec *o, const char *caller);             /* that the options make sense */
int64_t cg__fit_batch(const cg_fit_spec *o);                              /* rows a step */
int64_t cg__fit_rows(const cg_fit_spec *o);                               /* rows an epoch */
int64_t cg__loader_batch(const cg_loader *l);
int64_t cg__loader_rows(const cg_loader *l);
int cg__nn_fail(cg_status code, const char *fmt, ...) CG_PRINTF(2, 3);      /* the thread's last error; returns code */

#endif
