"""Workers whose gradients and Fisher matrices are given, and rounds of a method that sees no others."""

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.estimators import WorkUnits
from nigt_jax.methods import METHODS, start, tell

DRAW = np.random.default_rng(3)
WORKERS, SIZE = 4, 3
FACTORS = DRAW.normal(size=(WORKERS, SIZE, SIZE))
FISHERS = FACTORS @ FACTORS.transpose(0, 2, 1) + 0.5 * np.eye(SIZE)
GRADIENTS = DRAW.normal(size=(WORKERS, SIZE))


class Fixed(WorkUnits):
    """Workers whose gradients and Fisher matrices are given, wherever the parameters are."""

    def gradients(self):
        return jnp.asarray(self.coefficients, jnp.float32)

    def fisher_matrices(self):
        return jnp.asarray(self.trajectories, jnp.float32)

    def fisher_vector_products(self, vectors):
        return jnp.einsum("wij,wj->wi", self.fisher_matrices(), vectors)


def played(section, rounds, fishers=FISHERS, gradients=GRADIENTS):
    """The server and what workers keep after every round, with a leading axis of rounds; the rounds are compiled."""
    method, number = METHODS[section.name], len(gradients)
    hyperparameters, side = method.hyperparameters(section), method.worker
    params = jnp.zeros(gradients.shape[1])
    kept = jax.tree.map(lambda x: jnp.broadcast_to(x, (number, *x.shape)), side.init(params, hyperparameters))
    work = Fixed(None, jnp.zeros(gradients.shape), None, fishers, gradients, jnp.ones(number, jnp.int32))

    def one(carry, _):
        server, kept = carry
        told = side.told(server)
        for contribute in side.exchanges(hyperparameters):
            sent, kept = contribute(kept, work, told, hyperparameters)
            told = sent.message.mean(0)
        last = side.beside(hyperparameters)
        beside = {} if last is None else jax.tree.map(lambda x: x.sum(0), last(work, told, hyperparameters))
        total, weight = sent.message.sum(0), jnp.float32(number)
        server, _ = tell(method, server, hyperparameters, total, weight, None, **beside)
        return (server, kept), (server, kept)

    first = (start(method, params, hyperparameters), kept)
    return jax.device_get(jax.jit(lambda carry: jax.lax.scan(one, carry, length=rounds)[1])(first))
