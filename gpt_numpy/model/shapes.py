"""The shapes of all parameters and activations of a GPT."""

from gpt_numpy.base.arrays import Shape
from gpt_numpy.config.gpt import GPTConfig


def parameter_shapes(config: GPTConfig) -> dict[str, Shape]:
    """The shape of every parameter, under GPT-2's own names and in GPT-2's own layout.

    Weights are (in, out), as in `x @ weight + bias`; the two embeddings and an untied head are
    (rows, C). Source: the state dictionary of GPT-2 as published by Hugging Face.
    """
    C, F, V = config.n_embd, config.n_hidden, config.vocab_size
    shapes: dict[str, Shape] = {"wte.weight": (V, C)}
    if config.positions == "learned":
        shapes["wpe.weight"] = (config.block_size, C)
    for i in range(config.n_layer):
        block = f"h.{i}"
        shapes[f"{block}.ln_1.weight"] = (C,)
        shapes[f"{block}.ln_1.bias"] = (C,)
        shapes[f"{block}.attn.c_attn.weight"] = (C, 3 * C)
        shapes[f"{block}.attn.c_attn.bias"] = (3 * C,)
        shapes[f"{block}.attn.c_proj.weight"] = (C, C)
        shapes[f"{block}.attn.c_proj.bias"] = (C,)
        shapes[f"{block}.ln_2.weight"] = (C,)
        shapes[f"{block}.ln_2.bias"] = (C,)
        shapes[f"{block}.mlp.c_fc.weight"] = (C, F)
        shapes[f"{block}.mlp.c_fc.bias"] = (F,)
        shapes[f"{block}.mlp.c_proj.weight"] = (F, C)
        shapes[f"{block}.mlp.c_proj.bias"] = (C,)
    shapes["ln_f.weight"] = (C,)
    shapes["ln_f.bias"] = (C,)
    if not config.tied:
        shapes["lm_head.weight"] = (V, C)
    if not config.bias:
        shapes = {name: s for name, s in shapes.items() if not name.endswith(".bias")}
    return shapes


def activation_shapes(config: GPTConfig, batch: int, length: int) -> dict[str, Shape]:
    """The shape of every activation of a batch of `batch` sequences of `length` positions.

    The names follow the parameters: `h.2.attn.out` is what the attention of block 2 computes from
    `h.2.attn.qkv`; `h.2.resid_mid` and `h.2.resid_post` are the residual stream after its two
    sublayers.
    """
    B, T, C, H = batch, length, config.n_embd, config.n_head
    shapes: dict[str, Shape] = {"embedding.out": (B, T, C)}
    for i in range(config.n_layer):
        block = f"h.{i}"
        shapes[f"{block}.ln_1.mean"] = (B, T)
        shapes[f"{block}.ln_1.rstd"] = (B, T)
        shapes[f"{block}.ln_1.out"] = (B, T, C)
        shapes[f"{block}.attn.qkv"] = (B, T, 3 * C)
        shapes[f"{block}.attn.lse"] = (B, H, T)
        shapes[f"{block}.attn.out"] = (B, T, C)
        shapes[f"{block}.resid_mid"] = (B, T, C)
        shapes[f"{block}.ln_2.mean"] = (B, T)
        shapes[f"{block}.ln_2.rstd"] = (B, T)
        shapes[f"{block}.ln_2.out"] = (B, T, C)
        shapes[f"{block}.mlp.fc"] = (B, T, config.n_hidden)
        shapes[f"{block}.mlp.act"] = (B, T, config.n_hidden)
        shapes[f"{block}.resid_post"] = (B, T, C)
    shapes["ln_f.mean"] = (B, T)
    shapes["ln_f.rstd"] = (B, T)
    shapes["ln_f.out"] = (B, T, C)
    shapes["logits"] = (B, T, config.vocab_size)
    shapes["lse"] = (B, T)
    shapes["losses"] = (B, T)
    return shapes
