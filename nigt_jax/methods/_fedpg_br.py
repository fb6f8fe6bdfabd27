r"""FedPG-BR: a filter for the workers' means, then variance-reduced steps of the server.

Every worker sends the mean :math:`\mu_k` of B episodes' gradients at :math:`\theta_0`. The server leaves out those that
are far from most others, and starts from the mean :math:`\mu` of the rest. Then it takes :math:`N` steps, each with b
episodes :math:`\tau` of its own at the parameters :math:`\theta_n` that it has reached:

.. math::
    v_n = \frac{1}{b} \sum_\tau g(\tau | \theta_n) - \frac{1}{b} \sum_\tau \omega(\tau)\, g(\tau | \theta_0) + \mu,
    \qquad \theta_{n+1} = \theta_n + \alpha v_n, \qquad
    \omega(\tau) = \frac{p(\tau | \theta_0)}{p(\tau | \theta_n)}

So the expectation of :math:`v_n` differs from the gradient at :math:`\theta_n` as :math:`\mu` does from that at
:math:`\theta_0`, and its noise is small as long as the two are near. N is geometric on 1, 2, ... with a success of
b / (B + b), so (B + b) / b on average.

From the source's code: the filter, its two distances, that counting begins with 1, an end of the steps where weights
drift, and steps along the server's own gradient where nobody is trusted. From its theory: :math:`\omega` is the product
over an episode, where the code has single steps, or all b episodes together. Decided here: B is the same in all rounds;
N has a largest value; the weights whose drift ends the steps are those of whole episodes; ascent is plain, where the
code has Adam.

References:
  Fan et al., `Fault-Tolerant Federated Reinforcement Learning with Theoretical Guarantee
  <https://arxiv.org/abs/2110.14074>`_, 2021
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nigt_jax.config import FedpgBr, MethodConfig
from nigt_jax.methods._method import (
    Method,
    Progress,
    ServerPlan,
    ServerSide,
    StepHyperparameters,
    as_sent,
    step_hyperparameters,
)
from nigt_jax.methods._robust import OWN_MEANS
from nigt_jax.methods._schedules import SYNCHRONOUS
from nigt_jax.transforms import filtered_mean, robust_mean


class FedpgBrHyperparameters(NamedTuple):
    """Hyperparameters of FedPG-BR; traced.

    Attributes:
      step: the learning rate and its schedule.
      each: episodes of a gradient.
      batch: episodes of a step of the server, b.
      most: steps of the server in a round, at most.
      sigma: how far one episode's gradient is from the expected one, at most.
      delta: probability with which the filter may be wrong.
      tolerated: the share of workers that may be dishonest.
      drift: the steps end where the mean weight is farther than this from 1; the largest number for never.
      episode_time: simulated time of an episode of the server.
    """

    step: StepHyperparameters
    each: Int[Array, ""]
    batch: Int[Array, ""]
    most: Int[Array, ""]
    sigma: Float[Array, ""]
    delta: Float[Array, ""]
    tolerated: Float[Array, ""]
    drift: Float[Array, ""]
    episode_time: Float[Array, ""]

    def at(self, now: Progress) -> "FedpgBrHyperparameters":
        """Those of the update of a run that is so far."""
        return self._replace(step=self.step.at(now))


def fedpg_br(update: Callable[[StepHyperparameters], Any]) -> Method:
    """The method with this update of the server's own steps."""
    return Method(
        schedule=SYNCHRONOUS,
        hyperparameters=_hyperparameters,
        update=lambda own: update(own.step),
        model=as_sent,
        worker=OWN_MEANS,
        combine=_combine,
        server=ServerSide(plan=plan, direction=direction),
    )


def trusted_mean(own: FedpgBrHyperparameters) -> Callable[[Array, Array], Array]:
    r"""The filter: within :math:`2 \sigma \sqrt{V / B}`, then :math:`2 \sigma`, with :math:`V = 2 \ln(2K / \delta)`.

    K are the workers that are heard, and B the episodes of each: of a rule whose voices are gradients.
    """

    def rule(gradients: Array, voices: Array) -> Array:
        workers, episodes = jnp.sign(voices).sum(), voices.max() * own.each.astype(jnp.float32)
        spread = 2 * jnp.log(2 * workers / own.delta)
        radius = 2 * own.sigma * jnp.sqrt(spread / episodes)
        return filtered_mean(radius, own.tolerated, wider=2 * own.sigma)(gradients, voices)

    return rule


def plan(own: FedpgBrHyperparameters, key: PRNGKeyArray, episodes: Int[Array, ""]) -> ServerPlan:
    """The server's steps of a round: 1 and the whole part of an exponential number, which is geometric."""
    success = own.batch / (own.batch + episodes)
    drawn = jnp.floor(jax.random.exponential(key) / -jnp.log1p(-success))
    steps = 1 + jnp.minimum(drawn, own.most.astype(jnp.float32) - 1).astype(jnp.int32)
    return ServerPlan(steps, own.batch, own.episode_time, own.drift)


def direction(here: Any, start: Any, heard: Any) -> Any:
    """The direction v of a step, or the server's own gradient where nobody is trusted: there the mean is zero.

    Args:
      here: the gradient at the parameters reached.
      start: the weighted gradient at the start, of the same episodes.
      heard: the mean of the workers that are trusted.
    """
    nobody = jnp.stack([jnp.all(x == 0) for x in jax.tree.leaves(heard)]).all()
    return jax.tree.map(lambda g, before, mean: g + jnp.where(nobody, 0, mean - before), here, start, heard)


def _combine(own: FedpgBrHyperparameters, axis_name: Any) -> optax.GradientTransformationExtraArgs:
    return robust_mean(axis_name, trusted_mean(own), "gradients")


def _hyperparameters(section: MethodConfig) -> FedpgBrHyperparameters:
    own = cast(FedpgBr, section)
    whole, real = lambda x: jnp.asarray(x, jnp.int32), lambda x: jnp.asarray(x, jnp.float32)
    return FedpgBrHyperparameters(
        step=step_hyperparameters(own),
        each=whole(own.trajectories_per_gradient),
        batch=whole(own.server_batch),
        most=whole(own.max_inner),
        sigma=real(own.sigma),
        delta=real(own.delta),
        tolerated=real(own.tolerated),
        drift=real(jnp.finfo(jnp.float32).max if own.drift is None else own.drift),
        episode_time=real(own.server_time),
    )
