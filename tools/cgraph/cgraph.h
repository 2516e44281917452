// SPDX-License-Identifier: MIT
/* The cgraph program: one function a subcommand, each with its own options and help. Exit 0, 1 (failure) or 2 (usage). */
#ifndef CGRAPH_H
#define CGRAPH_H

#include "core/cg.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

int cmd_bench(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_train(int argc, char **argv);

int failed(const char *what);                    /* prints what and the library's sentence; returns EXIT_FAILED */
int usage_error(const char *help);               /* prints help to stderr; returns EXIT_USAGE */
double seconds(void);                            /* a clock that only goes forward */
int parse_count(const char *text, long *out);    /* 0 and up; false: no such number */
int parse_real(const char *text, double *out);

#endif
