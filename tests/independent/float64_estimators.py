"""The four estimators in NumPy float64: episodes are a list, each with arrays of its own length."""

import dataclasses

import numpy as np
from float64_policy import Network


@dataclasses.dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes:
      observation: before each action, [steps, numbers].
      u: the action before tanh, [steps, actions].
      reward: of each step.
    """

    observation: np.ndarray
    u: np.ndarray
    reward: np.ndarray


def to_go(reward, discount):
    """Sum over h >= t of discount^(h-t) reward_h, term by term."""
    return np.array([sum(discount ** (h - t) * reward[h] for h in range(t, len(reward))) for t in range(len(reward))])


def policy_gradient(episodes, discount):
    """Eq. (3): the factor of step t is sum over h >= t of discount^h reward_h."""
    powers = [discount ** np.arange(len(e.reward)) for e in episodes]
    return [np.cumsum((p * e.reward)[::-1])[::-1] for p, e in zip(powers, episodes, strict=True)]


def return_to_go(episodes, discount):
    """The same, discounted from the time of the action."""
    return [to_go(e.reward, discount) for e in episodes]


def leave_one_out(episodes, discount):
    """Less the mean of all other episodes' at the same time; who has ended has nothing to come."""
    own = return_to_go(episodes, discount)
    if len(episodes) == 1:
        return own
    table = np.zeros((len(own), max(map(len, own))))
    for row, factors in zip(table, own, strict=True):
        row[: len(factors)] = factors
    return [f - np.delete(table, k, axis=0).mean(0)[: len(f)] for k, f in enumerate(own)]


@dataclasses.dataclass
class Critic:
    """A learnt value of what has been observed, at a time of the episode.

    Attributes:
      vector: its parameters.
      observations: numbers that are observed.
      scale: what it counts in: the root mean square of the first returns that it learnt from; 0 before.
      moments: Adam's running means of the gradient and of its square.
      steps: that Adam has made.
    """

    vector: np.ndarray
    observations: int
    horizon: int
    scale: float = 0.0
    moments: tuple = (0.0, 0.0)
    steps: int = 0

    @property
    def network(self):
        """Two layers of 64, and one number."""
        return Network(self.observations + 1, (64, 64), (1,))

    def inputs(self, episode, statistics):
        """What it sees of each step: the observation and how much of the horizon has passed."""
        time = np.arange(len(episode.reward))[:, None] / self.horizon
        return np.concatenate([statistics.standardise(episode.observation), time], axis=1)

    def values(self, episode, statistics):
        """Of every step."""
        return self.scale * self.network.forward(self.vector, self.inputs(episode, statistics))[1][0][:, 0]

    def learn(self, episodes, statistics, discount, steps, learning_rate):
        """The critic after so many steps of Adam down the mean squared error to the discounted returns."""
        x = np.concatenate([self.inputs(e, statistics) for e in episodes])
        target = np.concatenate(return_to_go(episodes, discount))
        scale = self.scale if self.scale > 0 else np.sqrt((target**2).mean())
        after = dataclasses.replace(self, scale=scale)
        for _ in range(steps):
            error = after.network.forward(after.vector, x)[1][0] - (target / scale)[:, None]
            after = after._adam(self.network.backward(after.vector, x, [2 * error / len(x)]), learning_rate)
        return after

    def _adam(self, gradient, learning_rate):
        count, (first, second) = self.steps + 1, self.moments
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        move = first / (1 - 0.9**count) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)
        vector = self.vector - learning_rate * move
        return dataclasses.replace(self, vector=vector, moments=(first, second), steps=count)


def gae(episodes, discount, decay, critic, statistics):
    """Sum over l of (discount decay)^l delta_(t+l), delta_t = r_t + discount V_(t+1) - V_t; V is 0 after the end."""
    found = []
    for episode in episodes:
        values = np.append(critic.values(episode, statistics), 0.0)
        found.append(to_go(episode.reward + discount * values[1:] - values[:-1], discount * decay))
    return found
