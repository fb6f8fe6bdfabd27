"""The section of a page on the map. Needs no JAX."""

import collections
from collections.abc import Sequence
from typing import cast

import numpy as np

from nigt_jax.config import Gae
from nigt_jax.report._content import Picture, Section, Table, data_uri, with_interval
from nigt_jax.report._map import Cell, evidence_of, lead_predicted, scale_in_words
from nigt_jax.report._map_figure import map_png
from nigt_jax.report._study import Line, Study


def map_section(study: Study, cells: Sequence[Cell]) -> Section:
    """What is predicted beside what was measured, in words, tables and a picture."""
    decided = [cell for cell in cells if cell.agrees is not None]
    clear = [cell for cell in decided if cell.verdict.is_clear]
    right = lambda group: f"{sum(bool(cell.agrees) for cell in group)} of {len(group)}"
    texts = [
        "Predicted: the time from step to step, of the clock, times 1 + B noise². Noise is that of a direction in "
        "units of one gradient's standard deviation, as nigt simulate has it, and B the noise scale: a single "
        "gradient's variance over the squared length of the true gradient, from what the first rounds of different M "
        "measured at the untrained policy. Measured: the time to the threshold, tuned, and on other seeds. Strong "
        "colours are decided with 95% confidence. Workers whose times are listed or recorded have no place here.",
        f"The method predicted to be first was first in {right(decided)} cells, and in {right(clear)} of those that "
        "are decided. The prediction knows nothing of stale gradients, of how the noise scale changes while a policy "
        "learns, nor of how large a step may be before it does harm.",
        *_disagreements(clear),
    ]
    head = ["scenario", "estimator", "B", "predicted first", "by", "measured first", "by", "agree"]
    rows = [
        [
            cell.panel.name,
            cell.estimator,
            scale_in_words(cell.noise_scale),
            cell.first_predicted.name,
            f"{lead_predicted(cell):.2g}x",
            "-" if cell.verdict.first is None else cell.verdict.first.name,
            "-" if cell.verdict.lead is None else with_interval(cell.verdict.lead),
            "-" if cell.agrees is None else ("yes" if cell.agrees else "no"),
        ]
        for cell in cells
    ]
    ratios = [
        [f"{e.least:g} to {e.below:g} times as long", f"{e.right} of {e.pairs}", f"{e.right / max(e.pairs, 1):.0%}"]
        for e in evidence_of(cells)
    ]
    tables = [
        Table("Every cell", head, rows),
        Table("Pairs of lines of different methods: predicted ratio of times, and how often the order was right",
              ["predicted", "right", ""], ratios),
    ]  # fmt: skip
    picture = Picture(data_uri(map_png(cells)), "The map: predicted beside measured")
    return Section("The map", f"map-{study.stem}", texts, tables=tables, pictures=[picture])


def _disagreements(cells: Sequence[Cell]) -> list[str]:
    """What the cells that are decided against the prediction have in common, and what it did not know there."""
    wrong = [cell for cell in cells if not cell.agrees]
    if not wrong:
        return []
    name = lambda line: line.config.method.name
    counts = collections.Counter(
        (cell.estimator, name(cell.first_predicted), name(cell.verdict.first)) for cell in wrong
    )
    told = [f"with {e}, {p} was predicted and {m} came first in {n}" for (e, p, m), n in counts.items()]
    texts = ["Decided against the prediction: " + "; ".join(told) + "."]
    learns = [cell for cell in wrong if isinstance(cell.first_predicted.config.estimator, Gae)]
    if learns:
        updates = lambda line: round(np.mean([record["iteration"] for record in line.last]))
        one = learns[0]
        first = cast(Line, one.verdict.first)
        texts.append(
            f"With {one.estimator} a critic learns, too, once in every update: in {one.panel.name} that is "
            f"{updates(first):,} times with {first.name} and "
            f"{updates(one.first_predicted):,} times with {one.first_predicted.name}. The prediction does not know of "
            "the critic, and B is that of a policy whose critic has learnt nothing yet."
        )
    return texts
