// SPDX-License-Identifier: MIT
/* The texts of the rules, parsed once into patterns; matching and replacing.
 *
 * A pattern is an array in which operands follow their operation. Matching keeps a list of (pattern, node) pairs still to
 * match, and tries a commutative operation in both orders with a copy of that state: all assignments are found. Recursion
 * here is as deep as a rule's text is long, never as deep as a graph.
 */
#include <ctype.h>
#include <pthread.h>
#include "core/graph/build.h"
#include "core/rewrite/rewrite.h"

enum { MAX_RULES = 128, MAX_PATTERN = 12, MAX_KIDS = 3, MAX_PATTERN_ATTRS = 2 };

typedef enum { P_VAR, P_NUMBER, P_CALL } pattern_kind;
typedef struct pattern_attr { int index, var; int64_t value; } pattern_attr;   /* var -1: the value itself */
typedef struct pattern {
    pattern_kind kind;
    int var;                     /* VAR */
    double number;               /* NUMBER */
    cg_op_id op;                 /* CALL */
    int nkids, kids[MAX_KIDS];
    int nattrs; pattern_attr attrs[MAX_PATTERN_ATTRS];
} pattern;
typedef struct pattern_side { pattern at[MAX_PATTERN]; int n; } pattern_side;
typedef struct names { char at[CG_RULE_VARS][12]; int n; } names;
typedef struct compiled { pattern_side match, replace; const char *broken; int next; } compiled;

static compiled compiled_rules[MAX_RULES];
static int first_of[CG_OP_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- parsing */

typedef struct parser { const char *at, *broken; names *nodes, *attrs; pattern_side *out; } parser;

static void word_of(parser *p, char out[24])
{
    size_t n = 0;
    while (*p->at == ' ')
        p->at++;
    while (p->at[n] && !strchr(" ()", p->at[n]) && n < 23)
        n++;
    memcpy(out, p->at, n);
    out[n] = 0;
    p->at += n;
}

static char peek(parser *p)
{
    while (*p->at == ' ')
        p->at++;
    return *p->at;
}

static int var_of(parser *p, names *known, const char *word)
{
    for (int i = 0; i < known->n; i++)
        if (strcmp(known->at[i], word) == 0)
            return i;
    if (known->n == CG_RULE_VARS) {
        p->broken = "too many variables";
        return 0;
    }
    snprintf(known->at[known->n], sizeof known->at[0], "%.10s", word);
    return known->n++;
}

static bool op_of(const char *word, cg_op_id *op)
{
    for (int i = 0; i < CG_OP_COUNT; i++)
        if (strcmp(cg__ops[i].name, word) == 0)
            return *op = (cg_op_id)i, true;
    return false;
}

static void parse_attr(parser *p, pattern *call)
{
    char name[24], value[24];
    word_of(p, name);
    word_of(p, value);
    const cg_op *op = &cg__ops[call->op];
    pattern_attr a = { -1, -1, 0 };
    for (int i = 0; i < op->nattrs; i++)
        if (strcmp(op->attrs[i].name, name + 1) == 0)
            a.index = i;
    if (*value == '?')
        a.var = var_of(p, p->attrs, value);
    else
        a.value = strcmp(value, "true") == 0 ? 1 : strtoll(value, NULL, 10);
    if (a.index < 0 || call->nattrs == MAX_PATTERN_ATTRS)
        p->broken = "an attribute is unknown, or one too many";
    else
        call->attrs[call->nattrs++] = a;
}

static int parse(parser *p);

static void parse_call(parser *p, pattern *call)
{
    char word[24];
    p->at++;
    word_of(p, word);
    call->kind = P_CALL;
    if (!op_of(word, &call->op))
        p->broken = "an operation is unknown";
    while (!p->broken && peek(p) != ')') {
        if (!*p->at || (*p->at != ':' && call->nkids == MAX_KIDS))
            p->broken = "a parenthesis is open, or operands are too many";
        else if (*p->at == ':')
            parse_attr(p, call);
        else
            call->kids[call->nkids++] = parse(p);
    }
    p->at += *p->at == ')';
}

/* Takes one expression and says where it is in the pattern. */
static int parse(parser *p)
{
    if (p->out->n == MAX_PATTERN) {
        p->broken = "the expression is too long";
        return 0;
    }
    const int here = p->out->n++;
    pattern *to = &p->out->at[here];
    char word[24], *end;
    if (peek(p) == '(') {
        parse_call(p, to);
        return here;
    }
    word_of(p, word);
    to->kind = *word == '?' ? P_VAR : P_NUMBER;
    if (*word == '?')
        to->var = var_of(p, p->nodes, word);
    else if (to->number = strtod(word, &end), end == word || *end)
        p->broken = "a word is neither a variable nor a number";
    return here;
}

static void compile_rule(const cg_rule *row, compiled *out)
{
    names nodes = { 0 }, attrs = { 0 };
    parser p = { .at = row->match, .nodes = &nodes, .attrs = &attrs, .out = &out->match };
    parse(&p);
    const int nnodes = nodes.n, nattrs = attrs.n;
    if (row->replace) {
        p.at = row->replace;
        p.out = &out->replace;
        parse(&p);
    }
    if (!p.broken && peek(&p))
        p.broken = "text is left over";
    if (!p.broken && (nodes.n > nnodes || attrs.n > nattrs))
        p.broken = "the replacement names what the match does not";
    if (!p.broken && out->match.at[0].kind != P_CALL)
        p.broken = "a match is an operation";
    if (!p.broken && !row->replace == !row->build)
        p.broken = "a rule has either a replacement or a builder";
    out->broken = p.broken;
}

static void compile_all(void)
{
    const cg_rule *rows;
    const int n = cg__rules(&rows) < MAX_RULES ? cg__rules(&rows) : MAX_RULES;
    for (int i = 0; i < CG_OP_COUNT; i++)
        first_of[i] = -1;
    for (int i = n - 1; i >= 0; i--) {
        compiled *c = &compiled_rules[i];
        compile_rule(&rows[i], c);
        c->next = -1;
        if (c->broken)
            continue;
        c->next = first_of[c->match.at[0].op];
        first_of[c->match.at[0].op] = i;
    }
}

static const compiled *rule_at(int i)
{
    pthread_once(&once, compile_all);
    return &compiled_rules[i];
}

int cg__rule_first(cg_op_id op)
{
    (void)rule_at(0);
    return first_of[op];
}

int cg__rule_next(int i) { return rule_at(i)->next; }

const char *cg__rule_broken(int i) { return i < MAX_RULES ? rule_at(i)->broken : "the table is longer than MAX_RULES"; }

/* ---- matching */

typedef struct pair { int pattern; cg_node *node; } pair;
typedef struct state { cg_bind bind; pair todo[MAX_PATTERN]; int n; } state;

/* All elements equal also behind operations that only repeat or rearrange them. */
static bool is_number(const cg_node *n, double want)
{
    double v = 0;
    for (int i = 0; i < 8 && (cg__is(n, CG_OP_broadcast_to) || cg__is(n, CG_OP_reshape) || cg__is(n, CG_OP_expand_dims)); i++)
        n = n->in[0];
    return cg__is_const(n, &v) && v == want;
}

static bool same_attr(const cg_attr *a, const cg_attr *b)
{
    return a->n == b->n && (a->n <= 0 || memcmp(a->at, b->at, (size_t)a->n * sizeof *a->at) == 0);
}

/* Bound attributes hold plain numbers: a reference means nothing to another node. */
static bool match_attrs(const pattern *p, const cg_node *n, cg_bind *b)
{
    for (int i = 0; i < p->nattrs; i++) {
        const pattern_attr *a = &p->attrs[i];
        const cg_attr *have = &n->attr[a->index];
        if (a->var < 0 && (have->n != 1 || have->at[0] != a->value))
            return false;
        if (a->var >= 0 && b->attr[a->var] && !same_attr(b->attr[a->var], have))
            return false;
        for (int k = 0; a->var >= 0 && k < have->n; k++)
            if (CG_IS_REF(have->at[k]))
                return false;
        if (a->var >= 0)
            b->attr[a->var] = have;
    }
    return true;
}

static bool match_todo(const pattern *ps, state *s);

static bool match_kids(const pattern *ps, const pattern *p, const cg_node *n, state *s, bool swap)
{
    for (int k = p->nkids - 1; k >= 0; k--)
        s->todo[s->n++] = (pair){ p->kids[k], n->in[swap ? 1 - k : k] };
    return match_todo(ps, s);
}

static bool match_call(const pattern *ps, const pattern *p, const cg_node *n, state *s)
{
    if (!cg__is(n, p->op) || n->nin < p->nkids || !match_attrs(p, n, &s->bind))
        return false;
    if (!(n->op->props & CG_COMMUTES) || p->nkids != 2)
        return match_kids(ps, p, n, s, false);
    const state saved = *s;
    if (match_kids(ps, p, n, s, false))
        return true;
    *s = saved;
    return match_kids(ps, p, n, s, true);
}

static bool match_todo(const pattern *ps, state *s)
{
    while (s->n) {
        const pair x = s->todo[--s->n];
        const pattern *p = &ps[x.pattern];
        if (p->kind == P_CALL)
            return match_call(ps, p, x.node, s);
        if (p->kind == P_NUMBER ? !is_number(x.node, p->number) : s->bind.node[p->var] && s->bind.node[p->var] != x.node)
            return false;
        if (p->kind == P_VAR)
            s->bind.node[p->var] = x.node;
    }
    return true;
}

/* ---- replacing */

static cg_node *replace(cg_graph *g, const pattern *ps, int at, const cg_bind *b)
{
    const pattern *p = &ps[at];
    cg_node *in[MAX_KIDS];
    cg_attr attrs[CG_MAX_ATTRS];
    if (p->kind == P_VAR)
        return b->node[p->var];
    if (p->kind == P_NUMBER)
        return cg_weak(g, p->number);
    for (int k = 0; k < p->nkids; k++)
        if (!(in[k] = replace(g, ps, p->kids[k], b)))
            return NULL;
    for (int k = 0; k < CG_MAX_ATTRS; k++)
        attrs[k] = (cg_attr){ .n = -1 };
    for (int k = 0; k < p->nattrs; k++) {
        const pattern_attr *a = &p->attrs[k];
        attrs[a->index] = a->var >= 0 ? *b->attr[a->var] : (cg_attr){ 1, &a->value };
        if (cg__ops[p->op].attrs[a->index].kind != CG_AT_INTS && attrs[a->index].n != 1)
            return NULL;                 /* a list cannot stand for one number */
    }
    return cg__build(g, p->op, in, p->nkids, attrs);
}

cg_node *cg__rule_apply(cg_graph *g, int i, const cg_node *n)
{
    const cg_rule *row;
    const compiled *c = rule_at(i);
    state s = { .n = 0 };
    if (i >= cg__rules(&row) || c->broken || !match_call(c->match.at, &c->match.at[0], n, &s))
        return NULL;
    row += i;
    if (row->when && !row->when(n, &s.bind))
        return NULL;
    return row->build ? row->build(n, &s.bind) : replace(g, c->replace.at, 0, &s.bind);
}
