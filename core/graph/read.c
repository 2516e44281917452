// SPDX-License-Identifier: MIT
/* Text to graphs: the inverse of print.c.
 *
 * One loop takes words and brackets; open parentheses are frames on an explicit stack, so the depth of a hostile text
 * costs heap only. Nodes made so far lie on one stack of values, numbers of attributes on another; a frame owns their ends.
 * Expressions inside attributes become operands after the op's own: while a frame is open its k-th one is CG_REF(k),
 * shifted by the number of operands when it closes. The first mistake ends the reading, with its place in the text.
 */
#include <errno.h>
#include "core/graph/build.h"
#include "core/graph/own.h"
#include "core/graph/text.h"

enum { MAX_OPERANDS = 512, MAX_REFS = 500 };
#define MAX_INT ((int64_t)1 << 62)       /* beyond it lie the codes of references */

typedef enum { F_CALL, F_LET, F_BIND } frame_kind;
typedef enum { LET_OPEN, LET_BINDINGS, LET_BODY, LET_DONE } let_state;
typedef struct word { const char *at; size_t n; } word;
typedef struct value { cg_node *node; bool ref; } value;
typedef struct span { int from, n; } span;
typedef struct frame {
    frame_kind kind;
    int values, ints, binds;     /* where its part of each stack begins */
    cg_op_id op;                 /* CALL */
    const cg_own_op *own;        /* CALL of the graph's own operation */
    int attr, refs;              /* CALL: attribute being read, or -1; expressions in attributes so far */
    int lists;                   /* open brackets of the attribute: [[1 2] [3 4]] is [1 2 3 4] */
    span attrs[CG_MAX_ATTRS];    /* CALL: n -1: absent */
    let_state state;             /* LET */
    word name;                   /* BIND */
} frame;
typedef struct bind { word name; cg_node *node; uint64_t shadowed; } bind;      /* shadowed: what its hash meant before, 0: nothing */

typedef struct reader {
    cg_graph *g;
    const char *text, *at;
    CG_VEC(frame) frames;
    CG_VEC(value) values;
    CG_VEC(int64_t) ints;
    CG_VEC(bind) binds;
    cg_map names;                /* hash of a name -> 1 + index of the latest bind of that hash, 0: none any more */
    cg_node *result;
    bool failed;
} reader;

static void fail(reader *r, const char *at, cg_status code, const char *fmt, ...) CG_PRINTF(4, 5);
static void fail(reader *r, const char *at, cg_status code, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!r->failed)
        cg__graph_fail(r->g, code, "cg_read: %s, at character %lld", text, (long long)(at - r->text) + 1);
    r->failed = true;
}

static void keep(reader *r, bool pushed)
{
    if (!pushed)
        fail(r, r->at, CG_ENOMEM, "no memory");
}

/* ---- words */

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_bracket(char c) { return c == '(' || c == ')' || c == '[' || c == ']'; }
static bool is(word w, const char *text) { return strlen(text) == w.n && memcmp(w.at, text, w.n) == 0; }
static int width(word w) { return w.n > 60 ? 60 : (int)w.n; }

/* A bracket alone or a run of other characters; n is 0 at the end. A comment runs from ; to the end of its line. */
static word next_word(reader *r)
{
    while (is_space(*r->at) || *r->at == ';')
        r->at += *r->at == ';' ? strcspn(r->at, "\n") : 1;
    word w = { r->at, 0 };
    if (is_bracket(*w.at))
        w.n = 1;
    else
        while (w.at[w.n] && !is_space(w.at[w.n]) && !is_bracket(w.at[w.n]) && w.at[w.n] != ';')
            w.n++;
    r->at += w.n;
    return w;
}

static bool whole_number(word w, char copy[64])
{
    if (!w.n || w.n >= 64 || !(strchr("+-.", *w.at) || (*w.at >= '0' && *w.at <= '9') || is(w, "nan") || is(w, "inf")))
        return false;
    memcpy(copy, w.at, w.n);
    copy[w.n] = 0;
    return true;
}

static bool read_float(word w, double *v)
{
    char copy[64], *end;
    if (!whole_number(w, copy))
        return false;
    *v = strtod(copy, &end);
    return end != copy && !*end;
}

static bool read_int(word w, int64_t *v)
{
    char copy[64], *end;
    if (!whole_number(w, copy))
        return false;
    errno = 0;
    *v = *copy == '-' ? strtoll(copy, &end, 10) : (int64_t)strtoull(copy, &end, 10);
    return end != copy && !*end && !errno;
}

/* As an attribute has it: the bits of the double; what is below 1e-300 is 0, for the codes of references are such bits. */
static bool read_real(word w, int64_t *bits)
{
    double v;
    if (!read_float(w, &v))
        return false;
    v = v < 1e-300 && v > -1e-300 ? 0 : v;
    memcpy(bits, &v, sizeof v);
    return true;
}

/* ---- names */

static uint64_t hash_word(word w) { return cg__hash(w.at, w.n, 0); }

static void bind_name(reader *r, word name, cg_node *node)
{
    uint64_t before = 0;
    cg__map_get(&r->names, hash_word(name), &before);
    keep(r, CG_PUSH(&r->binds, (bind){ name, node, before }) && cg__map_set(&r->names, hash_word(name), (uint64_t)r->binds.n));
}

static void unbind_to(reader *r, int n)
{
    while (r->binds.n > n) {
        const bind *b = &r->binds.at[--r->binds.n];
        cg__map_set(&r->names, hash_word(b->name), b->shadowed);
    }
}

static cg_node *lookup(const reader *r, word w)
{
    uint64_t i = 0;
    cg__map_get(&r->names, hash_word(w), &i);
    for (; i; i = r->binds.at[i - 1].shadowed) {
        const bind *b = &r->binds.at[i - 1];
        if (b->name.n == w.n && memcmp(b->name.at, w.at, w.n) == 0)
            return b->node;
    }
    return NULL;
}

/* ---- finished expressions go to the frame on top */

static frame *top(reader *r) { return r->frames.n ? &r->frames.at[r->frames.n - 1] : NULL; }

static void end_item(frame *f)
{
    f->attrs[f->attr].n++;
    if (!f->lists)
        f->attr = -1;
}

static bool ref_ok(reader *r, const frame *f, const cg_node *n)
{
    const cg_attr_row *row = &cg__ops[f->op].attrs[f->attr];
    if (f->refs == MAX_REFS)
        fail(r, r->at, CG_EFORMAT, "more than %d expressions in attributes", MAX_REFS);
    else if (row->kind == CG_AT_NODES)
        return true;
    else if ((row->kind != CG_AT_INT && row->kind != CG_AT_INTS) || n->type.rank || n->type.weak || !cg__is_int(n->type.dtype))
        fail(r, r->at, CG_EFORMAT, ":%s does not take %s", row->name, cg__label(n));
    return !r->failed;
}

static void deliver_operand(reader *r, frame *f, cg_node *n)
{
    const bool ref = f->attr >= 0;
    if (ref && !ref_ok(r, f, n))
        return;
    if (ref && cg__ops[f->op].attrs[f->attr].kind != CG_AT_NODES && !(n = cg_cast(n, CG_I64))) {
        r->failed = true;
        return;
    }
    keep(r, CG_PUSH(&r->values, (value){ n, ref }));
    if (ref) {
        keep(r, CG_PUSH(&r->ints, CG_REF(f->refs)));
        f->refs++;
        end_item(f);
    }
}

static void deliver(reader *r, const char *at, cg_node *n)
{
    frame *f = top(r);
    if (!n)
        r->failed = true;                /* its builder has said why */
    else if (!f && r->result)
        fail(r, at, CG_EFORMAT, "a second expression");
    else if (!f)
        r->result = n;
    else if (f->kind == F_CALL)
        deliver_operand(r, f, n);
    else if (f->kind == F_LET && f->state != LET_BODY)
        fail(r, at, CG_EFORMAT, f->state == LET_DONE ? "a let has one body" : "a let begins with ((name expression)...)");
    else if (f->kind == F_BIND && r->values.n > f->values)
        fail(r, at, CG_EFORMAT, "a name is bound to one expression");
    else {
        keep(r, CG_PUSH(&r->values, (value){ n, false }));
        if (f->kind == F_LET)
            f->state = LET_DONE;
    }
}

/* ---- (const dtype [shape] [values]) */

static bool expect(reader *r, const char *text)
{
    const word w = next_word(r);
    if (!is(w, text))
        fail(r, w.at, CG_EFORMAT, "const wants '%s' here: (const dtype [size...] [value...])", text);
    return !r->failed;
}

static int read_shape(reader *r, int64_t *shape, size_t *count)
{
    int rank = 0;
    *count = 1;
    if (!expect(r, "["))
        return 0;
    for (word w = next_word(r); !is(w, "]") && !r->failed; w = next_word(r)) {
        int64_t v = -1;
        if (!read_int(w, &v) || v < 0 || !cg__mul_size(*count, (size_t)v, count) || rank == CG_MAX_RANK)
            fail(r, w.at, CG_EFORMAT, "'%.*s' is no size of a constant of at most %d axes", width(w), w.at, CG_MAX_RANK);
        else
            shape[rank++] = v;
    }
    return rank;
}

static bool store(char *at, cg_dtype d, word w)
{
    int64_t i = 0;
    double v = 0;
    if (is(w, "true") || is(w, "false"))
        cg__store_i64(at, d, i = is(w, "true"));
    else if (!cg__is_float(d) && read_int(w, &i))
        cg__store_i64(at, d, i);
    else if (cg__is_float(d) && read_float(w, &v))
        cg__store_f64(at, d, v);
    else
        return false;
    return true;
}

/* Room grows with the values that are there, not with the size that the text claims. */
static void read_values(reader *r, cg_dtype d, size_t count, cg_strb *data)
{
    size_t n = 0;
    if (!expect(r, "["))
        return;
    word w = next_word(r);
    for (; !is(w, "]") && !r->failed; w = next_word(r), n++) {
        int64_t room[1] = { 0 };
        if (n == count || !store((char *)room, d, w))
            fail(r, w.at, CG_EFORMAT, n == count ? "too many values for the constant's shape" : "a value of a constant does not fit its dtype");
        else
            cg__strb_add(data, (const char *)room, cg__dtypes[d].bytes);
    }
    if (n != count)
        fail(r, w.at, CG_EFORMAT, "too few values for the constant's shape");
    if (data->failed)
        fail(r, w.at, CG_ENOMEM, "no memory for a constant");
}

static void read_const(reader *r, const char *at)
{
    int64_t shape[CG_MAX_RANK];
    size_t count = 0;
    cg_dtype d = CG_F32;
    cg_strb data = { 0 };
    const word w = next_word(r);
    if (!cg__dtype_by_name(w.at, w.n, &d))
        fail(r, w.at, CG_EFORMAT, "'%.*s' is no dtype", width(w), w.at);
    const int rank = r->failed ? 0 : read_shape(r, shape, &count);
    if (!r->failed)
        read_values(r, d, count, &data);
    if (!r->failed && expect(r, ")"))
        deliver(r, at, cg_constant(r->g, d, shape, rank, count ? data.at : (const void *)&count));
    cg__strb_free(&data);
}

/* ---- opening */

static bool find_op(word w, cg_op_id *op)
{
    static const struct { const char *name; cg_op_id op; } aliases[] = {
        { "multiply", CG_OP_mul }, { "subtract", CG_OP_sub }, { "true_divide", CG_OP_div }, { "divide", CG_OP_div },
        { "negative", CG_OP_neg }, { "absolute", CG_OP_abs }, { "remainder", CG_OP_mod }, { "rint", CG_OP_round }, { "fix", CG_OP_trunc },
        { "bitwise_not", CG_OP_invert },
    };
    for (int i = 0; i < CG_LEN(aliases); i++)
        if (is(w, aliases[i].name))
            return *op = aliases[i].op, true;
    for (int i = 0; i < CG_OP_COUNT; i++)
        if (!(cg__ops[i].props & CG_LEAF) && i != CG_OP_own && is(w, cg__ops[i].name))
            return *op = (cg_op_id)i, true;
    return false;
}

static void open_frame(reader *r, frame f)
{
    f.values = r->values.n;
    f.ints = r->ints.n;
    f.binds = r->binds.n;
    f.attr = -1;
    for (int i = 0; i < CG_MAX_ATTRS; i++)
        f.attrs[i].n = -1;
    keep(r, CG_PUSH(&r->frames, f));
}

static void open_binding(reader *r)
{
    const word w = next_word(r);
    if (!w.n || is_bracket(*w.at) || *w.at == ':')
        fail(r, w.at, CG_EFORMAT, "a binding is (name expression)");
    else
        open_frame(r, (frame){ .kind = F_BIND, .name = w });
}

static void open_paren(reader *r, const char *at)
{
    frame *f = top(r);
    cg_op_id op = CG_OP_COUNT;
    const cg_own_op *own;
    if (f && f->kind == F_LET && f->state == LET_OPEN) {
        f->state = LET_BINDINGS;
        return;
    }
    if (f && f->kind == F_LET && f->state == LET_BINDINGS) {
        open_binding(r);
        return;
    }
    const word w = next_word(r);
    if (is(w, "let"))
        open_frame(r, (frame){ .kind = F_LET });
    else if (is(w, "const"))
        read_const(r, at);
    else if (!w.n || is_bracket(*w.at))
        fail(r, w.at, CG_EFORMAT, "an operation's name is missing");
    else if ((own = cg__own_by_name(r->g, w.at, w.n)))
        open_frame(r, (frame){ .kind = F_CALL, .op = CG_OP_own, .own = own });
    else if (!find_op(w, &op))
        fail(r, w.at, CG_EUNSUPPORTED, "there is no operation '%.*s'", width(w), w.at);
    else
        open_frame(r, (frame){ .kind = F_CALL, .op = op });
}

/* ---- closing */

/* A bare number is cast without rounding twice. */
static cg_node *call(cg_graph *g, cg_op_id op, cg_node *const *in, int nin, const cg_attr *attrs)
{
    if (op == CG_OP_cast && in[0]->type.weak && attrs[0].n == 1 && attrs[0].at[0] >= 0 && attrs[0].at[0] < CG_DTYPE_COUNT)
        return cg_cast(in[0], (cg_dtype)attrs[0].at[0]);
    return cg__build(g, op, in, nin, attrs);
}

/* Operands first, then the expressions of attributes; their references shift behind the operands. */
static int gather(reader *r, const frame *f, cg_node **in)
{
    int n = 0, operands = 0;
    for (int want_ref = 0; want_ref < 2; want_ref++) {
        for (int i = f->values; i < r->values.n && n < MAX_OPERANDS; i++)
            if (r->values.at[i].ref == (want_ref == 1))
                in[n++] = r->values.at[i].node;
        operands = want_ref ? operands : n;
    }
    for (int i = f->ints; i < r->ints.n; i++)
        if (CG_IS_REF(r->ints.at[i]))
            r->ints.at[i] += operands;
    return n;
}

static void close_call(reader *r, const char *at, const frame *f)
{
    const cg_op *op = &cg__ops[f->op];
    cg_node *in[MAX_OPERANDS];
    cg_attr attrs[CG_MAX_ATTRS];
    const int got = r->values.n - f->values - f->refs;
    if (f->attr >= 0)
        fail(r, at, CG_EFORMAT, ":%s has no value", op->attrs[f->attr].name);
    else if ((op->nin >= 0 && got != op->nin) || got + f->refs > MAX_OPERANDS)
        fail(r, at, CG_EFORMAT, "%s takes %d operand%s, got %d", op->name, op->nin, op->nin == 1 ? "" : "s", got);
    for (int i = 0; i < op->nattrs; i++)
        if (op->attrs[i].kind != CG_AT_INTS && op->attrs[i].kind != CG_AT_NODES && f->attrs[i].n > 1)
            fail(r, at, CG_EFORMAT, ":%s is one value", op->attrs[i].name);
    if (r->failed)
        return;
    const int n = gather(r, f, in);
    for (int i = 0; i < CG_MAX_ATTRS; i++)
        attrs[i] = (cg_attr){ f->attrs[i].n, f->attrs[i].n > 0 ? r->ints.at + f->attrs[i].from : NULL };
    cg_node *node = f->own ? cg__own_apply(f->own, in, n) : call(r->g, f->op, in, n, attrs);
    r->values.n = f->values;
    r->ints.n = f->ints;
    r->frames.n--;
    deliver(r, at, node);
}

static void close_let(reader *r, const char *at, const frame *f)
{
    frame *here = top(r);
    if (f->state == LET_BINDINGS)
        here->state = LET_BODY;
    else if (f->state != LET_DONE)
        fail(r, at, CG_EFORMAT, "a let is (let ((name expression)...) body)");
    else {
        cg_node *body = r->values.at[--r->values.n].node;
        unbind_to(r, f->binds);
        r->frames.n--;
        deliver(r, at, body);
    }
}

static void close_paren(reader *r, const char *at)
{
    if (!r->frames.n) {
        fail(r, at, CG_EFORMAT, "a ')' too many");
        return;
    }
    const frame f = *top(r);
    if (f.kind == F_CALL)
        close_call(r, at, &f);
    else if (f.kind == F_LET)
        close_let(r, at, &f);
    else if (r->values.n == f.values)
        fail(r, at, CG_EFORMAT, "a binding is (name expression)");
    else {
        cg_node *node = r->values.at[--r->values.n].node;
        r->frames.n--;
        bind_name(r, f.name, node);
    }
}

/* ---- attributes */

static void open_attr(reader *r, word w)
{
    frame *f = top(r);
    const word name = { w.at + 1, w.n - 1 };
    if (!f || f->kind != F_CALL || f->attr >= 0) {
        fail(r, w.at, CG_EFORMAT, "an attribute stands where none may");
        return;
    }
    const cg_op *op = &cg__ops[f->op];
    for (int i = 0; i < op->nattrs; i++)
        if (!f->own && is(name, op->attrs[i].name) && f->attrs[i].n < 0) {
            f->attr = i;
            f->attrs[i] = (span){ r->ints.n, 0 };
            return;
        }
    fail(r, w.at, CG_EFORMAT, "%s has no attribute %.*s, or has it already", op->name, width(w), w.at);
}

static void list_bracket(reader *r, word w)
{
    frame *f = top(r);
    const bool open = *w.at == '[';
    if (!f || f->kind != F_CALL || f->attr < 0 || f->lists == (open ? 2 : 0))
        fail(r, w.at, CG_EFORMAT, "a '%c' stands where no list may", *w.at);
    else {
        f->lists += open ? 1 : -1;
        f->attr = f->lists ? f->attr : -1;
    }
}

/* A plain value of an attribute; false: the word is something else (a name). */
static bool attr_word(reader *r, frame *f, word w)
{
    int64_t v = 0;
    cg_dtype d;
    const cg_attr_kind kind = cg__ops[f->op].attrs[f->attr].kind;
    if (kind == CG_AT_NODES)
        return false;
    if (is(w, "none") && !f->lists) {
        f->attrs[f->attr].n = -1;        /* as if it were absent */
        f->attr = -1;
        return true;
    }
    if (is(w, "none"))
        v = CG_NONE;
    else if (is(w, "true") || is(w, "false"))
        v = is(w, "true");
    else if (kind == CG_AT_DTYPE && cg__dtype_by_name(w.at, w.n, &d))
        v = d;
    else if (kind == CG_AT_REAL ? !read_real(w, &v) : !read_int(w, &v))
        return false;
    else if (kind != CG_AT_REAL && (v > MAX_INT || v < -MAX_INT))
        fail(r, w.at, CG_EFORMAT, "the number %.*s is out of range", width(w), w.at);
    keep(r, CG_PUSH(&r->ints, v));
    end_item(f);
    return true;
}

static void plain_word(reader *r, word w)
{
    frame *f = top(r);
    cg_node *n = NULL;
    double v = 0;
    if (f && f->kind == F_CALL && f->attr >= 0 && attr_word(r, f, w))
        return;
    if (read_float(w, &v))
        n = cg_weak(r->g, v);
    else if (is(w, "true") || is(w, "false"))
        n = cg_scalar(r->g, CG_BOOL, is(w, "true"));
    else if (!(n = lookup(r, w)))
        fail(r, w.at, CG_EFORMAT, "there is no variable '%.*s'", width(w), w.at);
    if (!r->failed)
        deliver(r, w.at, n);
}

static void read_all(reader *r)
{
    for (word w = next_word(r); w.n && !r->failed; w = next_word(r)) {
        switch (*w.at) {
        case '(': open_paren(r, w.at); break;
        case ')': close_paren(r, w.at); break;
        case '[': case ']': list_bracket(r, w); break;
        case ':': open_attr(r, w); break;
        default: plain_word(r, w);
        }
    }
    if (!r->failed && r->frames.n)
        fail(r, r->at, CG_EFORMAT, "the text ends inside an expression");
    if (!r->failed && !r->result)
        fail(r, r->at, CG_EFORMAT, "there is no expression");
}

CG_API cg_node *cg_read(cg_graph *g, const char *text, cg_node *const *vars, int nvars)
{
    CG_BUILDER(g);
    if (!g)
        return NULL;
    if (!text)
        return cg__graph_fail(g, CG_EINVAL, "cg_read: the text is NULL");
    reader r = { .g = g, .text = text, .at = text };
    cg_arena words = { 0 };
    for (int i = nvars - 1; i >= 0 && !r.failed; i--) {      /* the first of equal names wins */
        char buf[16];
        const char *name = vars[i] ? cg__arena_str(&words, cg__var_word(vars[i], buf)) : "";
        if (vars[i] && !name)
            fail(&r, text, CG_ENOMEM, "no memory");
        else if (vars[i])
            bind_name(&r, (word){ name, strlen(name) }, vars[i]);
    }
    if (!r.failed)
        read_all(&r);
    CG_VEC_FREE(&r.frames);
    CG_VEC_FREE(&r.values);
    CG_VEC_FREE(&r.ints);
    CG_VEC_FREE(&r.binds);
    cg__map_free(&r.names);
    cg__arena_free(&words);
    return r.failed ? NULL : r.result;
}
