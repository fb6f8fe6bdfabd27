"""Returns of Brax's PPO with Brax's own settings: `python bench/rivals/brax_ppo_returns.py --env reacher`.

It prints a list of evaluations: environment steps, seconds of training (without compiling and evaluating), mean return.
Brax counts compiling as training, in the first stretch. That is taken to have lasted as long as the others, which have
as many steps.
Episodes are cut where those of our presets are, and evaluated with the stochastic policy, as ours.
"""

import functools
import json
import time
from typing import Any

import _shim
import numpy as np
from _figures import arguments

from nigt_jax.benchmark import what_brax_misses
from nigt_jax.config import BraxEnvironment
from nigt_jax.environments import make_environment

# From the notebooks that come with Brax. It has none for hopper, walker2d and swimmer with PPO: they get halfcheetah's.
_CHEETAH: dict[str, Any] = {"reward_scaling": 1, "unroll_length": 20, "num_minibatches": 32, "num_updates_per_batch": 8}
_CHEETAH |= {"discounting": 0.95, "learning_rate": 3e-4, "entropy_cost": 1e-3, "num_envs": 2048, "batch_size": 512}
_PENDULUM: dict[str, Any] = {
    "reward_scaling": 10,
    "unroll_length": 5,
    "num_minibatches": 32,
    "num_updates_per_batch": 4,
}
_PENDULUM |= {"discounting": 0.97, "learning_rate": 3e-4, "entropy_cost": 1e-2, "num_envs": 2048, "batch_size": 1024}
TUNED: dict[str, dict[str, Any]] = {
    "halfcheetah": _CHEETAH,
    "inverted_pendulum": _PENDULUM,
    "inverted_double_pendulum": _PENDULUM,
    "ant": _PENDULUM | {"num_envs": 4096, "batch_size": 2048},
    "humanoid": _CHEETAH | {"reward_scaling": 0.1, "unroll_length": 10, "discounting": 0.97, "batch_size": 1024},
    "reacher": _CHEETAH | {"reward_scaling": 5, "unroll_length": 50, "batch_size": 256},
    "pusher": _CHEETAH | {"reward_scaling": 5, "unroll_length": 30, "num_minibatches": 16, "entropy_cost": 1e-2},
    "humanoidstandup": _CHEETAH
    | {"reward_scaling": 0.1, "unroll_length": 15, "learning_rate": 6e-4, "batch_size": 1024},
}


def main() -> None:
    """Trains, and prints the evaluations."""
    parser = arguments(__doc__, repeats=0, warm_up=0)
    parser.add_argument("--steps", type=int, default=2_000_000, help="environment steps in all; rounded up")
    parser.add_argument("--evaluations", type=int, default=10, help="beside the first one; 2 or more")
    parser.add_argument("--seed", type=int, default=0, help="of PPO")
    args = _shim.prepare(parser)
    from brax.training.agents.ppo import train

    seen: list[dict[str, float]] = []
    own = TUNED.get(args.env, _CHEETAH)
    # Brax trains at least once between evaluations; more of them than that would be more steps than were asked for.
    trainings = args.steps // (own["unroll_length"] * own["num_minibatches"] * own["batch_size"])

    def note(steps: int, metrics: dict[str, Any]) -> None:
        seconds = float(metrics.get("training/walltime", 0.0))
        seen.append({"env_steps": steps, "seconds": seconds, "return_mean": float(metrics["eval/episode_reward"])})

    started = time.perf_counter()
    ppo = functools.partial(
        train.train,
        make_environment(BraxEnvironment(name=args.env, backend=args.backend)),
        num_timesteps=args.steps,
        num_evals=max(2, min(args.evaluations, trainings)) + 1,
        num_eval_envs=64,
        episode_length=args.horizon,
        normalize_observations=True,
        seed=args.seed,
        progress_fn=note,
        **own,
    )
    with what_brax_misses():
        ppo()
    laps = np.diff([one["seconds"] for one in seen])
    compiling = laps[0] - np.median(laps[1:])
    for one in seen[1:]:
        one["seconds"] -= compiling
    print(json.dumps({"evaluations": seen, "all_seconds": time.perf_counter() - started, "device": _shim.device()}))


if __name__ == "__main__":
    main()
