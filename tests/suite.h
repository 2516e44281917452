// SPDX-License-Identifier: MIT
/* What every check program's main does: its tests in order, in one process (a fork costs 7 ms with OpenMP, 90 ms with PoCL open), after which
 * the devices are closed.
 *
 *     int main(void) { return RUN_TESTS("casts", in_kernels, of_constants); }
 *
 * or, with what Check has besides tests: TCase *t = TESTS("print", ...); tcase_add_checked_fixture(t, setup, teardown); return run_case("print", t);
 */
#ifndef SUITE_H
#define SUITE_H

#include <check.h>
#include "core/cg.h"

#define TESTS(name, ...)     tests_of(name, (const TTest *const[]){ __VA_ARGS__ }, sizeof((const TTest *const[]){ __VA_ARGS__ }) / sizeof(const TTest *))
#define RUN_TESTS(name, ...) run_case(name, TESTS(name, __VA_ARGS__))

/* A case of the tests, to which fixtures and loops may be added; a NULL among the tests is one that does not run here. */
static inline TCase *tests_of(const char *name, const TTest *const *tests, size_t n)
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 0);
    for (size_t i = 0; i < n; i++)
        if (tests[i])
            tcase_add_test(t, tests[i]);
    return t;
}

/* The exit status. */
static inline int run_case(const char *name, TCase *t)
{
    Suite *s = suite_create(name);
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
