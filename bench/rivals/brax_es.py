"""Environment steps a second in training by Brax's evolution strategy: `python bench/rivals/brax_es.py`.

It plays every lane for the whole horizon and learns from the steps up to the end of the first episode. Those count;
`simulated_steps_per_second` has them all.
"""

import argparse
import functools
import json
from collections.abc import Callable

import _shim
from _figures import arguments

from nigt_jax.config import BraxEnvironment
from nigt_jax.environments import make_environment

_NEVER = 2**30


def main() -> None:
    """Trains, and prints the figures."""
    args = _shim.prepare(arguments(__doc__, repeats=12, warm_up=3))
    figures = _shim.measure("brax es", args, functools.partial(es, args))
    simulated = args.repeats * args.lanes * args.horizon / figures["seconds"]
    print(json.dumps(figures | {"simulated_steps_per_second": simulated}))


def es(args: argparse.Namespace, progress_fn: Callable[..., None]) -> None:
    """Trains without end."""
    from brax.training.agents.es import networks, train

    train.train(
        make_environment(BraxEnvironment(name=args.env, backend=args.backend)),
        num_timesteps=_NEVER,
        num_evals=_NEVER,  # one after every epoch
        num_eval_envs=1,
        population_size=args.lanes // 2,  # each with its mirror image
        episode_length=args.horizon,
        network_factory=functools.partial(networks.make_es_networks, hidden_layer_sizes=args.hidden),
        normalize_observations=True,
        progress_fn=progress_fn,
    )


if __name__ == "__main__":
    main()
