// SPDX-License-Identifier: MIT
/* What the trainings share: a graph with a net, a step that trains it, and what the step takes: the number of a batch where the data are resident,
 * as rows order[i*batch : (i+1)*batch] of them, else the rows themselves. */
#ifndef CGRAPH_MODEL_H
#define CGRAPH_MODEL_H

#include "tools/cgraph/data.h"

typedef struct training {
    int64_t batch;
    double rate, l2, average;            /* average: the decay of averages of the parameters, which predict; 0: none */
    cg_optimizer_kind optimizer;
    uint64_t seed;
    int stream;                          /* a step takes the rows themselves */
} training;

typedef struct model {
    training how;
    cg_graph *g;
    cg_net *net;                         /* all that training changes */
    cg_array *order;                     /* (n) i64: which row comes when */
    int64_t take;                        /* so many of which a step takes */
    cg_function *step, *predict;         /* (i), or (x, y) -> loss; predict is its task's */
} model;

/* All of these say on stderr what is wrong, and give 0 or an exit code. */
int model_open(model *m, const training *how, int64_t rows, int64_t take);       /* an empty net */
void model_free(model *m);
/* The rows of a step, x (rows, features) and y (rows), of a data set that stays the caller's and outlives the model. The inputs of the step go to in,
 * their number is returned. */
int model_rows(const model *m, const dataset *d, cg_node *in[2], cg_node **x, cg_node **y);
/* Compiles the step: the optimiser's updates and `more`, which follow them; clip_norm as in cg_optimizer. */
int model_compile_step(model *m, cg_node *const *in, int nin, cg_node *loss, const cg_update *more, int nmore, double clip_norm);
/* A function of the net as it predicts: with its averages, if it has any. NULL: stderr has a sentence. */
cg_function *model_compile(const model *m, const char *name, cg_node *const *in, int nin, cg_node *const *out, int nout, const cg_update *updates, int nupdates);

const char *optimizer_names(void);       /* for messages */
int optimizer_known(const char *name, cg_optimizer_kind *out);

#endif
