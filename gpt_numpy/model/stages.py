"""The block diagram as data: which layers a model has, in order, and everything that each touches.

From this table follow the parameters and their initialisation, the activations and which of them
share a buffer, the calls of both passes, memory and FLOPs, the diagram of a trace, and where hooks
can take hold. What a stage is stands in stage.py; the table here is GPT's, that of the Transformer
is in transformer_stages.py.
"""

from collections.abc import Iterator

from gpt_numpy.base.arrays import Shape
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.model.stage import (
    RESIDUAL,
    ROTATIONS,
    SINUSOIDS,
    Activation,
    Dimensions,
    ModelConfig,
    Parameter,
    Stage,
    linear,
    norm_outputs,
    norm_weights,
    sized,
    statistic,
)
from gpt_numpy.model.transformer_stages import transformer
from gpt_numpy.reference.attention_sublayer import (
    AttentionKept,
    AttentionSettings,
    AttentionWeights,
)
from gpt_numpy.reference.embedding import EmbeddingWeights
from gpt_numpy.reference.head import HeadKept, HeadSettings, HeadWeights
from gpt_numpy.reference.mlp_sublayer import MLPKept, MLPSettings, MLPWeights


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
            "attn": Activation(f"{block}.attn.out", ("B", "T", C), grad_buffer="norm", half=True),
        },
        settings=AttentionSettings(H, G, config.norm, norm_eps=config.norm_eps),
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
                again=None if gated else f"{block}.mlp.fc",
            ),
        },
        settings=MLPSettings(config.activation, config.norm, norm_eps=config.norm_eps),
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
        settings=HeadSettings(config.norm, config.logit_softcap, norm_eps=config.norm_eps),
        also_reads={"targets": "targets"},
    )  # fmt: skip


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


def stages_of(config: ModelConfig) -> Iterator[Stage]:
    """The stages of either kind of model, in the order of the forward pass."""
    return gpt(config) if isinstance(config, GPTConfig) else transformer(config)


def inputs(config: ModelConfig) -> dict[str, Dimensions]:
    """The arrays of integers that the stages read, with their shapes."""
    arrays: dict[str, Dimensions] = {"tokens": ("B", "T"), "targets": ("B", "T")}
    if not isinstance(config, GPTConfig):
        arrays |= {"source": ("B", "S"), "lengths": ("B",)}
    return arrays


def parameters(config: ModelConfig) -> dict[str, Parameter]:
    """Every parameter by name: GPT-2's names, in GPT-2's order and layout."""
    return {weight.name: weight for stage in stages_of(config) for weight in stage.parameters}


def parameter_shapes(config: ModelConfig) -> dict[str, Shape]:
    """The shape of every parameter. Source: the state dictionary of GPT-2 (Hugging Face)."""
    return {name: weight.shape for name, weight in parameters(config).items()}


def activations(config: ModelConfig) -> dict[str, Activation]:
    """Every activation by name, in the order of the forward pass."""
    return {array.name: array for stage in stages_of(config) for array in stage.activations}


def activation_shapes(config: ModelConfig, B: int, T: int, S: int = 0) -> dict[str, Shape]:
    """The shape of every activation of B sequences of T positions, with sources of S positions."""
    return {name: sized(array.shape, B, T, S) for name, array in activations(config).items()}
