"""What docs/transforms.md shows has been run: here, or, where it needs another package, as the file that it quotes."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import nigt_jax

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = re.findall(r"```python\n(.*?)```", (DOCS / "transforms.md").read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def page():
    """The names that the page leaves behind, under a user's settings, which Flax wants too."""
    names = {}
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for block in BLOCKS:
            if "rejax" not in block:
                exec(block, names)
        yield names


def test_the_loops_learn(page):
    assert float(page["loss"](page["model"], 0.0)) < 0.01
    assert float(page["loss"](page["aided_params"], 0.0)) < 0.01
    assert float(page["error"](page["variables"])) < 0.05 < float(page["first"])
    assert not jnp.allclose(page["model"], page["params"])
    line = nnx.as_pure(nnx.state(page["shipped"], nnx.Param))
    np.testing.assert_allclose((line["kernel"][0, 0], line["bias"][0]), (2, 1), atol=0.1)


def test_the_query_point_costs_what_the_page_says(page):
    at_query, at_iterate = (float(page["loss"](page[name], 0.0)) for name in ("query", "iterate"))
    assert at_query > float(page["loss"](jnp.zeros(10), 0.0))
    assert at_iterate < 0.05


def test_statistics_at_are_those_of_the_batches(page):
    net = page["Normalised"]()
    batch = jnp.asarray(np.random.default_rng(0).normal(size=(64, 3)), jnp.float32)
    start = net.init(jax.random.key(0), batch, train=False)
    got = page["statistics_at"](start["params"], start["batch_stats"], [batch] * 3)["BatchNorm_0"]
    dense = start["params"]["Dense_0"]
    seen = np.asarray(batch, np.float64) @ np.asarray(dense["kernel"], np.float64) + np.asarray(dense["bias"])
    kept = 0.9**3  # of the mean 0 and the variance 1 that they begin with
    np.testing.assert_allclose(got["mean"], (1 - kept) * seen.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got["var"], (1 - kept) * seen.var(0) + kept, rtol=1e-4)


def test_apply_gradients_passes_the_count_on(page):
    tx = optax.chain(nigt_jax.rennala_mean(None), optax.sgd(1.0))
    state = TrainState.create(apply_fn=None, params={"w": jnp.zeros(2)}, tx=tx)
    with pytest.raises(TypeError, match="count"):
        state.apply_gradients(grads={"w": jnp.ones(2)})
    after = page["apply_gradients"](state, {"w": jnp.array([2.0, 4.0])}, 4)
    np.testing.assert_array_equal(after.params["w"], [-0.5, -1.0])
    assert after.step == 1


def test_the_round_on_devices_is_one_step(page):
    """Of length 0.1 towards (1, ..., 1); the query point lies 9 further ones ahead."""
    np.testing.assert_allclose(page["weights"], 1 / 10**0.5, rtol=1e-5)


def test_decoupled_decay_is_its_formula(page):
    """Against a loop in float64: theta <- theta - alpha (d / |d| + w theta)."""
    noise = np.random.default_rng(0).normal(size=(8, 3))
    tx = page["nigt_with_decay"](0.1, 0.75, 0.5)
    params = jnp.array([1.0, -2.0, 3.0])
    theta = query = np.asarray(params, np.float64)
    state, update, d = tx.init(params), jax.jit(tx.update), None
    for epsilon in noise:
        updates, state = update(params + jnp.asarray(epsilon, jnp.float32), state, params)
        params = optax.apply_updates(params, updates)
        g = query + epsilon
        d = g if d is None else 0.75 * d + 0.25 * g
        before, theta = theta, theta - 0.1 * (d / np.linalg.norm(d) + 0.5 * theta)
        query = theta + 3 * (theta - before)
        np.testing.assert_allclose(params, query, atol=1e-5)
        np.testing.assert_allclose(nigt_jax.nigt_eval_params(state, params), theta, atol=1e-5)


def test_the_quoted_example_is_the_file():
    (quoted,) = [block for block in BLOCKS if "rejax" in block]
    assert quoted in (DOCS / "examples" / "rejax_ppo.py").read_text()
