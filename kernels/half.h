// SPDX-License-Identifier: MIT
/* f16 and bf16 as bits, one text for C11 and OpenCL C 1.2 (pieces as in math.h, which comes first): integer work and exact float work only,
 * so that every executor rounds alike whatever its hardware offers. Rounding is to nearest even; every NaN of f16 is 0x7e00. */
//@ cg_load_f16:
/* Subnormals are h * 2^-24; infinity and NaN need the exponent moved twice. */
CG_FN float cg_load_f16(cg_u32 h)
{
    const cg_u32 m = h & 0x7fffu, sign = (h & 0x8000u) << 16;
    const cg_u32 normal = (m << 13) + (m < 0x7c00u ? 0x38000000u : 0x70000000u);
    const cg_u32 tiny = cg_bits((float)m * 5.9604644775390625e-8f);
    return cg_from_bits(sign | (m < 0x0400u ? tiny : normal));
}
//@ cg_store_f16:
/* Below 2^-14, adding 1/2 leaves the multiple of 2^-24 in the low bits; from 65520 on it is infinity. */
CG_FN cg_u32 cg_store_f16(float x)
{
    const cg_u32 u = cg_bits(x), m = u & 0x7fffffffu, sign = u >> 16 & 0x8000u;
    const cg_u32 tiny = cg_bits(cg_from_bits(m < 0x38800000u ? m : 0u) + 0.5f) - 0x3f000000u;
    const cg_u32 normal = (m - 0x38000000u + 0x0fffu + (m >> 13 & 1u)) >> 13;
    const cg_u32 finite = m < 0x38800000u ? tiny : m < 0x477ff000u ? normal : 0x7c00u;
    return m > 0x7f800000u ? 0x7e00u : sign | finite;
}
//@ cg_round_f16: cg_load_f16 cg_store_f16
CG_FN float cg_round_f16(float x) { return cg_load_f16(cg_store_f16(x)); }
//@ cg_load_bf16:
CG_FN float cg_load_bf16(cg_u32 h) { return cg_from_bits(h << 16); }
//@ cg_store_bf16:
CG_FN cg_u32 cg_store_bf16(float x)
{
    const cg_u32 u = cg_bits(x);
    return (u & 0x7fffffffu) > 0x7f800000u ? u >> 16 | 0x40u : (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
}
//@ cg_round_bf16: cg_load_bf16 cg_store_bf16
CG_FN float cg_round_bf16(float x) { return cg_load_bf16(cg_store_bf16(x)); }
//@ cg_odd_f64:
/* f64 to f32, an inexact result made odd, towards zero first: rounding once more, to fewer bits, is then right. */
CG_FN float cg_odd_f64(double x)
{
    const float f = (float)x;
    const cg_u32 u = cg_bits(f);
    const cg_u32 down = fabs((double)f) > fabs(x) ? u - 1u : u;
    return (double)f == x || x != x ? f : cg_from_bits(down | 1u);
}
