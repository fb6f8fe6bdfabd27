"""Exact FedNPG against NumPy in float64, FedNPG-ADMM against it, and what both cost, in whole runs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from given_work import FISHERS, GRADIENTS, SIZE, played
from probes import Quadratic, dense, linear_policy, play

from nigt_jax.config import FednpgAdmm, FednpgExact, check_config
from nigt_jax.errors import UserError
from nigt_jax.estimators import EstimatorHyperparameters, WorkUnits, return_to_go_gradient
from nigt_jax.methods import METHODS, start, tell
from nigt_jax.records import read_metrics
from nigt_jax.runs import train
from nigt_jax.runtimes import SimulatedRuntime

PARAMETERS = 1 * 4 + 4 + 2 * (4 + 1)


def section(**settings):
    return FednpgExact(**({"learning_rate": 0.5, "damping": 0.3} | settings))


def steps(own, rounds=3, **given):
    """Of the parameters in every round, in float64."""
    server, _ = played(own, rounds, **given)
    return np.diff(np.asarray(server.sent, np.float64), axis=0, prepend=0)


def solved(damping, kl_step):
    """The step of length 0.5, or 0.5 times the solution."""
    fisher, gradient = FISHERS.mean(0), GRADIENTS.mean(0)
    y = np.linalg.solve(fisher + damping * np.eye(SIZE), gradient)
    return 0.5 * y / (np.sqrt(y @ fisher @ y) if kl_step else 1)


@pytest.mark.parametrize("kl_step", [False, True])
@pytest.mark.parametrize("damping", [1e-6, 0.3, 10.0])
def test_equals_its_equation(damping, kl_step):
    found = steps(section(damping=damping, kl_step=kl_step))
    np.testing.assert_allclose(found, np.tile(solved(damping, kl_step), (3, 1)), rtol=1e-4, atol=1e-5)


def test_parameters_may_be_a_tree():
    method = METHODS["fednpg_exact"]
    update = method.update(method.hyperparameters(section()))
    tree = lambda x: {"b": jnp.asarray(x[1:], jnp.float32), "a": jnp.asarray(x[:1], jnp.float32)}
    fisher = jnp.asarray(FISHERS.mean(0), jnp.float32)
    moves, _ = jax.jit(update.update)(tree(-GRADIENTS.mean(0)), update.init(None), fisher=fisher)
    np.testing.assert_allclose(np.concatenate([moves["a"], moves["b"]]), solved(0.3, False), rtol=1e-4)


@pytest.mark.parametrize(("kl_step", "factor"), [(True, 1.0), (False, 2.0)])
def test_a_step_of_kl_does_not_know_the_scale_of_rewards(kl_step, factor):
    own = section(kl_step=kl_step)
    np.testing.assert_allclose(steps(own, gradients=2 * GRADIENTS), factor * steps(own), rtol=1e-4)


@pytest.mark.parametrize("kl_step", [False, True])
def test_admm_ends_at_the_same_step(kl_step):
    """Its penalty does not show in what it converges to: that is the solution without damping."""
    admm = FednpgAdmm(learning_rate=0.5, penalty=1.0, cg_iterations=SIZE + 1, kl_step=kl_step)
    found, exact = steps(admm, 300), steps(section(damping=1e-6, kl_step=kl_step))
    np.testing.assert_allclose(found[-1], exact[-1], rtol=1e-3, atol=1e-5)
    assert np.abs(found[0] - exact[0]).max() > 0.01


def test_a_step_of_kl_has_its_divergence():
    """Between the policies before and after, over the states that workers saw: sqrt(2 delta) gives delta."""
    delta, policy, number = 0.002, linear_policy(), 1500
    params, normalizer = policy.init(jax.random.key(0)), policy.init_normalizer()
    keys = jax.random.split(jax.random.key(1), number)
    batch = play(Quadratic(), policy, params, normalizer, keys, jnp.ones(number, bool), 4, (64,))
    own = dataclasses.replace(batch, groups=2, charge=jnp.zeros(2))
    both = lambda tree: jax.tree.map(lambda x: jnp.broadcast_to(x, (2, *x.shape)), tree)
    tuned = EstimatorHyperparameters(jnp.full(2, 0.9))
    factors = return_to_go_gradient.coefficients((), own, both(normalizer), tuned, None)
    work = WorkUnits(policy, both(params), both(normalizer), own, factors, jnp.full(2, number // 2, jnp.int32))
    method = METHODS["fednpg_exact"]
    hyperparameters = method.hyperparameters(section(learning_rate=(2 * delta) ** 0.5, kl_step=True, damping=1e-3))

    @jax.jit
    def after():
        total, fisher = jax.tree.map(lambda x: x.sum(0), (work.gradients(), work.fisher_matrices()))
        server = start(method, params, hyperparameters)
        return tell(method, server, hyperparameters, total, jnp.float32(2), None, fisher=fisher)[0].sent

    seen = np.asarray(dense(batch).observation, np.float64).ravel()
    gaussian = lambda p: (float(p["w"]) * seen + float(p["b"]), np.log1p(np.exp(float(p["c"]))))
    (m0, s0), (m1, s1) = gaussian(params["params"]), gaussian(after()["params"])
    divergence = np.log(s1 / s0) + (s0**2 + (m0 - m1) ** 2) / (2 * s1**2) - 0.5
    assert divergence.mean() == pytest.approx(delta, rel=0.15)


def config(name="fednpg_exact", iterations=4, devices=1, **method):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [4], "normalize_observations": False},
            "estimator": {"name": "return_to_go"},
            "method": {"name": name, "batch_size": 20, "learning_rate": 0.1, "kl_step": True} | method,
            "workers": {"count": 5},
            "training": {"iterations": iterations, "chunk": 2, "devices": devices, "platform": "cpu"}
            | {"compilation_cache": False},
            "evaluation": {"episodes": 64, "every": 2},
        }
    )


def records(folder):
    return [{k: v for k, v in record.items() if k != "wall_time"} for record in read_metrics(folder / "metrics.jsonl")]


@pytest.mark.slow
def test_a_run_goes_on_as_if_nothing_had_happened(tmp_path):
    """And its bytes are those of all that is sent: gradients and halves of matrices."""
    cfg = config()
    short = dataclasses.replace(cfg, training=dataclasses.replace(cfg.training, iterations=2))
    train(cfg, tmp_path / "whole", environment=Quadratic())
    train(short, tmp_path / "parts", environment=Quadratic())
    train(cfg, tmp_path / "parts", environment=Quadratic(), resume=True)
    whole, parts = records(tmp_path / "whole"), records(tmp_path / "parts")
    for a, b in zip(whole, parts, strict=True):
        assert {k: v for k, v in a.items() if "evaluation" not in k and "return_" not in k}.items() <= b.items()
    for record in whole:
        assert record["bytes_up"] == 4 * 5 * record["iteration"] * (PARAMETERS + PARAMETERS * (PARAMETERS + 1) // 2)
        assert record["bytes_down"] == 4 * 5 * record["iteration"] * PARAMETERS


@pytest.mark.slow
def test_admm_sends_a_vector_an_exchange_and_one_number_more_a_round(tmp_path):
    train(config("fednpg_admm", admm_steps=2), tmp_path, environment=Quadratic())
    for record in records(tmp_path):
        assert record["bytes_up"] == 4 * 5 * record["iteration"] * (2 * PARAMETERS + 1)
        assert record["bytes_down"] == 4 * 5 * record["iteration"] * 2 * PARAMETERS
    plain = FednpgAdmm(admm_steps=2)
    assert plain.numbers_up(PARAMETERS, uploads=10) == 10 * PARAMETERS


def test_a_whole_run_climbs():
    runtime = SimulatedRuntime(config(), Quadratic())
    state = runtime.initial_state()
    before = runtime.evaluate(state)[0]["return_mean"]
    for _ in range(10):
        state, _ = runtime.run(state, 2)
    assert runtime.evaluate(state)[0]["return_mean"] > before + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fednpg_exact", "fednpg_admm"])
def test_devices_do_not_matter(name):
    """Five workers do not fill four devices evenly."""
    runs = []
    for devices in (1, 4):
        runtime = SimulatedRuntime(config(name, devices=devices), Quadratic())
        state, _ = runtime.run(runtime.initial_state(), 4)
        runs.append(jax.device_get(runtime.unplaced(state).server.sent))
    for one, other in zip(*map(jax.tree.leaves, runs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_large_policy_is_refused():
    cfg = dataclasses.replace(config(), policy=dataclasses.replace(config().policy, hidden_sizes=(64, 64)))
    with pytest.raises(UserError, match=r"fednpg_exact for a policy of 4,418 parameters; allowed: 3,000 at most"):
        SimulatedRuntime(cfg, Quadratic())
