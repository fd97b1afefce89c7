"""Exercise 14, rotary positions.

Take one pair. It is multiplied by a matrix that depends on the position alone,

    angle = np.arange(5)[:, None] * speed
    cos, sin = np.cos(angle), np.sin(angle)
    R = np.array([[cos[3, 1], -sin[3, 1]], [sin[3, 1], cos[3, 1]]])
    R @ x[2, 3, [1, 4]] == out[2, 3, [1, 4]]

so its gradient is multiplied by the transposed matrix, as in exercise 1. Transposing changes the
sign of the sine: it turns back by the same angle.

    R.T @ R == np.eye(2)
    turned = lambda pair: np.stack([R[0] @ pair, R[1] @ pair])
    dout[2, 3, [1, 4]] @ jacobian(turned, x[2, 3, [1, 4]]) == R.T @ dout[2, 3, [1, 4]]

For all pairs:

    dfirst, dsecond = dout[..., :3], dout[..., 3:]
    dx = np.concatenate([dfirst * cos + dsecond * sin, dsecond * cos - dfirst * sin], axis=-1)
"""

import numpy as np

from examples.exercises.terms import Term

HINTS = (
    """\
Which numbers of out does first[i] enter? With which factors? Both numbers of its pair, one with the
cosine, the other with the sine.
""",
    """\
first enters out[..., :3] with cos and out[..., 3:] with sin. second enters out[..., :3] with -sin
and out[..., 3:] with cos.
""",
    """\
A rotation is a product with a matrix, and the gradient is multiplied by its transpose, which is the
rotation by the same angle in the other direction. Write dx[..., :3] and dx[..., 3:].
""",
)


def backward(dout, x, speed, dx):
    """Write the gradient of `x`."""
    angle = np.arange(5)[:, None] * speed
    cos, sin = np.cos(angle), np.sin(angle)
    dx[..., :3] = dout[..., :3] * cos + dout[..., 3:] * sin
    dx[..., 3:] = dout[..., 3:] * cos - dout[..., :3] * sin


def terms(dout, x, speed, **_):
    """The terms of each gradient, for the grader."""
    angle = np.arange(5)[:, None] * speed

    def in_half(half, values):
        array = np.zeros_like(x)
        array[..., 3 * half : 3 * half + 3] = values
        return array

    def group(cos, sin):
        a, b = dout[..., :3], dout[..., 3:]
        return (in_half(0, a * cos), in_half(0, b * sin), in_half(1, b * cos), in_half(1, a * sin))

    right = group(np.cos(angle), np.sin(angle))
    wrong = {
        "cos and sin are exchanged": group(np.sin(angle), np.cos(angle)),
        "positions count from 1": group(np.cos(angle + speed), np.sin(angle + speed)),
        "it is turned by twice the angle": group(np.cos(2 * angle), np.sin(2 * angle)),
        "the angle is not multiplied by the position": group(np.cos(speed), np.sin(speed)),
    }
    shifted = (np.arange(7) % 5)[:, None, None] * speed
    wrong["it is turned by the head's number, not the position's"] = group(
        np.cos(shifted) * np.ones((7, 5, 3)), np.sin(shifted) * np.ones((7, 5, 3))
    )
    texts = ("cos in the first half", "sin in the first half")
    texts += ("cos in the second half", "sin in the second half")
    return {
        "dx": [
            Term(
                (1, 1, 1, -1)[k],
                ("dfirst * ", "dsecond * ", "dsecond * ", "dfirst * ")[k] + texts[k],
                right[k],
                {},
                {words: arrays[k] for words, arrays in wrong.items()},
            )
            for k in range(4)
        ]
    }


def recognise(name, hand, dout, x, speed, **_):
    """Yield rotations of the wrong thing, or in the wrong direction."""
    angle = np.arange(5)[:, None] * speed
    cos, sin = np.cos(angle), np.sin(angle)

    def turned(array, sine):
        a, b = array[..., :3], array[..., 3:]
        return np.concatenate([a * cos - b * sine, a * sine + b * cos], axis=-1)

    if np.allclose(hand, turned(dout, sin), rtol=0, atol=1e-9):
        yield "it is turned forward once more: the gradient is turned back, by minus the angle"
    if np.allclose(hand, turned(x, -sin), rtol=0, atol=1e-9):
        yield "x is turned back, not dout"
    if np.allclose(hand, turned(x, sin), rtol=0, atol=1e-9):
        yield "it is out: the values stand where dout belongs"
    a, b = dout[..., ::2], dout[..., 1::2]
    for sine, words in ((sin, ""), (-sin, ", and it is turned forward once more")):
        neighbours = np.stack([a * cos + b * sine, b * cos - a * sine], axis=-1)
        if np.allclose(hand, neighbours.reshape(dout.shape), rtol=0, atol=1e-9):
            yield f"the pairs are neighbours, 2 i and 2 i + 1: they are i and i + 3{words}"


AXES = {"dx": ("head", "position", "channel")}
