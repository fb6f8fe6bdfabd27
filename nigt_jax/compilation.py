"""How XLA compiles what is trained with."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax

# YNNPACK is called for every product and sum. Physics is hundreds of small ones a step, and takes up to four times as
# long (bench/compile_options.py). And that of jaxlib 0.10.2 makes mistakes in some sums of products
# (https://github.com/jax-ml/jax/issues/39103): MJX ended every episode at its first step.
CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}

# Each of XLA's newer emitters for fused operations takes ten milliseconds to begin with.
QUICK_OPTIONS = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}


def compile_options(platform: str) -> dict[str, Any]:
    """XLA's options for a program of this platform: those that this version of XLA knows.

    What the environment variable XLA_FLAGS names is left to it.
    """
    asked = os.environ.get("XLA_FLAGS", "")
    wanted = CPU_OPTIONS if platform == "cpu" else {}
    return known_options({name: value for name, value in wanted.items() if name not in asked})


def jit(function: Callable[..., Any], **settings: Any) -> Any:
    """`jax.jit` with those options, of what runs on the default platform; for whatever plays an environment.

    Args:
      function: the function.
      settings: those of `jax.jit`.
    """
    return jax.jit(function, compiler_options=compile_options(jax.default_backend()), **settings)


def peak_bytes(compiled: Any) -> int:
    """Memory by XLA's own analysis: arguments, results and temporaries; what is donated is counted once."""
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return held + memory.temp_size_in_bytes


def known_options(wanted: dict[str, Any]) -> dict[str, Any]:
    """Those that this version of XLA knows."""
    return {name: value for name, value in wanted.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda x: x).lower(0.0).compile(compiler_options={name: value})
    except jax.errors.JaxRuntimeError as error:
        if name not in str(error):
            raise
        return False
    return True
