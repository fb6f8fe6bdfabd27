r"""Rennala's rounds with an M that follows the noise of gradients and the times of workers.

A step of a given length along a direction with noise brings, to first order, the cosine between the direction and the
gradient. With a mean of M gradients, and a momentum that gives the newest a weight of :math:`\eta`, that is

.. math::
    \cos \approx \frac{1}{\sqrt{1 + \kappa / M}}, \qquad
    \kappa = \frac{\sigma^2}{\|\nabla J\|^2} \cdot \frac{\eta}{2 - \eta}

with the gradient noise scale :math:`\sigma^2 / \|\nabla J\|^2` (McCandlish et al., 2018). A round that takes a time t
brings about :math:`M(t) = \sum_{i: r_i t \ge 1} (r_i t - b_i / 2)` gradients, with worker i's rate :math:`r_i`, and
:math:`b_i` how often it is in the middle of one when a round ends. It costs t and an exchange e. The next M is that of
the t for which the cosine over :math:`t + e` is largest.

The noise scale comes from the means of two halves of a round's gradients: their squared distance is
:math:`\sigma^2 (1/m_1 + 1/m_2)` in expectation, and the squared norm of the mean of all
:math:`\|\nabla J\|^2 + \sigma^2 / M`. Both, and rates and exchanges, are running means over rounds.

For large noise the best t is e and what workers lose, so that no M beyond what comes in that time pays; for small noise
it is the smallest M that is allowed. The momentum stays as it is: where it balances the noise with the curvature that
extrapolation leaves, it follows only the fifth root of the noise scale.

References:
  McCandlish, Kaplan, Amodei et al., `An Empirical Model of Large-Batch Training
  <https://arxiv.org/abs/1812.06162>`_, 2018
"""

import dataclasses
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nigt_jax.config import AdaptiveNigt, MethodConfig
from nigt_jax.methods._method import Progress, StepHyperparameters, step_hyperparameters

_TIMES = 64  # candidates


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AdaptiveHyperparameters:
    """Hyperparameters of the adaptive method; traced.

    Attributes:
      step: those of the NIGT step.
      smallest: the smallest M.
      largest: the largest M.
      memory: weight of the past in running means over rounds.
    """

    step: StepHyperparameters
    smallest: Any  # Int[""]
    largest: Any  # Int[""]
    memory: Any  # Float[""]

    def at(self, now: Progress) -> "AdaptiveHyperparameters":
        """Those of the update of a run that is so far."""
        return dataclasses.replace(self, step=self.step.at(now))


class Seen(NamedTuple):
    """What a round shows; or running sums of that over rounds, of which only ratios matter.

    Attributes:
      noise: estimate of the variance of one gradient, summed over its coordinates.
      signal: estimate of the squared norm of the expected gradient.
      elapsed: time from the start of the round to its end, before the exchange.
      exchanged: time of the exchange.
      counts: gradients of each worker that counted.
      broken: gradients of each worker that were begun and did not count.
      rounds: 1; or how many the sums are of.
    """

    noise: Float[Array, ""]
    signal: Float[Array, ""]
    elapsed: Float[Array, ""]
    exchanged: Float[Array, ""]
    counts: Float[Array, " workers"]
    broken: Float[Array, " workers"]
    rounds: Float[Array, ""]


def nothing_seen(workers: int) -> Seen:
    """Before the first round."""
    zero, each = jnp.zeros([]), jnp.zeros(workers)
    return Seen(zero, zero, zero, zero, each, each, zero)


def after_round(seen: Seen, own: AdaptiveHyperparameters, now: Seen) -> Seen:
    """What was seen, with one more round."""
    return jax.tree.map(lambda past, new: own.memory * past + new, seen, now)


def halves_show(half: Any, mean: Any, gradients: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Noise and signal, without bias, from the mean of ceil(M/2) of some gradients, and that of all M."""
    number = gradients.astype(jnp.float32)
    first = jnp.ceil(number / 2)
    rest = jnp.maximum(number - first, 1)
    apart = jax.tree.map(lambda h, m: (h - m) * number / rest, half, mean)  # from the mean of the second half
    noise = _square(apart) / (1 / first + 1 / rest)
    return noise, _square(mean) - noise / number


def chosen_batch_size(seen: Seen, own: AdaptiveHyperparameters) -> Int[Array, ""]:
    """The next M; it means nothing before the first round."""
    times, sizes = candidates(seen, own.largest)
    left = own.step.newest_weight / (2 - own.step.newest_weight)  # by the momentum
    gain = 1 / (jnp.sqrt(1 + noise_scale(seen) * left / sizes) * times)
    best = jnp.argmax(jnp.where(sizes >= own.smallest.astype(jnp.float32), gain, 0))
    return jnp.clip(jnp.round(sizes[best]).astype(jnp.int32), own.smallest, own.largest)


def noise_scale(seen: Seen) -> Float[Array, "*runs"]:
    """The gradient noise scale, in gradients; a million where no signal is seen."""
    scale = seen.noise / jnp.maximum(seen.signal, 1e-6 * seen.noise)
    return jnp.where(seen.noise > 0, scale, 0)


def candidates(seen: Seen, largest: Int[Array, ""]) -> tuple[Float[Array, " times"], Float[Array, " times"]]:
    """Times that a round might have with its exchange, and about how many gradients come by then; ascending."""
    rate = (seen.counts + seen.broken / 2) / seen.elapsed
    lost, exchange = seen.broken / (2 * seen.rounds), seen.exchanged / seen.rounds
    first, last = 1 / rate.max(), 2 * (largest.astype(jnp.float32) + lost.sum()) / rate.sum()
    elapsed = first * (jnp.maximum(last, first) / first) ** jnp.linspace(0, 1, _TIMES)
    brought = rate[None, :] * elapsed[:, None]
    sizes = jnp.where(brought >= 1 - 1e-3, brought - lost[None, :], 0).sum(1)  # a tie is to be one in float32, too
    return elapsed + exchange, jnp.clip(sizes, 1, largest.astype(jnp.float32))


def _square(tree: Any) -> Float[Array, ""]:
    return sum((jnp.square(x).sum() for x in jax.tree.leaves(tree)), start=jnp.zeros([]))


def adaptive_hyperparameters(section: MethodConfig) -> AdaptiveHyperparameters:
    """Those of a section of the configuration."""
    own = cast(AdaptiveNigt, section)
    return AdaptiveHyperparameters(
        step=step_hyperparameters(own),
        smallest=jnp.asarray(own.min_batch_size, jnp.int32),
        largest=jnp.asarray(own.max_batch_size, jnp.int32),
        memory=jnp.asarray(1 - 1 / own.memory, jnp.float32),
    )
