"""The server's side of a method: propose where to take gradients (ask), absorb them (tell).

The two are apart because the same method runs under a simulated clock, in lockstep on devices, and on a cluster.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from nigt_jax.clocks import Round, Rule
from nigt_jax.transforms import rennala_mean, tree_norm


class QueryPoint(NamedTuple):
    """Parameters at which gradients are taken. Never to be evaluated or shipped."""

    params: Any


class Iterate(NamedTuple):
    """Parameters that are the model: what is evaluated and shipped."""

    params: Any


class StepSettings(NamedTuple):
    """Hyperparameters of an update; traced, so that runs with other values share one program.

    Attributes:
      learning_rate: of the first update.
      half_life: updates after which it is half as large; inf where it stays what it is.
      newest_weight: weight of the newest gradient, 1 - momentum, which float32 cannot tell from a momentum next to 1.
      max_delay: from which on Ringmaster discards a gradient, in updates.
    """

    learning_rate: Float[Array, ""]
    half_life: Float[Array, ""]
    newest_weight: Float[Array, ""]
    max_delay: Int[Array, ""]

    def learning_rate_at(self, number: Int[Array, ""]) -> Float[Array, ""]:
        r""":math:`\alpha / (1 + t / h)` of update t, from 0; with a half-life h of 2 the schedule of N-PG-IGT."""
        return self.learning_rate / (1 + number.astype(jnp.float32) / self.half_life)


class RoundMethod(NamedTuple):
    """One entry of the registry, of the kind that counts in rounds: who, how they are combined, and the update.

    Attributes:
      rule: (batch size, workers) to when a round is over.
      weigh: round to the weight of each worker's counted gradients, [workers]; only their ratios matter.
      update: settings to the transformation that steps the parameters that workers are sent.
      model: (state of the update, parameters sent) to the iterate.
    """

    rule: Callable[[Int[Array, ""], int], Rule]
    weigh: Callable[[Round], Float[Array, " workers"]]
    update: Callable[[StepSettings], optax.GradientTransformationExtraArgs]
    model: Callable[[optax.OptState, Any], Any]


class ArrivalMethod(NamedTuple):
    """One entry of the registry, of the kind that absorbs one gradient at a time, at once.

    Every worker computes at the query point that it was sent when its last gradient arrived, however old that is.

    Attributes:
      tolerates: settings to the delay from which on a gradient is discarded, in updates made since its query point.
      update: settings to the transformation that steps the parameters that workers are sent.
      model: (state of the update, parameters sent) to the iterate.
    """

    tolerates: Callable[[StepSettings], Int[Array, ""]]
    update: Callable[[StepSettings], optax.GradientTransformationExtraArgs]
    model: Callable[[optax.OptState, Any], Any]


Method: TypeAlias = RoundMethod | ArrivalMethod


class ServerState(NamedTuple):
    """Everything that the server knows.

    Attributes:
      sent: the parameters that workers are sent, the query point.
      opt_state: the update's state, from which the iterate follows.
    """

    sent: Any
    opt_state: optax.OptState


def start(method: Method, params: Any, settings: StepSettings) -> ServerState:
    """The server before the first round: query point and iterate are both `params`."""
    return ServerState(params, method.update(settings).init(params))


def ask(state: ServerState) -> QueryPoint:
    """Where the next gradients are to be taken. A pure proposal: the state does not change."""
    return QueryPoint(state.sent)


@jax.named_scope("update")
def tell(
    method: Method,
    state: ServerState,
    settings: StepSettings,
    gradient_sum: Any,
    weight: Float[Array, ""],
    axis_name: Any,
) -> tuple[ServerState, Float[Array, ""]]:
    """Absorbs a round.

    Args:
      method: whose rules apply.
      state: the server before.
      settings: of this update.
      gradient_sum: this shard's weighted sum of policy gradients (ascent directions), a tree like the parameters.
      weight: the sum of the weights. Shards are devices, not workers: whose a gradient is shows in its weight alone.
      axis_name: the axis that the shards are on, or None.

    Returns:
      The server after, and the norm of the aggregated gradient.
    """
    aggregate, update = rennala_mean(axis_name), method.update(settings)
    gradient, _ = aggregate.update(gradient_sum, aggregate.init(state.sent), count=weight)
    descent = jax.tree.map(lambda g: -g, gradient)  # optax steps downhill on a loss, a policy climbs
    moves, opt_state = update.update(descent, state.opt_state, state.sent)
    return ServerState(optax.apply_updates(state.sent, moves), opt_state), tree_norm(gradient)


def iterate(method: Method, state: ServerState) -> Iterate:
    """The model."""
    return Iterate(method.model(state.opt_state, state.sent))
