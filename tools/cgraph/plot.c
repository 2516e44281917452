// SPDX-License-Identifier: MIT
/* Writing the picture. A panel maps its ranges to a rectangle; a long curve is drawn as the least and the greatest value of each pixel column,
 * and smoothed by a mean whose weights fall off, to both sides, over a hundredth of its length. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/plot.h"

enum { WIDTH = 720, LEFT = 76, RIGHT = 24, TOP = 48, LOSS_HEIGHT = 240, GAP = 40, ACCURACY_HEIGHT = 120, BOTTOM = 52, INNER = WIDTH - LEFT - RIGHT, COLUMNS = 10, ROWS = 5 };

void curve_add(curve *c, double x, double y)
{
    if (c->n == c->cap) {
        const int cap = c->cap ? 2 * c->cap : 1024;
        double *xs = realloc(c->x, (size_t)cap * sizeof *xs), *ys = xs ? realloc(c->y, (size_t)cap * sizeof *ys) : NULL;
        c->x = xs ? xs : c->x;
        c->y = ys ? ys : c->y;
        c->failed |= !ys;
        if (!ys)
            return;
        c->cap = cap;
    }
    c->x[c->n] = x;
    c->y[c->n++] = y;
}

void plot_free(plot *p)
{
    curve *const all[] = { &p->loss, &p->accuracy };
    for (int i = 0; i < 2; i++) {
        free(all[i]->x);
        free(all[i]->y);
        *all[i] = (curve){ 0 };
    }
}

/* ---- scales */

typedef struct range { double from, to; } range;
typedef struct panel { range x, y; double top, height; } panel;

static double at_x(const panel *p, double x) { return LEFT + (x - p->x.from) / (p->x.to - p->x.from) * INNER; }
static double at_y(const panel *p, double y) { return p->top + (1 - (y - p->y.from) / (p->y.to - p->y.from)) * p->height; }

/* 1, 2 or 5 times a power of ten, so that a length has at most so many of them. */
static double tick_step(double length, int most)
{
    const double rough = length / most, power = pow(10, floor(log10(rough))), part = rough / power;
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

static range range_of(const double *v, int n)
{
    range r = { INFINITY, -INFINITY };
    for (int i = 0; i < n; i++)
        if (isfinite(v[i]))
            r = (range){ fmin(r.from, v[i]), fmax(r.to, v[i]) };
    return r.from > r.to ? (range){ 0, 1 } : r.from == r.to ? (range){ r.from - 0.5, r.to + 0.5 } : r;
}

/* Outwards to whole ticks. */
static range rounded(range r)
{
    const double step = tick_step(r.to - r.from, ROWS);
    return (range){ floor(r.from / step + 1e-9) * step, ceil(r.to / step - 1e-9) * step };
}

/* ---- drawing */

static void draw_axes(FILE *f, const panel *p, const char *label, int numbers)
{
    const double dy = tick_step(p->y.to - p->y.from, ROWS), dx = tick_step(p->x.to - p->x.from, COLUMNS), bottom = p->top + p->height;
    for (double y = ceil(p->y.from / dy - 1e-9) * dy; y <= p->y.to + dy * 1e-6; y += dy)
        fprintf(f, "<path class=\"grid\" d=\"M%d %.1fh%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n", LEFT, at_y(p, y), INNER, LEFT - 8, at_y(p, y) + 4,
                fabs(y) < dy * 1e-6 ? 0 : y);
    for (double x = ceil(p->x.from / dx - 1e-9) * dx + 0.0; x <= p->x.to + dx * 1e-6; x += dx) {
        fprintf(f, "<path class=\"axis\" d=\"M%.1f %.1fv5\"/>\n", at_x(p, x), bottom);
        if (numbers)
            fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.10g</text>\n", at_x(p, x), bottom + 20, x);
    }
    fprintf(f, "<path class=\"axis\" d=\"M%d %.1fv%.1fh%d\"/>\n", LEFT, p->top, p->height, INNER);
    fprintf(f, "<text class=\"label\" transform=\"translate(16 %.1f) rotate(-90)\" text-anchor=\"middle\">%s</text>\n", p->top + p->height / 2, label);
    if (numbers)
        fprintf(f, "<text class=\"label\" x=\"%d\" y=\"%.1f\" text-anchor=\"middle\">step</text>\n", LEFT + INNER / 2, bottom + 40);
}

/* A line through all points; where several share a pixel column, their least and greatest value. What is not finite interrupts it. */
static void draw_curve(FILE *f, const panel *p, const char *class, const double *x, const double *y, int n)
{
    int drawing = 0;
    fprintf(f, "<path class=\"%s\" d=\"", class);
    for (int i = 0, end; i < n; i = end) {
        double low = y[i], high = y[i];
        const double column = floor(at_x(p, x[i]));
        for (end = i + 1; end < n && floor(at_x(p, x[end])) <= column; end++) {
            low = fmin(low, y[end]);
            high = fmax(high, y[end]);
        }
        if (!isfinite(low) || !isfinite(high))
            drawing = 0;
        else {
            fprintf(f, "%c%.1f %.1f", drawing ? 'L' : 'M', at_x(p, x[i]), at_y(p, low));
            if (high > low)
                fprintf(f, "V%.1f", at_y(p, high));
            drawing = 1;
        }
    }
    fputs("\"/>\n", f);
}

typedef struct fading { double sum, weight; } fading;

static void fade(fading *f, double y, double keep)
{
    const int counts = isfinite(y);
    f->sum = keep * f->sum + (counts ? y : 0);
    f->weight = keep * f->weight + counts;
}

/* At each point the mean of all, weighted by exp(-distance / length). */
static double *smoothed(const curve *c)
{
    const double keep = exp(-1 / fmax(1, c->n / 100.0));
    double *out = malloc(((size_t)c->n + 1) * sizeof *out);
    fading *before = calloc((size_t)c->n + 1, sizeof *before), after = { 0 };
    for (int i = 0; out && before && i < c->n; i++) {
        before[i + 1] = before[i];
        fade(&before[i + 1], c->y[i], keep);
    }
    for (int i = c->n - 1; out && before && i >= 0; i--) {
        const fading all = { before[i + 1].sum + keep * after.sum, before[i + 1].weight + keep * after.weight };
        out[i] = all.weight > 0 ? all.sum / all.weight : NAN;
        fade(&after, c->y[i], keep);
    }
    if (!before) {
        free(out);
        out = NULL;
    }
    free(before);
    return out;
}

static void draw_loss(FILE *f, const plot *p, range x, const double *smooth)
{
    panel loss = { x, range_of(p->loss.y, p->loss.n), TOP, LOSS_HEIGHT };
    loss.y.from = fmin(loss.y.from, 0);
    loss.y = rounded(loss.y);
    draw_axes(f, &loss, "loss", p->accuracy.n == 0);
    draw_curve(f, &loss, "raw", p->loss.x, p->loss.y, p->loss.n);
    draw_curve(f, &loss, "loss", p->loss.x, smooth, p->loss.n);
    fprintf(f, "<path class=\"raw\" d=\"M%d %dh18\"/><text x=\"%d\" y=\"%d\">each step</text>", WIDTH - 220, TOP - 20, WIDTH - 196, TOP - 16);
    fprintf(f, "<path class=\"loss\" d=\"M%d %dh18\"/><text x=\"%d\" y=\"%d\">smoothed</text>\n", WIDTH - 110, TOP - 20, WIDTH - 86, TOP - 16);
}

static void draw_accuracy(FILE *f, const plot *p, range x)
{
    panel accuracy = { x, range_of(p->accuracy.y, p->accuracy.n), TOP + LOSS_HEIGHT + GAP, ACCURACY_HEIGHT };
    accuracy.y = rounded((range){ accuracy.y.from, fmin(accuracy.y.to, 1) });
    draw_axes(f, &accuracy, "validation accuracy", 1);
    draw_curve(f, &accuracy, "accuracy", p->accuracy.x, p->accuracy.y, p->accuracy.n);
    for (int i = 0; i < p->accuracy.n && p->accuracy.n <= 50; i++)
        fprintf(f, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n", at_x(&accuracy, p->accuracy.x[i]), at_y(&accuracy, p->accuracy.y[i]));
}

static const char style[] =
    "<style>\n"
    "text{font:12px system-ui,sans-serif;fill:#444}.title{font-size:15px;font-weight:600;fill:#111}.label{font-size:13px}\n"
    ".page{fill:#fff}.grid{stroke:#e4e4e4}.axis{stroke:#888;fill:none}\n"
    ".raw{stroke:#a9c8e8;fill:none}.loss{stroke:#1261a8;stroke-width:2;fill:none}.accuracy{stroke:#b4530f;stroke-width:2;fill:none}.dot{fill:#b4530f}\n"
    "@media (prefers-color-scheme:dark){\n"
    "text{fill:#bbb}.title{fill:#eee}.page{fill:#16181c}.grid{stroke:#2c3036}.axis{stroke:#777}\n"
    ".raw{stroke:#34567a}.loss{stroke:#6cb2f2}.accuracy{stroke:#f0a05c}.dot{fill:#f0a05c}}\n"
    "</style>\n";

static int draw(FILE *f, const plot *p)
{
    const int height = TOP + LOSS_HEIGHT + BOTTOM + (p->accuracy.n ? GAP + ACCURACY_HEIGHT : 0);
    double *smooth = smoothed(&p->loss);
    range x = range_of(p->loss.x, p->loss.n);
    x.from = x.from == 1 ? 0 : x.from;
    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n<title>%s</title>\n%s", WIDTH, height, WIDTH, height,
            p->title, style);
    fprintf(f, "<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n<text class=\"title\" x=\"%d\" y=\"%d\">%s</text>\n", WIDTH, height, LEFT, TOP - 16, p->title);
    if (smooth)
        draw_loss(f, p, x, smooth);
    if (p->accuracy.n)
        draw_accuracy(f, p, x);
    fputs("</svg>\n", f);
    free(smooth);
    return smooth != NULL;
}

int plot_write(const plot *p, const char *path)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    const int drawn = f && draw(f, p), whole = f && fclose(f) == 0 && drawn && !p->loss.failed && !p->accuracy.failed;
    const int rc = !whole ? EXIT_FAILED : cg_text_save(path, text) < 0 ? failed("train") : 0;
    if (!whole)
        fprintf(stderr, "cgraph: train: no memory for the plot\n");
    free(text);
    return rc;
}
