"""The block diagram of the Transformer: an encoder, a decoder that attends to its output, a head.

Source: Vaswani et al., "Attention Is All You Need" (2017), figure 1. What a stage is, and what
follows from the list, stands in stage.py and stages.py. With norm_place="post" each sublayer writes
its sum, and a norm, a stage of its own, takes it to the stream; with "pre" the norm is inside of
the sublayer, and one more follows the last block of each stack.

Names are GPT-2's behind "encoder." or "decoder."; `ln_1` to `ln_3` belong to the sublayers in their
order, `cross` is attention to the encoder's output. Source, target and head share wte.weight.
"""

import dataclasses
import math
from collections.abc import Iterator

from gpt_numpy.config.transformer import TransformerConfig
from gpt_numpy.model.stage import (
    RESIDUAL,
    SINUSOIDS,
    Activation,
    Parameter,
    Stage,
    linear,
    norm_outputs,
    norm_weights,
    statistic,
)
from gpt_numpy.reference.attention_sublayer import (
    AttentionKept,
    AttentionSettings,
    AttentionWeights,
)
from gpt_numpy.reference.cross_attention_sublayer import (
    CrossAttentionKept,
    CrossAttentionSettings,
    CrossAttentionWeights,
    Streams,
)
from gpt_numpy.reference.embedding import EmbeddingWeights
from gpt_numpy.reference.head import HeadKept, HeadSettings, HeadWeights
from gpt_numpy.reference.mlp_sublayer import MLPKept, MLPSettings, MLPWeights
from gpt_numpy.reference.norm_layer import NormKept, NormWeights
from gpt_numpy.reference.norms import NO_NORM

MEMORY = "encoder.out"  # what every decoder block attends to


def transformer(config: TransformerConfig) -> Iterator[Stage]:
    """The stages in the order of the forward pass."""
    yield from encoder(config)
    yield from decoder(config)


def encoder(config: TransformerConfig) -> Iterator[Stage]:
    """The source's stream: self-attention to all of it, MLP, in every block."""
    wte = Parameter("wte.weight", (config.vocab_size, config.n_embd), "embedding")
    yield _embedding("encoder", "source", wte, 0, config)
    stream, last = "encoder.embedding.out", config.n_layer - 1
    for i in range(config.n_layer):
        block = f"encoder.h.{i}"
        attended = f"{block}.resid_mid"
        done = MEMORY if i == last and config.norm_place == "post" else f"{block}.resid_post"
        yield from _self_attention(block, (stream, attended), 3 * i + 1, config)
        yield from _mlp(block, "ln_2", (attended, done), 3 * i + 3, config)
        stream = done
    if config.norm_place == "pre":
        yield _norm("encoder.ln_f", stream, MEMORY, config)


def decoder(config: TransformerConfig) -> Iterator[Stage]:
    """The target's stream: causal self-attention, cross-attention, MLP; then head and loss."""
    first = 3 * config.n_layer + 1
    yield _embedding("decoder", "tokens", "wte.weight", first, config)
    stream = "decoder.embedding.out"
    for i in range(config.n_layer):
        block, site = f"decoder.h.{i}", first + 1 + 5 * i
        attended, crossed, done = (f"{block}.resid_{x}" for x in ("mid", "cross", "post"))
        yield from _self_attention(block, (stream, attended), site, config)
        yield from _cross_attention(block, (attended, crossed), site + 2, config)
        yield from _mlp(block, "ln_3", (crossed, done), site + 4, config)
        stream = done
    yield _head(stream, config)


def _embedding(
    stack: str, tokens: str, wte: Parameter | str, site: int, config: TransformerConfig
) -> Stage:
    """Tokens, times sqrt(C), and sinusoids."""
    shape = ("B", _positions_of(stack), config.n_embd)
    return Stage(
        name=f"{stack}.embedding", kind="embedding", layer="embedding", reads=tokens,
        writes=Activation(f"{stack}.embedding.out", shape, grad_buffer=RESIDUAL),
        weights_type=EmbeddingWeights,
        weights={"wte": wte, "wpe": SINUSOIDS},
        backward_settings={"tied": True},
        keywords={"scale": math.sqrt(config.n_embd)},
        site=site,
    )  # fmt: skip


def _self_attention(
    block: str, streams: tuple[str, str], site: int, config: TransformerConfig
) -> Iterator[Stage]:
    """Attention within one stream: to all of a source, or causal; sites `site` and the next."""
    C, H, P = config.n_embd, config.n_head, _positions_of(block)
    kept = {
        "qkv": Activation(f"{block}.attn.qkv", ("B", P, 3 * C), grad_buffer="hidden", half=True),
        "lse": statistic(f"{block}.attn.lse", "B", H, P),
        "attn": Activation(f"{block}.attn.out", ("B", P, C), grad_buffer="norm", half=True),
    }
    yield from _with_norm(f"{block}.ln_1", streams[1], config, Stage(
        name=f"{block}.attn", kind="attention", layer="attention_sublayer", reads=streams[0],
        writes=Activation(f"{block}.attn.sum", ("B", P, C), grad_buffer=RESIDUAL),
        weights_type=AttentionWeights,
        weights={
            **linear("qkv", f"{block}.attn.c_attn", C, 3 * C, config, start="glorot", parts=3),
            **linear("proj", f"{block}.attn.c_proj", C, C, config, start="glorot"),
        },
        kept_type=AttentionKept, kept=kept,
        settings=AttentionSettings(H, H, _kind_of(config)),
        also_reads={"lengths": "lengths"} if P == "S" else {},
        taps={"branch": f"{block}.attn.proj"},
        site=site,
    ))  # fmt: skip


def _cross_attention(
    block: str, streams: tuple[str, str], site: int, config: TransformerConfig
) -> Iterator[Stage]:
    """Attention to the encoder's output; sites `site` and the next.

    Backward begins with the last block, which assigns the gradient that the others add to.
    """
    C, H, last = config.n_embd, config.n_head, f"decoder.h.{config.n_layer - 1}"
    kept = {
        "q": Activation(f"{block}.cross.q", ("B", "T", C), grad_buffer="hidden", half=True),
        "kv": Activation(f"{block}.cross.kv", ("B", "S", 2 * C), grad_buffer="kv", half=True),
        "lse": statistic(f"{block}.cross.lse", "B", H, "T"),
        "attn": Activation(f"{block}.cross.out", ("B", "T", C), grad_buffer="norm", half=True),
    }
    yield from _with_norm(f"{block}.ln_2", streams[1], config, Stage(
        name=f"{block}.cross", kind="cross-attention", layer="cross_attention_sublayer",
        reads=streams[0], reads_type=Streams,
        writes=Activation(f"{block}.cross.sum", ("B", "T", C), grad_buffer=RESIDUAL),
        weights_type=CrossAttentionWeights,
        weights={
            **linear("q", f"{block}.cross.c_q", C, C, config, start="glorot"),
            **linear("kv", f"{block}.cross.c_kv", C, 2 * C, config, start="glorot", parts=2),
            **linear("proj", f"{block}.cross.c_proj", C, C, config, start="glorot"),
        },
        kept_type=CrossAttentionKept, kept=kept,
        settings=CrossAttentionSettings(H, _kind_of(config), adds=block != last),
        also_reads={"memory": MEMORY, "lengths": "lengths"},
        taps={"branch": f"{block}.cross.proj"},
        site=site,
    ))  # fmt: skip


def _mlp(
    block: str, ln: str, streams: tuple[str, str], site: int, config: TransformerConfig
) -> Iterator[Stage]:
    """ReLU between two linear layers."""
    C, F, P = config.n_embd, config.n_hidden, _positions_of(block)
    hidden = ("B", P, F)
    kept = {
        "fc": Activation(f"{block}.mlp.fc", hidden, grad_buffer="hidden", half=True),
        "act": Activation(
            f"{block}.mlp.act",
            hidden,
            "act",
            grad_buffer="hidden",
            half=True,
            again=f"{block}.mlp.fc",
        ),
    }
    yield from _with_norm(f"{block}.{ln}", streams[1], config, Stage(
        name=f"{block}.mlp", kind="MLP", layer="mlp_sublayer", reads=streams[0],
        writes=Activation(f"{block}.mlp.sum", ("B", P, C), grad_buffer=RESIDUAL),
        weights_type=MLPWeights,
        weights={
            **linear("fc", f"{block}.mlp.c_fc", C, F, config, start="glorot"),
            **linear("proj", f"{block}.mlp.c_proj", F, C, config, start="glorot"),
        },
        kept_type=MLPKept, kept=kept,
        settings=MLPSettings("relu", _kind_of(config)),
        taps={"branch": f"{block}.mlp.proj"},
        site=site,
    ))  # fmt: skip


def _norm(name: str, reads: str, writes: str, config: TransformerConfig) -> Stage:
    """A norm of its own; only the encoder's output has a gradient outside of the stream's."""
    P = _positions_of(name)
    grad_buffer = None if writes == MEMORY else RESIDUAL
    return Stage(
        name=name, kind="norm", layer="norm_layer", reads=reads,
        writes=Activation(writes, ("B", P, config.n_embd), grad_buffer=grad_buffer),
        weights_type=NormWeights, weights=norm_weights(name, config),
        kept_type=NormKept,
        kept={field: statistic(f"{name}.{field}", "B", P) for field in ("mean", "rstd")},
    )  # fmt: skip


def _head(stream: str, config: TransformerConfig) -> Stage:
    """The logits of the next token and the loss of each position, after a norm if it is "pre"."""
    return Stage(
        name="head", kind="head and loss", layer="head_loss", reads=stream,
        writes=Activation("losses", ("B", "T")),
        weights_type=HeadWeights,
        weights={**_weights_in_front("decoder.ln_f", config), "weight": "wte.weight"},
        kept_type=HeadKept,
        kept={
            **_outputs_in_front("decoder.ln_f", "head", config),
            "logits": Activation("logits", ("B", "T", config.vocab_size)),
            "lse": statistic("lse", "B", "T"),
        },
        settings=HeadSettings(_kind_of(config), smoothing=config.label_smoothing),
        also_reads={"targets": "targets"},
    )  # fmt: skip


def _positions_of(name: str) -> str:
    """The number of positions in the stack that a name belongs to: S of the source, or T."""
    return "S" if name.startswith("encoder") else "T"


def _kind_of(config: TransformerConfig) -> str:
    """The kind of norm at the beginning of a sublayer."""
    return NO_NORM if config.norm_place == "post" else config.norm


def _weights_in_front(name: str, config: TransformerConfig) -> dict[str, Parameter | str]:
    """The weights of the norm at the beginning of a sublayer, as its fields."""
    return {} if config.norm_place == "post" else norm_weights(name, config)


def _outputs_in_front(name: str, sublayer: str, config: TransformerConfig) -> dict[str, Activation]:
    """What that norm writes; without one it is what the sublayer reads."""
    kept = norm_outputs(name, config, _positions_of(name))
    if config.norm_place == "pre":
        return kept
    return {"norm": kept["norm"]._replace(name=f"{sublayer}.in")}


def _with_norm(
    name: str, writes: str, config: TransformerConfig, sublayer: Stage
) -> Iterator[Stage]:
    """A sublayer with its norm, `name`, at its beginning, or after its sum."""
    post = config.norm_place == "post"
    out = sublayer.writes if post else sublayer.writes._replace(name=writes)
    yield dataclasses.replace(
        sublayer,
        weights=_weights_in_front(name, config) | sublayer.weights,
        kept=_outputs_in_front(name, sublayer.name, config) | sublayer.kept,
        writes=out,
    )
    if post:
        yield _norm(name, out.name, writes, config)
