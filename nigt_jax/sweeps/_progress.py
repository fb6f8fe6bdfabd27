"""What is told of a sweep. Needs no JAX."""

from typing import NamedTuple


class Progress(NamedTuple):
    """How far a sweep is, or this part of it.

    Attributes:
      program: number of the program that is running, from 1, among `programs`.
      programs: number of programs.
      runs_done: runs that are computed.
      runs: number of runs that have to be; others have the numbers of these. While something is tuned, a guess.
      fraction_done: of all.
      steps_per_second: useful steps; None before there are any.
      seconds_left: None before anything is known.
    """

    program: int
    programs: int
    runs_done: int
    runs: int
    fraction_done: float
    steps_per_second: float | None
    seconds_left: float | None


class Result(NamedTuple):
    """How a sweep went.

    Attributes:
      runs_done: runs of this part that are done.
      failed: those that could not go on, and why.
      interrupted: whether it was told to stop before it was done.
      waiting: whether other shards have to end their tuning first.
    """

    runs_done: int
    failed: dict[str, str]
    interrupted: bool
    waiting: bool
