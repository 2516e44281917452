// SPDX-License-Identifier: MIT
/* Files: NPY in and out, safetensors, and what hostile bytes are told. A row of `hostile` is a loader, a file's bytes and
 * what its sentence must say; rows of `good` say which values come out. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include "core/base/base.h"
#include "tests/suite.h"

static char dir[] = "/tmp/check_io.XXXXXX", path[64];

static void put(const void *bytes, size_t n)
{
    unlink(path);                        /* a new file: one that is cut to nothing and written again is flushed to the disk when it is closed */
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* A version 1.0 file with this header, as it stands, and these values. */
static void put_npy(const char *header, const void *values, size_t n)
{
    unsigned char bytes[20000] = "\x93NUMPY\1\0";
    const size_t len = strlen(header);
    bytes[8] = (unsigned char)len;
    bytes[9] = (unsigned char)(len >> 8);
    memcpy(bytes + 10, header, len);
    memcpy(bytes + 10 + len, values, n);
    put(bytes, 10 + len + n);
}

#define DICT(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }\n"

static const struct { const char *header, *values; size_t n; const char *says; } hostile[] = {
    { DICT("'|O'", "False", "(1,)"), "12345678", 8, "Python objects" },
    { DICT("[('a', '<f4'), ('b', '<i4')]", "False", "(1,)"), "12345678", 8, "structured dtype" },
    { DICT("'<c8'", "False", "(1,)"), "12345678", 8, "a dtype that libcg does not have" },
    { DICT("'<U4'", "False", "(1,)"), "1234567890123456", 16, "a dtype that libcg does not have" },
    { DICT("'<f4'", "False", "(3,)"), "12345678", 8, "fewer values" },
    { DICT("'<f4'", "False", "(1,)"), "12345678", 8, "more bytes" },
    { DICT("'<f4'", "False", "(99999999999999999999,)"), "1234", 4, "a header that is not" },
    { DICT("'<f4'", "False", "(4611686018427387904, 4)"), "1234", 4, "fewer values" },
    { DICT("'<f4'", "False", "(1000000000000,)"), "1234", 4, "fewer values" },
    { DICT("'<f4'", "False", "(-1,)"), "1234", 4, "a header that is not" },
    { DICT("'<f4'", "False", "(1)"), "1234", 4, "a header that is not" },
    { DICT("'<f4'", "False", "(1,1,1,1,1,1,1,1,1)"), "1234", 4, "a header that is not" },
    { DICT("'<f4'", "0", "(1,)"), "1234", 4, "a header that is not" },
    { DICT("'<f4'", "False", "__import__('os').abort()"), "1234", 4, "a header that is not" },
    { "{'descr': '<f4', 'shape': (1,)}\n", "1234", 4, "a header that is not" },
    { "{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}\n", "1234", 4, "a header that is not" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}\n", "1234", 4, "a header that is not" },
    { DICT("'<f4'", "False", "(1,)") "x", "1234", 4, "a header that is not" },
    { DICT("'<f4", "False", "(1,)"), "1234", 4, "a dtype that libcg does not have" },
    { "{{{{{{{{", "", 0, "a header that is not" },
    { "", "", 0, "a header that is not" },
};

START_TEST(npy_refuses_hostile_headers)
{
    for (int i = 0; i < CG_LEN(hostile); i++) {
        put_npy(hostile[i].header, hostile[i].values, hostile[i].n);
        cg_array *a = cg_npy_load(path);
        ck_assert_msg(!a, "row %d was loaded", i);
        ck_assert_msg(strstr(cg_last_error()->text, hostile[i].says) && strstr(cg_last_error()->text, path), "row %d: %s", i, cg_last_error()->text);
    }
}
END_TEST

START_TEST(npy_refuses_cut_files_at_every_length)
{
    const float v[2] = { 1, 2 };
    cg_array *a = cg_array_new(CG_F32, CG_SHAPE(2), v), *b = NULL;
    char whole[200];
    ck_assert_int_eq(cg_npy_save(path, a), CG_OK);
    FILE *f = fopen(path, "rb");
    const size_t n = fread(whole, 1, sizeof whole, f);
    fclose(f);
    ck_assert_uint_eq(n, 128 + 8);
    for (size_t k = 0; k < n; k++) {
        put(whole, k);
        ck_assert_ptr_null(b = cg_npy_load(path));
    }
    cg_array_free(a);
}
END_TEST

START_TEST(npy_refuses_a_long_header)
{
    char *bytes = calloc(1, 20000);
    memcpy(bytes, "\x93NUMPY\2\0\x11\x27\0\0", 12);          /* 10001 */
    memset(bytes + 12, ' ', 10001);
    put(bytes, 12 + 10001);
    ck_assert_ptr_null(cg_npy_load(path));
    ck_assert_ptr_nonnull(strstr(cg_last_error()->text, "10000 bytes"));
    memcpy(bytes, "\x93NUMPY\4\0", 8);
    put(bytes, 20000);
    ck_assert_ptr_null(cg_npy_load(path));
    ck_assert_ptr_nonnull(strstr(cg_last_error()->text, "not an NPY file of version"));
    free(bytes);
    ck_assert_ptr_null(cg_npy_load(dir));
    ck_assert_ptr_null(cg_npy_load(NULL));
    ck_assert_ptr_null(cg_npy_load("/tmp/no/such/file"));
    ck_assert_ptr_nonnull(strstr(cg_last_error()->text, "No such file"));
}
END_TEST

static const struct { const char *header; const char *values; size_t n; cg_dtype dtype; int rank; int64_t shape[2]; double want[6]; } good[] = {
    { DICT("'<i2'", "False", "(2, 3)"), "\1\0\2\0\3\0\4\0\5\0\6\0", 12, CG_I16, 2, { 2, 3 }, { 1, 2, 3, 4, 5, 6 } },
    { DICT("'>i2'", "False", "(2, 3)"), "\0\1\0\2\0\3\0\4\0\5\0\6", 12, CG_I16, 2, { 2, 3 }, { 1, 2, 3, 4, 5, 6 } },
    { DICT("'<i2'", "True", "(2, 3)"), "\1\0\4\0\2\0\5\0\3\0\6\0", 12, CG_I16, 2, { 2, 3 }, { 1, 2, 3, 4, 5, 6 } },
    { DICT("'>i2'", "True", "(2, 3)"), "\0\1\0\4\0\2\0\5\0\3\0\6", 12, CG_I16, 2, { 2, 3 }, { 1, 2, 3, 4, 5, 6 } },
    { DICT("'>f4'", "False", "()"), "\x3f\x80\0\0", 4, CG_F32, 0, { 0 }, { 1 } },
    { DICT("'|b1'", "True", "(2,)"), "\0\7", 2, CG_BOOL, 1, { 2 }, { 0, 1 } },
    { DICT("'<V2'", "False", "(1,)"), "\x80\x3f", 2, CG_BF16, 1, { 1 }, { 1 } },
    { DICT("'<f8'", "True", "(0, 3)"), "", 0, CG_F64, 2, { 0, 3 }, { 0 } },
    { "{\"shape\":(1,),\"descr\":\"|u1\",\"fortran_order\":False}", "\xff", 1, CG_U8, 1, { 1 }, { 255 } },
};

START_TEST(npy_reads_every_order)
{
    for (int i = 0; i < CG_LEN(good); i++) {
        put_npy(good[i].header, good[i].values, good[i].n);
        cg_array *a = cg_npy_load(path);
        ck_assert_msg(a != NULL, "row %d: %s", i, cg_last_error()->text);
        ck_assert_int_eq(cg_array_dtype(a), good[i].dtype);
        ck_assert_int_eq(cg_array_rank(a), good[i].rank);
        for (int k = 0; k < good[i].rank; k++)
            ck_assert_int_eq(cg_array_shape(a)[k], good[i].shape[k]);
        for (int64_t k = 0; k < cg_array_count(a); k++)
            ck_assert_double_eq(cg__load_f64((const char *)cg_array_data(a) + (size_t)k * cg_dtype_bytes(good[i].dtype), good[i].dtype), good[i].want[k]);
        cg_array_free(a);
    }
}
END_TEST

START_TEST(npy_round_trip_of_every_dtype_and_rank)
{
    const int64_t shape[CG_MAX_RANK] = { 2, 1, 3, 1, 2, 1, 1, 1 };
    char bytes[12 * 8];
    for (int d = 0; d < CG_DTYPE_COUNT; d++)
        for (int rank = 0; rank <= CG_MAX_RANK; rank++) {
            for (int i = 0; i < 12; i++)
                cg__store_f64(bytes + (size_t)i * cg_dtype_bytes((cg_dtype)d), (cg_dtype)d, i);
            cg_array *a = cg_array_new((cg_dtype)d, shape, rank, bytes);
            ck_assert_int_eq(cg_npy_save(path, a), CG_OK);
            struct stat s;
            ck_assert_int_eq(stat(path, &s), 0);
            const size_t n = (size_t)cg_array_count(a) * cg_dtype_bytes((cg_dtype)d);
            ck_assert_uint_eq(((size_t)s.st_size - n) % 64, 0);
            cg_array *b = cg_npy_load(path);
            ck_assert_msg(b != NULL, "%s rank %d: %s", cg_dtype_name((cg_dtype)d), rank, cg_last_error()->text);
            ck_assert_int_eq(cg_array_dtype(b), d);
            ck_assert_int_eq(cg_array_rank(b), rank);
            ck_assert_int_eq(memcmp(cg_array_data(a), cg_array_data(b), n), 0);
            cg_array_free(a);
            cg_array_free(b);
        }
}
END_TEST

static const struct { const char *bytes; size_t n; const char *says; } idx[] = {
    { "", 0, "cut within its header" },
    { "\0\0\x08", 3, "cut within its header" },
    { "\0\0\x0a\1\0\0\0\1x", 9, "not an IDX file" },
    { "\0\0\x08\x09", 4, "not an IDX file" },
    { "\1\0\x08\1\0\0\0\1x", 9, "not an IDX file" },
    { "\0\0\x08\2\0\0\0\1", 8, "cut within its header" },
    { "\0\0\x08\1\0\0\0\2x", 9, "fewer values" },
    { "\0\0\x08\1\0\0\0\1xy", 10, "more bytes" },
    { "\0\0\x0e\3\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16, "fewer values" },
    { "\0\0\x08\1\xff\xff\xff\xffx", 9, "fewer values" },
};

START_TEST(idx_refuses_hostile_files)
{
    for (int i = 0; i < CG_LEN(idx); i++) {
        put(idx[i].bytes, idx[i].n);
        ck_assert_ptr_null(cg_idx_load(path));
        ck_assert_msg(strstr(cg_last_error()->text, idx[i].says) != NULL, "row %d: %s", i, cg_last_error()->text);
    }
}
END_TEST

START_TEST(loaders_refuse_damaged_gzip)
{
    unsigned char bytes[200];
    gzFile z = gzopen(path, "wb");
    ck_assert_int_eq(gzwrite(z, "\0\0\x08\1\0\0\0\2xy", 10), 10);
    gzclose(z);
    cg_array *a = cg_idx_load(path);
    ck_assert_msg(a != NULL, "%s", cg_last_error()->text);
    cg_array_free(a);
    FILE *f = fopen(path, "rb");
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    for (size_t k = 0; k < n; k++) {
        put(bytes, k);
        ck_assert_msg(!cg_idx_load(path), "%zu bytes of %zu", k, n);
    }
    bytes[n - 8] ^= 1;                   /* the check sum */
    put(bytes, n);
    ck_assert_ptr_null(cg_idx_load(path));
}
END_TEST

/* ---- safetensors: the layout is checked by tests/safetensors; here, what is refused */

START_TEST(safetensors_refuses_names)
{
    cg_array *a = cg_array_new(CG_F32, CG_SHAPE(2), NULL), *b = cg_array_new(CG_I64, CG_SHAPE(), NULL), *null = NULL;
    const struct { const char *names[2]; cg_array *arrays[2]; const char *says; } rows[] = {
        { { "x", "x" }, { a, b }, "two arrays are named 'x'" },          /* of different widths: not neighbours in the file */
        { { "x", "x" }, { a, a }, "two arrays are named 'x'" },
        { { "x", "__metadata__" }, { a, b }, "cannot be the name" },
        { { "x", "\xff" }, { a, b }, "not UTF-8" },
        { { "x", NULL }, { a, b }, "is NULL" },
        { { "x", "y" }, { a, null }, "is NULL" },
    };
    unlink(path);
    for (int i = 0; i < CG_LEN(rows); i++) {
        ck_assert_int_lt(cg_safetensors_save(path, rows[i].names, rows[i].arrays, 2), 0);
        ck_assert_msg(strstr(cg_last_error()->text, rows[i].says) != NULL, "row %d: %s", i, cg_last_error()->text);
        ck_assert_int_ne(access(path, F_OK), 0);
    }
    cg_array_free(a);
    cg_array_free(b);
}
END_TEST

/* A file with this header and `bytes` bytes of data behind it. */
static void put_safetensors(const char *header, size_t bytes)
{
    char text[2000] = { 0 };
    const uint64_t n = strlen(header);
    memcpy(text, &n, sizeof n);
    memcpy(text + sizeof n, header, n);
    put(text, sizeof n + n + bytes);
}

#define X_AT(from, to) "\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" #from "," #to "]}"
#define Y_AT(from, to) "\"y\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[" #from "," #to "]}"

START_TEST(safetensors_refuses_hostile_files)
{
    const struct { const char *header; size_t bytes; const char *says; } rows[] = {
        { "{" Y_AT(0, 8) "," X_AT(8, 16) "}", 16, NULL },
        { "{" X_AT(0, 8) "," Y_AT(8, 16) ",\"__metadata__\":{\"a\":\"b\"}}   ", 16, NULL },
        { "{" X_AT(0, 8) "," Y_AT(8, 16) "}", 15, "has fewer values" },
        { "{" X_AT(0, 8) "," Y_AT(8, 16) "}", 17, "has more bytes" },
        { "{" X_AT(0, 8) "," Y_AT(9, 17) "}", 17, "overlap or leave a hole" },
        { "{" X_AT(0, 8) "," Y_AT(4, 12) "}", 12, "overlap or leave a hole" },
        { "{" X_AT(0, 8) "," X_AT(8, 16) "}", 16, "is not a safetensors file" },         /* x stands twice */
        { " {" X_AT(0, 8) "," Y_AT(8, 16) "}", 16, "is not a safetensors file" },
        { "[" X_AT(0, 8) "]", 8, "is not a safetensors file" },
        { "{" X_AT(0, 8) "}", 8, "has no array 'y'" },
        { "{" X_AT(0, 8) "," Y_AT(8, 16) ",\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[16,16]}}", 16, "has an array 'z', which is not wanted" },
        { "{\"x\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]}," Y_AT(16, 24) "}", 24, "has 'x' as f64[2], where f32[2] is wanted" },
        { "{\"x\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}," Y_AT(8, 16) "}", 16, "has 'x' as f32[1,2], where f32[2] is wanted" },
        { "{" X_AT(8, 0) "}", 8, "entry 'x' whose dtype, shape or offsets make no sense" },
        { "{" X_AT(-8, 0) "}", 8, "entry 'x'" },
        { "{" X_AT(0, 9) "}", 9, "entry 'x'" },
        { "{" X_AT(0.0, 8) "}", 8, "entry 'x'" },
        { "{\"x\":{\"dtype\":\"F9\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "entry 'x'" },
        { "{\"x\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "entry 'x'" },
        { "{\"x\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, "entry 'x'" },
        { "{\"x\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8, "entry 'x'" },
        { "{\"x\":3}", 0, "entry 'x'" },
    };
    const float x0[] = { 1, 2 };
    const int64_t y0 = 3;
    for (int i = 0; i < CG_LEN(rows); i++) {
        cg_array *x = cg_array_new(CG_F32, CG_SHAPE(2), x0), *y = cg_array_new(CG_I64, CG_SHAPE(), &y0);
        put_safetensors(rows[i].header, rows[i].bytes);
        const int rc = cg_safetensors_load(path, (const char *const[]){ "x", "y" }, (cg_array *const[]){ x, y }, 2);
        ck_assert_msg((rc == CG_OK) == !rows[i].says, "row %d gives %d: %s", i, rc, cg_last_error()->text);
        ck_assert_msg(!rows[i].says || strstr(cg_last_error()->text, rows[i].says), "row %d: %s", i, cg_last_error()->text);
        ck_assert_int_eq(memcmp(cg_array_data(x), rows[i].says ? x0 : (const float[]){ 0, 0 }, sizeof x0), 0);     /* on failure nothing changes */
        ck_assert_int_eq(*(const int64_t *)cg_array_data(y), rows[i].says ? 3 : 0);
        cg_array_free(x);
        cg_array_free(y);
    }
}
END_TEST

/* A file cut anywhere is refused; one with a byte changed anywhere is read or refused. */
START_TEST(safetensors_cut_or_mangled_do_no_harm)
{
    static const char header[] = "{" X_AT(0, 8) "," Y_AT(8, 16) "}", changes[] = "{}[]\":,0-9\xff";
    cg_array *x = cg_array_new(CG_F32, CG_SHAPE(2), NULL), *y = cg_array_new(CG_I64, CG_SHAPE(), NULL);
    const uint64_t n = sizeof header - 1;
    char whole[sizeof header + 24] = { 0 }, text[sizeof whole];
    const size_t bytes = 8 + n + 16;
    memcpy(whole, &n, 8);
    memcpy(whole + 8, header, n);
    for (size_t i = 0; i < bytes; i++) {
        put(whole, i);
        ck_assert_int_lt(cg_safetensors_load(path, (const char *const[]){ "x", "y" }, (cg_array *const[]){ x, y }, 2), 0);
    }
    for (size_t i = 0; i < 8 + n; i++)
        for (size_t k = 0; k < sizeof changes; k++) {
            memcpy(text, whole, bytes);
            text[i] = changes[k];
            put(text, bytes);
            if (cg_safetensors_load(path, (const char *const[]){ "x", "y" }, (cg_array *const[]){ x, y }, 2) < 0)
                ck_assert_int_ne(cg_last_error()->code, CG_OK);
        }
    cg_array_free(x);
    cg_array_free(y);
}
END_TEST

START_TEST(safetensors_round_trip_of_every_dtype)
{
    char bytes[48], names[CG_DTYPE_COUNT][4];
    const char *list[CG_DTYPE_COUNT];
    cg_array *from[CG_DTYPE_COUNT], *to[CG_DTYPE_COUNT];
    for (int i = 0; i < (int)sizeof bytes; i++)
        bytes[i] = (char)(i & 1);
    for (int d = 0; d < CG_DTYPE_COUNT; d++) {
        snprintf(names[d], sizeof names[d], "n%d", d);
        list[d] = names[d];
        from[d] = cg_array_new((cg_dtype)d, CG_SHAPE(2, 3), bytes);
        to[d] = cg_array_new((cg_dtype)d, CG_SHAPE(2, 3), NULL);
    }
    ck_assert_int_eq(cg_safetensors_save(path, list, from, CG_DTYPE_COUNT), CG_OK);
    ck_assert_int_eq(cg_safetensors_load(path, list, to, CG_DTYPE_COUNT), CG_OK);
    for (int d = 0; d < CG_DTYPE_COUNT; d++) {
        ck_assert_int_eq(memcmp(cg_array_data(to[d]), bytes, 6 * cg_dtype_bytes((cg_dtype)d)), 0);
        cg_array_free(from[d]);
        cg_array_free(to[d]);
    }
}
END_TEST

/* ---- writing: the old file stays whole when the new one fails */

START_TEST(writers_say_why_and_leave_the_old_file)
{
    cg_array *a = cg_array_new(CG_F32, CG_SHAPE(2), NULL);
    const struct { const char *path, *says; } rows[] = {
        { "/tmp/no/such/dir/file", "No such file" }, { "/dev/full", "No space left" }, { "/dev/null/x", "Not a directory" }, { NULL, "NULL" },
    };
    for (int i = 0; i < CG_LEN(rows); i++) {
        ck_assert_int_lt(cg_npy_save(rows[i].path, a), 0);
        ck_assert_msg(strstr(cg_last_error()->text, rows[i].says) != NULL, "row %d: %s", i, cg_last_error()->text);
    }
    ck_assert_int_eq(cg_npy_save("/dev/null", a), CG_OK);
    ck_assert_int_lt(cg_text_save("/tmp/no/such/dir/file", "text"), 0);
    ck_assert_int_lt(cg_text_save(path, NULL), 0);
    ck_assert_int_eq(cg_text_save("/dev/null", "text"), CG_OK);
    ck_assert_int_lt(cg_npy_save(path, NULL), 0);
    struct stat s;
    ck_assert(stat("/dev/full", &s) == 0 && S_ISCHR(s.st_mode));
    cg_array_free(a);
}
END_TEST

START_TEST(writers_follow_links)
{
    char link[80];
    cg_array *a = cg_array_new(CG_F32, CG_SHAPE(2), NULL);
    struct stat s;
    put("old", 3);
    snprintf(link, sizeof link, "%s.link", path);
    ck_assert_int_eq(symlink(path, link), 0);
    ck_assert_int_eq(cg_npy_save(link, a), CG_OK);
    ck_assert(lstat(link, &s) == 0 && S_ISLNK(s.st_mode));
    cg_array *b = cg_npy_load(path);
    ck_assert_ptr_nonnull(b);
    unlink(link);
    cg_array_free(a);
    cg_array_free(b);
}
END_TEST

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof path, "%s/file", dir);
    const int failed = RUN_TESTS("io", npy_refuses_hostile_headers, npy_refuses_cut_files_at_every_length, npy_refuses_a_long_header, npy_reads_every_order,
                                 npy_round_trip_of_every_dtype_and_rank, idx_refuses_hostile_files, loaders_refuse_damaged_gzip, safetensors_refuses_names,
                                 safetensors_refuses_hostile_files, safetensors_cut_or_mangled_do_no_harm, safetensors_round_trip_of_every_dtype,
                                 writers_say_why_and_leave_the_old_file, writers_follow_links);
    unlink(path);
    return rmdir(dir) != 0 || failed;
}
