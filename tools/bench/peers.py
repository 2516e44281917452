#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Time the peers on the reference workloads, one peer and one workload a call.

usage: peers.py PEER WORKLOAD [--seconds S]
PEER: torch torch-compile jax pytensor tinygrad-cpu tinygrad-cl
WORKLOAD: mlp-small mlp-large lenet lstm logreg chain softmax
Prints: peer workload steps/s samples/s first-step-seconds (graph building, compilation and one step).
All float32, 2 threads, SGD with momentum 0.9, data resident, a new minibatch each step.
"""
import os, sys, time
os.environ.setdefault("OMP_NUM_THREADS", "2"); os.environ.setdefault("OPENBLAS_NUM_THREADS", "2"); os.environ.setdefault("MKL_NUM_THREADS", "2")
import numpy as np
SHAPES = {  # batch, dims
    "logreg": dict(b=128, dims=[784, 10]),
    "mlp-small": dict(b=64, dims=[64, 128, 64, 10]),
    "mlp-large": dict(b=256, dims=[784, 1024, 1024, 10]),
    "lenet": dict(b=64), "lstm": dict(b=32, t=50, d=64, h=256, c=10),
    "chain": dict(n=4 << 20), "softmax": dict(b=4096, c=1000),
}
LR, MU, NB = 0.01, 0.9, 8

def clock(step, sync, seconds, b, name, peer, t0):
    step(0); sync(); first = time.perf_counter() - t0
    for i in range(1, 4): step(i)
    sync()
    best = 0; total = 0; ts = time.perf_counter()
    while time.perf_counter() - ts < seconds:
        t = time.perf_counter(); k = 0
        while time.perf_counter() - t < seconds / 5:
            step(k); k += 1
            if k % 8 == 0: sync()
        sync(); best = max(best, k / (time.perf_counter() - t))
    print(f"{peer:14s} {name:10s} {best:10.1f} steps/s {best*b:12.0f} samples/s first {first:7.2f} s", flush=True)

def data(w):
    r = np.random.default_rng(0); s = SHAPES[w]
    if "dims" in s: return r.standard_normal((NB, s["b"], s["dims"][0]), dtype=np.float32), r.integers(0, 10, (NB, s["b"]))
    if w == "lenet": return r.standard_normal((NB, s["b"], 1, 28, 28), dtype=np.float32), r.integers(0, 10, (NB, s["b"]))
    if w == "lstm": return r.standard_normal((NB, s["t"], s["b"], s["d"]), dtype=np.float32), r.integers(0, 10, (NB, s["b"]))
def params(w):
    r = np.random.default_rng(1); s = SHAPES[w]; g = lambda *sh: (r.standard_normal(sh) / np.sqrt(np.prod(sh[:-1]) if len(sh) < 3 else np.prod(sh[1:]))).astype(np.float32)
    z = lambda *sh: np.zeros(sh, np.float32)
    if "dims" in s:
        d = s["dims"]; return [x for a, b in zip(d, d[1:]) for x in (g(a, b), z(b))]
    if w == "lenet": return [g(20, 1, 5, 5), z(20), g(50, 20, 5, 5), z(50), g(800, 500), z(500), g(500, 10), z(10)]
    if w == "lstm": return [g(s["d"], 4 * s["h"]), g(s["h"], 4 * s["h"]), z(4 * s["h"]), g(s["h"], s["c"]), z(s["c"])]

def run_torch(w, seconds, comp=False):
    import torch, torch.nn.functional as F
    torch.set_num_threads(int(os.environ.get("PEER_THREADS", "2"))); t0 = time.perf_counter(); s = SHAPES[w]
    if w in ("chain", "softmax"):
        if w == "chain":
            x = torch.randn(s["n"]); y = torch.randn(s["n"])
            def f(x, y): return torch.sigmoid(x) * torch.tanh(y) + torch.exp(-x * x) * 0.5 + torch.log1p(torch.abs(y)) - x * y
            b = s["n"]
        else:
            x = torch.randn(s["b"], s["c"]); y = torch.randint(0, s["c"], (s["b"],)); b = s["b"]
            def f(x, y):
                x = x.detach().requires_grad_(); l = F.cross_entropy(x, y); return torch.autograd.grad(l, x)[0]
        if comp: f = torch.compile(f)
        return clock(lambda i: f(x, y), lambda: None, seconds, b, w, "torch-compile" if comp else "torch", t0)
    X, Y = map(torch.tensor, data(w)); P = [torch.tensor(p, requires_grad=True) for p in params(w)]; V = [torch.zeros_like(p) for p in P]
    def loss(P, x, y):
        if "dims" in s:
            for k in range(0, len(P) - 2, 2): x = torch.relu(x @ P[k] + P[k + 1])
            return F.cross_entropy(x @ P[-2] + P[-1], y)
        if w == "lenet":
            x = torch.tanh(F.max_pool2d(F.conv2d(x, P[0]), 2) + P[1].view(1, -1, 1, 1)); x = torch.tanh(F.max_pool2d(F.conv2d(x, P[2]), 2) + P[3].view(1, -1, 1, 1))
            x = torch.tanh(x.flatten(1) @ P[4] + P[5]); return F.cross_entropy(x @ P[6] + P[7], y)
        h = torch.zeros(s["b"], s["h"]); c = h
        for t in range(s["t"]):
            i, f, o, g = (x[t] @ P[0] + h @ P[1] + P[2]).chunk(4, 1); c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g); h = torch.sigmoid(o) * torch.tanh(c)
        return F.cross_entropy(h @ P[3] + P[4], y)
    lf = torch.compile(loss) if comp else loss
    opt = torch.optim.SGD(P, lr=LR, momentum=MU, foreach=True)
    def step(i):
        l = lf(P, X[i % NB], Y[i % NB]); opt.zero_grad(); l.backward(); opt.step()
    clock(step, lambda: None, seconds, s["b"], w, "torch-compile" if comp else "torch", t0)

def run_jax(w, seconds):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=true")
    import jax, jax.numpy as jnp
    t0 = time.perf_counter(); s = SHAPES[w]; last = [None]
    if w in ("chain", "softmax"):
        r = np.random.default_rng(0)
        if w == "chain":
            x = jnp.asarray(r.standard_normal(s["n"], dtype=np.float32)); y = jnp.asarray(r.standard_normal(s["n"], dtype=np.float32)); b = s["n"]
            f = jax.jit(lambda x, y: jax.nn.sigmoid(x) * jnp.tanh(y) + jnp.exp(-x * x) * 0.5 + jnp.log1p(jnp.abs(y)) - x * y)
        else:
            x = jnp.asarray(r.standard_normal((s["b"], s["c"]), dtype=np.float32)); y = jnp.asarray(r.integers(0, s["c"], s["b"])); b = s["b"]
            f = jax.jit(jax.grad(lambda x, y: -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1))))
        def step(i): last[0] = f(x, y)
        return clock(step, lambda: last[0].block_until_ready(), seconds, b, w, "jax", t0)
    X, Y = map(jnp.asarray, data(w)); P = [jnp.asarray(p) for p in params(w)]; V = [jnp.zeros_like(p) for p in P]
    xent = lambda z, y: -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1))
    def pool(x): return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    def conv(x, k): return jax.lax.conv_general_dilated(x, k, (1, 1), "VALID")
    def loss(P, x, y):
        if "dims" in s:
            for k in range(0, len(P) - 2, 2): x = jax.nn.relu(x @ P[k] + P[k + 1])
            return xent(x @ P[-2] + P[-1], y)
        if w == "lenet":
            x = jnp.tanh(pool(conv(x, P[0])) + P[1].reshape(1, -1, 1, 1)); x = jnp.tanh(pool(conv(x, P[2])) + P[3].reshape(1, -1, 1, 1))
            x = jnp.tanh(x.reshape(x.shape[0], -1) @ P[4] + P[5]); return xent(x @ P[6] + P[7], y)
        def cell(hc, xt):
            h, c = hc; i, f, o, g = jnp.split(xt @ P[0] + h @ P[1] + P[2], 4, 1); c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g); h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), None
        z = jnp.zeros((s["b"], s["h"])); (h, c), _ = jax.lax.scan(cell, (z, z), x); return xent(h @ P[3] + P[4], y)
    @jax.jit
    def upd(P, V, X, Y, i):
        l, G = jax.value_and_grad(loss)(P, X[i], Y[i]); V = [MU * v + g for v, g in zip(V, G)]; return [p - LR * v for p, v in zip(P, V)], V, l
    upd = jax.jit(upd, donate_argnums=(0, 1)); st = [P, V, None]
    def step(i): st[0], st[1], st[2] = upd(st[0], st[1], X, Y, i % NB)
    clock(step, lambda: st[2].block_until_ready(), seconds, s["b"], w, "jax", t0)

def run_pytensor(w, seconds):
    import pytensor, pytensor.tensor as pt
    pytensor.config.floatX = "float32"; t0 = time.perf_counter(); s = SHAPES[w]; T = pt
    lsm = lambda z: pt.special.log_softmax(z, axis=-1)
    if w in ("chain", "softmax"):
        r = np.random.default_rng(0)
        if w == "chain":
            x, y = pt.fvectors("x", "y"); f = pytensor.function([x, y], pt.sigmoid(x) * pt.tanh(y) + pt.exp(-x * x) * np.float32(.5) + pt.log1p(pt.abs(y)) - x * y)
            a = r.standard_normal(s["n"], dtype=np.float32), r.standard_normal(s["n"], dtype=np.float32); b = s["n"]
        else:
            x = pt.fmatrix("x"); y = pt.lvector("y"); f = pytensor.function([x, y], pytensor.grad(-pt.mean(lsm(x)[pt.arange(y.shape[0]), y]), x)); a = r.standard_normal((s["b"], s["c"]), dtype=np.float32), r.integers(0, s["c"], s["b"]); b = s["b"]
        return clock(lambda i: f(*a), lambda: None, seconds, b, w, "pytensor", t0)
    X, Y = data(w); Xs = pytensor.shared(X); Ys = pytensor.shared(Y.astype("int64")); P = [pytensor.shared(p) for p in params(w)]; V = [pytensor.shared(np.zeros_like(p.get_value())) for p in P]
    i = pt.lscalar("i"); x, y = Xs[i], Ys[i]
    xent = lambda z: -pt.mean(lsm(z)[pt.arange(y.shape[0]), y])
    if "dims" in s:
        for k in range(0, len(P) - 2, 2): x = pt.maximum(x @ P[k] + P[k + 1], np.float32(0))
        l = xent(x @ P[-2] + P[-1])
    elif w == "lstm":
        def cell(xt, h, c):
            a = xt + h @ P[1]; H = s["h"]; ii, f, o, g = a[:, :H], a[:, H:2*H], a[:, 2*H:3*H], a[:, 3*H:]; c = pt.sigmoid(f) * c + pt.sigmoid(ii) * pt.tanh(g); return pt.sigmoid(o) * pt.tanh(c), c
        z = pt.zeros((s["b"], s["h"]), dtype="float32"); r = pytensor.scan(cell, sequences=[x @ P[0] + P[2]], outputs_info=[z, z], return_updates=False) if True else None
        h = r[0]; l = xent(h[-1] @ P[3] + P[4])
    else: raise SystemExit("pytensor has no conv2d/pool in this form")
    G = pytensor.grad(l, P); up = []
    for p, v, g in zip(P, V, G): nv = np.float32(MU) * v + g; up += [(v, nv), (p, p - np.float32(LR) * nv)]
    f = pytensor.function([i], l, updates=up)
    clock(lambda k: f(k % NB), lambda: None, seconds, s["b"], w, "pytensor", t0)

def run_tinygrad(w, seconds, dev):
    os.environ["DEV"] = dev
    if dev == "CL": os.environ["CL"] = "1"
    from tinygrad import Tensor, TinyJit, Device
    t0 = time.perf_counter(); s = SHAPES[w]; Tensor.training = True; peer = "tinygrad-" + dev.lower()
    if w in ("chain", "softmax"):
        if w == "chain":
            x = Tensor.randn(s["n"]).realize(); y = Tensor.randn(s["n"]).realize(); b = s["n"]
            f = TinyJit(lambda x, y: (x.sigmoid() * y.tanh() + (-x * x).exp() * 0.5 + (y.abs() + 1).log() - x * y).realize())
        else:
            x = Tensor.randn(s["b"], s["c"]).realize(); y = Tensor.randint(s["b"], high=s["c"]).realize(); b = s["b"]
            def g(x, y):
                x = x.detach(); l = x.sparse_categorical_crossentropy(y); return l.gradient(x)[0].realize()
            f = TinyJit(g)
        last = [None]
        def step(i): last[0] = f(x, y)
        return clock(step, lambda: Device[dev].synchronize(), seconds, b, w, peer, t0)
    X, Y = data(w); X = [Tensor(a).realize() for a in X]; Y = [Tensor(a.astype(np.int32)).realize() for a in Y]; P = [Tensor(p).realize() for p in params(w)]; V = [Tensor.zeros(*p.shape).contiguous().realize() for p in P]
    def loss(x, y):
        if "dims" in s:
            for k in range(0, len(P) - 2, 2): x = (x @ P[k] + P[k + 1]).relu()
            return (x @ P[-2] + P[-1]).sparse_categorical_crossentropy(y)
        if w == "lenet":
            x = (x.conv2d(P[0]).max_pool2d() + P[1].reshape(1, -1, 1, 1)).tanh(); x = (x.conv2d(P[2]).max_pool2d() + P[3].reshape(1, -1, 1, 1)).tanh()
            return ((x.flatten(1) @ P[4] + P[5]).tanh() @ P[6] + P[7]).sparse_categorical_crossentropy(y)
        h = Tensor.zeros(s["b"], s["h"]); c = h
        for t in range(s["t"]):
            i, f, o, g = (x[t] @ P[0] + h @ P[1] + P[2]).chunk(4, 1); c = f.sigmoid() * c + i.sigmoid() * g.tanh(); h = o.sigmoid() * c.tanh()
        return (h @ P[3] + P[4]).sparse_categorical_crossentropy(y)
    @TinyJit
    def upd(x, y):
        l = loss(x, y); G = l.gradient(*P)
        for p, v, g in zip(P, V, G): v.assign(MU * v + g); p.assign(p.detach() - LR * v)
        Tensor.realize(l, *P, *V); return l
    clock(lambda i: upd(X[i % NB], Y[i % NB]), lambda: Device[dev].synchronize(), seconds, s["b"], w, peer, t0)

if __name__ == "__main__":
    import argparse
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("peer"); a.add_argument("workload", choices=SHAPES); a.add_argument("--seconds", type=float, default=5.0)
    o = a.parse_args(); peer, w, sec = o.peer, o.workload, o.seconds
    if peer == "torch": run_torch(w, sec)
    elif peer == "torch-compile": run_torch(w, sec, True)
    elif peer == "jax": run_jax(w, sec)
    elif peer == "pytensor": run_pytensor(w, sec)
    elif peer == "tinygrad-cpu": run_tinygrad(w, sec, "CPU")
    elif peer == "tinygrad-cl": run_tinygrad(w, sec, "CL")
