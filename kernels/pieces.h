// SPDX-License-Identifier: MIT
/* The scalar functions as pieces of text, written by embed.py at build time: the prelude first, a NULL name last. */
#ifndef CG_PIECES_H
#define CG_PIECES_H

enum { CG_MATH_PIECES_MAX = 512 };
typedef struct cg_math_piece { const char *name, *deps, *text; } cg_math_piece;
extern const cg_math_piece cg__math_pieces[];

#endif
