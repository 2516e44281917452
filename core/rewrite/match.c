// SPDX-License-Identifier: MIT
/* The texts of the rules, parsed once into patterns; matching and replacing.
 *
 * A pattern is an array in which operands follow their operation. Matching keeps a list of (pattern, node) pairs still to
 * match, and tries a commutative operation in both orders with a copy of that state: all assignments are found; so are those of
 * a chain's terms to the operands of a rule that is marked .chain. Recursion here is as deep as a rule's text is long, never as
 * deep as a graph.
 */
#include <ctype.h>
#include <pthread.h>
#include "core/graph/build.h"
#include "core/rewrite/rewrite.h"

enum { MAX_PATTERN = 24, MAX_KIDS = 4, MAX_PATTERN_ATTRS = 2, MAX_WHEN = 2, MAX_INDEX = 4096 };

typedef enum { P_VAR, P_NUMBER, P_CALL, P_REST } pattern_kind;
typedef struct pattern_attr { int index, var; int64_t value; } pattern_attr;   /* var -1: the value itself */
typedef struct pattern {
    pattern_kind kind;
    bool once;
    int var;                     /* VAR */
    double number;               /* NUMBER */
    cg_op_id op;                 /* CALL; CG_OP_COUNT: any with `flag` */
    unsigned flag;
    int nkids, kids[MAX_KIDS];
    int nattrs; pattern_attr attrs[MAX_PATTERN_ATTRS];
} pattern;
typedef struct pattern_side { pattern at[MAX_PATTERN]; int n; } pattern_side;
typedef struct names { char at[CG_RULE_VARS][12]; int n; } names;
typedef struct compiled { pattern_side match, replace; cg_condition *when[MAX_WHEN]; uint64_t needs; const char *broken; } compiled;

static compiled compiled_rules[CG_RULES_MAX];
/* The rules of a phase for an operation: from first_of[phase][op] to first_of[phase][op + 1] */
static int16_t index_of[MAX_INDEX], first_of[CG_PHASE_COUNT][CG_OP_COUNT + 1];
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

static const struct { const char *name; unsigned flag; } flags[] = {
    { "@COMM", A_COMM }, { "@ASSOC", A_ASSOC }, { "@IDEM", A_IDEM }, { "@INVO", A_INVO }, { "@ODD", A_ODD }, { "@EVEN", A_EVEN }, { "@MONO", A_MONO }, { "@SELF", A_SELF },
};

static bool op_of(const char *word, cg_op_id *op, unsigned *flag)
{
    *op = CG_OP_COUNT;
    for (int i = 0; i < CG_LEN(flags); i++)
        if (strcmp(flags[i].name, word) == 0)
            return *flag = flags[i].flag, true;
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
    const cg_op *op = call->op < CG_OP_COUNT ? &cg__ops[call->op] : NULL;
    pattern_attr a = { -1, -1, 0 };
    for (int i = 0; op && i < op->nattrs; i++)
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

/* ":once" right after a variable or a parenthesis. */
static bool takes_once(parser *p)
{
    static const char mark[] = ":once";
    const bool has = strncmp(p->at, mark, sizeof mark - 1) == 0;
    p->at += has ? sizeof mark - 1 : 0;
    return has;
}

static void parse_call(parser *p, pattern *call)
{
    char word[24];
    p->at++;
    word_of(p, word);
    call->kind = P_CALL;
    if (!op_of(word, &call->op, &call->flag))
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
    call->once = takes_once(p);
}

static void parse_variable(parser *p, pattern *to, char *word)
{
    char *mark = strchr(word, ':');
    if (mark && strcmp(mark, ":once") != 0)
        p->broken = "a variable has an unknown mark";
    if (mark)
        *mark = 0;
    to->once = mark != NULL;
    to->kind = word[1] == '*' ? P_REST : P_VAR;
    to->var = to->kind == P_VAR ? var_of(p, p->nodes, word) : 0;
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
    if (*word == '?') {
        parse_variable(p, to, word);
        return here;
    }
    to->kind = P_NUMBER;
    to->number = strtod(word, &end);
    if (end == word || *end)
        p->broken = "a word is neither a variable nor a number";
    return here;
}

static const char *parse_when(const char *text, cg_condition *out[MAX_WHEN])
{
    for (int n = 0; text && *text; n++) {
        const size_t length = strcspn(text, " ");
        if (n == MAX_WHEN || !(out[n] = cg__rule_condition(text, length)))
            return "a condition is unknown, or one too many";
        text += length + (text[length] == ' ');
    }
    return NULL;
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
    out->broken = p.broken ? p.broken : parse_when(row->when, out->when);
}

static bool may_be(const pattern *p, cg_op_id op)
{
    return p->op < CG_OP_COUNT ? p->op == op : op >= CG_OP_FIRST_ELEM && (cg__elems[op - CG_OP_FIRST_ELEM].algebra & p->flag);
}

static uint64_t needs_of(const pattern *ps);

static void compile_all(void)
{
    const cg_rule *rows;
    const int n = cg__rules(&rows) < CG_RULES_MAX ? cg__rules(&rows) : CG_RULES_MAX;
    int used = 0;
    for (int i = 0; i < n; i++)
        compile_rule(&rows[i], &compiled_rules[i]);
    for (int i = 0; i < n; i++)
        compiled_rules[i].needs = rows[i].chain || compiled_rules[i].broken ? 0 : needs_of(compiled_rules[i].match.at);
    for (int phase = 0; phase < CG_PHASE_COUNT; phase++) {
        for (int op = 0; op < CG_OP_COUNT; op++) {
            first_of[phase][op] = (int16_t)used;
            for (int i = 0; i < n; i++)
                if ((int)rows[i].phase == phase && !compiled_rules[i].broken && may_be(&compiled_rules[i].match.at[0], (cg_op_id)op) && used < MAX_INDEX)
                    index_of[used++] = (int16_t)i;
        }
        first_of[phase][CG_OP_COUNT] = (int16_t)used;
    }
}

static const compiled *rule_at(int i)
{
    pthread_once(&once, compile_all);
    return &compiled_rules[i];
}

int cg__rules_of(cg_phase phase, cg_op_id op, const int16_t **rows)
{
    (void)rule_at(0);
    *rows = &index_of[first_of[phase][op]];
    return first_of[phase][op + 1] - first_of[phase][op];
}

bool cg__rule_counts(int i)
{
    const cg_rule *rows;
    const pattern_side *m = &rule_at(i)->match;
    cg__rules(&rows);
    bool counts = rows[i].chain || rows[i].build;
    for (int k = 0; k < m->n; k++)
        counts |= m->at[k].once;
    return counts;
}

const char *cg__rule_broken(int i) { return i < CG_RULES_MAX ? rule_at(i)->broken : "the table is longer than CG_RULES_MAX"; }

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

/* The first @FLAG binds the operation, the others are that one. */
static bool match_op(const pattern *p, const cg_node *n, cg_bind *b)
{
    const cg_op_id op = cg__op_id(n);
    if (p->op < CG_OP_COUNT)
        return p->op == op && n->nin >= p->nkids;
    if (!may_be(p, op) || n->nin != p->nkids || (b->op < CG_OP_COUNT && b->op != op))
        return false;
    b->op = op;
    return true;
}

static bool match_call(const pattern *ps, const pattern *p, const cg_node *n, state *s)
{
    if (!match_op(p, n, &s->bind) || !match_attrs(p, n, &s->bind))
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
        if (p->once && cg__uses_of(s->bind.uses, x.node) != 1)
            return false;
        if (p->kind == P_CALL)
            return match_call(ps, p, x.node, s);
        if (p->kind == P_NUMBER ? !is_number(x.node, p->number) : s->bind.node[p->var] && s->bind.node[p->var] != x.node)
            return false;
        if (p->kind == P_VAR)
            s->bind.node[p->var] = x.node;
    }
    return true;
}

/* ---- chains: (add (add a b) c) has the terms a b c */

static bool continues(const cg_node *root, const cg_node *n, const cg_uses *uses)
{
    return n->op == root->op && n->type.dtype == root->type.dtype && cg__uses_of(uses, n) == 1;
}

int cg__chain(const cg_node *n, const cg_uses *uses, cg_node *terms[CG_CHAIN_MAX])
{
    const cg_node *spine[CG_CHAIN_MAX];
    int depth = 0, count = 0;
    spine[depth++] = n;
    for (; depth < CG_CHAIN_MAX - 1 && continues(n, spine[depth - 1]->in[0], uses); depth++)
        spine[depth] = spine[depth - 1]->in[0];
    terms[count++] = spine[depth - 1]->in[0];
    while (depth--) {
        cg_node *right = spine[depth]->in[1];
        const bool open = continues(n, right, uses) && count + depth + 2 <= CG_CHAIN_MAX;
        terms[count++] = open ? right->in[0] : right;
        if (open)
            terms[count++] = right->in[1];
    }
    return count;
}

typedef struct chain { const pattern *ps, *root; cg_node *terms[CG_CHAIN_MAX]; int n, nkids; bool rest; } chain;

static bool plausible(const pattern *p, const cg_node *n)
{
    return p->kind != P_CALL || p->op == CG_OP_COUNT || cg__is(n, p->op);
}

static bool assign(const chain *c, int kid, unsigned taken, state *s)
{
    const state saved = *s;
    if (kid == c->nkids) {
        s->bind.nrest = 0;
        for (int i = 0; i < c->n; i++)
            if (!(taken & 1u << i))
                s->bind.rest[s->bind.nrest++] = c->terms[i];
        return (c->rest || !s->bind.nrest) && match_todo(c->ps, s);
    }
    for (int i = 0; i < c->n; i++) {
        const pair here = { c->root->kids[kid], c->terms[i] };
        if ((taken & 1u << i) || !plausible(&c->ps[here.pattern], here.node))
            continue;
        *s = saved;
        s->todo[s->n++] = here;
        if (assign(c, kid + 1, taken | 1u << i, s))
            return true;
    }
    return false;
}

static bool match_chain(const pattern *ps, const cg_node *n, state *s)
{
    chain c = { .ps = ps, .root = &ps[0], .nkids = ps[0].nkids };
    c.rest = c.nkids && ps[ps[0].kids[c.nkids - 1]].kind == P_REST;
    c.nkids -= c.rest;
    if (!may_be(&ps[0], cg__op_id(n)))
        return false;
    s->bind.op = cg__op_id(n);
    c.n = cg__chain(n, s->bind.uses, c.terms);
    return assign(&c, 0, 0, s);
}

static bool may_be_number(const cg_node *n)
{
    return cg__is(n, CG_OP_const) || cg__is(n, CG_OP_broadcast_to) || cg__is(n, CG_OP_reshape) || cg__is(n, CG_OP_expand_dims);
}

/* What there is among operands, as bits, since nearly all tries end there: one bit a kind of operation, and one for what may be a number. */
enum { NUMBER_BIT = 63 };
static uint64_t bit_of(cg_op_id op) { return (uint64_t)1 << (unsigned)op % NUMBER_BIT; }

/* The operands that a match asks for. */
static uint64_t needs_of(const pattern *ps)
{
    uint64_t needs = 0;
    for (int k = 0; k < ps[0].nkids; k++) {
        const pattern *p = &ps[ps[0].kids[k]];
        needs |= p->kind == P_NUMBER ? (uint64_t)1 << NUMBER_BIT : p->kind == P_CALL && p->op < CG_OP_COUNT ? bit_of(p->op) : 0;
    }
    return needs;
}

uint64_t cg__rule_operands(const cg_node *n)
{
    uint64_t have = 0;
    for (int i = 0; i < n->nin; i++)
        have |= bit_of(cg__op_id(n->in[i])) | (uint64_t)may_be_number(n->in[i]) << NUMBER_BIT;
    return have;
}

bool cg__rule_may(int i, uint64_t operands) { return !(compiled_rules[i].needs & ~operands); }

bool cg__rule_match(int i, const cg_node *n, const cg_uses *uses, cg_bind *out)
{
    const cg_rule *row;
    const compiled *c = rule_at(i);
    if (i >= cg__rules(&row) || c->broken)
        return false;
    state s = { .bind = { .op = CG_OP_COUNT, .uses = uses } };
    bool ok = row[i].chain ? match_chain(c->match.at, n, &s) : match_call(c->match.at, &c->match.at[0], n, &s);
    for (int k = 0; k < MAX_WHEN && ok && c->when[k]; k++)
        ok = c->when[k](n, &s.bind);
    if (ok)
        *out = s.bind;
    return ok;
}

/* ---- replacing */

static cg_node *replace(cg_graph *g, const pattern *ps, int at, const cg_bind *b);

static cg_node *replace_call(cg_graph *g, const pattern *ps, const pattern *p, const cg_bind *b)
{
    cg_node *in[MAX_KIDS];
    cg_attr attrs[CG_MAX_ATTRS];
    const cg_op_id op = p->op < CG_OP_COUNT ? p->op : b->op;
    const bool rest = ps[p->kids[p->nkids - 1]].kind == P_REST;
    for (int k = 0; k < p->nkids - rest; k++)
        if (!(in[k] = replace(g, ps, p->kids[k], b)))
            return NULL;
    for (int k = 1; rest && k < p->nkids - 1; k++)
        in[0] = cg__build(g, op, (cg_node *[]){ in[0], in[k] }, 2, NULL);
    for (int k = 0; rest && k < b->nrest; k++)
        in[0] = cg__build(g, op, (cg_node *[]){ in[0], b->rest[k] }, 2, NULL);
    for (int k = 0; k < CG_MAX_ATTRS; k++)
        attrs[k] = (cg_attr){ .n = -1 };
    for (int k = 0; k < p->nattrs; k++) {
        const pattern_attr *a = &p->attrs[k];
        attrs[a->index] = a->var >= 0 ? *b->attr[a->var] : (cg_attr){ 1, &a->value };
        if (cg__ops[op].attrs[a->index].kind != CG_AT_INTS && attrs[a->index].n != 1)
            return NULL;                 /* a list cannot stand for one number */
    }
    return rest ? in[0] : cg__build(g, op, in, p->nkids, attrs);
}

static cg_node *replace(cg_graph *g, const pattern *ps, int at, const cg_bind *b)
{
    const pattern *p = &ps[at];
    return p->kind == P_VAR ? b->node[p->var] : p->kind == P_NUMBER ? cg_weak(g, p->number) : replace_call(g, ps, p, b);
}

cg_node *cg__rule_replace(cg_graph *g, int i, const cg_node *n, const cg_bind *b)
{
    const cg_rule *rows;
    cg__rules(&rows);
    return rows[i].build ? rows[i].build(n, b) : replace(g, rule_at(i)->replace.at, 0, b);
}
