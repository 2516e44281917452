// SPDX-License-Identifier: MIT
/* cgraph train of a classifier of images: data from IDX files, judged by the accuracy on rows held out and on the test set. */
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/train.h"

enum { JUDGED = 512 };                   /* rows that are predicted at once */

int images_load(trainer *t)
{
    const options *o = t->o;
    float largest = 0;
    int rc = data_load(&t->set, o->data, "train", &largest);
    if (!rc)
        rc = data_load(&t->test, o->data, "t10k", &largest);
    t->classes = rc ? 0 : data_classes(&t->set);
    if (!rc && o->validation > 0)
        rc = data_hold_out(&t->set, &t->held, o->validation, o->how.seed);
    if (!rc && o->how.stream && !(t->loader = cg_loader_new(CG_ARRAYS(t->set.x, t->set.y), o->how.batch)))
        rc = failed("train");
    return rc;
}

/* Of the shape of MNIST's. */
int images_make_up(trainer *t)
{
    const int64_t shape[2] = { 128, 784 };
    t->set = (dataset){ cg_array_new(CG_F32, shape, 2, NULL), cg_array_new(CG_I64, shape, 1, NULL), 28 };
    t->classes = 10;
    return t->set.x && t->set.y ? 0 : failed("train");
}

void images_close(trainer *t)
{
    model_free(&t->m);
    cg_loader_free(t->loader);
    data_free(&t->set);
    data_free(&t->held);
    data_free(&t->test);
}

image images_size(const trainer *t)
{
    const int64_t pixels = cg_array_shape(t->set.x)[1];
    return (image){ t->set.rows, pixels / t->set.rows };
}

int images_each_batch(const dataset *d, void *user, int (*look)(void *user, cg_array *const *batch))
{
    cg_loader *l = cg_loader_new(CG_ARRAYS(d->x, d->y), JUDGED);
    cg_array *const *batch = NULL;
    int n = l ? 1 : -1, rc = 0;
    while (!rc && l && (n = cg_loader_next(l, &batch)) > 0)
        rc = look(user, batch);
    cg_loader_free(l);
    return rc ? rc : n < 0 ? failed("train") : 0;
}

/* ---- classifiers */

static int build(trainer *t)
{
    model *m = &t->m;
    const classifier *c = t->o->model->classifier;
    layers l = { .n = 0 };
    const image size = images_size(t);
    if (size.rows < c->least || size.columns < c->least) {
        fprintf(stderr, "cgraph: train: %s needs images of at least %lld x %lld pixels\n", t->o->model->name, (long long)c->least, (long long)c->least);
        return EXIT_FAILED;
    }
    int rc = model_open(m, &t->o->how, cg_array_shape(t->set.x)[0], t->o->how.batch);
    if (!rc && c->make(&l, m->net, size, t->classes) < 0)
        rc = failed(t->o->model->name);
    if (rc)
        return rc;
    cg_node *in[2], *x, *y, *images = cg_input(m->g, "images", CG_F32, CG_SHAPE(CG_ANY, size.rows * size.columns));
    const int nin = model_rows(m, &t->set, in, &x, &y);
    rc = model_compile_step(m, in, nin, cg_name(cg_cross_entropy_loss(classify(c, &l, size, x, cg_forward), y, NULL), "loss"), NULL, 0, 0);
    cg_node *classes = rc ? NULL : cg_argmax(classify(c, &l, size, images, cg_forward_test), CG_REDUCE(CG_OVER(1)));
    m->predict = rc ? NULL : model_compile(m, "predict", CG_NODES(images), CG_NODES(classes), NULL, 0);
    return m->predict ? 0 : EXIT_FAILED;
}

typedef struct count { const model *m; int64_t right; } count;

static int count_right(void *user, cg_array *const *batch)
{
    count *c = user;
    cg_array *classes = NULL;
    const int rc = cg_call(c->m->predict, CG_ARRAYS(batch[0]), &classes);
    const int64_t *y = cg_array_data(batch[1]), *p = rc == CG_OK ? cg_array_data(classes) : NULL;
    for (int64_t i = 0; p && i < cg_array_count(classes); i++)
        c->right += p[i] == y[i];
    cg_array_free(classes);
    return p ? 0 : failed("train");
}

static int accuracy_of(const trainer *t, const dataset *d, double *out)
{
    count c = { .m = &t->m };
    const int rc = images_each_batch(d, &c, count_right);
    *out = (double)c.right / (double)cg_array_count(d->y);
    return rc;
}

static int judge(trainer *t, double *value)
{
    double accuracy = 0;
    if (!t->held.x)
        return 0;
    const int rc = accuracy_of(t, &t->held, &accuracy);
    snprintf(t->judged, sizeof t->judged, " validation accuracy %.4f", accuracy);
    *value = 1 - accuracy;
    if (!rc)
        curve_add(&t->plot.accuracy, (double)t->state.steps, accuracy);
    return rc;
}

static int finish(trainer *t)
{
    double accuracy;
    const int rc = accuracy_of(t, &t->test, &accuracy);
    if (!rc)
        printf("test accuracy %.4f\n", accuracy);
    return rc;
}

const task image_task = { images_load, images_make_up, build, judge, finish, images_close };
