// SPDX-License-Identifier: MIT
/* cgraph train: epochs over a data set in a new order each, the loss of every step, the accuracy on the test set. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/model.h"
#include "tools/cgraph/progress.h"

typedef struct options { const char *model, *data, *log, *save; long epochs; training how; } options;
typedef struct trainer {
    const options *o;
    model m;
    FILE *log;                           /* or NULL */
    progress bar;
} trainer;

static int log_failed(const char *path)
{
    fprintf(stderr, "cgraph: train: %s: %s\n", path, strerror(errno));
    return EXIT_FAILED;
}

static void epoch_label(char label[40], const trainer *t, const cg_progress *p)
{
    snprintf(label, 40, "epoch %lld/%ld", (long long)p->epoch, t->o->epochs);
}

static int on_step(void *user, const cg_progress *p)
{
    trainer *t = user;
    const int64_t done = (p->epoch - 1) * p->steps + p->step;
    char label[40];
    if (t->log && fprintf(t->log, "%lld,%lld,%.9g\n", (long long)done, (long long)p->epoch, p->loss) < 0)
        return log_failed(t->o->log);
    epoch_label(label, t, p);
    progress_step(&t->bar, (long)done, label, p->loss);
    return 0;
}

static int on_epoch(void *user, const cg_progress *p)
{
    const trainer *t = user;
    char label[40];
    epoch_label(label, t, p);
    progress_line(&t->bar, "%s loss %.4f", label, p->mean);
    return 0;
}

static int run_epochs(trainer *t)
{
    const int64_t n = cg_array_count(t->m.order), batch = t->o->how.batch;
    progress_start(&t->bar, (long)((n + batch - 1) / batch * t->o->epochs));
    int rc = cg_fit(CG_FIT(.step = t->m.step, .order = t->m.order, .batch = batch, .epochs = t->o->epochs, .seed = t->o->how.seed,
                           .on_step = on_step, .on_epoch = on_epoch, .user = t));
    progress_end(&t->bar);
    if (rc < 0)
        rc = failed("train");
    if (!rc && t->log && fflush(t->log) != 0)
        rc = log_failed(t->o->log);
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
        rc = model_build(&t.m, o->model, &set, data_classes(&set), &o->how);
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
    "  MODEL           mlp (256 and 128 hidden units, relu) or logreg\n"
    "  --data DIR      IDX files named as MNIST's, plain or .gz (default: the mnist5k digits that come with libcg)\n"
    "  --epochs N      default 20\n"
    "  --batch N       default 64\n"
    "  --lr X          the rate, default 0.001\n"
    "  --optimizer NAME  adam (default), adamw, sgd, momentum, nesterov, rmsprop or adagrad\n"
    "  --seed N        of the first values and of the order of the rows, default 1\n"
    "  --log F.csv     step,epoch,loss: a row a step\n"
    "  --save F        all shared variables as safetensors\n"
    "The last line on stdout is `test accuracy X`; progress goes to stderr.\n";

static int parse(int argc, char **argv, options *o)
{
    static const struct option longs[] = { { "data", 1, NULL, 'd' }, { "epochs", 1, NULL, 'e' }, { "batch", 1, NULL, 'b' }, { "lr", 1, NULL, 'l' }, { "optimizer", 1, NULL, 'o' },
                                           { "seed", 1, NULL, 's' }, { "log", 1, NULL, 'L' }, { "save", 1, NULL, 'S' }, { "help", 0, NULL, 'h' }, { 0 } };
    long n = 0;
    int ok = 1;
    for (int c; ok && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        switch (c) {
        case 'd': o->data = optarg; break;
        case 'e': ok = parse_count(optarg, &o->epochs) && o->epochs < 1000000; break;
        case 'b': ok = parse_count(optarg, &n) && n > 0 && n < 1L << 31; o->how.batch = n; break;
        case 's': ok = parse_count(optarg, &n); o->how.seed = (uint64_t)n; break;
        case 'l': ok = parse_real(optarg, &o->how.rate) && o->how.rate >= 0; break;
        case 'o':
            if (!optimizer_known(optarg, &o->how.optimizer)) {
                fprintf(stderr, "cgraph: train: there is no optimizer '%s'; there are: %s\n", optarg, optimizer_names());
                return EXIT_USAGE;
            }
            break;
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
    fprintf(stderr, "cgraph: train: there is no model '%s'; there are: %s\n", o->model, model_names());
    return EXIT_USAGE;
}

int cmd_train(int argc, char **argv)
{
    options o = { .data = data_default_dir(), .epochs = 20, .how = { .batch = 64, .rate = 1e-3, .optimizer = CG_ADAM, .seed = 1 } };
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
