// SPDX-License-Identifier: MIT
/* cgraph train charlm: a model of the characters of a text, an LSTM that says of each character how likely it comes next.
 *
 * The text is cut into `batch` streams that lie side by side, (length + 1, batch) of them, and a step reads the next STEPS rows of all. The states go on
 * from step to step, derivatives do not (truncated back-propagation); at the first step of an epoch the states are zeros. The last part of the text is
 * held out: the loss there, in nats a character, is what an epoch is judged by, and a sample shows what has been learned.
 */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/train.h"

enum { STEPS = 64, EMBEDDING = 64, UNITS = 256, MAX_TEXT = 1 << 28, SAMPLE = 400, GLANCE = 72, LOOK = 3 * GLANCE, CHARACTERS = 256 };
static const double DROPOUT = 0.2, CLIP_NORM = 1;

typedef struct text { unsigned char *at; size_t n; } text;
/* Part of the text as streams: chars (length + 1, batch), the states that its function carries on. */
typedef struct streams { cg_array *chars, *h, *c; int64_t steps; } streams;
typedef struct charlm {
    text text;
    int code[CHARACTERS], byte[CHARACTERS], ncodes;      /* of the characters that occur; code -1: it does not */
    streams train, held, sample;                         /* the states of train are the net's */
    cg_layer lstm, out;
    cg_node *embedding;
    cg_random random;
    cg_function *validate, *next;                        /* (i) -> loss; (character, temperature) -> probabilities */
    double loss;                                         /* of the last validation */
} charlm;

/* ---- the text: a file, or all files of a folder in the order of their names */

static int cannot_read(const char *path)
{
    fprintf(stderr, "cgraph: train: %s cannot be read: %s\n", path, strerror(errno));
    return EXIT_FAILED;
}

static int append_file(text *t, const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t n = 1;
    while (f && n && t->n < MAX_TEXT) {
        unsigned char *more = realloc(t->at, t->n + BUFSIZ);
        if (!more)
            break;
        t->at = more;
        t->n += n = fread(t->at + t->n, 1, BUFSIZ, f);
    }
    const int ok = f && !n && !ferror(f);
    const int rc = ok ? 0 : t->n >= MAX_TEXT ? (fprintf(stderr, "cgraph: train: %s: more than 256 MiB of text\n", path), EXIT_FAILED) : cannot_read(path);
    if (f)
        fclose(f);
    return rc;
}

static int is_visible(const struct dirent *e) { return e->d_name[0] != '.'; }

/* Files themselves, not links to them, which would say the same twice. */
static int append_folder(text *t, const char *path)
{
    struct dirent **list = NULL;
    const int n = scandir(path, &list, is_visible, alphasort);
    int rc = n < 0 ? cannot_read(path) : 0;
    for (int i = 0; i < n; i++) {
        char name[4096];
        struct stat s;
        snprintf(name, sizeof name, "%s/%s", path, list[i]->d_name);
        if (!rc && lstat(name, &s) == 0 && S_ISREG(s.st_mode))
            rc = append_file(t, name);
        free(list[i]);
    }
    free(list);
    return rc;
}

static int read_text(text *t, const char *path)
{
    struct stat s;
    return stat(path, &s) < 0 ? cannot_read(path) : S_ISDIR(s.st_mode) ? append_folder(t, path) : append_file(t, path);
}

static void find_characters(charlm *c)
{
    int seen[CHARACTERS] = { 0 };
    for (size_t i = 0; i < c->text.n; i++)
        seen[c->text.at[i]] = 1;
    for (int b = 0; b < CHARACTERS; b++) {
        c->code[b] = seen[b] ? c->ncodes : -1;
        if (seen[b])
            c->byte[c->ncodes++] = b;
    }
}

/* ---- streams */

static int cut(const charlm *c, streams *s, size_t from, size_t n, int64_t batch)
{
    const int64_t length = ((int64_t)n - 1) / batch, shape[2] = { length + 1, batch }, state[3] = { 1, batch, UNITS };
    s->steps = length / STEPS;
    if ((int64_t)n < batch * (STEPS + 1) + 1) {
        fprintf(stderr, "cgraph: train: %zu characters are too few for %lld streams of %d steps\n", n, (long long)batch, STEPS);
        return EXIT_FAILED;
    }
    s->chars = cg_array_new(CG_I64, shape, 2, NULL);
    int64_t *to = s->chars ? (int64_t *)(uintptr_t)cg_array_data(s->chars) : NULL;
    for (int64_t b = 0; to && b < batch; b++)
        for (int64_t t = 0; t <= length; t++)
            to[t * batch + b] = c->code[c->text.at[from + (size_t)(b * length + t)]];
    s->h = cg_array_new(CG_F32, state, 3, NULL);
    s->c = cg_array_new(CG_F32, state, 3, NULL);
    return to && s->h && s->c ? 0 : failed("train");
}

static void free_streams(streams *s)
{
    cg_array_free(s->chars);
    cg_array_free(s->h);
    cg_array_free(s->c);
}

/* ---- the net */

static int make_net(charlm *c, model *m)
{
    const int64_t shape[2] = { c->ncodes, EMBEDDING };
    c->embedding = cg_net_param(m->net, "embedding", shape, 2, CG_INIT_GLOROT_UNIFORM);
    c->random = (cg_random){ cg_net_state(m->net, "draws", CG_I64, NULL, 0, 0), (int64_t)m->how.seed };
    if (!c->embedding || !c->random.call)
        return failed("train");
    const int ok = cg_layer_recurrent(&c->lstm, m->net, "lstm", CG_LSTM, EMBEDDING, UNITS, CG_INIT_GLOROT_UNIFORM, NULL) == CG_OK &&
                   cg_layer_dense(&c->out, m->net, "out", UNITS, c->ncodes, CG_INIT_GLOROT_UNIFORM) == CG_OK;
    return ok ? 0 : failed("train");
}

typedef struct states { cg_node *h, *c, *h1, *c1; } states;      /* variables, and their values after the rows */

/* The logits (rows, codes) of what follows each of chars (steps, batch). keep: f32 that scales the states, 0 where they begin anew. */
static cg_node *logits_of(const charlm *c, cg_node *chars, states *s, cg_node *keep, double dropout)
{
    cg_node *y = NULL, *x = cg_take(c->embedding, chars), *h0 = cg_mul(s->h, keep), *c0 = cg_mul(s->c, keep);
    x = dropout > 0 ? cg_dropout(&c->random, x, dropout) : x;
    cg_lstm(x, c->lstm.w, c->lstm.r, CG_RECURRENT(.b = c->lstm.b, .h0 = h0, .c0 = c0), &y, &s->h1, &s->c1);
    cg_node *rows = cg_reshape(y, CG_SHAPE(CG_ANY, UNITS));
    return cg_forward(&c->out, 1, dropout > 0 ? cg_dropout(&c->random, rows, dropout) : rows);
}

/* The loss of step i of the streams. */
static cg_node *loss_of(const charlm *c, cg_graph *g, const streams *p, cg_node *i, states *s, double dropout)
{
    cg_node *all = cg_shared(g, "text", p->chars), *size = cg_scalar(g, CG_I64, STEPS), *one = cg_scalar(g, CG_I64, 1);
    cg_node *from = cg_mul(i, size), *to = cg_add(from, size), *x = cg_slice(all, 0, from, to, 1), *y = cg_slice(all, 0, cg_add(from, one), cg_add(to, one), 1);
    cg_node *keep = cg_cast(cg_greater(i, cg_scalar(g, CG_I64, 0)), CG_F32);
    cg_node *logits = logits_of(c, x, s, keep, dropout);
    return cg_name(cg_cross_entropy_loss(logits, cg_reshape(y, CG_SHAPE(CG_ANY)), NULL), "loss");
}

static int compile_step(charlm *c, model *m)
{
    const int64_t shape[3] = { 1, m->how.batch, UNITS };
    states s = { cg_net_state(m->net, "lstm.h", CG_F32, shape, 3, 0), cg_net_state(m->net, "lstm.c", CG_F32, shape, 3, 0), NULL, NULL };
    cg_node *i = cg_input(m->g, "i", CG_I64, CG_SHAPE()), *loss = loss_of(c, m->g, &c->train, i, &s, DROPOUT);
    const cg_update more[] = { { s.h, s.h1 }, { s.c, s.c1 }, { c->random.call, cg_add(c->random.call, cg_scalar(m->g, CG_I64, 1)) } };
    return model_compile_step(m, CG_NODES(i), loss, more, 3, CLIP_NORM);
}

static int compile_validation(charlm *c, model *m)
{
    states s = { cg_shared(m->g, "h", c->held.h), cg_shared(m->g, "c", c->held.c), NULL, NULL };
    cg_node *i = cg_input(m->g, "i", CG_I64, CG_SHAPE()), *loss = loss_of(c, m->g, &c->held, i, &s, 0);
    c->validate = model_compile(m, "validate", CG_NODES(i), CG_NODES(loss), (const cg_update[]){ { s.h, s.h1 }, { s.c, s.c1 } }, 2);
    return c->validate ? 0 : EXIT_FAILED;
}

static int compile_sampling(charlm *c, model *m)
{
    states s = { cg_shared(m->g, "h", c->sample.h), cg_shared(m->g, "c", c->sample.c), NULL, NULL };
    cg_node *x = cg_input(m->g, "character", CG_I64, CG_SHAPE(1, 1)), *heat = cg_input(m->g, "temperature", CG_F32, CG_SHAPE());
    cg_node *logits = logits_of(c, x, &s, cg_scalar(m->g, CG_F32, 1), 0);
    c->next = model_compile(m, "next", CG_NODES(x, heat), CG_NODES(cg_softmax(cg_div(logits, heat), 1)), (const cg_update[]){ { s.h, s.h1 }, { s.c, s.c1 } }, 2);
    return c->next ? 0 : EXIT_FAILED;
}

static int prepare(trainer *t)
{
    const options *o = t->o;
    charlm *c = t->text;
    const size_t kept = (size_t)((double)c->text.n * (1 - o->validation));
    find_characters(c);
    int rc = cut(c, &c->train, 0, kept, o->how.batch);
    rc = rc ? rc : cut(c, &c->held, kept, c->text.n - kept, 1 + (int64_t)(c->text.n - kept) / 4096);
    const int64_t one[3] = { 1, 1, UNITS };
    c->sample = (streams){ .h = cg_array_new(CG_F32, one, 3, NULL), .c = cg_array_new(CG_F32, one, 3, NULL) };
    return rc ? rc : c->sample.h && c->sample.c ? 0 : failed("train");
}

static int open_text(trainer *t)
{
    t->text = calloc(1, sizeof *t->text);
    return t->text ? 0 : (fprintf(stderr, "cgraph: train: no memory\n"), EXIT_FAILED);
}

static int load(trainer *t)
{
    int rc = open_text(t);
    rc = rc ? rc : read_text(&t->text->text, t->o->data);
    return rc ? rc : prepare(t);
}

static int make_up(trainer *t)
{
    int rc = open_text(t);
    text *x = &t->text->text;
    x->at = rc ? NULL : malloc(x->n = 1 << 14);
    for (size_t i = 0; x->at && i < x->n; i++)
        x->at[i] = (unsigned char)(' ' + i % 64);
    return rc || !x->at ? EXIT_FAILED : prepare(t);
}

static int build(trainer *t)
{
    charlm *c = t->text;
    model *m = &t->m;
    int rc = model_open(m, &t->o->how, c->train.steps, 1);
    rc = rc ? rc : make_net(c, m);
    rc = rc ? rc : compile_step(c, m);
    rc = rc ? rc : compile_validation(c, m);
    return rc ? rc : compile_sampling(c, m);
}

static void close_text(trainer *t)
{
    charlm *c = t->text;
    if (!c)
        return;
    cg_function_free(c->validate);
    cg_function_free(c->next);
    model_free(&t->m);
    free_streams(&c->train);
    free_streams(&c->held);
    free_streams(&c->sample);
    free(c->text.at);
    free(c);
}

/* ---- what has been learned */

static int validate(charlm *c)
{
    double sum = 0;
    int ok = 1;
    for (int64_t i = 0; i < c->held.steps && ok; i++) {
        cg_array *index = cg_array_new(CG_I64, NULL, 0, &i), *out = NULL;
        ok = index && cg_call(c->validate, CG_ARRAYS(index), &out) == CG_OK;
        const float *loss = ok ? cg_array_data(out) : NULL;
        ok = loss != NULL;
        sum += ok ? (double)*loss : 0;
        cg_array_free(index);
        cg_array_free(out);
    }
    c->loss = sum / (double)c->held.steps;
    return ok ? 0 : failed("train");
}

static double uniform(uint64_t *state)           /* splitmix64, 0 to below 1 */
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static int64_t pick(const float *p, int n, double u)
{
    int best = 0;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        best = p[i] > p[best] ? i : best;
        sum += (double)p[i];
        if (u < sum)
            return i;
    }
    return best;                                 /* of a draw beyond 1, which none is */
}

/* The character behind `at`, drawn with u; above 1: the likeliest. */
static int next_character(charlm *c, int64_t *at, double temperature, double u)
{
    const float heat = temperature > 0 ? (float)temperature : 1;
    cg_array *x = cg_array_new(CG_I64, (const int64_t[]){ 1, 1 }, 2, at), *h = cg_array_new(CG_F32, NULL, 0, &heat), *out = NULL;
    const int called = x && h && cg_call(c->next, CG_ARRAYS(x, h), &out) == CG_OK;
    const float *p = called ? cg_array_data(out) : NULL;
    if (p)
        *at = pick(p, c->ncodes, u);
    cg_array_free(x);
    cg_array_free(h);
    cg_array_free(out);
    return p ? 0 : failed("train");
}

/* n characters from zero states, as if behind the first character of the text. */
static int sample(charlm *c, char *to, int n, double temperature, uint64_t seed)
{
    const float zeros[UNITS] = { 0 };
    int64_t at = c->code[c->text.at[0]];
    int rc = cg_array_set(c->sample.h, zeros, sizeof zeros) < 0 || cg_array_set(c->sample.c, zeros, sizeof zeros) < 0 ? failed("train") : 0;
    for (int i = 0; i < n && !rc; i++) {
        rc = next_character(c, &at, temperature, temperature > 0 ? uniform(&seed) : 2);
        to[i] = (char)c->byte[at];
    }
    to[n] = 0;
    return rc;
}

/* The beginning of the text as part of a line: blanks and what is not ASCII are one blank each. */
static void to_line(char line[GLANCE + 1], const char *from)
{
    int n = 0;
    for (; *from && n < GLANCE; from++) {
        const int blank = *from <= ' ' || *from > '~';
        if (!blank || (n && line[n - 1] != ' '))
            line[n++] = blank ? ' ' : *from;
    }
    line[n] = 0;
}

static int judge(trainer *t, double *value)
{
    char glance[GLANCE + 1], written[LOOK + 1] = "";
    int rc = validate(t->text);
    rc = rc ? rc : sample(t->text, written, LOOK, t->o->temperature, t->o->how.seed + (uint64_t)t->state.steps);
    to_line(glance, written);
    *value = t->text->loss;
    if (!rc)
        snprintf(t->judged, sizeof t->judged, " validation loss %.4f: %s", t->text->loss, glance);
    return rc;
}

static int finish(trainer *t)
{
    char text[SAMPLE + 1];
    int rc = sample(t->text, text, SAMPLE, t->o->temperature, t->o->how.seed);
    rc = rc ? rc : validate(t->text);
    if (!rc)
        printf("%s\nvalidation loss %.4f nats per character\n", text, t->text->loss);
    return rc;
}

const task charlm_task = { load, make_up, build, judge, finish, close_text };
