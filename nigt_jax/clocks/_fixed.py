"""Workers whose gradients always take the same time: rounds without enumerating a single gradient."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.clocks import _pairs as pairs
from nigt_jax.clocks._pairs import Pair, widen
from nigt_jax.clocks._rounds import Ending, end_together, never
from nigt_jax.clocks._rules import MOST, Rule

_LATEST = 1e37  # no round is longer


def fixed_round(rule: Rule, times: Float[Array, " workers"], start: Pair) -> Ending:
    """The round of workers that need ``times`` for every gradient, in O(workers) memory whatever the batch size.

    Arrivals are start + k times: for a start of 0 exact in pairs of float32, up to k = 2^24, and otherwise good to 14
    digits. The end is found by bisection: first among the float32 numbers, then among 2^24 steps between two of them.
    Arrivals in one of these steps, less than 2^-47 of the time apart, count as simultaneous.

    Args:
      rule: when the round is over.
      times: time of a gradient of each worker; inf for one that never answers.
      start: when each worker begins its first gradient, shape [workers].

    Returns:
      The ending. Its round is incomplete only where it would never end, or counts more gradients than it may.
    """
    nothing = jnp.zeros(times.shape, jnp.int32)
    stuck = ~jnp.isfinite(times) | ~jnp.isfinite(start.high)

    def is_over(time: Pair) -> Bool[Array, ""]:
        return rule.enough(rule.limit(_finished(time, times, start)))

    latest = jnp.where(rule.never(nothing, stuck), 0, _bits(jnp.float32(_LATEST)))

    def time_of(bits: Int[Array, ""], step: Int[Array, ""]) -> Pair:
        high = _float(bits)
        gap = high - _float(jnp.maximum(bits - 1, 0))
        return pairs.add(widen(high), widen(gap * (step.astype(jnp.float32) * 2.0**-24)))

    bits, step = _first_place(lambda bits, step: is_over(time_of(bits, step)), latest)

    # What arrives in the last step arrives at once, and the rule takes as much of it as it needs.
    by_then = lambda step: rule.limit(_finished(time_of(bits, step), times, start))
    before, after = jax.lax.map(by_then, jnp.stack([step - 1, step]))
    arriving = after > before
    return end_together(rule, before, arriving, _arrival(before, times, start), _arrival(before + 1, times, start))


def _first_place(
    condition: Callable[[Array, Array], Bool[Array, ""]], latest: Int[Array, ""]
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Bits of the first float32 up to `latest` at which a condition holds, and of the 2^24 steps below it the first.

    Both bisections are one loop: what it goes round is most of the program, and compiled once.
    """
    zero = jnp.zeros([], jnp.int32)

    def halve(at: tuple) -> tuple:
        bits, low, high, fine = at
        middle = low + (high - low) // 2
        holds = condition(jnp.where(fine, bits, middle), jnp.where(fine, middle, 0))
        low, high = jnp.where(holds, low, middle), jnp.where(holds, middle, high)
        refine = ~fine & (high - low <= 1)
        choose = functools.partial(jnp.where, refine)
        return choose(high, bits), choose(-(2**24), low), choose(0, high), fine | refine

    start = (zero, zero, latest, jnp.zeros([], bool))
    bits, _, step, _ = jax.lax.while_loop(lambda at: ~at[3] | (at[2] - at[1] > 1), halve, start)
    return bits, step


def _finished(time: Pair, times: Float[Array, " workers"], start: Pair) -> Int[Array, " workers"]:
    """How many gradients each worker has finished at `time`, included."""
    usable = jnp.isfinite(times) & jnp.isfinite(start.high)
    h = jnp.where(usable, times, 1)
    spent = pairs.subtract(pairs.broadcast(time, h.shape), pairs.where(usable, start, widen(jnp.zeros_like(h))))
    count = jnp.clip(spent.high / h, 0, MOST).astype(jnp.int32)  # off by its rounding: two corrections
    rest = pairs.subtract(spent, pairs.multiply(pairs.whole(count), widen(h)))
    count = jnp.clip(count + jnp.floor(jnp.clip(rest.high / h, -512, 512)).astype(jnp.int32), 0, MOST)
    rest = pairs.subtract(spent, pairs.multiply(pairs.whole(count), widen(h)))
    late, early = (rest.high < 0) & (count > 0), pairs.less_equal(widen(h), rest) & (count < MOST)
    return jnp.where(usable, count - late.astype(jnp.int32) + early.astype(jnp.int32), 0)


def _arrival(number: Int[Array, " workers"], times: Float[Array, " workers"], start: Pair) -> Pair:
    """When each worker finishes its `number`-th gradient; the 0-th when it starts."""
    after = pairs.add(start, pairs.multiply(pairs.whole(number), widen(jnp.where(jnp.isfinite(times), times, 0))))
    return pairs.where(jnp.isfinite(times) | (number == 0), after, never(times.shape))


def _bits(value: Float[Array, ""]) -> Int[Array, ""]:
    """Positive floating-point numbers are in the order of their bits."""
    return jax.lax.bitcast_convert_type(value, jnp.int32)


def _float(bits: Int[Array, ""]) -> Float[Array, ""]:
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
