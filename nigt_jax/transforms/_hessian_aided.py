"""Momentum that is moved along with the parameters by an estimate of how the gradient has changed."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from nigt_jax.transforms._numerics import Momentum, ScalarOrSchedule, as_arrays, check_gradients
from nigt_jax.transforms._parts import NormalizedMomentumState, normalized_momentum


def n_harpg(
    learning_rate: ScalarOrSchedule, momentum: Momentum = 0.9, accumulator_dtype: Any | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Steps of a given length along Hessian-aided momentum.

    .. math::
        d_t = \beta_t (d_{t-1} + v_t) + (1 - \beta_t)\, g_t \;\; (d_0 = g_0), \qquad
        \Delta_t = -\alpha_t\, d_t / \|d_t\|

    where :math:`v_t` estimates :math:`\nabla J(\theta_t) - \nabla J(\theta_{t-1})`, so that past gradients do not grow
    old. Such an estimate, without bias and without a second sample at :math:`\theta_{t-1}`, is a Hessian-vector product
    :math:`\nabla^2 J(\hat\theta)\, u` with :math:`u = \theta_t - \theta_{t-1}` at
    :math:`\hat\theta = \theta_t - q u`, q uniform in [0, 1). The last step u is in the state
    (:meth:`NormalizedMomentumState.last_step`).

    Args:
      learning_rate: :math:`\alpha`, the length of a step in parameter space: a number, an array or a schedule.
      momentum: :math:`\beta` in [0, 1): a number, an array, a schedule, or :class:`OneMinus`.
      accumulator_dtype: dtype of the momentum; by default that of the parameters, and at least float32.

    Returns:
      A transformation with ``update(updates, state, params=None, *, change)``: `updates` is the gradient of the loss,
      `change` the estimate v of how it has changed since the update before, like `updates`; ignored the first time.

    Raises:
      ValueError, TypeError: `change` has another structure, shape or kind than the parameters.

    Examples:
      On a quadratic the change is exact, and so is the direction, whatever the momentum:

      >>> import jax, jax.numpy as jnp
      >>> from nigt_jax.transforms import n_harpg
      >>> tx = n_harpg(learning_rate=0.5, momentum=0.9)
      >>> params = jnp.array([4.0, 0.0])
      >>> state = tx.init(params)
      >>> for _ in range(3):
      ...     step, state = tx.update(params, state, params, change=state.last_step())
      ...     params = params + step
      >>> print(params)
      [2.5 0. ]

    References:
      Fatkhullin, Barakat, Kireeva & He, `Stochastic Policy Gradient Methods: Improved Sample Complexity for
      Fisher-non-degenerate Policies <https://arxiv.org/abs/2302.01734>`_, 2023
    """
    plain = normalized_momentum(learning_rate, momentum, accumulator_dtype)

    def update(
        updates: optax.Updates,
        state: NormalizedMomentumState,
        params: optax.Params | None = None,
        *,
        change: optax.Updates,
        **extra_args: Any,
    ) -> tuple[optax.Updates, NormalizedMomentumState]:
        del extra_args
        change = as_arrays(change, "change")
        check_gradients(change, state.direction)
        first = state.count == 0  # of which a change may be anything, infinite too
        moved = jax.tree.map(lambda d, v: jnp.where(first, d, d + v.astype(d.dtype)), state.direction, change)
        return plain.update(updates, state._replace(direction=moved), params)

    return optax.GradientTransformationExtraArgs(plain.init, update)
