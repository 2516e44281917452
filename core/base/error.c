// SPDX-License-Identifier: MIT
/* Errors: the first sentence wins, the last failed call of a thread is kept for it. The log: a hook, or the file CG_LOG. */
#include <stdlib.h>
#include "core/base/base.h"

#define CG_ERROR_MAP(X)                                                                                                \
    X(CG_OK, "ok") X(CG_EINVAL, "invalid argument") X(CG_ESHAPE, "shapes do not fit") X(CG_EDTYPE, "dtypes do not fit")  \
    X(CG_ENOMEM, "out of memory") X(CG_EDEVICE, "device error") X(CG_EBUILD, "kernel build failed")                     \
    X(CG_EIO, "input/output error") X(CG_EFORMAT, "bad format") X(CG_EUNSUPPORTED, "not supported")                     \
    X(CG_ERUNTIME, "value out of range")

static _Thread_local cg_error last;
static void (*log_hook)(void *user, const char *text);
static void *log_user;

CG_API const cg_error *cg_last_error(void)
{
    return &last;
}

CG_API const char *cg_status_name(cg_status code)
{
    static const struct { cg_status code; const char *name; } names[] = {
#define ROW(code, text) { code, text },
        CG_ERROR_MAP(ROW)
#undef ROW
    };
    for (int i = 0; i < CG_LEN(names); i++)
        if (names[i].code == code)
            return names[i].name;
    return "unknown error";
}

int cg__fail_v(cg_error *err, cg_status code, const char *fmt, va_list ap)
{
    if (err && !err->code) {
        err->code = code;
        vsnprintf(err->text, sizeof err->text, fmt, ap);
    }
    return code;
}

int cg__fail(cg_error *err, cg_status code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cg__fail_v(err, code, fmt, ap);
    va_end(ap);
    return code;
}

void cg__error_copy(cg_error *to, const cg_error *from)
{
    to->code = from->code;
    memcpy(to->text, from->text, strlen(from->text) + 1);
}

void cg__fail_more(cg_error *err, const char *fmt, ...)
{
    const size_t n = strlen(err->text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text + n, sizeof err->text - n, fmt, ap);
    va_end(ap);
}

cg_error *cg__thread_error(void)
{
    return &last;
}

int cg__set_last(const cg_error *err)
{
    cg__error_copy(&last, err);
    return err->code;
}

char *cg__text_result(cg_strb *s, const char *who)
{
    char *text = cg__strb_take(s);
    if (!text) {
        cg_error err = { 0 };
        cg__fail(&err, CG_ENOMEM, "%s: no memory for the text", who);
        cg__set_last(&err);
    }
    return text;
}

CG_API void cg_set_log(void (*hook)(void *user, const char *text), void *user)
{
    log_hook = hook;
    log_user = user;
}

/* A file is opened for each line: there are few, and nothing is kept across forks or to the end of the process. */
static void log_to_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "ae");
    if (!f)
        return;
    fprintf(f, "%s\n", text);
    fclose(f);
}

void cg__log(const char *fmt, ...)
{
    char text[1000];
    const char *path = log_hook ? NULL : secure_getenv("CG_LOG");
    va_list ap;
    if (!log_hook && (!path || !*path))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (log_hook)
        log_hook(log_user, text);
    else
        log_to_file(path, text);
}

CG_API void cg_text_free(char *text)
{
    cg__free(text);
}
