"""The directions that NIGT is made of: momentum, normalisation, and the two together."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nigt_jax.transforms._numerics import (
    Momentum,
    ScalarOrSchedule,
    accumulator_of,
    accumulators,
    as_arrays,
    at_step,
    check_gradients,
    check_inexact,
    check_learning_rate,
    check_momentum,
    divide,
    on_real,
    scalar_dtype,
    tree_norm,
    weights_at,
)


class EmaFromFirstState(NamedTuple):
    """State of :func:`ema_from_first`.

    Attributes:
      count: gradients seen so far.
      ema: the average, which is the update that was last returned.
    """

    count: jax.Array  # type: ignore[assignment]  # int32[]; shadows tuple.count, as optax's own states do
    ema: optax.Updates  # like params, in the accumulator's dtype


class NormalizedMomentumState(NamedTuple):
    """State of :func:`normalized_momentum`: one buffer, and what it takes to say the last step again.

    Attributes:
      count: gradients seen so far.
      direction: the momentum ``d`` of the last step.
      norm: its norm over the whole tree.
      step_size: the length of the last step.
    """

    count: jax.Array  # type: ignore[assignment]  # int32[]; shadows tuple.count, as optax's own states do
    direction: optax.Updates  # like params, in the accumulator's dtype
    norm: jax.Array  # float[]
    step_size: jax.Array  # float[]

    def last_step(self) -> optax.Updates:
        """The update that was last returned, from the direction instead of a second buffer."""
        return _step_along(self.direction, self.norm, self.step_size)


def ema_from_first(momentum: Momentum, accumulator_dtype: Any | None = None) -> optax.GradientTransformation:
    r"""Exponential moving average of the gradients that starts *at* the first one.

    .. math::
        d_0 = g_0, \qquad d_t = \beta_t d_{t-1} + (1 - \beta_t)\, g_t

    :func:`optax.ema` starts at zero instead. Its debiasing rescales the average, which leaves another direction: the
    first gradient has the weight :math:`\beta^t` here, and :math:`(1-\beta)\beta^t`, times a factor common to all,
    there.

    Args:
      momentum: :math:`\beta` in [0, 1): a number, an array, a schedule of the step count, or :class:`OneMinus`.
      accumulator_dtype: dtype of the average; by default that of the parameters, and at least float32.

    Returns:
      A transformation whose updates have the dtype of the accumulator.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nigt_jax.transforms import ema_from_first
      >>> tx = ema_from_first(0.75)
      >>> state = tx.init(jnp.array([0.0]))
      >>> for gradient in ([4.0], [8.0]):
      ...     update, state = tx.update(jnp.array(gradient), state)
      ...     print(update)
      [4.]
      [5.]

    References:
      Cutkosky & Mehta, `Momentum Improves Normalized SGD <https://arxiv.org/abs/2002.03305>`_, 2020
    """
    check_momentum(momentum)

    def init(params: optax.Params) -> EmaFromFirstState:
        params = as_arrays(params, "parameter", or_shapes=True)
        return EmaFromFirstState(jnp.zeros([], jnp.int32), accumulators(params, accumulator_dtype))

    def update(
        updates: optax.Updates, state: EmaFromFirstState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, EmaFromFirstState]:
        del params
        ema = _blend(updates, state.ema, state.count, momentum)
        return ema, EmaFromFirstState(optax.safe_increment(state.count), ema)

    return optax.GradientTransformation(init, update)


def normalize_by_tree_norm() -> optax.GradientTransformation:
    r"""Scales the updates to norm one, the norm being that of the whole tree.

    .. math::
        u \leftarrow u / \|u\|, \qquad 0 \leftarrow 0

    The norm neither overflows nor underflows (see :func:`tree_norm`), and zero stays zero, with a finite derivative.
    (:func:`optax.contrib.normalize` divides zero by zero.) A non-finite update leaves non-finite ones,
    for :func:`optax.apply_if_finite` to catch.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nigt_jax.transforms import normalize_by_tree_norm
      >>> tx = normalize_by_tree_norm()
      >>> params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
      >>> updates, _ = tx.update({"a": jnp.array([3e30]), "b": jnp.array([4e30])}, tx.init(params))
      >>> print(jnp.round(updates["a"], 3), jnp.round(updates["b"], 3))
      [0.6] [0.8]
    """

    def init(params: optax.Params) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: optax.Updates, state: optax.EmptyState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.EmptyState]:
        del params
        updates = as_arrays(updates, "gradient")
        check_inexact(updates)
        return divide(updates, tree_norm(updates)), state

    return optax.GradientTransformation(init, update)


def normalized_momentum(
    learning_rate: ScalarOrSchedule, momentum: Momentum = 0.9, accumulator_dtype: Any | None = None
) -> optax.GradientTransformation:
    r"""Steps of a given length along the momentum: NIGT without the extrapolation.

    .. math::
        d_t = \beta_t d_{t-1} + (1 - \beta_t)\, g_t \;\; (d_0 = g_0), \qquad
        \Delta_t = -\alpha_t\, d_t / \|d_t\|

    The same numbers as :func:`ema_from_first`, :func:`normalize_by_tree_norm` and
    :func:`optax.scale_by_learning_rate` in a chain. Its state can say the last step again
    (:meth:`NormalizedMomentumState.last_step`), which spares whoever needs it, such as
    :func:`implicit_gradient_transport`, a buffer of the size of the parameters.

    Args:
      learning_rate: :math:`\alpha`, the length of a step in parameter space: a number, an array or a schedule.
      momentum: :math:`\beta` in [0, 1): a number, an array, a schedule, or :class:`OneMinus`.
      accumulator_dtype: dtype of the momentum; by default that of the parameters, and at least float32.

    Returns:
      A transformation whose updates have the dtype of the accumulator.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nigt_jax.transforms import normalized_momentum
      >>> tx = normalized_momentum(learning_rate=0.5)
      >>> params = jnp.array([0.0, 0.0])
      >>> updates, state = tx.update(jnp.array([30.0, 40.0]), tx.init(params))
      >>> print(jnp.round(updates, 3))
      [-0.3 -0.4]
    """
    check_learning_rate(learning_rate)
    check_momentum(momentum)

    def init(params: optax.Params) -> NormalizedMomentumState:
        params = as_arrays(params, "parameter", or_shapes=True)
        dtype = scalar_dtype(params)
        return NormalizedMomentumState(
            count=jnp.zeros([], jnp.int32),
            direction=accumulators(params, accumulator_dtype),
            norm=jnp.zeros([], dtype),
            step_size=jnp.zeros([], dtype),
        )

    def update(
        updates: optax.Updates, state: NormalizedMomentumState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, NormalizedMomentumState]:
        del params
        direction = _blend(updates, state.direction, state.count, momentum)
        norm = tree_norm(direction).astype(state.norm.dtype)
        step_size = jnp.asarray(at_step(learning_rate, state.count), state.step_size.dtype)
        state = NormalizedMomentumState(optax.safe_increment(state.count), direction, norm, step_size)
        return state.last_step(), state

    return optax.GradientTransformation(init, update)


def _blend(updates: optax.Updates, ema: optax.Updates, count: jax.Array, momentum: Momentum) -> optax.Updates:
    """The next average: the update itself the first time, the weighted mean of both afterwards."""
    updates = as_arrays(updates, "gradient")
    check_gradients(updates, ema)
    past, newest = weights_at(momentum, count)
    dtype = scalar_dtype(ema)
    past = jnp.where(count == 0, 0, jnp.asarray(past, dtype))
    newest = jnp.where(count == 0, 1, jnp.asarray(newest, dtype))

    def leaf(g: jax.Array, d: jax.Array) -> jax.Array:
        wide = accumulator_of(d)
        blended = past.astype(wide) * d.astype(wide) + newest.astype(wide) * g.astype(wide)
        if d.dtype == wide:
            return blended
        # Rounded explicitly, or XLA may skip it on the way to the step, which has to be that of the stored average.
        kept = jnp.finfo(d.dtype)
        return jax.lax.reduce_precision(blended, kept.nexp, kept.nmant).astype(d.dtype)

    return jax.tree.map(functools.partial(on_real, leaf), updates, ema)


def _step_along(direction: optax.Updates, norm: jax.Array, step_size: jax.Array) -> optax.Updates:
    """-step_size * direction / norm. Divided first: step_size / norm alone may underflow where the step does not."""
    unit = divide(jax.tree.map(lambda d: d.astype(accumulator_of(d)), direction), norm)
    return jax.tree.map(lambda u: on_real(lambda part: -step_size.astype(part.dtype) * part, u), unit)
