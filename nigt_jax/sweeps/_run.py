"""Runs the programs of a sweep one after the other."""

import dataclasses
import threading
import time
from collections.abc import Callable

import jax

from nigt_jax.records import RunFolder, read_metrics, write_metrics
from nigt_jax.runs import Told, is_done, own_writes, resources, train_group
from nigt_jax.runtimes import SimulatedRuntime, few_maps_are_left, forget_programs
from nigt_jax.sweeps._folder import SweepFolder
from nigt_jax.sweeps._programs import clocks_of_runs, kind_of, plan_of, platform_of
from nigt_jax.sweeps._progress import Progress, Result
from nigt_jax.sweeps._sweep import Run, reported_runs
from nigt_jax.sweeps._tuning import choose
from nigt_jax.sweeps._twins import with_times


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
    clock, runtimes = _Clock(folder, shard, progress), _Runtimes()
    _run_programs(folder, clock, runtimes, interrupted)
    waiting = False
    if not folder.tuned and not interrupted.is_set():
        waiting = len(folder.done()) < len(folder.programs)
        if not waiting:
            _choose(folder, shard[1])
            _run_programs(folder, clock, runtimes, interrupted)
    outcomes = [folder.outcome(number) for number in clock.mine]
    done = [outcome for outcome in outcomes if outcome is not None]
    folder.write_results()
    failed = {name: why for outcome in done for name, why in outcome.items() if why is not None}
    stopped = None in outcomes or (not folder.tuned and not waiting)
    return Result(sum(map(len, done)), failed, interrupted=stopped, waiting=waiting)


def _choose(folder: SweepFolder, least: int) -> None:
    """Chooses what is tuned, and adds the runs that come after, unless another shard has done so meanwhile."""
    folder.read_chosen()
    if folder.tuned:
        return
    broken = {name for number in folder.done() for name, why in (folder.outcome(number) or {}).items() if why}
    records = lambda run: read_metrics(folder.run_folder(run).metrics)
    choices = choose(folder.runs, folder.sweep.tuned, records, lambda run: run.name in broken)
    runs = reported_runs(folder.sweep, {case: choice.values for case, choice in choices.items()})
    with jax.enable_x64(False):
        before = [folder.runs_of(number) for number in range(len(folder.programs))]
        plan = plan_of(runs, platform_of(runs), least, before)
    with own_writes(RunFolder(folder.path)):
        folder.write_chosen(choices, plan)
    folder.add(runs, plan)


def _run_programs(folder: SweepFolder, clock: "_Clock", runtimes: "_Runtimes", interrupted: threading.Event) -> None:
    for number in clock.mine:
        if folder.outcome(number) is None and not interrupted.is_set():
            _run_program(folder, number, clock, runtimes, interrupted)


def _run_program(
    folder: SweepFolder, number: int, clock: "_Clock", runtimes: "_Runtimes", interrupted: threading.Event
) -> None:
    runs = folder.runs_of(number)
    folders = [folder.run_folder(run) for run in runs]
    kind = (kind_of(runs), folder.rooms[number])
    standings, runtime = train_group(
        [run.config for run in runs],
        folders,
        folder.program_folder(number),
        room=folder.rooms[number],
        known=runtimes.get(kind),
        tell=lambda told: clock.tell(number, told),
        interrupted=interrupted,
    )
    runtimes.keep(kind, runtime)
    both = list(zip(runs, standings, strict=True))
    if all(own.failed is not None or is_done(run.config, own.amounts) for run, own in both):
        failed = {run.name: own.failed for run, own in both}
        twins = _record_twins(folder, number)
        folder.write_outcome(number, failed | {run.name: failed[other.name] for run, other in twins})
        folder.write_results()


def _record_twins(folder: SweepFolder, number: int) -> list[tuple[Run, Run]]:
    """Writes the runs that have the numbers of a program's, which is done; the same again if they are there."""
    clocks, pairs = clocks_of_runs(), folder.twins_of(number)
    for run, other in pairs:
        own, origin = folder.run_folder(run), folder.run_folder(other)
        with jax.enable_x64(False):
            times = clocks.times(run.config)
        written = origin.provenance()
        assert times is not None  # or it would not be a twin
        assert written is not None
        with own_writes(own):
            own.path.mkdir(parents=True, exist_ok=True)
            own.write_config(run.config)
            own.write_provenance(dataclasses.replace(written, asked=resources(run.config)))
            write_metrics(own.metrics, with_times(read_metrics(origin.metrics), times))
    return pairs


class _Runtimes:
    """The runtimes of a few kinds of programs, since runs after tuning are of the same kinds as those before."""

    _MOST = 8

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], SimulatedRuntime] = {}

    def get(self, kind: tuple[str, int]) -> SimulatedRuntime | None:
        """The runtime of a kind, if it is kept."""
        return self._kept.get(kind)

    def keep(self, kind: tuple[str, int], runtime: SimulatedRuntime) -> None:
        """Keeps a runtime, and lets the one go that was used the longest ago where there are too many."""
        self._kept.pop(kind, None)
        self._kept[kind] = runtime
        while len(self._kept) > self._MOST or (len(self._kept) > 1 and few_maps_are_left()):
            del self._kept[next(iter(self._kept))]
            forget_programs()


class _Clock:
    """What is left, from how long programs took. What is computed counts, by runs."""

    def __init__(self, folder: SweepFolder, shard: tuple[int, int], progress: Callable[[Progress], None]):
        self._folder, self._shard, self._progress = folder, shard, progress
        self._began, self._began_with = time.perf_counter(), self._computed()

    @property
    def mine(self) -> list[int]:
        """Numbers of the programs of this shard."""
        k, n = self._shard
        return [number for number in range(len(self._folder.programs)) if number % n == k - 1]

    def tell(self, number: int, told: Told) -> None:
        """A chunk of a program is done."""
        folder, mine = self._folder, self.mine
        before, now = self._began_with, self._computed() + told.fraction_done * len(folder.programs[number])
        all_runs, every = float(sum(len(folder.programs[other]) for other in mine)), len(folder.runs)
        if not folder.tuned:  # as many of the runs to come will be computed as of these, nearly
            every += folder.sweep.reported
            all_runs *= every / len(folder.runs)
        spent = time.perf_counter() - self._began
        left = spent / (now - before) * (all_runs - now) if now > before else None
        rate = told.steps / told.seconds if told.seconds else None
        place = Progress(mine.index(number) + 1, len(mine), int(now), round(all_runs), now / all_runs, rate, left)
        self._progress(place)

    def _computed(self) -> int:
        """Runs of this shard's programs that are done."""
        return sum(len(self._folder.programs[n]) for n in self.mine if self._folder.outcome(n) is not None)
