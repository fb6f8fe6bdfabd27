"""What the lines of a panel show: areas, times to the threshold and who is first, with intervals. Needs no JAX."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from nigt_jax.report._study import Line, Panel, Study
from nigt_jax.statistics import (
    Interval,
    area,
    band,
    interquartile_mean,
    interval,
    probability_of_improvement,
    stratified,
    time_to,
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One line in figures.

    Attributes:
      line: the line.
      final: 20th percentile, median and 80th percentile of the return at the panel's end.
      area: interquartile mean of the area under the return, up to there.
      time: median time to the threshold; inf where most runs never reach it.
      reached: number of runs that do.
      better: probability that a run has a larger area than one of the best other line.
    """

    line: Line
    final: tuple[float, float, float]
    area: Interval
    time: Interval
    reached: int
    better: Interval | None


@dataclasses.dataclass(frozen=True)
class Ending:
    """Who has the highest return where a panel ends.

    Attributes:
      best: the line with the highest median.
      rival: the best line of another method, or of the same where there is only one.
      medians: of both.
      better: probability that a run of the best has a higher return than one of the rival.
    """

    best: Line
    rival: Line
    medians: tuple[float, float]
    better: Interval


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A panel in figures.

    Attributes:
      panel: the panel.
      rows: a row a line.
      first: the line whose median time to the threshold is the shortest; None where none reaches it.
      lead: how many times as long the best line of another method takes; None where there is no other.
      rival: that line.
      ending: who has the highest return at the end; None where there is one line only.
    """

    panel: Panel
    rows: list[Row]
    first: Line | None
    lead: Interval | None
    rival: Line | None
    ending: Ending | None

    @property
    def is_clear(self) -> bool:
        """Whether the first is ahead with 95% confidence."""
        return self.lead is not None and self.lead.low > 1


def judge(panel: Panel) -> Verdict:
    """Works out a panel's figures."""
    areas = {line.case: areas_of(line, panel.end) for line in panel.lines}
    times = {line.case: times_of(line, panel.threshold, panel.end) for line in panel.lines}
    rows = [_row(panel, line, areas, times[line.case]) for line in panel.lines]
    medians = {line.case: float(_median(times[line.case])) for line in panel.lines}
    ending = _ending(panel)
    first = min(panel.lines, key=lambda line: medians[line.case])
    if math.isinf(medians[first.case]):
        return Verdict(panel, rows, None, None, None, ending)
    others = _others(panel, first)
    if not others:
        return Verdict(panel, rows, first, None, None, ending)
    rival = min(others, key=lambda line: medians[line.case])
    column = lambda line: times[line.case][:, None]
    lead = stratified(_ratio, column(rival), column(first))
    return Verdict(panel, rows, first, lead, rival, ending)


def _others(panel: Panel, line: Line) -> list[Line]:
    """The lines of other methods; all others where there is one method only."""
    others = [other for other in panel.lines if other.config.method.name != line.config.method.name]
    return others or [other for other in panel.lines if other is not line]


def _ending(panel: Panel) -> Ending | None:
    finals = {line.case: line.finals(panel.end) for line in panel.lines}
    median = lambda line: float(np.median(finals[line.case]))
    best = max(panel.lines, key=median)
    if not (others := _others(panel, best)):
        return None
    rival = max(others, key=median)
    better = stratified(probability_of_improvement, finals[best.case][:, None], finals[rival.case][:, None])
    return Ending(best, rival, (median(best), median(rival)), better)


def areas_of(line: Line, end: float) -> np.ndarray:
    """The area under the return of every run against simulated time, as a mean over that time."""
    return np.array([area(curve, end) for curve in line.curves["simulated_time"]])


def times_of(line: Line, threshold: float, end: float) -> np.ndarray:
    """When every run reaches the threshold; inf where it does not by the end."""
    found = np.array([time_to(curve, threshold) for curve in line.curves["simulated_time"]])
    return np.where(found <= end, found, np.inf)


@dataclasses.dataclass(frozen=True)
class Overall:
    """A scenario over several environments.

    Attributes:
      scenario: its name.
      environments: those that have it.
      scores: for every line that all of them have, the interquartile mean of normalised areas: 0 is the first return,
        1 the best median area of the environment.
    """

    scenario: str
    environments: list[str]
    scores: dict[str, Interval]


def over_environments(studies: Sequence[Study]) -> list[Overall]:
    """Scenarios of as many workers that several sweeps have in common, with the lines that all of these have."""
    panels: dict[tuple[str, int], list[tuple[Study, Panel]]] = {}
    for study in studies:
        for panel in study.panels:
            workers = panel.lines[0].config.workers.count
            panels.setdefault((panel.name, workers), []).append((study, panel))
    several = {key: found for key, found in panels.items() if len({study.environment for study, _ in found}) > 1}
    shared = {key: _shared_lines(found) for key, found in several.items()}
    return [_overall(key[0], found, shared[key]) for key, found in several.items() if len(shared[key]) > 1]


def _shared_lines(found: list[tuple[Study, Panel]]) -> list[str]:
    names = [line.name for line in found[0][1].lines]
    return [n for n in names if all(any(line.name == n for line in panel.lines) for _, panel in found)]


def _overall(name: str, found: list[tuple[Study, Panel]], shared: list[str]) -> Overall:
    columns: dict[str, list[np.ndarray]] = {n: [] for n in shared}
    for _, panel in found:
        areas = {line.name: areas_of(line, panel.end) for line in panel.lines if line.name in shared}
        best = max(float(np.median(values)) for values in areas.values())
        for n in shared:
            columns[n].append((areas[n] - panel.start) / max(best - panel.start, 1e-9))
    runs = min(len(values) for own in columns.values() for values in own)
    scores = {
        n: stratified(interquartile_mean, np.stack([values[:runs] for values in own], axis=1))
        for n, own in columns.items()
    }
    return Overall(name, [study.environment for study, _ in found], scores)


def median_time(line: Line, panel: Panel) -> float:
    """The lower median of the times at which a line's runs reach the threshold."""
    return float(_median(times_of(line, panel.threshold, panel.end)))


def median_to(line: Line, axis: str, threshold: float) -> float:
    """What the median run has used when it reaches a threshold, in the unit of an axis; inf where it never does."""
    return float(_median(np.array([time_to(curve, threshold) for curve in line.curves[axis]])))


def _row(panel: Panel, line: Line, areas: dict[str, np.ndarray], times: np.ndarray) -> Row:
    own = areas[line.case]
    others = [areas[other.case] for other in panel.lines if other.config.method.name != line.config.method.name]
    best = max(others, key=lambda values: float(np.median(values))) if others else None
    low, middle, high = band(line.finals(panel.end))
    return Row(
        line=line,
        final=(float(low), float(middle), float(high)),
        area=stratified(interquartile_mean, own[:, None]),
        time=interval(_median, times),
        reached=int(np.isfinite(times).sum()),
        better=None if best is None else stratified(probability_of_improvement, own[:, None], best[:, None]),
    )


def _median(values: np.ndarray) -> np.ndarray:
    """The lower median over the last axis, which is a value that there is: infinite ones have no mean."""
    values = np.sort(values, axis=-1)
    return values[..., (values.shape[-1] - 1) // 2]


def _ratio(rival: np.ndarray, first: np.ndarray) -> np.ndarray:
    """How many times as long the rival takes; 1 where neither ever arrives, or both are there from the start."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = _median(rival[..., 0]) / _median(first[..., 0])
    return np.where(np.isnan(ratio), 1.0, ratio)
