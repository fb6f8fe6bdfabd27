"""Environment steps a second in training by Brax's analytic policy gradient: `python bench/rivals/brax_apg.py`.

It differentiates through the physics, `--unroll` steps at a time, and learns from every step.
"""

import argparse
import functools
import json
from collections.abc import Callable

import _shim
import jax
from _figures import arguments

from nigt_jax.config import BraxEnvironment
from nigt_jax.environments import make_environment


def main() -> None:
    """Trains, and prints the figures."""
    parser = arguments(__doc__, repeats=6, warm_up=3)
    parser.add_argument("--unroll", type=int, default=32, help="steps that are differentiated through")
    parser.add_argument("--updates", type=int, default=5, help="updates in a stretch of training")
    args = _shim.prepare(parser)
    unit = args.updates * args.unroll * args.lanes
    print(json.dumps(_shim.measure("brax apg", args, functools.partial(apg, args), unit=unit)))


def apg(args: argparse.Namespace, progress_fn: Callable[..., None]) -> None:
    """Trains for as many epochs as are asked for."""
    from brax.training.agents.apg import networks, train

    epochs = args.warm_up + args.repeats
    train.train(
        make_environment(BraxEnvironment(name=args.env, backend=args.backend)),
        episode_length=args.horizon,
        policy_updates=args.updates * epochs,
        horizon_length=args.unroll,
        num_envs=args.lanes // jax.local_device_count(),  # on each device, unlike those of ppo and es
        num_evals=epochs + 1,
        num_eval_envs=1,
        network_factory=functools.partial(networks.make_apg_networks, hidden_layer_sizes=args.hidden),
        normalize_observations=True,
        progress_fn=progress_fn,
    )


if __name__ == "__main__":
    main()
