"""The figures as a person reads them: aligned columns, the configuration's method marked."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from nigt_jax.report._content import number
from nigt_jax.simulation import Answer, Comparison, Figures, how_sure, source_of_evidence

_MOST_ROWS = 12  # of workers; more of them are shown in groups


_NARROW = 105  # columns; below it, less is shown


def show_comparison(console: Console, comparison: Comparison, answer: Answer) -> None:
    """Prints everything: what each method did, with other batch sizes, and which one to take.

    Args:
      console: where to print; plain aligned text where it is no terminal.
      comparison: all methods side by side.
      answer: which method, and which M.
    """
    narrow = console.width < _NARROW
    _say(console, f"\n{_workers(comparison.gradient_times)}")
    _say(console, "\nEvery method on these workers (times in time units; * marks the configured method)")
    in_rounds = [figures for name, figures in comparison.figures.items() if name in comparison.by_batch_size]
    others = [figures for name, figures in comparison.figures.items() if name not in comparison.by_batch_size]
    for some in filter(None, (in_rounds, others)):  # all of them would not fit beside each other
        console.print(_side_by_side(comparison.configured, some, narrow))
    for figures in comparison.figures.values():
        if figures.never_ends:
            _say(console, f"{', '.join(figures.methods)}: {figures.never_ends}")
    for name, reason in comparison.not_available.items():
        _say(console, f"{name}: not available: {reason}")
    _say(console, "\nTime of a round by M" + ("" if narrow else " (and time per gradient of its result)"))
    console.print(_by_batch_size(comparison, narrow))
    noise = f"the mean of {number(answer.gradients)} gradients ({answer.target_noise:.3g} sigma)"
    _say(console, f"\nWhich method, which M? For directions as noisy as {noise}, with momentum {answer.momentum:g}")
    console.print(_choices(answer, comparison.configured))
    _say(console, f"\n{_advice(answer)}")


def _workers(times: tuple[float, ...]) -> str:
    """Who is fast and who is slow: whoever took times for speeds sees it here."""
    fastest, slowest = min(times), max(times)
    lines = [
        f"{which:<11}worker {times.index(time) + 1}: {number(time)} time units a gradient"
        f" = {number(1 / time)} gradients a time unit"
        for which, time in (("fastest", fastest), ("slowest", slowest))
    ]
    return "\n".join(lines) if fastest < slowest else lines[0].replace("fastest", "all alike")


def _side_by_side(configured: str, columns: Sequence[Figures], narrow: bool) -> Table:
    """A column for each clock, a row for each figure that some of them have."""
    table = _table("")
    for figures in columns:
        mine = configured in figures.methods
        name = figures.clock.replace("synchronous", "sync") if narrow else figures.clock
        table.add_column(name + ("*" if mine else ""), justify="right", style="bold" if mine else None)

    def row(name: str, text: Callable[[Figures], str]) -> None:
        cells = [text(figures) for figures in columns]
        if set(cells) != {"-"}:
            table.add_row(name, *cells)

    row("gradients a round, M", lambda f: f"{f.batch_size:,}")
    row("rounds, or updates", lambda f: f"{f.rounds:,}" if f.never_ends is None else f"{f.rounds:,} only")
    row("time of one", lambda f: number(f.round_time))
    row("  from ... to", lambda f: _range(f.shortest_round, f.longest_round))
    row("  collecting", lambda f: number(f.collecting))
    row("  ... by theory", lambda f: _bounds(f, "collecting"))
    row("  round by theory", lambda f: _bounds(f, "round"))
    row("  communicating", lambda f: number(f.communicating))
    row("gradients per time unit", lambda f: number(f.gradients_per_time))
    row("discarded, of all begun", lambda f: _percent(f.discarded_fraction))
    row("messages", lambda f: f"{f.messages:,}")
    row("counted, and their share", lambda f: f"{sum(f.counted):,}")
    for name, chosen in _groups(len(columns[0].counted)):
        row(f"  {name}", lambda f, chosen=chosen: _counted(f, chosen, narrow))  # type: ignore[misc]
    return table


def _groups(workers: int) -> list[tuple[str, slice]]:
    """Every worker, or groups of them where there are many."""
    if workers <= _MOST_ROWS:
        return [(f"worker {i + 1}", slice(i, i + 1)) for i in range(workers)]
    edges = np.linspace(0, workers, 11).round().astype(int)
    return [(f"workers {a + 1:,}-{b:,}", slice(a, b)) for a, b in itertools.pairwise(edges)]


def _by_batch_size(comparison: Comparison, narrow: bool) -> Table:
    table = _table("")
    sizes = sorted({m for tried in comparison.by_batch_size.values() for m in tried})
    middle = max(f.batch_size for f in comparison.figures.values())
    sizes = [m for m in sizes if middle / 5 <= m <= 5 * middle]  # what fits in a line
    for m in sizes:
        table.add_column(f"M = {m:,}", justify="right")
    for name, tried in comparison.by_batch_size.items():
        cells = [tried.get(m) for m in sizes]
        table.add_row(name, *("-" if f is None else _round_time(f, narrow) for f in cells))
    return table


def _choices(answer: Answer, configured: str) -> Table:
    table = _table("method")
    for name in ("M", "round time", "per gradient", "x best", "sure"):
        table.add_column(name, justify="right")
    table.add_column("")
    best = next((c.round_time for c in answer.choices if c.method == answer.best), None)
    for choice in answer.choices:
        name = choice.method + ("*" if choice.method == configured else "")
        if choice.round_time is None or best is None:
            table.add_row(name, "-", "-", number(choice.time_per_gradient), "-", "-", choice.why_not)
            continue
        times = [choice.round_time, choice.time_per_gradient]
        mark = "<- fastest" if choice.method == answer.best else ""
        ratio = choice.round_time / best
        sure = "" if mark else _sure(ratio, choice.method, answer.best)
        cells = [f"{choice.batch_size:,}", *map(number, times), f"{ratio:.2f}", sure, mark]
        table.add_row(name, *cells, style="bold" if mark else None)
    return table


def _sure(ratio: float, *methods: str | None) -> str:
    """How often a method that was predicted to be so much slower was slower in training."""
    found = how_sure(ratio, *filter(None, methods))
    return "?" if found is None else f"{found.right / found.pairs:.0%}"


def _advice(answer: Answer) -> str:
    best = next((c for c in answer.choices if c.method == answer.best), None)
    if best is None:
        return "no method makes such directions on these workers"
    lines = [f"take       --method.name {best.method}"]
    lines[0] += f" --method.batch_size {best.batch_size}" if best.batch_size != 1 else ""
    told = "of pairs of methods predicted to be as far apart, how many came in that order in training"
    lines.append(f"sure       {told} ({source_of_evidence()})")
    lines.append(
        "           if workers' environments differ, only Malenia, Ringleader and the synchronous ones are unbiased"
    )
    return "\n".join(lines)


def _table(first: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="none")
    table.add_column(first, no_wrap=True)
    return table


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)


def _counted(figures: Figures, chosen: slice, narrow: bool) -> str:
    share = _percent(sum(figures.shares[chosen]))
    return share if narrow else f"{sum(figures.counted[chosen]):,} ({share})"


def _bounds(figures: Figures, of: str) -> str:
    bounds = figures.bounds
    if bounds is None or bounds.of != of:
        return "-"
    if bounds.at_most is None:
        return f">= {number(bounds.at_least)}"
    return _range(bounds.at_least, bounds.at_most)


def _range(least: float | None, most: float | None) -> str:
    if least is None or most is None:
        return "-"
    if math.isclose(least, most, rel_tol=1e-3):
        return f"= {number(least)}"
    return f"{number(least) if least > most / 1000 else 0}-{number(most)}"


def _round_time(figures: Figures, narrow: bool) -> str:
    if figures.never_ends:
        return "no end" if figures.never_ends.waits_for else "too long"
    return number(figures.round_time) + ("" if narrow else f" ({number(figures.time_per_gradient)})")


def _percent(part: float) -> str:
    return f"{part:.0%}" if part == 0 or part >= 0.0995 else f"{part:.1%}"
