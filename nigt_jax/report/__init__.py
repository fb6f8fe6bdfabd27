"""Tables and pictures: what people see of numbers that other rooms have found."""

from nigt_jax.report._benchmark import show_benchmark
from nigt_jax.report._simulation import show_comparison
from nigt_jax.report._timeline import draw_timeline

__all__ = ["draw_timeline", "show_benchmark", "show_comparison"]
