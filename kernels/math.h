// SPDX-License-Identifier: MIT
/* The scalar functions of elemwise.def, one text for C11 and OpenCL C 1.2: cg_<name>_<compute dtype>.
 *
 * f32.h       f32 from + - * / sqrt and bit patterns alone, with selects and no branches, so that gcc and LLVM vectorise
 *             them and every device gives the same bits. CG_FMA(a, b, c) is a b + c rounded once, the same everywhere: an instruction, or
 *             four times the work where there is none.
 * f64.h       f64: libm, the built-ins of OpenCL
 * real.h      one text for f32 and f64
 * special_*.h special functions, where libm and OpenCL 1.2 have none, or f32 needs its own
 * int.h       one text for i32 u32 i64 u64
 *
 * In all but f32 and f64 texts T is the type, M(f) is cg_f of that type, K(1.5) a literal of it and U the unsigned twin of an
 * integer T. A marker line `//@ name` opens each piece, so that a kernel is given only what it uses; callees stand first.
 * C gets all of it by including this file; embed.py makes the pieces for OpenCL. build/tests/ulp measures the worst errors of
 * f32, in units of the last place: at most 2 for exp and log, 4 for the other elementary functions; its table has the rest.
 */
//@ prelude
#ifdef __OPENCL_VERSION__
#define CG_FN static
#define CG_TABLE __constant
#define cg_bits(x)      as_uint(x)
#define cg_from_bits(u) as_float(u)
#define CG_F(name) name
#define CG_LGAMMA(x) lgamma(x)
#define CG_FMA(a, b, c) fma(a, b, c)
typedef int cg_i32; typedef uint cg_u32; typedef long cg_i64; typedef ulong cg_u64;
#else
#include <math.h>
#include <stdint.h>
#include <string.h>
#define CG_FN static inline __attribute__((always_inline, unused))
#define CG_TABLE static const
typedef int32_t cg_i32; typedef uint32_t cg_u32; typedef int64_t cg_i64; typedef uint64_t cg_u64;
CG_FN cg_u32 cg_bits(float x) { cg_u32 u; memcpy(&u, &x, 4); return u; }
CG_FN float cg_from_bits(cg_u32 u) { float x; memcpy(&x, &u, 4); return x; }
CG_FN double cg_lgamma_r(double x) { int sign; return lgamma_r(x, &sign); }      /* lgamma writes a global */
#define CG_F(name) name##f
#define CG_LGAMMA(x) cg_lgamma_r(x)
#if defined __FMA__ || defined __ARM_FEATURE_FMA || defined __FP_FAST_FMAF
#define CG_FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
/* The product is exact in f64. The sum is rounded to odd there (what it lost is nonzero: its last bit becomes 1), so that rounding to f32 sees
 * on which side of a tie it lay (S. Boldo, G. Melquiond: Emulation of a FMA and correctly rounded sums). */
CG_FN float cg_fma_by_f64(float a, float b, float c)
{
    const double p = (double)a * (double)b, d = (double)c, s = p + d, t = s - p, lost = (p - (s - t)) + (d - t);
    const cg_u64 away = (lost > 0) == (s > 0) ? 1 : (cg_u64)-1;
    cg_u64 u;
    memcpy(&u, &s, 8);
    u += (lost > 0 || lost < 0) && !(u & 1) ? away : 0;
    double odd;
    memcpy(&odd, &u, 8);
    return (float)odd;
}
#define CG_FMA(a, b, c) cg_fma_by_f64(a, b, c)
#endif
#endif
#define CG_INF INFINITY
#define CG_INF_F64 ((double)INFINITY)
#define CG_NAN_F64 ((double)NAN)
#define CG_NAN_F32 (CG_INF - CG_INF)
#define CG_MAGIC 12583166.0f            /* 1.5 * 2^23 + 254: adding it rounds to an integer n, and the low bits then hold n + 254 */
//@ end
#ifndef __OPENCL_VERSION__
#include "kernels/f32.h"
#include "kernels/f64.h"
#define T float
#define M(f) cg_##f##_f32
#define K(x) x##f
#include "kernels/real.h"
#undef T
#undef M
#undef K
#define T double
#define M(f) cg_##f##_f64
#define K(x) x
#include "kernels/real.h"
#undef T
#undef M
#undef K
#include "kernels/special_f32.h"
#include "kernels/special_f64.h"
#define T cg_i32
#define U cg_u32
#define M(f) cg_##f##_i32
#include "kernels/int.h"
#undef T
#undef M
#define T cg_u32
#define M(f) cg_##f##_u32
#include "kernels/int.h"
#undef T
#undef U
#undef M
#define T cg_i64
#define U cg_u64
#define M(f) cg_##f##_i64
#include "kernels/int.h"
#undef T
#undef M
#define T cg_u64
#define M(f) cg_##f##_u64
#include "kernels/int.h"
#undef T
#undef U
#undef M
#endif
