"""Charts of a study: return against time, gradients, exchanges and bytes; what tuning saw. Needs no JAX."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from nigt_jax.report._content import Chart, Series
from nigt_jax.report._study import AXES, Line, Panel, Study
from nigt_jax.statistics import Curve, band, common_end, value_at

_POINTS = 80
_FAR_APART = 8  # times as much as another line has, so that one of the two would be flat against an axis


def returns(panel: Panel, styles: dict[str, int]) -> Chart:
    """Return against every axis: the median over seeds, and the band from the 20th to the 80th percentile."""
    threshold = panel.threshold if np.isfinite(panel.threshold) else None
    series = _series(panel, styles, lambda line: line.curves)
    return Chart(panel.name, "return", dict(AXES), series, threshold, log_x=_logarithmic(panel))


def worst_returns(panel: Panel, styles: dict[str, int]) -> list[Chart]:
    """The same of the worst of the workers' environments, where these differ."""
    if not all(line.worst for line in panel.lines):
        return []
    series = _series(panel, styles, lambda line: line.worst)
    title, y = f"{panel.name}, worst world", "return in the worst world"
    return [Chart(title, y, dict(AXES), series, log_x=_logarithmic(panel))]


def all_returns(study: Study, styles: dict[str, int]) -> list[Chart]:
    """All charts of a study's returns."""
    both = [(returns(panel, styles), worst_returns(panel, styles)) for panel in study.panels]
    return [chart for mean, worst in both for chart in (mean, *worst)]


def _series(panel: Panel, styles: dict[str, int], of: Callable[[Line], dict[str, list[Curve]]]) -> list[Series]:
    log = _logarithmic(panel)

    def bands(curves: dict[str, list[Curve]]) -> dict[str, dict[str, list[float]]]:
        return {axis: _band_of(curves[axis], _end(panel, axis), axis in log) for axis in AXES}

    return [Series(line.name, styles[line.name], bands(of(line))) for line in panel.lines]


def _logarithmic(panel: Panel) -> list[str]:
    """Bytes, where one line sends many times as many as another."""
    ends = [common_end(line.curves["bytes_up"]) for line in panel.lines]
    return ["bytes_up"] if max(ends) > _FAR_APART * min(ends) else []


def tuning(study: Study, panel: Panel, styles: dict[str, int]) -> Chart | None:
    """What tuning saw: the area under the return against what is tuned, where that is one number."""
    if len(study.tuned) != 1:
        return None
    (key,) = study.tuned
    series = []
    for line in panel.lines:
        tried = [entry for entry in study.choices[line.case].tried if None not in entry["areas"]]
        values = [entry["values"][key] for entry in tried]
        if not all(isinstance(value, int | float) for value in values):
            return None
        areas = [entry["areas"] for entry in tried]
        low, high = ([float(pick(own)) for own in areas] for pick in (min, max))
        middle = [float(np.mean(own)) for own in areas]
        data = {key: {"x": [float(v) for v in values], "y": middle, "low": low, "high": high}}
        series.append(Series(line.name, styles[line.name], data))
    return Chart(panel.name, "area under the return", {key: key}, series, log_x=[key])


def styles_of(studies: Sequence[Study]) -> dict[str, int]:
    """A style for every name of a line, the same in all charts."""
    names = dict.fromkeys(line.name for study in studies for panel in study.panels for line in panel.lines)
    return {name: place for place, name in enumerate(names)}


def _end(panel: Panel, axis: str) -> float:
    """Where the charts end: all lines where times are compared, and each line on its own otherwise."""
    return panel.end if axis == "simulated_time" else np.inf


def _band_of(curves: Sequence[Curve], end: float, log: bool) -> dict[str, list[float]]:
    last = min(end, common_end(curves))
    own = curves[0].at[(curves[0].at < last) & ((curves[0].at > 0) | (not log))]
    at = np.append(own, last) if own.size <= _POINTS else np.linspace(float(own[0]), last, _POINTS)
    low, middle, high = band(np.array([list(map(functools.partial(value_at, curve), at)) for curve in curves]))
    columns = zip(("x", "y", "low", "high"), (at, middle, low, high), strict=True)
    return {name: [float(v) for v in np.round(values, 4)] for name, values in columns}
