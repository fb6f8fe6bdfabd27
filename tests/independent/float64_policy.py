"""The policy and its score in NumPy float64, by hand: no automatic differentiation.

Parameters are one flat vector, in the order of their names: for each layer its bias, then its kernel, row by row.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Network:
    """A tanh MLP; the policy's heads, or a critic's, are linear layers on its last hidden layer.

    Attributes:
      inputs: numbers that it sees.
      hidden: widths of the hidden layers.
      heads: widths of the linear layers, in the order of their names.
    """

    inputs: int
    hidden: tuple
    heads: tuple

    def layers(self, vector):
        """(bias, kernel) of the hidden layers, and of the heads."""
        sizes = list(zip((self.inputs, *self.hidden), self.hidden, strict=False))
        found, at = [], 0
        for before, after in sizes + [(self.hidden[-1], out) for out in self.heads]:
            bias, kernel = vector[at : at + after], vector[at + after : at + after + before * after]
            found.append((bias, kernel.reshape(before, after)))
            at += after + before * after
        assert at == len(vector)
        return found[: len(self.hidden)], found[len(self.hidden) :]

    def forward(self, vector, x):
        """What each hidden layer sees, and the heads, and what the heads give; x is [steps, inputs]."""
        hidden, heads = self.layers(vector)
        seen = [x]
        for bias, kernel in hidden:
            seen.append(np.tanh(seen[-1] @ kernel + bias))
        return seen, [seen[-1] @ kernel + bias for bias, kernel in heads]

    def backward(self, vector, x, upstream):
        """The gradient of sum(upstream * heads), like the vector; upstream has one array a head."""
        hidden, heads = self.layers(vector)
        seen, _ = self.forward(vector, x)
        parts = [(up, seen[-1]) for up in upstream]
        back = sum(up @ kernel.T for up, (_, kernel) in zip(upstream, heads, strict=True))
        for (_, kernel), before, after in zip(hidden[::-1], seen[-2::-1], seen[:0:-1], strict=True):
            back = back * (1 - after**2)
            parts.insert(0, (back, before))
            back = back @ kernel.T
        return np.concatenate([part for up, before in parts for part in (up.sum(0), (before.T @ up).ravel())])


@dataclasses.dataclass(frozen=True)
class Policy:
    """u ~ N(mean, deviation^2), the deviation through a softplus, plus the least one."""

    network: Network
    min_std: float = 1e-3

    def distribution(self, vector, observation):
        """Mean and deviation."""
        mean, raw = self.network.forward(vector, observation)[1]
        return mean, np.logaddexp(0, raw) + self.min_std

    def score(self, vector, observation, u, factors):
        """The gradient of sum_t factors_t log N(u_t; mean_t, deviation_t^2)."""
        mean, raw = self.network.forward(vector, observation)[1]
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
