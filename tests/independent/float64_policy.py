"""The policy and its score in NumPy float64, by hand: no automatic differentiation.

Parameters are one flat vector, in the order of their names: for each layer its bias, then its kernel, row by row.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Network:
    """A tanh MLP with two hidden layers; the policy's heads, or a critic's, are linear layers on the second.

    Attributes:
      inputs: numbers that it sees.
      hidden: widths of the hidden layers.
      heads: widths of the linear layers, in the order of their names.
    """

    inputs: int
    hidden: tuple
    heads: tuple

    def layers(self, vector):
        """(bias, kernel) of each layer."""
        sizes = [(self.inputs, self.hidden[0]), self.hidden, *[(self.hidden[1], out) for out in self.heads]]
        found, at = [], 0
        for before, after in sizes:
            bias, kernel = vector[at : at + after], vector[at + after : at + after + before * after]
            found.append((bias, kernel.reshape(before, after)))
            at += after + before * after
        assert at == len(vector)
        return found

    def forward(self, vector, x):
        """Activations of the hidden layers, and what the heads give; x is [steps, inputs]."""
        first, second, *heads = self.layers(vector)
        a = np.tanh(x @ first[1] + first[0])
        b = np.tanh(a @ second[1] + second[0])
        return a, b, [b @ kernel + bias for bias, kernel in heads]

    def backward(self, vector, x, upstream):
        """The gradient of sum(upstream * heads), like the vector; upstream has one array a head."""
        a, b, _ = self.forward(vector, x)
        _, second, *heads = self.layers(vector)
        back = sum(up @ kernel.T for up, (_, kernel) in zip(upstream, heads, strict=True)) * (1 - b**2)
        before = (back @ second[1].T) * (1 - a**2)
        pairs = [(before, x), (back, a), *[(up, b) for up in upstream]]
        return np.concatenate([part for up, seen in pairs for part in (up.sum(0), (seen.T @ up).ravel())])


@dataclasses.dataclass(frozen=True)
class Policy:
    """u ~ N(mean, deviation^2), the deviation through a softplus, plus the least one."""

    network: Network
    min_std: float = 1e-3

    def distribution(self, vector, observation):
        """Mean and deviation."""
        mean, raw = self.network.forward(vector, observation)[2]
        return mean, np.logaddexp(0, raw) + self.min_std

    def score(self, vector, observation, u, factors):
        """The gradient of sum_t factors_t log N(u_t; mean_t, deviation_t^2)."""
        mean, raw = self.network.forward(vector, observation)[2]
        std = np.logaddexp(0, raw) + self.min_std
        of_mean = (u - mean) / std**2
        of_raw = ((u - mean) ** 2 / std**3 - 1 / std) / (1 + np.exp(-raw))
        return self.network.backward(vector, observation, [factors[:, None] * of_mean, factors[:, None] * of_raw])

    def log_density(self, vector, observation, u):
        """Of each step; what `score` is the gradient of."""
        mean, std = self.distribution(vector, observation)
        return (-0.5 * ((u - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)).sum(1)


class Statistics:
    """What observations have been so far, from all of them: mean 0 and deviation 1 before the first."""

    def __init__(self, size, seen=None):
        self.seen = np.zeros((0, size)) if seen is None else seen
        empty = len(self.seen) == 0
        self.mean = np.zeros(size) if empty else self.seen.mean(0)
        self.std = np.ones(size) if empty else np.clip(self.seen.std(0), 1e-6, 1e6)

    def after(self, observations):
        """The statistics after more of them."""
        return Statistics(self.seen.shape[1], np.concatenate([self.seen, *observations]))

    def standardise(self, observation):
        """The observation as the network sees it."""
        return np.clip((observation - self.mean) / self.std, -10, 10)
