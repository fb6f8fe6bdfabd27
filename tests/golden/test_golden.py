"""Every method gives the numbers that it gave when they were recorded."""

import json

import pytest
from golden_runs import FILE, RUNS, metrics

RECORDED = json.loads(FILE.read_text(encoding="utf-8"))


def test_every_run_is_recorded():
    assert RECORDED.keys() == RUNS.keys()


_AT_ONCE = ("rennala_nigt", "afedpg")
_CASES = [pytest.param(name, marks=() if name in _AT_ONCE else pytest.mark.slow) for name in RUNS]


@pytest.mark.parametrize("name", _CASES)
def test_the_same_numbers(name):
    """Whole numbers as they were; the others to what another processor's order of sums may change."""
    for now, then in zip(metrics(name), RECORDED[name], strict=True):
        for key, value in then.items():
            exact = isinstance(value, int)
            assert now[key] == (value if exact else pytest.approx(value, rel=2e-4, abs=2e-5)), (then["iteration"], key)
