"""Mistakes in what came after GPT-2: RMSNorm, rotary positions, QK norm, grouped heads, and so on.

L01 to L39 are in plain NumPy, L40 and later in kernels, which are compiled.
"""

from tests.mutations.mistake import Mistake, listed

RMSNORM = listed(
    "reference/rmsnorm.py",
    (
        "L01", "RMSNorm: the part along xhat is not removed",
        ("(dxhat - xhat * along_xhat) * rstd", "dxhat * rstd"), "pair:rmsnorm", "model",
    ),
    (
        "L02", "RMSNorm: dx lacks rstd",
        ("(dxhat - xhat * along_xhat) * rstd[..., None]", "dxhat - xhat * along_xhat"),
        "pair:rmsnorm", "model",
    ),
    (
        "L03", "RMSNorm: dx ignores the weight", ("dxhat = dout * weight", "dxhat = dout * 1"),
        "pair:rmsnorm", "model",
    ),
    (
        "L04", "RMSNorm: dweight from x, not divided",
        ("(dout * xhat).sum(axis=rows)", "(dout * x).sum(axis=rows)"), "pair:rmsnorm", "model",
    ),
    (
        "L05", "RMSNorm: the output is not divided",
        ("x * rstd[..., None] * weight", "x * weight"), "pair:attention_sublayer+rmsnorm", "model",
    ),
)  # fmt: skip

TABLES = [
    *listed(
        "reference/norms.py",
        (
            "L06", "the table of norms: RMSNorm's output is not recomputed in backward",
            ("divide(x, w.ln_weight, k.rstd, out=k.norm)",
             "divide(x, w.ln_weight, k.rstd, out=k.norm.copy())"),
            "model",
        ),
    ),
    *listed(
        "kernels/norms.py",
        (
            "L40", "the table of norms: in backward RMSNorm's output is not written again",
            ("dweight=dw.ln_weight, out=k.norm\n    )\n\n\ndef _identity(",
             "dweight=dw.ln_weight, out=dk.norm\n    )\n\n\ndef _identity("),
            "kernel:mlp_sublayer+rmsnorm",
        ),
    ),
    *listed(
        "kernels/rmsnorm.py",
        (
            "L41", "RMSNorm: the mean square lacks eps",
            ("square / x.size + eps", "square / x.size"), "kernel:rmsnorm",
        ),
        (
            "L42", "RMSNorm: the last row of a chunk is lost in backward",
            ("min((chunk + 1) * CHUNK, rows)", "min((chunk + 1) * CHUNK - 1, rows)"),
            "large:rmsnorm",
        ),
        (
            "L43", "RMSNorm: each chunk adds to the sums of the one before",
            ("            fill(dw, 0.0)\n", ""), "large:rmsnorm",
        ),
    ),
]  # fmt: skip

POSITIONS = [
    *listed(
        "reference/rotary.py",
        (
            "L07", "rotary: backward turns the same way as forward",
            ("[first * cos + second * sin, second * cos - first * sin]",
             "[first * cos - second * sin, second * cos + first * sin]"),
            "pair:queries_keys+turned", "model", "modern",
        ),
        (
            "L08", "rotary: the angles fall off half as fast",
            ("np.arange(0, head_size, 2) / head_size", "np.arange(head_size // 2) / head_size"),
            "modern",
        ),
        (
            "L09", "rotary: the first position is turned by one step",
            ("np.arange(n_positions)[:, None]", "np.arange(1, n_positions + 1)[:, None] ** 1.01"),
            "modern",
        ),
    ),
    *listed(
        "reference/queries_keys.py",
        (
            "L10", "QK norm: the gradient is not turned back",
            ("turn_back(dx, rotations, dx=dx)", "turn_back(dx, rotations, dx=dx.copy())"),
            "pair:queries_keys+turned", "pair:queries_keys", "model",
        ),
        (
            "L11", "QK norm: the gradients of the two weights change places",
            ("(dq_norm, dk_norm)", "(dk_norm, dq_norm)"), "pair:queries_keys", "modern",
        ),
        (
            "L12", "QK norm: keys are scaled by the queries' weight",
            ("(q_norm, k_norm),\n        strict", "(q_norm, q_norm),\n        strict"),
            "pair:queries_keys", "modern",
        ),
        (
            "L36", "QK norm: backward has the usual eps, whatever the model says",
            ("out=np.empty_like(x), rstd=rstd, eps=eps)", "out=np.empty_like(x), rstd=rstd)"),
            "pair:queries_keys", "model",
        ),
    ),
    *listed(
        "generation/kv_cache.py",
        (
            "L13", "a step takes every MLP for one of GPT-2's width",
            ("config.n_embd, config.n_hidden,",
             "config.n_embd, 4 * config.n_embd,"), "prefix",
        ),
    ),
    *listed(
        "model/gpt.py",
        (
            "L14", "of a prompt the keys are kept before they are turned",
            ('name = "ready" if "h.0.attn.ready" in layout.acts else "qkv"', 'name = "qkv"'),
            "prefix",
        ),
        (
            "L15", "the logits are returned before the soft cap",
            ("return capped(out, self.config.logit_softcap)", "return out"), "modern",
        ),
    ),
    *listed(
        "reference/decoding.py",
        (
            "L37", "reference of decoding: norms have the usual eps, whatever the model says",
            ("kind = settings.norm_kind, settings.norm_eps", "kind = settings.norm_kind, 1e-5"),
            "prefix",
        ),
        (
            "L16", "reference of decoding: every slot turns by its number",
            ("None if rotations is None else rotations[at]",
             "None if rotations is None else rotations[slots]"), "prefix",
        ),
    ),
]  # fmt: skip

HEADS = [
    *listed(
        "reference/attention.py",
        (
            "L17", "grouped heads: only the first of a group has a gradient",
            (".sum(axis=2)\n", "[:, :, 0]\n"), "pair:attention+grouped", "model", "modern",
        ),
        (
            "L18", "grouped heads: every n-th head shares keys, not neighbours",
            ("np.repeat(x, n_head // G, axis=1)", "np.tile(x, (1, n_head // G, 1, 1))"),
            "pair:attention+grouped", "modern",
        ),
    ),
    *listed(
        "reference/activation.py",
        (
            "L19", "squared ReLU: the factor 2 is missing", ("dout * 2 * x", "dout * x"),
            "pair:relu2", "model", "modern",
        ),
        (
            "L20", "SwiGLU: the gate's derivative has s for 1 - s",
            ("(1 + a * (1 - s))", "(1 + a * s)"), "pair:swiglu", "model", "modern",
        ),
        (
            "L21", "SwiGLU: the value's gradient is not gated", ("dout * a * s", "dout * s"),
            "pair:swiglu", "model", "modern",
        ),
    ),
    *listed(
        "reference/cross_entropy.py",
        (
            "L22", "soft cap: its derivative is not squared",
            ("1 - share * share", "1 - share"), "pair:cross_entropy+capped", "model", "modern",
        ),
        (
            "L23", "soft cap: the height is forgotten inside",
            ("np.tanh(logits / softcap)", "np.tanh(logits)"), "pair:cross_entropy+capped", "modern",
        ),
    ),
    *listed(
        "reference/head.py",
        (
            "L24", "head: backward of the loss does not know the soft cap",
            ("dlogits=dkept.logits,\n        softcap=settings.softcap,", "dlogits=dkept.logits,\n"),
            "pair:head_loss+capped", "model", "modern",
        ),
    ),
    *listed(
        "model/stages.py",
        (
            "L25", "what QK norm reads in backward shares a buffer with the next block's",
            ('buffer = "qkv" if turned and not config.qk_norm else None',
             'buffer = "qkv" if turned else None'), "modern",
        ),
        (
            "L26", "the projections to the residual stream never start at 0",
            ('return "zero" if config.init_residual == "zero" else "residual"',
             'return "residual"'), "starts",
        ),
        (
            "L27", "a head of its own never starts at 0",
            ('Parameter("lm_head.weight", (V, C), config.init_head)',
             'Parameter("lm_head.weight", (V, C))'), "starts",
        ),
    ),
    *listed(
        "config/model.py",
        (
            "L28", "the width of SwiGLU is rounded down", ("-(-8 * self.n_embd // 48) * 16",
                                                           "8 * self.n_embd // 48 * 16"),
            "config:the_hidden_size_follows_from_the_activation_or_is_given",
        ),
        (
            "L29", "groups of unequal size are accepted",
            ("if self.n_kv_head and self.n_head % self.n_kv_head:", "if False:"),
            "config:modern_settings_that_do_not_fit_are_refused_with_a_fix",
        ),
    ),
    *listed(
        "training/muon.py",
        (
            "L35", "Muon takes SwiGLU's gates and values for one matrix",
            ('isinstance(config, GPTConfig) and config.activation == "swiglu"', "False"),
            "muon:each_parameter_is_updated_once_and_by_its_own_optimizer",
        ),
    ),
    *listed(
        "interop/llama.py",
        (
            "L30", "Llama's files: gate and value change places",
            ('(("gate_proj", 0, F), ("up_proj", F, 2 * F))',
             '(("up_proj", 0, F), ("gate_proj", F, 2 * F))'),
            "llama:the_arrays_are_transformers_under_its_names",
        ),
        (
            "L31", "Llama's files: weights are not transposed",
            ("array = array.T if array.ndim == 2 else array", "array = array"),
            "llama:the_arrays_are_transformers_under_its_names",
        ),
        (
            "L32", "Llama's files: their eps is not read",
            ('norm_eps=keys.number("rms_norm_eps", 1e-6)', "norm_eps=1e-6"),
            "llama:what_is_exported_comes_back_to_the_bit",
        ),
        (
            "L33", "Llama's files: heads of another size are not noticed",
            ('if keys.get("head_dim", channels // heads) not in (None, channels // heads):',
             "if False:"),
            "llama:an_unsupported_configuration_is_refused_by_name",
        ),
        (
            "L34", "Qwen3's files: biases that it does not have are written",
            ("if kind == QWEN3 and config.bias:", "if False:"),
            "llama:what_no_program_has_is_not_exported",
        ),
    ),
]  # fmt: skip

KERNELS = [
    *listed(
        "kernels/head_vectors.py",
        (
            "L44", "of a turn the second channel goes the other way",
            ("c.plus(c.times(second, cos)", "c.minus(c.times(second, cos)"),
            "kernel:queries_keys+turned",
        ),
    ),
    *listed(
        "kernels/queries_keys.py",
        (
            "L45", "each chunk adds to the sums of the one before",
            ("            fill(partial[dq : dk + D], 0.0)\n", ""), "large:queries_keys",
        ),
    ),
    *listed(
        "kernels/attention.py",
        (
            "L46", "grouped heads: the first strip of a head overwrites what the one before gave",
            ("done = max(done, reached)", "done = reached"), "large:attention+grouped",
        ),
    ),
    *listed(
        "kernels/activation.py",
        (
            "L47", "SwiGLU: the gate's derivative has s for 1 - s",
            ("(one + a[i] * (one - s))", "(one + a[i] * s)"), "kernel:swiglu",
        ),
    ),
    *listed(
        "kernels/cross_entropy.py",
        (
            "L48", "soft cap: its derivative is not squared",
            ("(one - share) * (one + share)", "(one - share)"), "kernel:cross_entropy+capped",
        ),
    ),
    *listed(
        "kernels/decoding_parts.py",
        (
            "L49", "decoding: all heads share the values of the first",
            ("C + (G + shared) * D", "C + G * D"), "decode",
        ),
        (
            "L50", "decoding: norms have the usual eps, whatever the model says",
            ("    kind, eps = norm\n", "    kind, eps = norm[0], 1e-5\n"), "decode",
        ),
    ),
]  # fmt: skip

MISTAKES: list[Mistake] = RMSNORM + TABLES + POSITIONS + HEADS + KERNELS
