// SPDX-License-Identifier: MIT
/* Parts of arrays: what lies side by side in zeros and is added up is put together instead (the gradients of slices, as those of a split, are
 * such sums), and a slice of what is computed element by element is computed for that part alone. */
#include "core/graph/build.h"
#include "core/rewrite/rewrite.h"

/* ---- sums of parts in zeros */

enum { START, SHAPE, STEP };             /* attributes of unslice */
typedef struct part { cg_node *x; int64_t from, count; } part;
typedef struct parts { part at[CG_CHAIN_MAX]; int n; } parts;

/* The one axis that n, an unslice of step 1, leaves open, where start and count are known; else -1. */
static int open_axis(const cg_node *n)
{
    int open = -1;
    for (int i = 0; i < n->type.rank; i++) {
        const int64_t start = n->attr[START].at[i];
        const cg_dim_t count = n->in[0]->type.dim[i];
        if (n->attr[STEP].at[i] != 1 || CG_IS_REF(start))
            return -1;
        if (start == 0 && cg__dim_same(count, n->type.dim[i]))
            continue;
        if (open >= 0 || count.sym || n->type.dim[i].sym || start < 0 || start + count.n > n->type.dim[i].n)
            return -1;
        open = i;
    }
    return open;
}

static bool is_part(const cg_node *term, const cg_node *sum, int axis)
{
    return cg__is(term, CG_OP_unslice) && cg__type_same(&term->type, &sum->type) && open_axis(term) == axis;
}

static void insert(parts *p, cg_node *term, int axis)
{
    const part x = { term->in[0], term->attr[START].at[axis], term->in[0]->type.dim[axis].n };
    int k = p->n++;
    for (; k > 0 && p->at[k - 1].from > x.from; k--)
        p->at[k] = p->at[k - 1];
    p->at[k] = x;
}

/* How many parts from k on lie one behind the other. */
static int run_at(const parts *p, int k)
{
    int n = 1;
    while (k + n < p->n && p->at[k + n - 1].from + p->at[k + n - 1].count == p->at[k + n].from)
        n++;
    return n;
}

/* The sums of few parts were put together before that of all: what is together already is taken apart. */
static cg_node *put_together(const part *p, int count, int axis)
{
    cg_node *list[2 * CG_CHAIN_MAX];
    int n = 0;
    for (int i = 0; i < count; i++) {
        cg_node *x = p[i].x;
        const bool open = cg__is(x, CG_OP_concatenate) && x->attr[0].at[0] == axis && n + x->nin + count - i <= CG_LEN(list);
        for (int j = 0; open && j < x->nin; j++)
            list[n++] = x->in[j];
        if (!open)
            list[n++] = x;
    }
    return cg_concatenate(list, n, axis);
}

/* `count` parts from k on as one array of the sum's type. */
static cg_node *together(const parts *p, int k, int count, const cg_node *like, int axis)
{
    cg_node *x = count > 1 ? put_together(&p->at[k], count, axis) : p->at[k].x;
    cg_dim_t start[CG_MAX_RANK] = { { 0 } };
    int64_t step[CG_MAX_RANK];
    if (!x || cg__dim_same(x->type.dim[axis], like->type.dim[axis]))
        return x;
    start[axis].n = p->at[k].from;
    for (int i = 0; i < like->type.rank; i++)
        step[i] = 1;
    return cg__unslice(x, start, like->type.dim, step);
}

static cg_node *plus(cg_node *sum, cg_node *x) { return sum ? cg_add(sum, x) : x; }

CG_RULE_BUILDER(cg__join_parts)
{
    cg_node *term[CG_CHAIN_MAX], *sum = NULL;
    const int count = cg__chain(n, b->uses, term);
    parts p = { .n = 0 };
    int axis = -1, joined = 0;
    for (int i = 0; i < count && axis < 0; i++)
        axis = cg__is(term[i], CG_OP_unslice) && cg__type_same(&term[i]->type, &n->type) ? open_axis(term[i]) : -1;
    for (int i = 0; i < count && axis >= 0; i++)
        if (is_part(term[i], n, axis))
            insert(&p, term[i], axis);
    for (int k = 0; k < p.n; k += run_at(&p, k))
        joined += run_at(&p, k) - 1;
    if (!joined)
        return NULL;
    for (int i = 0; i < count; i++)
        sum = is_part(term[i], n, axis) ? sum : plus(sum, term[i]);
    for (int k = 0; k < p.n; k += run_at(&p, k))
        sum = plus(sum, together(&p, k, run_at(&p, k), n, axis));
    return sum;
}

/* ---- slices of what is computed element by element */

/* The slice of x that n is of an array that x broadcasts to. */
static cg_node *slice_alike(const cg_node *n, cg_node *x)
{
    cg_node *in[1 + 2 * CG_MAX_RANK] = { x };
    int64_t at[3][CG_MAX_RANK];
    const int r = x->type.rank, skip = n->type.rank - r;
    int nin = 1;
    for (int i = 0; i < r; i++) {
        const bool whole = !cg__dim_same(x->type.dim[i], n->in[0]->type.dim[skip + i]);
        if (whole && !cg__dim_is(x->type.dim[i], 1))
            return NULL;
        for (int k = 0; k < 3; k++) {
            at[k][i] = whole || n->attr[k].n <= skip + i ? CG_NONE : n->attr[k].at[skip + i];
            if (k < 2 && at[k][i] != CG_NONE && CG_IS_REF(at[k][i])) {
                in[nin] = n->in[CG_REF_OF(at[k][i])];
                at[k][i] = CG_REF(nin++);
            }
        }
        at[2][i] = at[2][i] == CG_NONE ? 1 : at[2][i];
    }
    return r ? cg__build(n->graph, CG_OP_slice, in, nin, (cg_attr[]){ { r, at[0] }, { r, at[1] }, { r, at[2] } }) : x;
}

/* Where slices alone read it, none of its elements twice, and the part joins what reads the slice, or is less than was computed before. */
CG_RULE_BUILDER(cg__slice_of_map)
{
    cg_node *x = n->in[0], *in[3];
    const double share = cg__share_of(b->uses, x);
    if (!(x->op->props & CG_ELEMWISE) || x->nin > CG_LEN(in) || share > (cg__is_fused(b->uses, n) ? 1 : 0.5))
        return NULL;
    for (int k = 0; k < x->nin; k++)
        if (!(in[k] = slice_alike(n, x->in[k])))
            return NULL;
    return cg__build(n->graph, cg__op_id(x), in, x->nin, x->attr);
}
