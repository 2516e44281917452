#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Convolutions and their gradients by PyTorch, in f64: `python3 tests/golden_conv.py > tests/golden_conv.h`.

Operand k is element k * 37 and those behind it of POOL, which begins anew at its end; the test fills its arrays alike.
"""
import numpy as np
import torch
import torch.nn.functional as F

POOL = np.round(np.random.default_rng(17).uniform(-1, 1, 251), 3)
def operand(k, shape): return torch.tensor(POOL[(37 * k + np.arange(int(np.prod(shape)))) % len(POOL)].reshape(shape), requires_grad=True)
def three(v, missing): return list(v) + [missing] * (3 - len(v))

CASES = []
def case(name, n, c, o, size, window, strides=None, dilations=None, pads=None, groups=1, border="PADS", flip=0):
    d = len(size)
    CASES.append((name, n, c, o, size, window, strides or [1] * d, dilations or [1] * d, pads or [0] * (2 * d), groups, border, flip))
case("valid, one axis", 2, 3, 2, [7], [3])
case("valid, two axes", 2, 2, 3, [5, 4], [3, 2])
case("valid, three axes", 1, 2, 2, [3, 4, 3], [2, 3, 2])
case("one point", 1, 1, 1, [1, 1], [1, 1])
case("windows of one point", 2, 3, 4, [3, 5], [1, 1])
case("windows of one point, strides", 2, 3, 4, [3, 5], [1, 1], strides=[2, 3])
case("strides, dilations, uneven pads", 2, 4, 4, [6, 7], [3, 2], [2, 3], [2, 1], [1, 0, 2, 3], groups=2)
case("strides beyond the window", 1, 2, 2, [11], [2], [5], None, [0, 1])
case("strides and dilations with a common factor", 2, 1, 2, [13], [4], [4], [6], [7, 5])
case("pads beyond half the window", 1, 1, 2, [3, 2], [2, 2], pads=[3, 2, 4, 1])
case("full", 1, 2, 2, [4, 3], [3, 2], border="FULL")
case("full, turned round", 1, 2, 2, [4, 3], [3, 2], border="FULL", flip=1)
case("half", 2, 2, 3, [5, 4], [3, 5], border="HALF")
case("same, upper", 2, 2, 2, [5, 7], [4, 3], [2, 3], border="SAME_UPPER")
case("same, lower, dilations", 2, 2, 2, [6, 5], [4, 2], [1, 2], [2, 3], border="SAME_LOWER")
case("depthwise", 2, 3, 3, [5, 4], [3, 3], pads=[1, 1, 1, 1], groups=3)
case("depthwise with a multiplier", 1, 3, 6, [5], [3], [2], groups=3, pads=[1, 1])
case("three axes, strides, groups", 2, 2, 4, [3, 5, 4], [2, 3, 2], [1, 2, 3], [2, 1, 1], [1, 0, 2, 1, 1, 0], groups=2)
case("no image", 0, 2, 2, [4, 4], [3, 3])

def around(size, window, s, d, pads, border):
    span, axes = [(k - 1) * f + 1 for k, f in zip(window, d)], range(len(size))
    if border == "PADS": return pads
    if border in ("FULL", "HALF"): p = [v - 1 if border == "FULL" else v // 2 for v in span]; return p + p
    whole = [max((-(-size[i] // s[i]) - 1) * s[i] + span[i] - size[i], 0) for i in axes]
    before = [v // 2 if border == "SAME_UPPER" else v - v // 2 for v in whole]
    return before + [v - b for v, b in zip(whole, before)]

flat = lambda a: "{ " + ", ".join(f"{v:.17g}" for v in np.ravel(a)) + " }" if len(np.ravel(a)) else "{ 0 }"
ints = lambda v: "{ " + ", ".join(map(str, v)) + " }"
print("// Written by tests/golden_conv.py with PyTorch: do not edit.\n// clang-format off")
print(f"enum {{ POOL = {len(POOL)}, SPACE = 3, MAX_COUNT = 336 }};")
print("static const double pool[POOL] = {", ", ".join(f"{v:g}" for v in POOL), "};")
print("static const struct golden { const char *name; int axes; int64_t n, c, o, size[SPACE], window[SPACE], strides[SPACE], dilations[SPACE], pads[2 * SPACE], groups; cg_border border; int flip;")
print("    int64_t before[SPACE], places[SPACE]; double y[MAX_COUNT], dx[MAX_COUNT], dw[MAX_COUNT]; } golden_conv[] = {")
for name, n, c, o, size, window, s, d, pads, groups, border, flip in CASES:
    axes, all = len(size), around(size, window, s, d, pads, border)
    x, w = operand(0, (n, c, *size)), operand(1, (o, c // groups, *window))
    padded = F.pad(x, [v for i in reversed(range(axes)) for v in (all[i], all[axes + i])])
    y = [F.conv1d, F.conv2d, F.conv3d][axes - 1](padded, torch.flip(w, list(range(2, 2 + axes))) if flip else w, stride=s, dilation=d, groups=groups)
    dx, dw = torch.autograd.grad((y * operand(2, tuple(y.shape)).detach()).sum(), [x, w])
    print(f"  {{ \"{name}\", {axes}, {n}, {c}, {o}, {ints(three(size, 1))}, {ints(three(window, 1))}, {ints(three(s, 1))}, {ints(three(d, 1))}, {ints(pads)}, {groups}, CG_BORDER_{border}, {flip},")
    print(f"    {ints(three(all[:axes], 0))}, {ints(three(y.shape[2:], 1))}, {flat(y.detach())},\n    {flat(dx)},\n    {flat(dw)} }},")
print("};")
