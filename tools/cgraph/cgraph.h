// SPDX-License-Identifier: MIT
/* The cgraph program: one function a subcommand, each with its own options. Exit 0, 1 (failure) or 2 (usage). */
#ifndef CGRAPH_H
#define CGRAPH_H

#include "core/cg.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

int cmd_train(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_info(int argc, char **argv);
int failed(const char *what);            /* prints what and the library's sentence; returns EXIT_FAILED */

/* The logistic regression that train and show share: softmax of xW + b, Adam. */
typedef struct logreg {
    cg_graph *g;
    cg_array *W, *b, *mW, *vW, *mb, *vb, *t, *X, *Y, *order;
    cg_function *step, *predict;
} logreg;
/* images (n, features) f32 and labels (n) i64 are kept by the model until logreg_free. */
int logreg_build(logreg *m, cg_array *images, cg_array *labels, int64_t classes, int64_t batch, double lr);
void logreg_free(logreg *m);

#endif
