"""LAPG against its own rules in float64, where it is plain ascent, where its uploads are bounded, and in whole runs."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import EndsWhenGood, Quadratic

from nigt_jax.config import METHODS as SECTIONS
from nigt_jax.config import check_config
from nigt_jax.errors import UserError
from nigt_jax.estimators import WorkUnits
from nigt_jax.methods import METHODS, iterate, start, tell
from nigt_jax.records import read_metrics
from nigt_jax.runs import train
from nigt_jax.runtimes import SimulatedRuntime

CURVATURE = np.array([0.1, 0.2, 0.5, 1.0, 4.0])
OPTIMA = np.random.default_rng(0).normal(size=(5, 3))
STEP, ROUNDS = 0.05 * 5, 300  # the published step is for the sum over workers, this one for their mean


class OfQuadratics(WorkUnits):
    """Workers whose objective is -a_m/2 |theta - b_m|^2, without noise."""

    def gradients(self):
        """The exact ones."""
        real = lambda x: jnp.asarray(x, jnp.float32)
        return -real(CURVATURE)[:, None] * (self.params - real(OPTIMA))

    def variances(self):
        """None at all, but for what is told."""
        return jnp.full(5, self.trajectories or 0.0)


def played(section, rounds=ROUNDS, variance=0.0, episodes=1):
    """Iterates and uploads of each round, on the quadratics; all of it compiled."""
    method = METHODS["lapg"]
    hyperparameters = method.hyperparameters(section)
    params = jnp.zeros(3)
    server = start(method, params, hyperparameters)
    workers = jax.tree.map(lambda x: jnp.broadcast_to(x, (5, *x.shape)), method.worker.init(params, hyperparameters))
    (contribute,) = method.worker.exchanges(hyperparameters)

    def one(carry, _):
        server, workers = carry
        queries = jnp.broadcast_to(server.sent, (5, 3))
        work = OfQuadratics(None, queries, None, variance, None, jnp.full(5, episodes, jnp.int32))
        sent, workers = contribute(workers, work, method.worker.told(server), hyperparameters)
        total = jnp.where(sent.uploads[:, None], sent.message, 0).sum(0)
        server, norm = tell(method, server, hyperparameters, total, jnp.float32(5), None)
        kept = workers.uploaded.mean(0)
        return (server, workers), (iterate(method, server).params, sent.uploads, server.opt_state.gradient + kept, norm)

    carry, rows = jax.jit(functools.partial(jax.lax.scan, one, length=rounds))((server, workers), None)
    return jax.device_get((carry, *rows))


def in_numpy(xi, window=10, rounds=ROUNDS, most=np.inf, noise=0.0):
    """The box of the paper, for the sum over workers, in descent form."""
    alpha, theta, kept, steps, silent = STEP / 5, np.zeros(3), np.zeros((5, 3)), [], np.zeros(5)
    direction, iterates, uploads = np.zeros(3), [], []
    for k in range(rounds):
        gradient = CURVATURE[:, None] * (theta - OPTIMA)
        innovation = gradient - kept
        threshold = xi * sum(steps[-window:]) / (alpha**2 * 25) + noise
        sends = (np.sum(innovation**2, axis=1) >= threshold) | (k == 0) | (silent >= most)
        direction = direction + innovation[sends].sum(0)
        kept[sends] = gradient[sends]
        silent = np.where(sends, 0, silent + 1)
        steps.append(alpha**2 * np.sum(direction**2))
        theta = theta - alpha * direction
        iterates.append(theta)
        uploads.append(sends)
    return np.array(iterates), np.array(uploads)


@pytest.mark.parametrize(("xi", "most"), [(0.02, None), (0.1, None), (1.0, None), (1.0, 3)])
def test_equals_the_algorithm_as_it_is_told(xi, most):
    """Who uploads when, exactly, until rounding decides it; and where it leads."""
    section = SECTIONS["lapg"](learning_rate=STEP, trigger_weight=xi, noise_weight=0.0, max_silence=most)
    _, iterates, uploads, *_ = played(section)
    wanted, sends = in_numpy(xi, most=np.inf if most is None else most)
    clear = 60  # rounds in which steps are far above float32's rounding
    assert (uploads[:clear] == sends[:clear]).all()
    np.testing.assert_allclose(iterates, wanted, atol=2e-5)
    optimum = CURVATURE @ OPTIMA / CURVATURE.sum()
    np.testing.assert_allclose(iterates[-1], optimum, atol=1e-5)
    assert sends[:clear].sum() < 0.7 * 5 * clear


@pytest.mark.parametrize(
    ("settings", "noise"),
    [
        ({"noise_weight": 0.0}, 0.0),
        ({"noise_weight": 3.0}, 3 * 0.02),  # the workers' own variance
        ({"noise_weight": 3.0, "noise_variance": 0.4}, 3 * 0.4 / 4),  # a bound for one episode, of four
        ({"noise_weight": 3.0, "noise_variance": 0.0}, 0.0),
    ],
)
def test_the_noise_in_the_trigger(settings, noise):
    section = SECTIONS["lapg"](learning_rate=STEP, trigger_weight=0.02, max_silence=None, **settings)
    _, _, uploads, *_ = played(section, 40, variance=0.02, episodes=4)
    _, sends = in_numpy(0.02, rounds=40, noise=noise)
    assert (uploads == sends).all()
    _, without = in_numpy(0.02, rounds=40)
    assert (sends.sum() < without.sum()) == (noise > 0)


def test_without_a_trigger_it_is_plain_ascent():
    section = SECTIONS["lapg"](learning_rate=STEP, trigger_weight=0.0, noise_weight=0.0)
    _, iterates, uploads, *_ = played(section, 40)
    optimum = CURVATURE @ OPTIMA / CURVATURE.sum()
    shrinks = (1 - STEP / 5 * CURVATURE.sum()) ** np.arange(1, 41)
    np.testing.assert_allclose(iterates, optimum - shrinks[:, None] * optimum, atol=1e-5)
    assert uploads.all()


def test_the_server_knows_the_mean_of_what_was_uploaded_last():
    """Its gradient is of the loss, theirs are ascent directions."""
    section = SECTIONS["lapg"](learning_rate=STEP, trigger_weight=0.1, noise_weight=0.0)
    (server, _), _, _, difference, norms = played(section)
    np.testing.assert_allclose(difference, 0, atol=2e-6)
    assert norms[-1] == pytest.approx(np.linalg.norm(server.opt_state.gradient), rel=1e-6)


def test_uploads_are_bounded_where_gradients_change_slowly():
    """If L^2 d alpha^2 n^2 <= xi, a worker is silent for at least d rounds after an upload."""
    xi, alpha = 0.1, STEP / 5
    section = SECTIONS["lapg"](learning_rate=STEP, trigger_weight=xi, noise_weight=0.0)
    _, _, uploads, *_ = played(section, 60)
    for m, curvature in enumerate(CURVATURE):
        silent = min(10, int(xi / (curvature * alpha * 5) ** 2))
        assert uploads[:, m].sum() <= -(-60 // (silent + 1)), m


@pytest.mark.parametrize("quiet", [{"trigger_weight": 1e30}, {"trigger_weight": 1e30, "trigger_window": 1}])
def test_a_threshold_that_nothing_reaches_keeps_the_first_direction(quiet):
    section = SECTIONS["lapg"](learning_rate=STEP, noise_weight=0.0, max_silence=None, **quiet)
    _, iterates, uploads, *_ = played(section, 20)
    assert uploads[0].all()
    assert not uploads[1:].any()
    np.testing.assert_allclose(np.diff(iterates, axis=0), np.broadcast_to(iterates[0], (19, 3)), rtol=1e-4, atol=1e-6)


def config(devices=1, name="lapg", workers=5, estimator="return_to_go", iterations=6, **method):
    return check_config(
        {
            "environment": {"name": "fast", "horizon": 4},
            "policy": {"hidden_sizes": [4]},
            "estimator": {"name": estimator, "discount": 0.9},
            "method": {"name": name, "learning_rate": 0.003, "batch_size": 20} | method,
            "workers": {"count": workers, "topology": "shared-link"},
            "training": {"iterations": iterations, "chunk": 3, "devices": devices, "lanes": 3, "platform": "cpu"}
            | {"compilation_cache": False},
            "evaluation": {"episodes": 3, "every": 3},
        }
    )


def run(cfg, environment, runs=None):
    runtime = SimulatedRuntime(cfg, environment, runs=runs)
    runtime.compile()
    state, first = runtime.run(runtime.initial_state(), 3)
    state, second = runtime.run(state, 3)
    metrics = jax.tree.map(lambda *m: np.concatenate(m), first, second)
    return jax.device_get(state), metrics._replace(computed_steps=metrics.env_steps)


@pytest.mark.slow  # a single update is compared above
@pytest.mark.parametrize("devices", [1, 4])
def test_runs_without_a_trigger_are_those_of_synchronous_ascent(devices):
    """The same episodes, worker by worker, on devices that five workers do not fill evenly."""
    lapg, metrics = run(config(devices, trigger_weight=0.0, noise_weight=0.0), Quadratic())
    plain, wanted = run(config(1, name="synchronous_pg"), Quadratic())
    chex.assert_trees_all_close(lapg.server.sent, plain.server.sent, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(lapg.normalizer.mean, plain.normalizer.mean, rtol=1e-4, atol=1e-5)
    for counter in ("gradients", "env_steps", "uploads", "downloads", "communications"):
        np.testing.assert_array_equal(getattr(metrics, counter), getattr(wanted, counter))
    np.testing.assert_allclose(metrics.time.high, wanted.time.high, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["leave_one_out", "gae"])
def test_devices_do_not_matter(estimator):
    both = [run(config(d, estimator=estimator, noise_weight=1.0), EndsWhenGood()) for d in (1, 4)]
    (a, first), (b, second) = both
    without = {"key": (), "clock": ()}
    chex.assert_trees_all_close(a._replace(**without), b._replace(**without), rtol=2e-4, atol=2e-5)
    chex.assert_trees_all_close(first, second, rtol=2e-4, atol=2e-5)


def test_silent_workers_cost_no_uploads_and_no_time():
    _, metrics = run(config(trigger_weight=10.0, noise_weight=1.0), Quadratic())
    uploads = metrics.uploads[:, 0]
    assert uploads[0] == 5
    assert uploads[1:].sum() < 15
    assert (metrics.downloads == 5).all()
    h, kappa = np.sqrt(np.arange(1, 6)), np.sqrt(np.arange(1, 6))
    took = np.diff(metrics.time.high[:, 0], prepend=0.0)
    assert took[0] == pytest.approx(4 * h.max() + kappa.sum(), rel=1e-6)
    silent = uploads == 0
    assert silent.any()
    np.testing.assert_allclose(took[silent], 4 * h.max(), rtol=1e-5)


@pytest.mark.slow
def test_runs_share_a_program():
    cfg = config(noise_weight=1.0)
    other = dataclasses.replace(cfg, seed=3, method=dataclasses.replace(cfg.method, trigger_weight=5.0))
    _, together = run(cfg, Quadratic(), runs=[cfg, other])
    for k, own in enumerate((cfg, other)):
        _, alone = run(own, Quadratic())
        for name in ("uploads", "gradient_norm", "query_return_mean"):
            np.testing.assert_allclose(getattr(together, name)[:, k], getattr(alone, name)[:, 0], rtol=1e-3)


def test_a_run_goes_on_as_if_nothing_had_happened(tmp_path):
    """What workers keep is in the checkpoint; uploads and bytes are totals."""
    cfg = config(noise_weight=1.0)
    short = dataclasses.replace(cfg, training=dataclasses.replace(cfg.training, iterations=3))
    train(cfg, tmp_path / "whole", environment=Quadratic())
    train(short, tmp_path / "parts", environment=Quadratic())
    train(cfg, tmp_path / "parts", environment=Quadratic(), resume=True)
    whole, parts = (
        [{k: v for k, v in r.items() if k != "wall_time"} for r in read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("whole", "parts")
    )
    assert [r["iteration"] for r in whole] == list(range(7))
    for a, b in zip(whole, parts, strict=True):
        assert {k: v for k, v in a.items() if "evaluation" not in k and "return_" not in k}.items() <= b.items()
    parameters = 1 * 4 + 4 + 2 * (4 + 1)
    last = whole[-1]
    assert last["bytes_up"] == 4 * parameters * last["uploads"]
    assert last["bytes_down"] == 4 * parameters * last["downloads"] == 4 * parameters * 5 * 6


def test_a_block_that_does_not_hold_a_round_is_refused():
    cfg = config()
    small = dataclasses.replace(cfg, training=dataclasses.replace(cfg.training, block=8))
    with pytest.raises(UserError, match=r"training.block: got 8 .* lapg needs a whole round .*: 20 or more"):
        SimulatedRuntime(small, Quadratic())
