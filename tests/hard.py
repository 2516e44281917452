#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Values for tests/check_hard.c, computed by NumPy in f64: run `tests/hard.py > tests/hard.h`.

A recurrent net and its gradient written as loops over steps, a convolution as seven loops over indices: nothing here is built the way libcg
builds it.
"""
import numpy as np

r = np.random.default_rng(11)
def rand(*shape): return np.round(r.standard_normal(shape) * 0.5, 3)

# h[t] = tanh(x[t] U + h[t-1] W); cost = sum(h * C)
T, B, D, H = 6, 3, 4, 5
x, h0, U, W, C = rand(T, B, D), rand(B, H), rand(D, H), rand(H, H), rand(T, B, H)
hs, h = [], h0
for t in range(T):
    h = np.tanh(x[t] @ U + h @ W); hs.append(h)
hs = np.stack(hs)
dW, dU, dx, dh = np.zeros_like(W), np.zeros_like(U), np.zeros_like(x), np.zeros_like(h0)
for t in reversed(range(T)):
    da = (C[t] + dh) * (1 - hs[t] ** 2)
    dW += (hs[t - 1] if t else h0).T @ da; dU += x[t].T @ da; dx[t] = da @ U.T; dh = da @ W.T

# a 3x3 convolution (cross-correlation) of 2 images, 2 channels to 3, with a border of one zero, and with stride 2
N, IC, OC, S, K = 2, 2, 3, 5, 3
X, F = rand(N, IC, S, S), rand(OC, IC, K, K)
def conv(X, F, stride):
    P = (S + 2 - K) // stride + 1
    Y = np.zeros((N, OC, P, P))
    for n in range(N):
        for o in range(OC):
            for i in range(P):
                for j in range(P):
                    for c in range(IC):
                        for a in range(K):
                            for b in range(K):
                                p, q = i * stride + a - 1, j * stride + b - 1
                                if 0 <= p < S and 0 <= q < S: Y[n, o, i, j] += X[n, c, p, q] * F[o, c, a, b]
    return Y
def grads(X, F, G, stride):          # of sum(conv * G), which is linear in X and in F
    eye = lambda A: [np.eye(A.size)[k].reshape(A.shape) for k in range(A.size)]
    return np.array([(conv(E, F, stride) * G).sum() for E in eye(X)]).reshape(X.shape), np.array([(conv(X, E, stride) * G).sum() for E in eye(F)]).reshape(F.shape)
Y1, Y2 = conv(X, F, 1), conv(X, F, 2)
G1, G2 = rand(*Y1.shape), rand(*Y2.shape)
dX1, dF1 = grads(X, F, G1, 1)
dX2, dF2 = grads(X, F, G2, 2)

print("// Written by tests/hard.py with NumPy: do not edit.\n// clang-format off")
for name in "x h0 U W C hs dW dU dx dh X F Y1 Y2 G1 G2 dX1 dF1 dX2 dF2".split():
    print(f"static const double v_{name}[] = {{ {', '.join(repr(float(e)) for e in globals()[name].ravel())} }};")
