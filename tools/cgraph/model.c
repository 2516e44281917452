// SPDX-License-Identifier: MIT
/* A model's graph, net, and compiled step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/model.h"

const char *optimizer_names(void) { return "sgd, momentum, nesterov, adam, adamw, rmsprop, adagrad"; }

int optimizer_known(const char *name, cg_optimizer_kind *out)
{
    const char *at;
    for (int k = 0; (at = cg_optimizer_name((cg_optimizer_kind)k)) != NULL; k++)
        if (strcmp(at, name) == 0)
            return *out = (cg_optimizer_kind)k, 1;
    return 0;
}

int model_open(model *m, const training *how, int64_t rows, int64_t take)
{
    *m = (model){ .how = *how, .g = cg_graph_new(), .order = cg_array_new(CG_I64, &rows, 1, NULL), .take = take };
    m->net = m->g ? cg_net_new(m->g, how->seed) : NULL;
    return m->net && m->order ? 0 : failed("train");
}

void model_free(model *m)
{
    cg_function_free(m->step);
    cg_function_free(m->predict);
    cg_net_free(m->net);
    cg_graph_free(m->g);
    cg_array_free(m->order);
}

int model_rows(const model *m, const dataset *d, cg_node *in[2], cg_node **x, cg_node **y)
{
    cg_graph *g = m->g;
    if (m->how.stream) {
        *x = in[0] = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, cg_array_shape(d->x)[1]));
        *y = in[1] = cg_input(g, "y", CG_I64, CG_SHAPE(CG_ANY));
        return 2;
    }
    cg_node *i = in[0] = cg_input(g, "i", CG_I64, CG_SHAPE()), *size = cg_scalar(g, CG_I64, (double)m->how.batch), *from = cg_mul(i, size);
    cg_node *rows = cg_slice(cg_shared(g, "order", m->order), 0, from, cg_add(from, size), 1);
    *x = cg_name(cg_take(cg_shared(g, "X", d->x), rows), "x");
    *y = cg_name(cg_take(cg_shared(g, "Y", d->y), rows), "y");
    return 1;
}

int model_compile_step(model *m, cg_node *const *in, int nin, cg_node *loss, const cg_update *more, int nmore, double clip_norm)
{
    const training *t = &m->how;
    if (cg_optimize(m->net, loss, CG_OPTIMIZER(.kind = t->optimizer, .rate = t->rate, .l2 = t->l2, .clip_norm = clip_norm)) < 0 || (t->average > 0 && cg_net_average(m->net, t->average) < 0))
        return failed("train");
    int n;
    const cg_update *of_net = cg_net_updates(m->net, &n);
    cg_update *to = calloc((size_t)(n + nmore), sizeof *to);
    if (!to)
        return fprintf(stderr, "cgraph: train: no memory\n"), EXIT_FAILED;
    memcpy(to, of_net, (size_t)n * sizeof *to);
    for (int i = 0; i < nmore; i++)
        to[n + i] = more[i];
    m->step = cg_compile(m->g, CG_SPEC(.name = "step", .inputs = in, .ninputs = nin, CG_OUTPUTS(loss), .updates = to, .nupdates = n + nmore, .unused = CG_UNUSED_IGNORE));
    free(to);
    return m->step ? 0 : failed("train");
}

cg_function *model_compile(const model *m, const char *name, cg_node *const *in, int nin, cg_node *const *out, int nout, const cg_update *updates, int nupdates)
{
    int n;
    const cg_given *averages = cg_net_averages(m->net, &n);
    cg_function *f = cg_compile(m->g, CG_SPEC(.name = name, .inputs = in, .ninputs = nin, .outputs = out, .noutputs = nout, .updates = updates, .nupdates = nupdates, .givens = averages, .ngivens = n));
    if (!f)
        failed("train");
    return f;
}
