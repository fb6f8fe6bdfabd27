"""Being told to stop: which signals are heard, and which are left to what was there before."""

import os
import signal

import pytest

from nigt_jax.interrupts import interruptions


@pytest.fixture
def terminal_closes():
    """What happens at SIGHUP, whatever pytest runs under."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("terminal_closes")
def test_a_signal_is_heard_once(number):
    heard = []
    before = signal.getsignal(number)
    with interruptions(lambda: heard.append(1)) as event:
        assert not event.is_set()
        os.kill(os.getpid(), number)
        assert event.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [1]
    assert signal.getsignal(number) is before


@pytest.mark.usefixtures("terminal_closes")
def test_under_nohup_a_closed_terminal_is_nothing():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interruptions() as event:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not event.is_set()


def test_a_second_ctrl_c_interrupts():
    with interruptions() as event:
        os.kill(os.getpid(), signal.SIGINT)
        assert event.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
