"""Train on a file of your own, from Python: the whole loop in the open.

`gpt-numpy train tiny --data=FILE` adds evaluation, checkpoints and a schedule. Without a file, this
program trains on the programs in this folder.

    python examples/train_on_your_text.py [FILE]
"""

import sys
import time
from pathlib import Path

import numpy as np

import gpt_numpy as gn
from gpt_numpy.data.tokenizers.characters import CharTokenizer

STEPS, B, T = 200, 12, 64

if len(sys.argv) > 1:
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
else:
    here = Path(__file__).parent
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(here.glob("*.py")))
if len(text) <= 10 * T:
    raise SystemExit(f"the text has {len(text)} characters: give one with more than {10 * T}")

tokenizer = CharTokenizer.from_text(text)
ids = tokenizer.encode(text)
cut = int(0.9 * len(ids))
train, val = ids[:cut], ids[cut:]
print(f"{len(text):,} characters, {tokenizer.vocab_size} different ones")

config = gn.GPTConfig(tokenizer.vocab_size, block_size=T, n_layer=3, n_head=4, n_embd=96)
model = gn.GPT(config, seed=0)
optimizer = gn.AdamW(model, learning_rate=2e-3)
rng = np.random.default_rng(0)


def batch(split):
    """B random windows of a split; the target of each position is the next character."""
    starts = rng.integers(0, len(split) - T, B)
    windows = split[starts[:, None] + np.arange(T + 1)]
    return windows[:, :-1], windows[:, 1:]


start = time.perf_counter()
for step in range(STEPS + 1):
    loss = model.forward(*batch(train))
    model.backward()
    optimizer.step()
    if step % 50 == 0:
        val_loss = np.mean([model.forward(*batch(val)) for _ in range(5)])
        print(f"step {step:3}: train loss {loss:.3f}, val loss {val_loss:.3f}")
print(f"{(time.perf_counter() - start) / (STEPS + 1) * 1e3:.0f} ms a step")

prompt = tokenizer.encode(text[:T])
written = gn.generate(model, prompt, max_new_tokens=200, seed=0)
print("\n" + tokenizer.decode(written[T:]))
