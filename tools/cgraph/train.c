// SPDX-License-Identifier: MIT
/* cgraph train: epochs over a data set in a new order each, the loss of every step, the accuracy on the test set. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/model.h"
#include "tools/cgraph/progress.h"

typedef struct options { const char *model, *data, *log, *save; long epochs, batch, seed; double lr; } options;
typedef struct trainer {
    const options *o;
    model m;
    FILE *log;                           /* or NULL */
    int64_t steps, *order;               /* steps an epoch; rows in the order of this epoch */
    uint64_t random;
    long done;
    progress bar;
} trainer;

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

static int log_failed(const char *path)
{
    fprintf(stderr, "cgraph: train: %s: %s\n", path, strerror(errno));
    return EXIT_FAILED;
}

static int one_step(const trainer *t, int64_t i, float *loss)
{
    cg_array *index = cg_array_new(CG_I64, NULL, 0, &i), *out = NULL;
    const int rc = index ? cg_call(t->m.step, CG_ARRAYS(index), &out) : CG_ENOMEM;
    const float *v = rc == CG_OK ? cg_array_data(out) : NULL;
    if (v)
        *loss = *v;
    cg_array_free(index);
    cg_array_free(out);
    return v ? 0 : failed("train");
}

static int one_epoch(trainer *t, int epoch)
{
    const int64_t n = cg_array_count(t->m.order);
    char label[40];
    double sum = 0;
    snprintf(label, sizeof label, "epoch %d/%ld", epoch, t->o->epochs);
    shuffle(t->order, n, &t->random);
    if (cg_array_set(t->m.order, t->order, (size_t)n * sizeof *t->order) < 0)
        return failed("train");
    for (int64_t i = 0; i < t->steps; i++) {
        float loss = 0;
        if (one_step(t, i, &loss))
            return EXIT_FAILED;
        sum += (double)loss;
        t->done++;
        if (t->log && fprintf(t->log, "%ld,%d,%.9g\n", t->done, epoch, (double)loss) < 0)
            return log_failed(t->o->log);
        progress_step(&t->bar, t->done, label, (double)loss);
    }
    progress_line(&t->bar, "%s loss %.4f", label, sum / (double)t->steps);
    return 0;
}

static int run_epochs(trainer *t)
{
    const int64_t n = cg_array_count(t->m.order);
    int rc = 0;
    t->steps = (n + t->o->batch - 1) / t->o->batch;
    t->random = (uint64_t)t->o->seed;
    t->order = malloc((size_t)n * sizeof *t->order);
    if (!t->order)
        return log_failed("order of the rows");
    for (int64_t i = 0; i < n; i++)
        t->order[i] = i;
    progress_start(&t->bar, (long)t->steps * t->o->epochs);
    for (int e = 1; e <= t->o->epochs && !rc; e++)
        rc = one_epoch(t, e);
    progress_end(&t->bar);
    if (!rc && t->log && fflush(t->log) != 0)
        rc = log_failed(t->o->log);
    free(t->order);
    return rc;
}

static int test_accuracy(const model *m, const dataset *test)
{
    cg_array *out = NULL;
    const int rc = cg_call(m->predict, CG_ARRAYS(test->x), &out);
    const int64_t n = cg_array_count(test->y), *y = cg_array_data(test->y), *p = rc == CG_OK ? cg_array_data(out) : NULL;
    int64_t right = 0;
    for (int64_t i = 0; p && i < n; i++)
        right += p[i] == y[i];
    cg_array_free(out);
    if (!p)
        return failed("train");
    printf("test accuracy %.4f\n", (double)right / (double)n);
    return 0;
}

static int train(const options *o, FILE *log)
{
    dataset set = { 0 }, test = { 0 };
    trainer t = { .o = o, .log = log };
    float largest = 0;
    int rc = data_load(&set, o->data, "train", &largest);
    if (!rc)
        rc = data_load(&test, o->data, "t10k", &largest);
    if (!rc)
        rc = model_build(&t.m, &set, data_classes(&set), o->batch, o->lr);
    if (!rc)
        rc = run_epochs(&t);
    if (!rc && o->save)
        rc = model_save(&t.m, o->save);
    if (!rc)
        rc = test_accuracy(&t.m, &test);
    model_free(&t.m);
    data_free(&set);
    data_free(&test);
    return rc;
}

/* ---- the command */

static const char help[] =
    "usage: cgraph train MODEL [option...]\n"
    "  MODEL           logreg\n"
    "  --data DIR      IDX files named as MNIST's, plain or .gz (default: the mnist5k digits that come with libcg)\n"
    "  --epochs N      default 20\n"
    "  --batch N       default 64\n"
    "  --lr X          Adam's rate, default 0.001\n"
    "  --seed N        of the order of the rows, default 1\n"
    "  --log F.csv     step,epoch,loss: a row a step\n"
    "  --save F        all shared variables as safetensors\n"
    "The last line on stdout is `test accuracy X`; progress goes to stderr.\n";

static int parse(int argc, char **argv, options *o)
{
    static const struct option longs[] = { { "data", 1, NULL, 'd' }, { "epochs", 1, NULL, 'e' }, { "batch", 1, NULL, 'b' }, { "lr", 1, NULL, 'l' },
                                           { "seed", 1, NULL, 's' }, { "log", 1, NULL, 'L' }, { "save", 1, NULL, 'S' }, { "help", 0, NULL, 'h' }, { 0 } };
    int ok = 1;
    for (int c; ok && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        switch (c) {
        case 'd': o->data = optarg; break;
        case 'e': ok = parse_count(optarg, &o->epochs) && o->epochs < 1000000; break;
        case 'b': ok = parse_count(optarg, &o->batch) && o->batch > 0 && o->batch < 1L << 31; break;
        case 's': ok = parse_count(optarg, &o->seed); break;
        case 'l': ok = parse_real(optarg, &o->lr) && o->lr >= 0; break;
        case 'L': o->log = optarg; break;
        case 'S': o->save = optarg; break;
        case 'h': fputs(help, stdout); return -1;
        default: ok = 0;
        }
    }
    if (!ok || optind + 1 != argc)
        return usage_error(help);
    o->model = argv[optind];
    if (model_known(o->model))
        return 0;
    fprintf(stderr, "cgraph: train: there is no model '%s'; there is: %s\n", o->model, model_names());
    return EXIT_USAGE;
}

int cmd_train(int argc, char **argv)
{
    options o = { .data = data_default_dir(), .epochs = 20, .batch = 64, .lr = 1e-3, .seed = 1 };
    const int usage = parse(argc, argv, &o);
    if (usage)
        return usage < 0 ? 0 : usage;
    FILE *log = o.log ? fopen(o.log, "w") : NULL;
    if (o.log && (!log || fputs("step,epoch,loss\n", log) < 0))
        return log_failed(o.log);
    int rc = train(&o, log);
    if (log && fclose(log) != 0 && !rc)
        rc = log_failed(o.log);
    return rc;
}
