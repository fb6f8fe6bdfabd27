"""What a run keeps is counted before anything is computed, and what cannot fit is refused with the figure."""

import dataclasses
import math

import jax
import pytest
from probes import Quadratic

from nigt_jax.config import check_config
from nigt_jax.errors import UserError
from nigt_jax.runtimes import SimulatedRuntime, _simulated
from nigt_jax.runtimes._memory import bytes_needed
from nigt_jax.runtimes._parts import on_platform


def config(name, workers, **method):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 5},
            "policy": {"hidden_sizes": [64, 64]},
            "estimator": {"name": "return_to_go"},
            "method": {"name": name} | method,
            "workers": {"count": workers},
            "training": {"devices": 1, "lanes": 2, "platform": "cpu", "compilation_cache": False},
        }
    )


def nbytes(tree):
    """Of arrays that there are; a key is two 32-bit numbers."""
    leaves = [jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in tree]
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in leaves)


@pytest.mark.parametrize(("name", "method"), [("afedpg", {}), ("lapg", {"batch_size": 30}), ("rennala_nigt", {})])
def test_the_count_is_that_of_the_arrays(name, method):
    runtime = SimulatedRuntime(config(name, 30, **method), Quadratic())
    state = runtime.initial_state()
    needed = bytes_needed(runtime.parts, runtime.hyperparameters)
    assert needed["what workers were sent and keep"] == 2 * nbytes(jax.tree.leaves((state.sent, state.workers)))
    rest = state._replace(sent=(), workers=())
    assert needed["the rest of the state"] == 2 * nbytes(jax.tree.leaves(rest))
    first = jax.vmap(Quadratic().reset)(jax.random.split(jax.random.key(0), runtime.parts.episodes))
    assert needed["the first states of a block's episodes"] == nbytes(jax.tree.leaves(first))
    singles = runtime.parts.episodes * nbytes(jax.tree.leaves(state.server.sent)) if name == "lapg" else 0
    assert needed["gradients of single episodes"] == singles
    assert needed["the steps of a block's episodes"] == 4 * 3 * 5 * runtime.parts.episodes
    assert (needed["what workers were sent and keep"] > 0) == (name != "rennala_nigt")


def test_devices_that_have_runs_of_their_own_count_those_alone():
    cfg = config("rennala_nigt", 5)
    cfg = dataclasses.replace(cfg, training=dataclasses.replace(cfg.training, devices=4))
    together = SimulatedRuntime(cfg, Quadratic(), runs=[dataclasses.replace(cfg, seed=k) for k in range(8)])
    two = SimulatedRuntime(cfg, Quadratic(), devices=jax.devices()[:1], runs=[cfg, cfg])
    whole = bytes_needed(together.parts, together.hyperparameters, devices=4)
    assert whole == bytes_needed(two.parts, two.hyperparameters)


@pytest.mark.parametrize(("name", "method"), [("afedpg", {}), ("lapg", {"batch_size": 1_000_000})])
def test_copies_of_a_million_workers_are_refused(name, method):
    """4,482 numbers each, twice: tens of GiB, of which not one is allocated."""
    with pytest.raises(UserError, match=r"what workers were sent and keep take \d+(\.\d+)? GiB on each device, of "):
        SimulatedRuntime(config(name, 1_000_000, **method), Quadratic())


@pytest.mark.parametrize(
    "gib", [16, pytest.param(24, marks=pytest.mark.slow), pytest.param(80, marks=pytest.mark.slow)]
)
def test_the_plan_fits_into_an_accelerator(monkeypatch, gib):
    """A round of a million episodes in blocks, as a device of so much memory would have them; compiled, and not run."""
    there = int(0.75 * 2**30 * gib)  # what JAX takes of a GPU
    monkeypatch.setattr(_simulated, "memory_for_steps", lambda devices: there // 8)
    cfg = config("rennala_nigt", 30, batch_size=1_000_000)
    cfg = dataclasses.replace(
        cfg,
        environment=dataclasses.replace(cfg.environment, horizon=1000),
        training=dataclasses.replace(cfg.training, lanes=2048),
    )
    runtime = SimulatedRuntime(cfg, Quadratic())
    runtime.parts = on_platform(runtime.parts, "cuda")
    needed = bytes_needed(runtime.parts, runtime.hyperparameters)
    assert there / 16 < sum(needed.values()) <= there / 7  # of several equal blocks, as large as may be
    assert sum(needed.values()) < runtime.chunk.peak_bytes() < there
