"""What this machine does in a second: from physics alone to a whole round of training."""

from nigt_jax.benchmark._measure import Report, in_words, machine, measure
from nigt_jax.benchmark._stages import STAGES
from nigt_jax.benchmark._table import show, to_json
from nigt_jax.benchmark._turns import take_turns

__all__ = ["STAGES", "Report", "in_words", "machine", "measure", "show", "take_turns", "to_json"]
