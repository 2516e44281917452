// SPDX-License-Identifier: MIT
/* cgraph train: epochs over a data set in a new order each, the loss of every step, the accuracy on rows held out and on the test set.
 *
 * A run that is stopped by a signal finishes its step and saves; a run that resumes goes on from there as if it had never stopped. */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/model.h"
#include "tools/cgraph/plot.h"
#include "tools/cgraph/progress.h"

typedef struct options {
    const char *model, *data, *log, *save, *resume, *plot;
    long epochs;
    double validation;                   /* the part of the rows that is held out */
    int own_rate;                        /* --lr was given: it is not the resumed file's */
    training how;
} options;
typedef struct trainer {
    const options *o;
    model m;
    dataset set, held, test;             /* held: for validation, empty unless asked for */
    FILE *log;                           /* or NULL */
    plot plot;
    progress bar;
} trainer;

static int cannot_write(const char *path)
{
    fprintf(stderr, "cgraph: train: %s cannot be written: %s\n", path, strerror(errno));
    return EXIT_FAILED;
}

/* ---- signals: the step under way is finished; a second signal ends the program as ever */

static volatile sig_atomic_t stopped;    /* the signal, or 0 */

static void on_signal(int signal) { stopped = signal; }

static void catch_signals(void)
{
    struct sigaction a = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

static int stop_code(void) { return stopped ? 128 + (int)stopped : 0; }

/* ---- the log: a resumed run keeps the rows up to where it goes on */

static int keep_rows(FILE *f, int64_t steps)
{
    char *line = NULL;
    size_t cap = 0;
    off_t end = 0;
    for (int row = 0; getline(&line, &cap, f) > 0 && (!row || strtoll(line, NULL, 10) <= steps); row++)
        end = ftello(f);
    free(line);
    return ferror(f) || ftruncate(fileno(f), end) < 0 || fseeko(f, end, SEEK_SET) < 0 ? -1 : end > 0;
}

static int open_log(trainer *t)
{
    const char *path = t->o->log;
    t->log = t->m.steps ? fopen(path, "r+") : NULL;
    const int kept = t->log ? keep_rows(t->log, t->m.steps) : 0;
    if (!t->log)
        t->log = fopen(path, "w");
    return !t->log || kept < 0 || (!kept && fputs("step,epoch,loss\n", t->log) < 0) ? cannot_write(path) : 0;
}

static int close_log(trainer *t, int rc)
{
    return t->log && fclose(t->log) != 0 && !rc ? cannot_write(t->o->log) : rc;
}

/* ---- training */

static void epoch_label(char label[40], const trainer *t, const cg_progress *p)
{
    snprintf(label, 40, "epoch %lld/%ld", (long long)p->epoch, t->o->epochs);
}

static int on_step(void *user, const cg_progress *p)
{
    trainer *t = user;
    const int64_t done = (p->epoch - 1) * p->steps + p->step;
    char label[40];
    t->m.steps = done;
    if (t->log && fprintf(t->log, "%lld,%lld,%.9g\n", (long long)done, (long long)p->epoch, p->loss) < 0)
        return cannot_write(t->o->log);
    if (t->o->plot)
        curve_add(&t->plot.loss, (double)done, p->loss);
    epoch_label(label, t, p);
    progress_step(&t->bar, (long)done, label, p->loss);
    return stop_code();
}

static int on_epoch(void *user, const cg_progress *p)
{
    trainer *t = user;
    double accuracy = 0;
    char label[40], held[40] = "";
    if (t->held.x && model_accuracy(&t->m, &t->held, &accuracy))
        return EXIT_FAILED;
    if (t->held.x) {
        snprintf(held, sizeof held, " validation accuracy %.4f", accuracy);
        curve_add(&t->plot.accuracy, (double)t->m.steps, accuracy);
    }
    epoch_label(label, t, p);
    progress_line(&t->bar, "%s loss %.4f%s", label, p->mean, held);
    return 0;
}

static int run_epochs(trainer *t)
{
    const int64_t n = cg_array_count(t->m.order), batch = t->o->how.batch;
    catch_signals();
    progress_start(&t->bar, (long)((n + batch - 1) / batch * t->o->epochs), (long)t->m.steps);
    int rc = cg_fit(CG_FIT(.step = t->m.step, .order = t->m.order, .batch = batch, .epochs = t->o->epochs, .done = t->m.steps, .seed = t->o->how.seed,
                           .on_step = on_step, .on_epoch = on_epoch, .user = t));
    progress_end(&t->bar);
    if (rc < 0)
        rc = failed("train");
    if (t->log && fflush(t->log) != 0 && (!rc || stopped))
        rc = cannot_write(t->o->log);
    return rc ? rc : stop_code();
}

/* The data in its parts, the model, and where it goes on. */
static int prepare(trainer *t)
{
    const options *o = t->o;
    float largest = 0;
    int rc = data_load(&t->set, o->data, "train", &largest);
    if (!rc)
        rc = data_load(&t->test, o->data, "t10k", &largest);
    const int64_t classes = rc ? 0 : data_classes(&t->set);
    if (!rc && o->validation > 0)
        rc = data_hold_out(&t->set, &t->held, o->validation, o->how.seed);
    if (!rc)
        rc = model_build(&t->m, o->model, &t->set, classes, &o->how);
    if (!rc && o->resume)
        rc = model_load(&t->m, o->resume);
    if (!rc && o->resume && o->own_rate && cg_net_set_rate(t->m.net, o->how.rate) < 0)
        rc = failed("train");
    return !rc && o->log ? open_log(t) : rc;
}

static int write_results(const trainer *t)
{
    const int rc = t->o->save ? model_save(&t->m, t->o->save) : 0;
    return !rc && t->o->plot ? plot_write(&t->plot, t->o->plot) : rc;
}

static int tell_stop(const trainer *t, int code)
{
    fprintf(stderr, "cgraph: train: stopped after step %lld; ", (long long)t->m.steps);
    if (t->o->save)
        fprintf(stderr, "--resume %s goes on from there\n", t->o->save);
    else
        fputs("nothing is saved without --save\n", stderr);
    return code;
}

static int print_accuracy(const trainer *t)
{
    double accuracy;
    const int rc = model_accuracy(&t->m, &t->test, &accuracy);
    if (!rc)
        printf("test accuracy %.4f\n", accuracy);
    return rc;
}

static int train(const options *o)
{
    char title[80];
    trainer t = { .o = o, .plot = { .title = title } };
    snprintf(title, sizeof title, "Training of %s", o->model);
    int rc = prepare(&t);
    if (!rc)
        rc = run_epochs(&t);
    const int stop = rc > 128 ? rc : 0;
    if (!rc || stop)
        rc = write_results(&t);
    if (!rc)
        rc = stop ? tell_stop(&t, stop) : print_accuracy(&t);
    rc = close_log(&t, rc);
    plot_free(&t.plot);
    model_free(&t.m);
    data_free(&t.set);
    data_free(&t.held);
    data_free(&t.test);
    return rc;
}

/* ---- the command */

static const char help[] =
    "usage: cgraph train MODEL [option...]\n"
    "  MODEL           mlp (256 and 128 hidden units, relu), logreg, or lstm (128 units, which read an image row by row)\n"
    "  --data DIR      IDX files named as MNIST's, plain or .gz (default: the mnist5k digits that come with libcg)\n"
    "  --epochs N      default 20\n"
    "  --batch N       default 64\n"
    "  --lr X          the rate, default 0.001 or the resumed file's\n"
    "  --optimizer NAME  adam (default), adamw, sgd, momentum, nesterov, rmsprop or adagrad\n"
    "  --seed N        of the first values and of the order of the rows, default 1\n"
    "  --validation X  the part of the training rows (0 to 1) to hold out; their accuracy is told each epoch; default 0: none\n"
    "  --log F.csv     step,epoch,loss: a row a step\n"
    "  --plot F.svg    the loss over the steps, and the validation accuracy, as a picture\n"
    "  --save F        all shared variables, and how far the run came, as safetensors; also when Ctrl-C stops the run (exit 130)\n"
    "  --resume F      goes on from such a file as if the run had never stopped, up to --epochs in all; a --log goes on too\n"
    "The last line on stdout is `test accuracy X`; progress goes to stderr.\n";

static int set_optimizer(options *o, const char *name)
{
    if (optimizer_known(name, &o->how.optimizer))
        return 0;
    fprintf(stderr, "cgraph: train: there is no optimizer '%s'; there are: %s\n", name, optimizer_names());
    return EXIT_USAGE;
}

static int set_model(options *o, const char *name)
{
    o->model = name;
    if (model_known(name))
        return 0;
    fprintf(stderr, "cgraph: train: there is no model '%s'; there are: %s\n", name, model_names());
    return EXIT_USAGE;
}

static int parse(int argc, char **argv, options *o)
{
    static const struct option longs[] = { { "data", 1, NULL, 'd' }, { "epochs", 1, NULL, 'e' }, { "batch", 1, NULL, 'b' }, { "lr", 1, NULL, 'l' }, { "optimizer", 1, NULL, 'o' },
                                           { "seed", 1, NULL, 's' }, { "validation", 1, NULL, 'v' }, { "log", 1, NULL, 'L' }, { "plot", 1, NULL, 'P' }, { "save", 1, NULL, 'S' },
                                           { "resume", 1, NULL, 'R' }, { "help", 0, NULL, 'h' }, { 0 } };
    long n = 0;
    int ok = 1;
    for (int c; ok && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        switch (c) {
        case 'd': o->data = optarg; break;
        case 'e': ok = parse_count(optarg, &o->epochs) && o->epochs < 1000000; break;
        case 'b': ok = parse_count(optarg, &n) && n > 0 && n < 1L << 31; o->how.batch = n; break;
        case 's': ok = parse_count(optarg, &n); o->how.seed = (uint64_t)n; break;
        case 'l': ok = parse_real(optarg, &o->how.rate) && o->how.rate >= 0; o->own_rate = 1; break;
        case 'v': ok = parse_real(optarg, &o->validation) && o->validation >= 0 && o->validation < 1; break;
        case 'o':
            if (set_optimizer(o, optarg))
                return EXIT_USAGE;
            break;
        case 'L': o->log = optarg; break;
        case 'P': o->plot = optarg; break;
        case 'S': o->save = optarg; break;
        case 'R': o->resume = optarg; break;
        case 'h': fputs(help, stdout); return -1;
        default: ok = 0;
        }
    }
    return ok && optind + 1 == argc ? set_model(o, argv[optind]) : usage_error(help);
}

/* What is written at the end is tried before hours are spent. */
static int can_write(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path ? path : "");
    if (!path || access(path, W_OK) == 0 || (errno == ENOENT && access(dirname(copy), W_OK) == 0))
        return 0;
    return cannot_write(path);
}

int cmd_train(int argc, char **argv)
{
    options o = { .data = data_default_dir(), .epochs = 20, .how = { .batch = 64, .rate = 1e-3, .optimizer = CG_ADAM, .seed = 1 } };
    const int usage = parse(argc, argv, &o);
    if (usage)
        return usage < 0 ? 0 : usage;
    return can_write(o.save) || can_write(o.plot) ? EXIT_FAILED : train(&o);
}
