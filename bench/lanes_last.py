"""Physics with lanes along the last axis, as training has it, beside the same physics under `jax.vmap`.

Run `python bench/lanes_last.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from nigt_jax.benchmark import in_words, machine, take_turns
from nigt_jax.compilation import compile_options
from nigt_jax.config import BraxEnvironment
from nigt_jax.environments import make_environment
from nigt_jax.rollout import side_by_side

CASES = ["hopper spring", "walker2d spring", "halfcheetah spring", "humanoid spring", "hopper positional"]
CASES += ["hopper generalized", "hopper mjx"]


def main() -> None:
    """Measures every case and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="'NAME BACKEND'", help="environments of Brax")
    parser.add_argument("--lanes", type=int, default=64, help="side by side")
    parser.add_argument("--steps", type=int, default=100, help="of all lanes, in a turn")
    parser.add_argument("--turns", type=int, default=7, help="turns of both, after one that warms up")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    here = machine(jax.devices()[:1])
    print(f"{in_words(here)}; {args.lanes} lanes, of one device\n")
    print("| environment | jax.vmap, µs a step | lanes last | ratio (range) | compiling |\n|---|---|---|---|---|")
    records = []
    for case in args.cases:
        records.append(measure(case, args.lanes, args.steps, args.turns) | {"machine": here})
        print(row(records[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def measure(case: str, lanes: int, steps: int, turns: int) -> dict[str, Any]:
    """Seconds that first states and all steps take in either layout."""
    name, backend = case.split()
    environment = make_environment(BraxEnvironment(name=name, backend=backend))
    reset, step = side_by_side(environment, lanes_last=True)
    keys = jax.random.split(jax.random.key(0), lanes)
    actions = jax.random.uniform(jax.random.key(1), (lanes, environment.action_size), minval=-1.0)
    ways: dict[str, Callable[[jax.Array], jax.Array]] = {
        "jax.vmap": steps_of(jax.vmap(environment.reset), jax.vmap(environment.step), actions, steps),
        "lanes last": steps_of(functools.partial(reset, None), functools.partial(step, None), actions.T, steps),
    }
    programs, compiling = {}, {}
    for name, way in ways.items():
        started = time.perf_counter()
        with jax.default_matmul_precision("highest"):
            options = compile_options(jax.devices()[0].platform)
            programs[name] = jax.jit(way).lower(keys).compile(compiler_options=options)
        compiling[name] = time.perf_counter() - started
    seconds = take_turns(programs, keys, turns)
    ratios = [a / b for a, b in zip(seconds["jax.vmap"], seconds["lanes last"], strict=True)]
    return {"case": case, "lanes": lanes, "steps": steps, "seconds": seconds, "ratios": ratios, "compiling": compiling}


def steps_of(
    reset: Callable[..., Any], step: Callable[..., Any], actions: jax.Array, number: int
) -> Callable[..., Any]:
    """Keys to something that depends on all of so many steps with the same actions."""

    def run(keys: jax.Array) -> jax.Array:
        end, _ = jax.lax.scan(lambda state, _: (step(state, actions), None), reset(keys), length=number)
        return end.obs.sum() + end.reward.sum()

    return run


def row(record: dict[str, Any]) -> str:
    """A line of the table."""
    vmap, last = (statistics.median(s) / record["steps"] * 1e6 for s in record["seconds"].values())
    ratios, compiling = record["ratios"], record["compiling"]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    return (
        f"| {record['case']} | {vmap:,.0f} | {last:,.0f} | {spread} | "
        f"{compiling['jax.vmap']:.0f} s, {compiling['lanes last']:.0f} s |"
    )


if __name__ == "__main__":
    main()
