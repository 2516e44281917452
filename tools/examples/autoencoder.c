// SPDX-License-Identifier: MIT
/* An autoencoder that takes noise out of images: 64 pixels with noise, 12 numbers, 64 pixels without. It needs no labels. */
#include "tools/examples/digits.h"

/* A row of pixels as characters, from 0 to 1. */
static void print_row(const float *v)
{
    for (int i = 0; i < 8; i++) {
        const int grey = (int)(v[i] * 9.99F);
        printf("%c%c", " .:-=+*#%@"[grey], " .:-=+*#%@"[grey]);
    }
    printf("   ");
}

/* The first digit of the set: as it is, as it was given, as it came out. */
static int print_digit(const digits *d, cg_function *show)
{
    cg_array *out[3] = { NULL };
    const int rc = cg_call(show, CG_ARRAYS(d->test_x), out);
    const float *image[3] = { cg_array_data(out[0]), cg_array_data(out[1]), cg_array_data(out[2]) };
    for (int r = 0; r < 8 && rc == CG_OK; r++, putchar('\n'))
        for (int k = 0; k < 3; k++)
            print_row(image[k] + 8 * r);
    for (int k = 0; k < 3; k++)
        cg_array_free(out[k]);
    return rc;
}

int main(void)
{
    digits d = digits_load();
    cg_graph *g = cg_graph_new();
    cg_net *net = cg_net_new(g, 1);
    cg_node *images = cg_input(g, "images", CG_U8, CG_SHAPE(CG_ANY, 8, 8)), *labels = cg_input(g, "labels", CG_U8, CG_SHAPE(CG_ANY));

    cg_layer l[6];
    cg_layer_dense(&l[0], net, "in", 64, 48, CG_INIT_HE_UNIFORM);
    cg_layer_function(&l[1], cg_relu);
    cg_layer_dense(&l[2], net, "code", 48, 12, CG_INIT_GLOROT_UNIFORM);
    cg_layer_dense(&l[3], net, "decode", 12, 48, CG_INIT_HE_UNIFORM);
    cg_layer_function(&l[4], cg_relu);
    cg_layer_dense(&l[5], net, "out", 48, 64, CG_INIT_GLOROT_UNIFORM);

    cg_random random = { cg_net_state(net, "draws", CG_I64, NULL, 0, 0), 1 };
    cg_default_update(random.call, cg_add(random.call, cg_scalar(g, CG_I64, 1)));        // new noise in every call
    cg_node *x = cg_reshape(cg_scale(images, 1.0 / 16), CG_SHAPE(CG_ANY, 64));
    cg_node *noise = cg_normal(&random, CG_F32, CG_NODES(cg_dim(x, 0), cg_dim(x, 1)));
    cg_node *noisy = cg_clip(cg_add(x, cg_scale(noise, 0.25)), cg_weak(g, 0), cg_weak(g, 1));
    cg_node *logits = cg_forward(l, 6, noisy), *clean = cg_sigmoid(logits);
    cg_node *loss = cg_binary_cross_entropy_loss(logits, x, NULL);
    cg_node *better = cg_sub(cg_squared_loss(noisy, x, NULL), cg_squared_loss(clean, x, NULL));      // how much of the noise is gone

    int n;
    cg_optimize(net, loss, CG_OPTIMIZER(.kind = CG_ADAM, .rate = 0.003));
    const cg_update *updates = cg_net_updates(net, &n);
    cg_function *step = cg_compile(g, CG_SPEC(.name = "step", CG_INPUTS(images), CG_OUTPUTS(loss), .updates = updates, .nupdates = n));
    cg_function *show = cg_compile(g, CG_SPEC(.name = "show", CG_INPUTS(images), CG_OUTPUTS(x, noisy, clean)));
    cg_node *part = cg_div(better, cg_squared_loss(noisy, x, NULL));
    cg_function *test = cg_compile(g, CG_SPEC(.name = "test", CG_INPUTS(images, labels), CG_OUTPUTS(part), .unused = CG_UNUSED_IGNORE));

    cg_loader *batches = cg_loader_new(CG_ARRAYS(d.x), 32);
    int rc = cg_fit(CG_FIT(.step = step, .loader = batches, .epochs = 20));
    rc = rc == CG_OK && show ? print_digit(&d, show) : -1;
    const int ended = digits_test(&d, rc == CG_OK ? test : NULL, "part of the noise that is gone");

    cg_function_free(step);
    cg_function_free(show);
    cg_function_free(test);
    cg_loader_free(batches);
    cg_net_free(net);
    cg_graph_free(g);
    digits_free(&d);
    return ended;
}
