// SPDX-License-Identifier: MIT
/* IDX files, as MNIST's: 0 0 type rank, big-endian u32 sizes, big-endian values; plain or gzip-compressed.
 * Sizes are believed only as far as the bytes that follow. */
#include <zlib.h>
#include "core/base/base.h"

enum { LIMIT = 1 << 30 };

static const struct { int code; cg_dtype dtype; } types[] = {
    { 0x08, CG_U8 }, { 0x09, CG_I8 }, { 0x0b, CG_I16 }, { 0x0c, CG_I32 }, { 0x0d, CG_F32 }, { 0x0e, CG_F64 },
};

static cg_array *fail(const char *path, cg_status code, const char *why)
{
    cg_error err = { 0 };
    cg__fail(&err, code, "cg_idx_load: %s: %s", path ? path : "(no path)", why);
    cg__set_last(&err);
    return NULL;
}

static bool dtype_of(int code, cg_dtype *out)
{
    for (int i = 0; i < CG_LEN(types); i++)
        if (types[i].code == code)
            return *out = types[i].dtype, true;
    return false;
}

static void to_little_endian(unsigned char *p, size_t bytes, size_t item)
{
    for (size_t i = 0; item > 1 && i < bytes; i += item)
        for (size_t k = 0; k < item / 2; k++) {
            const unsigned char t = p[i + k];
            p[i + k] = p[i + item - 1 - k];
            p[i + item - 1 - k] = t;
        }
}

/* Reads in pieces, so that a lying header costs no more memory than the file has bytes. */
static bool read_all(gzFile f, unsigned char **data, size_t want)
{
    size_t have = 0, cap = 0;
    while (have < want) {
        const size_t next = want - have < 1 << 20 ? want - have : 1 << 20;
        if (have + next > cap) {
            cap = cap * 2 > have + next ? cap * 2 : have + next;
            unsigned char *p = cg__realloc(*data, cap);
            if (!p)
                return false;
            *data = p;
        }
        const int got = gzread(f, *data + have, (unsigned)next);
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return true;
}

static cg_array *load(gzFile f, const char *path)
{
    unsigned char head[4], size[4], *data = NULL, extra;
    int64_t shape[CG_MAX_RANK];
    cg_dtype d;
    if (gzread(f, head, 4) != 4 || head[0] || head[1] || !dtype_of(head[2], &d) || head[3] > CG_MAX_RANK)
        return fail(path, CG_EFORMAT, "is not an IDX file");
    size_t bytes = cg__dtypes[d].bytes;
    for (int i = 0; i < head[3]; i++) {
        if (gzread(f, size, 4) != 4)
            return fail(path, CG_EFORMAT, "is cut within its header");
        shape[i] = (int64_t)size[0] << 24 | (int64_t)size[1] << 16 | (int64_t)size[2] << 8 | (int64_t)size[3];
        if (!cg__mul_size(bytes, (size_t)shape[i], &bytes) || bytes > LIMIT)
            return fail(path, CG_EFORMAT, "claims more than 1 GiB of values");
    }
    cg_array *a = NULL;
    if (!read_all(f, &data, bytes))
        fail(path, CG_EFORMAT, "has fewer values than its header says");
    else if (gzread(f, &extra, 1) != 0)
        fail(path, CG_EFORMAT, "has more bytes than its header says");
    else {
        to_little_endian(data, bytes, cg__dtypes[d].bytes);
        a = cg_array_new(d, shape, head[3], data);
    }
    cg__free(data);
    return a;
}

CG_API cg_array *cg_idx_load(const char *path)
{
    gzFile f = path ? gzopen(path, "rb") : NULL;
    if (!f)
        return fail(path, CG_EIO, "cannot be opened");
    cg_array *a = load(f, path);
    gzclose(f);
    return a;
}
