// SPDX-License-Identifier: MIT
/* IDX files to arrays that a model trains on. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/data.h"

static cg_array *load_part(const char *dir, const char *prefix, const char *part)
{
    char path[4096];
    for (int gz = 1; gz >= 0; gz--) {
        snprintf(path, sizeof path, "%s/%s-%s-ubyte%s", dir, prefix, part, gz ? ".gz" : "");
        if (!gz || access(path, R_OK) == 0)
            return cg_idx_load(path);
    }
    return NULL;
}

static int belong_together(cg_array *x, cg_array *y)
{
    return cg_array_dtype(x) == CG_U8 && cg_array_dtype(y) == CG_U8 && cg_array_rank(x) >= 2 && cg_array_rank(y) == 1 &&
           cg_array_shape(y)[0] == cg_array_shape(x)[0] && cg_array_count(x) > 0;
}

static float largest_of(const unsigned char *p, int64_t n)
{
    int m = 0;
    for (int64_t i = 0; i < n; i++)
        m = p[i] > m ? p[i] : m;
    return m ? (float)m : 1;
}

static int convert(dataset *d, cg_array *x, cg_array *y, float *largest)
{
    const int64_t n = cg_array_count(y), count = cg_array_count(x), shape[2] = { n, count / n };
    const unsigned char *pixels = cg_array_data(x), *labels = cg_array_data(y);
    d->rows = cg_array_shape(x)[1];
    d->x = cg_array_new(CG_F32, shape, 2, NULL);
    d->y = cg_array_new(CG_I64, shape, 1, NULL);
    if (!d->x || !d->y)
        return failed("data");
    float *fx = (float *)(uintptr_t)cg_array_data(d->x);
    int64_t *iy = (int64_t *)(uintptr_t)cg_array_data(d->y);
    if (!*largest)
        *largest = largest_of(pixels, count);
    for (int64_t i = 0; i < count; i++)
        fx[i] = (float)pixels[i] / *largest;
    for (int64_t i = 0; i < n; i++)
        iy[i] = labels[i];
    return 0;
}

int data_load(dataset *d, const char *dir, const char *prefix, float *largest)
{
    cg_array *x = load_part(dir, prefix, "images-idx3"), *y = x ? load_part(dir, prefix, "labels-idx1") : NULL;
    int rc = EXIT_FAILED;
    *d = (dataset){ 0 };
    if (!x || !y)
        rc = failed("data");
    else if (!belong_together(x, y))
        fprintf(stderr, "cgraph: data: %s: the %s images and labels do not belong together\n", dir, prefix);
    else
        rc = convert(d, x, y, largest);
    cg_array_free(x);
    cg_array_free(y);
    return rc;
}

void data_free(dataset *d)
{
    cg_array_free(d->x);
    cg_array_free(d->y);
    *d = (dataset){ 0 };
}

int data_hold_out(dataset *d, dataset *held, double part, uint64_t seed)
{
    const int64_t n = cg_array_count(d->y);
    int64_t away = (int64_t)((double)n * part + 0.5), *rows = calloc((size_t)n + 1, sizeof *rows);
    away = away < 1 ? 1 : away > n - 1 ? n - 1 : away;
    if (!rows || n < 2) {
        fprintf(stderr, "cgraph: data: %s\n", rows ? "one row cannot be split" : "no memory");
        free(rows);
        return EXIT_FAILED;
    }
    cg_permutation(rows, n, seed, 0);                    /* epochs count from 1, so no epoch has this order */
    dataset kept = { cg_array_rows(d->x, rows, n - away), cg_array_rows(d->y, rows, n - away), d->rows };
    *held = (dataset){ cg_array_rows(d->x, rows + n - away, away), cg_array_rows(d->y, rows + n - away, away), d->rows };
    free(rows);
    data_free(d);
    *d = kept;
    return d->x && d->y && held->x && held->y ? 0 : failed("data");
}

int64_t data_classes(const dataset *d)
{
    const int64_t *y = cg_array_data(d->y);
    int64_t m = 0;
    for (int64_t i = 0; i < cg_array_count(d->y); i++)
        m = y[i] > m ? y[i] : m;
    return m + 1;
}

const char *data_default_dir(void)
{
    static char dir[4200];
    snprintf(dir, sizeof dir, "%s/mnist5k", cg_data_dir());
    return dir;
}
