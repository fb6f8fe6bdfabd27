"""The paper's policy: a Gaussian squashed by tanh, both heads depending on the state."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from nigt_jax.policies._normalizer import Normalizer, init_normalizer, standardise


class GaussianMLP(nn.Module):
    """A tanh MLP with two linear heads: the mean, and the deviation through a softplus.

    The heads start small, so that the first policy is nearly the same Gaussian in every state.
    """

    action_size: int
    hidden_sizes: tuple[int, ...] = (64, 64)
    min_std: float = 1e-3

    @nn.compact
    def __call__(self, observation: Float[Array, "*batch obs"]) -> tuple[Array, Array]:
        """Mean and deviation of the action before tanh, each of shape [*batch, action]."""
        hidden = observation
        for width in self.hidden_sizes:
            hidden = jnp.tanh(nn.Dense(width)(hidden))
        small = nn.initializers.variance_scaling(1e-2, "fan_in", "truncated_normal")
        heads = [_Layer(self.action_size, small, name=name)(hidden.shape[-1]) for name in ("mean", "std")]
        mean, std = _apply(heads, hidden)
        return mean, nn.softplus(std) + self.min_std


class _Layer(nn.Module):
    """The parameters of a dense layer with so many outputs, for others to apply."""

    size: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, inputs: int) -> tuple[Any, Any]:
        """Kernel, of shape [inputs, size], and bias."""
        kernel = self.param("kernel", self.kernel_init, (inputs, self.size))
        return kernel, self.param("bias", nn.initializers.zeros_init(), (self.size,))


def _apply(layers: list[tuple[Any, Any]], inputs: Float[Array, "*batch inputs"]) -> list[Array]:
    """What layers of equal size make of the same inputs.

    One product for all of them, because products of a few columns are slow on a CPU. But each adds its own bias: the
    gradient of all biases at once would need the layers' side by side, where XLA for CPU is slow to put them.
    """
    kernels, biases = zip(*layers, strict=True)
    size = biases[0].size
    product = inputs @ jnp.concatenate(kernels, axis=1)
    parts = [product[..., k * size : (k + 1) * size] for k in range(len(layers))]
    return [part + jnp.broadcast_to(bias, part.shape) for part, bias in zip(parts, biases, strict=True)]


class Policy(NamedTuple):
    """What acts: the network, and whether observations are standardised on their way in.

    Parameters and statistics are arguments everywhere, never state: the same policy serves query point and iterate.

    Attributes:
      network: maps an observation to mean and deviation of the action before tanh.
      observation_size: numbers of an observation.
      normalize: whether observations are standardised.
    """

    network: nn.Module
    observation_size: int
    normalize: bool

    def init(self, key: PRNGKeyArray) -> Any:
        """Fresh parameters."""
        return self.network.init(key, jnp.zeros((1, self.observation_size)))

    def init_normalizer(self) -> Normalizer:
        """Statistics of no observations: mean 0, deviation 1."""
        return init_normalizer(self.observation_size)

    def distribution(
        self, params: Any, normalizer: Normalizer, observation: Float[Array, "*batch obs"]
    ) -> tuple[Array, Array]:
        """Mean and deviation of the action before tanh, each of shape [*batch, action]."""
        return self.network.apply(params, self.standardise(normalizer, observation))

    def sample(
        self, params: Any, normalizer: Normalizer, observation: Float[Array, "*batch obs"], key: PRNGKeyArray
    ) -> Float[Array, "*batch action"]:
        """A draw of the action before tanh, an independent one for each observation."""
        mean, std = self.distribution(params, normalizer, observation)
        return mean + std * jax.random.normal(key, mean.shape)

    def log_density(
        self,
        params: Any,
        normalizer: Normalizer,
        observation: Float[Array, "*batch obs"],
        pre_tanh: Float[Array, "*batch action"],
    ) -> Float[Array, "*batch"]:
        """Log density of the stored sample before tanh. The Jacobian of tanh does not depend on the parameters."""
        mean, std = self.distribution(params, normalizer, observation)
        return jax.scipy.stats.norm.logpdf(pre_tanh, mean, std).sum(-1)

    def standardise(
        self, normalizer: Normalizer, observation: Float[Array, "*batch obs"]
    ) -> Float[Array, "*batch obs"]:
        """The observation as the network sees it."""
        return standardise(normalizer, observation) if self.normalize else observation
