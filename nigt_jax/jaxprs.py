"""What has to be known of JAX's traced programs by those who read them."""

from typing import Any


def split_scan(params: dict[str, Any], values: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Splits a scan's operands: what its body knows, what it carries at the start, and what it goes through.

    Args:
      params: the operation's parameters.
      values: its operands, or whatever stands for them.
    """
    if "ft_in" in params:  # from JAX 0.11 on
        consts, start, rows = map(list, params["ft_in"].update(values).unpack())
        return consts, start, rows
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    return values[:first], values[first:last], values[last:]
