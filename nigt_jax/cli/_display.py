"""What a person sees of a run: a live table on a terminal, plain lines in a pipe."""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from nigt_jax.config import Amount
from nigt_jax.errors import RunWarning

_NAMES = {"gradients": "gradients", "env_steps": "steps"}


class Display(Protocol):
    """Told of a run as it goes."""

    def update(self, progress: dict[str, Any]) -> None:
        """Shows how far it is; the keys are those that `training.train` tells."""

    def close(self) -> None:
        """Leaves the last state on the screen."""


def make_display(console: Console, ends: Sequence[Amount]) -> Display:
    """The display that fits where standard output goes.

    Args:
      console: where to write.
      ends: amounts of which the first that is reached ends the run.
    """
    return _Harmless(lambda: _LiveDisplay(console, ends) if console.is_terminal else _Lines(console, ends))


class _Harmless:
    """Another display, which is dropped where it fails: what it shows is worth less than the run."""

    def __init__(self, make: Callable[[], Display]):
        self._display: Display | None = None
        with self._dropping():
            self._display = make()

    def update(self, progress: dict[str, Any]) -> None:
        with self._dropping():
            if self._display is not None:
                self._display.update(progress)

    def close(self) -> None:
        with self._dropping():
            if self._display is not None:
                self._display.close()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._display = None
            warnings.warn(f"progress is not shown any more: {error!r}", RunWarning, stacklevel=3)


class _Lines:
    """One line an evaluation, and now and then one between."""

    def __init__(self, console: Console, ends: Sequence[Amount]):
        self._console, self._ends, self._next = console, ends, 0.0
        self._told: dict[int, str] = {}

    def update(self, progress: dict[str, Any]) -> None:
        for number, worker in enumerate(progress.get("workers", ()), start=1):
            if worker["news"] and worker["news"] != self._told.get(number):
                self._told[number] = worker["news"]
                self._console.print(f"worker {number} {worker['news']}")
        done = _fraction(progress, self._ends)
        if _evaluation(progress) is None and done < self._next and done < 1:
            return
        self._next = done + 0.05
        text = "  ".join(f"{name} {value}" for name, value in _shown(progress, self._ends))
        self._console.print(text)

    def close(self) -> None:
        pass


class _LiveDisplay:
    """A small table that stays in place, with a progress bar."""

    def __init__(self, console: Console, ends: Sequence[Amount]):
        self._ends, self._headline, self._last = ends, "return", ""
        self._live = Live(console=console, refresh_per_second=4)
        self._live.start()

    def update(self, progress: dict[str, Any]) -> None:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="dim")
        table.add_column()
        evaluation = _evaluation(progress)
        if evaluation is not None:
            self._headline, self._last = evaluation[0], f"{evaluation[1]} (iteration {progress['iteration']})"
        for name, value in _shown(progress | {"headline": None}, self._ends):
            table.add_row(name, value)
        table.add_row(self._headline, self._last)
        for number, worker in enumerate(progress.get("workers", ()), start=1):
            table.add_row(f"worker {number}", _of_worker(worker))
        table.add_row("", ProgressBar(total=1, completed=_fraction(progress, self._ends), width=40))
        self._live.update(table, refresh=True)

    def close(self) -> None:
        self._live.stop()


def _used(progress: dict[str, Any], unit: str) -> float:
    return progress["iteration" if unit == "iterations" else unit]


def _fraction(progress: dict[str, Any], ends: Sequence[Amount]) -> float:
    return min(1.0, max(_used(progress, end.unit) / end.number for end in ends))


def _shown(progress: dict[str, Any], ends: Sequence[Amount]) -> list[tuple[str, str]]:
    totals = {end.unit: f"{end.number:,.12g}" for end in ends}
    of = lambda unit, text: f"{text:>{len(totals[unit])}}/{totals[unit]}" if unit in totals else text
    rows = [("iteration", of("iterations", f"{progress['iteration']:,}"))]
    rows += [(_NAMES[unit], of(unit, f"{progress[unit]:,}")) for unit in ("gradients", "env_steps") if unit in totals]
    rows += [(progress["clock"], of("simulated_time", f"{progress['simulated_time']:,.1f}"))]
    if (evaluation := _evaluation(progress)) is not None:
        rows += [evaluation]
    if "steps_per_second" in progress:
        rows += [("useful steps/s", f"{progress['steps_per_second']:,.0f}" if progress["steps_per_second"] else "-")]
    rows += [("time left", duration(progress["seconds_left"]))]
    if progress.get("diverged_fraction", 0.0) > 0.01:
        rows.append(("broken physics", f"{progress['diverged_fraction']:.1%} of episodes"))
    return rows


def _evaluation(progress: dict[str, Any]) -> tuple[str, str] | None:
    """What is looked at first, where it has just been measured: its name, and its value in words."""
    name = progress["headline"]
    if name not in progress:
        return None
    if "return_std" in progress:
        return "return", f"{progress['return_mean']:.1f} ± {progress['return_std']:.1f}"
    return name.removesuffix("_mean"), f"{progress[name]:.6g}"


def _of_worker(worker: dict[str, Any]) -> str:
    heard = "not there" if worker["heard"] is None else f"heard {worker['heard']:.1f} s ago"
    counted = f"{worker['counted']:,} counted, {worker['discarded']:,} discarded, {heard}"
    return ", ".join(part for part in (counted, worker["place"], worker["news"]) if part)


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours else f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"
