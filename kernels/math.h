// SPDX-License-Identifier: MIT
/* The scalar functions of elemwise.def, one text for C11 and OpenCL C 1.2: cg_<name>_<compute dtype>.
 *
 * A marker line `//@ name: what it calls` opens each piece, so that a kernel is given only what it uses. f32 functions are
 * branch-free (selects only), so that gcc and LLVM vectorise them and all devices give the same bits; errors against libm
 * over random arguments: exp log 1.2 ulp, expm1 log1p tanh sigmoid softplus 2.5 ulp, sin cos 1e-7 absolute for |x| < 1e3 (beyond 1e5
 * the result is only known to lie in -1..1), power about 1 + |b log a| ulp. f64 transcendental functions are the platform's.
 */
//@ prelude
#ifdef __OPENCL_VERSION__
#define CG_FN static
#define cg_bits(x)      as_uint(x)
#define cg_from_bits(u) as_float(u)
#define CG_INF INFINITY
#define CG_F(name) name
typedef int cg_i32; typedef uint cg_u32; typedef long cg_i64; typedef ulong cg_u64;
#else
#include <math.h>
#include <stdint.h>
#include <string.h>
#define CG_FN static inline
typedef int32_t cg_i32; typedef uint32_t cg_u32; typedef int64_t cg_i64; typedef uint64_t cg_u64;
static inline cg_u32 cg_bits(float x) { cg_u32 u; memcpy(&u, &x, 4); return u; }
static inline float cg_from_bits(cg_u32 u) { float x; memcpy(&x, &u, 4); return x; }
#define CG_INF INFINITY
#define CG_F(name) name##f
#endif
#define CG_MAGIC 12582912.0f            /* 1.5 * 2^23: adding it rounds to an integer, which its low bits then hold */
//@ cg_abs_f32:
CG_FN float cg_abs_f32(float x) { return cg_from_bits(cg_bits(x) & 0x7fffffffu); }
//@ cg_sign_f32:
CG_FN float cg_sign_f32(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; }
//@ cg_sqrt_f32:
CG_FN float cg_sqrt_f32(float x) { return CG_F(sqrt)(x); }
//@ cg_floor_f32:
CG_FN float cg_floor_f32(float x) { return CG_F(floor)(x); }
//@ cg_ceil_f32:
CG_FN float cg_ceil_f32(float x) { return CG_F(ceil)(x); }
//@ cg_exp2i_f32:
/* 2^n for integers -126 <= n <= 127 held in a float */
CG_FN float cg_exp2i_f32(float n) { return cg_from_bits((cg_u32)((cg_i32)n + 127) << 23); }
//@ cg_exp_f32: cg_exp2i_f32
/* x = n ln2 + r; Taylor to r^7, scaled by 2^n in two steps so that denormals come out right. */
CG_FN float cg_exp_f32(float x)
{
    const float a = x > 89.0f ? 89.0f : x < -104.0f ? -104.0f : x != x ? 0.0f : x;
    const float n = (a * 1.44269504f + CG_MAGIC) - CG_MAGIC;
    const float r = (a - n * 0.693145751953125f) - n * 1.42860677e-6f;
    const float p = 1.0f + r * (1.0f + r * (0.5f + r * (0.16666667f + r * (0.041666668f + r * (0.0083333338f + r * (0.0013888889f + r * 0.00019841270f))))));
    const float h = (n * 0.5f + CG_MAGIC) - CG_MAGIC;
    const float y = p * cg_exp2i_f32(h) * cg_exp2i_f32(n - h);
    return x != x ? x : y;
}
//@ cg_expm1_f32: cg_exp_f32 cg_exp2i_f32
/* 2^n (e^r - 1) + (2^n - 1) */
CG_FN float cg_expm1_f32(float x)
{
    const float a = x > 80.0f ? 80.0f : x < -20.0f ? -20.0f : x != x ? 0.0f : x;
    const float n = (a * 1.44269504f + CG_MAGIC) - CG_MAGIC;
    const float r = (a - n * 0.693145751953125f) - n * 1.42860677e-6f;
    const float p = r + r * r * (0.5f + r * (0.16666667f + r * (0.041666668f + r * (0.0083333338f + r * (0.0013888889f + r * 0.00019841270f)))));
    const float s = cg_exp2i_f32(n), y = s * p + (s - 1.0f);
    return x > 80.0f ? cg_exp_f32(x) : x != x || x == 0 ? x : y;
}
//@ cg_log_f32:
/* x = 2^e m, m in sqrt(1/2)..sqrt(2); log m = 2 atanh(s), s = (m-1)/(m+1) */
CG_FN float cg_log_f32(float x)
{
    const float big = x < 1.17549435e-38f ? x * 8388608.0f : x;
    const cg_u32 u = cg_bits(big) - 0x3f3504f3u;
    const float e = (float)((cg_i32)u >> 23) - (x < 1.17549435e-38f ? 23.0f : 0.0f);
    const float m = cg_from_bits((u & 0x007fffffu) + 0x3f3504f3u);
    const float f = m - 1.0f, s = f / (m + 1.0f), z = s * s;
    const float t = z * (0.66666667f + z * (0.4f + z * (0.28571429f + z * 0.22222222f)));
    const float h = 0.5f * f * f;
    const float y = e * 0.693145751953125f + ((f - (h - s * (h + t))) + e * 1.42860677e-6f);
    const float r = x == CG_INF || x != x ? x : y;
    return x < 0 ? CG_INF - CG_INF : x == 0 ? -CG_INF : r;
}
//@ cg_log1p_f32: cg_log_f32
CG_FN float cg_log1p_f32(float x)
{
    const float u = 1.0f + x;
    const float y = cg_log_f32(u) + (x - (u - 1.0f)) / u;
    return u == 1.0f || x == CG_INF || x != x ? x : x == -1.0f ? -CG_INF : y;
}
//@ cg_tanh_f32: cg_expm1_f32 cg_abs_f32
CG_FN float cg_tanh_f32(float x)
{
    const float a = cg_abs_f32(x), b = a > 10.0f ? 10.0f : a;
    const float e = cg_expm1_f32(2.0f * b), y = e / (e + 2.0f);
    const float s = cg_from_bits(cg_bits(y) | (cg_bits(x) & 0x80000000u));
    return x != x ? x : s;
}
//@ cg_sigmoid_f32: cg_exp_f32 cg_abs_f32
CG_FN float cg_sigmoid_f32(float x)
{
    const float e = cg_exp_f32(-cg_abs_f32(x)), d = 1.0f + e;
    return (x < 0 ? e : 1.0f) / d;
}
//@ cg_softplus_f32: cg_exp_f32 cg_log1p_f32 cg_abs_f32
CG_FN float cg_softplus_f32(float x)
{
    return (x > 0 ? x : 0.0f) + cg_log1p_f32(cg_exp_f32(-cg_abs_f32(x)));
}
//@ cg_quadrant_f32:
/* sin of x + q quarter turns: r = x - n pi/2 in three parts, then the polynomial of the quadrant n + q. */
CG_FN float cg_quadrant_f32(float x, cg_i32 q)
{
    const float a = x > 1e8f ? 1e8f : x < -1e8f ? -1e8f : x != x ? 0.0f : x;
    const float n = (float)(cg_i32)(a * 0.636619747f + (a < 0 ? -0.5f : 0.5f));
    const float w = ((a - n * 1.5703125f) - n * 4.83751297e-4f) - n * 7.54978998e-8f;
    const float r = w > 0.8f ? 0.8f : w < -0.8f ? -0.8f : w, z = r * r;
    const float s = r + r * z * (-0.16666667f + z * (0.0083333338f + z * (-0.00019841270f + z * 2.7557319e-6f)));
    const float c = 1.0f + z * (-0.5f + z * (0.041666668f + z * (-0.0013888889f + z * (2.4801588e-5f - z * 2.7557319e-7f))));
    const cg_i32 k = (cg_i32)n + q;
    const float y = (k & 1) != 0 ? c : s;
    const float v = (k & 2) != 0 ? -y : y;
    return x - x != 0 ? x - x : x == 0 && q == 0 ? x : v;
}
//@ cg_sin_f32: cg_quadrant_f32
CG_FN float cg_sin_f32(float x) { return cg_quadrant_f32(x, 0); }
//@ cg_cos_f32: cg_quadrant_f32
CG_FN float cg_cos_f32(float x) { return cg_quadrant_f32(x, 1); }
//@ cg_power_f32: cg_exp_f32 cg_log_f32 cg_abs_f32 cg_floor_f32
CG_FN float cg_power_f32(float a, float b)
{
    const float m = cg_exp_f32(b * cg_log_f32(cg_abs_f32(a)));
    const float whole = cg_floor_f32(b), half_ = cg_floor_f32(b * 0.5f);
    const float s = whole == b && half_ * 2.0f != b ? -m : m;
    const float y = a < 0 ? (whole == b ? s : CG_INF - CG_INF) : m;
    return b == 0 || a == 1.0f ? 1.0f : a == 0 ? (b > 0 ? 0.0f : CG_INF) : a != a ? a : y;
}
//@ cg_mod_f32:
CG_FN float cg_mod_f32(float a, float b)
{
    const float m = CG_F(fmod)(a, b);
    return m != 0 && (m < 0) != (b < 0) ? m + b : m;
}
//@ cg_floor_divide_f32: cg_mod_f32 cg_floor_f32
CG_FN float cg_floor_divide_f32(float a, float b) { return cg_floor_f32((a - cg_mod_f32(a, b)) / b + 0.5f); }
//@ cg_abs_f64:
CG_FN double cg_abs_f64(double x) { return fabs(x); }
//@ cg_sign_f64:
CG_FN double cg_sign_f64(double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : x; }
//@ cg_sqrt_f64:
CG_FN double cg_sqrt_f64(double x) { return sqrt(x); }
//@ cg_floor_f64:
CG_FN double cg_floor_f64(double x) { return floor(x); }
//@ cg_ceil_f64:
CG_FN double cg_ceil_f64(double x) { return ceil(x); }
//@ cg_exp_f64:
CG_FN double cg_exp_f64(double x) { return exp(x); }
//@ cg_expm1_f64:
CG_FN double cg_expm1_f64(double x) { return expm1(x); }
//@ cg_log_f64:
CG_FN double cg_log_f64(double x) { return log(x); }
//@ cg_log1p_f64:
CG_FN double cg_log1p_f64(double x) { return log1p(x); }
//@ cg_sin_f64:
CG_FN double cg_sin_f64(double x) { return sin(x); }
//@ cg_cos_f64:
CG_FN double cg_cos_f64(double x) { return cos(x); }
//@ cg_tanh_f64:
CG_FN double cg_tanh_f64(double x) { return tanh(x); }
//@ cg_sigmoid_f64:
CG_FN double cg_sigmoid_f64(double x)
{
    const double e = exp(-fabs(x));
    return (x < 0 ? e : 1.0) / (1.0 + e);
}
//@ cg_softplus_f64:
CG_FN double cg_softplus_f64(double x) { return (x > 0 ? x : 0.0) + log1p(exp(-fabs(x))); }
//@ cg_power_f64:
CG_FN double cg_power_f64(double a, double b) { return pow(a, b); }
//@ cg_mod_f64:
CG_FN double cg_mod_f64(double a, double b)
{
    const double m = fmod(a, b);
    return m != 0 && (m < 0) != (b < 0) ? m + b : m;
}
//@ cg_floor_divide_f64: cg_mod_f64
CG_FN double cg_floor_divide_f64(double a, double b) { return floor((a - cg_mod_f64(a, b)) / b + 0.5); }
//@ cg_abs_i32:
CG_FN cg_i32 cg_abs_i32(cg_i32 x) { return x < 0 ? (cg_i32)(0u - (cg_u32)x) : x; }
//@ cg_sign_i32:
CG_FN cg_i32 cg_sign_i32(cg_i32 x) { return (x > 0) - (x < 0); }
//@ cg_floor_divide_i32:
CG_FN cg_i32 cg_floor_divide_i32(cg_i32 a, cg_i32 b)
{
    const cg_i32 d = b == 0 || b == -1 ? 1 : b, q = a / d - (a % d != 0 && (a < 0) != (d < 0));
    return b == 0 ? 0 : b == -1 ? (cg_i32)(0u - (cg_u32)a) : q;
}
//@ cg_mod_i32:
CG_FN cg_i32 cg_mod_i32(cg_i32 a, cg_i32 b)
{
    const cg_i32 d = b == 0 || b == -1 ? 1 : b, m = a % d;
    return m != 0 && (m < 0) != (d < 0) ? m + d : m;
}
//@ cg_abs_i64:
CG_FN cg_i64 cg_abs_i64(cg_i64 x) { return x < 0 ? (cg_i64)((cg_u64)0 - (cg_u64)x) : x; }
//@ cg_sign_i64:
CG_FN cg_i64 cg_sign_i64(cg_i64 x) { return (x > 0) - (x < 0); }
//@ cg_floor_divide_i64:
CG_FN cg_i64 cg_floor_divide_i64(cg_i64 a, cg_i64 b)
{
    const cg_i64 d = b == 0 || b == -1 ? 1 : b, q = a / d - (a % d != 0 && (a < 0) != (d < 0));
    return b == 0 ? 0 : b == -1 ? (cg_i64)((cg_u64)0 - (cg_u64)a) : q;
}
//@ cg_mod_i64:
CG_FN cg_i64 cg_mod_i64(cg_i64 a, cg_i64 b)
{
    const cg_i64 d = b == 0 || b == -1 ? 1 : b, m = a % d;
    return m != 0 && (m < 0) != (d < 0) ? m + d : m;
}
//@ cg_abs_u32:
CG_FN cg_u32 cg_abs_u32(cg_u32 x) { return x; }
//@ cg_sign_u32:
CG_FN cg_u32 cg_sign_u32(cg_u32 x) { return x > 0; }
//@ cg_floor_divide_u32:
CG_FN cg_u32 cg_floor_divide_u32(cg_u32 a, cg_u32 b) { return b == 0 ? 0 : a / (b == 0 ? 1 : b); }
//@ cg_mod_u32:
CG_FN cg_u32 cg_mod_u32(cg_u32 a, cg_u32 b) { return b == 0 ? 0 : a % (b == 0 ? 1 : b); }
//@ cg_abs_u64:
CG_FN cg_u64 cg_abs_u64(cg_u64 x) { return x; }
//@ cg_sign_u64:
CG_FN cg_u64 cg_sign_u64(cg_u64 x) { return x > 0; }
//@ cg_floor_divide_u64:
CG_FN cg_u64 cg_floor_divide_u64(cg_u64 a, cg_u64 b) { return b == 0 ? 0 : a / (b == 0 ? 1 : b); }
//@ cg_mod_u64:
CG_FN cg_u64 cg_mod_u64(cg_u64 a, cg_u64 b) { return b == 0 ? 0 : a % (b == 0 ? 1 : b); }
