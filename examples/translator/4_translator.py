"""Translator 4: a small translator, its beam search, and the alignment of two sentences.

Without files it translates dates; with two text files, a sentence in each line, or with the folder
of a language in /usr/share/locale, it learns from real sentences:

    python examples/translator/4_translator.py
    python examples/translator/4_translator.py --source=a.en --target=a.es
    python examples/translator/4_translator.py --mo=/usr/share/locale/es

*Greedy* decoding takes the most likely token, then the most likely one after it, and so on; it
never goes back. *Beam search* keeps several beginnings at a time, here 4. Each is continued by
every token. Of all continuations those that end in END are set aside, if they are among the 4 most
probable; of the others the 4 most probable go on. At the end the best score wins. A longer target
has more factors below 1, and would always lose, so the score is its log-probability divided by

    ((5 + n) / 6)^0.6                                for a target of n tokens

(`gpt_numpy/generation/beam_search.py`). Keys and values of the source are computed once, and of the
target's own tokens one at a time (`gpt_numpy/model/decoder.py`).

At the end it draws the weights with which the last block of the decoder looks at the source, for
each token of the target: an alignment of the two sentences that nobody has taught it.

Predict. Write your answers down first; the last lines of the output have them.
1. Does beam search ever find a target that is less probable than the greedy one?
2. In the alignment of a date, where does the model look when it writes the month?

    python examples/translator/4_translator.py [--max_iters=1500] [--ops=kernels]
"""

import argparse
import sys

import gpt_numpy as gn
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.decoding import Decoding
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.data.batches import TRAIN
from gpt_numpy.data.pair_dataset import open_pairs
from gpt_numpy.data.sentences import source_tokens, target_tokens, text_of
from gpt_numpy.generation.translating import hypotheses

C, WARMUP, BATCH_TOKENS = 64, 300, 2000
parser = argparse.ArgumentParser()
parser.add_argument("--source", default="", help="a text file, with --target")
parser.add_argument("--target", default="", help="a text file, with --source")
parser.add_argument("--mo", default="", help="a folder of gettext's .mo and .po files")
parser.add_argument("--max_iters", type=int, default=1500, help="steps of training")
parser.add_argument("--ops", default="kernels", help="kernels, or reference (slower to train)")
parser.add_argument("--go", action="store_true", help="do not wait for your predictions")
options = parser.parse_args()
print((__doc__ or "").partition("Predict. ")[2].partition("\n\n    ")[0], "\n")
if sys.stdin.isatty() and not options.go:
    input("Enter continues. ")

own = bool(options.source or options.mo)
settings = TranslationConfig(
    dataset="pairs" if own else "date",
    source=options.source, target=options.target, mo=options.mo,
)  # fmt: skip
sizes = (64, 64) if own else (32, 16)  # tokens of the longest source and target
try:
    data = open_pairs(settings, sizes)
except InputError as error:  # such as: a file is missing
    raise SystemExit(str(error)) from None
config = gn.TransformerConfig(
    data.vocab_size, *sizes, n_layer=2, n_head=4, n_embd=C, label_smoothing=0.1
)
model = gn.Transformer(config, ops=options.ops)
optimizer = gn.AdamW(model, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0)
for step in range(1, options.max_iters + 1):
    optimizer.learning_rate = C**-0.5 * min(step**-0.5, step * WARMUP**-1.5)
    # A batch of about BATCH_TOKENS tokens, number `step` of those that this seed draws.
    loss = model.forward(*data.train.batch(BATCH_TOKENS, seed=1337, stream=TRAIN, index=step))
    model.backward()
    optimizer.step()
    if step % 250 == 0:
        print(f"step {step:5}: smoothed loss {loss:.4f}")

pairs = data.val.texts(50, seed=1, stream=2)  # as text: 50 that training never draws
sources = [source_tokens(data.tokenizer, text) for text, _ in pairs]
# For each source the best target found, with its log-probability. A beam of 1 is greedy decoding.
greedy, beam = (hypotheses(model, sources, Decoding(beam=width)) for width in (1, 4))
print()
for (source, target), found in list(zip(pairs, beam, strict=True))[:5]:
    written = text_of(data.tokenizer, found.tokens)
    print(f"    {source}\n    -> {written}{'' if written == target else f'   ({target})'}")
for name, some in (("greedy", greedy), ("beam of 4", beam)):
    texts = [text_of(data.tokenizer, h.tokens) for h in some]
    right = sum(text == target for text, (_, target) in zip(texts, pairs, strict=True))
    print(f"{name:<10} {right} of {len(pairs)} unseen sentences exactly right")

# The weights of every block and head; here the mean over the heads of the last block.
text, target = min(pairs, key=lambda pair: len(pair[0]))
source = source_tokens(data.tokenizer, text)
written = target_tokens(data.tokenizer, target)
weights = model.alignments(source[None], written[None])[-1, 0].mean(axis=0)
# Tokens 0, 1 and 2 are PAD, BEGIN and END; the tokenizer counts its letters from 0.
letters = [data.tokenizer.decode([token - 3]) for token in source[:-1]]
print(f"\nWhere the model looks in {text!r} when it writes {target!r}:")
print("        " + "".join(letters))
for token, row in zip(written[1:-1], weights, strict=False):
    marks = "".join(" .:-=+*#%@"[int(9.99 * w)] for w in row[:-1])
    print(f"    {data.tokenizer.decode([token - 3]):>2}  {marks}")

other = [(a, b) for a, b in zip(greedy, beam, strict=True) if a.tokens != b.tokens]
lower = sum(b.log_probability < a.log_probability for a, b in other)
print(f"\n1. Of {len(pairs)} targets, {len(other)} are not the greedy ones, {lower} less probable:")
print("   a beam can lose the greedy beginning, and the penalty prefers longer targets.")
month = weights[5:7].sum(axis=0) if not own else weights.sum(axis=0)
print(f"2. Most at {(letters + ['END'])[int(month.argmax())]!r}, in {text!r}.")
# Try (see examples/ANSWERS.md): --max_iters=100. Does beam search help more when the model
# is worse? max for min in the line that chooses the text. And
# `gpt-numpy train translate --mo=/usr/share/locale/es`.
