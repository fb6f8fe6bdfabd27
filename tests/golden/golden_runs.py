"""Tiny runs whose metrics are kept, so that a change of structure shows that it changes no number.

``python tests/golden/golden_runs.py`` writes golden.json again. That is right only where numbers are meant to change.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for probes.py

from probes import EndsWhenGood, Quadratic

import nigt_jax
from nigt_jax.config import check_config

FILE = Path(__file__).with_name("golden.json")
_MOMENTUM = {"learning_rate": 0.1, "momentum": 0.75}
_ROUNDS = {"batch_size": 6, "trajectories_per_gradient": 2}
_LATE_START = {"initial_batch_size": 10, "learning_rate_half_life": 3.0}

RUNS = {
    "rennala_nigt": {"method": _MOMENTUM | _ROUNDS | _LATE_START},
    "malenia_nigt": {"method": _MOMENTUM | _ROUNDS, "devices": 1},
    "synchronous_nigt": {"method": _MOMENTUM | _ROUNDS | {"batch_size": 8}},
    "m_synchronous_nigt": {"method": _MOMENTUM | _ROUNDS | {"batch_size": 3}},
    "rennala_pg": {"method": {"learning_rate": 0.005} | _ROUNDS},
    "synchronous_pg": {"method": {"learning_rate": 0.005} | _ROUNDS},
    "afedpg": {"method": _MOMENTUM | {"trajectories_per_gradient": 2}},
    "ringmaster_nigt": {"method": _MOMENTUM | {"trajectories_per_gradient": 2, "max_delay": 2}},
    "asynchronous_pg": {"method": {"learning_rate": 0.005, "trajectories_per_gradient": 2}},
    "gae": {
        "method": {"name": "rennala_nigt"} | _MOMENTUM | _ROUNDS,
        "estimator": {"name": "gae", "discount": 0.9, "gae_lambda": 0.8, "critic_steps": 2},
        "environment": EndsWhenGood,
        "workers": {"carry_over": True, "topology": "shared-link"},
    },
    "arrivals of gae": {
        "method": {"name": "afedpg", "trajectories_per_gradient": 2} | _MOMENTUM,
        "estimator": {"name": "gae", "discount": 0.9, "critic_steps": 2},
        "environment": EndsWhenGood,
        "workers": {"topology": "shared-link"},
    },
    "the literal form": {
        "method": {"name": "malenia_nigt"} | _MOMENTUM | _ROUNDS,
        "estimator": {"name": "return_to_go"},
        "training": {"layout": "masked", "spmd": "shard_map"},
    },
}


def metrics(name: str) -> list[dict]:
    """The records of one of the runs, all but its seconds."""
    about = RUNS[name]
    config = check_config(
        {
            "environment": {"horizon": 5},
            "policy": {"hidden_sizes": [4]},
            "estimator": about.get("estimator", {"name": "leave_one_out", "discount": 0.9}),
            "method": {"name": name} | about["method"],
            "workers": {"count": 4, "noise": {"family": "exponential"}} | about.get("workers", {}),
            "training": {"iterations": 6, "chunk": 3, "devices": about.get("devices", 2), "platform": "cpu"}
            | {"lanes": 3, "block": 8, "compilation_cache": False}
            | about.get("training", {}),
            "evaluation": {"episodes": 3, "every": 3},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        nigt_jax.train(config, folder, environment=about.get("environment", Quadratic)())
        lines = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "wall_time"} for line in lines]


if __name__ == "__main__":
    kept = {name: metrics(name) for name in RUNS}
    FILE.write_text(json.dumps(kept, indent=0) + "\n", encoding="utf-8")
