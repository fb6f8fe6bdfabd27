"""Where runs are among the places of a program that many share."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class Places:
    """Where runs are among those that a program has, which are divided over devices in equal shares.

    Attributes:
      place: of every run. Devices have as many that do not rest, or one more.
      run: of every place; that of one that rests is the last.
    """

    def __init__(self, runs: int, wanted: int, devices: int):
        each = -(-wanted // devices)
        number = np.arange(runs)
        self.place = number % devices * each + number // devices
        self.run = np.full(each * devices, runs - 1)
        self.run[self.place] = number

    def filled(self, runs: Sequence[Any]) -> list[Any]:
        """The runs in their places; copies of the last one where they rest."""
        return [runs[number] for number in self.run]
