// SPDX-License-Identifier: MIT
/* Data sets: folders of IDX files named as MNIST's, plain or .gz. */
#ifndef CGRAPH_DATA_H
#define CGRAPH_DATA_H

#include "core/cg.h"

typedef struct dataset { cg_array *x, *y; int64_t rows; } dataset;     /* (n, features) f32 from 0 to 1, (n) i64; features are so many rows of an image */

/* The files DIR/PREFIX-images-idx3-ubyte[.gz] and DIR/PREFIX-labels-idx1-ubyte[.gz]; prefix is train or t10k. Values are
 * divided by *largest; 0: by the largest one, which then stands there. Says on stderr what is wrong; 0 or an exit code. */
int data_load(dataset *d, const char *dir, const char *prefix, float *largest);
void data_free(dataset *d);
/* Moves a part (0 to 1) of the rows of d, drawn by the seed, into held; at least one row goes there and one stays. */
int data_hold_out(dataset *d, dataset *held, double part, uint64_t seed);
int64_t data_classes(const dataset *d);                  /* the largest label + 1 */
const char *data_default_dir(void);                      /* the digits that come with libcg */

#endif
