"""The configuration as arguments of a program: what runs may differ in and still share one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nigt_jax.clocks import Clock, make_clock
from nigt_jax.config import Config, dotted, family, to_dict, traced_settings
from nigt_jax.environments import Variation, make_variation
from nigt_jax.errors import UserError
from nigt_jax.estimators import Estimator
from nigt_jax.methods import Method
from nigt_jax.policies import Policy
from nigt_jax.training._attacks import Attacks, make_attacks


class Hyperparameters(NamedTuple):
    """Every hyperparameter that does not decide a shape: traced arguments, never constants of the program.

    These are one run's; those of many runs have a leading axis of runs.

    Attributes:
      schedule: number of the method's schedule among those of the program.
      step: the method's own, such as :class:`nigt_jax.methods.StepHyperparameters`.
      estimator: the estimator's own, such as :class:`nigt_jax.estimators.EstimatorHyperparameters`.
      clock: how long workers take.
      variation: how workers' environments differ; leaves have a leading axis of workers. None where they do not differ.
      attacks: what workers do that are not honest; None where all are.
      batch_size: gradients counted in a round.
      initial_batch_size: gradients counted in the first round.
      penalty: loss for every step that an episode misses because the physics broke; NaN for the default of
        :meth:`charge`.
    """

    schedule: Int[Array, ""]
    step: Any
    estimator: Any
    clock: Clock
    variation: Variation | None
    attacks: Attacks | None
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


def make_hyperparameters(
    config: Config, policy: Policy, estimator: Estimator, method: Method, largest: int, clock: Clock | None = None
) -> Hyperparameters:
    """The configuration's hyperparameters as arrays.

    Args:
      config: one run's configuration.
      policy: its policy; times may depend on the number of its parameters.
      estimator: its estimator.
      method: its method, or that of all runs that share the program.
      largest: number of gradients in the largest round of all runs that share the program.
      clock: how long workers take, instead of what the configuration says.
    """
    penalty, parameters = config.environment.divergence_penalty, number_of_parameters(policy)
    return Hyperparameters(
        schedule=jnp.asarray(method.schedule.number_of(config.method.name), jnp.int32),
        step=method.hyperparameters(config.method),
        estimator=estimator.hyperparameters(config.estimator),
        clock=make_clock(config.workers, parameters, largest, method.plays) if clock is None else clock,
        variation=make_variation(config.workers),
        attacks=make_attacks(config.workers),
        batch_size=jnp.asarray(config.method.gradients_per_update, jnp.int32),
        initial_batch_size=jnp.asarray(config.method.gradients_in_first_update, jnp.int32),
        penalty=jnp.asarray(jnp.nan if penalty is None else penalty, jnp.float32),
    )


def number_of_parameters(policy: Policy) -> int:
    """The policy's size d."""
    return sum(x.size for x in jax.tree.leaves(jax.eval_shape(policy.init, jax.random.key(0))))


def stacked_hyperparameters(
    runs: Sequence[Config],
    policy: Policy,
    estimator: Estimator,
    method: Method,
    clock: Clock | None = None,
    largest: int = 0,
) -> Hyperparameters:
    """The hyperparameters of runs that share a program, with a leading axis of runs.

    Args:
      runs: their configurations.
      policy: as of :func:`make_hyperparameters`.
      estimator: likewise.
      method: likewise.
      clock: likewise.
      largest: number of gradients in the largest round that the program is made for, if these have none as large.

    Raises:
      UserError: workers of different runs have settings of different kinds.
    """
    largest = max(largest, *(run.method.largest_batch for run in runs))
    first, *others = all_runs = [make_hyperparameters(run, policy, estimator, method, largest, clock) for run in runs]
    for number, own in enumerate(others, start=1):
        if _shapes(own) != _shapes(first):
            raise UserError(
                f"runs[{number}].workers: differ from those of runs[0] in kind; allowed in one program: as many, with "
                "other times, speeds and factors of the same kind, or recordings of as many rows"
            )
    return jax.tree.map(lambda *x: jnp.stack(x), *all_runs)


def check_runs(config: Config, runs: Sequence[Config]) -> None:
    """Refuses runs that differ from the configuration of all in more than arguments of the program.

    `config` alone says how runs are computed and kept; what `runs` say of it means nothing. Differences between workers
    are judged when their hyperparameters are made.

    Raises:
      UserError: names the first setting in which a run differs.
    """
    wanted, names = dotted(to_dict(config)), family(config.method.name)
    for number, run in enumerate(runs):
        traced = traced_settings(run)
        for key, value in dotted(to_dict(run)).items():
            free = key in traced or key.startswith(("workers.", "training.", "checkpoint.", "evaluation.every"))
            if key == "method.name" and value in names:
                continue
            if not free and value != wanted.get(key):
                alike = f", in method.name ({', '.join(names)})" if len(names) > 1 else ""
                raise UserError(
                    f"runs[{number}].{key}: got {value}, but the configuration of all has {wanted.get(key)}; runs in "
                    f"one program may differ in {', '.join(traced)}{alike} and in their workers"
                )


def _shapes(tree: Any) -> tuple[Any, list[tuple[int, ...]]]:
    return jax.tree.structure(tree), [x.shape for x in jax.tree.leaves(tree)]
