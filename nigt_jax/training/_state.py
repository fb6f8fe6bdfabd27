"""What a run is made of: the parts that never change, and the state that every round replaces."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt

from nigt_jax.clocks import Clock, begin_arrivals, make_clock
from nigt_jax.config import Config, EnvironmentChange, Workers
from nigt_jax.estimators import Estimator, EstimatorSettings, make_estimator
from nigt_jax.methods import METHODS, ArrivalMethod, ServerState, StepSettings, start
from nigt_jax.rollout import GaussianMLP, Normalizer, Policy, Variation, Varied, check_variation
from nigt_jax.training._spmd import AXIS

_BLOCK = 16  # gradients that are computed at once, where they arrive one at a time
_PIECE, _PIECE_ELSEWHERE = {"cpu": 2**11}, 2**16  # steps: of a CPU as many as its caches hold
_FEW_LANES = 32
_MEMORY = 2**28  # bytes of the steps that a device keeps at once, or a little more


class Settings(NamedTuple):
    """Every hyperparameter that does not decide a shape: traced arguments, never constants of the program.

    Of one run; those of many have a leading axis of runs.

    Attributes:
      step: of the update.
      estimator: of the estimator.
      clock: how long workers take.
      variation: how workers' environments differ; leaves with a leading axis of workers, None where they do not.
      batch_size: gradients counted in a round.
      initial_batch_size: gradients counted in the first round.
    """

    step: StepSettings
    estimator: EstimatorSettings
    clock: Clock
    variation: Variation | None
    batch_size: Int[Array, ""]
    initial_batch_size: Int[Array, ""]


class TrainState(NamedTuple):
    """Everything that a round changes and a checkpoint keeps; all leaves have a leading axis of runs.

    Attributes:
      iteration: rounds done.
      server: query point, and the state of the update.
      normalizer: observation statistics, as of the last round.
      estimator: the estimator's own state, such as a value baseline.
      clock: simulated time, and what the workers are doing: a ClockState, or an ArrivalState where there are no rounds.
      sent: what each worker was sent last, a Sent; () of a method with rounds, where it is the query point for all.
      key: root of all randomness of training; a round folds in its number, an episode its place in the round.
    """

    iteration: Int[Array, ""]
    server: ServerState
    normalizer: Normalizer
    estimator: Any
    clock: Any
    sent: Any
    key: PRNGKeyArray


class Sent(NamedTuple):
    """What workers compute with until they have delivered: exactly what the server knew when it was sent.

    Attributes:
      params: query points; leaves have a leading axis of workers.
      normalizer: observation statistics, likewise.
      estimator: the estimator's own state, likewise.
      at: number of updates that the server had made by then; shape [workers].
    """

    params: Any
    normalizer: Normalizer
    estimator: Any
    at: Int[Array, " workers"]


class Parts(NamedTuple):
    """What the rounds are made of: fixed for a program.

    Attributes:
      environment: a Brax environment without wrappers.
      policy: what acts in it.
      estimator: from episodes to a gradient.
      method: who is counted, and the update; a Method.
      horizon: length at which an episode is cut, in steps.
      layout: a key of LAYOUTS, which episodes are played where.
      axis: of the devices that share a round's episodes; None where every device has runs of its own.
      episodes: that one device plays in a block, of each run; the steps of so many are in memory at once.
      widths: numbers of lanes that one device runs side by side, see :func:`nigt_jax.rollout.rollout`.
      piece: steps that are looked at at once when there is something to be computed of all of them.
      trajectories_per_gradient: episodes averaged into one gradient.
    """

    environment: Any
    policy: Policy
    estimator: Estimator
    method: Any
    horizon: int
    layout: str
    axis: str | None
    episodes: int
    widths: tuple[int, ...]
    piece: int
    trajectories_per_gradient: int


def make_parts(
    config: Config, environment: Any, devices: int, *, axis: str | None = AXIS, runs: int = 1, platform: str = "cpu"
) -> Parts:
    """The parts that the configuration names, with as many lanes as there are episodes.

    Args:
      config: of the run, or the first of many that differ in traced settings only.
      environment: a Brax environment.
      devices: that share the episodes of a round.
      axis: on which they are; None where every device has runs of its own.
      runs: that a device has.
      platform: of the devices.
    """
    shown = jax.eval_shape(_first_environment(config, environment).reset, jax.random.key(0)).obs
    network = GaussianMLP(environment.action_size, config.policy.hidden_sizes, config.policy.min_std)
    policy = Policy(network, shown.shape[-1], config.policy.normalize_observations)
    numbers = 4 * (policy.observation_size + environment.action_size + 1) * config.environment.horizon
    episodes = _episodes(config, devices, most=_MEMORY // (numbers * runs))
    return Parts(
        environment=environment,
        policy=policy,
        estimator=make_estimator(config.estimator, policy),
        method=METHODS[config.method.name],
        horizon=config.environment.horizon,
        layout=config.training.layout,
        axis=axis,
        episodes=episodes,
        widths=(runs * episodes,),
        piece=_PIECE.get(platform, _PIECE_ELSEWHERE),
        trajectories_per_gradient=config.method.trajectories_per_gradient,
    )


def with_lanes(parts: Parts, lanes: int, platform: str) -> Parts:
    """The parts with so many lanes on a device, or as many as there are episodes if those are fewer.

    Where lanes cost time, the last episodes, when nobody waits any more, are played in a quarter as many: unless there
    are so few that the program for it, which has to be compiled, too, is worth more than it saves.
    """
    (episodes,) = parts.widths
    lanes = min(lanes, episodes)
    narrows = platform == "cpu" and lanes > 3 and (lanes < episodes or lanes > _FEW_LANES)
    return parts._replace(widths=(lanes, lanes // 4) if narrows else (lanes,))


def _first_environment(config: Config, environment: Any) -> Any:
    """That of worker 1, of which all others have the shapes."""
    variation = make_variation(config.workers)
    if variation is None:
        return environment
    check_variation(environment, variation)
    return Varied(environment, jax.tree.map(lambda x: x[0], variation))


def _episodes(config: Config, devices: int, most: int) -> int:
    """Episodes of a block on one device: its share of a round, or an even part of that where memory has an end."""
    if config.one_at_a_time:  # a block has at most one gradient of each worker, and more than a few are seldom found
        return -(-min(config.workers.count, _BLOCK) // devices) * config.method.trajectories_per_gradient
    share = -(-config.episodes_per_round // devices)
    blocks = -(-share // max(most, 2))
    return -(-share // blocks)


def make_settings(config: Config, policy: Policy, largest: int) -> Settings:
    """The configuration's hyperparameters as arrays.

    Args:
      config: of one run.
      policy: times may depend on the number of its parameters.
      largest: number of gradients in a round of any run that is to share the program.
    """
    method, estimator, workers = config.method, config.estimator, config.workers
    parameters = sum(x.size for x in jax.tree.leaves(jax.eval_shape(policy.init, jax.random.key(0))))
    real = lambda x: jnp.asarray(x, jnp.float32)
    return Settings(
        step=StepSettings(
            learning_rate=real(method.learning_rate),
            half_life=real(method.learning_rate_half_life or jnp.inf),
            momentum=real(method.momentum),
            max_delay=jnp.asarray(method.max_delay, jnp.int32),
        ),
        estimator=EstimatorSettings(
            discount=real(estimator.discount),
            gae_lambda=real(estimator.gae_lambda),
            critic_learning_rate=real(estimator.critic_learning_rate),
        ),
        clock=make_clock(workers, parameters, largest),
        variation=make_variation(workers),
        batch_size=jnp.asarray(method.batch_size, jnp.int32),
        initial_batch_size=jnp.asarray(method.initial_batch_size or method.batch_size, jnp.int32),
    )


def make_variation(workers: Workers) -> Variation | None:
    """How workers' environments differ, or None; where changes meet in one worker, their factors multiply."""
    if not workers.environments:
        return None

    def factors(of: Callable[[EnvironmentChange], float]) -> Array:
        values = np.ones(workers.count, np.float32)
        for change in workers.environments:
            values[np.asarray(change.workers, int) - 1] *= of(change)
        return jnp.asarray(values)

    weight = lambda name, change: change.reward.get(name, 1.0)
    names = sorted({name for change in workers.environments for name in change.reward})
    flips = any(change.flip_observation for change in workers.environments)
    return Variation(
        gravity=factors(lambda change: change.gravity),
        mass=factors(lambda change: change.mass),
        friction=factors(lambda change: change.friction),
        gain=factors(lambda change: change.actuator_gain),
        reward={name: factors(functools.partial(weight, name)) for name in names},
        flip=(1 - factors(lambda change: -1.0 if change.flip_observation else 1.0)) / 2 if flips else None,
    )


def stacked_settings(runs: Sequence[Config], policy: Policy) -> Settings:
    """The settings of runs that share a program, with a leading axis of runs."""
    largest = max(max(c.method.batch_size, c.method.initial_batch_size or 0) for c in runs)
    return jax.tree.map(lambda *x: jnp.stack(x), *(make_settings(c, policy, largest) for c in runs))


def initial_state(parts: Parts, settings: Settings, seeds: UInt[Array, " runs"]) -> TrainState:
    """The state of every run before its first round."""
    return jax.vmap(functools.partial(_initial_state, parts))(settings, seeds)


def _initial_state(parts: Parts, settings: Settings, seed: UInt[Array, ""]) -> TrainState:
    policy_key, estimator_key, key = jax.random.split(stream(seed, "training"), 3)
    params, normalizer = parts.policy.init(policy_key), parts.policy.init_normalizer()
    estimator = parts.estimator.init(estimator_key, parts.policy.observation_size)
    clock, clock_key = settings.clock, stream(seed, "clock")
    arrivals = isinstance(parts.method, ArrivalMethod)
    to_all = lambda tree: jax.tree.map(lambda x: jnp.broadcast_to(x, (clock.workers, *x.shape)), tree)
    return TrainState(
        iteration=jnp.zeros([], jnp.int32),
        server=start(parts.method, params, settings.step),
        normalizer=normalizer,
        estimator=estimator,
        clock=begin_arrivals(clock, clock_key) if arrivals else clock.begin(clock_key),
        sent=Sent(*to_all((params, normalizer, estimator, jnp.zeros([], jnp.int32)))) if arrivals else (),
        key=key,
    )


def stream(seed: int | UInt[Array, ""], purpose: str) -> PRNGKeyArray:
    """The root key of one purpose. Without it, equal seeds of training and evaluation would share episodes."""
    return jax.random.fold_in(
        jax.random.key(seed), {"training": 0x7EA1, "evaluation": 0xE7A1, "clock": 0xC10C}[purpose]
    )
