// SPDX-License-Identifier: MIT
/* What does a size never seen before cost? Calls one training function at 100 new batch sizes and minibatch numbers.
 *
 * usage: newsize      on the device that CG_DEVICE selects. Exit 1 if a kernel was built or the planning is slow.
 * A new size must cost one run of the number program and a packing of the arena: no lowering, no kernel.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "core/cg.h"

enum { CALLS = 100, ROWS = 20000, FEATURES = 784, CLASSES = 10, MOST_US = 100 };

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int failed(void)
{
    fprintf(stderr, "newsize: %s\n", cg_last_error()->text);
    return 1;
}

/* (i, size) -> loss: logistic regression with momentum on rows [i*size, (i+1)*size). */
static cg_function *build(cg_graph *g, cg_array *const *vars)
{
    cg_node *X = cg_shared(g, "X", vars[0]), *Y = cg_shared(g, "Y", vars[1]), *W = cg_shared(g, "W", vars[2]), *b = cg_shared(g, "b", vars[3]);
    cg_node *vW = cg_shared(g, "vW", vars[4]), *vb = cg_shared(g, "vb", vars[5]), *dW = NULL, *db = NULL;
    cg_node *i = cg_input(g, "i", CG_I64, CG_SHAPE()), *size = cg_input(g, "size", CG_I64, CG_SHAPE());
    cg_node *from = cg_mul(i, size), *end = cg_add(from, size);
    cg_node *x = cg_slice(X, 0, from, end, 1), *y = cg_slice(Y, 0, from, end, 1);
    cg_node *loss = cg_mean(cg_cross_entropy(cg_add(cg_matmul(x, W), b), y), CG_REDUCE());
    cg_grad(loss, CG_NODES(W, b), CG_OUT(&dW, &db));
    cg_node *vW1 = cg_add(cg_scale(vW, 0.9), dW), *vb1 = cg_add(cg_scale(vb, 0.9), db);
    return cg_compile(g, CG_SPEC(.name = "train", CG_INPUTS(i, size), CG_OUTPUTS(loss),
                                 CG_UPDATES({ W, cg_sub(W, cg_scale(vW1, 0.01)) }, { b, cg_sub(b, cg_scale(vb1, 0.01)) }, { vW, vW1 }, { vb, vb1 })));
}

static int call(cg_function *f, int64_t i, int64_t size)
{
    cg_array *in[2] = { cg_array_new(CG_I64, NULL, 0, &i), cg_array_new(CG_I64, NULL, 0, &size) }, *out = NULL;
    const int rc = cg_call(f, in, 2, &out);
    const void *loss = rc == CG_OK ? cg_array_data(out) : NULL;
    cg_array_free(in[0]);
    cg_array_free(in[1]);
    cg_array_free(out);
    return loss ? CG_OK : -1;
}

static int measure(cg_function *f)
{
    double plan[CALLS], wall[CALLS];
    cg_stats before, after;
    if (call(f, 0, 64) < 0)
        return failed();
    cg_function_stats(f, &before);
    for (int k = 0; k < CALLS; k++) {
        const int64_t size = 65 + 3 * k, i = 1 + (7 * k) % (ROWS / size - 1);
        const double t = now_us();
        if (call(f, i, size) < 0)
            return failed();
        wall[k] = now_us() - t;
        cg_function_stats(f, &after);
        plan[k] = after.plan_us;
    }
    qsort(plan, CALLS, sizeof *plan, by_size);
    qsort(wall, CALLS, sizeof *wall, by_size);
    const long long built = after.kernels_built - before.kernels_built;
    printf("%d calls at new sizes: %lld kernels built, planning %.1f us (median; 90%% %.1f), call %.0f us (median; 90%% %.0f)\n", CALLS, built,
           plan[CALLS / 2], plan[CALLS * 9 / 10], wall[CALLS / 2], wall[CALLS * 9 / 10]);
    return built > 0 || plan[CALLS / 2] > MOST_US;
}

int main(void)
{
    const int64_t shapes[][2] = { { ROWS, FEATURES }, { ROWS, 0 }, { FEATURES, CLASSES }, { CLASSES, 0 }, { FEATURES, CLASSES }, { CLASSES, 0 } };
    cg_array *vars[6];
    cg_graph *g = cg_graph_new();
    for (int k = 0; k < 6; k++)
        vars[k] = cg_array_new(k == 1 ? CG_I64 : CG_F32, shapes[k], k % 2 ? 1 : 2, NULL);
    cg_function *f = g ? build(g, vars) : NULL;
    const int rc = f ? measure(f) : failed();
    cg_function_free(f);
    cg_graph_free(g);
    for (int k = 0; k < 6; k++)
        cg_array_free(vars[k]);
    cg_shutdown();
    return rc;
}
