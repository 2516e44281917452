// SPDX-License-Identifier: MIT
/* Training: the loop and how it goes on, rates, patience, averages, batches that a thread gathers, runs as files. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/cg.h"
#include "tests/helpers.h"
#include "tests/verified.h"
#include "tests/suite.h"

static void ok(int rc) { ck_assert_msg(rc == CG_OK, "%s", cg_last_error()->text); }
static void says(const char *part) { ck_assert_msg(strstr(cg_last_error()->text, part) != NULL, "'%s' is not in: %s", part, cg_last_error()->text); }

static const void *data_of(cg_array *a)
{
    const void *p = a ? cg_array_data(a) : NULL;
    ck_assert_msg(p != NULL, "%s", cg_last_error()->text);
    return p;
}

/* ---- a small run: w x = y over ROWS rows by momentum; each step sees its rows as x (n, 2), y (n) */

enum { ROWS = 10, BATCH = 4, STEPS = 3 };           /* steps an epoch: 4, 4 and 2 rows */
typedef struct small {
    cg_graph *g;
    cg_net *n;
    cg_array *x, *y, *order;
    cg_loader *loader;
    cg_function *step;
    cg_fit_state state;
    cg_schedule schedule;
    cg_fit_spec fit;
    int steps, epochs, stop;             /* what callbacks saw; stop: the step that ends the run */
    double rates[64], values[16];        /* rates of steps; what epochs are judged by (empty: the mean loss) */
    int nvalues;
    const char *save;                    /* where to, at the step that ends the run */
} small;

static int on_step(void *user, const cg_progress *p)
{
    small *s = user;
    ck_assert_int_eq(p->steps, STEPS);
    s->rates[s->state.steps - 1] = (double)*(const float *)data_of(cg_net_find(s->n, "rate"));
    s->steps++;
    if (s->state.steps != s->stop)
        return 0;
    if (s->save)
        ok(cg_fit_save(&s->fit, s->save));
    return 42;
}

static int judge(void *user, const cg_progress *p, double *value)
{
    small *s = user;
    ck_assert_int_eq(p->step, STEPS);
    *value = p->epoch <= s->nvalues ? s->values[p->epoch - 1] : *value;
    return 0;
}

static int on_epoch(void *user, const cg_progress *p)
{
    small *s = user;
    ck_assert_int_eq(p->epoch, s->state.epochs);
    ck_assert_int_eq(p->epoch <= s->nvalues || p->value == p->mean, 1);
    return s->epochs++, 0;
}

static void compile_small(small *s, int stream)
{
    cg_node *i = cg_input(s->g, "i", CG_I64, CG_SHAPE()), *x = cg_input(s->g, "x", CG_F32, CG_SHAPE(CG_ANY, 2)), *y = cg_input(s->g, "y", CG_F32, CG_SHAPE(CG_ANY));
    cg_node *in[] = { stream ? x : i, y }, *from = cg_mul(i, cg_scalar(s->g, CG_I64, BATCH));
    cg_node *rows = cg_slice(cg_shared(s->g, "order", s->order), 0, from, cg_add(from, cg_scalar(s->g, CG_I64, BATCH)), 1);
    cg_node *px = stream ? x : cg_take(cg_shared(s->g, "X", s->x), rows), *py = stream ? y : cg_take(cg_shared(s->g, "Y", s->y), rows);
    cg_node *w = cg_net_param(s->n, "w", (const int64_t[]){ 2 }, 1, CG_INIT_ONES), *loss = cg_squared_loss(cg_matmul(px, w), py, NULL);
    ok(cg_optimize(s->n, loss, CG_OPTIMIZER(.kind = CG_MOMENTUM, .rate = 0.125)));
    ok(cg_net_average(s->n, 0.75));
    int n;
    const cg_update *to = cg_net_updates(s->n, &n);
    s->step = cg_compile(s->g, CG_SPEC(.name = "step", .inputs = in, .ninputs = stream ? 2 : 1, CG_OUTPUTS(loss), .updates = to, .nupdates = n));
    ck_assert_msg(s->step != NULL, "%s", cg_last_error()->text);
}

static void begin(small *s, int stream)
{
    float x[2 * ROWS], y[ROWS];
    for (int r = 0; r < ROWS; r++) {
        x[2 * r] = (float)(r % 3) - 1;
        x[2 * r + 1] = (float)(r % 4) / 4;
        y[r] = (float)r / ROWS;
    }
    *s = (small){ .g = cg_graph_new() };
    s->n = cg_net_new(s->g, 1);
    s->x = cg_array_new(CG_F32, (const int64_t[]){ ROWS, 2 }, 2, x);
    s->y = cg_array_new(CG_F32, (const int64_t[]){ ROWS }, 1, y);
    s->order = cg_array_new(CG_I64, (const int64_t[]){ ROWS }, 1, NULL);
    s->loader = stream ? cg_loader_new(CG_ARRAYS(s->x, s->y), BATCH) : NULL;
    compile_small(s, stream);
    s->fit = *CG_FIT(.step = s->step, .order = s->order, .batch = BATCH, .loader = s->loader, .epochs = 4, .seed = 7, .state = &s->state, .net = s->n, .on_step = on_step, .judge = judge,
                     .on_epoch = on_epoch, .user = s);
}

static void end(small *s)
{
    cg_function_free(s->step);
    cg_loader_free(s->loader);
    cg_net_free(s->n);
    cg_graph_free(s->g);
    cg_array_free(s->x);
    cg_array_free(s->y);
    cg_array_free(s->order);
}

static void same_nets(const small *a, const small *b, const char *what)
{
    for (int i = 0; i < cg_net_count(a->n); i++) {
        cg_array *p = cg_net_array(a->n, i), *q = cg_net_array(b->n, i);
        ck_assert_msg(memcmp(data_of(p), data_of(q), (size_t)cg_array_count(p) * cg_dtype_bytes(cg_array_dtype(p))) == 0, "%s: other bits in %s", what, cg_net_name(a->n, i));
    }
    ck_assert_msg(memcmp(&a->state, &b->state, sizeof a->state) == 0, "%s: another state", what);
}

/* ---- the loop */

START_TEST(fit_walks_batches_that_do_not_divide_the_set)
{
    for (int stream = 0; stream < 2; stream++) {
        small s;
        begin(&s, stream);
        ok(cg_fit(&s.fit));
        ck_assert_int_eq(s.steps, 4 * STEPS);
        ck_assert_int_eq(s.epochs, 4);
        ck_assert_int_eq(s.state.steps, 4 * STEPS);
        ck_assert_double_lt(s.state.best, 0.6);
        ok(cg_fit(&s.fit));              /* nothing is left to do */
        ck_assert_int_eq(s.steps, 4 * STEPS);
        end(&s);
    }
}
END_TEST

START_TEST(what_a_loader_brings_gives_the_same_bits)
{
    small resident, streamed;
    begin(&resident, 0);
    begin(&streamed, 1);
    ok(cg_fit(&resident.fit));
    ok(cg_fit(&streamed.fit));
    same_nets(&resident, &streamed, "a loader");
    end(&resident);
    end(&streamed);
}
END_TEST

START_TEST(an_average_follows_its_parameter)
{
    small s;
    begin(&s, 0);
    double w[2] = { 1, 1 }, a[2] = { 1, 1 };
    int n;
    const cg_given *averages = cg_net_averages(s.n, &n);
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq(cg_net_size(s.n), 2);
    cg_function *read = cg_compile(s.g, CG_SPEC(CG_OUTPUTS(cg_scale(averages[0].node, 2)), .givens = averages, .ngivens = n));
    for (s.stop = 1; s.stop <= 5; s.stop++) {
        cg_array *out = NULL;
        ck_assert_int_eq(cg_fit(&s.fit), 42);
        for (int i = 0; i < 2; i++) {
            w[i] = (double)((const float *)data_of(cg_net_find(s.n, "w")))[i];
            a[i] = 0.75 * a[i] + 0.25 * w[i];
        }
        ok(cg_call(read, NULL, 0, &out));
        for (int i = 0; i < 2; i++)
            ck_assert_double_eq_tol((double)((const float *)data_of(out))[i], 2 * a[i], 1e-6);
        cg_array_free(out);
    }
    ck_assert_double_gt(fabs(a[0] - w[0]), 1e-3);
    ck_assert_int_eq(cg_net_average(s.n, 0.5), CG_EINVAL);
    says("the net has its averages already");
    cg_function_free(read);
    end(&s);
}
END_TEST

/* ---- rates; torch: LinearLR, StepLR and CosineAnnealingLR, chained */

START_TEST(a_schedule_is_its_formulas)
{
    const cg_schedule *warm = CG_SCHEDULE(.rate = 2, .warmup = 4), *steps = CG_SCHEDULE(.rate = 2, .every = 3, .factor = 0.5), *tenth = CG_SCHEDULE(.rate = 2, .every = 3);
    const cg_schedule *half = CG_SCHEDULE(.rate = 2, .cosine = 4, .floor = 0.25), *cuts = CG_SCHEDULE(.rate = 2, .plateau = 1, .cut = 0.5);
    const cg_schedule *all = CG_SCHEDULE(.rate = 2, .warmup = 2, .every = 2, .factor = 0.5, .cosine = 4, .plateau = 2);
    const double r = sqrt(0.5);
    const struct { const cg_schedule *s; int64_t step, cuts; double want; } rows[] = {
        { warm, 1, 0, 0.5 }, { warm, 3, 0, 1.5 }, { warm, 4, 0, 2 }, { warm, 5, 9, 2 }, { steps, 1, 0, 2 }, { steps, 3, 0, 2 }, { steps, 4, 0, 1 }, { steps, 7, 0, 0.5 }, { tenth, 4, 0, 0.2 },
        { half, 1, 0, 2 }, { half, 2, 0, 2 * (0.25 + 0.75 * (1 + r) / 2) }, { half, 3, 0, 1.25 }, { half, 5, 0, 0.5 }, { half, 99, 0, 0.5 }, { cuts, 9, 0, 2 }, { cuts, 1, 3, 0.25 },
        { all, 1, 0, 1 }, { all, 2, 0, 2 }, { all, 3, 0, 2 }, { all, 4, 0, 1 + r }, { all, 5, 0, 0.5 }, { all, 6, 1, 0.05 * (1 - r) }, { all, 7, 0, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_msg(fabs(cg_schedule_rate(rows[i].s, rows[i].step, rows[i].cuts) - rows[i].want) < 1e-12, "row %zu: %.17g, not %.17g", i,
                      cg_schedule_rate(rows[i].s, rows[i].step, rows[i].cuts), rows[i].want);
}
END_TEST

START_TEST(steps_have_the_rates_of_the_schedule)
{
    small s;
    begin(&s, 0);
    s.schedule = *CG_SCHEDULE(.rate = 0.125, .warmup = 2, .every = 4, .factor = 0.5, .plateau = 1, .cut = 0.25);
    s.fit.schedule = &s.schedule;
    memcpy(s.values, (const double[]){ 3, 4, 2, 2 }, 4 * sizeof(double));      /* the second and the fourth are no better */
    s.nvalues = 4;
    ok(cg_fit(&s.fit));
    const double want[4 * STEPS] = { 1 / 2.0, 1, 1, 1, 1, 1, 1 / 8.0, 1 / 8.0, 1 / 8.0, 1 / 8.0, 1 / 16.0, 1 / 16.0 };
    for (int i = 0; i < 4 * STEPS; i++)
        ck_assert_msg(s.rates[i] == want[i] / 8, "step %d has rate %g", i + 1, s.rates[i]);
    ck_assert_int_eq(s.state.cuts, 2);
    ck_assert_double_eq(s.state.best, 2);
    end(&s);
}
END_TEST

START_TEST(patience_ends)
{
    small s;
    begin(&s, 0);
    s.fit.patience = 2;
    s.fit.epochs = 9;
    memcpy(s.values, (const double[]){ 3, 4, 2, (double)NAN, 2, 1 }, 6 * sizeof(double));
    s.nvalues = 6;
    ok(cg_fit(&s.fit));
    ck_assert_int_eq(s.epochs, 5);       /* the third is the best, and two go by without a better one */
    ck_assert_int_eq(s.state.since, 2);
    ok(cg_fit(&s.fit));
    ck_assert_int_eq(s.epochs, 5);
    end(&s);
}
END_TEST

/* ---- files */

static void temporary(char path[64])
{
    strcpy(path, "/tmp/cg-fit-XXXXXX");
    const int f = mkstemp(path);
    ck_assert_int_ge(f, 0);
    close(f);
}

/* Saved in every step, the last one of an epoch included, and gone on with elsewhere: both ways, with a schedule that looks back. */
START_TEST(a_run_that_stops_anywhere_ends_alike)
{
    const cg_schedule *schedule = CG_SCHEDULE(.rate = 0.125, .warmup = 3, .every = 5, .plateau = 1);
    char path[64];
    temporary(path);
    for (int stop = 1; stop < 4 * STEPS; stop++) {
        small whole, first, second;
        small *const all[] = { &whole, &first, &second };
        for (int i = 0; i < 3; i++) {
            begin(all[i], (stop + i) % 2);
            all[i]->schedule = *schedule;
            all[i]->fit.schedule = &all[i]->schedule;
        }
        second.schedule = *CG_SCHEDULE(.rate = 9);           /* it becomes the file's */
        ok(cg_fit(&whole.fit));
        first.stop = stop;
        first.save = path;
        ck_assert_int_eq(cg_fit(&first.fit), 42);
        ok(cg_fit_load(&second.fit, path));
        ck_assert_mem_eq(&second.schedule, &first.schedule, sizeof first.schedule);
        ok(cg_fit(&second.fit));
        ck_assert_int_eq(second.steps, 4 * STEPS - stop);
        same_nets(&whole, &second, "a resumed run");
        for (int i = 0; i < 3; i++)
            end(all[i]);
    }
    unlink(path);
}
END_TEST

START_TEST(files_of_other_runs_are_refused)
{
    char path[64];
    small s;
    temporary(path);
    begin(&s, 0);
    s.schedule = *CG_SCHEDULE(.rate = 1);
    s.fit.schedule = &s.schedule;
    ok(cg_fit_save(&s.fit, path));
    s.fit.seed = 8;
    ck_assert_int_eq(cg_fit_load(&s.fit, path), CG_EINVAL);
    says("is of a run with batch 4, seed 7 and 10 rows, this one has batch 4, seed 8 and 10 rows");
    s.fit.seed = 7;
    s.fit.schedule = NULL;
    ck_assert_int_eq(cg_fit_load(&s.fit, path), CG_EINVAL);
    says("is of a run with a schedule, this one has none");
    s.fit.state = NULL;
    ck_assert_int_eq(cg_fit_save(&s.fit, path), CG_EINVAL);
    says("cg_fit_save: needs the net and the state");
    end(&s);
    unlink(path);
}
END_TEST

START_TEST(a_loop_says_what_is_wrong)
{
    small s;
    begin(&s, 0);
    cg_fit_spec o = s.fit;
    const struct { cg_fit_spec o; const char *says; } rows[] = {
        { *CG_FIT(.step = s.step, .order = s.order), "batches of at least 1 row, got 0" },
        { *CG_FIT(.step = s.step, .batch = 4), "needs a loader, or an order" },
        { *CG_FIT(.order = s.order, .batch = 4), "needs a step function" },
        { *CG_FIT(.step = s.step, .order = s.order, .batch = 4, .schedule = CG_SCHEDULE(.rate = 1)), "a schedule needs the net" },
        { (cg_fit_spec){ .step = s.step, .order = s.order, .batch = 4 }, "not made by CG_FIT" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_int_eq(cg_fit(&rows[i].o), CG_EINVAL);
        says(rows[i].says);
    }
    s.state = (cg_fit_state){ .steps = 7, .epochs = 1 };
    ck_assert_int_eq(cg_fit(&o), CG_EINVAL);
    says("a state with 1 epochs of 3 steps, but 7 steps");
    end(&s);
}
END_TEST

/* ---- loaders */

START_TEST(a_loader_brings_every_row_once)
{
    cg_array *x = cg_array_new(CG_I64, (const int64_t[]){ ROWS, 2, 1 }, 3, (const int64_t[]){ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 });
    cg_array *y = cg_array_new(CG_U8, (const int64_t[]){ ROWS }, 1, "0123456789"), *const *batch = NULL;
    cg_loader *l = cg_loader_new(CG_ARRAYS(x, y), 4);
    for (int epoch = 0; epoch < 3; epoch++) {
        int64_t order[ROWS], at = 4 * (epoch == 2);          /* the third one begins behind a batch */
        cg_permutation(order, ROWS, 5, epoch);
        for (int i = 0; i < ROWS && !epoch; i++)
            order[i] = i;
        ok(cg_loader_begin(l, 5, epoch, epoch == 2));
        for (int n; (n = cg_loader_next(l, &batch)) != 0; at += cg_array_count(batch[1])) {
            ck_assert_int_eq(n, 2);
            ck_assert_int_eq(cg_array_rank(batch[0]), 3);
            ck_assert_int_eq(cg_array_count(batch[1]), at == 8 ? 2 : 4);
            for (int64_t i = 0; i < cg_array_count(batch[1]); i++) {
                ck_assert_int_eq(((const char *)data_of(batch[1]))[i], '0' + order[at + i]);
                ck_assert_int_eq(((const int64_t *)data_of(batch[0]))[2 * i + 1], 2 * order[at + i] + 1);
            }
        }
        ck_assert_int_eq(at, ROWS);
        ck_assert_int_eq(cg_loader_next(l, &batch), 0);
    }
    ck_assert_int_eq(cg_loader_begin(l, 1, 1, 4), CG_EINVAL);
    says("cg_loader_begin: epoch 1, behind 4 of 3 batches");
    ck_assert_ptr_null(cg_loader_new(CG_ARRAYS(x, y), 0));
    says("cg_loader_new: needs arrays of equally many rows and a batch of at least one");
    cg_array *other = cg_array_new(CG_U8, (const int64_t[]){ 3 }, 1, NULL), *none = cg_array_new(CG_U8, (const int64_t[]){ 0 }, 1, NULL);
    ck_assert_ptr_null(cg_loader_new(CG_ARRAYS(x, other), 4));
    cg_loader *empty = cg_loader_new(CG_ARRAYS(none), 4);
    ck_assert_int_eq(cg_loader_next(empty, &batch), 0);
    cg_loader_free(empty);
    cg_loader_free(l);
    cg_array_free(none);
    cg_array_free(other);
    cg_array_free(x);
    cg_array_free(y);
}
END_TEST

int main(void)
{
    return RUN_TESTS("fit", fit_walks_batches_that_do_not_divide_the_set, what_a_loader_brings_gives_the_same_bits, an_average_follows_its_parameter, a_schedule_is_its_formulas,
                     steps_have_the_rates_of_the_schedule, patience_ends, a_run_that_stops_anywhere_ends_alike, files_of_other_runs_are_refused, a_loop_says_what_is_wrong,
                     a_loader_brings_every_row_once);
}
