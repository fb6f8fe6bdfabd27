"""The configuration as arguments of a program: what runs may differ in and still share one."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nigt_jax.clocks import Clock, make_clock
from nigt_jax.config import Config, EnvironmentChange, Method, Workers, dotted, to_dict
from nigt_jax.errors import UserError
from nigt_jax.estimators import EstimatorSettings
from nigt_jax.methods import StepSettings
from nigt_jax.rollout import Policy, Variation

_TRACED = (
    "seed",
    "environment.divergence_penalty",
    *(f"method.{name}" for name in ("learning_rate", "learning_rate_half_life", "momentum", "max_delay")),
    *(f"method.{name}" for name in ("batch_size", "initial_batch_size")),
    *(f"estimator.{name}" for name in ("discount", "gae_lambda", "critic_learning_rate")),
)


class Settings(NamedTuple):
    """Every hyperparameter that does not decide a shape: traced arguments, never constants of the program.

    Of one run; those of many have a leading axis of runs.

    Attributes:
      step: of the update.
      estimator: of the estimator.
      clock: how long workers take.
      variation: how workers' environments differ; leaves with a leading axis of workers, None where they do not.
      batch_size: gradients counted in a round.
      initial_batch_size: gradients counted in the first round.
      penalty: of every step that an episode misses because the physics broke; NaN for what :meth:`charge` says.
    """

    step: StepSettings
    estimator: EstimatorSettings
    clock: Clock
    variation: Variation | None
    batch_size: Int[Array, ""]
    initial_batch_size: Int[Array, ""]
    penalty: Float[Array, ""]

    def charge(self, lowest: Float[Array, "*runs"]) -> Float[Array, "*runs"]:
        """What an episode earns for every step that it misses because the physics broke.

        By default twice the lowest reward of a step that was met before, 0 at most. To break is then worse than the
        worst that could have followed, as far as that is known; and it is on the scale of the rewards, so that one
        broken episode among many does not decide a direction.
        """
        return jnp.where(jnp.isnan(self.penalty), 2 * lowest, -self.penalty)


def make_settings(config: Config, policy: Policy, largest: int) -> Settings:
    """The configuration's hyperparameters as arrays.

    Args:
      config: of one run.
      policy: times may depend on the number of its parameters.
      largest: number of gradients in a round of any run that is to share the program.
    """
    method, estimator, workers = config.method, config.estimator, config.workers
    penalty = config.environment.divergence_penalty
    parameters = sum(x.size for x in jax.tree.leaves(jax.eval_shape(policy.init, jax.random.key(0))))
    real = lambda x: jnp.asarray(x, jnp.float32)
    return Settings(
        step=make_step_settings(method),
        estimator=EstimatorSettings(
            discount=real(estimator.discount),
            gae_lambda=real(estimator.gae_lambda),
            critic_learning_rate=real(estimator.critic_learning_rate),
        ),
        clock=make_clock(workers, parameters, largest),
        variation=make_variation(workers),
        batch_size=jnp.asarray(method.batch_size, jnp.int32),
        initial_batch_size=jnp.asarray(method.initial_batch_size or method.batch_size, jnp.int32),
        penalty=real(jnp.nan if penalty is None else penalty),
    )


def make_step_settings(method: Method) -> StepSettings:
    """The hyperparameters of an update as arrays."""
    return StepSettings(
        learning_rate=jnp.asarray(method.learning_rate, jnp.float32),
        half_life=jnp.asarray(method.learning_rate_half_life or jnp.inf, jnp.float32),
        newest_weight=jnp.asarray(1 - method.momentum, jnp.float32),  # the difference in float64
        max_delay=jnp.asarray(method.max_delay, jnp.int32),
    )


def make_variation(workers: Workers) -> Variation | None:
    """How workers' environments differ, or None; where changes meet in one worker, their factors multiply."""
    if not workers.environments:
        return None

    def factors(of: Callable[[EnvironmentChange], float]) -> Array:
        values = np.ones(workers.count, np.float32)
        for change in workers.environments:
            values[np.asarray(change.workers, int) - 1] *= of(change)
        return jnp.asarray(values)

    weight = lambda name, change: change.reward.get(name, 1.0)
    names = sorted({name for change in workers.environments for name in change.reward})
    flips = any(change.flip_observation for change in workers.environments)
    return Variation(
        gravity=factors(lambda change: change.gravity),
        mass=factors(lambda change: change.mass),
        friction=factors(lambda change: change.friction),
        gain=factors(lambda change: change.actuator_gain),
        reward={name: factors(functools.partial(weight, name)) for name in names},
        flip=(1 - factors(lambda change: -1.0 if change.flip_observation else 1.0)) / 2 if flips else None,
    )


def stacked_settings(runs: Sequence[Config], policy: Policy) -> Settings:
    """The settings of runs that share a program, with a leading axis of runs.

    Raises:
      UserError: workers of different runs have settings of different kinds.
    """
    largest = max(max(c.method.batch_size, c.method.initial_batch_size or 0) for c in runs)
    first, *others = settings = [make_settings(c, policy, largest) for c in runs]
    kind = lambda tree: (jax.tree.structure(tree), [x.shape for x in jax.tree.leaves(tree)])
    for number, own in enumerate(others, start=1):
        if kind(own) != kind(first):
            raise UserError(
                f"runs[{number}].workers: differ from those of runs[0] in kind; allowed in one program: as many, with "
                "other times, speeds and factors of the same kind, or recordings of as many rows"
            )
    return jax.tree.map(lambda *x: jnp.stack(x), *settings)


def check_runs(config: Config, runs: Sequence[Config]) -> None:
    """UserError where a run differs from the configuration of all in more than what are arguments of the program.

    How runs are computed and kept is said once, by `config`; what `runs` say of it means nothing. In what their workers
    may differ is known only when their settings are made.
    """
    wanted = dotted(to_dict(config))
    for number, run in enumerate(runs):
        for key, value in dotted(to_dict(run)).items():
            free = key in _TRACED or key.startswith(("workers.", "training.", "checkpoint."))
            if not free and value != wanted.get(key):
                raise UserError(
                    f"runs[{number}].{key}: got {value}, but the configuration of all has {wanted.get(key)}; runs in "
                    f"one program may differ in {', '.join(_TRACED)} and in their workers"
                )
