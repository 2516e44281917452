// SPDX-License-Identifier: MIT
/* Reductions as OpenCL C, in plan.h's canonical order: 64 lanes along rows, blocks of 256 along columns, pairs of value and index for argmax.
 *
 * cpu style: the lanes are an array. gpu style: they are the 64 work-items of a group; barriers stand only where control flow is uniform. Both
 * add the same elements to the same lanes in the same order, so they give the same bits. */
#include "backends/opencl/writer.h"

void cg__cl_identity(cg_strb *out, const cg_val *x)
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
void cg__cl_combine(cg_cl_writer *w, const cg_val *x, const char *to, const char *from)
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
    cg__cl_identity(w->out, x);
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

void cg__cl_reduce_open(cg_cl_writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    const char *name = w->local[v];
    if (cg__cl_is_arg(x)) {
        arg_open(w, x, name);
    } else if (w->l->columns || w->gpu) {
        declare(w, x, name, lane_suffix(w));
    } else {
        cg__cl_line(w, "%s %s_lane[64];", cg__cl_type(x->dtype), name);
        cg__cl_line(w, "for (int l = 0; l < 64; l++)");
        w->depth++;
        cg__cl_pad(w);
        cg__strb(w->out, "%s_lane[l] = ", name);
        cg__cl_identity(w->out, x);
        cg__strb(w->out, ";\n");
        w->depth--;
    }
}

void cg__cl_reduce_step(cg_cl_writer *w, int v, const char *index)
{
    const cg_val *x = &w->l->vals[v];
    char to[CG_CL_NAME * 2], from[CG_CL_NAME * 2];
    cg__cl_operand(w, x->a[0], from);
    if (cg__cl_is_arg(x)) {
        arg_step(w, x, w->local[v], from, index);
        return;
    }
    snprintf(to, sizeof to, "%s%s", w->local[v], w->l->columns ? "_part" : lane_suffix(w));
    cg__cl_combine(w, x, to, from);
}

/* The result under the value's own name, narrowed. */
void cg__cl_reduce_result(cg_cl_writer *w, int v, const char *from)
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
    cg__cl_combine(w, &w->l->vals[v], to, from);
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
    cg__cl_open(w, "if (other >= 0 && (mine < 0 || wins)) {");
    cg__cl_line(w, "%s_ats[lane] = other;", s);
    cg__cl_line(w, "%s_bests[lane] = x;", s);
    cg__cl_close(w);
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
    if (cg__cl_is_arg(x)) {
        cg__cl_line(w, "%s_ats[lane] = %s_at;", s, s);
        cg__cl_line(w, "%s_bests[lane] = %s_best;", s, s);
    } else
        cg__cl_line(w, "%s = %s_lane;", to, s);
    fence(w);
    cg__cl_open(w, "for (int h = 32; h; h /= 2) {");
    if (cg__cl_is_arg(x)) {
        cg__cl_open(w, "if (lane < h) {");
        better_pair(w, v);
        cg__cl_close(w);
    } else {
        cg__cl_line(w, "if (lane < h)");
        w->depth++;
        cg__cl_combine(w, x, to, from);
        w->depth--;
    }
    fence(w);
    cg__cl_close(w);
    snprintf(from, sizeof from, cg__cl_is_arg(x) ? "max(%s_ats[0], 0l)" : "%s_lanes[0]", s);
    cg__cl_reduce_result(w, v, from);
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

void cg__cl_reduce_close(cg_cl_writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    char from[CG_CL_NAME * 2];
    if (w->gpu && !w->l->columns) {
        halve_group(w, v);
    } else if (cg__cl_is_arg(x)) {
        snprintf(from, sizeof from, "max(%s_at, 0l)", w->local[v]);
        cg__cl_reduce_result(w, v, from);
    } else if (w->l->columns) {
        column_result(w, v);
    } else {
        halve_array(w, v);
        snprintf(from, sizeof from, "%s_lane[0]", w->local[v]);
        cg__cl_reduce_result(w, v, from);
    }
}

/* Local memory of a gpu kernel's reductions stands at the head of the kernel. */
void cg__cl_shared_lanes(cg_cl_writer *w)
{
    for (int v = 0; v < w->l->nvals; v++) {
        const cg_val *x = &w->l->vals[v];
        if (x->kind != CG_V_REDUCE)
            continue;
        if (cg__cl_is_arg(x)) {
            cg__cl_line(w, "__local long %s_ats[64];", w->local[v]);
            cg__cl_line(w, "__local %s %s_bests[64];", cg__cl_type(w->l->vals[x->a[0]].dtype), w->local[v]);
        } else
            cg__cl_line(w, "__local %s %s_lanes[64];", cg__cl_type(x->dtype), w->local[v]);
    }
}
void cg__cl_part_open(cg_cl_writer *w, int v)
{
    if (!cg__cl_is_arg(&w->l->vals[v]))
        declare(w, &w->l->vals[v], w->local[v], "_part");
}

void cg__cl_part_close(cg_cl_writer *w, int v)
{
    char part[CG_CL_NAME * 2];
    snprintf(part, sizeof part, "%s_part", w->local[v]);
    if (!cg__cl_is_arg(&w->l->vals[v]))
        cg__cl_combine(w, &w->l->vals[v], w->local[v], part);
}
