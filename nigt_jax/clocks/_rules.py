"""When a round ends: conditions on how many gradients every worker has finished."""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from nigt_jax.clocks import _pairs as pairs


class CountRule(NamedTuple):
    """So many gradients altogether, of which no worker contributes more than its share.

    Attributes:
      need: gradients that end the round.
      share: most that a worker computes, after which it waits; None where it goes on.
    """

    need: Int[Array, ""]
    share: Int[Array, ""] | None

    def limit(self, counts: Int[Array, "*shape"]) -> Int[Array, "*shape"]:
        """How many gradients a worker computes that could have computed so many."""
        return counts if self.share is None else jnp.minimum(counts, self.share)

    def enough(self, counts: Int[Array, " workers"]) -> Bool[Array, ""]:
        """Whether the round is over."""
        # The sum of int32 may overflow; then that of float32 is far above anything that could be needed.
        return (jnp.sum(counts.astype(jnp.float32)) > 2e9) | (jnp.sum(counts) >= self.need)

    def never(self, counts: Int[Array, " workers"], stuck: Bool[Array, " workers"]) -> Bool[Array, ""]:
        """Whether it never will be, where a `stuck` worker finishes no more than it has."""
        if self.share is None:
            return jnp.all(stuck) & ~self.enough(counts)
        return ~self.enough(jnp.where(stuck, counts, self.share))

    def enough_after(
        self,
        counts: Int[Array, " workers"],
        worker: Int[Array, " arrivals"],
        number: Int[Array, " arrivals"],
        valid: Bool[Array, " arrivals"],
    ) -> Bool[Array, " arrivals"]:
        """Whether it is over after each arrival in turn: the `number`-th gradient of `worker`, where `valid`."""
        del worker, number
        return jnp.sum(counts) + jnp.cumsum(valid) >= self.need


class HarmonicRule(NamedTuple):
    """Until the harmonic mean of the counts is at least need / workers; decided to nine digits.

    Attributes:
      need: the M of Malenia.
    """

    need: Int[Array, ""]

    def limit(self, counts: Int[Array, "*shape"]) -> Int[Array, "*shape"]:
        """How many gradients a worker computes that could have computed so many."""
        return counts

    def enough(self, counts: Int[Array, " workers"]) -> Bool[Array, ""]:
        """Whether the round is over."""
        return jnp.all(counts > 0) & self._met(pairs.total(_inverse(counts)), counts.shape[0])

    def never(self, counts: Int[Array, " workers"], stuck: Bool[Array, " workers"]) -> Bool[Array, ""]:
        """Whether it never will be, where a `stuck` worker finishes no more than it has."""
        # The others' share is then too small to matter, but not so small that the tolerance hides it.
        many = jnp.clip(self.need, 2**14, 2**24) * 64
        return ~self.enough(jnp.where(stuck, counts, many))

    def enough_after(
        self,
        counts: Int[Array, " workers"],
        worker: Int[Array, " arrivals"],
        number: Int[Array, " arrivals"],
        valid: Bool[Array, " arrivals"],
    ) -> Bool[Array, " arrivals"]:
        """Whether it is over after each arrival in turn: the `number`-th gradient of `worker`, where `valid`."""
        del worker
        missing = jnp.sum(counts == 0) - jnp.cumsum(valid & (number == 1))
        # An arrival that is its worker's c-th takes 1/(c-1) - 1/c off the sum, so the sum is a running one.
        gain, loss = _inverse(jnp.where(valid, number, 0)), _inverse(jnp.where(valid, number - 1, 0))
        change = pairs.running_sum(pairs.subtract(gain, loss))
        before = jax.tree.map(lambda x: jnp.broadcast_to(x, number.shape), pairs.total(_inverse(counts)))
        return (missing == 0) & self._met(pairs.add(before, change), counts.shape[0])

    def _met(self, inverses: pairs.Pair, workers: int) -> Bool[Array, "*shape"]:
        """Whether sum_i 1/M_i is at most n^2/M. In pairs: near the end its steps may be a millionth of it."""
        bound = pairs.multiply(pairs.reciprocal(self.need.astype(jnp.float32)), pairs.split(float(workers) ** 2))
        difference = pairs.subtract(inverses, jax.tree.map(lambda x: jnp.broadcast_to(x, inverses.high.shape), bound))
        return (difference.high + difference.low) / bound.high <= 1e-9


Rule: TypeAlias = CountRule | HarmonicRule


def rennala_rule(batch_size: int | Int[Array, ""], workers: int) -> Rule:
    """So many gradients, from whoever is fast."""
    del workers
    return CountRule(jnp.asarray(batch_size, jnp.int32), None)


def malenia_rule(batch_size: int | Int[Array, ""], workers: int) -> Rule:
    """Until the harmonic mean of the counts is large enough."""
    del workers
    return HarmonicRule(jnp.asarray(batch_size, jnp.int32))


def synchronous_rule(batch_size: int | Int[Array, ""], workers: int) -> Rule:
    """The same number from every worker, batch_size altogether; rounded up."""
    share = (jnp.asarray(batch_size, jnp.int32) + workers - 1) // workers
    return CountRule(share * workers, share)


def m_synchronous_rule(batch_size: int | Int[Array, ""], workers: int) -> Rule:
    """One gradient each from the first batch_size workers."""
    del workers
    return CountRule(jnp.asarray(batch_size, jnp.int32), jnp.ones([], jnp.int32))


def _inverse(counts: Int[Array, "*shape"]) -> pairs.Pair:
    """1 / count, and zero for a count of zero."""
    positive = pairs.reciprocal(jnp.maximum(counts, 1).astype(jnp.float32))
    return jax.tree.map(lambda x: jnp.where(counts > 0, x, 0), positive)
