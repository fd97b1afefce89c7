"""Mistakes in the kernels: tails, bounds of chunks, masks in blocks, packing, parts, sites.

Of the two ways to pack the left operand of x.T @ dout only one is used on a machine, and tiles of
AMX are multiplied only where it has them: their mutations are tried on such machines.
What they touch is compiled for float64, or float32 where only that has the code, without threads.
N names them, G the engine, B those of bfloat16; D5 to D7 are of the common list, put into
the kernels.
"""

from gpt_numpy.gradients.mutation import PACKAGE
from gpt_numpy.kernels.engine.machine_code import AMX, bfloat16_tile
from tests.mutations.mistake import Mistake, edit


def _kernel(name, what, file, texts, seen_by, others=(), equivalent=""):
    path = next((PACKAGE / "kernels").rglob(f"{file}.py")).relative_to(PACKAGE).as_posix()
    return Mistake(edit(name, what, path, *texts), seen_by, others, equivalent)


ENGINE = [
    _kernel(
        "G1", "after a busy time a launch keeps to one thread", "crew",
        ("self._pause = min(max(SHORTEST, 2 * self._pause), LONGEST)", "self._pause = 1e9"),
        ("crew",),
    ),
    _kernel(
        "G2", "the pause before all threads are tried again does not grow", "crew",
        ("max(SHORTEST, 2 * self._pause)", "SHORTEST"), ("crew",),
    ),
    _kernel(
        "G3", "the time between launches counts as that of all threads", "crew",
        ("(pool.threads() * launched + between)", "pool.threads() * (launched + between)"),
        ("crew",),
    ),
]  # fmt: skip

ROWS = [
    _kernel(
        "N01", "layer norm: the variance lacks eps", "layernorm",
        ("square / x.size + eps", "square / x.size"), ("kernel:layernorm", "large:layernorm"),
    ),
    _kernel(
        "N02", "layer norm: the last row of a chunk is lost in backward", "layernorm",
        ("min((chunk + 1) * CHUNK, rows)", "min((chunk + 1) * CHUNK - 1, rows)"),
        ("large:layernorm",), ("kernel:layernorm",),
    ),
    _kernel(
        "N03", "layer norm: the last chunk that is not full is lost in backward", "layernorm",
        ("chunks = -(-rows // CHUNK)", "chunks = max(rows // CHUNK, 1)"),
        ("large:layernorm",), ("kernel:layernorm",),
    ),
    _kernel(
        "N04", "layer norm: the residual's gradient is overwritten", "layernorm",
        ("dx[i] += (dout[i]", "dx[i] = (dout[i]"), ("kernel:mlp_sublayer",), ("kernel:layernorm",),
    ),
    _kernel(
        "N63", "the residual's gradient is copied when a call is prepared, not when it runs",
        "residual",
        ("dropout_forward(dout, NO_DROPOUT, out=dx)", "dx[...] = dout"),
        ("repeat",), ("kernel:mlp_sublayer",),
    ),
    _kernel(
        "N62", "layer norm: rows are normalised again without the bias", "layernorm",
        ("x[part], weight, bias, mean[r]", "x[part], weight, bias[:0], mean[r]"),
        ("kernel:mlp_sublayer", "kernel:attention_sublayer"),
    ),
    _kernel(
        "D7k", "layer norm: the variance as mean of squares less squared mean", "layernorm",
        (
            "square += (np.float64(x[i]) - mean) ** 2", "square += np.float64(x[i] * x[i])",
            "(square / x.size + eps)", "(square / x.size - mean * mean + eps)",
        ),
        (
            "edges:test_layernorm_of_rows_with_a_large_mean_is_as_good_as_its_input"
            "[kernels-1000.0]",
        ),
        ("single:layernorm",),
    ),
    _kernel(
        "N05", "loss: of a row left out one gradient is not written", "cross_entropy",
        ("fill(row, 0.0)", "fill(row[1:], 0.0)"), ("kernel:cross_entropy",),
    ),
    _kernel(
        "N06", "loss: at the target 1 instead of dout is taken off", "cross_entropy",
        ("= -others * factor", "= -others * factor + dout[r] - 1.0"), ("kernel:cross_entropy",),
    ),
    _kernel(
        "N68", "loss: 1 is taken off a target's probability that was rounded", "cross_entropy",
        (
            "row[y] = -others * factor",
            "row[y] = like(factor * np.float64(exp(own - lse[r])), row) - dout[r]",
        ),
        ("edges:test_the_kernel_keeps_the_digits_of_a_loss_near_0[float32-16]",),
        ("kernel:cross_entropy",),
    ),
    _kernel(
        "D6k", "the search for the largest element starts at -1e4", "rows",
        ("result = row[0]", "result = like(-1e4, row)"),
        ("edges:test_rows_of_very_negative_logits_are_a_softmax_like_any_other[kernels]",),
        ("kernel:cross_entropy",),
    ),
    _kernel(
        "N07", "rows: the sum of exponentials lacks the last of a stretch", "rows",
        (
            "for i in range(part.size):\n            subtotal += exp(",
            "for i in range(part.size - 1):\n            subtotal += exp(",
        ),
        ("kernel:cross_entropy", "large:cross_entropy"),
    ),
]  # fmt: skip

ELEMENTS = [
    _kernel(
        "N08", "dropout: every place has the mask of the one before", "dropout",
        ("mix64(_u64(site + 1))", "mix64(_u64(site))"), ("kernel:dropout", "large:dropout"),
    ),
    _kernel(
        "N09", "dropout: each chunk begins its mask anew", "dropout",
        ("drop_row(part, start, base", "drop_row(part, 0, base"),
        ("large:dropout",), ("kernel:dropout",),
    ),
    _kernel(
        "N10", "dropout: the high half of the index is lost", "dropout",
        ("mix64(base + _u64((index + done) >> 32))", "mix64(base)"),
        ("hash",), ("kernel:dropout", "large:dropout"),
    ),
    _kernel(
        "N11", "tanh GELU: the factor 3 is lost", "activation",
        ("like(3 * TANH_CUBIC, x)", "like(TANH_CUBIC, x)"), ("kernel:gelu_tanh",),
    ),
    _kernel(
        "N12", "GELU: the density's constant has two digits", "activation",
        ("like(DENSITY, x)", "like(0.4, x)"), ("kernel:gelu",),
    ),
    _kernel(
        "N43", "activation: every chunk is written over the first one", "activation",
        ("out[start : start + CHUNK])", "out[:CHUNK])"), ("large:relu",), ("kernel:relu",),
    ),
    _kernel(
        "N13", "exp in float32: the low part of ln 2 is lost", "elementary",
        ("- n * LN2_LOW", ""), ("single:gelu",), ("kernel:gelu",),
    ),
    _kernel(
        "N14", "erf in float32: the near polynomial reaches too far", "elementary",
        ("y > _f(0.927734375)", "y > _f(1.5)"), ("single:gelu",), ("kernel:gelu",),
    ),
    _kernel(
        "N15", "AdamW: the last element of each chunk is lost", "adamw",
        ("min(CHUNK, size - at), stretches", "min(CHUNK, size - at) - 1, stretches"),
        ("optimizer",),
    ),
    _kernel(
        "N16", "the norm lacks the chunk that is not full", "adamw",
        ("-(-x.size // CHUNK)\n    reset", "x.size // CHUNK\n    reset"), ("optimizer",),
    ),
    _kernel(
        "N17", "AdamW: eps inside the root", "adamw",
        ("(math.sqrt(square * v_unbias) + small)", "math.sqrt(square * v_unbias + small)"),
        ("optimizer",),
    ),
]  # fmt: skip

EMBEDDING = [
    _kernel(
        "N18", "embedding: the last row of a table is not set to zero", "embedding",
        ("range(x.size // C)", "range(x.size // C - 1)"), ("kernel:embedding",),
    ),
    _kernel(
        "N19", "embedding: of an odd number of channels the last is lost", "embedding",
        ("breadth = min(BREADTH, C - j0)", "breadth = min(BREADTH, C - j0) // 2 * 2"),
        ("large:embedding",), ("kernel:embedding",),
    ),
    _kernel(
        "N20", "embedding: backward's mask belongs to the first channels", "embedding",
        ("drop_row(drow, at, base", "drop_row(drow, r * C, base"),
        ("large:embedding",), ("kernel:embedding",),
    ),
    _kernel(
        "D5", "embedding: rows are added up in a parallel loop, a race", "embedding",
        (
            "for r in range(tokens.size):\n                at =",
            "for r in prange(tokens.size):\n                at =",
            "add_in_place(dwte[v : v + breadth], drow)",
            "for c in range(breadth):\n"
            "                    dwte[tokens[r] * C + j0 + c] += drow[c]",
        ),
        ("rules:embedding",),
    ),
]  # fmt: skip

PRODUCTS = [
    _kernel(
        "N21", "linear: the last row of the bias's gradient is lost", "linear",
        ("min(i0 + HEIGHT, rows)", "min(i0 + HEIGHT, rows - 1)"),
        ("kernel:linear", "large:linear"),
    ),
    _kernel(
        "N22", "linear: subtotals of the bias's gradient are not cleared", "linear",
        ("fill(subtotal, 0.0)", "fill(subtotal[:0] if i0 else subtotal, 0.0)"),
        ("large:linear",), ("kernel:linear",),
    ),
    _kernel(
        "N23", "product: a tile over the edge loses its last column", "matmul",
        ("for c in range(columns):", "for c in range(columns - 1):"), ("kernel:linear",),
    ),
    _kernel(
        "N24", "product: over the edge a later stretch overwrites the earlier", "matmul",
        ("] += edge[r * width + c]", "] = edge[r * width + c]"), ("products",), ("large:linear",),
    ),
    _kernel(
        "N25", "product: the epilogue comes after the first stretch", "matmul",
        ("if k0 + step >= inner and", "if k0 == 0 and"),
        ("large:mlp_sublayer",), ("kernel:mlp_sublayer",),
    ),
    _kernel(
        "N26", "product: panels of another task are used again", "matmul",
        ("panels)\n                packed = whole", "panels)\n                packed = True"),
        ("products", "large:linear"),
    ),
    _kernel(
        "N48", "weight gradient: the right panels of another block are used again", "matmul",
        ("left)\n                packed = whole", "left)\n                packed = True"),
        ("products",), ("large:linear",),
    ),
    _kernel(
        "N49", "weight gradient: the left operand is packed for the first task alone", "matmul",
        ("if not packed or not keep_left:", "if not packed:"),
        ("large:linear",), ("kernel:linear",),
    ),
    _kernel(
        "N27", "packing: the last panel of each group is lost", "packing",
        ("for g in range(GROUP):", "for g in range(GROUP - 1):"),
        ("large:linear",), ("kernel:linear",),
    ),
    _kernel(
        "N28", "packing transposed: the last step after the squares is lost", "packing",
        ("for k in range(filled, inner):", "for k in range(filled, inner - 1):"),
        ("kernel:linear", "large:linear"),
    ),
    _kernel(
        "N29", "packing columns: the tail begins one step late", "packing",
        ("for k in range(vectors, inner):", "for k in range(vectors + 1, inner):"),
        ("large:linear", "products"), ("kernel:linear",),
    ),
    _kernel(
        "N64", "tasks: the last of each worker is lost", "tasks",
        ("if task < last:", "if task + 1 < last:"), ("kernel:layernorm", "large:layernorm"),
    ),
    _kernel(
        "N60", "packing columns: the last step of a strip spills into the next strip", "packing",
        ("max(inner - 1 - wide // a_stride, 0)", "max(inner - wide // a_stride, 0)"),
        ("products",),
    ),
    _kernel(
        "N61", "packing columns: strips lose the rows that are left over", "packing",
        ("return strip * rows // strips", "return strip * (rows // strips)"),
        ("products",),
    ),
    _kernel(
        "N65", "packing rows: the last step of a copied strip is lost", "packing",
        ("for k in range(whole, inner):", "for k in range(whole, inner - 1):"),
        ("products",), ("large:linear",),
    ),
    _kernel(
        "N30", "tile: squares are transposed except their first swap", "tile",
        ("distance = lanes // 2", "distance = lanes // 4"), ("large:linear",), ("kernel:linear",),
    ),
    _kernel(
        "N31", "epilogue: dropout's mask begins anew in each row", "epilogue",
        ("drop_row(y, at, base", "drop_row(y, bias_at, base"), ("kernel:mlp_sublayer",),
    ),
    _kernel(
        "N32", "epilogue: a later block of columns gets the first one's bias", "epilogue",
        ("bias[bias_at : bias_at + breadth]", "bias[:breadth]"),
        ("large:attention_sublayer",), ("kernel:attention_sublayer",),
    ),
]  # fmt: skip

ATTENTION = [
    _kernel(
        "N33", "attention: a query sees one key of the future", "attention",
        ("seen = q0 + r + 1", "seen = q0 + r + 2"), ("kernel:attention", "large:attention"),
    ),
    _kernel(
        "N34", "attention: backward's mask is off by one", "attention",
        ("seen = i + r + 1 if causal", "seen = i + r + 2 if causal"),
        ("kernel:attention", "large:attention"),
    ),
    _kernel(
        "N35", "attention: the mask of dropout begins anew in each strip", "attention",
        ("(head * T + q0 + r) * S", "(head * T + r) * S"),
        ("large:attention",), ("kernel:attention",),
    ),
    _kernel(
        "N36", "attention: backward drops nothing in dw", "attention",
        (
            "drop_row(dp, index, base, threshold, scale)",
            "drop_row(dp[:0], index, base, threshold, scale)",
        ),
        ("kernel:attention",), ("large:attention",),
    ),
    _kernel(
        "N37", "attention: the last part's share of dK and dV is lost", "attention",
        ("for part in range(parts):", "for part in range(max(parts - 1, 1)):"),
        ("parts",), ("kernel:attention",),
    ),
    _kernel(
        "N38", "attention: keys that a part does not reach keep what was there", "attention",
        ("fill(sums[dv + k * sums_stride :][:D], 0.0)", "fill(sums[:0], 0.0)"),
        ("parts",), ("kernel:attention",),
    ),
    _kernel(
        "N39", "attention: the second strip adds to keys that nothing wrote", "attention",
        ("q1 - q0, k < done,", "q1 - q0, done > 0,"), ("large:attention",), ("kernel:attention",),
    ),
]  # fmt: skip

FUSED = [
    _kernel(
        "N40", "attention's branch has the mask of its weights", "attention_sublayer",
        ("x, dropout.next_site(), out=out", "x, dropout, out=out"),
        ("kernel:attention_sublayer",),
    ),
    _kernel(
        "N41", "the MLP's backward has the mask of the place after", "mlp_sublayer",
        (
            "through_dropout(dout, dropout, workspace=dk.norm)",
            "through_dropout(dout, dropout.next_site(), workspace=dk.norm)",
        ),
        ("kernel:mlp_sublayer",),
    ),
    _kernel(
        "N42", "the bias's gradient is taken from before dropout", "mlp_sublayer",
        ("parameter_gradients(dbranch, k.act", "parameter_gradients(dout, k.act"),
        ("kernel:mlp_sublayer",),
    ),
    _kernel(
        "N66", "head: the weight's gradient is that of the first positions alone", "head",
        ("add=again > 0)", "add=False)"), ("room",), ("kernel:head_loss",),
    ),
    _kernel(
        "N67", "head: positions whose logits were dropped get those of the last", "head",
        ("if again:\n            products", "if again > 1:\n            products"), ("room",),
    ),
    _kernel(
        "E1", "the gradient of the activation is copied even where it is made in place",
        "mlp_sublayer",
        ("GRADIENT_IN_PLACE if same_memory(dk.fc, dk.act) else GRADIENT", "GRADIENT"),
        ("kernel:mlp_sublayer",),
        equivalent="In place, `second` is the row itself: copying a row onto itself changes no "
        "element, and what follows is the same call with the same arrays.",
    ),
]  # fmt: skip

DECODING = [
    _kernel(
        "N50", "decoding: every token has the first position", "decoding_parts",
        ("wpe[t * C : (t + 1) * C]", "wpe[0:C]"), ("decode",),
    ),
    _kernel(
        "N51", "decoding: scores are not divided by sqrt(D)", "decoding_parts",
        ("like(1.0 / math.sqrt(D), scores)", "like(1.0, scores)"), ("decode",),
    ),
    _kernel(
        "N52", "decoding: a position does not see itself", "decoding_parts",
        ("seen = scores[: t + 1]", "seen = scores[: max(t, 1)]"), ("decode",),
    ),
    _kernel(
        "N53", "decoding: the last row of a weight is lost where eight do not fit",
        "decoding_products",
        ("for k in range(whole, x.size):", "for k in range(whole, x.size - 1):"), ("decode",),
    ),
    _kernel(
        "N54", "decoding: the last logit is never written", "decoding",
        ("min((part + 1) * v_rows, V)", "min((part + 1) * v_rows, V - 1)"), ("decode",),
    ),
    _kernel(
        "N55", "decoding: keys and values of another sequence", "decoding",
        ("((i * S + slots[b]) * G + shared)", "((i * S + b) * G + shared)"), ("decode",),
    ),
    _kernel(
        "N56", "decoding: what is done is counted where the next task stands", "atomics",
        ("ir.Constant(ir.IntType(64), DONE)", "ir.Constant(ir.IntType(64), 0)"), ("decode",),
    ),
    Mistake(
        edit(
            "N57", "reference of decoding: scores are not divided by sqrt(D)",
            "reference/decoding.py", " / math.sqrt(D)", "",
        ),
        ("prefix",),
    ),
    Mistake(
        edit(
            "N58", "reference of decoding: the position is the slot's number",
            "reference/decoding.py", "wte[tokens] + wpe[at]", "wte[tokens] + wpe[slots]",
        ),
        ("prefix",),
    ),
]  # fmt: skip

ROUNDED = [
    _kernel(
        "B40", "decoding in bfloat16: layer norms are not rounded", "decoding_parts",
        ("    round_for(pairs, out)\n", ""), ("decode16",),
    ),
    _kernel(
        "B41", "decoding in bfloat16: attention's output is not rounded", "decoding",
        ("                round_for(pairs, attn[goal : goal + C // G])\n", ""),
        ("decode16",),
    ),
    _kernel(
        "B42", "decoding in bfloat16: the hidden channels are not rounded", "decoding_parts",
        ("activate_row(kind, first_half, row)\n        round_for(pairs, row)\n",
         "activate_row(kind, first_half, row)\n"), ("decode16",),
    ),
    _kernel(
        "B43", "decoding in bfloat16: the last row of an odd number is lost", "decoding_products",
        ("    if x.size % 2 == 1:", "    if x.size % 2 == 2:"), ("decode16",),
    ),
    _kernel(
        "B44", "decoding in bfloat16: the middle element of a row of the head is lost",
        "decoding_products", ("if first.size > second.size:", "if first.size < second.size:"),
        ("decode16",),
    ),
    _kernel(
        "B45", "decoding in bfloat16: the numbers of a pair change places", "decoding_weights",
        ("bits_at(params, first + j) | (bits_at(params, second + j) << HALF)",
         "bits_at(params, second + j) | (bits_at(params, first + j) << HALF)"),
        ("decode16", "cache16:the_copies_are_the_rounded_matrices_bit_for_bit"),
    ),
    _kernel(
        "B46", "decoding in bfloat16: the last rows of a matrix are not packed", "decoding_weights",
        ("min(first + CHUNK, (rows + 1) // 2)", "min(first + CHUNK, rows // 2)"),
        ("cache16:the_copies_are_the_rounded_matrices_bit_for_bit",),
    ),
    _kernel(
        "B47", "decoding in bfloat16: the pairs that do not fit eight are lost",
        "decoding_products", ("range(whole, x.size // 2)", "range(whole, x.size // 2 - 1)"),
        ("decode16",),
    ),
    Mistake(
        edit(
            "B48", "reference of decoding: with bfloat16 products the head is not rounded",
            "reference/decoding.py", "_parts(matrices, places[L, 3:4]",
            "_parts(params, places[L, 3:4]",
        ),
        ("prefix16",),
        equivalent="`product` rounds operands that are float32 itself, to the same bits",
    ),
    Mistake(
        edit(
            "B49", "reference of decoding: with bfloat16 products the left operands are exact",
            "reference/decoding.py", "product = PRODUCTS[precision]",
            "product = np.matmul if copies is None else lambda x, w: x @ loaded(w)",
            "import stored\n", "import loaded, stored\n",
        ),
        ("prefix16",),
    ),
]  # fmt: skip

FRACTIONS = "bfloat16:test_a_product_is_that_of_exact_fractions[3]"

BFLOAT16 = [
    Mistake(
        edit(
            "B01", "reference of bfloat16: truncated, not rounded", "reference/bfloat16.py",
            "(bits + HALF_UNIT + (upper & 1)) >> 16", "bits >> 16",
        ),
        (
            "bfloat16:test_what_lies_between_two_numbers_goes_to_the_nearer_one_and_the_middle_to"
            "_the_even_one",
        ),
    ),
    Mistake(
        edit(
            "B02", "reference of bfloat16: the middle goes up, not to the even number",
            "reference/bfloat16.py", "HALF_UNIT + (upper & 1)", "HALF_UNIT + 1",
        ),
        (
            "bfloat16:test_what_lies_between_two_numbers_goes_to_the_nearer_one_and_the_middle_to"
            "_the_even_one",
        ),
    ),
    Mistake(
        edit(
            "B03", "reference of bfloat16: the even element of a pair is added first",
            "reference/bfloat16.py",
            "c = _sum(c, _term(a, b, k + 1))\n        c = _sum(c, _term(a, b, k))",
            "c = _sum(c, _term(a, b, k))\n        c = _sum(c, _term(a, b, k + 1))",
        ),
        ("bfloat16:test_the_odd_element_of_a_pair_is_added_first",),
    ),
    Mistake(
        edit(
            "B04", "reference of bfloat16: the odd last element is lost", "reference/bfloat16.py",
            "range(0, len(b), 2)", "range(0, len(b) - 1, 2)",
        ),
        (FRACTIONS,),
    ),
    Mistake(
        edit(
            "B05", "reference of bfloat16: denormal sums are kept", "reference/bfloat16.py",
            "exact_product, DENORMAL)", "exact_product, 0.0)",
        ),
        ("bfloat16:test_products_beyond_float32_are_neither_infinite_nor_denormal_before_they_are"
         "_added",),
    ),
    Mistake(
        edit(
            "B06", "reference of bfloat16: denormal operands are kept", "reference/bfloat16.py",
            "np.where(np.abs(x) < LEAST, upper & SIGN, result)", "result",
        ),
        ("bfloat16:test_special_values[1]",),
    ),
    _kernel(
        "B07", "bfloat16: integers truncate", "rounding_bf16",
        ("number(1)), number(HALF_UNIT))", "number(0)), number(0))"), ("rounding",), ("pairs",),
    ),
    _kernel(
        "B08", "bfloat16: the vectors of two rows change places", "rounding_bf16",
        ("at in (first, second))\n        return", "at in (second, first))\n        return"),
        ("many_pairs",),
    ),
    _kernel(
        "B09", "bfloat16: denormal results are stored as such", "rounding_bf16",
        ("size, number(LEAST)), zero", "size, number(0)), zero"), ("stored",),
    ),
    _kernel(
        "B10", "bfloat16 packing: the elements of a pair change places", "packing_bf16",
        (
            "bits_at(source, at) | (bits_at(source, at + distance) << HALF)",
            "bits_at(source, at + distance) | (bits_at(source, at) << HALF)",
        ),
        ("pairs", "many_pairs"),
    ),
    _kernel(
        "B11", "bfloat16 packing: the odd last element of a row is lost", "packing_bf16",
        ("for k in range(whole, steps):\n            at = a_at + r",
         "for k in range(whole, inner // 2):\n            at = a_at + r"),
        ("pairs", "many_pairs"),
    ),
    _kernel(
        "B12", "bfloat16 packing: the odd last row is lost", "packing_bf16",
        ("for k in range(full, steps):", "for k in range(full, inner // 2):"),
        ("pairs", "many_pairs"),
    ),
    _kernel(
        "B14", "bfloat16: the tail of a stored row is lost", "packing_bf16",
        ("range(whole, row.size)", "range(whole, row.size - 1)"), ("halves",),
    ),
    _kernel(
        "B15", "bfloat16: over the edge a later stretch begins anew", "matmul_bf16",
        ("edge[r * WIDTH + c] = array[at", "edge[r * WIDTH + c] = 0 * array[at"), ("many_pairs",),
    ),
    _kernel(
        "B16", "bfloat16: panels of another task are used again", "matmul_bf16",
        ("packed = whole\n            task", "packed = True\n            task"),
        ("many_pairs",),
    ),
    _kernel(
        "B17", "bfloat16: the epilogue comes after the first stretch", "matmul_bf16",
        ("if k0 + step >= inner and", "if k0 == 0 and"), ("finished",),
    ),
    _kernel(
        "B18", "emulated bfloat16: the even element of a pair is added first", "tile_bf16",
        ("for x in (odd, even))", "for x in (even, odd))"), ("emulated",),
    ),
    _kernel(
        "B19", "emulated bfloat16: denormal numbers are kept", "tile_bf16",
        ("NO_DENORMALS = 0x9FC0", "NO_DENORMALS = 0x1F80"), ("emulated",),
    ),
    _kernel(
        "B20", "emulated bfloat16: in float64 denormal sums are kept", "tile_bf16",
        ("self._flushed(b.fadd(total, b.fmul(x, y)), DENORMAL)", "b.fadd(total, b.fmul(x, y))"),
        ("in_float64",),
    ),
    _kernel(
        "B21", "bfloat16: Intel's processors use the instruction, too", "machine_code",
        ('startswith("znver")', 'startswith("")'), ("chosen",),
    ),
    _kernel(
        "B62", "the choice of a tile: AMX where it does not work", "machine_code",
        ("    if not reason:\n        return wanted or AMX", "    return wanted or AMX"),
        ("chosen",),
    ),
    _kernel(
        "B63", "AMX: the operating system is not asked", "amx",
        ("if not permitted():", "if False:"), ("obstacles",),
    ),
    _kernel(
        "B64", "AMX: what the processor computed is not looked at", "amx",
        ("if not trial():", "if False:"), ("obstacles",),
    ),
    _kernel(
        "B65", "AMX: other systems are asked as Linux is", "amx",
        ('if sys.platform != "linux" or', "if"), ("only_linux",),
    ),
    _kernel(
        "B66", "AMX: the trial does not round the sum of the two sums", "amx",
        ("_rounded(sums[0].astype(np.float64) + sums[1])",
         "(sums[0].astype(np.float64) + sums[1])"),
        ("trial",),
    ),
    _kernel(
        "B67", "AMX: the trial keeps denormal operands", "amx",
        ("np.abs(x) < LEAST, np.copysign", "np.abs(x) < 0.0, np.copysign"), ("trial",),
    ),
    Mistake(
        edit(
            "B68", "reference of bfloat16: tiles sum even and odd elements together",
            "reference/bfloat16.py",
            "odd = _sum(odd, _term(a, b, k + 1))", "even = _sum(even, _term(a, b, k + 1))",
        ),
        ("bfloat16:test_amx_sums_even_and_odd_elements_apart_and_16_pairs_at_a_time",),
    ),
    Mistake(
        edit(
            "B69", "reference of bfloat16: a tile is the whole inner dimension",
            "reference/bfloat16.py", "TILE = 32 ", "TILE = 32000 ",
        ),
        ("bfloat16:test_amx_sums_even_and_odd_elements_apart_and_16_pairs_at_a_time",),
    ),
    Mistake(
        edit(
            "B80", "a checkpoint does not say how products were computed", "training/checkpoint.py",
            'if model.precision == BFLOAT16 and model.ops_name == "kernels":', "if False:",
        ),
        ("recorded_tile",),
    ),
    Mistake(
        edit(
            "B81", "selfcheck: only the last bfloat16 product counts", "gradients/selfcheck.py",
            "differ += int((got", "differ = int((got",
        ),
        ("selfcheck_bits",),
    ),
]  # fmt: skip

OF_VECTORS = [
    _kernel(
        "B13", "bfloat16 packing columns: the odd last row is lost", "packing_bf16",
        ("for k in range(vectors, steps):", "for k in range(vectors, inner // 2):"), ("pairs",),
    ),
    _kernel(
        "N75", "bfloat16 packing columns: the last rows are read in whole vectors", "packing_bf16",
        ("max(inner - -(-WIDE // a_stride), 0) // 2", "inner // 2"),
        ("pages:bfloat16_product_leaves_its_operands[end]",),
    ),
]  # fmt: skip

OF_AMX = [
    _kernel(
        "B79", "AMX: of an operand packed once each stretch overwrites the one before",
        "matmul_bf16",
        ("strip[STRIP + steps_of(k0) * apart :]", "strip[STRIP:]"), ("many_pairs",),
    ),
    _kernel(
        "B70", "AMX: a later stretch begins anew", "tile_amx",
        ('out.move("tileloadd64", register, i, at)', '_call(builder, "tilezero", register)'),
        ("many_pairs",),
    ),
    _kernel(
        "B71", "AMX: the halves of the panel change places", "tile_amx",
        ("constant(j * SIDE * BYTES)))\n        for i",
         "constant((1 - j) * SIDE * BYTES)))\n        for i"),
        ("pairs", "many_pairs"),
    ),
    _kernel(
        "B72", "AMX: the lower rows are those above", "tile_amx",
        ('left.move("tileloadd64", LEFT[i], i, across)',
         'left.move("tileloadd64", LEFT[i], 0, across)'),
        ("many_pairs",),
    ),
    _kernel(
        "B73", "AMX: rows between two heights of tiles are written beyond the result", "tile_amx",
        ("return rows >= TILE_ROWS or rows == LEAST_ROWS", "return rows >= LEAST_ROWS"),
        ("many_pairs",),
    ),
    _kernel(
        "B74", "AMX packing rows: the last pairs are not filled up", "packing_bf16",
        ("for k in range(whole if i < square else 0, steps):",
         "for k in range(whole if i < square else 0, (inner + 1) // 2):"),
        ("many_pairs",),
    ),
    _kernel(
        "B75", "AMX packing: the inner dimension is not filled up", "packing_bf16",
        ("value = pair_at(b, at, b_stride, inner - 2 * k) if inside else 0",
         "value = pair_at(b, at, b_stride, inner) if inside else 0"),
        ("pairs",),
    ),
    _kernel(
        "B76", "AMX: strips begin between two tiles", "packing_bf16",
        ("min(strip * -(-rows // UNIT) // strips * UNIT, rows)", "strip * rows // strips"),
        ("many_pairs",),
    ),
    _kernel(
        "B77", "AMX: the trial passes whatever the processor computes", "amx",
        ("tile_product(a, b, before).view(np.uint32)", "c.view(np.uint32)"), ("refused",),
    ),
    _kernel(
        "B78", "AMX packing rows: columns beyond the last are read", "packing_bf16",
        ("square = rows // LANES * LANES", "square = -(-rows // LANES) * LANES"),
        ("pages:bfloat16_product_leaves_its_operands[end]",),
    ),
]  # fmt: skip

# What no test but one notices: what is read beyond an end, and what only odd values show.
BEYOND = [
    _kernel(
        "N70", "packing: a panel that is not full is read beyond the rows", "packing",
        ("    whole = columns // width * width\n    grouped",
         "    whole = -(-columns // width) * width\n    grouped"),
        ("pages:product_leaves_its_operands[shape4-float32-end]",),
    ),
    _kernel(
        "N71", "packing: columns beyond the last are read", "packing",
        ("if j + width <= columns:\n            filled", "if j < columns:\n            filled"),
        ("pages:product_leaves_its_operands[shape4-float32-end]",),
    ),
    _kernel(
        "N72", "packing columns: the last rows are read in whole vectors", "packing",
        ("vectors = max(inner - 1 - wide // a_stride, 0)", "vectors = inner"),
        ("pages:product_leaves_its_operands[shape4-float32-end]",),
    ),
    _kernel(
        "N73", "packing: the copy of a strip reads beyond its rows", "packing",
        ("whole = inner // width * width\n    for k in range(0, whole, width):\n        for r",
         "whole = -(-inner // width) * width\n    for k in range(0, whole, width):\n        for r"),
        ("pages:product_leaves_its_operands[shape6-float32-end]",),
    ),
    _kernel(
        "N74", "tile: rows beyond the last are read", "tile",
        ("builder.select(\n            outside, last, constant(row)\n        )",
         "builder.select(\n            outside, constant(row), constant(row)\n        )"),
        ("pages:product_leaves_its_operands[shape4-float32-end]",),
    ),
    _kernel(
        "N76", "bfloat16 packing: columns beyond the last are read", "packing_bf16",
        ("filled = inner // (2 * LANES) * LANES if j + WIDTH <= columns else 0",
         "filled = inner // (2 * LANES) * LANES"),
        ("pages:bfloat16_product_leaves_its_operands[end]",),
    ),
    _kernel(
        "N77", "bfloat16: the rows of a strip are rounded beyond their end", "packing_bf16",
        ("    whole = inner // (2 * LANES) * LANES\n    for r",
         "    whole = -(-inner // (2 * LANES)) * LANES\n    for r"),
        ("pages:bfloat16_product_leaves_its_operands[end]",),
    ),
    _kernel(
        "N78", "products: an operand is packed whole into the room of the copied rows", "matmul",
        ("<= PACKED // 2 and rows", "<= PACKED and rows"), ("crowded",),
    ),
    _kernel(
        "N79", "dropout: a rate next to 1 drops nothing", "dropout",
        ("min(round(rate * 2**32), 2**32 - 1)", "round(rate * 2**32) & (2**32 - 1)"),
        ("next_to_1",),
    ),
    Mistake(
        edit(
            "N80", "reference of dropout: a rate next to 1 drops nothing", "reference/dropout.py",
            "min(round(rate * 2**32), 2**32 - 1)", "round(rate * 2**32) & (2**32 - 1)",
        ),
        ("next_to_1",),
    ),
    _kernel(
        "N81", "cross-entropy: the gradient is not divided by the sum of its exponentials",
        "cross_entropy",
        ("np.float64(dout[r]) / (others + np.float64(exp(own - lse[r])))", "np.float64(dout[r])"),
        ("large_logits",),
    ),
    _kernel(
        "N82", "attention in parts: every part has a dropout mask of its own", "attention",
        ("(head * T + q0 + r) * S, base", "(task * T + q0 + r) * S, base"), ("parts",),
    ),
]  # fmt: skip

MISTAKES = [
    *ENGINE,
    *ROWS,
    *ELEMENTS,
    *EMBEDDING,
    *PRODUCTS,
    *ATTENTION,
    *FUSED,
    *DECODING,
    *ROUNDED,
    *BFLOAT16,
    *(OF_AMX if bfloat16_tile() == AMX else OF_VECTORS),
    *BEYOND,
]
