// SPDX-License-Identifier: MIT
/* Addresses and values of a LOOP as OpenCL C, and the comment that says what the kernel computes.
 *
 * Example: `const float load0 = in0[n.in0_at + n.in0_s0 * i0 + i1];` for stride classes any and 1. */
#include <ctype.h>
#include "backends/opencl/writer.h"

/* ---- lines and names */

void cg__cl_pad(cg_cl_writer *w)
{
    cg__strb(w->out, "%*s", 4 * w->depth, "");
}

void cg__cl_line(cg_cl_writer *w, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    w->overflow = w->overflow || n >= (int)sizeof text;
    cg__cl_pad(w);
    cg__strb(w->out, "%s\n", text);
}

void cg__cl_open(cg_cl_writer *w, const char *line)
{
    cg__cl_line(w, "%s", line);
    w->depth++;
}

void cg__cl_close(cg_cl_writer *w)
{
    w->depth--;
    cg__cl_line(w, "}");
}

static const char *number_named(cg_cl_writer *w, cg_cl_number want, const char *name)
{
    cg_cl_text *k = w->k;
    for (int i = 0; i < k->n; i++)
        if (k->num[i].base == want.base && k->num[i].id == want.id)
            return w->number[i];
    if (k->n == CG_CL_NUMBERS) {
        w->overflow = true;
        return "overflow";
    }
    snprintf(w->number[k->n], CG_CL_NAME, "%s", name);
    k->num[k->n] = want;
    return w->number[k->n++];
}

const char *cg__cl_number(cg_cl_writer *w, cg_num id, const char *fmt, ...)
{
    char name[CG_CL_NAME];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return number_named(w, (cg_cl_number){ .id = id }, name);
}

const char *cg__cl_type(cg_dtype d) { return cg__dtypes[cg__dtypes[d].compute].cl_name; }

const char *cg__cl_reduction(const cg_val *x)
{
    static const char *const names[] = { [CG_RED_SUM] = "sum", [CG_RED_PROD] = "prod", [CG_RED_MAX] = "max", [CG_RED_MIN] = "min", [CG_RED_ARGMAX] = "argmax", [CG_RED_ARGMIN] = "argmin" };
    return names[x->op];
}

static const char *name_of(const cg_val *x)
{
    return x->kind == CG_V_LOAD ? "load" : x->kind == CG_V_ELEM ? cg__elems[x->op].name : x->kind == CG_V_REDUCE ? cg__cl_reduction(x) : "cast";
}

void cg__cl_name_values(cg_cl_writer *w)
{
    const cg_loop *l = w->l;
    bool written[CG_CL_OPERANDS] = { false };
    int in = 0, out = 0;
    for (int v = 0; v < l->nvals; v++) {
        snprintf(w->local[v], CG_CL_NAME, "%s%d", name_of(&l->vals[v]), v);
        if (l->vals[v].kind == CG_V_STORE)
            written[l->vals[v].operand] = true;
    }
    for (int k = 0; k < l->noperands; k++)
        snprintf(w->operand[k], CG_CL_NAME, "%s%d", written[k] ? "out" : "in", written[k] ? out++ : in++);
}

/* ---- addresses */

/* The terms of axes whose coefficient is not known to be 0. */
static void terms(cg_cl_writer *w, const cg_num *c, const char *name)
{
    for (int k = 0; k < w->l->naxes; k++) {
        const int cls = cg__stride_class(w->p, c[k]);
        if (cls == 1)
            cg__strb(w->out, " + i%d", k);
        else if (cls == 2)
            cg__strb(w->out, " + n.%s * i%d", cg__cl_number(w, c[k], "%s_s%d", name, k), k);
    }
}

static void address(cg_cl_writer *w, int operand)
{
    const char *name = w->operand[operand];
    char at[CG_CL_NAME * 2];
    snprintf(at, sizeof at, "%s_at", name);
    cg__strb(w->out, "%s[n.%s", name, number_named(w, (cg_cl_number){ .base = true, .id = operand }, at));
    terms(w, w->l->operands[operand].stride, name);
}

/* ---- literals */

static void float_literal(cg_strb *out, cg_dtype c, double v)
{
    char text[40];
    snprintf(text, sizeof text, c == CG_F32 ? "%.9g" : "%.17g", v);
    const bool whole = !strpbrk(text, ".en");
    cg__strb(out, text[0] == '-' ? "(%s%s%s)" : "%s%s%s", text, whole ? ".0" : "", c == CG_F32 ? "f" : "");
}

void cg__cl_literal(cg_strb *out, cg_dtype d, double v, int64_t i)
{
    const cg_dtype c = cg__dtypes[d].compute;
    char held[8] = { 0 };
    if (!cg__is_float(d)) {
        if (i == INT64_MIN)
            cg__strb(out, "LONG_MIN");
        else
            cg__strb(out, c == CG_U64 ? "%lluul" : c == CG_U32 ? "%lluu" : i < 0 ? "(%lld%s)" : "%lld%s", (long long)i, c == CG_I64 ? "l" : "");
        return;
    }
    cg__store_f64(held, d, v);           /* as the dtype holds it */
    v = cg__load_f64(held, d);
    if (v != v)
        cg__strb(out, "NAN");
    else if (v - v != 0)
        cg__strb(out, v > 0 ? "INFINITY" : "(-INFINITY)");
    else
        float_literal(out, c, v);
}

/* v as the dtype holds it. */
static void literal_of(cg_strb *out, cg_dtype d, double v)
{
    char held[8] = { 0 };
    cg__store_f64(held, d, v);
    cg__cl_literal(out, d, v, cg__is_float(d) ? 0 : cg__load_i64(held, d));
}

/* ---- expressions: a b c become operands, T the type, M(f) libcg's f for that type; in comments just f */

typedef void operand_fn(cg_cl_writer *w, int v, int depth);

/* Signed overflow has no meaning in OpenCL C, and compilers use that; + - * give the same bits in unsigned, where they wrap. */
static const char *wrapping(const char *expr, cg_dtype compute)
{
    return strpbrk(expr, "<>=/?!&|M") ? "" : compute == CG_I32 ? "(uint)" : compute == CG_I64 ? "(ulong)" : "";
}

static void expand(cg_cl_writer *w, const cg_val *x, bool comment, operand_fn *operand, int depth)
{
    const cg_elem_row *row = &cg__elems[x->op];
    const cg_dtype t = w->l->vals[x->a[row->res == CG_RES_BC ? 1 : 0]].dtype;
    const char *as = comment ? "" : wrapping(row->expr, cg__dtypes[t].compute);
    for (const char *s = row->expr; *s;) {
        size_t n = 0;
        while (isalnum((unsigned char)s[n]) || s[n] == '_')
            n++;
        w->bare = s > row->expr && s[-1] == '(' && s[1] == ')';
        if (n == 1 && *s >= 'a' && *s <= 'c') {
            cg__strb_add(w->out, as, strlen(as));
            operand(w, x->a[*s - 'a'], depth + 1);
        } else if (n == 1 && *s == 'T') {
            cg__strb(w->out, "%s", cg__cl_type(t));
        } else if (n == 1 && *s == 'M' && s[1] == '(') {
            const size_t len = strcspn(s + 2, ")");
            cg__strb(w->out, comment ? "%.*s" : "cg_%.*s_%s", (int)len, s + 2, cg__dtypes[cg__dtypes[t].compute].name);
            n = len + 3;
        } else
            cg__strb_add(w->out, s, n ? n : 1);
        s += n ? n : 1;
    }
}

static void by_name(cg_cl_writer *w, int v, int depth)
{
    const cg_val *x = &w->l->vals[v];
    (void)depth;
    if (x->kind == CG_V_LITERAL)
        cg__cl_literal(w->out, x->dtype, x->lit, x->ilit);
    else if (x->kind == CG_V_NUMBER)
        cg__strb(w->out, "(long)n.%s", cg__cl_number(w, x->op, "k%d", v));
    else if (x->kind == CG_V_INDEX)
        cg__strb(w->out, "(long)i%d", x->op);
    else
        cg__strb(w->out, "%s", w->local[v]);
}

void cg__cl_operand(cg_cl_writer *w, int v, char text[2 * CG_CL_NAME])
{
    cg_strb s = { 0 }, *out = w->out;
    w->out = &s;
    by_name(w, v, 0);
    w->out = out;
    snprintf(text, 2 * CG_CL_NAME, "%s", s.at ? s.at : "");
    out->failed = out->failed || s.failed;
    cg__strb_free(&s);
}

/* ---- values */

static const char *half_name(cg_dtype d) { return d == CG_F16 ? "f16" : d == CG_BF16 ? "bf16" : NULL; }

void cg__cl_result(cg_cl_writer *w, const cg_val *x, bool open)
{
    static const char *const wraps[CG_DTYPE_COUNT] = { [CG_I8] = "(char)(", [CG_I16] = "(short)(", [CG_U8] = "(uchar)(", [CG_U16] = "(ushort)(" };
    const char *half = half_name(x->dtype);
    if (!half && !wraps[x->dtype])
        return;
    if (!open)
        cg__strb(w->out, ")");
    else if (half)
        cg__strb(w->out, "cg_round_%s(", half);
    else
        cg__strb(w->out, "%s", wraps[x->dtype]);
}

/* What follows a condition under which value v fails. */
static void fails(cg_cl_writer *w, int v)
{
    cg__cl_line(w, "    atomic_min(&status[n.call], (int)n.step + %d);", v);
    w->k->can_fail = true;
}

/* Names the conditions under which the element exists; an index out of range sets the status. */
static void guards(cg_cl_writer *w, int v, const cg_operand *o)
{
    const char *name = w->operand[w->l->vals[v].operand];
    for (int k = 0; k < o->nwindows; k++) {
        char window[CG_CL_NAME * 2];
        snprintf(window, sizeof window, "%s_w%d", name, k);
        cg__cl_pad(w);
        cg__strb(w->out, "const %s at%d_%d = n.%s", w->index, v, k, cg__cl_number(w, o->window[k].c0, "%s_c", window));
        terms(w, o->window[k].c, window);
        cg__strb(w->out, ";\n");
    }
    if (o->nwindows) {
        cg__cl_pad(w);
        cg__strb(w->out, "const int inside%d = ", v);
        for (int k = 0; k < o->nwindows; k++) {
            cg__strb(w->out, "%sat%d_%d >= n.%s", k ? " && " : "", v, k, cg__cl_number(w, o->window[k].lo, "%s_w%d_lo", name, k));
            cg__strb(w->out, " && at%d_%d < n.%s", v, k, cg__cl_number(w, o->window[k].hi, "%s_w%d_hi", name, k));
        }
        cg__strb(w->out, ";\n");
    }
    if (o->gather < 0)
        return;
    const char *rows = cg__cl_number(w, o->gather_limit, "%s_rows", name);
    cg__cl_pad(w);
    cg__strb(w->out, "const long row%d = ", v);
    by_name(w, o->gather, 0);
    cg__strb(w->out, " < 0 ? ");
    by_name(w, o->gather, 0);
    cg__strb(w->out, " + n.%s : ", rows);
    by_name(w, o->gather, 0);
    cg__strb(w->out, ";\n");
    cg__cl_line(w, "const int ok%d = row%d >= 0 && row%d < n.%s;", v, v, v, rows);
    cg__cl_line(w, o->nwindows ? "if (inside%d && !ok%d)" : "if (!ok%d)", v, v);
    fails(w, v);
}

static void load(cg_cl_writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    const cg_operand *o = &w->l->operands[x->operand];
    const char *half = half_name(x->dtype);
    guards(w, v, o);
    cg__cl_pad(w);
    cg__strb(w->out, "const %s %s = ", cg__cl_type(x->dtype), w->local[v]);
    if (o->nwindows)
        cg__strb(w->out, o->gather >= 0 ? "inside%d && " : "inside%d ? ", v);
    if (o->gather >= 0)
        cg__strb(w->out, "ok%d ? ", v);
    if (half)
        cg__strb(w->out, "cg_load_%s(", half);
    address(w, x->operand);
    if (o->gather >= 0)
        cg__strb(w->out, " + (%s)row%d * n.%s", w->index, v, cg__cl_number(w, o->gather_stride, "%s_row", w->operand[x->operand]));
    cg__strb(w->out, half ? "])" : "]");
    if (o->nwindows || o->gather >= 0) {
        cg__strb(w->out, " : ");
        literal_of(w->out, x->dtype, o->fill);
    }
    cg__strb(w->out, ";\n");
}

static void store(cg_cl_writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    const char *half = half_name(x->dtype);
    cg__cl_pad(w);
    address(w, x->operand);
    cg__strb(w->out, "] = ");
    if (half)
        cg__strb(w->out, "(ushort)cg_store_%s(", half);
    else if (cg__dtypes[x->dtype].compute != x->dtype)
        cg__strb(w->out, "(%s)", cg__dtypes[x->dtype].cl_name);
    by_name(w, x->a[0], 0);
    cg__strb(w->out, half ? ");\n" : ";\n");
}

/* Floats stop at the ends of an integer type, NaN is 0: cg_of_f32_i32, and then a narrow type's own conversion. What is wider than f32 becomes
 * a half by way of an odd f32, which rounds once in effect. */
static void cast(cg_cl_writer *w, const cg_val *x)
{
    const cg_dtype from = cg__dtypes[w->l->vals[x->a[0]].dtype].compute, to = cg__dtypes[x->dtype].compute;
    const bool stops = cg__is_float(from) && cg__is_int(x->dtype), odd = half_name(x->dtype) && from != CG_F32, narrow = stops && to != x->dtype;
    if (narrow)
        cg__strb(w->out, "convert_%s_sat(", cg__dtypes[x->dtype].cl_name);
    else
        cg__cl_result(w, x, true);
    if (stops)
        cg__strb(w->out, "cg_of_%s_%s(", cg__dtypes[from].name, cg__dtypes[to].name);
    else if (odd)
        cg__strb(w->out, "cg_odd_%s(", cg__dtypes[from].name);
    else if (x->dtype != CG_BOOL)
        cg__strb(w->out, "(%s)", cg__cl_type(x->dtype));
    by_name(w, x->a[0], 0);
    cg__strb(w->out, "%s", stops || odd ? ")" : x->dtype == CG_BOOL ? " != 0" : "");
    if (narrow)
        cg__strb(w->out, ")");
    else
        cg__cl_result(w, x, false);
}

void cg__cl_value(cg_cl_writer *w, int v)
{
    const cg_val *x = &w->l->vals[v];
    if (x->kind == CG_V_LOAD)
        load(w, v);
    else if (x->kind == CG_V_STORE)
        store(w, v);
    if (x->kind != CG_V_ELEM && x->kind != CG_V_CAST)
        return;                          /* leaves stand where they are used; reductions are the stage's */
    if (cg__loop_divides(w->p, w->l, v)) {
        char by[2 * CG_CL_NAME];
        cg__cl_operand(w, x->a[1], by);
        cg__cl_line(w, "if (%s == 0)", by);
        fails(w, v);
    }
    cg__cl_pad(w);
    cg__strb(w->out, "const %s %s = ", cg__cl_type(x->dtype), w->local[v]);
    if (x->kind == CG_V_CAST)
        cast(w, x);
    else {
        cg__cl_result(w, x, true);
        expand(w, x, false, by_name, 0);
        cg__cl_result(w, x, false);
    }
    cg__strb(w->out, ";\n");
}

/* ---- the head */

enum { HEAD_TEXT = 160, HEAD_DEPTH = 8 };

/* Axes along which the operand moves: [i0,i1]; `first` stands for the gathered one. */
static void axes_of(cg_cl_writer *w, const cg_operand *o, const char *first)
{
    cg__strb(w->out, "[%s", first);
    for (int k = 0, any = *first != 0; k < w->l->naxes; k++)
        if (cg__stride_class(w->p, o->stride[k])) {
            cg__strb(w->out, any ? ",i%d" : "i%d", k);
            any = 1;
        }
    cg__strb(w->out, "]");
}

/* A value as one expression; what is too long or too deep goes by its local name. */
static void in_words(cg_cl_writer *w, int v, int depth)
{
    const cg_val *x = &w->l->vals[v];
    const bool bare = !depth || w->bare || x->kind != CG_V_ELEM || !strchr(cg__elems[x->op].expr, ' ');
    if (x->kind == CG_V_LOAD) {
        const cg_operand *o = &w->l->operands[x->operand];
        cg__strb(w->out, "%s", w->operand[x->operand]);
        axes_of(w, o, o->gather >= 0 ? w->local[o->gather] : "");
    } else if (x->kind == CG_V_LITERAL || x->kind == CG_V_NUMBER || x->kind == CG_V_INDEX || depth > HEAD_DEPTH || w->out->n > HEAD_TEXT) {
        by_name(w, v, 0);
    } else if (x->kind == CG_V_ELEM) {
        cg__strb(w->out, "%s", bare ? "" : "(");
        expand(w, x, true, in_words, depth);
        cg__strb(w->out, "%s", bare ? "" : ")");
    } else {
        cg__strb(w->out, "%s(", x->kind == CG_V_CAST ? cg__dtypes[x->dtype].name : cg__cl_reduction(x));
        w->bare = true;
        in_words(w, x->a[0], depth + 1);
        cg__strb(w->out, ")");
    }
}

void cg__cl_head(cg_cl_writer *w)
{
    static const char *const classes[] = { " 0", " 1", " any" };
    for (int v = 0; v < w->l->nvals; v++) {
        const cg_val *x = &w->l->vals[v];
        cg_strb line = { 0 }, *out = w->out;
        if (x->kind != CG_V_STORE)
            continue;
        w->out = &line;
        cg__strb(&line, "// %s", w->operand[x->operand]);
        axes_of(w, &w->l->operands[x->operand], "");
        cg__strb(&line, " = ");
        in_words(w, x->a[0], 0);
        w->out = out;
        cg__strb(out, "%s\n", line.at ? line.at : "");
        cg__strb_free(&line);
    }
    cg__strb(w->out, "// strides:");
    for (int k = 0; k < w->l->noperands; k++) {
        cg__strb(w->out, "%s %s", k ? "," : "", w->operand[k]);
        for (int a = 0; a < w->l->naxes; a++)
            cg__strb(w->out, "%s", classes[cg__stride_class(w->p, w->l->operands[k].stride[a])]);
    }
    cg__strb(w->out, "\n");
}
