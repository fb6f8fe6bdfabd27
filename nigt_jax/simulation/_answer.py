"""Which method, and which M: by the time of a round whose direction has a given noise."""

import dataclasses
from typing import Any

from nigt_jax.config import LARGEST_BATCH, Config, MethodConfig, converted
from nigt_jax.simulation._compare import Comparison, Kind, compare, in_rounds, kinds
from nigt_jax.simulation._figures import Figures
from nigt_jax.simulation._noise import batch_needed, direction_noise, weight_needed

_GRID = (0.25, 0.5, 1, 2, 4)  # times the configured batch size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What a method needs for directions of the noise asked for.

    Attributes:
      method: its name.
      batch_size: the least M that does; None where none does.
      noise: noise of its direction with that M, in units of sigma; with what it has where none does.
      round_time: mean time from one step to the next, with that M.
      time_per_gradient: time of an effective gradient, with that M, or without rounds.
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
      choices: what every method needs.
      best: the method whose steps follow each other fastest; None where none has such directions.
    """

    target_noise: float
    gradients: float
    momentum: float
    choices: tuple[Choice, ...]
    best: str | None


def default_noise(config: Config) -> float:
    """That of the configuration's own directions."""
    return direction_noise(config.method.newest_weight, config.method.gradients_per_update)


def answer(config: Config, rounds: int, target_noise: float | None = None, **more: Any) -> tuple[Comparison, Answer]:
    """Plays every method as configured, on a grid of batch sizes, and with the one that the noise asked for needs.

    A longer round never ends sooner, so the least batch size that is enough is the fastest one.

    Args:
      config: whose workers, method and seed.
      rounds: number of rounds of each.
      target_noise: noise of a direction; None for that of the configuration's own.
      more: passed on to `compare`.

    Returns:
      The comparison and the answer.
    """
    target = default_noise(config) if target_noise is None else target_noise
    reference, workers = in_rounds(config), config.workers.count
    sections = {name: converted(config.method, name) for kind in kinds() for name in kind.methods}
    needed = {method: batch_needed(section.newest_weight, target) for method, section in sections.items()}
    sizes = {max(1, round(reference.batch_size * factor)) for factor in _GRID}
    sizes |= {needed[method] for kind in kinds() if kind.rounds is not None for method in kind.methods}
    comparison = compare(config, rounds, batch_sizes=tuple(m for m in sorted(sizes) if m <= LARGEST_BATCH), **more)
    choices = tuple(
        _choice(kind, sections[method], needed[method], comparison, target, workers)
        for kind in kinds()
        for method in kind.methods
    )
    # Of several equally fast the configured one, and otherwise the first.
    able = [c for c in choices if c.round_time is not None]
    best = min(able, key=lambda c: (c.round_time, c.method != config.method.name), default=None)
    return comparison, Answer(
        target_noise=target,
        gradients=target**-2,
        momentum=reference.momentum,
        choices=choices,
        best=best.method if best else None,
    )


def _choice(
    kind: Kind, section: MethodConfig, needed: int, comparison: Comparison, target: float, workers: int
) -> Choice:
    method, weight = section.name, section.newest_weight
    nothing: dict[str, Any] = {"batch_size": None, "round_time": None, "time_per_gradient": None}
    if kind.name in comparison.not_available:
        return Choice(method=method, noise=None, why_not=comparison.not_available[kind.name], **nothing)
    most = kind.batch_size(needed, workers)
    figures = (
        comparison.by_batch_size[kind.name].get(needed) if kind.rounds is not None else comparison.figures[kind.name]
    )
    if most < needed or figures is None:
        return Choice(
            method=method,
            noise=direction_noise(weight, most),
            why_not=f"too few workers for M = {needed:,}"
            if kind.rounds is not None
            else section.how_to_weigh(weight_needed(target)),
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
