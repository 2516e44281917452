// SPDX-License-Identifier: MIT
/* What loaders and writers share. A reader takes plain and gzip-compressed files alike and never gives more memory to a
 * file than its bytes can fill; a writer leaves the old file or the new one, whole.
 *
 *     cg_reader r;
 *     cg_array *a = cg__reader_open(&r, "cg_idx_load", path) ? load(&r) : NULL;
 *     return cg__reader_close(&r, a);
 */
#ifndef CG_FILE_H
#define CG_FILE_H

#include <zlib.h>
#include "core/base/base.h"

typedef struct cg_reader {
    gzFile file;
    const char *who, *path;
    uint64_t most;               /* bytes that can come out of the file; UINT64_MAX for a pipe */
    cg_error err;
} cg_reader;

bool cg__reader_open(cg_reader *r, const char *who, const char *path);
/* Keeps the first sentence "WHO: PATH WHY"; returns false. */
bool cg__reader_fail(cg_reader *r, cg_status code, const char *why);
bool cg__reader_get(cg_reader *r, void *to, size_t n);           /* a piece of the header */
/* The rest of the file, which must be exactly `bytes`; the caller frees. NULL: fails. */
void *cg__reader_values(cg_reader *r, size_t bytes);
/* Closes; returns a, or NULL with the sentence as the thread's last error. */
cg_array *cg__reader_close(cg_reader *r, cg_array *a);

void cg__swap_bytes(void *p, size_t bytes, size_t item);         /* the other byte order */

/* Writes what `fill` writes; fill returns false when a write failed. Devices and pipes are written in place. */
int cg__write_file(const char *who, const char *path, bool (*fill)(FILE *f, const void *user), const void *user, cg_error *err);

#endif
