"""What was measured of a machine, part by part, and machines side by side."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from nigt_jax.benchmark import Measured, in_words


def show_part(console: Console, name: str, part: dict[str, Any]) -> None:
    """Prints a part of `nigt bench --accelerator`: its figures, or why there are none."""
    console.print(f"{name}, {part['seconds']:,.0f} s", soft_wrap=True)
    if "error" in part:
        console.print(f"  failed: {part['error']}", soft_wrap=True)
    for what, value in part.get("figures", {}).items():
        console.print(f"  {what:45} {_number(value):>12}", soft_wrap=True)


def show_machines(console: Console, machines: Sequence[Measured]) -> None:
    """Prints a line a machine, and a table: a row a figure, a column a machine, and its ratio to the first."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for letter, one in zip(letters, machines, strict=False):
        console.print(f"{letter}  {one.path}: {in_words(one.machine)}", soft_wrap=True)
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    table.add_column("A", justify="right")
    for letter in letters[1 : len(machines)]:
        table.add_column(letter, justify="right")
        table.add_column(f"{letter} / A", justify="right")
    for key in dict.fromkeys(key for one in machines for key in one.figures):
        first, *others = (one.figures.get(key) for one in machines)
        pairs = [cell for other in others for cell in (_number(other), _ratio(other, first))]
        table.add_row(": ".join(key), _number(first), *pairs)
    console.print(table)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:,.3g}"


def _ratio(other: float | None, first: float | None) -> str:
    return "-" if other is None or not first else f"{other / first:.2f}"
