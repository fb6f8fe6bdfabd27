"""The number of lanes: measured where it matters, once, and kept."""

import dataclasses
import functools
import itertools
import json

import jax
import pytest
from probes import Quadratic

from nigt_jax.config import check_config
from nigt_jax.runtimes import SimulatedRuntime, _lanes, _simulated, make_parts, sizes_of


def runtime(batch_size, name="rennala_nigt", trajectories_per_gradient=1, workers=None, **training):
    method = {"name": name, "trajectories_per_gradient": trajectories_per_gradient}
    method |= {} if name == "afedpg" else {"batch_size": batch_size}
    return SimulatedRuntime(
        check_config(
            {
                "environment": {"name": "fast", "horizon": 3},
                "policy": {"hidden_sizes": [8]},
                "method": method,
                "workers": workers or {},
                "training": {"devices": 1, "platform": "cpu", **training},
            }
        ),
        Quadratic(),
    )


def thousand_to_be_measured():
    """Parts with a lane for every episode, and a configuration that leaves their number to a measurement."""
    made = runtime(1000, lanes="measured")
    training = dataclasses.replace(made.config.training, lanes="measured")
    return made.parts._replace(num_lanes=(1000,)), dataclasses.replace(made.config, training=training)


@pytest.fixture
def measured(monkeypatch):
    """What was measured, and what it is found to be."""
    rates = {16: 50.0, 64: 100.0, 256: 105.0}
    asked = []

    def rate(parts, lanes, devices):
        del parts, devices
        asked.append(lanes)
        return rates[lanes]

    monkeypatch.setattr(_lanes, "steps_per_second", rate)
    return rates, asked


def test_few_are_side_by_side_and_nothing_is_measured(measured):
    assert runtime(64).config.training.lanes == 64
    assert measured[1] == []


def test_what_was_asked_for_is_what_there_is(measured):
    made = runtime(1000, lanes=7)
    assert made.parts.num_lanes == (7,)
    made = runtime(1000, lanes=5000)
    assert made.parts.num_lanes == (1000,)
    assert made.config.training.lanes == 1000
    assert measured[1] == []


@pytest.mark.parametrize(
    ("ends", "narrows"),
    [
        ({"iterations": 2**19 // 3}, False),
        ({"iterations": 2**19 // 3 + 1}, True),
        ({"budget": f"{1000 * (2**19 // 3 + 1)} gradients"}, True),
        ({"budget": f"{3000 * (2**19 // 3)} env_steps"}, False),
        ({"budget": "5 simulated_time"}, True),
        ({"budget": "5 simulated_time", "iterations": 1000}, False),
        ({"iterations": 2**19 // 3, "block": 500}, True),  # two blocks a round
    ],
)
def test_the_last_episodes_of_a_long_run_have_fewer_lanes(ends, narrows):
    assert runtime(1000, lanes=100, **ends).parts.num_lanes == ((100, 25) if narrows else (100,))


def test_where_nothing_was_measured_nothing_is_compiled(measured):
    assert runtime(1000).config.training.lanes == 63  # 16 episodes for each
    assert measured[1] == []


def test_a_block_is_what_was_asked_for_or_what_memory_holds():
    assert runtime(1000, lanes=7).config.training.block == 1000
    made = runtime(1000, lanes=7, block=300)  # four equal parts
    assert (made.parts.episodes, made.config.training.block) == (250, 250)
    assert runtime(1000, lanes=7, block=300, devices=2).config.training.block == 250
    bytes_each = 4 * 3 * 3 + sizes_of(made.config, Quadratic()).first
    auto = dataclasses.replace(made.config, training=dataclasses.replace(made.config.training, block="auto"))
    of = lambda devices, each: make_parts(auto, Quadratic(), devices, memory=each * bytes_each).episodes
    assert of(1, 2 * 130) == 250
    assert of(2, 130) == 125  # both share it


def test_where_gradients_arrive_a_block_holds_whole_ones():
    arriving = functools.partial(runtime, 1, name="afedpg", trajectories_per_gradient=20, lanes=7)
    assert arriving().parts.episodes == 10 * 20
    assert arriving(block=75).parts.episodes == 3 * 20
    assert arriving(block=5).parts.episodes == 20


@pytest.mark.parametrize(("runs", "lanes"), [(2, 40), (4, 80), (8, 80)])
def test_of_many_runs_whose_gradients_arrive_half_the_places_are_empty(runs, lanes):
    one = runtime(1, name="afedpg", trajectories_per_gradient=2).config  # ten workers, two episodes of each
    one = dataclasses.replace(one, training=dataclasses.replace(one.training, lanes="auto", block="auto"))
    made = SimulatedRuntime(one, Quadratic(), runs=[dataclasses.replace(one, seed=k) for k in range(runs)])
    assert made.parts.num_lanes[0] == lanes


def test_observations_that_end_with_a_bit_are_measured_with_it():
    flips = {"count": 2, "environments": [{"workers": [2], "flip_observation": True}]}
    assert runtime(70, workers=flips, lanes="measured").parts.num_lanes[0] > 1


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
    assert runtime(1000, lanes="measured").config.training.lanes == lanes


@pytest.mark.usefixtures("measured")
def test_episodes_of_the_same_length_leave_no_lane_idle():
    for episodes, asked in itertools.product((65, 100, 150, 700), ("auto", "measured")):
        lanes = runtime(episodes, lanes=asked).config.training.lanes
        assert episodes > lanes * (-(-episodes // lanes) - 1)
        assert -(-episodes // lanes) * lanes - episodes < -(-episodes // lanes)


def test_it_is_measured_once_for_an_environment_with_a_name(measured, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parts, config = thousand_to_be_measured()
    asked = measured[1]
    asked.clear()
    devices = jax.devices()[:1]
    first = _lanes.choose_lanes(config, parts, devices)
    assert asked == [16, 64, 256]
    assert _lanes.choose_lanes(config, parts, devices) == first
    assert asked == [16, 64, 256]
    auto = dataclasses.replace(config, training=dataclasses.replace(config.training, lanes="auto"))
    measured[0][256] = 1000.0  # nobody looks again
    assert _lanes.choose_lanes(auto, parts, devices) == first
    kept = tmp_path / "nigt_jax" / "lanes.json"
    assert len(json.loads(kept.read_text())) == 3
    measured[0][256] = 105.0
    kept.write_text("{ torn")
    assert _lanes.choose_lanes(config, parts, devices) == first
    assert len(asked) == 6


@pytest.mark.parametrize("spoiled", ["null", "true", "[1.0]", '"fast"', "NaN", "-1.0", "1e999", "7" * 400])
def test_an_entry_that_is_no_rate_is_as_if_absent(measured, monkeypatch, tmp_path, spoiled):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parts, config = thousand_to_be_measured()
    devices, kept = jax.devices()[:1], tmp_path / "nigt_jax" / "lanes.json"
    first = _lanes.choose_lanes(config, parts, devices)
    spoilt = dict(json.loads(kept.read_text()), a=None)
    one = list(spoilt)[1]
    kept.write_text(json.dumps(spoilt).replace(json.dumps({one: spoilt[one]})[1:-1], f'"{one}": {spoiled}'))
    measured[1].clear()
    assert _lanes.choose_lanes(config, parts, devices) == first
    assert measured[1] == [64]  # the others are still known
    for whole in ("null", "[1.0]", "3", '{"a": null}'):
        kept.write_text(whole)
        measured[1].clear()
        _lanes.choose_lanes(config, parts, devices)
        assert len(measured[1]) == 3


def test_it_is_measured_again_where_something_else_would_come_out(measured, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parts, config = thousand_to_be_measured()
    asked, devices = measured[1], jax.devices()[:1]
    asked.clear()
    choose = lambda parts: _lanes.choose_lanes(config, parts, devices)
    changes = {
        "version": lambda: monkeypatch.setattr("nigt_jax.__version__", "0.0.7"),
        "code": lambda: monkeypatch.setattr(_lanes.Path, "read_bytes", lambda path: b"other code"),
    }
    choose(parts)
    choose(parts._replace(horizon=2))
    assert asked == 2 * [16, 64, 256]
    for change in changes.values():
        change()
        _lanes._code.cache_clear()
        asked.clear()
        choose(parts)
        assert asked == [16, 64, 256]
    _lanes._code.cache_clear()


@pytest.mark.parametrize(("name", "kept"), [("fast", True), ("probes:Quadratic", False)])
def test_code_of_the_user_may_change_unseen(monkeypatch, name, kept):
    asked = []
    monkeypatch.setattr(_simulated, "choose_lanes", lambda *of, keep: asked.append(keep) or 7)
    training = {"devices": 1, "platform": "cpu"}
    SimulatedRuntime(
        check_config({"environment": {"name": name}, "method": {"batch_size": 1000}, "training": training})
    )
    assert asked == [kept]


def test_a_real_measurement():
    parts = runtime(70, lanes=70).parts
    assert _lanes.steps_per_second(parts, 16, jax.devices()[:2]) > 0
