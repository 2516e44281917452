// SPDX-License-Identifier: MIT
/* f64 special functions: built-ins where OpenCL 1.2 has them, else series and recurrences that reach 1e-15. */
//@ cg_lgamma_f64
CG_FN double cg_lgamma_f64(double x) { return x == -CG_INF_F64 ? CG_INF_F64 : CG_LGAMMA(x); }
//@ cg_gamma_f64
CG_FN double cg_gamma_f64(double x) { return tgamma(x); }
//@ cg_erfinv_step_f64
/* One step of Halley from y, where f = erf(y) - x: three times as many digits */
CG_FN double cg_erfinv_step_f64(double y, double f)
{
    const double e = f * exp(y * y) * 0.88622692545275801365;
    return y - e / (1.0 + y * e);
}
//@ cg_erfcinv_f64
/* A guess, or for x below e^-100 its asymptotic form, and two steps on the side where erfc is small */
CG_FN double cg_erfcinv_f64(double x)
{
    const double q = x > 1.0 ? 2.0 - x : x, l = -log(q), w = l - log(2.0 - q);
    double y = w < 100.0 ? (1.0 - q) * cg_erfinv_guess_f64(w) : sqrt(l - 0.5 * log(3.14159265358979323846 * l));
    for (int i = 0; i < 3; i++)
        y = cg_erfinv_step_f64(y, q < 0.5 ? q - erfc(y) : erf(y) - (1.0 - q));
    return x < 0 || x > 2.0 ? CG_NAN_F64 : x == 0 ? CG_INF_F64 : x == 2.0 ? -CG_INF_F64 : x > 1.0 ? -y : y;
}
//@ cg_erfinv_f64
CG_FN double cg_erfinv_f64(double x)
{
    const double a = fabs(x), y = a * cg_erfinv_guess_f64(-log((1.0 - a) * (1.0 + a)));
    const double near = cg_erfinv_step_f64(y, erf(y) - a);
    return a > 1.0 ? CG_NAN_F64 : a > 0.5 ? copysign(cg_erfcinv_f64(1.0 - a), x) : x == 0 || x != x ? x : copysign(near, x);
}
//@ cg_digamma_f64
/* digamma(x) = digamma(x + 1) - 1/x up to 12, then the series of Bernoulli's numbers */
CG_FN double cg_digamma_f64(double x)
{
    const double n = rint(x), t = tan(3.14159265358979323846 * (x - n));
    double m = x < 0 ? 1.0 - x : x, sum = 0.0;
    for (int i = 0; i < 12; i++)
        if (m < 12.0)
            sum += 1.0 / m, m += 1.0;
    const double z = 1.0 / (m * m);
    const double s = z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
    const double y = log(m) - 0.5 / m - s - sum;
    return x == 0 ? copysign(CG_INF_F64, -x) : x < 0 ? (floor(x) == x ? CG_NAN_F64 : y - 3.14159265358979323846 / t) : y;
}
//@ cg_trigamma_f64
CG_FN double cg_trigamma_f64(double x)
{
    const double q = 3.14159265358979323846 / sin(3.14159265358979323846 * (x - rint(x)));
    double m = x < 0 ? 1.0 - x : x, sum = 0.0;
    for (int i = 0; i < 12; i++)
        if (m < 12.0)
            sum += 1.0 / (m * m), m += 1.0;
    const double t = 1.0 / m, z = t * t;
    const double s = t * z * (1.0 / 6 - z * (1.0 / 30 - z * (1.0 / 42 - z * (1.0 / 30 - z * (5.0 / 66 - z * (691.0 / 2730 - z * 7 / 6))))));
    const double y = t + 0.5 * z + s + sum;
    return x < 0 ? (floor(x) == x ? CG_INF_F64 : q * q - y) : y;
}
//@ cg_bessel_i_f64
/* I_n(a), n 0 or 1, a >= 0, over (a/2)^n: all terms of the power series are positive; above 30 the asymptotic series, n = 0 or 1 */
CG_FN double cg_bessel_i_f64(double a, int n)
{
    const double z = 0.25 * a * a, mu = 4.0 * n;
    double term = 1.0, sum = 1.0;
    if (a <= 30.0) {
        for (int k = 1; k < 60; k++) {
            term *= z / ((double)k * (k + n));
            sum += term;
        }
        return n ? 0.5 * a * sum : sum;
    }
    for (int k = 1; k < 30; k++) {
        term *= -(mu - (2.0 * k - 1.0) * (2.0 * k - 1.0)) / (8.0 * k * a);
        sum += term;
    }
    const double h = exp(0.5 * a);
    return h * (sum * h / sqrt(6.28318530717958647693 * a));
}
//@ cg_i0_f64
CG_FN double cg_i0_f64(double x) { return x - x != 0 ? fabs(x) : cg_bessel_i_f64(fabs(x), 0); }
//@ cg_i1_f64
CG_FN double cg_i1_f64(double x) { return x - x != 0 ? x : copysign(cg_bessel_i_f64(fabs(x), 1), x); }
