"""How many episodes break the physics, and from when on a run is about nothing else."""

import collections
import warnings

from nigt_jax.errors import RunWarning

_ENOUGH = 100  # episodes: of fewer, one that breaks is too large a fraction
_NOTEWORTHY = 0.01


class Breakage:
    """Of the newest episodes, those that broke the physics; chunk by chunk.

    Args:
      most: fraction that may break, beyond which the run stops.
      environment: whose physics it is.
    """

    def __init__(self, most: float, environment: str):
        self._most, self._environment, self._warned = most, environment, False
        self._chunks: collections.deque[tuple[int, int]] = collections.deque()

    def note(self, episodes: int, broken: int) -> None:
        """Takes in a chunk. Warns once, at the first fraction that is noteworthy."""
        self._chunks.append((episodes, broken))
        while sum(number for number, _ in self._chunks) - self._chunks[0][0] >= _ENOUGH:
            self._chunks.popleft()
        if self.fraction > _NOTEWORTHY and not self._warned:
            self._warned = True
            warnings.warn(
                f"{self.in_words}; environment.divergence_penalty is what every step that they miss costs (null, the "
                "default: twice the lowest reward of a step so far, nothing where none was below 0)",
                RunWarning,
                stacklevel=2,
            )

    @property
    def fraction(self) -> float:
        """Of the newest episodes, as many chunks of them as have 100; 0 before there are so many."""
        episodes, broken = self._newest
        return broken / episodes if episodes >= _ENOUGH else 0.0

    @property
    def too_much(self) -> bool:
        """Whether more break than may."""
        return self.fraction > self._most

    @property
    def in_words(self) -> str:
        """One clause."""
        episodes, broken = self._newest
        return (
            f"the physics of {self._environment} broke (a NaN or an infinity) in {broken} of the newest {episodes} "
            f"episodes "
            f"({100 * self.fraction:.3g}%), allowed: {100 * self._most:.12g}% (environment.max_diverged)"
        )

    @property
    def _newest(self) -> tuple[int, int]:
        """The newest episodes, and those of them that broke."""
        return sum(episodes for episodes, _ in self._chunks), sum(broken for _, broken in self._chunks)
