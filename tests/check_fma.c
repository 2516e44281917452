// SPDX-License-Identifier: MIT
/* The multiply-add of processors without one (kernels/math.h) against the C library's, which rounds once: any bits, and sums that lie at or
 * beside a tie of two floats, where rounding twice goes wrong. */
#include <math.h>
#include <stdint.h>
#undef __FMA__
#undef __FP_FAST_FMAF
#include "tests/suite.h"
#pragma GCC diagnostic ignored "-Wtype-limits"       /* one text for signed and unsigned */
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include "kernels/math.h"

enum { POINTS = 2000000 };

static uint32_t next_word(void)
{
    static uint64_t s = 88172645463325252ULL;
    s ^= s << 13, s ^= s >> 7, s ^= s << 17;
    return (uint32_t)(s * 0x2545F4914F6CDD1DULL >> 32);
}

static void is_fmaf(float a, float b, float c)
{
    const float want = fmaf(a, b, c), got = cg_fma_by_f64(a, b, c);
    ck_assert_msg(cg_bits(got) == cg_bits(want) || (isnan(got) && isnan(want)), "%a x %a + %a is %a, not %a", (double)a, (double)b, (double)c, (double)got, (double)want);
}

START_TEST(any_bits)
{
    for (int i = 0; i < POINTS; i++)
        is_fmaf(cg_from_bits(next_word()), cg_from_bits(next_word()), cg_from_bits(next_word()));
}
END_TEST

/* (1 + 2^-23) (1 - 2^-23) is 1 - 2^-46: times half a unit of c's last place it takes c + that just off a tie, by too little for an f64 to see.
 * Rounding the sum to f64 first gives the tie, and for odd c the wrong neighbour. */
START_TEST(ties)
{
    int differ = 0;
    for (int i = 0; i < POINTS; i++) {
        const float c = ldexpf((float)((next_word() >> 8) | 1u << 23), (int)(next_word() % 200) - 100);
        const float half = ldexpf(1.0f, ilogbf(c) - 24) * ((next_word() & 1) ? 1.0f : -1.0f), a = half * (1.0f + ldexpf(1.0f, -23)), b = 1.0f - ldexpf(1.0f, -23);
        is_fmaf(a, b, c);
        is_fmaf(a, -b, -c);
        is_fmaf(half, 1.0f, c);
        differ += (float)((double)a * (double)b + (double)c) != fmaf(a, b, c);
    }
    ck_assert_int_gt(differ, POINTS / 4);
}
END_TEST

int main(void)
{
    return RUN_TESTS("fma", any_bits, ties);
}
