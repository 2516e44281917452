// SPDX-License-Identifier: MIT
/* How many threads: one answer for all executors, because products change bits with them. */
#include <sched.h>
#include <stdlib.h>
#include "core/plan/plan.h"

/* Below this many multiply-adds the products of a step are faster on one thread (measured on two cores). */
static const double SMALL_GEMM = 2e6;

int cg__threads(void)
{
    const char *text = secure_getenv("CG_THREADS");
    const int asked = text ? atoi(text) : 0;
    cpu_set_t set;
    if (asked > 0)
        return asked < 1024 ? asked : 1024;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int cg__gemm_threads(int64_t batch, int64_t m, int64_t n, int64_t k)
{
    return (double)batch * (double)m * (double)n * (double)k < SMALL_GEMM ? 1 : cg__threads();
}
