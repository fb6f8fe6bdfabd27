"""The picture's numbers."""

import numpy as np
import pytest
from PIL import Image

from nigt_jax.clocks import make_clock
from nigt_jax.config import check_config
from nigt_jax.report import draw_timeline
from nigt_jax.simulation import make_timeline
from nigt_jax.simulation._compare import kinds
from nigt_jax.simulation._play import play
from nigt_jax.simulation._timeline import ACTIVITIES


def configured(method="rennala_nigt", **workers):
    return check_config(
        {
            "method": {"name": method, "batch_size": 4},
            "estimator": {"name": "return_to_go"},
            "workers": {"count": 4} | workers,
        }
    )


def assert_tiled(timeline):
    """Every worker does one thing at a time, and always something."""
    for worker in timeline.shown:
        bars = [bar for bar in timeline.bars if bar.worker == worker]
        edges = [0.0, *(x for bar in bars for x in (bar.start, bar.end)), timeline.end]
        np.testing.assert_allclose(edges[::2], edges[1::2], atol=1e-5)
        assert all(bar.activity in ACTIVITIES for bar in bars)
    assert sum(timeline.share(activity) for activity in ACTIVITIES) == pytest.approx(1)


@pytest.mark.parametrize(
    ("method", "topology", "carry_over"),
    [
        ("rennala_nigt", "parallel-links", False),
        ("malenia_nigt", "parallel-links", False),
        ("synchronous_nigt", "parallel-links", False),
        ("rennala_nigt", "shared-link", True),
        ("malenia_nigt", "shared-link", True),
        ("rennala_nigt", "allreduce", False),
    ],
)
def test_of_rounds(method, topology, carry_over):
    config = configured(method, topology=topology, carry_over=carry_over)
    timeline = make_timeline(config)
    assert_tiled(timeline)
    kind = next(kind for kind in kinds() if method in kind.methods)
    clock = make_clock(config.workers, 1, 4)
    played = play(clock, (kind.rounds,), 0, 4, 3, 0)
    assert timeline.end == timeline.round_ends[-1] == pytest.approx(played.time)
    assert timeline.counted.tolist() == played.counted.tolist()
    for worker, count in enumerate(timeline.counted):
        bars = [bar for bar in timeline.bars if bar.worker == worker]
        assert sum(bar.activity == "counted" for bar in bars) == count
        if not carry_over:
            assert sum(bar.activity == "discarded" for bar in bars) == played.discarded[worker]


@pytest.mark.parametrize("topology", ["parallel-links", "shared-link"])
def test_of_arrivals(topology):
    timeline = make_timeline(configured("ringmaster_nigt", topology=topology))
    assert_tiled(timeline)
    assert timeline.round_ends == ()
    counted = [bar for bar in timeline.bars if bar.activity == "counted"]
    assert len(counted) == timeline.total == timeline.counted.sum()


def test_of_a_round_that_never_ends(tmp_path):
    changes = {"changes": [{"workers": [2], "start": 4, "factor": 0}]}
    for method in ("synchronous_nigt", "malenia_nigt"):
        timeline = make_timeline(configured(method, count=3, speed=changes))
        assert_tiled(timeline)
        assert timeline.note == "round 2 never ends: it waits for worker 2"
        assert {bar.worker for bar in timeline.bars if bar.activity == "silent"} == {1}
    draw_timeline(timeline, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.size[0] > 1000


def test_of_many_workers(tmp_path):
    timeline = make_timeline(configured(count=100))
    assert (timeline.shown[0], timeline.shown[-1], timeline.shown.size) == (0, 99, 30)
    assert_tiled(timeline)
    draw_timeline(timeline, tmp_path / "x.png")
