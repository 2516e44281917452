// SPDX-License-Identifier: MIT
/* Graphs as text: (op operand... :attr value...), the inverse of read.c.
 *
 * Parts with more than one user are named in one let, in id order, so a binding mentions earlier ones only and the text
 * grows with the graph, never with its paths. Emission runs over an explicit stack of pieces: depth costs no C stack.
 * A typed scalar prints as a bare number where the reader's promotion gives it back the same dtype.
 *     (let ((t1 (exp x))) (add (mul t1 t1) 1))
 */
#include <ctype.h>
#include <math.h>
#include "core/graph/own.h"
#include "core/graph/text.h"

typedef struct piece { const cg_node *node, *user; const char *text; } piece;       /* node NULL: the text, which lasts */
typedef CG_VEC(piece) piece_vec;
typedef struct printer {
    cg_strb out;
    piece_vec stack;
    int *users;              /* by node id: how many */
    const char **let;        /* by node id: its name in the let (text of the arena), or NULL */
    int lets;
    cg_map taken;            /* hash of a name in use */
    cg_arena arena;
    bool failed;
} printer;

bool cg__word_ok(const char *word)
{
    static const char *const literals[] = { "true", "false", "none", "let", "const" };
    char *end;
    for (int i = 0; i < CG_LEN(literals); i++)
        if (strcmp(word, literals[i]) == 0)
            return false;
    if (!*word || *word == ':' || *word == '?')
        return false;
    (void)strtod(word, &end);
    if (!*end)
        return false;
    for (; *word; word++)
        if (isspace((unsigned char)*word) || iscntrl((unsigned char)*word) || strchr("()[];", *word))
            return false;
    return true;
}

const char *cg__var_word(const cg_node *n, char buf[16])
{
    const char *name = cg_node_name(n);
    if (cg__word_ok(name))
        return name;
    snprintf(buf, 16, "v%d", n->id);
    return buf;
}

static void add(cg_strb *out, const char *text) { cg__strb_add(out, text, strlen(text)); }

/* ---- numbers */

static void float_text(double v, cg_strb *out)
{
    char s[40];
    if (v != v || (v >= 0 && v < 1e9 && v == (int)v && !signbit(v))) {
        cg__strb(out, v != v ? "nan" : "%d", v != v ? 0 : (int)v);
        return;
    }
    snprintf(s, sizeof s, "%.9g", v);
    if (strtod(s, NULL) != v)
        snprintf(s, sizeof s, "%.17g", v);
    cg__strb(out, "%s", s);
}

static void element_text(const void *at, cg_dtype d, cg_strb *out)
{
    const int64_t v = cg__is_float(d) ? 0 : cg__load_i64(at, d);
    switch (cg__dtypes[d].kind) {
    case CG_KIND_BOOL: cg__strb(out, "%s", v ? "true" : "false"); break;
    case CG_KIND_INT: cg__strb(out, "%lld", (long long)v); break;
    case CG_KIND_UINT: cg__strb(out, "%llu", (unsigned long long)v); break;
    case CG_KIND_FLOAT: float_text(cg__load_f64(at, d), out); break;
    }
}

static bool is_scalar_const(const cg_node *n)
{
    return cg__is(n, CG_OP_const) && n->type.rank == 0;
}

/* Whether a bare number in this place reads back as the scalar n: another operand carries the dtype. */
static bool bare_in(const cg_node *n, const cg_node *user)
{
    if (!is_scalar_const(n) || n->type.weak || n->type.dtype == CG_BOOL)
        return is_scalar_const(n);
    double v = 0;
    if (!user || !(user->op->props & CG_ELEMWISE) || !cg__is_const(n, &v) || (cg__is_int(n->type.dtype) && fabs(v) > 0x1p53))
        return false;
    for (int k = cg__is(user, CG_OP_where); k < user->nin; k++)
        if (!is_scalar_const(user->in[k]) && user->in[k]->type.dtype == n->type.dtype)
            return true;
    return false;
}

static void const_text(const cg_node *n, const cg_node *user, cg_strb *out)
{
    const char *at = (const char *)n->attr[0].at;
    const size_t item = cg__dtypes[n->type.dtype].bytes;
    if (bare_in(n, user)) {
        element_text(at, n->type.dtype, out);
        return;
    }
    cg__strb(out, "(const %s [", cg__dtypes[n->type.dtype].name);
    for (int i = 0; i < n->type.rank; i++)
        cg__strb(out, "%s%lld", i ? " " : "", (long long)n->type.dim[i].n);
    cg__strb(out, "] [");
    for (size_t i = 0; i < (size_t)n->attr[0].n; i += item) {
        cg__strb(out, "%s", i ? " " : "");
        element_text(at + i, n->type.dtype, out);
    }
    cg__strb(out, "])");
}

/* ---- pieces of one node, in the order of the text */

static void push_text(printer *p, const char *text)
{
    p->failed |= !text || !CG_PUSH(&p->stack, (piece){ .text = text });
}

static void push_node(printer *p, const cg_node *n, const cg_node *user)
{
    p->failed |= !CG_PUSH(&p->stack, (piece){ .node = n, .user = user });
}

static void push_value(printer *p, const cg_node *n, cg_attr_kind kind, int64_t v)
{
    char s[40];
    if (v == CG_NONE)
        push_text(p, "none");
    else if (CG_IS_REF(v) && CG_REF_OF(v) < n->nin)
        push_node(p, n->in[CG_REF_OF(v)], n);
    else if (kind == CG_AT_BOOL)
        push_text(p, v ? "true" : "false");
    else if (kind == CG_AT_DTYPE && v >= 0 && v < CG_DTYPE_COUNT)
        push_text(p, cg__dtypes[v].name);
    else {
        snprintf(s, sizeof s, "%lld", (long long)v);
        push_text(p, cg__arena_str(&p->arena, s));
    }
}

static void push_attr(printer *p, const cg_node *n, int k)
{
    const cg_attr *a = &n->attr[k];
    const cg_attr_row *row = &n->op->attrs[k];
    const bool list = row->kind == CG_AT_INTS || row->kind == CG_AT_NODES;
    if (a->n < 0 || (a->n == 0 && !list))
        return;
    char head[40];
    snprintf(head, sizeof head, " :%s %s", row->name, list ? "[" : "");
    push_text(p, cg__arena_str(&p->arena, head));
    for (int i = 0; i < a->n; i++) {
        if (i)
            push_text(p, " ");
        push_value(p, n, row->kind, a->at[i]);
    }
    if (list)
        push_text(p, "]");
}

/* The head of n's text, and the pieces of the rest. Operands after op->nin stand in attributes only. */
static void begin_call(printer *p, const cg_node *n)
{
    const int from = p->stack.n, noperands = n->op->nin < 0 ? n->nin : n->op->nin;
    add(&p->out, "(");
    add(&p->out, cg__op_name(n));
    for (int k = cg__first_operand(n); k < noperands; k++) {
        push_text(p, " ");
        push_node(p, n->in[k], n);
    }
    for (int k = 0; k < n->op->nattrs && !cg__is(n, CG_OP_own); k++)
        push_attr(p, n, k);
    push_text(p, ")");
    for (int i = from, j = p->stack.n - 1; i < j; i++, j--) {
        const piece x = p->stack.at[i];
        p->stack.at[i] = p->stack.at[j];
        p->stack.at[j] = x;
    }
}

static void emit_node(printer *p, const cg_node *n, const cg_node *user, bool whole)
{
    char buf[16];
    if (!whole && p->let[n->id])
        add(&p->out, p->let[n->id]);
    else if (n->op->props & CG_IDENTITY)
        cg__strb(&p->out, "%s", cg__var_word(n, buf));
    else if (cg__is(n, CG_OP_const))
        const_text(n, user, &p->out);
    else
        begin_call(p, n);
}

/* The text of n itself, even where it has a name. */
static void emit_whole(printer *p, const cg_node *n)
{
    emit_node(p, n, NULL, true);
    while (p->stack.n && !p->failed) {
        const piece x = p->stack.at[--p->stack.n];
        if (x.node)
            emit_node(p, x.node, x.user, false);
        else
            add(&p->out, x.text);
    }
}

/* ---- names of shared parts */

static bool take_name(printer *p, const char *name)
{
    const uint64_t h = cg__hash(name, strlen(name), 0);
    uint64_t v;
    if (cg__map_get(&p->taken, h, &v))
        return false;
    p->failed |= !cg__map_put(&p->taken, h, 1);
    return true;
}

static void name_part(printer *p, const cg_node *n, int *next)
{
    char made[24];
    const char *name = cg_node_name(n);
    if (!cg__word_ok(name) || !take_name(p, name)) {
        do
            snprintf(made, sizeof made, "t%d", ++*next);
        while (!take_name(p, made));
        name = cg__arena_str(&p->arena, made);
    }
    p->failed |= !name;
    p->let[n->id] = name;
    p->lets++;
}

/* Inputs have smaller ids: going down, all users of a node are counted before it is its turn. What only types mention has none. */
static void count_users(printer *p, const cg_node *root, const cg_node_vec *nodes)
{
    p->users[root->id] = 1;
    for (int i = nodes->n - 1; i >= 0; i--) {
        const cg_node *n = nodes->at[i];
        for (int k = cg__first_operand(n); p->users[n->id] && k < n->nin; k++)
            p->users[n->in[k]->id]++;
    }
}

static void name_parts(printer *p, const cg_node_vec *nodes)
{
    int next = 0;
    char buf[16];
    for (int i = 0; i < nodes->n; i++)
        if (nodes->at[i]->op->props & CG_IDENTITY)
            (void)take_name(p, cg__var_word(nodes->at[i], buf));
    for (int i = 0; i < nodes->n && !p->failed; i++) {
        const cg_node *n = nodes->at[i];
        if (p->users[n->id] > 1 && !(n->op->props & CG_IDENTITY) && !is_scalar_const(n))
            name_part(p, n, &next);
    }
}

static void emit_let(printer *p, const cg_node *root, const cg_node_vec *nodes)
{
    const char *before = "(let (";
    for (int i = 0; i < nodes->n && !p->failed; i++)
        if (p->let[nodes->at[i]->id]) {
            add(&p->out, before);
            add(&p->out, "(");
            add(&p->out, p->let[nodes->at[i]->id]);
            add(&p->out, " ");
            emit_whole(p, nodes->at[i]);
            add(&p->out, ")");
            before = " ";
        }
    cg__strb(&p->out, "%s", p->lets ? ") " : "");
    emit_whole(p, root);
    cg__strb(&p->out, "%s", p->lets ? ")" : "");
}

static void print_root(cg_node *root, cg_strb *out)
{
    printer p = { .out = *out };
    cg_node_vec nodes = { 0 };
    const size_t count = (size_t)root->graph->count;
    p.users = cg__zalloc(count * sizeof *p.users);
    p.let = cg__zalloc(count * sizeof *p.let);
    p.failed = !p.users || !p.let || !cg__reach(&root, 1, &nodes);
    if (!p.failed)
        count_users(&p, root, &nodes);
    if (!p.failed)
        name_parts(&p, &nodes);
    if (!p.failed)
        emit_let(&p, root, &nodes);
    *out = p.out;
    out->failed |= p.failed;
    CG_VEC_FREE(&nodes);
    CG_VEC_FREE(&p.stack);
    cg__free(p.users);
    cg__free(p.let);
    cg__map_free(&p.taken);
    cg__arena_free(&p.arena);
}

CG_API char *cg_print(cg_node *const *roots, int n)
{
    cg_strb out = { 0 };
    for (int i = 0; i < n && !out.failed; i++) {
        if (!roots[i]) {
            cg_error err = { 0 };
            cg__strb_free(&out);
            cg__fail(&err, CG_EINVAL, "cg_print: expression %d is NULL", i + 1);
            cg__set_last(&err);
            return NULL;
        }
        cg__strb(&out, "%s", i ? "\n" : "");
        print_root(roots[i], &out);
    }
    return cg__text_result(&out, "cg_print");
}

CG_API char *cg_list_ops(void)
{
    static const char *const kinds[] = { "INT", "[INT...]", "BOOL", "DTYPE", "BYTES", "[EXPR...]", "NUMBER" };
    cg_strb out = { 0 };
    cg__strb(&out, "(const DTYPE [SIZE...] [VALUE...])\n");
    for (int i = 0; i < CG_OP_COUNT; i++) {
        const cg_op *op = &cg__ops[i];
        if ((op->props & CG_LEAF) || i == CG_OP_own)
            continue;
        cg__strb(&out, "(%s", op->name);
        for (int k = 0; k < op->nin; k++)
            cg__strb(&out, " %c", 'a' + k);
        for (int k = 0; k < op->nattrs; k++)
            cg__strb(&out, " :%s %s", op->attrs[k].name, kinds[op->attrs[k].kind]);
        cg__strb(&out, "%s)%s\n", op->nin < 0 ? " a..." : "", op->form ? "    made of others" : "");
    }
    return cg__text_result(&out, "cg_list_ops");
}
