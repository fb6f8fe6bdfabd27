r"""Exact FedNPG: every worker sends its policy gradient and its Fisher matrix, and the server solves.

With the means over workers :math:`g` and :math:`H`, and a damping :math:`\lambda`, a round steps by

.. math::
    \alpha\, y, \qquad y = (H + \lambda I)^{-1} g

or, where ``kl_step`` is set, by the multiple of y whose length in the norm of H is :math:`\alpha`: the mean divergence
KL of the policies before and after is about :math:`\alpha^2 / 2`. A message has d(d + 1)/2 + d numbers for d
parameters: what FedNPG-ADMM saves, and is compared with. The damping is decided here.

References:
  Lan, Wang, Anderson, Brinton & Aggarwal, `Improved Communication Efficiency in Federated Natural Policy Gradient via
  ADMM-based Gradient Updates <https://arxiv.org/abs/2310.19807>`_, 2023
"""

import dataclasses
import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from nigt_jax.config import FednpgExact, MethodConfig
from nigt_jax.methods._method import (
    Contributions,
    Method,
    Progress,
    StepHyperparameters,
    WorkerSide,
    as_sent,
    step_hyperparameters,
)
from nigt_jax.methods._schedules import SYNCHRONOUS


@functools.partial(jax.tree_util.register_dataclass, data_fields=["step", "damping"], meta_fields=["kl_step"])
@dataclasses.dataclass(frozen=True)
class ExactHyperparameters:
    """Hyperparameters of exact FedNPG; traced, but for the kind of the step.

    Attributes:
      step: the learning rate and its schedule.
      damping: the multiple of the identity that is added to the Fisher matrix.
      kl_step: whether the learning rate is a length in the norm of the Fisher matrix.
    """

    step: StepHyperparameters
    damping: Any  # Float[""]
    kl_step: bool

    def at(self, now: Progress) -> "ExactHyperparameters":
        """Those of the update of a run that is so far."""
        return dataclasses.replace(self, step=self.step.at(now))


def multiple_of_length(length: Float[Array, ""], square: Float[Array, ""]) -> Float[Array, ""]:
    """The factor that gives a vector a length; 0 for one without any, which stays.

    Args:
      length: the length wanted.
      square: the vector's squared length, in whatever norm.
    """
    there = square > 0
    return jnp.where(there, length / jnp.sqrt(jnp.where(there, square, 1)), 0)


def along_solution(hyperparameters: ExactHyperparameters) -> optax.GradientTransformationExtraArgs:
    """Steps along the solution of the workers' mean system, of which the matrix comes beside the gradient."""

    def init(params: Any) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(descent: Any, state: Any, params: Any = None, *, fisher: Array, **extra: Any) -> tuple[Any, Any]:
        del params, extra
        gradient = jax.tree.map(jnp.negative, descent)  # the update is told what goes downhill
        flat, restore = ravel_pytree(gradient)
        damped = fisher + hyperparameters.damping * jnp.eye(flat.size)
        solution = jax.scipy.linalg.solve(damped, flat, assume_a="pos")
        factor = hyperparameters.step.learning_rate
        if hyperparameters.kl_step:
            factor = multiple_of_length(factor, jnp.vdot(solution, fisher @ solution))
        return restore(factor * solution), state

    return optax.GradientTransformationExtraArgs(init, update)


def contribute(
    workers: tuple[()], work: Any, told: tuple[()], hyperparameters: ExactHyperparameters
) -> tuple[Contributions, tuple[()]]:
    """Each worker's gradient, as in plain federated ascent.

    Args:
      workers: what workers keep, which is nothing.
      work: what they have computed, a :class:`nigt_jax.estimators.WorkUnits`, whose room imports physics.
      told: what the server has told beside the parameters: nothing.
      hyperparameters: the method's hyperparameters.
    """
    del told, hyperparameters
    gradients = work.gradients()
    return Contributions(gradients, jnp.ones(jax.tree.leaves(gradients)[0].shape[0], bool)), workers


def _matrices(work: Any, mean: Any, hyperparameters: ExactHyperparameters) -> dict[str, Any]:
    del mean, hyperparameters
    return {"fisher": work.fisher_matrices()}


def _keeps_nothing(
    workers: tuple[()], told: tuple[()], message: Any, uploads: Bool[Array, " workers"], hyperparameters: Any
) -> tuple[()]:
    del told, message, uploads, hyperparameters
    return workers


def _hyperparameters(section: MethodConfig) -> ExactHyperparameters:
    own = cast(FednpgExact, section)
    return ExactHyperparameters(step_hyperparameters(own), jnp.asarray(own.damping, jnp.float32), own.kl_step)


FEDNPG_EXACT = Method(
    schedule=SYNCHRONOUS,
    hyperparameters=_hyperparameters,
    update=along_solution,
    model=as_sent,
    worker=WorkerSide(
        init=lambda params, hyperparameters: (),
        told=lambda server: (),
        exchanges=lambda hyperparameters: (contribute,),
        known=_keeps_nothing,
        beside=lambda hyperparameters: _matrices,
    ),
)
