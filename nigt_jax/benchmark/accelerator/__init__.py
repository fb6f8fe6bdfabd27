"""Everything that one wants to know of an accelerator, part by part; a file keeps each part as soon as it is done."""

from nigt_jax.benchmark.accelerator._file import open_figures
from nigt_jax.benchmark.accelerator._measure import measure_accelerator
from nigt_jax.benchmark.accelerator._parts import PARTS
from nigt_jax.benchmark.accelerator._sizes import Sizes, sizes_for

__all__ = ["PARTS", "Sizes", "measure_accelerator", "open_figures", "sizes_for"]
