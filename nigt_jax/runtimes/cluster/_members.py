"""What the driver knows of its workers, and what it can ask of whoever has them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

from nigt_jax.config import Config, RayRuntimeConfig
from nigt_jax.runtimes._runtime import WorkerNews, WorkTime
from nigt_jax.runtimes.cluster._messages import Dropped, Event, Order, Ready, Report
from nigt_jax.training import Unit


def settings_of(config: Config) -> RayRuntimeConfig:
    """The runtime's settings of a run on Ray."""
    return cast(RayRuntimeConfig, config.runtime)


class Member:
    """What the driver knows of a worker.

    Attributes:
      incarnation: how often it was started before.
      ready: what it said of itself; None until it has compiled.
      heard: when it was heard last, on the driver's clock; None before that. Time in which it is held does not count.
      told: when it was given the first order that it has not answered, likewise.
      asked: number of its newest order, and since when the driver has had what that order follows from; None where it
        follows from nothing.
      since: when its process was started.
      failed_starts: how often it has ended before it was ready, since it was ready last.
      counted: units of it that counted.
      discarded: units of it that did not.
      faults: contributions that were refused.
      unanswered: sums in a row that its process was asked for without an answer.
      was_ready: whether its process, the newest, ever was.
      expelled: whether it is not started any more.
      away: whether it is not to be there, for now.
      news: what has happened to it last, in a clause.
    """

    def __init__(self) -> None:
        self.incarnation, self.ready, self.heard = -1, None, None
        self.counted, self.discarded, self.faults, self.unanswered, self.failed_starts = 0, 0, 0, 0, 0
        self.expelled, self.away, self.was_ready, self.news = False, False, False, ""
        self.actor: Any = None
        self.stream: Any = None
        self.since = self.told = time.monotonic()
        self.asked: tuple[int, float] | None = None

    ready: Ready | None
    heard: float | None

    def note_order(self, now: float) -> None:
        """It is given an order: an answer is expected from now on, unless one has been before."""
        if self.heard is None or self.told <= self.heard:
            self.told = now

    def note_held(self, seconds: float) -> None:
        """It was held for so long, in which nothing was expected of it."""
        self.told += seconds
        self.since += seconds
        if self.asked is not None:
            self.asked = self.asked[0], self.asked[1] + seconds
        if self.heard is not None:
            self.heard += seconds

    def time_of(self, event: Report | Dropped, now: float) -> WorkTime:
        """What a unit that it tells of has taken, and the exchange before it: all between two units of its own."""
        exchange = None
        if event.sequence == 0 and self.asked is not None and self.asked[0] == event.order:
            exchange = max(0.0, now - event.seconds - self.asked[1])
        return WorkTime(event.worker + 1, event.seconds, isinstance(event, Report), exchange)

    def is_late(self, now: float, busy: bool, deadline: float, grace: float) -> bool:
        """Whether it should have been heard: ready after so much grace, or, if busy, before a deadline."""
        if self.heard is None:
            return now - self.since > grace
        return busy and now - max(self.heard, self.told) > deadline

    def tell(self, now: float) -> WorkerNews:
        """What is shown of it, at a time of the driver's clock."""
        place = "" if self.ready is None else f"{self.ready.host} {self.ready.process}"
        heard = None if self.heard is None else now - self.heard
        return WorkerNews(place, self.counted, self.discarded, heard, self.news)

    @property
    def working(self) -> bool:
        """Whether it can be given orders."""
        return self.ready is not None


@runtime_checkable
class Workers(Protocol):
    """All workers, wherever they are.

    Attributes:
      members: what is known of each.
    """

    members: list[Member]

    def start(self, worker: int) -> None:
        """Starts a worker, or another one in its place; it is heard of when it is ready."""

    def give(self, workers: Iterable[int], order: Order, assignment: Any, since: float | None = None) -> Any:
        """Gives workers an order.

        Args:
          workers: whom; those that are not ready get nothing.
          order: the order.
          assignment: what to compute with, a tree of NumPy arrays or what this method has returned for it before.
          since: when the driver had what the order follows from, on its monotonic clock; what has passed until a
            worker begins is its exchange.

        Returns:
          The assignment, for another call.
        """

    def wait(self, seconds: float) -> list[Event]:
        """What there is to hear, after so many seconds at most."""

    def silent(self, busy: Callable[[int], bool], deadline: float) -> list[int]:
        """Workers that should have been heard: not ready in time, or busy and not heard of for so long."""

    def totals(self, order: Sequence[int], counts: Mapping[int, int], seconds: float) -> dict[int, Unit | None]:
        """The sums of the first so many units of some workers.

        Args:
          order: each worker's order.
          counts: number of units by worker.
          seconds: for which an answer is waited for.

        Returns:
          The sums, by worker: None where it says that a sum is not to be had any more; who does not answer is left out.
        """

    def dismiss(self, worker: int) -> None:
        """Ends a worker's process, whatever it is doing."""
