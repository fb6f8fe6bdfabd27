"""A sweep as its report sees it: panels of lines, with the curves of every seed. Needs no JAX."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nigt_jax.config import Config
from nigt_jax.errors import UserError
from nigt_jax.records import Provenance, Record, RunFolder, check_numbers, last_record, read_metrics
from nigt_jax.report._names import Named
from nigt_jax.statistics import Curve, common_end, value_at
from nigt_jax.sweeps import Choice, Run, SweepFolder, curve_of, open_sweep

AXES = {
    "simulated_time": "simulated time",
    "gradients": "gradients counted",
    "communications": "exchanges",
    "bytes_up": "bytes up",
}
_FAR = 0.8  # of the way from the first return to the second best final one: two lines at least are to reach it


@dataclasses.dataclass(frozen=True)
class Line:
    """The runs of one case: alike but for their seeds.

    Attributes:
      name: what sets the case apart in its panel.
      case: its name in the sweep.
      first_norms: norms of the first gradients of all runs, those of the untrained policy.
      config: the configuration of its first run.
      curves: for each axis, the return of every run, by seed.
      worst: likewise, the return in the worst of the workers' environments; empty where these are alike.
      last: the newest record of every run, by seed.
      discarded: gradients that were begun and not counted, of all runs.
      failed: runs that could not go on.
    """

    name: str
    case: str
    first_norms: list[float]
    config: Config
    curves: dict[str, list[Curve]]
    worst: dict[str, list[Curve]]
    last: list[Record]
    discarded: int
    failed: int

    def finals(self, end: float) -> np.ndarray:
        """The return of every run at a simulated time."""
        return np.array([value_at(curve, end) for curve in self.curves["simulated_time"]])

    @property
    def discarded_fraction(self) -> float:
        """Of all gradients that were begun."""
        return self.discarded / max(self.discarded + sum(record["gradients"] for record in self.last), 1)


@dataclasses.dataclass(frozen=True)
class Panel:
    """All lines of a scenario.

    Attributes:
      name: of the scenario; of the sweep where it has none.
      lines: in the order of the sweep.
      end: simulated time up to which all of their runs can be compared.
      start: mean return before the first step, which is the same in all lines.
      threshold: return whose time of arrival is told; inf where nothing was learnt.
    """

    name: str
    lines: list[Line]
    end: float
    start: float
    threshold: float


@dataclasses.dataclass(frozen=True)
class Study:
    """A sweep.

    Attributes:
      name: of its folder, unlike that of any other on the page.
      stem: the same for files and anchors.
      path: the folder.
      environment: its environment.
      panels: one a scenario.
      choices: what was chosen for every case; empty where nothing was tuned.
      tuned: keys that were.
      seeds: of the runs that are reported.
      tuning_seeds: of those that nothing is reported of.
      runs: number of all runs.
      computed: number of those that were computed; the others differ from one of them in times alone.
      wall: seconds in rounds of all of them.
      provenance: of a run.
      missing: runs that are not done.
    """

    name: str
    stem: str
    path: Path
    environment: str
    panels: list[Panel]
    choices: dict[str, Choice]
    tuned: tuple[str, ...]
    seeds: list[int]
    tuning_seeds: list[int]
    runs: int
    computed: int
    wall: float
    provenance: Provenance
    missing: int


def load_study(own: Named) -> Study:
    """Reads a sweep's folder.

    Args:
      own: the folder, and what the page calls it.

    Raises:
      UserError: it is none, is damaged, or none of its reported runs is done.
    """
    folder = open_sweep(own.path)
    failed = _outcomes(folder)
    reported = [run for run in folder.runs if run.name in failed and not run.tuning]
    if not reported:
        raise UserError(f"{own.path}: has no run yet that is done; nigt sweep {own.path} --resume goes on with it")
    panels = []
    scenarios = list(dict.fromkeys(run.scenario for run in reported))
    for scenario in scenarios:
        members = [run for run in reported if run.scenario == scenario]
        lines = [
            _line(folder, scenario, [run for run in members if run.case == case], failed)
            for case in dict.fromkeys(run.case for run in members)
        ]
        panels.append(make_panel(scenario or own.name.rpartition("/")[2], [line for line in lines if line is not None]))
    provenance = folder.run_folder(reported[0]).provenance()
    if provenance is None:
        raise UserError(f"{folder.run_folder(reported[0]).path}: has no run.json, which every run of a sweep has")
    seeds = lambda runs: sorted({run.config.seed for run in runs})
    return Study(
        name=own.name,
        stem=own.stem,
        path=own.path,
        environment=reported[0].config.environment.name,
        panels=panels,
        choices=folder.choices() if folder.sweep.tuned else {},
        tuned=folder.sweep.tuned,
        seeds=seeds(reported),
        tuning_seeds=seeds([run for run in folder.runs if run.tuning]),
        runs=len(failed),
        computed=sum(name not in folder.twins for name in failed),
        wall=sum(_wall(folder, run) for run in folder.runs if run.name in failed),
        provenance=provenance,
        missing=len(folder.runs) - len(failed) + (0 if folder.tuned else folder.sweep.reported),
    )


def _outcomes(folder: SweepFolder) -> dict[str, str | None]:
    """Of every run that is done, why it failed, or None."""
    done = (folder.outcome(number) or {} for number in range(len(folder.programs)))
    return dict(itertools.chain.from_iterable(outcome.items() for outcome in done))


def _wall(folder: SweepFolder, run: Run) -> float:
    return 0.0 if run.name in folder.twins else last_record(folder.run_folder(run).metrics)["wall_time"]


def _line(folder: SweepFolder, scenario: str | None, runs: Sequence[Run], failed: dict[str, str | None]) -> Line | None:
    """None where all runs of the case failed before their first evaluation after the start."""
    kept = [_records(folder.run_folder(run)) for run in runs]
    kept = [records for records in kept if any("return_mean" in record for record in records)]
    if not kept:
        return None
    differ = "return_by_worker" in kept[0][0]
    case = runs[0].case
    return Line(
        name=case.removeprefix(f"{scenario}-") if scenario else case,
        case=case,
        first_norms=[norm for records in kept for norm in _first_norms(records, runs[0].config)],
        config=runs[0].config,
        curves=_curves(kept, lambda record: record["return_mean"]),
        worst=_curves(kept, lambda record: min(record["return_by_worker"])) if differ else {},
        last=[records[-1] for records in kept],
        discarded=sum(record.get("discarded", 0) for records in kept for record in records),
        failed=sum(failed[run.name] is not None for run in runs),
    )


def _records(folder: RunFolder) -> list[Record]:
    """A run's records. UserError where one does not have the numbers that a page shows of it."""
    of_round = lambda record: ("gradient_norm", "delay") if record["iteration"] > 0 else ()
    evaluated = lambda record: ("return_mean",) if "return_mean" in record else ()
    records = read_metrics(folder.metrics)
    counted = ("communications", "uploads")
    check_numbers(folder.metrics, records, lambda record: (*counted, *of_round(record), *evaluated(record)))
    return records


def _first_norms(records: Sequence[Record], config: Config) -> list[float]:
    """Of the first round; where there are none, of the gradients that workers began before any update.

    These are the updates of a single gradient each whose delay is the number of those before.
    """
    single = [record for record in records[1 : config.workers.count + 1] if record["gradients"] == record["iteration"]]
    first = records[1:2] if config.method.schedule == "rounds" else single
    return [record["gradient_norm"] for record in first if record["delay"] == record["iteration"] - 1]


def _curves(runs: Sequence[Sequence[Record]], value: Callable[[Record], float]) -> dict[str, list[Curve]]:
    """A value of every run's evaluations against every axis."""
    return {axis: [curve_of(records, axis, value) for records in runs] for axis in AXES}


def make_panel(name: str, lines: list[Line]) -> Panel:
    """A panel of some lines: how far they can be compared, and what is to be reached."""
    whole = [line for line in lines if not line.failed] or lines
    end = common_end(curve for line in whole for curve in line.curves["simulated_time"])
    start = float(np.mean([curve.value[0] for line in lines for curve in line.curves["simulated_time"]]))
    gained = sorted((float(np.median(line.finals(end))) - start for line in lines), reverse=True)
    second = gained[min(1, len(gained) - 1)]
    wanted = second if second > 0 else gained[0]
    return Panel(name, lines, end, start, start + _FAR * wanted if wanted > 0 else np.inf)


def versions(provenance: Provenance) -> dict[str, Any]:
    """The packages that wrote the newest part of a run, and their versions."""
    return provenance.versions[-1].packages
