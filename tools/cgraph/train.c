// SPDX-License-Identifier: MIT
/* cgraph train logreg: logistic regression on IDX digits with Adam.
 *
 * The data set stays on the device; a step takes rows order[i*batch : (i+1)*batch] of it, so a call brings one integer.
 * Adam (Kingma and Ba 2015, algorithm 1): m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
 * w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps); t is an i64 shared variable.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tools/cgraph/cgraph.h"

/* ---- the model */

static cg_array *zeros(const int64_t *shape, int rank) { return cg_array_new(CG_F32, shape, rank, NULL); }

typedef struct adam { cg_update *to; int n; cg_node *t; double lr; } adam;

static void adam_update(adam *a, cg_node *w, cg_node *g, cg_node *m, cg_node *v)
{
    cg_graph *graph = cg_node_graph(w);
    cg_node *t = cg_cast(cg_add(a->t, cg_scalar(graph, CG_I64, 1)), CG_F32);
    cg_node *m1 = cg_add(cg_scale(m, 0.9), cg_scale(g, 0.1)), *v1 = cg_add(cg_scale(v, 0.999), cg_scale(cg_square(g), 0.001));
    cg_node *one = cg_weak(graph, 1);
    cg_node *mh = cg_div(m1, cg_sub(one, cg_power(cg_scalar(graph, CG_F32, 0.9), t)));
    cg_node *vh = cg_div(v1, cg_sub(one, cg_power(cg_scalar(graph, CG_F32, 0.999), t)));
    a->to[a->n++] = (cg_update){ w, cg_sub(w, cg_div(cg_scale(mh, a->lr), cg_add(cg_sqrt(vh), cg_weak(graph, 1e-8)))) };
    a->to[a->n++] = (cg_update){ m, m1 };
    a->to[a->n++] = (cg_update){ v, v1 };
}

int logreg_build(logreg *m, cg_array *images, cg_array *labels, int64_t classes, int64_t batch, double lr)
{
    const int64_t n = cg_array_shape(images)[0], features = cg_array_shape(images)[1], w[] = { features, classes };
    *m = (logreg){ .g = cg_graph_new(), .X = images, .Y = labels, .W = zeros(w, 2), .mW = zeros(w, 2), .vW = zeros(w, 2), .b = zeros(w + 1, 1),
                   .mb = zeros(w + 1, 1), .vb = zeros(w + 1, 1), .t = cg_array_new(CG_I64, NULL, 0, NULL), .order = cg_array_new(CG_I64, &n, 1, NULL) };
    cg_graph *g = m->g;
    cg_node *X = cg_shared(g, "X", images), *Y = cg_shared(g, "Y", labels), *order = cg_shared(g, "order", m->order);
    cg_node *W = cg_shared(g, "W", m->W), *b = cg_shared(g, "b", m->b), *t = cg_shared(g, "adam.t", m->t);
    cg_node *i = cg_input(g, "i", CG_I64, CG_SHAPE()), *size = cg_scalar(g, CG_I64, (double)batch);
    cg_node *from = cg_mul(i, size), *rows = cg_slice(order, 0, from, cg_add(from, size), 1);
    cg_node *x = cg_name(cg_take(X, rows), "x"), *y = cg_name(cg_take(Y, rows), "y");
    cg_node *loss = cg_name(cg_mean(cg_cross_entropy(cg_add(cg_matmul(x, W), b), y), CG_REDUCE()), "loss"), *dW = NULL, *db = NULL;
    cg_grad(loss, CG_NODES(W, b), CG_OUT(&dW, &db));
    cg_update to[7];
    adam a = { .to = to, .t = t, .lr = lr };
    adam_update(&a, W, dW, cg_shared(g, "adam.m.W", m->mW), cg_shared(g, "adam.v.W", m->vW));
    adam_update(&a, b, db, cg_shared(g, "adam.m.b", m->mb), cg_shared(g, "adam.v.b", m->vb));
    to[a.n++] = (cg_update){ t, cg_add(t, cg_scalar(g, CG_I64, 1)) };
    m->step = cg_compile(g, CG_SPEC(.name = "step", CG_INPUTS(i), CG_OUTPUTS(loss), .updates = to, .nupdates = a.n));
    cg_node *in = cg_input(g, "images", CG_F32, CG_SHAPE(CG_ANY, features));
    m->predict = m->step ? cg_compile(g, CG_SPEC(.name = "predict", CG_INPUTS(in), CG_OUTPUTS(cg_argmax(cg_add(cg_matmul(in, W), b), CG_REDUCE(CG_OVER(1)))))) : NULL;
    return m->predict ? 0 : failed("logreg");
}

void logreg_free(logreg *m)
{
    cg_array *all[] = { m->W, m->b, m->mW, m->vW, m->mb, m->vb, m->t, m->X, m->Y, m->order };
    cg_function_free(m->step);
    cg_function_free(m->predict);
    cg_graph_free(m->g);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        cg_array_free(all[i]);
}

/* ---- data */

typedef struct dataset { cg_array *x, *y; } dataset;

static cg_array *load_part(const char *dir, const char *part)
{
    char path[4096];
    for (int gz = 1; gz >= 0; gz--) {
        snprintf(path, sizeof path, "%s/%s-ubyte%s", dir, part, gz ? ".gz" : "");
        if (!gz || access(path, R_OK) == 0)
            return cg_idx_load(path);
    }
    return NULL;
}

/* (n, ...) u8 images as (n, features) f32 divided by `largest` (0: found here); (n) labels as i64. */
static int load_set(dataset *d, const char *dir, const char *prefix, float *largest)
{
    char name[64];
    snprintf(name, sizeof name, "%s-images-idx3", prefix);
    cg_array *x = load_part(dir, name);
    snprintf(name, sizeof name, "%s-labels-idx1", prefix);
    cg_array *y = x ? load_part(dir, name) : NULL;
    const int64_t n = x && cg_array_rank(x) > 0 ? cg_array_shape(x)[0] : 0, count = cg_array_count(x);
    int rc = !x || !y ? failed("train") : 0;
    if (!rc && (cg_array_dtype(x) != CG_U8 || cg_array_dtype(y) != CG_U8 || cg_array_rank(x) < 2 || cg_array_rank(y) != 1 || cg_array_shape(y)[0] != n || !n)) {
        fprintf(stderr, "cgraph: train: %s: %s images and labels do not belong together\n", dir, prefix);
        rc = EXIT_FAILED;
    }
    const int64_t shape[2] = { n, n ? count / n : 0 };
    d->x = rc ? NULL : cg_array_new(CG_F32, shape, 2, NULL);
    d->y = rc ? NULL : cg_array_new(CG_I64, shape, 1, NULL);
    if (!rc && (!d->x || !d->y))
        rc = failed("train");
    if (!rc) {
        const unsigned char *p = cg_array_data(x), *q = cg_array_data(y);
        float *fx = (float *)(uintptr_t)cg_array_data(d->x);
        int64_t *iy = (int64_t *)(uintptr_t)cg_array_data(d->y);
        for (int64_t i = 0; i < count && !*largest; i++)
            fx[0] = p[i] > fx[0] ? p[i] : fx[0];
        *largest = *largest ? *largest : fx[0] ? fx[0] : 1;
        for (int64_t i = 0; i < count; i++)
            fx[i] = (float)p[i] / *largest;
        for (int64_t i = 0; i < n; i++)
            iy[i] = q[i];
    }
    cg_array_free(x);
    cg_array_free(y);
    return rc;
}

static const char *default_data(void)
{
    return access(CG_DATA_INSTALLED "/mnist5k", R_OK) == 0 ? CG_DATA_INSTALLED "/mnist5k" : CG_DATA_SOURCE "/mnist5k";
}

/* ---- progress: a bar as tqdm's on a terminal, a line an epoch else */

typedef struct progress { int terminal; long total; double start; } progress;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void progress_step(const progress *p, long done, int epoch, double loss)
{
    static const char bar[] = "########################################";
    if (!p->terminal || (done % 16 && done != p->total))
        return;
    const double spent = seconds() - p->start, rate = spent > 0 ? (double)done / spent : 0;
    const int full = (int)(40 * done / p->total);
    fprintf(stderr, "\repoch %d: %3ld%%|%.*s%*s| %ld/%ld [%.0fs<%.0fs, %.0f steps/s, loss %.4f] ", epoch, 100 * done / p->total, full, bar, 40 - full, "",
            done, p->total, spent, rate > 0 ? (double)(p->total - done) / rate : 0, rate, loss);
    if (done == p->total)
        fputc('\n', stderr);
}

/* ---- training */

typedef struct options { const char *data, *log, *save; long epochs, batch, seed; double lr; } options;

/* Fisher-Yates with splitmix64, so that the order is one on every platform. */
static void shuffle(int64_t *v, int64_t n, uint64_t *state)
{
    for (int64_t i = n - 1; i > 0; i--) {
        uint64_t z = *state += 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        const int64_t k = (int64_t)((z ^ z >> 31) % (uint64_t)(i + 1)), t = v[i];
        v[i] = v[k];
        v[k] = t;
    }
}

static int one_step(logreg *m, int64_t i, float *loss)
{
    cg_array *index = cg_array_new(CG_I64, NULL, 0, &i), *out = NULL;
    const int rc = index ? cg_call(m->step, CG_ARRAYS(index), &out) : CG_ENOMEM;
    const float *v = rc == CG_OK ? cg_array_data(out) : NULL;
    if (v)
        *loss = *v;
    cg_array_free(index);
    cg_array_free(out);
    return v ? 0 : failed("train");
}

static int train_epochs(logreg *m, const options *o, FILE *log)
{
    const int64_t n = cg_array_shape(m->X)[0], steps = (n + o->batch - 1) / o->batch;
    progress p = { isatty(2), steps * o->epochs, seconds() };
    int64_t *order = malloc((size_t)n * sizeof *order);
    uint64_t state = (uint64_t)o->seed;
    long done = 0;
    int rc = order ? 0 : EXIT_FAILED;
    for (int64_t i = 0; i < n && !rc; i++)
        order[i] = i;
    for (int e = 1; e <= o->epochs && !rc; e++) {
        double sum = 0;
        shuffle(order, n, &state);
        rc = cg_array_set(m->order, order, (size_t)n * sizeof *order) < 0 ? failed("train") : 0;
        for (int64_t i = 0; i < steps && !rc; i++) {
            float loss = 0;
            rc = one_step(m, i, &loss);
            sum += (double)loss;
            if (!rc && log && fprintf(log, "%ld,%d,%.9g\n", ++done, e, (double)loss) < 0)
                rc = EXIT_FAILED;
            done += !log;
            progress_step(&p, done, e, (double)loss);
        }
        if (!rc && !p.terminal)
            fprintf(stderr, "epoch %d/%ld loss %.4f\n", e, o->epochs, sum / (double)steps);
    }
    free(order);
    return rc;
}

static int test_accuracy(logreg *m, const dataset *test)
{
    cg_array *out = NULL;
    const int64_t n = cg_array_count(test->y), *y = cg_array_data(test->y), *p;
    int64_t right = 0;
    if (cg_call(m->predict, CG_ARRAYS(test->x), &out) < 0 || !(p = cg_array_data(out))) {
        cg_array_free(out);
        return failed("train");
    }
    for (int64_t i = 0; i < n; i++)
        right += p[i] == y[i];
    cg_array_free(out);
    printf("test accuracy %.4f\n", (double)right / (double)n);
    return 0;
}

static int save_model(logreg *m, const char *path)
{
    const char *const names[] = { "W", "b", "adam.m.W", "adam.v.W", "adam.m.b", "adam.v.b", "adam.t" };
    cg_array *const arrays[] = { m->W, m->b, m->mW, m->vW, m->mb, m->vb, m->t };
    return cg_safetensors_save(path, names, arrays, 7) < 0 ? failed("train") : 0;
}

static int64_t largest_label(const dataset *d)
{
    const int64_t *y = cg_array_data(d->y);
    int64_t m = 0;
    for (int64_t i = 0; i < cg_array_count(d->y); i++)
        m = y[i] > m ? y[i] : m;
    return m;
}

static int train(const options *o, FILE *log)
{
    dataset set = { 0 }, test = { 0 };
    logreg m = { 0 };
    float largest = 0;
    int rc = load_set(&set, o->data, "train", &largest);
    if (!rc)
        rc = load_set(&test, o->data, "t10k", &largest);
    if (!rc)
        rc = logreg_build(&m, set.x, set.y, largest_label(&set) + 1, o->batch, o->lr);
    else {
        cg_array_free(set.x);
        cg_array_free(set.y);
    }
    if (!rc)
        rc = train_epochs(&m, o, log);
    if (!rc && o->save)
        rc = save_model(&m, o->save);
    if (!rc)
        rc = test_accuracy(&m, &test);
    logreg_free(&m);
    cg_array_free(test.x);
    cg_array_free(test.y);
    return rc;
}

/* ---- the command */

static const char help[] =
    "usage: cgraph train logreg [--data DIR] [--epochs N] [--batch N] [--lr X] [--seed N] [--log F.csv] [--save F]\n"
    "  --data DIR    IDX files named as MNIST's, plain or .gz (default: the mnist5k digits that come with libcg)\n"
    "  --epochs N    default 20      --batch N   default 64      --lr X   Adam's rate, default 0.001\n"
    "  --log F.csv   step,epoch,loss, a row a step               --save F all shared variables as safetensors\n";

static int parse_count(const char *text, long *out)
{
    char *end;
    *out = strtol(text, &end, 10);
    return *text && !*end && *out >= 0;
}

static int parse(int argc, char **argv, options *o)
{
    static const struct option longs[] = { { "data", 1, NULL, 'd' }, { "epochs", 1, NULL, 'e' }, { "batch", 1, NULL, 'b' }, { "lr", 1, NULL, 'l' },
                                           { "seed", 1, NULL, 's' }, { "log", 1, NULL, 'L' }, { "save", 1, NULL, 'S' }, { "help", 0, NULL, 'h' }, { 0 } };
    char *end;
    int ok = 1;
    for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1 && ok;) {
        switch (c) {
        case 'd': o->data = optarg; break;
        case 'e': ok = parse_count(optarg, &o->epochs); break;
        case 'b': ok = parse_count(optarg, &o->batch) && o->batch > 0; break;
        case 's': ok = parse_count(optarg, &o->seed); break;
        case 'l': o->lr = strtod(optarg, &end), ok = *optarg && !*end && o->lr >= 0; break;
        case 'L': o->log = optarg; break;
        case 'S': o->save = optarg; break;
        case 'h': fputs(help, stdout); return -1;
        default: ok = 0;
        }
    }
    if (!ok || optind + 1 != argc || strcmp(argv[optind], "logreg") != 0) {
        if (ok && optind + 1 == argc)
            fprintf(stderr, "cgraph: train: no model '%s'; there is: logreg\n", argv[optind]);
        fputs(help, stderr);
        return EXIT_USAGE;
    }
    return 0;
}

int cmd_train(int argc, char **argv)
{
    options o = { .data = default_data(), .epochs = 20, .batch = 64, .lr = 1e-3, .seed = 1 };
    const int usage = parse(argc, argv, &o);
    if (usage)
        return usage < 0 ? 0 : usage;
    FILE *log = o.log ? fopen(o.log, "w") : NULL;
    if (o.log && (!log || fputs("step,epoch,loss\n", log) < 0)) {
        perror(o.log);
        return EXIT_FAILED;
    }
    int rc = train(&o, log);
    if (log && fclose(log) != 0 && !rc) {
        perror(o.log);
        rc = EXIT_FAILED;
    }
    return rc;
}
