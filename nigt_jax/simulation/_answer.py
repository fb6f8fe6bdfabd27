"""Which method, and which M: by the time of a round whose direction has a given noise."""

import dataclasses
from typing import Any

from nigt_jax.config import Config
from nigt_jax.simulation._compare import Comparison, Kind, compare, kinds
from nigt_jax.simulation._figures import Figures
from nigt_jax.simulation._noise import batch_needed, direction_noise, newest_weight

_LARGEST = 10_000_000  # batch size that a configuration may have
_GRID = (0.25, 0.5, 1, 2, 4)  # times the configured batch size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What a method needs for directions of the noise asked for.

    Attributes:
      method: its name.
      batch_size: the least M that does; None where none does.
      noise: of its direction with that M, in units of sigma; with what it has where none does.
      round_time: mean time from one step to the next, with that M.
      time_per_gradient: of an effective gradient, with that M, or without rounds.
      why_not: where there is no M, or its rounds never end; empty otherwise.
    """

    method: str
    batch_size: int | None
    noise: float | None
    round_time: float | None
    time_per_gradient: float | None
    why_not: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """All methods by what a direction of the same noise costs.

    Attributes:
      target_noise: standard deviation of a direction, in units of sigma, that of one gradient.
      gradients: independent gradients whose plain mean is as noisy.
      momentum: weight of the past direction; 0 in plain ascent, whatever is configured.
      choices: of every method.
      best: the method whose steps follow each other fastest; None where none has such directions.
    """

    target_noise: float
    gradients: float
    momentum: float
    choices: tuple[Choice, ...]
    best: str | None


def default_noise(config: Config) -> float:
    """That of the configuration's own directions."""
    size = 1 if config.one_at_a_time else config.method.batch_size
    return direction_noise(newest_weight(config.method.name, config.method.momentum), size)


def answer(config: Config, rounds: int, target_noise: float | None = None, **more: Any) -> tuple[Comparison, Answer]:
    """Plays every method as configured, on a grid of batch sizes, and with the one that the noise asked for needs.

    A longer round never ends sooner, so the least batch size that is enough is the fastest one.

    Args:
      config: whose workers, method and seed.
      rounds: of each.
      target_noise: of a direction; None for that of the configuration's.
      more: passed on to `compare`.

    Returns:
      The comparison and the answer.
    """
    target = default_noise(config) if target_noise is None else target_noise
    momentum, workers = config.method.momentum, config.workers.count
    needed = {
        method: batch_needed(newest_weight(method, momentum), target) for kind in kinds() for method in kind.methods
    }
    sizes = {max(1, round(config.method.batch_size * factor)) for factor in _GRID}
    sizes |= {needed[method] for kind in kinds() if kind.in_rounds for method in kind.methods}
    comparison = compare(config, rounds, batch_sizes=tuple(m for m in sorted(sizes) if m <= _LARGEST), **more)
    choices = tuple(
        _choice(kind, method, needed[method], comparison, target, newest_weight(method, momentum), workers)
        for kind in kinds()
        for method in kind.methods
    )
    # Of several equally fast the configured one, and otherwise the first.
    able = [c for c in choices if c.round_time is not None]
    best = min(able, key=lambda c: (c.round_time, c.method != config.method.name), default=None)
    return comparison, Answer(
        target_noise=target,
        gradients=target**-2,
        momentum=momentum,
        choices=choices,
        best=best.method if best else None,
    )


def _choice(
    kind: Kind, method: str, needed: int, comparison: Comparison, target: float, weight: float, workers: int
) -> Choice:
    nothing: dict[str, Any] = {"batch_size": None, "round_time": None, "time_per_gradient": None}
    if kind.name in comparison.not_available:
        return Choice(method=method, noise=None, why_not=comparison.not_available[kind.name], **nothing)
    most = kind.batch_size(needed, workers)
    figures = comparison.by_batch_size[kind.name].get(needed) if kind.in_rounds else comparison.figures[kind.name]
    if most < needed or figures is None:
        return Choice(
            method=method,
            noise=direction_noise(weight, most),
            why_not=_too_noisy(kind, method, needed, target),
            **nothing,
        )
    if figures.never_ends is not None or figures.round_time is None:
        return Choice(
            method=method,
            noise=None,
            why_not=_without_end(figures),
            **nothing,
        )
    return Choice(
        method=method,
        batch_size=figures.batch_size,
        noise=direction_noise(weight, _effective(figures)),
        round_time=figures.round_time,
        time_per_gradient=figures.time_per_gradient,
        why_not="",
    )


def _without_end(figures: Figures) -> str:
    if figures.never_ends is None:
        return "no worker answers"
    return "rounds that never end" if figures.never_ends.waits_for else "rounds that cannot be played"


def _effective(figures: Figures) -> float:
    return figures.effective_gradients or figures.batch_size


def _too_noisy(kind: Kind, method: str, needed: int, target: float) -> str:
    if kind.in_rounds:
        return f"too few workers for M = {needed:,}"
    if method.endswith("_pg"):
        return "one gradient a step, no momentum"
    return f"needs momentum {(1 - target**2) / (1 + target**2):.6g}"
