// SPDX-License-Identifier: MIT
/* Where the data sets are that come with libcg. A prefix may be moved or staged (DESTDIR), so an installed library looks beside itself;
 * one that was built and not installed takes the sources it was built from. meson.build gives CG_DATA_FROM_LIB and CG_DATA_SOURCE. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "core/cg.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char dir[4096];

static void find(void)
{
    Dl_info me;
    const char *slash = dladdr((void *)&once, &me) && me.dli_fname ? strrchr(me.dli_fname, '/') : NULL;
    const int n = slash ? snprintf(dir, sizeof dir, "%.*s/%s", (int)(slash - me.dli_fname), me.dli_fname, CG_DATA_FROM_LIB) : -1;
    if (n < 0 || n >= (int)sizeof dir || access(dir, R_OK) != 0)
        snprintf(dir, sizeof dir, "%s", CG_DATA_SOURCE);
}

CG_API const char *cg_data_dir(void)
{
    pthread_once(&once, find);
    return dir;
}
