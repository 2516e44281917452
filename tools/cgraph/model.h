// SPDX-License-Identifier: MIT
/* What `train` and `show` share: a model over a resident data set, its training step and its prediction.
 *
 * A step takes rows order[i*batch : (i+1)*batch] of the data, so a call brings one integer. */
#ifndef CGRAPH_MODEL_H
#define CGRAPH_MODEL_H

#include "tools/cgraph/data.h"

enum { MODEL_VARS = 16 };
typedef struct model {
    cg_graph *g;
    cg_array *order;                     /* (n) i64: which row comes when */
    cg_function *step, *predict;         /* (i) -> loss; (images) -> classes */
    int nvars;                           /* all that training changes */
    char name[MODEL_VARS][32];
    cg_array *value[MODEL_VARS];
} model;

const char *model_names(void);           /* for messages */
int model_known(const char *name);
/* The data set stays the caller's and must outlive the model. Says on stderr what is wrong; 0 or an exit code. */
int model_build(model *m, const dataset *data, int64_t classes, int64_t batch, double lr);
void model_free(model *m);
int model_save(const model *m, const char *path);

#endif
