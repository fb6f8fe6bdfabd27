"""A run of very many iterations: memory, time an iteration and disk, from beginning to end.

Run `python bench/endurance.py --help`. What was seen is in bench/README.md. A small run is watched from outside. Lines
are fitted to what was seen after the first tenth, as means of equal parts of it, and a slope is told with its standard
error. The exit status is 1 where memory, the time of an iteration, or the disk without metrics.jsonl grows by more than
is allowed over all iterations and by more than three standard errors. metrics.jsonl grows by a record an iteration.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
_ALLOWED = 0.05  # of the mean: what may be gained over all iterations
_PARTS = 20
_CONFIG: dict[str, Any] = {
    "environment": {"name": "walk:Walk", "horizon": 4},
    "policy": {"hidden_sizes": [8]},
    "method": {"batch_size": 4, "learning_rate": 0.01},
    "training": {"chunk": 50, "devices": 1},
    "evaluation": {"every": 1000, "episodes": 4},
    "checkpoint": {"every": 1000, "keep": 2, "keep_best": True},
}


class Sample(NamedTuple):
    """A run at some moment.

    Attributes:
      iteration: rounds done.
      seconds: of a processor that its process has had.
      memory: resident bytes of its process.
      disk: bytes of its folder without metrics.jsonl.
      records: bytes of metrics.jsonl.
    """

    iteration: int
    seconds: float
    memory: int
    disk: int
    records: int


class Line(NamedTuple):
    """A line that was fitted.

    Attributes:
      mean: of what it was fitted to.
      slope: an iteration.
      error: standard error of the slope.
    """

    mean: float
    slope: float
    error: float


def main() -> int:
    """Runs, watches and fits. The exit status is 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=100_000)
    parser.add_argument("--every", type=float, default=0.25, help="seconds between two samples")
    parser.add_argument("--json", type=Path, help="also write the samples to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nigt-endurance-", ignore_cleanup_errors=True) as folder:
        started = time.perf_counter()
        samples = watch(Path(folder), args.iterations, args.every)
        seconds = time.perf_counter() - started
        numbers = [json.loads(line)["iteration"] for line in (Path(folder) / "runs" / "long" / "metrics.jsonl").open()]
    if args.json:
        args.json.write_text(json.dumps([sample._asdict() for sample in samples]) + "\n")
    lines = fit(samples)
    print(f"{args.iterations:,} iterations in {seconds:.0f} s, {len(samples)} samples")
    for name, (line, unit) in lines.items():
        gained, error = line.slope * args.iterations, line.error * args.iterations
        part = f"{gained / line.mean:+.1%}"
        print(f"{name}: {line.mean:.4g} {unit}; over all iterations {gained:+.2g} ± {error:.2g} ({part})")
    print(f"metrics.jsonl: {samples[-1].records / len(numbers):.0f} bytes a record, {samples[-1].records / 1e6:.1f} MB")
    grown = [name for name, (line, _) in lines.items() if grows(line, args.iterations)]
    missing = numbers != list(range(args.iterations + 1))
    for problem in [*(f"{name} grows" for name in grown), *(["records are missing"] if missing else [])]:
        print(f"PROBLEM: {problem}")
    return 1 if grown or missing else 0


def watch(folder: Path, iterations: int, every: float) -> list[Sample]:
    """Samples of a run, from its first round to its end."""
    (folder / "long.yaml").write_text(json.dumps(_CONFIG))  # JSON is YAML
    command = [sys.executable, "-m", "nigt_jax", "train", "long.yaml", "--name", "long"]
    paths = [str(HERE / "doomed"), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [*command, "--training.iterations", str(iterations)], cwd=folder, stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    samples: list[Sample] = []
    try:
        while process.poll() is None:
            time.sleep(every)
            sample = look(process.pid, folder / "runs" / "long")
            if sample is not None and sample.iteration > 0:
                samples.append(sample)
    finally:
        process.kill()
    if process.returncode:
        raise SystemExit(f"the run has ended with exit status {process.returncode}")
    return samples


def look(process: int, run: Path) -> Sample | None:
    """How a run is; None where it has not begun, or has just ended."""
    from nigt_jax.errors import UserError
    from nigt_jax.records import last_record

    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        ticks = sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
        iteration = last_record(run / "metrics.jsonl")["iteration"]
    except (OSError, UserError, IndexError):
        return None
    sizes = {}
    for folder, _, names in os.walk(run):  # which does not mind an old checkpoint that is just removed
        for path in (Path(folder) / name for name in names):
            with contextlib.suppress(OSError):
                sizes[path] = path.stat().st_size
    records = sizes.pop(run / "metrics.jsonl", 0)
    seconds, memory = ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")
    return Sample(iteration, seconds, memory, sum(sizes.values()), records)


def fit(samples: Sequence[Sample]) -> dict[str, tuple[Line, str]]:
    """A line for everything that should not grow, with its unit."""
    at, seconds, memory, disk, _ = np.array(samples).T
    moved = np.flatnonzero(np.diff(at, append=at[-1]))  # the last sample before every new record
    each = np.diff(seconds[moved]) / np.diff(at[moved])
    return {
        "memory": (line(at, memory / 1e6), "MB"),
        "an iteration": (line((at[moved][1:] + at[moved][:-1]) / 2, each * 1e6), "µs of a processor"),
        "disk without metrics.jsonl": (line(at, disk / 1e3), "kB"),
    }


def line(at: np.ndarray, values: np.ndarray) -> Line:
    """Least squares through the means of equal parts: what lies side by side in one of them is not independent."""
    edges = np.linspace(at[-1] / 10, at[-1], _PARTS + 1)
    part = np.searchsorted(edges, at)
    means = [(at[part == k].mean(), values[part == k].mean()) for k in range(1, _PARTS + 1) if (part == k).any()]
    x, y = np.array(means).T
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    rest = y - y.mean() - slope * centred
    error = float(np.sqrt(rest @ rest / (len(x) - 2) / (centred @ centred)))
    return Line(float(y.mean()), slope, error)


def grows(line: Line, iterations: int) -> bool:
    """Whether it is more than what is allowed, and more than chance."""
    return line.slope * iterations > _ALLOWED * line.mean and line.slope > 3 * line.error


if __name__ == "__main__":
    raise SystemExit(main())
