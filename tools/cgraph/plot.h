// SPDX-License-Identifier: MIT
/* The course of a training as an SVG picture: the loss of every step, smoothed, and below it the validation accuracy where there is one.
 *
 * The file has no script and asks for nothing; its colours follow the reader's light or dark scheme. */
#ifndef CGRAPH_PLOT_H
#define CGRAPH_PLOT_H

typedef struct curve { double *x, *y; int n, cap; int failed; } curve;     /* sticky: a point that found no memory is lost, and failed says so */
typedef struct plot { const char *title; curve loss, accuracy; } plot;     /* over the number of steps */

void curve_add(curve *c, double x, double y);
/* Replaces the file whole. Says on stderr what is wrong; 0 or an exit code. */
int plot_write(const plot *p, const char *path);
void plot_free(plot *p);

#endif
