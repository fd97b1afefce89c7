"""The equations of every layer as the reference derives them, and the functions that compute them.

An `Operation` is one line of the forward pass (operation.py). `forward` has the equation of each
array that it writes, `backward` that of the gradient of each array that it reads; the arrays have
the letters of the derivation. Every equation is quoted exactly from the file under `reference/`
that derives it (a test compares them), so that it can be searched for there; `...` marks an
omission. A model without biases has the equations without ` + bias` (diagram.py).

A new layer gets an entry in `OPERATIONS`, a new norm one in `NORMS`. A stage whose layer, norm or
activation has no entry is shown as a single operation.
"""

from collections.abc import Callable
from dataclasses import replace

from gpt_numpy.inspection.trace.attention_operations import (
    ATTENTION,
    CROSS_ATTENTION,
    CROSS_SPLIT,
    LINEAR_BACKWARD,
    NORMED,
    NORMED_AND_TURNED,
    SPLIT,
    TURNED,
)
from gpt_numpy.inspection.trace.operation import Operation, function_named, place_of
from gpt_numpy.model.stage import Stage

MULTIPLY = "products.matmul.multiply"
FUSED = "linear.linear_and_sum"  # projection, bias and residual sum
NORM_AND_SUM = "layernorm.layernorm_backward_and_renormalise"
RMSNORM_AND_SUM = "rmsnorm.rmsnorm_backward_and_renormalise"


def _linear(title: str, x: str, prefix: str, out: str, kernel: str) -> Operation:
    return Operation(
        title,
        "linear",
        {"out": "out = x @ weight + bias"},
        {
            "x": "dx = dout @ weight.T",
            "weight": "dweight = x.T @ dout",
            "bias": "dbias = dout summed over rows",
        },
        fields={"x": x, "weight": f"{prefix}_weight", "bias": f"{prefix}_bias", "out": out},
        kernels={"forward": kernel, "backward": "linear.parameter_gradients", "x": MULTIPLY},
    )


def _residual_sum(stage: Stage, way: str = "the branch") -> Operation:
    return Operation(
        "sum with the residual stream",
        stage.layer,
        {"out": "out = x + branch(x)"},
        {
            "branch": "dbranch = dout.copy()",  # a trace has no dropout
            "x": f"dx = dout + (what comes back through {way})",
        },
        kernels={"forward": FUSED, "backward": _norm(stage).kernels["backward"]},
    )


def _activation(name: str, formula: str, slope: str) -> Operation:
    """A nonlinearity of the MLP; the kernel computes it together with the product before it."""
    return Operation(
        "MLP, nonlinearity",
        "activation",
        {"out": formula},
        {"x": f"dx = dout * f'(x) ... {slope}"},
        fields={"x": "fc", "out": "act"},
        kernels={"forward": MULTIPLY, "backward": MULTIPLY},
        reference={d: f"activation.{name}_{d}" for d in ("forward", "backward")},
    )


EMBEDDING = Operation(
    "token and position embedding",
    "embedding",
    {"out": "row_btc = wte[v, c] + wpe[t, c]"},
    {
        "wte": "dwte[v, c] = sum over all (b, t) with tokens[b, t] = v of drow_btc",
        "wpe": "dwpe[t, c] = sum_b drow_btc",
    },
)
WITHOUT_POSITIONS = "row_btc = wte[v, c]"
TIED_EMBEDDING = replace(
    EMBEDDING,
    backward={
        **EMBEDDING.backward,
        "wte": "dwte[v, c] = sum over all (b, t) with tokens[b, t] = v of drow_btc"
        " + sum_bt dlogits_btv norm_btc",
    },
)
SCALED_EMBEDDING = replace(  # of one of three readers of the table
    EMBEDDING,
    forward={"out": "row_btc = scale wte[v, c] + wpe[t, c]"},
    backward={"wte": "dwte[v, c] = sum over all (b, t) with tokens[b, t] = v of scale drow_btc"},
)
LAYERNORM = Operation(
    "layer norm",
    "layernorm",
    {
        "mean": "mean = sum_c x_c / C",
        "rstd": "rstd = 1 / sqrt(var + eps)",
        "xhat": "xhat = (x - mean) * rstd",
        "out": "out = xhat * weight + bias",
    },
    {
        "weight": "dweight_c = sum_r dout_rc xhat_rc",
        "bias": "dbias_c = sum_r dout_rc",
        "xhat": "dxhat_c = dout_c weight_c",
        "x": "dx_j = ... = rstd (dxhat_j - mean(dxhat) - xhat_j mean(dxhat xhat))",
    },
    fields={"weight": "ln_weight", "bias": "ln_bias", "out": "norm"},
    kernels={"backward": NORM_AND_SUM},
)
RMSNORM = Operation(
    "RMSNorm",
    "rmsnorm",
    {
        "rstd": "rstd = 1 / sqrt(square + eps)",
        "xhat": "xhat = x * rstd",
        "out": "out = xhat * weight",
    },
    {
        "weight": "dweight_c = sum_r dout_rc xhat_rc",
        "xhat": "dxhat_c = dout_c weight_c",
        "x": "dx_j = ... = rstd (dxhat_j - xhat_j mean(dxhat xhat))",
    },
    fields={"weight": "ln_weight", "out": "norm"},
    kernels={"backward": RMSNORM_AND_SUM},
)
# In front of a sublayer that another norm follows: its branch reads the stream as it is.
NO_NORM = Operation(
    "the stream as it is",
    "norms",
    {"out": "norm = x"},
    {"x": "dx = dnorm"},
    fields={"out": "norm"},
    kernels={"forward": "norms._identity", "backward": "norms._identity_gradient_and_again"},
    reference={"forward": "norms._identity", "backward": "norms._identity_gradient"},
)
OWN_NORM = replace(LAYERNORM, fields={"weight": "ln_weight", "bias": "ln_bias"}, kernels={})
HEAD = Operation(
    "head",
    "head",
    {"out": "logits = norm(x) @ weight.T"},
    {"x": "dnorm = dlogits @ weight", "weight": "dweight = dlogits.T @ norm"},
    fields={"x": "norm", "out": "logits"},
    kernels={"forward": MULTIPLY, "backward": MULTIPLY, "weight": f"{MULTIPLY}_columns"},
    reference=LINEAR_BACKWARD | {"forward": "linear.linear_forward"},
)
LOSS = Operation(
    "softmax and loss",
    "cross_entropy",
    {
        "lse": "lse = log sum_v exp(z_v)",
        "P": "P_v = softmax(z)_v = exp(z_v - lse)",
        "loss": "loss = -log softmax(z)_y = lse - z_y",
    },
    {"z": "dz_v = dout (P_v - [v = y])"},
    fields={"z": "logits", "loss": "out"},
)
CAPPED_LOSS = replace(
    LOSS,
    title="soft cap, softmax and loss",
    backward={"z": "dz_v = dy_v (1 - (y_v / cap)^2)"},
)
SMOOTHED_LOSS = replace(
    LOSS,
    title="softmax and smoothed loss",
    forward={**LOSS.forward, "loss": "loss = ... = lse - (1 - e) z_y - e mean_v(z_v)"},
    backward={"z": "dz_v = dout (P_v - q_v)"},
)
NORMS = {"layernorm": LAYERNORM, "rmsnorm": RMSNORM, "none": NO_NORM}
ACTIVATIONS = {
    "gelu": _activation("gelu", "f(x) = x Phi(x)", "f'(x) = Phi(x) + x phi(x)"),
    "gelu_tanh": _activation(
        "gelu_tanh",
        "f(x) = x (1 + tanh u) / 2",
        "f'(x) = (1 + t) / 2 + x (1 - t^2) / 2 * k (1 + 3 * 0.044715 x^2)",
    ),
    "relu": _activation("relu", "f(x) = x where x > 0, else 0", "f'(x) = 1 where x > 0, else 0"),
    "relu2": _activation(
        "relu2", "f(x) = x^2 where x > 0, else 0", "f'(x) = 2 x where x > 0, else 0"
    ),
    "swiglu": replace(
        _activation("swiglu", "out = a s b", ""),
        title="MLP, gate",
        backward={"x": "da = dout b (s + a s (1 - s)) ... db = dout a s"},
        kernels={
            "forward": "activation.swiglu_forward",
            "backward": "activation.swiglu_backward_and_forward",
        },
    ),
}
# By the layer of a stage (model/stages.py): its operations in forward order.
OPERATIONS: dict[str, Callable[[Stage], list[Operation]]] = {
    "embedding": lambda stage: [_embedding(stage)],
    "attention_sublayer": lambda stage: [
        _norm(stage),
        _linear("query, key and value", "norm", "qkv", "qkv", "linear.linear_forward"),
        *_split(stage),
        *ATTENTION,
        _linear("attention's projection", "attn", "proj", "branch", "linear.linear_forward"),
        _residual_sum(stage),
    ],
    "mlp_sublayer": lambda stage: [
        _norm(stage),
        _linear("MLP, first product", "norm", "fc", "fc", MULTIPLY),
        ACTIVATIONS[stage.settings.activation],
        _linear("MLP, second product", "act", "proj", "branch", FUSED),
        _residual_sum(stage),
    ],
    "head_loss": lambda stage: [
        _last_norm(stage),
        HEAD,
        _loss(stage),
    ],
    "norm_layer": lambda stage: [OWN_NORM],
    "cross_attention_sublayer": lambda stage: [
        _norm(stage),
        _linear("query", "norm", "q", "q", "linear.linear_forward"),
        _keys_and_values(stage),
        *CROSS_SPLIT,
        *CROSS_ATTENTION,
        _linear("cross-attention's projection", "attn", "proj", "branch", "linear.linear_forward"),
        _residual_sum(stage, "q"),
    ],
}


def operations_of(stage: Stage) -> list[Operation]:
    """The operations of a stage, in forward order; one, where its equations are not known here."""
    try:
        return OPERATIONS[stage.layer](stage)
    except KeyError:
        return [_whole_layer(stage)]


def _embedding(stage: Stage) -> Operation:
    if stage.keywords:
        return SCALED_EMBEDDING
    operation = TIED_EMBEDDING if stage.backward_settings["tied"] else EMBEDDING
    if "wpe" not in stage.weights:
        operation = replace(operation, forward={"out": WITHOUT_POSITIONS})
    return operation


def _split(stage: Stage) -> list[Operation]:
    """From qkv to the heads' queries, keys and values."""
    if "ready" not in stage.kept:
        return [SPLIT]
    normed, turned = "q_norm" in stage.weights, "rotations" in stage.weights
    ready = NORMED_AND_TURNED if normed and turned else NORMED if normed else TURNED
    return [ready, replace(SPLIT, fields={"qkv": "ready"})]


def _norm(stage: Stage) -> Operation:
    return NORMS[stage.settings.norm_kind]


def _last_norm(stage: Stage) -> Operation:
    """In front of the head: backward writes the gradient instead of adding it."""
    norm = _norm(stage)
    kernels = {"forward": "norms._identity", "backward": "norms._identity_gradient"}
    return replace(norm, title=f"last {norm.title}", kernels=kernels if norm is NO_NORM else {})


def _loss(stage: Stage) -> Operation:
    if stage.settings.smoothing:
        return SMOOTHED_LOSS
    return CAPPED_LOSS if stage.settings.softcap else LOSS


def _keys_and_values(stage: Stage) -> Operation:
    """Of the encoder's output, whose gradient collects a term from every block."""
    linear = _linear("key and value", "memory", "kv", "kv", "linear.linear_forward")
    if not stage.settings.adds:
        return linear
    return replace(linear, kernels={**linear.kernels, "x": "residual.add_to"})


def _whole_layer(stage: Stage) -> Operation:
    pair = {d: f"{stage.layer}_{d}" for d in ("forward", "backward")}
    place = place_of(function_named(f"gpt_numpy.reference.{pair['forward']}"))
    with_grad = [field for field, array in stage.kept.items() if array.grad]
    return Operation(
        stage.kind,
        place.module.rpartition(".")[2],
        dict.fromkeys([*stage.kept, "out"], pair["forward"]),
        dict.fromkeys([*reversed(with_grad), *stage.weights, "x"], pair["backward"]),
        kernels=pair,
        reference=pair,
    )
