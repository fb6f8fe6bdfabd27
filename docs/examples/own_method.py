"""A method of one's own: rounds like Rennala's, with Adam in the place of normalised momentum.

A method says who is counted (its schedule), and what is done with the mean (an optax transformation). Clocks, rollouts
and estimators stay what they are.
"""

import optax
from own_environment import Docking  # the file beside this one

import nigt_jax
from nigt_jax.methods import METHODS
from nigt_jax.runtimes import SimulatedRuntime

rennala = METHODS["rennala_nigt"]


def adam(hyperparameters):
    """The update, of traced hyperparameters: those of the section `method` of the configuration."""
    return optax.with_extra_args_support(optax.adam(hyperparameters.learning_rate, b1=0.8))


rennala_adam = rennala._replace(update=adam, model=lambda opt_state, sent: sent)


def train(method, rate):
    """Returns before and after 60 rounds."""
    settings = {"environment.horizon": 60, "policy.hidden_sizes": [32], "method.learning_rate": rate}
    settings |= {"method.batch_size": 20, "training.chunk": 60, "training.devices": 1}
    runtime = SimulatedRuntime(nigt_jax.load_config(overrides=settings), Docking(), method=method)
    state = runtime.initial_state()
    before = runtime.evaluate(state)[0]["return_mean"]
    state, _ = runtime.run(state, 60)
    return before, runtime.evaluate(state)[0]["return_mean"], float(runtime.simulated_time(state)[0])


if __name__ == "__main__":
    for name, method, rate in (("Rennala NIGT", rennala, 0.1), ("Rennala Adam", rennala_adam, 0.01)):
        before, after, time = train(method, rate)
        print(f"{name}: return {before:.1f} -> {after:.1f} in {time:.0f} units of simulated time")
