"""Every method: who is counted, how the counted are combined, and what is done with the result."""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from nigt_jax.clocks import ArrivalRule, Ringleader
from nigt_jax.config import MethodConfig, RingmasterNigt, family
from nigt_jax.methods._adaptive import adaptive_hyperparameters
from nigt_jax.methods._agnostic import AgnosticHyperparameters, agnostic_hyperparameters, by_root
from nigt_jax.methods._fednpg_admm import FEDNPG_ADMM
from nigt_jax.methods._fednpg_exact import FEDNPG_EXACT
from nigt_jax.methods._fedpg_br import fedpg_br
from nigt_jax.methods._lapg import LAPG
from nigt_jax.methods._method import (
    Arrivals,
    Method,
    OneOfRounds,
    StepHyperparameters,
    as_sent,
    step_hyperparameters,
)
from nigt_jax.methods._robust import robust_method
from nigt_jax.methods._schedules import M_SYNCHRONOUS, MALENIA, RENNALA, SYNCHRONOUS
from nigt_jax.methods._table import MeansOfWorkers
from nigt_jax.transforms import (
    NormalizedMomentumState,
    OneMinus,
    ema_from_first,
    implicit_gradient_transport,
    n_harpg,
    nigt_eval_params,
    normalized_momentum,
)


# Learning rates are those of one update, but schedules all the same: states that count updates are in checkpoints.
def _nigt(hyperparameters: StepHyperparameters) -> optax.GradientTransformationExtraArgs:
    rate, weight = lambda number: hyperparameters.learning_rate, OneMinus(hyperparameters.newest_weight)
    return implicit_gradient_transport(normalized_momentum(rate, weight), OneMinus(hyperparameters.transport_weight))


def _igt(hyperparameters: StepHyperparameters) -> optax.GradientTransformationExtraArgs:
    rate, weight = lambda number: hyperparameters.learning_rate, OneMinus(hyperparameters.newest_weight)
    averaged = optax.chain(ema_from_first(weight), optax.scale_by_learning_rate(rate))
    return implicit_gradient_transport(averaged, OneMinus(hyperparameters.transport_weight))


def _agnostic_nigt(hyperparameters: AgnosticHyperparameters) -> optax.GradientTransformationExtraArgs:
    return _nigt(hyperparameters.step)


def _plain(hyperparameters: StepHyperparameters) -> optax.GradientTransformationExtraArgs:
    return optax.with_extra_args_support(optax.sgd(lambda number: hyperparameters.learning_rate))


def _harpg(hyperparameters: StepHyperparameters) -> optax.GradientTransformationExtraArgs:
    own = n_harpg(lambda number: hyperparameters.learning_rate, OneMinus(hyperparameters.newest_weight))

    def update(descent: Any, state: Any, params: Any = None, *, change: Any) -> tuple[Any, Any]:
        """The change that workers estimate is one of the return, and that of the loss is the opposite."""
        return own.update(descent, state, params, change=jax.tree.map(jnp.negative, change))

    return optax.GradientTransformationExtraArgs(own.init, update)


def _last_step(opt_state: Any) -> Any:
    return cast(NormalizedMomentumState, opt_state).last_step()


def _with_max_delay(section: MethodConfig) -> StepHyperparameters:
    return step_hyperparameters(section, cast(RingmasterNigt, section).max_delay)


def _by_ringleader(hyperparameters: StepHyperparameters) -> ArrivalRule:
    del hyperparameters
    return Ringleader()


METHODS: dict[str, Method] = {
    "rennala_nigt": Method(RENNALA, step_hyperparameters, _nigt, nigt_eval_params),
    "malenia_nigt": Method(MALENIA, step_hyperparameters, _nigt, nigt_eval_params),
    "synchronous_nigt": Method(SYNCHRONOUS, step_hyperparameters, _nigt, nigt_eval_params),
    "m_synchronous_nigt": Method(M_SYNCHRONOUS, step_hyperparameters, _nigt, nigt_eval_params),
    "rennala_igt": Method(RENNALA, step_hyperparameters, _igt, nigt_eval_params),
    "rennala_pg": Method(RENNALA, step_hyperparameters, _plain, as_sent),
    "synchronous_pg": Method(SYNCHRONOUS, step_hyperparameters, _plain, as_sent),
    "rennala_nharpg": Method(RENNALA, step_hyperparameters, _harpg, as_sent, last_step=_last_step),
    "synchronous_nharpg": Method(SYNCHRONOUS, step_hyperparameters, _harpg, as_sent, last_step=_last_step),
    "afedpg": Method(Arrivals(), step_hyperparameters, _nigt, nigt_eval_params),
    "ringmaster_nigt": Method(Arrivals(), _with_max_delay, _nigt, nigt_eval_params),
    "ringmaster_agnostic_nigt": Method(Arrivals(by_root), agnostic_hyperparameters, _agnostic_nigt, nigt_eval_params),
    "ringleader_nigt": Method(
        Arrivals(_by_ringleader, MeansOfWorkers()), step_hyperparameters, _nigt, nigt_eval_params
    ),
    "asynchronous_pg": Method(Arrivals(), step_hyperparameters, _plain, as_sent),
    "adaptive_nigt": Method(
        RENNALA, adaptive_hyperparameters, lambda own: _nigt(own.step), nigt_eval_params, adapts=True
    ),
    "robust_nigt": robust_method(RENNALA, _nigt),
    "synchronous_robust_nigt": robust_method(SYNCHRONOUS, _nigt),
    "lapg": LAPG,
    "fednpg_exact": FEDNPG_EXACT,
    "fednpg_admm": FEDNPG_ADMM,
    "fedpg_br": fedpg_br(_plain),
}


@functools.cache
def method_of_many(name: str) -> Method:
    """The method of a program of many runs, each of which has one of the family of `name`.

    Members of a family differ in who is counted, or in what a hyperparameter says; that is traced.
    """
    members = {other: METHODS[other] for other in family(name)}
    rounds = {other: member.rounds for other, member in members.items() if member.rounds is not None}
    return METHODS[name]._replace(
        schedule=OneOfRounds(rounds) if len(rounds) > 1 else METHODS[name].schedule,
        hyperparameters=lambda section: members[section.name].hyperparameters(section),
    )
