"""What no round can have given: the host's look at the numbers before they count."""

import math

from nigt_jax.clocks import to_float64
from nigt_jax.config import COUNTABLE, Config
from nigt_jax.methods import METHODS
from nigt_jax.training import RoundMetrics


def first_nonsense(metrics: RoundMetrics, config: Config, iteration: int, time: float) -> tuple[int, str] | None:
    """The first round that cannot be right, whatever the cause.

    Args:
      metrics: metrics of consecutive rounds of one run, on the host.
      config: the run's configuration.
      iteration: rounds done before them.
      time: simulated, before them.

    Returns:
      Its place among the rounds, and one clause on it; None where all may be right.
    """
    for place, now in enumerate(to_float64(metrics.time).tolist()):
        what = _nonsense(metrics, place, config, time <= now < math.inf)
        if what is not None:
            return place, what.format(f"iteration {iteration + place + 1}")
        time = now
    return None


def _nonsense(metrics: RoundMetrics, place: int, config: Config, goes_on: bool) -> str | None:
    if metrics.too_large[place]:
        return (
            f"{{}} has more than the {COUNTABLE:,} episodes that can be counted: fast workers compute while it waits "
            f"for slow ones (method.name {config.method.name}, training.layout {config.training.layout})"
        )
    if not metrics.complete[place]:
        return "{} never ends"
    gradients, steps, computed, discarded, exchanges = (
        int(getattr(metrics, name)[place])
        for name in ("gradients", "env_steps", "computed_steps", "discarded", "communications")
    )
    own = gradients * config.method.trajectories_per_gradient * METHODS[config.method.name].plays
    episodes, most = int(metrics.episodes[place]), own + config.method.most_server_episodes
    counted = 0 < own <= episodes <= most and episodes <= steps <= episodes * config.environment.horizon
    if not (counted and goes_on and exchanges > 0 <= min(computed, discarded)):
        return (
            f"{{}} cannot be right, which is a fault of nigt_jax: {gradients:,} gradients, {steps:,} steps of "
            f"{computed:,}, {discarded:,} discarded, {exchanges:,} exchanges, and simulated time goes "
            f"{'on' if goes_on else 'back'}"
        )
    if not (math.isfinite(metrics.gradient_norm[place]) and math.isfinite(metrics.query_return_mean[place])):
        return f"the gradient or the return of {{}} is not finite ({_step_size(config)})"
    if not metrics.finite[place]:
        return f"the parameters, or what later updates are made of, are not finite after {{}} ({_step_size(config)})"
    return None


def _step_size(config: Config) -> str:
    """What is the most likely to be too large."""
    return f"method.learning_rate {config.method.learning_rate:g}"
