r"""FedNAC: logits that are linear in features, and values that every agent's critic learns from samples of its own.

.. math::
    w^t_n &= \text{critic}(\xi^t_n, r_n) \\
    h^t &= W (h^{t-1} + w^t - w^{t-1}), \qquad h^{-1} = w^{-1} = 0 \\
    \xi^{t+1} &= W (\xi^t + \alpha h^t), \qquad \alpha = \tfrac{\eta}{1 - \gamma}

The critic makes K steps of :math:`w \leftarrow w - \beta \cdot 2 (w^\top \phi - \hat Q) \phi` from 0 and returns the
mean of what it had after each. A sample goes on under the policy while a coin of probability :math:`\gamma` says so,
and is where it then is; its value is the reward there and all that follow, undiscounted, while another such coin says
so.

References:
  Yang, Cen, Wei, Chen & Chi, `Federated Natural Policy Gradient and Actor Critic Methods for Multi-task Reinforcement
  Learning <https://arxiv.org/abs/2311.00201>`_, 2023, Algorithms 3 and 4
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nigt_jax.related.fednpg._world import World
from nigt_jax.related.tracking import mix


class Linear(NamedTuple):
    """What agents keep.

    Attributes:
      parameters: of each agent's policy.
      tracker: what each holds for the mean of all critics.
      critic: each agent's own.
      key: of the samples to come.
    """

    parameters: Float[Array, "agents features"]
    tracker: Float[Array, "agents features"]
    critic: Float[Array, "agents features"]
    key: PRNGKeyArray


class Sample(NamedTuple):
    """What a critic learns from.

    Attributes:
      state: where.
      action: what was done there.
      value: an estimate of what that is worth, without bias.
      steps: steps of the world that were played for it.
    """

    state: Int[Array, ""]
    action: Int[Array, ""]
    value: Float[Array, ""]
    steps: Int[Array, ""]


def begin_linear(agents: int, features: int, key: PRNGKeyArray, dtype: jnp.dtype) -> Linear:
    """Before the first iteration: every policy even."""
    nothing = jnp.zeros((agents, features), dtype)
    return Linear(nothing, nothing, nothing, key)


def linear_step(
    state: Linear,
    world: World,
    features: Float[Array, "states actions features"],
    weights: Float[Array, "agents agents"],
    learning_rate: Array,
    critic_step: Array,
    samples: int,
    *,
    tracking: bool,
) -> tuple[Linear, Int[Array, ""]]:
    """One iteration of all agents, and the steps of the world that they have played."""
    agents = len(state.parameters)
    keys = jax.random.split(jax.random.fold_in(state.key, 0), (agents, samples))
    log_policy = jax.vmap(lambda own: log_linear(own, features))(state.parameters)
    draw = jax.vmap(lambda key, own, reward: draw_sample(key, world, own, reward), (0, None, None))
    drawn = jax.vmap(draw)(keys, log_policy, world.rewards)
    critic = jax.vmap(lambda own: learnt(own, features, critic_step))(drawn)
    tracker = mix(weights, state.tracker + critic - state.critic) if tracking else critic
    rate = learning_rate / (1 - world.discount)
    parameters = mix(weights, state.parameters + rate * tracker)
    return Linear(parameters, tracker, critic, jax.random.fold_in(state.key, 1)), drawn.steps.sum()


def log_linear(
    parameters: Float[Array, " features"], features: Float[Array, "states actions features"]
) -> Float[Array, "states actions"]:
    """The logarithm of the policy of these parameters."""
    return jax.nn.log_softmax(jnp.tensordot(features, parameters, 1, precision=jax.lax.Precision.HIGHEST), axis=-1)


def draw_sample(
    key: PRNGKeyArray, world: World, log_policy: Float[Array, "states actions"], reward: Float[Array, "states actions"]
) -> Sample:
    """A state and an action as often as discounted play from anywhere comes to them, and an estimate of its value."""
    states, actions = reward.shape
    first, play, follow = jax.random.split(key, 3)
    place = jax.random.randint(first, (2,), 0, jnp.asarray([states, actions]), jnp.int32)

    def moved(key: PRNGKeyArray, at: tuple[Array, Array]) -> tuple[Array, Array]:
        world_key, policy_key = jax.random.split(key)
        state = jax.random.categorical(world_key, jnp.log(world.transitions[at[0], at[1]])).astype(jnp.int32)
        return state, jax.random.categorical(policy_key, log_policy[state]).astype(jnp.int32)

    def played(key: PRNGKeyArray, at: tuple[Array, Array]) -> tuple[Array, Array, Array, Array]:
        """Moves on while a coin says so: where it ends, the rewards on the way, and the steps made."""

        def goes_on(carry: Any) -> Array:
            return jax.random.bernoulli(jax.random.fold_in(key, 2 * carry[3]), world.discount)

        def move(carry: Any) -> Any:
            state, action, earned, steps = carry
            state, action = moved(jax.random.fold_in(key, 2 * steps + 1), (state, action))
            return state, action, earned + reward[state, action], steps + 1

        return jax.lax.while_loop(goes_on, move, (*at, jnp.zeros((), reward.dtype), jnp.int32(0)))

    state, action, _, before = played(play, (place[0], place[1]))
    _, _, earned, after = played(follow, (state, action))
    return Sample(state, action, reward[state, action] + earned, before + after + 1)


def learnt(
    samples: Sample, features: Float[Array, "states actions features"], step: Array
) -> Float[Array, " features"]:
    """What a critic makes of samples, one after the other; leaves of these are [samples]."""

    def one(critic: Array, sample: Sample) -> tuple[Array, Array]:
        own = features[sample.state, sample.action]
        critic = critic - step * 2 * (critic @ own - sample.value) * own
        return critic, critic

    nothing = jnp.zeros(features.shape[-1:], features.dtype)
    return jax.lax.scan(one, nothing, samples)[1].mean(0)
