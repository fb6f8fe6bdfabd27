"""The map as a picture: what is predicted beside what was measured."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from nigt_jax.report._content import COLOURS
from nigt_jax.report._figures import save
from nigt_jax.report._map import Cell, lead_predicted, scale_in_words
from nigt_jax.report._study import Line


def write_map(cells: Sequence[Cell], stem: Path) -> list[Path]:
    """Writes the map as PNG and SVG; OSError where it cannot."""
    return save(_figure(cells), stem, dpi=130)


def map_png(cells: Sequence[Cell]) -> bytes:
    """The map as a PNG."""
    stream = io.BytesIO()
    _figure(cells).savefig(stream, dpi=110, format="png")
    return stream.getvalue()


def _figure(cells: Sequence[Cell]) -> Figure:
    groups = list(dict.fromkeys((cell.estimator, cell.topology) for cell in cells))
    methods = list(dict.fromkeys(line.config.method.name for cell in cells for line in cell.panel.lines))
    colours = {method: COLOURS[place % len(COLOURS)] for place, method in enumerate(methods)}
    prices = sorted({cell.price for cell in cells})
    heights = [len({cell.spread for cell in cells if (cell.estimator, cell.topology) == group}) for group in groups]
    figure = Figure(figsize=(3.1 + 2.5 * len(prices), 1.2 + 1.15 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
    for row, group in enumerate(groups):
        own = [cell for cell in cells if (cell.estimator, cell.topology) == group]
        scale = own[0].noise_scale
        title = f"{group[0]}, {group[1]} (noise scale {scale_in_words(scale)})"
        _draw(axes[row, 0], own, prices, f"predicted: {title}", colours, _predicted)
        _draw(axes[row, 1], own, prices, "measured", colours, _measured)
    handles = [Patch(facecolor=colour, alpha=0.75, label=method) for method, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


Told = Callable[[Cell], tuple[Line | None, str, bool]]


def _predicted(cell: Cell) -> tuple[Line | None, str, bool]:
    return cell.first_predicted, f"{lead_predicted(cell):.2g}x", True


def _measured(cell: Cell) -> tuple[Line | None, str, bool]:
    verdict = cell.verdict
    if verdict.first is None:
        return None, "nobody arrives", False
    if verdict.lead is None:
        return verdict.first, "", False
    lead = verdict.lead
    text = lambda value: "never" if np.isinf(value) else f"{value:.2g}x"
    return verdict.first, f"{text(lead.value)} ({text(lead.low)} to {text(lead.high)})", verdict.is_clear


def _draw(
    axes: Axes, cells: Sequence[Cell], prices: Sequence[float], title: str, colours: dict[str, str], told: Told
) -> None:
    spreads = sorted({cell.spread for cell in cells})
    for cell in cells:
        x, y = prices.index(cell.price), spreads.index(cell.spread)
        line, text, clear = told(cell)
        colour = "#FFFFFF" if line is None else colours[line.config.method.name]
        box = Rectangle((x, y), 1, 1, facecolor=colour, alpha=0.75 if clear else 0.28, edgecolor="white", linewidth=2)
        axes.add_patch(box)
        name = "" if line is None else line.name.split("-", 1)[-1]
        axes.text(x + 0.5, y + 0.62, name, ha="center", va="center", fontsize=9, fontweight="bold")
        axes.text(x + 0.5, y + 0.3, text, ha="center", va="center", fontsize=7.5)
    axes.set(xlim=(0, len(prices)), ylim=(0, len(spreads)), title=title)
    axes.set_xticks(np.arange(len(prices)) + 0.5, [f"{price:g}" for price in prices])
    axes.set_yticks(np.arange(len(spreads)) + 0.5, [f"i^{spread:g}" for spread in spreads])
    axes.set(xlabel="price of an exchange", ylabel="times of workers")
    axes.title.set_fontsize(9)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
