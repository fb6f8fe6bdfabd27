"""Ways to play the same episodes: the trajectory queue, and those that it is there instead of."""

import functools
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from nigt_jax.benchmark._turns import take_turns
from nigt_jax.collectives import sum_over
from nigt_jax.config import check_config
from nigt_jax.rollout import Tasks, play_only, side_by_side
from nigt_jax.runtimes import SimulatedRuntime
from nigt_jax.training import Hyperparameters, Parts, TrainState, next_round, tasks_of_block

Way = Callable[[Parts, Tasks], tuple[jax.Array, jax.Array]]
"""(parts, a device's episodes) to (useful steps, computed steps)."""

MASKED, QUEUE = "masked scan", "queue"


def runtime_of_ways(environment: str, horizon: int, lanes: int, each: int, devices: int) -> SimulatedRuntime:
    """A run whose round is one block: so many episodes for every lane, so many lanes on each device."""
    episodes = lanes * each * devices
    training = {"lanes": lanes, "block": episodes, "devices": devices, "compilation_cache": False}
    settings = {
        "environment": {"name": environment, "horizon": horizon},
        "method": {"batch_size": episodes},
        "training": training,
    }
    return SimulatedRuntime(check_config(settings))


def compare_ways(runtime: SimulatedRuntime, names: Sequence[str], turns: int) -> dict[str, dict[str, Any]]:
    """Useful steps a second of ways to play the round's episodes, all of them taking turns; the masked scan is one.

    Args:
      runtime: as of :func:`runtime_of_ways`.
      names: keys of WAYS.
      turns: how often; one more warms up.

    Returns:
      For each way ``useful_per_computed``, ``useful_steps_per_second`` (median), and ``ratios`` to the masked scan,
      one a turn.
    """
    programs = {name: runtime.program(functools.partial(_on_all, WAYS[name])) for name in names}
    state = runtime.initial_state()
    steps = {name: [int(x) for x in jax.device_get(program(state))] for name, program in programs.items()}
    _check(steps)
    times = take_turns(programs, state, turns)
    rates = {name: [steps[name][0] / seconds for seconds in times[name]] for name in names}
    return {
        name: {
            "useful_per_computed": steps[name][0] / steps[name][1],
            "useful_steps_per_second": statistics.median(rates[name]),
            "ratios": [mine / masked for mine, masked in zip(rates[name], rates[MASKED], strict=True)],
        }
        for name in names
    }


def queue(parts: Parts, tasks: Tasks) -> tuple[jax.Array, jax.Array]:
    """Through the lanes, as training does it."""
    outcomes, computed = _played(parts, tasks, parts.num_lanes)
    return outcomes.lengths.sum(), computed


def until_all_are_done(parts: Parts, tasks: Tasks) -> tuple[jax.Array, jax.Array]:
    """As many at a time as there are lanes, until the last of them has ended; then the next ones."""
    lanes = parts.num_lanes[0]
    keys = tasks.keys.reshape(-1, lanes)

    def batch(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        outcomes, computed = _played(parts, tasks._replace(keys=keys, active=jnp.ones(lanes, bool)), (lanes,))
        return outcomes.lengths.sum(), computed

    useful, computed = jax.lax.map(batch, keys)
    return useful.sum(), computed.sum()


def masked_at_once(parts: Parts, tasks: Tasks) -> tuple[jax.Array, jax.Array]:
    """All side by side, over the whole horizon: the usual form."""
    return masked_scan(parts._replace(num_lanes=(parts.episodes,)), tasks)


def masked_scan(parts: Parts, tasks: Tasks) -> tuple[jax.Array, jax.Array]:
    """As many at a time as there are lanes, over the whole horizon; what comes after an episode's end is masked."""
    lanes = parts.num_lanes[0]
    reset, advance = side_by_side(parts.environment, lanes_last=parts.lanes_last)
    params, normalizer = jax.tree.map(lambda x: x[0], (tasks.params, tasks.normalizer))
    act = jax.vmap(parts.policy.sample, (None, None, 0, 0))

    def batch(keys: jax.Array) -> jax.Array:
        reset_keys, action_keys = jax.vmap(lambda k: tuple(jax.random.split(k)))(keys)

        def step(carry: tuple, time: jax.Array) -> tuple:
            state, ended = carry
            keys = jax.vmap(jax.random.fold_in, (0, None))(action_keys, time)
            actions = parts.policy.action(act(params, normalizer, state.obs.T, keys))
            after = advance(None, state, actions.T)
            broken = ~jnp.isfinite(after.reward) | ~jnp.all(jnp.isfinite(after.obs), axis=0)
            return (after, ended | (after.done > 0) | broken), ~ended

        start = reset(None, reset_keys)
        ended = jnp.zeros(lanes, bool)
        return jax.lax.scan(step, (start, ended), jnp.arange(parts.horizon))[1].sum()

    batches = tasks.keys.reshape(-1, lanes)
    return jax.lax.map(batch, batches).sum(), jnp.asarray(batches.size * parts.horizon)


WAYS: dict[str, Way] = {
    MASKED: masked_scan,
    "masked, all at once": masked_at_once,
    "until all are done": until_all_are_done,
    QUEUE: queue,
}


def _played(parts: Parts, tasks: Tasks, num_lanes: tuple[int, ...]) -> Any:
    return play_only(parts.environment, parts.policy, tasks, parts.horizon, num_lanes, lanes_last=parts.lanes_last)


def _on_all(way: Way, parts: Parts, state: TrainState, hyperparameters: Hyperparameters) -> Any:
    """(useful steps, computed steps) of a way to play the episodes of a round, on all devices."""
    counted, _ = next_round(parts, state, hyperparameters, jnp.ones(1, bool))
    tasks, _ = tasks_of_block(parts, state, hyperparameters, counted, jnp.asarray(0))
    return sum_over(parts.axis, way(parts, tasks))


def _check(steps: dict[str, list[int]]) -> None:
    """The same episodes, whatever the way; in other lanes matrix products round, and physics goes, a bit otherwise."""
    useful = [useful for useful, _ in steps.values()]
    if max(useful) >= 1.02 * min(useful):
        raise RuntimeError(f"the ways have not played the same episodes: useful and computed steps are {steps}")
