// SPDX-License-Identifier: MIT
/* The elementwise table as data: name, arity, class, result, and algebra, and the expression's text for OpenCL. */
#include "core/base/base.h"

const cg_elem_row cg__elems[CG_EL_COUNT] = {
#define ELEM(name, arity, cls, res, alg, expr, ...) { #name, arity, CG_CLS_##cls, CG_RES_##res, alg, #expr },
#include "core/base/elemwise.def"
};
