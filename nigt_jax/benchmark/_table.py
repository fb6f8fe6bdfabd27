"""The figures as a person and as a program read them."""

import dataclasses
import json
import statistics

from rich.console import Console
from rich.table import Table

from nigt_jax.benchmark._measure import Report, Row


def show(console: Console, report: Report) -> None:
    """Prints the machine, the setting and a line a stage."""
    machine, setting = report.machine, report.setting
    console.print(
        f"{machine['devices']} x {machine['device']}, {machine['cores']} cores, jax {machine['jax']}, "
        f"brax {machine['brax']}, {machine['date']}",
        soft_wrap=True,
    )
    console.print(
        f"{setting['environment']} on {setting['backend']}, {setting['episodes']:,} episodes of at most "
        f"{setting['horizon']:,} steps, {setting['lanes_per_device']} lanes a device, untrained policy of "
        f"{setting['parameters']:,} parameters, {setting['estimator']}, {setting['spmd']}\n",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("", "useful steps/s", "quartiles", "useful / computed", "of + policy", "of + storage", "compile"):
        table.add_column(name, justify="left" if not name else "right")
    rates = {row.stage: row.useful_per_second for row in report.rows}
    for row in report.rows:
        against = (f"{row.useful_per_second / rates[name]:.2f}" for name in ("+ policy", "+ storage"))
        low, high = _quartiles(row)
        table.add_row(
            row.stage,
            f"{row.useful_per_second:,.0f}",
            f"{low:,.0f} - {high:,.0f}",
            f"{row.useful_steps / row.computed_steps:.2f}",
            *against,
            f"{row.compile_seconds:.1f}s",
        )
    console.print(table)


def to_json(report: Report) -> str:
    """Everything, and for each stage what was made of its turns."""
    rows = [
        dataclasses.asdict(row) | {"useful_steps_per_second": row.useful_per_second, "quartiles": _quartiles(row)}
        for row in report.rows
    ]
    return json.dumps({"machine": report.machine, "setting": report.setting, "stages": rows}, indent=1) + "\n"


def _quartiles(row: Row) -> tuple[float, float]:
    rates = [row.useful_steps / seconds for seconds in row.seconds]
    low, _, high = statistics.quantiles(rates, n=4) if len(rates) > 1 else rates * 3
    return low, high
