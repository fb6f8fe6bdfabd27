"""How sure advice is: what the shipped file says, by the ratio of predicted times."""

import math

from nigt_jax.simulation import how_sure, source_of_evidence
from nigt_jax.simulation._evidence import _FEWEST, _evidence


def test_every_ratio_has_the_figures_of_its_own_row():
    rows = _evidence()["ratios"]
    assert rows[0]["least"] == 1.0
    assert rows[-1]["below"] is None
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        assert row["below"] == (None if after is None else after["least"])
        assert 0 <= row["right"] <= row["pairs"]
        top = row["least"] * 2 if row["below"] is None else math.nextafter(row["below"], 0)
        for ratio in (row["least"], top):
            found = how_sure(ratio)
            assert found == ((row["right"], row["pairs"]) if row["pairs"] >= _FEWEST else None)
    assert how_sure(3.0, "afedpg", "rennala_nigt") == how_sure(3.0)
    assert how_sure(3.0, "rennala_pg", "rennala_nigt") is None
    assert any(row["pairs"] >= _FEWEST for row in rows)
    assert source_of_evidence()
