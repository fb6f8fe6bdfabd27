"""How the rounds of each kind of method are computed: the one place that tells kinds apart."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray

from nigt_jax.clocks import Clock, begin_arrivals
from nigt_jax.collectives import sum_over
from nigt_jax.config import Config
from nigt_jax.errors import UserError
from nigt_jax.methods import METHODS, Method, Rounds
from nigt_jax.training._arrivals import run_arrivals
from nigt_jax.training._block import only_runs
from nigt_jax.training._endless import round_that_never_ends, update_that_never_comes
from nigt_jax.training._hyperparameters import Hyperparameters
from nigt_jax.training._limits import Limits, Spent, reached
from nigt_jax.training._metrics import RoundMetrics
from nigt_jax.training._parts import Parts
from nigt_jax.training._round import run_round
from nigt_jax.training._state import TrainState
from nigt_jax.training._steps import add_steps, count_steps
from nigt_jax.training._worker_round import run_worker_round

_ARRIVALS = 16  # gradients that are computed at once, where they arrive one at a time

Round = Callable[[Parts, TrainState, Hyperparameters, Spent, Bool[Array, " runs"]], tuple[TrainState, RoundMetrics]]
Chunk = Callable[[Parts, int, TrainState, Hyperparameters, Limits, Spent], tuple[TrainState, RoundMetrics]]


class Engine(NamedTuple):
    """What a runtime has to know of a kind of method.

    Attributes:
      run: runs up to some limits in one call; see :func:`run_chunk`.
      episodes: maps (configuration, devices, most) to the episodes that a device plays in a block; `most` is what its
        memory, or the user, allows.
      begin: maps (clock, key) to the clock's state at time 0.
      endless: says which round, or update, never comes, and why; see :func:`round_that_never_ends`.
      snapshots: whether workers compute at what they were sent last; then each has a policy of its own.
    """

    run: Chunk
    episodes: Callable[[Config, int, int], int]
    begin: Callable[[Clock, PRNGKeyArray], Any]
    endless: Callable[[Method, Hyperparameters, Any, Any, int, int], str]
    snapshots: bool


def run_chunk(
    one_round: Round,
    parts: Parts,
    length: int,
    state: TrainState,
    hyperparameters: Hyperparameters,
    limits: Limits,
    spent: Spent,
) -> tuple[TrainState, RoundMetrics]:
    """Up to `length` rounds in one call; how many of them is traced, so one program serves all.

    Args:
      one_round: a single round.
      parts: the run's parts.
      length: rows of the metrics returned.
      state: the runs' state.
      hyperparameters: the runs' hyperparameters.
      limits: where each run stops; it makes at least one round, unless it rests, and at most `length`.
      spent: what the runs have used before.

    Returns:
      The state after, and the metrics with a leading axis of `length`; rows of rounds that a run did not make are zero.
    """
    put = jax.lax.dynamic_update_index_in_dim  # not `.at`, which looks whether there is such a row
    one = jax.jit(functools.partial(one_round, parts))  # traced once, for its shapes and for the loop
    goes = limits.rounds > 0
    shapes = jax.eval_shape(one, state, hyperparameters, spent, goes)[1]
    none = jax.tree.map(lambda m: jnp.zeros((length, *m.shape), m.dtype), shapes)

    def step(carry: tuple[Array, TrainState, RoundMetrics, Spent, Array]) -> tuple:
        number, before, metrics, spent, goes = carry
        state, own = one(before, hyperparameters, spent, goes)
        if goes.size > 1:  # the loop ends with the last run that goes on
            state, own = only_runs(goes, (state, own), (before, jax.tree.map(jnp.zeros_like, own)))
        metrics = jax.tree.map(lambda rows, row: put(rows, row, number, axis=0), metrics, own)
        spent = _added(parts, spent, own)
        goes &= (number + 1 < limits.rounds) & ~reached(limits, spent, own.time)
        return number + 1, state, metrics, spent, goes

    # Not a scan that skips what is not asked for: XLA for CPU runs a branch of a conditional a quarter more slowly.
    start = (jnp.zeros([], jnp.int32), state, none, spent, goes)
    _, state, metrics, _, _ = jax.lax.while_loop(lambda carry: carry[-1].any(), step, start)
    mine = {name: getattr(metrics, name) for name in ("env_steps", "computed_steps", "query_return_mean", "diverged")}
    return state, metrics._replace(**sum_over(parts.axis, mine))


def _added(parts: Parts, spent: Spent, own: RoundMetrics) -> Spent:
    """With what a round has used; its steps, which devices know apart, only where something depends on them."""
    gradients = add_steps(spent.gradients, count_steps(own.gradients))
    if not parts.counts_steps:
        return spent._replace(gradients=gradients)
    return Spent(gradients, add_steps(spent.env_steps, sum_over(parts.axis, own.env_steps)))


def _in_even_parts(config: Config, devices: int, most: int) -> int:
    """A device's share of a round, or an even part of that."""
    share = -(-config.episodes_per_round // devices)
    blocks = -(-share // most)
    return -(-share // blocks)


def _of_whole_workers(config: Config, devices: int, most: int) -> int:
    """All that a device's workers play in a round: what a worker sends may depend on all of its episodes."""
    each, workers = config.method.trajectories_per_gradient, config.workers.count
    most_per_worker = cast(Rounds, METHODS[config.method.name].schedule).most_per_worker
    if most_per_worker is None:
        raise TypeError(f"{config.method.name}: its workers keep something, but one may have any number of gradients")
    needed = -(-workers // devices) * most_per_worker(config.method.largest_batch, workers) * each
    if needed > most:
        raise UserError(
            f"training.block: got {devices * most:,} episodes at once, or as many as fit into memory, but "
            f"{config.method.name} needs a whole round at once; allowed: {devices * needed:,} or more, a smaller "
            "method.batch_size, or a shorter environment.horizon"
        )
    return needed


def _of_some_arrivals(config: Config, devices: int, most: int) -> int:
    """Gradients of distinct workers, of which more than a few are seldom found in a row."""
    each = config.method.trajectories_per_gradient
    return max(1, min(-(-min(config.workers.count, _ARRIVALS) // devices), most // each)) * each


def _rounds(one_round: Round, episodes: Callable[[Config, int, int], int]) -> Engine:
    run = functools.partial(run_chunk, one_round)
    return Engine(run, episodes, Clock.begin, round_that_never_ends, snapshots=False)


_ENGINES = {
    "summed": _rounds(run_round, _in_even_parts),
    "workers": _rounds(run_worker_round, _of_whole_workers),
    "arrivals": Engine(run_arrivals, _of_some_arrivals, begin_arrivals, update_that_never_comes, snapshots=True),
}


def engine_of(method: Method) -> Engine:
    """The engine of a method's kind."""
    return _ENGINES[method.kind]
