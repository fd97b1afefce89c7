"""The model of workloads.py and its training step in JAX, as plain as its users write it.

    python -m benchmarks.rivals.jax_gpt WORKLOAD

Serves steps as side.py does. One jitted function computes forward, gradient, clipping and AdamW;
its parameters and moments are donated, so that they are updated in place. Needs JAX, nothing of
ours.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rivals.side import serve
from benchmarks.workloads import WORKLOADS

RATE, BETAS, DECAY, CLIP, EPSILON = 1e-4, (0.9, 0.95), 0.1, 1.0, 1e-8


def initial(layers, width, context, vocabulary, bias):
    """Random parameters; those of all blocks are stacked along their first axis."""
    rng = np.random.default_rng(0)

    def matrix(*shape):
        return rng.normal(0, 0.02, shape).astype(np.float32)

    def norm(*shape):
        return {"weight": np.ones(shape, np.float32)} | (
            {"bias": np.zeros(shape, np.float32)} if bias else {}
        )

    def linear(rows, columns):
        made = {"weight": matrix(layers, rows, columns)}
        return made | ({"bias": np.zeros((layers, columns), np.float32)} if bias else {})

    blocks = {
        "ln_1": norm(layers, width), "qkv": linear(width, 3 * width),
        "proj": linear(width, width), "ln_2": norm(layers, width),
        "fc": linear(width, 4 * width), "down": linear(4 * width, width),
    }  # fmt: skip
    return {
        "wte": matrix(vocabulary, width), "wpe": matrix(context, width),
        "ln_f": norm(width), "blocks": blocks,
    }  # fmt: skip


def apply_norm(x, p):
    """Layer norm."""
    centred = x - x.mean(-1, keepdims=True)
    y = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["weight"]
    return y + p["bias"] if "bias" in p else y


def apply_linear(x, p):
    """The product and the bias."""
    y = x @ p["weight"]
    return y + p["bias"] if "bias" in p else y


def mean_loss(params, tokens, targets, heads):
    """The mean cross-entropy of a batch."""
    B, T = tokens.shape

    def block(x, p):
        q, k, v = jnp.split(apply_linear(apply_norm(x, p["ln_1"]), p["qkv"]), 3, axis=-1)
        q, k, v = (y.reshape(B, T, heads, -1) for y in (q, k, v))
        attn = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + apply_linear(attn.reshape(B, T, -1), p["proj"])
        hidden = jax.nn.gelu(apply_linear(apply_norm(x, p["ln_2"]), p["fc"]), approximate=True)
        return x + apply_linear(hidden, p["down"]), None

    x = params["wte"][tokens] + params["wpe"][:T]
    x, _ = jax.lax.scan(block, x, params["blocks"])
    logits = apply_norm(x, params["ln_f"]) @ params["wte"].T
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=-1)
    return -chosen.mean()


def main(workload):
    """Build the step and serve it."""
    layers, heads, width, context, vocabulary, batch, length, bias = WORKLOADS[workload]
    params = jax.tree.map(jnp.asarray, initial(layers, width, context, vocabulary, bias))
    tokens, targets = np.random.default_rng(0).integers(0, vocabulary, (2, batch, length))

    def update(params, m, v, t):
        loss, grads = jax.value_and_grad(mean_loss)(params, tokens, targets, heads)
        norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
        grads = jax.tree.map(lambda g: g * jnp.minimum(1.0, CLIP / norm), grads)
        m = jax.tree.map(lambda a, g: BETAS[0] * a + (1 - BETAS[0]) * g, m, grads)
        v = jax.tree.map(lambda a, g: BETAS[1] * a + (1 - BETAS[1]) * g * g, v, grads)

        def moved(p, a, b):
            a, b = a / (1 - BETAS[0] ** t), b / (1 - BETAS[1] ** t)
            return p - RATE * (a / (jnp.sqrt(b) + EPSILON) + (DECAY * p if p.ndim > 1 else 0.0))

        return jax.tree.map(moved, params, m, v), m, v, t + 1, loss

    zeros = jax.tree.map(jnp.zeros_like, params)
    state = [params, zeros, jax.tree.map(jnp.copy, zeros), jnp.float32(1)]
    compiled = jax.jit(update, donate_argnums=(0, 1, 2, 3))

    def step():
        *state[:], loss = compiled(*state)
        return float(loss)

    print("first losses:", step(), step())
    serve(step)


if __name__ == "__main__":
    main(*sys.argv[1:])
