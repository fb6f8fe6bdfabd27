"""A trained policy evaluated once more: with more episodes, on other ones, or without noise."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.compilation import jit
from nigt_jax.config import Config, checked_seed
from nigt_jax.environments import in_32_bits, make_environment
from nigt_jax.errors import UserError
from nigt_jax.policies import Policy
from nigt_jax.records import code_of, open_run, refuse_strange_code
from nigt_jax.runs._shipped import load_policy, lowest_reward
from nigt_jax.runs._trained import TrainedPolicy
from nigt_jax.runtimes import make_parts
from nigt_jax.training import evaluate as play
from nigt_jax.training import make_hyperparameters, stream, summarise

MOST_EPISODES = 1_000_000


def evaluate(
    run: str | os.PathLike[str],
    *,
    episodes: int | None = None,
    noise: bool = True,
    seed: int | None = None,
    iteration: int | None = None,
    environment: Any = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Evaluates a run's policy again, on one device.

    With the run's own episodes and seed, what it finds is what the run has recorded, up to rounding.

    Args:
      run: folder of the run.
      episodes: how many, 1 to 1,000,000, in every worker's environment where these differ; those of the run where it is
        None.
      noise: whether actions are drawn, as in training; otherwise each is the policy's mode.
      seed: of the episodes, 0 to 2^32 - 1; that of the run's evaluations where it is None.
      iteration: of which checkpoint; the newest where it is None.
      environment: what the run was made in, where it was an object.
      trust_code: whether to import what the run names as ``module:Class``, though nothing shows that this user has
        begun it.

    Returns:
      ``iteration``, ``episodes`` in all, ``return_mean``, ``return_std`` (between episodes), ``return_error`` (standard
      error of the mean), ``episode_length_mean``, ``evaluation_diverged``, and ``return_by_worker`` where workers'
      environments differ.

    Raises:
      UserError: `run` is no run, or has no such checkpoint; it names code that may be
        somebody else's; there is no such environment, or it is another one; `episodes` or `seed` is out of range.
    """
    folder, config = open_run(Path(run), check_files=False)
    named = {name for name in code_of(config, sinks=False) if environment is None or name != config.environment.name}
    refuse_strange_code(folder.path, named, trust_code)
    episodes = config.evaluation.episodes if episodes is None else episodes
    if not 1 <= episodes <= MOST_EPISODES:
        raise UserError(f"episodes: got {episodes}, allowed: 1 to {MOST_EPISODES:,}")
    seed = config.evaluation.seed if seed is None else checked_seed(seed)
    trained = load_policy(run, iteration=iteration)
    with jax.enable_x64(False):  # as training
        made = in_32_bits(make_environment(config.environment) if environment is None else environment)
        lowest = lowest_reward(run, iteration=iteration)
        key = stream(seed, "evaluation")
        played = jax.device_get(_played(config, trained, made, episodes, noise, key, lowest))
    workers = config.workers.count if config.workers.differ else 1
    found = summarise(played.returns[0], played.lengths[0], played.diverged[0], episodes, workers)
    total = episodes * workers
    error = found["return_std"] / np.sqrt(total)
    return {"iteration": trained.iteration, "episodes": total, **found, "return_error": float(error)}


def _played(
    config: Config, trained: TrainedPolicy, environment: Any, episodes: int, noise: bool, key: Any, lowest: float
) -> Any:
    platform = jax.local_devices()[0].platform
    parts = make_parts(config, environment, 1, axis=None, platform=platform)
    if parts.policy.observation_size != trained.policy.observation_size:
        raise UserError(
            f"environment: its observations have {parts.policy.observation_size} numbers, allowed: those of the run, "
            f"{trained.policy.observation_size}"
        )
    tuned = make_hyperparameters(config, parts.policy, parts.estimator, parts.method, 1)
    parts = parts._replace(policy=trained.policy if noise else _Mode(*trained.policy))
    one = lambda tree: jax.tree.map(lambda x: x[None], tree)
    charge = tuned.charge(jnp.asarray([lowest], jnp.float32))
    variation = one(tuned.variation)
    run = jit(lambda model, normalizer, key: play(parts, episodes, model, normalizer, key, variation, charge))
    with jax.default_matmul_precision("highest"):
        return run(one(trained.model), one(trained.normalizer), key)


class _Mode(Policy):
    """The same policy without noise."""

    def sample(self, params: Any, normalizer: Any, observation: Any, key: Any) -> Any:
        """The sample of the action without noise."""
        del key
        return self.distribution(params, normalizer, observation).mode()
