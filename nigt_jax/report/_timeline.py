"""The timeline as a picture: one bar a worker."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nigt_jax.simulation import Timeline

# Colours that people with any kind of sight tell apart (Okabe and Ito); waiting is what nobody sees.
_COLOURS = {
    "counted": "#0072B2",
    "under way": "#9CC9E3",
    "discarded": "#E69F00",
    "waiting": "#E4E4E4",
    "communicating": "#CC79A7",
    "silent": "#444444",
}
_MEANING = {
    "counted": "computing, counted",
    "under way": "computing, unfinished",
    "discarded": "computing, discarded",
    "waiting": "waiting",
    "communicating": "communicating",
    "silent": "does not answer",
}


def draw_timeline(timeline: Timeline, file: Path | BinaryIO) -> None:
    """Writes the picture as a PNG into a file; OSError where it cannot."""
    rows = timeline.shown.size
    figure = Figure(figsize=(12, 2.1 + 0.27 * max(rows, 4)), layout="constrained")
    axes = figure.add_subplot()
    row = {int(worker): y for y, worker in enumerate(timeline.shown)}
    used = [name for name in _COLOURS if any(bar.activity == name for bar in timeline.bars)]
    thin = timeline.end / 400  # a bar narrower than its edge would be all edge
    for name in used:
        bars = [bar for bar in timeline.bars if bar.activity == name]
        lengths = np.array([bar.end - bar.start for bar in bars])
        axes.barh(
            [row[bar.worker] for bar in bars],
            lengths,
            left=[bar.start for bar in bars],
            height=0.8,
            color=_COLOURS[name],
            edgecolor="white",
            linewidth=np.where(lengths > thin, 0.7, 0.0) if name in ("counted", "discarded") else 0.0,
            hatch="////" if name == "discarded" else None,
        )
    _label(axes, timeline)
    _mark_rounds(axes, timeline)
    figure.legend(
        handles=[Patch(facecolor=_COLOURS[n], edgecolor="white", hatch="////" if n == "discarded" else None,
                       label=f"{_MEANING[n]} ({timeline.share(n):.0%})") for n in used],
        loc="outside lower center", ncols=len(used) if len(used) < 5 else 3, frameon=False,
        title="share of the time of the workers shown in brackets",
    )  # fmt: skip
    figure.savefig(file, dpi=110, format="png")


def _label(axes: Axes, timeline: Timeline) -> None:
    rows, rounds = timeline.shown.size, len(timeline.round_ends)
    axes.set(xlim=(0, timeline.end), ylim=(rows - 0.4, -0.6), xlabel="simulated time [time units]", ylabel="worker")
    axes.set_yticks(range(rows), [str(worker + 1) for worker in timeline.shown])
    counted = axes.twinx()
    counted.set(ylim=axes.get_ylim(), ylabel="gradients counted, and their share")
    share = timeline.counted / max(timeline.total, 1)
    counted.set_yticks(range(rows), [f"{n:,} ({s:.0%})" for n, s in zip(timeline.counted, share, strict=True)])
    for side in (axes, counted):
        side.tick_params(axis="y", length=0)
        side.spines[["top", "left", "right"]].set_visible(False)
    what = f"M = {timeline.batch_size:,}" + (f", the first {_rounds(rounds)}" if rounds else "")
    if not rounds and not timeline.note:
        what = f"an update at every counted arrival, {timeline.total:,} updates"
    some = "" if rows == timeline.workers else f"; {rows} of {timeline.workers:,} workers shown, evenly chosen"
    note = f"; {timeline.note}" if timeline.note else ""
    axes.set_title(f"{timeline.method}: {what}{some}{note}", loc="left", pad=20, fontweight="bold")


def _mark_rounds(axes: Axes, timeline: Timeline) -> None:
    """A line where a round, with its exchange, is over, and its number above."""
    begin = 0.0
    for number, end in enumerate(timeline.round_ends, 1):
        axes.axvline(end, color="black", linewidth=1.4)
        axes.text((begin + end) / 2, -0.75, f"round {number}", ha="center", va="bottom", color="#444444")
        begin = end
    if begin < timeline.end and timeline.note:
        number = len(timeline.round_ends) + 1
        axes.text((begin + timeline.end) / 2, -0.75, f"round {number} ...", ha="center", va="bottom", color="#444444")


def _rounds(number: int) -> str:
    return "round" if number == 1 else f"{number} rounds"
