// SPDX-License-Identifier: MIT
/* What the trainings of images (train.c) and of text (charlm.c) share: the options, the run, and the four places where they differ. */
#ifndef CGRAPH_TRAIN_H
#define CGRAPH_TRAIN_H

#include <stdio.h>
#include "tools/cgraph/model.h"
#include "tools/cgraph/plot.h"
#include "tools/cgraph/progress.h"

struct trainer;
typedef struct task {
    int (*prepare)(struct trainer *t);                       /* data and model; 0 or an exit code, as all of these */
    int (*judge)(struct trainer *t, double *value);          /* of an epoch, less is better; t->judged: what its line ends with */
    int (*finish)(struct trainer *t);                        /* what stdout is told */
    void (*close)(struct trainer *t);
} task;

typedef struct options {
    const char *model, *data, *log, *save, *resume, *plot;
    const task *task;
    long epochs;
    double validation;                   /* the part of the rows or of the text that is held out */
    double temperature;                  /* of samples; 0: always the likeliest character */
    int own_rate, own_schedule;          /* --lr, --schedule were given: they are not the resumed file's */
    cg_schedule schedule;
    long patience, checkpoint;           /* checkpoint: steps between two saves; 0: only the last one */
    training how;
} options;

typedef struct trainer {
    const options *o;
    model m;
    dataset set, held, test;             /* of images; held: for validation, empty unless asked for */
    struct charlm *text;                 /* of a character model */
    cg_loader *loader;                   /* of rows that are not resident, else NULL */
    cg_fit_state state;
    cg_schedule schedule;
    cg_fit_spec fit;
    char judged[200];
    FILE *log;                           /* or NULL */
    plot plot;
    progress bar;
} trainer;

extern const task charlm_task;

#endif
