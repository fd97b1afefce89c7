"""Mistakes in the backward passes, the optimizer and the model: plain NumPy, nothing is compiled.

M01 to M40: one line each of a hand-derived backward pass; most leave a model that still trains.
O1 to O9: the optimizer. D: dropout, accumulation, ranges of numbers. R: more in the model's wiring.
"""

from tests.mutations.mistake import Mistake, edit, live

NORM, LINEAR, HEAD = (f"reference/{name}.py" for name in ("layernorm", "linear", "head"))
NORMS = "reference/norms.py"
ATTENTION_SUBLAYER, MLP_SUBLAYER = (
    f"reference/{name}_sublayer.py" for name in ("attention", "mlp")
)
ATTENTION, ACTIVATION, EMBEDDING = (
    f"reference/{name}.py" for name in ("attention", "activation", "embedding")
)
LOSS, DROPOUT, ADAMW = (f"reference/{name}.py" for name in ("cross_entropy", "dropout", "adamw"))
WHOLE = ("model", "torch")  # of PyTorch's runs none has dropout or two micro-batches


def _pair(layer, name, what, path, *texts):
    """A mistake in a primitive, which every check of gradients sees."""
    return Mistake(edit(name, what, path, *texts), (f"pair:{layer}", *WHOLE))


def _model(name, what, path, *texts):
    """A mistake that only whole models show."""
    return Mistake(edit(name, what, path, *texts), WHOLE)


LAYER_NORM = [
    _pair(
        "layernorm", "M01", "layer norm: mean(dxhat) is forgotten", NORM,
        "dxhat - along_ones - xhat * along_xhat", "dxhat - xhat * along_xhat",
    ),
    _pair(
        "layernorm", "M02", "layer norm: xhat mean(dxhat xhat) is forgotten", NORM,
        "dxhat - along_ones - xhat * along_xhat", "dxhat - along_ones",
    ),
    _pair(
        "layernorm", "M03", "layer norm: dx ignores the weight", NORM,
        "dxhat = dout * weight", "dxhat = dout * 1",
    ),
    _pair(
        "layernorm", "M04", "layer norm: dx lacks rstd", NORM,
        "- xhat * along_xhat) * rstd[..., None]", "- xhat * along_xhat)",
    ),
    Mistake(live("M05"), ("pair:layernorm", *WHOLE)),
    _pair(
        "layernorm", "M06", "layer norm: dweight from x rstd, the mean not removed", NORM,
        "(dout * xhat).sum(axis=rows)", "(dout * x * rstd[..., None]).sum(axis=rows)",
    ),
    _pair(
        "layernorm", "M07", "layer norm: dweight from the last position only", NORM,
        "(dout * xhat).sum(axis=rows)", "(dout * xhat)[:, -1].sum(axis=0)",
    ),
    _pair(
        "head", "M08", "layer norm: dbias is never written", NORMS,
        "dx=dx, dweight=dw.ln_weight, dbias=dw.ln_bias",
        "dx=dx, dweight=dw.ln_weight, dbias=None",
    ),
]  # fmt: skip

ATTENTION_MISTAKES = [
    _pair(
        "attention", "M09", "attention: dQ and dK lack 1 / sqrt(D)", ATTENTION,
        "    scale = 1 / math.sqrt(Q.shape[-1])", "    scale = 1",
    ),
    Mistake(live("M10"), ("pair:attention", *WHOLE)),
    _pair(
        "attention", "M11", "softmax: delta is forgotten", ATTENTION,
        "ds = p * (dp - delta)", "ds = p * dp",
    ),
    _pair(
        "attention", "M12", "softmax: delta is summed over the queries", ATTENTION,
        "delta = (dO * out_heads).sum(axis=-1, keepdims=True)",
        "delta = (p * dp).sum(axis=-2, keepdims=True)",
    ),
    _pair(
        "attention", "M13", "backward computes p again without the mask", ATTENTION,
        "return np.where(seen, np.exp(np.where(seen, s - lse[..., None], 0)), 0)",
        "return np.exp(s - lse[..., None])",
    ),
    _pair(
        "attention", "M14", "backward's mask is off by one: the diagonal is lost", ATTENTION,
        "seen = visible(s, lengths)\n    return",
        "seen = np.tri(*s.shape[-2:], -1, dtype=bool)\n    return",
    ),
    _pair(
        "attention", "M15", "dK = ds Q, not transposed", ATTENTION,
        "ds.swapaxes(-1, -2) @ Q", "ds @ Q",
    ),
    _pair(
        "attention", "M16", "dV = w dO, not transposed", ATTENTION,
        "w.swapaxes(-1, -2) @ dO", "w @ dO",
    ),
    _pair(
        "attention", "M17", "dQ and dK change places", ATTENTION,
        "dQ, dK, dV = split_qkv(dqkv", "dK, dQ, dV = split_qkv(dqkv",
    ),
    _pair(
        "attention", "M18", "the heads of dout are reshaped, not transposed", ATTENTION,
        "(dO,) = split_heads(dout, n_head, parts=1)", "dO = dout.reshape(Q.shape)",
    ),
    _pair(
        "attention_sublayer", "M19", "the bias of qkv gets no gradient", ATTENTION_SUBLAYER,
        "dx=dk.norm, dweight=dw.qkv_weight, dbias=dw.qkv_bias",
        "dx=dk.norm, dweight=dw.qkv_weight, dbias=None",
    ),
]  # fmt: skip

MLP = [
    Mistake(live("M20"), ("pair:gelu_tanh", *WHOLE)),
    _pair(
        "gelu_tanh", "M21", "tanh GELU: sqrt(2 / pi) is 0.8 in backward", ACTIVATION,
        "du = TANH_SCALE * (1", "du = 0.8 * (1",
    ),
    _pair(
        "gelu", "M22", "GELU: x phi(x) is forgotten", ACTIVATION,
        "dx[...] = dout * (cdf + x * pdf)", "dx[...] = dout * cdf",
    ),
    _pair(
        "gelu_tanh", "M23", "tanh GELU: the factor 3 is lost", ACTIVATION,
        "(1 + 3 * TANH_CUBIC * x * x)", "(1 + TANH_CUBIC * x * x)",
    ),
    _pair(
        "gelu_tanh", "M24", "tanh GELU: 1 - t instead of 1 - t^2", ACTIVATION,
        "(1 - t * t)", "(1 - t)",
    ),
    _model(
        "M25", "the exact GELU's derivative behind the tanh form", ACTIVATION,
        '"gelu_tanh": gelu_tanh_backward', '"gelu_tanh": gelu_backward',
    ),
    _pair(
        "linear", "M26", "linear: the bias gets the mean instead of the sum", LINEAR,
        "dout_rows.sum(axis=0)", "dout_rows.mean(axis=0)",
    ),
    Mistake(
        edit(
            "M27", "linear: dweight is transposed where it is square", LINEAR,
            "product(x_rows.T, dout_rows, out=dweight)",
            "dw = x_rows.T @ dout_rows\n"
            "    dweight[...] = dw.T if dw.shape == dw.T.shape else dw",
        ),
        ("pair:attention_sublayer", *WHOLE),
        ("pair:linear",),
    ),
    Mistake(
        edit(
            "M28", "micro-batches overwrite each other's gradients", "model/base_model.py",
            "self.grads.flat += self._grads", "self.grads.flat[...] = self._grads",
        ),
        ("model",),
        ("torch",),
    ),
    _pair(
        "mlp_sublayer", "M29", "the MLP's residual connection hands nothing down", MLP_SUBLAYER,
        "dx[...] = dout + dx_branch",
        "dx[...] = dx_branch",
    ),
    _pair(
        "attention_sublayer", "M30", "attention's residual connection counts twice",
        ATTENTION_SUBLAYER,
        "dx[...] = dout + dx_branch",
        "dx[...] = 2 * dout + dx_branch",
    ),
]  # fmt: skip

ENDS = [
    Mistake(live("M31"), ("pair:embedding", *WHOLE)),
    Mistake(live("M32"), WHOLE),
    _model(
        "M33", "tied embedding: the lookup's half of the gradient is lost", EMBEDDING,
        "np.add.at(dwte, tokens, drow if scale == 1 else drow * scale)",
        "dwte += 0 if tied else np.nan",
    ),
    _pair(
        "embedding", "M34", "positions: the first sequence only", EMBEDDING,
        "dwpe[:T] = drow.sum(axis=0)", "dwpe[:T] = drow[0]",
    ),
    _pair(
        "embedding", "M35", "positions: shifted by one", EMBEDDING,
        "dwpe[:T] = drow.sum(axis=0)", "dwpe[:T] = np.roll(drow.sum(axis=0), 1, axis=0)",
    ),
    _model(
        "M36", "the gradient of the loss is not divided by N", "model/base_model.py",
        '["losses"][...] = 1 / last.divisor', '["losses"][...] = 1',
    ),
    _model(
        "M37", "divided by all positions, not by the kept targets", "model/base_model.py",
        '["losses"][...] = 1 / last.divisor',
        '["losses"][...] = 1 / last.layout.acts["losses"].size',
    ),
    _pair(
        "cross_entropy", "M38", "loss: no -1 at the target", LOSS,
        "dlogits[(*rows, targets[rows])] -= dout[rows]", "dlogits[(*rows, targets[rows])] -= 0",
    ),
    _pair(
        "cross_entropy", "M39", "loss: rows left out are not zeroed", LOSS,
        "np.where(kept[..., None], dout[..., None] * probabilities, 0)",
        "dout[..., None] * probabilities",
    ),
    _pair(
        "cross_entropy", "M40", "loss: the target is off by one", LOSS,
        "dlogits[(*rows, targets[rows])] -=", "dlogits[(*rows, targets[rows] - 1)] -=",
    ),
]  # fmt: skip

WHOLE_STEP = ("adamw", "steps")
OPTIMIZER = [
    Mistake(
        edit(
            "O1", "AdamW: no bias correction", ADAMW,
            "m / (1 - beta1**step)", "m / 1", "v / (1 - beta2**step)", "v / 1",
        ),
        WHOLE_STEP,
    ),
    Mistake(
        edit(
            "O2", "AdamW: the decay goes through the moments", ADAMW,
            "g = grad * grad_scale", "g = grad * grad_scale + weight_decay * param",
            "(weight_decay * param + m_hat", "(m_hat",
        ),
        WHOLE_STEP,
    ),
    Mistake(
        edit(
            "O3", "AdamW: eps inside the root", ADAMW,
            "(np.sqrt(v_hat) + eps)", "np.sqrt(v_hat + eps)",
        ),
        WHOLE_STEP,
    ),
    Mistake(
        edit(
            "O4", "AdamW: eps is scaled by the bias correction", ADAMW,
            "(np.sqrt(v_hat) + eps)", "(np.sqrt(v_hat) + eps / np.sqrt(1 - beta2**step))",
        ),
        WHOLE_STEP,
    ),
    Mistake(
        edit(
            "O5", "AdamW: biases and layer norms decay", "training/optimizer.py",
            "int(params[name].ndim >= 2)", "1",
        ),
        WHOLE_STEP,
    ),
    Mistake(
        edit(
            "O6", "each tensor is clipped by its own norm", "reference/adamw.py",
            "            grad_scale=grad_scale,",
            "            grad_scale=min(1, 1 / (np.linalg.norm(grads[where]) + 1e-6)),",
        ),
        WHOLE_STEP,
    ),
    Mistake(
        edit(
            "O7", "nothing is clipped", "training/optimizer.py",
            "else 1.0\n\n    def step", "and False else 1.0\n\n    def step",
        ),
        WHOLE_STEP,
    ),
    Mistake(
        edit(
            "O8", "the warm-up is off by one", "training/schedule.py",
            "peak * (iteration + 1) /", "peak * iteration /",
        ),
        ("schedule",),
    ),
    Mistake(
        edit(
            "O9", "beta2 is beta1", "training/optimizer.py",
            "*self.betas, self.eps", "self.betas[0], self.betas[0], self.eps",
        ),
        WHOLE_STEP,
    ),
]  # fmt: skip

OTHERS = [
    Mistake(
        edit(
            "D1a", "dropout: backward without the mask", DROPOUT,
            "dropout_forward(dout, dropout, out=dx)", "dx[...] = dout * (1 / (1 - dropout.rate))",
        ),
        ("pair:dropout", "model"),
        ("torch",),
    ),
    Mistake(
        edit(
            "D1b", "dropout: backward without 1 / (1 - rate)", DROPOUT,
            "dropout_forward(dout, dropout, out=dx)",
            "dropout_forward(dout * (1 - dropout.rate), dropout, out=dx)",
        ),
        ("pair:dropout", "model"),
        ("torch",),
    ),
    Mistake(
        edit(
            "D2", "gradients of the step before are kept", "model/base_model.py",
            "accumulate=accumulate).backward", "accumulate=True).backward",
            "if accumulate:\n            self.grads.flat +=",
            "if True:\n            self.grads.flat +=",
        ),
        ("model", "torch", "steps"),
    ),
    Mistake(
        edit(
            "D6", "loss: the search for the largest logit starts at -1e4", LOSS,
            "largest = logits.real.max(axis=-1)",
            "largest = np.maximum(logits.real.max(axis=-1), -1e4)",
        ),
        (
            "edges:test_rows_of_very_negative_logits_are_a_softmax_like_any_other[reference]",
        ),
        ("model",),
    ),
    Mistake(
        edit(
            "D7", "layer norm: the variance as mean of squares less squared mean", NORM,
            "(centred * centred).mean(axis=-1)", "((x * x).mean(axis=-1) - mean * mean)",
        ),
        (
            "edges:test_layernorm_of_rows_with_a_large_mean_is_as_good_as_its_input"
            "[reference-1000.0]",
        ),
        ("model",),
    ),
    Mistake(
        edit(
            "R1", "the MLP's dropout has the site of attention's", "model/stages.py",
            'site=3 * i + 3', 'site=3 * i + 2',
        ),
        ("sites",),
        ("model",),
    ),
    Mistake(
        edit(
            "R5", "a prepared call keeps the dropout key of the pass that prepared it",
            "model/base_model.py", "            self._dropout_key[0] = ",
            "            self._dropout_key = self._dropout_key.copy()\n"
            "            self._dropout_key[0] = ",
        ),
        ("key",),
    ),
    Mistake(
        edit(
            "R6", "every stage has the dropout site of the first", "model/calls.py",
            "Dropout(self.rate, self.key, stage.site)", "Dropout(self.rate, self.key, 0)",
        ),
        ("sites",),
    ),
    Mistake(
        edit(
            "R7", "accumulating backward takes the calls that write to the gradients",
            "model/base_model.py", "calls(last.sizes, **how, accumulate=accumulate)",
            "calls(last.sizes, **how)",
        ),
        ("model",),
    ),
    _model(
        "R2", "the gradients of an MLP's two sides share one buffer with attention's",
        "model/stages.py",
        'buffer=buffer, grad_buffer="hidden"', 'buffer=buffer, grad_buffer="norm"',
    ),
    _model(
        "R4", "the gradient of the last layer norm lies where the logits do", "model/buffers.py",
        'WITHIN_BLOCKS = ("act",', 'WITHIN_BLOCKS = ("d norm",',
    ),
    Mistake(
        edit(
            "R3", "erf is taken for 1 from 4.5 on", "reference/erf.py",
            "(size > 4) & (size < 6)", "(size > 4) & (size < 4.5)", "size >= 6]", "size >= 4.5]",
        ),
        ("pair:gelu",),
        ("model",),
    ),
]  # fmt: skip

MISTAKES = [*LAYER_NORM, *ATTENTION_MISTAKES, *MLP, *ENDS, *OPTIMIZER, *OTHERS]
