"""Useful environment steps a second in training by this package: `python bench/rivals/ours.py`.

The main job of configs/default.yaml with larger rounds. A step counts if it belongs to a counted episode and comes
before its end, as in a run's records.
"""

import json
import os
from pathlib import Path
from typing import Any

import jax
from _figures import Lap, arguments, cpu, figures

import nigt_jax
from nigt_jax.benchmark import Trained, train_by_us
from nigt_jax.runtimes import cpu_cores, split_cpu

CONFIG = Path(__file__).parents[2] / "configs" / "default.yaml"


def main() -> None:
    """Trains, and prints the figures."""
    parser = arguments(__doc__, repeats=6, warm_up=6)
    parser.add_argument("--backend", default="spring", help="physics pipeline of Brax")
    parser.add_argument("--batch-size", type=int, default=2048, help="episodes in a round")
    parser.add_argument("--lanes", type=int, default=256, help="episodes side by side, on all devices")
    parser.add_argument("--rounds", type=int, default=1, help="in a stretch of training, one compiled call")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="more settings of the configuration")
    args = parser.parse_args()
    trained = ours(args)
    first = jax.devices()[0]
    device = cpu() if first.platform == "cpu" else first.device_kind
    laps = [Lap(*lap) for lap in trained.laps]
    print(json.dumps(figures("nigt_jax", args, laps, device, ("jax", "brax"), trained.starting_seconds)))


def ours(args: Any) -> Trained:
    """Trains."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    settings = {
        "environment.name": args.env,
        "environment.backend": args.backend,
        "environment.horizon": str(args.horizon),
        "policy.hidden_sizes": str(args.hidden),
        "method.batch_size": str(args.batch_size),
        "training.chunk": str(args.rounds),
        "training.lanes": str(args.lanes // len(jax.devices())),
        "training.compilation_cache": "false",  # what starting takes is one of the figures
        "evaluation.episodes": "2",
    }
    config = nigt_jax.load_config(CONFIG, settings | dict(pair.split("=", 1) for pair in args.set))
    return train_by_us(config, args.warm_up, args.repeats)


if __name__ == "__main__":
    split_cpu(cpu_cores())
    main()
