"""What a model is, how it is trained and what a command does: frozen dataclasses, checked once.

Every name of a training setting is nanoGPT's own, so that its command lines and its configuration
files mean here what they mean there. The text beside a setting is what `--help` prints.
"""

from dataclasses import dataclass, field

from gpt_numpy.base.errors import InputError
from gpt_numpy.config.choices import ACTIVATIONS, POSITIONS
from gpt_numpy.config.fields import check_choice, check_range, check_types, setting


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT and the choices that change its mathematics.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    vocab_size: int = field(metadata={"help": "number of different tokens, V"})
    block_size: int = setting(1024, "context: the most positions the model sees at once, tokens")
    n_layer: int = setting(12, "number of blocks")
    n_head: int = setting(12, "attention heads in a block; divides n_embd")
    n_embd: int = setting(768, "channels of the residual stream")
    dropout: float = setting(0.0, "share of values dropped in training, 0 <= dropout < 1")
    bias: bool = setting(True, "biases in linear layers and layer norms")
    activation: str = setting(
        "gelu_tanh", "of the MLP: gelu (exact, nanoGPT's), gelu_tanh (GPT-2's) or relu"
    )
    positions: str = setting("learned", "position embedding: learned or sinusoidal")
    tied: bool = setting(True, "the head uses the token embedding as its weight")

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            check_range(self, name, 1, None)
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"dropout={self.dropout}: must be at least 0 and less than 1")
        if self.n_embd % self.n_head:
            raise InputError(
                f"n_embd={self.n_embd} is not divisible by n_head={self.n_head}: "
                f"each head gets n_embd / n_head channels; try n_embd={_round_up(self)}"
            )
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("positions", self.positions, POSITIONS)

    @property
    def head_size(self) -> int:
        """Channels of one head, D."""
        return self.n_embd // self.n_head

    @property
    def n_hidden(self) -> int:
        """Channels inside the MLP, F: four times the residual stream's, as in GPT-2."""
        return 4 * self.n_embd


def _round_up(config: GPTConfig) -> int:
    return -(-config.n_embd // config.n_head) * config.n_head
