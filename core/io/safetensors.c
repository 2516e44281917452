// SPDX-License-Identifier: MIT
/* Writing safetensors: u64 header length, JSON header, data; tensors by dtype width descending, then name, without gaps.
 * The header is padded with spaces so that the data starts at a multiple of 64. */
#include <jansson.h>
#include <stdlib.h>
#include "core/io/file.h"

enum { ALIGN = 64, MAX_HEADER = 100000000 };

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

/* Readers differ in what they make of a name that stands twice, so none may. */
static int add_entry(json_t *all, const entry *e, size_t from, cg_error *err)
{
    if (strcmp(e->name, "__metadata__") == 0)
        return cg__fail(err, CG_EINVAL, "cg_safetensors_save: '__metadata__' cannot be the name of an array");
    if (json_object_get(all, e->name))
        return cg__fail(err, CG_EINVAL, "cg_safetensors_save: two arrays are named '%.200s'", e->name);
    if (json_object_set_new(all, e->name, describe(e, from)) < 0)
        return cg__fail(err, CG_EINVAL, "cg_safetensors_save: the name of an array is not UTF-8, or there is no memory");
    return CG_OK;
}

static char *header(const entry *list, int n, cg_error *err)
{
    json_t *all = json_object();
    size_t at = 0;
    int rc = CG_OK;
    for (int i = 0; i < n && rc == CG_OK; at += list[i++].bytes)
        rc = add_entry(all, &list[i], at, err);
    char *text = rc == CG_OK ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    if (text && strlen(text) > MAX_HEADER) {
        free(text);
        text = NULL;
        cg__fail(err, CG_EINVAL, "cg_safetensors_save: the header would have more than 100000000 bytes");
    }
    if (!text)
        cg__fail(err, CG_ENOMEM, "cg_safetensors_save: no memory");
    return text;
}

typedef struct file { const entry *list; int n; const char *head; } file;

static bool fill(FILE *f, const void *user)
{
    const file *s = user;
    const uint64_t len = strlen(s->head), padded = ((len + 8 + ALIGN - 1) & ~(uint64_t)(ALIGN - 1)) - 8;
    bool ok = fwrite(&padded, 8, 1, f) == 1 && fprintf(f, "%-*s", (int)padded, s->head) == (int)padded;
    for (int i = 0; i < s->n && ok; i++)
        ok = !s->list[i].bytes || fwrite(s->list[i].data, s->list[i].bytes, 1, f) == 1;
    return ok;
}

static int describe_all(const char *const *names, cg_array *const *arrays, int n, entry *list, cg_error *err)
{
    for (int i = 0; i < n; i++) {
        const void *data = names[i] ? cg_array_data(arrays[i]) : NULL;
        if (!arrays[i] || !names[i])
            return cg__fail(err, CG_EINVAL, "cg_safetensors_save: array %d or its name is NULL", i);
        if (!data)
            return cg__fail(err, cg_last_error()->code, "cg_safetensors_save: '%.200s': %s", names[i], cg_last_error()->text);
        list[i] = (entry){ names[i], arrays[i], data, (size_t)cg_array_count(arrays[i]) * cg_dtype_bytes(cg_array_dtype(arrays[i])) };
    }
    if (n)
        qsort(list, (size_t)n, sizeof *list, order);
    return CG_OK;
}

CG_API int cg_safetensors_save(const char *path, const char *const *names, cg_array *const *arrays, int n)
{
    cg_error err = { 0 };
    entry *list = cg__zalloc((size_t)(n + 1) * sizeof *list);
    char *head = NULL;
    if (!list)
        cg__fail(&err, CG_ENOMEM, "cg_safetensors_save: no memory");
    else if (describe_all(names, arrays, n, list, &err) == CG_OK && (head = header(list, n, &err)))
        cg__write_file("cg_safetensors_save", path, fill, &(file){ list, n, head }, &err);
    free(head);
    cg__free(list);
    return err.code ? cg__set_last(&err) : CG_OK;
}
