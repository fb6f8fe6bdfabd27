"""NIGT with a combination of the workers' messages that a few of them cannot spoil.

Every worker sends the mean of its own gradients, and the server combines the means by a rule of
:mod:`nigt_jax.transforms`. What a worker sends is a message of its own, so a dishonest one can be anything.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from nigt_jax.config import MethodConfig, RobustNigt
from nigt_jax.methods._method import (
    Contributions,
    Method,
    Progress,
    Rounds,
    StepHyperparameters,
    WorkerSide,
    step_hyperparameters,
)
from nigt_jax.transforms import (
    coordinate_median,
    filtered_mean,
    geometric_median,
    mean_around_median,
    multi_krum,
    nigt_eval_params,
    robust_mean,
    trimmed_mean,
)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["step", "tolerated", "radius"], meta_fields=["rule", "voices"]
)
@dataclasses.dataclass(frozen=True)
class RobustHyperparameters:
    """Hyperparameters of the robust methods; traced, but for the rule and whose voices count.

    Attributes:
      step: those of the NIGT step.
      tolerated: the share of voices that may be dishonest.
      radius: distance that honest means keep, for the rule that filters.
      rule: a key of :data:`RULES`.
      voices: "gradients" or "workers".
    """

    step: StepHyperparameters
    tolerated: Any  # Float[""]
    radius: Any  # Float[""]
    rule: str
    voices: str

    def at(self, now: Progress) -> "RobustHyperparameters":
        """Those of the update of a run that is so far."""
        return dataclasses.replace(self, step=self.step.at(now))


RULES: dict[str, Callable[[RobustHyperparameters], Any]] = {
    "mean": lambda own: trimmed_mean(0.0),
    "trimmed_mean": lambda own: trimmed_mean(own.tolerated),
    "coordinate_median": lambda own: coordinate_median(),
    "mean_around_median": lambda own: mean_around_median(own.tolerated),
    "multi_krum": lambda own: multi_krum(own.tolerated),
    "geometric_median": lambda own: geometric_median(),
    "filtered_mean": lambda own: filtered_mean(own.radius, own.tolerated),
}


def _contribute(workers: Any, work: Any, told: Any, hyperparameters: Any) -> tuple[Contributions, Any]:
    """Each worker's own mean, uploaded by whoever has computed something."""
    del told, hyperparameters
    return Contributions(work.gradients(), work.episodes > 0), workers


OWN_MEANS = WorkerSide(
    init=lambda params, own: (),
    told=lambda server: (),
    exchanges=lambda own: (_contribute,),
    known=lambda workers, *others: workers,
)
"""Workers that keep nothing, and send the mean of their own gradients."""


def robust_method(rounds: Rounds, update: Callable[[StepHyperparameters], Any]) -> Method:
    """The method of these rounds with this update."""
    return Method(
        schedule=rounds,
        hyperparameters=_hyperparameters,
        update=lambda own: update(own.step),
        model=nigt_eval_params,
        worker=OWN_MEANS,
        combine=_combine,
    )


def _combine(own: RobustHyperparameters, axis_name: Any) -> optax.GradientTransformationExtraArgs:
    return robust_mean(axis_name, RULES[own.rule](own), "gradients" if own.voices == "gradients" else "shards")


def _hyperparameters(section: MethodConfig) -> RobustHyperparameters:
    own = cast(RobustNigt, section)
    return RobustHyperparameters(
        step=step_hyperparameters(own),
        tolerated=jnp.asarray(own.tolerated, jnp.float32),
        radius=jnp.asarray(own.filter_radius, jnp.float32),
        rule=own.rule,
        voices=own.voices,
    )
