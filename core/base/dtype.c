// SPDX-License-Identifier: MIT
/* The dtype table and single elements in and out of memory; f16 and bf16 round to nearest even (IEEE 754-2008, 5.4.2). */
#include <math.h>
#include "core/base/base.h"

const cg_dtype_row cg__dtypes[CG_DTYPE_COUNT + 1] = {
#define DTYPE(n, c, cl, size, k, comp, np, st) { #n, #c, #cl, size, CG_KIND_##k, CG_##comp, np, st },
#include "core/base/dtype.def"
    [CG_DTYPE_COUNT] = { "tuple", "", "", 0, CG_KIND_BOOL, CG_DTYPE_COUNT, "", "" },
};
_Static_assert(sizeof cg__dtypes / sizeof *cg__dtypes == CG_DTYPE_COUNT + 1, "a row for each dtype");

CG_API const char *cg_dtype_name(cg_dtype d) { return (unsigned)d < CG_DTYPE_COUNT ? cg__dtypes[d].name : "?"; }
CG_API size_t cg_dtype_bytes(cg_dtype d) { return (unsigned)d < CG_DTYPE_COUNT ? cg__dtypes[d].bytes : 0; }

bool cg__dtype_by_name(const char *name, size_t n, cg_dtype *out)
{
    for (int i = 0; i < CG_DTYPE_COUNT; i++)
        if (strlen(cg__dtypes[i].name) == n && memcmp(cg__dtypes[i].name, name, n) == 0)
            return *out = (cg_dtype)i, true;
    return false;
}

static double from_half(uint16_t h)
{
    const int e = h >> 10 & 31, m = h & 1023;
    const double v = e == 31 ? (m ? (double)NAN : (double)INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h >> 15 ? -v : v;
}

/* The nearest multiple of 2^(e-10), ties to even, e the exponent, at least -14. */
static uint16_t to_half(double v)
{
    const uint16_t sign = signbit(v) ? 0x8000 : 0;
    int e;
    if (isnan(v))
        return 0x7e00;
    v = fabs(v);
    if (v >= 65520.0 || v == 0)
        return v == 0 ? sign : sign | 0x7c00;
    frexp(v, &e);
    e = e - 1 < -14 ? -14 : e - 1;
    const int q = (int)nearbyint(ldexp(v, 10 - e));
    return (uint16_t)(sign | ((e + 14) * 1024 + q));
}

static uint16_t to_bf16(double v)
{
    float f = (float)v;
    uint32_t u;
    /* Rounding twice, through float, errs only where the float is a tie that v is not: nudge it towards v. */
    if ((double)f != v && isfinite(v)) {
        memcpy(&u, &f, 4);
        if ((u & 0xffff) == 0x8000) {
            f = nextafterf(f, (double)f < v ? INFINITY : -INFINITY);
        }
    }
    memcpy(&u, &f, 4);
    if (isnan(f))
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static double from_bf16(uint16_t h)
{
    const uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return (double)f;
}

/* v as an integer of d: truncated, beyond the range of d its nearest end, NaN 0. */
static int64_t saturated(double v, cg_dtype d)
{
    const bool sign = cg__dtypes[d].kind == CG_KIND_INT;
    const int bits = 8 * (int)cg__dtypes[d].bytes - sign;
    const double end = ldexp(1, bits), least = sign ? -end : 0;
    if (!(v > least))
        return v != v || !sign ? 0 : (int64_t)(UINT64_MAX << bits);
    return v >= end ? (int64_t)(UINT64_MAX >> (64 - bits)) : sign ? (int64_t)v : (int64_t)(uint64_t)v;
}

/* A double that rounds to f32, f16 and bf16 as m does: what does not fit its 53 bits is gathered in the last of them. */
static double gathered(uint64_t m)
{
    return m >> 53 ? 2048.0 * (double)(m >> 11 | ((m & 2047) != 0)) : (double)m;
}

static void store_whole(void *p, cg_dtype d, uint64_t m, bool negative)
{
    const double v = d == CG_F64 ? (double)m : gathered(m);
    cg__store_f64(p, d, negative ? -v : v);
}

#define LOAD(T) { T v; memcpy(&v, p, sizeof v); return (RESULT)v; }
#define INTS                                                                                                           \
    case CG_BOOL: case CG_U8: LOAD(uint8_t) case CG_I8: LOAD(int8_t) case CG_I16: LOAD(int16_t) case CG_I32: LOAD(int32_t) \
    case CG_I64: LOAD(int64_t) case CG_U16: LOAD(uint16_t) case CG_U32: LOAD(uint32_t) case CG_U64: LOAD(uint64_t)

#define RESULT double
double cg__load_f64(const void *p, cg_dtype d)
{
    uint16_t h;
    switch (d) {
    INTS
    case CG_F32: LOAD(float)
    case CG_F64: LOAD(double)
    case CG_F16: memcpy(&h, p, 2); return from_half(h);
    case CG_BF16: memcpy(&h, p, 2); return from_bf16(h);
    default: return 0;
    }
}
#undef RESULT
#define RESULT int64_t
int64_t cg__load_i64(const void *p, cg_dtype d)
{
    switch (d) {
    INTS
    default: return saturated(cg__load_f64(p, d), CG_I64);
    }
}
#undef RESULT

void cg__store_i64(void *p, cg_dtype d, int64_t v)
{
    const uint8_t truth = v != 0;
    if (cg__is_float(d))
        store_whole(p, d, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
    else
        memcpy(p, d == CG_BOOL ? (const void *)&truth : (const void *)&v, cg__dtypes[d].bytes);      /* little endian */
}

void cg__store_f64(void *p, cg_dtype d, double v)
{
    const float f = (float)v;
    uint16_t h;
    switch (d) {
    case CG_F64: memcpy(p, &v, 8); break;
    case CG_F32: memcpy(p, &f, 4); break;
    case CG_F16: h = to_half(v); memcpy(p, &h, 2); break;
    case CG_BF16: h = to_bf16(v); memcpy(p, &h, 2); break;
    case CG_BOOL: cg__store_i64(p, d, v != 0); break;
    default: cg__store_i64(p, d, saturated(v, d));
    }
}

void cg__cast_element(void *to, cg_dtype d, const void *from, cg_dtype s)
{
    if (cg__is_float(s))
        cg__store_f64(to, d, cg__load_f64(from, s));
    else if (s == CG_U64 && cg__is_float(d))
        store_whole(to, d, (uint64_t)cg__load_i64(from, s), false);
    else
        cg__store_i64(to, d, cg__load_i64(from, s));
}
