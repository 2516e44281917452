// SPDX-License-Identifier: MIT
/* Attention: each row of an image asks all others, and what it hears is a mean of their answers, weighted by how well keys meet queries. */
#include "tools/examples/digits.h"

enum { SIZE = 32, HEADS = 4 };

static int tell(void *user, const cg_progress *p)
{
    (void)user;
    printf("epoch %lld loss %.4f\n", (long long)p->epoch, p->mean);
    return 0;
}

int main(void)
{
    digits d = digits_load();
    cg_graph *g = cg_graph_new();
    cg_net *net = cg_net_new(g, 1);
    cg_node *images = cg_input(g, "images", CG_U8, CG_SHAPE(CG_ANY, 8, 8)), *labels = cg_input(g, "labels", CG_U8, CG_SHAPE(CG_ANY));

    cg_layer rows, norm, attention, out;
    cg_layer_dense(&rows, net, "rows", 8, SIZE, CG_INIT_GLOROT_UNIFORM);                 // acts on the last axis: (n, 8, 8) -> (n, 8, SIZE)
    cg_layer_layer_norm(&norm, net, "norm", SIZE);
    cg_layer_attention(&attention, net, "attention", SIZE, HEADS, CG_INIT_GLOROT_UNIFORM, NULL);
    cg_layer_dense(&out, net, "out", SIZE, 10, CG_INIT_GLOROT_UNIFORM);

    cg_node *x = cg_forward(&rows, 1, cg_scale(images, 1.0 / 16));
    x = cg_add(x, cg_sinusoidal_positions(cg_scalar(g, CG_I64, 8), SIZE));               // attention itself knows no order
    x = cg_add(x, cg_forward(&attention, 1, cg_forward(&norm, 1, x)));
    cg_node *logits = cg_forward(&out, 1, cg_mean(cg_relu(x), CG_REDUCE(CG_OVER(1))));   // (n, SIZE) -> (n, 10)
    cg_node *loss = cg_cross_entropy_loss(logits, labels, NULL);

    int n;
    cg_optimize(net, loss, CG_OPTIMIZER(.kind = CG_ADAM, .rate = 0.005));
    const cg_update *updates = cg_net_updates(net, &n);
    cg_function *step = cg_compile(g, CG_SPEC(.name = "step", CG_INPUTS(images, labels), CG_OUTPUTS(loss), .updates = updates, .nupdates = n));
    cg_function *test = cg_compile(g, CG_SPEC(.name = "test", CG_INPUTS(images, labels), CG_OUTPUTS(cg_accuracy(logits, labels))));

    cg_loader *batches = cg_loader_new(CG_ARRAYS(d.x, d.y), 32);
    const int rc = cg_fit(CG_FIT(.step = step, .loader = batches, .epochs = 5, .on_epoch = tell));
    const int ended = digits_test(&d, rc == CG_OK ? test : NULL, "test accuracy");

    cg_function_free(step);
    cg_function_free(test);
    cg_loader_free(batches);
    cg_net_free(net);
    cg_graph_free(g);
    digits_free(&d);
    return ended;
}
