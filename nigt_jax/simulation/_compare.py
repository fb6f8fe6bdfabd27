"""Every method on the same workers, side by side."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from nigt_jax import config as configuration
from nigt_jax.clocks import (
    ArrivalRule,
    Clock,
    FixedWork,
    NeverEnds,
    Ringleader,
    Rule,
    m_synchronous_rule,
    make_clock,
    malenia_rule,
    rennala_rule,
    synchronous_rule,
)
from nigt_jax.config import Config, RennalaNigt, converted
from nigt_jax.methods import METHODS, Arrivals, Method, Rounds
from nigt_jax.simulation._arrivals import Arrivals as Arrived
from nigt_jax.simulation._arrivals import play_under
from nigt_jax.simulation._figures import Figures
from nigt_jax.simulation._play import Schedules, begin, play
from nigt_jax.simulation._theory import (
    Bounds,
    arrival_bounds,
    m_synchronous_bounds,
    malenia_bounds,
    rennala_bounds,
    ringleader_bounds,
    synchronous_bounds,
)

_BOUNDS: dict[Callable[..., Rule], Callable[..., Bounds]] = {
    rennala_rule: rennala_bounds,
    malenia_rule: malenia_bounds,
    synchronous_rule: synchronous_bounds,
    m_synchronous_rule: m_synchronous_bounds,
}
_MOST_ARRIVALS, MOST_WORKERS = 20_000, 1_000  # every arrival looks at every worker


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All methods on the workers of one configuration.

    Attributes:
      configured: the configuration's method.
      gradient_times: mean time of one gradient of each worker at full speed, in time units.
      figures: figures of each clock by its name; methods that keep the same time share one.
      not_available: clocks that could not be played, and why.
      by_batch_size: round-based clocks with other batch sizes, ascending, by name; m-synchronous up to the workers.
    """

    configured: str
    gradient_times: tuple[float, ...]
    figures: dict[str, Figures]
    not_available: dict[str, str]
    by_batch_size: dict[str, dict[int, Figures]]


@dataclasses.dataclass(frozen=True)
class Kind:
    """Methods that keep the same time.

    Attributes:
      name: the name of their clock.
      methods: all of them.
      entry: the first of them.
    """

    name: str
    methods: tuple[str, ...]
    entry: Method

    @property
    def rounds(self) -> Rounds | None:
        """The schedule of methods that count in rounds; None where every arrival is an update."""
        return self.entry.rounds

    def batch_size(self, wanted: int, workers: int) -> int:
        """The nearest batch size to the wanted one that it can have."""
        if self.rounds is None:
            return 1
        each = self.rounds.most_per_worker
        return wanted if each is None else min(wanted, workers * each(wanted, workers))

    def arrival_rule(self, config: Config) -> ArrivalRule:
        """What becomes of gradients that arrive; of methods without rounds."""
        hyperparameters = self.entry.hyperparameters(converted(config.method, self.methods[0]))
        return cast(Arrivals, self.entry.schedule).rule(hyperparameters)


def kinds() -> tuple[Kind, ...]:
    """The clocks of all methods, in the registry's order, but for methods that are not simulated."""
    seen: dict[str, list[str]] = {}
    for name in METHODS:
        if not configuration.METHODS[name].not_simulated:
            seen.setdefault(configuration.METHODS[name].clock, []).append(name)
    return tuple(Kind(clock, tuple(names), METHODS[names[0]]) for clock, names in seen.items())


def schedules(among: tuple[Kind, ...]) -> Schedules:
    """Those of the kinds that count in rounds, in order."""
    return tuple(kind.rounds for kind in among if kind.rounds is not None)


def in_rounds(config: Config) -> RennalaNigt:
    """What the configuration says of batch size and momentum; the defaults where its method has none."""
    return cast(RennalaNigt, converted(config.method, "rennala_nigt"))


def compare(
    config: Config,
    rounds: int,
    *,
    parameters: int = 1,
    batch_sizes: tuple[int, ...] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Plays every method for some rounds from time 0; rounds are all alike (``initial_batch_size`` is not used).

    Methods that update at every arrival are played for as many arrivals as gradients are in those rounds, up to 20,000.

    Args:
      config: the configuration, with its workers, batch size, largest delay and seed.
      rounds: number of rounds of each method.
      parameters: number of policy parameters, where times depend on it.
      batch_sizes: others to try.
      progress: told the name of each clock before it is played.

    Returns:
      The comparison.

    Raises:
      UserError: times that a float32 cannot hold, or a trace that cannot be read.
    """
    wanted = in_rounds(config).batch_size
    clock = make_clock(config.workers, parameters, wanted)
    figures: dict[str, Figures] = {}
    missing = {name: why for name in METHODS if (why := configuration.METHODS[name].not_simulated)}
    others: dict[str, dict[int, Figures]] = {}
    by_arrival: list[Kind] = []
    shared = schedules(kinds())
    for kind in kinds():
        progress(kind.name)
        size = kind.batch_size(wanted, clock.workers)
        if kind.rounds is not None:
            possible = [m for m in sorted({size, *batch_sizes}) if kind.batch_size(m, clock.workers) == m]
            tried = {m: _in_rounds(clock, kind, shared, m, rounds, config.seed) for m in possible}
            figures[kind.name], others[kind.name] = tried[size], tried
        elif clock.topology == "allreduce":
            missing[kind.name] = "one worker alone exchanges with the server, which an allreduce is not for"
        elif clock.workers > MOST_WORKERS:
            missing[kind.name] = f"simulated for up to {MOST_WORKERS:,} workers"
        else:
            by_arrival.append(kind)
    figures |= _by_arrival(clock, by_arrival, rounds * wanted, config)
    return Comparison(
        configured=config.method.name,
        gradient_times=tuple(np.asarray(clock.work.mean, np.float64).tolist()),
        figures=figures,
        not_available=missing,
        by_batch_size=others,
    )


def _in_rounds(clock: Clock, kind: Kind, shared: Schedules, batch_size: int, rounds: int, seed: int) -> Figures:
    schedule = cast(Rounds, kind.rounds)
    played = play(clock, shared, shared.index(schedule), batch_size, rounds, seed)
    whole = played.collecting + played.communicating
    some = whole.size > 0
    steady = isinstance(clock.work, FixedWork) and clock.speed is None and not clock.carry_over
    bounds = _BOUNDS.get(schedule.rule) if steady else None
    return Figures(
        clock=kind.name,
        methods=kind.methods,
        batch_size=batch_size,
        rounds=whole.size,
        time=played.time,
        **_spread(whole),
        collecting=float(played.collecting.mean()) if some else None,
        communicating=float(played.communicating.mean()) if some else None,
        effective_gradients=float(1 / played.variance.mean()) if some else None,
        **_shares(played.counted, played.discarded, played.time),
        exchanges=whole.size,
        messages=int(played.messages.sum()),
        bounds=bounds(np.asarray(clock.work.mean), batch_size) if bounds else None,
        never_ends=played.never_ends,
    )


def _by_arrival(clock: Clock, several: list[Kind], arrivals: int, config: Config) -> dict[str, Figures]:
    if not several:
        return {}
    rules = tuple(kind.arrival_rule(config) for kind in several)
    key = begin(clock, np.uint32(config.seed)).key
    played = play_under(clock, rules, min(arrivals, _MOST_ARRIVALS), key)
    return {
        kind.name: _of_arrivals(clock, kind, rule, *one) for kind, rule, one in zip(several, rules, played, strict=True)
    }


def _of_arrivals(clock: Clock, kind: Kind, rule: ArrivalRule, played: Arrived, never: NeverEnds | None) -> Figures:
    updates = played.time[played.updates]
    time = float(played.time[-1]) if played.time.size else 0.0
    number = lambda chosen: np.bincount(played.worker[chosen], minlength=clock.workers)
    steady = isinstance(clock.work, FixedWork) and clock.speed is None
    bounds = ringleader_bounds if isinstance(rule, Ringleader) else arrival_bounds
    theory = lambda: bounds(np.asarray(clock.work.mean), np.asarray(clock.exchange), clock.topology)
    return Figures(
        clock=kind.name,
        methods=kind.methods,
        batch_size=1,
        rounds=updates.size,
        time=time,
        **_spread(np.diff(updates, prepend=0.0)),
        collecting=None,
        communicating=None,
        effective_gradients=float(played.worth[played.updates].mean()) if updates.size else None,
        **_shares(number(played.counted), number(~played.counted), time),
        exchanges=played.time.size,
        messages=played.time.size,
        bounds=theory() if steady else None,
        never_ends=never,
    )


def _spread(times: np.ndarray) -> dict[str, Any]:
    if not times.size:
        return {"round_time": None, "shortest_round": None, "longest_round": None}
    return {
        "round_time": float(times.mean()),
        "shortest_round": float(times.min()),
        "longest_round": float(times.max()),
    }


def _shares(counted: np.ndarray, discarded: np.ndarray, time: float) -> dict[str, Any]:
    gradients, lost = int(counted.sum()), int(discarded.sum())
    return {
        "counted": tuple(counted.tolist()),
        "shares": tuple((counted / max(gradients, 1)).tolist()),
        "discarded": tuple(discarded.tolist()),
        "discarded_fraction": lost / max(gradients + lost, 1),
        "gradients_per_time": gradients / time if time > 0 else 0.0,
    }
