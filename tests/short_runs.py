"""A short run from start to end, and what has to be equal in two of them."""

import jax
from probes import EndsWhenGood

from nigt_jax.config import check_config
from nigt_jax.records import Checkpoints
from nigt_jax.runtimes import SimulatedRuntime


def config(estimator="gae", iterations=12, learning_rate=0.1, **sections):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [8]},
            "estimator": {"name": estimator},
            "method": {"batch_size": 4, "initial_batch_size": 6, "learning_rate": learning_rate},
            "training": {"iterations": iterations, "chunk": 4, "devices": 2},
            "evaluation": {"every": 6, "episodes": 4},
            "checkpoint": {"every": 5, "keep": 2},
        }
        | sections
    )


def same(records):
    """What has to be equal in two runs: everything but how long they took."""
    return [{k: v for k, v in r.items() if k != "wall_time"} for r in records]


def final_state(cfg, folder):
    checkpoints = Checkpoints(folder / "checkpoints", cfg.checkpoint.keep)
    state, notes = checkpoints.state(SimulatedRuntime(cfg, EndsWhenGood()).initial_state()), checkpoints.notes()
    assert checkpoints.latest == cfg.training.iterations
    is_key = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [jax.random.key_data(x) if is_key(x) else x for x in jax.tree.leaves(state)], notes["totals"]
