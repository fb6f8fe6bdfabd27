"""Hyperparameters that belong together over the steps of a run."""

import jax
import jax.numpy as jnp

from nigt_jax.transforms._numerics import OneMinus, ScalarOrSchedule


def n_pg_igt_schedules(
    learning_rate: float | jax.Array, newest: float | jax.Array = 1.0
) -> tuple[ScalarOrSchedule, OneMinus]:
    r"""The steps and weights of N-PG-IGT: ``nigt(*n_pg_igt_schedules(a))``.

    .. math::
        \alpha_t = \alpha_0 \frac{2}{t + 2}, \qquad \eta_t = \eta_0 \left( \frac{2}{t + 2} \right)^{4/5}

    Steps shrink and averages become longer together, without a number of steps given in advance. The query point goes
    on lying :math:`\alpha_t / \eta_t` ahead of the iterate, which shrinks too, as :math:`t^{-1/5}`.

    Args:
      learning_rate: :math:`\alpha_0`, the length of the first step.
      newest: :math:`\eta_0` in (0, 1], the weight of the newest gradient at first; the momentum is
        :math:`1 - \eta_t`.

    Returns:
      The first two arguments of :func:`nigt`.

    Examples:
      >>> import jax, jax.numpy as jnp, optax, nigt_jax
      >>> from nigt_jax.transforms import n_pg_igt_schedules
      >>> learning_rate, momentum = n_pg_igt_schedules(0.5)
      >>> print([round(float(learning_rate(t)), 3) for t in (0, 2, 98)])
      [0.5, 0.25, 0.01]
      >>> print([round(float(momentum.newest(t)), 3) for t in (0, 2, 98)])
      [1.0, 0.574, 0.044]

    References:
      Fatkhullin et al., `Stochastic Policy Gradient Methods: Improved Sample Complexity for Fisher-non-degenerate
      Policies <https://arxiv.org/abs/2302.01734>`_, 2023
    """

    def decay(step: jax.Array | int) -> jax.Array:
        return 2 / (jnp.asarray(step, jnp.float32) + 2)

    return lambda step: learning_rate * decay(step), OneMinus(lambda step: newest * decay(step) ** 0.8)
