"""The runtime of real workers, on Ray; imported only where it is asked for."""

from nigt_jax.runtimes.cluster._runtime import RayRuntime

__all__ = ["RayRuntime"]
