"""Charts as files: PNG and SVG for papers and READMEs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nigt_jax.files import new_file
from nigt_jax.report._content import COLOURS, DASHES, MARKERS, Chart

_DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (5, 2)),
    "dot": (0, (1, 1.5)),
    "dashdot": (0, (5, 1.5, 1, 1.5)),
    "longdash": (0, (9, 2)),
    "longdashdot": (0, (9, 2, 1, 2)),
}
_MARKERS = {"circle": "o", "square": "s", "triangle-up": "^", "diamond": "D", "x": "x", "cross": "P", "star": "*",
            "pentagon": "p"}  # fmt: skip
_STYLE: Any = {"svg.fonttype": "none", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
          "axes.grid": True, "grid.color": "#E4E4E4", "grid.linewidth": 0.7, "svg.hashsalt": "nigt_jax"}  # fmt: skip


def write_figure(charts: Sequence[Chart], axis: str, stem: Path) -> list[Path]:
    """Draws charts side by side, against one of their axes, and writes them as PNG and SVG.

    Lines bear their names at their ends. Every line has a dash and a marker of its own, for those who print in grey.

    Args:
      charts: the charts.
      axis: name of the horizontal axis.
      stem: the files' path without its suffix.

    Returns:
      The files. OSError where they cannot be written.
    """
    with rc_context(_STYLE):
        columns = min(len(charts), 3)
        rows = math.ceil(len(charts) / columns)
        figure = Figure(figsize=(4.6 * columns + 0.6, 3.5 * rows), layout="constrained")
        for place, chart in enumerate(charts):
            _draw(figure.add_subplot(rows, columns, place + 1), chart, axis)
        return save(figure, stem, dpi=150)


def save(figure: Figure, stem: Path, dpi: int) -> list[Path]:
    """Writes a figure as PNG and SVG: `stem` with each suffix. OSError where it cannot."""
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    for file in files:
        meta: dict[str, Any] = {"Date": None} if file.suffix == ".svg" else {}
        with new_file(file, "wb") as written:
            figure.savefig(written, format=file.suffix[1:], dpi=dpi, metadata=meta)
    return files


def _draw(axes: Axes, chart: Chart, axis: str) -> None:
    ends = []
    for series in chart.series:
        data, style = series.data[axis], series.style
        colour, (x, y) = COLOURS[style % len(COLOURS)], (np.array(data[name]) for name in ("x", "y"))
        axes.fill_between(x, data["low"], data["high"], color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            x,
            y,
            color=colour,
            linewidth=1.8,
            linestyle=_DASHES[DASHES[style % len(DASHES)]],
            marker=_MARKERS[MARKERS[style % len(MARKERS)]],
            markersize=4.5,
            markevery=max(1, len(x) // 6) if len(x) > 8 else 1,
        )
        ends.append((float(x[-1]), float(y[-1]), series.name, colour))
    if chart.threshold is not None:
        axes.axhline(chart.threshold, color="#777777", linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set(title=chart.title, xlabel=chart.axes[axis], ylabel=chart.y)
    if axis in chart.log_x:
        axes.set_xscale("log", base=2)
    _name_lines(axes, ends)


def _name_lines(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Writes names beside the ends of lines, moved apart where they would cover each other."""
    low, high = axes.get_ylim()
    gap, ends = (high - low) * 0.075, sorted(ends, key=lambda end: end[1])
    places: list[float] = []
    for _, y, _, _ in ends:
        places.append(max(y, places[-1] + gap if places else low))
    for number in reversed(range(len(places))):  # and none above the axes
        places[number] = min(places[number], high - gap * (len(places) - 1 - number))
    for (x, y, name, colour), place in zip(ends, places, strict=True):
        axes.annotate(
            name,
            (x, y),
            xytext=(1.02, (place - low) / (high - low)),
            textcoords="axes fraction",
            color=colour,
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6, "shrinkA": 0, "shrinkB": 2},
        )
