// SPDX-License-Identifier: MIT
/* Arrays from and to JSON. Sizes are compared with the data that is there before memory is taken. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cgraph/values.h"

/* f16 from double, not from float: two roundings are not one. */
static const struct { cg_dtype in, out; } carriers[CG_DTYPE_COUNT] = {
    [CG_BOOL] = { CG_BOOL, CG_BOOL }, [CG_I8] = { CG_I64, CG_I64 }, [CG_I16] = { CG_I64, CG_I64 }, [CG_I32] = { CG_I64, CG_I64 },
    [CG_I64] = { CG_I64, CG_I64 }, [CG_U8] = { CG_I64, CG_I64 }, [CG_U16] = { CG_I64, CG_I64 }, [CG_U32] = { CG_I64, CG_I64 },
    [CG_U64] = { CG_U64, CG_U64 }, [CG_F16] = { CG_F64, CG_F32 }, [CG_BF16] = { CG_F64, CG_F32 }, [CG_F32] = { CG_F32, CG_F32 },
    [CG_F64] = { CG_F64, CG_F64 },
};
static const int64_t EXACT = INT64_C(1) << 53;

cg_dtype carrier_out(cg_dtype d) { return carriers[d].out; }

int fail(cg_error *why, cg_status code, const char *fmt, ...)
{
    va_list ap;
    if (why->code)
        return (int)why->code;
    va_start(ap, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, ap);
    va_end(ap);
    why->code = code;
    return code;
}

/* ---- elements from JSON: false when j is no such value */

static bool get_float(const json_t *j, double *v)
{
    static const struct { const char *name; double v; } special[] = { { "nan", NAN }, { "inf", INFINITY }, { "-inf", -INFINITY } };
    *v = json_number_value(j);
    for (size_t i = 0; json_is_string(j) && i < 3; i++)
        if (strcmp(json_string_value(j), special[i].name) == 0)
            return *v = special[i].v, true;
    return json_is_number(j);
}

static bool get_f32(const json_t *j, void *to)
{
    double v;
    const bool ok = get_float(j, &v);
    *(float *)to = (float)v;
    return ok;
}

static bool get_f64(const json_t *j, void *to) { return get_float(j, to); }

static bool get_bool(const json_t *j, void *to)
{
    *(unsigned char *)to = json_is_true(j) || (json_is_integer(j) && json_integer_value(j) == 1);
    return json_is_boolean(j) || (json_is_integer(j) && (uint64_t)json_integer_value(j) <= 1);
}

static bool get_i64(const json_t *j, void *to)
{
    const char *text = json_string_value(j);
    char *end = NULL;
    errno = 0;
    *(int64_t *)to = text ? strtoll(text, &end, 10) : json_integer_value(j);
    return text ? (*text == '-' || (*text >= '0' && *text <= '9')) && !*end && !errno : json_is_integer(j);
}

static bool get_u64(const json_t *j, void *to)
{
    const char *text = json_string_value(j);
    char *end = NULL;
    errno = 0;
    *(uint64_t *)to = text ? strtoull(text, &end, 10) : (uint64_t)json_integer_value(j);
    return text ? *text >= '0' && *text <= '9' && !*end && !errno : json_is_integer(j) && json_integer_value(j) >= 0;
}

/* ---- elements to JSON */

static void put_float(FILE *to, double v, int digits)
{
    if (isfinite(v))
        fprintf(to, "%.*g", digits, v);
    else
        fputs(isnan(v) ? "\"nan\"" : v > 0 ? "\"inf\"" : "\"-inf\"", to);
}

static void put_f32(FILE *to, const void *p) { put_float(to, (double)*(const float *)p, 9); }
static void put_f64(FILE *to, const void *p) { put_float(to, *(const double *)p, 17); }
static void put_bool(FILE *to, const void *p) { fputs(*(const unsigned char *)p ? "true" : "false", to); }

static void put_i64(FILE *to, const void *p)
{
    const int64_t v = *(const int64_t *)p;
    fprintf(to, v > EXACT || v < -EXACT ? "\"%" PRId64 "\"" : "%" PRId64, v);
}

static void put_u64(FILE *to, const void *p)
{
    const uint64_t v = *(const uint64_t *)p;
    fprintf(to, v > (uint64_t)EXACT ? "\"%" PRIu64 "\"" : "%" PRIu64, v);
}

static const struct { bool (*get)(const json_t *, void *); void (*put)(FILE *, const void *); } elements[CG_DTYPE_COUNT] = {
    [CG_BOOL] = { get_bool, put_bool }, [CG_I64] = { get_i64, put_i64 }, [CG_U64] = { get_u64, put_u64 },
    [CG_F32] = { get_f32, put_f32 }, [CG_F64] = { get_f64, put_f64 },
};

/* ---- arrays */

static int read_dtype(const json_t *j, cg_dtype *d, cg_error *why)
{
    const char *name = json_string_value(json_object_get(j, "dtype"));
    for (int i = 0; name && i < CG_DTYPE_COUNT; i++)
        if (strcmp(name, cg_dtype_name((cg_dtype)i)) == 0)
            return *d = (cg_dtype)i, CG_OK;
    return fail(why, CG_EDTYPE, "\"dtype\" is %s%.20s, not one of bool i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64", name ? "" : "absent or no text", name ? name : "");
}

/* The rank; a negative code if shape is none. */
static int read_shape(const json_t *j, int64_t shape[CG_MAX_RANK], size_t *count, cg_error *why)
{
    const json_t *list = json_object_get(j, "shape"), *item;
    size_t i;
    *count = 1;
    if (!json_is_array(list) || json_array_size(list) > CG_MAX_RANK)
        return fail(why, CG_ESHAPE, "\"shape\" is not a list of at most %d sizes", CG_MAX_RANK);
    json_array_foreach(list, i, item) {
        shape[i] = json_integer_value(item);
        if (!json_is_integer(item) || shape[i] < 0 || __builtin_mul_overflow(*count, (size_t)shape[i], count))
            return fail(why, CG_ESHAPE, "\"shape\" has a size that is no number of elements");
    }
    return (int)json_array_size(list);
}

cg_array *array_from_json(const json_t *j, cg_dtype *dtype, cg_error *why)
{
    const json_t *data = json_object_get(j, "data"), *item;
    int64_t shape[CG_MAX_RANK];
    size_t count, i;
    if (read_dtype(j, dtype, why) < 0)
        return NULL;
    const int rank = read_shape(j, shape, &count, why);
    if (rank < 0)
        return NULL;
    if (!json_is_array(data) || json_array_size(data) != count) {
        fail(why, CG_ESHAPE, "\"shape\" asks for %zu values, \"data\" has %zu", count, json_array_size(data));
        return NULL;
    }
    const cg_dtype d = carriers[*dtype].in;
    cg_array *a = cg_array_new(d, shape, rank, NULL);
    char *to = a ? (char *)(uintptr_t)cg_array_data(a) : NULL;
    if (!to)
        fail(why, CG_ENOMEM, "no memory for %zu values", count);
    json_array_foreach(data, i, item)
        if (!why->code && !elements[d].get(item, to + i * cg_dtype_bytes(d)))
            fail(why, CG_EDTYPE, "\"data\"[%zu] is no %s", i, cg_dtype_name(*dtype));
    if (!why->code)
        return a;
    cg_array_free(a);
    return NULL;
}

void array_to_json(FILE *to, cg_array *a, cg_dtype d)
{
    const cg_dtype c = cg_array_dtype(a);
    const char *at = cg_array_data(a);
    fprintf(to, "{\"dtype\":\"%s\",\"shape\":[", cg_dtype_name(d));
    for (int i = 0; i < cg_array_rank(a); i++)
        fprintf(to, "%s%" PRId64, i ? "," : "", cg_array_shape(a)[i]);
    fputs("],\"data\":[", to);
    for (int64_t i = 0; i < cg_array_count(a); i++, at += cg_dtype_bytes(c)) {
        if (i)
            fputc(',', to);
        elements[c].put(to, at);
    }
    fputs("]}", to);
}

void text_to_json(FILE *to, const char *text)
{
    json_t *whole = json_string(text);
    fputc('"', to);
    for (const char *p = text; *p; p++)
        if (*p == '"' || *p == '\\')
            fprintf(to, "\\%c", *p);
        else if ((unsigned char)*p < 32)
            fprintf(to, "\\u%04x", *p);
        else
            fputc((unsigned char)*p < 128 || whole ? *p : '?', to);
    fputc('"', to);
    json_decref(whole);
}
