"""Amounts of training: how long, how often, by which unit."""

import math
import re
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from nigt_jax.config._trace import LONGEST_TIME, SHORTEST_TIME

UNITS = ("iterations", "gradients", "env_steps", "simulated_time")
MOST_COUNTED = 4_000_000_000_000_000  # gradients or steps, which are counted in two int32

_FORM = re.compile(rf"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s+({'|'.join(UNITS)})\s*")
_ALLOWED = (
    "Input should be a number and its unit, such as '6000 gradients', '1e6 env_steps', '500 simulated_time' or "
    "'300 iterations'"
)


class Amount(NamedTuple):
    """So much of a unit, which is the key of a record's counter.

    Attributes:
      number: how much; a whole number but for simulated time.
      unit: one of UNITS.
    """

    number: float
    unit: str

    def __str__(self) -> str:
        return f"{int(self.number) if self.number == int(self.number) else self.number} {self.unit}"


def amount_of(value: float | str) -> Amount:
    """An amount as the configuration has it: a bare number is one of iterations."""
    if not isinstance(value, str):
        return Amount(float(value), "iterations")
    number, unit = value.split()
    return Amount(float(number), unit)


def _canonical(value: Any) -> Any:
    """The text with the number in its shortest form; whatever else the user may have written is refused."""
    found = _FORM.fullmatch(value) if isinstance(value, str) else None
    number = _number(found[1]) if found else math.nan
    if found is None or math.isnan(number):
        raise PydanticCustomError("amount", _ALLOWED)
    least, most, kind = 1.0, float(MOST_COUNTED), "a whole number, "
    if found[2] == "iterations":
        most = 1e9
    if found[2] == "simulated_time":
        least, most, kind = SHORTEST_TIME, LONGEST_TIME, ""
    if not least <= number <= most or (kind and number != int(number)):
        raise PydanticCustomError(
            "amount",
            f"Input should be {kind}{least:g} to {most:g}, of {found[2]}",
        )
    return str(Amount(number, found[2]))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


AmountText = Annotated[
    str, BeforeValidator(_canonical), WithJsonSchema({"type": "string", "format": f"'number {' | '.join(UNITS)}'"})
]
