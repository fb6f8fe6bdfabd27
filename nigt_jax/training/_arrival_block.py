"""Which gradients arrive next, and what becomes of them: a matter of the clock and of the method's rule alone.

So it is known of many before one of them is computed. Of consecutive arrivals from distinct workers all snapshots were
sent before the first of them: such a block can be computed at once.
"""

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from nigt_jax.clocks import SimulatedTime, next_arrival
from nigt_jax.collectives import place_on
from nigt_jax.methods import Arrivals
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._limits import is_late
from nigt_jax.training._parts import Parts
from nigt_jax.training._state import TrainState


class Block(NamedTuple):
    """Arrivals in order; a leading axis of places, the last of which may be empty.

    Attributes:
      worker: number of the worker whose gradient it is.
      taken: whether there is an arrival in this place.
      absorbed: whether it is not discarded.
      updates: whether it makes an update.
      number: number of the update that it makes, or that the next one makes if it makes none.
      serial: how many gradients were absorbed before it.
      delay: updates made since its worker's query point; of the oldest gradient, where it makes an update.
      time: time of the arrival.
      before: time of the arrival before it.
      entry: where it is collected; see :class:`nigt_jax.clocks.Fate`.
      last: whether the call ends with it, for its time or for the number of gradients.
    """

    worker: Int[Array, " places"]
    taken: Bool[Array, " places"]
    absorbed: Bool[Array, " places"]
    updates: Bool[Array, " places"]
    number: Int[Array, " places"]
    serial: Int[Array, " places"]
    delay: Int[Array, " places"]
    time: SimulatedTime
    before: SimulatedTime
    entry: Any
    last: Bool[Array, " places"]


class Until(NamedTuple):
    """Where one run's call ends: with the first update that reaches any of these.

    Attributes:
      last: number of the last update.
      time: simulated time.
      gradients: gradients from now on.
      env_steps: steps from now on; no arrival is taken into a block after others that may have used as many.
    """

    last: Int[Array, ""]
    time: SimulatedTime
    gradients: Int[Array, ""]
    env_steps: Int[Array, ""]


class _Scan(NamedTuple):
    """What is known before an arrival of a block.

    Attributes:
      clock: the clock's state.
      phase: the rule's.
      seen: who is in the block.
      number: updates made.
      absorbed: gradients of the block that are.
      is_open: whether the block goes on.
    """

    clock: Any
    phase: Any
    seen: Bool[Array, " workers"]
    number: Int[Array, ""]
    absorbed: Int[Array, ""]
    is_open: Bool[Array, ""]


def next_block(
    parts: Parts, state: TrainState, hyperparameters: Hyperparameters, until: Until
) -> tuple[Block, TrainState, Bool[Array, ""]]:
    """One run's next block: up to the first worker that comes a second time, or to where it has to end.

    Returns:
      The block, the state with clock and phase after it, and whether no update will ever come.
    """
    rule = cast(Arrivals, parts.method.schedule).rule(hyperparameters.step)
    most_steps = parts.trajectories_per_gradient * parts.horizon

    def place(at: _Scan, _: None) -> tuple[_Scan, Block]:
        worker, answered, clock = next_arrival(hyperparameters.clock, at.clock)
        fate, phase = rule.take(at.phase, worker, state.sent.at[worker], at.number)
        affordable = (at.absorbed * most_steps < until.env_steps) | (at.absorbed == 0)
        comes = answered & ~rule.waits_for(at.phase, jnp.isinf(at.clock.due.high)).any()
        taken = at.is_open & comes & ~at.seen[worker] & (at.number < until.last) & affordable
        absorbed, updates = taken & fate.absorbed, taken & fate.updates
        count = at.absorbed + absorbed.astype(jnp.int32)
        last = updates & (is_late(clock.now, until.time) | (count >= until.gradients))
        block = Block(
            worker=worker,
            taken=taken,
            absorbed=absorbed,
            updates=updates,
            number=at.number,
            serial=fate.serial,
            delay=fate.delay,
            time=clock.now,
            before=at.clock.now,
            entry=fate.entry,
            last=last,
        )
        choose = functools.partial(jnp.where, taken)
        after = _Scan(
            clock=jax.tree.map(choose, clock, at.clock),
            phase=jax.tree.map(choose, phase, at.phase),
            seen=at.seen.at[worker].set(at.seen[worker] | taken),
            number=at.number + updates.astype(jnp.int32),
            absorbed=count,
            is_open=taken & ~last,
        )
        return after, block

    nobody = jnp.zeros(hyperparameters.clock.workers, bool)
    start = _Scan(state.clock, state.phase, nobody, state.iteration, jnp.zeros([], jnp.int32), jnp.ones([], bool))
    end, block = jax.lax.scan(place, start, length=places_of(parts) * place_on(parts.axis)[1])
    waits = ~block.taken[0] & (state.iteration < until.last)
    return block, state._replace(clock=end.clock, phase=end.phase), waits


def places_of(parts: Parts) -> int:
    """Gradients that one device computes at once, of each run."""
    return parts.episodes // parts.trajectories_per_gradient


def ends_with_update(block: Block) -> Bool[Array, ""]:
    """Whether the block's last gradient that is absorbed makes an update."""
    place = jnp.arange(block.taken.size)
    latest = lambda chosen: jnp.where(chosen, place, -1).max()
    return block.absorbed.any() & (latest(block.absorbed) == latest(block.updates))
