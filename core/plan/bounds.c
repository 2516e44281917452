// SPDX-License-Identifier: MIT
/* Between which values each number of a plan lies in a call: by intervals, since the steps of loops and what is found behind cuts are not
 * known when memory is planned.
 *
 * Invariant: both ends are right, not always tight: t + 1 - t lies in 1-n .. n+1 for 0 <= t <= n. Ends that overflow stay at the ends of int64.
 */
#include "core/plan/plan.h"

typedef struct range { int64_t lo, hi; } range;

static int64_t plus(int64_t a, int64_t b)
{
    int64_t c;
    return __builtin_add_overflow(a, b, &c) ? (a > 0 ? INT64_MAX : INT64_MIN) : c;
}

static int64_t minus(int64_t a, int64_t b)
{
    int64_t c;
    return __builtin_sub_overflow(a, b, &c) ? (a >= 0 ? INT64_MAX : INT64_MIN) : c;
}

static int64_t times(int64_t a, int64_t b)
{
    int64_t c;
    return __builtin_mul_overflow(a, b, &c) ? ((a > 0) == (b > 0) ? INT64_MAX : INT64_MIN) : c;
}

static int64_t floored(int64_t a, int64_t b)
{
    return b == -1 ? minus(0, a) : a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static range both(range a, range b) { return (range){ least(a.lo, b.lo), most(a.hi, b.hi) }; }

static range corners(range a, range b, int64_t (*f)(int64_t, int64_t))
{
    const int64_t p = f(a.lo, b.lo), q = f(a.lo, b.hi), r = f(a.hi, b.lo), s = f(a.hi, b.hi);
    return (range){ least(least(p, q), least(r, s)), most(most(p, q), most(r, s)) };
}

static int64_t magnitude(range a) { return most(minus(0, a.lo), a.hi); }

/* By something that may be 0 or of either sign the result is no larger than what is divided. */
static range quotient(range a, range b)
{
    return b.lo > 0 || b.hi < 0 ? corners(a, b, floored) : (range){ minus(0, magnitude(a)), magnitude(a) };
}

static range rest(range a, range b)
{
    const int64_t end = minus(magnitude(b), 1);
    if (b.lo > 0)
        return (range){ 0, a.lo >= 0 ? least(a.hi, end) : end };
    return (range){ minus(0, most(end, 0)), most(end, 0) };
}

static range apply(cg_num_op op, range a, range b, range c)
{
    switch (op) {
    case CG_N_ADD: return (range){ plus(a.lo, b.lo), plus(a.hi, b.hi) };
    case CG_N_SUB: return (range){ minus(a.lo, b.hi), minus(a.hi, b.lo) };
    case CG_N_MUL: return corners(a, b, times);
    case CG_N_FDIV: return quotient(a, b);
    case CG_N_MOD: return rest(a, b);
    case CG_N_MAX: return (range){ most(a.lo, b.lo), most(a.hi, b.hi) };
    case CG_N_MIN: return (range){ least(a.lo, b.lo), least(a.hi, b.hi) };
    case CG_N_NEG: return (range){ minus(0, a.hi), minus(0, a.lo) };
    case CG_N_LT:
    case CG_N_EQ: return (range){ 0, 1 };
    case CG_N_STRETCH: return both(a, b);
    case CG_N_SELECT: return a.lo > 0 || a.hi < 0 ? b : a.lo == 0 && a.hi == 0 ? c : both(b, c);
    default: return a;                   /* checks */
    }
}

void cg__nums_bounds(const cg_plan *p, const int64_t *n, int64_t *lo, int64_t *hi)
{
    for (int i = 0; i < p->nums.n; i++) {
        const cg_num_ins *in = &p->nums.at[i];
        range r = { n[i], n[i] };
        if (in->op == CG_N_STEP || in->op == CG_N_FOUND)
            r = (range){ 0, most(minus(hi[in->b], in->op == CG_N_STEP), 0) };
        else if (in->op == CG_N_READ)
            r = (range){ INT64_MIN, INT64_MAX };
        else if (in->step || in->cut)
            r = apply(in->op, (range){ lo[in->a], hi[in->a] }, (range){ lo[in->b], hi[in->b] }, (range){ lo[in->c], hi[in->c] });
        lo[i] = r.lo;
        hi[i] = r.hi;
    }
}
