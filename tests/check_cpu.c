// SPDX-License-Identifier: MIT
/* The checks of the suite `cpu` as one program, for an emulated processor, which follows no child process:
 *     qemu-x86_64 -cpu Nehalem build/tests/check_cpu [NAME...]
 * Each check_<name>.c is compiled once more with its main called main_<name>; meson.build gives the list. */
#include <stdio.h>
#include <stdlib.h>
#include "tests/asked.h"

#define CHECK(name) int main_##name(void);
CG_CHECKS
#undef CHECK

static const struct { const char *name; int (*run)(void); } checks[] = {
#define CHECK(name) { #name, main_##name },
    CG_CHECKS
#undef CHECK
};

int main(int argc, char **argv)
{
    int ran = 0, failed = 0;
    setenv("CG_DEVICE", "cpu", 1);
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if (asked(checks[i].name, argv + 1, argc - 1)) {
            ran++;
            failed += checks[i].run() != 0;
            fflush(stdout);
        }
    printf("check_cpu: %d checks, %d failed\n", ran, failed);
    return failed != 0 || ran == 0;
}
