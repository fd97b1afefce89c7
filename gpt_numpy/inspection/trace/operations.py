"""The equations of every layer as the reference derives them, and the functions that compute them.

Of each `Operation` (operation.py) `forward` has the equation of each array that it writes,
`backward` that of the gradient of each array that it reads; the arrays have the letters of the
derivation. Every equation is quoted exactly from the file under `reference/` that derives it
(a test compares them), so that it can be searched for there; `...` marks an omission. A model
without biases has the equations without ` + bias` (diagram.py).

A new layer gets an entry in `OPERATIONS`, a new norm one in `NORMS`. A stage whose layer, norm or
activation has no entry is shown as a single operation.
"""

from collections.abc import Callable
from dataclasses import replace

from gpt_numpy.inspection.trace.operation import Operation, function_named, place_of
from gpt_numpy.model.stage import Stage

MULTIPLY = "products.matmul.multiply"
FUSED = "linear.linear_and_sum"  # projection, bias and residual sum
NORM_AND_SUM = "layernorm.layernorm_backward_and_renormalise"
RMSNORM_AND_SUM = "rmsnorm.rmsnorm_backward_and_renormalise"
LINEAR_BACKWARD = {"backward": "linear.linear_backward"}


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


def _residual_sum(stage: Stage, site: str) -> Operation:
    return Operation(
        "sum with the residual stream",
        stage.layer,
        {"out": "out = x + branch(x)"},
        {
            "branch": f"dropout_backward(dbranch, {site}, dx=dbranch)",
            "x": "dx = dout + (what comes back through the branch)",
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
NORMED = Operation(
    "norm of queries and keys",
    "queries_keys",
    {"out": "normed = rmsnorm(x)"},
    dict.fromkeys(
        ("qkv", "q_norm", "k_norm"), "dx, dweight = rmsnorm_backward(dnormed, x, weight)"
    ),
    fields={"out": "ready"},
)
TURNED = Operation(
    "turn of queries and keys",
    "rotary",
    {"out": "out_i = x_i cos_ti - x_(i+D/2) sin_ti out_(i+D/2) = x_(i+D/2) cos_ti + x_i sin_ti"},
    {
        "qkv": "dx_i = dout_i cos_ti + dout_(i+D/2) sin_ti "
        "dx_(i+D/2) = dout_(i+D/2) cos_ti - dout_i sin_ti"
    },
    fields={"out": "ready"},
    kernels={d: f"queries_keys.queries_keys_{d}" for d in ("forward", "backward")},
    reference={"forward": "rotary.turn", "backward": "rotary.turn_back"},
)
NORMED_AND_TURNED = replace(
    NORMED,
    title="norm and turn of queries and keys",
    forward={"out": "normed = rmsnorm(x) out = turn(normed)"},
    backward={
        **NORMED.backward,
        "qkv": "dnormed = turn_back(dout) dx, dweight = rmsnorm_backward(dnormed, x, weight)",
    },
)
SPLIT = Operation(
    "split into heads",
    "attention",
    dict.fromkeys("QKV", "Q, K, V = split_qkv(qkv, n_head, n_kv_head)"),
    {"qkv": "dQ, dK, dV = split_qkv(dqkv, n_head, n_kv_head)"},
)
ATTENTION = [
    Operation(
        "scores",
        "attention",
        {"s": "s_qk = sum_d Q_qd K_kd / sqrt(D)"},
        {"Q": "dQ_qd = sum_k ds_qk K_kd / sqrt(D)", "K": "dK_kd = sum_q ds_qk Q_qd / sqrt(D)"},
    ),
    Operation(
        "mask and softmax",
        "attention",
        {"lse": "lse_q = log sum_k exp(s_qk)", "p": "p_qk = exp(s_qk - lse_q)"},
        {"s": "ds_qj = ... = p_qj (dp_qj - delta_q)"},
        fields={"Q": "Q", "K": "K", "out": "heads"},  # which recomputing s and p needs
    ),
    Operation(
        "average of the values",
        "attention",
        {"out": "out_qd = sum_k w_qk V_kd"},
        {"p": "dw_qk = sum_d dout_qd V_kd", "V": "dV_kd = sum_q w_qk dout_qd"},
        fields={"out": "heads"},
    ),
    Operation(
        "heads side by side",
        "attention",
        {"attn": "out[...] = merge_heads(w @ V)"},
        {"heads": "(dO,) = split_heads(dout, n_head, parts=1)"},
        kernels=LINEAR_BACKWARD,
        reference=LINEAR_BACKWARD,
    ),
]
HEAD = Operation(
    "head",
    "head",
    {"out": "logits = norm(x) @ weight.T"},
    dict.fromkeys(
        ("x", "weight"),
        "linear_backward( dout, k.norm, w.weight.T, None, dx=dk.norm, dweight=dw.weight.T",
    ),
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
NORMS = {"layernorm": LAYERNORM, "rmsnorm": RMSNORM}
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
        _residual_sum(stage, "dropout.next_site()"),
    ],
    "mlp_sublayer": lambda stage: [
        _norm(stage),
        _linear("MLP, first product", "norm", "fc", "fc", MULTIPLY),
        ACTIVATIONS[stage.settings.activation],
        _linear("MLP, second product", "act", "proj", "branch", FUSED),
        _residual_sum(stage, "dropout"),
    ],
    "head_loss": lambda stage: [
        replace(_norm(stage), title=f"last {_norm(stage).title}", kernels={}),
        HEAD,
        CAPPED_LOSS if stage.settings.softcap else LOSS,
    ],
}


def operations_of(stage: Stage) -> list[Operation]:
    """The operations of a stage, in forward order; one, where its equations are not known here."""
    try:
        return OPERATIONS[stage.layer](stage)
    except KeyError:
        return [_whole_layer(stage)]


def _embedding(stage: Stage) -> Operation:
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
