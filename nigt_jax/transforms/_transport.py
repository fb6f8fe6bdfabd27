"""Implicit gradient transport: gradients are taken ahead of the iterate, at the query point."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from nigt_jax.transforms._composition import check_composition
from nigt_jax.transforms._numerics import (
    Momentum,
    accumulator_of,
    as_arrays,
    check_gradients,
    check_inexact,
    check_momentum,
    on_real,
    scalar_dtype,
    weights_at,
)


class ImplicitGradientTransportState(NamedTuple):
    r"""State of :func:`implicit_gradient_transport`. The iterate is ``params - reach * (last step)``.

    Attributes:
      count: updates made so far.
      reach: how many times the last step the query point lies beyond the iterate, :math:`\beta/(1-\beta)`.
      inner_state: state of the wrapped transformation.
      last_step: the wrapped transformation's last updates; None where ``inner_state.last_step()`` gives them or the
        iterate is kept.
      iterate: the iterate in float32 where parameters are of lower precision, None elsewhere.
    """

    count: jax.Array  # type: ignore[assignment]  # int32[]; shadows tuple.count, as optax's own states do
    reach: jax.Array  # float[]
    inner_state: Any
    last_step: Any  # like params, with None for the leaves that need none; None where no leaf does
    iterate: Any  # float32, like params, with None for the leaves that need none; None where no leaf does


def implicit_gradient_transport(
    inner: optax.GradientTransformation, momentum: Momentum
) -> optax.GradientTransformationExtraArgs:
    r"""Moves the query point, where gradients are taken, ahead of the iterate that `inner` steps.

    .. math::
        \theta_{t+1} = \theta_t + \Delta_t, \qquad
        q_{t+1} = \theta_{t+1} + \frac{\beta_{t+1}}{1 - \beta_{t+1}} \left( \theta_{t+1} - \theta_t \right)

    where :math:`\Delta_t` is what `inner` makes of the gradient at :math:`q_t`. The parameters that a training loop
    holds are the query points; the iterate, which is the model, comes from :func:`nigt_eval_params`. On a quadratic,
    a momentum of gradients taken at these points is the gradient at the iterate, plus averaged noise and a
    contribution of the first point that fades.

    Args:
      inner: gives the steps of the iterate. Its ``update`` is shown the iterate as ``params``. Where its state has a
        method ``last_step``, no buffer is kept for the last step.
      momentum: :math:`\beta` of the average inside `inner`: a number, an array, a schedule, or :class:`OneMinus`.
        Update number k hands out a query point that uses ``momentum(k + 1)``, the weight that the gradient taken there
        will meet.

    Returns:
      A transformation whose updates lead from query point to query point.

    Examples:
      NIGT without its normalisation:

      >>> import jax.numpy as jnp, optax
      >>> from nigt_jax.transforms import ema_from_first, implicit_gradient_transport, nigt_eval_params
      >>> tx = implicit_gradient_transport(
      ...     optax.chain(ema_from_first(0.5), optax.scale_by_learning_rate(0.1)), momentum=0.5)
      >>> params = jnp.array([1.0])
      >>> updates, state = tx.update(jnp.array([2.0]), tx.init(params), params)
      >>> params = optax.apply_updates(params, updates)
      >>> print(params, nigt_eval_params(state, params))
      [0.6] [0.8]

    References:
      Arnold et al., `Reducing the variance in online optimization by transporting past gradients
      <https://arxiv.org/abs/1906.03532>`_, 2019
    """
    check_momentum(momentum)
    inner = optax.with_extra_args_support(inner)

    def init(params: optax.Params) -> ImplicitGradientTransportState:
        params = as_arrays(params, "parameter", or_shapes=True)
        iterate = jax.tree.map(_float32_if_lower, params)
        inner_state = inner.init(jax.tree.map(lambda p, kept: p if kept is None else kept, params, iterate))
        return ImplicitGradientTransportState(
            count=jnp.zeros([], jnp.int32),
            reach=jnp.zeros([], scalar_dtype(params)),
            inner_state=inner_state,
            last_step=_stored(inner_state, jax.tree.map(jnp.zeros_like, params), iterate),
            iterate=_none_if_empty(iterate),
        )

    def update(
        updates: optax.Updates,
        state: ImplicitGradientTransportState,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, ImplicitGradientTransportState]:
        if params is None and jax.tree.leaves(state.iterate):
            raise ValueError("parameters of less than float32 need `params`: tx.update(gradients, state, params)")
        updates = as_arrays(updates, "gradient")
        check_inexact(updates)
        last, kept = _known(state)
        theta = None
        if params is not None:
            params = as_arrays(params, "parameter")
            check_gradients(updates, params)
            theta = jax.tree.map(functools.partial(_iterate_leaf, state.reach), params, last, kept)
        step, inner_state = inner.update(updates, state.inner_state, theta, **extra_args)
        count = optax.safe_increment(state.count)
        reach = _reach(momentum, count, state.reach.dtype)
        # None stands for a leaf that is not stored, so the tree that leads each map is one that has all the leaves.
        iterate = jax.tree.map(lambda s, kept: None if kept is None else kept + s.astype(kept.dtype), step, kept)

        def move(before: jax.Array, now: jax.Array) -> jax.Array:
            """From query point to query point; the parameters themselves are not needed."""
            return (1 + reach).astype(now.dtype) * now - state.reach.astype(now.dtype) * before.astype(now.dtype)

        def move_to(kept: jax.Array, now: jax.Array, param: jax.Array) -> jax.Array:
            """The same for low precision: measured from where the parameters are, so that rounding never adds up."""
            return kept + reach.astype(kept.dtype) * now.astype(kept.dtype) - param.astype(kept.dtype)

        def leaf(now: jax.Array, before: Any, kept: Any, param: jax.Array) -> jax.Array:
            moved = on_real(move, before, now) if kept is None else move_to(kept, now, param)
            return moved.astype(param.dtype)

        moves = jax.tree.map(leaf, step, last, iterate, step if params is None else params)
        stored = _stored(inner_state, step, iterate)
        return moves, ImplicitGradientTransportState(count, reach, inner_state, stored, _none_if_empty(iterate))

    return optax.GradientTransformationExtraArgs(init, update)


def nigt_eval_params(opt_state: Any, params: optax.Params) -> optax.Params:
    r"""The iterate :math:`\theta_t`, the model, from the query point that the training loop holds.

    Args:
      opt_state: the state of :func:`nigt` or :func:`implicit_gradient_transport`, or any state that holds one
        (``chain``, ``masked``, ``multi_transform``, ``MultiSteps``, ``inject_hyperparams``, ``flatten``, ...). Several
        are fine where each has parameters of its own, as in ``multi_transform``.
      params: the parameters that belong to that state, the query point.

    Returns:
      The iterate, with the structure, shapes and dtypes of `params`. Parameters that no such state covers come back
      as they are.

    Raises:
      ValueError: there is no such state inside `opt_state`, it was made for other parameters, it is a batch of states
        (map this function with ``jax.vmap`` as the updates were), or two states claim the same parameters. Also where
        `opt_state` shows an order of transformations that goes wrong: ``MultiSteps`` around an aggregation,
        ``apply_if_finite`` around one over a named axis, ``schedule_free``, ``mechanize``, ``lookahead`` or
        ``conditionally_transform`` around ``nigt``, ``scale_by_schedule``, ``ema``, ``trace`` or ``reduce_on_plateau``
        after it.
      TypeError: parameters that are no numbers, as in a whole Equinox module.

    Examples:
      >>> import jax.numpy as jnp, optax, nigt_jax
      >>> tx = optax.chain(optax.clip_by_global_norm(1.0), nigt_jax.nigt(learning_rate=1.0, momentum=0.75))
      >>> params = {"w": jnp.array([0.0, 0.0])}
      >>> updates, state = tx.update({"w": jnp.array([0.0, 2.0])}, tx.init(params), params)
      >>> params = optax.apply_updates(params, updates)
      >>> print(params["w"], nigt_jax.nigt_eval_params(state, params)["w"])
      [ 0. -4.] [ 0. -1.]
    """
    is_state = lambda s: isinstance(s, ImplicitGradientTransportState)
    states = [s for s in jax.tree.leaves(opt_state, is_leaf=is_state) if is_state(s)]
    if not states:
        raise ValueError(
            f"no NIGT state in a {type(opt_state).__name__}: pass the opt_state of a transformation that contains nigt"
        )
    check_composition(opt_state, ImplicitGradientTransportState)
    leaves, treedef = jax.tree.flatten(params)
    arrays = as_arrays(params, "parameter")
    theta: dict[int, jax.Array] = {}
    for state in states:
        covered = _covered(state, arrays)
        if theta.keys() & covered.keys():
            raise ValueError("ambiguous: two NIGT states in the opt_state cover the same parameters")
        theta |= covered
    return jax.tree.unflatten(treedef, [theta.get(i, leaf) for i, leaf in enumerate(leaves)])


def _covered(state: ImplicitGradientTransportState, params: optax.Params) -> dict[int, jax.Array]:
    """The iterate of every leaf of `params` that the state was made for, by the leaf's index."""
    if jnp.ndim(state.reach) != 0:
        raise ValueError(f"a batch of {jnp.shape(state.reach)} NIGT states: map nigt_eval_params with jax.vmap")
    leaves, treedef = jax.tree.flatten(params)
    last, kept = _known(state)
    if _is_flattened(kept if last is None else last, params):  # inside optax.flatten
        vector, restore = ravel_pytree(params)
        theta = _iterate_leaf(state.reach, vector, last, kept).astype(vector.dtype)
        return dict(enumerate(jax.tree.leaves(restore(theta))))
    # A masked node stands for a whole subtree of the parameters, which this state leaves to others.
    masked = lambda x: isinstance(x, optax.MaskedNode)
    structure: Any = jax.tree.structure(last, is_leaf=lambda x: x is None or masked(x))
    try:
        index = structure.flatten_up_to(jax.tree.unflatten(treedef, range(len(leaves))))
    except (ValueError, TypeError) as error:
        raise ValueError(f"the NIGT state was made for other parameters than these: {error}") from error
    covered = {}
    for i, step, wide in zip(index, structure.flatten_up_to(last), structure.flatten_up_to(kept), strict=True):
        mine = step if wide is None else wide
        if mine is None or masked(mine):
            continue
        if not isinstance(i, int) or mine.shape != leaves[i].shape:
            raise ValueError(
                f"the NIGT state was made for other parameters than these: it has shape {mine.shape} where they have "
                f"{leaves[i].shape if isinstance(i, int) else jax.tree.structure(i)}"
            )
        covered[i] = _iterate_leaf(state.reach, leaves[i], step, wide).astype(leaves[i].dtype)
    return covered


def _is_flattened(mine: Any, params: optax.Params) -> bool:
    """Whether the state is that of one vector into which :func:`optax.flatten` has put all the parameters."""
    if getattr(mine, "ndim", None) != 1:
        return False
    already_a_vector = getattr(params, "shape", None) == mine.shape
    return not already_a_vector and mine.size == sum(x.size for x in jax.tree.leaves(params))


def _known(state: ImplicitGradientTransportState) -> tuple[Any, Any]:
    """The last step and the iterate, each with None for every leaf of which the other tells enough."""
    last, iterate = state.last_step, state.iterate
    if _remembers(state.inner_state):
        last = state.inner_state.last_step()
    nothing = functools.partial(jax.tree.map, lambda _: None)
    return nothing(iterate) if last is None else last, nothing(last) if iterate is None else iterate


def _iterate_leaf(reach: jax.Array, param: jax.Array, last: Any, kept: Any) -> jax.Array:
    """The iterate in at least float32: what is kept of it, or what the query point and the last step say of it."""
    if kept is not None:
        return kept
    return param - on_real(lambda step: reach.astype(step.dtype) * step, last).astype(param.dtype)


def _remembers(inner_state: Any) -> bool:
    """Whether the inner state has a *method* last_step (a nested transport has a field of that name)."""
    return callable(getattr(inner_state, "last_step", None))


def _stored(inner_state: Any, step: optax.Updates, iterate: Any) -> Any:
    """What has to be stored of the step: nothing where the inner state knows it, or where the iterate is kept."""
    if _remembers(inner_state):
        return None
    stored = jax.tree.map(lambda s, kept: s if kept is None else None, step, iterate)
    return _none_if_empty(stored) if jax.tree.leaves(iterate) else stored


def _none_if_empty(tree: Any) -> Any:
    """The tree, or None for one without arrays: what optax.tree_map_params finds is like params, or it is not there."""
    return tree if jax.tree.leaves(tree) else None


def _reach(momentum: Momentum, count: jax.Array, dtype: Any) -> jax.Array:
    past, newest = weights_at(momentum, count)
    return jnp.asarray(past / newest, dtype)  # of a Python number in float64, rounded once


def _float32_if_lower(param: Any) -> jax.Array | None:
    if accumulator_of(param) == param.dtype:
        return None
    if isinstance(param, jax.ShapeDtypeStruct):
        raise TypeError(
            f"parameters of dtype {param.dtype} begin with an iterate of their own values, got a ShapeDtypeStruct: for "
            "the state's shapes call jax.eval_shape(tx.init, params)"
        )
    return param.astype(jnp.float32)
