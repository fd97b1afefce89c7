"""The shape of a model: a frozen dataclass, checked when it is made.

Every setting has nanoGPT's name and meaning, so that its command lines and configuration files
work here. The text next to a setting is what `--help` prints.
"""

from dataclasses import dataclass

from gpt_numpy.base.errors import InputError
from gpt_numpy.config.choices import ACTIVATIONS, POSITIONS
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
    activation: str = setting(
        "gelu_tanh",
        "of the MLP: gelu (exact, nanoGPT's), gelu_tanh (GPT-2's) or relu",
        choices=ACTIVATIONS,
    )
    positions: str = setting(
        "learned", "position embedding: " + " or ".join(POSITIONS), choices=POSITIONS
    )
    tied: bool = setting(True, "the head uses the token embedding as its weight")

    def __post_init__(self) -> None:
        super().__post_init__()
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
    def n_hidden(self) -> int:
        """Channels inside the MLP, F: four times the residual stream's, as in GPT-2."""
        return 4 * self.n_embd
