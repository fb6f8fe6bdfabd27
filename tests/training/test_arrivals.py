"""AFedPG and its kin against the algorithm as it is told: one event after the other, every agent with its own copy."""

import heapq

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic, alone, grouped, play

from nigt_jax.config import check_config
from nigt_jax.estimators import make_estimator, policy_gradient_sum
from nigt_jax.methods import iterate
from nigt_jax.policies import update_statistics
from nigt_jax.rollout import observation_statistics
from nigt_jax.runtimes import SimulatedRuntime

PLAIN = 0.001  # step of plain ascent: with longer ones episodes break, and rounding blows up
TIMES, EXCHANGE, UPDATES = [1.0, 1.5, 4.0, 9.0, 11.0], [0.25, 0.5, 0.25, 1.0, 0.5], 40


def config(name="afedpg", devices=2, estimator="return_to_go", chunk=7, times=TIMES, **method):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [8]},
            "estimator": {"name": estimator, "discount": 0.9},
            "method": {"name": name, "momentum": 0.75, "learning_rate": 0.1, "max_delay": 4, **method},
            "workers": {
                "count": len(times),
                "compute_time": {"values": times},
                "communication_time": {"values": EXCHANGE},
            },
            "training": {"iterations": UPDATES, "chunk": chunk, "devices": devices, "platform": "cpu"},
            "evaluation": {"episodes": 5},
        }
    )


def run(cfg, environment, updates=UPDATES):
    runtime = SimulatedRuntime(cfg, environment)
    runtime.compile()
    state, rows = runtime.initial_state(), []
    while int(state.iteration[0]) < updates:
        state, metrics = runtime.run(state, min(cfg.training.chunk, updates - int(state.iteration[0])))
        rows.append(jax.tree.map(lambda m: m[:, 0], metrics))
    return runtime, state, jax.tree.map(lambda *m: np.concatenate(m), *rows)


def leaves(tree):
    is_key = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]


class Server:
    """The update in float64, on flat vectors."""

    def __init__(self, theta, name):
        self.theta = self.sent = np.asarray(theta, np.float64)
        self.direction, self.name = None, name

    def absorb(self, g, eta=0.25, alpha=0.1):
        if self.name == "asynchronous_pg":
            self.theta = self.sent = self.theta + PLAIN * g
            return
        self.direction = g if self.direction is None else (1 - eta) * self.direction + eta * g
        before, self.theta = self.theta, self.theta + alpha * self.direction / np.linalg.norm(self.direction)
        self.sent = self.theta + (1 - eta) / eta * (self.theta - before)


def tell_it_as_it_is_told(runtime, environment, name, each):
    """A priority queue of who delivers when; a delivery is computed at what its agent was sent, there and then."""
    parts, start = runtime.parts, alone(runtime.initial_state())
    flat, unflatten = jax.flatten_util.ravel_pytree(jax.device_get(start.server.sent))
    method, tuned = make_estimator(runtime.config.estimator, parts.policy), runtime.hyperparameters.estimator
    server, update, rows = Server(flat, name), 0, []
    normalizer, critic = jax.tree.map(jnp.asarray, jax.device_get((start.normalizer, start.estimator)))
    copies = [(server.sent, normalizer, critic, 0)] * len(TIMES)
    queue = [(h + k, i) for i, (h, k) in enumerate(zip(TIMES, EXCHANGE, strict=True))]
    heapq.heapify(queue)
    discarded = 0

    @jax.jit
    def compute(vector, normalizer, critic, update):
        params = unflatten(vector)
        keys = jax.random.split(jax.random.fold_in(start.key, update), each)
        batch = play(environment, parts.policy, params, normalizer, keys, jnp.ones(each, bool), 4)
        factors = method.coefficients(grouped(critic), batch, grouped(normalizer), tuned, None)
        total = alone(policy_gradient_sum(parts.policy, grouped(params), grouped(normalizer), batch, factors))
        return jax.flatten_util.ravel_pytree(total)[0] / each, batch

    while update < UPDATES:
        now, i = heapq.heappop(queue)
        vector, used, used_critic, at = copies[i]
        delay = update - at
        if name == "ringmaster_nigt" and delay >= 4:
            discarded += 1
        else:
            g, batch = compute(jnp.asarray(vector, jnp.float32), used, used_critic, jnp.int32(update))
            server.absorb(np.asarray(g, np.float64))
            rows.append((now, delay, float(batch.returns.mean()), discarded))
            update, discarded = update + 1, 0
            critic = alone(method.learn(grouped(critic), batch, grouped(used), tuned, None))
            normalizer = update_statistics(normalizer, alone(observation_statistics(batch, None)))
        copies[i] = (server.sent, normalizer, critic, update)
        heapq.heappush(queue, (now + TIMES[i] + EXCHANGE[i], i))
    return server.theta, rows


@pytest.mark.parametrize(
    ("name", "estimator", "each"),
    [
        ("afedpg", "return_to_go", 1),
        pytest.param("afedpg", "leave_one_out", 3, marks=pytest.mark.slow),
        pytest.param("afedpg", "gae", 1, marks=pytest.mark.slow),
        pytest.param("ringmaster_nigt", "return_to_go", 2, marks=pytest.mark.slow),
        pytest.param("asynchronous_pg", "policy_gradient", 1, marks=pytest.mark.slow),
    ],
)
def test_equals_the_algorithm_one_event_at_a_time(name, estimator, each):
    environment = Quadratic()
    step = {"learning_rate": PLAIN} if name == "asynchronous_pg" else {}
    cfg = config(name, estimator=estimator, trajectories_per_gradient=each, **step)
    runtime, state, metrics = run(cfg, environment)
    theta, rows = tell_it_as_it_is_told(runtime, environment, name, each)
    got = jax.flatten_util.ravel_pytree(jax.device_get(iterate(runtime.parts.method, alone(state.server)).params))[0]
    np.testing.assert_allclose(got, theta, atol=3e-3)
    time, delay, returns, discarded = map(np.array, zip(*rows, strict=True))
    np.testing.assert_allclose(metrics.time.high, time, rtol=1e-6)
    assert metrics.delay.tolist() == delay.tolist()
    assert metrics.discarded.tolist() == discarded.tolist()
    assert (metrics.communications == 1 + discarded).all()
    np.testing.assert_allclose(metrics.query_return_mean, returns, rtol=2e-2, atol=2e-3)
    assert (metrics.gradients == 1).all()
    assert metrics.complete.all()
    assert delay.max() > 4 if name != "ringmaster_nigt" else discarded.sum() > 2 and delay.max() < 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["afedpg", "ringleader_nigt"])
def test_blocks_devices_and_chunks_do_not_matter(name):
    """One device or four, chunks of 3 or 20: where blocks end changes nothing."""
    (_, a, first), (_, b, second) = (
        run(config(name, devices=d, chunk=c, estimator="gae"), EndsWhenGood()) for d, c in [(1, 20), (4, 3)]
    )
    first, second = (m._replace(computed_steps=m.env_steps) for m in (first, second))
    for x, y in zip(leaves((a, first)), leaves((b, second)), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5)


def test_nobody_will_ever_deliver():
    runtime = SimulatedRuntime(config(), Quadratic())
    state = runtime.initial_state()
    never = jax.tree.map(lambda x: jnp.full_like(x, jnp.inf), state.clock.due)
    runtime.compile()
    _, metrics = runtime.run(runtime.place(state._replace(clock=state.clock._replace(due=never))), 3)
    assert not metrics.complete.any()
