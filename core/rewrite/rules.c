// SPDX-License-Identifier: MIT
/* The rules, as tables by purpose; their form is in rewrite.h. Of rules for one operation the first that matches fires,
 * so the more special stands first. UNSAFE rows are here to be read and tested; the engine leaves them alone.
 */
#include "core/graph/build.h"
#include "core/rewrite/rewrite.h"

#define RULE(name_, phase_, exact_, match_, ...)                                                                       \
    { .name = #name_, .phase = CG_PHASE_##phase_, .exact = CG_EXACT_##exact_, .match = match_, .replace = __VA_ARGS__ }

/* ---- conditions */

static bool same_type(const cg_node *n, const cg_bind *b)
{
    return cg__type_same(&n->type, &b->node[0]->type);
}

static bool axes_in_order(const cg_node *n, const cg_bind *b)
{
    bool same = b->attr[0]->n == n->type.rank;
    for (int i = 0; same && i < b->attr[0]->n; i++)
        same = b->attr[0]->at[i] == i;
    return same;
}

static cg_kind operand_kind(const cg_node *n) { return cg__dtypes[n->in[0]->type.dtype].kind; }

/* -x of an unsigned integer wraps, and is not as far from 0 as x. */
static bool has_sign(const cg_node *n, const cg_bind *b)
{
    (void)b;
    return operand_kind(n) != CG_KIND_UINT;
}

/* No NaN, no infinity, no -0. */
static bool is_integer(const cg_node *n, const cg_bind *b)
{
    (void)b;
    return operand_kind(n) != CG_KIND_FLOAT;
}

static bool is_float(const cg_node *n, const cg_bind *b)
{
    (void)b;
    return operand_kind(n) == CG_KIND_FLOAT;
}

/* The inner cast loses nothing: the same kind, and no narrower. */
static bool widens(const cg_node *n, const cg_bind *b)
{
    (void)n;
    const cg_dtype_row *from = &cg__dtypes[b->node[0]->type.dtype], *to = &cg__dtypes[b->attr[0]->at[0]];
    return from->kind == to->kind && from->kind != CG_KIND_BOOL && from->bytes < to->bytes;
}

/* No axis is reduced, or only such of size 1. */
static bool reduces_nothing(const cg_node *n, const cg_bind *b)
{
    bool nothing = n->type.dtype == b->node[0]->type.dtype;
    for (int i = 0; i < n->attr[0].n; i++)
        nothing &= cg__dim_is(b->node[0]->type.dim[n->attr[0].at[i]], 1);
    return nothing && n->type.rank == b->node[0]->type.rank;
}

/* The prepended axis is one that broadcasting would prepend. */
static bool axis_is_first(const cg_node *n, const cg_bind *b)
{
    return n->in[0]->attr[0].at[0] == 0 && n->type.rank > b->node[0]->type.rank;
}

/* All of the array is written, in its order. */
static bool writes_all(const cg_node *n, const cg_bind *b)
{
    const cg_type *x = &b->node[0]->type, *y = &b->node[1]->type;
    bool all = true;
    for (int i = 0; i < x->rank; i++)
        all &= cg__dim_same(x->dim[i], y->dim[i]) && (n->attr[2].n <= i || n->attr[2].at[i] == 1 || n->attr[2].at[i] == CG_NONE);
    return all;
}

/* A factor for all rows of what is added up in zeros. One that is NaN or infinite shows in the rows that are added to, not in the others. */
static bool scales_rows(const cg_node *n, const cg_bind *b)
{
    double v = 0;
    const cg_node *zeros = b->node[1];
    while (cg__is(zeros, CG_OP_broadcast_to))
        zeros = zeros->in[0];
    return !b->node[0]->type.rank && cg__is_const(zeros, &v) && v == 0 && cg__type_same(&n->type, &b->node[1]->type);
}

static const struct { const char *name; cg_condition *holds; } conditions[] = {
    { "same_type", same_type }, { "axes_in_order", axes_in_order }, { "has_sign", has_sign }, { "is_integer", is_integer },
    { "writes_all", writes_all }, { "scales_rows", scales_rows }, { "is_float", is_float }, { "widens", widens }, { "reduces_nothing", reduces_nothing }, { "axis_is_first", axis_is_first },
};

cg_condition *cg__rule_condition(const char *name, size_t n)
{
    for (int i = 0; i < CG_LEN(conditions); i++)
        if (strlen(conditions[i].name) == n && memcmp(conditions[i].name, name, n) == 0)
            return conditions[i].holds;
    return NULL;
}

/* ---- builders */

/* x / c is x * (1 / c), exactly, when c is a power of two of the middle of the range. */
static CG_RULE_BUILDER(mul_by_inverse)
{
    double c = 0;
    if (!cg__is_const(b->node[1], &c))
        return NULL;
    for (double p = 0x1p-12; p <= 0x1p12; p *= 2)
        if (c == p)
            return cg_mul(b->node[0], cg__splat(n->graph, n->type.dtype, 1 / c));
    return NULL;
}

/* A cast of a constant whose elements are equal. */
static CG_RULE_BUILDER(cast_constant)
{
    double v = 0;
    return cg__is_const(b->node[0], &v) ? cg__splat_as(b->node[0], n->type.dtype) : NULL;
}

/* g / sum(exp x), stretched, times exp x: g softmax(x), or g exp(x - logsumexp x) over several axes. */
static CG_RULE_BUILDER(exp_over_sum)
{
    (void)n;
    const cg_node *x = b->node[1];
    cg_type t = x->type;
    for (int i = 0; i < b->attr[0]->n; i++)
        t.dim[b->attr[0]->at[i]] = (cg_dim_t){ .n = 1 };
    const cg_reduce along = { .axes = b->attr[0]->at, .naxes = b->attr[0]->n, .keepdims = 1 };
    cg_node *g = cg__reshape_like(b->node[0], &t);
    return cg_mul(g, cg_exp(cg_sub(b->node[1], cg_logsumexp(b->node[1], &along))));
}

/* ---- tables */

#define SOFTMAX "(softmax ?x :axis ?a)"
#define SUM_EXP "(sum (exp ?x) :axis ?a :keepdims true)"

static const cg_rule rules[] = {
    /* what changes nothing. x + 0 turns -0 into 0, hence ULP */
    RULE(add_zero,          CANONICAL, ULP,    "(add ?x 0)",                          "?x"),
    RULE(sub_zero,          CANONICAL, ULP,    "(sub ?x 0)",                          "?x"),
    RULE(zero_sub,          CANONICAL, ULP,    "(sub 0 ?x)",                          "(neg ?x)"),
    RULE(mul_one,           CANONICAL, EXACT,  "(mul ?x 1)",                          "?x"),
    RULE(mul_minus_one,     CANONICAL, EXACT,  "(mul ?x -1)",                         "(neg ?x)"),
    RULE(mul_zero_integer,  CANONICAL, EXACT,  "(mul ?x 0)",                          "0", .when = "is_integer", .example = "(mul i 0)"),
    RULE(mul_zero,          CANONICAL, UNSAFE, "(mul ?x 0)",                          "0"),
    RULE(div_one,           CANONICAL, EXACT,  "(div ?x 1)",                          "?x"),
    RULE(div_minus_one,     CANONICAL, EXACT,  "(div ?x -1)",                         "(neg ?x)"),
    RULE(floor_divide_one,  CANONICAL, EXACT,  "(floor_divide ?x 1)",                 "?x", .when = "is_integer", .example = "(floor_divide i 1)"),
    RULE(power_one,         CANONICAL, EXACT,  "(power ?x 1)",                        "?x"),
    RULE(power_zero,        CANONICAL, EXACT,  "(power ?x 0)",                        "1"),
    RULE(one_power,         CANONICAL, EXACT,  "(power 1 ?x)",                        "1", .when = "is_float"),
    RULE(where_true,        CANONICAL, EXACT,  "(where 1 ?x ?y)",                     "?x"),
    RULE(where_false,       CANONICAL, EXACT,  "(where 0 ?x ?y)",                     "?y"),
    RULE(where_same,        CANONICAL, EXACT,  "(where ?c ?x ?x)",                    "?x"),
    RULE(where_where,       CANONICAL, EXACT,  "(where ?c (where ?c ?x ?y) ?z)",      "(where ?c ?x ?z)"),
    RULE(where_where_else,  CANONICAL, EXACT,  "(where ?c ?x (where ?c ?y ?z))",      "(where ?c ?x ?z)"),
    RULE(ifelse_not,        CANONICAL, EXACT,  "(ifelse (logical_not ?c) ?x ?y)",     "(ifelse ?c ?y ?x)", .example = "(ifelse (logical_not (any c)) x y)"),
    RULE(ifelse_ifelse,     CANONICAL, EXACT,  "(ifelse ?c (ifelse ?c ?x ?y) ?z)",    "(ifelse ?c ?x ?z)", .example = "(ifelse (any c) (ifelse (any c) x y) z)"),
    RULE(ifelse_ifelse_else, CANONICAL, EXACT, "(ifelse ?c ?x (ifelse ?c ?y ?z))",    "(ifelse ?c ?x ?z)", .example = "(ifelse (any c) x (ifelse (any c) y z))"),
    RULE(ifelse_sum,        CANONICAL, EXACT,  "(add (ifelse ?c ?x ?y) (ifelse ?c ?z ?a))", "(ifelse ?c (add ?x ?z) (add ?y ?a))",
         .example = "(add (ifelse (any c) x y) (ifelse (any c) z a))"),
    RULE(sub_same_integer,  CANONICAL, EXACT,  "(sub ?x ?x)",                         "0", .when = "is_integer", .example = "(sub i i)"),
    RULE(sub_same,          CANONICAL, UNSAFE, "(sub ?x ?x)",                         "0"),
    RULE(div_same,          CANONICAL, UNSAFE, "(div ?x ?x)",                         "1"),
    RULE(less_same,         CANONICAL, EXACT,  "(less ?x ?x)",                        "0"),
    RULE(greater_same,      CANONICAL, EXACT,  "(greater ?x ?x)",                     "0"),
    RULE(equal_same,        CANONICAL, EXACT,  "(equal ?x ?x)",                       "1", .when = "is_integer", .example = "(equal i i)"),
    RULE(not_equal_same,    CANONICAL, EXACT,  "(not_equal ?x ?x)",                   "0", .when = "is_integer", .example = "(not_equal i i)"),
    RULE(maximum_zero,      CANONICAL, ULP,    "(maximum ?x 0)",                      "(relu ?x)"),

    /* what the algebra column of elemwise.def says of every operation that has the flag */
    RULE(inverse_of_self,   CANONICAL, EXACT,  "(@INVO (@INVO ?x))",                  "?x", .example = "(neg (neg x))"),
    RULE(idempotent,        CANONICAL, EXACT,  "(@IDEM (@IDEM ?x))",                  "(@IDEM ?x)", .example = "(relu (relu x))"),
    RULE(idempotent_same,   CANONICAL, EXACT,  "(@IDEM ?x ?x)",                       "?x", .example = "(maximum x x)"),
    RULE(idempotent_again,  CANONICAL, ULP,    "(@IDEM ?x (@IDEM ?x ?y))",            "(@IDEM ?x ?y)", .example = "(maximum x (maximum y x))"),
    RULE(itself,            CANONICAL, EXACT,  "(@SELF ?x)",                          "?x", .example = "(zero_grad x)"),
    RULE(itself_scaled,     CANONICAL, EXACT,  "(@SELF ?x ?y)",                       "?x", .example = "(grad_scale x y)"),
    RULE(itself_clipped,    CANONICAL, EXACT,  "(@SELF ?x ?y ?z)",                    "?x", .example = "(grad_clip x y z)"),
    RULE(even_neg,          CANONICAL, EXACT,  "(@EVEN (neg ?x))",                    "(@EVEN ?x)", .when = "has_sign", .example = "(cos (neg x))"),
    RULE(even_abs,          CANONICAL, EXACT,  "(@EVEN (abs ?x))",                    "(@EVEN ?x)", .example = "(square (abs x))"),
    RULE(odd_neg,           CANONICAL, EXACT,  "(@ODD (neg ?x))",                     "(neg (@ODD ?x))",
         .when = "has_sign", .example = "(tanh (neg x))"),

    /* signs move out of sums and products */
    RULE(add_neg,           CANONICAL, EXACT,  "(add ?x (neg ?y))",                   "(sub ?x ?y)"),
    RULE(sub_neg,           CANONICAL, EXACT,  "(sub ?x (neg ?y))",                   "(add ?x ?y)"),
    RULE(mul_neg_neg,       CANONICAL, EXACT,  "(mul (neg ?x) (neg ?y))",             "(mul ?x ?y)"),
    RULE(div_neg_neg,       CANONICAL, EXACT,  "(div (neg ?x) (neg ?y))",             "(div ?x ?y)"),
    RULE(mul_neg,          CANONICAL, EXACT,  "(mul (neg ?x) ?y)",              "(neg (mul ?x ?y))"),
    RULE(neg_sub,           CANONICAL, ULP,    "(neg (sub ?x ?y))",                   "(sub ?y ?x)"),

    /* terms */
    RULE(collect_sum,       CANONICAL, ULP,    "(add ?x ?y)",                         NULL,
         .when = "is_float", .build = cg__collect_sum, .example = "(add (mul x 2) (add y (mul x 3)))"),
    RULE(collect_product,   CANONICAL, ULP,    "(mul ?x ?y)",                         NULL,
         .when = "is_float", .build = cg__collect_product, .example = "(mul (mul x 2) 3)"),

    /* casts, and views of views */
    RULE(cast_same,         CANONICAL, EXACT,  "(cast ?x :dtype ?d)",                 "?x", .when = "same_type", .example = "(cast x :dtype f32)"),
    RULE(cast_widened,      CANONICAL, EXACT,  "(cast (cast ?x :dtype ?d) :dtype ?e)", "(cast ?x :dtype ?e)",
         .when = "widens", .example = "(cast (cast x :dtype f64) :dtype f16)"),
    RULE(cast_constant,     CANONICAL, EXACT,  "(cast ?x :dtype ?d)",                 NULL,
         .build = cast_constant, .example = "(cast (const i32 [] [3]) :dtype f32)"),
    RULE(reshape_same,      CANONICAL, EXACT,  "(reshape ?x)",                        "?x",
         .when = "same_type", .example = "(reshape x :shape [2 3])"),
    RULE(reshape_reshape,   CANONICAL, EXACT,  "(reshape (reshape ?x))",              NULL,
         .build = cg__skip_inner, .example = "(reshape (reshape x :shape [6]) :shape [3 2])"),
    RULE(reshape_expand,    CANONICAL, EXACT,  "(reshape (expand_dims ?x))",          NULL,
         .build = cg__skip_inner, .example = "(reshape (expand_dims x :axis 1) :shape [3 2])"),
    RULE(broadcast_same,    CANONICAL, EXACT,  "(broadcast_to ?x)",                   "?x",
         .when = "same_type", .example = "(broadcast_to x :shape [2 3])"),
    RULE(broadcast_twice,   CANONICAL, EXACT,  "(broadcast_to (broadcast_to ?x))",    NULL,
         .build = cg__skip_inner, .example = "(broadcast_to (broadcast_to x :shape [4 2 3]) :shape [5 4 2 3])"),
    RULE(broadcast_expand,  CANONICAL, EXACT,  "(broadcast_to (expand_dims ?x))",     NULL,
         .when = "axis_is_first", .build = cg__skip_inner, .example = "(broadcast_to (expand_dims x :axis 0) :shape [4 2 3])"),
    RULE(reshape_swapped,   CANONICAL, EXACT,  "(reshape (transpose ?x :axes ?a))",   NULL,
         .build = cg__reshape_swapped, .example = "(reshape (transpose (reshape x :shape [1 2 3]) :axes [0 2 1]) :shape [3 2])"),
    RULE(transpose_twice,   CANONICAL, EXACT,  "(transpose (transpose ?x :axes ?a) :axes ?b)", NULL,
         .build = cg__transpose_once, .example = "(transpose (transpose x :axes [1 0]) :axes [1 0])"),
    RULE(transpose_none,    CANONICAL, EXACT,  "(transpose ?x :axes ?a)",             "?x",
         .when = "axes_in_order", .example = "(transpose x :axes [0 1])"),
    RULE(slice_slice,       CANONICAL, EXACT,  "(slice (slice ?x))",                  NULL,
         .build = cg__slice_once, .example = "(slice (slice x :start [none 0] :stop [none 3] :step [1 2]) :start [none 1] :stop [none 2] :step [-1 1])"),

    /* parts beside one another, and parts of what is computed element by element */
    RULE(join_parts,        CANONICAL, ULP,    "(add ?x ?y)",                         NULL,
         .build = cg__join_parts, .example = "(add (unslice x :start [0 3] :shape [2 6]) (unslice (neg x) :start [0 0] :shape [2 6]))"),
    RULE(slice_of_map,      FAST,      EXACT,  "(slice ?x)",                          NULL,
         .build = cg__slice_of_map, .example = "(slice (tanh x) :start [none 1] :stop [none 2])"),
    /* parts that are written: slices of them, and of them again; sums with what is added up in zeros */
    RULE(slice_set,         CANONICAL, EXACT,  "(slice (set_slice ?x ?y))",           NULL,
         .build = cg__slice_written, .example = "(slice (set_slice x s :start [none 1]) :start [none 1] :stop [none 3])"),
    RULE(slice_inc,         CANONICAL, EXACT,  "(slice (inc_slice ?x ?y))",           NULL,
         .build = cg__slice_written, .example = "(slice (inc_slice x y) :start [none 0] :stop [none 3] :step [1 1])"),
    RULE(set_all,           CANONICAL, EXACT,  "(set_slice ?x ?y)",                   "?y", .when = "writes_all"),
    RULE(inc_all,           CANONICAL, EXACT,  "(inc_slice ?x ?y)",                   "(add ?x ?y)", .when = "writes_all"),
    RULE(set_set,           CANONICAL, EXACT,  "(set_slice (set_slice ?x ?y) ?z)",    NULL,
         .build = cg__write_again, .example = "(set_slice (set_slice x 2 :step [1 -1]) y :step [1 -1])"),
    RULE(set_itself,        CANONICAL, EXACT,  "(set_slice ?x (slice ?x))",           NULL,
         .build = cg__write_itself, .example = "(set_slice x (slice x :step [1 2]) :step [1 2])"),
    RULE(set_sum,           CANONICAL, EXACT,  "(set_slice ?x (add (slice ?x) ?y))",  NULL,
         .build = cg__write_itself, .example = "(set_slice x (add (slice x :step [1 -1]) y) :step [1 -1])"),
    RULE(inc_nothing,       CANONICAL, ULP,    "(inc_slice ?x 0)",                    "?x", .example = "(inc_slice x 0 :stop [1])"),
    RULE(add_rows,          CANONICAL, ULP,    "(add ?x (inc_rows 0 ?i ?y :axis ?a):once)", "(inc_rows ?x ?i ?y :axis ?a)",
         .when = "same_type", .example = "(add x (inc_rows (zeros_like x) (const i64 [2] [1 -1]) y))"),
    RULE(sub_rows,          CANONICAL, ULP,    "(sub ?x (inc_rows 0 ?i ?y :axis ?a):once)", "(inc_rows ?x ?i (neg ?y) :axis ?a)",
         .when = "same_type", .example = "(sub x (inc_rows (zeros_like x) (const i64 [2] [1 -1]) y))"),
    RULE(mul_rows,          CANONICAL, ULP,     "(mul ?s (inc_rows ?z ?i ?y :axis ?a):once)", "(inc_rows ?z ?i (mul ?s ?y) :axis ?a)",
         .when = "scales_rows", .example = "(mul (tanh (sum x)) (inc_rows (zeros_like x) (const i64 [2] [1 -1]) y))"),

    /* reductions of reductions, of views, of what is equal everywhere */
    RULE(reshape_sum,       CANONICAL, EXACT,  "(reshape (sum ?x :axis ?a :keepdims ?k):once)", NULL,
         .build = cg__reduce_squeezed, .example = "(reshape (sum x :axis [0] :keepdims true) :shape [3])"),
    RULE(sum_sum,           CANONICAL, ULP,    "(sum (sum ?x):once)",                 NULL,
         .build = cg__reduce_once, .example = "(sum (sum x :axis [0]) :axis [0])"),
    RULE(prod_prod,         CANONICAL, ULP,    "(prod (prod ?x):once)",               NULL,
         .build = cg__reduce_once, .example = "(prod (prod x :axis [0]) :axis [0])"),
    RULE(max_max,           CANONICAL, ULP,    "(max (max ?x):once)",                 NULL,
         .build = cg__reduce_once, .example = "(max (max x :axis [0]) :axis [0])"),
    RULE(min_min,           CANONICAL, ULP,    "(min (min ?x):once)",                 NULL,
         .build = cg__reduce_once, .example = "(min (min x :axis [0]) :axis [0])"),
    RULE(any_any,           CANONICAL, EXACT,  "(any (any ?x):once)",                 NULL,
         .build = cg__reduce_once, .example = "(any (any c :axis [0]) :axis [0])"),
    RULE(all_all,           CANONICAL, EXACT,  "(all (all ?x):once)",                 NULL,
         .build = cg__reduce_once, .example = "(all (all c :axis [0]) :axis [0])"),
    RULE(sum_transpose,     CANONICAL, ULP,    "(sum (transpose ?x :axes ?a))",       NULL,
         .build = cg__reduce_transposed, .example = "(sum (transpose x :axes [1 0]) :axis [0])"),
    RULE(mean_transpose,    CANONICAL, ULP,    "(mean (transpose ?x :axes ?a))",      NULL,
         .build = cg__reduce_transposed, .example = "(mean (transpose x :axes [1 0]) :axis [0])"),
    RULE(max_transpose,     CANONICAL, ULP,    "(max (transpose ?x :axes ?a))",       NULL,
         .build = cg__reduce_transposed, .example = "(max (transpose x :axes [1 0]) :axis [0])"),
    RULE(min_transpose,     CANONICAL, ULP,    "(min (transpose ?x :axes ?a))",       NULL,
         .build = cg__reduce_transposed, .example = "(min (transpose x :axes [1 0]) :axis [0])"),
    RULE(sum_reshape,       CANONICAL, ULP,    "(sum (reshape ?x))",                  NULL,
         .build = cg__reduce_all, .example = "(sum (reshape x :shape [6]))"),
    RULE(mean_reshape,      CANONICAL, ULP,    "(mean (reshape ?x))",                 NULL,
         .build = cg__reduce_all, .example = "(mean (reshape x :shape [6]))"),
    RULE(max_reshape,       CANONICAL, ULP,    "(max (reshape ?x))",                  NULL,
         .build = cg__reduce_all, .example = "(max (reshape x :shape [6]))"),
    RULE(min_reshape,       CANONICAL, ULP,    "(min (reshape ?x))",                  NULL,
         .build = cg__reduce_all, .example = "(min (reshape x :shape [6]))"),
    RULE(sum_broadcast,     CANONICAL, ULP,    "(sum (broadcast_to ?x))",             NULL,
         .build = cg__sum_of_equal, .example = "(sum (broadcast_to x :shape [4 2 3]) :axis [0 2])"),
    RULE(sum_none,          CANONICAL, ULP,    "(sum ?x)",                            "?x",
         .when = "reduces_nothing", .example = "(sum (expand_dims x :axis 0) :axis [0] :keepdims true)"),
    RULE(mean_none,         CANONICAL, ULP,    "(mean ?x)",                           "?x",
         .when = "reduces_nothing", .example = "(mean (expand_dims x :axis 0) :axis [0] :keepdims true)"),
    RULE(max_none,          CANONICAL, EXACT,  "(max ?x)",                            "?x",
         .when = "reduces_nothing", .example = "(max (expand_dims x :axis 0) :axis [0] :keepdims true)"),
    RULE(min_none,          CANONICAL, EXACT,  "(min ?x)",                            "?x",
         .when = "reduces_nothing", .example = "(min (expand_dims x :axis 0) :axis [0] :keepdims true)"),
    RULE(sum_neg,           CANONICAL, ULP,    "(sum (neg ?x) :axis ?a :keepdims ?k)", "(neg (sum ?x :axis ?a :keepdims ?k))",
         .when = "is_float", .example = "(sum (neg x) :axis [1] :keepdims false)"),
    RULE(max_neg,           CANONICAL, ULP,    "(max (neg ?x) :axis ?a :keepdims ?k)", "(neg (min ?x :axis ?a :keepdims ?k))",
         .when = "is_float", .example = "(max (neg x) :axis [1] :keepdims false)"),
    RULE(min_neg,           CANONICAL, ULP,    "(min (neg ?x) :axis ?a :keepdims ?k)", "(neg (max ?x :axis ?a :keepdims ?k))",
         .when = "is_float", .example = "(min (neg x) :axis [1] :keepdims false)"),

    /* a factor sinks into a choice: what is NaN there cannot reach the branch that is zero */
    RULE(mul_where,         STABLE,    SAFER,  "(mul ?a (where ?c ?x 0))",            "(where ?c (mul ?a ?x) 0)"),
    RULE(mul_where_else,    STABLE,    SAFER,  "(mul ?a (where ?c 0 ?x))",            "(where ?c 0 (mul ?a ?x))"),
    RULE(div_where,         STABLE,    SAFER,  "(div (where ?c ?x 0) ?a)",            "(where ?c (div ?x ?a) 0)"),
    RULE(div_where_else,    STABLE,    SAFER,  "(div (where ?c 0 ?x) ?a)",            "(where ?c 0 (div ?x ?a))"),

    /* where the written form overflows or cancels */
    RULE(log_exp,           STABLE,    SAFER,  "(log (exp ?x))",                      "?x"),
    RULE(exp_log,           STABLE,    UNSAFE, "(exp (log ?x))",                      "?x"),
    RULE(log_add_exp,       STABLE,    SAFER,  "(log (add (exp ?x) (exp ?y)))",       "(logaddexp ?x ?y)"),
    RULE(log1p_exp,         STABLE,    SAFER,  "(log1p (exp ?x))",                    "(softplus ?x)"),
    RULE(softplus,          STABLE,    SAFER,  "(log (add 1 (exp ?x)))",              "(softplus ?x)"),
    RULE(log1p,             STABLE,    SAFER,  "(log (add 1 ?x))",                    "(log1p ?x)"),
    RULE(log1mexp,          STABLE,    SAFER,  "(log (sub 1 (exp ?x)))",              "(log1mexp ?x)"),
    RULE(log1mexp_expm1,    STABLE,    SAFER,  "(log (neg (expm1 ?x)))",              "(log1mexp ?x)"),
    RULE(log1p_neg_exp,     STABLE,    SAFER,  "(log1p (neg (exp ?x)))",              "(log1mexp ?x)"),
    RULE(log1p_neg,         STABLE,    SAFER,  "(log (sub 1 ?x))",                    "(log1p (neg ?x))"),
    RULE(expm1,             STABLE,    SAFER,  "(sub (exp ?x) 1)",                    "(expm1 ?x)"),
    RULE(expm1_add,         STABLE,    SAFER,  "(add (exp ?x) -1)",                   "(expm1 ?x)"),
    RULE(one_less_exp,      STABLE,    SAFER,  "(sub 1 (exp ?x))",                    "(neg (expm1 ?x))"),
    RULE(log_sigmoid,       STABLE,    SAFER,  "(log (sigmoid ?x))",                  "(neg (softplus (neg ?x)))"),
    RULE(log1p_sigmoid,     STABLE,    SAFER,  "(log1p (neg (sigmoid ?x)))",          "(neg (softplus ?x))"),
    RULE(log_softplus_neg,  STABLE,    SAFER,  "(log (sub 1 (sigmoid ?x)))",          "(neg (softplus ?x))"),
    RULE(exp_softplus,      STABLE,    ULP,    "(exp (neg (softplus ?x)))",           "(sigmoid (neg ?x))"),
    RULE(sigmoid,           STABLE,    ULP,    "(div 1 (add 1 (exp (neg ?x))))",      "(sigmoid ?x)"),
    RULE(sigmoid_inverse,   STABLE,    ULP,    "(reciprocal (add 1 (exp (neg ?x))))", "(sigmoid ?x)"),
    RULE(sigmoid_neg,       STABLE,    ULP,    "(div 1 (add 1 (exp ?x)))",            "(sigmoid (neg ?x))"),
    RULE(sigmoid_exp,       STABLE,    SAFER,  "(div (exp ?x) (add 1 (exp ?x)))",     "(sigmoid ?x)"),
    RULE(over_one_plus,     STABLE,    ULP,    "(div ?y (add 1 (exp ?x)))",           "(mul ?y (sigmoid (neg ?x)))"),
    RULE(sigmoid_times,     STABLE,    SAFER,  "(mul (exp ?x) (sigmoid (neg ?x)) ?*rest)", "(mul (sigmoid ?x) ?*rest)",
         .chain = true, .example = "(mul (exp x) (mul y (sigmoid (neg x))))"),
    RULE(sigmoid_times_neg, STABLE,    SAFER,  "(mul (exp (neg ?x)) (sigmoid ?x) ?*rest)", "(mul (sigmoid (neg ?x)) ?*rest)",
         .chain = true, .example = "(mul (exp (neg x)) (mul y (sigmoid x)))"),
    RULE(log_sigmoid_grad, STABLE,    SAFER, "(mul (div ?g (sigmoid ?x)) (sigmoid ?x) ?*rest)", "(mul ?g ?*rest)", .chain = true,
         .example = "(mul (div y (sigmoid x)) (mul (sigmoid x) a))"),
    RULE(log_exp_grad,     STABLE,    SAFER, "(mul (div ?g (exp ?x)) (exp ?x) ?*rest)", "(mul ?g ?*rest)", .chain = true,
         .example = "(mul (div y (exp x)) (mul (exp x) a))"),
    RULE(one_less_sigmoid,  STABLE,    SAFER,  "(sub 1 (sigmoid ?x))",                "(sigmoid (neg ?x))"),
    RULE(tanh,              STABLE,    SAFER,  "(div (sub (exp ?x) (exp (neg ?x))) (add (exp ?x) (exp (neg ?x))))", "(tanh ?x)"),
    RULE(sqrt_square,       STABLE,    SAFER,  "(sqrt (square ?x))",                  "(abs ?x)"),
    RULE(sqrt_mul,          STABLE,    SAFER,  "(sqrt (mul ?x ?x))",                  "(abs ?x)"),
    RULE(hypot,             STABLE,    SAFER,  "(sqrt (add (square ?x) (square ?y)))", "(hypot ?x ?y)"),
    RULE(hypot_mul,         STABLE,    SAFER,  "(sqrt (add (mul ?x ?x) (mul ?y ?y)))", "(hypot ?x ?y)"),
    RULE(log_reciprocal,    STABLE,    SAFER,  "(log (reciprocal ?x))",               "(neg (log ?x))"),
    RULE(log_inverse,       STABLE,    SAFER,  "(log (div 1 ?x))",                    "(neg (log ?x))"),
    RULE(erfc,              STABLE,    SAFER,  "(sub 1 (erf ?x))",                    "(erfc ?x)"),
    RULE(erfc_neg,          STABLE,    SAFER,  "(add 1 (erf ?x))",                    "(erfc (neg ?x))"),
    RULE(erf,               STABLE,    SAFER,  "(sub 1 (erfc ?x))",                   "(erf ?x)"),
    RULE(erfc_less,         STABLE,    SAFER,  "(sub (erf ?x) 1)",                    "(neg (erfc ?x))"),
    RULE(log_erfc,          STABLE,    SAFER,  "(log (erfc ?x))",                     "(where (greater ?x 1) (sub (log (erfcx ?x)) (square ?x)) (log1p (neg (erf ?x))))"),
    RULE(erfc_gradient,     STABLE,    SAFER,  "(mul (div ?g (erfc ?x)) (exp (neg (square ?x))) ?*rest)", "(mul (div ?g (erfcx ?x)) ?*rest)",
         .chain = true, .example = "(mul (div y (erfc x)) (mul (exp (neg (square x))) 2))"),
    RULE(log_softmax,       STABLE,    SAFER,  "(log (softmax ?x :axis ?a))",         "(log_softmax ?x :axis ?a)",
         .example = "(log (softmax x :axis 1))"),
    RULE(exp_log_softmax,   STABLE,    ULP,    "(exp (log_softmax ?x :axis ?a))",     "(softmax ?x :axis ?a)",
         .example = "(exp (log_softmax x :axis 1))"),
    RULE(softmax,           STABLE,    SAFER,  "(div (exp ?x) (sum (exp ?x) :axis ?a :keepdims true))", "(softmax ?x :axis ?a)",
         .example = "(div (exp x) (sum (exp x) :axis [1] :keepdims true))"),
    RULE(softmax_gradient,  STABLE,    SAFER,  "(mul " SOFTMAX " (sub (div ?g " SOFTMAX ") (sum (mul (div ?g " SOFTMAX ") " SOFTMAX ") :axis ?b :keepdims true)))", "(sub ?g (mul " SOFTMAX " (sum ?g :axis ?b :keepdims true)))",
         .example = "(mul (softmax x :axis 1) (sub (div y (softmax x :axis 1)) (sum (mul (div y (softmax x :axis 1)) (softmax x :axis 1)) :axis [1] :keepdims true)))"),
    RULE(softmax_written_grad, STABLE, SAFER,
         "(mul (add (div ?g " SUM_EXP ") (broadcast_to (neg (sum (div (mul ?h " SOFTMAX ") " SUM_EXP ") :axis ?a :keepdims true)))) (exp ?x))",
         "(mul " SOFTMAX " (sub ?g (sum (mul ?h " SOFTMAX ") :axis ?a :keepdims true)))",
         .example = "(mul (add (div y (sum (exp x) :axis [1] :keepdims true)) (broadcast_to (neg (sum (div (mul y (softmax x :axis 1)) "
                    "(sum (exp x) :axis [1] :keepdims true)) :axis [1] :keepdims true)) :shape [2 3])) (exp x))"),
    RULE(log_sum_exp,       STABLE,    SAFER,  "(log (sum (exp ?x) :axis ?a :keepdims ?k))", "(logsumexp ?x :axis ?a :keepdims ?k)",
         .example = "(log (sum (exp x) :axis [1] :keepdims false))"),
    RULE(less_logsumexp,    STABLE,    SAFER,  "(sub ?x (logsumexp ?x :axis ?a :keepdims true))", "(log_softmax ?x :axis ?a)",
         .example = "(sub x (logsumexp x :axis [1] :keepdims true))"),
    RULE(exp_over_sum,      STABLE,    SAFER,  "(mul (broadcast_to (div ?g (sum (exp ?x) :axis ?a))) (exp ?x))", NULL,
         .build = exp_over_sum, .example = "(mul (broadcast_to (div q (sum (exp x) :axis [1] :keepdims true)) :shape [2 3]) (exp x))"),
    RULE(exp_over_sum_flat, STABLE,    SAFER,  "(mul (broadcast_to (reshape (div ?g (sum (exp ?x) :axis ?a)))) (exp ?x))", NULL,
         .build = exp_over_sum, .example = "(mul (broadcast_to (reshape (div p (sum (exp x) :axis [1])) :shape [2 1]) :shape [2 3]) (exp x))"),

    /* scalars, signs, addends and transposes into products (blas.c) */
    RULE(product_scaled,    BLAS,      ULP,    "(mul ?x ?y)",                         NULL,
         .build = cg__product_form, .example = "(mul (matmul x (transpose y)) 2)"),
    RULE(product_negative,  BLAS,      ULP,    "(neg ?x)",                            NULL,
         .build = cg__product_form, .example = "(neg (matmul x (transpose y)))"),
    RULE(product_added,     BLAS,      ULP,    "(add ?x ?y)",                         NULL,
         .build = cg__product_form, .example = "(add (matmul x (transpose y)) s)"),
    RULE(product_less,      BLAS,      ULP,    "(sub ?x ?y)",                         NULL,
         .build = cg__product_form, .example = "(sub s (mul 0.5 (matmul x (transpose y))))"),
    RULE(product_transposed, BLAS,      ULP,    "(transpose (matmul ?x ?y):once :axes ?a)", NULL,
         .build = cg__product_transposed, .example = "(transpose (matmul x (transpose y)) :axes [1 0])"),
    RULE(product_swapped,    BLAS,      ULP,    "(transpose (reshape (matmul ?x ?y):once):once :axes ?a)", NULL,
         .build = cg__product_swapped, .example = "(transpose (reshape (matmul x (transpose y)) :shape [1 2 2]) :axes [0 2 1])"),

    /* the same, cheaper */
    RULE(square,            FAST,      EXACT,  "(mul ?x ?x)",                         "(square ?x)"),
    RULE(power_two,         FAST,      ULP,    "(power ?x 2)",                        "(square ?x)"),
    RULE(power_three,       FAST,      ULP,    "(power ?x 3)",                        "(mul ?x (square ?x))"),
    RULE(power_four,        FAST,      ULP,    "(power ?x 4)",                        "(square (square ?x))"),
    RULE(power_minus_one,   FAST,      ULP,    "(power ?x -1)",                       "(reciprocal ?x)"),
    RULE(mul_reciprocal,    FAST,      SAFER,  "(mul ?x (div 1 ?y))",                 "(div ?x ?y)"),
    RULE(mul_recip,         FAST,      SAFER,  "(mul ?x (reciprocal ?y))",            "(div ?x ?y)"),
    RULE(div_power_of_two,  FAST,      EXACT,  "(div ?x ?y)",                         NULL, .build = mul_by_inverse, .example = "(div x 4)"),
};

const char *const cg__phase_names[CG_PHASE_COUNT] = { "canonical", "stable", "blas", "fast" };

int cg__rules(const cg_rule **rows)
{
    *rows = rules;
    return CG_LEN(rules);
}

static const struct { const char *name, *means; } claims[] = {
    [CG_EXACT_EXACT] = { "exact", "the same bits" },
    [CG_EXACT_ULP] = { "ulp", "the same but for rounding, the sign of a zero, or the order of a sum" },
    [CG_EXACT_SAFER] = { "safer", "right also where the old side overflows or cancels" },
    [CG_EXACT_UNSAFE] = { "unsafe", "may hide NaN or infinity, so it is never applied" },
};

const char *cg__exact_name(cg_exact e) { return claims[e].name; }

static void describe_rule(const cg_rule *r, cg_strb *out)
{
    cg__strb(out, "  %-22s %-6s %s -> %s", r->name, claims[r->exact].name, r->match, r->replace ? r->replace : "(built by a function)");
    cg__strb(out, "%s%s%s\n", r->when ? " when " : "", r->when ? r->when : "", r->chain ? " in a chain" : "");
}

CG_API char *cg_list_rules(void)
{
    static const char intro[] =
        "Rules by phase; the phases run in this order. ?x is any expression, the same one everywhere; ?x:once one that nothing else reads; a number is a\n"
        "constant that equals it everywhere; (@FLAG ?x) any elementwise operation with that property; ?*rest, in a chain, the other terms of a sum or product.\n"
        "Commutative operations are tried in both orders. What a rule claims:\n";
    cg_strb out = { 0 };
    cg__strb_add(&out, intro, sizeof intro - 1);
    for (int i = 0; i < CG_LEN(claims); i++)
        cg__strb(&out, "  %-6s %s\n", claims[i].name, claims[i].means);
    for (int phase = 0; phase < CG_PHASE_COUNT; phase++) {
        cg__strb(&out, "\n%s\n", cg__phase_names[phase]);
        for (int i = 0; i < CG_LEN(rules); i++)
            if ((int)rules[i].phase == phase)
                describe_rule(&rules[i], &out);
    }
    cg__list_loop_rewrites(&out);
    return cg__text_result(&out, "cg_list_rules");
}
