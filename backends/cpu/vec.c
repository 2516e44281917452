// SPDX-License-Identifier: MIT
/* Whole-array functions from the scalar table, one instance a row and compute type. Compiled for baseline, AVX2 and AVX-512
 * (CG_VEC_TABLE names the table), always with -O3 -ffp-contract=off, so that all give the same bits. */
#ifdef __SSE2__
#include <immintrin.h>
#endif
#include "backends/cpu/cpu.h"

#pragma GCC diagnostic ignored "-Wtype-limits"       /* one text for signed and unsigned: a < 0 may never be true */
#pragma GCC diagnostic ignored "-Wconversion"        /* the rows convert to their compute type by design */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include "kernels/math.h"
#include "kernels/half.h"

/* ---- the rows, for each compute type */

#define T float
#define M(f) cg_##f##_f32
#define SFX f32
#include "backends/cpu/vec_rows.h"
#define T double
#define M(f) cg_##f##_f64
#define SFX f64
#include "backends/cpu/vec_rows.h"
#define INTEGERS
#define T cg_i32
#define M(f) cg_##f##_i32
#define SFX i32
#include "backends/cpu/vec_rows.h"
#define T cg_i64
#define M(f) cg_##f##_i64
#define SFX i64
#include "backends/cpu/vec_rows.h"
#define T cg_u32
#define M(f) cg_##f##_u32
#define SFX u32
#include "backends/cpu/vec_rows.h"
#define T cg_u64
#define M(f) cg_##f##_u64
#define SFX u64
#include "backends/cpu/vec_rows.h"

#include "backends/cpu/vec_pairs.h"

/* ---- conversions */

#include "backends/cpu/vec_casts.h"

/* How an element of memory becomes one of the compute type and back, beside the cast. */
#define LOAD(C, S, TO, FROM)                                                                                           \
    {                                                                                                                  \
        C *o = out;                                                                                                    \
        const S *s = in;                                                                                               \
        if (stride == 1)                                                                                               \
            for (int i = 0; i < n; i++) o[i] = (C)TO(s[i]);                                                            \
        else if (stride == 0) {                                                                                        \
            const C v = n ? (C)TO(s[0]) : 0;                                                                           \
            for (int i = 0; i < n; i++) o[i] = v;                                                                      \
        } else                                                                                                         \
            for (int i = 0; i < n; i++) o[i] = (C)TO(s[i * stride]);                                                   \
        break;                                                                                                         \
    }
/* Of rows that begin `hop` apart, to rows that begin `pitch` apart; what a stride repeats or leaves out is known where it is most often asked for. */
#define GRID_ROWS(EXPR) for (int r = 0; r < rows; r++, o += pitch, s += hop) for (int i = 0; i < n; i++) o[i] = EXPR
#define GRID(C, S, TO, FROM)                                                                                           \
    {                                                                                                                  \
        C *o = out;                                                                                                    \
        const S *s = in;                                                                                               \
        if (stride == 0 && n == 2)                                                                                     \
            for (int r = 0; r < rows; r++, o += pitch, s += hop) o[0] = o[1] = (C)TO(s[0]);                                \
        else if (stride == 1)                                                                                          \
            GRID_ROWS((C)TO(s[i]));                                                                                    \
        else if (stride == 2)                                                                                          \
            GRID_ROWS((C)TO(s[2 * i]));                                                                                \
        else                                                                                                           \
            GRID_ROWS((C)TO(s[i * stride]));                                                                           \
        break;                                                                                                         \
    }
#define STORE(C, S, TO, FROM)                                                                                          \
    {                                                                                                                  \
        S *o = out;                                                                                                    \
        const C *s = in;                                                                                               \
        if (stride == 1)                                                                                               \
            for (int i = 0; i < n; i++) o[i] = (S)FROM(s[i]);                                                          \
        else                                                                                                           \
            for (int i = 0; i < n; i++) o[i * stride] = (S)FROM(s[i]);                                                 \
        break;                                                                                                         \
    }
#define BY_DTYPE(DO)                                                                                                   \
    switch (d) {                                                                                                       \
    case CG_BOOL: DO(cg_i32, uint8_t, SAME, SAME)                                                                      \
    case CG_I8: DO(cg_i32, int8_t, SAME, SAME)                                                                         \
    case CG_I16: DO(cg_i32, int16_t, SAME, SAME)                                                                       \
    case CG_I32: DO(cg_i32, int32_t, SAME, SAME)                                                                       \
    case CG_I64: DO(cg_i64, int64_t, SAME, SAME)                                                                       \
    case CG_U8: DO(cg_u32, uint8_t, SAME, SAME)                                                                        \
    case CG_U16: DO(cg_u32, uint16_t, SAME, SAME)                                                                      \
    case CG_U32: DO(cg_u32, uint32_t, SAME, SAME)                                                                      \
    case CG_U64: DO(cg_u64, uint64_t, SAME, SAME)                                                                      \
    case CG_F32: DO(float, float, SAME, SAME)                                                                          \
    case CG_F64: DO(double, double, SAME, SAME)                                                                        \
    case CG_F16: DO(float, uint16_t, cg_load_f16, cg_store_f16)                                                        \
    case CG_BF16: DO(float, uint16_t, cg_load_bf16, cg_store_bf16)                                                     \
    default: break;                                                                                                    \
    }

static void load(void *out, const void *in, cg_dtype d, int64_t stride, int n)
{
    BY_DTYPE(LOAD)
}

static void grid(void *out, int pitch, const void *in, cg_dtype d, int64_t hop, int rows, int64_t stride, int n)
{
    BY_DTYPE(GRID)
}

#define ANY_ZERO(C) { const C *s = in; C found = 0; _Pragma("omp simd reduction(| : found)") for (int i = 0; i < n; i++) found |= s[i] == 0; return found != 0; }

static bool any_zero(const void *in, cg_dtype compute, int n)
{
    if (cg__dtypes[compute].bytes == 8)
        ANY_ZERO(cg_u64)
    ANY_ZERO(cg_u32)
}

static void count(int64_t *out, int64_t first, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = first + i;
}

static void store(void *out, cg_dtype d, int64_t stride, const void *in, int n)
{
    BY_DTYPE(STORE)
}

#if defined __AVX512F__
#define PIECE       __m512i
#define PUT_PIECE(to, from) _mm512_stream_si512(to, _mm512_loadu_si512(from))
#elif defined __AVX__
#define PIECE       __m256i
#define PUT_PIECE(to, from) _mm256_stream_si256(to, _mm256_loadu_si256(from))
#elif defined __SSE2__
#define PIECE       __m128i
#define PUT_PIECE(to, from) _mm_stream_si128(to, _mm_loadu_si128(from))
#endif
/* By whole lines that the caches do not keep, so memory is not read before it is written; elsewhere a copy. A fence must follow the last one. */
static void stream(void *out, const void *in, size_t bytes)
{
    size_t head = -(uintptr_t)out & 63;
    head = head < bytes ? head : bytes;
    memcpy(out, in, head);
    char *to = (char *)out + head;
    const char *from = (const char *)in + head;
    bytes -= head;
#ifdef PIECE
    for (; bytes >= 64; bytes -= 64, to += 64, from += 64)
        for (size_t k = 0; k < 64 / sizeof(PIECE); k++)
            PUT_PIECE((PIECE *)(void *)to + k, (const PIECE *)(const void *)from + k);
#endif
    memcpy(to, from, bytes);
}

/* ---- reductions: combine(x, y) as plan.h defines it */

#define SUM_(x, y)  ((x) + (y))
#define PROD_(x, y) ((x) * (y))
#define MAX_(x, y)  ((x) > (y) || (x) != (x) ? (x) : (y))
#define MIN_(x, y)  ((x) < (y) || (x) != (x) ? (x) : (y))
/* `omp simd` makes selects of branches, which data would mispredict. Integers wrap here, so s[i + l] might too, and would be gathered element
 * by element: pointers go along instead. */
#define EACH_LANE(l, count) _Pragma("omp simd") for (int l = 0; l < (count); l++)
#define LANES(C, OP)                                                                                                   \
    {                                                                                                                  \
        C *restrict acc = lanes;                                                                                       \
        const C *restrict s = in;                                                                                      \
        const int rest = n % CG_LANES;                                                                                 \
        for (const C *end = s + (n - rest); s < end; s += CG_LANES)                                                    \
            EACH_LANE(l, CG_LANES) acc[l] = OP(acc[l], s[l]);                                                          \
        EACH_LANE(l, rest) acc[l] = OP(acc[l], s[l]);                                                                  \
        break;                                                                                                         \
    }
#define FOLD(C, OP)                                                                                                    \
    {                                                                                                                  \
        C *restrict acc = lanes;                                                                                       \
        const C *restrict s = in;                                                                                      \
        EACH_LANE(i, n) acc[i] = OP(acc[i], s[i]);                                                                     \
        break;                                                                                                         \
    }
/* Behind the 64 lanes lie 64 identities. The lanes of a row are combined by halving, and lane 0 is the result. What is left behind the last
 * 64 is filled up with identities, which change no lane; of rows shorter than 64, only as many lanes as a power of two needs are touched. */
#define ROWS(C, OP)                                                                                                    \
    {                                                                                                                  \
        C *restrict o = out, *restrict acc = lanes;                                                                    \
        const C *restrict id = acc + CG_LANES, *restrict s = in;                                                       \
        const int rest = n % CG_LANES, width = n < CG_LANES ? above(n) : CG_LANES;                                     \
        C tail[CG_LANES];                                                                                              \
        memcpy(tail, id, sizeof tail);                                                                                 \
        for (int r = 0; r < rows; r++, s += rest) {                                                                    \
            EACH_LANE(l, width) acc[l] = id[l];                                                                        \
            for (const C *end = s + (n - rest); s < end; s += CG_LANES)                                                \
                EACH_LANE(l, CG_LANES) acc[l] = OP(acc[l], s[l]);                                                      \
            EACH_LANE(l, rest) tail[l] = s[l];                                                                         \
            EACH_LANE(l, width) acc[l] = OP(acc[l], tail[l]);                                                          \
            for (int h = width / 2; h; h /= 2) {                                                                       \
                const C *upper = acc + h;                                                                              \
                EACH_LANE(l, h) acc[l] = OP(acc[l], upper[l]);                                                         \
            }                                                                                                          \
            o[r] = acc[0];                                                                                             \
        }                                                                                                              \
        break;                                                                                                         \
    }
#define BY_OP(DO, C)                                                                                                   \
    switch (op) {                                                                                                      \
    case CG_RED_SUM: DO(C, SUM_)                                                                                       \
    case CG_RED_PROD: DO(C, PROD_)                                                                                     \
    case CG_RED_MAX: DO(C, MAX_)                                                                                       \
    default: DO(C, MIN_)                                                                                               \
    }                                                                                                                  \
    break;
#define BY_COMPUTE(DO)                                                                                                 \
    switch (compute) {                                                                                                 \
    case CG_F32: BY_OP(DO, float)                                                                                      \
    case CG_F64: BY_OP(DO, double)                                                                                     \
    case CG_I64: BY_OP(DO, cg_i64)                                                                                     \
    case CG_U64: BY_OP(DO, cg_u64)                                                                                     \
    case CG_U32: BY_OP(DO, cg_u32)                                                                                     \
    default: BY_OP(DO, cg_i32)                                                                                         \
    }

/* The least power of two that is not below n. */
static int above(int n)
{
    int p = 1;
    while (p < n)
        p *= 2;
    return p;
}

static void lanes_(void *lanes, const void *in, cg_dtype compute, int op, int n)
{
    BY_COMPUTE(LANES)
}

static void fold_(void *lanes, const void *in, cg_dtype compute, int op, int n)
{
    BY_COMPUTE(FOLD)
}

static void rows_(void *out, const void *in, cg_dtype compute, int op, int rows, int n, void *lanes)
{
    BY_COMPUTE(ROWS)
}

#define ROW_ANY(name) { [CG_F32] = name##_f32, [CG_F64] = name##_f64, [CG_I32] = name##_i32, [CG_I64] = name##_i64, [CG_U32] = name##_u32, [CG_U64] = name##_u64 }
#define ROW_NUM(name) ROW_ANY(name)
#define ROW_FLT(name) { [CG_F32] = name##_f32, [CG_F64] = name##_f64 }
#define ROW_BIT(name) ROW_INT(name)
#define ROW_INT(name) { [CG_I32] = name##_i32, [CG_I64] = name##_i64, [CG_U32] = name##_u32, [CG_U64] = name##_u64 }
const cg_vec CG_VEC_TABLE = {
    .name = CG_VEC_NAME,
    .elem = {
#define ELEM(name, n, cls, ...) [CG_EL_##name] = ROW_##cls(name),
#include "core/base/elemwise.def"
    },
    .pairs = pairs, .convert = convert, .load = load, .grid = grid, .any_zero = any_zero, .count = count, .store = store, .stream = stream, .lanes = lanes_, .fold = fold_, .rows = rows_,
};
