"""The shape of a model: a frozen dataclass, checked when it is made.

Every setting has nanoGPT's name and meaning, so that its command lines and configuration files
work here. The text next to a setting is what `--help` prints.
"""

import math
from dataclasses import dataclass

from gpt_numpy.base.errors import InputError
from gpt_numpy.config.choices import ACTIVATIONS, HEAD_STARTS, NORMS, POSITIONS, RESIDUAL_STARTS
from gpt_numpy.config.fields import REQUIRED, Configuration, setting


@dataclass(frozen=True)
class GPTConfig(Configuration):
    """The shape of a GPT and the choices that change its mathematics."""

    vocab_size: int = setting(REQUIRED, "number of different tokens, V", low=1)
    block_size: int = setting(1024, "context: the most positions the model sees at once", low=1)
    n_layer: int = setting(12, "number of blocks", low=1)
    n_head: int = setting(12, "attention heads in a block; divides n_embd", low=1)
    n_embd: int = setting(768, "channels of the residual stream", low=1)
    dropout: float = setting(0.0, "share of values dropped in training, below 1", low=0, below=1)
    bias: bool = setting(True, "biases in linear layers and layer norms")
    norm: str = setting(
        "layernorm",
        "before each sublayer and the head: layernorm, or rmsnorm (Llama's; it never has a bias)",
        choices=NORMS,
    )
    norm_eps: float = setting(
        1e-5,
        "what norms add under the root, so that they divide by no 0; Qwen3 and Llama 1 have 1e-6",
        low=1e-12,
        high=1,
    )
    activation: str = setting(
        "gelu_tanh",
        "of the MLP: gelu (exact, nanoGPT's), gelu_tanh (GPT-2's), relu, relu2 (squared) or swiglu",
        choices=ACTIVATIONS,
    )
    n_inner: int = setting(
        0, "channels inside the MLP; 0: 4 n_embd, with swiglu 8/3 n_embd in multiples of 16", low=0
    )
    positions: str = setting(
        "learned",
        "learned or sinusoidal vectors added to the tokens'; rotary: queries and keys turn; none",
        choices=POSITIONS,
    )
    rope_base: float = setting(10000.0, "of rotary positions: their slowest turn", above=1)
    n_kv_head: int = setting(
        0, "heads of keys and values, shared by groups of heads; divides n_head; 0: n_head", low=0
    )
    qk_norm: bool = setting(False, "RMSNorm of each query and key, before it turns (Qwen3's)")
    tied: bool = setting(True, "the head uses the token embedding as its weight")
    logit_softcap: float = setting(
        0.0, "bounds the logits z softly: cap tanh(z / cap); 0: no bound", low=0
    )
    init_residual: str = setting(
        "scaled",
        "start of the projections to the residual stream: scaled (GPT-2's) or zero",
        choices=RESIDUAL_STARTS,
    )
    init_head: str = setting(
        "normal", "start of a head that is not tied: normal or zero", choices=HEAD_STARTS
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_embd % self.n_head:
            next_multiple = -(-self.n_embd // self.n_head) * self.n_head
            raise InputError(
                f"n_embd={self.n_embd} is not divisible by n_head={self.n_head}: "
                f"each head gets n_embd / n_head channels; try n_embd={next_multiple}"
            )
        if self.n_kv_head and self.n_head % self.n_kv_head:
            raise InputError(
                f"n_kv_head={self.n_kv_head} does not divide n_head={self.n_head}: each head of "
                "keys and values serves equally many heads; try "
                f"n_kv_head={math.gcd(self.n_kv_head, self.n_head)}"
            )
        if self.tied and self.init_head == "zero":
            raise InputError(
                "init_head='zero' with tied=True: the head is the token embedding, which cannot "
                "start at 0; use tied=False"
            )
        if self.positions == "rotary" and self.head_size % 2:
            raise InputError(
                f"positions='rotary' with n_embd={self.n_embd}, n_head={self.n_head}: heads of "
                f"{self.head_size} channels cannot turn in pairs; try "
                f"n_embd={self.n_head * (self.head_size + 1)}"
            )

    @property
    def head_size(self) -> int:
        """Channels of one head, D."""
        return self.n_embd // self.n_head

    @property
    def n_groups(self) -> int:
        """Heads of keys and values, G: n_kv_head, or as many as there are heads."""
        return self.n_kv_head or self.n_head

    @property
    def n_hidden(self) -> int:
        """Channels inside the MLP after its nonlinearity, F.

        If n_inner does not say, four times the residual stream's, as in GPT-2. SwiGLU takes two
        matrices to the inside instead of one, so with two thirds of that it has as many parameters.
        """
        if self.n_inner:
            return self.n_inner
        return -(-8 * self.n_embd // 48) * 16 if self.activation == "swiglu" else 4 * self.n_embd
