// SPDX-License-Identifier: MIT
/* f64: what libm and OpenCL 1.2 both have. */
//@ each
CG_FN double cg_abs_f64(double x) { return fabs(x); }
CG_FN double cg_copysign_f64(double x, double s) { return copysign(x, s); }
CG_FN cg_i32 cg_signbit_f64(double x) { return signbit(x) != 0; }
CG_FN double cg_sign_f64(double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : x; }
CG_FN double cg_sqrt_f64(double x) { return sqrt(x); }
CG_FN double cg_floor_f64(double x) { return floor(x); }
CG_FN double cg_ceil_f64(double x) { return ceil(x); }
CG_FN double cg_trunc_f64(double x) { return trunc(x); }
CG_FN double cg_round_f64(double x) { return rint(x); }
CG_FN double cg_fmod_f64(double a, double b) { return fmod(a, b); }
CG_FN double cg_nextafter_f64(double a, double b) { return nextafter(a, b); }
CG_FN double cg_exp_f64(double x) { return exp(x); }
CG_FN double cg_exp_neg_f64(double x) { return exp(-fabs(x)); }
CG_FN double cg_exp2_f64(double x) { return exp2(x); }
CG_FN double cg_expm1_f64(double x) { return expm1(x); }
CG_FN double cg_log_f64(double x) { return log(x); }
CG_FN double cg_log2_f64(double x) { return log2(x); }
CG_FN double cg_log10_f64(double x) { return log10(x); }
CG_FN double cg_log1p_f64(double x) { return log1p(x); }
CG_FN double cg_sin_f64(double x) { return sin(x); }
CG_FN double cg_cos_f64(double x) { return cos(x); }
CG_FN double cg_tan_f64(double x) { return tan(x); }
CG_FN double cg_arcsin_f64(double x) { return asin(x); }
CG_FN double cg_arccos_f64(double x) { return acos(x); }
CG_FN double cg_arctan_f64(double x) { return atan(x); }
CG_FN double cg_arctan2_f64(double y, double x) { return atan2(y, x); }
CG_FN double cg_sinh_f64(double x) { return sinh(x); }
CG_FN double cg_cosh_f64(double x) { return cosh(x); }
CG_FN double cg_tanh_f64(double x) { return tanh(x); }
CG_FN double cg_arcsinh_f64(double x) { return asinh(x); }
CG_FN double cg_arccosh_f64(double x) { return acosh(x); }
CG_FN double cg_arctanh_f64(double x) { return atanh(x); }
CG_FN double cg_cbrt_f64(double x) { return cbrt(x); }
CG_FN double cg_power_f64(double a, double b) { return pow(a, b); }
CG_FN double cg_hypot_f64(double a, double b) { return hypot(a, b); }
CG_FN double cg_erf_f64(double x) { return erf(x); }
CG_FN double cg_erfc_f64(double x) { return erfc(x); }
CG_FN double cg_normal_f64(double x) { return 0.5 * erfc(x * -0.70710678118654752440); }
//@ cg_erfcx_f64
/* e^(x^2) erfc(x), the square in two parts by Dekker's split; above 25 its asymptotic series */
CG_FN double cg_erfcx_f64(double x)
{
    const double c = fabs(x) < 1e100 ? 134217729.0 * x : 0.0, h = c - (c - x), l = x - h, s = x * x, rest = ((h * h - s) + 2.0 * h * l) + l * l;
    const double z = 0.5 / s;
    const double far = 0.56418958354775628695 / x * (1.0 - z * (1.0 - z * (3.0 - z * (15.0 - z * (105.0 - z * (945.0 - z * 10395.0))))));
    const double e = exp(s);
    return x > 25.0 ? far : (e < CG_INF_F64 ? e + e * rest : e) * erfc(x);
}
