"""A trained policy without JAX: NumPy and this file, policy.json and policy.npz in one folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np


class Policy:
    """Acts on observations of shape [*batch, obs].

    Actions have shape [*batch, action] and lie in [-1, 1]; or they are whole numbers of shape [*batch], where the
    policy chooses one of n.
    """

    def __init__(self, folder: str | Path = Path(__file__).parent):
        self.about = json.loads((Path(folder) / "policy.json").read_text(encoding="utf-8"))
        self.discrete = self.about["distribution"] == "categorical"
        with np.load(Path(folder) / "policy.npz", allow_pickle=False) as arrays:
            self.arrays = dict(arrays)

    def distribution(self, observation: Any) -> tuple[Any, ...]:
        """Mean and deviation of the action before tanh; or the logits of n actions."""
        a, x = self.arrays, np.asarray(observation, np.float32)
        if self.about["normalize"]:
            most = self.about["clip"]
            x = np.clip((x - a["observation_mean"]) / a["observation_std"], -most, most)
        for k in range(len(self.about["hidden_sizes"])):
            x = np.tanh(x @ a[f"hidden{k}_kernel"] + a[f"hidden{k}_bias"])
        if self.discrete:
            return (x @ a["logits_kernel"] + a["logits_bias"],)
        deviation = np.logaddexp(x @ a["std_kernel"] + a["std_bias"], 0) + self.about["min_std"]
        return x @ a["mean_kernel"] + a["mean_bias"], deviation

    def mode(self, observation: Any) -> Any:
        """The action without noise."""
        first = self.distribution(observation)[0]
        return first.argmax(-1) if self.discrete else np.tanh(first)

    def act(self, observation: Any, rng: np.random.Generator) -> Any:
        """A draw of the stochastic policy, by a generator such as np.random.default_rng(0)."""
        first, *deviation = self.distribution(observation)
        if self.discrete:  # the largest of logits with Gumbel's noise is a draw of their softmax
            return (first + rng.gumbel(size=first.shape)).argmax(-1)
        return np.tanh(first + deviation[0] * rng.standard_normal(first.shape))
