"""How the runs of a sweep are computed. Needs no JAX."""

from typing import NamedTuple


class Plan(NamedTuple):
    """How runs are computed.

    Attributes:
      programs: names of the runs that share each program.
      rooms: number of runs that each program is made for, at least as many as it has.
      twins: runs that are not computed, and the ones whose numbers they have, but for times.
    """

    programs: list[list[str]]
    rooms: list[int]
    twins: dict[str, str]
