"""Real workers of uneven speed beside what their own times predict.

Run `python bench/cluster.py --help`. What the figures mean, and those of one machine, are in bench/README.md.

Workers are processes of this machine on which slowness is put: worker i waits until its gradient has taken as long as
the clock of the case says. How long gradients and exchanges really took is recorded, as every run does, and the clocks
of `nigt simulate` play the same rounds with these times: the prediction. The ideal is the same where exchanges take no
time, so it knows nothing of the driver and of messages.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.benchmark import machine
from nigt_jax.clocks import clock_key, make_clock, play_round, to_float64
from nigt_jax.config import Config, check_config, to_dict
from nigt_jax.methods import METHODS
from nigt_jax.records import RunFolder
from nigt_jax.runtimes import WorkTime, make_runtime

if TYPE_CHECKING:
    from nigt_jax.runtimes.cluster import RayRuntime

CASES: dict[str, dict[str, Any]] = {
    "1:16": {"compute_time": {"values": [1, 2, 4, 16]}},
    "heavy tail": {"compute_time": {"values": [1, 1, 1, 1]}, "noise": {"family": "pareto", "shape": 1.5}},
}


def main() -> None:
    """Measures every case with every method, prints a table and draws predicted against measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="of each method")
    parser.add_argument("--batch-size", type=int, default=16, help="M, gradients of a round")
    parser.add_argument("--unit", type=float, default=0.1, help="seconds of a unit of time")
    parser.add_argument("--methods", nargs="+", default=["rennala_nigt", "synchronous_nigt"])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--figure", type=Path, help="also draw predicted against measured times to this file")
    args = parser.parse_args()
    records = [measure(args, case, method) for case in args.cases for method in args.methods]
    here = machine(jax.devices("cpu")[:1])
    print(f"{here['device']}, {here['cores']} cores, jax {here['jax']}, {here['date']}")
    print(f"four workers, M = {args.batch_size}, {args.rounds} rounds, a unit of {args.unit:g} s\n")
    print(table(records))
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")
    if args.figure:
        draw(records, args.figure)


def measure(args: argparse.Namespace, case: str, method: str) -> dict[str, Any]:
    """Seconds of a round, as measured as the workers' recorded times predict, and ideally."""
    config = configure(args, case, method)
    runtime = cast("RayRuntime", make_runtime(config))
    runtime.compile()
    try:
        state, _ = runtime.run(runtime.initial_state(), 2)  # the first messages are slow
        runtime.durations()
        state, metrics = runtime.run(state, args.rounds)
        recorded = runtime.durations()
    finally:
        runtime.close()
    ends = np.asarray(to_float64(metrics.time))[:, 0]
    began = ends[0] - (ends[-1] - ends[0]) / (len(ends) - 1)
    predicted = predict(config, recorded, args.rounds)
    ideal = predict(config, [row._replace(exchange=None) for row in recorded], args.rounds)
    gradients = int(np.asarray(metrics.gradients).sum())
    return {
        "case": case,
        "method": method,
        "measured": (ends[-1] - began) / args.rounds,
        "predicted": predicted[-1] / args.rounds,
        "ideal": ideal[-1] / args.rounds,
        "overhead_per_gradient": (ends[-1] - began - ideal[-1]) / gradients,
        "uploads_per_round": float(np.asarray(metrics.uploads).mean()),
        "bytes_up_per_round": float(np.asarray(metrics.uploads).mean()) * 4 * runtime.parameters,
        "gradients": gradients,
        "discarded": int(np.asarray(metrics.discarded).sum()),
        "measured_ends": (ends - began).tolist(),
        "predicted_ends": predicted.tolist(),
    }


def configure(args: argparse.Namespace, case: str, method: str) -> Config:
    """The configuration of a measurement."""
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 20},
            "policy": {"hidden_sizes": [64, 64]},
            "estimator": {"name": "return_to_go"},
            "method": {"name": method, "batch_size": args.batch_size},
            "workers": {"count": 4, "communication_time": {"scale": 0}, **CASES[case]},
            "runtime": {"kind": "ray", "seconds_per_time_unit": args.unit},
            "training": {"iterations": args.rounds, "chunk": args.rounds, "platform": "cpu"},
        }
    )


def predict(config: Config, recorded: list[WorkTime], rounds: int) -> np.ndarray:
    """Seconds at which each round would have ended, of workers that take the recorded times one after the other."""
    batch = config.method.gradients_per_update
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        run.append_durations(recorded)
        workers = to_dict(config)["workers"] | {"noise": {"family": "none"}, "trace": str(run.durations)}
        clock = make_clock(check_config(to_dict(config) | {"workers": workers}).workers, 1, batch)
    schedule = METHODS[config.method.name].rounds
    assert schedule is not None
    rule = schedule.rule(jnp.asarray(batch, jnp.int32), clock.workers)

    def step(state: Any, _: None) -> tuple[Any, Any]:
        state = play_round(clock, rule, state)[1]
        return state, state.now

    _, ends = jax.jit(lambda: jax.lax.scan(step, clock.begin(clock_key(0)), length=rounds))()
    return np.asarray(to_float64(ends))


def table(records: list[dict[str, Any]]) -> str:
    """A line for every measurement, and of each case what the first method gains over the second."""
    lines = [
        f"{'case':<12}{'method':<20}{'s a round':>10}{'predicted':>11}{'ratio':>7}{'ideal':>8}{'ratio':>7}"
        f"{'ms a gradient':>15}{'sums up':>9}"
    ]
    for record in records:
        measured, predicted, ideal = (record[name] for name in ("measured", "predicted", "ideal"))
        lines.append(
            f"{record['case']:<12}{record['method']:<20}{measured:>10.3f}{predicted:>11.3f}{measured / predicted:>7.3f}"
            f"{ideal:>8.3f}{measured / ideal:>7.3f}{1e3 * record['overhead_per_gradient']:>15.2f}"
            f"{record['uploads_per_round']:>9.2f}"
        )
    for case in dict.fromkeys(record["case"] for record in records):
        first, *others = [record for record in records if record["case"] == case]
        for other in others:
            gain = other["measured"] / first["measured"]
            wanted = other["ideal"] / first["ideal"]
            lines.append(
                f"{case}: {first['method']} is {gain:.2f} times as fast as {other['method']}, ideally {wanted:.2f}"
            )
    return "\n".join(lines)


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """When each round ended, measured against predicted."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.5, 5), layout="constrained")
    for record, style in zip(records, ["-", "--", "-.", ":"] * len(records), strict=False):
        name = f"{record['method']}, {record['case']}"
        axes.plot(record["predicted_ends"], record["measured_ends"], style, linewidth=1.8, label=name)
    every = [end for record in records for end in (*record["predicted_ends"], *record["measured_ends"])]
    axes.plot([min(every), max(every)], [min(every), max(every)], color="0.6", linewidth=0.8)
    axes.set(xlabel="predicted end of a round, s", ylabel="measured, s", xscale="log", yscale="log")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
