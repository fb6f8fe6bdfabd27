"""Signals ask a run to stop; nothing that goes wrong in telling the user so may stop it otherwise."""

import signal

import pytest

from nigt_jax.interrupts import interruptions


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_announced_once_and_the_old_handler_comes_back(number):
    before, told = signal.getsignal(number), []
    with interruptions(lambda: told.append(1)) as event:
        assert not event.is_set()
        signal.raise_signal(number)
        assert event.is_set()
        signal.raise_signal(signal.SIGTERM)
    assert told == [1]
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once():
    with interruptions():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("error", [RuntimeError("reentrant call inside a writer"), BrokenPipeError()])
def test_an_announcement_that_cannot_be_written_is_left_out(error):
    def announce():
        raise error

    with interruptions(announce) as event:
        signal.raise_signal(signal.SIGTERM)
        assert event.is_set()
