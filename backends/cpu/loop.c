// SPDX-License-Identifier: MIT
/* The blocked interpreter of LOOP steps.
 *
 * A block is `rows` outer points times `cols` inner ones; every value of the loop is an array over it (level 2) or over its rows (level 1),
 * small enough to stay in L1. Three ways to walk it: without inner points, or when whole rows fit, each value once; longer rows one at a
 * time in chunks, stage by stage; columns with the outer points as the vector, inner points one by one, stage by stage. The order of each
 * reduction is plan.h's and does not depend on the blocking, nor on threads.
 */
#include <omp.h>
#include <stdatomic.h>
#include "backends/cpu/cpu.h"

/* The blocks of a loop are dealt in so many parts a thread, so that one that is held up by other work keeps few from its team. */
enum { PARTS = 16 };

/* Elements times values (some 30 us of work) below which a second thread is not asked: it would gain little on a quiet machine, and on a busy one
 * the team waits for a processor. */
enum { PARALLEL_WORK = 262144 };

/* Points from which on results are written past the caches. */
enum { STREAM_POINTS = 1 << 21 };

typedef struct best { double value; int64_t ivalue, index; bool any; } best;     /* of an argmax or argmin */
typedef struct totals {                  /* of the reductions of a stage, by value */
    char *room;                          /* two registers a value: lanes of a row or totals of columns; the running fold of columns */
    best *best;                          /* one a value; columns: one an outer point and value */
} totals;

static bool is_arg(const cg_val *v) { return v->op == CG_RED_ARGMAX || v->op == CG_RED_ARGMIN; }
static char *total(const totals *t, int v) { return t->room + (size_t)v * 2 * CG_REG_ROOM; }
static char *partial(const totals *t, int v) { return total(t, v) + CG_REG_ROOM; }
static cg_dtype compute_of(const cg_val *x) { return cg__dtypes[x->dtype].compute; }

/* ---- one value over the block */

/* Repeats row value v over the columns. */
static void spread(cg_cpu_block *b, int v)
{
    const cg_dtype c = compute_of(&b->l->vals[v]);
    const size_t w = cg__dtypes[c].bytes;
    char *out = cg__cpu_reg(b, b->c->spread[v]);
    for (int r = 0; r < b->rows && b->cols > 1; r++)
        b->d->vec->load(out + (size_t)r * (size_t)b->cols * w, (const char *)b->at[v] + (size_t)r * w, c, 0, b->cols);
}

/* Results of a type narrower than its compute type: integers wrap, floats round. */
static void narrow(const cg_cpu_block *b, cg_dtype d, void *values, int count)
{
    const cg_dtype c = cg__dtypes[d].compute;
    if (d != c && d != CG_BOOL)
        b->d->vec->convert(values, d, values, c, count);
}

static void literal(cg_cpu_block *b, int v, void *out, int count)
{
    const cg_val *x = &b->l->vals[v];
    const cg_dtype c = x->kind == CG_V_NUMBER ? CG_I64 : compute_of(x);
    char one[8] = { 0 };
    if (x->kind == CG_V_NUMBER)
        cg__store_i64(one, c, cg__cpu_num(b, x->op));
    else if (!cg__is_float(x->dtype))
        cg__store_i64(one, c, x->ilit);
    else {
        cg__store_f64(one, x->dtype, x->lit);                /* as the dtype holds it: f16 rounds */
        cg__store_f64(one, c, cg__load_f64(one, x->dtype));
    }
    b->d->vec->load(out, one, c, 0, count);
}

/* Each row has its place, counted from the loop's first column. */
static void one_column(const cg_cpu_block *b, const int64_t *place, int32_t *out)
{
    memset(out, 0, (size_t)b->rows * (size_t)b->cols * sizeof *out);
    for (int r = 0; r < b->rows; r++)
        if (place[r] >= b->col_at && place[r] < b->col_at + b->cols)
            out[(int64_t)r * b->cols + place[r] - b->col_at] = 1;
}

static void elem(cg_cpu_block *b, int v, void *out, int count, bool inside)
{
    const cg_val *x = &b->l->vals[v];
    const void *in[3];
    if (b->c->hot[v] >= 0) {
        one_column(b, b->at[b->c->hot[v]], out);
        return;
    }
    for (int k = 0; k < 3; k++)
        in[k] = b->c->in[v][k] < 0 ? NULL : cg__cpu_operand(b, b->c->in[v][k], inside);
    if (b->c->plain[v]) {
        b->c->plain[v](out, in[0], in[1], in[2], count);
        return;
    }
    const cg_dtype t = b->l->vals[x->a[cg__elems[x->op].res == CG_RES_BC ? 1 : 0]].dtype;
    if (b->c->divides[v] && b->d->vec->any_zero(in[1], cg__dtypes[t].compute, count))
        cg__cpu_fail(b, v);
    b->d->vec->elem[x->op][cg__dtypes[t].compute](out, in[0], in[1], in[2], count);
    narrow(b, x->dtype, out, count);
}

/* Value v into its register; a load may find it in memory. Reductions are the caller's. */
static void eval(cg_cpu_block *b, int v, int reg)
{
    const cg_val *x = &b->l->vals[v];
    const bool inside = x->level == 2 && !b->c->columns;
    const int count = inside ? b->rows * b->cols : b->rows;
    void *out = b->c->direct[v] >= 0 ? cg__cpu_target(b, b->c->direct[v]) : NULL;
    if (!out)
        out = cg__cpu_reg(b, reg);
    b->at[v] = x->kind == CG_V_STORE ? NULL : out;
    switch (x->kind) {
    case CG_V_LOAD: cg__cpu_load(b, v, reg); break;
    case CG_V_STORE: cg__cpu_store(b, v); break;
    case CG_V_INDEX: cg__cpu_index(b, v, reg); break;
    case CG_V_NUMBER:
    case CG_V_LITERAL: literal(b, v, out, count); break;
    case CG_V_ELEM: elem(b, v, out, count, inside); break;
    case CG_V_CAST: b->d->vec->convert(out, x->dtype, cg__cpu_operand(b, x->a[0], inside), compute_of(&b->l->vals[x->a[0]]), count); break;
    case CG_V_REDUCE: break;
    }
    if (b->c->spread[v] >= 0)
        spread(b, v);
}

/* ---- reductions */

static int64_t least_int(cg_dtype c) { return c == CG_I32 ? INT32_MIN : c == CG_I64 ? INT64_MIN : 0; }
static int64_t greatest_int(cg_dtype c) { return c == CG_I32 ? INT32_MAX : c == CG_I64 ? INT64_MAX : -1; }

/* n times the identity of a reduction. */
static void start(const cg_cpu_block *b, void *acc, const cg_val *x, int n)
{
    const cg_dtype c = compute_of(x);
    char one[8] = { 0 };
    if (x->op == CG_RED_SUM || x->op == CG_RED_PROD)
        cg__store_f64(one, c, x->op == CG_RED_PROD);
    else if (cg__is_float(c))
        cg__store_f64(one, c, x->op == CG_RED_MAX ? -__builtin_inf() : __builtin_inf());
    else
        cg__store_i64(one, c, x->op == CG_RED_MAX ? least_int(c) : greatest_int(c));
    b->d->vec->load(acc, one, c, 0, n);
}

static void offer(best *m, const char *in, cg_dtype d, int op, int64_t index)
{
    const cg_dtype c = cg__dtypes[d].compute;
    const bool f = cg__is_float(c);
    const double x = f ? cg__load_f64(in, c) : 0;
    const int64_t k = f ? 0 : cg__load_i64(in, c);
    bool wins = !m->any;
    if (m->any && f)
        wins = m->value == m->value && (x != x || (op == CG_RED_ARGMAX ? x > m->value : x < m->value));
    else if (m->any)
        wins = c == CG_U64 ? (op == CG_RED_ARGMAX) == ((uint64_t)k > (uint64_t)m->ivalue) && k != m->ivalue : op == CG_RED_ARGMAX ? k > m->ivalue : k < m->ivalue;
    if (wins)
        *m = (best){ x, k, index, true };
}

static void offer_all(best *m, const char *in, cg_dtype d, int op, int64_t first, int n)
{
    for (int k = 0; k < n; k++)
        offer(m, in + (size_t)k * cg__cpu_width(d), d, op, first + k);
}

/* Whole rows: reduction v of each. */
static void reduce_rows(cg_cpu_block *b, int v, const totals *t)
{
    const cg_val *x = &b->l->vals[v], *in = &b->l->vals[x->a[0]];
    const char *from = cg__cpu_operand(b, x->a[0], true);
    void *out = cg__cpu_reg(b, b->c->reg[v]);
    for (int r = 0; is_arg(x) && r < b->rows; r++) {
        best m = { 0, 0, 0, false };
        offer_all(&m, from + (size_t)r * (size_t)b->cols * cg__cpu_width(in->dtype), in->dtype, x->op, 0, b->cols);
        ((int64_t *)out)[r] = m.index;
    }
    if (!is_arg(x)) {
        start(b, total(t, 0) + CG_LANES * cg__cpu_width(x->dtype), x, CG_LANES);
        b->d->vec->rows(out, from, compute_of(x), x->op, b->rows, b->cols, total(t, 0));
        narrow(b, x->dtype, out, b->rows);
    }
    b->at[v] = out;
    if (b->c->spread[v] >= 0)
        spread(b, v);
}

/* ---- each value once */

static void run_whole(cg_cpu_block *b, const totals *t)
{
    b->col_at = 0;
    b->cols = b->c->has_inner ? (int)b->inner : 1;
    for (int i = 0; i < b->c->whole.n; i++) {
        const int v = b->c->whole.at[i];
        if (b->l->vals[v].kind == CG_V_REDUCE)
            reduce_rows(b, v, t);
        else
            eval(b, v, b->c->reg[v]);
    }
}

/* ---- stage by stage: one long row */

static void start_row(cg_cpu_block *b, const cg_cpu_stage *s, const totals *t)
{
    for (int i = 0; i < s->reduces.n; i++) {
        const int v = s->reduces.at[i];
        t->best[v] = (best){ 0, 0, 0, false };
        if (!is_arg(&b->l->vals[v]))
            start(b, total(t, v), &b->l->vals[v], CG_LANES);
    }
}

static void add_chunk(cg_cpu_block *b, int v, const totals *t)
{
    const cg_val *x = &b->l->vals[v];
    const void *in = cg__cpu_operand(b, x->a[0], true);
    if (is_arg(x))
        offer_all(&t->best[v], in, b->l->vals[x->a[0]].dtype, x->op, b->col_at, b->cols);
    else
        b->d->vec->lanes(total(t, v), in, compute_of(x), x->op, b->cols);
}

/* Lane l takes lane l + half, for half = 32 ... 1. */
static void finish_row(cg_cpu_block *b, int v, const totals *t)
{
    const cg_val *x = &b->l->vals[v];
    char *out = cg__cpu_reg(b, b->c->reg[v]), *lanes = total(t, v);
    const size_t w = cg__cpu_width(x->dtype);
    if (is_arg(x))
        memcpy(out, &t->best[v].index, 8);
    else {
        for (int half = CG_LANES / 2; half; half /= 2)
            b->d->vec->fold(lanes, lanes + (size_t)half * w, compute_of(x), x->op, half);
        memcpy(out, lanes, w);
        narrow(b, x->dtype, out, 1);
    }
    b->at[v] = out;
}

static void run_long_row(cg_cpu_block *b, const cg_cpu_stage *s, const totals *t)
{
    start_row(b, s, t);
    for (int i = 0; i < b->c->nvals; i++)        /* a row's values, over the columns of a chunk */
        if (b->c->spread[i] >= 0 && b->at[i]) {
            b->cols = b->c->width;
            spread(b, i);
        }
    for (b->col_at = 0; b->col_at < b->inner; b->col_at += b->c->width) {
        b->cols = b->inner - b->col_at < b->c->width ? (int)(b->inner - b->col_at) : b->c->width;
        for (int i = 0; i < s->inner.n; i++) {
            const int v = s->inner.at[i];
            if (b->l->vals[v].kind == CG_V_REDUCE)
                add_chunk(b, v, t);
            else
                eval(b, v, s->reg[v]);
        }
    }
    for (int i = 0; i < s->reduces.n; i++)
        finish_row(b, s->reduces.at[i], t);
}

/* ---- stage by stage: columns */

static void start_columns(cg_cpu_block *b, const cg_cpu_stage *s, const totals *t)
{
    for (int i = 0; i < s->reduces.n; i++) {
        const int v = s->reduces.at[i];
        const cg_val *x = &b->l->vals[v];
        if (is_arg(x))
            memset(t->best + (size_t)v * (size_t)b->c->width, 0, (size_t)b->rows * sizeof *t->best);
        else {
            start(b, total(t, v), x, b->rows);
            start(b, partial(t, v), x, b->rows);
        }
    }
}

/* Folds the inner point into the running fold, and each finished block of CG_COLUMN_BLOCK into the total. */
static void add_point(cg_cpu_block *b, int v, const totals *t)
{
    const cg_val *x = &b->l->vals[v], *from = &b->l->vals[x->a[0]];
    const cg_dtype c = compute_of(x);
    const char *in = cg__cpu_operand(b, x->a[0], false);
    for (int r = 0; is_arg(x) && r < b->rows; r++)
        offer(&t->best[(size_t)v * (size_t)b->c->width + (size_t)r], in + (size_t)r * cg__cpu_width(from->dtype), from->dtype, x->op, b->col_at);
    if (is_arg(x))
        return;
    b->d->vec->fold(partial(t, v), in, c, x->op, b->rows);
    if ((b->col_at + 1) % CG_COLUMN_BLOCK == 0 || b->col_at + 1 == b->inner) {
        b->d->vec->fold(total(t, v), partial(t, v), c, x->op, b->rows);
        start(b, partial(t, v), x, b->rows);
    }
}

static void finish_columns(cg_cpu_block *b, int v, const totals *t)
{
    const cg_val *x = &b->l->vals[v];
    void *out = cg__cpu_reg(b, b->c->reg[v]);
    for (int r = 0; is_arg(x) && r < b->rows; r++)
        ((int64_t *)out)[r] = t->best[(size_t)v * (size_t)b->c->width + (size_t)r].index;
    if (!is_arg(x)) {
        memcpy(out, total(t, v), (size_t)b->rows * cg__cpu_width(x->dtype));
        narrow(b, x->dtype, out, b->rows);
    }
    b->at[v] = out;
}

static void run_columns(cg_cpu_block *b, const cg_cpu_stage *s, const totals *t)
{
    int64_t stride[CG_VALS_MAX];
    for (int i = 0; i < s->inner.n; i++)
        stride[i] = cg__cpu_stride(b, s->inner.at[i]);
    start_columns(b, s, t);
    for (b->col_at = 0; b->col_at < b->inner; b->col_at++)
        for (int i = 0; i < s->inner.n; i++) {
            const int v = s->inner.at[i];
            if (b->l->vals[v].kind == CG_V_REDUCE)
                add_point(b, v, t);
            else if (stride[i] && b->col_at > 0)
                b->at[v] = (const char *)b->at[v] + stride[i];
            else
                eval(b, v, s->reg[v]);
        }
    for (int i = 0; i < s->reduces.n; i++)
        finish_columns(b, s->reduces.at[i], t);
}

static void run_stages(cg_cpu_block *b, const totals *t)
{
    for (int s = 0; s < b->c->nstages; s++) {
        const cg_cpu_stage *stage = &b->c->stage[s];
        b->cols = 1;
        for (int i = 0; i < stage->points.n; i++)
            eval(b, stage->points.at[i], b->c->reg[stage->points.at[i]]);
        if (b->c->columns)
            run_columns(b, stage, t);
        else
            run_long_row(b, stage, t);
    }
}

/* ---- the loop */

static int64_t points(const cg_loop *l, const int64_t *n, int from, int to)
{
    int64_t c = 1;
    for (int k = from; k < to; k++)
        c *= n[l->extent[k]];
    return c;
}

static bool fits(const cg_cpu_code *c, int64_t inner) { return !c->has_inner || (!c->columns && inner <= c->width); }

static int rows_of_block(const cg_cpu_code *c, int64_t inner)
{
    if (!c->has_inner || c->columns)
        return c->width;
    const int most = CG_REG_BYTES / 8, rows = inner > 0 && inner <= c->width ? (int)(c->width / inner) : inner > 0 ? 1 : most;
    return rows < most ? rows : most;
}

/* Values that depend on no axis, each repeated as often as a block may want it. */
static void run_once(cg_cpu_block *b, int most)
{
    b->rows = b->cols = 1;
    for (int i = 0; i < b->c->once.n; i++) {
        const int v = b->c->once.at[i];
        const cg_val *x = &b->l->vals[v];
        char one[8];
        eval(b, v, b->c->reg[v]);
        memcpy(one, b->at[v], cg__cpu_width(x->dtype));
        b->d->vec->load(cg__cpu_reg(b, b->c->reg[v]), one, compute_of(x), 0, most);
        b->at[v] = cg__cpu_reg(b, b->c->reg[v]);
    }
}

/* Elements of the largest block; rows without columns still have a value each. */
static int most_elements(const cg_cpu_block *b, int rows)
{
    const int64_t outer = b->outer < rows ? b->outer : rows, most = b->c->has_inner && !b->c->columns && b->inner > 0 ? outer * b->inner : outer;
    return most < b->c->width ? (int)most : b->c->width;
}

/* Blocks from..to-1 with the room of one thread; returns what failed, as cg_cpu_block has it. */
static int run_blocks(cg_cpu_block b, char *room, int rows, int64_t from, int64_t to)
{
    const size_t regs = (size_t)(b.c->nregs + 1) * CG_REG_ROOM, accs = (size_t)(b.c->nvals + 1) * 2 * CG_REG_ROOM;
    const totals t = { room + regs, (best *)(void *)(room + regs + accs) };
    const bool whole = fits(b.c, b.inner);
    const void *at[CG_VALS_MAX];
    memset(at, 0, (size_t)b.c->nvals * sizeof *at);          /* not all of it: a loop of few values in a loop of many steps is about as short */
    b.at = at;
    b.regs = room;
    run_once(&b, most_elements(&b, rows));
    for (int64_t k = from; k < to; k++) {
        b.outer_at = k * rows;
        b.rows = b.outer - b.outer_at < rows ? (int)(b.outer - b.outer_at) : rows;
        if (whole)
            run_whole(&b, &t);
        else
            run_stages(&b, &t);
    }
    if (b.streams)
        atomic_thread_fence(memory_order_seq_cst);           /* what went past the caches is seen by whoever joins this thread */
    return b.failed;
}

static size_t room_of(const cg_cpu_code *c)
{
    const size_t bests = (size_t)c->nvals * (size_t)(c->columns ? c->width : 1) * sizeof(best);
    return (size_t)(c->nregs + 1 + (c->nvals + 1) * 2) * CG_REG_ROOM + ((bests + 63) & ~(size_t)63);
}

size_t cg__cpu_loop_room(const cg_cpu *d, const cg_cpu_code *c)
{
    return room_of(c) * (size_t)d->threads;
}

void cg__cpu_loop(cg_cpu *d, const cg_plan *p, const cg_cpu_code *c, int step, const int64_t *n, const cg_place *place)
{
    const cg_loop *l = &p->steps.at[step].loop;
    cg_cpu_block b = { .d = d, .l = l, .c = c, .n = n, .place = place, .failed = INT_MAX, .outer = points(l, n, 0, l->nouter), .inner = points(l, n, l->nouter, l->naxes) };
    char *flat[CG_VALS_MAX];
    const int rows = rows_of_block(c, b.inner);
    const int64_t nblocks = (b.outer + rows - 1) / rows;
    const bool parallel = d->threads > 1 && nblocks > 1 && (double)b.outer * (double)(b.inner > 0 ? b.inner : 1) * l->nvals > PARALLEL_WORK;
    const int teams = !parallel ? 1 : nblocks < d->threads ? (int)nblocks : d->threads;
    const int parts = nblocks < teams * PARTS ? (int)nblocks : teams * PARTS;
    const size_t one = room_of(c);
    int failed = INT_MAX;
    b.streams = b.outer * (b.inner > 0 ? b.inner : 1) >= STREAM_POINTS;
    if (nblocks == 0)
        return;
    for (int v = 0; v < l->nvals; v++)
        flat[v] = l->vals[v].kind == CG_V_LOAD || l->vals[v].kind == CG_V_STORE ? cg__cpu_flat(&b, v) : NULL;
    b.flat = flat;
    if (teams == 1)
        failed = run_blocks(b, d->room, rows, 0, nblocks);
    else {
        /* No if clause: beside num_threads, clang's runtime keeps the number for the next parallel region, which is OpenBLAS's;
         * that waits for ever in a team smaller than it asked for. */
#pragma omp parallel for schedule(dynamic) num_threads(teams) reduction(min : failed)
        for (int part = 0; part < parts; part++) {
            const int own = run_blocks(b, d->room + one * (size_t)omp_get_thread_num(), rows, nblocks * part / parts, nblocks * (part + 1) / parts);
            failed = own < failed ? own : failed;
        }
    }
    if (failed < INT_MAX && d->failed < 0)
        d->failed = cg__failure(step, failed);
}
