"""Ask and tell against the algorithm in float64, and the difference between query point and iterate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nigt_jax.methods import METHODS, Iterate, Progress, QueryPoint, StepHyperparameters, ask, iterate, start, tell

CURVATURE = np.array([1.0, 3.0, 10.0])


def settings(eta=0.1, alpha=0.05, half_life=np.inf):
    alpha, eta, inf = (jnp.asarray(x, jnp.float32) for x in (alpha, eta, np.inf))
    return StepHyperparameters(alpha, Progress(jnp.float32(half_life), inf, inf, inf), eta, eta, jnp.int32(10))


def ascend_in_numpy(start_at, noise, eta, alpha, half_life):
    """Rennala NIGT in ascent form, as the paper writes it, on -x'Ax/2 with noisy gradients."""
    theta = previous = np.array(start_at, np.float64)
    direction = None
    for t, block in enumerate(noise):
        query = theta + (1 - eta) / eta * (theta - previous)
        gradient = np.mean([-CURVATURE * query + n for n in block], axis=0)
        direction = gradient if direction is None else (1 - eta) * direction + eta * gradient
        previous, theta = theta, theta + alpha / (1 + t / half_life) * direction / np.linalg.norm(direction)
    return theta


@pytest.mark.parametrize(("eta", "half_life"), [(0.02, np.inf), (0.1, np.inf), (1.0, np.inf), (0.1, 2.0), (0.1, 30)])
def test_rennala_nigt_is_the_papers_algorithm(eta, half_life):
    """Each of four shards sums what it was given; one of them is given nothing."""
    noise = np.random.default_rng(0).normal(size=(100, 6, 3))
    eta = float(np.float32(eta))
    shards = [[0, 1, 2], [3], [], [4, 5]]
    method = METHODS["rennala_nigt"]
    state = start(method, {"x": jnp.array([1.0, -2.0, 3.0])}, settings(eta, half_life=half_life))

    @jax.jit
    def play(state, number, sums, counts):
        def shard(noise_sum, count):
            query = ask(state).params["x"]
            gradient_sum = {"x": -jnp.asarray(CURVATURE, jnp.float32) * query * count + noise_sum}
            zero = jnp.zeros([])
            step = settings(eta, half_life=half_life).at(Progress(number, zero, zero, zero))
            return tell(method, state, step, gradient_sum, count, "shards")

        return jax.tree.map(lambda x: x[0], jax.vmap(shard, axis_name="shards")(sums, counts))

    counts = jnp.array([len(s) for s in shards], jnp.float32)
    for number, block in enumerate(noise):
        sums = jnp.asarray(np.stack([block[s].sum(0) for s in shards]), jnp.float32)
        state, norm = play(state, jnp.float32(number), sums, counts)
        assert norm > 0
    expected = ascend_in_numpy([1.0, -2.0, 3.0], noise, eta, 0.05, half_life)
    np.testing.assert_allclose(iterate(METHODS["rennala_nigt"], state).params["x"], expected, atol=2e-4)


def test_query_point_and_iterate_differ_and_say_which_they_are():
    method = METHODS["rennala_nigt"]
    state = start(method, jnp.array([1.0, 0.0]), settings(eta=0.001))
    assert isinstance(ask(state), QueryPoint)
    assert isinstance(iterate(METHODS["rennala_nigt"], state), Iterate)
    np.testing.assert_array_equal(ask(state).params, iterate(METHODS["rennala_nigt"], state).params)
    state, _ = tell(method, state, settings(eta=0.001), jnp.array([3.0, 4.0]), jnp.float32(1.0), None)
    np.testing.assert_allclose(iterate(METHODS["rennala_nigt"], state).params, [1.03, 0.04], rtol=1e-4)  # uphill
    distance = jnp.linalg.norm(ask(state).params - iterate(METHODS["rennala_nigt"], state).params)
    np.testing.assert_allclose(distance, 999 * 0.05, rtol=1e-3)


def test_asking_changes_nothing():
    method = METHODS["rennala_nigt"]
    state = start(method, jnp.array([1.0, 0.0]), settings())
    before = jax.tree.map(jnp.copy, state)
    np.testing.assert_array_equal(ask(state).params, ask(state).params)
    jax.tree.map(np.testing.assert_array_equal, state, before)
