// SPDX-License-Identifier: MIT
/* The string builder: sticky, so that sixty appends need one check. */
#include "core/base/base.h"

static bool room(cg_strb *s, size_t more)
{
    size_t need, cap = s->cap ? s->cap : 64;
    if (s->failed || !cg__add_size(s->n + 1, more, &need))
        return !(s->failed = true);
    while (cap < need && cap < SIZE_MAX / 2)
        cap *= 2;
    if (cap == s->cap)
        return true;
    char *p = cg__realloc(s->at, cap);
    if (!p)
        return !(s->failed = true);
    s->at = p;
    s->cap = cap;
    return true;
}

void cg__strb_add(cg_strb *s, const char *text, size_t n)
{
    if (!room(s, n))
        return;
    memcpy(s->at + s->n, text, n);
    s->at[s->n += n] = 0;
}

static void add_int(cg_strb *s, int64_t v)
{
    char digits[24];
    int at = sizeof digits;
    uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        digits[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (v < 0)
        digits[--at] = '-';
    cg__strb_add(s, digits + at, sizeof digits - (size_t)at);
}

/* Whether a format has nothing but %s, %d and %lld. */
static bool is_simple(const char *fmt)
{
    while ((fmt = strchr(fmt, '%'))) {
        fmt++;
        fmt += strncmp(fmt, "ll", 2) == 0 && fmt[2] == 'd' ? 2 : 0;
        if (*fmt != 's' && *fmt != 'd')
            return false;
    }
    return true;
}

static void add_simple(cg_strb *s, const char *fmt, va_list ap)
{
    for (const char *at; (at = strchr(fmt, '%')); fmt = at + 2) {
        cg__strb_add(s, fmt, (size_t)(at - fmt));
        if (at[1] == 's') {
            const char *text = va_arg(ap, const char *);
            cg__strb_add(s, text ? text : "(null)", text ? strlen(text) : 6);
        } else if (at[1] == 'd')
            add_int(s, va_arg(ap, int));
        else {
            add_int(s, va_arg(ap, long long));
            at += 2;
        }
    }
    cg__strb_add(s, fmt, strlen(fmt));
}

/* vsnprintf costs up to a microsecond where a library has registered conversions of its own (libquadmath does, behind OpenBLAS), and nearly all
 * text is words and whole numbers. */
void cg__strb(cg_strb *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (is_simple(fmt)) {
        add_simple(s, fmt, ap);
        va_end(ap);
        return;
    }
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !room(s, (size_t)n)) {
        s->failed = true;
        return;
    }
    va_start(ap, fmt);
    vsnprintf(s->at + s->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    s->n += (size_t)n;
}

void cg__strb_json(cg_strb *s, const char *text)
{
    cg__strb_add(s, "\"", 1);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            cg__strb(s, "\\%c", *text);
        else
            cg__strb_add(s, *text >= ' ' && *text <= '~' ? text : "?", 1);
    cg__strb_add(s, "\"", 1);
}

const char *cg__bytes_text(size_t bytes, char to[CG_BYTES_TEXT])
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double v = (double)bytes / 1024;
    int k = 0;
    for (; v >= 1024 && k < CG_LEN(units) - 1; k++)
        v /= 1024;
    if (bytes < 1024)
        snprintf(to, CG_BYTES_TEXT, "%zu bytes", bytes);
    else
        snprintf(to, CG_BYTES_TEXT, "%.1f %s", v, units[k]);
    return to;
}

char *cg__strb_take(cg_strb *s)
{
    if (!s->failed && !s->at)
        cg__strb_add(s, "", 0);
    char *text = s->failed ? NULL : s->at;
    if (s->failed)
        cg__free(s->at);
    *s = (cg_strb){ 0 };
    return text;
}

void cg__strb_free(cg_strb *s)
{
    cg__free(s->at);
    *s = (cg_strb){ 0 };
}
