"""The runtime of one program on the devices of several processes: one leads, and tells the others what to compute."""

from nigt_jax.runtimes.lockstep._follow import follow
from nigt_jax.runtimes.lockstep._join import join, number_of_processes
from nigt_jax.runtimes.lockstep._runtime import LockstepRuntime

__all__ = ["LockstepRuntime", "follow", "join", "number_of_processes"]
