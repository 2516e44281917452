// SPDX-License-Identifier: MIT
/* What several checks do with arrays and texts. */
#ifndef HELPERS_H
#define HELPERS_H

#include <stdlib.h>
#include <string.h>
#include "core/cg.h"

/* An f64 array of numbers from -1/2 to 1/2. */
static inline cg_array *random_array(const int64_t *shape, int rank, unsigned seed)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= shape[i];
    double *v = malloc(sizeof *v * (size_t)(n + 1));
    for (int64_t i = 0; i < n; i++)
        v[i] = rand_r(&seed) / (double)RAND_MAX - 0.5;
    cg_array *a = cg_array_new(CG_F64, shape, rank, v);
    free(v);
    return a;
}

/* How often the part, which does not overlap itself, stands in the text. */
static inline int occurrences(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}

#endif
