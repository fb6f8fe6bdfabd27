"""What the driver and the workers of a cluster tell each other. Arrays are NumPy's; all else is small."""

from typing import Any, NamedTuple, TypeAlias


class Order(NamedTuple):
    """What a worker works on until it gets the next order.

    Attributes:
      number: the order's; what a worker reports carries it, so that what comes late is known for what it is.
      most: units after which the worker waits; None where it goes on.
      delivers: whether every report brings its gradient. Otherwise a worker keeps the sum, and is asked for it.
      episodes: of a method whose workers keep something: how many of a unit's episodes count.
      after: of such a method: number of the worker's own order whose outcome it goes on from.
      kept: what it goes on from instead, where it may not have that.
    """

    number: int
    most: int | None
    delivers: bool
    episodes: int = 0
    after: int = -1
    kept: Any = None


class Report(NamedTuple):
    """A unit of work is done.

    Attributes:
      worker: who has done it, from 0.
      order: number of the order.
      sequence: number of the unit among those of the order, from 0.
      seconds: that it took; time in which the worker was held does not count.
      unit: what it brings, a :class:`nigt_jax.training.Unit`; None where the worker keeps it.
    """

    worker: int
    order: int
    sequence: int
    seconds: float
    unit: Any


class Ready(NamedTuple):
    """A worker has compiled its programs.

    Attributes:
      worker: who, from 0.
      process: number of its process.
      host: name of its machine.
    """

    worker: int
    process: int
    host: str


class Dropped(NamedTuple):
    """A worker has broken a unit off, as there is another order: it is slow, and not stuck.

    Attributes:
      worker: who, from 0.
      order: number of the order that the unit was of.
      sequence: number of the unit among those of the order, from 0.
      seconds: that it has taken; time in which the worker was held does not count.
    """

    worker: int
    order: int
    sequence: int
    seconds: float


class Lost(NamedTuple):
    """A worker is gone.

    Attributes:
      worker: who, from 0.
      why: one clause.
    """

    worker: int
    why: str


Event: TypeAlias = Ready | Report | Dropped | Lost
