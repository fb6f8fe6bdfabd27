"""nigt as a drop-in optimiser of a Flax NNX loop: two lines differ from a loop with optax.adam."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import nigt_jax


class Network(nnx.Module):
    """One hidden layer."""

    def __init__(self, rngs):
        self.first = nnx.Linear(1, 32, rngs=rngs)
        self.last = nnx.Linear(32, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(jnp.tanh(self.first(x)))


def loss(model, x, y):
    """Mean squared error."""
    return jnp.mean((model(x) - y) ** 2)


@nnx.jit
def step(model, optimizer, x, y):
    """One update. Between updates the model's parameters are the query point."""
    optimizer.update(model, nnx.grad(loss)(model, x, y))


def main():
    """Fits a sine, then takes the iterate out of the optimiser's state."""
    model, steps = Network(nnx.Rngs(0)), 400
    tx = nigt_jax.nigt(optax.cosine_decay_schedule(0.1, steps), momentum=0.9)  # in the place of optax.adam(...)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    for key in jax.random.split(jax.random.key(0), steps):
        x = jax.random.uniform(key, (64, 1), minval=-3.0, maxval=3.0)
        step(model, optimizer, x, jnp.sin(x))
    params = nnx.state(model, nnx.Param)
    nnx.update(model, nigt_jax.nigt_eval_params(*nnx.as_pure((optimizer.opt_state, params))))  # evaluated and shipped
    x = jnp.linspace(-3, 3, 100)[:, None]
    print(f"mean squared error {loss(model, x, jnp.sin(x)):.4f}")


if __name__ == "__main__":
    main()
