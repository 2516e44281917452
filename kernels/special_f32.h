// SPDX-License-Identifier: MIT
/* f32 special functions; polynomials as in f32.h. Left of 0 the gamma family mirrors: x and 1 - x. */
//@ cg_erfinv_f32
CG_FN float cg_erfinv_f32(float x)
{
    const float a = cg_abs_f32(x), y = x * cg_erfinv_guess_f32(-cg_log_f32((1.0f - a) * (1.0f + a)));
    return a > 1.0f ? CG_NAN_F32 : a == 1.0f ? cg_copysign_f32(CG_INF, x) : y;
}
//@ cg_erfcinv_f32
CG_FN float cg_erfcinv_f32(float x)
{
    const float y = (1.0f - x) * cg_erfinv_guess_f32(-(cg_log_f32(x) + cg_log_f32(2.0f - x)));
    return x < 0 || x > 2.0f ? CG_NAN_F32 : x == 0 ? CG_INF : x == 2.0f ? -CG_INF : y;
}
//@ cg_sinpi_f32
/* sin(pi x) and *c = cos(pi x): x less the nearest whole number is exact */
CG_FN float cg_sinpi_f32(float x, float *c)
{
    const float n = cg_round_f32(x), r = (x - n) * 2.0f, k = cg_round_f32(r), t = (r - k) * 1.57079637f;
    const float s = cg_sin_poly_f32(t, 0.0f), d = cg_cos_poly_f32(t, 0.0f), flip = cg_floor_f32(n * 0.5f) * 2.0f != n ? -1.0f : 1.0f;
    *c = flip * (k == 0 ? d : -k * s);
    return flip * (k == 0 ? s : k * d);
}
//@ cg_stirling_f32
/* log2 of x^(x - 1/2) e^-x as hi + lo, for x >= 1 */
CG_FN float cg_stirling_f32(float x, float *low)
{
    float l;
    const float h = cg_log2_sum_f32(x, &l), b = x - 0.5f, bh = cg_high_f32(b), xh = cg_high_f32(x), xl = x - xh;
    const float p = bh * h, q = xh * 1.4423828125f;                                   /* exact; log2(e) in two parts */
    const float sum = p - q, back = sum - p, rest = ((p - (sum - back)) - (q + back)) + ((b - bh) * h + b * l - (xl * 1.4423828125f + x * 3.12228389e-4f));
    *low = rest;
    return sum;
}
//@ cg_gamma_pos_f32
/* gamma(x) 2^k for x > 0: Stirling's form times a polynomial in 1/x, 0..1; below 1 through x + 1 */
CG_FN float cg_gamma_pos_f32(float x, float k)
{
    const float a = x < 1.0f ? x + 1.0f : x > 60.0f ? 60.0f : x != x ? 1.0f : x, t = 1.0f / a;
    float low;
    const float high = cg_stirling_f32(a, &low);
    const float s = 1.0f + t * (0.0833332276f + t * (0.00347329989f + t * (-0.00268159924f + t * (-0.000274374176f + t * (0.00104190802f + t * (-0.000573020027f + t * 0.000118107977f))))));
    const float g = cg_exp2_sum_f32(high, low, k) * (2.50662827f * s);
    return x < 1.0f ? g / x : g;
}
//@ cg_gamma_f32
CG_FN float cg_gamma_f32(float x)
{
    float c;
    const float a = cg_abs_f32(x), s = cg_sinpi_f32(a > 8388608.0f ? 0.0f : a, &c), g = cg_gamma_pos_f32(a, x < 0 ? -64.0f : 0.0f);
    const float mirror = a < 1e-8f ? 1.0f / a : 3.14159274f / (a * s * g) * 5.42101086e-20f;
    const float y = x < 0 ? (cg_floor_f32(x) == x ? CG_NAN_F32 : -mirror) : g;
    return x == 0 ? cg_copysign_f32(CG_INF, x) : x != x ? x : y;
}
//@ cg_lgamma_pos_f32
/* 1 to 3: lgamma(x) / ((x - 1)(x - 2)), of which 0 to 1 is lgamma(x + 1) - log x; above, Stirling's series */
CG_FN float cg_lgamma_pos_f32(float x)
{
    const float a = x < 1.0f ? x + 1.0f : x, u = a - 1.5f, v = a - 2.5f, t = 1.0f / a, z = t * t;
    float low;
    const float lower = 0.483128951f + u * (-0.145959697f + u * (0.0629112789f + u * (-0.0313190425f + u * (0.016803567f + u * (-0.00927653644f
        + u * (0.00535511656f + u * (-0.00397213376f + u * 0.00238831134f)))))));
    const float upper = 0.379577161f + v * (-0.0746637214f + v * (0.0199052074f + v * (-0.00601407479f + v * (0.00194736406f + v * (-0.000695726767f + v * 0.000242430666f)))));
    const float near = (x < 1.0f ? x : a - 1.0f) * (a - 2.0f) * (a < 2.0f ? lower : upper) + (x < 1.0f ? -cg_log_f32(x) : 0.0f);
    const float b = a > 1e9f ? 1e9f : a, high = cg_stirling_f32(b, &low);
    const float series = t * (0.0833333327f + z * (-0.00277758622f + z * (0.000784718413f - z * 0.000454428318f)));
    const float far = a > 1e9f ? a * (cg_log_f32(a) - 1.0f) : high * 0.693147182f + (low * 0.693147182f + (0.918938533f + series));
    return x == CG_INF ? x : a < 3.0f ? near : far;
}
//@ cg_lgamma_f32
CG_FN float cg_lgamma_f32(float x)
{
    float c;
    const float a = cg_abs_f32(x), b = a != a || a == 0 ? 1.0f : a, s = cg_sinpi_f32(b > 8388608.0f ? 0.0f : b, &c), g = cg_lgamma_pos_f32(b);
    const float mirror = b < 1e-8f ? g : cg_log_f32(3.14159274f / cg_abs_f32(b * s)) - g;
    return x != x ? x : x == 0 || x == -CG_INF ? CG_INF : x < 0 ? (cg_floor_f32(x) == x ? CG_INF : mirror) : g;
}
//@ cg_digamma_f32
/* 1 to 2: digamma(x) / (x - x0), x0 its zero; one step of digamma(x + 1) = digamma(x) + 1/x into it; above 3 its series */
CG_FN float cg_digamma_f32(float x)
{
    float c;
    const float m = x < 0 ? 1.0f - x : x, s = cg_sinpi_f32(x < -8388608.0f ? 0.0f : x, &c);
    const float a = m < 1.0f ? m + 1.0f : m > 2.0f ? m - 1.0f : m, u = a - 1.5f;
    const float p = 0.951055876f + u * (-0.423625299f + u * (0.240541071f + u * (-0.148517158f + u * (0.0950634538f + u * (-0.0603421735f + u * (0.039708873f + u * (-0.0349669794f + u * 0.0232276596f)))))));
    const float step = m < 1.0f ? -1.0f / m : m > 2.0f ? 1.0f / (m - 1.0f) : 0.0f;
    const float near = ((a - 1.46163213f) - 1.24381501e-8f) * p + step;
    const float t = 1.0f / m, z = t * t;
    const float far = cg_log_f32(m) - (0.5f * t + z * (0.0833333279f + z * (-0.00833174229f + z * (0.00389351334f - z * 0.00296634885f))));
    const float y = m < 3.0f ? near : far;
    return x == 0 ? cg_copysign_f32(CG_INF, -x) : x < 0 ? (cg_floor_f32(x) == x ? CG_NAN_F32 : y - 3.14159274f * c / s) : y;
}
//@ cg_trigamma_f32
/* x trigamma(x) - 1 is smooth in 1/x, 0..1; below 1 through x + 1 */
CG_FN float cg_trigamma_f32(float x)
{
    float c;
    const float m = x < 0 ? 1.0f - x : x, s = cg_sinpi_f32(x < -8388608.0f ? 0.0f : x, &c);
    const float a = m < 1.0f ? m + 1.0f : m, t = 1.0f / a;
    const float p = t + t * t * (0.499999995f + t * (0.166667448f + t * (-2.74270533e-05f + t * (-0.0329185922f + t * (-0.00329424606f + t * (0.0387361289f + t * (-0.0390318533f + t * (0.0183462538f - t * 0.00354365155f))))))));
    const float y = p + (m < 1.0f ? 1.0f / (m * m) : 0.0f), q = 3.14159274f / s;
    return x < 0 ? (cg_floor_f32(x) == x ? CG_INF : q * q - y) : y;
}
//@ cg_i0_f32
/* To 8 in x^2/64; above, e^x / sqrt(x) times a polynomial in 1/x */
CG_FN float cg_i0_f32(float x)
{
    const float a = cg_abs_f32(x), z = a < 8.0f ? a * a * 0.015625f : 1.0f, t = a > 8.0f ? 1.0f / a : 0.125f;
    const float near = 1.0f + z * (16.0000001f + z * (63.9999965f + z * (113.777843f + z * (113.777149f + z * (72.8213335f + z * (32.3507481f
        + z * (10.5974484f + z * (2.59560395f + z * (0.568943643f + z * (0.0537348404f + z * 0.0213146766f))))))))));
    const float far = 0.398942252f + t * (0.0498724895f + t * (0.0277903413f + t * (0.0355431529f + t * (-0.0267437677f + t * 0.4230773f))));
    return x != x ? x : a < 8.0f ? near : a == CG_INF ? a : cg_exps_f32(a, -8.0f) * (256.0f * cg_sqrt_f32(t) * far);
}
//@ cg_i1_f32
CG_FN float cg_i1_f32(float x)
{
    const float a = cg_abs_f32(x), z = a < 8.0f ? a * a * 0.015625f : 1.0f, t = a > 8.0f ? 1.0f / a : 0.125f;
    const float near = 0.5f + z * (4.0f + z * (10.6666665f + z * (14.2222246f + z * (11.3777545f + z * (6.06827977f + z * (2.31120477f
        + z * (0.661582944f + z * (0.145054354f + z * (0.0278435266f + z * (0.00268537873f + z * 0.000845660172f))))))))));
    const float far = 0.398942313f + t * (-0.149608668f + t * (-0.0464569179f + t * (-0.048061617f + t * (0.023534784f - t * 0.489727084f))));
    const float y = a < 8.0f ? a * near : a == CG_INF ? a : cg_exps_f32(a, -8.0f) * (256.0f * cg_sqrt_f32(t) * far);
    return x != x ? x : cg_copysign_f32(y, x);
}
