r"""One update of PPO, with or without guidance.

The actor is one network for all agents: it scores a server from what an agent sees of it, and an agent chooses by the
softmax of its scores. MAPPO's critic sees the whole state and has one value for all, IPPO's sees what an agent sees and
has a value for each; both learn from the reward that all share. Descent-guided policy gradient is MAPPO with

.. math::
    A_i = (1 - \alpha) \bar A_i^{\text{PPO}} - \alpha\, \bar g_i, \qquad g_i = \langle x - \tilde x, z_i \rangle

where a bar says: standardised over the update's steps. Whether the source standardises both before it mixes them is not
known; without it their weights would depend on the unit of cost.

References:
  Yang & Liu, `Descent-Guided Policy Gradient <https://arxiv.org/abs/2602.20078>`_, 2026
  Yu et al., `The Surprising Effectiveness of PPO in Cooperative Multi-Agent Games
  <https://arxiv.org/abs/2103.01955>`_, 2022
  de Witt et al., `Is Independent Learning All You Need in the StarCraft Multi-Agent Challenge?
  <https://arxiv.org/abs/2011.09533>`_, 2020
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nigt_jax.config.systems import DgpgMethod
from nigt_jax.policies import Categorical, CategoricalMLP
from nigt_jax.related.dgpg.cloud import FEATURES, Cloud, CloudState
from nigt_jax.related.dgpg.episodes import Act, play
from nigt_jax.related.dgpg.ppo import (
    ReturnStatistics,
    Surrogate,
    advantages,
    begin_statistics,
    standardised,
    surrogate,
    with_returns,
)


class Learner(NamedTuple):
    """What learns.

    Attributes:
      actor: parameters of the network that scores servers.
      critic: parameters of the network of values, in units of `statistics`.
      actor_adam: state of the actor's optimiser.
      critic_adam: state of the critic's.
      statistics: of the returns so far.
    """

    actor: Any
    critic: Any
    actor_adam: Any
    critic_adam: Any
    statistics: ReturnStatistics


class Batch(NamedTuple):
    """The steps of an update; `values` is 1, or the number of agents where each has its own.

    Attributes:
      seen: what agents see of servers.
      summary: what values are told of.
      action: every agent's server.
      before: its log probability when it was chosen.
      acts: whether the agent had a task.
      reward: less the step's cost.
      guidance: every agent's.
    """

    seen: Float[Array, "time episodes agents servers features"]
    summary: Float[Array, "time episodes values numbers"]
    action: Int[Array, "time episodes agents"]
    before: Float[Array, "time episodes agents"]
    acts: Bool[Array, "time episodes agents"]
    reward: Float[Array, "time episodes"]
    guidance: Float[Array, "time episodes agents"]


class Part(NamedTuple):
    """What one Adam step learns from, of the steps of a minibatch.

    Attributes:
      seen: as in :class:`Batch`, as are `summary`, `action`, `before` and `acts`.
      advantage: every agent's, guidance included.
      target: what values should be, standardised.
    """

    seen: Float[Array, "steps agents servers features"]
    summary: Float[Array, "steps values numbers"]
    action: Int[Array, "steps agents"]
    before: Float[Array, "steps agents"]
    acts: Bool[Array, "steps agents"]
    advantage: Float[Array, "steps agents"]
    target: Float[Array, "steps values"]


class Update:
    """The update as pure functions.

    Args:
      method: its section of the configuration.
      cloud: the cluster that agents act in.
    """

    def __init__(self, method: DgpgMethod, cloud: Cloud):
        self.method, self.cloud = method, cloud
        self._central = method.algorithm != "ippo"
        self._network = CategoricalMLP(1, method.hidden_sizes)  # scores have one number, and so have values
        self._actor_adam, self._critic_adam = (
            optax.chain(optax.clip_by_global_norm(method.max_gradient_norm), optax.adam(rate))
            for rate in (method.actor_learning_rate, method.critic_learning_rate)
        )

    def begin(self, key: PRNGKeyArray) -> Learner:
        """Fresh networks; all servers are nearly equally probable."""
        of_actor, of_critic = jax.random.split(key)
        told = jax.eval_shape(lambda: self.cloud.summary(self.cloud.begin(key), self._central))
        actor = self._network.init(of_actor, jnp.zeros((1, FEATURES)))
        critic = self._network.init(of_critic, jnp.zeros((1, told.shape[1])))
        adams = self._actor_adam.init(actor), self._critic_adam.init(critic)
        return Learner(actor, critic, *adams, begin_statistics())

    def acting(self, actor: Any) -> Act:
        """The agents with these parameters; they keep what they see, and the log probability of what they do."""

        def act(state: CloudState, key: PRNGKeyArray) -> tuple[Int[Array, " agents"], tuple[Array, Array]]:
            seen = self.cloud.observe(state)
            choice = Categorical(self._number(actor, seen))
            sample = choice.sample(key)
            return choice.action(sample), (seen, choice.log_density(sample))

        return act

    def collect(self, actor: Any, key: PRNGKeyArray) -> Batch:
        """Plays an update's episodes."""

        def episode(key: PRNGKeyArray) -> Batch:
            steps = play(self.cloud, self.acting(actor), key)
            seen, before = steps.kept
            return Batch(
                seen=seen,
                summary=jax.vmap(lambda state: self.cloud.summary(state, self._central))(steps.state),
                action=steps.action,
                before=before,
                acts=steps.state.demand[..., 0] > 0,
                reward=-steps.outcome.cost,
                guidance=jax.vmap(self.cloud.guidance)(steps.state, steps.action, steps.outcome),
            )

        return jax.vmap(episode, out_axes=1)(jax.random.split(key, self.method.episodes))

    def __call__(
        self, learner: Learner, batch: Batch, weight: Float[Array, ""], key: PRNGKeyArray
    ) -> tuple[Learner, Surrogate]:
        """The learner after all passes over the batch, and how the last of them went.

        Args:
          learner: what has learnt so far; its actor has played the batch.
          batch: an update's steps.
          weight: alpha; unused by the rivals.
          key: of the order of steps.
        """
        flat, statistics = self._prepare(learner, batch, weight)
        orders = jax.vmap(lambda key: jax.random.permutation(key, batch.reward.size))(
            jax.random.split(key, self.method.epochs)
        )

        def one(learner: Learner, rows: Int[Array, " steps"]) -> tuple[Learner, Surrogate]:
            return self.descend(learner, jax.tree.map(lambda x: x[rows], flat))

        rows = orders.reshape(self.method.epochs * self.method.minibatches, -1)
        learner, quality = jax.lax.scan(one, learner._replace(statistics=statistics), rows)
        return learner, jax.tree.map(lambda x: jnp.mean(x[-self.method.minibatches :]), quality)

    def _prepare(self, learner: Learner, batch: Batch, weight: Float[Array, ""]) -> tuple[Part, ReturnStatistics]:
        """All steps in a row, with what they teach, and the statistics that their targets are standardised by."""
        old = learner.statistics
        value = old.centre() + old.unit() * self._number(learner.critic, batch.summary)
        reward = jnp.broadcast_to(batch.reward[..., None], value.shape)
        gained = advantages(reward, value, self.method.discount, self.method.gae_lambda)
        statistics = with_returns(old, gained + value)
        advantage = standardised(jnp.broadcast_to(gained, batch.acts.shape), batch.acts)
        if self.method.algorithm == "dgpg":
            advantage = (1 - weight) * advantage - weight * standardised(batch.guidance, batch.acts)
        target = (gained + value - statistics.centre()) / statistics.unit()
        part = Part(batch.seen, batch.summary, batch.action, batch.before, batch.acts, advantage, target)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), part), statistics

    def descend(self, learner: Learner, part: Part) -> tuple[Learner, Surrogate]:
        """One Adam step of both networks."""
        own = self.method

        def actor_loss(params: Any) -> tuple[Array, Surrogate]:
            logits = self._number(params, part.seen)
            made = surrogate(logits, part.action, part.before, part.advantage, part.acts, own.clip, own.entropy_weight)
            return made.loss, made

        def critic_loss(params: Any) -> Array:
            return 0.5 * jnp.mean(jnp.square(self._number(params, part.summary) - part.target))

        gradient, quality = jax.grad(actor_loss, has_aux=True)(learner.actor)
        actor, actor_adam = _step(self._actor_adam, gradient, learner.actor_adam, learner.actor)
        gradient = jax.grad(critic_loss)(learner.critic)
        critic, critic_adam = _step(self._critic_adam, gradient, learner.critic_adam, learner.critic)
        return Learner(actor, critic, actor_adam, critic_adam, learner.statistics), quality

    def _number(self, params: Any, inputs: Float[Array, "*batch inputs"]) -> Float[Array, "*batch"]:
        return self._network.apply(params, inputs)[0][..., 0]


def _step(adam: Any, gradient: Any, state: Any, params: Any) -> tuple[Any, Any]:
    with jax.numpy_dtype_promotion("standard"):  # Adam's own code mixes integers and floats
        updates, state = adam.update(gradient, state, params)
    return optax.apply_updates(params, updates), state
