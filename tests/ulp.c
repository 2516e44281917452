// SPDX-License-Identifier: MIT
/* ulp [--points N] [NAME...]: the worst error of every f32 function of elemwise.def, in units of the last place, over N points (default
 * 10^7) of its whole domain: all exponents alike, plus, dense, where most numbers are met. The reference is the same row in f64, that is
 * libm, or the texts of special_f64.h, which check_elemwise compares with SciPy. Fails where an error passes its bound, and
 * where a NaN or an infinity is not what f64 gives. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/cpu/cpu.h"
#include "tests/elem_bounds.h"
#include "tests/asked.h"

typedef struct worst { double ulps, a, b, got, want; long odd; double odd_a, odd_b, odd_got, odd_want; } worst;
enum { BLOCK = 1000 };

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17;
    return *s * 0x2545F4914F6CDD1DULL >> 8;
}

/* Three of four: any bits; else uniform in -10..10. */
static float any_float(uint64_t *s)
{
    const uint64_t r = next_random(s);
    const uint32_t bits = (uint32_t)r;
    float x;
    memcpy(&x, &bits, 4);
    return (r >> 40 & 3) ? x : (float)((int32_t)bits) * 4.6566129e-9f;
}

static void judge(worst *w, const elem_bound *bound, float a, float b, float got, double want)
{
    const double g = (double)got;
    const bool over = fabs(want) >= 0x1.ffffffp127, same_class = isnan(want) ? isnan(got) : over ? fabs(g) >= 0x1.fffffep127 && !signbit(got) == !signbit(want) : isfinite(got);
    if (!same_class || (want == 0 && g == 0 && !signbit(got) != !signbit(want))) {
        if (!w->odd++)
            w->odd_a = (double)a, w->odd_b = (double)b, w->odd_got = g, w->odd_want = want;
        return;
    }
    if (isnan(want) || over)
        return;
    const double e = ulps_between(bound, fmax(fabs((double)a), fabs((double)b)), g, want);
    if (e > w->ulps)
        *w = (worst){ e, (double)a, (double)b, g, want, w->odd, w->odd_a, w->odd_b, w->odd_got, w->odd_want };
}

static worst sweep(const cg_vec *v, int op, const elem_bound *bound, long points)
{
    static float x[BLOCK], y[BLOCK], z[BLOCK], out[BLOCK];
    static double dx[BLOCK], dy[BLOCK], dz[BLOCK], want[BLOCK];
    worst w = { 0 };
    uint64_t s = 88172645463325252ULL;
    for (long at = 0; at < points; at += BLOCK) {
        for (int i = 0; i < BLOCK; i++) {
            x[i] = any_float(&s), y[i] = any_float(&s), z[i] = any_float(&s);
            dx[i] = (double)x[i], dy[i] = (double)y[i], dz[i] = (double)z[i];
        }
        v->elem[op][CG_F32](out, x, y, z, BLOCK);
        v->elem[op][CG_F64](want, dx, dy, dz, BLOCK);
        for (int i = 0; i < BLOCK; i++)
            judge(&w, bound, x[i], y[i], out[i], want[i]);
    }
    return w;
}

int main(int argc, char **argv)
{
    const cg_vec *v = cg__cpu_vec();
    const bool given = argc > 2 && strcmp(argv[1], "--points") == 0;
    const long points = given ? strtol(argv[2], NULL, 10) : 10000000;
    int failed = 0;
    printf("%-14s %8s %6s\n", "function", "ulp", "bound");
    for (int op = 0; op < CG_EL_COUNT; op++) {
        const cg_elem_row *row = &cg__elems[op];
        const elem_bound bound = bound_of(row->name);
        if (row->cls == CG_CLS_ANY || row->cls == CG_CLS_INT || row->cls == CG_CLS_BIT || row->res != CG_RES_SAME || !asked(row->name, argv + (given ? 3 : 1), argc - (given ? 3 : 1)))
            continue;
        const worst w = sweep(v, op, &bound, points);
        printf("%-14s %8.3f %6g", row->name, w.ulps, bound.ulps);
        if (w.ulps > bound.ulps)
            printf("  at %.9g %.9g: %.9g, not %.9g", w.a, w.b, w.got, w.want);
        if (w.odd)
            printf("  %ld of another class, as %.9g %.9g: %.9g, not %.9g", w.odd, w.odd_a, w.odd_b, w.odd_got, w.odd_want);
        printf("\n");
        failed += w.ulps > bound.ulps || w.odd;
    }
    printf("%d failed\n", failed);
    return failed != 0;
}
