r"""LAPG: lazily aggregated policy gradient, after Chen, Zhang, Giannakis and Basar.

Every worker computes a gradient in every round, and uploads how it differs from the one that it uploaded last only if
that is more than the last steps and the noise explain. The server keeps the mean of what was uploaded last:

.. math::
    \hat\nabla_k = \hat\nabla_{k-1} + \frac{1}{n} \sum_{m \text{ uploads}} \delta_m, \qquad
    \theta_{k+1} = \theta_k + \alpha_k \hat\nabla_k

Worker m uploads :math:`\delta_m = g_m(\theta_k) - g_m^{\text{last}}` if

.. math::
    \|\delta_m\|^2 \ge \frac{\xi}{\alpha_k^2} \sum_{d=1}^{D} \|\theta_{k+1-d} - \theta_{k-d}\|^2 + c\, \frac{s_m^2}{N_m}

where :math:`s_m^2` is the variance of one episode's gradient: a given bound, or the sample variance among the worker's
own :math:`N_m`. Trajectories are fresh in every round, so that :math:`\|\delta_m\|^2` is about :math:`2 s_m^2 / N_m`
where nothing has moved: with c well below 2 a worker uploads nearly always, with c well above nearly never.

The published rule sums over workers where this one averages. So its step is n times smaller, with a prefactor of
:math:`1 / (\alpha^2 n^2)`: the same threshold. The theory's noise is a bound with high probability, :math:`c = 6` and
:math:`s_m^2 = 2 \log(2K / \delta) V_m^2`. What could not be read in the source is decided here: the sample variance;
every worker uploads in the first round; one that was silent for ``max_silence`` rounds uploads in the next.

References:
  Chen, Zhang, Giannakis & Basar, `Communication-Efficient Policy Gradient Methods for Distributed Reinforcement
  Learning <https://arxiv.org/abs/1812.03239>`_, 2021
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.config import Lapg, MethodConfig
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
from nigt_jax.transforms import tree_norm


class LapgHyperparameters(NamedTuple):
    """Hyperparameters of LAPG; traced, but for the length of the window.

    Attributes:
      step: the learning rate and its schedule.
      trigger_weights: xi of each squared step, the newest first; shape [window].
      noise_weight: c, the weight of the variance of a worker's gradient.
      noise_variance: s^2 where it is given; NaN for the sample variance.
      max_silence: rounds after which a silent worker uploads whatever its gradient is.
    """

    step: StepHyperparameters
    trigger_weights: Float[Array, " window"]
    noise_weight: Float[Array, ""]
    noise_variance: Float[Array, ""]
    max_silence: Int[Array, ""]

    def at(self, now: Progress) -> "LapgHyperparameters":
        """Those of the update of a run that is so far."""
        return self._replace(step=self.step.at(now))


class LapgServer(NamedTuple):
    """The update's state.

    Attributes:
      count: updates made.
      gradient: mean of the gradients that workers uploaded last, of the loss; like the parameters.
      squared_steps: squared lengths of the last steps of the parameters, the newest first; shape [window].
    """

    count: Int[Array, ""]  # type: ignore[assignment]  # shadows tuple.count
    gradient: Any
    squared_steps: Float[Array, " window"]


class LapgNews(NamedTuple):
    """What workers have to know of the server beside the parameters.

    Attributes:
      count: updates made.
      squared_steps: squared lengths of the last steps of the parameters, the newest first; shape [window].
    """

    count: Int[Array, ""]  # type: ignore[assignment]  # shadows tuple.count
    squared_steps: Float[Array, " window"]


class LapgWorker(NamedTuple):
    """What a worker keeps; leaves get a leading axis of workers.

    Attributes:
      uploaded: the gradient that the server knows of it, like the parameters.
      silent: rounds since it uploaded.
    """

    uploaded: Any
    silent: Int[Array, "*workers"]


def lazily_aggregated(hyperparameters: LapgHyperparameters) -> optax.GradientTransformationExtraArgs:
    """Descent along the sum of all innovations so far; its updates are the workers' mean innovation of the loss."""
    window = hyperparameters.trigger_weights.shape[0]

    def init(params: Any) -> LapgServer:
        return LapgServer(jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, params), jnp.zeros(window))

    def update(innovation: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        del params, extra
        gradient = jax.tree.map(jnp.add, state.gradient, innovation)
        learning_rate = hyperparameters.step.learning_rate
        moves = jax.tree.map(lambda g: -learning_rate * g, gradient)
        steps = jnp.concatenate([jnp.square(tree_norm(moves))[None], state.squared_steps[:-1]])
        return moves, LapgServer(state.count + 1, gradient, steps)

    return optax.GradientTransformationExtraArgs(init, update)


def contribute(
    workers: LapgWorker, work: Any, told: LapgNews, hyperparameters: LapgHyperparameters
) -> tuple[Contributions, LapgWorker]:
    """Each worker's innovation, and whether it is worth an upload.

    Args:
      workers: what workers keep.
      work: what they have computed, a :class:`nigt_jax.estimators.WorkUnits`, whose room imports physics.
      told: what they know of the server.
      hyperparameters: the method's hyperparameters.
    """
    gradients = work.gradients()
    innovation = jax.tree.map(jnp.subtract, gradients, workers.uploaded)
    learning_rate = hyperparameters.step.learning_rate
    moved = jnp.sum(hyperparameters.trigger_weights * told.squared_steps) / jnp.square(learning_rate)
    given = hyperparameters.noise_variance
    variances = jnp.where(jnp.isnan(given), work.variances(), given / work.episodes.astype(jnp.float32))
    threshold = moved + hyperparameters.noise_weight * variances
    due = (told.count == 0) | (workers.silent >= hyperparameters.max_silence)
    uploads = due | (jnp.square(jax.vmap(tree_norm)(innovation)) >= threshold)
    return Contributions(innovation, uploads), known(workers, told, innovation, uploads, hyperparameters)


def known(
    workers: LapgWorker, told: Any, innovation: Any, uploads: Bool[Array, " workers"], hyperparameters: Any
) -> LapgWorker:
    """What workers keep after a round, as both they and the server compute it, to the last bit."""
    del told, hyperparameters

    def newest(old: Array, change: Array) -> Array:
        return jnp.where(uploads.reshape(-1, *[1] * (old.ndim - 1)), old + change, old)

    uploaded = jax.tree.map(newest, workers.uploaded, innovation)
    return LapgWorker(uploaded, jnp.where(uploads, 0, workers.silent + 1))


def _news(server: ServerState) -> LapgNews:
    own = cast(LapgServer, server.opt_state)
    return LapgNews(own.count, own.squared_steps)


def _begin(params: Any, hyperparameters: LapgHyperparameters) -> LapgWorker:
    del hyperparameters
    return LapgWorker(jax.tree.map(jnp.zeros_like, params), jnp.zeros([], jnp.int32))


def _hyperparameters(section: MethodConfig) -> LapgHyperparameters:
    lapg = cast(Lapg, section)
    never = jnp.iinfo(jnp.int32).max
    return LapgHyperparameters(
        step=step_hyperparameters(lapg),
        trigger_weights=jnp.full(lapg.trigger_window, lapg.trigger_weight, jnp.float32),
        noise_weight=jnp.asarray(lapg.noise_weight, jnp.float32),
        noise_variance=jnp.asarray(jnp.nan if lapg.noise_variance is None else lapg.noise_variance, jnp.float32),
        max_silence=jnp.asarray(never if lapg.max_silence is None else lapg.max_silence, jnp.int32),
    )


def _known_gradient(opt_state: Any, aggregate: Any) -> Any:
    """The server steps along the gradient that it knows, not along the innovation that it was just told."""
    del aggregate
    return cast(LapgServer, opt_state).gradient


LAPG = Method(
    schedule=SYNCHRONOUS,
    hyperparameters=_hyperparameters,
    update=lazily_aggregated,
    model=as_sent,
    worker=WorkerSide(init=_begin, told=_news, exchanges=lambda hyperparameters: (contribute,), known=known),
    direction=_known_gradient,
)
