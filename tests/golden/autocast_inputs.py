"""What make_autocast.py and test_autocast.py compute with: made from a seed, so not stored.

Numbers come from Philox's raw bits, whose stream NumPy guarantees. Nothing here needs torch.
"""

import numpy as np

# Between them: tied and untied, biases and none, two activations, one position and many.
CASES = {
    "tied": {
        "seed": 1, "batch": (4, 24), "config": {
            "vocab_size": 65, "block_size": 24, "n_layer": 3, "n_head": 4, "n_embd": 64,
            "bias": True, "activation": "gelu_tanh", "tied": True,
        },
    },
    "untied": {
        "seed": 2, "batch": (2, 40), "config": {
            "vocab_size": 300, "block_size": 40, "n_layer": 2, "n_head": 3, "n_embd": 48,
            "bias": False, "activation": "gelu", "tied": False,
        },
    },
    "short": {
        "seed": 3, "batch": (16, 5), "config": {
            "vocab_size": 31, "block_size": 8, "n_layer": 1, "n_head": 1, "n_embd": 33,
            "bias": True, "activation": "gelu", "tied": True,
        },
    },
}  # fmt: skip
SCALE = 1.7  # of uniform numbers in (-1, 1): their standard deviation is about 1
SMALL = 1e-3  # of the largest gradient: below it a tensor is measured against that


def parameters(case, shapes):
    """Parameters of these shapes, float32: like those of a model that has learned something.

    Matrices keep the size of what they multiply; gains are spread about 1, biases about 0.
    """
    bits, made = np.random.Philox(key=case["seed"]), {}
    for name, shape in shapes.items():
        raw = bits.random_raw(int(np.prod(shape))).reshape(shape)
        noise = SCALE * ((raw >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1)
        if len(shape) == 2:
            inner = shape[1] if "wte" in name or "lm_head" in name else shape[0]
            noise *= 0.5 if "wpe" in name or "wte" in name else inner**-0.5
        else:
            noise *= 0.1
            noise += "ln_" in name and name.endswith(".weight")
        made[name] = noise.astype(np.float32)
    return made


def batch(case):
    """Tokens and targets."""
    bits = np.random.Philox(key=case["seed"] + 100)
    shape, V = (2, *case["batch"]), case["config"]["vocab_size"]
    raw = bits.random_raw(int(np.prod(shape))).reshape(shape)
    return (raw % np.uint64(V)).astype(np.int64)


def errors(gradients, exact):
    """The error of each gradient: the largest difference, relative to the largest element."""
    largest = max(np.abs(gradient).max() for gradient in exact.values())
    return {
        name: float(
            np.abs(gradients[name] - gradient).max() / max(np.abs(gradient).max(), SMALL * largest)
        )
        for name, gradient in exact.items()
    }
