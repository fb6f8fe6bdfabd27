"""Train, look on, evaluate, save: what the command line does, in Python."""

import nigt_jax

config = nigt_jax.load_config(
    overrides={
        "environment": {"name": "inverted_pendulum", "backend": "generalized", "horizon": 300},
        "method": {"name": "rennala_nigt", "batch_size": 20, "learning_rate": 0.03, "learning_rate_half_life": 100},
        "workers": {"count": 10},
        "training": {"iterations": 100},
        "evaluation.every": 25,
    },
)


def look(progress):
    """Called after every chunk of rounds."""
    if "return_mean" in progress:
        print(f"round {progress['iteration']}: return {progress['return_mean']:.1f}")


if __name__ == "__main__":
    nigt_jax.train(config, "runs/in-python", progress=look)
    print(nigt_jax.evaluate("runs/in-python", episodes=64, noise=False)["return_mean"], "without noise")
    policy = nigt_jax.export("runs/in-python", "policies/in-python")
    print(policy.mode([0.0, 0.05, 0.0, 0.0]))
