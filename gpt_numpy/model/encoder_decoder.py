"""The Transformer: an encoder reads the source, a decoder predicts the target from it.

    source -> embedding -> [ attention, MLP ] x n_layer -> memory
    target -> embedding -> [ attention, cross-attention, MLP ] x n_layer -> head -> logits -> loss
                                            memory

Source: Vaswani et al., "Attention Is All You Need" (2017). The mathematics is in `reference/`; the
block diagram is the table in `transformer_stages.py`, and `base_model.py` runs it.
"""

from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.config.transformer import PAD, TransformerConfig
from gpt_numpy.model.base_model import Model
from gpt_numpy.model.buffers import numbers
from gpt_numpy.model.decoder import Decoder
from gpt_numpy.model.pair_check import checked_source, checked_target, lengths_of
from gpt_numpy.model.transformer_stages import MEMORY
from gpt_numpy.reference.cross_attention import cross_attention_weights
from gpt_numpy.reference.cross_entropy import IGNORED


class Transformer(Model):
    """An encoder-decoder with its parameters, gradients, and the buffers of both passes.

    Parameters
    ----------
    config : the shape of the model.
    seed : of the initial parameters; None leaves them unset, for a caller who sets them.
    dtype : "float32", "float64", or with ops="reference" also "complex128". With "bfloat16" arrays
        are float32, and operands of matrix products are rounded to bfloat16.
    ops : the implementation of the layers; "reference" is the readable one.
    keep : patterns (`"decoder.h.*.cross.out"`) of activations to hold on to after the passes, with
        their gradients; the others share buffers.

    Attributes are those of `Model`.
    """

    CONFIG = TransformerConfig
    config: TransformerConfig

    def forward(
        self,
        source: Array,
        target: Array,
        *,
        dropout_key: int | None = None,
        divisor: int | None = None,
        smoothing: bool = True,
    ) -> Any:
        """The mean loss of predicting each token of `target` from those before it, in nats.

        Parameters
        ----------
        source : integers (B, S), each sequence padded with PAD at its end.
        target : integers (B, T + 1): BEGIN, tokens, END, padding. target[:, :-1] goes in, and
            target[:, 1:] is predicted; padding is not.
        dropout_key : an integer from which all masks of dropout follow; None: no dropout.
        divisor : what the sum of losses is divided by; by default the number of targets that are
            not padding. With several micro-batches: that of all of them together.
        smoothing : False: the loss of the targets as they are, whatever `label_smoothing` is.

        Raises
        ------
        InputError : wrong shape or type, an unknown id, nothing but padding, or padding not at the
            end.
        """
        source = checked_source(source, self.config)
        target = checked_target(target, self.config, len(source))
        targets = np.where(target[:, 1:] == PAD, IGNORED, target[:, 1:])
        if divisor is None:
            divisor = self.counted(source, target)
        inputs = self._inputs(source, target) | {"targets": targets}
        return self._forward(
            inputs, self.sizes_of(source, target),
            divisor=divisor, dropout_key=dropout_key, smoothed=smoothing,
        )  # fmt: skip

    def logits(self, source: Array, target: Array) -> Array:
        """The logits of the token after each position of target[:, :-1], (B, T, V), no dropout.

        Raises
        ------
        InputError : as `forward` does.
        """
        source = checked_source(source, self.config)
        target = checked_target(target, self.config, len(source))
        sizes = B, T, _ = self.sizes_of(source, target)
        self._begin(self._inputs(source, target), sizes)
        *calls, head = self.calls(sizes).forward
        out = np.empty((B, T, self.config.vocab_size), self.dtype)
        self._run([*calls, head.without_loss(self.ops, out)])
        return out

    def encode(self, source: Array) -> Array:
        """The encoder's output, (B, S, C), without dropout.

        Raises
        ------
        InputError : as `forward` does.
        """
        source = checked_source(source, self.config)
        sizes = (len(source), 1, source.shape[1])
        layout = self._begin({"source": source, "lengths": lengths_of(source)}, sizes)
        self._run([c for c in self.calls(sizes).forward if c.stage.name.startswith("encoder")])
        return layout.acts[MEMORY].copy()

    def alignments(self, source: Array, target: Array) -> Array:
        """How strongly each target position attends to each source position, (L, B, H, T, S).

        The weights of every decoder block's cross-attention, without dropout; each row sums to 1.

        Raises
        ------
        InputError : as `forward` does.
        """
        source = checked_source(source, self.config)
        target = checked_target(target, self.config, len(source))
        sizes = self.sizes_of(source, target)
        layout = self._begin(self._inputs(source, target), sizes)
        self._run(self.calls(sizes).forward[:-1])
        return np.stack([
            cross_attention_weights(
                numbers(layout.acts[f"decoder.h.{i}.cross.q"]),
                numbers(layout.acts[f"decoder.h.{i}.cross.kv"]),
                layout.inputs["lengths"], self.config.n_head,
                layout.acts[f"decoder.h.{i}.cross.lse"],
            )
            for i in range(self.config.n_layer)
        ])  # fmt: skip

    def start_decoding(self, source: Array, rows_each: int = 1) -> Decoder:
        """A decoder of `rows_each` targets for each source, token by token; see `Decoder`.

        Row r belongs to source[r // rows_each]. Raises `InputError` as `forward` does.
        """
        memory = self.encode(source)
        return Decoder(self, memory, lengths_of(np.asarray(source)), rows_each)

    @staticmethod
    def sizes_of(source: Array, target: Array) -> Shape:
        """The sizes of a batch, B, T and S."""
        B, S = np.shape(source)
        return B, np.shape(target)[1] - 1, S

    @staticmethod
    def counted(source: Array, target: Array) -> int:
        """The number of targets that count, those that are not padding."""
        return max(int(np.count_nonzero(np.asarray(target)[:, 1:] != PAD)), 1)

    @staticmethod
    def _inputs(source: Array, target: Array) -> dict[str, Array]:
        return {"source": source, "lengths": lengths_of(source), "tokens": target[:, :-1]}
