"""The equations of every layer as the reference derives them, and the functions that compute them.

An `Operation` is one line of the forward pass. Its arrays are called what its derivation calls
them: `forward` has the equation of each array that it writes, `backward` that of the gradient of
each array that it reads. Every equation is quoted from the file under `reference/` that derives it,
letter by letter (a test holds this), so that whoever reads one can look it up; `...` stands for
what the quotation leaves out.
"""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where a function is defined: its module, its name and the line on which it begins."""

    module: str
    name: str
    line: int

    def __str__(self) -> str:
        """As in gpt_numpy.reference.linear.linear_forward, line 35."""
        return f"{self.module}.{self.name}, line {self.line}"

    @property
    def file(self) -> Path:
        """The file that it is in."""
        return Path(str(inspect.getsourcefile(importlib.import_module(self.module))))

    @property
    def source(self) -> str:
        """Its lines."""
        return inspect.getsource(getattr(importlib.import_module(self.module), self.name))


@dataclass(frozen=True)
class Operation:
    """One line of the forward pass, and what its backward computes.

    `kernels` and `reference` name the functions as `module.function`; the keys are "forward",
    "backward", and each array whose gradient another function writes than those of the others.
    `recomputed` names the function of recomputed.py for what no layer stores; the function of its
    gradient ends in `_gradient`.
    """

    derivation: str  # the file of `reference/`
    forward: Mapping[str, str]
    backward: Mapping[str, str]
    kernels: Mapping[str, str]
    reference: Mapping[str, str]
    recomputed: Mapping[str, str] = field(default_factory=dict)

    def function(self, ops: str, direction: str, argument: str) -> Place:
        """Where `argument`, or backward its gradient, is computed by the implementation `ops`."""
        table = self.kernels if ops == "kernels" else self.reference
        name = table[direction]
        if direction == "backward":
            name = table.get(argument, name)
        module, _, function = name.rpartition(".")
        return place_of(f"gpt_numpy.{ops}.{module}", function)


def place_of(module: str, function: str) -> Place:
    """Where this function is defined, as its code object says."""
    made = inspect.unwrap(getattr(importlib.import_module(module), function))
    return Place(made.__module__, made.__name__, made.__code__.co_firstlineno)


def pair(module: str, name: str) -> dict[str, str]:
    """The two functions of a layer."""
    return {"forward": f"{module}.{name}_forward", "backward": f"{module}.{name}_backward"}


NORM_FORWARD = {
    "mean": "mean = sum_c x_c / C",
    "rstd": "rstd = 1 / sqrt(var + eps)",
    "xhat": "xhat = (x - mean) * rstd",
    "out": "out = xhat * weight + bias",
}
NORM_BACKWARD = {
    "weight": "dweight_c = sum_r dout_rc xhat_rc",
    "bias": "dbias_c = sum_r dout_rc",
    "xhat": "dxhat_c = dout_c weight_c",
    "x": "dx_j = ... = rstd (dxhat_j - mean(dxhat) - xhat_j mean(dxhat xhat))",
}
LINEAR_FORWARD = {"out": "out = x @ weight + bias"}
LINEAR_BACKWARD = {
    "x": "dx = dout @ weight.T",
    "weight": "dweight = x.T @ dout",
    "bias": "dbias = dout summed over rows",
}
LINEAR = pair("linear", "linear")
NORM = pair("layernorm", "layernorm")
ATTENTION = pair("attention", "attention")
FUSED = "products.matmul.multiply_and_add"  # the kernel of projection, bias and sum
NORM_AGAIN = "layernorm.layernorm_backward_and_renormalise"  # with the residual sum

EMBEDDING = Operation(
    derivation="embedding",
    forward={"out": "row_btc = wte[v, c] + wpe[t, c]"},
    backward={
        "wte": "dwte[v, c] = sum over all (b, t) with tokens[b, t] = v of drow_btc",
        "wpe": "dwpe[t, c] = sum_b drow_btc",
    },
    kernels=pair("embedding", "embedding"),
    reference=pair("embedding", "embedding"),
)
BLOCK_NORM = Operation(
    derivation="layernorm",
    forward=NORM_FORWARD,
    backward=NORM_BACKWARD,
    kernels=NORM | {"backward": NORM_AGAIN},
    reference=NORM,
    recomputed={"xhat": "normalised"},
)
LAST_NORM = replace(BLOCK_NORM, kernels=NORM)
GRADIENTS_APART = {"backward": "linear.parameter_gradients", "x": "products.matmul.multiply"}
QKV = Operation(
    "linear", LINEAR_FORWARD, LINEAR_BACKWARD, kernels=LINEAR | GRADIENTS_APART, reference=LINEAR
)
SPLIT = Operation(
    derivation="attention",
    forward=dict.fromkeys("QKV", "Q, K, V = split_heads(qkv, n_head)"),
    backward={"qkv": "dQ, dK, dV = split_heads(dqkv, n_head)"},
    kernels=ATTENTION,
    reference=ATTENTION,
)
SCORES = Operation(
    derivation="attention",
    forward={"s": "s_qk = sum_d Q_qd K_kd / sqrt(D)"},
    backward={
        "Q": "dQ_qd = sum_k ds_qk K_kd / sqrt(D)",
        "K": "dK_kd = sum_q ds_qk Q_qd / sqrt(D)",
    },
    kernels=ATTENTION,
    reference=ATTENTION,
    recomputed={"s": "scores"},
)
SOFTMAX = Operation(
    derivation="attention",
    forward={"lse": "lse_q = log sum_k exp(s_qk)", "p": "p_qk = exp(s_qk - lse_q)"},
    backward={"s": "ds_qj = ... = p_qj (dp_qj - delta_q)"},
    kernels=ATTENTION,
    reference=ATTENTION,
    recomputed={"p": "probabilities", "s": "scores"},
)
AVERAGE = Operation(
    derivation="attention",
    forward={"out": "out_qd = sum_k w_qk V_kd"},
    backward={"p": "dw_qk = sum_d dout_qd V_kd", "V": "dV_kd = sum_q w_qk dout_qd"},
    kernels=ATTENTION,
    reference=ATTENTION,
    recomputed={"p": "probabilities"},
)
MERGE = Operation(
    derivation="attention",
    forward={"attn": "out[...] = merge_heads(w @ V)"},
    backward={"heads": "(dO,) = split_heads(dout, n_head, parts=1)"},
    kernels=ATTENTION | {"backward": "linear.linear_backward"},
    reference=ATTENTION | {"backward": "linear.linear_backward"},
)
ATTENTION_PROJECTION = replace(QKV, recomputed={"out": "projection"})
ATTENTION_SUM = Operation(
    derivation="attention_sublayer",
    forward={"out": "out = x + branch(x)"},
    backward={
        "branch": "dropout_backward(dbranch, dropout.next_site(), dx=dbranch)",
        "x": "dx = dout + (what comes back through the branch)",
    },
    kernels={"forward": FUSED, "backward": NORM_AGAIN},
    reference=pair("attention_sublayer", "attention_sublayer"),
    recomputed={"branch": "branch"},
)
FC = replace(QKV, kernels=GRADIENTS_APART | {"forward": "products.matmul.multiply"})
MLP_PROJECTION = Operation(
    "linear",
    LINEAR_FORWARD,
    LINEAR_BACKWARD,
    kernels=GRADIENTS_APART | {"forward": FUSED},
    reference=LINEAR,
    recomputed={"out": "projection"},
)
MLP_SUM = replace(
    ATTENTION_SUM,
    backward={
        **ATTENTION_SUM.backward,
        "branch": "dropout_backward(dbranch, dropout, dx=dbranch)",
    },
    derivation="mlp_sublayer",
    reference=pair("mlp_sublayer", "mlp_sublayer"),
)
HEAD = Operation(
    derivation="head",
    forward={"out": "logits = norm(x) @ weight.T"},
    backward=dict.fromkeys(
        ("x", "weight"),
        "linear_backward(dout, k.norm, w.weight.T, None, dx=dk.norm, ... dweight=dw.weight.T",
    ),
    kernels={
        "forward": "products.matmul.multiply",
        "backward": "products.matmul.multiply",
        "weight": "products.matmul.multiply_columns",
    },
    reference=LINEAR,
)
LOSS = Operation(
    derivation="cross_entropy",
    forward={
        "lse": "lse = log sum_v exp(z_v)",
        "P": "P_v = softmax(z)_v = exp(z_v - lse)",
        "loss": "loss = -log softmax(z)_y = lse - z_y",
    },
    backward={"z": "dz_v = dout (P_v - [v = y])"},
    kernels=pair("cross_entropy", "cross_entropy"),
    reference=pair("cross_entropy", "cross_entropy"),
    recomputed={"P": "next_token"},
)


def activation(name: str) -> Operation:
    """The MLP's nonlinearity of this name; one kernel computes it with the product before it."""
    formula, slope = {
        "gelu": ("f(x) = x Phi(x)", "f'(x) = Phi(x) + x phi(x)"),
        "gelu_tanh": (
            "f(x) = x (1 + tanh u) / 2",
            "f'(x) = (1 + t) / 2 + x (1 - t^2) / 2 * k (1 + 3 * 0.044715 x^2)",
        ),
        "relu": ("f(x) = x where x > 0, else 0", "f'(x) = 1 where x > 0, else 0"),
    }[name]
    return Operation(
        derivation="activation",
        forward={"out": formula},
        backward={"x": f"dx = dout * f'(x) ... {slope}"},
        kernels={"forward": "products.matmul.multiply", "backward": "products.matmul.multiply"},
        reference=pair("activation", name),
    )
