"""The number of lanes: measured where it matters, once, and kept."""

import json

import jax
import pytest
from probes import Quadratic

from nigt_jax.config import check_config
from nigt_jax.training import _lanes
from nigt_jax.training._trainer import Trainer


def trainer(batch_size, **training):
    return Trainer(
        check_config(
            {
                "environment": {"name": "fast", "horizon": 3},
                "policy": {"hidden_sizes": [8]},
                "method": {"batch_size": batch_size},
                "training": {"devices": 1, "platform": "cpu", **training},
            }
        ),
        Quadratic(),
    )


@pytest.fixture
def measured(monkeypatch):
    """What was measured, and what it is found to be."""
    rates = {16: 50.0, 64: 100.0, 256: 105.0}
    asked = []

    def rate(parts, lanes, device):
        del parts, device
        asked.append(lanes)
        return rates[lanes]

    monkeypatch.setattr(_lanes, "_steps_per_second", rate)
    return rates, asked


def test_few_are_side_by_side_and_nothing_is_measured(measured):
    assert trainer(64).config.training.lanes == 64
    assert measured[1] == []


def test_what_was_asked_for_is_what_there_is(measured):
    made = trainer(1000, lanes=7)
    assert made.parts.widths == (7, 1)
    assert trainer(1000, lanes=5000).parts.widths == (1000, 250)
    assert measured[1] == []


@pytest.mark.parametrize(
    ("rates", "lanes"),
    [
        ({}, 63),  # 1000 episodes, 16 for each of 63 lanes: 100 * 16 / 16.75 is the most
        ({256: 140.0}, 250),
        ({16: 120.0}, 17),
    ],
)
def test_speed_counts_and_so_do_lanes_that_fall_idle(measured, rates, lanes):
    measured[0].update(rates)
    assert trainer(1000).config.training.lanes == lanes


@pytest.mark.usefixtures("measured")
def test_episodes_of_the_same_length_leave_no_lane_idle():
    for episodes in (65, 100, 150, 700):
        lanes = trainer(episodes).config.training.lanes
        assert episodes > lanes * (-(-episodes // lanes) - 1)
        assert -(-episodes // lanes) * lanes - episodes < -(-episodes // lanes)


def test_it_is_measured_once_for_an_environment_with_a_name(measured, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parts, config = (made := trainer(1000)).parts._replace(widths=(1000,)), made.config
    asked = measured[1]
    asked.clear()
    device = jax.devices()[0]
    first = _lanes.choose_lanes(config, parts, device)
    assert asked == [16, 64, 256]
    assert _lanes.choose_lanes(config, parts, device) == first
    assert asked == [16, 64, 256]
    kept = tmp_path / "nigt_jax" / "lanes.json"
    assert len(json.loads(kept.read_text())) == 3
    kept.write_text("{ torn")
    assert _lanes.choose_lanes(config, parts, device) == first
    assert len(asked) == 6


def test_a_real_measurement():
    parts = trainer(70, lanes=70).parts
    assert _lanes._steps_per_second(parts, 16, jax.devices()[0]) > 0
