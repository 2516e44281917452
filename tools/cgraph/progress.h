// SPDX-License-Identifier: MIT
/* A progress bar on stderr, as people know it from tqdm; only on a terminal, where it is redrawn at most ten times a second:
 *
 *     epoch 3/20:  62%|██████▏   | 31/50 [00:12<00:07, 2.58step/s, loss=0.213]
 */
#ifndef CGRAPH_PROGRESS_H
#define CGRAPH_PROGRESS_H

typedef struct progress { int terminal, blocks; long total, first; double start, drawn; } progress;

void progress_start(progress *p, long total, long first);     /* first: steps that are done already */
void progress_step(progress *p, long done, const char *label, double loss);
/* A line that stays; on a terminal the bar goes on below it. */
void progress_line(const progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void progress_end(const progress *p);                    /* erases the bar */

#endif
