// SPDX-License-Identifier: MIT
/* Graphs as Graphviz text: values flow downwards from inputs, shared variables and constants to the roots, which have a double border.
 *
 * A box tells the operation with its attributes, the name that the user gave, and the type. Where the order of operands matters, edges are
 * lettered as the operands are in cg_list_ops; sizes and other operands of attributes come along dashed edges. The body of a loop is not shown.
 *     digraph libcg { n1 [label="x\nf32[3]"]; n2 [label="exp\nf32[3]"]; n1 -> n2; }
 */
#include "core/graph/own.h"

/* Text within a quoted label; quotes and backslashes are escaped, control characters are blanks. */
static void put_label(cg_strb *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            cg__strb_add(out, "\\", 1);
        cg__strb_add(out, (unsigned char)*text < ' ' ? " " : text, 1);
    }
}

static void put_value(cg_strb *out, cg_attr_kind kind, int64_t v)
{
    if (v == CG_NONE)
        cg__strb(out, "none");
    else if (CG_IS_REF(v))
        cg__strb(out, "%c", 'a' + CG_REF_OF(v) % 26);
    else if (kind == CG_AT_BOOL)
        cg__strb(out, "%s", v ? "true" : "false");
    else if (kind == CG_AT_DTYPE && v >= 0 && v < CG_DTYPE_COUNT)
        cg__strb(out, "%s", cg_dtype_name((cg_dtype)v));
    else
        cg__strb(out, "%lld", (long long)v);
}

static void put_attrs(cg_strb *out, const cg_node *n)
{
    for (int k = 0; k < n->op->nattrs; k++) {
        const cg_attr_row *row = &n->op->attrs[k];
        if (n->attr[k].n <= 0 || row->kind == CG_AT_BYTES || row->kind == CG_AT_NODES)
            continue;
        cg__strb(out, "\\n%s", row->name);
        for (int i = 0; i < n->attr[k].n; i++) {
            cg__strb(out, " ");
            put_value(out, row->kind, n->attr[k].at[i]);
        }
    }
}

/* The value that all elements have, if there is one. */
static void put_constant(cg_strb *out, const cg_node *n)
{
    double value;
    if (cg__is_const(n, &value))
        cg__strb(out, "%.6g", value);
    else
        cg__strb(out, "const");
}

static void put_node(cg_strb *out, const cg_node *n, bool root)
{
    const bool leaf = (n->op->props & (CG_IDENTITY | CG_LEAF)) != 0, constant = cg__is(n, CG_OP_const), shared = n->array != NULL;
    const char *name = cg_node_name(n);
    cg__strb(out, "  n%d [label=\"", n->id);
    if (constant)
        put_constant(out, n);
    else if (leaf && *name)
        put_label(out, name);
    else
        put_label(out, cg__op_name(n));
    if (!leaf) {
        put_attrs(out, n);
        cg__strb(out, "%s", *name ? "\\n" : "");
        put_label(out, name);
    }
    if (!n->nouts) {
        cg_strb type = { 0 };
        cg__type_text(&n->type, &type);
        char *text = cg__strb_take(&type);
        out->failed |= !text;
        cg__strb(out, "\\n");
        put_label(out, text ? text : "");
        cg__free(text);
    }
    cg__strb(out, "\"%s%s];\n", constant ? " shape=plain style=\"\"" : shared ? " fillcolor=\"#dcebd5\"" : leaf ? " fillcolor=\"#d5e4f5\"" : "", root ? " peripheries=2" : "");
}

static void put_edges(cg_strb *out, const cg_node *n)
{
    const int operands = n->op->nin < 0 ? n->nin : n->op->nin;
    const bool lettered = operands > 1 && !(n->op->props & CG_COMMUTES);
    for (int k = 0; k < cg__nvalues(n); k++) {
        cg__strb(out, "  n%d -> n%d", n->in[k]->id, n->id);
        if (lettered || k >= operands)
            cg__strb(out, " [label=\"%c\"%s]", 'a' + k % 26, k >= operands ? " style=dashed" : "");
        cg__strb(out, ";\n");
    }
}

enum { SHOWN = 1, ROOT = 2 };

/* Downwards by id, users come before what they use. What only types mention stays unmarked. */
static void mark(unsigned char *marks, cg_node *const *roots, int n, const cg_node_vec *nodes)
{
    for (int i = 0; i < n; i++)
        marks[roots[i]->id] = SHOWN | ROOT;
    for (int i = nodes->n - 1; i >= 0; i--)
        for (int k = 0; marks[nodes->at[i]->id] && k < cg__nvalues(nodes->at[i]); k++)
            marks[nodes->at[i]->in[k]->id] |= SHOWN;
}

static void put_graph(cg_strb *out, cg_node *const *roots, int n, const cg_node_vec *nodes)
{
    unsigned char *marks = cg__zalloc((size_t)(nodes->n ? nodes->at[nodes->n - 1]->id : 0) + 1);
    out->failed |= !marks;
    if (marks)
        mark(marks, roots, n, nodes);
    cg__strb(out, "digraph libcg {\n  node [shape=box style=\"rounded,filled\" fillcolor=\"#f4f4f4\" fontname=\"sans-serif\" fontsize=11];\n"
                  "  edge [color=\"#777777\" fontname=\"sans-serif\" fontsize=9];\n");
    for (int i = 0; marks && i < nodes->n && !out->failed; i++)
        if (marks[nodes->at[i]->id]) {
            put_node(out, nodes->at[i], marks[nodes->at[i]->id] & ROOT);
            put_edges(out, nodes->at[i]);
        }
    cg__strb(out, "}\n");
    cg__free(marks);
}

CG_API char *cg_print_dot(cg_node *const *roots, int n)
{
    cg_strb out = { 0 };
    cg_node_vec nodes = { 0 };
    for (int i = 0; i < n; i++)
        if (!roots[i]) {
            cg_error err = { 0 };
            cg__fail(&err, CG_EINVAL, "cg_print_dot: expression %d is NULL", i + 1);
            cg__set_last(&err);
            return NULL;
        }
    out.failed = !cg__reach_values(roots, n, &nodes);
    if (!out.failed)
        put_graph(&out, roots, n, &nodes);
    CG_VEC_FREE(&nodes);
    return cg__text_result(&out, "cg_print_dot");
}
