"""The equations of every layer as the reference derives them, and the functions that compute them.

An `Operation` is one line of the forward pass. `forward` has the equation of each array that it
writes, `backward` that of the gradient of each array that it reads; the arrays have the letters of
the derivation. Every equation is quoted exactly from the file under `reference/` that derives it
(a test compares them), so that it can be searched for there; `...` stands for an omission.

A new layer gets an entry in `OPERATIONS`, a new norm one in `NORMS`. A stage whose layer, norm or
activation has no entry is shown as a single operation.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gpt_numpy.model.stages import Stage


@dataclass(frozen=True)
class Place:
    """Where a function is defined: its module, its name and its first line."""

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
        return inspect.getsource(function_named(f"{self.module}.{self.name}"))


def function_named(name: str) -> Callable[..., Any]:
    """The function of this dotted name, imported."""
    module, _, function = name.rpartition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def place_of(function: Callable[..., Any]) -> Place:
    """Where a function is defined, by its code object."""
    made = inspect.unwrap(function)
    return Place(made.__module__, made.__name__, made.__code__.co_firstlineno)


@dataclass(frozen=True)
class Operation:
    """One line of the forward pass, and what its backward computes.

    `kernels` and `reference` name the functions as `module.function`; the keys are "forward",
    "backward", and the letter of any array whose gradient a different function computes. `fields`
    gives the layer's name for a letter where it is not the letter itself.
    """

    title: str
    derivation: str  # the file of `reference/`
    forward: Mapping[str, str]
    backward: Mapping[str, str]
    kernels: Mapping[str, str]
    reference: Mapping[str, str]
    fields: Mapping[str, str] = field(default_factory=dict)

    def function(self, ops: str, direction: str, letter: str) -> Place:
        """The function of the implementation `ops` that computes an array or its gradient."""
        table = self.kernels if ops == "kernels" else self.reference
        name = table.get(letter, table[direction]) if direction == "backward" else table[direction]
        return place_of(function_named(f"gpt_numpy.{ops}.{name}"))


def _pair(module: str, name: str = "") -> dict[str, str]:
    name = f"{module}.{name or module}"
    return {"forward": f"{name}_forward", "backward": f"{name}_backward"}


MULTIPLY = "products.matmul.multiply"
FUSED = "products.matmul.multiply_and_add"  # projection, bias and residual sum
NORM_AND_SUM = "layernorm.layernorm_backward_and_renormalise"
LAYERNORM, ATTENTION = _pair("layernorm"), _pair("attention")


def _linear(title: str, x: str, prefix: str, out: str, kernel: str) -> Operation:
    return Operation(
        title,
        "linear",
        forward={"out": "out = x @ weight + bias"},
        backward={
            "x": "dx = dout @ weight.T",
            "weight": "dweight = x.T @ dout",
            "bias": "dbias = dout summed over rows",
        },
        kernels={"forward": kernel, "backward": "linear.parameter_gradients", "x": MULTIPLY},
        reference=_pair("linear"),
        fields={"x": x, "weight": f"{prefix}_weight", "bias": f"{prefix}_bias", "out": out},
    )


def _attention(
    title: str, forward: Mapping[str, str], backward: Mapping[str, str], **fields: str
) -> Operation:
    return Operation(title, "attention", forward, backward, ATTENTION, ATTENTION, fields)


def _residual_sum(layer: str, site: str) -> Operation:
    return Operation(
        "sum with the residual stream",
        layer,
        forward={"out": "out = x + branch(x)"},
        backward={
            "branch": f"dropout_backward(dbranch, {site}, dx=dbranch)",
            "x": "dx = dout + (what comes back through the branch)",
        },
        kernels={"forward": FUSED, "backward": NORM_AND_SUM},
        reference=_pair(layer),
    )


def _activation(name: str, formula: str, slope: str) -> Operation:
    """A nonlinearity of the MLP; the kernel computes it together with the product before it."""
    return Operation(
        "MLP, nonlinearity",
        "activation",
        forward={"out": formula},
        backward={"x": f"dx = dout * f'(x) ... {slope}"},
        kernels={"forward": MULTIPLY, "backward": MULTIPLY},
        reference=_pair("activation", name),
        fields={"x": "fc", "out": "act"},
    )


EMBEDDING = Operation(
    "token and position embedding",
    "embedding",
    forward={"out": "row_btc = wte[v, c] + wpe[t, c]"},
    backward={
        "wte": "dwte[v, c] = sum over all (b, t) with tokens[b, t] = v of drow_btc",
        "wpe": "dwpe[t, c] = sum_b drow_btc",
    },
    kernels=_pair("embedding"),
    reference=_pair("embedding"),
)
NORM = Operation(
    "layer norm",
    "layernorm",
    forward={
        "mean": "mean = sum_c x_c / C",
        "rstd": "rstd = 1 / sqrt(var + eps)",
        "xhat": "xhat = (x - mean) * rstd",
        "out": "out = xhat * weight + bias",
    },
    backward={
        "weight": "dweight_c = sum_r dout_rc xhat_rc",
        "bias": "dbias_c = sum_r dout_rc",
        "xhat": "dxhat_c = dout_c weight_c",
        "x": "dx_j = ... = rstd (dxhat_j - mean(dxhat) - xhat_j mean(dxhat xhat))",
    },
    kernels=LAYERNORM | {"backward": NORM_AND_SUM},
    reference=LAYERNORM,
    fields={"weight": "ln_weight", "bias": "ln_bias", "out": "norm"},
)
SPLIT = _attention(
    "split into heads",
    dict.fromkeys("QKV", "Q, K, V = split_heads(qkv, n_head)"),
    {"qkv": "dQ, dK, dV = split_heads(dqkv, n_head)"},
)
SCORES = _attention(
    "scores",
    {"s": "s_qk = sum_d Q_qd K_kd / sqrt(D)"},
    {"Q": "dQ_qd = sum_k ds_qk K_kd / sqrt(D)", "K": "dK_kd = sum_q ds_qk Q_qd / sqrt(D)"},
)
SOFTMAX = _attention(
    "mask and softmax",
    {"lse": "lse_q = log sum_k exp(s_qk)", "p": "p_qk = exp(s_qk - lse_q)"},
    {"s": "ds_qj = ... = p_qj (dp_qj - delta_q)"},
    Q="Q",  # these three are needed to recompute s and p
    K="K",
    out="heads",
)
AVERAGE = _attention(
    "average of the values",
    {"out": "out_qd = sum_k w_qk V_kd"},
    {"p": "dw_qk = sum_d dout_qd V_kd", "V": "dV_kd = sum_q w_qk dout_qd"},
    out="heads",
)
MERGE = replace(
    _attention(
        "heads side by side",
        {"attn": "out[...] = merge_heads(w @ V)"},
        {"heads": "(dO,) = split_heads(dout, n_head, parts=1)"},
    ),
    kernels=ATTENTION | {"backward": "linear.linear_backward"},
    reference=ATTENTION | {"backward": "linear.linear_backward"},
)
HEAD = Operation(
    "head",
    "head",
    forward={"out": "logits = norm(x) @ weight.T"},
    backward=dict.fromkeys(
        ("x", "weight"),
        "linear_backward(dout, k.norm, w.weight.T, None, dx=dk.norm, ... dweight=dw.weight.T",
    ),
    kernels=dict.fromkeys(("forward", "backward"), MULTIPLY) | {"weight": f"{MULTIPLY}_columns"},
    reference=_pair("linear"),
    fields={"x": "norm", "out": "logits"},
)
LOSS = Operation(
    "softmax and loss",
    "cross_entropy",
    forward={
        "lse": "lse = log sum_v exp(z_v)",
        "P": "P_v = softmax(z)_v = exp(z_v - lse)",
        "loss": "loss = -log softmax(z)_y = lse - z_y",
    },
    backward={"z": "dz_v = dout (P_v - [v = y])"},
    kernels=_pair("cross_entropy"),
    reference=_pair("cross_entropy"),
    fields={"z": "logits", "loss": "out"},
)

NORMS = {"layernorm": NORM}
ACTIVATIONS = {
    "gelu": _activation("gelu", "f(x) = x Phi(x)", "f'(x) = Phi(x) + x phi(x)"),
    "gelu_tanh": _activation(
        "gelu_tanh",
        "f(x) = x (1 + tanh u) / 2",
        "f'(x) = (1 + t) / 2 + x (1 - t^2) / 2 * k (1 + 3 * 0.044715 x^2)",
    ),
    "relu": _activation("relu", "f(x) = x where x > 0, else 0", "f'(x) = 1 where x > 0, else 0"),
}
# By the layer of a stage (model/stages.py): its operations in forward order.
OPERATIONS: dict[str, Callable[[Stage], list[Operation]]] = {
    "embedding": lambda stage: [EMBEDDING],
    "attention_sublayer": lambda stage: [
        _norm(stage),
        _linear("query, key and value", "norm", "qkv", "qkv", "linear.linear_forward"),
        SPLIT,
        SCORES,
        SOFTMAX,
        AVERAGE,
        MERGE,
        _linear("attention's projection", "attn", "proj", "branch", "linear.linear_forward"),
        _residual_sum("attention_sublayer", "dropout.next_site()"),
    ],
    "mlp_sublayer": lambda stage: [
        _norm(stage),
        _linear("MLP, first product", "norm", "fc", "fc", MULTIPLY),
        ACTIVATIONS[stage.settings["activation"]],
        _linear("MLP, second product", "act", "proj", "branch", FUSED),
        _residual_sum("mlp_sublayer", "dropout"),
    ],
    "head_loss": lambda stage: [
        replace(_norm(stage), title="last layer norm", kernels=LAYERNORM),
        HEAD,
        LOSS,
    ],
}


def operations_of(stage: Stage) -> list[Operation]:
    """The operations of a stage, in forward order; one, where its equations are not known here."""
    try:
        return OPERATIONS[stage.layer](stage)
    except KeyError:
        return [_whole_layer(stage)]


def _norm(stage: Stage) -> Operation:
    return NORMS[stage.settings.get("norm", "layernorm")]


def _whole_layer(stage: Stage) -> Operation:
    forward, backward = f"{stage.layer}_forward", f"{stage.layer}_backward"
    module = function_named(f"gpt_numpy.reference.{forward}").__module__.rpartition(".")[2]
    with_grad = [field for field, array in stage.kept.items() if array.grad]
    return Operation(
        stage.kind,
        module,
        forward=dict.fromkeys([*stage.kept, "out"], forward),
        backward=dict.fromkeys([*reversed(with_grad), *stage.weights, "x"], backward),
        kernels={"forward": forward, "backward": backward},
        reference=_pair(module, stage.layer),
    )
