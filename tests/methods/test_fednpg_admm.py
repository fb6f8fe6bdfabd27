"""FedNPG-ADMM against its equations in float64, closed forms, and what it converges to; and in whole runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from given_work import FISHERS, GRADIENTS, SIZE, played
from probes import Quadratic

from nigt_jax.config import FednpgAdmm, check_config
from nigt_jax.methods._fednpg_admm import conjugate_gradients
from nigt_jax.runtimes import SimulatedRuntime

WANTED = np.linalg.solve(FISHERS.sum(0), GRADIENTS.sum(0))
ORDERS = ("server_first", "agent_first")


def seen(section, rounds, fishers=FISHERS, gradients=GRADIENTS):
    """Consensus after every round, the multipliers of server-first order, and the parameters; in float64."""
    server, kept = played(section, rounds, fishers, gradients)
    consensus = server.opt_state.consensus
    multipliers = section.penalty * (kept.kept - consensus[:, None])
    return [np.asarray(x, np.float64) for x in (consensus, multipliers, server.sent)]


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
    consensus, _, params = seen(own, 12)
    wanted = oracle(own, 12)
    np.testing.assert_allclose(consensus, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(params, 0.5 * np.cumsum(wanted, axis=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
def test_it_ends_at_the_natural_gradient_of_all(order):
    """Not at the mean of the workers' own, which is somewhere else."""
    consensus, _, _ = seen(section(dual_order=order), 300)
    np.testing.assert_allclose(consensus[-1], WANTED, rtol=1e-4, atol=1e-5)
    own = np.linalg.solve(FISHERS, GRADIENTS[..., None])[..., 0].mean(0)
    assert np.abs(own - WANTED).max() > 0.05


def test_equal_isotropic_workers_have_a_closed_form():
    h, rho, rounds = 2.0, 0.7, 10
    fishers = np.broadcast_to(h * np.eye(SIZE), FISHERS.shape)
    consensus, _, _ = seen(section(penalty=rho), rounds, fishers)
    steps = 1 - (rho / (h + rho)) ** np.arange(1, rounds + 1)
    np.testing.assert_allclose(consensus, steps[:, None] * GRADIENTS.mean(0) / h, rtol=1e-4, atol=1e-6)


def test_multipliers_add_up_to_nothing():
    _, multipliers, _ = seen(section(), 8)
    assert np.abs(multipliers).max() > 0.1
    np.testing.assert_allclose(multipliers.sum(1), 0, atol=1e-5)


def test_one_worker_finds_its_own_natural_gradient():
    consensus, _, _ = seen(section(), 60, FISHERS[:1], GRADIENTS[:1])
    np.testing.assert_allclose(consensus[-1], np.linalg.solve(FISHERS[0], GRADIENTS[0]), rtol=1e-4)


def test_a_large_penalty_takes_a_plain_gradient():
    (first,), _, _ = seen(section(penalty=1e4), 1)
    np.testing.assert_allclose(first, GRADIENTS.mean(0) / 1e4, rtol=5e-3)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_of_kl_has_its_length_in_the_mean_fisher_matrix(steps):
    """At the new consensus itself, from the first round on, when no worker knows it before."""
    own = section(kl_step=True, admm_steps=steps)
    _, _, params = seen(own, 12)
    y, fisher = oracle(own, 12), FISHERS.mean(0)
    lengths = np.sqrt(np.einsum("ki,ij,kj->k", y, fisher, y))
    np.testing.assert_allclose(np.diff(params, axis=0, prepend=0), 0.5 * y / lengths[:, None], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("kl_step", "factor"), [(True, 1.0), (False, 2.0)])
def test_a_step_of_kl_does_not_know_the_scale_of_rewards(kl_step, factor):
    own = section(kl_step=kl_step)
    (_, _, once), (_, _, twice) = (seen(own, 5, gradients=k * GRADIENTS) for k in (1, 2))
    np.testing.assert_allclose(twice, factor * once, rtol=1e-4, atol=1e-5)
    assert np.abs(once).max() > 0.1


def test_nothing_to_climb_is_no_step():
    _, _, params = seen(section(kl_step=True), 2, gradients=0 * GRADIENTS)
    assert (params == 0).all()


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


@pytest.mark.slow
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
