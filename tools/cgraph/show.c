// SPDX-License-Identifier: MIT
/* cgraph show: the training step of a model as text, at one of four stages. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "tools/cgraph/cgraph.h"

static const char *const stages[] = { "graph", "optimized", "plan", "kernels" };

static int usage(void)
{
    fprintf(stderr, "usage: cgraph show logreg [--stage graph|optimized|plan|kernels]\n");
    return EXIT_USAGE;
}

int cmd_show(int argc, char **argv)
{
    static const struct option longs[] = { { "stage", 1, NULL, 's' }, { 0 } };
    int stage = CG_STAGE_OPTIMIZED, c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        for (stage = 0; c == 's' && stage < 4 && strcmp(stages[stage], optarg) != 0; stage++)
            ;
        if (c != 's' || stage == 4)
            return usage();
    }
    if (optind + 1 != argc || strcmp(argv[optind], "logreg") != 0)
        return usage();
    const int64_t x[2] = { 128, 784 };
    logreg m;
    int rc = logreg_build(&m, cg_array_new(CG_F32, x, 2, NULL), cg_array_new(CG_I64, x, 1, NULL), 10, 64, 1e-3);
    char *text = rc ? NULL : cg_function_show(m.step, (cg_stage)stage);
    if (text)
        fputs(text, stdout);
    cg_text_free(text);
    logreg_free(&m);
    return text ? 0 : EXIT_FAILED;
}
