// SPDX-License-Identifier: MIT
/* The folder where PoCL keeps compiled kernels. It must be tried before PoCL is asked for devices: PoCL ends the process when the path is
 * empty or too long or the disk is full, and says nothing of the folder when it cannot be made or written. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "backends/opencl/opencl.h"

enum { LEAST_SPACE = 16 << 20 };         /* bytes; a kernel takes some hundred thousand while it is built */

/* As PoCL does: it reads the environment by getenv. */
void cg__cl_cache(cg_cl_cache *c)
{
    const struct { const char *variable, *below; bool may_be_empty; } places[] = {
        { "POCL_CACHE_DIR", "", true }, { "XDG_CACHE_HOME", "/pocl/kcache", false }, { "HOME", "/.cache/pocl/kcache", true },
    };
    c->variable = NULL;
    int n = snprintf(c->path, sizeof c->path, "/tmp/pocl/kcache");
    for (int i = 0; i < CG_LEN(places) && !c->variable; i++) {
        const char *value = getenv(places[i].variable);
        if (!value || (!*value && !places[i].may_be_empty))
            continue;
        c->variable = places[i].variable;
        n = snprintf(c->path, sizeof c->path, "%s%s", value, places[i].below);
    }
    c->cut = n >= (int)sizeof c->path;
}

/* Keeps errno. One that is there may yet fail to be made for another reason than that: on a read-only file system. */
static bool is_folder(const char *path)
{
    struct stat s;
    const int before = errno;
    const bool yes = stat(path, &s) == 0 && S_ISDIR(s.st_mode);
    errno = before == EEXIST ? ENOTDIR : before;
    return yes;
}

/* The path and all above it; false: errno. */
static bool make_all(const char *path)
{
    char part[CG_CL_CACHE_PATH];
    for (size_t n = 1; n <= strlen(path); n++) {
        if (path[n] && path[n] != '/')
            continue;
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        if (mkdir(part, 0700) < 0 && !is_folder(part))
            return false;
    }
    return true;
}

static bool can_write(const char *path)
{
    char name[CG_CL_CACHE_PATH + 16];
    snprintf(name, sizeof name, "%s/cg_try_XXXXXX", path);
    const int f = mkstemp(name);
    if (f < 0)
        return false;
    close(f);
    unlink(name);
    return true;
}

int cg__cl_cache_try(const cg_cl_cache *c, cg_error *err)
{
    struct statvfs s;
    char text[CG_BYTES_TEXT], left[64];
    const char *why = NULL;
    if (!*c->path)
        why = "an empty name";
    else if (c->cut)
        why = "the name is too long for PoCL";
    else if (!make_all(c->path) || !can_write(c->path))
        why = strerror(errno);
    else if (statvfs(c->path, &s) == 0 && (double)s.f_bavail * (double)s.f_frsize < LEAST_SPACE) {
        snprintf(left, sizeof left, "only %s are free there", cg__bytes_text((size_t)s.f_bavail * s.f_frsize, text));
        why = left;
    }
    return why ? cg__fail(err, CG_EDEVICE, "PoCL cannot be used, since it cannot keep kernels in '%s' (%s): %s; set POCL_CACHE_DIR to a directory that can be written",
                          c->path, c->variable ? c->variable : "the default", why) : CG_OK;
}
