// SPDX-License-Identifier: MIT
/* cgraph eval: values and gradients of one expression over NPY files, or of a stream of JSON objects.
 *
 * A stream may ask for thousands of expressions in one process: a compiled expression is kept under its signature (text,
 * inputs with dtypes and sizes, gradients) until another one needs its slot, so that new data costs a call only. Whatever is
 * wrong with a line is told in that line's result.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/values.h"

enum { MAX_INPUTS = 64, MAX_VALUES = 64, MAX_RESULTS = MAX_VALUES + MAX_INPUTS, SLOTS = 256 };

typedef struct request {
    const char *expr;
    int nin, ngrad;
    const char *name[MAX_INPUTS], *grad[MAX_INPUTS];
    cg_array *value[MAX_INPUTS];         /* of dtype, or of its carrier */
    cg_dtype dtype[MAX_INPUTS];
    bool raw;                            /* the value in its own dtype, for an NPY file */
} request;

/* A compiled expression; results are its value, or values if it is a tuple, then the gradients. */
typedef struct program { char *signature; cg_function *f; int nvalues, nresults; cg_dtype dtype[MAX_RESULTS]; } program;

static void clear_request(request *r)
{
    for (int i = 0; i < r->nin; i++)
        cg_array_free(r->value[i]);
    *r = (request){ 0 };
}

static void clear_program(program *p)
{
    cg_function_free(p->f);
    free(p->signature);
    *p = (program){ 0 };
}

/* ---- compiling */

static int find_input(const request *r, const char *name)
{
    for (int i = 0; i < r->nin; i++)
        if (strcmp(r->name[i], name) == 0)
            return i;
    return -1;
}

static int graph_failed(const cg_graph *g, cg_error *why)
{
    const cg_error *e = cg_graph_error(g);
    return fail(why, e ? e->code : CG_ENOMEM, "%s", e ? e->text : "no memory");
}

/* The sum of all values; NULL where something is missing. */
static cg_node *total(cg_node *const *values, int n)
{
    cg_node *sum = cg_sum(values[0], CG_REDUCE());
    for (int i = 1; i < n; i++)
        sum = cg_add(sum, cg_sum(values[i], CG_REDUCE()));
    return sum;
}

static int build_gradients(const request *r, cg_node *const *in, cg_node **out, int nvalues, cg_error *why)
{
    cg_node *wrt[MAX_INPUTS], **places[MAX_INPUTS];
    for (int i = 0; i < r->ngrad; i++) {
        const int k = find_input(r, r->grad[i]);
        if (k < 0)
            return fail(why, CG_EINVAL, "there is no input '%.60s' to take the gradient by", r->grad[i]);
        wrt[i] = in[k];
        places[i] = &out[nvalues + i];
    }
    return r->ngrad ? cg_grad_with(total(out, nvalues), wrt, r->ngrad, places, r->ngrad, CG_GRAD(.disconnected = CG_DISCONNECTED_ZEROS)) : CG_OK;
}

static int build(cg_graph *g, const request *r, program *p, cg_node **in, cg_node **out, cg_error *why)
{
    for (int i = 0; i < r->nin; i++)
        in[i] = cg_input(g, r->name[i], r->dtype[i], cg_array_shape(r->value[i]), cg_array_rank(r->value[i]));
    cg_node *value = cg_graph_error(g) ? NULL : cg_read(g, r->expr, in, r->nin);
    p->nvalues = cg_node_outputs(value);
    p->nresults = p->nvalues + r->ngrad;
    if (!value)
        return graph_failed(g, why);
    if (p->nvalues > MAX_VALUES)
        return fail(why, CG_EUNSUPPORTED, "more than %d outputs", MAX_VALUES);
    for (int i = 0; i < p->nvalues; i++)
        out[i] = cg_output(value, i);
    const int rc = build_gradients(r, in, out, p->nvalues, why);
    for (int i = 0; i < p->nresults && rc == CG_OK; i++) {
        p->dtype[i] = cg_node_dtype(out[i]);
        if (!r->raw || i >= p->nvalues)
            out[i] = cg_cast(out[i], carrier_out(p->dtype[i]));
    }
    return rc < 0 || cg_graph_error(g) ? graph_failed(g, why) : CG_OK;
}

static int compile(const request *r, program *p, cg_error *why)
{
    cg_graph *g = cg_graph_new();
    cg_node *in[MAX_INPUTS], *out[MAX_RESULTS] = { 0 };
    if (!g)
        return fail(why, CG_ENOMEM, "no memory for a graph");
    int rc = build(g, r, p, in, out, why);
    if (rc == CG_OK) {
        p->f = cg_compile(g, CG_SPEC(.name = "eval", .inputs = in, .ninputs = r->nin, .outputs = out, .noutputs = p->nresults, .unused = CG_UNUSED_IGNORE));
        rc = p->f ? CG_OK : fail(why, cg_last_error()->code, "%s", cg_last_error()->text);
    }
    cg_graph_free(g);
    return rc;
}

/* What a program depends on, as text. NULL: no memory. */
static char *signature_of(const request *r)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (!f)
        return NULL;
    fputs(r->expr, f);
    for (int i = 0; i < r->nin; i++) {
        fprintf(f, "\n%s %s", r->name[i], cg_dtype_name(r->dtype[i]));
        for (int k = 0; k < cg_array_rank(r->value[i]); k++)
            fprintf(f, " %" PRId64, cg_array_shape(r->value[i])[k]);
    }
    for (int i = 0; i < r->ngrad; i++)
        fprintf(f, "\n:%s", r->grad[i]);
    return fclose(f) == 0 ? text : NULL;
}

static uint64_t hash_text(const char *s)         /* FNV-1a */
{
    uint64_t h = 14695981039346656037u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}

static program *find_program(program *slots, const request *r, cg_error *why)
{
    char *signature = signature_of(r);
    if (!signature) {
        fail(why, CG_ENOMEM, "no memory");
        return NULL;
    }
    program *p = &slots[hash_text(signature) % SLOTS];
    if (p->signature && strcmp(p->signature, signature) == 0) {
        free(signature);
        return p;
    }
    clear_program(p);
    p->signature = signature;
    if (compile(r, p, why) == CG_OK)
        return p;
    clear_program(p);
    return NULL;
}

/* ---- running */

static int run(const program *p, const request *r, cg_array **out, cg_error *why)
{
    int rc = cg_call(p->f, r->value, r->nin, out);
    for (int i = 0; i < p->nresults && rc == CG_OK; i++)
        rc = cg_array_data(out[i]) ? CG_OK : (int)cg_last_error()->code;
    return rc == CG_OK ? CG_OK : fail(why, cg_last_error()->code, "%s", cg_last_error()->text);
}

static void put_results(FILE *to, const program *p, const request *r, cg_array **out, bool value)
{
    fputs(value ? p->nvalues > 1 ? "{\"value\":[" : "{\"value\":" : "{", to);
    for (int i = 0; value && i < p->nvalues; i++) {
        fputs(i ? "," : "", to);
        array_to_json(to, out[i], p->dtype[i]);
    }
    fputs(value && p->nvalues > 1 ? "]" : "", to);
    for (int i = p->nvalues; i < p->nresults; i++) {
        fputs(i > p->nvalues ? "," : value ? ",\"grad\":{" : "\"grad\":{", to);
        text_to_json(to, r->grad[i - p->nvalues]);
        fputc(':', to);
        array_to_json(to, out[i], p->dtype[i]);
    }
    fputs(r->ngrad ? "}}\n" : "}\n", to);
}

static void free_arrays(cg_array **list, int n)
{
    for (int i = 0; i < n; i++)
        cg_array_free(list[i]);
}

/* ---- a line of JSON */

static int add_input(request *r, const char *name, const json_t *j, cg_error *why)
{
    cg_error inner = { 0 };
    if (r->nin == MAX_INPUTS)
        return fail(why, CG_EINVAL, "more than %d inputs", MAX_INPUTS);
    cg_array *a = array_from_json(j, &r->dtype[r->nin], &inner);
    if (!a)
        return fail(why, inner.code, "input '%.60s': %.800s", name, inner.text);
    r->name[r->nin] = name;
    r->value[r->nin++] = a;
    return CG_OK;
}

static int read_request(request *r, json_t *line, cg_error *why)
{
    json_t *inputs = json_object_get(line, "inputs"), *grad = json_object_get(line, "grad"), *item;
    const char *name;
    size_t i;
    r->expr = json_string_value(json_object_get(line, "expr"));
    if (!r->expr)
        return fail(why, CG_EFORMAT, "\"expr\" is absent or no text");
    if ((inputs && !json_is_object(inputs)) || (grad && !json_is_array(grad) && !json_is_null(grad)) || json_array_size(grad) > MAX_INPUTS)
        return fail(why, CG_EFORMAT, "\"inputs\" is no object, or \"grad\" no list of names");
    json_object_foreach(inputs, name, item)
        if (add_input(r, name, item, why) < 0)
            return (int)why->code;
    json_array_foreach(grad, i, item)
        if (!(r->grad[r->ngrad++] = json_string_value(item)))
            return fail(why, CG_EFORMAT, "\"grad\"[%zu] is no name", i);
    return CG_OK;
}

static void put_error(FILE *to, const cg_error *why)
{
    fputs(why->code == CG_EUNSUPPORTED ? "{\"unsupported\":" : "{\"error\":", to);
    text_to_json(to, why->text);
    fputs("}\n", to);
}

static void eval_line(program *slots, const char *text, size_t n)
{
    json_error_t where;
    cg_error why = { 0 };
    request r = { 0 };
    cg_array *out[MAX_RESULTS] = { 0 };
    json_t *line = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    const program *p = NULL;
    if (!line)
        fail(&why, CG_EFORMAT, "the line is no JSON object: %s, at character %d", where.text, where.position);
    else if (read_request(&r, line, &why) == CG_OK)
        p = find_program(slots, &r, &why);
    if (p && run(p, &r, out, &why) == CG_OK)
        put_results(stdout, p, &r, out, true);
    else
        put_error(stdout, &why);
    free_arrays(out, MAX_RESULTS);
    clear_request(&r);
    json_decref(line);
}

static int eval_batch(const char *path)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    program *slots = calloc(SLOTS, sizeof *slots);
    char *line = NULL;
    size_t cap = 0;
    if (!f || !slots) {
        fprintf(stderr, "cgraph: eval: %s cannot be read: %s\n", path, strerror(errno));
        free(slots);
        return EXIT_FAILED;
    }
    for (ssize_t n; !ferror(stdout) && (n = getline(&line, &cap, f)) >= 0; fflush(stdout))
        eval_line(slots, line, (size_t)n);
    const bool bad = !feof(f) && !ferror(stdout);        /* a read error, or a line longer than the memory */
    if (bad)
        fprintf(stderr, "cgraph: eval: %s cannot be read: %s\n", path, strerror(errno));
    for (int i = 0; i < SLOTS; i++)
        clear_program(&slots[i]);
    free(slots);
    free(line);
    if (f != stdin)
        fclose(f);
    return bad ? EXIT_FAILED : 0;
}

/* ---- one expression over files */

/* Whether the text has this word; an input that it has not is a slip of the pen. */
static bool mentions(const char *expr, const char *name)
{
    const size_t n = strlen(name);
    for (const char *p = expr; *p;) {
        const size_t len = strcspn(p, " \t\r\n()[];");
        if (len == n && strncmp(p, name, n) == 0)
            return true;
        p += len ? len : 1;
    }
    return false;
}

/* NAME=FILE is split in place. */
static int load_input(request *r, char *arg, cg_error *why)
{
    char *file = strchr(arg, '=');
    *file++ = 0;
    if (r->nin == MAX_INPUTS || find_input(r, arg) >= 0)
        return fail(why, CG_EINVAL, "the input '%s' is given twice, or there are more than %d", arg, MAX_INPUTS);
    if (!mentions(r->expr, arg))
        return fail(why, CG_EINVAL, "the expression does not use the input '%s'", arg);
    cg_array *a = cg_npy_load(file);
    if (!a)
        return fail(why, cg_last_error()->code, "%s", cg_last_error()->text);
    r->name[r->nin] = arg;
    r->dtype[r->nin] = cg_array_dtype(a);
    r->value[r->nin++] = a;
    return CG_OK;
}

/* With a file the value goes there, and to stdout only the gradients. */
static int finish_one(const request *r, const char *file, cg_error *why)
{
    cg_array *out[MAX_RESULTS] = { 0 };
    program p = { 0 };
    int rc = compile(r, &p, why);
    if (rc == CG_OK && file && p.nvalues > 1)
        rc = fail(why, CG_EINVAL, "the expression has %d outputs, a file takes one: (get EXPR :output 0)", p.nvalues);
    if (rc == CG_OK)
        rc = run(&p, r, out, why);
    if (rc == CG_OK && file && cg_npy_save(file, out[0]) < 0)
        rc = fail(why, cg_last_error()->code, "%s", cg_last_error()->text);
    if (rc == CG_OK && (!file || r->ngrad))
        put_results(stdout, &p, r, out, !file);
    free_arrays(out, MAX_RESULTS);
    clear_program(&p);
    return rc;
}

static int eval_one(request *r, char **inputs, int n, const char *file)
{
    cg_error why = { 0 };
    for (int i = 0; i < n && !why.code; i++)
        load_input(r, inputs[i], &why);
    r->raw = file != NULL;
    if (!why.code)
        finish_one(r, file, &why);
    clear_request(r);
    if (why.code)
        fprintf(stderr, "cgraph: eval: %s\n", why.text);
    return why.code ? EXIT_FAILED : 0;
}

/* ---- the command */

static const char help[] =
    "usage: cgraph eval EXPR [NAME=F.npy]... [--grad NAME]... [-o F.npy]\n"
    "       cgraph eval --batch F.jsonl\n"
    "       cgraph eval --list\n"
    "  EXPR is an expression such as '(sum (mul x y))'; each NAME in it is read from an NPY file.\n"
    "  --grad NAME      also the gradient of the sum of the value by that input\n"
    "  -o, --output F   the value as an NPY file instead of on stdout\n"
    "  --batch F        one object a line (- is stdin): {\"expr\":..., \"inputs\":{\"x\":{\"dtype\":\"f32\",\"shape\":[2],\"data\":[1,2]}}, \"grad\":[\"x\"]};\n"
    "                   one result a line: {\"value\":A,\"grad\":{\"x\":A}}, {\"error\":TEXT} or {\"unsupported\":TEXT}\n"
    "  --list           every operation with its operands and attributes\n"
    "An EXPR that begins with - goes after --.\n";

static int list_ops(void)
{
    char *text = cg_list_ops();
    if (!text)
        return failed("eval");
    fputs(text, stdout);
    cg_text_free(text);
    return 0;
}

static bool are_inputs(char **args, int n)
{
    for (int i = 0; i < n; i++)
        if (!strchr(args[i], '=') || *args[i] == '=')
            return false;
    return true;
}

int cmd_eval(int argc, char **argv)
{
    static const struct option longs[] = { { "batch", 1, NULL, 'b' }, { "grad", 1, NULL, 'g' }, { "help", 0, NULL, 'h' }, { "list", 0, NULL, 'l' },
                                           { "output", 1, NULL, 'o' }, { 0 } };
    request r = { 0 };
    const char *batch = NULL, *file = NULL;
    bool list = false, ok = true;
    for (int c; ok && (c = getopt_long(argc, argv, "ho:", longs, NULL)) != -1;) {
        switch (c) {
        case 'b': batch = optarg; break;
        case 'g': ok = r.ngrad < MAX_INPUTS; r.grad[ok ? r.ngrad++ : 0] = optarg; break;
        case 'l': list = true; break;
        case 'o': file = optarg; break;
        case 'h': fputs(help, stdout); return 0;
        default: ok = false;
        }
    }
    const int rest = argc - optind;
    if (ok && (batch || list) && !rest && !r.ngrad && !file && !(batch && list))
        return batch ? eval_batch(batch) : list_ops();
    if (!ok || batch || list || rest < 1 || !are_inputs(argv + optind + 1, rest - 1))
        return usage_error(help);
    r.expr = argv[optind];
    return eval_one(&r, argv + optind + 1, rest - 1, file);
}
