"""What the paper sees in its scenarios, and whether a panel shows the same. Needs no JAX.

Source: arXiv 2509.24305. Its curves are without tables, so what is compared is who is first.
"""

from nigt_jax.report._study import Panel
from nigt_jax.report._verdict import Verdict

_RENNALA = "rennala_nigt"
_THREE = frozenset({_RENNALA, "synchronous_nigt", "afedpg"})
SEEN = {
    "equal": ("Rennala NIGT, Synchronous NIGT and AFedPG nearly the same", _THREE),
    "heterogeneous": ("Rennala NIGT faster than both others", _THREE),
    "slow-communication": ("Rennala NIGT faster than both others, and the gap is widest", _THREE),
    "speeding-up": ("Rennala NIGT still fastest", _THREE),
    "two-worlds": ("Malenia NIGT far above AFedPG", frozenset({"malenia_nigt", "afedpg"})),
}


def seen_in_paper(panel: Panel) -> str | None:
    """What the paper sees in a scenario; None of one that it does not have, or where a method of it is missing."""
    text, methods = SEEN.get(panel.name.removesuffix("-100"), ("", frozenset()))
    there = {line.config.method.name for line in panel.lines}
    return text if text and methods <= there else None


def compared(verdict: Verdict) -> str:
    """Whether a panel shows what the paper sees, in a few words."""
    scenario = verdict.panel.name.removesuffix("-100")
    if verdict.first is None or verdict.lead is None:
        return "not decided: no line reaches the threshold"
    first = verdict.first.config.method.name
    if scenario == "equal":
        return "differs: one is clearly ahead" if verdict.is_clear else "the same"
    expected = "malenia_nigt" if scenario == "two-worlds" else _RENNALA
    if first != expected:
        return "differs" if verdict.is_clear else "differs, though not clearly: intervals include 1"
    return "the same" if verdict.is_clear else "the same order, but not clearly: the interval includes 1"
