"""Mistakes of mixed precision: what is 16 bits and must not be, what is not and must be.

The products themselves are in the catalogue of kernels, the 16-bit weights of generation in its
own. Training has no copy of a weight in 16 bits that could be stale: each product rounds its
operands anew.
"""

from tests.mutations.mistake import listed

_STREAM = "mixed:the_residual_stream_is_a_sum_of_float32"
_WEIGHTS = "mixed:gradients_of_weights_are_sums_of_float32"
_LOSS = "mixed:the_loss_of_the_logits_is_not_rounded[reference]"
_UNROUNDED = "mixed:no_stream_and_no_gradient_consists_of_16_bits"
_ONES = "mixed:weights_of_1_arrive_where_those_of_float32_do[reference]"
_FRACTIONS = "bfloat16:test_a_product_is_that_of_exact_fractions[3]"
_EXPLAINED = "rounded:an_error_is_explained_up_to_twice_that_of_the_other_or_of_one_rounding"
_ROUNDED = "from gpt_numpy.reference.bfloat16 import rounded"

SUMS = [
    *listed(
        "reference/bfloat16.py",
        (
            "H30", "reference of bfloat16: every sum is rounded to 16 bits",
            ("return _without_denormals(c.astype(np.float64) + exact_product, DENORMAL)"
             ".astype(np.float32)",
             "return rounded((c.astype(np.float64) + exact_product).astype(np.float32))"),
            _FRACTIONS,
        ),
        (
            "H31", "reference of bfloat16: a NaN may become infinite",
            ("return np.where(np.isnan(x), upper | QUIET, result)",
             "return np.where(np.isnan(x), 0x7F80, result)"), "bfloat16:test_special_values[1]",
        ),
    ),
    *listed(
        "reference/linear.py",
        (
            "H32", "reference: gradients of weights are summed in 16 bits",
            ("    product(x_rows.T, dout_rows, out=dweight)\n",
             "    product(x_rows.T, dout_rows, out=dweight)\n"
             "    if precision == BFLOAT16:\n"
             f"        {_ROUNDED}\n"
             "        dweight[...] = 0\n"
             "        for row, drow in zip(x_rows, dout_rows, strict=True):\n"
             "            dweight[...] = rounded(dweight + np.outer(row, drow))\n"),
            f"{_WEIGHTS}[reference]",
        ),
        (
            "H33", "reference: gradients of biases are rounded to 16 bits",
            ("        dbias[...] = dout_rows.sum(axis=0)\n",
             "        dbias[...] = dout_rows.sum(axis=0)\n"
             "        if precision == BFLOAT16:\n"
             f"            {_ROUNDED}\n"
             "            dbias[...] = rounded(dbias)\n"), f"{_WEIGHTS}[reference]",
        ),
    ),
    *listed(
        "reference/mlp_sublayer.py",
        (
            "H34", "reference: the residual stream is summed in 16 bits",
            ("    out[...] = x + branch\n",
             "    out[...] = x + branch\n"
             '    if precision == "bfloat16":\n'
             f"        {_ROUNDED}\n"
             "        out[...] = rounded(out)\n"), f"{_STREAM}[reference]",
        ),
        (
            "H35", "reference: the gradient of the residual stream is summed in 16 bits",
            ("    dx[...] = dout + dx_branch\n",
             "    dx[...] = dout + dx_branch\n"
             '    if precision == "bfloat16":\n'
             f"        {_ROUNDED}\n"
             "        dx[...] = rounded(dx)\n"), f"{_UNROUNDED}[reference]",
        ),
    ),
]  # fmt: skip

UPDATES = listed(
    "training/optimizer.py",
    (
        "H50", "there are no weights of float32: an update is rounded to 16 bits",
        ("        return norm\n",
         '        if self.model.precision == "bfloat16":\n'
         f"            {_ROUNDED}\n"
         "            self.model.params.flat[...] = rounded(self.model.params.flat)\n"
         "        return norm\n"), _ONES,
    ),
    (
        "H51", "gains of norms are updated in 16 bits",
        ("        return norm\n",
         '        if self.model.precision == "bfloat16":\n'
         f"            {_ROUNDED}\n"
         "            for param in self.model.params.values():\n"
         "                if param.ndim == 1:\n"
         "                    param[...] = rounded(param)\n"
         "        return norm\n"), _ONES,
    ),
    (
        "H52", "the moments are kept in 16 bits",
        ("        return norm\n",
         '        if self.model.precision == "bfloat16":\n'
         f"            {_ROUNDED}\n"
         "            for moments in (self.m, self.v):\n"
         "                moments.flat[...] = rounded(moments.flat)\n"
         "        return norm\n"), _ONES,
    ),
)  # fmt: skip

MODEL = [
    *listed(
        "model/base_model.py",
        (
            "H60", "the losses of the positions are rounded to 16 bits",
            ('        wide[...] = losses\n',
             '        wide[...] = losses\n'
             "        if self.products == BFLOAT16:\n"
             f"            {_ROUNDED}\n"
             "            wide[...] = rounded(wide.astype(np.float32))\n"), _LOSS,
        ),
        (
            "H62", "another precision is one in name alone",
            ("vars(self).update(precision=precision, products=products, _last=None)",
             "vars(self).update(precision=precision, _last=None)"),
            "in_bfloat16:the_precision_may_change_between_two_steps[reference]",
        ),
        (
            "H63", "backward goes on in another precision than forward",
            ("vars(self).update(precision=precision, products=products, _last=None)",
             "vars(self).update(precision=precision, products=products)"),
            "in_bfloat16:the_precision_may_change_between_two_steps[reference]",
        ),
        (
            "H64", "a copy has the precision of its arrays",
            ("made_with = (self.config, self.precision, self.ops_name",
             "made_with = (self.config, str(self.dtype), self.ops_name"),
            "in_bfloat16:copies_and_files_keep_the_precision[reference]",
        ),
    ),
    *listed(
        "model/implementations.py",
        (
            "H67", "a model of bfloat16 has arrays of float64",
            ('return np.dtype("float32" if precision == BFLOAT16 else precision)',
             'return np.dtype("float64" if precision == BFLOAT16 else precision)'),
            "in_bfloat16:everything_but_the_operands_of_products_is_float32[reference]",
        ),
    ),
    *listed(
        "training/checkpoint.py",
        (
            "H68", "a checkpoint says the type of the arrays, not the precision",
            ('"dtype": model.precision,', '"dtype": str(model.dtype),'),
            "in_bfloat16:copies_and_files_keep_the_precision[reference]",
            "mixed:a_run_that_is_saved_and_loaded_goes_on_to_the_bit[reference]",
        ),
    ),
]  # fmt: skip

MEASURED = [
    *listed(
        "gradients/rounding.py",
        (
            "H70", "an error is compared with itself",
            ('other = "reference" if model.ops_name == "kernels" else "kernels"',
             "other = model.ops_name"), _EXPLAINED,
        ),
        (
            "H71", "where the other implementation happens to be exact, every rounding is too much",
            ("ok = error <= FACTOR * max(explained, UNIT)", "ok = error <= FACTOR * explained"),
            _EXPLAINED,
        ),
        (
            "H72", "an error may be any multiple of the explained one",
            ("ok = error <= FACTOR * max(explained, UNIT)",
             "ok = bool(np.isfinite(error)) or not explained"), _EXPLAINED,
        ),
        (
            "H73", "a tensor of rounding errors alone is measured against itself",
            ("scale = scale_of(np.abs(gradient).max(), largest)",
             "scale = np.abs(gradient).max()"),
            "rounded:a_tensor_that_is_nearly_zero_is_measured_against_the_largest_gradient",
        ),
        (
            "H74", "a NaN is not seen where another tensor is finite",
            ("largest = np.max([np.abs(gradient).max() for gradient in exact.values()])",
             "largest = max([np.abs(gradient).max() for gradient in exact.values()])"),
            "rounded:a_gradient_that_is_not_finite_cannot_be_measured",
        ),
        (
            "H75", "the exact gradient is rounded, too",
            ('("float64", model.ops_name), (BFLOAT16, model.ops_name)',
             "(BFLOAT16, model.ops_name), (BFLOAT16, model.ops_name)"),
            _EXPLAINED,
        ),
    ),
    *listed(
        "gradients/report.py",
        (
            "H76", "one tensor that rounding explains is enough",
            ('explains the error of every tensor."""\n        return all(',
             'explains the error of every tensor."""\n        return any('), _EXPLAINED,
        ),
        (
            "H77", "errors that rounding does not explain are not counted",
            ("wrong = sum(not row.ok for row in self.rows)\n        worst = max(",
             "wrong = sum(row.error > 1 for row in self.rows)\n        worst = max("), _EXPLAINED,
        ),
    ),
]  # fmt: skip

_BITS = "model16:what_products_alone_read_is_rounded_bit_for_bit"
_BOTH = "model16:both_implementations_round_the_same_wherever_activations_lie"
_TWICE = "model16:memory_that_backward_uses_twice_changes_no_bit"
_SHOWN = "model16:kernels_store_activations_in_16_bits_and_show_float32"

STORED = [
    *listed(
        "reference/attention_sublayer.py",
        (
            "H80", "with bfloat16 products attention's output is not rounded",
            ("    round_stored(out, settings.precision)\n", ""), f"{_BITS}[reference]",
        ),
    ),
    *listed(
        "reference/mlp_sublayer.py",
        (
            "H81", "with bfloat16 products the MLP's hidden layer is not rounded",
            ("    round_stored(k.fc, halves)\n", ""), f"{_BITS}[reference]",
        ),
    ),
    *listed(
        "kernels/attention_sublayer.py",
        (
            "H82", "attention's output is not stored in its 16 bits",
            ("    round_into(attn, k.attn)\n", ""), f"{_BITS}[kernels]",
        ),
    ),
    *listed(
        "kernels/mlp_sublayer.py",
        (
            "H83", "the gradient of act, where it is kept, is not handed on",
            ("        copy_unless_same(dk.act, dk.fc)\n", ""), f"{_BOTH}[keep1-gelu]",
        ),
    ),
    *listed(
        "kernels/halves.py",
        (
            "H84", "backward leaves the input of the nonlinearity as its output",
            ("store_row(again, out, start)", "store_row(row, out, start)"), f"{_BOTH}[keep0-gelu]",
        ),
        (
            "H90", "attention widens its first row only",
            ("row = x16[at + r * stride : at + r * stride + columns]",
             "row = x16[at : at + columns]"), "widens",
        ),
    ),
    *listed(
        "kernels/attention_sizes.py",
        (
            "H93", "keys begin where queries do",
            ("channels, n_head * D, channels)", "channels, 0, channels)"), "kernel:attention",
        ),
    ),
    *listed(
        "model/buffers.py",
        (
            "H85", "writing to what is only a copy is not refused",
            ("    copy.setflags(write=False)\n", ""), _SHOWN,
        ),
        (
            "H91", "backward writes act over fc, although somebody keeps fc",
            ("if other and other not in self._keep}", "if other}"), f"{_TWICE}[gelu-replaced0]",
        ),
        (
            "H92", "forward writes act where backward will: over fc",
            ("places |= {name: dplaces[name] for name in again}", "places |= again"),
            f"{_TWICE}[gelu-replaced0]",
        ),
    ),
    *listed(
        "model/calls.py",
        (
            "H86", "a replaced activation of 16 bits is forgotten",
            ("            array[...] = stored(wide[field])\n", "            pass\n"),
            "model16:a_replaced_activation_is_rounded_where_it_is_stored",
        ),
    ),
    *listed(
        "model/base_model.py",
        (
            "H87", "all activations take 32 bits",
            ("halves = self.products == BFLOAT16 and self.ops.HALVES", "halves = False"), _SHOWN,
        ),
    ),
    *listed(
        "kernels/decoding_parts.py",
        (
            "H88", "generation: queries, keys and values are not rounded",
            ("        round_for(pairs, qkv[: each + 2 * D])\n", "        pass\n"), "decode16",
        ),
    ),
    *listed(
        "reference/decoding.py",
        (
            "H89", "generation: the hidden layer is rounded only after the nonlinearity",
            ("            round_stored(inside, precision)\n", "            pass\n"), "prefix16",
        ),
    ),
]  # fmt: skip

MISTAKES = [*SUMS, *UPDATES, *MODEL, *MEASURED, *STORED]
