"""States of Optax's chains are tuples, and checkpoints give them back."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nigt_jax.records import Checkpoints


class Server(NamedTuple):
    """As much of a state as has a chain in it."""

    sent: Any
    opt_state: Any


@pytest.mark.parametrize(
    "update",
    [optax.sgd(lambda number: 0.1), optax.chain(optax.sgd(lambda number: 0.1), optax.scale_by_adam())],
    ids=["plain", "chain in a chain"],
)
def test_a_state_with_tuples_is_restored(update, tmp_path):
    params = {"w": jnp.arange(3.0)}
    state = Server(params, jax.tree.map(lambda x: x + 2, update.init(params)))
    checkpoints = Checkpoints(tmp_path / "checkpoints", 1)
    checkpoints.save(3, state, {})
    found = checkpoints.state(jax.tree.map(jnp.zeros_like, state))
    checkpoints.close()
    assert jax.tree.structure(found) == jax.tree.structure(state)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)
