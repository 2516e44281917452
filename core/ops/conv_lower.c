// SPDX-License-Identifier: MIT
/* How a convolution becomes steps: blocks of images, whose windows lie in a scratch matrix for a GEMM.
 *
 *     repeat blocks { loop: columns (b, c*window, space) of the images;  gemm: result (b, o, space) = filters x columns }
 *     repeat blocks { gemm: columns = filters' x result;                 loop: images = the sum of columns over the windows that meet there }
 *     repeat blocks { loop: columns (c*window, b, space);  loop: result (o, b, space);  gemm: filters += result x columns' }
 *
 * A block is as many images as fill the scratch, one at least, so the working memory does not grow with the batch. Groups are one more REPEAT, or the
 * batch of the GEMM. An image's points that windows with a stride meet are those of one remainder, p*stride + k*dilation - before = j*stride + r: with a
 * stride the last loop is repeated for each remainder r, and everything in it stays affine.
 */
#include "core/ops/conv.h"

/* Elements of a block's columns: they stay in the caches that all processors have. */
enum { BLOCK = 1 << 18 };

/* One array: where it is, its sizes along space (or the window) and its strides there. */
typedef struct array { int slot; cg_num off, channels, size[CG_CONV_AXES], stride[CG_CONV_AXES], count; } array;
typedef struct conv {
    cg_lower *L;
    cg_plan *p;
    const cg_node *n;
    cg_dtype dtype;
    int axes;
    array images, filters, result;       /* channels of filters: those of one group */
    cg_num batch, group, out, taken;     /* out: channels of the result in a group; taken: rows of columns in a group */
    cg_num before[CG_CONV_AXES];
    const int64_t *stride, *dilation;
    cg_num most, first, here;            /* a block: how many images at most; its first one, how many */
    array columns;                       /* scratch; count: of one image */
} conv;

static cg_num constant(const conv *c, int64_t v) { return cg__num_const(c->p, v); }
static cg_num op2(const conv *c, cg_num_op op, cg_num a, cg_num b) { return cg__num(c->p, op, a, b, 0, 0); }
static cg_num mul(const conv *c, cg_num a, cg_num b) { return op2(c, CG_N_MUL, a, b); }
static cg_num add(const conv *c, cg_num a, cg_num b) { return op2(c, CG_N_ADD, a, b); }
static cg_num sub(const conv *c, cg_num a, cg_num b) { return op2(c, CG_N_SUB, a, b); }
static cg_num ceil_div(const conv *c, cg_num a, int64_t by) { return op2(c, CG_N_FDIV, add(c, a, constant(c, by - 1)), constant(c, by)); }
static cg_num at_least(const conv *c, cg_num a, int64_t least) { return op2(c, CG_N_MAX, a, constant(c, least)); }

/* ---- what is there */

static int find_array(conv *c, cg_conv_role role, array *a)
{
    const cg_node *n = cg__conv_part(c->n, role);
    if (n == c->n) {
        a->slot = cg__lower_slot(c->L, n);
        a->off = cg__lower_off(c->L, n);
    } else if (!cg__lower_dense(c->L, n, &a->slot, &a->off))
        return cg__fail(cg__lower_error(c->L), CG_EUNSUPPORTED, "cg_compile: %s: an operand is not placed", cg__label(c->n));
    a->channels = cg__lower_dim(c->L, n->type.dim[1]);
    a->count = constant(c, 1);
    for (int i = c->axes - 1; i >= 0; i--) {
        a->size[i] = cg__lower_dim(c->L, n->type.dim[2 + i]);
        a->stride[i] = a->count;
        a->count = mul(c, a->count, a->size[i]);
    }
    return CG_OK;
}

/* What channels and numbers of images that are known only at the call must be. */
static int check_channels(conv *c)
{
    const cg_node *y = cg__conv_part(c->n, CG_CONV_RESULT), *w = cg__conv_part(c->n, CG_CONV_FILTERS), *x = cg__conv_part(c->n, CG_CONV_IMAGES);
    const struct { cg_num a, b; } equal[] = {
        { mul(c, c->filters.channels, c->group), c->images.channels },
        { mul(c, c->out, c->group), c->result.channels },
        { cg__lower_dim(c->L, w->type.dim[0]), c->result.channels },
        { cg__lower_dim(c->L, x->type.dim[0]), cg__lower_dim(c->L, y->type.dim[0]) },
    };
    int rc = CG_OK;
    for (int i = 0; i < CG_LEN(equal) && rc == CG_OK; i++)
        rc = cg__lower_check(c->L, c->n, equal[i].a, equal[i].b);
    return rc;
}

static int find(conv *c)
{
    int rc = cg__lower_out(c->L, c->n);
    rc = rc == CG_OK ? find_array(c, CG_CONV_IMAGES, &c->images) : rc;
    rc = rc == CG_OK ? find_array(c, CG_CONV_FILTERS, &c->filters) : rc;
    rc = rc == CG_OK ? find_array(c, CG_CONV_RESULT, &c->result) : rc;
    if (rc < 0)
        return rc;
    c->group = constant(c, c->n->attr[CG_CONV_GROUP].at[0]);
    c->batch = cg__lower_dim(c->L, cg__conv_part(c->n, CG_CONV_IMAGES)->type.dim[0]);
    c->out = op2(c, CG_N_FDIV, c->result.channels, c->group);
    c->taken = mul(c, c->filters.channels, c->filters.count);
    for (int i = 0; i < c->axes; i++)
        c->before[i] = cg__lower_dim(c->L, cg__conv_before(c->n, i));
    return check_channels(c);
}

/* ---- REPEAT */

typedef struct round { int at; cg_num step; } round;

static round repeat(conv *c, cg_num count)
{
    round r = { .at = -1 };
    const int index = c->p->nrepeats++;
    r.step = cg__num(c->p, CG_N_STEP, index, count, 0, 0);
    cg_step *s = cg__lower_step(c->L, CG_STEP_REPEAT, c->n);
    if (!s)
        return r;
    s->repeat = (cg_repeat){ .count = count, .index = index, .until = -1 };
    r.at = c->p->steps.n - 1;
    return r;
}

static int end_repeat(conv *c, round r, int rc)
{
    if (r.at >= 0)
        c->p->steps.at[r.at].repeat.nbody = c->p->steps.n - r.at - 1;
    return r.at >= 0 ? rc : CG_ENOMEM;
}

/* `body` for each block of images, with the scratch that it fills. */
static int by_blocks(conv *c, int (*body)(conv *))
{
    c->columns.count = mul(c, c->images.channels, mul(c, c->filters.count, c->result.count));
    c->most = op2(c, CG_N_MIN, at_least(c, c->batch, 1), at_least(c, op2(c, CG_N_FDIV, constant(c, BLOCK), at_least(c, c->columns.count, 1)), 1));
    c->columns.slot = cg__lower_temp(c->L, c->dtype, mul(c, c->most, c->columns.count), "columns");
    if (c->columns.slot < 0)
        return cg__lower_no_memory(c->L);
    const round r = repeat(c, op2(c, CG_N_FDIV, add(c, c->batch, sub(c, c->most, constant(c, 1))), c->most));
    c->first = mul(c, r.step, c->most);
    c->here = op2(c, CG_N_MIN, c->most, sub(c, c->batch, c->first));
    return end_repeat(c, r, r.at >= 0 ? body(c) : CG_ENOMEM);
}

/* ---- LOOPs */

static cg_coord at(cg_num off)
{
    cg_coord x = cg__coord_zero();
    x.off = off;
    return x;
}

/* coordinate += stride * i[axis] */
static void walk(const conv *c, cg_coord *x, int axis, cg_num stride)
{
    x->c[axis] = x->c[axis] == CG_NUM_NONE ? stride : add(c, x->c[axis], stride);
}

static cg_num first_of(const conv *c, const array *a) { return add(c, a->off, mul(c, c->first, mul(c, a->channels, a->count))); }

/* The columns of a block: image b, row (c, k), space p begin at b*by_image and at row*by_row. */
static int spread_windows(conv *c, cg_num by_image, cg_num by_row)
{
    cg_loop_builder *b = cg__loop_begin(c->L, c->n);
    if (!b)
        return CG_ENOMEM;
    cg_window windows[CG_CONV_AXES];
    cg_coord from = at(first_of(c, &c->images)), to = at(constant(c, 0));
    const int image = cg__loop_axis_of(b, c->here, false), channel = cg__loop_axis_of(b, c->images.channels, false);
    walk(c, &from, image, mul(c, c->images.channels, c->images.count));
    walk(c, &from, channel, c->images.count);
    walk(c, &to, image, by_image);
    walk(c, &to, channel, mul(c, c->filters.count, by_row));
    for (int i = 0; i < c->axes; i++) {
        const cg_num zero = constant(c, 0);
        const cg_coord none = cg__coord_zero();
        from.off = sub(c, from.off, mul(c, c->before[i], c->images.stride[i]));
        windows[i] = (cg_window){ .lo = zero, .hi = c->images.size[i], .c0 = sub(c, zero, c->before[i]) };
        memcpy(windows[i].c, none.c, sizeof none.c);
    }
    for (int i = 0; i < c->axes; i++) {
        const int k = cg__loop_axis_of(b, c->filters.size[i], false);
        const cg_num step = constant(c, c->dilation[i]);
        windows[i].c[k] = step;
        walk(c, &from, k, mul(c, step, c->images.stride[i]));
        walk(c, &to, k, mul(c, c->filters.stride[i], by_row));
    }
    for (int i = 0; i < c->axes; i++) {
        const int p = cg__loop_axis_of(b, c->result.size[i], false);
        const cg_num step = constant(c, c->stride[i]);
        windows[i].c[p] = step;
        walk(c, &from, p, mul(c, step, c->images.stride[i]));
        walk(c, &to, p, c->result.stride[i]);
    }
    cg__loop_put(b, c->dtype, c->columns.slot, &to, cg__loop_get(b, c->dtype, c->images.slot, &from, windows, c->axes));
    return cg__loop_end(b);
}

/* The greatest common factor of a and b; x: a x is that modulo b. */
static int64_t common_factor(int64_t a, int64_t b, int64_t *x)
{
    int64_t last = 1, now = 0, m = b;
    while (m) {
        const int64_t q = a / m, rest = a % m, next = last - q * now;
        a = m, m = rest;
        last = now, now = next;
    }
    *x = b && last < 0 ? last + b : last;
    return a;
}

/* The points j*stride + rest of an axis of the images, and the windows that meet them: those are k = m*every + k0, at place p0 + j - m*back. */
typedef struct meeting { cg_num rest, points, k0, windows, p0; int64_t every, back; } meeting;

static meeting meet(const conv *c, int i, cg_num rest)
{
    int64_t turn;
    const int64_t s = c->stride[i], d = c->dilation[i], common = common_factor(d, s, &turn);
    meeting m = { .rest = rest, .every = s / common, .back = d / common };
    const cg_num a = add(c, rest, c->before[i]), any = op2(c, CG_N_EQ, op2(c, CG_N_MOD, a, constant(c, common)), constant(c, 0));
    m.k0 = op2(c, CG_N_MOD, mul(c, op2(c, CG_N_FDIV, a, constant(c, common)), constant(c, turn)), constant(c, m.every));
    m.points = at_least(c, ceil_div(c, sub(c, c->images.size[i], rest), s), 0);
    m.windows = mul(c, any, at_least(c, ceil_div(c, sub(c, c->filters.size[i], m.k0), m.every), 0));
    m.p0 = op2(c, CG_N_FDIV, sub(c, a, mul(c, m.k0, constant(c, d))), constant(c, s));
    return m;
}

/* The images of a block at the points that the meetings name: sums of columns (b, row, p). */
static int gather_windows(conv *c, const meeting *m)
{
    cg_loop_builder *b = cg__loop_begin(c->L, c->n);
    if (!b)
        return CG_ENOMEM;
    cg_window windows[CG_CONV_AXES];
    cg_coord from = at(constant(c, 0)), to = at(first_of(c, &c->images));
    const int image = cg__loop_axis_of(b, c->here, false), channel = cg__loop_axis_of(b, c->images.channels, false);
    walk(c, &from, image, c->columns.count);
    walk(c, &from, channel, mul(c, c->filters.count, c->result.count));
    walk(c, &to, image, mul(c, c->images.channels, c->images.count));
    walk(c, &to, channel, c->images.count);
    for (int i = 0; i < c->axes; i++) {
        const int j = cg__loop_axis_of(b, m[i].points, false);
        const cg_coord none = cg__coord_zero();
        from.off = add(c, from.off, add(c, mul(c, m[i].k0, mul(c, c->filters.stride[i], c->result.count)), mul(c, m[i].p0, c->result.stride[i])));
        to.off = add(c, to.off, mul(c, m[i].rest, c->images.stride[i]));
        walk(c, &from, j, c->result.stride[i]);
        walk(c, &to, j, mul(c, constant(c, c->stride[i]), c->images.stride[i]));
        windows[i] = (cg_window){ .lo = constant(c, 0), .hi = c->result.size[i], .c0 = m[i].p0 };
        memcpy(windows[i].c, none.c, sizeof none.c);
        windows[i].c[j] = constant(c, 1);
    }
    for (int i = 0; i < c->axes; i++) {
        const int k = cg__loop_axis_of(b, m[i].windows, true);
        const cg_num rows = mul(c, constant(c, m[i].every), mul(c, c->filters.stride[i], c->result.count)), back = constant(c, -m[i].back);
        walk(c, &from, k, add(c, rows, mul(c, back, c->result.stride[i])));
        windows[i].c[k] = back;
    }
    const int v = cg__loop_reduce(b, CG_RED_SUM, c->dtype, cg__loop_get(b, c->dtype, c->columns.slot, &from, windows, c->axes));
    cg__loop_put(b, c->dtype, c->images.slot, &to, v);
    return cg__loop_end(b);
}

/* Each remainder of the strides in its turn; without strides there is one, and more than points are none. */
static int gather_all(conv *c)
{
    meeting m[CG_CONV_AXES];
    bool strides = false;
    cg_num by[CG_CONV_AXES], turns = constant(c, 1);
    for (int i = 0; i < c->axes; i++) {
        strides |= c->stride[i] > 1;
        by[i] = op2(c, CG_N_MIN, constant(c, c->stride[i]), at_least(c, c->images.size[i], 1));
        turns = mul(c, turns, by[i]);
    }
    const round r = strides ? repeat(c, turns) : (round){ .at = -1, .step = constant(c, 0) };
    cg_num left = r.step;
    for (int i = 0; i < c->axes; i++) {
        m[i] = meet(c, i, op2(c, CG_N_MOD, left, by[i]));
        left = op2(c, CG_N_FDIV, left, by[i]);
    }
    if (!strides)
        return gather_windows(c, m);
    return end_repeat(c, r, r.at >= 0 ? gather_windows(c, m) : CG_ENOMEM);
}

/* ---- GEMMs */

static int product(conv *c, cg_gemm g)
{
    cg_step *s = cg__lower_step(c->L, CG_STEP_GEMM, c->n);
    g.dtype = c->dtype;
    g.alpha = 1;
    if (!s)
        return CG_ENOMEM;
    s->gemm = g;
    return CG_OK;
}

/* The filters as a matrix of one group: o rows of all that a window takes. */
static cg_mat filters_of(const conv *c, cg_num group)
{
    return (cg_mat){ c->filters.slot, add(c, c->filters.off, mul(c, group, mul(c, c->out, c->taken))), c->taken, constant(c, 0), false };
}

/* result = filters x columns, or columns = filters' x result, of one group and for all images of the block. */
static int group_product(conv *c, cg_num group, bool back)
{
    const cg_num space = c->result.count;
    cg_mat w = filters_of(c, group);
    const cg_mat columns = { c->columns.slot, mul(c, group, mul(c, c->taken, space)), space, c->columns.count, false };
    const cg_mat result = { c->result.slot, add(c, first_of(c, &c->result), mul(c, group, mul(c, c->out, space))), space, mul(c, c->result.channels, space), false };
    w.trans = back;
    return product(c, (cg_gemm){ .batch = c->here, .m = back ? c->taken : c->out, .n = space, .k = back ? c->out : c->taken,
                                 .a = w, .b = back ? result : columns, .c = back ? columns : result });
}

static int by_groups(conv *c, bool back)
{
    if (c->n->attr[CG_CONV_GROUP].at[0] == 1)
        return group_product(c, constant(c, 0), back);
    const round r = repeat(c, c->group);
    return end_repeat(c, r, r.at >= 0 ? group_product(c, r.step, back) : CG_ENOMEM);
}

/* ---- the three */

static int result_block(conv *c)
{
    const int rc = spread_windows(c, c->columns.count, c->result.count);
    return rc == CG_OK ? by_groups(c, false) : rc;
}

static int images_block(conv *c)
{
    const int rc = by_groups(c, true);
    return rc == CG_OK ? gather_all(c) : rc;
}

/* The block's images side by side: result (o, b, p) in the scratch `slot`. */
static int turn_result(conv *c, int slot)
{
    cg_loop_builder *b = cg__loop_begin(c->L, c->n);
    if (!b)
        return CG_ENOMEM;
    const cg_num space = c->result.count;
    cg_coord from = at(first_of(c, &c->result)), to = at(constant(c, 0));
    const int channel = cg__loop_axis_of(b, c->result.channels, false), image = cg__loop_axis_of(b, c->here, false), p = cg__loop_axis_of(b, space, false);
    walk(c, &from, channel, space);
    walk(c, &from, image, mul(c, c->result.channels, space));
    walk(c, &from, p, constant(c, 1));
    walk(c, &to, channel, mul(c, c->here, space));
    walk(c, &to, image, space);
    walk(c, &to, p, constant(c, 1));
    cg__loop_put(b, c->dtype, slot, &to, cg__loop_get(b, c->dtype, c->result.slot, &from, NULL, 0));
    return cg__loop_end(b);
}

static int filters_block(conv *c)
{
    const cg_num row = mul(c, c->here, c->result.count);
    const int turned = cg__lower_temp(c->L, c->dtype, mul(c, mul(c, c->most, c->result.count), c->result.channels), "result");
    int rc = turned < 0 ? cg__lower_no_memory(c->L) : spread_windows(c, c->result.count, row);
    rc = rc == CG_OK ? turn_result(c, turned) : rc;
    const cg_mat y = { turned, constant(c, 0), row, mul(c, c->out, row), false }, x = { c->columns.slot, constant(c, 0), row, mul(c, c->taken, row), true };
    cg_mat w = filters_of(c, constant(c, 0));
    w.batch_stride = mul(c, c->out, c->taken);
    return rc == CG_OK ? product(c, (cg_gemm){ .batch = c->group, .m = c->out, .n = c->taken, .k = row, .beta = 1, .a = y, .b = x, .c = w }) : rc;
}

CG_DECLARE_LOWER(cg__conv_lower)
{
    static int (*const blocks[CG_CONV_ROLES])(conv *) = { [CG_CONV_IMAGES] = images_block, [CG_CONV_FILTERS] = filters_block, [CG_CONV_RESULT] = result_block };
    conv c = { .L = L, .p = cg__lower_plan(L), .n = n, .dtype = n->type.dtype, .axes = cg__conv_axes(n), .stride = n->attr[CG_CONV_STRIDES].at, .dilation = n->attr[CG_CONV_DILATIONS].at };
    const cg_conv_role role = cg__conv_role(n);
    int rc = find(&c);
    if (rc == CG_OK && role == CG_CONV_FILTERS)
        rc = cg__lower_zeros(L, n);
    return rc == CG_OK ? by_blocks(&c, blocks[role]) : rc;
}
