"""The same GPT in PyTorch, as fast as PyTorch allows: what this project is measured against.

scaled_dot_product_attention, tied head, tanh GELU, no dropout, fused AdamW, gradients set to none.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gpt_numpy import GPTConfig


class Block(nn.Module):
    """Attention and MLP, each added to the residual stream."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        C, bias = config.n_embd, config.bias
        self.n_head = config.n_head
        self.ln_1, self.ln_2 = nn.LayerNorm(C, bias=bias), nn.LayerNorm(C, bias=bias)
        self.qkv, self.proj = nn.Linear(C, 3 * C, bias=bias), nn.Linear(C, C, bias=bias)
        self.fc = nn.Linear(C, config.n_hidden, bias=bias)
        self.fc_proj = nn.Linear(config.n_hidden, C, bias=bias)

    def forward(self, x: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
        """The residual stream after the block, (B, T, C).

        kept : keys and values of the sequences so far, (2, B, H, T, D); `x` is the last position.
        """
        B, T, C = x.shape
        heads = self.qkv(self.ln_1(x)).view(B, T, 3, self.n_head, C // self.n_head)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        if kept is not None:
            kept[0, :, :, -1:], kept[1, :, :, -1:] = k, v
            k, v = kept
        attn = F.scaled_dot_product_attention(q, k, v, is_causal=kept is None)
        x = x + self.proj(attn.transpose(1, 2).reshape(B, T, C))
        return x + self.fc_proj(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class TorchGPT(nn.Module):
    """GPT-2's architecture with the sizes of a `GPTConfig`."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, bias=config.bias)

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss of the batch."""
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = (self.ln_f(x) @ self.wte.weight.T).float()  # autocast leaves them in 16 bits
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def generate(model: TorchGPT, tokens: torch.Tensor, count: int, *, cached: bool) -> torch.Tensor:
    """Append `count` tokens to `tokens` (1, 1), each the most likely one.

    cached : keep keys and values; otherwise recompute the whole sequence for every token, as
    nanoGPT does.
    """
    config = model.config
    shape = (config.n_layer, 2, 1, config.n_head, config.block_size, config.head_size)
    kept = torch.empty(shape, dtype=model.wte.weight.dtype) if cached else None
    with torch.inference_mode():
        for end in range(1, count + 1):
            seen = tokens[:, end - 1 : end] if cached else tokens[:, -config.block_size :]
            places = model.wpe.weight[end - seen.shape[1] : end]
            x = model.wte(seen) + places
            for i, block in enumerate(model.blocks):
                x = block(x, None if kept is None else kept[i, :, :, :, :end])
            logits = F.linear(model.ln_f(x[:, -1]), model.wte.weight)
            tokens = torch.cat((tokens, logits.argmax(dim=-1, keepdim=True)), dim=1)
    return tokens


class TorchTrainer:
    """A training step in PyTorch: forward, backward, clip, AdamW."""

    def __init__(self, config: GPTConfig, weights: dict, *, compiled: bool, bfloat16: bool) -> None:
        self.bfloat16 = bfloat16
        self.model = TorchGPT(config)
        load(self.model, weights)
        decayed = [p for p in self.model.parameters() if p.ndim >= 2]
        others = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [
            {"params": decayed, "weight_decay": 0.1},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)
        self.loss = torch.compile(self.model) if compiled else self.model

    def step(self, tokens: torch.Tensor, targets: torch.Tensor) -> float:
        """The loss before the update."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            loss = self.loss(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


def load(model: TorchGPT, weights: dict) -> None:
    """Copy our parameters, (in, out), to PyTorch's, (out, in)."""
    ours = {"c_attn": "qkv", "attn.c_proj": "proj", "c_fc": "fc", "mlp.c_proj": "fc_proj"}
    state = {}
    for name, array in weights.items():
        tensor = torch.tensor(array)
        if name.startswith("h."):
            _, i, rest = name.split(".", 2)
            for old, new in ours.items():
                if old in rest:
                    rest = new + "." + rest.rsplit(".", 1)[1]
                    tensor = tensor.t().contiguous()
                    break
            name = f"blocks.{i}.{rest}"
        state[name] = tensor
    model.load_state_dict(state)
