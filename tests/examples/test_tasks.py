"""The tasks at the end of the programs ("Try") can be done as they are written.

Each is done here as its text says, by exchanging lines of the program, which then runs for a step.
"""

import io
import runpy
import string
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NORMS = '{"q_norm": p["q_norm"], "k_norm": p["k_norm"]'
NORM_SHAPES = '    "q_norm": (C // H,),\n    "k_norm": (C // H,),\n'
POST_NORM = [
    ('layernorm_forward(a["x"], p["ln1"], p["ln1_b"], a["n1"], a["mean1"], a["rstd1"])\n    ', ""),
    ('linear_forward(a["n1"], p["qkv"]', 'linear_forward(a["x"], p["qkv"]'),
    ('a["mid"] += a["x"]', 'a["s1"][...] = a["mid"] + a["x"]'),
    ('layernorm_forward(a["mid"], p["ln2"], p["ln2_b"], a["n2"], a["mean2"], a["rstd2"])',
     'layernorm_forward(a["s1"], p["ln1"], p["ln1_b"], a["mid"], a["mean1"], a["rstd1"])'),
    ('linear_forward(a["n2"], p["fc"]', 'linear_forward(a["mid"], p["fc"]'),
    ('a["out"] += a["mid"]', 'a["s2"][...] = a["out"] + a["mid"]\n    layernorm_forward('
     'a["s2"], p["ln2"], p["ln2_b"], a["out"], a["mean2"], a["rstd2"])'),
    ('{"x": C, "n1": C,', '{"x": C, "s1": C, "s2": C,'),
    ('{"n2": C, "fc"', '{"fc"'),
    ('linear_backward(d["out"], a["act"]',
     'norm_backward("ln2", d["out"], a["s2"], p, a["mean2"], a["rstd2"], d["s2"], g)\n'
     '    linear_backward(d["s2"], a["act"]'),
    ('linear_backward(d["fc"], a["n2"], p["fc"], p["fc_b"], d["n2"]',
     'linear_backward(d["fc"], a["mid"], p["fc"], p["fc_b"], d["mid"]'),
    ('    norm_backward("ln2", d["n2"], a["mid"], p, a["mean2"], a["rstd2"], d["mid"], g)\n', ""),
    ('d["mid"] += d["out"]', 'd["mid"] += d["s2"]\n    '
     'norm_backward("ln1", d["mid"], a["s1"], p, a["mean1"], a["rstd1"], d["s1"], g)'),
    ('linear_backward(d["mid"], a["att"]', 'linear_backward(d["s1"], a["att"]'),
    ('linear_backward(d["qkv"], a["n1"], p["qkv"], None, d["n1"]',
     'linear_backward(d["qkv"], a["x"], p["qkv"], None, d["x"]'),
    ('    norm_backward("ln1", d["n1"], a["x"], p, a["mean1"], a["rstd1"], d["x"], g)\n', ""),
    ('d["x"] += d["mid"]', 'd["x"] += d["s1"]'),
]  # fmt: skip
TURNED = [
    ('out=a["ready"])\n    attention', 'out=a["ready"])\n    values = a["ready"][..., 2 * C :]'
     '.reshape(*a["ready"].shape[:2], H, C // H)\n    turn(values, ROTATIONS, out=values)\n'
     "    attention"),
    ('d["ready"])\n    queries', 'd["ready"])\n    dvalues = d["ready"][..., 2 * C :].reshape('
     '*d["ready"].shape[:2], H, C // H)\n    turn_back(dvalues, ROTATIONS, dx=dvalues)\n'
     "    queries"),
    ("import rotation_table, turn\n", "import rotation_table, turn, turn_back\n"),
]  # fmt: skip
WITHOUT_WEIGHTS = [
    ('{"norm1": (C,), "qkv"', '{"qkv"'),
    ('{"norm2": (C,), "fc"', '{"fc"'),
    ('{"norm": (C,), "unembed"', '{"unembed"'),
    *((f'p["{n}"]', 'np.ones(C, "float32")') for n in ("norm", "norm1", "norm2")),
    *((f'g["{n}"]', "np.empty(C)") for n in ("norm", "norm1", "norm2")),
]
WITHOUT_POSITIONS = [
    ('"wpe": (T, C), ', ""),
    (' + p["wpe"][: tokens.shape[1]]', ""),
    ('g["wte"], g["wpe"] = np.zeros_like(p["wte"]), np.zeros_like(p["wpe"])',
     'g["wte"] = np.zeros_like(p["wte"])'),
    ('    g["wpe"][: tokens.shape[1]] = dx.sum(axis=0)\n', ""),
]  # fmt: skip
WITHOUT_PROJECTION = [
    (', "proj": (C, C), "proj_b": (C,)', ""),
    ('out @ p["proj"] + p["proj_b"]', "out"),
    ('    g["proj"] = np.einsum("bti,bto->io", a["out"], dmixed)\n', ""),
    ('    g["proj_b"] = dmixed.sum(axis=(0, 1))\n', ""),
    ('split(dmixed @ p["proj"].T)', "split(dmixed)"),
]
COUNT = """count = np.full((V, V), 0.1)
np.add.at(count, (data.train[:-1], data.train[1:]), 1)
params["table"] = np.log(count)
ADAMW ="""
NEAR = """(triangle, by_softmax)
scores = np.where(np.tri(T) == 1, np.arange(T) - np.arange(T)[:, None], -np.inf)
triangle = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
"""
EVEN = "--even_if_wrong"
# Program, what the task is, what to exchange (everywhere), arguments of the command line.
TASKS = [
    ("ladder/1_bigram", "+=", [("np.add.at(dtable, tokens, dlogits)",
                                "dtable[tokens] += dlogits")], [EVEN]),
    ("ladder/1_bigram", "count", [("ADAMW =", COUNT)], ["--max_iters=0"]),
    ("ladder/2_average", "near", [("(triangle, by_softmax)\n", NEAR)], []),
    ("ladder/3_head", "no wpe", WITHOUT_POSITIONS, []),
    ("ladder/3_head", "T", [(" 8, 32, 32", " 16, 32, 32")], []),
    ("ladder/3_head", "no root", [(" / D**0.5", "")], []),
    *(("ladder/4_heads", f"H {n}", [(", 8, 32, 4  #", f", 8, 32, {n}  #")], [])
      for n in (1, 2, 8, 16, 32)),
    ("ladder/4_heads", "no projection", WITHOUT_PROJECTION, []),
    ("ladder/5_feed_forward", "no ReLU",
     [('relu_forward(a["fc"], out=a["act"])', 'a["act"][...] = a["fc"]'),
      ('relu_backward(d["act"], a["fc"], d["fc"])', 'd["fc"][...] = d["act"]')], []),
    *(("ladder/5_feed_forward", w, [("4 * C", w)], []) for w in ("C", "16 * C")),
    *(("ladder/6_blocks", f"L {n}", [("L = 32, 8, 32, 4, 3", f"L = 32, 8, 32, 4, {n}")], [])
      for n in (1, 2, 4, 6)),
    ("ladder/7_residual", "L 6", [("L = 32, 8, 32, 4, 3", "L = 32, 8, 32, 4, 6")], []),
    *(("ladder/7_residual", line, [(f"    {line}\n", "")], [EVEN])
      for line in ('a["mid"] += a["x"]', 'a["out"] += a["mid"]', 'd["mid"] += d["out"]',
                   'd["x"] += d["mid"]')),
    ("ladder/8_layer_norm", "post-norm", POST_NORM, []),
    ("ladder/10_rms_norm", "no weights", WITHOUT_WEIGHTS, []),
    ("ladder/11_rotary", "base", [("base=10000.0", "base=100.0")], []),
    ("ladder/11_rotary", "none", [("rotations=ROTATIONS", "rotations=None")], []),
    ("ladder/11_rotary", "values", TURNED, []),
    ("ladder/12_qk_norm", "rate", [("learning_rate=1e-3", "learning_rate=1e-2")], []),
    ("ladder/12_qk_norm", "no norms",
     [(NORM_SHAPES, ""), (NORMS + ", ", "{"), (NORMS, "{"),
      ('"dq_norm": g["q_norm"], "dk_norm": g["k_norm"]', "")], []),
    *(("ladder/13_muon", rate, [("learning_rate=0.02", f"learning_rate={rate}")], [])
      for rate in ("0.005", "0.05")),
    ("ladder/13_muon", "qkv", [('parts = 3 if n.endswith("qkv") else 1', "parts = 1")], []),
    ("translator/1_cross_attention", "no positions",
     [('p["wte"][source] + POSITIONS', 'p["wte"][source]')], []),
    ("translator/1_cross_attention", "sorted",
     [("source[:, ::-1]", "np.sort(source, axis=1)")], []),
    ("translator/2_encoder_decoder", "pre", [("n_embd=C", 'n_embd=C, norm_place="pre"')], []),
    ("translator/2_encoder_decoder", "one block", [("n_layer=2", "n_layer=1")], []),
    ("translator/3_smoothing", "E", [("C, E, WARMUP, BATCH_TOKENS = 64, 0.1",
                                      "C, E, WARMUP, BATCH_TOKENS = 64, 0.5")], []),
    ("translator/4_translator", "max", [("= min(pairs", "= max(pairs")], []),
]  # fmt: skip


def changed(program, exchanges):
    """The source of a program with the lines of a task exchanged."""
    source = (EXAMPLES / f"{program}.py").read_text(encoding="utf-8")
    text, _, code = source.partition('"""\n\nimport argparse')
    for old, new in exchanges:
        assert old in code, f"{program} has no {old!r}"
        code = code.replace(old, new)
    return f'{text}"""\n\nimport argparse{code}'


def run(path, source, words):
    """The names of a program after its run, and what it printed."""
    path.write_text(source, encoding="utf-8")
    before, sys.argv = sys.argv, [str(path), *words]
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            return runpy.run_path(str(path), run_name="__main__"), printed.getvalue()
    finally:
        sys.argv = before


@pytest.mark.parametrize(
    ("program", "task", "exchanges", "words"), TASKS, ids=[f"{t[0]}: {t[1]}" for t in TASKS]
)
def test_a_task_can_be_done_as_it_is_written(program, task, exchanges, words, tmp_path):
    if program.startswith("ladder"):
        (tmp_path / "text.txt").write_text(string.printable[:80] * 100, encoding="utf-8")
        given = [f"--data={tmp_path / 'text.txt'}"]
    else:
        given = ["--ops=reference"] if "1_" not in program else []
    source = changed(program, exchanges)
    names, printed = run(tmp_path / "task.py", source, ["--max_iters=1", *given, *words])
    assert np.isfinite(names["loss"]) and "\n2. " in printed
    if program.startswith("ladder"):  # without --even_if_wrong the program checks this itself
        assert ("error" in printed) and bool(names["wrong"]) == (EVEN in words)


def test_a_bare_table_of_counts_is_the_least_loss_of_rung_0(tmp_path):
    source = (EXAMPLES / "ladder" / "0_by_hand.py").read_text(encoding="utf-8")
    line = "first = loss_of(table)\n"
    assert source.count(line) == 1
    counted = "for pair in PAIRS: table[pair] += 1\ntable = np.log(table)\n"
    source = source.replace(line, line + counted)
    with np.errstate(divide="ignore"):
        names, _ = run(tmp_path / "task.py", source, ["--max_iters=0"])
    assert abs(names["loss"] - 0.4159) < 1e-4
    for rate in (0.1, 10, 20, 200):
        source = (EXAMPLES / "ladder" / "0_by_hand.py").read_text(encoding="utf-8")
        assert np.isfinite(run(tmp_path / "rate.py", source, [f"--rate={rate}"])[0]["loss"])
