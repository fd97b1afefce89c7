"""Find the attention head that does the work: remove one at a time and look at the loss.

python examples/which_head_matters.py

The task needs attention: each sequence is some random letters, then the same letters again. To
predict the second half, look back to where the current letter occurred before, and at the letter
that followed it there. Only attention can look back.
"""

import numpy as np

import gpt_numpy as gn

LETTERS, HALF, SEQUENCES, STEPS = 8, 8, 32, 150


def batch(rng):
    """Tokens and targets; the first half cannot be predicted and does not count."""
    half = rng.integers(0, LETTERS, (SEQUENCES, HALF))
    letters = np.concatenate([half, half], axis=1)
    tokens, targets = letters[:, :-1], letters[:, 1:].copy()
    targets[:, : HALF - 1] = -1
    return tokens, targets


config = gn.GPTConfig(
    vocab_size=LETTERS, block_size=2 * HALF - 1, n_layer=2, n_head=4, n_embd=16, bias=False
)
model = gn.GPT(config, seed=1, ops="reference")
optimizer = gn.AdamW(model, learning_rate=1e-2, weight_decay=0.0)
rng = np.random.default_rng(0)
for step in range(STEPS + 1):
    loss = model.forward(*batch(rng))
    model.backward()
    optimizer.learning_rate = 1e-2 * (1 - step / (STEPS + 1))
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step}: loss {loss:.4f} nats a token")
print(f"(without looking back, at best: log {LETTERS} = {np.log(LETTERS):.4f})\n")

tokens, targets = batch(rng)
effects = {}
for block in range(config.n_layer):
    for head in range(config.n_head):
        name = f"h.{block}.attn.heads"
        effects[block, head] = gn.ablate(model, tokens, targets, name, head=head)

print("head      loss without it    change    change of the embedding's gradient")
for (block, head), effect in effects.items():
    gradient = effect.grad_change["wte.weight"]
    print(
        f"h.{block} {head}     {effect.after:12.4f}    {effect.change:+9.4f}    {gradient:9.1f} x"
    )

block, head = max(effects, key=lambda place: effects[place].change)
rise = effects[block, head].change
print(f"\nHead {head} of block {block} matters most: without it the loss rises by {rise:.2f} nats.")

trace = gn.trace(model, tokens, targets, keep=f"h.{block}.attn.probabilities")
seen = trace[f"h.{block}.attn.probabilities"].value[:, head].mean(axis=0)
print("Where it looks, averaged over the batch:")
for query in range(HALF, 2 * HALF - 1):
    key = int(seen[query].argmax())
    print(f"  position {query:2} looks {query - key:2} back, with weight {seen[query, key]:.0%}")
raise SystemExit(0 if rise > 0.5 else "no head stands out: something is wrong")
