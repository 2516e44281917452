// SPDX-License-Identifier: MIT
/* Arrays as JSON, the form that `cgraph eval` reads and writes: {"dtype":"f32","shape":[2,3],"data":[...]}.
 *
 * data is flat, row-major: numbers; "nan", "inf", "-inf"; true and false for bool; 64-bit integers beyond 2^53 as strings.
 * Values travel in a carrier dtype, which C has a type for: f32 for f16 and so on. cg_call converts on the way in, with the
 * library's rounding and range checks; a cast in the graph on the way out.
 */
#ifndef CGRAPH_VALUES_H
#define CGRAPH_VALUES_H

#include <jansson.h>
#include "core/cg.h"

/* Sets what and returns its code; the first failure stays. */
int fail(cg_error *why, cg_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* An array of the carrier of *dtype, which is what the text claims. NULL: why says it. */
cg_array *array_from_json(const json_t *j, cg_dtype *dtype, cg_error *why);
/* The dtype that outputs of dtype d are cast to before array_to_json. */
cg_dtype carrier_out(cg_dtype d);
/* a is of the carrier of d and its values are on the host. */
void array_to_json(FILE *to, cg_array *a, cg_dtype d);
/* text as a JSON string; bytes that are not UTF-8 become '?'. */
void text_to_json(FILE *to, const char *text);

#endif
