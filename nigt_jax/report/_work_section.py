"""What a sweep's runs have computed, thrown away and sent: in whole, and up to the threshold. Needs no JAX."""

from collections.abc import Sequence

import numpy as np

from nigt_jax.report._content import Picture, Section, Table, number
from nigt_jax.report._study import AXES, Study
from nigt_jax.report._verdict import median_to


def work_section(studies: Sequence[Study], pictures: Sequence[Picture]) -> Section:
    """The section.

    Args:
      studies: the sweeps.
      pictures: timelines of workers.
    """
    texts = [
        "What workers begin and nobody counts is simulated and never computed. Messages carry a number for every "
        "parameter of the policy, those of fednpg_exact matrices too; bytes up count that, simulated time does not. "
        "All numbers of whole runs are totals, in the mean over seeds."
    ]
    head = ["panel", "line", "discarded, of all begun", "gradients", "exchanges", "uploads", "simulated time"]
    rows = [
        [
            f"{study.name}, {panel.name}",
            line.name,
            f"{line.discarded_fraction:.0%}",
            *(f"{np.mean([record[key] for record in line.last]):,.0f}" for key in ("gradients", "communications")),
            f"{np.mean([record['uploads'] for record in line.last]):,.0f}",
            number(float(np.mean([record["simulated_time"] for record in line.last]))),
        ]
        for study in studies
        for panel in study.panels
        for line in panel.lines
    ]
    return Section(
        "Workers and their work",
        "work",
        texts,
        tables=[Table("Whole runs", head, rows), _price(studies)],
        pictures=list(pictures),
    )


def _price(studies: Sequence[Study]) -> Table:
    """What the median run has used when it reaches its panel's threshold, in every unit."""
    rows = [
        [
            f"{study.name}, {panel.name}",
            line.name,
            number(panel.threshold),
            *(number(median_to(line, axis, panel.threshold)) for axis in AXES),
        ]
        for study in studies
        for panel in study.panels
        for line in panel.lines
    ]
    return Table("Up to the threshold, in the median over seeds", ["panel", "line", "threshold", *AXES.values()], rows)
