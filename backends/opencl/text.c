// SPDX-License-Identifier: MIT
/* A LOOP as OpenCL C. Each work-item runs a chunk of outer points; reductions follow plan.h's order within the work-item.
 *
 * The text is canonical: it names no size, slot or user name, so every plan with the same structure shares the kernel. */
#include <ctype.h>
#include "backends/opencl/opencl.h"
#include "kernels/pieces.h"

typedef struct writer { const cg_plan *p; const cg_loop *l; cg_cl_numbers *nums; cg_strb *out; const char *pad; bool overflow; } writer;

static const char *type_of(cg_dtype d) { return cg__dtypes[cg__dtypes[d].compute].cl_name; }

static int slot_of(writer *w, cg_num id)
{
    for (int i = 0; i < w->nums->n; i++)
        if (w->nums->id[i] == id)
            return i;
    if (w->nums->n == CG_CL_NUMBERS) {
        w->overflow = true;
        return 0;
    }
    w->nums->id[w->nums->n] = id;
    return w->nums->n++;
}

/* ---- addresses */

static void affine(writer *w, cg_num off, const cg_num *c)
{
    cg__strb(w->out, "n.v[%d]", slot_of(w, off));
    for (int k = 0; k < w->l->naxes; k++) {
        const int cls = cg__stride_class(w->p, c[k]);
        if (cls == 1)
            cg__strb(w->out, " + i%d", k);
        else if (cls == 2)
            cg__strb(w->out, " + n.v[%d] * i%d", slot_of(w, c[k]), k);
    }
}

static void literal(cg_strb *out, cg_dtype d, double v, int64_t i)
{
    const cg_dtype c = cg__dtypes[d].compute;
    uint64_t bits = 0;
    cg__store_f64(&bits, c, v);
    if (c == CG_F32)
        cg__strb(out, "as_float(0x%08xu)", (unsigned)bits);
    else if (c == CG_F64)
        cg__strb(out, "as_double(0x%016lxul)", (unsigned long)bits);
    else
        cg__strb(out, "(%s)%lldL", cg__dtypes[c].cl_name, (long long)i);
}

static void load(writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    const cg_operand *o = &w->l->operands[x->operand];
    cg_strb *out = w->out;
    if (o->gather >= 0) {
        const int lim = slot_of(w, o->gather_limit);
        cg__strb(out, "%sconst int ok%d = v%d >= -n.v[%d] && v%d < n.v[%d];\n", w->pad, v, o->gather, lim, o->gather, lim);
        cg__strb(out, "%sif (!ok%d) atomic_min(status, (int)n.step);\n", w->pad, v);
    }
    cg__strb(out, "%sconst %s v%d = ", w->pad, type_of(x->dtype), v);
    for (int k = 0; k < o->nwindows; k++) {
        cg__strb(out, "(");
        affine(w, o->window[k].c0, o->window[k].c);
        cg__strb(out, ") >= n.v[%d] && (", slot_of(w, o->window[k].lo));
        affine(w, o->window[k].c0, o->window[k].c);
        cg__strb(out, ") < n.v[%d] %s", slot_of(w, o->window[k].hi), k + 1 < o->nwindows || o->gather >= 0 ? "&& " : "? ");
    }
    if (o->gather >= 0)
        cg__strb(out, "ok%d ? ", v);
    cg__strb(out, "(%s)p%d[", type_of(x->dtype), x->operand);
    affine(w, o->off, o->stride);
    if (o->gather >= 0)
        cg__strb(out, " + (v%d < 0 ? v%d + n.v[%d] : v%d) * n.v[%d]", o->gather, o->gather, slot_of(w, o->gather_limit), o->gather, slot_of(w, o->gather_stride));
    cg__strb(out, "]");
    if (o->nwindows || o->gather >= 0) {
        cg__strb(out, " : ");
        literal(out, x->dtype, o->fill, (int64_t)o->fill);
    }
    cg__strb(out, ";\n");
}

/* ---- expressions: a b c become values, T the type, M(f) libcg's f for that type */

/* Signed overflow has no meaning in OpenCL C, and compilers use that; + - * give the same bits in unsigned, where they wrap. */
static const char *wrapping(const char *expr, cg_dtype compute)
{
    return strpbrk(expr, "<>=/?!&|M") ? "" : compute == CG_I32 ? "(uint)" : compute == CG_I64 ? "(ulong)" : "";
}

static void expand(writer *w, const cg_val *x)
{
    const cg_elem_row *row = &cg__elems[x->op];
    const cg_dtype t = w->l->vals[x->a[row->res == CG_RES_BC ? 1 : 0]].dtype;
    const char *suffix = cg__dtypes[cg__dtypes[t].compute].name, *as = wrapping(row->expr, cg__dtypes[t].compute);
    for (const char *s = row->expr; *s;) {
        size_t n = 0;
        while (isalnum((unsigned char)s[n]) || s[n] == '_')
            n++;
        if (n == 1 && *s >= 'a' && *s <= 'c')
            cg__strb(w->out, "%sv%d", as, x->a[*s - 'a']);
        else if (n == 1 && *s == 'T')
            cg__strb(w->out, "%s", type_of(t));
        else if (n == 1 && *s == 'M' && s[1] == '(') {
            const size_t len = strcspn(s + 2, ")");
            cg__strb(w->out, "cg_%.*s_%s", (int)len, s + 2, suffix);
            n = len + 3;
        } else
            cg__strb_add(w->out, s, n ? n : 1);
        s += n ? n : 1;
    }
}

static const char *narrow(cg_dtype d)
{
    return cg__is_float(d) || d == CG_BOOL || cg__dtypes[d].bytes >= 4 ? "" : d == CG_I8 ? "(char)" : d == CG_I16 ? "(short)" : d == CG_U8 ? "(uchar)" : "(ushort)";
}

static void value(writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    cg_strb *out = w->out;
    switch (x->kind) {
    case CG_V_LOAD: load(w, v); return;
    case CG_V_REDUCE: return;
    case CG_V_STORE:
        cg__strb(out, "%sp%d[", w->pad, x->operand);
        affine(w, w->l->operands[x->operand].off, w->l->operands[x->operand].stride);
        cg__strb(out, "] = (%s)v%d;\n", cg__dtypes[x->dtype].cl_name, x->a[0]);
        return;
    default: break;
    }
    cg__strb(out, "%sconst %s v%d = ", w->pad, type_of(x->dtype), v);
    if (x->kind == CG_V_INDEX)
        cg__strb(out, "i%d", x->op);
    else if (x->kind == CG_V_NUMBER)
        cg__strb(out, "n.v[%d]", slot_of(w, x->op));
    else if (x->kind == CG_V_LITERAL)
        literal(out, x->dtype, x->lit, x->ilit);
    else if (x->kind == CG_V_CAST && x->dtype == CG_BOOL)
        cg__strb(out, "v%d != 0", x->a[0]);
    else if (x->kind == CG_V_CAST)
        cg__strb(out, "(%s)%sv%d", type_of(x->dtype), narrow(x->dtype), x->a[0]);
    else {
        cg__strb(out, "(%s)%s(", type_of(x->dtype), narrow(x->dtype));
        expand(w, x);
        cg__strb(out, ")");
    }
    cg__strb(out, ";\n");
}

/* ---- reductions */

static bool is_arg(const cg_val *x) { return x->op == CG_RED_ARGMAX || x->op == CG_RED_ARGMIN; }

static void identity(cg_strb *out, const cg_val *x)
{
    const cg_dtype c = cg__dtypes[x->dtype].compute;
    const bool f = cg__is_float(c), max = x->op == CG_RED_MAX;
    if (x->op == CG_RED_SUM || x->op == CG_RED_PROD)
        literal(out, c, x->op == CG_RED_PROD, x->op == CG_RED_PROD);
    else if (f)
        literal(out, c, max ? -__builtin_inf() : __builtin_inf(), 0);
    else
        cg__strb(out, "%s", c == CG_I32 ? (max ? "INT_MIN" : "INT_MAX") : c == CG_I64 ? (max ? "LONG_MIN" : "LONG_MAX") : c == CG_U32 ? (max ? "0u" : "UINT_MAX") : max ? "0ul" : "ULONG_MAX");
}

/* to = combine(to, from) */
static void combine(cg_strb *out, const cg_val *x, const char *to, const char *from)
{
    if (x->op == CG_RED_SUM || x->op == CG_RED_PROD)
        cg__strb(out, "%s = %s %c %s;\n", to, to, x->op == CG_RED_SUM ? '+' : '*', from);
    else
        cg__strb(out, "%s = %s %c %s || %s != %s ? %s : %s;\n", to, to, x->op == CG_RED_MAX ? '>' : '<', from, to, to, to, from);
}

static void reduce_open(writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    cg_strb *out = w->out;
    const char *t = type_of(x->dtype);
    if (is_arg(x))
        cg__strb(out, "        %s best%d = 0; long v%d = 0; int any%d = 0;\n", type_of(w->l->vals[x->a[0]].dtype), v, v, v);
    else if (w->l->columns) {
        cg__strb(out, "        %s v%d = ", t, v);
        identity(out, x);
        cg__strb(out, ", part%d = v%d;\n", v, v);
    } else {
        cg__strb(out, "        %s lane%d[64];\n        for (int l = 0; l < 64; l++) lane%d[l] = ", t, v, v);
        identity(out, x);
        cg__strb(out, ";\n");
    }
}

static void reduce_step(writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    char to[40], from[40];
    snprintf(from, sizeof from, "v%d", x->a[0]);
    if (is_arg(x)) {
        const char cmp = x->op == CG_RED_ARGMAX ? '>' : '<';
        cg__strb(w->out, "            if (!any%d || (best%d == best%d && (%s %c best%d || %s != %s))) { best%d = %s; v%d = j; any%d = 1; }\n", v, v, v, from, cmp,
                 v, from, from, v, from, v, v);
        return;
    }
    snprintf(to, sizeof to, w->l->columns ? "part%d" : "lane%d[j & 63]", v);
    cg__strb(w->out, "            ");
    combine(w->out, x, to, from);
    if (w->l->columns) {
        char total[40];
        snprintf(total, sizeof total, "v%d", v);
        cg__strb(w->out, "            if (((j + 1) & 255) == 0 || j + 1 == inner) { ");
        combine(w->out, x, total, to);
        cg__strb(w->out, "            %s = ", to);
        identity(w->out, x);
        cg__strb(w->out, "; }\n");
    }
}

static void reduce_close(writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    char to[40], from[40];
    if (is_arg(x) || w->l->columns)
        return;
    snprintf(to, sizeof to, "lane%d[l]", v);
    snprintf(from, sizeof from, "lane%d[l + h]", v);
    cg__strb(w->out, "        for (int h = 32; h; h /= 2)\n            for (int l = 0; l < h; l++)\n                ");
    combine(w->out, x, to, from);
    cg__strb(w->out, "        const %s v%d = lane%d[0];\n", type_of(x->dtype), v, v);
}

/* ---- the kernel */

static void coordinates(writer *w, int from, int to, const char *linear, const char *pad)
{
    if (to - from == 1) {
        cg__strb(w->out, "%sconst long i%d = %s;\n", pad, from, linear);
        return;
    }
    if (to > from)
        cg__strb(w->out, "%slong q%d = %s;\n", pad, from, linear);
    for (int k = to - 1; k >= from; k--) {
        const int e = slot_of(w, w->l->extent[k]);
        cg__strb(w->out, k > from ? "%sconst long i%d = q%d %% n.v[%d]; q%d /= n.v[%d];\n" : "%sconst long i%d = q%d;\n", pad, k, from, e, from, e);
    }
}

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

static void stage(writer *w, int s)
{
    const cg_loop *l = w->l;
    bool need[CG_LOOP_OPS * 4] = { false }, any = false;
    w->pad = "        ";
    for (int v = 0; v < l->nvals; v++)
        if (l->vals[v].level < 2 && l->vals[v].kind != CG_V_REDUCE && l->vals[v].stage == s)
            value(w, v);
    if (l->naxes == l->nouter)
        return;
    stage_needs(l, s, need);
    for (int v = 0; v < l->nvals; v++) {
        any = any || need[v];
        if (need[v] && l->vals[v].kind == CG_V_REDUCE)
            reduce_open(w, v);
    }
    if (!any)
        return;
    cg__strb(w->out, "        for (long j = 0; j < inner; j++) {\n");
    coordinates(w, l->nouter, l->naxes, "j", "            ");
    w->pad = "            ";
    for (int v = 0; v < l->nvals; v++) {
        if (need[v] && l->vals[v].level == 2)
            value(w, v);
        if (need[v] && l->vals[v].kind == CG_V_REDUCE)
            reduce_step(w, v);
    }
    cg__strb(w->out, "        }\n");
    for (int v = 0; v < l->nvals; v++)
        if (need[v] && l->vals[v].kind == CG_V_REDUCE)
            reduce_close(w, v);
}

static bool unsupported(const cg_loop *l)
{
    for (int v = 0; v < l->nvals; v++)
        if (l->vals[v].dtype == CG_F16 || l->vals[v].dtype == CG_BF16)
            return true;
    return false;
}

static void extent_product(writer *w, const char *name, int from, int to)
{
    cg__strb(w->out, "    const long %s = 1", name);
    for (int k = from; k < to; k++)
        cg__strb(w->out, " * n.v[%d]", slot_of(w, w->l->extent[k]));
    cg__strb(w->out, ";\n");
}

int cg__cl_loop_text(const cg_plan *p, const cg_loop *l, const char *label, cg_cl_numbers *nums, cg_strb *out, cg_error *err)
{
    cg_strb body = { 0 };
    writer w = { p, l, nums, &body, "", false };
    int last = 0;
    if (unsupported(l))
        return cg__fail(err, CG_EUNSUPPORTED, "opencl: f16 and bf16 are not supported yet (%s)", label);
    for (int v = 0; v < l->nvals; v++)
        last = l->vals[v].stage > last ? l->vals[v].stage : last;
    extent_product(&w, "outer", 0, l->nouter);
    if (l->naxes > l->nouter)
        extent_product(&w, "inner", l->nouter, l->naxes);
    cg__strb(&body, "    const long chunk = (outer + (long)get_global_size(0) - 1) / (long)get_global_size(0);\n"
                    "    const long begin = (long)get_global_id(0) * chunk, end = begin + chunk < outer ? begin + chunk : outer;\n"
                    "    for (long o = begin; o < end; o++) {\n");
    coordinates(&w, 0, l->nouter, "o", "        ");
    for (int s = 0; s <= last; s++)
        stage(&w, s);
    cg__strb(&body, "    }\n}\n");
    char *text = cg__strb_take(&body);
    if (!text || w.overflow || l->noperands > CG_CL_OPERANDS) {
        cg__free(text);
        return cg__fail(err, text ? CG_EUNSUPPORTED : CG_ENOMEM, "opencl: a loop (%s) takes too many numbers or operands, or memory is out", label);
    }
    cg__strb(out, "(const numbers n");
    for (int k = 0; k < l->noperands; k++)
        cg__strb(out, ", __global %s *p%d", cg__dtypes[p->slots.at[l->operands[k].slot].dtype].cl_name, k);
    cg__strb(out, ", __global int *status)\n{\n");
    for (int k = 0; k < l->noperands; k++)
        cg__strb(out, "    p%d += n.at[%d];\n", k, k);
    cg__strb(out, "%s", text);
    cg__free(text);
    return CG_OK;
}

int cg__cl_scatter_text(cg_dtype d, cg_dtype index, cg_strb *out, cg_error *err)
{
    const char *t = cg__dtypes[d].cl_name;
    if (d == CG_F16 || d == CG_BF16)
        return cg__fail(err, CG_EUNSUPPORTED, "opencl: f16 and bf16 are not supported yet (scatter_add)");
    cg__strb(out, "(const numbers n, __global %s *p0, const __global %s *p1, const __global %s *p2, __global int *status)\n{\n"
                  "    const long rows = n.v[0], cols = n.v[1], count = n.v[2];\n"
                  "    for (long j = get_global_id(0); j < cols; j += get_global_size(0)) {\n"
                  "        for (long r = 0; r < rows; r++) p0[n.at[0] + r * cols + j] = 0;\n"
                  "        for (long i = 0; i < count; i++) {\n"
                  "            const long r = p1[n.at[1] + i];\n"
                  "            if (r < -rows || r >= rows) { atomic_min(status, (int)n.step); continue; }\n"
                  "            p0[n.at[0] + (r < 0 ? r + rows : r) * cols + j] += p2[n.at[2] + i * cols + j];\n"
                  "        }\n    }\n}\n", t, cg__dtypes[index].cl_name, t);
    return CG_OK;
}

/* ---- the math that a text uses, and what that uses; pieces stand in an order in which callees come first */

void cg__cl_source(const char *body, cg_strb *out)
{
    bool used[CG_MATH_PIECES_MAX] = { true };
    int n = 1;
    for (; cg__math_pieces[n].name; n++)
        used[n] = strstr(body, cg__math_pieces[n].name) != NULL;
    for (int i = n - 1; i > 0; i--)
        for (int k = 1; used[i] && k < i; k++)
            used[k] = used[k] || strstr(cg__math_pieces[i].deps, cg__math_pieces[k].name) != NULL;
    cg__strb(out, "#pragma OPENCL FP_CONTRACT OFF\n");
    bool doubles = strstr(body, "double") || strstr(body, "_f64");
    if (doubles)
        cg__strb(out, "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n");
    for (int i = 0; i < n; i++)
        if (used[i])
            cg__strb(out, "%s", cg__math_pieces[i].text);
    cg__strb(out, "typedef struct numbers { long v[%d], at[%d], step; } numbers;\n%s", CG_CL_NUMBERS, CG_CL_OPERANDS, body);
}
