r"""FedNPG-ADMM: a natural gradient of all workers without anybody's Fisher matrix, after Lan et al.

The direction wanted is :math:`(\sum_i H_i)^{-1} \sum_i g_i`, with worker i's policy gradient and Fisher matrix. It
solves a quadratic programme that is split by the alternating direction method of multipliers. With consensus y,
multipliers :math:`\lambda_i` and a penalty :math:`\rho` a step is

.. math::
    y_i = (H_i + \rho I)^{-1} (g_i - \lambda_i + \rho y), \qquad
    y^+ = \frac{1}{n} \sum_i \left( y_i + \lambda_i / \rho \right), \qquad
    \lambda_i^+ = \lambda_i + \rho (y_i - y^+)

and after one or more steps the parameters move by :math:`\alpha y`; or, where ``kl_step`` is set, by the multiple of y
whose length in the norm of the workers' mean Fisher matrix is :math:`\alpha`, for a mean divergence KL of about
:math:`\alpha^2 / 2`. The length of y is exact: workers know y once they are told the new consensus, and each then sends
one number, :math:`y^T H_i y`. A worker sends one vector,
:math:`m_i = y_i + \lambda_i / \rho`, where exact FedNPG sends a matrix. It solves its system by conjugate gradients,
whose products with :math:`H_i + \rho I` never form it. Multipliers and consensus are carried over from round to round.

From the three lines follows :math:`\lambda_i^+ = \rho (m_i - y^+)`: a worker only has to keep what it sent last. Where
the multiplier moves before the message is sent, by the consensus of the step before ("agent first"), it is
:math:`\lambda_i^+ = (\rho (m_i - y) + \lambda_i) / 2`, which is kept instead. Either way the server can follow it.

The source's indices, its penalty and its numbers of steps could not be read; they are decided here.

References:
  Lan, Wang, Anderson, Brinton & Aggarwal, `Improved Communication Efficiency in Federated Natural Policy Gradient via
  ADMM-based Gradient Updates <https://arxiv.org/abs/2310.19807>`_, 2023
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from nigt_jax.config import FednpgAdmm, MethodConfig
from nigt_jax.methods._fednpg_exact import multiple_of_length
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
from nigt_jax.methods._server import ServerState


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "penalty", "agent_first"],
    meta_fields=["cg_iterations", "admm_steps", "kl_step"],
)
@dataclasses.dataclass(frozen=True)
class AdmmHyperparameters:
    """Hyperparameters of FedNPG-ADMM; traced, but for the numbers of iterations and the kind of the step.

    Attributes:
      step: the learning rate and its schedule.
      penalty: rho, which also damps the Fisher matrices.
      agent_first: whether multipliers move before a message is sent.
      cg_iterations: conjugate-gradient iterations of a worker's system.
      admm_steps: steps of the consensus in a round, each an exchange.
      kl_step: whether the learning rate is a length in the norm of the mean Fisher matrix.
    """

    step: StepHyperparameters
    penalty: Any  # Float[""]
    agent_first: Any  # Bool[""]
    cg_iterations: int
    admm_steps: int
    kl_step: bool

    def at(self, now: Progress) -> "AdmmHyperparameters":
        """Those of the update of a run that is so far."""
        return dataclasses.replace(self, step=self.step.at(now))


class AdmmServer(NamedTuple):
    """The update's state: the consensus, an ascent direction like the parameters."""

    consensus: Any


class AdmmWorker(NamedTuple):
    """What a worker keeps, like the parameters: the message that it sent last; or its multiplier, agent first."""

    kept: Any


def along_consensus(hyperparameters: AdmmHyperparameters) -> optax.GradientTransformationExtraArgs:
    """Steps along the workers' mean message, which is the new consensus."""

    def init(params: Any) -> AdmmServer:
        return AdmmServer(jax.tree.map(jnp.zeros_like, params))

    def update(descent: Any, state: Any, params: Any = None, **beside: Any) -> tuple[Any, Any]:
        del state, params
        consensus = jax.tree.map(jnp.negative, descent)  # the update is told what goes downhill
        factor = hyperparameters.step.learning_rate
        if hyperparameters.kl_step:
            factor = multiple_of_length(factor, beside["curvature"])
        return jax.tree.map(lambda y: factor * y, consensus), AdmmServer(consensus)

    return optax.GradientTransformationExtraArgs(init, update)


def contribute(
    workers: AdmmWorker, work: Any, consensus: Any, hyperparameters: AdmmHyperparameters
) -> tuple[Contributions, AdmmWorker]:
    """One step of every worker; all of them upload.

    Args:
      workers: what workers keep.
      work: what they have computed, a :class:`nigt_jax.estimators.WorkUnits`, whose room imports physics.
      consensus: what the server has told, like the parameters.
      hyperparameters: the method's hyperparameters.
    """
    rho, gradients = hyperparameters.penalty, work.gradients()
    mine = jax.tree.map(lambda y, like: jnp.broadcast_to(y, like.shape), consensus, gradients)
    multiplier = _multiplier(workers, mine, hyperparameters)
    wanted = jax.tree.map(lambda g, dual, y: g - dual + rho * y, gradients, multiplier, mine)

    def apply(vectors: Any) -> Any:
        return jax.tree.map(lambda h, v: h + rho * v, work.fisher_vector_products(vectors), vectors)

    solution = conjugate_gradients(apply, wanted, mine, hyperparameters.cg_iterations)
    moved = jax.tree.map(lambda dual, s, y: dual + rho * (s - y), multiplier, solution, mine)
    sent_with = jax.tree.map(functools.partial(jnp.where, hyperparameters.agent_first), moved, multiplier)
    message = jax.tree.map(lambda s, dual: s + dual / rho, solution, sent_with)
    number = jax.tree.leaves(gradients)[0].shape[0]
    uploads = jnp.ones(number, bool)
    return Contributions(message, uploads), known(workers, mine, message, uploads, hyperparameters)


def curvatures(work: Any, consensus: Any, hyperparameters: AdmmHyperparameters) -> dict[str, Any]:
    """Each worker's squared length of the consensus in the norm of its Fisher matrix; arguments as above."""
    del hyperparameters
    mine = jax.tree.map(lambda y, like: jnp.broadcast_to(y, like.shape), consensus, work.params)
    return {"curvature": _dot(mine, work.fisher_vector_products(mine))}


def known(
    workers: AdmmWorker, consensus: Any, message: Any, uploads: Bool[Array, " workers"], hyperparameters: Any
) -> AdmmWorker:
    """What workers keep after a step, as both they and the server compute it."""
    rho = hyperparameters.penalty

    def after(old: Array, y: Array, sent: Array) -> Array:
        moved = jnp.where(hyperparameters.agent_first, (rho * (sent - y) + old) / 2, sent)
        return jnp.where(uploads.reshape(-1, *[1] * (old.ndim - 1)), moved, old)

    heard = jax.tree.map(lambda y, like: jnp.broadcast_to(y, like.shape), consensus, message)
    return AdmmWorker(jax.tree.map(after, workers.kept, heard, message))


def conjugate_gradients(apply: Callable[[Any], Any], wanted: Any, start: Any, iterations: int) -> Any:
    """Solves a positive definite system for every worker at once, each with step lengths of its own.

    Args:
      apply: maps vectors to products, trees whose leaves have a leading axis of workers.
      wanted: the right-hand sides, likewise.
      start: where to begin.
      iterations: at most so many directions; a worker that has solved its system stays where it is.

    References:
      Hestenes & Stiefel, Methods of Conjugate Gradients for Solving Linear Systems, 1952
    """
    residual = jax.tree.map(jnp.subtract, wanted, apply(start))

    def one(_: Array, now: tuple[Any, Any, Any, Array]) -> tuple[Any, Any, Any, Array]:
        solution, residual, direction, square = now
        product = apply(direction)
        curvature = _dot(direction, product)
        length = jnp.where(curvature > 0, square / jnp.where(curvature > 0, curvature, 1), 0)
        solution = _plus(solution, length, direction)
        residual = _plus(residual, -length, product)
        new = _dot(residual, residual)
        turn = jnp.where(square > 0, new / jnp.where(square > 0, square, 1), 0)
        return solution, residual, _plus(residual, turn, direction), new

    first = (start, residual, residual, _dot(residual, residual))
    return jax.lax.fori_loop(0, iterations, one, first)[0]


def _dot(one: Any, other: Any) -> Float[Array, " workers"]:
    """Inner products of the workers' vectors."""
    products = jax.tree.map(lambda a, b: (a * b).reshape(a.shape[0], -1).sum(1), one, other)
    return jnp.stack(jax.tree.leaves(products)).sum(0)


def _plus(one: Any, lengths: Float[Array, " workers"], other: Any) -> Any:
    return jax.tree.map(lambda a, b: a + lengths.reshape(-1, *[1] * (b.ndim - 1)) * b, one, other)


def _multiplier(workers: AdmmWorker, consensus: Any, hyperparameters: AdmmHyperparameters) -> Any:
    def of(kept: Array, y: Array) -> Array:
        return jnp.where(hyperparameters.agent_first, kept, hyperparameters.penalty * (kept - y))

    return jax.tree.map(of, workers.kept, consensus)


def _consensus(server: ServerState) -> Any:
    return cast(AdmmServer, server.opt_state).consensus


def _begin(params: Any, hyperparameters: AdmmHyperparameters) -> AdmmWorker:
    del hyperparameters
    return AdmmWorker(jax.tree.map(jnp.zeros_like, params))


def _hyperparameters(section: MethodConfig) -> AdmmHyperparameters:
    own = cast(FednpgAdmm, section)
    return AdmmHyperparameters(
        step=step_hyperparameters(own),
        penalty=jnp.asarray(own.penalty, jnp.float32),
        agent_first=jnp.asarray(own.dual_order == "agent_first"),
        cg_iterations=own.cg_iterations,
        admm_steps=own.admm_steps,
        kl_step=own.kl_step,
    )


FEDNPG_ADMM = Method(
    schedule=SYNCHRONOUS,
    hyperparameters=_hyperparameters,
    update=along_consensus,
    model=as_sent,
    worker=WorkerSide(
        init=_begin,
        told=_consensus,
        exchanges=lambda hyperparameters: (contribute,) * hyperparameters.admm_steps,
        known=known,
        beside=lambda hyperparameters: curvatures if hyperparameters.kl_step else None,
    ),
)
