"""Overfit one batch: the first thing to try with a new model or a new idea.

A model that cannot memorise twelve short pieces of text is broken. One that can may still be wrong:
most wrong gradients do not prevent learning. gradients_of_every_layer.py finds those.

    python examples/overfit_one_batch.py
"""

import numpy as np

import gpt_numpy as gn
from gpt_numpy.data.tokenizers.characters import CharTokenizer

TEXT = """\
The forward pass asks what the model believes. The backward pass asks how each number should
have been different for the model to believe the truth. Every layer answers the same question: given
how the loss changes with what I wrote, how does it change with what I read?
"""
STEPS, B, T = 150, 12, 32

tokenizer = CharTokenizer.from_text(TEXT)
ids = tokenizer.encode(TEXT)
config = gn.GPTConfig(tokenizer.vocab_size, block_size=T, n_layer=2, n_head=4, n_embd=64)
model = gn.GPT(config, seed=0)
optimizer = gn.AdamW(model, learning_rate=3e-3, weight_decay=0.0)

starts = np.linspace(0, len(ids) - T - 1, B).astype(int)
tokens = np.stack([ids[s : s + T] for s in starts])
targets = np.stack([ids[s + 1 : s + T + 1] for s in starts])

print(f"{model.n_params:,} parameters; guessing has loss {np.log(tokenizer.vocab_size):.2f}")
for step in range(STEPS + 1):
    loss = model.forward(tokens, targets)
    if step % 25 == 0:
        print(f"step {step:3}: loss {loss:.4f}")
    model.backward()
    optimizer.step()

prompt = tokenizer.encode(TEXT[:16])
written = gn.generate(model, prompt, max_new_tokens=T - 16, temperature=0.0)
print(f"\n{TEXT[:16]!r} goes on as\n{tokenizer.decode(written)!r}")
if loss > 0.2:
    raise SystemExit(f"the loss is still {loss:.2f}: something is wrong")
