"""The trajectory queue beside the masked scan over the horizon, and the memory that it takes.

Run `python bench/queue_rollout.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import functools
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from nigt_jax.benchmark import machine, take_turns
from nigt_jax.collectives import sum_over
from nigt_jax.config import check_config
from nigt_jax.rollout import Tasks, play_only, side_by_side
from nigt_jax.runtimes import SimulatedRuntime, cpu_cores, split_cpu
from nigt_jax.training import Hyperparameters, Parts, TrainState, next_round, tasks_of_block

HORIZON = 1000
Program = Callable[[Parts, TrainState, Hyperparameters], Any]


def main() -> None:
    """Measures every environment and prints a table, then the memory of a round of few and of many episodes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", nargs="*", default=["hopper", "walker2d", "humanoid"], help="on spring")
    parser.add_argument("--lanes", type=int, default=64, help="of a device")
    parser.add_argument("--each", type=int, default=8, help="episodes a lane")
    parser.add_argument("--turns", type=int, default=3, help="turns of every way to play, after one that warms up")
    parser.add_argument("--memory", nargs="*", type=int, default=[1000, 10_000], help="episodes of a humanoid's round")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    records = []
    for name in args.environments:
        records.append(measure(name, args.lanes, args.each, args.turns))
        print(table(records[-1]), flush=True)
    for episodes in args.memory:
        records.append(memory(episodes))
        print("{environment}, a round of {episodes:,} episodes: {peak_mib:,.0f} MiB at its peak".format(**records[-1]))
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def measure(name: str, lanes: int, each: int, turns: int) -> dict[str, Any]:
    """Steps a second of every way to play the same episodes, all of them taking turns."""
    runtime = make_runtime(name, lanes, each)
    ways: dict[str, Program] = {
        "masked scan": functools.partial(on_all, masked_scan),
        "masked, all at once": functools.partial(on_all, masked_at_once),
        "until all are done": functools.partial(on_all, until_all_are_done),
        "queue": functools.partial(on_all, queue),
    }
    programs = {way: runtime.program(program) for way, program in ways.items()}
    state = runtime.initial_state()
    steps = {way: [int(x) for x in jax.device_get(program(state))] for way, program in programs.items()}
    check(steps)
    times = take_turns(programs, state, turns)
    rates = {way: [steps[way][0] / t for t in times[way]] for way in ways}
    rows = {
        way: {
            "useful_per_computed": steps[way][0] / steps[way][1],
            "useful_steps_per_second": statistics.median(rates[way]),
            "ratios": [mine / masked for mine, masked in zip(rates[way], rates["masked scan"], strict=True)],
        }
        for way in ways
    }
    return {"environment": name, "lanes": lanes, "episodes_a_lane": each, "ways": rows} | machine(runtime.devices)


def check(steps: dict[str, list[int]]) -> None:
    """The same episodes, whatever the way; in other lanes matrix products round, and physics goes, a bit otherwise."""
    useful = [useful for useful, _ in steps.values()]
    assert max(useful) < 1.02 * min(useful), steps


def make_runtime(name: str, lanes: int, each: int) -> SimulatedRuntime:
    """A run on two devices of a CPU, or the one accelerator, whose round is one block of so many episodes."""
    jax.config.update("jax_num_cpu_devices", 2)
    return SimulatedRuntime(
        check_config(
            {
                "environment": {"name": name, "horizon": HORIZON},
                "method": {"batch_size": lanes * each * len(jax.devices())},
                "training": {"lanes": lanes, "block": lanes * each * len(jax.devices()), "compilation_cache": False},
            }
        )
    )


def on_all(
    way: Callable[[Parts, Tasks], Any], parts: Parts, state: TrainState, hyperparameters: Hyperparameters
) -> Any:
    """(useful steps, computed steps) of a way to play the episodes of a round, on all devices."""
    counted, _ = next_round(parts, state, hyperparameters, jnp.ones(1, bool))
    tasks, _ = tasks_of_block(parts, state, hyperparameters, counted, jnp.asarray(0))
    return sum_over(parts.axis, way(parts, tasks))


def queue(parts: Parts, tasks: Tasks) -> tuple[jax.Array, jax.Array]:
    """Through the lanes, as training does it."""
    outcomes, computed = play_only(
        parts.environment, parts.policy, tasks, parts.horizon, parts.num_lanes, lanes_last=parts.lanes_last
    )
    return outcomes.lengths.sum(), computed


def _played(parts: Parts, tasks: Tasks, num_lanes: tuple[int, ...]) -> Any:
    return play_only(parts.environment, parts.policy, tasks, parts.horizon, num_lanes, lanes_last=parts.lanes_last)


def until_all_are_done(parts: Parts, tasks: Tasks) -> tuple[jax.Array, jax.Array]:
    """As many at a time as there are lanes, until the last of them has ended; then the next ones."""
    lanes = parts.num_lanes[0]
    keys = tasks.keys.reshape(-1, lanes)

    def batch(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        some = tasks._replace(keys=keys, active=jnp.ones(lanes, bool))
        outcomes, computed = play_only(
            parts.environment, parts.policy, some, parts.horizon, (lanes,), lanes_last=parts.lanes_last
        )
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
            actions = jnp.tanh(act(params, normalizer, state.obs.T, keys))
            after = advance(None, state, actions.T)
            broken = ~jnp.isfinite(after.reward) | ~jnp.all(jnp.isfinite(after.obs), axis=0)
            return (after, ended | (after.done > 0) | broken), ~ended

        start = reset(None, reset_keys)
        ended = jnp.zeros(lanes, bool)
        return jax.lax.scan(step, (start, ended), jnp.arange(parts.horizon))[1].sum()

    batches = tasks.keys.reshape(-1, lanes)
    return jax.lax.map(batch, batches).sum(), jnp.asarray(batches.size * parts.horizon)


def memory(episodes: int) -> dict[str, Any]:
    """What a round of a humanoid's episodes takes at its peak, by XLA's analysis of the program; nothing is run."""
    runtime = SimulatedRuntime(
        check_config(
            {
                "environment": {"name": "humanoid", "horizon": HORIZON},
                "estimator": {"name": "policy_gradient"},
                "method": {"batch_size": episodes},
                "training": {"lanes": 32, "devices": 1, "chunk": 1, "compilation_cache": False},
            }
        )
    )
    return {
        "environment": "humanoid",
        "episodes": episodes,
        "episodes_at_once": runtime.parts.episodes,
        "peak_mib": runtime.chunk.peak_bytes() / 2**20,
    }


def table(record: dict[str, Any]) -> str:
    """The lines of an environment."""
    lines = [f"{record['environment']}, {record['lanes']} lanes a device, {record['episodes_a_lane']} episodes a lane"]
    for way, row in record["ways"].items():
        low, middle, high = min(row["ratios"]), statistics.median(row["ratios"]), max(row["ratios"])
        lines.append(
            f"  {way:20} useful / computed {row['useful_per_computed']:.2f}  "
            f"{row['useful_steps_per_second']:10,.0f} useful steps/s  x {middle:.1f} ({low:.1f} - {high:.1f})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    split_cpu(cpu_cores())
    main()
