#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Normalisation, attention and embedding by PyTorch in f64: `python3 tests/golden_norm.py > tests/golden_norm.h`.

A row has an expression in libcg's printed form, its operands, its value y, the gradients of C = sum(y sin(y + 0.1)) by its float operands, and those of
D = the sum of the squares of these gradients. Operand k is element k * 37 and those behind it of POOL, which begins anew at its end; integers and
bools stand in the row.
"""
import numpy as np, torch, torch.nn.functional as F

torch.manual_seed(0)
POOL = np.round(np.random.default_rng(3).uniform(-1.5, 1.5, 251), 3)
def operand(k, *shape): return POOL[(37 * k + np.arange(int(np.prod(shape)))) % len(POOL)].reshape(shape)
inf = float("inf")
rows = []

def case(expr, f, *operands, second=True):
    """An operand is a shape (floats of the pool), an array of integers or bools, or ('f', array)."""
    given, floats = [], []
    for k, o in enumerate(operands):
        if isinstance(o, np.ndarray):
            t = torch.tensor(o)
            if o.dtype == np.float64: t.requires_grad_(True)
        else:
            t = torch.tensor(operand(k, *o), requires_grad=True)
        given.append(t)
        if t.requires_grad: floats.append(t)
    y = f(*given)
    grads, seconds = [], []
    if y.requires_grad and second is not None:
        grads = torch.autograd.grad((y * torch.sin(y + 0.1)).sum(), floats, create_graph=True)
        total = sum((g * g).sum() for g in grads)
        seconds = torch.autograd.grad(total, floats, allow_unused=True) if second else []
        seconds = [torch.zeros_like(t) if g is None else g for t, g in zip(floats, seconds)]
    rows.append((expr, operands, given, y, grads, seconds))

def batch(x, s, b, m, v, factor=0.1, eps=1e-5): return F.batch_norm(x, m.detach().clone(), v.detach().clone(), s, b, True, factor, eps)
def running(k, factor=0.1):
    def f(x, s, b, m, v):
        n = x.numel() // x.shape[1]; axes = [i for i in range(x.dim()) if i != 1]
        mean, var = x.mean(axes), x.var(axes, unbiased=n > 1)
        to = m * (1 - factor) + mean * factor if k == 1 else v * (1 - factor) + var * factor
        w, u = m.detach().clone(), v.detach().clone()
        if n > 1:
            F.batch_norm(x.detach(), w, u, s, b, True, factor, 1e-5)
            assert torch.allclose((w, u)[k - 1], to)
        return to
    return f
def tested(x, s, b, m, v):
    y = (x - m[:, None]) / torch.sqrt((v * v + 1e-3)[:, None]) * s[:, None] + b[:, None]
    assert torch.allclose(y, F.batch_norm(x.detach(), m.detach(), (v * v).detach(), s.detach(), b.detach(), False, 0.1, 1e-3))
    return y
def attend(q, k, v, keep=None, add=None, scale=None):
    s = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if add is not None: s = s + torch.where(add == -inf, 0.0, add); keep = (add != -inf) if keep is None else keep & (add != -inf)
    if keep is None: return torch.softmax(s, -1) @ v
    w = torch.softmax(torch.where(keep, s, -1e300), -1)
    y = torch.where(keep, w, 0.0) @ v
    with torch.no_grad():                # PyTorch's own, where a row has a key
        full = (torch.broadcast_to(keep, s.shape)).any(-1, keepdim=True)
        assert torch.allclose(torch.where(full, F.scaled_dot_product_attention(q, k, v, attn_mask=keep if add is None else torch.where(keep, add, -inf), scale=scale), y), y)
    return y

case("(layer_normalization x s b)", lambda x, s, b: F.layer_norm(x, (5,), s, b), (3, 5), (5,), (5,))
case("(layer_normalization x s b :axis -2 :epsilon 0.125)", lambda x, s, b: F.layer_norm(x, (3, 2), s, b, 0.125), (2, 3, 2), (3, 2), (3, 2))
case("(layer_normalization x)", lambda x: F.layer_norm(x, (7,)), (2, 7))
case("(get (batch_normalization_train x s b b s) :output 0)", lambda x, s, b: batch(x, s, b, b, s), (4, 3), (3,), (3,))
case("(get (batch_normalization_train x s b b b :epsilon 0.25) :output 0)", lambda x, s, b: batch(x, s, b, b, b, eps=0.25), (2, 3, 2, 2), (3,), (3,))
case("(get (batch_normalization_train x s b m v :running_average_factor 0.3) :output 1)", running(1, 0.3), (2, 3, 2, 2), (3,), (3,), (3,), (3,), second=None)
case("(get (batch_normalization_train x s b m v) :output 2)", running(2), (2, 3, 2, 2), (3,), (3,), (3,), (3,), second=None)
case("(get (batch_normalization_train x s b m v) :output 2)", lambda x, s, b, m, v: v * 0.9, (1, 3), (3,), (3,), (3,), (3,), second=None)
case("(batch_normalization x s b m (mul v v) :epsilon 0.001)", tested, (2, 3, 2), (3,), (3,), (3,), (3,))
case("(attention q k v)", lambda q, k, v: attend(q, k, v), (2, 3, 4), (2, 5, 4), (2, 5, 3))
case("(attention q k v :is_causal true :scale 0.7)", lambda q, k, v: attend(q, k, v, torch.ones(3, 5, dtype=torch.bool).tril(), scale=0.7), (1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 3), second=False)
KEEP = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]], dtype=bool)          # the second query has no key
case("(attention q k v m)", lambda q, k, v, m: attend(q, k, v, m), (2, 3, 4), (2, 4, 4), (2, 4, 3), KEEP)
ADD = np.array([[0.5, -inf, 1, -2], [-inf, -inf, -inf, -inf], [0, 0.25, -0.5, -1]])
case("(attention q k v m)", lambda q, k, v, m: attend(q, k, v, add=m), (3, 4), (4, 4), (4, 3), ADD)
ROWS = np.array([[2, 0, 2], [1, 1, 0]])
case("(embedding t i :padding_idx 1)", lambda t, i: F.embedding(i, t, padding_idx=1), (4, 3), ROWS)
case("(embedding t i)", lambda t, i: F.embedding(i, t), (4, 3), ROWS)

def num(v): return "INFINITY" if v == inf else "-INFINITY" if v == -inf else "NAN" if v != v else f"{v:.17g}"
def flat(a): return ", ".join(num(v) for v in np.ravel(np.asarray(a, dtype=np.float64))) or "0"

# Attention of several heads with the parameters of a layer, in f32.
S, HEADS, B, L, T = 6, 2, 2, 3, 4
def multi_head(query, key, causal=False):
    m = torch.nn.MultiheadAttention(S, HEADS, batch_first=True, dtype=torch.float64)
    w, b, o, c = (torch.tensor(operand(k, *s)) for k, s in [(0, (S, 3 * S)), (1, (3 * S,)), (2, (S, S)), (3, (S,))])
    with torch.no_grad():
        m.in_proj_weight.copy_(w.T); m.in_proj_bias.copy_(b); m.out_proj.weight.copy_(o.T); m.out_proj.bias.copy_(c)
        n = query.shape[1]
        return m(query, key, key, need_weights=False, attn_mask=~torch.ones(n, n, dtype=torch.bool).tril() if causal else None)[0]
Q, K = torch.tensor(operand(4, B, L, S)), torch.tensor(operand(5, B, T, S))

print("// Written by tests/golden_norm.py with PyTorch: do not edit.\n// clang-format off")
print(f"enum {{ POOL = {len(POOL)}, NORM_VARS = 5 }};")
print("static const double pool[POOL] = {", ", ".join(f"{v:g}" for v in POOL), "};")
print("typedef struct norm_var { char name; cg_dtype dtype; int rank; int64_t shape[4]; const double *data, *grad, *second; } norm_var;      /* data NULL: of the pool */")
print("static const struct norm_row { const char *expr; int nvars; norm_var var[NORM_VARS]; int rank; int64_t shape[4]; const double *want; } norm_rows[] = {")
for expr, operands, given, y, grads, seconds in rows:
    names, at, grads, seconds = [], 0, list(grads), list(seconds)
    for w in expr.replace("(", " ").replace(")", " ").split():
        if len(w) == 1 and w.isalpha() and w not in names: names.append(w)
    array = lambda a: "(const double[]){ " + flat(a.detach().numpy() if isinstance(a, torch.Tensor) else a) + " }"
    print(f'  {{ "{expr}", {len(given)}, {{')
    for name, o, t in zip(names, operands, given):
        dtype = {torch.float64: "CG_F64", torch.int64: "CG_I64", torch.bool: "CG_BOOL"}[t.dtype]
        is_float = t.requires_grad
        g = array(grads.pop(0)) if is_float and grads else "NULL"
        s = array(seconds.pop(0)) if is_float and seconds else "NULL"
        print(f"      {{ '{name}', {dtype}, {t.dim()}, {{ {', '.join(map(str, t.shape)) or 0} }}, {array(o) if isinstance(o, np.ndarray) else 'NULL'},\n        {g},\n        {s} }},")
    print(f"    }}, {y.dim()}, {{ {', '.join(map(str, y.shape))} }}, {array(y)} }},")
print("};")
print(f"enum {{ MULTI_SIZE = {S}, MULTI_HEADS = {HEADS}, MULTI_BATCH = {B}, MULTI_QUERIES = {L}, MULTI_KEYS = {T} }};")
for name, v in dict(self=multi_head(Q, Q), causal=multi_head(Q, Q, True), cross=multi_head(Q, K)).items():
    print(f"static const double multi_{name}[] = {{ {flat(v.numpy())} }};")
t, i = np.arange(5)[:, None], np.arange(6)
print(f"static const double positions[] = {{ {flat(np.where(i % 2, np.cos(t / 10000 ** ((i - 1) / 6)), np.sin(t / 10000 ** (i / 6))))} }};")
