"""The block diagram as data: which layers a model has, in order, and everything that each touches.

A stage is one pair of layer functions with the names and shapes of its weights and of what forward
keeps for backward, the stream it reads and the stream it writes. From this table follow the
parameters and their initialisation, the activations and which of them share a buffer, the calls of
both passes, memory and FLOPs, the diagram of a trace, and where hooks can take hold.

Names are GPT-2's. Shapes are tuples of integers, "B" (sequences) and "T" (positions).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from gpt_numpy.base.arrays import Shape
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.reference.attention_sublayer import (
    AttentionKept,
    AttentionSettings,
    AttentionWeights,
)
from gpt_numpy.reference.embedding import EmbeddingWeights
from gpt_numpy.reference.head import HeadKept, HeadSettings, HeadWeights
from gpt_numpy.reference.mlp_sublayer import MLPKept, MLPSettings, MLPWeights
from gpt_numpy.reference.norms import RMSNORM

Dimensions: TypeAlias = tuple[int | str, ...]

# The names of fixed tables among the weights: of positions, and of the turns of rotary ones.
SINUSOIDS, ROTATIONS = "sinusoids", "rotations"
FIXED = (SINUSOIDS, ROTATIONS)


class Parameter(NamedTuple):
    """A weight: its name, its shape, and how it starts ("normal", "residual", "one", "zero")."""

    name: str
    shape: Shape
    start: str = "normal"


class Activation(NamedTuple):
    """What a layer writes, and where it and its gradient lie.

    `buffer` and `grad_buffer` name buffers that several activations share, because no two of them
    are needed at once; None: a buffer of its own. `grad` is False for statistics (mean, rstd, lse):
    no gradient is passed for them, the layer's backward differentiates through them itself.
    `half` is True for what may be stored as bfloat16 numbers, in 16 bits, with such products.
    """

    name: str
    shape: Dimensions
    buffer: str | None = None
    grad_buffer: str | None = None
    grad: bool = True
    half: bool = False


def statistic(name: str, *shape: int | str) -> Activation:
    """A small activation without a gradient: a mean, a reciprocal deviation, a log-sum-exp."""
    return Activation(name, shape, grad=False)


@dataclass(frozen=True)
class Stage:
    """One pair of functions, `{layer}_forward` and `{layer}_backward`, and all that it touches.

    `weights` and `kept` map the fields of the named tuples `weights_type` and `kept_type` to
    arrays; a field of theirs that the model does not have (a bias, say) is None. `settings` is
    the named tuple of how both functions compute, whose field `precision` the model fills in;
    `backward_settings` go to backward alone.
    `also_reads` maps arguments to arrays other than the stream. `taps` names what passes within the
    layer without being kept. `site` is the first dropout site; None: no dropout.
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


RESIDUAL = "resid"  # the gradient of the residual stream is one buffer, handed from stage to stage


def gpt(config: GPTConfig) -> Iterator[Stage]:
    """The stages of GPT-2, in the order of the forward pass."""
    yield embedding(config)
    stream = "embedding.out"
    for i in range(config.n_layer):
        yield attention(i, stream, config)
        yield mlp(i, config)
        stream = f"h.{i}.resid_post"
    yield head(stream, config)


def embedding(config: GPTConfig) -> Stage:
    """Tokens and positions to the first residual stream; dropout site 0."""
    C = config.n_embd
    tables: dict[str, Parameter | str] = {
        "learned": Parameter("wpe.weight", (config.block_size, C)),
        "sinusoidal": SINUSOIDS,
    }
    wte = Parameter("wte.weight", (config.vocab_size, C))
    positions = {"wpe": tables[config.positions]} if config.positions in tables else {}
    return Stage(
        name="embedding", kind="embedding", layer="embedding", reads="tokens",
        writes=Activation("embedding.out", ("B", "T", C), grad_buffer=RESIDUAL),
        weights_type=EmbeddingWeights,
        weights={"wte": wte, **positions},
        backward_settings={"tied": config.tied},
        site=0,
    )  # fmt: skip


def attention(i: int, stream: str, config: GPTConfig) -> Stage:
    """The attention sublayer of block i: sites 3 i + 1 (weights) and 3 i + 2 (branch)."""
    C, H, G, D, block = config.n_embd, config.n_head, config.n_groups, config.head_size, f"h.{i}"
    return Stage(
        name=f"{block}.attn", kind="attention", layer="attention_sublayer", reads=stream,
        writes=Activation(f"{block}.resid_mid", ("B", "T", C), grad_buffer=RESIDUAL),
        weights_type=AttentionWeights,
        weights={
            **norm_weights(f"{block}.ln_1", config),
            **linear("qkv", f"{block}.attn.c_attn", C, C + 2 * G * D, config),
            **queries_keys_weights(f"{block}.attn", config),
            **linear("proj", f"{block}.attn.c_proj", C, C, config, start=residual_start(config)),
        },
        kept_type=AttentionKept,
        kept={
            **norm_outputs(f"{block}.ln_1", config),
            **qkv_outputs(f"{block}.attn", config),
            "lse": statistic(f"{block}.attn.lse", "B", H, "T"),
            "attn": Activation(f"{block}.attn.out", ("B", "T", C), grad_buffer="attn", half=True),
        },
        settings=AttentionSettings(H, G, config.norm),
        taps={"branch": f"{block}.attn.proj"},
        site=3 * i + 1,
    )  # fmt: skip


def mlp(i: int, config: GPTConfig) -> Stage:
    """The MLP sublayer of block i: site 3 i + 3."""
    C, F, block = config.n_embd, config.n_hidden, f"h.{i}"
    gated = config.activation == "swiglu"  # two channels for each of act, and not in place
    wide = 2 * F if gated else F
    return Stage(
        name=f"{block}.mlp", kind="MLP", layer="mlp_sublayer", reads=f"{block}.resid_mid",
        writes=Activation(f"{block}.resid_post", ("B", "T", C), grad_buffer=RESIDUAL),
        weights_type=MLPWeights,
        weights={
            **norm_weights(f"{block}.ln_2", config),
            **linear("fc", f"{block}.mlp.c_fc", C, wide, config),
            **linear("proj", f"{block}.mlp.c_proj", F, C, config, start=residual_start(config)),
        },
        kept_type=MLPKept,
        kept={
            **norm_outputs(f"{block}.ln_2", config),
            "fc": Activation(
                f"{block}.mlp.fc", ("B", "T", wide), grad_buffer="hidden", half=not gated
            ),
            # dact lies where dfc does: the nonlinearity's backward works in place.
            "act": Activation(
                f"{block}.mlp.act", ("B", "T", F), buffer="act",
                grad_buffer="act" if gated else "hidden", half=not gated,
            ),
        },
        settings=MLPSettings(config.activation, config.norm),
        taps={"branch": f"{block}.mlp.proj"},
        site=3 * i + 3,
    )  # fmt: skip


def head(stream: str, config: GPTConfig) -> Stage:
    """The last norm, the logits and the loss of each position."""
    C, V = config.n_embd, config.vocab_size
    return Stage(
        name="head", kind="head and loss", layer="head_loss", reads=stream,
        writes=Activation("losses", ("B", "T")),
        weights_type=HeadWeights,
        weights={
            **norm_weights("ln_f", config),
            "weight": "wte.weight"
            if config.tied
            else Parameter("lm_head.weight", (V, C), config.init_head),
        },
        kept_type=HeadKept,
        kept={
            **norm_outputs("ln_f", config),
            "logits": Activation("logits", ("B", "T", V)),
            "lse": statistic("lse", "B", "T"),
        },
        settings=HeadSettings(config.norm, config.logit_softcap),
        also_reads={"targets": "targets"},
    )  # fmt: skip


def norm_weights(name: str, config: GPTConfig) -> dict[str, Parameter | str]:
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
    config: GPTConfig,
    *,
    start: str = "normal",
) -> dict[str, Parameter | str]:
    """The weights of a linear layer, (in, out) as in `x @ weight + bias`, as fields."""
    weight = Parameter(f"{name}.weight", (width_in, width_out), start)
    weights: dict[str, Parameter | str] = {f"{argument}_weight": weight}
    if config.bias:
        weights[f"{argument}_bias"] = Parameter(f"{name}.bias", (width_out,), "zero")
    return weights


def residual_start(config: GPTConfig) -> str:
    """How the projections to the residual stream start."""
    return "zero" if config.init_residual == "zero" else "residual"


def queries_keys_weights(name: str, config: GPTConfig) -> dict[str, Parameter | str]:
    """The weights of QK norm and the turns of rotary positions, as fields of attention's."""
    weights: dict[str, Parameter | str] = {}
    if config.qk_norm:
        for letter in "qk":
            shape = (config.head_size,)
            weights[f"{letter}_norm"] = Parameter(f"{name}.{letter}_norm.weight", shape, "one")
    if config.positions == "rotary":
        weights["rotations"] = ROTATIONS
    return weights


def qkv_outputs(name: str, config: GPTConfig) -> dict[str, Activation]:
    """Queries, keys and values, and what attention reads if that is something else, as fields.

    Their gradients lie where dfc did: the MLP's backward of this block has ended by then. Of qkv
    backward needs what a norm read, but nothing where queries and keys only turn.
    """
    shape: Dimensions = ("B", "T", config.n_embd + 2 * config.n_groups * config.head_size)
    turned = config.positions == "rotary"
    buffer = "qkv" if turned and not config.qk_norm else None
    ready = turned or config.qk_norm
    qkv = Activation(f"{name}.qkv", shape, buffer=buffer, grad_buffer="hidden", half=not ready)
    kept = {"qkv": qkv}
    if ready:
        kept["ready"] = Activation(f"{name}.ready", shape, grad_buffer="hidden")
    return kept


def norm_outputs(name: str, config: GPTConfig) -> dict[str, Activation]:
    """What a norm writes, as fields; all outputs share a buffer, and RMSNorm has no mean."""
    names = ("rstd",) if config.norm == RMSNORM else ("mean", "rstd")
    kept = {field: statistic(f"{name}.{field}", "B", "T") for field in names}
    shape: Dimensions = ("B", "T", config.n_embd)
    return kept | {"norm": Activation(f"{name}.out", shape, buffer="norm", grad_buffer="norm")}


def sized(shape: Dimensions, B: int, T: int) -> Shape:
    """A shape for B sequences of T positions."""
    sizes = {"B": B, "T": T}
    return tuple(sizes[size] if isinstance(size, str) else size for size in shape)


def parameters(config: GPTConfig) -> dict[str, Parameter]:
    """Every parameter by name: GPT-2's names, in GPT-2's order and layout."""
    return {weight.name: weight for stage in gpt(config) for weight in stage.parameters}


def parameter_shapes(config: GPTConfig) -> dict[str, Shape]:
    """The shape of every parameter. Source: the state dictionary of GPT-2 (Hugging Face)."""
    return {name: weight.shape for name, weight in parameters(config).items()}


def activations(config: GPTConfig) -> dict[str, Activation]:
    """Every activation by name, in the order of the forward pass."""
    return {array.name: array for stage in gpt(config) for array in stage.activations}


def activation_shapes(config: GPTConfig, B: int, T: int) -> dict[str, Shape]:
    """The shape of every activation of B sequences of T positions."""
    return {name: sized(array.shape, B, T) for name, array in activations(config).items()}
