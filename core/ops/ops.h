// SPDX-License-Identifier: MIT
/* What the family files share: the descriptors' prototypes and small helpers of infer and grad. */
#ifndef CG_OPS_H
#define CG_OPS_H

#include "core/graph/build.h"
#include "core/lower/lower.h"

/* Shape helpers of infer */
bool cg__axis_ok(int64_t *axis, int rank);                       /* negative from the end */
int64_t cg__attr_int(const cg_node *n, int k, int64_t missing);
int cg__set_ints(cg_node *n, int k, const int64_t *at, int count);       /* canonical attribute in the graph's arena */
cg_dim_t cg__dim_broadcast(cg_graph *g, cg_dim_t x, cg_dim_t y);     /* the size where x and y meet and fit */
bool cg__broadcast(cg_graph *g, const cg_type *a, const cg_type *b, cg_type *out);      /* dims of out; false: do not fit */
cg_dim_t cg__dim_from(cg_node *n);                               /* an i64 scalar node as a dim; of NULL, which the graph has told of, 0 */
/* Sums the leading and the stretched axes of a until it has the dims of t: the gradient of broadcasting. Where there is none it stays so. */
cg_node *cg__sum_to(cg_node *a, const cg_type *t);
cg_node *cg__spread(cg_node *x, int axis, int64_t step);         /* rows of axis with step-1 rows of zeros between them */
/* The adjoint of a sliding_window_view of an array with that shape; y has the view's. One value an axis. */
typedef struct cg_adjoint { int naxes; const int64_t *axes, *size, *stride, *dilation, *before, *after; } cg_adjoint;
cg_node *cg__view_adjoint(cg_node *y, const cg_dim_t *shape, int rank, const cg_adjoint *a);
/* Parts of the first operand, as slice, set_slice and inc_slice name them: first element, count and step along an axis (NULL: no memory); the
 * type of the part; another operation on the same part (values: its operands before the bounds); y, of that type, in zeros of the operand's. */
typedef struct cg_bounds { cg_node *start, *len; int64_t step; } cg_bounds;
cg_bounds cg__part_bounds(const cg_node *n, int axis);
int cg__part_type(const cg_node *n, cg_type *t, cg_error *err);
cg_node *cg__same_part(cg_op_id op, cg_node *const *values, const cg_node *like);
cg_node *cg__part_in_zeros(const cg_node *n, cg_node *y);
/* Rows of the first operand by the second, along the axis of attribute 0, as take, set_rows and inc_rows name them: their type, the axis made canonical. */
int cg__rows_type(const cg_node *n, cg_type *t, cg_error *err);
int cg__rows_axis(cg_node *n);
int cg__shape_from(const cg_node *n, int attr, int first, cg_type *t, cg_error *err);    /* a shape attribute; refs are to inputs from `first` on */
int cg__need_rank(const cg_node *n, int k, int rank, cg_error *err);
int cg__check_dims(cg_lower *L, const cg_node *n, cg_dim_t a, cg_dim_t b);   /* equal at each call, else its sentence */

#define CG_DECLARE_INFER(f) int f(cg_node *n, cg_error *err)
#define CG_DECLARE_SIMPLE(f) cg_node *f(const cg_node *n)
#define CG_DECLARE_GRAD(f)  int f(const cg_node *n, cg_node *const gout[], const bool need[], cg_node *gin[])
#define CG_DECLARE_LOWER(f) int f(cg_lower *L, const cg_node *n)
#define CG_DECLARE_EMIT(f)  int f(cg_loop_builder *b, const cg_node *n, const cg_spot *at)

#define FORM(name, ...) CG_DECLARE_SIMPLE(cg__##name##_form);
#include "core/ops/forms.def"
#define cg__NONE NULL
/* leaf.c */    CG_DECLARE_INFER(cg__leaf_infer); CG_DECLARE_EMIT(cg__const_emit); CG_DECLARE_INFER(cg__dim_infer);
                CG_DECLARE_SIMPLE(cg__dim_simple); CG_DECLARE_GRAD(cg__cut_grad); CG_DECLARE_GRAD(cg__step_grad); CG_DECLARE_INFER(cg__meet_infer); CG_DECLARE_SIMPLE(cg__meet_simple);
/* elemwise.c */ CG_DECLARE_INFER(cg__cast_infer); CG_DECLARE_GRAD(cg__cast_grad); CG_DECLARE_EMIT(cg__cast_emit);
/* reduce.c */  CG_DECLARE_INFER(cg__reduce_infer); CG_DECLARE_GRAD(cg__sum_grad); CG_DECLARE_GRAD(cg__prod_grad);
                CG_DECLARE_GRAD(cg__extreme_grad); CG_DECLARE_GRAD(cg__mean_grad); CG_DECLARE_GRAD(cg__var_grad);
                CG_DECLARE_GRAD(cg__logsumexp_grad); CG_DECLARE_LOWER(cg__reduce_lower);
/* shape.c */   CG_DECLARE_INFER(cg__reshape_infer); CG_DECLARE_GRAD(cg__reshape_grad); CG_DECLARE_INFER(cg__transpose_infer);
                CG_DECLARE_GRAD(cg__transpose_grad); CG_DECLARE_EMIT(cg__transpose_emit); CG_DECLARE_INFER(cg__expand_infer);
                CG_DECLARE_EMIT(cg__expand_emit); CG_DECLARE_INFER(cg__broadcast_infer); CG_DECLARE_GRAD(cg__broadcast_grad);
                CG_DECLARE_EMIT(cg__broadcast_emit);
                CG_DECLARE_INFER(cg__sum_to_infer); CG_DECLARE_SIMPLE(cg__sum_to_simple); CG_DECLARE_GRAD(cg__sum_to_grad); CG_DECLARE_EMIT(cg__sum_to_emit);
/* join.c */    CG_DECLARE_INFER(cg__concat_infer); CG_DECLARE_SIMPLE(cg__concat_simple); CG_DECLARE_GRAD(cg__concat_grad);
                CG_DECLARE_LOWER(cg__concat_lower);
/* create.c */  CG_DECLARE_INFER(cg__arange_infer); CG_DECLARE_SIMPLE(cg__arange_simple); CG_DECLARE_EMIT(cg__arange_emit);
                CG_DECLARE_INFER(cg__eye_infer); CG_DECLARE_EMIT(cg__eye_emit);
/* random.c */  CG_DECLARE_INFER(cg__random_infer); CG_DECLARE_EMIT(cg__bits_emit); CG_DECLARE_EMIT(cg__uniform_emit); CG_DECLARE_EMIT(cg__normal_emit);
/* index.c */   CG_DECLARE_INFER(cg__slice_infer); CG_DECLARE_GRAD(cg__slice_grad); CG_DECLARE_EMIT(cg__slice_emit);
                CG_DECLARE_INFER(cg__unslice_infer); CG_DECLARE_GRAD(cg__unslice_grad); CG_DECLARE_LOWER(cg__unslice_lower);
                CG_DECLARE_INFER(cg__take_infer); CG_DECLARE_GRAD(cg__take_grad); CG_DECLARE_EMIT(cg__take_emit);
                CG_DECLARE_INFER(cg__take_along_infer); CG_DECLARE_GRAD(cg__take_along_grad); CG_DECLARE_EMIT(cg__take_along_emit);
                CG_DECLARE_INFER(cg__one_hot_infer); CG_DECLARE_EMIT(cg__one_hot_emit);
/* update.c */  CG_DECLARE_INFER(cg__write_part_infer); CG_DECLARE_SIMPLE(cg__write_part_simple); CG_DECLARE_LOWER(cg__write_part_lower);
                CG_DECLARE_GRAD(cg__set_slice_grad); CG_DECLARE_GRAD(cg__inc_slice_grad);
                CG_DECLARE_INFER(cg__write_rows_infer); CG_DECLARE_SIMPLE(cg__write_rows_simple); CG_DECLARE_LOWER(cg__write_rows_lower);
                CG_DECLARE_GRAD(cg__set_rows_grad); CG_DECLARE_GRAD(cg__inc_rows_grad);
/* matmul.c */  CG_DECLARE_INFER(cg__matmul_infer); CG_DECLARE_SIMPLE(cg__matmul_simple); CG_DECLARE_GRAD(cg__matmul_grad);
                CG_DECLARE_LOWER(cg__matmul_lower);
                CG_DECLARE_INFER(cg__gemm_infer); CG_DECLARE_GRAD(cg__gemm_grad); CG_DECLARE_LOWER(cg__gemm_lower);
/* softmax.c */ CG_DECLARE_INFER(cg__softmax_infer); CG_DECLARE_GRAD(cg__softmax_grad); CG_DECLARE_GRAD(cg__log_softmax_grad);
                CG_DECLARE_LOWER(cg__softmax_lower); CG_DECLARE_INFER(cg__cross_infer); CG_DECLARE_GRAD(cg__cross_grad);
                CG_DECLARE_LOWER(cg__cross_lower);
/* window.c */  CG_DECLARE_INFER(cg__window_infer); CG_DECLARE_GRAD(cg__window_grad); CG_DECLARE_EMIT(cg__window_emit);
                CG_DECLARE_INFER(cg__window_sum_infer); CG_DECLARE_GRAD(cg__window_sum_grad); CG_DECLARE_LOWER(cg__window_sum_lower);
/* conv.c */    CG_DECLARE_INFER(cg__conv_infer); CG_DECLARE_SIMPLE(cg__conv_simple); CG_DECLARE_GRAD(cg__conv_grad);
/* conv_lower.c */ CG_DECLARE_LOWER(cg__conv_lower);
/* own.c */     CG_DECLARE_INFER(cg__own_infer); CG_DECLARE_GRAD(cg__own_grad);
/* ifelse.c */  CG_DECLARE_INFER(cg__ifelse_infer); CG_DECLARE_SIMPLE(cg__ifelse_simple); CG_DECLARE_GRAD(cg__ifelse_grad); CG_DECLARE_LOWER(cg__ifelse_lower);
/* scan.c */    CG_DECLARE_INFER(cg__arg_infer); CG_DECLARE_INFER(cg__tuple_infer); CG_DECLARE_INFER(cg__get_infer); CG_DECLARE_SIMPLE(cg__get_simple);
                CG_DECLARE_INFER(cg__scan_infer);
                CG_DECLARE_LOWER(cg__scan_lower);
/* scan_grad.c */ CG_DECLARE_GRAD(cg__scan_grad);
CG_DECLARE_INFER(cg__elem_infer);
CG_DECLARE_GRAD(cg__elem_grad);
CG_DECLARE_EMIT(cg__elem_emit);

#endif
