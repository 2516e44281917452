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
    CG_VEC(cg_update) updates;   /* of layers' states, as they are built, and of the optimiser */
    bool optimized;
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
cg_node *cg__net_part(cg_net *n, const char *layer, const char *name, const int64_t *shape, int rank, cg_init how);     /* the parameter layer.name */
cg_node *cg__net_add_part(cg_net *n, const char *layer, const char *name, cg_array *value);     /* the same with this value, taken over; NULL: NULL */
cg_node *cg__net_part_state(cg_net *n, const char *layer, const char *name, const int64_t *shape, int rank, double value);   /* an f32 state named so */
int cg__net_why(const cg_net *n, const char *caller);                     /* what the graph or the net has to say, else that memory is out */
int cg__fit_check(const cg_fit_spec *o, const char *caller);             /* that the options make sense */
int64_t cg__fit_batch(const cg_fit_spec *o);                              /* rows a step */
int64_t cg__fit_rows(const cg_fit_spec *o);                               /* rows an epoch */
int64_t cg__loader_batch(const cg_loader *l);
int64_t cg__loader_rows(const cg_loader *l);
int cg__nn_fail(cg_status code, const char *fmt, ...) CG_PRINTF(2, 3);      /* the thread's last error; returns code */
int cg__nn_said(cg_graph *g, cg_status code, const char *fmt, ...) CG_PRINTF(3, 4);     /* an error of the graph; returns code */
static inline void *cg__nn_null(int said) { (void)said; return NULL; }
/* "f32[3,n]", in `to` */
const char *cg__nn_type(char to[160], cg_dtype d, const int64_t *dims, int rank);
const char *cg__nn_type_of(char to[160], const cg_node *n);
/* losses.c, for metrics too: whether classes (n, ...) fit scores (n, c, ...), else the graph's error; the score of each sample's class, (n, ...), where
 * a class out of 0..c-1 fails the call; 0..c-1 along axis 1, in the shape that broadcasts. */
bool cg__nn_same_shape(const cg_node *a, const cg_node *b, int without);      /* but for the axis `without` of a; -1: all of it */
bool cg__nn_classes_fit(const char *who, const cg_node *x, const cg_node *y);
cg_node *cg__nn_pick(cg_node *x, cg_node *y);
cg_node *cg__nn_numbers(cg_node *x);

#endif
