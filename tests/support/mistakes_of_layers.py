"""Layers as source code, and the mistakes that a learner makes in their backward passes.

Each entry of `MISTAKES`: the layer, old and new source in its backward, the gradient that becomes
wrong, and a pattern that the diagnosis must match.
"""

import numpy as np

LINEAR = """
def forward(x, weight, bias, out):
    out[...] = x @ weight + bias

def backward(dout, x, weight, bias, dx, dweight, dbias):
    rows, drows = x.reshape(-1, x.shape[-1]), dout.reshape(-1, dout.shape[-1])
    dx[...] = dout @ weight.T
    dweight[...] = rows.T @ drows
    dbias[...] = drows.sum(axis=0)
"""

LAYERNORM = """
def forward(x, weight, bias, out, mean, rstd):
    mean[...] = x.mean(axis=-1)
    centred = x - mean[..., None]
    rstd[...] = 1 / np.sqrt((centred * centred).mean(axis=-1) + 1e-5)
    out[...] = centred * rstd[..., None] * weight + bias

def backward(dout, x, weight, bias, mean, rstd, dx, dweight, dbias):
    m, r = mean[..., None], rstd[..., None]
    xhat = (x - m) * r
    dxhat = dout * weight
    a = dxhat.mean(axis=-1, keepdims=True)
    b = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx[...] = (dxhat - a - xhat * b) * r
    dweight[...] = (dout * xhat).sum(axis=(0, 1))
    dbias[...] = dout.sum(axis=(0, 1))
"""

SOFTMAX = """
def forward(x, out):
    e = np.exp(x - x.real.max(axis=-1, keepdims=True))
    out[...] = e / e.sum(axis=-1, keepdims=True)

def backward(dout, x, out, dx):
    total = (out * dout).sum(axis=-1, keepdims=True)
    dx[...] = out * (dout - total)
"""

GELU = """
def forward(x, out):
    out[...] = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

def backward(dout, x, dx):
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    dt = (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x * x)
    dx[...] = dout * (0.5 * (1 + t) + 0.5 * x * dt)
"""

CROSS_ENTROPY = """
def forward(logits, targets, out):
    z = logits - logits.real.max(axis=-1, keepdims=True)
    lse = np.log(np.exp(z).sum(axis=-1))
    kept = targets >= 0
    losses = [lse[r] - z[r, targets[r]] for r in range(len(z)) if kept[r]]
    out[...] = sum(losses) / kept.sum()

def backward(dout, logits, targets, dlogits):
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    rows = np.flatnonzero(targets >= 0)
    at = targets[rows]
    p[rows, at] -= 1
    p[targets < 0] = 0
    N = len(rows)
    dlogits[...] = dout * p / N
"""

ATTENTION = """
def split(a, n_head, parts):
    B, T, C = a.shape
    return a.reshape(B, T, parts, n_head, C // (parts * n_head)).transpose(2, 0, 3, 1, 4)

def forward(qkv, n_head, out):
    Q, K, V = split(qkv, n_head, 3)
    B, H, T, D = Q.shape
    s = Q @ K.swapaxes(-1, -2) / np.sqrt(D) + np.where(np.tri(T, dtype=bool), 0, -1e30)
    e = np.exp(s - s.real.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    out[...] = (p @ V).transpose(0, 2, 1, 3).reshape(B, T, H * D)

def backward(dout, qkv, n_head, dqkv):
    Q, K, V = split(qkv, n_head, 3)
    B, H, T, D = Q.shape
    scale = 1 / np.sqrt(D)
    s = Q @ K.swapaxes(-1, -2) / np.sqrt(D) + np.where(np.tri(T, dtype=bool), 0, -1e30)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    dO = dout.reshape(B, T, H, D).transpose(0, 2, 1, 3)
    dp = dO @ V.swapaxes(-1, -2)
    ds = p * (dp - (p * dp).sum(axis=-1, keepdims=True))
    dQ, dK, dV = split(dqkv, n_head, 3)
    dV[...] = p.swapaxes(-1, -2) @ dO
    dQ[...] = ds @ K * scale
    dK[...] = ds.swapaxes(-1, -2) @ Q * scale
"""

EMBEDDING = """
def forward(tokens, wte, wpe, out):
    out[...] = wte[tokens] + wpe[:tokens.shape[1]]

def backward(dout, tokens, dwte, dwpe):
    T = tokens.shape[1]
    dwte[...] = 0
    np.add.at(dwte, tokens, dout)
    dwpe[:T] = dout.sum(axis=0)
    dwpe[T:] = 0
"""

TIED = """
def forward(tokens, table, out):
    out[...] = np.tanh(table[tokens]) @ table.T

def backward(dout, tokens, table, dtable):
    x = np.tanh(table[tokens])
    dx = dout @ table * (1 - x * x)
    dtable[...] = dout.reshape(-1, dout.shape[-1]).T @ x.reshape(-1, x.shape[-1])
    np.add.at(dtable, tokens, dx)
"""

RESIDUAL = """
def forward(x, weight, out):
    out[...] = x + np.tanh(x @ weight)

def backward(dout, x, weight, dx, dweight):
    dy = dout * (1 - np.tanh(x @ weight) ** 2)
    dx[...] = dout + dy @ weight.T
    dweight[...] = x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
"""

NO_ROWS = "drows.sum(axis=0)"
MISTAKES = [
    (LINEAR, "dout @ weight.T", "dout @ weight", "dx", "weight is not transposed"),
    (LINEAR, "dout @ weight.T", "-dout @ weight.T", "dx", "sign"),
    (LINEAR, "rows.T @ drows", "(rows.T @ drows).T", "dweight", "transposed"),
    (LINEAR, "rows.T @ drows", "rows.T @ drows / len(rows)", "dweight", "number of rows"),
    (LINEAR, "rows.T @ drows", "2 * rows.T @ drows", "dweight", "added twice"),
    (
        LINEAR,
        "rows.T @ drows",
        "x[-1].T @ dout[-1]",
        "dweight",
        "only the contribution of index 1 of axis 0",
    ),
    (
        LINEAR,
        "rows.T @ drows",
        "rows[:-1].T @ drows[:-1]",
        "dweight",
        r"\(1, 4\) of out .* missing",
    ),
    (LINEAR, NO_ROWS, "drows.mean(axis=0)", "dbias", "mean where a sum belongs"),
    (LINEAR, NO_ROWS, "dout[0].sum(axis=0)", "dbias", "only the contribution of index 0 of axis 0"),
    (LINEAR, NO_ROWS, "drows.sum()", "dbias", "holds the sum over all"),
    (LINEAR, NO_ROWS, "0", "dbias", "is zero"),
    (LAYERNORM, "dxhat - a - xhat * b", "dxhat - xhat * b", "dx", r"mean\(dxhat\) is missing"),
    (
        LAYERNORM,
        "dxhat - a - xhat * b",
        "dxhat - a",
        "dx",
        r"xhat \* mean\(dxhat \* xhat\) is missing",
    ),
    (LAYERNORM, "dxhat - a - xhat * b", "dxhat", "dx", "both means are missing"),
    (LAYERNORM, "dxhat = dout * weight", "dxhat = dout", "dx", "weight is left out"),
    (LAYERNORM, "xhat * b) * r", "xhat * b)", "dx", "rstd is left out"),
    (LAYERNORM, "xhat * b) * r", "xhat * b) / x.std(-1, keepdims=True)", "dx", "without eps"),
    (LAYERNORM, "(dout * xhat).sum", "(dout * x * r).sum", "dweight", "mean is not taken out"),
    (LAYERNORM, "(dout * xhat).sum(axis=(0, 1))", "(dout * xhat)[:, -1].sum(0)", "dweight", "only"),
    (LAYERNORM, "dbias[...] = dout.sum(axis=(0, 1))", "pass", "dbias", "nothing was written"),
    (LAYERNORM, "dbias[...] = ", "dbias = ", "dbias", "only rebinds the name"),
    (LAYERNORM, "dbias[...] = ", "dbias += ", "dbias", "layers assign"),
    (SOFTMAX, "dout - total", "dout", "dx", "row sum is missing"),
    (
        SOFTMAX,
        "total = (out * dout).sum(axis=-1",
        "total = (out * dout).sum(axis=-2",
        "dx",
        "axis 1",
    ),
    (SOFTMAX, "out * (dout - total)", "out * (1 - out) * dout", "dx", "diagonal"),
    (SOFTMAX, "out * (dout - total)", "dout - total", "dx", "factor out"),
    (GELU, "+ 0.5 * x * dt", "", "dx", r"x \* dt is missing"),
    (GELU, "3 * 0.044715", "0.044715", "dx", "factor 3"),
    (GELU, "1 - t * t", "1 - t", "dx", r"1 - t\^2"),
    (GELU, "0.044715 * x * x", "0.04715 * x * x", "dx", "0.04715"),
    (GELU, "dout * (0.5", "(0.5", "dx", "dout is left out"),
    (CROSS_ENTROPY, "p[rows, at] -= 1", "pass", "dlogits", "-1 (at the target )?is missing"),
    (CROSS_ENTROPY, "p[targets < 0] = 0", "pass", "dlogits", "rows .* not .*zero|not zero"),
    (CROSS_ENTROPY, "p / N", "p", "dlogits", "not divided|division by the number of targets"),
    (CROSS_ENTROPY, "N = len(rows)", "N = len(targets)", "dlogits", "divided by all"),
    (CROSS_ENTROPY, "p[rows, at] -=", "p[rows, (at + 1) % 7] -=", "dlogits", "after|off by one"),
    (CROSS_ENTROPY, "dout * p", "p", "dlogits", "dout"),
    (
        ATTENTION,
        "scale = 1 / np.sqrt(D)",
        "scale = 1",
        "dqkv",
        r"1/sqrt\(D\) is missing in dQ and dK",
    ),
    (ATTENTION, "Q * scale", "Q", "dqkv", r"1/sqrt\(D\) is missing in dK"),
    (ATTENTION, " - (p * dp).sum(axis=-1, keepdims=True)", "", "dqkv", "row sum is missing"),
    (ATTENTION, "dp).sum(axis=-1", "dp).sum(axis=-2", "dqkv", "over the queries"),
    (ATTENTION, "dK[...] = ds.swapaxes(-1, -2)", "dK[...] = ds", "dqkv", "ds is not transposed"),
    (ATTENTION, "p.swapaxes(-1, -2) @ dO", "p @ dO", "dqkv", "w is not transposed"),
    (ATTENTION, "dQ, dK, dV = split", "dK, dQ, dV = split", "dqkv", "exchanged"),
    (
        ATTENTION,
        "dQ[...] = ds @ K",
        "dQ[...] = ds @ K * np.array([[[1]], [[0]]])",
        "dqkv",
        "query of head 1 only",
    ),
    (EMBEDDING, "np.add.at(dwte, tokens, dout)", "dwte[tokens] += dout", "dwte", "add.at"),
    (
        EMBEDDING,
        "dout.sum(axis=0)",
        "dout[0]",
        "dwpe",
        "only the contribution of index 0 of axis 0",
    ),
    (EMBEDDING, "dout.sum(axis=0)", "np.roll(dout.sum(axis=0), 1, axis=0)", "dwpe", "shifted"),
    (EMBEDDING, "dwpe[T:] = 0", "pass", "dwpe", "elements of dwpe were not written"),
    (TIED, "np.add.at(dtable, tokens, dx)", "pass", "dtable", "lookup's part"),
    (TIED, "dtable[...] = ", "dtable[...] = 0 * ", "dtable", "second time"),
    (RESIDUAL, "dout + dy", "dy", "dx", "missing is exactly dout"),
    (RESIDUAL, "dout + dy", "2 * dout + dy", "dx", "dout is added once too often"),
]


def examples():
    """Arguments of each layer: different sizes, repeated tokens, a target that does not count."""
    normal = np.random.default_rng(0).standard_normal
    tokens = np.array([[1, 4, 2, 1, 6], [4, 0, 1, 3, 1]])
    affine = {"weight": 1 + 0.5 * normal(6), "bias": normal(6)}
    rows, wide = {"out": (2, 5, 6)}, {"out": (2, 5, 9)}
    square = {"x": normal((2, 5, 6)), "weight": normal((6, 6))}
    return {
        LINEAR: (square | {"bias": normal(6)}, rows),
        LAYERNORM: ({"x": 1 + normal((2, 5, 6))} | affine, rows | {"mean": (2, 5), "rstd": (2, 5)}),
        SOFTMAX: ({"x": normal((2, 5, 6))}, rows),
        GELU: ({"x": 2 * normal((5, 6))}, {"out": (5, 6)}),
        CROSS_ENTROPY: (
            {"logits": normal((5, 7)), "targets": np.array([1, 0, -1, 6, 3])},
            {"out": ()},
        ),
        ATTENTION: ({"qkv": normal((2, 5, 18)), "n_head": 2}, rows),
        EMBEDDING: ({"tokens": tokens, "wte": normal((9, 6)), "wpe": normal((7, 6))}, rows),
        TIED: ({"tokens": tokens, "table": normal((9, 6))}, wide),
        RESIDUAL: (square, rows),
    }


def written(source, old="", new=""):
    """The forward and the backward in a source, with `old` in its backward replaced by `new`."""
    head, mark, backward = source.partition("def backward")
    assert not old or backward.count(old) == 1
    names = {"np": np}
    exec(head + mark + (backward.replace(old, new) if old else backward), names)
    return names["forward"], names["backward"]
