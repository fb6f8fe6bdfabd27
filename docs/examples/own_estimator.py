"""An estimator of one's own: every step is weighed by its return to go, less the batch's mean at the same time.

An estimator gives the factor of each step's score. This mean has seen the step's own return, so the gradient is shorter
than it should be, by 1 - 1/N of N episodes: nothing that a normalised step would notice.
"""

import jax.numpy as jnp
from own_environment import Docking  # the file beside this one

import nigt_jax
from nigt_jax.collectives import sum_over
from nigt_jax.estimators import Estimator
from nigt_jax.runtimes import SimulatedRuntime


def coefficients(state, trajectories, normalizer, hyperparameters, axis_name):  # noqa: ARG001
    """[time, episodes]; sums over `axis_name` reach the episodes that other devices have played."""
    rewards = trajectories.rewards(jnp.ones_like(hyperparameters.discount))
    to_go = jnp.flip(jnp.cumsum(jnp.flip(rewards, 0), axis=0), 0)
    there = trajectories.alive().astype(jnp.float32)
    count, total = sum_over(axis_name, (there.sum(1), (there * to_go).sum(1)))
    return there * (to_go - (total / jnp.maximum(count, 1))[:, None])


less_the_mean = Estimator(
    init=lambda key, observation_size: (),
    coefficients=coefficients,
    learn=lambda state, *_: state,
)


def main():
    """Sixty rounds of Rennala NIGT with it."""
    settings = {"environment.horizon": 60, "policy.hidden_sizes": [32], "method.learning_rate": 0.2}
    settings |= {"method.batch_size": 20, "training.chunk": 60, "training.devices": 1}
    runtime = SimulatedRuntime(nigt_jax.load_config(overrides=settings), Docking(), estimator=less_the_mean)
    state = runtime.initial_state()
    before = runtime.evaluate(state)[0]["return_mean"]
    state, _ = runtime.run(state, 60)
    print(f"return {before:.1f} -> {runtime.evaluate(state)[0]['return_mean']:.1f}")


if __name__ == "__main__":
    main()
