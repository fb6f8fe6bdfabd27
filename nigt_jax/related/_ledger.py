"""The account of a related system's run: what iterations add to it."""

import dataclasses
import math
from typing import Any

from nigt_jax.clocks import to_float64
from nigt_jax.records import Record, RunFolder
from nigt_jax.related._compiled import Metrics
from nigt_jax.related._system import System
from nigt_jax.runs import Account, Amounts, Entry, Standing, Trouble, Writing

_LIKELY = ", most likely for too large a step"


@dataclasses.dataclass
class SystemTotals:
    """Counters since the start of the run; plain Python numbers.

    Attributes:
      gradients: gradients, or their like.
      env_steps: steps of an environment, or samples.
      communications: messages between agents.
      bytes_sent: bytes that these carry.
      wall_time: seconds in iterations; compilation, evaluation and checkpoints not included.
    """

    gradients: int = 0
    env_steps: int = 0
    communications: int = 0
    bytes_sent: int = 0
    wall_time: float = 0.0


class SystemLedger(Account):
    """Keeps the account of one run of a related system; see :class:`nigt_jax.runs.Account`."""

    def __init__(
        self,
        system: System,
        folder: RunFolder,
        iteration: int,
        writing: Writing,
    ):
        super().__init__(system.config, folder, iteration, writing, system.headline, lambda records: None)
        self._bytes = 8 if system.x64 else 4

    def untrained(self) -> Record:
        """The record of iteration 0, without an evaluation."""
        return _record(0, SystemTotals(), 0.0, {})

    def entry(self, standing: Standing, metrics: Metrics, seconds: float, parameters: int) -> Entry:
        """What iterations add, as yet unwritten."""
        del parameters
        records, totals, made = [], dataclasses.replace(standing.totals), len(metrics.made)
        times, trouble = to_float64(metrics.counted.time), None
        for place in range(made):
            iteration = standing.amounts.iterations + place + 1
            scalars = {name: float(values[place]) for name, values in metrics.scalars.items()}
            trouble = _trouble(place, iteration, float(times[place]), scalars, bool(metrics.finite[place]))
            if trouble is not None:
                break
            totals.gradients += int(metrics.counted.gradients[place])
            totals.env_steps += int(metrics.counted.env_steps[place])
            totals.communications += int(metrics.counted.messages[place])
            totals.bytes_sent += self._bytes * int(metrics.counted.numbers[place])
            totals.wall_time += seconds / made
            records.append(_record(iteration, totals, float(times[place]), scalars))
        after = Standing(Amounts.of(records[-1]), totals) if records else standing
        return Entry(records, after, trouble)

    def note_breakage(self, iteration: int, metrics: Any) -> None:
        """Nothing: where physics can break, the records of the system tell, and nothing ends it."""


def _record(iteration: int, totals: SystemTotals, time: float, scalars: dict[str, float]) -> Record:
    counters = dataclasses.asdict(totals)
    wall = round(counters.pop("wall_time"), 6)
    return {"iteration": iteration, **counters, "simulated_time": time, "wall_time": wall, **scalars}


def _trouble(place: int, iteration: int, time: float, scalars: dict[str, float], finite: bool) -> Trouble | None:
    if not math.isfinite(time):
        return Trouble(place, f"iteration {iteration} never ends", endless=True)
    wrong = [name for name, value in scalars.items() if not math.isfinite(value)]
    if wrong:
        return Trouble(place, f"the {wrong[0]} of iteration {iteration} is not finite{_LIKELY}", endless=False)
    if not finite:
        return Trouble(place, f"the state after iteration {iteration} is not finite{_LIKELY}", endless=False)
    return None
