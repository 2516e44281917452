// SPDX-License-Identifier: MIT
/* A LOOP, or a KERNEL step, as OpenCL C, and what a program needs beside it. The text is canonical: it names no size, slot or user name, so
 * every plan with the same structure shares the kernel. */
#include "backends/opencl/writer.h"
#include "kernels/pieces.h"

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
    cg__cl_body(w);
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

/* ---- KERNEL steps */

/* gpu: the work-items stride over the points, so `next` is one further; cpu: each has a chunk, which is cut at multiples of `cut`. */
static void open_points(cg_cl_writer *w, const char *count, const char *cut)
{
    const char *I = w->index;
    if (w->gpu) {
        cg__cl_line(w, "const %s step = (%s)get_global_size(0);", I, I);
        cg__cl_line(w, "for (%s j = (%s)get_global_id(0); j < %s; j += step) {", I, I, count);
        w->depth++;
        cg__cl_line(w, "const %s next = j + 1;", I);
        return;
    }
    cg__cl_chunk(w, count);
    cg__cl_line(w, "for (%s j = begin, next; j < end; j = next) {", I);
    w->depth++;
    if (cut)
        cg__cl_line(w, "next = min(end, (j / %s + 1) * %s);", cut, cut);
    else
        cg__cl_line(w, "next = j + 1;");
}

static void numbers_body(cg_cl_writer *w)
{
    open_points(w, "n.count", NULL);
    cg__cl_line(w, "const long index = in0[n.in0_at + j];");
    cg__cl_line(w, "const bool good = index >= -(long)n.rows && index < (long)n.rows;");
    cg__cl_line(w, "if (!good)");
    cg__cl_line(w, "    atomic_min(&status[n.call], (int)n.step);");
    cg__cl_line(w, "out0[n.out0_at + j] = !good ? -1 : index < 0 ? index + n.rows : index;");
    cg__cl_close(w);
}

/* A work-item owns columns, and writes rows in the order of the indices. */
static void rows_body(cg_cl_writer *w, bool add, cg_dtype d)
{
    const char *I = w->index, *half = d == CG_F16 ? "f16" : d == CG_BF16 ? "bf16" : NULL;
    open_points(w, "n.cols", "n.inner");
    cg__cl_line(w, "const %s outer = j / n.inner;", I);
    cg__cl_line(w, "for (%s i = 0; i < n.count; i++) {", I);
    w->depth++;
    cg__cl_line(w, "const long row = in0[n.in0_at + i];");
    cg__cl_line(w, "if (row < 0)");
    cg__cl_line(w, "    continue;");
    cg__cl_line(w, "const %s to = n.out0_at + (outer * (n.rows - 1) + (%s)row) * n.inner, from = n.in1_at + (outer * (n.count - 1) + i) * n.inner;", I, I);
    cg__cl_line(w, "for (%s k = j; k < next; k++)", I);
    if (add && half)
        cg__cl_line(w, "    out0[to + k] = (ushort)cg_store_%s(cg_load_%s(out0[to + k]) + cg_load_%s(in1[from + k]));", half, half, half);
    else
        cg__cl_line(w, "    out0[to + k] %s in1[from + k];", !add ? "=" : d == CG_BOOL ? "|=" : "+=");
    cg__cl_close(w);
    cg__cl_close(w);
}

static int kernel_text(cg_cl_writer *w, const cg_kernel *s)
{
    static const struct { const char *name, *head, *numbers[4]; } kernels[CG_KERNEL_COUNT] = {
        [CG_K_ROW_NUMBERS] = { "row_numbers", "// out0[j] = in0[j], from the start\n", { "count", "rows" } },
        [CG_K_SET_ROWS] = { "set_rows", "// out0[:, in0[i], :] = in1[:, i, :] in the order of i\n", { "cols", "count", "rows", "inner" } },
        [CG_K_ADD_ROWS] = { "add_rows", "// out0[:, in0[i], :] += in1[:, i, :] in the order of i\n", { "cols", "count", "rows", "inner" } },
    };
    static const char *const pointers[] = { "out0", "in0", "in1" };
    const bool numbers = s->id == CG_K_ROW_NUMBERS;
    const int plain = s->nnums - s->nslots;
    pointer at[3];
    cg_strb code = { 0 }, base = { 0 };
    for (int i = 0; i < s->nnums; i++) {
        const bool first = i >= plain;
        w->k->num[i] = first ? (cg_cl_number){ .base = true, .id = i - plain } : (cg_cl_number){ .id = s->nums[i] };
        snprintf(w->number[i], CG_CL_NAME, first ? "%s_at" : "%s", first ? pointers[i - plain] : kernels[s->id].numbers[i]);
    }
    for (int i = 0; i < s->nslots; i++)
        at[i] = (pointer){ cg__dtypes[w->p->slots.at[s->slots[i]].dtype].cl_name, pointers[i], i > 0 };
    w->k->n = s->nnums;
    w->k->can_fail = numbers;
    w->out = &code;
    w->depth = 1;
    const cg_dtype d = w->p->slots.at[s->slots[numbers ? 1 : 0]].dtype;
    if (numbers)
        numbers_body(w);
    else
        rows_body(w, s->id == CG_K_ADD_ROWS, d);
    cg__strb(&base, "%s_%s", kernels[s->id].name, cg__dtypes[d].name);
    char *b = cg__strb_take(&base), *c = cg__strb_take(&code);
    const int rc = b && c ? finish(w, b, kernels[s->id].head, c, at, s->nslots) : CG_ENOMEM;
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
    int rc = loop ? loop_text(w) : kernel_text(w, &s->kernel);
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
