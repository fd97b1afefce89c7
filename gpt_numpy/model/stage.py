"""A stage of a model: one pair of layer functions, and everything that it touches.

A stage has the names and shapes of its weights and of what forward keeps for backward, the stream
it reads and the stream it writes. The diagrams, lists of stages, are in stages.py (GPT) and
transformer_stages.py (encoder and decoder); here are the parts that both are made of.

Names are GPT-2's. Shapes are tuples of integers, "B" (sequences), "T" (positions) and "S"
(positions of the source, of an encoder).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from gpt_numpy.base.arrays import Shape
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.transformer import TransformerConfig
from gpt_numpy.reference.norms import RMSNORM

Dimensions: TypeAlias = tuple[int | str, ...]
ModelConfig: TypeAlias = GPTConfig | TransformerConfig

# The names of fixed tables among the weights: of positions, and of the turns of rotary ones.
SINUSOIDS, ROTATIONS = "sinusoids", "rotations"
FIXED = (SINUSOIDS, ROTATIONS)

STACKS = ("encoder", "decoder")  # of a Transformer

RESIDUAL = "resid"  # the gradient of the residual stream is one buffer, handed from stage to stage


class Parameter(NamedTuple):
    """A weight: its name, its shape, and how it starts.

    "normal", "residual", "one" and "zero" as in GPT-2, "embedding" and "glorot" as in the paper of
    the Transformer (initial_parameters.py). `parts` matrices lie side by side in it.
    """

    name: str
    shape: Shape
    start: str = "normal"
    parts: int = 1


class Activation(NamedTuple):
    """What a layer writes, and where it and its gradient lie.

    `buffer` and `grad_buffer` name buffers that several activations share, because no two of them
    are needed at once; None: a buffer of its own. `grad` is False for statistics (mean, rstd, lse):
    no gradient is passed for them, the layer's backward differentiates through them itself.
    `half` is True for what may be stored as bfloat16 numbers, in 16 bits, with such products. Such
    an activation may be written `again` over another in backward, which has read that by then.
    """

    name: str
    shape: Dimensions
    buffer: str | None = None
    grad_buffer: str | None = None
    grad: bool = True
    half: bool = False
    again: str | None = None


def statistic(name: str, *shape: int | str) -> Activation:
    """A small activation without a gradient: a mean, a reciprocal deviation, a log-sum-exp."""
    return Activation(name, shape, grad=False)


@dataclass(frozen=True)
class Stage:
    """One pair of functions, `{layer}_forward` and `{layer}_backward`, and all that it touches.

    `weights` and `kept` map the fields of the named tuples `weights_type` and `kept_type` to
    arrays; a field of theirs that the model does not have (a bias, say) is None. `settings` is
    the named tuple of how both functions compute, whose field `precision` the model fills in;
    `backward_settings` go to backward alone, `keywords` are further arguments of both.
    `also_reads` maps arguments to arrays other than the stream: fields of `reads_type`, the named
    tuple that `x` is where a layer reads two streams, fields of the settings, or arguments of their
    own. `taps` names what passes within the layer without being kept. `site` is the first dropout
    site; None: no dropout.
    """

    name: str
    kind: str
    layer: str
    reads: str
    writes: Activation
    weights_type: Any
    weights: dict[str, Parameter | str]
    kept_type: Any = None
    kept: dict[str, Activation] = field(default_factory=dict)
    settings: Any = None
    backward_settings: dict[str, Any] = field(default_factory=dict)
    keywords: dict[str, Any] = field(default_factory=dict)
    reads_type: Any = None
    also_reads: dict[str, str] = field(default_factory=dict)
    taps: dict[str, str] = field(default_factory=dict)
    site: int | None = None

    @property
    def parameters(self) -> Iterator[Parameter]:
        """The weights that belong to this stage (the others are another's, or fixed)."""
        return (weight for weight in self.weights.values() if isinstance(weight, Parameter))

    @property
    def activations(self) -> Iterator[Activation]:
        """What forward writes, in the order of the computation."""
        yield from self.kept.values()
        yield self.writes

    def weight_name(self, argument: str) -> str | None:
        """The name of a weight, or None where the model does not have it."""
        weight = self.weights.get(argument)
        return weight.name if isinstance(weight, Parameter) else weight

    def array_name(self, argument: str) -> str | None:
        """The name of the array that a field or argument of the layer stands for."""
        if argument == "x":
            return self.reads
        if argument == "out":
            return self.writes.name
        if argument in self.kept:
            return self.kept[argument].name
        others = self.taps | self.also_reads
        return others.get(argument) or self.weight_name(argument)


def norm_weights(name: str, config: ModelConfig) -> dict[str, Parameter | str]:
    """The weights of a norm, as fields of a sublayer's; RMSNorm has no bias."""
    C = config.n_embd
    weights: dict[str, Parameter | str] = {"ln_weight": Parameter(f"{name}.weight", (C,), "one")}
    if config.bias and config.norm != RMSNORM:
        weights["ln_bias"] = Parameter(f"{name}.bias", (C,), "zero")
    return weights


def linear(
    argument: str,
    name: str,
    width_in: int,
    width_out: int,
    config: ModelConfig,
    *,
    start: str = "normal",
    parts: int = 1,
) -> dict[str, Parameter | str]:
    """The weights of a linear layer, (in, out) as in `x @ weight + bias`, as fields."""
    weight = Parameter(f"{name}.weight", (width_in, width_out), start, parts)
    weights: dict[str, Parameter | str] = {f"{argument}_weight": weight}
    if config.bias:
        weights[f"{argument}_bias"] = Parameter(f"{name}.bias", (width_out,), "zero")
    return weights


def norm_outputs(name: str, config: ModelConfig, positions: str = "T") -> dict[str, Activation]:
    """What a norm writes, as fields; all outputs share a buffer, and RMSNorm has no mean."""
    names = ("rstd",) if config.norm == RMSNORM else ("mean", "rstd")
    kept = {field: statistic(f"{name}.{field}", "B", positions) for field in names}
    shape: Dimensions = ("B", positions, config.n_embd)
    return kept | {"norm": Activation(f"{name}.out", shape, buffer="norm", grad_buffer="norm")}


def sized(shape: Dimensions, B: int, T: int, S: int = 0) -> Shape:
    """A shape for B sequences of T positions, with sources of S positions."""
    sizes = {"B": B, "T": T, "S": S}
    return tuple(sizes[size] if isinstance(size, str) else size for size in shape)


def within_stack(name: str) -> tuple[str, str]:
    """The stack of a Transformer that an array belongs to, or "", and the rest of its name."""
    first, _, rest = name.partition(".")
    return (first, rest) if first in STACKS else ("", name)
