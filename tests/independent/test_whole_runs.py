"""Whole runs of the runtime against NumPy float64 and exact rationals."""

import functools
import math

import exact_arrivals
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled_rounds import QUICKLY, wide
from exact_rounds import exact
from float64_estimators import Critic
from float64_policy import Network, Policy
from probes import alone
from walk import HORIZON, SIZE, Walk, package_play, replayed, tree_of, vector_of
from whole_runs import Agnostic, Harpg, Nigt, Plain, Run, by_arrivals, by_ringleader, by_rounds

from nigt_jax import policies
from nigt_jax.config import check_config
from nigt_jax.methods import ask, iterate
from nigt_jax.runtimes import SimulatedRuntime

HIDDEN, MOST, DISCOUNT = (4,), 32, 0.9  # MOST: episodes of one round or update
PACKAGES = policies.Policy(policies.GaussianMLP(SIZE, HIDDEN), SIZE, normalize=True)
OWN = Policy(Network(SIZE, HIDDEN, (SIZE, SIZE)))
TIMES, EXCHANGE = [1.0, 1.5, 2.0, 4.0, 5.0], [0.25, 0.5, 0.25, 1.0, 0.5]
PLAIN = ["rennala_pg", "synchronous_pg", "asynchronous_pg"]
ARRIVALS = ["afedpg", "ringmaster_nigt", "ringmaster_agnostic_nigt", "ringleader_nigt", "asynchronous_pg"]
RULES = {"rennala_pg": "rennala", "synchronous_pg": "synchronous", "rennala_nharpg": "rennala"}
TOLERATED = {"ringmaster_agnostic_nigt": math.isqrt}
SERVERS = {"ringmaster_agnostic_nigt": Agnostic, "rennala_nharpg": Harpg} | dict.fromkeys(PLAIN, Plain)

# The four that between them have every rule of combining, both updates, rounds and arrivals; test_servers.py has what
# the other five put together from the same parts. Malenia's rounds end where its condition is met exactly.
# The rest are slow: they are made of the same parts, which have tests of their own.
_AT_ONCE = ("rennala_nigt", "malenia_nigt", "rennala_nharpg", "ringleader_nigt")
RUNS = {
    "rennala_nigt": {
        "estimator": {"name": "leave_one_out"},
        "method": {"batch_size": 6, "initial_batch_size": 10},
        "workers": {"topology": "shared-link", "carry_over": True},
        "policy": {"normalize_observations": True},
    },
    "malenia_nigt": {
        "estimator": {"name": "policy_gradient"},
        "method": {"batch_size": 18, "initial_batch_size": 5},
        "workers": {"compute_time": {"values": [5.0, 4.0, 4.0, 1.0, 8.0]}},
    },
    "synchronous_pg": {
        "estimator": {"name": "gae", "critic_steps": 3, "gae_lambda": 0.8, "critic_learning_rate": 0.01},
        "method": {"batch_size": 7, "learning_rate_half_life": 3.0},
        "workers": {"topology": "allreduce"},
    },
    "rennala_nharpg": {
        "estimator": {"name": "leave_one_out"},
        "method": {"batch_size": 6, "initial_batch_size": 10},
        "policy": {"normalize_observations": True},
    },
    "ringmaster_nigt": {
        "estimator": {"name": "return_to_go"},
        "method": {"max_delay": 4, "learning_rate_half_life": 5.0, "trajectories_per_gradient": 2},
        "workers": {"topology": "shared-link"},
    },
    "ringmaster_agnostic_nigt": {
        "estimator": {"name": "return_to_go"},
        "method": {"learning_rate_half_life": 50.0},
        "workers": {"compute_time": {"values": [1.0, 1.5, 2.0, 4.0, 7.0]}},
    },
    "ringleader_nigt": {
        "estimator": {"name": "return_to_go"},
        "method": {"learning_rate_half_life": 5.0, "trajectories_per_gradient": 2},
        "policy": {"normalize_observations": True},
    },
}


def config_of(name):
    """The configuration of a method's run."""
    given = {section: RUNS[name].get(section, {}) for section in ("policy", "estimator", "method", "workers")}
    times = {"compute_time": {"values": TIMES}, "communication_time": {"values": EXCHANGE}}
    return check_config(
        {
            "seed": 5,
            "environment": {"name": "fast", "horizon": HORIZON},
            "policy": {"hidden_sizes": list(HIDDEN), "normalize_observations": False} | given["policy"],
            "estimator": {"discount": DISCOUNT} | given["estimator"],
            "method": {"name": name, "learning_rate": 0.02 if name in PLAIN else 0.1}
            | ({"momentum": 0.75} if SERVERS.get(name, Nigt) is Nigt else {})
            | given["method"],
            "workers": {"count": len(TIMES)} | times | given["workers"],
            "training": {"chunk": 1, "devices": 1, "platform": "cpu", "lanes": 3, "compilation_cache": False},
        }
    )


def by_the_package(config, updates):
    """The state before the first round; of each round its metrics, the iterate after it and the query point."""
    runtime, rows = SimulatedRuntime(config, Walk()), []
    start = alone(jax.device_get(runtime.initial_state()))
    state = runtime.initial_state()
    for _ in range(updates):
        state, metrics = runtime.run(state, 1)
        server = alone(jax.device_get(state.server))
        model, query = iterate(runtime.parts.method, server).params, ask(server).params
        rows.append((jax.tree.map(lambda x: x[0, 0], metrics), vector_of(model), vector_of(query)))
    return start, rows


@functools.partial(jax.jit, compiler_options=QUICKLY)
def played_by_the_package(params, mean, std, key, number, again=False):
    """Of the first episodes of a round, or of an update: what is observed, and the noisy actions before tanh."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, number), jnp.arange(MOST))
    keys = jnp.where(again, jax.vmap(jax.random.fold_in, (0, None))(keys, 0xA9A1), keys)
    return package_play(PACKAGES, params, mean, std, keys)[:2]


def episodes_of(start):
    """Where episodes of a run begin, and the noise of their actions, are the package's; the rest is the oracle's."""

    def episodes(query, statistics, number, count, again=False):
        moments = (jnp.asarray(x, jnp.float32) for x in (statistics.mean, statistics.std))
        params = tree_of(query, start.server.sent)
        observation, u = jax.device_get(played_by_the_package(params, *moments, start.key, jnp.int32(number), again))
        return [replayed(observation[0, k], u[:, k]) for k in range(count)]

    return episodes


def episodes_between(start):
    """The same a second time, at a point of the last step that is drawn as the package draws it."""
    play = episodes_of(start)

    def again(query, last_step, statistics, number, count):
        key = jax.random.fold_in(jax.random.fold_in(start.key, number), jnp.uint32(0xFFFFFFFF))
        point = query - float(jax.random.uniform(key)) * last_step
        return point, play(point, statistics, number, count, again=True)

    return again


def run_of(config, start):
    """What the oracle makes a run of."""
    method, estimator = config.method, config.estimator
    half_life = method.learning_rate_half_life or np.inf
    server = SERVERS.get(method.name, Nigt)(
        vector_of(start.server.sent), method.newest_weight, lambda t: method.learning_rate / (1 + t / half_life)
    )
    run = Run(
        policy=OWN,
        server=server,
        estimator=estimator.name,
        discount=DISCOUNT,
        episodes=episodes_of(start),
        each=method.trajectories_per_gradient,
        normalize=config.policy.normalize_observations,
        again=episodes_between(start) if method.name == "rennala_nharpg" else None,
    )
    if estimator.name == "gae":
        run.critic = Critic(vector_of(start.estimator.params), SIZE, HORIZON)
        how = {"steps": estimator.critic_steps, "learning_rate": estimator.critic_learning_rate}
        run.learning = how | {"decay": estimator.gae_lambda}
    return run


def by_the_oracle(config, start, updates):
    """A dict for every round or update."""
    method, workers, run = config.method, config.workers, run_of(config, start)
    times, exchange = exact(workers.compute_time.values), exact(workers.communication_time.values)
    plays = 2 if run.again else 1
    finish = lambda i, number, begin: begin + plays * times[i]
    if method.name in ARRIVALS:
        tolerated = TOLERATED.get(method.name, lambda k: getattr(method, "max_delay", np.inf))
        order = exact_arrivals.play(10 * updates, finish, exchange, workers.topology)
        if method.name == "ringleader_nigt":
            return list(by_ringleader(run, updates, order, workers.count))
        return list(by_arrivals(run, updates, tolerated, order, workers.count))
    rule = RULES.get(method.name, method.name.removesuffix("_nigt"))
    sizes = (method.initial_batch_size or method.batch_size, method.batch_size)
    clock = {"finish": finish, "exchange": exchange, "topology": workers.topology, "carry_over": workers.carry_over}
    return list(by_rounds(run, rule, updates, sizes, method.batch_size * run.each, clock))


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in _AT_ONCE else pytest.mark.slow) for name in RUNS]
)
def test_equals_the_algorithm_as_it_is_told(name):
    """Counters and staleness exactly; times, iterates and query points to rounding."""
    config, updates = config_of(name), 14 if name in ARRIVALS else 5
    with jax.default_matmul_precision("highest"):  # as the runtime has it: it then compiles its first state once
        start, rows = by_the_package(config, updates)
    wanted, origin = by_the_oracle(config, start, updates), vector_of(start.server.sent)
    assert len(rows) == len(wanted)
    for k, ((metrics, theta, query), own) in enumerate(zip(rows, wanted, strict=True)):
        where = f"{name}, update {k + 1}"
        assert metrics.complete, where
        for counter in ("gradients", "discarded", "communications", "delay", "env_steps"):
            assert getattr(metrics, counter) == own[counter], f"{where}: {counter}"
        np.testing.assert_allclose(wide(metrics.time), float(own["time"]), rtol=2e-7, err_msg=where)
        np.testing.assert_allclose(metrics.query_return_mean, own["query_return_mean"], rtol=1e-5, err_msg=where)
        np.testing.assert_allclose(metrics.gradient_norm, own["gradient_norm"], rtol=1e-5, err_msg=where)
        for got, exactly in ((theta, own["theta"]), (query, own["query"])):
            assert np.linalg.norm(got - exactly) <= 5e-6 * np.linalg.norm(exactly - origin), where
    if name in ARRIVALS:
        assert max(own["delay"] for own in wanted) >= (2 if name in TOLERATED else 3)
    if name == "ringleader_nigt":
        assert max(own["delay"] for own in wanted) > len(TIMES) - 1
        assert max(own["gradients"] for own in wanted[1:]) > 2
    if name.startswith("ringmaster"):
        assert sum(own["discarded"] for own in wanted) > 1
