"""An environment of one's own: trained in, exported, and acted in with NumPy alone.

The command line takes it, too, from this folder: nigt train CONFIG --environment.name own_environment:Docking
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

import nigt_jax


@struct.dataclass
class State:
    """Whatever the environment needs; training looks at obs, reward and done."""

    obs: jax.Array
    reward: jax.Array
    done: jax.Array


class Docking:
    """A boat on a line comes to rest at 0. Its observation is place and speed, its action a push in [-1, 1]."""

    action_size = 1  # or num_actions = n, and an action is a whole number from 0

    def reset(self, key):
        """Somewhere within 1 of the dock, at rest."""
        place = jax.random.uniform(key, (1,), minval=-1.0, maxval=1.0)
        return State(jnp.concatenate([place, jnp.zeros(1)]), jnp.zeros(()), jnp.zeros(()))

    def step(self, state, action):
        """A tenth of a second; the reward is worst far away, fast, or with much fuel."""
        place, speed = state.obs
        speed = speed + 0.3 * action[0]
        place = place + 0.1 * speed
        cost = place**2 + 0.1 * speed**2 + 0.01 * action[0] ** 2
        lost = jnp.abs(place) > 3
        return State(jnp.stack([place, speed]), -cost - 10.0 * lost, lost.astype(jnp.float32))


def main():
    """Trains, exports, and plays an episode with NumPy."""
    nigt_jax.check_environment(Docking())
    settings = {"environment.horizon": 60, "policy.hidden_sizes": [32], "method.learning_rate": 0.1}
    settings |= {"method.batch_size": 20, "training.iterations": 150, "evaluation.every": 50, "training.devices": 1}
    config = nigt_jax.load_config(overrides=settings)
    nigt_jax.train(config, "runs/docking", environment=Docking())
    nigt_jax.export("runs/docking", "policies/docking")

    sys.path.insert(0, "policies/docking")
    from policy import Policy  # the file that was exported: it needs neither JAX nor this package

    policy, place, speed = Policy(), 1.0, 0.0
    for _ in range(60):
        (push,) = policy.mode(np.array([place, speed], np.float32))
        speed += 0.3 * push
        place += 0.1 * speed
    print(f"after 6 seconds {abs(place):.2f} from the dock")


if __name__ == "__main__":
    main()
