// SPDX-License-Identifier: MIT
/* Casts over arrays: vec.c's, and by itself what tests/vectorised looks at. After kernels/math.h and kernels/half.h. */
#ifndef CG_VEC_CASTS_H
#define CG_VEC_CASTS_H

#include "backends/cpu/cpu.h"

#define SAME(x) (x)
#define CONVERT(TO, FROM, F) { TO *o = out; const FROM *s = in; for (int i = 0; i < n; i++) o[i] = (TO)F(s[i]); break; }
/* From each compute type by its own function. */
#define CONVERT_BY(TO, F32, F64, I32, U32, I64, U64)                                                                   \
    switch (from) {                                                                                                    \
    case CG_F32: CONVERT(TO, float, F32)                                                                               \
    case CG_F64: CONVERT(TO, double, F64)                                                                              \
    case CG_I64: CONVERT(TO, cg_i64, I64)                                                                              \
    case CG_U64: CONVERT(TO, cg_u64, U64)                                                                              \
    case CG_U32: CONVERT(TO, cg_u32, U32)                                                                              \
    default: CONVERT(TO, cg_i32, I32)                                                                                  \
    }                                                                                                                  \
    break;
#define TRUTH(x) ((x) != 0)
#define EACH(C, x) { C *o = out; for (int i = 0; i < n; i++) o[i] = x; break; }

/* What came of a float stops at the ends of a narrow integer; what came of an integer wraps. */
static void narrow_integer(void *out, cg_dtype to, bool stops, int n)
{
    switch (to) {
    case CG_I8: if (stops) EACH(cg_i32, cg_clip_i32(o[i], INT8_MIN, INT8_MAX)) else EACH(cg_i32, (int8_t)o[i])
    case CG_I16: if (stops) EACH(cg_i32, cg_clip_i32(o[i], INT16_MIN, INT16_MAX)) else EACH(cg_i32, (int16_t)o[i])
    case CG_U8: if (stops) EACH(cg_u32, cg_minimum_u32(o[i], UINT8_MAX)) else EACH(cg_u32, (uint8_t)o[i])
    case CG_U16: if (stops) EACH(cg_u32, cg_minimum_u32(o[i], UINT16_MAX)) else EACH(cg_u32, (uint16_t)o[i])
    default: break;
    }
}

static void convert(void *out, cg_dtype to, const void *in, cg_dtype from, int n)
{
    const bool half = to == CG_F16 || to == CG_BF16;
    switch (to == CG_BOOL || (half && from != CG_F32) ? to : cg__dtypes[to].compute) {
    case CG_BOOL: CONVERT_BY(cg_i32, TRUTH, TRUTH, TRUTH, TRUTH, TRUTH, TRUTH)
    case CG_F16: case CG_BF16: CONVERT_BY(float, SAME, cg_odd_f64, cg_odd_i32, cg_odd_u32, cg_odd_i64, cg_odd_u64)        /* rounded once, in effect */
    case CG_F32: CONVERT_BY(float, SAME, SAME, SAME, SAME, SAME, SAME)
    case CG_F64: CONVERT_BY(double, SAME, SAME, SAME, SAME, SAME, SAME)
    case CG_I64: CONVERT_BY(cg_i64, cg_of_f32_i64, cg_of_f64_i64, SAME, SAME, SAME, SAME)
    case CG_U64: CONVERT_BY(cg_u64, cg_of_f32_u64, cg_of_f64_u64, SAME, SAME, SAME, SAME)
    case CG_U32: CONVERT_BY(cg_u32, cg_of_f32_u32, cg_of_f64_u32, SAME, SAME, SAME, SAME)
    default: CONVERT_BY(cg_i32, cg_of_f32_i32, cg_of_f64_i32, SAME, SAME, SAME, SAME)
    }
    switch (to) {
    case CG_F16: EACH(float, cg_round_f16(o[i]))
    case CG_BF16: EACH(float, cg_round_bf16(o[i]))
    default: narrow_integer(out, to, cg__is_float(from), n);
    }
}

#endif
