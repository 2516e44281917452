// SPDX-License-Identifier: MIT
/* Drawing the bar: an eighth of a character is a step where the locale is UTF-8, a tenth by digits elsewhere. */
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/progress.h"

#define ERASE "\r\033[K"

static const char *const eighths[] = { " ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" };
static const char *const tenths[] = { " ", "1", "2", "3", "4", "5", "6", "7", "8", "9", "#" };

void progress_start(progress *p, long total, long first)
{
    const char *term = getenv("TERM");
    setlocale(LC_CTYPE, "");
    *p = (progress){ .terminal = isatty(2) && term && strcmp(term, "dumb") != 0, .blocks = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
                     .total = total, .first = first, .start = seconds() };
}

static int columns(void)
{
    struct winsize w;
    return ioctl(2, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
}

static const char *clock_text(double s, char text[32])
{
    const long t = s < 0 || s > 359999 ? 0 : (long)s;
    if (t >= 3600)
        snprintf(text, 32, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
    else
        snprintf(text, 32, "%02ld:%02ld", t / 60, t % 60);
    return text;
}

static void draw_bar(const progress *p, double part, int width)
{
    const char *const *steps = p->blocks ? eighths : tenths;
    const int per = p->blocks ? 8 : 10, filled = (int)(part * width * per);
    for (int i = 0; i < width; i++) {
        const int here = filled - i * per;
        fputs(steps[here < 0 ? 0 : here > per ? per : here], stderr);
    }
}

void progress_step(progress *p, long done, const char *label, double loss)
{
    const double now = seconds(), spent = now - p->start, rate = spent > 0 ? (double)(done - p->first) / spent : 0;
    char head[80], tail[160], a[32], b[32], speed[40];
    if (!p->terminal || (now - p->drawn < 0.1 && done < p->total))
        return;
    p->drawn = now;
    snprintf(speed, sizeof speed, rate >= 1 || rate <= 0 ? "%.2fstep/s" : "%.2fs/step", rate >= 1 || rate <= 0 ? rate : 1 / rate);
    const int left = snprintf(head, sizeof head, "%s: %3ld%%|", label, 100 * done / p->total);
    const int right = snprintf(tail, sizeof tail, "| %ld/%ld [%s<%s, %s, loss=%.4g]", done, p->total, clock_text(spent, a),
                               rate > 0 ? clock_text((double)(p->total - done) / rate, b) : "?", speed, loss);
    const int room = columns() - left - right - 1;
    fprintf(stderr, "\r%s", head);
    draw_bar(p, (double)done / (double)p->total, room < 1 ? 1 : room);
    fprintf(stderr, "%s\033[K", tail);
}

void progress_line(const progress *p, const char *fmt, ...)
{
    va_list ap;
    fputs(p->terminal ? ERASE : "", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

void progress_end(const progress *p)
{
    fputs(p->terminal ? ERASE : "", stderr);
}
