"""NIGT, the parts put together."""

from typing import Any

import optax

from nigt_jax.transforms._numerics import Momentum, ScalarOrSchedule
from nigt_jax.transforms._parts import normalized_momentum
from nigt_jax.transforms._transport import implicit_gradient_transport


def nigt(
    learning_rate: ScalarOrSchedule, momentum: Momentum = 0.9, *, accumulator_dtype: Any | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""NIGT: normalised momentum with implicit gradient transport, descending on a loss.

    With :math:`d_0 = g_0` and :math:`q_0 = \theta_0`, and `g_t` the gradient at the query point :math:`q_t`,

    .. math::
        d_t = \beta_t d_{t-1} + (1 - \beta_t)\, g_t, \qquad
        \theta_{t+1} = \theta_t - \alpha_t \frac{d_t}{\|d_t\|}, \qquad
        q_{t+1} = \theta_{t+1} + \frac{\beta_{t+1}}{1 - \beta_{t+1}} (\theta_{t+1} - \theta_t)

    The parameters that the training loop holds are the query points :math:`q_t`. **Evaluate and ship**
    :func:`nigt_eval_params`, the iterate :math:`\theta_t`: with a momentum of 0.999 the query point is 999 steps away.

    The norm is that of the whole tree and neither overflows nor underflows; a zero direction takes no step. The state
    is one array of the size of the parameters and five scalars; parameters of less than float32 also keep a float32
    iterate, because in bfloat16 most steps would round to nothing. Complex parameters are treated as pairs of real
    ones: pass the conjugate of what :func:`jax.grad` gives, as for every optax transformation. A non-finite gradient
    makes the parameters non-finite and stays in the momentum: wrap in :func:`optax.apply_if_finite` where one may
    occur.

    Args:
      learning_rate: :math:`\alpha`, the length of a step in parameter space (not a factor of the gradient): a number,
        an array (traced ones too) or a schedule of the step count.
      momentum: :math:`\beta = 1 - \eta` in [0, 1), likewise, or ``OneMinus(eta)`` of :mod:`nigt_jax.transforms`, which
        keeps the digits of a traced or scheduled `eta`. With a schedule, update k blends with ``momentum(k)`` and hands
        out a query point that uses ``momentum(k + 1)``.
      accumulator_dtype: dtype of the momentum; by default that of the parameters, and at least float32.

    Returns:
      The transformation. Its ``update`` needs ``params`` only where they are of less than float32.

    Raises:
      ValueError: momentum outside [0, 1); gradients of another structure or shape than the parameters.
      TypeError: integer gradients; parameters or gradients that are no numbers.

    Examples:
      >>> import jax, jax.numpy as jnp, optax, nigt_jax
      >>> loss = lambda x: jnp.sum((x - 3.0) ** 2)
      >>> tx = nigt_jax.nigt(optax.linear_schedule(0.5, 0.0, 50), momentum=0.5)
      >>> params = jnp.array([0.0, 10.0])
      >>> state = tx.init(params)
      >>> @jax.jit
      ... def step(params, state):
      ...     updates, state = tx.update(jax.grad(loss)(params), state, params)
      ...     return optax.apply_updates(params, updates), state
      >>> for _ in range(50):
      ...     params, state = step(params, state)
      >>> print(jnp.round(nigt_jax.nigt_eval_params(state, params), 1))
      [3. 3.]

    References:
      Cutkosky & Mehta, `Momentum Improves Normalized SGD <https://arxiv.org/abs/2002.03305>`_, 2020
    """
    return implicit_gradient_transport(normalized_momentum(learning_rate, momentum, accumulator_dtype), momentum)
