"""GPT: embedding, blocks of attention and MLP, head; backward is the mirror of forward.

    tokens -> embedding -> [ + attention -> + MLP ] x n_layer -> head -> logits -> loss

Source: GPT-2 (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019), with
the options of nanoGPT. The mathematics is in `reference/`; the block diagram is the table in
`stages.py`, a pass is the list of calls that `calls.py` prepares from it; `base_model.py` runs it.
"""

from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array, Shape
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.model.base_model import Model
from gpt_numpy.model.buffers import numbers
from gpt_numpy.model.stage import ROTATIONS
from gpt_numpy.model.token_check import checked_tokens
from gpt_numpy.reference.cross_entropy import IGNORED, capped


class GPT(Model):
    """A GPT with its parameters, its gradients, and the buffers that both passes work in.

    Both passes write to these: of Python's threads only one at a time may use a model.

    Parameters
    ----------
    config : the shape of the model.
    seed : of the initial parameters; None leaves them unset, for a caller who sets them.
    dtype : "float32", "float64", or with ops="reference" also "complex128". With "bfloat16" arrays
        are float32, and operands of matrix products are rounded to bfloat16, as are the activations
        that products alone read: the kernels store these in 16 bits.
    ops : the implementation of the layers; "reference" is the readable one.
    keep : patterns (`"h.*.attn.out"`) of activations to hold on to after the passes, with their
        gradients; the others share buffers.

    Attributes
    ----------
    dtype, precision : the type of all arrays, and the name given as `dtype`.
    products : the precision of matrix products, "full" or "bfloat16".
    params, grads : `NamedArrays` with the same names and shapes, one flat buffer each.
    activations, activation_grads : mappings of the names that `keep` asked for.

    Raises
    ------
    InputError : an unknown dtype, implementation or activation name.
    """

    CONFIG = GPTConfig
    config: GPTConfig

    @property
    def rotations(self) -> Array | None:
        """The turns of rotary positions (reference/rotary.py), (block_size, D); or None."""
        return self._fixed.get(ROTATIONS)

    def forward(
        self,
        tokens: Array,
        targets: Array,
        *,
        dropout_key: int | None = None,
        divisor: int | None = None,
    ) -> Any:
        """The mean loss of predicting `targets` from `tokens`, in nats a token.

        Parameters
        ----------
        tokens, targets : integers (B, T), T at most block_size. Targets of -1 are left out.
        dropout_key : an integer from which all masks of dropout follow; None: no dropout.
        divisor : what the sum of losses is divided by; by default the number of targets other than
            -1. With several micro-batches: that of all of them together.

        Raises
        ------
        InputError : wrong shape or type, a token or target out of range.
        """
        tokens = checked_tokens("tokens", tokens, self.config)
        targets = checked_tokens("targets", targets, self.config, lowest=IGNORED)
        if targets.shape != tokens.shape:
            raise InputError(
                f"targets has shape {targets.shape}, tokens has {tokens.shape}: "
                "one target for each token; use -1 where none counts"
            )
        if divisor is None:
            counts = self._workspace("counts", targets.shape, np.bool_)
            np.not_equal(targets, IGNORED, out=counts)
            divisor = max(int(np.count_nonzero(counts)), 1)
        inputs = {"tokens": tokens, "targets": targets}
        return self._forward(inputs, tokens.shape, divisor=divisor, dropout_key=dropout_key)

    @staticmethod
    def sizes_of(tokens: Array, targets: Array) -> Shape:
        """The sizes of a batch, B and T."""
        return np.shape(tokens)

    @staticmethod
    def counted(tokens: Array, targets: Array) -> int:
        """The number of targets that count, those other than -1."""
        return max(int(np.count_nonzero(np.asarray(targets) != IGNORED)), 1)

    def logits(self, tokens: Array) -> Array:
        """The logits of the token after each position, (B, T, V), without dropout.

        Raises
        ------
        InputError : wrong shape or type, a token out of range.
        """
        tokens = checked_tokens("tokens", tokens, self.config)
        self._begin({"tokens": tokens}, tokens.shape)
        *calls, head = self.calls(tokens.shape).forward
        out = np.empty((*tokens.shape, self.config.vocab_size), self.dtype)
        self._run([*calls, head.without_loss(self.ops, out)])
        return capped(out, self.config.logit_softcap)

    def queries_keys_values(self, tokens: Array) -> list[Array]:
        """What each block's attention reads, (B, T, C + 2 G D), without dropout.

        Views, until the next pass. Raises `InputError` as `logits` does.
        """
        tokens = checked_tokens("tokens", tokens, self.config)
        layout = self._begin({"tokens": tokens}, tokens.shape)
        self._run(self.calls(tokens.shape).forward[:-1])
        name = "ready" if "h.0.attn.ready" in layout.acts else "qkv"
        return [numbers(layout.acts[f"h.{i}.attn.{name}"]) for i in range(self.config.n_layer)]
