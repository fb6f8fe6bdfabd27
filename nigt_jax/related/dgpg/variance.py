r"""The variance of both gradient estimators, in a game of one step where both estimate the same.

N agents choose one of K servers each, agent i with probabilities :math:`\pi_i = \operatorname{softmax}(\theta_i)`, and
adds :math:`w_{i a}` to the server a of its choice: :math:`z_i = w_{i a_i} e_{a_i}` and :math:`x = \sum_i z_i`. They
share the cost :math:`J = \frac12 \|x - \tilde x\|^2`. With the score :math:`s_i = e_{a_i} - \pi_i`,

.. math::
    E[\langle x - \tilde x, z_i \rangle s_i] - E[J s_i] = E[\tfrac12 \|z_i\|^2 s_i],

since J and the guidance differ by terms without agent i and by the self term. It is zero where all of an agent's
choices weigh the same, as where all w are 1; else guidance is biased by it.

With K = N, unit weights and even probabilities the total variances, each with its expectation as the baseline, are
:math:`(N-1)^3 / 2N^2` for the shared cost and :math:`((N-1)/N)^3` for the guidance.

References:
  Yang & Liu, `Descent-Guided Policy Gradient <https://arxiv.org/abs/2602.20078>`_, 2026
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray


class Game(NamedTuple):
    """One step of dispatching.

    Attributes:
      logits: of each agent's choice.
      weights: what an agent adds to a server that it chooses.
      target: where the servers' totals should be.
    """

    logits: Float[Array, "agents servers"]
    weights: Float[Array, "agents servers"]
    target: Float[Array, " servers"]


class Variances(NamedTuple):
    """Total variance of one agent's gradient: the trace of its covariance.

    Attributes:
      shared: of the score times the cost that all share, less its expectation.
      guidance: of the score times the agent's guidance, less its expectation.
    """

    shared: Float[Array, ""]
    guidance: Float[Array, ""]


def unit_game(agents: int) -> Game:
    """As many servers as agents, each of which adds 1 to any server, with even probabilities and a target of 1."""
    square = (agents, agents)
    return Game(jnp.zeros(square), jnp.ones(square), jnp.ones(agents))


def signals(game: Game, actions: Int[Array, " agents"]) -> tuple[Float[Array, ""], Float[Array, " agents"]]:
    """The shared cost, and each agent's guidance, of joint actions."""
    own = jnp.take_along_axis(game.weights, actions[:, None], 1)[:, 0]
    apart = jnp.zeros_like(game.target).at[actions].add(own) - game.target
    return 0.5 * jnp.sum(jnp.square(apart)), apart[actions] * own


def baselines(game: Game) -> tuple[Float[Array, ""], Float[Array, " agents"]]:
    """The expectations of :func:`signals`, in closed form."""
    probability = jax.nn.softmax(game.logits)
    added = probability * game.weights
    mean = added.sum(0) - game.target
    variance = jnp.sum(added * game.weights - jnp.square(added), axis=0)
    others = mean[None, :] - added
    return 0.5 * jnp.sum(jnp.square(mean) + variance), jnp.sum(added * (others + game.weights), axis=1)


def draw(game: Game, key: PRNGKeyArray) -> Int[Array, " agents"]:
    """What every agent chooses, independently."""
    keys = jax.random.split(key, len(game.logits))
    choose = lambda key, probability: jax.random.choice(key, game.target.size, p=probability)
    return jax.vmap(choose)(keys, jax.nn.softmax(game.logits)).astype(jnp.int32)


def gradients(
    game: Game, actions: Int[Array, " agents"], agent: int
) -> tuple[Float[Array, " servers"], Float[Array, " servers"]]:
    """Both estimates of the gradient of the expected cost for an agent's logits, from joint actions: shared, guided."""
    score = jax.nn.one_hot(actions[agent], game.target.size) - jax.nn.softmax(game.logits[agent])
    (cost, guidance), (mean_cost, mean_guidance) = signals(game, actions), baselines(game)
    return (cost - mean_cost) * score, (guidance[agent] - mean_guidance[agent]) * score


def measure(game: Game, key: PRNGKeyArray, samples: int) -> Variances:
    """The first agent's variances, from so many independent joint actions."""
    drawn = jax.vmap(lambda key: gradients(game, draw(game, key), 0))(jax.random.split(key, samples))
    return Variances(*(jnp.sum(jnp.var(x, axis=0, ddof=1)) for x in drawn))
