"""Federated natural policy gradient on a graph, after Yang, Cen, Wei, Chen & Chi (2023)."""

from nigt_jax.related.fednpg._linear import Linear, Sample, draw_sample, learnt, linear_step, log_linear
from nigt_jax.related.fednpg._softmax import Softmax, begin_softmax, mean_policy, softmax_step
from nigt_jax.related.fednpg._system import Fednpg
from nigt_jax.related.fednpg._world import World, action_values, grid_world, optimum, state_values

__all__ = [
    "Fednpg",
    "Linear",
    "Sample",
    "Softmax",
    "World",
    "action_values",
    "begin_softmax",
    "draw_sample",
    "grid_world",
    "learnt",
    "linear_step",
    "log_linear",
    "mean_policy",
    "optimum",
    "softmax_step",
    "state_values",
]
