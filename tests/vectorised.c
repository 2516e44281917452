// SPDX-License-Identifier: MIT
/* The f32 rows and the casts alone, as vec.c has them: what the compiler says about their loops is read by tests/vectorised. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "backends/cpu/cpu.h"
#include "kernels/math.h"
#include "kernels/half.h"
#include "backends/cpu/vec_casts.h"
#define T float
#define M(f) cg_##f##_f32
#define SFX f32
#include "backends/cpu/vec_rows.h"
