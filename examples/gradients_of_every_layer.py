"""Print every gradient of a small GPT, from the loss back to the embeddings, and check it.

python examples/gradients_of_every_layer.py
"""

import numpy as np

import gpt_numpy as gn
from gpt_numpy.gradients.model_check import randomise

config = gn.GPTConfig(vocab_size=11, block_size=5, n_layer=2, n_head=2, n_embd=6)
model = gn.GPT(config, seed=None, dtype="float64", ops="reference", keep=("*",))
randomise(model, seed=0)
rng = np.random.default_rng(0)
tokens, targets = rng.integers(0, 11, (2, 5)), rng.integers(0, 11, (2, 5))
targets[:, 2] = -1  # position 2 does not count towards the loss

loss = model.forward(tokens, targets)
model.backward()

print(f"loss {loss:.4f} nats a token\n")
print("The backward pass in order: the gradient of the loss with respect to every activation.")
print("d + name holds how fast the loss changes with each number of it.\n")
for name in reversed(list(model.activation_grads)):
    value, grad = model.activations[name], model.activation_grads[name]
    shape = " x ".join(map(str, grad.shape))
    print(f"  d {name:<18} {shape:>11}   norm {np.linalg.norm(grad):.3e}", end="")
    print(f"   (its value: norm {np.linalg.norm(value):.3e})")

dlogits = model.activation_grads["logits"]
print("\nA row of dlogits is the probabilities minus the target, so it sums to zero:")
print("  first row:", np.array2string(dlogits[0, 0], precision=3, suppress_small=True))
print(f"  its sum: {dlogits[0, 0].sum():.1e}; at the position that does not count: {dlogits[0, 2]}")

print("\nEvery parameter, against the exact complex-step derivative:\n")
report = gn.gradcheck(model, tokens, targets)
print(report)
raise SystemExit(0 if report.ok else 1)
