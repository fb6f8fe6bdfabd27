"""The page of one run, or of a few side by side. Needs no JAX, but for the workers' timeline."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from nigt_jax.config import Config, dump_config
from nigt_jax.errors import UserError
from nigt_jax.records import Provenance, Record, check_numbers, open_run, read_metrics
from nigt_jax.report._content import Chart, Section, Series, Table, command, number
from nigt_jax.report._names import Named
from nigt_jax.report._page import Page
from nigt_jax.report._workers import picture_of_workers

_AXES = {"simulated_time": "simulated time", "iteration": "iteration", "gradients": "gradients counted"}
_POINTS = 400
_TOTALS = ("iteration", "gradients", "env_steps", "computed_steps", "communications", "uploads", "downloads",
           "bytes_up", "bytes_down", "simulated_time", "wall_time")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class OneRun:
    """A run as its page sees it."""

    name: str
    stem: str
    path: Path
    config: Config
    provenance: Provenance | None
    records: list[Record]


def load_run(own: Named) -> OneRun:
    """Reads a run's folder.

    Args:
      own: the folder, and what the page calls it.

    Raises:
      UserError: it is none, or has no record yet.
    """
    folder, config = open_run(own.path, check_files=False)
    records = read_metrics(folder.metrics)
    if not any("return_mean" in record for record in records):
        raise UserError(f"{own.path}: has no evaluation yet; nigt train {own.path} --resume goes on with it")
    check_numbers(folder.metrics, records, _needed)
    return OneRun(own.name, own.stem, own.path, config, folder.provenance(), records)


def run_charts(runs: Sequence[OneRun]) -> list[Chart]:
    """Return, gradient norm, discarded work and useful steps of some runs."""
    evaluated = lambda run: [record for record in run.records if "return_mean" in record]
    rounds = lambda run: thinned(run.records[1:])
    return [
        _chart("return", "return", runs, evaluated, lambda r, _: r["return_mean"], lambda r: r["return_std"]),
        _chart("gradient norm", "norm", runs, rounds, lambda r, _: r["gradient_norm"]),
        _chart("useful steps, of all computed", "share", runs, rounds, _useful),
        _chart("discarded gradients a round", "gradients", runs, rounds, lambda r, _: float(r.get("discarded", 0))),
    ]


def run_page(runs: Sequence[OneRun]) -> Page:
    """The page of some runs."""
    lead = [_lead(run) for run in runs]
    sections = [
        Section("Training", "training", ["Bands: one standard deviation between the evaluation's episodes."],
                run_charts(runs), [_totals(runs)])
    ]  # fmt: skip
    shown = [
        picture_of_workers(run.config, run.records[-1], f"{run.name}: what every worker does at the beginning")
        for run in runs
    ]
    pictures = [picture for picture in shown if picture is not None]
    texts = ["The beginning of the run, as its clock has it: who is counted, who is discarded, and who waits."]
    sections.append(Section("Workers", "workers", texts, pictures=pictures))
    commands = [command("train", run.path / "config.yaml", "--name", f"{run.stem}-again") for run in runs]
    commands.append(command("report", *(run.path for run in runs)))
    details = {f"Configuration of {run.name}": dump_config(run.config) for run in runs}
    sections.append(Section("To run it again", "again", [], commands=commands, details=details))
    return Page(f"nigt_jax: {', '.join(run.name for run in runs)}", lead, sections)


def _lead(run: OneRun) -> str:
    evaluated = [record for record in run.records if "return_mean" in record]
    first, last, end = evaluated[0], evaluated[-1], run.records[-1]
    config = run.config
    return (
        f"{run.name}: {config.method.name} on {config.environment.name} with {config.workers.count:,} workers. Return "
        f"{number(first['return_mean'])} at first, {number(last['return_mean'])} after {end['gradients']:,} gradients, "
        f"{end['iteration']:,} iterations and a simulated time of {number(end['simulated_time'])}."
    )


def _chart(
    title: str,
    y: str,
    runs: Sequence[OneRun],
    records: Callable[[OneRun], list[Record]],
    value: Callable[[Record, Record], float],
    spread: Callable[[Record], float] = lambda record: 0.0,
) -> Chart:
    """A chart of a value of records; `value` is told the record before, too."""
    series = []
    for place, run in enumerate(runs):
        own = records(run)
        values = [value(record, before) for record, before in zip(own, [run.records[0], *own], strict=False)]
        spreads = [spread(record) for record in own]
        data = {
            axis: {
                "x": [float(record[axis]) for record in own],
                "y": values,
                "low": [v - s for v, s in zip(values, spreads, strict=True)],
                "high": [v + s for v, s in zip(values, spreads, strict=True)],
            }
            for axis in _AXES
        }
        series.append(Series(run.name, place, data))
    return Chart(title, y, dict(_AXES), series)


def _useful(record: Record, before: Record) -> float:
    computed = record["computed_steps"] - before["computed_steps"]
    return (record["env_steps"] - before["env_steps"]) / computed if computed > 0 else 0.0


def thinned(records: list[Record]) -> list[Record]:
    """At most so many records, evenly chosen, the last among them."""
    if len(records) <= _POINTS:
        return records
    return [records[place] for place in np.linspace(0, len(records) - 1, _POINTS).round().astype(int)]


def _needed(record: Record) -> Iterable[str]:
    """Names of the numbers that a page shows of a record."""
    of_round = ("gradient_norm",) if record["iteration"] > 0 else ()
    return (*_TOTALS, *of_round, *(("return_mean", "return_std") if "return_mean" in record else ()))


def _totals(runs: Sequence[OneRun]) -> Table:
    rows = []
    for key in _TOTALS:
        last = [run.records[-1][key] for run in runs]
        rows.append([key, *(f"{v:,}" if isinstance(v, int) else number(v) for v in last)])
    on = [run.provenance.platform if run.provenance else "-" for run in runs]
    return Table("Whole runs", ["", *(run.name for run in runs)], [*rows, ["platform", *on]])
