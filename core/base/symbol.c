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

/* clang writes no table from addresses to units: where that fails all units are asked. */
static const char *line_at(Dwarf_Addr addr, int *line)
{
    Dwfl_Line *quick = dwfl_getsrc(session, addr);
    Dwfl_Module *m = quick ? NULL : dwfl_addrmodule(session, addr);
    Dwarf_Addr bias;
    for (Dwarf_Die *unit = NULL; m && (unit = dwfl_module_nextcu(m, unit, &bias));) {
        Dwarf_Line *slow = dwarf_haspc(unit, addr - bias) > 0 ? dwarf_getsrc_die(unit, addr - bias) : NULL;
        if (slow)
            return dwarf_lineno(slow, line) == 0 ? dwarf_linesrc(slow, NULL, NULL) : NULL;
    }
    return quick ? dwfl_lineinfo(quick, NULL, line, NULL, NULL, NULL) : NULL;
}

static bool line_text(const void *addr, cg_strb *out)
{
    int line = 0;
    pthread_mutex_lock(&lock);
    const char *file = open_session() ? line_at((Dwarf_Addr)(uintptr_t)addr - 1, &line) : NULL;      /* the call, not what follows it */
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
