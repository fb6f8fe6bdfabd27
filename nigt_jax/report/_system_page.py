"""The page of a run of a related system, or of a few of one kind side by side. Needs no JAX."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from nigt_jax.config import SystemConfig, dump_config
from nigt_jax.errors import UserError
from nigt_jax.records import Record, Written, check_numbers, open_system_run, read_metrics
from nigt_jax.report._content import Chart, Section, Series, Table, command, number
from nigt_jax.report._names import Named
from nigt_jax.report._page import Page
from nigt_jax.report._run_page import thinned

_AXES = {"simulated_time": "simulated time", "iteration": "iteration", "communications": "messages"}
_COUNTERS = ("iteration", "gradients", "env_steps", "communications", "bytes_sent", "simulated_time", "wall_time")
_WIDE = 1e3  # ratio of values from which on logarithms are drawn


@dataclasses.dataclass(frozen=True)
class SystemRun:
    """A run of a related system as its page sees it."""

    name: str
    stem: str
    path: Path
    config: SystemConfig
    written: Written | None
    records: list[Record]


def load_system_run(own: Named) -> SystemRun:
    """Reads a run's folder.

    Args:
      own: the folder, and what the page calls it.

    Raises:
      UserError: it is none, or has no record yet.
    """
    folder, config = open_system_run(own.path)
    records = read_metrics(folder.metrics)
    if not records:
        raise UserError(f"{own.path}: has no record yet; nigt train {own.path} --resume goes on with it")
    check_numbers(folder.metrics, records, lambda record: (*_COUNTERS, *record))
    return SystemRun(own.name, own.stem, own.path, config, folder.written(), records)


def system_charts(runs: Sequence[SystemRun]) -> list[Chart]:
    """Everything that all of the runs have measured, what evaluations found first."""
    return [_chart(key, runs) for key in _measured(runs)]


def system_page(runs: Sequence[SystemRun]) -> Page:
    """The page of some runs."""
    lead = [
        f"{run.name}: {run.config.system} with {run.config.workers.count:,} agents, {run.records[-1]['iteration']:,} "
        f"iterations and a simulated time of {number(run.records[-1]['simulated_time'])}."
        for run in runs
    ]
    texts = ["Where values are positive and range over more than three powers of ten, their logarithms are drawn."]
    commands = [command("train", run.path / "config.yaml", "--name", f"{run.stem}-again") for run in runs]
    commands.append(command("report", *(run.path for run in runs)))
    details = {f"Configuration of {run.name}": dump_config(run.config) for run in runs}
    sections = [
        Section("Training", "training", texts, system_charts(runs), [_totals(runs)]),
        Section("To run it again", "again", [], commands=commands, details=details),
    ]
    return Page(f"nigt_jax: {', '.join(run.name for run in runs)}", lead, sections)


def _measured(runs: Sequence[SystemRun]) -> list[str]:
    """Names of what all runs have measured and somebody's values of change; those of evaluations first."""
    keys: dict[str, None] = {}
    for record in (runs[0].records[0], runs[0].records[-1]):
        keys |= dict.fromkeys(key for key in record if key not in _COUNTERS)
    shared = [key for key in keys if all(_points(key, run) for run in runs)]
    return [key for key in shared if len({record[key] for run in runs for record in _points(key, run)}) > 1]


def _points(key: str, run: SystemRun) -> list[Record]:
    return [record for record in run.records if key in record]


def _chart(key: str, runs: Sequence[SystemRun]) -> Chart:
    every = [record[key] for run in runs for record in _points(key, run)]
    log = min(every) > 0 and max(every) > _WIDE * min(every)
    series = []
    for place, run in enumerate(runs):
        own = thinned(_points(key, run))
        values = [math.log10(record[key]) if log else float(record[key]) for record in own]
        data = {
            axis: {"x": [float(record[axis]) for record in own], "y": values, "low": values, "high": values}
            for axis in _AXES
        }
        series.append(Series(run.name, place, data))
    name = key.replace("_", " ")
    return Chart(name, f"log10 of {name}" if log else name, dict(_AXES), series)


def _totals(runs: Sequence[SystemRun]) -> Table:
    rows = []
    for key in (*_COUNTERS, *_measured(runs)):
        last = [_points(key, run)[-1][key] for run in runs]
        rows.append([key, *(f"{v:,}" if isinstance(v, int) else number(v) for v in last)])
    on = [run.written.platform if run.written else "-" for run in runs]
    return Table("Whole runs", ["", *(run.name for run in runs)], [*rows, ["platform", *on]])
