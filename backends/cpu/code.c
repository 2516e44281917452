// SPDX-License-Identifier: MIT
/* What is known of a LOOP before its sizes: which function computes a value, in which order, and which register each has.
 *
 * Values that are computed once a block share registers: one is free again behind the last use of its value, so a long chain stays in L1.
 * Values of levels 0 and 1 of a staged loop, and reductions, keep theirs.
 */
#include "backends/cpu/cpu.h"

typedef struct maker {
    cg_arena *arena;
    const cg_plan *p;
    const cg_loop *l;
    cg_cpu_code *c;
    int last[CG_VALS_MAX];               /* position of the last use in the list that is being made */
    short free[CG_VALS_MAX]; int nfree;
    bool failed;
} maker;

static void *room(maker *m, size_t bytes)
{
    void *at = cg__arena(m->arena, bytes);
    m->failed |= !at;
    return at;
}

/* ---- one column of a row */

/* The value that v compares with the place along the only inner axis (as one_hot does), if there is one a row; else -1. */
static int row_place(const maker *m, int v)
{
    const cg_loop *l = m->l;
    const cg_val *x = &l->vals[v];
    if (x->kind != CG_V_ELEM || x->op != CG_EL_equal || x->level != 2 || l->columns || l->naxes != l->nouter + 1)
        return -1;
    for (int k = 0; k < 2; k++) {
        const cg_val *place = &l->vals[x->a[k]], *row = &l->vals[x->a[1 - k]];
        if (place->kind == CG_V_INDEX && place->op == l->nouter && row->level < 2)
            return x->a[1 - k];
    }
    return -1;
}

static void find_hot(maker *m)
{
    for (int v = 0; v < m->l->nvals; v++) {
        m->c->hot[v] = (short)row_place(m, v);
        m->c->hidden[v] = m->l->vals[v].kind == CG_V_INDEX && m->l->vals[v].level == 2;
    }
    for (int v = 0; v < m->l->nvals; v++)
        for (int k = 0; k < 3 && m->c->hot[v] < 0; k++)
            if (m->l->vals[v].a[k] >= 0)
                m->c->hidden[m->l->vals[v].a[k]] = false;
    for (int k = 0; k < m->l->noperands; k++)
        if (m->l->operands[k].gather >= 0)
            m->c->hidden[m->l->operands[k].gather] = false;
}

/* ---- lists */

static bool is_whole(const maker *m, int v)
{
    return m->l->vals[v].level > 0 || m->l->vals[v].kind == CG_V_STORE;
}

static cg_cpu_list list_of(maker *m, const bool *in)
{
    cg_cpu_list list = { room(m, (size_t)m->l->nvals * sizeof(short)), 0 };
    for (int v = 0; v < m->l->nvals && list.at; v++)
        if (in[v])
            list.at[list.n++] = (short)v;
    return list;
}

/* ---- registers */

static short take(maker *m)
{
    return m->nfree ? m->free[--m->nfree] : (short)m->c->nregs++;
}

static void note_uses(maker *m, const cg_cpu_list *list)
{
    for (int i = 0; i < list->n; i++)
        for (int k = 0; k < 3; k++)
            if (m->c->in[list->at[i]][k] >= 0)
                m->last[m->c->in[list->at[i]][k]] = i;
}

/* Registers for the values of a list that `ours` names, each given back behind its last use; an operation never writes over its operands. */
static void assign(maker *m, const cg_cpu_list *list, const bool *ours, short *reg)
{
    m->nfree = 0;
    note_uses(m, list);
    for (int i = 0; i < list->n; i++) {
        const int v = list->at[i];
        const short *in = m->c->in[v];
        if (ours[v] && m->l->vals[v].kind != CG_V_STORE)
            reg[v] = take(m);
        for (int k = 0; k < 3; k++) {
            const bool again = (k > 0 && in[k] == in[0]) || (k > 1 && in[k] == in[1]);
            if (in[k] >= 0 && !again && ours[in[k]] && m->last[in[k]] == i && m->nfree < CG_VALS_MAX)
                m->free[m->nfree++] = reg[in[k]];
        }
    }
    m->nfree = 0;
}

static void assign_own(maker *m, const bool *in)
{
    for (int v = 0; v < m->l->nvals; v++)
        if (in[v] && m->l->vals[v].kind != CG_V_STORE)
            m->c->reg[v] = (short)m->c->nregs++;
}

/* Row values that work inside the row reads, unless columns are the vector: then row values are vectors already. */
static void assign_spreads(maker *m)
{
    for (int v = 0; v < m->l->nvals; v++)
        m->c->spread[v] = -1;
    for (int v = 0; v < m->l->nvals && m->c->has_inner && !m->c->columns; v++)
        for (int k = 0; k < 3; k++) {
            const int a = m->l->vals[v].a[k];
            const bool inside = (m->l->vals[v].level == 2 && m->c->hot[v] < 0) || m->l->vals[v].kind == CG_V_REDUCE;
            if (a >= 0 && inside && m->l->vals[a].level == 1 && m->c->spread[a] < 0)
                m->c->spread[a] = (short)m->c->nregs++;
        }
}

/* ---- facts */

static bool along_last(const maker *m, const cg_num *c)
{
    return m->l->nouter > 0 && cg__stride_class(m->p, c[m->l->nouter - 1]) != 0;
}

static bool varies(const maker *m, int v)
{
    const cg_val *x = &m->l->vals[v];
    bool yes = x->kind == CG_V_INDEX && x->op == m->l->nouter - 1;
    if (x->kind == CG_V_LOAD) {
        const cg_operand *o = &m->l->operands[x->operand];
        yes = along_last(m, o->stride);
        for (int w = 0; w < o->nwindows; w++)
            yes |= along_last(m, o->window[w].c);
    }
    for (int k = 0; k < 3; k++)
        yes |= x->a[k] >= 0 && !m->c->steady[x->a[k]];
    return yes;
}

static int block_width(const maker *m)
{
    size_t widest = 4;
    for (int v = 0; v < m->l->nvals; v++) {
        const bool counts = !m->c->hidden[v] && (!m->c->has_inner || m->c->columns || m->l->vals[v].level == 2);
        const size_t w = m->l->vals[v].kind == CG_V_NUMBER ? 8 : cg__cpu_width(m->l->vals[v].dtype);
        widest = counts && w > widest ? w : widest;
    }
    return (int)((m->c->has_inner && !m->c->columns ? CG_REG_BYTES : CG_REG_BYTES / 2) / widest);
}

/* Whether the values before v are all that read this load. */
static bool read_before(const maker *m, int load, int v)
{
    const cg_loop *l = m->l;
    bool yes = true;
    for (int k = v; k < l->nvals; k++)
        for (int i = 0; i < 3; i++)
            yes &= m->c->in[k][i] != load;
    for (int k = 0; k < l->noperands; k++)
        yes &= l->operands[k].gather != load;
    return yes;
}

/* Whether the value that a store stores may be computed where it goes: what the loop reads of that array, it has read at that place by then. */
static bool is_free(const maker *m, const cg_val *store)
{
    const cg_loop *l = m->l;
    bool yes = true;
    for (int v = 0; v < l->nvals && yes; v++)
        if (l->vals[v].kind == CG_V_LOAD && l->operands[l->vals[v].operand].slot == l->operands[store->operand].slot)
            yes = l->naxes == l->nouter && l->vals[v].operand == store->operand && read_before(m, v, store->a[0]);
    return yes;
}

/* The results of operations that are stored as they are. */
static void find_direct(maker *m)
{
    const cg_loop *l = m->l;
    for (int v = 0; v < l->nvals; v++)
        m->c->direct[v] = -1;
    for (int v = 0; v < l->nvals; v++) {
        const cg_val *x = &l->vals[v], *from = x->kind == CG_V_STORE ? &l->vals[x->a[0]] : NULL;
        if (from && from->kind == CG_V_ELEM && from->level > 0 && from->level == x->level && from->dtype == x->dtype &&
            cg__dtypes[x->dtype].compute == x->dtype && is_free(m, x))
            m->c->direct[x->a[0]] = (short)v;
    }
}

/* What eval would else find out for every block. */
static cg_vec_fn *plain_function(const maker *m, const cg_vec *vec, int v)
{
    const cg_val *x = &m->l->vals[v];
    if (x->kind != CG_V_ELEM || m->c->divides[v] || (x->dtype != CG_BOOL && cg__dtypes[x->dtype].compute != x->dtype))
        return NULL;
    const cg_dtype of = m->l->vals[x->a[cg__elems[x->op].res == CG_RES_BC ? 1 : 0]].dtype;
    return vec->elem[x->op][cg__dtypes[of].compute];
}

/* ---- pairs: two cheap operations in one pass */

/* How many values, gathers and reductions among them, read v. */
static int readers(const cg_loop *l, int v)
{
    int n = 0;
    for (int k = 0; k < l->nvals; k++)
        for (int i = 0; i < 3; i++)
            n += l->vals[k].a[i] == v;
    for (int k = 0; k < l->noperands; k++)
        n += l->operands[k].gather == v;
    return n;
}

static const cg_vec_pair *pair_of(const cg_vec *vec, int inner, int outer, int side)
{
    const cg_vec_pair *p = vec->pairs;
    while (p->f32 && !((int)p->inner == inner && (int)p->outer == outer && p->side == side))
        p++;
    return p->f32 ? p : NULL;
}

/* Takes the operation that makes operand `side` of v, and that only v reads, into v's own. */
static bool join_pair(maker *m, const cg_vec *vec, int v, int side)
{
    const cg_val *x = &m->l->vals[v], *y = &m->l->vals[x->a[side]];
    const bool fits = y->kind == CG_V_ELEM && y->dtype == x->dtype && y->level == x->level && (y->level == 2 || y->stage == x->stage) &&
                      m->c->plain[x->a[side]] && m->c->in[x->a[side]][2] < 0 && readers(m->l, x->a[side]) == 1;
    const cg_vec_pair *p = fits ? pair_of(vec, y->op, x->op, side) : NULL;
    if (!p)
        return false;
    const int other = x->a[1 - side] >= 0 ? x->a[1 - side] : y->a[0];
    short *in = m->c->in[v];
    in[0] = (short)y->a[0];
    in[1] = (short)(y->a[1] >= 0 ? y->a[1] : y->a[0]);
    in[2] = (short)other;
    m->c->plain[v] = x->dtype == CG_F32 ? p->f32 : p->f64;
    m->c->hidden[x->a[side]] = true;
    return true;
}

/* Of two that could be taken in, the later one: its result would wait for less time. */
static void find_pairs(maker *m, const cg_vec *vec)
{
    for (int v = 0; v < m->l->nvals; v++) {
        const cg_val *x = &m->l->vals[v];
        if (x->kind != CG_V_ELEM || !m->c->plain[v] || x->level == 0 || (x->dtype != CG_F32 && x->dtype != CG_F64))
            continue;
        const int later = x->a[1] > x->a[0];
        if (!join_pair(m, vec, v, later) && x->a[1] >= 0 && x->a[1] != x->a[0])
            join_pair(m, vec, v, 1 - later);
    }
}

/* ---- the two ways to run */

static void make_whole(maker *m)
{
    bool in[CG_VALS_MAX], ours[CG_VALS_MAX];
    for (int v = 0; v < m->l->nvals; v++) {
        in[v] = is_whole(m, v) && !m->c->hidden[v];
        ours[v] = in[v] && (!m->c->has_inner || m->l->vals[v].level == 2);
    }
    m->c->whole = list_of(m, in);
    if (!m->failed)
        assign(m, &m->c->whole, ours, m->c->reg);
}

static void make_stage(maker *m, int s)
{
    cg_cpu_stage *stage = &m->c->stage[s];
    bool need[CG_VALS_MAX] = { false }, points[CG_VALS_MAX], inner[CG_VALS_MAX], reduces[CG_VALS_MAX];
    cg__loop_stage_needs(m->l, s, need);
    for (int v = 0; v < m->l->nvals; v++) {
        const cg_val *x = &m->l->vals[v];
        points[v] = x->level < 2 && x->kind != CG_V_REDUCE && x->stage == s && is_whole(m, v);
        inner[v] = need[v] && x->level == 2 && !m->c->hidden[v];
        reduces[v] = need[v] && x->kind == CG_V_REDUCE;
        need[v] = inner[v] || reduces[v];
    }
    stage->points = list_of(m, points);
    stage->inner = list_of(m, need);
    stage->reduces = list_of(m, reduces);
    stage->reg = room(m, (size_t)m->l->nvals * sizeof(short));
    if (!m->failed)
        assign(m, &stage->inner, inner, stage->reg);
}

const cg_cpu_code *cg__cpu_code(cg_arena *a, const cg_vec *vec, const cg_plan *p, const cg_loop *l, cg_error *err)
{
    cg_cpu_code *c = cg__arena(a, sizeof *c);
    maker m = { .arena = a, .p = p, .l = l, .c = c, .failed = !c || l->nvals > CG_VALS_MAX };
    bool once[CG_VALS_MAX] = { false }, own[CG_VALS_MAX] = { false };
    if (!m.failed) {
        c->columns = l->columns;
        c->has_inner = l->naxes > l->nouter;
        c->nvals = l->nvals;
        c->nstages = cg__loop_last_stage(l) + 1;
        c->reg = room(&m, (size_t)l->nvals * sizeof *c->reg);
        c->spread = room(&m, (size_t)l->nvals * sizeof *c->spread);
        c->direct = room(&m, (size_t)l->nvals * sizeof *c->direct);
        c->steady = room(&m, (size_t)l->nvals * sizeof *c->steady);
        c->divides = room(&m, (size_t)l->nvals * sizeof *c->divides);
        c->hot = room(&m, (size_t)l->nvals * sizeof *c->hot);
        c->hidden = room(&m, (size_t)l->nvals * sizeof *c->hidden);
        c->in = room(&m, (size_t)l->nvals * sizeof *c->in);
        c->plain = room(&m, (size_t)l->nvals * sizeof *c->plain);
        c->stage = room(&m, (size_t)c->nstages * sizeof *c->stage);
    }
    if (!m.failed)
        find_hot(&m);
    for (int v = 0; v < l->nvals && !m.failed; v++) {
        c->steady[v] = !varies(&m, v);
        c->divides[v] = cg__loop_divides(p, l, v);
        c->plain[v] = plain_function(&m, vec, v);
        for (int k = 0; k < 3; k++)
            c->in[v][k] = (short)l->vals[v].a[k];
        once[v] = !is_whole(&m, v);
        own[v] = once[v] || (c->has_inner && l->vals[v].level == 1);
    }
    if (!m.failed) {
        find_pairs(&m, vec);
        c->width = block_width(&m);
        c->once = list_of(&m, once);
        assign_own(&m, own);
        assign_spreads(&m);
        find_direct(&m);
        make_whole(&m);
        for (int s = 0; s < c->nstages && c->has_inner; s++)
            make_stage(&m, s);
    }
    if (!m.failed)
        return c;
    cg__fail(err, CG_ENOMEM, "cpu: no memory for a loop");
    return NULL;
}
