// SPDX-License-Identifier: MIT
/* What the trainings of images (images.c, autoencoder.c) and of text (charlm.c) share: the options, the run, and the places where they differ. */
#ifndef CGRAPH_TRAIN_H
#define CGRAPH_TRAIN_H

#include <stdio.h>
#include "tools/cgraph/classifiers.h"
#include "tools/cgraph/model.h"
#include "tools/cgraph/plot.h"
#include "tools/cgraph/progress.h"

struct trainer;
typedef struct task {                                        /* 0 or an exit code, all of these */
    int (*load)(struct trainer *t);                          /* the data */
    int (*make_up)(struct trainer *t);                       /* some that only have the shape, to look at the model */
    int (*build)(struct trainer *t);                         /* the model */
    int (*judge)(struct trainer *t, double *value);          /* of an epoch, less is better; t->judged: what its line ends with */
    int (*finish)(struct trainer *t);                        /* what stdout is told */
    void (*close)(struct trainer *t);
} task;

typedef struct model_kind {
    const char *name;
    const task *task;
    const classifier *classifier;        /* of the task of classifiers */
    const char *data;                    /* NULL: the digits that come with libcg */
    long epochs, batch;
    double rate, validation;
} model_kind;

typedef struct options {
    const model_kind *model;
    const char *data, *log, *save, *resume, *plot, *picture;
    long epochs;
    double validation;                   /* the part of the rows or of the text that is held out */
    double temperature;                  /* of samples; 0: always the likeliest character */
    int own_rate, own_schedule;          /* --lr, --schedule were given: they are not the resumed file's */
    cg_schedule schedule;
    long patience, checkpoint;           /* checkpoint: steps between two saves; 0: only the last one */
    training how;
} options;
#define NO_OPTIONS { .epochs = -1, .validation = -1, .temperature = 0.7, .how = { .optimizer = CG_ADAM, .seed = 1 } }

typedef struct trainer {
    const options *o;
    model m;
    dataset set, held, test;             /* of images; held: for validation, empty unless asked for */
    int64_t classes;                     /* of the labels */
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

const model_kind *model_find(const char *name);              /* NULL: there is none */
const char *model_names(void);                               /* for messages */
void model_defaults(const model_kind *k, options *o);        /* where nothing was given */

extern const task image_task, autoencoder_task, charlm_task;

/* What tasks of images share. */
int images_load(trainer *t);
int images_make_up(trainer *t);
void images_close(trainer *t);
image images_size(const trainer *t);
/* Calls look with x and y of some rows after the other; ends where it gives other than 0. */
int images_each_batch(const dataset *d, void *user, int (*look)(void *user, cg_array *const *batch));

#endif
