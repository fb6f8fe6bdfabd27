"""What a run waits for in vain: its clock, played once more without the training."""

from typing import Any, cast

import jax

from nigt_jax.clocks import ArrivalState, ClockState, Rule, never_comes, never_ends, play_round
from nigt_jax.methods import Arrivals, Method, Rounds
from nigt_jax.training._hyperparameters import Hyperparameters


def round_that_never_ends(
    method: Method, hyperparameters: Hyperparameters, clock: ClockState, phase: tuple[()], iteration: int, ended: int
) -> str:
    """One clause on the round that never ends, and on the workers it waits for.

    Args:
      method: the run's method.
      hyperparameters: the run's hyperparameters.
      clock: the clock's state at `iteration`.
      phase: what the rule of a method without rounds keeps then.
      iteration: rounds done by then.
      ended: rounds that ended after it; the next one does not.
    """
    del phase
    endless, schedule = iteration + ended + 1, cast(Rounds, method.schedule).at(hyperparameters.schedule)

    def rule(number: int) -> Rule:
        batch_size = hyperparameters.initial_batch_size if number == 1 else hyperparameters.batch_size
        return schedule.rule(batch_size, hyperparameters.clock.workers)

    for number in range(iteration + 1, endless):
        _, clock = _play_round(hyperparameters.clock, rule(number), clock)
    return str(never_ends(hyperparameters.clock, rule(endless), clock, endless))


def update_that_never_comes(
    method: Method, hyperparameters: Hyperparameters, clock: ArrivalState, phase: Any, iteration: int, ended: int
) -> str:
    """One clause on the update that never comes, and on the workers it waits for; arguments as above."""
    rule = cast(Arrivals, method.schedule).rule(hyperparameters.step)
    never = never_comes(hyperparameters.clock, rule, phase, clock, iteration + ended + 1)
    return f"update {never.round} {never.reason}"


_play_round = jax.jit(play_round)
