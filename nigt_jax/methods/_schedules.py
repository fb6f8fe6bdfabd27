"""Schedules that several methods share: when a round is over, and what each worker's gradients weigh in it."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from nigt_jax.clocks import Round, m_synchronous_rule, malenia_rule, rennala_rule, synchronous_rule
from nigt_jax.methods._method import Rounds


def _equally(counted: Round) -> Float[Array, " workers"]:
    """Every gradient weighs the same: the mean of all that were counted."""
    return jnp.ones(counted.counts.shape)


def _by_worker(counted: Round) -> Float[Array, " workers"]:
    """Every worker weighs the same: (1/n) sum_i S_i / M_i, without bias where workers' environments differ."""
    return 1 / (counted.counts.size * jnp.maximum(counted.counts, 1).astype(jnp.float32))


def _any(batch_size: int, workers: int) -> int:
    """One worker may compute the whole batch."""
    del workers
    return batch_size


def _even_share(batch_size: int, workers: int) -> int:
    return -(-batch_size // workers)


def _one(batch_size: int, workers: int) -> int:
    del batch_size, workers
    return 1


RENNALA = Rounds(rennala_rule, _equally, _any)
MALENIA = Rounds(malenia_rule, _by_worker, None)
SYNCHRONOUS = Rounds(synchronous_rule, _equally, _even_share)
M_SYNCHRONOUS = Rounds(m_synchronous_rule, _equally, _one)
