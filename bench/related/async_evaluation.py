"""How much faster more nodes are that never wait, and what stragglers cost them.

Run `python bench/related/async_evaluation.py --help`. It prints Markdown tables; docs/related/async_evaluation.md says
what they mean.
"""

import argparse
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from pydantic import TypeAdapter

from nigt_jax.clocks import to_float64
from nigt_jax.compilation import compile_options
from nigt_jax.config.systems import AsyncEvaluationConfig
from nigt_jax.related._lockstep import Lockstep
from nigt_jax.related.async_evaluation import AsyncEvaluation

NODE_COUNT = 8  # where one of them is slow
NODES = (1, 2, 4, 8, 16)
STRAGGLERS = (1, 5, 10)  # times as slow
STEPS = (0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.032)  # a node


class Course(NamedTuple):
    """Errors of a run against simulated time.

    Attributes:
      step: the step a node.
      times: after each iteration, in time units.
      errors: then.
    """

    step: float
    times: np.ndarray
    errors: np.ndarray

    def reaches(self, target: float) -> float:
        """The time from which on the error stays below a target; inf where it does not."""
        above = np.flatnonzero(~(self.errors < target))
        first = int(above[-1]) + 1 if above.size else 0
        return float(self.times[first]) if first < self.times.size else math.inf


def main() -> None:
    """Measures both and prints tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=1e-4, help="relative error")
    parser.add_argument("--wake-ups", type=int, default=24_000, help="of all nodes together, in a run")
    parser.add_argument("--seed", type=int, default=0, help="of the problem and of times")
    parser.add_argument("--noise", default="gamma", help="family of workers.noise, of shape 4")
    parser.add_argument("--figure", type=Path, help="also draw errors against time to this file")
    args = parser.parse_args()
    with jax.enable_x64(True):
        by_nodes = {n: best(args, workers(args, n), args.wake_ups // n) for n in NODES}
        print(speed_up(args, by_nodes), flush=True)
        rounds = best(args, in_step(NODE_COUNT), args.wake_ups // NODE_COUNT)
        by_straggler = {slow: straggler(args, slow) for slow in STRAGGLERS}
        in_lockstep = {slow: lockstep(args, rounds, slow) for slow in STRAGGLERS}
    print(price(args, by_straggler, in_lockstep))
    if args.figure:
        draw(args, by_nodes, by_straggler, in_lockstep)


def workers(args: argparse.Namespace, nodes: int, slow: int = 1) -> dict[str, Any]:
    """Nodes that wake up once a time unit, but for the first; messages are there at once."""
    return {
        "count": nodes,
        "compute_time": {"values": [float(slow), *[1.0] * (nodes - 1)]},
        "communication_time": {"scale": 0.0, "worker_exponent": 0.0},
        "noise": {"family": args.noise, "shape": 4.0},
    }


def in_step(nodes: int) -> dict[str, Any]:
    """Nodes that all wake up at the same moments, and read what all have sent at the moment before."""
    even = {"scale": 1.0, "worker_exponent": 0.0}
    return {"count": nodes, "compute_time": even, "communication_time": even | {"scale": 0.5}}


def straggler(args: argparse.Namespace, slow: int) -> Course:
    """Eight nodes that do not wait, one of them slow. They have as long as eight nodes alike."""
    return best(args, workers(args, NODE_COUNT, slow), args.wake_ups // NODE_COUNT)


def best(args: argparse.Namespace, workers: dict[str, Any], iterations: int) -> Course:
    """The run with the step that reaches the target first, or ends with the least error where none does."""
    rank = lambda course: (course.reaches(args.target), course.errors[-1])
    return min(courses(args, workers, iterations), key=rank)


def courses(args: argparse.Namespace, workers: dict[str, Any], iterations: int) -> Iterator[Course]:
    """A run for each step; they share a program."""
    config = TypeAdapter(AsyncEvaluationConfig).validate_python({"seed": args.seed, "workers": workers})
    system = AsyncEvaluation(config)

    @functools.partial(jax.jit, compiler_options=compile_options("cpu"))
    def run(world: Any) -> Any:
        def step(state: Any, _: None) -> Any:
            state, counted, _measured = system.step(state, world)
            return state, (counted.time, system.evaluate(state)["error"])

        return jax.lax.scan(step, system.begin(jax.random.key(args.seed), world), length=iterations)[1]

    for a in STEPS:
        network = system.world.network._replace(step_size=np.float64(a * config.workers.count))
        times, errors = run(system.world._replace(network=network))
        yield Course(a, to_float64(times), np.asarray(errors))


def lockstep(args: argparse.Namespace, rounds: Course, slow: int) -> Course:
    """The course of rounds in which everybody waits for the slowest of the same nodes."""
    config = TypeAdapter(AsyncEvaluationConfig).validate_python({"workers": workers(args, NODE_COUNT, slow)})
    clock = Lockstep(config.workers, 2 * config.problem.features)

    @functools.partial(jax.jit, compiler_options=compile_options("cpu"))
    def play(key: Any) -> Any:
        def round_(state: Any, _: None) -> Any:
            state = clock.step(state)
            return state, state.now

        return jax.lax.scan(round_, clock.begin(key), length=rounds.times.size)[1]

    return rounds._replace(times=to_float64(play(jax.random.key(args.seed))))


def speed_up(args: argparse.Namespace, by_nodes: dict[int, Course]) -> str:
    """A table of nodes."""
    alone = by_nodes[1].reaches(args.target)
    rows = [f"| nodes | step a node | time units to {args.target:g} | speed-up |", "|---|---|---|---|"]
    for nodes, course in by_nodes.items():
        faster = ratio(alone, course.reaches(args.target))
        rows.append(f"| {nodes} | {course.step:g} | {shown(course, args.target)} | {faster} |")
    return "\n".join(rows) + "\n"


def price(args: argparse.Namespace, by_straggler: dict[int, Course], in_lockstep: dict[int, Course]) -> str:
    """A table of stragglers."""
    rows = [
        f"| {NODE_COUNT} nodes, one of them | nobody waits: step a node | time units to {args.target:g} "
        "| in lockstep: step a node | time units | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for slow, course in by_straggler.items():
        waits = in_lockstep[slow]
        name = "as fast as others" if slow == 1 else f"{slow} times as slow"
        known = [f"{run.step:g} | {shown(run, args.target)}" for run in (course, waits)]
        cells = name, *known, ratio(waits.reaches(args.target), course.reaches(args.target))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def shown(course: Course, target: float) -> str:
    """The time to the target, or how long it was not reached."""
    time = course.reaches(target)
    return f"{time:,.0f}" if math.isfinite(time) else f"more than {course.times[-1]:,.0f}"


def ratio(long: float, short: float) -> str:
    """How many times as long, where both are known."""
    return f"{long / short:.2f}" if math.isfinite(long) and math.isfinite(short) else "unknown"


def draw(
    args: argparse.Namespace,
    by_nodes: dict[int, Course],
    by_straggler: dict[int, Course],
    in_lockstep: dict[int, Course],
) -> None:
    """Errors against time: for numbers of nodes, and for stragglers beside lockstep."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for nodes, course in by_nodes.items():
        left.plot(course.times, course.errors, label=f"{nodes} node{'s' * (nodes > 1)}")
    left.set(xscale="log", title="More nodes", ylabel="error relative to the closed form")
    for color, slow in enumerate(STRAGGLERS):
        name = "all alike" if slow == 1 else f"one {slow} times as slow"
        for course, style, way in ((by_straggler[slow], "-", "nobody waits"), (in_lockstep[slow], "--", "lockstep")):
            right.plot(course.times, course.errors, style, color=f"C{color}", label=f"{name}, {way}")
    right.set(xscale="log", title=f"{NODE_COUNT} nodes, one of them slow")
    for axes in (left, right):
        axes.axhline(args.target, color="grey", linewidth=0.7)
        axes.set(yscale="log", ylim=(args.target / 100, 2), xlim=(10, None), xlabel="simulated time units")
        axes.legend(fontsize="small")
    figure.savefig(args.figure, dpi=150)


if __name__ == "__main__":
    main()
