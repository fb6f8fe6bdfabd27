r"""Parameter-agnostic Ringmaster NIGT: step, momentum and largest delay follow from the number of the update alone.

Update number k, from 1, has

.. math::
    \gamma_k = \gamma\, k^{-3/4}, \qquad \eta_k = k^{-1/2}, \qquad R_k = \lfloor k^{1/2} \rfloor

where :math:`\eta_k` is the weight of the newest gradient, and a gradient whose delay is :math:`R_k` or more when it
would make update k is discarded. The first direction is the first gradient, and the first step is :math:`\gamma` long.

The schedules, and the normalised momentum, are those of Ringmaster LMO's published code, which writes them as
:math:`\gamma / (k + 1)^{3/4}`, :math:`1 / \sqrt k` and :math:`\max(1, \lfloor\sqrt k\rfloor)`. From where k counts in
each is decided here, so that the first update has the whole of both. Two things are ours:

* Gradients are taken ahead of the iterate. The query point that update k hands out lies
  :math:`(1 - \eta_{k+1}) / \eta_{k+1}` steps ahead, by the weight of the update after it. That is
  :math:`\gamma k^{-3/4} (\sqrt{k + 1} - 1)`, which shrinks as :math:`k^{-1/4}`. A gradient that comes with delay was
  taken at the point of an earlier update, with the weight of that time. ``extrapolation: false`` leaves this out.
* A worker whose gradient has become too old is sent the newest query point when that gradient arrives, as in
  ``ringmaster_nigt``. It is not interrupted before.

References:
  `Ringmaster LMO <https://arxiv.org/abs/2605.18174>`_, 2026
"""

from typing import NamedTuple, cast

import jax.numpy as jnp
from jaxtyping import Array, Bool

from nigt_jax.clocks import ArrivalRule, YoungerThanRoot
from nigt_jax.config import MethodConfig, RingmasterAgnosticNigt
from nigt_jax.methods._method import Progress, StepHyperparameters, step_hyperparameters


class AgnosticHyperparameters(NamedTuple):
    """Hyperparameters of a method whose schedules need none but the first step; traced.

    Attributes:
      step: those of one update, once :meth:`at` has said which; before, those of the first.
      extrapolates: whether gradients are taken ahead of the iterate.
    """

    step: StepHyperparameters
    extrapolates: Bool[Array, ""]

    def at(self, now: Progress) -> "AgnosticHyperparameters":
        """Those of the update of a run that is so far."""
        number, own = now.iterations + 1, self.step.at(now)
        return self._replace(
            step=own._replace(
                learning_rate=own.learning_rate * number**-0.75,
                newest_weight=1 / jnp.sqrt(number),
                transport_weight=jnp.where(self.extrapolates, 1 / jnp.sqrt(number + 1), 1),
            )
        )


def agnostic_hyperparameters(section: MethodConfig) -> AgnosticHyperparameters:
    """The hyperparameters that a section of the configuration has."""
    extrapolates = cast(RingmasterAgnosticNigt, section).extrapolation
    return AgnosticHyperparameters(step_hyperparameters(section), jnp.asarray(extrapolates, bool))


def by_root(hyperparameters: AgnosticHyperparameters) -> ArrivalRule:
    """Every gradient makes an update, unless it is too old for the number of that update."""
    del hyperparameters
    return YoungerThanRoot()
