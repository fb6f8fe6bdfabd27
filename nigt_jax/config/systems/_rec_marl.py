"""Settings of REC-MARL: agents whose rewards depend on their neighbours, and whose states move by themselves."""

import math
from typing import Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from nigt_jax.config._fields import COUNTABLE, LARGEST_BATCH, RULES, Number, setting
from nigt_jax.config._workers import WorkersConfig
from nigt_jax.config.systems._base import SystemConfig, SystemTraining, agents

LARGEST_TABLES = 10_000_000  # entries of all agents' critics together: 80 MB
LARGEST_SEARCH = 10_000_000  # joint power levels that are all tried


@dataclass(frozen=True, kw_only=True, config=RULES)
class RecMarlMethod:
    """How agents learn: critics that are tables of their neighbourhoods, and ascent of their own policies."""

    critics: Literal["neighbours", "own", "all"] = setting(
        "neighbours", "whose critics an agent's policy climbs: its neighbours' and its own, its own alone, or all"
    )
    episodes: int = setting(128, "episodes of an iteration", "episodes", ge=2, le=LARGEST_BATCH)
    actor_decay: Number = setting(200.0, "iterations t0 in a step of a / sqrt(1 + t / t0)", "iterations", gt=0)
    critic_step: Number = setting(0.2, "step of the critics in the first iteration", gt=0, le=1)
    critic_decay: Number = setting(50.0, "iterations t0 in a step of b / sqrt(1 + t / t0)", "iterations", gt=0)


def _discount(default: float) -> Number:
    return setting(default, "discount of rewards", ge=0, lt=1)


def _horizon(default: int) -> int:
    return setting(default, "steps of an episode", "steps", ge=1, le=1_000_000)


def _actor_step(default: float) -> Number:
    return setting(default, "step of the policies in the first iteration", gt=0)


def _iterations(default: int) -> int:
    return setting(default, "iterations after which a run ends", "iterations", ge=1, le=1_000_000_000)


@dataclass(frozen=True, kw_only=True, config=RULES)
class AccessMethod(RecMarlMethod):
    """Those of access control."""

    discount: Number = _discount(0.7)
    horizon: int = _horizon(10)
    actor_step: Number = _actor_step(20.0)


@dataclass(frozen=True, kw_only=True, config=RULES)
class PowerMethod(RecMarlMethod):
    """Those of power control."""

    discount: Number = _discount(0.9)
    horizon: int = _horizon(20)
    actor_step: Number = _actor_step(3.0)


@dataclass(frozen=True, kw_only=True, config=RULES)
class AccessNetwork:
    """Access points in a line, and users of whom each is served by one or two of them."""

    points: int = setting(4, "access points", "points", ge=1, le=1000)
    users_per_point: int = setting(
        3, "users that a point serves, of whom it shares one with either point beside it", "users", ge=2, le=20
    )
    deadline: int = setting(2, "steps after which a packet that was not sent is lost", "steps", ge=1, le=10)
    arrival: Number = setting(0.6, "probability of a new packet, each step", gt=0, le=1)
    least_reliability: Number = setting(0.5, "least probability that a point delivers what it receives", ge=0, le=1)
    most_reliability: Number = setting(1.0, "largest one; points draw theirs evenly between the two", ge=0, le=1)

    @property
    def users(self) -> int:
        """How many there are."""
        return self.points * (self.users_per_point - 1) + 1

    @property
    def served(self) -> tuple[range, ...]:
        """The users of every point."""
        step = self.users_per_point - 1
        return tuple(range(j * step, (j + 1) * step + 1) for j in range(self.points))

    @property
    def points_of(self) -> tuple[tuple[int, ...], ...]:
        """The points of every user, in order."""
        points: list[list[int]] = [[] for _ in range(self.users)]
        for point, users in enumerate(self.served):
            for user in users:
                points[user].append(point)
        return tuple(map(tuple, points))

    @property
    def table_entries(self) -> int:
        """Entries of all users' critics."""
        points_of, served = self.points_of, self.served
        own = [2**self.deadline * (1 + len(mine)) for mine in points_of]
        near = [{k for j in mine for k in served[j]} for mine in points_of]
        return sum(math.prod(own[k] for k in users) for users in near)


@dataclass(frozen=True, kw_only=True, config=RULES)
class PowerLinks:
    """Radio links that disturb those beside them, each with a transmitter whose power has levels."""

    graph: Literal["line", "ring", "complete"] = setting("line", "which links disturb each other")
    levels: int = setting(5, "levels of power, evenly from 0 to 1", "levels", ge=2, le=100)
    least_gain: Number = setting(0.8, "least gain of a link's own signal", gt=0)
    most_gain: Number = setting(1.2, "largest one; links draw theirs evenly between the two", gt=0)
    least_cross_gain: Number = setting(0.3, "least gain of a neighbour's signal", ge=0)
    most_cross_gain: Number = setting(0.8, "largest one; drawn evenly between the two", ge=0)
    noise: Number = setting(0.1, "power of the noise", gt=0)
    least_price: Number = setting(0.1, "least price of a unit of power", ge=0)
    most_price: Number = setting(0.3, "largest one; links draw theirs evenly between the two", ge=0)

    def table_entries(self, links: int) -> int:
        """Entries of all critics of so many links."""
        inner = {"line": 2, "ring": 2, "complete": links - 1}[self.graph]
        neighbours = [min(inner, links - 1)] * links
        if self.graph == "line" and links > 1:
            neighbours[0] = neighbours[-1] = 1
        return sum((3 * self.levels) ** (1 + others) for others in neighbours)


def _check_size(key: str, entries: int) -> None:
    if entries > LARGEST_TABLES:
        raise ValueError(
            f"{key}: got critics of {_count(entries)} entries, allowed: {LARGEST_TABLES:,} of all agents together; a "
            "table has one for everything that a whole neighbourhood can be in and do"
        )


def _count(number: int) -> str:
    """As digits, or as a power of ten where nobody would read them."""
    return f"{number:,}" if number < 10**12 else f"about 10^{math.log10(number):.0f}"


def _check_order(section: object, name: str, *quantities: str) -> None:
    for quantity in quantities:
        least, most = getattr(section, f"least_{quantity}"), getattr(section, f"most_{quantity}")
        if least > most:
            raise ValueError(f"{name}.least_{quantity}: got {least}, allowed: up to {name}.most_{quantity}, {most}")


def _check_batch(method: RecMarlMethod, horizon: int, count: int) -> None:
    """What an iteration plays is in memory at once, and what it exchanges is counted in 32 bits."""
    each = (horizon + 1) * count * max(100, 3 * count)
    if method.episodes * each > COUNTABLE:
        raise ValueError(
            f"method.episodes: got {method.episodes:,}, allowed with {count} agents and episodes of {horizon} steps: "
            f"up to {COUNTABLE // each:,}"
        )


@dataclass(frozen=True, kw_only=True, config=RULES)
class AccessTraining(SystemTraining):
    """How long, and on what."""

    iterations: int = _iterations(600)


@dataclass(frozen=True, kw_only=True, config=RULES)
class PowerTraining(SystemTraining):
    """How long, and on what."""

    iterations: int = _iterations(500)


@dataclass(frozen=True, kw_only=True, config=RULES)
class RecMarlAccessConfig(SystemConfig):
    """REC-MARL, users that share access points."""

    system: Literal["rec_marl_access"] = setting("rec_marl_access", "which system")
    access: AccessNetwork = setting(AccessNetwork, "")
    method: AccessMethod = setting(AccessMethod, "")
    workers: WorkersConfig = setting(lambda: agents(AccessNetwork().users), "")
    training: AccessTraining = setting(AccessTraining, "")

    @model_validator(mode="after")
    def _has_room(self) -> "RecMarlAccessConfig":
        users = self.access.users
        if self.workers.count != users:
            raise ValueError(
                f"workers.count: got {self.workers.count}, allowed with access.points {self.access.points} and "
                f"access.users_per_point {self.access.users_per_point}: {users}, the number of users"
            )
        _check_order(self.access, "access", "reliability")
        _check_size("access", self.access.table_entries)
        _check_batch(self.method, self.method.horizon, users)
        return self


@dataclass(frozen=True, kw_only=True, config=RULES)
class RecMarlPowerConfig(SystemConfig):
    """REC-MARL, radio links that disturb each other; there are as many as ``workers.count``."""

    system: Literal["rec_marl_power"] = setting("rec_marl_power", "which system")
    power: PowerLinks = setting(PowerLinks, "")
    method: PowerMethod = setting(PowerMethod, "")
    workers: WorkersConfig = setting(lambda: agents(8), "")
    training: PowerTraining = setting(PowerTraining, "")

    @model_validator(mode="after")
    def _has_room(self) -> "RecMarlPowerConfig":
        links, levels = self.workers.count, self.power.levels
        most = int(math.log(LARGEST_SEARCH) / math.log(levels) + 1e-9)
        if links > most:
            raise ValueError(
                f"workers.count: got {links:,}, allowed with power.levels {levels}: up to {most}, so that the best of "
                f"all joint levels can be searched, which are {LARGEST_SEARCH:,} at most"
            )
        _check_order(self.power, "power", "gain", "cross_gain", "price")
        _check_size("power", self.power.table_entries(links))
        _check_batch(self.method, self.method.horizon, links)
        return self
