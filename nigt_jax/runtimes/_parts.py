"""From a configuration to the parts of a program, and how many episodes and lanes a device has at once."""

import math
from typing import Any, NamedTuple

import jax

from nigt_jax.collectives import AXIS
from nigt_jax.config import COUNTABLE, Config, MethodConfig
from nigt_jax.environments import (
    ActionSpace,
    Varied,
    action_space,
    check_variation,
    first_state,
    make_variation,
    observed,
)
from nigt_jax.errors import UserError
from nigt_jax.estimators import Estimator, make_estimator
from nigt_jax.methods import METHODS, Method
from nigt_jax.policies import CategoricalMLP, GaussianMLP, Policy, Start, describe_policy
from nigt_jax.runtimes._devices import of_this_process
from nigt_jax.runtimes._memory import bytes_of
from nigt_jax.training import Parts, engine_of, number_of_parameters

_CHUNK, _CHUNK_ELSEWHERE = {"cpu": 2**11}, 2**16  # steps; a hopper's round: 1% to 5% slower at 2**9 and from 2**13
_FEW_LANES = 32
_LONG = 2**19  # blocks times the horizon: a program of fewer lanes took a hopper 15 s to compile, and saves a tenth
_MEMORY = 2**30  # bytes of steps and first states that a CPU keeps at once, all its devices together
_MEMORY_SHARE = 8  # what part of its memory any other device takes for them


def make_parts(
    config: Config,
    environment: Any,
    devices: int,
    *,
    axis: str | None = AXIS,
    runs: int = 1,
    counts_steps: bool = False,
    platform: str = "cpu",
    memory: int = _MEMORY,
    policy: Policy | None = None,
    estimator: Estimator | None = None,
    method: Method | None = None,
    start: Start | None = None,
) -> Parts:
    """The parts that the configuration names, with as many lanes as there are episodes.

    Args:
      config: the run's configuration, or the first of many that differ in traced settings only.
      environment: the environment.
      devices: number of devices that share the episodes of a round.
      axis: the axis that they are on; None where every device has runs of its own.
      runs: number of runs that a device has.
      counts_steps: whether something in them depends on steps of the environment.
      platform: the devices' platform, as JAX names it.
      memory: bytes that a block may take on a device: the steps of its episodes, and the states they begin with.
      policy: the policy, instead of the one that the configuration describes; so are `estimator` and `method`.
      estimator: the estimator.
      method: the method.
      start: what the policy starts with; None for fresh parameters.

    Raises:
      UserError: the environment cannot be played, or does not differ as it should; a block has more steps than an int32
        counts.
    """
    sizes = sizes_of(config, environment)
    policy = make_policy(config, sizes.observed, action_space(environment)) if policy is None else policy
    policy = policy if start is None else _started(policy, start)
    _refuse_large(config.method, policy)
    method = METHODS[config.method.name] if method is None else method
    of_steps = 4 * (policy.observation_size + policy.sample_size + 1) * config.environment.horizon
    bytes_each = (of_steps + sizes.first) * method.plays
    block: Any = config.training.block
    countable = COUNTABLE // (runs * config.environment.horizon * method.plays)
    most = max(2, min(countable, memory // (bytes_each * runs))) if block == "auto" else -(-block // devices)
    episodes = engine_of(method).episodes(config, devices, most)
    if episodes > countable:
        raise UserError(
            f"training.block: got {episodes:,} episodes at once on a device, of each of {runs:,} runs; allowed with "
            f"environment.horizon {config.environment.horizon:,}: {countable:,}, of {COUNTABLE:,} steps in all"
        )
    parts = Parts(
        environment=environment,
        policy=policy,
        estimator=make_estimator(config.estimator, policy) if estimator is None else estimator,
        method=method,
        horizon=config.environment.horizon,
        layout=config.training.layout,
        axis=axis,
        episodes=episodes,
        server_episodes=-(-config.method.server_episodes // devices),
        num_lanes=(runs * episodes * method.plays,),
        chunk_size=_CHUNK_ELSEWHERE,
        trajectories_per_gradient=config.method.trajectories_per_gradient,
        counts_steps=counts_steps,
        lanes_last=False,
        first_bytes=sizes.first,
    )
    return on_platform(parts, platform)


def on_platform(parts: Parts, platform: str) -> Parts:
    """The parts as devices of a platform, by JAX's name of it, compute fastest with them."""
    lanes_last = platform == "cpu"
    lanes = parts.num_lanes if lanes_last else parts.num_lanes[:1]
    chunk_size = _CHUNK.get(platform, _CHUNK_ELSEWHERE)
    return parts._replace(num_lanes=lanes, chunk_size=chunk_size, lanes_last=lanes_last)


def _refuse_large(method: MethodConfig, policy: Policy) -> None:
    """Refuses a policy that is too large for a method that has matrices of its size."""
    most = method.most_parameters
    if most is not None and (size := number_of_parameters(policy)) > most:
        raise UserError(
            f"method.name: got {method.name} for a policy of {size:,} parameters; allowed: {most:,} at most, or "
            "fednpg_admm, which needs no matrix"
        )


def make_policy(config: Config, observation_size: int, actions: ActionSpace) -> Policy:
    """The policy that the configuration describes, for observations of this size and these actions."""
    sizes = config.policy.hidden_sizes
    gaussian, categorical = GaussianMLP(actions.size, sizes, config.policy.min_std), CategoricalMLP(actions.size, sizes)
    network = categorical if actions.discrete else gaussian
    return Policy(network, observation_size, config.policy.normalize_observations)


def _started(policy: Policy, start: Start) -> Policy:
    """The policy with the first parameters and statistics of another one, which has to be of its kind."""
    ours, theirs = describe_policy(policy), describe_policy(start.policy)
    for key, wanted in ours.items():
        if wanted != theirs.get(key):
            raise UserError(f"policy.start: the policy has {key} {theirs.get(key)}, allowed for this run: {wanted}")
    return policy._replace(initial=(start.params, start.normalizer))


def resolved_block(config: Config, devices: int, block: int) -> int:
    """Episodes of a block on so many devices where `block` were asked for: all blocks and devices have as many."""
    return devices * engine_of(METHODS[config.method.name]).episodes(config, devices, -(-block // devices))


def with_lanes(config: Config, parts: Parts, lanes: int, devices: int, platform: str) -> Parts:
    """The parts with so many lanes on a device, or as many as there are episodes if those are fewer.

    Where lanes cost time, the last episodes, when nobody waits any more, are played in a quarter as many: unless there
    are so few, or the run is so short, that the program for it, which has to be compiled, too, is worth more than it
    saves.
    """
    (episodes,) = parts.num_lanes
    lanes = min(lanes, episodes)
    narrows = (
        platform == "cpu"
        and lanes > 3
        and (lanes < episodes or lanes > _FEW_LANES)
        and _is_long(config, parts, devices)
    )
    return parts._replace(num_lanes=(lanes, lanes // 4) if narrows else (lanes,))


def _is_long(config: Config, parts: Parts, devices: int) -> bool:
    """Whether a run may play so many last episodes that it pays to compile a program for them."""
    of_update = {
        "iterations": 1,
        "gradients": config.method.gradients_per_update,
        "env_steps": config.episodes_per_round * config.environment.horizon,
        "simulated_time": 0,  # nobody knows how many there are
    }
    updates = min(end.number / of_update[end.unit] if of_update[end.unit] else math.inf for end in config.training.ends)
    blocks = -(-config.episodes_per_round // (parts.episodes * devices))
    return updates * blocks * parts.horizon >= _LONG


def memory_for_steps(devices: list[jax.Device]) -> int:
    """Bytes that a device, one of these, may take for a block's steps and first states."""
    if devices[0].platform == "cpu":
        return _MEMORY // len(devices)
    known = of_this_process(devices)[0].memory_stats() or {}
    return known.get("bytes_limit", _MEMORY_SHARE * _MEMORY) // _MEMORY_SHARE


def first_environment(config: Config, environment: Any) -> Any:
    """The environment of worker 1, whose shapes those of all others have."""
    variation = make_variation(config.workers)
    return environment if variation is None else Varied(environment, jax.tree.map(lambda x: x[0], variation))


class Sizes(NamedTuple):
    """What an episode is made of.

    Attributes:
      observed: numbers that every worker observes.
      first: bytes of the state in which it begins.
    """

    observed: int
    first: int


def sizes_of(config: Config, environment: Any) -> Sizes:
    """The sizes of an environment that can be played and differs as the configuration says.

    Raises:
      UserError: it cannot, or does not.
    """
    first = first_state(environment)
    (size,), variation = observed(first).shape, make_variation(config.workers)
    if variation is not None:
        check_variation(environment, variation)
        size += variation.flip is not None
    return Sizes(size, bytes_of(first))
