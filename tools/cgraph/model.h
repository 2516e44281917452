// SPDX-License-Identifier: MIT
/* What `train` and `show` share: a model over a data set, its training step and its prediction.
 *
 * Where the data are resident a step takes rows order[i*batch : (i+1)*batch] of them, so a call brings one integer; else it is given the rows. */
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
    cg_function *step, *predict;         /* (i), or (x, y) -> loss; (images) -> classes */
} model;

const char *model_names(void);           /* for messages */
int model_known(const char *name);
int optimizer_known(const char *name, cg_optimizer_kind *out);
const char *optimizer_names(void);       /* for messages */
/* The data set stays the caller's and must outlive the model. Says on stderr what is wrong; 0 or an exit code. */
int model_build(model *m, const char *name, const dataset *data, int64_t classes, const training *t);
void model_free(model *m);
/* The part of the rows whose class is predicted, to *out. */
int model_accuracy(const model *m, const dataset *d, double *out);

#endif
