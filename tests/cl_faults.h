// SPDX-License-Identifier: MIT
/* What a test tells the OpenCL layer (cl_layer.c), and what it hears back; the test program defines and exports it. */
#ifndef CL_FAULTS_H
#define CL_FAULTS_H

#include <CL/cl.h>

typedef struct cl_faults {
    long fail_at;                /* the n-th call from now that can fail does; 0: none */
    long async_at;               /* the n-th launch from now fails after it was accepted */
    int sticky;                  /* and all after it */
    long calls, launches;        /* so far; a test sets them to 0 when it arms */
    long live;                   /* CL objects */
    int no_f64;                  /* the device says that it has no f64, and builds nothing that has */
    const char *failed;          /* the first call that was made to fail, and its code */
    cl_int code;
} cl_faults;
extern cl_faults cl_fault;

#endif
