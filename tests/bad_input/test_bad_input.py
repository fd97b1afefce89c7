"""Part of the campaign of bad_input/, and whether it sees what it is there to see."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
CALLS = 400

BREAK_AND_RUN = """
import sys
import numpy as np
from tests.bad_input import campaign
{breakage}
outcomes, problems = campaign.calls_in_this_process(200, 0, lambda text: None)
print(*problems, sep="\\n")
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=500
    )


def test_bad_input_is_refused_clearly_and_all_else_is_right():
    done = run("-m", "tests.bad_input", f"--calls={CALLS}", "--seed=0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{CALLS} calls" in done.stdout and "0 problems" in done.stdout


BREAKAGES = {
    "went through in silence": """
from gpt_numpy.generation import sampling
from gpt_numpy.training import optimizer
for module in (optimizer, sampling):
    module.real = lambda name, value, *rest: value
""",
    "the message names none of": """
from gpt_numpy.base.errors import InputError
from gpt_numpy.model import gpt
def refuse(name, tokens, config, lowest=0):
    raise InputError("no")
gpt.checked_tokens = refuse
""",
    "refused what is right": """
from gpt_numpy.base.errors import InputError
from gpt_numpy.model import gpt
def refuse(name, tokens, config, lowest=0):
    raise InputError("tokens and targets are not to my taste")
gpt.checked_tokens = refuse
""",
    "gave a wrong result": """
from gpt_numpy.model import gpt
forward = gpt.GPT.forward
def twice(self, *args, **options):
    return forward(self, *args, **options) * (2 if self.ops_name == "kernels" else 1)
gpt.GPT.forward = twice
""",
    "raised OverflowError": """
from gpt_numpy.model import encoder_decoder
def alignments(self, source, target):
    raise OverflowError("too large")
encoder_decoder.Transformer.alignments = encoder_decoder.Transformer.forward = alignments
""",
    "raised TypeError": """
from gpt_numpy.model import gpt
def forward(self, tokens, targets, **options):
    raise TypeError("unhashable")
gpt.GPT.forward = forward
""",
    "wrote outside of its buffer": """
from gpt_numpy import kernels, reference
embed = kernels.embedding_forward
def one_too_many(tokens, weights, **options):
    embed(tokens, weights, **options)
    base = weights.wte.base
    while base.base is not None:
        base = base.base
    base[-1] = 0
kernels.embedding_forward, kernels.prepare = one_too_many, reference.prepare
""",
    "changed parameters": """
from gpt_numpy import kernels, reference
embed = kernels.embedding_forward
def careless(tokens, weights, **options):
    embed(tokens, weights, **options)
    weights.wte[0, 0] += 1
kernels.embedding_forward, kernels.prepare = careless, reference.prepare
""",
}  # fmt: skip


@pytest.mark.parametrize("complaint", BREAKAGES)
def test_the_campaign_notices(complaint):
    done = run("-c", BREAK_AND_RUN.format(breakage=BREAKAGES[complaint]))
    assert complaint in done.stdout + done.stderr


def test_a_call_that_kills_the_process_is_named(tmp_path):
    code = """
import os, sys
sys.argv = ["bad_input", "--calls=50", "--last=" + sys.argv[1]]
from gpt_numpy.model import gpt
gpt.GPT.logits = lambda self, tokens: os.abort()
from tests.bad_input import campaign
campaign.main()
"""
    last = tmp_path / "last.txt"
    last.write_text("", encoding="utf-8")
    done = run("-c", code, str(last))
    assert done.returncode not in (0, 1)
    assert last.read_text(encoding="utf-8").startswith("call ")
    final = last.read_text(encoding="utf-8")
    assert any(f": {function}(" in final for function in ("logits", "generate", "backward")), final


def test_strange_values_mean_what_they_should(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from tests.bad_input.values import BAD, Maybe, integer, real

    assert integer(3, 0) == 3 and integer(np.uint8(3), 0) == 3 and integer(-1, 0) is BAD
    assert integer(True, 0) == Maybe(1) and integer(3.0, 0) == Maybe(3) and integer(2.5, 0) is BAD
    assert integer("3", 0) is BAD and integer(None, 0) is BAD and integer(float("nan"), 0) is BAD
    assert real(0.5, lambda x: x > 0) == 0.5 and real(float("inf"), lambda x: True) is BAD
