"""What the processes do that do not lead: compute the same programs at the same time, until they are told to part."""

import os
import signal
import sys
import traceback
from typing import Any

import jax

from nigt_jax.cache import keep_compiled_programs
from nigt_jax.config import Config, check_config
from nigt_jax.errors import UserError
from nigt_jax.runtimes._runtime import Stop
from nigt_jax.runtimes._simulated import SimulatedRuntime
from nigt_jax.runtimes.lockstep import _link
from nigt_jax.runtimes.lockstep._join import SILENCE, join, join_others
from nigt_jax.runtimes.lockstep._runtime import FAILED, OTHER_CODE, code_digest


def follow(config: Config) -> bool:
    """Takes part in a run of another process, where this one does not lead.

    Args:
      config: of a run in lockstep; the one that counts is that of the process which leads.

    Returns:
      False at once where this process leads, and should train. Otherwise True, when the run has ended.

    Where the process that leads is gone, or this one cannot take part, it says so and exits with status 1.
    """
    join(config)
    if _link.leads():
        return False
    _take_part()
    return True


def follow_until_the_end() -> int:
    """Takes part in runs until the process that leads has no more. Returns the exit status."""
    sys.path.insert(0, os.getcwd())  # environments of the user's own are found where the command looks for them
    join_others(float(os.environ[SILENCE]))
    while _take_part():
        pass
    return 0


def _take_part() -> bool:
    """One run; False where there is none any more."""
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        with jax.enable_x64(False):
            return _Following().one_run()
    except BaseException as error:  # whatever it is, this process must not seem to take part
        if not isinstance(error, jax.errors.JaxRuntimeError):
            traceback.print_exc()
        return _give_up(" ".join(f"{type(error).__name__}: {error}".split()))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _give_up(why: str) -> Any:
    print(f"nigt: process {jax.process_index()} of the job: {why}", file=sys.stderr, flush=True)
    os._exit(1)  # what JAX does at an ordinary end waits for processes that are gone


class _Following:
    """A run, with the state that the leader has told of."""

    def __init__(self) -> None:
        self._runtime: SimulatedRuntime | None = None
        self._state: Any = None

    def one_run(self) -> bool:
        """Does as told, until the run is over."""
        while True:
            told = _link.tell()
            if told["do"] in ("close", "part"):
                return told["do"] == "close"
            getattr(self, f"_{told.pop('do')}")(**told)

    def _make(self, config: dict[str, Any], code: str) -> None:
        try:
            if code != code_digest():
                _link.gather(OTHER_CODE)
                return
            checked = check_config(config, check_files=False)
            if checked.training.compilation_cache:
                keep_compiled_programs()
            self._runtime = SimulatedRuntime(checked)  # what it starts with comes from the process that leads
        except Exception as error:  # whatever it is, the leader has to know
            _link.gather(FAILED)
            _give_up(" ".join(str(error).split()) if isinstance(error, UserError) else repr(error))
        _link.gather(0)

    def _place(self) -> None:
        runtime = self._made()
        self._state = runtime.place(_link.share(None, runtime.initial_state()))

    def _compile(self) -> None:
        self._made().compile()
        _link.gather(0)

    def _run(self, rounds: Any, stop: dict[str, Any] | None) -> None:
        limits = None if stop is None else Stop(**stop)
        self._state, _ = self._made().run(self._state, rounds, limits)

    def _evaluate(self, asked: list[bool] | None) -> None:
        self._made().evaluate(self._state, asked)

    def _acquainted(self) -> None:
        self._state = self._made().acquainted(self._state)

    def _made(self) -> SimulatedRuntime:
        assert self._runtime is not None
        return self._runtime
