// SPDX-License-Identifier: MIT
#include <dlfcn.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/blas.h"
#ifdef CG_HAVE_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

/* CBLAS, the same in every BLAS */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
void cblas_dgemm(int order, int ta, int tb, int m, int n, int k, double alpha, const double *a, int lda, const double *b, int ldb, double beta, double *c, int ldc);

/* oneDNN packs less and knows more processors than OpenBLAS, but not where a matrix is narrow: measured from 16 rows and columns on. */
enum { ONEDNN_LEAST = 16 };
/* Parts of one product are whole vectors wide, of any processor. */
enum { PART_ALIGN = 32 };

int cg__product(cg_product *p, const cg_gemm *g, const int64_t *n, cg_error *err)
{
    const cg_mat *mats[3] = { &g->a, &g->b, &g->c };
    if (n[g->m] > INT32_MAX || n[g->n] > INT32_MAX || n[g->k] > INT32_MAX)
        return cg__fail(err, CG_EUNSUPPORTED, "a matrix has more than 2^31 rows or columns");
    *p = (cg_product){ .m = (int)n[g->m], .n = (int)n[g->n], .k = (int)n[g->k], .batch = n[g->batch], .ta = g->a.trans, .tb = g->b.trans,
                       .f64 = g->dtype == CG_F64, .alpha = g->alpha, .beta = g->beta };
    const int least[3] = { p->ta ? p->m : p->k, p->tb ? p->k : p->n, p->n };
    for (int i = 0; i < 3; i++) {
        const int64_t ld = n[mats[i]->ld], floor = least[i] > 1 ? least[i] : 1;
        p->ld[i] = (int)(ld > floor ? ld : floor);
        p->step[i] = n[mats[i]->batch_stride];
    }
    return CG_OK;
}

bool cg__product_empty(const cg_product *p) { return !p->m || !p->n || p->batch < 1; }

/* ---- one product on the threads of whoever calls */

static void scale(const cg_product *p, double *d, float *f)
{
    for (int i = 0; i < p->m; i++)
        for (int j = 0; j < p->n; j++) {
            const int64_t at = (int64_t)i * p->ld[2] + j;
            if (p->f64)
                d[at] = p->beta == 0 ? 0 : p->beta * d[at];
            else
                f[at] = p->beta == 0 ? 0 : (float)p->beta * f[at];
        }
}

#ifdef CG_HAVE_ONEDNN
static bool use_onednn(const cg_product *p)
{
    const char *want = secure_getenv("CG_BLAS");
    return !p->f64 && p->m >= ONEDNN_LEAST && p->n >= ONEDNN_LEAST && p->k && !(want && strcmp(want, "cblas") == 0);
}

static bool by_onednn(const cg_product *p, const float *a, const float *b, float *c)
{
    return dnnl_sgemm(p->ta ? 'T' : 'N', p->tb ? 'T' : 'N', p->m, p->n, p->k, (float)p->alpha, a, p->ld[0], b, p->ld[1], (float)p->beta, c, p->ld[2]) == dnnl_success;
}
#else
static bool use_onednn(const cg_product *p)
{
    (void)p;
    return false;
}

static bool by_onednn(const cg_product *p, const float *a, const float *b, float *c)
{
    (void)p, (void)a, (void)b, (void)c;
    return false;
}
#endif

static void one(const cg_product *p, int64_t i, bool onednn)
{
    const int ta = p->ta ? TRANS : NO_TRANS, tb = p->tb ? TRANS : NO_TRANS, *ld = p->ld;
    const int64_t a = p->off[0] + i * p->step[0], b = p->off[1] + i * p->step[1], c = p->off[2] + i * p->step[2];
    double *const *d = (double *const *)p->base;
    float *const *f = (float *const *)p->base;
    if (!p->k)
        scale(p, d[2] + c, f[2] + c);
    else if (p->f64)
        cblas_dgemm(ROW_MAJOR, ta, tb, p->m, p->n, p->k, p->alpha, d[0] + a, ld[0], d[1] + b, ld[1], p->beta, d[2] + c, ld[2]);
    else if (!onednn || !by_onednn(p, f[0] + a, f[1] + b, f[2] + c))
        cblas_sgemm(ROW_MAJOR, ta, tb, p->m, p->n, p->k, (float)p->alpha, f[0] + a, ld[0], f[1] + b, ld[1], (float)p->beta, f[2] + c, ld[2]);
}

/* ---- threads */

/* Part k of n of all products: columns of C, or rows if there are more of them. */
static cg_product part_of(const cg_product *p, int k, int n)
{
    const bool columns = p->n >= p->m;
    const int all = columns ? p->n : p->m, wide = ((all + n - 1) / n + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
    const int from = k * wide < all ? k * wide : all, count = all - from < wide ? all - from : wide, moved = columns ? 1 : 0;
    cg_product q = *p;
    *(columns ? &q.n : &q.m) = count;
    q.off[moved] += (columns ? p->tb : !p->ta) ? (int64_t)from * p->ld[moved] : from;
    q.off[2] += columns ? from : (int64_t)from * p->ld[2];
    return q;
}

enum { SERIAL, PTHREADS, OPENMP, UNTOLD, NOT_ASKED };

/* How the BLAS makes threads: OpenBLAS tells, other BLAS do not have this symbol. Asked once: to look it up takes longer than a small product. */
static int threading(void)
{
    static _Atomic int known = NOT_ASKED;
    int (*parallel)(void) = NULL;
    if (known == NOT_ASKED) {
        *(void **)&parallel = dlsym(RTLD_DEFAULT, "openblas_get_parallel");
        const int told = parallel ? parallel() : UNTOLD;
        known = told >= SERIAL && told <= OPENMP ? told : UNTOLD;
    }
    return known;
}

/* Many products are dealt out whole, but not to pthreads of OpenBLAS's own, which would get in the way. One is cut for oneDNN, whose parts on a thread each are faster than its own threads; OpenBLAS's share what they
 * pack. The number of threads is the calling thread's own. */
void cg__product_run(const cg_product *p)
{
    const int threads = cg__gemm_threads(p->batch, p->m, p->n, p->k);
    const bool onednn = use_onednn(p), whole = p->batch >= threads && p->step[2] != 0 && threading() != PTHREADS, team = threads > 1 && (whole || onednn);
    const int parts = team && !whole ? threads : 1;
    const int64_t tasks = p->batch * parts;
    if (team) {
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t i = 0; i < tasks; i++) {
            const cg_product q = part_of(p, (int)(i % parts), parts);
            if (q.m && q.n)
                one(&q, i / parts, onednn);
        }
        return;
    }
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    for (int64_t i = 0; i < tasks; i++)
        one(p, i, onednn);
    omp_set_num_threads(before);
}

/* ---- what there is */

typedef struct flavour { const char *name, *advice; } flavour;
static const flavour flavours[] = {
    [SERIAL] = { "OpenBLAS (serial)", "products run on one thread: install libopenblas-openmp-dev and build libcg again" },
    [PTHREADS] = { "OpenBLAS (pthreads)", "its threads get in the way of libcg's: install libopenblas-openmp-dev and build libcg again" },
    [OPENMP] = { "OpenBLAS (OpenMP)", "" },
    [UNTOLD] = { "a BLAS that does not tell its flavour", "measured are OpenBLAS's: install libopenblas-openmp-dev and build libcg again" },
};

/* The processor that OpenBLAS has chosen code for. */
static const char *blas_core(void)
{
    char *(*core)(void) = NULL;
    *(void **)&core = dlsym(RTLD_DEFAULT, "openblas_get_corename");
    return core ? core() : "";
}

/* "" when it is not built in. */
static const char *onednn_version(char text[32])
{
    *text = 0;
#ifdef CG_HAVE_ONEDNN
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, 32, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
#endif
    return text;
}

void cg__blas_describe(cg_strb *out, bool json)
{
    const flavour *blas = &flavours[threading()];
    const char *core = blas_core();
    char room[32];
    const char *version = onednn_version(room);
    if (json) {
        const struct { const char *key, *text; } texts[] = { { "blas", blas->name }, { "blas_core", core }, { "onednn", version }, { "advice", blas->advice } };
        for (int i = 0; i < CG_LEN(texts); i++) {
            cg__strb(out, ", \"%s\": ", texts[i].key);
            cg__strb_json(out, texts[i].text);
        }
    } else {
        cg__strb(out, "BLAS: %s%s%s%s%s\n", blas->name, *core ? " for " : "", core, *version ? "; f32 products: " : "", version);
        if (*blas->advice)
            cg__strb(out, "               %s\n", blas->advice);
        if (!*version)
            cg__strb(out, "               products of f32 are faster with oneDNN: install libdnnl-dev and build libcg again\n");
    }
}
