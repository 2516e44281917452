// SPDX-License-Identifier: MIT
/* safetensors: u64 header length, JSON header, data; tensors by dtype width descending, then name, without gaps.
 * The writer pads the header with spaces so that the data starts at a multiple of 64. The reader takes any order and alignment, but nothing
 * that readers understand differently: names that stand twice, holes, overlaps, sizes that are not those of dtype and shape. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include "core/io/file.h"

enum { ALIGN = 64, MAX_HEADER = 100000000 };

/* ---- writing */

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

/* ---- reading */

/* One tensor of a file; its values are at [from, to) of the data. */
typedef struct tensor { const char *name; cg_dtype dtype; int rank; int64_t shape[CG_MAX_RANK]; size_t from, to; } tensor;
typedef struct tensors { tensor *at; int n; } tensors;

static bool read_dtype(const json_t *e, cg_dtype *out)
{
    const char *name = json_string_value(json_object_get(e, "dtype"));
    for (int d = 0; name && d < CG_DTYPE_COUNT; d++)
        if (strcmp(cg__dtypes[d].safetensors, name) == 0)
            return *out = (cg_dtype)d, true;
    return false;
}

static bool read_size(const json_t *j, size_t *out)
{
    *out = (size_t)json_integer_value(j);
    return json_is_integer(j) && json_integer_value(j) >= 0;
}

static bool read_tensor(tensor *t, const json_t *e)
{
    const json_t *shape = json_object_get(e, "shape"), *offsets = json_object_get(e, "data_offsets");
    size_t bytes, size;
    t->rank = (int)json_array_size(shape);
    if (!read_dtype(e, &t->dtype) || !json_is_array(shape) || json_array_size(shape) > CG_MAX_RANK || json_array_size(offsets) != 2)
        return false;
    bytes = cg_dtype_bytes(t->dtype);
    for (int i = 0; i < t->rank; i++) {
        if (!read_size(json_array_get(shape, (size_t)i), &size) || !cg__mul_size(bytes, size, &bytes))
            return false;
        t->shape[i] = (int64_t)size;
    }
    return read_size(json_array_get(offsets, 0), &t->from) && read_size(json_array_get(offsets, 1), &t->to) && t->to >= t->from && t->to - t->from == bytes;
}

static int by_place(const void *a, const void *b)
{
    const tensor *x = a, *y = b;
    return x->from != y->from ? (x->from < y->from ? -1 : 1) : x->to != y->to ? (x->to < y->to ? -1 : 1) : 0;
}

/* The tensors by place, which tile the data. */
static bool list_tensors(cg_reader *r, json_t *head, tensors *all)
{
    const char *name;
    json_t *e;
    size_t at = 0;
    json_object_foreach(head, name, e) {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        all->at[all->n].name = name;
        if (!read_tensor(&all->at[all->n++], e)) {
            cg__fail(&r->err, CG_EFORMAT, "%s: %s has an entry '%.200s' whose dtype, shape or offsets make no sense here", r->who, r->path, name);
            return false;
        }
    }
    if (all->n)
        qsort(all->at, (size_t)all->n, sizeof *all->at, by_place);
    for (int i = 0; i < all->n; at = all->at[i++].to)
        if (all->at[i].from != at)
            return cg__reader_fail(r, CG_EFORMAT, "has arrays that overlap or leave a hole");
    return true;
}

/* NULL: the reader has the sentence. */
static json_t *read_head(cg_reader *r)
{
    uint64_t n;
    json_t *head = NULL;
    if (!cg__reader_get(r, &n, sizeof n))
        return NULL;
    const bool plausible = n >= 2 && n <= MAX_HEADER && n <= r->most;
    char *text = plausible ? cg__zalloc((size_t)n) : NULL;
    if (plausible && !text)
        cg__reader_fail(r, CG_ENOMEM, "has a header for which there is no memory");
    if (text && cg__reader_get(r, text, (size_t)n) && *text == '{')
        head = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
    cg__free(text);
    if (!head)
        cg__reader_fail(r, CG_EFORMAT, "is not a safetensors file");
    return head;
}

static void type_text(char to[200], cg_dtype d, const int64_t *shape, int rank)
{
    int n = snprintf(to, 200, "%s[", cg_dtype_name(d));
    for (int i = 0; i < rank; i++)
        n += snprintf(to + n, 200 - (size_t)n, "%s%" PRId64, i ? "," : "", shape[i]);
    snprintf(to + n, 200 - (size_t)n, "]");
}

static const tensor *find_tensor(const tensors *all, const char *name)
{
    for (int i = 0; name && i < all->n; i++)
        if (strcmp(all->at[i].name, name) == 0)
            return &all->at[i];
    return NULL;
}

/* Each array has its tensor, and each tensor its array. */
static int match(const cg_reader *r, const tensors *all, const char *const *names, cg_array *const *arrays, int n, cg_error *err)
{
    char there[200], here[200];
    for (int i = 0; i < n; i++) {
        const tensor *t = find_tensor(all, names[i]);
        if (!t)
            return cg__fail(err, CG_EINVAL, "%s: %s has no array '%.200s'", r->who, r->path, names[i] ? names[i] : "(NULL)");
        type_text(there, t->dtype, t->shape, t->rank);
        type_text(here, cg_array_dtype(arrays[i]), cg_array_shape(arrays[i]), cg_array_rank(arrays[i]));
        if (strcmp(there, here) != 0)
            return cg__fail(err, t->dtype != cg_array_dtype(arrays[i]) ? CG_EDTYPE : CG_ESHAPE, "%s: %s has '%.200s' as %s, where %s is wanted", r->who,
                            r->path, names[i], there, here);
    }
    for (int i = 0; i < all->n; i++) {
        int k = 0;
        while (k < n && strcmp(names[k], all->at[i].name) != 0)
            k++;
        if (k == n)
            return cg__fail(err, CG_EINVAL, "%s: %s has an array '%.200s', which is not wanted", r->who, r->path, all->at[i].name);
    }
    return CG_OK;
}

static int load(cg_reader *r, json_t *head, tensors *all, const char *const *names, cg_array *const *arrays, int n)
{
    if (!list_tensors(r, head, all) || match(r, all, names, arrays, n, &r->err) < 0)
        return (int)r->err.code;
    char *data = cg__reader_values(r, all->n ? all->at[all->n - 1].to : 0);
    int rc = data ? CG_OK : (int)r->err.code;
    for (int i = 0; i < n && rc == CG_OK; i++) {
        const tensor *t = find_tensor(all, names[i]);
        rc = cg_array_set(arrays[i], data + t->from, t->to - t->from);
    }
    cg__free(data);
    return rc;
}

CG_API int cg_safetensors_load(const char *path, const char *const *names, cg_array *const *arrays, int n)
{
    cg_reader r;
    tensors all = { 0 };
    json_t *head = cg__reader_open(&r, "cg_safetensors_load", path) ? read_head(&r) : NULL;
    int rc = (int)r.err.code;
    if (head && !(all.at = cg__zalloc((json_object_size(head) + 1) * sizeof *all.at)))
        rc = cg__fail(&r.err, CG_ENOMEM, "cg_safetensors_load: no memory");
    else if (head)
        rc = load(&r, head, &all, names, arrays, n);
    cg__free(all.at);
    json_decref(head);
    cg__reader_close(&r, NULL);
    return rc;
}
