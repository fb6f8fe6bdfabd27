"""How much is measured on which platform: the one place that says so.

On an accelerator all parts together should take some eight minutes, most of them compiling. On a CPU everything is
small: it shows that the parts work there, and its figures say little of a larger one.
"""

from typing import NamedTuple


class Sizes(NamedTuple):
    """Of all parts.

    Attributes:
      horizon: steps of an episode at most, where nothing else is said.
      episodes: of a round of the stages, on each device.
      turns: of whatever is compared; one more warms up.
      lanes: of a device, in parts other than the stages, or as many as there are episodes.
      queue_horizon: steps of an episode at most, where the queue is beside the masked scan.
      queue_lanes: likewise, lanes of a device.
      queue_each: likewise, episodes of each lane.
      runs: numbers of runs in one program.
      timed: runs that are timed one after the other, and stand for the others.
      rounds: of training in a turn.
      gradients: of a run of the paper's scenario.
      parameters: of the transformations.
      ppo_lanes: environments of Brax's PPO, and lanes of ours beside it, on each device.
    """

    horizon: int
    episodes: int
    turns: int
    lanes: int
    queue_horizon: int
    queue_lanes: int
    queue_each: int
    runs: tuple[int, ...]
    timed: int
    rounds: int
    gradients: int
    parameters: int
    ppo_lanes: int


_CPU = Sizes(
    horizon=100,
    episodes=64,
    turns=2,
    lanes=64,
    queue_horizon=500,
    queue_lanes=16,
    queue_each=8,
    runs=(16,),
    timed=4,
    rounds=2,
    gradients=200,
    parameters=10**6,
    ppo_lanes=128,
)
_ACCELERATOR = Sizes(
    horizon=200,
    episodes=2**14,
    turns=3,
    lanes=2**13,
    queue_horizon=1000,
    queue_lanes=2**11,
    queue_each=4,
    runs=(16, 256),
    timed=4,
    rounds=2,
    gradients=2000,
    parameters=10**8,
    ppo_lanes=2**11,
)


def sizes_for(platform: str) -> Sizes:
    """Those of a platform, by JAX's name of it."""
    return _CPU if platform == "cpu" else _ACCELERATOR
