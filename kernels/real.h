// SPDX-License-Identifier: MIT
/* One text for f32 and f64: functions made of others, and activations. */
//@ maximum
CG_FN T M(maximum)(T a, T b) { return a > b || a != a ? a : b; }
//@ minimum
CG_FN T M(minimum)(T a, T b) { return a < b || a != a ? a : b; }
//@ fmax
CG_FN T M(fmax)(T a, T b) { return a >= b || b != b ? a : b; }
//@ fmin
CG_FN T M(fmin)(T a, T b) { return a <= b || b != b ? a : b; }
//@ clip
CG_FN T M(clip)(T a, T b, T c) { return b != b || a < b ? b : c != c || a > c ? c : a; }
//@ mod
/* Of the sign of b, also where it is 0 */
CG_FN T M(mod)(T a, T b)
{
    const T m = M(fmod)(a, b);
    return m == 0 ? M(copysign)(m, b) : (m < 0) != (b < 0) ? m + b : m;
}
//@ floor_divide
/* (a - mod) / b is whole but for rounding */
CG_FN T M(floor_divide)(T a, T b)
{
    const T m = M(fmod)(a, b), q = (a - m) / b, d = m != 0 && (m < 0) != (b < 0) ? q - 1 : q;
    const T f = M(floor)(d), r = d - f > K(0.5) ? f + 1 : f;
    return b == 0 ? a / b : d == 0 ? M(copysign)(K(0.0), a / b) : r;
}
//@ logaddexp
/* Of two equal infinities the difference is NaN, and stands for 0; the greater of a and NaN is NaN. */
CG_FN T M(logaddexp)(T a, T b)
{
    const T m = a > b || a != a ? a : b, d = M(abs)(a - b);
    return m + M(log1p)(M(exp)(d == d ? -d : K(0.0)));
}
//@ logaddexp2
CG_FN T M(logaddexp2)(T a, T b)
{
    const T m = a > b || a != a ? a : b, d = M(abs)(a - b);
    return m + M(log1p)(M(exp2)(d == d ? -d : K(0.0))) * K(1.4426950408889634);
}
//@ log1mexp
/* log(1 - e^x) for x < 0 (M. Maechler): each form where it does not cancel */
CG_FN T M(log1mexp)(T x)
{
    const T near = M(log)(-M(expm1)(x)), far = M(log1p)(-M(exp)(x));
    return x > K(-0.69314718) ? near : far;
}
//@ xlogy
CG_FN T M(xlogy)(T a, T b) { return a == 0 && b == b ? K(0.0) : a * M(log)(b); }
//@ xlog1py
CG_FN T M(xlog1py)(T a, T b) { return a == 0 && b == b ? K(0.0) : a * M(log1p)(b); }
//@ logit
/* log(x / (1 - x)); near 1/2 by log1p of what the quotient is above 1 */
CG_FN T M(logit)(T x)
{
    const T near = M(log1p)((K(2.0) * x - K(1.0)) / (K(1.0) - x)), far = M(log)(x / (K(1.0) - x));
    return x > K(0.3) && x < K(0.65) ? near : far;
}
//@ deg2rad
CG_FN T M(deg2rad)(T x) { return x * K(0.017453292519943295); }
//@ rad2deg
CG_FN T M(rad2deg)(T x) { return x * K(57.295779513082323); }

/* ---- activations */
//@ sigmoid
CG_FN T M(sigmoid)(T x)
{
    const T e = M(exp_neg)(x), d = K(1.0) + e;
    return (x < 0 ? e : K(1.0)) / d;
}
//@ softplus
CG_FN T M(softplus)(T x) { return (x > 0 || x != x ? x : K(0.0)) + M(log1p)(M(exp_neg)(x)); }
//@ silu
CG_FN T M(silu)(T x) { return x * M(sigmoid)(x); }
//@ mish
/* x tanh(log(1 + e^x)) = x n / (n + 2), n = e^2x + 2e^x; beyond 20 that is x */
CG_FN T M(mish)(T x)
{
    const T e = M(exp)(x > 20 ? (T)20 : x), n = e * (e + K(2.0));
    return x * (n / (n + K(2.0)));
}
//@ gelu
/* x Phi(x) */
CG_FN T M(gelu)(T x) { return x * M(normal)(x); }
//@ gelu_tanh
/* x (1 + tanh(u)) / 2 = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3) */
CG_FN T M(gelu_tanh)(T x) { return x * M(sigmoid)(K(1.5957691216057308) * (x + K(0.044715) * x * x * x)); }
//@ elu
CG_FN T M(elu)(T x, T alpha) { return x > 0 ? x : alpha * M(expm1)(x); }
//@ selu
CG_FN T M(selu)(T x) { return x > 0 ? K(1.0507009873554805) * x : K(1.7580993408473766) * M(expm1)(x); }
//@ hard_sigmoid
CG_FN T M(hard_sigmoid)(T x)
{
    const T y = x * K(0.2) + K(0.5);
    return y < 0 ? K(0.0) : y > 1 ? K(1.0) : y;
}
//@ hard_swish
CG_FN T M(hard_swish)(T x)
{
    const T y = x / K(6.0) + K(0.5);
    return x * (y < 0 ? K(0.0) : y > 1 ? K(1.0) : y);
}
//@ erfinv_guess
/* erfinv(y) / y to about 1e-7, of w = -log(1 - y^2): pieces in w to 5, in sqrt(w) to 17 and to 105 (after M. Giles) */
CG_FN T M(erfinv_guess)(T w)
{
    const T s = M(sqrt)(w), a = w - K(2.5), b = s - K(3.0), c = s - K(7.0);
    const T near = K(1.50140936) + a * (K(0.246640279) + a * (K(-0.00417739288) + a * (K(-0.00125272639) + a * (K(0.000218349386)
        + a * (K(-4.97241968e-06) + a * (K(-3.46398527e-06) + a * (K(4.68131346e-07) + a * (K(2.33359671e-08) + a * K(-8.93192583e-09)))))))));
    const T mid = K(2.83297706) + b * (K(1.00167559) + b * (K(0.0094329139) + b * (K(-0.00764327111) + b * (K(0.00578124283)
        + b * (K(-0.00360328368) + b * (K(0.00124865091) + b * (K(3.45694232e-05) + b * K(-0.00011966033))))))));
    const T far = K(6.86901957) + c * (K(1.00859603) + c * (K(-0.000512374581) + c * (K(5.66614243e-06) + c * (K(5.92686778e-06)
        + c * (K(-1.37319947e-06) + c * (K(3.21903029e-07) + c * (K(-8.86862999e-08) + c * K(1.10726642e-08))))))));
    return w < 5 ? near : w < 17 ? mid : far;
}
