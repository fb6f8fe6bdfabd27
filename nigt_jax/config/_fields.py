"""What fields of the configuration have in common: how they are declared, and the numbers that they may hold."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from nigt_jax.config._trace import LONGEST_TIME, SHORTEST_TIME
from nigt_jax.errors import UserError

COUNTABLE = 1_000_000_000  # what an int32 counts, with room for idle lanes and for what fills up a last block
LARGEST_BATCH = 10_000_000  # gradients or episodes that are counted together
LARGEST_SEED = 2**32 - 1  # larger ones give JAX the same keys as smaller ones
MOST_DEVICES = 256  # of a process: XLA gives up on a CPU in many more parts

RULES = ConfigDict(extra="forbid", allow_inf_nan=False)


def checked_seed(seed: int) -> int:
    """A seed that is given outside of a configuration; UserError where it is out of range."""
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed: got {seed}, allowed: 0 to {LARGEST_SEED}")
    return seed


def setting(default: Any, meaning: str, unit: str = "", *, traced: bool = False, **limits: Any) -> Any:
    """A field of the configuration.

    Args:
      default: the default, or a function that makes it.
      meaning: one line.
      unit: empty where it has none.
      traced: whether it is an argument of the compiled programs, so that runs may differ in it and share one program;
        otherwise it decides a shape, or is part of the program.
      limits: those of pydantic.
    """
    kind = "default_factory" if callable(default) else "default"
    return Field(description=meaning, json_schema_extra={"unit": unit, "traced": traced}, **{kind: default}, **limits)


def _fits_float32(value: float) -> float:
    """Refuses what becomes zero or infinite in the precision that everything is computed in."""
    if value != 0 and not 1e-37 < abs(value) < 1e38:
        raise ValueError(f"got {value}, allowed: what a float32 can hold, 1e-37 to 1e38")
    return value


def _is_a_time(value: float) -> float:
    """Refuses what is too short or too long for the clocks, be it a time or the inverse of one; 0 is no time at all."""
    if value != 0 and not SHORTEST_TIME <= value <= LONGEST_TIME:
        raise ValueError(f"got {value}, allowed: {SHORTEST_TIME:g} to {LONGEST_TIME:g}")
    return value


Number = Annotated[float, AfterValidator(_fits_float32)]
Time = Annotated[Number, AfterValidator(_is_a_time)]


def _names_a_class(value: Any) -> Any:
    """Refuses what has not the form of ``module:Class``. Whether there is such a class is known when it is imported."""
    if not (isinstance(value, str) and re.fullmatch(r"[^\s:]+:[^\s:]+", value)):
        raise PydanticCustomError("module_class", "Input should be 'module:Class'")
    return value


ModuleClass = Annotated[
    str, BeforeValidator(_names_a_class), WithJsonSchema({"type": "string", "format": "module:Class"})
]
