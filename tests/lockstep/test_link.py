"""What the leader tells, in a job of one process; the real thing is in test_lockstep.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.config import check_config
from nigt_jax.errors import UserError
from nigt_jax.keys import without_keys
from nigt_jax.runtimes import number_of_processes
from nigt_jax.runtimes.lockstep import _link, join


def config(**runtime):
    return check_config({"runtime": {"kind": "lockstep", **runtime}})


@pytest.mark.parametrize("length", [0, 900, 1020, 1021, 5000])
def test_messages_of_any_length(length):
    message = {"do": "x" * length, "stop": [float("inf"), 1.5, None]}
    assert _link.tell(message) == message


def test_a_state_arrives_bit_for_bit():
    tree = {
        "keys": jax.random.split(jax.random.key(3), 4),
        "real": jnp.asarray([[np.nan, -0.0, 1e-45]], jnp.float32),
        "whole": jnp.asarray(-7, jnp.int32),
        "none": (jnp.zeros((0, 3)), ()),
        "yes": jnp.asarray([True, False]),
    }
    shared = _link.share(tree, tree)
    assert jax.tree.structure(shared) == jax.tree.structure(tree)
    for one, other in zip(jax.tree.leaves(tree), jax.tree.leaves(shared), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert np.asarray(without_keys(one)).tobytes() == np.asarray(without_keys(other)).tobytes()


def test_half_a_job_is_refused(monkeypatch):
    monkeypatch.setenv("NIGT_COORDINATOR", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"^NIGT_PROCESS, NIGT_PROCESSES: not set"):
        join(config())
    monkeypatch.setenv("NIGT_PROCESSES", "two")
    monkeypatch.setenv("NIGT_PROCESS", "0")
    with pytest.raises(UserError, match=r"^NIGT_PROCESSES: got two, allowed: integers from 1$"):
        join(config())


def test_how_many_there_will_be(monkeypatch):
    assert number_of_processes(config(processes=3)) == 3
    assert number_of_processes(config()) == 1
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert number_of_processes(config()) == 8
    assert number_of_processes(config(processes=3)) == 3
