// SPDX-License-Identifier: MIT
/* Two cheap operations in one pass over arrays: t = a INNER b, then t OUTER c or c OUTER t. Loading and storing costs more than they do.
 * Rows: PAIR(inner, outer, which operand of the outer one t is, t, result), the operations as in elemwise.def. */
#ifndef CG_VEC_PAIRS_H
#define CG_VEC_PAIRS_H

#define PAIRS_OF(PAIR, inner, t)                                                                                       \
    PAIR(inner, add, 0, t, u + c) PAIR(inner, add, 1, t, c + u) PAIR(inner, sub, 0, t, u - c) PAIR(inner, sub, 1, t, c - u) \
    PAIR(inner, mul, 0, t, u * c) PAIR(inner, mul, 1, t, c * u) PAIR(inner, neg, 0, t, -u)
#define PAIRS(PAIR)                                                                                                    \
    PAIRS_OF(PAIR, add, a + b) PAIRS_OF(PAIR, sub, a - b) PAIRS_OF(PAIR, mul, a * b)                                   \
    PAIRS_OF(PAIR, neg, -a) PAIRS_OF(PAIR, square, a * a) PAIRS_OF(PAIR, abs, ABS(a))

#define PAIR_FUNCTION(T, inner, outer, side, t, result)                                                                \
    static void inner##_##outer##side##_##T(void *restrict po, const void *restrict pa, const void *restrict pb, const void *restrict pc, int n) \
    {                                                                                                                  \
        const T *restrict x = pa, *restrict y = pb, *restrict z = pc;                                                  \
        T *restrict out = po;                                                                                          \
        _Pragma("omp simd")                                                                                            \
        for (int i = 0; i < n; i++) {                                                                                  \
            const T a = x[i], b = y[i], c = z[i], u = t;                                                               \
            (void)b, (void)c;                                                                                          \
            out[i] = result;                                                                                           \
        }                                                                                                              \
    }
#define ABS(x) cg_abs_f32(x)
#define PAIR_F32(...) PAIR_FUNCTION(float, __VA_ARGS__)
PAIRS(PAIR_F32)
#undef ABS
#define ABS(x) cg_abs_f64(x)
#define PAIR_F64(...) PAIR_FUNCTION(double, __VA_ARGS__)
PAIRS(PAIR_F64)
#define PAIR_ROW(inner, outer, side, ...) { CG_EL_##inner, CG_EL_##outer, side, inner##_##outer##side##_float, inner##_##outer##side##_double },
static const cg_vec_pair pairs[] = { PAIRS(PAIR_ROW) { 0 } };

#endif
