// SPDX-License-Identifier: MIT
/* Worst errors of f32 elementwise functions, in units of the last place, for ulp and check_elemwise: 4 where no row stands. With a scale
 * the error counts in units of at least that number's last place: for functions whose terms cancel, or whose tails nobody needs to the
 * last digit (ON_OPERANDS: on the scale of the operands). */
#ifndef ELEM_BOUNDS_H
#define ELEM_BOUNDS_H

#include <math.h>
#include <string.h>
#include "core/base/base.h"

enum { ON_OPERANDS = -1 };
typedef struct elem_bound { const char *name; double ulps, scale; } elem_bound;
static const elem_bound elem_bounds[] = {
    { "exp", 2, 0 },          { "log", 2, 0 },          { "exp2", 2, 0 },
    { "logaddexp", 4, ON_OPERANDS }, { "logaddexp2", 4, ON_OPERANDS },
    { "erfcx", 5, 0 },        { "gamma", 8, 0 },        { "lgamma", 10, 1 },      { "digamma", 8, 16 },
    { "trigamma", 8, 0 },     { "i0", 6, 0 },           { "i1", 6, 0 },
    { "hard_sigmoid", 4, 1 }, { "hard_swish", 4, 1 },   { "silu", 4, 1e-30 },     { "mish", 5, 1e-30 },
    { "gelu", 5, 1e-30 },     { "gelu_tanh", 8, 0.1 },
};

static inline elem_bound bound_of(const char *name)
{
    for (int i = 0; i < CG_LEN(elem_bounds); i++)
        if (strcmp(elem_bounds[i].name, name) == 0)
            return elem_bounds[i];
    return (elem_bound){ name, 4, 0 };
}

/* The error of got in units of the last place of want, or of the scale; denormals have the least normal's. */
static inline double ulps_between(const elem_bound *b, double operand, double got, double want)
{
    const double scale = b->scale == ON_OPERANDS ? fabs(operand) : b->scale, least = 0x1p-126;
    const double size = fmax(fmax(fabs(want), scale), least);
    return fabs(got - want) / ldexp(1, ilogb(size) - 23);
}

#endif
