// SPDX-License-Identifier: MIT
/* The one file that names backends; the cpu comes first. */
#include "core/plan/backend.h"

extern const cg_backend cg__cpu_backend;
#ifdef CG_HAVE_OPENCL
extern const cg_backend cg__opencl_backend;
#endif

const cg_backend *const cg__backends[] = {
    &cg__cpu_backend,
#ifdef CG_HAVE_OPENCL
    &cg__opencl_backend,
#endif
    NULL,
};
