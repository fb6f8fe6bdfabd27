"""A policy that was trained in Brax, exported, and evaluated in Gymnasium's MuJoCo: NumPy, and no JAX.

nigt export runs/mine --output policies/mine
python gymnasium_policy.py policies/mine InvertedPendulum-v5      # pip install "gymnasium[mujoco]"
"""

import importlib.util
import sys
from pathlib import Path

import gymnasium
import numpy as np


def main(folder, name, episodes=5):
    """Prints the return of every episode."""
    spec = importlib.util.spec_from_file_location("policy", Path(folder) / "policy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    policy, environment = module.Policy(folder), gymnasium.make(name)
    low, high = environment.action_space.low, environment.action_space.high
    for seed in range(episodes):
        observation, _ = environment.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            action = policy.mode(observation.astype(np.float32))  # in [-1, 1]
            observation, reward, ended, cut, _ = environment.step(low + (action + 1) / 2 * (high - low))
            total, over = total + float(reward), ended or cut
        print(f"episode {seed}: return {total:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
