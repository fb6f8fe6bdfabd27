"""A whole round on devices: against a plain loop in NumPy, one device against eight, pmap against shard_map."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic, alone, dense, grouped, play

from nigt_jax.clocks import FixedWork, make_clock, play_round
from nigt_jax.config import Noise, WorkersConfig, check_config
from nigt_jax.estimators import policy_gradient, policy_gradient_sum
from nigt_jax.methods import METHODS, QueryPoint, iterate
from nigt_jax.runtimes import SimulatedRuntime, make_parts
from nigt_jax.training import evaluate, stream
from nigt_jax.transforms import tree_norm


def config(devices=1, spmd="pmap", estimator="leave_one_out", iterations=6, lanes=3, **method):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [8]},
            "estimator": {"name": estimator, "discount": 0.9},
            "method": {"batch_size": 8, "momentum": 0.75, "learning_rate": 0.1, **method},
            "training": {
                "iterations": iterations,
                "chunk": 3,
                "devices": devices,
                "spmd": spmd,
                "lanes": lanes,
                "platform": "cpu",
            },
            "evaluation": {"episodes": 5},
        }
    )


def run(cfg, environment, rounds=6):
    runtime = SimulatedRuntime(cfg, environment)
    runtime.compile()
    state, rows = runtime.initial_state(), []
    for n in [cfg.training.chunk] * (rounds // cfg.training.chunk) + [rounds % cfg.training.chunk]:
        state, metrics = runtime.run(state, n)
        rows.append(of_the_run(metrics))
    return runtime, state, jax.tree.map(lambda *m: np.concatenate(m), *rows)


def of_the_run(metrics):
    return jax.tree.map(lambda m: m[:, 0], metrics)


def leaves(state):
    is_key = lambda x: jax.dtypes.issubdtype(np.result_type(x) if np.isscalar(x) else x.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(state)]


def same_counts(one, other):
    """What the clock decides is the same to the last bit, however many devices share the episodes."""
    for name in ("gradients", "episodes", "discarded", "communications", "uploads", "downloads", "delay"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.time, other.time)


@pytest.mark.parametrize(
    "estimator", ["gae", *(pytest.param(name, marks=pytest.mark.slow) for name in ("policy_gradient", "leave_one_out"))]
)
def test_one_device_and_eight_agree(estimator):
    runs = [run(config(devices=d, estimator=estimator), EndsWhenGood()) for d in (1, 8)]
    for a, b in zip(leaves(runs[0][1]), leaves(runs[1][1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    for a, b in zip(*(jax.tree.leaves(m._replace(computed_steps=0)) for _, _, m in runs), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    same_counts(*(metrics for _, _, metrics in runs))
    evaluations = [runtime.evaluate(state)[0] for runtime, state, _ in runs]
    assert evaluations[0] == pytest.approx(evaluations[1], rel=1e-4)


def test_pmap_and_shard_map_are_the_same_numbers():
    runs = [run(config(devices=4, spmd=kind), Quadratic()) for kind in ("pmap", "shard_map")]
    for a, b in zip(leaves(runs[0][1]), leaves(runs[1][1]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("initial", "per_gradient"), [pytest.param(3, 1, marks=pytest.mark.slow), (11, 2)])
def test_rounds_equal_a_plain_loop(initial, per_gradient):
    """NumPy for the server, one batched rollout for the episodes: no packing, no blocks, no collectives."""
    cfg = config(
        devices=2,
        estimator="policy_gradient",
        initial_batch_size=initial,
        trajectories_per_gradient=per_gradient,
    )
    environment, eta, alpha = Quadratic(), 0.25, 0.1
    runtime, state, metrics = run(cfg, environment)
    parts, settings = runtime.parts, runtime.hyperparameters
    at = alone(runtime.initial_state())
    params, restore = jax.flatten_util.ravel_pytree(at.server.sent)
    theta = previous = np.asarray(params, np.float64)
    direction, normalizer, steps, seen = None, at.normalizer, 0, np.zeros(0)
    for t in range(6):
        query = restore(jnp.asarray(theta + (1 - eta) / eta * (theta - previous), jnp.float32))
        episodes = (initial if t == 0 else 8) * per_gradient
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(at.key, t), jnp.arange(episodes))
        batch = play(environment, parts.policy, query, normalizer, keys, jnp.ones(episodes, bool), 4)
        factors = policy_gradient.coefficients((), batch, grouped(normalizer), settings.estimator, None)
        total = alone(policy_gradient_sum(parts.policy, grouped(query), grouped(normalizer), batch, factors))
        gradient = np.asarray(jax.flatten_util.ravel_pytree(total)[0], np.float64) / episodes
        direction = gradient if direction is None else (1 - eta) * direction + eta * gradient
        previous, theta = theta, theta + alpha * direction / np.linalg.norm(direction)
        seen = np.append(seen, np.asarray(dense(batch).observation, np.float64))
        mean, std = (jnp.asarray([x], jnp.float32) for x in (seen.mean(), seen.std()))
        normalizer = normalizer._replace(mean=mean, std=std)
        steps += batch.lengths.sum()
        np.testing.assert_allclose(metrics.gradient_norm[t], np.linalg.norm(gradient), rtol=1e-3)
        np.testing.assert_allclose(metrics.query_return_mean[t], batch.returns.mean(), rtol=1e-3)
        assert metrics.gradients[t] == episodes // per_gradient
    got = jax.flatten_util.ravel_pytree(iterate(METHODS["rennala_nigt"], alone(state.server)).params)[0]
    np.testing.assert_allclose(got, theta, rtol=2e-3, atol=2e-4)
    assert metrics.env_steps.sum() == steps


def test_the_statistics_of_a_round_are_frozen():
    """What a round sees teaches the next one: its own episodes are played with the old statistics."""
    runtime, state, _ = run(config(), Quadratic(), rounds=1)
    fresh, state = alone(runtime.initial_state()), alone(state)
    assert float(state.normalizer.std[0]) != 1.0
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(fresh.key, 0), jnp.arange(8))
    batch = play(Quadratic(), runtime.parts.policy, fresh.server.sent, fresh.normalizer, keys, jnp.ones(8, bool), 4)
    np.testing.assert_allclose(state.normalizer.mean[0], dense(batch).observation.mean(), rtol=1e-4)


def test_simulated_time_and_counts():
    _, state, metrics = run(config(initial_batch_size=20), Quadratic())
    h = np.sqrt(np.arange(1, 11))
    finish = np.sort((h[:, None] * np.arange(1, 21)).ravel())
    expected = np.cumsum([finish[19], *[finish[7]] * 5] + h[-1])
    np.testing.assert_allclose(metrics.time.high + metrics.time.low, expected, rtol=1e-6)
    assert metrics.gradients.tolist() == [20, 8, 8, 8, 8, 8]
    assert state.iteration.tolist() == [6]


def test_nothing_compiles_after_the_first_chunk(caplog):
    runtime = SimulatedRuntime(config(), Quadratic())
    runtime.compile()
    state = runtime.initial_state()
    state, _ = runtime.run(state, 3)
    runtime.evaluate(state)
    with jax.log_compiles():
        for rounds in (3, 1, 2):
            state, _ = runtime.run(state, rounds)
            runtime.evaluate(state)
    assert not [r.getMessage() for r in caplog.records if "XLA compilation" in r.getMessage()]


def test_the_state_is_donated():
    runtime = SimulatedRuntime(config(devices=2), Quadratic())
    runtime.compile()
    state = runtime.initial_state()
    runtime.run(state, 1)
    assert all(x.is_deleted() for x in jax.tree.leaves(state.server.sent))


def test_only_an_iterate_is_evaluated():
    parts = make_parts(config(), Quadratic(), 1)
    params, key = grouped(parts.policy.init(jax.random.key(0))), jax.random.key(1)
    for model in (params, QueryPoint(params)):
        with pytest.raises(TypeError):
            evaluate(parts, 2, model, grouped(parts.policy.init_normalizer()), key)


def test_evaluation_plays_the_iterate_from_the_same_keys():
    runtime, state, _ = run(config(devices=2, momentum=0.99), Quadratic())
    own = alone(state)
    parts, model = runtime.parts, iterate(METHODS["rennala_nigt"], own.server)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(stream(1, "evaluation"), jnp.arange(5))
    of = lambda params: play(Quadratic(), parts.policy, params, own.normalizer, keys, jnp.ones(5, bool), 4).returns
    (got,) = runtime.evaluate(state)
    assert got["return_mean"] == pytest.approx(float(of(model.params).mean()), rel=1e-4)
    assert got["return_mean"] != pytest.approx(float(of(own.server.sent).mean()), rel=1e-2)
    assert runtime.evaluate(state) == [got]


def test_equal_seeds_of_training_and_evaluation_share_no_key():
    state = alone(SimulatedRuntime(config(), Quadratic()).initial_state())
    bits = lambda key: tuple(np.asarray(jax.random.key_data(key)).tolist())
    below = lambda key, n: [jax.random.fold_in(key, i) for i in range(n)]
    training = [*below(jax.random.key(1), 3), stream(1, "training"), *below(stream(1, "training"), 3)]
    training += [e for r in below(state.key, 5) for e in [r, *below(r, 20)]]
    evaluation = below(stream(1, "evaluation"), 20)
    assert not {bits(k) for k in training} & {bits(k) for k in evaluation}


@pytest.mark.slow
def test_weights_are_the_workers():
    """A method that weighs worker 0 alone uses worker 0's episodes alone, wherever they were packed."""
    rennala = METHODS["rennala_nigt"]
    schedule = rennala.schedule._replace(weigh=lambda counted: jnp.zeros(counted.counts.shape).at[0].set(2.0))
    method, cfg = rennala._replace(schedule=schedule), config(devices=4, estimator="policy_gradient")
    runtime = SimulatedRuntime(cfg, Quadratic(), method=method)
    parts = runtime.parts
    runtime.compile()
    start = runtime.initial_state()
    params, key = jax.device_get(alone(start.server.sent)), jax.random.fold_in(start.key[0], 0)
    _, metrics = runtime.run(start, 1)
    clock = alone(runtime.hyperparameters.clock)
    mine = int(play_round(clock, schedule.rule(8, 10), clock.begin(jax.random.key(0)))[0].counts[0])
    assert 1 < mine < 8
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(mine))
    fresh = parts.policy.init_normalizer()
    batch = play(Quadratic(), parts.policy, params, fresh, keys, jnp.ones(mine, bool), 4)
    factors = policy_gradient.coefficients((), batch, grouped(fresh), runtime.hyperparameters.estimator, None)
    total = alone(policy_gradient_sum(parts.policy, grouped(params), grouped(fresh), batch, factors))
    np.testing.assert_allclose(metrics.gradient_norm[0, 0], tree_norm(total) / mine, rtol=1e-4)


def test_a_round_that_the_clock_cannot_decide_is_reported():
    workers = config().workers
    never = dataclasses.replace(make_clock(workers, 1, 8), work=FixedWork(jnp.full(10, jnp.inf)))
    runtime = SimulatedRuntime(config(), Quadratic(), clock=never)
    runtime.compile()
    _, metrics = runtime.run(runtime.initial_state(), 1)
    assert not metrics.complete[0, 0]


@pytest.mark.parametrize(
    "method",
    [
        "malenia_nigt",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("synchronous_nigt", "m_synchronous_nigt")),
    ],
)
def test_every_rule_on_one_device_and_on_four(method):
    """Rounds of Malenia and of random times have other numbers of gradients, all in one program."""
    batch_size = 4 if method == "m_synchronous_nigt" else 8
    cfg = [config(devices=d, name=method, batch_size=batch_size) for d in (1, 4)]
    cfg = [dataclasses.replace(c, workers=WorkersConfig(count=5, noise=Noise(family="exponential"))) for c in cfg]
    (_, a, first), (_, b, second) = (run(c, EndsWhenGood(), rounds=4) for c in cfg)
    for x, y in zip(*(leaves((s, m._replace(computed_steps=0))) for s, m in ((a, first), (b, second))), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5)
    same_counts(first, second)
    assert first.complete.all()
    each = {"malenia_nigt": None, "synchronous_nigt": 10, "synchronous_pg": 10}.get(method, batch_size)
    assert (first.gradients == each).all() if each else len(set(first.gradients.tolist())) > 1


@pytest.mark.slow
def test_masking_is_packing_with_more_to_compute():
    """Both are the same sums, of estimators that look at one episode at a time."""
    both = []
    for layout in ("packed", "masked"):
        cfg = config(devices=2, estimator="return_to_go", name="malenia_nigt", trajectories_per_gradient=2)
        cfg = dataclasses.replace(cfg, training=dataclasses.replace(cfg.training, layout=layout))
        _, state, metrics = run(cfg, EndsWhenGood(), rounds=3)
        both.append((state, metrics._replace(computed_steps=0)))
    for a, b in zip(leaves(both[0]), leaves(both[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
