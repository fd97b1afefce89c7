"""How an encoder-decoder writes targets."""

from dataclasses import dataclass

from gpt_numpy.config.fields import Configuration, setting


@dataclass(frozen=True)
class Decoding(Configuration):
    """How targets are written; the paper's beam and length penalty are the defaults.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    beam: int = setting(4, "hypotheses of the beam search; 1: greedy", low=1, high=1024)
    length_penalty: float = setting(
        0.6, "alpha in ((5 + length) / 6)^alpha; 0: none", low=0, high=10
    )
    max_new_tokens: int = setting(0, "longest target; 0: 50 tokens more than the source", low=0)
    temperature: float = setting(
        0.0, "above 0: draw each token, with the logits divided by it", low=0
    )
    top_k: int = setting(0, "draw from this many most likely tokens; 0: from all", low=0)
    top_p: float = setting(
        1.0, "draw from the most likely tokens that reach this probability", above=0, high=1
    )
    seed: int = setting(0, "of the draws", low=0)
