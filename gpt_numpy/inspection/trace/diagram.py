"""The block diagram as a list: which operation reads and writes which arrays, in forward order.

In addition to what the layers store (model/stages.py) it names what they compute without storing
it, and parts of what is stored:

    h.{i}.ln_1.xhat               the normalised rows before weight and bias; ln_2, ln_f likewise
    h.{i}.attn.query, key, value  the parts of `h.{i}.attn.qkv`, (B, H, T, D), or where they are
                                  normalised or turned, of `h.{i}.attn.ready`
    h.{i}.attn.scores             how well each query matches each key, before the mask
    h.{i}.attn.probabilities      their softmax over the keys that a query may see
    h.{i}.attn.heads              the average of each head, `h.{i}.attn.out` as (B, H, T, D)
    h.{i}.attn.proj               what attention adds to the residual stream
    h.{i}.mlp.proj                what the MLP adds to it
    probabilities                 of the next token
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.inspection.trace.operation import Operation
from gpt_numpy.inspection.trace.operations import operations_of
from gpt_numpy.model import stages
from gpt_numpy.model.stage import FIXED, Activation, ModelConfig, Stage, sized
from gpt_numpy.model.stages import gpt, stages_of
from gpt_numpy.reference.attention import split_heads, split_qkv

# Parts of what attention stores: letter and name, in the order of the channels of what it reads.
PARTS = (("Q", "query"), ("K", "key"), ("V", "value"))


class Part(NamedTuple):
    """A part of the stored array `whole`, split into heads.

    `number` counts queries, keys and values; None: the whole array is the part.
    """

    whole: str
    number: int | None
    n_head: int
    n_kv_head: int

    def view(self, whole: Array) -> Array:
        """The part of the array, (B, H, T, D), of keys and values (B, G, T, D)."""
        if self.number is None:
            return split_heads(whole, self.n_head, parts=1)[0]
        return split_qkv(whole, self.n_head, self.n_kv_head)[self.number]


@dataclass(frozen=True)
class Node:
    """One operation of a stage: its arrays by letter, and the fields of those not stored."""

    operation: Operation
    arrays: dict[str, str]
    not_stored: dict[str, str]
    stage: str

    @property
    def read(self) -> list[str]:
        """The letters of what it reads and backward gives a gradient."""
        return [letter for letter in self.operation.backward if letter in self.arrays]

    @property
    def written(self) -> list[str]:
        """The letters of what it writes."""
        return [letter for letter in self.operation.forward if letter in self.arrays]


def nodes(config: GPTConfig) -> list[Node]:
    """Every operation of a forward pass with loss, in its order."""
    listed = []
    for stage in gpt(config):
        inside = _not_stored(stage)
        for operation in operations_of(stage):
            arrays, not_stored = {}, {}
            for letter in {**operation.backward, **operation.forward, **operation.fields}:
                field = operation.fields.get(letter, letter)
                if field in inside:
                    arrays[letter], not_stored[letter] = inside[field].name, field
                elif (name := stage.array_name(field)) not in (None, *FIXED, "tokens"):
                    arrays[letter] = name
            if "bias" in operation.backward and "bias" not in arrays:
                forward = {k: text.removesuffix(" + bias") for k, text in operation.forward.items()}
                operation = replace(operation, forward=forward)
            listed.append(Node(operation, arrays, not_stored, stage.name))
    return listed


def _not_stored(stage: Stage) -> dict[str, Activation]:
    """What a stage computes and does not store, by its letter."""
    arrays = {field: Activation(name, stage.writes.shape) for field, name in stage.taps.items()}
    kept = stage.kept
    if "norm" in kept:
        arrays["xhat"] = Activation(
            kept["norm"].name.removesuffix("out") + "xhat", kept["norm"].shape
        )
    if "qkv" in kept:
        H, G, (_, P, C) = stage.settings.n_head, stage.settings.n_kv_head, kept["attn"].shape
        assert isinstance(C, int)
        for (letter, name), heads in zip((*PARTS, ("heads", "heads")), (H, G, G, H), strict=True):
            arrays[letter] = Activation(f"{stage.name}.{name}", ("B", heads, P, C // H))
        for letter, name in (("s", "scores"), ("p", "probabilities")):
            arrays[letter] = Activation(f"{stage.name}.{name}", ("B", H, P, P))
    if "logits" in kept:
        arrays["P"] = Activation("probabilities", kept["logits"].shape)
    return arrays


def parts(config: ModelConfig) -> dict[str, Part]:
    """Everything that is a part of a stored array, by name."""
    found = {}
    for stage in stages_of(config):
        if "qkv" in stage.kept:
            heads = stage.settings.n_head, stage.settings.n_kv_head
            read = stage.kept["ready" if "ready" in stage.kept else "qkv"].name
            for number, (_, name) in enumerate(PARTS):
                found[f"{stage.name}.{name}"] = Part(read, number, *heads)
            found[f"{stage.name}.heads"] = Part(stage.kept["attn"].name, None, *heads)
    return found


def all_shapes(config: ModelConfig, *sizes: int) -> dict[str, Shape]:
    """The shape of everything that can be traced, in no particular order; sizes: B, T (and S)."""
    inside = [array for stage in stages_of(config) for array in _not_stored(stage).values()]
    shapes = stages.parameter_shapes(config) | stages.activation_shapes(config, *sizes)
    return shapes | {array.name: sized(array.shape, *sizes) for array in inside}


def layer_title(name: str) -> str:
    """The layer that an array belongs to: "embedding", "block 3" or "head"."""
    first, *rest = name.split(".")
    if first == "h":
        return f"block {rest[0]}"
    return "embedding" if first in ("wte", "wpe", "embedding") else "head"


def forward_order(listed: list[Node]) -> list[str]:
    """The names of all arrays, each where it is first read or written."""
    return list(dict.fromkeys(n.arrays[letter] for n in listed for letter in n.read + n.written))


def backward_order(listed: list[Node]) -> list[str]:
    """The names of all arrays with a gradient, each where its gradient is complete.

    The gradient of an array with several readers is a sum, complete when the first reader, in
    forward order, has added its term.
    """
    order = dict.fromkeys(n.arrays[letter] for n in listed for letter in reversed(n.read))
    return ["losses", *reversed(order)]
