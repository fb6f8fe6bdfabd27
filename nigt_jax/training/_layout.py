"""Which episode stands where: a round's gradients laid out in places, which devices and lanes then share."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Num

from nigt_jax.clocks import Round
from nigt_jax.config import COUNTABLE


class Places(NamedTuple):
    """What is in some places.

    Attributes:
      episode: its number in the round, which decides its randomness; counted ones have the same in every layout.
      worker: number of the worker that it belongs to.
      played: whether there is an episode.
      counted: whether it counts.
    """

    episode: Int[Array, " lanes"]
    worker: Int[Array, " lanes"]
    played: Bool[Array, " lanes"]
    counted: Bool[Array, " lanes"]


def packed(counted: Round, each: int, place: Int[Array, " lanes"]) -> Places:
    """What counts and nothing else, worker by worker, without gaps; `each` episodes a gradient."""
    last_of_worker = jnp.cumsum(counted.counts) * each
    worker = jnp.searchsorted(last_of_worker, place, side="right")
    there = place < last_of_worker[-1]
    return Places(place, jnp.minimum(worker, counted.counts.size - 1), there, there)


def packed_size(counted: Round, each: int) -> Num[Array, ""]:
    """Number of places of the packed layout."""
    return jnp.sum(counted.counts, dtype=counted.counts.dtype) * each


def masked(counted: Round, each: int, place: Int[Array, " lanes"]) -> Places:
    """The literal form: all that workers began is played, and what is discarded counts for nothing."""
    row = jnp.max(counted.counts + counted.discarded) * each
    worker, slot = jnp.minimum(place // row, counted.counts.size - 1), place % row
    own = counted.counts * each
    before = (jnp.cumsum(own) - own)[worker]
    there = place < masked_size(counted, each)
    counts = there & (slot < own[worker])
    begun = there & (slot < ((counted.counts + counted.discarded) * each)[worker])
    return Places(jnp.where(counts, before + slot, own.sum() + place), worker, begun, counts)


def masked_size(counted: Round, each: int) -> Num[Array, ""]:
    """Number of places of the masked layout: a rectangle of workers and the most gradients that one has begun."""
    return counted.counts.size * jnp.max(counted.counts + counted.discarded) * each


LAYOUTS = {"packed": (packed, packed_size), "masked": (masked, masked_size)}


def can_be_numbered(layout: str, counted: Round, each: int) -> Bool[Array, ""]:
    """Whether an int32 can number the round's places, those that fill up its last block included."""
    real = lambda x: x.astype(jnp.float32)
    rough = counted._replace(counts=real(counted.counts), discarded=real(counted.discarded))
    return LAYOUTS[layout][1](rough, each) <= COUNTABLE
