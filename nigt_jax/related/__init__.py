"""Systems of the same field that have no server, each small and exact, on the same clocks and run folders."""

from nigt_jax.related._compiled import Compiled
from nigt_jax.related._registry import make_system
from nigt_jax.related._run import SystemSummary, train
from nigt_jax.related._system import Counted, System

__all__ = ["Compiled", "Counted", "System", "SystemSummary", "make_system", "train"]
