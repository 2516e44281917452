// SPDX-License-Identifier: MIT
/* cgraph bench: the workloads of tools/bench/peers.py, timed as its clock does, so that the figures may stand side by side.
 *
 * All float32; SGD with momentum 0.9 at rate 0.01; 8 minibatches stay on the device and a step is told which one to take.
 */
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "tools/cgraph/cgraph.h"

enum { MINIBATCHES = 8, MAX_LAYERS = 4, MAX_PARAMS = 2 * MAX_LAYERS, MAX_ARRAYS = 2 * MAX_PARAMS + 4 };

typedef struct bench {
    cg_graph *g;
    cg_device *device;
    cg_function *f;
    bool indexed;                        /* f takes the number of the minibatch */
    cg_array *arrays[MAX_ARRAYS];        /* everything that is shared */
    int narrays;
    uint64_t random;
    double data;                         /* seconds spent on making them up */
} bench;

typedef struct workload {
    const char *name;
    int64_t batch;                       /* samples a step */
    int (*build)(bench *b, const struct workload *w);
    int layers;
    int64_t dims[MAX_LAYERS + 1];
} workload;

/* ---- data */

static double uniform(bench *b)          /* splitmix64, in (0, 1] */
{
    uint64_t z = b->random += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53 + 0x1p-54;
}

static cg_node *shared(bench *b, const char *name, cg_dtype d, const int64_t *shape, int rank)
{
    cg_array *a = cg_array_new(d, shape, rank, NULL);
    b->arrays[b->narrays++] = a;
    return cg_shared(b->g, name, a);
}

static cg_node *normal(bench *b, const char *name, const int64_t *shape, int rank, double scale)
{
    cg_node *n = shared(b, name, CG_F32, shape, rank);
    cg_array *a = b->arrays[b->narrays - 1];
    float *p = (float *)(uintptr_t)cg_array_data(a);
    const double from = seconds();
    for (int64_t i = 0; p && i < cg_array_count(a); i++)         /* Box and Muller */
        p[i] = (float)(scale * sqrt(-2 * log(uniform(b))) * cos(6.283185307179586 * uniform(b)));
    b->data += seconds() - from;
    return n;
}

static cg_node *classes(bench *b, const char *name, int64_t n, int64_t below)
{
    cg_node *y = shared(b, name, CG_I64, &n, 1);
    int64_t *p = (int64_t *)(uintptr_t)cg_array_data(b->arrays[b->narrays - 1]);
    for (int64_t i = 0; p && i < n; i++)
        p[i] = (int64_t)((1 - uniform(b)) * (double)below);
    return y;
}

/* ---- workloads */

static int compile(bench *b, cg_node *const *in, int nin, cg_node *out, const cg_update *to, int nto)
{
    b->f = cg_compile(b->g, CG_SPEC(.name = "bench", .inputs = in, .ninputs = nin, CG_OUTPUTS(out), .updates = to, .nupdates = nto));
    b->indexed = nin == 1;
    return b->f ? 0 : failed("bench");
}

/* One step of SGD with momentum as a function of i: v = 0.9 v + g, p = p - 0.01 v. */
static int compile_training(bench *b, cg_node *i, cg_node *loss, cg_node *const *p, int n)
{
    cg_node *g[MAX_PARAMS], **places[MAX_PARAMS] = { NULL };
    cg_update to[2 * MAX_PARAMS];
    for (int k = 0; k < n; k++)
        places[k] = &g[k];
    cg_grad(loss, p, n, places, n);
    for (int k = 0; k < n; k++) {
        int64_t shape[CG_MAX_RANK];
        for (int a = 0; a < cg_node_rank(p[k]); a++)
            shape[a] = cg_node_dim(p[k], a);
        cg_node *v = shared(b, "v", CG_F32, shape, cg_node_rank(p[k])), *v1 = cg_add(cg_scale(v, 0.9), g[k]);
        to[2 * k] = (cg_update){ v, v1 };
        to[2 * k + 1] = (cg_update){ p[k], cg_sub(p[k], cg_scale(v1, 0.01)) };
    }
    return compile(b, &i, 1, loss, to, 2 * n);
}

/* Rows i * n to (i + 1) * n of a. */
static cg_node *part(cg_node *a, cg_node *i, int64_t n)
{
    cg_node *size = cg_scalar(cg_node_graph(a), CG_I64, (double)n), *from = cg_mul(i, size);
    return cg_slice(a, 0, from, cg_add(from, size), 1);
}

static cg_node *loss_of(cg_node *logits, cg_node *classes) { return cg_mean(cg_cross_entropy(logits, classes), CG_REDUCE()); }

/* dims[0] - dims[1] - ..., relu between, softmax cross-entropy at the end. */
static int build_net(bench *b, const workload *w)
{
    const int64_t rows = MINIBATCHES * w->batch, x_shape[2] = { rows, w->dims[0] };
    cg_node *p[MAX_PARAMS], *i = cg_input(b->g, "i", CG_I64, CG_SHAPE());
    cg_node *x = part(normal(b, "X", x_shape, 2, 1), i, w->batch), *y = part(classes(b, "Y", rows, w->dims[w->layers]), i, w->batch);
    for (int k = 0; k < w->layers; k++) {
        p[2 * k] = normal(b, "W", w->dims + k, 2, 1 / sqrt((double)w->dims[k]));
        p[2 * k + 1] = shared(b, "b", CG_F32, w->dims + k + 1, 1);
        x = cg_add(cg_matmul(x, p[2 * k]), p[2 * k + 1]);
        x = k + 1 < w->layers ? cg_relu(x) : x;
    }
    return compile_training(b, i, loss_of(x, y), p, 2 * w->layers);
}

/* The last h of an LSTM from zeros over x (steps, batch, in), its gates i f o g side by side: x W + h U + b. */
static cg_node *lstm(cg_node *x, cg_node *W, cg_node *U, cg_node *bias)
{
    cg_node *zeros = cg_full(cg_scalar(cg_node_graph(x), CG_F32, 0), CG_NODES(cg_dim(x, 1), cg_dim(U, 0))), *last = NULL, *i, *f, *o, *g;
    cg_scan *s = cg_scan_begin(cg_node_graph(x), CG_SCAN());
    cg_node *xt = cg_scan_seq(s, x), *h = cg_scan_state(s, zeros), *c = cg_scan_state(s, zeros);
    cg_node *of_x = cg_matmul(xt, W), *of_h = cg_matmul(h, U);
    cg_split(cg_add(cg_add(of_x, of_h), bias), 1, CG_OUT(&i, &f, &o, &g));
    cg_node *kept = cg_mul(cg_sigmoid(f), c), *c1 = cg_add(kept, cg_mul(cg_sigmoid(i), cg_tanh(g))), *h1 = cg_mul(cg_sigmoid(o), cg_tanh(c1));
    cg_scan_next(s, h, h1);
    cg_scan_next(s, c, c1);
    cg_scan_out(s, h1, CG_SCAN_LAST);
    cg_scan_end(s, CG_OUT(&last));
    return last;
}

/* steps - in - hidden - classes; the sequences of a minibatch lie side by side, step by step. */
static int build_lstm(bench *b, const workload *w)
{
    const int64_t steps = w->dims[0], in = w->dims[1], hidden = w->dims[2], gates = 4 * hidden, out = w->dims[3];
    const int64_t x_shape[4] = { MINIBATCHES, steps, w->batch, in }, shapes[3][2] = { { in, gates }, { hidden, gates }, { hidden, out } };
    cg_node *i = cg_input(b->g, "i", CG_I64, CG_SHAPE()), *X = part(normal(b, "X", x_shape, 4, 1), i, 1);
    cg_node *x = cg_reshape(X, CG_SHAPE(steps, w->batch, in)), *y = part(classes(b, "Y", MINIBATCHES * w->batch, out), i, w->batch);
    cg_node *W = normal(b, "W", shapes[0], 2, 1 / sqrt((double)in)), *U = normal(b, "U", shapes[1], 2, 1 / sqrt((double)hidden));
    cg_node *bias = shared(b, "b", CG_F32, &gates, 1), *V = normal(b, "V", shapes[2], 2, 1 / sqrt((double)hidden)), *c = shared(b, "c", CG_F32, &out, 1);
    cg_node *logits = cg_add(cg_matmul(lstm(x, W, U, bias), V), c);
    return compile_training(b, i, loss_of(logits, y), (cg_node *const[]){ W, U, bias, V, c }, 5);
}

static cg_node *pooled_tanh(cg_node *x, cg_node *w, cg_node *b)
{
    cg_node *y = cg_max_pool(cg_conv(x, w, NULL), CG_POOL(CG_KERNEL(2, 2), .strides = (const int64_t[]){ 2, 2 }));
    return cg_tanh(cg_add(y, cg_reshape(b, CG_SHAPE(CG_ANY, 1, 1))));
}

/* side - channels - channels - hidden - classes, windows of 5 x 5. */
static int build_lenet(bench *b, const workload *w)
{
    enum { W = 5 };
    const int64_t side = w->dims[0], c1 = w->dims[1], c2 = w->dims[2], hidden = w->dims[3], out = w->dims[4], left = ((side - 4) / 2 - 4) / 2, flat = c2 * left * left;
    const int64_t rows = MINIBATCHES * w->batch, x_shape[4] = { rows, 1, side, side }, w1[4] = { c1, 1, W, W }, w2[4] = { c2, c1, W, W }, w3[2] = { flat, hidden }, w4[2] = { hidden, out };
    cg_node *i = cg_input(b->g, "i", CG_I64, CG_SHAPE()), *x = part(normal(b, "X", x_shape, 4, 1), i, w->batch), *y = part(classes(b, "Y", rows, out), i, w->batch), *p[8];
    p[0] = normal(b, "W1", w1, 4, 1 / sqrt(W * W));
    p[1] = shared(b, "b1", CG_F32, &c1, 1);
    p[2] = normal(b, "W2", w2, 4, 1 / sqrt((double)c1 * W * W));
    p[3] = shared(b, "b2", CG_F32, &c2, 1);
    p[4] = normal(b, "W3", w3, 2, 1 / sqrt((double)flat));
    p[5] = shared(b, "b3", CG_F32, &hidden, 1);
    p[6] = normal(b, "W4", w4, 2, 1 / sqrt((double)hidden));
    p[7] = shared(b, "b4", CG_F32, &out, 1);
    x = cg_reshape(pooled_tanh(pooled_tanh(x, p[0], p[1]), p[2], p[3]), CG_SHAPE(CG_ANY, flat));
    x = cg_tanh(cg_add(cg_matmul(x, p[4]), p[5]));
    return compile_training(b, i, loss_of(cg_add(cg_matmul(x, p[6]), p[7]), y), p, 8);
}

static int build_chain(bench *b, const workload *w)
{
    cg_node *x = normal(b, "x", &w->batch, 1, 1), *y = normal(b, "y", &w->batch, 1, 1);
    cg_node *sum = cg_add(cg_mul(cg_sigmoid(x), cg_tanh(y)), cg_scale(cg_exp(cg_mul(cg_neg(x), x)), 0.5));
    return compile(b, NULL, 0, cg_sub(cg_add(sum, cg_log1p(cg_abs(y))), cg_mul(x, y)), NULL, 0);
}

static int build_softmax(bench *b, const workload *w)
{
    const int64_t shape[2] = { w->batch, w->dims[0] };
    cg_node *x = normal(b, "x", shape, 2, 1), *y = classes(b, "y", w->batch, w->dims[0]), *dx = NULL;
    cg_grad(loss_of(x, y), CG_NODES(x), CG_OUT(&dx));
    return compile(b, NULL, 0, dx, NULL, 0);
}

static const workload workloads[] = {
    { "logreg", 128, build_net, 1, { 784, 10 } },
    { "mlp-small", 64, build_net, 3, { 64, 128, 64, 10 } },
    { "mlp-large", 256, build_net, 3, { 784, 1024, 1024, 10 } },
    { "lenet", 64, build_lenet, 4, { 28, 20, 50, 500, 10 } },
    { "lstm", 32, build_lstm, 3, { 50, 64, 256, 10 } },
    { "chain", 4 << 20, build_chain, 0, { 0 } },
    { "softmax", 4096, build_softmax, 0, { 1000 } },
};
enum { WORKLOADS = sizeof workloads / sizeof workloads[0] };

/* ---- the clock of peers.py: warm up, then the best of windows of a fifth of the time; the device is waited for every 8 steps */

static int step(bench *b, long k)
{
    const int64_t i = k % MINIBATCHES;
    cg_array *index = b->indexed ? cg_array_new(CG_I64, NULL, 0, &i) : NULL, *out = NULL;
    const int rc = cg_call(b->f, &index, b->indexed ? 1 : 0, &out);
    cg_array_free(index);
    cg_array_free(out);
    return rc < 0 ? failed("bench") : 0;
}

static int finish(bench *b) { return cg_device_wait(b->device) < 0 ? failed("bench") : 0; }

static int window(bench *b, double length, double *rate)
{
    const double from = seconds();
    long k = 0;
    int rc = 0;
    while (!rc && seconds() - from < length) {
        rc = step(b, k++);
        if (!rc && k % 8 == 0)
            rc = finish(b);
    }
    if (!rc)
        rc = finish(b);
    *rate = (double)k / (seconds() - from);
    return rc;
}

/* The age of this process: field 22 of stat is its start in clock ticks since boot. */
static double process_age(void)
{
    struct timespec now;
    char text[1024];
    unsigned long long ticks = 0;
    FILE *f = fopen("/proc/self/stat", "r");
    const size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = 0;
    const char *p = strrchr(text, ')');
    clock_gettime(CLOCK_BOOTTIME, &now);
    if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) != 1)
        return 0;
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9 - (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static int measure(bench *b, const workload *w, double length)
{
    const char *device = cg_device_name(b->device);
    int rc = step(b, 0);
    if (!rc)
        rc = finish(b);
    const double first = process_age() - b->data, from = seconds();
    double best = 0;
    for (long k = 1; k < 4 && !rc; k++)
        rc = step(b, k);
    if (!rc)
        rc = finish(b);
    for (double rate; !rc && seconds() - from < length; best = rate > best ? rate : best)
        rc = window(b, length / 5, &rate);
    if (!rc)
        printf("cg-%.*s %s %.1f steps/s %.0f samples/s first %.2f s\n", (int)strcspn(device, ":"), device, w->name, best, best * (double)w->batch, first);
    return rc;
}

/* How far the largest size that this process had grows from before its first step to after the 20th, and what the plan says that a call holds. */
static int measure_memory(bench *b, const workload *w)
{
    const char *device = cg_device_name(b->device);
    struct rusage before, after;
    cg_stats s;
    getrusage(RUSAGE_SELF, &before);
    int rc = 0;
    for (long k = 0; k < 20 && !rc; k++)
        rc = step(b, k);
    rc = rc ? rc : finish(b);
    getrusage(RUSAGE_SELF, &after);
    cg_function_stats(b->f, &s);
    if (!rc)
        printf("cg-%.*s %s batch %lld growth %.1f MiB plan %.1f MiB\n", (int)strcspn(device, ":"), device, w->name, (long long)w->batch,
               (double)(after.ru_maxrss - before.ru_maxrss) / 1024, (double)s.peak_bytes / (1 << 20));
    return rc;
}

static int run(const workload *w, double length, bool memory)
{
    bench b = { .g = cg_graph_new(), .device = cg_device_open(NULL), .random = 1 };
    int rc = b.g && b.device ? w->build(&b, w) : failed("bench");
    if (!rc)
        rc = memory ? measure_memory(&b, w) : measure(&b, w, length);
    cg_function_free(b.f);
    cg_graph_free(b.g);
    for (int i = 0; i < b.narrays; i++)
        cg_array_free(b.arrays[i]);
    return rc;
}

/* ---- the command */

static const char help[] =
    "usage: cgraph bench WORKLOAD [--seconds S] [--batch N] [--memory]\n"
    "  WORKLOAD       logreg mlp-small mlp-large lenet lstm chain softmax, as in tools/bench/peers.py\n"
    "  --seconds S    how long to measure, default 3\n"
    "  --batch N      samples a step, instead of the workload's\n"
    "  --memory       20 steps, and by how much the process grew in them, beside what the plan says that a call holds\n"
    "Prints: cg-DEVICE WORKLOAD R steps/s R samples/s first T s   (first: from the start of the process to the first\n"
    "finished step, without the making of data)\n";

int cmd_bench(int argc, char **argv)
{
    static const struct option longs[] = { { "seconds", 1, NULL, 's' }, { "batch", 1, NULL, 'b' }, { "memory", 0, NULL, 'm' }, { "help", 0, NULL, 'h' }, { 0 } };
    double length = 3;
    long batch = 0;
    bool memory = false, ok = true;
    for (int c; ok && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        switch (c) {
        case 's': ok = parse_real(optarg, &length) && length > 0; break;
        case 'b': ok = parse_count(optarg, &batch) && batch > 0; break;
        case 'm': memory = true; break;
        case 'h': return fputs(help, stdout) < 0;
        default: ok = false;
        }
    }
    if (!ok || optind + 1 != argc)
        return usage_error(help);
    for (int i = 0; i < WORKLOADS; i++)
        if (strcmp(argv[optind], workloads[i].name) == 0) {
            workload w = workloads[i];
            w.batch = batch ? batch : w.batch;
            return run(&w, length, memory);
        }
    fprintf(stderr, "cgraph: bench: there is no workload '%s'\n", argv[optind]);
    return usage_error(help);
}
