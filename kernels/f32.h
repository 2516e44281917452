// SPDX-License-Identifier: MIT
/* f32: + - * / sqrt, CG_FMA, selects, and bit patterns. Polynomials without a source named here are Taylor's, or interpolate at the
 * Chebyshev nodes of the interval that the comment gives, in 40 digits. A pair hi, lo stands for the unrounded sum hi + lo. */
//@ cg_abs_f32
CG_FN float cg_abs_f32(float x) { return cg_from_bits(cg_bits(x) & 0x7fffffffu); }
//@ cg_copysign_f32
CG_FN float cg_copysign_f32(float x, float s) { return cg_from_bits((cg_bits(x) & 0x7fffffffu) | (cg_bits(s) & 0x80000000u)); }
//@ cg_signbit_f32
CG_FN cg_i32 cg_signbit_f32(float x) { return (cg_i32)(cg_bits(x) >> 31); }
//@ cg_sign_f32
CG_FN float cg_sign_f32(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; }
//@ cg_sqrt_f32
CG_FN float cg_sqrt_f32(float x) { return CG_F(sqrt)(x); }
//@ cg_floor_f32
CG_FN float cg_floor_f32(float x) { return CG_F(floor)(x); }
//@ cg_ceil_f32
CG_FN float cg_ceil_f32(float x) { return CG_F(ceil)(x); }
//@ cg_trunc_f32
CG_FN float cg_trunc_f32(float x) { return CG_F(trunc)(x); }
//@ cg_round_f32
CG_FN float cg_round_f32(float x) { return CG_F(rint)(x); }
//@ cg_fmod_f32
CG_FN float cg_fmod_f32(float a, float b) { return CG_F(fmod)(a, b); }
//@ cg_nextafter_f32
CG_FN float cg_nextafter_f32(float a, float b)
{
    const cg_u32 u = cg_bits(a), away = (cg_u32)((a < b) == (a > 0));
    const float step = cg_from_bits(a == 0 ? (cg_bits(b) & 0x80000000u) | 1u : away ? u + 1u : u - 1u);
    return a != a || b != b ? a + b : a == b ? b : step;
}
//@ cg_high_f32
/* The upper half of the digits: products of two such are exact. */
CG_FN float cg_high_f32(float x) { return cg_from_bits(cg_bits(x) & 0xfffff000u); }
//@ cg_exp2i_f32
/* 2^(n + k), -126 <= n + k <= 127, of m = n + CG_MAGIC */
CG_FN float cg_exp2i_f32(float m, cg_u32 k) { return cg_from_bits((cg_bits(m) - 127u + k) << 23); }
//@ cg_scale2_f32
/* p 2^n, -252 <= n <= 254, of m = n + CG_MAGIC: by 2^floor(n / 2), then by the rest, so that denormals come out right. A NaN p stays one,
 * whatever m is. */
CG_FN float cg_scale2_f32(float p, float m)
{
    const cg_u32 n = cg_bits(m), h = n >> 1;
    return p * cg_from_bits(h << 23) * cg_from_bits((n - h) << 23);
}
//@ cg_exp_parts_f32
/* e^x = (1 + p) 2^n: x = n ln2 + r, p = e^r - 1 = r + r^2 (1/2 + ...) is the result, *m is n + CG_MAGIC. Of NaN p is NaN and m anything. */
CG_FN float cg_exp_parts_f32(float x, float *m)
{
    *m = CG_FMA(x, 1.44269504f, CG_MAGIC);
    const float n = *m - CG_MAGIC, r = CG_FMA(n, -1.42860677e-6f, CG_FMA(n, -0.693145751953125f, x));
    const float q = CG_FMA(CG_FMA(CG_FMA(CG_FMA(0.00139261836f, r, 0.00836317905f), r, 0.0416665546f), r, 0.16666577f), r, 0.5f);
    return CG_FMA(q, r * r, r);
}
//@ cg_exp_range_f32
/* Beyond these e^x is infinite or 0. NaN goes through. */
CG_FN float cg_exp_range_f32(float x)
{
    const float a = 96.0f < x ? 96.0f : x;
    return -110.0f > a ? -110.0f : a;
}
//@ cg_exp_f32
CG_FN float cg_exp_f32(float x)
{
    float m;
    const float p = cg_exp_parts_f32(cg_exp_range_f32(x), &m);
    return cg_scale2_f32(1.0f + p, m);
}
//@ cg_exps_f32
/* e^x 2^k, k small */
CG_FN float cg_exps_f32(float x, float k)
{
    float m;
    const float p = cg_exp_parts_f32(cg_exp_range_f32(x), &m);
    return cg_scale2_f32(1.0f + p, m + k);
}
//@ cg_exp_neg_f32
/* e^-|x|, whose 2^n is 2^(n + 64) 2^-64 */
CG_FN float cg_exp_neg_f32(float x)
{
    const float a = cg_from_bits(cg_bits(x) | 0x80000000u), b = -110.0f > a ? -110.0f : a;
    float m;
    const float p = cg_exp_parts_f32(b, &m);
    return (1.0f + p) * cg_exp2i_f32(m, 64u) * 5.42101086e-20f;
}
//@ cg_exp2_sum_f32
/* 2^(hi + lo + k), hi + lo within -160..210 or clamped to it, |k| <= 64 */
CG_FN float cg_exp2_sum_f32(float hi, float lo, float k)
{
    const float b = 210.0f < hi ? 210.0f : hi, a = -160.0f > b ? -160.0f : b;
    const float m = a + CG_MAGIC, n = m - CG_MAGIC;
    const float r = (a - n) + (a == hi ? lo : 0.0f);
    const float q = CG_FMA(CG_FMA(CG_FMA(1.52527338e-5f, r, 0.000154035304f), r, 0.00133335581f), r, 0.00961812911f);
    const float p = CG_FMA(CG_FMA(CG_FMA(CG_FMA(q, r, 0.0555041087f), r, 0.240226507f), r, 0.69314718f), r, 1.0f);
    return cg_scale2_f32(p, m + k);
}
//@ cg_exp2_f32
CG_FN float cg_exp2_f32(float x) { return cg_exp2_sum_f32(x, 0.0f, 0.0f); }
//@ cg_expm1_f32
/* 2^n p + (2^n - 1), halved so that 2^n stays finite; x itself where it is that small, denormals and -0 too */
CG_FN float cg_expm1_f32(float x)
{
    const float b = 89.0f < x ? 89.0f : x, a = -20.0f > b ? -20.0f : b;
    float m;
    const float p = cg_exp_parts_f32(a, &m), s = cg_exp2i_f32(m, 0xffffffffu), y = 2.0f * CG_FMA(s, p, s - 0.5f);
    return cg_abs_f32(x) < 5.9604645e-8f ? x : y;
}
//@ cg_log_parts_f32
/* x = 2^e (1 + f), 1 + f in sqrt(1/2)..sqrt(2); x positive, denormals too */
CG_FN float cg_log_parts_f32(float x, float *f)
{
    const float big = x < 1.17549435e-38f ? x * 8388608.0f : x;
    const cg_u32 u = cg_bits(big) - 0x3f3504f3u;
    *f = cg_from_bits((u & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    return (float)((cg_i32)u >> 23) - (x < 1.17549435e-38f ? 23.0f : 0.0f);
}
//@ cg_log_mantissa_f32
/* log(1 + f) = 2 atanh(s), s = f / (2 + f), in s^2 on 0..0.0295 */
CG_FN float cg_log_mantissa_f32(float f)
{
    const float s = f / (2.0f + f), z = s * s, h = 0.5f * f * f;
    const float t = z * CG_FMA(CG_FMA(0.295809859f, z, 0.399887577f), z, 0.666666851f);
    return f - CG_FMA(-s, h + t, h);
}
//@ cg_log_special_f32
/* y, or what every logarithm gives for 0, infinity, NaN and negative x */
CG_FN float cg_log_special_f32(float x, float y)
{
    const float r = x < CG_INF ? y : x, edge = x == 0 ? -CG_INF : CG_NAN_F32;
    return x > 0 ? r : edge;
}
//@ cg_log_f32
CG_FN float cg_log_f32(float x)
{
    float f;
    const float e = cg_log_parts_f32(x, &f);
    return cg_log_special_f32(x, CG_FMA(e, 0.693145751953125f, CG_FMA(e, 1.42860677e-6f, cg_log_mantissa_f32(f))));
}
//@ cg_log2_f32
CG_FN float cg_log2_f32(float x)
{
    float n;
    const float e = cg_log_parts_f32(x, &n), m = cg_log_mantissa_f32(n);
    return cg_log_special_f32(x, e + CG_FMA(m, 1.44269502f, m * 1.92596303e-8f));
}
//@ cg_log10_f32
CG_FN float cg_log10_f32(float x)
{
    float n;
    const float e = cg_log_parts_f32(x, &n), m = cg_log_mantissa_f32(n);
    return cg_log_special_f32(x, CG_FMA(e, 0.301025390625f, CG_FMA(m, 0.434294492f, CG_FMA(e, 4.60503898e-6f, m * -1.010305e-8f))));
}
//@ cg_log1p_f32
/* 1 + x rounded is u = 2^e (1 + f), and what the rounding lost is added to f. It is halved and 2^-e doubled, for that is a float up to e = 128.
 * edge: -infinity of u = 0, and with the sign of u among its digits NaN. */
CG_FN float cg_log1p_f32(float x)
{
    const float u = 1.0f + x, lost = x - (u - 1.0f);
    const cg_u32 b = cg_bits(u) - 0x3f3504f3u;
    const float e = (float)((cg_i32)b >> 23), scale = cg_from_bits(0x40000000u - (b & 0xff800000u));
    const float f = CG_FMA(0.5f * lost, scale, cg_from_bits((b & 0x007fffffu) + 0x3f3504f3u) - 1.0f);
    const float y = CG_FMA(e, 0.693145751953125f, CG_FMA(e, 1.42860677e-6f, cg_log_mantissa_f32(f)));
    const float small = u == 1.0f ? x : y, edge = cg_from_bits(0xff800000u | (cg_bits(u) >> 9 & 0x00400000u)), r = u > 0 ? small : edge;
    return x < CG_INF ? r : x;
}
//@ cg_tanh_f32
/* e / (e + 2), e = e^2|x| - 1 = 2^n p + (2^n - 1) */
CG_FN float cg_tanh_f32(float x)
{
    const float a = cg_abs_f32(x), b = 10.0f < a ? 10.0f : a;
    float m;
    const float p = cg_exp_parts_f32(b + b, &m), s = cg_exp2i_f32(m, 0u), e = CG_FMA(s, p, s - 1.0f);
    return cg_from_bits(cg_bits(e / (e + 2.0f)) | (cg_bits(x) & 0x80000000u));
}
//@ cg_sinh_f32
/* Taylor below 1; above, e^a/2 - e^-a/2 with the first half as one number, so that it overflows where sinh does */
CG_FN float cg_sinh_f32(float x)
{
    const float a = cg_abs_f32(x), z = a * a, e = cg_exps_f32(a, -1.0f);
    const float small = a + a * z * (0.16666667f + z * (0.0083333338f + z * (0.00019841270f + z * (2.7557319e-6f + z * 2.505211e-8f))));
    return x != x ? x : cg_copysign_f32(a < 1.0f ? small : e - 0.25f / e, x);
}
//@ cg_cosh_f32
CG_FN float cg_cosh_f32(float x)
{
    const float e = cg_exps_f32(cg_abs_f32(x), -1.0f);
    return e + 0.25f / e;
}
//@ cg_arcsinh_f32
/* log(a + sqrt(a^2 + 1)) as log1p of what stays small; ln2 + log a where a^2 + 1 is a^2 */
CG_FN float cg_arcsinh_f32(float x)
{
    const float a = cg_abs_f32(x), b = a > 1e9f ? 1.0f : a, z = b * b;
    const float y = cg_log1p_f32(a > 1e9f ? a : b + z / (1.0f + cg_sqrt_f32(1.0f + z))) + (a > 1e9f ? 0.69314718f : 0.0f);
    return x != x ? x : cg_copysign_f32(y, x);
}
//@ cg_arccosh_f32
CG_FN float cg_arccosh_f32(float x)
{
    const float t = x - 1.0f, b = x > 1e9f ? 1.0f : t;
    const float y = cg_log1p_f32(x > 1e9f ? x : b + cg_sqrt_f32(2.0f * b + b * b)) + (x > 1e9f ? 0.69314718f : 0.0f);
    return x < 1.0f ? CG_NAN_F32 : y;
}
//@ cg_arctanh_f32
CG_FN float cg_arctanh_f32(float x)
{
    const float a = cg_abs_f32(x), y = 0.5f * cg_log1p_f32(2.0f * a / (1.0f - a));
    return a > 1.0f ? CG_NAN_F32 : x != x ? x : cg_copysign_f32(y, x);
}
//@ cg_cbrt_f32
/* A third of the exponent by integer division, then two of Halley's steps; denormals are scaled by 2^24. */
CG_FN float cg_cbrt_f32(float x)
{
    const float a = cg_abs_f32(x);
    const int tiny = a < 1.17549435e-38f;
    const float b = tiny ? a * 16777216.0f : a;
    float t = cg_from_bits(cg_bits(b) / 3u + 0x2a514067u);
    float r = b / (t * t);
    t = t + t * ((r - t) / (t + t + r));
    r = b / (t * t);
    t = t + t * ((r - t) / (t + t + r));
    const float y = cg_copysign_f32(tiny ? t * 0.00390625f : t, x);
    return x == 0 || x - x != 0 ? x : y;
}
//@ cg_hypot_f32
/* Operands beyond 2^60 or below 2^-60 are scaled by 2^-100, 2^100 */
CG_FN float cg_hypot_f32(float a, float b)
{
    const float x = cg_abs_f32(a), y = cg_abs_f32(b), m = x > y ? x : y;
    const float s = m > 1.15292150e18f ? 7.88860905e-31f : m < 8.67361738e-19f ? 1.26765060e30f : 1.0f;
    const float p = x * s, q = y * s, r = cg_sqrt_f32(p * p + q * q) / s;
    return x == CG_INF || y == CG_INF ? CG_INF : r;
}

/* ---- angles */
//@ cg_two_over_pi_f32
/* The binary digits of 2/pi, after 160 zeros, so that no exponent falls outside */
CG_TABLE cg_u32 cg_two_over_pi_f32[13] = { 0, 0, 0, 0, 0, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu, 0xdebbc561u };
//@ cg_mulhi_f32
CG_FN cg_u32 cg_mulhi_f32(cg_u32 a, cg_u32 b) { return (cg_u32)(((cg_u64)a * b) >> 32); }
//@ cg_digits_f32
/* 32 digits of 2/pi from digit 32 i + s on */
CG_FN cg_u32 cg_digits_f32(cg_u32 i, cg_u32 s) { return (cg_two_over_pi_f32[i] << s) | ((cg_two_over_pi_f32[i + 1] >> 1) >> (31u - s)); }
//@ cg_reduce_f32
/* |x| = k pi/2 + r, |r| <= pi/4, exactly enough for every float (Payne and Hanek): |x| is m 2^(e-150), and of the product with 2/pi
 * only the digits from the quarter turns on matter: hi:lo, of m times 96 digits. r is the result and *low; *k may be off by a multiple of 4. */
CG_FN float cg_reduce_f32(float x, float *low, cg_u32 *k)
{
    const cg_u32 u = cg_bits(x) & 0x7fffffffu, e = u >> 23, m = (u & 0x007fffffu) | 0x00800000u;
    const cg_u32 at = e + 8u, i = at >> 5, s = at & 31u;
    const cg_u32 w0 = cg_digits_f32(i, s), w1 = cg_digits_f32(i + 1u, s), w2 = cg_digits_f32(i + 2u, s);
    const cg_u32 mid = m * w1, lo = mid + cg_mulhi_f32(m, w2);
    const cg_u32 hi = m * w0 + cg_mulhi_f32(m, w1) + (cg_u32)(lo < mid);
    const cg_u32 top = (hi << 2) | (lo >> 30), tail = lo << 2;                   /* the fraction, signed: -1/2..1/2 quarter turn */
    const cg_u32 flip = (top >> 31) != 0u ? 0xffffffffu : 0u, a = top ^ flip, b = tail ^ flip;
    const float p = (float)(cg_i32)(a & 0xffffff80u), q = (float)(cg_i32)((a & 0x7fu) << 17 | b >> 15) * 7.62939453e-6f;
    const float sum = p + q, rest = (q - (sum - p)) + (float)(cg_i32)(b & 0x7fffu) * 2.32830644e-10f;
    const float sh = cg_high_f32(sum), sl = sum - sh, r = sum * 3.6572953e-10f;          /* pi/2 2^-32 in three parts: */
    const float exact = ((sh * 3.6561687011271715e-10f - r) + (sh * 1.1265988142383776e-13f + sl * 3.6561687011271715e-10f)) + sl * 1.1265988142383776e-13f;
    const float l = exact + (rest * 3.6572953e-10f - sum * 1.01773507e-17f);
    const cg_u32 sign = flip & 0x80000000u, big = u < 0x3f000000u ? 0u : 0xffffffffu;      /* masks, lest the digits be loaded under a condition */
    *k = (hi + 0x20000000u) >> 30 & big;
    *low = cg_from_bits((cg_bits(l) ^ sign) & big);
    return cg_from_bits(((cg_bits(r) ^ sign) & big) | (u & ~big));
}
//@ cg_sin_poly_f32
/* sin(r + low), low far below r */
CG_FN float cg_sin_poly_f32(float r, float low)
{
    const float z = r * r;
    return r + (low + r * z * (-0.16666667f + z * (0.0083333338f + z * (-0.00019841270f + z * 2.7557319e-6f))));
}
//@ cg_cos_poly_f32
CG_FN float cg_cos_poly_f32(float r, float low)
{
    const float z = r * r;
    return 1.0f + (z * (-0.5f + z * (0.041666668f + z * (-0.0013888889f + z * (2.4801588e-5f - z * 2.7557319e-7f)))) - r * low);
}
//@ cg_sin_f32
CG_FN float cg_sin_f32(float x)
{
    cg_u32 k;
    float l;
    const float r = cg_reduce_f32(x, &l, &k), s = cg_sin_poly_f32(r, l), c = cg_cos_poly_f32(r, l), y = (k & 1u) != 0u ? c : s;
    return x - x != 0 ? CG_NAN_F32 : cg_from_bits(cg_bits(y) ^ ((k & 2u) << 30) ^ (cg_bits(x) & 0x80000000u));
}
//@ cg_cos_f32
CG_FN float cg_cos_f32(float x)
{
    cg_u32 k;
    float l;
    const float r = cg_reduce_f32(x, &l, &k), s = cg_sin_poly_f32(r, l), c = cg_cos_poly_f32(r, l), y = (k & 1u) != 0u ? s : c;
    return x - x != 0 ? CG_NAN_F32 : cg_from_bits(cg_bits(y) ^ (((k + 1u) & 2u) << 30));
}
//@ cg_tan_f32
CG_FN float cg_tan_f32(float x)
{
    cg_u32 k;
    float l;
    const float r = cg_reduce_f32(x, &l, &k), s = cg_sin_poly_f32(r, l), c = cg_cos_poly_f32(r, l);
    const float y = (k & 1u) != 0u ? -c / s : s / c;
    return x - x != 0 ? CG_NAN_F32 : cg_from_bits(cg_bits(y) ^ (cg_bits(x) & 0x80000000u));
}
//@ cg_arcsin_poly_f32
/* (arcsin(x) - x) / x^3 in z = x^2 on 0..1/4 */
CG_FN float cg_arcsin_poly_f32(float z)
{
    return 0.166666663f + z * (0.0750009454f + z * (0.0445994015f + z * (0.0311006628f + z * (0.0171492383f + z * 0.0336908473f))));
}
//@ cg_arcsin_f32
/* Above 1/2: pi/2 - 2 arcsin(sqrt((1 - a) / 2)) */
CG_FN float cg_arcsin_f32(float x)
{
    const float a = cg_abs_f32(x), half_ = (1.0f - a) * 0.5f, z = a > 0.5f ? half_ : a * a, s = a > 0.5f ? cg_sqrt_f32(half_) : a;
    const float y = s + s * z * cg_arcsin_poly_f32(z);
    return a > 1.0f ? CG_NAN_F32 : x != x ? x : cg_copysign_f32(a > 0.5f ? 1.57079637f - (2.0f * y + 4.37113883e-8f) : y, x);
}
//@ cg_arccos_f32
CG_FN float cg_arccos_f32(float x)
{
    const float a = cg_abs_f32(x), half_ = (1.0f - a) * 0.5f, z = a > 0.5f ? half_ : a * a, s = a > 0.5f ? cg_sqrt_f32(half_) : x;
    const float y = s + s * z * cg_arcsin_poly_f32(z);
    const float far = x < 0 ? 3.14159274f - (2.0f * y + 8.74227766e-8f) : 2.0f * y;
    return a > 1.0f ? CG_NAN_F32 : x != x ? x : a > 0.5f ? far : 1.57079637f - (y + 4.37113883e-8f);
}
//@ cg_arctan_unit_f32
/* arctan of t in 0..1; above tan(pi/8) as pi/4 + arctan((t - 1) / (t + 1)) */
CG_FN float cg_arctan_unit_f32(float t)
{
    const int far = t > 0.414213562f;
    const float u = far ? (t - 1.0f) / (t + 1.0f) : t, z = u * u;
    const float y = u + u * z * (-0.333333318f + z * (0.199995405f + z * (-0.142639556f + z * (0.107437315f - z * 0.064519282f))));
    return far ? 0.785398185f + (y - 2.18556941e-8f) : y;
}
//@ cg_arctan_f32
CG_FN float cg_arctan_f32(float x)
{
    const float a = cg_abs_f32(x), y = cg_arctan_unit_f32(a > 1.0f ? 1.0f / a : a);
    return x != x ? x : cg_copysign_f32(a > 1.0f ? 1.57079637f - (y + 4.37113883e-8f) : y, x);
}
//@ cg_arctan2_f32
/* The angle of the point (x, y): arctan of the smaller over the greater, then mirrored into its octant */
CG_FN float cg_arctan2_f32(float y, float x)
{
    const float ax = cg_abs_f32(x), ay = cg_abs_f32(y), lo = ay > ax ? ax : ay, hi = ay > ax ? ay : ax;
    const float t = cg_arctan_unit_f32(hi == 0 ? 0.0f : lo == hi ? 1.0f : lo / hi);
    const float u = ay > ax ? 1.57079637f - (t + 4.37113883e-8f) : t;
    const float v = cg_signbit_f32(x) != 0 ? 3.14159274f - (u + 8.74227766e-8f) : u;
    return x != x || y != y ? x + y : cg_copysign_f32(v, y);
}

/* ---- powers */
//@ cg_log2_sum_f32
/* log2 of a positive x as hi + lo, hi of 12 digits, to about 2^-34: s = f / (2 + f) = sh + sl, f = m - 1, and
 * log(m) = 2/3 s (3 + s^2 + s^4 (3/5 + 3/7 s^2 + ...)), whose factors are split so that the leading products are exact. */
CG_FN float cg_log2_sum_f32(float x, float *low)
{
    float f;
    const float e = cg_log_parts_f32(x, &f), d = 2.0f + f, v = 1.0f / d;
    const float s = f * v, sh = cg_high_f32(s), dh = cg_high_f32(d), dl = f - (dh - 2.0f);
    const float sl = v * ((f - sh * dh) - sh * dl);
    const float z = s * s, z2 = sh * sh;
    const float r = z * z * (0.6f + z * (0.428571431f + z * (0.33333758f + z * (0.272326115f + z * 0.24613336f)))) + sl * (sh + s);
    const float th = cg_high_f32(3.0f + z2 + r), tl = r - ((th - 3.0f) - z2);
    const float p = sh * th, q = sl * th + tl * s, ph = cg_high_f32(p + q), pl = q - (ph - p);
    const float yh = 0.961669921875f * ph, yl = 1.26772051e-4f * ph + pl * 0.961796701f;          /* 2/3 log2(e) in two parts */
    const float hi = cg_high_f32(e + (yh + yl));
    *low = yl - ((hi - e) - yh);
    return hi;
}
//@ cg_power_f32
CG_FN float cg_power_f32(float a, float b)
{
    const float m = cg_abs_f32(a), c = b > 1e18f ? 1e18f : b < -1e18f ? -1e18f : b, ch = cg_high_f32(c);
    float low;
    const float log = cg_log2_sum_f32(m, &low), p = ch * log, q = (c - ch) * log + c * low, sum = p + q;
    const float finite = cg_exp2_sum_f32(sum, q - (sum - p), 0.0f);
    const float edge = (m == 0) == (b > 0) ? 0.0f : CG_INF, r = m == 0 || m == CG_INF ? edge : finite;
    const float n = cg_abs_f32(b), t = cg_from_bits(cg_bits(n) & (0u - (cg_u32)(n < 16777216.0f)));     /* 0 for the greater, which are even */
    const cg_i32 i = (cg_i32)t;
    const float part = t - (float)i;                                     /* 0: b is whole */
    const cg_u32 sign = ((cg_u32)i << 31) & ((cg_u32)(part != 0) - 1u);
    const float flipped = cg_from_bits(cg_bits(r) ^ (sign & cg_bits(a))), fit = part != 0 ? CG_NAN_F32 : flipped;
    const float y = a < 0 && m != CG_INF ? fit : flipped;
    return b == 0 || a == 1.0f ? 1.0f : a != a || b != b ? a + b : y;
}

/* ---- the error function */
//@ cg_erfcx_pos_f32
/* e^(a^2) erfc(a) for a >= 0: (1 + 2a) times it is smooth in t = (a - 2) / (a + 2), -1..1 */
CG_FN float cg_erfcx_pos_f32(float a)
{
    const float t = a > 1e9f ? 1.0f : (a - 2.0f) / (a + 2.0f);
    const float p = 1.27697839f + t * (-0.0927638158f + t * (-0.16603109f + t * (0.164050499f + t * (-0.0542119984f + t * (-0.00802474918f
        + t * (0.00868926141f + t * (0.00123052749f + t * (-0.00139581494f + t * (-0.000370953446f + t * (0.00016084433f + t * 6.808452e-05f))))))))));
    return 0.5f * p / (0.5f + a);
}
//@ cg_exp_square_f32
/* e^(c a^2), c = +-1 or +-1/2, the square in two parts; 0 <= a <= 1e4 */
CG_FN float cg_exp_square_f32(float a, float c)
{
    const float h = cg_high_f32(a), l = a - h, s = a * a, rest = ((h * h - s) + 2.0f * h * l) + l * l;
    const float e = cg_exp_f32(c * s);
    return e == CG_INF ? e : e + e * (c * rest);
}
//@ cg_erf_near_f32
/* erf(a) to 1: erf(a) / a - 1 in a^2 */
CG_FN float cg_erf_near_f32(float a)
{
    const float z = a * a;
    return a + a * (0.128379166f + z * (-0.376126267f + z * (0.112835947f + z * (-0.026854212f + z * (0.00518908742f + z * (-0.000801686429f + z * 7.87587506e-5f))))));
}
//@ cg_erfc_far_f32
/* erfc(a) for a >= 0; no better than 5 units below 1/2 */
CG_FN float cg_erfc_far_f32(float a)
{
    const float b = a > 20.0f ? 20.0f : a != a ? 0.0f : a;
    return cg_exp_square_f32(b, -1.0f) * cg_erfcx_pos_f32(b);
}
//@ cg_erfc_f32
CG_FN float cg_erfc_f32(float x)
{
    const float a = cg_abs_f32(x), y = a < 0.5f ? 1.0f - cg_erf_near_f32(a) : cg_erfc_far_f32(a);
    return x != x ? x : x < 0 ? 2.0f - y : y;
}
//@ cg_erf_f32
CG_FN float cg_erf_f32(float x)
{
    const float a = cg_abs_f32(x), y = a < 1.0f ? cg_erf_near_f32(a) : 1.0f - cg_erfc_far_f32(a);
    return x != x ? x : cg_copysign_f32(y, x);
}
//@ cg_normal_f32
/* The normal distribution function, exact where it is small */
CG_FN float cg_normal_f32(float x)
{
    const float a = cg_abs_f32(x), b = a > 20.0f ? 20.0f : a != a ? 0.0f : a;
    const float far = cg_exp_square_f32(b, -0.5f) * (0.5f * cg_erfcx_pos_f32(b * 0.70710678f));
    const float y = a < 0.7f ? 0.5f - 0.5f * cg_erf_near_f32(a * 0.70710678f) : far;
    return x != x ? x : x < 0 ? y : 1.0f - y;
}
//@ cg_erfcx_f32
CG_FN float cg_erfcx_f32(float x)
{
    const float a = cg_abs_f32(x), b = a != a ? 0.0f : a, y = cg_erfcx_pos_f32(b);
    const float big = 2.0f * cg_exp_square_f32(b > 20.0f ? 20.0f : b, 1.0f) - y;
    return x != x ? x : x < 0 ? big : y;
}
