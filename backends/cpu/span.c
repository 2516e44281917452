// SPDX-License-Identifier: MIT
/* Operands: from memory to registers and back, along a span of points in row-major order of some axes.
 *
 * A span is walked in runs along its last axis, where an operand has one stride. A window is an interval of a run; an index that is the same
 * along the run (a row of an embedding) moves the run's base, any other is looked up element by element. A span that lies in memory as a
 * register would hold it is used where it is.
 */
#include "backends/cpu/cpu.h"

typedef struct span {
    cg_cpu_block *b;
    const cg_operand *o;
    int value;                           /* that is loaded or stored */
    cg_dtype d;
    int from, to;                        /* axes */
    int64_t i[CG_AXES_MAX];              /* where the run begins; the other axes stay */
    const int64_t *index;                /* of a gather, by element of the span; NULL: none */
    bool steady;                         /* the index is the same along a run */
} span;

static bool over_points(const cg_cpu_block *b, int v) { return b->l->vals[v].level < 2 || b->c->columns; }
static int64_t extent(const cg_cpu_block *b, int axis) { return b->n[b->l->extent[axis]]; }

/* At the first point of the axes from..to-1. Member by member: to clear it whole costs more than a short span takes. */
static void begin(span *s, cg_cpu_block *b, const cg_operand *o, int from, int to)
{
    s->b = b;
    s->o = o;
    s->from = from;
    s->to = to;
    s->index = NULL;
    s->steady = false;
    for (int k = 0; k < b->l->naxes; k++)
        s->i[k] = 0;
}

/* The coordinates of a point along the axes from..to-1. */
static void seek(span *s, int from, int to, int64_t at)
{
    for (int k = to - 1; k > from; k--) {
        const int64_t e = extent(s->b, k);
        s->i[k] = e ? at % e : 0;
        at = e ? at / e : 0;
    }
    if (to > from)
        s->i[from] = at;
}

/* Elements left in the run, at most `left`. */
static int run_of(const span *s, int left)
{
    const int64_t rest = s->to > s->from ? extent(s->b, s->to - 1) - s->i[s->to - 1] : 1;
    return (int)(rest < left ? rest : left);
}

/* To the next run. */
static void advance(span *s, int run)
{
    int k = s->to - 1;
    if (k < s->from)
        return;
    s->i[k] += run;
    for (; k > s->from && s->i[k] == extent(s->b, k); k--) {
        s->i[k] = 0;
        s->i[k - 1]++;
    }
}

static int64_t affine(const span *s, cg_num off, const cg_num *c)
{
    int64_t at = cg__cpu_num(s->b, off);
    for (int k = 0; k < s->b->l->naxes; k++)
        at += cg__cpu_num(s->b, c[k]) * s->i[k];
    return at;
}

static int64_t along(const span *s, const cg_num *c) { return s->to > s->from ? cg__cpu_num(s->b, c[s->to - 1]) : 0; }

static char *memory(const span *s)
{
    const cg_place *p = &s->b->place[s->o->slot];
    return (char *)p->buffer->mem + p->offset;
}

/* ---- walks: what is affine in the coordinates is kept up to date from run to run, for runs are short */

typedef struct form { int64_t at, step[CG_AXES_MAX]; } form;
typedef struct walk {
    span *s;
    int nforms;                          /* the place, in elements, and what lies in each window */
    form f[1 + CG_WINDOWS_MAX];
    int64_t lo[CG_WINDOWS_MAX], hi[CG_WINDOWS_MAX], extent[CG_AXES_MAX];
} walk;

static void follow(walk *w, cg_num off, const cg_num *c)
{
    form *f = &w->f[w->nforms++];
    f->at = affine(w->s, off, c);
    for (int k = w->s->from; k < w->s->to; k++)
        f->step[k] = cg__cpu_num(w->s->b, c[k]);
}

static void start_walk(walk *w, span *s)
{
    const cg_operand *o = s->o;
    w->s = s;
    w->nforms = 0;
    follow(w, o->off, o->stride);
    for (int k = 0; k < o->nwindows; k++) {
        w->lo[k] = cg__cpu_num(s->b, o->window[k].lo);
        w->hi[k] = cg__cpu_num(s->b, o->window[k].hi);
        follow(w, o->window[k].c0, o->window[k].c);
    }
    for (int k = s->from; k < s->to; k++)
        w->extent[k] = extent(s->b, k);
}

/* By `steps` along axis k, not beyond its end. */
static void walk_on(walk *w, int k, int steps)
{
    span *s = w->s;
    if (k < s->from)
        return;
    s->i[k] += steps;
    for (int j = 0; j < w->nforms; j++)
        w->f[j].at += steps * w->f[j].step[k];
    for (; k > s->from && s->i[k] == w->extent[k]; k--) {
        s->i[k] = 0;
        s->i[k - 1]++;
        for (int j = 0; j < w->nforms; j++)
            w->f[j].at += w->f[j].step[k - 1] - w->extent[k] * w->f[j].step[k];
    }
}

/* ---- windows */

typedef struct interval { int from, to; } interval;

static int64_t ceil_div(int64_t a, int64_t b) { return b == 1 ? a : a / b + (a % b > 0); }       /* b > 0 */

/* Which points 0..count-1 along an axis lie in all windows but those that move along the axis `but`; -1: in all. */
static interval inside(const walk *w, int axis, int64_t count, int but)
{
    int64_t from = 0, to = count;
    for (int k = 0; k < w->nforms - 1; k++) {
        const form *f = &w->f[1 + k];
        const int64_t c = axis >= w->s->from ? f->step[axis] : 0, lo = w->lo[k] - f->at, hi = w->hi[k] - f->at;      /* lo <= c i < hi */
        int64_t first = 0, end = count;
        if (but >= 0 && f->step[but])
            continue;
        if (c > 0) {
            first = ceil_div(lo, c);
            end = ceil_div(hi, c);
        } else if (c < 0) {
            first = ceil_div(-hi + 1, -c);
            end = ceil_div(-lo + 1, -c);
        } else if (lo > 0 || hi <= 0)
            end = 0;
        from = first > from ? first : from;
        to = end < to ? end : to;
    }
    from = from < count ? from : count;
    return (interval){ (int)from, (int)(to > from ? to : from) };
}

/* Whether each window moves along one of two axes at most: then what lies in them all is a rectangle. */
static bool rectangular(const walk *w, int above, int last)
{
    bool yes = true;
    for (int k = 1; k < w->nforms; k++)
        yes &= !w->f[k].step[above] || !w->f[k].step[last];
    return yes;
}

static void fill(const span *s, char *out, int n)
{
    char one[8] = { 0 };
    cg__store_f64(one, s->d, s->o->fill);
    s->b->d->vec->load(out, one, s->d, 0, n);
}

/* ---- loads */

static bool index_ok(const span *s, int64_t *index)
{
    const int64_t limit = cg__cpu_num(s->b, s->o->gather_limit);
    if (*index < -limit || *index >= limit) {
        cg__cpu_fail(s->b, s->value);
        return false;
    }
    *index += *index < 0 ? limit : 0;
    return true;
}

/* The part from..to-1 of a run whose element 0 is at `at`, in elements. */
static void copy_part(const span *s, int64_t at, interval part, const int64_t *index, char *out)
{
    const size_t item = cg__dtypes[s->d].bytes, w = cg__cpu_width(s->d);
    const int64_t stride = along(s, s->o->stride), hop = cg__cpu_num(s->b, s->o->gather_stride);
    const cg_vec *vec = s->b->d->vec;
    if (part.to == part.from)
        return;
    if (!index || s->steady) {
        int64_t k = index ? index[part.from] : 0;
        if (index && !index_ok(s, &k))
            memset(out + (size_t)part.from * w, 0, (size_t)(part.to - part.from) * w);
        else
            vec->load(out + (size_t)part.from * w, memory(s) + (at + k * hop + part.from * stride) * (int64_t)item, s->d, stride, part.to - part.from);
        return;
    }
    for (int e = part.from; e < part.to; e++) {
        int64_t k = index[e];
        if (index_ok(s, &k))
            vec->load(out + (size_t)e * w, memory(s) + (at + k * hop + e * stride) * (int64_t)item, s->d, 1, 1);
        else
            memset(out + (size_t)e * w, 0, w);
    }
}

/* Whole runs that follow each other along the axis above, without an index: what lies in the windows is loaded by one call. Elements; 0: there are
 * none. */
static int load_grid(walk *w, int left, char *out)
{
    const span *s = w->s;
    const int last = s->to - 1, above = s->to - 2;
    const int64_t run = above >= s->from ? w->extent[last] : 0;
    if (!run || s->index || s->i[last] || left < 2 * run || !rectangular(w, above, last))
        return 0;
    const size_t bytes = cg__cpu_width(s->d);
    const int64_t rest = w->extent[above] - s->i[above], count = left / run < rest ? left / run : rest, hop = w->f[0].step[above], stride = w->f[0].step[last];
    const interval rows = inside(w, above, count, last), cols = inside(w, last, run, above);
    if (rows.to - rows.from < count || cols.to - cols.from < run)
        fill(s, out, (int)(count * run));
    if (rows.to > rows.from && cols.to > cols.from)
        s->b->d->vec->grid(out + (size_t)(rows.from * run + cols.from) * bytes, (int)run,
                           memory(s) + (w->f[0].at + rows.from * hop + cols.from * stride) * (int64_t)cg__dtypes[s->d].bytes, s->d, hop, rows.to - rows.from,
                           stride, cols.to - cols.from);
    walk_on(w, above, (int)count);
    return (int)(count * run);
}

static void load_span(span *s, int64_t at, int count, char *out)
{
    const size_t bytes = cg__cpu_width(s->d);
    walk w;
    seek(s, s->from, s->to, at);
    start_walk(&w, s);
    for (int done = 0, run; done < count; done += run) {
        run = load_grid(&w, count - done, out);
        if (run) {
            out += (size_t)run * bytes;
            continue;
        }
        run = run_of(s, count - done);
        const interval part = inside(&w, s->to - 1, run, -1);
        if (part.from > 0)
            fill(s, out, part.from);
        if (part.to < run)
            fill(s, out + (size_t)part.to * bytes, run - part.to);
        copy_part(s, w.f[0].at, part, s->index ? s->index + done : NULL, out);
        out += (size_t)run * bytes;
        walk_on(&w, s->to - 1, run);
    }
}

/* Whether the axes from..to-1 are walked with stride 1 in all. */
static bool dense(const span *s, int from, int to)
{
    int64_t expected = 1;
    for (int k = to - 1; k >= from; k--) {
        if (cg__cpu_num(s->b, s->o->stride[k]) != expected)
            return false;
        expected *= k > from ? extent(s->b, k) : 1;
    }
    return to > from;
}

static bool as_in_memory(const span *s)
{
    return cg__dtypes[s->d].compute == s->d && !s->o->nwindows && s->o->gather < 0 && dense(s, s->from, s->to);
}

/* All rows of the block lie one behind the other in memory. */
static bool rows_in_memory(const span *s)
{
    const cg_cpu_block *b = s->b;
    return as_in_memory(s) && (b->rows == 1 || (b->cols == b->inner && dense(s, 0, s->to)));
}

/* Where the block's values are, if they lie there as in a register; else NULL. points: outer ones, at one inner point. */
static char *as_register(span *s, bool points)
{
    const cg_cpu_block *b = s->b;
    if (points ? !as_in_memory(s) : !rows_in_memory(s))
        return NULL;
    if (!points)
        seek(s, 0, b->l->nouter, b->outer_at);
    seek(s, s->from, s->to, points ? b->outer_at : b->col_at);
    return memory(s) + affine(s, s->o->off, s->o->stride) * (int64_t)cg__dtypes[s->d].bytes;
}

/* The next block lies behind this one. Its memory is asked for while this one is computed, for the processor's own guesses end with a page, which
 * is about a block. Nothing is read, so it may lie behind the end of the array. */
static void ask_for_next(const char *at, size_t bytes)
{
    for (size_t k = 0; at && k < bytes; k += 64)
        __builtin_prefetch((const void *)((uintptr_t)at + bytes + k), 0, 2);
}

/* The outer points of the block, at one inner point. */
static void load_points(span *s, int count, int v, int reg)
{
    cg_cpu_block *b = s->b;
    char *out = cg__cpu_reg(b, reg);
    b->at[v] = as_register(s, true);
    ask_for_next(b->at[v], (size_t)count * cg__cpu_width(s->d));
    if (b->at[v])
        return;
    load_span(s, b->outer_at, count, out);
    b->at[v] = out;
}

static void load_rows(span *s, int v, int reg)
{
    cg_cpu_block *b = s->b;
    const size_t w = cg__cpu_width(s->d);
    char *out = cg__cpu_reg(b, reg);
    const int64_t *index = s->index;
    b->at[v] = as_register(s, false);
    ask_for_next(b->at[v], (size_t)b->rows * (size_t)b->cols * w);
    if (b->at[v])
        return;
    span outer;
    begin(&outer, b, s->o, 0, b->l->nouter);
    seek(&outer, 0, outer.to, b->outer_at);
    for (int r = 0; r < b->rows; r++) {
        memcpy(s->i, outer.i, (size_t)b->l->nouter * sizeof *s->i);
        s->index = index ? index + (size_t)r * (size_t)b->cols : NULL;
        load_span(s, b->col_at, b->cols, out + (size_t)r * (size_t)b->cols * w);
        advance(&outer, 1);
    }
    b->at[v] = out;
}

/* Made in the caller's room: a copy would read what was just written piece by piece, and wait for it. */
static void span_of(span *s, cg_cpu_block *b, int v)
{
    const cg_val *x = &b->l->vals[v];
    const cg_operand *o = &b->l->operands[x->operand];
    const bool points = over_points(b, v);
    begin(s, b, o, points ? 0 : b->l->nouter, points ? b->l->nouter : b->l->naxes);
    s->value = v;
    s->d = x->dtype;
    if (b->c->columns && x->level == 2)
        seek(s, b->l->nouter, b->l->naxes, b->col_at);
    if (x->kind == CG_V_LOAD && o->gather >= 0) {
        s->index = cg__cpu_operand(b, o->gather, !points);
        s->steady = points && b->c->steady[o->gather];
    }
}

char *cg__cpu_flat(cg_cpu_block *b, int v)
{
    const cg_val *x = &b->l->vals[v];
    const cg_operand *o = &b->l->operands[x->operand];
    if (cg__dtypes[x->dtype].compute != x->dtype || o->nwindows || o->gather >= 0 || (b->c->columns && x->level == 2))
        return NULL;
    span s;
    begin(&s, b, o, 0, x->level < 2 ? b->l->nouter : b->l->naxes);
    s.d = x->dtype;
    return dense(&s, 0, s.to) ? memory(&s) + cg__cpu_num(b, o->off) * (int64_t)cg__dtypes[s.d].bytes : NULL;
}

/* The block's part of an array that the loop walks in its order. */
static char *flat_part(const cg_cpu_block *b, int v)
{
    const int64_t at = over_points(b, v) ? b->outer_at : b->outer_at * b->inner + b->col_at;
    return b->flat[v] + at * (int64_t)cg__dtypes[b->l->vals[v].dtype].bytes;
}

static size_t block_bytes(const cg_cpu_block *b, int v)
{
    return (size_t)b->rows * (over_points(b, v) ? 1 : (size_t)b->cols) * cg__cpu_width(b->l->vals[v].dtype);
}

void cg__cpu_load(cg_cpu_block *b, int v, int reg)
{
    span s;
    if (b->flat[v]) {
        b->at[v] = flat_part(b, v);
        ask_for_next(b->at[v], block_bytes(b, v));
        return;
    }
    span_of(&s, b, v);
    if (over_points(b, v))
        load_points(&s, b->rows, v, reg);
    else
        load_rows(&s, v, reg);
}

int64_t cg__cpu_stride(cg_cpu_block *b, int v)
{
    const cg_val *x = &b->l->vals[v];
    if (x->kind != CG_V_LOAD || b->l->naxes != b->l->nouter + 1)
        return 0;
    span s;
    span_of(&s, b, v);
    return as_in_memory(&s) ? cg__cpu_num(b, s.o->stride[b->l->nouter]) * (int64_t)cg__dtypes[s.d].bytes : 0;
}

/* ---- stores */

static void store_span(span *s, int64_t at, int count, const char *in)
{
    const size_t bytes = cg__cpu_width(s->d);
    walk w;
    seek(s, s->from, s->to, at);
    start_walk(&w, s);
    for (int done = 0, run; done < count; done += run) {
        run = run_of(s, count - done);
        s->b->d->vec->store(memory(s) + w.f[0].at * (int64_t)cg__dtypes[s->d].bytes, s->d, along(s, s->o->stride), in + (size_t)done * bytes, run);
        walk_on(&w, s->to - 1, run);
    }
}

/* Where the block's values go, if they lie there as in a register; else NULL. */
static char *place_of_block(cg_cpu_block *b, int store)
{
    span s;
    if (b->flat[store])
        return flat_part(b, store);
    span_of(&s, b, store);
    return as_register(&s, over_points(b, store));
}

void *cg__cpu_target(cg_cpu_block *b, int store)
{
    char *at = b->streams ? NULL : place_of_block(b, store);
    ask_for_next(at, block_bytes(b, store));
    return at;
}

void cg__cpu_store(cg_cpu_block *b, int v)
{
    const cg_val *x = &b->l->vals[v];
    const bool points = over_points(b, v);
    const char *in = cg__cpu_operand(b, x->a[0], !points);
    char *at = b->streams || b->c->direct[x->a[0]] == v ? place_of_block(b, v) : NULL;
    span s, outer;
    if (at && at == in)
        return;
    if (at && b->streams) {
        b->d->vec->stream(at, in, block_bytes(b, v));
        return;
    }
    span_of(&s, b, v);
    if (points) {
        store_span(&s, b->outer_at, b->rows, in);
        return;
    }
    begin(&outer, b, s.o, 0, b->l->nouter);
    seek(&outer, 0, outer.to, b->outer_at);
    for (int r = 0; r < b->rows; r++) {
        memcpy(s.i, outer.i, (size_t)b->l->nouter * sizeof *s.i);
        store_span(&s, b->col_at, b->cols, in + (size_t)r * (size_t)b->cols * cg__cpu_width(s.d));
        advance(&outer, 1);
    }
}

/* ---- indices */

/* Index x->op over a span that s stands at the start of. */
static void count_span(span *s, int axis, int64_t same, int count, int64_t *out)
{
    for (int done = 0, run; done < count; done += run) {
        run = run_of(s, count - done);
        if (axis == s->to - 1)
            s->b->d->vec->count(out + done, s->i[axis], run);
        else
            s->b->d->vec->load(out + done, axis < s->from || axis >= s->to ? &same : &s->i[axis], CG_I64, 0, run);
        advance(s, run);
    }
}

void cg__cpu_index(cg_cpu_block *b, int v, int reg)
{
    const int axis = b->l->vals[v].op;
    const bool points = over_points(b, v);
    span outer, inner;
    int64_t *out = cg__cpu_reg(b, reg);
    begin(&outer, b, NULL, 0, b->l->nouter);
    begin(&inner, b, NULL, b->l->nouter, b->l->naxes);
    seek(&outer, 0, outer.to, b->outer_at);
    seek(&inner, inner.from, inner.to, b->col_at);
    if (points)
        count_span(&outer, axis, inner.i[axis], b->rows, out);
    for (int r = 0; r < b->rows && !points; r++) {
        seek(&inner, inner.from, inner.to, b->col_at);
        count_span(&inner, axis, outer.i[axis], b->cols, out + (size_t)r * (size_t)b->cols);
        advance(&outer, 1);
    }
    b->at[v] = out;
}
