"""Stretches of training by Brax's own trainers, and by ours: their steps and seconds, and apart what starting takes.

Brax 0.14.2 calls `jax.device_put_replicated` in ppo and apg, which JAX 0.10 no longer has. It misses nothing else.
"""

import contextlib
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from nigt_jax.config import BraxEnvironment, Config
from nigt_jax.environments import make_environment
from nigt_jax.runtimes import SimulatedRuntime

_AXIS = "i"  # what Brax's trainers call the devices


class Trained(NamedTuple):
    """What training was measured to do.

    Attributes:
      laps: (environment steps that updates learnt from, seconds) of each stretch that counts.
      starting_seconds: what starting took, which is in none of them: to make the environment, and to trace and compile
        all programs.
    """

    laps: list[tuple[int, float]]
    starting_seconds: float

    @property
    def steps_per_second(self) -> float:
        """Median of the stretches."""
        return statistics.median(steps / seconds for steps, seconds in self.laps)


class _EnoughError(Exception):
    """Raised from within a trainer to end it."""


class _Laps:
    """A `progress_fn` that notes the steps and seconds of every epoch, and ends training when it has enough.

    The seconds are Brax's own `training/walltime`, which stands still while it evaluates. Its `training/sps` is no use:
    that of es counts steps after the end of an episode, that of apg the steps of one device only.

    Attributes:
      marks: (steps, seconds of training) at the start, and after each epoch.
      times: what the clock on the wall said then.
    """

    def __init__(self, number: int):
        self._number = number
        self.marks = [(0, 0.0)]
        self.times = [time.perf_counter()]

    def __call__(self, steps: int, metrics: dict[str, Any]) -> None:
        if "training/walltime" not in metrics:  # an evaluation before training
            return
        self.marks.append((steps, float(metrics["training/walltime"])))
        self.times.append(time.perf_counter())
        if len(self.marks) > self._number:
            raise _EnoughError


def train_by_brax(train: Callable[..., Any], warm_up: int, repeats: int, unit: int = 1) -> Trained:
    """Trains for so many epochs of one of Brax's trainers.

    What starting took is everything up to the end of the warm-up but so many epochs as they take after it. Where the
    trainer evaluates after each of them, that is part of it.

    Args:
      train: takes a `progress_fn`; it makes the environment, too, so that this is counted.
      warm_up: epochs that do not count; at least one, or what starting takes is in those that do.
      repeats: epochs that do.
      unit: environment steps in each of the steps that `progress_fn` is told of.
    """
    clock = _Laps(warm_up + repeats)
    with contextlib.suppress(_EnoughError), what_brax_misses():
        train(progress_fn=clock)
    laps = [((b[0] - a[0]) * unit, b[1] - a[1]) for a, b in itertools.pairwise(clock.marks)]
    timed = laps[warm_up:]
    usual = statistics.median(seconds for _, seconds in timed)
    return Trained(timed, clock.times[warm_up] - clock.times[0] - warm_up * usual)


def brax_ppo(
    environment: BraxEnvironment,
    *,
    horizon: int,
    lanes: int,
    steps: int,
    epochs: int,
    hidden: Sequence[int] | None = (64, 64),
    unroll: int = 10,
    minibatches: int = 16,
    batch_size: int | None = None,
    passes: int = 2,
    evaluate: bool = False,
) -> Callable[..., Any]:
    """Brax's PPO as :func:`train_by_brax` takes it.

    Unroll, minibatches and passes are Brax's defaults, unless told otherwise. Every step counts, for PPO learns from
    all of them: an environment that ends goes on from its first state.

    Args:
      environment: what is trained in.
      horizon: length at which an episode is cut, in steps.
      lanes: environments stepped side by side, on all devices.
      steps: environment steps of an epoch; Brax rounds up.
      epochs: in all.
      hidden: widths of both networks; None for Brax's own, policy (32,) * 4 and value (256,) * 5.
      unroll: steps of an environment in one sample.
      minibatches: updates in one pass over the samples.
      batch_size: samples in a minibatch; 32, or as many as there are lanes for.
      passes: over the samples before new ones are drawn.
      evaluate: whether it evaluates after every epoch, in one environment.
    """
    matched = {} if hidden is None else {"policy_hidden_layer_sizes": hidden, "value_hidden_layer_sizes": hidden}

    def trainer(progress_fn: Callable[[int, dict[str, Any]], None]) -> Any:
        from brax.training.agents.ppo import networks, train

        return train.train(
            make_environment(environment),
            num_timesteps=steps * epochs,
            num_evals=epochs + 1,
            run_evals=evaluate,
            num_eval_envs=1,
            num_envs=lanes,
            episode_length=horizon,
            unroll_length=unroll,
            batch_size=batch_size or max(32, lanes // minibatches),
            num_minibatches=minibatches,
            num_updates_per_batch=passes,
            network_factory=functools.partial(networks.make_ppo_networks, **matched),
            normalize_observations=True,
            discounting=0.99,
            learning_rate=3e-4,
            progress_fn=progress_fn,
        )

    return trainer


def train_by_us(config: Config, warm_up: int, repeats: int) -> Trained:
    """Trains for so many chunks of rounds; a step counts if it is of a counted episode, and comes before its end.

    Args:
      config: a run's configuration.
      warm_up: chunks that do not count: an untrained policy falls early, and then more lanes are idle at the end.
      repeats: chunks that do.
    """
    began = time.perf_counter()
    runtime = SimulatedRuntime(config)
    runtime.compile()
    state, laps = runtime.initial_state(), []
    starting = time.perf_counter() - began
    for _ in range(warm_up + repeats):
        started = time.perf_counter()
        state, metrics = runtime.run(state, config.training.chunk)
        laps.append((int(metrics.env_steps.sum()), time.perf_counter() - started))
    return Trained(laps[warm_up:], starting)


@contextlib.contextmanager
def what_brax_misses() -> Iterator[None]:
    """Gives JAX back what Brax's trainers call, where it no longer has it."""
    name = "device_put_replicated"
    if hasattr(jax, name):
        yield
        return
    setattr(jax, name, _replicate)
    try:
        yield
    finally:
        delattr(jax, name)


def _replicate(x: Any, devices: Sequence[Any]) -> Any:
    """`jax.device_put_replicated`: arrays with a leading axis of devices, the same values on each.

    They are laid out as what Brax's `jax.pmap` returns, its axis's name included. With another name JAX would compile
    an epoch twice: for what training starts from, and for what the first one returns.
    """
    sharding = NamedSharding(Mesh(np.array(devices), (_AXIS,)), PartitionSpec(_AXIS))
    put = lambda leaf: jax.device_put(jnp.broadcast_to(leaf, (len(devices), *jnp.shape(leaf))), sharding)
    return jax.tree.map(put, x)
