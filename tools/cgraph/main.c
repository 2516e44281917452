// SPDX-License-Identifier: MIT
/* cgraph: the table of subcommands, and what they share. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tools/cgraph/cgraph.h"

static const struct { const char *name, *help; int (*run)(int, char **); } commands[] = {
    { "info", "devices, drivers, BLAS, cache, and which device CG_DEVICE selects", cmd_info },
    { "train", "trains a model on IDX files", cmd_train },
    { "bench", "times a workload", cmd_bench },
    { "eval", "values and gradients of an expression", cmd_eval },
    { "show", "a model or an expression as graph, optimized graph, plan or kernels", cmd_show },
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

int failed(const char *what)
{
    fprintf(stderr, "cgraph: %s: %s\n", what, cg_last_error()->text);
    return EXIT_FAILED;
}

int usage_error(const char *help)
{
    fputs(help, stderr);
    return EXIT_USAGE;
}

double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int parse_count(const char *text, long *out)
{
    char *end;
    errno = 0;
    *out = strtol(text, &end, 10);
    return *text && !*end && !errno && *out >= 0;
}

int parse_real(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return *text && !*end && *out - *out == 0;
}

int cmd_info(int argc, char **argv)
{
    static const char help[] =
        "usage: cgraph info [--json]\n"
        "  Lists the devices with the strings for CG_DEVICE, and which one it selects now.\n"
        "  --json   the same as one JSON object\n";
    static const struct option longs[] = { { "help", 0, NULL, 'h' }, { "json", 0, NULL, 'j' }, { 0 } };
    int json = 0;
    for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        if (c == 'h')
            return fputs(help, stdout) < 0;
        if (c != 'j')
            return usage_error(help);
        json = 1;
    }
    if (optind != argc)
        return usage_error(help);
    char *text = cg_device_info(json);
    if (!text)
        return failed("info");
    fputs(text, stdout);
    cg_text_free(text);
    return 0;
}

/* ---- which command */

static int find_command(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return i;
    return -1;
}

static int usage(FILE *to, int code)
{
    fputs("usage: cgraph COMMAND [option...]\n\n", to);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-8s%s\n", commands[i].name, commands[i].help);
    fputs("  help    COMMAND: its options\n\ncgraph --version tells the version. CG_DEVICE chooses the device; cgraph info lists what to write there.\n", to);
    return code;
}

static int run(int argc, char **argv)
{
    char *help[] = { argv[argc - 1], "--help", NULL };
    if (argc < 2)
        return usage(stderr, EXIT_USAGE);
    if (strcmp(argv[1], "--version") == 0)
        return puts("cgraph " CG_VERSION) < 0;
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || (strcmp(argv[1], "help") == 0 && argc == 2))
        return usage(stdout, 0);
    if (strcmp(argv[1], "help") == 0) {
        argv = help;
        argc = 2;
    } else {
        argv++;
        argc--;
    }
    const int k = find_command(argv[0]);
    if (k >= 0)
        return commands[k].run(argc, argv);
    fprintf(stderr, "cgraph: there is no command '%s'\n", argv[0]);
    return usage(stderr, EXIT_USAGE);
}

/* Threads that wait for work should soon sleep. libgomp lets them spin for milliseconds, and on a machine that others use too the spinners take the
 * processors from those they wait for: mlp-large on the cpu, two cores at load 10, less than 0.05 steps/s, with this 5. libgomp reads the
 * variable when it is loaded, so the program starts once more; if that fails, it goes on as it is. */
static void spin_shortly(char **argv)
{
    char path[4096];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || setenv("GOMP_SPINCOUNT", "10000", 0) != 0)
        return;
    path[n] = 0;
    execv(path, argv);
}

int main(int argc, char **argv)
{
    spin_shortly(argv);
    const int rc = run(argc, argv);
    cg_shutdown();
    if (fflush(stdout) == 0 && !ferror(stdout))
        return rc;
    fprintf(stderr, "cgraph: stdout cannot be written: %s\n", strerror(errno));
    return rc ? rc : EXIT_FAILED;
}
