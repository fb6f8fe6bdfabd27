"""What acts: a network, the distribution that it speaks of, and how it is fed."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from nigt_jax.policies._families import TanhGaussian
from nigt_jax.policies._normalizer import Normalizer, init_normalizer, standardise


class Policy(NamedTuple):
    """What acts: the network, and whether observations are standardised on their way in.

    Parameters and statistics are arguments everywhere, never state: the same policy serves query point and iterate.

    Attributes:
      network: maps an observation to the fields of its `family`, which is TanhGaussian where the network names none.
      observation_size: numbers of an observation.
      normalize: whether observations are standardised.
      initial: parameters and statistics that training starts with; None for fresh ones.
    """

    network: nn.Module
    observation_size: int
    normalize: bool
    initial: tuple[Any, Normalizer] | None = None

    def init(self, key: PRNGKeyArray) -> Any:
        """The first parameters: fresh ones, or those that it was given."""
        if self.initial is not None:
            return self.initial[0]
        return self.network.init(key, jnp.zeros((1, self.observation_size)))

    def init_normalizer(self) -> Normalizer:
        """The first statistics: of no observations, mean 0 and deviation 1, or those that it was given."""
        if self.initial is not None:
            return self.initial[1]
        return init_normalizer(self.observation_size)

    @property
    def family(self) -> Any:
        """The class of the distributions that actions are drawn from."""
        return getattr(self.network, "family", TanhGaussian)

    @property
    def sample_size(self) -> int:
        """Numbers of a sample, which is what is stored of an action."""
        params, normalizer = jax.eval_shape(lambda key: (self.init(key), self.init_normalizer()), jax.random.key(0))
        seen = jax.ShapeDtypeStruct((self.observation_size,), jnp.float32)
        return jax.eval_shape(lambda *of: self.distribution(*of).mode(), params, normalizer, seen).shape[-1]

    def distribution(self, params: Any, normalizer: Normalizer, observation: Float[Array, "*batch obs"]) -> Any:
        """What a sample is drawn from, of the class `family`; leaves of shape [*batch, ...]."""
        return self.family(*self.network.apply(params, self.standardise(normalizer, observation)))

    def sample(
        self, params: Any, normalizer: Normalizer, observation: Float[Array, "*batch obs"], key: PRNGKeyArray
    ) -> Float[Array, "*batch sample"]:
        """A draw for each observation, independent of the others."""
        return self.distribution(params, normalizer, observation).sample(key)

    def action(self, sample: Float[Array, "*batch sample"]) -> Array:
        """What the environment gets: numbers in [-1, 1] of shape [*batch, action], or whole ones of shape [*batch]."""
        return self.family.action(sample)

    def log_density(
        self,
        params: Any,
        normalizer: Normalizer,
        observation: Float[Array, "*batch obs"],
        sample: Float[Array, "*batch sample"],
    ) -> Float[Array, "*batch"]:
        """Log density of the stored sample."""
        return self.distribution(params, normalizer, observation).log_density(sample)

    def standardise(
        self, normalizer: Normalizer, observation: Float[Array, "*batch obs"]
    ) -> Float[Array, "*batch obs"]:
        """The observation as the network sees it."""
        return standardise(normalizer, observation) if self.normalize else observation


class Start(NamedTuple):
    """What training starts with, of another policy.

    Attributes:
      policy: that policy.
      params: its parameters.
      normalizer: its observation statistics.
    """

    policy: Policy
    params: Any
    normalizer: Normalizer
