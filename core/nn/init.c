// SPDX-License-Identifier: MIT
/* Initial values of parameters. Glorot: Glorot and Bengio 2010; He: He et al. 2015; LeCun: LeCun et al. 1998; orthogonal: Saxe et al. 2014. */
#include <math.h>
#include "core/nn/nn.h"

/* variance = scale / fan; fan is the mean of in and out, or in */
typedef struct law { double scale; bool both, normal; } law;
static const law laws[] = {
    [CG_INIT_GLOROT_UNIFORM] = { 1, true, false }, [CG_INIT_GLOROT_NORMAL] = { 1, true, true }, [CG_INIT_HE_UNIFORM] = { 2, false, false },
    [CG_INIT_HE_NORMAL] = { 2, false, true },      [CG_INIT_LECUN_UNIFORM] = { 1, false, false }, [CG_INIT_LECUN_NORMAL] = { 1, false, true },
};

static double uniform(uint64_t *state) { return (double)(cg__nn_bits(state) >> 11) * 0x1p-53; }    /* 0 to below 1 */

static double normal(uint64_t *state)                                                              /* Box and Muller */
{
    const double r = sqrt(-2 * log(1 - uniform(state)));
    return r * cos(6.283185307179586 * uniform(state));
}

static double fan_of(const int64_t *shape, int rank, bool both)
{
    double window = 1;
    for (int i = 2; i < rank; i++)
        window *= (double)shape[i];
    const double first = rank > 0 ? (double)shape[0] : 1, second = rank > 1 ? (double)shape[1] : first;
    const double in = (rank > 2 ? second : first) * window, out = (rank > 2 ? first : second) * window;
    return fmax(both ? (in + out) / 2 : in, 1);
}

static void fill_law(float *p, int64_t n, const law *l, double fan, uint64_t *state)
{
    const double deviation = sqrt(l->scale / fan), limit = sqrt(3) * deviation;
    for (int64_t i = 0; i < n; i++)
        p[i] = (float)(l->normal ? deviation * normal(state) : limit * (2 * uniform(state) - 1));
}

/* Row k of `rows` vectors of `length`, made orthogonal to those before it. Twice is enough (Giraud, Langou, Rozloznik 2005). */
static double orthonormal_row(double *m, int64_t k, int64_t length)
{
    double *v = m + k * length, norm = 0;
    for (int64_t j = 0; j < 2 * k; j++) {
        const double *u = m + (j % k) * length;
        double dot = 0;
        for (int64_t i = 0; i < length; i++)
            dot += u[i] * v[i];
        for (int64_t i = 0; i < length; i++)
            v[i] -= dot * u[i];
    }
    for (int64_t i = 0; i < length; i++)
        norm += v[i] * v[i];
    norm = sqrt(norm);
    for (int64_t i = 0; i < length && norm > 0; i++)
        v[i] /= norm;
    return norm;
}

/* Normal rows, orthonormalised: (shape[0], rest) by rows or by columns, whichever are fewer. */
static int fill_orthogonal(float *p, const int64_t *shape, int rank, int64_t count, uint64_t *state)
{
    const int64_t rows = rank > 0 ? shape[0] : 1, columns = rows ? count / rows : 0;
    const int64_t vectors = rows < columns ? rows : columns, length = rows < columns ? columns : rows;
    double *m = cg__zalloc((size_t)(vectors * length + 1) * sizeof *m);
    if (!m)
        return CG_ENOMEM;
    for (int64_t k = 0; k < vectors; k++)
        do                               /* a row that was within the span of the others is drawn again */
            for (int64_t i = 0; i < length; i++)
                m[k * length + i] = normal(state);
        while (orthonormal_row(m, k, length) < 1e-6);
    for (int64_t k = 0; k < vectors; k++)
        for (int64_t i = 0; i < length; i++)
            p[rows < columns ? k * length + i : i * columns + k] = (float)m[k * length + i];
    cg__free(m);
    return CG_OK;
}

static int fill(float *p, const int64_t *shape, int rank, int64_t count, cg_init how, uint64_t seed)
{
    uint64_t state = seed;
    if (how == CG_INIT_ORTHOGONAL)
        return fill_orthogonal(p, shape, rank, count, &state);
    if (how == CG_INIT_ONES)
        for (int64_t i = 0; i < count; i++)
            p[i] = 1;
    else
        fill_law(p, count, &laws[how], fan_of(shape, rank, laws[how].both), &state);
    return CG_OK;
}

CG_API cg_array *cg_array_init(const int64_t *shape, int rank, cg_init how, uint64_t seed)
{
    if ((unsigned)how > CG_INIT_ORTHOGONAL) {
        cg__nn_fail(CG_EINVAL, "cg_array_init: there is no initialiser %d", (int)how);
        return NULL;
    }
    cg_array *a = cg_array_new(CG_F32, shape, rank, NULL);
    const int64_t count = a ? cg_array_count(a) : 0;
    if (!count || how == CG_INIT_ZEROS)
        return a;
    float *p = cg__zalloc((size_t)count * sizeof *p);
    if (!p || fill(p, shape, rank, count, how, seed) < 0 || cg_array_set(a, p, (size_t)count * sizeof *p) < 0) {
        cg__nn_fail(CG_ENOMEM, "cg_array_init: no memory");
        cg_array_free(a);
        a = NULL;
    }
    cg__free(p);
    return a;
}
