"""Which inputs of a traced function its results depend on.

What is found is what may matter: a dependence that is written in the program, whatever the numbers are. So an input of
which nothing is found has no effect at all.
"""

from collections.abc import Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from nigt_jax.jaxprs import split_scan

Sources = frozenset[Any]
"""Labels of the inputs that a value depends on."""

_NOTHING: Sources = frozenset()
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # where operations that are a function's call keep it


def flow(traced: ClosedJaxpr | Jaxpr, inputs: Sequence[Sources]) -> list[Sources]:
    """What each of the traced function's results depends on, from what each of its arguments does."""
    jaxpr = getattr(traced, "jaxpr", traced)
    known = dict.fromkeys(jaxpr.constvars, _NOTHING) | dict(zip(jaxpr.invars, inputs, strict=True))
    read = lambda atom: _NOTHING if isinstance(atom, Literal) else known[atom]
    for operation in jaxpr.eqns:
        results = _through(operation, [read(atom) for atom in operation.invars])
        for variable, sources in zip(operation.outvars, results, strict=True):
            empty = getattr(variable.aval, "size", 1) == 0
            known[variable] = _NOTHING if empty else sources
    return [read(atom) for atom in jaxpr.outvars]


def until_stable(function: Any, carry: list[Sources]) -> list[Sources]:
    """What values depend on that a loop replaces, again and again, by what the function makes of them."""
    while True:
        grown = [before | after for before, after in zip(carry, function(carry), strict=True)]
        if grown == carry:
            return carry
        carry = grown


def _through(operation: Any, inputs: list[Sources]) -> list[Sources]:
    name, params = operation.primitive.name, operation.params
    if name == "scan":
        return _scan(params, inputs)
    if name == "while":
        return _while(params, inputs)
    if name == "cond":
        index, *operands = inputs
        branches = [flow(branch, operands) for branch in params["branches"]]
        return [index.union(*cases) for cases in zip(*branches, strict=True)]
    called = next((params[key] for key in _CALLS if key in params), None)
    if called is not None and len(getattr(called, "jaxpr", called).invars) == len(inputs):
        return flow(called, inputs)
    return [_NOTHING.union(*inputs)] * len(operation.outvars)


def _scan(params: dict[str, Any], inputs: list[Sources]) -> list[Sources]:
    consts, start, rows = split_scan(params, inputs)
    body = lambda carry: flow(params["jaxpr"], [*consts, *carry, *rows])
    end = until_stable(lambda carry: body(carry)[: len(start)], start)
    return [*end, *body(end)[len(start) :]]


def _while(params: dict[str, Any], inputs: list[Sources]) -> list[Sources]:
    first, last = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    end = until_stable(lambda carry: flow(params["body_jaxpr"], [*inputs[first:last], *carry]), inputs[last:])
    (more,) = flow(params["cond_jaxpr"], [*inputs[:first], *end])
    return [sources | more for sources in end]  # how often it goes round decides all
