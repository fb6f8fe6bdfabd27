"""Environment steps a second in training by Brax's PPO: `python bench/rivals/brax_ppo.py`.

Every step counts, for PPO learns from all of them: an environment that ends goes on from its first state. Unroll,
minibatches, batch size and passes are Brax's defaults, unless told otherwise; the networks are as wide as ours.
"""

import json

import _shim
from _figures import arguments

from nigt_jax.benchmark import brax_ppo
from nigt_jax.config import BraxEnvironment


def main() -> None:
    """Trains, and prints the figures."""
    parser = arguments(__doc__, repeats=6, warm_up=2)
    parser.add_argument("--steps", type=int, default=81_920, help="environment steps of a stretch; rounded up")
    parser.add_argument("--unroll", type=int, default=10, help="steps of an environment in one sample")
    parser.add_argument("--minibatches", type=int, default=16, help="updates in one pass over the samples")
    parser.add_argument("--batch-size", type=int, help="samples in a minibatch; 32, or as many as there are lanes for")
    parser.add_argument("--passes", type=int, default=2, help="over the samples before new ones are drawn")
    parser.add_argument("--own-networks", action="store_true", help="Brax's: policy (32,) * 4, value (256,) * 5")
    parser.add_argument("--evaluate", action="store_true", help="after every stretch, as ours has in its program")
    args = _shim.prepare(parser)
    ppo = brax_ppo(
        BraxEnvironment(name=args.env, backend=args.backend),
        horizon=args.horizon,
        lanes=args.lanes,
        steps=args.steps,
        epochs=args.warm_up + args.repeats,
        hidden=None if args.own_networks else args.hidden,
        unroll=args.unroll,
        minibatches=args.minibatches,
        batch_size=args.batch_size,
        passes=args.passes,
        evaluate=args.evaluate,
    )
    print(json.dumps(_shim.measure("brax ppo", args, ppo)))


if __name__ == "__main__":
    main()
