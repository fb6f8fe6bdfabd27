"""The networks of policies: tanh layers, and linear heads that start small.

So the first policy is nearly the same distribution in every state.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from nigt_jax.policies._families import Categorical, TanhGaussian

_SMALL = nn.initializers.variance_scaling(1e-2, "fan_in", "truncated_normal")


class GaussianMLP(nn.Module):
    """The paper's policy: a tanh MLP with two linear heads, the mean, and the deviation through a softplus."""

    family: ClassVar[type] = TanhGaussian

    action_size: int
    hidden_sizes: tuple[int, ...] = (64, 64)
    min_std: float = 1e-3

    @nn.compact
    def __call__(self, observation: Float[Array, "*batch obs"]) -> tuple[Array, Array]:
        """Mean and deviation of the action before tanh, each of shape [*batch, action]."""
        hidden = _tanh_layers(self.hidden_sizes, observation)
        heads = [_Layer(self.action_size, _SMALL, name=name)(hidden.shape[-1]) for name in ("mean", "std")]
        mean, std = _apply(heads, hidden)
        return mean, nn.softplus(std) + self.min_std


class CategoricalMLP(nn.Module):
    """A tanh MLP with a linear head for the logits of a discrete action."""

    family: ClassVar[type] = Categorical

    num_actions: int
    hidden_sizes: tuple[int, ...] = (64, 64)

    @nn.compact
    def __call__(self, observation: Float[Array, "*batch obs"]) -> tuple[Array]:
        """The logits, of shape [*batch, actions]."""
        hidden = _tanh_layers(self.hidden_sizes, observation)
        return (nn.Dense(self.num_actions, kernel_init=_SMALL, name="logits")(hidden),)


def _tanh_layers(sizes: tuple[int, ...], hidden: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
    """Part of the module that calls it, whose layers these become."""
    for width in sizes:
        hidden = jnp.tanh(nn.Dense(width)(hidden))
    return hidden


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
