// SPDX-License-Identifier: MIT
/* cgraph train: epochs over a data set in a new order each, the loss of every step, and what the model's task has to say. What a task is says train.h.
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
#include "tools/cgraph/picture.h"
#include "tools/cgraph/train.h"

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
    t->log = t->state.steps ? fopen(path, "r+") : NULL;
    const int kept = t->log ? keep_rows(t->log, t->state.steps) : 0;
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

/* The rows of the log that a file's steps have made are there before the file is. */
static int save_run(const trainer *t)
{
    if (t->log && fflush(t->log) != 0)
        return cannot_write(t->o->log);
    return t->o->save && cg_fit_save(&t->fit, t->o->save) < 0 ? failed("train") : 0;
}

static int on_step(void *user, const cg_progress *p)
{
    trainer *t = user;
    const long done = (long)t->state.steps;
    char label[40];
    if (t->log && fprintf(t->log, "%ld,%lld,%.9g\n", done, (long long)p->epoch, p->loss) < 0)
        return cannot_write(t->o->log);
    if (t->o->plot)
        curve_add(&t->plot.loss, (double)done, p->loss);
    epoch_label(label, t, p);
    progress_step(&t->bar, done, label, p->loss);
    const int rc = t->o->checkpoint && done % t->o->checkpoint == 0 ? save_run(t) : 0;
    return rc ? rc : stop_code();
}

static int judge(void *user, const cg_progress *p, double *value)
{
    trainer *t = user;
    (void)p;
    t->judged[0] = 0;
    return t->o->model->task->judge(t, value);
}

static int on_epoch(void *user, const cg_progress *p)
{
    trainer *t = user;
    char label[40];
    epoch_label(label, t, p);
    progress_line(&t->bar, "%s loss %.4f%s", label, p->mean, t->judged);
    return 0;
}

static int run_epochs(trainer *t)
{
    catch_signals();
    const int64_t n = cg_array_count(t->m.order), batch = t->m.take;
    progress_start(&t->bar, (long)((n + batch - 1) / batch * t->o->epochs), (long)t->state.steps);
    int rc = cg_fit(&t->fit);
    progress_end(&t->bar);
    if (rc < 0)
        rc = failed("train");
    if (t->log && fflush(t->log) != 0 && (!rc || stopped))
        rc = cannot_write(t->o->log);
    return rc ? rc : stop_code();
}

/* ---- a run */

/* Where the run goes on; the schedule is the file's, but for what was asked for. */
static int resume(trainer *t)
{
    const options *o = t->o;
    if (!o->resume)
        return 0;
    const cg_schedule asked = t->schedule;
    if (cg_fit_load(&t->fit, o->resume) < 0) {
        failed("train");
        fprintf(stderr, "cgraph: train: --resume needs a file that --save wrote for the same model, optimizer, batch, seed and data\n");
        return EXIT_FAILED;
    }
    const double rate = o->own_rate ? asked.rate : t->schedule.rate;
    if (o->own_schedule)
        t->schedule = asked;
    t->schedule.rate = rate;
    return 0;
}

/* The data, the model, and where it goes on. */
static int prepare(trainer *t)
{
    const options *o = t->o;
    int rc = o->model->task->load(t);
    rc = rc ? rc : o->model->task->build(t);
    t->schedule = o->schedule;
    t->schedule.struct_size = sizeof t->schedule;
    t->schedule.rate = o->how.rate;
    t->fit = *CG_FIT(.step = t->m.step, .order = t->m.order, .batch = t->m.take, .loader = t->loader, .epochs = o->epochs, .seed = o->how.seed, .state = &t->state, .net = t->m.net,
                     .schedule = &t->schedule, .patience = o->patience, .on_step = on_step, .judge = judge, .on_epoch = on_epoch, .user = t);
    rc = rc ? rc : resume(t);
    return !rc && o->log ? open_log(t) : rc;
}

static int write_results(const trainer *t)
{
    const int rc = save_run(t);
    return !rc && t->o->plot ? plot_write(&t->plot, t->o->plot) : rc;
}

static int tell_stop(const trainer *t, int code)
{
    fprintf(stderr, "cgraph: train: stopped after step %lld; ", (long long)t->state.steps);
    if (t->o->save)
        fprintf(stderr, "--resume %s goes on from there\n", t->o->save);
    else
        fputs("nothing is saved without --save\n", stderr);
    return code;
}

static int train(const options *o)
{
    char title[80];
    trainer t = { .o = o, .plot = { .title = title } };
    snprintf(title, sizeof title, "Training of %s", o->model->name);
    int rc = prepare(&t);
    if (!rc)
        rc = run_epochs(&t);
    const int stop = rc > 128 ? rc : 0;
    if (!rc || stop)
        rc = write_results(&t);
    if (!rc)
        rc = stop ? tell_stop(&t, stop) : o->model->task->finish(&t);
    rc = close_log(&t, rc);
    plot_free(&t.plot);
    o->model->task->close(&t);
    return rc;
}

/* ---- the command */

static const char help[] =
    "usage: cgraph train MODEL [option...]\n"
    "  MODEL           logreg, mlp (256 and 128 hidden units, relu), lstm (128 units, which read an image row by row), lenet (two convolutions), resnet (two\n"
    "                  residual blocks with batch norm), transformer (attention between the rows of an image), autoencoder (convolutions that clean\n"
    "                  noisy images), or charlm (an LSTM of 256 units that learns which character of a text comes next, and shows what it would write)\n"
    "  --data DIR      IDX files named as MNIST's, plain or .gz (default: the mnist5k digits that come with libcg); for charlm a text FILE, or all\n"
    "                  files of a DIR (default: /usr/share/common-licenses)\n"
    "  --epochs N      default 20, of lenet 8, resnet 12, autoencoder and charlm 10\n"
    "  --batch N       rows a step, default 64; of charlm the parts of the text that are read at once, default 16\n"
    "  --lr X          the rate, default 0.001, of charlm 0.002, or the resumed file's\n"
    "  --optimizer NAME  adam (default), adamw, sgd, momentum, nesterov, rmsprop or adagrad\n"
    "  --seed N        of the first values and of the order of the rows, default 1\n"
    "  --schedule PART=N,...  the rate over the steps, any of warmup=N (rises over N steps), every=N,factor=X (times X each N steps, default 0.1), cosine=N,floor=X\n"
    "                  (falls to X times the rate within N steps), plateau=N,cut=X (times X after N epochs without a better value, default 0.1)\n"
    "  --patience N    ends the run after N epochs without a better value: of the validation, else the loss\n"
    "  --decay X       adds X times the parameters to their gradients; default 0\n"
    "  --average X     tests and validates with averages of the parameters over the steps, a = X a + (1 - X) parameter; default 0: with themselves\n"
    "  --prefetch      the rows stay with the host, and a thread gathers those of the next step; else the device holds them all\n"
    "  --validation X  the part of the training rows (0 to 1) to hold out; their accuracy is told each epoch; default 0: none.\n"
    "                  Of charlm the part of the text, its end, whose loss is told; default 0.1\n"
    "  --temperature X  of what charlm writes: below 1 likely characters become likelier, 0 takes the likeliest; default 0.7\n"
    "  --log F.csv     step,epoch,loss: a row a step\n"
    "  --plot F.svg    the loss over the steps, and the validation accuracy, as a picture\n"
    "  --picture F.png  of autoencoder: test images, the noisy images that it was given, and what it made of them\n"
    "  --save F        all shared variables, and how far the run came, as safetensors; also when Ctrl-C stops the run (exit 130)\n"
    "  --checkpoint N  saves also after each N steps, so that a run that is killed can go on\n"
    "  --resume F      goes on from such a file as if the run had never stopped, up to --epochs in all; a --log goes on too\n"
    "The last line on stdout is `test accuracy X`, of autoencoder `test loss X`, of charlm `validation loss X nats per character`\n"
    "behind a sample; progress goes to stderr.\n";

/* PART=NUMBER,... */
static int parse_schedule(char *text, cg_schedule *s)
{
    static char *const parts[] = { "warmup", "every", "cosine", "plateau", "factor", "floor", "cut", NULL };
    int64_t *const steps[] = { &s->warmup, &s->every, &s->cosine, &s->plateau };
    double *const factors[] = { &s->factor, &s->floor, &s->cut };
    for (char *value; *text;) {
        const int k = getsubopt(&text, parts, &value);
        long n = 0;
        if (k < 0 || !value || (k < 4 ? !parse_count(value, &n) || !n : !parse_real(value, factors[k - 4]) || *factors[k - 4] < 0))
            return 0;
        if (k < 4)
            *steps[k] = n;
    }
    return 1;
}

static int set_optimizer(options *o, const char *name)
{
    if (optimizer_known(name, &o->how.optimizer))
        return 0;
    fprintf(stderr, "cgraph: train: there is no optimizer '%s'; there are: %s\n", name, optimizer_names());
    return EXIT_USAGE;
}

static int set_model(options *o, const char *name)
{
    const model_kind *k = model_find(name);
    if (!k)
        fprintf(stderr, "cgraph: train: there is no model '%s'; there are: %s\n", name, model_names());
    else if (k->task == &charlm_task && o->how.stream)
        fprintf(stderr, "cgraph: train: charlm does not take --prefetch: its text stays on the device\n");
    else if (k->task != &autoencoder_task && o->picture)
        fprintf(stderr, "cgraph: train: %s has no picture to show\n", name);
    else
        return model_defaults(k, o), 0;
    return EXIT_USAGE;
}

static int parse(int argc, char **argv, options *o)
{
    static const struct option longs[] = { { "data", 1, NULL, 'd' }, { "epochs", 1, NULL, 'e' }, { "batch", 1, NULL, 'b' }, { "lr", 1, NULL, 'l' }, { "optimizer", 1, NULL, 'o' },
                                           { "seed", 1, NULL, 's' }, { "validation", 1, NULL, 'v' }, { "temperature", 1, NULL, 't' }, { "log", 1, NULL, 'L' }, { "plot", 1, NULL, 'P' }, { "save", 1, NULL, 'S' },
                                           { "resume", 1, NULL, 'R' }, { "schedule", 1, NULL, 'c' }, { "patience", 1, NULL, 'p' }, { "decay", 1, NULL, 'D' }, { "average", 1, NULL, 'a' },
                                           { "prefetch", 0, NULL, 'f' }, { "picture", 1, NULL, 'i' }, { "checkpoint", 1, NULL, 'k' }, { "help", 0, NULL, 'h' }, { 0 } };
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
        case 't': ok = parse_real(optarg, &o->temperature) && o->temperature >= 0; break;
        case 'o':
            if (set_optimizer(o, optarg))
                return EXIT_USAGE;
            break;
        case 'c': ok = parse_schedule(optarg, &o->schedule); o->own_schedule = 1; break;
        case 'p': ok = parse_count(optarg, &o->patience); break;
        case 'D': ok = parse_real(optarg, &o->how.l2) && o->how.l2 >= 0; break;
        case 'a': ok = parse_real(optarg, &o->how.average) && o->how.average >= 0 && o->how.average < 1; break;
        case 'i':
            if (!picture_possible())
                return EXIT_USAGE;
            o->picture = optarg;
            break;
        case 'f': o->how.stream = 1; break;
        case 'k': ok = parse_count(optarg, &o->checkpoint); break;
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
    options o = NO_OPTIONS;
    const int usage = parse(argc, argv, &o);
    if (usage)
        return usage < 0 ? 0 : usage;
    return can_write(o.save) || can_write(o.plot) || can_write(o.picture) ? EXIT_FAILED : train(&o);
}
