#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `cgraph eval --batch` must answer, computed by NumPy: run `tests/eval_cases.py > tests/eval_cases.jsonl`.

A line is a line of the batch with one more key, "want": the result, or what an "error" or "unsupported" must say.
"""
import json
import numpy as np

R = np.random.default_rng(3)
NAMES = {"f16": np.float16, "f32": np.float32, "f64": np.float64, "bool": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
         "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64}
SPECIAL = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}

def element(v):
    if isinstance(v, (bool, np.bool_)): return bool(v)
    if isinstance(v, (int, np.integer)): return int(v) if abs(int(v)) <= 2**53 else str(int(v))
    v = float(v)
    return "nan" if v != v else ("inf" if v > 0 else "-inf") if np.isinf(v) else v

def array(dtype, values):
    a = np.asarray(values, dtype=NAMES.get(dtype, np.float32))
    return {"dtype": dtype, "shape": list(a.shape), "data": [element(v) for v in a.ravel()]}

def line(expr, inputs, want, grad=None):
    o = {"expr": expr, "inputs": {k: v if isinstance(v, dict) else array(*v) for k, v in inputs.items()}}
    if grad: o["grad"] = list(grad)
    if isinstance(want, list): want = {"value": [array(*v) for v in want]}
    if isinstance(want, tuple): want = {"value": array(*want)}
    if grad: want["grad"] = {k: array(*v) for k, v in grad.items()}
    print(json.dumps({**o, "want": want}))

def f32(*shape): return np.round(R.standard_normal(shape), 3).astype(np.float32)

x, y, w = f32(2, 3), f32(3), f32(3, 4)
line("(mul x y)", {"x": ("f32", x), "y": ("f32", y)}, ("f32", x * y), {"x": ("f32", np.broadcast_to(y, x.shape)), "y": ("f32", x.sum(0))})
line("(sum (square x) :axis [1])", {"x": ("f32", x)}, ("f32", (x.astype(float) ** 2).sum(1)), {"x": ("f32", 2 * x)})
line("(mean x)", {"x": ("f32", x)}, ("f32", x.mean()), {"x": ("f32", np.full(x.shape, 1 / 6))})
line("(matmul x w)", {"x": ("f32", x), "w": ("f32", w)}, ("f32", x.astype(float) @ w), {"x": ("f32", np.ones((2, 4)) @ w.T.astype(float)), "w": ("f32", x.T.astype(float) @ np.ones((2, 4)))})
line("(let ((h (exp x))) (div h (add 1 h)))", {"x": ("f64", x)}, ("f64", 1 / (1 + np.exp(-x.astype(float)))))
line("(transpose x)", {"x": ("f32", x)}, ("f32", x.T), {"x": ("f32", np.ones_like(x))})
line("(slice x :start [0 1] :stop [none none] :step [1 1])", {"x": ("f32", x)}, ("f32", x[:, 1:]))
line("(slice y :start [-9] :stop [2] :step [-1])", {"y": ("f32", y)}, ("f32", y[-9:2:-1]))
line("(slice y :start [9] :stop [none] :step [-1])", {"y": ("f32", y)}, ("f32", y[9::-1]))
line("(slice y :start [none] :stop [-9] :step [-2])", {"y": ("f32", y)}, ("f32", y[:-9:-2]))
line("(reshape x :shape [3 2])", {"x": ("f32", x)}, ("f32", x.reshape(3, 2)))
line("(argmax x :axis [1])", {"x": ("f32", x)}, ("i64", x.argmax(1)))
line("(take x i)", {"x": ("f32", x), "i": ("i64", [1, 0, 1])}, ("f32", x[[1, 0, 1]]), {"x": ("f32", [[1, 1, 1], [2, 2, 2]])})
e = np.exp(x.astype(float)); p = e / e.sum(1, keepdims=True)
line("(cross_entropy x c)", {"x": ("f32", x), "c": ("i64", [2, 0])}, ("f32", -np.log(p[[0, 1], [2, 0]])), {"x": ("f32", p - np.eye(3)[[2, 0]])})
line("(where (greater x 0) x y)", {"x": ("f32", x), "y": ("f32", y)}, ("f32", np.where(x > 0, x, y)), {"x": ("f32", x > 0)})
s = np.array([np.nan, np.inf, -np.inf, 0.0, 1.5], np.float32)
line("x", {"x": ("f32", s)}, ("f32", s))
line("(maximum x 1)", {"x": ("f32", s)}, ("f32", [np.nan, np.inf, 1, 1, 1.5]))
line("(less x 1)", {"x": ("f32", s)}, ("bool", s < 1))
line("(logical_not x)", {"x": ("bool", [True, False])}, ("bool", [False, True]))
for d in ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"):
    top = np.iinfo(NAMES[d]).max
    line("(add x 1)", {"x": (d, [top, 0, 5])}, (d, [np.iinfo(NAMES[d]).min, 1, 6]))
    line("(sum x)", {"x": (d, [1, 2, 3])}, ("u64" if d[0] == "u" else "i64", 6))
line("(sub x y)", {"x": ("i64", [2**53 + 1, -2**63]), "y": ("i64", [0, 0])}, ("i64", [2**53 + 1, -2**63]))
line("(floor_divide x y)", {"x": ("i32", [7, -7]), "y": ("i32", [2, 2])}, ("i32", [3, -4]))
h = np.array([0.1, 65504, 2**-24], np.float16)
line("(mul x 1)", {"x": ("f16", h)}, ("f16", h), {"x": ("f16", [1, 1, 1])})
line("(add x y)", {"x": ("f16", [1]), "y": ("f32", [0.5])}, ("f32", [1.5]))
line("x", {"x": {"dtype": "bf16", "shape": [2], "data": [1.00390625, 3.140625]}}, {"value": {"dtype": "bf16", "shape": [2], "data": [1, 3.140625]}})
line("(const f32 [2] [1 2])", {}, ("f32", [1, 2]))
line("(sum x)", {"x": ("f32", np.zeros((0, 3)))}, ("f32", 0))
line("(mul x 2)", {"x": ("f32", np.zeros((2, 0)))}, ("f32", np.zeros((2, 0))))
LOOP = "(scan (const i64 [] [3]) :seq [y] :init [h] :capture [] :body [(add (mul (arg :index 1 :dtype f64 :shape []) 0.5) (arg :index 0 :dtype f64 :shape []))] :back [0] :outs [0 0 0 1 0 0])"
v = np.array([1.0, -2.0, 4.0]); states = [2.0]
for t in v: states.append(states[-1] * 0.5 + t)
line(f"(get {LOOP} :output 0)", {"y": ("f64", v), "h": ("f64", 2)}, ("f64", states[1:]), {"y": ("f64", [1.75, 1.5, 1]), "h": ("f64", 0.875)})
line(LOOP, {"y": ("f64", v), "h": ("f64", 2)}, [("f64", states[1:]), ("f64", states[-1])], {"y": ("f64", [2, 2, 2]), "h": ("f64", 1)})
line(f"(add {LOOP} 1)", {"y": ("f64", v), "h": ("f64", 2)}, {"error": "several outputs"})
line("(mul x x)", {"x": ("f64", 3)}, ("f64", 9), {"x": ("f64", 6)})
line("(split x :indices_or_sections 3)", {"x": ("f32", [1, 2, 3])}, [("f32", [1]), ("f32", [2]), ("f32", [3])], {"x": ("f32", [1, 1, 1])})
line("(mul x 2)", {"x": ("f32", [1]), "y": ("f32", [1, 2])}, ("f32", [2]), {"y": ("f32", [0, 0])})

bad, one = {"error": ""}, {"x": ("f32", [1, 2])}
def array_of(**change): return {"x": {**{"dtype": "f32", "shape": [2], "data": [1, 2]}, **change}}
line("(frobnicate x)", one, {"unsupported": "frobnicate"})
line("(add x", one, {"error": "ends inside an expression"})
line("(add x y)", one, {"error": "no variable 'y'"})
line("(add x)", one, {"error": "add takes 2 operands, got 1"})
line("(add x y)", {**one, "y": ("f32", [1, 2, 3])}, {"error": "cannot broadcast"})
line("(matmul x x)", {"x": ("f32", np.ones((2, 3)))}, {"error": "matmul"})
line("(sum x :axis [1])", one, {"error": "axis"})
line("(take x i)", {**one, "i": ("i64", [2])}, {"error": "out of range"})
line("(unslice x :start [0] :shape [2] :step [3])", one, {"error": "does not lie within the shape"})
line("(unslice x :start [1] :shape [5] :step [3])", one, ("f32", [0, 1, 0, 0, 2]))
line("(split x :indices_or_sections 3)", one, {"error": "does not divide into 3 parts"})
line("(split x :indices_or_sections 0)", one, {"error": "number of parts"})
line("(squeeze x :axis [0])", one, {"error": "is not known to have size 1"})
line("(squeeze x :axis [1])", one, {"error": "no axis 1"})
line("(flip x :axis [0 -1])", one, {"error": "named twice"})
line("(pad x :pad_width [1 2 3])", one, {"error": "pair for each axis"})
line("(pad x :pad_width [-1 0])", one, {"error": "cannot get -1 elements before"})
line("(pad x x :pad_width 1)", one, {"error": "must be a scalar"})
line("(pad x :pad_width [[[1 1]]])", one, {"error": "no list may"})
line("(stack)", {}, {"error": "an array at least"})
line("(stack x y)", {**one, "y": ("f32", [1, 2, 3])}, {"error": "does not go beside"})
line("(full x :shape [2])", one, {"error": "must be a scalar"})
line("(scatter_add x i x)", {**one, "i": ("i64", [0])}, {"error": "does not stretch to the part"})
line("(scatter_add x i 1)", {**one, "i": ("i64", [2])}, {"error": "out of range"})
line("(scatter_add x i y)", {**one, "i": ("i64", [0]), "y": ("i64", [1])}, {"error": "does not go into"})
line("(set_rows x i 1)", {**one, "i": ("i64", [-3])}, {"error": "out of range"})
line("(set_slice x 9 :start [-1])", one, ("f32", [1, 9]), {"x": ("f32", [1, 0])})
line("(set_rows x i y :axis 0)", {**one, "i": ("i32", [1, 1, -1]), "y": ("f32", [5, 6, 7])}, ("f32", [1, 7]), {"x": ("f32", [1, 0]), "y": ("f32", [0, 0, 1])})
line("(inc_rows x i y)", {"x": ("f16", [1, 2]), "i": ("u8", [1, 1]), "y": ("f16", [0.5, 0.25])}, ("f16", [1, 2.75]))
line("(inc_slice x y :stop [1])", {"x": ("u8", [250, 2]), "y": ("u8", [10])}, ("u8", [4, 2]))
line("(greater x 0)", one, {"error": "float"}, {"x": ("f32", [0])})
line("x", array_of(shape=[3]), {"error": "asks for 3 values"})
line("x", array_of(shape=[2**62, 2**62]), {"error": "shape"})
line("x", array_of(shape=[-1]), {"error": "shape"})
line("x", array_of(shape="2"), {"error": "shape"})
line("x", array_of(dtype="f99"), {"error": "f99"})
line("x", array_of(data=[1, "two"]), {"error": "is no f32"})
line("x", array_of(dtype="u8", data=[1, 256]), {"error": "256"})
line("x", array_of(dtype="u64", data=[1, -1]), {"error": "is no u64"})
line("x", array_of(dtype="i64", data=[1, "9223372036854775808"]), {"error": "is no i64"})
line("x", array_of(dtype="i32", data=[1, 1.5]), {"error": "is no i32"})
for text in ("", "{", "[]", "3", '{"expr": 3}', '{"inputs": {}}', '{"expr": "1", "inputs": []}', '{"expr": "1", "expr": "2"}', "\\u0000", '{"expr": "x", "grad": ["x"]}'):
    print(json.dumps({"line": text, "want": bad}))
