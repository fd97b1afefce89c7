"""The JavaScript twin of the reference, in a real browser: every number against the reference.

It needs playwright and a Chromium, as test_page_in_browser.py does.
"""

import functools
import re
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.gradients.model_check import randomise
from gpt_numpy.inspection.page import assemble
from tests.model.test_golden import build, named

FOLDER = Path(assemble.__file__).parent / "parts" / "twin"
LAYERS = [name for name in assemble.TWIN if name != "worker.js"]  # it answers messages
TOLERANCE = 1e-5  # of the issue; float64 on both sides agrees to about 1e-14
CLOSE = 1e-11

BASE = gn.GPTConfig(
    vocab_size=11, block_size=9, n_layer=2, n_head=2, n_embd=6, activation="gelu_tanh"
)
CONFIGS = {
    "as GPT-2": ({}, 9),
    "untied, no biases": ({"tied": False, "bias": False, "activation": "relu"}, 5),
    "sinusoids, exact GELU": ({"positions": "sinusoidal", "activation": "gelu"}, 7),
    "H = T = D": ({"n_head": 3, "n_embd": 9, "n_layer": 1, "vocab_size": 5}, 3),
    "RMSNorm, rotary": ({"norm": "rmsnorm", "positions": "rotary", "n_embd": 8}, 8),
    "no positions, relu2, narrow": ({"positions": "none", "activation": "relu2", "n_inner": 7}, 6),
    "SwiGLU, soft cap": ({"activation": "swiglu", "logit_softcap": 1.5, "tied": False}, 7),
    "QK norm, rotary": (
        {"qk_norm": True, "positions": "rotary", "norm": "rmsnorm", "n_embd": 8, "tied": False},
        7,
    ),
    "QK norm, grouped heads, eps": (
        {"qk_norm": True, "n_head": 6, "n_kv_head": 2, "n_embd": 12, "norm_eps": 0.01},
        8,
    ),
    "grouped heads, rotary": (
        {"n_head": 4, "n_kv_head": 1, "n_embd": 24, "positions": "rotary"},
        6,
    ),
    "wide": ({"n_head": 4, "n_embd": 20, "vocab_size": 23, "activation": "gelu"}, 8),
}

RUN = """([config, table, numbers, tokens, targets, off]) => {
  const model = makeModel(config, table, Float32Array.from(numbers));
  const pass = makePass(model, tokens, targets, off || NOTHING_OFF), loss = forward(pass);
  backward(pass);
  backward(pass);  // it assigns: what an earlier pass left does not matter
  const list = ([name, x]) => [name, Array.from(x)];
  const plain = found => Object.fromEntries(Object.entries(found).map(list));
  const [values, gradients] = [plain(pass.values), plain(pass.gradients)];
  return { loss, values, gradients, grads: plain(model.grads) };
}"""


@pytest.fixture(scope="module")
def tab(browser):
    return browser.new_page()


def source():
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in LAYERS)


def evaluate(tab, arguments, program=None):
    return tab.evaluate(f"given => {{ {program or source()}\nreturn ({RUN})(given); }}", arguments)


def model_of(changes, seed=0):
    config = gn.GPTConfig(**{**vars(BASE), **changes})
    model = gn.GPT(config, seed=None, dtype="float64", ops="reference")
    randomise(model, seed)
    model.params.flat[...] = model.params.flat.astype(np.float32)  # as they travel
    return model


def batch_of(config, T, seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, config.vocab_size, (1, T))
    tokens[0, -1] = tokens[0, 0]  # one occurs twice
    targets = rng.integers(0, config.vocab_size, (1, T))
    targets[0, T // 2] = -1
    return tokens, targets


def arguments_of(model, tokens, targets, off=None):
    computed = {k: getattr(model.config, k) for k in ("head_size", "n_hidden", "n_groups")}
    config = {**vars(model.config), **computed}
    table = [[name, list(array.shape)] for name, array in model.params.items()]
    numbers = model.params.flat.astype(np.float32).tolist()
    return [config, table, numbers, np.ravel(tokens).tolist(), np.ravel(targets).tolist(), off]


def largest_error(found, expected):
    """The largest difference over the tensors, each relative to its largest element."""
    scale = 1e-3 * max((np.abs(x).max() for x in expected.values()), default=1)
    errors = {
        name: np.abs(np.array(found[name], dtype=float) - x.ravel()).max()
        / max(np.abs(x).max(), scale)
        for name, x in expected.items()
    }
    worst = max(errors, key=lambda name: np.inf if np.isnan(errors[name]) else errors[name])
    return errors[worst], worst


@functools.cache
def expected_of(name):
    """What the page is given, and the loss, values, gradients and gradients of parameters."""
    changes, T = CONFIGS[name]
    model = model_of(changes)
    tokens, targets = batch_of(model.config, T)
    trace = gn.trace(model, tokens, targets)
    activations = {n: e for n, e in trace.items() if e.kind != "parameter"}
    # Parts of stored arrays (query, key, value, heads) are views of them there, too.
    stored = {
        n: e for n, e in activations.items() if not re.search(r"\.(query|key|value|heads)$", n)
    }
    values = {n: np.asarray(e.value) for n, e in stored.items()}
    grads = {n: np.asarray(e.grad) for n, e in stored.items() if e.grad is not None}
    parameters = {n: np.asarray(e.grad) for n, e in trace.items() if e.kind == "parameter"}
    assert len(values) > 15 and len(grads) > 15 and set(parameters) == set(model.params)
    return arguments_of(model, tokens, targets), trace.loss, values, grads, parameters


def errors_of(tab, name, program=None):
    """Of values, gradients of activations and of parameters, and the loss."""
    arguments, loss, values, grads, parameters = expected_of(name)
    found = evaluate(tab, arguments, program)
    return {
        "loss": (abs(found["loss"] - loss) / loss, "loss"),
        "values": largest_error(found["values"], values),
        "gradients": largest_error(found["gradients"], grads),
        "parameters": largest_error(found["grads"], parameters),
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_every_number_of_both_passes_is_that_of_the_reference(tab, name):
    for what, (error, worst) in errors_of(tab, name).items():
        assert error <= CLOSE, (what, worst)


@pytest.mark.parametrize("case", "ABCD")
def test_logits_loss_and_gradients_are_those_of_pytorch(tab, case):
    from tests.model.test_golden import PATH

    with np.load(PATH, allow_pickle=False) as file:
        golden = {name: file[name] for name in file.files}
    model = build(golden, case, "reference")
    tokens, targets = golden[f"{case}/tokens"], golden[f"{case}/targets"]
    known = (targets != -1).sum()
    loss, grads, logits = 0.0, {name: 0.0 for name in model.params}, []
    for sequence, wanted in zip(tokens, targets, strict=True):
        share = (wanted != -1).sum() / known
        if not share:
            continue
        found = evaluate(tab, arguments_of(model, sequence, wanted))
        loss += share * found["loss"]
        logits.append(found["values"]["logits"])
        for name, grad in found["grads"].items():
            grads[name] = grads[name] + share * np.array(grad)
    expected = named(golden, f"{case}/grads", f"{case}/param_shapes")
    kept = [k for k in range(len(tokens)) if (targets[k] != -1).any()]
    # The parameters of the file are float64, those of the page float32.
    assert loss == pytest.approx(golden[f"{case}/loss"].item(), rel=TOLERANCE)
    flat = {"logits": np.concatenate([np.ravel(one) for one in logits])}
    assert largest_error(flat, {"logits": golden[f"{case}/logits"][kept]})[0] <= TOLERANCE
    error, worst = largest_error(grads, expected)
    assert error <= TOLERANCE, worst


# What is switched off, and what that sets to zero in the reference.
def test_what_is_switched_off_is_zero_forward_and_backward(tab):
    model = model_of({"n_head": 3, "n_embd": 12})
    D = model.config.head_size
    tokens, targets = batch_of(model.config, 8)
    off = {"heads": {"0": [1]}, "neurons": {"1": [5]}, "attention": [1], "mlp": [0]}
    found = evaluate(tab, arguments_of(model, tokens, targets, off))
    silenced = model_of({"n_head": 3, "n_embd": 12})
    params = silenced.params
    params["h.0.attn.c_proj.weight"][D : 2 * D] = 0
    params["h.1.mlp.c_proj.weight"][5] = 0
    for name in ("h.1.attn.c_proj", "h.0.mlp.c_proj"):
        params[f"{name}.weight"][...] = 0
        params[f"{name}.bias"][...] = 0
    trace = gn.trace(silenced, tokens, targets)
    assert found["loss"] == pytest.approx(trace.loss, rel=1e-12)
    for name in ("embedding.out", "h.0.attn.qkv", "h.0.resid_mid", "h.1.mlp.fc"):
        error, _ = largest_error(found["gradients"], {name: trace[name].grad})
        assert error < CLOSE, name
    assert not np.any(found["grads"]["h.1.mlp.c_proj.weight"][5 * 12 : 6 * 12])


def test_the_error_function_is_that_of_the_reference(tab):
    from gpt_numpy.reference.erf import erf

    x = np.linspace(-7, 7, 1401)
    found = tab.evaluate(f"x => {{ {source()}\nreturn x.map(erf); }}", x.tolist())
    np.testing.assert_allclose(found, erf(x), rtol=0, atol=1e-14)


def test_tokens_are_drawn_as_sampling_draws_them(tab):
    from gpt_numpy.generation.sampling import Sampler, Sampling

    logits = np.random.default_rng(1).standard_normal(13) * 2
    for how in ({}, {"temperature": 0.5}, {"top_k": 4}, {"top_p": 0.6}, {"vocab_size": 9},
                {"temperature": 1.7, "top_k": 6, "top_p": 0.8}):  # fmt: skip
        settings = Sampling(**{"temperature": 1.0, "top_k": 0, **how})
        kept, weights = Sampler(settings, 13, 1)._candidates(logits[: settings.vocab_size or 13])
        expected = np.zeros(13)
        expected[kept if kept is not None else slice(len(weights))] = weights / weights.sum()
        asked = {
            "temperature": settings.temperature, "topK": settings.top_k, "topP": settings.top_p,
            "known": settings.vocab_size or 13,
        }  # fmt: skip
        found = tab.evaluate(
            f"([z, how]) => {{ {source()}\n"
            "return Array.from(distribution(Float64Array.from(z), how)); }",
            [logits.tolist(), asked],
        )
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15, err_msg=str(how))


def test_a_step_downhill_is_that_of_gradient_descent_and_a_check_finds_a_wrong_gradient(tab):
    model = model_of({})
    tokens, targets = batch_of(model.config, 9)
    program = f"""given => {{ {source()}
      const [config, table, numbers, tokens, targets] = given;
      const model = makeModel(config, table, Float32Array.from(numbers));
      const pass = makePass(model, tokens, targets); forward(pass); backward(pass);
      const right = Object.keys(model.params).map(name => checkParameter(pass, name, 3).error);
      model.grads["h.0.attn.c_attn.weight"][7] += 0.05;
      const wrong = checkParameter(pass, "h.0.attn.c_attn.weight", 3).error;
      backward(pass); descend(model, 0.1);
      return [right, wrong, forward(makePass(model, tokens, targets))];
    }}"""
    right, wrong, after = tab.evaluate(program, arguments_of(model, tokens, targets))
    model.forward(tokens, targets)
    model.backward()
    model.params.flat[...] -= 0.1 * model.grads.flat
    assert after == pytest.approx(model.forward(tokens, targets), rel=1e-12)
    assert max(right) < 1e-6 < 1e-3 < wrong


def test_every_function_of_the_twin_names_one_that_the_package_has():
    sources = [path.read_text("utf-8") for path in Path(gn.__file__).parent.rglob("*.py")]
    known = {name for text in sources for name in re.findall(r"^ *def (\w+)", text, re.M)}
    counted = 0
    for layer in ("linear", "layernorm", "rmsnorm", "rotary", "queries_keys", "activation",
                  "attention", "embedding", "cross_entropy", "sublayers", "erf"):  # fmt: skip
        text = (FOLDER / f"{layer}.js").read_text(encoding="utf-8")
        assert re.search(r"reference/\w+\.py", text.splitlines()[0])
        for name in re.findall(r"^ *// (\w+)(?:;.*|:.*)?$\n *(?:function|f:|slope:)", text, re.M):
            assert name in known, name
            counted += 1
    assert counted >= 24


GPT2, UNTIED, SQUARE = "as GPT-2", "untied, no biases", "H = T = D"
MODERN, GATED = "RMSNorm, rotary", "SwiGLU, soft cap"
NORMED, GROUPED = "QK norm, rotary", "QK norm, grouped heads, eps"
# Old, new: a mistake in the twin, and the configuration whose numbers must differ.
MISTAKES = [
    ("linear.js", "product(dout, transposed(weight), dx)", "product(dout, weight, dx)", SQUARE),
    ("linear.js", "dbias[o] += dout", "dbias[o] = dout", GPT2),
    ("linear.js", "+= bias[o]", "+= 0 * bias[o]", GPT2),
    ("layernorm.js", "- xhat[k] * alongXhat", "", GPT2),
    ("layernorm.js", "- alongOnes ", "", "wide"),
    ("layernorm.js", "squares / C + eps", "squares / C + 1e-3", GPT2),
    ("sublayers.js", "pass.model.config.norm_eps", "1e-5", GROUPED),
    ("queries_keys.js", "normHead(ready, norms[part], config.norm_eps)",
     "normHead(ready, norms[part], 1e-5)", GROUPED),
    ("queries_keys.js", "norms[part], config.norm_eps, dnorms", "norms[part], 1e-5, dnorms",
     GROUPED),
    ("layernorm.js", "dweight[c] += dout[k] * xhat[k]", "dweight[c] += dout[k]", GPT2),
    ("layernorm.js", "dxhat[k] = dout[k] * weight[c]", "dxhat[k] = dout[k]", GPT2),
    ("layernorm.js", "(bias ? bias[c] : 0)", "0", GPT2),
    ("activation.js", "slope: x => x > 0 ? 1 : 0", "slope: x => 1", UNTIED),
    ("activation.js", "* (1 - t * t) * du", "* du", GPT2),
    ("activation.js", "+ x * Math.exp(-0.5 * x * x)", "- x * Math.exp(-0.5 * x * x)", "wide"),
    ("activation.js", "dout[k] * slope(x[k])", "dout[k]", "wide"),
    ("erf.js", "term *= 2 * x * x / (2 * n + 1)", "term *= x * x / (2 * n + 1)", "wide"),
    ("attention.js", "q + 1, T, lse", "T, T, lse", GPT2),
    ("attention.js", "s, 1 / Math.sqrt(Q.cols)", "s, 1", GPT2),
    ("attention.js", "(dp.data[place] - delta)", "dp.data[place]", GPT2),
    ("attention.js", "product(transposed(p), dO, dV,", "product(p, dO, dV,", GPT2),
    ("attention.js", "Q, dK, scale, more)", "Q, dK, 1, more)", "wide"),
    ("attention.js", "Q, dK, scale, more)", "Q, dK, scale)", GROUPED),
    ("attention.js", "dO, dV, 1, more)", "dO, dV)", GROUPED),
    ("attention.js", "h % (H / G) > 0", "h > 0", GROUPED),
    ("attention.js", "Math.floor(h * G / H)", "h % G", GROUPED),
    ("matrices.js", "rows[y][x] * scale + (more ? out.data[place] : 0)", "rows[y][x] * scale",
     "grouped heads, rotary"),
    ("matrices.js", "sum * scale + (more ? out.data[place] : 0)", "sum * scale", GROUPED),
    ("queries_keys.js", "part ? [H, G] : [0, H]", "part ? [H, 0] : [0, H]", NORMED),
    ("queries_keys.js", "headsIn(config)), norms[part]", "headsIn(config)), norms[0]", NORMED),
    ("queries_keys.js", "config.rope_base, -1)", "config.rope_base, 1)", NORMED),
    ("queries_keys.js", "dnorms[part].fill(0)", "dnorms[part]", NORMED),
    ("queries_keys.js", "dweight[d] += own[d]", "dweight[d] = own[d]", NORMED),
    ("queries_keys.js", "gathered(dhead), {", "gathered(head), {", NORMED),
    ("attention.js", "product(ds, K, dQ, scale)", "product(ds, Q, dQ, scale)", GPT2),
    ("attention.js", "x, T, D, head * D, width", "x, T, D, 0, width", "wide"),
    ("rmsnorm.js", "- xhat[k] * alongXhat", "", MODERN),
    ("rmsnorm.js", "dxhat[k] = dout[k] * weight[c]", "dxhat[k] = dout[k]", MODERN),
    ("rmsnorm.js", "squares / C + eps", "squares / C + 1e-3", MODERN),
    ("rotary.js", "base ** (-2 * i / D)", "base ** (-i / D)", MODERN),
    ("rotary.js", "first * cos - second * sin", "first * cos + second * sin", MODERN),
    ("queries_keys.js", "config.rope_base, 1)", "1, 1)", MODERN),
    ("activation.js", "x > 0 ? 2 * x : 0", "x > 0 ? x : 0", "no positions, relu2, narrow"),
    ("embedding.js", "dwte[token * C + c] += dout", "dwte[token * C + c] = dout", UNTIED),
    ("embedding.js", "if (!tied) dwte.fill(0)", "dwte.fill(0)", GPT2),
    ("embedding.js", "(wpe ? wpe[t * C + c] : 0)", "0", GPT2),
    ("cross_entropy.js", "(v === target ? 1 : 0)", "0", GPT2),
    ("cross_entropy.js", "target === IGNORED ? 0 : dlosses[t] *", "dlosses[t] *", GPT2),
    ("cross_entropy.js", "1 - Math.tanh(logits[k] / softcap) ** 2", "1", GATED),
    ("cross_entropy.js", "softcap * Math.tanh(z / softcap)", "softcap * Math.tanh(z)", GATED),
    ("activation.js", "* s * (1 + a * (1 - s))", "* s", GATED),
    ("activation.js", "dx[gate + F] = dout[k] * a * s", "dx[gate + F] = dout[k] * s", GATED),
    ("activation.js", "* sigmoid(x[gate]) * x[gate + F]", "* x[gate + F]", GATED),
    ("cross_entropy.js", "target === IGNORED ? 0 : lse[t]", "lse[t]", GPT2),
    ("matrices.js", "c33 += a3 * b3", "c33 += a3 * b2", "wide"),
    ("matrices.js", "= sum * scale", "= sum", SQUARE),
    ("model.js", "c - c % 2", "c", "sinusoids, exact GELU"),
    ("model.js", "fill(1 / Math.max(known, 1))", "fill(1 / pass.T)", GPT2),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: f"{m[0]}: {m[2] or 'without ' + m[1]}")
def test_every_mistake_in_the_twin_is_noticed(tab, mistake):
    name, old, new, config = mistake
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} must occur once in {name}"
    program = source().replace(text, text.replace(old, new))
    errors = errors_of(tab, config, program)
    assert max(np.inf if np.isnan(e) else e for e, _ in errors.values()) > TOLERANCE
