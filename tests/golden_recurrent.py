#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""RNN, GRU and LSTM by the formulas of ONNX's operators, in f64 with NumPy, one sequence at a time:
`python3 tests/golden_recurrent.py > tests/golden_recurrent.h`.

Operand k is element k * 37 and those behind it of POOL, which begins anew at its end; the test fills its arrays alike.
"""
import numpy as np

T, B, I, H = 4, 3, 2, 3
POOL = np.round(np.random.default_rng(11).uniform(-1, 1, 251), 3)
OPERANDS = ["x", "W", "R", "b", "h0", "c0", "peepholes"]
GATES = dict(RNN=1, GRU=3, LSTM=4)
NAMES = dict(RNN=["TANH"], GRU=["SIGMOID", "TANH"], LSTM=["SIGMOID", "TANH", "TANH"])
ACT = dict(TANH=lambda x, a, b: np.tanh(x), SIGMOID=lambda x, a, b: 1 / (1 + np.exp(-x)), RELU=lambda x, a, b: np.maximum(x, 0), SOFTSIGN=lambda x, a, b: x / (1 + abs(x)),
           SOFTPLUS=lambda x, a, b: np.log1p(np.exp(x)), AFFINE=lambda x, a, b: a * x + b, LEAKY_RELU=lambda x, a, b: np.where(x < 0, a * x, x),
           ELU=lambda x, a, b: np.where(x < 0, a * np.expm1(x), x), THRESHOLDED_RELU=lambda x, a, b: np.where(x > a, x, 0), SCALED_TANH=lambda x, a, b: a * np.tanh(b * x),
           HARD_SIGMOID=lambda x, a, b: np.clip(a * x + b, 0, 1))

def operand(name, *shape): return POOL[(37 * OPERANDS.index(name) + np.arange(np.prod(shape))) % len(POOL)].reshape(shape)

def one(kind, o, acts, xs, W, R, Wb, Rb, P, h, c):
    """Over the rows xs; gives the h of every row and the last h, c."""
    def act(k, v):
        name, a, b = acts[k]
        return ACT[name](np.clip(v, -o["clip"], o["clip"]) if o["clip"] else v, a, b)
    out, cut = [], lambda m: np.split(m, GATES[kind])
    for x in xs:
        if kind == "RNN":
            h = act(0, W @ x + R @ h + Wb + Rb)
        elif kind == "GRU":
            (Wz, Wr, Wh), (Rz, Rr, Rh), (wz, wr, wh), (rz, rr, rh) = cut(W), cut(R), cut(Wb), cut(Rb)
            z, r = act(0, Wz @ x + Rz @ h + wz + rz), act(0, Wr @ x + Rr @ h + wr + rr)
            n = act(1, Wh @ x + r * (Rh @ h + rh) + wh) if o["lbr"] else act(1, Wh @ x + Rh @ (r * h) + rh + wh)
            h = (1 - z) * n + z * h
        else:
            (Wi, Wo, Wf, Wc), (Ri, Ro, Rf, Rc), (wi, wo, wf, wc), (ri, ro, rf, rc), (Pi, Po, Pf) = cut(W), cut(R), cut(Wb), cut(Rb), np.split(P, 3)
            i, f = act(0, Wi @ x + Ri @ h + Pi * c + wi + ri), act(0, Wf @ x + Rf @ h + Pf * c + wf + rf)
            if o["coupled"]: f = 1 - i
            c = f * c + i * act(1, Wc @ x + Rc @ h + wc + rc)
            h = act(0, Wo @ x + Ro @ h + Po * c + wo + ro) * act(2, c)
        out.append(h)
    return out, h, c

def layer(kind, o):
    n, g = 2 if o["direction"] == "BIDIRECTIONAL" else 1, GATES[kind]
    bf = lambda a, *axes: a.transpose(axes) if o["batch_first"] else a
    x = bf(operand("x", *((B, T, I) if o["batch_first"] else (T, B, I))), 1, 0, 2)
    W, R = operand("W", n, g * H, I), operand("R", n, g * H, H)
    b = operand("b", n, 2 * g * H) if o["b"] else np.zeros((n, 2 * g * H))
    P = operand("peepholes", n, 3 * H) if o["peepholes"] else np.zeros((n, 3 * H))
    state = lambda name, given: bf(operand(name, *((B, n, H) if o["batch_first"] else (n, B, H))), 1, 0, 2) if given else np.zeros((n, B, H))
    h0, c0 = state("h0", o["h0"]), state("c0", o["h0"])
    acts = o["acts"] or [(name, 0, 0) for name in NAMES[kind]]
    acts = acts * n if len(acts) == len(NAMES[kind]) else acts
    y, h, c = np.zeros((T, n, B, H)), np.zeros((n, B, H)), np.zeros((n, B, H))
    for d in range(n):
        back = o["direction"] == "REVERSE" or d == 1
        for s in range(B):
            m = o["lengths"][s] if o["lengths"] else T
            xs = x[:m, s][::-1] if back else x[:m, s]
            k = len(NAMES[kind])
            rows, h[d, s], c[d, s] = one(kind, o, acts[d * k:d * k + k], xs, W[d], R[d], b[d, :g * H], b[d, g * H:], P[d], h0[d, s], c0[d, s])
            if m: y[:m, d, s] = rows[::-1] if back else rows
    return bf(y, 2, 0, 1, 3), bf(h, 1, 0, 2), bf(c, 1, 0, 2) if kind == "LSTM" else np.zeros(0)

CASES = []
def case(kind, **given): CASES.append((kind, {**dict(direction="FORWARD", b=0, h0=0, peepholes=0, lengths=None, clip=0, lbr=0, coupled=0, batch_first=0, acts=[]), **given}))
for kind in GATES:
    case(kind)
    case(kind, direction="REVERSE", b=1)
    case(kind, direction="BIDIRECTIONAL", b=1, h0=1)
    case(kind, direction="FORWARD", b=1, h0=1, lengths=[4, 1, 2])
    case(kind, direction="REVERSE", b=1, h0=1, lengths=[2, 4, 0])
    case(kind, direction="BIDIRECTIONAL", b=1, h0=1, lengths=[3, 4, 1], batch_first=1)
    case(kind, b=1, clip=0.3)
case("GRU", b=1, h0=1, lbr=1)
case("GRU", lbr=1, direction="REVERSE")
case("GRU", b=1, h0=1, lbr=1, direction="BIDIRECTIONAL", lengths=[1, 4, 3], clip=0.4)
case("LSTM", b=1, h0=1, peepholes=1)
case("LSTM", b=1, h0=1, peepholes=1, direction="BIDIRECTIONAL", lengths=[2, 3, 4], clip=0.5)
case("LSTM", b=1, h0=1, coupled=1, peepholes=1)
case("RNN", b=1, acts=[("RELU", 0, 0)])
case("RNN", b=1, h0=1, direction="BIDIRECTIONAL", acts=[("AFFINE", 0.5, 0.25), ("LEAKY_RELU", 0.1, 0)])
case("GRU", b=1, h0=1, direction="BIDIRECTIONAL", acts=[("HARD_SIGMOID", 0.3, 0.4), ("SOFTSIGN", 0, 0), ("SIGMOID", 0, 0), ("ELU", 0.7, 0)])
case("LSTM", b=1, h0=1, acts=[("SIGMOID", 0, 0), ("SCALED_TANH", 1.5, 0.6), ("SOFTPLUS", 0, 0)])
case("LSTM", b=1, direction="BIDIRECTIONAL", acts=[("HARD_SIGMOID", 0.2, 0.5), ("THRESHOLDED_RELU", 0.2, 0), ("TANH", 0, 0)])

flat = lambda a: "{ " + ", ".join(f"{v:.17g}" for v in np.ravel(a)) + " }" if np.size(a) else "{ 0 }"
print("// Written by tests/golden_recurrent.py with NumPy: do not edit.\n// clang-format off")
print(f"enum {{ T = {T}, B = {B}, I = {I}, H = {H}, POOL = {len(POOL)} }};")
print("static const double pool[POOL] = {", ", ".join(f"{v:g}" for v in POOL), "};")
print("static const struct golden { const char *name; cg_cell cell; cg_recurrent o; int b, h0, peepholes, lengths[1 + B]; cg_activation acts[6]; double y[2 * T * B * H], h[2 * B * H], c[2 * B * H]; }")
print("golden_recurrent[] = {")
for kind, o in CASES:
    told = [kind, o["direction"].lower()] + [f"{k} {v}" for k, v in o.items() if v and k not in ("direction", "acts")] + [a[0].lower() for a in o["acts"]]
    options = f".direction = CG_{o['direction']}, .clip = {o['clip']}, .linear_before_reset = {o['lbr']}, .input_forget = {o['coupled']}, .batch_first = {o['batch_first']}, .nactivations = {len(o['acts'])}"
    lengths = "{ " + ", ".join(map(str, [1] + o["lengths"] if o["lengths"] else [0])) + " }"
    acts = "{ " + ", ".join(f"{{ CG_ACT_{n}, {a}, {b}, 0 }}" for n, a, b in o["acts"] or [("DEFAULT", 0, 0)]) + " }"
    print(f"  {{ \"{', '.join(told)}\", CG_{kind}, {{ .struct_size = sizeof(cg_recurrent), {options} }}, {o['b']}, {o['h0']}, {o['peepholes']}, {lengths}, {acts},")
    print("    " + ", ".join(map(flat, layer(kind, o))) + " },")
print("};")
