// SPDX-License-Identifier: MIT
/* An address of code as a person reads it: "net.c:41" by the debug information (with libdw), else "main+0x1f" or
 * "a.out+0x1389" by the loader, which addr2line understands.
 *
 * The look into the debug information is costly at first, so it is done only when a message is shown; what was read is kept
 * until cg_shutdown.
 */
#include <dlfcn.h>
#include "core/base/base.h"

static const char *file_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

#ifdef CG_HAVE_LIBDW
#include <elfutils/libdwfl.h>
#include <pthread.h>
#include <unistd.h>

static Dwfl *session;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool open_session(void)
{
    static const Dwfl_Callbacks how = { .find_elf = dwfl_linux_proc_find_elf, .find_debuginfo = dwfl_standard_find_debuginfo };
    if (session)
        return true;
    session = dwfl_begin(&how);
    return session && dwfl_linux_proc_report(session, getpid()) == 0 && dwfl_report_end(session, NULL, NULL) == 0;
}

static bool line_text(const void *addr, cg_strb *out)
{
    const Dwarf_Addr before = (Dwarf_Addr)(uintptr_t)addr - 1;       /* the call, not what follows it */
    int line = 0;
    pthread_mutex_lock(&lock);
    Dwfl_Line *at = open_session() ? dwfl_getsrc(session, before) : NULL;
    const char *file = at ? dwfl_lineinfo(at, NULL, &line, NULL, NULL, NULL) : NULL;
    if (file)
        cg__strb(out, "%s:%d", file_of(file), line);
    pthread_mutex_unlock(&lock);
    return file != NULL;
}

void cg__symbol_close(void)
{
    pthread_mutex_lock(&lock);
    if (session)
        dwfl_end(session);
    session = NULL;
    pthread_mutex_unlock(&lock);
}
#else
static bool line_text(const void *addr, cg_strb *out)
{
    (void)addr, (void)out;
    return false;
}

void cg__symbol_close(void)
{
}
#endif

void cg__symbol_text(const void *addr, cg_strb *out)
{
    Dl_info in;
    if (line_text(addr, out))
        return;
    if (!dladdr(addr, &in) || !in.dli_fname)
        cg__strb(out, "%p", addr);
    else
        cg__strb(out, "%s+0x%zx", in.dli_sname ? in.dli_sname : file_of(in.dli_fname),
                 (size_t)((const char *)addr - (const char *)(in.dli_sname ? in.dli_saddr : in.dli_fbase)));
}
