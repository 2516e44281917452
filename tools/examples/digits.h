// SPDX-License-Identifier: MIT
/* What the examples share: the digits that come with libcg, 8 x 8 pixels of 0 to 16, and how an example ends. */
#ifndef DIGITS_H
#define DIGITS_H

#include <stdio.h>
#include "core/cg.h"

typedef struct digits { cg_array *x, *y, *test_x, *test_y; } digits;      /* u8: (1438, 8, 8) and (1438); (359, 8, 8) and (359) */

static inline cg_array *digits_file(const char *name)
{
    char path[1000];
    snprintf(path, sizeof path, "%s/digits/%s-ubyte.gz", cg_data_dir(), name);
    return cg_idx_load(path);
}

static inline digits digits_load(void)
{
    return (digits){ digits_file("train-images-idx3"), digits_file("train-labels-idx1"), digits_file("t10k-images-idx3"), digits_file("t10k-labels-idx1") };
}

static inline void digits_free(digits *d)
{
    cg_array_free(d->x);
    cg_array_free(d->y);
    cg_array_free(d->test_x);
    cg_array_free(d->test_y);
}

/* Tells what `test` gives for the unseen digits, and is what main returns: builders and calls pass on the first thing that went wrong. */
static inline int digits_test(const digits *d, cg_function *test, const char *what)
{
    cg_array *out = NULL;
    const int ok = test && cg_call(test, CG_ARRAYS(d->test_x, d->test_y), &out) == CG_OK && cg_array_data(out);
    if (ok)
        printf("%s %.3f\n", what, (double)*(const float *)cg_array_data(out));
    else
        fprintf(stderr, "%s\n", cg_last_error()->text);
    cg_array_free(out);
    return !ok;
}

#endif
