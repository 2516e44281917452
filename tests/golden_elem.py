#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden values of every elementwise operation, by NumPy, SciPy and mpmath: `tests/golden_elem.py > tests/golden_elem.h`.

All operations of one arity are evaluated at the same points: UNARY covers every domain and its edges, LATTICE (the special
values) is crossed with itself for two operands and thinned for three. Arguments are f32, values are computed in f64; integers
are Python's, wrapped. Then, for gradients, a few points an operation inside its domain and away from kinks.
"""
import math
import mpmath
import numpy as np
import scipy.special as sp

inf, nan = math.inf, math.nan
f32 = lambda v: np.asarray(v, np.float32).astype(np.float64)
TINY, LEAST, MAX = 2.0 ** -149, 2.0 ** -126, float(np.finfo(np.float32).max)
LATTICE = f32([0.0, -0.0, TINY, -TINY, LEAST, -LEAST, 1, -1, MAX, -MAX, inf, -inf, nan, 0.5, 2.5, -2.5, 3])
SPREAD = [1e-30, 1e-8, 1e-3, 0.01, 0.1, 0.3, 0.7, 0.9, 0.999, 1.0001, 1.2, 1.5, 2, math.pi, 4.5, 5, 7.25, 8.5, 10, 20.5, 34.5, 50, 87, 89, 103, 1e3, 1e4, 1e5, 1e9, 1e22, 1e30]
UNARY = np.concatenate([LATTICE, f32(SPREAD), -f32(SPREAD)])
A, B = (m.ravel() for m in np.meshgrid(LATTICE, LATTICE, indexing="ij"))
THIN = f32([0.0, -1, 2.5, -inf, inf, nan])
A3, B3, C3 = (m.ravel() for m in np.meshgrid(THIN, THIN, THIN, indexing="ij"))

def by_mpmath(f, pole):
    """f of mpmath where it is finite; poles at 0, -1, ..."""
    def at(x):
        if math.isnan(x) or x == -inf: return x if math.isnan(x) else pole(x)
        return pole(x) if x <= 0 and x == math.floor(x) else float(f(mpmath.mpf(x)))
    return np.vectorize(at, otypes=[float])

def sigmoid(x): return sp.expit(x)
def tanh_softplus(x): e = np.exp(np.minimum(x, 20)); n = e * (e + 2); return n / (n + 2)
def clip(a, b, c): return np.where(np.isnan(b) | (a < b), b, np.where(np.isnan(c) | (a > c), c, a))

unary = dict(
    neg=np.negative, abs=np.abs, sign=np.sign, square=np.square, reciprocal=np.reciprocal, sqrt=np.sqrt, rsqrt=lambda x: 1 / np.sqrt(x), cbrt=np.cbrt,
    deg2rad=np.deg2rad, rad2deg=np.rad2deg, floor=np.floor, ceil=np.ceil, trunc=np.trunc, round=np.round,
    exp=np.exp, exp2=np.exp2, expm1=np.expm1, log=np.log, log2=np.log2, log10=np.log10, log1p=np.log1p,
    log1mexp=lambda x: np.where(x > -0.69, np.log(-np.expm1(x)), np.log1p(-np.exp(x))), logit=sp.logit,
    sin=np.sin, cos=np.cos, tan=np.tan, arcsin=np.arcsin, arccos=np.arccos, arctan=np.arctan, sinh=np.sinh, cosh=np.cosh, tanh=np.tanh,
    arcsinh=np.arcsinh, arccosh=np.arccosh, arctanh=np.arctanh,
    erf=sp.erf, erfc=sp.erfc, erfcx=sp.erfcx, erfinv=lambda x: np.copysign(sp.erfinv(x), x), erfcinv=lambda x: sp.erfcinv(x) + 0.0, gamma=sp.gamma, lgamma=lambda x: np.where(x == -inf, inf, sp.gammaln(x)),
    digamma=by_mpmath(mpmath.digamma, lambda x: -math.copysign(inf, x) if x == 0 else nan),
    trigamma=by_mpmath(lambda x: mpmath.psi(1, x), lambda x: inf), i0=lambda x: np.where(np.isinf(x), inf, sp.i0(x)), i1=lambda x: np.copysign(np.where(np.isinf(x), x, sp.i1(x)), x),
    isnan=np.isnan, isinf=np.isinf, isfinite=np.isfinite, signbit=np.signbit, logical_not=np.logical_not,
    relu=lambda x: np.where(np.isnan(x), x, np.maximum(x, 0)), selu=lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    softplus=lambda x: np.logaddexp(0, x), softsign=lambda x: x / (1 + np.abs(x)), sigmoid=sigmoid, hard_sigmoid=lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    hard_swish=lambda x: x * np.clip(x / 6 + 0.5, 0, 1), silu=lambda x: x * sigmoid(x), mish=lambda x: x * tanh_softplus(x), gelu=lambda x: x * 0.5 * sp.erfc(-x / math.sqrt(2)),
    gelu_tanh=lambda x: x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)),
    zero_grad=lambda x: x, disconnected_grad=lambda x: x, undefined_grad=lambda x: x)
binary = dict(
    add=np.add, sub=np.subtract, mul=np.multiply, div=np.divide, floor_divide=np.floor_divide, mod=np.mod, fmod=np.fmod, power=np.power,
    hypot=np.hypot, heaviside=np.heaviside, copysign=np.copysign, nextafter=lambda a, b: np.nextafter(a.astype(np.float32), b.astype(np.float32)),
    logaddexp=np.logaddexp, logaddexp2=np.logaddexp2, xlogy=sp.xlogy, xlog1py=sp.xlog1py, arctan2=np.arctan2,
    equal=np.equal, not_equal=np.not_equal, less=np.less, less_equal=np.less_equal, greater=np.greater, greater_equal=np.greater_equal,
    logical_and=np.logical_and, logical_or=np.logical_or, logical_xor=np.logical_xor, maximum=np.maximum, minimum=np.minimum, fmax=np.fmax, fmin=np.fmin,
    leaky_relu=lambda a, b: np.where(a < 0, a * b, a), elu=lambda a, b: np.where(a > 0, a, b * np.expm1(a)),
    grad_scale=lambda a, b: a)
ternary = dict(where=lambda a, b, c: np.where(a != 0, b, c), clip=clip, grad_clip=lambda a, b, c: a)

# Integers: floor division, and 0 for a division by zero; a shift by the width or more, or by less than 0, leaves the sign.
def wrap(v, bits, signed):
    v &= (1 << bits) - 1
    return v - (1 << bits) if signed and v >> (bits - 1) else v
def int_power(a, b): return a ** b if b >= 0 and (abs(a) < 2 or b < 200) else (0 if b >= 0 and a % 2 == 0 else pow(a, b, 1 << 64)) if b >= 0 else {1: 1, -1: 1 - 2 * (b & 1)}.get(a, 0)
ints = dict(
    add=lambda a, b, w: a + b, sub=lambda a, b, w: a - b, mul=lambda a, b, w: a * b, floor_divide=lambda a, b, w: a // b if b else 0,
    mod=lambda a, b, w: a % b if b else 0, fmod=lambda a, b, w: int(math.copysign(1, a)) * (abs(a) % abs(b)) if b else 0, power=lambda a, b, w: int_power(a, b),
    bitwise_and=lambda a, b, w: a & b, bitwise_or=lambda a, b, w: a | b, bitwise_xor=lambda a, b, w: a ^ b,
    left_shift=lambda a, b, w: a << b if 0 <= b < w else 0, right_shift=lambda a, b, w: a >> b if 0 <= b < w else -(a < 0),
    maximum=lambda a, b, w: max(a, b), minimum=lambda a, b, w: min(a, b), fmax=lambda a, b, w: max(a, b), fmin=lambda a, b, w: min(a, b),
    less=lambda a, b, w: a < b, less_equal=lambda a, b, w: a <= b, greater=lambda a, b, w: a > b, greater_equal=lambda a, b, w: a >= b,
    equal=lambda a, b, w: a == b, not_equal=lambda a, b, w: a != b,
    neg=lambda a, b, w: -a, abs=lambda a, b, w: abs(a), sign=lambda a, b, w: (a > 0) - (a < 0), square=lambda a, b, w: a * a, invert=lambda a, b, w: ~a,
    floor=lambda a, b, w: a, ceil=lambda a, b, w: a, trunc=lambda a, b, w: a, round=lambda a, b, w: a, relu=lambda a, b, w: max(a, 0))
def philox(low, high, key, w):
    x, k, m = [low, low >> 32, high, high >> 32], [key, key >> 32], 0xFFFFFFFF
    x, k = [v & m for v in x], [v & m for v in k]
    for _ in range(10):
        p, q = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x, k = [q >> 32 ^ x[1] ^ k[0], q & m, p >> 32 ^ x[3] ^ k[1], p & m], [k[0] + 0x9E3779B9 & m, k[1] + 0xBB67AE85 & m]
    return x[w]
L = (1 << 64) - 1
ints["philox"] = lambda a, b, w: philox((a & L) >> 2, b & L, a & L, a & 3)      # the third operand is the first
INT_TYPES = dict(i8=(8, True), u8=(8, False), i32=(32, True), u32=(32, False), i64=(64, True), u64=(64, False))
def int_points(bits, signed):
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return sorted({0, 1, 2, 7, bits - 1, bits, low, high, high // 3} | ({-1, -2, -7} if signed else set()))

# Points for gradients: the first operand, and the others'. Kinks are elsewhere.
WIDE, RIGHT, UNIT = [-1.7, -0.9, -0.31, 0.23, 0.77, 1.3], [0.2, 0.55, 0.9, 1.3, 2.2, 3.7], [-0.83, -0.45, -0.1, 0.2, 0.51, 0.9]
SIDES, GAMMA = [-2.6, -1.2, -0.4, 0.3, 1.25, 2.8], [-1.6, -0.4, 0.3, 1.2, 2.7, 6.5]
points = {**{n: RIGHT for n in "sqrt rsqrt log log2 log10 log1p power".split()}, **{n: UNIT for n in "arcsin arccos arctanh erfinv".split()},
          **{n: GAMMA for n in "gamma lgamma digamma".split()}, "arccosh": [1.1, 1.5, 2, 2.7, 3.5, 5], "log1mexp": [-3, -1.4, -0.9, -0.5, -0.2, -0.1],
          "logit": [0.05, 0.2, 0.4, 0.55, 0.75, 0.9], "erfcinv": [0.03, 0.2, 0.6, 1.1, 1.5, 1.9], "sign": SIDES, "floor": SIDES, "ceil": SIDES, "trunc": SIDES, "round": SIDES}
second = {"power": [-1.3, 0.5, 1, 2, 2.5, 3], "xlogy": RIGHT, "xlog1py": RIGHT, "mod": [0.8, -0.7, 0.4, 1.1, 0.5, 2], "fmod": [0.8, -0.7, 0.4, 1.1, 0.5, 2],
          "copysign": SIDES, "heaviside": SIDES, "elu": RIGHT, "leaky_relu": RIGHT, "clip": [-1, -1, -1, -1, -1, -1]}
OTHER, THIRD = [0.6, -1.4, 0.9, 1.8, -0.35, 0.45], [1, 1, 1, 1, 1, 1]
NO_GRAD = "equal not_equal less less_equal greater greater_equal isnan isinf isfinite signbit logical_and logical_or logical_xor logical_not where trigamma nextafter zero_grad disconnected_grad undefined_grad grad_scale grad_clip".split()

def num(v, digits=9):
    v = float(v)
    return "NAN" if v != v else "INFINITY" if v == inf else "-INFINITY" if v == -inf else "-0." if v == 0 and math.copysign(1, v) < 0 else f"{v:.{digits}g}"
def array(kind, name, values, text): print(f"static const {kind} {name}[] = {{ {', '.join(map(text, values))} }};")
def whole(v): return f"(int64_t){v & (1 << 64) - 1:#x}u" if abs(v) >= 1 << 31 else str(v)

print("// Written by tests/golden_elem.py with NumPy, SciPy and mpmath: do not edit.\n// clang-format off")
for name, values in dict(in1_a=UNARY, in2_a=A, in2_b=B, in3_a=A3, in3_b=B3, in3_c=C3).items():
    array("double", name, values, lambda v: num(v, 17))
with np.errstate(all="ignore"):
    wants = {n: f(UNARY) for n, f in unary.items()} | {n: f(A, B) for n, f in binary.items()} | {n: f(A3, B3, C3) for n, f in ternary.items()}
for name, want in wants.items():
    array("double", f"want_{name}", want, lambda v: num(v, 16 if name in unary else 9))
print("static const golden_elem golden[] = {")
for name in wants:
    g = "NULL" if name in NO_GRAD else "(const double[3][6]){ " + ", ".join("{ " + ", ".join(map(repr, p)) + " }" for p in (points.get(name, WIDE), second.get(name, OTHER), THIRD)) + " }"
    print(f"  {{ CG_EL_{name}, want_{name}, {g} }},")
print("};")
for dtype, (bits, signed) in INT_TYPES.items():
    p = int_points(bits, signed)
    array("int64_t", f"in_{dtype}", p, whole)
    for name, f in ints.items():
        unary_row = name in unary or name == "invert"
        pairs = [(a, 0) for a in p] if unary_row else [(a, b) for a in p for b in p]
        array("int64_t", f"want_{dtype}_{name}", [wrap(int(f(a, b, bits)), bits, signed) for a, b in pairs], whole)
print("static const golden_int golden_ints[] = {")
for dtype, (bits, signed) in INT_TYPES.items():
    for name in ints:
        print(f"  {{ CG_EL_{name}, CG_{dtype.upper()}, {len(int_points(bits, signed))}, in_{dtype}, want_{dtype}_{name} }},")
print("};")
