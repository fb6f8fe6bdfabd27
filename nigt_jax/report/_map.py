"""The map: in which circumstances which method is first, as predicted from clocks and noise, and as measured.

Needs no JAX. The prediction is that of ``nigt simulate``: a step is worth what its direction's noise leaves of it, so
the time to a threshold is in proportion to ``tau (1 + B noise^2)``, with tau the time from step to step, `noise` that
of a direction in units of one gradient's standard deviation, and B the noise scale, the variance of one gradient over
the squared length of the true one.
"""

import dataclasses
import functools
import itertools
import json
from collections.abc import Sequence

import numpy as np

from nigt_jax.config import WorkersConfig
from nigt_jax.report._study import Line, Panel, Study, make_panel
from nigt_jax.report._verdict import Verdict, judge, median_time
from nigt_jax.simulation import direction_noise

_HIDDEN = 1e12  # a noise scale where norms show no true gradient at all
_EDGES = (1.0, 1.25, 1.6, 2.5, np.inf)  # of predicted ratios


@dataclasses.dataclass(frozen=True)
class Cell:
    """A scenario with one estimator.

    Attributes:
      panel: its name, and its lines.
      estimator: whose gradients they are.
      spread: exponent of the workers' times; nan where these are listed or recorded.
      price: of an exchange of worker 1, in times of its gradient; likewise nan.
      topology: of exchanges.
      noise_scale: B of a single gradient of the untrained policy.
      predicted: of every line, its predicted time, in the unit of the shortest.
    """

    panel: Panel
    estimator: str
    spread: float
    price: float
    topology: str
    noise_scale: float
    predicted: dict[str, float]

    @functools.cached_property
    def verdict(self) -> Verdict:
        """What was measured."""
        return judge(self.panel)

    @property
    def first_predicted(self) -> Line:
        """The line that is predicted to be first."""
        return min(self.panel.lines, key=lambda line: self.predicted[line.case])

    @property
    def agrees(self) -> bool | None:
        """Whether the method predicted to be first was; None where nobody arrived."""
        if self.verdict.first is None:
            return None
        return self.first_predicted.config.method.name == self.verdict.first.config.method.name


def is_map(study: Study) -> bool:
    """Whether a sweep varies circumstances and estimators."""
    estimators = {line.config.estimator.name for panel in study.panels for line in panel.lines}
    return len(study.panels) >= 4 and len(estimators) > 1


def cells_of(study: Study) -> list[Cell]:
    """The cells of a sweep: every panel with every estimator whose noise its rounds of different M tell.

    There are none where workers' environments differ: there is more to it than noise.
    """
    if any(line.worst for panel in study.panels for line in panel.lines):
        return []
    groups: dict[str, list[Line]] = {}
    for panel in study.panels:
        for line in panel.lines:
            groups.setdefault(line.config.estimator.name, []).append(line)
    found = {name: noise_scale(lines) for name, lines in groups.items()}
    scales = {name: scale for name, scale in found.items() if np.isfinite(scale)}
    cells = []
    for panel, (name, scale) in itertools.product(study.panels, scales.items()):
        own = [line for line in panel.lines if line.config.estimator.name == name]
        if len(own) < 2:
            continue
        part = make_panel(panel.name, own)
        spread, price = _circumstances(own[0].config.workers)
        predicted = {line.case: _time(line, scale) for line in own}
        shortest = min(predicted.values())
        cells.append(
            Cell(
                panel=part,
                estimator=name,
                spread=spread,
                price=price,
                topology=own[0].config.workers.topology,
                noise_scale=scale,
                predicted={case: time / shortest for case, time in predicted.items()},
            )
        )
    return cells


def _circumstances(workers: WorkersConfig) -> tuple[float, float]:
    """Spread and price of a power law's times; nan for others, which a law in their configuration says nothing of."""
    compute, exchange = workers.compute_time, workers.communication_time
    if workers.trace is not None or compute.listed is not None or exchange.listed is not None:
        return np.nan, np.nan
    return compute.worker_exponent, exchange.scale / compute.scale


def on_map(study: Study, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that a map has a place for: those whose circumstances have numbers. None where there is no map."""
    return [cell for cell in cells if np.isfinite(cell.price)] if is_map(study) else []


def noise_scale(lines: Sequence[Line]) -> float:
    """B of a single gradient at the untrained policy, by least squares of what first rounds of different M have.

    The squared norm of a mean of M gradients is in the mean that of the true gradient, plus a single one's variance
    over M. The first gradients of all workers of a method without rounds are of the untrained policy, too.
    """
    sizes = [(1 / line.config.method.gradients_in_first_update, line.first_norms) for line in lines]
    rows = [[1.0, share] for share, norms in sizes for _ in norms]
    values = [norm**2 for _, norms in sizes for norm in norms]
    if len({row[1] for row in rows}) < 2:
        return float("nan")
    # Where noise is most of it, a squared norm's own spread is as its noise, 1/M.
    spread = np.array(rows)[:, 1]
    (signal, variance), *_ = np.linalg.lstsq(np.array(rows) / spread[:, None], np.array(values) / spread, rcond=None)
    return float(max(variance, 0) / max(signal, max(variance, 1e-300) / _HIDDEN))


def scale_in_words(scale: float) -> str:
    """A noise scale as it is shown: as far as norms of so few gradients can tell it, noise may be all there is."""
    return "too large to tell" if scale >= 0.99 * _HIDDEN else f"{scale:,.0f}" if scale >= 100 else f"{scale:.3g}"


@dataclasses.dataclass(frozen=True)
class Evidence:
    """How often the line that was predicted to be faster of two was, by how much faster it was predicted to be.

    Attributes:
      least: predicted ratio of times, at least.
      below: and below.
      right: pairs of which that was so.
      pairs: all pairs.
    """

    least: float
    below: float
    right: int
    pairs: int


def evidence_of(cells: Sequence[Cell]) -> list[Evidence]:
    """What the pairs of lines of different methods of all cells say of predictions."""
    counts = {edge: [0, 0] for edge in _EDGES[:-1]}
    for cell in cells:
        for one, other in itertools.combinations(cell.panel.lines, 2):
            if one.config.method.name == other.config.method.name:
                continue
            slow, fast = sorted((one, other), key=lambda line: cell.predicted[line.case], reverse=True)
            ratio = cell.predicted[slow.case] / cell.predicted[fast.case]
            slowly, quickly = (median_time(line, cell.panel) for line in (slow, fast))
            if np.isinf(slowly) and np.isinf(quickly):
                continue
            edge = max(edge for edge in counts if edge <= ratio)
            counts[edge][0] += quickly < slowly
            counts[edge][1] += 1
    return [Evidence(low, high, *counts[low]) for low, high in itertools.pairwise(_EDGES)]


def dump_evidence(cells: Sequence[Cell], source: str) -> str:
    """What the cells say of predictions as JSON, as ``nigt simulate`` reads it."""
    methods = sorted({line.config.method.name for cell in cells for line in cell.panel.lines})
    rows = [
        {"least": e.least, "below": None if np.isinf(e.below) else e.below, "right": e.right, "pairs": e.pairs}
        for e in evidence_of(cells)
    ]
    return json.dumps({"source": source, "methods": methods, "ratios": rows}, indent=1) + "\n"


def lead_predicted(cell: Cell) -> float:
    """How many times as long the best line of another method is predicted to take."""
    first = cell.first_predicted
    others = [line for line in cell.panel.lines if line.config.method.name != first.config.method.name]
    return min(cell.predicted[line.case] for line in others) / cell.predicted[first.case] if others else 1.0


def _time(line: Line, scale: float) -> float:
    """The predicted time to a threshold, up to a factor that all lines of an estimator have in common."""
    method = line.config.method
    noise = direction_noise(method.newest_weight, method.gradients_per_update)
    between = np.mean([record["simulated_time"] / record["iteration"] for record in line.last])
    return float(between * (1 + scale * noise**2))
