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
    const cg_type *x = &n->type, *y = &b->node[0]->type;
    bool same = x->dtype == y->dtype && x->rank == y->rank;
    for (int i = 0; same && i < x->rank; i++)
        same = cg__dim_same(x->dim[i], y->dim[i]);
    return same;
}

static bool axes_in_order(const cg_node *n, const cg_bind *b)
{
    bool same = b->attr[0]->n == n->type.rank;
    for (int i = 0; same && i < b->attr[0]->n; i++)
        same = b->attr[0]->at[i] == i;
    return same;
}

/* -x of an unsigned integer wraps, and is not as far from 0 as x. */
static bool has_sign(const cg_node *n, const cg_bind *b)
{
    (void)b;
    return cg__dtypes[n->type.dtype].kind != CG_KIND_UINT;
}

/* The inner cast loses nothing: the same kind, and no narrower. */
static bool widens(const cg_node *n, const cg_bind *b)
{
    (void)n;
    const cg_dtype_row *from = &cg__dtypes[b->node[0]->type.dtype], *to = &cg__dtypes[b->attr[0]->at[0]];
    return from->kind == to->kind && from->kind != CG_KIND_BOOL && from->bytes < to->bytes;
}

/* ---- builders */

/* n on the operand of its own operand: what a reshape of a reshape is, whatever sizes are named. */
static cg_node *skip_inner(const cg_node *n, const cg_bind *b)
{
    cg_node *in[1 + CG_MAX_RANK];
    if (n->nin > CG_LEN(in))
        return NULL;
    memcpy(in, n->in, (size_t)n->nin * sizeof *in);
    in[0] = b->node[0];
    return cg__build(n->graph, cg__op_id(n), in, n->nin, n->attr);
}

static cg_node *transpose_once(const cg_node *n, const cg_bind *b)
{
    int64_t axes[CG_MAX_RANK];
    const cg_attr *inner = b->attr[0], *outer = b->attr[1];
    if (inner->n != n->type.rank || outer->n != n->type.rank)
        return NULL;
    bool in_order = true;
    for (int i = 0; i < outer->n; i++) {
        axes[i] = inner->at[outer->at[i]];
        in_order &= axes[i] == i;
    }
    return in_order ? b->node[0] : cg_transpose(b->node[0], axes, outer->n);
}

/* x / c is x * (1 / c), exactly, when c is a power of two of the middle of the range. */
static cg_node *mul_by_inverse(const cg_node *n, const cg_bind *b)
{
    double c = 0;
    if (!cg__is_const(b->node[1], &c))
        return NULL;
    for (double p = 0x1p-12; p <= 0x1p12; p *= 2)
        if (c == p)
            return cg_mul(b->node[0], cg__splat(n->graph, n->type.dtype, 1 / c));
    return NULL;
}

/* ---- tables */

static const cg_rule rules[] = {
    /* what changes nothing. x + 0 turns -0 into 0, hence ULP */
    RULE(add_zero,         CANONICAL, ULP,    "(add ?x 0)",                      "?x"),
    RULE(sub_zero,         CANONICAL, ULP,    "(sub ?x 0)",                      "?x"),
    RULE(zero_sub,         CANONICAL, ULP,    "(sub 0 ?x)",                      "(neg ?x)"),
    RULE(mul_one,          CANONICAL, EXACT,  "(mul ?x 1)",                      "?x"),
    RULE(mul_minus_one,    CANONICAL, EXACT,  "(mul ?x -1)",                     "(neg ?x)"),
    RULE(mul_zero,         CANONICAL, UNSAFE, "(mul ?x 0)",                      "0"),
    RULE(div_one,          CANONICAL, EXACT,  "(div ?x 1)",                      "?x"),
    RULE(div_minus_one,    CANONICAL, EXACT,  "(div ?x -1)",                     "(neg ?x)"),
    RULE(power_one,        CANONICAL, EXACT,  "(power ?x 1)",                    "?x"),
    RULE(neg_neg,          CANONICAL, EXACT,  "(neg (neg ?x))",                  "?x"),
    RULE(abs_abs,          CANONICAL, EXACT,  "(abs (abs ?x))",                  "(abs ?x)"),
    RULE(abs_neg,          CANONICAL, EXACT,  "(abs (neg ?x))",                  "(abs ?x)", .when = has_sign),
    RULE(square_neg,       CANONICAL, EXACT,  "(square (neg ?x))",               "(square ?x)"),
    RULE(square_abs,       CANONICAL, EXACT,  "(square (abs ?x))",               "(square ?x)"),
    RULE(relu_relu,        CANONICAL, EXACT,  "(relu (relu ?x))",                "(relu ?x)"),
    RULE(maximum_same,     CANONICAL, EXACT,  "(maximum ?x ?x)",                 "?x"),
    RULE(minimum_same,     CANONICAL, EXACT,  "(minimum ?x ?x)",                 "?x"),
    RULE(maximum_zero,     CANONICAL, ULP,    "(maximum ?x 0)",                  "(relu ?x)"),
    RULE(where_true,       CANONICAL, EXACT,  "(where 1 ?x ?y)",                 "?x"),
    RULE(where_false,      CANONICAL, EXACT,  "(where 0 ?x ?y)",                 "?y"),
    RULE(where_same,       CANONICAL, EXACT,  "(where ?c ?x ?x)",                "?x"),
    RULE(sub_same,         CANONICAL, UNSAFE, "(sub ?x ?x)",                     "0"),
    RULE(div_same,         CANONICAL, UNSAFE, "(div ?x ?x)",                     "1"),

    /* signs move out of sums and products */
    RULE(add_neg,          CANONICAL, EXACT,  "(add ?x (neg ?y))",               "(sub ?x ?y)"),
    RULE(sub_neg,          CANONICAL, EXACT,  "(sub ?x (neg ?y))",               "(add ?x ?y)"),
    RULE(mul_neg_neg,      CANONICAL, EXACT,  "(mul (neg ?x) (neg ?y))",         "(mul ?x ?y)"),
    RULE(div_neg_neg,      CANONICAL, EXACT,  "(div (neg ?x) (neg ?y))",         "(div ?x ?y)"),
    RULE(neg_sub,          CANONICAL, ULP,    "(neg (sub ?x ?y))",               "(sub ?y ?x)"),

    /* shapes and casts */
    RULE(cast_same,        CANONICAL, EXACT,  "(cast ?x :dtype ?d)",             "?x", .when = same_type, .example = "(cast x :dtype f32)"),
    RULE(cast_widened,     CANONICAL, EXACT,  "(cast (cast ?x :dtype ?d) :dtype ?e)", "(cast ?x :dtype ?e)", .when = widens,
      .example = "(cast (cast x :dtype f64) :dtype i32)"),
    RULE(reshape_same,     CANONICAL, EXACT,  "(reshape ?x)",                    "?x", .when = same_type, .example = "(reshape x :shape [2 3])"),
    RULE(reshape_reshape,  CANONICAL, EXACT,  "(reshape (reshape ?x))",          NULL, .build = skip_inner,
      .example = "(reshape (reshape x :shape [6]) :shape [3 2])"),
    RULE(broadcast_same,   CANONICAL, EXACT,  "(broadcast_to ?x)",               "?x", .when = same_type,
      .example = "(broadcast_to x :shape [2 3])"),
    RULE(broadcast_twice,  CANONICAL, EXACT,  "(broadcast_to (broadcast_to ?x))", NULL, .build = skip_inner,
      .example = "(broadcast_to (broadcast_to x :shape [4 2 3]) :shape [5 4 2 3])"),
    RULE(transpose_twice,  CANONICAL, EXACT,  "(transpose (transpose ?x :axes ?a) :axes ?b)", NULL, .build = transpose_once,
      .example = "(transpose (transpose x :axes [1 0]) :axes [1 0])"),
    RULE(transpose_none,   CANONICAL, EXACT,  "(transpose ?x :axes ?a)",         "?x", .when = axes_in_order,
      .example = "(transpose x :axes [0 1])"),

    /* where the written form overflows or cancels */
    RULE(log_exp,          STABLE,    SAFER,  "(log (exp ?x))",                  "?x"),
    RULE(exp_log,          STABLE,    UNSAFE, "(exp (log ?x))",                  "?x"),
    RULE(log1p_exp,        STABLE,    SAFER,  "(log1p (exp ?x))",                "(softplus ?x)"),
    RULE(softplus,         STABLE,    SAFER,  "(log (add 1 (exp ?x)))",          "(softplus ?x)"),
    RULE(log1p,            STABLE,    SAFER,  "(log (add 1 ?x))",                "(log1p ?x)"),
    RULE(log1p_neg,        STABLE,    SAFER,  "(log (sub 1 ?x))",                "(log1p (neg ?x))"),
    RULE(expm1,            STABLE,    SAFER,  "(sub (exp ?x) 1)",                "(expm1 ?x)"),
    RULE(expm1_add,        STABLE,    SAFER,  "(add (exp ?x) -1)",               "(expm1 ?x)"),
    RULE(log_sigmoid,      STABLE,    SAFER,  "(log (sigmoid ?x))",              "(neg (softplus (neg ?x)))"),
    RULE(sigmoid,          STABLE,    SAFER,  "(div 1 (add 1 (exp (neg ?x))))",  "(sigmoid ?x)"),
    RULE(sigmoid_inverse,  STABLE,    SAFER,  "(reciprocal (add 1 (exp (neg ?x))))", "(sigmoid ?x)"),
    RULE(sigmoid_exp,      STABLE,    SAFER,  "(div (exp ?x) (add 1 (exp ?x)))", "(sigmoid ?x)"),
    RULE(one_less_sigmoid, STABLE,    SAFER,  "(sub 1 (sigmoid ?x))",            "(sigmoid (neg ?x))"),
    RULE(sqrt_square,      STABLE,    SAFER,  "(sqrt (square ?x))",              "(abs ?x)"),
    RULE(log_softmax,      STABLE,    SAFER,  "(log (softmax ?x :axis ?a))",     "(log_softmax ?x :axis ?a)",
      .example = "(log (softmax x :axis 1))"),
    RULE(softmax,          STABLE,    SAFER,  "(div (exp ?x) (sum (exp ?x) :axis ?a :keepdims true))", "(softmax ?x :axis ?a)",
      .example = "(div (exp x) (sum (exp x) :axis [1] :keepdims true))"),
    RULE(log_sum_exp,      STABLE,    SAFER,  "(sub ?x (log (sum (exp ?x) :axis ?a :keepdims true)))", "(log_softmax ?x :axis ?a)",
      .example = "(sub x (log (sum (exp x) :axis [1] :keepdims true)))"),

    /* the same, cheaper */
    RULE(square,           FAST,      EXACT,  "(mul ?x ?x)",                     "(square ?x)"),
    RULE(power_two,        FAST,      ULP,    "(power ?x 2)",                    "(square ?x)"),
    RULE(power_three,      FAST,      ULP,    "(power ?x 3)",                    "(mul ?x (square ?x))"),
    RULE(power_minus_one,  FAST,      ULP,    "(power ?x -1)",                   "(reciprocal ?x)"),
    RULE(div_power_of_two, FAST,      EXACT,  "(div ?x ?y)",                     NULL, .build = mul_by_inverse, .example = "(div x 4)"),
};

int cg__rules(const cg_rule **rows)
{
    *rows = rules;
    return CG_LEN(rules);
}

char *cg__rules_text(void)
{
    static const char *const phases[] = { "canonical", "stable", "fast" };
    static const char *const exact[] = { "exact", "ulp", "safer", "unsafe" };
    cg_strb out = { 0 };
    for (int i = 0; i < CG_LEN(rules); i++)
        cg__strb(&out, "%-17s %-9s %-6s %s -> %s\n", rules[i].name, phases[rules[i].phase], exact[rules[i].exact], rules[i].match,
                 rules[i].replace ? rules[i].replace : "(built)");
    return cg__strb_take(&out);
}
