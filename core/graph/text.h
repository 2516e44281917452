// SPDX-License-Identifier: MIT
/* What the printer and the reader of the printed form agree on; the form itself is DESIGN 10.
 *
 * Example: (let ((h (exp x))) (sum (mul h h) :axis [0] :keepdims false))
 */
#ifndef CG_TEXT_H
#define CG_TEXT_H

#include "core/graph/ir.h"

/* A name that reads back as a name: one word, neither a number nor a literal. */
bool cg__word_ok(const char *word);
/* The word for an input or a shared variable: its name if that is one, else v<id>. buf holds the latter. */
const char *cg__var_word(const cg_node *n, char buf[16]);

#endif
