"""Environments whose numbers are no numbers: whatever field it is, nothing made of the episodes is infected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Faulty, alone, grouped, linear_policy, play

from nigt_jax.estimators import (
    GaeHyperparameters,
    fisher_matrix_sum,
    fisher_vector_sum,
    gae,
    hessian_vector_sum,
    importance_weights,
    leave_one_out,
    policy_gradient,
    policy_gradient_sum,
)
from nigt_jax.policies import update_statistics
from nigt_jax.rollout import observation_statistics

HORIZON, EPISODES, CHARGE = 5, 40, -2.5
POLICY = linear_policy(normalize=True)
PARAMS = POLICY.init(jax.random.key(0))
NORMALIZER = POLICY.init_normalizer()
SETTING = GaeHyperparameters(*(jnp.asarray([x], jnp.float32) for x in (0.9, 0.8, 1e-3)))


def of_all_estimators(episodes):
    """Everything that is made of episodes: gradients, products, weights, what is learnt."""
    here, seen = grouped(PARAMS), grouped(NORMALIZER)
    other = jax.tree.map(lambda x: x + 0.1, here)
    made = {
        "fisher product": fisher_vector_sum(POLICY, here, seen, episodes, other),
        "fisher matrix": fisher_matrix_sum(POLICY, here, seen, episodes),
        "weights": importance_weights(POLICY, here, other, seen, episodes),
        "statistics": update_statistics(NORMALIZER, alone(observation_statistics(episodes, None))),
    }
    for name, estimator in {"policy_gradient": policy_gradient, "others": leave_one_out, "gae": gae(POLICY, 2)}.items():
        state = grouped(estimator.init(jax.random.key(7), 1))
        factors = estimator.coefficients(state, episodes, seen, SETTING, None)
        made[name] = policy_gradient_sum(POLICY, here, seen, episodes, factors)
        made[f"hessian, {name}"] = hessian_vector_sum(POLICY, here, seen, episodes, factors, other)
        made[f"learnt by {name}"] = estimator.learn(state, episodes, seen, SETTING, None)
    return made


@jax.jit
def _played(*fault):
    keys, everyone = jax.random.split(jax.random.key(0), EPISODES), jnp.ones(EPISODES, bool)
    episodes = play(Faulty(*fault), POLICY, PARAMS, NORMALIZER, keys, everyone, HORIZON, widths=(7, 3), charge=CHARGE)
    return episodes, of_all_estimators(episodes)


def played(field, rate=0.15, value=np.nan):
    """Episodes in an environment with such a fault, and what is made of them; compiled once for all faults."""
    return jax.device_get(_played(jnp.int32(Faulty.FIELDS.index(field)), jnp.float32(rate), jnp.float32(value)))


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("field", Faulty.FIELDS)
def test_nothing_is_infected(field, value):
    episodes, made = played(field, value=value)
    returns, lengths, broken = episodes.outcomes[:3]
    assert 3 < broken.sum() < 37
    for name, tree in {"episodes": episodes, **made}.items():
        real = [x for x in jax.tree.leaves(tree) if np.issubdtype(x.dtype, np.floating)]
        assert all(np.isfinite(x).all() for x in real), name
    whole, _ = played(field, rate=0.0)
    np.testing.assert_allclose(returns[~broken], whole.outcomes.returns[~broken], rtol=1e-5)
    assert (lengths[~broken] == HORIZON).all()
    if field == "start":  # nothing was earned, and all steps are missed
        assert (lengths[broken] == 1).all()
        np.testing.assert_allclose(returns[broken], HORIZON * CHARGE)
    else:
        assert len(set(lengths[broken])) > 2


@pytest.mark.parametrize("field", Faulty.FIELDS)
def test_every_episode_may_break(field):
    episodes, made = played(field, rate=1.0)
    assert episodes.outcomes.diverged.all()
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(made) if np.issubdtype(x.dtype, np.floating))
