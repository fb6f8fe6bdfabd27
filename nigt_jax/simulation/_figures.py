"""What one method did on a clock, in numbers."""

import dataclasses

from nigt_jax.clocks import NeverEnds
from nigt_jax.simulation._theory import Bounds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """One clock played for some rounds. Times are in time units; an arrival-based method's round is one update.

    Attributes:
      clock: its name, such as rennala.
      methods: the methods that keep this time; they differ in what they do with a round's gradients.
      batch_size: M; that of a round's rule.
      rounds: number of rounds that ended.
      time: time from the start to the end of the last of them, communication included.
      round_time, shortest_round, longest_round: mean and extremes, communication included.
      collecting: mean time of a round until its gradients are there.
      communicating: mean time of a round's exchange.
      counted: gradients of each worker.
      shares: share of each worker in all that was counted; they add up to 1.
      discarded: gradients of each worker that were begun and not counted.
      discarded_fraction: fraction of all gradients begun.
      gradients_per_time: counted in a time unit.
      effective_gradients: independent gradients whose plain mean is as noisy as a round's result.
      exchanges: one a round.
      messages: vectors as large as the policy that workers sent: one from each that contributed to a round; in an
        allreduce one from each.
      bounds: bounds by theory; None where times vary, or more than theory covers.
      never_ends: the round that did not, or that cannot be played, after which nothing was; None where all ended.
    """

    clock: str
    methods: tuple[str, ...]
    batch_size: int
    rounds: int
    time: float
    round_time: float | None
    shortest_round: float | None
    longest_round: float | None
    collecting: float | None
    communicating: float | None
    counted: tuple[int, ...]
    shares: tuple[float, ...]
    discarded: tuple[int, ...]
    discarded_fraction: float
    gradients_per_time: float
    effective_gradients: float | None
    exchanges: int
    messages: int
    bounds: Bounds | None
    never_ends: NeverEnds | None

    @property
    def time_per_gradient(self) -> float | None:
        """Of an effective gradient."""
        if self.round_time is None or self.effective_gradients is None:
            return None
        return self.round_time / self.effective_gradients
