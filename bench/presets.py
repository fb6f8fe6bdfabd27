"""What the presets in configs/presets reach, beside Brax's PPO with its own settings: `python bench/presets.py --help`.

Every preset is trained with five seeds, as one program; PPO gets as many steps, and as much time. What comes of it is
kept in a folder, and a second call goes on with what is missing.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PRESETS = ROOT / "configs" / "presets"
SEEDS = [0, 1, 2, 3, 4]


def main() -> None:
    """Tunes, or measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=sorted(path.stem for path in PRESETS.glob("*.yaml")))
    parser.add_argument(
        "--tune", action="store_true", help="try step sizes on two seeds of their own, and say the best"
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[2.0**-k for k in (7, 6, 5, 4, 3)])
    parser.add_argument("--folder", type=Path, default=Path("runs/presets"), help="what is kept")
    parser.add_argument("--ppo-seeds", type=int, default=2, help="of PPO, each a run of its own; 0 for none")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.tune:
        for name in args.names:
            print(f"{name}: method.learning_rate {tuned(name, args.folder, args.rates)}", flush=True)
        return
    rows = [row(name, args.folder, args.ppo_seeds) for name in args.names]
    head = ["preset", "method, estimator", "steps", "return, 5 seeds", "seconds", "PPO, as many steps", "PPO, as long"]
    print("\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *rows]))


def tuned(name: str, folder: Path, rates: list[float]) -> float:
    """The step size with the largest area under the return on two seeds that nothing is reported of."""
    tune = {"method.learning_rate": rates, "seed": [100, 101]}
    path = swept(f"{name}-tuning", {"base": str(PRESETS / f"{name}.yaml"), "tune": tune, "grid": {"seed": [0]}}, folder)
    (chosen,) = json.loads((path / "chosen.json").read_text())["chosen"].values()
    return chosen["values"]["method.learning_rate"]


def row(name: str, folder: Path, ppo_seeds: int) -> str:
    """A line of the table."""
    import pyarrow.parquet

    from nigt_jax.config import load_config

    config = load_config(PRESETS / f"{name}.yaml")
    path = swept(name, {"base": str(PRESETS / f"{name}.yaml"), "grid": {"seed": SEEDS}}, folder)
    table = pyarrow.parquet.read_table(path / "results.parquet").to_pandas()
    last = table.sort_values("iteration").groupby("run").last()
    steps, seconds = int(last["env_steps"].mean()), float(last["wall_time"].mean())
    cells = [name, f"{config.method.name}, {config.estimator.name}", f"{steps:,}", spread(last["return_mean"])]
    cells.append(f"{seconds:.0f}")
    cells += ppo(name, config, folder, steps, seconds, ppo_seeds)
    print(cells, file=sys.stderr, flush=True)
    return f"| {' | '.join(cells)} |"


def ppo(name: str, config: Any, folder: Path, steps: int, seconds: float, seeds: int) -> list[str]:
    """PPO's returns after as many steps, and after as many seconds; dashes where Brax cannot train it."""
    if config.environment.suite != "brax" or config.workers.differ or seeds == 0:
        return ["-", "-"]
    by_steps, by_time = [], []
    for seed in range(seeds):
        curve = ppo_curve(name, config, folder, steps, seed)
        of = {key: np.array([each[key] for each in curve]) for key in ("env_steps", "seconds", "return_mean")}
        by_steps.append(np.interp(steps, of["env_steps"], of["return_mean"]))
        by_time.append(np.interp(seconds, of["seconds"], of["return_mean"]))
        longest = of["seconds"][-1]
    late = "" if longest >= seconds else f" (it was done after {longest:.0f} s)"
    return [spread(by_steps), spread(by_time) + late]


def ppo_curve(name: str, config: Any, folder: Path, steps: int, seed: int) -> list[dict[str, float]]:
    """Evaluations of one of PPO's runs."""
    file = folder / f"{name}-ppo-{seed}.json"
    if not file.exists():
        own = config.environment
        options = {"env": own.name, "backend": own.backend, "horizon": own.horizon, "steps": steps, "seed": seed}
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        command = [sys.executable, str(ROOT / "bench" / "rivals" / "brax_ppo_returns.py"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        file.write_text(done.stdout.splitlines()[-1])
    return json.loads(file.read_text())["evaluations"]


def swept(name: str, sweep: dict[str, Any], folder: Path) -> Path:
    """The folder of a sweep that is done."""
    path, file = folder / name, folder / f"{name}.yaml"
    nigt = [sys.executable, "-m", "nigt_jax", "sweep"]
    if (path / "sweep.yaml").exists():
        subprocess.run([*nigt, str(path), "--resume"], check=True, stdout=subprocess.DEVNULL)
    else:
        with file.open("w") as stream:
            YAML(typ="safe", pure=True).dump(sweep, stream)
        subprocess.run(
            [*nigt, str(file), "--output", str(folder), "--name", name], check=True, stdout=subprocess.DEVNULL
        )
    return path


def spread(values: Any) -> str:
    """Mean and deviation between runs."""
    return f"{np.mean(values):.1f} ± {np.std(values):.1f}"


if __name__ == "__main__":
    main()
