"""When a round ends: conditions on how many gradients every worker has finished."""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.clocks import _pairs as pairs

MOST = 2**30
"""A round that counts so many gradients is not decided: int32 holds their number, and little more."""
NO_END = 2**31 - 1
"""The share of a worker that goes on whatever it has done: a number, so that all such rules are one program."""
_TOLERANCE = 2.0**-40


class CountRule(NamedTuple):
    """So many gradients altogether, of which no worker contributes more than its share.

    Attributes:
      need: gradients that end the round.
      share: most that a worker computes, after which it waits; `NO_END` where it goes on.
    """

    need: Int[Array, ""]
    share: Int[Array, ""]

    def limit(self, counts: Int[Array, "*shape"]) -> Int[Array, "*shape"]:
        """How many gradients a worker computes that could have computed so many."""
        return jnp.minimum(counts, self.share)

    def enough(self, counts: Int[Array, " workers"]) -> Bool[Array, ""]:
        """Whether the round is over."""
        # The sum of int32 may overflow; then that of float32 is far above anything that could be needed.
        return (_roughly(counts) > 2e9) | (jnp.sum(counts, dtype=jnp.int32) >= self.need)

    def never(self, counts: Int[Array, " workers"], stuck: Bool[Array, " workers"]) -> Bool[Array, ""]:
        """Whether it never will be, where a `stuck` worker finishes no more than it has."""
        return ~self.enough(jnp.where(stuck, counts, self.share))


class HarmonicRule(NamedTuple):
    """Until the harmonic mean of the counts is at least need / workers: sum_i 1 / M_i <= workers^2 / need.

    Both sides are computed to at least 12.5 digits and compared to 12, so that equal ones are equal. A sum that is
    larger than the bound by less than that counts as equal, too.

    Attributes:
      need: the M of Malenia.
    """

    need: Int[Array, ""]

    def limit(self, counts: Int[Array, "*shape"]) -> Int[Array, "*shape"]:
        """How many gradients a worker computes that could have computed so many."""
        return counts

    def enough(self, counts: Int[Array, " workers"]) -> Bool[Array, ""]:
        """Whether the round is over."""
        return jnp.all(counts > 0) & (self._excess(counts) <= _TOLERANCE)

    def never(self, counts: Int[Array, " workers"], stuck: Bool[Array, " workers"]) -> Bool[Array, ""]:
        """Whether it never will be, where a `stuck` worker finishes no more than it has."""
        others_at_most = jnp.where(stuck, counts, MOST)
        # Where others go on, the sum only comes near to the share of those who do not.
        margin = jnp.where(jnp.all(stuck), _TOLERANCE, -_TOLERANCE)
        return jnp.any(others_at_most == 0) | (self._excess(others_at_most) > margin)

    def _excess(self, counts: Int[Array, " workers"]) -> Float[Array, ""]:
        """By what part of the bound the sum exceeds it."""
        workers, one = counts.shape[0], pairs.split(1.0)
        inverses = pairs.divide(pairs.broadcast(one, counts.shape), pairs.whole(jnp.maximum(counts, 1)))
        bound = pairs.divide(pairs.split(float(workers) ** 2), pairs.whole(self.need))
        return pairs.subtract(pairs.total(inverses), bound).high / bound.high


class OneOfRules(NamedTuple):
    """One of several rules. Which one is traced, so that runs with different rules share a program; see :func:`one_of`.

    Attributes:
      number: its number among them.
      rules: the rules.
    """

    number: Int[Array, ""]
    rules: "tuple[Rule, ...]"

    def limit(self, counts: Int[Array, "*shape"]) -> Int[Array, "*shape"]:
        """How many gradients a worker computes that could have computed so many."""
        return jax.lax.select_n(self.number, *(rule.limit(counts) for rule in self.rules))

    def enough(self, counts: Int[Array, " workers"]) -> Bool[Array, ""]:
        """Whether the round is over."""
        return jax.lax.switch(self.number, [rule.enough for rule in self.rules], counts)

    def never(self, counts: Int[Array, " workers"], stuck: Bool[Array, " workers"]) -> Bool[Array, ""]:
        """Whether it never will be, where a `stuck` worker finishes no more than it has."""
        return jax.lax.switch(self.number, [rule.never for rule in self.rules], counts, stuck)


Rule: TypeAlias = CountRule | HarmonicRule | OneOfRules


def one_of(number: Int[Array, ""], rules: "tuple[Rule, ...]") -> Rule:
    """The rule of a number, which is traced. Rules of one type differ in their numbers alone, and are one program."""
    types = tuple(dict.fromkeys(map(type, rules)))

    def chosen(kind: type) -> Rule:
        others = next(rule for rule in rules if type(rule) is kind)
        some = (rule if type(rule) is kind else others for rule in rules)
        return jax.tree.map(lambda *values: jax.lax.select_n(number, *values), *some)

    if len(types) == 1:
        return chosen(types[0])
    of_type = jnp.asarray([types.index(type(rule)) for rule in rules], jnp.int32)
    return OneOfRules(of_type[number], tuple(map(chosen, types)))


def rennala_rule(batch_size: int | Int[Array, ""], workers: int) -> Rule:
    """So many gradients, from whoever is fast."""
    del workers
    return CountRule(jnp.asarray(batch_size, jnp.int32), jnp.asarray(NO_END, jnp.int32))


def malenia_rule(batch_size: int | Int[Array, ""], workers: int) -> Rule:
    """Until the harmonic mean of the counts is large enough."""
    del workers
    return HarmonicRule(jnp.asarray(batch_size, jnp.int32))


def synchronous_rule(batch_size: int | Int[Array, ""], workers: int) -> Rule:
    """The same number from every worker, batch_size altogether; rounded up."""
    share = jnp.minimum((jnp.asarray(batch_size, jnp.int32) - 1) // workers + 1, (2**31 - 1) // workers)
    return CountRule(share * workers, share)


def m_synchronous_rule(batch_size: int | Int[Array, ""], workers: int) -> Rule:
    """One gradient each from the first batch_size workers."""
    del workers
    return CountRule(jnp.asarray(batch_size, jnp.int32), jnp.ones([], jnp.int32))


def countable(counts: Int[Array, " workers"]) -> Bool[Array, ""]:
    """Whether a round may count so many gradients: fewer than `MOST` altogether."""
    return _roughly(counts) < MOST


def _roughly(counts: Int[Array, " workers"]) -> Float[Array, ""]:
    """Their sum, rounded, which an int32 may not hold."""
    return jnp.sum(counts.astype(jnp.float32))
