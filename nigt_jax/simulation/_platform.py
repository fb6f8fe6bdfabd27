"""Where clocks run."""

import jax

from nigt_jax.cache import keep_compiled_programs


def use_cpu(keep_programs: bool) -> None:
    """Has JAX run on the CPU and in 32 bits, whatever else there is: clocks are small.

    Has to come before JAX looks for devices.

    Args:
      keep_programs: keep what is compiled in the user's cache folder, where training keeps it, for the next start.
    """
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", False)
    if keep_programs:
        keep_compiled_programs()
