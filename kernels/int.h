// SPDX-License-Identifier: MIT
/* Integer functions, one text for i32 u32 i64 u64. Everything is defined: overflow wraps (through U), division by zero is 0,
 * a shift by the width or more (or by a negative count) leaves 0, or the sign. Narrow integers wrap after. */
//@ abs
CG_FN T M(abs)(T x) { return x < 0 ? (T)(0 - (U)x) : x; }
//@ sign
CG_FN T M(sign)(T x) { return (x > 0) - (x < 0); }
//@ maximum
CG_FN T M(maximum)(T a, T b) { return a > b ? a : b; }
//@ minimum
CG_FN T M(minimum)(T a, T b) { return a < b ? a : b; }
//@ fmax
CG_FN T M(fmax)(T a, T b) { return a > b ? a : b; }
//@ fmin
CG_FN T M(fmin)(T a, T b) { return a < b ? a : b; }
//@ clip
CG_FN T M(clip)(T a, T b, T c) { return a < b ? b : a > c ? c : a; }
//@ floor
CG_FN T M(floor)(T x) { return x; }
//@ ceil
CG_FN T M(ceil)(T x) { return x; }
//@ trunc
CG_FN T M(trunc)(T x) { return x; }
//@ round
CG_FN T M(round)(T x) { return x; }
//@ minus_one
/* x is -1, which only a signed T has */
CG_FN int M(minus_one)(T x) { return (T)-1 < 0 && x == (T)-1; }
//@ floor_divide
CG_FN T M(floor_divide)(T a, T b)
{
    const T d = b == 0 || M(minus_one)(b) ? 1 : b, q = a / d - (a % d != 0 && (a < 0) != (d < 0));
    return b == 0 ? 0 : M(minus_one)(b) ? (T)(0 - (U)a) : q;
}
//@ mod
CG_FN T M(mod)(T a, T b)
{
    const T d = b == 0 || M(minus_one)(b) ? 1 : b, m = a % d;
    return m != 0 && (m < 0) != (d < 0) ? m + d : m;
}
//@ fmod
CG_FN T M(fmod)(T a, T b) { return a % (b == 0 || M(minus_one)(b) ? 1 : b); }
//@ power
/* By squaring. A negative exponent: the reciprocal, truncated (and 0 for 0, as in a division). */
CG_FN T M(power)(T a, T b)
{
    U r = 1, s = (U)a, n = (U)b;
    for (; b > 0 && n; n >>= 1, s *= s)
        r *= n & 1 ? s : 1;
    return b >= 0 ? (T)r : a == 1 ? 1 : !M(minus_one)(a) ? 0 : b & 1 ? a : 1;
}
//@ left_shift
CG_FN T M(left_shift)(T a, T b)
{
    const U width = 8 * sizeof(T);
    return (U)b < width ? (T)((U)a << ((U)b & (width - 1))) : 0;
}
//@ right_shift
CG_FN T M(right_shift)(T a, T b)
{
    const U width = 8 * sizeof(T);
    return a >> ((U)b < width ? (U)b : width - 1) >> ((U)b >= width && a > 0);
}
//@ most
CG_FN T M(most)(void) { return (T)-1 < 0 ? (T)((U)-1 >> 1) : (T)-1; }
//@ least
CG_FN T M(least)(void) { return (T)-1 - M(most)(); }
//@ of_f32
/* A float as T: truncated, beyond the range of T its nearest end, NaN 0. */
CG_FN T M(of_f32)(float x)
{
    const float least = (float)M(least)(), end = 2.0f * (float)(M(most)() / 2 + 1), in = x > least && x < end ? x : 0.0f;
    return x >= end ? M(most)() : x <= least ? M(least)() : (T)in;
}
//@ of_f64
CG_FN T M(of_f64)(double x)
{
    const double least = (double)M(least)(), end = 2.0 * (double)(M(most)() / 2 + 1), in = x > least && x < end ? x : 0.0;
    return x >= end ? M(most)() : x <= least ? M(least)() : (T)in;
}
//@ odd
/* To f32 as cg_odd_f64 does it. The greatest T may count as exact: it rounds up to any fewer bits. */
CG_FN float M(odd)(T x)
{
    const float f = (float)x;
    const T back = M(of_f32)(f);
    const cg_u32 u = cg_bits(f), down = (x < 0 ? back < x : back > x) ? u - 1u : u;
    return back == x ? f : cg_from_bits(down | 1u);
}
//@ philox_word
/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011): word w of the block that has the counter (low, high) under the key. Words of 32 bits
 * in 64, where their products are. */
CG_FN cg_u64 M(philox_word)(cg_u64 low, cg_u64 high, cg_u64 key, cg_u64 w)
{
    const cg_u64 word = 0xFFFFFFFFu;
    cg_u64 x0 = low & word, x1 = low >> 32, x2 = high & word, x3 = high >> 32, k0 = key & word, k1 = key >> 32;
    for (int round = 0; round < 10; round++) {
        const cg_u64 p = x0 * 0xD2511F53u, q = x2 * 0xCD9E8D57u;
        x0 = (q >> 32) ^ x1 ^ k0;
        x2 = (p >> 32) ^ x3 ^ k1;
        x1 = q & word;
        x3 = p & word;
        k0 = (k0 + 0x9E3779B9u) & word;
        k1 = (k1 + 0xBB67AE85u) & word;
    }
    return w & 2 ? (w & 1 ? x3 : x2) : (w & 1 ? x1 : x0);
}
//@ philox
CG_FN T M(philox)(T a, T b, T c) { return (T)M(philox_word)((cg_u64)a >> 2, (cg_u64)b, (cg_u64)c, (cg_u64)a & 3); }
