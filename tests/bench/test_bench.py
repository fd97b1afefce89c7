"""`gpt-numpy bench` prints its figures; every program of benchmarks/ starts with `python -m`."""

import subprocess
import sys
from pathlib import Path

import pytest

from gpt_numpy.cli import main as cli

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_bench_times_each_layer_and_ends_with_how_to_compare_with_pytorch(optimizer, capsys):
    small = ["--n_layer=1", "--n_head=2", "--n_embd=8", "--block_size=8", "--vocab_size=11"]
    assert (
        cli.main(["bench", *small, "--batch_size=2", "--ops=reference", f"--optimizer={optimizer}"])
        == cli.OK
    )
    lines = capsys.readouterr().out.splitlines()
    for layer in ("embedding", "attention", "MLP", "head and loss", "optimizer"):
        assert any(line.startswith(layer) for line in lines)
    assert lines[-1].endswith("python -m benchmarks.bench_step tiny")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_benchmark_starts_as_a_module_and_has_a_usage_line(program):
    command = f"python -m benchmarks.{program}"
    done = subprocess.run(
        [sys.executable, *command.split()[1:], "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {command} ")
    source = (ROOT / "benchmarks" / f"{program}.py").read_text(encoding="utf-8")
    assert command in source.split('"""')[1] and "sys.path" not in source


def test_the_readme_of_the_benchmarks_names_all_of_them():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for program in PROGRAMS:
        assert f"python -m benchmarks.{program}" in text or program == "reference_curves"


def test_bench_of_one_process_predicts_others(capsys):
    small = ["--n_layer=1", "--n_head=2", "--n_embd=8", "--block_size=8", "--ops=reference"]
    words = ["bench", *small, "--parallel", "--gradient_accumulation_steps=2"]
    assert cli.main(words) == cli.OK
    out = capsys.readouterr().out
    assert "time per update" in out and "for 2 micro-batches" in out and "sends 0.00 MB" in out
    assert "the exchange by itself" not in out
    assert [line.split()[0] for line in out.splitlines()].count("gpt2") == 2


def test_micro_batches_of_bench_are_for_several_processes(capsys):
    assert cli.main(["bench", "--gradient_accumulation_steps=2"]) == cli.BAD_INPUT
    assert "gradient_accumulation_steps=2 is for --parallel" in capsys.readouterr().err
