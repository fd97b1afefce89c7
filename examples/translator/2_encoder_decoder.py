"""Translator 2, the whole encoder-decoder: where the gradients of the source add up.

The encoder reads the source and hands over its output, the *memory*; every block of the decoder
makes keys and values of its own from this one memory.

    encoder block    attn (self-attention without a mask), mlp
    decoder block    attn (causal self-attention), cross (cross-attention to the memory), mlp

As in a GPT each of these is a branch: it reads its stream, and its result is added to it. Then the
sum is normalised, which is the new value of the stream (post-norm; rung 8 mentions it). The
package has this model as a list of *stages*, each a branch, a norm, an embedding or the head
(`gpt_numpy/model/transformer_stages.py`).

The loss reaches the encoder on as many ways as there are decoder blocks, and the gradients add up:

    dmemory = sum over blocks of dkv @ kv_weight.T

This program trains on the first task of "The Annotated Transformer", a page that goes through the
paper with a program in PyTorch (https://nlp.seas.harvard.edu/annotated-transformer): to copy ten
digits. The rate is the paper's. It rises over the first `warmup` steps: at the start Adam's means
are from few gradients, and large steps do damage. Then it falls as 1 / sqrt(step),

    rate(step) = n_embd^-0.5 min(step^-0.5, step warmup^-1.5)

Before that it walks through one backward pass, stage by stage, and checks the sum above.

Predict. Write your answers down first; the last lines of the output have them.
1. Which stage runs last in the backward pass?
2. Of the gradients that the decoder's two blocks send to the memory, is one much larger?
3. After how many of these steps can it copy ten digits without a mistake?

    python examples/translator/2_encoder_decoder.py [--max_iters=600] [--ops=kernels]
"""

import argparse
import sys

import numpy as np

import gpt_numpy as gn
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.data.batches import TRAIN
from gpt_numpy.data.pair_dataset import open_pairs
from gpt_numpy.data.sentences import source_tokens, text_of

C, WARMUP, BATCH_TOKENS = 64, 200, 880  # channels; 80 pairs of 11 tokens in a batch
parser = argparse.ArgumentParser()
parser.add_argument("--max_iters", type=int, default=600, help="steps of training")
parser.add_argument("--ops", default="kernels", help="kernels, or reference (slower to train)")
parser.add_argument("--go", action="store_true", help="do not wait for your predictions")
options = parser.parse_args()
print((__doc__ or "").partition("Predict. ")[2].partition("\n\n    ")[0], "\n")
if sys.stdin.isatty() and not options.go:
    input("Enter continues. ")

# Pairs of texts; sources and targets have at most 16 tokens each, END at the end of both counted.
data = open_pairs(TranslationConfig(dataset="copy"), (16, 16))
config = gn.TransformerConfig(
    data.vocab_size, source_size=16, target_size=16, n_layer=2, n_head=4, n_embd=C
)

# One backward pass in float64; with keep=("*",) no array is overwritten by a later one.
look = gn.Transformer(config, dtype="float64", ops="reference", keep=("*",))
# Batch 0, of about 110 tokens: 10 pairs of 11. Seed and stream are those of the random numbers.
source, target = data.train.batch(110, seed=1, stream=TRAIN, index=0)
look.forward(source, target)
look.backward()
sizes = (len(source), target.shape[1] - 1, source.shape[1])  # pairs, positions of each stream
print("backward runs, and each is derived at the top of its file in gpt_numpy/reference/:")
stages = [call.stage for call in look.calls(sizes).backward]  # what backward runs, in order
for stage in stages:
    print(f"    {stage.name:<24} {stage.layer}_backward")
# activation_grads has the gradient of an array by its name; kv are the keys and values of a block.
weights = [look.params[f"decoder.h.{i}.cross.c_kv.weight"] for i in range(config.n_layer)]
sent = [look.activation_grads[f"decoder.h.{i}.cross.kv"] @ w.T for i, w in enumerate(weights)]
dmemory = look.activation_grads["encoder.out"]
error = np.abs(sum(sent) - dmemory).max() / np.abs(dmemory).max()
print(f"what the blocks send adds up to the gradient of the memory: error {error:.1e}")
if error > 1e-12:
    raise SystemExit("the gradients of the blocks do not add up to that of the memory")

model = gn.Transformer(config, ops=options.ops)
optimizer = gn.AdamW(model, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0)
pairs = data.val.texts(200, seed=1, stream=2)  # sequences that training never draws
sources = [source_tokens(data.tokenizer, text) for text, _ in pairs]
exact_at = None
for step in range(1, options.max_iters + 1):
    optimizer.learning_rate = C**-0.5 * min(step**-0.5, step * WARMUP**-1.5)
    source, target = data.train.batch(BATCH_TOKENS, seed=1337, stream=TRAIN, index=step)
    loss = model.forward(source, target)  # the target is shifted inside
    model.backward()
    optimizer.step()
    if step % 50 == 0 or step == options.max_iters:
        # beam=1: always the most likely token (program 4 has more); text_of turns tokens into text.
        written = [text_of(data.tokenizer, each) for each in gn.translate(model, sources, beam=1)]
        right = sum(text == target for text, (_, target) in zip(written, pairs, strict=True))
        print(f"step {step:4}: loss {loss:.4f}, {right} of 200 unseen sequences copied")
        exact_at = step if right == 200 and exact_at is None else exact_at

(digits,) = gn.translate(model, [source_tokens(data.tokenizer, "0123456789")])
print(f"0123456789 -> {text_of(data.tokenizer, digits)}\n")
norms = ", ".join(f"{np.linalg.norm(each):.3f}" for each in sent)
print(f"1. {stages[-1].name}: the source's tokens are the first thing that the forward pass reads.")
print(f"2. Before training, from the first block to the last, gradients of norm {norms}.")
print(f"3. {f'After {exact_at}' if exact_at else f'Not within {options.max_iters}'} steps.")
# Try (see examples/ANSWERS.md): norm_place="pre" in the configuration. n_layer=1. And
# `gpt-numpy train copy`, the same with checkpoints and a log.
