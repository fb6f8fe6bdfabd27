"""PPO of rejax on CartPole with nigt in the place of Adam: `pip install rejax "gymnax<1"`, then run this file."""

import jax
import rejax
from flax.training.train_state import TrainState
from rejax.algos.algorithm import register_init

import nigt_jax


class NigtPPO(rejax.PPO):
    """PPO that gathers its data at the query points of nigt and evaluates the policy at its iterate."""

    @register_init
    def initialize_network_params(self, rng):
        """The networks that rejax makes, with an optimiser of our own."""
        tx = nigt_jax.nigt(self.learning_rate, momentum=0.8)
        made = super().initialize_network_params(rng)
        return {name: TrainState.create(apply_fn=(), params=ts.params, tx=tx) for name, ts in made.items()}

    def make_act(self, ts):
        """The policy to evaluate and to ship."""
        actor = ts.actor_ts
        theta = nigt_jax.nigt_eval_params(actor.opt_state, actor.params)
        return super().make_act(ts.replace(actor_ts=actor.replace(params=theta)))


def main():
    """Trains three seeds as one program and prints the mean return of every evaluation."""
    config = {"env": "CartPole-v1", "num_envs": 16, "num_steps": 128, "num_epochs": 4, "num_minibatches": 4}
    algo = NigtPPO.create(**config, total_timesteps=131_072, eval_freq=16_384, learning_rate=0.05)
    _, (_, returns) = jax.jit(jax.vmap(algo.train))(jax.random.split(jax.random.key(0), 3))
    print(returns.mean((0, 2)).round(0).astype(int))


if __name__ == "__main__":
    main()
