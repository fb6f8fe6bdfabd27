"""Estimators that need nothing but the rewards of the batch, and of hyperparameters nothing but a discount."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from nigt_jax.collectives import sum_over
from nigt_jax.discounting import return_to_go
from nigt_jax.estimators._score import Estimator, of_episodes
from nigt_jax.policies import Normalizer
from nigt_jax.rollout import Trajectories


def _discounted_from_start(
    state: tuple[()],
    trajectories: Trajectories,
    normalizer: Normalizer,
    hyperparameters: Any,
    axis_name: str | None,
) -> Float[Array, "time episodes"]:
    r"""Eq. (3) of the paper: :math:`A_t = \sum_{h \ge t} \gamma^h r_h`, discounted from the start, no baseline.

    Unbiased for the gradient of the discounted return :math:`E \sum_t \gamma^t r_t` up to the horizon.
    """
    del state, normalizer, axis_name
    discount = of_episodes(trajectories, hyperparameters.discount)
    from_start = discount[None, :] ** jnp.arange(trajectories.horizon, dtype=jnp.float32)[:, None]
    return from_start * return_to_go(trajectories.rewards(hyperparameters.discount), discount)


def _discounted_from_now(
    state: tuple[()],
    trajectories: Trajectories,
    normalizer: Normalizer,
    hyperparameters: Any,
    axis_name: str | None,
) -> Float[Array, "time episodes"]:
    r""":math:`A_t = \sum_{h \ge t} \gamma^{h-t} r_h`: late steps are not discounted away.

    For a discount of 1 unbiased for the gradient of the return. Below 1 it is no gradient of the discounted return:
    each step lacks its factor :math:`\gamma^t`. It then estimates, without bias, the gradient of the undiscounted
    return in which the effect of each action is discounted from the time of the action.
    """
    del state, normalizer, axis_name
    return return_to_go(
        trajectories.rewards(hyperparameters.discount), of_episodes(trajectories, hyperparameters.discount)
    )


def _leave_one_out(
    state: tuple[()],
    trajectories: Trajectories,
    normalizer: Normalizer,
    hyperparameters: Any,
    axis_name: str | None,
) -> Float[Array, "time episodes"]:
    r"""Return to go, less the mean of the *other* episodes' of the block at the same time step.

    The others are independent of the action that the baseline is subtracted from, so it has the expectation of
    ``return_to_go`` and no other; the mean of all episodes, the own one included, would shrink it by 1 - 1/N. An
    episode that has ended has a return to go of zero, and counts as such. Without others there is no baseline.
    """
    to_go = _discounted_from_now(state, trajectories, normalizer, hyperparameters, axis_name)
    apart = to_go.reshape(trajectories.horizon, trajectories.groups, -1)
    total = apart.sum(2)
    began = (trajectories.lengths > 0).reshape(trajectories.groups, -1)  # what never began is no episode
    number = began.sum(1, dtype=jnp.float32)
    total, number = sum_over(axis_name, (total, number))
    others = (total[:, :, None] - apart) / jnp.maximum(number - 1, 1)[None, :, None]
    return (apart - others).reshape(to_go.shape)


def _stateless(coefficients: Any) -> Estimator:
    return Estimator(
        init=lambda key, observation_size: (),
        coefficients=coefficients,
        learn=lambda state, trajectories, normalizer, hyperparameters, axis_name: state,
    )


policy_gradient = _stateless(_discounted_from_start)
return_to_go_gradient = _stateless(_discounted_from_now)
leave_one_out = _stateless(_leave_one_out)
