"""Runs that are killed at every place of their writing and go on, beside runs that nobody disturbed.

Run `make soak`, or `python bench/kills.py --help`. What was seen is in bench/README.md. A run, a run of a related
system and a sweep are harmed until there were enough harms of each: kill -9 at a random place of writing (before a file
is opened, renamed or removed, in the middle of what is written, with half of a file there, or some milliseconds after)
or at a random moment, SIGTERM, Ctrl-C, and each of these twice. Then their user types what a user would: the same
command again where there is no folder yet, `--resume` where there is one. In the end every number has to be that of an
undisturbed run.
"""

import argparse
import collections
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
KILLS = ("kill -9", "kill -9, half written", "kill -9, soon after")
ASKS = {
    "SIGTERM": [signal.SIGTERM],
    "Ctrl-C": [signal.SIGINT],
    "Ctrl-C twice": [signal.SIGINT, signal.SIGINT],
    "SIGTERM twice": [signal.SIGTERM, signal.SIGTERM],
}
_HARMS_A_RUN = 6
_PATIENCE = 300.0  # seconds that one command may take

_TRAINING = {"iterations": 24, "chunk": 2}
_OFTEN = {"evaluation": {"every": 3}, "checkpoint": {"every": 2, "keep": 2}}
_TRAIN: dict[str, Any] = {
    "environment": {"name": "walk:Walk", "horizon": 4},
    "policy": {"hidden_sizes": [8]},
    "method": {"batch_size": 4, "learning_rate": 0.1},
    "training": _TRAINING | {"devices": 1},
    "evaluation": {"every": 3, "episodes": 4},
    "checkpoint": {"every": 2, "keep": 2, "keep_best": True},
}
_SYSTEM: dict[str, Any] = {
    "system": "rec_marl_access",
    "method": {"episodes": 2, "horizon": 3},
    "training": _TRAINING,
} | _OFTEN
_SWEEP: dict[str, Any] = {
    "base": "train.yaml",
    "overrides": {"checkpoint.keep_best": False, "training.iterations": 12},
    "variants": {"rennala": {"method.name": "rennala_nigt"}, "synchronous": {"method.name": "synchronous_nigt"}},
    "grid": {"seed": [0, 1]},
}


class Job(NamedTuple):
    """Something that a user starts, and goes on with.

    Attributes:
      command: of `nigt`.
      content: of its file.
      harms: those that it is given.
    """

    command: str
    content: dict[str, Any]
    harms: tuple[tuple[str, str | None], ...]


# A harm, and the process that it comes to, at a place of its writing; None where it comes from outside, at any moment.
_OF_RUNS = (
    *[(harm, "nigt") for harm in KILLS * 2],
    ("kill -9", None),
    *[(harm, where) for harm in ASKS for where in ("nigt", None)],
)
JOBS = {
    "train": Job("train", _TRAIN, _OF_RUNS),
    "system": Job("train", _SYSTEM, _OF_RUNS),
    "sweep": Job("sweep", _SWEEP, (*_OF_RUNS, *[(harm, "table") for harm in KILLS], ("Ctrl-C", "table"))),
}


def main() -> int:
    """Harms all jobs, and compares. The exit status is 1 where something does not add up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harms", type=int, default=60, help="in all")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns of what a kill has left of an older checkpoint
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="nigt-kills-") as folder, ThreadPoolExecutor(len(args.jobs)) as pool:

        def harmed(name: str) -> Trials:
            trials = Trials(Path(folder) / name, name, JOBS[name], random.Random(f"{name} {args.seed}"))
            trials.go_on(-(-args.harms // len(args.jobs)))
            return trials

        found = list(pool.map(harmed, args.jobs))
    tell(found, time.perf_counter() - started)
    return 1 if any(trials.problems for trials in found) else 0


class Trials:
    """A job that is done once undisturbed, and then again and again with harm.

    Attributes:
      harms: how often each harm was done, by what the command was doing.
      statuses: how often a harmed command ended with each exit status.
      resumes: how often it was gone on with.
      again: how often it was started anew, for want of a folder.
      rows: records and rows of tables that were compared.
      problems: what does not add up.
    """

    def __init__(self, folder: Path, name: str, job: Job, chance: random.Random):
        self.name, self._job, self._folder, self._chance = name, job, folder, chance
        self.harms: collections.Counter[tuple[str, str]] = collections.Counter()
        self.statuses: collections.Counter[int] = collections.Counter()
        self.resumes = self.again = self.rows = 0
        self.problems: list[str] = []
        folder.mkdir()
        (folder / "train.yaml").write_text(json.dumps(_TRAIN))  # JSON is YAML
        (folder / "job.yaml").write_text(json.dumps(job.content))
        self._run("warm")  # so that everybody else finds compiled programs
        started = time.monotonic()
        self._run("undisturbed", {"at": None})
        self._seconds = time.monotonic() - started
        self._places = collections.Counter(process for process, *_ in self._noted())
        self.content = content(self._folder / "runs" / "undisturbed")

    def go_on(self, harms: int) -> None:
        """Does so many harms, a few to each run, and looks at every run when it is done."""
        trial = 0
        while self.harms.total() < harms and not self.problems:
            trial += 1
            name = f"harmed-{trial}"
            for _ in range(min(_HARMS_A_RUN, harms - self.harms.total())):
                harm, process = self._chance.choice(self._job.harms)
                self._harm(name, harm, process)
            self._go_to_the_end(name)

    def _harm(self, name: str, harm: str, process: str | None) -> None:
        if process is None:
            status, said = self._run(name, moment=(ASKS.get(harm, [signal.SIGKILL]), self._seconds))
            where = [["nigt", "at any moment", ""]]
        else:
            at = self._chance.randint(1, max(1, self._places[process] // (1 if process == "table" else 3)))
            seconds = 10 ** self._chance.uniform(-3, -0.5)
            status, said = self._run(name, {"at": at, "harm": harm, "process": process, "seconds": seconds})
            where = self._noted()
        if not where:  # it was done before it came to that place
            self._expect(status == 0, name, f"undisturbed: exit status {status}", said)
            return
        self.harms[harm, _in_words(*where[0])] += 1
        self.statuses[status] += 1
        # 0: it was done before; or killed by a signal before Python was there to hear it.
        allowed = {0, *(-number for number in ASKS.get(harm, [signal.SIGKILL])), *([130] if harm in ASKS else [])}
        self._expect(status in allowed, name, f"{harm}, {where[0]}: exit status {status}", said)
        # Python ignores an exception where memory is collected, and says so; a second Ctrl-C may come there.
        shown = "Traceback" in said and not said.startswith("Exception ignored in")
        self._expect(not shown, name, f"{harm}, {where[0]}: a traceback", said)

    def _go_to_the_end(self, name: str) -> None:
        status, said = self._run(name)
        self._expect(status == 0, name, f"the last command: exit status {status}", said)
        if status:
            return
        found = content(self._folder / "runs" / name)
        for key in sorted(self.content.keys() | found.keys()):
            wanted, got = self.content.get(key), found.get(key)
            self._expect(wanted == got, name, f"{key} differs", f"{str(wanted)[:300]} is now {str(got)[:300]}")
            self.rows += len(got) if isinstance(got, list) else 0

    def _run(
        self, name: str, plan: dict[str, Any] | None = None, moment: tuple[list[signal.Signals], float] | None = None
    ) -> tuple[int, str]:
        """What a user types; its exit status, and what it says."""
        folder = self._folder / "runs" / name
        if folder.exists():
            self.resumes += 1
            command = [self._job.command, str(folder), "--resume"]
        else:
            self.again += 1
            command = [self._job.command, "job.yaml", "--output", "runs", "--name", name]
        log = self._folder / "places.jsonl"
        log.unlink(missing_ok=True)
        told = {"folder": str(self._folder / "runs"), "log": str(log), "process": "nigt", "harm": "", "seconds": 0.0}
        paths = [str(HERE / "doomed"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "XDG_CACHE_HOME": str(self._folder.parent / "cache"),
            **({} if plan is None else {"DOOM": json.dumps(told | plan)}),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "nigt_jax", *command], cwd=self._folder, env=environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        if moment is not None:
            self._send(process, *moment)
        try:
            said = process.communicate(timeout=_PATIENCE)[1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said = "it did not end"
        return process.returncode, said

    def _send(self, process: subprocess.Popen, numbers: list[signal.Signals], seconds: float) -> None:
        time.sleep(self._chance.uniform(0, seconds))
        for number in numbers:
            if process.poll() is None:
                os.killpg(process.pid, number)
            time.sleep(10 ** self._chance.uniform(-3, -0.5))

    def _noted(self) -> list[list[str]]:
        log = self._folder / "places.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def _expect(self, right: bool, name: str, what: str, more: str) -> None:
        if not right:
            print(f"PROBLEM: {self.name}, {name}: {what}", flush=True)
            self.problems.append(f"{self.name}, {name}: {what}: {more.strip()[-600:]}")


def content(folder: Path) -> dict[str, Any]:
    """Every number of a run or a sweep, but for how long things took; and every other file, word for word."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if "checkpoints" in path.parts or path.suffix == ".npz":
            continue
        if path.name == "metrics.jsonl":
            found[name] = [_untimed(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.suffix == ".parquet":
            found[name] = _table(path)
        elif not path.name.endswith(".new"):  # what a killed process leaves of a file is nobody's
            found[name] = path.read_text()
    return found | _arrays(folder)


def _untimed(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "wall_time"}


def _table(path: Path) -> list[dict[str, Any]]:
    """The rows, read by a process of its own: pyarrow's libraries do not always get on with XLA's in one."""
    code = "import json, sys, pyarrow.parquet as p; print(json.dumps(p.read_table(sys.argv[1]).to_pylist()))"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)
    return [_untimed(row) for row in json.loads(done.stdout)]


def _arrays(folder: Path) -> dict[str, Any]:
    """The newest state of every checkpoint folder, and the arrays of every policy, as bytes in hexadecimal."""
    import numpy as np

    from nigt_jax.records import Checkpoints

    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("checkpoints")):
        checkpoints = Checkpoints(path, keep=100)
        states = checkpoints.fields(checkpoints.shapes())
        whole = all((path / str(step) / "sha256").is_file() for step in checkpoints.all)
        found[str(path.relative_to(folder))] = [checkpoints.all, whole, _bits(states)]
        checkpoints.close()
    for path in sorted(folder.rglob("*.npz")):
        with np.load(path) as arrays:
            found[str(path.relative_to(folder))] = [_bits(dict(arrays))]
    return found


def _bits(tree: Any) -> dict[str, tuple[str, tuple[int, ...], str]]:
    import jax
    import numpy as np

    leaves = jax.tree_util.tree_flatten_with_path(jax.device_get(tree))[0]
    each = ((jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in leaves)
    return {name: (str(leaf.dtype), leaf.shape, leaf.tobytes().hex()) for name, leaf in each}


def _in_words(process: str, kind: str, path: str) -> str:
    """A place, so that places of a kind are counted together."""
    parts = Path(path).parts[1:]  # without the run's own name
    if process == "table":
        return f"{kind} results.parquet"
    if "checkpoints" in parts:
        return f"{kind} in checkpoints"
    return f"{kind} {parts[-1].removesuffix('.new')}" if parts else kind


def tell(found: list[Trials], seconds: float) -> None:
    """What a person reads."""
    harms: collections.Counter[str] = collections.Counter()
    places: collections.Counter[str] = collections.Counter()
    for trials in found:
        for (harm, place), number in trials.harms.items():
            harms[harm] += number
            places[place] += number
        ends = ", ".join(f"{n} with {status}" for status, n in sorted(trials.statuses.items()))
        print(
            f"{trials.name}: {trials.harms.total()} harms ({ends}), {trials.resumes} resumes, {trials.rows} rows "
            f"compared, {len(trials.problems)} problems"
        )
    for title, counted in (("harms", harms), ("places", places)):
        print(f"{title}: " + ", ".join(f"{n} {what}" for what, n in counted.most_common()))
    print(f"{harms.total()} harms in {seconds:.0f} s")
    for problem in (problem for trials in found for problem in trials.problems):
        print(f"PROBLEM: {problem}")


if __name__ == "__main__":
    raise SystemExit(main())
