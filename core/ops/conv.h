// SPDX-License-Identifier: MIT
/* Convolution: three operations over three arrays. Each gives one of
 *
 *     images (n, c, space), filters (o, c/group, window), result (n, o, space)
 *
 * from the other two, all by the one sum  result[n, o, p] = sum of images[n, c, p*stride + k*dilation - before] * filters[o, c, k]:
 * correlate the result, correlate_images and correlate_filters what its gradient is to the others. So the gradient of each of the three is the other
 * two, and derivatives of any order need nothing more. Attribute `shape` has the sizes of the node's own space or window.
 */
#ifndef CG_CONV_H
#define CG_CONV_H

#include "core/ops/ops.h"

typedef enum { CG_CONV_IMAGES, CG_CONV_FILTERS, CG_CONV_RESULT, CG_CONV_ROLES } cg_conv_role;
enum { CG_CONV_SHAPE, CG_CONV_STRIDES, CG_CONV_DILATIONS, CG_CONV_BEFORE, CG_CONV_GROUP, CG_CONV_AXES = 3 };

cg_conv_role cg__conv_role(const cg_node *n);                    /* what n is */
/* The node, or operand of it, that has the role. */
const cg_node *cg__conv_part(const cg_node *n, cg_conv_role role);
static inline int cg__conv_axes(const cg_node *n) { return n->attr[CG_CONV_SHAPE].n; }
cg_dim_t cg__conv_before(const cg_node *n, int axis);
/* The node of a role from the other two, in the order of roles; `space`: its sizes, `before`: one number an axis. NULL: the graph says why. */
cg_node *cg__conv_node(cg_conv_role role, cg_node *const parts[2], const cg_dim_t *space, const cg_dim_t *before, const int64_t *strides, const int64_t *dilations, int64_t group);

#endif
