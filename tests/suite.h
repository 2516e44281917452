// SPDX-License-Identifier: MIT
/* What every check program's main does: its tests in order, in one process (a fork costs 7 ms with OpenMP, 90 ms with PoCL open), after which
 * the devices are closed.
 *
 *     int main(void) { return RUN_TESTS("casts", in_kernels, of_constants); }
 */
#ifndef SUITE_H
#define SUITE_H

#include <check.h>
#include "core/cg.h"

#define RUN_TESTS(name, ...) run_tests(name, (const TTest *const[]){ __VA_ARGS__ }, sizeof((const TTest *const[]){ __VA_ARGS__ }) / sizeof(const TTest *))

/* The exit status; a NULL among the tests is one that does not run here. */
static inline int run_tests(const char *name, const TTest *const *tests, size_t n)
{
    Suite *s = suite_create(name);
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 0);
    for (size_t i = 0; i < n; i++)
        if (tests[i])
            tcase_add_test(t, tests[i]);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    cg_shutdown();
    return failed != 0;
}

#endif
