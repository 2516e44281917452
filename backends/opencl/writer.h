// SPDX-License-Identifier: MIT
/* What the parts of kernel text share: values.c writes addresses, values and the head's expression, reduce.c reductions, body.c the frame of
 * points and stages around them, text.c the kernel. A writer appends lines to `out` and names numbers as they are first used. */
#ifndef CG_WRITER_H
#define CG_WRITER_H

#include "backends/opencl/opencl.h"

enum { CG_CL_VALUES = CG_LOOP_OPS * 4, CG_CL_NAME = 24 };
typedef struct cg_cl_writer {
    const cg_plan *p;
    const cg_loop *l;
    cg_cl_text *k;                       /* its numbers are filled in as the text mentions them */
    cg_strb *out;
    int depth;                           /* of indentation */
    const char *index;                   /* "int", or "long" for the wide variant */
    bool gpu;
    bool bare;                           /* in the head: the next expression stands alone between commas or brackets */
    bool overflow;                       /* more numbers or operands than arguments may have */
    char number[CG_CL_NUMBERS][CG_CL_NAME], operand[CG_CL_OPERANDS][CG_CL_NAME], local[CG_CL_VALUES][CG_CL_NAME];
} cg_cl_writer;

/* values.c */
void cg__cl_line(cg_cl_writer *w, const char *fmt, ...) CG_PRINTF(2, 3);         /* indented, with a newline */
void cg__cl_pad(cg_cl_writer *w);
void cg__cl_open(cg_cl_writer *w, const char *line);     /* which ends with a brace; what follows is indented, until close */
void cg__cl_close(cg_cl_writer *w);
const char *cg__cl_number(cg_cl_writer *w, cg_num id, const char *fmt, ...) CG_PRINTF(3, 4);     /* the name; fmt names it if it is new */
const char *cg__cl_type(cg_dtype d);                     /* of the compute type */
void cg__cl_literal(cg_strb *out, cg_dtype d, double v, int64_t i);
void cg__cl_name_values(cg_cl_writer *w);                /* operands in0 in1 out0, locals exp3 */
void cg__cl_operand(cg_cl_writer *w, int v, char text[2 * CG_CL_NAME]);          /* how v is referred to: a local, a literal, a number, an index */
void cg__cl_value(cg_cl_writer *w, int v);               /* `const float exp3 = ...;` or the store's line */
void cg__cl_result(cg_cl_writer *w, const cg_val *x, bool open);         /* opens and closes what narrows a result: wraps or rounds */
void cg__cl_head(cg_cl_writer *w);                       /* comment: what each output is, stride classes */
const char *cg__cl_reduction(const cg_val *x);           /* "sum" */

/* reduce.c: of reduction v, its identity before a stage's inner points, one of them (its linear index has the name `index`), its result after */
static inline bool cg__cl_is_arg(const cg_val *x) { return x->op == CG_RED_ARGMAX || x->op == CG_RED_ARGMIN; }
void cg__cl_reduce_open(cg_cl_writer *w, int v);
void cg__cl_reduce_step(cg_cl_writer *w, int v, const char *index);
void cg__cl_reduce_close(cg_cl_writer *w, int v);
void cg__cl_part_open(cg_cl_writer *w, int v);           /* columns: a block of 256 that is added to the total at its end */
void cg__cl_part_close(cg_cl_writer *w, int v);
void cg__cl_shared_lanes(cg_cl_writer *w);               /* local memory of a gpu kernel's reductions, at the head of the kernel */
void cg__cl_identity(cg_strb *out, const cg_val *x);
void cg__cl_combine(cg_cl_writer *w, const cg_val *x, const char *to, const char *from);         /* to = combine(to, from) */
void cg__cl_reduce_result(cg_cl_writer *w, int v, const char *from);     /* under the value's own name, narrowed */

/* body.c */
void cg__cl_body(cg_cl_writer *w);
void cg__cl_chunk(cg_cl_writer *w, const char *of);      /* a work-item's share of that many: begin, end */

#endif
