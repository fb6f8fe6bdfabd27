r"""REC-MARL's iteration: critics that see their neighbourhood alone, and ascent along the neighbours' critics.

Every agent i has a table :math:`Q_i` over what its neighbourhood N(i) is in and does, and softmax policies. Of a batch
of episodes with :math:`z_t` the joint state and action,

.. math::
    \delta_{i,t} = r_{i,t} + \gamma Q_i(z_{t+1}) - Q_i(z_t), \qquad
    Q_i(z) \leftarrow Q_i(z) + b\, \text{mean of } \delta_{i,t} \text{ where } z_t = z \text{ on } N(i)

.. math::
    \theta_i \leftarrow \theta_i + \eta\, \text{mean over episodes of } \sum_t \gamma^t
    \Big( \frac{1}{n} \sum_{k \in N(i)} Q_k(z_t) - c_{i,t} \Big) \nabla \log \pi_i(a_{i,t} | s_{i,t})

where :math:`c_{i,t}` is the mean of what stands before it over the episodes. It scales the expectation by 1 - 1/E and
takes most of the noise away.

References:
  After Liu, Wei & Ying, `Scalable and Sample Efficient Distributed Policy Gradient Algorithms in Multi-Agent Networked
  Systems <https://arxiv.org/abs/2212.06357>`_, 2022
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.related.rec_marl.model import Episodes


def heard_critics(critics: str, neighbours: Bool[np.ndarray, "agents agents"]) -> Bool[np.ndarray, "agents agents"]:
    """[i, k]: whether agent i climbs the critic of agent k: of its neighbours, its own alone, or of all."""
    own = np.eye(len(neighbours), dtype=bool)
    return {"neighbours": neighbours, "own": own, "all": np.ones_like(own)}[critics]


def learn_values(
    values: Float[Array, " entries"],
    entries: Int[Array, "episodes steps_and_one agents"],
    rewards: Float[Array, "episodes steps agents"],
    discount: float,
    step: Float[Array, ""],
) -> tuple[Float[Array, " entries"], Float[Array, ""]]:
    """One step of TD(0) for all critics, along the mean error of every entry that was visited.

    Args:
      values: all tables, one after the other.
      entries: the entry that every agent visits; the last one of an episode is only looked at.
      rewards: every agent's.
      discount: gamma.
      step: b.

    Returns:
      The tables after, and the root mean square of the errors before.
    """
    now, following = entries[:, :-1], entries[:, 1:]
    errors = rewards + discount * values[following] - values[now]
    visits = jnp.zeros_like(values).at[now].add(1.0)
    return values.at[now].add(step * errors / visits[now]), jnp.sqrt(jnp.mean(errors**2))


def policy_gradient(
    policies: Float[Array, "agents states actions"],
    played: Episodes,
    values: Float[Array, "episodes steps agents"],
    heard: Bool[np.ndarray, "agents agents"],
    discount: float,
) -> Float[Array, "agents states actions"]:
    """The gradient in the logits of every agent's policy.

    Args:
      policies: probabilities of actions, by which the episodes were played.
      played: the episodes; what is after the last step does not count.
      values: what every agent's critic says of every step.
      heard: [i, k]: whether agent i climbs the critic of agent k.
      discount: gamma.
    """
    agents, states, actions = policies.shape
    climbed = jnp.einsum("etk,ik->eti", values, jnp.asarray(heard, values.dtype)) / agents
    powers = discount ** jnp.arange(climbed.shape[1], dtype=climbed.dtype)
    weights = powers[None, :, None] * (climbed - climbed.mean(0, keepdims=True))
    there = jax.nn.one_hot(played.states[:, :-1], states, dtype=values.dtype)
    done = jax.nn.one_hot(played.actions[:, :-1], actions, dtype=values.dtype)
    taken = jnp.einsum("etis,etia->isa", there * weights[..., None], done) / len(values)
    return taken - policies * taken.sum(-1, keepdims=True)
