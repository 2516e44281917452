// SPDX-License-Identifier: MIT
/* Rows of data sets: an order for each epoch, and parts. */
#include "core/nn/nn.h"

/* Fisher and Yates. */
CG_API void cg_permutation(int64_t *rows, int64_t n, uint64_t seed, int64_t epoch)
{
    uint64_t state = seed;
    state = cg__nn_bits(&state) + (uint64_t)epoch;
    for (int64_t i = 0; i < n; i++)
        rows[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t k = (int64_t)(cg__nn_bits(&state) % (uint64_t)(i + 1)), t = rows[i];
        rows[i] = rows[k];
        rows[k] = t;
    }
}

static int copy_rows(char *to, const char *from, size_t bytes, const int64_t *rows, int64_t n, int64_t limit)
{
    for (int64_t i = 0; i < n; i++) {
        if (rows[i] < 0 || rows[i] >= limit)
            return cg__nn_fail(CG_ESHAPE, "cg_array_rows: row %lld of an array with %lld rows", (long long)rows[i], (long long)limit);
        memcpy(to + (size_t)i * bytes, from + (size_t)rows[i] * bytes, bytes);
    }
    return CG_OK;
}

CG_API cg_array *cg_array_rows(cg_array *a, const int64_t *rows, int64_t n)
{
    const int rank = cg_array_rank(a);
    int64_t shape[CG_MAX_RANK] = { n };
    if (rank < 1 || n < 0) {
        cg__nn_fail(CG_ESHAPE, "cg_array_rows: %lld rows of an array of rank %d", (long long)n, rank);
        return NULL;
    }
    size_t bytes = cg_dtype_bytes(cg_array_dtype(a));
    for (int i = 1; i < rank; i++) {
        shape[i] = cg_array_shape(a)[i];
        bytes *= (size_t)shape[i];
    }
    const char *from = cg_array_data(a);
    cg_array *out = from ? cg_array_new(cg_array_dtype(a), shape, rank, NULL) : NULL;
    char *to = out ? cg__zalloc((size_t)n * bytes + 1) : NULL;
    if (out && !to)
        cg__nn_fail(CG_ENOMEM, "cg_array_rows: no memory");
    if (!to || copy_rows(to, from, bytes, rows, n, cg_array_shape(a)[0]) < 0 || cg_array_set(out, to, (size_t)n * bytes) < 0) {
        cg_array_free(out);
        out = NULL;
    }
    cg__free(to);
    return out;
}
