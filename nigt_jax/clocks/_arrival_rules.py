"""What becomes of a gradient that arrives: whether it is absorbed, and whether the server updates upon it."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Fate(NamedTuple):
    """What becomes of a gradient that has arrived.

    Attributes:
      absorbed: whether it counts; otherwise it is discarded.
      updates: whether the server updates upon it.
      serial: how many gradients were absorbed before it.
      delay: updates made since the query point of the gradient; where it makes an update, since that of the oldest one
        in it.
      worth: gradients that are as good as its update, where it makes one, and that are in no other update.
      entry: where gradients are collected, what the method's table has to know of it; () elsewhere.
    """

    absorbed: Bool[Array, ""]
    updates: Bool[Array, ""]
    serial: Int[Array, ""]
    delay: Int[Array, ""]
    worth: Float[Array, ""]
    entry: Any


@runtime_checkable
class ArrivalRule(Protocol):
    """Decides on every gradient that arrives, by who has sent it and how old it is, never by what it is."""

    def begin(self, workers: int) -> Any:
        """What the rule keeps from arrival to arrival, at time 0; () where that is nothing."""

    def take(
        self, kept: Any, worker: Int[Array, ""], sent_at: Int[Array, ""], updates: Int[Array, ""]
    ) -> tuple[Fate, Any]:
        """What becomes of an arrival, and what the rule keeps after it.

        Args:
          kept: before it.
          worker: number of the worker whose gradient it is.
          sent_at: updates made when its worker was sent its query point.
          updates: updates made by now.
        """

    def waits_for(self, kept: Any, silent: Bool[Array, " workers"]) -> Bool[Array, " workers"]:
        """Workers without whom no update will ever come; none where one may.

        Args:
          kept: what the rule keeps.
          silent: workers that will never deliver again.
        """


class YoungerThan(NamedTuple):
    """Every gradient makes an update, unless it is so many updates old, or older.

    Attributes:
      max_delay: delay from which on gradients are discarded.
    """

    max_delay: Int[Array, ""]

    def begin(self, workers: int) -> tuple[()]:
        """Nothing is kept."""
        del workers
        return ()

    def take(
        self, kept: tuple[()], worker: Int[Array, ""], sent_at: Int[Array, ""], updates: Int[Array, ""]
    ) -> tuple[Fate, tuple[()]]:
        """What becomes of an arrival; see :meth:`ArrivalRule.take`."""
        del worker
        delay = updates - sent_at
        good = delay < self.max_delay
        return Fate(good, good, serial=updates, delay=delay, worth=jnp.ones([]), entry=()), kept

    def waits_for(self, kept: tuple[()], silent: Bool[Array, " workers"]) -> Bool[Array, " workers"]:
        """Everybody, where everybody is silent; see :meth:`ArrivalRule.waits_for`."""
        del kept
        return jnp.broadcast_to(silent.all(), silent.shape)


class YoungerThanRoot(NamedTuple):
    """The same with a delay that grows: of update number k, from 1, it is the square root of k, rounded down."""

    def begin(self, workers: int) -> tuple[()]:
        """Nothing is kept."""
        del workers
        return ()

    def take(
        self, kept: tuple[()], worker: Int[Array, ""], sent_at: Int[Array, ""], updates: Int[Array, ""]
    ) -> tuple[Fate, tuple[()]]:
        """What becomes of an arrival; see :meth:`ArrivalRule.take`."""
        return YoungerThan(_whole_root(updates + 1)).take(kept, worker, sent_at, updates)

    def waits_for(self, kept: tuple[()], silent: Bool[Array, " workers"]) -> Bool[Array, " workers"]:
        """Everybody, where everybody is silent; see :meth:`ArrivalRule.waits_for`."""
        del kept
        return jnp.broadcast_to(silent.all(), silent.shape)


def _whole_root(number: Int[Array, ""]) -> Int[Array, ""]:
    """The square root rounded down, exactly, of 1 to 2e9; a float32 has not the digits of a large number."""
    near = jnp.sqrt(number.astype(jnp.float32)).astype(jnp.int32)
    return jnp.where(near**2 > number, near - 1, jnp.where((near + 1) ** 2 <= number, near + 1, near))
