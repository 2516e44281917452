// SPDX-License-Identifier: MIT
/* IDX files, as MNIST's: 0 0 type rank, big-endian u32 sizes, big-endian values; plain or gzip-compressed. */
#include "core/io/file.h"

static const struct { int code; cg_dtype dtype; } types[] = {
    { 0x08, CG_U8 }, { 0x09, CG_I8 }, { 0x0b, CG_I16 }, { 0x0c, CG_I32 }, { 0x0d, CG_F32 }, { 0x0e, CG_F64 },
};

static bool dtype_of(int code, cg_dtype *out)
{
    for (int i = 0; i < CG_LEN(types); i++)
        if (types[i].code == code)
            return *out = types[i].dtype, true;
    return false;
}

static cg_array *load(cg_reader *r)
{
    unsigned char head[4], size[4];
    int64_t shape[CG_MAX_RANK];
    cg_dtype d;
    if (!cg__reader_get(r, head, 4))
        return NULL;
    if (head[0] || head[1] || !dtype_of(head[2], &d) || head[3] > CG_MAX_RANK) {
        cg__reader_fail(r, CG_EFORMAT, "is not an IDX file");
        return NULL;
    }
    size_t bytes = cg__dtypes[d].bytes;
    for (int i = 0; i < head[3]; i++) {
        if (!cg__reader_get(r, size, 4))
            return NULL;
        shape[i] = (int64_t)size[0] << 24 | (int64_t)size[1] << 16 | (int64_t)size[2] << 8 | (int64_t)size[3];
        if (!cg__mul_size(bytes, (size_t)shape[i], &bytes)) {
            cg__reader_fail(r, CG_EFORMAT, "has fewer values than its header says");
            return NULL;
        }
    }
    char *data = cg__reader_values(r, bytes);
    if (!data)
        return NULL;
    cg__swap_bytes(data, bytes, cg__dtypes[d].bytes);
    cg_array *a = cg_array_new(d, shape, head[3], data);
    cg__free(data);
    return a;
}

CG_API cg_array *cg_idx_load(const char *path)
{
    cg_reader r;
    cg_array *a = cg__reader_open(&r, "cg_idx_load", path) ? load(&r) : NULL;
    return cg__reader_close(&r, a);
}
