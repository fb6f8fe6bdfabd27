"""The orders that the paper sees, trained: ``make test ARGS="-m paper"``.

Half an hour on two cores, less where ``NIGT_PAPER`` names a folder with sweeps that are done, such as that of ``make
paper``: ``NIGT_PAPER=runs/paper-quick``.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from nigt_jax.cli import main
from nigt_jax.report._names import named
from nigt_jax.report._study import load_study
from nigt_jax.report._verdict import times_of
from nigt_jax.statistics import band

pytestmark = pytest.mark.paper
SWEEPS = Path(__file__).parents[2] / "configs" / "paper" / "quick"


@pytest.fixture(scope="module")
def panels(tmp_path_factory):
    """Panels of a sweep by their names; it is run, or gone on with, where it is not done."""
    folder = Path(os.environ.get("NIGT_PAPER") or tmp_path_factory.mktemp("paper")).resolve()

    def of(name):
        begun = (folder / name).is_dir()
        new = [str(SWEEPS / f"{name}.yaml"), "--output", str(folder), "--name", name]
        assert main(["sweep", *([str(folder / name), "--resume"] if begun else new)]) == 0
        return {panel.name: panel for panel in load_study(*named([folder / name])).panels}

    return of


def finals(panel, method):
    """The best line's returns at the end of a panel, of a method."""
    own = [line.finals(panel.end) for line in panel.lines if line.config.method.name == method]
    return max(own, key=lambda returns: float(np.median(returns)))


def test_equal_workers_no_method_is_ahead_beyond_the_band(panels):
    panel = panels("reacher")["equal"]
    bands = [band(finals(panel, method)) for method in ("rennala_nigt", "synchronous_nigt", "afedpg")]
    assert max(low for low, _, _ in bands) <= min(high for _, _, high in bands)


def test_slow_communication_rennala_is_the_first_at_its_rivals_final_return(panels):
    panel = panels("reacher")["slow-communication"]
    rivals = ("afedpg", "synchronous_nigt")
    wanted = max(float(np.median(finals(panel, rival))) for rival in rivals)
    median = lambda line: float(np.sort(times_of(line, wanted, panel.end))[(len(line.last) - 1) // 2])
    times = {line.name: median(line) for line in panel.lines}
    ours = min(time for name, time in times.items() if name.startswith("rennala"))
    assert ours < min(time for name, time in times.items() if not name.startswith("rennala")), times
    assert np.median(finals(panel, "rennala_nigt")) > wanted


def test_where_worlds_differ_malenia_is_above_afedpg_and_rennala_in_the_mean(panels):
    panel = panels("two-worlds")["two-worlds"]
    malenia = np.median(finals(panel, "malenia_nigt"))
    others = {method: np.median(finals(panel, method)) for method in ("afedpg", "rennala_nigt")}
    assert malenia > max(others.values()), (malenia, others)
