"""Whole runs of FedPG-BR against NumPy float64, from the starts and the noise of the package's own episodes."""

import functools

import float64_estimators as estimators
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled_rounds import QUICKLY, wide
from exact_rounds import exact, play
from float64_policy import Network, Policy, Statistics
from probes import alone
from walk import HORIZON, SIZE, Walk, package_play, replayed, tree_of, vector_of

from nigt_jax import policies
from nigt_jax.config import check_config
from nigt_jax.methods import ask
from nigt_jax.runtimes import SimulatedRuntime

HIDDEN, DISCOUNT, ROUNDS = (4,), 0.9, 6
WORKERS, EACH, B, OWN = 5, 2, 4, 3  # episodes of a gradient, of a worker, and of a step of the server
LIAR, SCALE, SIGMA, DELTA, TOLERATED, DRIFT, RATE = 1, 4.0, 1.1, 0.6, 0.2, 0.3, 0.05
TIMES, EXCHANGE, SERVER_TIME = [1.0, 1.5, 2.0, 4.0, 5.0], [0.25, 0.5, 0.25, 1.0, 0.5], 0.375
PACKAGES = policies.Policy(policies.GaussianMLP(SIZE, HIDDEN), SIZE, normalize=True)
POLICY = Policy(Network(SIZE, HIDDEN, (SIZE, SIZE)))


def config():
    method = {"batch_size": WORKERS * B // EACH, "trajectories_per_gradient": EACH, "learning_rate": RATE}
    own = {"server_batch": OWN, "sigma": SIGMA, "delta": DELTA, "tolerated": TOLERATED, "drift": DRIFT, "max_inner": 4}
    times = {"compute_time": {"values": TIMES}, "communication_time": {"values": EXCHANGE}}
    byzantine = [{"workers": [LIAR + 1], "attack": "sign_flip", "scale": SCALE}]
    return check_config(
        {
            "seed": 5,
            "environment": {"name": "fast", "horizon": HORIZON},
            "policy": {"hidden_sizes": list(HIDDEN)},
            "estimator": {"name": "leave_one_out", "discount": DISCOUNT},
            "method": {"name": "fedpg_br", "server_time": SERVER_TIME, **method, **own},
            "workers": {"count": WORKERS, "byzantine": byzantine, **times},
            "training": {"chunk": 1, "devices": 1, "platform": "cpu", "lanes": 3, "compilation_cache": False},
        }
    )


@functools.partial(jax.jit, compiler_options=QUICKLY)
def played_by_the_package(params, mean, std, keys):
    """What is observed first, and the noisy actions before tanh."""
    observation, u = package_play(PACKAGES, params, mean, std, keys)[:2]
    return observation[0], u


class Run:
    """The algorithm as it is told; `key` and `like` are of the package's first state."""

    def __init__(self, key, like):
        self.key, self.like, self.theta, self.statistics = key, like, vector_of(like), Statistics(SIZE)
        self.dropped = self.stopped = self.steps = 0

    def episodes(self, key, numbers):
        """Played where the parameters are now; always as many, for one program."""
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(WORKERS * B))
        moments = (jnp.asarray(x, jnp.float32) for x in (self.statistics.mean, self.statistics.std))
        first, u = jax.device_get(played_by_the_package(tree_of(self.theta, self.like), *moments, keys))
        return [replayed(first[k], u[:, k]) for k in numbers]

    def mean(self, theta, episodes, weights=None):
        """The mean policy gradient of some episodes that are compared with each other."""
        factors = estimators.leave_one_out(episodes, DISCOUNT)
        seen = [self.statistics.standardise(e.observation) for e in episodes]
        scores = [POLICY.score(theta, x, e.u, f) for x, e, f in zip(seen, episodes, factors, strict=True)]
        return (np.ones(len(scores)) if weights is None else weights) @ scores / len(scores)

    def weight(self, start, episode):
        """How much likelier the episode is at the start than where it was played."""
        seen = self.statistics.standardise(episode.observation)
        there, here = (POLICY.log_density(theta, seen, episode.u).sum() for theta in (start, self.theta))
        return np.exp(there - here)

    def filtered(self, means):
        """As the source words it."""
        radius = 2 * SIGMA * np.sqrt(2 * np.log(2 * WORKERS / DELTA) / B)
        kept = self.near(means, radius)
        if len(kept) < (1 - TOLERATED) * WORKERS:
            kept = self.near(means, 2 * SIGMA)
        self.dropped += WORKERS - len(kept)
        return means[kept].mean(0) if len(kept) else None

    def near(self, means, distance):
        """Who is near the one that is nearest to the mean of all that most are near."""
        apart = np.linalg.norm(means[:, None] - means[None], axis=2)
        popular = np.flatnonzero((apart <= distance).sum(1) > WORKERS / 2)
        if not len(popular):
            return popular
        centre = means[popular].mean(0)
        trusted = popular[np.argmin(np.linalg.norm(means[popular] - centre, axis=1))]
        return np.flatnonzero(apart[trusted] <= distance)

    def round(self, number):
        """One round: (norm of what was heard, steps of all episodes, steps of the server)."""
        of_round = jax.random.fold_in(self.key, number)
        episodes = self.episodes(of_round, range(WORKERS * B))
        means = np.array([self.mean(self.theta, episodes[k * B : (k + 1) * B]) for k in range(WORKERS)])
        means[LIAR] *= -SCALE
        mu, start = self.filtered(means), self.theta
        drawn, playing = jax.random.split(jax.random.fold_in(of_round, jnp.uint32(0xFFFFFFFD)))
        most = 1 + int(float(jax.random.exponential(drawn)) / -np.log(B / (B + OWN)))
        own, others = 0, []
        for n in range(min(most, 4)):
            more = self.episodes(jax.random.fold_in(playing, n), range(OWN))
            own, others = own + 1, others + more
            weights = np.array([self.weight(start, e) for e in more])
            if abs(weights.mean() - 1) > DRIFT:
                self.stopped += 1
                break
            v = self.mean(self.theta, more)
            if mu is not None:
                v = v - self.mean(start, more, weights) + mu
            self.theta = self.theta + RATE * v
        self.statistics = self.statistics.after([e.observation for e in episodes])
        steps = sum(len(e.reward) for e in [*episodes, *others])
        return 0.0 if mu is None else np.linalg.norm(mu), steps, own


@pytest.mark.usefixtures("compiled_quickly")
def test_equals_the_algorithm_as_it_is_told():
    """Who is dropped, how many steps the server takes and when it stops; counters and times; and the parameters."""
    with jax.default_matmul_precision("highest"):  # as the runtime has it: it then compiles its first state once
        runtime = SimulatedRuntime(config(), Walk())
        state = runtime.initial_state()
        start = alone(jax.device_get(state))
        own, origin, served = Run(start.key, start.server.sent), vector_of(start.server.sent), 0
        clock = {"finish": lambda i, number, begin: begin + exact(TIMES)[i], "exchange": exact(EXCHANGE)}
        batch = WORKERS * B // EACH
        rounds = play(ROUNDS, "synchronous", (batch, batch), topology="parallel-links", carry_over=False, **clock)
        for number, (_, _, after) in enumerate(rounds):
            state, metrics = runtime.run(state, 1)
            heard, steps, made = own.round(number)
            served += made
            assert metrics.env_steps[0, 0] == steps
            norm, time = metrics.gradient_norm[0, 0], wide(jax.tree.map(lambda x: x[0, 0], metrics.time))
            np.testing.assert_allclose(norm, heard, rtol=1e-5)
            np.testing.assert_allclose(time, float(after + served * OWN * exact(SERVER_TIME)), rtol=1e-12)
            got = vector_of(ask(alone(jax.device_get(state)).server).params)
            assert np.linalg.norm(got - own.theta) <= 5e-6 * np.linalg.norm(own.theta - origin)
    assert 0 < own.dropped < ROUNDS * WORKERS
    assert 0 < own.stopped < ROUNDS
    assert served > ROUNDS + own.stopped
