// SPDX-License-Identifier: MIT
#ifndef SKIPPED_H
#define SKIPPED_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* CG_TEST_SKIP=text,text leaves out rows that contain one of them. */
static inline bool skipped(const char *expr)
{
    const char *skip = getenv("CG_TEST_SKIP");
    bool found = false;
    for (size_t n; skip && *skip && !found; skip += n + (skip[n] == ',')) {
        n = strcspn(skip, ",");
        found = memmem(expr, strlen(expr), skip, n) != NULL;
    }
    return found;
}

#endif
