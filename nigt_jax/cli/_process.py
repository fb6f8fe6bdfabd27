"""What the command line sets for its whole process before JAX is used. The library leaves all of this alone."""

import logging
import os
import sys
from typing import Any

import jax

from nigt_jax.cache import keep_compiled_programs
from nigt_jax.config import Config, LockstepRuntimeConfig
from nigt_jax.records import code_of

_WORTH_KEEPING = 0.1  # seconds of compilation; JAX's default of one would be more than any program of the clocks takes


def prepare(config: Config, resume: bool = False) -> None:
    """Sets up the process for a run.

    A CPU becomes as many devices as the run asks for, or as it has cores. JAX keeps compiled programs in the user's
    cache folder where ``training.compilation_cache`` says so. Code that the configuration names is looked for in the
    current folder, too. What libraries report of what went as planned is not shown.

    Args:
      config: the run's configuration.
      resume: whether the run has begun; its configuration then has the number of devices that it had.
    """
    from nigt_jax.runtimes import cpu_cores, number_of_processes, split_cpu  # with the physics, which clocks do without

    if code_of(config):
        look_here()
    asked = config.training.devices
    if isinstance(config.runtime, LockstepRuntimeConfig):
        here = cpu_cores() // (config.runtime.processes or 1)  # a scheduler's processes have cores of their own
        split_cpu(max(1, here if asked == "auto" else asked // number_of_processes(config)))
    else:
        split_cpu(cpu_cores() if asked == "auto" else max(asked, cpu_cores()) if resume else asked)
    quiet()
    if config.training.compilation_cache:
        keep_compiled_programs()


def look_here() -> None:
    """Modules are found in the current folder, as `python -m` has it; the command has its own folder there."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)


def quiet() -> None:
    """Libraries keep to themselves what a user of a command can do nothing about.

    Orbax tells at length of what went as planned; Matplotlib warns where there is no home to keep its cache in; Ray
    says that it uses a token.
    """
    for name in ("matplotlib", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # what Orbax cannot read it raises as well
    if sys.unraisablehook is sys.__unraisablehook__:  # tests have their own
        sys.unraisablehook = _without_late_answers


def _without_late_answers(lost: Any) -> None:
    """Shows an error that nobody could catch, but for answers that come after nobody waits for them any more.

    Where one array of a checkpoint cannot be read, Orbax ends its event loop, and those that read others complain.
    """
    if not (lost.exc_type is RuntimeError and str(lost.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(lost)


def use_cpu(keep_programs: bool) -> None:
    """Has JAX run on the CPU and in 32 bits, whatever else there is: clocks are small.

    Args:
      keep_programs: whether to keep compiled programs where training keeps them.
    """
    quiet()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", False)
    if keep_programs:
        keep_compiled_programs()
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING)
