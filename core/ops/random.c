// SPDX-License-Identifier: MIT
/* Random numbers as pure nodes: element e of a draw is word e % 4 of Philox4x32-10 with key `seed` and counter (e / 4, draw and call).
 *
 * `draw` is the node's identity: the graph numbers each new one, so two draws of one shape never merge, and a copied graph draws the same.
 * Nothing is stored: a consumer that computes an element again gets the same bits. call is the operand, normally a host integer.
 *     (normal call :seed 42 :draw 1 :shape [3 5] :dtype f32)
 * What a loop draws in step t is row t of one draw over all its steps: `row`, a host integer, is how many draws of this shape stand before it. So a
 * step that a gradient computes again draws the same, and it costs no counter.
 */
#include "core/graph/scan.h"
#include "core/ops/ops.h"

enum { SEED, DRAW, SHAPE, DTYPE, ROW };
enum { CALL_BITS = 40 };                 /* of the counter's upper half; the rest is the draw's */

static int check_dtype(const cg_node *n, cg_dtype d, cg_error *err)
{
    const bool bits = cg__is(n, CG_OP_random_bits);
    if ((unsigned)d < CG_DTYPE_COUNT && (bits ? d == CG_U32 : cg__is_float(d)))
        return CG_OK;
    return cg__fail(err, CG_EDTYPE, "cg_%s: gives %s, not %s", n->op->name, bits ? "u32" : "floats", cg_dtype_name(d));
}

/* The operand that is the number of the row, or NULL. */
static cg_node *row_of(const cg_node *n)
{
    const cg_attr *a = &n->attr[ROW];
    return a->n == 1 && CG_IS_REF(a->at[0]) && CG_REF_OF(a->at[0]) < n->nin ? n->in[CG_REF_OF(a->at[0])] : NULL;
}

static int check_row(cg_node *n, cg_error *err)
{
    const cg_node *row = row_of(n);
    if (n->attr[ROW].n < 0 || (n->attr[ROW].n == 1 && n->attr[ROW].at[0] == 0))
        n->attr[ROW] = (cg_attr){ 0, NULL };
    else if (n->attr[ROW].n && (!row || row->type.rank || row->type.dtype != CG_I64))
        return cg__fail(err, CG_EDTYPE, "cg_%s: the row must be an i64 scalar", n->op->name);
    return CG_OK;
}

CG_DECLARE_INFER(cg__random_infer)
{
    cg_graph *g = n->graph;
    const int64_t seed = cg__attr_int(n, SEED, 0), dtype = cg__attr_int(n, DTYPE, cg__is(n, CG_OP_random_bits) ? CG_U32 : CG_F32);
    const int64_t draw = cg__attr_int(n, DRAW, g->draws + 1);
    cg_type t = { .dtype = (cg_dtype)dtype };
    if (n->in[0]->type.rank || n->in[0]->type.dtype != CG_I64)
        return cg__fail(err, CG_EDTYPE, "cg_%s: the call's number must be an i64 scalar, is %s", n->op->name, cg__label(n->in[0]));
    if (draw < 0 || draw >= 1 << (64 - CALL_BITS))
        return cg__fail(err, CG_EINVAL, "cg_%s: draw %lld: there are 2^%d a graph", n->op->name, (long long)draw, 64 - CALL_BITS);
    if (check_dtype(n, t.dtype, err) < 0 || cg__shape_from(n, SHAPE, 1, &t, err) < 0 || check_row(n, err) < 0)
        return err->code;
    for (int i = 0; i < t.rank; i++)
        if (!t.dim[i].sym && t.dim[i].n < 0)
            return cg__fail(err, CG_ESHAPE, "cg_%s: size %lld on axis %d", n->op->name, (long long)t.dim[i].n, i);
    n->type = t;
    g->draws = draw > g->draws ? draw : g->draws;
    const int64_t set[] = { [SEED] = seed, [DRAW] = draw, [DTYPE] = dtype };
    for (int k = 0; k < CG_LEN(set); k++)
        if (k != SHAPE && cg__set_ints(n, k, &set[k], 1) < 0)
            return cg__fail(err, CG_ENOMEM, "cg_%s: no memory", n->op->name);
    return CG_OK;
}

/* ---- elements */

/* The row-major number of the element among all rows, as one coordinate. */
static int element_number(cg_loop_builder *b, const cg_node *n, const cg_spot *at)
{
    cg_lower *L = cg__loop_lower(b);
    cg_plan *p = cg__lower_plan(L);
    cg_coord sum = cg__coord_zero();
    cg_num dense = cg__num_const(p, 1);
    for (int i = n->type.rank - 1; i >= 0; i--) {
        const cg_coord *c = &at->axis[i];
        sum.off = cg__num(p, CG_N_ADD, cg__coord_num(p, sum.off), cg__num(p, CG_N_MUL, cg__coord_num(p, c->off), dense, 0, 0), 0, 0);
        for (int l = 0; l < CG_AXES_MAX; l++)
            if (c->c[l] != CG_NUM_NONE) {
                const cg_num s = cg__num(p, CG_N_MUL, cg__coord_num(p, c->c[l]), dense, 0, 0);
                sum.c[l] = sum.c[l] == CG_NUM_NONE ? s : cg__num(p, CG_N_ADD, sum.c[l], s, 0, 0);
            }
        dense = cg__num(p, CG_N_MUL, dense, cg__lower_dim(L, n->type.dim[i]), 0, 0);
    }
    if (row_of(n))
        sum.off = cg__num(p, CG_N_ADD, cg__coord_num(p, sum.off), cg__num(p, CG_N_MUL, cg__lower_num(L, row_of(n)), dense, 0, 0), 0, 0);
    return cg__loop_coord(b, &sum);
}

static int integer(cg_loop_builder *b, int64_t v)
{
    return cg__loop_number(b, cg__num_const(cg__lower_plan(cg__loop_lower(b)), v));
}

static int u64_op(cg_loop_builder *b, cg_elem op, int x, int64_t y)
{
    return cg__loop_elem(b, op, CG_U64, x, cg__loop_cast(b, integer(b, y), CG_U64), -1);
}

/* 32 bits as u64, of number e (i64) of the draw */
static int word(cg_loop_builder *b, const cg_node *n, int e)
{
    const cg_spot nowhere = { 0 };
    const int call = cg__emit(b, n->in[0], &nowhere), draw = integer(b, (int64_t)((uint64_t)n->attr[DRAW].at[0] << CALL_BITS));
    const int high = call < 0 ? call : cg__loop_elem(b, CG_EL_add, CG_I64, call, draw, -1), key = integer(b, n->attr[SEED].at[0]);
    return cg__loop_elem(b, CG_EL_philox, CG_U64, cg__loop_cast(b, e, CG_U64), cg__loop_cast(b, high, CG_U64), cg__loop_cast(b, key, CG_U64));
}

/* The `count` highest of an element's bits as u64: of one word, for f64 of two. */
static int high_bits(cg_loop_builder *b, const cg_node *n, const cg_spot *at, int count)
{
    const int e = element_number(b, n, at);
    if (n->type.dtype != CG_F64)
        return u64_op(b, CG_EL_right_shift, word(b, n, e), 32 - count);
    const int first = cg__loop_elem(b, CG_EL_mul, CG_I64, e, integer(b, 2), -1), second = cg__loop_elem(b, CG_EL_add, CG_I64, first, integer(b, 1), -1);
    const int both = cg__loop_elem(b, CG_EL_bitwise_or, CG_U64, u64_op(b, CG_EL_left_shift, word(b, n, first), 32), word(b, n, second), -1);
    return u64_op(b, CG_EL_right_shift, both, 64 - count);
}

/* Bits as a float; through a signed integer of the width, which processors convert best. */
static int as_float(cg_loop_builder *b, int bits, cg_dtype d)
{
    return cg__loop_cast(b, cg__loop_cast(b, bits, d == CG_F64 ? CG_I64 : CG_I32), d);
}

static int times(cg_loop_builder *b, cg_dtype d, int v, double factor)
{
    return cg__loop_elem(b, CG_EL_mul, d, v, cg__loop_literal(b, d, factor), -1);
}

CG_DECLARE_EMIT(cg__bits_emit)
{
    return cg__loop_cast(b, word(b, n, element_number(b, n, at)), CG_U32);
}

/* As many bits as the significand has, so every value is exact and none rounds to 1. */
CG_DECLARE_EMIT(cg__uniform_emit)
{
    static const int digits[CG_DTYPE_COUNT] = { [CG_F16] = 11, [CG_BF16] = 8, [CG_F32] = 24, [CG_F64] = 53 };
    const cg_dtype compute = n->type.dtype == CG_F64 ? CG_F64 : CG_F32;
    const int count = digits[n->type.dtype];
    const double unit = 1 / (double)((int64_t)1 << count);
    return cg__loop_cast(b, times(b, compute, as_float(b, high_bits(b, n, at, count), compute), unit), n->type.dtype);
}

/* |z| = sqrt(2) erfcinv(u) for u in (0, 1], whose small values are as exact as floats are, so the tails are right; one bit is the sign. */
CG_DECLARE_EMIT(cg__normal_emit)
{
    const cg_dtype d = n->type.dtype == CG_F64 ? CG_F64 : CG_F32;
    const int count = d == CG_F64 ? 53 : 32;
    const int bits = high_bits(b, n, at, count), sign = u64_op(b, CG_EL_bitwise_and, bits, 1);
    const int k = as_float(b, u64_op(b, CG_EL_right_shift, bits, 1), d), middle = cg__loop_elem(b, CG_EL_add, d, k, cg__loop_literal(b, d, 0.5), -1);
    const int u = times(b, d, middle, 1 / (double)((int64_t)1 << (count - 1)));
    const int z = times(b, d, cg__loop_elem(b, CG_EL_erfcinv, d, u, -1, -1), 1.4142135623730950488);
    const int minus = cg__loop_elem(b, CG_EL_neg, d, z, -1, -1), positive = cg__loop_elem(b, CG_EL_equal, CG_BOOL, sign, cg__loop_literal(b, CG_U64, 0), -1);
    return cg__loop_cast(b, cg__loop_elem(b, CG_EL_where, d, positive, z, minus), n->type.dtype);
}

/* ---- the public builders */

static cg_node *draw(const cg_random *r, cg_op_id op, cg_dtype d, cg_node *const *dims, int rank)
{
    cg_graph *g = cg_node_graph(r->call);
    cg_node *in[2 + CG_MAX_RANK] = { r->call };
    int64_t shape[CG_MAX_RANK];
    const int64_t dtype = d;
    int nin = 1;
    if (!g)
        return NULL;
    if (rank < 0 || rank > CG_MAX_RANK)
        return cg__graph_fail(g, CG_ESHAPE, "cg_%s: rank %d", cg__ops[op].name, rank);
    for (int i = 0; i < rank; i++) {
        if (!dims[i])
            return NULL;
        const cg_dim_t size = cg__dim_from(dims[i]);
        shape[i] = size.sym ? CG_REF(nin) : size.n;
        if (size.sym)
            in[nin++] = dims[i];
    }
    const int64_t row = CG_REF(nin);
    const bool loop = g->scan != NULL;
    if (loop && !(in[nin++] = cg__scan_row(g->scan)))
        return NULL;
    return cg__build(g, op, in, nin, (cg_attr[]){ [SEED] = { 1, &r->seed }, [DRAW] = { -1, NULL }, [SHAPE] = { rank, shape }, [DTYPE] = { 1, &dtype },
                                                  [ROW] = { loop ? 1 : -1, &row } });
}

CG_API cg_node *cg_random_bits(const cg_random *r, cg_node *const *dims, int rank)
{
    CG_BUILDER(cg_node_graph(r->call));
    return draw(r, CG_OP_random_bits, CG_U32, dims, rank);
}

CG_API cg_node *cg_uniform(const cg_random *r, cg_dtype d, cg_node *const *dims, int rank)
{
    CG_BUILDER(cg_node_graph(r->call));
    return draw(r, CG_OP_uniform, d, dims, rank);
}

CG_API cg_node *cg_normal(const cg_random *r, cg_dtype d, cg_node *const *dims, int rank)
{
    CG_BUILDER(cg_node_graph(r->call));
    return draw(r, CG_OP_normal, d, dims, rank);
}

static bool is_probability(cg_graph *g, const char *who, double p)
{
    if (p >= 0 && p <= 1)
        return true;
    cg__graph_fail(g, CG_EINVAL, "%s: %g is no probability", who, p);
    return false;
}

CG_API cg_node *cg_bernoulli(const cg_random *r, double p, cg_node *const *dims, int rank)
{
    CG_BUILDER(cg_node_graph(r->call));
    cg_graph *g = cg_node_graph(r->call);
    return g && is_probability(g, "cg_bernoulli", p) ? cg_less(cg_uniform(r, CG_F32, dims, rank), cg_weak(g, p)) : NULL;
}

/* low + bits (high - low) / 2^32: no value is likelier than another by more than span / 2^32. */
CG_API cg_node *cg_randint(const cg_random *r, int64_t low, int64_t high, cg_node *const *dims, int rank)
{
    CG_BUILDER(cg_node_graph(r->call));
    cg_graph *g = cg_node_graph(r->call);
    const uint64_t span = (uint64_t)high - (uint64_t)low;
    if (g && (low >= high || span > (uint64_t)1 << 32))
        return cg__graph_fail(g, CG_EINVAL, "cg_randint: from %lld to below %lld are not 1 to 2^32 values", (long long)low, (long long)high);
    cg_node *bits = cg_cast(cg_random_bits(r, dims, rank), CG_U64);
    cg_node *k = bits ? cg_right_shift(cg_mul(bits, cg_scalar(g, CG_U64, (double)span)), cg_scalar(g, CG_U64, 32)) : NULL;
    return k ? cg_add(cg_cast(k, CG_I64), cg__const_i64(g, low)) : NULL;
}

CG_API cg_node *cg_dropout(const cg_random *r, cg_node *a, double p)
{
    CG_BUILDER(cg_node_graph(r->call));
    cg_graph *g = cg_node_graph(r->call);
    cg_node *dims[CG_MAX_RANK];
    if (!g || !a || !is_probability(g, "cg_dropout", p) || p == 0)
        return g && a && p == 0 ? a : NULL;
    for (int i = 0; i < a->type.rank; i++)
        dims[i] = cg__dim_node(g, a->type.dim[i]);
    cg_node *kept = cg_bernoulli(r, 1 - p, dims, a->type.rank);
    return cg_where(kept, cg_scale(a, p < 1 ? 1 / (1 - p) : 0), cg_weak(g, 0));
}
