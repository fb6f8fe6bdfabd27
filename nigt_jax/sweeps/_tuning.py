"""Which values of what is tuned are taken: for every case by the same rule. Needs no JAX."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nigt_jax.records import Record
from nigt_jax.statistics import Curve, area, common_end
from nigt_jax.sweeps._sweep import Run


class Choice(NamedTuple):
    """What was chosen for a case.

    Attributes:
      values: of what is tuned.
      end: simulated time up to which areas go: where the first run of the scenario has ended.
      tried: every combination that was tried, with the area under the return of each seed.
    """

    values: dict[str, Any]
    end: float
    tried: list[dict[str, Any]]


def choose(
    runs: Sequence[Run], tuned: Sequence[str], records: Callable[[Run], list[Record]], failed: Callable[[Run], bool]
) -> dict[str, Choice]:
    """For every case the values whose runs have the largest area under their return against simulated time.

    Areas are means over the time that all runs of a scenario have, and over seeds. A value that breaks a run is taken
    only where all do.

    Args:
      runs: the runs of tuning.
      tuned: keys of what is tuned.
      records: maps a run to its records.
      failed: maps a run to whether it could not go on.
    """
    chosen: dict[str, Choice] = {}
    scenarios: dict[str | None, list[Run]] = {}
    for run in runs:
        scenarios.setdefault(run.scenario, []).append(run)
    for members in scenarios.values():
        curves = {run.name: curve_of(records(run)) for run in members}
        end = common_end([curves[run.name] for run in members if not failed(run)] or curves.values())
        cases: dict[str, dict[str, list[Run]]] = {}
        for run in members:
            values = json.dumps({key: run.point[key] for key in tuned})
            cases.setdefault(run.case, {}).setdefault(values, []).append(run)
        for case, tried in cases.items():
            areas = {
                values: [None if failed(run) else area(curves[run.name], end) for run in seeds]
                for values, seeds in tried.items()
            }
            best = max(areas, key=lambda values: _mean(areas[values]))
            all_of_them = [{"values": json.loads(values), "areas": found} for values, found in areas.items()]
            chosen[case] = Choice(json.loads(best), end, all_of_them)
    return chosen


def curve_of(
    records: Sequence[Record],
    axis: str = "simulated_time",
    value: Callable[[Record], float] = lambda record: record["return_mean"],
) -> Curve:
    """A value of a run's evaluations, by default the return, against a column of its records."""
    evaluated = [record for record in records if "return_mean" in record]
    at, values = [record[axis] for record in evaluated], [value(record) for record in evaluated]
    return Curve(np.asarray(at, np.float64), np.asarray(values, np.float64))


def _mean(areas: Sequence[float | None]) -> float:
    return -np.inf if None in areas else float(np.mean(areas))  # type: ignore[arg-type]
