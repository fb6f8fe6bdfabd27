"""Rounds of any clock that can say when the next few gradients of every worker are finished."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from nigt_jax.clocks import _pairs as pairs
from nigt_jax.clocks._pairs import Pair
from nigt_jax.clocks._rounds import Ending, decide, never
from nigt_jax.clocks._rules import Rule, countable

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
      The ending. Its round is incomplete only where it would never end, or counts more gradients than it may.
    """

    def look(counts: Int[Array, " workers"], since: Pair) -> tuple[Pair, Array, Array]:
        """The window, how many gradients are finished up to where it is complete, and how many in all of it."""
        finish = following(counts, since)
        number = counts[:, None] + jnp.arange(1, finish.high.shape[1] + 1, dtype=jnp.int32)[None, :]
        finish = pairs.where(rule.limit(number) == number, finish, never(finish.high.shape))
        known = pairs.broadcast(pairs.smallest(jax.tree.map(lambda x: x[:, -1], finish)), finish.high.shape)
        answers = jnp.isfinite(finish.high)
        seen = jnp.sum(answers & pairs.less_equal(finish, known), axis=1, dtype=jnp.int32)
        return finish, seen, jnp.sum(answers, axis=1, dtype=jnp.int32)

    def move(carry: tuple) -> tuple:
        counts, since, _, _ = carry
        finish, seen, all_seen = look(counts, since)
        stuck = ~jnp.isfinite(finish.high[:, -1])
        found = rule.enough(counts + seen) | rule.never(counts + all_seen, stuck) | ~countable(counts + seen)
        last = jnp.maximum(seen - 1, 0)[:, None]
        at = jax.tree.map(lambda x: jnp.take_along_axis(x, last, axis=1)[:, 0], finish)
        moved = pairs.where((seen > 0) & ~found, at, since)
        return counts + jnp.where(found, 0, seen), moved, finish, found

    counts = jnp.zeros(start.high.shape, jnp.int32)
    # The window that was looked at is kept: computed again in another place of the program it may be rounded otherwise.
    window = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(following, counts, start))
    begin = counts, start, window, jnp.zeros([], bool)
    counts, since, window, _ = jax.lax.while_loop(lambda carry: ~carry[3], move, begin)
    return decide(rule, counts, since, window)
