#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Losses by PyTorch in f64, with their gradients: `python3 tests/golden_losses.py > tests/golden_losses.h`. hinge, which PyTorch has not, is written out.

cost is the loss, or where it has elements their sum with weights cos(i). Of each row: the loss, dcost/d(every float operand), and the derivative by the first
operand x of sum(sin(i + 1) dcost/dx), where PyTorch has one.
"""
import numpy as np
import torch
import torch.nn.functional as F

R = np.random.default_rng(5)
rand = lambda *shape: np.round(R.standard_normal(shape), 3)
some = lambda n, *shape: R.integers(0, n, shape)
inf = float("inf")
rows = []
c_of = dict(cross_entropy=F.cross_entropy, nll=F.nll_loss, multi_margin=F.multi_margin_loss, binary=F.binary_cross_entropy_with_logits, squared=F.mse_loss, absolute=F.l1_loss,
            huber=F.huber_loss, smooth_l1=F.smooth_l1_loss, kl_div=F.kl_div, cosine_embedding=F.cosine_embedding_loss, triplet_margin=F.triplet_margin_loss)

def hinge(x, t, margin=1, p=1, reduction="mean"):
    each = torch.clamp(margin - x * t, min=0) ** p
    return each if reduction == "none" else getattr(each, reduction)()
c_of["hinge"] = hinge
c_of["ctc"] = lambda x, *a, **o: F.ctc_loss(x.log_softmax(2), *a, **o)      # PyTorch's gradient is that of logits
OPTION = dict(beta="delta")              # PyTorch's name, ours

def floats(a): return np.asarray(a).dtype.kind == "f"
def number(v): return "NAN" if v != v else "INFINITY" if v == inf else "-INFINITY" if v == -inf else f"{v:.17g}"
def listed(a): return "(const double[]){ " + ", ".join(number(float(v)) for v in np.ravel(a)) + " }"
def operand(a):
    a = np.asarray(a)
    return f"{{ {a.ndim}, {{ {', '.join(map(str, a.shape)) or 0} }}, {int(not floats(a))}, {listed(a)} }}"

def option(name, v):
    if name in ("weight", "pos_weight"): return None
    if name == "reduction": return f".reduction = CG_REDUCTION_{v.upper()}"
    if name == "ignore_index": return f"CG_IGNORE({v})"
    return f".{OPTION.get(name, name)} = {v:d}" if isinstance(v, (bool, int)) else f".{OPTION.get(name, name)} = {v}"

def row(title, loss, *operands, weigh=None, second=True, everywhere=False, **o):
    """weigh: a weight of elements that PyTorch's function does not take; everywhere: the row is for OpenCL, too."""
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) if floats(a) else torch.tensor(a) for a in map(np.asarray, operands)]
    args = {k: torch.tensor(v) if k in ("weight", "pos_weight") else v for k, v in o.items()}
    if weigh is not None: value = (c_of[loss](*tensors, **{**args, "reduction": "none"}) * torch.tensor(weigh)).mean()
    else: value = c_of[loss](*tensors, **args)
    cost = value if value.ndim == 0 else (value * torch.cos(torch.arange(value.numel(), dtype=torch.float64)).reshape(value.shape)).sum()
    wrt = [t for t in tensors if t.requires_grad]
    grads = torch.autograd.grad(cost, wrt, create_graph=True, allow_unused=True)
    grads = [torch.zeros_like(w) if g is None else g for g, w in zip(grads, wrt)]
    twice = None
    if second:
        s = (grads[0] * torch.sin(torch.arange(grads[0].numel(), dtype=torch.float64) + 1).reshape(grads[0].shape)).sum()
        twice = torch.autograd.grad(s, wrt[0], allow_unused=True)[0] if s.requires_grad else None
        twice = torch.zeros_like(wrt[0]) if twice is None else twice
    weight = o.get("weight", weigh)
    opts = ", ".join([".struct_size = sizeof(cg_loss)"] + [t for t in (option(k, v) for k, v in o.items()) if t])
    got = iter(grads)
    fields = [f'"{title}"', f"of_{loss}", "{ " + opts + " }",
              "{ " + ", ".join(operand(a) for a in operands) + " }",
              "{ " + (operand(weight) if weight is not None else "{ 0 }") + ", " + (operand(o["pos_weight"]) if "pos_weight" in o else "{ 0 }") + " }",
              operand(value.detach().numpy()), "{ " + ", ".join(listed(next(got).numpy(force=True)) if floats(a) else "NULL" for a in operands) + " }",
              listed(twice.numpy(force=True)) if twice is not None else "NULL", str(int(everywhere))]
    rows.append("  { " + ", ".join(fields) + " },")

X, Y = rand(5, 4) * 2, np.array([3, 0, 2, 1, 0]); W = np.array([0.5, 2, 1.25, 0.75])
X3, Y3 = rand(2, 3, 4), some(3, 2, 4); W3 = np.array([0.5, 1.5, 1])
X4, Y4 = rand(2, 3, 2, 2), some(3, 2, 2, 2)
PROB = np.abs(rand(5, 4)) + 0.1; PROB[1] = [0, 1, 0, 0]; PROB = PROB / PROB.sum(1, keepdims=True)
PROB3 = np.abs(rand(2, 3, 4)) + 0.1
GONE = np.where(Y == 0, -100, Y)
for reduction in "mean sum none".split(): row(f"cross-entropy, {reduction}", "cross_entropy", X, Y, reduction=reduction)
row("weighted classes", "cross_entropy", X, Y, weight=W)
row("weighted classes, a sum", "cross_entropy", X, Y, weight=W, reduction="sum")
row("samples without a class", "cross_entropy", X, GONE, ignore_index=-100)
row("class 0 is ignored, weights", "cross_entropy", X, Y, ignore_index=0, weight=W)
row("smoothing", "cross_entropy", X, Y, label_smoothing=0.1)
row("smoothing, weights, an ignored class", "cross_entropy", X, GONE, label_smoothing=0.2, weight=W, ignore_index=-100, everywhere=True)
row("an axis behind the classes", "cross_entropy", X3, Y3)
row("images of classes, every option", "cross_entropy", X4, Y4, weight=W3, ignore_index=1, label_smoothing=0.3, reduction="none", everywhere=True)
row("probabilities", "cross_entropy", X, PROB)
row("probabilities, weights, smoothing", "cross_entropy", X, PROB, weight=W, label_smoothing=0.1, everywhere=True)
row("images of probabilities", "cross_entropy", X3, PROB3, weight=W3, reduction="none")
FAR = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 1e4], [3, 1e4, -1e4]])
row("logits far out", "cross_entropy", FAR, np.array([1, 1, 2]), reduction="none")
row("logits far out, probabilities", "cross_entropy", FAR, np.array([[0.25, 0.75, 0], [0, 0, 1], [0, 1, 0]]), reduction="none")
row("negative log-likelihood", "nll", rand(5, 4), Y)
row("the same, weights, an ignored class, an axis behind", "nll", rand(2, 3, 4), Y3, weight=W3, ignore_index=2, everywhere=True)
row("a class that is ruled out", "nll", np.array([[-0.5, -inf, -1], [-2, -0.1, -inf]]), np.array([0, 1]), reduction="none")
row("margins of many", "multi_margin", X, Y, second=False)
row("squares of margins, weights", "multi_margin", X, Y, p=2, margin=0.5, weight=W, reduction="none", second=False, everywhere=True)
T = np.round(R.uniform(0, 1, (3, 4)), 3); T[0] = [0, 1, 1, 0]
B = rand(3, 4) * 3
row("binary", "binary", B, T)
row("binary, weights of columns and of positives", "binary", B, T, weight=np.array([1, 2, 0.5, 1.5]), pos_weight=np.array([3, 0.5, 1, 2]), reduction="none", everywhere=True)
row("binary, logits far out", "binary", np.array([[1e4, -1e4, 0, 40], [1e4, -1e4, -40, 0]]), np.array([[1, 0, 1, 1], [0, 1, 0, 0.5]]), reduction="none")
A, C = rand(3, 4), rand(3, 4)
row("squares", "squared", A, C)
row("squares, weights of rows", "squared", A, C, weigh=np.array([[1], [0.5], [2]]))
row("absolute values", "absolute", A, C, reduction="sum")
row("huber", "huber", A, C, delta=0.7, everywhere=True)
row("smooth L1", "smooth_l1", A, C, beta=0.7, reduction="none")
Q = np.log(PROB[:3] + 0.1)
row("divergence", "kl_div", Q, PROB[2:], everywhere=True)
row("divergence of logarithms", "kl_div", Q, np.log(PROB[2:]), log_target=True, reduction="sum")
SIGN = np.where(rand(3, 4) > 0, 1.0, -1.0)
row("hinge", "hinge", A, SIGN)
row("squared hinge", "hinge", A, SIGN, p=2, margin=0.5, reduction="sum")
V, U, N = rand(4, 3), rand(4, 3), rand(4, 3)
row("cosines", "cosine_embedding", V, U, np.array([1, -1, 1, -1]))
row("cosines, a margin", "cosine_embedding", V, V + 0.2 * U, np.array([-1, -1, 1, -1]), margin=0.3, reduction="none", everywhere=True)
row("triplets", "triplet_margin", V, U, N)
row("triplets by L1, swapped", "triplet_margin", V, U, U + 0.5 * N, p=1.0, margin=0.5, swap=True, reduction="none", everywhere=True)
row("triplets by L3", "triplet_margin", V, U, N, p=3.0, margin=2.0, reduction="sum")

SPEECH, LABELS = rand(6, 3, 4), np.array([[1, 1, 2], [3, 2, 3], [2, 1, 0]])
ALL = np.array([6, 6, 6]), np.array([3, 3, 2])
row("ctc", "ctc", SPEECH, LABELS, *ALL, second=False)
row("ctc of sequences with lengths", "ctc", SPEECH, np.array([[1, 1, 9], [3, 2, 3], [-1, -1, -1]]), np.array([4, 6, 2]), np.array([2, 3, 0]), reduction="none", second=False, everywhere=True)
row("ctc, too few steps", "ctc", SPEECH, LABELS, np.array([3, 6, 2]), np.array([3, 2, 1]), zero_infinity=True, second=False)
row("ctc, another blank", "ctc", SPEECH, np.array([[0, 1, 0], [1, 1, 1], [0, 0, 2]]), ALL[0], np.array([3, 3, 3]), blank=3, reduction="sum", second=False)

print("// Written by tests/golden_losses.py with PyTorch: do not edit.\n// clang-format off")
print("typedef struct operand { int rank; int64_t shape[4]; int ints; const double *v; } operand;")
print("typedef struct golden { const char *name; cg_node *(*build)(cg_node *const *in, const cg_loss *o); cg_loss o; operand in[4], weight[2], want; const double *grad[4], *second; int everywhere; } golden;")
print("static const golden golden_losses[] = {")
print("\n".join(rows))
print("};")
