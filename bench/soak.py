"""A run on real workers that are killed, stopped, let go and called back, and whose driver is killed, for a while.

Run `make soak`, or `python bench/soak.py --help`. What was seen is in bench/README.md. It looks for processes of Ray by
their names, so nothing else should use Ray on the machine meanwhile.
"""

import argparse
import collections
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

NIGT = str(Path(sys.executable).with_name("nigt"))
CONFIG = Path(__file__).parents[1] / "configs" / "cluster" / "local.yaml"
WORKERS, BATCH, EPISODES, HORIZON = 4, 20, 4, 100  # as in that file
_PATIENCE = 240.0  # seconds in which there has to be another record


def main() -> int:
    """Runs, does harm, and checks what is on the disk. The exit status is 1 where something does not add up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--method", default="rennala_nigt")
    parser.add_argument("--every", type=float, default=4.0, help="mean seconds between two harms")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nigt-soak-") as folder:
        soak = Soak(Path(folder), args.method, random.Random(args.seed))
        soak.go_on(args.minutes * 60, args.every)
        problems = soak.problems()
    print(f"{args.method}, {args.minutes:g} minutes: " + ", ".join(f"{n} {what}" for what, n in soak.done.items()))
    print(f"{soak.rounds} rounds of {soak.gradients} gradients, {soak.seconds_lost:.0f} s without a driver")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


class Soak:
    """A run and what is done to it.

    Args:
      folder: where the run is.
      method: its method.
      chance: decides what is done, and when.

    Attributes:
      done: how often what was done.
      rounds: rounds on the disk, in the end.
      gradients: gradients counted in them.
      seconds_lost: between the end of a driver and the first record of the next one.
    """

    def __init__(self, folder: Path, method: str, chance: random.Random):
        self._folder, self._run, self._chance = folder, folder / "runs" / "soak", chance
        self._method = method
        self.done: collections.Counter[str] = collections.Counter()
        self.rounds = self.gradients = 0
        self.seconds_lost = 0.0
        self._driver = self._start(
            CONFIG, "--name", "soak", "--method.name", method, "--training.iterations", "1000000",
            "--runtime.deadline", "10", "--runtime.patience", "120", "--checkpoint.every", "5",
        )  # fmt: skip

    def _start(self, *arguments: object) -> subprocess.Popen:
        errors = (self._folder / "errors.txt").open("a")
        command = [NIGT, "train", *map(str, arguments)]
        return subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=errors)

    def go_on(self, seconds: float, every: float) -> None:
        """Does harm for so long, then ends the run politely."""
        self._wait_for_records(1)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(self._chance.expovariate(1 / every))
            harm = self._chance.choices([self._kill, self._stop, self._call, self._kill_driver], weights=[12, 4, 3, 1])[
                0
            ]
            harm()
        self._wait_for_records(len(self._records()) + 1)
        self._driver.send_signal(signal.SIGTERM)
        self._driver.wait(timeout=120)
        self.done["polite ends" if self._driver.returncode == 130 else f"ends with {self._driver.returncode}"] += 1

    def _kill(self) -> None:
        for worker in self._someone():
            os.kill(worker, signal.SIGKILL)
            self.done["workers killed"] += 1

    def _stop(self) -> None:
        """A worker that hangs, as far as anybody can tell."""
        for worker in self._someone():
            os.kill(worker, signal.SIGSTOP)
            self.done["workers stopped"] += 1

    def _call(self) -> None:
        number = self._chance.randint(2, WORKERS)
        (self._run / "workers").write_text(f"{number}\n")
        self.done["times called another number"] += 1

    def _kill_driver(self) -> None:
        self._driver.kill()
        self._driver.wait()
        self.done["drivers killed"] += 1
        killed, there = time.monotonic(), len(self._records())
        self._driver = self._start(self._run, "--resume")
        self._wait_for_records(there + 1)
        self.seconds_lost += time.monotonic() - killed

    def _someone(self) -> Iterable[int]:
        found = workers()
        return [self._chance.choice(found)] if found else []

    def _wait_for_records(self, number: int) -> None:
        until = time.monotonic() + _PATIENCE
        while len(self._records()) < number:
            if self._driver.poll() is not None:
                raise SystemExit(f"the run has ended: {(self._folder / 'errors.txt').read_text()}")
            if time.monotonic() > until:
                raise SystemExit(f"nothing is done any more: {(self._folder / 'errors.txt').read_text()}")
            time.sleep(0.5)

    def _records(self) -> list[dict]:
        file = self._run / "metrics.jsonl"
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def problems(self) -> list[str]:
        """What does not add up."""
        found, records = [], self._records()
        self.rounds, self.gradients = len(records) - 1, records[-1]["gradients"]
        numbers = [record["iteration"] for record in records]
        if numbers != list(range(len(records))):
            found.append("rounds are missing, or there twice")
        for before, after in itertools.pairwise(records):
            counted = after["gradients"] - before["gradients"]
            steps = after["env_steps"] - before["env_steps"]
            if self._method == "rennala_nigt" and counted != BATCH:
                found.append(f"round {after['iteration']} counted {counted} gradients")
            if not counted * EPISODES <= steps <= counted * EPISODES * HORIZON:
                found.append(f"round {after['iteration']} has {steps} steps of {counted} gradients")
            if after["simulated_time"] <= before["simulated_time"]:
                found.append(f"round {after['iteration']} ends before it begins")
        until = time.monotonic() + 30
        while (left := workers()) and time.monotonic() < until:
            time.sleep(0.5)
        if left:
            found.append(f"{len(left)} workers are left")
        return found


def workers() -> list[int]:
    """Processes that are workers."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::_Process"):
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


if __name__ == "__main__":
    raise SystemExit(main())
