"""Power control: radio links that disturb those beside them, and pay for power."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nigt_jax.config.systems import PowerLinks
from nigt_jax.related import graph
from nigt_jax.related.rec_marl.model import Model


class Radio(NamedTuple):
    """Links and what they hear.

    Attributes:
      neighbours: [i, k]: whether link i hears the transmitter of link k, its own among them.
      gains: [i, k]: gain from that transmitter to link i's receiver; 0 where it does not hear it.
      prices: of a unit of power.
      noise: power of the noise.
      powers: of every level.
    """

    neighbours: Bool[np.ndarray, "links links"]
    gains: Float[np.ndarray, "links links"]
    prices: Float[np.ndarray, " links"]
    noise: float
    powers: Float[np.ndarray, " levels"]


def make_radio(power: PowerLinks, links: int, rng: np.random.Generator) -> Radio:
    """That of the settings."""
    beside = graph.NAMED[power.graph](links)
    own = np.diag(rng.uniform(power.least_gain, power.most_gain, links))
    cross = np.where(beside, rng.uniform(power.least_cross_gain, power.most_cross_gain, beside.shape), 0.0)
    prices = rng.uniform(power.least_price, power.most_price, links)
    return Radio(beside | np.eye(links, dtype=bool), own + cross, prices, power.noise, np.linspace(0, 1, power.levels))


def power_model(radio: Radio) -> Model:
    """Levels of power, evenly distributed at first, which an action lowers by one, leaves, or raises by one."""
    links, levels = len(radio.prices), len(radio.powers)
    kernel = np.zeros((levels, 3, levels))
    for level in range(levels):
        for action in range(3):
            kernel[level, action, min(max(level + action - 1, 0), levels - 1)] = 1
    return Model(
        neighbours=radio.neighbours,
        actions=np.full(links, 3),
        first=np.full((links, levels), 1 / levels),
        kernel=np.broadcast_to(kernel, (links, *kernel.shape)),
        reward=lambda states, actions: utilities(radio, states),
        draw=lambda chances, expected: expected,
    )


def utilities(radio: Radio, levels: Int[Array, " links"]) -> Float[Array, " links"]:
    """Rates of links, in nats, less the price of their power: log(1 + G_ii p_i / (noise + interference)) - u_i p_i."""
    powers = jnp.asarray(radio.powers)[levels]
    signal = jnp.asarray(radio.gains.diagonal()) * powers
    interference = jnp.sum(jnp.asarray(radio.gains) * powers[None, :], axis=1) - signal
    return jnp.log1p(signal / (radio.noise + interference)) - jnp.asarray(radio.prices) * powers


def straight_to(target: Int[np.ndarray, " links"], levels: int) -> Float[np.ndarray, "links levels actions"]:
    """Policies by which every link goes to its level on the shortest way, and stays."""
    action = 1 + np.sign(target[:, None] - np.arange(levels))
    return np.eye(3)[action]
