#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden values of casts between all dtypes: `tests/golden_cast.py > tests/golden_cast.h`.

Exact values are Python's integers and fractions. An integer type takes a float truncated and clipped to its range, NaN as 0, and an
integer modulo its width; a float type takes the nearest number, ties to even, rounded once. Where NumPy rounds once too it must agree.
"""
import math
from fractions import Fraction
import numpy as np

INTS = dict(i8=(8, True), i16=(16, True), i32=(32, True), i64=(64, True), u8=(8, False), u16=(16, False), u32=(32, False), u64=(64, False))
FLOATS = dict(f16=(11, -24, 16), bf16=(8, -133, 128), f32=(24, -149, 128), f64=(53, -1074, 1024))       # digits, least power, infinity's power
ORDER = "bool i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64".split()
BITS = dict(bool=8, **{k: v[0] for k, v in INTS.items()}, f16=16, bf16=16, f32=32, f64=64)

def range_of(t): b, s = INTS[t]; return (-(1 << b - 1), (1 << b - 1) - 1) if s else (0, (1 << b) - 1)

def rounded(x, t):
    """The number of float type t nearest to the exact x: (sign, multiple of the least power), or an infinity as a float."""
    digits, least, top = FLOATS[t]
    if isinstance(x, float): return x                       # NaN, infinities, -0.0
    a, e = abs(x), least
    while a >= Fraction(2) ** (e + digits): e += 1
    q = a / Fraction(2) ** e
    n = math.floor(q)
    n += q - n > Fraction(1, 2) or (q - n == Fraction(1, 2) and n % 2 == 1)
    value = n * Fraction(2) ** e
    if value >= Fraction(2) ** top: return math.copysign(math.inf, x)
    return -value if x < 0 else value if value or x == 0 else Fraction(0)

def float_bits(x, v, t):
    """Of v, which type t has; x gives the sign of a zero."""
    digits, least, top = FLOATS[t]
    width, exponents = BITS[t], top - 1
    sign = (math.copysign(1, x) < 0 if isinstance(x, float) else x < 0) << width - 1
    infinity = (2 * exponents + 1) << digits - 1
    if isinstance(v, float) and v != v: return infinity | 1 << digits - 2
    if isinstance(v, float) and math.isinf(v): return sign | infinity
    m = Fraction(abs(v) if not isinstance(v, float) else 0) / Fraction(2) ** least
    e = 0
    while m >= 2 ** digits: m /= 2; e += 1
    assert m.denominator == 1
    return sign | (int(m) if m < 2 ** (digits - 1) else (e + 1 << digits - 1) + int(m) - 2 ** (digits - 1))

def cast(x, t):
    """Bits of the exact x, or of a NaN, infinity or -0.0, as t."""
    special = isinstance(x, float)
    if t == "bool": return int(x != 0)
    if t in INTS:
        lo, hi = range_of(t)
        if special: v = 0 if x != x or x == 0 else hi if x > 0 else lo
        elif isinstance(x, int): v = x
        else: v = min(max(math.trunc(x), lo), hi)
        return v & (1 << BITS[t]) - 1
    return float_bits(x, rounded(x, t), t)

def numpy_agrees(x, s, t, bits):
    ok = dict(f16=np.float16, f32=np.float32, f64=np.float64)
    if t not in ok or s in ("bf16",) or (t == "f16" and s not in ("f64", "f32")): return
    with np.errstate(all="ignore"):
        v = ok[t](np.float64(float(x))) if s in FLOATS else np.array(x, {"bool": np.bool_}.get(s, s.replace("i", "int").replace("u", "u") if s[0] == "i" else "uint" + s[1:])).astype(ok[t])
    assert v != v or int(v.view("uint%d" % BITS[t])) == bits, (x, s, t, v, hex(bits))

powers = lambda e, by: [2 ** e - by, 2 ** e, 2 ** e + by]
WHOLE = [0, 1, 2, 100, 127, 128, 129, 255, 256, 257, 300, 32767, 32768, 65504, 65519, 65520, 65535, 65536, 70000, 2 ** 24 + 1, 2 ** 24 + 2 ** 16, 2 ** 24 + 2 ** 16 + 1,
         2 ** 24 + 2 ** 16 - 1, 2 ** 31 - 65, 2 ** 31 - 64, *powers(31, 1), *powers(32, 1), 2 ** 40 + 2 ** 16 + 1, 2 ** 40 + 2 ** 32, 2 ** 40 + 2 ** 32 + 1, *powers(53, 1),
         2 ** 60 + 2 ** 36, 2 ** 60 + 2 ** 36 + 1, 2 ** 60 + 2 ** 52 + 1, 2 ** 60 + 3 * 2 ** 52 - 1, 2 ** 63 - 513, 2 ** 63 - 512, *powers(63, 1), 2 ** 63 + 1024, 2 ** 63 + 1025,
         2 ** 63 + 2 ** 55 + 1, 2 ** 64 - 1025, 2 ** 64 - 1024, 2 ** 64 - 1]
HALF, TINY = Fraction(1, 2), Fraction(2) ** -149
PARTS = [HALF, Fraction(1, 3), Fraction(3, 2), 127 + HALF, 127 + Fraction(15, 16), 128 + HALF, 255 + HALF, 256 + HALF, 32767 + HALF, 65535 + HALF, Fraction(2 ** 32 - 1, 2), 2 ** 31 - HALF,
         2 ** 32 - HALF, 1 + Fraction(2) ** -11, 1 + Fraction(2) ** -11 + Fraction(2) ** -30, 1 + 3 * Fraction(2) ** -11, 1 + Fraction(2) ** -8, 1 + Fraction(2) ** -8 + Fraction(2) ** -40,
         1 + 3 * Fraction(2) ** -8 - Fraction(2) ** -40, 1 + Fraction(2) ** -24, 1 + Fraction(2) ** -24 + Fraction(2) ** -50, Fraction(2) ** -24, Fraction(2) ** -25, Fraction(2) ** -25 + Fraction(2) ** -60,
         3 * Fraction(2) ** -25, Fraction(2) ** -14 - Fraction(2) ** -25, TINY, TINY / 2, TINY / 2 * (1 + Fraction(2) ** -40), Fraction(2) ** -133, Fraction(2) ** -134, Fraction(2) ** -134 * (1 + Fraction(2) ** -45),
         Fraction(2) ** -1074, Fraction(10 ** 10), Fraction(10 ** 19), Fraction(10 ** 20), Fraction(10 ** 30), Fraction(2) ** 127, Fraction(2) ** 128 * (1 - Fraction(2) ** -9),
         Fraction(2) ** 128 * (1 - Fraction(2) ** -9) - Fraction(2) ** 80, Fraction(2) ** 128 * (1 - Fraction(2) ** -24), Fraction(2) ** 128 * (1 - Fraction(2) ** -25), Fraction(10) ** 300, 65520 - Fraction(2) ** -20]

def values_of(s):
    """Those of the points that s has."""
    if s == "bool": return [0, 1]
    points = [Fraction(v) if s in FLOATS else v for v in WHOLE + (PARTS if s in FLOATS else [])]
    points += [-p for p in points if p]
    if s in INTS: lo, hi = range_of(s); return [p for p in points if lo <= p <= hi]
    return [0.0, -0.0, math.inf, -math.inf, math.nan] + [p for p in points if p and not isinstance(v := rounded(p, s), float) and v == p]

print("// Written by tests/golden_cast.py: do not edit.\n// clang-format off")
print("/* Elements as bits, in hexadecimal; want: by the dtype that they are cast to. */")
print("static const struct { int n; const char *in, *want[CG_DTYPE_COUNT]; } golden_casts[CG_DTYPE_COUNT] = {")
for s in ORDER:
    values, rows = values_of(s), {}
    own = [cast(v, s) for v in values]
    for t in ORDER:
        rows[t] = [cast(v, t) for v in values]
        for v, b in zip(values, rows[t]): numpy_agrees(v, s, t, b)
    text = lambda bits, t: '"' + " ".join(f"{b:0{BITS[t] // 4}x}" for b in bits) + '"'
    print(f"  [CG_{s.upper()}] = {{ {len(values)}, {text(own, s)}, {{")
    for t in ORDER: print(f"    [CG_{t.upper()}] = {text(rows[t], t)},")
    print("  } },")
print("};")
