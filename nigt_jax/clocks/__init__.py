"""Who would have finished what, when. Knows nothing of training."""

from nigt_jax.clocks._arrival_rules import ArrivalRule, Fate, YoungerThan, YoungerThanRoot
from nigt_jax.clocks._arrivals import ArrivalState, begin_arrivals, next_arrival
from nigt_jax.clocks._build import make_clock, power_law
from nigt_jax.clocks._clock import (
    Clock,
    ClockState,
    Collected,
    clock_key,
    collect_round,
    exchange,
    exchange_time,
    finishing_times,
    play_round,
)
from nigt_jax.clocks._endless import NeverEnds, in_vain, never_comes, never_ends
from nigt_jax.clocks._ringleader import Entry, Ringleader
from nigt_jax.clocks._rounds import Round, malenia_round, rennala_round, synchronous_round
from nigt_jax.clocks._rules import (
    NO_END,
    OneOfRules,
    Rule,
    m_synchronous_rule,
    malenia_rule,
    one_of,
    rennala_rule,
    synchronous_rule,
)
from nigt_jax.clocks._speed import Speed
from nigt_jax.clocks._time import SimulatedTime, time_of, time_zero, to_float64
from nigt_jax.clocks._work import FixedWork

__all__ = [
    "NO_END",
    "ArrivalRule",
    "ArrivalState",
    "Clock",
    "ClockState",
    "Collected",
    "Entry",
    "Fate",
    "FixedWork",
    "NeverEnds",
    "OneOfRules",
    "Ringleader",
    "Round",
    "Rule",
    "SimulatedTime",
    "Speed",
    "YoungerThan",
    "YoungerThanRoot",
    "begin_arrivals",
    "clock_key",
    "collect_round",
    "exchange",
    "exchange_time",
    "finishing_times",
    "in_vain",
    "m_synchronous_rule",
    "make_clock",
    "malenia_round",
    "malenia_rule",
    "never_comes",
    "never_ends",
    "next_arrival",
    "one_of",
    "play_round",
    "power_law",
    "rennala_round",
    "rennala_rule",
    "synchronous_round",
    "synchronous_rule",
    "time_of",
    "time_zero",
    "to_float64",
]
