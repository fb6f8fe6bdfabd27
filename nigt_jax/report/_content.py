"""What a page is made of: sections of texts, charts, tables and pictures. Needs no JAX."""

import base64
import dataclasses
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from nigt_jax.statistics import Interval

# Colours that people with any kind of sight tell apart (Okabe and Ito), from dark to light; dashes and markers tell
# them apart in grey, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#8C564B")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKERS = ("circle", "square", "triangle-up", "diamond", "x", "cross", "star", "pentagon")


@dataclasses.dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
      name: its name.
      style: number of its colour, dash and marker.
      data: for every axis ``x``, ``y`` and the band's ``low`` and ``high``, lists of equal length.
    """

    name: str
    style: int
    data: dict[str, dict[str, list[float]]]


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
      title: its title.
      y: label of the vertical axis.
      axes: label of every horizontal axis that it can be drawn against, by name.
      series: its lines.
      threshold: value that is marked; None for none.
      log_x: the horizontal axes that are logarithmic; nothing is drawn at 0 there.
    """

    title: str
    y: str
    axes: dict[str, str]
    series: list[Series]
    threshold: float | None = None
    log_x: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: a head, and rows of texts."""

    title: str
    head: list[str]
    rows: list[list[str]]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture as a data URI, and what it shows."""

    uri: str
    alt: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
      title: its heading.
      anchor: unique in the page.
      texts: paragraphs.
      charts: side by side where there is room; they share what is toggled.
      tables: below.
      pictures: below.
      commands: how to make it again.
      details: title and text of what is folded.
    """

    title: str
    anchor: str
    texts: list[str]
    charts: list[Chart] = dataclasses.field(default_factory=list)
    tables: list[Table] = dataclasses.field(default_factory=list)
    pictures: list[Picture] = dataclasses.field(default_factory=list)
    commands: list[str] = dataclasses.field(default_factory=list)
    details: dict[str, str] = dataclasses.field(default_factory=dict)

    def script(self) -> dict[str, Any]:
        """What the page's script draws."""
        return {"charts": [dataclasses.asdict(chart) for chart in self.charts]}


def number(value: float | None) -> str:
    """Three digits, or all before the point; a dash where there is none."""
    if value is None:
        return "-"
    if not np.isfinite(value):
        return "never" if value > 0 else "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def with_interval(found: Interval) -> str:
    """A value with its interval."""
    if np.isinf(found.low):
        return number(found.low)
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"


def data_uri(png: bytes) -> str:
    """A PNG that stands in the page itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def command(*words: Any) -> str:
    """A command of this package that a shell takes as it stands: names of folders may be somebody else's."""
    return shlex.join(["nigt", *map(str, words)])
