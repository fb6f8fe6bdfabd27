"""Runs the programs of a sweep one after the other."""

import threading
import time
from collections.abc import Callable

from nigt_jax.runs import Told, is_done, train_group
from nigt_jax.sweeps._folder import SweepFolder
from nigt_jax.sweeps._progress import Progress, Result


def run_sweep(
    folder: SweepFolder,
    *,
    progress: Callable[[Progress], None] = lambda progress: None,
    interrupted: threading.Event,
    shard: tuple[int, int] = (1, 1),
) -> Result:
    """Runs what is left of a sweep, program by program.

    Args:
      folder: the sweep's folder.
      progress: called after every chunk.
      interrupted: looked at between chunks.
      shard: (k, n): only every n-th program, from the k-th on.

    Raises:
      UserError: what is in the folder cannot be read, or another process works on a program.
      RunError: a program cannot go on; what was computed is kept.
    """
    k, n = shard
    mine = [number for number in range(len(folder.programs)) if number % n == k - 1]
    clock = _Clock(folder, mine, progress)
    for number in mine:
        if folder.outcome(number) is None and not interrupted.is_set():
            _run_program(folder, number, clock, interrupted)
    outcomes = [folder.outcome(number) for number in mine]
    done = [outcome for outcome in outcomes if outcome is not None]
    folder.write_results()
    failed = {name: why for outcome in done for name, why in outcome.items() if why is not None}
    return Result(sum(map(len, done)), failed, interrupted=None in outcomes)


def _run_program(folder: SweepFolder, number: int, clock: "_Clock", interrupted: threading.Event) -> None:
    runs = folder.runs_of(number)
    folders = [folder.run_folder(run) for run in runs]
    standings = train_group(
        [run.config for run in runs],
        folders,
        folder.program_folder(number),
        tell=lambda told: clock.tell(number, told),
        interrupted=interrupted,
    )
    both = list(zip(runs, standings, strict=True))
    if all(own.failed is not None or is_done(run.config, own.amounts) for run, own in both):
        folder.write_outcome(number, {run.name: own.failed for run, own in both})
        folder.write_results()
        clock.is_done(number)


class _Clock:
    """What is left, from how long programs took."""

    def __init__(self, folder: SweepFolder, mine: list[int], progress: Callable[[Progress], None]):
        self._folder, self._mine, self._progress = folder, mine, progress
        self._done = {number for number in mine if folder.outcome(number) is not None}
        self._began, self._began_with = time.perf_counter(), len(self._done)
        self._runs = {number: len(folder.programs[number]) for number in mine}

    def tell(self, number: int, told: Told) -> None:
        """A chunk of a program is done."""
        done = sum(self._runs[other] for other in self._done)
        all_runs, now = sum(self._runs.values()), done + told.fraction_done * self._runs[number]
        before = sum(self._runs[other] for other in sorted(self._done)[: self._began_with])
        spent = time.perf_counter() - self._began
        left = spent / (now - before) * (all_runs - now) if now > before else None
        rate = told.steps / told.seconds if told.seconds else None
        place = self._mine.index(number) + 1
        self._progress(Progress(place, len(self._mine), done, all_runs, now / all_runs, rate, left))

    def is_done(self, number: int) -> None:
        """A program is done."""
        self._done.add(number)
