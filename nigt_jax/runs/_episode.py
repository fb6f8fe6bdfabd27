"""One episode of a trained policy, with where every body was: what a picture of it needs."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nigt_jax.compilation import jit
from nigt_jax.config import Config, checked_seed
from nigt_jax.environments import Varied, in_32_bits, make_environment, make_variation, observed, of_workers, permissive
from nigt_jax.errors import UserError
from nigt_jax.records import code_of, open_run, refuse_strange_code
from nigt_jax.runs._shipped import load_policy
from nigt_jax.runs._trained import TrainedPolicy
from nigt_jax.training import stream


class Episode(NamedTuple):
    """An episode, up to its end.

    Attributes:
      positions: of every link's origin, before the first step and after each; [steps + 1, links, 3].
      rotations: of every link, as quaternions w, x, y, z; [steps + 1, links, 4].
      rewards: of each step, undiscounted; [steps].
      ended: whether the environment has ended it, or it was cut at the horizon.
      model: the bodies, an MjModel of MuJoCo; None where the environment has none.
      step_seconds: seconds of a step.
      iteration: rounds that the policy has seen.
    """

    positions: Float[np.ndarray, "frames links 3"]
    rotations: Float[np.ndarray, "frames links 4"]
    rewards: Float[np.ndarray, " steps"]
    ended: bool
    model: Any
    step_seconds: float
    iteration: int


def record_episode(
    run: str | os.PathLike[str],
    *,
    noise: bool = False,
    seed: int = 0,
    iteration: int | None = None,
    worker: int | None = None,
    environment: Any = None,
    trust_code: bool = False,
) -> Episode:
    """Plays an episode with a run's policy.

    Args:
      run: folder of the run.
      noise: whether actions are drawn, as in training; otherwise each is the policy's mode.
      seed: of the episode, 0 to 2^32 - 1.
      iteration: of which checkpoint; the newest where it is None.
      worker: in whose environment, from 0, where these differ; None for the one that they are made of.
      environment: what the run was made in, where it was an object.
      trust_code: whether to import what the run names as ``module:Class``, though nothing shows that this user has
        begun it.

    Raises:
      UserError: `run` is no run, or has no such checkpoint; it names code that may be
        somebody else's; the environment has no bodies; `seed` is out of range.
    """
    checked_seed(seed)
    folder, config = open_run(Path(run), check_files=False)
    named = {name for name in code_of(config, sinks=False) if environment is None or name != config.environment.name}
    refuse_strange_code(folder.path, named, trust_code)
    trained = load_policy(run, iteration=iteration)
    with jax.enable_x64(False):
        made = in_32_bits(make_environment(config.environment) if environment is None else environment)
        model = getattr(getattr(made, "sys", made), "mj_model", None)
        shown = _world(made, config, worker)
        frames, rewards, done = jax.device_get(_played(config, trained, shown, noise, seed))
    steps = int(np.argmax(done)) + 1 if done.any() else len(done)
    positions, rotations = (x[: steps + 1] for x in frames)
    each = float(getattr(made, "dt", 1 / 30))
    return Episode(positions, rotations, rewards[:steps], bool(done.any()), model, each, trained.iteration)


def _world(environment: Any, config: Config, worker: int | None) -> Any:
    variation = of_workers(make_variation(config.workers), 0 if worker is None else worker)
    return environment if variation is None else Varied(environment, variation)


def _played(config: Config, trained: TrainedPolicy, environment: Any, noise: bool, seed: int) -> Any:
    start, actions = jax.random.split(stream(seed, "evaluation"))

    def where(state: Any) -> Any:
        bodies = getattr(getattr(state, "pipeline_state", None), "x", None)
        if bodies is not None:
            return bodies.pos, bodies.rot
        data = getattr(state, "data", None)
        if data is not None and hasattr(data, "xpos"):
            return data.xpos[1:], data.xquat[1:]  # the first body is the world
        raise UserError(
            f"environment.name: {config.environment.name} has no bodies to show; allowed: an environment whose state "
            "has pipeline_state.x, as Brax's have, or data, as MuJoCo Playground's"
        )

    def step(state: Any, key: Any) -> Any:
        action = trained.act(observed(state), key) if noise else trained.mode(observed(state))
        state = environment.step(state, action)
        return state, (where(state), state.reward, state.done > 0)

    def play() -> Any:
        first = environment.reset(start)
        _, (frames, rewards, done) = jax.lax.scan(step, first, jax.random.split(actions, config.environment.horizon))
        return jax.tree.map(lambda one, many: jnp.concatenate([one[None], many]), where(first), frames), rewards, done

    with jax.default_matmul_precision("highest"):  # as training
        return jit(permissive(play))()
