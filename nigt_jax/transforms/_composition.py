"""Orders of optax transformations that lose gradients or the iterate, as far as a state shows them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import optax


class LocalMeanState(NamedTuple):
    """State of a mean over one shard: empty, but :func:`check_composition` knows it by its type."""


class ShardMeanState(NamedTuple):
    """State of a mean over a named axis: empty, but :func:`check_composition` knows it by its type."""


_MEANS = (LocalMeanState, ShardMeanState)
_AROUND_NIGT = {
    optax.contrib.ScheduleFreeState: "schedule_free",
    optax.contrib.MechanicState: "mechanize",
    optax.LookaheadState: "lookahead",
    optax.ConditionallyTransformState: "conditionally_transform",
}
_AFTER_NIGT = {
    optax.EmaState: "ema",
    optax.TraceState: "trace",
    optax.ScaleByScheduleState: "scale_by_schedule",
    optax.contrib.ReduceLROnPlateauState: "reduce_on_plateau",
}


def check_composition(opt_state: Any, nigt_state: type) -> None:
    """ValueError where a transformation is around, or after, one that it should be inside of, or before.

    Args:
      opt_state: any optax state.
      nigt_state: the type of the states whose parameters are query points.
    """
    for outer in _nodes(opt_state):
        if isinstance(outer, optax.MultiStepsState) and _holds(outer, _MEANS):
            raise ValueError(
                "MultiSteps around rennala_mean or malenia_mean hands on the last `count` alone: add up sums and "
                "counts and update once, or chain(rennala_mean(axis), MultiSteps(nigt(...), k)"
                ".gradient_transformation())"
            )
        if isinstance(outer, optax.ApplyIfFiniteState) and _holds(outer, ShardMeanState):
            raise ValueError(
                "apply_if_finite around rennala_mean or malenia_mean: shards that disagree would not meet in the "
                "collective; write chain(rennala_mean(axis), apply_if_finite(nigt(...), n))"
            )
        if type(outer) in _AROUND_NIGT and _holds(outer, nigt_state):
            raise ValueError(
                f"{_AROUND_NIGT[type(outer)]} around nigt: its parameters are no query points of nigt, so no iterate "
                "follows from them; use one of the two"
            )
        if type(outer) is tuple:  # of a chain
            first = next((i for i, state in enumerate(outer) if _holds(state, nigt_state)), len(outer))
            for later in filter(lambda state: type(state) in _AFTER_NIGT, outer[first + 1 :]):
                raise ValueError(
                    f"{_AFTER_NIGT[type(later)]} after nigt moves the query point and not the iterate: put nigt last "
                    "in the chain"
                )


def _nodes(tree: Any) -> Iterator[Any]:
    """The tree and everything inside it, outermost first."""
    yield tree
    for child in jax.tree.leaves(tree, is_leaf=lambda x: x is not tree):
        if child is not tree:  # what a leaf gives
            yield from _nodes(child)


def _holds(tree: Any, kind: type | tuple[type, ...]) -> bool:
    return any(isinstance(node, kind) for node in _nodes(tree))
