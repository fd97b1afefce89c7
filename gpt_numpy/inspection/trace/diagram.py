"""The block diagram as a list: which operation reads and writes which arrays, in forward order.

Beside what the layers store (`activation_shapes`) it names what passes between them without being
stored, and parts of what is stored:

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
from gpt_numpy.config.gpt import GPTConfig
from gpt_numpy.inspection.trace import operations as op
from gpt_numpy.inspection.trace.operations import Operation
from gpt_numpy.model.stages import activation_shapes, parameter_shapes

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


def nodes(config: GPTConfig) -> list[Node]:
    """Every operation of a forward pass with loss, in its order."""
    listed = [
        Node(op.EMBEDDING, {"wte": "wte.weight", "wpe": "wpe.weight", "out": "embedding.out"})
    ]
    before = "embedding.out"
    for i in range(config.n_layer):
        listed += _attention(f"h.{i}", before)
        listed += _mlp(f"h.{i}", config.activation)
        before = f"h.{i}.resid_post"
    head = "wte.weight" if config.tied else "lm_head.weight"
    listed += [
        Node(op.LAST_NORM, _norm("ln_f", before)),
        Node(op.HEAD, {"x": "ln_f.out", "weight": head, "out": "logits"}),
        Node(op.LOSS, {"z": "logits", "lse": "lse", "P": "probabilities", "loss": "losses"}),
    ]
    known = all_shapes(config, 1, 1)  # some models have no biases, or no table of positions
    return [
        Node(node.operation, {a: name for a, name in node.arrays.items() if name in known})
        for node in listed
    ]


def _attention(block: str, before: str) -> list[Node]:
    attn = f"{block}.attn"
    heads = {
        "qkv": f"{attn}.qkv",
        "Q": f"{attn}.query",
        "K": f"{attn}.key",
        "V": f"{attn}.value",
        "s": f"{attn}.scores",
        "lse": f"{attn}.lse",
        "p": f"{attn}.probabilities",
        "heads": f"{attn}.heads",
        "attn": f"{attn}.out",
    }

    def of(*arguments: str) -> dict[str, str]:
        return {argument: heads[argument] for argument in arguments}

    return [
        Node(op.BLOCK_NORM, _norm(f"{block}.ln_1", before)),
        Node(op.QKV, _linear(f"{attn}.c_attn", f"{block}.ln_1.out", f"{attn}.qkv")),
        Node(op.SPLIT, of("qkv", "Q", "K", "V")),
        Node(op.SCORES, of("Q", "K", "s")),
        Node(op.SOFTMAX, of("Q", "K", "s", "lse", "p") | {"out": f"{attn}.heads"}),
        Node(op.AVERAGE, of("p", "V") | {"out": f"{attn}.heads"}),
        Node(op.MERGE, of("heads", "attn")),
        Node(op.ATTENTION_PROJECTION, _linear(f"{attn}.c_proj", f"{attn}.out", f"{attn}.proj")),
        Node(
            op.ATTENTION_SUM,
            {"x": before, "branch": f"{attn}.proj", "out": f"{block}.resid_mid"},
        ),
    ]


def _mlp(block: str, activation: str) -> list[Node]:
    mlp = f"{block}.mlp"
    return [
        Node(op.BLOCK_NORM, _norm(f"{block}.ln_2", f"{block}.resid_mid")),
        Node(op.FC, _linear(f"{mlp}.c_fc", f"{block}.ln_2.out", f"{mlp}.fc")),
        Node(op.activation(activation), {"x": f"{mlp}.fc", "out": f"{mlp}.act"}),
        Node(op.MLP_PROJECTION, _linear(f"{mlp}.c_proj", f"{mlp}.act", f"{mlp}.proj")),
        Node(
            op.MLP_SUM,
            {"x": f"{block}.resid_mid", "branch": f"{mlp}.proj", "out": f"{block}.resid_post"},
        ),
    ]


def _norm(name: str, x: str) -> dict[str, str]:
    parts = ("mean", "rstd", "xhat", "weight", "bias", "out")
    return {"x": x} | {part: f"{name}.{part}" for part in parts}


def _linear(name: str, x: str, out: str) -> dict[str, str]:
    return {"x": x, "weight": f"{name}.weight", "bias": f"{name}.bias", "out": out}


def all_shapes(config: GPTConfig, batch: int, length: int) -> dict[str, Shape]:
    """The shape of everything that can be traced, in no particular order."""
    B, T, C, H, D = batch, length, config.n_embd, config.n_head, config.head_size
    shapes = parameter_shapes(config) | activation_shapes(config, B, T)
    for i in range(config.n_layer):
        attn = f"h.{i}.attn"
        for part in ("query", "key", "value", "heads"):
            shapes[f"{attn}.{part}"] = (B, H, T, D)
        for part in ("scores", "probabilities"):
            shapes[f"{attn}.{part}"] = (B, H, T, T)
        for name in (f"{attn}.proj", f"h.{i}.mlp.proj", f"h.{i}.ln_1.xhat", f"h.{i}.ln_2.xhat"):
            shapes[name] = (B, T, C)
    shapes["ln_f.xhat"] = (B, T, C)
    shapes["probabilities"] = (B, T, config.vocab_size)
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
