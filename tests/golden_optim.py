#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Five steps of every optimiser on a small regression, by NumPy in f64: `python3 tests/golden_optim.py > tests/golden_optim.h`.

loss = mean((X w + b - y)^2). The options differ from the defaults, so that each is seen to arrive.
"""
import numpy as np

X = np.array([[1, 0.5, -1], [0.25, -2, 1], [-1.5, 1, 0.5], [2, 0.75, -0.5]])
Y, W, B = np.array([1, -0.5, 2, 0.25]), np.array([0.5, -0.25, 1]), np.array([0.125])
MU, B1, B2, RHO, EPS, DECAY, STEPS = 0.8, 0.85, 0.98, 0.95, 1e-3, 0.05, 5

def gradients(w, b):
    d = 2 * (X @ w + b - Y) / len(Y)
    return [X.T @ d, np.array([d.sum()])]

def adam(p, g, s, t, rate, decay=0.0):
    p = p - rate * decay * p
    s["m"] = B1 * s.get("m", 0) + (1 - B1) * g
    s["v"] = B2 * s.get("v", 0) + (1 - B2) * g * g
    return p - rate * (s["m"] / (1 - B1 ** t)) / (np.sqrt(s["v"] / (1 - B2 ** t)) + EPS)
def momentum(p, g, s, t, rate): s["v"] = MU * s.get("v", 0) + g; return p - rate * s["v"]
def nesterov(p, g, s, t, rate): s["v"] = MU * s.get("v", 0) + g; return p - rate * (g + MU * s["v"])
def rmsprop(p, g, s, t, rate): s["v"] = RHO * s.get("v", 0) + (1 - RHO) * g * g; return p - rate * g / (np.sqrt(s["v"]) + EPS)
def adagrad(p, g, s, t, rate): s["v"] = s.get("v", 0) + g * g; return p - rate * g / (np.sqrt(s["v"]) + EPS)
sgd = lambda p, g, s, t, rate: p - rate * g
KINDS = [("CG_SGD", sgd, 0.1), ("CG_MOMENTUM", momentum, 0.05), ("CG_NESTEROV", nesterov, 0.05), ("CG_ADAM", adam, 0.1),
         ("CG_ADAMW", lambda *a: adam(*a, decay=DECAY), 0.1), ("CG_RMSPROP", rmsprop, 0.1), ("CG_ADAGRAD", adagrad, 0.5),
         ("CG_SGD", sgd, 0.1, 0.3), ("CG_ADAM", adam, 0.1, 0.3)]

flat = lambda a: "{ " + ", ".join(f"{v:.9g}" for v in np.ravel(a)) + " }"
print("// Written by tests/golden_optim.py with NumPy: do not edit.\n// clang-format off")
print(f"static const float fit_x[] = {flat(X)}, fit_y[] = {flat(Y)}, fit_w[] = {flat(W)}, fit_b[] = {flat(B)};")
print(f"#define GOLDEN_OPTIONS .momentum = {MU}, .beta1 = {B1}, .beta2 = {B2}, .rho = {RHO}, .eps = {EPS}, .decay = {DECAY}")
print("/* w and b after each step */\nstatic const struct { cg_optimizer_kind kind; double rate, l2, want[5][4]; } golden_optim[] = {")
for name, step, rate, *l2 in KINDS:
    p, states, rows = [W, B], [{}, {}], []
    for t in range(1, STEPS + 1):
        g = [g + sum(l2) * p[i] for i, g in enumerate(gradients(*p))]
        p = [step(p[i], g[i], states[i], t, rate) for i in range(2)]
        rows.append(np.concatenate(p))
    print(f"  {{ {name}, {rate}, {sum(l2)}, {{ " + ", ".join(map(flat, rows)) + " } },")
print("};")
