// SPDX-License-Identifier: MIT
/* The blocked interpreter of LOOP steps.
 *
 * A block is `rows` outer points times `cols` inner ones; every value of the loop is an array over it (level 2) or over its
 * rows (levels 0 and 1), small enough to stay in L1. Rows mode: whole rows if they fit, else one row in chunks, stage by
 * stage. Columns mode: outer points are the vector, inner points are taken one by one. The order of each reduction is
 * plan.h's and does not depend on the blocking, nor on threads.
 */
#include "backends/cpu/cpu.h"

typedef struct block {
    const cg_cpu *d;
    const cg_loop *l;
    const int64_t *n;
    const cg_place *place;
    char *vals;                          /* nvals arrays of CG_BLOCK * 8 bytes */
    char *spread;                        /* level 1 values repeated over columns, likewise 3 */
    char *lanes;                         /* nvals arrays of CG_BLOCK * 8 bytes: lanes of a row, or totals of columns */
    char *partial;                       /* columns mode: the running fold of 256 */
    int64_t inner;                       /* inner points in all */
    int64_t outer_at;                    /* first outer point of the block */
    int rows, cols;                      /* of the block */
    int64_t col_at;
    bool bad_index;
} block;

enum { VALUE_BYTES = CG_BLOCK * 8 };

static void *value(const block *b, int v) { return b->vals + (size_t)v * VALUE_BYTES; }

static size_t width(cg_dtype d)
{
    return cg__dtypes[cg__dtypes[d].compute].bytes;
}

static int64_t num(const block *b, cg_num id) { return id == CG_NUM_NONE ? 0 : b->n[id]; }

/* ---- operands: runs of constant stride */

/* Coordinates of the linear index `at` over axes from..to-1. */
static void unravel(const block *b, int from, int to, int64_t at, int64_t *i)
{
    for (int k = to - 1; k >= from; k--) {
        const int64_t e = num(b, b->l->extent[k]);
        i[k] = e ? at % e : 0;
        at = e ? at / e : 0;
    }
}

static bool inside(const block *b, const cg_operand *o, const int64_t *i)
{
    for (int w = 0; w < o->nwindows; w++) {
        int64_t x = num(b, o->window[w].c0);
        for (int k = 0; k < b->l->naxes; k++)
            x += num(b, o->window[w].c[k]) * i[k];
        if (x < num(b, o->window[w].lo) || x >= num(b, o->window[w].hi))
            return false;
    }
    return true;
}

static int64_t address(const block *b, const cg_operand *o, const int64_t *i)
{
    int64_t at = num(b, o->off);
    for (int k = 0; k < b->l->naxes; k++)
        at += num(b, o->stride[k]) * i[k];
    return at;
}

static char *base(const block *b, const cg_operand *o)
{
    const cg_place *p = &b->place[o->slot];
    return (char *)p->buffer->mem + p->offset;
}

/* One element, with window and gather; the slow and general way. */
static void load_one(block *b, const cg_operand *o, cg_dtype d, const int64_t *i, int64_t index, void *out)
{
    if (!inside(b, o, i)) {
        char fill[8] = { 0 };
        cg__store_f64(fill, d, o->fill);
        b->d->vec->load(out, fill, d, 1, 1);
        return;
    }
    int64_t at = address(b, o, i);
    if (o->gather >= 0) {
        const int64_t limit = num(b, o->gather_limit);
        if (index < -limit || index >= limit) {
            b->bad_index = true;
            memset(out, 0, width(d));
            return;
        }
        at += (index < 0 ? index + limit : index) * num(b, o->gather_stride);
    }
    b->d->vec->load(out, base(b, o) + at * (int64_t)cg__dtypes[d].bytes, d, 1, 1);
}

/* count elements from linear index `at` of the axes from..to-1; the other coordinates are in i. */
static void load_run(block *b, const cg_operand *o, cg_dtype d, int from, int to, int64_t at, int count, int64_t *i, const int64_t *index, char *out)
{
    const size_t item = cg__dtypes[d].bytes, w = width(d);
    const bool slow = o->nwindows || o->gather >= 0;
    for (int done = 0; done < count;) {
        unravel(b, from, to, at + done, i);
        const int64_t left = to > from ? num(b, b->l->extent[to - 1]) - i[to - 1] : count - done;
        const int run = (int)(left < count - done ? left : count - done);
        if (!slow)
            b->d->vec->load(out + (size_t)done * w, base(b, o) + address(b, o, i) * (int64_t)item, d, to > from ? num(b, o->stride[to - 1]) : 0, run);
        for (int k = 0; slow && k < run; k++) {
            load_one(b, o, d, i, index ? index[done + k] : 0, out + (size_t)(done + k) * w);
            i[to > from ? to - 1 : 0] += to > from;
        }
        done += run;
    }
}

static void store_run(block *b, const cg_operand *o, cg_dtype d, int from, int to, int64_t at, int count, int64_t *i, const char *in)
{
    const size_t item = cg__dtypes[d].bytes, w = width(d);
    for (int done = 0; done < count;) {
        unravel(b, from, to, at + done, i);
        const int64_t left = to > from ? num(b, b->l->extent[to - 1]) - i[to - 1] : 1;
        const int run = (int)(left < count - done ? left : count - done);
        b->d->vec->store(base(b, o) + address(b, o, i) * (int64_t)item, d, to > from ? num(b, o->stride[to - 1]) : 0, in + (size_t)done * w, run);
        done += run;
    }
}

/* ---- spreading level 1 values over the columns of a block */

static const char *over_block(block *b, int v, int which)
{
    const cg_val *x = &b->l->vals[v];
    const size_t w = width(x->dtype);
    const char *in = value(b, v);
    if (x->level == 2 || b->cols == 1)
        return in;
    char *out = b->spread + (size_t)which * VALUE_BYTES;
    const cg_dtype c = cg__dtypes[x->dtype].compute;
    for (int r = 0; r < b->rows; r++)
        b->d->vec->load(out + (size_t)r * (size_t)b->cols * w, in + (size_t)r * w, c, 0, b->cols);
    return out;
}

/* ---- one value over the block */

/* The outer point of row r in coordinates; inner ones are left alone. */
static void row_coords(block *b, int r, int64_t *i)
{
    unravel(b, 0, b->l->nouter, b->outer_at + r, i);
}

static void eval_load(block *b, int v, int count, bool columns)
{
    const cg_val *x = &b->l->vals[v];
    const cg_operand *o = &b->l->operands[x->operand];
    const size_t w = width(x->dtype);
    int64_t i[CG_AXES_MAX] = { 0 };
    char *out = value(b, v);
    if (x->level < 2 || columns) {
        const int64_t *index = o->gather >= 0 ? value(b, o->gather) : NULL;
        if (columns && x->level == 2)
            unravel(b, b->l->nouter, b->l->naxes, b->col_at, i);
        load_run(b, o, x->dtype, 0, b->l->nouter, b->outer_at, count, i, index, out);
        return;
    }
    const int64_t *index = o->gather >= 0 ? (const int64_t *)(const void *)over_block(b, o->gather, 0) : NULL;
    for (int r = 0; r < b->rows; r++) {
        row_coords(b, r, i);
        load_run(b, o, x->dtype, b->l->nouter, b->l->naxes, b->col_at, b->cols, i, index ? index + r * b->cols : NULL, out + (size_t)r * (size_t)b->cols * w);
    }
}

static void eval_store(block *b, int v, int count, bool columns)
{
    const cg_val *x = &b->l->vals[v];
    const cg_operand *o = &b->l->operands[x->operand];
    const size_t w = width(x->dtype);
    int64_t i[CG_AXES_MAX] = { 0 };
    const char *in = x->level == 2 && !columns ? over_block(b, x->a[0], 0) : value(b, x->a[0]);
    if (x->level < 2 || columns) {
        if (columns && x->level == 2)
            unravel(b, b->l->nouter, b->l->naxes, b->col_at, i);
        store_run(b, o, x->dtype, 0, b->l->nouter, b->outer_at, count, i, in);
        return;
    }
    for (int r = 0; r < b->rows; r++) {
        row_coords(b, r, i);
        store_run(b, o, x->dtype, b->l->nouter, b->l->naxes, b->col_at, b->cols, i, in + (size_t)r * (size_t)b->cols * w);
    }
}

static void eval_index(block *b, int v, int count, bool columns)
{
    const cg_val *x = &b->l->vals[v];
    int64_t *out = value(b, v), i[CG_AXES_MAX] = { 0 };
    for (int k = 0; k < count; k++) {
        const int r = x->level == 2 && !columns ? k / b->cols : k;
        row_coords(b, r, i);
        unravel(b, b->l->nouter, b->l->naxes, columns ? b->col_at : b->col_at + k % b->cols, i);
        out[k] = i[x->op];
    }
}

static void eval_literal(block *b, int v, int count)
{
    const cg_val *x = &b->l->vals[v];
    char one[8] = { 0 };
    const cg_dtype c = x->kind == CG_V_NUMBER ? CG_I64 : cg__dtypes[x->dtype].compute;
    if (x->kind == CG_V_NUMBER)
        cg__store_i64(one, c, num(b, x->op));
    else if (cg__is_float(x->dtype))
        cg__store_f64(one, c, x->lit);
    else
        cg__store_i64(one, c, x->ilit);
    b->d->vec->load(value(b, v), one, c, 0, count);
}

static void eval_elem(block *b, int v, int count, bool columns)
{
    const cg_val *x = &b->l->vals[v];
    const cg_elem_row *row = &cg__elems[x->op];
    const void *in[3] = { NULL, NULL, NULL };
    for (int k = 0; k < row->arity; k++)
        in[k] = x->level == 2 && !columns ? over_block(b, x->a[k], k) : value(b, x->a[k]);
    const cg_dtype t = b->l->vals[x->a[row->res == CG_RES_BC ? 1 : 0]].dtype;
    b->d->vec->elem[x->op][cg__dtypes[t].compute](value(b, v), in[0], in[1], in[2], count);
    const cg_dtype c = cg__dtypes[x->dtype].compute;
    if (x->dtype != c && x->dtype != CG_BOOL && !cg__is_float(x->dtype))
        b->d->vec->convert(value(b, v), x->dtype, value(b, v), c, count);        /* narrow integers wrap */
}

static void eval(block *b, int v, bool columns)
{
    const cg_val *x = &b->l->vals[v];
    const int count = x->level == 2 && !columns ? b->rows * b->cols : b->rows;
    switch (x->kind) {
    case CG_V_LOAD: eval_load(b, v, count, columns); break;
    case CG_V_STORE: eval_store(b, v, count, columns); break;
    case CG_V_INDEX: eval_index(b, v, count, columns); break;
    case CG_V_NUMBER:
    case CG_V_LITERAL: eval_literal(b, v, count); break;
    case CG_V_ELEM: eval_elem(b, v, count, columns); break;
    case CG_V_CAST: {
        const cg_dtype from = b->l->vals[x->a[0]].dtype;
        const void *in = x->level == 2 && !columns ? over_block(b, x->a[0], 0) : value(b, x->a[0]);
        b->d->vec->convert(value(b, v), x->dtype, in, cg__dtypes[from].compute, count);
        break;
    }
    case CG_V_REDUCE: break;             /* the stage driver's */
    }
}

/* ---- reductions */

static int64_t least_int(cg_dtype c) { return c == CG_I32 ? INT32_MIN : c == CG_I64 ? INT64_MIN : 0; }
static int64_t greatest_int(cg_dtype c) { return c == CG_I32 ? INT32_MAX : c == CG_I64 ? INT64_MAX : -1; }

void cg__cpu_reduce_init(void *acc, cg_dtype c, int op, int n)
{
    const size_t w = cg__dtypes[c].bytes;
    char one[8] = { 0 };
    if (op == CG_RED_SUM || op == CG_RED_PROD)
        cg__store_f64(one, c, op == CG_RED_PROD);
    else if (cg__is_float(c))
        cg__store_f64(one, c, op == CG_RED_MAX ? -__builtin_inf() : __builtin_inf());
    else
        cg__store_i64(one, c, op == CG_RED_MAX ? least_int(c) : greatest_int(c));
    for (int i = 0; i < n; i++)
        memcpy((char *)acc + (size_t)i * w, one, w);
}

/* Lane l takes lane l + half, for half = 32 ... 1. */
static void halve(const block *b, char *lanes, cg_dtype c, int op)
{
    const size_t w = cg__dtypes[c].bytes;
    for (int half = CG_LANES / 2; half; half /= 2)
        b->d->vec->fold(lanes, lanes + (size_t)half * w, c, op, half);
}

typedef struct best { double value; int64_t ivalue, index; bool any; } best;

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

static bool is_arg(const cg_val *v) { return v->op == CG_RED_ARGMAX || v->op == CG_RED_ARGMIN; }

/* Adds the block's columns of row r into the row's accumulator. */
static void accumulate_row(block *b, int v, int r, best *m)
{
    const cg_val *x = &b->l->vals[v], *in = &b->l->vals[x->a[0]];
    const size_t w = width(in->dtype);
    const char *at = over_block(b, x->a[0], 0) + (size_t)r * (size_t)b->cols * w;
    if (is_arg(x))
        for (int k = 0; k < b->cols; k++)
            offer(m, at + (size_t)k * w, in->dtype, x->op, b->col_at + k);
    else
        b->d->vec->lanes(b->lanes + (size_t)v * VALUE_BYTES, at, cg__dtypes[x->dtype].compute, x->op, b->cols);
}

static void start_row(block *b, int v)
{
    const cg_val *x = &b->l->vals[v];
    if (!is_arg(x))
        cg__cpu_reduce_init(b->lanes + (size_t)v * VALUE_BYTES, cg__dtypes[x->dtype].compute, x->op, CG_LANES);
}

static void finish_row(block *b, int v, int r, const best *m)
{
    const cg_val *x = &b->l->vals[v];
    const cg_dtype c = cg__dtypes[x->dtype].compute;
    char *lanes = b->lanes + (size_t)v * VALUE_BYTES, *out = (char *)value(b, v) + (size_t)r * width(x->dtype);
    if (is_arg(x)) {
        memcpy(out, &m->index, 8);
        return;
    }
    halve(b, lanes, c, x->op);
    memcpy(out, lanes, width(x->dtype));
}

/* ---- stages */

static int last_stage(const cg_loop *l)
{
    int s = 0;
    for (int v = 0; v < l->nvals; v++)
        s = l->vals[v].stage > s ? l->vals[v].stage : s;
    return s;
}

/* Values of levels 0 and 1 that belong to stage s. */
static void eval_points(block *b, int s)
{
    for (int v = 0; v < b->l->nvals; v++)
        if (b->l->vals[v].level < 2 && b->l->vals[v].kind != CG_V_REDUCE && b->l->vals[v].stage == s)
            eval(b, v, false);
}

/* What level 2 work stage s needs: its reductions and stores, and all they are computed from. */
static void stage_needs(const cg_loop *l, int s, bool *need)
{
    for (int v = l->nvals - 1; v >= 0; v--) {
        const cg_val *x = &l->vals[v];
        if (x->stage == s && (x->kind == CG_V_REDUCE || (x->kind == CG_V_STORE && x->level == 2)))
            need[v] = true;
        if (!need[v] || (x->kind != CG_V_REDUCE && x->level < 2))
            continue;
        for (int k = 0; k < 3; k++)
            if (x->a[k] >= 0 && l->vals[x->a[k]].level == 2)
                need[x->a[k]] = true;
    }
}

static void eval_columns_of(block *b, const bool *need)
{
    for (int v = 0; v < b->l->nvals; v++)
        if (need[v] && b->l->vals[v].level == 2)
            eval(b, v, false);
}

/* Rows that fit a block: all level 2 values of a stage at once, then each row's reductions. */
static void short_rows(block *b, int s, const bool *need)
{
    b->col_at = 0;
    b->cols = (int)b->inner;
    eval_columns_of(b, need);
    for (int v = 0; v < b->l->nvals; v++)
        if (b->l->vals[v].kind == CG_V_REDUCE && b->l->vals[v].stage == s)
            for (int r = 0; r < b->rows; r++) {
                best m = { 0, 0, 0, false };
                start_row(b, v);
                accumulate_row(b, v, r, &m);
                finish_row(b, v, r, &m);
            }
}

/* One long row, in chunks. */
static void long_row(block *b, int s, const bool *need)
{
    best m[CG_LOOP_OPS * 4];
    memset(m, 0, sizeof m);
    for (int v = 0; v < b->l->nvals; v++)
        if (b->l->vals[v].kind == CG_V_REDUCE && b->l->vals[v].stage == s)
            start_row(b, v);
    for (b->col_at = 0; b->col_at < b->inner; b->col_at += CG_BLOCK) {
        b->cols = b->inner - b->col_at < CG_BLOCK ? (int)(b->inner - b->col_at) : CG_BLOCK;
        eval_columns_of(b, need);
        for (int v = 0; v < b->l->nvals; v++)
            if (b->l->vals[v].kind == CG_V_REDUCE && b->l->vals[v].stage == s)
                accumulate_row(b, v, 0, &m[v]);
    }
    for (int v = 0; v < b->l->nvals; v++)
        if (b->l->vals[v].kind == CG_V_REDUCE && b->l->vals[v].stage == s)
            finish_row(b, v, 0, &m[v]);
}

/* Columns: the outer points of the block are the vector; inner points in order, folded in blocks of CG_COLUMN_BLOCK. */
static void columns(block *b, int s, const bool *need)
{
    best m[CG_BLOCK];
    for (int v = 0; v < b->l->nvals; v++) {
        const cg_val *x = &b->l->vals[v];
        if (x->kind == CG_V_REDUCE && x->stage == s && !is_arg(x)) {
            cg__cpu_reduce_init(b->lanes + (size_t)v * VALUE_BYTES, cg__dtypes[x->dtype].compute, x->op, b->rows);
            cg__cpu_reduce_init(b->partial + (size_t)v * VALUE_BYTES, cg__dtypes[x->dtype].compute, x->op, b->rows);
        }
    }
    memset(m, 0, sizeof m);
    for (b->col_at = 0; b->col_at < b->inner; b->col_at++)
        for (int v = 0; v < b->l->nvals; v++) {
            const cg_val *x = &b->l->vals[v];
            if (need[v] && x->level == 2)
                eval(b, v, true);
            if (x->kind != CG_V_REDUCE || x->stage != s)
                continue;
            const char *in = value(b, x->a[0]);
            const cg_dtype c = cg__dtypes[x->dtype].compute, ci = b->l->vals[x->a[0]].dtype;
            for (int r = 0; is_arg(x) && r < b->rows; r++)
                offer(&m[r], in + (size_t)r * width(ci), ci, x->op, b->col_at);
            if (is_arg(x))
                continue;
            char *part = b->partial + (size_t)v * VALUE_BYTES, *all = b->lanes + (size_t)v * VALUE_BYTES;
            b->d->vec->fold(part, in, c, x->op, b->rows);
            if ((b->col_at + 1) % CG_COLUMN_BLOCK == 0 || b->col_at + 1 == b->inner) {
                b->d->vec->fold(all, part, c, x->op, b->rows);
                cg__cpu_reduce_init(part, c, x->op, b->rows);
            }
        }
    for (int v = 0; v < b->l->nvals; v++) {
        const cg_val *x = &b->l->vals[v];
        if (x->kind != CG_V_REDUCE || x->stage != s)
            continue;
        for (int r = 0; is_arg(x) && r < b->rows; r++)
            ((int64_t *)value(b, v))[r] = m[r].index;
        if (!is_arg(x))
            memcpy(value(b, v), b->lanes + (size_t)v * VALUE_BYTES, (size_t)b->rows * width(x->dtype));
    }
}

static void run_block(block *b)
{
    const cg_loop *l = b->l;
    const int last = last_stage(l);
    for (int s = 0; s <= last || s < l->nstages; s++) {
        bool need[CG_LOOP_OPS * 4] = { false };
        b->cols = 1;
        eval_points(b, s);
        if (l->naxes == l->nouter)
            continue;
        stage_needs(l, s, need);
        if (l->columns)
            columns(b, s, need);
        else if (b->inner <= CG_BLOCK)
            short_rows(b, s, need);
        else
            long_row(b, s, need);
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

static int rows_of_block(const cg_loop *l, int64_t inner)
{
    if (l->naxes == l->nouter || l->columns)
        return CG_BLOCK;
    return inner >= CG_BLOCK ? 1 : inner < 1 ? CG_BLOCK : (int)(CG_BLOCK / inner);
}

int cg__cpu_loop(cg_cpu *d, const cg_plan *p, int step, const int64_t *n, const cg_place *place, cg_error *err)
{
    const cg_loop *l = &p->steps.at[step].loop;
    const int64_t outer = points(l, n, 0, l->nouter), inner = points(l, n, l->nouter, l->naxes);
    const int rows = rows_of_block(l, inner);
    const int64_t nblocks = (outer + rows - 1) / rows;
    const bool parallel = d->threads > 1 && nblocks > 1 && (double)outer * (double)(inner > 0 ? inner : 1) * l->nvals > 32768;
    const int teams = parallel ? d->threads : 1;
    const size_t one = ((size_t)l->nvals * 3 + 3) * VALUE_BYTES;
    char *room = cg__aligned(one * (size_t)teams);
    int bad = 0;
    if (!room)
        return cg__fail(err, CG_ENOMEM, "no memory for the blocks of a loop");
    /* No if clause: beside num_threads, clang's runtime keeps the number for the next parallel region, which is OpenBLAS's;
     * that waits for ever in a team smaller than it asked for. */
#pragma omp parallel for schedule(static) num_threads(teams) reduction(| : bad)
    for (int team = 0; team < teams; team++) {
        char *mine = room + one * (size_t)team;
        const size_t area = (size_t)l->nvals * VALUE_BYTES;
        block b = { .d = d, .l = l, .n = n, .place = place, .vals = mine, .lanes = mine + area, .partial = mine + 2 * area, .spread = mine + 3 * area, .inner = inner };
        for (int64_t k = nblocks * team / teams; k < nblocks * (team + 1) / teams; k++) {
            b.outer_at = k * rows;
            b.rows = outer - b.outer_at < rows ? (int)(outer - b.outer_at) : rows;
            run_block(&b);
        }
        bad |= b.bad_index;
    }
    cg__aligned_free(room);
    if (bad && d->failed_step < 0)
        d->failed_step = step;
    return CG_OK;
}
