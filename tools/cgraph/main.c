// SPDX-License-Identifier: MIT
/* cgraph: train, show, info. The subcommands are a table. */
#include <stdio.h>
#include <string.h>
#include "tools/cgraph/cgraph.h"

static const struct { const char *name, *help; int (*run)(int, char **); } commands[] = {
    { "info", "cgraph info [--json]                    devices, and which one CG_DEVICE selects", cmd_info },
    { "train", "cgraph train logreg [options]           trains on real digits; see cgraph train --help", cmd_train },
    { "show", "cgraph show logreg [--stage STAGE]      prints graph, optimized, plan or kernels", cmd_show },
};

int failed(const char *what)
{
    fprintf(stderr, "cgraph: %s%s%s\n", what, *what ? ": " : "", cg_last_error()->text);
    return EXIT_FAILED;
}

int cmd_info(int argc, char **argv)
{
    const int json = argc > 1 && strcmp(argv[1], "--json") == 0;
    if (argc > 2 || (argc == 2 && !json)) {
        fprintf(stderr, "cgraph: usage: cgraph info [--json]\n");
        return EXIT_USAGE;
    }
    char *text = cg_device_info(json);
    if (!text)
        return failed("info");
    fputs(text, stdout);
    cg_text_free(text);
    return 0;
}

static int usage(FILE *to, int code)
{
    fprintf(to, "cgraph " CG_VERSION ": a tensor graph engine\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(to, "  %s\n", commands[i].help);
    fprintf(to, "\nCG_DEVICE chooses the device; cgraph info lists the strings to use.\n");
    return code;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage(stderr, EXIT_USAGE);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return usage(stdout, 0);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            const int rc = commands[i].run(argc - 1, argv + 1);
            cg_shutdown();
            return fflush(stdout) == 0 ? rc : EXIT_FAILED;
        }
    fprintf(stderr, "cgraph: no command '%s'\n", argv[1]);
    return usage(stderr, EXIT_USAGE);
}
