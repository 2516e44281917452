// SPDX-License-Identifier: MIT
/* A LOOP, or a KERNEL step, as OpenCL C: the frame of points, stages and reductions in plan.h's canonical order.
 *
 * cpu style: a work-item runs a chunk of outer points, 64 lanes are an array. gpu style: work-items stride over the outer points, or, for
 * reductions along rows, a work-group of 64 takes a point and the lanes are its work-items; barriers stand only where control flow is
 * uniform. Both add the same elements to the same lanes in the same order, so they give the same bits.
 * The text is canonical: it names no size, slot or user name, so every plan with the same structure shares the kernel. */
#include "backends/opencl/writer.h"
#include "kernels/pieces.h"

static bool is_arg(const cg_val *x) { return x->op == CG_RED_ARGMAX || x->op == CG_RED_ARGMIN; }
static bool has_inner(const cg_cl_writer *w) { return w->l->naxes > w->l->nouter; }

/* ---- coordinates */

static const char *extent(cg_cl_writer *w, int axis) { return cg__cl_number(w, w->l->extent[axis], "e%d", axis); }

/* The index over axes from..to-1 in row-major order: the axis itself if there is one only. */
static void linear_name(int from, int to, const char *several, char name[CG_CL_NAME])
{
    if (to - from == 1)
        snprintf(name, CG_CL_NAME, "i%d", from);
    else
        snprintf(name, CG_CL_NAME, "%s", several);
}

/* Splits a linear index into i<from>..i<to-1>. */
static void coordinates(cg_cl_writer *w, int from, int to, const char *linear)
{
    char at[CG_CL_NAME], first[CG_CL_NAME];
    snprintf(at, sizeof at, "%s", linear);
    snprintf(first, sizeof first, "i%d", from);
    for (int k = to - 1; k > from; k--) {
        cg__cl_line(w, "const %s i%d = %s %% n.%s, q%d = %s / n.%s;", w->index, k, at, extent(w, k), k, at, extent(w, k));
        snprintf(at, sizeof at, "q%d", k);
    }
    if (to > from && strcmp(at, first) != 0)
        cg__cl_line(w, "const %s %s = %s;", w->index, first, at);
}

static void points(cg_cl_writer *w, const char *name, int from, int to)
{
    cg__cl_pad(w);
    cg__strb(w->out, "const %s %s = ", w->index, name);
    for (int k = from; k < to; k++)
        cg__strb(w->out, "%sn.%s", k > from ? " * " : "", extent(w, k));
    cg__strb(w->out, to > from ? ";\n" : "1;\n");
}

static void open(cg_cl_writer *w, const char *line)
{
    cg__cl_line(w, "%s", line);
    w->depth++;
}

static void close(cg_cl_writer *w)
{
    w->depth--;
    cg__cl_line(w, "}");
}

/* ---- reductions: lanes along rows, blocks of 256 along columns, pairs of value and index for argmax */

static void identity(cg_strb *out, const cg_val *x)
{
    const cg_dtype c = cg__dtypes[x->dtype].compute;
    const bool max = x->op == CG_RED_MAX;
    if (x->op == CG_RED_SUM || x->op == CG_RED_PROD)
        cg__cl_literal(out, c, x->op == CG_RED_PROD, x->op == CG_RED_PROD);
    else if (cg__is_float(c))
        cg__strb(out, max ? "-INFINITY" : "INFINITY");
    else
        cg__strb(out, "%s", c == CG_I32 ? (max ? "INT_MIN" : "INT_MAX") : c == CG_I64 ? (max ? "LONG_MIN" : "LONG_MAX") : c == CG_U32 ? (max ? "0u" : "UINT_MAX") : max ? "0ul" : "ULONG_MAX");
}

/* to = combine(to, from) */
static void combine(cg_cl_writer *w, const cg_val *x, const char *to, const char *from)
{
    const bool sum = x->op == CG_RED_SUM || x->op == CG_RED_PROD;
    const cg_dtype c = cg__dtypes[x->dtype].compute;
    const char sign = x->op == CG_RED_SUM ? '+' : '*';
    if (sum && (c == CG_I32 || c == CG_I64))             /* signed overflow is undefined; integers wrap */
        cg__cl_line(w, "%s = (%s)((u%s)%s %c (u%s)%s);", to, cg__cl_type(c), cg__cl_type(c), to, sign, cg__cl_type(c), from);
    else if (sum)
        cg__cl_line(w, "%s %c= %s;", to, sign, from);
    else
        cg__cl_line(w, "%s = %s %c %s || %s != %s ? %s : %s;", to, to, x->op == CG_RED_MAX ? '>' : '<', from, to, to, to, from);
}

static void declare(cg_cl_writer *w, const cg_val *x, const char *name, const char *suffix)
{
    cg__cl_pad(w);
    cg__strb(w->out, "%s %s%s = ", cg__cl_type(x->dtype), name, suffix);
    identity(w->out, x);
    cg__strb(w->out, ";\n");
}

static void arg_open(cg_cl_writer *w, const cg_val *x, const char *name)
{
    cg__cl_line(w, "%s %s_best = 0;", cg__cl_type(w->l->vals[x->a[0]].dtype), name);
    cg__cl_line(w, "long %s_at = -1;", name);
}

/* Elements come in order, so an equal one never wins; the first NaN stays. */
static void arg_step(cg_cl_writer *w, const cg_val *x, const char *name, const char *from, const char *index)
{
    cg__cl_line(w, "if (%s_at < 0 || (%s_best == %s_best && (%s %c %s_best || %s != %s))) {", name, name, name, from, x->op == CG_RED_ARGMAX ? '>' : '<', name, from, from);
    cg__cl_line(w, "    %s_best = %s;", name, from);
    cg__cl_line(w, "    %s_at = %s;", name, index);
    cg__cl_line(w, "}");
}

static const char *lane_suffix(const cg_cl_writer *w) { return w->l->columns ? "" : w->gpu ? "_lane" : "_lane[l]"; }

static void reduce_open(cg_cl_writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    const char *name = w->local[v];
    if (is_arg(x)) {
        arg_open(w, x, name);
    } else if (w->l->columns || w->gpu) {
        declare(w, x, name, lane_suffix(w));
    } else {
        cg__cl_line(w, "%s %s_lane[64];", cg__cl_type(x->dtype), name);
        cg__cl_line(w, "for (int l = 0; l < 64; l++)");
        w->depth++;
        cg__cl_pad(w);
        cg__strb(w->out, "%s_lane[l] = ", name);
        identity(w->out, x);
        cg__strb(w->out, ";\n");
        w->depth--;
    }
}

static void reduce_step(cg_cl_writer *w, int v, const char *index)
{
    const cg_val *x = &w->l->vals[v];
    char to[CG_CL_NAME * 2], from[CG_CL_NAME * 2];
    cg__cl_operand(w, x->a[0], from);
    if (is_arg(x)) {
        arg_step(w, x, w->local[v], from, index);
        return;
    }
    snprintf(to, sizeof to, "%s%s", w->local[v], w->l->columns ? "_part" : lane_suffix(w));
    combine(w, x, to, from);
}

/* The result under the value's own name, narrowed. */
static void reduce_result(cg_cl_writer *w, int v, const char *from)
{
    const cg_val *x = &w->l->vals[v];
    cg__cl_pad(w);
    cg__strb(w->out, "const %s %s = ", cg__cl_type(x->dtype), w->local[v]);
    cg__cl_result(w, x, true);
    cg__strb(w->out, "%s", from);
    cg__cl_result(w, x, false);
    cg__strb(w->out, ";\n");
}

static void halve_array(cg_cl_writer *w, int v)
{
    char to[CG_CL_NAME * 2], from[CG_CL_NAME * 2];
    snprintf(to, sizeof to, "%s_lane[l]", w->local[v]);
    snprintf(from, sizeof from, "%s_lane[l + h]", w->local[v]);
    cg__cl_line(w, "for (int h = 32; h; h /= 2)");
    w->depth++;
    cg__cl_line(w, "for (int l = 0; l < h; l++)");
    w->depth++;
    combine(w, &w->l->vals[v], to, from);
    w->depth -= 2;
}

/* Of two pairs the better one: a value that beats the other, of equals the smaller index, the first NaN before all. */
static void better_pair(cg_cl_writer *w, int v)
{
    const char *s = w->local[v];
    cg__cl_line(w, "const long other = %s_ats[lane + h], mine = %s_ats[lane];", s, s);
    cg__cl_line(w, "const %s x = %s_bests[lane + h], best = %s_bests[lane];", cg__cl_type(w->l->vals[w->l->vals[v].a[0]].dtype), s, s);
    cg__cl_line(w, "const int first = other < mine, wins = best == best ? x != x || x %c best || (x == best && first) : x != x && first;",
                w->l->vals[v].op == CG_RED_ARGMAX ? '>' : '<');
    open(w, "if (other >= 0 && (mine < 0 || wins)) {");
    cg__cl_line(w, "%s_ats[lane] = other;", s);
    cg__cl_line(w, "%s_bests[lane] = x;", s);
    close(w);
}

static void fence(cg_cl_writer *w) { cg__cl_line(w, "barrier(CLK_LOCAL_MEM_FENCE);"); }

/* gpu: the lanes of a work-group, combined by halving in local memory. */
static void halve_group(cg_cl_writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    const char *s = w->local[v];
    char to[CG_CL_NAME * 2], from[CG_CL_NAME * 2];
    snprintf(to, sizeof to, "%s_lanes[lane]", s);
    snprintf(from, sizeof from, "%s_lanes[lane + h]", s);
    if (is_arg(x)) {
        cg__cl_line(w, "%s_ats[lane] = %s_at;", s, s);
        cg__cl_line(w, "%s_bests[lane] = %s_best;", s, s);
    } else
        cg__cl_line(w, "%s = %s_lane;", to, s);
    fence(w);
    open(w, "for (int h = 32; h; h /= 2) {");
    if (is_arg(x)) {
        open(w, "if (lane < h) {");
        better_pair(w, v);
        close(w);
    } else {
        cg__cl_line(w, "if (lane < h)");
        w->depth++;
        combine(w, x, to, from);
        w->depth--;
    }
    fence(w);
    close(w);
    snprintf(from, sizeof from, is_arg(x) ? "max(%s_ats[0], 0l)" : "%s_lanes[0]", s);
    reduce_result(w, v, from);
    fence(w);
}

/* The total has the value's name already; only f16 and bf16 have something left to do. */
static void column_result(cg_cl_writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    if (cg__dtypes[x->dtype].compute == x->dtype)
        return;
    cg__cl_pad(w);
    cg__strb(w->out, "%s = ", w->local[v]);
    cg__cl_result(w, x, true);
    cg__strb(w->out, "%s", w->local[v]);
    cg__cl_result(w, x, false);
    cg__strb(w->out, ";\n");
}

static void reduce_close(cg_cl_writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    char from[CG_CL_NAME * 2];
    if (w->gpu && !w->l->columns) {
        halve_group(w, v);
    } else if (is_arg(x)) {
        snprintf(from, sizeof from, "max(%s_at, 0l)", w->local[v]);
        reduce_result(w, v, from);
    } else if (w->l->columns) {
        column_result(w, v);
    } else {
        halve_array(w, v);
        snprintf(from, sizeof from, "%s_lane[0]", w->local[v]);
        reduce_result(w, v, from);
    }
}

/* Local memory of a gpu kernel's reductions stands at the head of the kernel. */
static void shared_lanes(cg_cl_writer *w)
{
    for (int v = 0; v < w->l->nvals; v++) {
        const cg_val *x = &w->l->vals[v];
        if (x->kind != CG_V_REDUCE)
            continue;
        if (is_arg(x)) {
            cg__cl_line(w, "__local long %s_ats[64];", w->local[v]);
            cg__cl_line(w, "__local %s %s_bests[64];", cg__cl_type(w->l->vals[x->a[0]].dtype), w->local[v]);
        } else
            cg__cl_line(w, "__local %s %s_lanes[64];", cg__cl_type(x->dtype), w->local[v]);
    }
}

/* ---- stages */

typedef struct stage { bool need[CG_CL_VALUES], reduces, any; } stage;

static stage stage_of(const cg_loop *l, int s)
{
    stage g = { .any = false };
    if (l->naxes > l->nouter)
        cg__loop_stage_needs(l, s, g.need);
    for (int v = 0; v < l->nvals; v++) {
        g.any = g.any || g.need[v];
        g.reduces = g.reduces || (g.need[v] && l->vals[v].kind == CG_V_REDUCE);
    }
    return g;
}

typedef void reduce_fn(cg_cl_writer *w, int v);

static void each_reduction(cg_cl_writer *w, const stage *g, reduce_fn *fn)
{
    for (int v = 0; v < w->l->nvals; v++)
        if (g->need[v] && w->l->vals[v].kind == CG_V_REDUCE)
            fn(w, v);
}

/* The level 2 work at one inner point, whose linear index has the name `at`. */
static void inner_point(cg_cl_writer *w, const stage *g, const char *at)
{
    coordinates(w, w->l->nouter, w->l->naxes, at);
    for (int v = 0; v < w->l->nvals; v++) {
        if (g->need[v] && w->l->vals[v].level == 2)
            cg__cl_value(w, v);
        if (g->need[v] && w->l->vals[v].kind == CG_V_REDUCE)
            reduce_step(w, v, at);
    }
}

static void part_open(cg_cl_writer *w, int v)
{
    if (!is_arg(&w->l->vals[v]))
        declare(w, &w->l->vals[v], w->local[v], "_part");
}

static void part_close(cg_cl_writer *w, int v)
{
    char part[CG_CL_NAME * 2];
    snprintf(part, sizeof part, "%s_part", w->local[v]);
    if (!is_arg(&w->l->vals[v]))
        combine(w, &w->l->vals[v], w->local[v], part);
}

static void columns_loop(cg_cl_writer *w, const stage *g, const char *at)
{
    cg__cl_line(w, "for (%s t = 0; t < inner; t += 256) {", w->index);
    w->depth++;
    cg__cl_line(w, "const %s stop = inner - t < 256 ? inner : t + 256;", w->index);
    each_reduction(w, g, part_open);
    cg__cl_line(w, "for (%s %s = t; %s < stop; %s++) {", w->index, at, at, at);
    w->depth++;
    inner_point(w, g, at);
    close(w);
    each_reduction(w, g, part_close);
    close(w);
}

static void lanes_loop(cg_cl_writer *w, const stage *g, const char *at)
{
    cg__cl_line(w, "for (%s t = 0; t < inner; t += 64) {", w->index);
    w->depth++;
    cg__cl_line(w, "const int lanes = inner - t < 64 ? (int)(inner - t) : 64;");
    open(w, "for (int l = 0; l < lanes; l++) {");
    cg__cl_line(w, "const %s %s = t + l;", w->index, at);
    inner_point(w, g, at);
    close(w);
    close(w);
}

static void inner_loop(cg_cl_writer *w, const stage *g)
{
    char at[CG_CL_NAME];
    linear_name(w->l->nouter, w->l->naxes, "j", at);
    if (w->l->columns && g->reduces) {
        columns_loop(w, g, at);
    } else if (!w->gpu && g->reduces) {
        lanes_loop(w, g, at);
    } else {
        const bool group = w->gpu && !w->l->columns;
        cg__cl_line(w, group ? "for (%s %s = lane; %s < inner; %s += 64) {" : "for (%s %s = 0; %s < inner; %s++) {", w->index, at, at, at);
        w->depth++;
        inner_point(w, g, at);
        close(w);
    }
}

static bool hoisted(const cg_val *x) { return x->level == 0 && x->stage == 0 && x->kind != CG_V_STORE && x->kind != CG_V_REDUCE; }

/* What is the same for all points, before the first. */
static void scalars(cg_cl_writer *w)
{
    for (int v = 0; v < w->l->nvals; v++)
        if (hoisted(&w->l->vals[v]))
            cg__cl_value(w, v);
}

/* In a work-group all lanes know a point's values, and the first one stores them. */
static void point_values(cg_cl_writer *w, int s)
{
    const bool group = w->gpu && has_inner(w) && !w->l->columns;
    for (int v = 0; v < w->l->nvals; v++) {
        const cg_val *x = &w->l->vals[v];
        if (x->level == 2 || x->kind == CG_V_REDUCE || x->stage != s || hoisted(x))
            continue;
        const bool alone = group && x->kind == CG_V_STORE;
        if (alone)
            cg__cl_line(w, "if (lane == 0)");
        w->depth += alone;
        cg__cl_value(w, v);
        w->depth -= alone;
    }
}

static void stages(cg_cl_writer *w)
{
    const int last = cg__loop_last_stage(w->l);
    for (int s = 0; s <= last; s++) {
        const stage g = stage_of(w->l, s);
        point_values(w, s);
        if (!g.any)
            continue;
        each_reduction(w, &g, reduce_open);
        inner_loop(w, &g);
        each_reduction(w, &g, reduce_close);
    }
}

/* ---- columns, cpu style: the reduced axes outside, a tile of the last outer axis inside, where memory is contiguous */

enum { TILE = 64 };

/* All reductions stand in the first stage, and none is of pairs. */
static bool tiled(const cg_cl_writer *w)
{
    bool yes = !w->gpu && w->l->columns, any = false;
    for (int v = 0; v < w->l->nvals; v++) {
        const cg_val *x = &w->l->vals[v];
        any |= x->kind == CG_V_REDUCE;
        yes &= x->kind == CG_V_REDUCE ? x->stage == 0 && !is_arg(x) : x->level < 2 || (x->stage == 0 && x->kind != CG_V_STORE);
    }
    return yes && any;
}

static void each_column(cg_cl_writer *w)
{
    cg__cl_line(w, "for (int c = 0; c < width; c++) {");
    w->depth++;
}

static void column(cg_cl_writer *w) { cg__cl_line(w, "const %s i%d = first + c;", w->index, w->l->nouter - 1); }

/* The array `suffix` of each reduction at its identity. */
static void start_tile(cg_cl_writer *w, const char *suffix)
{
    each_column(w);
    for (int v = 0; v < w->l->nvals; v++)
        if (w->l->vals[v].kind == CG_V_REDUCE) {
            cg__cl_pad(w);
            cg__strb(w->out, "%s_%s[c] = ", w->local[v], suffix);
            identity(w->out, &w->l->vals[v]);
            cg__strb(w->out, ";\n");
        }
    close(w);
}

/* What a point knows before its reductions, and its level 2 work. */
static void tile_point(cg_cl_writer *w, const stage *g, const char *at)
{
    bool need[CG_CL_VALUES] = { false };
    for (int v = w->l->nvals - 1; v >= 0; v--) {
        const cg_val *x = &w->l->vals[v];
        need[v] |= g->need[v];
        for (int k = 0; k < 3 && need[v]; k++)
            if (x->a[k] >= 0)
                need[x->a[k]] = true;
    }
    column(w);
    coordinates(w, w->l->nouter, w->l->naxes, at);
    for (int v = 0; v < w->l->nvals; v++) {
        const cg_val *x = &w->l->vals[v];
        char to[CG_CL_NAME * 2], from[CG_CL_NAME * 2];
        if (need[v] && x->kind != CG_V_REDUCE && !hoisted(x))
            cg__cl_value(w, v);
        if (x->kind != CG_V_REDUCE)
            continue;
        cg__cl_operand(w, x->a[0], from);
        snprintf(to, sizeof to, "%s_part[c]", w->local[v]);
        combine(w, x, to, from);
    }
}

static void add_parts(cg_cl_writer *w)
{
    each_column(w);
    for (int v = 0; v < w->l->nvals; v++)
        if (w->l->vals[v].kind == CG_V_REDUCE) {
            char to[CG_CL_NAME * 2], from[CG_CL_NAME * 2];
            snprintf(to, sizeof to, "%s_tile[c]", w->local[v]);
            snprintf(from, sizeof from, "%s_part[c]", w->local[v]);
            combine(w, &w->l->vals[v], to, from);
        }
    close(w);
}

static void tile_results(cg_cl_writer *w)
{
    const int last = cg__loop_last_stage(w->l);
    each_column(w);
    column(w);
    for (int v = 0; v < w->l->nvals; v++)
        if (w->l->vals[v].kind == CG_V_REDUCE) {
            char from[CG_CL_NAME * 2];
            snprintf(from, sizeof from, "%s_tile[c]", w->local[v]);
            reduce_result(w, v, from);
        }
    for (int s = 0; s <= last; s++)
        point_values(w, s);
    close(w);
}

/* The columns from..to-1 of a run. */
static void tiles(cg_cl_writer *w)
{
    const stage g = stage_of(w->l, 0);
    char at[CG_CL_NAME];
    linear_name(w->l->nouter, w->l->naxes, "j", at);
    cg__cl_line(w, "for (%s first = from; first < to; first += %d) {", w->index, TILE);
    w->depth++;
    cg__cl_line(w, "const int width = to - first < %d ? (int)(to - first) : %d;", TILE, TILE);
    for (int v = 0; v < w->l->nvals; v++)
        if (w->l->vals[v].kind == CG_V_REDUCE)
            cg__cl_line(w, "%s %s_tile[%d], %s_part[%d];", cg__cl_type(w->l->vals[v].dtype), w->local[v], TILE, w->local[v], TILE);
    start_tile(w, "tile");
    cg__cl_line(w, "for (%s t = 0; t < inner; t += 256) {", w->index);
    w->depth++;
    cg__cl_line(w, "const %s stop = inner - t < 256 ? inner : t + 256;", w->index);
    start_tile(w, "part");
    cg__cl_line(w, "for (%s %s = t; %s < stop; %s++) {", w->index, at, at, at);
    w->depth++;
    each_column(w);
    tile_point(w, &g, at);
    close(w);
    close(w);
    add_parts(w);
    close(w);
    tile_results(w);
    close(w);
}

/* ---- points */

/* Each work-item's share of the points: a chunk, or every get_global_size-th. */
static void chunk(cg_cl_writer *w, const char *of)
{
    cg__cl_line(w, "const %s items = (%s)get_global_size(0), chunk = (%s + items - 1) / items;", w->index, w->index, of);
    cg__cl_line(w, "const %s begin = (%s)get_global_id(0) * chunk, end = min(begin + chunk, %s);", w->index, w->index, of);
}

/* Runs along the last axis, so that the innermost loop has constant strides. */
static void runs(cg_cl_writer *w)
{
    const int k = w->l->nouter - 1;
    char row[CG_CL_NAME];
    linear_name(0, k, "row", row);
    cg__cl_line(w, "for (%s o = begin; o < end;) {", w->index);
    w->depth++;
    cg__cl_line(w, "const %s %s = o / n.%s, from = o %% n.%s, to = min(n.%s, from + end - o);", w->index, row, extent(w, k), extent(w, k), extent(w, k));
    coordinates(w, 0, k, row);
    if (tiled(w))
        tiles(w);
    else {
        cg__cl_line(w, "for (%s i%d = from; i%d < to; i%d++) {", w->index, k, k, k);
        w->depth++;
        stages(w);
        close(w);
    }
    cg__cl_line(w, "o += to - from;");
    close(w);
}

static void body(cg_cl_writer *w)
{
    const bool group = w->gpu && has_inner(w) && !w->l->columns;
    char at[CG_CL_NAME];
    linear_name(0, w->l->nouter, "o", at);
    if (group)
        shared_lanes(w);
    points(w, "outer", 0, w->l->nouter);
    if (has_inner(w))
        points(w, "inner", w->l->nouter, w->l->naxes);
    scalars(w);
    if (group)
        cg__cl_line(w, "const int lane = (int)get_local_id(0);");
    if (!w->gpu)
        chunk(w, "outer");
    if (tiled(w) || (!w->gpu && !has_inner(w) && w->l->nouter > 1)) {
        runs(w);
        return;
    }
    if (!w->gpu)
        cg__cl_line(w, "for (%s %s = begin; %s < end; %s++) {", w->index, at, at, at);
    else
        cg__cl_line(w, "for (%s %s = (%s)get_%s_id(0); %s < outer; %s += (%s)get_%s(0)) {", w->index, at, w->index, group ? "group" : "global", at, at, w->index,
                    group ? "num_groups" : "global_size");
    w->depth++;
    coordinates(w, 0, w->l->nouter, at);
    stages(w);
    close(w);
}

/* ---- the kernel */

/* Up to five operations in order, without repetition, and the dtype of the result: loop_sub_exp_sum_f32. */
static void base_name(const cg_cl_writer *w, cg_strb *out)
{
    const char *names[5], *dtype = "";
    int n = 0;
    for (int v = 0; v < w->l->nvals; v++) {
        const cg_val *x = &w->l->vals[v];
        const char *name = x->kind == CG_V_ELEM ? cg__elems[x->op].name : x->kind == CG_V_REDUCE ? cg__cl_reduction(x) : NULL;
        dtype = x->kind == CG_V_STORE ? cg__dtypes[x->dtype].name : dtype;
        for (int i = 0; i < n && name; i++)
            name = strcmp(names[i], name) == 0 ? NULL : name;
        if (name && n < CG_LEN(names))
            names[n++] = name;
    }
    cg__strb(out, "loop");
    for (int i = 0; i < n; i++)
        cg__strb(out, "_%s", names[i]);
    cg__strb(out, n ? "_%s" : "_copy_%s", dtype);
}

typedef struct pointer { const char *type, *name; bool read; } pointer;

/* What takes a struct of numbers and the operands: all of a kernel but its beginning. prefix: of the operands' names. */
static void parameters(const cg_cl_writer *w, cg_strb *out, const char *prefix, const pointer *at, int n)
{
    for (int i = 0; i < n; i++)
        cg__strb(out, ", __global %s%s *%s%s", at[i].read ? "const " : "", at[i].type, prefix, at[i].name);
    cg__strb(out, w->k->can_fail ? ", __global int *status" : "");
}

static void kernel_begin(const cg_cl_writer *w, cg_strb *out, const char *name, const char *numbers)
{
    cg__strb(out, "__kernel __attribute__((reqd_work_group_size(%d, 1, 1)))\nvoid %s(const %s_%s n", w->gpu ? 64 : 1, name, name, numbers);
}

/* The kernel of a group: the loop is a function, which every work-item calls for its share of each member. */
static void group_kernel(const cg_cl_writer *w, cg_strb *out, const char *name, const pointer *at, int n)
{
    char prefix[CG_CL_NAME];
    cg__strb(out, "typedef struct { %s_numbers of[%d]; } %s_group;\n", name, w->group, name);
    kernel_begin(w, out, name, "group");
    for (int m = 0; m < w->group; m++) {
        snprintf(prefix, sizeof prefix, "m%d_", m);
        parameters(w, out, prefix, at, n);
    }
    cg__strb(out, ")\n{\n");
    for (int m = 0; m < w->group; m++) {
        cg__strb(out, "    %s_one(n.of[%d]", name, m);
        for (int i = 0; i < n; i++)
            cg__strb(out, ", m%d_%s", m, at[i].name);
        cg__strb(out, ");\n");
    }
    cg__strb(out, "}\n");
}

/* Names the kernel by its text, and puts the numbers, the signature and the body together. */
static int finish(cg_cl_writer *w, const char *base, const char *head, const char *code, const pointer *at, int n)
{
    cg_strb sign = { 0 }, out = { 0 }, name = { 0 };
    cg__strb(&sign, "    %s ", w->index);
    for (int i = 0; i < w->k->n; i++)
        cg__strb(&sign, "%s%s", i ? ", " : "", w->number[i]);
    cg__strb(&sign, w->k->can_fail ? ", step, call;\n}" : ";\n}");
    char *numbers = cg__strb_take(&sign);
    parameters(w, &sign, "", at, n);
    cg__strb(&sign, ")\n{\n%s}\n", code);
    char *rest = cg__strb_take(&sign);
    if (numbers && rest) {
        const uint64_t h = cg__hash(rest, strlen(rest), cg__hash(numbers, strlen(numbers), 3 + w->gpu));
        cg__strb(&name, w->group > 1 ? "%s_%08x_x%d" : "%s_%08x", base, (unsigned)h, w->group);
        w->k->name = cg__strb_take(&name);
    }
    if (w->k->name) {
        cg__strb(&out, "%stypedef struct {\n%s %s_numbers;\n", head, numbers, w->k->name);
        if (w->group > 1)
            cg__strb(&out, "static void %s_one(const %s_numbers n", w->k->name, w->k->name);
        else
            kernel_begin(w, &out, w->k->name, "numbers");
        cg__strb(&out, "%s", rest);
        if (w->group > 1)
            group_kernel(w, &out, w->k->name, at, n);
        w->k->text = cg__strb_take(&out);
    }
    cg__free(numbers);
    cg__free(rest);
    return w->k->name && w->k->text ? CG_OK : CG_ENOMEM;
}

static int loop_text(cg_cl_writer *w)
{
    pointer at[CG_CL_OPERANDS];
    cg_strb code = { 0 }, head = { 0 }, base = { 0 };
    const cg_loop *l = w->l;
    cg__cl_name_values(w);
    w->out = &code;
    w->depth = 1;
    body(w);
    w->out = &head;
    cg__cl_head(w);
    base_name(w, &base);
    for (int k = 0; k < l->noperands; k++)
        at[k] = (pointer){ cg__dtypes[w->p->slots.at[l->operands[k].slot].dtype].cl_name, w->operand[k], w->operand[k][0] == 'i' };
    char *b = cg__strb_take(&base), *h = cg__strb_take(&head), *c = cg__strb_take(&code);
    const int rc = b && h && c ? finish(w, b, h, c, at, l->noperands) : CG_ENOMEM;
    cg__free(b);
    cg__free(h);
    cg__free(c);
    return rc;
}

/* ---- SCATTER_ADD: a work-item owns columns, and adds rows in the order of the indices */

static void scatter_body(cg_cl_writer *w, const char *half)
{
    const char *I = w->index;
    if (w->gpu)
        cg__cl_line(w, "const %s begin = (%s)get_global_id(0), end = n.cols, step = (%s)get_global_size(0);", I, I, I);
    else {
        chunk(w, "n.cols");
        cg__cl_line(w, "const %s step = 1;", I);
    }
    cg__cl_line(w, "for (%s r = 0; r < n.rows; r++)", I);
    cg__cl_line(w, "    for (%s j = begin; j < end; j += step)", I);
    cg__cl_line(w, "        out0[n.out0_at + r * n.cols + j] = 0;");
    cg__cl_line(w, "for (%s i = 0; i < n.count; i++) {", I);
    w->depth++;
    cg__cl_line(w, "const long index = in0[n.in0_at + i], row = index < 0 ? index + n.rows : index;");
    open(w, "if (row < 0 || row >= n.rows) {");
    cg__cl_line(w, "atomic_min(&status[n.call], (int)n.step);");
    cg__cl_line(w, "continue;");
    close(w);
    cg__cl_line(w, "for (%s j = begin; j < end; j += step) {", I);
    w->depth++;
    cg__cl_line(w, "const %s to = n.out0_at + (%s)row * n.cols + j, from = n.in1_at + i * n.cols + j;", I, I);
    if (half)
        cg__cl_line(w, "out0[to] = (ushort)cg_store_%s(cg_load_%s(out0[to]) + cg_load_%s(in1[from]));", half, half, half);
    else
        cg__cl_line(w, "out0[to] += in1[from];");
    close(w);
    close(w);
}

static int scatter_text(cg_cl_writer *w, const cg_kernel *s)
{
    static const char *const names[] = { "rows", "cols", "count" }, *const pointers[] = { "out0", "in0", "in1" };
    const cg_dtype d = w->p->slots.at[s->slots[0]].dtype, index = w->p->slots.at[s->slots[1]].dtype;
    pointer at[3];
    cg_strb code = { 0 }, base = { 0 };
    for (int i = 0; i < 3; i++) {
        w->k->num[i] = (cg_cl_number){ .id = s->nums[i] };
        w->k->num[3 + i] = (cg_cl_number){ .base = true, .id = i };
        snprintf(w->number[i], CG_CL_NAME, "%s", names[i]);
        snprintf(w->number[3 + i], CG_CL_NAME, "%s_at", pointers[i]);
        at[i] = (pointer){ cg__dtypes[i == 1 ? index : d].cl_name, pointers[i], i > 0 };
    }
    w->k->n = 6;
    w->k->can_fail = true;
    w->out = &code;
    w->depth = 1;
    scatter_body(w, d == CG_F16 ? "f16" : d == CG_BF16 ? "bf16" : NULL);
    cg__strb(&base, "scatter_add_%s_%s", cg__dtypes[d].name, cg__dtypes[index].name);
    char *b = cg__strb_take(&base), *c = cg__strb_take(&code);
    const int rc = b && c ? finish(w, b, "// out0 = 0; out0[in0[i], j] += in1[i, j] in the order of i\n", c, at, 3) : CG_ENOMEM;
    cg__free(b);
    cg__free(c);
    return rc;
}

/* ---- */

int cg__cl_step_text(const cg_plan *p, const cg_step *s, int group, bool gpu, bool wide, cg_cl_text *out, cg_error *err)
{
    const bool loop = s->kind == CG_STEP_LOOP;
    if ((!loop && s->kind != CG_STEP_KERNEL) || out->text)
        return CG_OK;
    if (loop && (s->loop.noperands > CG_CL_OPERANDS || s->loop.nvals > CG_CL_VALUES))
        return cg__fail(err, CG_EUNSUPPORTED, "opencl: a loop (%s) has %d operands and %d values, more than a kernel takes", s->label, s->loop.noperands, s->loop.nvals);
    cg_cl_writer *w = cg__zalloc(sizeof *w);
    if (!w)
        return cg__fail(err, CG_ENOMEM, "opencl: no memory for kernel text");
    *w = (cg_cl_writer){ .p = p, .l = &s->loop, .k = out, .index = wide ? "long" : "int", .gpu = gpu, .group = group };
    out->wide = wide;
    out->n = 0;
    int rc = loop ? loop_text(w) : scatter_text(w, &s->kernel);
    if (rc < 0)
        rc = cg__fail(err, CG_ENOMEM, "opencl: no memory for kernel text");
    else if (w->overflow)
        rc = cg__fail(err, CG_EUNSUPPORTED, "opencl: a loop (%s) takes more than %d numbers", s->label, CG_CL_NUMBERS);
    cg__free(w);
    return rc;
}

/* ---- the math that a text uses, and what that uses; pieces stand in an order in which callees come first */

void cg__cl_source(const char *kernels, cg_strb *out)
{
    bool used[CG_MATH_PIECES_MAX] = { true };
    int n = 1;
    for (; cg__math_pieces[n].name; n++)
        used[n] = strstr(kernels, cg__math_pieces[n].name) != NULL;
    for (int i = n - 1; i > 0; i--)
        for (int k = 1; used[i] && k < i; k++)
            used[k] = used[k] || strstr(cg__math_pieces[i].deps, cg__math_pieces[k].name) != NULL;
    cg__strb(out, "#pragma OPENCL FP_CONTRACT OFF\n");
    if (cg__cl_needs_f64(kernels))
        cg__strb(out, "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n");
    for (int i = 0; i < n; i++)
        if (used[i])
            cg__strb(out, "%s", cg__math_pieces[i].text);
    cg__strb(out, "%s", kernels);
}

bool cg__cl_needs_f64(const char *kernels)
{
    return strstr(kernels, "double") || strstr(kernels, "_f64");
}
