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

/* Names the kernel by its text, and puts the numbers, the signature and the body together. */
static int finish(cg_cl_writer *w, const char *base, const char *head, const char *code, const pointer *at, int n)
{
    cg_strb sign = { 0 }, out = { 0 }, name = { 0 };
    cg__strb(&sign, "    %s ", w->index);
    for (int i = 0; i < w->k->n; i++)
        cg__strb(&sign, "%s%s", i ? ", " : "", w->number[i]);
    cg__strb(&sign, w->k->can_fail ? ", step, call;\n}" : ";\n}");
    char *numbers = cg__strb_take(&sign);
    for (int i = 0; i < n; i++)
        cg__strb(&sign, ", __global %s%s *%s", at[i].read ? "const " : "", at[i].type, at[i].name);
    cg__strb(&sign, "%s)\n{\n%s}\n", w->k->can_fail ? ", __global int *status" : "", code);
    char *rest = cg__strb_take(&sign);
    if (numbers && rest) {
        const uint64_t h = cg__hash(rest, strlen(rest), cg__hash(numbers, strlen(numbers), 3 + w->gpu));
        cg__strb(&name, "%s_%08x", base, (unsigned)h);
        w->k->name = cg__strb_take(&name);
        cg__strb(&out, "%stypedef struct {\n%s %s_numbers;\n", head, numbers, w->k->name ? w->k->name : "");
        cg__strb(&out, "__kernel __attribute__((reqd_work_group_size(%d, 1, 1)))\nvoid %s(const %s_numbers n%s", w->gpu ? 64 : 1, w->k->name ? w->k->name : "",
                 w->k->name ? w->k->name : "", rest);
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

/* ---- SCATTER_ADD: a work-item owns columns, and adds rows in the order of the indices */

static void scatter_body(cg_cl_writer *w, const char *half)
{
    const char *I = w->index;
    if (w->gpu)
        cg__cl_line(w, "const %s begin = (%s)get_global_id(0), end = n.cols, step = (%s)get_global_size(0);", I, I, I);
    else {
        cg__cl_chunk(w, "n.cols");
        cg__cl_line(w, "const %s step = 1;", I);
    }
    cg__cl_line(w, "for (%s r = 0; r < n.rows; r++)", I);
    cg__cl_line(w, "    for (%s j = begin; j < end; j += step)", I);
    cg__cl_line(w, "        out0[n.out0_at + r * n.cols + j] = 0;");
    cg__cl_line(w, "for (%s i = 0; i < n.count; i++) {", I);
    w->depth++;
    cg__cl_line(w, "const long index = in0[n.in0_at + i], row = index < 0 ? index + n.rows : index;");
    cg__cl_open(w, "if (row < 0 || row >= n.rows) {");
    cg__cl_line(w, "atomic_min(&status[n.call], (int)n.step);");
    cg__cl_line(w, "continue;");
    cg__cl_close(w);
    cg__cl_line(w, "for (%s j = begin; j < end; j += step) {", I);
    w->depth++;
    cg__cl_line(w, "const %s to = n.out0_at + (%s)row * n.cols + j, from = n.in1_at + i * n.cols + j;", I, I);
    if (half)
        cg__cl_line(w, "out0[to] = (ushort)cg_store_%s(cg_load_%s(out0[to]) + cg_load_%s(in1[from]));", half, half, half);
    else
        cg__cl_line(w, "out0[to] += in1[from];");
    cg__cl_close(w);
    cg__cl_close(w);
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

int cg__cl_step_text(const cg_plan *p, const cg_step *s, bool gpu, bool wide, cg_cl_text *out, cg_error *err)
{
    const bool loop = s->kind == CG_STEP_LOOP;
    if ((!loop && s->kind != CG_STEP_KERNEL) || out->text)
        return CG_OK;
    if (loop && (s->loop.noperands > CG_CL_OPERANDS || s->loop.nvals > CG_CL_VALUES))
        return cg__fail(err, CG_EUNSUPPORTED, "opencl: a loop (%s) has %d operands and %d values, more than a kernel takes", s->label, s->loop.noperands, s->loop.nvals);
    cg_cl_writer *w = cg__zalloc(sizeof *w);
    if (!w)
        return cg__fail(err, CG_ENOMEM, "opencl: no memory for kernel text");
    *w = (cg_cl_writer){ .p = p, .l = &s->loop, .k = out, .index = wide ? "long" : "int", .gpu = gpu };
    out->wide = wide;
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
