"""What a round reports to the host."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.clocks import Clock, SimulatedTime
from nigt_jax.training._steps import StepCount


class RoundMetrics(NamedTuple):
    """What a round reports, the same on every device; increments, which the host adds up without a limit.

    Where gradients are absorbed as they arrive, a round is one update, with all that came since the update before.

    Attributes:
      made: whether the run had this round at all; where it had stopped before, the rest is zero.
      gradients: gradients counted.
      episodes: episodes that were played for them, and by the server itself.
      discarded: gradients that a worker began, but that were not counted.
      communications: exchanges of the size of the parameters: one a round, or one an arrival.
      uploads: messages from workers to the server.
      downloads: messages from the server to workers.
      delay: updates made since the query point of the gradient, or of the oldest one; 0 where there are rounds.
      env_steps: steps of the counted episodes, up to their ends; a StepCount on a device, int64 on the host.
      computed_steps: steps that the lanes of all devices made for this round, idle ones included, likewise; a run's
        share of them where several share the lanes.
      time: simulated time at the end of the round.
      query_return_mean: mean undiscounted return of the round's episodes, played at the query point.
      gradient_norm: norm of the direction that the server has absorbed.
      diverged: episodes that the physics ended with a number that is not finite.
      complete: whether the clock could decide the round; the rest means nothing where it could not.
      too_large: whether the round has more episodes than can be numbered; none was played, and the rest means nothing.
      finite: whether what the round has left is: parameters, and whatever later updates are made of.
      noise_scale: the gradient noise scale that the next round's M follows, in gradients; () where M is given.
    """

    made: Bool[Array, " runs"]
    gradients: Int[Array, " runs"]
    episodes: Int[Array, " runs"]
    discarded: Int[Array, " runs"]
    communications: Int[Array, " runs"]
    uploads: Int[Array, " runs"]
    downloads: Int[Array, " runs"]
    delay: Int[Array, " runs"]
    env_steps: Any
    computed_steps: Any
    time: SimulatedTime
    query_return_mean: Float[Array, " runs"]
    gradient_norm: Float[Array, " runs"]
    diverged: Int[Array, " runs"]
    complete: Bool[Array, " runs"]
    too_large: Bool[Array, " runs"]
    finite: Bool[Array, " runs"]
    noise_scale: Any = ()


def messages(clock: Clock, uploads: Bool[Array, "runs *exchanges workers"]) -> dict[str, Int[Array, " runs"]]:
    """Messages of one round: ``uploads`` by those who have something to say, ``downloads`` to every worker.

    In an allreduce every worker takes part, whether it has something to say or not.

    Args:
      clock: the runs' clocks.
      uploads: who has something to say, in each exchange of the round.
    """
    everyone = jnp.ones_like(uploads)
    sent = everyone if clock.topology == "allreduce" else uploads
    axes = tuple(range(1, uploads.ndim))
    return {
        "uploads": sent.sum(axes, dtype=jnp.int32),
        "downloads": everyone.sum(axes, dtype=jnp.int32),
    }


def no_metrics(runs: int, length: int) -> RoundMetrics:
    """The metrics of `length` rounds of each run before any of them, leaves [runs, length]."""
    whole, real, never = (
        jnp.zeros((runs, length), jnp.int32),
        jnp.zeros((runs, length)),
        jnp.zeros((runs, length), bool),
    )
    return RoundMetrics(
        made=never,
        gradients=whole,
        episodes=whole,
        discarded=whole,
        communications=whole,
        uploads=whole,
        downloads=whole,
        delay=whole,
        env_steps=StepCount(whole, whole),
        computed_steps=StepCount(whole, whole),
        time=SimulatedTime(real, real),
        query_return_mean=real,
        gradient_norm=real,
        diverged=whole,
        complete=never,
        too_large=never,
        finite=never,
    )
