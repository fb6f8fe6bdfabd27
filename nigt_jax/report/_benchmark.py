"""A machine's figures as a person reads them."""

from rich.console import Console
from rich.table import Table

from nigt_jax.benchmark import Profile, Report, Row, in_words


def show_stage(console: Console, row: Row) -> None:
    """Prints a stage's first figure."""
    console.print(f"  {row.stage:17} {row.useful_per_second:14,.0f} useful steps/s at first", soft_wrap=True)


def show_benchmark(console: Console, report: Report) -> None:
    """Prints the machine, the setting and a line a stage."""
    setting = report.setting
    console.print(in_words(report.machine), soft_wrap=True)
    console.print(
        f"{setting['environment']} on {setting['backend']}, {setting['episodes']:,} episodes of at most "
        f"{setting['horizon']:,} steps, {setting['lanes_per_device']} lanes a device, untrained policy of "
        f"{setting['parameters']:,} parameters, {setting['estimator']}, {setting['spmd']}\n",
        soft_wrap=True,
    )
    table = _table("useful steps/s", "quartiles", "useful / computed", "of + policy", "of + storage", "compile")
    rates = {row.stage: row.useful_per_second for row in report.rows}
    compiling = {stage: f"with {one.stages[0]}" for one in report.programs for stage in one.stages}
    compiling |= {one.stages[0]: f"{one.seconds:.1f}s" for one in report.programs}
    for row in report.rows:
        against = (f"{row.useful_per_second / rates[name]:.2f}" for name in ("+ policy", "+ storage"))
        low, high = row.quartiles
        table.add_row(
            row.stage,
            f"{row.useful_per_second:,.0f}",
            f"{low:,.0f} - {high:,.0f}",
            f"{row.useful_steps / row.computed_steps:.2f}",
            *against,
            compiling[row.stage],
        )
    console.print(table)
    if report.profile is not None:
        _show_profile(console, report.profile)


def _show_profile(console: Console, profile: Profile) -> None:
    """A line for everything that the operations of the traced round were for."""
    console.print(
        f"\nOperations of a traced round with episodes cut after {profile.horizon:,} steps, {profile.computed_steps:,} "
        "steps in all. Tracing makes small ones look longer.\n",
        soft_wrap=True,
    )
    table = _table("of the time", "operations", "for a step of all lanes", "µs each")
    whole, rows = sum(p.seconds for p in profile.purposes), profile.computed_steps / profile.lanes
    for part in profile.purposes:
        table.add_row(
            part.name,
            f"{part.seconds / whole:.1%}",
            f"{part.operations:,}",
            f"{part.operations / rows:,.0f}",
            f"{1e6 * part.seconds / part.operations:.2f}",
        )
    console.print(table)


def _table(*columns: str) -> Table:
    """With names on the left and these columns of figures."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    return table
