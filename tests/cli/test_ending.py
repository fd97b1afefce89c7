"""How a command ends: its last output, and signals that come while it ends."""

import io
import signal
import sys

import pytest

from gpt_numpy.base.signals import KINDS
from gpt_numpy.cli import main as cli


@pytest.fixture(autouse=True)
def handlers():
    before = [signal.getsignal(kind) for kind in KINDS]
    yield
    for kind, handler in zip(KINDS, before, strict=True):
        signal.signal(kind, handler)


class Closed(io.StringIO):
    """The output of a terminal that is gone."""

    def flush(self):
        """Fail, as the last write to it does."""
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("status", "ends_with"),
    [(cli.OK, cli.BAD_INPUT), (1, cli.BAD_INPUT), (cli.INTERRUPTED, cli.INTERRUPTED)],
)
def test_output_that_is_lost_is_an_error_unless_the_run_was_interrupted(
    monkeypatch, capsys, status, ends_with
):
    monkeypatch.setattr(cli, "_run", lambda words: status)
    monkeypatch.setattr(sys, "stdout", Closed())
    assert cli.main(["train"]) == ends_with
    assert ("Input/output error" in capsys.readouterr().err) == (status != cli.INTERRUPTED)


@pytest.mark.parametrize("kind", KINDS)
def test_after_the_first_signal_others_do_not_cut_off_the_last_message(monkeypatch, capsys, kind):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where tests run
    signal.signal(kind, signal.default_int_handler)
    later = []

    def run(words):
        try:
            signal.raise_signal(kind)
        finally:
            later.extend(signal.getsignal(each) for each in KINDS)

    monkeypatch.setattr(cli, "_run", run)
    assert cli.main(["train"]) == cli.INTERRUPTED
    assert later == [signal.SIG_IGN] * len(KINDS)
    assert "interrupted" in capsys.readouterr().err
