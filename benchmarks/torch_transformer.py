"""The same encoder-decoder in PyTorch, as fast as PyTorch allows: the opponent of bench_pairs
and real_pairs.

scaled_dot_product_attention with a mask of the padding, label smoothing in the cross-entropy,
dropout by PyTorch's own generator, fused Adam, gradients set to none. One table of embeddings.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from gpt_numpy import TransformerConfig
from gpt_numpy.config.transformer import BEGIN, END, PAD


class Attention(nn.Module):
    """Queries of one stream, keys and values of another, or of the same."""

    def __init__(self, config: TransformerConfig, *, within: bool) -> None:
        super().__init__()
        C, bias = config.n_embd, config.bias
        self.n_head, self.dropout, self.within = config.n_head, config.dropout, within
        if within:
            self.c_attn = nn.Linear(C, 3 * C, bias=bias)
        else:
            self.c_q, self.c_kv = nn.Linear(C, C, bias=bias), nn.Linear(C, 2 * C, bias=bias)
        self.c_proj = nn.Linear(C, C, bias=bias)

    def forward(
        self, x: torch.Tensor, memory: torch.Tensor | None, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """What is added to the stream, (B, T, C); without a mask it is causal."""
        if memory is None:
            streams = self.c_attn(x).chunk(3, dim=-1)
        else:
            streams = (self.c_q(x), *self.c_kv(memory).chunk(2, dim=-1))
        q, k, v = (s.unflatten(-1, (self.n_head, -1)).transpose(1, 2) for s in streams)
        rate = self.dropout if self.training else 0.0
        attn = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, dropout_p=rate
        )
        return self.c_proj(attn.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Two sublayers of an encoder, or three of a decoder, each with its norm."""

    def __init__(self, config: TransformerConfig, *, crossed: bool) -> None:
        super().__init__()
        C, bias = config.n_embd, config.bias
        self.post, self.rate = config.norm_place == "post", config.dropout
        self.attn = Attention(config, within=True)
        self.cross = Attention(config, within=False) if crossed else None
        self.c_fc = nn.Linear(C, config.n_hidden, bias=bias)
        self.c_proj = nn.Linear(config.n_hidden, C, bias=bias)
        self.norms = nn.ModuleList(nn.LayerNorm(C, bias=bias) for _ in range(2 + crossed))

    def forward(self, x, memory, own_mask, source_mask):  # type: ignore[no-untyped-def]
        """The stream after the block."""
        inside = [lambda h: self.attn(h, None, own_mask)]
        if self.cross is not None:
            inside.append(lambda h: self.cross(h, memory, source_mask))
        inside.append(lambda h: self.c_proj(F.relu(self.c_fc(h))))
        for norm, sublayer in zip(self.norms, inside, strict=True):
            if self.post:
                x = norm(x + F.dropout(sublayer(x), self.rate, self.training))
            else:
                x = x + F.dropout(sublayer(norm(x)), self.rate, self.training)
        return x


class TorchTransformer(nn.Module):
    """The architecture of a `TransformerConfig`."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        C = config.n_embd
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, C)
        self.encoder = nn.ModuleList(Block(config, crossed=False) for _ in range(config.n_layer))
        self.decoder = nn.ModuleList(Block(config, crossed=True) for _ in range(config.n_layer))
        pre = config.norm_place == "pre"
        self.norms = nn.ModuleList(nn.LayerNorm(C, bias=config.bias) for _ in range(2 * pre))
        size = max(config.source_size, config.target_size)
        angles = torch.arange(size)[:, None] / 10000 ** (torch.arange(0, C, 2) / C)
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        self.register_buffer("waves", waves, persistent=False)

    def embedded(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens, times sqrt(C), and sinusoids, after dropout."""
        x = self.wte(tokens) * math.sqrt(self.config.n_embd) + self.waves[: tokens.shape[1]]
        return F.dropout(x, self.config.dropout, self.training)

    def encode(self, source: torch.Tensor) -> torch.Tensor:
        """What the decoder attends to, (B, S, C)."""
        x = self.embedded(source)
        for block in self.encoder:
            x = block(x, None, seen_of(source), None)
        return self.norms[0](x) if self.norms else x

    def decode(
        self, source: torch.Tensor, memory: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """The logits of the token after each position of a target, (B, T, V)."""
        y = self.embedded(target)
        for block in self.decoder:
            y = block(y, memory, None, seen_of(source))
        y = self.norms[1](y) if self.norms else y
        return y @ self.wte.weight.T

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean loss over the targets that are not padding; smoothed in training."""
        logits = self.decode(source, self.encode(source), target[:, :-1])
        smoothing = self.config.label_smoothing if self.training else 0.0
        return F.cross_entropy(
            logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD,
            label_smoothing=smoothing,
        )  # fmt: skip

    def greedy(self, source: torch.Tensor) -> torch.Tensor:
        """The most likely token each time, (B, at most target_size), with what follows END."""
        memory = self.encode(source)
        written = torch.full((len(source), 1), BEGIN)
        while written.shape[1] < self.config.target_size and not (written == END).any(1).all():
            logits = self.decode(source, memory, written)[:, -1]
            logits[:, :END] = -torch.inf  # PAD and BEGIN are never written
            written = torch.cat([written, logits.argmax(1, keepdim=True)], 1)
        return written


def seen_of(source: torch.Tensor) -> torch.Tensor:
    """Which positions of a source are not padding, as a mask of attention."""
    return (source != PAD)[:, None, None, :]


class TorchPairTrainer:
    """A training step in PyTorch: forward, backward, Adam as in the paper."""

    def __init__(self, config: TransformerConfig, weights: dict, *, compiled: bool) -> None:
        self.model = TorchTransformer(config)
        load(self.model, weights)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, fused=True
        )
        self.loss = torch.compile(self.model) if compiled else self.model

    def step(self, source: torch.Tensor, target: torch.Tensor) -> float:
        """The loss before the update."""
        loss = self.loss(source, target)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


def load(model: TorchTransformer, weights: dict) -> None:
    """Copy our parameters, (in, out), to PyTorch's, (out, in)."""
    state = {}
    for name, array in weights.items():
        tensor = torch.tensor(array)
        for old, new in (
            (".h.", "."),
            (".mlp.", "."),
            ("encoder.ln_f", "norms.0"),
            ("decoder.ln_f", "norms.1"),
            *((f".ln_{k}.", f".norms.{k - 1}.") for k in (1, 2, 3)),
        ):
            name = name.replace(old, new)
        state[name] = tensor.t().contiguous() if "c_" in name and tensor.ndim == 2 else tensor
    model.load_state_dict(state)
