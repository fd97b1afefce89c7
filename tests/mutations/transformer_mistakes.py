"""Mistakes in the encoder-decoder: masks, two streams, post-norm, smoothing, decoding.

A01 to A39 are in plain NumPy, A40 and later in kernels, which are compiled.
"""

from tests.mutations.mistake import Mistake, listed

_TORCH = "encoder_decoder:logits_loss_and_every_gradient_equal_pytorch[P-reference]"
_EXACT = "encoder_decoder:every_parameter_gradient_is_exact[post]"
_PADDING = "encoder_decoder:padding_changes_nothing[config0-reference]"
_STEPS = (
    "encoder_decoder:decoding_step_by_step_gives_the_logits_of_the_whole_target[config0-reference]"
)
_REFUSED = "encoder_decoder:a_batch_that_cannot_be_used_is_refused_by_name"
_SMOOTHING = "encoder_decoder:the_loss_without_smoothing_is_that_of_the_targets"

LAYERS = [
    *listed(
        "reference/attention.py",
        (
            "A01", "the mask of padding is on the side of the queries",
            ("np.arange(s.shape[-1]) < lengths[:, None, None, None]",
             "np.arange(s.shape[-2])[:, None] < lengths[:, None, None, None]"), _TORCH,
        ),
        (
            "A02", "the first position of the padding is seen",
            ("np.arange(s.shape[-1]) < lengths", "np.arange(s.shape[-1]) <= lengths"), _PADDING,
        ),
    ),
    *listed(
        "reference/cross_attention.py",
        (
            "A03", "backward computes p again without the mask of padding",
            ("p = probabilities(Q, K, lse, lengths)",
             "p = probabilities(Q, K, lse, np.full_like(lengths, K.shape[2]))"),
            "pair:cross_attention",
        ),
        (
            "A04", "dK and dV change places",
            ("(dK, dV) = split_heads(dq", "(dV, dK) = split_heads(dq"), "pair:cross_attention",
        ),
        (
            "A05", "dQ lacks 1 / sqrt(D)", ("ds @ K * scale", "ds @ K"), "pair:cross_attention",
        ),
        (
            "A06", "dV from the weights before dropout",
            ("dV[...] = w.swapaxes(-1, -2) @ dO", "dV[...] = p.swapaxes(-1, -2) @ dO"),
            "pair:cross_attention",
        ),
    ),
    *listed(
        "reference/cross_attention_sublayer.py",
        (
            "A07", "the encoder gets the gradients of K and V of the last decoder block alone",
            ("dx.memory + dmemory if settings.adds else dmemory",
             "dx.memory if settings.adds else dmemory"), _EXACT,
        ),
        (
            "A08", "the encoder gets the gradients of K and V of the first decoder block alone",
            ("dx.memory + dmemory if settings.adds else dmemory", "dmemory"), _EXACT,
        ),
        (
            "A09", "the residual connection hands nothing down",
            ("dx.x[...] = dout + dx_branch", "dx.x[...] = dx_branch"),
            "pair:cross_attention_sublayer",
        ),
        (
            "A10", "the bias of keys and values gets no gradient",
            ("dx=dmemory, dweight=dw.kv_weight, dbias=dw.kv_bias",
             "dx=dmemory, dweight=dw.kv_weight, dbias=None"), "pair:cross_attention_sublayer",
        ),
    ),
    *listed(
        "reference/norms.py",
        (
            "A11", "post-norm: nothing comes back through the branch",
            ("dx[...] = dk.norm", "dx[...] = 0 * dk.norm"), "pair:mlp_sublayer+none",
        ),
    ),
    *listed(
        "reference/norm_layer.py",
        (
            "A12", "post-norm: the gradient goes around the norm",
            ("dx=dx, dweight=dw.ln_weight, dbias=dw.ln_bias,\n    )  # fmt: skip\n",
             "dx=dx, dweight=dw.ln_weight, dbias=dw.ln_bias,\n    )\n    dx[...] = dout\n"),
            "pair:norm_layer",
        ),
    ),
    *listed(
        "reference/embedding.py",
        (
            "A13", "the scale of the embedding is forgotten in backward",
            ("drow if scale == 1 else drow * scale", "drow"), "pair:embedding+scaled",
        ),
        (
            "A14", "positions are scaled, too",
            ("row += wpe[: tokens.shape[1]]", "row += wpe[: tokens.shape[1]] * scale"), _TORCH,
        ),
    ),
    *listed(
        "reference/cross_entropy.py",
        (
            "A15", "smoothing counts padding",
            ("dlogits[rows] -= dout[rows][:, None] * (smoothing",
             "dlogits -= dout[..., None] * (smoothing"), "pair:cross_entropy+smoothed",
        ),
        (
            "A16", "smoothing leaves the target out of the vocabulary",
            ("(smoothing / logits.shape[-1])", "(smoothing / (logits.shape[-1] - 1))"),
            "pair:cross_entropy+smoothed",
        ),
        (
            "A17", "the target keeps what is spread",
            ("dlogits[(*rows, targets[rows])] += dout[rows] * smoothing\n",
             "dlogits[(*rows, targets[rows])] += 0\n"), "pair:cross_entropy+smoothed",
        ),
    ),
    *listed(
        "reference/head.py",
        (
            "A18", "backward of the loss does not know the smoothing",
            (" smoothing=settings.smoothing,\n    )  # fmt: skip\n    tap", "\n    )\n    tap"),
            "pair:head_loss+smoothed",
        ),
    ),
]  # fmt: skip

MODEL = [
    *listed(
        "model/transformer_stages.py",
        (
            "A20", "another block than the last one begins the gradient of the encoder's output",
            ("adds=block != last", 'adds=block != "decoder.h.0"'), _EXACT,
        ),
        (
            "A21", "the gradient of the encoder's output lies where the decoder's stream's does",
            ("grad_buffer = None if writes == MEMORY else RESIDUAL", "grad_buffer = RESIDUAL"),
            _EXACT,
        ),
        (
            "A22", "the encoder has a causal mask",
            ('also_reads={"lengths": "lengths"} if P == "S" else {}', "also_reads={}"), _TORCH,
        ),
        (
            "A23", "the embedding is not scaled",
            ('{"scale": math.sqrt(config.n_embd)}', '{"scale": 1.0}'), _TORCH,
        ),
        (
            "A24", "the decoder's masks of dropout are the encoder's",
            ("first = 3 * config.n_layer + 1", "first = 1"),
            "encoder_decoder:every_place_has_its_own_site_of_dropout",
        ),
        (
            "A25", "the loss is not smoothed",
            ("smoothing=config.label_smoothing", "smoothing=0.0"), _TORCH,
        ),
    ),
    *listed(
        "model/fixed_tables.py",
        (
            "A26", "the sinusoids are those of a GPT, over sqrt(C)",
            ("sinusoidal_positions(size, C) * math.sqrt(C)", "sinusoidal_positions(size, C)"),
            _TORCH,
        ),
    ),
    *listed(
        "model/initial_parameters.py",
        (
            "A27", "queries, keys and values start as one matrix",
            ("width_out // parameter.parts", "width_out"),
            "encoder_decoder:a_model_starts_as_the_paper_says",
        ),
    ),
    *listed(
        "model/encoder_decoder.py",
        (
            "A28", "padding is predicted",
            ("np.where(target[:, 1:] == PAD, IGNORED, target[:, 1:])", "target[:, 1:]"), _PADDING,
        ),
        (
            "A29", "the loss of an evaluation is smoothed",
            ("smoothed=smoothing", "smoothed=True"), _SMOOTHING,
        ),
    ),
    *listed(
        "model/base_model.py",
        (
            "A30", "backward smooths what forward did not",
            ('"smoothed": last.smoothed', '"smoothed": True'), _SMOOTHING,
        ),
    ),
    *listed(
        "model/calls.py",
        (
            "A31", "what the model decides does not reach the layers",
            ("            given |= self.settings\n", ""), _SMOOTHING,
        ),
    ),
    *listed(
        "model/buffers.py",
        (
            "A39", "every shape of a batch is kept",
            ("if len(self._layouts) >= MOST_LAYOUTS:", "if False:"),
            "encoder_decoder:of_many_shapes_only_the_last_ones_are_kept",
        ),
    ),
    *listed(
        "model/decoder.py",
        (
            "A32", "every token has the first position", ("+ table[t]", "+ table[0]"), _STEPS,
        ),
        (
            "A33", "keys and values stay where they are when rows change places",
            ("        self._kept = self._kept[:, :, rows]\n",
             "        self._kept = self._kept[:, :, : len(rows)]\n"), _STEPS,
        ),
        (
            "A34", "rows keep the source that they had",
            ("if not np.array_equal(before, self.sources):", "if False:"), _STEPS,
        ),
        (
            "A35", "decoding sees the padding of the source",
            ("_average(Q, K, V, seen[:, None, None])", "_average(Q, K, V)"), _STEPS,
        ),
    ),
    *listed(
        "base/arrays.py",
        (
            "A37", "the first id beyond the vocabulary is accepted",
            ("or largest >= below:", "or largest > below:"), _REFUSED,
        ),
    ),
    *listed(
        "model/pair_check.py",
        (
            "A36", "padding in the middle is accepted",
            ("resumed = padding[:, :-1] & ~padding[:, 1:]", "resumed = padding[:, :0]"), _REFUSED,
        ),
        (
            "A38", "a source of padding alone is accepted",
            ("padding.all(axis=1)", "padding.all(axis=1) & False"), _REFUSED,
        ),
    ),
]  # fmt: skip

_ADDS = "crossed:a_block_adds_to_the_gradient_of_the_encoder_unless_it_is_the_first[kernels]"

KERNELS = [
    *listed(
        "kernels/attention.py",
        (
            "A40", "forward: padding is not masked",
            ("seen = q0 + r + 1 if causal else count", "seen = q0 + r + 1 if causal else S"),
            "kernel:cross_attention",
        ),
        (
            "A41", "backward takes padding for keys",
            ("if causal else lengths[shared // G]\n            v_rows = numbers_of(kv",
             "\n            v_rows = numbers_of(kv"), "kernel:cross_attention",
        ),
        (
            "A42", "the gradients of padding are left as they were",
            ("for k in range(done, S):", "for k in range(S, S):"), "kernel:cross_attention",
        ),
        (
            "A43", "the mask of dropout is that of as many keys as queries",
            ("(row[:seen], (head * T + q0 + r) * S", "(row[:seen], (head * T + q0 + r) * T"),
            "kernel:cross_attention",
        ),
    ),
    *listed(
        "kernels/cross_attention.py",
        (
            "A44", "forward has a causal mask",
            ("integers(lengths), flat(out), flat(lse), *sizes",
             "integers(None), flat(out), flat(lse), *sizes"),
            "kernel:cross_attention",
        ),
    ),
    *listed(
        "kernels/cross_attention_sublayer.py",
        (
            "A45", "the gradients of K and V of other blocks than the last are lost",
            ("        add_to(dx.memory, dmemory)\n", "        pass\n"), _ADDS,
        ),
    ),
    *listed(
        "kernels/embedding.py",
        (
            "A46", "the scale is forgotten in backward",
            ("scale_in_place(drow, like(size, drow))", "scale_in_place(drow, like(1.0, drow))"),
            "kernel:embedding+scaled",
        ),
    ),
    *listed(
        "kernels/cross_entropy.py",
        (
            "A47", "the target keeps what is spread",
            ("own + like(total - total / drow.size, drow)", "own - share"),
            "kernel:cross_entropy+smoothed",
        ),
        (
            "A48", "smoothing counts padding",
            ("if y != IGNORED:\n                if cap", "if y < V:\n                if cap"),
            "kernel:cross_entropy+smoothed",
        ),
    ),
    *listed(
        "kernels/norms.py",
        (
            "A49", "without a norm, the gradient around the branch is overwritten",
            ("    add_to(dx, dk.norm)\n", "    copy_unless_same(dk.norm, dx)\n"),
            "kernel:mlp_sublayer+none",
        ),
    ),
    *listed(
        "kernels/residual.py",
        (
            "A50", "all chunks are added to the first",
            ("add_in_place(total[start : start + CHUNK], x", "add_in_place(total[:CHUNK], x"),
            "large:mlp_sublayer+none",
        ),
    ),
    *listed(
        "kernels/norm_layer.py",
        (
            "A51", "the bias gets no gradient", ("dbias=dw.ln_bias", "dbias=None"),
            "kernel:norm_layer",
        ),
    ),
]  # fmt: skip

MISTAKES: list[Mistake] = LAYERS + MODEL + KERNELS
