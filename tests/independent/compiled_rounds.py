"""Rounds as the package plays them: compiled, many cases in one program, one round after the other as in training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from nigt_jax.clocks import (
    m_synchronous_rule,
    make_clock,
    malenia_rule,
    play_round,
    rennala_rule,
    synchronous_rule,
)
from nigt_jax.compilation import known_options
from nigt_jax.config import PowerLaw, WorkersConfig

RULES = {
    "rennala": rennala_rule,
    "malenia": malenia_rule,
    "synchronous": synchronous_rule,
    "m_synchronous": m_synchronous_rule,
}
# XLA's older emitters take less time. Where contraction matters, programs are compiled as users' are.
QUICKLY = known_options({"xla_cpu_use_fusion_emitters": False})
WINDOW = 12  # largest batch size that a clock is told of; it decides how far one looks ahead at a time


def workers_of(times=None, exchange=None, **others):
    """The configuration of workers with these times; `others` are its other fields."""
    law = lambda values: PowerLaw(values=tuple(float(x) for x in values))
    laws = {"compute_time": times, "communication_time": [0.0] * len(times) if exchange is None else exchange}
    return WorkersConfig(count=len(times), **{name: law(values) for name, values in laws.items()}, **others)


def stack(trees):
    """One tree of many of one kind; leaves have a leading axis of cases."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def stacked_clocks(workers):
    """One clock of those of many cases."""
    return stack([make_clock(own, parameters=1, batch_size=WINDOW) for own in workers])


def stacked_rules(names, batch_sizes, workers):
    """One rule of those of many cases; of one kind, that is either Malenia's, or Rennala's, or among the others."""
    return stack([RULES[name](size, workers) for name, size in zip(names, batch_sizes, strict=True)])


def begin_many(clock, seeds, now=None):
    """The states in which cases begin, at time 0 or at those of `now`; a seed decides a case's random times."""
    states = jax.vmap(lambda own, seed: own.begin(jax.random.key(seed)))(clock, jnp.asarray(seeds, jnp.uint32))
    if now is None:
        return states
    return states._replace(now=states.now._replace(high=jnp.asarray(now, jnp.float32)))


def play_many(rounds, clock, first, rule, states):
    """So many rounds of each case.

    Args:
      rounds: how many.
      clock: of the cases.
      first: the rule of each case's first round.
      rule: of all others.
      states: in which they begin.

    Returns:
      Of each round what it counted, and the time after it; leading axes [cases, rounds].
    """

    def of_one(clock, first, rule, state):
        def step(state, number):
            own = jax.tree.map(lambda a, b: jnp.where(number == 0, a, b), first, rule)
            counted, state = play_round(clock, own, state)
            return state, (counted, state.now)

        return jax.lax.scan(step, state, jnp.arange(rounds))[1]

    return jax.vmap(of_one)(clock, first, rule, states)


play_compiled = functools.partial(jax.jit, static_argnums=0)(play_many)
play_quickly = functools.partial(jax.jit, static_argnums=0, compiler_options=QUICKLY)(play_many)


def wide(time):
    """A time of the package, or an array of them, in float64."""
    return sum(np.asarray(part, np.float64) for part in jax.tree.leaves(time))


def assert_same(got, wanted, case="", rel=2e-7):
    """Counts, discarded and completeness exactly, times to rounding.

    Args:
      got: of one case, what `play_many` gives.
      wanted: what the oracle gives: each round, when it began and when the next one does; fewer where one never ends.
      case: what to say if they differ.
      rel: tolerance of times.
    """
    counted, now = got
    wanted = list(wanted)
    complete = [k < len(wanted) for k in range(len(counted.complete))][: len(wanted) + 1]
    assert counted.complete[: len(complete)].tolist() == complete, case
    times = wide(now)
    for k, (played, began, after) in enumerate(wanted):
        where = f"{case}, round {k + 1}"
        assert counted.counts[k].tolist() == played.counts, where
        assert counted.discarded[k].tolist() == played.discarded, where
        np.testing.assert_allclose(counted.elapsed[k], float(played.end - began), rtol=rel, err_msg=where)
        np.testing.assert_allclose(times[k], float(after), rtol=rel, err_msg=where)


def case_of(tree, number):
    """One case of what a program gave."""
    return jax.tree.map(lambda x: x[number], tree)
