"""What devices tell each other in a round: sums as large as the parameters, and never an episode."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from probes import Quadratic

from nigt_jax.config import check_config
from nigt_jax.runtimes import SimulatedRuntime

FILE = Path(__file__).parents[2] / "bench" / "communication.py"
SPEC = importlib.util.spec_from_file_location("communication", FILE)
communication = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(communication)

HORIZON, CRITIC_STEPS = 7, 3


def volume(estimator, devices, lanes=3, batch_size=16, normalize=True, blocks=1):
    """The exchanges of a round, and the number of parameters d."""
    training = {"chunk": 3, "devices": devices, "lanes": lanes, "platform": "cpu", "compilation_cache": False}
    config = check_config(
        {
            "environment": {"name": "fast", "horizon": HORIZON},
            "policy": {"hidden_sizes": [8], "normalize_observations": normalize},
            "estimator": {"name": estimator} | ({"critic_steps": CRITIC_STEPS} if estimator == "gae" else {}),
            "method": {"batch_size": batch_size},
            "training": training,
            "evaluation": {"episodes": 1},
        }
    )
    runtime = SimulatedRuntime(config, Quadratic())
    parameters = sum(x.size for x in jax.tree.leaves(runtime.initial_state().server.sent))
    return communication.volume(runtime, blocks), parameters


@pytest.mark.parametrize(
    ("devices", "lanes", "batch_size"), [(2, 3, 8), pytest.param(8, "auto", 64, marks=pytest.mark.slow)]
)
def test_a_round_exchanges_the_gradient_and_little_else(devices, lanes, batch_size):
    """Neither trajectories, nor anything else that grows with the batch, the lanes, the horizon or the devices."""
    found, parameters = volume("policy_gradient", devices, lanes, batch_size, normalize=False)
    assert found.kinds == ("all-reduce",)
    assert found.bytes["gradient"] == 4 * parameters
    assert found.bytes["weight"] == 4
    assert found.total <= 4 * (parameters + 64)
    assert found.exchanges <= 4


@pytest.mark.parametrize(
    ("estimator", "purpose"), [("leave_one_out", "baseline"), pytest.param("gae", "critic", marks=pytest.mark.slow)]
)
def test_what_an_estimator_adds(estimator, purpose):
    """A baseline is a number a step; a critic is one of its own gradients for every step of Adam; both are reduced."""
    found, parameters = volume(estimator, devices=4, blocks=2)
    assert found.kinds == ("all-reduce",)
    assert found.bytes["gradient"] == 4 * parameters
    assert set(found.bytes) == {"gradient", "weight", "statistics", "metrics", purpose}
    critic = sum(rows * columns + columns for rows, columns in [(2, 64), (64, 64), (64, 1)])
    each = {"baseline": HORIZON + 1, "critic": 2 + CRITIC_STEPS * critic}[purpose]
    assert found.bytes_a_block[purpose] == 4 * each
    assert found.bytes[purpose] == 2 * 4 * each


def test_the_reader_sees_loops_and_gathers():
    """A reader that saw nothing would pass every test above."""

    def function(x, passes):
        gathered = jax.lax.all_gather(x, "devices")
        known = jax.lax.fori_loop(0, 5, lambda _, y: jnp.sin(jax.lax.psum(y, "devices")), x)
        return gathered, known + jax.lax.fori_loop(0, passes, lambda _, y: jnp.cos(jax.lax.psum(y, "devices")), x)

    mesh, whole = Mesh(np.array(jax.devices()[:4]), ("devices",)), PartitionSpec()
    mapped = jax.shard_map(function, mesh=mesh, in_specs=(whole, whole), out_specs=whole, check_vma=False)
    text = jax.jit(mapped).lower(jnp.ones(6), jnp.int32(1)).compile().as_text()
    found = sorted((e.kind, e.bytes, e.times, e.loops) for e in communication.read(text))
    assert found == [("all-gather", 96, 1, 0), ("all-reduce", 24, 1, 1), ("all-reduce", 24, 5, 0)]
