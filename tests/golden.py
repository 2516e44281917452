#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden values for tests/golden_rows.h, computed by NumPy in f64: run `tests/golden.py > tests/golden.h`.

A row: expression in libcg's printed form, inputs, expected value, whether its gradient is tested by differences.
NumPy is the independent source; where it has no such function the formula is written out here. Elementwise operations by
themselves are golden_elem.py's.
"""
from statistics import NormalDist
import numpy as np
from philox import philox

class Rounded:                       # short decimals keep golden.h small
    r = np.random.default_rng(7)
    def standard_normal(self, shape): v = np.round(self.r.standard_normal(shape), 3); return np.where(np.abs(v) < 0.01, 0.37, v)      # away from kinks
R = Rounded()
inf, nan = float("inf"), float("nan")
X = R.standard_normal((3, 5)); Y = R.standard_normal((3, 5)) + 3; COL = R.standard_normal((3, 1)); ROW = R.standard_normal(5)
POS = np.abs(X) + 0.5
INT = np.array([[7, -7, 7], [-7, 0, 5]]); DIV = np.array([[2, 2, -2], [-2, 3, 5]])
rows = []

def row(expr, want, grad=False, **vars):
    rows.append((expr, {k: v if isinstance(v, tuple) else ("f32", v) for k, v in vars.items()}, want, grad))

def softmax(x, axis): e = np.exp(x - x.max(axis, keepdims=True)); return e / e.sum(axis, keepdims=True)
def log_softmax(x, axis): z = x - x.max(axis, keepdims=True); return z - np.log(np.exp(z).sum(axis, keepdims=True))

with np.errstate(all="ignore"):
    for name, f in dict(add=np.add, div=np.divide, maximum=np.maximum).items():
        row(f"({name} x y)", f(COL, ROW + 4), grad=True, x=COL, y=ROW + 4)
        row(f"({name} x y)", f(X, 2.0), x=X, y=np.array(2.0))
    row("(where (less x y) x y)", np.where(X < Y - 3, X, Y - 3), grad=True, x=X, y=Y - 3)
    i64 = lambda v: ("i64", v)
    row("(div x y)", INT / DIV, x=i64(INT), y=i64(DIV))
    row("(add x 2)", INT + 2, x=i64(INT))
    row("(cast x :dtype i32)", np.trunc(X * 10).astype(np.int32), x=X * 10)
    Z = R.standard_normal((2, 3, 70))
    for name, f in dict(sum=np.sum, max=np.max, min=np.min, mean=np.mean).items():
        row(f"({name} x)", f(Z), grad=True, x=Z)
        for ax in [(0,), (1,), (2,), (0, 2), (0, 1)]:
            text = " ".join(map(str, ax))
            row(f"({name} x :axis [{text}])", f(Z, axis=ax), grad=True, x=Z)
        row(f"({name} x :axis [-1] :keepdims true)", f(Z, axis=-1, keepdims=True), x=Z)
    row("(sum x)", INT.sum(), x=i64(INT))
    row("(sum x :axis [1])", np.zeros(3), x=np.zeros((3, 0)))
    row("(max x :axis [0])", np.array([nan, 5.0]), x=np.array([[1, 2], [nan, 5], [3, 4]]))
    row("(argmax x :axis [1])", np.argmax(Z, 1), x=Z)
    row("(argmax x :axis [0])", np.array([1, 0, 1]), x=np.array([[1, 5, 0], [2, 5, nan], [2, 4, nan]]))
    row("(reshape x :shape [5 -1])", X.reshape(5, -1), grad=True, x=X)
    row("(transpose x)", X.T, grad=True, x=X)
    row("(transpose x :axes [2 0 1])", Z.transpose(2, 0, 1), grad=True, x=Z)
    row("(expand_dims x :axis 1)", X[:, None], grad=True, x=X)
    row("(broadcast_to x :shape [2 3 5])", np.broadcast_to(X, (2, 3, 5)), grad=True, x=X)
    row("(slice x :start [1 none] :stop [none 4] :step [1 1])", X[1:, :4], grad=True, x=X)
    row("(slice x :start [none -1] :stop [-1 none] :step [1 -2])", X[:-1, -1::-2], x=X)
    row("(slice x :start [5 1] :stop [9 2] :step [1 1])", X[5:9, 1:2], x=X)
    IDX = np.array([2, 0, 2, -1])
    row("(take x i)", X[IDX], grad=True, x=X, i=i64(IDX))
    row("(one_hot i :depth [4])", np.eye(4)[[2, 0, 3]], i=i64(np.array([2, 0, 3])))
    M, N, V = R.standard_normal((6, 7)), R.standard_normal((7, 4)), R.standard_normal(7)
    row("(matmul x y)", M @ N, grad=True, x=M, y=N)
    row("(matmul (transpose x) y)", M.T @ M, grad=True, x=M, y=M)
    B1, B2 = R.standard_normal((2, 3, 4)), R.standard_normal((2, 4, 5))
    row("(matmul x y)", B1 @ B2, grad=True, x=B1, y=B2)
    row("(matmul x y)", np.zeros((3, 2)), x=np.zeros((3, 0)), y=np.zeros((0, 2)))
    for ax in (0, 1, 2):
        row(f"(softmax x :axis {ax})", softmax(Z, ax), grad=True, x=Z)
        row(f"(log_softmax x :axis {ax})", log_softmax(Z, ax), grad=True, x=Z)
    row("(softmax x :axis -1)", softmax(np.array([[1e4, -1e4, 0], [88, 89, 90.0]]), -1), x=np.array([[1e4, -1e4, 0], [88, 89, 90.0]]))
    L = R.standard_normal((6, 4)) * 3; C = np.array([0, 3, 1, 1, 2, 0])
    row("(cross_entropy x y)", -log_softmax(L, 1)[np.arange(6), C], grad=True, x=L, y=i64(C))
    row("(tanh (add (matmul x y) 1))", np.tanh(M @ N + 1), grad=True, x=M, y=N)
    row("(sum (mul (exp (neg x)) x) :axis [1])", (np.exp(-X) * X).sum(1), grad=True, x=X)
    row("(sub x (mean x :axis [1] :keepdims true))", X - X.mean(1, keepdims=True), grad=True, x=X)

    # reductions
    Q = R.standard_normal((3, 4, 6)); ZERO = np.array([[1.5, 2, -3], [0, 2, 5], [0, 0, 4.0]])
    lse = lambda x, a=None, k=False: np.log(np.exp(x).sum(axis=a, keepdims=k))
    for name, f in dict(prod=np.prod, var=np.var, logsumexp=lse, any=None, all=None).items():
        if name in ("any", "all"):
            f = getattr(np, name); T = Q > 0.8 if name == "any" else Q > -1.2
            for ax in [None, 0, 1, 2, (0, 2)]:
                text = "" if ax is None else f" :axis [{' '.join(map(str, np.atleast_1d(ax)))}]"
                row(f"({name} x{text})", f(T, axis=ax), x=T * 1.0)
            row(f"({name} x :axis [0])", f(np.zeros((0, 3)), axis=0), x=np.zeros((0, 3)))
            row(f"({name} x)", f(np.array([nan])), x=np.array([nan]))
            continue
        row(f"({name} x)", f(Q), grad=True, x=Q)
        for ax in [(0,), (1,), (2,), (0, 2)]:
            row(f"({name} x :axis [{' '.join(map(str, ax))}])", f(Q, ax), grad=True, x=Q)
        row(f"({name} x :axis [-2] :keepdims true)", np.expand_dims(f(Q, -2), -2), x=Q)
    row("(prod x :axis [1])", ZERO.prod(1), grad=True, x=ZERO)
    row("(prod x)", INT.prod(), x=i64(INT))
    row("(prod x :axis [0])", np.ones(3), x=np.zeros((0, 3)))
    row("(var x :axis [0])", np.full(2, nan), x=np.zeros((0, 2)))
    row("(var x)", np.array(1e8 + Z[0]).astype(np.float32).astype(np.float64).var(), x=np.array(1e8 + Z[0]).astype(np.float32).astype(np.float64))
    row("(logsumexp x :axis [1])", np.array([1e4, -inf, inf, nan]), x=np.array([[1e4, -1e4], [-inf, -inf], [inf, 0], [nan, 0]]))
    row("(argmin x :axis [1])", np.argmin(Z, 1), x=Z)
    row("(argmax x)", np.argmax(Z), x=Z)
    row("(argmin x :axis [1] :keepdims true)", np.argmin(Z, 1)[:, None], x=Z)
    for name in "sum prod max min mean var logsumexp".split():
        row(f"({name} x)", np.array({"var": 0.0}.get(name, 2.5)), grad=True, x=np.array(2.5))
    row("(argmax x)", np.array(0), x=np.array(2.5)); row("(any x)", np.array(True), x=np.array(2.5)); row("(all x)", np.array(False), x=np.array(0.0))
    # arrays side by side, from nothing, and windows
    row("(concatenate x y :axis 0)", np.concatenate([X, Y]), grad=True, x=X, y=Y)
    row("(concatenate x (exp y) x :axis -1)", np.concatenate([X, np.exp(Y), X], -1), grad=True, x=X, y=Y)
    row("(concatenate x y :axis 0)", X, x=X, y=np.zeros((0, 5)))
    row("(concatenate x :axis 0)", X, x=X)
    row("(add x (arange 5))", X + np.arange(5), grad=True, x=X)
    row("(arange 7 -3 -4)", np.arange(7, -3, -4)); row("(arange 2 9 3)", np.arange(2, 9, 3)); row("(arange 3 3)", np.arange(0, dtype=np.int64))
    row("(eye 3 4 :k 1)", np.eye(3, 4, 1)); row("(mul x (eye 3 5 :k -1))", X * np.eye(3, 5, -1), grad=True, x=X)
    from numpy.lib.stride_tricks import sliding_window_view as windows
    row("(sliding_window_view x :window_shape [2 3] :axis [0 1])", windows(X, (2, 3)), grad=True, x=X)
    row("(sliding_window_view x :window_shape [3] :axis [1] :stride [2] :before [1] :after [2])", windows(np.pad(X, ((0, 0), (1, 2))), 3, 1)[:, ::2], grad=True, x=X)
    row("(sliding_window_view x :window_shape [2] :axis [1] :dilation [3] :before [2])", windows(np.pad(X, ((0, 0), (2, 0))), 4, 1)[:, :, ::3], grad=True, x=X)
    row("(sliding_window_view x :window_shape [9] :axis [1])", np.zeros((3, 0, 9)), x=X)
    row("(max_pool x :kernel_shape [2] :strides [2])", windows(X, 2, 1)[:, ::2].max(-1), grad=True, x=X)
    row("(average_pool x :kernel_shape [3] :strides [2] :pads [1 1])", windows(np.pad(X, ((0, 0), (1, 1))), 3, 1)[:, ::2].sum(-1) / [2, 3, 2], grad=True, x=X)
    row("(sum_pool (mul x x) :kernel_shape [2 2] :dilations [2 1])", windows(X * X, (3, 2))[..., ::2, :].sum((-1, -2)), grad=True, x=X)
    for a, b, st in [(None, None, 2), (None, None, -1), (4, 0, -2), (1, 4, 2), (-1, None, -3)]:
        t = lambda v: "none" if v is None else str(v)
        row(f"(slice x :start [none {t(a)}] :stop [none {t(b)}] :step [-1 {st}])", X[::-1, a:b:st], grad=True, x=X)
    # forms: names for what is made of other operations
    ST = np.stack
    for ax in (0, 1, 2, -1):
        row(f"(stack x (exp y) x :axis {ax})", ST([X, np.exp(Y), X], ax), grad=True, x=X, y=Y)
    row("(stack x x)", ST([np.array(2.5)] * 2), grad=True, x=np.array(2.5))
    for k, part in enumerate(np.split(Z, 7, 2)[:3]):
        row(f"(get (split x :indices_or_sections 7 :axis -1) :output {k})", part, grad=True, x=Z)
    for k, part in enumerate(np.split(X, [1, 4], 1)):
        row(f"(get (split x :indices_or_sections [1 4] :axis 1) :output {k})", part, grad=True, x=X)
    O = X[None, :, None, :, None]
    row("(squeeze x)", O.squeeze(), grad=True, x=O); row("(squeeze x :axis [0 -1])", O.squeeze((0, -1)), x=O)
    row("(flip x)", np.flip(X), grad=True, x=X); row("(flip x :axis [1])", np.flip(X, 1), x=X); row("(flip x :axis [2 0])", np.flip(Z, (2, 0)), x=Z)
    row("(pad x :pad_width 2)", np.pad(X, 2), grad=True, x=X)
    row("(pad x :pad_width [1 0])", np.pad(X, (1, 0)), x=X)
    row("(pad x :pad_width [[0 2] [3 1]])", np.pad(X, ((0, 2), (3, 1))), grad=True, x=X)
    row("(pad (exp x) -1.5 :pad_width [[1 2] [0 0]])", np.pad(np.exp(X), ((1, 2), (0, 0)), constant_values=-1.5), grad=True, x=X)
    row("(pad x y :pad_width [[1 0] [2 1]])", np.pad(X, ((1, 0), (2, 1)), constant_values=0.25), grad=True, x=X, y=np.array(0.25))
    row("(max (pad x -inf :pad_width 1) :axis [1])", np.pad(X, 1, constant_values=-inf).max(1), x=X)
    row("(pad x 3 :pad_width 1)", np.full((2, 5), 3.0), x=np.zeros((0, 3)))
    row("(pad x 7 :pad_width [0 2])", np.pad(INT, (0, 2), constant_values=7), x=i64(INT))
    row("(full 1.5 :shape [2 3])", np.full((2, 3), 1.5)); row("(mul x (full y :shape [5]))", X * 0.5, grad=True, x=X, y=np.array(0.5))
    row("(full y :shape [])", np.array(0.5), y=np.array(0.5))
    row("(add x (mul 2 (ones_like x)))", X + 2, x=X); row("(add x (zeros_like x))", INT, x=i64(INT))
    row("(shape x)", np.array(Z.shape), x=Z); row("(shape x)", np.zeros(0, np.int64), x=np.array(2.5)); row("(mul (shape x) 2)", np.array([6, 10]), x=X)
    def added(a, rows, src): a = a.copy(); np.add.at(a, rows, src); return a
    IJ = np.array([[2, 0], [-1, 2]]); SRC = R.standard_normal((2, 2, 5))
    row("(scatter_add x i y)", added(X, IDX, Y[[0, 1, 2, 0]]), grad=True, x=X, i=i64(IDX), y=Y[[0, 1, 2, 0]])
    row("(scatter_add x i y)", added(X, IJ, SRC), grad=True, x=X, i=i64(IJ), y=SRC)
    row("(scatter_add x i 2)", added(X, IDX, 2), grad=True, x=X, i=i64(IDX))
    row("(scatter_add x i y)", added(ROW, IDX, ROW[0]), grad=True, x=ROW, i=i64(IDX), y=np.array(ROW[0]))
    row("(scatter_add x i y)", X, x=X, i=i64(np.zeros(0, np.int64)), y=np.zeros((0, 5)))
    row("(segment_sum x i 4)", added(np.zeros((4, 5)), np.array([3, 0, 3]), X), grad=True, x=X, i=i64(np.array([3, 0, 3])))
    row("(unslice x :start [1 0] :shape [4 9] :step [1 2])", np.pad(np.insert(X, [1, 2, 3, 4], 0, 1), ((1, 0), (0, 0))), grad=True, x=X)
    # a part replaced or increased: slices, and rows of any axis by integers
    def put(a, part, y): a = a.copy(); a[part] = y; return a
    def inc(a, part, y): a = a.copy(); np.add.at(a, part, y); return a
    def bounds(part):
        t = lambda v: "none" if v is None else str(v)
        return " ".join(f":{name} [{' '.join(t(getattr(s, name)) for s in part)}]" for name in ("start", "stop", "step"))
    A_, SL = slice(None), slice
    for part in [(SL(1, None), SL(None, 4)), (SL(None, None, -1), SL(-1, 0, -2)), (SL(-2, 9), SL(1, 2)), (A_, SL(None, None, 3)), (A_, A_), (SL(2, 1), A_)]:
        like = X[part]; some_y = Y.ravel()[:like.size].reshape(like.shape)
        for name, f in dict(set=put, inc=inc).items():
            row(f"({name}_slice x y {bounds(part)})", f(X, part, some_y), grad=True, x=X, y=some_y)
    for name, f in dict(set=put, inc=inc).items():
        row(f"({name}_slice x 2.5 {bounds((SL(1, 3), SL(0, None, 2)))})", f(X, (SL(1, 3), SL(0, None, 2)), 2.5), grad=True, x=X)
        row(f"({name}_slice x y {bounds((A_, SL(4, 1, -1)))})", f(X, (A_, SL(4, 1, -1)), COL), grad=True, x=X, y=COL)
        row(f"({name}_slice x 1 {bounds((SL(0, 1), SL(-1, None)))})", f(INT, (SL(0, 1), SL(-1, None)), 1), x=i64(INT))
        row(f"({name}_slice (greater x 0) 1 {bounds((SL(0, 2), A_))})", f(X > 0, (SL(0, 2), A_), True), x=X)
        row(f"({name}_slice x y :start [] :stop [] :step [])", np.array(Y[0, 0] + (X[0, 0] if name == "inc" else 0)), grad=True, x=np.array(X[0, 0]), y=np.array(Y[0, 0]))
        row(f"({name}_slice x y {bounds((SL(0, 2), A_))})", np.zeros((0, 3)), x=np.zeros((0, 3)), y=np.zeros((1, 3)))
        for axis, part, like in [(0, (IDX,), X[IDX]), (1, (A_, IDX), X[:, IDX]), (-1, (A_, IJ), X[:, IJ]), (0, (IJ,), X[IJ])]:
            some_y = np.resize(Y, like.shape) * (1 + np.arange(like.size).reshape(like.shape) % 7)
            row(f"({name}_rows x i y :axis {axis})", f(X, part, some_y), grad=True, x=X, i=i64(part[-1]), y=some_y)
        row(f"({name}_rows x i y :axis 1)", f(Q, (A_, IDX), np.resize(Y, (3, 4, 6))), grad=True, x=Q, i=i64(IDX), y=np.resize(Y, (3, 4, 6)))
        row(f"({name}_rows x i 2 :axis 1)", f(X, (A_, IDX), 2), grad=True, x=X, i=i64(IDX))
        row(f"({name}_rows x i y :axis 1)", f(X, (A_, IDX), COL), grad=True, x=X, i=i64(IDX), y=COL)
        row(f"({name}_rows x i y)", f(X, -1, ROW), grad=True, x=X, i=i64(np.array(-1)), y=ROW)
        row(f"({name}_rows x i y)", f(ROW, IDX, ROW[:4]), grad=True, x=ROW, i=i64(IDX), y=ROW[:4])
        row(f"({name}_rows x i y)", X, grad=True, x=X, i=i64(np.zeros(0, np.int64)), y=np.zeros((0, 5)))
        row(f"({name}_rows (zeros_like x) i y)", f(0 * X, IDX, np.resize(Y, (4, 5))), x=X, i=i64(IDX), y=np.resize(Y, (4, 5)))
        row(f"({name}_rows x i y)", f(INT, [1, 1], 3 * INT), x=i64(INT), i=i64(np.array([1, 1])), y=i64(3 * INT))
    row("(take x i :axis 1)", X[:, IDX], grad=True, x=X, i=i64(IDX)); row("(take x i :axis -2)", Q[:, IJ], grad=True, x=Q, i=i64(IJ))
    row("(take x i :axis 1)", X[:, -2], grad=True, x=X, i=i64(np.array(-2))); row("(slice (take x i :axis 2) :start [none 1] :step [none -1])", Q[:, 1::-1, IDX], grad=True, x=Q, i=i64(IDX))
    row("(sum (mul (take x i) y) :axis [1])", (X[IDX] * ROW).sum(1), grad=True, x=X, i=i64(IDX), y=ROW); row("(max (take x i :axis 1) :axis [0 1])", Q[:, [1, -1]].max((0, 1)), x=Q, i=i64(np.array([1, -1])))
    row("(sum (take x i) :axis [0])", X[IJ].sum(0), grad=True, x=X, i=i64(IJ))
    row("(add (reshape (add (dim x :axis 0) 1) :shape [1 1]) i)", INT + 4, x=X, i=i64(INT))
    row("(std x :axis [1])", X.std(1), grad=True, x=X); row("(std x)", X.std(), x=X); row("(std x :axis [-1] :keepdims true)", Z.std(-1, keepdims=True), x=Z)
    def norm(x, axes, eps=1e-5): return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    C3 = lambda v, r: v.reshape((-1,) + (1,) * (r - 2))
    row("(layer_normalization x y (exp y))", norm(X, (1,)) * ROW + np.exp(ROW), grad=True, x=X, y=ROW)
    row("(layer_normalization x :axis 1 :epsilon 0.5)", norm(Q, (1, 2), 0.5), grad=True, x=Q)
    row("(layer_normalization x y y)", np.zeros((0, 5)), x=np.zeros((0, 5)), y=ROW)
    FOUR = R.standard_normal((2, 3, 2, 2)); TRIO = R.standard_normal(3)
    row("(batch_normalization x y y y (exp y))", (FOUR - C3(TRIO, 4)) / np.sqrt(np.exp(C3(TRIO, 4)) + 1e-5) * C3(TRIO, 4) + C3(TRIO, 4), grad=True, x=FOUR, y=TRIO)
    row("(get (batch_normalization_train x y y y y) :output 0)", norm(FOUR, (0, 2, 3)) * C3(TRIO, 4) + C3(TRIO, 4), grad=True, x=FOUR, y=TRIO)
    row("(get (batch_normalization_train x y y y y :axis [1 -1] :running_average_factor 0.25) :output 2)",
        0.75 * FOUR[:, 0, :, 0] + 0.25 * FOUR.var((1, 3)) * 6 / 5, grad=True, x=FOUR, y=FOUR[:, 0, :, 0])
    row("(get (batch_normalization_train x y y y y) :output 1)", TRIO, x=np.zeros((0, 3)), y=TRIO)
    QA, KA, VA = R.standard_normal((2, 3, 4)), R.standard_normal((2, 5, 4)), R.standard_normal((2, 5, 3)); KEEP = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 1]], dtype=bool)
    def attention(q, k, v, keep, scale=0.5):
        w = np.where(keep, np.exp(np.where(keep, q @ np.swapaxes(k, -1, -2) * scale, 0)), 0); s = w.sum(-1, keepdims=True)
        return w / np.where(s == 0, 1, s) @ v
    row("(attention x y z)", attention(QA, KA, VA, True), grad=True, x=QA, y=KA, z=VA)
    row("(attention x y y :is_causal true :scale 2)", attention(QA, KA, KA, np.tri(3, 5) > 0, 2), grad=True, x=QA, y=KA)
    row("(attention x x x z)", attention(KA, KA, KA, KEEP[[0, 1, 2, 0, 0]]), grad=True, x=KA, z=("bool", KEEP[[0, 1, 2, 0, 0]]))
    BIG = np.array([[1e4, -1e4], [3e4, 2e4]])
    row("(attention x x y)", np.array([[1.0, 2], [3, 4]])[[0, 1]], x=BIG, y=np.array([[1.0, 2], [3, 4]]))
    row("(embedding x i :padding_idx 2)", X[IDX % 3], x=X, i=i64(IDX % 3)); row("(embedding x i)", X[IJ], grad=True, x=X, i=i64(IJ))
    row("(concatenate x x :axis 0)", np.zeros((0, 2)), x=np.zeros((0, 2)))

    # Every operation has a row, and one of few elements for check_short; what else only gradients and rewriting make.
    for name in "sum mean max min argmax".split():
        row(f"({name} x :axis [0])", getattr(np, name)(X, axis=0), grad=name != "argmax", x=X)
    row("(log_softmax x :axis 1)", log_softmax(X, 1), grad=True, x=X)
    row("(get (tuple x y) :output 1)", Y, x=X, y=Y)
    row("(ifelse (less c 12) (tanh x) (mul x y))", np.tanh(X), grad=True, x=X, y=Y, c=i64(np.array(11)))
    row("(ifelse (greater (sum x) 1e9) (tanh x) (mul x y))", X * Y, grad=True, x=X, y=Y)
    row("(dim x :axis -1)", np.array(5), x=X)
    row("(broadcast_dim (dim x :axis 0) (dim y :axis 0))", np.array(3), x=X, y=np.array([2.5]))
    row("(mul x (const f32 [1 5] [1 2 3 4 0.5]))", X * [[1, 2, 3, 4, 0.5]], x=X)
    row("(sum_to x :shape [1 5])", X.sum(0, keepdims=True), grad=True, x=X); row("(sum_to x :shape [])", X.sum(), grad=True, x=X)
    row("(unslice x :start [1 0] :shape [5 8])", np.pad(X, ((1, 1), (0, 3))), grad=True, x=X)
    spread = np.zeros((3, 9)); spread[:, ::2] = X
    row("(unslice x :start [0 0] :shape [3 9] :step [1 2])", spread, grad=True, x=X)
    row("(segment_sum x i 5)", added(np.zeros((5, 5)), [3, 0, 3], X), grad=True, x=X, i=i64(np.array([3, 0, 3])))
    row("(gemm x y (const f32 [] [0.5]) z)", 0.5 * M @ N + M[:, :4], x=M, y=N, z=M[:, :4])
    summed = np.zeros((3, 7))
    for k in range(3): summed[:, k:k + 5] += B1[0, 0, k] * X
    row("(window_sum (mul (expand_dims x :axis 2) y) :shape [3 7] :axis [1] :dilation [1] :before [0])", summed, grad=True, x=X, y=B1[0, 0, :3])
    some = lambda shape, at: Z.ravel()[at:at + int(np.prod(shape))].reshape(shape)
    # convolutions: windows by hand, and the two others as sums over the same windows
    I1, F1, I2, F2 = some((2, 4, 6), 0), some((6, 2, 3), 60), some((2, 2, 5, 4), 120), some((3, 2, 2, 3), 210)
    def conv(x, w, strides, dilations, before, behind, group=1):
        span = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations)]; a = tuple(range(2, x.ndim)); n = x.ndim
        v = windows(np.pad(x, ((0, 0), (0, 0), *zip(before, behind))), span, a)
        v = v[(slice(None), slice(None), *(slice(None, None, k) for k in strides), *(slice(None, None, k) for k in dilations))]
        c, o = x.shape[1] // group, w.shape[0] // group
        part = lambda g: np.moveaxis(np.tensordot(v[:, g * c:g * c + c], w[g * o:g * o + o], ((1, *range(n, 2 * n - 2)), tuple(range(1, n)))), -1, 1)
        return np.concatenate([part(g) for g in range(group)], 1)
    def by_part(f, like):                # what a linear function has as its transpose: one unit at a time
        return np.stack([f(u.reshape(like)) for u in np.eye(int(np.prod(like)))])
    row("(conv x y)", conv(I1[:, :2], F1, [1], [1], [0], [0]), grad=True, x=I1[:, :2], y=F1)
    row("(conv x y :strides [2] :dilations [2] :pads [3 1] :group 2)", conv(I1, F1, [2], [2], [3], [1], 2), grad=True, x=I1, y=F1)
    row("(correlate x y :shape [3 2] :strides [2 3] :before [1 2])", conv(I2, F2, [2, 3], [1, 1], [1, 2], [0, 0]), grad=True, x=I2, y=F2)
    Y2 = conv(I2, F2, [2, 1], [1, 1], [1, 0], [0, 1]); at2 = dict(strides=[2, 1], dilations=[1, 1], before=[1, 0], behind=[0, 1]); opts2 = ":strides [2 1] :pads [1 0 0 1]"
    DX2 = (by_part(lambda x: conv(x, F2, **at2), I2.shape) * Y2).sum((1, 2, 3, 4)).reshape(I2.shape); DF2 = (by_part(lambda w: conv(I2, w, **at2), F2.shape) * Y2).sum((1, 2, 3, 4)).reshape(F2.shape)
    row(f"(conv_input_grad x y {opts2} :shape [5 4])", DX2, grad=True, x=Y2, y=F2); row(f"(conv_weight_grad x y {opts2} :shape [2 3])", DF2, grad=True, x=I2, y=Y2)
    row("(correlate_images x y :shape [5 4] :strides [2 1] :before [1 0])", DX2, grad=True, x=Y2, y=F2); row("(correlate_filters x y :shape [2 3] :strides [2 1] :before [1 0])", DF2, grad=True, x=I2, y=Y2)
    row("(conv x y :border 3)", np.zeros((0, 3, 5, 4)), grad=True, x=I2[:0], y=F2); row("(conv x y :pads [0 0 0 0])", np.zeros((2, 3, 4, 2)), grad=True, x=I2[:, :0], y=F2[:, :0])
    row("(get (scan (dim x :axis 0) :seq [x] :init [(const f32 [5] [0 0 0 0 0])] :capture [] :body [(add (arg :index 0 :dtype f32 :shape [5])"
        " (arg :index 1 :dtype f32 :shape [5]))] :back [0] :outs [0 0 0]) :output 0)", X.cumsum(0), x=X)
    WORDS = np.array([philox(e // 4, (5 << 40) + 11, 42, e % 4) for e in range(10)], dtype=np.uint32).reshape(2, 5); CALL = i64(np.array(11))
    row("(random_bits c :seed 42 :draw 5 :shape [2 5])", WORDS, c=CALL)
    row("(uniform c :seed 42 :draw 5 :shape [2 5])", (WORDS >> 8) * 2.0 ** -24, c=CALL)
    row("(normal c :seed 42 :draw 5 :shape [2 5])", np.vectorize(lambda w: (2 * int(w & 1) - 1) * NormalDist().inv_cdf((int(w >> 1) + 0.5) * 2.0 ** -32))(WORDS), c=CALL)

    # lines along an axis
    ALONG = np.array([[4, 0, -5], [1, 1, 2], [0, -1, 3]]); LINE = np.array([[[1, 0, 1, 1, -2, 0]], [[3, 2, 0, 1, 1, 3]], [[0, 0, 2, 2, 3, -1]]])
    row("(take_along_axis x i :axis 1)", np.take_along_axis(X, ALONG, 1), grad=True, x=X, i=i64(ALONG))
    row("(take_along_axis x i :axis -2)", np.take_along_axis(Q, LINE, -2), grad=True, x=Q, i=i64(LINE))
    row("(cross_entropy x y)", -np.take_along_axis(log_softmax(Q, 1), LINE % 4, 1)[:, 0], grad=True, x=Q, y=i64(LINE[:, 0] % 4))

    # nothing, and scalars
    E, S, NONE = np.zeros((0, 3)), np.array(2.5), i64(np.zeros(0, dtype=np.int64))
    for name, want in dict(sum=0.0, mean=nan, logsumexp=-inf).items(): row(f"({name} x :axis [0])", np.full(3, want), x=E)
    for name in "max min mean var logsumexp prod".split(): row(f"({name} x :axis [1])", np.zeros(0), grad=True, x=E)
    for name in "argmax argmin any all".split(): row(f"({name} x :axis [1])", np.zeros(0, dtype=bool if name[1] in "nl" else int), x=E)
    for name in "softmax log_softmax".split(): row(f"({name} x :axis 0)", E, grad=True, x=E); row(f"({name} x :axis 1)", E, grad=True, x=E)
    row("(cross_entropy x y)", np.zeros(0), grad=True, x=E, y=NONE)
    row("(take_along_axis x i :axis 1)", np.zeros((0, 1)), grad=True, x=E, i=i64(np.zeros((0, 1), dtype=np.int64)))
    row("(matmul x y)", np.zeros((0, 4)), grad=True, x=E, y=B1[0]); row("(matmul y x)", np.zeros((2, 0)), x=np.zeros((3, 0)), y=X[:2, :3])
    row("(reshape x :shape [3 0 2])", np.zeros((3, 0, 2)), grad=True, x=E); row("(transpose x)", E.T, grad=True, x=E); row("(cast x :dtype i32)", E.astype(np.int32), x=E)
    row("(expand_dims x :axis 0)", E[None], grad=True, x=E); row("(broadcast_to x :shape [2 0 3])", np.zeros((2, 0, 3)), grad=True, x=E)
    row("(sum_to x :shape [1 3])", np.zeros((1, 3)), grad=True, x=E)
    row("(slice x :start [none 1] :stop [none 3] :step [-1 2])", np.zeros((0, 1)), grad=True, x=E)
    row("(unslice x :start [1 0] :shape [2 3])", np.zeros((2, 3)), grad=True, x=E); row("(segment_sum x i 2)", np.zeros((2, 3)), grad=True, x=E, i=NONE)
    row("(take x i)", np.zeros((0, 5)), grad=True, x=X, i=NONE); row("(one_hot i :depth [4])", np.zeros((0, 4)), i=NONE)
    row("(eye 0 3)", E); row("(uniform c :seed 1 :draw 9 :shape [0 3])", E, c=CALL)
    row("(window_sum x :shape [2] :axis [0] :dilation [1] :before [0])", np.zeros(2), grad=True, x=np.zeros((0, 3)))
    row("(reshape x :shape [1 1])", S.reshape(1, 1), grad=True, x=S); row("(reshape x :shape [])", S, grad=True, x=S.reshape(1, 1)); row("(transpose x)", S, grad=True, x=S)
    row("(expand_dims x :axis 0)", S.reshape(1), grad=True, x=S); row("(broadcast_to x :shape [2 3])", np.full((2, 3), S), grad=True, x=S)
    row("(sum_to x :shape [])", S, grad=True, x=S); row("(slice x :start [] :stop [] :step [])", S, grad=True, x=S); row("(unslice x :start [] :shape [])", S, grad=True, x=S)
    row("(take x i)", X[1], grad=True, x=X, i=i64(np.array(1))); row("(one_hot i :depth [4])", np.eye(4)[2], i=i64(np.array(2))); row("(cast x :dtype i32)", np.array(2, dtype=np.int32), x=S)

    # matmul of every pair of ranks: a vector is a row on the left and a column on the right, batches stretch
    LEFT = [some(s, 100) for s in [(4,), (2, 4), (3, 2, 4), (2, 1, 2, 4)]]; RIGHT = [some(s, 200) for s in [(4,), (4, 3), (3, 4, 3), (2, 3, 4, 3)]]
    for a in LEFT:
        for b in RIGHT: row("(matmul x y)", a @ b, grad=True, x=a, y=b)
    row("(matmul x y)", LEFT[2][:1] @ RIGHT[2], grad=True, x=LEFT[2][:1], y=RIGHT[2]); row("(matmul x y)", LEFT[2][:0] @ RIGHT[1], grad=True, x=LEFT[2][:0], y=RIGHT[1])
    row("(matmul x y)", INT[0] @ DIV.T, x=i64(INT[0]), y=i64(DIV.T)); row("(matmul x y)", np.zeros(2), grad=True, x=np.zeros(0), y=np.zeros((0, 2)))

DT = {np.dtype("bool"): "BOOL", np.dtype("int64"): "I64", np.dtype("int32"): "I32", np.dtype("uint32"): "U32"}
def num(v):
    v = float(v)
    return "NAN" if v != v else "INFINITY" if v == inf else "-INFINITY" if v == -inf else repr(v)
def array(name, dtype, v):
    v = np.asarray(v); data = ", ".join(num(e) for e in v.ravel()) or "0"
    shape = ", ".join(map(str, v.shape)) or "0"
    return f'{{ "{name}", CG_{dtype}, {v.ndim}, {{ {shape} }}, (const double[]){{ {data} }} }}'
print("// Written by tests/golden.py with NumPy: do not edit.\n// clang-format off")
print("static const golden_row golden_rows[] = {")
for expr, vs, want, grad in rows:
    want = np.asarray(want)
    ins = ", ".join(array(k, d.upper(), v) for k, (d, v) in vs.items()) or "{ 0 }"
    print(f'  {{ "{expr}", {len(vs)}, {{ {ins} }}, {array("want", DT.get(want.dtype, "F32"), want)}, {int(grad)} }},')
print("};")
