"""An evaluation in the program of training plays the episodes that it plays by itself, however they are split up."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from probes import EndsWhenGood

from nigt_jax.config import check_config
from nigt_jax.methods import iterate
from nigt_jax.runtimes import SimulatedRuntime
from nigt_jax.training import evaluate, stream

EPISODES = 25


def config(devices=1, workers=None, lanes=18):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 6},
            "policy": {"hidden_sizes": [8]},
            "method": {"batch_size": 36, "learning_rate": 0.5},
            "workers": {"count": 2} | (workers or {}),
            "training": {"chunk": 2, "devices": devices, "lanes": lanes, "platform": "cpu"},
            "evaluation": {"episodes": EPISODES},
        }
    )


def by_itself(runtime, state):
    """The same evaluation as a program of its own, on one device."""
    parts, key = runtime.parts._replace(axis=None), stream(runtime.config.evaluation.seed, "evaluation")
    state, tuned = jax.device_put(jax.device_get((runtime.unplaced(state), runtime.hyperparameters)))
    model = jax.vmap(functools.partial(iterate, parts.method))(state.server)
    play = functools.partial(evaluate, parts, EPISODES)
    return jax.jit(play)(model, state.normalizer, key, tuned.variation, tuned.charge(state.lowest))


FLIPS = {"environments": [{"workers": [2], "flip_observation": True}]}


@pytest.mark.parametrize(
    ("devices", "workers", "blocks"),
    [
        pytest.param(1, None, 1, marks=pytest.mark.slow),
        pytest.param(1, FLIPS, 2, marks=pytest.mark.slow),
        (2, FLIPS, 2),
        (4, FLIPS, 2),
    ],
)
def test_in_blocks_of_training(devices, workers, blocks):
    """Two worlds with 25 episodes each; the last block is not full, and on four devices lanes are too few."""
    runtime = SimulatedRuntime(config(devices, workers), EndsWhenGood())
    here = -(-EPISODES * (1 if workers is None else 2) // devices)
    assert -(-here // runtime.parts.episodes) == blocks
    state, _ = runtime.run(runtime.initial_state(), 2)
    played, alone = runtime._played(state), by_itself(runtime, state)
    number = alone.lengths.shape[1]
    assert len(set(np.asarray(alone.lengths[0]).tolist())) > 2  # they differ
    np.testing.assert_array_equal(played.lengths[:, :number], alone.lengths)
    np.testing.assert_allclose(played.returns[:, :number], alone.returns, rtol=1e-6)


@pytest.mark.slow
def test_of_the_runs_that_are_asked_for():
    cfg = config()
    runs = [dataclasses.replace(cfg, seed=seed) for seed in range(3)]
    runtime = SimulatedRuntime(cfg, EndsWhenGood(), runs=runs)
    state, _ = runtime.run(runtime.initial_state(), 2)
    everyone, some = runtime.evaluate(state), runtime.evaluate(state, [True, False, True])
    assert (some[0], some[2]) == (everyone[0], everyone[2])
    assert everyone[0] != everyone[1]
    alone = by_itself(runtime, state)
    np.testing.assert_allclose([one["return_mean"] for one in everyone], alone.returns.mean(axis=1), rtol=1e-6)


def test_a_state_is_not_used_up_and_rounds_after_it_are_the_same():
    runtime = SimulatedRuntime(config(), EndsWhenGood())
    state = runtime.initial_state()
    first = runtime.evaluate(state)
    assert runtime.evaluate(state) == first
    _, metrics = runtime.run(state, 2)
    _, without = runtime.run(runtime.initial_state(), 2)
    np.testing.assert_array_equal(metrics.gradient_norm, without.gradient_norm)
