"""Every method: who is counted, how the counted are combined, and what is done with the result."""

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from nigt_jax.clocks import Round, m_synchronous_rule, malenia_rule, rennala_rule, synchronous_rule
from nigt_jax.methods._server import ArrivalMethod, Method, RoundMethod, StepSettings
from nigt_jax.transforms import OneMinus, nigt, nigt_eval_params


def _equally(counted: Round) -> Float[Array, " workers"]:
    """Every gradient weighs the same: the mean of all that were counted."""
    return jnp.ones(counted.counts.shape)


def _by_worker(counted: Round) -> Float[Array, " workers"]:
    """Every worker weighs the same: (1/n) sum_i S_i / M_i, without bias where workers' environments differ."""
    return 1 / (counted.counts.size * jnp.maximum(counted.counts, 1).astype(jnp.float32))


def _nigt(settings: StepSettings) -> optax.GradientTransformationExtraArgs:
    return nigt(settings.learning_rate_at, OneMinus(settings.newest_weight))


def _plain(settings: StepSettings) -> optax.GradientTransformationExtraArgs:
    """Plain ascent; its momentum is not used."""
    return optax.with_extra_args_support(optax.sgd(settings.learning_rate_at))


def _as_sent(opt_state: optax.OptState, sent: Any) -> Any:
    """Without extrapolation what workers are sent is the model."""
    del opt_state
    return sent


def _any_delay(settings: StepSettings) -> Int[Array, ""]:
    del settings
    return jnp.asarray(jnp.iinfo(jnp.int32).max, jnp.int32)


METHODS: dict[str, Method] = {
    "rennala_nigt": RoundMethod(rennala_rule, _equally, _nigt, nigt_eval_params),
    "malenia_nigt": RoundMethod(malenia_rule, _by_worker, _nigt, nigt_eval_params),
    "synchronous_nigt": RoundMethod(synchronous_rule, _equally, _nigt, nigt_eval_params),
    "m_synchronous_nigt": RoundMethod(m_synchronous_rule, _equally, _nigt, nigt_eval_params),
    "rennala_pg": RoundMethod(rennala_rule, _equally, _plain, _as_sent),
    "synchronous_pg": RoundMethod(synchronous_rule, _equally, _plain, _as_sent),
    "afedpg": ArrivalMethod(_any_delay, _nigt, nigt_eval_params),
    "ringmaster_nigt": ArrivalMethod(lambda settings: settings.max_delay, _nigt, nigt_eval_params),
    "asynchronous_pg": ArrivalMethod(_any_delay, _plain, _as_sent),
}
