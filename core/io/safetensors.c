// SPDX-License-Identifier: MIT
/* Writing safetensors: u64 header length, JSON header, data; tensors by dtype width descending, then name, without gaps.
 * The header is padded with spaces so that the data starts at a multiple of 64. The file is written beside its place,
 * synced and renamed, so the old file or the new one is there, never a mixture. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/base/base.h"

typedef struct entry { const char *name; cg_array *array; const void *data; size_t bytes; } entry;

static int order(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    const size_t wx = cg_dtype_bytes(cg_array_dtype(x->array)), wy = cg_dtype_bytes(cg_array_dtype(y->array));
    return wx != wy ? (wx > wy ? -1 : 1) : strcmp(x->name, y->name);
}

static json_t *describe(const entry *e, size_t from)
{
    json_t *shape = json_array();
    for (int i = 0; i < cg_array_rank(e->array); i++)
        json_array_append_new(shape, json_integer(cg_array_shape(e->array)[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", cg__dtypes[cg_array_dtype(e->array)].safetensors, "shape", shape, "data_offsets",
                     (json_int_t)from, (json_int_t)(from + e->bytes));
}

static char *header(const entry *list, int n)
{
    json_t *all = json_object();
    size_t at = 0;
    for (int i = 0; i < n && all; at += list[i++].bytes)
        json_object_set_new(all, list[i].name, describe(&list[i], at));
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return text;
}

static bool write_file(FILE *f, const entry *list, int n, const char *head)
{
    const uint64_t len = strlen(head), padded = ((len + 8 + 63) & ~(uint64_t)63) - 8;
    bool ok = fwrite(&padded, 8, 1, f) == 1 && fwrite(head, 1, len, f) == len;
    for (uint64_t i = len; i < padded && ok; i++)
        ok = fputc(' ', f) != EOF;
    for (int i = 0; i < n && ok; i++)
        ok = !list[i].bytes || fwrite(list[i].data, 1, list[i].bytes, f) == list[i].bytes;
    return ok && fflush(f) == 0 && fsync(fileno(f)) == 0;
}

static int save(const char *path, const entry *list, int n, cg_error *err)
{
    char *head = header(list, n), temp[4096];
    if (!head || snprintf(temp, sizeof temp, "%s.%ld.tmp", path, (long)getpid()) >= (int)sizeof temp) {
        free(head);
        return cg__fail(err, CG_ENOMEM, "cg_safetensors_save: %s: no memory, or the path is too long", path);
    }
    FILE *f = fopen(temp, "wb");
    bool ok = f && write_file(f, list, n, head);
    const int why = errno;
    ok = (!f || fclose(f) == 0) && ok && rename(temp, path) == 0;
    free(head);
    if (ok)
        return CG_OK;
    if (f)
        unlink(temp);
    return cg__fail(err, CG_EIO, "cg_safetensors_save: %s cannot be written: %s", path, strerror(why ? why : errno));
}

CG_API int cg_safetensors_save(const char *path, const char *const *names, cg_array *const *arrays, int n)
{
    cg_error err = { 0 };
    entry *list = cg__zalloc((size_t)(n + 1) * sizeof *list);
    int rc = list && path ? CG_OK : cg__fail(&err, CG_EINVAL, "cg_safetensors_save: no path, or no memory");
    for (int i = 0; i < n && rc == CG_OK; i++) {
        const void *data = cg_array_data(arrays[i]);
        if (!data)
            rc = cg__fail(&err, CG_EIO, "%s", cg_last_error()->text);
        else
            list[i] = (entry){ names[i], arrays[i], data, (size_t)cg_array_count(arrays[i]) * cg_dtype_bytes(cg_array_dtype(arrays[i])) };
    }
    if (rc == CG_OK && n)
        qsort(list, (size_t)n, sizeof *list, order);
    for (int i = 1; i < n && rc == CG_OK; i++)
        if (strcmp(list[i].name, list[i - 1].name) == 0)
            rc = cg__fail(&err, CG_EINVAL, "cg_safetensors_save: two arrays are named '%s'", list[i].name);
    if (rc == CG_OK)
        rc = save(path, list, n, &err);
    cg__free(list);
    return rc < 0 ? cg__set_last(&err) : CG_OK;
}
