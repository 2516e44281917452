// SPDX-License-Identifier: MIT
/* NPY files: "\x93NUMPY", version, header length, a header of one Python dict, values.
 *
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *
 * The header is read by a grammar of its own, exactly these three keys, in any order; nothing is evaluated. It may have 10000
 * bytes, as in NumPy. What it may say of the values is the table of dtypes, in either byte order.
 */
#include <ctype.h>
#include <stdlib.h>
#include "core/io/file.h"

enum { MAX_HEADER = 10000, ALIGN = 64 };

typedef struct header {
    const char *at, *refused;            /* refused: a sentence about values we do not load */
    cg_dtype dtype;
    bool swapped, columns;               /* columns: the first axis varies fastest */
    int rank;
    int64_t shape[CG_MAX_RANK];
    unsigned seen;                       /* a bit a key */
} header;

/* ---- words of the header */

static bool take(header *h, const char *word)
{
    while (*h->at == ' ')
        h->at++;
    if (strncmp(h->at, word, strlen(word)) != 0)
        return false;
    h->at += strlen(word);
    return true;
}

/* 'text' or "text", without escapes. */
static bool quoted(header *h, char *to, size_t room)
{
    while (*h->at == ' ')
        h->at++;
    const char quote = *h->at, *from = h->at + 1;
    const size_t n = quote == '\'' || quote == '"' ? strcspn(from, "'\"\\") : room;
    if (n >= room || from[n] != quote)
        return false;
    memcpy(to, from, n);
    to[n] = 0;
    h->at = from + n + 1;
    return true;
}

/* ---- values of the keys */

/* The table's words have their order in front ("<f4", "|u1"); two opaque bytes are bf16. */
static bool read_descr(header *h)
{
    char descr[32];
    if (take(h, "[")) {
        h->refused = "holds records (a structured dtype), which are not arrays of numbers";
        return false;
    }
    if (!quoted(h, descr, sizeof descr))
        return false;
    const char *type = descr + (strchr("<>=|", descr[0]) && descr[0] ? 1 : 0);
    if (*type == 'O')
        h->refused = "holds Python objects, which would have to be unpickled; they are refused";
    for (int i = 0; i < CG_DTYPE_COUNT && !h->refused; i++)
        if (strcmp(cg__dtypes[i].npy + 1, type) == 0) {
            h->dtype = (cg_dtype)i;
            h->swapped = descr[0] == '>';
            return true;
        }
    if (!h->refused)
        h->refused = "holds values of a dtype that libcg does not have";
    return false;
}

static bool read_order(header *h)
{
    h->columns = take(h, "True");
    return h->columns || take(h, "False");
}

static bool read_size(header *h, int64_t *size)
{
    *size = 0;
    while (*h->at == ' ')
        h->at++;
    if (!isdigit((unsigned char)*h->at) || h->rank == CG_MAX_RANK)
        return false;
    for (; isdigit((unsigned char)*h->at); h->at++)
        if (__builtin_mul_overflow(*size, 10, size) || __builtin_add_overflow(*size, *h->at - '0', size))
            return false;
    return true;
}

static bool read_shape(header *h)
{
    if (!take(h, "("))
        return false;
    while (!take(h, ")")) {
        if (!read_size(h, &h->shape[h->rank < CG_MAX_RANK ? h->rank : 0]))
            return false;
        h->rank++;
        const bool comma = take(h, ",");
        if (!comma && (h->rank == 1 || !take(h, ")")))     /* (3) is a number, (3,) a tuple */
            return false;
        if (!comma)
            return true;
    }
    return true;
}

static const struct { const char *name; bool (*read)(header *); } keys[] = {
    { "descr", read_descr }, { "fortran_order", read_order }, { "shape", read_shape },
};

static bool read_key(header *h)
{
    char name[32];
    if (!quoted(h, name, sizeof name) || !take(h, ":"))
        return false;
    for (int i = 0; i < CG_LEN(keys); i++)
        if (strcmp(keys[i].name, name) == 0 && !(h->seen & 1u << i)) {
            h->seen |= 1u << i;
            return keys[i].read(h);
        }
    return false;
}

static bool read_dict(header *h)
{
    if (!take(h, "{"))
        return false;
    while (!take(h, "}")) {
        if (!read_key(h))
            return false;
        if (!take(h, ",")) {
            if (!take(h, "}"))
                return false;
            break;
        }
    }
    while (*h->at == ' ' || *h->at == '\n')
        h->at++;
    return !*h->at && h->seen == (1u << CG_LEN(keys)) - 1;
}

/* ---- the file */

static bool read_header(cg_reader *r, header *h, char text[MAX_HEADER + 1])
{
    unsigned char head[8], size[4] = { 0 };
    if (!cg__reader_get(r, head, 8))
        return false;
    if (memcmp(head, "\x93NUMPY", 6) != 0 || head[6] < 1 || head[6] > 3 || head[7])
        return cg__reader_fail(r, CG_EFORMAT, "is not an NPY file of version 1.0, 2.0 or 3.0");
    if (!cg__reader_get(r, size, head[6] == 1 ? 2 : 4))
        return false;
    const uint32_t n = (uint32_t)size[0] | (uint32_t)size[1] << 8 | (uint32_t)size[2] << 16 | (uint32_t)size[3] << 24;
    if (n > MAX_HEADER)
        return cg__reader_fail(r, CG_EFORMAT, "has a header of more than 10000 bytes");
    if (!cg__reader_get(r, text, n))
        return false;
    text[n] = 0;
    *h = (header){ .at = text };
    if (strlen(text) == n && read_dict(h))
        return true;
    return h->refused ? cg__reader_fail(r, CG_EUNSUPPORTED, h->refused)
                      : cg__reader_fail(r, CG_EFORMAT, "has a header that is not {'descr': ..., 'fortran_order': ..., 'shape': (...)}");
}

/* Values whose first axis varies fastest, in row-major order: an odometer over the result, a stride per axis in the source. */
static void rows_first(char *to, const char *from, const header *h, size_t count)
{
    const size_t item = cg__dtypes[h->dtype].bytes;
    size_t stride[CG_MAX_RANK], at[CG_MAX_RANK] = { 0 }, off = 0, step = item;
    for (int k = 0; k < h->rank; step *= (size_t)h->shape[k++])
        stride[k] = step;
    for (size_t i = 0; i < count; i++) {
        memcpy(to + i * item, from + off, item);
        for (int k = h->rank - 1; k >= 0; k--) {
            off += stride[k];
            if (++at[k] < (size_t)h->shape[k])
                break;
            off -= at[k] * stride[k];
            at[k] = 0;
        }
    }
}

static cg_array *make_array(cg_reader *r, const header *h, char *data, size_t bytes)
{
    const size_t item = cg__dtypes[h->dtype].bytes, count = bytes / item;
    if (h->swapped)
        cg__swap_bytes(data, bytes, item);
    for (size_t i = 0; h->dtype == CG_BOOL && i < count; i++)
        data[i] = data[i] != 0;
    if (!h->columns || h->rank < 2)
        return cg_array_new(h->dtype, h->shape, h->rank, data);
    char *rows = cg__realloc(NULL, bytes ? bytes : 1);
    if (!rows) {
        cg__reader_fail(r, CG_ENOMEM, "needs more memory than there is");
        return NULL;
    }
    rows_first(rows, data, h, count);
    cg_array *a = cg_array_new(h->dtype, h->shape, h->rank, rows);
    cg__free(rows);
    return a;
}

static cg_array *load(cg_reader *r)
{
    char text[MAX_HEADER + 1];
    header h;
    if (!read_header(r, &h, text))
        return NULL;
    size_t bytes = cg__dtypes[h.dtype].bytes;
    bool fits = true;
    for (int k = 0; k < h.rank; k++)
        fits = fits && cg__mul_size(bytes, (size_t)h.shape[k], &bytes);
    if (!fits) {
        cg__reader_fail(r, CG_EFORMAT, "has fewer values than its header says");
        return NULL;
    }
    char *data = cg__reader_values(r, bytes);
    cg_array *a = data ? make_array(r, &h, data, bytes) : NULL;
    cg__free(data);
    return a;
}

CG_API cg_array *cg_npy_load(const char *path)
{
    cg_reader r;
    cg_array *a = cg__reader_open(&r, "cg_npy_load", path) ? load(&r) : NULL;
    return cg__reader_close(&r, a);
}

/* ---- writing */

typedef struct values { cg_array *array; const void *data; size_t bytes; } values;

static bool fill(FILE *f, const void *user)
{
    const values *v = user;
    char text[512];
    const int rank = cg_array_rank(v->array);
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", cg__dtypes[cg_array_dtype(v->array)].npy);
    for (int k = 0; k < rank; k++)
        n += snprintf(text + n, sizeof text - (size_t)n, k ? ", %lld" : "%lld", (long long)cg_array_shape(v->array)[k]);
    n += snprintf(text + n, sizeof text - (size_t)n, rank == 1 ? ",), }" : "), }");
    const int padded = (10 + n + 1 + ALIGN - 1) / ALIGN * ALIGN - 10;
    const unsigned char head[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)padded, (unsigned char)(padded >> 8) };
    return fwrite(head, 1, 10, f) == 10 && fprintf(f, "%-*s\n", padded - 1, text) == padded && (!v->bytes || fwrite(v->data, v->bytes, 1, f) == 1);
}

CG_API int cg_npy_save(const char *path, cg_array *a)
{
    cg_error err = { 0 };
    values v = { .array = a, .data = cg_array_data(a), .bytes = (size_t)cg_array_count(a) * cg_dtype_bytes(cg_array_dtype(a)) };
    if (!a)
        cg__fail(&err, CG_EINVAL, "cg_npy_save: the array is NULL");
    else if (!v.data)
        cg__fail(&err, cg_last_error()->code, "cg_npy_save: %s", cg_last_error()->text);
    else
        cg__write_file("cg_npy_save", path, fill, &v, &err);
    return err.code ? cg__set_last(&err) : CG_OK;
}
