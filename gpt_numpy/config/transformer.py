"""The shape of an encoder-decoder: a frozen dataclass, checked when it is made.

Source: Vaswani et al., "Attention Is All You Need" (2017); its base model is n_layer=6, n_head=8,
n_embd=512, n_hidden=2048, dropout=0.1, label_smoothing=0.1.
"""

from dataclasses import dataclass

from gpt_numpy.base.errors import InputError
from gpt_numpy.config.choices import NORM_PLACES
from gpt_numpy.config.fields import REQUIRED, Configuration, setting

# The first ids of every vocabulary: what fills a batch up, the first token of a target, its last.
PAD, BEGIN, END = 0, 1, 2


@dataclass(frozen=True)
class TransformerConfig(Configuration):
    """The shape of a Transformer, encoder and decoder, and how it is trained against overfitting.

    Every vocabulary begins with PAD, BEGIN and END; source, target and head share one table.
    """

    vocab_size: int = setting(REQUIRED, "number of different tokens, V, PAD to END included", low=3)
    source_size: int = setting(REQUIRED, "the most positions of a source", low=1)
    target_size: int = setting(REQUIRED, "the most positions of a target, END included", low=1)
    n_layer: int = setting(6, "blocks of the encoder, and as many of the decoder", low=1)
    n_head: int = setting(8, "attention heads in a block; divides n_embd", low=1)
    n_embd: int = setting(512, "channels of the residual streams", low=1)
    n_hidden: int = setting(0, "channels inside the MLP; 0 or None: 4 n_embd", low=0)
    dropout: float = setting(0.0, "share of values dropped in training, below 1", low=0, below=1)
    norm_place: str = setting(
        "post",
        "post: a norm after each sublayer's sum (the paper's); pre: before each, as in GPT-2",
        choices=NORM_PLACES,
    )
    label_smoothing: float = setting(
        0.0, "share of the wanted probability that is spread over all tokens", low=0, below=1
    )
    bias: bool = setting(True, "biases in linear layers and layer norms")

    def __post_init__(self) -> None:
        if self.n_hidden is None:
            object.__setattr__(self, "n_hidden", 0)
        super().__post_init__()
        if self.n_hidden == 0:
            object.__setattr__(self, "n_hidden", 4 * self.n_embd)
        if self.n_embd % self.n_head:
            next_multiple = -(-self.n_embd // self.n_head) * self.n_head
            raise InputError(
                f"n_embd={self.n_embd} is not divisible by n_head={self.n_head}: "
                f"each head gets n_embd / n_head channels; try n_embd={next_multiple}"
            )

    @property
    def head_size(self) -> int:
        """Channels of one head, D."""
        return self.n_embd // self.n_head

    @property
    def norm(self) -> str:
        """The kind of its norms."""
        return "layernorm"
