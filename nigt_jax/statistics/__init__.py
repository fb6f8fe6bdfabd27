"""What is said of runs: areas and times of one curve, and with what confidence several seeds show it. Needs no JAX."""

from nigt_jax.statistics._bootstrap import Interval, interval, stratified
from nigt_jax.statistics._curve import Curve, area, common_end, time_to, value_at
from nigt_jax.statistics._runs import band, interquartile_mean, probability_of_improvement

__all__ = [
    "Curve",
    "Interval",
    "area",
    "band",
    "common_end",
    "interquartile_mean",
    "interval",
    "probability_of_improvement",
    "stratified",
    "time_to",
    "value_at",
]
