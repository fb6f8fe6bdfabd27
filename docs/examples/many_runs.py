"""Many runs in one program: seeds and step sizes side by side, on as many devices as there are."""

import numpy as np
from own_environment import Docking  # the file beside this one

import nigt_jax
from nigt_jax.runtimes import SimulatedRuntime


def main():
    """Three step sizes, each with four seeds."""
    base = {"environment.horizon": 60, "policy.hidden_sizes": [16]}
    base |= {"method.batch_size": 20, "training.chunk": 40, "training.devices": 1}
    rates, seeds = (0.02, 0.1, 0.5), range(4)
    runs = [
        nigt_jax.load_config(overrides=base | {"method.learning_rate": rate, "seed": seed})
        for rate in rates
        for seed in seeds
    ]
    runtime = SimulatedRuntime(runs[0], Docking(), runs=runs)
    state, _ = runtime.run(runtime.initial_state(), 40)
    returns = np.array([evaluation["return_mean"] for evaluation in runtime.evaluate(state)]).reshape(3, 4)
    for rate, row in zip(rates, returns, strict=True):
        print(f"step size {rate}: return {row.mean():.1f}, from {row.min():.1f} to {row.max():.1f}")


if __name__ == "__main__":
    main()
