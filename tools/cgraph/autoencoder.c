// SPDX-License-Identifier: MIT
/* cgraph train autoencoder: a net that gives images without the noise that was added to them. Convolutions with stride 2 make a few small channels of an
 * image, transposed ones (the gradients of such convolutions to their inputs) an image again. It is judged by the cross-entropy of pixels, under noise
 * that is the same each time.
 */
#include <stdlib.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/picture.h"
#include "tools/cgraph/train.h"

enum { WIDE = 16, DEEP = 32, SHOWN = 12, ZOOM = 3 };
static const double NOISE = 0.5;
static const int64_t two[] = { 2, 2 };

typedef struct coder { cg_node *w[4], *b[4]; } coder;        /* in, in, out, out */

static int make(coder *c, cg_net *n)
{
    static const struct { const char *w, *b; int64_t shape[4], channels; } parts[4] = {
        { "encode1.w", "encode1.b", { WIDE, 1, 3, 3 }, WIDE }, { "encode2.w", "encode2.b", { DEEP, WIDE, 3, 3 }, DEEP },
        { "decode1.w", "decode1.b", { DEEP, WIDE, 3, 3 }, WIDE }, { "decode2.w", "decode2.b", { WIDE, 1, 3, 3 }, 1 },
    };
    for (int i = 0; i < 4; i++) {
        c->w[i] = cg_net_param(n, parts[i].w, parts[i].shape, 4, CG_INIT_HE_NORMAL);
        c->b[i] = c->w[i] ? cg_net_param(n, parts[i].b, &parts[i].channels, 1, CG_INIT_ZEROS) : NULL;
        if (!c->b[i])
            return failed("train");
    }
    return 0;
}

static cg_node *biased(cg_node *x, cg_node *b) { return cg_add(x, cg_reshape(b, CG_SHAPE(CG_ANY, 1, 1))); }

static cg_node *half(const coder *c, int i, cg_node *x)
{
    return cg_relu(biased(cg_conv(x, c->w[i], CG_CONV(.border = CG_BORDER_HALF, .strides = two)), c->b[i]));
}

/* To the size of `like`. */
static cg_node *twice(const coder *c, int i, cg_node *x, cg_node *like)
{
    cg_node *const size[2] = { cg_dim(like, 2), cg_dim(like, 3) };
    return biased(cg_conv_input_grad(x, c->w[i], size, CG_CONV(.border = CG_BORDER_HALF, .strides = two)), c->b[i]);
}

static cg_node *logits_of(const coder *c, cg_node *noisy)
{
    cg_node *wide = half(c, 0, noisy), *deep = half(c, 1, wide);
    return twice(c, 3, cg_relu(twice(c, 2, deep, wide)), noisy);
}

static cg_node *with_noise(cg_node *x, const cg_random *r)
{
    cg_node *dims[4];
    for (int i = 0; i < 4; i++)
        dims[i] = cg_dim(x, i);
    return cg_clip(cg_add(x, cg_scale(cg_normal(r, CG_F32, dims, 4), NOISE)), cg_weak(cg_node_graph(x), 0), cg_weak(cg_node_graph(x), 1));
}

static cg_node *planes(cg_node *x, image size) { return cg_reshape(x, CG_SHAPE(CG_ANY, 1, size.rows, size.columns)); }

static int build(trainer *t)
{
    model *m = &t->m;
    const image size = images_size(t);
    coder c;
    int rc = model_open(m, &t->o->how, cg_array_shape(t->set.x)[0], t->o->how.batch);
    rc = rc ? rc : make(&c, m->net);
    cg_random random = { rc ? NULL : cg_net_state(m->net, "draws", CG_I64, NULL, 0, 0), (int64_t)m->how.seed };
    if (rc || !random.call)
        return rc ? rc : failed("train");
    const cg_random fixed = { cg_scalar(m->g, CG_I64, 0), (int64_t)m->how.seed };
    cg_node *in[2], *x, *y, *images = cg_input(m->g, "images", CG_F32, CG_SHAPE(CG_ANY, size.rows * size.columns)), *seen = planes(images, size);
    const int nin = model_rows(m, &t->set, in, &x, &y);
    x = planes(x, size);
    const cg_update drawn = { random.call, cg_add(random.call, cg_scalar(m->g, CG_I64, 1)) };
    rc = model_compile_step(m, in, nin, cg_name(cg_binary_cross_entropy_loss(logits_of(&c, with_noise(x, &random)), x, NULL), "loss"), &drawn, 1, 0);
    if (rc)
        return rc;
    cg_node *noisy = with_noise(seen, &fixed), *logits = logits_of(&c, noisy);
    m->predict = model_compile(m, "predict", CG_NODES(images), CG_NODES(cg_binary_cross_entropy_loss(logits, seen, NULL), noisy, cg_sigmoid(logits)), NULL, 0);
    return m->predict ? 0 : EXIT_FAILED;
}

/* ---- what has been learned */

enum { LOSS, NOISY, CLEAN, OUTPUTS };
typedef struct sum { trainer *t; const char *picture; double loss; } sum;

/* Three rows of the first images of a batch: as they are, as they were given, as they came out. */
static int draw(const trainer *t, const char *path, cg_array *x, cg_array *const *out)
{
    const int64_t n = cg_array_shape(x)[0], pixels = cg_array_shape(x)[1];
    const int across = n < SHOWN ? (int)n : SHOWN;
    const image size = images_size(t);
    const float *from[3] = { cg_array_data(x), cg_array_data(out[NOISY]), cg_array_data(out[CLEAN]) }, *images[3 * SHOWN];
    for (int i = 0; i < 3; i++) {
        if (!from[i])
            return failed("train");
        for (int k = 0; k < across; k++)
            images[i * across + k] = from[i] + k * pixels;
    }
    return picture_write(path, images, 3, across, size.rows, size.columns, ZOOM);
}

static int add_loss(void *user, cg_array *const *batch)
{
    sum *s = user;
    cg_array *out[OUTPUTS] = { NULL };
    const int called = cg_call(s->t->m.predict, CG_ARRAYS(batch[0]), out) == CG_OK;
    const float *loss = called ? cg_array_data(out[LOSS]) : NULL;
    int rc = loss ? 0 : failed("train");
    s->loss += loss ? (double)*loss * (double)cg_array_shape(batch[0])[0] : 0;
    if (!rc && s->picture)
        rc = draw(s->t, s->picture, batch[0], out);
    s->picture = NULL;
    for (int i = 0; i < OUTPUTS; i++)
        cg_array_free(out[i]);
    return rc;
}

static int loss_of(trainer *t, const dataset *d, const char *picture, double *out)
{
    sum s = { t, picture, 0 };
    const int rc = images_each_batch(d, &s, add_loss);
    *out = s.loss / (double)cg_array_count(d->y);
    return rc;
}

static int judge(trainer *t, double *value)
{
    const int rc = t->held.x ? loss_of(t, &t->held, NULL, value) : 0;
    if (t->held.x)
        snprintf(t->judged, sizeof t->judged, " validation loss %.4f", *value);
    return rc;
}

static int finish(trainer *t)
{
    double loss;
    const int rc = loss_of(t, &t->test, t->o->picture, &loss);
    if (!rc)
        printf("test loss %.4f\n", loss);
    return rc;
}

const task autoencoder_task = { images_load, images_make_up, build, judge, finish, images_close };
