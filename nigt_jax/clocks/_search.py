"""Rounds of any clock that can say when the next few gradients of every worker are finished."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from nigt_jax.clocks import _pairs as pairs
from nigt_jax.clocks._pairs import Pair, widen
from nigt_jax.clocks._rounds import Ending, decide
from nigt_jax.clocks._rules import Rule

Following = Callable[[Int[Array, " workers"], Pair], Pair]
"""(gradients finished, when the last of them was) to when each worker finishes the next, shape [workers, window]."""


def searched_round(rule: Rule, following: Following, start: Pair) -> Ending:
    """The round, with a window of the next few gradients of every worker that moves on until the end lies in it.

    Memory is that of the window, whatever the batch size; nothing is sorted but the last window.

    Args:
      rule: when the round is over.
      following: the clock. Asked again for the same gradients, it has to give the same answer: a gradient that lies
        beyond the window is not drawn anew, which would favour the short ones.
      start: when each worker begins its first gradient, shape [workers].

    Returns:
      The ending. Its round is incomplete only where it would never end.
    """
    workers = start.high.shape[0]

    def look(counts: Int[Array, " workers"], since: Pair) -> tuple[Pair, Array, Array]:
        """The window, how many gradients are finished up to where it is complete, and how many in all of it."""
        finish = following(counts, since)
        number = counts[:, None] + jnp.arange(1, finish.high.shape[1] + 1)[None, :]
        finish = pairs.where(rule.limit(number) == number, finish, widen(jnp.full(finish.high.shape, jnp.inf)))
        known = pairs.smallest(Pair(finish.high[:, -1], finish.low[:, -1]))
        known = jax.tree.map(lambda x: jnp.broadcast_to(x, finish.high.shape), known)
        answers = jnp.isfinite(finish.high)
        seen = jnp.sum(answers & pairs.less_equal(finish, known), axis=1, dtype=jnp.int32)
        return finish, seen, jnp.sum(answers, axis=1, dtype=jnp.int32)

    def move(carry: tuple) -> tuple:
        counts, since, _ = carry
        finish, seen, all_seen = look(counts, since)
        stuck = ~jnp.isfinite(finish.high[:, -1])
        found = rule.enough(counts + seen) | rule.never(counts + all_seen, stuck)
        last = jnp.maximum(seen - 1, 0)[:, None]
        at = jax.tree.map(lambda x: jnp.take_along_axis(x, last, axis=1)[:, 0], finish)
        moved = pairs.where((seen > 0) & ~found, at, since)
        return counts + jnp.where(found, 0, seen), moved, found

    start_counts = jnp.zeros(workers, jnp.int32)
    counts, since, _ = jax.lax.while_loop(lambda carry: ~carry[2], move, (start_counts, start, jnp.zeros([], bool)))
    return decide(rule, counts, since, following(counts, since))
