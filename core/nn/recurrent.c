// SPDX-License-Identifier: MIT
/* Recurrent layers by ONNX's formulas (operators RNN, GRU and LSTM), each direction one loop over the steps.
 *
 * What does not depend on the state is done for all steps at once, before the loop: x W and the biases. Within it stand the product with R and
 * the cell's row of `cells`. A sequence that has ended keeps its state, and its rows of y are zeros; walked in reverse it therefore begins at its
 * own last row. What stands behind the end of a sequence is replaced by zeros before anything is multiplied by it, so it may be NaN.
 */
#include "core/nn/nn.h"

enum { MAX_GATES = 4, MAX_ACTIVATIONS = 3, MAX_DIRECTIONS = 2 };

/* ---- activations */

static cg_node *number(cg_node *like, double v) { return like ? cg_weak(cg_node_graph(like), v) : NULL; }

#define PLAIN(name) static cg_node *act_##name(cg_node *x, double alpha, double beta) { (void)alpha; (void)beta; return cg_##name(x); }
PLAIN(tanh)
PLAIN(sigmoid)
PLAIN(relu)
PLAIN(softsign)
PLAIN(softplus)
static cg_node *act_affine(cg_node *x, double alpha, double beta) { return cg_add(cg_scale(x, alpha), number(x, beta)); }
static cg_node *act_leaky_relu(cg_node *x, double alpha, double beta) { (void)beta; return cg_leaky_relu(x, number(x, alpha)); }
static cg_node *act_scaled_tanh(cg_node *x, double alpha, double beta) { return cg_scale(cg_tanh(cg_scale(x, beta)), alpha); }
static cg_node *act_elu(cg_node *x, double alpha, double beta) { (void)beta; return cg_elu(x, number(x, alpha)); }
static cg_node *act_thresholded_relu(cg_node *x, double alpha, double beta)
{
    cg_node *passes = cg_greater(x, number(x, alpha));
    (void)beta;
    return cg_where(passes, x, number(x, 0));
}
static cg_node *act_hard_sigmoid(cg_node *x, double alpha, double beta)
{
    cg_node *line = act_affine(x, alpha, beta), *none = number(x, 0);
    return cg_clip(line, none, number(x, 1));
}

static cg_node *(*const activations[])(cg_node *x, double alpha, double beta) = {
    [CG_ACT_TANH] = act_tanh, [CG_ACT_SIGMOID] = act_sigmoid, [CG_ACT_RELU] = act_relu, [CG_ACT_SOFTSIGN] = act_softsign,
    [CG_ACT_SOFTPLUS] = act_softplus, [CG_ACT_AFFINE] = act_affine, [CG_ACT_LEAKY_RELU] = act_leaky_relu, [CG_ACT_ELU] = act_elu,
    [CG_ACT_THRESHOLDED_RELU] = act_thresholded_relu, [CG_ACT_SCALED_TANH] = act_scaled_tanh, [CG_ACT_HARD_SIGMOID] = act_hard_sigmoid,
};

/* ---- cells */

/* One direction while its loop is built. x is what of the gates depends on x, of all steps: (steps, batch, gates hidden). */
typedef struct walk {
    const cg_recurrent *o;
    const struct cell *cell;
    const cg_activation *act;            /* f, g, h */
    cg_node *x, *R, *late;               /* R: (hidden, gates hidden); late: a GRU's bias of h R that comes before the reset, or NULL */
    cg_node *peep[3];                    /* of i, o, f, or NULL */
    cg_node *xt, *h, *c, *h1, *c1;       /* in a step: the row of x, the states and the next ones */
} walk;
typedef struct cell {
    const char *name;                    /* of the builder */
    int gates, nact, npeep;
    bool has_c;                          /* a second state */
    cg_act act[MAX_ACTIVATIONS];
    void (*step)(walk *w);
} cell;

static cg_node *act(const walk *w, int k, cg_node *x)
{
    const cg_activation *a = &w->act[k];
    if (w->o->clip != 0) {
        cg_node *low = number(x, -w->o->clip), *high = number(x, w->o->clip);
        x = cg_clip(x, low, high);
    }
    return a->function ? a->function(x) : activations[a->kind ? a->kind : w->cell->act[k]](x, a->alpha, a->beta);
}

static cg_node *plus_scaled(cg_node *x, cg_node *a, cg_node *b) { return a ? cg_add(x, cg_mul(a, b)) : x; }
static cg_node *one_minus(cg_node *x) { return cg_sub(number(x, 1), x); }

static void rnn_step(walk *w) { w->h1 = act(w, 0, cg_add(w->xt, cg_matmul(w->h, w->R))); }

/* Columns from * hidden to to * hidden of a. */
static cg_node *columns(const walk *w, cg_node *a, int from, int to)
{
    cg_graph *g = cg_node_graph(a);
    const double hidden = (double)cg_node_dim(w->R, 0);
    cg_node *start = g ? cg_scalar(g, CG_I64, from * hidden) : NULL;
    return g ? cg_slice(a, -1, start, cg_scalar(g, CG_I64, to * hidden), 1) : NULL;
}

/* z = f(xz + h Rz), r = f(xr + h Rr), n = g(xh + (r h) Rh), h' = (1 - z) n + z h. linear_before_reset: n = g(xh + r (h Rh + late)). */
static void gru_step(walk *w)
{
    const bool late = w->o->linear_before_reset;
    cg_node *all = late ? cg_matmul(w->h, w->R) : NULL, *early = late ? columns(w, all, 0, 2) : cg_matmul(w->h, columns(w, w->R, 0, 2));
    cg_node *z = NULL, *r = NULL, *of_h;
    cg_split(act(w, 0, cg_add(columns(w, w->xt, 0, 2), early)), 1, CG_OUT(&z, &r));
    if (late) {
        of_h = columns(w, all, 2, 3);
        of_h = cg_mul(r, w->late ? cg_add(of_h, w->late) : of_h);
    } else {
        of_h = cg_matmul(cg_mul(r, w->h), columns(w, w->R, 2, 3));
    }
    cg_node *n = act(w, 1, cg_add(columns(w, w->xt, 2, 3), of_h)), *fresh = cg_mul(one_minus(z), n);
    w->h1 = cg_add(fresh, cg_mul(z, w->h));
}

/* i = f(xi + h Ri + Pi c), f = f(xf + h Rf + Pf c) or 1 - i, c' = f c + i g(xc + h Rc), o = f(xo + h Ro + Po c'), h' = o h(c') */
static void lstm_step(walk *w)
{
    cg_node *i = NULL, *o = NULL, *f = NULL, *c = NULL;
    cg_split(cg_add(w->xt, cg_matmul(w->h, w->R)), 1, CG_OUT(&i, &o, &f, &c));
    i = act(w, 0, plus_scaled(i, w->peep[0], w->c));
    f = w->o->input_forget ? one_minus(i) : act(w, 0, plus_scaled(f, w->peep[2], w->c));
    cg_node *kept = cg_mul(f, w->c);
    w->c1 = cg_add(kept, cg_mul(i, act(w, 1, c)));
    o = act(w, 0, plus_scaled(o, w->peep[1], w->c1));
    w->h1 = cg_mul(o, act(w, 2, w->c1));
}

static const cell cells[] = {
    [CG_RNN] = { "cg_rnn", 1, 1, 0, false, { CG_ACT_TANH }, rnn_step },
    [CG_GRU] = { "cg_gru", 3, 2, 0, false, { CG_ACT_SIGMOID, CG_ACT_TANH }, gru_step },
    [CG_LSTM] = { "cg_lstm", 4, 3, 3, true, { CG_ACT_SIGMOID, CG_ACT_TANH, CG_ACT_TANH }, lstm_step },
};

/* ---- what is given */

/* n may have this type; sizes that are CG_ANY on either side are for the call to find out. */
static int check_type(const cell *k, cg_node *n, const char *what, cg_dtype d, const int64_t *dims, int rank)
{
    int64_t given[CG_MAX_RANK];
    bool fits = cg_node_dtype(n) == d && cg_node_rank(n) == rank;
    for (int i = 0; i < cg_node_rank(n); i++) {
        given[i] = cg_node_dim(n, i);
        fits = fits && (given[i] == dims[i] || given[i] == CG_ANY || dims[i] == CG_ANY);
    }
    char is[160], wanted[160];
    return fits ? CG_OK : cg__nn_said(cg_node_graph(n), cg_node_dtype(n) == d ? CG_ESHAPE : CG_EDTYPE, "%s: %s is %s, where %s is wanted", k->name, what,
                               cg__nn_type(is, cg_node_dtype(n), given, cg_node_rank(n)), cg__nn_type(wanted, d, dims, rank));
}

static int check_options(const cell *k, cg_graph *g, const cg_recurrent *o, int directions)
{
    if ((unsigned)o->direction > CG_BIDIRECTIONAL)
        return cg__nn_said(g, CG_EINVAL, "%s: there is no direction %d", k->name, (int)o->direction);
    if (!(o->clip >= 0))
        return cg__nn_said(g, CG_EINVAL, "%s: a clip of %g; 0 is none", k->name, o->clip);
    if ((o->peepholes || o->c0 || o->input_forget) && !k->has_c)
        return cg__nn_said(g, CG_EINVAL, "%s: peepholes, c0 and input_forget are options of cg_lstm", k->name);
    if (o->linear_before_reset && k->step != gru_step)
        return cg__nn_said(g, CG_EINVAL, "%s: linear_before_reset is an option of cg_gru", k->name);
    if (o->nactivations && o->nactivations != k->nact && o->nactivations != k->nact * directions)
        return cg__nn_said(g, CG_EINVAL, "%s: %d activations, where a direction has %d", k->name, o->nactivations, k->nact);
    for (int i = 0; i < o->nactivations; i++)
        if ((unsigned)o->activations[i].kind >= CG_LEN(activations))
            return cg__nn_said(g, CG_EINVAL, "%s: there is no activation %d", k->name, (int)o->activations[i].kind);
    return CG_OK;
}

/* The operands' types follow from x and R. */
static int check_operands(const cell *k, cg_node *x, cg_node *W, cg_node *R, const cg_recurrent *o, int directions)
{
    cg_graph *g = cg_node_graph(x);
    const cg_dtype d = cg_node_dtype(x);
    if (cg_node_rank(x) != 3 || cg_node_rank(R) != 3 || cg_node_dim(R, 2) == CG_ANY || (d != CG_F16 && d != CG_BF16 && d != CG_F32 && d != CG_F64))
        return cg__nn_said(g, CG_ESHAPE, "%s: x is to be floats of rank 3 and R of rank 3 with a known last size; they are %s of rank %d and of rank %d", k->name,
                    cg_dtype_name(d), cg_node_rank(x), cg_node_rank(R));
    const int64_t hidden = cg_node_dim(R, 2), rows = k->gates * hidden, batch = cg_node_dim(x, o->batch_first ? 0 : 1), n = directions;
    const int64_t state[2][3] = { { n, batch, hidden }, { batch, n, hidden } }, *const of_state = state[o->batch_first != 0];
    const struct { cg_node *node; const char *what; const int64_t *dims; int rank; } operands[] = {
        { W, "W", (const int64_t[]){ n, rows, cg_node_dim(x, 2) }, 3 }, { R, "R", (const int64_t[]){ n, rows, hidden }, 3 },
        { o->b, "b", (const int64_t[]){ n, 2 * rows }, 2 },             { o->h0, "h0", of_state, 3 },
        { o->c0, "c0", of_state, 3 },                                   { o->peepholes, "peepholes", (const int64_t[]){ n, k->npeep * hidden }, 2 },
    };
    int rc = CG_OK;
    for (int i = 0; i < CG_LEN(operands) && rc == CG_OK; i++)
        if (operands[i].node)
            rc = check_type(k, operands[i].node, operands[i].what, d, operands[i].dims, operands[i].rank);
    if (rc == CG_OK && o->lengths && (cg_node_rank(o->lengths) != 1 || cg_node_dtype(o->lengths) < CG_I8 || cg_node_dtype(o->lengths) > CG_U64))
        rc = cg__nn_said(g, CG_EDTYPE, "%s: lengths are to be one integer a sequence, not %s of rank %d", k->name, cg_dtype_name(cg_node_dtype(o->lengths)), cg_node_rank(o->lengths));
    return rc;
}

/* ---- one direction */

/* Part d of `of` parts along axis 0, without that axis. */
static cg_node *direction_of(cg_node *a, int d, int of)
{
    cg_graph *g = cg_node_graph(a);
    cg_node *dims[2];
    const int rank = a ? cg_node_rank(a) - 1 : 0;
    for (int i = 0; i < rank; i++)
        dims[i] = cg_dim(a, i + 1);
    if (of > 1) {
        cg_node *from = cg_scalar(g, CG_I64, d);
        a = cg_slice(a, 0, from, cg_scalar(g, CG_I64, d + 1), 1);
    }
    return a ? cg_reshape_to(a, dims, rank) : NULL;
}

/* Column `part` of `of` of a vector. */
static cg_node *piece(cg_node *v, int part, int of)
{
    cg_graph *g = cg_node_graph(v);
    const double size = v ? (double)(cg_node_dim(v, 0) / of) : 0;
    cg_node *from = g ? cg_scalar(g, CG_I64, part * size) : NULL;
    return g ? cg_slice(v, 0, from, cg_scalar(g, CG_I64, (part + 1) * size), 1) : NULL;
}

/* The biases of W and R are one, but for the last gate of a GRU that resets h R + late. */
static cg_node *add_biases(walk *w, cg_node *x, cg_node *b)
{
    if (!b)
        return x;
    cg_node *of_x = piece(b, 0, 2), *of_h = piece(b, 1, 2);
    if (!w->o->linear_before_reset)
        return cg_add(x, cg_add(of_x, of_h));
    w->late = piece(of_h, 2, 3);
    cg_node *first = cg_concatenate(CG_NODES(piece(of_h, 0, 3), piece(of_h, 1, 3), cg_zeros_like(w->late)), 0);
    return cg_add(x, cg_add(of_x, first));
}

static cg_node *swapped(cg_node *a) { return a ? cg_transpose(a, CG_AXES(1, 0, 2)) : NULL; }

/* What of the gates depends on x, as one product over all steps and sequences; time becomes the first axis. */
static cg_node *gates_of(walk *w, cg_node *x, cg_node *W, cg_node *b)
{
    cg_node *rows = cg_reshape_to(x, CG_NODES(cg_mul(cg_dim(x, 0), cg_dim(x, 1)), cg_dim(x, 2))), *flat = cg_matmul(rows, cg_transpose(W, NULL, 0));
    cg_node *first = cg_dim(x, 0), *second = cg_dim(x, 1);
    cg_node *all = add_biases(w, cg_reshape_to(flat, CG_NODES(first, second, cg_dim(flat, 1))), b);
    return w->o->batch_first ? swapped(all) : all;
}

static cg_node *initial(const walk *w, cg_node *given, int d, int directions)
{
    cg_node *batch = cg_dim(w->x, 1), *zero = cg_cast(number(w->x, 0), cg_node_dtype(w->x));
    return given ? direction_of(given, d, directions) : cg_full(zero, CG_NODES(batch, cg_dim(w->R, 0)));
}

/* Whether the step's row is one of each sequence: (batch, 1). */
static cg_node *within(cg_scan *s, cg_node *x, cg_node *lengths, bool back)
{
    cg_node *t = cg_scan_index(s), *one = number(x, 1);
    cg_node *row = back ? cg_sub(cg_sub(cg_dim(x, 0), one), t) : t;
    return cg_expand_dims(cg_less(row, lengths), 1);
}

typedef struct results { cg_node *y, *h, *c; bool keep; } results;       /* keep: y is wanted */

static int run_loop(walk *w, cg_node *h0, cg_node *c0, bool back, results *r)
{
    cg_node *lengths = w->o->lengths, **out[3];
    int n = 0;
    cg_scan *s = cg_scan_begin(cg_node_graph(w->x), CG_SCAN(.backwards = back));
    w->xt = cg_scan_seq(s, w->x);
    w->h = cg_scan_state(s, h0);
    w->c = w->cell->has_c ? cg_scan_state(s, c0) : NULL;
    w->cell->step(w);
    cg_node *y = w->h1;
    if (lengths) {
        cg_node *live = within(s, w->x, lengths, back);
        y = r->keep ? cg_where(live, w->h1, number(w->h1, 0)) : NULL;
        w->h1 = cg_where(live, w->h1, w->h);
        w->c1 = w->c ? cg_where(live, w->c1, w->c) : NULL;
    }
    cg_scan_next(s, w->h, w->h1);
    if (w->c)
        cg_scan_next(s, w->c, w->c1);
    cg_scan_out(s, w->h1, CG_SCAN_LAST);
    out[n++] = &r->h;
    if (w->c) {
        cg_scan_out(s, w->c1, CG_SCAN_LAST);
        out[n++] = &r->c;
    }
    if (r->keep) {
        cg_scan_out(s, y, CG_SCAN_ALL);
        out[n++] = &r->y;
    }
    const int rc = cg_scan_end(s, out, n);
    r->y = back && r->y ? cg_flip(r->y, 0) : r->y;
    return rc;
}

/* x has nothing behind the ends of sequences. */
static int walk_direction(const cell *k, cg_node *x, cg_node *W, cg_node *R, const cg_recurrent *o, int d, int directions, results *r)
{
    static const cg_activation defaults[MAX_ACTIVATIONS];
    walk w = { .o = o, .cell = k, .act = o->nactivations ? o->activations + (o->nactivations > k->nact ? d * k->nact : 0) : defaults };
    w.R = cg_transpose(direction_of(R, d, directions), NULL, 0);
    cg_node *W_d = direction_of(W, d, directions);
    w.x = gates_of(&w, x, W_d, direction_of(o->b, d, directions));
    cg_node *peep = direction_of(o->peepholes, d, directions);
    for (int i = 0; peep && i < k->npeep; i++)
        w.peep[i] = piece(peep, i, k->npeep);
    cg_node *h0 = initial(&w, o->h0, d, directions), *c0 = k->has_c ? initial(&w, o->c0, d, directions) : NULL;
    return run_loop(&w, h0, c0, o->direction == CG_REVERSE || d == 1, r);
}

/* ---- all of a layer */

/* Zeros instead of what stands behind the end of a sequence: 0 times NaN would be NaN, in the gradient of W too. */
static cg_node *cut(cg_node *x, cg_node *lengths, bool batch_first)
{
    cg_graph *g = cg_node_graph(x);
    cg_node *zero = cg_scalar(g, CG_I64, 0), *one = cg_scalar(g, CG_I64, 1), *steps = cg_arange(zero, cg_dim(x, batch_first ? 1 : 0), one);
    cg_node *live = batch_first ? cg_less(steps, cg_expand_dims(lengths, 1)) : cg_less(cg_expand_dims(steps, 1), lengths);
    return cg_where(cg_expand_dims(live, 2), x, number(x, 0));
}

static int both_directions(const cell *k, cg_node *x, cg_node *W, cg_node *R, const cg_recurrent *o, int directions, results *r)
{
    results of[MAX_DIRECTIONS] = { { .keep = r->keep }, { .keep = r->keep } };
    cg_node *y[MAX_DIRECTIONS], *h[MAX_DIRECTIONS], *c[MAX_DIRECTIONS];
    for (int d = 0; d < directions; d++) {
        const int rc = walk_direction(k, x, W, R, o, d, directions, &of[d]);
        if (rc < 0)
            return rc;
        y[d] = of[d].y;
        h[d] = of[d].h;
        c[d] = of[d].c;
    }
    r->y = r->keep ? cg_stack(y, directions, 1) : NULL;          // (steps, directions, batch, hidden)
    r->h = cg_stack(h, directions, 0);                           // (directions, batch, hidden)
    r->c = k->has_c ? cg_stack(c, directions, 0) : NULL;
    return CG_OK;
}

static int recur(cg_cell which, cg_node *x, cg_node *W, cg_node *R, const cg_recurrent *given, results *r)
{
    const cell *k = &cells[which];
    cg_graph *g = cg_node_graph(x);
    cg_recurrent o = given ? *given : (cg_recurrent){ .struct_size = sizeof o };
    if (!x || !W || !R)
        return CG_EINVAL;
    if (o.struct_size != sizeof o)
        return cg__nn_said(g, CG_EINVAL, "%s: the options are not made by CG_RECURRENT of this version", k->name);
    const int directions = o.direction == CG_BIDIRECTIONAL ? 2 : 1;
    int rc = check_options(k, g, &o, directions);
    rc = rc == CG_OK ? check_operands(k, x, W, R, &o, directions) : rc;
    if (rc < 0)
        return rc;
    if (o.batch_first) {
        o.h0 = swapped(o.h0);
        o.c0 = swapped(o.c0);
    }
    rc = both_directions(k, o.lengths ? cut(x, o.lengths, o.batch_first) : x, W, R, &o, directions, r);
    if (o.batch_first) {
        r->y = r->y ? cg_transpose(r->y, CG_AXES(2, 0, 1, 3)) : NULL;
        r->h = swapped(r->h);
        r->c = swapped(r->c);
    }
    return rc;
}

static int give(int rc, const results *r, cg_node **y, cg_node **h, cg_node **c)
{
    const bool ok = rc == CG_OK;
    if (y)
        *y = ok ? r->y : NULL;
    if (h)
        *h = ok ? r->h : NULL;
    if (c)
        *c = ok ? r->c : NULL;
    return rc;
}

CG_API int cg_rnn(cg_node *x, cg_node *W, cg_node *R, const cg_recurrent *o, cg_node **y, cg_node **h)
{
    CG_BUILDER(cg_node_graph(x));
    results r = { .keep = y != NULL };
    return give(recur(CG_RNN, x, W, R, o, &r), &r, y, h, NULL);
}

CG_API int cg_gru(cg_node *x, cg_node *W, cg_node *R, const cg_recurrent *o, cg_node **y, cg_node **h)
{
    CG_BUILDER(cg_node_graph(x));
    results r = { .keep = y != NULL };
    return give(recur(CG_GRU, x, W, R, o, &r), &r, y, h, NULL);
}

CG_API int cg_lstm(cg_node *x, cg_node *W, cg_node *R, const cg_recurrent *o, cg_node **y, cg_node **h, cg_node **c)
{
    CG_BUILDER(cg_node_graph(x));
    results r = { .keep = y != NULL };
    return give(recur(CG_LSTM, x, W, R, o, &r), &r, y, h, c);
}

/* ---- as a layer */

/* y: (steps, batch, directions hidden), or (batch, steps, ...); last: h as (batch, directions hidden). */
static cg_node *recurrent_forward(const cg_layer *l, cg_node *x)
{
    results r = { .keep = !l->last };
    cg_recurrent o = l->recurrent;
    o.b = l->b;
    if (recur(l->cell, x, l->w, l->r, &o, &r) < 0)
        return NULL;
    cg_graph *g = cg_node_graph(x);
    const int64_t width = cg_node_dim(l->w, 0) * cg_node_dim(l->r, 2);
    cg_node *flat = cg_scalar(g, CG_I64, (double)width);
    if (l->last) {
        cg_node *h = o.batch_first ? r.h : swapped(r.h);
        return cg_reshape_to(h, CG_NODES(cg_dim(h, 0), flat));
    }
    cg_node *y = o.batch_first ? r.y : cg_transpose(r.y, CG_AXES(0, 2, 1, 3)), *first = cg_dim(y, 0);
    return cg_reshape_to(y, CG_NODES(first, cg_dim(y, 1), flat));
}

/* (directions, gates hidden, in): each gate drawn as an (in, hidden) matrix. */
static cg_array *gates_array(int64_t directions, int64_t gates, int64_t hidden, int64_t in, cg_init how, uint64_t seed)
{
    const int64_t shape[3] = { directions, gates * hidden, in }, one[2] = { in, hidden };
    cg_array *all = cg_array_new(CG_F32, shape, 3, NULL);
    const int64_t count = all ? cg_array_count(all) : 0;
    float *to = cg__zalloc((size_t)(count + 1) * sizeof *to);
    bool ok = all && to;
    for (int64_t k = 0; k < directions * gates && ok; k++) {
        cg_array *gate = cg_array_init(one, 2, how, cg__nn_bits(&seed));
        const float *v = gate ? cg_array_data(gate) : NULL;
        ok = v != NULL;
        for (int64_t i = 0; i < in * hidden && ok; i++)
            to[k * in * hidden + i % hidden * in + i / hidden] = v[i];
        cg_array_free(gate);
    }
    ok = ok && cg_array_set(all, to, (size_t)count * sizeof *to) == CG_OK;
    cg__free(to);
    if (ok)
        return all;
    cg__nn_fail(CG_ENOMEM, "cg_layer_recurrent: no memory");
    cg_array_free(all);
    return NULL;
}

/* Zeros, but an LSTM begins by remembering: 1 for f (Jozefowicz et al. 2015). */
static cg_array *bias_array(cg_cell which, int64_t directions, int64_t hidden)
{
    const int64_t gates = cells[which].gates, shape[2] = { directions, 2 * gates * hidden };
    cg_array *b = cg_array_new(CG_F32, shape, 2, NULL);
    const int64_t count = b ? cg_array_count(b) : 0;
    float *v = cg__zalloc((size_t)(count + 1) * sizeof *v);
    for (int64_t i = 0; v && which == CG_LSTM && i < count; i++)
        v[i] = i % (2 * gates * hidden) / hidden == 2;
    if (!v || !b || cg_array_set(b, v, (size_t)count * sizeof *v) < 0) {
        cg__nn_fail(CG_ENOMEM, "cg_layer_recurrent: no memory");
        cg_array_free(b);
        b = NULL;
    }
    cg__free(v);
    return b;
}

CG_API int cg_layer_recurrent(cg_layer *l, cg_net *n, const char *name, cg_cell which, int64_t in, int64_t hidden, cg_init how, const cg_recurrent *o)
{
    CG_BUILDER(n->g);
    if ((unsigned)which > CG_LSTM || in < 1 || hidden < 1 || (o && o->struct_size != sizeof *o))
        return cg__nn_fail(CG_EINVAL, "cg_layer_recurrent: there is no such cell, a size is below 1, or the options are not made by CG_RECURRENT of this version");
    *l = (cg_layer){ .forward = recurrent_forward, .cell = which, .recurrent = o ? *o : (cg_recurrent){ .struct_size = sizeof *o } };
    const int64_t directions = l->recurrent.direction == CG_BIDIRECTIONAL ? 2 : 1;
    uint64_t state = n->seed + (uint64_t)n->vars.n;
    l->w = cg__net_add_part(n, name, "w", gates_array(directions, cells[which].gates, hidden, in, how, cg__nn_bits(&state)));
    l->r = l->w ? cg__net_add_part(n, name, "r", gates_array(directions, cells[which].gates, hidden, hidden, CG_INIT_ORTHOGONAL, cg__nn_bits(&state))) : NULL;
    l->b = l->r ? cg__net_add_part(n, name, "b", bias_array(which, directions, hidden)) : NULL;
    return l->b ? CG_OK : (int)cg_last_error()->code;
}
