// SPDX-License-Identifier: MIT
/* A net of dense layers, as one trains it in earnest: dropout while it learns, a rate that rises and falls, averages that predict, rows held out
 * by which epochs are judged, an end when those get no better, and a file of the best. Usage: mlp [FILE.st] */
#include "tools/examples/digits.h"

typedef struct run { cg_function *validate; cg_array *x, *y; cg_fit_spec fit; cg_fit_state state; const char *file; } run;

/* The part of the rows held out that is predicted wrongly. */
static int judge(void *user, const cg_progress *p, double *value)
{
    run *r = user;
    cg_array *right = NULL;
    const int rc = cg_call(r->validate, CG_ARRAYS(r->x, r->y), &right);
    const float *v = rc == CG_OK ? cg_array_data(right) : NULL;
    if (v)
        printf("epoch %lld loss %.4f validation accuracy %.3f\n", (long long)p->epoch, p->mean, (double)*v);
    *value = v ? 1 - (double)*v : 0;
    cg_array_free(right);
    return v ? 0 : cg_last_error()->code;
}

/* state.since is 0 behind an epoch that was better than all before. */
static int keep_best(void *user, const cg_progress *p)
{
    const run *r = user;
    (void)p;
    return r->file && r->state.since == 0 ? cg_fit_save(&r->fit, r->file) : 0;
}

int main(int argc, char **argv)
{
    digits d = digits_load();
    run r = { .file = argc > 1 ? argv[1] : NULL };
    int64_t order[1438];
    cg_permutation(order, 1438, 1, 0);
    cg_array *x = cg_array_rows(d.x, order, 1238), *y = cg_array_rows(d.y, order, 1238);
    r.x = cg_array_rows(d.x, order + 1238, 200);
    r.y = cg_array_rows(d.y, order + 1238, 200);

    cg_graph *g = cg_graph_new();
    cg_net *net = cg_net_new(g, 1);
    cg_random random = { cg_net_state(net, "draws", CG_I64, NULL, 0, 0), 1 };
    cg_layer l[4];
    cg_layer_dense(&l[0], net, "hidden", 64, 128, CG_INIT_HE_UNIFORM);
    cg_layer_function(&l[1], cg_relu);
    cg_layer_dropout(&l[2], &random, 0.25);
    cg_layer_dense(&l[3], net, "out", 128, 10, CG_INIT_GLOROT_UNIFORM);
    cg_default_update(random.call, cg_add(random.call, cg_scalar(g, CG_I64, 1)));                // so that each step draws anew

    cg_node *images = cg_input(g, "images", CG_U8, CG_SHAPE(CG_ANY, 8, 8)), *labels = cg_input(g, "labels", CG_U8, CG_SHAPE(CG_ANY));
    cg_node *pixels = cg_reshape(cg_scale(images, 1.0 / 16), CG_SHAPE(CG_ANY, 64));
    cg_node *loss = cg_cross_entropy_loss(cg_forward(l, 4, pixels), labels, NULL);
    cg_node *right = cg_accuracy(cg_forward_test(l, 4, pixels), labels);                         // without dropout

    int n, m;
    cg_optimize(net, loss, CG_OPTIMIZER(.kind = CG_ADAM, .l2 = 1e-4));
    cg_net_average(net, 0.95);
    const cg_update *updates = cg_net_updates(net, &n);
    const cg_given *averages = cg_net_averages(net, &m);
    cg_function *step = cg_compile(g, CG_SPEC(.name = "step", CG_INPUTS(images, labels), CG_OUTPUTS(loss), .updates = updates, .nupdates = n));
    r.validate = cg_compile(g, CG_SPEC(.name = "validate", CG_INPUTS(images, labels), CG_OUTPUTS(right), .givens = averages, .ngivens = m));

    printf("%lld parameters\n", (long long)cg_net_size(net));
    cg_loader *batches = cg_loader_new(CG_ARRAYS(x, y), 32);
    cg_schedule schedule = *CG_SCHEDULE(.rate = 5e-3, .warmup = 40, .cosine = 400, .floor = 0.05);
    r.fit = *CG_FIT(.step = step, .loader = batches, .epochs = 12, .seed = 1, .state = &r.state, .net = net, .schedule = &schedule, .patience = 4, .judge = judge, .on_epoch = keep_best,
                    .user = &r);
    int rc = cg_fit(&r.fit);
    rc = rc == CG_OK && r.file ? cg_fit_load(&r.fit, r.file) : rc;                               // back to the best epoch
    rc = digits_test(&d, rc == CG_OK ? r.validate : NULL, "test accuracy");

    cg_function_free(step);
    cg_function_free(r.validate);
    cg_loader_free(batches);
    cg_net_free(net);
    cg_graph_free(g);
    cg_array *rows[] = { x, y, r.x, r.y };
    for (int i = 0; i < 4; i++)
        cg_array_free(rows[i]);
    digits_free(&d);
    return rc;
}
