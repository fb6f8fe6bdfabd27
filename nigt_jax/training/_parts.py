"""What a run is made of and never changes: environment, policy, estimator, method, and how many episodes at once."""

from typing import Any, NamedTuple

import jax

from nigt_jax.config import COUNTABLE, Config
from nigt_jax.errors import UserError
from nigt_jax.estimators import Estimator, make_estimator
from nigt_jax.methods import METHODS
from nigt_jax.rollout import GaussianMLP, Policy, Varied, check_variation, first_state
from nigt_jax.training._settings import make_variation
from nigt_jax.training._spmd import AXIS

_BLOCK = 16  # gradients that are computed at once, where they arrive one at a time
_PIECE, _PIECE_ELSEWHERE = {"cpu": 2**11}, 2**16  # steps; a hopper's round: 1% to 5% slower at 2**9 and from 2**13
_FEW_LANES = 32
_MEMORY = 2**30  # bytes of steps that a CPU keeps at once, all its devices together
_MEMORY_SHARE = 8  # what part of its memory any other device takes for them


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
    config: Config,
    environment: Any,
    devices: int,
    *,
    axis: str | None = AXIS,
    runs: int = 1,
    platform: str = "cpu",
    memory: int = _MEMORY,
) -> Parts:
    """The parts that the configuration names, with as many lanes as there are episodes.

    Args:
      config: of the run, or the first of many that differ in traced settings only.
      environment: a Brax environment; UserError where it cannot be played, or does not differ as it should.
      devices: that share the episodes of a round.
      axis: on which they are; None where every device has runs of its own.
      runs: that a device has.
      platform: of the devices.
      memory: bytes that the steps of a block may take on a device.

    Raises:
      UserError: a block has more steps than an int32 counts.
    """
    policy = make_policy(config, _observation_size(config, environment), environment.action_size)
    bytes_each = 4 * (policy.observation_size + environment.action_size + 1) * config.environment.horizon
    block: Any = config.training.block
    countable = COUNTABLE // (runs * config.environment.horizon)
    most = max(2, min(countable, memory // (bytes_each * runs))) if block == "auto" else -(-block // devices)
    episodes = _episodes(config, devices, most)
    if episodes > countable:
        raise UserError(
            f"training.block: got {episodes:,} episodes at once on a device, of each of {runs:,} runs; allowed with "
            f"environment.horizon {config.environment.horizon:,}: {countable:,}, of {COUNTABLE:,} steps in all"
        )
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


def make_policy(config: Config, observation_size: int, action_size: int) -> Policy:
    """The policy that the configuration describes, for observations and actions of these sizes."""
    network = GaussianMLP(action_size, config.policy.hidden_sizes, config.policy.min_std)
    return Policy(network, observation_size, config.policy.normalize_observations)


def resolved_block(config: Config, devices: int, block: int) -> int:
    """Episodes of a block on so many devices where `block` were asked for: all blocks and devices have as many."""
    return devices * _episodes(config, devices, -(-block // devices))


def with_lanes(parts: Parts, lanes: int, platform: str) -> Parts:
    """The parts with so many lanes on a device, or as many as there are episodes if those are fewer.

    Where lanes cost time, the last episodes, when nobody waits any more, are played in a quarter as many: unless there
    are so few that the program for it, which has to be compiled, too, is worth more than it saves.
    """
    (episodes,) = parts.widths
    lanes = min(lanes, episodes)
    narrows = platform == "cpu" and lanes > 3 and (lanes < episodes or lanes > _FEW_LANES)
    return parts._replace(widths=(lanes, lanes // 4) if narrows else (lanes,))


def memory_for_steps(devices: list[jax.Device]) -> int:
    """Bytes that a device, one of these, may take for the steps of a block."""
    if devices[0].platform == "cpu":
        return _MEMORY // len(devices)
    known = devices[0].memory_stats() or {}
    return known.get("bytes_limit", _MEMORY_SHARE * _MEMORY) // _MEMORY_SHARE


def first_environment(config: Config, environment: Any) -> Any:
    """That of worker 1, of which all others have the shapes."""
    variation = make_variation(config.workers)
    return environment if variation is None else Varied(environment, jax.tree.map(lambda x: x[0], variation))


def _observation_size(config: Config, environment: Any) -> int:
    """What every worker observes, in an environment that can be played and differs as the configuration says."""
    (size,) = first_state(environment).obs.shape
    variation = make_variation(config.workers)
    if variation is None:
        return size
    check_variation(environment, variation)
    return size + (variation.flip is not None)


def _episodes(config: Config, devices: int, most: int) -> int:
    """Episodes of a block on one device: its share of a round, or an even part of that, with `most` at most."""
    if config.one_at_a_time:  # a block has at most one gradient of each worker, and more than a few are seldom found
        each = config.method.trajectories_per_gradient
        return max(1, min(-(-min(config.workers.count, _BLOCK) // devices), most // each)) * each
    share = -(-config.episodes_per_round // devices)
    blocks = -(-share // most)
    return -(-share // blocks)
