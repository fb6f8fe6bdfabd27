"""Environment steps a second in training by REINFORCE in PyTorch, on Gymnasium's MuJoCo environments.

What one writes without an accelerator: processes that play episodes, each with a handful of environments that share a
forward pass, and a parent that computes the gradient from all of them. The policy and the update are like ours: two
tanh layers, mean and deviation, a step of fixed length along an average of gradients. Every step counts: an environment
whose episode ends begins the next one.

PyTorch and Gymnasium are in a Python environment of their own, whose interpreter environment.py prints:

    $(python bench/rivals/environment.py) bench/rivals/gymnasium_torch.py
"""

import contextlib
import json
import math
import os
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
import torch.multiprocessing
from _figures import Lap, arguments, cpu, figures

ENVIRONMENTS = {
    "hopper": "Hopper-v5",
    "walker2d": "Walker2d-v5",
    "halfcheetah": "HalfCheetah-v5",
    "ant": "Ant-v5",
    "humanoid": "Humanoid-v5",
    "reacher": "Reacher-v5",
}
MIN_STD, DISCOUNT, MOMENTUM, STEP = 1e-3, 0.99, 0.9, 0.0625


class Episodes(NamedTuple):
    """Steps of whole episodes, one after the other, each in order of time.

    Attributes:
      observation: [steps, observation], before standardisation.
      pre_tanh: [steps, action], the sample.
      reward: [steps].
      length: [episodes].
    """

    observation: np.ndarray
    pre_tanh: np.ndarray
    reward: np.ndarray
    length: np.ndarray


class Policy(torch.nn.Module):
    """A tanh MLP with a mean and a deviation, and the statistics that standardise observations."""

    def __init__(self, observations: int, actions: int, hidden: list[int]):
        super().__init__()
        widths = [observations, *hidden]
        layers = [[torch.nn.Linear(a, b), torch.nn.Tanh()] for a, b in zip(widths, hidden, strict=False)]
        self.body = torch.nn.Sequential(*(layer for pair in layers for layer in pair))
        self.heads = torch.nn.Linear(widths[-1], 2 * actions)
        torch.nn.init.normal_(self.heads.weight, std=0.1 / math.sqrt(widths[-1]))
        torch.nn.init.zeros_(self.heads.bias)
        self.register_buffer("shift", torch.zeros(observations))
        self.register_buffer("scale", torch.ones(observations))

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation of the action before tanh."""
        seen = ((observation - self.shift) * self.scale).clamp(-10, 10)
        mean, std = self.heads(self.body(seen)).chunk(2, -1)
        return mean, torch.nn.functional.softplus(std) + MIN_STD


def main() -> None:
    """Trains, and prints the figures."""
    parser = arguments(__doc__, repeats=6, warm_up=6)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that play episodes")
    parser.add_argument("--lanes", type=int, default=8, help="environments of each worker, in one forward pass")
    parser.add_argument("--batch-size", type=int, default=2048, help="episodes in a round")
    args = parser.parse_args()
    began = time.perf_counter()
    torch.set_num_threads(args.workers)
    name = ENVIRONMENTS[args.env]
    with gymnasium.make(name) as env:
        policy = Policy(env.observation_space.shape[0], env.action_space.shape[0], args.hidden)
    policy.share_memory()  # a step of the parent's is a step of the workers'
    pipes = [start(i, policy, name, args.horizon, args.lanes) for i in range(args.workers)]
    trainer = Trainer(policy, pipes, args.batch_size // args.workers)
    first, ready = trainer.round(), time.perf_counter() - began
    laps = [first, *(trainer.round() for _ in range(args.warm_up + args.repeats - 1))]
    starting = ready - laps[:2][-1].seconds  # the second round is as long as the first, but for processes that start
    packages = ("torch", "gymnasium", "mujoco")
    print(json.dumps(figures("gymnasium and torch", args, laps[args.warm_up :], cpu(), packages, starting)))


def start(worker: int, policy: Policy, name: str, horizon: int, lanes: int) -> Connection:
    """A process that plays as many episodes as it is sent, until nobody listens."""
    context = torch.multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=work, args=(there, worker, policy, name, horizon, lanes), daemon=True).start()
    return here


def work(pipe: Connection, worker: int, policy: Policy, name: str, horizon: int, lanes: int) -> None:
    """What that process does."""
    torch.set_num_threads(1)
    torch.manual_seed(worker)
    envs = [gymnasium.make(name, max_episode_steps=horizon, disable_env_checker=True) for _ in range(lanes)]
    for i, env in enumerate(envs):
        env.reset(seed=worker * lanes + i)
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(play(policy, envs, pipe.recv()))


@torch.inference_mode()
def play(policy: Policy, envs: list[Any], episodes: int) -> Episodes:
    """Plays so many episodes. They are begun in order, so that short ones are no more likely than they should be."""
    seats, playing = envs[:episodes], list(range(min(len(envs), episodes)))
    begun, steps = len(seats), []
    now = np.stack([env.reset()[0] for env in seats]).astype(np.float32)
    while seats:
        pre_tanh = torch.normal(*policy(torch.from_numpy(now)))
        actions = pre_tanh.tanh().numpy()
        after, reward, ended = np.empty_like(now), np.empty(len(seats), np.float32), []
        for i, env in enumerate(seats):
            after[i], reward[i], terminated, truncated, _ = env.step(actions[i])
            if terminated or truncated:
                ended.append(i)
        steps.append((now, pre_tanh.numpy(), reward, np.array(playing)))
        for i in reversed(ended):
            if begun < episodes:
                after[i], playing[i], begun = seats[i].reset()[0], begun, begun + 1
            else:
                del playing[i], seats[i]
                after = np.delete(after, i, axis=0)
        now = after
    observation, sample, reward, episode = map(np.concatenate, zip(*steps, strict=True))
    order = np.argsort(episode, kind="stable")
    return Episodes(observation[order], sample[order], reward[order], np.bincount(episode))


class Trainer:
    """Rounds: episodes from the workers, the gradient, a step of fixed length along the average of gradients."""

    def __init__(self, policy: Policy, pipes: list[Connection], episodes: int):
        self._policy, self._pipes, self._episodes = policy, pipes, episodes
        self._direction = [torch.zeros_like(p) for p in policy.parameters()]
        self._seen, self._sum, self._squares = 0, 0.0, 0.0

    def round(self) -> Lap:
        """One of them."""
        started = time.perf_counter()
        for pipe in self._pipes:
            pipe.send(self._episodes)
        batch = Episodes(*map(np.concatenate, zip(*(pipe.recv() for pipe in self._pipes), strict=True)))
        self._ascend(batch)
        self._observe(batch.observation.astype(np.float64))
        return Lap(len(batch.reward), time.perf_counter() - started)

    def _ascend(self, batch: Episodes) -> None:
        mean, std = self._policy(torch.from_numpy(batch.observation))
        density = torch.distributions.Normal(mean, std, validate_args=False).log_prob(torch.from_numpy(batch.pre_tanh))
        objective = (density.sum(-1) * torch.from_numpy(advantages(batch))).sum() / len(batch.length)
        params = list(self._policy.parameters())
        gradients = torch.autograd.grad(objective, params)
        for direction, gradient in zip(self._direction, gradients, strict=True):
            direction.lerp_(gradient, 1 - MOMENTUM)
        length = torch.nn.utils.get_total_norm(self._direction).item()
        with torch.no_grad():
            for param, direction in zip(params, self._direction, strict=True):
                param.add_(direction, alpha=STEP / length)

    def _observe(self, observation: np.ndarray) -> None:
        self._seen += len(observation)
        self._sum = self._sum + observation.sum(0)
        self._squares = self._squares + (observation**2).sum(0)
        mean = self._sum / self._seen
        std = np.sqrt(np.maximum(self._squares / self._seen - mean**2, 1e-12))
        self._policy.shift.copy_(torch.from_numpy(mean))
        self._policy.scale.copy_(torch.from_numpy(1 / std))


def advantages(batch: Episodes) -> np.ndarray:
    """Discounted reward from each step on, less its mean over the episodes that reach the step; float32[steps]."""
    time_of = np.concatenate([np.arange(n) for n in batch.length])
    episode = np.repeat(np.arange(len(batch.length)), batch.length)
    reward = np.zeros((len(batch.length), batch.length.max()))
    reward[episode, time_of] = DISCOUNT**time_of * batch.reward
    to_go = np.cumsum(reward[:, ::-1], axis=1)[:, ::-1][episode, time_of]
    mean = np.bincount(time_of, to_go) / np.bincount(time_of)
    return (to_go - mean[time_of]).astype(np.float32)


if __name__ == "__main__":
    main()
