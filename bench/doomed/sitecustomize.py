"""Has a process that is told so by DOOM come to harm at the n-th place of its writing. Python imports this by its name.

DOOM is JSON: ``folder`` (which is watched), ``log`` (where the place is noted), ``process`` (`nigt`, or `table`, which
writes a sweep's table), ``at`` (n; None to note all places and do no harm), ``harm``, and ``seconds`` (to wait).
"""

import contextlib
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from places import Place, halve, watched


def _kill() -> None:
    if _process() == "table":  # as where memory runs out, and all processes of a job are killed
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _soon(seconds: float, do: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()


def _signals(*numbers: int) -> Callable[[Place, float], None]:
    """The first now, another one some seconds later; they come to all processes in the group, as from a terminal."""

    def send(place: Place, seconds: float) -> None:
        del place
        for k, number in enumerate(numbers):
            _soon(k * seconds, lambda number=number: os.killpg(0, number))  # type: ignore[misc]

    return send


def _kill_now(place: Place, seconds: float) -> None:
    del place, seconds
    _kill()


def _kill_half_written(place: Place, seconds: float) -> None:
    del seconds
    if place.kind == "rename":
        halve(place.source)
    _kill()


def _kill_soon(place: Place, seconds: float) -> None:
    del place
    _soon(seconds, _kill)


_whole_life = contextlib.ExitStack()  # nobody leaves it
HARMS: dict[str, Callable[[Place, float], None]] = {
    "kill -9": _kill_now,
    "kill -9, half written": _kill_half_written,
    "kill -9, soon after": _kill_soon,
    "SIGTERM": _signals(signal.SIGTERM),
    "Ctrl-C": _signals(signal.SIGINT),
    "Ctrl-C twice": _signals(signal.SIGINT, signal.SIGINT),
    "SIGTERM twice": _signals(signal.SIGTERM, signal.SIGTERM),
}


def _process() -> str:
    return "table" if "nigt_jax.sweeps._table" in sys.orig_argv else "nigt"


def _begin(plan: dict[str, Any]) -> None:
    numbers, folder = itertools.count(1), Path(os.path.realpath(plan["folder"]))

    def note(place: Place) -> None:
        line = json.dumps([_process(), place.kind, str(place.path.relative_to(folder))]) + "\n"
        with Path(plan["log"]).open("a", encoding="utf-8") as log:
            log.write(line)

    def tell(place: Place) -> None:
        number = next(numbers)
        if plan["at"] in (None, number):
            note(place)
        if plan["at"] == number:
            HARMS[plan["harm"]](place, plan["seconds"])

    _whole_life.enter_context(watched(folder, tell))


if "DOOM" in os.environ:
    _plan = json.loads(os.environ["DOOM"])
    if _plan["process"] == _process() or _plan["at"] is None:
        _begin(_plan)
