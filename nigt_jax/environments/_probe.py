"""What an environment does with a fixed key and fixed actions: whether it is still the one that a run was made in."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from nigt_jax.compilation import compile_options, known_options
from nigt_jax.environments._actions import action_space
from nigt_jax.environments._observed import observed

Rows = tuple[tuple[float | None, ...], ...]

_COLUMNS = ("observation", "size of the observation", "reward", "done")
# Of the first state, and after one and two steps: contacts magnify rounding, which differs between devices and between
# versions of JAX.
_TOLERANCES = (1e-5, 1e-4, 1e-3)
# It runs once: what takes time is compiling it.
_IN_HASTE = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


def probe(environment: Any, device: jax.Device) -> Rows:
    """A few numbers of a reset and of two steps, a row each; None for those that are not finite."""
    key = jax.device_put(jax.random.key(0), device)
    options = compile_options(device.platform) | (known_options(_IN_HASTE) if device.platform == "cpu" else {})
    rank, dtype = jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard")  # as for all environments
    with rank, dtype, jax.default_matmul_precision("highest"):
        program = jax.jit(lambda key: _play(environment, key)).lower(key).compile(compiler_options=options)
    return tuple(tuple(x if math.isfinite(x) else None for x in row) for row in program(key).tolist())


def difference(before: Rows, now: Rows) -> str:
    """Where the environment does something else now, in words; empty if that is no more than rounding."""
    for step, (old, new, tolerance) in enumerate(zip(before, now, _TOLERANCES, strict=True)):
        for name, a, b in zip(_COLUMNS, old, new, strict=True):
            near = a == b if a is None or b is None else abs(a - b) <= tolerance * (1 + max(abs(x or 0) for x in old))
            if not near:
                return f"after {step} steps of the same actions its {name} is {b}, and was {a}"
    return ""


def _play(environment: Any, key: jax.Array) -> jax.Array:
    space, steps = action_space(environment), jnp.arange(len(_TOLERANCES) - 1)
    number = steps[:, None] * 2.0 + jnp.arange(space.size)
    actions = steps % space.size if space.discrete else 0.75 * jnp.cos(1 + number)  # of either sign, none at a limit

    def step(state: Any, action: jax.Array) -> tuple[Any, jax.Array]:
        state = environment.step(state, action)
        return state, _row(state)

    first = environment.reset(key)
    return jnp.concatenate([_row(first)[None], jax.lax.scan(step, first, actions)[1]])


def _row(state: Any) -> jax.Array:
    observation = observed(state).astype(jnp.float32)
    weights = jnp.cos(jnp.arange(observation.size, dtype=jnp.float32))
    numbers = [observation @ weights, jnp.linalg.norm(observation), state.reward, state.done]
    return jnp.stack([jnp.asarray(x, jnp.float32).reshape(()) for x in numbers])
