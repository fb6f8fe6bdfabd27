"""Who would have finished what, when. Knows nothing of training."""

from nigt_jax.clocks._fixed import FixedTimes, power_law
from nigt_jax.clocks._rounds import (
    Round,
    malenia_round,
    malenia_round_at,
    rennala_round,
    rennala_round_at,
    synchronous_round,
    synchronous_round_at,
)
from nigt_jax.clocks._time import SimulatedTime, advance, time_zero, to_float

__all__ = [
    "FixedTimes",
    "Round",
    "SimulatedTime",
    "advance",
    "malenia_round",
    "malenia_round_at",
    "power_law",
    "rennala_round",
    "rennala_round_at",
    "synchronous_round",
    "synchronous_round_at",
    "time_zero",
    "to_float",
]
