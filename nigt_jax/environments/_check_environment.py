"""The check of an environment that users call; a run makes the part of it that costs next to nothing."""

from typing import Any

import jax
import numpy as np

from nigt_jax.compilation import jit
from nigt_jax.environments._brax import in_32_bits
from nigt_jax.environments._check import first_state, permissive
from nigt_jax.environments._observed import observed
from nigt_jax.errors import UserError


def check_environment(environment: Any) -> None:
    """Says in one line what keeps an environment from being trained in, if anything does.

    What is wanted is Brax's interface, without its wrappers for training:

    - ``action_size``: how many numbers an action has; each is in [-1, 1]. Or ``num_actions``: how many actions there
      are to choose from; then an action is a whole number from 0.
    - ``reset(key) -> state`` and ``step(state, action) -> state``, which JAX can trace. They are pure: what changes is
      in the state. They are of a single environment, not of a batch.
    - The state is a pytree with attributes ``obs`` (floating, of shape [n], or a mapping that has such an array under
      ``"state"``, which is what the policy sees), ``reward`` and ``done`` (single numbers:
      floating, integer or boolean; an episode ends where ``done`` is above 0). It has the same fields, shapes and
      dtypes after `step` as after `reset`.
    - The first observation is finite.

    As in training, its code computes in 32 bits, whatever ``jax_enable_x64`` says.

    :func:`nigt_jax.train` checks the same at its start, but for the last point: that takes a compilation of `reset`,
    for Brax's environments a few seconds.

    Args:
      environment: an instance.

    Raises:
      UserError: one line that names the field, what it is and what is wanted. An error of the environment's own code
        stays what it is.
    """
    with jax.enable_x64(False):  # as training
        environment = in_32_bits(environment)
        first_state(environment)
        first = jit(permissive(environment.reset))(jax.random.key(0))
        values = np.asarray(observed(first), float)
    for number in np.flatnonzero(~np.isfinite(values))[:1]:
        raise UserError(
            f"{type(environment).__name__}.reset: obs[{number}] is {values[number]}, wanted: finite numbers"
        )
