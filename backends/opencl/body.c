// SPDX-License-Identifier: MIT
/* The frame of a LOOP's kernel: points, stages, and the values and reductions in them.
 *
 * cpu style: a work-item runs a chunk of outer points. gpu style: work-items stride over the outer points, or, for reductions along rows, a
 * work-group of 64 takes a point. */
#include "backends/opencl/writer.h"

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
            cg__cl_reduce_step(w, v, at);
    }
}

static void columns_loop(cg_cl_writer *w, const stage *g, const char *at)
{
    cg__cl_line(w, "for (%s t = 0; t < inner; t += 256) {", w->index);
    w->depth++;
    cg__cl_line(w, "const %s stop = inner - t < 256 ? inner : t + 256;", w->index);
    each_reduction(w, g, cg__cl_part_open);
    cg__cl_line(w, "for (%s %s = t; %s < stop; %s++) {", w->index, at, at, at);
    w->depth++;
    inner_point(w, g, at);
    cg__cl_close(w);
    each_reduction(w, g, cg__cl_part_close);
    cg__cl_close(w);
}

static void lanes_loop(cg_cl_writer *w, const stage *g, const char *at)
{
    cg__cl_line(w, "for (%s t = 0; t < inner; t += 64) {", w->index);
    w->depth++;
    cg__cl_line(w, "const int lanes = inner - t < 64 ? (int)(inner - t) : 64;");
    cg__cl_open(w, "for (int l = 0; l < lanes; l++) {");
    cg__cl_line(w, "const %s %s = t + l;", w->index, at);
    inner_point(w, g, at);
    cg__cl_close(w);
    cg__cl_close(w);
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
        cg__cl_close(w);
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
        each_reduction(w, &g, cg__cl_reduce_open);
        inner_loop(w, &g);
        each_reduction(w, &g, cg__cl_reduce_close);
    }
}
/* ---- columns, cpu style: the reduced axes outside, a tile of the last outer axis inside, where memory is contiguous */

enum { COMPARISONS = 8, TILE = 64 };

/* All reductions stand in the first stage, and none is of pairs. */
static bool tiled(const cg_cl_writer *w)
{
    bool yes = !w->gpu && w->l->columns, any = false;
    for (int v = 0; v < w->l->nvals; v++) {
        const cg_val *x = &w->l->vals[v];
        any |= x->kind == CG_V_REDUCE;
        yes &= x->kind == CG_V_REDUCE ? x->stage == 0 && !cg__cl_is_arg(x) : x->level < 2 || (x->stage == 0 && x->kind != CG_V_STORE);
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
            cg__cl_identity(w->out, &w->l->vals[v]);
            cg__strb(w->out, ";\n");
        }
    cg__cl_close(w);
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
        cg__cl_combine(w, x, to, from);
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
            cg__cl_combine(w, &w->l->vals[v], to, from);
        }
    cg__cl_close(w);
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
            cg__cl_reduce_result(w, v, from);
        }
    for (int s = 0; s <= last; s++)
        point_values(w, s);
    cg__cl_close(w);
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
    cg__cl_close(w);
    cg__cl_close(w);
    add_parts(w);
    cg__cl_close(w);
    tile_results(w);
    cg__cl_close(w);
}
/* ---- points */

/* Each work-item's share of the points: a cg__cl_chunk, or every get_global_size-th. */
void cg__cl_chunk(cg_cl_writer *w, const char *of)
{
    cg__cl_line(w, "const %s items = (%s)get_global_size(0), chunk = (%s + items - 1) / items;", w->index, w->index, of);
    cg__cl_line(w, "const %s begin = (%s)get_global_id(0) * chunk, end = min(begin + chunk, %s);", w->index, w->index, of);
}

/* Points do not depend on each other, but LLVM would have to compare the places of all that is stored with all else, and beyond so many
 * comparisons it leaves the loop as it is. Other compilers do not know the line. */
static void independent(cg_cl_writer *w)
{
    int stores = 0;
    bool plain = !w->gpu && !has_inner(w);
    for (int v = 0; v < w->l->nvals; v++)
        stores += w->l->vals[v].kind == CG_V_STORE;
    for (int k = 0; k < w->l->noperands; k++)
        plain &= w->l->operands[k].gather < 0 && !w->l->operands[k].nwindows;
    if (plain && stores * (w->l->noperands - 1) > COMPARISONS)
        cg__cl_line(w, "#pragma clang loop vectorize(assume_safety)");
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
        independent(w);
        cg__cl_line(w, "for (%s i%d = from; i%d < to; i%d++) {", w->index, k, k, k);
        w->depth++;
        stages(w);
        cg__cl_close(w);
    }
    cg__cl_line(w, "o += to - from;");
    cg__cl_close(w);
}

void cg__cl_body(cg_cl_writer *w)
{
    const bool group = w->gpu && has_inner(w) && !w->l->columns;
    char at[CG_CL_NAME];
    linear_name(0, w->l->nouter, "o", at);
    if (group)
        cg__cl_shared_lanes(w);
    points(w, "outer", 0, w->l->nouter);
    if (has_inner(w))
        points(w, "inner", w->l->nouter, w->l->naxes);
    scalars(w);
    if (group)
        cg__cl_line(w, "const int lane = (int)get_local_id(0);");
    if (!w->gpu)
        cg__cl_chunk(w, "outer");
    if (tiled(w) || (!w->gpu && !has_inner(w) && w->l->nouter > 1)) {
        runs(w);
        return;
    }
    independent(w);
    if (!w->gpu)
        cg__cl_line(w, "for (%s %s = begin; %s < end; %s++) {", w->index, at, at, at);
    else
        cg__cl_line(w, "for (%s %s = (%s)get_%s_id(0); %s < outer; %s += (%s)get_%s(0)) {", w->index, at, w->index, group ? "group" : "global", at, at, w->index,
                    group ? "num_groups" : "global_size");
    w->depth++;
    coordinates(w, 0, w->l->nouter, at);
    stages(w);
    cg__cl_close(w);
}
