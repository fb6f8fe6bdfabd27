"""Whole runs in NumPy float64, as the specification tells them, on the clocks in exact rationals.

Of the package there is the start of each episode and the noise of its actions: what it plays from the keys of a run at
the oracle's own query points. Everything else, from there to the next query point, is computed here.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import float64_estimators as estimators
import numpy as np
from exact_rounds import play
from float64_policy import Policy, Statistics
from told_ringleader import Leader


@dataclasses.dataclass
class Nigt:
    """Normalised momentum with implicit gradient transport; `weight` is eta, that of the newest gradient."""

    theta: np.ndarray
    weight: float
    step: Callable
    direction: Any = None
    updates: int = 0

    def __post_init__(self):
        self.query = self.theta

    def absorb(self, g):
        """One step."""
        eta = self.weight
        self.direction = g if self.direction is None else (1 - eta) * self.direction + eta * g
        before = self.theta
        self.theta = before + self.step(self.updates) * self.direction / np.linalg.norm(self.direction)
        self.query = self.theta + (1 - eta) / eta * (self.theta - before)
        self.updates += 1


@dataclasses.dataclass
class Agnostic(Nigt):
    """The same where the number of the update says it all; its step and its `weight` are those of the first."""

    def absorb(self, g):
        """One step."""
        k = self.updates + 1
        eta, following = self.weight / math.sqrt(k), self.weight / math.sqrt(k + 1)
        self.direction = g if self.direction is None else (1 - eta) * self.direction + eta * g
        before, length = self.theta, self.step(self.updates) / k**0.75
        self.theta = before + length * self.direction / np.linalg.norm(self.direction)
        self.query = self.theta + (1 - following) / following * (self.theta - before)
        self.updates += 1


@dataclasses.dataclass
class Igt(Nigt):
    """The same without its normalisation."""

    def absorb(self, g):
        """One step."""
        eta = self.weight
        self.direction = g if self.direction is None else (1 - eta) * self.direction + eta * g
        before = self.theta
        self.theta = before + self.step(self.updates) * self.direction
        self.query = self.theta + (1 - eta) / eta * (self.theta - before)
        self.updates += 1


@dataclasses.dataclass
class AtTheIterate(Nigt):
    """The same without its extrapolation: gradients are taken at the iterate."""

    def absorb(self, g):
        """One step."""
        super().absorb(g)
        self.query = self.theta


@dataclasses.dataclass
class AgnosticAtTheIterate(AtTheIterate, Agnostic):
    """As published."""


@dataclasses.dataclass
class Harpg(Nigt):
    """Normalised momentum that is moved by `change`, what is known of how the gradient has; no extrapolation."""

    last_step: Any = 0.0

    def absorb(self, g, change):
        """One step."""
        eta = self.weight
        self.direction = g if self.direction is None else (1 - eta) * (self.direction + change) + eta * g
        self.last_step = self.step(self.updates) * self.direction / np.linalg.norm(self.direction)
        self.theta = self.query = self.theta + self.last_step
        self.updates += 1


@dataclasses.dataclass
class Plain(Nigt):
    """Plain ascent; what is sent is the iterate."""

    def absorb(self, g):
        """One step."""
        self.theta = self.query = self.theta + self.step(self.updates) * g
        self.updates += 1


@dataclasses.dataclass
class Run:
    """What a run is made of.

    Attributes:
      policy: the oracle's.
      server: Nigt or Plain.
      estimator: a name.
      discount: of the estimator.
      episodes: (query point, statistics, number of the round or update, how many) to episodes.
      each: episodes averaged into a gradient.
      normalize: whether observations are standardised by what they have been so far.
      critic: of gae.
      learning: how it learns, and the lambda of gae as `decay`.
      again: of Harpg: (query point, last step, statistics, number of the round, how many) to a point between, and
        episodes there.
    """

    policy: Policy
    server: Nigt
    estimator: str
    discount: float
    episodes: Callable
    each: int = 1
    normalize: bool = True
    critic: Any = None
    learning: dict = dataclasses.field(default_factory=dict)
    again: Any = None

    def factors(self, episodes, statistics):
        """Of each step of each episode."""
        if self.estimator == "gae":
            return estimators.gae(episodes, self.discount, self.learning["decay"], self.critic, statistics)
        return getattr(estimators, self.estimator)(episodes, self.discount)

    def score(self, vector, statistics, episode, factors):
        """The gradient that one episode is."""
        return self.policy.score(vector, statistics.standardise(episode.observation), episode.u, factors)

    def change(self, vector, step, statistics, episode, factors):
        """How that changes along a step; the score's own derivative by central differences."""
        ones, small = np.ones_like(factors), 1e-5
        score = functools.partial(self.score, statistics=statistics, episode=episode)
        bent = (score(vector + small * step, factors=factors) - score(vector - small * step, factors=factors)) / small
        return np.sum(score(vector, factors=ones) * step) * score(vector, factors=factors) + bent / 2

    def seen(self, statistics, episodes):
        """The statistics after some episodes."""
        return statistics.after([e.observation for e in episodes]) if self.normalize else statistics

    def learnt(self, critic, episodes, statistics):
        """The critic after some episodes."""
        if critic is None:
            return None
        how = {name: self.learning[name] for name in ("steps", "learning_rate")}
        return critic.learn(episodes, statistics, self.discount, **how)


def by_rounds(run, rule, rounds, sizes, block, clock):
    """What every round reports.

    Args:
      run: a Run.
      rule: of the rounds.
      rounds: how many.
      sizes: M of the first round and of all others.
      block: episodes that are compared, and learnt from, together.
      clock: the other arguments of exact_rounds.play.

    Yields:
      A dict a round; `theta` and `query` are those after it.
    """
    statistics = Statistics(run.policy.network.inputs)
    for number, (played, _, after) in enumerate(play(rounds, rule, sizes, **clock)):
        server, n = run.server, len(played.counts)
        owner = np.repeat(np.arange(n), np.array(played.counts) * run.each)
        episodes = run.episodes(server.query, statistics, number, len(owner))
        gradient, critic, news = np.zeros_like(server.theta), run.critic, ()
        for first in range(0, len(episodes), block):
            own = episodes[first : first + block]
            for i, episode, factors in zip(owner[first:], own, run.factors(own, statistics), strict=False):
                share = n * played.counts[i] if rule == "malenia" else sum(played.counts)
                gradient += run.score(server.query, statistics, episode, factors) / (share * run.each)
            critic = run.learnt(critic, own, statistics)
        others = []
        if run.again is not None:
            point, others = run.again(server.query, server.last_step, statistics, number, len(owner))
            changes = []
            for first in range(0, len(others), block):
                own = others[first : first + block]
                for episode, factors in zip(own, run.factors(own, statistics), strict=True):
                    changes.append(run.change(point, server.last_step, statistics, episode, factors))
            news = (np.mean(changes, axis=0),)
        run.critic = critic
        statistics = run.seen(statistics, episodes)
        server.absorb(gradient, *news)
        yield {
            "gradients": sum(played.counts),
            "discarded": sum(played.discarded),
            "communications": 1,
            "delay": 0,
            "env_steps": sum(len(e.reward) for e in [*episodes, *others]),
            "time": after,
            "query_return_mean": np.mean([e.reward.sum() for e in episodes]),
            "gradient_norm": np.linalg.norm(gradient),
            "theta": server.theta,
            "query": server.query,
        }


def by_arrivals(run, updates, tolerated, arrivals, workers):
    """What every update reports; every worker computes with what it was sent when its last gradient had arrived.

    Args:
      run: a Run.
      updates: how many.
      tolerated: the number of an update, from 1, to the delay from which on a gradient is discarded.
      arrivals: an iterator of (worker, time).
      workers: how many.

    Yields:
      A dict an update; `discarded` are those that came since the update before.
    """
    statistics, update, lost = Statistics(run.policy.network.inputs), 0, 0
    sent = [(run.server.query, statistics, 0)] * workers
    for worker, time in arrivals:
        query, known, at = sent[worker]
        if update - at >= tolerated(update + 1):
            lost += 1
        else:
            episodes = run.episodes(query, known, update, run.each)
            scores = [run.score(query, known, *own) for own in zip(episodes, run.factors(episodes, known), strict=True)]
            gradient = np.mean(scores, axis=0)
            run.server.absorb(gradient)
            statistics = run.seen(statistics, episodes)
            yield {
                "gradients": 1,
                "discarded": lost,
                "communications": 1 + lost,
                "delay": update - at,
                "env_steps": sum(len(e.reward) for e in episodes),
                "time": time,
                "query_return_mean": np.mean([e.reward.sum() for e in episodes]),
                "gradient_norm": np.linalg.norm(gradient),
                "theta": run.server.theta,
                "query": run.server.query,
            }
            update, lost = update + 1, 0
            if update == updates:
                return
        sent[worker] = (run.server.query, statistics, update)


def by_ringleader(run, updates, arrivals, workers):
    """What every update reports, of Ringleader's tables; arguments as above.

    A worker computes with what it was sent when its last gradient had arrived: a query point that has not moved while
    gradients are collected, and statistics of all that have arrived.
    """
    statistics, leader, update = Statistics(run.policy.network.inputs), Leader(workers), 0
    sent, since = [(run.server.query, statistics, 0)] * workers, []
    for serial, (worker, time) in enumerate(arrivals):
        query, known, at = sent[worker]
        episodes = run.episodes(query, known, serial, run.each)
        scores = [run.score(query, known, *own) for own in zip(episodes, run.factors(episodes, known), strict=True)]
        statistics = run.seen(statistics, episodes)
        since.append(episodes)
        table = leader.arrive(worker, (np.mean(scores, axis=0), at))
        if table is not None:
            gradient = np.mean([np.mean([g for g, _ in entry], axis=0) for entry in table], axis=0)
            run.server.absorb(gradient)
            played = [episode for episodes in since for episode in episodes]
            yield {
                "gradients": len(since),
                "discarded": 0,
                "communications": len(since),
                "delay": update - min(at for entry in table for _, at in entry),
                "env_steps": sum(len(e.reward) for e in played),
                "time": time,
                "query_return_mean": np.mean([e.reward.sum() for e in played]),
                "gradient_norm": np.linalg.norm(gradient),
                "theta": run.server.theta,
                "query": run.server.query,
            }
            update, since = update + 1, []
            if update == updates:
                return
        sent[worker] = (run.server.query, statistics, update)
