"""From the increments of rounds to the totals of records."""

import dataclasses
from typing import Any

from nigt_jax.clocks import to_float64
from nigt_jax.config import MethodConfig
from nigt_jax.records import Record
from nigt_jax.training import RoundMetrics

_COUNTED = ("gradients", "env_steps", "computed_steps", "communications", "uploads", "downloads")
_FLOAT32 = 4  # bytes


@dataclasses.dataclass
class Totals:
    """Counters since the start of the run; plain Python numbers, so they neither overflow nor lose small parts.

    Attributes:
      gradients: gradients counted.
      env_steps: steps of counted episodes.
      computed_steps: steps that the lanes made for them, idle ones included.
      communications: exchanges of the size of the parameters: one a round, or one an arrival.
      uploads: messages from workers to the server.
      downloads: messages from the server to workers.
      bytes_up: bytes of the uploads.
      bytes_down: bytes of the downloads.
      wall_time: seconds in rounds; compilation, evaluation and checkpoints not included.
    """

    gradients: int = 0
    env_steps: int = 0
    computed_steps: int = 0
    communications: int = 0
    uploads: int = 0
    downloads: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    wall_time: float = 0.0

    def counters(self) -> dict[str, int]:
        """The whole numbers among them, as they stand in a record."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "wall_time"}


def are_counters(kind: type[Any], noted: Any) -> bool:
    """Whether something is a mapping from names of a dataclass of counters to numbers that may be counts."""
    names = {field.name for field in dataclasses.fields(kind)}
    return isinstance(noted, dict) and all(
        name in names and isinstance(value, int | float) and value >= 0 for name, value in noted.items()
    )


def records_of(
    metrics: RoundMetrics, iteration: int, totals: Totals, seconds: float, method: MethodConfig, parameters: int
) -> tuple[list[Record], Totals]:
    """One record for each round of a chunk.

    Args:
      metrics: the chunk's, of one run, on the host.
      iteration: rounds done before it.
      totals: counters before it; not changed.
      seconds: seconds that the chunk took; a round's share of it is all that is known.
      method: the run's method, which knows what an upload carries.
      parameters: number of the policy's parameters, which is what a download carries.

    Returns:
      The records, and the counters after them.
    """
    records, totals = [], dataclasses.replace(totals)
    rounds, times = len(metrics.gradients), to_float64(metrics.time)
    for k in range(rounds):
        for name in _COUNTED:
            setattr(totals, name, getattr(totals, name) + int(getattr(metrics, name)[k]))
        totals.bytes_up += _FLOAT32 * method.numbers_up(parameters, int(metrics.uploads[k]))
        totals.bytes_down += _FLOAT32 * parameters * int(metrics.downloads[k])
        totals.wall_time += seconds / rounds
        records.append(
            {
                "iteration": iteration + k + 1,
                **totals.counters(),
                "simulated_time": float(times[k]),
                "wall_time": round(totals.wall_time, 6),
                "discarded": int(metrics.discarded[k]),
                "delay": int(metrics.delay[k]),
                "query_return_mean": float(metrics.query_return_mean[k]),
                "gradient_norm": float(metrics.gradient_norm[k]),
                "diverged": int(metrics.diverged[k]),
                "diverged_fraction": int(metrics.diverged[k]) / int(metrics.episodes[k]),
                **({} if isinstance(metrics.noise_scale, tuple) else {"noise_scale": float(metrics.noise_scale[k])}),
            }
        )
    return records, totals
