"""The distributions that policies draw actions from: what a network's heads say, drawn, weighed and acted on.

A sample is what is stored of an action: its log density depends on the parameters, the action that comes of it only on
the sample.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray


class TanhGaussian(NamedTuple):
    """Independent Gaussians, squashed by tanh into [-1, 1]. A sample is the action before tanh.

    Attributes:
      mean: of the sample.
      std: its deviation.
    """

    mean: Float[Array, "*batch action"]
    std: Float[Array, "*batch action"]

    def sample(self, key: PRNGKeyArray) -> Float[Array, "*batch action"]:
        """An independent draw for each of the batch."""
        return self.mean + self.std * jax.random.normal(key, self.mean.shape)

    def mode(self) -> Float[Array, "*batch action"]:
        """The sample of the action without noise."""
        return self.mean

    def log_density(self, sample: Float[Array, "*batch action"]) -> Float[Array, "*batch"]:
        """Of the sample, before tanh: the Jacobian of tanh does not depend on the parameters."""
        return jax.scipy.stats.norm.logpdf(sample, self.mean, self.std).sum(-1)

    @staticmethod
    def action(sample: Float[Array, "*batch action"]) -> Float[Array, "*batch action"]:
        """What the environment gets."""
        return jnp.tanh(sample)


class Categorical(NamedTuple):
    """One of n actions. A sample is its number, from 0, as a float: so steps of all policies are stored alike.

    Attributes:
      logits: of each action; softmax makes probabilities of them.
    """

    logits: Float[Array, "*batch actions"]

    def sample(self, key: PRNGKeyArray) -> Float[Array, "*batch 1"]:
        """An independent draw for each of the batch."""
        return jax.random.categorical(key, self.logits)[..., None].astype(jnp.float32)

    def mode(self) -> Float[Array, "*batch 1"]:
        """The most probable action, the first of those that are."""
        return jnp.argmax(self.logits, axis=-1, keepdims=True).astype(jnp.float32)

    def log_density(self, sample: Float[Array, "*batch 1"]) -> Float[Array, "*batch"]:
        """Log probability of the action."""
        number = jax.lax.broadcasted_iota(jnp.float32, self.logits.shape, self.logits.ndim - 1)
        taken = number == jnp.broadcast_to(sample, self.logits.shape)
        return jnp.where(taken, jax.nn.log_softmax(self.logits), 0).sum(-1)

    @staticmethod
    def action(sample: Float[Array, "*batch 1"]) -> Int[Array, "*batch"]:
        """What the environment gets."""
        return sample[..., 0].astype(jnp.int32)
