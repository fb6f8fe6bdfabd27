"""FedNPG-ADMM against its equations in float64, closed forms, and what it converges to; and in whole runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Quadratic

from nigt_jax.config import FednpgAdmm, check_config
from nigt_jax.estimators import WorkUnits
from nigt_jax.methods import METHODS, iterate, start, tell
from nigt_jax.methods._fednpg_admm import conjugate_gradients
from nigt_jax.runtimes import SimulatedRuntime

DRAW = np.random.default_rng(3)
WORKERS, SIZE = 4, 3
FACTORS = DRAW.normal(size=(WORKERS, SIZE, SIZE))
FISHERS = FACTORS @ FACTORS.transpose(0, 2, 1) + 0.5 * np.eye(SIZE)
GRADIENTS = DRAW.normal(size=(WORKERS, SIZE))
WANTED = np.linalg.solve(FISHERS.sum(0), GRADIENTS.sum(0))
ORDERS = ("server_first", "agent_first")


class Fixed(WorkUnits):
    """Workers whose gradients and Fisher matrices are given, wherever the parameters are."""

    def gradients(self):
        return jnp.asarray(self.coefficients, jnp.float32)

    def fisher_vector_products(self, vectors):
        return jnp.einsum("wij,wj->wi", jnp.asarray(self.trajectories, jnp.float32), vectors)


def played(section, rounds, fishers=FISHERS, gradients=GRADIENTS):
    """Consensus after every round, and the multipliers of server-first order; the rounds are compiled."""
    method, number = METHODS["fednpg_admm"], len(gradients)
    hyperparameters = method.hyperparameters(section)
    side = method.worker
    params = jnp.zeros(gradients.shape[1])
    server = start(method, params, hyperparameters)
    kept = jax.tree.map(lambda x: jnp.broadcast_to(x, (number, *x.shape)), side.init(params, hyperparameters))
    work = Fixed(None, None, None, fishers, gradients, jnp.ones(number, jnp.int32))

    def one(carry, _):
        server, kept = carry
        told = side.told(server)
        for contribute in side.exchanges(hyperparameters):
            sent, kept = contribute(kept, work, told, hyperparameters)
            told = sent.message.mean(0)
        server, _ = tell(method, server, hyperparameters, sent.message.sum(0), jnp.float32(number), None)
        multipliers = section.penalty * (kept.kept - side.told(server)[None])
        return (server, kept), (side.told(server), multipliers, iterate(method, server).params)

    _, rows = jax.jit(lambda carry: jax.lax.scan(one, carry, length=rounds))((server, kept))
    return [np.asarray(x, np.float64) for x in rows]


def oracle(section, rounds, fishers=FISHERS, gradients=GRADIENTS):
    """The same as the equations say it, in float64, with systems solved exactly."""
    rho, number = section.penalty, len(gradients)
    y, duals, rows = np.zeros(gradients.shape[1]), np.zeros_like(gradients), []
    for _ in range(rounds * section.admm_steps):
        systems = fishers + rho * np.eye(len(y))
        own = np.linalg.solve(systems, (gradients - duals + rho * y)[..., None])[..., 0]
        if section.dual_order == "agent_first":
            duals = duals + rho * (own - y)
        new = (own + duals / rho).sum(0) / number
        if section.dual_order == "server_first":
            duals = duals + rho * (own - new)
        y = new
        rows.append(y)
    return np.array(rows[section.admm_steps - 1 :: section.admm_steps])


def section(**settings):
    return FednpgAdmm(**({"learning_rate": 0.5, "penalty": 1.0, "cg_iterations": SIZE + 1} | settings))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("penalty", "steps"), [(1.0, 1), (0.3, 1), (3.0, 2)])
def test_equals_its_equations(order, penalty, steps):
    own = section(dual_order=order, penalty=penalty, admm_steps=steps)
    consensus, _, params = played(own, 12)
    wanted = oracle(own, 12)
    np.testing.assert_allclose(consensus, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(params, 0.5 * np.cumsum(wanted, axis=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
def test_it_ends_at_the_natural_gradient_of_all(order):
    """Not at the mean of the workers' own, which is somewhere else."""
    consensus, _, _ = played(section(dual_order=order), 300)
    np.testing.assert_allclose(consensus[-1], WANTED, rtol=1e-4, atol=1e-5)
    own = np.linalg.solve(FISHERS, GRADIENTS[..., None])[..., 0].mean(0)
    assert np.abs(own - WANTED).max() > 0.05


def test_equal_isotropic_workers_have_a_closed_form():
    h, rho, rounds = 2.0, 0.7, 10
    fishers = np.broadcast_to(h * np.eye(SIZE), FISHERS.shape)
    consensus, _, _ = played(section(penalty=rho), rounds, fishers)
    steps = 1 - (rho / (h + rho)) ** np.arange(1, rounds + 1)
    np.testing.assert_allclose(consensus, steps[:, None] * GRADIENTS.mean(0) / h, rtol=1e-4, atol=1e-6)


def test_multipliers_add_up_to_nothing():
    _, multipliers, _ = played(section(), 8)
    assert np.abs(multipliers).max() > 0.1
    np.testing.assert_allclose(multipliers.sum(1), 0, atol=1e-5)


def test_one_worker_finds_its_own_natural_gradient():
    consensus, _, _ = played(section(), 60, FISHERS[:1], GRADIENTS[:1])
    np.testing.assert_allclose(consensus[-1], np.linalg.solve(FISHERS[0], GRADIENTS[0]), rtol=1e-4)


def test_a_large_penalty_takes_a_plain_gradient():
    (first,), _, _ = played(section(penalty=1e4), 1)
    np.testing.assert_allclose(first, GRADIENTS.mean(0) / 1e4, rtol=5e-3)


def test_conjugate_gradients():
    """Trees, every worker with a system of its own; one that is solved, or singular along nothing, stays."""
    sizes = np.array([2, 1])
    wanted = {"a": jnp.asarray(GRADIENTS[:, :2], jnp.float32), "b": jnp.asarray(GRADIENTS[:, 2:], jnp.float32)}
    wanted = jax.tree.map(lambda x: x.at[0].set(0), wanted)

    def apply(tree):
        whole = jnp.concatenate([tree["a"], tree["b"]], 1)
        product = jnp.einsum("wij,wj->wi", jnp.asarray(FISHERS, jnp.float32), whole)
        return {"a": product[:, : sizes[0]], "b": product[:, sizes[0] :]}

    start = jax.tree.map(jnp.zeros_like, wanted)
    found = jax.jit(lambda: conjugate_gradients(apply, wanted, start, 20))()
    got = np.concatenate([found["a"], found["b"]], 1)
    right = np.concatenate([wanted["a"], wanted["b"]], 1).astype(np.float64)
    np.testing.assert_allclose(got, np.linalg.solve(FISHERS, right[..., None])[..., 0], rtol=1e-4, atol=1e-5)
    assert (got[0] == 0).all()


def config(devices=1, **settings):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [4], "normalize_observations": False},
            "estimator": {"name": "return_to_go"},
            "method": {"name": "fednpg_admm", "batch_size": 8, "learning_rate": 0.01, "penalty": 1.0, **settings},
            "workers": {"count": 4},
            "training": {"devices": devices, "chunk": 5},
            "evaluation": {"episodes": 64},
        }
    )


def test_a_whole_run_climbs():
    runtime = SimulatedRuntime(config(admm_steps=2), Quadratic())
    state = runtime.initial_state()
    before = runtime.evaluate(state)[0]["return_mean"]
    for _ in range(4):
        state, metrics = runtime.run(state, 5)
    assert runtime.evaluate(state)[0]["return_mean"] > before + 0.1
    assert (metrics.communications == 2).all()
    assert (metrics.uploads == 8).all()


@pytest.mark.slow
def test_devices_do_not_matter():
    runs = []
    for devices in (1, 4):
        runtime = SimulatedRuntime(config(devices), Quadratic())
        state, _ = runtime.run(runtime.initial_state(), 5)
        runs.append(jax.device_get(runtime.unplaced(state).server.sent))
    for one, other in zip(*map(jax.tree.leaves, runs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
