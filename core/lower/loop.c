// SPDX-License-Identifier: MIT
/* Building one LOOP step: values, levels and stages, loads through coordinates, axis merging.
 *
 * The builder is sticky: after a failure its functions return negative values and loop_end reports. Equal values are
 * one value. A value's level is 0 if it depends on no axis, 1 on outer ones only, 2 on inner ones too.
 */
#include "core/lower/lower.h"

struct cg_loop_builder {
    cg_lower *L;
    const cg_node *node;
    cg_plan *p;
    cg_loop loop;
    CG_VEC(cg_val) vals;
    CG_VEC(cg_operand) operands;
    int failed;
};

cg_lower *cg__loop_lower(cg_loop_builder *b) { return b->L; }

cg_loop_builder *cg__loop_begin(cg_lower *L, const cg_node *n)
{
    cg_loop_builder *b = cg__zalloc(sizeof *b);
    if (!b) {
        cg__fail(cg__lower_error(L), CG_ENOMEM, "cg_compile: no memory");
        return NULL;
    }
    b->L = L;
    b->node = n;
    b->p = cg__lower_plan(L);
    return b;
}

static int fail(cg_loop_builder *b, cg_status code, const char *why)
{
    if (!b->failed)
        b->failed = cg__fail(cg__lower_error(b->L), code, "cg_compile: %s: %s", cg__label(b->node), why);
    return b->failed;
}

int cg__loop_axis_of(cg_loop_builder *b, cg_num extent, bool inner)
{
    cg_loop *l = &b->loop;
    if (l->naxes == CG_AXES_MAX)
        return fail(b, CG_EUNSUPPORTED, "needs a loop of more than 8 axes"), 0;
    l->extent[l->naxes] = extent;
    l->nouter += !inner;
    return l->naxes++;
}

int cg__loop_axis(cg_loop_builder *b, cg_dim_t size, bool inner)
{
    return cg__loop_axis_of(b, cg__lower_dim(b->L, size), inner);
}

cg_coord cg__coord_zero(void)
{
    cg_coord c = { .off = CG_NUM_NONE };
    for (int l = 0; l < CG_AXES_MAX; l++)
        c.c[l] = CG_NUM_NONE;
    return c;
}

/* The coefficient 1 has no id yet outside a plan, so CG_COORD_ONE stands for it until a load resolves it. */
cg_coord cg__coord_axis(int axis)
{
    cg_coord c = cg__coord_zero();
    if (axis >= 0 && axis < CG_AXES_MAX)
        c.c[axis] = CG_COORD_ONE;
    return c;
}

cg_num cg__coord_num(cg_plan *p, cg_num id)
{
    return id == CG_NUM_NONE ? cg__num_const(p, 0) : id == CG_COORD_ONE ? cg__num_const(p, 1) : id;
}

/* ---- values */

static bool same_val(const cg_val *x, const cg_val *y)
{
    return x->kind == y->kind && x->dtype == y->dtype && x->op == y->op && x->operand == y->operand && x->a[0] == y->a[0] &&
           x->a[1] == y->a[1] && x->a[2] == y->a[2] && memcmp(&x->lit, &y->lit, sizeof x->lit) == 0 && x->ilit == y->ilit;
}

static int add_val(cg_loop_builder *b, cg_val v)
{
    if (b->failed)
        return b->failed;
    for (int i = 0; i < 3; i++)
        if (v.a[i] >= 0) {
            const cg_val *in = &b->vals.at[v.a[i]];
            const uint8_t stage = (uint8_t)(in->stage + (in->kind == CG_V_REDUCE));
            v.level = in->level > v.level ? in->level : v.level;
            v.stage = stage > v.stage ? stage : v.stage;
        }
    if (v.kind == CG_V_REDUCE)
        v.level = 1;
    for (int i = 0; i < b->vals.n; i++)
        if (v.kind != CG_V_STORE && same_val(&b->vals.at[i], &v))
            return i;
    if (b->vals.n == CG_LOOP_OPS * 4)
        return fail(b, CG_EUNSUPPORTED, "is too large for one loop");
    return CG_PUSH(&b->vals, v) ? b->vals.n - 1 : fail(b, CG_ENOMEM, "no memory");
}

#define VAL(...) ((cg_val){ .a = { -1, -1, -1 }, .operand = -1, __VA_ARGS__ })

int cg__loop_elem(cg_loop_builder *b, cg_elem op, cg_dtype d, int x, int y, int z)
{
    const int n = cg__elems[op].arity;
    if (x < 0 || (n > 1 && y < 0) || (n > 2 && z < 0))
        return fail(b, CG_EUNSUPPORTED, "an operand cannot be computed in a loop");
    cg_val v = VAL(.kind = CG_V_ELEM, .dtype = d, .op = (int)op);
    v.a[0] = x, v.a[1] = n > 1 ? y : -1, v.a[2] = n > 2 ? z : -1;
    return add_val(b, v);
}

int cg__loop_blame(cg_loop_builder *b, int v, const cg_node *n)
{
    if (v >= 0 && !b->vals.at[v].node)
        b->vals.at[v].node = n;
    return v;
}

int cg__loop_cast(cg_loop_builder *b, int a, cg_dtype d)
{
    if (a < 0 || b->vals.at[a].dtype == d)
        return a;
    cg_val v = VAL(.kind = CG_V_CAST, .dtype = d);
    v.a[0] = a;
    return add_val(b, v);
}

int cg__loop_literal(cg_loop_builder *b, cg_dtype d, double x)
{
    char held[8] = { 0 };
    cg__store_f64(held, d, x);
    return add_val(b, VAL(.kind = CG_V_LITERAL, .dtype = d, .lit = x, .ilit = cg__is_float(d) ? 0 : cg__load_i64(held, d)));
}

int cg__loop_number(cg_loop_builder *b, cg_num n)
{
    return n < 0 ? fail(b, CG_ENOMEM, "no memory") : add_val(b, VAL(.kind = CG_V_NUMBER, .dtype = CG_I64, .op = n));
}

cg_dtype cg__loop_dtype(const cg_loop_builder *b, int value)
{
    return value < 0 ? CG_F32 : b->vals.at[value].dtype;
}

int cg__loop_coord(cg_loop_builder *b, const cg_coord *c)
{
    int v = -1;
    if (c->off != CG_NUM_NONE && !cg__num_is(b->p, c->off, 0))
        v = cg__loop_number(b, c->off);
    for (int l = 0; l < b->loop.naxes; l++) {
        if (c->c[l] == CG_NUM_NONE)
            continue;
        const cg_num k = cg__coord_num(b->p, c->c[l]);
        int i = add_val(b, VAL(.kind = CG_V_INDEX, .dtype = CG_I64, .op = l, .level = l >= b->loop.nouter ? 2 : 1));
        if (!cg__num_is(b->p, k, 1))
            i = cg__loop_elem(b, CG_EL_mul, CG_I64, i, cg__loop_number(b, k), -1);
        v = v < 0 ? i : cg__loop_elem(b, CG_EL_add, CG_I64, v, i, -1);
    }
    return v < 0 ? cg__loop_number(b, cg__num_const(b->p, 0)) : v;
}

int cg__loop_reduce(cg_loop_builder *b, cg_red op, cg_dtype d, int a)
{
    if (a < 0)
        return fail(b, CG_EUNSUPPORTED, "an operand cannot be computed in a loop");
    /* A value that does not vary along the inner axes is still reduced over them: lift it by adding a zero that does. */
    if (b->vals.at[a].level < 2) {
        const cg_dtype t = b->vals.at[a].dtype;
        const int i = add_val(b, VAL(.kind = CG_V_INDEX, .dtype = CG_I64, .op = b->loop.nouter, .level = 2));
        const int always = cg__loop_elem(b, CG_EL_greater_equal, CG_BOOL, i, cg__loop_number(b, cg__num_const(b->p, 0)), -1);
        a = cg__loop_elem(b, CG_EL_where, t, always, a, a);
    }
    cg_val v = VAL(.kind = CG_V_REDUCE, .dtype = d, .op = (int)op);
    v.a[0] = a;
    return add_val(b, v);
}

/* ---- loads and stores */

/* Address over a dense array with the dims of n that begins at `base`: off and one stride an axis of the loop. */
static void address(cg_loop_builder *b, const cg_node *n, cg_num base, const cg_spot *at, cg_operand *o)
{
    cg_plan *p = b->p;
    cg_num dense = cg__num_const(p, 1), off = base;
    cg_num stride[CG_AXES_MAX];
    for (int l = 0; l < CG_AXES_MAX; l++)
        stride[l] = CG_NUM_NONE;
    for (int i = n->type.rank - 1; i >= 0; i--) {
        const cg_coord *c = &at->axis[i];
        off = cg__num(p, CG_N_ADD, off, cg__num(p, CG_N_MUL, cg__coord_num(p, c->off), dense, 0, 0), 0, 0);
        for (int l = 0; l < b->loop.naxes; l++)
            if (c->c[l] != CG_NUM_NONE) {
                const cg_num s = cg__num(p, CG_N_MUL, cg__coord_num(p, c->c[l]), dense, 0, 0);
                stride[l] = stride[l] == CG_NUM_NONE ? s : cg__num(p, CG_N_ADD, stride[l], s, 0, 0);
            }
        dense = cg__num(p, CG_N_MUL, dense, cg__lower_dim(b->L, n->type.dim[i]), 0, 0);
    }
    o->off = off;
    memcpy(o->stride, stride, sizeof stride);
}

static int add_operand(cg_loop_builder *b, cg_operand o)
{
    if (o.off < 0)
        return fail(b, CG_ENOMEM, "no memory");
    for (int i = 0; i < b->operands.n; i++) {
        const cg_operand *q = &b->operands.at[i];
        if (q->slot == o.slot && q->off == o.off && q->gather == o.gather && !q->nwindows && !o.nwindows &&
            memcmp(q->stride, o.stride, sizeof o.stride) == 0)
            return i;
    }
    return CG_PUSH(&b->operands, o) ? b->operands.n - 1 : fail(b, CG_ENOMEM, "no memory");
}

static int load(cg_loop_builder *b, cg_dtype d, cg_operand o, int level)
{
    const int k = add_operand(b, o);
    if (k < 0)
        return k;
    cg_val v = VAL(.kind = CG_V_LOAD, .dtype = d, .level = (uint8_t)level);
    v.operand = k;
    v.a[1] = o.gather;            /* so that level and stage follow the index; executors read operand.gather */
    const int id = add_val(b, v);
    return id;
}

int cg__loop_load(cg_loop_builder *b, const cg_node *n, const cg_spot *at, int gather, int gather_axis)
{
    cg_operand o = { .slot = cg__lower_slot(b->L, n), .gather = gather, .gather_stride = CG_NUM_NONE, .gather_limit = CG_NUM_NONE };
    if (o.slot < 0 || b->failed)
        return fail(b, CG_EUNSUPPORTED, "reads an array that is not placed");
    address(b, n, cg__lower_off(b->L, n), at, &o);
    if (gather >= 0) {
        cg_num s = cg__num_const(b->p, 1);
        for (int i = n->type.rank - 1; i > gather_axis; i--)
            s = cg__num(b->p, CG_N_MUL, s, cg__lower_dim(b->L, n->type.dim[i]), 0, 0);
        o.gather_stride = s;
        o.gather_limit = cg__lower_dim(b->L, n->type.dim[gather_axis]);
    }
    return load(b, n->type.dtype, o, cg__stride_level(b->p, &b->loop, o.stride));
}

/* Whether the coordinate runs over the axis exactly: then it needs no window. */
static bool covers(const cg_loop_builder *b, const cg_coord *c, cg_dim_t size)
{
    int axis = -1;
    for (int l = 0; l < b->loop.naxes; l++)
        if (c->c[l] != CG_NUM_NONE) {
            if (axis >= 0 || (c->c[l] != CG_COORD_ONE && !cg__num_is(b->p, c->c[l], 1)))
                return false;
            axis = l;
        }
    return axis >= 0 && b->loop.extent[axis] == cg__lower_dim(b->L, size);
}

int cg__loop_windowed(cg_loop_builder *b, const cg_node *n, const cg_spot *at, const cg_spot *where, double fill)
{
    cg_operand o = { .slot = cg__lower_slot(b->L, n), .gather = -1, .gather_stride = CG_NUM_NONE, .gather_limit = CG_NUM_NONE, .fill = fill };
    cg_plan *p = b->p;
    if (o.slot < 0 || b->failed)
        return fail(b, CG_EUNSUPPORTED, "reads an array that is not placed");
    address(b, n, cg__lower_off(b->L, n), at, &o);
    o.window = cg__arena(&p->arena, CG_WINDOWS_MAX * sizeof *o.window);
    if (!o.window)
        return fail(b, CG_ENOMEM, "no memory");
    int level = cg__stride_level(b->p, &b->loop, o.stride);
    for (int i = 0; i < n->type.rank; i++) {
        const cg_coord *c = &where->axis[i];
        if (cg__num_is(p, cg__coord_num(p, c->off), 0) && covers(b, c, n->type.dim[i]))
            continue;
        if (o.nwindows == CG_WINDOWS_MAX)
            return fail(b, CG_EUNSUPPORTED, "pads more than 4 axes");
        cg_window *w = &o.window[o.nwindows++];
        *w = (cg_window){ .lo = cg__num_const(p, 0), .hi = cg__lower_dim(b->L, n->type.dim[i]), .c0 = cg__coord_num(p, c->off) };
        for (int l = 0; l < CG_AXES_MAX; l++)
            w->c[l] = c->c[l] == CG_COORD_ONE ? cg__num_const(p, 1) : c->c[l];
        const int wl = cg__stride_level(b->p, &b->loop, w->c);
        level = wl > level ? wl : level;
    }
    return load(b, n->type.dtype, o, level);
}

int cg__loop_load_at(cg_loop_builder *b, const cg_node *n, int slot, cg_num off, const cg_spot *at)
{
    cg_operand o = { .slot = slot, .gather = -1, .gather_stride = CG_NUM_NONE, .gather_limit = CG_NUM_NONE };
    address(b, n, off, at, &o);
    return load(b, n->type.dtype, o, cg__stride_level(b->p, &b->loop, o.stride));
}

static int store(cg_loop_builder *b, cg_dtype d, cg_operand o, int value)
{
    const int k = add_operand(b, o);
    cg_val v = VAL(.kind = CG_V_STORE, .dtype = d, .level = (uint8_t)cg__stride_level(b->p, &b->loop, o.stride));
    v.operand = k;
    v.a[0] = value;
    return k < 0 ? k : add_val(b, v);
}

int cg__loop_store_at(cg_loop_builder *b, const cg_node *n, int slot, cg_num off, const cg_spot *at, int value)
{
    cg_operand o = { .slot = slot, .gather = -1, .gather_stride = CG_NUM_NONE, .gather_limit = CG_NUM_NONE };
    if (value < 0 || slot < 0 || b->failed)
        return fail(b, CG_EUNSUPPORTED, "cannot be computed in a loop");
    address(b, n, off, at, &o);
    return store(b, n->type.dtype, o, value);
}

/* ---- the same of a slot without a node, by element */

static cg_operand flat(const cg_loop_builder *b, int slot, const cg_coord *at)
{
    cg_operand o = { .slot = slot, .off = cg__coord_num(b->p, at->off), .gather = -1, .gather_stride = CG_NUM_NONE, .gather_limit = CG_NUM_NONE };
    for (int l = 0; l < CG_AXES_MAX; l++)
        o.stride[l] = at->c[l] == CG_COORD_ONE ? cg__num_const(b->p, 1) : at->c[l];
    return o;
}

int cg__loop_get(cg_loop_builder *b, cg_dtype d, int slot, const cg_coord *at, const cg_window *windows, int n)
{
    cg_operand o = flat(b, slot, at);
    int level = cg__stride_level(b->p, &b->loop, o.stride);
    o.nwindows = n;
    o.window = n ? cg__arena_copy(&b->p->arena, windows, (size_t)n * sizeof *windows) : NULL;
    if (n && !o.window)
        return fail(b, CG_ENOMEM, "no memory");
    for (int i = 0; i < n; i++) {
        const int wl = cg__stride_level(b->p, &b->loop, windows[i].c);
        level = wl > level ? wl : level;
    }
    return load(b, d, o, level);
}

int cg__loop_put(cg_loop_builder *b, cg_dtype d, int slot, const cg_coord *at, int value)
{
    cg_operand o = flat(b, slot, at);
    o.part = true;
    return value < 0 ? fail(b, CG_EUNSUPPORTED, "cannot be computed in a loop") : store(b, d, o, value);
}

int cg__loop_store(cg_loop_builder *b, const cg_node *n, const cg_spot *at, int value)
{
    return cg__loop_store_at(b, n, cg__lower_slot(b->L, n), cg__lower_off(b->L, n), at, value);
}

int cg__loop_store_part(cg_loop_builder *b, const cg_node *n, const cg_spot *at, int value)
{
    const int v = cg__loop_store(b, n, at, value);
    if (!b->failed && v >= 0)
        b->operands.at[b->vals.at[v].operand].part = true;
    return v;
}

/* ---- finishing */

/* Whether the axes l and l+1 walk every operand as one: stride[l] = stride[l+1] * extent[l+1]. */
static bool mergeable(const cg_loop_builder *b, int l)
{
    const cg_loop *p = &b->loop;
    if ((l < p->nouter) != (l + 1 < p->nouter))
        return false;
    for (int i = 0; i < b->vals.n; i++)
        if (b->vals.at[i].kind == CG_V_INDEX && (b->vals.at[i].op == l || b->vals.at[i].op == l + 1))
            return false;
    for (int i = 0; i < b->operands.n; i++) {
        const cg_operand *o = &b->operands.at[i];
        const cg_num s = o->stride[l], t = o->stride[l + 1];
        if (o->nwindows)
            return false;
        if (s == CG_NUM_NONE && t == CG_NUM_NONE)
            continue;
        if (s == CG_NUM_NONE || t == CG_NUM_NONE || s != cg__num(b->p, CG_N_MUL, t, p->extent[l + 1], 0, 0))
            return false;
    }
    return true;
}

static void drop_axis(cg_loop_builder *b, int l)
{
    cg_loop *p = &b->loop;
    const size_t tail = (size_t)(CG_AXES_MAX - 1 - l);
    p->nouter -= l < p->nouter;
    p->naxes--;
    memmove(&p->extent[l], &p->extent[l + 1], tail * sizeof p->extent[0]);
    for (int i = 0; i < b->operands.n; i++) {
        cg_operand *o = &b->operands.at[i];
        memmove(&o->stride[l], &o->stride[l + 1], tail * sizeof o->stride[0]);
        o->stride[CG_AXES_MAX - 1] = CG_NUM_NONE;
        for (int w = 0; w < o->nwindows; w++) {
            memmove(&o->window[w].c[l], &o->window[w].c[l + 1], tail * sizeof o->stride[0]);
            o->window[w].c[CG_AXES_MAX - 1] = CG_NUM_NONE;
        }
    }
    for (int i = 0; i < b->vals.n; i++)
        if (b->vals.at[i].kind == CG_V_INDEX && b->vals.at[i].op > l)
            b->vals.at[i].op--;
}

static bool index_used(const cg_loop_builder *b, int l)
{
    for (int i = 0; i < b->vals.n; i++)
        if (b->vals.at[i].kind == CG_V_INDEX && b->vals.at[i].op == l)
            return true;
    return false;
}

/* Unit axes go, neighbours that every operand walks as one become one; the first of a merged pair keeps the product. */
static void simplify_axes(cg_loop_builder *b)
{
    cg_loop *p = &b->loop;
    for (int l = p->naxes - 1; l >= 0; l--) {
        const bool only_inner = l >= p->nouter && p->naxes - p->nouter == 1;
        if (cg__num_is(b->p, p->extent[l], 1) && !index_used(b, l) && !only_inner)
            drop_axis(b, l);
    }
    for (int l = p->naxes - 2; l >= 0; l--)
        if (mergeable(b, l)) {
            p->extent[l + 1] = cg__num(b->p, CG_N_MUL, p->extent[l], p->extent[l + 1], 0, 0);
            drop_axis(b, l);
        }
}

/* Columns when what the inner space reads is contiguous along the last outer axis, and not along the last inner one. */
static bool wants_columns(const cg_loop_builder *b)
{
    const cg_loop *p = &b->loop;
    int rows = 0, columns = 0;
    if (p->nouter == 0 || p->naxes == p->nouter)
        return false;
    for (int i = 0; i < b->vals.n; i++) {
        const cg_val *v = &b->vals.at[i];
        if (v->kind != CG_V_LOAD || v->level < 2)
            continue;
        const cg_operand *o = &b->operands.at[v->operand];
        rows += cg__stride_class(b->p, o->stride[p->naxes - 1]) == 1;
        columns += cg__stride_class(b->p, o->stride[p->nouter - 1]) == 1;
    }
    return columns > rows;
}

static void free_builder(cg_loop_builder *b)
{
    CG_VEC_FREE(&b->vals);
    CG_VEC_FREE(&b->operands);
    cg__free(b);
}

int cg__loop_end(cg_loop_builder *b)
{
    cg_loop l;
    int rc = b->failed;
    if (rc == CG_OK) {
        simplify_axes(b);
        l = b->loop;
        l.columns = wants_columns(b);
        l.nvals = b->vals.n;
        l.noperands = b->operands.n;
        l.vals = cg__arena_copy(&b->p->arena, b->vals.at, (size_t)l.nvals * sizeof *l.vals);
        l.operands = cg__arena_copy(&b->p->arena, b->operands.at, (size_t)l.noperands * sizeof *l.operands);
        cg_step *s = l.vals && l.operands ? cg__lower_step(b->L, CG_STEP_LOOP, b->node) : NULL;
        if (s)
            s->loop = l;         /* its label is made once it is known what becomes part of it: fuse.c */
        else
            rc = cg__fail(cg__lower_error(b->L), CG_ENOMEM, "cg_compile: no memory");
    }
    free_builder(b);
    return rc;
}

/* A LOOP over all elements of n that stores them at slot + off; sum: adds them to what is there. */
static int map_to(cg_lower *L, const cg_node *n, int slot, cg_num off, bool sum, cg_element *element)
{
    cg_loop_builder *b = cg__loop_begin(L, n);
    cg_spot at = { 0 };
    if (!b)
        return CG_ENOMEM;
    for (int i = 0; i < n->type.rank; i++)
        at.axis[i] = cg__coord_axis(cg__loop_axis(b, n->type.dim[i], false));
    int v = element(b, n, &at);
    if (sum && v >= 0)
        v = cg__loop_elem(b, CG_EL_add, n->type.dtype, cg__loop_load_at(b, n, slot, off, &at), v, -1);
    cg__loop_store_at(b, n, slot, off, &at, v);
    return cg__loop_end(b);
}

int cg__lower_elements(cg_lower *L, const cg_node *n, cg_element *element)
{
    return map_to(L, n, cg__lower_slot(L, n), cg__lower_off(L, n), false, element);
}

int cg__lower_map(cg_lower *L, const cg_node *n)
{
    const int rc = cg__lower_out(L, n);
    return rc < 0 ? rc : cg__lower_elements(L, n, n->op->emit);
}

static int zero_element(cg_loop_builder *b, const cg_node *n, const cg_spot *at)
{
    (void)at;
    return cg__loop_literal(b, n->type.dtype, 0);
}

int cg__lower_zeros(cg_lower *L, const cg_node *n) { return cg__lower_elements(L, n, zero_element); }

int cg__lower_into(cg_lower *L, const cg_node *n, cg_target to)
{
    return map_to(L, n, to.slot, to.off, to.add, cg__emit);
}
