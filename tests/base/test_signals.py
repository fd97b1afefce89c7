"""Signals that ask a process to end: who handles them, and who leaves them alone."""

import signal
import threading

import pytest

from gpt_numpy.base.signals import KINDS, end_signals_call, ignore_end_signals


@pytest.fixture(autouse=True)
def handlers():
    before = [signal.getsignal(kind) for kind in KINDS]
    yield before
    for kind, handler in zip(KINDS, before, strict=True):
        signal.signal(kind, handler)


def now():
    return [signal.getsignal(kind) for kind in KINDS]


def test_each_kind_calls_the_handler_and_afterwards_what_it_called_before(handlers):
    for kind in KINDS:
        signal.signal(kind, signal.default_int_handler)
    before, seen = now(), []
    with end_signals_call(lambda kind, frame: seen.append(kind)):
        for kind in KINDS:
            signal.raise_signal(kind)
    assert seen == KINDS and now() == before
    assert {"SIGINT", "SIGTERM"} <= {kind.name for kind in KINDS}
    if hasattr(signal, "SIGHUP"):
        assert signal.SIGHUP in KINDS


def test_handlers_come_back_after_an_error_and_in_a_process_that_ends_signals_are_ignored():
    before = now()
    with pytest.raises(KeyError), end_signals_call(pytest.fail):
        raise KeyError
    assert now() == before
    with end_signals_call(pytest.fail, restore=False):
        pass
    assert set(now()) == {signal.SIG_IGN}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_parent_asked_to_ignore_stays_ignored(kind):
    signal.signal(kind, signal.SIG_IGN)
    with end_signals_call(pytest.fail):
        assert signal.getsignal(kind) is signal.SIG_IGN
        signal.raise_signal(kind)
    assert signal.getsignal(kind) is signal.SIG_IGN


def test_in_another_thread_nothing_is_installed():
    before, inside = now(), []

    def work():
        with end_signals_call(pytest.fail):
            inside.extend(now())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == before == now()


def test_they_can_be_ignored_from_a_handler():
    def handler(*_):
        ignore_end_signals()

    with end_signals_call(handler):
        for kind in KINDS:
            signal.raise_signal(kind)
            assert signal.getsignal(kind) is signal.SIG_IGN
