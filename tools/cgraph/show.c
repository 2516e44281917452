// SPDX-License-Identifier: MIT
/* cgraph show: the training step of a model, or the expression of a .cg file, as text at one of four stages, or its graph for Graphviz; or the
 * rewrite rules.
 *
 * A .cg file declares its inputs, then holds one expression in the printed form; `any` is a size known at the call only:
 *
 *     ; the loss of a linear layer
 *     (input x f32 [any 64])
 *     (input W f32 [64 10])
 *     (mean (square (matmul x W)))
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/train.h"

enum { MAX_FILE = 1 << 26, MAX_INPUTS = 256, MAX_SIZES = 64 };
static const char *const stages[] = { "graph", "optimized", "plan", "kernels" };
typedef struct wanted { const char *what, *file; int stage, format; bool rules; int64_t sizes[MAX_SIZES]; int nsizes; } wanted;
enum { TEXT, DOT };

static char *show_function(cg_function *f, const wanted *o)
{
    if (o->nsizes && cg_function_plan(f, o->sizes, o->nsizes) < 0)
        return NULL;
    return o->format == DOT ? cg_function_dot(f, (cg_stage)o->stage) : cg_function_show(f, (cg_stage)o->stage);
}

/* ---- .cg files */

typedef struct source { cg_graph *g; char *at; cg_node *in[MAX_INPUTS]; int nin; } source;

static void skip_space(source *s)
{
    while (*s->at && strchr(" \t\r\n;", *s->at))
        s->at += *s->at == ';' ? strcspn(s->at, "\n") : 1;
}

/* The next word, which the caller's text keeps; length 0 at a bracket. */
static size_t word(source *s, const char **from)
{
    skip_space(s);
    const size_t n = strcspn(s->at, " \t\r\n;()[]");
    *from = s->at;
    s->at += n;
    return n;
}

static bool bracket(source *s, char c)
{
    skip_space(s);
    return *s->at == c && s->at++;
}

static bool read_dtype(source *s, cg_dtype *d)
{
    const char *w;
    const size_t n = word(s, &w);
    for (int i = 0; i < CG_DTYPE_COUNT; i++)
        if (strlen(cg_dtype_name((cg_dtype)i)) == n && strncmp(cg_dtype_name((cg_dtype)i), w, n) == 0)
            return *d = (cg_dtype)i, true;
    return false;
}

static bool read_sizes(source *s, int64_t shape[CG_MAX_RANK], int *rank)
{
    *rank = 0;
    if (!bracket(s, '['))
        return false;
    for (; !bracket(s, ']'); ++*rank) {
        const char *w;
        const size_t n = word(s, &w);
        char *end = s->at;
        if (!n || *rank == CG_MAX_RANK)
            return false;
        const bool any = n == 3 && strncmp(w, "any", 3) == 0;
        shape[*rank] = any ? CG_ANY : strtoll(w, &end, 10);
        if (end != s->at || (!any && shape[*rank] < 0))
            return false;
    }
    return true;
}

/* (input NAME DTYPE [SIZE...]), whose '(input' is read; blanks take its place, so that places in messages stay right. */
static bool read_input(source *s, char *from)
{
    int64_t shape[CG_MAX_RANK];
    char name[256];
    const char *w;
    cg_dtype d;
    int rank;
    const size_t n = word(s, &w);
    if (!n || n >= sizeof name || s->nin == MAX_INPUTS || !read_dtype(s, &d) || !read_sizes(s, shape, &rank) || !bracket(s, ')'))
        return false;
    memcpy(name, w, n);
    name[n] = 0;
    s->in[s->nin++] = cg_input(s->g, name, d, shape, rank);
    for (; from < s->at; from++)
        *from = *from == '\n' ? '\n' : ' ';
    return true;
}

/* Declarations, up to what is none. */
static bool read_inputs(source *s)
{
    for (;;) {
        skip_space(s);
        char *from = s->at;
        if (strncmp(from, "(input", 6) != 0 || !from[6] || !strchr(" \t\r\n", from[6]))
            return true;
        s->at += 6;
        if (!read_input(s, from))
            return false;
    }
}

static char *read_text(const char *path)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    char *text = f ? malloc(MAX_FILE + 1) : NULL;
    const size_t n = text ? fread(text, 1, MAX_FILE + 1, f) : 0;
    const bool ok = text && !ferror(f) && n <= MAX_FILE;
    if (!ok)
        fprintf(stderr, "cgraph: show: %s: %s\n", path, n > MAX_FILE ? "more than 64 MiB" : strerror(errno));
    if (ok)
        text[n] = 0;
    if (f && f != stdin)
        fclose(f);
    if (ok && strlen(text) == n)
        return text;
    if (ok)
        fprintf(stderr, "cgraph: show: %s: a NUL byte, so it is no text\n", path);
    free(text);
    return NULL;
}

/* NULL: stderr has a sentence. The caller frees the text. */
static char *show_file(const wanted *o)
{
    const char *path = o->what;
    char *text = read_text(path), *shown = NULL;
    if (!text)
        return NULL;
    source s = { .g = cg_graph_new(), .at = text };
    if (!s.g)
        failed("show");
    else if (!read_inputs(&s))
        fprintf(stderr, "cgraph: show: %s: a declaration is (input NAME DTYPE [SIZE...]), at character %ld\n", path, (long)(s.at - text) + 1);
    else {
        cg_node *root = cg_read(s.g, text, s.in, s.nin);
        cg_function *f = cg_compile(s.g, CG_SPEC(.name = path, .inputs = s.in, .ninputs = s.nin, CG_OUTPUTS(root)));
        shown = f ? show_function(f, o) : NULL;
        if (!shown)
            failed(path);
        cg_function_free(f);
    }
    cg_graph_free(s.g);
    free(text);
    return shown;
}

/* ---- models */

static char *show_model(const wanted *o)
{
    options how = NO_OPTIONS;
    trainer t = { .o = &how };
    model_defaults(model_find(o->what), &how);
    const task *k = how.model->task;
    char *text = k->make_up(&t) || k->build(&t) ? NULL : show_function(t.m.step, o);
    if (!text)
        failed("show");
    k->close(&t);
    return text;
}

/* ---- the command */

static const char help[] =
    "usage: cgraph show (MODEL | FILE.cg) [option...]\n"
    "       cgraph show --rules [-o F]\n"
    "  MODEL            the step of one that `cgraph train` trains\n"
    "  FILE.cg          (input NAME DTYPE [SIZE...]) for each input, then one expression; a size may be `any`; - is stdin\n"
    "  --stage STAGE    graph (as written), optimized (default), plan, or kernels\n"
    "  --sizes N,N...   what the sizes that are `any` shall be, in their order: the plan then tells the peak memory of such a call\n"
    "  --format FORMAT  text (default), or dot: the graph or optimized graph for Graphviz, as in `cgraph show mlp --format dot | dot -Tsvg >mlp.svg`\n"
    "  --rules          the rewrite rules: names, what they match and make, what they claim\n"
    "  -o, --output F   to a file instead of stdout\n";

/* The place of a word in a list; -1: it is not there, and stderr says what is. */
static int choose(const char *what, const char *word, const char *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(list[i], word) == 0)
            return i;
    fprintf(stderr, "cgraph: show: there is no %s '%s'; there are: ", what, word);
    for (int i = 0; i < n; i++)
        fprintf(stderr, "%s%s", list[i], i + 1 < n ? ", " : "\n");
    return -1;
}

static bool parse_sizes(const char *text, wanted *o)
{
    char *end;
    for (o->nsizes = 0; o->nsizes < MAX_SIZES; text = end + 1) {
        errno = 0;
        const long long size = strtoll(text, &end, 10);
        if (end == text || errno || size < 0 || (*end && *end != ','))
            return false;
        o->sizes[o->nsizes++] = size;
        if (!*end)
            return true;
    }
    return false;
}

static int parse(int argc, char **argv, wanted *o)
{
    static const struct option longs[] = { { "stage", 1, NULL, 's' }, { "format", 1, NULL, 'f' }, { "sizes", 1, NULL, 'n' }, { "rules", 0, NULL, 'r' },
                                           { "output", 1, NULL, 'o' }, { "help", 0, NULL, 'h' }, { 0 } };
    static const char *const formats[] = { [TEXT] = "text", [DOT] = "dot" };
    bool ok = true;
    for (int c; ok && (c = getopt_long(argc, argv, "ho:", longs, NULL)) != -1;) {
        switch (c) {
        case 's': ok = (o->stage = choose("stage", optarg, stages, 4)) >= 0; break;
        case 'f': ok = (o->format = choose("format", optarg, formats, 2)) >= 0; break;
        case 'n': ok = parse_sizes(optarg, o); break;
        case 'r': o->rules = true; break;
        case 'o': o->file = optarg; break;
        case 'h': fputs(help, stdout); return -1;
        default: ok = false;
        }
    }
    if (!ok || optind + !o->rules != argc)
        return usage_error(help);
    o->what = argv[optind];
    return 0;
}

static bool is_file(const char *what)
{
    const size_t n = strlen(what);
    return strcmp(what, "-") == 0 || (n > 3 && strcmp(what + n - 3, ".cg") == 0);
}

static char *show_rules(void)
{
    char *text = cg_list_rules();
    if (!text)
        failed("show");
    return text;
}

int cmd_show(int argc, char **argv)
{
    wanted o = { .stage = CG_STAGE_OPTIMIZED };
    const int usage = parse(argc, argv, &o);
    if (usage)
        return usage < 0 ? 0 : usage;
    if (!o.rules && !is_file(o.what) && !model_find(o.what)) {
        fprintf(stderr, "cgraph: show: '%s' is no model (%s) and no file whose name ends in .cg\n", o.what, model_names());
        return EXIT_USAGE;
    }
    char *text = o.rules ? show_rules() : is_file(o.what) ? show_file(&o) : show_model(&o);
    int rc = text ? 0 : EXIT_FAILED;
    if (text && o.file)
        rc = cg_text_save(o.file, text) < 0 ? failed("show") : 0;
    else if (text)
        fputs(text, stdout);
    cg_text_free(text);
    return rc;
}
