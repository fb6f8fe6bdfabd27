"""Programs of every kind lower for accelerators, on a machine without one: nothing in them needs a CPU or a host."""

import re

import jax
import jax.export
import jax.numpy as jnp
import pytest
from probes import EndsWhenGood
from short_runs import config

from nigt_jax.config import ESTIMATORS
from nigt_jax.methods import METHODS
from nigt_jax.runtimes import SimulatedRuntime

PLATFORMS = ("cuda", "tpu")
# What is neither a CPU's nor the host's: marks of shardings, and a GPU's own threefry and Cholesky.
HARMLESS = {"Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape", "cu_threefry2x32_ffi", "cusolver_potrf_ffi"}
# Sums where gradients are counted in rounds, every message where each counts by itself; both where both do.
MESSAGES = {"summed": {"all_reduce"}, "workers": {"all_reduce", "all_gather"}, "arrivals": {"all_gather"}}
# Between them they have rounds and arrivals, a table, workers that keep something, and matrices.
AT_ONCE = {"rennala_nigt", "rennala_nharpg", "ringleader_nigt", "fednpg_admm"}


def faults(exported):
    """What an accelerator could not run, or would run slowly."""
    text = exported.mlir_module()
    calls = set(re.findall(r"custom_call @([\w.]+)", text)) - HARMLESS
    doubles = re.findall(r"tensor<(?:[\dx?]+x)?f64>", text)
    return sorted(calls) + sorted(set(doubles))


def collectives(exported):
    """Kinds of messages between devices."""
    return set(re.findall(r"stablehlo\.(all_\w+|collective_\w+|reduce_scatter)", exported.mlir_module()))


def program(cfg, environment=None, **more):
    return SimulatedRuntime(cfg, environment, **more).exported(PLATFORMS)


def later(values, at_once):
    return [value if value in at_once else pytest.param(value, marks=pytest.mark.slow) for value in values]


def check(exported, method="rennala_nigt"):
    assert exported.platforms == PLATFORMS
    assert not faults(exported)
    # An evaluation, which is at the end of every program, is gathered.
    assert collectives(exported) == MESSAGES[METHODS[method].kind] | {"all_gather"}


@pytest.mark.parametrize("method", later(METHODS, AT_ONCE))
def test_every_method(method):
    section = {"name": method, "batch_size": 4} if METHODS[method].rounds is not None else {"name": method}
    check(program(config("leave_one_out", method=section | {"trajectories_per_gradient": 2}), EndsWhenGood()), method)


@pytest.mark.parametrize("estimator", later(ESTIMATORS, {"gae"}))
def test_every_estimator(estimator):
    more = {"method": {"trajectories_per_gradient": 2}, "policy": {"normalize_observations": True}}
    check(program(config(estimator, **more), EndsWhenGood()))


@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")
@pytest.mark.parametrize("backend", later(["spring", "positional", "generalized", "mjx"], set()))
def test_every_backend(backend):
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        check(program(config(environment={"name": "hopper", "backend": backend, "horizon": 4})))


def test_devices_with_runs_of_their_own_tell_each_other_nothing():
    cfg = config()
    exported = program(cfg, EndsWhenGood(), runs=[cfg] * 2)
    assert not faults(exported)
    assert not collectives(exported)


def test_faults_are_seen():
    """What only a CPU's library has, what calls back to the host, and doubles."""
    matrix = jax.ShapeDtypeStruct((3, 3), jnp.float32)
    of = lambda function, platforms=PLATFORMS: faults(jax.export.export(jax.jit(function), platforms=platforms)(matrix))
    assert not of(lambda x: x @ x)
    assert any("lapack" in name for name in of(lambda x: jnp.linalg.eigh(x)[0], ("cpu",)))
    with pytest.raises(ValueError, match="platform"):  # a call of the host does not even lower
        of(lambda x: jax.pure_callback(lambda y: y, matrix, x), ("cuda",))
    with jax.enable_x64(True):
        assert "tensor<3x3xf64>" in of(lambda x: x.astype(jnp.float64) * 2)
