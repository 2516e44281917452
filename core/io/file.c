// SPDX-License-Identifier: MIT
/* Reading within bounds, and replacing a file in one step. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/io/file.h"

enum { PIECE = 1 << 20, DEFLATE_RATIO = 1032 /* deflate cannot do better */ };

/* ---- reading */

bool cg__reader_fail(cg_reader *r, cg_status code, const char *why)
{
    cg__fail(&r->err, code, "%s: %s %s", r->who, r->path ? r->path : "(no path)", why);
    return false;
}

bool cg__reader_open(cg_reader *r, const char *who, const char *path)
{
    struct stat s;
    *r = (cg_reader){ .who = who, .path = path, .most = UINT64_MAX };
    const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &s) < 0 || S_ISDIR(s.st_mode) || !(r->file = gzdopen(fd, "rb"))) {
        char why[120];
        snprintf(why, sizeof why, "cannot be opened: %s", fd >= 0 ? "it is a directory, or memory is short" : path ? strerror(errno) : "it is NULL");
        if (fd >= 0)
            close(fd);
        return cg__reader_fail(r, CG_EIO, why);
    }
    if (S_ISREG(s.st_mode))
        r->most = gzdirect(r->file) ? (uint64_t)s.st_size : (uint64_t)s.st_size * DEFLATE_RATIO;
    return true;
}

bool cg__reader_get(cg_reader *r, void *to, size_t n)
{
    return gzread(r->file, to, (unsigned)n) == (int)n || cg__reader_fail(r, CG_EFORMAT, "is cut within its header");
}

/* Reads in pieces: a pipe's claims are not believed either. */
static char *read_pieces(cg_reader *r, size_t bytes)
{
    size_t have = 0, cap = bytes < PIECE ? bytes : PIECE;
    char *data = cg__realloc(NULL, cap ? cap : 1);
    while (data && have < bytes) {
        if (have == cap) {
            cap = bytes - cap < cap ? bytes : cap * 2;
            char *more = cg__realloc(data, cap);
            if (!more)
                break;
            data = more;
        }
        const int got = gzread(r->file, data + have, (unsigned)(cap - have < PIECE ? cap - have : PIECE));
        if (got <= 0) {
            cg__reader_fail(r, CG_EFORMAT, "has fewer values than its header says");
            break;
        }
        have += (size_t)got;
    }
    if (data && have == bytes)
        return data;
    cg__reader_fail(r, CG_ENOMEM, "needs more memory than there is");
    cg__free(data);
    return NULL;
}

void *cg__reader_values(cg_reader *r, size_t bytes)
{
    char extra;
    int state = Z_OK;
    if (bytes > r->most) {
        cg__reader_fail(r, CG_EFORMAT, "has fewer values than its header says");
        return NULL;
    }
    char *data = read_pieces(r, bytes);
    if (!data)
        return NULL;
    const int more = gzread(r->file, &extra, 1);
    gzerror(r->file, &state);            /* a gzip stream without its end is 0 bytes, and this */
    if (more == 0 && state == Z_OK)
        return data;
    cg__reader_fail(r, CG_EFORMAT, more > 0 ? "has more bytes than its header says" : "is damaged");
    cg__free(data);
    return NULL;
}

cg_array *cg__reader_close(cg_reader *r, cg_array *a)
{
    if (r->file)
        gzclose(r->file);
    if (!a && r->err.code)
        cg__set_last(&r->err);
    return a;
}

void cg__swap_bytes(void *data, size_t bytes, size_t item)
{
    char *p = data;
    for (size_t i = 0; item > 1 && i < bytes; i += item)
        for (size_t k = 0; k < item / 2; k++) {
            const char t = p[i + k];
            p[i + k] = p[i + item - 1 - k];
            p[i + item - 1 - k] = t;
        }
}

/* ---- writing */

/* A file of a new name beside `path`; its name goes to temp. */
static int open_beside(const char *path, char temp[PATH_MAX])
{
    int fd = -1;
    for (int i = 0; fd < 0 && i < 100; i++) {
        if (snprintf(temp, PATH_MAX, "%s.%ld-%d.tmp", path, (long)getpid(), i) >= PATH_MAX)
            return errno = ENAMETOOLONG, -1;
        fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            return -1;
    }
    return fd;
}

/* The new name is on disk only when its directory is. Some file systems cannot sync directories: no failure. */
static void sync_directory(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

/* Takes fd. false: errno says why. */
static bool fill_file(int fd, bool sync, bool (*fill)(FILE *f, const void *user), const void *user)
{
    FILE *f = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (!f) {
        const int why = errno;
        if (fd >= 0)
            close(fd);
        return errno = why, false;
    }
    errno = 0;
    const bool ok = fill(f, user) && fflush(f) == 0 && (!sync || fsync(fd) == 0);
    const int why = errno;
    const bool closed = fclose(f) == 0;
    if (!ok)
        errno = why ? why : EIO;
    return ok && closed;
}

static bool replace(const char *path, bool (*fill)(FILE *f, const void *user), const void *user)
{
    char target[PATH_MAX], temp[PATH_MAX];
    if (!realpath(path, target) && snprintf(target, sizeof target, "%s", path) >= PATH_MAX)
        return errno = ENAMETOOLONG, false;
    const int fd = open_beside(target, temp);
    if (fd < 0)
        return false;
    if (!fill_file(fd, true, fill, user) || rename(temp, target) < 0) {
        const int why = errno;
        unlink(temp);
        return errno = why, false;
    }
    sync_directory(target);
    return true;
}

int cg__write_file(const char *who, const char *path, bool (*fill)(FILE *f, const void *user), const void *user, cg_error *err)
{
    struct stat s;
    if (!path)
        return cg__fail(err, CG_EINVAL, "%s: the path is NULL", who);
    const bool special = stat(path, &s) == 0 && !S_ISREG(s.st_mode);
    const bool ok = special ? fill_file(open(path, O_WRONLY | O_CLOEXEC), false, fill, user) : replace(path, fill, user);
    return ok ? CG_OK : cg__fail(err, CG_EIO, "%s: %s cannot be written: %s", who, path, strerror(errno));
}

static bool fill_text(FILE *f, const void *user) { return fputs(user, f) >= 0; }

CG_API int cg_text_save(const char *path, const char *text)
{
    cg_error err = { 0 };
    if (!text)
        cg__fail(&err, CG_EINVAL, "cg_text_save: the text is NULL");
    return err.code || cg__write_file("cg_text_save", path, fill_text, text, &err) < 0 ? cg__set_last(&err) : CG_OK;
}
