"""What a run waits for in vain: its clock, played once more without the training."""

from typing import Any

import jax

from nigt_jax.clocks import Rule, never_comes, never_ends, play_round
from nigt_jax.methods import ArrivalMethod, Method
from nigt_jax.training._settings import Settings


def what_never_ends(method: Method, settings: Settings, clock: Any, iteration: int, ended: int) -> str:
    """One clause on the round, or the update, that never ends, and on the workers it waits for.

    Args:
      method: of the run.
      settings: of the run.
      clock: its state at `iteration`, a ClockState, or an ArrivalState where there are no rounds.
      iteration: rounds done by then.
      ended: rounds that ended after it; the next one does not.
    """
    endless = iteration + ended + 1
    if isinstance(method, ArrivalMethod):
        return never_comes(settings.clock, clock, endless)

    def rule(number: int) -> Rule:
        batch_size = settings.initial_batch_size if number == 1 else settings.batch_size
        return method.rule(batch_size, settings.clock.workers)

    for number in range(iteration + 1, endless):
        _, clock = _play_round(settings.clock, rule(number), clock)
    return str(never_ends(settings.clock, rule(endless), clock, endless))


_play_round = jax.jit(play_round)
