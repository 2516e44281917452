// SPDX-License-Identifier: MIT
/* One function a row of elemwise.def over arrays of the compute type T (of suffix SFX, with INTEGERS if it is one): name_SFX. Included
 * once a type, hence without a guard; undefines T, M and SFX. */
#define GET1 const TA_ a = x[i];
#define GET2 GET1 const T b = y[i]; (void)b;
#define GET3 GET2 const T c = z[i]; (void)c;
#define NAMED_(name, sfx) name##_##sfx
#define NAMED(name, sfx)  NAMED_(name, sfx)
#define FUNCTION(name, GET, TA, R, expr)                                                                               \
    static void NAMED(name, SFX)(void *restrict po, const void *restrict pa, const void *restrict pb, const void *restrict pc, int n) \
    {                                                                                                                  \
        typedef TA TA_;                                                                                                \
        const TA *restrict x = pa;                                                                                     \
        const T *restrict y = pb, *restrict z = pc;                                                                    \
        R *restrict out = po;                                                                                          \
        (void)y, (void)z;                                                                                              \
        _Pragma("omp simd")                                                                                            \
        for (int i = 0; i < n; i++) {                                                                                  \
            GET                                                                                                        \
            out[i] = (R)(expr);                                                                                        \
        }                                                                                                              \
    }
#define RES_SAME(name, GET, expr) FUNCTION(name, GET, T, T, expr)
#define RES_BOOL(name, GET, expr) FUNCTION(name, GET, T, cg_i32, expr)
#define RES_BC(name, GET, expr)   FUNCTION(name, GET, cg_i32, T, expr)
#define FOR_ANY(R, name, GET, expr) R(name, GET, expr)
#define FOR_NUM(R, name, GET, expr) R(name, GET, expr)
#ifdef INTEGERS
#define FOR_FLT(R, name, GET, expr)
#define FOR_INT(R, name, GET, expr) R(name, GET, expr)
#define FOR_BIT(R, name, GET, expr) R(name, GET, expr)
#else
#define FOR_FLT(R, name, GET, expr) R(name, GET, expr)
#define FOR_INT(R, name, GET, expr)
#define FOR_BIT(R, name, GET, expr)
#endif
#define ELEM(name, n, cls, res, alg, expr, ...) FOR_##cls(RES_##res, name, GET##n, expr)
#include "core/base/elemwise.def"
#undef T
#undef M
#undef SFX
#undef GET1
#undef GET2
#undef GET3
#undef NAMED_
#undef NAMED
#undef FUNCTION
#undef RES_SAME
#undef RES_BOOL
#undef RES_BC
#undef FOR_ANY
#undef FOR_NUM
#undef FOR_FLT
#undef FOR_INT
#undef FOR_BIT
