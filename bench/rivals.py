"""Training throughput of this package beside other ways to train: environment steps a second, in turns.

Run `python bench/rivals.py --help`. What the figures mean, and those of one machine, are in bench/README.md.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from nigt_jax.compilation import compile_options

SCRIPTS = Path(__file__).parent / "rivals"
TORCH = "gymnasium_torch.py"


class Rival(NamedTuple):
    """A contender.

    Attributes:
      command: script and arguments of its own.
      as_ours: whether XLA is told how to compile it, as it is told by us.
    """

    command: list[str]
    as_ours: bool = False


RIVALS = {
    "Brax PPO": Rival(["brax_ppo.py"]),
    "Brax PPO, with evaluations": Rival(["brax_ppo.py", "--evaluate"]),
    "Brax PPO, compiled as ours": Rival(["brax_ppo.py"], as_ours=True),
    "Brax PPO, its own networks": Rival(["brax_ppo.py", "--own-networks"]),
    "Brax ES": Rival(["brax_es.py"]),
    "Brax APG": Rival(["brax_apg.py"]),
    "Gymnasium and PyTorch": Rival([TORCH]),
}
COLUMNS = ("rival", "its steps a second", "ours", "ours / its (range)", "it starts in", "we start in")


def main() -> None:
    """Measures every rival in turn with ours, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rivals", nargs="+", choices=RIVALS, default=list(RIVALS), help="which")
    parser.add_argument("--pairs", type=int, default=3, help="turns that ours and a rival take")
    parser.add_argument("--env", default="hopper", help="environment, by its name in Brax")
    parser.add_argument("--backend", default="spring", help="physics pipeline of Brax")
    parser.add_argument("--horizon", type=int, default=200, help="length at which an episode is cut, in steps")
    parser.add_argument("--lanes", type=int, default=256, help="of ours, and environments that Brax steps side by side")
    parser.add_argument("--batch-size", type=int, default=2048, help="episodes in a round, ours and PyTorch's")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="more settings of ours")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    records: list[dict[str, Any]] = []
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for name in args.rivals:
        # A first turn compiles, later ones load what it compiled; the folder goes, so that no first turn finds any.
        with tempfile.TemporaryDirectory() as cache:
            turns = [(ours(args, cache), rival(RIVALS[name], args, cache)) for _ in range(args.pairs)]
        records.append(compare(name, turns))
        print(row(records[-1]), flush=True)
    print(f"\n{setting(records)}")
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def ours(args: argparse.Namespace, cache: str) -> dict[str, Any]:
    """The figures of one turn of ours."""
    settings = ["--set", *args.set] if args.set else []
    lanes = ["--lanes", str(args.lanes), "--batch-size", str(args.batch_size)]
    more = ["--backend", args.backend, *lanes, *settings]
    return turn(Path(sys.executable), ["ours.py", *more], args, cache)


def rival(chosen: Rival, args: argparse.Namespace, cache: str) -> dict[str, Any]:
    """The figures of one turn of a rival's."""
    command = chosen.command
    if command[0] == TORCH:
        made = subprocess.run(
            [sys.executable, SCRIPTS / "environment.py"], check=True, stdout=subprocess.PIPE, text=True
        )
        return turn(Path(made.stdout.strip()), [*command, "--batch-size", str(args.batch_size)], args, cache)
    more = ["--backend", args.backend, "--lanes", str(args.lanes)]
    return turn(Path(sys.executable), [*command, *more], args, cache, **(our_flags() if chosen.as_ours else {}))


def our_flags() -> dict[str, str]:
    """An environment variable by which XLA compiles everything in a process as it compiles our programs."""
    spelt = {name: str(value).lower() for name, value in compile_options("cpu").items()}
    return {"XLA_FLAGS": " ".join(f"--{name}={value}" for name, value in spelt.items())}


def turn(python: Path, command: list[str], args: argparse.Namespace, cache: str, **environment: str) -> dict[str, Any]:
    """Runs a contender by itself, on the package of this checkout; its last line is what it found."""
    script, *rest = command
    done = subprocess.run(
        [python, SCRIPTS / script, "--env", args.env, "--horizon", str(args.horizon), *rest],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache, "PYTHONPATH": str(SCRIPTS.parents[1])} | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(name: str, turns: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """What the turns say of a rival: pairs of ours and its figures."""
    rate = "env_steps_per_second"
    ratios = [mine[rate] / its[rate] for mine, its in turns]
    return {
        "rival": name,
        "date": datetime.date.today().isoformat(),
        "device": turns[0][0]["device"],
        "rate": statistics.median(its[rate] for _, its in turns),
        "our_rate": statistics.median(mine[rate] for mine, _ in turns),
        "ratio": statistics.median(ratios),
        "range": [min(ratios), max(ratios)],
        "starting_seconds": max(its["starting_seconds"] for _, its in turns),
        "our_starting_seconds": max(mine["starting_seconds"] for mine, _ in turns),
        "turns": [{"ours": mine, "rival": its} for mine, its in turns],
    }


def setting(records: list[dict[str, Any]]) -> str:
    """What was measured on, and when."""
    figures = [one for record in records for pair in record["turns"] for one in pair.values()]
    versions = {name: version for one in figures for name, version in one["versions"].items()}
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    loads = [one["load"] for one in figures]
    return f"{records[0]['device']}, load {min(loads):.1f} to {max(loads):.1f}; {named}, {records[0]['date']}"


def row(record: dict[str, Any]) -> str:
    """A line of the table."""
    low, high = record["range"]
    return (
        f"| {record['rival']} | {record['rate']:,.0f} | {record['our_rate']:,.0f} "
        f"| {record['ratio']:.2f} ({low:.2f} to {high:.2f}) "
        f"| {record['starting_seconds']:.0f} s | {record['our_starting_seconds']:.0f} s |"
    )


if __name__ == "__main__":
    main()
