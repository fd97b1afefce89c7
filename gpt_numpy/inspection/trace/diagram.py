"""The block diagram as a list: which operation reads and writes which arrays, in forward order.

In addition to what the layers store (model/stages.py) it names what passes within them without
being stored, and parts of what is stored:

    h.{i}.ln_1.xhat               a layer norm's rows before weight and bias; ln_2, ln_f likewise
    h.{i}.attn.query, key, value  the parts of `h.{i}.attn.qkv`, (B, H, T, D)
    h.{i}.attn.scores             how well each query matches each key, before the mask
    h.{i}.attn.probabilities      their softmax over the keys that a query may see
    h.{i}.attn.heads              what each head averages, `h.{i}.attn.out` as (B, H, T, D)
    h.{i}.attn.proj               what attention adds to the residual stream
    h.{i}.mlp.proj                what the MLP adds to it
    probabilities                 of the next token
"""

from dataclasses import dataclass

from gpt_numpy.base.arrays import Shape
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.inspection.trace import operations as op
from gpt_numpy.inspection.trace.operations import Operation
from gpt_numpy.model.stages import (
    SINUSOIDS,
    Stage,
    activation_shapes,
    gpt,
    parameter_shapes,
)

# What is a part of a stored array: the name's ending, that of the whole, and which part.
PARTS = {
    "attn.query": ("attn.qkv", 0),
    "attn.key": ("attn.qkv", 1),
    "attn.value": ("attn.qkv", 2),
    "attn.heads": ("attn.out", 0),
}


@dataclass(frozen=True)
class Node:
    """One operation on named arrays: `arrays` maps what the operation calls them to their names."""

    operation: Operation
    arrays: dict[str, str]

    @property
    def read(self) -> list[str]:
        """What it reads and backward gives a gradient, by its name in the operation."""
        return [argument for argument in self.operation.backward if argument in self.arrays]

    @property
    def written(self) -> list[str]:
        """What it writes, by its name in the operation."""
        return [argument for argument in self.operation.forward if argument in self.arrays]


NORM = {
    "x": "x", "mean": "mean", "rstd": "rstd", "xhat": "xhat", "weight": "ln_weight",
    "bias": "ln_bias", "out": "norm",
}  # fmt: skip


def _linear(x: str, prefix: str, out: str) -> dict[str, str]:
    return {"x": x, "weight": f"{prefix}_weight", "bias": f"{prefix}_bias", "out": out}


def _same(*arguments: str) -> dict[str, str]:
    return dict(zip(arguments, arguments, strict=True))


SUM = _same("x", "branch", "out")


def _operations(stage: Stage) -> list[tuple[Operation, dict[str, str]]]:
    """The operations of a stage; each argument with the name that the layer has for the array."""
    if stage.kind == "embedding":
        return [(op.EMBEDDING, _same("wte", "wpe", "out"))]
    if stage.kind == "attention":
        return [
            (op.BLOCK_NORM, NORM),
            (op.QKV, _linear("norm", "qkv", "qkv")),
            (op.SPLIT, _same("qkv", "Q", "K", "V")),
            (op.SCORES, _same("Q", "K", "s")),
            (op.SOFTMAX, _same("Q", "K", "s", "lse", "p") | {"out": "heads"}),
            (op.AVERAGE, _same("p", "V") | {"out": "heads"}),
            (op.MERGE, _same("heads", "attn")),
            (op.ATTENTION_PROJECTION, _linear("attn", "proj", "branch")),
            (op.ATTENTION_SUM, SUM),
        ]
    if stage.kind == "MLP":
        return [
            (op.BLOCK_NORM, NORM),
            (op.FC, _linear("norm", "fc", "fc")),
            (op.activation(stage.settings["activation"]), {"x": "fc", "out": "act"}),
            (op.MLP_PROJECTION, _linear("act", "proj", "branch")),
            (op.MLP_SUM, SUM),
        ]
    if stage.kind != "head and loss":
        raise ValueError(f"no equations for a stage of the kind {stage.kind!r}")
    return [
        (op.LAST_NORM, NORM),
        (op.HEAD, {"x": "norm", "weight": "weight", "out": "logits"}),
        (op.LOSS, {"z": "logits", "lse": "lse", "P": "P", "loss": "out"}),
    ]


def nodes(config: GPTConfig) -> list[Node]:
    """Every operation of a forward pass with loss, in its order."""
    listed = []
    for stage in gpt(config):
        inside = {
            argument: name for argument, (name, _) in _not_stored(stage, config, 1, 1).items()
        }
        for operation, arguments in _operations(stage):
            names = {a: inside.get(w) or stage.array_name(w) for a, w in arguments.items()}
            # A model without biases, or with fixed positions, lacks some of them.
            listed.append(Node(operation, {a: n for a, n in names.items() if n and n != SINUSOIDS}))
    return listed


def _not_stored(stage: Stage, config: GPTConfig, B: int, T: int) -> dict[str, tuple[str, Shape]]:
    """What is computed within a stage and not stored: by argument, its name and shape."""
    C, H, D = config.n_embd, config.n_head, config.head_size
    arrays: dict[str, tuple[str, Shape]] = {
        argument: (name, (B, T, C)) for argument, name in stage.taps.items()
    }
    if "norm" in stage.kept:
        arrays["xhat"] = (stage.kept["norm"].name.removesuffix("out") + "xhat", (B, T, C))
    if stage.kind == "attention":
        for argument, name in {"Q": "query", "K": "key", "V": "value", "heads": "heads"}.items():
            arrays[argument] = (f"{stage.name}.{name}", (B, H, T, D))
        for argument, name in {"s": "scores", "p": "probabilities"}.items():
            arrays[argument] = (f"{stage.name}.{name}", (B, H, T, T))
    if "logits" in stage.kept:
        arrays["P"] = ("probabilities", (B, T, config.vocab_size))
    return arrays


def all_shapes(config: GPTConfig, B: int, T: int) -> dict[str, Shape]:
    """The shape of everything that can be traced, in no particular order."""
    shapes = parameter_shapes(config) | activation_shapes(config, B, T)
    for stage in gpt(config):
        shapes |= dict(_not_stored(stage, config, B, T).values())
    return shapes


def forward_order(listed: list[Node]) -> list[str]:
    """The names of all arrays, each where it is first read or written."""
    order: dict[str, None] = {}
    for node in listed:
        order |= dict.fromkeys(node.arrays[argument] for argument in node.read)
        order |= dict.fromkeys(node.arrays[argument] for argument in node.written)
    return list(order)


def backward_order(listed: list[Node]) -> list[str]:
    """The names of all arrays with a gradient, each where its gradient is complete.

    The gradient of an array with several readers is a sum, whole when the first reader, in forward
    order, has added its part.
    """
    order: dict[str, None] = {}
    for node in listed:
        for argument in reversed(node.read):
            order.setdefault(node.arrays[argument])
    return ["losses", *reversed(order)]


def whole_of(name: str) -> tuple[str, int] | None:
    """The stored array that `name` is a part of, and which part; None where it is no part."""
    block, ending = ".".join(name.split(".")[:2]), ".".join(name.split(".")[2:])
    if ending not in PARTS:
        return None
    whole, part = PARTS[ending]
    return f"{block}.{whole}", part
