"""Whether a trajectory is counted never depends on how it went."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood, linear_policy, play

import nigt_jax
from nigt_jax.config import check_config
from nigt_jax.runtimes import SimulatedRuntime

HORIZON, WORKERS, EACH = 6, 1000, 2
POLICY = linear_policy()


def test_the_counted_are_as_good_as_any():
    batch_size = 20_000
    cfg = check_config(
        {
            "environment": {"name": "fast", "horizon": HORIZON},
            "policy": {"normalize_observations": False},
            "estimator": {"name": "return_to_go"},
            "method": {"batch_size": batch_size, "learning_rate": 1e-6},
            "workers": {"count": 50, "noise": {"family": "exponential"}},
            "training": {"iterations": 1, "chunk": 1, "devices": 2, "platform": "cpu", "lanes": 500},
        }
    )
    runtime = SimulatedRuntime(cfg, EndsWhenGood(), policy=POLICY)
    runtime.compile()
    _, metrics = runtime.run(runtime.initial_state(), 1)
    error = 0.7 / np.sqrt(batch_size)  # the deviation of a return is below 0.7
    assert float(metrics.query_return_mean[0, 0]) == pytest.approx(
        EndsWhenGood.expected_return(POLICY, HORIZON), abs=4 * error
    )


def test_a_rule_that_counts_whoever_comes_first_is_caught():
    """The wrong rule: a gradient takes as long as its episode, so that those that end early are counted more often."""
    episodes = WORKERS * EACH
    keys = jax.random.split(jax.random.key(1), episodes)
    params = POLICY.init(jax.random.key(0))
    batch = play(EndsWhenGood(), POLICY, params, POLICY.init_normalizer(), keys, jnp.ones(episodes, bool), HORIZON)
    durations = batch.lengths.astype(jnp.float32).reshape(WORKERS, EACH)
    counts = nigt_jax.rennala_round(durations, episodes // 10).counts
    counted = np.asarray(jnp.arange(EACH)[None, :] < counts[:, None]).ravel()
    returns = np.asarray(batch.returns, np.float64)
    error = returns.std() / np.sqrt(counted.sum())
    assert abs(returns.mean() - EndsWhenGood.expected_return(POLICY, HORIZON)) < 4 * returns.std() / np.sqrt(episodes)
    assert abs(returns[counted].mean() - EndsWhenGood.expected_return(POLICY, HORIZON)) > 4 * error
