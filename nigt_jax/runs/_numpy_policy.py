"""A trained policy without JAX: NumPy and this file, policy.json and policy.npz in one folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np


class Policy:
    """Acts on observations of shape [*batch, obs]; actions have shape [*batch, action] and lie in [-1, 1]."""

    def __init__(self, folder: str | Path = Path(__file__).parent):
        self.about = json.loads((Path(folder) / "policy.json").read_text(encoding="utf-8"))
        with np.load(Path(folder) / "policy.npz", allow_pickle=False) as arrays:
            self.arrays = dict(arrays)

    def distribution(self, observation: Any) -> tuple[Any, Any]:
        """Mean and deviation of the action before tanh."""
        a, x = self.arrays, np.asarray(observation, np.float32)
        if self.about["normalize"]:
            most = self.about["clip"]
            x = np.clip((x - a["observation_mean"]) / a["observation_std"], -most, most)
        for k in range(len(self.about["hidden_sizes"])):
            x = np.tanh(x @ a[f"hidden{k}_kernel"] + a[f"hidden{k}_bias"])
        deviation = np.logaddexp(x @ a["std_kernel"] + a["std_bias"], 0) + self.about["min_std"]
        return x @ a["mean_kernel"] + a["mean_bias"], deviation

    def mode(self, observation: Any) -> Any:
        """The action without noise."""
        return np.tanh(self.distribution(observation)[0])

    def act(self, observation: Any, rng: np.random.Generator) -> Any:
        """A draw of the stochastic policy, by a generator such as np.random.default_rng(0)."""
        mean, deviation = self.distribution(observation)
        return np.tanh(mean + deviation * rng.standard_normal(mean.shape))
