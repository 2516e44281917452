// SPDX-License-Identifier: MIT
/* Logistic regression with nothing but an expression: its derivatives, and a function whose updates are a step of gradient descent. */
#include "tools/examples/digits.h"

int main(void)
{
    digits d = digits_load();
    cg_graph *g = cg_graph_new();
    cg_node *x = cg_input(g, "x", CG_U8, CG_SHAPE(CG_ANY, 8, 8)), *y = cg_input(g, "y", CG_U8, CG_SHAPE(CG_ANY));

    cg_array *w0 = cg_array_new(CG_F32, CG_SHAPE(64, 10), NULL), *b0 = cg_array_new(CG_F32, CG_SHAPE(10), NULL);
    cg_node *W = cg_shared(g, "W", w0), *b = cg_shared(g, "b", b0);
    cg_node *pixels = cg_reshape(cg_scale(x, 1.0 / 16), CG_SHAPE(CG_ANY, 64));
    cg_node *logits = cg_add(cg_matmul(pixels, W), b);
    cg_node *loss = cg_mean(cg_cross_entropy(logits, y), CG_REDUCE());
    cg_node *right = cg_mean(cg_equal(cg_argmax(logits, CG_REDUCE(CG_OVER(1))), y), CG_REDUCE());

    cg_node *dW, *db;
    cg_grad(loss, CG_NODES(W, b), CG_OUT(&dW, &db));
    cg_function *step = cg_compile(g, CG_SPEC(.name = "step", CG_INPUTS(x, y), CG_OUTPUTS(loss),
                                              CG_UPDATES({ W, cg_sub(W, cg_scale(dW, 0.3)) }, { b, cg_sub(b, cg_scale(db, 0.3)) })));
    cg_function *test = cg_compile(g, CG_SPEC(.name = "test", CG_INPUTS(x, y), CG_OUTPUTS(right)));

    cg_loader *batches = cg_loader_new(CG_ARRAYS(d.x, d.y), 64);
    const int rc = cg_fit(CG_FIT(.step = step, .loader = batches, .epochs = 20)) < 0 ? digits_test(&d, NULL, "") : digits_test(&d, test, "test accuracy");

    cg_function_free(step);
    cg_function_free(test);
    cg_loader_free(batches);
    cg_graph_free(g);
    cg_array_free(w0);
    cg_array_free(b0);
    digits_free(&d);
    return rc;
}
