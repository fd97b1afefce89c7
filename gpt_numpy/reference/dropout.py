"""Dropout: set a random share of the values to zero and scale the rest up.

Source: Srivastava et al., "Dropout" (2014), in the inverted form that leaves evaluation as it is.

Forward, with rate the share dropped and keep an array of zeros and ones:

    out = x * keep / (1 - rate)

keep does not depend on x, and out_i depends on x_i alone: ∂out_i/∂x_i = keep_i / (1 - rate), so

    dx = dout * keep / (1 - rate)

The mask is not stored. It is a function of (key, site, index) alone, where `key` is drawn anew for
every micro-batch, `site` is the place in the model, and `index` the element's row-major index in
the array: backward, or a kernel that works in another order, computes the same bits again. All
arithmetic is on unsigned integers and wraps around:

    low, high = the two 32-bit halves of index
    a, b      = the low and high halves of mix64(mix64(key) + mix64(site + 1) + high)
    keep      = mix32(mix32(low ^ a) + b) >= min(round(rate * 2^32), 2^32 - 1)

`mix64` is the output function of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom
Number Generators", 2014, with Stafford's constants); `mix32` is lowbias32 of C. Wellons'
"Prospecting for Hash Functions" (2018). A rate of 0 means no dropout at all: out = x.

Sites of a GPT, and of the encoder of a Transformer: 0 is the embedding; block i uses 3 i + 1 for
the attention weights, 3 i + 2 for the attention branch and 3 i + 3 for the MLP branch. A decoder
behind an encoder of L blocks begins at 3 L + 1 with its embedding; its block i uses 3 L + 2 + 5 i
and the next four for self-attention (weights, branch), cross-attention (the same) and the MLP.

Shapes: x and out alike, any.
"""

from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array, Shape

_MASK64 = 0xFFFFFFFFFFFFFFFF


class Dropout(NamedTuple):
    """One mask: the share dropped, the key of the pass, and the place in the model.

    `key` is an array of one uint64, so that a prepared call sees the key of each new pass.
    """

    rate: float
    key: Array
    site: int

    @classmethod
    def of(cls, rate: float, key: int, site: int) -> "Dropout":
        """The dropout of an integer key."""
        return cls(rate, np.array([key & _MASK64], np.uint64), site)

    def next_site(self) -> "Dropout":
        """The same rate and key at the following place."""
        return self._replace(site=self.site + 1)


NO_DROPOUT = Dropout.of(0.0, 0, 0)


def mix64(z: int) -> int:
    """The 64-bit integer `z` with its bits mixed thoroughly."""
    z = (z + 0x9E3779B97F4A7C15) & _MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    return z ^ (z >> 31)


def mix32(z: Array) -> Array:
    """Each 32-bit integer of `z` with its bits mixed thoroughly."""
    z = (z ^ (z >> np.uint32(16))) * np.uint32(0x7FEB352D)
    z = (z ^ (z >> np.uint32(15))) * np.uint32(0x846CA68B)
    return z ^ (z >> np.uint32(16))


def keep_mask(shape: Shape, rate: float, key: int, site: int) -> Array:
    """The mask of an array of this shape: True where a value is kept."""
    index = np.arange(int(np.prod(shape)), dtype=np.uint64)
    low = index.astype(np.uint32)
    hashed = np.empty_like(low)
    for high in range((index.size >> 32) + 1):
        words = mix64((mix64(key) + mix64(site + 1) + high) & _MASK64)
        a, b = np.uint32(words & 0xFFFFFFFF), np.uint32(words >> 32)
        part = slice(high << 32, (high + 1) << 32)
        hashed[part] = mix32(mix32(low[part] ^ a) + b)
    threshold = min(round(rate * 2**32), 2**32 - 1)
    return (hashed >= np.uint32(threshold)).reshape(shape)


def dropout_forward(x: Array, dropout: Dropout, out: Array) -> None:
    """Write `x`, with a share of its values dropped and the rest scaled up, to `out`."""
    if dropout.rate == 0:
        out[...] = x
    else:
        keep = keep_mask(x.shape, dropout.rate, int(dropout.key[0]), dropout.site)
        out[...] = np.where(keep, x * (1 / (1 - dropout.rate)), 0)


def dropout_backward(dout: Array, dropout: Dropout, dx: Array) -> None:
    """Write the gradient of `x`: the same mask, the same scale."""
    # forward: out = x * keep / (1 - rate)
    dropout_forward(dout, dropout, out=dx)
