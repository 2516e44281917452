// SPDX-License-Identifier: MIT
#ifndef ASKED_H
#define ASKED_H

#include <stdbool.h>
#include <string.h>

/* Whether a program whose arguments name what to run shall run this: all, where nothing is named. */
static inline bool asked(const char *name, char **names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return n == 0;
}

#endif
