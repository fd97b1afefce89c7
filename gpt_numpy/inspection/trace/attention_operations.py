"""The operations between queries, keys and values and the heads' output, of both attentions."""

from dataclasses import replace

from gpt_numpy.inspection.trace.operation import Operation

LINEAR_BACKWARD = {"backward": "linear.linear_backward"}
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
# The same mathematics; the file says what is different about two streams.
CROSS_ATTENTION = [replace(one, derivation="cross_attention") for one in ATTENTION]
CROSS_ATTENTION[1] = replace(CROSS_ATTENTION[1], backward={"s": "ds_qk = p_qk (dp_qk - delta_q)"})
CROSS_SPLIT = [
    Operation(
        f"split of {what} into heads",
        "cross_attention",
        dict.fromkeys(
            letters,
            "(Q,), (K, V) = split_heads(q, n_head, parts=1), split_heads(kv, n_head, parts=2)",
        ),
        {
            whole: "(dQ,), (dK, dV) = split_heads(dq, n_head, parts=1), "
            "split_heads(dkv, n_head, parts=2)"
        },
    )
    for what, letters, whole in (("queries", "Q", "q"), ("keys and values", "KV", "kv"))
]
